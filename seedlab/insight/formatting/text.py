"""Formats text for a terminal: display widths, aligned tables, control characters, numbers and units."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_MARKDOWN = re.compile(r"([\\`*_\[\]#|~$])")
_LEFT_TO_RIGHT = "\u200e"
_ZERO_WIDTH = frozenset({"Mn", "Me", "Cf"})
_GAP = "  "  # between the columns of a table
_LEAST = 12  # the least width of the flexible column, in cells
_LEAST_OF_OTHERS = 16  # the least width of other columns, enough for a date and time


def printable(text: str) -> str:
    """Replace each control character by a visible one; the length does not change."""
    return _CONTROL.sub(_picture, text)


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code == 0x09:
        return "⇥"
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else "\ufffd"


def markdown_text(text: str) -> str:
    """Escape text for one line of Markdown, in which nothing of it is markup or HTML."""
    from html import escape  # not needed by a seed

    return _MARKDOWN.sub(r"\\\1", escape(printable(text), quote=False))


def width(text: str) -> int:
    """Count the terminal cells of a text: 2 for a wide character, 0 for a combining one."""
    if text.isascii():
        return len(text)
    return sum(map(_cells, text))


def _cells(character: str) -> int:
    if unicodedata.category(character) in _ZERO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shorten(text: str, cells: int) -> str:
    """Cut a text to a number of cells, the last of which is then an ellipsis."""
    if width(text) <= cells:
        return text
    kept, used = [], 1
    for character in text:
        used += _cells(character)
        if used > cells:
            break
        kept.append(character)
    return "".join(kept).rstrip() + "…"


def listed(parts: Sequence[str], cells: int) -> list[str]:
    """Join parts with commas, and break the lines between parts."""
    lines: list[str] = []
    for part in parts:
        if lines and width(lines[-1]) + len(", ,") + width(part) <= cells:
            lines[-1] += f", {part}"
        else:
            lines = [*lines[:-1], f"{lines[-1]},", part] if lines else [part]
    return lines


def wrapped(text: str, cells: int, indent: str = "") -> list[str]:
    """Break a text into lines between words; `indent` begins each line."""
    from textwrap import TextWrapper  # not needed by a run with nothing to do

    wrapper = TextWrapper(cells, indent, indent, break_long_words=False, break_on_hyphens=False)
    return wrapper.wrap(text)


def paragraphs(blocks: Iterable[Sequence[str]]) -> str:
    """Join blocks of lines, with an empty line between them; empty blocks are left out."""
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def isolate(text: str) -> str:
    """End right-to-left text with a mark, so that a number in the next column is displayed there."""
    rtl = any(unicodedata.bidirectional(character) in {"R", "AL"} for character in text)
    return text + _LEFT_TO_RIGHT if rtl else text


def table(
    rows: Sequence[Sequence[str]],
    align: str,
    *,
    cells: int,
    flexible: int,
    spare: Sequence[int] = (),
    whole: Sequence[int] = (),
) -> list[str]:
    """Format rows as a table of at most `cells` cells, if possible; `align` has `<` or `>` for each column.

    If the table is too wide, columns in `spare` are left out, in their order, as far as necessary. Then the
    `flexible` column is cut, but not below 12 cells, and then the widest others, but not below 16. Columns in
    `whole` are never cut.
    """
    if not rows:
        return []
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    shown = [*range(len(widths))]
    over = sum(widths) + len(_GAP) * (len(widths) - 1) - cells
    flexible = shown[flexible]
    for n in spare:
        if over > (max(widths[flexible] - _LEAST, 0) if flexible in shown else 0):
            shown.remove(n)
            over -= widths[n] + len(_GAP)
    over = _give_way(widths, [n for n in shown if n == flexible], over, _LEAST)
    _give_way(widths, [n for n in shown if align[n] == "<" and n not in whole], over, _LEAST_OF_OTHERS)
    return [_line([(row[n], widths[n], align[n]) for n in shown]) for row in rows]


def _give_way(widths: list[int], texts: Sequence[int], cells: int, least: int) -> int:
    """Narrow the widest of these columns, cell by cell; return how many cells are still too many."""
    while cells > 0 and texts and widths[widest := max(texts, key=widths.__getitem__)] > least:
        widths[widest] -= 1
        cells -= 1
    return cells


def _line(cells: Sequence[tuple[str, int, str]]) -> str:
    padded = [_pad(isolate(shorten(text, width)), width, side) for text, width, side in cells]
    return _GAP.join(padded).rstrip()


def _pad(text: str, cells: int, side: str) -> str:
    space = " " * (cells - width(text))
    return text + space if side == "<" else space + text


def duration(seconds: float) -> str:
    """Format seconds in a suitable unit."""
    if seconds >= 59.995:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest:02} s"
    if seconds >= 0.9995:
        return f"{seconds:.2f} s"
    if 0 < seconds < 1e-4:
        return f"{seconds * 1e6:.0f} µs"
    milliseconds = seconds * 1000
    return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"


def roughly(seconds: float) -> str:
    """Format seconds that are still changing: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left:02} min" if hours else f"{minutes} min {rest:02} s"


def size(count: int) -> str:
    """Format a number of bytes in a suitable decimal unit."""
    value, units = float(count), ["B", "kB", "MB", "GB"]
    while round(value) >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} {units[0]}" if units[0] == "B" or value >= 100 else f"{value:.1f} {units[0]}"


def significant(number: float) -> str:
    """Format a positive number with two significant digits, a large one as a whole number: `0.79`, `120`."""
    return f"{float(f'{number:.2g}'):,.0f}" if number >= 10 else f"{number:.2g}"


def several(count: int, noun: str) -> str:
    """Format a count with its noun: `1 row`, `2,000 rows`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def percent(share: float) -> str:
    """Format a share as a percentage."""
    return f"{share * 100:.0f} %" if share >= 0.01 or not share else "under 1 %"


def moment(time: str) -> str:
    """Format an ISO time to the second."""
    return time[:19].replace("T", " ")
