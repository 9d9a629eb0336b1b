"""What would help: each rule on a made-up run that has its cause, and silence where none has."""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seedlab.flow import Outcomes, Run, SeedReport, StageReport
from seedlab.flow.evidence import Attempt, Profile, Recommendation, UnindexedReference
from seedlab.insight.judging.advice import command_line, recommendations, with_recommendations
from seedlab.insight.records.runs import with_findings
from tests.support.findings import POSTGRES, SQLITE, looks, run_of, span

IDLE, CPU, LOCK, SYNC = "Client/ClientRead", "CPU", "Lock/relation", "IO/WalSync"


def only(run: Run, **known: Any) -> Recommendation:
    (found,) = recommendations(run, **known)
    return found


# ---- the rules ------------------------------------------------------------------------------------------


def chatty(**others: Any) -> Run:
    """1,000 rows written one by one: 8 s of round trips, 2 of CPU."""
    spans = [span("merge", 0.0, 10.0, cpu=2.0, trips=4000, table="items")]
    given = {"level": "legacy", "round_trip_seconds": 0.002, "outcomes": Outcomes(created=1000), **others}
    return run_of(spans, 10.0, looks(0.0, 10.0, IDLE), **given)


def test_a_level_that_writes_row_by_row_is_told_of_the_full_one() -> None:
    found = only(chatty(args=("seedlab", "seed", "app", "--level=legacy", "--disable", "cache")))

    assert found.what == "write whole tables by COPY, as the level incremental does"
    assert "4,000 statements for 1,000 rows" in found.why
    assert found.command == "seedlab seed app --level incremental"
    assert (found.basis, found.saves) == ("model", pytest.approx(10.0 - 0.2 - 1000 * 10e-6 - 20 * 0.002))


def test_what_an_earlier_run_of_the_same_work_took_is_better_than_the_model() -> None:
    run = chatty()
    full = replace(run, level="incremental", seconds=3.0, machine={**run.machine, "load_average": 1.5})
    others = [
        replace(full, seconds=0.5, outcomes=Outcomes(unchanged=1000)),
        replace(full, seconds=0.5, target="postgresql://elsewhere/app"),
        replace(full, seconds=0.5, machine={"cores": 64}),
        replace(full, seconds=0.5, data_fingerprint="other"),
        replace(full, seconds=0.5, status="failed"),
        replace(full, seconds=0.5, settings={**full.settings, "disabled": ["copy"]}),
    ]

    found = only(run, earlier=[full, replace(full, seconds=2.0), replace(full, seconds=9.0), *others])

    assert (found.basis, found.saves) == ("measured", pytest.approx(7.0))


def profile_of(run: Run, **seconds: list[float]) -> Profile:
    attempts = [
        Attempt(
            variant=variant.replace("_", " "),
            round_trip_ms=ms,
            pair=pair,
            run=replace(run, seconds=each / ms),
        )
        for variant, several in seconds.items()
        for ms in (1.0, 2.0)
        for pair, each in enumerate(several)
    ]
    return Profile(
        profile_id="p", project="app", started="", args=(), variants=tuple(seconds), attempts=tuple(attempts)
    )


def test_a_profile_is_taken_at_the_nearest_round_trip() -> None:
    profile = profile_of(chatty(), legacy=[20.0, 22.0, 24.0], incremental=[5.0, 5.5, 6.0])

    assert (found := only(chatty(), profiles=[profile])).basis == "measured"
    assert found.saves == pytest.approx(10.0 * (1 - 5.5 / 22))
    assert only(chatty(), profiles=[replace(profile, project="other")]).basis == "model"


def test_a_level_that_saves_nothing_by_measurement_is_not_advised() -> None:
    assert recommendations(chatty(), earlier=[replace(chatty(), level="copy", seconds=10.5)]) == ()


def test_what_was_switched_off_is_told_and_saves_what_a_profile_says() -> None:
    spans = [span("merge", 0.0, 10.0, trips=4)]
    args = ("seedlab", "seed", "--disable", "rebuild")
    run = run_of(spans, 10.0, looks(0.0, 10.0, CPU), disabled=frozenset({"rebuild"}), args=args)

    assert only(run).what == "do not switch rebuild off"
    assert (only(run).saves, only(run).command) == (None, "seedlab seed")
    profile = profile_of(run, incremental=[2.0], incremental_without_rebuild=[8.0])
    assert only(run, profiles=[profile]).saves == pytest.approx(7.5)


def test_a_full_level_far_away_is_told_to_go_nearer() -> None:
    spans = [span("merge", 0.0, 2.0, trips=20)]
    found = only(run_of(spans, 2.5, looks(0.0, 2.0, IDLE), round_trip_seconds=0.09))

    assert found.what.startswith("run seedlab nearer to the database")
    assert found.saves == pytest.approx(1.8, rel=0.01)
    assert found.command == "seedlab profile --levels incremental --round-trip-ms 0,90"


def test_a_round_trip_of_more_than_a_tenth_of_a_second_is_told_in_plain_numbers() -> None:
    spans = [span("merge", 0.0, 3.0, trips=20)]
    found = only(run_of(spans, 3.5, looks(0.0, 3.0, IDLE), round_trip_seconds=0.152))

    assert "took 150 ms or more" in found.why
    assert found.command.endswith("--round-trip-ms 0,150")


