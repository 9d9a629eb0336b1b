"""Multiply rows by repeating them: repetition 0 has the original rows, later ones have numbered keys.

A text gets a suffix `~1`, `~2`, … (with more tildes if some texts end like this already), and is shortened
with a hash where its column is too short. An integer or date is shifted by the span of its domain's values. A
uuid becomes a uuid8 of itself and the number. Equal values stay equal, so references stay valid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import polars as pl
import polars_hash as plh

from seedlab.errors import ConfigurationError
from seedlab.flow import Catalog, Column, Load
from seedlab.frames import numbering
from seedlab.frames.kinds import canonical
from seedlab.frames.numbering import Domain, Numbering, Place

NUMBER = "_number"  # Int64: the repetition that a row belongs to
_HASH_DIGITS = 8
_VALUE = pl.col("value")

Renumber = Callable[[pl.Expr, pl.Expr], pl.Expr]  # (canonical value, number from 1) → value


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Repeatable:
    """The rows of one load as text, and how to number the columns that must differ between repetitions."""

    load: Load
    frame: pl.DataFrame
    numbered: Mapping[str, tuple[Column, Renumber]]

    def blocks(self, repetitions: int, block_rows: int) -> Iterator[pl.LazyFrame]:
        """Yield all repetitions in order, in frames of about `block_rows` rows."""
        each = max(1, block_rows // max(1, self.frame.height))
        for first in range(0, repetitions, each):
            yield self._block(first, min(each, repetitions - first))

    def _block(self, first: int, count: int) -> pl.LazyFrame:
        height = self.frame.height
        place = pl.int_range(height * count, dtype=pl.Int64)
        number = (place // height + first).alias(NUMBER)
        repeated = self.frame.lazy().select(pl.all().gather(place % height), number)
        spelled = [
            pl.when(pl.col(NUMBER) == 0)
            .then(pl.col(name))
            .otherwise(renumber(canonical(column, pl.col(name)), pl.col(NUMBER)))
            .alias(name)
            for name, (column, renumber) in self.numbered.items()
        ]
        return repeated.with_columns(spelled).drop(NUMBER)


def repetitions(rows: int, wanted: int) -> int:
    """Return the number of repetitions of `rows` rows that is closest to `wanted` rows, and at least 1."""
    return max(1, (2 * wanted + rows) // (2 * rows)) if rows else 1


def repeatable(
    catalog: Catalog, pairs: Sequence[tuple[Load, pl.DataFrame]], repetitions: int
) -> list[Repeatable]:
    """Decide how the rows of all loads are numbered; each frame has the load's source columns as text.

    Explicit ids that are neither the key nor used by references are dropped, so that the target makes new
    ones. Raises ConfigurationError for keys that cannot be numbered or are too short for the numbers.
    """
    spare = numbering.spare_ids(catalog, [load for load, _ in pairs])
    kept = [_without(load, frame, spare[load]) if load in spare else (load, frame) for load, frame in pairs]
    chosen = numbering.choose(catalog, [load for load, _ in kept])
    rules = _rules(chosen, _values(chosen, kept), repetitions)
    return [
        Repeatable(
            load=load,
            frame=frame,
            numbered={
                source: (column, rules[domain.name]) for source, (column, domain) in chosen.of(load).items()
            },
        )
        for load, frame in kept
    ]


def _without(load: Load, frame: pl.DataFrame, column: str) -> tuple[Load, pl.DataFrame]:
    values = tuple(name for name in load.values if name != column)
    return replace(load, values=values), frame.drop(column)


def _values(chosen: Numbering, pairs: Sequence[tuple[Load, pl.DataFrame]]) -> dict[Place, pl.Series]:
    """Collect the distinct canonical values, sorted, of every domain to be numbered, from all loads."""
    found: dict[Place, list[pl.LazyFrame]] = {name: [] for name in chosen.domains}
    for load, frame in pairs:
        for source, (column, domain) in chosen.of(load).items():
            spelled = canonical(column, pl.col(source)).alias("value")
            present = frame.lazy().filter(pl.col(source).is_not_null())
            found[domain.name].append(present.select(spelled))
    distinct = [pl.concat(parts).unique().sort("value") for parts in found.values()]
    values = {name: frame["value"] for name, frame in zip(found, pl.collect_all(distinct), strict=True)}
    for name, series in values.items():
        if series.null_count():
            raise ConfigurationError(
                f"some values of {'.'.join(name)} do not fit its type; seedlab check says which"
            )
    return values


# ---- rules ----------------------------------------------------------------------------------------------


def _rules(chosen: Numbering, values: Mapping[Place, pl.Series], repetitions: int) -> dict[Place, Renumber]:
    texts = [values[name] for name, domain in chosen.domains.items() if domain.family == "text"]
    mark = _mark(pl.concat(texts)) if texts else ""
    rules: dict[Place, Renumber] = {}
    for name, domain in chosen.domains.items():
        if repetitions == 1 or not len(values[name]):
            rules[name] = _unchanged
        elif domain.family == "text":
            rules[name] = _text(domain, values[name], mark, len(str(repetitions - 1)))
        elif domain.family == "integer":
            rules[name] = _integer(domain, values[name], repetitions)
        elif domain.family == "date":
            rules[name] = _date(domain, values[name], repetitions)
        else:
            rules[name] = _uuid
    return rules


def _unchanged(value: pl.Expr, number: pl.Expr) -> pl.Expr:  # noqa: ARG001 - one of the rules
    return value


def _mark(texts: pl.Series) -> str:
    """Return the shortest run of tildes that no text has before trailing digits, so that suffixes are new."""
    mark = "~"
    while texts.str.contains(rf"{mark}\d+$").any():
        mark += "~"
    return mark


def _text(domain: Domain, values: pl.Series, mark: str, digits: int) -> Renumber:
    """Append the number; texts too long for it are cut and get a hash of the whole text."""
    room = None if domain.length is None else domain.length - len(mark) - digits

    def stem(value: pl.Expr) -> pl.Expr:
        if room is None:
            return value
        hashed = plh.concat_str([value]).nchash.sha1().str.slice(0, _HASH_DIGITS)
        short = pl.concat_str(value.str.slice(0, max(0, room - _HASH_DIGITS)), hashed)
        return pl.when(value.str.len_chars() <= room).then(value).otherwise(short)

    if room is not None and (values.str.len_chars() <= room).all():
        room = None
    if room is not None:
        stems = values.to_frame("value").select(stem(_VALUE))["value"]
        if room < _HASH_DIGITS or stems.n_unique() < len(stems):
            raise ConfigurationError(
                f"the values of {domain} have no room for numbers of {digits} digits in {domain.length} "
                "characters; ask for fewer rows, or make the column longer"
            )
    return lambda value, number: pl.concat_str(stem(value), pl.lit(mark), number.cast(pl.String))


def _integer(domain: Domain, values: pl.Series, repetitions: int) -> Renumber:
    """Shift by a multiple of the values' span, so that repetitions do not overlap."""
    numbers = values.cast(pl.Int64, strict=False)
    if numbers.null_count():
        raise ConfigurationError(
            f"the values of {domain} are not all whole numbers, so they cannot be numbered"
        )
    low, high = numbers.min(), numbers.max()
    assert isinstance(low, int)
    assert isinstance(high, int)
    span = high - low + 1
    if high + (repetitions - 1) * span > domain.largest:
        raise ConfigurationError(
            f"{repetitions} repetitions of {domain} ({low} to {high}) pass the largest value "
            f"{domain.largest}; ask for fewer rows, or make the column larger"
        )
    return lambda value, number: (value.cast(pl.Int64) + number * span).cast(pl.String)


