"""What the monitor measures is exact: all times below come from a clock that the test winds."""

from __future__ import annotations

import threading
import timeit
from datetime import UTC, datetime

import pytest

from seedlab.flow import Counters, Load, Seed
from seedlab.insight.monitor import (
    Monitor,
    State,
    machine,
    peak_rss_bytes,
    phase_totals,
    versions,
)


class WoundClock:
    """Stands still until it is wound."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.cpu_seconds = 5.0

    def wind(self, seconds: float, cpu: float = 0.0) -> None:
        self.seconds += seconds
        self.cpu_seconds += cpu

    def now(self) -> datetime:
        return datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def wall(self) -> float:
        return self.seconds

    def cpu(self) -> float:
        return self.cpu_seconds


@pytest.fixture
def clock() -> WoundClock:
    return WoundClock()


@pytest.fixture
def monitor(clock: WoundClock) -> Monitor:
    return Monitor(clock=clock)


def load(table: str) -> Load:
    return Load(stage="modules", seed="physics", table=table, key=(), values=(), references=())


def seed() -> Seed:
    return Seed(name="physics", stage="modules", files=(), tables=())


def test_a_span_has_its_wall_and_cpu_time_and_its_place_in_the_run(monitor, clock) -> None:
    clock.wind(2.0)
    with monitor.span("merge", load=load("questions"), rows=40):
        clock.wind(0.5, cpu=0.25)

    (span,) = monitor.spans
    assert (span.phase, span.seconds, span.cpu_seconds, span.start) == ("merge", 0.5, 0.25, 2.0)
    assert (span.stage, span.seed, span.table, span.rows) == ("modules", "physics", "questions", 40)
    assert span.peak_rss_bytes > 1_000_000


def test_the_time_of_an_inner_span_is_taken_from_the_outer_one(monitor, clock) -> None:
    with monitor.span("stage", seed=seed()):
        clock.wind(1.0, cpu=0.5)
        with monitor.span("merge", load=load("answers")):
            clock.wind(4.0, cpu=2.0)
            with monitor.span("index"):
                clock.wind(8.0, cpu=4.0)
        clock.wind(16.0, cpu=8.0)

    taken = {span.phase: (span.seconds, span.cpu_seconds) for span in monitor.spans}
    assert taken == {"stage": (17.0, 8.5), "merge": (4.0, 2.0), "index": (8.0, 4.0)}


def test_a_span_without_a_load_belongs_to_the_one_around_it(monitor) -> None:
    with monitor.span("merge", load=load("answers")), monitor.span("index"):
        pass

    assert [(span.phase, span.seed, span.table) for span in monitor.spans] == [
        ("index", "physics", "answers"),
        ("merge", "physics", "answers"),
    ]


def test_counts_go_to_the_run_and_to_the_innermost_span_only(monitor) -> None:
    monitor.count(statements=1, round_trips=1)
    with monitor.span("stage"):
        monitor.count(statements=2)
        with monitor.span("merge"):
            monitor.count(statements=4, round_trips=2, bytes_sent=100, rows=7)
    monitor.cache(hits=3, misses=1, queries=1)
    monitor.cache(hits=2)

    merge, stage = monitor.spans
    assert (merge.statements, merge.round_trips, merge.bytes_sent, merge.rows) == (4, 2, 100, 7)
    assert (stage.statements, stage.round_trips, stage.rows) == (2, 0, 0)
    assert monitor.counters == Counters(
        statements=7, round_trips=3, bytes_sent=100, cache_hits=5, cache_misses=1, cache_queries=1
    )


def test_threads_nest_for_themselves_and_their_counts_add_up(monitor, clock) -> None:
    def work() -> None:
        with monitor.span("stage"):
            for _ in range(1000):
                monitor.count(statements=1)

    with monitor.span("read"):
        clock.wind(1.0)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert monitor.counters.statements == 4000
    spans = {span.lane: span for span in monitor.spans}
    assert sorted(spans) == [0, 1, 2, 3, 4]
    assert [spans[lane].statements for lane in range(5)] == [0, 1000, 1000, 1000, 1000]
    assert spans[0].seconds == 1.0


def test_the_state_names_the_innermost_open_span_and_the_rows_done(monitor, clock) -> None:
    clock.wind(3.0)
    with monitor.span("stage", seed=seed()), monitor.span("merge", load=load("answers")):
        monitor.progress(10, 40, "answers")
        monitor.progress(20, 40, "answers")
        state = monitor.state()

    assert state == State(seconds=3.0, doing=("merge answers",), progress={"answers": (20, 40)}, notes=())
    assert monitor.state().doing == ()


def test_a_listener_hears_of_progress_and_notes(clock) -> None:
    heard: list[State] = []
    monitor = Monitor(clock=clock, listener=heard.append)

    monitor.progress(1, 2, "answers")
    monitor.note("foreign keys stay on")

    assert [state.progress for state in heard] == [{"answers": (1, 2)}] * 2
    assert heard[-1].notes == ("foreign keys stay on",)


def test_the_same_note_is_kept_once(monitor) -> None:
    for message in ("b", "a", "b"):
        monitor.note(message)

    assert monitor.notes == ("b", "a")


def test_an_error_is_charged_to_the_innermost_span_it_left(monitor) -> None:
    def fail() -> None:
        with monitor.span("stage", seed=seed()):
            with monitor.span("read"):
                pass
            with monitor.span("merge", load=load("answers")):
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert (monitor.broken.doing, monitor.broken.stage) == ("merge answers", "modules")
    assert [span.phase for span in monitor.spans] == ["read", "merge", "stage"]


def test_phases_add_up_in_the_order_of_a_run(monitor, clock) -> None:
    for phase, seconds in (("commit", 1.0), ("read", 2.0), ("read", 3.0)):
        with monitor.span(phase, rows=10):
            clock.wind(seconds, cpu=seconds / 2)
            monitor.count(statements=1)

    totals = [(t.name, t.seconds, t.cpu_seconds, t.rows, t.statements) for t in phase_totals(monitor.spans)]
    assert totals == [("read", 5.0, 2.5, 20, 2), ("commit", 1.0, 0.5, 10, 1)]


def test_a_span_of_the_real_clock_is_cheap() -> None:
    monitor, of = Monitor(), load("answers")

    def measure() -> None:
        with monitor.span("merge", load=of):
            pass

    # About 5 µs; the bound only catches a span that became an order of magnitude dearer.
    assert min(timeit.repeat(measure, number=1000, repeat=5)) / 1000 < 50e-6
    assert all(span.seconds >= 0 and span.cpu_seconds >= 0 for span in monitor.spans)


def test_machine_facts_say_what_times_depend_on() -> None:
    facts = machine()

    assert set(facts) == {"cpu", "cores", "memory_bytes", "os", "python"}
    assert facts["cores"] >= 1
    assert facts["memory_bytes"] > peak_rss_bytes() > 1_000_000


def test_versions_are_those_of_loaded_packages_and_of_the_server() -> None:
    import polars as pl

    found = versions("18.4")

    assert found["polars"] == pl.__version__
    assert found["server"] == "18.4"
    assert "server" not in versions()
