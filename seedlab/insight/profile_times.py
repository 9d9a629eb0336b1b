"""What a profile shows: how long its variants took, and what each bought against another. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise

from seedlab.flow import LEVELS, Phase, Run
from seedlab.flow.evidence import Profile
from seedlab.insight.text import duration, times

_SAME = 0.02  # a median is not more exact than this


class Times:
    """What the variants of a profile took at one delay."""

    def __init__(self, profile: Profile, delay: float) -> None:
        self.delay = delay
        self._runs: dict[str, list[Run]] = {}
        for attempt in profile.attempts:
            if attempt.round_trip_ms == delay:
                self._runs.setdefault(attempt.variant, []).append(attempt.run)
        self.variants = tuple(each for each in profile.variants if each in self._runs)

    def samples(self, variant: str) -> list[float]:
        """Seconds of each run of a variant."""
        return [run.seconds for run in self._runs.get(variant, ())]

    def median(self, variant: str) -> float:
        """The median of the seconds; 0 of a variant that never ran."""
        return statistics.median(self.samples(variant) or [0.0])

    def phase(self, variant: str, phase: Phase) -> float:
        """The median of the seconds of a phase."""
        runs = self._runs.get(variant, ())
        sums = [sum(span.seconds for span in run.spans if span.phase == phase) for run in runs]
        return statistics.median(sums or [0.0])

    def bought(self, variant: str) -> str:
        """Say what a variant bought against its basis, or what leaving out its switch costs."""
        before = basis(variant, self.variants)
        if before is None or not self.median(before) or not self.median(variant):
            return ""
        ratio = self.median(variant) / self.median(before)
        saved = abs(self.median(before) - self.median(variant))
        if abs(ratio - 1) < _SAME:
            return f"as {before}"
        if ratio < 1:
            return f"{times(1 / ratio)} faster than {before} (-{duration(saved)})"
        return f"{times(ratio)} slower than {before} (+{duration(saved)})"


def delays(profile: Profile) -> tuple[float, ...]:
    """Delays of a round trip at which a profile was made, in milliseconds; shortest first."""
    return tuple(sorted({attempt.round_trip_ms for attempt in profile.attempts}))


def delay_text(delay: float) -> str:
    """Spell a delay."""
    return f"with {delay:g} ms for a round trip" if delay else "without a delay"


def basis(variant: str, variants: Sequence[str]) -> str | None:
    """Name the variant that one is measured against.

    A level: the level before it. A level without a switch: that level. A second run (`…, again`): the first.
    """
    level, without, switch = variant.partition(" without ")
    if without:
        found = level + (", again" if switch.endswith(", again") else "")
    elif variant.endswith(", again"):
        found = variant.removesuffix(", again")
    else:
        earlier = [each for each in variants[: variants.index(variant)] if each in LEVELS]
        found = earlier[-1] if earlier else ""
    return found if found in variants else None


def profile_finding(profile: Profile) -> str:
    """Say in one line what a profile found, at the longest delay of a round trip."""
    if not profile.attempts:
        return "Nothing was profiled"
    took = Times(profile, delays(profile)[-1])
    where = f"{delay_text(took.delay)}, ".capitalize() if took.delay else ""
    levels = [variant for variant in took.variants if variant in LEVELS]
    if len(levels) < 2:
        return f"{where}{took.variants[0]} takes {duration(took.median(took.variants[0]))}"
    first, last = took.median(levels[0]), took.median(levels[-1])
    saved = {after: took.median(before) - took.median(after) for before, after in pairwise(levels)}
    most = max(saved, key=lambda variant: saved[variant])
    text = f"{where}{levels[0]} to {levels[-1]}: {duration(first)} became {duration(last)}"
    return f"{text}, most by {most} ({duration(saved[most])})" if saved[most] > 0 else text
