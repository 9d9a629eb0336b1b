"""What a person reads of a ledger, to the letter, and that nothing in it steers the terminal."""

from __future__ import annotations

import json
from dataclasses import replace

from seedlab.flow import Outcomes, RunMemory
from seedlab.flow.status import LoadStatus, StageStatus, Status
from seedlab.insight.formatting.status_text import status_record, status_text

RUN = RunMemory(
    run_id="0badcafe",
    environment="development",
    level="incremental",
    started="2026-11-25T12:00:00.123+00:00",
    finished="2026-11-25T12:00:01.000+00:00",
    outcomes=Outcomes(created=1234, unchanged=2),
)
CITIES = LoadStatus(seed="cities", table="cities", key=("code",), rows=1200, ours=1198)
STAGE = StageStatus(
    id="core",
    verdict="unchanged",
    reason="unchanged",
    run="0badcafe",
    finished="2026-11-25T12:00:01.000+00:00",
    loads=(CITIES, replace(CITIES, seed="old", table="towns", key=(), rows=0, ours=3, declared=False)),
)
STATUS = Status(
    project="school",
    target="sqlite:///school.db",
    environment="development",
    ledger="there",
    generation=3,
    bytes=12_345,
    stages=(
        STAGE,
        StageStatus(id="people", verdict="stale", reason="pupils.csv changed"),
        StageStatus(id="extra", verdict="skipped", reason="cities is not empty"),
        replace(STAGE, id="gone", verdict="undeclared", reason="left in the ledger", run=None, loads=()),
    ),
    runs=(
        replace(RUN, run_id="1badcafe", outcomes=Outcomes(updated=1), stages=("core", "people")),
        replace(RUN, outcomes=Outcomes(created=1234, unchanged=2)),
    ),
)


def test_a_status_says_of_each_stage_how_it_stands_and_what_it_brought() -> None:
    assert status_text(STATUS, 100) == (
        "school → sqlite:///school.db\n"
        "development\n"
        "\n"
        "✓ core: unchanged (run 0badcafe, 2026-11-25 12:00:01)\n"
        "     cities  of cities                   1,200 rows  1,198 created  by code\n"
        "     towns   of old, no longer declared      0 rows      3 created\n"
        "\n"
        "+ people would run: pupils.csv changed\n"
        "\n"
        "- extra does not take part: cities is not empty\n"
        "\n"
        "! gone: left in the ledger\n"
        "\n"
        "run       started (UTC)        environment  level        outcomes\n"
        "1badcafe  2026-11-25 12:00:00  development  incremental  1 updated; by stage: core, people\n"
        "0badcafe  2026-11-25 12:00:00  development  incremental  1,234 created, 2 unchanged\n"
        "\n"
        "ledger of all projects here: 12.3 kB, generation 3\n"
    )


def test_a_narrow_terminal_shortens_what_is_least_needed() -> None:
    long = replace(CITIES, key=("faculty.university.slug", "code"))
    status = replace(STATUS, stages=(replace(STAGE, loads=(long,)),), runs=STATUS.runs[:1])

    text = status_text(status, 60)

    assert "of cities  1,200 rows  1,198 created\n" in text
    assert "1 updated;…\n" in text
    assert "of cities  1,200 rows  1,198 created  by faculty.…\n" in status_text(status, 63)


def test_without_a_ledger_it_is_one_sentence() -> None:
    missing = Status(project="school", target="sqlite:///x.db", environment="test", ledger="missing")

    assert status_text(missing).splitlines()[3:] == [
        "there is no ledger in this target: no seed has written to it yet"
    ]


def test_a_ledger_that_may_not_be_read_says_what_to_grant() -> None:
    closed = Status(
        project="school",
        target="postgresql://app@db/school",
        environment="test",
        ledger="unreadable",
        grants=("GRANT USAGE ON SCHEMA seedlab TO app;", "GRANT …;"),
    )

    assert status_text(closed).splitlines()[3:] == [
        "✗ there is a ledger in this target, but this user may not read it; its owner can run",
        "     → GRANT USAGE ON SCHEMA seedlab TO app;",
        "     → GRANT …;",
    ]


def test_of_another_project_only_the_ledger_is_told() -> None:
    other = replace(STATUS, stages=(), runs=())

    assert status_text(other).splitlines()[3:] == [
        "the ledger has no run of this project",
        "",
        "ledger of all projects here: 12.3 kB, generation 3",
    ]


def test_names_do_not_steer_the_terminal() -> None:
    odd = "\x1b[31m\r\u202e\x9b\x07"
    load = LoadStatus(seed=odd, table=odd, key=(odd,), rows=1, ours=1)
    stage = StageStatus(id=odd, verdict="stale", reason=odd, run=odd, finished=odd, loads=(load,))
    run = replace(RUN, run_id=odd, environment=odd, level=odd, started=odd, stages=(odd,))
    status = Status(
        project=odd, target=odd, environment=odd, ledger="there", stages=(stage,), runs=(run,), grants=(odd,)
    )

    for text in (status_text(status, 300), status_text(replace(status, ledger="unreadable"), 300)):
        assert not {*"\x1b\r\u202e\x9b\x07"} & {*text}
        assert "␛[31m" in text


def test_the_record_has_all_of_it() -> None:
    record = json.loads(json.dumps(status_record(STATUS)))

    assert list(record) == [
        "project", "target", "environment", "ledger", "generation", "bytes", "stages", "runs", "grants",
    ]  # fmt: skip
    assert record["stages"][0]["loads"][1] == {
        "seed": "old",
        "table": "towns",
        "key": [],
        "rows": 0,
        "ours": 3,
        "declared": False,
    }
    assert record["runs"][0]["stages"] == ["core", "people"]
