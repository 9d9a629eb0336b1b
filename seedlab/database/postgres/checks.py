"""Find rows that PostgreSQL's constraints refuse, by letting the server evaluate them over arrays of rows.

CHECK constraints and partitions are evaluated before anything is written, unique constraints after the server
has refused a row. The expressions are the server's own text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import polars as pl
from psycopg.sql import SQL, Composed, Identifier

from seedlab.database.postgres import encode
from seedlab.database.postgres.failures import NO_PARTITION, write_failed
from seedlab.database.postgres.statements import arrays_source, casts, names, qualified, trusted
from seedlab.database.postgres.wire import Question, StatementError, Wire, translated
from seedlab.flow import FILE, ROW, Batch, Refusal, Table, TableWrite, WritePlan

_ROWS = 20_000  # rows per pipeline
_NUMBER = "_seedlab_n"
# SQLSTATE classes of an expression that fails on a value; such a constraint is left to the write itself.
_OF_VALUES = frozenset({"22", "23", "2F", "38", "39", "42", "54", "P0"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    """An expression that must not be false for a row, such as that of a CHECK constraint.

    `columns` are those to blame, `beside` the other columns of the expression.
    """

    why: str
    expression: str
    columns: tuple[str, ...]
    beside: tuple[str, ...] = ()
    rule: str = "constraint"

    @property
    def needed(self) -> frozenset[str]:
        """All columns of the expression."""
        return frozenset((*self.columns, *self.beside))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Evaluation:
    """Rows of one load, and the checks for which they have all columns."""

    table: Table
    batch: Batch
    checks: Sequence[_Check]

    def question(self) -> Question:
        columns = sorted({name for check in self.checks for name in check.needed})
        refusals = _find_refused(self.table, columns, [each.expression for each in self.checks])
        return refusals, encode.frame_literals(self.batch.frame, columns)


def broken_checks(wire: Wire, plan: WritePlan) -> list[Refusal]:
    """Find rows for which a CHECK constraint is false, that belong to no partition, or that share a key.

    Checks are left to the write itself if some of their columns are not written, if they call functions that
    may read tables, or if they fail on a value.
    """
    checks = _read_checks(wire, list({write.table.name: write.table for write in plan.writes}.values()))
    return _broken(
        wire, [(write, [*checks.get(write.table.name, ()), *_shared_key(write)]) for write in plan.writes]
    )


def clashes(wire: Wire, plan: WritePlan) -> list[Refusal]:
    """Find rows that have the values of another existing row in a unique constraint other than the key.

    Of conflicts among the rows to be written, only those of their keys are found here.
    """
    checked = [(write, [*_uniques(write), *_shared_key(write)]) for write in plan.writes if not write.mixed]
    return _broken(wire, checked)


def _shared_key(write: TableWrite) -> Iterator[_Check]:
    """Check that no two rows of a batch have keys that the server takes for equal, unlike their spellings."""
    table, key = write.table, write.loads[0].key_columns
    unlike = any(table.columns[name].send for name in key)
    if unlike and any(set(each.columns) == set(key) for each in table.keys):
        yield _Check(
            why="another row of the files has the same key, in another spelling; keep one of them",
            expression=SQL("count(*) OVER (PARTITION BY {}) = 1").format(names(key, "t")).as_string(),
            columns=key,
            rule="unique",
        )


def _uniques(write: TableWrite) -> Iterator[_Check]:
    table, (first, *_) = write.table, write.loads
    for key in table.keys:
        if set(key.columns) == set(first.key_columns):
            continue
        why = (
            f"another row has the same {', '.join(key.columns)} ({key.name}); two rows that swap a unique "
            "value cannot be written at once"
        )
        if key.columns == (first.made,):  # the id is the handle, so it was made from the key in the files
            why = (
                "the row that seedlab made for this key was given another key since; "
                f"change it back, or delete that row ({key.name})"
            )
        yield _Check(
            why=why,
            expression=_unique_condition(table, key.columns, first.key_columns, first.null_key_columns),
            columns=key.columns,
            beside=first.key_columns,
            rule="unique",
        )


def _broken(wire: Wire, checked: Iterable[tuple[TableWrite, Sequence[_Check]]]) -> list[Refusal]:
    pipelines = encode.pipelines(_evaluations(checked), lambda each: each.batch.frame, _ROWS)
    return [refusal for evaluations in pipelines for refusal in _ask(wire, evaluations)]


def _evaluations(checked: Iterable[tuple[TableWrite, Sequence[_Check]]]) -> Iterator[_Evaluation]:
    for write, checks in checked:
        possible = [each for each in checks if each.needed <= {*write.columns}]
        for batch in write.batches() if possible else ():
            for frame in encode.slices(batch.frame, _ROWS):
                yield _Evaluation(table=write.table, batch=replace(batch, frame=frame), checks=possible)


def _read_checks(wire: Wire, tables: Sequence[Table]) -> dict[str, list[_Check]]:
    identifiers = {"schema": [each.schema for each in tables], "relation": [each.relation for each in tables]}
    parameters = encode.frame_literals(pl.DataFrame(identifiers), list(identifiers))
    with translated("the CHECK constraints"):
        rows = wire.ask([(CHECKS, parameters)])[0] if tables else []
    found: dict[str, list[_Check]] = {}
    for number, name, expression, columns in rows:
        if columns:
            why = f"a CHECK constraint refuses the row ({name})" if name else NO_PARTITION
            check = _Check(why=why, expression=expression, columns=tuple(columns))
            found.setdefault(tables[number - 1].name, []).append(check)
    return found


def _ask(wire: Wire, parts: Sequence[_Evaluation]) -> list[Refusal]:
    """Evaluate in one pipeline; when an expression fails, repeat each part separately."""
    before, after = (SQL("SAVEPOINT checks"), ()), (SQL("RELEASE SAVEPOINT checks"), ())
    try:
        answers = wire.ask([before, *(each.question() for each in parts), after])[1:-1]
    except StatementError as failed:
        if (failed.error.sqlstate or "")[:2] not in _OF_VALUES:
            raise write_failed(failed.error) from failed.error
        wire.script([SQL("ROLLBACK TO SAVEPOINT checks")])
        if len(parts) > 1:
            return [refusal for each in parts for refusal in _ask(wire, [each])]
        wire.recorder.note(
            f"the CHECK constraints of {parts[0].table.name} raise an error for some value, "
            "so only the server checks them when it writes"
        )
        return []
    return [refusal for each, rows in zip(parts, answers, strict=True) for refusal in _refusals(each, rows)]


def _refusals(part: _Evaluation, rows: Sequence[tuple[int, list[bool]]]) -> Iterator[Refusal]:
    for place, check in enumerate(part.checks):
        numbers = [number - 1 for number, broken in rows if broken[place]]
        if numbers:
            yield Refusal(
                load=part.batch.load,
                rule=check.rule,
                column=", ".join(check.columns),
                message=f"table {part.table.name}: {check.why}",
                frame=part.batch.frame.select(FILE, ROW)[pl.Series(numbers, dtype=pl.UInt32)],
            )


# ---- statements -----------------------------------------------------------------------------------------

# Reads the CHECK constraints and partition bounds of tables given by schema and name (two text-array
# parameters): number of the table, constraint, expression, columns. A whole-row reference and an expression
# in a partition key have no column, so that NULL is among the columns. Constraints with functions that are
# not IMMUTABLE are left out: they may read rows that are not written yet. A partition that takes any row has
# no constraint.
CHECKS = SQL("""
WITH t AS (
  SELECT n, r.oid, r.relkind
  FROM unnest($1::pg_catalog.text[], $2::pg_catalog.text[]) WITH ORDINALITY t(s, r, n)
  JOIN pg_catalog.pg_namespace s ON s.nspname = t.s
  JOIN pg_catalog.pg_class r ON r.relnamespace = s.oid AND r.relname = t.r)
