"""The style and figure class of all charts: byte-for-byte reproducible, with a description in words."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from html import escape
from io import BytesIO
from pathlib import Path
from textwrap import fill
from typing import Any, ParamSpec
from urllib.parse import quote

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator

from seedlab.flow import Phase, Run
from seedlab.insight.formatting.palette import CONTEXT, INK, PALE, PHASE_COLOURS, PHASE_HATCHES, SOFT
from seedlab.insight.formatting.text import moment, printable, several, shorten

WIDTH = 8.5  # inches, the width of a notebook's column
STYLE: dict[str, Any] = {
    "figure.figsize": (WIDTH, 3.2),
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "figure.facecolor": "white",
    "figure.titlesize": 13,
    "figure.titleweight": "bold",
    "font.family": "DejaVu Sans",  # part of matplotlib, so that charts are the same everywhere; has Hebrew
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # so that a $ in a name is just a $
    "axes.edgecolor": CONTEXT,
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid.axis": "x",
    "grid.color": PALE,
    "xtick.color": CONTEXT,
    "xtick.labelcolor": INK,
    "ytick.color": CONTEXT,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "hatch.color": "white",
    "hatch.linewidth": 0.7,
    "svg.fonttype": "path",
    "svg.hashsalt": "seedlab",
    "svg.id": "",
}
_LETTERS_OF_A_TITLE = 78
_TITLE_LINE, _CONTEXT_LINE = 0.23, 0.15  # inches
_MINUTES = 180  # seconds from which on an axis is in minutes
_DIGITS = re.compile(r"(?<!scale\()(\b\d+\.\d\d)\d+")
P = ParamSpec("P")


class Chart(Figure):
    """A matplotlib figure with a description: `title` is the finding, `alt` describes all that is drawn.

    The same values give the same bytes, as SVG and as PNG. Notebooks display it without pyplot.
    """

    title: str = ""
    alt: str = ""

    def __repr__(self) -> str:
        return f"Chart: {self.alt}"

    __str__ = __repr__

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write the figure as matplotlib does, but without the date and independent of the user's style."""
        kind = options.get("format") or Path(str(fname)).suffix.removeprefix(".")
        if kind == "svg":
            nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            options = {"metadata": {**nothing, "Title": self.alt}, **options, "format": kind}
        elif kind == "png":
            options.setdefault("metadata", {"Software": None, "Description": self.alt})
        written = BytesIO()
        with drawing():
            super().savefig(written if kind == "svg" else fname, **options)
        if kind == "svg":
            data = _slim(written.getvalue().decode()).encode()
            fname.write(data) if hasattr(fname, "write") else Path(fname).write_bytes(data)

    def svg(self) -> str:
        """Return the figure as an SVG document, with text as outlines."""
        return self._bytes("svg").decode()

    def png(self) -> bytes:
        """Return the figure as PNG, for screens of twice the usual density."""
        return self._bytes("png")

    def _bytes(self, kind: str) -> bytes:
        written = BytesIO()
        self.savefig(written, format=kind)
        return written.getvalue()

    # As an image, since the ids of inline SVG would clash with those of other charts in the page.
    def _repr_html_(self) -> str:
        width = round(self.get_figwidth() * 100)
        return (
            '<figure style="margin:.5em 0">'
            f"<img src='data:image/svg+xml,{_url_encoded(self.svg())}' alt=\"{escape(self.alt)}\""
            f' style="width:{width}px;max-width:100%;height:auto"></figure>'
        )

    def _repr_markdown_(self) -> str:
        return f"*{self.alt}*"


def _slim(svg: str) -> str:
    """Shrink SVG by a quarter without a visible change: without comments and line ends, two decimals."""
    svg = re.sub(r"\s*\n\s*", " ", re.sub(r"<!--.*?-->", "", svg))
    svg = re.sub(r' (?:d|x|y|transform)="[^"]*"', lambda found: _DIGITS.sub(r"\1", found[0]), svg)
    return svg.replace("> <", "><").replace("DejaVuSans-", "g")


def _url_encoded(svg: str) -> str:
    """Encode SVG for a data: URL in single quotes; base64 would make pages of charts a quarter larger."""
    return quote(svg, safe=' "!$()*+,-./:;=?@[]^_`{|}~')


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in our style on top of matplotlib's defaults, without warnings of letters that the font lacks."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)  # type: ignore[arg-type]  # its names are literals
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def styled(make: Callable[P, Chart]) -> Callable[P, Chart]:
    """Decorate a function that draws a chart, so that it runs with our style (`drawing`)."""

    @wraps(make)
    def draw(*args: P.args, **options: P.kwargs) -> Chart:
        with drawing():
            return make(*args, **options)

    return draw


