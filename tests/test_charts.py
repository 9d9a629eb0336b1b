"""Charts say what they show, in numbers; nothing is cut off; the same values give the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import matplotlib as mpl
import pytest
from hypothesis import HealthCheck, given, settings
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.font_manager import FontProperties, get_font
from matplotlib.text import Text
from matplotlib.textpath import text_to_path
from matplotlib.transforms import Bbox

from seedlab.flow import Counters, Run
from seedlab.flow.evidence import Attempt, Profile, Sample, Wait
from seedlab.insight import charts
from seedlab.insight.charts import Chart
from seedlab.insight.charts.style import drawing
from seedlab.insight.formatting.palette import PHASE_COLOURS, PHASE_HATCHES, WAIT_COLOURS, WAIT_HATCHES
from seedlab.insight.judging.trend import Trend, trends
from tests.fix_academy import Academies
from tests.support.evidence import HEBREW, HOSTILE, LONG, bare, busy, changed, comparison, profile, runs, slow
from tests.support.histories import past_of

OF_A_RUN = {
    "waterfall": charts.waterfall,
    "memory": charts.memory,
    "waits": charts.waits,
    "operations": charts.operations,
    "pareto": charts.pareto,
}
POINTS = [(n, 0.3 + 2e-5 * n) for n in (1_000, 10_000, 100_000, 1_000_000)]
SIZES = {
    "usual": busy(1.9),
    "tiny": busy(0.0005, lanes=1, count=7),
    "huge": busy(500, lanes=12, count=600),
    "hebrew": busy(2, called=(HEBREW, LONG * 3)),
    "hostile": busy(2, lanes=1, called=(HOSTILE, "a|b\nc")),
}


def every_chart(run: Run) -> dict[str, Chart]:
    whole = run.seconds
    made = {name: make(slow(run)) for name, make in OF_A_RUN.items()}
    return {
        **made,
        "two": charts.operations(run, replace(run, spans=run.spans[::2])),
        "before_after": charts.before_after(comparison(whole, run.project, HEBREW)),
        "pairs": charts.pairs(comparison(whole, run.project, "HEAD")),
        "steps": charts.steps(replace(profile(whole), project=run.project)),
        "trend": charts.trend(past(whole, run.project)),
        "scaling": charts.scaling([(n, t * whole) for n, t in POINTS], context=run.project),
    }


def past(whole: float = 1.0, project: str = "academy") -> Trend:
    noise = (1, 1.1, 0.9, 1.02, 0.98, 1.05, 2.5, 1, 0.4, 50, 1, 1)
    made = [past_of(n, whole * each, project=project) for n, each in enumerate(noise)]
    made[-2] = past_of(10, whole, project=project, kind=None, status="failed", error="no connection")
    return trends(made)[-1]


def texts(chart: Chart) -> list[Text]:
    return [text for text in chart.findobj(Text) if text.get_visible() and text.get_text().strip()]


def said(chart: Chart) -> str:
    return "\n".join(text.get_text() for text in texts(chart))


# ---- laws of all charts ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_cut_off_and_the_title_is_free(size: str) -> None:
    for name, chart in every_chart(SIZES[size]).items():
        with drawing():
            chart.draw_without_rendering()
            unseen = {label for axes in chart.axes for label in beyond(axes)}
            cut = [t.get_text() for t in texts(chart) if t not in unseen and is_cut(chart, t)]
            title = next(text for text in texts(chart) if text.get_text() == chart.get_suptitle())
            others = [legend for axes in chart.axes if (legend := axes.get_legend())]
            over = [each for each in (*others, *chart.axes) if box_of(each).overlaps(box_of(title))]

        assert (name, cut, over) == (name, [], [])


def box_of(artist: Artist) -> Bbox:
    return artist.bbox if isinstance(artist, Axes) else artist.get_window_extent()


def is_cut(chart: Chart, text: Text) -> bool:
    frame, box = chart.bbox.padded(1), box_of(text)
    return not (frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1))


def beyond(axes: Axes) -> set[Text]:
    """Labels of ticks outside the limits, which exist and are not drawn."""
    (left, right), (low, high) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
    xs = {label for label in axes.get_xticklabels() if not left <= label.get_position()[0] <= right}
    return xs | {label for label in axes.get_yticklabels() if not low <= label.get_position()[1] <= high}


@pytest.mark.slow
@pytest.mark.parametrize("size", ["usual", "tiny", "huge"])
def test_every_chart_says_what_it_found_in_numbers_and_in_words(size: str) -> None:
    for name, chart in every_chart(SIZES[size]).items():
        assert any(each.isdigit() for each in chart.title), name
        assert chart.alt.startswith(chart.title), name
        assert len(chart.alt) > len(chart.title) + 20, name
        assert chart.alt in str(chart)
        assert " ".join(chart.get_suptitle().split()) == " ".join(chart.title.split())


@pytest.mark.slow
def test_the_same_values_give_the_same_bytes_whatever_style_the_user_likes() -> None:
    first = {name: chart.svg() for name, chart in every_chart(SIZES["usual"]).items()}
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "black", "svg.hashsalt": "x", "figure.dpi": 50}):
        again = every_chart(SIZES["usual"])
        image = again["waterfall"].png()  # and whatever was drawn before
        svgs = {name: chart.svg() for name, chart in again.items()}

    assert [name for name in first if first[name] != svgs[name]] == []
    assert image == charts.waterfall(slow(SIZES["usual"])).png()
    assert max(map(len, svgs.values())) < 200_000


@pytest.mark.slow
def test_a_chart_carries_its_words() -> None:
    chart = charts.waterfall(SIZES["huge"])

    assert f"<title>{chart.alt}</title>" in chart.svg()
    assert chart.alt.encode() in chart.png()
    assert len(chart.svg()) < 200_000


@pytest.mark.slow
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(run=runs)
def test_no_run_record_breaks_a_chart(run: Run) -> None:
    for make in OF_A_RUN.values():
        assert make(run).alt


def test_a_chart_in_a_page_is_an_image_with_words_and_nothing_else() -> None:
    html = charts.waterfall(SIZES["hostile"])._repr_html_()

    assert html.startswith("<figure")
    assert html.count("<") == 3
    assert "src='data:image/svg+xml,%3C?xml" in html
    assert 'alt="' in html
    assert "script" not in html[-2000:]


@pytest.mark.slow
def test_pyplot_and_what_hangs_on_it_is_not_imported() -> None:
    code = """
