"""The ledger's SQL on PostgreSQL: small functions that build one statement each and return it.

Tables of the schema `seedlab`, made by us: `ledger` (its version, and a generation that every run raises),
`lock` (locked while a run writes, never written), `runs`, `stages`, `rows` (what each seed brought to each
table, packed) and `tables` (the content of seeded tables when we last wrote).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from seedlab.database import stamp_statements as stamps
from seedlab.database.catalog import DIGEST, QUERY
from seedlab.database.ledger import MARK
from seedlab.database.statements import arrays_source, casts, equal_keys, seen, stored, trusted
from seedlab.flow import IN_DOUBT, Column, Settings, Table, TableState

_FOLDER = Path(__file__).parent
_READ = (_FOLDER / "memory.sql").read_text()
Cut = tuple[int, int] | None  # start and length of some marks in a parameter
RECENT = 1 << 18  # bytes of marks that may come behind the others before they are written anew
_LONGEST = 2**31 - 1  # milliseconds that a timeout can have, 24 days
CREATION = 0x5EED_1AB0  # advisory lock while the ledger itself is made: CREATE IF NOT EXISTS alone races

# One message; each statement sees what its predecessor waited for, whatever isolation the role prefers.
CREATE: Sequence[SQL] = (
    SQL("BEGIN ISOLATION LEVEL READ COMMITTED"),
    SQL(f"SELECT pg_catalog.pg_advisory_xact_lock({CREATION})"),
    *(SQL(each) for each in (_FOLDER / "ledger.sql").read_text().split(";\n")),
    SQL("COMMIT"),
)

# What was written since: the one row says it only of runs that commit once, for stages that are committed at
# the same time cannot all change it. They share it, so that no other run changes it meanwhile.
GENERATION = SQL("SELECT generation + (SELECT count(*) FROM seedlab.runs) FROM seedlab.ledger")
RAISE_GENERATION = SQL("UPDATE seedlab.ledger SET generation = generation + 1 RETURNING generation")
SHARE_GENERATION = SQL("SELECT generation FROM seedlab.ledger FOR SHARE")
# Who holds the lock. A user sees whose sessions are whose, but of another user's only that they are there.
# Oids are looked for in this database alone: a database made from a template has those of its template.
HOLDER = SQL(
    "SELECT a.pid, COALESCE(a.application_name, ''), COALESCE(a.client_addr::text, ''), "
    "COALESCE(pg_catalog.to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), '') "
    "FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid "
    "WHERE l.relation = 'seedlab.lock'::pg_catalog.regclass AND l.granted AND l.mode = 'ExclusiveLock' "
    "AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
)


def lock(milliseconds: int, settings: Settings) -> list[Composable]:
    """Lock out other seeders, at once or waiting so long; answers the generation.

    The statement that waits is not one that `statement_timeout` is meant for.
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


# The catalog that the ledger keeps, if nothing that it depends on was altered since, and where the WAL ends.
# Both run with search_path = pg_catalog.
KEPT_CATALOG = SQL(
    "SELECT c.document, CASE WHEN NOT pg_is_in_recovery() "
    "THEN (pg_current_wal_insert_lsn() - '0/0')::text END "
    "FROM ({digest}) d JOIN seedlab.catalogs c ON c.role = current_user AND c.digest = d.digest"
).format(digest=SQL(DIGEST))
KEEP_CATALOG = SQL(
    "INSERT INTO seedlab.catalogs (role, digest, document) "
    "SELECT current_user, d.digest, ({query}) FROM ({digest}) d ON CONFLICT (role) "
    "DO UPDATE SET digest = excluded.digest, document = excluded.document"
).format(query=SQL(QUERY), digest=SQL(DIGEST))


def read(project: str) -> Composed:
    """Read all that the ledger knows of a project, but for the packed rows, as one JSON document."""
    place = stamps.place(SQL("(t.stamp->>'relation')::pg_catalog.oid"))
    return SQL(_READ).format(project=Literal(project), place=place)


def recall(project: str, stage: str, seed: str, table: str, *, several: bool = False) -> Composed:
    """Fetch the packed rows that a seed brought to a table, the first pack, and how many more there are."""
    mine = SQL("project = {} AND stage = {} AND seed = {} AND {} = {}").format(
        Literal(project), Literal(stage), Literal(seed), Identifier("table"), Literal(table)
    )
    more = SQL("(SELECT count(*) FROM seedlab.packs WHERE {})").format(mine) if several else SQL("0")
    return SQL("SELECT content, recent, {}::int4 FROM seedlab.rows WHERE {}").format(more, mine)


