"""The SQL of the ledger on PostgreSQL: small functions that build one statement each.

The tables of the schema `seedlab` are described in `ledger.sql`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from seedlab.database.ledger import MARK
from seedlab.database.postgres import stamp_statements as stamps
from seedlab.database.postgres.statements import arrays_source, casts, comparable, equal_keys, stored, trusted
from seedlab.flow import IN_DOUBT, Column, Settings, Table, TableState

_FOLDER = Path(__file__).parent
_READ = (_FOLDER / "memory.sql").read_text()
Names = Collection[str]
Cut = tuple[int, int] | None  # start and length of a table's marks within a parameter
RECENT = 1 << 18  # bytes of recent marks up to which they are not merged into the others
_LONGEST = 2**31 - 1  # the longest timeout in milliseconds, 24 days
CREATION = 0x5EED_1AB0  # key of the advisory lock while the ledger is created: IF NOT EXISTS alone may race

# One message. With READ COMMITTED each statement sees what was committed while the previous one waited.
CREATE: Sequence[SQL] = (
    SQL("BEGIN ISOLATION LEVEL READ COMMITTED"),
    SQL(f"SELECT pg_catalog.txid_current(), pg_catalog.pg_advisory_xact_lock({CREATION})"),
    *(SQL(each) for each in (_FOLDER / "ledger.sql").read_text().split(";\n")),
    SQL("COMMIT"),
)

# A run that commits once increases the generation. Stages that commit concurrently cannot all update its row:
# they lock it for share, which keeps other runs from updating it, and each add a row to `runs`.
GENERATION = SQL("SELECT generation + (SELECT count(*) FROM seedlab.runs) FROM seedlab.ledger")
RAISE_GENERATION = SQL("UPDATE seedlab.ledger SET generation = generation + 1 RETURNING generation")
SHARE_GENERATION = SQL("SELECT generation FROM seedlab.ledger FOR SHARE")
# The holder of the lock. Of other users' sessions PostgreSQL shows only that they exist. The database is
# compared, too, because a database made from a template has the same oids.
HOLDER = SQL(
    "SELECT a.pid, COALESCE(a.application_name, ''), COALESCE(a.client_addr::text, ''), "
    "COALESCE(pg_catalog.to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), '') "
    "FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid "
    "WHERE l.relation = 'seedlab.lock'::pg_catalog.regclass AND l.granted AND l.mode = 'ExclusiveLock' "
    "AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
)


def lock(milliseconds: int, settings: Settings) -> list[Composable]:
    """Lock out other runs, at once or after waiting, and read the generation.

    `statement_timeout` does not apply to the statement that waits.
    """
    statement = "LOCK TABLE seedlab.lock IN EXCLUSIVE MODE"
    if not milliseconds:
        return [SQL(f"{statement} NOWAIT"), GENERATION]
    longest = min(milliseconds, _LONGEST)
    own = SQL("DEFAULT") if settings.statement_timeout is None else Literal(settings.statement_timeout)
    return [
        SQL("SET LOCAL statement_timeout = 0"),
        SQL("SET LOCAL lock_timeout = {}").format(Literal(longest)),
        SQL(statement),
        SQL("SET LOCAL lock_timeout = {}").format(Literal(settings.lock_timeout)),
        SQL("SET LOCAL statement_timeout = {}").format(own),
        GENERATION,
    ]


def read(project: str) -> Composed:
    """Read all that the ledger knows about a project, except the packed rows, as one JSON document."""
    place = stamps.place(SQL("(t.stamp->>'relation')::pg_catalog.oid"))
    return SQL(_READ).format(project=Literal(project), place=place)


def recall(project: str, stage: str, seed: str, table: str, *, several: bool = False) -> Composed:
    """Fetch the first pack of a load's rows, its recent packs, and the number of further packs."""
    load = SQL("project = {} AND stage = {} AND seed = {} AND {} = {}").format(
        Literal(project), Literal(stage), Literal(seed), Identifier("table"), Literal(table)
    )
    more = SQL("(SELECT count(*) FROM seedlab.packs WHERE {})").format(load) if several else SQL("0")
    return SQL("SELECT content, recent, {}::int4 FROM seedlab.rows WHERE {}").format(more, load)


