"""When a run did what: spans nest, pieces do not overlap, no second is counted twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedlab.flow import Phase, Run, Span
from seedlab.flow.evidence import Sample
from seedlab.insight.formatting.timing import (
    CELLS,
    by_phase,
    covered,
    in_groups,
    lanes,
    length,
    time_went,
    totals,
)
from tests.fix_academy import Academies
from tests.support.evidence import PHASES, bare, runs

# A piece of work: its phase, its own time before and after each inner piece.
WORK = st.recursive(
    st.tuples(st.sampled_from(PHASES), st.floats(0.5, 3), st.just([])),
    lambda inner: st.tuples(st.sampled_from(PHASES), st.floats(0.5, 3), st.lists(inner, max_size=3)),
    max_leaves=8,
)


def perform(
    work: tuple[Phase, float, list], start: float, spans: list[Span], truth: dict[Phase, float]
) -> float:
    """Do the work as a monitor sees it: a span is kept when it ends, with its own time only."""
    phase, own, inner = work
    step, at = own / (len(inner) + 1), start + own / (len(inner) + 1)
    for each in inner:
        at = perform(each, at, spans, truth) + step
    truth[phase] = truth.get(phase, 0.0) + own
    spans.append(Span(phase=phase, seconds=own, cpu_seconds=0.0, start=start))
    return at


@given(work=st.lists(WORK, min_size=1, max_size=4))
def test_inner_work_lies_on_top_of_the_work_around_it(work: list) -> None:
    spans, truth, at = list[Span](), dict[Phase, float](), 0.0
    for each in work:
        at = perform(each, at, spans, truth)
    run = replace(bare(), seconds=at, spans=tuple(spans))

    drawn: dict[Phase, float] = {}
    for piece in lanes(run)[0]:
        drawn[piece.phase] = drawn.get(piece.phase, 0.0) + piece.seconds
    for phase, seconds in truth.items():
        assert drawn.get(phase, 0.0) == pytest.approx(seconds, abs=2 * len(spans) * at / CELLS)
    assert covered(run) == pytest.approx(at, rel=2 / CELLS)


@pytest.mark.slow
@given(run=runs)
def test_pieces_follow_each_other_within_the_run(run: Run) -> None:
    for pieces in lanes(run).values():
        edges = [edge for piece in pieces for edge in (piece.start, piece.end)]

        assert edges == sorted(edges)
        assert all(0 <= edge <= length(run) * 1.000001 for edge in edges)
        assert len(by_phase(pieces)) <= len(pieces) <= CELLS
        assert sum(p.seconds for p in by_phase(pieces)) == pytest.approx(sum(p.seconds for p in pieces))
    assert covered(run) <= length(run) * 1.000001


def test_a_run_is_as_long_as_its_last_span_or_sample() -> None:
    late = Span(phase="merge", seconds=2.0, cpu_seconds=0.0, start=9.0)

    assert length(replace(bare(), seconds=10.0, spans=())) == 10.0
    assert length(replace(bare(), seconds=10.0, spans=(late,))) == 11.0
    assert (
        length(replace(bare(), seconds=10.0, spans=(late,), samples=(Sample(at=12.0, rss_bytes=1),))) == 12.0
    )


def test_pieces_of_one_phase_join_where_they_touch_and_are_named_for_most_of_it() -> None:
    spans = tuple(
        Span(phase="merge", seconds=took, cpu_seconds=0.0, start=start, table=table)
        for start, took, table in ((0.0, 3.0, "questions"), (3.0, 1.0, "parts"), (6.0, 1.0, "parts"))
    )
    pieces = by_phase(lanes(replace(bare(), seconds=10.0, spans=spans))[0])

    assert [(round(p.start), round(p.end), p.what) for p in pieces] == [(0, 4, "questions"), (6, 7, "parts")]


@given(count=st.integers(0, 50), most=st.integers(1, 20))
def test_samples_are_put_together_and_none_is_lost(count: int, most: int) -> None:
    samples = [Sample(at=float(n), rss_bytes=n) for n in range(count)]
    groups = in_groups(samples, most) if samples else []

    assert len(groups) <= most
    assert [sample for group in groups for sample in group] == samples


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_the_phases_of_a_real_run_fill_the_lanes(academies: Academies, dialect: str) -> None:
    run = academies.seeded(dialect).run
    pieces = [piece for lane in lanes(run).values() for piece in lane]

    assert {p.phase for p in pieces} <= {span.phase for span in run.spans}
    assert sum(p.seconds for p in pieces) == pytest.approx(sum(t.seconds for t in totals(run)), rel=0.1)
    assert covered(run) <= run.seconds


@pytest.mark.parametrize(("start", "where"), [(0.9, "before the first phase"), (0.1, "outside of phases")])
def test_time_that_no_phase_took_is_told_first(start: float, where: str) -> None:
    span = Span(phase="read", seconds=0.1, cpu_seconds=0.0, start=start)

    told = time_went(replace(bare(), seconds=1.0, spans=(span,)))

    assert told == f"90 % of 1.00 s went by {where}; read takes 100 ms"
