"""`IncrementalUpdater`: compute the changes that turn the rows of one frame into those of another.

For use in notebooks and transforms; seeding itself compares rows in the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import polars as pl
from polars.exceptions import PolarsError

from seedlab.errors import ConfigurationError, nearest
from seedlab.flow import Outcomes

COLUMN, OLD, NEW = "column", "old", "new"  # the columns of `Update.updated` besides the key


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Update:
    """The difference between the frames `existing` and `new`.

    `created` has the rows of `new` whose key does not exist yet. `updated` has a row per changed value: the
    key, the name of the `column`, and its `old` and `new` value as text. `patches` has the same changes in
    the columns' own types, ready to be written: one frame per set of columns that change together, with the
    key and the new values; every updated row is in exactly one patch. `left` has the rows of `existing` whose
    key is not in `new`.
    """

    key: tuple[str, ...]
    created: pl.DataFrame
    updated: pl.DataFrame
    patches: tuple[pl.DataFrame, ...]
    unchanged: int
    left: pl.DataFrame

    @property
    def outcomes(self) -> Outcomes:
        """The numbers of created, updated and unchanged rows of `new`."""
        changed = sum(patch.height for patch in self.patches)
        return Outcomes(created=self.created.height, updated=changed, unchanged=self.unchanged)

    def __repr__(self) -> str:
        return f"Update by {', '.join(self.key)}: {', '.join(self._counts())}"

    def _repr_html_(self) -> str:
        counts = "".join(f"<li>{escape(count)}</li>" for count in self._counts())
        return f"<p>Update by {escape(', '.join(self.key))}</p><ul>{counts}</ul>"

    def _counts(self) -> Iterator[str]:
        """Describe the counts, of updated rows also by column, without showing any value."""
        outcomes = self.outcomes
        by_column = self.updated[COLUMN].value_counts().sort("count", COLUMN, descending=[True, False])
        shown = by_column.select(pl.format("{} {}", COLUMN, "count")).to_series().to_list()
        yield f"{outcomes.created:,} created"
        yield f"{outcomes.updated:,} updated" + (f" ({', '.join(shown)})" if shown else "")
        yield f"{outcomes.unchanged:,} unchanged"
        yield f"{self.left.height:,} left alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementalUpdater:
    """Compare rows identified by `key` in these `columns`, or else in all columns of the new rows."""

    key: Sequence[str]
    columns: Sequence[str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", _names(self.key))
        if self.columns is not None:
            object.__setattr__(self, "columns", _names(self.columns))
        if not self.key:
            raise ConfigurationError("a key has at least one column, found none")
        if taken := sorted({COLUMN, OLD, NEW}.intersection(self.key)):
            raise ConfigurationError(
                f"key column '{taken[0]}': the result has a column of that name; rename the key column"
            )

    def compare(self, existing: pl.DataFrame | pl.LazyFrame, new: pl.DataFrame | pl.LazyFrame) -> Update:
        """Compute which rows of `new` must be created or updated, and in which columns.

        NULL equals NULL, and the order of rows does not matter. Columns that `new` lacks are not compared.
        Where a column's types differ, the new values are cast to the existing type if that is lossless.
        Raises one ConfigurationError that lists all problems: missing columns, incompatible types, and keys
        that are NULL or occur more than once.
        """
        old_rows, new_rows = pl.collect_all([existing.lazy(), new.lazy()])
        compared = self._compared(old_rows, new_rows)
        old_rows, new_rows = _alike(old_rows, new_rows, (*self.key, *compared))
        _raise([*_key_problems(old_rows, self.key, "existing"), *_key_problems(new_rows, self.key, "new")])
        by = list(self.key)
        pairs = _pairs(old_rows, new_rows, by, compared)
        different = pairs.filter(pl.any_horizontal(pl.lit(False), *map(pl.col, _marks(compared))))
        return Update(
            key=tuple(by),
            created=new_rows.join(old_rows, on=by, how="anti", maintain_order="left"),
            updated=_in_long_form(different, by, compared),
            patches=tuple(_patch(part, by, compared) for part in _by_columns(different, compared)),
            unchanged=pairs.height - different.height,
            left=old_rows.join(new_rows, on=by, how="anti", maintain_order="left"),
        )

    def _compared(self, old: pl.DataFrame, new: pl.DataFrame) -> list[str]:
        """Return the columns to compare; raise ConfigurationError for missing ones."""
        wanted = [c for c in (new.columns if self.columns is None else self.columns) if c not in self.key]
        needed = ((frame, what, self.key) for frame, what in ((old, "existing"), (new, "new")))
        _raise(
            f"{what}: there is no column '{name}'{nearest(name, frame.columns)}"
            for frame, what, names in (*needed, (old, "existing", wanted))
            for name in names
            if name not in frame.columns
        )
        return [name for name in wanted if name in new.columns]


def _names(names: Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(dict.fromkeys(names))


def _raise(problems: Sequence[str] | Iterator[str]) -> None:
    if found := list(problems):
        raise ConfigurationError("\n".join(found))


# ---- the same types on both sides -----------------------------------------------------------------------


def _alike(old: pl.DataFrame, new: pl.DataFrame, columns: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cast new columns to the existing types; an existing column of only NULL gets the new type instead."""
    problems = []
    for name in columns:
        have, want = new.schema[name], old.schema[name]
        if pl.Object in (have, want):
            problems.append(f"column '{name}' holds Python objects, which cannot be compared")
        elif want == pl.Null:
            old = old.with_columns(pl.col(name).cast(have))
        elif have != want:
            cast, problem = _cast(new[name], want)
            new = new.with_columns(cast)
            if problem:
                problems.append(f"column '{name}' is {want} in existing and {have} in new{problem}")
    _raise(problems)
    return old, new


