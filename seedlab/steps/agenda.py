"""What a run has to do, and why: stages selected, conditions judged, what the ledger says compared with now.

Light: a run with nothing to do never gets further, and imports no polars.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from xxhash import xxh3_128, xxh3_128_hexdigest

from seedlab.flow import (
    Catalog,
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
from seedlab.frames.opening import content_hash, stat_of
from seedlab.plan import folder, freshness, graph
from seedlab.plan.freshness import Situation, Verdict
from seedlab.plan.selection import select
from seedlab.steps.looking import Look

if TYPE_CHECKING:
    from seedlab.steps.pipeline import Prepared

FileState = tuple[int, int, int]  # what every write to a file changes
# What tables hold, those of which a seeded row was changed, those that changed otherwise.
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

    def left_out_tables(self) -> dict[str, str]:
        """Say of tables that only seeds left out would fill why they are not."""
        told: dict[str, str] = {}
        for seed in (seed for stage in self.declared for seed in stage.seeds):
            why = self.left_out.get(f"{seed.stage}.{seed.name}") or self.left_out.get(seed.stage)
            if why is not None:
                told |= {
                    spec.table: f"; seed '{seed.name}' brings such rows, but is {why}" for spec in seed.tables
                }
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the stages of an agenda stand against what the target has.

    `foreign` are tables whose content is not the one remembered, though every seeded row is as it was, and
    `intact` stages whose files changed, but none of their rows. `seen` is what tables were found to
    hold.
    """

    verdicts: Mapping[str, Verdict]
    situation: Situation
    foreign: frozenset[str] = frozenset()
    drifted: frozenset[str] = frozenset()
    intact: frozenset[str] = frozenset()
    seen: Mapping[str, TableState] = field(default_factory=dict)

    @property
    def stale(self) -> frozenset[str]:
        """The stages that have to run."""
        return frozenset(name for name, each in self.verdicts.items() if each.reason is not None)

    def skipped(self, memory: Memory) -> dict[str, str]:
        """Say of the stages that need not run why."""
        touched = {load.stage for load in memory.loads if load.table in self.foreign}
        return {
            name: "table changed, seeded rows intact" if name in touched else "unchanged"
            for name in self.verdicts.keys() - self.stale
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a run has to do, and what was known when that was decided.

    `ahead` is what was prepared while that was being decided: just the files that changed. `files` are the
    states of all data files before they were hashed.
    """

    project: Project
    options: Options
    agenda: Agenda
    standing: Standing
    memory: Memory
    run_id: str
    started: str
    files: Mapping[str, FileState] = field(default_factory=dict, repr=False)
    part: str = ""  # the one stage, where each is committed by itself
    ahead: Prepared | None = field(default=None, repr=False, compare=False)

    @property
    def stale(self) -> tuple[Stage, ...]:
        """The stages that have to run."""
        return tuple(stage for stage in self.agenda.stages if stage.id in self.standing.stale)

    def hashes(self) -> Mapping[str, str]:
        """Hash the files as they were read: of one that somebody wrote to meanwhile nobody knows as what."""
        written = written_since(self.project, self.files)
        known = self.standing.situation.files
        return {name: "" if name in written else each for name, each in known.items()}

    def told(self, reasons: Mapping[str, str]) -> Task:
        """Replace the reasons for which stages run, once they are known better."""
        verdicts = {
            name: replace(each, reason=reasons.get(name, each.reason))
            for name, each in self.standing.verdicts.items()
        }
        return replace(self, standing=replace(self.standing, verdicts=verdicts))

    def without(self, found: Collection[str]) -> Task:
        """Take out stages of which it turned out that their files changed, but none of their rows."""
        standing = self.standing
        intact = standing.intact | frozenset(found)
        verdicts = freshness.judge(
            self.agenda.stages, standing.situation, self.memory, standing.drifted, intact
        )
        return replace(self, standing=replace(standing, verdicts=verdicts, intact=intact), ahead=None)

    def only(self, stage: str, memory: Memory) -> Task:
        """Narrow the task to one stage, with the memory that the stages before it left."""
        verdicts = {stage: self.standing.verdicts[stage]}
        seen = {
            name: state
            for name, state in self.standing.seen.items()
            if memory.tables.get(name) == self.memory.tables.get(name)
        }
        standing = replace(self.standing, verdicts=verdicts, intact=frozenset(), seen=seen)
        return replace(self, standing=standing, memory=memory, part=stage, ahead=None)


# ---- which stages ---------------------------------------------------------------------------------------


def agenda_of(project: Project, options: Options, look: Look) -> Agenda:
    """Select stages; judge their conditions, once, by what the target has now."""
    stages = project.stages or _levels(project, look.catalog())
    chosen = select(stages, options.select, options.exclude, options.environment)
    if not any(stage.conditions for stage in chosen.stages):
        return Agenda(declared=stages, stages=chosen.stages, left_out=chosen.left_out)
    from seedlab.plan import conditions  # few projects have any

    kept, left_out = [], dict(chosen.left_out)
    for stage in chosen.stages:
        parsed = [conditions.parse(text) for text in stage.conditions]
        situation = conditions.Situation(
            environment=options.environment.name,
            empty_tables=look.empty(conditions.tables_needed(parsed)),
            root=project.root,
            force=options.force,
        )
        verdict = conditions.judge(parsed, situation)
        if verdict.met:
            kept.append(stage)
        else:
            left_out[stage.id] = "; ".join(verdict.reasons)
    return Agenda(declared=stages, stages=tuple(kept), left_out=left_out)


def _levels(project: Project, catalog: Catalog) -> tuple[Stage, ...]:
    """Stages of a folder without configuration: the levels of its foreign-key graph, as files spell it."""
    seeds = [folder.as_named(seed, catalog) for seed in project.seeds]
    names = {spec.table for seed in seeds for spec in seed.tables}
    tables = {name: table for name in names if (table := catalog.find(name)) is not None}
    spelled: dict[str, set[str]] = {}
    for name, table in tables.items():
        spelled.setdefault(table.name, set()).add(name)
    parents = {
        name: {each for key in table.foreign_keys for each in spelled.get(key.parent, ())}
        for name, table in tables.items()
    }
    return graph.levels(seeds, parents)


# ---- hashes of what people edit -------------------------------------------------------------------------


def file_states(project: Project) -> dict[str, FileState]:
    """Ask the file system for the state of every data file, by name: number, size and time."""
    found = {file.name: stat_of(file) for seed in project.every_seed for file in seed.files}
    return {name: (each.st_ino, each.st_size, each.st_ctime_ns) for name, each in found.items() if each}


def written_since(project: Project, states: Mapping[str, FileState]) -> set[str]:
    """Name the files that are no more in the states that `file_states` has found."""
    now = file_states(project)
    return {name for name, state in states.items() if now.get(name) != state}


def file_hashes(project: Project) -> dict[str, str]:
    """Hash the content of every data file, by name."""
    files = {file.name: file for seed in project.every_seed for file in seed.files}
    return {name: content_hash(file) for name, file in files.items()}


def python_hash(root: Path) -> str:
    """Hash all Python of a project's folder: a transform may import any of it."""
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


# ---- how they stand -------------------------------------------------------------------------------------


def standing_of(
    project: Project,
    agenda: Agenda,
    hashes: Mapping[str, str],
    look: Look,
    options: Options,
    meanwhile: Callable[[Standing], Callable[[], None]] | None = None,
) -> Standing:
    """Compare with the ledger; two statements at most, three where somebody changed a table.

    `meanwhile` is called where files changed, with how things stand if nobody changed a table; what it
    answers is called while a database that is a process of its own is being asked.
    """
    memory = look.memory()
    situation = Situation(
        files=hashes,
        python=python_hash(project.root) if any(seed.transform for seed in agenda.seeds) else "",
        catalog=look.catalog() if memory.stages else None,
        environment=options.environment,
        settings=options.settings,
    )
    if options.force or "incremental" not in options.settings.switches or not memory.stages:
        return Standing(verdicts=freshness.all_stale(agenda.stages), situation=situation)
    verdicts = freshness.judge(agenda.stages, situation, memory)
    changed = {each.stage for each in verdicts.values() if each.files is not None}
    # Files that changed may turn out to say the same: then what depends on them need not run either.
    saved = freshness.judge(agenda.stages, situation, memory, intact=changed) if changed else verdicts
    doubtful = changed | {
        each.stage for each in saved.values() if each.reason is None or each.files is not None
    }
    # A load without files is one that the project gave up: nobody brings its rows again.
    filled = {load.table for load in memory.loads if load.stage in doubtful and load.files}
    prepare = None
    if changed and meanwhile is not None and look.session.concurrent:
        prepare = meanwhile(Standing(verdicts=verdicts, situation=situation))
    drift = _drift(look, filled)
    if prepare is not None:
        prepare()
    seen, drifted, foreign = drift()
    if drifted:
        verdicts = freshness.judge(agenda.stages, situation, memory, drifted)
    return Standing(verdicts=verdicts, situation=situation, foreign=foreign, drifted=drifted, seen=seen)


def _drift(look: Look, tables: Collection[str]) -> Callable[[], Drift]:
    """Ask of tables that we filled what they hold now. What comes back waits for that, and for which of them
    a seeded row was changed, and which changed otherwise.
    """
    memory, ledger = look.memory(), look.session.ledger
    states = {name: memory.tables[name] for name in sorted(tables) if comparable(name, look)}
    unknown = frozenset(tables) - states.keys()
    asked = ledger.contents_ahead(list(states.values()))

    def told() -> Drift:
        now = asked()
        changed = {each.table: each for each in now if each.content != states[each.table].content}
        doubtful = [states[name] for name, each in changed.items() if not each.stamp]
        drifted = ledger.drifted(doubtful) if doubtful else frozenset()
        return {each.table: each for each in now}, drifted | unknown, frozenset(changed) - drifted

    return told


def comparable(name: str, look: Look) -> bool:
    """Tell whether a remembered state can be compared: table and columns are there, and hashes are alike."""
    state, table = look.memory().tables.get(name), look.catalog().tables.get(name)
    if state is None or table is None or not table.exists:
        return False
    return state.server == server_of(look.catalog()) and {*state.columns, *state.key} <= {*table.columns}


def server_of(catalog: Catalog) -> str:
    """Name what computes the hashes: they may differ from one major version of a server to the next."""
    return f"{catalog.dialect} {catalog.version.partition('.')[0]}"


def state_of(table: str, columns: Iterable[str], key: Sequence[str], catalog: Catalog) -> TableState:
    """A table's state before anybody has looked at its content."""
    return TableState(
        table=table, columns=tuple(sorted(set(columns))), key=tuple(key), server=server_of(catalog)
    )


def as_it_was(load: LoadMemory) -> Tally:
    """Say of a load of which nothing was written that all its rows are as they were."""
    return tally_of(load, Outcomes(unchanged=load.rows))


def tally_of(load: LoadMemory, outcomes: Outcomes) -> Tally:
    """Say what became of the rows of a load that is remembered."""
    return Tally(stage=load.stage, seed=load.seed, table=load.table, key=load.key, outcomes=outcomes)