RECALL_PACK = SQL(
    'SELECT content FROM seedlab.packs WHERE project = $1 AND stage = $2 AND seed = $3 AND "table" = $4 '
    "AND number = $5::int4"
)


def runs(project: str, run: str | None, limit: int | None) -> Composed:
    """List what the runs of a project, or one, or the last of them, committed: documents, the last first."""
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
    """Hash the seeded columns of tables: number of the table, count, xor, sum. One pass over each."""
    return SQL(" UNION ALL ").join(
        SQL(
            "SELECT {}, pg_catalog.count(*), COALESCE(pg_catalog.bit_xor(h), 0)::text, "
            "COALESCE(pg_catalog.sum(h), 0)::text FROM ({}) q"
        ).format(Literal(n), _hashed(state, table, "h"))
        for n, (state, table) in enumerate(states)
    )


def marks(state: TableState, table: Table, *, by_stamp: bool = False) -> Composed:
    """Hash every row of a table, or those that the state's stamp tells of: key hash and row hash of each, 16
    bytes, one behind the other.
    """
    those = SQL(" WHERE {}").format(stamps.by(state, "t.xmin")) if by_stamp else _NOTHING
    return SQL("SELECT {} FROM ({}) q").format(_PAIRS, _hashed(state, table, "kh", those))


def marks_to_compare(state: TableState, table: Table) -> Composed:
    """Compute the marks of a table's seeded rows, only where marks are remembered to compare them with."""
    return SQL("{} WHERE EXISTS (SELECT FROM seedlab.tables WHERE {} = {} AND marks IS NOT NULL)").format(
        marks(state, table), Identifier("table"), Literal(state.table)
    )


def marks_of(state: TableState, table: Table, columns: Sequence[str]) -> Composed:
    """Compute the marks of the rows that have given values in `columns`.

    One text-array parameter a column.
    """
    return SQL("SELECT {} FROM ({}) q").format(_PAIRS, _named(state, table, columns))


def attested(state: TableState, table: Table, columns: Sequence[str]) -> Composed:
    """Compute these rows' marks, and tell how the stamp stands to them."""
    return SQL("SELECT {}, {} FROM ({}) q").format(
        _PAIRS, stamps.attested(state, table), _named(state, table, columns, ", t.xmin AS x")
    )


def _named(state: TableState, table: Table, columns: Sequence[str], more: str = "") -> Composed:
    source = SQL("(SELECT {} FROM {})").format(casts(table, columns), arrays_source(columns))
    join = SQL(" JOIN {} s ON {}").format(source, equal_keys(table, columns))
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
    """Rows as hashes of key (k) and content (h); OFFSET keeps them from being computed twice.

    Quoted, for of a bare 0 the planner does not see yet that it is none, and hashes with one process only.
    """
    columns = {"k": state.key, "h": state.columns}
    hashes = SQL(", ").join(_hash_of(table, columns[letter], letter) for letter in what)
    return SQL("SELECT {}{} FROM {} t{} OFFSET '0'").format(hashes, trusted(more), stored(table), joined)


def _hash_of(table: Table, columns: Sequence[str], alias: str) -> SQL:
    """64 bits of a row: each column's hash by a seed of its own, put together and hashed once more, so that
    values which change places between rows do not cancel each other out.

    To call a type's own hash costs a third of `hash_record_extended`, which makes a row and looks up its
    types each time; that is left for types without one, or without one that sees every change.
    """
    parts, others = [], []
    for seed, name in enumerate(columns, 1):
        if (hashed := _called(table.columns[name], Identifier("t", name).as_string(), seed)) is not None:
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
_CASTS = {"bool": "int4", "numeric": "text", "json": "text", "jsonb": "text"}  # which show all that there is


