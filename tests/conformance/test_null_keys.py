"""Keys that hold NULL: with `nulls = "equal"` they tell rows as others do, and NULL is the same as NULL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from seedlab.errors import DataFaults, Refused
from seedlab.operations.generation import generate
from seedlab.plan.project import load_project
from tests.support.seeding import Way, counted, execute, rows_of, seed, seed_in, undo, write

TABLES = """
CREATE TABLE teams (id SERIAL KEY, slug varchar(20) NOT NULL UNIQUE);
CREATE TABLE members (
    id SERIAL KEY, email varchar(20) NOT NULL, team_id int REFERENCES teams, lang varchar(5), role varchar(20),
    CONSTRAINT once UNIQUE (email, team_id, lang)
);
"""
CONFIGURATION = """
[[stages]]
id = "all"
  [[stages.seeds]]
  name = "teams"
  source = "teams.csv"
  [[stages.seeds]]
  name = "members"
  source = "members.csv"
  mode = "{mode}"
  [stages.seeds.tables]
  members = {{ nulls = "equal" }}
"""
TEAMS = "slug\nred\nblue\n"
MEMBERS = """email,team.slug,lang,role
ada,red,en,lead
ada,red,,guest
ada,,en,solo
ada,,,plain
bob,,,plain
bob,blue,,guest
"""
HELD = """
SELECT email, slug, lang, role FROM members LEFT JOIN teams ON teams.id = team_id
ORDER BY email, coalesce(slug, ''), coalesce(lang, '')
"""
SEEDED = [
    ("ada", None, None, "plain"),
    ("ada", None, "en", "solo"),
    ("ada", "red", None, "guest"),
    ("ada", "red", "en", "lead"),
    ("bob", None, None, "plain"),
    ("bob", "blue", None, "guest"),
]


@pytest.fixture
def url(clean_database_url: str) -> str:
    execute(clean_database_url, TABLES)
    return clean_database_url


@pytest.fixture
def project(folder: Path) -> Path:
    configuration = CONFIGURATION.format(mode="upsert")
    return write(folder, {"seedlab.toml": configuration, "teams.csv": TEAMS, "members.csv": MEMBERS})


def test_a_row_is_known_by_its_nulls(project: Path, url: str, way: Way) -> None:
    execute(url, "INSERT INTO members (email, role) VALUES ('ada', 'old'), ('eve', 'mine');")

    runs = [counted(seed_in(way, project, url))]
    runs.append(counted(seed_in(way, project, url)))
    write(project, {"members.csv": MEMBERS.replace("bob,,,plain", "bob,,,chief")})
    runs += [counted(seed_in(way, project, url)) for _ in range(2)]

    assert runs == [(7, 1, 0), (0, 0, 8), (0, 1, 7), (0, 0, 8)]
    expected = [row if row[:3] != ("bob", None, None) else (*row[:3], "chief") for row in SEEDED]
    assert rows_of(url, HELD) == [*expected, ("eve", None, None, "mine")]


def test_a_sync_deletes_exactly_the_rows_that_left(project: Path, url: str) -> None:
    execute(url, "INSERT INTO members (email, role) VALUES ('eve', 'mine');")
    write(project, {"seedlab.toml": CONFIGURATION.format(mode="sync")})
    seed(project, url)
    write(project, {"members.csv": MEMBERS.replace("ada,,,plain\n", "").replace("bob,blue,,guest\n", "")})

    run = seed(project, url, max_delete="2")

    assert (*counted(run), run.outcomes.deleted) == (0, 0, 6, 2)
    left = [row for row in SEEDED if row[:3] not in {("ada", None, None), ("bob", "blue", None)}]
    assert rows_of(url, HELD) == [*left, ("eve", None, None, "mine")]


def test_a_reset_deletes_what_was_created(project: Path, url: str) -> None:
    execute(url, "INSERT INTO members (email, role) VALUES ('eve', 'mine'), ('bob', 'mine');")
    seed(project, url)

    run = undo(project, url)

    assert run.outcomes.deleted == 7
    assert rows_of(url, HELD) == [("bob", None, None, "plain"), ("eve", None, None, "mine")]


def test_a_row_that_others_changed_is_repaired(project: Path, url: str) -> None:
    seed(project, url)
    execute(url, "UPDATE members SET role = 'hers' WHERE lang IS NULL;")

    assert counted(seed(project, url)) == (0, 4, 4)
    assert rows_of(url, HELD) == SEEDED


def test_a_dry_run_tells_what_a_run_does(project: Path, url: str) -> None:
    seed(project, url)
    write(project, {"members.csv": MEMBERS.replace("bob,,,plain", "bob,,,chief") + "eve,,,new\n"})

    assert counted(seed(project, url, dry_run=True)) == (1, 1, 7)


@pytest.mark.parametrize("settings", [{"batch_rows": 2}, {"batch_rows": 2, "workers": 2}])
def test_large_files(project: Path, url: str, settings: dict[str, int]) -> None:
    runs = [counted(seed(project, url, **settings, force=force)) for force in (False, False, True)]

    assert runs == [(8, 0, 0), (0, 0, 8), (0, 0, 8)]
    assert rows_of(url, HELD) == SEEDED


def test_the_same_key_twice_is_a_fault(project: Path, url: str) -> None:
    write(project, {"members.csv": MEMBERS + "bob,,,again\n"})

    with pytest.raises(DataFaults) as caught:
        seed(project, url)

    assert {fault.rule for fault in caught.value.faults} == {"duplicate-key"}


def test_without_the_setting_null_is_a_fault_that_names_it(project: Path, url: str) -> None:
    configuration = CONFIGURATION.format(mode="upsert").replace('nulls = "equal"', 'nulls = "error"')
    write(project, {"seedlab.toml": configuration})

    with pytest.raises(DataFaults) as caught:
        seed(project, url)

    assert {fault.rule for fault in caught.value.faults} == {"null-key"}
    assert 'set nulls = "equal" for members' in caught.value.faults[0].message


def test_a_key_of_several_rows_is_a_fault(project: Path, url: str, way: Way) -> None:
    execute(
        url,
        "INSERT INTO members (email, role) VALUES ('bob', 'one'), ('bob', 'two'), ('eve', 'x'), ('eve', 'x');",
    )

    with pytest.raises(DataFaults) as caught:
        seed_in(way, project, url)

    (fault,) = caught.value.faults
    assert (fault.rule, fault.file, fault.line) == ("unique", "members.csv", 6)
    assert rows_of(url, "SELECT count(*) FROM teams") == [(0,)]


def test_no_row_is_deleted_for_another_with_its_key(project: Path, url: str) -> None:
    seed(project, url)
    execute(url, "INSERT INTO members (email, role) VALUES ('bob', 'another');")

    with pytest.raises(Refused, match="table members has several rows with the key"):
        undo(project, url)

    assert rows_of(url, "SELECT count(*) FROM members") == [(7,)]


NESTED_TABLES = """
CREATE TABLE teams (id uuid PRIMARY KEY, slug varchar(20) NOT NULL UNIQUE);
CREATE TABLE members (
    id uuid PRIMARY KEY, email varchar(20) NOT NULL, team_id uuid REFERENCES teams, role varchar(20),
    CONSTRAINT once UNIQUE (email, team_id)
);
CREATE TABLE badges (
    id SERIAL KEY, member_id uuid NOT NULL REFERENCES members, name varchar(20) NOT NULL, level int,
    CONSTRAINT badge UNIQUE (member_id, name)
);
CREATE TABLE notes (code varchar(5) PRIMARY KEY, member_id uuid REFERENCES members);
CREATE TABLE slots (team_id uuid REFERENCES teams, place int, note varchar(20), CONSTRAINT slot UNIQUE (team_id, place));
"""
NESTED = """
[[stages]]
id = "all"
  [[stages.seeds]]
  name = "teams"
  source = "teams.csv"
  [[stages.seeds]]
  name = "notes"
  source = "notes.csv"
  [[stages.seeds]]
  name = "slots"
  source = "slots.csv"
  mode = "{mode}"
  [stages.seeds.tables]
  slots = {{ nulls = "equal" }}
  [[stages.seeds]]
  name = "members"
  source = "members.json"
  mode = "{mode}"
  [stages.seeds.tables]
  members = {{ path = "$", nulls = "equal" }}
  badges = {{ path = "badges" }}