import sys, json
from tests.test_charts import every_chart, SIZES
for chart in every_chart(SIZES["tiny"]).values():
    chart.svg(), chart.png(), chart._repr_html_()
print(json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert "matplotlib.pyplot" not in json.loads(done.stdout)


@pytest.mark.slow
def test_a_user_writes_a_chart_as_any_figure(tmp_path) -> None:
    chart = charts.waterfall(SIZES["usual"])
    for suffix in ("svg", "png", "pdf"):
        chart.savefig(tmp_path / f"chart.{suffix}")

    assert (tmp_path / "chart.svg").read_text() == chart.svg()
    assert (tmp_path / "chart.png").read_bytes() == chart.png()


# ---- too little -----------------------------------------------------------------------------------------

SPAN = busy(1).spans[0]


def asked_once() -> Run:
    """Make a run that found nothing to do, so that it asked the database and had no phase."""
    return replace(bare(), counters=Counters(statements=7, round_trips=2))


@pytest.mark.parametrize(
    ("make", "run", "words"),
    [
        (charts.waterfall, bare(), "No phase was measured"),
        (charts.waterfall, replace(bare(), status="refused"), "refused"),
        (charts.memory, bare(), "Memory was not measured"),
        (charts.waits, bare(), "The server was not sampled"),
        (charts.operations, bare(), "No phase has a statement"),
        (charts.operations, asked_once(), "Outside of phases: 7 statements in 2 round trips."),
        (charts.pareto, bare(), "No bottleneck was found"),
        (charts.waits, replace(bare(), samples=(Sample(at=1.0, rss_bytes=5),)), "The server was not sampled"),
        (charts.waterfall, replace(bare(), spans=(replace(SPAN, seconds=0.0, start=0.0),)), "No phase"),
    ],
)
def test_too_little_gives_a_figure_that_says_so(make: Callable[[Run], Chart], run: Run, words: str) -> None:
    chart = make(run)

    assert words in chart.alt
    assert words.split(maxsplit=1)[0] in said(chart)
    assert chart.svg()


def test_a_comparison_a_profile_or_sizes_without_anything_say_so() -> None:
    zero = replace(comparison(), total=changed("total", 0, 1.0, "same"), phases=(), pairs=((0.0, 0.0),))
    empty = Profile(
        profile_id="x", project="p", started="2026-11-26T20:32:52+00:00", args=(), variants=(), attempts=()
    )

    assert "Nothing took any time" in charts.before_after(zero).alt
    assert "no pair to compare" in charts.pairs(zero).alt
    assert "Nothing was profiled" in charts.steps(empty).alt
    assert "Nothing to scale" in charts.scaling([]).alt
    assert "Too few sizes" in charts.scaling(POINTS[:2]).title


def test_an_interval_without_an_end_is_drawn_as_none() -> None:
    total = replace(changed("total", 1.9, 0.5, "unclear"), low=0.0, high=float("inf"))
    one = replace(comparison(), total=total, pairs=((1.9, 0.95),))

    assert charts.pairs(one).svg()
    assert charts.before_after(one).svg()
    assert charts.before_after(one).title.startswith("Too few pairs for a verdict")


# ---- each by itself -------------------------------------------------------------------------------------


def test_a_phase_and_a_wait_have_one_colour_and_no_two_share_one() -> None:
    assert len(set(PHASE_COLOURS.values())) == len(PHASE_COLOURS) == len(PHASE_HATCHES)
    assert len(set(WAIT_COLOURS.values())) == len(WAIT_COLOURS) == len(WAIT_HATCHES)
    for chart in (
        charts.waterfall(SIZES["usual"]),
        charts.operations(SIZES["usual"]),
        charts.steps(profile()),
    ):
        drawn = {patch.get_facecolor() for axes in chart.axes for patch in axes.patches}
        drawn |= {tuple(c.get_facecolor()[0]) for axes in chart.axes for c in axes.collections}

        assert to_rgba(PHASE_COLOURS["merge"]) in drawn


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_the_waterfall_of_a_real_run_names_its_phases_and_what_lies_outside(
    academies: Academies, dialect: str
) -> None:
    run = academies.seeded(dialect).run
    chart = charts.waterfall(run)

    for phase in {span.phase for span in run.spans}:
        assert f"{phase} " in said(chart)
    assert "outside of phases" in said(chart)
    assert run.run_id in said(chart)


def test_a_long_phase_is_named_in_its_bar_and_its_share_in_the_title() -> None:
    span = replace(SPAN, phase="merge", table="questions", start=0.1, seconds=1.2)
    run = replace(bare(), seconds=1.9, spans=(span, replace(span, phase="commit", start=1.3, seconds=0.5)))
    chart = charts.waterfall(run)

    assert chart.title == "merge takes 63 %: 1.20 s of 1.90 s"
    assert "merge questions" in said(chart)


def test_work_of_several_threads_is_told_from_time() -> None:
    spans = tuple(replace(SPAN, phase="merge", lane=lane, start=0.0, seconds=1.0) for lane in range(3))

    title = charts.waterfall(replace(bare(), seconds=1.0, spans=spans)).title

    assert title == "merge takes 100 %: 3.00 s of 3.00 s of work, done in 1.00 s by 3 threads"


def test_memory_is_sampled_where_it_was_and_else_what_spans_saw() -> None:
    run = SIZES["usual"]

    assert "memory of the process, 30 samples" in charts.memory(run).alt
    assert "peak memory of the process until then" in charts.memory(replace(run, samples=())).alt


def test_the_peak_of_memory_is_that_of_the_table_of_phases_and_not_of_the_samples() -> None:
    run = replace(SIZES["usual"], peak_rss_bytes=0)  # samples end at 120 MB, the last span had 139 MB
    alone = replace(run, spans=run.spans[:1])

    assert charts.memory(run).title == "Memory peaks at 139 MB in commit"
    assert "peak 139 MB" in said(charts.memory(run))
    assert charts.memory(alone).title == "Memory peaks at 120 MB"


def test_waits_say_most_of_what_and_stack_no_higher_than_the_processes() -> None:
    chart = charts.waits(SIZES["usual"])
    [axes] = chart.axes

    assert chart.title.startswith("The server computes ")
    assert axes.get_ylim() == (0, 3.5)
    assert "Client (ClientRead)" in said(chart)


def test_waits_of_very_many_types_leave_room_for_the_areas() -> None:
    kinds = [*WAIT_COLOURS, HOSTILE, HEBREW, LONG, *(f"type {n}" for n in range(9))]
    looks = (Sample(at=n, rss_bytes=1, waits=(Wait(pid=1, what=what),)) for n, what in enumerate(kinds))
    chart = charts.waits(replace(bare(LONG), seconds=30.0, samples=tuple(looks)))

    (axes,) = chart.axes
    assert axes.get_position().height * chart.get_figheight() > 1.0
    assert axes.get_position().width > 0.8


def test_waits_are_told_by_type_and_from_the_first_sample_of_the_server_on() -> None:
    events = ("IO/WALSync", "IO/DataFileRead", "IO/WALWrite", "CPU", "CPU")
    looks = tuple(
        Sample(at=0.5 + n, rss_bytes=1, waits=(Wait(pid=1, what=what),)) for n, what in enumerate(events)
    )
    chart = charts.waits(replace(bare(), seconds=6.0, samples=(Sample(at=0.1, rss_bytes=1), *looks)))

    assert chart.title == "The server waits for IO (DataFileRead, WALSync, …) 60 % of the time"
    assert "5 samples of the server from 500 ms on" in said(chart)
    assert chart.axes[0].dataLim.x0 == 0.5


@pytest.mark.slow
def test_a_long_run_with_thousands_of_looks_is_drawn_as_small_as_a_short_one() -> None:
    run = SIZES["usual"]
    looks = tuple(replace(run.samples[n % 30], at=n / 20) for n in range(12_000))
    long = replace(run, seconds=600.0, samples=looks)

    assert len(charts.waits(long).svg()) < 250_000
    assert len(charts.memory(long).svg()) < 100_000
    assert charts.waits(long).title == charts.waits(run).title
    assert "12,000 samples" in said(charts.waits(long))


def test_what_was_asked_outside_of_phases_has_a_row_so_that_the_bars_add_up() -> None:
    counters = Counters(statements=9, round_trips=5, bytes_sent=3000)
    span = replace(SPAN, phase="merge", statements=7, round_trips=3, bytes_sent=1000)
    run = replace(bare(), seconds=1.0, counters=counters, spans=(span,))
    everything = replace(run, counters=Counters(statements=7, round_trips=3, bytes_sent=1000))

    assert "outside: 2 statements, 2 round trips, 2.0 kB sent" in charts.operations(run).alt
    assert "outside" not in charts.operations(everything).alt


def test_wal_that_one_of_two_runs_did_not_measure_is_not_drawn_as_none() -> None:
    span = replace(SPAN, phase="merge", statements=7, round_trips=3, wal_bytes=5000)
    known = replace(bare(), seconds=1.0, spans=(span,))
    unknown = replace(known, spans=(replace(span, wal_bytes=None),))

    assert "not measured" in said(charts.operations(known, unknown))


def test_operations_of_two_runs_stand_beside_each_other(academies: Academies) -> None:
    bulk, copied = (academies.seeded("postgresql", level).run for level in ("bulk", "incremental"))
    chart = charts.operations(bulk, copied)

    assert [axes.get_title(loc="left") for axes in chart.axes] == ["statements", "round trips", "sent", "WAL"]
    assert f"{bulk.counters.statements:,} statements" in chart.title
    assert f" → {copied.counters.statements:,} statements" in chart.title
    assert f"{sum(s.statements for s in bulk.spans if s.phase == 'merge'):,}" in said(chart)


def test_a_comparison_shows_every_sample_and_every_interval() -> None:
    compared = comparison()
    chart = charts.before_after(compared)
    xs = [float(x) for line in chart.axes[0].get_lines() for x in line.get_xdata()]

    for pair in compared.pairs:
        assert pair[0] in xs
        assert pair[1] in xs
    assert "÷2.4 [÷2.5, ÷2.2] faster" in said(chart)
    assert [label.get_text() for label in chart.axes[0].get_yticklabels()] == ["total", "merge", "read"]


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [1, 2, 7])
def test_pairs_are_counted_in_whole_numbers(pairs: int) -> None:
    compared = comparison()
    chart = charts.pairs(replace(compared, pairs=compared.pairs[:pairs]))

    low, high = chart.axes[0].get_xlim()
    shown = [tick for tick in chart.axes[0].get_xticks() if low <= tick <= high]
    assert shown == list(range(1, pairs + 1))


