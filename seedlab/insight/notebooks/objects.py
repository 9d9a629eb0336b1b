"""What a notebook gets: the values of runs, plans, comparisons and profiles, with faces, frames and charts.

Each is the frozen value of `flow` itself and works wherever that does. matplotlib and polars are imported
when a chart or a frame is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

from seedlab import flow
from seedlab.flow import evidence
from seedlab.insight.pages import page as pages
from seedlab.insight.pages.markup import html, markdown
from seedlab.insight.pages.page import Page

if TYPE_CHECKING:
    import polars as pl

    from seedlab.insight.charts import Chart

T = TypeVar("T")


class _Value(Protocol):
    """A dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


class Face:
    """How a value shows itself: `_page` says what, text, Markdown and HTML spell it."""

    __slots__ = ()
    _page: ClassVar[Callable[[Any], Page]]

    @classmethod
    def of(cls, value: _Value) -> Self:
        """Make the object of a value of `flow`."""
        return cls(**{each.name: getattr(value, each.name) for each in fields(value)})

    def __repr__(self) -> str:
        return pages.text_of(self._page())

    def _repr_markdown_(self) -> str:
        return markdown(self._page())

    def _repr_html_(self) -> str:
        return html(self._page())


@dataclass(frozen=True, slots=True)
class Plots(Generic[T]):
    """Charts of a value; they need matplotlib, of the extra `notebook`."""

    of: T


class RunPlots(Plots[flow.Run]):
    """Charts of a run: `run.plot.waterfall()`."""

    __slots__ = ()

    def waterfall(self) -> Chart:
        """What each thread did when."""
        from seedlab.insight import charts

        return charts.waterfall(self.of)

    def operations(self, after: flow.Run | None = None) -> Chart:
        """Statements, round trips, bytes sent and WAL by phase, beside those of another run, if given."""
        from seedlab.insight import charts

        return charts.operations(self.of, after)

    def memory(self) -> Chart:
        """Memory over time."""
        from seedlab.insight import charts

        return charts.memory(self.of)

    def waits(self) -> Chart:
        """What the server's processes waited for."""
        from seedlab.insight import charts

        return charts.waits(self.of)

    def pareto(self) -> Chart:
        """Bottlenecks, largest first."""
        from seedlab.insight import charts

        return charts.pareto(self.of)


class ComparisonPlots(Plots[evidence.Comparison]):
    """Charts of a comparison."""

    __slots__ = ()

    def before_after(self) -> Chart:
        """Each phase before and after."""
        from seedlab.insight import charts

        return charts.before_after(self.of)

    def pairs(self) -> Chart:
        """The ratio of each pair."""
        from seedlab.insight import charts

        return charts.pairs(self.of)


class ProfilePlots(Plots[evidence.Profile]):
    """Charts of a profile."""

    __slots__ = ()

    def steps(self) -> Chart:
        """What each level or switch bought."""
        from seedlab.insight import charts

        return charts.steps(self.of)


class HistoryPlots(Plots[Any]):
    """Charts of a history (`chronicle.History`, which has its face from here)."""

    __slots__ = ()

    def trend(self) -> Chart:
        """The series of the newest run: each run beside what was usual before it."""
        from seedlab.insight import charts

        return charts.trend(self.of.trends[-1] if self.of.runs else None)


class Run(Face, flow.Run):
    """A run: `run.phases`, `run.plot.waterfall()`, `run.vs(earlier)`."""

    __slots__ = ()
    _page = pages.run_page

    @property
    def phases(self) -> pl.DataFrame:
        """One row a phase: seconds, CPU seconds, rows, statements, round trips, bytes, memory."""
        from seedlab.insight.notebooks.phase_frame import phase_frame

        return phase_frame(self)

    @property
    def plot(self) -> RunPlots:
        """Charts of this run."""
        return RunPlots(self)

    def vs(self, earlier: flow.Run) -> Comparison:
        """Compare with another run; this one is `after`. Counts are exact, one pair proves little of time."""
        from seedlab.insight.judging.compare import compare

        names = (f"{earlier.level} {earlier.run_id}", f"{self.level} {self.run_id}")
        return Comparison.of(compare((earlier,), (self,), names=names, threshold=0.05))


class Plan(Face, flow.Plan):
    """A plan."""

    __slots__ = ()
    _page = pages.plan_page


class Comparison(Face, evidence.Comparison):
    """A comparison: `comparison.plot.before_after()`, `comparison.plot.pairs()`."""

    __slots__ = ()
    _page = pages.comparison_page

    @property
    def plot(self) -> ComparisonPlots:
        """Charts of this comparison."""
        return ComparisonPlots(self)


class Profile(Face, evidence.Profile):
    """A profile: `profile.plot.steps()`."""

    __slots__ = ()
    _page = pages.profile_page

    @property
    def plot(self) -> ProfilePlots:
        """Charts of this profile."""
        return ProfilePlots(self)
