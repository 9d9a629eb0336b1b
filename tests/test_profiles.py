"""A profile's file holds every run, comes back equal, and says what each variant gained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from seedlab.errors import ConfigurationError
from seedlab.flow import Counters, Phase, Span
from seedlab.flow.evidence import Attempt, Profile
from seedlab.insight.formatting.profile_text import profile_text
from seedlab.insight.records import profiles
from tests.support.comparing import runs

AGAIN = "incremental, again"
WITHOUT = "incremental without copy"
SECONDS = {"legacy": 8.0, "bulk": 0.4, "incremental": 0.2, AGAIN: 0.02, WITHOUT: 0.3}
STATEMENTS = {"legacy": 20_000, "bulk": 78, "incremental": 83, AGAIN: 7, WITHOUT: 78}
NOISE = (1.0, 1.02, 0.98, 1.01, 0.99, 1.0, 1.03)


def spans_of(variant: str, seconds: float) -> tuple[Span, ...]:
    """Two phases; a second run has none."""
    parts: dict[Phase, float] = {} if variant == AGAIN else {"read": seconds / 4, "merge": seconds / 2}
    return tuple(Span(phase=name, seconds=each, cpu_seconds=each) for name, each in parts.items())


def made(pairs: int = 7, delays: tuple[float, ...] = (0.0,)) -> Profile:
    """A profile of levels, a second run and a switch, with the same noise for all."""
    attempts = [
        Attempt(variant=variant, round_trip_ms=delay, pair=pair, run=run)
        for variant, seconds in SECONDS.items()
        for delay in delays
        for pair, run in enumerate(
            runs(
                [seconds * (1 + delay) * each for each in NOISE[:pairs]],
                spans=spans_of(variant, seconds),
                counters=Counters(statements=STATEMENTS[variant], round_trips=20, bytes_sent=1_100_000),
            ),
            start=1,
        )
    ]
    # Files keep the order in which runs were made: by rounds.
    attempts.sort(key=lambda each: (each.round_trip_ms, each.pair))
    return Profile(
        profile_id="0a1b2c3d",
        project="academy",
        started="2026-11-26T10:00:00.000+00:00",
        args=("seedlab", "profile"),
        variants=tuple(SECONDS),
        attempts=tuple(attempts),
        notes=("the server may write during a run",),
    )


# ---- files ----------------------------------------------------------------------------------------------


def test_a_profile_comes_back_equal(tmp_path: Path) -> None:
    profile = made(2, (0.0, 5.0))

    path = profiles.write(profile, tmp_path)

    assert path == tmp_path / "profiles" / "20261126T100000Z-0a1b2c3d" / "profile.json"
    assert profiles.read(path) == profile
    assert [each.name for each in path.parent.iterdir()] == ["profile.json"]


def test_records_of_runs_in_a_profile_are_upgraded(tmp_path: Path) -> None:
    profile = made(1)
    path = profiles.write(profile, tmp_path)
    record = json.loads(path.read_text("utf-8"))
    for attempt in record["attempts"]:
        attempt["run"]["schema_version"] = 1
        for name in ("commit", "samples", "bottlenecks", "recommendations"):
            del attempt["run"][name]
    path.write_text(json.dumps(record), "utf-8")

    assert profiles.read(path) == profile


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot read the profile"),
        ("[]", "not a profile"),
        ('{"schema_version": 2, "run_id": "x"}', "not a profile: it has no attempts"),
        ('{"schema_version": 99, "attempts": []}', "schema version 99, this seedlab reads up to 1"),
        ('{"schema_version": 1, "attempts": []}', "not a whole profile"),
    ],
)
def test_what_is_no_profile_is_told(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "profile.json"
    path.write_text(text)

    with pytest.raises(ConfigurationError, match=said):
        profiles.read(path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "profiles").write_text("a file in the way")

    with pytest.raises(ConfigurationError, match="name another directory with --reports"):
        profiles.write(made(1), tmp_path)


# ---- what it says ---------------------------------------------------------------------------------------


def test_levels_are_compared_with_the_first_and_switches_with_the_level_that_has_them() -> None:
    found = {each.variant: each for each in profiles.effects(made())}

    assert {name: each.than for name, each in found.items()} == {
        "legacy": None, "bulk": "legacy", "incremental": "legacy", AGAIN: "legacy", WITHOUT: "incremental",
    }  # fmt: skip
    ratios = {name: round(each.change.ratio, 9) for name, each in found.items() if each.change}
    assert ratios == {"bulk": 0.05, "incremental": 0.025, AGAIN: 0.0025, WITHOUT: 1.5}
    saved = {name: each.saved for name, each in found.items() if each.saved is not None}
    assert saved == {"bulk": pytest.approx(7.6), "incremental": pytest.approx(0.2)}


def test_an_old_order_of_attempts_makes_the_same_pairs() -> None:
    profile = made()

    shuffled = replace(profile, attempts=profile.attempts[::-1])

    assert profiles.effects(shuffled) == profiles.effects(profile)


def test_every_delay_is_told_by_itself() -> None:
    found = profiles.effects(made(1, (0.0, 1.0)))

    assert [(each.variant, each.round_trip_ms) for each in found] == [
        *((name, 0.0) for name in SECONDS),
        *((name, 1.0) for name in SECONDS),
    ]
    assert found[-1].seconds == 2 * found[4].seconds


def test_the_text_says_what_each_bought() -> None:
    assert profile_text(made(), 110) == (
        "academy: 7 runs of each in fresh databases, taking turns\n"
        "\n"
        "what each level took, and saved over the one before\n"
        "                    median  times faster than legacy   saved  statements  round trips    sent     WAL\n"
        "legacy              8.00 s                                        20,000           20  1.1 MB  1.0 MB\n"
        "bulk                400 ms             20 (20 to 20)  7.60 s          78           20  1.1 MB  1.0 MB\n"
        "incremental         200 ms             40 (40 to 40)  200 ms          83           20  1.1 MB  1.0 MB\n"
        "incremental, again   20 ms          400 (400 to 400)                   7           20  1.1 MB  1.0 MB\n"
        "\n"
        "by phase, times of all threads added up\n"
        "                            read   merge\n"
        "legacy                    2.00 s  4.00 s\n"
        "bulk                      100 ms  200 ms\n"
        "incremental                50 ms  100 ms\n"
        "incremental, again             ·       ·\n"
        "incremental without copy   75 ms  150 ms\n"
        "\n"
        "what each switch is worth alone\n"
        "without  median         times slower  statements  round trips\n"
        "copy     300 ms  1.50 (1.50 to 1.50)          78           20\n"
        "\n"
        "! the server may write during a run\n"
    )


def test_a_narrow_terminal_is_told_times_and_round_trips() -> None:
    told = profile_text(made(), 80).splitlines()

    assert told[3] == "                    median  times faster than legacy   saved  round trips"
    assert max(map(len, told)) <= 80


def test_the_record_has_every_sample_and_no_interval_where_there_is_none() -> None:
    record = profiles.effects_record(made(2))

    bulk = record["variants"][1]
    assert bulk["samples"] == [0.4, 0.4 * 1.02]
    assert bulk["interval"] is None
    assert profiles.effects_record(made())["variants"][1]["interval"] is not None
    json.dumps(record, allow_nan=False)
