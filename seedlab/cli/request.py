"""Turns parsed command-line arguments into a request: the project, the target and the options of a run."""

from __future__ import annotations

import os
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from seedlab.cli.arguments import SETTINGS
from seedlab.database.connect import parse_target
from seedlab.errors import ConfigurationError
from seedlab.flow import Options, Project, Target
from seedlab.insight.records.runs import Heading
from seedlab.plan.choices import (
    TargetChoice,
    choose_commit,
    choose_environment,
    choose_executor,
    choose_rejects,
    choose_target,
    settings,
)
from seedlab.plan.project import find_project, load_project
from seedlab.plan.revision import commit_of

_NO_PROJECT = Project(root=Path(), name="", stages=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A `seed` or `plan` command: what to run, where, how, and the command line that asked for it."""

    project: Project
    choice: TargetChoice
    options: Options
    line: tuple[str, ...]

    def heading(self, target: Target | None = None) -> Heading:
        """Return what the run's record says before the run begins."""
        return Heading(
            project=self.project.name,
            target=target.shown if target else self.choice.origin,
            environment=self.options.environment.name,
            settings=self.options.settings,
            args=self.line,
            commit=commit_of(self.project.root),
        )


def project_of(args: Namespace) -> Project:
    """Find and load the project that the command names."""
    directory = Path(args.directory) if args.directory else None
    return load_project(find_project(directory, Path.cwd()))


def request_of(args: Namespace) -> Request:
    """Build the request of a `seed` or `plan` command.

    Not every command has every option; options that a command lacks have their defaults.
    """
    project = project_of(args)
    flags = {name: getattr(args, name, None) for name in SETTINGS}
    choice = choose_target(project, database_url=args.database_url, target=args.target, environ=os.environ)
    options = Options(
        environment=choose_environment(project, args.env, os.environ, choice),
        settings=settings(project, flags, os.environ),
        select=tuple(getattr(args, "select", ())),
        exclude=tuple(getattr(args, "exclude", ())),
        force=getattr(args, "force", False),
        yes_seed=getattr(args, "yes_seed", None),
        wait=getattr(args, "wait", None),
        max_delete=getattr(args, "max_delete", None),
        rejects=args.reports if choose_rejects(getattr(args, "on_error", None)) else None,
        dry_run=getattr(args, "dry_run", False),
        commit=choose_commit(getattr(args, "commit", None)),
        executor=choose_executor(getattr(args, "executor", None)),
    )
    return Request(project=project, choice=choice, options=options, line=args.line)


def source_of(args: Namespace) -> Target:
    """Return the database that `export` reads. Raises ConfigurationError if none was named."""
    needs_project = args.target and not args.database_url
    project = load_project(find_project(None, Path.cwd())) if needs_project else _NO_PROJECT
    choice = choose_target(project, database_url=args.database_url, target=args.target, environ=os.environ)
    if choice.url is None:
        raise ConfigurationError(
            "export which database? use --database-url URL, -t NAME of a project's target, or set "
            "SEEDLAB_DATABASE_URL"
        )
    root = project.root if choice.name is not None else None
    return parse_target(choice.url, choice.origin, name=choice.name, root=root)


def reading_options(args: Namespace, project: Project) -> Options:
    """Build the options of a `check` command, which reads files and has no target."""
    no_target = TargetChoice(url=None, origin="none")
    return Options(
        environment=choose_environment(project, args.env, os.environ, no_target),
        select=tuple(args.select),
        exclude=tuple(args.exclude),
    )
