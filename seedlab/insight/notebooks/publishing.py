"""Writes the results of a notebook into its report: summary.md, summary.json and figures.

Needs matplotlib for the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, singledispatch
from pathlib import Path
from typing import Any

from seedlab.flow import Run
from seedlab.flow.evidence import Comparison, Profile
from seedlab.insight import charts
from seedlab.insight.formatting.comparison_text import comparison_markdown, comparison_record
from seedlab.insight.formatting.history_text import health, history_record, sparkline, title
from seedlab.insight.formatting.text import markdown_text, printable
from seedlab.insight.judging.trend import Trend
from seedlab.insight.notebooks.objects import Profile as ProfileObject
from seedlab.insight.notebooks.objects import Run as RunObject
from seedlab.insight.notebooks.run_history import History
from seedlab.insight.notebooks.runner import shortened
from seedlab.insight.pages.history_svg import HEIGHT, WIDTH, history_style, trend_svg
from seedlab.insight.records import files, history, profiles

COMMENT_BYTES = 60_000  # a comment on GitHub may have 64 kB
TRENDS = 12  # how many series of a history are summarised, the newest
_LONG = ("spans", "samples")  # parts of a run's record that are only in run.json


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The summary of a value: Markdown, plain values for JSON, and functions that draw its figures as SVG."""

    markdown: str
    record: Mapping[str, Any]
    figures: Mapping[str, Callable[[], str]]


def publish(value: object, folder: Path) -> None:
    """Write the summary and the figures of a run, comparison, profile or history into a report's folder."""
    published = summary(value)
    (folder / "summary.md").write_text(shortened(published.markdown, COMMENT_BYTES), "utf-8")
    (folder / "summary.json").write_text(files.to_json(published.record), "utf-8")
    (folder / "figures").mkdir(exist_ok=True)
    for name, draw in published.figures.items():
        (folder / "figures" / f"{name}.svg").write_text(draw(), "utf-8")


def _figures(value: object, *drawn: Callable[[Any], charts.Chart]) -> dict[str, Callable[[], str]]:
    return {chart.__name__: partial(_svg, chart, value) for chart in drawn}


def _svg(chart: Callable[[Any], charts.Chart], value: object) -> str:
    return chart(value).svg()


@singledispatch
def summary(value: object) -> Summary:
    """Build the summary of a value."""
    raise TypeError(f"nothing is published of {type(value).__name__}")


@summary.register
def _of_run(run: Run) -> Summary:
    record = {name: value for name, value in history.to_record(run).items() if name not in _LONG}
    drawn = (charts.waterfall, charts.pareto, charts.operations, charts.memory, charts.waits)
    markdown = RunObject.of(run)._repr_markdown_()
    return Summary(markdown=markdown, record=record, figures=_figures(run, *drawn))


@summary.register
def _of_comparison(comparison: Comparison) -> Summary:
    return Summary(
        markdown=comparison_markdown(comparison),
        record=comparison_record(comparison),
        figures=_figures(comparison, charts.before_after, charts.pairs),
    )


@summary.register
def _of_profile(profile: Profile) -> Summary:
    return Summary(
        markdown=ProfileObject.of(profile)._repr_markdown_(),
        record=profiles.effects_record(profile),
        figures=_figures(profile, charts.steps),
    )


@summary.register
def _of_history(past: History) -> Summary:
    trends = [*reversed(past.trends)][:TRENDS]
    lines = ["The last run of each series:", "", *map(_trend_line, trends)]
    return Summary(
        markdown="\n".join(lines) + "\n" if trends else "No run is on record.\n",
        record=history_record(past, len(past)),
        figures={f"trend-{number}": partial(_alone, trend) for number, trend in enumerate(trends, 1)},
    )


def _trend_line(trend: Trend) -> str:
    mark = {"slower than usual": "❌", "not finished": "❌"}.get(trend.last.judgement, "✅")
    name = f"{title(trend.series)}, {printable(trend.series.circumstances)}".replace("`", "'")
    return f"- {mark} `{name}`: {markdown_text(health(trend))} `{sparkline(trend)}`"


def _alone(trend: Trend) -> str:
    """Draw a trend as an SVG file of its own, with the style of the history page."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="seedlab" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f"<style><![CDATA[{history_style()}]]></style>{trend_svg(trend)}</svg>\n"
    )
