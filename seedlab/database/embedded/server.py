"""The embedded server: one PostgreSQL per user and major version, created and started when first needed.

All files of a server are in its home, `pg<major>` below SEEDLAB_SERVER_DIR or `~/.cache/seedlab`:

    binaries   installations known to have this version, one per line; also marks the home as seedlab's
    lock       locked while a server is created, started or stopped
    data/      the cluster; it is created under another name, and renamed once it is complete
    socket/    the socket's folder, with mode 0700; there is no TCP port, and hence no password
    log        the server's log

PostgreSQL refuses to run as root. For root it runs as an unprivileged user, and the home is in the system's
temporary directory, which that user can enter. The mode of a folder that we did not create is never changed.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import stat
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from seedlab.database.embedded.binaries import find_binaries, major_version
from seedlab.database.embedded.cluster import (
    PATIENCE,
    SOCKET,
    SOCKET_LENGTH,
    Server,
    Site,
    create,
    halt,
    launch,
    refreshed,
    remove,
    run,
    usable,
)
from seedlab.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg import sql

__all__ = [
    "Server",
    "clean",
    "create_database",
    "database_name",
    "ensure_database",
    "find_binaries",
    "start",
    "status",
    "stop",
]

UNPRIVILEGED = ("pgserver", "nobody")
_NAME_LENGTH = 63  # bytes of a PostgreSQL identifier
_KEPT = frozenset({"binaries", "lock"})


def status(environ: Mapping[str, str] | None = None) -> Server:
    """Return the server's state, without a connection and, once its version is known, without a process."""
    return _site(environ).server


def start(environ: Mapping[str, str] | None = None) -> Server:
    """Return the running server, after creating and starting it if necessary.

    Clients that start at the same time get the same server, which runs until `stop`, independently of its
    clients. Cost: less than a millisecond if it is running. Raises ServerError with the end of the log.
    """
    site = _site(environ)
    if site.server.running:
        return site.server
    _prepare(site)
    with _locked(site.server):
        if not refreshed(site.server).running:
            site = usable(site)
            if not site.server.data.exists():
                create(site)
            launch(site)
    return refreshed(site.server)


def stop(environ: Mapping[str, str] | None = None) -> Server:
    """Stop the server; open transactions are rolled back."""
    site = _site(environ)
    if site.server.home.exists():
        with _locked(site.server):
            halt(site)
    return refreshed(site.server)


def clean(environ: Mapping[str, str] | None = None) -> Server:
    """Stop the server, and remove its databases, log and socket.

    The lock file stays, because other clients may be waiting for it.
    """
    site = _site(environ)
    server = site.server
    if server.home.exists():
        _require_ours(server)
        with _locked(server):
            halt(site)
            for path in (*server.home.iterdir(), server.socket):
                if path.name not in _KEPT:
                    remove(path)
    return refreshed(server)


def database_name(project: str) -> str:
    """Derive a database's name from a project's: lower case, with `_` for blanks, dots and dashes.

    If that is not sufficient (other characters, over 63 bytes, a system database's name), a hash is appended,
    so that two projects never share a database.
    """
    plain = re.sub(r"[\s._-]+", "_", project.strip().lower())
    name = re.sub(r"[^a-z0-9_]", "", plain)
    if name == plain and 0 < len(name) <= _NAME_LENGTH and name not in {"postgres", "template0", "template1"}:
        return name
    return f"{name[: _NAME_LENGTH - 9] or 'project'}_{_digest(project.encode())}"


def ensure_database(server: Server, database: str) -> str:
    """Create the database if it is missing, and return its URL.

    To be called after a connection was refused with 3D000 (no such database): this opens its own connection,
    which would be too expensive for every run.
    """
    import psycopg

    exists = (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation)  # by another client
    try:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection, suppress(*exists):
            if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [database]).rowcount:
                connection.execute(create_database(database))
                connection.execute(without_user_schema(database))
    except psycopg.Error as error:
        raise ServerError(
            f"creating the database {database!r} on the embedded server failed: {error}"
        ) from error
    return server.url(database)


def create_database(name: str) -> sql.Composed:
    """Build CREATE DATABASE; from template0, as a client connected to template1 would block it."""
    from psycopg import sql

    return sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))


def without_user_schema(name: str) -> sql.Composed:
    """Remove "$user" from the database's search path, as the ledger's schema has the name of our role."""
    from psycopg import sql

    return sql.SQL("ALTER DATABASE {} SET search_path = public").format(sql.Identifier(name))


# ---- location -------------------------------------------------------------------------------------------


