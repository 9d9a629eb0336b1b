"""Decompress gzip and Zstandard, and refuse broken archives and decompression bombs."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator

from seedlab.errors import DataFaults, Fault
from seedlab.flow import SourceFile

MAX_UNPACKED_BYTES = 16 << 30
MAX_RATIO = 250  # decompressed to compressed size; real text seldom reaches 50
FREE_UNPACKED_BYTES = 64 << 20  # up to this size the ratio is not limited

_GZ_OUTPUT = 1 << 20
_ZST_INPUT = 4 << 10  # small, so that one call cannot produce more than 128 MiB


def unpack(file: SourceFile, stream: io.BufferedReader, *, packed: int) -> Iterator[bytes]:
    """Decompress a stream of `packed` bytes; raises DataFaults when it is broken or becomes too large."""
    limit = min(MAX_UNPACKED_BYTES, max(FREE_UNPACKED_BYTES, packed * MAX_RATIO))
    total = 0
    try:
        for chunk in _gz(stream) if file.compression == "gz" else _zst(stream):
            total += len(chunk)
            if total > limit:
                message = f"{packed:,} bytes unpack to more than {limit:,}; unpack the file if that is meant"
                raise DataFaults([Fault(rule="too-large", message=message, file=file.name)])
            yield chunk
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        message = f"unpacking {file.compression}: {str(error).lower()}"
        raise DataFaults([Fault(rule="syntax", message=message, file=file.name)]) from error


def _gz(stream: io.BufferedReader) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=stream) as unpacked:
        while chunk := unpacked.read(_GZ_OUTPUT):
            yield chunk


def _zst(stream: io.BufferedReader) -> Iterator[bytes]:
    """Decompress frame by frame, because the library's stream reader accepts truncated files."""
    from zstandard import ZstdDecompressor, ZstdError  # imported only when it is needed

    frame, rest, begun = ZstdDecompressor().decompressobj(), b"", False
    while packed := rest or stream.read(_ZST_INPUT):
        if frame.eof:
            frame = ZstdDecompressor().decompressobj()
        try:
            yield frame.decompress(packed)
        except ZstdError as error:
            raise EOFError(str(error)) from error
        rest, begun = frame.unused_data, True
    if not begun or not frame.eof:
        raise EOFError("the archive ends too early")
