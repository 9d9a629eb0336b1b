"""Read files larger than memory in batches, and split them into pieces that can be read independently."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from seedlab.errors import DataFaults, Fault
from seedlab.flow import ROW, SourceFile
from seedlab.frames.files import delimited, documents, opening, sources
from seedlab.frames.files.documents import Records
from seedlab.frames.files.faults import FaultList, clean
from seedlab.frames.files.opening import size_of
from seedlab.frames.files.parquet import refuse_nul
from seedlab.frames.files.sources import POLARS_ERRORS, TYPICAL_RATIO, chunks, damaged

MAX_RECORD_BYTES = 64 << 20  # the limit for a CSV record or a line of JSONL
WIDE = 256  # bytes of text; a longer row counts as several

_BLOCK_CHUNKS = 4  # chunks parsed together, which makes the fixed cost of a block negligible
_PACKED_ROWS = 16  # rows per byte of Parquet that are not exceeded; smaller files need not be opened
_PACKED_TEXT = 200  # characters of text per byte of Parquet, likewise
_SAMPLE_ROWS = 1000
_SLICE_ROWS = 100_000  # Parquet rows decoded at a time; smaller slices of a large row group cost more
_BATCH_BYTES = 32 << 20  # the most bytes of a batch, which therefore has fewer rows when they are wide
_LINES_BYTES = 8 << 20  # the same for JSONL, which takes twenty times as much memory as objects


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a file from `start` up to `stop` (None: the end), in rows for Parquet and else in bytes."""

    start: int = 0
    stop: int | None = None


WHOLE = Piece()


# ---- how large ------------------------------------------------------------------------------------------


