"""In whatever order files, rows and columns come, and whatever the files are numbered: the same database."""

from __future__ import annotations

import csv
import io
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.awkward import Schema, constraints, ids, keys, relations
from tests.fix_clean import clean
from tests.support.asking import asking
from tests.support.seeding import counted, rows_of, seed, write

SCHEMAS = [
    keys.COMPOSITE,
    keys.SELF,
    keys.circle(3, "uuid"),
    ids.ALWAYS,
    relations.PARTITIONED,
    constraints.AUDITED,
]


def shuffled(text: str, chance: random.Random) -> str:
    """The same rows and columns in another order; these files need no quotes."""
    columns = list(zip(*csv.reader(io.StringIO(text)), strict=True))
    chance.shuffle(columns)
    header, *rows = zip(*columns, strict=True)
    chance.shuffle(rows)
    return "".join(",".join(row) + "\n" for row in (header, *rows))


@pytest.mark.slow
@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chance=st.randoms(use_true_random=False))
def test_no_order_matters(schema: Schema, used_postgres_url: str, chance: random.Random) -> None:
    url, names = used_postgres_url, list(schema.files)
    chance.shuffle(names)
    clean(url)
    with asking(url) as connection:
        connection.execute(schema.ddl)
    files = {f"{n:02}-{name}": shuffled(schema.files[name], chance) for n, name in enumerate(names)}

    with tempfile.TemporaryDirectory() as folder:
        runs = [seed(write(Path(folder), files), url, force=force) for force in (False, True)]

    assert [counted(run) for run in runs] == [(schema.rows, 0, 0), (0, 0, schema.rows)]
    for query, expected in schema.holds.items():
        assert rows_of(url, query) == expected, query
