"""Parts of large files that can be read by themselves: byte ranges of CSV, TSV and JSONL, rows of Parquet.

A range begins and ends where a record does. To know where a CSV record ends all quotes before it must have
been counted, so whoever cuts a CSV file goes once through its bytes (a few GB a second); nothing is parsed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from seedlab.flow import NOTES, ROW, SourceFile
from seedlab.frames import delimited, documents, sources
from seedlab.frames.documents import Records
from seedlab.frames.faults import FaultList, clean
from seedlab.frames.opening import CHUNK, opened
from seedlab.frames.parquet import as_text, check_schema, refuse_nul

_SAMPLE = 1 << 20  # bytes in which the header lies, and by which the rows of a text file are estimated


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Bytes (of Parquet: rows) from `start` up to `stop`; a file that cannot be cut has no `stop`."""

    start: int = 0
    stop: int | None = None


WHOLE = Span()


def spans(file: SourceFile, rows: int) -> list[Span]:
    """Cut a file into parts of about so many rows. Archives, JSON and YAML stay whole."""
    if file.format == "parquet" and file.compression is None:
        height = int(sources.open_parquet(file).select(pl.len()).collect().item())
        return [Span(start=start, stop=min(start + rows, height)) for start in range(0, height, rows)]
    if file.compression is not None or file.format not in ("csv", "tsv", "jsonl"):
        return [WHOLE]
    with opened(file) as stream:
        sample = stream.read(_SAMPLE)
    size = max(1, len(sample) * rows // max(1, sample.count(b"\n")))
    ends = list(_ends(file, size))
    return [Span(start=start, stop=stop) for start, stop in zip((0, *ends), ends, strict=False)]


def _ends(file: SourceFile, size: int) -> Iterator[int]:
    """Ends of records, each the first at least `size` bytes behind the one before; at last the file's."""
    quoting, odd = file.format != "jsonl", 0
    position, wanted = 0, size
    with opened(file) as stream:
        while chunk := stream.read(CHUNK):
            counted = 0
            while wanted < position + len(chunk):
                end = chunk.find(b"\n", max(0, wanted - position)) + 1
                if not end:
                    break
                odd = (odd + chunk.count(b'"', counted, end)) % 2 if quoting else 0
                counted = end
                if odd:  # inside of a field
                    wanted = position + end
                    continue
                yield position + end
                wanted = position + end + size
            odd = (odd + chunk.count(b'"', counted)) % 2 if quoting else 0
            position += len(chunk)
            wanted = max(wanted, position)
    yield position


def batches(file: SourceFile, span: Span, batch_rows: int) -> Iterator[pl.DataFrame | Records]:
    """Read a part as `sources.batches` reads a file: at once, or a file that was not cut batch by batch.

    ROW counts from the part's own first row, and so do the lines of DataFaults, which this raises.
    """
    if span.stop is None:
        yield from sources.batches(file, batch_rows)
    elif file.format == "parquet":
        yield _rows(file, span.start, span.stop)
    elif file.format == "jsonl":
        yield _lines(file, span.start, span.stop)
    else:
        yield _records(file, span.start, span.stop)


def _rows(file: SourceFile, start: int, stop: int) -> pl.DataFrame:
    """Rows of Parquet as text; groups of rows that lie outside are not read."""
    lazy = sources.open_parquet(file).slice(start, stop - start)
    schema = pl.Schema((n, t) for n, t in lazy.collect_schema().items() if n not in NOTES)
    check_schema(file, schema)
    texts = [as_text(pl.col(name), dtype).alias(name) for name, dtype in schema.items()]
    frame = lazy.select(texts).with_row_index(ROW).collect()
    refuse_nul(file, frame)
    return frame


def _lines(file: SourceFile, start: int, stop: int) -> Records:
    faults = FaultList(file)
    records = documents.parse_lines(_clean(file, start, stop, faults).decode(errors="replace"), faults)
    faults.check()
    return records


def _records(file: SourceFile, start: int, stop: int) -> pl.DataFrame:
    faults, delimiter = FaultList(file), delimited.DELIMITERS[file.format]
    with opened(file) as stream:
        head = clean(stream.read(_SAMPLE), faults)
    columns, behind = delimited.header(head, delimiter, faults)
    data = _clean(file, start, stop, faults)
    data = data if start else data[behind:]
    delimited.check(data, delimiter, len(columns), faults, line=1)
    faults.check()
    return delimited.scan(data, columns, delimiter).collect()


def _clean(file: SourceFile, start: int, stop: int, faults: FaultList) -> bytes:
    with opened(file) as stream:
        stream.seek(start)
        return clean(stream.read(stop - start), faults)
