"""A second run writes what changed and nothing else, whoever changed it: files, configuration or others."""

from __future__ import annotations

import gzip
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from seedlab import orchestrator
from seedlab.database.postgres.session import PostgresSession
from seedlab.errors import ConfigurationError, DataFaults, WriteError
from seedlab.flow import Commit, Project, Run, memory
from seedlab.steps.writing.transaction import NO_LEDGER
from tests.fix_postgres import PostgresServer
from tests.support.again import INTACT, SAVED, UNCHANGED, by_table, generation, in_sqlite, told
from tests.support.cases import some
from tests.support.school import CITIES, ONE_STAGE, PUPILS, SEED, STAGE, TABLES
from tests.support.seeding import counted, dump, execute, rows_of, seed, undo, write

# ---- nothing changed ------------------------------------------------------------------------------------


def test_a_second_run_writes_nothing_and_counts_every_row(school: Path, url: str) -> None:
    seed(school, url)
    held, runs = dump(url), generation(url)

    again = [seed(school, url) for _ in range(20)]

    assert told(again[0]) == UNCHANGED
    assert by_table(again[0]) == {"cities/cities": (0, 0, 2), "pupils/pupils": (0, 0, 3)}
    assert (dump(url), generation(url)) == (held, runs)
    if not in_sqlite(url):  # others on the server log, too, but not all of the time
        assert 0 in [run.wal_bytes for run in again]


@pytest.mark.parametrize("commit", ["run", "stage"])
@pytest.mark.parametrize("there", [False, True])
def test_a_subset_leaves_out_the_same_rows_whichever_stage_changed(
    school: Path, url: str, commit: Commit, there: bool
) -> None:
    """Also where somebody else has such a row's parent."""
    write(school, {"seedlab.toml": "[environments.development]\nsubset = { cities = 1 }\n"})
    first = seed(school, url)
    if there:
        execute(url, "INSERT INTO cities (code) VALUES ('tlv')")
    write(school, {"pupils.csv": PUPILS.replace("11", "12")})

    again = seed(school, url, commit=commit)

    assert (counted(first), counted(again)) == ((3, 0, 0), (0, 1, 2))
    assert rows_of(url, "SELECT name, age FROM pupils ORDER BY 1") == [("Ada", 9), ("Cid", 12)]
    assert {stage.status for stage in seed(school, url).stages} == {"skipped"}


def test_a_run_with_nothing_to_do_waits_for_nobody(school: Path, clean_postgres_url: str) -> None:
    url = clean_postgres_url
    execute(url, TABLES)
    seed(school, url)
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE seedlab.lock IN EXCLUSIVE MODE")
        other.execute("LOCK TABLE cities, pupils IN SHARE ROW EXCLUSIVE MODE")
        again = seed(school, url, lock_timeout="1ms")

    assert told(again) == UNCHANGED


@pytest.mark.parametrize("tables", [3, 30])
def test_looking_takes_few_statements_however_many_tables(
    folder: Path, clean_postgres_url: str, tables: int
) -> None:
    execute(clean_postgres_url, "".join(f"CREATE TABLE t{n} (code text PRIMARY KEY);" for n in range(tables)))
    write(folder, {f"t{n}.csv": "code\na\nb\n" for n in range(tables)})
    seed(folder, clean_postgres_url)

    again = seed(folder, clean_postgres_url)

    assert counted(again) == (0, 0, 2 * tables)
    assert again.counters.statements == 8


