"""Export a database as users do, and seed what comes out into an empty copy of its schema."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seedlab.database import connect
from seedlab.flow.exports import Exported
from seedlab.insight.measuring.monitor import Monitor
from seedlab.operations import exporting
from seedlab.plan.export_plan import Wanted
from tests.fix_clean import clean
from tests.support.seeding import counted, dump, execute, seed, stored


def export(url: str, out: Path, monitor: Monitor | None = None, **wanted: Any) -> Exported:
    """Export a database; every error comes out as it is."""
    limits: Mapping[str, int] = wanted.pop("subset", {})
    target = connect.parse_target(url, "--database-url")
    return exporting.export(target, out, Wanted(**wanted), limits, monitor or Monitor())


def empty_copy(url: str, schema: str, *scripts: str) -> str:
    """A database with the schema and no rows: for PostgreSQL the same one, emptied."""
    if url.startswith("sqlite"):
        url = f"{url}.copy"
        Path(url.removeprefix("sqlite:///")).unlink(missing_ok=True)
    else:
        clean(url)
    for script in (schema, *scripts):
        execute(url, script)
    return url


def texts(folder: Path) -> dict[str, str]:
    """Every data file, by name."""
    return {path.name: path.read_bytes().decode() for path in sorted(folder.glob("*.csv"))}


def round_trip(url: str, schema: str, out: Path, **wanted: Any) -> Exported:
    """Export, seed an empty copy, compare the databases; then nothing is left to do, for either.

    Generated ids that were left out are compared through keys.
    """
    made = export(url, out, **wanted)
    same = dump if any(each.hidden for each in made.tables) else stored
    held = same(url)
    assert made.rows == sum(map(len, stored(url).values()))
    assert counted(seed(out, url, dry_run=True)) == (0, 0, made.rows)

    copy = empty_copy(url, schema)
    assert counted(seed(out, copy)) == (made.rows, 0, 0)
    assert same(copy) == held
    assert counted(seed(out, copy, force=True)) == (0, 0, made.rows)

    again = out.with_name(f"{out.name}-again")
    export(copy, again, **wanted)
    assert texts(again) == texts(out)
    return made
