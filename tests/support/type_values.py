"""Values of PostgreSQL's types, as people write them: those that a column takes as they are, and others.

Of each type all values are different, so that one may be put in the place of another.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """What a column of a type is given: `taken` it stores exactly, `bad` it cannot, each under a rule."""

    type: str
    taken: tuple[str, ...]
    bad: tuple[tuple[str, str], ...] = ()

    @property
    def unsaid(self) -> tuple[str, ...]:
        """JSON that no record of a JSON file holds as it is: blanks and escapes are not kept, no name comes
        twice, and null is NULL.
        """
        own = self.type in ("json", "jsonb")
        return tuple(v for v in self.taken if own and ("  " in v or "\\u" in v or v == "null"))

    def __str__(self) -> str:
        return self.type


def values(spelled: str, *taken: str, **bad: str | tuple[str, ...]) -> Values:
    """`bad` maps a rule, with `_` for `-`, to the values that break it."""
    pairs = (
        (each, rule.replace("_", "-"))
        for rule, several in bad.items()
        for each in ((several,) if isinstance(several, str) else several)
    )
    return Values(type=spelled, taken=taken, bad=tuple(pairs))


# What the values need, made in the schema that the tables are in.
TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy', 'very happy', 'O''Brien', 'שמח');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN small_positive AS positive CHECK (VALUE < 100);
CREATE DOMAIN price AS numeric(8,2) CHECK (VALUE >= 0);
CREATE DOMAIN slug AS text CHECK (VALUE ~ '^[a-z-]+$');
CREATE DOMAIN short AS varchar(4);
CREATE DOMAIN tags AS text[] CHECK (cardinality(VALUE) < 4);
CREATE DOMAIN instant AS timestamptz;
CREATE DOMAIN feeling AS mood CHECK (VALUE <> 'sad');
CREATE TYPE point3 AS (x int, y numeric(6,2), label text);
CREATE TYPE segment AS (a point3, b point3, seen timestamptz[], how mood);
CREATE TYPE floatrange AS RANGE (subtype = float8, subtype_diff = float8mi);
"""

