"""Read SQLite's catalog through the table-valued PRAGMA functions, in five statements.

SQLite lacks what other databases record: names of constraints, which are parsed from the CREATE TABLE text or
derived from table and columns; and uuid types, which are recognized by the usual declarations of key columns
and confirmed by a stored value.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Literal

from seedlab.database.sqlite.kinds import MOMENTS, read_sqlite_type
from seedlab.database.sqlite.statements import any_value, has_no_row, main
from seedlab.errors import WriteError
from seedlab.flow import Catalog, Column, ForeignKey, Kind, Table, UniqueKey
from seedlab.flow.catalog import quote

Run = Callable[[str], Sequence[Any]]  # runs a statement and returns its rows
Storage = Literal["", "hex", "dashed", "blob", "padded"]

TABLES = r"""
SELECT s.name, iif(l.type = 'virtual', 'virtual table', l.type), s.sql FROM pragma_table_list AS l
JOIN main.sqlite_schema AS s ON s.name = l.name AND s.type = iif(l.type = 'virtual', 'table', l.type)
WHERE l.schema = 'main' AND l.type IN ('table', 'view', 'virtual')
  AND l.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND l.name NOT LIKE 'seedlab\_%' ESCAPE '\' ORDER BY l.name"""
# Older versions do not mark the shadow tables of virtual tables (FTS, R*Tree): they are recognized by name.
TABLES_BEFORE_3_37 = r"""
SELECT s.name, iif(s.rootpage = 0 AND s.type = 'table', 'virtual table', s.type), s.sql
FROM main.sqlite_schema AS s
WHERE s.type IN ('table', 'view')
  AND s.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND s.name NOT LIKE 'seedlab\_%' ESCAPE '\' AND NOT EXISTS (
    SELECT 1 FROM main.sqlite_schema AS v WHERE v.sql LIKE 'CREATE VIRTUAL TABLE %' AND s.name IN (
      v.name || '_data', v.name || '_idx', v.name || '_content', v.name || '_docsize', v.name || '_config',
      v.name || '_segments', v.name || '_segdir', v.name || '_stat',
      v.name || '_node', v.name || '_parent', v.name || '_rowid')) ORDER BY s.name"""
# Only of tables, since views may be broken, and virtual tables (page 0) may need a module that is missing.
COLUMNS = """
SELECT s.name, x.name, x.type, x."notnull", x.dflt_value, x.pk, x.hidden
FROM main.sqlite_schema AS s JOIN pragma_table_xinfo(s.name, 'main') AS x
WHERE s.type = 'table' AND s.rootpage <> 0 AND x.hidden <> 1 ORDER BY s.name, x.cid"""
INDEXES = """
SELECT s.name, i.name, i.origin, c.name, c.coll FROM main.sqlite_schema AS s
JOIN pragma_index_list(s.name, 'main') AS i JOIN pragma_index_xinfo(i.name, 'main') AS c
WHERE s.type = 'table' AND s.rootpage <> 0 AND i."unique" AND NOT i.partial AND c.key
ORDER BY s.name, i.name, c.seqno"""
FOREIGN_KEYS = """
SELECT s.name, f.id, f."table", f."from", f."to" FROM main.sqlite_schema AS s
JOIN pragma_foreign_key_list(s.name, 'main') AS f WHERE s.type = 'table' AND s.rootpage <> 0
ORDER BY s.name, f.id, f.seq"""

