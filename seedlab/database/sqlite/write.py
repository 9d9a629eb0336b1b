"""Write a plan into SQLite: rows of empty tables directly, others through a temporary table.

Rows are sent by one prepared statement or by multi-row VALUES. A refused row is skipped and recorded, so that
all refused rows are reported together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence

from seedlab.database.sqlite import statements as sql
from seedlab.database.sqlite.connection import CountedConnection
from seedlab.database.sqlite.encode import encode
from seedlab.errors import DataFaults, Fault, WriteError
from seedlab.flow import FILE, ROW, Batch, Load, Outcomes, Recorder, Table, TableWrite, WritePlan, Written
from seedlab.flow.catalog import quote

Row = Sequence[object]
Counts = Mapping[tuple[int, int], int]  # number of the load, state → rows
Refusals = dict[int, sqlite3.IntegrityError]
Send = Callable[[CountedConnection, str, Sequence[str], Sequence[Row]], Refusals]


def write_plan(
    connection: CountedConnection, recorder: Recorder, plan: WritePlan, *, copy: bool
) -> list[Written]:
    """Write all groups in order; with `copy` by prepared statements, else by multi-row VALUES.

    Foreign keys are deferred. After each group those of the written rows are checked, and only those:
    existing rows that violate a foreign key are not reported. Raises DataFaults.
    """
    send = send_prepared if copy else send_values
    written: list[Written] = []
    for group in plan.groups:
        staged: list[tuple[str, TableWrite]] = []
        for write in group:
            if write.table.name in plan.empty:
                written += _write_direct(connection, recorder, write, send)
            else:
                name = f"seedlab_stage_{len(staged)}"
                written += _write_staged(connection, recorder, write, send, name)
                staged.append((name, write))
        _check_references(connection, [write for write in group if write.table.name in plan.empty], staged)
        for name, _ in staged:
            connection.run(f"DROP TABLE temp.{quote(name)}")
    return written


# ---- direct and staged ----------------------------------------------------------------------------------


def _write_direct(
    connection: CountedConnection, recorder: Recorder, write: TableWrite, send: Send
) -> list[Written]:
    """Insert rows into an empty table."""
    faults: list[Fault] = []
    counts = dict.fromkeys(range(len(write.loads)), 0)
    for batch in write.batches():
        with recorder.span("stage", load=batch.load, rows=len(batch.frame)):
            rows, unfit = encode_rows(batch, write.table)
            faults += unfit
        with recorder.span("merge", load=batch.load, rows=len(batch.frame)):
            refused = {} if faults else send(connection, sql.main(write.table.name), batch.load.columns, rows)
        faults += _faults(write.table, batch, refused)
        counts[write.loads.index(batch.load)] += len(rows)
        recorder.progress(batch.load, len(rows))
    if faults:
        raise DataFaults(faults)
    return [Written(load=load, outcomes=Outcomes(created=counts[n])) for n, load in enumerate(write.loads)]


def _write_staged(
    connection: CountedConnection, recorder: Recorder, write: TableWrite, send: Send, name: str
) -> list[Written]:
    """Stage rows, classify them by key, update those that differ, and insert new ones."""
    load = write.loads[0]
    stage_rows(connection, recorder, write, send, name)
    with recorder.span("merge", load=load):
        counts = mark_rows(connection, write, name)
        recorder.count(rows=sum(counts.values()))
        if any(state == sql.DIFFERENT for _, state in counts):
            _merge(connection, sql.update(name, write.table, load), name, write, sql.DIFFERENT)
        if any(state == sql.NEW for _, state in counts):
            _merge(connection, sql.insert_new(name, write.table, load), name, write, sql.NEW)
        created = _created(connection, name, counts)
    return [
        Written(load=each, outcomes=outcomes(counts, n), created=created.get(n))
        for n, each in enumerate(write.loads)
    ]


def _created(connection: CountedConnection, name: str, counts: Counts) -> dict[int, tuple[int, ...]]:
    """Return the ordinals of new rows, for loads of which only some rows are new.

    The rows of a load are staged consecutively, so ordinals follow from row ids.
    """
    sizes: dict[int, int] = {}
    for (load, _), rows in counts.items():
        sizes[load] = sizes.get(load, 0) + rows
    mixed = [load for load, size in sizes.items() if 0 < counts.get((load, sql.NEW), 0) < size]
    if not mixed:
        return {}
    first = {load: 1 + sum(sizes[n] for n in sizes if n < load) for load in mixed}
    places = connection.run(sql.places(name, sql.NEW))
    return {load: tuple(row[0] - first[load] for row in places if row[1] == load) for load in mixed}


def stage_rows(
    connection: CountedConnection, recorder: Recorder, write: TableWrite, send: Send, name: str
) -> None:
    """Insert all rows with their origin into a temporary table; raises DataFaults for invalid values."""
    connection.run(sql.stage(name, write.table, write.columns))
    faults: list[Fault] = []
    for batch in write.batches():
        with recorder.span("stage", load=batch.load, rows=len(batch.frame)):
            rows, unfit = encode_rows(batch, write.table)
            faults += unfit
            origin = zip(batch.frame[FILE].to_list(), batch.frame[ROW].to_list(), rows, strict=True)
            number = write.loads.index(batch.load)
            send(
                connection,
                f"temp.{quote(name)}",
                (*sql.STAGED, *write.columns),
                [(sql.NEW, number, file, row, *values) for file, row, values in origin],
            )
        recorder.progress(batch.load, len(rows))
    if faults:
        raise DataFaults(faults)


def mark_rows(connection: CountedConnection, write: TableWrite, name: str) -> Counts:
    """Classify staged rows by key and count them; raises DataFaults for conflicting ids."""
    connection.run(sql.classify(name, write.table, write.loads))
    _refuse_conflicts(connection, name, write)
    return {(n, state): rows for n, state, rows in connection.run(sql.count_states(name))}


def outcomes(counts: Counts, load: int) -> Outcomes:
    """Return the outcomes of the rows of one load, by its index."""
    return Outcomes(
        created=counts.get((load, sql.NEW), 0),
        updated=counts.get((load, sql.DIFFERENT), 0),
        unchanged=counts.get((load, sql.SAME), 0),
    )


def _merge(connection: CountedConnection, statement: str, name: str, write: TableWrite, state: int) -> None:
    """Run a statement for all staged rows of a state; if one is refused, run it row by row to find which.

    A row may be refused because another row still has its unique value, so refused rows are tried again while
    their number decreases. The remaining ones are faults.
    """
    try:
        connection.run(statement, sql.EVERY_ROW)
    except sqlite3.IntegrityError:
        left = {row[0]: row[1:] for row in connection.run(sql.places(name, state))}
        refused: Refusals = {}
        before = len(left) + 1
        while left and len(left) < before:
            before = len(left)
            refused = _one_by_one(connection, statement, list(left))
            left = {number: left[number] for number in refused}
        if left:
            faults = [_fault(refused[n], write.table, write.loads[p[0]], p[1], p[2]) for n, p in left.items()]
            raise DataFaults(faults) from None


def _one_by_one(connection: CountedConnection, statement: str, numbers: Sequence[int]) -> Refusals:
    refused: Refusals = {}
    for number in numbers:
        try:
            connection.run(statement, (number, number))
        except sqlite3.IntegrityError as error:
            refused[number] = error
    return refused


# ---- sending rows ---------------------------------------------------------------------------------------


def encode_rows(batch: Batch, table: Table) -> tuple[list[tuple[object, ...]], list[Fault]]:
    """Return rows for sqlite3, and a fault for every value that its column would change or refuse."""
    faults: list[Fault] = []
    columns: list[Sequence[object]] = []
    for name in batch.load.columns:
        encoded = encode(table.columns[name], batch.frame[name])
        columns.append(encoded.values)
        for position, rule in encoded.unfit.items():
            file, row = batch.frame[FILE][position], batch.frame[ROW][position]
            faults.append(
                Fault(
                    rule=rule,
                    message=f"column {name} of table {table.name} is {table.columns[name].type or 'untyped'}"
                    + (": SQLite would not keep the value exactly" if rule == "rounding" else ""),
                    table=table.name,
                    column=name,
                    file=_file(batch.load, file),
                    row=row,
                    value=str(batch.frame[name][position]),
                )
            )
    return list(zip(*columns, strict=True)), faults


def send_prepared(
    connection: CountedConnection, target: str, columns: Sequence[str], rows: Sequence[Row]
) -> Refusals:
    """Insert rows by one prepared statement; refused rows are skipped, and returned by position."""
    statement = sql.insert(target, columns)
    refused: Refusals = {}
    position = -1

    def supply() -> Iterator[Row]:
        nonlocal position
        for position, row in enumerate(rows):  # noqa: B007 read outside
            yield row

    supplied = supply()
    while True:
        try:
            connection.run_many(statement, supplied)
        except sqlite3.IntegrityError as error:
            refused[position] = error  # continues with the rows after it
        else:
            return refused


def send_values(
    connection: CountedConnection, target: str, columns: Sequence[str], rows: Sequence[Row]
) -> Refusals:
    """Insert rows by multi-row VALUES, as many rows per statement as the parameter limit allows."""
    size = sql.rows_per_statement(len(columns))
    refused: Refusals = {}
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        try:
            connection.run(sql.insert(target, columns, len(chunk)), [value for row in chunk for value in row])
        except sqlite3.IntegrityError:
            found = send_prepared(connection, target, columns, chunk)
            refused |= {start + position: error for position, error in found.items()}
    return refused


# ---- what was refused -----------------------------------------------------------------------------------


def _refuse_conflicts(connection: CountedConnection, name: str, write: TableWrite) -> None:
    found = connection.run(sql.places(name, sql.CONFLICT))
    if found:
        message = f"a row of table {write.table.name} with this key exists with another id"
        raise DataFaults(
            Fault(
                rule="id-conflict",
                message=f"{message}; give that id, or leave the id out",
                table=write.table.name,
                column=", ".join(write.table.primary_key),
                file=_file(write.loads[load], file),
                row=row,
            )
            for _, load, file, row in found
        )


def _check_references(
    connection: CountedConnection, direct: Sequence[TableWrite], staged: Sequence[tuple[str, TableWrite]]
) -> None:
    """Raise an error for written rows whose parent is missing."""
    for table in {write.table.name: write.table for write in direct}.values():
        question = "SELECT parent, count(*) FROM pragma_foreign_key_check(?) GROUP BY 1"
        for parent, rows in connection.run(question, (table.name,)) if table.foreign_keys else ():
            raise WriteError(
                f"{rows} rows written to {table.name} refer to rows that {parent} does not have",
                table=table.name,
                sqlstate="SQLITE_CONSTRAINT_FOREIGNKEY",
            )
    faults = [
        Fault(
            rule="missing-parent",
            message=f"a row of table {write.table.name} refers to a row that {key.parent} does not have",
            table=write.table.name,
            column=", ".join(key.columns),
            file=_file(write.loads[load], file),
            row=row,
        )
        for name, write in staged
        for key in write.table.foreign_keys
        if set(key.columns) <= set(write.columns)
        for _, load, file, row in connection.run(sql.orphans(name, key))
    ]
    if faults:
        raise DataFaults(faults)


def _faults(table: Table, batch: Batch, refused: Refusals) -> list[Fault]:
    return [
        _fault(error, table, batch.load, batch.frame[FILE][position], batch.frame[ROW][position])
        for position, error in refused.items()
    ]


def _fault(error: sqlite3.IntegrityError, table: Table, load: Load, file: int, row: int) -> Fault:
    rule, message, columns = explain(error, table, load)
    return Fault(
        rule=rule, message=message, table=table.name, column=columns or None, file=_file(load, file), row=row
    )


def explain(error: sqlite3.IntegrityError, table: Table, load: Load) -> tuple[str, str, str]:
    """Return rule, message and columns for a refused row; SQLite's message names constraint or columns."""
    code = getattr(error, "sqlite_errorname", "")
    _, _, constraint = str(error).partition(" failed: ")
    own = f"{table.relation}."  # before each column; names may have dots and commas of their own
    columns = tuple(constraint.removeprefix(own).split(f", {own}")) if constraint else ()
    if code in ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_ROWID"):
        named = ", ".join(columns)
        if columns == table.primary_key and not set(columns) <= set(load.key_columns):
            return "id-conflict", f"another row of table {table.name} has this id ({named})", named
        meaning = "another row has it (two rows that swap a unique value cannot be written at once)"
        if constraint.startswith("index '"):  # of expressions
            return "unique", f"{constraint} of table {table.name} must be unique, and {meaning}", ""
        return "unique", f"({named}) of table {table.name} must be unique, and {meaning}", named
    if code == "SQLITE_CONSTRAINT_NOTNULL":
        return (
            "not-null",
            f"column {columns[0]} of table {table.name} is NOT NULL, and the value is missing",
            columns[0],
        )
    if code in ("SQLITE_CONSTRAINT_DATATYPE", "SQLITE_MISMATCH"):
        return "type", f"table {table.name}: {error}", ""
    rule = "trigger" if code == "SQLITE_CONSTRAINT_TRIGGER" else "constraint"
    return rule, f"table {table.name} refused the row: {error}", ""


def _file(load: Load, number: int) -> str | None:
    return load.files[number].name if number < len(load.files) else None