def test_a_file_that_was_another_while_it_was_read_is_read_again(
    school: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is hashed first: who undoes a change meanwhile leaves a file of the same hash as before."""
    seed(school, url)
    original = orchestrator.file_hashes
    write(school, {"pupils.csv": PUPILS.replace("11", "12")})

    def hashed(project: Project) -> dict[str, str]:
        hashes = original(project)
        write(school, {"pupils.csv": PUPILS.replace("11", "13")})
        return hashes

    with monkeypatch.context() as patched:
        patched.setattr(orchestrator, "file_hashes", hashed)
        assert by_table(seed(school, url))["pupils/pupils"] == (0, 1, 2)
    assert rows_of(url, "SELECT age FROM pupils WHERE name = 'Cid'") == [(13,)]
    write(school, {"pupils.csv": PUPILS.replace("11", "12")})

    mended = seed(school, url)

    assert by_table(mended)["pupils/pupils"] == (0, 1, 2)
    assert rows_of(url, "SELECT age FROM pupils WHERE name = 'Cid'") == [(12,)]
    assert told(seed(school, url)) == UNCHANGED


# ---- files that changed ---------------------------------------------------------------------------------

GLOB = (
    STAGE.format("cities")
    + SEED.format("cities", "cities/*.csv")
    + 'table = "cities"\n'
    + STAGE.format("pupils")
    + 'dependencies = ["cities"]\n'
    + SEED.format("pupils", "pupils/*.csv")
    + 'table = "pupils"\n'
    + SEED.format("more", "more/*.csv")
    + 'table = "pupils"\n'
)
MANY = {
    "cities/a.csv": "code,name\nhfa,Haifa\ntlv,Tel Aviv\n",
    "cities/b.csv": "code,name\njer,Jerusalem\n",
    "pupils/a.csv": "name,city.code,age\nAda,hfa,9\nBob,tlv,\n",
    "pupils/b.csv": "name,city.code,age\nCid,jer,11\nDan,hfa,12\n",
    "more/c.csv": "name,city.code,age\nEve,tlv,10\n",
}
ALL = {"cities/cities": (0, 0, 3), "pupils/pupils": (0, 0, 4), "more/pupils": (0, 0, 1)}


@pytest.fixture
def many(folder: Path) -> Path:
    """Two stages, three seeds, five files, two tables."""
    return write(folder, {"seedlab.toml": GLOB, **MANY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Files written (None: removed), what becomes of the tables, why stages run."""

    files: dict[str, str | None]
    counts: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    reasons: tuple[str, str] = ("unchanged", "unchanged")


EDITS = {
    "a value": Edit(
        files={"pupils/b.csv": MANY["pupils/b.csv"].replace("11", "12")},
        counts={"pupils/pupils": (0, 1, 3)},
        reasons=("unchanged", "pupils/b.csv changed (1 row)"),
    ),
    "a parent's value": Edit(
        files={"cities/b.csv": "code,name\njer,Yerushalayim\n"},
        counts={"cities/cities": (0, 1, 2)},
        reasons=("cities/b.csv changed (1 row)", "it depends on cities (0 rows)"),
    ),
    "values in two files": Edit(
        files={
            "pupils/a.csv": MANY["pupils/a.csv"].replace("9", "8"),
            "more/c.csv": "name,city.code,age\nEve,tlv,9\nFay,tlv,9\n",
        },
        counts={"pupils/pupils": (0, 1, 3), "more/pupils": (1, 1, 0)},
        reasons=("unchanged", "more/c.csv changed and 1 more (3 rows)"),
    ),
    "a new file": Edit(
        files={"pupils/d.csv": "name,city.code,age\nFay,tlv,9\n"},
        counts={"pupils/pupils": (1, 0, 4)},
        reasons=("unchanged", "pupils/d.csv is new (1 row)"),
    ),
    "a file removed": Edit(
        files={"pupils/b.csv": None},
        counts={"pupils/pupils": (0, 0, 2)},
        reasons=("unchanged", "pupils/b.csv is gone (0 rows)"),
    ),
    "a file renamed": Edit(
        files={"pupils/b.csv": None, "pupils/z.csv": MANY["pupils/b.csv"]},
        reasons=("unchanged", "pupils/b.csv is gone and 1 more (0 rows)"),
    ),
    "a row removed": Edit(
        files={"pupils/b.csv": "name,city.code,age\nCid,jer,11\n"},
        counts={"pupils/pupils": (0, 0, 3)},
        reasons=("unchanged", "pupils/b.csv changed (0 rows)"),
    ),
    "a row moved and changed": Edit(
        files={
            "pupils/a.csv": MANY["pupils/a.csv"] + "Dan,hfa,13\n",
            "pupils/b.csv": "name,city.code,age\nCid,jer,11\n",
        },
        counts={"pupils/pupils": (0, 1, 3)},
        reasons=("unchanged", "pupils/a.csv changed and 1 more (1 row)"),
    ),
    "a row moved to another seed": Edit(
        files={
            "more/c.csv": MANY["more/c.csv"] + "Dan,hfa,12\n",
            "pupils/b.csv": "name,city.code,age\nCid,jer,11\n",
        },
        counts={"pupils/pupils": (0, 0, 3), "more/pupils": (0, 0, 2)},
        reasons=("unchanged", "more/c.csv changed and 1 more (0 rows)"),
    ),
    "a key renamed": Edit(
        files={"pupils/b.csv": MANY["pupils/b.csv"].replace("Cid", "Sid")},
        counts={"pupils/pupils": (1, 0, 3)},
        reasons=("unchanged", "pupils/b.csv changed (1 row)"),
    ),
    "a parent's key renamed": Edit(
        files={
            "cities/b.csv": "code,name\njrs,Jerusalem\n",
            "pupils/b.csv": MANY["pupils/b.csv"].replace("jer", "jrs"),
        },
        counts={"cities/cities": (1, 0, 2), "pupils/pupils": (0, 1, 3)},
        reasons=("cities/b.csv changed (1 row)", "pupils/b.csv changed (1 row)"),
    ),
    "a child of a new parent": Edit(
        files={
            "cities/b.csv": MANY["cities/b.csv"] + "elt,Eilat\n",
            "pupils/b.csv": MANY["pupils/b.csv"] + "Fay,elt,9\n",
        },
        counts={"cities/cities": (1, 0, 3), "pupils/pupils": (1, 0, 4)},
        reasons=("cities/b.csv changed (1 row)", "pupils/b.csv changed (1 row)"),
    ),
    "a column more in one file": Edit(
        files={"cities/a.csv": "code\nhfa\ntlv\n"},
        counts={"cities/cities": (0, 2, 1)},
        reasons=("cities/a.csv changed (2 rows)", "it depends on cities (0 rows)"),
    ),
    "an empty file": Edit(
        files={"pupils/b.csv": "name,city.code,age\n"},
        counts={"pupils/pupils": (0, 0, 2)},
        reasons=("unchanged", "pupils/b.csv changed (0 rows)"),
    ),
    "a file that ends in a row more": Edit(
        files={"pupils/a.csv": MANY["pupils/a.csv"] + "Fay,hfa,9\n"},
        counts={"pupils/pupils": (1, 0, 4)},
        reasons=("unchanged", "pupils/a.csv changed (1 row)"),
    ),
}


def edit(folder: Path, files: dict[str, str | None]) -> None:
    write(folder, {name: text for name, text in files.items() if text is not None})
    for name in (name for name, text in files.items() if text is None):
        (folder / name).unlink()


@pytest.mark.parametrize(
    "name",
    some(
        EDITS,
        "a value",
        "values in two files",
        "a file renamed",
        "a row moved and changed",
        "a row moved to another seed",
        "a parent's key renamed",
        "a child of a new parent",
    ),
)
def test_what_changed_in_files_is_written_and_nothing_else(many: Path, url: str, name: str) -> None:
    case = EDITS[name]
    seed(many, url)
    edit(many, case.files)

    changed, again = seed(many, url), seed(many, url)

    assert by_table(changed) == ALL | case.counts
    assert tuple(reason for _, reason in told(changed)) == case.reasons
    assert told(again) == UNCHANGED
    assert all(counts[:2] == (0, 0) for counts in by_table(again).values())
    assert {n: sum(c) for n, c in by_table(again).items()} == {
        n: sum(c) for n, c in by_table(changed).items()
    }


SAME: dict[str, Callable[[str], str | bytes]] = {
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "a byte order mark": lambda text: "\ufeff" + text,
    "quotes": lambda text: text.replace("hfa", '"hfa"').replace("Ada", '"Ada"'),
    "no newline at the end": lambda text: text.rstrip("\n"),
    "rows in another order": lambda text: "\n".join(
        [*text.split("\n")[:1], *sorted(text.split("\n")[1:])[::-1]]
    ),
    "columns in another order": lambda text: "".join(
        ",".join(line.split(",")[::-1]) + "\n" for line in text.splitlines()
    ),
}


@pytest.mark.parametrize("how", some(SAME, "quotes", "rows in another order"))
def test_files_that_say_the_same_otherwise_change_nothing(many: Path, url: str, how: str) -> None:
    seed(many, url)
    runs, held = generation(url), dump(url)
    write(many, {name: SAME[how](text) for name, text in MANY.items()})

    again = [seed(many, url) for _ in range(2)]

    assert [told(each) for each in again] == [[("skipped", SAVED)] * 2] * 2
    assert by_table(again[0]) == ALL
    assert (generation(url), dump(url)) == (runs, held)


def test_a_parent_saved_again_makes_no_child_run(many: Path, url: str) -> None:
    seed(many, url)
    runs = generation(url)
    write(many, {"cities/a.csv": MANY["cities/a.csv"].replace("\n", "\r\n")})

    again = seed(many, url)

    assert told(again) == [("skipped", SAVED), ("skipped", "unchanged")]
    assert by_table(again) == ALL
    assert generation(url) == runs


def test_compression_and_spaces_of_documents_and_times_change_nothing(folder: Path, url: str) -> None:
    cities = '[{"code": "hfa", "name": "Haifa"}, {"code": "tlv", "name": null}]'
    write(folder, {"cities.json": cities, "pupils.csv.gz": gzip.compress(PUPILS.encode(), 1)})
    seed(folder, url)
    runs = generation(url)
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    touched = seed(folder, url)
    spaced = cities.replace(" ", "").replace(",", " ,\n\t")
    write(folder, {"cities.json": spaced, "pupils.csv.gz": gzip.compress(PUPILS.encode(), 9, mtime=7)})

    again = seed(folder, url)

    assert told(touched) == UNCHANGED
    assert told(again) == [("skipped", SAVED)] * 2
    assert counted(again) == (0, 0, 5)
    assert generation(url) == runs


def test_a_row_that_another_file_has_is_a_fault_with_both_places(many: Path, url: str) -> None:
    seed(many, url)
    held, runs = dump(url), generation(url)
    for name, other in (("pupils/b.csv", "pupils/a.csv:2"), ("more/c.csv", "pupils/a.csv:2")):
        write(many, {**MANY, name: MANY[name] + "Ada,hfa,9\n"})

        with pytest.raises(DataFaults) as failed:
            seed(many, url)

        (fault,) = failed.value.faults
        assert (fault.rule, fault.file, fault.line) == ("duplicate-key", name, MANY[name].count("\n") + 1)
        assert other in fault.message
    write(many, MANY)
    assert (dump(url), generation(url), told(seed(many, url))) == (held, runs, UNCHANGED)


def test_a_unique_value_that_an_unchanged_file_has_is_a_fault_with_both_places(many: Path, url: str) -> None:
    execute(url, "CREATE UNIQUE INDEX one_age ON pupils (age)")
    seed(many, url)
    held = dump(url)
    write(many, {"pupils/b.csv": MANY["pupils/b.csv"].replace("11", "9")})

    with pytest.raises(DataFaults) as failed:
        seed(many, url)

    print(failed.value.faults)
    assert dump(url) == held
    (fault,) = failed.value.faults
    assert (fault.rule, fault.file, fault.line) == ("unique", "pupils/b.csv", 2)
    assert "pupils/a.csv:2" in fault.message


def test_a_value_that_two_files_swap_is_written(many: Path, url: str) -> None:
    seed(many, url)
    write(
        many,
        {
            "pupils/a.csv": MANY["pupils/a.csv"].replace("Ada,hfa", "Ada,jer"),
            "more/c.csv": MANY["more/c.csv"].replace("tlv", "hfa"),
        },
    )

    changed = seed(many, url)

    assert by_table(changed) == ALL | {"pupils/pupils": (0, 1, 3), "more/pupils": (0, 1, 0)}
    assert rows_of(url, "SELECT p.name, code FROM pupils p JOIN cities c ON c.id = city_id ORDER BY 1") == [
        ("Ada", "jer"),
        ("Bob", "tlv"),
        ("Cid", "jer"),
        ("Dan", "hfa"),
        ("Eve", "hfa"),
    ]


def test_a_reference_by_another_key_follows_it_to_another_row(folder: Path, url: str) -> None:
    """The name, by which pupils find their city, is no key of cities that a row keeps."""
    execute(url, "CREATE UNIQUE INDEX one_name ON cities (name)")
    cities = "code,name\nhfa,Haifa\ntlv,Tel Aviv\njer,Jerusalem\n"
    pupils = "name,city.name,age\nAda,Haifa,9\nBob,Tel Aviv,\n"
    write(folder, {"seedlab.toml": ONE_STAGE, "cities.csv": cities, "pupils.csv": pupils})
    seed(folder, url)
    swapped = cities.replace("Haifa", "Eilat").replace("Jerusalem", "Haifa")
    write(folder, {"cities.csv": swapped})

    seed(folder, url)

    assert rows_of(url, "SELECT p.name, code FROM pupils p JOIN cities c ON c.id = city_id ORDER BY 1") == [
        ("Ada", "jer"),
        ("Bob", "tlv"),
    ]


def test_a_reference_by_another_key_to_its_own_table_follows_it(folder: Path, url: str) -> None:
    execute(
        url,
        "CREATE TABLE nodes (code text PRIMARY KEY, name text UNIQUE, up text REFERENCES nodes)",
    )
    config = STAGE.format("all") + SEED.format("nodes", "*.csv") + 'table = "nodes"\n'
    write(
        folder,
        {"seedlab.toml": config, "a.csv": "code,name\na,A\nb,B\n", "b.csv": "code,name,up.name\nc,C,A\n"},
    )
    seed(folder, url)
    write(folder, {"a.csv": "code,name\na,X\nb,A\n"})

    seed(folder, url)

    assert rows_of(url, "SELECT code, up FROM nodes ORDER BY 1") == [("a", None), ("b", None), ("c", "b")]


# ---- configuration, levels, selections ------------------------------------------------------------------

SETTINGS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "tags and priority": (
        GLOB.replace(
            '"pupils"\nsource', '"pupils"\ntags = ["x"]\npriority = "critical"\nestimated_ms = 7\nsource'
        ),
        UNCHANGED,
    ),
    "a stage's name": (GLOB.replace('name = "cities"\n[[', 'name = "All cities"\n[['), UNCHANGED),
    "the mode": (
        GLOB.replace('"pupils"\nsource', '"pupils"\nmode = "insert"\nsource'),
        [("skipped", "unchanged"), ("run", "its configuration changed (0 rows)")],
    ),
    "what doubles mean": (
        GLOB.replace('"pupils"\nsource', '"pupils"\nduplicates = "first"\nsource'),
        [("skipped", "unchanged"), ("run", "its configuration changed (0 rows)")],
    ),
    "a stage renamed": (
        GLOB.replace('id = "pupils"', 'id = "students"'),
        [("skipped", "unchanged"), ("run", "5 rows from 3 files")],
    ),
    "a seed renamed": (
        GLOB.replace('[[stages.seeds]]\nname = "pupils"', '[[stages.seeds]]\nname = "students"'),
        [("skipped", "unchanged"), ("run", "its configuration changed (0 rows)")],
    ),
    "a seed less": (
        GLOB[: GLOB.index('[[stages.seeds]]\nname = "more"')],
        [("skipped", "unchanged"), ("run", "more/c.csv is gone and 1 more (0 rows)")],
    ),
}