"""
PEOPLE = """[
  {"email": "ada", "team": {"slug": "red"}, "role": "lead", "badges": [{"name": "gold", "level": 1}]},
  {"email": "ada", "team": null, "role": "plain", "badges": [{"name": "gold", "level": 2}, {"name": "tin", "level": 1}]},
  {"email": "bob", "team": null, "role": "guest"}
]"""
NOTES = "code,member.email,member.team.slug\na,ada,red\nb,ada,\nc,,\nd,bob,\n"
SLOTS = "team.slug,place,note\nred,1,x\nred,,y\n,1,z\n,,w\n"
BADGES = """
SELECT email, slug, role, name, level FROM members LEFT JOIN teams ON teams.id = team_id
LEFT JOIN badges ON member_id = members.id ORDER BY email, coalesce(slug, ''), name
"""
NOTED = """
SELECT code, email, slug FROM notes LEFT JOIN members ON members.id = member_id
LEFT JOIN teams ON teams.id = team_id ORDER BY code
"""
SLOTTED = """
SELECT slug, place, note FROM slots LEFT JOIN teams ON teams.id = team_id
ORDER BY coalesce(slug, ''), coalesce(place, 0)
"""


@pytest.fixture
def nested(folder: Path, clean_database_url: str) -> Path:
    execute(clean_database_url, NESTED_TABLES)
    files = {"teams.csv": TEAMS, "notes.csv": NOTES, "slots.csv": SLOTS, "members.json": PEOPLE}
    return write(folder, {"seedlab.toml": NESTED.format(mode="sync"), **files})


def test_a_reference_leads_to_a_row_by_its_nulls(
    nested: Path, clean_database_url: str, every_way: Way
) -> None:
    url = clean_database_url

    runs = [counted(seed_in(every_way, nested, url))]
    runs.append(counted(seed_in(every_way, nested, url)))
    write(
        nested,
        {"members.json": PEOPLE.replace('"level": 2', '"level": 3'), "slots.csv": SLOTS.replace("z", "v")},
    )
    runs += [counted(seed_in(every_way, nested, url)) for _ in range(2)]

    assert runs == [(16, 0, 0), (0, 0, 16), (0, 2, 14), (0, 0, 16)]
    assert rows_of(url, BADGES) == [
        ("ada", None, "plain", "gold", 3),
        ("ada", None, "plain", "tin", 1),
        ("ada", "red", "lead", "gold", 1),
        ("bob", None, "guest", None, None),
    ]
    assert rows_of(url, NOTED) == [
        ("a", "ada", "red"),
        ("b", "ada", None),
        ("c", None, None),
        ("d", "bob", None),
    ]
    assert rows_of(url, SLOTTED) == [(None, None, "w"), (None, 1, "v"), ("red", None, "y"), ("red", 1, "x")]


STAGES = """
[[stages]]
id = "members"
  [[stages.seeds]]
  name = "teams"
  source = "teams.csv"
  [[stages.seeds]]
  name = "members"
  source = "members.json"
  [stages.seeds.tables]
  members = { path = "$", nulls = "equal" }
  badges = { path = "badges" }
