"""Open data files for reading, and hash them; no other module in `frames` opens data files."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import xxhash

from seedlab.errors import ConfigurationError
from seedlab.flow import SourceFile

CHUNK = 1 << 20  # bytes read at a time


@contextmanager
def opened(file: SourceFile) -> Iterator[io.BufferedReader]:
    """Open a regular file for reading.

    Raises ConfigurationError for files that cannot be read, and for pipes and devices, which might block or
    never end.
    """
    try:
        if not stat.S_ISREG(file.path.stat().st_mode):
            raise ConfigurationError(f"reading {file.name}: expected a regular file")
        with file.path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise ConfigurationError(f"reading {file.name}: {(error.strerror or str(error)).lower()}") from error


def stat_of(file: SourceFile) -> os.stat_result | None:
    """Stat the file; None when that fails."""
    try:
        return file.path.stat()
    except OSError:
        return None


def size_of(file: SourceFile) -> int:
    """Return the size in bytes; 0 for a file that is not there any more, which reading it reports."""
    found = stat_of(file)
    return found.st_size if found is not None else 0


def content_hash(file: SourceFile) -> str:
    """Hash the file's bytes, still compressed if they are: 32 hex digits of xxh3-128."""
    digest = xxhash.xxh3_128()
    with opened(file) as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
