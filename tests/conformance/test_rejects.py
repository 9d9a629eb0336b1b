"""Rejects: bad rows and what depends on them go to reject files, the rest is written."""

from __future__ import annotations

import json
import random
from pathlib import Path

import polars as pl
import pytest

from seedlab.errors import ConfigurationError, DataFaults, SeedError
from seedlab.flow import LINE, REASON, Level
from tests.support.cases import some
from tests.support.rejecting import seed_rejecting
from tests.support.seeding import counted, dump, execute, rows_of, seed, write
from tests.support.writing import FORMATS, write_rows

TABLES = """
CREATE TABLE cities (
  id SERIAL KEY, code varchar(12) NOT NULL UNIQUE, name text NOT NULL, size int, phone int UNIQUE,
  CONSTRAINT size_check CHECK (size > 0)
);
CREATE TABLE pupils (
  id SERIAL KEY, name text NOT NULL UNIQUE, city_id int NOT NULL REFERENCES cities,
  friend_id int REFERENCES pupils
);
"""
CITIES = 'code,name,size\nhfa,Haifa,3\ntlv,"Tel ""Aviv""",many\njer,Jerusalem,0\neil,Eilat,\n'
PUPILS = "name,city.code,friend.name\nAda,hfa,\nBob,tlv,\nCid,hfa,Bob\nDan,jer,\nEve,eil,Ada\nFay,nowhere,\n"
LEVELS: tuple[Level, ...] = ("legacy", "bulk", "incremental")


@pytest.fixture
def url(clean_database_url: str) -> str:
    execute(clean_database_url, TABLES)
    return clean_database_url


@pytest.fixture
def rejects(tmp_path: Path) -> Path:
    return tmp_path / "reports" / "rejects"


# ---- what is written, and what is told ----


@pytest.mark.parametrize("level", LEVELS)
def test_bad_rows_and_their_dependents_are_rejected_and_the_rest_written(
    folder: Path, url: str, rejects: Path, level: Level
) -> None:
    write(folder, {"cities.csv": CITIES, "pupils.csv": PUPILS})

    done = seed_rejecting(folder, url, rejects, level)

    assert rows_of(url, "SELECT code FROM cities ORDER BY 1") == [("eil",), ("hfa",)]
    assert rows_of(url, "SELECT name FROM pupils ORDER BY 1") == [("Ada",), ("Eve",)]
    assert done.counts == {"cities": 2, "pupils": 4}
    assert done.outcomes.created == 4
    assert done.told == [
        ("cities.csv", 3, "type"),
        ("cities.csv", 4, "constraint"),
        ("pupils.csv", 3, "rejected-parent"),
        ("pupils.csv", 4, "rejected-parent"),
        ("pupils.csv", 5, "rejected-parent"),
        ("pupils.csv", 7, "missing-parent"),
    ]


def test_the_reject_file_has_the_records_as_they_were_with_line_and_reasons(
    folder: Path, url: str, rejects: Path
) -> None:
    write(folder, {"cities.csv": CITIES, "pupils.csv": PUPILS})

    done = seed_rejecting(folder, url, rejects)

    lines = done.files["cities.csv"].read_text().splitlines()
    assert lines[0] == f"code,name,size,{REASON},{LINE}"
    assert lines[1].startswith('tlv,"Tel ""Aviv""",many,"type: column size of table cities is ')
    assert lines[1].endswith(",3")
    pupils = done.files["pupils.csv"].read_text().splitlines()
    parent = "rejected-parent: depends on a rejected row of"
    assert pupils[1:4] == [
        f'Bob,tlv,,"{parent} cities, cities.csv:3",3',
        f'Cid,hfa,Bob,"{parent} pupils, pupils.csv:3",4',
        f'Dan,jer,,"{parent} cities, cities.csv:4",5',
    ]


