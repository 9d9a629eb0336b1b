"""Read data files of every format into frames of text.

No types are guessed: every value is the text that the file holds. A file's bytes are checked before they are
parsed, and all faults of a file are raised together.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import polars as pl

from seedlab.errors import DataFaults, Fault
from seedlab.flow import NOTES, ROW, SourceFile
from seedlab.frames.batcher import collect_all
from seedlab.frames.files import delimited, documents, opening
from seedlab.frames.files.archives import unpack
from seedlab.frames.files.documents import Records
from seedlab.frames.files.faults import FaultList, clean
from seedlab.frames.files.opening import opened, size_of
from seedlab.frames.files.parquet import as_text, check_schema, refuse_nul

WHOLE_BYTES = 64 << 20  # larger CSV and TSV files are read only when their rows are collected
MAX_DOCUMENT_BYTES = 256 << 20  # the limit for JSON and YAML, which are parsed as a whole

TYPICAL_RATIO = 5  # typical compression ratio of text, for estimates
# A damaged Parquet file can make polars panic, which is a BaseException.
POLARS_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
_TEXTS = pl.String | pl.Categorical | pl.Enum
_Key = TypeVar("_Key", bound=Hashable)


def _no_part(_start: int, _rows: int) -> pl.LazyFrame:
    raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flat:
    """A table-shaped file: CSV, TSV or Parquet.

    `columns` are in file order. `scan` returns these columns as text, and ROW; Parquet's lists and structs
    keep their type. For a large CSV or TSV file it reads and checks the file. For Parquet, `texts` names the
    columns that are stored as text, and `part(start, rows)` scans a range of rows. `records` are those of a
    CSV or TSV file that can be parsed together with others.
    """

    file: SourceFile
    columns: tuple[str, ...]
    scan: Callable[[], pl.LazyFrame] = field(repr=False)
    texts: frozenset[str] = frozenset()
    part: Callable[[int, int], pl.LazyFrame] = field(default=_no_part, repr=False)
    records: bytes | None = field(default=None, repr=False)


# ---- bytes ----------------------------------------------------------------------------------------------


def read_bytes(file: SourceFile) -> bytes:
    """Read and decompress the whole file; raises DataFaults for broken or too large archives."""
    return b"".join(chunks(file))


def chunks(file: SourceFile, start: int = 0, stop: int | None = None) -> Generator[bytes]:
    """Read the file, decompressed, about a megabyte at a time.

    `start` and `stop` select a range of bytes of a file that is not compressed.
    """
    with opened(file) as stream:
        if file.compression is None:
            stream.seek(start)
            left = (sys.maxsize if stop is None else stop) - start
            while chunk := stream.read(min(opening.CHUNK, left)):
                left -= len(chunk)
                yield chunk
        else:
            yield from unpack(file, stream, packed=os.fstat(stream.fileno()).st_size)


def sample(file: SourceFile) -> bytes:
    """Read and decompress about the first megabyte of the file."""
    head = b""
    with closing(chunks(file)) as pieces:  # the pieces of an archive are small, and the first may be empty
        while len(head) < opening.CHUNK and (more := next(pieces, None)) is not None:
            head += more
    return head


def _one_fault(file: SourceFile, rule: str, message: str, *, value: str | None = None) -> DataFaults:
    return DataFaults([Fault(rule=rule, message=message, file=file.name, value=value)])


# ---- whole files ----------------------------------------------------------------------------------------


def read(file: SourceFile) -> Flat | Records:
    """Read and check a file; raises DataFaults with all faults found before or while parsing.

    Of CSV and TSV files larger than WHOLE_BYTES only the header is read here, and the rest by `scan`.
    """
    if file.format in delimited.DELIMITERS:
        return _read_delimited(file)
    if file.format == "parquet":
        return read_parquet(file)
    faults = FaultList(file)
    text = _document(file, faults)
    parse = {"json": documents.parse_json, "jsonl": documents.parse_lines, "yaml": documents.parse_yaml}
    records = parse[file.format](text, faults)
    faults.check()
    return records


def collect(flats: Mapping[_Key, Flat]) -> dict[_Key, pl.DataFrame]:
    """Collect the rows of all these files at once; raises DataFaults for files that polars cannot parse."""
    frames = _parsed_together(flats)
    left = {key: flat for key, flat in flats.items() if key not in frames}
    lazies = [flat.scan() for flat in left.values()]
    try:
        frames |= zip(left, collect_all(lazies), strict=True)
    except POLARS_ERRORS:
        frames |= zip(left, _collect_one_by_one(left.values(), lazies), strict=True)
    refuse_nul((flat.file, frames[key], flat.texts) for key, flat in flats.items())
    return {key: frames[key] for key in flats}


def _parsed_together(flats: Mapping[_Key, Flat]) -> dict[_Key, pl.DataFrame]:
    """Parse the small CSV and TSV files, together those of one format with equally many columns."""
    groups: dict[tuple[str, int], list[_Key]] = {}
    for key, flat in flats.items():
        if flat.records is not None:
            groups.setdefault((flat.file.format, len(flat.columns)), []).append(key)
    frames: dict[_Key, pl.DataFrame] = {}
    for (form, _), keys in groups.items():
        records = [flats[key].records or b"" for key in keys]
        columns = [flats[key].columns for key in keys]
        frames |= zip(keys, delimited.parse(records, columns, delimited.DELIMITERS[form]), strict=True)
    return frames


def _collect_one_by_one(flats: Iterable[Flat], lazies: Iterable[pl.LazyFrame]) -> Iterator[pl.DataFrame]:
    """Collect the files one by one after collecting them together failed; raise the faults of all."""
    faults: list[Fault] = []
    for flat, lazy in zip(flats, lazies, strict=True):
        try:
            yield lazy.collect()
        except POLARS_ERRORS as error:
            faults += damaged(flat.file, error).faults
    if faults:
        raise DataFaults(faults)


def damaged(file: SourceFile, error: BaseException) -> DataFaults:
    """Make the fault of a file that polars cannot read."""
    # The message of polars may quote data, so it is kept as a value, which is shown only on request.
    return _one_fault(file, "syntax", f"the file is not readable as {file.format}", value=str(error))


def _document(file: SourceFile, faults: FaultList) -> str:
    """Read and check the text of a JSON, JSONL or YAML file."""
    parts, size = [], 0
    for chunk in chunks(file):
        size += len(chunk)
        if size > MAX_DOCUMENT_BYTES:
            message = f"the document is larger than {MAX_DOCUMENT_BYTES:,} bytes; split it, or use JSONL"
            raise _one_fault(file, "too-large", message)
        parts.append(chunk)
    data = clean(b"".join(parts), faults)
    faults.check()
    return data.decode()


def _read_delimited(file: SourceFile) -> Flat:
    size = size_of(file)
    if size > (WHOLE_BYTES if file.compression is None else WHOLE_BYTES // TYPICAL_RATIO):
        columns, _ = delimited.header(_head(file), delimited.DELIMITERS[file.format], FaultList(file))
        columns = delimited.without_notes(columns)
        return Flat(file=file, columns=columns, scan=lambda: _scan_whole(file))
    columns, records = _checked(file)
    return Flat(
        file=file,
        columns=delimited.without_notes(columns),
        scan=lambda: delimited.scan(records, columns, delimited.DELIMITERS[file.format]),
        records=records if delimited.is_countable(records, columns) else None,
    )


def _head(file: SourceFile) -> bytes:
    """Read about the first megabyte, cut after its last complete record, if there is one."""
    head = sample(file)
    return head[: delimited.boundary(head)] or head


def _scan_whole(file: SourceFile) -> pl.LazyFrame:
    columns, records = _checked(file)
    return delimited.scan(records, columns, delimited.DELIMITERS[file.format])


def _checked(file: SourceFile) -> tuple[tuple[str, ...], bytes]:
    """Read and check a CSV or TSV file; return its columns and its records."""
    faults, delimiter = FaultList(file), delimited.DELIMITERS[file.format]
    data = clean(read_bytes(file), faults)
    columns, start = delimited.header(data, delimiter, faults)
    line = 1 + data.count(b"\n", 0, start)
    body = data[start:]
    delimited.check(body, delimiter, len(columns), faults, line=line)
    faults.check()
    return columns, body


def open_parquet(file: SourceFile) -> pl.LazyFrame:
    """Scan a Parquet file with the types that it has."""
    if file.compression:
        return pl.scan_parquet(read_bytes(file), glob=False)
    with opened(file):
        # The path must be absolute, because polars takes some relative names for URLs of remote files.
        return pl.scan_parquet(file.path.absolute(), glob=False)


def read_parquet(file: SourceFile) -> Flat:
    """Scan a Parquet file as text; raises DataFaults when it is damaged or has unsupported columns."""
    try:
        lazy = open_parquet(file)
        schema = pl.Schema((n, t) for n, t in lazy.collect_schema().items() if n not in NOTES)
    except POLARS_ERRORS as error:
        raise damaged(file, error) from error
    check_schema(file, schema)
    texts = [as_text(pl.col(name), dtype).alias(name) for name, dtype in schema.items()]
    stored = frozenset(name for name, dtype in schema.items() if isinstance(dtype, _TEXTS))
    whole = lazy.select(texts).with_row_index(ROW)

    def part(start: int, rows: int) -> pl.LazyFrame:
        # Slice first, or polars decodes all rows before `start`.
        return lazy.slice(start, rows).select(texts).with_row_index(ROW, offset=start)

    return Flat(file=file, columns=tuple(schema), scan=lambda: whole, texts=stored, part=part)


# ---- once per file --------------------------------------------------------------------------------------


class LazyDataLoader:
    """Read each file once for several users, and free it after the last one has released it.

    `users` says how many users will load and release each path. Thread-safe.
    """

    def __init__(self, users: Mapping[Path, int]) -> None:
        self._users = dict(users)
        self._held: dict[Path, Flat | Records] = {}
        self._lock = threading.Lock()
        self._reading = {path: threading.Lock() for path in users}

    @property
    def loaded(self) -> frozenset[Path]:
        """The paths of the files in memory."""
        return frozenset(self._held)

    def load(self, file: SourceFile) -> Flat | Records:
        """Return the file's rows, reading it unless it is in memory; raises DataFaults as `read` does."""
        with self._reading[file.path]:
            if file.path not in self._held:
                self._held[file.path] = read(file)
            return self._held[file.path]

    def release(self, file: SourceFile) -> None:
        """Declare that one user is done with the file."""
        with self._lock:
            self._users[file.path] -= 1
            if self._users[file.path] <= 0:
                self._held.pop(file.path, None)

    def clear(self) -> None:
        """Free all files."""
        with self._lock:
            self._held.clear()
