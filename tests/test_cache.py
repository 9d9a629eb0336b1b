"""What is known of rows in a run, and what must be asked."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from seedlab.flow import HANDLE
from seedlab.frames.cache import SeedCache


def handles(*numbers: int | None) -> pl.Series:
    return pl.Series(HANDLE, numbers, dtype=pl.UInt128)


def values(rows: dict[int, int | str], column: str, dtype: type[pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame(
        {HANDLE: list(rows), column: list(rows.values())}, schema={HANDLE: pl.UInt128, column: dtype}
    )


def exists(cache: SeedCache, label: str, asked: Sequence[int]) -> list[bool]:
    frame = pl.DataFrame({"h": handles(*asked)})
    return frame.select(cache.exists(label, pl.col("h")))["h"].to_list()


def test_an_empty_cache_knows_nothing() -> None:
    cache = SeedCache()

    assert cache.rows("t").to_list() == []
    assert cache.found("t").to_list() == []
    assert cache.values("t", "id") is None
    assert exists(cache, "t", [1]) == [False]


def test_what_the_files_bring_need_not_be_asked() -> None:
    cache = SeedCache()
    cache.add_rows("t", handles(1, 2))

    assert cache.to_ask("t", handles(1, 2, 3)).to_list() == [3]
    assert (cache.hits, cache.misses, cache.queries) == (2, 1, 0)


def test_a_handle_is_asked_for_once_and_null_never() -> None:
    cache = SeedCache()

    assert cache.to_ask("t", handles(1, None, 1, 2)).to_list() == [1, 2]


def test_an_answer_is_not_asked_for_again_even_when_it_was_no() -> None:
    cache = SeedCache()
    cache.remember("t", handles(1, 2), values({1: 9}, "id", pl.UInt128))

    assert cache.to_ask("t", handles(1, 2, 3)).to_list() == [3]
    assert cache.queries == 1
    assert exists(cache, "t", [1, 2, 3]) == [True, False, False]


def test_a_cache_that_is_switched_off_asks_again() -> None:
    cache = SeedCache(remembering=False)
    cache.remember("t", handles(1), values({1: 9}, "id", pl.UInt128))

    assert cache.to_ask("t", handles(1)).to_list() == [1]
    assert exists(cache, "t", [1]) == [True]


def test_rows_that_the_files_bring_may_be_asked_for_once() -> None:
    cache = SeedCache()
    cache.add_rows("t", handles(1, 2))
    cache.remember("t", handles(2), values({}, "id", pl.UInt128))

    assert cache.unasked("t", handles(1, None, 2, 1)).to_list() == [1]


def test_labels_are_kept_apart() -> None:
    cache = SeedCache()
    cache.add_rows("t", handles(1))

    assert exists(cache, "t|code", [1]) == [False]
    assert cache.to_ask("t|code", handles(1)).to_list() == [1]


def test_rows_of_the_files_are_not_rows_that_the_target_said_exist() -> None:
    cache = SeedCache()
    cache.add_rows("t", handles(1))
    cache.remember("t", handles(2), values({2: 9}, "id", pl.UInt128))

    assert cache.found("t").to_list() == [2]
    assert cache.rows("t").to_list() == [1]
    assert exists(cache, "t", [1, 2]) == [True, True]


def test_only_ids_that_differ_from_the_handle_are_exceptions() -> None:
    cache = SeedCache()
    cache.remember("t", handles(1, 2), values({1: 1, 2: 9}, "id", pl.UInt128))

    kept = cache.values("t", "id")

    assert kept is not None
    assert kept.rows() == [(2, 9)]


def test_no_exceptions_are_no_values() -> None:
    cache = SeedCache()
    cache.remember("t", handles(1), values({1: 1}, "id", pl.UInt128))

    assert cache.values("t", "id") is None


def test_values_that_are_no_handles_are_all_kept() -> None:
    cache = SeedCache()
    cache.expose("t", "number", values({1: "7", 2: "8"}, "number", pl.String))

    kept = cache.values("t", "number")

    assert kept is not None
    assert kept.rows() == [(1, "7"), (2, "8")]


def test_what_the_target_said_stands_before_what_the_files_say() -> None:
    cache = SeedCache()
    cache.remember("t", handles(1), values({1: 8}, "id", pl.UInt128))
    cache.expose("t", "id", values({1: 9}, "id", pl.UInt128))

    kept = cache.values("t", "id")

    assert kept is not None
    assert kept.rows() == [(1, 8)]


def test_every_question_is_counted() -> None:
    cache = SeedCache()
    for label in ("t", "u"):
        cache.remember(label, handles(1), values({}, "id", pl.UInt128))

    assert cache.queries == 2
