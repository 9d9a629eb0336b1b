"""What protects a database from being seeded by mistake. No option but the typed name passes a guard."""

from __future__ import annotations

import ipaddress
import shlex

from seedlab.errors import ConfigurationError, Refused
from seedlab.flow import Environment, Project, Target


def check_target(target: Target, environment: Environment, yes_seed: str | None) -> None:
    """Raise Refused, with what to type, unless this database may be written to.

    A protected environment needs the database's name. Off loopback so do DATABASE_URL, which is often set
    for another program, and `[targets.default]`, which nobody typed.
    """
    reason = _reason(target, environment)
    if reason is None or (target.database and yes_seed == target.database):
        return
    if not target.database:
        raise Refused(f"{reason}, and the URL {target.shown} names no database; name it there")
    mistyped = f", not '{yes_seed}'" if yes_seed is not None else ""
    raise Refused(f"{reason}; to seed it, type --yes-seed {shlex.quote(target.database)}{mistyped}")


def refuse_sync(project: Project) -> None:
    """Raise ConfigurationError for seeds that would delete rows: nobody remembers yet whose they are."""
    for each in (*project.seeds, *(seed for stage in project.stages for seed in stage.seeds)):
        if each.mode == "sync":
            raise ConfigurationError(
                f"seed {each.name}: mode 'sync' deletes rows that seedlab created, and this version does not "
                'yet remember which those are; use mode = "upsert"'
            )


def is_loopback(host: str) -> bool:
    """Tell whether every host of a URL is this machine: a file, a socket, localhost, 127.0.0.0/8, ::1."""
    return all(_is_local(each.strip()) for each in host.split(","))


def _reason(target: Target, environment: Environment) -> str | None:
    if environment.protected:
        return f"environment {environment.name} is protected and the database is '{target.database}'"
    if target.origin not in ("DATABASE_URL", "[targets.default]") or _is_here(target):
        return None
    way = "--target default" if target.origin == "[targets.default]" else "--database-url"
    return f"{target.origin} leads to another machine, {target.host} (chosen by {way} it needs no consent)"


def _is_here(target: Target) -> bool:
    return target.dialect == "sqlite" or is_loopback(target.host)


def _is_local(host: str) -> bool:
    if host.lower() in ("", "localhost") or host.startswith(("/", "@")):  # @: an abstract socket
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