def is_large(file: SourceFile, batch_rows: int) -> bool:
    """Estimate whether a file has more rows than a batch, from its size and its first rows.

    Rows longer than WIDE bytes count as several. JSON and YAML are parsed as a whole, so never large.
    """
    if file.format in ("json", "yaml"):
        return False
    size = size_of(file)
    if file.format == "parquet":
        if size * _PACKED_ROWS <= batch_rows:
            return False
        wide = size * _PACKED_TEXT > batch_rows * WIDE
        return _parquet_rows(file) * (max(1, _parquet_width(file) // WIDE) if wide else 1) > batch_rows
    size *= TYPICAL_RATIO if file.compression else 1
    if size < batch_rows * 2:
        return False
    sample = sources.sample(file)
    return max(sample.count(b"\n") * size / max(1, len(sample)), size / WIDE) > batch_rows


def _parquet_rows(file: SourceFile) -> int:
    try:
        return int(sources.open_parquet(file).select(pl.len()).collect().item())
    except POLARS_ERRORS as error:
        raise damaged(file, error) from error


def _parquet_width(file: SourceFile) -> int:
    """Estimate the size of a row as text in bytes, from the first rows."""
    flat = sources.read_parquet(file)
    try:
        sample = flat.part(0, _SAMPLE_ROWS).collect()
    except POLARS_ERRORS as error:
        raise damaged(file, error) from error
    return int(sample.estimated_size()) // max(1, sample.height) + 1


# ---- batches --------------------------------------------------------------------------------------------


def batches(file: SourceFile, batch_rows: int, piece: Piece = WHOLE) -> Iterator[pl.DataFrame | Records]:
    """Read a file in batches of at most `batch_rows` rows, with memory for one batch.

    CSV, TSV and Parquet give frames like those of `collect`, JSONL gives Records; JSON and YAML are one
    batch. ROW counts through all batches. With a `piece` only its rows are read, and rows and lines are
    counted from its start. Raises DataFaults at the end of the file with the faults of all batches; batches
    after the first fault are checked but not returned.
    """
    if file.format in delimited.DELIMITERS:
        yield from _rebatched(_delimited_frames(file, piece), batch_rows)
    elif file.format == "parquet":
        yield from _parquet_batches(file, batch_rows, piece)
    elif file.format == "jsonl":
        yield from _line_batches(file, batch_rows, piece)
    else:
        whole = sources.read(file)
        assert isinstance(whole, Records)
        yield whole


def blocks(file: SourceFile, faults: FaultList, piece: Piece = WHOLE) -> Iterator[tuple[bytes, int]]:
    """Yield blocks of complete records of CSV, TSV or JSONL, checked, with the number of their first line."""
    for data, line in _raw_blocks(file, piece):
        yield clean(data, faults, line=line), line


def _raw_blocks(file: SourceFile, piece: Piece) -> Iterator[tuple[bytes, int]]:
    rest, line = b"", 1
    for more in _gathered(file, piece):
        rest += more
        cut = rest.rfind(b"\n") + 1 if file.format == "jsonl" else delimited.boundary(rest)
        if len(rest) > MAX_RECORD_BYTES and not cut:
            yield _overlong(file, rest, line), line
            return
        if cut:
            yield rest[:cut], line
            line += rest.count(b"\n", 0, cut)
            rest = rest[cut:]
    if rest or line == 1:
        yield rest, line


def _gathered(file: SourceFile, piece: Piece) -> Iterator[bytes]:
    """Read a piece with several chunks joined; the chunks of an archive are small."""
    joined, size = [], 0
    for chunk in chunks(file, piece.start, piece.stop):
        joined.append(chunk)
        size += len(chunk)
        if size >= opening.CHUNK * _BLOCK_CHUNKS:
            yield b"".join(joined)
            joined, size = [], 0
    yield b"".join(joined)


def _overlong(file: SourceFile, rest: bytes, line: int) -> bytes:
    """Return the lines of an endless record, in which the check will find the quote that is not closed."""
    if b"\n" in rest:
        return rest[: rest.rfind(b"\n") + 1]
    message = f"a line is longer than {MAX_RECORD_BYTES:,} bytes"
    raise DataFaults([Fault(rule="too-large", message=message, file=file.name, line=line)])


def _delimited_frames(file: SourceFile, piece: Piece) -> Iterator[pl.DataFrame]:
    faults, delimiter = FaultList(file), delimited.DELIMITERS[file.format]
    columns = _columns(file) if piece.start else ()
    first = 0
    for block, line in blocks(file, faults, piece):
        data = block
        if not columns:
            columns, start = delimited.header(data, delimiter, faults)
            line, data = line + data.count(b"\n", 0, start), data[start:]  # noqa: PLW2901
        frame = _parsed(data, columns, delimiter, faults, line=line, first=first)
        if frame is not None:
            first += frame.height
            yield frame
    faults.check()


def _parsed(
    data: bytes, columns: tuple[str, ...], delimiter: bytes, faults: FaultList, *, line: int, first: int
) -> pl.DataFrame | None:
    """Check and parse a block; None if it or an earlier one has faults."""
    if faults.found or not delimited.is_plain(data, delimiter, len(columns)):
        delimited.check(data, delimiter, len(columns), faults, line=line)
    try:
        return None if faults.found else delimited.scan(data, columns, delimiter, first=first).collect()
    except POLARS_ERRORS as error:  # a record with too many fields in a block that seemed plain
        delimited.check(data, delimiter, len(columns), faults, line=line)
        if not faults.found:
            raise damaged(faults.file, error) from error
        return None


def _columns(file: SourceFile) -> tuple[str, ...]:
    """Read the column names, for a piece that does not contain the header."""
    faults = FaultList(file)
    head, _ = next(blocks(file, faults))
    return delimited.header(head, delimited.DELIMITERS[file.format], faults)[0]


def _rebatched(frames: Iterator[pl.DataFrame], batch_rows: int) -> Iterator[pl.DataFrame]:
    waiting: list[pl.DataFrame] = []
    rows, held = 0, 0.0
    for frame in frames:
        waiting.append(frame)
        rows, held = rows + frame.height, held + frame.estimated_size()
        if rows >= batch_rows or held >= _BATCH_BYTES:
            whole = pl.concat(waiting)
            several = -(-int(held) // _BATCH_BYTES)
            size = min(batch_rows, max(1, rows // several))
            full = rows // size * size
            yield from whole.head(full).iter_slices(size)
            waiting, rows = [whole.slice(full)], rows - full
            held = waiting[0].estimated_size() if rows else 0
    if rows:
        yield pl.concat(waiting)


def _parquet_batches(file: SourceFile, batch_rows: int, piece: Piece) -> Iterator[pl.DataFrame]:
    """Read slice by slice, for each of which polars decodes only the pages that it needs.

    polars' own `collect_batches` decodes far ahead: for 10 million narrow rows it took 600 MB, this takes 60.
    """
    flat = sources.read_parquet(file)
    stop = _parquet_rows(file) if piece.stop is None else piece.stop
    size = min(max(batch_rows, _SLICE_ROWS), max(_SAMPLE_ROWS, _BATCH_BYTES // _parquet_width(file)))
    try:
        for start in range(piece.start, stop, size):
            frame = flat.part(start, min(size, stop - start)).collect()
            refuse_nul([(file, frame, flat.texts)])
            frame = frame.with_columns(pl.col(ROW) - piece.start) if piece.start else frame
            yield from frame.iter_slices(batch_rows)
    except POLARS_ERRORS as error:
        raise damaged(file, error) from error


def _line_batches(file: SourceFile, batch_rows: int, piece: Piece) -> Iterator[Records]:
    faults = FaultList(file)
    waiting: list[dict[str, Any]] = []
    first, held = 0, 0
    for data, line in blocks(file, faults, piece):
        waiting += documents.parse_lines(data.decode(errors="replace"), faults, line=line).records
        held += len(data)
        while len(waiting) >= batch_rows and not faults.found:
            yield Records(file=file, records=waiting[:batch_rows], first=first)
            waiting, first, held = waiting[batch_rows:], first + batch_rows, 0
        if faults.found:
            waiting = []  # from now on lines are only checked
        elif held >= _LINES_BYTES:
            yield Records(file=file, records=waiting, first=first)
            waiting, first, held = [], first + len(waiting), 0
    faults.check()
    if waiting:
        yield Records(file=file, records=waiting, first=first)


# ---- pieces ---------------------------------------------------------------------------------------------


def pieces(file: SourceFile, rows: int) -> list[Piece]:
    """Split a file into pieces of about `rows` rows each.

    Together the pieces have every row once. Archives, JSON and YAML are one piece. Cost: for Parquet reading
    the footer. A text file is searched once for quotes and newlines (a few GB per second), because only all
    quotes before it tell whether a newline ends a CSV record.
    """
    if file.compression or file.format in ("json", "yaml"):
        return [WHOLE]
    if file.format == "parquet":
        height = _parquet_rows(file)
        return [Piece(start=start, stop=min(start + rows, height)) for start in range(0, height, rows)]
    sample = sources.sample(file)
    ends = list(_ends(file, max(1, len(sample) * rows // max(1, sample.count(b"\n")))))
    return [Piece(start=start, stop=stop) for start, stop in zip((0, *ends), ends, strict=False)]


def _ends(file: SourceFile, size: int) -> Iterator[int]:
    """Yield ends of records that are at least `size` bytes apart, and the end of the file."""
    quoting, odd = file.format != "jsonl", 0
    position, wanted = 0, size
    for chunk in chunks(file):
        counted = 0
        while wanted < position + len(chunk):
            end = chunk.find(b"\n", max(0, wanted - position)) + 1
            if not end:
                break
            odd = (odd + chunk.count(b'"', counted, end)) % 2 if quoting else 0
            counted = end
            if odd:  # the newline is inside a quoted field
                wanted = position + end
                continue
            yield position + end
            wanted = position + end + size
        odd = (odd + chunk.count(b'"', counted)) % 2 if quoting else 0
        position += len(chunk)
        wanted = max(wanted, position)
    yield position