SELECT t.n, c.conname::text, pg_catalog.pg_get_expr(c.conbin, c.conrelid), ARRAY(
  SELECT a.attname::text FROM pg_catalog.unnest(c.conkey) k
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k)
FROM t JOIN pg_catalog.pg_constraint c ON c.conrelid = t.oid AND c.contype = 'c'
WHERE pg_catalog.pg_get_constraintdef(c.oid) !~ 'NOT ENFORCED$' AND NOT EXISTS (
  SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid
  WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = c.oid
    AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.provolatile <> 'i')
UNION ALL
SELECT t.n, NULL, (
  SELECT coalesce(
    string_agg(coalesce(pg_catalog.pg_get_partition_constraintdef(l.relid), 'true'), ' OR '), 'false')
  FROM pg_catalog.pg_partition_tree(t.oid) l WHERE l.isleaf), ARRAY(
  SELECT DISTINCT a.attname::text FROM pg_catalog.pg_partition_tree(t.oid) b
  JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = b.relid
  CROSS JOIN pg_catalog.unnest(p.partattrs::pg_catalog.int2[]) k
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = k)
FROM t WHERE t.relkind = 'p'
ORDER BY 1, 2
""")


def _unique_condition(table: Table, unique: Sequence[str], key: Sequence[str], nulls: Collection[str]) -> str:
    """Make the condition that no row of the table with another key has the same values.

    NULLs differ, but for those in the columns `nulls` of the key.
    """
    alike = [SQL("x.{0} = t.{0}").format(Identifier(name)) for name in unique]
    same = [
        SQL("x.{0} IS NOT DISTINCT FROM t.{0}" if name in nulls else "x.{0} = t.{0}").format(Identifier(name))
        for name in key
    ]
    return (
        SQL("NOT EXISTS (SELECT FROM {} x WHERE {} AND ({}) IS NOT TRUE)")
        .format(qualified(table), SQL(" AND ").join(alike), SQL(" AND ").join(same))
        .as_string()
    )


def _find_refused(table: Table, columns: Sequence[str], expressions: Sequence[str]) -> Composed:
    """Find the rows (one text-array parameter per column) for which an expression is false, not NULL.

    The result has the number of the row, from 1, and an array that says which expressions are false.
    """
    broken = [SQL("({}) IS FALSE").format(trusted(each)) for each in expressions]
    return SQL(
        "SELECT n, broken FROM (SELECT {n}::pg_catalog.int4 AS n, ARRAY[{broken}] AS broken "
        "FROM (SELECT r.{n}, {casts} FROM {source}) t) q WHERE true = ANY (broken)"
    ).format(
        n=Identifier(_NUMBER),
        broken=SQL(", ").join(broken),
        casts=casts(table, columns),
        source=arrays_source(columns, place=_NUMBER),
    )
