"""Run records for charts and texts: real ones stretched, and drawn ones of every shape that can occur."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import get_args

from hypothesis import strategies as st

from seedlab.flow import Phase, Run, Span
from seedlab.flow.evidence import (
    Attempt,
    Bottleneck,
    Change,
    Comparison,
    CountChange,
    Profile,
    Recommendation,
    Sample,
    Wait,
)
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.records.runs import Heading, build_run

PHASES = get_args(Phase)
WAITS = (
    "CPU",
    "Client/ClientRead",
    "IO/WALSync",
    "Lock/transactionid",
    "LWLock/WALWrite",
    "Timeout/VacuumDelay",
)
HEBREW = "פקולטה למדעי המחשב"
LONG = "a_table_whose_name_is_as_long_as_postgresql_allows_it_to_be_63_x"
HOSTILE = "<script>alert('x')</script> | $x_{1}$ `code` \x1b[31m"

names = st.sampled_from(["questions", HEBREW, LONG, HOSTILE, "", "日本語 🎉"]) | st.text(max_size=12)
seconds = st.floats(min_value=0, max_value=1e5, allow_nan=False)
spans = st.builds(
    Span,
    phase=st.sampled_from(PHASES),
    seconds=seconds,
    cpu_seconds=seconds,
    start=seconds,
    lane=st.integers(0, 4),
    peak_rss_bytes=st.integers(0, 10**11),
    stage=names,
    seed=names,
    table=st.none() | names,
    statements=st.integers(0, 10**9),
    round_trips=st.integers(0, 10**9),
    bytes_sent=st.integers(0, 10**13),
    wal_bytes=st.none() | st.integers(0, 10**13),
)
samples = st.lists(
    st.builds(
        Sample,
        at=seconds,
        rss_bytes=st.integers(0, 10**11),
        waits=st.lists(st.builds(Wait, pid=st.integers(1, 9), what=st.sampled_from(WAITS) | names), max_size=4)
        .map(tuple),
    ),
    max_size=8,
).map(lambda looks: tuple(sorted(looks, key=lambda look: look.at)))  # fmt: skip


def bare(project: str = "academy") -> Run:
    """The run of a monitor that measured nothing."""
    run = build_run(Monitor(), Heading(project=project, target="postgresql://me@127.0.0.1/academy"))
    return replace(run, run_id="0a1b2c3d", started="2026-11-26T20:32:52.000+00:00", seconds=0.0)


runs = st.builds(
    lambda project, took, held, looks: replace(bare(project), seconds=took, spans=tuple(held), samples=looks),
    names, seconds, st.lists(spans, max_size=12), samples,
)  # fmt: skip


def busy(whole: float, lanes: int = 2, count: int = 40, called: tuple[str, ...] = ("questions",)) -> Run:
    """A run of so many seconds in which every lane goes through all phases."""
    chance, made, at = random.Random(7), [], [0.02 * whole] * lanes
    for n in range(count):
        lane, took = n % lanes, chance.uniform(0.5, 1.4) * 0.9 * whole * lanes / count
        name = called[n % len(called)]
        made.append(
            Span(
                phase=PHASES[n * len(PHASES) // count], seconds=took, cpu_seconds=took / 2, start=at[lane],
                lane=lane, stage=f"stage-{n % 30}", seed=name, table=name, rows=100 * n, statements=n,
                round_trips=n // 2, bytes_sent=1000 * n, peak_rss_bytes=10**8 + 10**6 * n, wal_bytes=2000 * n,
            )
        )  # fmt: skip
        at[lane] += took
    looks = tuple(
        Sample(
            at=whole * n / 30, rss_bytes=10**8 + 10**6 * (min(20, n)),
            waits=tuple(Wait(pid=pid, what=WAITS[(n * pid) % len(WAITS)]) for pid in range(1, 4)),
        )
        for n in range(30)
    )  # fmt: skip
    return replace(bare(called[0]), seconds=max(at) + 0.02 * whole, spans=tuple(made), samples=looks)


def slow(run: Run) -> Run:
    """The run with findings."""
    found = tuple(
        Bottleneck(resource=resource, seconds=run.seconds * share, share=share, where=where, evidence=evidence)
        for resource, share, where, evidence in (
            ("round trips", 0.64, f"merge, {run.project}", "20,832 round trips of 0.34 ms each"),
            ("client CPU", 0.2, "merge", "this process computed"),
            ("disk", 0.05, "commit", "IO/WALSync in 5 of 100 samples"),
        )
    )  # fmt: skip
    advice = Recommendation(
        what="use level bulk",
        why="fewer round trips",
        saves=run.seconds / 2,
        basis="model",
        command="seedlab seed",
    )
    return replace(run, bottlenecks=found, recommendations=(advice,))


def changed(name: str, before: float, ratio: float, verdict: str = "faster") -> Change:
    return Change(
        name=name, before=before, after=before * ratio if before else 0.0, ratio=ratio, low=ratio * 0.95, high=ratio * 1.06,
        verdict=verdict,  # type: ignore[arg-type]
    )  # fmt: skip


def comparison(whole: float = 1.9, before: str = "main", after: str = "HEAD") -> Comparison:
    noise = (1.0, 1.04, 0.97, 1.02, 0.99, 1.05, 0.96)
    return Comparison(
        before=before,
        after=after,
        threshold=0.05,
        total=changed("total", whole, 0.42),
        phases=(changed("merge", whole * 0.6, 0.25), changed("read", whole * 0.1, 1.02, "same")),
        counts=(CountChange(name="statements", before=20_946, after=114, tolerance=0.0, verdict="fewer"),),
        pairs=tuple(
            (whole * each, whole * 0.42 * other) for each, other in zip(noise, noise[::-1], strict=True)
        ),
    )


def profile(whole: float = 1.0, delays: tuple[float, ...] = (0.0, 5.0)) -> Profile:
    took = {
        "legacy": 9.0,
        "bulk": 2.0,
        "incremental": 1.0,
        "incremental, again": 0.1,
        "incremental without copy": 1.5,
    }
    attempts = tuple(
        Attempt(
            variant=variant, round_trip_ms=delay, pair=pair,
            run=busy(whole * times * (1 + delay / 10) * (1 + pair / 50), lanes=1, count=14),
        )
        for delay in delays for pair in (1, 2, 3) for variant, times in took.items()
    )  # fmt: skip
    return Profile(
        profile_id="abcd1234", project="academy", started="2026-11-26T20:32:52.000+00:00", args=(),
        variants=tuple(took), attempts=attempts,
    )  # fmt: skip
