"""What the monitor measures is exact: all times below come from a clock that the test winds."""

from __future__ import annotations

import platform
import threading
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from seedlab.flow import Counters, Load, Seed
from seedlab.flow.evidence import Sample, Wait
from seedlab.insight.measuring.machine import load_average, machine, versions
from seedlab.insight.measuring.memory import peak_rss_bytes
from seedlab.insight.measuring.monitor import SAMPLES_KEPT, Monitor, phase_totals
from seedlab.insight.measuring.state import LaneState, StageState


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


def test_the_state_tells_stages_rows_and_what_each_thread_does(monitor, clock) -> None:
    monitor.plan({"core": "skipped", "modules": "waiting", "later": "waiting"})
    clock.wind(3.0)
    monitor.expect(load("answers"), 40)
    with monitor.span("stage", seed=seed()), monitor.span("merge", load=load("answers")):
        monitor.count(round_trips=1, pid=17)
        clock.wind(2.0)
        monitor.progress(load("answers"), 10)
        state = monitor.state()

    assert state.stages == (
        StageState(id="core", status="skipped"),
        StageState(id="modules", status="running", rows=10, total=40),
        StageState(id="later", status="waiting"),
    )
    assert state.lanes == (LaneState(number=0, doing="merge answers", seconds=2.0, pid=17),)
    assert (state.seconds, state.rows, state.total, state.rows_per_second, state.eta) == (
        5.0,
        10,
        40,
        5.0,
        6.0,
    )
    assert monitor.state().lanes == ()


def test_a_server_process_belongs_to_the_thread_that_spoke_to_it_last(monitor) -> None:
    connect = threading.Thread(target=lambda: monitor.count(round_trips=1, pid=17))
    connect.start()
    connect.join()
    with monitor.span("merge"):
        before = monitor.state().lanes[0].pid
        monitor.count(round_trips=1, pid=17)
        after = monitor.state().lanes[0].pid

    assert (before, after) == (None, 17)


def test_what_was_expected_of_the_whole_run_tells_what_is_left_until_it_is_over(clock) -> None:
    monitor = Monitor(clock=clock)
    monitor.expected = 10.0
    monitor.expect(load("answers"), 40)
    monitor.progress(load("answers"), 20)
    clock.wind(4.0)
    assert monitor.state().eta == 6.0

    clock.wind(8.0)
    assert monitor.state().eta == 12.0  # by the rows: half of them took 12 s


def test_what_a_server_process_waits_for_is_told_while_that_is_fresh(monitor, clock) -> None:
    def lanes() -> list[tuple[str, int | None, str | None]]:
        return [(each.doing, each.pid, each.wait) for each in monitor.state().lanes]

    with monitor.span("merge", load=load("answers")):
        monitor.count(round_trips=1, pid=17)
        monitor.sample(1, 0, (Wait(pid=17, what="Lock/relation"), Wait(pid=18, what="Client/ClientRead")))
        clock.wind(0.1)
        fresh = lanes()
        clock.wind(10)
        stale = lanes()

    assert fresh == [("merge answers", 17, "Lock/relation"), ("", 18, "Client/ClientRead")]
    assert stale == [("merge answers", 17, None)]


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


