"""The list of runs and the face of one, to the letter where the layout matters."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from seedlab.errors import Fault
from seedlab.flow import Outcomes
from seedlab.insight.formatting.history_text import history_record, history_text, sparkline
from seedlab.insight.formatting.run_text import run_text
from seedlab.insight.formatting.text import width
from seedlab.insight.judging.trend import trends
from seedlab.insight.notebooks.run_history import History
from seedlab.insight.records.files import to_json
from seedlab.insight.records.past import Unread
from tests.support.histories import HEBREW, failed_of, past_of, run_of
from tests.test_history import finished

COLD = [past_of(number, seconds) for number, seconds in enumerate((0.3, 0.32, 0.31, 0.3, 0.33, 0.6))]


def history_of(*runs, notes=()) -> History:
    return History(folders=(Path("reports"),), runs=runs, notes=notes)


def test_the_newest_runs_stand_at_the_bottom_and_their_series_below() -> None:
    found = history_of(*COLD, failed_of(6, seconds=0.1), notes=(Unread(path=Path("x/run.json"), why="cut"),))

    assert history_text(found, limit=3) == (
        "   run       started (UTC)     what                        time   rows  statements  round trips\n"
        "✓  00000004  2026-03-01 12:00  academy/incremental/cold  330 ms  5,321          41           12\n"
        "!  00000005  2026-03-01 13:00  academy/incremental/cold  600 ms  5,321          41           12  slower ×1.9\n"  # noqa: RUF001
        "✗  00000006  2026-03-01 14:00  academy/incremental/cold  100 ms  5,321          41           12  failed: no answer\n"
        "\n"
        "✗ academy/incremental/cold (postgresql, development)\n"
        "  ▅▅▅▅▅█✗  failed: no answer\n"
        "\n"
        "7 runs below reports; 4 older ones are not shown (--limit)\n"
        "\n"
        "! x/run.json: cut\n"
    )


def test_each_series_says_how_its_last_run_compares() -> None:
    usual = history_of(*COLD[:5], past_of(5, 0.315))

    assert "315 ms, as usual (272 ms to 353 ms, 5 runs)\n" in history_text(usual)
    assert "600 ms, slower than usual: 1.9 times the median (272 ms to 353 ms, 5 runs)\n" in history_text(
        history_of(*COLD)
    )
    assert "300 ms, too few runs (the first one)\n" in history_text(history_of(*COLD[:1]))
    assert "310 ms, too few runs (2 before it; a band needs 5)\n" in history_text(history_of(*COLD[:3]))


def test_machines_are_named_only_where_there_are_several() -> None:
    one = history_text(history_of(*COLD))
    two = history_text(history_of(*COLD, past_of(9, machine="Intel, 4 cores")))

    assert "AMD" not in one
    assert "(postgresql, development, AMD EPYC, 2 cores, 25 GB, Linux x86_64)" in two
    assert "(postgresql, development, Intel, 4 cores)" in two


def test_no_runs_are_told_with_where_they_were_looked_for() -> None:
    assert history_text(history_of()) == "no run is on record below reports\n"


def test_a_narrow_terminal_still_tells_the_kind_of_each_run() -> None:
    told = history_text(history_of(*COLD), limit=1, width=80).splitlines()

    assert told[0].startswith("   run       UTC          what")
    assert told[1] == "!  00000005  03-01 13:00  academy/incremental/cold  600 ms  5,321  slower ×1.9"  # noqa: RUF001


def test_a_long_project_is_cut_and_not_the_level_and_kind_that_tell_its_series_apart() -> None:
    runs = [past_of(n, 0.3, project="the-whole-academy", kind="compared") for n in range(5)]
    told = history_text(
        history_of(*runs, past_of(5, 0.6, project="the-whole-academy", kind="compared")), width=80
    )

    assert told.splitlines()[-6].endswith("the-who…/incremental/compared  600 ms  slower ×2")  # noqa: RUF001


def test_of_two_years_the_year_is_shown_on_a_narrow_terminal_too() -> None:
    runs = history_of(past_of(1, started="2025-12-31T23:00:00.000+00:00"), past_of(2))

    assert "2025-12-31 23:00" in history_text(runs, width=80)


def test_a_run_that_hung_is_told_in_plain_numbers() -> None:
    told = history_text(history_of(*COLD[:5], past_of(5, 50.0)))

    assert "slower than usual: 160 times the median" in told


def test_a_hebrew_project_keeps_the_columns_aligned() -> None:
    hebrew, latin = history_text(history_of(past_of(1, project=HEBREW), past_of(2))).splitlines()[1:3]

    assert width(hebrew[: hebrew.index("1.00 s")]) == width(latin[: latin.index("1.00 s")])
    assert f"{HEBREW}\u200e/incremental/cold" in hebrew


def test_control_characters_of_a_record_do_not_reach_the_terminal() -> None:
    evil = "\x1b[31m\u202e"
    text = history_text(history_of(failed_of(1, project=evil, run_id=evil, error=evil, machine=evil)))

    assert not set(text) & {"\x1b", "\u202e"}


def test_a_sparkline_is_not_flattened_by_one_run_that_hung() -> None:
    (trend,) = trends([*COLD[:5], past_of(5, 60.0)])

    assert sparkline(trend) == "▄▅▄▄▅█"


def test_the_record_has_what_the_text_has() -> None:
    record = json.loads(to_json(history_record(history_of(*COLD), limit=2)))

    assert [run["run_id"] for run in record["runs"]] == ["00000004", "00000005"]
    assert record["runs"][1]["judgement"] == "slower than usual"
    assert record["runs"][1]["usual"]["runs"] == 5
    assert record["notes"] == []


# ---- one run --------------------------------------------------------------------------------------------


def test_a_run_is_shown_with_all_that_a_person_may_ask() -> None:
    run = replace(
        finished(), run_id="0badcafe", started="2026-03-01T12:00:05.250+00:00", notes=("keys stay on",)
    )

    text = run_text(run)

    assert text.startswith(
        "academy → postgresql://u:***@localhost/academy\nrun 0badcafe of 2026-03-01 12:00:05 UTC: succeeded in "
    )
    told = [
        "development, incremental, without cache, without rebuild",  # how
        "seed data",
        "commit 0badcafe",
        "postgresql 18.4",  # with what
        "✓  modules  ran",  # stages
        "phase ",
        "merge",  # phases
        "3 statements, 2 round trips",  # counts
        "where the time went\n  60 %  300 ms  locks  merge\n      6 of 9 samples\n",
        "what would help\n  wait: saves 300 ms, as the model says\n    locked\n    $ seedlab seed\n",
        "! keys stay on",
    ]
    assert [each for each in told if each not in text] == []


def test_a_failed_run_shows_its_error_and_its_faults() -> None:
    fault = Fault(rule="missing-parent", message="no such module", file="a.json", line=14, table="questions")
    run = run_of(kind=None, error="1 fault in a.json", faults=(fault,))

    text = run_text(run)

    assert ": failed in 1.00 s\n" in text
    assert "\n✗ 1 fault in a.json\n\na.json:14: missing-parent: no such module\n" in text


@pytest.mark.parametrize("where", ["", "seedlab.toml:3: "])
def test_a_run_that_could_not_begin_tells_why_once_and_does_not_claim_that_nothing_was_to_do(
    where: str,
) -> None:
    fault = Fault(rule="connection", message="cannot connect", file=where.partition(":")[0] or None)
    run = run_of(kind=None, error=f"{where}cannot connect", faults=(fault,), outcomes=Outcomes())

    text = run_text(run)

    assert text.count("cannot connect") == 1
    assert "nothing to do" not in text
