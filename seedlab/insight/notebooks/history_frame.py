"""Converts a history to a polars frame."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from seedlab.insight.judging.trend import Point

_COLUMNS: dict[str, type[pl.DataType] | pl.DataType] = {
    "run_id": pl.String,
    "started": pl.Datetime("ms", "UTC"),
    "series": pl.String,
    "project": pl.String,
    "dialect": pl.String,
    "level": pl.String,
    "environment": pl.String,
    "machine": pl.String,
    "kind": pl.String,
    "status": pl.String,
    "seconds": pl.Float64,
    "rows": pl.Int64,
    "statements": pl.Int64,
    "round_trips": pl.Int64,
    "peak_rss_bytes": pl.Int64,
    "judgement": pl.String,
    "usual_low": pl.Float64,
    "usual_median": pl.Float64,
    "usual_high": pl.Float64,
}
RUNS = pl.Schema(_COLUMNS)


def frame_of(points: Iterable[Point]) -> pl.DataFrame:
    """Return a frame with one row per run (`RUNS`), in the order of the points."""
    return pl.DataFrame([_row(each) for each in points], schema=RUNS, orient="row")


def _row(point: Point) -> tuple[object, ...]:
    run, series, usual = point.run, point.series, point.usual
    band = (usual.low, usual.median, usual.high) if usual else (None, None, None)
    return (
        run.run_id, run.moment, series.name, run.project, run.dialect, run.level, run.environment,
        run.machine, series.kind, run.status, run.seconds, run.outcomes.total, run.statements,
        run.round_trips, run.peak_rss_bytes, point.judgement, *band,
    )  # fmt: skip