@pytest.mark.parametrize("suffix", some(FORMATS, "csv", "jsonl"))
def test_a_mended_reject_file_is_seeded_as_it_is(
    folder: Path, url: str, rejects: Path, tmp_path: Path, suffix: str
) -> None:
    kinds = {"code": "text", "name": "text", "size": "int"}
    rows = [
        {"code": "hfa", "name": "Haifa", "size": "1"},
        {"code": "much too long a code", "name": "a\n'b\" 😀\u0085", "size": None},
        {"code": "jer", "name": None, "size": "7"},
    ]
    write_rows(folder / f"cities.{suffix}", kinds, rows)
    done = seed_rejecting(folder, url, rejects)
    assert rows_of(url, "SELECT code FROM cities") == [("hfa",)]

    path = done.files[f"cities.{suffix}"]
    if suffix == "parquet":
        mend = {"code": pl.col("code").str.head(4), "name": pl.col("name").fill_null("Jerusalem")}
        pl.read_parquet(path).with_columns(**mend).write_parquet(path)
    else:
        text = path.read_text()
        nothing = {"csv": '"jer",,', "tsv": '"jer"\t\t', "yaml": "name: null", "json": '"name": null'}
        null = nothing.get(suffix, nothing["json"])
        assert null in text
        filled = null.replace(",,", ',"Jerusalem",').replace("\t\t", '\t"Jerusalem"\t')
        text = text.replace(null, filled.replace("null", '"Jerusalem"'))
        path.write_text(text.replace("much too long a code", "much"), newline="")
    again = seed(path.parent, url)

    assert counted(again) == (2, 0, 0)
    stored = dict(rows_of(url, "SELECT code, name FROM cities"))
    assert stored == {"hfa": "Haifa", "much": rows[1]["name"], "jer": "Jerusalem"}


def test_an_unmended_reject_file_is_rejected_again_with_one_reason(
    folder: Path, url: str, rejects: Path, tmp_path: Path
) -> None:
    write(folder, {"cities.csv": CITIES, "pupils.csv": PUPILS})
    first = seed_rejecting(folder, url, rejects)

    second = seed_rejecting(first.files["cities.csv"].parent, url, tmp_path / "again")

    assert second.counts == first.counts
    before, after = (each.files["cities.csv"].read_text().splitlines() for each in (first, second))
    assert after[0] == before[0]
    assert [line.rpartition(",")[0] for line in after] == [line.rpartition(",")[0] for line in before]
    assert [line.rpartition(",")[2] for line in after] == [LINE, "2", "3"]


def test_no_reason_shows_a_value(folder: Path, url: str, rejects: Path) -> None:
    canary = "k4n4ry"
    files = {
        "cities.csv": f"code,name,size\n{canary},a,{canary}\nb,b,0\n{canary},c,1\nd,d,2\n",
        "pupils.csv": f"name,city.code\nAda,{canary}\nBob,{canary}2\nCid,d\n",
    }
    write(folder, files)

    done = seed_rejecting(folder, url, rejects)

    written = done.files["cities.csv"].read_text() + done.files["pupils.csv"].read_text()
    reasons = [line.split(',"')[1] for line in written.splitlines() if '"' in line]
    assert len(reasons) == 5
    assert canary not in "".join(reasons)
    assert not any(canary in fault.message for fault in done.faults)


# ---- who goes with whom ----


def test_a_row_stays_when_the_target_has_the_parent(folder: Path, url: str, rejects: Path) -> None:
    execute(url, "INSERT INTO cities (id, code, name) VALUES (70, 'tlv', 'old')")
    write(folder, {"cities.csv": CITIES, "pupils.csv": PUPILS})

    done = seed_rejecting(folder, url, rejects)

    pupils = "SELECT p.name, c.id > 69 FROM pupils p JOIN cities c ON c.id = p.city_id ORDER BY 1"
    assert [row[0] for row in rows_of(url, pupils)] == ["Ada", "Bob", "Cid", "Eve"]
    assert bool(dict(rows_of(url, pupils))["Bob"])
    assert rows_of(url, "SELECT name FROM cities WHERE code = 'tlv'") == [("old",)]
    assert done.counts == {"cities": 2, "pupils": 2}


@pytest.mark.parametrize("there", [False, True])
def test_a_parent_named_by_another_key_is_looked_for_too(
    folder: Path, url: str, rejects: Path, there: bool
) -> None:
    if there:
        execute(url, "INSERT INTO cities (id, code, name, phone) VALUES (70, 'old', 'old', 22)")
    write(
        folder,
        {
            "cities.csv": "code,name,phone,size\nhfa,Haifa,11,1\ntlv,Tel Aviv,22,many\n",
            "pupils.csv": "name,city.phone\nAda,11\nBob,22\n",
        },
    )

    done = seed_rejecting(folder, url, rejects)

    assert rows_of(url, "SELECT name FROM pupils ORDER BY 1") == [("Ada",), *([("Bob",)] if there else [])]
    assert done.counts == {"cities": 1, **({} if there else {"pupils": 1})}