def _cast(values: pl.Series, dtype: pl.DataType) -> tuple[pl.Series, str]:
    """Cast values; also return the problem, if any: casting back must give the original values."""
    have = values.dtype
    if {_zoned(have), _zoned(dtype)} == {True, False}:
        return values, ": only one of them has a time zone; give both a time zone, or neither"
    try:
        cast = values.cast(dtype, strict=False)
        lost = int(cast.cast(have, strict=False).ne_missing(values).sum())
    except PolarsError:
        return values, ", which cannot be cast; cast it yourself"
    return cast, f": {_count(lost, 'value')} would change by a cast; cast it yourself" if lost else ""


def _zoned(dtype: pl.DataType) -> bool | None:
    return dtype.time_zone is not None if isinstance(dtype, pl.Datetime) else None


# ---- keys -----------------------------------------------------------------------------------------------


def _key_problems(frame: pl.DataFrame, key: Sequence[str], what: str) -> Iterator[str]:
    by = frame.select(key)
    nulls = by.select(pl.any_horizontal(pl.all().is_null()).sum()).item()
    if nulls:
        yield f"{what}: NULL in the key ({', '.join(key)}) of {_count(nulls, 'row')}"
    repeated = int(by.drop_nulls().is_duplicated().sum())
    if repeated:
        yield f"{what}: {_count(repeated, 'row')} whose key ({', '.join(key)}) is a duplicate"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


# ---- row beside row -------------------------------------------------------------------------------------
# Internally columns are called k0, k1, … (key), o0, … (old), n0, … (new) and d0, … (differs), which cannot
# conflict with the names of users' columns.


def _pairs(old: pl.DataFrame, new: pl.DataFrame, by: Sequence[str], compared: Sequence[str]) -> pl.DataFrame:
    """Join old and new rows by key, and mark the columns that differ."""
    keys = [pl.col(name).alias(f"k{n}") for n, name in enumerate(by)]
    right = old.select(*keys, *(pl.col(name).alias(f"o{n}") for n, name in enumerate(compared)))
    left = new.select(*keys, *(pl.col(name).alias(f"n{n}") for n, name in enumerate(compared)))
    both = left.join(right, on=[f"k{n}" for n in range(len(by))], how="inner", maintain_order="left")
    return both.with_columns(_differs(n, new.schema[name]).alias(f"d{n}") for n, name in enumerate(compared))


def _differs(n: int, dtype: pl.DataType) -> pl.Expr:
    """Build an expression that is true where a column differs; 0.0 and -0.0 do, although they are equal."""
    old, new = pl.col(f"o{n}"), pl.col(f"n{n}")
    differs = new.ne_missing(old)
    return differs | (1 / new).ne_missing(1 / old) if dtype.is_float() else differs


def _marks(compared: Sequence[str]) -> list[str]:
    return [f"d{n}" for n in range(len(compared))]


def _in_long_form(different: pl.DataFrame, by: Sequence[str], compared: Sequence[str]) -> pl.DataFrame:
    """Make a row per changed value, in the order of the new rows and then of the columns."""
    keys = [pl.col(f"k{n}") for n in range(len(by))]
    rows = different.with_row_index("row")
    none = [pl.lit(None, pl.String).alias(name) for name in (COLUMN, OLD, NEW)]
    pieces = [
        rows.filter(f"d{n}").select(
            "row",
            *keys,
            pl.lit(name).alias(COLUMN),
            _as_text(f"o{n}", rows.schema[f"o{n}"]).alias(OLD),
            _as_text(f"n{n}", rows.schema[f"n{n}"]).alias(NEW),
        )
        for n, name in enumerate(compared)
    ]
    long = pl.concat([rows.clear().select("row", *keys, *none), *pieces])
    in_order = long.sort("row", maintain_order=True).drop("row")
    return in_order.rename({f"k{n}": name for n, name in enumerate(by)})


def _as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    value = pl.col(name)
    if dtype == pl.Binary:
        return value.bin.encode("hex")
    if dtype == pl.Duration:
        return value.dt.to_string("iso")
    if dtype.is_nested():
        inside = pl.struct(value.alias("")).struct.json_encode().str.strip_prefix('{"":').str.head(-1)
        return pl.when(value.is_not_null()).then(inside)
    return value.cast(pl.String)


def _by_columns(different: pl.DataFrame, compared: Sequence[str]) -> list[pl.DataFrame]:
    """Partition the rows by the set of columns in which they differ."""
    if different.is_empty():
        return []
    return different.partition_by(_marks(compared), maintain_order=True)


def _patch(part: pl.DataFrame, by: Sequence[str], compared: Sequence[str]) -> pl.DataFrame:
    """Select the key and the new values of rows that all differ in the same columns."""
    keys = (pl.col(f"k{n}").alias(name) for n, name in enumerate(by))
    values = (
        pl.col(f"n{n}").alias(name) for n, name in enumerate(compared) if part.get_column(f"d{n}").first()
    )
    return part.select(*keys, *values)
