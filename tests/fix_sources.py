"""Writes small data files for tests of the readers."""

from __future__ import annotations

from pathlib import Path

from seedlab.errors import DataFaults, Fault
from seedlab.flow import SourceFile
from seedlab.frames.files import sources


def source(folder: Path, name: str, content: str | bytes) -> SourceFile:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    suffixes = [suffix[1:] for suffix in path.suffixes]
    compression = suffixes.pop() if suffixes[-1] in ("gz", "zst") else None
    return SourceFile(path=path, name=name, format=suffixes[-1], compression=compression)


def faults_of(file: SourceFile) -> list[Fault]:
    """Read a file that must be refused, and give what was found."""
    try:
        sources.read(file)
    except DataFaults as error:
        return list(error.faults)
    raise AssertionError(f"{file.name} was read without a fault")


def told(faults: list[Fault]) -> list[tuple[str, int | None]]:
    return [(fault.rule, fault.line) for fault in faults]


def pointed(fault: Fault) -> str:
    """The part of the excerpt under the caret."""
    start, length = fault.caret
    return fault.excerpt[start : start + length]