def _date(domain: Domain, values: pl.Series, repetitions: int) -> Renumber:
    """Shift by a multiple of the values' span in days."""
    days = values.str.to_date("%Y-%m-%d")
    low, high = days.min(), days.max()
    assert isinstance(low, date)
    assert isinstance(high, date)
    span = (high - low).days + 1
    if high.toordinal() + (repetitions - 1) * span > date.max.toordinal():
        raise ConfigurationError(
            f"{repetitions} repetitions of {domain} ({low} to {high}) pass the year 9999; ask for fewer rows"
        )
    return lambda value, number: (
        value.str.to_date("%Y-%m-%d") + pl.duration(days=number * span)
    ).dt.strftime("%Y-%m-%d")


def _uuid(value: pl.Expr, number: pl.Expr) -> pl.Expr:
    """Hash the uuid and the number to a uuid8 (RFC 9562 section 5.8)."""
    named = plh.concat_str([value, pl.lit("~"), number.cast(pl.String)])
    digits = named.nchash.sha1()
    cuts = ("", 0, 8), ("-", 8, 4), ("-8", 13, 3), ("-8", 17, 3), ("-", 20, 12)
    return pl.concat_str(
        [part for before, start, length in cuts for part in (pl.lit(before), digits.str.slice(start, length))]
    )
