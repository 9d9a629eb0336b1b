"""Identify the process that holds a target's lock, through the application_name of its connection."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from seedlab.database.durations import milliseconds

_LABEL = 63  # bytes of an application_name; the server would cut off the end, which has process and host
_WHO = 40  # bytes of it for process and host
_LABEL_FORM = re.compile(r"seedlab (?P<project>.*) (?P<pid>\d+)@(?P<host>.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The process that holds the lock of a target; `since` is in UTC, `server_pid` is the server's process.

    `program` is how another program than seedlab names its connection. Fields that are unknown, or hidden
    from this user, are empty.
    """

    pid: int | None = None
    host: str = ""
    since: str = ""
    project: str = ""
    program: str = ""
    server_pid: int | None = None

    def __str__(self) -> str:
        named = f"process {self.pid} on {self.host}" if self.pid else ""
        server = f"server process {self.server_pid}" if self.server_pid else ""
        project = f"project {self.project}" if self.project else ""
        known = [each for each in (self.program, named, project, server) if each]
        first, *others = known or ["an unknown process"]
        more = f" ({', '.join(others)})" if others else ""
        return f"{first}{more}{f', since {self.since} UTC' if self.since else ''}"


def this_process() -> tuple[int, str]:
    """Return process id and host name, as other processes see them in a label."""
    return os.getpid(), _plain(os.uname().nodename)


def label_of(project: str) -> str:
    """Make a connection's label of project, process and host, within the length that the server keeps."""
    pid, host = this_process()
    who = f"{pid}@{host}"[:_WHO]
    return f"seedlab {_plain(project)[: _LABEL - len(f'seedlab  {who}')]} {who}"


def read_label(label: str, *, server_pid: int, host: str, since: str) -> Holder:
    """Parse the label of another connection; `host` is where it comes from according to the server."""
    parts = _LABEL_FORM.fullmatch(label)
    if parts is None:
        return Holder(host=host, since=since, program=label, server_pid=server_pid)
    return Holder(
        pid=int(parts["pid"]),
        host=parts["host"],
        since=since,
        project=parts["project"],
        server_pid=server_pid,
    )


def lock_held_message(holder: Holder | None, wait: str | None) -> str:
    """Make the message that the lock is held, and what can be done about it."""
    waited = f"; waited {wait}" if wait and milliseconds(wait) else "; --wait 30s waits for it"
    if holder is None:
        return f"another seed was running; it has just ended, run again{waited}"
    if holder.program:
        return f"another program, which is no seed, holds the lock of seeds: {holder}{waited}"
    return f"another seed is running: {holder}{waited}"


def _plain(text: str) -> str:
    """Replace all but printable ASCII, as the server does in its own way."""
    return re.sub(r"[^ -~]", "?", text)
