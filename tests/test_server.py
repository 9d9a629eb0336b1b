from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from seedlab.database.embedded import cluster, server
from seedlab.database.embedded.binaries import find_binaries
from seedlab.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator

Environ = dict[str, str]

# A client of its own: starts the server, says its pid, and stays until it is killed.
CLIENT = "from seedlab.database.embedded import server; print(server.start().pid, flush=True); input()"

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user, hence root")


@pytest.fixture(scope="module", autouse=True)
def _programs() -> None:
    try:
        find_binaries(os.environ)
    except ServerError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def modes_before() -> dict[Path, int]:
    """Modes of the folders above the server's and above the programs, as they are before anything runs."""
    above = [Path(tempfile.gettempdir(), "x"), find_binaries(os.environ)]
    return {folder: folder.stat().st_mode for path in above for folder in path.parents}


@pytest.fixture(scope="module")
def environ(modes_before: dict[Path, int]) -> Iterator[Environ]:
    """An environment whose server lives in a folder of this module; its path is short enough for a socket."""
    yield from fresh_environ()


@pytest.fixture
def own_environ() -> Iterator[Environ]:
    """The same for one test."""
    yield from fresh_environ()


def fresh_environ() -> Iterator[Environ]:
    folder = Path(tempfile.mkdtemp(prefix="seedlab-"))
    folder.chmod(0o711)
    environ = {**os.environ, "SEEDLAB_SERVER_DIR": str(folder)}
    yield environ
    server.clean(environ)
    shutil.rmtree(folder)


@pytest.fixture
def running(environ: Environ) -> server.Server:
    return server.start(environ)


def client(environ: Environ) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", CLIENT]
    return subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe, text=True, start_new_session=True)


def kill_group(process: subprocess.Popen[str]) -> None:
    """What a terminal does to its jobs, but harder."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def ask(found: server.Server, query: str, role: str = "seedlab") -> object:
    with psycopg.connect(found.url("postgres", role)) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0] if len(row) == 1 else row


# ---- a server, made and running -------------------------------------------------------------------------


@pytest.mark.slow
def test_the_server_is_durable_speaks_utf8_and_listens_on_no_port(running: server.Server) -> None:
    names = "fsync", "synchronous_commit", "full_page_writes", "server_encoding", "listen_addresses"
    settings = {name: ask(running, f"SELECT current_setting('{name}')") for name in names}

    assert settings == dict(zip(names, ["on", "on", "on", "UTF8", ""], strict=True))
    assert ask(running, "SELECT datcollate FROM pg_database WHERE datname = 'template0'") == "C"


def test_the_client_is_an_ordinary_role_that_owns_its_database(running: server.Server) -> None:
    server.ensure_database(running, "owned")

    rights = "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication FROM pg_roles WHERE rolname = user"
    assert ask(running, rights) == (False, True, False, False)
    assert ask(running, "SELECT datdba::regrole::text FROM pg_database WHERE datname = 'owned'") == "seedlab"


def test_a_second_start_finds_the_server_without_a_process(
    running: server.Server, environ: Environ, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", None)

    assert server.start(environ) == running


def test_a_database_that_is_there_is_kept(running: server.Server) -> None:
    url = server.ensure_database(running, "kept")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")

    again = server.ensure_database(running, "kept")

    with psycopg.connect(again) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)


def test_a_missing_database_is_told_by_its_sqlstate(running: server.Server) -> None:
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(running.url("missing"))


@pytest.mark.slow
def test_what_was_committed_outlives_a_stop(running: server.Server, environ: Environ) -> None:
    server.ensure_database(running, "outlives_a_stop")

    stopped = server.stop(environ)
    seen = server.status(environ)
    found = server.start(environ)

    assert not stopped.running
    assert seen == stopped
    assert ask(found, "SELECT count(*) FROM pg_database WHERE datname = 'outlives_a_stop'") == 1


def test_a_stopped_server_can_be_stopped(running: server.Server, environ: Environ) -> None:
    server.stop(environ)

    assert not server.stop(environ).running


# ---- clients and servers that die -----------------------------------------------------------------------


def test_the_server_survives_the_client_that_started_it(running: server.Server, environ: Environ) -> None:
    server.stop(environ)
    process = client(environ)
    assert process.stdout
    pid = int(process.stdout.readline())

    kill_group(process)

    assert server.status(environ).pid == pid
    assert ask(server.start(environ), "SELECT 1") == 1


def test_a_server_that_crashed_is_started_again(running: server.Server, environ: Environ) -> None:
    server.ensure_database(running, "outlives_a_crash")
    assert running.pid
    os.kill(running.pid, signal.SIGKILL)
    while server.status(environ).running:
        pass  # the kernel has not got to it yet

    found = server.start(environ)

    assert found.pid != running.pid
    assert ask(found, "SELECT count(*) FROM pg_database WHERE datname = 'outlives_a_crash'") == 1


def test_a_pid_file_whose_number_went_to_another_process_is_stale(
    running: server.Server, environ: Environ
) -> None:
    pid_file = running.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    owner = pid_file.stat().st_uid
    server.stop(environ)
    with subprocess.Popen(["sleep", "60"], user=owner if os.geteuid() == 0 else None) as stranger:
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]))
        os.chown(pid_file, owner, -1)
        seen = server.status(environ)
        found = server.start(environ)
        stranger.kill()

    assert not seen.running
    assert found.running


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="the system has no /proc")
def test_a_process_that_ends_while_it_is_looked_at_is_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root in a container may not read where a process of another user works, and reads its state instead."""

    def forbidden(_: Path) -> Path:
        raise PermissionError

    monkeypatch.setattr(Path, "readlink", forbidden)
    with subprocess.Popen(["true"]) as ended:
        pass
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "postmaster.pid").write_text(f"{ended.pid}\n")
    found = server.Server(home=tmp_path, major=18, socket=tmp_path)

    assert not cluster._has_postmaster(found)


