"""A real run is seen while it lasts: what its connection waits for, in a terminal, in a notebook.

Another session holds a lock on a table until it was seen that the run waits for it; so nothing depends on time.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

import seedlab
from seedlab.errors import SeedError
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.measuring.state import RunState
from seedlab.steps import sampling
from tests.support.school import TABLES
from tests.support.seeding import execute, seed, write
from tests.support.waiting import PATIENCE
from tests.test_state import TWO_STAGES

ENVIRON = {name: value for name, value in os.environ.items() if name not in ("CI", "SEEDLAB_PROGRESS")}
ENVIRON |= {"PYTHONPATH": str(Path(__file__).parent.parent), "TERM": "xterm-256color"}
WAITS = "waits for a lock (relation)"


@pytest.fixture
def school(tmp_path: Path, clean_postgres_url: str) -> Path:
    """A project that was seeded, and has new pupils."""
    folder = write(tmp_path / "school", TWO_STAGES)
    execute(clean_postgres_url, TABLES)
    seed(folder, clean_postgres_url)
    (folder / "pupils.csv").write_text(TWO_STAGES["pupils.csv"] + "Dan,hfa,7\nEve,tlv,8\n")
    return folder


@contextmanager
def locked(url: str) -> Iterator[psycopg.Connection]:
    """Nobody else writes to the pupils until this connection rolls back."""
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE pupils IN SHARE MODE")
        yield connection


def test_a_look_at_the_seeded_rows_waits_no_longer_than_allowed(school, clean_postgres_url) -> None:
    with psycopg.connect(clean_postgres_url) as other:
        other.execute("LOCK TABLE cities IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(
            SeedError, match="the seeded rows: canceling statement due to lock timeout"
        ) as caught:
            seedlab.seed(seedlab.load_project(school), clean_postgres_url, lock_timeout="50ms")

    assert caught.value.exit_code == 1


def test_the_state_tells_what_a_connection_waits_for(school, clean_postgres_url, monkeypatch) -> None:
    monkeypatch.setattr(sampling, "UNOBSERVED_SECONDS", 0.0)
    monitor = Monitor()
    seen: list[RunState] = []

    def look(holder: psycopg.Connection) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and not seen:
            state = monitor.state()
            if any(lane.wait == "Lock/relation" for lane in state.lanes):
                seen.append(state)
            time.sleep(0.01)
        holder.rollback()

    with locked(clean_postgres_url) as holder:
        looker = threading.Thread(target=look, args=[holder])
        looker.start()
        seed(school, clean_postgres_url, monitor=monitor, lock_timeout="60s")
        looker.join()

    (state,) = seen
    (lane,) = (each for each in state.lanes if each.wait == "Lock/relation")
    assert (lane.number, lane.doing) == (0, "merge pupils")
    assert lane.pid
    assert [(each.id, each.status, each.rows, each.total) for each in state.stages] == [
        ("cities", "skipped", 0, None),
        ("pupils", "running", 0, 2),
    ]
    assert state.rss_bytes > 1_000_000


# ---- in a terminal --------------------------------------------------------------------------------------


class Terminal:
    """What is on a screen after what was written to it, as far as `rich` and line editing use it."""

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.lines = [""]
        self.at = (0, 0)
        self.cursor = True
        self.widest = 0

    def take(self, text: str) -> None:
        for match in re.finditer(r"\x1b\[([?\d;]*)([A-Za-z])|(\r|\n|.)", text, re.DOTALL):
            self._step(match[1] or "", match[2], match[3])

    def _step(self, number: str, command: str | None, character: str | None) -> None:
        line, cell = self.at
        if command == "A":
            self.at = (max(0, line - int(number or 1)), cell)
        elif command == "K":
            self.lines[line] = ""
        elif command in ("l", "h") and number == "?25":
            self.cursor = command == "h"
        elif character == "\r":
            self.at = (line, 0)
        elif character == "\n":
            self.at = (line + 1, cell)
            self.lines += [""] * (line + 2 - len(self.lines))
        elif character is not None:
            text = self.lines[line].ljust(cell)
            self.lines[line] = text[:cell] + character + text[cell + 1 :]
            self.at = (line, cell + 1)
            self.widest = max(self.widest, cell + 1)


class Session:
    """A seed at a terminal of so many columns."""

    def __init__(self, school: Path, url: str, cells: int) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, cells, 0, 0))
        options = [
            "--database-url",
            url,
            "--reports",
            str(school.parent / "reports"),
            "--lock-timeout",
            "60s",
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "seedlab", "seed", str(school), *options],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=ENVIRON, cwd=school.parent,
        )  # fmt: skip
        os.close(slave)
        self.terminal = Terminal(cells)
        self.text = ""

    def read_until(self, wanted: str = "\0never") -> bool:
        """Read until the text has come, or the end."""
        while wanted not in self.text:
            try:
                some = os.read(self.master, 65536).decode()
            except OSError:  # Linux tells so that the other end is closed
                return False
            self.text += some
            self.terminal.take(some)
        return True

    def end(self) -> int:
        """Read the rest; the exit code."""
        self.read_until()
        os.close(self.master)
        return self.process.wait(PATIENCE)

    def left(self) -> list[str]:
        """What is left on the screen."""
        return [line.rstrip() for line in self.terminal.lines if line.strip()]


@pytest.mark.slow
@pytest.mark.parametrize("cells", [80, 160])
def test_a_terminal_shows_the_wait_and_then_only_the_summary(school, clean_postgres_url, cells) -> None:
    with locked(clean_postgres_url) as holder:
        session = Session(school, clean_postgres_url, cells)
        seen = session.read_until(WAITS)
        holder.rollback()
        exit_code = session.end()

    assert seen, session.text
    assert "▸\x1b[0m pupils" in session.text
    assert exit_code == 0
    left = session.left()
    assert left[0].startswith("school → ")
    assert not [line for line in left if "─" in line or WAITS in line]
    assert session.terminal.cursor
    dashboard = Terminal(cells)
    dashboard.take(session.text.partition("school → ")[0])
    assert dashboard.widest < cells


@pytest.mark.slow
def test_ctrl_c_leaves_a_clean_terminal(school, clean_postgres_url) -> None:
    with locked(clean_postgres_url):
        session = Session(school, clean_postgres_url, 80)
        assert session.read_until(WAITS), session.text
        os.killpg(session.process.pid, signal.SIGINT)
        exit_code = session.end()

    assert exit_code == 130
    assert session.left()[0] == "✗ interrupted"
    assert session.terminal.cursor


# ---- in a notebook --------------------------------------------------------------------------------------

CELL = """
import os, seedlab, seedlab.progress
seedlab.progress.SHORT = {short}
os.environ["SEEDLAB_PROGRESS"] = "{mode}"
try:
    run = seedlab.seed(seedlab.load_project({folder!r}), "sqlite:///{database}")