[[stages]]
id = "notes"
dependencies = ["members"]
  [[stages.seeds]]
  name = "notes"
  source = "notes.csv"
"""


@pytest.mark.parametrize("select", [(), ("notes",)], ids=["stale", "selected"])
def test_a_stage_that_runs_alone_refers_to_rows_by_their_nulls(
    nested: Path, clean_database_url: str, way: Way, select: Sequence[str]
) -> None:
    url = clean_database_url
    write(nested, {"seedlab.toml": STAGES})
    seed_in(way, nested, url)
    write(nested, {"notes.csv": NOTES.replace("a,ada,red", "a,ada,") + "e,bob,\n"})

    assert counted(seed_in(way, nested, url, select=select))[:2] == (1, 1)
    assert rows_of(url, NOTED) == [
        ("a", "ada", None),
        ("b", "ada", None),
        ("c", None, None),
        ("d", "bob", None),
        ("e", "bob", None),
    ]


def test_a_stage_that_is_selected_first_refers_to_rows_by_their_nulls(
    nested: Path, clean_database_url: str, way: Way
) -> None:
    url = clean_database_url
    ids = [f"00000000-0000-4000-8000-00000000000{n}" for n in range(4)]
    execute(
        url,
        f"INSERT INTO teams (id, slug) VALUES ('{ids[0]}', 'red');"
        "INSERT INTO members (id, email, team_id, role) VALUES "
        f"('{ids[1]}', 'ada', NULL, ''), ('{ids[2]}', 'bob', NULL, ''), ('{ids[3]}', 'ada', '{ids[0]}', '');",
    )
    write(nested, {"seedlab.toml": STAGES})

    assert counted(seed_in(way, nested, url, select=["notes"])) == (4, 0, 0)
    assert rows_of(url, NOTED) == [
        ("a", "ada", "red"),
        ("b", "ada", None),
        ("c", None, None),
        ("d", "bob", None),
    ]
    assert counted(seed_in(way, nested, url)) == (4, 3, 5)


def test_a_stage_that_is_selected_first_names_the_parents_that_are_missing(
    nested: Path, clean_database_url: str
) -> None:
    write(nested, {"seedlab.toml": STAGES})

    with pytest.raises(DataFaults) as caught:
        seed(nested, clean_database_url, select=["notes"])

    told = {(fault.rule, fault.file, fault.line) for fault in caught.value.faults}
    assert told == {("missing-parent", "notes.csv", line) for line in (2, 3, 5)}


def test_existing_rows_are_found_by_their_nulls(nested: Path, clean_database_url: str, way: Way) -> None:
    url = clean_database_url
    mine = "00000000-0000-4000-8000-000000000001"
    execute(url, f"INSERT INTO members (id, email, role) VALUES ('{mine}', 'ada', 'old');")

    assert counted(seed_in(way, nested, url)) == (15, 1, 0)
    query = "SELECT count(*) FROM badges JOIN members ON members.id = member_id WHERE role = 'plain'"
    assert rows_of(url, query) == [(2,)]


def test_rows_with_nulls_for_ids_leave(nested: Path, clean_database_url: str) -> None:
    url = clean_database_url
    seed(nested, url)
    write(nested, {"slots.csv": "team.slug,place,note\nred,1,x\n,1,z\n"})

    run = seed(nested, url, max_delete="2")

    assert (*counted(run), run.outcomes.deleted) == (0, 0, 14, 2)
    assert rows_of(url, SLOTTED) == [(None, 1, "z"), ("red", 1, "x")]
    assert undo(nested, url).outcomes.deleted == 14


def test_a_reset_leaves_a_row_that_another_project_created_in_the_place_of_ours(
    project: Path, url: str, tmp_path: Path
) -> None:
    another = write(
        tmp_path / "another", {"seedlab.toml": CONFIGURATION.format(mode="upsert"), "teams.csv": TEAMS}
    )
    write(another, {"members.csv": "email,team.slug,lang,role\nbob,,,theirs\n"})
    seed(project, url)
    execute(url, "DELETE FROM members WHERE email = 'bob' AND team_id IS NULL")
    seed(another, url)

    undo(project, url)

    assert ("bob", None, None, "theirs") in rows_of(url, HELD)
    undo(another, url)
    assert ("bob", None, None, "theirs") not in rows_of(url, HELD)


def test_a_run_can_be_rolled_back_after_the_key_changed(project: Path, url: str) -> None:
    seed(project, url)
    keyed = 'members = { nulls = "equal", key = ["email", "team.slug", "lang", "role"] }'
    configuration = CONFIGURATION.format(mode="sync").replace('members = { nulls = "equal" }', keyed)
    write(project, {"seedlab.toml": configuration})

    assert counted(seed(project, url)) == (0, 0, 8)
    write(project, {"members.csv": MEMBERS.replace("ada,,,plain\n", "")})
    assert seed(project, url, max_delete="1").outcomes.deleted == 1
    assert rows_of(url, HELD) == [row for row in SEEDED if row[:3] != ("ada", None, None)]


MODELS = """
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, UniqueConstraint

