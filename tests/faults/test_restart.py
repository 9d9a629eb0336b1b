"""The server crashes or is restarted while a seed writes: the target is whole, and the next run completes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from seedlab.database.embedded import server
from seedlab.database.embedded.cluster import Server, lives
from seedlab.database.postgres import direct as postgres_direct
from seedlab.errors import SeedError
from tests.faults.cutting import Cutter, nothing
from tests.faults.test_atomicity import TABLES, state
from tests.faults.test_kill import files
from tests.fix_postgres import RUN_FOLDER, PostgresServer, quiet_environ
from tests.support.seeding import execute, seed, write
from tests.support.waiting import until

pytestmark = pytest.mark.slow

CRASH, FAST = signal.SIGQUIT, signal.SIGINT  # what `pg_ctl -m immediate` and `-m fast` send
SHARES = (0.3, 0.9, 0.999)  # of what a seed sends
Restart = Callable[[signal.Signals], None]


@pytest.fixture(scope="module")
def environ(postgres_server: PostgresServer) -> Iterator[dict[str, str]]:
    """A server that these tests have to themselves."""
    if postgres_server.superuser_url is None:
        pytest.skip("needs the embedded server: the one of SEEDLAB_TEST_URL is not ours to stop")
    own = quiet_environ(Path(os.environ[RUN_FOLDER]) / "restarted")
    yield own
    server.clean(own)


def stop(running: Server, how: signal.Signals) -> None:
    pid = int((running.data / "postmaster.pid").read_text().split()[0])
    os.kill(pid, how)
    until(lambda: not lives(pid))


def new_database(environ: dict[str, str]) -> str:
    running, name = server.start(environ), f"test_{uuid4().hex}"
    with psycopg.connect(running.url("postgres"), autocommit=True) as connection:
        connection.execute(server.create_database(name))
        connection.execute(server.without_user_schema(name))
    execute(running.url(name), TABLES)
    return running.url(name)


@pytest.mark.parametrize("how", [CRASH, FAST])
@pytest.mark.parametrize("way", ["first", "large", "changed", "stages"])
def test_all_or_nothing(
    tmp_path: Path, environ: dict[str, str], way: str, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`first` drops foreign keys and `large` indexes, too; `stages` commits the stages by themselves."""
    if way == "large":
        monkeypatch.setattr(postgres_direct, "REBUILD_ROWS", 0)
    settings: dict[str, Any] = {"commit": "stage"} if way == "stages" else {}
    school = tmp_path / "school"

    def prepare() -> str:
        url = new_database(environ)
        if way in ("changed", "stages"):
            seed(write(school, files(later=False)), url)
        write(school, files(later=way != "first"))
        return url

    url = prepare()
    before = state(url)
    with Cutter(url, 1 << 40, nothing) as line:
        seed(school, line.url, **settings)
        sent = line.passed
    after = state(url)

    for share in SHARES:
        url = prepare()

        def restart() -> None:
            stop(server.status(environ), how)
            raise Cutter.Cut

        with Cutter(url, int(sent * share), restart) as line, pytest.raises(SeedError):
            seed(school, line.url, **settings)
        server.start(environ)
        assert state(url) == before
        seed(school, url)
        assert state(url) == after
