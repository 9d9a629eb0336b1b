"""Names the rows of all loads by handles, and checks them by themselves and against each other.

Each row gets its handle, and those of the parents that it refers to, from its own columns. Then it is checked
by itself. By handles alone it is found which keys come twice, and which parents are missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl

from seedlab.flow import HANDLE, Load, Recorder, Settings
from seedlab.frames import checks, ids
from seedlab.frames.batcher import cut, stack
from seedlab.frames.cache import SeedCache
from seedlab.frames.resolve import Handled, Naming, add_all_handles, alternative_column, number_equal_rows
from seedlab.frames.rules import Broken, broken_by, broken_rules, judge
from seedlab.frames.short_handles import short_handle
from seedlab.steps.preparing.shaping import Shaped
from seedlab.steps.resolving.rows import Rows, full_frames
from seedlab.steps.resolving.scanning import scan


def handle_rows(
    pairs: Sequence[tuple[Load, Shaped]],
    naming: Naming,
    settings: Settings,
    recorder: Recorder,
    short_tables: frozenset[str] = frozenset(),
    *,
    find_duplicates: bool = False,
) -> tuple[list[Rows], list[Broken]]:
    """Name the rows of all loads, and check each row by itself.

    Loads whose rows mean the same are named and checked as one frame, since for small frames the fixed cost
    per frame is most of the cost. Of `short_tables` not all handles are needed: short ones will do.
    With `find_duplicates`, streamed loads are searched for rows with the same unique value.
    """
    groups = {places[0]: places for places in _equal_loads(pairs)}
    held = [first for first in groups if pairs[first][1].stream is None]
    stacks = [stack([pairs[n][1].frame for n in groups[first]]) for first in held]
    loads = [pairs[first][0] for first in held]
    named = list(map(number_equal_rows, add_all_handles(stacks, loads, naming), loads))
    rules = [
        checks.rules_of(load, frame, naming, pairs[first][1].trusted)
        for first, load, frame in zip(held, loads, named, strict=True)
    ]
    checked = dict(zip(held, zip(named, broken_rules(named, rules), strict=True), strict=True))
    rows: dict[int, Rows] = {}
    broken: list[Broken] = []
    for first, places in groups.items():
        load, shaped = pairs[first]
        if shaped.stream is not None:
            scanned = scan(
                load,
                shaped,
                naming,
                settings,
                recorder,
                every_handle=load.table not in short_tables,
                duplicates=find_duplicates,
            )
            rows[first] = Rows(shaped=shaped, handled=scanned.handled, short_handles=scanned.short_handles)
            broken += scanned.broken
            continue
        frame, rules_broken = checked[first]
        parts = cut(frame, [pairs[n][1].frame.height for n in places])
        handled = [Handled(load=pairs[n][0], frame=part) for n, part in zip(places, parts, strict=True)]
        broken += broken_by(handled, [rules_broken] * len(handled))
        for n, own in zip(places, handled, strict=True):
            rows[n] = Rows(shaped=pairs[n][1], handled=own)
    return [rows[n] for n in range(len(pairs))], broken


def _equal_loads(pairs: Sequence[tuple[Load, Shaped]]) -> list[list[int]]:
    """Group the places of loads whose rows mean the same by the same columns; a streamed load is a group."""
    groups: dict[object, list[int]] = {}
    for n, (load, shaped) in enumerate(pairs):
        meaning = (load.table, load.key, load.values, load.references, load.duplicates == "error")
        key: object = n if shaped.stream is not None else (meaning, shaped.trusted, frozenset(shaped.columns))
        groups.setdefault(key, []).append(n)
    return list(groups.values())


# ---- rows against each other ----------------------------------------------------------------------------


def register(rows: Sequence[Rows], naming: Naming, cache: SeedCache) -> list[Broken]:
    """Tell the cache which rows the files have; returns the rules broken by keys that come twice."""
    by_table: dict[str, list[Rows]] = {}
    for each in rows:
        by_table.setdefault(each.load.table, []).append(each)
    broken: list[Broken] = []
    for of_table in by_table.values():
        if of_table[0].short_handles is not None:  # then it is the only load of its table
            broken += _repeated_short_handles(of_table[0], naming)
            continue
        handles = pl.concat([each.handled.frame.get_column(HANDLE) for each in of_table])
        nulls = handles.null_count()
        if handles.n_unique() - (nulls > 0) < len(handles) - nulls:
            broken += _repeated(of_table)
    for each in rows:
        cache.add_rows(each.load.table, each.handled.frame.get_column(HANDLE))
        for label in naming.alternatives.get(each.load.table, {}):
            name = alternative_column(label)
            if name in each.handled.frame.columns:
                cache.add_rows(label, each.handled.frame.get_column(name))
    return broken


def _repeated(rows: Sequence[Rows]) -> list[Broken]:
    """Find the rows of one table whose key comes twice, within a load or in an earlier load."""
    broken = judge([each.handled for each in rows], [checks.duplicate_rules(each.load) for each in rows])
    for n, each in enumerate(rows[1:], start=1):
        others = pl.concat([other.handled.frame.get_column(HANDLE) for other in rows[:n]])
        for found in judge([each.handled], [[checks.other_seed_rule(each.load, others)]]):
            broken.append(replace(found, before=_earlier_duplicates(each, rows[:n])))
    return broken


def _repeated_short_handles(rows: Rows, naming: Naming) -> list[Broken]:
    """Read the rows whose short handles come twice once more, since their keys may still differ."""
    assert rows.short_handles is not None
    repeated = rows.short_handles.repeated()
    if not len(repeated):
        return []
    repeated_rows = [
        frame.filter(short_handle().is_in(repeated.implode())) for frame in full_frames(rows, naming)
    ]
    handled = Handled(load=rows.load, frame=pl.concat(repeated_rows))
    return judge([handled], [checks.duplicate_rules(rows.load)])


def _earlier_duplicates(rows: Rows, others: Sequence[Rows]) -> tuple[Broken, ...]:
    """Find the rows of other loads whose keys come again in this one."""
    handles = rows.handled.frame.get_column(HANDLE)
    rules = [[checks.other_seed_rule(each.load, handles)] for each in others]
    return tuple(judge([each.handled for each in others], rules))


def without_duplicates(rows: Sequence[Rows]) -> list[Rows]:
    """Keep of rows with equal keys the first or the last, if their seed says so."""
    return [each.with_frame(checks.drop_duplicates(each.handled.frame, each.load)) for each in rows]


def subset(rows: Sequence[Rows], limits: Mapping[str, int], naming: Naming) -> list[Rows]:
    """Keep the first rows by key of each table in `limits`, and drop all rows that refer to a dropped one."""
    if not limits:
        return list(rows)
    first = {
        table: ids.first_by_key(_all_frames(rows, table, naming), limit, naming)
        for table, limit in limits.items()
    }
    kept = ids.take_subset([each.handled for each in rows], first, naming)
    return [replace(each, handled=handled) for each, handled in zip(rows, kept, strict=True)]


def _all_frames(rows: Sequence[Rows], table: str, naming: Naming) -> Iterator[Handled]:
    for each in rows:
        if each.load.table == table:
            yield from (replace(each.handled, frame=frame) for frame in full_frames(each, naming))


def orphans(
    rows: Sequence[Rows],
    naming: Naming,
    cache: SeedCache,
    hints: Mapping[str, str] | None = None,
    already_found: Sequence[Broken] = (),
) -> list[Broken]:
    """Find rows whose parents are neither in the files nor in the target, as the cache knows them.

    `hints` says of a table why the files have no rows for it. A reference whose value is `already_found` to
    be wrong is not reported again.
    """
    referring: dict[str, list[tuple[Rows, pl.Series]]] = {}
    for each in rows:
        for index, reference in enumerate(each.load.references):
            handles = each.parent_handles(index)
            referring.setdefault(naming.label(reference.parent, reference.parts), []).append((each, handles))
    wanted = {label: pl.concat([handles for _, handles in users]) for label, users in referring.items()}
    suspected = {id(each): each for label in cache.unknown(wanted) for each, _ in referring[label]}
    broken: list[Broken] = []
    for each in suspected.values():
        rules = checks.parent_rules(each.load, naming, cache, hints or {})
        frames = [each.handled.frame] if each.short_handles is None else full_frames(each, naming)
        for frame in frames:
            found = judge([Handled(load=each.load, frame=frame)], [rules])
            broken += checks.without_invalid(
                found, dict(zip(rules, each.load.references, strict=True)), already_found
            )
    return broken
