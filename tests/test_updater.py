"""What an update says is to be done, done, makes the one frame hold the rows of the other."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from seedlab.errors import ConfigurationError
from seedlab.flow import Outcomes
from seedlab.frames.updater import IncrementalUpdater, Update

BOTTLES = pl.DataFrame(
    {"sku": ["007", "008", "009"], "name": ["Merlot", "Syrah", None], "price": ["12.50", "9.90", "7.00"]}
)
by_sku = IncrementalUpdater(key=("sku",))


def changed(new: Any, old: Any, dtype: Any = None) -> bool:
    """Whether a value takes the place of another."""
    frames = [
        pl.DataFrame({"k": [1], "v": pl.Series([value], dtype=dtype, strict=False)}) for value in (old, new)
    ]
    return IncrementalUpdater(key=("k",)).compare(*frames).outcomes.updated == 1


def applied(update: Update, existing: pl.DataFrame) -> pl.DataFrame:
    """Do what the update says."""
    for patch in update.patches:
        existing = existing.update(patch, on=list(update.key), how="left", include_nulls=True)
    return pl.concat([existing, update.created], how="diagonal")


# ---- what is found --------------------------------------------------------------------------------------


def test_rows_are_created_updated_unchanged_or_left() -> None:
    new = pl.DataFrame({"sku": ["010", "008", "007"], "name": ["Chablis", "Shiraz", "Merlot"]})

    update = by_sku.compare(BOTTLES, new)

    assert update.created.to_dicts() == [{"sku": "010", "name": "Chablis"}]
    assert update.updated.to_dicts() == [{"sku": "008", "column": "name", "old": "Syrah", "new": "Shiraz"}]
    assert update.unchanged == 1
    assert update.left.to_dicts() == [{"sku": "009", "name": None, "price": "7.00"}]
    assert update.outcomes == Outcomes(created=1, updated=1, unchanged=1)


def test_each_value_that_differs_is_told_in_the_order_of_rows_and_columns() -> None:
    new = BOTTLES.reverse().with_columns(
        name=pl.Series(["Chablis", "Syrah", None]), price=pl.Series(["7.00", "9.95", "13.00"])
    )

    update = by_sku.compare(BOTTLES, new)

    assert update.updated.rows() == [
        ("009", "name", None, "Chablis"),
        ("008", "price", "9.90", "9.95"),
        ("007", "name", "Merlot", None),
        ("007", "price", "12.50", "13.00"),
    ]


def test_a_patch_has_the_new_values_of_the_columns_that_differ_and_no_others() -> None:
    old = pl.DataFrame({"k": [1, 2, 3], "a": [1.5, 2.5, 3.5], "b": [True, False, None]})
    new = pl.DataFrame({"k": [1, 2, 3], "a": [1.0, 2.5, 3.0], "b": [True, None, None]})

    update = IncrementalUpdater(key=("k",)).compare(old, new)

    assert [patch.to_dict(as_series=False) for patch in update.patches] == [
        {"k": [1, 3], "a": [1.0, 3.0]},
        {"k": [2], "b": [None]},
    ]


def test_the_order_of_rows_and_columns_does_not_matter() -> None:
    update = by_sku.compare(BOTTLES, BOTTLES.reverse().select("price", "sku", "name"))

    assert update.outcomes == Outcomes(unchanged=3)


def test_a_column_that_the_new_rows_lack_is_left_alone() -> None:
    assert by_sku.compare(BOTTLES, BOTTLES.select("sku")).outcomes == Outcomes(unchanged=3)


def test_only_the_columns_asked_for_are_compared_but_created_rows_are_whole() -> None:
    new = BOTTLES.with_columns(price=pl.lit("1.00"), note=pl.lit("x"), sku=pl.Series(["007", "008", "010"]))

    update = IncrementalUpdater(key=("sku",), columns=("name", "price")).compare(BOTTLES, new)
    by_name = IncrementalUpdater(key=("sku",), columns=("name",)).compare(BOTTLES, new)

    assert (update.outcomes.updated, by_name.outcomes.updated) == (2, 0)
    assert update.created.to_dicts() == [{"sku": "010", "name": None, "price": "1.00", "note": "x"}]


def test_a_key_of_several_columns_tells_rows_apart_by_all_of_them() -> None:
    old = pl.DataFrame({"order": [1, 1, 2], "position": [1, 2, 1], "n": [5, 5, 5]})

    update = IncrementalUpdater(key=("order", "position")).compare(old, old.with_columns(n=pl.col("order")))

    assert update.updated.select("order", "position", "new").rows() == [(1, 1, "1"), (1, 2, "1"), (2, 1, "2")]


def test_lazy_frames_are_taken_too() -> None:
    assert by_sku.compare(BOTTLES.lazy(), BOTTLES.lazy()).outcomes.unchanged == 3


@pytest.mark.parametrize("existing", [BOTTLES.clear(), pl.DataFrame({name: [] for name in BOTTLES.columns})])
def test_into_nothing_every_row_is_created(existing: pl.DataFrame) -> None:
    update = by_sku.compare(existing, BOTTLES)

    assert_frame_equal(update.created, BOTTLES)
    assert update.updated.columns == ["sku", "column", "old", "new"]
    assert update.patches == ()


def test_nothing_new_leaves_every_row() -> None:
    assert_frame_equal(by_sku.compare(BOTTLES, BOTTLES.clear()).left, BOTTLES)


def test_names_of_columns_cannot_get_in_the_way() -> None:
    old = pl.DataFrame({"k0": ["a"], "n0": ["x"], "o0": ["y"], "d0": ["z"], "row": ["r"], "old": ["o"]})

    update = IncrementalUpdater(key=("k0",)).compare(old, old.with_columns(d0=pl.lit("Z"), old=pl.lit("O")))

    assert update.updated.rows() == [("a", "d0", "z", "Z"), ("a", "old", "o", "O")]


# ---- what differs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "dtype"),
    [
        ("1.0", "1.00", pl.String),
        ("a", "A", pl.String),
        ("", None, pl.String),
        ("é", "e\u0301", pl.String),
        (None, 0, pl.Int64),
        (0.0, -0.0, pl.Float64),
        (0.1, 0.1 + 2**-56, pl.Float64),
        (float("nan"), None, pl.Float64),
        ([1, 2], [2, 1], pl.List(pl.Int64)),
        ([1, None], [1], pl.List(pl.Int64)),
        ({"a": 1}, {"a": None}, pl.Struct({"a": pl.Int64})),
        (b"\xff", b"\xfe", pl.Binary),
        ("x", "y", pl.Categorical),
        ("x", "y", pl.Enum(["x", "y"])),
        (2**127, 2**127 + 1, pl.UInt128),
        (Decimal("1.00"), Decimal("1.01"), pl.Decimal(10, 2)),
        (dt.timedelta(1), dt.timedelta(1, microseconds=1), pl.Duration),
        ([dt.timedelta(1)], [dt.timedelta(2)], pl.List(pl.Duration)),
        (dt.date(2024, 1, 1), dt.date(2024, 1, 2), pl.Date),
    ],
)
def test_what_is_not_the_same_is_an_update_both_ways(old: Any, new: Any, dtype: Any) -> None:
    assert changed(new, old, dtype)
    assert changed(old, new, dtype)
    assert not changed(old, old, dtype)
    assert not changed(new, new, dtype)


def test_null_equals_null_and_nan_equals_nan() -> None:
    assert not changed(None, None, pl.String)
    assert not changed(float("nan"), float("nan"), pl.Float64)


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (Decimal("1.50"), pl.Decimal(10, 2), "1.50"),
        (True, pl.Boolean, "true"),
        ([1, None], pl.List(pl.Int64), "[1,null]"),
        ({"a": "ü"}, pl.Struct({"a": pl.String}), '{"a":"ü"}'),
        (b"\xff", pl.Binary, "ff"),
        (dt.timedelta(hours=1), pl.Duration, "PT1H"),
        (dt.date(2024, 1, 2), pl.Date, "2024-01-02"),
    ],
)
def test_values_of_every_type_are_told_as_text(value: Any, dtype: Any, text: str) -> None:
    old = pl.DataFrame({"k": [1], "v": pl.Series([None], dtype=dtype)})
    new = pl.DataFrame({"k": [1], "v": pl.Series([value], dtype=dtype)})

    assert IncrementalUpdater(key=("k",)).compare(old, new).updated.rows() == [(1, "v", None, text)]


# ---- types that differ ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("have", "given"),
    [
        (pl.Series([7, 8]), pl.Series(["7", "8"])),
        (pl.Series(["7", "8"]), pl.Series([7, 8])),
        (pl.Series([7.0, 8.0]), pl.Series([7, 8])),
        (pl.Series([7, 8]), pl.Series([7.0, 8.0])),
        (pl.Series([7, 8], dtype=pl.Int8), pl.Series([7, 8])),
        (pl.Series(["1.50", "2.00"]).cast(pl.Decimal(10, 2)), pl.Series([1.5, 2.0])),
        (pl.Series(["x", "y"], dtype=pl.Enum(["x", "y"])), pl.Series(["x", "y"])),
        (pl.Series([None, None], dtype=pl.Int64), pl.Series([None, None])),
        (pl.Series([dt.date(2024, 1, 1)] * 2).cast(pl.Datetime), pl.Series([dt.date(2024, 1, 1)] * 2)),
    ],
)
def test_values_are_cast_to_the_existing_type_where_nothing_is_lost(
    have: pl.Series, given: pl.Series
) -> None:
    old = pl.DataFrame({"k": [1, 2], "v": have})
    new = pl.DataFrame({"k": [1, 2, 3], "v": pl.concat([given, given.head(1)])})

    update = IncrementalUpdater(key=("k",)).compare(old, new)

    assert (update.outcomes.unchanged, update.outcomes.updated) == (2, 0)
    assert update.created.schema == old.schema


@pytest.mark.parametrize(
    ("have", "given", "why"),
    [
        (pl.Series([7]), pl.Series(["007"]), "1 value would change"),
        (pl.Series([7]), pl.Series([7.5]), "1 value would change"),
        (pl.Series([7.0]), pl.Series([2**53 + 1]), "1 value would change"),
        (pl.Series([7], dtype=pl.Int8), pl.Series([300]), "1 value would change"),
        (pl.Series(["x"], dtype=pl.Enum(["x"])), pl.Series(["y"]), "1 value would change"),
        (pl.Series(["1.5"]).cast(pl.Decimal(10, 2)), pl.Series([0.125]), "1 value would change"),
        (pl.Series([7]), pl.Series([[7]]), "cannot be cast"),
        (pl.Series([None]), pl.Series([object()]), "Python objects"),
        (
            pl.Series([dt.date(2024, 1, 1)]).cast(pl.Datetime),
            pl.Series([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)]),
            "only one of them has a time zone",
        ),
    ],
)
def test_a_cast_that_would_lose_something_is_an_error_that_names_the_column(
    have: pl.Series, given: pl.Series, why: str
) -> None:
    old, new = (pl.DataFrame({"k": [1], "price": values}) for values in (have, given))

    with pytest.raises(ConfigurationError, match=f"column 'price' .*{why}"):
        IncrementalUpdater(key=("k",)).compare(old, new)


def test_keys_are_cast_too() -> None:
    old, new = pl.DataFrame({"k": [1, 2]}), pl.DataFrame({"k": ["2", "3"]})

    update = IncrementalUpdater(key=("k",)).compare(old, new)

    assert (update.created["k"].to_list(), update.left["k"].to_list()) == ([3], [1])


# ---- what is refused ------------------------------------------------------------------------------------


def test_keys_that_are_null_or_there_twice_are_told_all_at_once_without_their_values() -> None:
    old = pl.DataFrame({"a": ["secret", "secret", None, "x"], "b": [1, 1, 2, 3]})
    new = pl.DataFrame({"a": ["secret"] * 3, "b": [7, 7, None]})

    with pytest.raises(ConfigurationError) as refused:
        IncrementalUpdater(key=("a", "b")).compare(old, new)

    assert str(refused.value).splitlines() == [
        "existing: NULL in the key (a, b) of 1 row",
        "existing: 2 rows whose key (a, b) is a duplicate",
        "new: NULL in the key (a, b) of 1 row",
        "new: 2 rows whose key (a, b) is a duplicate",
    ]


def test_columns_that_are_not_there_are_told_all_at_once_with_the_nearest_name() -> None:
    new = BOTTLES.rename({"sku": "skuu", "name": "nam"})

    with pytest.raises(ConfigurationError) as refused:
        by_sku.compare(BOTTLES, new)

    assert str(refused.value).splitlines() == [
        "new: there is no column 'sku'; did you mean 'skuu'?",
        "existing: there is no column 'skuu'; did you mean 'sku'?",
        "existing: there is no column 'nam'; did you mean 'name'?",
    ]


def test_a_column_asked_for_that_neither_has_is_an_error() -> None:
    with pytest.raises(
        ConfigurationError, match="existing: there is no column 'prize'; did you mean 'price'"
    ):
        IncrementalUpdater(key=("sku",), columns=("prize",)).compare(BOTTLES, BOTTLES)


def test_a_key_of_no_column_or_of_a_name_that_the_answer_has_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="found none"):
        IncrementalUpdater(key=())
    with pytest.raises(ConfigurationError, match="key column 'old'"):
        IncrementalUpdater(key=("old",))


def test_a_key_may_be_one_name() -> None:
    assert IncrementalUpdater(key="sku") == by_sku


# ---- how it reads ---------------------------------------------------------------------------------------


def test_it_reads_as_counts_with_the_columns_that_differ() -> None:
    new = BOTTLES.with_columns(price=pl.lit("1.00"), name=pl.lit("Syrah"))

    update = by_sku.compare(BOTTLES, new)

    assert repr(update) == (
        "Update by sku: 0 created, 3 updated (price 3, name 2), 0 unchanged, 0 left alone"
    )


def test_its_html_shows_names_as_they_are_and_no_values() -> None:
    old = pl.DataFrame({"a<b": [1], "<i>": ["secret"]})

    html = (
        IncrementalUpdater(key=("a<b",))
        .compare(old, old.with_columns(pl.lit("x").alias("<i>")))
        ._repr_html_()
    )

    assert "a&lt;b" in html
    assert "&lt;i&gt; 1" in html
    assert "secret" not in html


# ---- whatever the rows ----------------------------------------------------------------------------------

VALUES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "text": (pl.String, st.sampled_from(["", "1.0", "1.00", "é", "null"])),
    "number": (pl.Int64, st.integers(-1, 1)),
    "real": (pl.Float64, st.sampled_from([0.0, 0.1, 1e300])),
    "exact": (pl.Decimal(10, 2), st.decimals("-1", "1", places=2)),
    "flag": (pl.Boolean, st.booleans()),
    "list": (pl.List(pl.Int64), st.lists(st.integers(0, 1), max_size=2)),
}
COLUMNS = list(VALUES)


@st.composite
def frames(draw: st.DrawFn, columns: list[str]) -> pl.DataFrame:
    """Rows of distinct keys, any value also NULL; few values, so that many are equal."""
    keys = draw(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab")), unique=True, max_size=8))
    values = {
        name: pl.Series(
            [draw(st.none() | VALUES[name][1]) for _ in keys], dtype=VALUES[name][0]
        )
        for name in columns
    }  # fmt: skip
    return pl.DataFrame(
        {
            "k": pl.Series([k for k, _ in keys], dtype=pl.Int64),
            "l": pl.Series([x for _, x in keys], dtype=pl.String),
        }
        | values
    )


@pytest.mark.slow
@settings(max_examples=150)
@given(existing=frames(COLUMNS), data=st.data())
def test_done_to_the_existing_rows_an_update_gives_the_new_ones_and_those_left(
    existing: pl.DataFrame, data: st.DataObject
) -> None:
    columns = data.draw(st.lists(st.sampled_from(COLUMNS), unique=True))
    new = data.draw(frames(columns))
    updater = IncrementalUpdater(key=("k", "l"))

    update = updater.compare(existing, new)

    whole = applied(update, existing)
    assert_frame_equal(
        whole.join(new, on=["k", "l"], how="semi").select(new.columns), new, check_row_order=False
    )
    assert_frame_equal(whole.join(new, on=["k", "l"], how="anti"), update.left, check_row_order=False)
    assert update.outcomes.total == new.height
    assert update.updated.select("k", "l").n_unique() == update.outcomes.updated or update.updated.is_empty()
    assert updater.compare(whole, new).outcomes == Outcomes(unchanged=new.height)


@settings(max_examples=50)
@given(existing=frames(COLUMNS))
def test_a_frame_compared_with_itself_is_unchanged(existing: pl.DataFrame) -> None:
    update = IncrementalUpdater(key=("k", "l")).compare(existing, existing.reverse())

    assert update.outcomes == Outcomes(unchanged=existing.height)
    assert update.left.is_empty()