def new_chart(title: str, context: str, *, height: float) -> Chart:
    """Create a chart with a title, the finding, and in small letters below it what it was measured on.

    It is as much higher as these take more than a line each.
    """
    title_text = fill(title, _LETTERS_OF_A_TITLE)
    lines = "\n".join(fill(line, 138) for line in context.splitlines())
    height += _TITLE_LINE * title_text.count("\n") + _CONTEXT_LINE * lines.count("\n")
    chart = Chart(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(h_pad=0.06, w_pad=0.06))
    FigureCanvasAgg(chart)
    chart.title = title
    chart.alt = title
    chart.suptitle(title_text, x=0.008, ha="left")
    if context:
        chart.supxlabel(lines, x=0.008, ha="left", fontsize=8, color=SOFT)
    return chart


def finish(chart: Chart, *details: str) -> Chart:
    """Finish a chart: add details to its description, and fix its layout.

    Without this the layout would be computed again for each density, and differ slightly.
    """
    chart.alt = ". ".join([chart.title, *filter(None, details)]) + "."
    chart.draw_without_rendering()
    chart.set_layout_engine("none")
    return chart


def empty_chart(title: str, why: str, context: str = "") -> Chart:
    """Create a chart that says why there is nothing to draw."""
    chart = new_chart(title, context, height=1.5)
    axes = chart.add_subplot()
    axes.set_axis_off()
    axes.text(0.5, 0.5, fill(why, 90), ha="center", va="center", color=SOFT, transform=axes.transAxes)
    return finish(chart, why.removesuffix("."))


# ---- names and numbers ----------------------------------------------------------------------------------


def name(text: str, cells: int = 28) -> str:
    """Return a label for a name from outside: short, on one line, with its direction isolated."""
    short = shorten(printable(text), cells)
    return short if text.isascii() else f"\u2068{short}\u2069"


def seconds_axis(axes: Axes, whole: float, label: str = "") -> None:
    """Set up x as an axis of seconds from 0 to `whole`, with all ticks in one unit."""
    axes.set_xlim(0, whole or 1)
    in_one_unit(axes.xaxis, whole)
    axes.grid(visible=True, axis="x")
    axes.set_xlabel(label)


def in_one_unit(axis: Axis, largest: float) -> None:
    """Put round ticks on an axis of seconds, in the unit that suits the largest: 0.8 s beside 1.2 s."""
    minutes = largest >= _MINUTES
    axis.set_major_locator(_RoundTicks(60 if minutes else 1))
    axis.set_major_formatter(_in_minutes() if minutes else _in_seconds(largest))


class _RoundTicks(MaxNLocator):
    """Places at most nine ticks, at round multiples of a unit."""

    def __init__(self, unit: float) -> None:
        super().__init__(nbins=8, steps=[1, 2, 5, 10])
        self._unit = unit

    def tick_values(self, vmin: float, vmax: float) -> Any:
        ticks = super().tick_values(vmin / self._unit, vmax / self._unit)
        return [tick * self._unit for tick in ticks]


def _in_minutes() -> FuncFormatter:
    return FuncFormatter(lambda value, _: f"{value / 60:g} min" if value else "0")


def _in_seconds(largest: float) -> FuncFormatter:
    digits = min(3 * math.floor(math.log10(largest) / 3), 0) if largest > 0 else 0
    word = EngFormatter(unit="s")(10.0**digits).removeprefix("1")
    return FuncFormatter(lambda value, _: f"{value / 10.0**digits:g}{word}" if value else "0")


def rows_axis(axes: Axes, labels: list[str]) -> None:
    """Set up y as one row per label, the first at the top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def context_of(run: Run) -> str:
    """Describe the run of a chart in one line."""
    database = run.target.partition(":")[0].partition("+")[0]
    rows = several(run.outcomes.total, "row")
    facts = (
        name(run.project, 40),
        run.level,
        database,
        rows,
        f"run {run.run_id}",
        moment(run.started)[:16],
    )
    return " · ".join(filter(None, facts))


def phase_patch(phase: Phase, label: str) -> Patch:
    """Return the entry of a phase for a legend."""
    return Patch(facecolor=PHASE_COLOURS[phase], hatch=PHASE_HATCHES[phase], label=label, linewidth=0)


def legend_above(axes: Axes, handles: Sequence[Artist], *, ncols: int = 4) -> None:
    """Draw a legend between title and axes."""
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1.01), ncols=ncols, handlelength=1.4,
        borderaxespad=0, borderpad=0.2,
    )  # fmt: skip
