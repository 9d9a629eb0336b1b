"""The history of recorded runs, for notebooks and programs: `History`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from seedlab.insight.judging.trend import Point, Trend, in_order, trends
from seedlab.insight.notebooks.objects import Displayable, HistoryPlots
from seedlab.insight.pages import page as pages
from seedlab.insight.records import stored
from seedlab.insight.records.past import PastRun, Unread, read_past

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class History(Displayable):
    """Runs in the order of time, and notes of records that could not be read."""

    folders: tuple[Path, ...]
    runs: tuple[PastRun, ...]
    notes: tuple[Unread, ...] = ()
    _page = pages.past_page

    def select(
        self,
        *,
        project: str | None = None,
        target: str | None = None,
        level: str | None = None,
        environment: str | None = None,
        status: str | None = None,
    ) -> History:
        """Select runs; `target` is a dialect (`postgresql`) or a URL without password."""
        kept = (
            run
            for run in self.runs
            if project in (None, run.project)
            and target in (None, run.dialect, run.target)
            and level in (None, run.level)
            and environment in (None, run.environment)
            and status in (None, run.status)
        )
        return replace(self, runs=tuple(kept))

    @property
    def trends(self) -> tuple[Trend, ...]:
        """The runs, grouped into series of comparable runs; the series with the newest run is last."""
        return trends(self.runs)

    @property
    def points(self) -> tuple[Point, ...]:
        """The runs in the order of time, each with what was usual before it."""
        return in_order(self.trends)

    def find(self, name: str) -> PastRun:
        """Find a run by its id, the beginning of its id, or `last`; raises ConfigurationError."""
        return stored.one_of(name, [(run.run_id, run) for run in self.runs], "run", self.folders)

    @property
    def frame(self) -> pl.DataFrame:
        """The runs as a frame (`history_frame.RUNS`), one row per run."""
        from seedlab.insight.notebooks.history_frame import frame_of

        return frame_of(self.points)

    @property
    def plot(self) -> HistoryPlots:
        """The charts of this history."""
        return HistoryPlots(self)

    def __len__(self) -> int:
        return len(self.runs)

    def __str__(self) -> str:
        from seedlab.insight.formatting.history_text import history_text

        return history_text(self)

    def _repr_html_(self) -> str:
        from seedlab.insight.pages.history_page import history_fragment

        return history_fragment(self)


def read_history(*folders: Path) -> History:
    """Read all records below the folders; those that cannot be read are in the notes."""
    runs, notes = read_past(*folders)
    return History(folders=folders, runs=runs, notes=notes)
