"""Formats a `Page` as Markdown or HTML, self-contained and without scripts; all text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from seedlab.insight.formatting.text import markdown_text, percent, printable
from seedlab.insight.pages.page import Bar, Grid, Page

# Styles set sizes only, no colours, since Jupyter and report pages have their own.
_CELL = "padding:.15em .6em;vertical-align:top;"
_SIDES = {"<": "text-align:left", ">": "text-align:right;white-space:nowrap"}


# ---- Markdown -------------------------------------------------------------------------------------------


def markdown(page: Page) -> str:
    """Format a page as Markdown in GitHub's dialect."""
    blocks = [f"**{markdown_text(page.title)}**", "  \n".join(map(markdown_text, page.facts))]
    blocks += [_markdown_grid(grid) for grid in page.grids]
    blocks.append("\n".join(f"- {markdown_text(note)}" for note in page.notes))
    return "\n\n".join(filter(None, blocks)) + "\n"


def _markdown_grid(grid: Grid) -> str:
    rule = ["--:" if side == ">" else "---" for side in grid.align]
    lines = [[markdown_text(cell) for cell in row] for row in (grid.head, *grid.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


# ---- HTML -----------------------------------------------------------------------------------------------


def html(page: Page) -> str:
    """Format a page as an HTML fragment."""
    facts = "<br>".join(map(html_text, page.facts))
    notes = "".join(f"<li>{html_text(note)}</li>" for note in page.notes)
    blocks = [
        f'<p style="margin:.3em 0"><strong>{html_text(page.title)}</strong></p>',
        f'<p style="margin:.3em 0">{facts}</p>' if facts else "",
        _svg_bar(page.bar) if page.bar else "",
        *map(_html_grid, page.grids),
        f"<ul>{notes}</ul>" if notes else "",
    ]
    return f'<div class="seedlab">{"".join(blocks)}</div>'


def html_text(text: str) -> str:
    """Escape text, which may contain markup or control characters, for HTML, and isolate its direction."""
    shown = escape(printable(text))
    return shown if shown.isascii() else f"<bdi>{shown}</bdi>"


def _html_grid(grid: Grid) -> str:
    styles = [_CELL + _SIDES[side] for side in grid.align]
    head = _html_row("th", grid.head, styles)
    body = "".join(_html_row("td", row, styles) for row in grid.rows)
    style = "border-collapse:collapse;margin:.5em 0;font-variant-numeric:tabular-nums"
    return f'<table style="{style}"><thead>{head}</thead><tbody>{body}</tbody></table>'


def _html_row(tag: str, cells: Sequence[str], styles: Sequence[str]) -> str:
    spelled = (
        f'<{tag} style="{style}">{html_text(cell)}</{tag}>' for cell, style in zip(cells, styles, strict=True)
    )
    return f"<tr>{''.join(spelled)}</tr>"


def _svg_bar(bar: Bar) -> str:
    """Draw the parts of a whole as a bar, without matplotlib, and below it what each colour means."""
    label = f"{bar.whole}: {', '.join(f'{name} ({percent(share)})' for name, share, _ in bar.parts)}"
    at, drawn = 0.0, []
    for name, share, colour in bar.parts:
        drawn.append(
            f'<rect x="{at:.1f}" width="{share * 640:.1f}" height="16" fill="{escape(colour)}">'
            f"<title>{escape(printable(name))}</title></rect>"
        )
        at += share * 640
    return (
        f'<svg role="img" aria-label="{escape(printable(label))}" viewBox="0 0 640 16"'
        ' preserveAspectRatio="none" style="width:640px;max-width:100%;height:16px;display:block">'
        f"{''.join(drawn)}</svg>"
        f'<p style="margin:.3em 0;font-size:.85em">{" ".join(map(_legend, bar.parts))}</p>'
    )


def _legend(part: tuple[str, float, str]) -> str:
    name, _, colour = part
    box = f"display:inline-block;width:.8em;height:.8em;background:{escape(colour)}"
    return (
        f'<span style="white-space:nowrap;margin-right:1em"><span style="{box}"></span>'
        f" {escape(printable(name))}</span>"
    )