OTHER_LOADS = SQL(
    "SELECT project, "
    'pg_catalog.json_build_array(stage, seed, "table", meaning, files, rows, key, made)::pg_catalog.text '
    'FROM seedlab.rows WHERE project <> $1 AND "table" IN '
    "(SELECT pg_catalog.jsonb_array_elements_text($2::pg_catalog.jsonb))"
)
RECALL_PACK = SQL(
    'SELECT content FROM seedlab.packs WHERE project = $1 AND stage = $2 AND seed = $3 AND "table" = $4 '
    "AND number = $5::int4"
)


def runs(project: str, run: str | None, limit: int | None) -> Composed:
    """List the rows of a project's runs, or of one or the latest runs, as documents, latest first."""
    one = SQL("AND {} = {} ").format(_RUN, Literal(run)) if run is not None else _NOTHING
    return SQL(
        "SELECT pg_catalog.to_jsonb(r) FROM seedlab.runs r WHERE project = {project} AND {run} IN "
        "(SELECT {run} FROM seedlab.runs WHERE project = {project} {one}"
        "GROUP BY 1 ORDER BY max(finished) DESC LIMIT {limit}) ORDER BY finished DESC"
    ).format(project=Literal(project), run=_RUN, one=one, limit=Literal(limit))


SIZE = SQL(
    "SELECT COALESCE(sum(pg_catalog.pg_total_relation_size(c.oid)), 0)::int8 FROM pg_catalog.pg_class c "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'seedlab' "
    "AND c.relname IN ('ledger', 'lock', 'runs', 'stages', 'rows', 'packs', 'tables', 'catalogs')"
)


RECALL_MARKS = SQL(
    'SELECT "table", marks, recent FROM seedlab.tables WHERE "table" IN '
    "(SELECT pg_catalog.jsonb_array_elements_text($1::pg_catalog.jsonb))"
)


# ---- content --------------------------------------------------------------------------------------------


def contents(states: Sequence[tuple[TableState, Table]]) -> Composed:
    """Hash the seeded columns of tables; one row (index of the table, count, xor, sum) and pass per table."""
    return SQL(" UNION ALL ").join(
        SQL(
            "SELECT {}, pg_catalog.count(*), COALESCE(pg_catalog.bit_xor(h), 0)::text, "
            "COALESCE(pg_catalog.sum(h), 0)::text FROM ({}) q"
        ).format(Literal(n), _hashed(state, table, "h"))
        for n, (state, table) in enumerate(states)
    )


def marks(state: TableState, table: Table, *, by_stamp: bool = False) -> Composed:
    """Compute the marks of all rows of a table, or of those written by transactions of the state's stamp."""
    condition = SQL(" WHERE {}").format(stamps.in_stamp(state, "t.xmin")) if by_stamp else _NOTHING
    return SQL("SELECT {} FROM ({}) q").format(_PAIRS, _hashed(state, table, "kh", condition))


def marks_to_compare(state: TableState, table: Table) -> Composed:
    """Compute the marks of all rows of a table, provided that the ledger has marks to compare them with."""
    return SQL("{} WHERE EXISTS (SELECT FROM seedlab.tables WHERE {} = {} AND marks IS NOT NULL)").format(
        marks(state, table), Identifier("table"), Literal(state.table)
    )


def marks_of(state: TableState, table: Table, columns: Sequence[str], nulls: Names = ()) -> Composed:
    """Compute the marks of the rows with these values in `columns`, text arrays; NULL is one in `nulls`."""
    return SQL("SELECT {} FROM ({}) q").format(_PAIRS, _named(state, table, columns, nulls))


def marks_and_writers(state: TableState, table: Table, columns: Sequence[str], nulls: Names = ()) -> Composed:
    """Compute the marks of these rows, and count who wrote them (`MarksAndWriters`)."""
    return SQL("SELECT {}, {} FROM ({}) q").format(
        _PAIRS, stamps.count_writers(state, table), _named(state, table, columns, nulls, ", t.xmin AS x")
    )


def _named(state: TableState, table: Table, columns: Sequence[str], nulls: Names, more: str = "") -> Composed:
    source = SQL("(SELECT {} FROM {})").format(casts(table, columns), arrays_source(columns))
    join = SQL(" JOIN {} s ON {}").format(source, equal_keys(table, columns, nulls))
    return _hashed(state, table, "kh", join, more)


