"""Files that we write: the only module of this room that opens files for writing."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from seedlab.errors import ConfigurationError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["check_new", "new_folder", "packed", "write_csv", "write_private"]


def check_new(out: Path) -> None:
    """Raise ConfigurationError unless a folder is empty or not there."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigurationError(f"{out} is there already and is not written over; name another folder")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that becomes `out` when all went well, and nothing otherwise."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        folder = Path(temporary) / out.name
        folder.mkdir()
        yield folder
        folder.replace(out)


def write_csv(path: Path, frames: Iterable[pl.DataFrame]) -> int:
    """Write frames of text to a new file that only its owner may read; answers the rows.

    NULL is nothing, empty text is in quotes. Without a row there is no file.
    """
    rows = 0
    with _private(path) as stream:
        for frame in frames:
            if frame.height:
                frame.write_csv(stream, include_header=not rows, quote_style="necessary")
                rows += frame.height
    if not rows:
        path.unlink()
    return rows


def packed(data: bytes, compression: Literal["gz", "zst"] | None) -> bytes:
    """Pack data as a source of this compression is; equal data give equal bytes."""
    if compression == "gz":
        return gzip.compress(data, mtime=0)
    if compression == "zst":
        from zstandard import ZstdCompressor  # only for those who pack with it

        return ZstdCompressor().compress(data)
    return data


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner may read, in folders that are made; an older one is replaced."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with _private(path) as stream:
            stream.write(data)
    except OSError as error:
        raise ConfigurationError(f"writing {path.name}: {(error.strerror or str(error)).lower()}") from error


def _private(path: Path) -> BinaryIO:
    """Open a new file for its owner alone."""
    # EXCL follows no link that somebody may have put there, and gives the mode from the first moment.
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