metadata = MetaData()
Table("teams", metadata, Column("id", Integer, primary_key=True), Column("slug", String(20), nullable=False, unique=True))
Table(
    "members", metadata, Column("id", Integer, primary_key=True), Column("email", String(20), nullable=False),
    Column("team_id", ForeignKey("teams.id")), Column("lang", String(5)), Column("role", String(20)),
    UniqueConstraint("email", "team_id", "lang"),
)
"""


def test_a_grown_project_keeps_its_nulls(project: Path, clean_database_url: str, tmp_path: Path) -> None:
    head = '[project]\nschema = "models.py:metadata"\n'
    write(project, {"models.py": MODELS, "seedlab.toml": head + CONFIGURATION.format(mode="upsert")})

    made = generate(load_project(project), rows=80, out=tmp_path / "grown")

    assert counted(seed(tmp_path / "grown", clean_database_url)) == (made.rows, 0, 0)
    assert rows_of(clean_database_url, "SELECT count(*) FROM members WHERE lang IS NULL") == [
        (made.rows // 2,)
    ]


def test_a_row_does_not_clash_with_itself(project: Path, url: str, tmp_path: Path) -> None:
    execute(url, "ALTER TABLE members ADD COLUMN code int; CREATE UNIQUE INDEX by_code ON members (code);")
    rows = "email,team.slug,lang,role,code\nada,,,plain,1\nbob,,,plain,2\nbob,red,,plain,3\n"
    keyed = 'members = { nulls = "equal", key = ["email", "team.slug", "lang"] }'
    configuration = CONFIGURATION.format(mode="upsert").replace('members = { nulls = "equal" }', keyed)
    write(project, {"members.csv": rows, "seedlab.toml": configuration})
    seed(project, url)
    execute(url, "INSERT INTO members (email, code) VALUES ('eve', 4);")
    write(project, {"members.csv": rows.replace("ada,,,plain", "ada,,,chief") + "cai,,,new,4\n"})

    run = seed(project, url, rejects=tmp_path / "rejects")

    assert (*counted(run), run.outcomes.rejected) == (0, 1, 4, 1)
    assert rows_of(url, "SELECT email, code FROM members WHERE role = 'chief'") == [("ada", 1)]


DEVICES = """
CREATE TABLE devices (id SERIAL KEY, serial uuid, name varchar(20), CONSTRAINT device UNIQUE (serial));
"""
OF_DEVICES = """
[[stages]]
id = "all"
  [[stages.seeds]]
  name = "devices"
  source = "devices.csv"
  mode = "sync"
  [stages.seeds.tables]
  devices = { nulls = "equal" }
"""
NIL = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("gone", [0, 1], ids=["NULL", "nil"])
def test_the_nil_uuid_is_not_null(folder: Path, clean_database_url: str, way: Way, gone: int) -> None:
    url, lines = clean_database_url, [",unknown\n", f"{NIL},none\n"]
    execute(url, DEVICES)
    write(folder, {"seedlab.toml": OF_DEVICES, "devices.csv": "serial,name\n" + "".join(lines)})
    seed_in(way, folder, url)
    write(folder, {"devices.csv": "serial,name\n" + lines[1 - gone]})

    assert seed_in(way, folder, url, max_delete="1").outcomes.deleted == 1
    assert rows_of(url, "SELECT name FROM devices") == [(("unknown", "none")[1 - gone],)]
