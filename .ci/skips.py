"""Fail when a test was skipped that this machine could have run: a skipped test proves nothing."""

from __future__ import annotations

import re
import sys
from xml.etree import ElementTree as ET

# Reasons that are facts of the machine: who we are, which system this is; and of an older server, which is
# there beside the embedded one, on which the same test runs.
ALLOWED = re.compile(
    r"root|ordinary user|not on this (system|platform)|Linux only|this server is older", re.IGNORECASE
)


def skipped(report: str) -> list[str]:
    """Names and reasons of the tests that were skipped without an allowed reason."""
    found = []
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it just now
        for skip in case.iter("skipped"):
            reason = skip.get("message", "")
            if not ALLOWED.search(reason):
                found.append(f"{case.get('classname')}::{case.get('name')}: {reason}")
    return found


if __name__ == "__main__":
    if names := [name for report in sys.argv[1:] for name in skipped(report)]:
        sys.exit("skipped, though this machine could have run them:\n" + "\n".join(names))
