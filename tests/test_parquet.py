"""Parquet: every type as text that loses nothing; damaged files and types without text are refused."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from seedlab.errors import DataFaults
from seedlab.flow import ROW
from seedlab.frames.files import large, sources
from tests.fix_sources import faults_of, source


def stored(folder, frame, name="t.parquet"):
    path = folder / name
    frame.write_parquet(path)
    return source(folder, name, path.read_bytes())


def column(folder, values, dtype):
    flat = sources.read(stored(folder, pl.DataFrame({"v": pl.Series(values, dtype=dtype)})))
    return sources.collect({0: flat})[0].get_column("v").to_list()


ZONE = ZoneInfo("Asia/Jerusalem")
MOMENT = dt.datetime.fromisoformat("2020-01-01T02:03:04.000005")


@pytest.mark.parametrize(
    ("dtype", "values", "texts"),
    [
        (pl.String, ["007", "", None, "ש\n"], ["007", "", None, "ש\n"]),
        (pl.Int64, [-(2**63), 2**63 - 1, None], ["-9223372036854775808", "9223372036854775807", None]),
        (pl.UInt64, [2**64 - 1], ["18446744073709551615"]),
        (pl.Float64, [0.1, 1e300, -0.0, 5e-324], ["0.1", "1e+300", "-0.0", "5e-324"]),
        (pl.Float32, [0.1], ["0.1"]),
        (pl.Decimal(38, 4), [Decimal("1.5"), Decimal("-0.0001")], ["1.5000", "-0.0001"]),
        (pl.Boolean, [True, False, None], ["true", "false", None]),
        (pl.Binary, [b"\x00\xff", b"", None], ["\\x00ff", "\\x", None]),
        (pl.Date, [dt.date(1, 1, 1), dt.date(9999, 12, 31)], ["0001-01-01", "9999-12-31"]),
        (pl.Time, [dt.time(1, 2, 3), dt.time(1, 2, 3, 500)], ["01:02:03", "01:02:03.000500"]),
        (pl.Datetime("us"), [MOMENT], ["2020-01-01T02:03:04.000005"]),
        (pl.Datetime("ms"), [MOMENT], ["2020-01-01T02:03:04"]),
        (
            pl.Datetime("us", "Asia/Jerusalem"),
            [dt.datetime(2020, 7, 1, 3, tzinfo=ZONE), dt.datetime(1800, 1, 1, 2, 20, 54, tzinfo=ZONE)],
            ["2020-07-01T00:00:00+00:00", "1800-01-01T00:00:00+00:00"],
        ),
        (pl.Categorical, ["x", None], ["x", None]),
        (pl.Null, [None], [None]),
    ],
)
def test_every_type_becomes_text_that_loses_nothing(tmp_path, dtype, values, texts):
    assert column(tmp_path, values, dtype) == texts


def test_rows_are_numbered_and_columns_keep_their_order(tmp_path):
    flat = sources.read(stored(tmp_path, pl.DataFrame({"b": ["x", "y"], "a": [1, 2]})))

    frame = sources.collect({0: flat})[0]

    assert flat.columns == ("b", "a")
    assert frame.schema == {ROW: pl.UInt32, "b": pl.String, "a": pl.String}
    assert frame.get_column(ROW).to_list() == [0, 1]


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: s.implode(), lambda s: s.to_frame().to_struct()])
def test_a_duration_is_refused_wherever_it_is(tmp_path, wrap):
    durations = pl.Series("took", [dt.timedelta(days=1)])

    fault = faults_of(stored(tmp_path, pl.DataFrame({"v": wrap(durations)})))[0]

    assert fault.rule == "type"
    assert "'v' is a Duration" in fault.message


def test_a_reserved_name_is_refused(tmp_path):
    assert "_seedlab_row" in faults_of(stored(tmp_path, pl.DataFrame({"_seedlab_row": [1]})))[0].message


@pytest.mark.parametrize(
    "damage", [lambda d: b"", lambda d: d[:100], lambda d: d[:-30] + b"\0" * 30, lambda d: b"a,b\n"]
)
def test_a_damaged_file_is_a_fault(tmp_path, damage):
    whole = stored(tmp_path, pl.DataFrame({"a": list(range(1000))})).path.read_bytes()

    fault = faults_of(source(tmp_path, "bad.parquet", damage(whole)))[0]

    assert (fault.rule, fault.file) == ("syntax", "bad.parquet")


def test_damaged_pages_are_told_by_file_when_rows_are_read(tmp_path):
    good = stored(tmp_path, pl.DataFrame({"a": list(range(1000))}))
    data = good.path.read_bytes()
    bad = source(tmp_path, "bad.parquet", data[:20] + b"\xff" * 400 + data[420:])

    with pytest.raises(DataFaults) as caught:
        sources.collect({file.name: sources.read(file) for file in (good, bad)})
    with pytest.raises(DataFaults):
        list(large.batches(bad, 100))

    assert [fault.file for fault in caught.value.faults] == ["bad.parquet"]


def test_a_nul_in_text_is_told_with_its_row(tmp_path):
    flat = sources.read(stored(tmp_path, pl.DataFrame({"a": ["x", "y\0", "z"], "b": [None, "\0", ""]})))

    with pytest.raises(DataFaults) as caught:
        sources.collect({0: flat})

    assert [(fault.rule, fault.line) for fault in caught.value.faults] == [("nul", 2)]


def test_a_name_with_stars_is_a_name(tmp_path):
    flat = sources.read(stored(tmp_path, pl.DataFrame({"a": ["x"]}), "[a]*.parquet"))

    assert sources.collect({0: flat})[0].height == 1
