"""Which rows of a changed file need no look, and how they are named all the same."""

from __future__ import annotations

import polars as pl
import pytest

from seedlab.flow import FILE, HANDLE, ROW
from seedlab.steps.recalling.reused_handles import ReusedHandles

THEN = pl.Series(HANDLE, [11, 12, 13, 14], dtype=pl.UInt128)
WHOLE = pl.DataFrame({"code": ["a", "b", "c", "d"], FILE: [0, 0, 0, 1], ROW: [1, 2, 3, 1]})


@pytest.mark.parametrize(
    "same",
    [
        [True, True, True, True],
        [False, True, False, True],
        [True, False, True, False],
        [False, False, False, False],
    ],
)
def test_rows_that_say_what_they_said_keep_their_handles_and_the_others_get_theirs(same: list[bool]) -> None:
    mask = pl.Series(same)
    others = WHOLE.filter(~mask)
    reused = ReusedHandles(frame=WHOLE, remembered=THEN, unchanged=mask, changed=others)
    fresh = pl.Series(HANDLE, [100 + n for n in range(others.height)], dtype=pl.UInt128)

    named = reused.all_handles(fresh)

    left = iter(fresh)
    assert named[HANDLE].to_list() == [then if s else next(left) for then, s in zip(THEN, same, strict=True)]
    assert named.select(FILE, ROW).equals(WHOLE.select(FILE, ROW))
    assert named.columns == [FILE, ROW, HANDLE]