@pytest.mark.parametrize("what", some(SETTINGS, "a stage's name", "the mode", "a stage renamed"))
def test_configuration_that_rows_depend_on_makes_a_stage_run_once(many: Path, url: str, what: str) -> None:
    config, expected = SETTINGS[what]
    assert config != GLOB
    seed(many, url)
    held = dump(url)
    write(many, {"seedlab.toml": config})

    first, second = seed(many, url), seed(many, url)
    write(many, {"pupils/a.csv": MANY["pupils/a.csv"].replace("9", "8")})
    third, fourth = seed(many, url), seed(many, url)

    assert told(first) == expected
    assert counted(first)[:2] == (0, 0)
    assert counted(second) == counted(first)
    assert told(second) == told(fourth) == UNCHANGED
    changed = (0, 0) if what == "the mode" else (0, 1)
    assert counted(third)[:2] == changed
    assert third.outcomes.total == fourth.outcomes.total == first.outcomes.total
    assert len(dump(url)["pupils"]) == len(held["pupils"])


def test_rows_of_a_renamed_stage_are_still_compared_one_by_one(many: Path, url: str) -> None:
    """What the old name brought is in nobody's way."""
    seed(many, url)
    write(many, {"seedlab.toml": GLOB.replace('id = "pupils"', 'id = "students"')})
    seed(many, url)
    write(many, {"pupils/a.csv": MANY["pupils/a.csv"].replace("9", "8")})

    run = seed(many, url)

    assert by_table(run) == ALL | {"pupils/pupils": (0, 1, 3)}
    assert staged(run) == 1


