"""The lock of an SQLite target: a file beside the database, locked during a run, that names the process.

SQLite's own lock excludes other writers, but does not identify its holder. The operating system releases the
file lock when the process dies; the next run takes the remaining file over.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from seedlab.database.lock_holder import Holder, this_process

_PAUSE = 0.02  # seconds between two attempts
_LOOKS = 25  # attempts to read a locked file whose holder has not written its name yet


class SideLock:
    """The lock file of a database; symbolic links to one database share it."""

    def __init__(self, database: str) -> None:
        self.path = Path(f"{os.path.realpath(database)}.seedlab-lock")
        self._file: int | None = None

    def take(self, milliseconds: int) -> Holder | None:
        """Take the lock, waiting while another run has it; return its holder if it could not be taken."""
        end = time.monotonic() + milliseconds / 1000
        while (holder := self._try()) is not None and time.monotonic() < end:
            time.sleep(_PAUSE)
        return holder

    def _try(self) -> Holder | None:
        for _ in range(_LOOKS):
            try:
                file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            except OSError:  # the folder is not writable, so only SQLite's own lock is used
                return None
            if self._hold(file):
                return None
            os.close(file)
            if (holder := self._read()) is not None:
                return holder
            time.sleep(_PAUSE)
        return Holder()

    def _hold(self, file: int) -> bool:
        """Lock the file and write our name into it; False if its last holder has deleted it meanwhile."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not self._is_there(file):
            return False
        pid, host = this_process()
        started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        os.ftruncate(file, 0)
        os.write(file, json.dumps({"pid": pid, "host": host, "started": started}).encode())
        self._file = file
        return True

    def _is_there(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self.path.lstat())
        except FileNotFoundError:
            return False

    def _read(self) -> Holder | None:
        """Read the holder's name; None if it is not written yet, or the file does not exist."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            said = json.loads(self.path.read_bytes())
            return Holder(pid=int(said["pid"]), host=str(said["host"]), since=str(said["started"]))
        return None

    def release(self) -> None:
        """Release the lock if this process has it, and delete the file."""
        if self._file is None:
            return
        file, self._file = self._file, None
        if self._is_there(file):
            self.path.unlink(missing_ok=True)
        os.close(file)
