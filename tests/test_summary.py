"""Texts: what a reader of a terminal gets, to the letter where the layout matters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from seedlab.errors import Fault
from seedlab.flow import (
    Outcomes,
    Plan,
    PlannedSeed,
    PlannedStage,
    PlannedTable,
    Project,
    Run,
    Seed,
    SourceFile,
    Stage,
    StageReport,
    TableSpec,
)
from seedlab.flow.evidence import Bottleneck
from seedlab.insight.formatting.excerpts import hidden
from seedlab.insight.formatting.summary import (
    faults_text,
    plan_text,
    project_record,
    project_text,
    summary,
)
from seedlab.insight.formatting.text import duration, printable, roughly, shorten, size, table, width
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.records.runs import Heading, build_run

TARGET = "postgresql://postgres@127.0.0.1:54321/academy"


def run_of(*stages: StageReport, seconds: float = 0.25) -> Run:
    monitor = Monitor()
    monitor.count(statements=41, round_trips=1, bytes_sent=712_345)
    monitor.cache(hits=3, misses=1)
    run = build_run(monitor, Heading(project="academy", target=TARGET), stages)
    return replace(run, seconds=seconds, wal_bytes=1_234_567)


def ran(name: str, outcomes: Outcomes, seconds: float = 0.1) -> StageReport:
    return StageReport(id=name, status="run", reason="ran: x.csv is new", seconds=seconds, outcomes=outcomes)


def skipped(name: str, rows: int) -> StageReport:
    return StageReport(id=name, status="skipped", reason="nothing changed", outcomes=Outcomes(unchanged=rows))


def test_the_summary_says_what_why_how_much_and_where() -> None:
    run = run_of(ran("translations", Outcomes(created=240)), skipped("courses", 10))

    text = summary(replace(run, notes=("foreign keys stay on",)), 100)

    assert text == (
        f"academy → {TARGET}\n"
        "development, incremental\n"
        "\n"
        "   stage         why                created  unchanged    time\n"
        "✓  translations  ran: x.csv is new      240          ·  100 ms\n"
        "-  courses       nothing changed          ·         10\n"
        "\n"
        "250 rows in 250 ms: 240 created, 10 unchanged, 1,000 rows/s\n"
        "41 statements, 1 round trip, 712 kB sent, 1.2 MB of WAL, 3 of 4 look-ups from the cache\n"
        "\n"
        "! foreign keys stay on\n"
        "\n"
        f"{TARGET}\n"
    )


def test_what_a_run_cost_is_broken_between_its_parts() -> None:
    text = summary(run_of(ran("a", Outcomes(created=1))), 60)

    assert (
        "\n41 statements, 1 round trip, 712 kB sent, 1.2 MB of WAL,\n3 of 4 look-ups from the cache\n" in text
    )


def test_the_summary_of_a_long_run_says_where_its_time_went() -> None:
    locks = Bottleneck(resource="locks", seconds=1.5, share=0.75, where="merge answers", evidence="it waited")
    run = replace(run_of(ran("a", Outcomes(created=1)), seconds=2.0), bottlenecks=(locks,))

    assert "\nWhere the time went: 75 % locks, merge answers; it waited\n" in summary(run)


def test_a_run_that_changed_nothing_says_so_without_a_rate() -> None:
    text = summary(run_of(skipped("courses", 10), seconds=0.008), 100)

    assert "\n10 rows in 8.0 ms: nothing to do, 10 unchanged\n" in text


def test_a_long_reason_gives_way_to_the_width_and_the_numbers_stay() -> None:
    stage = replace(ran("modules", Outcomes(created=5)), reason="ran: " + "long " * 40)

    lines = [line for line in summary(run_of(stage), 70).splitlines() if line.startswith("✓")]

    assert [width(line) for line in lines] == [70]
    assert "…" in lines[0]
    assert lines[0].endswith("5  100 ms")


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (120, "name   of-a-certain-length  what-may-go  reasons that take a lot of room     12"),
        (60, "name   of-a-certain-length  what-may-go  reasons tha…     12"),
        (50, "name   of-a-certain-length  reasons that t…     12"),
        (44, "name   of-a-certain-le…  reasons tha…     12"),
    ],
)
def test_a_narrow_terminal_gets_what_matters_most(cells: int, shown: str) -> None:
    rows = [
        ("name ", "of-a-certain-length", "what-may-go", "reasons that take a lot of room", "12"),
        ("other", "", "", "", "1,000"),
    ]

    told = table(rows, "<<<<>", cells=cells, flexible=3, spare=(2,))

    assert told[0] == shown
    assert max(map(width, told)) <= cells


@pytest.mark.parametrize(
    ("cells", "shown"),
    [(39, "name  a way of writing  a reason that…"), (35, "name  a way of writing"), (20, "name")],
)
def test_a_column_that_was_left_out_gives_no_more_room(cells: int, shown: str) -> None:
    rows = [("name", "a way of writing", "a reason that may be cut")]

    assert table(rows, "<<<", cells=cells, flexible=2, spare=(2, 1)) == [shown]


def test_hebrew_names_keep_the_columns_aligned() -> None:
    run = run_of(ran("אוניברסיטאות", Outcomes(created=5)), ran("translations", Outcomes(created=7)))

    hebrew, latin = (line for line in summary(run, 100).splitlines() if line.startswith("✓"))

    assert width(hebrew[: hebrew.index("ran:")]) == width(latin[: latin.index("ran:")])
    assert "אוניברסיטאות\u200e" in hebrew  # the mark keeps the numbers after it in their columns


def test_a_plan_shows_waves_keys_reasons_and_ways() -> None:
    table = PlannedTable(
        table="questions",
        rows=12_345,
        key=("locale", "code"),
        origin="declared",
        strategy="staged merge",
        outcomes=Outcomes(created=2, unchanged=12_343),
    )
    seed = PlannedSeed(name="q", files=("q.csv",), tables=(table,), priority="high")
    more = PlannedSeed(
        name="r",
        files=("r.csv",),
        tables=(replace(table, rows=5, outcomes=Outcomes(updated=5)),),
        priority="high",
    )
    stages = (
        PlannedStage(id="blocks", name="B", status="skipped", reason="nothing changed", waits_for=()),
        PlannedStage(id="courses", name="C", status="skipped", reason="nothing changed", waits_for=()),
        PlannedStage(
            id="questions",
            name="Q",
            status="run",
            reason="q.csv changed",
            waits_for=("courses",),
            seeds=(seed, more),
        ),
    )
    plan = Plan(
        project="academy", target=TARGET, environment="test", level="copy",
        stages=stages, waves=(("courses",), ("questions",)), notes=("1 seed is not selected",),
        outcomes=Outcomes(created=2, updated=5, unchanged=12_343),
    )  # fmt: skip

    assert plan_text(plan) == (
        f"academy → {TARGET}\n"
        "test, copy\n"
        "\n"
        "- blocks skipped: nothing changed\n"
        "- courses skipped: nothing changed\n"
        "\n"
        "+ questions: q.csv changed (wave 2, after courses)\n"
        "     questions  12,350 rows  by locale, code  2 created, 5 updated  staged merge  key: declared\n"
        "\n"
        "12,350 rows in 1 stage, 2 skipped: 2 created, 5 updated, 12,343 unchanged\n"
        "\n"
        "! 1 seed is not selected\n"
    )


def fault(**changes: object) -> Fault:
    known = {
        "rule": "missing-parent",
        "message": "no row of modules has this code",
        "file": "05-modules/waves.json",
        "line": 14,
        "table": "questions",
        "column": "module.code",
        "path": "$.questions[3]",
        "excerpt": '  {"module": {"code": "wavez"}, "n": 12.5}',
        "caret": (22, 7),
        "value": "wavez",
    }
    return Fault(**{**known, **changes})


def test_a_fault_shows_its_line_with_a_caret_and_hides_the_values() -> None:
    assert faults_text([fault()]) == (
        "05-modules/waves.json:14: missing-parent: no row of modules has this code\n"
        "    table questions, column module.code, at $.questions[3]\n"
        '    14 |   {"module": {"code": "·····"}, "n": ····}\n'
        "       |                       ^^^^^^^\n"
    )


def test_show_values_shows_them() -> None:
    text = faults_text([fault()], show_values=True)

    assert '"code": "wavez"}, "n": 12.5' in text
    assert text.endswith("    value: wavez\n")


def test_a_value_that_would_fill_the_terminal_is_cut() -> None:
    text = faults_text([fault(value="x" * 30_000)], show_values=True)

    assert text.endswith(f"    value: {'x' * 400}… (30,000 characters)\n")


@pytest.mark.parametrize(
    ("file", "line", "shown"),
    [
        ("a.csv", 'x,"a, ""b""",,""', '·,"········",,""'),
        ("a.csv.gz", "ab,c", "··,·"),
        ("a.csv", 'open,"never closed', "····,·············"),
        ("a.tsv", "ab\tc d", "··\t···"),
        (
            "a.json",
            '{"k": "v", "n": -1.5e3, "t": [true, null]}',
            '{"k": "·", "n": ······, "t": [····, ····]}',
        ),
        ("a.jsonl.zst", '{"say \\"k\\"": "a \\" b"}', '{"say \\"k\\"": "······"}'),
        ("a.json", '… "k": "v"}', "· ···· ····"),
        ("a.yaml", "  - code: secret  # why", "  - code: ······  · ···"),
        ("a.yml", "- {code: x, n: [1, 2]}", "- {····: ·, ·: [·, ·]}"),
        ("a.yaml", "  folded text", "  ······ ····"),
        ("a.parquet", "anything at all", "········ ·· ···"),
    ],
)
def test_values_are_masked_and_positions_stay(file: str, line: str, shown: str) -> None:
    masked = hidden(line, file)

    assert masked == shown
    assert len(masked) == len(line)