def test_all_rows_with_a_repeated_key_are_rejected(folder: Path, url: str, rejects: Path) -> None:
    write(
        folder,
        {
            "1/cities.csv": "code,name\na,first\nb,b\na,second\nc,c\n",
            "2/cities.csv": "code,name,size\nc,again,1\nd,d,1\n",
            "pupils.csv": "name,city.code\nAda,a\nBob,b\n",
        },
    )

    done = seed_rejecting(folder, url, rejects)

    assert rows_of(url, "SELECT code FROM cities ORDER BY 1") == [("b",), ("d",)]
    assert rows_of(url, "SELECT name FROM pupils") == [("Bob",)]
    assert [each[:2] for each in done.told if each[2] == "duplicate-key"] == [
        ("1/cities.csv", 2),
        ("1/cities.csv", 4),
        ("1/cities.csv", 5),
        ("2/cities.csv", 2),
    ]
    assert set(done.files) == {"1/cities.csv", "2/cities.csv", "pupils.csv"}


def test_with_duplicates_first_a_bad_row_behind_is_told_and_the_first_one_written(
    folder: Path, url: str, rejects: Path
) -> None:
    stage = '[[stages]]\nid = "s"\nname = "s"\n[[stages.seeds]]\nname = "cities"\nsource = "cities.csv"\n'
    write(
        folder,
        {
            "seedlab.toml": f'[project]\nname = "p"\n{stage}duplicates = "first"\n',
            "cities.csv": "code,name,size\na,first,1\na,second,many\nb,b,many\nb,b2,2\n",
        },
    )

    done = seed_rejecting(folder, url, rejects)

    assert rows_of(url, "SELECT code, name FROM cities") == [("a", "first")]
    assert done.told == [("cities.csv", 3, "type"), ("cities.csv", 4, "type")]


def test_the_same_rows_are_rejected_in_any_order(folder: Path, url: str, rejects: Path) -> None:
    names = [f"p{n:02}" for n in range(40)]
    pupils = [f"{name},hfa,{names[n - 1] if n else ''}" for n, name in enumerate(names)]
    pupils[20] = f"p20,{'nowhere'},p19"  # everybody behind has it as a friend of friends
    left = []
    for attempt in range(3):
        random.Random(attempt).shuffle(pupils)
        files = {"cities.csv": CITIES, "pupils.csv": "\n".join(["name,city.code,friend.name", *pupils])}
        write(folder, files)
        done = seed_rejecting(folder, url, rejects / str(attempt))
        left.append([row[0] for row in rows_of(url, "SELECT name FROM pupils ORDER BY 1")])
        assert done.counts["pupils"] == 20

    assert left == [names[:20]] * 3


def test_a_row_that_points_to_itself_depends_on_nobody(folder: Path, url: str, rejects: Path) -> None:
    write(
        folder,
        {"cities.csv": "code,name\nhfa,Haifa\n", "pupils.csv": "name,city.code,friend.name\nAda,x,Ada\n"},
    )

    done = seed_rejecting(folder, url, rejects)

    assert done.told == [("pupils.csv", 2, "missing-parent")]


def test_nothing_is_rejected_from_good_files(folder: Path, url: str, rejects: Path) -> None:
    write(folder, {"cities.csv": "code,name\nhfa,Haifa\n", "pupils.csv": "name,city.code\nAda,hfa\n"})

    done = seed_rejecting(folder, url, rejects)

    assert (done.counts, done.faults, done.files) == ({}, [], {})
    assert not rejects.exists()
    assert done.outcomes.created == 2


def test_a_streamed_file_is_rejected_row_by_row(folder: Path, url: str, rejects: Path) -> None:
    lines = [f"c{n},n,{'many' if n in (7, 900) else n + 1}" for n in range(1000)]
    pupils = [f"p{n},c{n}" for n in range(1000)]
    write(
        folder,
        {
            "cities.csv": "\n".join(["code,name,size", *lines]),
            "pupils.csv": "\n".join(["name,city.code", *pupils]),
        },
    )

    done = seed_rejecting(folder, url, rejects, batch_rows=100)

    assert done.counts == {"cities": 2, "pupils": 2}
    assert rows_of(url, "SELECT count(*) FROM pupils") == [(998,)]
    told = done.files["pupils.csv"].read_text().splitlines()
    assert [line.split(",")[0] for line in told] == ["name", "p7", "p900"]
    assert [line.rpartition(",")[2] for line in told] == [LINE, "9", "902"]


# ---- what the database refuses ----


