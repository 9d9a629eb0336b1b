"""Converts the phases of a run to a polars frame."""

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
        "wal_bytes": pl.Int64,  # null if it was not measured
        "peak_rss_bytes": pl.Int64,
    }
)


def phase_frame(run: Run) -> pl.DataFrame:
    """Return a frame with one row per phase (`PHASES`), in the order of a run; seconds of threads add up."""
    phase, *measures = PHASES.names()
    totals = phase_totals(run.spans)
    columns = {name: [getattr(total, name) for total in totals] for name in measures}
    return pl.DataFrame({phase: [total.name for total in totals], **columns}, schema=PHASES)