def test_a_csv_header_is_not_data() -> None:
    header = fault(rule="unknown-column", file="a.csv", line=1, excerpt="code,nme", caret=(5, 3), path=None)

    assert "    1 | code,nme\n      |      ^^^\n" in faults_text([header])


def test_control_characters_of_data_reach_no_terminal() -> None:
    evil = "\x1b[31m\u202e\r\n\x9b"

    text = faults_text(
        [
            fault(
                file=f"a{evil}.csv",
                message=evil,
                column=evil,
                path=evil,
                table=evil,
                excerpt=evil,
                value=evil,
            )
        ],
        show_values=True,
    )

    assert not set(evil) - set("[31m\n") & set(text)
    assert "␛[31m\ufffd␍␊\ufffd" in text
    assert len(printable(evil)) == len(evil)


def test_the_caret_counts_cells_not_characters() -> None:
    text = faults_text([fault(file="a.csv", excerpt="漢字,xx", caret=(3, 2), path=None)], show_values=True)

    assert "    14 | 漢字,xx\n       |      ^^\n" in text


def test_a_long_line_is_cut_around_the_caret() -> None:
    excerpt = "a," * 500 + "WRONG" + ",b" * 500

    text = faults_text([fault(file="a.csv", excerpt=excerpt, caret=(1000, 5))], show_values=True, width=80)

    line, caret = text.splitlines()[2:4]
    assert len(line) <= 80
    assert line[caret.index("^") : caret.rindex("^") + 1] == "WRONG"


