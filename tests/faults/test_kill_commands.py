"""`reset`, `rollback` and `export` killed or interrupted at any moment: all is as before or as after."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.test_kill import SEED, files
from tests.support.seeding import counted, dump, execute, seed, write
from tests.support.waiting import PATIENCE, until_left

pytestmark = pytest.mark.slow

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TABLES = """
CREATE TABLE cities (id SERIAL KEY, code text NOT NULL UNIQUE, name text NOT NULL);
CREATE TABLE pupils (
  id SERIAL KEY, email text NOT NULL UNIQUE, city_id int NOT NULL REFERENCES cities,
  friend_id int REFERENCES pupils DEFERRABLE INITIALLY DEFERRED
);
"""
Words = Callable[[Path, str, str], list[str]]
COMMANDS: Mapping[str, Words] = {
    "reset": lambda folder, url, _: ["reset", *undoing(folder, url)],
    "rollback": lambda folder, url, run: ["rollback", run, *undoing(folder, url)],
    "export": lambda folder, url, _: ["export", str(folder.parent / "made" / "out"), "--database-url", url],
}


def undoing(folder: Path, url: str) -> list[str]:
    return [str(folder), "--database-url", url, "--reports", str(folder.parent / "reports")]


def killed(words: list[str], seconds: float, how: signal.Signals) -> int:
    """Send a signal after so long; answers the exit code."""
    child = subprocess.Popen([sys.executable, "-m", "seedlab", *words, "-q"], stderr=subprocess.DEVNULL)
    with suppress(subprocess.TimeoutExpired):
        return child.wait(seconds)
    child.send_signal(how)
    return child.wait(PATIENCE)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_ended_at_any_moment_leaves_all_or_nothing_and_can_be_repeated(
    tmp_path: Path, clean_database_url: str, command: str
) -> None:
    url = clean_database_url
    school = write(tmp_path / "school", files(later=False))
    execute(url, TABLES)
    empty = dump(url)
    run = seed(school, url)
    full = dump(url)
    chance = random.Random(f"{SEED} {command} {url.partition(':')[0]}")
    begun = time.monotonic()
    assert killed(COMMANDS[command](school, url, run.run_id), PATIENCE, signal.SIGKILL) == 0
    life = time.monotonic() - begun
    out = tmp_path / "made" / "out"

    for how in SIGNALS:
        if command != "export":
            again = seed(school, url)
            run = again if again.outcomes.created else run
        elif out.exists():
            out.rename(tmp_path / f"whole-{how.name}")
        assert dump(url) == full
        share = chance.random()
        code = killed(COMMANDS[command](school, url, run.run_id), life * share, how)
        print(f"seed {SEED}, {command}, {how.name} at {share:.4f} of {life:.2f} s: {code}")
        if not url.startswith("sqlite"):
            until_left(url)
        # 1: Python, while it starts, before any of our code runs.
        assert code in (0, -how, *((130, 1) if how == signal.SIGINT else ()))
        assert dump(url) in ((full,) if command == "export" else (full, empty))
        if command == "export" and out.exists():
            assert (out / "seedlab.toml").is_file()

    assert counted(seed(school, url, force=True))[1] == 0
    assert dump(url) == full
