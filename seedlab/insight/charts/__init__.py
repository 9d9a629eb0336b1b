"""Draws charts of runs, comparisons, profiles and histories; needs matplotlib, of the extra `notebook`.

Each chart is a pure function of a value, and its title states what it shows.
"""

from importlib.util import find_spec

from seedlab.errors import ConfigurationError

if find_spec("matplotlib") is None:
    raise ConfigurationError("charts need matplotlib, which is missing: pip install 'seedlab[notebook]'")

from seedlab.insight.charts.by_phase import operations, steps
from seedlab.insight.charts.comparing import before_after, pairs
from seedlab.insight.charts.findings import pareto, scaling
from seedlab.insight.charts.over_time import memory, waits, waterfall
from seedlab.insight.charts.past import trend
from seedlab.insight.charts.style import Chart

__all__ = [
    "Chart",
    "before_after",
    "memory",
    "operations",
    "pairs",
    "pareto",
    "scaling",
    "steps",
    "trend",
    "waits",
    "waterfall",
]
