"""Create, start and stop the cluster (data directory and processes) of an embedded PostgreSQL server."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from seedlab.database.embedded.binaries import copy_binaries
from seedlab.database.polling import readable
from seedlab.errors import ServerError

if TYPE_CHECKING:
    import pwd
    from collections.abc import Iterator, Mapping, Sequence
    from io import BufferedReader, BufferedWriter

__all__ = [
    "PATIENCE",
    "ROLE",
    "SOCKET",
    "SOCKET_LENGTH",
    "Server",
    "Site",
    "create",
    "halt",
    "launch",
    "lives",
    "refreshed",
    "remove",
    "run",
    "usable",
]

ROLE = "seedlab"  # owner of the projects' databases; may create databases, but is not a superuser
SUPERUSER = "postgres"
PORT = 5432  # only part of the socket's name, as there is no TCP port
SOCKET = f".s.PGSQL.{PORT}"
SOCKET_LENGTH = 100  # bytes of the socket's path; operating systems allow 104 or 108
PATIENCE = 60.0  # seconds to wait for a start (including crash recovery), a stop, or another client's lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """An embedded server; `pid` is None while it is not running."""

    home: Path
    major: int
    socket: Path
    pid: int | None = None

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.home / "data"

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.home / "log"

    @property
    def running(self) -> bool:
        """Whether the server accepted connections when its state was read."""
        return self.pid is not None

    def url(self, database: str, role: str = ROLE) -> str:
        """Return the URL of a database; it has the port, as PGPORT would else select another socket."""
        return f"postgresql://{role}@/{quote(database, safe='')}?host={quote(str(self.socket))}&port={PORT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A server with what is needed to control it; `account` is the user that runs it when we are root."""

    server: Server
    binaries: Path
    account: pwd.struct_passwd | None
    environ: Mapping[str, str]


# ---- state ----------------------------------------------------------------------------------------------


def refreshed(server: Server) -> Server:
    """Return the server with its current pid, which is None unless it accepts connections."""
    lines = _pid_file(server)
    ready = len(lines) > 7 and lines[7].strip() == "ready" and _is_bound(server.socket / SOCKET)
    return replace(server, pid=int(lines[0]) if ready else None)


