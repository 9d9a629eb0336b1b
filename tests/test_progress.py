"""What is shown while a run lasts: nothing for short ones, bars for people, lines for logs."""

from __future__ import annotations

import io
import sys
import threading

import pytest

from seedlab import progress
from seedlab.insight.monitor import Monitor


class Screen(io.StringIO):
    """Takes text and tells when some has come."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal
        self.written = threading.Event()

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        written = super().write(text)
        if "answers" in self.getvalue():
            self.written.set()
        return written


@pytest.fixture
def monitor() -> Monitor:
    monitor = Monitor()
    monitor.progress(10, 40, "answers")
    return monitor


@pytest.fixture(autouse=True)
def terminal(monkeypatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_a_short_run_shows_nothing_and_imports_no_rich(monitor, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "rich.progress", raising=False)
    screen = Screen(terminal=True)

    with progress.watched(monitor, screen):
        pass

    assert screen.getvalue() == ""
    assert "rich.progress" not in sys.modules


def test_a_terminal_gets_bars_that_vanish(monitor, monkeypatch) -> None:
    monkeypatch.setattr(progress, "SHORT", 0)
    monkeypatch.setattr(progress, "REDRAW", 0.001)
    screen = Screen(terminal=True)

    with progress.watched(monitor, screen):
        seen = screen.written.wait(20)

    assert seen
    assert "25%" in screen.getvalue()
    assert screen.getvalue().rstrip("\n").endswith("\x1b[2K")


@pytest.mark.parametrize(
    ("terminal", "bars", "ci"), [(False, True, ""), (True, False, ""), (True, True, "1")]
)
def test_everything_else_gets_lines(monitor, monkeypatch, terminal, bars, ci) -> None:
    monkeypatch.setattr(progress, "LOG_EVERY", 0.001)
    monkeypatch.setenv("CI", ci)
    screen = Screen(terminal=terminal)

    with progress.watched(monitor, screen, bars=bars):
        seen = screen.written.wait(20)

    assert seen
    assert screen.getvalue().splitlines()[0].endswith("answers 10 of 40 rows")
    assert "\x1b" not in screen.getvalue()


def test_an_error_passes_through_and_the_thread_ends(monitor) -> None:
    with pytest.raises(ZeroDivisionError), progress.watched(monitor, Screen(terminal=False)):
        raise ZeroDivisionError

    assert "progress" not in {thread.name for thread in threading.enumerate()}