def ratios(*found: float) -> list[str]:
    """The labels on the axis of ratios of pairs that took these times as long after as before."""
    made = replace(comparison(), pairs=tuple((1.0, each) for each in found))
    made = replace(made, total=replace(made.total, ratio=found[0], low=min(found), high=max(found)))
    return [label.get_text() for label in charts.pairs(made).axes[0].get_yticklabels()]


@pytest.mark.parametrize(
    ("found", "labels"),
    [
        ((0.9, 1.02), ["-10 %", "-5 %", "same"]),
        ((0.5, 0.66), ["÷2", "÷1.5", "÷1.2", "same"]),
        ((0.02, 0.04), ["÷50", "÷20", "÷10", "÷5", "÷2", "same"]),
        ((1.0, 5e-5), ["÷10,000", "÷1,000", "÷100", "÷10", "same"]),
    ],
)
def test_the_axis_of_ratios_has_few_round_labels_of_one_kind_and_always_that_of_no_change(
    found: tuple[float, ...], labels: list[str]
) -> None:
    assert ratios(*found) == labels


def test_marks_near_zero_do_not_lie_on_the_names_of_phases() -> None:
    chart = charts.before_after(comparison())
    [axes] = chart.axes
    names = [label.get_window_extent() for label in axes.get_yticklabels()]
    zero = axes.transData.transform((0, 0))[0]

    assert max(name.x1 for name in names) <= zero - 8 * chart.dpi / 72 / 2 - 1


