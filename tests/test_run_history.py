"""A history is asked for what one wants to know: some of its runs, one of them, all of them as a frame."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import seedlab
from seedlab.errors import ConfigurationError
from seedlab.insight.notebooks.history_frame import RUNS
from seedlab.insight.notebooks.run_history import History
from tests.support.histories import failed_of, past_of, run_of, written


def history_of(*runs: Any) -> History:
    return History(folders=(Path("reports"),), runs=runs)


MIXED = history_of(
    past_of(1, run_id="aa11"),
    past_of(2, run_id="aa22", project="shop", target="sqlite:///a.db"),
    failed_of(3, run_id="bb33", level="copy", environment="test"),
)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["aa11", "aa22", "bb33"]),
        ({"project": "shop"}, ["aa22"]),
        ({"target": "sqlite"}, ["aa22"]),
        ({"target": "postgresql://me@localhost/academy"}, ["aa11", "bb33"]),
        ({"level": "copy"}, ["bb33"]),
        ({"environment": "development"}, ["aa11", "aa22"]),
        ({"status": "failed"}, ["bb33"]),
        ({"project": "academy", "status": "succeeded"}, ["aa11"]),
        ({"project": "nobody"}, []),
    ],
)
def test_runs_are_selected_by_what_they_were(asked: dict[str, str], found: list[str]) -> None:
    assert [run.run_id for run in MIXED.select(**asked).runs] == found


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("aa11", "aa11"),
        ("b", "bb33"),
        ("aa2", "aa22"),
        ("20261127T083132Z-aa22", "aa22"),
        ("last", "bb33"),
    ],
)
def test_a_run_is_found_by_the_beginning_of_its_id_or_as_the_last(name: str, found: str) -> None:
    assert MIXED.find(name).run_id == found


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("aa", "2 runs begin with 'aa': aa11, aa22; name one of them"),
        ("cc", "no run 'cc' is on record below reports; the last one there is bb33; see seedlab history"),
        ("", "no run '' is on record"),
    ],
)
def test_a_run_that_is_not_there_and_one_of_several_are_refused(name: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MIXED.find(name)

    assert told in str(caught.value)


def test_the_last_of_no_runs_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no run 'last' is on record below reports; see"):
        history_of().find("last")


def test_the_frame_has_a_row_for_each_run() -> None:
    frame = MIXED.frame

    assert frame.schema == RUNS
    assert frame["run_id"].to_list() == ["aa11", "aa22", "bb33"]
    assert frame["started"][0] == datetime(2026, 3, 1, 9, tzinfo=UTC)
    assert frame["judgement"].to_list() == ["too few runs", "too few runs", "not finished"]
    assert history_of().frame.equals(pl.DataFrame(schema=RUNS))


def test_the_contract_gives_the_history_of_a_folder(tmp_path: Path) -> None:
    found = seedlab.history(written(tmp_path, run_of(1), run_of(2)))

    assert [run.run_id for run in found.runs] == ["00000001", "00000002"]
    assert "2 runs below" in str(found)
    assert found._repr_html_().startswith('<div class="seedlab">')