_NOTHING = SQL("")
_RUN = SQL("pg_catalog.split_part(run_id, '/', 1)")
_PAIRS = SQL(
    "COALESCE(pg_catalog.string_agg(pg_catalog.int8send(k) || pg_catalog.int8send(h), ''), "
    "''::pg_catalog.bytea)"
)


def _hashed(
    state: TableState, table: Table, what: str, joined: Composable = _NOTHING, more: str = ""
) -> Composed:
    """Select the hashes of the rows' keys (k) and seeded columns (h), as `what` names them.

    OFFSET keeps the planner from flattening the subquery, which would compute each hash twice. It is a
    quoted '0' because a plain 0 prevents a parallel plan.
    """
    columns = {"k": state.key, "h": state.columns}
    hashes = SQL(", ").join(_hash_of(table, columns[letter], letter) for letter in what)
    return SQL("SELECT {}{} FROM {} t{} OFFSET '0'").format(hashes, trusted(more), stored(table), joined)


def _hash_of(table: Table, columns: Sequence[str], alias: str) -> SQL:
    """Hash columns to 64 bits: each column with its own seed, combined by xor and hashed once more.

    The last hash keeps values that are swapped between rows from cancelling out. The hash function of a type
    costs a third of `hash_record_extended`, which builds a row and looks up its types each time; the latter
    is used for types without such a function, or whose function misses some changes.
    """
    parts, others = [], []
    for seed, name in enumerate(columns, 1):
        if (hashed := _type_hash(table.columns[name], Identifier("t", name).as_string(), seed)) is not None:
            parts.append(f"COALESCE({hashed}, {seed})")
        else:
            others.append(_sent(table, name))
    if others or not parts:
        parts.append(f"pg_catalog.hash_record_extended(ROW({', '.join(others)}), 0)")
    return trusted(f"pg_catalog.hashtextextended('', {' # '.join(parts)}) AS \"{alias}\"")


_HASHES = {
    "bool": "hashint4",
    "int2": "hashint2",
    "int4": "hashint4",
    "int8": "hashint8",
    "uuid": "uuid_hash_",
    "float4": "hashfloat4",
    "float8": "hashfloat8",
    **dict.fromkeys(("text", "varchar", "numeric", "json", "jsonb"), "hashtext"),
}
_CASTS = {"bool": "int4", "numeric": "text", "json": "text", "jsonb": "text"}  # lossless, and can be hashed


def _type_hash(column: Column, value: str, seed: int) -> str | None:
    """Hash a value by the function of its type; None if it has none that detects every change."""
    kind = column.kind
    if kind not in _HASHES or (column.send and kind in ("text", "varchar")):  # nondeterministic collation
        return None
    as_text = f"pg_catalog.hashtextextended(CAST({value} AS pg_catalog.text), {seed})"
    cast = f"CAST({value} AS pg_catalog.{_CASTS[kind]})" if kind in _CASTS else value
    hashed = f"pg_catalog.{_HASHES[kind]}extended({cast}, {seed})"
    if kind == "int8":  # hashint8 folds the two halves, so some values collide
        return f"({hashed} # {value})"
    # The hash function of floats does not distinguish 0.0 and -0.0.
    return f"CASE WHEN {value} = 0 THEN {as_text} ELSE {hashed} END" if kind[:5] == "float" else hashed


def _sent(table: Table, name: str) -> str:
    """Spell a value whose every change a hash detects; a timestamp's binary form is an 8-byte integer."""
    kind, value = table.columns[name].kind, comparable(table, name, "t").as_string()
    return f"pg_catalog.{kind}_send({value})" if kind in ("timestamp", "timestamptz") else value


# ---- writing --------------------------------------------------------------------------------------------

