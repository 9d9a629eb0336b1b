"""What is remembered of a seed's rows: which file brings each, whether we made it, and how to find it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
import pytest

from seedlab.flow import DIGEST, FILE, HANDLE, LEFT, memory
from seedlab.frames import contents, row_names
from seedlab.frames.contents import CONTENT, NOTHING
from seedlab.frames.key_packs import RUN

MADE = "5eed1ab0"  # a run
BIG = 1 << 127  # handles use all their bits

Row = tuple[int, int, int]  # file, handle, digest


def rows(*of: Row) -> pl.DataFrame:
    """Rows as files bring them."""
    schema = {FILE: pl.UInt16, HANDLE: pl.UInt128, DIGEST: pl.UInt64}
    return pl.DataFrame([(file, BIG + handle, digest) for file, handle, digest in of], schema, orient="row")


def handles(*of: int) -> pl.Series:
    return pl.Series(HANDLE, [BIG + each for each in of], dtype=pl.UInt128)


def content(*of: tuple[int, int, int, bool], **keys: Sequence[str | None]) -> pl.DataFrame:
    """Rows as they are remembered."""
    made = rows(*(row[:3] for row in of))
    named = [pl.Series(f"key.{name}", values, dtype=pl.String) for name, values in keys.items()]
    return made.with_columns(
        pl.Series(RUN, [MADE if row[3] else None for row in of], dtype=pl.String), *named
    )


def keys(**of: Sequence[str | int]) -> pl.DataFrame:
    """Key columns of rows that were written; `handle` names the rows."""
    named = {HANDLE: handles(*of.pop("handle"))}  # type: ignore[arg-type]
    return pl.DataFrame({**named, **{name: list(values) for name, values in of.items()}})


def told(frame: pl.DataFrame) -> set[tuple[int, int, int, bool]]:
    """The rows of a content, whatever their order."""
    columns = (frame[FILE], frame[HANDLE], frame[DIGEST], frame[RUN].is_not_null())
    return {
        (file, handle - BIG, digest, created) for file, handle, digest, created in zip(*columns, strict=True)
    }


def keys_by_handle(frame: pl.DataFrame, column: str = "code") -> Mapping[int, str | None]:
    found = zip(frame[HANDLE], frame[f"key.{column}"], strict=True)
    return {handle - BIG: value for handle, value in found}


def renewed(
    before: pl.DataFrame,
    rows: pl.DataFrame,
    created: pl.Series,
    keys: pl.DataFrame | None,
    files: Sequence[int],
) -> pl.DataFrame:
    """The content after a run."""
    return contents.update(before, rows, created, MADE, keys, files)


# ---- packing --------------------------------------------------------------------------------------------


def test_what_is_packed_is_unpacked_as_it_was() -> None:
    whole = content((0, 1, 10, True), (LEFT, 2, (1 << 64) - 1, False), code=["a", None])

    assert contents.unpack([contents.pack(whole)]).equals(whole, null_equal=True)
    assert contents.unpack([contents.pack(whole)]).schema == whole.schema


def test_nothing_is_unpacked_as_no_row() -> None:
    assert contents.unpack([]).equals(NOTHING)
    assert contents.unpack([contents.pack(NOTHING)]).schema == CONTENT


def test_many_rows_are_packed_in_several_packs_and_recent_ones_lie_over_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "PACK_BYTES", 500)
    whole = content(*((0, n, n, True) for n in range(100)), code=[str(n) for n in range(100)])
    several = list(contents.packs(whole))
    recent = [
        content((0, 70, 7, True), code=["70"]),
        contents.forget(content((0, 3, 3, True), code=["3"])),
    ]
    with_recent = [*several, *map(contents.pack, recent)]

    assert len(several) > 5
    assert max(map(len, several)) < 500 + 1500  # a line and what Arrow needs beside the rows
    assert contents.unpack(several).equals(whole, null_equal=True)
    patched = contents.unpack(with_recent)
    assert patched[HANDLE].to_list() == [BIG + n for n in range(100) if n != 3]
    assert patched[DIGEST].to_list() == [7 if n == 70 else n for n in range(100) if n != 3]


def test_later_packs_replace_rows_where_they_stand_and_add_others_behind() -> None:
    whole = content((0, 1, 10, True), (0, 2, 20, False), (1, 3, 30, True), (1, 4, 40, False))
    first = content((1, 4, 41, False), (0, 5, 50, True), code=["d", "e"])
    gone = contents.forget(content((0, 2, 20, False), (0, 6, 60, True)))
    last = content((1, 3, 33, True), (0, 5, 55, True), code=["c", "ee"])
    packed = b"".join(map(contents.pack, (whole, first, gone, last)))
    expected = content(
        (0, 1, 10, True), (1, 3, 33, True), (1, 4, 41, False), (0, 5, 55, True), code=[None, "c", "d", "ee"]
    )
    assert contents.unpack([packed]).equals(expected)


def test_packed_rows_are_small() -> None:
    many = content(*((0, n, n, True) for n in range(1000)))

    assert len(contents.pack(many)) < 1000 * 26


# ---- files ----------------------------------------------------------------------------------------------


def test_files_are_counted_as_they_are_listed_now() -> None:
    before = content((0, 1, 1, True), (1, 2, 2, True), (2, 3, 3, True), (LEFT, 4, 4, True))

    now = contents.renumber(before, ["a", "b", "c"], ["c", "new", "a"])

    assert told(now) == {(2, 1, 1, True), (LEFT, 2, 2, True), (0, 3, 3, True), (LEFT, 4, 4, True)}
    assert now.schema == before.schema


def test_files_that_stand_where_they_stood_change_nothing() -> None:
    before = content((0, 1, 1, True), (LEFT, 2, 2, True))

    assert contents.renumber(before, ["a"], ["a", "b"]) is before


def test_rows_of_other_files_are_those_that_files_still_bring() -> None:
    whole = content((0, 1, 1, True), (1, 2, 2, True), (2, 3, 3, False), (LEFT, 4, 4, True))

    assert set(contents.handles_of_other_files([whole], [1])) == set(handles(1, 3))
    assert set(contents.handles_of_other_files([whole])) == set(handles(1, 2, 3))


# ---- what is not remembered just so ---------------------------------------------------------------------


def test_rows_are_known_by_handle_and_digest_together() -> None:
    known = content((0, 1, 10, True), (0, 2, 20, False))

    found = contents.changed_rows(rows((0, 3, 10), (0, 1, 10), (0, 2, 21), (0, 9, 9)), known)

    assert found.equals(rows((0, 3, 10), (0, 2, 21), (0, 9, 9)))


def test_a_row_that_moved_to_another_file_is_not_known() -> None:
    assert contents.changed_rows(rows((1, 1, 10)), content((0, 1, 10, True))).height == 1


def test_a_row_that_no_file_had_is_not_known() -> None:
    assert contents.changed_rows(rows((0, 1, 10)), content((LEFT, 1, 10, True))).height == 1


def test_a_row_of_which_no_digest_is_remembered_is_not_known() -> None:
    known = content((0, 1, 10, True)).with_columns(pl.lit(None, dtype=pl.UInt64).alias(DIGEST))

    assert contents.changed_rows(rows((0, 1, 10)), known).height == 1


# ---- renewing -------------------------------------------------------------------------------------------


def test_the_first_run_remembers_every_row_with_its_key() -> None:
    made = renewed(
        NOTHING, rows((0, 1, 1), (1, 2, 2)), handles(1, 2), keys(handle=[1, 2], code=["a", "b"]), [0, 1]
    )

    assert told(made) == {(0, 1, 1, True), (1, 2, 2, True)}
    assert keys_by_handle(made) == {1: "a", 2: "b"}


def test_keys_in_another_order_go_to_their_rows() -> None:
    made = renewed(
        NOTHING, rows((0, 1, 1), (0, 2, 2)), handles(2, 1), keys(handle=[2, 1], code=["b", "a"]), [0]
    )

    assert keys_by_handle(made) == {1: "a", 2: "b"}


def test_rows_that_were_there_before_the_first_run_are_not_ours() -> None:
    made = renewed(NOTHING, rows((0, 1, 1), (0, 2, 2)), handles(2), keys(handle=[1, 2], code=["a", "b"]), [0])

    assert told(made) == {(0, 1, 1, False), (0, 2, 2, True)}
    assert keys_by_handle(made) == {1: "a", 2: "b"}


@pytest.mark.parametrize("named", [None, keys(handle=[], code=[]).cast({"code": pl.String})])
def test_a_first_run_without_rows_remembers_none(named: pl.DataFrame | None) -> None:
    made = renewed(NOTHING, rows(), handles(), named, [0])

    assert made.height == 0
    assert contents.unpack([contents.pack(made)]).select(CONTENT.names()).schema == CONTENT


def test_rows_of_files_that_were_not_read_stay_as_they_were() -> None:
    before = content((0, 1, 1, True), (1, 2, 2, False), code=["a", "b"])

    after = renewed(before, rows((0, 1, 7)), handles(), None, [0])

    assert told(after) == {(0, 1, 7, True), (1, 2, 2, False)}
    assert keys_by_handle(after) == {1: "a", 2: "b"}


def test_a_row_that_we_made_stays_ours_when_it_changes_or_moves_to_another_file() -> None:
    before = content((0, 1, 1, True), (0, 2, 2, False), (1, 3, 3, True))

    after = renewed(before, rows((1, 1, 9), (1, 2, 2), (0, 3, 3)), handles(), None, [0, 1])

    assert told(after) == {(1, 1, 9, True), (1, 2, 2, False), (0, 3, 3, True)}


def test_of_rows_that_are_no_more_we_keep_those_that_we_made() -> None:
    before = content((0, 1, 1, True), (0, 2, 2, False), (0, 3, 3, True), code=["a", "b", "c"])

    after = renewed(before, rows((0, 3, 3)), handles(), None, [0])

    assert told(after) == {(LEFT, 1, 1, True), (0, 3, 3, True)}
    assert keys_by_handle(after) == {1: "a", 3: "c"}


def test_a_file_that_has_no_row_any_more_leaves_ours() -> None:
    before = content((0, 1, 1, True), (1, 2, 2, True))

    after = renewed(before, rows(), handles(), None, [0, 1])

    assert told(after) == {(LEFT, 1, 1, True), (LEFT, 2, 2, True)}


def test_rows_that_left_long_ago_stay_ours_and_come_back_as_ours() -> None:
    before = content((0, 1, 1, True), (LEFT, 2, 2, True), (LEFT, 3, 3, True), code=["a", "b", "c"])

    after = renewed(before, rows((0, 1, 1), (0, 2, 8)), handles(), None, [0])

    assert told(after) == {(0, 1, 1, True), (0, 2, 8, True), (LEFT, 3, 3, True)}
    assert keys_by_handle(after) == {1: "a", 2: "b", 3: "c"}


def test_a_row_that_moved_to_a_file_that_was_not_read_has_not_left() -> None:
    before = content((0, 1, 1, True), (1, 1, 1, False))

    after = renewed(before, rows(), handles(), None, [0])

    assert told(after) == {(1, 1, 1, False)}


def test_keys_as_they_were_written_now_replace_those_remembered() -> None:
    before = content((0, 1, 1, True), (0, 2, 2, True), code=["a", "b"])

    after = renewed(before, rows((0, 1, 5), (0, 2, 2)), handles(), keys(handle=[1], code=["A"]), [0])

    assert keys_by_handle(after) == {1: "A", 2: "b"}
    assert told(after) == {(0, 1, 5, True), (0, 2, 2, True)}


@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=["as the rows", "another"])
def test_rows_that_stayed_get_the_keys_written_now_in_whatever_order_these_come(order: list[int]) -> None:
    before = content((0, 1, 1, True), (0, 2, 2, False), code=["a", None], old=["x", "y"])
    written = keys(handle=[1, 2], code=["A", "B"])[order]

    after = renewed(before, rows((0, 1, 5), (0, 2, 2)), handles(), written, [0])

    assert {*after.columns} == {FILE, HANDLE, DIGEST, RUN, "key.code"}
    assert after[HANDLE].equals(before[HANDLE])
    assert keys_by_handle(after) == {1: "A", 2: "B"}
    assert told(after) == {(0, 1, 5, True), (0, 2, 2, False)}


def test_rows_made_now_are_added_with_their_keys() -> None:
    before = content((0, 1, 1, False), code=["a"])

    after = renewed(before, rows((0, 1, 1), (0, 2, 2)), handles(2), keys(handle=[2], code=["b"]), [0])

    assert told(after) == {(0, 1, 1, False), (0, 2, 2, True)}
    assert keys_by_handle(after) == {1: "a", 2: "b"}


def test_a_key_that_the_table_got_later_is_known_of_rows_written_since() -> None:
    before = content((0, 1, 1, True), (LEFT, 3, 3, True), code=["a", "c"])

    after = renewed(before, rows((0, 1, 1), (0, 2, 2)), handles(2), keys(handle=[1, 2], slug=["x", "y"]), [0])

    assert keys_by_handle(after, "slug") == {1: "x", 2: "y", 3: None}


def test_a_key_whose_type_changed_does_not_stop_the_run() -> None:
    before = content((0, 1, 1, True), (0, 2, 2, True), code=["a", "b"])
    numbers = pl.DataFrame({HANDLE: handles(1), "code": pl.Series([7], dtype=pl.UInt128)})

    after = renewed(before, rows((0, 1, 1)), handles(), numbers, [0])

    assert told(after) == {(0, 1, 1, True), (LEFT, 2, 2, True)}
    assert keys_by_handle(after) == {1: 7, 2: None}


# ---- what is no more ------------------------------------------------------------------------------------


def test_of_an_abandoned_load_the_rows_that_we_made_are_kept() -> None:
    whole = content((0, 1, 1, True), (1, 2, 2, False), (LEFT, 3, 3, True))

    assert told(contents.mark_left(whole)) == {(LEFT, 1, 1, True), (LEFT, 3, 3, True)}
    assert contents.mark_left(whole).schema == whole.schema


def test_rows_are_named_by_the_id_that_we_made_or_by_their_keys() -> None:
    whole = content((0, 1, 1, True), (0, 2, 2, True), code=["a", None])

    assert row_names.names(whole, "id").to_dict(as_series=False) == {"id": [BIG + 1, BIG + 2]}
    assert row_names.names(whole, None).to_dict(as_series=False) == {"code": ["a"]}
