"""Statements, round trips and rows of a cold seed of the academy, exactly as the baseline says."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedlab.flow import LEVELS, Run
from tests.fix_academy import expected

BASELINE = Path(__file__).parent / "baselines" / "counts.json"
ACCEPT = f"SEEDLAB_ACCEPT=1 pytest tests/{Path(__file__).name}"


def counts_of(run: Run) -> dict[str, int]:
    return {
        "statements": run.counters.statements,
        "round_trips": run.counters.round_trips,
        "rows": run.outcomes.total,
    }


def differences(found: dict[str, int], baseline: dict[str, int]) -> list[str]:
    """What rose or fell, and what to do about it."""
    advice = {
        True: f"find out why; if it is worth it, say so in the commit and run {ACCEPT}",
        False: f"well done; keep it by running {ACCEPT}",
    }
    return [
        f"{name} {'rose' if number > baseline.get(name, 0) else 'fell'} from {baseline.get(name, 0)} to {number}: "
        f"{advice[number > baseline.get(name, 0)]}"
        for name, number in found.items()
        if number != baseline.get(name, 0)
    ]


@pytest.mark.parametrize(
    ("dialect", "level"),
    [
        pytest.param(dialect, level, marks=() if level == "incremental" else pytest.mark.slow)
        for level in LEVELS
        for dialect in ("postgresql", "sqlite")
    ],
)
def test_a_cold_seed_costs_what_the_baseline_says(academies, dialect, level):
    found = counts_of(academies.seeded(dialect, level).run)

    baseline = expected(BASELINE, found, dialect, level)

    assert not (changed := differences(found, baseline)), f"{dialect}, {level}: " + "; ".join(changed)


def test_a_cold_seed_needs_few_round_trips(academies, academy_metadata):
    run = academies.seeded("postgresql").run

    assert run.counters.round_trips <= 3 * len(academy_metadata.tables) + 15


def test_a_rise_is_told_with_the_way_to_accept_it():
    baseline = {"statements": 20, "round_trips": 5, "rows": 100}

    found = differences({"statements": 21, "round_trips": 4, "rows": 100}, baseline)

    assert [each.partition(":")[0] for each in found] == [
        "statements rose from 20 to 21",
        "round_trips fell from 5 to 4",
    ]
    assert all(ACCEPT in each for each in found)