except seedlab.SeedError:
    pass
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_notebook_keeps_one_output_with_the_final_state(tmp_path, monkeypatch) -> None:
    import nbformat
    import papermill

    monkeypatch.setenv("PYTHONPATH", ENVIRON["PYTHONPATH"])
    folder = write(tmp_path / "school", TWO_STAGES)
    broken = write(tmp_path / "broken", {**TWO_STAGES, "pupils.csv": "name,city.code\nAda,nowhere\n"})
    cases = [("auto", 0.0, folder), ("live", 60.0, folder), ("auto", 60.0, folder), ("off", 0.0, folder)]
    cases += [("plain", 0.0, folder), ("auto", 0.0, broken)]
    cells = []
    for number, (mode, short, project) in enumerate(cases):
        execute(f"sqlite:///{tmp_path / str(number)}.db", TABLES)
        filled = CELL.format(mode=mode, short=short, folder=str(project), database=tmp_path / f"{number}.db")
        cells.append(nbformat.v4.new_code_cell(filled))
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "in.ipynb")

    papermill.execute_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", progress_bar=False)

    done = nbformat.read(tmp_path / "out.ipynb", 4)
    kinds = [[output.output_type for output in cell.outputs] for cell in done.cells]
    assert kinds == [["display_data"], ["display_data"], [], [], [], ["display_data"]]
    shown = [cell.outputs[0].data for cell in done.cells if cell.outputs]
    for data in shown[:2]:
        assert data["text/plain"].startswith("done after ")
        assert "5 of 5 rows" in data["text/html"]
        assert "school → " in data["text/html"]
    assert shown[2]["text/plain"].startswith("failed after ")
