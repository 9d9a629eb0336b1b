"""Evaluates the conditions of stages: `empty:TABLE`, `environment:NAME,…`, `python:FILE.py:FUNCTION`.

Conditions are evaluated once, before anything is written. All of them are, so that the user sees every
reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seedlab.errors import ConfigurationError, Place, nearest
from seedlab.plan import scripts

Kind = Literal["empty", "environment", "python"]
KINDS: tuple[Kind, ...] = ("empty", "environment", "python")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A parsed condition: `values` are the table, the environments, or the file and the function."""

    kind: Kind
    values: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What conditions are evaluated against; `empty_tables` are spelled as in the conditions."""

    environment: str
    empty_tables: frozenset[str]
    root: Path
    force: bool = False


def parse(text: str) -> Condition:
    """Parse a condition. Raises ConfigurationError that shows the syntax."""
    kind, colon, rest = (part.strip() for part in text.partition(":"))
    if kind not in KINDS:
        hint = nearest(kind, KINDS) or f"; known are {', '.join(map(_example, KINDS))}"
        raise ConfigurationError(f"unknown condition '{text}'{hint}")
    values = scripts.split(rest) if kind == "python" and rest else _words(rest)
    if not colon or not values or (kind == "empty" and len(values) > 1):
        raise ConfigurationError(f"cannot read the condition '{text}'; expected {_example(kind)}")
    return Condition(kind=kind, values=values, text=text)


def tables_needed(conditions: Iterable[Condition]) -> frozenset[str]:
    """Return the tables that conditions require to be empty."""
    return frozenset(each.values[0] for each in conditions if each.kind == "empty")


def unmet(conditions: Iterable[Condition], situation: Situation) -> tuple[str, ...]:
    """Evaluate all conditions; return why those that are not met are not.

    Raises ConfigurationError if a function of the project fails or returns something other than a bool or
    (bool, reason).
    """
    return tuple(reason for each in conditions if (reason := _CHECKS[each.kind](each, situation)))


def _empty(condition: Condition, situation: Situation) -> str | None:
    table = condition.values[0]
    return None if table in situation.empty_tables else f"{table} is not empty"


def _environment(condition: Condition, situation: Situation) -> str | None:
    if situation.environment in condition.values:
        return None
    return f"environment is {situation.environment}, not {' or '.join(condition.values)}"


def _python(condition: Condition, situation: Situation) -> str | None:
    file, name = condition.values
    function = scripts.find_function(situation.root, file, name)
    with scripts.running(situation.root, file, name):
        answer = function(situation)
    otherwise = f"{name} returned false"
    met, reason = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, otherwise)
    if not isinstance(met, bool) or not isinstance(reason, str):
        message = f"{name} returned {type(answer).__name__}; expected bool or (bool, reason)"
        raise ConfigurationError(message, Place(file=file))
    return None if met else reason


_CHECKS: dict[Kind, Callable[[Condition, Situation], str | None]] = {
    "empty": _empty,
    "environment": _environment,
    "python": _python,
}


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _example(kind: str) -> str:
    return {"empty": "empty:TABLE", "environment": "environment:NAME"}.get(kind, "python:FILE.py:FUNCTION")
