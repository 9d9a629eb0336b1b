"""`SqliteSnapshots`: snapshots as SQLite files in the user's cache; clones are copies of the files.

    NAME.db     the snapshot, made under another name and renamed
    NAME.json   its mark, written last
    NAME.lock   locked exclusively while the snapshot is removed, and shared while it is used
    NAME.making locked while the snapshot is made

Clones share blocks with the snapshot if the file system can. They are in a temporary folder of the session. A
folder whose lock is free was left by a killed process, and is removed by the next session.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace as changed
from hashlib import file_digest
from itertools import count
from pathlib import Path
from typing import IO

import xxhash

from seedlab.database.snapshots import (
    CLONE,
    KEPT,
    SNAPSHOT,
    Build,
    Mark,
    Relations,
    ServerAccess,
    Snapshot,
    Wanted,
    mark_of,
    newest_first,
)
from seedlab.database.sqlite.ledger import drop_ledger
from seedlab.database.sqlite.statements import HAS_SEQUENCES
from seedlab.errors import ConfigurationError, Refused
from seedlab.flow import Target
from seedlab.flow.catalog import quote

_FICLONE = 0x40049409  # Linux ioctl: share the blocks of a file (copy on write)
_CHUNK = 1 << 20
_HANDED = "seedlab_clone"  # the table that marks a clone that was handed over


class SqliteSnapshots:
    """The `Snapshots` in a folder of the user's cache."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._home = _cache()
        self._numbers = count(1)
        self._held: dict[str, IO[str]] = {}
        with closing(_locked(self._home / "sessions.lock", fcntl.LOCK_EX)):
            _sweep()
            self._folder = Path(tempfile.mkdtemp(prefix=CLONE))
            self._alive = _locked(self._folder / "lock", fcntl.LOCK_EX)

    @property
    def maker(self) -> str:
        """The version of SQLite."""
        return f"sqlite {sqlite3.sqlite_version}"

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Do nothing: a file can be copied while others read and write it."""
        yield

    def base(self, empties: Relations) -> str:  # noqa: ARG002 (the file is hashed whole)
        """Hash the file and its WAL; any write changes the hash, even to tables that will be emptied."""
        path = Path(self._target.url)
        if not path.exists():
            raise Refused(
                f"{self._target.shown} does not exist: run your migrations first, or name your SQLAlchemy "
                'tables in [project] schema = "models.py:metadata"'
            )
        return " ".join([_hash(each) for each in (path, Path(f"{path}-wal")) if each.exists()])

    def ready(self, wanted: Wanted, build: Build) -> tuple[Snapshot, bool]:
        """Find the snapshot's file by its mark, or make it while other processes wait."""
        path = self._home / f"{SNAPSHOT}{wanted.digits}.db"
        self._hold(path)  # waits for a process that removes it
        if found := _whole(path, wanted.fingerprint):
            return found, False
        self._release(path)
        # Making it has its own lock, as a process that waits for it must not wait for others that use it.
        with closing(_locked(path.with_suffix(".making"), fcntl.LOCK_EX)):
            self._hold(path)
            if found := _whole(path, wanted.fingerprint):
                return found, False
            try:
                return self._make(path, wanted, build), True
            except BaseException:
                self._release(path)
                raise

    def clone(self, snapshot: Snapshot) -> Target:
        """Copy the snapshot's file into this session's folder."""
        path = self._folder / f"{next(self._numbers)}.db"
        _copy(Path(snapshot.name), path)
        return self._at(path)

    def claim(self, name: str, *, replace: bool) -> None:
        """Check that no file has this name, or that it has the table that marks a clone."""
        path = _named(name)
        if not path.exists():
            return
        try:
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
                ours = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", [_HANDED]).fetchone()
        except sqlite3.Error:
            ours = None
        if not ours:
            raise Refused(
                f"there is a file {path}, which is not a clone made by seedlab; "
                "choose another name, or remove it"
            )
        if not replace:
            raise Refused(f"there is a clone {path} already; to replace it, type --replace")

    def hand_over(self, snapshot: Snapshot, name: str, *, replace: bool) -> Target:
        """Copy the file to a path atomically."""
        self.claim(name, replace=replace)
        path = _named(name)
        new = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            _copy(Path(snapshot.name), new)
            with closing(sqlite3.connect(new)) as connection:
                connection.execute(f"CREATE TABLE {_HANDED} AS SELECT ? AS snapshot", [snapshot.name])
                connection.commit()
            for each in ("-wal", "-shm", "-journal"):
                Path(f"{path}{each}").unlink(missing_ok=True)
            new.replace(path)
        except OSError as error:
            raise ConfigurationError(f"writing {path}: {(error.strerror or str(error)).lower()}") from error
        finally:
            new.unlink(missing_ok=True)
        return self._at(path)

    def kept_as(self, clone: Target) -> Target:
        """Return the clone's target in the folder KEPT instead of CLONE."""
        path = Path(clone.url)
        folder = path.parent.with_name(path.parent.name.replace(CLONE, KEPT))
        return self._at(folder / path.name)

    def keep(self, clone: Target) -> None:
        """Move the clone's files to the path that `kept_as` returns, which no clean-up removes."""
        folder = Path(self.kept_as(clone).url).parent
        folder.mkdir(mode=0o700, exist_ok=True)
        for each in _files(Path(clone.url)):
            each.rename(folder / each.name)

    def drop(self, clone: Target) -> None:
        """Remove the clone's file with its journal, WAL and shared memory."""
        for each in _files(Path(clone.url)):
            each.unlink(missing_ok=True)

    def server_access(self) -> ServerAccess:
        """Raise ConfigurationError: SQLite has no server."""
        raise ConfigurationError(f"{self._target.shown} is a file, and no server listens")

    def every(self) -> list[Snapshot]:
        """Find the snapshots by their marks; their clones are not counted."""
        found = [_whole(path) for path in self._home.glob(f"{SNAPSHOT}*.db")]
        return newest_first([each for each in found if each is not None])

    def leftovers(self) -> list[str]:
        """Find abandoned attempts, which have no mark, and the user's kept clones."""
        dead = [str(path) for path in self._home.glob(f"{SNAPSHOT}*.db*") if _whole(path) is None]
        return [*dead, *(str(path) for path in _ours(KEPT))]

    def remove(self, name: str) -> bool:
        """Remove the files under the exclusive lock; the lock file stays, as others may wait for it."""
        path = Path(name)
        if path.is_dir():
            shutil.rmtree(path)
            return True
        try:
            lock = _locked(self._home / f"{path.name.partition('.')[0]}.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        with closing(lock):
            path.with_suffix(".json").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        return True

    def close(self) -> None:
        """Remove the session's folder, and release all locks."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._alive.close()
        for each in self._held.values():
            each.close()
        self._held.clear()

    # ---- inside

    def _at(self, path: Path) -> Target:
        return changed(self._target, url=str(path), shown=f"sqlite:///{path}", database=path.stem, name=None)

    def _hold(self, path: Path) -> None:
        self._release(path)
        self._held[path.name] = _locked(path.with_suffix(".lock"), fcntl.LOCK_SH)

    def _release(self, path: Path) -> None:
        if held := self._held.pop(path.name, None):
            held.close()

    def _make(self, path: Path, wanted: Wanted, build: Build) -> Snapshot:
        """Seed a file under a temporary name, rename it, and finally write its mark."""
        path.with_suffix(".json").unlink(missing_ok=True)
        new = path.with_suffix(".db.new")
        for each in _files(new):  # of an abandoned attempt
            each.unlink()
        try:
            if wanted.empties is not None:
                self._take(new, wanted.empties)
            rows = build(self._at(new))
            with closing(sqlite3.connect(new)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                connection.execute("ANALYZE")
                connection.commit()
            mark = mark_of(wanted, rows=rows, size=new.stat().st_size)
            new.replace(path)
        finally:
            for each in _files(new):
                each.unlink(missing_ok=True)
        said = path.with_suffix(".json.new")
        said.write_text(mark.to_json(), "utf-8")
        said.replace(path.with_suffix(".json"))
        return Snapshot(name=str(path), mark=mark)

    def _take(self, new: Path, empties: Relations) -> None:
        """Copy the target consistently, without the ledger and the rows that will be seeded."""
        with closing(sqlite3.connect(self._target.url)) as source, closing(sqlite3.connect(new)) as copy:
            source.backup(copy)
            drop_ledger(copy)
            numbered = copy.execute(HAS_SEQUENCES).fetchone()
            for _, table in empties:  # foreign keys are off, and `empties` has all tables that refer to these
                copy.execute(f"DELETE FROM {quote(table)}")  # noqa: S608
                if numbered:
                    copy.execute("DELETE FROM sqlite_sequence WHERE name = ?", [table])
            copy.commit()


# ---- files ------------------------------------------------------------------------------------------------


def _cache() -> Path:
    """Return the folder of the snapshots, after checking that only the user can write to it."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "seedlab" / "snapshots"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigurationError(
            f"the folder of snapshots {folder} cannot be made: {error.strerror}; "
            "set XDG_CACHE_HOME to another folder"
        ) from error
    seen = folder.stat()
    if seen.st_uid != os.geteuid() or seen.st_mode & 0o022:
        raise ConfigurationError(
            f"snapshots are kept in {folder}, but other users can write there; "
            "set XDG_CACHE_HOME to another folder"
        )
    return folder


