"""A trace has the structure its viewers ask for: slices of a track nest, and say what the spans measured."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedlab.errors import ConfigurationError
from seedlab.flow import Run
from seedlab.flow.evidence import Sample, Wait
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.records import trace
from seedlab.insight.records.runs import Heading, build_run
from tests.test_monitor import WoundClock, load

Event = Mapping[str, Any]


def run_of(monitor: Monitor, *samples: Sample) -> Run:
    return replace(build_run(monitor, Heading(project="school", target="sqlite:///a.db")), samples=samples)


def events(run: Run, kind: str) -> list[Event]:
    return [event for event in trace.trace_of(run)["traceEvents"] if event["ph"] == kind]


def tracks(slices: list[Event]) -> Mapping[tuple[int, int], list[Event]]:
    found = defaultdict(list)
    for each in slices:
        found[each["pid"], each["tid"]].append(each)
    return found


def overlaps(slices: list[Event]) -> list[tuple[str, str]]:
    """Slices of one track that neither nest nor follow each other: viewers would draw them wrong."""
    found = []
    for mine in tracks(slices).values():
        stack: list[Event] = []
        for each in sorted(mine, key=lambda one: (one["ts"], -one["dur"])):
            while stack and stack[-1]["ts"] + stack[-1]["dur"] <= each["ts"]:
                stack.pop()
            if stack and each["ts"] + each["dur"] > stack[-1]["ts"] + stack[-1]["dur"]:
                found.append((stack[-1]["name"], each["name"]))
            stack.append(each)
    return found


# ---- spans ----------------------------------------------------------------------------------------------


def test_a_span_is_a_slice_as_long_as_it_was_open() -> None:
    clock = WoundClock()
    monitor = Monitor(clock=clock)
    clock.wind(1)
    with monitor.span("commit"):
        clock.wind(2)
        with monitor.span("merge", load=load("answers"), rows=7):
            clock.wind(4)
        clock.wind(8)

    merge, commit = events(run_of(monitor), "X")

    assert (commit["name"], commit["ts"], commit["dur"]) == ("commit", 1_000_000, 14_000_000)
    assert (merge["name"], merge["ts"], merge["dur"]) == ("merge answers", 3_000_000, 4_000_000)
    assert (merge["pid"], merge["tid"], merge["cat"]) == (trace.CLIENT, 0, "merge")
    assert (
        merge["args"].items()
        >= {"rows": 7, "stage": "modules", "seed": "physics", "table": "answers"}.items()
    )


Trees = st.recursive(
    st.integers(0, 3000), lambda inner: st.lists(inner, max_size=4), max_leaves=20
)  # microseconds of own time, or spans one after another


@given(trees=st.lists(Trees, max_size=4), asking=st.integers(0, 200))
def test_slices_nest_as_the_spans_did(trees: list[Any], asking: int) -> None:
    """Also where asking the server for its WAL takes time that is nobody's."""
    clock = WoundClock()
    monitor = Monitor(clock=clock)

    def position() -> int:
        clock.wind(asking / 1e6)
        return 0

    monitor.wal_position = position
    depths: list[int] = []

    def work(tree: Any, depth: int) -> None:
        if isinstance(tree, int):
            clock.wind(tree / 1e6)
            return
        with monitor.span("merge"):
            monitor.count(round_trips=1)
            for each in tree:
                work(each, depth + 1)
        depths.append(depth)

    for tree in trees:
        work(tree, 0)
    slices = events(run_of(monitor), "X")

    assert overlaps(slices) == []
    assert len(slices) == len(depths)
    outermost = sum(each["dur"] for each, depth in zip(slices, depths, strict=True) if depth == 0)
    assert sum(span.seconds for span in monitor.spans) * 1e6 <= outermost + len(slices)


def test_threads_have_tracks_of_their_own_with_names(academies) -> None:
    run = academies.seeded("postgresql").run

    named = [each for each in events(run, "M") if each["name"] == "thread_name"]
    names = {(each["pid"], each["tid"]): each["args"]["name"] for each in named}
    slices = events(run, "X")

    assert names[trace.CLIENT, 0] == "main thread"
    assert tracks(slices).keys() <= names.keys()
    # On a busy machine the run lasts a second, and then has tracks of the server, too.
    assert len([each for each in slices if each["pid"] == trace.CLIENT]) == len(run.spans)
    assert overlaps(slices) == []


# ---- the server, memory and WAL -------------------------------------------------------------------------


def waits(**whats: str) -> tuple[Wait, ...]:
    return tuple(Wait(pid=int(pid.removeprefix("p")), what=what) for pid, what in whats.items())


def test_what_a_server_process_did_in_looks_on_end_is_one_slice() -> None:
    samples = (
        Sample(at=0.1, rss_bytes=1, waits=waits(p7="CPU", p8="Client/ClientRead")),
        Sample(at=0.2, rss_bytes=1, waits=waits(p7="CPU")),
        Sample(at=0.3, rss_bytes=1, waits=waits(p7="Lock/transactionid", p8="Client/ClientRead")),
        Sample(at=0.4, rss_bytes=1, waits=waits(p7="CPU")),
    )

    slices = events(run_of(Monitor(), *samples), "X")

    assert [(each["tid"], each["name"], each["ts"], each["dur"]) for each in slices] == [
        (7, "CPU", 100_000, 200_000),
        (7, "Lock/transactionid", 300_000, 100_000),
        (8, "Client/ClientRead", 100_000, 100_000),
        (8, "Client/ClientRead", 300_000, 100_000),
    ]
    assert {each["pid"] for each in slices} == {trace.SERVER}
    assert overlaps(slices) == []


def test_memory_and_wal_are_curves() -> None:
    samples = (Sample(at=0.0, rss_bytes=10), Sample(at=0.5, rss_bytes=30, wal_bytes=4))

    points = events(run_of(Monitor(), *samples), "C")

    assert [(each["name"], each["ts"], each["args"]) for each in points] == [
        ("memory", 0, {"bytes": 10}),
        ("memory", 500_000, {"bytes": 30}),
        ("WAL", 500_000, {"bytes": 4}),
    ]


# ---- the file -------------------------------------------------------------------------------------------


def test_the_file_is_json_as_the_format_has_it(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    monitor = Monitor()
    with monitor.span("read"):
        pass

    assert trace.write(run_of(monitor), path) == path

    written = json.loads(path.read_text())
    assert written["otherData"]["project"] == "school"
    assert all({"ph", "name", "pid", "tid"} <= event.keys() for event in written["traceEvents"])


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot write the trace: .*--trace"):
        trace.write(run_of(Monitor()), tmp_path / "none" / "trace.json")
