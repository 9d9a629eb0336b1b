"""What is shown while a run lasts: nothing for short ones, a dashboard for people, lines for logs."""

from __future__ import annotations

import io
import re
import sys
import threading

import pytest

from seedlab import progress
from seedlab.errors import ConfigurationError
from seedlab.flow import Load
from seedlab.insight.measuring.monitor import Monitor

ANSWERS = Load(stage="answers", seed="physics", table="answers", key=(), values=(), references=())


class Screen(io.StringIO):
    """Takes text and tells when some has come."""

    encoding = "utf-8"

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
    monitor.expect(ANSWERS, 40)
    monitor.progress(ANSWERS, 10)
    return monitor


@pytest.fixture(autouse=True)
def terminal(monkeypatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "REDRAW", 0.001)
    monkeypatch.setattr(progress, "LOG_EVERY", 0.001)


@pytest.mark.parametrize("mode", ["auto", "plain", "off"])
def test_a_short_run_shows_nothing_and_imports_no_rich(monitor, monkeypatch, mode) -> None:
    monkeypatch.setattr(progress, "LOG_EVERY", 5.0)
    monkeypatch.delitem(sys.modules, "rich.live", raising=False)
    screen = Screen(terminal=True)

    with progress.shown(monitor, screen, mode):
        pass

    assert screen.getvalue() == ""
    assert "rich.live" not in sys.modules


def test_a_terminal_gets_a_dashboard_that_vanishes_and_its_cursor_back(monitor, monkeypatch) -> None:
    monkeypatch.setattr(progress, "SHORT", 0)
    screen = Screen(terminal=True)

    with progress.shown(monitor, screen, "auto"):
        seen = screen.written.wait(20)

    assert seen
    assert "10 of 40 rows" in screen.getvalue()
    assert screen.getvalue().count("\x1b[?25l") == screen.getvalue().count("\x1b[?25h") == 1
    left = screen.getvalue().rpartition("answers")[2]
    assert re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", left).strip("\r\n ━─") == "10 of 40"  # then it is erased
    assert left.endswith("\x1b[2K")


@pytest.mark.parametrize(
    ("mode", "tty", "environ", "encoding"),
    [
        ("auto", False, {}, "utf-8"),
        ("plain", True, {}, "utf-8"),
        ("auto", True, {"CI": "1"}, "utf-8"),
        ("auto", True, {"TERM": "dumb"}, "utf-8"),
        ("auto", True, {}, "ascii"),
    ],
)
def test_everything_else_gets_lines(monitor, monkeypatch, mode, tty, environ, encoding) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    screen = Screen(terminal=tty)
    screen.encoding = encoding

    with progress.shown(monitor, screen, mode):
        seen = screen.written.wait(20)

    assert seen
    assert "10 of 40 rows" in screen.getvalue().splitlines()[0]
    assert screen.getvalue().splitlines()[0].endswith("answers 10 of 40")
    assert "\x1b" not in screen.getvalue()


def test_live_draws_even_where_auto_would_not_and_from_the_beginning(monitor, monkeypatch) -> None:
    monkeypatch.setenv("CI", "1")
    monkeypatch.setattr(progress, "SHORT", 60.0)
    screen = Screen(terminal=False)

    with progress.shown(monitor, screen, "live"):
        seen = screen.written.wait(20)

    assert seen
    assert "\x1b" in screen.getvalue()


@pytest.mark.parametrize("mode", ["auto", "live", "plain", "off"])
def test_the_environment_chooses(mode) -> None:
    assert progress.read_mode({progress.VARIABLE: mode}) == mode
    assert progress.read_mode({progress.VARIABLE: ""}) == progress.read_mode({}) == "auto"


def test_a_wrong_choice_is_told_with_the_right_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"SEEDLAB_PROGRESS is 'bars', .* auto, live, plain, off"):
        progress.read_mode({progress.VARIABLE: "bars"})


def test_outside_a_kernel_there_is_no_notebook() -> None:
    assert not progress.in_notebook()


def test_an_error_passes_through_and_the_thread_ends(monitor) -> None:
    with pytest.raises(ZeroDivisionError), progress.shown(monitor, Screen(terminal=False), "auto"):
        raise ZeroDivisionError

    assert "progress" not in {thread.name for thread in threading.enumerate()}