def staged(run: Run) -> int:
    """How many rows were sent."""
    return sum(span.rows for span in run.spans if span.phase == "stage")


def test_of_files_that_changed_only_changed_rows_are_sent(many: Path, url: str) -> None:
    first = seed(many, url)
    write(many, {"pupils/a.csv": MANY["pupils/a.csv"].replace("9", "8")})
    changed = seed(many, url)

    assert (staged(first), staged(changed)) == (8, 1)


def test_a_row_that_moved_to_another_file_is_of_that_file(many: Path, url: str) -> None:
    seed(many, url)
    moved = {"pupils/a.csv": MANY["pupils/a.csv"].replace("Bob,tlv,\n", "")}
    write(many, moved | {"pupils/b.csv": MANY["pupils/b.csv"].replace("11", "10") + "Bob,tlv,\n"})
    there = seed(many, url)
    write(many, {"pupils/a.csv": moved["pupils/a.csv"].replace("9", "8")})
    beside = seed(many, url)

    assert by_table(there) == ALL | {"pupils/pupils": (0, 1, 3)}
    assert by_table(beside) == ALL | {"pupils/pupils": (0, 1, 3)}


@pytest.mark.parametrize("drift", [False, True])
def test_what_was_read_while_tables_were_asked_is_read_again_only_if_one_was_changed(
    many: Path, url: str, *, drift: bool
) -> None:
    first = seed(many, url)
    held = dump(url)
    write(many, {"pupils/a.csv": MANY["pupils/a.csv"].replace("9", "8")})
    if drift:
        execute(url, "UPDATE pupils SET age = 70 WHERE age <> 9")

    run = seed(many, url)

    one = MANY["pupils/a.csv"].count("\n") - 1
    ahead = 0 if in_sqlite(url) else one
    assert read(run) == (read(first) - len(held["cities"]) + ahead if drift else one)
    changed = [[type(value)(8) if str(value) == "9" else value for value in row] for row in held["pupils"]]
    assert dump(url) == held | {"pupils": changed}


