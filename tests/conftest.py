"""What every test may use; fixtures live in the modules named here."""

import gc
import os
import shutil
import sys
from pathlib import Path

from hypothesis import settings

# With this package jsonschema builds 38 grammars as it is imported, to check the format of IRIs, which none of our
# schemas has: 1.2 seconds of every worker.
sys.modules["rfc3987_syntax"] = None

# SQLite waits for the disk at each commit, and there are tens of thousands; PostgreSQL makes and removes files as
# often, and on ext4 a new one is looked for among all that were removed in the last minute: a third of the server's
# work. What tests write, and their server, is kept in memory where there is room for it (a container may have 64 MB).
# For all else it is a file system like any other.
MEMORY, ROOM = Path("/dev/shm"), 4 << 30
if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# How long an example takes is no promise: a machine that is busy breaks nothing. In CI hypothesis says so itself.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")

pytest_plugins = [
    "tests.fix_postgres",
    "tests.fix_clean",
    "tests.fix_system",
    "tests.fix_academy",
    "tests.fix_scratch",
    "tests.fix_clones",
    "tests.fix_environment",
]


def pytest_collection_finish() -> None:
    """Of what was collected nothing is garbage until the end: to look through all of it takes a fifth of a second,
    and pytest alone has it done five times as it ends.
    """
    gc.collect()
    gc.freeze()
