"""Formats a comparison: text for a terminal, Markdown for a pull request, plain values for JSON. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from seedlab.flow.evidence import Change, Comparison, CountChange
from seedlab.insight.formatting.text import (
    duration,
    isolate,
    markdown_text,
    paragraphs,
    printable,
    several,
    shorten,
    table,
)
from seedlab.insight.judging.compare import bounded, worse
from seedlab.insight.judging.ratios import LEAST_SECONDS

MARKER = "<!-- seedlab compare -->"  # by which a CI job finds the comment that it wrote earlier
_MARKS = {"slower": "✗", "faster": "✓", "same": "=", "unclear": "≈"}
_SIGNS = {"✗": "❌", "✓": "✅"}  # in Markdown
_NOTES, _NOTE_CELLS, _NAME_CELLS = 20, 500, 80  # the most in Markdown, as a comment may have 64 kB


# ---- a terminal -----------------------------------------------------------------------------------------


def comparison_text(comparison: Comparison, width: int = 120) -> str:
    """Format a comparison for a terminal: the verdict, the phases, the counts that differ, the notes."""
    blocks = [
        [headline(comparison, lambda name: isolate(printable(name)))],
        table([PHASE_HEAD, *phase_rows(comparison)], "<<>>><>", cells=width, flexible=1),
        _count_lines(comparison, width),
        [f"! {printable(note)}" for note in comparison.notes],
    ]
    return paragraphs(blocks)


def headline(comparison: Comparison, named: Callable[[str], str]) -> str:
    """Return the verdict, both sides and the number of counts that differ in one line."""
    total = comparison.total
    before = f"{named(comparison.before)} {duration(total.before)}"
    after = f"{named(comparison.after)} {duration(total.after)}"
    measured = f"{ratio_text(total)}, {several(len(comparison.pairs), 'pair')}"
    return f"{total.verdict}: {before} → {after}, {measured}; {_counts_text(comparison.counts)}"


def _counts_text(counts: Sequence[CountChange]) -> str:
    parts = [
        f"{several(number, 'count')} {verdict}"
        for verdict in ("more", "fewer")
        if (number := sum(1 for each in counts if each.verdict == verdict))
    ]
    return ", ".join(parts) or "counts the same"


PHASE_HEAD = ("", "phase", "before", "after", "change", "95 % interval", "share")
COUNT_HEAD = ("", "count", "before", "after", "change")


def phase_rows(comparison: Comparison) -> Iterable[tuple[str, ...]]:
    """Return a row for the total and one for each phase, with the columns of `PHASE_HEAD`."""
    for each in (comparison.total, *comparison.phases):
        known = each is not comparison.total and each.before >= LEAST_SECONDS
        share = f"{each.share * 100:.0f} %" if known else ""  # of the time before
        yield (_MARKS[each.verdict], *_change_cells(each), share)


def _change_cells(change: Change) -> tuple[str, ...]:
    times = (duration(each) if each >= LEAST_SECONDS else "·" for each in (change.before, change.after))
    return (change.name, *times, relative(change), interval(change))


def _count_lines(comparison: Comparison, cells: int) -> list[str]:
    different = changed(comparison.counts)
    if not different:
        return []
    rows = [COUNT_HEAD, *map(count_cells, different)]
    rest = len(comparison.counts) - len(different)
    return [
        *table(rows, "<<>>>", cells=cells, flexible=1),
        *([f"{rest} other counts are the same"] if rest else []),
    ]


def changed(counts: Iterable[CountChange]) -> list[CountChange]:
    """Return the counts that differ."""
    return [each for each in counts if each.verdict != "same"]


def count_cells(change: CountChange) -> tuple[str, ...]:
    """Return a row for a count, with the columns of `COUNT_HEAD`."""
    mark = "✗" if worse(change) else _MARKS["same" if change.verdict == "same" else "faster"]
    difference = change.after - change.before
    return (
        mark,
        change.name,
        f"{change.before:,}",
        f"{change.after:,}",
        f"{difference:+,}" if difference else "0",
    )


def relative(change: Change) -> str:
    """Format the ratio of a change; "new" or "gone" if only one side took any time."""
    return _one_sided(change) or spelled_ratio(change.ratio, factor=_as_factors(change))


def interval(change: Change) -> str:
    """Format the interval of a change; "" if there were too few pairs for one."""
    if not bounded(change) or _one_sided(change):
        return ""
    factor = _as_factors(change)
    return f"[{spelled_ratio(change.low, factor=factor)}, {spelled_ratio(change.high, factor=factor)}]"


def ratio_text(change: Change) -> str:
    """Format the ratio of a change with its interval, if it has one."""
    return " ".join(filter(None, (relative(change), interval(change))))


def _as_factors(change: Change) -> bool:
    """Tell whether a ratio and its interval are formatted as factors: all three, as soon as one is large."""
    ratios = (change.low, change.ratio, change.high) if bounded(change) else (change.ratio,)
    return not all(map(_is_small, ratios))


def _one_sided(change: Change) -> str:
    if change.before < LEAST_SECONDS <= change.after:
        return "new"
    return "gone" if change.after < LEAST_SECONDS <= change.before else ""


def _is_small(ratio: float) -> bool:
    return 0.5 < ratio < 2


def spelled_ratio(ratio: float, *, factor: bool = False) -> str:
    """Format a ratio as a percentage, or as a factor if it is above 2 or below a half, or if `factor`."""
    if _is_small(ratio) and not factor:
        change = (ratio - 1) * 100
        # A change that rounds to 0.0 keeps its sign, on which a verdict may rest; "-0.0 %" is never written.
        return f"{change:+.2f} %" if 0.005 <= abs(change) < 0.05 else f"{round(change, 1) + 0.0:+.1f} %"
    times = max(ratio, 1 / ratio)
    digits = 2 if _is_small(ratio) else 1 if times < 100 else 0
    return ("×" if ratio >= 1 else "÷") + f"{times:,.{digits}f}"  # noqa: RUF001


# ---- a pull request -------------------------------------------------------------------------------------


def comparison_markdown(comparison: Comparison) -> str:
    """Format a comparison as Markdown: verdict and changes; the rest is collapsed. Less than 60 kB."""
    head = headline(comparison, _code)
    verdict, _, rest = head.partition(": ")
    sign = _signed(_MARKS[comparison.total.verdict])
    band = (
        f"Differences of time below {comparison.threshold * 100:g} % do not count, nor do unclear ones (≈)."
    )
    blocks = [
        f"{MARKER}\n**{sign} {verdict}**: {rest}",
        _changes(comparison),
        *_notes(comparison.notes),
        "<details><summary>All phases and counts</summary>",
        _everything(comparison),
        band,
        "</details>",
    ]
    return "\n\n".join(blocks) + "\n"


def _changes(comparison: Comparison) -> str:
    times = [each for each in (comparison.total, *comparison.phases) if each.verdict in ("slower", "faster")]
    rows = [(_MARKS[each.verdict], *_change_cells(each)) for each in times]
    rows += [(*count_cells(each), "exact") for each in changed(comparison.counts)]
    if not rows:
        return "No phase and no count is known to have changed."
    return _grid(("", "what", *PHASE_HEAD[2:6]), rows, "<<>>><")


def _everything(comparison: Comparison) -> str:
    phases = _grid(PHASE_HEAD, phase_rows(comparison), "<<>>><>")
    return f"{phases}\n\n{_grid(COUNT_HEAD, map(count_cells, comparison.counts), '<<>>>')}"


def _notes(notes: Sequence[str]) -> Iterable[str]:
    if notes:
        lines = [f"- {markdown_text(shorten(note, _NOTE_CELLS))}" for note in notes[:_NOTES]]
        more = len(notes) - _NOTES
        yield "\n".join([*lines, *([f"- … and {more} more"] if more > 0 else [])])


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> str:
    rule = ["---" if side == "<" else "--:" for side in align]
    lines = [head, rule, *((_signed(row[0]), *row[1:]) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _signed(mark: str) -> str:
    return _SIGNS.get(mark, mark)


def _code(name: str) -> str:
    """Return a name as inline code, in which nothing is markup."""
    return f"`{isolate(printable(shorten(name, _NAME_CELLS))).replace('`', chr(39))}`"


# ---- JSON -----------------------------------------------------------------------------------------------


def comparison_record(comparison: Comparison) -> dict[str, Any]:
    """Convert a comparison to plain values; an interval is null if there were too few pairs for one."""
    total = comparison.total
    return {
        "before": comparison.before,
        "after": comparison.after,
        "verdict": total.verdict,
        "ratio": total.ratio,
        "interval": _bounds(total),
        "seconds": [total.before, total.after],
        "threshold": comparison.threshold,
        "phases": [_change_record(each) for each in comparison.phases],
        "counts": [asdict(each) for each in comparison.counts],
        "pairs": [list(pair) for pair in comparison.pairs],
        "notes": list(comparison.notes),
    }


def _change_record(change: Change) -> dict[str, Any]:
    return {
        "name": change.name,
        "verdict": change.verdict,
        "ratio": change.ratio,
        "interval": _bounds(change),
        "seconds": [change.before, change.after],
        "share": change.share,
    }


def _bounds(change: Change) -> list[float] | None:
    return [change.low, change.high] if bounded(change) else None
