"""Makes a project of an existing database: reads its catalog, decides what to export, and writes files.

The database is read in one snapshot, and nothing is written to it, not even a ledger. The new folder exists
only if all went well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import polars as pl

from seedlab.database import export_statements as sql
from seedlab.database.export import Reader, open_reader
from seedlab.database.lock_holder import label_of
from seedlab.errors import ConfigurationError, nearest
from seedlab.flow import LINE, Catalog, ForeignKey, Recorder, Table, Target
from seedlab.flow.exports import Export, Exported, TableExport, Tie, WrittenTable
from seedlab.frames import export_subset
from seedlab.frames.files import outputs
from seedlab.insight.formatting.export_text import PRODUCTS
from seedlab.insight.formatting.text import several
from seedlab.plan import export_keys, export_plan, scaffold, toml_writer
from seedlab.plan.export_plan import FoundKey, Wanted
from seedlab.plan.graph import with_dependents
from seedlab.plan.project import FILE


def export(
    target: Target, out: Path, wanted: Wanted, limits: Mapping[str, int], recorder: Recorder
) -> Exported:
    """Write a project of what the target holds to the new folder `out`.

    `limits` maps tables to the number of rows, first by key, that are exported of them. If there is no row to
    export, `out` is not made, since a project without data files cannot be seeded. Raises
    ConfigurationError for missing tables and for a folder that exists, ConnectionFailed, and WriteError for
    what the database refuses.
    """
    outputs.check_new(out)
    with closing(open_reader(target, recorder, label_of(out.name))) as reader:
        catalog = reader.catalog()
        tables, left_out = export_plan.choose_tables(catalog, wanted)
        reader.hold(tables)
        keys = _keys_by_rows(reader, catalog, tables)
        plan = export_plan.plan_export(catalog, tables, keys, left_out, with_ids=wanted.with_ids)
        first = _limits(catalog, plan, limits)
        doubtful = reader.doubtful([catalog.tables[each.table] for each in plan.tables])
        masks = _masks(reader, catalog, plan, doubtful, first)
        with outputs.new_folder(out) as folder:
            written = _write(reader, catalog, plan, masks, folder)
            if any(each.rows for each in written):
                _write_project(catalog, plan, written, out, folder)
        misfits = reader.lossy_values()
        triggers = reader.triggers([catalog.tables[each.table] for each in written if each.rows])
    return Exported(
        database=target.shown,
        dialect=catalog.dialect,
        version=catalog.version,
        tables=tuple(each for each in written if each.rows),
        left_out=plan.left_out,
        empty=tuple(each.table for each in written if not each.rows),
        notes=(
            *plan.notes,
            *_trigger_notes(triggers),
            *_security_notes(tables),
            *_orphan_notes(masks, first),
            *_misfit_notes(misfits),
        ),
    )


# ---- decide ---------------------------------------------------------------------------------------------


def _keys_by_rows(reader: Reader, catalog: Catalog, tables: Sequence[Table]) -> dict[str, FoundKey]:
    """Find keys of tables that declare none: columns by whose values all rows differ, best without NULL."""
    found: dict[str, FoundKey] = {}
    for table in filter(export_keys.keyless, tables):
        names = export_keys.possible_key_columns(table)
        rows, *values = reader.count(sql.count_values(table, names, catalog.dialect))
        full = {name for name, count in zip(names, values, strict=True) if count == rows}
        unique = sorted((key.columns for key in table.keys if full.issuperset(key.columns)), key=len)
        every = tuple(name for name in names if name in full)
        if unique:
            found[table.name] = FoundKey(columns=unique[0])
            continue
        candidates = [FoundKey(columns=every)] if every else []
        candidates += [FoundKey(columns=key, nulls="equal") for key in _with_null(table, names)]
        for key in candidates:
            if reader.count(sql.count_distinct(table, key.columns, catalog.dialect))[0] == rows:
                found[table.name] = key
                break
    return found


def _with_null(table: Table, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield, of a table whose unique keys have NULL, the columns that may tell its rows: best those keys.

    Then the columns of all these keys, and then all that a key may have, `names`.
    """
    keys = [key.columns for key in table.keys if set(key.columns) <= set(names)]
    yield from sorted(keys, key=lambda key: (len(key), key))
    if keys:
        yield tuple(sorted({column for key in keys for column in key}))
    if table.keys and names:
        yield tuple(names)


def _limits(catalog: Catalog, plan: Export, limits: Mapping[str, int]) -> dict[str, int]:
    exported = {each.table for each in plan.tables}
    found = {}
    for name, limit in limits.items():
        table = catalog.find(name)
        if table is None or table.name not in exported:
            hint = "" if table is not None else nearest(name, exported)
            raise ConfigurationError(f"--subset {name}={limit}: table {name} is not exported{hint}")
        found[table.name] = limit
    return found


