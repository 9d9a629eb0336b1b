"""What a notebook gets reads well there, and is the frozen value everywhere else."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

import seedlab
from seedlab import flow, notebook
from seedlab.errors import ConfigurationError
from seedlab.flow import Outcomes, StageReport
from seedlab.insight.notebooks.objects import Comparison, Profile, Run
from seedlab.insight.notebooks.phase_frame import PHASES
from seedlab.insight.pages.page import run_page
from seedlab.insight.records import history
from tests.fix_academy import DATA, Academies
from tests.support.evidence import HEBREW, HOSTILE, bare, busy, comparison, profile, slow

LIGHT = """
import json, sys
{code}
print(json.dumps(sorted(sys.modules)))
"""


def loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT.format(code=code)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def run(academies: Academies) -> Run:
    return Run.of(academies.seeded("sqlite").run)


def test_the_contract_gives_objects_that_are_values(sqlite_url: str) -> None:
    project = seedlab.load_project(DATA)

    assert isinstance(seedlab.plan(project, sqlite_url), seedlab.Plan)
    run = seedlab.seed(project, sqlite_url)

    assert type(run) is seedlab.Run is Run
    assert isinstance(run, flow.Run)


def test_a_run_is_written_read_replaced_copied_and_pickled_as_ever(run: Run, tmp_path: Path) -> None:
    assert Run.of(history.read(history.write(run, tmp_path))) == run
    assert type(replace(run, seconds=1.0)) is Run
    assert copy.deepcopy(run) == run
    assert pickle.loads(pickle.dumps(run)) == run
    with pytest.raises((AttributeError, TypeError)):
        run.seconds = 2.0  # type: ignore[misc]


def test_a_run_says_in_a_few_lines_what_it_was(run: Run) -> None:
    first, second, third = repr(run).splitlines()

    assert first.startswith(f"{run.project}: {run.outcomes.created:,} created in ")
    assert run.run_id in second
    assert run.target in second
    assert "takes" in third


def test_the_phases_of_a_run_are_a_frame(run: Run) -> None:
    frame = run.phases

    assert frame.schema == PHASES
    assert frame["statements"].sum() == sum(span.statements for span in run.spans)
    assert frame["seconds"].sum() == pytest.approx(sum(span.seconds for span in run.spans))
    assert frame["wal_bytes"].null_count() == frame.height
    assert Run.of(bare()).phases.schema == PHASES


def test_wal_of_a_phase_is_there_where_it_was_asked() -> None:
    frame = Run.of(busy(1.0)).phases

    assert frame.filter(pl.col("phase") == "read")["wal_bytes"].item() == sum(2000 * n for n in range(6))


def test_faces_of_a_run_name_stages_phases_notes_and_advice(run: Run) -> None:
    told = Run.of(replace(slow(run), notes=("foreign keys stay on",)))
    for face in (told._repr_html_(), told._repr_markdown_()):
        assert all(stage.id in face for stage in run.stages)
        assert all(span.phase in face for span in run.spans)
        assert "foreign keys stay on" in face
        assert "use level bulk" in face
    assert told._repr_html_().count("<rect") == len(run.phases) + 1
    assert len(told._repr_html_()) < 20_000


@pytest.mark.parametrize("lanes", [1, 2])
def test_the_share_of_a_phase_is_the_same_in_the_headline_and_in_the_table(lanes: int) -> None:
    page = run_page(busy(10.0, lanes=lanes, count=14))
    name, _, rest = page.facts[-1].partition(" takes ")
    [share] = [row[2] for row in page.grids[-1].rows if row[0] == name]

    assert share == rest.partition(":")[0]


def test_a_failed_run_says_why() -> None:
    failed = Run.of(replace(bare(), status="failed", exit_code=1, error="no connection"))

    assert repr(failed).startswith("academy: failed, ")
    assert "no connection" in repr(failed)
    assert "no connection" in failed._repr_html_()


def test_names_from_outside_are_data() -> None:
    stage = StageReport(id=HOSTILE, status="run", reason=HOSTILE, seconds=1.0, outcomes=Outcomes(created=1))
    run = Run.of(replace(bare(HEBREW), stages=(stage,), notes=(HOSTILE,)))

    assert "<script" not in run._repr_html_() + run._repr_markdown_()
    assert f"<bdi>{HEBREW}" in run._repr_html_()
    assert "\x1b" not in repr(run) + run._repr_html_() + run._repr_markdown_()


def test_many_stages_are_cut_aloud() -> None:
    stages = tuple(
        StageReport(id=f"stage-{n:03}", status="run", reason="new", seconds=0.1) for n in range(100)
    )

    html = Run.of(replace(bare(), stages=stages))._repr_html_()

    assert "stage-039" in html
    assert "stage-040" not in html
    assert "and 60 more" in html


def test_a_plan_lists_tables_with_their_way(academies: Academies, sqlite_url: str) -> None:
    project = seedlab.load_project(DATA)
    plan = seedlab.plan(project, sqlite_url)
    seedlab.seed(project, sqlite_url)

    assert repr(seedlab.plan(project, sqlite_url)).startswith("plan of academy: nothing to do\n")
    assert repr(plan).startswith("plan of academy: 5,321 created in 7 stages")
    assert "question_parts" in plan._repr_html_()
    assert "after " in plan._repr_markdown_()


def test_a_comparison_tells_the_verdict_the_phases_and_the_counts() -> None:
    compared = Comparison.of(comparison())

    assert repr(compared).startswith(
        "faster: main 1.90 s → HEAD 798 ms, ÷2.4 [÷2.5, ÷2.2], 7 pairs; 1 count fewer"
    )
    for face in (compared._repr_html_(), compared._repr_markdown_()):
        assert "merge" in face
        assert "20,946" in face
        assert "-20,832" in face
    assert compared.plot.before_after().title.startswith("After is faster")
    assert compared.plot.pairs().title.startswith("After is faster")


def test_a_profile_tells_what_each_variant_bought() -> None:
    profiled = Profile.of(profile())

    assert repr(profiled).startswith("academy: With 5 ms for a round trip, legacy to incremental: ")
    assert profiled._repr_html_().count("<table") == 2
    assert "÷4.5 against legacy" in profiled._repr_markdown_()
    assert profiled.plot.steps().title in repr(profiled)


def test_a_profile_of_one_level_compares_it_with_its_own_variants_and_never_with_itself() -> None:
    whole = Profile.of(profile(delays=(0.0,)))
    kept = ("incremental", "incremental, again")
    one = replace(
        whole, variants=kept, attempts=tuple(each for each in whole.attempts if each.variant in kept)
    )
    found = notebook.before_after(one)

    assert (found.before, found.after) == kept
    assert found.total.ratio < 0.2
    with pytest.raises(ConfigurationError, match="the profile has only level bulk"):
        notebook.before_after(replace(whole, variants=("bulk",)))


@pytest.mark.slow
def test_every_chart_of_a_run_hangs_on_it(run: Run) -> None:
    plot = run.plot
    drawn = [
        plot.waterfall(),
        plot.operations(),
        plot.operations(run),
        plot.memory(),
        plot.waits(),
        plot.pareto(),
    ]

    assert all("<figure" in chart._repr_html_() for chart in drawn)


def test_two_runs_are_compared(academies: Academies) -> None:
    later, earlier = (Run.of(academies.seeded("sqlite", level).run) for level in ("incremental", "legacy"))
    compared = later.vs(earlier)

    assert isinstance(compared, Comparison)
    assert compared.before == f"legacy {earlier.run_id}"
    assert compared.after == f"incremental {later.run_id}"
    assert {"statements"} <= {each.name for each in compared.counts}
    assert compared._repr_html_()
    assert compared.plot.before_after().svg()


def test_a_history_tells_each_series_and_draws_the_newest(tmp_path: Path, run: Run) -> None:
    for seconds in (1.0, 1.1, 0.9):
        history.write(replace(run, run_id=f"{seconds * 10:08.0f}", seconds=seconds), tmp_path)
    past = seedlab.history(tmp_path)

    assert repr(past).startswith("3 runs on record, the last at ")
    assert "academy/incremental/cold" in past._repr_markdown_()
    assert "<svg" in past._repr_html_()
    assert "3 runs" in past.plot.trend().alt
    assert "No run" in seedlab.history(tmp_path / "none").plot.trend().title
    assert repr(seedlab.history(tmp_path / "none")) == "0 runs on record"


def test_objects_load_nothing_heavy_until_they_are_asked() -> None:
    found = loaded(
        "from seedlab import Run, Plan; from tests.support.evidence import bare; Run.of(bare())._repr_html_()"
    )

    assert found & {"polars", "matplotlib", "numpy", "IPython", "hypothesis"} <= {"hypothesis"}


def test_a_seed_loads_no_charts(tmp_path: Path) -> None:
    found = loaded(
        f"import seedlab; p = seedlab.load_project({str(DATA)!r});"
        f" repr(seedlab.seed(p, 'sqlite:///{tmp_path}/a.db'))"
    )

    assert found & {"matplotlib", "IPython"} == set()


def test_without_matplotlib_a_chart_says_what_to_install() -> None:
    code = (
        "import sys, importlib.util; sys.modules['matplotlib'] = None;"
        "from tests.support.evidence import bare; from seedlab import Run, SeedError\n"
        "try: Run.of(bare()).plot.waterfall()\n"
        "except SeedError as error: assert 'seedlab[notebook]' in str(error), error\n"
        "else: raise AssertionError"
    )
    loaded(code)
