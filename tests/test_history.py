"""A run's record holds what was promised, comes back equal, and never holds a password or a row's value."""

from __future__ import annotations

import json
import timeit
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from seedlab.errors import (
    ConfigurationError,
    ConnectionFailed,
    DataFaults,
    Fault,
    LockHeld,
    Place,
    Refused,
    WriteError,
)
from seedlab.flow import (
    Load,
    Outcomes,
    Plan,
    PlannedSeed,
    PlannedStage,
    PlannedTable,
    Run,
    SeedReport,
    Settings,
    StageReport,
    TableReport,
)
from seedlab.flow.evidence import Bottleneck, Recommendation, Sample, UnindexedReference, Wait
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.records import files, history
from seedlab.insight.records.runs import Heading, build_failed_run, build_run, spans_by_seed


def closed(**properties: object) -> dict[str, object]:
    """An object that must have these properties."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def many(**properties: object) -> dict[str, object]:
    return {"type": "array", "items": closed(**properties)}


SNAPSHOTS = Path(__file__).parent / "snapshots"
TEXT, NUMBER, COUNT = {"type": "string"}, {"type": "number"}, {"type": "integer", "minimum": 0}
MAYBE_TEXT, MAYBE_COUNT = {"type": ["string", "null"]}, {"type": ["integer", "null"]}
OUTCOMES = closed(created=COUNT, updated=COUNT, unchanged=COUNT, deleted=COUNT, rejected=COUNT)
PHASES = many(
    name=TEXT, seconds=NUMBER, cpu_seconds=NUMBER, rows=COUNT, statements=COUNT, wal_bytes=MAYBE_COUNT
)
RECORD = closed(
    schema_version={"const": 2},
    run_id={"type": "string", "pattern": "^[0-9a-f]{8}$"},
    project=TEXT,
    started={"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT[\d:.]+\+00:00$"},
    args={"type": "array", "items": TEXT},
    status={"enum": ["succeeded", "failed", "refused", "interrupted", "planned"]},
    exit_code=COUNT,
    level=TEXT,
    environment=TEXT,
    target=TEXT,
    settings={"type": "object"},
    machine={"type": "object"},
    versions={"type": "object"},
    data_fingerprint=TEXT,
    commit=MAYBE_TEXT,
    seconds=NUMBER,
    outcomes=OUTCOMES,
    database=closed(
        statements=COUNT,
        round_trips=COUNT,
        bytes_sent=COUNT,
        wal_bytes=MAYBE_COUNT,
        round_trip_seconds={"type": ["number", "null"]},
        unindexed=many(
            table=TEXT,
            schema=TEXT,
            relation=TEXT,
            columns={"type": "array", "items": TEXT},
            parent=TEXT,
            deleted=COUNT,
        ),
    ),
    cache=closed(hits=COUNT, misses=COUNT, queries=COUNT),
    peak_rss_bytes=COUNT,
    samples=many(at=NUMBER, rss_bytes=COUNT, wal_bytes=MAYBE_COUNT, waits={"type": "array"}),
    bottlenecks=many(resource=TEXT, seconds=NUMBER, share=NUMBER, where=TEXT, evidence=TEXT),
    recommendations=many(
        what=TEXT,
        why=TEXT,
        saves={"type": ["number", "null"]},
        basis={"enum": ["measured", "model"]},
        command=TEXT,
    ),
    phases=PHASES,
    stages=many(
        id=TEXT,
        status={"enum": ["run", "skipped", "failed", "planned"]},
        reason=TEXT,
        seconds=NUMBER,
        operations_per_second=NUMBER,
        outcomes=OUTCOMES,
        seeds=many(
            name=TEXT,
            files={"type": "array", "items": TEXT},
            tables=many(table=TEXT, key={"type": "array", "items": TEXT}, outcomes=OUTCOMES),
            phases=PHASES,
        ),
    ),
    errors=many(
        file=MAYBE_TEXT, line=MAYBE_COUNT, column=MAYBE_TEXT, table=MAYBE_TEXT, rule=TEXT, message=TEXT
    ),
)


def monitor_of_a_run() -> Monitor:
    monitor = Monitor()
    load = Load(stage="modules", seed="physics", table="questions", key=(), values=(), references=())
    with monitor.span("read", load=load, rows=3):
        monitor.count(statements=2, round_trips=1, bytes_sent=70)
    with monitor.span("merge", load=load, rows=3):
        monitor.count(statements=1, round_trips=1)
    monitor.cache(hits=5, misses=1, queries=1)
    monitor.note("foreign keys stay on")
    return monitor


def finished() -> Run:
    monitor = monitor_of_a_run()
    done = Outcomes(created=2, unchanged=1)
    table = TableReport(table="questions", key=("code",), outcomes=done)
    seeds = (
        SeedReport(
            name="physics",
            tables=(table,),
            spans=spans_by_seed(monitor.spans)["modules", "physics"],
            files=("physics.yaml",),
        ),
    )
    stages = (
        StageReport(id="courses", status="skipped", reason="nothing changed", outcomes=Outcomes(unchanged=9)),
        StageReport(id="modules", status="run", reason="ran", seconds=0.5, outcomes=done, seeds=seeds),
    )
    heading = Heading(
        project="academy",
        target="postgresql://u:***@localhost/academy",
        settings=Settings(disabled=frozenset({"rebuild", "cache"}), origins={"level": "default"}),
        args=("seed", "data"),
    )
    return replace(
        build_run(monitor, heading, stages),
        versions={"polars": "1.42.1", "postgresql": "18.4"},
        data_fingerprint="ab12",
        commit="0badcafe",
        wal_bytes=4096,
        round_trip_seconds=0.001,
        unindexed=(
            UnindexedReference(
                table="answers",
                schema="public",
                relation="answers",
                columns=("question_id",),
                parent="questions",
                deleted=2,
            ),
        ),
        samples=(
            Sample(
                at=0.1,
                rss_bytes=10,
                wal_bytes=5,
                waits=(Wait(pid=7, what="CPU"), Wait(pid=8, what="Lock/tuple", holder="psql")),
            ),
        ),
        bottlenecks=(
            Bottleneck(resource="locks", seconds=0.3, share=0.6, where="merge", evidence="6 of 9 samples"),
        ),
        recommendations=(
            Recommendation(what="wait", why="locked", saves=0.3, basis="model", command="seedlab seed"),
        ),
    )


def test_the_record_has_everything_it_promises() -> None:
    record = json.loads(files.to_json(history.to_record(finished())))

    jsonschema.validate(record, RECORD)
    assert record["outcomes"] == {"created": 2, "updated": 0, "unchanged": 10, "deleted": 0, "rejected": 0}
    assert record["database"] == {
        "statements": 3,
        "round_trips": 2,
        "bytes_sent": 70,
        "wal_bytes": 4096,
        "round_trip_seconds": 0.001,
        "unindexed": [
            {
                "table": "answers",
                "schema": "public",
                "relation": "answers",
                "columns": ["question_id"],
                "parent": "questions",
                "deleted": 2,
            }
        ],
    }
    assert record["cache"] == {"hits": 5, "misses": 1, "queries": 1}
    assert record["stages"][1]["operations_per_second"] == 6.0
    assert [phase["name"] for phase in record["stages"][1]["seeds"][0]["phases"]] == ["read", "merge"]
    assert record["settings"]["disabled"] == ["cache", "rebuild"]


def test_a_run_comes_back_equal(tmp_path: Path) -> None:
    run = finished()

    path = history.write(run, tmp_path)

    assert history.read(path) == run


def test_arguments_that_are_no_text_are_kept(tmp_path: Path) -> None:
    run = replace(finished(), args=("seed", "caf\udce9"))

    assert history.read(history.write(run, tmp_path)) == run


def test_the_path_is_told_by_time_and_id_and_nothing_else_is_left(tmp_path: Path) -> None:
    run = replace(finished(), started="2026-03-01T12:00:05.250+00:00", run_id="0badcafe")

    path = history.write(run, tmp_path)

    assert path == tmp_path / "runs" / "20260301T120005Z-0badcafe" / "run.json"
    assert [each.name for each in path.parent.iterdir()] == ["run.json"]


def test_two_runs_have_two_ids() -> None:
    assert finished().run_id != finished().run_id


def test_writing_a_record_takes_a_few_milliseconds(tmp_path: Path) -> None:
    run = finished()
    run = replace(run, spans=run.spans * 50)

    seconds = min(timeit.repeat(lambda: history.write(run, tmp_path), number=1, repeat=5))

    # About 2 ms with these 100 spans; the bound leaves room for a busy machine.
    assert seconds < 0.02


def test_row_values_of_faults_are_not_recorded(tmp_path: Path) -> None:
    fault = Fault(
        rule="type", message="not a number", file="a.csv", line=3, column="credits", table="courses",
        excerpt="x,hunter2", caret=(2, 7), value="hunter2",
    )  # fmt: skip

    run = build_failed_run(Monitor(), Heading(project="academy"), DataFaults([fault]))
    path = history.write(run, tmp_path)

    assert "hunter2" not in path.read_text(encoding="utf-8")
    assert history.read(path).faults == (replace(fault, excerpt=None, caret=None, value=None),)


@pytest.mark.parametrize(
    ("error", "status", "exit_code", "rule"),
    [
        (
            ConfigurationError("no stage 'x'", Place(file="seedlab.toml", line=4)),
            "failed",
            2,
            "configuration",
        ),
        (DataFaults([Fault(rule="nul", message="a nul byte")]), "failed", 3, "nul"),
        (Refused("protected; type --yes-seed academy"), "refused", 4, "refused"),
        (LockHeld("another seed is running"), "refused", 5, "lock"),
        (ConnectionFailed("no answer"), "failed", 1, "connection"),
        (WriteError("duplicate", table="courses", sqlstate="23505"), "failed", 1, "write"),
        (KeyboardInterrupt(), "interrupted", 130, "interrupted"),
        (ZeroDivisionError("division by zero"), "failed", 1, "internal"),
    ],
)
def test_each_error_has_its_status_exit_code_and_rule(error, status, exit_code, rule) -> None:
    run = build_failed_run(Monitor(), Heading(), error)

    assert (run.status, run.exit_code, run.faults[0].rule) == (status, exit_code, rule)
    jsonschema.validate(json.loads(files.to_json(history.to_record(run))), RECORD)


def test_a_configuration_error_keeps_its_place() -> None:
    run = build_failed_run(
        Monitor(), Heading(), ConfigurationError("no stage 'x'", Place(file="seedlab.toml", line=4))
    )

    assert (run.faults[0].file, run.faults[0].line, run.faults[0].message) == (
        "seedlab.toml",
        4,
        "no stage 'x'",
    )
    assert run.error == "seedlab.toml:4: no stage 'x'"


def test_a_failed_run_keeps_what_was_measured_and_says_where_it_broke() -> None:
    monitor = monitor_of_a_run()
    load = Load(stage="answers", seed="physics", table="answers", key=(), values=(), references=())
    with pytest.raises(WriteError), monitor.span("merge", load=load):
        raise WriteError("no")

    run = build_failed_run(monitor, Heading(), WriteError("no"))

    assert {stage.id: stage.reason for stage in run.stages} == {
        "modules": "rolled back with the run",
        "answers": "failed: merge answers",
    }
    assert run.counters.statements == 3
    assert run.outcomes == Outcomes()


def test_passwords_are_recorded_nowhere() -> None:
    url = "postgresql://me:hunter2@db.example/app?sslpassword=hunter2"
    heading = Heading(target=url, args=("seed", "--database-url", url, "host=x password='hunter2 x'"))

    record = files.to_json(
        history.to_record(build_failed_run(Monitor(), heading, OSError(f"no route to {url}")))
    )

    assert "hunter2" not in record
    assert "postgresql://me:***@db.example/app" in record


def test_a_plan_has_the_shape_of_a_run() -> None:
    table = PlannedTable(table="questions", rows=3, key=("code",), origin="the primary key", strategy="copy")
    seed = PlannedSeed(name="physics", files=("a.csv",), tables=(table,), priority="high")
    stages = (
        PlannedStage(
            id="modules", name="Modules", status="run", reason="new", waits_for=("courses",), seeds=(seed,)
        ),
        PlannedStage(id="courses", name="Courses", status="skipped", reason="same", waits_for=()),
    )
    plan = Plan(
        project="academy", target="t", environment="test", level="copy", stages=stages, waves=(("modules",),)
    )

    record = json.loads(files.to_json(history.plan_record(build_run(Monitor(), Heading()), plan)))

    jsonschema.validate(record, RECORD)
    assert record["status"] == "planned"
    assert [stage["status"] for stage in record["stages"]] == ["planned", "skipped"]
    assert record["stages"][0]["seeds"][0]["tables"][0]["strategy"] == "copy"
    assert record["waves"] == [["modules"]]


def test_a_record_of_the_first_version_is_upgraded(tmp_path: Path) -> None:
    run = history.read(SNAPSHOTS / "run-record-1.json")

    assert (run.project, run.outcomes.unchanged, run.counters.statements) == ("academy", 5321, 7)
    assert (run.commit, run.samples, run.bottlenecks, run.recommendations) == (None, (), (), ())
    assert history.read(history.write(run, tmp_path)) == run


def test_a_newer_record_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"schema_version": 3}))

    with pytest.raises(ConfigurationError, match=r"schema version 3.*up to 2; upgrade seedlab"):
        history.read(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 1}', '{"schema_version": "x"}', "\x00"])
def test_a_file_that_is_no_record_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)

    with pytest.raises(ConfigurationError, match="run record") as caught:
        history.read(path)

    assert str(path) in str(caught.value)


def test_a_record_that_cannot_be_written_names_the_flag(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file is in the way")

    with pytest.raises(ConfigurationError, match="--reports"):
        history.write(finished(), tmp_path)
