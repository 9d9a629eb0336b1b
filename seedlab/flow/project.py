"""The project as its folder and seedlab.toml describe it, the target, and the options of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from seedlab.errors import Place
from seedlab.flow.catalog import Dialect

if TYPE_CHECKING:
    from concurrent.futures import Executor

Mode = Literal["insert", "upsert", "sync"]
Priority = Literal["critical", "high", "medium", "low"]
Duplicates = Literal["error", "first", "last"]
Nulls = Literal["error", "equal"]
Level = Literal["legacy", "bulk", "parallel", "copy", "incremental"]
Commit = Literal["run", "stage"]
Format = Literal["csv", "tsv", "json", "jsonl", "yaml", "parquet"]

PRIORITIES: tuple[Priority, ...] = ("critical", "high", "medium", "low")
LEVELS: Mapping[Level, frozenset[str]] = {
    "legacy": frozenset(),
    "bulk": frozenset({"cache"}),
    "parallel": frozenset({"cache", "parallel"}),
    "copy": frozenset({"cache", "parallel", "copy", "rebuild"}),
    "incremental": frozenset({"cache", "parallel", "copy", "rebuild", "incremental"}),
}
SWITCHES: tuple[str, ...] = ("cache", "parallel", "copy", "rebuild", "incremental")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A data file: `path` to open it, `name` (relative to the project, with slashes) to show it."""

    path: Path
    name: str
    format: Format
    compression: Literal["gz", "zst"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSpec:
    """What a seed declares of one table: where its records are nested, and their key.

    `path` is a dotted path from the record (`$`), `key` names columns or relations (None: inferred), `parent`
    is the relation that refers to the enclosing record, and `columns` maps a column to a dotted path or
    `$index`. With `nulls` = "equal", NULL in the key is a value like any other.
    """

    table: str
    path: str = "$"
    key: tuple[str, ...] | None = None
    nulls: Nulls = "error"
    parent: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    place: Place | None = None  # of the declaration in the configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """One unit of work: source files → frames → one or more tables."""

    name: str
    stage: str
    files: tuple[SourceFile, ...]
    tables: tuple[TableSpec, ...]
    priority: Priority = "medium"
    estimated_ms: int | None = None
    environments: tuple[str, ...] = ()  # empty: all
    tags: tuple[str, ...] = ()
    mode: Mode = "upsert"
    duplicates: Duplicates = "error"
    transform: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A node of the dependency graph: seeds that run once the stages in `dependencies` are written."""

    id: str
    name: str
    seeds: tuple[Seed, ...]
    dependencies: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    parallel: bool = True
    place: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """An environment: the share of the data that it gets, and whether a guard protects it.

    `subset` maps a table to the number of rows to keep, `select` are selectors of stages and seeds.
    """

    name: str
    subset: Mapping[str, int] = field(default_factory=dict)
    protected: bool = False
    select: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetConfig:
    """An entry `[targets.NAME]`; the `${VARIABLES}` in `url` are not replaced yet."""

    name: str
    url: str
    environment: str | None = None
    place: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a run works; `origins` maps each setting to its source: flag, variable, file or default."""

    level: Level = "incremental"
    disabled: frozenset[str] = frozenset()
    isolation: str = "repeatable read"
    statement_timeout: str | None = None
    lock_timeout: str = "10s"
    batch_rows: int = 500_000
    workers: int = 0  # 0: one per core
    ids: Literal["uuid8", "uuid5"] = "uuid8"
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def switches(self) -> frozenset[str]:
        """The optimisations that are switched on."""
        return LEVELS[self.level] - self.disabled


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A folder with data files, and its configuration.

    `stages` is empty if the configuration declares none. They are then the levels of the foreign-key graph,
    which the run builds from `seeds` once it has read the catalog.
    """

    root: Path
    name: str
    stages: tuple[Stage, ...]
    seeds: tuple[Seed, ...] = ()  # only of a project without stages; each seed's `stage` is ""
    config: Path | None = None
    schema: str | None = None
    transforms: str | None = None
    targets: Mapping[str, TargetConfig] = field(default_factory=dict)
    environments: Mapping[str, Environment] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)  # column → value for new rows

    @property
    def every_seed(self) -> tuple[Seed, ...]:
        """All seeds, in the order of their stages."""
        return (*(seed for stage in self.stages for seed in stage.seeds), *self.seeds)

    @property
    def table_names(self) -> set[str]:
        """The names of the tables that seeds fill, as the project spells them."""
        return {spec.table for seed in self.every_seed for spec in seed.tables}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The database to be seeded. `url` may contain the password: print `shown`, never `url`."""

    dialect: Dialect
    url: str = field(repr=False)
    shown: str
    host: str  # "" for a socket or a file
    database: str
    origin: str  # "--database-url", "--target NAME", "SEEDLAB_DATABASE_URL", "embedded", …
    name: str | None = None
    environment: str | None = None

    def __str__(self) -> str:
        return self.shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one run or plan."""

    environment: Environment
    settings: Settings = Settings()
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    force: bool = False
    yes_seed: str | None = None
    wait: str | None = None  # how long to wait for another run's lock; None: not at all
    max_delete: str | None = None  # the number or share of rows that a sync may delete; None: none
    rejects: Path | None = None  # the reports folder for rejected rows; None: a bad row fails the run
    dry_run: bool = False  # roll back instead of committing
    commit: Commit = "run"  # one transaction per run, or one per stage
    executor: Executor | str | None = None  # stages the parts of large loads; None: threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Stage `after` waits for stage `before`; `origin` is `declared` or the foreign key's name."""

    before: str
    after: str
    origin: str
