"""The parameters of notebooks, and their checks, since papermill checks nothing.

The parameters of a notebook are a frozen dataclass. `runner.py` makes one from the command line's text
before anything runs, and the notebook's first cell makes one from its variables, so that both report the same
mistakes.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, make_dataclass
from typing import Any, Self, TypeAlias, get_args

from seedlab.errors import ConfigurationError, masked, nearest
from seedlab.flow import LEVELS as _LEVELS
from seedlab.flow import Level
from seedlab.insight.judging.compare import Gate

Scalar: TypeAlias = str | int | float | bool
LEVELS = tuple(_LEVELS)
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NOUNS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_WHOLE = re.compile(r"[+-]?\d+")


def check(parameters: Any) -> None:
    """Raise ConfigurationError for a value of a wrong type, out of bounds, or with a password in it.

    `parameters` is a dataclass of scalars, whose defaults determine their types.
    """
    for each in fields(parameters):
        value, kind = getattr(parameters, each.name), type(each.default)
        fits = type(value) is kind or (kind is float and type(value) is int)
        if not fits or (kind is float and not math.isfinite(value)):
            raise _unexpected(each.name, _expected(kind, each.metadata), value)
        _check_value(each.name, value, each.metadata)


def _check_value(name: str, value: Scalar, bounds: Mapping[str, Any]) -> None:
    if isinstance(value, str):
        if masked(value) != value:
            raise ConfigurationError(
                f"parameter {name}: holds a password, which would be kept in the report; "
                "name a target of the project, or a variable of the environment that holds the URL: $NAME"
            )
        known = bounds.get("choices", ())
        for word in words(value) if bounds.get("several") else (value,):
            if known and word not in known:
                expected = " or ".join(each or "nothing" for each in known)
                raise ConfigurationError(
                    f"parameter {name}: expected {expected}, found {word!r}{nearest(word, known)}"
                )
            if "numbers" in bounds and not _is_number(word, bounds["numbers"]):
                raise _unexpected(
                    name, f"numbers of at least {bounds['numbers']}, with commas between", value
                )
    elif value < bounds.get("low", value):
        raise _unexpected(name, _expected(type(value), bounds), value)


def _expected(kind: type, bounds: Mapping[str, Any]) -> str:
    return _NOUNS[kind] + (f" of at least {bounds['low']}" if "low" in bounds else "")


def _unexpected(name: str, expected: str, value: object) -> ConfigurationError:
    return ConfigurationError(f"parameter {name}: expected {expected}, found {masked(repr(value))}")


def words(text: str) -> tuple[str, ...]:
    """Split a text at commas."""
    return tuple(word.strip() for word in text.split(","))


def _is_number(word: str, low: float) -> bool:
    try:
        return low <= float(word) < math.inf
    except ValueError:
        return False


def from_text(kind: type[Any], arguments: Mapping[str, str]) -> dict[str, Scalar]:
    """Convert and check the arguments of `-p name=value`; return only those that were given.

    Each is converted to its parameter's type, so that `7e12345` stays text (a commit) for a text parameter.
    """
    known = {each.name: each for each in fields(kind)}
    for name in arguments:
        if name not in known:
            names = ", ".join(known) or "none"
            raise ConfigurationError(
                f"unknown parameter {name}{nearest(name, known)}; the notebook's parameters: {names}"
            )
    values = {name: _value(known[name], text) for name, text in arguments.items()}
    kind(**values)
    return values


def _value(parameter: Any, text: str) -> Scalar:
    kind = type(parameter.default)
    if kind is bool and text.lower() in _TRUTHS:
        return _TRUTHS[text.lower()]
    if kind is int and _WHOLE.fullmatch(text):
        return int(text)
    if kind is float:
        try:
            return float(text)
        except ValueError:
            pass
    if kind is str:
        return text
    raise _unexpected(parameter.name, _expected(kind, parameter.metadata), text)


def of_cell(source: str) -> type[Any]:
    """Build the parameters of a user's own notebook from its cell that is tagged `parameters`.

    Each assignment of a literal to a name in the cell is a parameter with that default.
    """
    found: list[tuple[str, type, Any]] = []
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise ConfigurationError(
            f"cannot read the cell tagged parameters: line {error.lineno}: {error.msg}; "
            "expected assignments of plain values"
        ) from error
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        try:
            default = ast.literal_eval(node.value)  # type: ignore[attr-defined]
        except (AttributeError, ValueError):
            continue
        if isinstance(target, ast.Name) and type(default) in _NOUNS:
            found.append((target.id, type(default), field(default=default)))
    return make_dataclass(
        "Parameters", found, namespace={"__post_init__": check}, frozen=True, kw_only=True, slots=True
    )


# ---- bounds of a parameter, the metadata of its field ---------------------------------------------------


def one_of(choices: Iterable[str]) -> Mapping[str, Any]:
    """Allow one word of a list."""
    return {"choices": tuple(choices)}


def some_of(choices: Iterable[str]) -> Mapping[str, Any]:
    """Allow several words of a list, with commas between them."""
    return {"choices": tuple(choices), "several": True}


def numbers(low: float) -> Mapping[str, Any]:
    """Allow several numbers of at least `low`, with commas between them."""
    return {"several": True, "numbers": low}


def at_least(low: float) -> Mapping[str, Any]:
    """Allow a number of at least `low`."""
    return {"low": low}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    def __post_init__(self) -> None:
        check(self)

    @classmethod
    def of(cls, variables: Mapping[str, Any]) -> Self:
        """Build the parameters from a notebook's variables, `globals()`."""
        return cls(**{each.name: variables[each.name] for each in fields(cls) if each.name in variables})


# ---- the notebooks of this package ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedParameters(_Checked):
    """`01-seed`: project, target and options; empty means the same as for `seedlab seed`."""

    project: str = ""
    target: str = ""
    environment: str = ""
    level: Level = field(default="incremental", metadata=one_of(LEVELS))
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileParameters(_Checked):
    """`02-profile-phases`: a stored profile, or what to measure."""

    profile: str = ""
    project: str = ""
    target: str = ""
    environment: str = ""
    levels: str = field(default=",".join(LEVELS), metadata=some_of(LEVELS))
    pairs: int = field(default=7, metadata=at_least(1))
    round_trip_ms: str = field(default="0", metadata=numbers(0))
    ablation: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunParameters(_Checked):
    """`03-bottlenecks`: a stored run."""

    run: str = "last"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareParameters(_Checked):
    """`04-before-after`: two stored runs, levels, project folders or git revisions, and the gate."""

    before: str = "bulk"
    after: str = "incremental"
    project: str = ""
    target: str = ""
    environment: str = ""
    pairs: int = field(default=7, metadata=at_least(1))
    max_pairs: int = field(default=15, metadata=at_least(1))
    threshold: float = field(default=0.05, metadata=at_least(0))
    round_trip_ms: float = field(default=0.0, metadata=at_least(0))
    anyway: bool = False
    fail_on: Gate = field(default="none", metadata=one_of(get_args(Gate)))


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryParameters(_Checked):
    """`05-history`: which runs; empty means all."""

    project: str = ""
    level: str = field(default="", metadata=one_of(("", *LEVELS)))
    environment: str = ""