def read(run: Run) -> int:
    """How many rows of files were parsed."""
    return sum(span.rows for span in run.spans if span.phase == "read")


def test_python_of_a_transform_makes_its_stage_run_again(folder: Path, url: str) -> None:
    script = "import polars as pl\n\ndef better(rows):\n    return {{'cities': rows.with_columns(name=pl.lit('{}'))}}\n"
    config = '[project]\ntransforms = "transforms.py"\n' + STAGE.format("cities")
    config += SEED.format("cities", "cities.csv") + 'transform = "better"\n'
    write(folder, {"seedlab.toml": config, "transforms.py": script.format("a"), "cities.csv": CITIES})
    seed(folder, url)
    same = seed(folder, url)
    write(folder, {"transforms.py": script.format("b")})

    changed, again = seed(folder, url), seed(folder, url)

    assert told(same) == told(again) == UNCHANGED[:1]
    assert told(changed) == [("run", "the project's Python changed (2 rows)")]
    assert counted(changed) == (0, 2, 0)


def test_another_environment_seeds_what_it_takes(many: Path, url: str) -> None:
    small = (
        "[environments.test]\nsubset = { cities = 1 }\n[environments.development]\n[environments.staging]\n"
    )
    write(many, {"seedlab.toml": GLOB + small})
    runs = [
        seed(many, url, environment=name)
        for name in ("development", "staging", "test", "test", "development", "development")
    ]

    other = "another environment was seeded (0 rows)"
    assert [told(each)[0] for each in runs] == [
        ("run", "3 rows from 2 files"),
        ("skipped", "unchanged"),
        ("run", other),
        ("skipped", "unchanged"),
        ("run", other),
        ("skipped", "unchanged"),
    ]
    assert [each.outcomes.total for each in runs] == [8, 8, 3, 3, 8, 8]
    assert len(dump(url)["pupils"]) == 5


def test_other_ids_are_another_configuration(folder: Path, clean_postgres_url: str) -> None:
    url = clean_postgres_url
    execute(url, "CREATE TABLE things (id uuid PRIMARY KEY, code text UNIQUE NOT NULL)")
    write(folder, {"things.csv": "code\na\nb\n"})
    seed(folder, url)
    held = dump(url)

    changed, again = seed(folder, url, ids="uuid5"), seed(folder, url, ids="uuid5")

    assert told(changed) == [("run", "its configuration changed (0 rows)")]
    assert told(again) == UNCHANGED[:1]
    assert dump(url) == held


