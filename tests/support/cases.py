"""Which cases of a parametrized test are tried at once, and which in CI alone."""

from __future__ import annotations

from collections.abc import Iterable

import pytest


def some(cases: Iterable[object], *quick: str) -> list[object]:
    """Cases, told by their names: those named are in the quick suite, all others are slow ones, which CI runs."""
    found = [
        pytest.param(case, marks=() if str(case) in quick else pytest.mark.slow, id=str(case))
        for case in cases
    ]
    assert {*quick} <= {each.id for each in found}, "a quick case that does not exist"
    return list(found)
