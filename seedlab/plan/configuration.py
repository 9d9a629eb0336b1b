"""Reads TOML files, and collects every mistake in them with its line and key.

Checks types only; the meaning of the keys is known to `project.py` and `stages.py`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from seedlab.errors import ConfigurationError, Place, nearest

Keys = tuple[str | int, ...]
T = TypeVar("T")
C = TypeVar("C", bound=str)

_KINDS: Mapping[type, str] = {str: "a string", bool: "a boolean", int: "an integer", float: "a float"}
_SKIPPED = re.compile(
    r'(?P<block>"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\')|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|(?P<comment>#[^\n]*)',
    re.DOTALL,
)
_PART = r"(?:[A-Za-z0-9_-]+|\"(?:\\.|[^\"\\])*\"|'[^']*')"
_NAME = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*\[(?P<array>\[)?\s*(?P<name>{_NAME})\s*\]\]?\s*$")
_KEY = re.compile(rf"\s*(?P<name>{_NAME})\s*=")


@dataclass(slots=True, kw_only=True)
class Document:
    """A TOML document and the problems found in it; `below` is the key path at which our part begins."""

    file: str
    text: str
    values: Mapping[str, object]
    below: Keys = ()
    problems: list[tuple[Keys, str]] = field(default_factory=list)
    _lines: dict[Keys, int] | None = None

    @property
    def root(self) -> Section:
        """Our part of the document."""
        values: object = self.values
        for key in self.below:
            values = values.get(key, {}) if isinstance(values, dict) else {}
        return Section(document=self, keys=(), values=values if isinstance(values, dict) else {})

    def line(self, keys: Keys) -> int | None:
        """Find the line of a key, or of the nearest enclosing key or header."""
        if self._lines is None:
            self._lines = scan_lines(self.text)
        path = self.below + keys
        return next((self._lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self._lines), None)

    def place(self, keys: Keys) -> Place:
        """Return the place of a key, for messages."""
        return Place(file=self.file, line=self.line(keys), key=spell(self.below + keys) or None)

    def check(self) -> None:
        """Raise one ConfigurationError with all problems, in the file's order, if there are any."""
        errors = [ConfigurationError(message, self.place(keys)) for keys, message in self.problems]
        if errors:
            raise combine(sorted(errors, key=_line_of))


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A table of the document.

    Its methods return the value of a key. If the value is wrong, they add a problem to the document and
    return a default, so that reading goes on.
    """

    document: Document
    keys: Keys
    values: Mapping[str, object]

    @property
    def place(self) -> Place:
        """Where the table begins."""
        return self.document.place(self.keys)

    def add_problem(self, key: str | None, message: str) -> None:
        """Add a problem with a key of this table, or with the table itself (None)."""
        self.document.problems.append((self.keys if key is None else (*self.keys, key), message))

    def check_keys(self, known: Collection[str]) -> None:
        """Add a problem for every key that is not known."""
        for key in self.values:
            if key not in known:
                self.add_problem(key, f"unknown key '{key}'{nearest_or_all(key, known)}")

    def check_names(self, key: str, what: str, given: Iterable[str | None], known: Collection[str]) -> None:
        """Add a problem for every name under a key that is no known `what` (stage, environment)."""
        for name in given:
            if name is not None and name not in known:
                self.add_problem(key, f"unknown {what} '{name}'{nearest_or_all(name, known)}")

    def text(self, key: str, default: str | None = None) -> str | None:
        """Return a string that must not be empty."""
        value = self._take(key, str, "a string")
        if value is not None and not value.strip():
            self.add_problem(key, "expected a string, found an empty one")
        return default if value is None else value

    def value(self, key: str) -> str:
        """Return a string, which may be empty."""
        return self._take(key, str, "a string, spelled as in a CSV file") or ""

    def required_text(self, key: str) -> str:
        """Return a string that must be given, or "" if it is not."""
        if key not in self.values:
            self.add_problem(None, f"'{key}' is missing")
        return self.text(key) or ""

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Return a list of strings, or None if it is not given."""
        values = self._take(key, list, 'a list of strings, like ["a", "b"]')
        if values is None:
            return None
        for index, value in enumerate(values):
            if not isinstance(value, str):
                self.add_problem(
                    key, f"expected strings only, found {describe(value)} at position {index + 1}"
                )
        return tuple(value for value in values if isinstance(value, str))

    def choice(self, key: str, choices: Sequence[C], default: C) -> C:
        """Return one of the words in `choices`."""
        value = self._take(key, str, f"one of {', '.join(choices)}")
        if value is None:
            return default
        if value not in choices:
            self.add_problem(
                key, f"expected one of {', '.join(choices)}, found '{value}'{nearest(value, choices)}"
            )
        return next((choice for choice in choices if choice == value), default)

    def flag(self, key: str) -> bool | None:
        """Return a boolean, or None if it is not given."""
        return self._take(key, bool, "true or false")

    def count(self, key: str, minimum: int) -> int | None:
        """Return an integer, which must not be below `minimum`, or None if it is not given."""
        value = self._take(key, int, "an integer")
        if value is not None and value < minimum:
            self.add_problem(key, f"expected at least {minimum}, found {value}")
        return value

    def section(self, key: str) -> Section:
        """Return a table, which is empty if it is not given."""
        return self._below(self._take(key, dict, "a table") or {}, key)

    def tables_by_name(self, key: str) -> Mapping[str, Section]:
        """Return the tables in a table, by their names."""
        outer = self.section(key)
        return {name: outer.section(name) for name in outer.values}

    def sections(self, key: str) -> Iterator[Section]:
        """Yield the tables of an array of tables."""
        for index, value in enumerate(self._take(key, list, f"an array of tables, [[{key}]]") or []):
            if isinstance(value, dict):
                yield self._below(value, key, index)
            else:
                self.add_problem(key, f"expected a table at position {index + 1}, found {describe(value)}")

    def _below(self, values: Mapping[str, object], *keys: str | int) -> Section:
        return Section(document=self.document, keys=(*self.keys, *keys), values=values)

    def _take(self, key: str, kind: type[T], expected: str) -> T | None:
        value = self.values.get(key)
        if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
        if value is not None:
            self.add_problem(key, f"expected {expected}, found {describe(value)}")
        return None


