"""Where the time of a run went: made-up records of which that is known, and laws that hold for any."""

from __future__ import annotations

import timeit
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedlab.flow import Run, Span
from seedlab.flow.evidence import Recommendation, Sample, Wait
from seedlab.insight.judging.findings import bottlenecks, findings_text, headline
from seedlab.insight.judging.resource_seconds import resource_of, spent
from tests.support.findings import SQLITE, looks, run_of, span

IDLE, CPU, LOCK, SYNC = "Client/ClientRead", "CPU", "Lock/transactionid", "IO/WalSync"


def seconds_of(run: Run) -> dict[str, float]:
    return {each.resource: pytest.approx(each.seconds) for each in bottlenecks(run)}


# ---- one span -------------------------------------------------------------------------------------------


def test_work_that_asks_the_server_nothing_is_the_clients() -> None:
    run = run_of([span("read", 0.0, 8.0, cpu=7.5, stage="a", seed="items")], 10.0)

    (found,) = bottlenecks(run)

    assert (found.resource, found.seconds, found.share) == ("client CPU", 8.0, 0.8)
    assert found.where == "read items"
    assert "read 8.00 s" in found.evidence


def test_without_samples_the_server_has_what_cpu_and_round_trips_leave() -> None:
    run = run_of([span("merge", 0.0, 10.0, cpu=2.0, trips=1000)], 10.0, round_trip_seconds=0.003)

    assert seconds_of(run) == {"server CPU": 5.0, "round trips": 3.0, "client CPU": 2.0}
    assert "not sampled" in bottlenecks(run)[0].evidence


def test_round_trips_that_nobody_timed_are_the_servers() -> None:
    assert seconds_of(run_of([span("merge", 0.0, 10.0, cpu=2.0, trips=1000)], 10.0)) == {
        "server CPU": 8.0,
        "client CPU": 2.0,
    }


@pytest.mark.parametrize(
    ("what", "resource"),
    [
        (CPU, "server CPU"),
        ("LWLock/BufferContent", "server CPU"),
        ("Timeout/PgSleep", "server CPU"),
        (LOCK, "locks"),
        (SYNC, "disk"),
        ("IO/DataFileRead", "disk"),
        ("LWLock/WALWrite", "disk"),
    ],
)
def test_what_the_server_was_seen_at_says_which_resource_it_used(what: str, resource: str) -> None:
    samples = [*looks(0.0, 3.0, IDLE), *looks(3.0, 10.0, what)]
    run = run_of([span("merge", 0.0, 10.0, cpu=3.0, trips=5, table="answers")], 10.0, samples)

    assert resource_of(what) == resource
    assert seconds_of(run) == {resource: 7.0, "client CPU": 3.0}
    assert bottlenecks(run)[0].where == "merge answers"
    assert f"{what} in 140 of 200 samples" in bottlenecks(run)[0].evidence


def test_cpu_of_ours_beside_the_servers_work_cost_no_time() -> None:
    samples = looks(0.0, 10.0, CPU)
    run = run_of([span("merge", 0.0, 10.0, cpu=6.0, trips=5)], 10.0, samples, round_trip_seconds=0.1)

    assert seconds_of(run) == {"server CPU": 10.0}


def test_an_idle_server_that_neither_cpu_nor_round_trips_explain_waited_for_us() -> None:
    samples = looks(0.0, 10.0, IDLE)
    run = run_of([span("merge", 0.0, 10.0, cpu=2.0, trips=100)], 10.0, samples, round_trip_seconds=0.01)

    assert seconds_of(run) == {"client waiting": 7.0, "client CPU": 2.0, "round trips": 1.0}


@pytest.mark.parametrize(("load", "told"), [(7.25, True), (1.5, False), (None, False)])
def test_a_crowded_machine_is_told_where_it_may_be_why(load: float | None, told: bool) -> None:
    machine = {"cores": 2, "load_average": load}
    run = run_of([span("merge", 0.0, 10.0, trips=9)], 10.0, looks(0.0, 10.0, IDLE), machine=machine)

    assert ("the load was 7.2 on 2 cores" in bottlenecks(run)[0].evidence) is told


def test_sqlite_computes_in_this_thread_and_writes_the_rest_of_the_time() -> None:
    run = run_of([span("merge", 0.0, 10.0, cpu=4.0, trips=9)], 10.0, target=SQLITE)

    assert seconds_of(run) == {"disk": 6.0, "client CPU": 4.0}


# ---- many spans -----------------------------------------------------------------------------------------


