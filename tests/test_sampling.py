"""A run is looked at while it lasts, and never hurt by that."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from seedlab import orchestrator
from seedlab.database.connect import parse_target
from seedlab.database.lock_holder import label_of
from seedlab.flow import Options, Run, Target
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan.choices import ENVIRONMENTS
from seedlab.plan.project import load_project
from seedlab.steps import sampling
from seedlab.steps.sampling import sampled
from tests.support.seeding import execute, write
from tests.support.waiting import until
from tests.test_monitor import WoundClock

NOWHERE = "postgresql://127.0.0.1:1/none"


@pytest.fixture
def target(clean_postgres_url: str) -> Target:
    return parse_target(clean_postgres_url, "test")


@contextmanager
def working(target: Target, project: str = "school") -> Iterator[psycopg.Connection]:
    """A connection as a run of this project has one."""
    with psycopg.connect(target.url, application_name=label_of(project), autocommit=True) as connection:
        yield connection


def samplers(connection: psycopg.Connection) -> int:
    found = connection.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name LIKE 'seedlab-sampler %' AND datname = current_database()"
    ).fetchone()
    return found[0]


def test_memory_is_looked_at_from_the_beginning_and_a_short_run_leaves_the_server_alone(target) -> None:
    monitor = Monitor(clock=WoundClock())
    with working(target) as connection, sampled("school", target, monitor, lambda: 0):
        until(lambda: len(monitor.samples) >= 3)
        assert samplers(connection) == 0

    assert all(sample.rss_bytes > 1_000_000 for sample in monitor.samples)
    assert {(sample.wal_bytes, sample.waits) for sample in monitor.samples} == {(None, ())}


def test_of_a_longer_run_the_server_is_looked_at_too(target) -> None:
    clock = WoundClock()
    monitor = Monitor(clock=clock)
    with working(target) as connection, ThreadPoolExecutor(1) as thread:
        with sampled("school", target, monitor, lambda: 0):
            sleeping = thread.submit(connection.execute, "SELECT pg_sleep(60)")
            until(lambda: len(monitor.samples) >= 3)
            clock.wind(sampling.UNOBSERVED_SECONDS)
            until(lambda: "Timeout/PgSleep" in {wait.what for wait in monitor.samples[-1].waits})
        connection.cancel_safe()
        assert isinstance(sleeping.exception(), psycopg.errors.QueryCanceled)

    assert {(each.waits, each.wal_bytes) for each in monitor.samples if each.at == 0} == {((), None)}
    assert monitor.samples[-1].wal_bytes > 0


def test_closely_it_is_looked_at_at_once_and_asked_for_the_wal_of_spans(target) -> None:
    monitor = Monitor(closely=True)
    with working(target) as connection, sampled("school", target, monitor, lambda: 0):
        with monitor.span("merge"):
            monitor.count(statements=1, round_trips=1)
            connection.execute("CREATE TABLE numbers AS SELECT generate_series(1, 1000) AS n")
        assert samplers(connection) == 1

    assert monitor.spans[0].wal_bytes > 8000
    assert monitor.samples[0].wal_bytes > 0
    assert monitor.wal_position is None


def test_nothing_is_left_behind(target) -> None:
    with working(target) as connection:
        with sampled("school", target, Monitor(closely=True), lambda: 0):
            pass
        until(lambda: samplers(connection) == 0)  # the server takes a moment to notice
    assert not [thread for thread in threading.enumerate() if thread.name == "seedlab-sampler"]


def test_the_server_is_looked_at_by_the_way_beside(target) -> None:
    monitor = Monitor(closely=True, beside=target)
    with working(target), sampled("school", parse_target(NOWHERE, "test"), monitor, lambda: 0):
        pass

    assert monitor.notes == ()
    assert monitor.samples[0].wal_bytes is not None


def test_a_server_that_lets_nobody_look_is_a_note() -> None:
    monitor = Monitor(closely=True)
    with sampled("school", parse_target(NOWHERE, "test"), monitor, lambda: 0):
        with monitor.span("merge"):
            monitor.count(round_trips=1)

    assert len(monitor.notes) == 1
    assert "was not sampled: cannot connect" in monitor.notes[0]
    assert monitor.spans[0].wal_bytes is None
    assert monitor.samples[0].wal_bytes is None


def test_a_sampler_that_loses_its_connection_is_a_note(target) -> None:
    monitor = Monitor(closely=True)
    with working(target) as connection, sampled("school", target, monitor, lambda: 0):
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name LIKE 'seedlab-sampler %' AND datname = current_database()"
        )
        with monitor.span("merge"):
            monitor.count(round_trips=1)
        looks = len(monitor.samples)
        until(lambda: len(monitor.samples) > looks + 1)

    assert len(monitor.notes) == 1
    assert monitor.spans[0].wal_bytes is None
    assert monitor.samples[-1].wal_bytes is None
    assert monitor.samples[-1].rss_bytes > 0


def test_sqlite_has_memory_only(sqlite_url: str) -> None:
    monitor = Monitor(closely=True)
    with sampled("school", parse_target(sqlite_url, "test"), monitor, lambda: None):
        with monitor.span("merge"):
            monitor.count(round_trips=1)

    assert monitor.notes == ()
    assert monitor.spans[0].wal_bytes is None
    assert monitor.samples[0].rss_bytes > 0


def test_what_looks_is_not_counted_and_takes_no_time_of_the_run(target, monkeypatch) -> None:
    clock = WoundClock()
    monitor = Monitor(clock=clock, closely=True)
    quick = sampling.connect.open_activity

    def slowly(*given: object) -> object:
        clock.wind(5)
        return quick(*given)

    monkeypatch.setattr(sampling.connect, "open_activity", slowly)
    with sampled("school", target, monitor, lambda: 0):
        pass

    assert monitor.counters.statements == monitor.counters.round_trips == 0
    assert (monitor.seconds, clock.seconds) == (0, 105)


# ---- whole runs -----------------------------------------------------------------------------------------


@pytest.fixture
def school(tmp_path, clean_database_url):
    def seed(monitor: Monitor) -> Run:
        project = load_project(write(tmp_path / "school", {"cities.csv": "id,name\n1,Haifa\n2,Jaffa\n"}))
        target = parse_target(clean_database_url, "--database-url")
        return orchestrator.seed(project, target, Options(environment=ENVIRONMENTS["development"]), monitor)

    execute(clean_database_url, "CREATE TABLE cities (id integer PRIMARY KEY, name text)")
    return seed


def test_a_run_keeps_its_samples(school) -> None:
    run = school(Monitor(closely=True))

    assert run.samples
    assert run.samples[0].rss_bytes > 1_000_000
    assert run.machine["load_average"] >= 0


def test_a_run_with_nothing_to_do_starts_no_thread_and_opens_no_connection(school, monkeypatch) -> None:
    school(Monitor())
    monkeypatch.delattr(sampling, "sampled")  # whoever wants it now fails

    assert school(Monitor(closely=True)).outcomes.unchanged == 2
