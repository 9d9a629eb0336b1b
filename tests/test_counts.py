"""Two cold seeds of the academy cost exactly the same, and nearly the same WAL; a close look changes neither."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from pathlib import Path
from typing import get_args
from urllib.parse import parse_qsl, urlsplit

import psycopg
import pytest

from seedlab import orchestrator
from seedlab.database import connect
from seedlab.database.embedded import server
from seedlab.database.embedded.cluster import SOCKET
from seedlab.database.proxy import DelayProxy
from seedlab.flow import Level, Options, Phase, Run, Settings
from seedlab.insight.measuring.monitor import Monitor, phase_totals
from seedlab.plan.project import load_project
from seedlab.steps import sampling
from tests.fix_academy import DATA
from tests.fix_postgres import PostgresServer
from tests.support.seeding import execute, seed, write

COUNTS = ("rows", "statements", "round_trips", "bytes_sent")


def cold_seed(url: str, level: Level, *, closely: bool) -> Run:
    project = load_project(DATA)
    options = Options(environment=project.environments["development"], settings=Settings(level=level))
    target = connect.parse_target(url, "--database-url")
    return orchestrator.seed(project, target, options, Monitor(closely=closely))


def on_postgres(quiet: PostgresServer, level: Level, *, closely: bool) -> Run:
    """Seed a database of its own; what earlier ones wrote is behind a checkpoint."""
    name = f"counts_{uuid.uuid4().hex}"
    with psycopg.connect(quiet.url, autocommit=True) as admin:
        admin.execute(server.create_database(name))
    with psycopg.connect(quiet.superuser_url, autocommit=True) as superuser:
        superuser.execute("CHECKPOINT")
    return cold_seed(quiet.database(name), level, closely=closely)


def counts_of(run: Run) -> dict[str, dict[str, int]]:
    by_phase = {
        total.name: {name: getattr(total, name) for name in COUNTS} for total in phase_totals(run.spans)
    }
    return {**by_phase, "run": asdict(run.counters)}


def wal_of(run: Run) -> dict[str, int]:
    """WAL of the phases of which it is known."""
    totals = phase_totals(run.spans)
    return {total.name: total.wal_bytes for total in totals if total.wal_bytes is not None}


@pytest.mark.slow
@pytest.mark.parametrize("level", ["bulk", "copy", "incremental"])
def test_counts_are_the_same_each_time_and_wal_within_one_in_a_hundred(quiet_server, level) -> None:
    alone = on_postgres(quiet_server, level, closely=False)
    one, other = (on_postgres(quiet_server, level, closely=True) for _ in range(2))

    assert counts_of(one) == counts_of(other) == counts_of(alone)
    assert one.wal_bytes == pytest.approx(other.wal_bytes, rel=0.01)
    assert one.wal_bytes == pytest.approx(alone.wal_bytes, rel=0.01)
    assert wal_of(one) == pytest.approx(wal_of(other), rel=0.01)
    assert sum(wal_of(one).values()) == pytest.approx(one.wal_bytes, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("level", ["bulk", "incremental"])
def test_counts_of_sqlite_are_the_same_each_time(tmp_path: Path, level) -> None:
    one, other = (
        cold_seed(f"sqlite:///{tmp_path / name}.db", level, closely=closely)
        for name, closely in (("one", True), ("other", False))
    )

    assert counts_of(one) == counts_of(other)
    assert wal_of(one) == {}


@pytest.mark.parametrize(
    ("dialect", "level"),
    [
        ("postgresql", "incremental"),
        ("sqlite", "incremental"),
        ("sqlite", "legacy"),
        pytest.param("postgresql", "legacy", marks=pytest.mark.slow),
    ],
)
def test_every_phase_says_what_it_did(academies, dialect, level) -> None:
    counts = counts_of(academies.seeded(dialect, level).run)
    phases = [name for name in get_args(Phase) if name != "stage" or level != "legacy"]

    assert list(counts) == [*phases, "run"]
    assert [name for name in phases if not counts[name]["rows"]] == ["index", "commit"]
    sending = [name for name in phases if counts[name]["statements"]]
    assert sending == (["resolve"] if level == "legacy" else []) + ["merge", "index", "commit"]
    if dialect == "postgresql":
        assert [name for name in phases if counts[name]["bytes_sent"]] == sending
    rows = counts["merge"]["rows"]
    assert (
        rows
        == counts["flatten"]["rows"]
        == counts["resolve"]["rows"]
        == academies.seeded(dialect).run.outcomes.total
    )


@pytest.mark.parametrize("level", ["incremental", "bulk", "legacy"])
def test_all_that_is_sent_is_counted_but_for_what_the_protocol_adds(
    clean_postgres_url, tmp_path, level, monkeypatch
) -> None:
    monkeypatch.setattr(
        sampling, "UNOBSERVED_SECONDS", 600
    )  # what looks at a run that takes a second passes the proxy, too
    rows = "".join(f"{n},{'עברית' * (n % 50)}\n" for n in range(200))
    folder = write(tmp_path / "school", {"words.csv": f"id,text\n{rows}"})
    execute(clean_postgres_url, "CREATE TABLE words (id integer PRIMARY KEY, text text)")
    parts = urlsplit(clean_postgres_url)
    socket = Path(parse_qsl(parts.query)[0][1]) / SOCKET

    with DelayProxy(unix_socket=socket, round_trip_ms=0) as proxy:
        run = seed(folder, proxy.url_for(clean_postgres_url), level)
        sent = proxy.traffic().bytes_sent

    looks = sum(1 for sample in run.samples if sample.wal_bytes is not None)  # they go by the proxy, too
    assert 0 < sent - run.counters.bytes_sent < 2000 + 70 * run.counters.statements + 2000 * looks
