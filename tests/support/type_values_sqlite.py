"""Values of SQLite's types, as people write them, and what is stored of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a column of a declared type is given: texts with what is stored of them; and bad ones, by rule."""

    type: str
    taken: Mapping[str, object]
    bad: tuple[tuple[str, str], ...] = ()


def bad(**rules: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((text, rule.replace("_", "-")) for rule, texts in rules.items() for text in texts)


def same(*texts: str) -> Mapping[str, object]:
    return dict(zip(texts, texts, strict=True))


LOOSE = (
    Kept(type="INTEGER", taken={"0": 0, "-9223372036854775808": -(2**63), "9223372036854775807": 2**63 - 1,
                                "007": 7, "+5": 5},
         bad=bad(overflow=("9223372036854775808", "-99999999999999999999"), type=("1.5", "x", "", "1e3"))),
    Kept(type="SMALLINT", taken={"32767": 32767, "0": 0}, bad=bad(overflow=("32768",))),
    Kept(type="BIGINT", taken={"5000000000": 5000000000, "1": 1}, bad=bad(overflow=("9223372036854775808",))),
    Kept(type="REAL", taken={"0.1": 0.1, "1e300": 1e300, "-2": -2.0, "9007199254740992": 9007199254740992.0,
                             "0.30000000000000004": 0.30000000000000004, "48.858370000000001": 48.85837},
         bad=bad(type=("NaN", "x", ""), overflow=("1e309",), rounding=("9007199254740993", "0.1234567890123456789"))),
    Kept(type="FLOAT", taken={"5e-324": 5e-324, "1": 1.0}, bad=bad(rounding=("123456789012345678",))),
    Kept(type="NUMERIC", taken={"1.5": 1.5, "100": 100, "-0.25": -0.25, "1.0": 1},
         bad=bad(type=("x", "NaN"))),
    Kept(type="DECIMAL(6,2)", taken={"9999.99": 9999.99, "1.50": 1.5, "0": 0},
         bad=bad(rounding=("1.005",), overflow=("10000",), type=("",))),
    Kept(type="TEXT", taken=same("", " ", "007", "1e3", "NULL", "it's", "\\N", "שלום", "😀", " x ")),
    Kept(type="VARCHAR(3)", taken=same("", "abc", "😀😀😀", "1.0"), bad=bad(too_long=("abcd",))),
    Kept(type="BOOLEAN", taken={"true": 1, "f": 0, "YES": 1, "0": 0}, bad=bad(type=("maybe", "2", ""))),
    Kept(type="DATE", taken=same("2024-02-29", "0001-01-01"), bad=bad(type=("2023-02-29", "x", "24/1/2"))),
    Kept(type="DATETIME", taken={"2024-01-01 10:00": "2024-01-01 10:00:00",
                                 "2024-01-01T10:00:00.5": "2024-01-01 10:00:00.500000"},
         bad=bad(type=("2024-01-01T10:00:00+02:00", "x"), rounding=("2024-01-01 10:00:00.1234567",))),
    Kept(type="TIME", taken={"10:00": "10:00:00", "23:59:59.999999": "23:59:59.999999"},
         bad=bad(type=("25:00", "10:00+02"), rounding=("10:00:00.0000001",))),
    Kept(type="TIMESTAMPTZ", taken={"2024-01-01T10:00:00+02:00": "2024-01-01 08:00:00",
                                    "2024-01-01T10:00Z": "2024-01-01 10:00:00"},
         bad=bad(type=("2024-01-01 10:00",))),
    Kept(type="BLOB", taken={"\\x": b"", "\\x00fF": b"\0\xff", "abc": b"abc"}, bad=bad(type=("\\x0", "a\\b"))),
    Kept(type="JSON", taken={**same('{"a":  1.10, "a": 2}', '"x"', "[1, null]"), "123": 123},
         bad=bad(type=("{", "NaN", ""))),
    Kept(type="UUID", taken=same("0f8fad5b-d9cb-469f-a165-70867728950e", "00000000-0000-0000-0000-000000000000"),
         bad=bad(type=("x",))),
    Kept(type="INTERVAL", taken=same("day", "P1D")),
    Kept(type="MONEY", taken={"1.5": 1.5, "x": "x"}, bad=bad(rounding=("0.1234567890123456789", "1.50"))),
    Kept(type="", taken=same("007", "", "1.50")),
)  # fmt: skip
STRICT = (
    Kept(type="INT", taken={"1": 1, "-5": -5}, bad=bad(overflow=("9223372036854775808",), type=("1.5",))),
    Kept(type="INTEGER", taken={"1": 1, "9223372036854775807": 2**63 - 1}, bad=bad(type=("x",))),
    Kept(type="REAL", taken={"1": 1.0, "0.1": 0.1}, bad=bad(type=("x",))),
    Kept(type="TEXT", taken=same("1", "", "1.50")),
    Kept(type="BLOB", taken={"\\x00": b"\0", "a": b"a"}),
    Kept(type="ANY", taken=same("007", "x", "1.50")),
)
