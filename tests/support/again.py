"""What a later run said and did, in the words of the tests."""

from __future__ import annotations

from seedlab.flow import Run
from tests.support.seeding import rows_of

INTACT = "table changed, seeded rows intact"
SAVED = "files were saved again, but no row changed"


def told(run: Run) -> list[tuple[str, str]]:
    """Status and reason of every stage."""
    return [(each.status, each.reason) for each in run.stages]


def by_table(run: Run) -> dict[str, tuple[int, int, int]]:
    """Created, updated, unchanged of every seed and table."""
    return {
        f"{seed.name}/{table.table}".replace("public.", "").replace("main.", ""): (
            table.outcomes.created,
            table.outcomes.updated,
            table.outcomes.unchanged,
        )
        for stage in run.stages
        for seed in stage.seeds
        for table in seed.tables
    }


def generation(url: str) -> int:
    """How many runs have written."""
    ledger = "seedlab_ledger" if url.startswith("sqlite") else "seedlab.ledger"
    return rows_of(url, f"SELECT generation FROM {ledger}")[0][0]


def in_sqlite(url: str) -> bool:
    return url.startswith("sqlite")


UNCHANGED = [("skipped", "unchanged")] * 2
