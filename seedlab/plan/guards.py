"""Guards against writing to a database by mistake. Only typing the database's name overrides one."""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Iterable, Mapping
from decimal import Decimal

from seedlab.errors import ConfigurationError, Refused
from seedlab.flow import Environment, Options, Stage, Target


def check_target(target: Target, environment: Environment, yes_seed: str | None) -> None:
    """Raise Refused, with what to type, unless this database may be seeded.

    The database's name is required for a protected environment. It is also required for a database on
    another machine that was not named explicitly: DATABASE_URL is often set for another program, and
    `[targets.default]` applies without being typed.
    """
    _demand_name(_reason(target, environment), target, yes_seed, act="seed")


def check_reset(target: Target, environment: Environment, yes_seed: str | None) -> None:
    """Raise Refused, with what to type, unless the rows that seedlab created may be deleted.

    The database's name is required for a protected environment and for any database on another machine.
    """
    reason = _protected(target, environment)
    if reason is None and not _is_here(target):
        reason = f"the database {target.shown} is on another machine"
    _demand_name(reason, target, yes_seed, act="reset")


def check_dry_run(environment: Environment) -> None:
    """Raise Refused in a protected environment: a dry run writes and locks before it rolls back."""
    if environment.protected:
        raise Refused(
            f"environment {environment.name} is protected, and a dry run writes to it before it rolls back; "
            "to see what a seed would do, type `seedlab plan`"
        )


def check_commit(options: Options) -> None:
    """Raise ConfigurationError for options that do not work if each stage is committed by itself."""
    if options.commit == "run":
        return
    if options.dry_run:
        raise ConfigurationError(
            "--dry-run rolls back what --commit stage would commit: later stages would not find the rows of "
            "earlier ones; leave --commit stage out"
        )
    if options.rejects is not None:
        raise ConfigurationError(
            "--on-error reject rejects a row with all rows that depend on it, also in other stages; "
            "leave --commit stage out"
        )


def check_stages(stages: Iterable[Stage]) -> None:
    """Raise ConfigurationError for stages that cannot be committed by themselves."""
    for seed in (seed for stage in stages for seed in stage.seeds):
        if seed.mode == "sync":
            raise ConfigurationError(
                f"seed {seed.name}: a sync deletes rows after all others are written, children first; "
                "leave --commit stage out"
            )


def check_deletes(doomed: Mapping[str, tuple[int, int]], limit: str | int | None) -> None:
    """Raise Refused, with what to type, unless `--max-delete` allows these deletions.

    `doomed` maps a description ("table pupils") to the numbers of rows to delete and of existing rows. A
    limit that is a number applies to the sum of all rows, a share to each entry. Without a limit no row may
    be deleted.
    """
    total = sum(deleted for deleted, _ in doomed.values())
    text = "0" if limit is None else str(limit)
    counts = doomed.values() if "%" in text else [(total, total)]
    if all(deleted <= allowed_deletes(text, existing) for deleted, existing in counts):
        return
    found = ", ".join(f"{what}: {deleted} of {existing} rows" for what, (deleted, existing) in doomed.items())
    found += " would be deleted"
    if limit is not None:
        found += f", more than --max-delete {limit} allows"
    raise Refused(f"{found}; to delete them, type --max-delete {total}")


def allowed_deletes(limit: str | int, existing: int) -> int:
    """Parse `--max-delete`: a number of rows, or a share of the existing ones like "10%", rounded down."""
    text = str(limit).strip()
    share = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]+)?)%", text)
    if share and Decimal(share[1]) <= 100:
        return int(Decimal(share[1]) * existing / 100)
    if isinstance(limit, bool) or not re.fullmatch(r"[0-9]+", text):
        raise ConfigurationError(
            f'--max-delete: expected a number of rows or a share like "10%", found {limit!r}'
        )
    return int(text)


def is_loopback(host: str) -> bool:
    """Tell whether every host of a URL is this machine: none, a socket, localhost, 127.0.0.0/8, ::1."""
    return all(_is_local(each.strip()) for each in host.split(","))


def _demand_name(reason: str | None, target: Target, yes_seed: str | None, *, act: str) -> None:
    """Raise Refused for a reason, if there is one, unless the database's name was typed."""
    if reason is None or (target.database and yes_seed == target.database):
        return
    if not target.database:
        raise Refused(f"{reason}, and the URL {target.shown} names no database; name it there")
    mistyped = f", not '{yes_seed}'" if yes_seed is not None else ""
    raise Refused(f"{reason}; to {act} it, type --yes-seed {shlex.quote(target.database)}{mistyped}")


def _protected(target: Target, environment: Environment) -> str | None:
    if not environment.protected:
        return None
    return f"environment {environment.name} is protected and the database is '{target.database}'"


def _reason(target: Target, environment: Environment) -> str | None:
    untyped = target.origin in ("DATABASE_URL", "[targets.default]")
    if environment.protected or not untyped or _is_here(target):
        return _protected(target, environment)
    way = "--target default" if target.origin == "[targets.default]" else "--database-url"
    return (
        f"{target.origin} points to another machine, {target.host} "
        f"(a target chosen with {way} needs no --yes-seed)"
    )


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
