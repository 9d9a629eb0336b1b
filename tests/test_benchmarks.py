"""The parts of the benchmarks, on few rows: rivals load what seedlab wrote, and who does not is found out."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from tests.benchmarks import __main__ as program
from tests.benchmarks.cold import paired
from tests.benchmarks.figures import Figure, Result, in_figures
from tests.benchmarks.material import Material, take
from tests.benchmarks.paired_runs import Asked, PairedRuns, Setup, measure_pairs, often, pair, paired_table
from tests.benchmarks.rivals import POSTGRES
from tests.benchmarks.rivals.contract import Rival
from tests.benchmarks.rivals.django_bulk import DjangoBulkCreate
from tests.benchmarks.rivals.prisma_client import PrismaUpserts
from tests.benchmarks.rivals.psql import PsqlCopy
from tests.benchmarks.rivals.sqlalchemy_core import SqlAlchemyCore, engine_of
from tests.benchmarks.rivals.sqlalchemy_orm import SqlAlchemyOrm
from tests.fix_academy import Academies
from tests.support.seeding import execute

DEVELOPERS = (
    PsqlCopy,
    SqlAlchemyCore,
    SqlAlchemyOrm,
    DjangoBulkCreate,
)  # what the extra `dev` and Debian bring
OTHERS = [kind for kind in POSTGRES if kind not in DEVELOPERS and not kind().missing()]


@pytest.fixture(scope="module")
def material(
    academies: Academies, academy_metadata: sa.MetaData, tmp_path_factory: pytest.TempPathFactory
) -> Material:
    seeded = academies.seeded("postgresql", environment="test")
    return take(seeded.url, academy_metadata, tmp_path_factory.mktemp("rows"))


@pytest.fixture
def url(clean_postgres_url: str, academy_metadata: sa.MetaData) -> str:
    """A database with the academy's empty tables."""
    engine = engine_of(clean_postgres_url)
    academy_metadata.create_all(engine)
    engine.dispose()
    return clean_postgres_url


def load(kind: type[Rival], material: Material, url: str, folder: Path) -> Rival:
    rival = kind()
    rival.prepare(material, url, folder)
    rival.reset()
    rival.run()
    return rival


# ---- rivals ---------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in (PsqlCopy, SqlAlchemyCore) else pytest.mark.slow)
        for kind in (*DEVELOPERS, *OTHERS)
    ],
)
def test_a_rival_leaves_the_rows_that_seedlab_wrote(
    kind: type[Rival], material: Material, url: str, tmp_path: Path
) -> None:
    if lacking := kind().missing():
        pytest.skip(lacking)
    rival = load(kind, material, url, tmp_path)

    rival.verify(url)
    assert rival.versions().keys() == {*kind.programs, *kind.packages}


@pytest.mark.parametrize(
    ("change", "tables"),
    [
        ("UPDATE questions SET stem = stem || '.' WHERE code = (SELECT min(code) FROM questions)", ["questions"]),
        ("DELETE FROM answers WHERE correct", ["answers"]),
        ("UPDATE answers SET unit = NULL WHERE unit = ''", ["answers"]),
    ],
)  # fmt: skip
def test_other_rows_are_found_out(
    change: str, tables: list[str], material: Material, url: str, tmp_path: Path
) -> None:
    rival = load(SqlAlchemyCore, material, url, tmp_path)
    execute(url, change)

    with pytest.raises(AssertionError, match="other rows than seedlab's") as found:
        rival.verify(url)
    assert [table.name for table in material.tables if f"'{table.name}'" in str(found.value)] == tables


@pytest.mark.parametrize(
    ("blind_to", "change"),
    [
        ("empty text", "UPDATE answers SET unit = NULL WHERE unit = ''"),
        (
            "zeros in JSON",
            r"UPDATE question_parts SET parameters = regexp_replace(parameters::text, '(\.\d+)', '\10', 'g')::jsonb",
        ),
    ],
)
def test_what_a_tool_cannot_keep_is_allowed_to_it_alone(
    blind_to: str, change: str, material: Material, url: str, tmp_path: Path
) -> None:
    load(SqlAlchemyCore, material, url, tmp_path)
    with psycopg.connect(url) as connection:
        assert connection.execute(change).rowcount > 0

    material.verify(url, blind_to=blind_to)
    with pytest.raises(AssertionError):
        material.verify(url)


# ---- turns ----------------------------------------------------------------------------------------------


class Grounds:
    """A place whose clock goes on by one in each turn, and which knows who came when."""

    def __init__(self) -> None:
        self.superuser_url = ""
        self.order: list[str] = []

    def time(self, action: Callable[[], object]) -> float:
        action()
        return float(len(self.order))


class Absent(Rival):
    name = "absent"
    packages = ("no_such_package",)


class Failing(Rival):
    name = "failing"

    def run(self) -> None:
        raise ConnectionError("gone\nand more")


class Present(Rival):
    name = "present"
    order: list[str]

    def run(self) -> None:
        self.order.append("rival")

    def verify(self, superuser_url: str) -> None:
        self.order.append("check")


@pytest.fixture
def grounds() -> Grounds:
    return Grounds()


@pytest.fixture
def setup(grounds: Grounds, material: Material, tmp_path: Path) -> Setup:
    ours = lambda: grounds.order.append("seedlab")  # noqa: E731
    return Setup(place=grounds, url="", material=material, ours=ours, folder=tmp_path, pairs=2)


def test_who_begins_alternates_and_every_run_is_checked(setup: Setup, grounds: Grounds) -> None:
    rival = Present()
    rival.order = grounds.order
    for number in range(3):
        pair(setup, rival, number)

    checked = ["rival", "check"]
    assert grounds.order == ["seedlab", *checked, *checked, "seedlab", "seedlab", *checked]