INTEGERS = (
    values("int2", "0", "-32768", "32767", "007", "+5", overflow=("32768", "-32769"), type=("1.0", "x", "")),
    values("int4", "0", "-2147483648", "2147483647", overflow=("2147483648", "99999999999999999999")),
    values("int8", "0", "-9223372036854775808", "9223372036854775807", overflow="9223372036854775808"),
    values("oid", "0", "4294967295", "2200", overflow=("4294967296", "-1")),
)
NUMBERS = (
    values(
        "numeric",
        *("0", "0.0", "0.00", "-0.1234567890123456789012345678901234567890", "1e-30", "1E+50", "NaN"),
        *("Infinity", "-inf", "+7", ".5", "7.", "123456789012345678901234567890.10"),
        type=("1,5", "1 000", "", "0.1.2"),
        overflow="1e-20000",
    ),
    values(
        "numeric(6,2)",
        *("0", "1.5", "-9999.99", "1.500", "NaN", "1e2", "0.01"),
        rounding=("1.005", "0.001", "1e-3"),
        overflow=("10000", "9999.995", "Infinity"),
    ),
    values("numeric(5,0)", "0", "99999", "1.0", rounding="1.5", overflow="100000"),
    values("numeric(3,-2)", "0", "99900", "-100", rounding="150", overflow="100000"),
    values("numeric(2,4)", "0", "0.0099", rounding="0.00001", overflow="0.1"),
    values(
        "float4",
        *("0", "-0.0", "0.1", "1e-45", "3.4028235e38", "NaN", "Infinity", "-Infinity", "16777216", "1.5"),
        *("-123456", "1.17549435e-38", "123456.79"),
        rounding=("16777217", "0.1234567891", "3.14159265358979"),
        overflow=("1e39", "1e-50"),
        type=("1,5", "one", ""),
    ),
    values(
        "float8",
        *("0", "-0.0", "0.1", "5e-324", "1.7976931348623157e308", "NaN", "inf", "-Infinity", "1E5"),
        *("9007199254740992", "0.30000000000000004", "48.858370000000001", "2.2250738585072014e-308"),
        *("123456789012345.6", "1e22", "123456789012345680000"),
        rounding=("9007199254740993", "0.1234567890123456789", "123456789012345.123456789"),
        overflow=("1e309", "1e-400"),
        type=("1,5", ""),
    ),
    values("money", "0", "-1.5", "12345.67", "$1,234.56", rounding="1.005", type="x"),
)
TEXTS = (
    values("bool", "t", "NO", type=("maybe", "2", "")),
    values("text", "", " ", "x", " padded ", "\\N", "\\.", "שלום"),
    values("varchar(3)", "", "abc", "אבג", "😀😀😀", " a ", too_long=("abcd", "abc ", "😀😀😀😀")),
    values("varchar", "", "x", "long" * 5000),
    values("char(3)", "", "abc", "אב", "a", too_long=("abcd",)),
    values("bpchar", "", "abc", "ab"),
    values('"char"', "a", "", "z", too_long=("ab", "é")),
    values("name", "", "x", "x" * 63, too_long=("x" * 64, "é" * 32)),
    values("bytea", "\\x", "\\x00ff", "\\xDEADBEEF", "abc", "\\\\", "\\001", type=("\\x0", "\\xzz", "\\9")),
)
CALENDAR = (
    values(
        "date",
        *("2024-02-29", "0001-01-01", "4713-01-01 BC", "5874897-12-31", "infinity", "-infinity"),
        *("1999-12-31 00:00:00", "Jan 8 2000", "20240102"),
        type=("2023-02-29", "2024-13-01", "0000-01-01", "", "24:00"),
        rounding=("2024-01-01 10:00:00", "2024-01-01T23:30:00Z"),
    ),
    values(
        "time",
        *("00:00", "24:00:00", "23:59:59.999999", "04:05:06 PM", "12:30"),
        rounding=("12:00:00.1234567", "23:59:60"),
        type=("12:00:00+02", "25:00"),
    ),
    values("time(2)", "00:00", "12:00:00.12", "12:00:00.100", rounding="12:00:00.123"),
    values(
        "timetz",
        *("00:00Z", "24:00:00-15:59", "12:00:00.5+05:30", "12:00+02"),
        type="12:00",
        rounding="12:00:00.1234567Z",
    ),
    values(
        "timestamp",
        *(
            "2024-02-29 00:00",
            "0001-01-01T00:00:00",
            "4713-01-01 00:00:00 BC",
            "294276-12-31 23:59:59.999999",
        ),
        *("infinity", "-infinity", "2024-03-31 02:30:00", "2024-01-01T24:00:00", "1999-01-08", "epoch"),
        type=(
            "2024-01-01 10:00+02",
            "2024-01-01T10:00:00Z",
            "2024-01-01 10:00 Europe/Berlin",
            "x",
            "294277-01-01",
            "2024-01-01 25:00",
        ),
        rounding=("2024-01-01 10:00:00.1234567", "2016-12-31 23:59:60"),
    ),
    values("timestamp(0)", "2024-02-29 00:00", "2024-02-29 12:00:01.000", rounding="2024-02-29 12:00:01.5"),
    values(
        "timestamptz",
        *("2024-03-31T02:30:00+01:00", "2024-10-27T02:30:00+02:00", "2024-10-27T02:30:00+01:00"),
        *("4713-01-01 00:00:00+00 BC", "294276-12-31 23:59:59.999999+00", "infinity", "-infinity"),
        *("1900-01-01 00:00:00+00:53:28", "2024-01-01 10:00 Europe/Berlin", "2024-01-01T00:00:00-15:59"),
        *("20240102T101112Z", "Mon Jan 08 04:05:06 1999 UTC"),
        type=(
            "2024-01-01 10:00",
            "2024-01-01",
            "Jan 8 1999 10:00",
            "2024-01-01 10:00:00.5 PM",
            "",
            "294277-01-01T00:00:00Z",
        ),
        rounding=("2024-01-01T10:00:00.1234567Z", "2016-12-31T23:59:60Z"),
    ),
    values(
        "timestamptz(3)",
        "2024-02-29T00:00:00.123Z",
        "2024-02-29 00:00-05",
        rounding="2024-02-29T00:00:00.1234Z",
    ),
    values(
        "interval",
        *("1 year 2 mons", "P1Y2M3DT4H5M6.7S", "1 day", "24:00:00", "-1 mon +30 days", "00:00:00.000001"),
        *("1.5 hours", "178000000 years", "1 week"),
        type=("soon", "99999999999 years"),
        rounding="0.1234567 seconds",
    ),
    values("interval(0)", "1 second", "1:00", rounding="1.5 seconds"),
    values("interval year to month", "1 year", "1-2", rounding="1 day"),
)
DOCUMENTS = (
    values(
        "uuid",
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "{A0EEBC99-9C0B4EF8-BB6D6BB9-BD380A11}",
        "00000000000000000000000000000000",
        type=("x", "0f8fad5b-d9cb-469f-a165-7086772895"),
    ),
    values(
        "json",
        *(
            "{}",
            "[]",
            "null",
            '"x"',
            '{"a":  1.10, "a": 2}',
            "-0",
            "1e400",
            '{"ключ": "\\u05e9"}',
            '"\\u0000"',
        ),
        *('{"deep": [[[{"a": [null, true]}]]]}', "123456789012345678901234567890.10"),
        type=("{", "{'a': 1}", "NaN", "", '{"a": 1,}'),
    ),
    values(
        "jsonb",
        *("{}", "[]", "null", '"x"', '{"a": 1.10, "b": 1.1}', "1e400", '{"b": 1, "a": {"ключ": "\\u05e9"}}'),
        *(
            "123456789012345678901234567890.10",
            "1.0",
            "1.00",
            '"\\ud83d\\ude00"',
            '[{"a": 1}, {"a": 1, "b": 2}]',
        ),
        type=('"\\u0000"', "NaN", '"\\ud83d"', '"\\x"', ""),
        rounding=('{"a": 1, "a": 2}', '[{"x": {"a": 1, "b": 2, "a": 1}}]'),
    ),
    values("jsonpath", "$.a[*]", 'strict $."x y"', type="$["),
    values("tsvector", "a fat cat", "'a':1A 'b':2", type="'"),
    values("tsquery", "fat & cat", "!'a b'", type="&"),
    values("mood", "sad", "very happy", "O'Brien", "שמח", type=("Happy", "hapy", "")),
    values("positive", "1", "2147483647", type="0", overflow="2147483648"),
    values("small_positive", "1", "99", type=("100", "0")),
    values("price", "0", "12.5", "999999.99", rounding="1.005", type="-1", overflow="1000000"),
    values("slug", "a-b", "x", type=("A", "")),
    values("short", "", "abcd", too_long="abcde"),
    values("tags", "{}", '{a,"b c",NULL}', type=("{a,b,c,d}", "a")),
    values("instant", "2024-01-01T00:00Z", "2024-01-01T00:00+01", type="2024-01-01 00:00"),
    values("feeling", "ok", "happy", type=("sad", "good")),
)
ARRAYS = (
    values(
        "int[]",
        "{}",
        "{1,2}",
        "{{1,2},{3,NULL}}",
        "[0:1]={1,2}",
        "{NULL}",
        type=("1", "{1,{2}}", "{a}"),
        overflow="{2147483648}",
    ),
    values(
        "text[]",
        "{}",
        '{a,"b,c","d\\"e","\\\\",NULL,"NULL",""," x "}',
        '{"{}"}',
        "{שלום,😀}",
        "{{a,b},{c,d}}",
        type="{",
    ),
    values(
        "numeric(4,2)[]", "{1.5,NULL}", "{-99.99}", rounding=("{1.005}", "{{1},{0.001}}"), overflow="{100}"
    ),
    values("varchar(2)[]", "{ab,NULL}", "{}", too_long="{abc}"),
    values("char(2)[]", "{ab,a}", "{}", too_long="{abc}"),
    values("timestamptz[]", '{"2024-01-01 00:00+01",NULL}', "{}", type="{2024-01-01}"),
    values("timestamp(0)[]", '{"2024-01-01 00:00"}', "{}", rounding='{"2024-01-01 00:00:00.5"}'),
    values("float8[]", "{0.1,NaN,-0}", "{}", rounding="{0.1,9007199254740993}"),
    values(
        "jsonb[]", '{"{\\"a\\": 1.0}",NULL,"null"}', "{}", type="{x}", rounding='{"{\\"a\\": 1, \\"a\\": 2}"}'
    ),
    values("json[]", '{"{\\"a\\":  1.0, \\"a\\": 1}"}', "{}"),
    values("bytea[]", '{"\\\\x00ff",NULL}', "{}"),
    values("uuid[]", "{0f8fad5b-d9cb-469f-a165-70867728950e}", "{}", type="{x}"),
    values("mood[]", '{sad,"very happy",NULL}', "{}", type="{gloomy}"),
    values("box[]", "{(2,2),(1,1);(4,4),(3,3)}", "{}"),
    values("point3[]", '{"(1,2.50,\\"a b\\")",NULL}', "{}", type='{"(1)"}'),
    values("bit(3)[]", "{101,NULL}", "{}", type="{1}"),
)
COMPOSITES = (
    values(
        "point3",
        "(1,2.50,x)",
        '(,,"a ""quoted"", \\\\ text")',
        '(1,,"")',
        type=("(1,2)", "1", "(x,1,y)"),
        overflow="(1,10000,x)",
    ),
    values(
        "segment", '("(1,2.00,a)","(,,)","{""2024-01-01 00:00:00+00""}",happy)', "(,,,)", type="(,,,gloomy)"
    ),
)
RANGES = (
    values("int4range", "[1,5]", "[1,5)", "empty", "(,)", "[3,)", type=("[5,1]", "1-5")),
    values("int8range", "[1,5]", "(,5)"),
    values("numrange", "[1.0,2.50)", "[1,2.5)", "(,)"),
    values("daterange", "[2024-01-01,2024-12-31]", "[2024-01-01,infinity]", "empty"),
    values("tsrange", '["2024-01-01 00:00","2024-02-01 00:00")', "(,)"),
    values(
        "tstzrange",
        '["2024-01-01 00:00+02","2024-02-01 00:00Z")',
        "(,)",
        '["2024-01-01 00:00:00+00",)',
        type=("[2024-01-01,2024-02-01)", '["2024-01-01 00:00",)'),
    ),
    values("floatrange", "[0.1,0.2)", "empty"),
    values("int4multirange", "{[1,2],[2,3],[5,6)}", "{}", type="[1,2]"),
    values(
        "tstzmultirange",
        '{["2024-01-01 00:00+02","2024-02-01 00:00Z")}',
        "{}",
        type="{[2024-01-01,2024-02-01)}",
    ),
)
NETWORK = (
    values("inet", "10.0.0.1", "10.0.0.1/8", "::1", "2001:DB8::/32", type=("10.0.0", "10.0.0.256")),
    values("cidr", "10.0.0.0/8", "2001:db8::/32", type="10.0.0.1/8"),
    values("macaddr", "08:00:2b:01:02:03", "08002B010204", type="08:00"),
    values("macaddr8", "08:00:2b:01:02:03:04:05", "08002b0102030406"),
    values("bit(3)", "101", "000", type=("10", "1010", "2")),
    values("bit varying(3)", "", "101", "1", too_long="1010"),
    values("bit varying", "", "1" * 100),
    values("pg_lsn", "0/0", "16/B374D848", type="x"),
    values("point", "(1,2)", "(-0.5,1e10)", type="1"),
    values("line", "{1,2,3}", "[(0,0),(1,1)]"),
    values("lseg", "[(0,0),(1,1)]", "(1,2),(3,4)"),
    values("box", "(2,2),(1,1)", "((4,4),(3,3))"),
    values("path", "[(0,0),(1,1)]", "((0,0),(1,1))"),
    values("polygon", "((0,0),(1,1),(1,0))", "((0,0),(2,2),(2,0))"),
    values("circle", "<(0,0),1>", "<(1,1),2.5>"),
)
EVERY = (
    *INTEGERS, *NUMBERS, *TEXTS, *CALENDAR, *DOCUMENTS, *ARRAYS, *COMPOSITES, *RANGES, *NETWORK,
)  # fmt: skip

# Types that the embedded server lacks, or that come with extensions.
EXTENSIONS = "CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION ltree;"
EXTENDED = (
    values("xml", "<a/>", "<a b=\"1\">שלום &amp; x</a>", "text", "<a/><b/>", "", type=("<a>", "<a></b>", "&x;")),
    values("citext", "Code", "code", "CODE", "", " x "),
    values("hstore", "", '"a"=>"1"', '"b"=>NULL, "ключ"=>"\\"x\\""', type=("a", "=>")),
    values("ltree", "a.b", "", "Top.Science", type=("a..b", "a b!")),
    values("lquery", "*.a.*", "a", type="*{"),
    values("citext[]", '{Code,"a,b",NULL}', "{}"),
    values("hstore[]", '{"\\"a\\"=>\\"1\\""}', "{}"),
    values("xml[]", '{"<a b=\\"1\\"/>",NULL}', "{}", type="{<a>}"),
)  # fmt: skip