def _pid_file(server: Server) -> list[str]:
    """Read the lines of postmaster.pid (1: pid, 8: state); none if the file is missing."""
    try:
        return (server.data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _is_bound(path: Path) -> bool:
    """Tell whether a live process listens on the socket.

    Connecting a datagram socket to a stream socket fails with EPROTOTYPE while its owner lives, and with
    ECONNREFUSED afterwards. A real connection would make the server fork a backend.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex(os.fsencode(path)) == errno.EPROTOTYPE


def _has_postmaster(server: Server) -> bool:
    """Tell whether the process of postmaster.pid lives and works in our data directory."""
    lines = _pid_file(server)
    if not lines:
        return False
    if not Path("/proc/self").exists():
        return lives(int(lines[0]))
    process = Path("/proc", lines[0])
    with suppress(OSError):  # gone, or a zombie
        try:
            return (process / "cwd").readlink() == server.data.resolve()
        except PermissionError:  # root in a container may not read this of other users' processes
            known = (process / "stat").read_text()
            return " (postgres) " in known and " (postgres) Z" not in known
    return False


def lives(pid: int) -> bool:
    """Tell whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _log_tail(server: Server) -> str:
    """Return the last lines of the log, for messages."""
    with suppress(FileNotFoundError):
        lines = server.log.read_text(errors="replace").splitlines()[-10:]
        return f"the log {server.log} ends:\n" + "\n".join(lines)
    return f"there is no log {server.log}"


# ---- creating, starting, stopping -----------------------------------------------------------------------


def usable(site: Site) -> Site:
    """Return the site with programs that the server's user can run, copying them if necessary."""
    with suppress(PermissionError):
        if not site.account or not run(site, [site.binaries / "initdb", "--version"]).returncode:
            return site
    return replace(site, binaries=copy_binaries(site.binaries, site.server.home))


def create(site: Site) -> None:
    """Create the cluster and its role under a temporary name, and rename it once it is complete."""
    home = site.server.home
    for abandoned in home.glob("new-*"):
        shutil.rmtree(abandoned, ignore_errors=True)  # fails while its initdb is still running
    draft = Path(tempfile.mkdtemp(prefix="new-", dir=home))
    _give(draft, site.account)
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if site.server.major >= 17 else []
    _do(site, "initdb", "-D", draft, "-U", SUPERUSER, "-E", "UTF8", "--auth=trust", "--locale=C", *locale)
    _do(site, "postgres", "--single", "-D", draft, "postgres", text=f"CREATE ROLE {ROLE} LOGIN CREATEDB\n")
    draft.rename(site.server.data)
    _flush(home)


def launch(site: Site) -> None:
    """Start postgres and wait until it accepts connections."""
    server, deadline = site.server, time.monotonic() + PATIENCE
    # A client that was killed may have left a server that is still starting or stopping.
    while _has_postmaster(server) and not refreshed(server).running and time.monotonic() < deadline:
        time.sleep(0.005)
    if refreshed(server).running:
        return
    _drop_stale_pid(server)
    with _spawned(site) as pulse:
        while not refreshed(server).running:
            time.sleep(0.005)
            ended = readable(pulse.fileno(), seconds=0)
            if (ended and not _has_postmaster(server)) or time.monotonic() > deadline:
                how = "it ended" if ended else f"it was not ready after {PATIENCE:.0f} s"
                raise ServerError(f"started PostgreSQL on {server.data}, but {how}; {_log_tail(server)}")


def _drop_stale_pid(server: Server) -> None:
    """Remove lock files whose pid now belongs to another process, as after a reboot.

    If no process has the pid, postgres itself removes them, after checking for orphaned backends.
    """
    lines = _pid_file(server)
    if lines and lives(int(lines[0])) and not _has_postmaster(server):
        (server.data / "postmaster.pid").unlink(missing_ok=True)
        (server.socket / f"{SOCKET}.lock").unlink(missing_ok=True)


@contextmanager
def _spawned(site: Site) -> Iterator[BufferedReader]:
    """Start postgres as a daemon; yield a pipe that becomes readable when postgres has ended.

    It is started by a shell that exits at once, so that it is not our child. It has its own session, so that
    it does not get the signals of our terminal and process group.
    """
    server = site.server
    with suppress(FileExistsError):
        server.socket.mkdir(mode=0o700)
        _give(server.socket, site.account)
    quoted = str(server.socket).replace('"', '""')  # PostgreSQL expects a comma-separated list of folders
    options: list[str | Path] = ["-D", server.data, "-k", f'"{quoted}"', f"-p{PORT}", "-clisten_addresses="]
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pulse:
        with os.fdopen(writer, "wb"), _private(server.log) as log:
            shell = ["/bin/sh", "-c", '"$@" &', "sh", site.binaries / "postgres", *options]
            run(site, shell, output=log.fileno(), held=(writer,))
        yield pulse


def halt(site: Site) -> None:
    """Stop the server if it is running."""
    if _has_postmaster(site.server):
        wait = ("-w", "-t", f"{PATIENCE:.0f}")
        _do(usable(site), "pg_ctl", "stop", "-D", site.server.data, "-m", "fast", *wait)


# ---- processes and files --------------------------------------------------------------------------------


def _do(site: Site, program: str, *arguments: str | Path, text: str = "") -> None:
    """Run one of PostgreSQL's programs; raise ServerError with its output if it fails."""
    done = run(site, [site.binaries / program, *arguments], text=text)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-10:])
        raise ServerError(
            f"ran {program} for {site.server.home}; it failed ({done.returncode}), saying:\n{said}"
        )


def run(
    site: Site,
    command: Sequence[str | Path],
    *,
    text: str = "",
    output: int = subprocess.PIPE,
    held: tuple[int, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a command as the server's user, in a new session, and without our environment variables."""
    account = site.account
    kept = ("PATH", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return subprocess.run(  # noqa: S603 - a list, no shell reads it
        command,
        input=text,
        stdout=output,
        stderr=output,
        text=True,
        check=False,
        cwd="/",
        env={name: site.environ[name] for name in kept if name in site.environ} | {"LC_ALL": "C"},
        start_new_session=True,
        pass_fds=held,
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=[] if account else None,
    )


def _give(path: Path, account: pwd.struct_passwd | None) -> None:
    """Make the server's user the owner of a folder that was just created."""
    if account:
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def _private(path: Path) -> BufferedWriter:
    """Open a log for appending that only its owner can read, since statements in it may contain data."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def remove(path: Path) -> None:
    """Remove a file, or a folder with everything in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(folder: Path) -> None:
    """Make a rename in this folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