def test_an_axis_of_time_has_round_steps_of_one_unit() -> None:
    def labels(seconds: float) -> list[str]:
        [axes] = charts.waterfall(busy(seconds)).axes
        return [label.get_text() for label in axes.get_xticklabels()][:4]

    assert labels(5) == ["0", "1 s", "2 s", "3 s"]
    assert labels(240) == ["0", "0.5 min", "1 min", "1.5 min"]


def test_steps_say_what_each_variant_bought_against_which() -> None:
    text = said(charts.steps(profile(delays=(0.0,))))

    assert "÷4.5 against legacy, 5.48 s less than the level before" in text
    assert "+50.0 % against incremental" in text  # without copy
    assert charts.steps(profile()).title.startswith("With 5 ms for a round trip, legacy to incremental: ")


def test_a_level_that_no_measurement_tells_from_the_one_before_it_says_so() -> None:
    def attempts(variant: str, *seconds: float) -> tuple[Attempt, ...]:
        return tuple(
            Attempt(variant=variant, round_trip_ms=0.0, pair=pair, run=replace(bare(), seconds=each))
            for pair, each in enumerate(seconds, 1)
        )

    made = (*attempts("bulk", *[2.0] * 7), *attempts("copy", *[1.9, 2.1] * 3, 1.99))
    measured = replace(profile(), variants=("bulk", "copy"), attempts=made)

    assert "no clear difference from the level before" in said(charts.steps(measured))


