"""Decides which stages run, and why: selects them, judges their conditions, compares with the ledger.

A run with nothing to do ends here, so this module imports neither polars nor anything that works on rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from xxhash import xxh3_128, xxh3_128_hexdigest

from seedlab.errors import Fault
from seedlab.flow import (
    Catalog,
    Environment,
    LoadMemory,
    Memory,
    Options,
    Outcomes,
    Project,
    Seed,
    Stage,
    TableState,
    Tally,
)
from seedlab.frames.files.opening import content_hash, stat_of
from seedlab.plan import folder, freshness, graph
from seedlab.plan.freshness import Inputs, Verdict
from seedlab.plan.selection import select
from seedlab.steps.looking import Look

if TYPE_CHECKING:
    from seedlab.steps.pipeline import Prepared

FileState = tuple[int, int, int]  # inode, size and change time: every write to a file changes one of them
# The states of tables, the tables of which a seeded row was changed, and those that changed otherwise.
Drift = tuple[dict[str, TableState], frozenset[str], frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agenda:
    """The stages that take part, in the order declared, and why each other stage or seed does not."""

    declared: tuple[Stage, ...]
    stages: tuple[Stage, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def seeds(self) -> tuple[Seed, ...]:
        """Seeds of all stages that take part."""
        return tuple(seed for stage in self.stages for seed in stage.seeds)

    @property
    def declared_seeds(self) -> dict[tuple[str, str], Seed]:
        """Seeds of all declared stages, by stage and name."""
        return {(stage.id, seed.name): seed for stage in self.declared for seed in stage.seeds}

    def removed_stages(self, memory: Memory) -> frozenset[str]:
        """Name the stages of which the ledger remembers rows, but which are no longer declared."""
        return frozenset({load.stage for load in memory.loads} - {stage.id for stage in self.declared})

    def left_out_tables(self, environment: Environment) -> dict[str, str]:
        """Map the tables that seeds left out would fill to a hint that says so, for messages."""
        hints: dict[str, str] = {}
        unknown = (
            f" (so the subset of environment {environment.name} cannot leave the row out with its parent)"
        )
        for seed in self.declared_seeds.values():
            why = self.left_out.get(f"{seed.stage}.{seed.name}") or self.left_out.get(seed.stage)
            if why is not None:
                hint = f"; seed '{seed.name}' would fill it, but is {why}"
                hint += unknown if environment.subset else ""
                hints |= {spec.table: hint for spec in seed.tables}
        return hints


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """The stages of an agenda compared with what the target has: which are stale, and why.

    `drifted` are tables in which somebody changed a seeded row, or whose state cannot be compared; `foreign`
    are tables that changed though every seeded row is as it was. `intact` are stages whose files changed, but
    none of their rows. `table_states` are the tables' states as they were found.
    """

    verdicts: Mapping[str, Verdict]
    inputs: Inputs
    foreign: frozenset[str] = frozenset()
    drifted: frozenset[str] = frozenset()
    intact: frozenset[str] = frozenset()
    table_states: Mapping[str, TableState] = field(default_factory=dict)

    @property
    def stale(self) -> frozenset[str]:
        """The stages that have to run."""
        return frozenset(name for name, each in self.verdicts.items() if each.reason is not None)

    def skipped(self, memory: Memory) -> dict[str, str]:
        """Map the stages that need not run to the reason."""
        affected = {load.stage for load in memory.loads if load.table in self.foreign}
        return {
            name: "table changed, seeded rows intact" if name in affected else "unchanged"
            for name in self.verdicts.keys() - self.stale
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a run has to do, and what was known when that was decided.

    `files` are the states of all data files before they were hashed. `only_stage` is the task's one stage
    where each stage is committed by itself, else empty. `prepared_early` holds the changed files, if they
    were prepared while the database was still being asked what its tables hold. An `exclusive` task keeps
    other writers out of the tables, since they have changed the same rows too often.
    """

    project: Project
    options: Options
    agenda: Agenda
    assessment: Assessment
    memory: Memory
    run_id: str
    started: str
    files: Mapping[str, FileState] = field(default_factory=dict, repr=False)
    only_stage: str = ""
    prepared_early: Prepared | None = field(default=None, repr=False, compare=False)
    exclusive: bool = False

    @property
    def stale(self) -> tuple[Stage, ...]:
        """The stages that have to run."""
        return tuple(stage for stage in self.agenda.stages if stage.id in self.assessment.stale)

    def hashes_to_remember(self) -> Mapping[str, str]:
        """Return the hash by which each file is remembered.

        The hash is empty for a file that was written to since, because the rows that were read may be either
        the old ones or the new ones; so the next run looks at that file again.
        """
        written = written_since(self.project, self.files)
        hashes = self.assessment.inputs.files
        return {name: "" if name in written else each for name, each in hashes.items()}

    def with_reasons(self, reasons: Mapping[str, str]) -> Task:
        """Replace the reasons why stages run by better ones that were found while they ran."""
        verdicts = {
            name: replace(each, reason=reasons.get(name, each.reason))
            for name, each in self.assessment.verdicts.items()
        }
        return replace(self, assessment=replace(self.assessment, verdicts=verdicts))

    def without_intact(self, found: Collection[str]) -> Task:
        """Judge the stages again, now that the files of those `found` turn out to hold the same rows."""
        assessment = self.assessment
        intact = assessment.intact | frozenset(found)
        verdicts = freshness.judge(
            self.agenda.stages, assessment.inputs, self.memory, assessment.drifted, intact
        )
        assessment = replace(assessment, verdicts=verdicts, intact=intact)
        return replace(self, assessment=assessment, prepared_early=None)

    def narrowed_to(self, stage: str, memory: Memory) -> Task:
        """Narrow the task to one stage, with the memory that the stages before it left."""
        verdicts = {stage: self.assessment.verdicts[stage]}
        table_states = {
            name: state
            for name, state in self.assessment.table_states.items()
            if memory.tables.get(name) == self.memory.tables.get(name)
        }
        assessment = replace(
            self.assessment, verdicts=verdicts, intact=frozenset(), table_states=table_states
        )
        return replace(self, assessment=assessment, memory=memory, only_stage=stage, prepared_early=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What became of the stale stages.

    `tallies` count what became of every row, `rejected` has a fault for each row that was not written.
    `skipped` maps stages that turned out to have nothing to do to the reason, `reasons` says better than
    before why others ran. Where each stage is committed by itself, `failure` is what ended the run early;
    `failed` and `not_begun` then map the stages that were undone, or not begun, to the reason.
    """

    tallies: tuple[Tally, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    rejected: tuple[Fault, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    not_begun: Mapping[str, str] = field(default_factory=dict)
    failure: BaseException | None = None


# ---- which stages ---------------------------------------------------------------------------------------


def agenda_of(project: Project, options: Options, look: Look) -> Agenda:
    """Select the stages that take part, and judge their conditions by what the target has now."""
    stages = project.stages or _inferred_stages(project, look.catalog())
    chosen = select(stages, options.select, options.exclude, options.environment)
    if not any(stage.conditions for stage in chosen.stages):
        return Agenda(declared=stages, stages=chosen.stages, left_out=chosen.left_out)
    from seedlab.plan import conditions  # imported late, since few projects have any

    taking_part, left_out = [], dict(chosen.left_out)
    for stage in chosen.stages:
        parsed = [conditions.parse(text) for text in stage.conditions]
        situation = conditions.Situation(
            environment=options.environment.name,
            empty_tables=look.empty(conditions.tables_needed(parsed)),
            root=project.root,
            force=options.force,
        )
        reasons = conditions.unmet(parsed, situation)
        if reasons and not options.force:
            left_out[stage.id] = "; ".join(reasons)
        else:
            taking_part.append(stage)
    return Agenda(declared=stages, stages=tuple(taking_part), left_out=left_out)


def _inferred_stages(project: Project, catalog: Catalog) -> tuple[Stage, ...]:
    """Make the stages of a folder without configuration: one for each level of its foreign-key graph."""
    seeds = [folder.keep_prefix(seed, catalog) for seed in project.seeds]
    names = {spec.table for seed in seeds for spec in seed.tables}
    tables = {name: table for name in names if (table := catalog.find(name)) is not None}
    spellings: dict[str, set[str]] = {}  # files may spell a table's name in several ways
    for name, table in tables.items():
        spellings.setdefault(table.name, set()).add(name)
    parents = {
        name: {each for key in table.foreign_keys for each in spellings.get(key.parent, ())}
        for name, table in tables.items()
    }
    return graph.levels(seeds, parents)


# ---- hashes of what people edit -------------------------------------------------------------------------


def file_states(project: Project) -> dict[str, FileState]:
    """Ask the file system for the state of every data file, by name; files that are gone are left out."""
    found = {file.name: stat_of(file) for seed in project.every_seed for file in seed.files}
    return {name: (each.st_ino, each.st_size, each.st_ctime_ns) for name, each in found.items() if each}


def written_since(project: Project, states: Mapping[str, FileState]) -> set[str]:
    """Name the files that were written to, or removed, since `file_states` returned these states."""
    now = file_states(project)
    return {name for name, state in states.items() if now.get(name) != state}


def file_hashes(project: Project) -> dict[str, str]:
    """Hash the content of every data file, by name."""
    files = {file.name: file for seed in project.every_seed for file in seed.files}
    return {name: content_hash(file) for name, file in files.items()}


def python_hash(root: Path) -> str:
    """Hash all Python files below a project's folder, since a transform may import any of them."""
    whole = xxh3_128()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            whole.update(f"{name}\0{xxh3_128_hexdigest(path.read_bytes())}\0".encode())
    return whole.hexdigest()


def data_fingerprint(seeds: Iterable[Seed], hashes: Mapping[str, str]) -> str:
    """Hash the content of all files with their names: equal data, equal fingerprint."""
    names = sorted({file.name for seed in seeds for file in seed.files})
    return xxh3_128_hexdigest("".join(f"{name}\0{hashes[name]}\0" for name in names).encode())


# ---- which stages are stale -----------------------------------------------------------------------------


def assess(
    project: Project,
    agenda: Agenda,
    hashes: Mapping[str, str],
    look: Look,
    options: Options,
    on_changed_files: Callable[[Assessment], Callable[[], None]] | None = None,
) -> Assessment:
    """Compare files, configuration and tables with the ledger.

    `on_changed_files` is called where files changed, with the assessment as it will be if nobody changed a
    table. What it returns is called while the database computes its answer, if that is a server.
    Cost: at most two statements, three where somebody changed a table.
    """
    memory = look.memory()
    inputs = Inputs(
        files=hashes,
        python=python_hash(project.root) if any(seed.transform for seed in agenda.seeds) else "",
        catalog=look.catalog() if memory.stages else None,
        environment=options.environment,
        settings=options.settings,
    )
    if options.force or "incremental" not in options.settings.switches or not memory.stages:
        return Assessment(verdicts=freshness.all_stale(agenda.stages), inputs=inputs)
    verdicts = freshness.judge(agenda.stages, inputs, memory)
    changed = {each.stage for each in verdicts.values() if each.files is not None}
    # The changed files may turn out to hold the same rows. Then the stages that depend on them need not run,
    # so the tables of those stages must be compared, too.
    if_intact = freshness.judge(agenda.stages, inputs, memory, intact=changed) if changed else verdicts
    may_skip = changed | {
        each.stage for each in if_intact.values() if each.reason is None or each.files is not None
    }
    # A load without files is one that the project gave up: no stage would write its rows again.
    tables = {load.table for load in memory.loads if load.stage in may_skip and load.files}
    prepare = None
    if changed and on_changed_files is not None and look.session.concurrent:
        prepare = on_changed_files(Assessment(verdicts=verdicts, inputs=inputs))
    drift = _drift(look, tables)
    if prepare is not None:
        prepare()
    table_states, drifted, foreign = drift()
    if drifted:
        verdicts = freshness.judge(agenda.stages, inputs, memory, drifted)
    return Assessment(
        verdicts=verdicts,
        inputs=inputs,
        foreign=foreign,
        drifted=drifted,
        table_states=table_states,
    )


def _drift(look: Look, tables: Collection[str]) -> Callable[[], Drift]:
    """Ask what tables hold now; the function that is returned waits for the answer and compares it."""
    memory, ledger = look.memory(), look.session.ledger
    states = {name: memory.tables[name] for name in sorted(tables) if is_comparable(name, look)}
    unknown = frozenset(tables) - states.keys()
    wait_for_contents = ledger.contents_ahead(list(states.values()))

    def compare() -> Drift:
        now = wait_for_contents()
        changed = {each.table: each for each in now if each.content != states[each.table].content}
        # A stamp already tells that no seeded row was changed; otherwise the rows' own hashes are compared.
        doubtful = [states[name] for name, each in changed.items() if not each.stamp]
        drifted = ledger.drifted(doubtful) if doubtful else frozenset()
        return {each.table: each for each in now}, drifted | unknown, frozenset(changed) - drifted

    return compare


def is_comparable(name: str, look: Look) -> bool:
    """Tell whether the table's remembered state can be compared with its present one.

    It can if the table still has the columns, and a server of the same major version computes the hashes.
    """
    state, table = look.memory().tables.get(name), look.catalog().tables.get(name)
    if state is None or table is None or not table.exists:
        return False
    return state.server == server_of(look.catalog()) and {*state.columns, *state.key} <= {*table.columns}


def server_of(catalog: Catalog) -> str:
    """Name what computes the hashes of rows, which may differ from one major version to the next."""
    return f"{catalog.dialect} {catalog.version.partition('.')[0]}"


def state_of(table: str, columns: Iterable[str], key: Sequence[str], catalog: Catalog) -> TableState:
    """Make the state of a table whose content has not been read yet."""
    return TableState(
        table=table, columns=tuple(sorted(set(columns))), key=tuple(key), server=server_of(catalog)
    )


def unchanged_tally(load: LoadMemory) -> Tally:
    """Count all remembered rows of a load as unchanged."""
    return tally_of(load, Outcomes(unchanged=load.rows))


def tally_of(load: LoadMemory, outcomes: Outcomes) -> Tally:
    """Make the tally of a remembered load."""
    return Tally(stage=load.stage, seed=load.seed, table=load.table, key=load.key, outcomes=outcomes)