@pytest.mark.parametrize("level", LEVELS)
def test_a_row_that_breaks_a_check_is_rejected_where_others_are_already(
    folder: Path, url: str, rejects: Path, level: Level
) -> None:
    execute(url, "INSERT INTO cities (id, code, name, size) VALUES (70, 'jer', 'old', 5)")
    write(folder, {"cities.csv": "code,name,size\njer,Jerusalem,0\nhfa,Haifa,1\neil,Eilat,-4\n"})

    done = seed_rejecting(folder, url, rejects, level)

    assert rows_of(url, "SELECT code, name FROM cities ORDER BY 1") == [("hfa", "Haifa"), ("jer", "old")]
    assert [each[1:] for each in done.told] == [(2, "constraint"), (4, "constraint")]
    assert all("size_check" in fault.message for fault in done.faults)


def test_what_a_trigger_refuses_stops_the_run(folder: Path, url: str, rejects: Path) -> None:
    if url.startswith("sqlite"):
        execute(
            url,
            "CREATE TRIGGER closed BEFORE INSERT ON cities WHEN NEW.code = 'hfa' "
            "BEGIN SELECT RAISE(ABORT, 'closed'); END",
        )
    else:
        execute(
            url,
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN RAISE EXCEPTION 'closed'; END$$; CREATE TRIGGER closed BEFORE INSERT ON cities "
            "FOR EACH ROW WHEN (NEW.code = 'hfa') EXECUTE FUNCTION refuse()",
        )
    write(folder, {"cities.csv": CITIES})

    with pytest.raises(SeedError, match=r"closed|2 data faults"):
        seed_rejecting(folder, url, rejects)

    assert rows_of(url, "SELECT * FROM cities") == []
    assert not rejects.exists()


@pytest.mark.parametrize("level", LEVELS)
def test_what_an_exclusion_constraint_refuses_stops_the_run(
    folder: Path, clean_postgres_url: str, rejects: Path, level: Level
) -> None:
    execute(
        clean_postgres_url,
        "CREATE TABLE rooms (code text PRIMARY KEY, taken int4range, EXCLUDE USING gist (taken WITH &&))",
    )
    write(folder, {"rooms.csv": 'code,taken\na,"[1,5)"\nb,"[4,6)"\n'})

    with pytest.raises(DataFaults) as found:
        seed_rejecting(folder, clean_postgres_url, rejects, level)

    assert {(fault.rule, fault.file) for fault in found.value.faults} == {("exclusion", "rooms.csv")}
    assert rows_of(clean_postgres_url, "SELECT * FROM rooms") == []


def test_a_file_that_cannot_be_read_stops_the_run(folder: Path, url: str, rejects: Path) -> None:
    write(folder, {"cities.csv": CITIES, "pupils.json": "[{]"})
    before = dump(url)

    with pytest.raises(DataFaults):
        seed_rejecting(folder, url, rejects)

    assert dump(url) == before


# ---- nested records ----

NESTED = """
CREATE TABLE quizzes (id SERIAL KEY, code text NOT NULL UNIQUE, level int);
CREATE TABLE questions (
  id SERIAL KEY, code text NOT NULL UNIQUE, points int, quiz_id int REFERENCES quizzes, mate_id int REFERENCES questions
);
CREATE TABLE answers (
  id SERIAL KEY, question_id int NOT NULL REFERENCES questions, position int NOT NULL, text text, price int,
  UNIQUE (question_id, position)
);
"""
QUIZ_PROJECT = """
[project]
name = "quiz"
[[stages]]
id = "quizzes"
name = "quizzes"
[[stages.seeds]]
name = "quizzes"
source = "quizzes.SUFFIX"
[stages.seeds.tables]
quizzes = { path = "$", key = ["code"] }
questions = { path = "questions", key = ["code"] }
answers = { path = "questions.answers", key = ["question", "position"], columns = { position = "$index" } }
"""
QUIZZES = [
    {
        "code": "one",
        "level": 1,
        "questions": [
            {
                "code": "a",
                "points": "1",
                "answers": [{"text": "x", "price": "1"}, {"text": "y", "price": "much"}],
            },
            {"code": "b", "points": "many", "answers": [{"text": "z", "price": "3"}]},
        ],
    },
    {"code": "two", "level": 2, "questions": [{"code": "c", "points": "3", "answers": []}]},
    {
        "code": None,
        "level": 3,
        "questions": [{"code": "d", "points": "4", "answers": [{"text": "w", "price": "5"}]}],
    },
]


@pytest.fixture
def quiz_url(clean_database_url: str) -> str:
    execute(clean_database_url, NESTED)
    return clean_database_url


def quizzes(folder: Path, suffix: str) -> None:
    write(folder, {"seedlab.toml": QUIZ_PROJECT.replace("SUFFIX", suffix)})
    path = folder / f"quizzes.{suffix}"
    if suffix == "parquet":
        pl.DataFrame(QUIZZES).write_parquet(path)
    elif suffix == "jsonl":
        path.write_text("".join(f"{json.dumps(each)}\n" for each in QUIZZES))
    else:  # JSON is YAML
        path.write_text(json.dumps(QUIZZES, indent=1))


