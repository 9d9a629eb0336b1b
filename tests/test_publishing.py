"""What a report keeps beside its notebook: summaries that fit a comment, figures that stand alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from seedlab.flow import Run
from seedlab.flow.evidence import Attempt, Profile
from seedlab.insight.judging.compare import compare
from seedlab.insight.notebooks.publishing import COMMENT_BYTES, publish
from seedlab.insight.notebooks.run_history import read_history
from seedlab.insight.notebooks.runner import shortened
from seedlab.insight.records import files, history
from seedlab.plan import scaffold
from tests.support.seeding import seed


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("library")
    scaffold.write(root / "library", scaffold.files("library"))
    return seed(root / "library", f"sqlite:///{root / 'test.db'}")


def profile_of(run: Run) -> Profile:
    attempts = tuple(
        Attempt(variant=level, round_trip_ms=0.0, pair=pair, run=replace(run, level=level))
        for pair in (1, 2)
        for level in ("bulk", "incremental")
    )
    return Profile(
        profile_id="1a2b", project="library", started=run.started, args=(), variants=("bulk", "incremental"),
        attempts=attempts,
    )  # fmt: skip


def published(value: object, folder: Path) -> tuple[str, dict[str, object], set[str]]:
    publish(value, folder)
    figures = list((folder / "figures").iterdir())
    for figure in figures:
        assert ET.parse(figure).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    text = (folder / "summary.md").read_text("utf-8")
    assert len(text.encode()) <= COMMENT_BYTES
    return text, json.loads((folder / "summary.json").read_text("utf-8")), {each.stem for each in figures}


@pytest.mark.slow
def test_of_a_run_all_but_the_raw_measurements(run: Run, tmp_path: Path) -> None:
    text, record, figures = published(run, tmp_path)

    assert text.startswith("**library: 8 created in ")
    assert record == {
        name: value
        for name, value in json.loads(files.to_json(history.to_record(run))).items()
        if name not in ("spans", "samples")
    }
    assert figures == {"waterfall", "pareto", "operations", "memory", "waits"}


def test_of_a_comparison_what_compare_prints_as_json(run: Run, tmp_path: Path) -> None:
    compared = compare([run], [replace(run, level="copy")], names=("a", "b"), threshold=0.05)

    text, record, figures = published(compared, tmp_path)

    assert "`a`" in text
    assert {"verdict", "ratio", "interval", "phases", "counts"} <= record.keys()
    assert figures == {"before_after", "pairs"}


def test_of_a_profile_what_each_variant_took(run: Run, tmp_path: Path) -> None:
    text, record, figures = published(profile_of(run), tmp_path)

    assert "| bulk |" in text
    assert [each["variant"] for each in record["variants"]] == ["bulk", "incremental"]
    assert figures == {"steps"}


def test_of_a_history_a_line_and_a_figure_for_each_series(run: Run, tmp_path: Path) -> None:
    for number in range(7):
        seconds = 10.0 if number == 6 else 1.0 + number / 100
        made = replace(
            run, run_id=f"{number:08x}", seconds=seconds, started=f"2026-01-0{number + 1}T00:00:00+00:00"
        )
        history.write(made, tmp_path / "reports")
    (tmp_path / "out").mkdir()

    text, record, figures = published(read_history(tmp_path / "reports"), tmp_path / "out")

    assert "- ❌ `library/incremental/cold, sqlite, development`: 10.00 s, slower than usual" in text
    assert len(record["runs"]) == 7
    assert figures == {"trend-1"}


def test_the_error_of_a_run_is_no_markup_in_the_summary_of_its_series(run: Run, tmp_path: Path) -> None:
    failed = replace(run, status="failed", exit_code=1, error="no <img src=x> in |a*b*|")
    history.write(failed, tmp_path / "reports")
    (tmp_path / "out").mkdir()

    text, _, _ = published(read_history(tmp_path / "reports"), tmp_path / "out")

    assert "failed: no &lt;img src=x&gt; in \\|a\\*b\\*\\|" in text


def test_of_nothing_on_record_it_says_so(tmp_path: Path) -> None:
    assert published(read_history(tmp_path), tmp_path)[0] == "No run is on record.\n"


def test_anything_else_is_a_fault_of_the_notebook(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="nothing is published of int"):
        publish(7, tmp_path)


def test_a_text_is_cut_at_a_line_and_only_if_it_must_be() -> None:
    text = "שורה\n" * 100

    assert shortened(text, 900) == text
    cut = shortened(text, 899)
    assert len(cut.encode()) <= 899
    assert set(cut.splitlines()[:-2]) == {"שורה"}