def _called(column: Column, value: str, seed: int) -> str | None:
    """The hash of a value by a function of its type, or None."""
    kind = column.kind
    if kind not in _HASHES or (column.send and kind in ("text", "varchar")):  # equal in other spellings
        return None
    as_text = f"pg_catalog.hashtextextended(CAST({value} AS pg_catalog.text), {seed})"
    cast = f"CAST({value} AS pg_catalog.{_CASTS[kind]})" if kind in _CASTS else value
    hashed = f"pg_catalog.{_HASHES[kind]}extended({cast}, {seed})"
    if kind == "int8":  # its halves are folded before they are hashed
        return f"({hashed} # {value})"
    # To the hash of floats 0.0 and -0.0 are equal.
    return f"CASE WHEN {value} = 0 THEN {as_text} ELSE {hashed} END" if kind[:5] == "float" else hashed


def _sent(table: Table, name: str) -> str:
    """A value as its bytes tell it apart; moments are whole numbers of eight bytes, and hashed like those."""
    kind, value = table.columns[name].kind, seen(table, name, "t").as_string()
    return f"pg_catalog.{kind}_send({value})" if kind in ("timestamp", "timestamptz") else value


# ---- writing --------------------------------------------------------------------------------------------

# Parameters: JSON documents, and one byte string that holds all packed rows, cut by offset and length.
ADD_RUN = SQL(
    "INSERT INTO seedlab.runs (run_id, project, environment, level, started, outcomes) "
    "SELECT r->>'run_id', r->>'project', r->>'environment', r->>'level', (r->>'started')::timestamptz, "
    "r->'outcomes' FROM (SELECT $1::pg_catalog.jsonb) d(r)"
)
PUT_STAGES = SQL(
    "INSERT INTO seedlab.stages (project, stage, parts, tables, run_id) "
    "SELECT s->>'project', s->>'stage', s->'parts', s->'tables', s->>'run_id' "
    "FROM pg_catalog.jsonb_array_elements($1::pg_catalog.jsonb) d(s) "
    "ON CONFLICT (project, stage) DO UPDATE SET parts = excluded.parts, tables = excluded.tables, "
    "run_id = excluded.run_id, finished = excluded.finished"
)
PUT_ROWS = SQL(
    'INSERT INTO seedlab.rows (project, stage, seed, "table", meaning, files, key, made, rows, content) '
    "SELECT s->>'project', s->>'stage', s->>'seed', s->>'table', s->>'meaning', s->'files', s->'key', "
    "s->>'made', (s->>'rows')::int8, "
    "pg_catalog.substr($2::pg_catalog.bytea, (s->>'start')::int4, (s->>'length')::int4) "
    "FROM pg_catalog.jsonb_array_elements($1::pg_catalog.jsonb) d(s) "
    'ON CONFLICT (project, stage, seed, "table") DO UPDATE SET meaning = excluded.meaning, '
    "files = excluded.files, key = excluded.key, made = excluded.made, rows = excluded.rows, "
    "content = excluded.content, recent = ''"
)
ADD_ROWS = SQL(
    "UPDATE seedlab.rows r SET rows = (s->>'rows')::int8, recent = recent || "
    "pg_catalog.substr($2::pg_catalog.bytea, (s->>'start')::int4, (s->>'length')::int4) "
    "FROM pg_catalog.jsonb_array_elements($1::pg_catalog.jsonb) d(s) WHERE r.project = s->>'project' "
    "AND r.stage = s->>'stage' AND r.seed = s->>'seed' AND r.\"table\" = s->>'table'"
)
# Further packs of the rows of a load, which one value could not hold. Made by the first run that has so many
# rows, in its transaction: a small ledger is made sooner without. Stages that are committed at the same time
# wait here for each other, as those who make the ledger do.
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
FORGET_PACKS = SQL(
    "DELETE FROM seedlab.packs r USING pg_catalog.jsonb_array_elements($1::pg_catalog.jsonb) d(s) "
    'WHERE r.project = s->>0 AND r.stage = s->>1 AND r.seed = s->>2 AND r."table" = s->>3'
)
FOLD_MARKS = SQL("UPDATE seedlab.tables SET marks = $2::pg_catalog.bytea, recent = '' WHERE \"table\" = $1")
FORGET_ROWS = SQL(
    "DELETE FROM seedlab.rows r USING pg_catalog.jsonb_array_elements($1::pg_catalog.jsonb) d(s) "
    'WHERE r.project = s->>0 AND r.stage = s->>1 AND r.seed = s->>2 AND r."table" = s->>3'
)
FORGET_STAGES = SQL(
    "DELETE FROM seedlab.stages r USING pg_catalog.jsonb_array_elements($1::pg_catalog.jsonb) d(s) "
    "WHERE r.project = s->>0 AND r.stage = s->>1"
)


