"""Check and parse CSV and TSV files.

The polars reader pads short records with NULL, renames repeated columns and reads a blank line as a row, so
every record is matched here first. The grammar is RFC 4180: a field is either entirely quoted, with quotes
doubled, or contains no quote. One regular expression runs over the whole file (about 8 ms per MB).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import polars as pl

from seedlab.flow import NOTES, RESERVED, ROW
from seedlab.frames.batcher import cut
from seedlab.frames.files.faults import FaultList

SMALL_BYTES = 1 << 16
DELIMITERS = {"csv": b",", "tsv": b"\t"}
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}

_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+"'
_END = rb"(?:\r?\n|\Z)"
_BLANK_LINES = (b"\n", b"\r\n")
_BLANKS = re.compile(rb"(?:\r?\n)*+")


class Record(NamedTuple):
    """The position of a record in the data, and the physical line in which it begins."""

    start: int
    end: int
    line: int


def _field(delimiter: bytes) -> bytes:
    return rb'(?:%b|[^"\r\n%b]*+)' % (_QUOTED, delimiter)


@lru_cache(maxsize=64)
def _whole(delimiter: bytes, fields: int) -> re.Pattern[bytes]:
    """Make a pattern that matches valid records of `fields` fields, and blank lines, up to an error."""
    field = _field(delimiter)
    return re.compile(rb"(?:\r?\n|%b(?:%b%b){%d}%b)*+" % (field, delimiter, field, fields - 1, _END))


@lru_cache(maxsize=2)
def _record(delimiter: bytes) -> re.Pattern[bytes]:
    field = _field(delimiter)
    return re.compile(rb"%b(?:%b%b)*+" % (field, delimiter, field))


@lru_cache(maxsize=2)
def _ended(delimiter: bytes) -> re.Pattern[bytes]:
    return re.compile(_record(delimiter).pattern + _END)


@lru_cache(maxsize=2)
def _one_field(delimiter: bytes) -> re.Pattern[bytes]:
    return re.compile(_field(delimiter))


_RECORD_END = re.compile(_END)


def header(data: bytes, delimiter: bytes, faults: FaultList) -> tuple[tuple[str, ...], int]:
    """Return the column names, and the offset at which the records begin.

    Raises DataFaults when the header is missing or invalid.
    """
    before = faults.count
    start = _BLANKS.match(data).end()  # type: ignore[union-attr]  # always matches, if only the empty text
    match = _record(delimiter).match(data, start)
    end = _RECORD_END.match(data, match.end()) if match else None
    line = 1 + data.count(b"\n", 0, start)
    if start == len(data):
        faults.add("syntax", "expected a header line with the column names, found an empty file", line=1)
    elif match is None or end is None:
        _report_invalid(data, start, line, delimiter, faults)
    faults.check(beyond=before)
    assert match is not None
    assert end is not None
    names = tuple(_unquoted(match[0][a:b]) for a, b in spans(match[0], delimiter))
    _check_names(names, delimiter, line, _line_at(data, start), faults)
    faults.check(beyond=before)
    return names, end.end()


def check(data: bytes, delimiter: bytes, fields: int, faults: FaultList, *, line: int) -> None:
    """Report every record that does not have `fields` fields; `line` is the number of the first line."""
    whole = _whole(delimiter, fields)
    counted = position = 0
    while (stop := whole.match(data, position).end()) < len(data):  # type: ignore[union-attr]
        line += data.count(b"\n", counted, stop)
        counted = stop
        match = _record(delimiter).match(data, stop)
        end = _RECORD_END.match(data, match.end()) if match else None
        if match is not None and end is not None:
            _count_fields(data, match, line, delimiter, fields, faults)
            position = end.end()
        else:
            position = _report_invalid(data, stop, line, delimiter, faults)


def is_plain(data: bytes, delimiter: bytes, fields: int) -> bool:
    """Tell quickly whether data has no quotes, no blank lines, and the right number of fields in total.

    Then a record with too few fields implies one with too many, which polars refuses. So such data needs no
    `check` unless polars fails.
    """
    if b'"' in data or _has_blanks(data) or data.count(b"\r") != data.count(b"\r\n"):
        return False
    lines = data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
    return data.count(delimiter) == lines * (fields - 1)


def _has_blanks(data: bytes) -> bool:
    return data.startswith(_BLANK_LINES) or b"\n\n" in data or b"\n\r\n" in data


def records(data: bytes, delimiter: bytes, *, line: int = 1) -> Iterator[Record]:
    """Yield the records of checked data, without blank lines."""
    position = 0
    for match in _ended(delimiter).finditer(data):
        start, end = match.span()
        if start != position or start == end:
            return
        if match[0] not in _BLANK_LINES:
            yield Record(start, end, line)
        line += data.count(b"\n", start, end)
        position = end


def scan(data: bytes, columns: tuple[str, ...], delimiter: bytes, *, first: int = 0) -> pl.LazyFrame:
    """Parse checked data without its header into text columns, and ROW, which starts at `first`.

    The extra columns of reject files (NOTES) are dropped.
    """
    lazy = pl.scan_csv(
        _with_bom_kept(_without_blank_lines(data, delimiter)),
        has_header=False,
        separator=delimiter.decode(),
        schema=dict.fromkeys(columns, pl.String),
        infer_schema=False,
        raise_if_empty=False,
        row_index_name=ROW,
        row_index_offset=first,
        glob=False,
    )
    notes = [name for name in columns if name in NOTES]
    return lazy.drop(notes) if notes else lazy


def is_countable(data: bytes, columns: tuple[str, ...]) -> bool:
    """Tell whether checked data is small, and has a record in each line that is not blank."""
    return len(data) < SMALL_BYTES and b'"' not in data and NOTES.isdisjoint(columns)


def parse(data: Sequence[bytes], columns: Sequence[tuple[str, ...]], delimiter: bytes) -> list[pl.DataFrame]:
    """Parse countable data of several files with equally many columns, as `scan` does, but all in one go.

    For small files the fixed cost per file is all of it.
    """
    lines = [_without_blank_lines(each, delimiter) for each in data]
    lines = [each if each.endswith(b"\n") or not each else each + b"\n" for each in lines]
    names = [str(n) for n in range(len(columns[0]))]
    whole = scan(b"".join(lines), tuple(names), delimiter).collect()
    frames = []
    for part, own in zip(cut(whole, [each.count(b"\n") for each in lines]), columns, strict=True):
        numbers = whole.get_column(ROW).slice(0, part.height)
        values = [part.get_column(name).alias(given) for name, given in zip(names, own, strict=True)]
        frames.append(pl.DataFrame([numbers, *values]))
    return frames


def without_notes(columns: tuple[str, ...]) -> tuple[str, ...]:
    """Drop the names of the extra columns of reject files."""
    return tuple(name for name in columns if name not in NOTES)


def boundary(data: bytes) -> int:
    """Find the end of the last complete record: the last newline after an even number of quotes."""
    end = data.rfind(b"\n") + 1
    odd = data.count(b'"', 0, end) % 2
    while end and odd:
        previous = data.rfind(b"\n", 0, end - 1) + 1
        odd = (odd + data.count(b'"', previous, end)) % 2
        end = previous
    return end


def spans(record: bytes, delimiter: bytes) -> list[tuple[int, int]]:
    """Return start and end of each field of a record, quotes included."""
    position, found, field = 0, [], _one_field(delimiter)
    while True:
        match = field.match(record, position)
        end = match.end() if match else position
        found.append((position, end))
        if record[end : end + 1] != delimiter:
            return found
        position = end + 1


def _with_bom_kept(data: bytes) -> bytes:
    """Protect a U+FEFF with which the first value begins: polars skips one at the start of what it reads."""
    return codecs.BOM_UTF8 + data if data.startswith(codecs.BOM_UTF8) else data


def _without_blank_lines(data: bytes, delimiter: bytes) -> bytes:
    # Not a regular expression, which would take three times as long as the check of the whole file.
    if not _has_blanks(data):
        return data
    return b"".join(data[start:end] for start, end, _ in records(data, delimiter))


def _unquoted(field: bytes) -> str:
    text = field.decode(errors="replace")
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def _check_names(names: tuple[str, ...], delimiter: bytes, line: int, text: str, faults: FaultList) -> None:
    expected = _SEPARATORS[delimiter.decode()]
    for separator, found in _SEPARATORS.items():
        if len(names) == 1 and separator in names[0] and not text.startswith('"'):
            message = (
                f"expected {expected} between the columns, found {found}; save the file with commas as .csv, "
                "or with tabs as .tsv"
            )
            faults.add("syntax", message, line=line, text=text, caret=(text.index(separator), 1))
            return
    for index, name in enumerate(names, 1):
        if not name:
            faults.add("syntax", f"column {index} of the header has no name", line=line, text=text)
        elif name in RESERVED:
            message = f"column '{name}' has a name that seedlab reserves; rename it"
            faults.add("syntax", message, line=line, text=text)
    for name in dict.fromkeys(name for name in names if name and names.count(name) > 1):
        message = f"column '{name}' is named {names.count(name)} times in the header"
        faults.add("syntax", message, line=line, text=text)


def _count_fields(
    data: bytes, match: re.Match[bytes], line: int, delimiter: bytes, fields: int, faults: FaultList
) -> None:
    text, found = _line_at(data, match.start()), spans(match[0], delimiter)
    caret = (len(text), 1)
    if len(found) > fields:
        surplus = len(match[0][: found[fields][0]].decode(errors="replace"))
        caret = (min(surplus, len(text)), max(1, len(text) - surplus))
    message = f"expected {_fields(fields)}, found {len(found)}"
    faults.add("field-count", message, line=line, text=text, caret=caret)


def _fields(count: int) -> str:
    return "1 field" if count == 1 else f"{count} fields"


def _report_invalid(data: bytes, start: int, line: int, delimiter: bytes, faults: FaultList) -> int:
    """Report why the record at `start` is invalid; return the start of the next line."""
    match = _record(delimiter).match(data, start)
    stop = match.end() if match else start
    at = line + data.count(b"\n", start, stop)
    first = data.rfind(b"\n", 0, stop) + 1
    caret = (len(data[first:stop].decode(errors="replace")), 1)
    reason = _reason(data, stop, delimiter)
    if at > line and data[stop - 1 : stop] == b'"':
        reason += f"; the record begins in line {line}: perhaps a quote is not closed there"
    faults.add("syntax", reason, line=at, text=_line_at(data, stop), caret=caret)
    return data.find(b"\n", stop) + 1 or len(data)


def _reason(data: bytes, stop: int, delimiter: bytes) -> str:
    before, found = data[stop - 1 : stop] if stop else b"", data[stop : stop + 1]
    if before == b'"':
        return "found text after a closing quote; a quote inside a quoted field is written twice"
    if found == b"\r":
        return "found a carriage return without a line feed; end lines with LF or CRLF, or quote the field"
    if before in (b"", b"\n", delimiter):
        return "a quote is opened here and never closed"
    return "found a quote inside an unquoted field; put the field in quotes and write its quotes twice"


def _line_at(data: bytes, position: int) -> str:
    first, last = data.rfind(b"\n", 0, position) + 1, data.find(b"\n", position)
    line = data[first : last if last >= 0 else len(data)]
    return line.decode(errors="replace").removesuffix("\r")