def test_samples_go_to_the_innermost_span_that_asks_and_not_to_one_inside_that_computes() -> None:
    inner = span("stage", 2.0, 4.0, cpu=4.0, table="answers")  # encoded while the server is at work
    outer = span("merge", 0.0, 6.0, trips=2)  # 0 to 2 and 6 to 10
    samples = [*looks(0.0, 2.0, LOCK), *looks(2.0, 6.0, SYNC), *looks(6.0, 10.0, CPU)]

    assert seconds_of(run_of([inner, outer], 10.0, samples)) == {
        "client CPU": 4.0,
        "server CPU": 4.0,
        "locks": 2.0,
    }


def test_threads_at_work_at_the_same_time_share_it() -> None:
    spans = [span("read", 0.0, 4.0, cpu=4.0, lane=lane, seed=f"s{lane}") for lane in range(4)]

    (found,) = bottlenecks(run_of(spans, 5.0))

    assert (found.seconds, found.share) == (pytest.approx(4.0), pytest.approx(0.8))
    assert found.where == "read s0 (25 % of it) and 3 others"


def test_two_connections_share_what_both_are_at() -> None:
    spans = [span("merge", 0.0, 10.0, trips=1, lane=lane, table=f"t{lane}") for lane in range(2)]

    found = seconds_of(run_of(spans, 10.0, looks(0.0, 10.0, LOCK, IDLE)))

    assert found == {"locks": 5.0, "client waiting": 5.0}


def test_a_wait_between_the_phases_counts_as_long_as_it_was_seen() -> None:
    spans = [span("read", 0.0, 1.0, cpu=1.0)]
    run = run_of(
        spans, 9.0, [*looks(1.0, 7.0, "Lock/relation"), *looks(7.0, 9.0, IDLE)],
        round_trips=10, round_trip_seconds=0.05,
    )  # fmt: skip

    assert seconds_of(run) == {"locks": 6.0, "client CPU": 1.0, "round trips": 0.5}
    assert bottlenecks(run)[0].where == "outside the phases"


def test_what_is_not_worth_a_hundredth_is_no_bottleneck() -> None:
    spans = [span("read", 0.0, 9.95, cpu=9.95), span("merge", 9.95, 0.05, trips=1)]

    assert set(seconds_of(run_of(spans, 10.0))) == {"client CPU"}


def test_a_run_without_spans_has_no_bottlenecks() -> None:
    assert bottlenecks(run_of([], 3.0)) == ()


# ---- laws -----------------------------------------------------------------------------------------------

WHATS = st.sampled_from([IDLE, CPU, LOCK, SYNC, "LWLock/WALWrite", "Activity/x"])
TIMES = st.floats(0.0, 4.0)


@st.composite
def nested_spans(draw: st.DrawFn) -> list[Span]:
    """Spans as threads report them: in each lane they nest, inner ones end first."""
    found: list[Span] = []
    for lane in range(draw(st.integers(1, 3))):
        at = draw(TIMES)
        for _ in range(draw(st.integers(0, 3))):
            inner = draw(st.lists(st.tuples(TIMES, TIMES), max_size=2))
            start = at
            for gap, length in inner:
                at += gap
                found.append(span("stage", at, length, cpu=length, lane=lane))
                at += length
            own = sum(gap for gap, _ in inner) + draw(TIMES)
            trips = draw(st.integers(0, 500))
            cpu = own * draw(st.floats(0.0, 1.1))
            found.append(span("merge", start, own, cpu=cpu, lane=lane, trips=trips))
            at = start + own + sum(length for _, length in inner) + draw(TIMES)
    return found


@st.composite
def runs(draw: st.DrawFn) -> Run:
    spans = draw(nested_spans())
    ends = [each.start + each.seconds for each in spans]
    last = max(ends, default=0.0) + 10.0 + draw(TIMES)
    at = sorted(draw(st.lists(st.floats(0.0, last), max_size=30)))
    waits = st.lists(WHATS, max_size=3)
    samples = [
        Sample(at=moment, rss_bytes=1, waits=tuple(Wait(pid=n, what=w) for n, w in enumerate(draw(waits))))
        for moment in at
    ]
    trip = draw(st.none() | st.floats(0.0, 0.1))
    target = draw(st.sampled_from([SQLITE, "postgresql://db/app"]))
    trips = draw(st.integers(0, 100))
    whole = max(last, sum(each.seconds for each in spans))
    return run_of(spans, whole, samples, round_trip_seconds=trip, target=target, round_trips=trips)


@given(runs())
def test_no_second_is_spent_twice(run: Run) -> None:
    assert all(each.seconds >= 0 for each in spent(run))
    assert sum(each.seconds for each in spent(run)) <= run.seconds * (1 + 1e-9)


