"""Write files; no other module in `frames` opens files for writing."""

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


def check_new(out: Path) -> None:
    """Raise ConfigurationError unless `out` is an empty folder or does not exist."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigurationError(f"{out} already exists and is not overwritten; name another folder")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder, renamed to `out` at the end; removed if it is empty or after an exception.

    Raises ConfigurationError when a file cannot be written, for example because the disk is full.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
            folder = Path(temporary) / out.name
            folder.mkdir()
            yield folder
            if any(folder.iterdir()):
                folder.replace(out)
    except OSError as error:  # polars raises it without `strerror`
        raise ConfigurationError(f"writing {out}: {(error.strerror or str(error)).lower()}") from error


def write_csv(path: Path, frames: Iterable[pl.DataFrame]) -> int:
    """Write frames of text to a new CSV file that only its owner may read; return the number of rows.

    NULL is written as nothing, empty text as a pair of quotes. Without any row no file is written.
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
    """Compress data; equal data give equal bytes."""
    if compression == "gz":
        return gzip.compress(data, mtime=0)
    if compression == "zst":
        from zstandard import ZstdCompressor  # imported only when it is needed

        return ZstdCompressor().compress(data)
    return data


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, replacing an older one and creating missing folders.

    Raises ConfigurationError when the file cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with _private(path) as stream:
            stream.write(data)
    except OSError as error:
        raise ConfigurationError(f"writing {path.name}: {(error.strerror or str(error)).lower()}") from error


def _private(path: Path) -> BinaryIO:
    """Create a file that only its owner may read."""
    # O_EXCL does not follow a symbolic link that an attacker may have placed there.
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
