"""Diagnoses an installation, a project and a target; a finding that is not "ok" comes with a remedy."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from seedlab.database.connect import parse_target
from seedlab.database.embedded import server
from seedlab.database.rights import Rights, rights
from seedlab.errors import SeedError
from seedlab.flow import Project, Target
from seedlab.flow.catalog import quote
from seedlab.insight.formatting.text import printable, size, table
from seedlab.plan.choices import choose_target
from seedlab.plan.folder import FORMATS, unread_files
from seedlab.plan.project import find_project, load_project

FREE_BYTES = 1_000_000_000  # less free disk space than this is a warning
_MARKS = {"ok": "✓", "warn": "!", "fail": "✗"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is examined: the project and target that the command line names, and the environment."""

    directory: Path | None
    database_url: str | None
    target: str | None
    environ: Mapping[str, str]


def examine(subject: Subject) -> tuple[Finding, ...]:
    """Run all checks; they neither start nor write anything."""
    return tuple(_findings(subject))


def findings_text(findings: tuple[Finding, ...]) -> str:
    """Word each finding on one line, which is not cut since people send it to others, remedies below."""
    rows = [[_MARKS[each.status], each.name, printable(each.found)] for each in findings]
    lines = table(rows, "<<<", cells=max((len(each.found) + 40 for each in findings), default=0), flexible=2)
    remedies = [
        "".join(f"\n     → {printable(each)}" for each in finding.remedy.splitlines()) for finding in findings
    ]
    return "".join(f"{line}{remedy}\n" for line, remedy in zip(lines, remedies, strict=True))


def _findings(subject: Subject) -> Iterator[Finding]:
    yield _python()
    yield _packages()
    yield _disk(Path.cwd())
    yield _programs(subject.environ)
    try:
        project = load_project(find_project(subject.directory, Path.cwd()))
    except SeedError as error:
        yield Finding(
            name="project", status="fail", found=str(error), remedy="seedlab check names every fault"
        )
        return
    yield _project(project)
    yield from _unread(project)
    yield _target(project, subject)


def _python() -> Finding:
    return Finding(name="python", status="ok", found=".".join(map(str, sys.version_info[:3])))


def _packages() -> Finding:
    """Check that all required packages are installed; those of extras are optional."""
    needed = [line for line in requires("seedlab") or () if "extra ==" not in line]
    names = [_name(line) for line in needed]
    missing = [name for name in names if _version(name) is None]
    if missing:
        remedy = f"pip install {' '.join(missing)}"
        return Finding(name="packages", status="fail", found=f"missing: {', '.join(missing)}", remedy=remedy)
    found = ", ".join(f"{name} {_version(name)}" for name in ("seedlab", *names))
    return Finding(name="packages", status="ok", found=found)


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _disk(place: Path) -> Finding:
    free = shutil.disk_usage(place).free
    found = f"{size(free)} free in {place}"
    if free >= FREE_BYTES:
        return Finding(name="disk", status="ok", found=found)
    return Finding(name="disk", status="warn", found=found, remedy="a large seed needs disk space; free some")


def _programs(environ: Mapping[str, str]) -> Finding:
    """Check that the embedded server's programs exist, and whether it runs."""
    try:
        status = server.status(environ)
    except SeedError as error:
        remedy = "only needed without a database of your own"
        return Finding(name="embedded server", status="warn", found=str(error), remedy=remedy)
    state = (
        f"running, process {status.pid}" if status.running else "not running; a seed without a URL starts it"
    )
    return Finding(name="embedded server", status="ok", found=f"PostgreSQL {status.major}, {state}")


def _project(project: Project) -> Finding:
    seeds = len(project.every_seed)
    found = f"{project.name}: {seeds} seeds, {len(project.stages) or 'no declared'} stages in {project.root}"
    return Finding(name="project", status="ok", found=found)


def _unread(project: Project) -> Iterator[Finding]:
    if names := unread_files(project.root, project.every_seed):
        remedy = (
            f"name them under files of a seed, or move them away; we read {', '.join(FORMATS)} (.gz, .zst)"
        )
        yield Finding(name="files", status="warn", found=f"no seed reads {', '.join(names)}", remedy=remedy)


def _target(project: Project, subject: Subject) -> Finding:
    try:
        choice = choose_target(
            project, database_url=subject.database_url, target=subject.target, environ=subject.environ
        )
        if choice.url is None:
            return Finding(name="target", status="ok", found="the embedded server")
        target = parse_target(choice.url, choice.origin, name=choice.name, environment=choice.environment)
        named = project.table_names
        return _reached(target, rights(target, named))
    except SeedError as error:
        remedy = "check the URL and that the server runs, or leave it out to use the embedded server"
        return Finding(name="target", status="fail", found=str(error), remedy=remedy)


def _reached(target: Target, has: Rights) -> Finding:
    found = f"{target}, version {has.version}, from {target.origin}"
    missing = [what for what, may in (("CREATE", has.schemas), ("TEMPORARY", has.temporary)) if not may]
    remedies = list(has.grants)
    if has.grants:
        found += "; rights on tables are missing"
    if missing:
        found += f"; no right to {' and '.join(missing)}"
        lost = "without CREATE missing tables cannot be made"
        database, user = quote(target.database), quote(has.user)
        remedies.append(f"GRANT {', '.join(missing)} ON DATABASE {database} TO {user}; {lost}")
    return Finding(
        name="target", status="warn" if remedies else "ok", found=found, remedy="\n".join(remedies)
    )
