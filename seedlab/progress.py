"""Show a run while it lasts: bars in a terminal, now and then a line in a log, nothing for short runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from seedlab.insight.faces import progress_text
from seedlab.insight.monitor import Monitor, State

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

SHORT = 0.5  # seconds a run may last without showing anything
REDRAW = 0.2
LOG_EVERY = 5.0


@contextmanager
def watched(monitor: Monitor, stream: TextIO, *, bars: bool = True) -> Iterator[None]:
    """Show on `stream` what the block does, from a thread that a short block never wakes."""
    done = threading.Event()
    show = _bars if bars and _is_terminal(stream) else _lines
    thread = threading.Thread(target=show, args=(monitor, stream, done), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


def _lines(monitor: Monitor, stream: TextIO, done: threading.Event) -> None:
    while not done.wait(LOG_EVERY):
        print(progress_text(monitor.state()), file=stream, flush=True)


def _bars(monitor: Monitor, stream: TextIO, done: threading.Event) -> None:
    if done.wait(SHORT):
        return
    from rich.console import Console  # 70 ms, which short runs do not pay
    from rich.progress import Progress

    with Progress(console=Console(file=stream), transient=True, auto_refresh=False) as bars:
        redraw = _redraw(bars)
        while not done.wait(REDRAW):
            redraw(monitor.state())


def _redraw(bars: Progress) -> Callable[[State], None]:
    """Give what draws a state: one bar for each piece of work, and one for what is being done."""
    doing = bars.add_task("", total=None)
    tasks: dict[str, TaskID] = {}

    def redraw(state: State) -> None:
        bars.update(doing, description=", ".join(state.doing) or "working")
        for label, (done, total) in state.progress.items():
            if label not in tasks:
                tasks[label] = bars.add_task(label)
            bars.update(tasks[label], completed=done, total=total)
        bars.refresh()

    return redraw