def test_a_line_is_marked_as_cut_only_where_it_is() -> None:
    def shown(excerpt: str, start: int) -> str:
        found = fault(file="a.csv", excerpt=excerpt, caret=(start, 5))
        return faults_text([found], show_values=True, width=80).splitlines()[2].partition(" | ")[2]

    begin, middle, end = (
        shown("WRONG" + ",b" * 500, 0),
        shown("a," * 500 + "WRONG" + ",b" * 500, 1000),
        shown("a," * 500 + "WRONG", 1000),
    )

    assert (begin[:5], begin[-1]) == ("WRONG", "…")
    assert (middle[0], middle[-1]) == ("…", "…")
    assert (end[0], end[-5:]) == ("…", "WRONG")


def test_faults_beyond_the_limit_are_counted_by_rule() -> None:
    faults = [*[fault()] * 50, *[fault(rule="type")] * 1_200, fault(rule="nul")]

    text = faults_text(faults)

    assert text.endswith("\n\n… and 1,201 more: 1,200 type, 1 nul; --json lists all\n")
    assert text.count("waves.json") == 50


def test_a_fault_without_a_place_is_its_rule_and_message() -> None:
    assert faults_text([Fault(rule="constraint", message="no")]) == "constraint: no\n"
    assert faults_text([]) == ""