@pytest.mark.parametrize("way", some(["legacy", "bulk", "parallel", "copy", "forced"], "legacy", "forced"))
def test_a_run_that_compares_everything_leaves_what_the_next_needs(many: Path, url: str, way: str) -> None:
    def whole() -> Run:
        return seed(many, url, force=True) if way == "forced" else seed(many, url, way)  # type: ignore[arg-type]

    first, again = whole(), seed(many, url)
    execute(url, "UPDATE cities SET name = 'x' WHERE code = 'hfa'; DELETE FROM pupils WHERE name = 'Eve'")
    mended, then = whole(), seed(many, url)
    write(many, {"pupils/a.csv": MANY["pupils/a.csv"].replace("9", "8")})
    changed, unchanged = seed(many, url), whole()

    assert counted(first) == (8, 0, 0)
    assert told(again) == told(then) == UNCHANGED
    assert counted(mended) == (1, 1, 6)
    assert (staged(changed), by_table(changed)) == (1, ALL | {"pupils/pupils": (0, 1, 3)})
    assert counted(unchanged) == (0, 0, 8)
    assert [status for status, _ in told(unchanged)] == ["run", "run"]


def test_stages_seeded_apart_are_known_together(many: Path, url: str) -> None:
    seed(many, url, select=["cities"])
    rest = seed(many, url)
    write(many, {"cities/b.csv": "code,name\njer,Yerushalayim\n"})
    part = seed(many, url, select=["cities"])
    again = seed(many, url, select=["cities"])
    whole, then = seed(many, url), seed(many, url)

    assert told(rest) == [("skipped", "unchanged"), ("run", "5 rows from 3 files")]
    assert told(part)[0] == ("run", "cities/b.csv changed (1 row)")
    assert told(again)[0] == ("skipped", "unchanged")
    assert told(whole) == [("skipped", "unchanged"), ("run", "it depends on cities (0 rows)")]
    assert told(then) == UNCHANGED
    assert by_table(then) == ALL


def test_seeds_of_a_stage_seeded_apart_are_known_together(many: Path, url: str) -> None:
    seed(many, url)
    held = dump(url)
    part = seed(many, url, select=["more"])
    execute(url, "UPDATE pupils SET age = 1 WHERE name = 'Ada'")
    other = seed(many, url, select=["more"])
    whole, again = seed(many, url), seed(many, url)
    write(many, {"more/c.csv": MANY["more/c.csv"].replace("10", "9")})
    changed = seed(many, url)

    print(told(part), told(other), told(whole), told(again))
    assert by_table(part) == {"more/pupils": (0, 0, 1)}
    assert by_table(whole)["pupils/pupils"] == (0, 1, 3)
    assert told(again) == UNCHANGED
    assert dump(url) != held
    assert by_table(changed) == ALL | {"more/pupils": (0, 1, 0)}


def test_two_projects_keep_their_rows_of_one_table_apart(tmp_path: Path, url: str) -> None:
    one = write(tmp_path / "one", {"cities.csv": CITIES})
    two = write(tmp_path / "two", {"cities.csv": "code,name\njer,Jerusalem\n"})
    seed(one, url)
    seed(two, url)
    assert [told(seed(folder, url)) for folder in (one, two)] == [UNCHANGED[:1]] * 2

    execute(url, "UPDATE cities SET name = 'x' WHERE code = 'hfa'")
    write(two, {"cities.csv": "code,name\njer,Yerushalayim\n"})
    other = seed(two, url)
    mended, then = seed(one, url), seed(two, url)

    assert counted(other) == (0, 1, 0)
    assert counted(mended) == (0, 1, 1)
    assert told(then) == told(seed(one, url)) == UNCHANGED[:1]
    assert rows_of(url, "SELECT name FROM cities ORDER BY code") == [
        ("Haifa",),
        ("Yerushalayim",),
        ("Tel Aviv",),
    ]


MORE = SEED.format("more", "more/*.csv")
APART = GLOB.replace(MORE, STAGE.format("more") + 'dependencies = ["cities"]\n' + MORE)


def test_a_run_of_one_stage_does_not_vouch_for_rows_of_another(many: Path, url: str) -> None:
    write(many, {"seedlab.toml": APART})
    seed(many, url)
    for n, script in enumerate(["UPDATE pupils SET age = 1 WHERE name = 'Ada'", "DELETE FROM pupils"]):
        execute(url, script)
        write(many, {"more/c.csv": MANY["more/c.csv"].replace("10", str(n))})
        seed(many, url, select=["more"])

        mended, again = seed(many, url), seed(many, url)

        assert sum(by_table(mended)["pupils/pupils"][:2]) == (1, 4)[n]
        assert len(dump(url)["pupils"]) == 5
        assert told(again) == [("skipped", "unchanged")] * 3


def test_taking_rows_back_does_not_vouch_for_others(many: Path, url: str) -> None:
    write(many, {"seedlab.toml": APART})
    seed(many, url)
    held = dump(url)
    undo(many, url, "more")
    intact, again = seed(many, url), seed(many, url)
    execute(url, "UPDATE pupils SET age = 1 WHERE name = 'Ada'")

    undo(many, url, "more")
    mended = seed(many, url)

    assert by_table(intact) == ALL | {"more/pupils": (1, 0, 0)}
    assert [status for status, _ in told(intact)] == ["skipped", "skipped", "run"]
    assert told(again) == [("skipped", "unchanged")] * 3
    assert by_table(mended) == ALL | {"pupils/pupils": (0, 1, 3), "more/pupils": (1, 0, 0)}
    assert dump(url) == held


