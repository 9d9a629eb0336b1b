"""SQL by which PostgreSQL validates values before anything is written.

Each query returns the positions (from 1) of invalid values, each with a code: the SQLSTATE of the error, or
the name of a rule for a value that the server would accept but silently change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg.sql import SQL, Composable, Composed, Literal

from seedlab.database.kinds import TypeFacts, bare_name, element_type, read_postgres_type
from seedlab.database.postgres.name_statements import named
from seedlab.database.postgres.statements import TAKES_ERRORS, trusted
from seedlab.database.postgres.wire import Question
from seedlab.flow import Column

ZONE = "zone"  # the code of a value that lacks a UTC offset, or has one that would be dropped
_FLOATS = {"float4": 9, "float8": 17}  # decimal digits that identify every value
_MOMENTS = frozenset({"date", "time", "timetz", "timestamp", "timestamptz"})
_TEXTS = frozenset({"text", "varchar", "char", "citext"})  # types that take every text
_PLAIN_NUMBER = r"^\s*[-+]?([0-9]+[.]?[0-9]*|[.][0-9]+)(e[-+]?[0-9]+)?\s*$"
# A bound of a range that ends in a date or a time, without an offset.
_ZONELESS_BOUND = (
    r'[[(,]\s*"?\s*[0-9]{4,6}-[0-9]{1,2}-[0-9]{1,2}([ T]+[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.][0-9]*)?)?)?\s*'
    r'(bc)?\s*"?\s*[],)]'
)
_OFFSET = r"([0-9]:[0-9]{2}(:[0-9]{2}([.][0-9]*)?)?\s*([ap]m)?\s*|t[0-9]{2,6}([.][0-9]*)?)[-+][0-9]"
# Letters in a date or time that do not name a time zone: months, days, eras, am, pm, the T before an hour.
_SPECIAL = "(inf|epoch|now|today|tomorrow|yesterday)"  # these need no time zone
_WORDS = (
    r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun)[a-z]*"
    r"|am\M|pm\M|bc\M|ad\M|t(?=[0-9])|\mj(?=[0-9])|infinity|inf\M|epoch|allballs|now|today|tomorrow|yesterday"
)


# ---- values that the server would change silently ------------------------------------------------------


def lossy(column: Column, value: Composable, version: int = TAKES_ERRORS) -> Composable:
    """Build an expression for the rule of a value that a cast to the column's type would change, or NULL."""
    facts = TypeFacts(kind=column.kind, length=column.length, precision=column.precision, scale=column.scale)
    return _lossy(facts, column.base or column.type, value, version)


def _lossy(facts: TypeFacts, spelling: str, value: Composable, version: int) -> Composable:
    if facts.kind == "array":
        inner = element_type(spelling)
        rule = _lossy(read_postgres_type(inner), inner, SQL("e"), version)
        if rule == _NOTHING or inner == "box":  # the only type whose arrays have another separator
            return _NOTHING
        return SQL("(SELECT min({}) FROM unnest(CAST({} AS pg_catalog.text[])) e)").format(rule, value)
    rules = list(_rules(facts, spelling, value, version))
    if not rules:
        return _NOTHING
    whens = SQL(" ").join(SQL("WHEN {} THEN {}").format(test, Literal(rule)) for test, rule in rules)
    return SQL("CASE {} END").format(whens)


_NOTHING = SQL("NULL")


def _rules(facts: TypeFacts, spelling: str, v: Composable, version: int) -> Iterator[tuple[Composable, str]]:
    """Yield conditions that are true for a valid text that a cast would change, each with its rule."""
    kind, cast = facts.kind, SQL("CAST({} AS {})").format(v, trusted(spelling))
    if kind == "numeric" and facts.precision is not None:
        yield _differs("numeric", v, cast), "rounding"
    if kind in _FLOATS:
        yield _float_differs(kind, v), "rounding"
    if kind in ("varchar", "char") and facts.length is not None:
        blanks = SQL("pg_catalog.rtrim({})" if kind == "char" else "{}").format(v)
        yield SQL("pg_catalog.char_length({}) > {}").format(blanks, Literal(facts.length)), "too-long"
    if kind in _MOMENTS:
        yield from _moment_rules(facts, v)
    if kind == "interval":
        yield SQL("{} ~ '[.][0-9]{{6}}[0-9]*[1-9]'").format(v), "rounding"
        yield _differs("interval", v, cast, text=True), "rounding"
    if kind == "jsonb":
        yield _same_name_twice(v, version), "rounding"
    if kind == "other":
        yield from _other_rules(bare_name(spelling), cast, v, version)