def spell_out(states: Sequence[tuple[TableState, Table]]) -> Composed:
    """Keep the marks of all rows that stamps tell of, if these are as many as they were."""
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
    """Change what is known of tables; answers those of which so many marks have come behind the others that
    it is time to write them anew.
    """
    stamp = SQL(
        ", stamp = CASE WHEN {} THEN r.stamp || (s->'stamp') || pg_catalog.jsonb_build_object("
        "'run', pg_catalog.txid_current(), 'transactions', "
        "(s->'stamp'->'transactions') || pg_catalog.to_jsonb(pg_catalog.txid_current())) END"
    ).format(stamps.POSSIBLE)
    return SQL(
        "WITH shifted AS (UPDATE seedlab.tables r SET rows = (s->>'rows')::int8, xor = (s->>'xor')::int8, "
        "sum = (s->>'sum')::numeric, recent = recent || "
        "pg_catalog.substr($2::pg_catalog.bytea, (s->>'start')::int4, (s->>'length')::int4){} "
        "FROM pg_catalog.jsonb_array_elements($1::pg_catalog.jsonb) d(s) WHERE r.\"table\" = s->>'table' "
        'RETURNING r."table", r.marks, r.recent) SELECT "table" FROM shifted '
        "WHERE pg_catalog.octet_length(recent) > GREATEST({}, pg_catalog.octet_length(marks) / 8)"
    ).format(stamp if stamped else _NOTHING, Literal(RECENT))


def put_tables(
    states: Sequence[tuple[TableState, Table, Cut]], *, stamped: bool, hashed: Collection[str] = ()
) -> Composed:
    """Keep the content of tables, hashed here and now but for `hashed` ones, and, `stamped`, what proves it.

    With a start and a length the marks are those bytes of the parameter (length -1: unknown, NULL), without
    they are those of all rows, which this run has written; where a stamp is made, they are left out.
    """
    parts = []
    for state, table, cut in states:
        kept: Composable = _PAIRS
        if cut is not None:
            start, length = cut
            kept = (
                SQL("pg_catalog.substr($1::pg_catalog.bytea, {}, {})").format(Literal(start), Literal(length))
                if length >= 0
                else SQL("NULL::pg_catalog.bytea")
            )
        bare = state.table in hashed or (stamped and cut is None and stamps.unmarked(state, table))
        if bare:  # the stamp says which rows these are, so marks can be made of them later
            kept = SQL("CASE WHEN NOT {} THEN ({}) END").format(stamps.POSSIBLE, marks(state, table))
        rows = SQL("pg_catalog.count(*)") if state.rows != IN_DOUBT else SQL(str(IN_DOUBT))
        totals: Composable = SQL("COALESCE(pg_catalog.bit_xor(h), 0), COALESCE(pg_catalog.sum(h), 0)")
        source: Composable = _hashed(state, table, "h" if bare or cut is not None else "kh")
        if state.table in hashed:
            rows, totals = SQL(f"{state.rows}::int8"), SQL(f"{state.xor}::int8, {state.sum}::numeric")
            source = SQL("SELECT")
        worth = stamped and stamps.worth(state, table)
        stamp = stamps.stamp(table, rows, filled=cut is None) if worth else SQL("NULL::pg_catalog.jsonb")
        parts.append(
            SQL("SELECT {}, {}::jsonb, {}::jsonb, {}, {}, {}, {}{} FROM ({}) q").format(
                Literal(state.table),
                Literal(json.dumps(state.columns)),
                Literal(json.dumps(state.key)),
                Literal(state.server),
                rows,
                totals,
                kept,
                SQL(", {}").format(stamp) if stamped else _NOTHING,
                source,
            )
        )
    return SQL(
        'INSERT INTO seedlab.tables ("table", columns, key, server, rows, xor, sum, marks{}) {} '
        'ON CONFLICT ("table") DO UPDATE SET columns = excluded.columns, key = excluded.key, '
        "server = excluded.server, rows = excluded.rows, xor = excluded.xor, sum = excluded.sum, "
        "marks = excluded.marks, recent = ''{}"
    ).format(
        SQL(", stamp" if stamped else ""),
        SQL(" UNION ALL ").join(parts),
        SQL(", stamp = excluded.stamp" if stamped else ""),
    )