_NAME = r'"(?:[^"]|"")+"|\[[^\]]+\]|`[^`]+`|\w+'
_NAMED_KEY = re.compile(
    rf"CONSTRAINT\s+(?P<name>{_NAME})\s+FOREIGN\s+KEY\s*\((?P<columns>[^)]*)\)", re.IGNORECASE
)
_STRICT = re.compile(r"\)[^()]*\bSTRICT\b[^()]*$", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
_HEX = re.compile(r"[0-9a-f]{32}")
_PROBES = 500  # the most sub-selects in one statement


@dataclass(slots=True)
class _Draft:
    """What has been read about a table so far."""

    kind: Kind
    sql: str
    rows: list[Any] = field(default_factory=list)
    keys: list[UniqueKey] = field(default_factory=list)
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    unfit: list[ForeignKey] = field(default_factory=list)
    columns: dict[str, Column] = field(default_factory=dict)
    collations: dict[str, set[str]] = field(default_factory=dict)  # those of a column in unique keys

    @property
    def primary_key(self) -> tuple[str, ...]:
        marked = sorted((row[5], row[1]) for row in self.rows if row[5])
        return tuple(name for _, name in marked)


def read_catalog(run: Run, database: str) -> Catalog:
    """Read all tables and views, which tables are empty, and how uuid columns are stored."""
    drafts = _read_drafts(run)
    tables = [name for name, draft in drafts.items() if draft.kind == "table"]
    guesses = _guess_uuids(drafts)
    empty, stored = _probe(run, tables, list(guesses))
    for place, guess in guesses.items():
        _settle_uuid(drafts, place, guess, stored.get(place))
    for draft in drafts.values():
        _follow_parents(drafts, draft)
        _pad_times_in_keys(draft)
    return Catalog(
        dialect="sqlite",
        version=sqlite3.sqlite_version,
        database=database,
        user="",
        default_schema="main",
        tables={name: _table(name, draft) for name, draft in drafts.items()},
        empty=empty,
    )


def find_empty(run: Run, tables: Collection[str]) -> frozenset[str]:
    """Return those of the tables that have no rows."""
    return _probe(run, list(tables), [])[0]


def default_name(table: str, columns: Sequence[str]) -> str:
    """Name a foreign key that has no name in its CREATE TABLE."""
    return f"fk_{table}_{'_'.join(columns)}"


def uuid_storage(declared: str) -> Storage:
    """Return how a column of this declared type stores uuids, or "" if it cannot have uuids."""
    facts = read_sqlite_type(declared)
    if facts.kind == "uuid" or (facts.kind in ("char", "varchar") and facts.length == 36):
        return "dashed"
    if facts.kind == "char" and facts.length == 32:
        return "hex"
    return "blob" if facts.kind == "bytea" else ""


def reread(column: Column, storage: Storage) -> Column:
    """Return the column as a uuid column with this storage, or (storage "") as it is declared."""
    if storage:
        return replace(column, kind="uuid", storage=storage, length=None, otherwise=None)
    facts = read_sqlite_type(column.type)
    kind = "text" if facts.kind == "uuid" else facts.kind
    return replace(column, kind=kind, storage="", length=facts.length, otherwise=None)


# ---- reading --------------------------------------------------------------------------------------------


def _read_drafts(run: Run) -> dict[str, _Draft]:
    tables = run(TABLES if sqlite3.sqlite_version_info >= (3, 37) else TABLES_BEFORE_3_37)
    drafts = {name: _Draft(kind=kind, sql=sql or "") for name, kind, sql in tables}
    for row in run(COLUMNS):
        if row[0] in drafts:
            drafts[row[0]].rows.append(row)
    for name, keys in _grouped(run(INDEXES)).items():
        if name[0] in drafts and None not in (columns := tuple(row[3] for row in keys)):
            collated = any(row[4].upper() != "BINARY" for row in keys)
            drafts[name[0]].keys.append(
                UniqueKey(name=name[1], columns=columns, primary=name[2] == "pk", collated=collated)
            )
            for row in keys:
                drafts[name[0]].collations.setdefault(row[3], set()).add(row[4].upper())
    for name, draft in drafts.items():
        _add_primary_key(name, draft)
        draft.columns = {row[1]: _column(row, draft) for row in draft.rows}
    for (name, _, parent), rows in _grouped(run(FOREIGN_KEYS)).items():
        if name in drafts:
            _add_foreign_key(drafts, name, parent, rows)
    for name, draft in drafts.items():
        _set_unfit_apart(run, drafts, name, draft)
    return drafts


def _grouped(rows: Sequence[Any]) -> dict[tuple[Any, ...], list[Any]]:
    """Group rows by their first three columns, which identify a key."""
    return {key: list(group) for key, group in groupby(rows, key=lambda row: tuple(row[:3]))}


def _add_primary_key(name: str, draft: _Draft) -> None:
    """Add a primary key without an index: an INTEGER PRIMARY KEY is the row id itself."""
    if draft.primary_key and not any(key.primary for key in draft.keys):
        draft.keys.append(UniqueKey(name=f"pk_{name}", columns=draft.primary_key, primary=True))


def _column(row: Any, draft: _Draft) -> Column:
    _, name, declared, not_null, default, in_key, hidden = row
    if declared.upper() == "ANY" and _STRICT.search(draft.sql):
        declared = ""  # ANY in a STRICT table stores values unchanged, like a column without a type elsewhere
    facts = read_sqlite_type(declared)
    is_rowid = any(
        key.primary and key.name.startswith("pk_") and key.columns == (name,) for key in draft.keys
    )
    collations = draft.collations.get(name, {"BINARY"})
    return Column(
        name=name,
        type=declared,
        kind=facts.kind,
        collation=next(iter(collations - {"BINARY"}), "") if len(collations) == 1 else "",
        nullable=not (not_null or in_key),
        default=default is not None,
        expression=default or "" if draft.primary_key == (name,) and not is_rowid else "",
        generated=hidden in (2, 3),
        length=facts.length,
        precision=facts.precision,
        scale=facts.scale,
        sequence="rowid" if is_rowid else None,
    )


def _add_foreign_key(drafts: Mapping[str, _Draft], name: str, parent: str, rows: Sequence[Any]) -> None:
    """Add a foreign key, unless it refers to a table that does not exist."""
    known = {each.lower(): each for each in drafts}
    if parent.lower() not in known:
        return
    parent = known[parent.lower()]
    columns = tuple(_as_declared(drafts[name], row[3]) for row in rows)
    named = all(row[4] is not None for row in rows)
    parents = (
        tuple(_as_declared(drafts[parent], row[4]) for row in rows) if named else drafts[parent].primary_key
    )
    constraint = _constraint_names(drafts[name].sql).get(columns) or default_name(name, columns)
    foreign_key = ForeignKey(name=constraint, columns=columns, parent=parent, parent_columns=parents)
    if _is_unique(drafts[parent], parents) and len(parents) == len(columns):
        drafts[name].foreign_keys.append(foreign_key)
    else:
        drafts[name].unfit.append(foreign_key if named else replace(foreign_key, parent_columns=()))


def _is_unique(draft: _Draft, columns: Sequence[str]) -> bool:
    """Tell whether these are all the columns of a unique key, in any order."""
    return any({*key.columns} == {*columns} and len(key.columns) == len(columns) for key in draft.keys)


def _set_unfit_apart(run: Run, drafts: Mapping[str, _Draft], name: str, draft: _Draft) -> None:
    """Have SQLite compile an INSERT where only it can tell whether unique keys have the columns' collations.

    A foreign key that fits no unique key of its parent is a mistake: SQLite refuses every write for it.
    """
    doubtful = [
        key
        for key in draft.foreign_keys
        if key.parent_columns != drafts[key.parent].primary_key or "COLLATE" in drafts[key.parent].sql.upper()
    ]
    if not doubtful:
        return
    try:
        run(f"EXPLAIN INSERT INTO {main(name)} DEFAULT VALUES")
    except (WriteError, sqlite3.Error) as error:
        for key in doubtful:
            if f"mismatch - {quote(name)} referencing {quote(key.parent)}".lower() in str(error).lower():
                draft.foreign_keys.remove(key)
                draft.unfit.append(key)


def _as_declared(draft: _Draft, column: str) -> str:
    return next((name for name in draft.columns if name.lower() == column.lower()), column)


def _constraint_names(sql: str) -> dict[tuple[str, ...], str]:
    return {
        tuple(_bare(each) for each in found["columns"].split(",")): _bare(found["name"])
        for found in _NAMED_KEY.finditer(sql)
    }


def _bare(name: str) -> str:
    name = name.strip()
    return name[1:-1].replace('""', '"') if name[:1] in '"[`' else name


def _pad_times_in_keys(draft: _Draft) -> None:
    """Give times in keys a fixed format, because they are compared as text."""
    keys = [key.columns for key in draft.keys] + [key.columns for key in draft.foreign_keys]
    for name in {name for columns in keys for name in columns}:
        if draft.columns[name].kind in MOMENTS:
            draft.columns[name] = replace(draft.columns[name], storage="padded")


def _table(name: str, draft: _Draft) -> Table:
    return Table(
        name=name,
        schema="main",
        relation=name,
        columns=draft.columns,
        keys=tuple(draft.keys),
        foreign_keys=tuple(sorted(draft.foreign_keys, key=lambda key: key.name)),
        kind=draft.kind,
        unfit=tuple(sorted(draft.unfit, key=lambda key: key.name)),
        rebuildable=False,
    )


# ---- uuid -----------------------------------------------------------------------------------------------


def _guess_uuids(drafts: Mapping[str, _Draft]) -> dict[tuple[str, str], Storage]:
    """Find columns that may store uuids: by declaration, or as primary keys of a suitable type."""
    guesses: dict[tuple[str, str], Storage] = {}
    for name, draft in drafts.items():
        referring = {column for key in draft.foreign_keys for column in key.columns}
        for column in draft.columns.values() if draft.kind == "table" else ():
            storage = uuid_storage(column.type)
            own = column.kind == "uuid" or column.name in draft.primary_key
            if storage and own and column.name not in referring:
                guesses[name, column.name] = storage
    return guesses


def _probe(
    run: Run, tables: Sequence[str], columns: Sequence[tuple[str, str]]
) -> tuple[frozenset[str], dict[tuple[str, str], object]]:
    """Find the empty tables, and read one stored value per column."""
    probes = [has_no_row(table) for table in tables] + [any_value(table, name) for table, name in columns]
    answers: list[object] = []
    for start in range(0, len(probes), _PROBES):
        answers += run(f"SELECT {', '.join(probes[start : start + _PROBES])}")[0]
    empty = frozenset(table for table, answer in zip(tables, answers, strict=False) if answer)
    return empty, dict(zip(columns, answers[len(tables) :], strict=True))


def _settle_uuid(
    drafts: Mapping[str, _Draft], place: tuple[str, str], guess: Storage, stored: object
) -> None:
    """Decide by a stored value whether and how the column stores uuids."""
    columns = drafts[place[0]].columns
    column = columns[place[1]]
    storage = guess if stored is None else _storage_of(stored)
    # Any 16 bytes may be a uuid, and a column with one dashed uuid may also have other texts. 32 hexadecimal
    # digits are sufficient evidence.
    doubtful = storage != "" and column.kind != "uuid" and (stored is None or storage != "hex")
    columns[place[1]] = replace(reread(column, storage), otherwise=reread(column, "") if doubtful else None)


def _storage_of(stored: object) -> Storage:
    if isinstance(stored, bytes):
        return "blob" if len(stored) == 16 else ""
    if isinstance(stored, str) and _UUID.fullmatch(stored):
        return "dashed"
    return "hex" if isinstance(stored, str) and _HEX.fullmatch(stored) else ""


def _follow_parents(drafts: Mapping[str, _Draft], draft: _Draft) -> None:
    """Make the columns of foreign keys store uuids like the columns that they refer to."""
    for key in draft.foreign_keys:
        for own, parent_column in key.column_pairs:
            root = _root(drafts, key.parent, parent_column)
            column = draft.columns[own]
            if root is not None and (root.kind == "uuid" or column.kind == "uuid"):
                plain = reread(column, "") if root.otherwise else None
                draft.columns[own] = replace(reread(column, root.storage), otherwise=plain)


def _root(drafts: Mapping[str, _Draft], table: str, name: str) -> Column | None:
    """Follow a chain of foreign keys to its last column; None for a cycle."""
    seen: set[tuple[str, str]] = set()
    while (table, name) not in seen:
        seen.add((table, name))
        following = next(
            (
                (key.parent, parent)
                for key in drafts[table].foreign_keys
                for own, parent in key.column_pairs
                if own == name
            ),
            None,
        )
        if following is None:
            return drafts[table].columns.get(name)
        table, name = following
    return None