@pytest.mark.parametrize("suffix", some(["json", "jsonl", "yaml", "parquet"], "jsonl"))
def test_a_nested_record_goes_by_itself_and_takes_its_own_with_it(
    folder: Path, quiz_url: str, rejects: Path, suffix: str
) -> None:
    quizzes(folder, suffix)

    done = seed_rejecting(folder, quiz_url, rejects)

    assert rows_of(quiz_url, "SELECT code FROM quizzes ORDER BY 1") == [("one",), ("two",)]
    # Question d has no quiz to point to, so only its place in the document tells that it must go.
    assert rows_of(quiz_url, "SELECT code FROM questions ORDER BY 1") == [("a",), ("c",)]
    assert rows_of(quiz_url, "SELECT text FROM answers") == [("x",)]
    assert done.counts == {"quizzes": 1, "questions": 2, "answers": 3}


def test_the_reject_file_has_the_whole_record_once(folder: Path, quiz_url: str, rejects: Path) -> None:
    quizzes(folder, "json")

    done = seed_rejecting(folder, quiz_url, rejects)

    written = json.loads(done.files["quizzes.json"].read_text())
    assert [each.pop(LINE) for each in written] == [2, 43]
    reasons = [each.pop(REASON).split(" | ") for each in written]
    assert written == [QUIZZES[0], QUIZZES[2]]
    assert [each.split(": ")[:2] for each in reasons[0]] == [
        ["questions[1]", "type"],
        ["questions[0].answers[1]", "type"],
        ["questions[1].answers[0]", "rejected-parent"],
    ]
    assert reasons[0][2].endswith("depends on a rejected row of questions, quizzes.json:20")
    assert [each.partition(":")[0] for each in reasons[1]] == [
        "null-key",
        "questions[0]",
        "questions[0].answers[0]",
    ]


def test_a_mended_nested_reject_file_completes_the_database(
    folder: Path, quiz_url: str, rejects: Path
) -> None:
    quizzes(folder, "json")
    done = seed_rejecting(folder, quiz_url, rejects)

    path = done.files["quizzes.json"]
    text = path.read_text().replace('"much"', '"2"').replace('"many"', '"9"')
    path.write_text(text.replace('"code": null', '"code": "three"'))
    write(path.parent, {"seedlab.toml": QUIZ_PROJECT.replace("SUFFIX", "json")})
    again = seed(path.parent, quiz_url)

    assert counted(again) == (6, 0, 3)
    assert rows_of(quiz_url, "SELECT text FROM answers ORDER BY 1") == [("w",), ("x",), ("y",), ("z",)]


def test_a_nested_record_goes_with_its_parent_though_the_target_has_it(
    folder: Path, quiz_url: str, rejects: Path
) -> None:
    execute(quiz_url, "INSERT INTO questions (code, points) VALUES ('b', 5)")
    quizzes(folder, "json")

    done = seed_rejecting(folder, quiz_url, rejects)

    assert done.counts["answers"] == 3
    assert rows_of(quiz_url, "SELECT points FROM questions WHERE code = 'b'") == [(5,)]


# ---- transforms ----

TRANSFORMED = """
[project]
name = "p"
transforms = "t.py"
[[stages]]
id = "s"
name = "s"
[[stages.seeds]]
name = "cities"
source = "raw.csv"
transform = "split"
[stages.seeds.tables]
cities = { path = "$" }
"""


@pytest.mark.parametrize("keeps", [True, False])
def test_a_transform_that_keeps_where_rows_are_from_can_be_rejected(
    folder: Path, url: str, rejects: Path, keeps: bool
) -> None:
    chosen = "*" if keeps else "code,name,size"
    script = (
        "def split(lazy):\n"
        f"    kept = lazy if {chosen == '*'} else lazy.select('code', 'name', 'size')\n"
        "    return {'cities': kept.sort('code')}\n"
    )
    write(folder, {"seedlab.toml": TRANSFORMED, "t.py": script, "raw.csv": CITIES})

    if keeps:
        done = seed_rejecting(folder, url, rejects)
        assert done.told == [("raw.csv", 3, "type"), ("raw.csv", 4, "constraint")]
        assert done.files["raw.csv"].read_text().splitlines()[1].startswith("tlv,")
    else:
        with pytest.raises(ConfigurationError, match="keep these columns"):
            seed_rejecting(folder, url, rejects)