def _differs(wide: str, v: Composable, stored: Composable, *, text: bool = False) -> Composed:
    """Make the condition that the value in the limited type differs from the one in the unlimited type."""
    unlimited = SQL("CAST({} AS pg_catalog.{})").format(v, trusted(wide))
    if text:
        return SQL("{}::text <> {}::text").format(unlimited, stored)
    return SQL("{} <> {}").format(unlimited, stored)


def _float_differs(kind: str, v: Composable) -> Composed:
    """Make the condition that a number is changed by conversion to a float and back.

    A number with as many digits as identify a float is accepted, as programs write floats like that.
    """
    digits = SQL(
        "pg_catalog.length(pg_catalog.ltrim(pg_catalog.regexp_replace(pg_catalog.regexp_replace("
        "{}, '[eE].*', ''), '[^0-9]', '', 'g'), '0')) <> {}"
    ).format(v, Literal(_FLOATS[kind]))
    differs = SQL("{v}::pg_catalog.numeric <> {v}::pg_catalog.{kind}::text::pg_catalog.numeric").format(
        v=v, kind=trusted(kind)
    )
    return _where_plain_number(v, SQL("{} AND {}").format(digits, differs))


def _where_plain_number(v: Composable, test: Composable) -> Composed:
    return SQL("CASE WHEN {} ~* {} THEN {} ELSE false END").format(v, Literal(_PLAIN_NUMBER), test)


def _moment_rules(facts: TypeFacts, v: Composable) -> Iterator[tuple[Composable, str]]:
    """Yield the conditions for dates and times: offsets, leap seconds, and digits or hours that are cut."""
    zoned = _has_zone(v)
    if facts.kind in ("timetz", "timestamptz"):
        yield SQL("{} !~* {} AND NOT {}").format(v, Literal(_SPECIAL), zoned), ZONE
    if facts.kind in ("time", "timestamp"):
        yield zoned, ZONE
    if facts.kind == "date":
        midnight = SQL("regexp_replace({}, '[0-9]{{4,}}-[0-9]+-[0-9]+', '')").format(v)
        yield SQL("{} ~* '[0-9]:|t[0-9]' AND {} ~ '(:|[tT ])[0-9:.]*[1-9]'").format(v, midnight), "rounding"
        return
    decimals = 6 if facts.precision is None else facts.precision
    yield SQL("{} ~ {}").format(v, Literal(rf"[.][0-9]{{{decimals}}}[0-9]*[1-9]")), "rounding"
    yield SQL("{} ~ ':[0-9]{{2}}:60'").format(v), "rounding"


def _has_zone(v: Composable) -> Composed:
    """Make the condition that a valid time has a zone: an offset, or letters that mean nothing else."""
    return SQL("({v} ~* {offset} OR pg_catalog.regexp_replace({v}, {words}, '', 'gi') ~ '[a-zA-Z]')").format(
        v=v, offset=Literal(_OFFSET), words=Literal(_WORDS)
    )


def _same_name_twice(v: Composable, version: int) -> Composed:
    """Make the condition that an object in JSON has repeated names, of which jsonb keeps only the last."""
    if version >= TAKES_ERRORS:
        return SQL("{} IS NOT JSON WITH UNIQUE KEYS").format(v)
    return SQL(
        "(WITH RECURSIVE j(d) AS (SELECT {v}::pg_catalog.json UNION ALL SELECT c.value FROM j, LATERAL ("
        "SELECT value FROM json_each(CASE json_typeof(d) WHEN 'object' THEN d END) UNION ALL "
        "SELECT value FROM json_array_elements(CASE json_typeof(d) WHEN 'array' THEN d END)) c) "
        "SELECT bool_or((SELECT count(*) <> count(DISTINCT k) FROM "
        "json_object_keys(CASE json_typeof(d) WHEN 'object' THEN d END) k)) FROM j)"
    ).format(v=v)