def _named(name: str) -> Path:
    """Return the file of a clone's name, with the suffix `.db` unless it has one."""
    return Path(name if Path(name).suffix else f"{name}.db").absolute()


def _whole(path: Path, fingerprint: str | None = None) -> Snapshot | None:
    """Return the snapshot of a file if it has a mark, and this fingerprint if given."""
    try:
        mark = Mark.of(path.with_suffix(".json").read_text("utf-8"))
    except OSError:
        return None
    if mark is None or not path.exists() or fingerprint not in (None, mark.fingerprint):
        return None
    return Snapshot(name=str(path), mark=mark)


def _locked(path: Path, how: int) -> IO[str]:
    """Open a file and lock it, until the file is closed or the process ends."""
    file = path.open("w")
    try:
        fcntl.flock(file, how)
    except BaseException:
        file.close()
        raise
    return file


def _ours(prefix: str) -> list[Path]:
    """Return the user's folders with this prefix in the temporary folder."""
    found = Path(tempfile.gettempdir()).glob(f"{prefix}*")
    return [path for path in found if path.lstat().st_uid == os.geteuid() and path.is_dir()]


def _sweep() -> None:
    """Remove folders whose lock is free: their processes were killed."""
    for folder in _ours(CLONE):
        with suppress(OSError), closing(_locked(folder / "lock", fcntl.LOCK_EX | fcntl.LOCK_NB)):
            shutil.rmtree(folder, ignore_errors=True)


def _files(path: Path) -> list[Path]:
    """Return a database's files: the database itself, WAL, shared memory and journal, if they exist."""
    return [each for end in ("", "-wal", "-shm", "-journal") if (each := Path(f"{path}{end}")).exists()]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, xxhash.xxh3_128).hexdigest()


def _copy(source: Path, to: Path) -> None:
    """Copy a file by sharing its blocks if the file system can, else by copying in the kernel."""
    with source.open("rb") as given, to.open("wb") as taken:
        with suppress(OSError):
            fcntl.ioctl(taken, _FICLONE, given.fileno())
            return
        left = os.fstat(given.fileno()).st_size
        try:
            while left > 0 and (done := os.copy_file_range(given.fileno(), taken.fileno(), left)):
                left -= done
        except (OSError, AttributeError):  # across file systems of old kernels; not on macOS
            given.seek(0)
            taken.seek(0)
            taken.truncate()
            shutil.copyfileobj(given, taken, _CHUNK)
