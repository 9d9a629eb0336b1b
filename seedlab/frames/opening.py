"""Opens data files, for reading and for hashing: the only module of this room that does."""

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
    """Open a regular file; pipes and devices would wait or never end, so they are refused."""
    try:
        if not stat.S_ISREG(file.path.stat().st_mode):
            raise ConfigurationError(f"reading {file.name}: expected a regular file")
        with file.path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise ConfigurationError(f"reading {file.name}: {(error.strerror or str(error)).lower()}") from error


def stat_of(file: SourceFile) -> os.stat_result | None:
    """Ask for the file's size, times and place on disk; nothing of one that is not there."""
    try:
        return file.path.stat()
    except OSError:
        return None


def content_hash(file: SourceFile) -> str:
    """Hash the file's bytes as they lie on disk: 32 hex digits of xxh3-128."""
    digest = xxhash.xxh3_128()
    with opened(file) as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
