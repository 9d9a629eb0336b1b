"""A foreign key or exclusion constraint that only the server sees broken: the rows have file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedlab.database.postgres import direct as postgres_direct
from seedlab.database.postgres import load as postgres_load
from seedlab.database.postgres import write as postgres_write
from seedlab.errors import DataFaults, Fault
from seedlab.flow import Level
from seedlab.steps.preparing import shaping
from tests.support.seeding import dump, execute, seed, write

# The server spells the keys of some parents otherwise than the files say, so that nobody finds these.
TABLES = """
CREATE TABLE towns (code {type} PRIMARY KEY);
CREATE TABLE people (email text PRIMARY KEY, town {type} REFERENCES towns);
CREATE FUNCTION moved() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN IF NEW.code::text LIKE ''%7%'' THEN NEW.code := {other}; END IF; RETURN NEW; END';
CREATE TRIGGER moved BEFORE INSERT ON towns FOR EACH ROW EXECUTE FUNCTION moved();
"""
OTHERS = {"text": "upper(NEW.code)", "int": "NEW.code + 1000", "uuid": "gen_random_uuid()"}
CODES = {
    "text": lambda n: f"c,(é)=({n})",
    "int": lambda n: f"{n:04}",
    "uuid": lambda n: f"00000000-0000-4000-8000-{n:012}",
}
ROWS = 60


def project(folder: Path, url: str, kind: str, town: int, form: str = "csv") -> Path:
    code = CODES[kind]
    execute(url, TABLES.format(type=kind, other=OTHERS[kind].replace("'", "''")))
    towns = "".join(f'"{code(n)}"\n' for n in range(10))
    people = [(f"p{n}@x", code(town if n in (31, 48) else n % 5)) for n in range(ROWS)]
    if form == "csv":
        data = "email,town\n" + "".join(f'{email},"{town}"\n' for email, town in people)
    else:
        data = "".join(f'{{"email": "{email}", "town": "{town}"}}\n' for email, town in people)
    return write(folder, {"towns.csv": f"code\n{towns}", f"people.{form}": data})


def faults(folder: Path, url: str, **options: object) -> tuple[Fault, ...]:
    with pytest.raises(DataFaults) as found:
        seed(folder, url, **options)  # type: ignore[arg-type]
    return found.value.faults


@pytest.fixture
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The ways that rows go in: keys made again, keys left on, merged from arrays and from staging."""
    monkeypatch.setattr(shaping, "STREAM_ROWS", 7)
    if request.param == "staged":
        monkeypatch.setattr(postgres_write, "ARRAY_ROWS", 1)
    if request.param == "large":
        monkeypatch.setattr(postgres_direct, "REBUILD_ROWS", 1)
        monkeypatch.setattr(postgres_load, "BINARY_ROWS", 1)
    return {
        "rebuilt": {},
        "large": {},
        "streamed": {"batch_rows": 9},
        "kept": {"disabled": ["rebuild"]},
        "values": {"level": "bulk"},
        "arrays": {},
        "staged": {},
    }[request.param]


@pytest.mark.parametrize(
    ("way", "kind", "form"),
    [
        ("rebuilt", "text", "csv"),
        ("rebuilt", "uuid", "jsonl"),
        ("large", "int", "csv"),
        ("streamed", "text", "jsonl"),
        ("kept", "uuid", "csv"),
        ("values", "int", "csv"),
        ("arrays", "text", "csv"),
        ("staged", "int", "csv"),
    ],
    indirect=["way"],
)
def test_all_rows_with_the_key_are_told(
    folder: Path,
    clean_postgres_url: str,
    way: dict[str, object],
    kind: str,
    form: str,
    request: pytest.FixtureRequest,
) -> None:
    url = clean_postgres_url
    project(folder, url, kind, 7, form)
    if request.node.callspec.params["way"] in ("arrays", "staged"):
        execute(url, f"INSERT INTO towns VALUES ('{CODES[kind](99)}')")
        execute(url, "INSERT INTO people VALUES ('own@x', NULL)")
    before = dump(url)

    found = faults(folder, url, **way)

    head = 2 if form == "csv" else 1
    assert [(each.rule, each.file, each.line, each.column) for each in found] == [
        ("missing-parent", f"people.{form}", 31 + head, "town"),
        ("missing-parent", f"people.{form}", 48 + head, "town"),
    ]
    assert dump(url) == before


def test_a_value_that_the_server_gave_is_told_by_its_constraint(
    folder: Path, clean_postgres_url: str
) -> None:
    url = clean_postgres_url
    project(folder, url, "text", 1)
    execute(url, "ALTER TABLE people ADD lives text DEFAULT 'nowhere' CONSTRAINT lives REFERENCES towns")

    (fault,) = faults(folder, url)

    assert (fault.rule, fault.table, fault.file) == ("missing-parent", "people", None)
    assert "lives" in fault.message


@pytest.mark.parametrize("column", ["days", "Days, nights", 'a "day"'])
def test_rows_that_an_exclusion_constraint_of_a_quoted_column_refuses_are_told(
    folder: Path, clean_postgres_url: str, column: str
) -> None:
    quoted = '"' + column.replace('"', '""') + '"'
    execute(
        clean_postgres_url,
        f"CREATE TABLE stays (code text PRIMARY KEY, {quoted} int4range, EXCLUDE USING gist ({quoted} WITH &&));",
    )
    write(folder, {"stays.csv": f'code,{quoted}\na,"[1,5)"\nb,"[7,9)"\nc,"[8,12)"\n'})

    found = faults(folder, clean_postgres_url)

    assert [(each.rule, each.line, each.column) for each in found] == [
        ("exclusion", 3, column),
        ("exclusion", 4, column),
    ]


@pytest.mark.parametrize("level", ["incremental", "copy", "bulk"])
@pytest.mark.parametrize(
    ("held", "lines"), [("", [3, 4]), ("INSERT INTO stays VALUES ('own', 1, '[7,8)')", [5])]
)
def test_rows_that_an_exclusion_constraint_refuses_are_told(
    folder: Path, clean_postgres_url: str, held: str, lines: list[int], level: Level
) -> None:
    url = clean_postgres_url
    execute(
        url,
        "CREATE TABLE stays (code text PRIMARY KEY, room int, days int4range, EXCLUDE USING gist (days WITH &&));"
        + held,
    )
    rows = {2: "a,1,", 3: 'b,1,"[1,5)"', 4: 'c,2,"[4,6)"', 5: 'd,2,"[7,9)"'}
    kept = [row for line, row in rows.items() if line in (2, *lines)]
    write(folder, {"stays.csv": "\n".join(["code,room,days", *kept, ""])})

    found = faults(folder, url, level=level)

    assert [(each.rule, each.file, each.column) for each in found] == [
        ("exclusion", "stays.csv", "days") for _ in lines
    ]
    assert [each.line for each in found] == list(range(3, 3 + len(lines)))
