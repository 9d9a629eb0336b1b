"""Comparing runs: phases and counts of two sides, which stored runs may be compared, what fails a build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from seedlab.errors import ConfigurationError
from seedlab.flow import Counters, Outcomes, Run
from seedlab.flow.evidence import Change, Comparison, CountChange
from seedlab.insight.judging.compare import compare, fails, may_compare
from tests.support.comparing import a_run, runs

NAMES = ("main", "HEAD")
STEADY = (0.250, 0.252, 0.251, 0.249, 0.250, 0.253, 0.248)


def slowed(seconds: Sequence[float], factor: float) -> list[float]:
    return [each * factor for each in seconds]


def count_of(comparison: Comparison, name: str) -> CountChange:
    return next(each for each in comparison.counts if each.name == name)


def phase_of(comparison: Comparison, name: str) -> Change:
    return next(each for each in comparison.phases if each.name == name)


# ---- times ----------------------------------------------------------------------------------------------


def test_a_slower_side_is_slower_in_total_and_in_each_phase() -> None:
    found = compare(runs(STEADY), runs(slowed(STEADY, 1.2)), names=NAMES)

    assert (found.before, found.after, found.threshold) == ("main", "HEAD", 0.05)
    assert [each.name for each in found.phases] == ["read", "stage", "commit"]
    assert {each.verdict for each in (found.total, *found.phases)} == {"slower"}
    assert found.total.ratio == pytest.approx(1.2)
    assert (found.total.before, found.total.after) == (0.25, pytest.approx(0.3))
    assert found.pairs == tuple(zip(STEADY, slowed(STEADY, 1.2), strict=True))
    assert found.notes == ()


def test_shares_are_of_what_was_measured_before() -> None:
    found = compare(runs(STEADY), runs(slowed(STEADY, 3)), names=NAMES)

    assert [each.share for each in found.phases] == pytest.approx([0.2, 0.75, 0.05])
    assert found.total.share == 1


def test_runs_are_paired_in_their_order_so_that_drift_does_not_matter() -> None:
    drifting = [0.2 * 1.5**n for n in range(7)]

    found = compare(runs(drifting), runs(slowed(drifting, 1.1)), names=NAMES)

    assert found.total.verdict == "slower"
    assert (found.total.low, found.total.high) == pytest.approx((1.1, 1.1))


def test_a_phase_that_only_one_side_has_is_compared_with_nothing() -> None:
    copied = {"stage": 0.2}
    rebuilt = {"stage": 0.2, "index": 0.05}

    gained = compare(runs(STEADY, phases=copied), runs(STEADY, phases=rebuilt), names=NAMES)
    lost = compare(runs(STEADY, phases=rebuilt), runs(STEADY, phases=copied), names=NAMES)

    assert (phase_of(gained, "index").before, phase_of(gained, "index").verdict) == (0, "slower")
    assert (phase_of(lost, "index").after, phase_of(lost, "index").verdict) == (0, "faster")
    assert phase_of(gained, "index").share == 0


def test_runs_that_skipped_everything_have_no_phases() -> None:
    found = compare(runs(STEADY, spans=()), runs(STEADY, spans=()), names=NAMES)

    assert found.phases == ()
    assert found.total.verdict == "same"


@pytest.mark.parametrize(("number", "told"), [(1, "one pair of runs"), (5, "5 pairs of runs")])
def test_too_few_pairs_tell_nothing_of_time_and_all_of_counts(number: int, told: str) -> None:
    after = Counters(statements=84, round_trips=20, bytes_sent=712_345)

    found = compare(runs(STEADY[:number]), runs(slowed(STEADY[:number], 2), counters=after), names=NAMES)

    assert {each.verdict for each in (found.total, *found.phases)} == {"unclear"}
    assert found.notes == (f"{told} cannot tell a difference of time from noise: it takes 6, better 7 to 15",)
    assert count_of(found, "statements").verdict == "more"


def test_sides_of_different_length_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="zip"):
        compare(runs(STEADY), runs(STEADY[:6]), names=NAMES)


# ---- counts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "verdict"),
    [
        ("statements", {"counters": Counters(statements=82, round_trips=20, bytes_sent=712_345)}, "fewer"),
        ("round trips", {"counters": Counters(statements=83, round_trips=21, bytes_sent=712_345)}, "more"),
        ("bytes sent", {"counters": Counters(statements=83, round_trips=20, bytes_sent=712_346)}, "more"),
        ("rows created", {"outcomes": Outcomes(created=5320)}, "fewer"),
        ("rows rejected", {"outcomes": Outcomes(created=5321, rejected=1)}, "more"),
        ("WAL bytes", {"wal_bytes": 1_010_000}, "same"),
        ("WAL bytes", {"wal_bytes": 1_010_001}, "more"),
        ("WAL bytes", {"wal_bytes": 990_000}, "fewer"),
        ("peak RSS bytes", {"peak_rss_bytes": 105_000_000}, "same"),
        ("peak RSS bytes", {"peak_rss_bytes": 105_000_001}, "more"),
    ],
)
def test_counts_are_compared_exactly_or_within_their_tolerance(
    name: str, changes: dict[str, Any], verdict: str
) -> None:
    found = compare(runs(STEADY), runs(STEADY, **changes), names=NAMES)

    assert count_of(found, name).verdict == verdict
    assert {each.verdict for each in found.counts if each.name != name} == {"same"}


def test_what_a_side_did_not_count_is_left_out() -> None:
    found = compare(runs(STEADY), runs(STEADY, wal_bytes=None), names=NAMES)

    assert "WAL bytes" not in {each.name for each in found.counts}


def test_a_count_that_varies_within_a_side_is_said_and_the_middle_one_is_taken() -> None:
    trips = [20, 21, 20, 22, 20, 20, 20]
    after = [
        replace(run, counters=replace(run.counters, round_trips=n))
        for run, n in zip(runs(STEADY), trips, strict=True)
    ]

    found = compare(runs(STEADY), after, names=NAMES)

    assert count_of(found, "round trips").verdict == "same"
    assert found.notes == ("round trips vary from run to run on HEAD: 20 to 22",)


# ---- stored runs ----------------------------------------------------------------------------------------


def test_runs_of_one_machine_data_and_target_may_be_compared() -> None:
    assert may_compare(a_run(), a_run(1.0)) == ()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"project": "library"}, "project: academy and library"),
        ({"status": "failed"}, "status: succeeded and failed"),
        ({"environment": "test"}, "environment: development and test"),
        ({"data_fingerprint": "fedcba9876543210"}, "data: 0123456789ab and fedcba987654"),
        ({"outcomes": Outcomes(unchanged=5321)}, "rows: 5,321 created and nothing to do, 5,321 unchanged"),
        ({"target": "sqlite:////tmp/academy.db"}, "target: postgresql on 127.0.0.1 and sqlite"),
        (
            {"target": "postgresql://db.example.org/academy"},
            "target: postgresql on 127.0.0.1 and postgresql on db.example.org",
        ),
    ],
)
def test_a_difference_that_makes_times_incomparable_is_refused(changes: dict[str, Any], told: str) -> None:
    before, after = a_run(), a_run(**changes)

    with pytest.raises(ConfigurationError, match="cannot be compared") as caught:
        may_compare(before, after)

    assert caught.value.exit_code == 2
    assert told in str(caught.value)
    assert before.run_id in str(caught.value)
    assert "--anyway" in str(caught.value)
    assert may_compare(before, after, anyway=True) == (f"not the same conditions: {told}",)


@pytest.mark.parametrize("fact", ["cpu", "cores", "os", "python"])
def test_another_machine_is_refused(fact: str) -> None:
    run = a_run()

    with pytest.raises(ConfigurationError, match=f"{fact}: "):
        may_compare(run, replace(run, machine={**run.machine, fact: "another"}))


def test_the_memory_of_a_machine_may_differ_by_what_the_kernel_takes() -> None:
    run = a_run()

    def with_memory(size: int) -> Run:
        return replace(run, machine={**run.machine, "memory_bytes": size})

    assert may_compare(with_memory(16_510_000_000), with_memory(16_490_000_000)) == ()
    with pytest.raises(ConfigurationError, match=r"memory: 16\.5 GB and 33\.0 GB"):
        may_compare(with_memory(16_500_000_000), with_memory(33_000_000_000))


@pytest.mark.parametrize("name", ["isolation", "batch_rows", "workers", "ids"])
def test_other_settings_are_refused(name: str) -> None:
    run = a_run()

    with pytest.raises(ConfigurationError, match=f"{name}: "):
        may_compare(run, replace(run, settings={**run.settings, name: "other"}))


def test_timeouts_do_not_matter() -> None:
    run = a_run()

    assert may_compare(run, replace(run, settings={**run.settings, "lock_timeout": "1s"})) == ()


def test_every_difference_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"status: .*; data: "):
        may_compare(a_run(), a_run(status="failed", data_fingerprint=""))


def test_levels_switches_and_versions_may_differ_and_are_said() -> None:
    before = a_run(versions={"polars": "2.1.0"}, level="legacy")
    after = a_run(versions={"polars": "2.2.0", "server": "18.4"})
    after = replace(after, settings={**after.settings, "disabled": ["copy"]})

    assert may_compare(before, after) == (
        "levels differ: legacy and incremental",
        "switches differ: all on and copy",
        "versions of polars differ: 2.1.0 and 2.2.0",
        "versions of server differ: none and 18.4",
    )


# ---- the gate -------------------------------------------------------------------------------------------


def test_each_gate_looks_at_its_own() -> None:
    slow = compare(runs(STEADY), runs(slowed(STEADY, 1.2)), names=NAMES)
    chatty = compare(
        runs(STEADY),
        runs(STEADY, counters=Counters(statements=83, round_trips=40, bytes_sent=712_345)),
        names=NAMES,
    )

    assert [bool(fails(slow, on)) for on in ("counts", "time", "any", "none")] == [False, True, True, False]
    assert [bool(fails(chatty, on)) for on in ("counts", "time", "any", "none")] == [True, False, True, False]
    assert fails(chatty, "any") == ("round trips: 20 → 40",)
    assert fails(slow, "any")[0] == "total is slower: 250 ms → 300 ms"


def test_a_slower_phase_fails_only_if_it_is_a_tenth_of_the_time() -> None:
    def with_phases(commit: float, stage: float) -> Comparison:
        before, after = {"commit": 0.02, "stage": 0.2}, {"commit": commit, "stage": stage}
        return compare(runs(STEADY, phases=before), runs(STEADY, phases=after), names=NAMES)

    assert phase_of(with_phases(0.04, 0.2), "commit").verdict == "slower"
    assert fails(with_phases(0.04, 0.2), "time") == ()
    assert fails(with_phases(0.02, 0.3), "time") == ("stage is slower: 200 ms → 300 ms",)


def test_what_is_better_or_unclear_fails_nothing_but_other_rows_do() -> None:
    fewer = Counters(statements=10, round_trips=2, bytes_sent=7)
    noisy = [each * factor for each, factor in zip(STEADY, (2, 1, 3, 0.5, 1.4, 0.9, 2), strict=True)]

    assert fails(compare(runs(STEADY), runs(slowed(STEADY, 0.5), counters=fewer), names=NAMES), "any") == ()
    assert fails(compare(runs(STEADY), runs(noisy), names=NAMES), "any") == ()
    assert fails(
        compare(runs(STEADY), runs(STEADY, outcomes=Outcomes(created=5000)), names=NAMES), "counts"
    ) == ("rows created: 5,321 → 5,000",)
