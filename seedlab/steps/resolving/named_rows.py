"""The middle of a run: from named columns to rows with every id known, checked. Writes nothing.

Handles first, for all loads at once; then what is wrong with the rows by themselves; then what the target
must be asked; then the ids. Loads larger than a batch are gone through in batches and keep only handles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import polars as pl

from seedlab.flow import (
    FILE,
    HANDLE,
    ROW,
    Ask,
    Load,
    Recorder,
    Reference,
    Settings,
    Staging,
)
from seedlab.frames import checks, ids
from seedlab.frames.batcher import cut, stacked
from seedlab.frames.brief import Briefs, brief
from seedlab.frames.cache import SeedCache
from seedlab.frames.checks import Broken, Rule
from seedlab.frames.kinds import canonical
from seedlab.frames.resolve import (
    Handled,
    Naming,
    add_all_handles,
    add_handles,
    alternative_column,
    numbered,
    reference_column,
)
from seedlab.steps.preparing.shaping import Shaped
from seedlab.steps.resolving.scanning import rows_of_batch, scan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answered:
    """What the target was asked under a label, and what it said."""

    label: str
    asked: pl.Series
    answer: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Staged:
    """What other connections have done for a load: judged and staged its rows, and asked what they refer to.

    `names` has the columns by which the rows are known in the target, with FILE, ROW and HANDLE.
    """

    staging: Staging
    names: pl.DataFrame
    answers: Sequence[Answered]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """One load's rows: their handles, and behind them all columns, the files to stream again, or rows that
    are `staged`.

    Of very many rows there are only `briefs`, and no frame. `written` has HANDLE and the key columns of a
    stream as they were written last: the files need not be read for them once more.
    """

    shaped: Shaped
    handled: Handled
    staged: Staged | None = None
    briefs: Briefs | None = None
    written: list[pl.DataFrame] = field(default_factory=list)

    @property
    def height(self) -> int:
        """How many rows there are."""
        return self.handled.frame.height if self.briefs is None else self.briefs.rows

    @property
    def load(self) -> Load:
        """What the rows mean."""
        return self.handled.load

    @property
    def whole(self) -> bool:
        """Tell whether the frame holds the source columns too."""
        return self.shaped.stream is None

    def named(self, index: int) -> pl.Series:
        """Handles of the parents that a reference, by its place, names."""
        if self.briefs is not None:
            return self.briefs.parents[index]
        return self.handled.frame.get_column(reference_column(index))

    def with_frame(self, frame: pl.DataFrame) -> Rows:
        """The same load with other rows."""
        return replace(self, handled=replace(self.handled, frame=frame))


def handle_rows(
    pairs: Sequence[tuple[Load, Shaped]],
    naming: Naming,
    settings: Settings,
    recorder: Recorder,
    nameless: frozenset[str] = frozenset(),
    *,
    find_duplicates: bool = False,
) -> tuple[list[Rows], list[Broken]]:
    """Name all rows and judge each load by itself.

    Loads that are given alike are named and judged as one frame: what a frame costs beside its rows is
    most of what a small one costs. Of the tables that are `nameless` nobody needs the names of all rows. With
    `find_duplicates`, streamed loads are searched for rows with the same unique value.
    """
    groups = {alike[0]: alike for alike in _alike(pairs)}
    held = [first for first in groups if pairs[first][1].stream is None]
    stacks = [stacked([pairs[n][1].frame for n in groups[first]]) for first in held]
    loads = [pairs[first][0] for first in held]
    named = list(map(numbered, add_all_handles(stacks, loads, naming), loads))
    rules = [
        checks.rules_of(load, frame, naming, pairs[first][1].trusted)
        for first, load, frame in zip(held, loads, named, strict=True)
    ]
    judged = dict(zip(held, zip(named, checks.broken_rules(named, rules), strict=True), strict=True))
    handled: dict[int, Handled] = {}
    briefs: dict[int, Briefs | None] = {}
    broken: list[Broken] = []
    for first, alike in groups.items():
        load, shaped = pairs[first]
        if shaped.stream is not None:
            scanned = scan(
                load,
                shaped,
                naming,
                settings,
                recorder,
                named=load.table not in nameless,
                duplicates=find_duplicates,
            )
            handled[first], briefs[first] = scanned.handled, scanned.briefs
            broken += scanned.broken
            continue
        whole, rules_broken = judged[first]
        parts = cut(whole, [pairs[n][1].frame.height for n in alike])
        own = [Handled(load=pairs[n][0], frame=part) for n, part in zip(alike, parts, strict=True)]
        broken += checks.broken_by(own, [rules_broken] * len(own))
        handled |= dict(zip(alike, own, strict=True))
    return [
        Rows(shaped=pairs[n][1], handled=handled[n], briefs=briefs.get(n)) for n in range(len(pairs))
    ], broken


def _alike(pairs: Sequence[tuple[Load, Shaped]]) -> list[list[int]]:
    """Group loads whose rows mean the same by the same columns; one that is streamed stands alone."""
    groups: dict[object, list[int]] = {}
    for n, (load, shaped) in enumerate(pairs):
        meaning = (load.table, load.key, load.values, load.references, load.duplicates == "error")
        key: object = n if shaped.stream is not None else (meaning, shaped.trusted, frozenset(shaped.columns))
        groups.setdefault(key, []).append(n)
    return list(groups.values())


# ---- what exists ----------------------------------------------------------------------------------------


def register(rows: Sequence[Rows], naming: Naming, cache: SeedCache) -> list[Broken]:
    """Tell the cache which rows the files bring; rows that come twice are broken."""
    by_table: dict[str, list[Rows]] = {}
    for each in rows:
        by_table.setdefault(each.load.table, []).append(each)
    broken: list[Broken] = []
    for mine in by_table.values():
        if mine[0].briefs is not None:  # the only load of its table
            broken += _repeated_briefs(mine[0], naming)
            continue
        handles = pl.concat([each.handled.frame.get_column(HANDLE) for each in mine])
        nulls = handles.null_count()
        if handles.n_unique() - (nulls > 0) < len(handles) - nulls:
            broken += _repeated(mine)
    for each in rows:
        cache.add_rows(each.load.table, each.handled.frame.get_column(HANDLE))
        for label in naming.alternatives.get(each.load.table, {}):
            name = alternative_column(label)
            if name in each.handled.frame.columns:
                cache.add_rows(label, each.handled.frame.get_column(name))
    return broken


def _repeated(rows: Sequence[Rows]) -> list[Broken]:
    """Find which rows of one table come twice, within a load or in one before it."""
    broken = checks.judge(
        [each.handled for each in rows], [checks.duplicate_rules(each.load) for each in rows]
    )
    for n, each in enumerate(rows[1:], start=1):
        others = pl.concat([other.handled.frame.get_column(HANDLE) for other in rows[:n]])
        for found in checks.judge([each.handled], [[checks.other_seed_rule(each.load, others)]]):
            broken.append(replace(found, before=_before(each, rows[:n])))
    return broken


def _repeated_briefs(rows: Rows, naming: Naming) -> list[Broken]:
    """Look at the rows whose briefs come twice: their keys may still differ."""
    assert rows.briefs is not None
    repeated = rows.briefs.repeated()
    if not len(repeated):
        return []
    alike = [frame.filter(brief().is_in(repeated.implode())) for frame in kept_frames(rows, naming)]
    handled = Handled(load=rows.load, frame=pl.concat(alike))
    return checks.judge([handled], [checks.duplicate_rules(rows.load)])


def _before(rows: Rows, others: Sequence[Rows]) -> tuple[Broken, ...]:
    """The rows of other loads whose keys come again in this one."""
    again = rows.handled.frame.get_column(HANDLE)
    rules = [[checks.other_seed_rule(each.load, again)] for each in others]
    return tuple(checks.judge([each.handled for each in others], rules))


def without_duplicates(rows: Sequence[Rows]) -> list[Rows]:
    """Keep of rows with one key what the seed says."""
    return [each.with_frame(checks.drop_duplicates(each.handled.frame, each.load)) for each in rows]


def subset(rows: Sequence[Rows], limits: Mapping[str, int], naming: Naming) -> list[Rows]:
    """Keep the first N rows by key of each table named, and nothing that refers to a dropped one."""
    if not limits:
        return list(rows)
    first = {
        table: ids.first_by_key(_whole(rows, table, naming), limit, naming) for table, limit in limits.items()
    }
    kept = ids.take_subset([each.handled for each in rows], first, naming)
    return [replace(each, handled=handled) for each, handled in zip(rows, kept, strict=True)]


def _whole(rows: Sequence[Rows], table: str, naming: Naming) -> Iterator[Handled]:
    for each in rows:
        if each.load.table == table:
            yield from (replace(each.handled, frame=frame) for frame in kept_frames(each, naming))


def orphans(
    rows: Sequence[Rows],
    naming: Naming,
    cache: SeedCache,
    hints: Mapping[str, str] | None = None,
    told: Sequence[Broken] = (),
) -> list[Broken]:
    """Find rows whose parents are neither in the files nor, as far as was asked, in the target.

    `hints` says of a table why its rows are missing. A value that is `told` to be wrong names nobody.
    """
    referring: dict[str, list[tuple[Rows, pl.Series]]] = {}
    for each in rows:
        for index, reference in enumerate(each.load.references):
            handles = each.named(index)
            referring.setdefault(naming.label(reference.parent, reference.parts), []).append((each, handles))
    suspected: dict[int, Rows] = {}
    for label, users in referring.items():
        if not cache.knows(label, pl.concat([handles for _, handles in users])):
            suspected |= {id(each): each for each, _ in users}
    broken: list[Broken] = []
    for each in suspected.values():
        rules = checks.parent_rules(each.load, naming, cache, hints or {})
        frames = [each.handled.frame] if each.briefs is None else kept_frames(each, naming)
        for frame in frames:
            found = checks.judge([Handled(load=each.load, frame=frame)], [rules])
            broken += checks.without_invalid(found, dict(zip(rules, each.load.references, strict=True)), told)
    return broken


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """An ask, and the label under which its answer is remembered."""

    label: str
    ask: Ask


def questions(
    rows: Sequence[Rows],
    naming: Naming,
    cache: SeedCache,
    filled: frozenset[str],
    certain: Mapping[str, pl.Series] = MappingProxyType({}),
) -> list[Question]:
    """What the target must be asked: parents that the files do not bring, ids of rows that may exist.

    `filled` are the tables that have rows; nothing is asked of the others. One question per key and table.
    Of rows whose handles are their ids for `certain`, by table, these are not asked.
    """
    wanted = ids.referred_columns([each.load for each in rows])
    asked: list[Question] = []
    for each in (each for each in rows if each.staged is None):
        load = each.load
        ids_of = (load.made or _given_id(load, naming), *wanted.get(load.table, ()))
        columns = tuple(dict.fromkeys(filter(None, ids_of)))
        if load.table in filled and columns:
            sure = certain.get(load.table) if columns == (load.made,) else None
            asked += _own(each, columns, naming, sure)
        for index, reference in enumerate(load.references):
            if reference.parent in filled:
                asked += _parents(each, index, reference, naming, cache, wanted.get(reference.parent, ()))
    return asked


def _own(rows: Rows, columns: tuple[str, ...], naming: Naming, sure: pl.Series | None) -> Iterator[Question]:
    for frame in kept_frames(rows, naming):
        left = frame if sure is None else frame.filter(~pl.col(HANDLE).is_in(sure.implode()))
        if not left.height:
            continue
        handled = Handled(load=rows.load, frame=left)
        keys = ids.key_frame(handled, rows.load.key, rows.load.table, HANDLE, naming)
        if len(keys):
            ask = Ask(table=rows.load.table, key=rows.load.key, wanted=columns, frame=keys)
            yield Question(label=rows.load.table, ask=ask)


def _parents(
    rows: Rows, index: int, reference: Reference, naming: Naming, cache: SeedCache, wanted: tuple[str, ...]
) -> Iterator[Question]:
    label = naming.label(reference.parent, reference.parts)
    unknown = cache.to_ask(label, rows.named(index))
    if len(unknown):
        yield from ask_parents(rows, index, naming, unknown, wanted)


def ask_parents(
    rows: Rows, index: int, naming: Naming, unknown: pl.Series, wanted: tuple[str, ...]
) -> Iterator[Question]:
    """Ask for the parents that a reference of a load, by its place, names by these handles.

    `wanted` are the parent's columns that references take by handle.
    """
    reference, handle = rows.load.references[index], reference_column(index)
    label = naming.label(reference.parent, reference.parts)
    columns = wanted or reference.foreign_key.parent_columns
    for frame in kept_frames(rows, naming):
        handled = Handled(load=rows.load, frame=frame.filter(pl.col(handle).is_in(unknown.implode())))
        unknown = unknown.filter(~unknown.is_in(handled.frame[handle].implode()))
        keys = ids.key_frame(handled, reference.parts, reference.parent, handle, naming)
        if len(keys):
            ask = Ask(table=reference.parent, key=reference.parts, wanted=columns, frame=keys)
            yield Question(label=label, ask=ask)


def kept_frames(rows: Rows, naming: Naming) -> Iterator[pl.DataFrame]:
    """The rows that are kept, with source columns and handles."""
    if rows.shaped.stream is None:
        yield rows.handled.frame
        return
    for frame in rows.shaped.stream():
        yield kept_of(rows, frame, naming)


def kept_of(rows: Rows, frame: pl.DataFrame, naming: Naming) -> pl.DataFrame:
    """Of a batch that was read again the rows that are kept, with handles.

    By place: of rows with one key, one may be kept.
    """
    full = add_handles(frame, rows.load, naming)
    if rows.briefs is not None or not frame.height:
        return full
    thin = rows_of_batch(rows.handled.frame, frame)
    if rows.load.whole:  # what number an equal row has, all rows together tell
        known = thin.select(FILE, ROW, HANDLE)
        return full.drop(HANDLE).join(known, on=[FILE, ROW], how="inner", maintain_order="left")
    return full.join(thin, on=[FILE, ROW, HANDLE], how="semi", maintain_order="left")


def _given_id(load: Load, naming: Naming) -> str | None:
    """The primary-key column that the files give beside another key."""
    key = naming.catalog.tables[load.table].primary_key
    beside = len(key) == 1 and key[0] not in load.key_columns and load.source_of(key[0]) is not None
    return key[0] if beside else None


def id_conflicts(rows: Sequence[Rows], naming: Naming, cache: SeedCache) -> list[Broken]:
    """Find rows that exist with another id than the files give them; an id is never changed."""
    broken = []
    for each in (each for each in rows if each.staged is None):
        name = _given_id(each.load, naming)
        existing = cache.all_values(each.load.table, name) if name else None
        if name is None or existing is None:
            continue
        column = naming.catalog.tables[each.load.table].columns[name]
        given = canonical(column, pl.col(each.load.source_of(name) or name))
        if existing.schema[name] == pl.UInt128:
            given = given.str.to_integer(base=16, dtype=pl.UInt128, strict=False)
        message = f"the row of table {each.load.table} exists with another {name}; an id is never changed"
        rule = Rule(
            name="id-conflict", column=name, message=message, bad=given != pl.col("_seedlab_existing")
        )
        for frame in kept_frames(each, naming):
            joined = frame.join(existing.rename({name: "_seedlab_existing"}), on=HANDLE, how="inner")
            broken += checks.judge([Handled(load=each.load, frame=joined)], [[rule]])
    return broken
