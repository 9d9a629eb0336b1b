"""Asks the target which rows it has: parents that the files do not have, and ids of rows that may exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl

from seedlab.database.writer import Session
from seedlab.flow import HANDLE, Ask, Load, Reference, null_sources
from seedlab.frames import ids
from seedlab.frames.cache import SeedCache
from seedlab.frames.kinds import canonical
from seedlab.frames.resolve import Handled, Naming, reference_column
from seedlab.frames.rules import Broken, Rule, judge
from seedlab.steps.resolving.rows import Answered, Rows, full_frames


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """What to ask the target, and the label (a table, or a key of it) by which the cache knows the answer."""

    label: str
    ask: Ask


def look_up(session: Session, questions: Sequence[Question], cache: SeedCache) -> list[Answered]:
    """Ask the target all questions at once, if there are any, and put the answers into the cache."""
    answers = session.lookup([each.ask for each in questions]) if questions else []
    answered = [
        Answered(label=question.label, asked=question.ask.frame[HANDLE], answer=answer)
        for question, answer in zip(questions, answers, strict=True)
    ]
    for each in answered:
        cache.remember(each.label, each.asked, each.answer)
    return answered


def questions(
    rows: Sequence[Rows],
    naming: Naming,
    cache: SeedCache,
    filled: frozenset[str],
    existing: Mapping[str, pl.Series] = MappingProxyType({}),
) -> list[Question]:
    """List what the target must be asked, one question for each key of a table.

    `filled` are the tables that have rows; nothing is asked of the others. `existing` are by table the
    handles of rows that are certain to exist with the id made from the handle; their ids are not asked for.
    Rows with NULL in their key are always asked for, as the database may have several of them.
    """
    wanted = ids.referred_columns([each.load for each in rows])
    found: list[Question] = []
    for each in (each for each in rows if each.staged is None):
        load = each.load
        ids_of = (load.made or _explicit_id(load, naming), *wanted.get(load.table, ()))
        columns = tuple(dict.fromkeys(filter(None, ids_of)))
        if load.table in filled and columns:
            certain = existing.get(load.table) if columns == (load.made,) else None
            found += _own_questions(each, columns, naming, certain)
        elif load.table in filled and load.null_key_columns:
            found += _own_questions(each, load.key_columns[:1], naming, with_null=True)
        for index, reference in enumerate(load.references):
            if reference.parent in filled:
                columns = wanted.get(reference.parent, ())
                found += _unknown_parents(each, index, reference, naming, cache, columns)
    return found


def _own_questions(
    rows: Rows,
    columns: tuple[str, ...],
    naming: Naming,
    certain: pl.Series | None = None,
    *,
    with_null: bool = False,
) -> Iterator[Question]:
    """Ask for these columns of the rows themselves, or of those `with_null` in their key, if they exist."""
    nulls = [pl.col(name).is_null() for name in sorted(null_sources(rows.load.key))] if with_null else []
    for each in full_frames(rows, naming):
        frame = each.filter(pl.any_horizontal(nulls)) if nulls else each
        unknown = frame if certain is None else frame.filter(~pl.col(HANDLE).is_in(certain.implode()))
        if not unknown.height:
            continue
        handled = Handled(load=rows.load, frame=unknown)
        keys = ids.key_frame(handled, rows.load.key, rows.load.table, HANDLE, naming)
        if len(keys):
            ask = Ask(table=rows.load.table, key=rows.load.key, wanted=columns, frame=keys)
            yield Question(label=rows.load.table, ask=ask)


def _unknown_parents(
    rows: Rows, index: int, reference: Reference, naming: Naming, cache: SeedCache, wanted: tuple[str, ...]
) -> Iterator[Question]:
    label = naming.label(reference.parent, reference.parts)
    unknown = cache.to_ask(label, rows.parent_handles(index))
    if len(unknown):
        yield from parent_questions(rows, index, naming, unknown, wanted)


def parent_questions(
    rows: Rows, index: int, naming: Naming, unknown: pl.Series, wanted: tuple[str, ...]
) -> Iterator[Question]:
    """Ask for the parents with the `unknown` handles that the load's reference number `index` refers to.

    `wanted` are the parent's columns whose values references take.
    """
    reference, handle = rows.load.references[index], reference_column(index)
    label = naming.label(reference.parent, reference.parts)
    columns = wanted or reference.foreign_key.parent_columns
    for frame in full_frames(rows, naming):
        handled = Handled(load=rows.load, frame=frame.filter(pl.col(handle).is_in(unknown.implode())))
        unknown = unknown.filter(~unknown.is_in(handled.frame[handle].implode()))
        keys = ids.key_frame(handled, reference.parts, reference.parent, handle, naming)
        if len(keys):
            ask = Ask(table=reference.parent, key=reference.parts, wanted=columns, frame=keys)
            yield Question(label=label, ask=ask)


def ambiguous(rows: Sequence[Rows], answered: Sequence[Answered], naming: Naming) -> list[Broken]:
    """Find rows whose key several rows of the target have, which it allows where the key has NULL."""
    broken = []
    for load in (each.load for each in rows if each.load.null_key_columns):
        handles = [each.answer[HANDLE] for each in answered if each.label == load.table]
        repeated = [each.filter(each.is_duplicated()) for each in handles]
        if not any(map(len, repeated)):
            continue
        several = pl.concat(repeated)
        key = ", ".join(load.spelled_key)
        message = (
            f"table {load.table} has several rows with this key ({key}), which the database allows as it has "
            "NULL; delete all but one of them, or set another key"
        )
        bad = pl.col(HANDLE).is_in(several.implode())
        rule = Rule(name="unique", column=key, message=message, bad=bad, shown=load.spelled_key)
        of_load = (each for each in rows if each.load == load)
        for frame in (frame for each in of_load for frame in full_frames(each, naming)):
            broken += judge([Handled(load=load, frame=frame)], [[rule]])
    return broken


def _explicit_id(load: Load, naming: Naming) -> str | None:
    """Return the primary-key column, if the files give its values while another key names the rows."""
    key = naming.catalog.tables[load.table].primary_key
    explicit = len(key) == 1 and key[0] not in load.key_columns and load.source_of(key[0]) is not None
    return key[0] if explicit else None


def id_conflicts(rows: Sequence[Rows], naming: Naming, cache: SeedCache) -> list[Broken]:
    """Find rows that exist with another id than the files give them, since an id is never changed."""
    broken = []
    for each in (each for each in rows if each.staged is None):
        name = _explicit_id(each.load, naming)
        existing = cache.all_values(each.load.table, name) if name else None
        if name is None or existing is None:
            continue
        column = naming.catalog.tables[each.load.table].columns[name]
        given = canonical(column, pl.col(each.load.source_of(name) or name))
        if existing.schema[name] == pl.UInt128:
            given = given.str.to_integer(base=16, dtype=pl.UInt128, strict=False)
        message = (
            f"the row of table {each.load.table} exists with another {name}, and seedlab never changes an id"
        )
        rule = Rule(
            name="id-conflict", column=name, message=message, bad=given != pl.col("_seedlab_existing")
        )
        for frame in full_frames(each, naming):
            joined = frame.join(existing.rename({name: "_seedlab_existing"}), on=HANDLE, how="inner")
            broken += judge([Handled(load=each.load, frame=joined)], [[rule]])
    return broken