def test_of_many_rows_only_the_quick_and_judged_take_every_turn() -> None:
    judged = Asked(faster=2)
    takes = {
        (kind.pace, few, asked == judged): often(kind(), asked, few=few)
        for kind in (PsqlCopy, DjangoBulkCreate, PrismaUpserts)
        for few in (True, False)
        for asked in (judged, Asked())
    }
    assert [what for what, every in takes.items() if every] == [
        ("quick", True, True),
        ("quick", True, False),
        ("quick", False, True),
        ("slow", True, True),
        ("slow", True, False),
    ]


@pytest.mark.parametrize(("ours", "theirs"), [(4, 2), (1, 3), (2, 0)])
def test_the_slow_one_takes_as_many_turns_as_it_is_given(ours: int, theirs: int) -> None:
    samples = paired(lambda: 1.0, lambda: 2.0, ours, theirs)

    assert samples == {"seedlab": [1.0] * ours, "other": [2.0] * theirs}


def test_what_is_missing_is_told_and_what_fails_misses(setup: Setup) -> None:
    missing, failed = (measure_pairs(setup, kind(), Asked(faster=2)) for kind in (Absent, Failing))

    assert (missing.trouble, missing.met) == ("no no_such_package", True)
    assert (failed.trouble, failed.met) == ("ConnectionError: gone", False)
    told = paired_table("title", "remark", [missing, failed])
    assert "| absent | - | - | - | - | ≥ 2 times | 0 | not run: no no_such_package |" in told.markdown
    assert not told.met


def test_the_ratio_is_the_pairs_and_what_is_asked_is_judged_by_it() -> None:
    pairs = [(1.0, 4.0), (2.0, 6.0), (1.0, 2.0)]  # 4, 3 and 2 times
    asked = {
        Asked(faster=3): True,
        Asked(faster=3.1): False,
        Asked(share=0.34): True,
        Asked(share=0.33): False,
    }

    results = [PairedRuns(name="x", remark="", asked=each, pairs=pairs) for each in asked]
    assert {each.faster for each in results} == {3.0}
    assert [each.met for each in results] == list(asked.values())
    lines = paired_table("title", "remark", results).markdown.splitlines()
    assert lines[-2:] == [
        "| x | 4.00 | 1.00 | 3 | 0.333 | ≤ 0.34 of its time | 3 |  |",
        "| x | 4.00 | 1.00 | **3** | 0.333 | ≤ 0.33 of its time | 3 |  |",
    ]


def test_a_missed_figure_is_bold() -> None:
    figures = [
        Figure(what=what, reached=reached, asked=asked, at_least=True, samples={"seedlab": [1.0]})
        for what, reached, asked in (("met", 2.5, 2), ("missed", 2.5, 3), ("told", 1359.6, None))
    ]
    result = in_figures("title", figures)
    assert result.markdown.splitlines()[2:] == [
        "| met | 2.5 | ≥ 2 |  |",
        "| missed | **2.5** | ≥ 3 |  |",
        "| told | 1,360 |  |  |",
    ]
    assert not result.met


# ---- the program ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_program_writes_tables_and_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record, page = tmp_path / "record.json", tmp_path / "page.md"
    options = [
        "--only",
        "sqlite",
        "--rows",
        "5000",
        "--pairs",
        "1",
        "--json",
        str(record),
        "--markdown",
        str(page),
    ]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *options])
    program.main()

    kept = json.loads(record.read_text("utf-8"))
    assert {"cpu", "cores", "os"} <= kept["machine"].keys()
    assert {"seedlab", "polars", "psycopg", "django"} <= kept["versions"].keys()
    (result,) = kept["results"]
    assert [len(each["pairs"]) for each in result["figures"]] == [1, 1]
    text = page.read_text("utf-8")
    assert text.startswith("## SQLite beside executemany, 5,000 rows\n\n5,321 rows in 13 tables")
    assert text.strip() in capsys.readouterr().out


def test_a_benchmark_that_fails_does_not_take_the_others_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> Result:
        raise ConnectionError("gone")

    made = Result(title="Fine", markdown="| 1 |", record=[1])
    monkeypatch.setattr(program, "BENCHMARKS", {"bad": fail, "fine": lambda _: made})
    page = tmp_path / "page.md"
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--markdown", str(page)])

    assert program.main() == 1
    assert page.read_text("utf-8") == "## bad\n\nfailed: ConnectionError\n\n## Fine\n\n| 1 |\n"
    assert "ConnectionError: gone" in capsys.readouterr().err


def test_the_program_knows_no_other_benchmark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "sqlite,all"])
    with pytest.raises(SystemExit):
        program.main()
    assert "--only all: choose of academy, delayed, beside, changed, sqlite" in capsys.readouterr().err


def test_executemany_with_other_rows_is_found_out(
    academies: Academies, academy_metadata: sa.MetaData, tmp_path: Path
) -> None:
    from tests.benchmarks import sqlite

    seeded = Path(academies.seeded("sqlite", environment="test").url.removeprefix("sqlite:///"))
    rows = sqlite.take(seeded, academy_metadata, tmp_path / "rows")
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(seeded)) as one, closing(sqlite3.connect(other)) as copy:
        one.backup(copy)
        rows.verify(f"sqlite:///{other}")
        copy.execute("UPDATE answers SET position = 99 WHERE rowid = 1")
        copy.commit()
    with pytest.raises(AssertionError, match="1 rows of answers differ"):
        rows.verify(f"sqlite:///{other}")
