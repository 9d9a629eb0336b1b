"""Bad input: told with file, line, caret and cure, exit code 3, nothing written, no value shown unasked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from seedlab.cli import main
from seedlab.errors import ConfigurationError, DataFaults, Fault, WriteError
from seedlab.flow import Level
from seedlab.steps.preparing import reading
from tests.fix_sources import pointed
from tests.support.cases import some
from tests.support.seeding import Way, counted, dump, execute, rows_of, seed, seed_in, write

pytestmark = pytest.mark.usefixtures("plain_environment")
TABLES = """
CREATE TABLE cities (
  id SERIAL KEY, code character varying(12) NOT NULL UNIQUE, name text NOT NULL, size int, tax numeric(5,2), founded date
);
CREATE TABLE pupils (id SERIAL KEY, name text NOT NULL UNIQUE, city_id int NOT NULL REFERENCES cities);
INSERT INTO cities (id, code, name) VALUES (7, 'eil', 'Eilat');
"""
CANARY = "k4n4ry"  # stands where a message must not show it
GOOD_CITIES = "code,name\nhfa,Haifa\ntlv,Tel Aviv\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What must be said of one fault: where, which rule, what is under the caret, a part of the cure."""

    file: str
    line: int | None
    rule: str
    under: str | None = None
    cure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Files that are wrong, and all that must be said."""

    name: str
    files: dict[str, str | bytes]
    told: list[Told] = field(default_factory=list)

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


CASES = [
    Case(
        name="unknown column",
        files={"cities.csv": f"code,name,sice\nhfa,Haifa,{CANARY}\n"},
        told=[
            Told(file="cities.csv", line=1, rule="unknown-column", under="sice", cure="did you mean 'size'")
        ],
    ),
    Case(
        name="unknown relation column",
        files={"pupils.csv": f"name,city.cod\nAda,{CANARY}\n"},
        told=[Told(file="pupils.csv", line=1, rule="unknown-column", under="city.cod", cure="'city.cod'")],
    ),
    Case(
        name="missing column",
        files={"cities.csv": f"code,size\n{CANARY},1\n"},
        told=[Told(file="cities.csv", line=1, rule="not-null", cure="add the column")],
    ),
    Case(
        name="every missing parent",
        files={
            "cities.csv": GOOD_CITIES,
            "pupils.csv": f"name,city.code\nAda,{CANARY}\nBob,hfa\nCid,nowhere\nDan,eil\nEve,{CANARY}\n",
        },
        told=[
            Told(file="pupils.csv", line=line, rule="missing-parent", under=under, cure="matches city.code")
            for line, under in ((2, CANARY), (4, "nowhere"), (6, CANARY))
        ],
    ),
    Case(
        name="duplicate key",
        files={"cities.csv": f"code,name\n{CANARY},a\nb,b\n{CANARY},c\n"},
        told=[
            Told(file="cities.csv", line=4, rule="duplicate-key", under=CANARY, cure="first at line 2"),
        ],
    ),
    Case(
        name="duplicate key in another file",
        files={
            "1/cities.json": f'[{{"code": "{CANARY}",\n "name": "a"}}]',
            "2/cities.csv": f"name,code\nb,{CANARY}\n",
        },
        told=[
            Told(
                file="2/cities.csv", line=2, rule="duplicate-key", under=CANARY, cure="first at 1/cities.json"
            )
        ],
    ),
    Case(
        name="null in a key",
        files={"cities.csv": f"code,name\n,{CANARY}\n"},
        told=[
            Told(file="cities.csv", line=2, rule="null-key", cure="a key column needs a value in every row")
        ],
    ),
    Case(
        name="null in a column that must not be",
        files={"cities.csv": f"code,name\n{CANARY},\n"},
        told=[
            Told(file="cities.csv", line=2, rule="not-null", cure="column name of table cities is NOT NULL")
        ],
    ),
    Case(
        name="wrong types",
        files={
            "cities.csv": f"code,name,size,tax,founded\na,a,{CANARY},1.2.3,2024-02-30\nb,b,1.5,x{CANARY},1\n"
        },
        told=[
            Told(file="cities.csv", line=2, rule="type", under="2024-02-30", cure="is date"),
            Told(file="cities.csv", line=2, rule="type", under=CANARY, cure="column size"),
            Told(file="cities.csv", line=2, rule="type", under="1.2.3", cure="is numeric(5,2)"),
            Told(file="cities.csv", line=3, rule="type", under="1", cure="is date"),
            Told(file="cities.csv", line=3, rule="type", under="1.5", cure="column size"),
            Told(file="cities.csv", line=3, rule="type", under=f"x{CANARY}", cure="is numeric(5,2)"),
        ],
    ),
    Case(
        name="wrong types in documents",
        files={
            "cities.yaml": f"# comment\n- code: a\n  name: a\n  size: {CANARY}\n",
            "pupils.json": f'[\n  {{"name": "Ada",\n   "city": {{"code": "{CANARY}"}}}}\n]',
        },
        told=[
            Told(file="cities.yaml", line=2, rule="type", cure="column size"),
            Told(file="pupils.json", line=2, rule="missing-parent", cure="matches city.code"),
        ],
    ),
    Case(
        name="overflow",
        files={"cities.csv": "code,name,size,tax\na,a,99999999999999999999,1\nb,b,1,1000\n"},
        told=[
            Told(
                file="cities.csv",
                line=2,
                rule="overflow",
                under="99999999999999999999",
                cure="out of its range",
            ),
            Told(file="cities.csv", line=3, rule="overflow", under="1000", cure="out of its range"),
        ],
    ),
    Case(
        name="too long",
        files={"cities.csv": f"code,name\n{CANARY}{CANARY}{CANARY},a\n"},
        told=[Told(file="cities.csv", line=2, rule="too-long", under=CANARY * 3, cure="varying(12)")],
    ),
    Case(
        name="rounding",
        files={"cities.jsonl": '{"code": "a", "name": "a", "tax": 1.005}\n'},
        told=[Told(file="cities.jsonl", line=1, rule="rounding", cure="would be rounded")],
    ),
    Case(
        name="ragged rows",
        files={"cities.csv": f"code,name\na,b,{CANARY}\n{CANARY}\n"},
        told=[
            Told(
                file="cities.csv", line=2, rule="field-count", under=CANARY, cure="expected 2 fields, found 3"
            ),
            Told(file="cities.csv", line=3, rule="field-count", cure="expected 2 fields, found 1"),
        ],
    ),
    Case(
        name="broken quotes",
        files={"cities.csv": f'code,name\na,"{CANARY}\n'},
        told=[Told(file="cities.csv", line=2, rule="syntax", under='"', cure="never closed")],
    ),
    Case(
        name="broken json",
        files={
            "cities.json": f'[{{"code": "{CANARY}" "name": 1}}]',
            "pupils.jsonl": '{"name": "a"}\n{"name": \n',
        },
        told=[
            Told(file="cities.json", line=1, rule="syntax", under='"', cure="expecting ','"),
            Told(file="pupils.jsonl", line=2, rule="syntax", cure="expecting value"),
        ],
    ),
    Case(
        name="broken yaml",
        files={"cities.yaml": f"- code: a\n  name: {CANARY}\n bad: [1\n"},
        told=[Told(file="cities.yaml", line=3, rule="syntax", cure="while parsing")],
    ),
    Case(
        name="broken parquet",
        files={"cities.parquet": f"PAR1 {CANARY} PAR1".encode()},
        told=[Told(file="cities.parquet", line=None, rule="syntax", cure="not readable as parquet")],
    ),
    Case(
        name="utf-16",
        files={
            "cities.csv": GOOD_CITIES.encode("utf-16"),
            "pupils.json": '[{"name": "a"}]'.encode("utf-16-le"),
        },
        told=[
            Told(file="cities.csv", line=1, rule="encoding", cure="save the file as UTF-8"),
            Told(file="pupils.json", line=1, rule="encoding", cure="save the file as UTF-8"),
        ],
    ),
    Case(
        name="bytes that are not utf-8",
        files={"cities.csv": f"code,name\n{CANARY},".encode() + b"\xe9\n"},
        told=[Told(file="cities.csv", line=2, rule="encoding", cure="save the file as UTF-8")],
    ),
    Case(
        name="nul",
        files={"cities.csv": f"code,name\n{CANARY},a\0b\n", "pupils.jsonl": '{"name": "a\\u0000b"}\n'},
        told=[
            Told(file="cities.csv", line=2, rule="nul", cure="NUL"),
            Told(file="pupils.jsonl", line=1, rule="nul", cure="NUL"),
        ],
    ),
    Case(
        name="a part of a reference",
        files={"cities.csv": GOOD_CITIES, "pupils.csv": "name,city.code\nAda,\n"},
        told=[
            Told(file="pupils.csv", line=2, rule="not-null", cure="reference 'city' of table pupils is empty")
        ],
    ),
]


@pytest.fixture
def url(clean_database_url: str) -> str:
    execute(clean_database_url, TABLES)
    return clean_database_url


def faults_of(folder: Path, url: str) -> list[Fault]:
    with pytest.raises(DataFaults) as failed:
        seed(folder, url)
    return list(failed.value.faults)


def sorted_by_place(faults: list[Fault]) -> list[Fault]:
    return sorted(faults, key=lambda each: (each.file or "", each.line or 0, each.column or ""))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_fault_is_told_with_its_place(folder: Path, url: str, case: Case) -> None:
    write(folder, case.files)

    faults = sorted_by_place(faults_of(folder, url))

    assert [(each.file, each.line, each.rule) for each in faults] == [
        (each.file, each.line, each.rule) for each in case.told
    ]
    for fault, told in zip(faults, case.told, strict=True):
        assert told.cure in fault.message
        assert CANARY not in fault.message
        if told.under is not None:
            assert pointed(fault) == told.under


@pytest.mark.parametrize(
    "case", some(CASES, "unknown-column", "every-missing-parent", "wrong-types", "broken-json", "nul")
)
def test_the_command_ends_with_3_and_keeps_values_to_itself(
    folder: Path, url: str, case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, case.files)
    before = dump(url)

    code = main(["seed", str(folder), "--database-url", url, "--reports", "evidence"])

    out, err = capsys.readouterr()
    (record,) = (folder.parent / "evidence").glob("runs/*/run.json")
    recorded = json.loads(record.read_text())
    assert code == 3
    assert dump(url) == before
    assert "nothing was written" in err
    assert all(f"{each.file}:{each.line}: {each.rule}" in err for each in case.told if each.line)
    assert CANARY not in out + err + record.read_text()
    assert (recorded["status"], recorded["exit_code"], len(recorded["errors"])) == (
        "failed",
        3,
        len(case.told),
    )


def test_values_are_shown_when_asked_for(folder: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, {"cities.csv": f"code,name,size\na,a,{CANARY}\n"})

    main(["seed", str(folder), "--database-url", url, "--show-values"])

    assert f"a,a,{CANARY}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["cities.csv", "cities.json", "cities.jsonl", "cities.yaml"])
def test_a_byte_order_mark_is_no_fault(folder: Path, url: str, name: str) -> None:
    row = '{"code": "hfa", "name": "Haifa"}'
    content = {"csv": "code,name\nhfa,Haifa\n", "json": f"[{row}]", "jsonl": f"{row}\n", "yaml": f"- {row}\n"}
    write(folder, {name: content[name.rpartition(".")[2]].encode("utf-8-sig")})

    seed(folder, url)

    assert rows_of(url, "SELECT name FROM cities WHERE code = 'hfa'") == [("Haifa",)]


def test_faults_of_all_files_come_together(folder: Path, url: str) -> None:
    write(
        folder,
        {
            "1/cities.csv": "code,name,size\na,a,x\na,b,1\nc,,1\n",
            "2/cities.yaml": "- {code: d, name: d, founded: never}\n- {code: a, name: e}\n",
            "pupils.jsonl": '{"name": "Ada", "city": {"code": "nowhere"}}\n{"name": null, "city": {"code": "a"}}\n',
        },
    )

    found = [(each.file, each.line, each.rule) for each in sorted_by_place(faults_of(folder, url))]

    assert found == [
        ("1/cities.csv", 2, "type"),
        ("1/cities.csv", 3, "duplicate-key"),
        ("1/cities.csv", 4, "not-null"),
        ("2/cities.yaml", 1, "type"),
        ("2/cities.yaml", 2, "duplicate-key"),
        ("pupils.jsonl", 1, "missing-parent"),
        ("pupils.jsonl", 2, "null-key"),
    ]


def test_a_number_that_sqlite_would_bend_is_a_fault(folder: Path, sqlite_url: str, way: Way) -> None:
    execute(sqlite_url, "CREATE TABLE sums (n int PRIMARY KEY, exact numeric)")
    write(folder, {"sums.csv": "n,exact\n1,1.10\n2,0.1234567890123456789\n3,12345678901234567890123\n"})

    with pytest.raises(DataFaults) as failed:
        seed_in(way, folder, sqlite_url)

    assert [(each.file, each.line, each.rule) for each in failed.value.faults] == [
        ("sums.csv", 3, "rounding"),
        ("sums.csv", 4, "rounding"),
    ]
    assert dump(sqlite_url) == {"sums": []}


# ---- what only the database refuses ---------------------------------------------------------------------

CHECKED = """
CREATE TABLE cities (
  code text PRIMARY KEY, name text, phone text, size int, CONSTRAINT size_is_sane CHECK (size > 0),
  CONSTRAINT one_phone UNIQUE (phone)
);
INSERT INTO cities VALUES ('app', 'of the application', '555', 1);
"""


def refused_by_the_database(folder: Path, url: str, way: Way) -> Fault:
    before = dump(url)
    with pytest.raises(DataFaults) as failed:
        seed_in(way, folder, url)
    assert dump(url) == before
    assert failed.value.exit_code == 3
    return failed.value.faults[0]


def test_a_row_that_a_check_refuses_undoes_all(folder: Path, clean_database_url: str, way: Way) -> None:
    url = clean_database_url
    execute(url, CHECKED)
    write(folder, {"cities.csv": f"code,name,size\na,a,1\nb,{CANARY},-1\n"})

    fault = refused_by_the_database(folder, url, way)

    assert (fault.rule, fault.table) == ("constraint", "cities")
    assert "size_is_sane" in fault.message
    assert CANARY not in fault.message


@pytest.mark.parametrize("level", ["legacy", "incremental"])
def test_a_row_that_a_check_refuses_is_found_in_its_file(
    folder: Path, clean_database_url: str, level: Level
) -> None:
    url = clean_database_url
    execute(url, CHECKED + "DELETE FROM cities;")
    write(folder, {"cities.csv": f"code,name,size\na,a,1\nb,{CANARY},-1\n"})

    fault = refused_by_the_database(folder, url, Way(level=level))

    assert (fault.rule, fault.table, fault.file, fault.line) == ("constraint", "cities", "cities.csv", 3)
    assert "size_is_sane" in fault.message


@pytest.mark.parametrize("level", ["legacy", "bulk", "incremental"])
def test_rows_that_a_check_refuses_among_others_are_found_in_their_files(
    folder: Path, clean_database_url: str, level: Level
) -> None:
    url = clean_database_url
    execute(url, CHECKED)
    write(folder, {"cities.csv": "code,name,size\na,a,1\nb,b,2\n"})
    seed(folder, url, level)
    before = dump(url)
    write(folder, {"cities.csv": f"code,name,size\na,a,1\nb,{CANARY},-1\nc,c,3\n"})

    with pytest.raises(DataFaults) as failed:
        seed(folder, url, level)

    (fault,) = failed.value.faults
    assert (fault.rule, fault.table, fault.file, fault.line) == ("constraint", "cities", "cities.csv", 3)
    assert "size_is_sane" in fault.message
    assert dump(url) == before
    write(folder, {"cities.csv": "code,name,size\na,a,1\nb,b,2\nc,c,3\n"})
    assert counted(seed(folder, url, level)) == (1, 0, 2)


def test_a_unique_value_that_an_application_has_undoes_all(
    folder: Path, clean_database_url: str, way: Way
) -> None:
    url = clean_database_url
    execute(url, CHECKED)
    write(folder, {"cities.csv": "code,name,phone\na,a,444\nb,b,555\n"})

    fault = refused_by_the_database(folder, url, way)

    assert (fault.rule, fault.table) == ("unique", "cities")
    assert "one_phone" in fault.message or "phone" in fault.message


def test_unique_values_that_repeat_in_the_files_are_told_before_writing(
    folder: Path, clean_database_url: str, way: Way
) -> None:
    url = clean_database_url
    execute(url, CHECKED)
    write(folder, {"cities.csv": "code,name,phone\na,a,1\nb,b,2\nc,c,1\n"})

    fault = refused_by_the_database(folder, url, way)

    assert (fault.rule, fault.file, fault.line) == ("unique", "cities.csv", 4)


TRIGGER = {
    "postgresql": """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN RAISE EXCEPTION 'cities are closed'; END$$;
        CREATE TRIGGER closed BEFORE INSERT ON cities FOR EACH ROW WHEN (NEW.code = 'b') EXECUTE FUNCTION refuse();
    """,
    "sqlite": """
        CREATE TRIGGER closed BEFORE INSERT ON cities WHEN NEW.code = 'b'
        BEGIN SELECT RAISE(ABORT, 'cities are closed'); END;
    """,
}


def test_a_trigger_that_objects_undoes_all(folder: Path, clean_database_url: str, way: Way) -> None:
    url = clean_database_url
    execute(url, CHECKED + TRIGGER[url.split(":")[0]])
    write(folder, {"cities.csv": "code,name\na,a\nb,b\n"})
    before = dump(url)

    with pytest.raises((WriteError, DataFaults)) as failed:
        seed_in(way, folder, url)

    told = [str(failed.value), *(each.message for each in getattr(failed.value, "faults", ()))]
    assert any("cities are closed" in each for each in told)
    assert any("cities" in each for each in told)
    assert dump(url) == before


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_file_that_is_removed_before_it_is_read_is_named(
    folder: Path, clean_database_url: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(clean_database_url, TABLES)
    write(folder, {"cities.csv": GOOD_CITIES, f"pupils.{form}": ""})
    read = reading.read

    def removing(*given: Any) -> Any:
        (folder / f"pupils.{form}").unlink()
        return read(*given)

    monkeypatch.setattr(reading, "read", removing)

    with pytest.raises(ConfigurationError, match=rf"reading pupils\.{form}: no such file"):
        seed(folder, clean_database_url)


def test_the_value_of_a_column_whose_name_has_a_comma_is_told(folder: Path, clean_database_url: str) -> None:
    """And not those of the columns that its name seems to list."""
    execute(
        clean_database_url,
        'CREATE TABLE people (code text PRIMARY KEY, "last, first" text UNIQUE, last text, first text);',
    )
    write(folder, {"people.csv": 'code,"last, first",last,first\n1,Ada,x,y\n2,Bob,x,y\n3,Ada,v,w\n'})

    with pytest.raises(DataFaults) as failed:
        seed(folder, clean_database_url)

    (fault,) = failed.value.faults
    assert (fault.rule, fault.line, fault.value) == ("unique", 4, "Ada")
    assert "first at line 2" in fault.message
