"""The phases of a run as a polars frame."""

from __future__ import annotations

import polars as pl

from seedlab.flow import Run
from seedlab.insight.measuring.monitor import phase_totals

PHASES = pl.Schema(
    {
        "phase": pl.String,
        "seconds": pl.Float64,
        "cpu_seconds": pl.Float64,
        "rows": pl.Int64,
        "statements": pl.Int64,
        "round_trips": pl.Int64,
        "bytes_sent": pl.Int64,
        "wal_bytes": pl.Int64,  # null where the server was not asked
        "peak_rss_bytes": pl.Int64,
    }
)


def phase_frame(run: Run) -> pl.DataFrame:
    """Give one row a phase (`PHASES`), in the order of a run; seconds of parallel threads add up."""
    rows = [
        (
            each.name,
            each.seconds,
            each.cpu_seconds,
            each.rows,
            each.statements,
            each.round_trips,
            each.bytes_sent,
            each.wal_bytes,
            each.peak_rss_bytes,
        )
        for each in phase_totals(run.spans)
    ]
    return pl.DataFrame(rows, schema=PHASES, orient="row")