@pytest.mark.parametrize("slowest", ["legacy", "incremental"])
def test_bars_keep_a_third_of_the_width_whatever_is_written_beside_them(slowest: str) -> None:
    usual = profile(delays=(0.0,))
    attempts = [
        replace(each, run=replace(each.run, seconds=500 + each.pair)) if each.variant == slowest else each
        for each in usual.attempts
    ]
    axes = charts.steps(replace(usual, attempts=tuple(attempts))).axes[0]

    assert max(bar.get_x() + bar.get_width() for bar in axes.patches) > 0.3 * axes.get_xlim()[1]


def test_no_level_is_said_to_have_gained_most_where_the_last_is_slower_than_the_first() -> None:
    usual = profile(delays=(0.0,))
    kept = ("incremental", "bulk", "legacy")
    attempts = tuple(each for each in usual.attempts if each.variant in kept)
    title = charts.steps(replace(usual, variants=kept, attempts=attempts)).title

    assert title.startswith("incremental to legacy: ")
    assert "most by" not in title


def test_a_variant_that_dwarfs_the_others_is_cut_and_says_how_long_it_was() -> None:
    usual = profile(delays=(5.0,))
    attempts = [
        replace(each, run=replace(each.run, seconds=each.run.seconds * 10))
        if each.variant == "legacy"
        else each
        for each in usual.attempts
    ]
    longest = max(each.run.seconds for each in attempts)
    axes = charts.steps(replace(usual, attempts=tuple(attempts))).figure.axes[0]
    ends = {bar.get_x() + bar.get_width() for bar in axes.patches}

    assert max(ends) < longest / 4
    told = next(text.get_text() for text in axes.texts if "min" in text.get_text())
    assert told.endswith("longer than drawn")


