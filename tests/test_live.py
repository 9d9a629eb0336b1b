"""The dashboard fits its terminal, whatever the run; what it says is compared word for word."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedlab.insight.formatting.live import Line, dashboard, log_line, wait_text
from seedlab.insight.formatting.text import width
from seedlab.insight.measuring.state import LaneState, RunState, StageState

STATE = RunState(
    seconds=75.2,
    stages=(
        StageState(id="core", status="skipped"),
        StageState(id="institutions", status="done", rows=1_200, total=1_200),
        StageState(id="courses", status="running", rows=45_000, total=90_000),
        StageState(id="modules", status="running", rows=17_000),
        StageState(id="questions", status="waiting", rows=0, total=3_000_000),
        StageState(id="שאלות", status="waiting"),
    ),
    lanes=(
        LaneState(number=0, doing="merge courses", seconds=3.2, pid=4711, wait="Lock/transactionid"),
        LaneState(number=2, doing="read modules", seconds=0.12),
        LaneState(number=9, pid=4712, wait="Client/ClientRead"),
    ),
    rows_per_second=14_800.4,
    rss_bytes=212_000_000,
    eta=214.0,
    notes=("an older note", "foreign keys stay on during the load (must be owner): slower, same result"),
)

AT_80 = """\
1 min 15 s · 46,200 of 3,091,200 rows · 14,800 rows/s · about 3 min 34 s left
- core                                                                   skipped
✓ institutions  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━    1,200 of 1,200
▸ courses       ━━━━━━━━━━━━━━━━━━━━━━━───────────────────────  45,000 of 90,000
▸ modules                                                            17,000 read
· questions     ──────────────────────────────────────────────    0 of 3,000,000
· שאלות\u200e
connection 4711  merge courses  3.2 s  waits for a lock (transactionid)
thread 3         read modules   0.1 s
connection 4712  idle                  waits for seedlab (ClientRead)
! foreign keys stay on during the load (must be owner): slower, same result"""

AT_160 = """\
1 min 15 s · 46,200 of 3,091,200 rows · 14,800 rows/s · about 3 min 34 s left · 212 MB
- core                                                                                                     skipped
✓ institutions  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━    1,200 of 1,200
▸ courses       ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━────────────────────────────────────────  45,000 of 90,000"""


def texts(lines: list[Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def test_at_80_columns() -> None:
    assert [line.rstrip() for line in texts(dashboard(STATE, 80, 24))] == AT_80.splitlines()


def test_at_160_columns_bars_are_longer_and_the_memory_fits() -> None:
    found = [line.rstrip() for line in texts(dashboard(STATE, 160, 50))]

    assert found[:4] == AT_160.splitlines()
    assert len(found) == len(AT_80.splitlines())


def test_skipped_stages_are_dim_and_who_waits_for_a_lock_is_yellow() -> None:
    _, *lines = dashboard(STATE, 80, 24)
    stages, lanes = lines[:6], lines[6:9]

    assert [name for (_, (name, style), *_) in stages if style == "dim"] == [f" {'core':<12}"]
    assert [style for ((_, style),) in lanes] == ["yellow", "dim", "dim"]


def test_of_many_stages_those_at_work_and_the_next_are_shown_and_the_others_counted() -> None:
    status = ["skipped", *["done"] * 20, "running", *["waiting"] * 3, "running", *["waiting"] * 20]
    stages = tuple(StageState(id=f"s{n}", status=each) for n, each in enumerate(status))

    found = texts(dashboard(RunState(seconds=1, stages=stages), 80, 8))

    assert [line.split()[1] for line in found[1:-1]] == ["s21", "s22", "s23", "s24", "s25", "s26"]
    assert found[-1] == "… 1 skipped, 20 done, 19 waiting"


NAMES = st.text(min_size=1, max_size=60)
STAGES = st.builds(
    lambda name, status, total, part: StageState(
        id=name, status=status, total=total, rows=int((total or 50) * part)
    ),
    NAMES,
    st.sampled_from(["waiting", "running", "done", "skipped"]),
    st.none() | st.integers(0, 10**9),
    st.floats(0, 1),
)
LANES = st.builds(
    LaneState,
    number=st.integers(0, 99),
    doing=NAMES | st.just(""),
    seconds=st.floats(0, 1e5),
    pid=st.none() | st.integers(1, 10**7),
    wait=st.none() | st.sampled_from(["CPU", "Lock/relation", "IO/WALSync", "Timeout"]) | NAMES,
)
STATES = st.builds(
    RunState,
    seconds=st.floats(0, 1e6),
    stages=st.lists(STAGES, max_size=30, unique_by=lambda each: each.id).map(tuple),
    lanes=st.lists(LANES, max_size=12).map(tuple),
    rows_per_second=st.none() | st.floats(0, 1e9),
    rss_bytes=st.integers(0, 10**12),
    eta=st.none() | st.floats(0, 1e6),
    notes=st.lists(NAMES, max_size=2).map(tuple),
    end=st.sampled_from([None, "done", "failed", "interrupted"]),
)


@pytest.mark.slow
@given(state=STATES, cells=st.integers(40, 200), height=st.integers(1, 60))
def test_every_run_fits_every_terminal(state: RunState, cells: int, height: int) -> None:
    lines = texts(dashboard(state, cells, height))

    assert 1 <= len(lines) <= height
    assert all(width(line) <= cells and not re.search("[\x00-\x1f\x7f-\x9f]", line) for line in lines), lines


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("CPU", "server at work"),
        ("Lock/relation", "waits for a lock (relation)"),
        ("IO/WALSync", "waits for the disk (WALSync)"),
        ("Client/ClientRead", "waits for seedlab (ClientRead)"),
        ("Timeout/PgSleep", "waits for Timeout (PgSleep)"),
    ],
)
def test_what_a_server_process_waits_for_is_said_in_words(what: str, words: str) -> None:
    assert wait_text(what) == words


def test_a_line_says_what_is_at_work_and_nothing_else() -> None:
    assert log_line(STATE) == (
        "1 min 15 s, 46,200 of 3,091,200 rows, 14,800 rows/s, about 3 min 34 s left, 212 MB, "
        "courses 45,000 of 90,000, modules 17,000 read, "
        "merge courses: waits for a lock (transactionid), read modules"
    )


def test_rows_that_are_all_sent_have_no_rate_any_more_but_a_run_that_is_over_has() -> None:
    sent = replace(STATE, stages=STATE.stages[:2], eta=None)

    assert "rows/s" not in log_line(sent)
    assert log_line(sent.ended("done")) == "done after 1 min 15 s, 1,200 of 1,200 rows, 16 rows/s, 212 MB"
