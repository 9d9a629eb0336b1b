"""The values that notebooks get: runs, plans, comparisons and profiles, with displays, frames and charts.

Each is a subclass of the frozen value in `flow`, and works wherever that does. matplotlib and polars are
imported when a chart or a frame is requested.
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


class Displayable:
    """Displays a value as text, Markdown and HTML; the method `_page` returns the content."""

    __slots__ = ()
    _page: ClassVar[Callable[[Any], Page]]

    @classmethod
    def of(cls, value: _Value) -> Self:
        """Convert a value of `flow` to this class."""
        return cls(**{each.name: getattr(value, each.name) for each in fields(value)})

    def __repr__(self) -> str:
        return pages.text_of(self._page())

    def _repr_markdown_(self) -> str:
        return markdown(self._page())

    def _repr_html_(self) -> str:
        return html(self._page())


@dataclass(frozen=True, slots=True)
class Plots(Generic[T]):
    """The charts of a value, which need matplotlib, of the extra `notebook`."""

    of: T


class RunPlots(Plots[flow.Run]):
    """The charts of a run: `run.plot.waterfall()`."""

    __slots__ = ()

    def waterfall(self) -> Chart:
        """Draw what each thread did when."""
        from seedlab.insight import charts

        return charts.waterfall(self.of)

    def operations(self, after: flow.Run | None = None) -> Chart:
        """Draw statements, round trips, bytes sent and WAL by phase, beside those of another run."""
        from seedlab.insight import charts

        return charts.operations(self.of, after)

    def memory(self) -> Chart:
        """Draw the memory over time."""
        from seedlab.insight import charts

        return charts.memory(self.of)

    def waits(self) -> Chart:
        """Draw what the server's processes waited for."""
        from seedlab.insight import charts

        return charts.waits(self.of)

    def pareto(self) -> Chart:
        """Draw the bottlenecks, largest first."""
        from seedlab.insight import charts

        return charts.pareto(self.of)


class ComparisonPlots(Plots[evidence.Comparison]):
    """The charts of a comparison."""

    __slots__ = ()

    def before_after(self) -> Chart:
        """Draw each phase before and after."""
        from seedlab.insight import charts

        return charts.before_after(self.of)

    def pairs(self) -> Chart:
        """Draw the ratio of each pair."""
        from seedlab.insight import charts

        return charts.pairs(self.of)


class ProfilePlots(Plots[evidence.Profile]):
    """The charts of a profile."""

    __slots__ = ()

    def steps(self) -> Chart:
        """Draw what each level or switch saved."""
        from seedlab.insight import charts

        return charts.steps(self.of)


class HistoryPlots(Plots[Any]):
    """The charts of a history (`run_history.History`)."""

    __slots__ = ()

    def trend(self) -> Chart:
        """Draw the series of the newest run, each run beside what was usual before it."""
        from seedlab.insight import charts

        return charts.trend(self.of.trends[-1] if self.of.runs else None)


class Run(Displayable, flow.Run):
    """A run: `run.phases`, `run.plot.waterfall()`, `run.vs(earlier)`."""

    __slots__ = ()
    _page = pages.run_page

    @property
    def phases(self) -> pl.DataFrame:
        """The phases as a frame (`phase_frame.PHASES`), one row per phase."""
        from seedlab.insight.notebooks.phase_frame import phase_frame

        return phase_frame(self)

    @property
    def plot(self) -> RunPlots:
        """The charts of this run."""
        return RunPlots(self)

    def vs(self, earlier: flow.Run) -> Comparison:
        """Compare an earlier run with this one: counts exactly, times by one pair, which proves little."""
        from seedlab.insight.judging.compare import compare

        names = (f"{earlier.level} {earlier.run_id}", f"{self.level} {self.run_id}")
        return Comparison.of(compare((earlier,), (self,), names=names, threshold=0.05))


class Plan(Displayable, flow.Plan):
    """A plan."""

    __slots__ = ()
    _page = pages.plan_page


class Comparison(Displayable, evidence.Comparison):
    """A comparison: `comparison.plot.before_after()`, `comparison.plot.pairs()`."""

    __slots__ = ()
    _page = pages.comparison_page

    @property
    def plot(self) -> ComparisonPlots:
        """The charts of this comparison."""
        return ComparisonPlots(self)


class Profile(Displayable, evidence.Profile):
    """A profile: `profile.plot.steps()`."""

    __slots__ = ()
    _page = pages.profile_page

    @property
    def plot(self) -> ProfilePlots:
        """The charts of this profile."""
        return ProfilePlots(self)
