"""Files that we write: the only module of this room that opens files for writing."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Literal

from seedlab.errors import ConfigurationError

__all__ = ["packed", "write_private"]


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
        # EXCL follows no link that somebody may have put there, and gives the mode from the first moment.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
    except OSError as error:
        raise ConfigurationError(f"writing {path.name}: {(error.strerror or str(error)).lower()}") from error