def _other_rules(
    name: str, cast: Composable, v: Composable, version: int
) -> Iterator[tuple[Composable, str]]:
    if name in ('"char"', "name"):
        yield SQL("{}::text <> {}").format(cast, v), "too-long"
    if name in ("oid", "money"):
        number = SQL("{}::pg_catalog.{}").format(cast, trusted("int8" if name == "oid" else "numeric"))
        differs = SQL("{}::pg_catalog.numeric <> {}").format(v, number)
        yield _where_plain_number(v, differs), "overflow" if name == "oid" else "rounding"
    if name in ("tstzrange", "tstzmultirange"):
        yield SQL("{} ~* {}").format(v, Literal(_ZONELESS_BOUND)), ZONE
    if name in ("bit", "bit varying") and version < TAKES_ERRORS:  # unlike input, a cast cuts and pads
        length = SQL("pg_catalog.length(CAST({} AS pg_catalog.varbit)) <> pg_catalog.length({})")
        yield length.format(v, cast), "22026" if name == "bit" else "22001"


# ---- statements -----------------------------------------------------------------------------------------

# The settings under which texts are written later, independently of those of the role or the database.
SETTLED = SQL("SELECT {}").format(
    SQL(", ").join(
        SQL("pg_catalog.set_config({}, {}, true)").format(Literal(name), Literal(value))
        for name, value in {
            "datestyle": "ISO, YMD",
            "timezone": "UTC",
            "intervalstyle": "postgres",
            "extra_float_digits": "1",
            "bytea_output": "hex",
        }.items()
    )
)
GIVE = SQL("SELECT pg_catalog.set_config('seedlab.given', $1::text, true)")
TAKE = SQL(
    "SELECT pg_catalog.split_part(f, ' ', 1)::pg_catalog.int4, pg_catalog.split_part(f, ' ', 2) FROM "
    "pg_catalog.unnest(pg_catalog.string_to_array(NULLIF(pg_catalog.current_setting('seedlab.found'), ''), "
    "',')) f"
)


def questions(column: Column, values: str, version: int) -> list[Question]:
    """Make the queries for the invalid ones of `values` (an array literal); the last one has the result."""
    if version >= TAKES_ERRORS:
        return [(invalid(column), [values])]
    return [(GIVE, [values]), (judge(column), ()), (TAKE, ())]


def invalid(column: Column) -> Composed:
    """Find the invalid values of a text-array parameter, each with its code. Needs PostgreSQL 16.

    The server itself checks domains and type modifiers.
    """
    return SQL(
        "SELECT n, code FROM (SELECT n, CASE WHEN pg_catalog.pg_input_is_valid(v, {type}) THEN {lossy} "
        "ELSE (pg_catalog.pg_input_error_info(v, {type})).sql_error_code END AS code "
        "FROM unnest($1::pg_catalog.text[]) WITH ORDINALITY u(v, n)) q WHERE code IS NOT NULL"
    ).format(type=Literal(column.type), lossy=lossy(column, SQL("v")))


def judge(column: Column) -> Composed:
    """Do the same on a server without pg_input_is_valid, by bisection in a DO block.

    The block casts all values, and where that fails, each half of them, down to single values. Values and
    result are passed through settings, because DO has neither parameters nor a result. It creates nothing, so
    it works in a read-only transaction. Errors that are not about values are raised again.
    """
    ask = SQL(
        "SELECT string_agg(n || ' ' || code, ',') FROM (SELECT n + $2 - 1 AS n, {lossy} AS code, "
        "pg_catalog.count(CAST(v AS {type})) OVER () FROM unnest($1) WITH ORDINALITY u(v, n)) q "
        "WHERE code IS NOT NULL"
    ).format(lossy=lossy(column, SQL("v"), 0), type=trusted(column.type))
    # The server would optimise the casts away if nothing used their count.
    cast = SQL("SELECT pg_catalog.count(CAST(v AS {})) FROM unnest($1) v").format(trusted(column.type))
    return SQL("DO {}").format(Literal(_BLOCK.format(ask=_text(ask), cast=_text(cast))))


