"""Formats a forecast: text for a terminal, plain values for JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from seedlab.flow.evidence import Expectation, Forecast
from seedlab.insight.formatting.text import duration, paragraphs, percent, printable, several, table, wrapped

_LONGEST = 8  # how many seeds are shown, those that take longest


def forecast_text(forecast: Forecast, width: int) -> str:
    """Format the expected time with its interval, the longest seeds, and what could run faster."""
    if not forecast.seeds:
        return ""
    lines = [f"expected: {_spelled(forecast.total)}"]
    if forecast.declared_seconds > 1.05 * forecast.planned_seconds:
        lines.append(f"one file after another it would be {duration(forecast.declared_seconds)}")
    path = forecast.critical_path
    if len(path) > 1:
        lines.append(f"critical path: {' → '.join(map(printable, path))}")
    head = [part for line in lines for part in wrapped(line, width)]
    blocks = [head, _longest(forecast.seeds, width), _could_be(forecast)]
    return "\n" + paragraphs(blocks)


def _spelled(expected: Expectation) -> str:
    seconds, runs = duration(expected.seconds), several(expected.runs, "run")
    if expected.basis == "history":
        return f"{seconds} ({_interval(expected)} confidence, by {runs})"
    if expected.runs:
        return f"about {seconds}, by {runs} like this one, too few for an interval"
    return f"about {seconds} and the start-up, a guess: no run like this one is on record"


def _interval(expected: Expectation) -> str:
    between = f"{duration(expected.low)} to {duration(expected.high)}"
    return f"{between} with {percent(expected.confidence)}"


def _longest(seeds: Mapping[str, Expectation], width: int) -> list[str]:
    if len({(each.basis, duration(each.seconds)) for each in seeds.values()}) == 1:
        return []  # all are alike, so nothing is known of the seeds
    ordered = sorted(seeds, key=lambda name: -seeds[name].seconds)
    rows = [
        [
            "   ",
            printable(name),
            duration(seeds[name].seconds),
            _interval(seeds[name]) if seeds[name].basis == "history" else "estimate",
        ]
        for name in ordered[:_LONGEST]
    ]
    lines = table([["", "seed", "expected", ""], *rows], "<<><", cells=width, flexible=1)
    more = ordered[_LONGEST:]
    if more:
        rest = duration(sum(seeds[name].seconds for name in more))
        lines.append(f"     and {several(len(more), 'seed')} more: {rest}")
    return lines


def _could_be(forecast: Forecast) -> list[str]:
    lines = [
        f"- {printable(stage)} could run beside others: {printable(why)}"
        for stage, why in forecast.idle.items()
    ]
    mentioned = set(forecast.idle.items())
    lines += [
        f"- {printable(stage)} depends on {printable(before)}, which no foreign key needs"
        for stage, before in forecast.needless
        if (stage, f"waits for {before}, which no foreign key needs") not in mentioned
    ]
    return lines


def forecast_record(forecast: Forecast) -> dict[str, Any]:
    """Convert a forecast to plain values for JSON."""
    record = asdict(forecast)
    return record | {
        "needless": [{"stage": stage, "waits_for": before} for stage, before in forecast.needless]
    }
