"""Stores profiles in `reports/profiles/<utc>-<id>/profile.json`, and computes the effect of each variant.

The file contains the record of every run; all that is shown of a profile is computed from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median, median_low
from typing import Any

from seedlab.flow import Run
from seedlab.flow.evidence import Attempt, Change, Profile
from seedlab.insight.judging.compare import bounded, compare
from seedlab.insight.measuring.monitor import phase_totals
from seedlab.insight.records import files, history

SCHEMA_VERSION = 1
AGAIN = ", again"  # the end of the name of a variant's second run
WITHOUT = " without "  # in the name of a variant, between the level and the switch that is off


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The medians of a variant's runs, and their `change` from the variant `than`.

    A level is compared with the first level, a variant without a switch with the one that has it. `step` is
    the change of a level from the one before it, and `saved` how many seconds less its median is.
    """

    variant: str
    round_trip_ms: float
    runs: int
    seconds: float
    than: str | None
    change: Change | None
    step: Change | None
    saved: float | None
    statements: int
    round_trips: int
    bytes_sent: int
    wal_bytes: int | None
    phases: Mapping[str, float]


def effects(profile: Profile) -> tuple[Effect, ...]:
    """Summarise each variant at each delay, both in the order of the profile."""
    return tuple(
        _effect(profile, variant, delay)
        for delay in delays(profile)
        for variant in profile.variants
        if runs_of(profile, variant, delay)
    )


def delays(profile: Profile) -> tuple[float, ...]:
    """Return the round-trip delays of the profile in milliseconds, in the order measured."""
    return tuple(dict.fromkeys(each.round_trip_ms for each in profile.attempts))


def runs_of(profile: Profile, variant: str, round_trip_ms: float) -> tuple[Run, ...]:
    """Return the runs of a variant at a delay, in the order of the pairs."""
    attempts = sorted(profile.attempts, key=lambda attempt: attempt.pair)
    return tuple(
        each.run for each in attempts if (each.variant, each.round_trip_ms) == (variant, round_trip_ms)
    )


def _effect(profile: Profile, variant: str, delay: float) -> Effect:
    runs = runs_of(profile, variant, delay)
    than, before = _compared_with(profile, variant), _level_before(profile, variant)
    return Effect(
        variant=variant,
        round_trip_ms=delay,
        runs=len(runs),
        seconds=_seconds(runs),
        than=than,
        change=_change(profile, than, variant, delay) if than else None,
        step=_change(profile, before, variant, delay) if before else None,
        saved=_seconds(runs_of(profile, before, delay)) - _seconds(runs) if before else None,
        statements=median_low(run.counters.statements for run in runs),
        round_trips=median_low(run.counters.round_trips for run in runs),
        bytes_sent=median_low(run.counters.bytes_sent for run in runs),
        wal_bytes=median_low(run.wal_bytes or 0 for run in runs) if _have_wal(runs) else None,
        phases=_phases(runs),
    )


def _compared_with(profile: Profile, variant: str) -> str | None:
    level, without, switch = variant.partition(WITHOUT)
    if without:
        whole = f"{level}{AGAIN if switch.endswith(AGAIN) else ''}"
        return whole if whole in profile.variants else None
    return profile.variants[0] if variant != profile.variants[0] else None


def _level_before(profile: Profile, variant: str) -> str | None:
    levels = [each for each in profile.variants if AGAIN not in each and WITHOUT not in each]
    place = levels.index(variant) if variant in levels else 0
    return levels[place - 1] if place else None


def _change(profile: Profile, before: str, after: str, delay: float) -> Change:
    one, other = (runs_of(profile, variant, delay) for variant in (before, after))
    return compare(one, other, names=(before, after), threshold=0.05).total


def _seconds(runs: Iterable[Run]) -> float:
    return median(run.seconds for run in runs)


def _have_wal(runs: Iterable[Run]) -> bool:
    return all(run.wal_bytes is not None for run in runs)


def _phases(runs: Sequence[Run]) -> dict[str, float]:
    totals = [{total.name: total.seconds for total in phase_totals(run.spans)} for run in runs]
    names = dict.fromkeys(name for total in totals for name in total)
    return {name: median(total.get(name, 0.0) for total in totals) for name in names}


# ---- records --------------------------------------------------------------------------------------------


def profile_record(profile: Profile) -> dict[str, Any]:
    """Convert a profile to its record, with the complete record of every run."""
    return {
        "schema_version": SCHEMA_VERSION,
        "profile_id": profile.profile_id,
        "project": profile.project,
        "started": profile.started,
        "args": list(profile.args),
        "variants": list(profile.variants),
        "notes": list(profile.notes),
        "attempts": [
            {
                "variant": each.variant,
                "round_trip_ms": each.round_trip_ms,
                "pair": each.pair,
                "run": history.to_record(each.run),
            }
            for each in profile.attempts
        ],
    }


def effects_record(profile: Profile) -> dict[str, Any]:
    """Return the effects of a profile for JSON: as `profile_text` shows them, but not rounded."""
    return {
        "schema_version": SCHEMA_VERSION,
        "profile_id": profile.profile_id,
        "project": profile.project,
        "started": profile.started,
        "notes": list(profile.notes),
        "variants": [_effect_record(profile, each) for each in effects(profile)],
    }


def _effect_record(profile: Profile, effect: Effect) -> dict[str, Any]:
    change = effect.change
    runs = runs_of(profile, effect.variant, effect.round_trip_ms)
    return {
        "variant": effect.variant,
        "round_trip_ms": effect.round_trip_ms,
        "seconds": effect.seconds,
        "samples": [run.seconds for run in runs],
        "than": effect.than,
        "ratio": change.ratio if change else None,
        "interval": [change.low, change.high] if change and bounded(change) else None,
        "saved": effect.saved,
        "statements": effect.statements,
        "round_trips": effect.round_trips,
        "bytes_sent": effect.bytes_sent,
        "wal_bytes": effect.wal_bytes,
        "phases": dict(effect.phases),
    }


def from_record(record: Mapping[str, Any]) -> Profile:
    """Convert a record to the profile."""
    return Profile(
        profile_id=record["profile_id"],
        project=record["project"],
        started=record["started"],
        args=tuple(record["args"]),
        variants=tuple(record["variants"]),
        attempts=tuple(
            Attempt(
                variant=each["variant"],
                round_trip_ms=each["round_trip_ms"],
                pair=each["pair"],
                run=history.from_record(each["run"]),
            )
            for each in record["attempts"]
        ),
        notes=tuple(record["notes"]),
    )


def write(profile: Profile, reports: Path) -> Path:
    """Write a profile below `reports` and return its path."""
    name = files.folder_name(datetime.fromisoformat(profile.started), profile.profile_id)
    return files.write(profile_record(profile), reports / "profiles" / name / "profile.json", "profile")


def newest(reports: Path, limit: int) -> list[Profile]:
    """Read the newest profiles below `reports`, newest last; skip those that cannot be read."""
    return files.read_newest((reports / "profiles").glob("*/profile.json"), read, limit)


def read(path: Path) -> Profile:
    """Read a profile. Raises ConfigurationError for a newer schema, and for a file that is no profile."""
    return files.read(path, from_record, what="profile", version=SCHEMA_VERSION, mark="attempts")
