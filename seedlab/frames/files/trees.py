"""Parse JSON and YAML into trees with the line and column of every item.

YAML is always parsed here, JSON only to locate faults. Both parsers keep their own stack, so that deeply
nested documents cannot exhaust the interpreter's (the YAML composer written in C crashes the process).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from seedlab.frames.files.faults import FaultList

Mark = tuple[int, int]  # 1-based line, 0-based column

MAX_DEPTH = 100  # the deepest nesting of lists and objects
MAX_ALIASED = 1_000_000  # the most values that the aliases of one YAML file may expand to

_NULL = frozenset({"", "~", "null", "Null", "NULL"})  # the core schema of YAML 1.2
_TEXT_TAGS = (None, "!", "tag:yaml.org,2002:str")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|\n|[^\s{}\[\],:"]+')
_TOO_DEEP = "maximum nesting depth"  # libyaml since 0.2.6 may raise this before our own limit is reached
_SPECIAL = frozenset({"NaN", "Infinity", "-Infinity"})


class Plain(str):
    """A YAML scalar written without quotes, whose text may stand for a number or a boolean."""

    __slots__ = ()


@dataclass(slots=True, kw_only=True, eq=False)
class Tree:
    """A document and the positions of its parts: by `id` of a list or object, one mark per item."""

    value: Any = None
    start: Mark = (1, 0)
    marks: dict[int, list[Mark]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Open:
    """A list or object that is being parsed; `key` is the name whose value comes next."""

    items: dict[str, Any] | list[Any]
    marks: list[Mark]
    key: str | None = None
    merged: list[tuple[Any, Mark]] = field(default_factory=list)
    anchor: str | None = None
    size: int = 1


class _Builder:
    """Add values to the enclosing list or object, and report repeated names."""

    def __init__(self, faults: FaultList | None, lines: list[str], first: int = 1) -> None:
        self.tree = Tree()
        self.stack: list[_Open] = []
        self.faults = faults
        self.lines = lines
        self.first = first  # the number of the first line

    def begin(self, items: dict[str, Any] | list[Any], mark: Mark, anchor: str | None = None) -> None:
        self.place(items, mark)
        marks = self.tree.marks[id(items)] = []
        self.stack.append(_Open(items, marks, anchor=anchor))

    @property
    def wants_key(self) -> bool:
        top = self.stack[-1] if self.stack else None
        return top is not None and isinstance(top.items, dict) and top.key is None

    def key(self, key: str, mark: Mark) -> None:
        top = self.stack[-1]
        if key in top.items:
            self.fault("syntax", f"key '{key}' occurs twice in one object", mark, len(key))
        top.key = key

    def place(self, value: Any, mark: Mark) -> None:
        if not self.stack:
            self.tree.value, self.tree.start = value, mark
            return
        top = self.stack[-1]
        if isinstance(top.items, list):
            top.items.append(value)
            top.marks.append(mark)
            return
        assert top.key is not None
        if top.key not in top.items:
            top.marks.append(mark)
        top.items[top.key] = value
        top.key = None

    def fault(self, rule: str, message: str, mark: Mark, length: int = 1) -> None:
        if self.faults is not None:
            line, column = mark
            text = self.lines[line - self.first] if line - self.first < len(self.lines) else ""
            self.faults.add(rule, message, line=line, text=text, caret=(column, length))


# ---- JSON -----------------------------------------------------------------------------------------------


def json_tree(text: str, faults: FaultList | None = None, *, line: int = 1) -> Tree:
    """Parse JSON, whose syntax json's parser has accepted, with positions.

    Numbers keep their spelling. Repeated names, NaN and Infinity, NUL and lone surrogates are added to
    `faults`.
    """
    builder = _Builder(faults, text.split("\n"), line)
    first = 0  # offset of the current line
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if piece == "\n":
            line, first = line + 1, match.end()
        else:
            _take_json(builder, piece, (line, match.start() - first))
    return builder.tree


def _take_json(builder: _Builder, piece: str, mark: Mark) -> None:
    if piece == "{":
        builder.begin({}, mark)
    elif piece == "[":
        builder.begin([], mark)
    elif piece in "]}":
        builder.stack.pop()
    elif builder.wants_key:
        builder.key(_json_text(builder, piece, mark), mark)
    else:
        if piece in _SPECIAL:
            message = f"{piece} is not JSON; write it as text, or null"
            builder.fault("syntax", message, mark, len(piece))
        builder.place(_json_text(builder, piece, mark) if piece[0] == '"' else piece, mark)


def _json_text(builder: _Builder, piece: str, mark: Mark) -> str:
    if "\\" not in piece:
        return piece[1:-1]
    text: str = json.loads(piece)
    if "\0" in text:
        builder.fault("nul", "found a NUL character", mark, len(piece))
    try:
        text.encode()
    except UnicodeEncodeError:
        builder.fault("encoding", "found half of a surrogate pair (\\ud8xx)", mark, len(piece))
    return text


# ---- YAML -----------------------------------------------------------------------------------------------


def yaml_tree(text: str, faults: FaultList) -> Tree:
    """Parse one YAML document; scalars stay text (`Plain` if they have no quotes), and null becomes None.

    Aliases and merge keys (`<<`) are supported; tags are reported as faults and never constructed. Errors are
    added to `faults`, of syntax errors only the first.
    """
    import yaml  # takes 15 ms, which projects without YAML should not pay

    reader = _Yaml(faults, text)
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader)):
            if not reader.take(event):
                break
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = (mark.line + 1, mark.column) if mark else (1, 0)
        if _TOO_DEEP in (error.problem or ""):
            reader.refuse_depth(at)
        else:
            reader.builder.fault("syntax", f"{error.context or 'reading YAML'}: {error.problem}", at)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        at = (before.count("\n") + 1, len(before) - before.rfind("\n") - 1)
        reader.builder.fault("syntax", "found a control character", at)
    return reader.builder.tree


class _Yaml:
    """Build a tree from the events of the YAML parser."""

    def __init__(self, faults: FaultList, text: str) -> None:
        self.builder = _Builder(faults, text.split("\n"))
        self.anchors: dict[str, Any] = {}
        self.sizes: dict[str, int] = {}
        self.aliased = 0
        self.documents = 0

    def take(self, event: Any) -> bool:
        """Process one event; return False to stop parsing."""
        name = type(event).__name__
        if name == "ScalarEvent":  # the most frequent one
            return self._scalar(event)
        if name in ("MappingEndEvent", "SequenceEndEvent"):
            return self._close()
        if name in ("MappingStartEvent", "SequenceStartEvent"):
            return self._begin(event, {} if name[0] == "M" else [])
        if name == "AliasEvent":
            return self._alias(event.anchor, _mark(event))
        return name != "DocumentStartEvent" or self._document(_mark(event))

    def _document(self, mark: Mark) -> bool:
        self.documents += 1
        if self.documents > 1:
            self.builder.fault("syntax", "expected one document, found a second; write one list", mark, 3)
        return self.documents == 1

    def _scalar(self, event: Any) -> bool:
        text, tag, mark = event.value, event.tag, _mark(event)
        plain = not event.style and tag is None
        if tag not in _TEXT_TAGS:
            self._refuse_tag(tag, mark)
        if "\0" in text:
            self.builder.fault("nul", "found a NUL character", mark)
        if self.builder.wants_key:
            self._key(text, mark, merges=plain and text == "<<")
            return True
        value = (None if text in _NULL else Plain(text)) if plain else text
        if event.anchor:
            self.anchors[event.anchor], self.sizes[event.anchor] = value, 1
        self._place(value, mark)
        return True

    def _key(self, text: str, mark: Mark, *, merges: bool) -> None:
        if merges:
            top = self.builder.stack[-1]
            top.key = "<<"
            top.merged.append((None, mark))
        else:
            self.builder.key(text, mark)

    def _begin(self, event: Any, items: dict[str, Any] | list[Any]) -> bool:
        mark = _mark(event)
        if event.tag not in (None, "!"):
            self._refuse_tag(event.tag, mark)
        if self.builder.wants_key:
            self.builder.fault("syntax", "expected a scalar as key, found a list or an object", mark)
            return False
        if len(self.builder.stack) >= MAX_DEPTH:
            self.refuse_depth(mark)
            return False
        if event.anchor:
            self.anchors[event.anchor] = items
            self.sizes.pop(event.anchor, None)
        merging = self._merging()
        self.builder.begin(items, mark, event.anchor)
        if merging is not None:
            self._unmerge(merging, items, mark)
        return True

    def refuse_depth(self, mark: Mark) -> None:
        """Report that lists and objects are nested too deep."""
        self.builder.fault("too-large", f"nested deeper than {MAX_DEPTH} levels", mark)

    def _close(self) -> bool:
        done = self.builder.stack.pop()
        if done.anchor:
            self.sizes[done.anchor] = done.size
        if self.builder.stack:
            self.builder.stack[-1].size += done.size
        for value, mark in done.merged:
            self._merge(done, value, mark)
        return True

    def _alias(self, anchor: str, mark: Mark) -> bool:
        if self.builder.wants_key:
            self.builder.fault("syntax", "expected a scalar as key, found an alias", mark)
            return False
        if anchor not in self.sizes:
            known = anchor in self.anchors
            what = "is used inside the value that it refers to" if known else "refers to no anchor before it"
            self.builder.fault("syntax", f"alias *{anchor} {what}", mark, len(anchor) + 1)
            return False
        self.aliased += self.sizes[anchor]
        if self.aliased > MAX_ALIASED:
            self.builder.fault("too-large", f"aliases stand for more than {MAX_ALIASED:,} values", mark)
            return False
        if self.builder.stack:
            self.builder.stack[-1].size += self.sizes[anchor]
        self._place(self.anchors[anchor], mark)
        return True

    def _place(self, value: Any, mark: Mark) -> None:
        merging = self._merging()
        self.builder.place(value, mark)
        if merging is not None:
            self._unmerge(merging, value, mark)

    def _merging(self) -> _Open | None:
        """Return the object whose merge key has no value yet."""
        top = self.builder.stack[-1] if self.builder.stack else None
        if top is None or not top.merged:
            return None
        return top if top.key == "<<" and top.merged[-1][0] is None else None

    def _unmerge(self, top: _Open, value: Any, mark: Mark) -> None:
        """Remove the value of a merge key from the object; it is merged when the object is complete."""
        assert isinstance(top.items, dict)
        del top.items["<<"]
        top.marks.pop()
        top.merged[-1] = (value, mark)

    def _merge(self, top: _Open, value: Any, mark: Mark) -> None:
        assert isinstance(top.items, dict)
        for each in value if isinstance(value, list) else [value]:
            if not isinstance(each, dict):
                self.builder.fault("syntax", "expected an object to merge (<<), found something else", mark)
                return
            for key, merged in each.items():
                if key not in top.items:
                    top.items[key] = merged
                    top.marks.append(mark)

    def _refuse_tag(self, tag: str, mark: Mark) -> None:
        shown = tag.replace("tag:yaml.org,2002:", "!!")
        message = f"found the tag {shown}; tags are never run, and the column's type decides what a value is"
        self.builder.fault("syntax", message, mark, len(shown))


def _mark(event: Any) -> Mark:
    return event.start_mark.line + 1, event.start_mark.column