def _text(statement: Composable) -> str:
    return statement.as_string().replace("'", "''")


_BLOCK = """
DECLARE
  given text[] := current_setting('seedlab.given')::text[];
  lows int[] := ARRAY[1];
  highs int[] := ARRAY[cardinality(given)];
  low int;
  high int;
  invalid text;
  found text := '';
BEGIN
  WHILE cardinality(lows) > 0 LOOP
    low := lows[cardinality(lows)];
    high := highs[cardinality(highs)];
    lows := lows[:cardinality(lows) - 1];
    highs := highs[:cardinality(highs) - 1];
    invalid := NULL;
    BEGIN
      EXECUTE '{cast}' USING given[low:high];
      EXECUTE '{ask}' INTO invalid USING given[low:high], low;
    EXCEPTION WHEN OTHERS THEN
      -- Types of extensions call a text that they do not take an internal error.
      IF left(SQLSTATE, 2) NOT IN ('22', '23', '2F', '38', '39', '42', '54', 'P0', '0A')
          AND SQLSTATE <> 'XX000' THEN
        RAISE;
      END IF;
      IF low = high THEN
        invalid := low || ' ' || SQLSTATE;
      ELSE
        lows := lows || ARRAY[(low + high) / 2 + 1, low];
        highs := highs || ARRAY[high, (low + high) / 2];
      END IF;
    END;
    found := concat_ws(',', NULLIF(found, ''), invalid);
  END LOOP;
  PERFORM set_config('seedlab.found', found, true), set_config('seedlab.given', '', true);
END
"""


def spelled(column: Column, version: int) -> Composed:
    """Spell the values of a text-array parameter as the server does, and name them (`name_statements`).

    Left out are values that are spelled and named as they are given; but every text has a name of its own.
    """
    if column.kind in _TEXTS:
        name = named(column, SQL("v"))
        return SQL("SELECT v, v, {} FROM unnest($1::pg_catalog.text[]) v").format(name or SQL("v"))
    cast = SQL("CAST(v AS {})").format(trusted(column.type))
    if version >= TAKES_ERRORS:
        valid = SQL("CASE WHEN pg_catalog.pg_input_is_valid(v, {}) THEN {} END")
        cast = valid.format(Literal(column.type), cast)
    return SQL(
        "SELECT v, s, n FROM (SELECT v, c::text AS s, {} AS n FROM (SELECT v, {} AS c "
        "FROM unnest($1::pg_catalog.text[]) v) p) q WHERE s <> v OR n <> s"
    ).format(named(column, SQL("c")) or SQL("NULL"), cast)


def labels(column: Column) -> Composed:
    """Read the labels of an enum, in their order."""
    return SQL("SELECT unnest(pg_catalog.enum_range(NULL::{}))::text").format(trusted(column.type))


def has_labels(column: Column) -> bool:
    """Tell whether the column's type is an enum."""
    return column.kind == "enum"


def checks(column: Column) -> Composed:
    """Read the CHECK constraints of a domain, those of domains below it first, otherwise by name."""
    return SQL(
        "WITH RECURSIVE d(oid, base, depth) AS (SELECT oid, typbasetype, 0 FROM pg_catalog.pg_type "
        "WHERE oid = {}::pg_catalog.regtype UNION ALL SELECT t.oid, t.typbasetype, depth + 1 "
        "FROM d JOIN pg_catalog.pg_type t ON t.oid = d.base) "
        "SELECT pg_catalog.pg_get_constraintdef(c.oid) FROM d JOIN pg_catalog.pg_constraint c "
        "ON c.contypid = d.oid WHERE c.contype = 'c' ORDER BY depth DESC, conname"
    ).format(Literal(column.type))


def needs_settling(columns: Sequence[Column]) -> bool:
    """Tell whether parsing a text depends on settings, as it does for dates."""
    return any(c.kind in {*_MOMENTS, "interval", "array", "other"} for c in columns)
