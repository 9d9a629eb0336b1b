"""Write reject files: the records of a source that were not written, each with its line and the reason.

A reject file has the format of its source, with unchanged values, types and spellings of numbers, so that it
can be corrected and seeded: readers ignore its two extra columns (NOTES).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from seedlab.flow import LINE, NOTES, REASON, ROW, SourceFile
from seedlab.frames.files import delimited, large, sources
from seedlab.frames.files.documents import Number
from seedlab.frames.files.faults import FaultList
from seedlab.frames.files.flatten import dumps
from seedlab.frames.files.outputs import packed, write_private
from seedlab.frames.files.trees import Plain

# Per rejected record: its ordinal in the source, its physical line (Parquet: row), and the reason.
REJECTED = pl.Schema({ROW: pl.UInt32, LINE: pl.UInt32, REASON: pl.String})

_BATCH_ROWS = 50_000
_ADDED = (REASON, LINE)


class _Note(NamedTuple):
    reason: str
    line: int


def write(file: SourceFile, rejected: pl.DataFrame, folder: Path) -> Path:
    """Write the records of `file` that are in `rejected` (REJECTED), in their order; return the new file.

    It is named like the source, relative to `folder`. Reads the source again, in blocks if possible.
    """
    if file.format == "parquet":
        data = _parquet(file, rejected)
    else:
        rows, lines, reasons = (rejected.get_column(name).to_list() for name in (ROW, LINE, REASON))
        notes = dict(zip(rows, map(_Note, reasons, lines), strict=True))
        data = _delimited(file, notes) if file.format in delimited.DELIMITERS else _documents(file, notes)
    path = folder / file.name
    write_private(path, packed(data, file.compression))
    return path


# ---- CSV and TSV ----------------------------------------------------------------------------------------


def _delimited(file: SourceFile, notes: Mapping[int, _Note]) -> bytes:
    """Copy records with fields spelled as in the source, quotes included."""
    delimiter, faults = delimited.DELIMITERS[file.format], FaultList(file)
    pieces: list[bytes] = []
    old: frozenset[int] = frozenset()
    row = -1
    for block, _ in large.blocks(file, faults):
        for start, end, _ in delimited.records(block, delimiter):
            if row < 0:
                names, _ = delimited.header(block, delimiter, faults)
                old = frozenset(n for n, name in enumerate(names) if name in NOTES)
                pieces.append(_extended(block[start:end], delimiter, old, *map(str.encode, _ADDED)))
            elif row in notes:
                reason = b'"%b"' % notes[row].reason.replace('"', '""').encode()
                line = str(notes[row].line).encode()
                pieces.append(_extended(block[start:end], delimiter, old, reason, line))
            row += 1
    return b"".join(pieces)


def _extended(record: bytes, delimiter: bytes, without: frozenset[int], *added: bytes) -> bytes:
    """Append fields to a record, and remove those (by position) that an earlier reject file had added."""
    body = record.removesuffix(b"\n").removesuffix(b"\r")
    if without:
        spans = enumerate(delimited.spans(body, delimiter))
        body = delimiter.join(body[start:end] for n, (start, end) in spans if n not in without)
    return delimiter.join([body, *added]) + (record[len(record.rstrip(b"\r\n")) :] or b"\n")


# ---- JSON, JSONL and YAML -------------------------------------------------------------------------------


def _documents(file: SourceFile, notes: Mapping[int, _Note]) -> bytes:
    records, single = [], False
    for batch in large.batches(file, _BATCH_ROWS):
        assert not isinstance(batch, pl.DataFrame)
        single = batch.single
        numbered = enumerate(batch.records, batch.first)
        records += [_noted(record, notes[row], file) for row, record in numbered if row in notes]
    if file.format == "yaml":
        return _yaml(records[0] if single else records)
    if file.format == "jsonl":
        return "".join(f"{dumps(record)}\n" for record in records).encode()
    if single:
        return f"{dumps(records[0])}\n".encode()
    return "[\n{}\n]\n".format(",\n".join(map(dumps, records))).encode()


def _noted(record: dict[str, Any], note: _Note, file: SourceFile) -> dict[str, Any]:
    line = Plain(note.line) if file.format == "yaml" else Number(note.line)
    return {**record, REASON: note.reason, LINE: line}


def _yaml(value: object) -> bytes:
    import yaml  # takes 15 ms, which projects without YAML should not pay

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    # The width is so large that no text is folded.
    text: str = yaml.emit(_events(value), Dumper=dumper, allow_unicode=True, width=1 << 30)
    return text.encode()


def _events(value: object) -> Iterator[Any]:
    from yaml import events

    yield events.StreamStartEvent()
    yield events.DocumentStartEvent(explicit=False)
    yield from _value_events(value)
    yield events.DocumentEndEvent(explicit=False)
    yield events.StreamEndEvent()


def _value_events(value: object) -> Iterator[Any]:
    """Quote text, but leave plain scalars plain: for a json column the two differ."""
    from yaml import events

    if isinstance(value, dict):
        yield events.MappingStartEvent(None, None, implicit=True, flow_style=not value)
        for key, each in value.items():
            plain = key != "<<"  # without quotes it would be a merge key
            yield events.ScalarEvent(None, None, (plain, True), key, style=None if plain else '"')
            yield from _value_events(each)
        yield events.MappingEndEvent()
    elif isinstance(value, list):
        yield events.SequenceStartEvent(None, None, implicit=True, flow_style=not value)
        for each in value:
            yield from _value_events(each)
        yield events.SequenceEndEvent()
    elif value is None or isinstance(value, Plain):
        yield events.ScalarEvent(None, None, (True, False), "null" if value is None else str(value))
    else:
        yield events.ScalarEvent(None, None, (False, True), str(value), style='"')


# ---- Parquet --------------------------------------------------------------------------------------------


def _parquet(file: SourceFile, rejected: pl.DataFrame) -> bytes:
    rows = rejected.get_column(ROW).implode()
    scan = sources.open_parquet(file)
    lazy = scan.drop([name for name in scan.collect_schema().names() if name in NOTES])
    found = lazy.with_row_index(ROW).filter(pl.col(ROW).is_in(rows)).collect()
    noted = (
        found.join(rejected, on=ROW, how="left", maintain_order="left")
        .drop(ROW)
        .select(pl.exclude(NOTES), *_ADDED)
    )
    stream = io.BytesIO()
    noted.write_parquet(stream)
    return stream.getvalue()