def test_clients_that_start_at_once_get_one_server(running: server.Server, environ: Environ) -> None:
    server.stop(environ)

    assert len(started_at_once(environ)) == 1


@pytest.mark.slow
@pytest.mark.slow
def test_an_initdb_that_was_interrupted_is_made_anew_even_by_many(own_environ: Environ) -> None:
    folder = Path(own_environ["SEEDLAB_SERVER_DIR"])
    process = client(own_environ)
    while not list(folder.glob("pg*/new-*/PG_VERSION")):
        assert process.poll() is None
    kill_group(process)
    assert not list(folder.glob("pg*/data"))

    pids = started_at_once(own_environ)

    found = server.status(own_environ)
    assert pids == {found.pid}
    assert ask(found, "SELECT user") == "seedlab"


def started_at_once(environ: Environ) -> set[int]:
    """The pids of the servers that three clients got."""
    processes = [client(environ) for _ in range(3)]
    return {int(process.communicate("\n")[0]) for process in processes}


def test_a_server_that_does_not_start_shows_the_end_of_its_log(
    running: server.Server, environ: Environ
) -> None:
    server.stop(environ)
    configuration = running.data / "postgresql.conf"
    before = configuration.read_text()
    configuration.write_text(before + "no_such_setting = 1\n")

    with pytest.raises(ServerError, match=r"(?s)it ended; the log .* ends:.*no_such_setting"):
        server.start(environ)

    configuration.write_text(before)
    assert server.start(environ).running


# ---- whose it is ----------------------------------------------------------------------------------------


def test_no_other_user_gets_at_the_data_the_log_or_the_socket(running: server.Server) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in running.home.iterdir()}

    assert {modes["data"], modes["socket"]} == {0o700}
    assert modes["log"] == 0o600


@only_root
def test_another_user_cannot_connect(running: server.Server) -> None:
    code = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    command = ["/usr/bin/env", "python3", "-c", code, str(running.socket / ".s.PGSQL.5432")]
    path = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, user=12345, group=12345, extra_groups=[], env=path, capture_output=True, check=False
    )

    assert b"PermissionError" in done.stderr


@only_root
def test_root_runs_the_server_as_another_user(running: server.Server) -> None:
    assert running.data.stat().st_uid != 0
    assert Path(f"/proc/{running.pid}").stat().st_uid == running.data.stat().st_uid


def test_no_folder_above_is_changed(
    running: server.Server, environ: Environ, modes_before: dict[Path, int]
) -> None:
    assert {folder: folder.stat().st_mode for folder in modes_before} == modes_before
    assert stat.S_IMODE(Path(environ["SEEDLAB_SERVER_DIR"]).stat().st_mode) == 0o711