def _site(environ: Mapping[str, str] | None) -> Site:
    """Find programs, home and state; refuse a home that another user could have created."""
    environ = os.environ if environ is None else environ
    binaries = find_binaries(environ)
    root = _root(environ)
    major = _known_major(binaries, root)
    home = root / f"pg{major}"
    _refuse_foreign(home)
    server = Server(home=home, major=major, socket=_socket_folder(home))
    return Site(server=refreshed(server), binaries=binaries, account=_account(), environ=environ)


def _root(environ: Mapping[str, str]) -> Path:
    """Return the parent folder of all homes."""
    if folder := environ.get("SEEDLAB_SERVER_DIR"):
        return Path(folder).expanduser().absolute()
    if os.geteuid() == 0:
        root = Path(tempfile.gettempdir(), "seedlab-0")
        _refuse_foreign(root)
        return root
    return Path.home() / ".cache" / "seedlab"


def _account() -> pwd.struct_passwd | None:
    """Return the user who runs the server: None for ourselves, an unprivileged user if we are root."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerError(
        f"PostgreSQL does not run as root, and there is no user {' or '.join(UNPRIVILEGED)} to run it; "
        "call seedlab as an ordinary user"
    )


def _known_major(binaries: Path, root: Path) -> int:
    """Return the version of the programs: as an earlier start recorded it, else by running them."""
    line = _binaries_line(binaries)
    for known in root.glob("pg*/binaries"):
        if line in known.read_text().splitlines():
            return int(known.parent.name.removeprefix("pg"))
    return major_version(binaries)


def _binaries_line(binaries: Path) -> str:
    """Identify an installation by path and time, so that the version of a replaced one is read again."""
    return f"{(binaries / 'postgres').stat().st_mtime_ns} {binaries}"


def _socket_folder(home: Path) -> Path:
    """Return the socket's folder, in the temporary directory if the home's path is too long for a socket."""
    folder = home / "socket"
    if len(os.fsencode(folder / SOCKET)) < SOCKET_LENGTH:
        return folder
    return Path(tempfile.gettempdir(), f"seedlab-{os.geteuid()}", _digest(os.fsencode(home)))


def _digest(name: bytes) -> str:
    """Hash a name that cannot be used as it is to 8 hex digits."""
    import hashlib  # takes 4 ms, which usual names and homes should not pay

    return hashlib.sha256(name).hexdigest()[:8]


def _refuse_foreign(path: Path) -> None:
    """Raise ServerError if the path exists, but is not a folder that only we can write to."""
    with suppress(FileNotFoundError):
        found = path.lstat()
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
        if not ours:
            raise ServerError(
                f"the embedded server keeps its files in {path}, but that is not a directory which only you "
                "can write to; remove it, or set SEEDLAB_SERVER_DIR to another folder"
            )


# ---- creating, starting, stopping -----------------------------------------------------------------------


def _prepare(site: Site) -> None:
    """Create the home with its mark, and the socket's folder."""
    server = site.server
    mode = 0o711 if site.account else 0o700  # another user who runs the server may enter, but not list
    for folder in (server.home.parent, server.home):
        _make_folder(folder, mode)
    _require_ours(server)
    known = server.home / "binaries"
    line = _binaries_line(site.binaries)
    if not known.exists() or line not in known.read_text().splitlines():
        with known.open("a") as file:
            file.write(f"{line}\n")
    if server.socket.parent != server.home:
        _make_folder(server.socket.parent, mode)
        _refuse_foreign(server.socket.parent)
    _require_reach(site)


def _require_ours(server: Server) -> None:
    """Raise ServerError if the home has files, but not our mark."""
    # The mark must be checked last, because another client writes it before anything else.
    if (
        any(path.name not in _KEPT for path in server.home.iterdir())
        and not (server.home / "binaries").exists()
    ):
        raise ServerError(f"{server.home} was not made by seedlab; set SEEDLAB_SERVER_DIR to another folder")


def _make_folder(folder: Path, mode: int) -> None:
    """Create a folder with exactly this mode; an existing one keeps its own."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        folder.chmod(mode)


def _require_reach(site: Site) -> None:
    """Raise ServerError if the server's user cannot enter the home."""
    if site.account and run(site, ["/bin/sh", "-c", 'cd -- "$0"', site.server.home]).returncode:
        raise ServerError(
            f"as root, PostgreSQL is run by the user {site.account.pw_name}, who cannot enter "
            f"{site.server.home}; set SEEDLAB_SERVER_DIR to a folder that every user can enter"
        )


@contextmanager
def _locked(server: Server) -> Iterator[None]:
    """Hold the home's lock, which the kernel releases if this process dies."""
    deadline = time.monotonic() + PATIENCE
    with (server.home / "lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ServerError(
                        f"another process has held {file.name} for a minute, to start or stop the server; "
                        "wait for it, or end it"
                    ) from None
                time.sleep(0.01)
        yield
