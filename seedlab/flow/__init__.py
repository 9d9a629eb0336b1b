"""The values that modules pass to each other, in the order of a run: project, catalog, loads, writes, runs.

Every value is frozen. Many values of one kind are a polars frame, whose schema is a constant beside the
function that produces it.

Importing this package is part of every run, also of one with nothing to do, so it is kept cheap. It does not
import polars. Creating a dataclass takes half a millisecond, so the modules of loads, writes, plans and
spans are imported when one of their names is first used. The values of a single command are not re-exported:
`flow.status` has those of `status`, `flow.evidence` those of measurements, `flow.exports` those of `export`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from seedlab.flow.catalog import Catalog, Column, Ddl, Dialect, ForeignKey, Kind, Table, UniqueKey
from seedlab.flow.memory import (
    IN_DOUBT,
    LEDGER_VERSION,
    LEFT,
    LoadMemory,
    LoadName,
    Memo,
    Memory,
    RowSet,
    RunMemory,
    Shift,
    StageMemory,
    Stamp,
    TableState,
)
from seedlab.flow.outcomes import Outcomes
from seedlab.flow.project import (
    LEVELS,
    PRIORITIES,
    SWITCHES,
    Commit,
    Duplicates,
    Edge,
    Environment,
    Format,
    Level,
    Mode,
    Nulls,
    Options,
    Priority,
    Project,
    Seed,
    Settings,
    SourceFile,
    Stage,
    TableSpec,
    Target,
    TargetConfig,
)
from seedlab.flow.runs import (
    Counters,
    Phase,
    Recorder,
    Run,
    SeedReport,
    StageReport,
    TableReport,
    Tally,
)

if TYPE_CHECKING:
    from seedlab.flow.evidence import Span
    from seedlab.flow.loads import (
        DIGEST,
        FILE,
        HANDLE,
        INDEX,
        LINE,
        NAME,
        NOTES,
        PARENT,
        REASON,
        RESERVED,
        ROW,
        Ask,
        Load,
        Part,
        Reference,
        Refusal,
        Suspect,
        null_sources,
        part_sources,
    )
    from seedlab.flow.plans import Plan, PlannedSeed, PlannedStage, PlannedTable, RowChange
    from seedlab.flow.writes import (
        Batch,
        Classified,
        Removal,
        Reserve,
        Sourced,
        Staging,
        TableWrite,
        WritePlan,
        Written,
    )

__all__ = [
    "DIGEST",
    "FILE",
    "HANDLE",
    "INDEX",
    "IN_DOUBT",
    "LEDGER_VERSION",
    "LEFT",
    "LEVELS",
    "LINE",
    "NAME",
    "NOTES",
    "PARENT",
    "PRIORITIES",
    "REASON",
    "RESERVED",
    "ROW",
    "SWITCHES",
    "Ask",
    "Batch",
    "Catalog",
    "Classified",
    "Column",
    "Commit",
    "Counters",
    "Ddl",
    "Dialect",
    "Duplicates",
    "Edge",
    "Environment",
    "ForeignKey",
    "Format",
    "Kind",
    "Level",
    "Load",
    "LoadMemory",
    "LoadName",
    "Memo",
    "Memory",
    "Mode",
    "Nulls",
    "Options",
    "Outcomes",
    "Part",
    "Phase",
    "Plan",
    "PlannedSeed",
    "PlannedStage",
    "PlannedTable",
    "Priority",
    "Project",
    "Recorder",
    "Reference",
    "Refusal",
    "Removal",
    "Reserve",
    "RowChange",
    "RowSet",
    "Run",
    "RunMemory",
    "Seed",
    "SeedReport",
    "Settings",
    "Shift",
    "SourceFile",
    "Sourced",
    "Span",
    "Stage",
    "StageMemory",
    "StageReport",
    "Staging",
    "Stamp",
    "Suspect",
    "Table",
    "TableReport",
    "TableSpec",
    "TableState",
    "TableWrite",
    "Tally",
    "Target",
    "TargetConfig",
    "UniqueKey",
    "WritePlan",
    "Written",
    "null_sources",
    "part_sources",
]


# The modules of the names that are imported late; all others are in `loads` or `writes`.
_PLANS = frozenset({"Plan", "PlannedSeed", "PlannedStage", "PlannedTable", "RowChange"})
_HOMES = {"Span": ("evidence",), **dict.fromkeys(_PLANS, ("plans",))}


def __getattr__(name: str) -> Any:
    """Import the module of a name when the name is first used (PEP 562)."""
    for module in _HOMES.get(name, ("loads", "writes")) if name in __all__ else ():
        if (found := getattr(import_module(f"seedlab.flow.{module}"), name, None)) is not None:
            return found
    raise AttributeError(f"module 'seedlab.flow' has no attribute '{name}'")
