"""Collect the faults of a file, and check its bytes for encoding errors and NUL characters."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from seedlab.errors import DataFaults, Fault
from seedlab.flow import SourceFile

MAX_FAULTS = 1000  # faults reported per file; further ones are only counted
EXCERPT_CHARS = 400  # the longest part of a line that is shown

_BOM = codecs.BOM_UTF8
_WIDE_BOMS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class FaultList:
    """The faults of one file: the first MAX_FAULTS, and the number of further ones."""

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self.found: list[Fault] = []
        self.more = 0

    def add(
        self,
        rule: str,
        message: str,
        *,
        line: int | None = None,
        text: str | None = None,
        caret: tuple[int, int] | None = None,
        path: str | None = None,
    ) -> None:
        """Add one fault; `text` is the whole source line, `caret` the start and length of the bad part."""
        if len(self.found) >= MAX_FAULTS:
            self.more += 1
            return
        shown, caret = (None, caret) if text is None else excerpt(text, caret)
        self.found.append(
            Fault(
                rule=rule,
                message=message,
                file=self.file.name,
                line=line,
                excerpt=shown,
                caret=caret,
                path=path,
            )
        )

    @property
    def count(self) -> int:
        """The number of all faults."""
        return len(self.found) + self.more

    def check(self, *, beyond: int = 0) -> None:
        """Raise DataFaults with all faults when more than `beyond` were found."""
        if self.count > beyond:
            raise DataFaults(self._all())

    def _all(self) -> Iterator[Fault]:
        yield from self.found
        if self.more:
            message = f"{self.more:,} more faults in this file are not listed"
            yield Fault(rule=self.found[-1].rule, message=message, file=self.file.name, count=self.more)


def excerpt(text: str, caret: tuple[int, int] | None = None) -> tuple[str, tuple[int, int] | None]:
    """Cut a long source line to the part around `caret`, and move the caret with it."""
    if len(text) <= EXCERPT_CHARS:
        return text, caret
    start, length = caret or (0, 0)
    first = max(0, start - EXCERPT_CHARS // 2)
    shown = text[first : first + EXCERPT_CHARS]
    return shown, (start - first, min(length, len(shown))) if caret else None


def clean(data: bytes, faults: FaultList, *, line: int = 1) -> bytes:
    """Remove a UTF-8 byte order mark, and report every line that is not UTF-8 or contains a NUL.

    `line` is the number of the first line of `data`. Raises DataFaults at once for UTF-16 and UTF-32, as no
    further checks are possible.
    """
    if line == 1:
        _refuse_wide(data, faults)
        data = data.removeprefix(_BOM)
    if b"\0" in data:
        for number, text in _lines_with(data, b"\0", line):
            faults.add("nul", "found a NUL character", line=number, text=text, caret=(text.index("\0"), 1))
    if not data.isascii():
        _check_utf8(data, faults, line)
    return data


def _refuse_wide(data: bytes, faults: FaultList) -> None:
    head = data[:1024]
    if head.startswith(_WIDE_BOMS) or head.count(b"\0") * 4 > len(head):
        faults.add("encoding", "expected UTF-8, found UTF-16 or UTF-32; save the file as UTF-8", line=1)
        faults.check()


def _lines_with(data: bytes, what: bytes, line: int) -> Iterator[tuple[int, str]]:
    for number, text in enumerate(data.split(b"\n"), line):
        if what in text:
            yield number, text.decode(errors="replace").removesuffix("\r")


def _check_utf8(data: bytes, faults: FaultList, line: int) -> None:
    try:
        data.decode()
    except UnicodeDecodeError:
        for number, text in enumerate(data.split(b"\n"), line):
            _check_line(text, number, faults)


def _check_line(text: bytes, line: int, faults: FaultList) -> None:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        message = f"expected UTF-8, found byte 0x{text[error.start]:02x}; save the file as UTF-8"
        shown = text.decode(errors="replace").removesuffix("\r")
        faults.add("encoding", message, line=line, text=shown, caret=(len(text[: error.start].decode()), 1))
