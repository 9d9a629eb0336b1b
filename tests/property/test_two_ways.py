"""Whatever was done before: a run leaves what one would leave that reads everything and compares every row.

Beside each run stands another, on a copy of the database as it was, at another level and with all that spares
work switched off. Both must tell the same of every row and leave the same rows, and the next run has nothing to do.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from seedlab.errors import DataFaults, Refused
from seedlab.flow import Commit, Outcomes
from tests.support.school import SEED, STAGE
from tests.support.seeding import WAYS, Way, execute, portable_dump, seed, write
from tests.support.walks import walks

TABLES = """
CREATE TABLE cities (id SERIAL KEY, code text NOT NULL UNIQUE, name text);
CREATE TABLE pupils (
  id SERIAL KEY, code text NOT NULL UNIQUE, city_id int REFERENCES cities, friend_id int REFERENCES pupils,
  email text UNIQUE, age int CHECK (age < 100)
);
CREATE TABLE notes (code text, n int);
"""
HEADERS = {"cities": "code,name", "pupils": "code,city.code,friend.code,email,age", "notes": "code,n"}
LAYOUTS = ([["cities", "pupils", "notes"]], [["cities"], ["notes"], ["pupils"]])
CITIES, PUPILS, FILES = ("c1", "c2", "c3"), ("p1", "p2", "p3", "p4"), ("a", "b")
OTHERS = (
    "UPDATE pupils SET age = 7",
    "UPDATE pupils SET city_id = NULL WHERE code < 'p3'",
    "UPDATE cities SET name = 'theirs'",
    "UPDATE pupils SET friend_id = NULL; DELETE FROM pupils WHERE code > 'p2'",
    "DELETE FROM notes WHERE n = 1",
    "INSERT INTO notes VALUES ('c1', 1), ('own', NULL)",
    "INSERT INTO cities (code) VALUES ('own') ON CONFLICT DO NOTHING",
    "UPDATE OR IGNORE pupils SET code = 'was' || code WHERE code = 'p1'",
)
Result = Outcomes | set[str]


def _edit(name: str, /, **how: Any) -> tuple[str, dict[str, Any]]:
    return name, how


WHICH, FILE = st.integers(0, 1), st.sampled_from(FILES)
EDITS = st.one_of(  # names of methods of TwoWays, and what they are called with
    st.builds(
        _edit,
        st.just("put_city"),
        which=WHICH,
        code=st.sampled_from(CITIES),
        file=FILE,
        name=st.sampled_from("xy"),
    ),
    st.builds(
        _edit,
        st.just("put_pupil"),
        which=WHICH,
        code=st.sampled_from(PUPILS),
        file=FILE,
        city=st.sampled_from(CITIES),
        friend=st.sampled_from(["", *PUPILS]),
        email=st.sampled_from(["", "", "e1", "e2"]),
        age=st.sampled_from(["", "5", "6", "200"]),
    ),
    st.builds(
        _edit,
        st.just("put_note"),
        which=WHICH,
        key=st.integers(1, 4),
        file=FILE,
        n=st.sampled_from(["", "1"]),
    ),
    st.builds(
        _edit,
        st.just("take_out"),
        which=WHICH,
        table=st.sampled_from(["pupils", "notes"]),
        place=st.integers(0, 3),
    ),
    st.builds(
        _edit,
        st.just("choose_mode"),
        table=st.sampled_from(["cities", "pupils"]),
        mode=st.sampled_from(["insert", "upsert", "sync"]),
    ),
    st.builds(
        _edit,
        st.just("configure"),
        layout=WHICH,
        subset=st.sampled_from(["", "", "cities = 1", "pupils = 2"]),
    ),
    st.builds(_edit, st.just("write_behind_our_back"), what=st.sampled_from(OTHERS)),
)

MANNERS = st.fixed_dictionaries(
    {
        "way": st.just(Way()) | st.sampled_from(WAYS),
        "other": st.sampled_from(WAYS),
        "batch_rows": st.sampled_from([1, 2, 500_000]),
        "commit": st.sampled_from(["run", "run", "stage"]),
        "rejects": st.booleans(),
    }
)


class Project:
    """A folder; of each row the file that it is in, and how it is configured."""

    def __init__(self, name: str) -> None:
        self.folder, self.name = Path(tempfile.mkdtemp(), name), name
        self.rows: dict[str, dict[str, tuple[str, str]]] = {table: {} for table in HEADERS}
        self.modes = dict.fromkeys(HEADERS, "upsert")
        self.layout, self.subset = 0, ""

    def save(self) -> None:
        text = f"[environments.development]\nsubset = {{ {self.subset} }}\n" if self.subset else ""
        before: list[str] = []
        for tables in LAYOUTS[self.layout]:
            text += STAGE.format(tables[0]) + f"dependencies = {before}\n"
            before = [*before, tables[0]]
            for table in tables:
                text += SEED.format(table, f"{table}-*.csv") + f'table = "{table}"\n'
                text += f'mode = "{self.modes[table]}"\n'
        files = {
            f"{table}-{file}.csv": "".join(
                f"{line}\n" for line in (header, *(x for f, x in self.rows[table].values() if f == file))
            )
            for table, header in HEADERS.items()
            for file in FILES
        }
        write(self.folder, {"seedlab.toml": text, **files})


class TwoWays(RuleBasedStateMachine):
    """Two projects that seed into one database, and others that write to it."""

    def __init__(self) -> None:
        super().__init__()
        self.database = Path(tempfile.mkdtemp(), "a.db")
        execute(self.url, TABLES)
        self.projects = [Project("ours"), Project("another")]

    @property
    def url(self) -> str:
        return f"sqlite:///{self.database}"

    @initialize()
    def begin(self) -> None:
        for code in CITIES[:2]:
            self.put_city(0, code, "a", "x")
        for code in PUPILS[:3]:
            self.put_pupil(0, code, "b", "c1", "", "", "5")
        for n, project in enumerate(self.projects):
            project.rows["notes"] = {str(key): ("a", f"c{n},{key}") for key in (1, 2)}

    # ---- files; the second project has rows of its own ----

    def put_city(self, which: int, code: str, file: str, name: str) -> None:
        self.projects[which].rows["cities"][code] = (file, f"{code}{'z' * which},{name}")

    def put_pupil(
        self, which: int, code: str, file: str, city: str, friend: str, email: str, age: str
    ) -> None:
        own = "z" * which
        friend = f"{friend}{own}" if friend in self.projects[which].rows["pupils"] else ""
        city = f"{city}{own}" if city in self.projects[which].rows["cities"] else ""
        email = f"{email}{own}" if email else ""
        self.projects[which].rows["pupils"][code] = (file, f"{code}{own},{city},{friend},{email},{age}")

    def put_note(self, which: int, key: int, file: str, n: str) -> None:
        self.projects[which].rows["notes"][str(key)] = (file, f"c{which},{n}")

    def take_out(self, which: int, table: str, place: int) -> None:
        rows = self.projects[which].rows[table]
        for key in [*rows][place : place + 1]:
            del rows[key]

    def choose_mode(self, table: str, mode: str) -> None:
        self.projects[0].modes[table] = mode

    def configure(self, layout: int, subset: str) -> None:
        self.projects[0].layout, self.projects[0].subset = layout, subset

    # ---- others, and runs ----

    def write_behind_our_back(self, what: str) -> None:
        execute(self.url, what)

    @rule(edits=st.lists(EDITS, max_size=3), which=st.sampled_from([0, 0, 1]), manner=MANNERS)
    def edit_and_run(self, edits: list[tuple[str, Any]], which: int, manner: dict[str, Any]) -> None:
        for name, how in edits:
            getattr(self, name)(**how)
        self.run(self.projects[which], **manner)

    def run(
        self, project: Project, way: Way, other: Way, batch_rows: int, commit: Commit, *, rejects: bool
    ) -> None:
        project.save()
        copy = self.database.with_name("b.db")
        shutil.copy(self.database, copy)
        plain = f"sqlite:///{copy}"
        alone = not rejects and "sync" not in project.modes.values()
        how: dict[str, Any] = {"rejects": project.folder.parent / "rejects" if rejects else None}

        told = result(project, self.url, way, **how, batch_rows=batch_rows, commit=commit if alone else "run")
        every = Way(level=other.level, disabled=other.disabled | {"incremental"})

        assert told == result(project, plain, every, **how, force=True)
        if isinstance(told, Outcomes) or not alone:
            assert portable_dump(self.url) == portable_dump(plain)
        if isinstance(told, Outcomes) and not told.rejected:
            again = result(project, self.url, Way())
            assert again == Outcomes(unchanged=told.created + told.updated + told.unchanged)
            assert portable_dump(self.url) == portable_dump(plain)


def result(project: Project, url: str, way: Way, **how: Any) -> Result:
    """What became of the rows, the rules that some of them break, or why the run was refused.

    Of several broken constraints one is told, which depends on the way: in batches only the database looks for
    equal values of a column that is no key.
    """
    try:
        return seed(project.folder, url, way.level, disabled=way.disabled, max_delete="100%", **how).outcomes
    except DataFaults as found:
        return {fault.rule.replace("unique", "constraint") for fault in found.faults}
    except Refused as refused:  # a row of the files refers to one that left them, and is only in the database
        return {str(refused)}


@pytest.mark.slow
def test_a_run_leaves_what_one_that_compares_every_row_leaves() -> None:
    run_state_machine_as_test(
        TwoWays,
        settings=walks(24, steps=12),
    )
