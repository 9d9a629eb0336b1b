"""What a command line asks for, understood: the project, the target and the options."""

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
    """One seed or plan that was asked for."""

    project: Project
    choice: TargetChoice
    options: Options
    line: tuple[str, ...]

    def heading(self, target: Target | None = None) -> Heading:
        """Say what is known of the run before it begins, for its record."""
        return Heading(
            project=self.project.name,
            target=target.shown if target else self.choice.origin,
            environment=self.options.environment.name,
            settings=self.options.settings,
            args=self.line,
            commit=commit_of(self.project.root),
        )


def project_of(args: Namespace) -> Project:
    """Find and load the project."""
    named = Path(args.directory) if args.directory else None
    return load_project(find_project(named, Path.cwd()))


def request_of(args: Namespace) -> Request:
    """Understand what `seed` or `plan` was given."""
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
        rejects=Path(args.reports or "reports") if choose_rejects(getattr(args, "on_error", None)) else None,
        dry_run=getattr(args, "dry_run", False),
        commit=choose_commit(getattr(args, "commit", None)),
        executor=choose_executor(getattr(args, "executor", None)),
    )
    return Request(project=project, choice=choice, options=options, line=args.line)


def source_of(args: Namespace) -> Target:
    """Give the database that `export` was told to read. Raises ConfigurationError where nobody named one."""
    needs_project = args.target and not args.database_url
    project = load_project(find_project(None, Path.cwd())) if needs_project else _NO_PROJECT
    choice = choose_target(project, database_url=args.database_url, target=args.target, environ=os.environ)
    if choice.url is None:
        raise ConfigurationError(
            "export which database? say --database-url URL, -t NAME of a project's target, or set "
            "SEEDLAB_DATABASE_URL"
        )
    root = project.root if choice.name is not None else None
    return parse_target(choice.url, choice.origin, name=choice.name, root=root)


def reading_options(args: Namespace, project: Project) -> Options:
    """Understand what `check` was given, which has no target."""
    none = TargetChoice(url=None, origin="none")
    return Options(
        environment=choose_environment(project, args.env, os.environ, none),
        select=tuple(args.select),
        exclude=tuple(args.exclude),
    )