@given(runs())
def test_bottlenecks_are_ordered_one_for_each_resource_and_add_up_to_the_run_at_most(run: Run) -> None:
    found = bottlenecks(run)

    assert [each.seconds for each in found] == sorted((each.seconds for each in found), reverse=True)
    assert len({each.resource for each in found}) == len(found)
    assert sum(each.share for each in found) <= 1 + 1e-9
    assert all(each.where and each.evidence for each in found)


@given(
    runs(), st.integers(-6, 6).map(lambda power: 2.0**power)
)  # exact: no sample leaves its span by rounding
def test_a_run_k_times_as_slow_has_the_same_shares(run: Run, k: float) -> None:
    slower = replace(
        run,
        seconds=run.seconds * k,
        spans=tuple(replace(s, start=s.start * k, seconds=s.seconds * k, cpu_seconds=s.cpu_seconds * k) for s in run.spans),
        samples=tuple(replace(s, at=s.at * k) for s in run.samples),
        round_trip_seconds=None if run.round_trip_seconds is None else run.round_trip_seconds * k,
    )  # fmt: skip
    shares = {each.resource: each.share for each in bottlenecks(run) if each.share > 0.02}

    found = {each.resource: each.share for each in bottlenecks(slower)}
    assert {name: found.get(name) for name in shares} == pytest.approx(shares, rel=1e-6)


def test_to_find_them_takes_a_few_milliseconds() -> None:
    spans = [span("merge", n * 0.5, 0.5, cpu=0.2, trips=9, table=f"t{n % 9}") for n in range(100)]
    run = run_of(spans, 60.0, looks(0.0, 60.0, CPU, IDLE), round_trip_seconds=0.001)

    # About 3 ms with 100 spans and a minute's samples; the bound leaves room for a busy machine.
    assert min(timeit.repeat(lambda: bottlenecks(run), number=1, repeat=5)) < 0.02


# ---- text -----------------------------------------------------------------------------------------------


def slow_run() -> Run:
    samples = [*looks(0.0, 9.0, LOCK), *looks(9.0, 10.0, IDLE)]
    run = run_of([span("merge", 0.0, 9.0, trips=5, table="answers")], 10.0, samples)
    cure = Recommendation(
        what="end that session", why="it holds a lock", saves=9.0, basis="model", command="psql -c x"
    )
    return replace(run, bottlenecks=bottlenecks(run), recommendations=(cure,))


def test_the_text_says_where_why_and_what_would_help() -> None:
    assert findings_text(slow_run(), 100) == (
        "where the time went\n"
        "  90 %  9.00 s  locks           merge answers\n"
        "      Lock/transactionid in 180 of 200 samples of the server\n"
        "  10 %  1.00 s  not attributed  importing, connecting, and what was not measured\n"
        "\n"
        "what would help\n"
        "  end that session: saves 9.00 s, as the model says\n"
        "    it holds a lock\n"
        "    $ psql -c x\n"
    )


def test_evidence_is_broken_between_words_and_commands_are_left_whole() -> None:
    told = findings_text(slow_run(), 40).splitlines()

    at = told.index("      Lock/transactionid in 180 of 200")
    assert told[at + 1] == "      samples of the server"
    assert told[-3:] == ["  model says", "    it holds a lock", "    $ psql -c x"]


def test_the_summary_has_two_lines_of_it_at_most() -> None:
    assert headline(slow_run()) == [
        "Where the time went: 90 % locks, merge answers; Lock/transactionid in 180 of 200 samples of the server",
        "What would help: end that session: saves 9.00 s, as the model says; psql -c x",
    ]


def test_a_command_that_is_too_long_for_the_summary_is_told_by_show() -> None:
    run = slow_run()
    long = replace(run, recommendations=(replace(run.recommendations[0], command="psql " + "x" * 90),))

    assert all(len(line) <= 100 for line in headline(long, 100))
    assert headline(long, 100)[1].endswith("model says; seedlab show 0badcafe tells how")
    assert headline(long, 80)[1] == "What would help: end that session; seedlab show 0badcafe tells how"
    assert headline(long, 50)[1] == "seedlab show 0badcafe says what would help"


def test_the_summary_says_nothing_of_a_short_run_or_one_without_a_chief_resource() -> None:
    run = slow_run()
    (locks,) = run.bottlenecks

    assert headline(replace(run, seconds=0.9)) == []
    assert headline(replace(run, bottlenecks=(replace(locks, share=0.39),))) == []
    assert headline(replace(run, bottlenecks=())) == []
    assert findings_text(replace(run, bottlenecks=(), recommendations=()), 80) == ""
