"""The error tree, split by who must act. Each family has one exit code.

SeedError                    1  a stage failed, or no connection
├── ConfigurationError       2  edit seedlab.toml, or the command line
│   └── GraphError           2  the stages depend on each other in a circle
├── DataFaults               3  mend the files; carries every fault found
├── Refused                  4  a guard said no; the message tells what to type
├── LockHeld                 5  another seed is running
├── GateFailed               6  a comparison found what was not to be
├── ConnectionFailed         1  the target does not answer
├── WriteError               1  the target refused a statement
├── CannotOrderRows          1  one row at a time will not do; caught, and written set by set
├── TargetChanged            1  another session came between; caught, and looked again, three times at most
└── ServerError              1  the embedded server does not start

Messages are lower case and say: what we did, to which file, line or table, what was expected, what was
found, and what to do. Every error can be pickled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

__all__ = [
    "CannotOrderRows",
    "ConfigurationError",
    "ConnectionFailed",
    "DataFaults",
    "Fault",
    "GateFailed",
    "GraphError",
    "LockHeld",
    "Place",
    "Refused",
    "SeedError",
    "ServerError",
    "TargetChanged",
    "WriteError",
    "masked",
    "nearest",
]

_IN_URL = re.compile(r"(://[^\s:/@]*:)\S*(?=@)")
_NAMED = re.compile(r"(?i)\b((?:ssl)?(?:password|passwd|pwd)\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&'\"]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something is said: a file as the user names it, a line (1-based) and a key path in it."""

    file: str
    line: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.key) if part is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong with the data.

    `rule` is a stable short name (`unknown-column`, `missing-parent`, `duplicate-key`, `null-key`,
    `not-null`, `type`, `overflow`, `rounding`, `too-long`, `field-count`, `syntax`, `encoding`, `nul`, `bom`,
    `id-conflict`, `unique`, `constraint`, `exclusion`, `trigger`, `too-large`, `rejected-parent`). `line` is
    the physical line (Parquet: the row; JSON and YAML: where the record begins), `column` the column of the
    table or file, `path` the place inside a JSON or YAML document, `excerpt` the source line, or the one of
    the number `excerpt_line`, `caret` the 0-based start and length of what is wrong in it. `message` never
    holds a row's value; `value` does, and is shown only with --show-values. `row` is the ordinal from which
    the line is found.
    """

    rule: str
    message: str
    file: str | None = None
    line: int | None = None
    column: str | None = None
    table: str | None = None
    path: str | None = None
    excerpt: str | None = None
    excerpt_line: int | None = None
    caret: tuple[int, int] | None = None
    value: str | None = None
    row: int | None = None


class SeedError(Exception):
    """Anything seedlab refuses or fails to do."""

    exit_code: ClassVar[int] = 1


class ConfigurationError(SeedError):
    """The project file, the command line or the schema does not say something we can do."""

    exit_code = 2

    def __init__(self, message: str, place: Place | None = None) -> None:
        super().__init__(message, place)
        self.message = message
        self.place = place

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class GraphError(ConfigurationError):
    """Stages or seeds depend on each other in a circle."""


class DataFaults(SeedError):
    """The files do not fit the tables. Carries all faults of all files; `so` is what follows from them."""

    exit_code = 3

    def __init__(self, faults: Iterable[Fault], so: str = "nothing was written") -> None:
        self.faults = tuple(faults)
        self.so = so
        super().__init__(self.faults, so)

    def __str__(self) -> str:
        count = len(self.faults)
        return f"{count} data fault{'s' if count != 1 else ''}, {self.so}"


class Refused(SeedError):
    """A guard refused; the message ends with what to type."""

    exit_code = 4


class LockHeld(SeedError):
    """Another seed holds the target's lock."""

    exit_code = 5


class GateFailed(SeedError):
    """A comparison found more statements, a slower run, or whatever was not to be; says what."""

    exit_code = 6


class ConnectionFailed(SeedError):
    """The target cannot be reached or does not let us in. Never carries a password."""


class WriteError(SeedError):
    """The target refused a statement; the transaction was rolled back."""

    def __init__(self, message: str, *, table: str | None = None, sqlstate: str | None = None) -> None:
        super().__init__(message, table, sqlstate)
        self.message = message
        self.table = table
        self.sqlstate = sqlstate

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        return _write_error, (self.message, self.table, self.sqlstate)


class CommitUnanswered(WriteError):
    """The connection was lost before the server had answered COMMIT."""


class CannotOrderRows(SeedError):
    """Rows or tables refer to each other in a circle, so no row can come first; nothing was written."""


class TargetChanged(SeedError):
    """The target is no longer what it was when we looked at it; nothing was written."""


class ServerError(SeedError):
    """The embedded PostgreSQL cannot be found, made or started."""


def _write_error(message: str, table: str | None, sqlstate: str | None) -> WriteError:
    return WriteError(message, table=table, sqlstate=sqlstate)


def nearest(name: str, names: Iterable[str]) -> str:
    """Say which of `names` is nearest to `name`: `"; did you mean 'x'?"`, or an empty string."""
    meant = closest(name, names)
    return f"; did you mean '{meant}'?" if meant else ""


def closest(name: str, names: Iterable[str]) -> str | None:
    """Find which of `names` is so near to `name` that it may be meant."""
    import difflib  # only when there is something to complain about

    lowered = {each.lower(): each for each in sorted(names)}
    match = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return lowered[match[0]] if match else None


def masked(text: str) -> str:
    """Replace whatever looks like a password of a URL or of a connection string by `***`."""
    return _NAMED.sub(r"\g<1>***", _IN_URL.sub(r"\g<1>***", text))
