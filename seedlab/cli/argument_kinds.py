"""Converters of flag values for argparse: each returns the value of a text, or says what was expected."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def positive(text: str) -> int:
    """Convert an integer of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, found {text!r}")
    return int(text)


def limit(text: str) -> tuple[str, int]:
    """Convert TABLE=N to a pair."""
    table, _, number = text.rpartition("=")
    if not table or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"expected TABLE=N, such as users=100, found {text!r}")
    return table, int(number)


def delay(text: str) -> float:
    """Convert milliseconds from 0 to 10,000."""
    try:
        delay = float(text)
    except ValueError:
        delay = -1.0
    if not 0 <= delay <= 10_000:
        raise argparse.ArgumentTypeError(f"expected milliseconds from 0 to 10000, found {text!r}")
    return delay


def share(text: str) -> float:
    """Convert a share, such as 5% or 0.05."""
    number, percent, rest = text.partition("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = -1.0
    if rest or not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"expected a share like 5% or 0.05, found {text!r}")
    return share


def listed(convert: Callable[[str], _T]) -> Callable[[str], tuple[_T, ...]]:
    """Return a converter of words with commas between them, each of which `convert` converts."""

    def convert_all(text: str) -> tuple[_T, ...]:
        return tuple(convert(part.strip()) for part in text.split(",") if part.strip())

    return convert_all