@only_root
def test_root_is_told_of_a_folder_that_the_servers_user_cannot_enter(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)

    with pytest.raises(ServerError, match="cannot enter"):
        server.start({**os.environ, "SEEDLAB_SERVER_DIR": str(tmp_path)})


@pytest.mark.slow
@only_root
def test_programs_in_a_private_folder_are_copied_for_the_servers_user(
    running: server.Server, environ: Environ, tmp_path: Path
) -> None:
    original = find_binaries(environ)
    package = original.parent.parent
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    for part in (f"{package.name}/{original.parent.name}", f"{package.name}.libs"):
        if (package.parent / part).is_dir():
            shutil.copytree(package.parent / part, private / part)
    server.stop(environ)

    found = server.start({**environ, "SEEDLAB_PG_BIN": str(private / original.relative_to(package.parent))})

    assert ask(found, "SELECT 1") == 1
    assert list(found.home.glob("copy-*"))
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


@pytest.mark.parametrize("plant", ["symlink", "writable by others"])
def test_a_home_that_another_user_could_have_planted_is_refused(
    environ: Environ, tmp_path: Path, plant: str
) -> None:
    home = tmp_path / server.status(environ).home.name
    if plant == "symlink":
        (tmp_path / "elsewhere").mkdir()
        home.symlink_to(tmp_path / "elsewhere")
    else:
        home.mkdir()
        home.chmod(0o777)

    with pytest.raises(ServerError, match="only you can write to"):
        server.start({**os.environ, "SEEDLAB_SERVER_DIR": str(tmp_path)})


def test_a_folder_with_files_of_others_is_neither_used_nor_cleaned(environ: Environ, tmp_path: Path) -> None:
    home = tmp_path / server.status(environ).home.name
    precious = home / "data" / "PG_VERSION"
    precious.parent.mkdir(parents=True)
    home.chmod(0o700)
    precious.write_text("18\n")
    other = {**os.environ, "SEEDLAB_SERVER_DIR": str(tmp_path)}

    with pytest.raises(ServerError, match="not made by seedlab"):
        server.start(other)
    with pytest.raises(ServerError, match="not made by seedlab"):
        server.clean(other)
    assert precious.exists()


@pytest.mark.slow
def test_clean_leaves_nothing_but_the_lock_and_the_mark(running: server.Server, environ: Environ) -> None:
    cleaned = server.clean(environ)

    assert not cleaned.running
    assert {path.name for path in running.home.iterdir()} == {"lock", "binaries"}


def test_what_was_never_made_can_be_asked_for_stopped_and_cleaned(own_environ: Environ) -> None:
    answers = [act(own_environ) for act in (server.status, server.stop, server.clean)]

    assert not any(found.running for found in answers)
    assert list(Path(own_environ["SEEDLAB_SERVER_DIR"]).iterdir()) == []


# ---- names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("project", "want"),
    [
        ("academy", "academy"),
        ("My Project-2.0", "my_project_2_0"),
        ("postgres", "postgres_"),
        ("פרויקט", "project_"),
        ("naïve", "nave_"),
        ("x" * 64, "x" * 54 + "_"),
        ("", "project_"),
    ],
)
def test_a_database_name_is_plain_and_gets_a_hash_for_what_it_lost(project: str, want: str) -> None:
    name = server.database_name(project)

    assert name.startswith(want)
    assert len(name) == len(want) + (8 if want.endswith("_") else 0)
    assert len(name.encode()) <= 63


def test_a_url_quotes_the_database_and_says_the_port(tmp_path: Path) -> None:
    found = server.Server(home=tmp_path, major=18, socket=Path("/run/a b"))

    assert found.url("a/b c") == "postgresql://seedlab@/a%2Fb%20c?host=/run/a%20b&port=5432"


def test_a_long_path_moves_the_socket_to_a_short_one(tmp_path: Path) -> None:
    found = server.status({**os.environ, "SEEDLAB_SERVER_DIR": str(tmp_path / ("long" * 20))})

    assert len(os.fsencode(found.socket / ".s.PGSQL.5432")) < 100
    assert not found.socket.is_relative_to(tmp_path)