class CountedClock(WoundClock):
    """Counts how often it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = {"wall": 0, "cpu": 0}

    def wall(self) -> float:
        self.reads["wall"] += 1
        return super().wall()

    def cpu(self) -> float:
        self.reads["cpu"] += 1
        return super().cpu()


def test_a_span_reads_each_clock_at_both_ends_and_what_it_counts_and_tells_reads_none() -> None:
    """Where the time of a span goes is measured by `tests.benchmarks.overhead`."""
    clock = CountedClock()
    monitor, of = Monitor(clock=clock), load("answers")
    monitor.expect(of, 40)
    before = dict(clock.reads)

    with monitor.span("merge", load=of):
        monitor.count(statements=1, round_trips=1, rows=1, pid=17)
        monitor.cache(hits=1)
        monitor.progress(of, 1)

    assert {name: reads - before[name] for name, reads in clock.reads.items()} == {"wall": 2, "cpu": 2}


def test_a_span_is_measured_by_the_clocks_of_the_machine() -> None:
    monitor = Monitor()
    with monitor.span("merge"):
        sum(range(100_000))

    (span,) = monitor.spans
    assert span.seconds > 0
    assert span.cpu_seconds > 0


# ---- a close look at the server -------------------------------------------------------------------------


class Server:
    """A server whose WAL grows when it is told to; to ask it takes a second of the wound clock."""

    def __init__(self, monitor: Monitor, clock: WoundClock) -> None:
        self.wal: int | None = 1000
        self.asked = 0
        self._monitor, self._clock = monitor, clock
        monitor.wal_position = self.position

    def position(self) -> int | None:
        self.asked += 1
        self._clock.wind(1.0, cpu=1.0)
        return self.wal

    def write(self, wal_bytes: int) -> None:
        self._monitor.count(statements=1, round_trips=1)
        self.wal += wal_bytes


@pytest.fixture
def server(monitor, clock) -> Server:
    return Server(monitor, clock)


def wal_of(monitor: Monitor) -> dict[str, int | None]:
    return {span.phase: span.wal_bytes for span in monitor.spans}


def test_a_span_has_the_wal_written_since_it_first_sent_something_less_that_of_inner_spans(monitor, server):
    with monitor.span("commit"):
        server.write(1)
        with monitor.span("merge"):
            server.wal += 10_000  # before anything of this span was sent: the outer one's
            server.write(10)
            with monitor.span("index"):
                server.write(100)
        server.write(1000)

    assert wal_of(monitor) == {"index": 100, "merge": 10, "commit": 11_001}


def test_a_span_that_sends_nothing_writes_no_wal_and_does_not_ask(monitor, server):
    with monitor.span("merge"):
        server.write(10)
        with monitor.span("stage"):  # encodes while the server is still at work
            server.wal += 10

    assert wal_of(monitor) == {"stage": 0, "merge": 20}
    assert server.asked == 2


def test_an_outer_span_that_sends_after_the_inner_one_has_only_its_own(monitor, server):
    with monitor.span("merge"):
        with monitor.span("stage"):
            server.write(100)
        server.write(1)

    assert wal_of(monitor) == {"stage": 100, "merge": 1}


def test_phases_that_only_read_are_not_asked_about(monitor, server):
    with monitor.span("resolve"):
        monitor.count(statements=1, round_trips=1)

    assert wal_of(monitor) == {"resolve": None}
    assert server.asked == 0


def test_what_a_server_no_longer_says_is_not_known(monitor, server):
    with monitor.span("merge"):
        server.write(1)
        server.wal = None

    assert wal_of(monitor) == {"merge": None}


def test_the_wal_of_a_phase_is_the_sum_and_not_known_where_nobody_asked(monitor, server):
    for wal_bytes in (1, 2):
        with monitor.span("merge"):
            server.write(wal_bytes)
    with monitor.span("read"):
        pass

    assert [(total.name, total.wal_bytes) for total in phase_totals(monitor.spans)] == [
        ("read", None),
        ("merge", 3),
    ]


def test_the_time_to_ask_is_nobodys(monitor, server, clock):
    with monitor.span("commit"):
        clock.wind(1.0)
        with monitor.span("merge"):
            server.write(1)
            clock.wind(2.0, cpu=0.5)
        clock.wind(4.0)

    assert {span.phase: (span.seconds, span.cpu_seconds) for span in monitor.spans} == {
        "merge": (2.0, 0.5),
        "commit": (5.0, 0.0),
    }
    assert server.asked == 2
    assert monitor.seconds == 7.0


# ---- samples --------------------------------------------------------------------------------------------


def test_a_sample_has_its_place_in_the_run(monitor, clock) -> None:
    clock.wind(0.5)
    monitor.sample(1000)
    clock.wind(0.5)
    monitor.sample(3000, 7, (Wait(pid=1, what="CPU"),))

    assert monitor.samples == (
        Sample(at=0.5, rss_bytes=1000),
        Sample(at=1.0, rss_bytes=3000, wal_bytes=7, waits=(Wait(pid=1, what="CPU"),)),
    )


def test_of_a_long_run_fewer_samples_are_kept_evenly(monitor, clock) -> None:
    for _ in range(3 * SAMPLES_KEPT):
        monitor.sample(1)
        clock.wind(monitor.sample_seconds)

    times = [sample.at for sample in monitor.samples]
    steps = {round(later - sooner, 6) for sooner, later in pairwise(times)}
    assert SAMPLES_KEPT / 2 <= len(times) <= SAMPLES_KEPT
    assert steps == {round(monitor.sample_seconds, 6)}
    assert times[0] == 0


# ---- the machine ----------------------------------------------------------------------------------------


def test_machine_facts_say_what_times_depend_on() -> None:
    facts = machine()

    assert set(facts) == {"cpu", "cores", "memory_bytes", "os", "python"}
    assert facts["cores"] >= 1
    assert facts["python"] == f"{platform.python_implementation()} {platform.python_version()}"
    assert facts["memory_bytes"] > peak_rss_bytes() > 1_000_000
    assert load_average() >= 0


def test_versions_are_those_of_loaded_packages() -> None:
    import polars as pl

    assert versions()["polars"] == pl.__version__