def project(*stages: Stage, seeds: tuple[Seed, ...] = ()) -> Project:
    return Project(root=Path(), name="academy", stages=stages, seeds=seeds)


def seed(stage: str) -> Seed:
    file = SourceFile(path=Path("a.csv"), name="a.csv", format="csv")
    return Seed(name="a", stage=stage, files=(file,), tables=(TableSpec(table="a"),), tags=("essential",))


def test_the_listing_names_stages_seeds_tables_and_files() -> None:
    text = project_text(project(Stage(id="core", name="Core", seeds=(seed("core"),))))

    assert text == (
        "stage  seed  tables  tags       files\ncore   a     a       essential  a.csv\n\n1 seed in 1 stage\n"
    )


def test_the_listing_has_environments_and_tags_where_a_seed_says_some() -> None:
    plain = replace(seed("core"), tags=())
    limited = replace(plain, name="b", environments=("test",))

    text = project_text(project(Stage(id="core", name="Core", seeds=(plain, limited))))

    assert text.splitlines()[:3] == [
        "stage  seed  tables  environments  files",
        "core   a     a       all           a.csv",
        "core   b     a       test          a.csv",
    ]


def test_the_listing_of_a_bare_folder_says_where_stages_come_from() -> None:
    bare = project(seeds=(seed(""),))

    assert "the stages follow from the foreign keys" in project_text(bare)
    assert project_record(bare)["seeds"][0]["stage"] is None
    assert project_record(bare)["seeds"][0]["tables"] == ["a"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0.4 ms"),
        (0.018, "18 ms"),
        (0.9996, "1.00 s"),
        (3.214, "3.21 s"),
        (59.996, "1 min 00 s"),
        (119.7, "2 min 00 s"),
        (125.2, "2 min 05 s"),
    ],
)
def test_durations_are_spelled_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.7, "1 min 00 s"),
        (125, "2 min 05 s"),
        (7620, "2 h 07 min"),
    ],
)
def test_seconds_that_still_change_have_no_more_digits_than_can_be_read(seconds: float, text: str) -> None:
    assert roughly(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_500, "1.5 kB"),
        (712_345, "712 kB"),
        (999_600, "1.0 MB"),
        (3 * 10**12, "3000 GB"),
    ],
)
def test_sizes_are_decimal(count: int, text: str) -> None:
    assert size(count) == text


def test_shortening_counts_cells() -> None:
    assert shorten("漢字漢字", 5) == "漢字…"
    assert shorten("abc", 3) == "abc"


def test_a_narrow_listing_leaves_out_the_tables_rather_than_cut_the_files() -> None:
    file = SourceFile(path=Path("x.csv"), name="02-structure/disciplines.csv", format="csv")
    stage = Stage(id="core", name="Core", seeds=(replace(seed("core"), tags=(), files=(file,)),))

    told = [project_text(project(stage), cells).splitlines()[1] for cells in (50, 26)]

    assert told == ["core   a     a       02-structure/disciplines.csv", "core   a     02-structure…"]
