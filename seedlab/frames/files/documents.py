"""Parse JSON, JSONL and YAML into records: dicts of text, null and booleans, and numbers as their tokens."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from seedlab.flow import NOTES, SourceFile
from seedlab.frames.files.faults import FaultList
from seedlab.frames.files.trees import MAX_DEPTH, Mark, Tree, json_tree, yaml_tree


class Number(str):
    """A JSON number as it is spelled in the file."""

    __slots__ = ()


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector while documents are parsed.

    It would scan all parsed objects again and again without finding garbage; JSON took three times as long.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Records:
    """The records of a document.

    Values are str, Number, Plain, bool, None, or a dict or list of those. `first` is the ordinal of the first
    record, when a file is read in batches; `single` says that the document is an object, not a list.
    """

    file: SourceFile
    records: list[dict[str, Any]]
    first: int = 0
    single: bool = False


class _UnlocatedError(ValueError):
    """An error in a document that json's parser reports without a position."""


def _refuse_constant(_token: str) -> Any:
    raise _UnlocatedError


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):  # a name is repeated
        raise _UnlocatedError
    return found


_DECODER = json.JSONDecoder(
    parse_int=Number, parse_float=Number, parse_constant=_refuse_constant, object_pairs_hook=_object
)


def decode(text: str) -> Any:
    """Parse JSON that is known to be valid; numbers keep their spelling."""
    return _DECODER.decode(text)


def parse_json(text: str, faults: FaultList) -> Records:
    """Parse a list of objects, or one object; errors are added to `faults`."""
    value = _decode(text, faults, line=1)
    if _all_objects(value):
        return Records(file=faults.file, records=_without_notes(value, text))
    return _records(value, lambda: json_tree(text), text, faults)


@collector_paused()
def parse_lines(text: str, faults: FaultList, *, line: int = 1) -> Records:
    """Parse one object per line, skipping blank lines; errors of each line are added to `faults`."""
    records = []
    for number, each in enumerate(text.split("\n"), line):
        if not each or each.isspace():
            continue
        before = faults.count
        value = _decode(each, faults, line=number)
        if isinstance(value, dict):
            records.append(value)
        elif faults.count == before:
            faults.add("syntax", f"expected an object, found {_kind(value)}", line=number, text=each)
    return Records(file=faults.file, records=_without_notes(records, text))


def parse_yaml(text: str, faults: FaultList) -> Records:
    """Parse a list of objects, or one object; errors are added to `faults`."""
    before = faults.count
    tree = yaml_tree(text, faults)
    if faults.count > before:
        return Records(file=faults.file, records=[])
    return _records(tree.value, lambda: tree, text, faults)


def _decode(text: str, faults: FaultList, *, line: int) -> Any:
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        at, column = line + error.lineno - 1, error.colno - 1
        bad = text.split("\n")[error.lineno - 1]
        what = error.msg[:1].lower() + error.msg[1:]
        if error.msg == "Extra data" and column == 0:
            what = "extra data: expected one list of objects; for one object per line, name the file .jsonl"
        faults.add("syntax", what, line=at, text=bad, caret=(column, 1))
    except _UnlocatedError:
        json_tree(text, faults, line=line)  # parses again and locates the error
    except RecursionError:
        faults.add("too-large", f"nested deeper than {MAX_DEPTH} levels", line=line)
    else:
        if _may_be_refused(text):
            json_tree(text, faults, line=line)
        return value
    return None


def _may_be_refused(text: str) -> bool:
    """Find escapes that may stand for NUL or a lone surrogate, which no database accepts."""
    return "\\u" in text and ("\\u0000" in text or "\\ud" in text or "\\uD" in text)


def _all_objects(value: Any) -> bool:
    return type(value) is list and set(map(type, value)) <= {dict}


def _records(value: Any, tree: Callable[[], Tree], text: str, faults: FaultList) -> Records:
    if isinstance(value, dict):
        return Records(file=faults.file, records=_without_notes([value], text), single=True)
    if isinstance(value, list):
        _refuse_others(value, tree, text, faults)
        records = [each for each in value if isinstance(each, dict)]
        return Records(file=faults.file, records=_without_notes(records, text))
    if not faults.found:
        message = f"expected a list of objects, found {_kind(value)}"
        faults.add("syntax", message, line=1, text=text.partition("\n")[0])
    return Records(file=faults.file, records=[])


def _refuse_others(value: list[Any], tree: Callable[[], Tree], text: str, faults: FaultList) -> None:
    wrong = [n for n, each in enumerate(value) if not isinstance(each, dict)]
    if not wrong:
        return
    parsed, lines = tree(), text.split("\n")
    marks: list[Mark] = parsed.marks[id(parsed.value)]
    for n in wrong:
        line, column = marks[n]
        message = f"expected an object, found {_kind(value[n])}"
        faults.add("syntax", message, line=line, text=lines[line - 1], caret=(column, 1), path=f"$[{n}]")


def _without_notes(records: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """Remove the fields that only records of a reject file have."""
    for name in NOTES if "_seedlab_" in text else ():
        for record in records:
            record.pop(name, None)
    return records


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    kinds = {list: "a list", dict: "an object", bool: "a boolean", Number: "a number"}
    return kinds.get(type(value), "text")
