"""Snapshots as SQLite files in the user's cache; a clone is a copy of the file, sharing its blocks if it can.

    NAME.db     the snapshot, made under another name and renamed
    NAME.json   its mark, written last
    NAME.lock   locked: exclusively by who removes it, shared by who uses it
    NAME.making locked by who makes it

Clones lie in a temporary folder of the session. Folders whose lock nobody holds were left by a process that
was killed, and the next one removes them.
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
    Door,
    Mark,
    Relations,
    Snapshot,
    Wanted,
    mark_of,
    newest_first,
)
from seedlab.database.sqlite_connection import quote
from seedlab.errors import ConfigurationError, Refused
from seedlab.flow import Target

_FICLONE = 0x40049409  # Linux: share the blocks of a file until one of the two is written
_CHUNK = 1 << 20
_LEDGER = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'seedlab_*'"
_HANDED = "seedlab_clone"  # the table by which a clone that was handed over is known


class SqliteSnapshots:
    """The `Snapshots` of a folder."""

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
        """The library's version."""
        return f"sqlite {sqlite3.sqlite_version}"

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Take no turns: a file can be copied while others read and write it."""
        yield

    def base(self, empties: Relations) -> str:  # noqa: ARG002 (the file is hashed whole)
        """Hash the file, and what is still in its log: any write is seen, of the emptied tables too."""
        path = Path(self._target.url)
        if not path.exists():
            raise Refused(
                f"{self._target.shown} does not exist: run your migrations first, or name your SQLAlchemy "
                'tables in [project] schema = "models.py:metadata"'
            )
        return " ".join([_hash(each) for each in (path, Path(f"{path}-wal")) if each.exists()])

    def ready(self, wanted: Wanted, build: Build) -> tuple[Snapshot, bool]:
        """Find the snapshot's file by its mark, else make it while no other process does."""
        path = self._home / f"{SNAPSHOT}{wanted.digits}.db"
        self._hold(path)  # waits for who removes it
        if found := _whole(path, wanted.fingerprint):
            return found, False
        self._release(path)
        # Who makes it has a lock of its own: whoever waits for it must not wait for those who use it by now.
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
        """Look for a file of that name, and whether it has the table of a clone."""
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
                f"there is a file {path}, and it is no clone of ours; choose another name, or remove it"
            )
        if not replace:
            raise Refused(f"there is a clone {path} already; to make it anew, type --replace")

    def hand_over(self, snapshot: Snapshot, name: str, *, replace: bool) -> Target:
        """Copy the file to a path, in one step for whoever looks there."""
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
        """The clone's target at the path that `keep` gives it: in the folder KEPT instead of CLONE."""
        path = Path(clone.url)
        folder = path.parent.with_name(path.parent.name.replace(CLONE, KEPT))
        return self._at(folder / path.name)

    def keep(self, clone: Target) -> None:
        """Move the clone's files to the path that `kept_as` says, which no clean-up touches."""
        folder = Path(self.kept_as(clone).url).parent
        folder.mkdir(mode=0o700, exist_ok=True)
        for each in _files(Path(clone.url)):
            each.rename(folder / each.name)

    def drop(self, clone: Target) -> None:
        """Remove the clone's file with its journal, WAL and shared memory."""
        for each in _files(Path(clone.url)):
            each.unlink(missing_ok=True)

    def door(self) -> Door:
        """Raise ConfigurationError: SQLite has no server."""
        raise ConfigurationError(f"{self._target.shown} is a file, and no server listens")

    def every(self) -> list[Snapshot]:
        """Read the marks; clones of files are not counted."""
        found = [_whole(path) for path in self._home.glob(f"{SNAPSHOT}*.db")]
        return newest_first([each for each in found if each is not None])

    def leftovers(self) -> list[str]:
        """Find attempts without a mark, and kept clones of ours."""
        dead = [str(path) for path in self._home.glob(f"{SNAPSHOT}*.db*") if _whole(path) is None]
        return [*dead, *(str(path) for path in _ours(KEPT))]

    def remove(self, name: str) -> bool:
        """Remove the files under the lock; the lock's file stays, for those who wait for it."""
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
        """Remove the session's folder, and let go of all locks."""
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
        """Seed the file under a temporary name, rename it, and last of all write its mark."""
        path.with_suffix(".json").unlink(missing_ok=True)
        new = path.with_suffix(".db.new")
        for each in _files(new):  # a dead attempt
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
        """Copy the target as it is at this moment, without our ledger and the rows that are to be seeded."""
        with closing(sqlite3.connect(self._target.url)) as source, closing(sqlite3.connect(new)) as copy:
            source.backup(copy)
            for (name,) in copy.execute(_LEDGER).fetchall():
                copy.execute(f"DROP TABLE {quote(name)}")
            numbered = copy.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'").fetchone()
            for _, table in empties:  # foreign keys are off: all that refers to these rows is emptied too
                copy.execute(f"DELETE FROM {quote(table)}")  # noqa: S608
                if numbered:
                    copy.execute("DELETE FROM sqlite_sequence WHERE name = ?", [table])
            copy.commit()


# ---- files ------------------------------------------------------------------------------------------------


def _cache() -> Path:
    """The folder of the snapshots, which only we can enter."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "seedlab" / "snapshots"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    seen = folder.stat()
    if seen.st_uid != os.geteuid() or seen.st_mode & 0o022:
        raise ConfigurationError(
            f"snapshots are kept in {folder}, but others can write there; "
            "set XDG_CACHE_HOME to another folder"
        )
    return folder


def _named(name: str) -> Path:
    """The file that a name means."""
    return Path(name if Path(name).suffix else f"{name}.db").absolute()


def _whole(path: Path, fingerprint: str | None = None) -> Snapshot | None:
    """Give the snapshot of a file, if it has a mark (and this fingerprint)."""
    try:
        mark = Mark.of(path.with_suffix(".json").read_text("utf-8"))
    except OSError:
        return None
    whole = mark is not None and path.exists() and fingerprint in (None, mark.fingerprint)
    return Snapshot(name=str(path), mark=mark) if mark is not None and whole else None


def _locked(path: Path, how: int) -> IO[str]:
    """Open a file and lock it; the lock is gone when the file is closed, or the process is."""
    file = path.open("w")
    try:
        fcntl.flock(file, how)
    except BaseException:
        file.close()
        raise
    return file


def _ours(prefix: str) -> list[Path]:
    """Folders of ours in the system's temporary one."""
    found = Path(tempfile.gettempdir()).glob(f"{prefix}*")
    return [path for path in found if path.lstat().st_uid == os.geteuid() and path.is_dir()]


def _sweep() -> None:
    """Remove what killed processes left; who lives holds the lock of its folder."""
    for folder in _ours(CLONE):
        with suppress(OSError), closing(_locked(folder / "lock", fcntl.LOCK_EX | fcntl.LOCK_NB)):
            shutil.rmtree(folder, ignore_errors=True)


def _files(path: Path) -> list[Path]:
    """A database's file, and its journal or log beside it."""
    return [each for end in ("", "-wal", "-shm", "-journal") if (each := Path(f"{path}{end}")).exists()]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, xxhash.xxh3_128).hexdigest()


def _copy(source: Path, to: Path) -> None:
    """Copy a file: share its blocks where the file system can, else let the kernel copy them."""
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
