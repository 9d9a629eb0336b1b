"""The project's transforms: whatever goes wrong in them is told as their fault, without a row's values."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import polars as pl
import pytest

from seedlab.errors import ConfigurationError
from seedlab.flow import FILE, ROW, Seed, SourceFile, TableSpec
from seedlab.steps.preparing.shaping import Shaped
from seedlab.steps.preparing.transforming import transform

X = TableSpec(table="x")
FILES = (SourceFile(path=Path("x.csv"), name="x.csv", format="csv"),)
ROWS = Shaped(
    seed=Seed(name="one", stage="s", files=FILES, tables=(X,), transform="go"),
    spec=X,
    frame=pl.DataFrame(
        {"code": ["q", "r"], ROW: [0, 1], FILE: [0, 0]},
        schema={"code": pl.String, ROW: pl.UInt32, FILE: pl.UInt16},
    ),
)


def transformed(folder: Path, body: str) -> list[Shaped]:
    script = f"import polars as pl\n\ndef go(rows):\n{indent(body, '    ')}\n"
    (folder / "transforms.py").write_text(script)
    return transform([ROWS], folder, "transforms.py")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('raise ValueError("boom")', "go failed: ValueError: boom"),
        ("return rows", "go must return a dict of table name to LazyFrame"),
        ("return {5: rows}", "go must return a dict of table name to LazyFrame"),
        ('return {"x": rows.select("nope")}', "go failed: ColumnNotFoundError: .*nope"),
        ('return {"x": rows.with_columns(code=pl.lit([1]))}', "go failed: InvalidOperationError"),
        (
            'return {"x": rows.with_columns(pl.lit("secret").cast(pl.Int8))}',
            "go failed: InvalidOperationError",
        ),
        ('return {"x": rows.with_columns(_row=pl.lit("secret"))}', "go changes _row or _file"),
        ('return {"x": rows.with_columns(_row=pl.lit(-1))}', "go changes _row or _file"),
        ('return {"x": rows.with_columns(_file=pl.lit(1))}', "go changes _row or _file"),
    ],
)
def test_faults_of_a_transform_are_told_as_its_own(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"(?s)transforms.py.*{said}") as raised:
        transformed(tmp_path, body)

    assert "secret" not in str(raised.value)


def test_a_transform_may_import_modules_beside_it_when_it_runs(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def upper(rows):\n    return rows.with_columns(code='Q')\n")

    (made,) = transformed(tmp_path, "import beside\nreturn {'x': rows.filter(code='q')}")

    assert made.frame.rows() == [("q", 0, 0)]
