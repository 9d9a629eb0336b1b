"""Writes a run as a trace for ui.perfetto.dev or chrome://tracing, in the Trace Event Format (JSON).

The trace has one track per thread of this process, with its spans, one track per process of the server, with
its wait events, and curves of memory and WAL. A span records only its own time; when it ended is computed
from the spans nested in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedlab.errors import ConfigurationError, Place
from seedlab.flow import Run, Span

if TYPE_CHECKING:
    from seedlab.flow.evidence import Sample

Event = dict[str, Any]
CLIENT, SERVER = 1, 2  # the format groups tracks by process; these are their numbers in the trace
_SPAN_ARGUMENTS = tuple(
    each.name
    for each in fields(Span)
    if each.name not in ("phase", "seconds", "start", "lane", "stage", "seed", "table")
)


def write(run: Run, path: Path) -> Path:
    """Write the trace of a run and return its path. Raises ConfigurationError if it cannot be written."""
    try:
        path.write_text(json.dumps(trace_of(run), ensure_ascii=False, allow_nan=False), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"cannot write the trace: {error.strerror}; name another file with --trace", Place(file=str(path))
        ) from error
    return path


def trace_of(run: Run) -> Mapping[str, Any]:
    """Return the trace of a run; times are in microseconds since it began."""
    about = {"run": run.run_id, "project": run.project, "started": run.started, "status": run.status}
    events = [
        *_processes(run),
        *(_slice_of(span, end) for span, end in with_ends(run.spans)),
        *_waits(run.samples),
        *_curves(run.samples),
    ]
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": about}


# ---- tracks ---------------------------------------------------------------------------------------------


def _processes(run: Run) -> Iterator[Event]:
    """Return the metadata events that name processes and tracks."""
    yield _named("process_name", CLIENT, 0, f"seedlab {run.project}")
    for lane in sorted({span.lane for span in run.spans}):
        yield _named("thread_name", CLIENT, lane, f"thread {lane}" if lane else "main thread")
    pids = sorted({wait.pid for sample in run.samples for wait in sample.waits})
    if pids:
        yield _named("process_name", SERVER, 0, f"server of {run.target}")
    for pid in pids:
        yield _named("thread_name", SERVER, pid, f"server process {pid}")


def _named(what: str, process: int, track: int, name: str) -> Event:
    return {"ph": "M", "name": what, "pid": process, "tid": track, "args": {"name": name}}


# ---- slices ---------------------------------------------------------------------------------------------


def with_ends(spans: Iterable[Span]) -> Iterator[tuple[Span, float]]:
    """Pair each span with the time of its end, in seconds since the run began.

    Spans are in the order of their ends. So the earlier spans of the same thread that began after this one,
    and are not nested in another one, are nested in it.
    """
    for _, lane in groupby(sorted(spans, key=lambda span: span.lane), key=lambda span: span.lane):
        before: list[tuple[Span, float]] = []
        for span in lane:
            own, last = span.seconds, span.start
            while before and before[-1][0].start >= span.start:
                inner, end = before.pop()
                own += end - inner.start
                last = max(last, end)  # reading the WAL position takes time that belongs to no span
            before.append((span, max(last, span.start + own)))
            yield before[-1]


def _slice_of(span: Span, end: float) -> Event:
    arguments = {name: value for name in _SPAN_ARGUMENTS if (value := getattr(span, name))}
    where = {"stage": span.stage, "seed": span.seed, "table": span.table}
    about = {name: value for name, value in where.items() if value is not None}
    name = " ".join(filter(None, (span.phase, span.table or span.seed)))
    return _slice(name, span.phase, CLIENT, span.lane, (span.start, end), {**about, **arguments})


def _slice(
    name: str, kind: str, process: int, track: int, seconds: tuple[float, float], args: Mapping[str, object]
) -> Event:
    begin, end = _microseconds(seconds[0]), _microseconds(seconds[1])
    # Ends are rounded instead of the duration, so that slices that nest or meet do so in the trace, too.
    return {
        "ph": "X", "name": name, "cat": kind, "pid": process, "tid": track,
        "ts": begin, "dur": end - begin, "args": args,
    }  # fmt: skip


def _waits(samples: Sequence[Sample]) -> Iterator[Event]:
    """Combine consecutive samples in which a server process did the same into one slice."""
    ends = [later.at for _, later in pairwise(samples)]
    seen: dict[int, list[tuple[str, float, float]]] = {}
    for sample, end in zip(samples, ends, strict=False):  # the last sample has no end
        for wait in sample.waits:
            slices_of_pid = seen.setdefault(wait.pid, [])
            if slices_of_pid and (slices_of_pid[-1][0], slices_of_pid[-1][2]) == (wait.what, sample.at):
                slices_of_pid[-1] = (wait.what, slices_of_pid[-1][1], end)
            else:
                slices_of_pid.append((wait.what, sample.at, end))
    for pid, slices in seen.items():
        for what, begin, end in slices:
            yield _slice(what, what.partition("/")[0], SERVER, pid, (begin, end), {})


def _curves(samples: Iterable[Sample]) -> Iterator[Event]:
    for sample in samples:
        yield _point("memory", sample.at, sample.rss_bytes)
        if sample.wal_bytes is not None:
            yield _point("WAL", sample.at, sample.wal_bytes)


def _point(name: str, at: float, value: int) -> Event:
    return {
        "ph": "C",
        "name": name,
        "pid": CLIENT,
        "tid": 0,
        "ts": _microseconds(at),
        "args": {"bytes": value},
    }


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
