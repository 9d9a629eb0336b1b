"""Formats a profile as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from seedlab.flow import Phase
from seedlab.flow.evidence import Profile
from seedlab.insight.formatting.text import duration, isolate, paragraphs, printable, several, size, table
from seedlab.insight.judging.compare import bounded
from seedlab.insight.records.profiles import WITHOUT, Effect, delays, effects

Rows = list[list[str]]  # the first one is the head


def profile_text(profile: Profile, width: int = 120) -> str:
    """Format what each variant took and saved, its time by phase, and what each switch saves alone."""
    blocks = [[_headline(profile)]]
    for title, rows in _tables(profile):
        align = "<" + ">" * (len(rows[0]) - 1)
        spare = [n for n, name in enumerate(rows[0]) if name in ("sent", "WAL", "statements")]
        blocks.append([title, *table(rows, align, cells=width, flexible=1, spare=spare[::-1])])
    blocks.append([f"! {printable(note)}" for note in profile.notes])
    return paragraphs(blocks)


def _headline(profile: Profile) -> str:
    run = profile.attempts[0].run
    servers = [name for name in ("postgresql", "sqlite") if name in run.versions]
    server = "".join(f", {name} {run.versions[name]}" for name in servers)
    pairs = max(each.pair for each in profile.attempts)
    name = isolate(printable(profile.project))
    return f"{name}: {several(pairs, 'run')} of each in fresh databases, taking turns{server}"


def _tables(profile: Profile) -> list[tuple[str, Rows]]:
    found = []
    known = effects(profile)
    for delay in delays(profile):
        here = [each for each in known if each.round_trip_ms == delay]
        at = f", {delay:g} ms a round trip" if delay else ""
        levels = [each for each in here if WITHOUT not in each.variant]
        alone = [each for each in here if WITHOUT in each.variant and each.change]
        found.append((f"what each level took, and saved over the one before{at}", _saved(levels)))
        found.append((f"by phase, times of all threads added up{at}", _phases(here)))
        if alone:
            found.append((f"what each switch is worth alone{at}", _alone(alone)))
    return found


def _saved(levels: Sequence[Effect]) -> Rows:
    first = levels[0].variant
    head = ["", "median", f"times faster than {first}", "saved", "statements", "round trips", "sent", "WAL"]
    return [head, *(_level_row(each) for each in levels)]


def _level_row(each: Effect) -> list[str]:
    return [
        printable(each.variant),
        duration(each.seconds),
        _times(each, faster=True),
        _signed(each.saved) if each.saved is not None else "",
        f"{each.statements:,}",
        f"{each.round_trips:,}",
        size(each.bytes_sent) if each.bytes_sent else "·",
        size(each.wal_bytes) if each.wal_bytes is not None else "·",
    ]


def _alone(variants: Sequence[Effect]) -> Rows:
    head = ["without", "median", "times slower", "statements", "round trips"]
    rows = [
        [
            printable(each.variant.partition(WITHOUT)[2]),
            duration(each.seconds),
            _times(each, faster=False),
            f"{each.statements:,}",
            f"{each.round_trips:,}",
        ]
        for each in variants
    ]
    return [head, *rows]


def _times(each: Effect, *, faster: bool) -> str:
    """Format a ratio, with its interval if there are enough runs for one."""
    if each.change is None:
        return ""
    change = each.change
    ratio, low, high = change.ratio, change.low, change.high
    if faster:
        ratio, low, high = 1 / ratio, 1 / high, 1 / low if low else 0.0
    return f"{_figure(ratio)} ({_figure(low)} to {_figure(high)})" if bounded(change) else _figure(ratio)


def _figure(ratio: float) -> str:
    if ratio < 0.1:
        return f"{ratio:.2g}"
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}" if ratio >= 10 else f"{ratio:.2f}"


def _phases(variants: Sequence[Effect]) -> Rows:
    names = [name for name in get_args(Phase) if any(name in each.phases for each in variants)]
    head = ["", *names]
    return [
        head,
        *(
            [
                printable(each.variant),
                *(duration(each.phases[name]) if name in each.phases else "·" for name in names),
            ]
            for each in variants
        ),
    ]


def _signed(seconds: float) -> str:
    return duration(seconds) if seconds >= 0 else f"-{duration(-seconds)}"
