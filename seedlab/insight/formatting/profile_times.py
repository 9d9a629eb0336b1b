"""Words what the variants of a profile took and saved, for pages and charts. Pure."""

from __future__ import annotations

from seedlab.flow.evidence import Profile
from seedlab.insight.formatting.comparison_text import ratio_text, relative
from seedlab.insight.formatting.text import duration
from seedlab.insight.judging.compare import bounded
from seedlab.insight.records.profiles import AGAIN, WITHOUT, Effect, delays, effects


def delay_text(delay: float) -> str:
    """Word a delay, which is in milliseconds."""
    return f"with {delay:g} ms for a round trip" if delay else "without a delay"


def effect_text(effect: Effect) -> str:
    """Word the effect of a variant: of a level against the first and the previous one, else `than`."""
    if effect.change is None:
        return ""
    if WITHOUT in effect.variant:
        return f"{ratio_text(effect.change)} against {effect.than}"
    against = f"{relative(effect.change)} against {effect.than}"
    if effect.saved is None or effect.step is None:
        return against
    if bounded(effect.step) and effect.step.verdict in ("same", "unclear"):
        return f"{against}, no clear difference from the level before"
    word = "less" if effect.saved >= 0 else "more"
    return f"{against}, {duration(abs(effect.saved))} {word} than the level before"


def profile_finding(profile: Profile) -> str:
    """Word the result of a profile in one line, at the longest delay."""
    if not profile.attempts:
        return "Nothing was profiled"
    delay = max(delays(profile))
    where = f"{delay_text(delay)}, ".capitalize() if delay else ""
    known = [each for each in effects(profile) if each.round_trip_ms == delay]
    levels = [each for each in known if AGAIN not in each.variant and WITHOUT not in each.variant]
    if len(levels) < 2:
        return f"{where}{known[0].variant} takes {duration(known[0].seconds)}"
    first, last = levels[0], levels[-1]
    became = f"{duration(first.seconds)} became {duration(last.seconds)}"
    most = max(levels[1:], key=lambda each: each.saved or 0.0)
    faster = last.seconds < first.seconds
    part = f", most by {most.variant} ({duration(most.saved)})" if faster and most.saved else ""
    return f"{where}{first.variant} to {last.variant}: {became}{part}"