def test_a_table_of_which_we_have_no_row_is_not_ours(school: Path, url: str) -> None:
    write(school, {"pupils.csv": "name,city.code,age\n"})
    own = "INSERT INTO pupils (name, city_id) SELECT '{}', min(id) FROM cities"
    runs = [seed(school, url)]
    for name in ("Eve", "Fay"):
        execute(url, own.format(name))
        runs.append(seed(school, url))
        runs.append(seed(school, url, force=True))

    assert [told(run)[1] for run in runs[1::2]] == [("skipped", INTACT)] * 2
    assert told(seed(school, url)) == UNCHANGED


def test_a_stage_that_comes_back_is_compared_with_what_another_wrote(many: Path, url: str) -> None:
    """As on two branches, of which one has renamed a stage."""
    renamed, changed = (
        GLOB.replace('id = "pupils"', 'id = "students"'),
        MANY["pupils/a.csv"].replace("9", "8"),
    )
    seed(many, url)
    held = dump(url)
    write(many, {"seedlab.toml": renamed, "pupils/a.csv": changed})
    seed(many, url)
    write(many, {"seedlab.toml": GLOB, **MANY})

    back, again = seed(many, url), seed(many, url)

    assert by_table(back) == ALL | {"pupils/pupils": (0, 1, 3)}
    assert dump(url) == held
    assert told(again) == UNCHANGED


@pytest.mark.parametrize("what", ["stage", "seed"])
def test_rows_stay_ours_under_another_name(many: Path, url: str, what: str) -> None:
    sync = GLOB.replace('"pupils"\nsource', '"pupils"\nmode = "sync"\nsource')
    old = {"stage": 'id = "pupils"', "seed": '[[stages.seeds]]\nname = "pupils"'}[what]
    write(many, {"seedlab.toml": sync})
    seed(many, url)
    write(many, {"seedlab.toml": sync.replace(old, old.replace("pupils", "students"))})
    seed(many, url)
    write(many, {"pupils/b.csv": "name,city.code,age\nCid,jer,11\n"})

    less = seed(many, url, max_delete="100%")

    assert less.outcomes.deleted == 1
    assert "Dan" not in {row[0] for row in dump(url)["pupils"]}


@pytest.mark.parametrize("disabled", [set(), {"incremental"}])
def test_files_emptied_of_rows_named_by_their_parent_leave_the_rows(
    folder: Path, url: str, disabled: set[str]
) -> None:
    execute(
        url,
        "CREATE TABLE streets (id SERIAL KEY, name text NOT NULL, city_id int NOT NULL REFERENCES cities, "
        "UNIQUE (name, city_id))",
    )
    write(folder, {"cities.csv": "code\nhfa\n", "streets.csv": "name,city.code\nHerzl,hfa\n"})
    seed(folder, url)
    held = dump(url)
    write(folder, {"cities.csv": "code\n", "streets.csv": "name,city.code\n"})

    emptied = seed(folder, url, disabled=frozenset(disabled))

    assert counted(emptied) == (0, 0, 0)
    assert dump(url) == held


# ---- rights -----------------------------------------------------------------------------------------------


@pytest.fixture
def guest(clean_postgres_url: str, postgres_server: PostgresServer) -> Iterator[tuple[str, str]]:
    """The database of the school, a role that may read and write its rows and nothing else; URL and name."""
    if postgres_server.superuser_url is None:
        pytest.skip("the server given lets us make no role")
    url, role = clean_postgres_url, f"guest_{uuid.uuid4().hex}"
    execute(url, TABLES)
    with psycopg.connect(postgres_server.superuser_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN")
        execute(
            url,
            f"GRANT SELECT, INSERT, UPDATE ON cities, pupils TO {role};"
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}; GRANT USAGE ON SCHEMA public TO {role}",
        )
        yield url.replace("seedlab@", f"{role}@", 1), role
        execute(
            url, "DROP SCHEMA IF EXISTS seedlab CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public"
        )
        admin.execute(f"DROP ROLE {role}")


def test_who_may_make_no_ledger_seeds_without(
    school: Path, clean_postgres_url: str, guest: tuple[str, str]
) -> None:
    runs = [seed(school, guest[0]) for _ in range(2)]

    assert [counted(run) for run in runs] == [(5, 0, 0), (0, 0, 5)]
    assert all(NO_LEDGER in run.notes for run in runs)
    assert rows_of(clean_postgres_url, "SELECT to_regnamespace('seedlab')::text") == [(None,)]