def _masks(
    reader: Reader,
    catalog: Catalog,
    plan: Export,
    doubtful: frozenset[ForeignKey],
    limits: Mapping[str, int],
) -> dict[str, pl.Series]:
    """Map tables that may not be exported as a whole to a boolean series, True for the rows that are."""
    exports = {each.table: each for each in plan.tables}
    ties = _ties({name: catalog.tables[name] for name in exports}, doubtful, limits)

    def read(name: str, asked: Sequence[tuple[Tie, Sequence[str]]]) -> pl.DataFrame:
        width = len(exports[name].key) + sum(len(key) + tie.doubtful for tie, key in asked)
        empty = pl.DataFrame(schema={str(n): pl.String for n in range(width)})
        return pl.concat([empty, *reader.ties(catalog, exports[name], asked)])

    def keyed(tie: Tie, *, period: bool) -> tuple[Tie, Sequence[str]]:
        asked = tie.followed and tie.foreign_key.period == period
        return tie, exports[tie.foreign_key.parent].key if asked else ()

    frames = {name: read(name, [keyed(tie, period=False) for tie in ties[name]]) for name in ties}
    overlaps = {
        name: [
            read(name, [keyed(replace(tie, doubtful=False), period=True)])
            for tie in ties[name]
            if tie.followed and tie.foreign_key.period
        ]
        for name in ties
    }
    keys = {name: len(exports[name].key) for name in ties}
    places = export_subset.parent_positions(frames, overlaps, ties, keys)
    return export_subset.rows_to_export(places, limits)


def _ties(
    tables: Mapping[str, Table], doubtful: frozenset[ForeignKey], limits: Mapping[str, int]
) -> dict[str, list[Tie]]:
    """Map each table that may not be exported as a whole to the foreign keys that decide which rows are.

    These are the tables with a limit or with a foreign key that rows may violate, and all that refer to them.
    """
    violated = [name for name in tables if doubtful.intersection(tables[name].foreign_keys)]
    parents = {name: table.parents for name, table in tables.items()}
    affected = with_dependents((*limits, *violated), parents)
    return {
        name: [
            Tie(foreign_key=key, doubtful=key in doubtful, followed=key.parent in affected)
            for key in tables[name].foreign_keys
            if key in doubtful or key.parent in affected
        ]
        for name in sorted(affected)
    }


# ---- write ----------------------------------------------------------------------------------------------


def _write(
    reader: Reader, catalog: Catalog, plan: Export, masks: Mapping[str, pl.Series], folder: Path
) -> list[WrittenTable]:
    files = export_plan.file_names([each.table for each in plan.tables])
    written = []
    for each in plan.tables:
        frames = reader.rows(catalog, each)
        if each.table in masks:
            frames = export_subset.filter_all(frames, masks[each.table])
        if len(each.leaves) == 1 and (each.leaves[0].path or each.leaves[0].column.nullable):
            # The line of a row that is NULL would be blank, and so no row.
            frames = (frame.with_columns(pl.lit(None, dtype=pl.String).alias(LINE)) for frame in frames)
        rows = outputs.write_csv(folder / files[each.table], frames)
        written.append(
            WrittenTable(
                table=each.table, file=files[each.table], rows=rows, key=each.spelled_key, hidden=each.hidden
            )
        )
    return written


def _write_project(
    catalog: Catalog, plan: Export, written: Sequence[WrittenTable], out: Path, folder: Path
) -> None:
    """Write seedlab.toml for the files that were written, and the schema by which editors check it."""
    files = {each.table: each.file for each in written if each.rows}
    exports: list[TableExport] = [each for each in plan.tables if each.table in files]
    project = export_plan.project_of(out.resolve().name, folder, catalog, exports, files)
    heading = (
        f"{scaffold.SCHEMA_LINE}\n"
        f"# Exported from the {PRODUCTS[catalog.dialect]} database {catalog.database} by seedlab export.\n\n"
    )
    hint = scaffold.TARGET_HINT
    (folder / FILE).write_text(heading + _with_hint(toml_writer.to_toml(project), hint), encoding="utf-8")
    (folder / scaffold.SCHEMA_FILE).write_text(scaffold.schema_text(), encoding="utf-8")


def _with_hint(text: str, hint: str) -> str:
    """Put a comment after `[project]`, before the stages."""
    head, _, stages = text.partition("\n\n")
    return f"{head.rstrip()}\n\n{hint}" + (f"\n{stages}" if stages else "")


# ---- notes ----------------------------------------------------------------------------------------------


def _trigger_notes(triggers: Mapping[str, Sequence[str]]) -> list[str]:
    """Warn of triggers that act on a seed's rows: what they wrote once is in the files, too."""
    if not triggers:
        return []
    which = ", ".join(f"{table} ({', '.join(names)})" for table, names in sorted(triggers.items()))
    note = (
        f"triggers act when rows are inserted: {which}. What they wrote is in the files, too: leave out "
        "tables that they fill (--exclude-table), or disable the triggers while the copy is seeded"
    )
    return [note]


def _security_notes(tables: Sequence[Table]) -> list[str]:
    names = sorted(table.name for table in tables if table.row_security)
    return (
        [f"row-level security: of {', '.join(names)} only the rows that this user may see are exported"]
        if names
        else []
    )


def _orphan_notes(masks: Mapping[str, pl.Series], limits: Mapping[str, int]) -> list[str]:
    """Note how many rows are left out because they refer to rows that do not exist.

    With `limits` nothing is noted, since rows are left out on purpose.
    """
    if limits:
        return []
    counts = {name: int((~mask).sum()) for name, mask in masks.items()}
    return [
        f"{several(count, 'row')} of {name} left out: the rows that they refer to do not exist"
        for name, count in sorted(counts.items())
        if count
    ]


def _misfit_notes(misfits: Mapping[str, int]) -> list[str]:
    """Note how many values SQLite holds in each column that are not of the column's type."""
    return [
        f"{name}: {count:,} value{'s do' if count > 1 else ' does'} not fit the column's declared type; "
        "a seed would convert them, or refuse them"
        for name, count in sorted(misfits.items())
    ]
