"""Keys and references of every shape reach the same rows on both dialects, whatever the level."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedlab.database.postgres import write as postgres_write
from seedlab.errors import ConfigurationError
from tests.support.cases import some
from tests.support.seeding import Way, counted, dump, execute, portable_dump, rows_of, seed, seed_in, write

UNIVERSITIES = """
CREATE TABLE universities (id uuid PRIMARY KEY, slug text NOT NULL UNIQUE, name text UNIQUE);
CREATE TABLE faculties (
  id SERIAL KEY, university_id uuid NOT NULL REFERENCES universities, code text NOT NULL,
  UNIQUE (university_id, code)
);
CREATE TABLE courses (
  id uuid PRIMARY KEY, faculty_id int REFERENCES faculties, slug text NOT NULL UNIQUE
);
CREATE TABLE prerequisites (
  course_id uuid NOT NULL REFERENCES courses, prerequisite_id uuid NOT NULL REFERENCES courses,
  PRIMARY KEY (course_id, prerequisite_id)
);
"""

EACH_IDENTITY = pytest.mark.parametrize("identity", some(["SERIAL KEY", "uuid PRIMARY KEY"], "SERIAL KEY"))


def twice(way: Way, folder: Path, url: str) -> list[tuple[int, int, int]]:
    """Seed, and seed again: the second time nothing may change."""
    first, held = seed_in(way, folder, url), dump(url)
    second = seed_in(way, folder, url)
    assert dump(url) == held
    return [counted(first), counted(second)]


def test_composite_keys_name_rows(folder: Path, clean_database_url: str, way: Way) -> None:
    url = clean_database_url
    execute(
        url,
        """
        CREATE TABLE rooms (building text, number int, seats int, PRIMARY KEY (building, number));
        CREATE TABLE lessons (
          code text PRIMARY KEY, building text, number int, FOREIGN KEY (building, number) REFERENCES rooms
        );
        INSERT INTO rooms VALUES ('A', 1, 5), ('B', 1, 7);
        """,
    )
    write(
        folder,
        {
            "rooms.csv": "number,building,seats\n1,A,6\n2,A,8\n",
            "lessons.csv": "code,rooms.number,rooms.building\nx,1,B\ny,2,A\nz,,\n",
        },
    )

    assert twice(way, folder, url) == [(4, 1, 0), (0, 0, 5)]
    assert rows_of(url, "SELECT * FROM lessons ORDER BY 1") == [
        ("x", "B", 1),
        ("y", "A", 2),
        ("z", None, None),
    ]
    assert rows_of(url, "SELECT * FROM rooms ORDER BY 1, 2") == [("A", 1, 6), ("A", 2, 8), ("B", 1, 7)]


@EACH_IDENTITY
def test_rows_of_a_table_that_refers_to_itself_may_stand_in_any_order(
    folder: Path, clean_database_url: str, way: Way, identity: str
) -> None:
    url = clean_database_url
    kind = "int" if "SERIAL" in identity else "uuid"
    execute(
        url,
        f"CREATE TABLE people (id {identity}, email text NOT NULL UNIQUE, boss_id {kind} REFERENCES people);",
    )
    write(folder, {"people.csv": "email,boss.email\nleaf,branch\nbranch,root\nroot,\nalone,alone\n"})

    assert twice(way, folder, url) == [(4, 0, 0), (0, 0, 4)]
    assert rows_of(
        url, "SELECT a.email, b.email FROM people a LEFT JOIN people b ON b.id = a.boss_id ORDER BY 1"
    ) == [("alone", "alone"), ("branch", "root"), ("leaf", "branch"), ("root", None)]


def test_rows_that_refer_to_each_other_in_a_circle_are_written(
    folder: Path, clean_database_url: str, way: Way
) -> None:
    url = clean_database_url
    execute(
        url,
        "CREATE TABLE people (id SERIAL KEY, email text NOT NULL UNIQUE, boss_id int NOT NULL REFERENCES people);",
    )
    write(folder, {"people.csv": "email,boss.email\na,b\nb,c\nc,a\n"})

    assert twice(way, folder, url) == [(3, 0, 0), (0, 0, 3)]
    assert rows_of(
        url, "SELECT a.email, b.email FROM people a JOIN people b ON b.id = a.boss_id ORDER BY 1"
    ) == [("a", "b"), ("b", "c"), ("c", "a")]


def test_rows_of_two_files_may_refer_to_each_other(folder: Path, clean_database_url: str, way: Way) -> None:
    check_two_files(folder, clean_database_url, way)


def test_rows_of_two_files_may_refer_to_each_other_through_a_staging_table(
    folder: Path, clean_postgres_url: str, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_write, "ARRAY_ROWS", 0)

    check_two_files(folder, clean_postgres_url, way)


def check_two_files(folder: Path, url: str, way: Way) -> None:
    execute(
        url,
        "CREATE TABLE people (id uuid PRIMARY KEY, email text NOT NULL UNIQUE, boss_id uuid REFERENCES people);"
        "INSERT INTO people (id, email) VALUES ('00000000-0000-4000-8000-000000000001', 'a');",
    )
    write(
        folder,
        {"1/people.csv": "email,boss.email\na,d\nb,a\n", "2/people.csv": "email,boss.email\nc,b\nd,c\n"},
    )

    assert twice(way, folder, url) == [(3, 1, 0), (0, 0, 4)]
    assert rows_of(
        url, "SELECT a.email, b.email FROM people a JOIN people b ON b.id = a.boss_id ORDER BY 1"
    ) == [("a", "d"), ("b", "a"), ("c", "b"), ("d", "c")]


@EACH_IDENTITY
def test_a_reference_may_use_another_unique_key(
    folder: Path, clean_database_url: str, way: Way, identity: str
) -> None:
    url = clean_database_url
    kind = "int" if "SERIAL" in identity else "uuid"
    execute(
        url,
        f"""
        CREATE TABLE countries (id {identity}, code text NOT NULL UNIQUE, name text NOT NULL UNIQUE);
        CREATE TABLE towns (
          id SERIAL KEY, name text NOT NULL UNIQUE, country_id {kind} NOT NULL REFERENCES countries
        );
        """,
    )
    write(
        folder,
        {
            "countries.csv": "code,name\nil,Israel\nfr,France\n",
            "towns.csv": "name,country.name\nHaifa,Israel\nLyon,France\n",
        },
    )

    first = twice(way, folder, url)
    write(folder, {"towns.csv": "name,country.name\nHaifa,Israel\nLyon,France\nMetz,France\n"})
    (folder / "countries.csv").unlink()
    second = counted(seed_in(way, folder, url))

    assert first == [(4, 0, 0), (0, 0, 4)]
    assert second == (1, 0, 2)
    assert rows_of(
        url, "SELECT t.name, c.code FROM towns t JOIN countries c ON c.id = t.country_id ORDER BY 1"
    ) == [("Haifa", "il"), ("Lyon", "fr"), ("Metz", "fr")]


HOPS = {
    "universities.csv": "slug,name\ntau,Tel Aviv\nhuji,Jerusalem\n",
    "faculties.csv": "code,university.slug\nsci,tau\nsci,huji\nart,tau\n",
    "courses.csv": (
        "slug,faculty.university.slug,faculty.code\nlogic,tau,sci\nlight,huji,sci\nfree,,\nsong,tau,art\n"
    ),
    "prerequisites.csv": "course.slug,prerequisite.slug\nlight,logic\nsong,free\n",
}
FACULTY_OF = """
SELECT c.slug, u.slug, f.code FROM courses c LEFT JOIN faculties f ON f.id = c.faculty_id
LEFT JOIN universities u ON u.id = f.university_id ORDER BY 1
"""


def test_references_walk_over_many_tables(folder: Path, clean_database_url: str, way: Way) -> None:
    url = clean_database_url
    execute(url, UNIVERSITIES)
    write(folder, HOPS)

    assert twice(way, folder, url) == [(11, 0, 0), (0, 0, 11)]
    assert rows_of(url, FACULTY_OF) == [
        ("free", None, None),
        ("light", "huji", "sci"),
        ("logic", "tau", "sci"),
        ("song", "tau", "art"),
    ]


@pytest.mark.parametrize("given", some(["made", "explicit", "there"], "there"))
@EACH_IDENTITY
def test_a_reference_may_use_a_key_that_is_itself_a_reference(
    folder: Path, clean_database_url: str, way: Way, identity: str, given: str
) -> None:
    """As in one-to-one relations: users ← profiles, by the id of the user ← photos ← tags of photos."""
    url = clean_database_url
    kind, ada = ("int", "7") if "SERIAL" in identity else ("uuid", "00000000-0000-4000-8000-000000000007")
    execute(
        url,
        f"""
        CREATE TABLE users (id {identity}, email text NOT NULL UNIQUE);
        CREATE TABLE profiles (user_id {kind} PRIMARY KEY REFERENCES users, bio text);
        CREATE TABLE badges (profile_id {kind} PRIMARY KEY REFERENCES profiles, word text);
        CREATE TABLE photos (code text PRIMARY KEY, profile_id {kind} REFERENCES profiles, badge_id {kind} REFERENCES badges);
        """,
    )
    if given == "there":
        execute(url, f"INSERT INTO users VALUES ('{ada}', 'ada'); INSERT INTO profiles VALUES ('{ada}', '');")
    users = f"id,email\n{ada},ada\n{ada[:-1]}8,bob\n" if given == "explicit" else "email\nada\nbob\n"
    write(
        folder,
        {
            "photos.csv": "code,profile.user.email,badge.profile.user.email\na,ada,\nb,bob,bob\nn,,\n",
            "badges.csv": "profile.user.email,word\nbob,gold\n",
            "profiles.csv": "user.email,bio\nada,x\nbob,y\n",
            "users.csv": users,
        },
    )

    assert twice(way, folder, url)[1] == (0, 0, 8)
    found = """
        SELECT p.code, u.email, b.word FROM photos p LEFT JOIN profiles r ON r.user_id = p.profile_id
        LEFT JOIN users u ON u.id = r.user_id LEFT JOIN badges b ON b.profile_id = p.badge_id ORDER BY 1"""
    assert rows_of(url, found) == [("a", "ada", None), ("b", "bob", "gold"), ("n", None, None)]


def test_references_walk_to_rows_that_only_the_target_has(
    folder: Path, clean_database_url: str, way: Way
) -> None:
    url = clean_database_url
    execute(url, UNIVERSITIES)
    write(folder, HOPS)
    seed_in(way, folder, url)
    for name in ("universities.csv", "faculties.csv", "prerequisites.csv"):
        (folder / name).unlink()
    write(folder, {"courses.csv": HOPS["courses.csv"].replace("light,huji", "light,tau") + "new,huji,sci\n"})

    run = seed_in(way, folder, url)

    assert counted(run) == (1, 1, 3)
    assert rows_of(url, FACULTY_OF)[1:4] == [
        ("light", "tau", "sci"),
        ("logic", "tau", "sci"),
        ("new", "huji", "sci"),
    ]


def test_parents_with_ids_of_their_own_are_found_by_their_keys(
    folder: Path, clean_database_url: str, way: Way
) -> None:
    url = clean_database_url
    execute(url, UNIVERSITIES)
    foreign = "00000000-0000-4000-8000-000000000001"
    execute(
        url,
        f"INSERT INTO universities (id, slug) VALUES ('{foreign}', 'tau');"
        f"INSERT INTO faculties (id, university_id, code) VALUES (70, '{foreign}', 'sci')",
    )
    write(folder, HOPS)

    assert twice(way, folder, url) == [(9, 1, 1), (0, 0, 11)]
    assert rows_of(
        url,
        "SELECT f.id FROM faculties f JOIN universities u ON u.id = f.university_id "
        f"WHERE f.code = 'sci' AND u.slug = 'tau' AND u.name = 'Tel Aviv' AND u.id = '{foreign}'",
    ) == [(70,)]
    assert [row[1:] for row in rows_of(url, FACULTY_OF)] == [
        (None, None),
        ("huji", "sci"),
        ("tau", "sci"),
        ("tau", "art"),
    ]


def test_both_dialects_get_the_same_ids(folder: Path, clean_postgres_url: str, sqlite_url: str) -> None:
    write(folder, HOPS)
    for url in (clean_postgres_url, sqlite_url):
        execute(url, UNIVERSITIES)
        seed(folder, url)

    assert portable_dump(clean_postgres_url) == portable_dump(sqlite_url)


# ---- cycles of tables -----------------------------------------------------------------------------------

CYCLE = {
    "sqlite": """
        CREATE TABLE teams (id INTEGER PRIMARY KEY, name text NOT NULL UNIQUE, leader_id int NOT NULL REFERENCES people);
        CREATE TABLE people (id INTEGER PRIMARY KEY, email text NOT NULL UNIQUE, team_id int NOT NULL REFERENCES teams);
    """,
    "postgresql": """
        CREATE TABLE teams (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE, leader_id int NOT NULL);
        CREATE TABLE people (id serial PRIMARY KEY, email text NOT NULL UNIQUE, team_id int NOT NULL REFERENCES teams);
        ALTER TABLE teams ADD FOREIGN KEY (leader_id) REFERENCES people;
    """,
}
LEADERS = "SELECT t.name, p.email, u.name FROM teams t JOIN people p ON p.id = t.leader_id JOIN teams u ON u.id = p.team_id ORDER BY 1"


def test_two_tables_that_need_each_other_are_filled(folder: Path, clean_database_url: str, way: Way) -> None:
    url = clean_database_url
    execute(url, CYCLE[url.split(":")[0]])
    write(
        folder,
        {
            "teams.csv": "name,leader.email\nred,ada\nblue,bob\n",
            "people.csv": "email,team.name\nada,red\nbob,red\ncid,blue\n",
        },
    )
    first = twice(way, folder, url)
    write(
        folder,
        {
            "teams.csv": "name,leader.email\nred,ada\nblue,cid\ngreen,dan\n",
            "people.csv": "email,team.name\nada,red\nbob,red\ncid,blue\ndan,green\n",
        },
    )
    second = twice(way, folder, url)

    assert first == [(5, 0, 0), (0, 0, 5)]
    assert second == [(2, 1, 4), (0, 0, 7)]
    assert rows_of(url, LEADERS) == [
        ("blue", "cid", "blue"),
        ("green", "dan", "green"),
        ("red", "ada", "red"),
    ]


def test_a_key_through_itself_is_an_error_that_proposes_another(
    folder: Path, clean_database_url: str
) -> None:
    url = clean_database_url
    execute(
        url,
        "CREATE TABLE nodes (id uuid PRIMARY KEY, parent_id uuid REFERENCES nodes, name text NOT NULL, UNIQUE (parent_id, name));",
    )
    write(folder, {"nodes.csv": "name,parent.name\na,\n"})

    with pytest.raises(ConfigurationError, match="nodes"):
        seed(folder, url)

    assert dump(url) == {"nodes": []}


# ---- links ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "listed", ['["logic", "free"]', '[{"prerequisite": {"slug": "logic"}}, {"prerequisite.slug": "free"}]']
)
def test_lists_become_links(folder: Path, clean_database_url: str, way: Way, listed: str) -> None:
    url = clean_database_url
    execute(url, UNIVERSITIES)
    config = """
        [[stages]]
        id = "all"
        [[stages.seeds]]
        name = "courses"
        source = "courses.json"
        [stages.seeds.tables]
        courses = { path = "$", key = ["slug"] }
        prerequisites = { path = "prerequisites", parent = "course" }
    """
    courses = f'[{{"slug": "light", "prerequisites": {listed}}}, {{"slug": "logic"}}, {{"slug": "free"}}]'
    write(folder, {"seedlab.toml": config, "courses.json": courses})

    assert twice(way, folder, url) == [(5, 0, 0), (0, 0, 5)]
    assert rows_of(
        url,
        "SELECT a.slug, b.slug FROM prerequisites p JOIN courses a ON a.id = p.course_id "
        "JOIN courses b ON b.id = p.prerequisite_id ORDER BY 1, 2",
    ) == [("light", "free"), ("light", "logic")]


def test_nested_records_refer_to_the_record_around_them(
    folder: Path, clean_database_url: str, way: Way
) -> None:
    url = clean_database_url
    execute(
        url,
        """
        CREATE TABLE questions (id SERIAL KEY, code text NOT NULL UNIQUE);
        CREATE TABLE parts (
          id SERIAL KEY, question_id int NOT NULL REFERENCES questions, position int NOT NULL,
          UNIQUE (question_id, position)
        );
        CREATE TABLE answers (
          id SERIAL KEY, part_id int NOT NULL REFERENCES parts, label text NOT NULL, UNIQUE (part_id, label)
        );
        """,
    )
    config = """
        [[stages]]
        id = "all"
        [[stages.seeds]]
        name = "questions"
        source = "questions.yaml"
        [stages.seeds.tables]
        questions = { path = "$", key = ["code"] }
        parts = { path = "parts", key = ["question", "position"], columns = { position = "$index" } }
        answers = { path = "parts.answers", key = ["part", "label"] }
    """
    questions = """
- code: q1
  parts:
    - answers: [{label: a}, {label: b}]
    - answers: [{label: a}]
- code: q2
  parts:
    - answers: []
"""
    write(folder, {"seedlab.toml": config, "questions.yaml": questions})

    assert twice(way, folder, url) == [(8, 0, 0), (0, 0, 8)]
    assert rows_of(
        url,
        "SELECT q.code, p.position, a.label FROM questions q JOIN parts p ON p.question_id = q.id "
        "LEFT JOIN answers a ON a.part_id = p.id ORDER BY 1, 2, 3",
    ) == [("q1", 1, "a"), ("q1", 1, "b"), ("q1", 2, "a"), ("q2", 1, None)]
