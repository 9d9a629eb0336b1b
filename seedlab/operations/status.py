"""Tells a person what the ledger remembers of a project, and how that compares with now; writes nothing.

Cost on PostgreSQL: one round trip each for the catalog with the ledger, the content of tables (one more where
somebody changed a table), the packed rows, the last runs, and the ledger's size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from seedlab.database.rights import reading_grants
from seedlab.flow import Memory, Options, Project, Recorder, RunMemory, Target
from seedlab.flow.status import LoadStatus, StageStatus, Status
from seedlab.orchestrator import looking_at
from seedlab.steps.agenda import Agenda, Assessment, agenda_of, assess, file_hashes
from seedlab.steps.looking import Look

LAST_RUNS = 10
NEVER = "the ledger has nothing of it"
UNFINISHED = "unfinished: some of its rows were rejected or taken back"
UNDECLARED = "in the ledger, but no longer in the project"
_FORGOTTEN = "the ledger has lost the rows that it seeded"
_ALWAYS = "without incremental every stage runs"

Loads = Mapping[str, tuple[LoadStatus, ...]]  # by stage


def status(project: Project, target: Target, options: Options, recorder: Recorder) -> Status:
    """Say what the target's ledger remembers of the project, and which stages the next seed would run."""
    empty = Status(
        project=project.name, target=target.shown, environment=options.environment.name, ledger="missing"
    )
    with looking_at(project, target, options, recorder) as look:
        memory = look.memory()
        if not memory.possible:
            return replace(empty, ledger="unreadable", grants=reading_grants(look.catalog().user))
        if not memory.exists:
            return empty
        ledger = look.session.ledger
        return replace(
            empty,
            ledger="there",
            generation=memory.generation,
            bytes=ledger.size(),
            stages=_stages(project, options, look),
            runs=tuple(_in_utc(run) for run in ledger.runs(project.name, limit=LAST_RUNS)),
        )


def _stages(project: Project, options: Options, look: Look) -> tuple[StageStatus, ...]:
    """List the stages as declared, then those that only the ledger knows."""
    memory, agenda = look.memory(), agenda_of(project, options, look)
    assessment = assess(project, agenda, file_hashes(project), look, options)
    loads = _loads(project, agenda, look)
    declared = [stage.id for stage in agenda.declared]
    undeclared = sorted({*memory.stages, *loads} - {*declared})
    return (
        *(_declared_stage(name, agenda, assessment, memory, options, loads) for name in declared),
        *(
            _with_memory(StageStatus(id=name, verdict="undeclared", reason=UNDECLARED), memory, loads)
            for name in undeclared
        ),
    )


def _declared_stage(
    name: str, agenda: Agenda, assessment: Assessment, memory: Memory, options: Options, loads: Loads
) -> StageStatus:
    if name in agenda.left_out:
        stage = StageStatus(id=name, verdict="skipped", reason=agenda.left_out[name])
    elif name in assessment.stale:
        reason = assessment.verdicts[name].reason or _reason_without_change(name, memory, options)
        stage = StageStatus(id=name, verdict="stale", reason=reason)
    else:
        stage = StageStatus(id=name, verdict="unchanged", reason=assessment.skipped(memory)[name])
    return _with_memory(stage, memory, loads)


def _reason_without_change(name: str, memory: Memory, options: Options) -> str:
    """Say why a stage would run although nothing is known to have changed."""
    if name not in memory.stages:
        return UNFINISHED if any(load.stage == name for load in memory.loads) else NEVER
    return _FORGOTTEN if "incremental" in options.settings.switches else _ALWAYS


def _with_memory(stage: StageStatus, memory: Memory, loads: Loads) -> StageStatus:
    """Add what is remembered of the stage: its loads, and the run that last ran it."""
    known, of_stage = memory.stages.get(stage.id), loads.get(stage.id, ())
    if known is None:
        return replace(stage, loads=of_stage, unfinished=bool(of_stage))
    return replace(stage, loads=of_stage, run=known.run, finished=_utc(known.finished))


def _loads(project: Project, agenda: Agenda, look: Look) -> Loads:
    """Map each stage to its remembered loads; their rows are unpacked to count those that seedlab created."""
    memory = look.memory()
    if not memory.loads:
        return {}
    from seedlab.frames import contents  # imports polars, which is needed only if there are rows to count

    packed = look.session.ledger.recall(project.name, [load.name for load in memory.loads])
    declared_seeds = agenda.declared_seeds
    found: dict[str, tuple[LoadStatus, ...]] = {}
    for load, content in zip(memory.loads, packed, strict=True):
        ours = contents.created_rows(contents.unpack(content)).height
        each = LoadStatus(
            seed=load.seed,
            table=load.table,
            key=load.key,
            rows=load.rows,
            ours=ours,
            declared=load.name[:2] in declared_seeds,
        )
        found[load.stage] = (*found.get(load.stage, ()), each)
    return found


def _in_utc(run: RunMemory) -> RunMemory:
    return replace(run, started=_utc(run.started), finished=_utc(run.finished))


def _utc(text: str) -> str:
    """Spell a time as in run records, whatever the session's time zone is."""
    return datetime.fromisoformat(text).astimezone(UTC).isoformat(timespec="milliseconds")
