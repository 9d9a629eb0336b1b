"""Who seeds a target: as the one who does tells it to others, and as they read it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from seedlab.database.durations import milliseconds

_LABEL = 63  # bytes of an application_name; the server would cut the rest, which is what matters
_WHO = 40  # bytes of it for process and host
_SAID = re.compile(r"seedlab (?P<project>.*) (?P<pid>\d+)@(?P<host>.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds the lock of a target: a process on a host, `since` when in UTC.

    What others may not see, or have not said, is empty; `server_pid` is the server's process.
    """

    pid: int | None = None
    host: str = ""
    since: str = ""
    project: str = ""
    server_pid: int | None = None

    def __str__(self) -> str:
        named = f"process {self.pid} on {self.host}" if self.pid else ""
        server = f"server process {self.server_pid}" if self.server_pid else ""
        project = f"project {self.project}" if self.project else ""
        first, *others = [each for each in (named, project, server) if each] or [
            "a process that is not known"
        ]
        more = f" ({', '.join(others)})" if others else ""
        return f"{first}{more}{f', since {self.since} UTC' if self.since else ''}"


def this_process() -> tuple[int, str]:
    """Say by what others know this process."""
    return os.getpid(), _plain(os.uname().nodename)


def label_of(project: str) -> str:
    """Name a connection after project, process and host, in no more than the server keeps."""
    pid, host = this_process()
    who = f"{pid}@{host}"[:_WHO]
    return f"seedlab {_plain(project)[: _LABEL - len(f'seedlab  {who}')]} {who}"


def read_label(label: str, *, server_pid: int, host: str, since: str) -> Holder:
    """Understand what another connection is called; `host` is where the server says that it comes from."""
    said = _SAID.fullmatch(label)
    if said is None:
        return Holder(host=host, since=since, project=label, server_pid=server_pid)
    return Holder(
        pid=int(said["pid"]), host=said["host"], since=since, project=said["project"], server_pid=server_pid
    )


def held(holder: Holder | None, wait: str | None) -> str:
    """Say that the lock is held, and what can be done about it."""
    waited = f"; waited {wait}" if wait and milliseconds(wait) else "; --wait 30s waits for it"
    if holder is None:
        return f"another seed was running; it has just ended, run again{waited}"
    return f"another seed is running: {holder}{waited}"


def _plain(text: str) -> str:
    """Printable ASCII: the server would spell all else in its own way."""
    return re.sub(r"[^ -~]", "?", text)
