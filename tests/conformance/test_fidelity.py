"""Values arrive as they are, through every format, by every way, into both dialects."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from seedlab.database.postgres import write as postgres_write
from seedlab.steps.preparing import shaping
from tests.support.cases import some
from tests.support.naughty import NAUGHTY
from tests.support.school import SEED, STAGE
from tests.support.seeding import (
    WAYS,
    Way,
    counted,
    dump,
    execute,
    portable_dump,
    rows_of,
    seed,
    seed_in,
    write,
)
from tests.support.writing import FORMATS, write_rows

TEXTS = (
    "007",
    "NO",
    "null",
    "NULL",
    "~",
    "true",
    "0.1234567890123456789",
    "1.10",
    "1e3",
    "12:30",
    "2024-01-01",
    "",
    None,
    " ",
    " padded ",
    "שלום עולם",
    "😀 emoji 🇮🇱",
    "'single' \"double\"",
    "back\\slash",
    "a\ttab",
    "two\nlines",
    "three\r\nends\rof line",
    "\\N",
    "\\.",
    "\\x41",
    "caf\u00e9",  # NFC
    "cafe\u0301",  # NFD
    "NaN",
    "{a,b}",
    "{}",
    "a,b;c|d",
    "%s %(x)s $1 :name ?",
    "-- not a comment",
    "\u2028\u00a0\u200f\ufeff",
    "\x01\x1f\x7f\x85",
    *NAUGHTY,
)
ROWS = [{"n": str(n), "body": text} for n, text in enumerate(TEXTS)]
NOTES = "CREATE TABLE notes (n int PRIMARY KEY, body text);"


# How a file is read and how rows are written do not know of each other: no need to cross them all.
QUICK = ("csv", "json", "parquet", "legacy")
OTHER_WAYS = [way for way in WAYS if str(way) in ("legacy", "bulk", "incremental-no-rebuild")]
EACH_WAY_AND_FORMAT = pytest.mark.parametrize(
    ("way", "form"),
    [
        *(pytest.param(Way(), form, marks=() if form in QUICK else pytest.mark.slow) for form in FORMATS),
        *(
            pytest.param(way, "json", marks=() if way.level in QUICK else pytest.mark.slow)
            for way in OTHER_WAYS
        ),
    ],
    ids=str,
)


def seed_notes(folder: Path, url: str, way: Way, form: str) -> None:
    write_rows(folder / f"notes.{form}", {"n": "int", "body": "text"}, ROWS)
    seed_in(way, folder, url)


def held(url: str) -> tuple[str | None, ...]:
    return tuple(body for _, body in rows_of(url, "SELECT n, body FROM notes ORDER BY n"))


@EACH_WAY_AND_FORMAT
def test_text_arrives_in_an_empty_table(folder: Path, clean_database_url: str, way: Way, form: str) -> None:
    url = clean_database_url
    execute(url, NOTES)

    seed_notes(folder, url, way, form)

    assert held(url) == TEXTS


@EACH_WAY_AND_FORMAT
def test_text_arrives_among_other_rows(folder: Path, clean_database_url: str, way: Way, form: str) -> None:
    url = clean_database_url
    execute(url, NOTES + "INSERT INTO notes VALUES (0, 'other'), (1, NULL), (12, 'not null'), (11, NULL);")

    seed_notes(folder, url, way, form)
    run = seed_in(way, folder, url)

    assert held(url) == TEXTS
    assert counted(run) == (0, 0, len(TEXTS))


@pytest.mark.parametrize("form", FORMATS)
def test_text_arrives_through_a_staging_table(
    folder: Path, clean_postgres_url: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_write, "ARRAY_ROWS", 0)
    url = clean_postgres_url
    execute(url, NOTES + "INSERT INTO notes VALUES (0, 'other'), (12, 'not null')")

    seed_notes(folder, url, Way(), form)
    run = seed(folder, url)

    assert held(url) == TEXTS
    assert counted(run) == (0, 0, len(TEXTS))


@EACH_WAY_AND_FORMAT
def test_text_is_a_key_as_it_is(folder: Path, clean_database_url: str, way: Way, form: str) -> None:
    url = clean_database_url
    execute(
        url,
        """
        CREATE TABLE words (id SERIAL KEY, word text NOT NULL UNIQUE);
        CREATE TABLE uses (n int PRIMARY KEY, word_id int NOT NULL REFERENCES words);
        INSERT INTO words (id, word) VALUES (1000, '007'), (1001, 'back\\slash');
        """,
    )
    words = [row for row in ROWS if row["body"] is not None]
    write_rows(folder / f"words.{form}", {"word": "text"}, [{"word": row["body"]} for row in words])
    uses = [{"n": row["n"], "word.word": row["body"]} for row in words]
    write_rows(folder / f"uses.{form}", {"n": "int", "word.word": "text"}, uses)

    runs = [seed_in(way, folder, url) for _ in range(2)]

    assert [counted(run) for run in runs] == [(2 * len(words) - 2, 0, 2), (0, 0, 2 * len(words))]
    assert rows_of(url, "SELECT u.n, w.word FROM uses u JOIN words w ON w.id = u.word_id ORDER BY u.n") == [
        (int(row["n"]), row["body"]) for row in words
    ]


# ---- other types ----------------------------------------------------------------------------------------

KINDS = {
    "n": "int",
    "exact": "numeric",
    "big": "int",
    "yes": "bool",
    "day": "date",
    "moment": "timestamptz",
    "name": "uuid",
    "document": "json",
}
TYPES = """CREATE TABLE things (
  n int PRIMARY KEY, exact numeric(12, 3), big bigint, yes boolean, day date, moment timestamptz, name uuid,
  document json
);"""
THINGS = [
    {
        "n": "1",
        "exact": "1.100",
        "big": "9223372036854775807",
        "yes": "true",
        "day": "2024-02-29",
        "moment": "2024-05-06T07:08:09.123456+03:00",
        "name": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "document": '{"a": [1.10, "שלום", null, true], "b": {"007": "007"}}',
    },
    {
        "n": "2",
        "exact": "-0.001",
        "big": "-9223372036854775808",
        "yes": "false",
        "day": "0001-01-01",
        "moment": "1999-12-31T23:59:59Z",
        "name": "00000000-0000-0000-0000-000000000000",
        "document": "[]",
    },
    {"n": "3", **dict.fromkeys(list(KINDS)[1:])},
]


@EACH_WAY_AND_FORMAT
def test_all_types_are_the_same_from_every_format(
    folder: Path, clean_database_url: str, way: Way, form: str
) -> None:
    url = clean_database_url
    execute(url, TYPES)
    write_rows(folder / f"things.{form}", KINDS, THINGS)

    runs = [seed_in(way, folder, url) for _ in range(2)]

    assert [counted(run) for run in runs] == [(3, 0, 0), (0, 0, 3)]
    assert portable_dump(url)["things"] == [
        [
            "1",
            "1.1",
            "9223372036854775807",
            "true",
            "2024-02-29",
            "2024-05-06T04:08:09.123456+00:00",
            "0f8fad5b-d9cb-469f-a165-70867728950e",
            '{"a": ["1.1", "שלום", null, true], "b": {"007": "007"}}',
        ],
        [
            "2",
            "-0.001",
            "-9223372036854775808",
            "false",
            "0001-01-01",
            "1999-12-31T23:59:59+00:00",
            "00000000-0000-0000-0000-000000000000",
            "[]",
        ],
        ["3", *[None] * 7],
    ]


@EACH_WAY_AND_FORMAT
def test_numerics_keep_every_digit_and_their_scale(
    folder: Path, clean_postgres_url: str, way: Way, form: str
) -> None:
    execute(clean_postgres_url, "CREATE TABLE sums (n int PRIMARY KEY, exact numeric, double float8)")
    numbers = ["0.1234567890123456789", "1.10", "-12345678901234567890123.000", "0"]
    rows = [{"n": str(n), "exact": each, "double": "0.1"} for n, each in enumerate(numbers)]
    write_rows(folder / f"sums.{form}", {"n": "int", "exact": "numeric", "double": "numeric"}, rows)

    seed_in(way, folder, clean_postgres_url)

    stored = rows_of(clean_postgres_url, "SELECT exact::text, double FROM sums ORDER BY n")
    assert stored == [(each, 0.1) for each in numbers]


def test_a_change_that_equality_does_not_see_is_written(
    folder: Path, clean_postgres_url: str, way: Way
) -> None:
    execute(clean_postgres_url, "CREATE TABLE sums (n int PRIMARY KEY, exact numeric, document jsonb)")
    write(folder, {"sums.csv": 'n,exact,document\n1,1.0,"{""a"": 1.0}"\n'})
    seed_in(way, folder, clean_postgres_url)
    write(folder, {"sums.csv": 'n,exact,document\n1,1.00,"{""a"": 1.00}"\n'})

    run = seed_in(way, folder, clean_postgres_url)

    assert counted(run) == (0, 1, 0)
    stored = rows_of(clean_postgres_url, "SELECT exact, document::text FROM sums")
    assert [(str(exact), document) for exact, document in stored] == [(str(Decimal("1.00")), '{"a": 1.00}')]


def test_nan_is_a_number_where_the_column_says_so(folder: Path, clean_postgres_url: str, way: Way) -> None:
    execute(clean_postgres_url, "CREATE TABLE sums (n int PRIMARY KEY, exact numeric, double float8)")
    write(folder, {"sums.csv": "n,exact,double\n1,NaN,NaN\n2,1,Infinity\n"})

    runs = [seed_in(way, folder, clean_postgres_url) for _ in range(2)]

    assert [counted(run) for run in runs] == [(2, 0, 0), (0, 0, 2)]
    assert rows_of(clean_postgres_url, "SELECT exact::text, double::text FROM sums ORDER BY n") == [
        ("NaN", "NaN"),
        ("1", "Infinity"),
    ]


# ---- large files, many threads --------------------------------------------------------------------------

TOWNS = """
CREATE TABLE towns (id SERIAL KEY, code text NOT NULL UNIQUE);
CREATE TABLE people (
  id uuid PRIMARY KEY, email text NOT NULL UNIQUE, town_id int NOT NULL REFERENCES towns,
  friend_id uuid REFERENCES people, born date
);
"""


def write_towns(folder: Path, form: str) -> None:
    towns = [{"code": f"t{n}"} for n in range(40)]
    people = [
        {
            "email": f"p{n}@x",
            "town.code": f"t{n * 7 % 40}",
            "friend.email": f"p{(n * 11 + 5) % 300}@x" if n % 3 else None,
            "born": f"19{n % 90 + 10}-01-02" if n % 5 else None,
        }
        for n in range(300)
    ]
    write_rows(folder / f"towns.{form}", {"code": "text"}, towns)
    kinds = {"email": "text", "town.code": "text", "friend.email": "text", "born": "date"}
    write_rows(folder / f"people.{form}", kinds, people)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "form"),
    [*((Way(), form) for form in ("csv", "jsonl", "parquet")), *((way, "csv") for way in OTHER_WAYS)],
    ids=str,
)
def test_files_larger_than_a_batch_give_the_same_database(
    folder: Path, clean_database_url: str, way: Way, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = clean_database_url
    write_towns(folder, form)
    execute(url, TOWNS)
    seed(folder, url)
    expected = dump(url)
    execute(url, "DELETE FROM people; DELETE FROM towns WHERE code <> 't3'")
    monkeypatch.setattr(shaping, "STREAM_ROWS", 16)

    runs = [seed_in(way, folder, url, batch_rows=7) for _ in range(2)]

    assert [counted(run) for run in runs] == [(339, 0, 1), (0, 0, 340)]
    assert dump(url) == expected


@pytest.mark.parametrize("batch_rows", [2, 100_000])
@pytest.mark.parametrize(("keep", "names"), [("first", "0123"), ("last", "8967")], ids=("first", "last"))
def test_of_rows_with_one_key_that_lie_batches_apart_the_same_is_kept(
    folder: Path, clean_database_url: str, keep: str, names: str, batch_rows: int
) -> None:
    url = clean_database_url
    execute(url, "CREATE TABLE towns (code text PRIMARY KEY, name text)")
    config = STAGE.format("towns") + SEED.format("towns", "towns.csv") + f'duplicates = "{keep}"\n'
    rows = "".join(f"{n % 4},{n}\n" for n in range(10))
    write(folder, {"seedlab.toml": config, "towns.csv": f"code,name\n{rows}"})

    runs = [seed(folder, url, batch_rows=batch_rows) for _ in range(2)]

    assert [counted(run) for run in runs] == [(4, 0, 0), (0, 0, 4)]
    assert "".join(name for _, name in dump(url)["towns"]) == names


@pytest.mark.parametrize("workers", some(range(1, 9), "1", "5"))
def test_the_number_of_workers_changes_nothing(folder: Path, clean_database_url: str, workers: int) -> None:
    url = clean_database_url
    write_towns(folder, "csv")
    execute(url, TOWNS)
    seed(folder, url, "bulk")
    expected = dump(url)
    execute(url, "DELETE FROM people; DELETE FROM towns")

    run = seed(folder, url, workers=workers, batch_rows=11)

    assert counted(run) == (340, 0, 0)
    assert dump(url) == expected