# Parameters are a JSON list, of which `d(s)` has one row per item, and one byte string with all packed rows,
# of which each item says its part.
_ITEMS = SQL("pg_catalog.jsonb_array_elements($1::pg_catalog.jsonb) d(s)")
_CUT = SQL("pg_catalog.substr($2::pg_catalog.bytea, (s->>'start')::int4, (s->>'length')::int4)")
ADD_RUN = SQL(
    "INSERT INTO seedlab.runs (run_id, project, environment, level, started, outcomes) "
    "SELECT r->>'run_id', r->>'project', r->>'environment', r->>'level', (r->>'started')::timestamptz, "
    "r->'outcomes' FROM (SELECT $1::pg_catalog.jsonb) d(r)"
)
PUT_STAGES = SQL(
    "INSERT INTO seedlab.stages (project, stage, parts, tables, run_id) "
    "SELECT s->>'project', s->>'stage', s->'parts', s->'tables', s->>'run_id' FROM {items} "
    "ON CONFLICT (project, stage) DO UPDATE SET parts = excluded.parts, tables = excluded.tables, "
    "run_id = excluded.run_id, finished = excluded.finished"
).format(items=_ITEMS)
PUT_ROWS = SQL(
    'INSERT INTO seedlab.rows (project, stage, seed, "table", meaning, files, key, made, rows, content) '
    "SELECT s->>'project', s->>'stage', s->>'seed', s->>'table', s->>'meaning', s->'files', s->'key', "
    "s->>'made', (s->>'rows')::int8, {cut} FROM {items} "
    'ON CONFLICT (project, stage, seed, "table") DO UPDATE SET meaning = excluded.meaning, '
    "files = excluded.files, key = excluded.key, made = excluded.made, rows = excluded.rows, "
    "content = excluded.content, recent = ''"
).format(items=_ITEMS, cut=_CUT)
ADD_ROWS = SQL(
    "UPDATE seedlab.rows r SET rows = (s->>'rows')::int8, recent = recent || {cut} FROM {items} "
    "WHERE r.project = s->>'project' "
    "AND r.stage = s->>'stage' AND r.seed = s->>'seed' AND r.\"table\" = s->>'table'"
).format(items=_ITEMS, cut=_CUT)
# The table for further packs of a load, whose rows do not fit into one value. It is created by the first run
# that needs it, in its transaction, so that creating a ledger stays fast. Stages that commit concurrently
# wait here for each other.
CREATE_PACKS: Sequence[SQL] = (
    SQL(f"SELECT pg_catalog.pg_advisory_xact_lock({CREATION})"),
    SQL(
        'CREATE TABLE IF NOT EXISTS seedlab.packs (project text, stage text, seed text, "table" text, '
        'number int4, content bytea NOT NULL, PRIMARY KEY (project, stage, seed, "table", number))'
    ),
    SQL("ALTER TABLE seedlab.packs ALTER COLUMN content SET STORAGE EXTERNAL"),
)
PUT_PACK = SQL(
    'INSERT INTO seedlab.packs (project, stage, seed, "table", number, content) '
    "VALUES ($1, $2, $3, $4, $5::int4, $6)"
)
FOLD_MARKS = SQL("UPDATE seedlab.tables SET marks = $2::pg_catalog.bytea, recent = '' WHERE \"table\" = $1")
_FORGET = SQL("DELETE FROM seedlab.{table} r USING {items} WHERE r.project = s->>0 AND r.stage = s->>1{more}")
_OF_SEED = SQL(' AND r.seed = s->>2 AND r."table" = s->>3')
FORGET_STAGES = _FORGET.format(table=SQL("stages"), items=_ITEMS, more=_NOTHING)
FORGET_ROWS = _FORGET.format(table=SQL("rows"), items=_ITEMS, more=_OF_SEED)
FORGET_PACKS = _FORGET.format(table=SQL("packs"), items=_ITEMS, more=_OF_SEED)


def store_marks(states: Sequence[tuple[TableState, Table]]) -> Composed:
    """Store the marks of all rows of stamps, if no such row was changed since."""
    found = SQL(" UNION ALL ").join(
        SQL("SELECT {}, {}, ({})").format(
            Literal(state.table), Literal(state.stamp.rows), marks(state, table, by_stamp=True)
        )
        for state, table in states
        if state.stamp
    )
    return SQL(
        "UPDATE seedlab.tables r SET marks = m.marks, recent = '', stamp = NULL "
        'FROM ({}) m(name, rows, marks) WHERE r."table" = m.name '
        "AND pg_catalog.octet_length(m.marks) = m.rows * {}"
    ).format(found, Literal(MARK))


