"""Edits, runs, interrupted runs and an application's own writes in any order: what a run leaves is right."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from seedlab.database.postgres.wire import Wire
from seedlab.database.sqlite.connection import CountedConnection
from seedlab.flow import Run
from tests.fix_clean import clean
from tests.support.school import SEED, STAGE, TABLES
from tests.support.seeding import WAYS, Way, execute, rows_of, seed, seed_in, write
from tests.support.walks import walks

# Which file brings which rows is drawn; cities always stay, so that every pupil has one.
CITIES = ("hfa", "tlv", "jer")
PUPILS = tuple(f"p{n}" for n in range(8))
FILES = ("a", "b", "c")  # the last is a seed of its own
NAMES = st.sampled_from(["", "x", "y", None])
AGES = st.none() | st.integers(0, 3)

CITIES_SEED = SEED.format("cities", "cities.csv")
PUPILS_SEED = SEED.format("pupils", "pupils/[ab].csv") + 'table = "pupils"\n'
MORE_SEED = SEED.format("more", "pupils/c.csv") + 'table = "pupils"\n'
AFTER = 'dependencies = ["cities"]\n'
LAYOUTS = (
    STAGE.format("all") + CITIES_SEED + PUPILS_SEED + MORE_SEED,
    STAGE.format("cities") + CITIES_SEED + STAGE.format("pupils") + AFTER + PUPILS_SEED + MORE_SEED,
    STAGE.format("cities")
    + CITIES_SEED
    + STAGE.format("pupils")
    + AFTER
    + PUPILS_SEED
    + STAGE.format("more")
    + AFTER
    + MORE_SEED,
)


class School(RuleBasedStateMachine):
    """A folder and a database, and beside them what both should hold."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.folder = Path(tempfile.mkdtemp())
        self.cities: dict[str, str | None] = dict.fromkeys(CITIES, "")
        self.pupils: dict[str, tuple[str, str, int | None]] = {}  # name: file, city, age
        self.own: dict[str, int] = {}  # the application's pupils
        self.columns = 0
        execute(url, TABLES)

    def teardown(self) -> None:
        clean_up(self.url)

    # ---- files ----

    @initialize(layout=st.sampled_from(LAYOUTS))
    def lay_out(self, layout: str) -> None:
        self.pupils = {name: (FILES[n % 3], CITIES[n % 3], n) for n, name in enumerate(PUPILS[:5])}
        self.configure(layout)

    @rule(layout=st.sampled_from(LAYOUTS))
    def configure(self, layout: str) -> None:
        write(self.folder, {"seedlab.toml": layout})
        self.save("\n")

    @rule(end=st.sampled_from(["\n", "\r\n"]))
    def save(self, end: str) -> None:
        cities = [f"{code},{quoted(name)}" for code, name in self.cities.items()]
        files = {"cities.csv": ["code,name", *cities]}
        for file in FILES:
            mine = [(name, *rest) for name, (there, *rest) in self.pupils.items() if there == file]
            lines = [f"{name},{city},{'' if age is None else age}" for name, city, age in mine]
            files[f"pupils/{file}.csv"] = ["name,city.code,age", *lines]
        write(self.folder, {name: end.join([*lines, ""]) for name, lines in files.items()})

    @rule(code=st.sampled_from(CITIES), name=NAMES)
    def edit_city(self, code: str, name: str | None) -> None:
        self.cities[code] = name
        self.save("\n")

    @rule(name=st.sampled_from(PUPILS), file=st.sampled_from(FILES), city=st.sampled_from(CITIES), age=AGES)
    def put_pupil(self, name: str, file: str, city: str, age: int | None) -> None:
        """Change a row, add one, or move one to another file."""
        self.pupils[name] = (file, city, age)
        self.save("\n")

    @rule(name=st.sampled_from(PUPILS))
    def take_pupil_out(self, name: str) -> None:
        self.pupils.pop(name, None)
        self.save("\n")

    # ---- others ----

    @rule(what=st.sampled_from(["UPDATE pupils SET age = 7", "UPDATE cities SET name = 'other'"]))
    def change_all(self, what: str) -> None:
        execute(self.url, what)
        self.own = dict.fromkeys(self.own, 7) if "pupils" in what else self.own

    @rule(name=st.sampled_from(PUPILS), age=AGES)
    def change_one(self, name: str, age: int | None) -> None:
        city = "(SELECT min(id) FROM cities)"
        value = "NULL" if age is None else age
        execute(self.url, f"UPDATE pupils SET age = {value}, city_id = {city} WHERE name = '{name}'")

    @rule(name=st.sampled_from(PUPILS))
    def replace_one(self, name: str) -> None:
        execute(
            self.url,
            f"DELETE FROM pupils WHERE name = '{name}'; INSERT INTO pupils (name, city_id) "
            f"SELECT '{name}', max(id) FROM cities HAVING max(id) IS NOT NULL",
        )

    @rule(name=st.sampled_from(PUPILS))
    def delete_one(self, name: str) -> None:
        execute(self.url, f"DELETE FROM pupils WHERE name = '{name}'")

    @rule(cities=st.booleans())
    def empty(self, *, cities: bool) -> None:
        execute(self.url, "DELETE FROM pupils;" + ("DELETE FROM cities" if cities else ""))
        self.own = {}

    @rule(name=st.sampled_from(["own1", "own2"]), age=st.integers(0, 9))
    def write_own(self, name: str, age: int) -> None:
        if not rows_of(self.url, "SELECT 1 FROM cities"):
            return
        execute(
            self.url,
            f"DELETE FROM pupils WHERE name = '{name}'; INSERT INTO pupils (name, city_id, age) "
            f"SELECT '{name}', min(id), {age} FROM cities",
        )
        self.own[name] = age

    @precondition(lambda self: self.columns < 2)
    @rule()
    def add_column(self) -> None:
        self.columns += 1
        execute(self.url, f"ALTER TABLE pupils ADD COLUMN more{self.columns} text")

    @rule()
    def drop_ledger(self) -> None:
        if self.url.startswith("sqlite"):
            execute(self.url, "DROP TABLE IF EXISTS seedlab_rows")
        else:
            execute(self.url, "DROP SCHEMA IF EXISTS seedlab CASCADE")

    # ---- runs ----

    @rule(way=st.just(Way()) | st.sampled_from(WAYS))
    def run(self, way: Way) -> None:
        self.check(seed_in(way, self.folder, self.url))

    @rule()
    def run_twice(self) -> None:
        self.check(seed(self.folder, self.url))
        before = self.state()

        again = seed(self.folder, self.url)

        self.check(again)
        assert {stage.status for stage in again.stages} == {"skipped"}
        assert self.state() == before

    @rule(seed_name=st.sampled_from(["cities", "more"]))
    def run_part(self, seed_name: str) -> None:
        """Enough to be in the way of the next whole run."""
        if rows_of(self.url, "SELECT count(*) FROM cities") == [(len(CITIES),)] or seed_name == "cities":
            seed(self.folder, self.url, select=[seed_name])

    @rule(statement=st.integers(1, 25), way=st.just(Way()) | st.sampled_from(WAYS))
    def interrupt(self, statement: int, way: Way) -> None:
        before = self.rows()
        with interrupted(statement):
            try:
                run = seed_in(way, self.folder, self.url)
            except KeyboardInterrupt:
                assert self.rows() == before
                return
        self.check(run)

    def check(self, run: Run) -> None:
        """Every row of the files is there as they say, the application's are as it left them."""
        cities, pupils = self.rows()
        assert {code: name for code, name in cities if code in self.cities} == self.cities
        assert {name: rest for name, *rest in pupils if name in self.pupils} == {
            name: list(rest) for name, (_, *rest) in self.pupils.items()
        }
        assert {name: age for name, _, age in pupils if name.startswith("own")} == self.own
        assert run.outcomes.total == len(self.cities) + len(self.pupils)

    def rows(self) -> tuple[list[Any], list[Any]]:
        pupils = "SELECT p.name, code, age FROM pupils p JOIN cities c ON c.id = city_id ORDER BY 1"
        return rows_of(self.url, "SELECT code, name FROM cities ORDER BY 1"), rows_of(self.url, pupils)

    def state(self) -> tuple[object, ...]:
        ledger = "seedlab_ledger" if self.url.startswith("sqlite") else "seedlab.ledger"
        return self.rows(), rows_of(self.url, f"SELECT generation FROM {ledger}")


def quoted(name: str | None) -> str:
    return "" if name is None else f'"{name}"'


@contextmanager
def interrupted(statement: int) -> Iterator[None]:
    """Press Ctrl-C just before a run sends its n-th message."""
    begun = count(1 - statement)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(CountedConnection, "run", _counting(CountedConnection.run, begun))
        for name in ("ask", "tell", "script", "end"):
            patched.setattr(Wire, name, _counting(getattr(Wire, name), begun))
        yield


def _counting(send: Callable[..., Any], begun: Iterator[int]) -> Callable[..., Any]:
    def counted(*args: Any, **named: Any) -> Any:
        if next(begun) == 0:
            raise KeyboardInterrupt
        return send(*args, **named)

    return counted


def clean_up(url: str) -> None:
    """Make room for the next example."""
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).unlink()
    else:
        clean(url)


@pytest.mark.slow
def test_any_order_of_edits_runs_and_writes_ends_well(clean_database_url: str) -> None:
    run_state_machine_as_test(
        lambda: School(clean_database_url),
        settings=walks(66, steps=50),
    )
