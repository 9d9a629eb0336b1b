"""What a run would do with every row: everything but the writing, in a transaction that only reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from seedlab import settling
from seedlab.agenda import Task
from seedlab.flow import FILE, ROW, Classified, RowChange
from seedlab.frames import positions
from seedlab.insight.monitor import Monitor
from seedlab.looking import Look
from seedlab.running import Prepared, Resolved, prepare, resolve


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Previewed:
    """What a plan knows: what would become of each load's rows, the tables without rows, why each table has
    its key.
    """

    classified: tuple[Classified, ...] = ()
    changes: tuple[RowChange, ...] = ()
    empty: frozenset[str] = frozenset()
    key_origins: Mapping[str, str] = field(default_factory=dict)


def preview(task: Task, look: Look, monitor: Monitor, *, differences: bool = False) -> Previewed:
    """Say what would become of the stages that have to run; no row is touched, no sequence steps."""
    if not task.stale:
        return Previewed()
    prepared = prepare(task, look, monitor, task.stale)
    look.session.begin(read_only=True)
    try:
        resolved = resolve(look, prepared, task, monitor)
        classified = classify(task, look, prepared, resolved, monitor, differences=differences)
    finally:
        look.session.rollback()
    return Previewed(
        classified=tuple(classified),
        changes=tuple(_changes(prepared, classified)) if differences else (),
        empty=resolved.empty,
        key_origins=prepared.bound.key_origins,
    )


def _changes(prepared: Prepared, classified: Sequence[Classified]) -> Iterator[RowChange]:
    """Tell row by row what would change, each with the line of its file."""
    paths = {(r.load.seed, r.load.table): r.shaped.spec.path for r in prepared.read}
    for each in classified:
        lines = each.differences
        if lines is None or not lines.height:
            continue
        for (number,), mine in lines.group_by(FILE, maintain_order=True):
            file = each.load.files[int(str(number))]
            places = positions.locate(
                file, paths[each.load.seed, each.load.table], mine[ROW].unique().to_list()
            )
            for (row, outcome), told in mine.group_by(ROW, "outcome", maintain_order=True):
                place = places.get(int(str(row)))
                columns = zip(*(told[name].to_list() for name in ("column", "old", "new")), strict=True)
                yield RowChange(
                    file=file.name,
                    line=place.line if place else None,
                    table=each.load.table,
                    outcome="created" if outcome == "created" else "updated",
                    columns=() if outcome == "created" else tuple(columns),
                )


def classify(
    task: Task, look: Look, prepared: Prepared, resolved: Resolved, monitor: Monitor, *, differences: bool
) -> list[Classified]:
    """Let the target judge the rows; ids that only a sequence could make are stood in for."""
    naming, cache = prepared.naming, resolved.cache
    rows = settling.with_sequences(resolved.rows, naming, cache, settling.placeholders(prepared.catalog))
    settings = task.options.settings
    plan = settling.plan_writes(rows, naming, cache, settings, resolved.empty, monitor)
    return look.session.classify(plan, differences=differences)
