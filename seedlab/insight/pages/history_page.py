"""Formats a history as a self-contained HTML page without scripts, for light and dark displays.

First comes how the last run of each series went, then each series with its trend and phases, then each run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

from seedlab.errors import ConfigurationError, Fault
from seedlab.flow import Run
from seedlab.insight.formatting.history_text import first_line, health, verdict
from seedlab.insight.formatting.run_text import PHASE_HEAD, phase_row
from seedlab.insight.formatting.summary import MARKS as STAGE_MARKS
from seedlab.insight.formatting.summary import costs, outcomes_text
from seedlab.insight.formatting.text import duration, moment, several
from seedlab.insight.judging.findings import findings_text
from seedlab.insight.judging.trend import Point, Series, Trend, in_order, usual
from seedlab.insight.measuring.monitor import phase_totals
from seedlab.insight.pages.history_svg import anchor, history_style, small_svg, trend_svg
from seedlab.insight.pages.markup import html_text

if TYPE_CHECKING:
    from seedlab.insight.notebooks.run_history import History

# Limits that keep a page below 500 kB: the runs drawn, the rows of a table, the bytes of all details.
POINTS = 400
ROWS = 12
DETAIL_BYTES = 360_000
_FAULTS = 5
_CLASSES = {"slower than usual": "slower", "faster than usual": "faster", "not finished": "failed"}
_MARKS = {"slower than usual": "▲", "faster than usual": "▼", "not finished": "✗"}
# The browser may load nothing but the page itself, whatever a name in the page may contain.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def history_page(history: History) -> str:
    """Return the HTML page; reads the complete records of the newest runs, in about 2 ms per run."""
    trends = _newest(history.trends)
    points = in_order(trends)
    details = _details(points)
    body = [
        "<h1>Seed history</h1>",
        _health(trends),
        *(_section(number, each, details) for number, each in _numbered(trends)),
        "<h2>Runs</h2>" if points else "",
        *details.values(),
        _left_out(history, points, details),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Seed history</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<style>{history_style()}</style></head>\n"
        f'<body class="seedlab">{"".join(body)}</body></html>\n'
    )


def history_fragment(history: History) -> str:
    """Return the HTML that a notebook shows: health and trends, without the details of runs."""
    trends = _newest(history.trends)
    sections = (_section(number, each, ()) for number, each in _numbered(trends))
    return f'<div class="seedlab"><style>{history_style()}</style>{_health(trends)}{"".join(sections)}</div>'


def _numbered(trends: Sequence[Trend]) -> Iterator[tuple[int, Trend]]:
    """Give the series numbers for links; the one with the newest run is first."""
    return enumerate(reversed(trends))


def _newest(trends: Sequence[Trend]) -> list[Trend]:
    """Keep only the newest runs."""
    kept = {point.run.run_id for point in in_order(trends)[-POINTS:]}
    cut = (replace(each, points=tuple(p for p in each.points if p.run.run_id in kept)) for each in trends)
    return [each for each in cut if each.points]


# ---- elements -------------------------------------------------------------------------------------------


def _title(series: Series) -> str:
    return f"{html_text(series.project)}/{html_text(series.level)}/{series.kind}"


def _mark(point: Point) -> str:
    """Return the coloured mark of a judgement; the marks differ in shape, too."""
    mark = _MARKS.get(point.judgement, "●" if point.judgement == "as usual" else "○")
    return f'<span class="{_CLASSES.get(point.judgement, "")}">{mark}</span>'


def _judged(point: Point, text: str) -> str:
    """Return text in the colour of a judgement."""
    return f'<span class="{_CLASSES.get(point.judgement, "")}">{html_text(text)}</span>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> str:
    """Return a table of HTML cells; `align` has `<` or `>` per column, or `-` if its text may wrap."""
    classes = [{">": ' class="n"', "-": ' class="why"'}.get(side, "") for side in align]
    lines = [_cells("th", classes, head), *(_cells("td", classes, row) for row in rows)]
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _cells(tag: str, classes: Sequence[str], cells: Sequence[str]) -> str:
    pairs = zip(classes, cells, strict=True)
    return "<tr>" + "".join(f"<{tag}{kind}>{cell}" for kind, cell in pairs)  # half the size without end tags


# ---- health ---------------------------------------------------------------------------------------------


def _health(trends: Sequence[Trend]) -> str:
    """Return how the last run of each series went, the newest one first."""
    if not trends:
        return "<p>No run is on record yet: <code>seedlab seed</code> makes one.</p>"
    names = Counter(trend.series.name for trend in trends)
    lines = [
        f'<a href="#s-{number}">{_title(trend.series)}</a>: '
        f"{_mark(trend.last)} {_judged(trend.last, health(trend))}{_distinction(trend.series, names)}"
        for number, trend in _numbered(trends)
    ]
    first, *others = lines
    rest = "".join(f"<li>{line}" for line in others)
    return f'<p class="first">last run of {first}</p>' + (f'<ul class="health">{rest}</ul>' if rest else "")


def _distinction(series: Series, names: Mapping[str, int]) -> str:
    """Return what distinguishes a series from others of the same name."""
    if names[series.name] == 1:
        return ""
    return f' <span class="soft">{html_text(series.circumstances)}; {html_text(series.machine)}</span>'


# ---- a series -------------------------------------------------------------------------------------------


def _section(number: int, trend: Trend, linked: Collection[str]) -> str:
    series = trend.series
    rows = [_row(point, linked) for point in reversed(trend.points[-ROWS:])]
    head = ("run", "started (UTC)", "time", "rows", "statements", "round trips", "")
    runs = several(len(trend.points), "run")
    facts = f"{html_text(series.circumstances)}; {html_text(series.machine)}; {runs}"
    return (
        f'<section><h2 id="s-{number}">{_title(series)}</h2><p class="soft">{facts}</p>'
        f"{trend_svg(trend, linked)}{_phases(trend)}{_table(head, rows, '<<>>>>-')}</section>"
    )


def _row(point: Point, linked: Collection[str]) -> list[str]:
    run = point.run
    name = escape(run.run_id)
    link = f'<a href="#{anchor(run.run_id)}">{name}</a>' if run.run_id in linked else name
    return [
        f"{_mark(point)} {link}",
        escape(moment(run.started)),
        duration(run.seconds),
        f"{run.outcomes.total:,}",
        f"{run.statements:,}",
        f"{run.round_trips:,}",
        _judged(point, verdict(point) or point.judgement),
    ]


def _phases(trend: Trend) -> str:
    """Return one small chart per phase of the last finished run, of all finished runs that had it."""
    runs = [point.run for point in trend.points if point.run.kind is not None]
    names = runs[-1].phases if runs else ()
    figures = (_phase(name, [run.phases[name] for run in runs if name in run.phases]) for name in names)
    return f'<div class="phases">{"".join(figures)}</div>' if names else ""


def _phase(name: str, seconds: Sequence[float]) -> str:
    before = usual(seconds[:-1])
    judgement = before.judge(seconds[-1]) if before else "too few runs"
    mark = f'<span class="{_CLASSES[judgement]}">{_MARKS[judgement]}</span>' if judgement in _MARKS else ""
    caption = f"{html_text(name)} {duration(seconds[-1])} {mark}"
    return f"<figure>{small_svg(seconds, before)}<figcaption>{caption}</figcaption></figure>"


# ---- a run ----------------------------------------------------------------------------------------------


def _details(points: Sequence[Point]) -> dict[str, str]:
    """Return the details of runs by id, newest first, as far as there is room."""
    details: dict[str, str] = {}
    room = DETAIL_BYTES
    for point in reversed(points):
        text = _detail(point)
        room -= len(text.encode())
        if room < 0:
            break
        details[point.run.run_id] = text
    return details


def _detail(point: Point) -> str:
    past = point.run
    summary = (
        f"{_mark(point)} {escape(past.run_id)} {escape(moment(past.started))} {_title(point.series)} "
        f"{duration(past.seconds)} {_judged(point, verdict(point) or point.judgement)}"
    )
    # The anchor is inside of the details, so that a link to it opens them.
    content = f'<div class="run" id="{anchor(past.run_id)}">{_content(point)}</div>'
    return f"<details><summary>{summary}</summary>{content}</details>\n"


def _content(point: Point) -> str:
    try:
        run = point.run.read()
    except ConfigurationError as error:
        return f'<p class="failed">{html_text(str(error))}</p>'
    facts = (run.target, point.series.circumstances, f"commit {run.commit}" if run.commit else "")
    notes = [f"! {note}" for note in run.notes]
    found = findings_text(run)
    faults = [f"{_place(each)}: {each.message}" for each in run.faults[:_FAULTS]]
    more = [f"and {len(run.faults) - _FAULTS:,} more"] if len(run.faults) > _FAULTS else []
    return "".join(
        [
            f"<p>{', '.join(html_text(each) for each in facts if each)}",
            f"<p><code>{html_text(' '.join(run.args))}</code>" if run.args else "",
            f"<p>{html_text(outcomes_text(run.outcomes))}; {', '.join(costs(run))}",
            f'<p class="failed">{html_text(first_line(run.error))}' if run.error else "",
            f"<pre>{escape(found)}</pre>" if found else "",
            *(f"<p>{html_text(line)}" for line in (*notes, *faults, *more)),
            _stages(run),
            _phase_table(run),
        ]
    )


def _place(fault: Fault) -> str:
    """Return file and line of a fault, or its rule if it has no file."""
    return ":".join(str(part) for part in (fault.file or fault.rule, fault.line) if part is not None)


def _stages(run: Run) -> str:
    """Return a table of the stages that ran, and the names of the others."""
    rows = [
        [
            STAGE_MARKS[stage.status],
            html_text(stage.id),
            html_text(first_line(stage.reason)),
            f"{stage.outcomes.total:,}",
            duration(stage.seconds),
        ]
        for stage in run.stages
        if stage.status != "skipped"
    ]
    skipped = [html_text(stage.id) for stage in run.stages if stage.status == "skipped"]
    table = _table(("", "stage", "why", "rows", "time"), rows, "<<->>") if rows else ""
    return table + (f"<p>skipped: {', '.join(skipped)}" if skipped else "")


def _phase_table(run: Run) -> str:
    rows = [phase_row(total) for total in phase_totals(run.spans)]
    return _table(PHASE_HEAD, rows, "<>>>>>>>") if rows else ""


# ---- what is missing ------------------------------------------------------------------------------------


def _left_out(history: History, points: Sequence[Point], details: Collection[str]) -> str:
    """Return what is not on the page, and which files could not be read."""
    missing = []
    if older := len(history) - len(points):
        missing.append(f"{several(older, 'older run')} not shown")
    if brief := len(points) - len(details):
        missing.append(f"{several(brief, 'run')} without details: <code>seedlab show RUN</code>")
    notes = (html_text(f"{note.path}: {note.why}") for note in history.notes)
    return f'<p class="soft">{"; ".join(missing)}</p>' + "".join(
        f'<p class="failed">{note}' for note in notes
    )
