"""Faces of a comparison: to the letter where the layout matters."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from seedlab.flow import Counters
from seedlab.flow.evidence import Comparison
from seedlab.insight.formatting.comparison_text import (
    MARKER,
    comparison_markdown,
    comparison_record,
    comparison_text,
    interval,
    relative,
)
from seedlab.insight.formatting.text import width
from seedlab.insight.judging.compare import compare
from seedlab.insight.records.files import to_json
from tests.support.comparing import runs

STEADY = (0.250, 0.252, 0.251, 0.249, 0.250, 0.253, 0.248)
CHATTY = Counters(statements=83, round_trips=40, bytes_sent=700_000)


@pytest.fixture
def comparison() -> Comparison:
    """`stage` takes a third longer, `read` is as before, `commit` too short to matter; two counts differ."""
    before = {"read": 0.05, "stage": 0.15, "commit": 0.01}
    after = {"read": 0.05, "stage": 0.20, "commit": 0.01}
    slower = [each + 0.05 for each in STEADY]
    return compare(
        runs(STEADY, phases=before), runs(slower, phases=after, counters=CHATTY), names=("main", "HEAD")
    )


def same() -> Comparison:
    return compare(runs(STEADY), runs(STEADY), names=("main", "HEAD"))


# ---- a terminal -----------------------------------------------------------------------------------------


def test_the_text_says_the_verdict_first_then_phases_counts_and_notes(comparison: Comparison) -> None:
    text = comparison_text(replace(comparison, notes=("versions of polars differ: 2.1 and 2.2",)), 100)

    assert text == (
        "slower: main 250 ms → HEAD 300 ms, +20.0 % [+19.8 %, +20.1 %], 7 pairs; 1 count more, 1 count fewer\n"
        "\n"
        "   phase   before   after   change  95 % interval       share\n"
        "✗  total   250 ms  300 ms  +20.0 %  [+19.8 %, +20.1 %]\n"
        "=  read     50 ms   50 ms   +0.0 %  [+0.0 %, +0.0 %]     24 %\n"
        "✗  stage   150 ms  200 ms  +33.3 %  [+33.3 %, +33.3 %]   71 %\n"
        "=  commit   10 ms   10 ms   +0.0 %  [+0.0 %, +0.0 %]      5 %\n"
        "\n"
        "   count         before    after   change\n"
        "✗  round trips       20       40      +20\n"
        "✓  bytes sent   712,345  700,000  -12,345\n"
        "8 other counts are the same\n"
        "\n"
        "! versions of polars differ: 2.1 and 2.2\n"
    )


def test_one_pair_has_no_interval() -> None:
    text = comparison_text(compare(runs(STEADY[:1]), runs([0.3]), names=("1a2b3c4d", "5e6f7a8b")), 100)

    assert text.startswith("unclear: 1a2b3c4d 250 ms → 5e6f7a8b 300 ms, +20.0 %, 1 pair; counts the same\n")
    assert "≈  total   250 ms  300 ms  +20.0 %\n" in text
    assert "! one pair of runs cannot tell a difference of time from noise" in text


def test_large_ratios_are_told_in_times_and_one_sided_phases_in_words() -> None:
    slow, fast = {"merge": 7.8}, {"merge": 0.1, "index": 0.1}
    found = compare(runs([7.8] * 7, phases=slow), runs([0.2] * 7, phases=fast), names=("legacy", "copy"))

    text = comparison_text(found)

    assert "faster: legacy 7.80 s → copy 200 ms, ÷39.0 [÷39.0, ÷39.0], 7 pairs; " in text
    assert "✓  merge  7.80 s  100 ms   ÷78.0  [÷78.0, ÷78.0]  100 %\n" in text
    assert "✗  index       ·  100 ms     new\n" in text
    back = comparison_text(
        compare(runs([0.2] * 7, phases=fast), runs([60.0] * 7, phases=slow), names=("a", "b"))
    )
    assert "×300 [×300, ×300]" in back  # noqa: RUF001
    assert "gone" in back


@pytest.mark.parametrize(
    ("low", "ratio", "high", "expected"),
    [
        (0.787, 0.899, 0.9998, "-10.1 % [-21.3 %, -0.02 %]"),
        (0.435, 0.476, 0.577, "÷2.1 [÷2.3, ÷1.73]"),
        (0.756, 0.965, 2.2, "÷1.04 [÷1.32, ×2.2]"),  # noqa: RUF001
        (0.999999, 1.0, 1.000001, "+0.0 % [+0.0 %, +0.0 %]"),
    ],
)
def test_a_ratio_and_its_interval_are_told_in_one_way_and_keep_their_sign(
    comparison: Comparison, low: float, ratio: float, high: float, expected: str
) -> None:
    change = replace(comparison.total, before=1.0, after=ratio, low=low, ratio=ratio, high=high)

    assert f"{relative(change)} {interval(change)}" == expected


def test_names_and_notes_cannot_steer_a_terminal_and_hebrew_is_closed(comparison: Comparison) -> None:
    text = comparison_text(replace(comparison, before="זרעים", after="a\x1b[2J", notes=("x\ny",)))

    assert text.startswith("slower: זרעים\u200e 250 ms → a␛[2J 300 ms, ")
    assert "! x␊y\n" in text


@pytest.mark.parametrize("cells", [80, 160])
def test_tables_fit_the_terminal(comparison: Comparison, cells: int) -> None:
    tables = comparison_text(comparison, cells).split("\n\n", 1)[1]

    assert max(map(width, tables.splitlines())) <= cells


# ---- a pull request -------------------------------------------------------------------------------------


def test_markdown_shows_what_changed_and_folds_the_rest(comparison: Comparison) -> None:
    text = comparison_markdown(comparison)

    shown, _, folded = text.partition("<details>")
    assert shown == (
        "<!-- seedlab compare -->\n"
        "**❌ slower**: `main` 250 ms → `HEAD` 300 ms, +20.0 % [+19.8 %, +20.1 %], 7 pairs; 1 count more, 1 count fewer\n"
        "\n"
        "|  | what | before | after | change | 95 % interval |\n"
        "| --- | --- | --: | --: | --: | --- |\n"
        "| ❌ | total | 250 ms | 300 ms | +20.0 % | [+19.8 %, +20.1 %] |\n"
        "| ❌ | stage | 150 ms | 200 ms | +33.3 % | [+33.3 %, +33.3 %] |\n"
        "| ❌ | round trips | 20 | 40 | +20 | exact |\n"
        "| ✅ | bytes sent | 712,345 | 700,000 | -12,345 | exact |\n"
        "\n"
    )
    assert "| = | read | 50 ms | 50 ms | +0.0 % | [+0.0 %, +0.0 %] | 24 % |\n" in folded
    assert "| = | statements | 83 | 83 | 0 |\n" in folded
    assert "below 5 % do not count" in folded
    assert folded.endswith("\n\n</details>\n")


def test_markdown_of_the_same_says_so_without_a_table() -> None:
    shown = comparison_markdown(same()).partition("<details>")[0]

    assert shown == (
        f"{MARKER}\n"
        "**= same**: `main` 250 ms → `HEAD` 250 ms, +0.0 % [+0.0 %, +0.0 %], 7 pairs; counts the same\n"
        "\n"
        "No phase and no count is known to have changed.\n"
        "\n"
    )


def test_markdown_escapes_what_others_named(comparison: Comparison) -> None:
    text = comparison_markdown(
        replace(comparison, before="a`b|c", after="<img src=x>", notes=("see [x](http://y) <b>`", "a|b"))
    )

    assert "`a'b|c` 250 ms → `<img src=x>` 300 ms" in text
    assert "- see \\[x\\](http://y) &lt;b&gt;\\`\n- a\\|b\n" in text


def test_markdown_fits_a_comment_whatever_is_named_and_noted(comparison: Comparison) -> None:
    long = "ש" * 100_000

    text = comparison_markdown(replace(comparison, before=long, after=long, notes=(long,) * 1000))

    assert len(text.encode()) < 60_000
    assert "- … and 980 more" in text


# ---- JSON -----------------------------------------------------------------------------------------------


def test_the_record_has_verdict_ratio_interval_phases_and_counts(comparison: Comparison) -> None:
    record = json.loads(to_json(comparison_record(comparison)))

    assert record["verdict"] == "slower"
    assert record["ratio"] == comparison.total.ratio
    assert record["interval"] == [comparison.total.low, comparison.total.high]
    assert record["seconds"] == [0.25, pytest.approx(0.3)]
    assert [each["name"] for each in record["phases"]] == ["read", "stage", "commit"]
    assert record["phases"][1]["verdict"] == "slower"
    assert record["counts"][1] == {
        "name": "round trips", "before": 20, "after": 40, "tolerance": 0.0, "verdict": "more",
    }  # fmt: skip
    assert len(record["pairs"]) == 7


def test_an_interval_that_is_not_known_is_null_in_the_record() -> None:
    record = json.loads(to_json(comparison_record(compare(runs([1.0]), runs([2.0]), names=("a", "b")))))

    assert record["interval"] is None
    assert record["phases"][0]["interval"] is None
    assert record["verdict"] == "unclear"
