"""Every record below a folder is read, in the order of time; what cannot be read is told, and stops nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedlab.flow import Outcomes, Settings
from seedlab.insight.formatting.history_text import history_text
from seedlab.insight.notebooks.run_history import read_history
from seedlab.insight.records import files, history
from seedlab.insight.records.past import read_past
from seedlab.insight.records.runs import settings_record
from tests.support.histories import run_of, written

SNAPSHOTS = Path(__file__).parent / "snapshots"


def test_runs_come_in_the_order_of_time_whatever_their_folders_are_called(tmp_path: Path) -> None:
    for name, number in (("a", 3), ("b", 1), ("c/deeper", 2)):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        record = history.to_record(run_of(number))
        (folder / "run.json").write_text(files.to_json(record), "utf-8")

    runs, unread = read_past(tmp_path)

    assert [run.run_id for run in runs] == ["00000001", "00000002", "00000003"]
    assert unread == ()


def test_a_head_says_what_the_whole_record_says(tmp_path: Path) -> None:
    run = run_of(7, seconds=2.5)

    (past,), _ = read_past(written(tmp_path, run))

    assert past.read() == history.read(past.path)
    assert (past.run_id, past.seconds, past.outcomes) == (run.run_id, 2.5, run.outcomes)
    assert (past.statements, past.machine) == (0, "AMD EPYC, 2 cores, 25 GB, Linux x86_64")
    assert past.phases == {phase["name"]: phase["seconds"] for phase in history.phases_record(run.spans)}


@pytest.mark.parametrize("indent", [None, 1, 2, 4])
def test_a_record_that_another_program_spelled_is_read(tmp_path: Path, indent: int | None) -> None:
    path = history.write(run_of(1), tmp_path)
    (before,), _ = read_past(tmp_path)

    path.write_text(json.dumps(json.loads(path.read_bytes()), indent=indent), "utf-8")

    assert read_past(tmp_path) == ((before,), ())


def test_a_record_of_the_first_version_is_among_them(tmp_path: Path) -> None:
    written(tmp_path, run_of(1))
    old = tmp_path / "runs" / "old"
    old.mkdir()
    (old / "run.json").write_bytes((SNAPSHOTS / "run-record-1.json").read_bytes())

    runs, unread = read_past(tmp_path)

    assert [(run.run_id, run.kind) for run in runs] == [("00000001", "cold"), ("e96b382c", "again")]
    assert unread == ()


def test_files_that_cannot_be_read_are_told_with_path_and_reason(tmp_path: Path) -> None:
    written(tmp_path, run_of(1))
    whole = files.to_json(history.to_record(run_of(2)))
    texts = {
        "cut": whole[: len(whole) // 2],
        "newer": '{"schema_version": 99}',
        "none": "[]",
        "bytes": "\udcff",
    }
    for name, text in texts.items():
        folder = tmp_path / "runs" / name
        folder.mkdir()
        (folder / "run.json").write_bytes(text.encode("utf-8", "surrogateescape"))

    found = read_history(tmp_path)

    assert [run.run_id for run in found.runs] == ["00000001"]
    assert {note.path.parent.name: note.why.split(":")[0] for note in found.notes} == {
        "bytes": "cannot read the run record",
        "cut": "cannot read the run record",
        "newer": "the run record has schema version 99, this seedlab reads up to 2; upgrade seedlab to read it",
        "none": "not a run record",
    }
    assert all(str(note.path) in history_text(found) for note in found.notes)


def test_several_folders_are_read_and_a_run_in_two_of_them_counts_once(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    written(here, run_of(1), run_of(2))
    written(there, run_of(2), run_of(3))

    assert [run.run_id[-1] for run in read_past(here, there)[0]] == ["1", "2", "3"]
    assert read_past(there / "runs")[0] == read_past(there)[0]


def test_a_folder_that_is_not_there_has_no_runs(tmp_path: Path) -> None:
    assert read_past(tmp_path / "nowhere") == ((), ())


@pytest.mark.parametrize(
    ("args", "outcomes", "kind"),
    [
        (["seed"], Outcomes(created=3), "cold"),
        (["seed"], Outcomes(unchanged=3), "compared"),
        (["seed"], Outcomes(created=1, unchanged=2), "changed"),
        (["seed"], Outcomes(created=1, rejected=2), "changed"),
        (["seed", "--dry-run"], Outcomes(created=3), "dry run"),
        (["reset"], Outcomes(deleted=3), "undo"),
        (["rollback", "0badcafe"], Outcomes(deleted=3), "undo"),
    ],
)
def test_the_kind_of_a_run_is_what_it_did(
    tmp_path: Path, args: list[str], outcomes: Outcomes, kind: str
) -> None:
    written(tmp_path, replace(run_of(), args=("seedlab", *args), outcomes=outcomes))

    ((past,), _) = read_past(tmp_path)

    assert past.kind == kind


@pytest.mark.parametrize("outcomes", [Outcomes(), Outcomes(unchanged=3)])
def test_a_run_that_skips_is_no_run_that_compares(tmp_path: Path, outcomes: Outcomes) -> None:
    written(tmp_path, run_of(1, outcomes=outcomes), run_of(2, outcomes=outcomes, spans=()))

    assert [past.kind for past in read_past(tmp_path)[0]] == ["compared", "again"]


@pytest.mark.parametrize("status", ["failed", "refused", "interrupted"])
def test_a_run_that_did_not_finish_has_no_kind(tmp_path: Path, status: str) -> None:
    written(tmp_path, replace(run_of(), status=status, exit_code=1))  # type: ignore[arg-type]

    ((past,), _) = read_past(tmp_path)

    assert past.kind is None


def test_switches_target_and_selection_are_told_apart(tmp_path: Path) -> None:
    disabled = settings_record(Settings(disabled=frozenset({"copy", "cache"})))
    args = ("seedlab", "seed", "data", "-s", "courses", "--exclude=tag:big", "--show-values")
    target = "postgresql+psycopg://me@db/x"
    written(tmp_path, replace(run_of(), settings=disabled, args=args, target=target))

    ((past,), _) = read_past(tmp_path)

    assert (past.disabled, past.selection, past.dialect) == (
        ("cache", "copy"), "-s courses --exclude=tag:big", "postgresql",
    )  # fmt: skip


def test_an_updated_kernel_is_the_same_machine_and_more_cores_are_not(tmp_path: Path) -> None:
    machine = run_of().machine
    written(
        tmp_path,
        run_of(1),
        replace(run_of(2), machine={**machine, "os": "Linux 7.0 x86_64", "memory_bytes": 25_276_500_000}),
        replace(run_of(3), machine={**machine, "cores": 4}),
    )

    first, updated, larger = (run.machine for run in read_past(tmp_path)[0])

    assert first == updated != larger


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(sorted(history.to_record(run_of())))


@pytest.mark.slow
@given(name=NAMES, value=JSON)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_a_record_it_is_a_run_or_a_note(tmp_path: Path, name: str, value: Any) -> None:
    folder = tmp_path / "runs" / "x"
    folder.mkdir(parents=True, exist_ok=True)
    record = {**history.to_record(run_of()), name: value}
    (folder / "run.json").write_text(json.dumps(record), "utf-8")

    found = read_history(tmp_path)

    assert len(found.runs) + len(found.notes) == 1
    assert history_text(found)
