"""Show a run while it lasts: a dashboard in a terminal, one output in a notebook, lines in a log.

A run shorter than half a second shows nothing: it pays for a thread that never wakes. So what is shown is
imported by those threads.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TextIO, get_args

from seedlab.errors import ConfigurationError
from seedlab.insight.faces.text import duration
from seedlab.insight.measuring.monitor import Monitor

if TYPE_CHECKING:
    from rich.text import Text

    from seedlab.insight.measuring.state import RunState

Mode = Literal["auto", "live", "plain", "off"]

VARIABLE = "SEEDLAB_PROGRESS"
SHORT = 0.5  # seconds a run may last without showing anything
REDRAW = 0.2
UPDATE = 0.25  # of a notebook's output: what is sent more often piles up in a slow browser
LOG_EVERY = 5.0
_SAVED = (100, 60)  # cells and lines of what a notebook keeps as plain text
_ASIDE = 3  # cells left free at the right: the terminal's own ^C must not begin a new line


@dataclass(slots=True, kw_only=True, eq=False)
class _Watch:
    """A run, where its progress is shown, and how it ended: `end` is set before the event `done`."""

    monitor: Monitor
    stream: TextIO
    mode: Mode
    title: str
    done: threading.Event = field(default_factory=threading.Event)
    end: str | None = None

    def state(self) -> RunState:
        """The run's state, with how it ended once it has."""
        end, state = self.end, self.monitor.state()
        return state if end is None else state.ended(end)

    def is_short(self) -> bool:
        """Wait for SHORT seconds; tell whether the run ended meanwhile, so that nothing need be shown."""
        return self.mode != "live" and self.done.wait(SHORT)


# ---- what is asked for ----------------------------------------------------------------------------------


def chosen(environ: Mapping[str, str]) -> Mode:
    """Read SEEDLAB_PROGRESS. Raises ConfigurationError."""
    asked = environ.get(VARIABLE) or "auto"
    for mode in get_args(Mode):
        if asked == mode:
            return mode  # type: ignore[no-any-return]
    raise ConfigurationError(f"{VARIABLE} is '{asked}', but should be one of {', '.join(get_args(Mode))}")


def in_notebook() -> bool:
    """Tell whether a Jupyter kernel runs this; nothing is imported for that."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


@contextmanager
def watched(monitor: Monitor, stream: TextIO, mode: Mode, title: str = "") -> Iterator[None]:
    """Show what the block does, from a thread: on `stream`, or in a notebook in the cell's output.

    `auto` draws for a person at a terminal and in a notebook, else it writes lines; `live` draws wherever it
    can, from the beginning.
    """
    face = _face(stream, mode)
    if face is None:
        yield
        return
    watch = _Watch(monitor=monitor, stream=stream, mode=mode, title=title)
    thread = threading.Thread(target=face, args=(watch,), name="progress", daemon=True)
    thread.start()
    try:
        yield
        watch.end = "done"
    except BaseException as error:
        watch.end = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        raise
    finally:
        watch.done.set()
        _join(thread)


@contextmanager
def experiment_line() -> Iterator[Callable[[str], None]]:
    """Give a function that shows what an experiment is doing, in one line of a notebook's output.

    Elsewhere, and where SEEDLAB_PROGRESS is off, it shows nothing.
    """
    if chosen(os.environ) == "off" or not in_notebook():
        yield lambda _: None
        return
    from IPython.display import DisplayHandle, display

    began = time.monotonic()
    handle: DisplayHandle | None = None

    def tell(said: str) -> None:
        nonlocal handle
        text = {"text/plain": f"{said} · {duration(time.monotonic() - began)}"}
        if handle is None:  # what runs nothing says nothing
            handle = display(text, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            handle.update(text, raw=True)  # type: ignore[no-untyped-call]

    end = "stopped"
    try:
        yield tell
        end = "done"
    finally:
        if handle is not None:
            tell(end)


def _join(thread: threading.Thread) -> None:
    """Wait for the thread, which cleans up the screen, even if Ctrl-C is pressed once more."""
    try:
        thread.join()
    except KeyboardInterrupt:
        thread.join()
        raise


def _face(stream: TextIO, mode: Mode) -> Callable[[_Watch], None] | None:
    if mode == "off":
        return None
    if mode == "plain":
        return _lines
    if in_notebook():
        return _notebook
    return _terminal if mode == "live" or _is_for_a_person(stream) else _lines


def _is_for_a_person(stream: TextIO) -> bool:
    drawable = (stream.encoding or "utf-8").lower().startswith("utf")
    return stream.isatty() and drawable and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


# ---- where it is shown ----------------------------------------------------------------------------------


def _lines(watch: _Watch) -> None:
    while not watch.done.wait(LOG_EVERY):
        from seedlab.insight.faces.live import log_line

        print(log_line(watch.state()), file=watch.stream, flush=True)


def _terminal(watch: _Watch) -> None:
    if watch.is_short():
        return
    from rich.console import Console  # 70 ms, which short runs do not pay
    from rich.live import Live

    console = Console(file=watch.stream, force_terminal=True, force_jupyter=False, highlight=False)
    # What the project's own Python prints goes above the dashboard, but not what goes into a file.
    above = sys.stdout.isatty()
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=above) as live:
        while not watch.done.is_set():
            live.update(_drawn(watch.state(), console.width, console.height), refresh=True)
            watch.done.wait(REDRAW)


def _drawn(state: RunState, cells: int, height: int) -> Text:
    from rich.text import Text

    from seedlab.insight.faces.live import dashboard

    lines = dashboard(state, cells - _ASIDE, height - 1)
    return Text("\n", no_wrap=True, overflow="crop", end="").join(Text.assemble(*line) for line in lines)


def _notebook(watch: _Watch) -> None:
    if watch.is_short():
        return
    from IPython.display import display

    handle = display(_saved(watch), raw=True, display_id=True)  # type: ignore[no-untyped-call]
    while not watch.done.wait(UPDATE):
        handle.update(_saved(watch), raw=True)
    handle.update(_saved(watch), raw=True)


def _saved(watch: _Watch) -> dict[str, str]:
    from seedlab.insight.faces.live import dashboard
    from seedlab.insight.pages.notebook_view import html

    state = watch.state()
    text = "\n".join("".join(text for text, _ in line) for line in dashboard(state, *_SAVED))
    return {"text/html": html(state, watch.title), "text/plain": text}
