"""The tree of errors. Each class has one exit code, which tells the user what to do.

SeedError                    1  a stage failed, or no connection
├── ConfigurationError       2  edit seedlab.toml, or the command line
│   └── GraphError           2  the stages depend on each other in a circle
├── DataFaults               3  correct the files; contains every fault found
├── Refused                  4  a guard refused; the message says what to type to go on
├── LockHeld                 5  another seed is running
├── GateFailed               6  a comparison failed a gate
├── ConnectionFailed         1  the target does not answer
├── WriteError               1  the target refused a statement
├── CannotOrderRows          1  rows cannot be written one by one; caught, and written table by table
├── TargetChanged            1  another session changed the target; caught, and the run is repeated twice
└── ServerError              1  the embedded server does not start

Messages are lower case and say what was done to which file, line or table, what was expected, what was
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
    """A place in a configuration file: the file as the user names it, the line (1-based) and the key path."""

    file: str
    line: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.key) if part is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of the data.

    `rule` is a stable short name (`unknown-column`, `missing-parent`, `duplicate-key`, `null-key`,
    `not-null`, `type`, `overflow`, `rounding`, `too-long`, `field-count`, `syntax`, `encoding`, `nul`, `bom`,
    `id-conflict`, `unique`, `constraint`, `exclusion`, `trigger`, `too-large`, `rejected-parent`).

    `line` is the physical line (Parquet: the row; JSON and YAML: where the record begins), `column` the
    column of the table or file, and `path` the path in a JSON or YAML document. `excerpt` is the text of
    line `excerpt_line`, or of `line` if that is None; `caret` is the 0-based start and the length of the
    fault in it. `message` never contains a row's value; `value` does, and is shown only with --show-values.
    `row` is the ordinal by which the line is found. `count` is 1, or how many further faults, which are not
    listed, this one stands for.
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
    count: int = 1


class SeedError(Exception):
    """The base class of all errors that seedlab raises on purpose."""

    exit_code: ClassVar[int] = 1


class ConfigurationError(SeedError):
    """The project file, the command line or the schema is wrong or not sufficient."""

    exit_code = 2

    def __init__(self, message: str, place: Place | None = None) -> None:
        super().__init__(message, place)
        self.message = message
        self.place = place

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class GraphError(ConfigurationError):
    """Stages or seeds depend on each other in a cycle."""


class DataFaults(SeedError):
    """The files do not fit the tables. Contains all faults of all files; `so` words the consequence."""

    exit_code = 3

    def __init__(self, faults: Iterable[Fault], so: str = "nothing was written") -> None:
        self.faults = tuple(faults)
        self.so = so
        super().__init__(self.faults, so)

    def __str__(self) -> str:
        count = sum(fault.count for fault in self.faults)
        return f"{count:,} data fault{'s' if count != 1 else ''}, {self.so}"


class Refused(SeedError):
    """A guard refused; the message ends with what to type.

    `examples` name rows that the message is about, by their values, which are shown only with --show-values.
    """

    exit_code = 4

    def __init__(self, message: str, examples: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.examples = tuple(examples)


class LockHeld(SeedError):
    """Another seed holds the target's lock."""

    exit_code = 5


class GateFailed(SeedError):
    """A comparison found a difference that must not be, such as more statements or a slower run."""

    exit_code = 6


class ConnectionFailed(SeedError):
    """The target cannot be reached or rejects the login. The message never contains a password."""


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
    """The connection was lost before the server answered COMMIT, so its outcome is unknown."""


class CannotOrderRows(SeedError):
    """Rows or tables refer to each other in a cycle, so no row can be first; nothing was written."""

    def __str__(self) -> str:
        return f"{super().__str__()}; all rows are written as sets, not row by row"


class TargetChanged(SeedError):
    """Another session changed the target after it was read; nothing was written."""

    exit_code = 5


class ServerError(SeedError):
    """The embedded PostgreSQL cannot be found, created or started."""


def _write_error(message: str, table: str | None, sqlstate: str | None) -> WriteError:
    return WriteError(message, table=table, sqlstate=sqlstate)


def nearest(name: str, names: Iterable[str]) -> str:
    """Word the hint `"; did you mean 'x'?"` with the nearest of `names`, or "" if none is near."""
    meant = closest(name, names)
    return f"; did you mean '{meant}'?" if meant else ""


def closest(name: str, names: Iterable[str]) -> str | None:
    """Return the nearest of `names` if it is so similar to `name` that it may be meant."""
    import difflib  # imported here, since only errors need it

    lowered = {each.lower(): each for each in sorted(names)}
    match = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return lowered[match[0]] if match else None


def masked(text: str) -> str:
    """Replace everything that looks like a password in a URL or connection string by `***`."""
    return _NAMED.sub(r"\g<1>***", _IN_URL.sub(r"\g<1>***", text))
