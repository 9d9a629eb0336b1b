"""Whatever the schema and the rows: exported and seeded into an empty copy, they make the same database."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.exporting import counted, empty_copy, export, round_trip
from tests.support.seeding import execute, portable_dump, seed
from tests.support.worlds import World, tables_of, worlds, write_world

EXAMPLES = 8


@pytest.fixture(params=["postgresql", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return request.getfixturevalue("used_postgres_url")
    return f"sqlite:///{tmp_path / 'world.db'}"


def filled(url: str, world: World, folder: Path) -> str:
    """A database with the rows of a world; its DDL."""
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).unlink(missing_ok=True)
    schema = tables_of(world)
    (empty_copy if not url.startswith("sqlite") else execute)(url, schema)
    project = folder / "world"
    project.mkdir()
    write_world(project, world, ["csv"], list(range(7)))
    if any(world.rows.values()):
        seed(project, url)
    return schema


@pytest.mark.slow
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds(), with_ids=st.booleans())
def test_a_round_trip_makes_the_same_database(url: str, world: World, *, with_ids: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        schema = filled(url, world, Path(folder))
        if any(world.rows.values()):
            round_trip(url, schema, Path(folder) / "out", with_ids=with_ids)


@pytest.mark.slow
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds(), data=st.data())
def test_a_subset_is_whole(url: str, world: World, data: st.DataObject) -> None:
    tables = [shape.name for shape in world.shapes if world.rows[shape.name]]
    if not tables:
        return
    limits = data.draw(st.dictionaries(st.sampled_from(tables), st.integers(0, 4), min_size=1))
    with tempfile.TemporaryDirectory() as folder:
        schema = filled(url, world, Path(folder))
        whole = portable_dump(url)
        made = export(url, Path(folder) / "out", subset=limits)
        rows = {each.table: each.rows for each in made.tables}

        assert all(rows.get(name, 0) >= min(limit, len(whole[name])) for name, limit in limits.items())
        if made.rows:
            copy = empty_copy(url, schema)
            assert counted(seed(Path(folder) / "out", copy)) == (made.rows, 0, 0)
