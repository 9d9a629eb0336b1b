"""Formats the source line of a fault with a caret; values are masked, keys and separators are not."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from seedlab.errors import Fault
from seedlab.insight.formatting.text import printable, width

MASK = "·"
_QUOTED = r'"(?:[^"\\]|\\.)*"?'
_CSV = re.compile(r'"(?:[^"]|"")*"?|[^,"]+')
_TSV = re.compile(r'"(?:[^"]|"")*"?|[^\t"]+')
_JSON = re.compile(rf"({_QUOTED})(\s*:)?|[^\s{{}}\[\],:\"]+")
_YAML_KEY = re.compile(r"""\s*(?:-\s+)*(?:(?:[\w.-]+|"[^"]*"|'[^']*')\s*:(?=\s|$))?""")
_YAML = re.compile(r"[^\s{}\[\],:]+")
_ANYTHING = re.compile(r"\S+")


def excerpt_lines(fault: Fault, *, show_values: bool, cells: int) -> list[str]:
    """Return the source line and below it the caret; empty if the fault has no excerpt."""
    if fault.excerpt is None:
        return []
    text = fault.excerpt if show_values or _is_header(fault) else hidden(fault.excerpt, fault.file or "")
    line = fault.excerpt_line or fault.line
    number = "" if line is None else str(line)
    caret = fault.caret
    text, caret = _window(printable(text), caret, cells - len(number) - 7)
    lines = [f"    {number} | {text}"]
    if caret is not None:
        start, length = caret
        before, below = width(text[:start]), width(text[start : start + length])
        lines.append(f"    {' ' * len(number)} | {' ' * before}{'^' * max(below, 1)}")
    return lines


def hidden(line: str, file: str) -> str:
    """Mask the values of a source line, each character by one dot, so that positions do not change."""
    kind = _kind(file)
    if kind == "csv":
        return _CSV.sub(_mask, line)
    if kind == "tsv":
        return _TSV.sub(_mask, line)
    # A line that was cut may begin inside a string, so its keys and values cannot be distinguished.
    if kind in {"json", "jsonl"} and not line.startswith("…"):
        return _JSON.sub(_mask_unless_key, line)
    if kind in {"yaml", "yml"} and not line.startswith("…"):
        key = _YAML_KEY.match(line)
        start = key.end() if key else 0
        return line[:start] + _YAML.sub(_mask, line[start:])
    return _ANYTHING.sub(_mask, line)


def _mask(match: re.Match[str]) -> str:
    text = match[0]
    if len(text) > 1 and text[0] == text[-1] == '"':
        return f'"{MASK * (len(text) - 2)}"'
    return MASK * len(text)


def _mask_unless_key(match: re.Match[str]) -> str:
    return match[0] if match[2] else _mask(match)


def _kind(file: str) -> str:
    name = file.removesuffix(".gz").removesuffix(".zst")
    return PurePosixPath(name).suffix.removeprefix(".").lower()


def _is_header(fault: Fault) -> bool:
    return fault.line == 1 and _kind(fault.file or "") in {"csv", "tsv"}


def _window(text: str, caret: tuple[int, int] | None, cells: int) -> tuple[str, tuple[int, int] | None]:
    """Cut a long line to the part around the caret; return it and the caret's place in it."""
    cells = max(cells, 20)
    if len(text) <= cells:
        return text, caret
    start, length = caret or (0, 0)
    first = max(0, min(start - cells // 3, len(text) - cells))
    piece = text[first : first + cells]
    if first > 0:
        piece = "…" + piece[1:]
    if first + cells < len(text):
        piece = piece[:-1] + "…"
    if caret is None:
        return piece, None
    moved = max(start - first, 0)
    return piece, (moved, max(min(length, cells - moved), 1))
