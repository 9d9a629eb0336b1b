"""Forms of the rows that a tool needs before it can load them."""

from __future__ import annotations

from typing import Any

import polars as pl
import sqlalchemy as sa


def binary(table: sa.Table, frame: pl.DataFrame) -> pl.DataFrame:
    """As PostgreSQL's binary COPY takes them from Arrow: 16 bytes for a uuid, a version byte before jsonb."""
    return frame.with_columns(
        pl.col(column.name).str.replace_all("-", "").str.decode("hex")
        if isinstance(column.type, sa.Uuid)
        else pl.concat_str(pl.lit("\x01"), pl.col(column.name)).alias(column.name)
        for column in table.columns
        if isinstance(column.type, sa.Uuid | sa.JSON)
    )


def names_of(table: sa.Table, kind: type[sa.types.TypeEngine]) -> list[str]:
    """Columns of a type."""
    return [column.name for column in table.columns if isinstance(column.type, kind)]


def parts_of(url: str) -> dict[str, Any]:
    """A database URL's parts for tools that want them one by one; the host may be a folder with a socket."""
    parts = sa.make_url(url)
    return {
        "host": parts.host or parts.query.get("host", ""),
        "port": int(parts.port or parts.query.get("port", 5432)),
        "user": parts.username or "",
        "password": parts.password or "none",
        "database": parts.database,
    }
