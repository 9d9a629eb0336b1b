"""seedlab beside what a user would take instead, on the same rows: the academy, and the academy grown.

seedlab begins with the project's files: it reads, checks, names and resolves every row, and remembers what it
wrote. The others get rows that are resolved already.

    python -m tests.benchmarks --only beside [--rows 1000000] [--pairs 3] [--rivals psql,dlt]
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

from seedlab.database.models import load_metadata
from seedlab.database.proxy import DelayProxy
from seedlab.operations import generation
from seedlab.plan.project import load_project
from tests.benchmarks.bench import DATA, Bench, bench, seed
from tests.benchmarks.figures import Result
from tests.benchmarks.material import take
from tests.benchmarks.paired_runs import Asked, PairedRuns, Setup, measure_pairs, paired_table, tell
from tests.benchmarks.rivals import POSTGRES
from tests.benchmarks.rivals.contract import Rival

ASKED = {
    r"psql `\copy`": Asked(share=0.32),
    "dlt, replace": Asked(faster=3.5),
    "polars `write_database` (ADBC)": Asked(faster=3.2),
    "Django `bulk_create`": Asked(faster=13),
    "Prisma `createMany`": Asked(faster=45),
}
MILLION = 1_000_000  # rows of which that is asked
REMARK = """{rows:,} rows in {tables} tables. Medians; the ratio is the median of the pairs' ratios. seedlab: from reading
`seedlab.toml` to the commit, in process. The others: from their files, whose rows have their ids, in the order of
seedlab's tables, to the last commit; into the same tables with all constraints, unless told."""


def chosen(names: str | None) -> list[Rival]:
    """Every rival, or those whose class or name holds one of the words."""
    words = [word.strip().casefold() for word in (names or "").split(",") if word.strip()]
    made = [kind() for kind in POSTGRES]
    named = [f"{type(rival).__name__} {rival.name}".casefold() for rival in made]
    return [r for r, name in zip(made, named, strict=True) if not words or any(w in name for w in words)]


@contextmanager
def setup(place: Bench, project: Path, pairs: int) -> Iterator[Setup]:
    """Seed once, take the rows out again, and let the turns begin."""
    with tempfile.TemporaryDirectory(prefix="seedlab-rivals-") as name:
        folder = Path(name)
        place.time(lambda: seed(place.url, folder=project))
        metadata = load_metadata(project, "models.py:metadata")
        material = take(place.superuser_url, metadata, folder / "rows")
        yield Setup(
            place=place,
            url=place.url,
            material=material,
            ours=lambda: seed(place.url, folder=project),
            folder=folder,
            pairs=pairs,
        )


def rounds(found: Setup, rivals: Sequence[Rival], asked: dict[str, Asked]) -> list[PairedRuns]:
    return [measure_pairs(found, rival, asked.get(rival.name, Asked())) for rival in rivals]


def on_many_rows(rows: int, pairs: int, names: str | None = None) -> Result:
    """The academy grown; what is asked is asked of a million rows."""
    with bench() as place, tempfile.TemporaryDirectory() as name:
        grown = Path(name, "grown")
        tell(f"generating {rows:,} rows")
        generation.generate(load_project(DATA), rows=rows, out=grown)
        place.time(lambda: seed(place.url))  # imports
        with setup(place, grown, pairs) as found:
            results = rounds(found, chosen(names), ASKED if rows >= MILLION else {})
            remark = REMARK.format(rows=found.material.rows, tables=len(found.material.tables))
    return paired_table(f"Beside other tools, {rows:,} rows", remark, results)


def on_the_academy(pairs: int, names: str | None = None, *, round_trip_ms: float = 0) -> Result:
    """The academy, where fixed costs rule; with a delay both go through a proxy."""
    with bench() as place, setup(place, DATA, pairs) as near, ExitStack() as stack:
        found = near
        if round_trip_ms:
            proxy = DelayProxy(unix_socket=place.unix_socket, round_trip_ms=round_trip_ms)
            url = stack.enter_context(proxy).url_for(place.url)
            found = replace(near, url=url, ours=lambda: seed(url))
        results = rounds(found, chosen(names), {})
        remark = REMARK.format(rows=found.material.rows, tables=len(found.material.tables))
    delay = f"{round_trip_ms:g} ms a round trip" if round_trip_ms else "no delay"
    return paired_table(f"Beside other tools, the academy, {delay}", remark, results)


@cache
def versions(names: str | None = None) -> dict[str, str]:
    """Versions of the tools that are here."""
    return {
        name: version
        for rival in chosen(names)
        if not rival.missing()
        for name, version in rival.versions().items()
    }
