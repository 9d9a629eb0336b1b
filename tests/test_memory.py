"""The peak of memory of each piece of work: by a mark that the test sets, and by the system's own."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedlab.insight.measuring.memory import Peaks, Work, peak_rss_bytes, rss_bytes
from seedlab.insight.measuring.monitor import Monitor

MB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes the mark back")


class System:
    """What a process holds, and the mark that follows it upward."""

    def __init__(self) -> None:
        self.held = self.mark = 0
        self.peaks = Peaks(lambda: self.mark, self.take_back)

    def hold(self, size: int) -> None:
        self.held = size
        self.mark = max(self.mark, size)

    def take_back(self) -> None:
        self.mark = self.held


def test_pieces_one_after_another_do_not_see_each_other() -> None:
    system, first, second = System(), Work(), Work()

    system.peaks.begin(first)
    system.hold(100)
    system.hold(10)
    system.peaks.end(first)
    system.peaks.begin(second)
    system.hold(20)
    system.peaks.end(second)

    assert (first.peak_rss_bytes, second.peak_rss_bytes) == (100, 20)


Steps = st.lists(st.one_of(st.integers(0, 4), st.integers(10, 1000)), max_size=40)


@given(steps=Steps)
def test_every_piece_has_the_most_that_was_held_while_it_was_open(steps: list[int]) -> None:
    """Small numbers open or close one of five pieces, which so nest and overlap in every way; others are sizes."""
    system, run = System(), Work()
    system.peaks.follow(run)
    open_now: dict[int, tuple[Work, list[int]]] = {}
    closed: list[tuple[Work, list[int]]] = []
    for step in steps:
        if step >= 10:
            system.hold(step)
            for _, seen in open_now.values():
                seen.append(step)
        elif step in open_now:
            system.peaks.end(open_now[step][0])
            closed.append(open_now.pop(step))
        else:
            open_now[step] = (Work(), [system.held])
            system.peaks.begin(open_now[step][0])

    assert [work.peak_rss_bytes for work, _ in closed] == [max(seen) for _, seen in closed]
    assert system.peaks.peak(run) == max((step for step in steps if step >= 10), default=0)


def test_a_run_that_nobody_has_any_more_is_followed_no_longer() -> None:
    system, run = System(), Work()
    system.peaks.follow(run)

    del run
    gc.collect()

    assert not system.peaks._runs


def test_what_is_held_now_is_no_more_than_the_most() -> None:
    held = rss_bytes()

    assert held > 1_000_000
    if sys.platform == "linux":
        block = bytearray(64 * MB)
        assert rss_bytes() - held > 60 * MB
        assert peak_rss_bytes() >= held + 60 * MB
        del block


@linux
def test_spans_have_their_own_peaks_in_all_threads() -> None:
    monitor = Monitor()
    opened, held = threading.Event(), threading.Event()

    def beside() -> None:
        with monitor.span("stage"):
            opened.set()
            held.wait(10)

    thread = threading.Thread(target=beside)
    with monitor.span("commit"):
        thread.start()
        opened.wait(10)
        with monitor.span("merge"):
            bytearray(100 * MB)
        held.set()
        thread.join()
        with monitor.span("index"):
            pass
    with monitor.span("read"):
        pass

    peaks = {span.phase: span.peak_rss_bytes for span in monitor.spans}
    low = max(peaks["index"], peaks["read"])
    assert peaks["merge"] - low > 90 * MB
    assert peaks["commit"] >= peaks["merge"]
    assert peaks["stage"] >= peaks["merge"]
    assert monitor.peak >= peaks["merge"]


@linux
def test_a_run_has_no_part_in_what_was_held_before_it() -> None:
    before = Monitor()
    bytearray(100 * MB)
    monitor = Monitor()

    assert before.peak - monitor.peak > 90 * MB


@linux
def test_a_program_is_not_told_the_peak_of_the_one_that_started_it() -> None:
    ballast = bytearray(400 * MB)
    ballast[::4096] = b"x" * len(ballast[::4096])
    code = (
        "import resource; from seedlab.insight.measuring.memory import peak_rss_bytes;"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, peak_rss_bytes())"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    inherited, own = map(int, done.stdout.split())
    assert inherited > 400 * MB  # as Linux has it
    assert 5 * MB < own < 200 * MB