def test_commits_of_many_stages_are_told_to_be_one() -> None:
    spans = [span("commit", float(n), 1.0, trips=1) for n in range(5)]
    args = ("seedlab", "seed", "app", "--commit", "stage")
    found = recommendations(run_of(spans, 5.0, looks(0.0, 5.0, SYNC), args=args))

    assert [each.command for each in found] == ["seedlab seed app --commit run", "pg_test_fsync -s 2"]
    assert [each.saves for each in found] == [pytest.approx(4.0), None]


def test_a_lock_is_told_with_a_question_for_its_holder() -> None:
    samples = looks(0.0, 9.0, LOCK)
    held = [replace(s, waits=tuple(replace(w, holder="psql (process 7)") for w in s.waits)) for s in samples]
    run = run_of([span("merge", 0.0, 9.0, trips=4)], 10.0, held)

    assert only(run).what == "commit or end psql (process 7), or seed when it is done"
    assert only(run).saves == pytest.approx(9.0)
    assert shlex.split(only(run).command)[:3] == ["psql", POSTGRES, "-c"]
    assert only(run_of(run.spans, 10.0, samples)).what.startswith("commit or end the session")


def unindexed(place: tuple[str, str], column: str, deleted: int = 50) -> UnindexedReference:
    schema, relation = place
    return UnindexedReference(
        table=relation, schema=schema, relation=relation, columns=(column,), parent="items", deleted=deleted
    )


def test_a_missing_index_is_told_where_the_delete_was_what_took_the_time() -> None:
    spans = [span("merge", 0.0, 1.0, trips=4, table="items"), span("merge", 1.0, 8.0, trips=2)]
    run = run_of(spans, 10.0, looks(0.0, 9.0, CPU))
    missing = (unindexed(("app", "visits"), "item"), unindexed(("public", "Odd.one"), 'a"b', 70))
    run = replace(run, unindexed=missing)

    assert only(run).what == 'index the foreign key of Odd.one (a"b)'
    assert only(run).saves == pytest.approx(8.0)
    assert shlex.split(only(run).command)[3] == (
        'CREATE INDEX ON "app"."visits" ("item"); CREATE INDEX ON "public"."Odd.one" ("a""b")'
    )
    assert recommendations(replace(run, unindexed=())) == ()


def yaml_run(*files: str) -> Run:
    report = SeedReport(name="items", tables=(), files=files)
    stages = (StageReport(id="a", status="run", reason="", seeds=(report,)),)
    return run_of([span("read", 0.0, 8.0, cpu=8.0, stage="a", seed="items")], 10.0, stages=stages)


def test_yaml_that_took_the_time_to_read_is_told_to_be_json() -> None:
    found = only(yaml_run("big items.yml", "more.yaml", "a.csv"))

    assert found.what == "keep big items.yml and 1 other as JSON"
    assert found.saves == pytest.approx(7.2)
    assert found.command.endswith("< 'big items.yml' > 'big items.json'")
    assert recommendations(yaml_run("items.csv")) == ()


def test_the_json_made_of_yaml_says_what_the_yaml_said(tmp_path: Path) -> None:
    (tmp_path / "items.yaml").write_text(
        "- {code: 007, flag: NO, price: 1.10, on: 2024-05-01, hex: 0x1F, none: ~, empty: , text: ''}\n"
    )

    command = only(yaml_run("items.yaml")).command
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)

    assert json.loads((tmp_path / "items.json").read_text()) == [
        {
            "code": "007",
            "flag": "NO",
            "price": "1.10",
            "on": "2024-05-01",
            "hex": "0x1F",
            "none": None,
            "empty": None,
            "text": "",
        }
    ]


# ---- silence --------------------------------------------------------------------------------------------


def test_a_run_of_less_than_a_second_gets_no_advice() -> None:
    run = chatty()
    short = run_of(
        [replace(each, seconds=0.9) for each in run.spans], 0.95, level="legacy", round_trip_seconds=0.0002
    )

    assert recommendations(short) == ()
    assert with_recommendations(short).bottlenecks != ()


@pytest.mark.parametrize(
    "run",
    [
        run_of([span("merge", 0.0, 9.0, cpu=1.0, trips=20)], 10.0, looks(0.0, 9.0, CPU)),
        run_of([span("read", 0.0, 9.0, cpu=9.0)], 10.0),
        run_of([span("merge", 0.0, 9.0, cpu=2.0, trips=20)], 10.0, looks(0.0, 9.0, IDLE)),
        run_of([span("merge", 0.0, 9.0, cpu=2.0, statements=20)], 10.0, target=SQLITE),
        run_of([], 10.0),
    ],
    ids=["server", "reading", "waiting", "sqlite", "nothing"],
)
def test_where_no_cause_is_proved_nothing_is_advised(run: Run) -> None:
    assert recommendations(run) == ()


def test_a_run_in_which_all_was_skipped_is_not_looked_at() -> None:
    stages = (StageReport(id="a", status="skipped", reason="unchanged"),)

    assert with_findings(replace(chatty(), stages=stages)).bottlenecks == ()
    assert with_findings(replace(chatty(), stages=())).bottlenecks == ()
    assert with_findings(replace(chatty(), stages=(replace(stages[0], status="run"),))).recommendations != ()


def test_a_command_keeps_what_it_is_not_about() -> None:
    run = chatty(args=("seedlab", "seed", "my app", "--level", "bulk", "--quiet", "--commit=stage"))

    assert (
        command_line(run, {"--level": "copy"}) == "seedlab seed 'my app' --quiet --commit=stage --level copy"
    )
    assert command_line(run, {"--commit": None, "--level": None}) == "seedlab seed 'my app' --quiet"
    assert command_line(replace(run, args=()), {"--level": "copy"}) == "seedlab seed --level copy"