def test_scaling_states_the_exponent_and_its_interval() -> None:
    assert "rows^1.00 [" in charts.scaling(POINTS).title
    assert charts.scaling([(n, 1e-6 * n**2) for n, _ in POINTS]).title.startswith(
        "Time grows faster than rows"
    )


def test_pareto_adds_up_and_gives_the_evidence() -> None:
    chart = charts.pareto(slow(SIZES["usual"]))

    assert chart.title.startswith("64 % of the time goes to round trips: ")
    assert "84 %" in said(chart)
    assert "20,832 round trips of 0.34 ms each" in said(chart)
    assert "seedlab seed" in chart.alt


def test_a_trend_marks_what_is_unusual_and_cuts_what_would_flatten_it() -> None:
    chart = charts.trend(past())
    [axes] = chart.axes

    assert chart.title.startswith("academy/incremental/cold: 1.00 s, as usual (")
    assert axes.get_ylim()[1] < 10
    assert [text.get_text() for text in axes.texts] == ["50.00 s"]
    assert "run 00000006 of 2026-03-01 14:00:00 took 2.50 s: slower than usual" in chart.alt
    assert {line.get_marker() for line in axes.get_lines()} >= {"o", "^", "v", "x"}
    assert charts.trend(trends([past_of()])[-1]).title.endswith("1.00 s, too few runs (the first one)")
    assert "No run is on record" in charts.trend(None).alt


def test_the_band_of_noise_begins_where_runs_are_judged_by_it() -> None:
    made = trends([past_of(n, 1 + n / 100) for n in range(8)])[-1]
    [axes] = charts.trend(made).axes
    [band] = axes.collections

    assert band.get_datalim(axes.transData).x0 == 5


def test_hours_are_not_told_in_kiloseconds() -> None:
    chart = charts.scaling([(n, 10.0 * n) for n in (10, 100, 1000, 10_000)])

    chart.draw_without_rendering()
    assert "1,000 s" in [label.get_text() for label in chart.axes[0].get_yticklabels()]


def test_hebrew_runs_from_right_to_left() -> None:
    properties = FontProperties(family="DejaVu Sans")
    font = get_font(mpl.font_manager.findfont(properties))
    # The first letter, shin, is the wider one; drawn from the right it starts beyond the mem.
    vertices, _ = text_to_path.get_text_path(properties, "שם")
    shin, _ = text_to_path.get_text_path(properties, "ש")
    mem, _ = text_to_path.get_text_path(properties, "ם")
    width = max(x for x, _ in shin) - min(x for x, _ in shin)
    rightmost = max(x for x, _ in vertices)

    assert len(vertices) == len(shin) + len(mem)
    assert width == pytest.approx(rightmost - min(x for x, _ in vertices if x > rightmost - width - 1), abs=2)
    assert font.family_name == "DejaVu Sans"