def test_who_may_use_the_ledger_but_make_no_table_in_it_keeps_rows_undivided(
    school: Path, clean_postgres_url: str, guest: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, (guests, role) = clean_postgres_url, guest
    seed(school, url)
    undo(school, url)
    execute(
        url,
        f"GRANT USAGE ON SCHEMA seedlab TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA seedlab TO {role};"
        f"GRANT DELETE ON cities, pupils TO {role}",
    )
    monkeypatch.setattr(memory, "PACK_BYTES", 30)  # of a row

    counts = [counted(seed(school, guests))]
    write(school, {"pupils.csv": PUPILS.replace("11", "12")})
    counts += [counted(seed(school, guests)) for _ in range(2)]

    assert counts == [(5, 0, 0), (0, 1, 4), (0, 0, 5)]
    assert rows_of(url, "SELECT to_regclass('seedlab.packs')::text") == [(None,)]
    undo(school, guests)
    assert rows_of(url, "SELECT count(*) FROM pupils") == [(0,)]


def test_who_may_not_read_the_ledger_seeds_without_and_the_owner_sees_it(
    school: Path, clean_postgres_url: str, guest: tuple[str, str]
) -> None:
    seed(school, clean_postgres_url)
    write(school, {"pupils.csv": PUPILS.replace("11", "12")})

    runs = [seed(school, guest[0]) for _ in range(2)]
    owner, again = seed(school, clean_postgres_url), seed(school, clean_postgres_url)

    assert [counted(run) for run in runs] == [(0, 1, 4), (0, 0, 5)]
    assert all(NO_LEDGER in run.notes for run in runs)
    assert told(owner) == [
        ("skipped", "unchanged"),
        ("run", "table pupils was changed since the last seed (0 rows)"),
    ]
    assert told(again) == UNCHANGED
    with pytest.raises(ConfigurationError, match="may not read the ledger of this target; have the owner"):
        undo(school, guest[0])


def test_who_may_only_read_the_ledger_can_skip_but_not_write(
    school: Path, clean_postgres_url: str, guest: tuple[str, str]
) -> None:
    url, role = clean_postgres_url, guest[1]
    seed(school, url)
    held = dump(url)
    execute(url, f"GRANT USAGE ON SCHEMA seedlab TO {role}")
    execute(url, f"GRANT SELECT ON ALL TABLES IN SCHEMA seedlab TO {role}")
    same = seed(school, guest[0])
    write(school, {"pupils.csv": PUPILS.replace("11", "12")})

    with pytest.raises(WriteError, match=r"the ledger.*seedlab doctor"):
        seed(school, guest[0])

    assert told(same) == UNCHANGED
    assert dump(url) == held


# ---- an application at work at the same time --------------------------------------------------------------


@pytest.mark.parametrize(
    "files", [{"pupils/a.csv": "9"}, {"cities/b.csv": "Jerusalem"}], ids=["child", "parent"]
)
def test_what_others_do_while_we_write_is_seen_the_next_time(
    many: Path, clean_postgres_url: str, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the lock: rows of files that did not change are not looked at again."""
    url = clean_postgres_url
    execute(url, TABLES)
    seed(many, url)
    write(many, {name: MANY[name].replace(old, "8") for name, old in files.items()})
    lock = PostgresSession.lock

    def drifting(session: PostgresSession, *asked: str | None) -> int:
        execute(
            url,
            "UPDATE pupils SET age = 1 WHERE name = 'Dan'; UPDATE cities SET name = 'x' WHERE code = 'hfa'",
        )
        return lock(session, *asked)

    with monkeypatch.context() as patched:
        patched.setattr(PostgresSession, "lock", drifting)
        seed(many, url)
    seed(many, url)

    assert rows_of(url, "SELECT name FROM cities WHERE code = 'hfa'") == [("Haifa",)]
    assert rows_of(url, "SELECT age FROM pupils WHERE name = 'Dan'") == [(12,)]
    assert told(seed(many, url)) == UNCHANGED


@pytest.mark.parametrize(
    "also", [{}, {"pupils/b.csv": MANY["pupils/b.csv"].replace("11", "12")}], ids=["alone", "too"]
)
def test_what_others_did_to_children_is_seen_when_a_parent_was_saved_again(
    many: Path, url: str, also: dict[str, str]
) -> None:
    seed(many, url)
    write(many, {"cities/a.csv": MANY["cities/a.csv"].replace("\n", "\r\n"), **also})
    execute(url, "UPDATE pupils SET age = 1 WHERE name = 'Ada'")

    mended = seed(many, url)

    assert by_table(mended) == ALL | {"pupils/pupils": (0, 1 + len(also), 3 - len(also))}
    assert told(mended) == [
        ("skipped", SAVED),
        ("run", f"table pupils was changed since the last seed ({'2 rows' if also else '1 row'})"),
    ]


BADGES = """
CREATE TABLE teams (id SERIAL KEY, slug varchar(9) NOT NULL UNIQUE);
CREATE TABLE badges (
  id SERIAL KEY, team_id int NOT NULL REFERENCES teams, name varchar(9) NOT NULL, CONSTRAINT badge UNIQUE (team_id, name)
);
"""


@pytest.mark.parametrize(
    ("teams", "commit"), [("", "run"), ("red\n", "stage")], ids=["no parents either", "a stage of its own"]
)
def test_a_file_without_rows_may_have_some_later(
    folder: Path, clean_database_url: str, teams: str, commit: Commit
) -> None:
    url = clean_database_url
    execute(url, BADGES)
    seed(write(folder, {"teams.csv": f"slug\n{teams}", "badges.csv": "team.slug,name\n"}), url, commit=commit)

    for badge in ("red,gold\n", "red,tin\n"):
        write(folder, {"teams.csv": "slug\nred\n", "badges.csv": f"team.slug,name\n{badge}"})
        assert counted(seed(folder, url, commit=commit))[0] >= 1

    assert rows_of(url, "SELECT name FROM badges ORDER BY id") == [("gold",), ("tin",)]
