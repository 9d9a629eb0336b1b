"""Shows the progress of a run: a dashboard in a terminal, an output cell in a notebook, lines in a log.

A thread shows it. A run that is shorter than half a second shows nothing and should pay for nothing but the
thread's start, so the thread itself imports what it needs.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TextIO, cast, get_args

from seedlab.errors import ConfigurationError
from seedlab.insight.formatting.text import duration
from seedlab.insight.measuring.monitor import Monitor

if TYPE_CHECKING:
    from rich.text import Text

    from seedlab.insight.measuring.state import RunState

Mode = Literal["auto", "live", "plain", "off"]

VARIABLE = "SEEDLAB_PROGRESS"
SHORT = 0.5  # seconds before anything is shown
REDRAW = 0.2  # seconds between two drawings in a terminal
UPDATE = 0.25  # seconds between two updates in a notebook; more frequent ones pile up in a slow browser
LOG_EVERY = 5.0  # seconds between two lines in a log
_PLAIN_TEXT_SIZE = (100, 60)  # cells and lines of the plain text that is saved in a notebook
_MARGIN = 3  # cells left free at the right, so that the terminal's ^C does not begin a new line


@dataclass(slots=True, kw_only=True, eq=False)
class _Display:
    """What the thread shows and where. `end` is how the run ended; it is set before the event `done`."""

    monitor: Monitor
    stream: TextIO
    mode: Mode
    title: str
    done: threading.Event = field(default_factory=threading.Event)
    end: str | None = None

    def state(self) -> RunState:
        """Return the run's state, final once the run has ended."""
        end, state = self.end, self.monitor.state()
        return state if end is None else state.ended(end)

    def is_short(self) -> bool:
        """Wait for SHORT seconds, and tell whether the run ended meanwhile, so nothing need be shown."""
        return self.mode != "live" and self.done.wait(SHORT)


# ---- mode and thread ------------------------------------------------------------------------------------


def read_mode(environ: Mapping[str, str]) -> Mode:
    """Return the mode that SEEDLAB_PROGRESS says. Raises ConfigurationError if there is no such mode."""
    value = environ.get(VARIABLE) or "auto"
    if value not in get_args(Mode):
        raise ConfigurationError(f"{VARIABLE} is '{value}', but should be one of {', '.join(get_args(Mode))}")
    return cast("Mode", value)


def in_notebook() -> bool:
    """Tell whether this process is a Jupyter kernel, without importing anything."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


@contextmanager
def shown(monitor: Monitor, stream: TextIO, mode: Mode, title: str = "") -> Iterator[None]:
    """Show the progress of the block in a thread: on `stream`, or in the cell's output in a notebook.

    Mode `auto` draws in a terminal and in a notebook, and writes lines elsewhere. Mode `live` draws in either
    case, and from the beginning.
    """
    show = _display_function(stream, mode)
    if show is None:
        yield
        return
    display = _Display(monitor=monitor, stream=stream, mode=mode, title=title)
    thread = threading.Thread(target=show, args=(display,), name="progress", daemon=True)
    thread.start()
    try:
        yield
        display.end = "done"
    except BaseException as error:
        display.end = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        raise
    finally:
        display.done.set()
        _join(thread)


@contextmanager
def experiment_line() -> Iterator[Callable[[str], None]]:
    """Yield a function that shows what an experiment is doing, in a single line of a notebook's output.

    Outside of notebooks, or if SEEDLAB_PROGRESS is off, the function shows nothing.
    """
    if read_mode(os.environ) == "off" or not in_notebook():
        yield lambda _: None
        return
    from IPython.display import DisplayHandle
    from IPython.display import display as new_output

    began = time.monotonic()
    handle: DisplayHandle | None = None

    def show(message: str) -> None:
        nonlocal handle
        text = {"text/plain": f"{message} · {duration(time.monotonic() - began)}"}
        if handle is None:  # made only now, since a comparison of stored runs has no progress to show
            handle = new_output(text, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            handle.update(text, raw=True)  # type: ignore[no-untyped-call]

    end = "stopped"
    try:
        yield show
        end = "done"
    finally:
        if handle is not None:
            show(end)


def _join(thread: threading.Thread) -> None:
    """Wait for the thread, which must restore the screen, even if Ctrl-C is pressed meanwhile."""
    try:
        thread.join()
    except KeyboardInterrupt:
        thread.join()
        raise


def _display_function(stream: TextIO, mode: Mode) -> Callable[[_Display], None] | None:
    if mode == "off":
        return None
    if mode == "plain":
        return _lines
    if in_notebook():
        return _notebook
    return _terminal if mode == "live" or _is_interactive(stream) else _lines


def _is_interactive(stream: TextIO) -> bool:
    drawable = (stream.encoding or "utf-8").lower().startswith("utf")
    return stream.isatty() and drawable and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


# ---- displays -------------------------------------------------------------------------------------------


def _lines(display: _Display) -> None:
    while not display.done.wait(LOG_EVERY):
        from seedlab.insight.formatting.live import log_line

        print(log_line(display.state()), file=display.stream, flush=True)


def _terminal(display: _Display) -> None:
    if display.is_short():
        return
    from rich.console import Console  # takes 70 ms, which short runs need not spend
    from rich.live import Live

    console = Console(file=display.stream, force_terminal=True, force_jupyter=False, highlight=False)
    # Text that the project's own Python prints in the terminal appears above the dashboard.
    redirect = sys.stdout.isatty()
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=redirect) as live:
        while not display.done.is_set():
            live.update(_drawn(display.state(), console.width, console.height), refresh=True)
            display.done.wait(REDRAW)


def _drawn(state: RunState, cells: int, height: int) -> Text:
    from rich.text import Text

    from seedlab.insight.formatting.live import dashboard

    lines = dashboard(state, cells - _MARGIN, height - 1)
    return Text("\n", no_wrap=True, overflow="crop", end="").join(Text.assemble(*line) for line in lines)


def _notebook(display: _Display) -> None:
    if display.is_short():
        return
    from IPython.display import display as new_output

    handle = new_output(_output(display), raw=True, display_id=True)  # type: ignore[no-untyped-call]
    while not display.done.wait(UPDATE):
        handle.update(_output(display), raw=True)
    handle.update(_output(display), raw=True)


def _output(display: _Display) -> dict[str, str]:
    from seedlab.insight.formatting.live import dashboard
    from seedlab.insight.pages.notebook_view import html

    state = display.state()
    text = "\n".join("".join(text for text, _ in line) for line in dashboard(state, *_PLAIN_TEXT_SIZE))
    return {"text/html": html(state, display.title), "text/plain": text}