def read_document(path: Path, *below: str) -> Document:
    """Parse a TOML file. Raises ConfigurationError with the line that is not TOML."""
    import tomllib  # takes 13 ms, which a folder without configuration does not need

    file = shown(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return Document(file=file, text=text, values=tomllib.loads(text), below=below)
    except UnicodeDecodeError as error:
        message = f"expected UTF-8, found the byte 0x{error.object[error.start]:02x} at offset {error.start}"
        raise ConfigurationError(message, Place(file=file)) from error
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at line (\d+), column (\d+)\)$", str(error))
        line, message = (int(found[1]), str(error)[: found.start()]) if found else (None, str(error))
        raise ConfigurationError(
            f"this is not TOML: {message.lower()}", Place(file=file, line=line)
        ) from error


def shown(path: Path) -> str:
    """Spell a path relative to the working directory if it is inside it."""
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)


def describe(value: object) -> str:
    """Describe a value by its TOML type."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    spelled = str(value).lower() if isinstance(value, bool) else repr(value)
    return f"{_KINDS.get(type(value), 'a date or time')} ({spelled})"


def nearest_or_all(name: str, known: Collection[str]) -> str:
    """Word a hint for an unknown name: the nearest known name, or all of them if none is near."""
    return nearest(name, known) or f"; known are {', '.join(sorted(known)) or 'none'}"


def spell(keys: Keys) -> str:
    """Spell a key path: `stages[0].seeds[2].mode`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def combine(errors: Sequence[ConfigurationError]) -> ConfigurationError:
    """Combine errors into one with the place of the first and the messages of all, one per line."""
    first, *others = errors
    return type(first)("\n".join([first.message, *map(str, others)]), first.place)


def scan_lines(text: str) -> dict[Keys, int]:
    """Map the key paths of a TOML document to their lines (1-based), which tomllib does not tell.

    Keys inside inline tables and arrays are not found; look up the nearest enclosing path instead.
    """
    lines: dict[Keys, int] = {}
    counts: dict[Keys, int] = {}
    header: Keys = ()
    for number, line in enumerate(_SKIPPED.sub(_blank, text).split("\n"), start=1):
        if found := _HEADER.match(line):
            header = _header_path(_parts(found["name"]), counts)
            if found["array"]:
                counts[header] = counts.get(header, -1) + 1
                header = (*header, counts[header])
            _remember(lines, header, number)
        elif found := _KEY.match(line):
            _remember(lines, (*header, *_parts(found["name"])), number)
    return lines


def _blank(match: re.Match[str]) -> str:
    if match["block"] is not None:
        return '""' + "\n" * match[0].count("\n")
    return "" if match["comment"] is not None else match[0]


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, name))


def _header_path(parts: tuple[str, ...], counts: Mapping[Keys, int]) -> Keys:
    """Insert into a header's path the positions in the enclosing arrays, which TOML leaves out."""
    path: Keys = parts[:1]
    for part in parts[1:]:
        path = (*path, counts[path], part) if path in counts else (*path, part)
    return path


def _remember(lines: dict[Keys, int], path: Keys, number: int) -> None:
    for length in range(1, len(path) + 1):
        lines.setdefault(path[:length], number)


def _line_of(error: ConfigurationError) -> int:
    return (error.place.line if error.place else None) or 0