def shift_tables(*, stamped: bool) -> Composed:
    """Update states and append recent marks; return the tables whose recent marks should be merged."""
    stamp = SQL(
        ", stamp = CASE WHEN {} THEN r.stamp || (s->'stamp') || pg_catalog.jsonb_build_object("
        "'run', pg_catalog.txid_current(), 'transactions', "
        "(s->'stamp'->'transactions') || pg_catalog.to_jsonb(pg_catalog.txid_current())) END"
    ).format(stamps.POSSIBLE)
    return SQL(
        "WITH shifted AS (UPDATE seedlab.tables r SET rows = (s->>'rows')::int8, xor = (s->>'xor')::int8, "
        "sum = (s->>'sum')::numeric, recent = recent || {cut}{stamp} "
        "FROM {items} WHERE r.\"table\" = s->>'table' "
        'RETURNING r."table", r.marks, r.recent) SELECT "table" FROM shifted '
        "WHERE pg_catalog.octet_length(recent) > GREATEST({recent}, pg_catalog.octet_length(marks) / 8)"
    ).format(cut=_CUT, stamp=stamp if stamped else _NOTHING, items=_ITEMS, recent=Literal(RECENT))


def put_tables(
    states: Sequence[tuple[TableState, Table, Cut]], *, stamped: bool, hashed: Collection[str] = ()
) -> Composed:
    """Store the states of tables: the server hashes them, except `hashed` ones; with stamps if `stamped`.

    The marks are the bytes of the parameter that the Cut says (length -1: unknown, NULL). Without a Cut, this
    run wrote all rows: the server computes the marks, or leaves them out where a stamp takes their place.
    """
    parts = [
        _table_row(state, table, cut, stamped=stamped, hashed=state.table in hashed)
        for state, table, cut in states
    ]
    # Stamps are made behind the union: in each of its parts they took the planner as long as all the rest.
    return SQL(
        "INSERT INTO seedlab.tables ({named}{also}) SELECT {named}{made} FROM ({tables}) "
        't({named}, relation, transactions) ON CONFLICT ("table") DO UPDATE SET columns = excluded.columns, '
        "key = excluded.key, server = excluded.server, rows = excluded.rows, xor = excluded.xor, "
        "sum = excluded.sum, marks = excluded.marks, recent = ''{again}"
    ).format(
        named=SQL('"table", columns, key, server, rows, xor, sum, marks'),
        also=SQL(", stamp" if stamped else ""),
        made=SQL(", {}").format(stamps.STAMP) if stamped else _NOTHING,
        tables=SQL(" UNION ALL ").join(parts),
        again=SQL(", stamp = excluded.stamp" if stamped else ""),
    )


def _table_row(state: TableState, table: Table, cut: Cut, *, stamped: bool, hashed: bool) -> Composed:
    """Select what `put_tables` stores of one table: its state, marks, and the proof for its stamp."""
    unmarked = hashed or (stamped and cut is None and stamps.unmarked(state, table))
    if hashed:
        totals = SQL(f"{state.rows}::int8, {state.xor}::int8, {state.sum}::numeric")
        source: Composable = SQL("SELECT")
    else:
        rows = "pg_catalog.count(*)" if state.rows != IN_DOUBT else str(IN_DOUBT)
        totals = SQL(f"{rows}, COALESCE(pg_catalog.bit_xor(h), 0), COALESCE(pg_catalog.sum(h), 0)")
        source = _hashed(state, table, "h" if unmarked or cut is not None else "kh")
    return SQL("SELECT {}, {}::jsonb, {}::jsonb, {}, {}, {}, {} FROM ({}) q").format(
        Literal(state.table),
        Literal(json.dumps(state.columns)),
        Literal(json.dumps(state.key)),
        Literal(state.server),
        totals,
        _kept_marks(state, table, cut, unmarked=unmarked),
        stamps.proof(state, table, filled=cut is None) if stamped else stamps.NO_PROOF,
        source,
    )


def _kept_marks(state: TableState, table: Table, cut: Cut, *, unmarked: bool) -> Composable:
    if unmarked:  # the marks can be computed later, of the rows that the stamp names
        return SQL("CASE WHEN NOT {} THEN ({}) END").format(stamps.POSSIBLE, marks(state, table))
    if cut is None:
        return _PAIRS
    start, length = cut
    if length < 0:
        return SQL("NULL::pg_catalog.bytea")
    return SQL("pg_catalog.substr($1::pg_catalog.bytea, {}, {})").format(Literal(start), Literal(length))
