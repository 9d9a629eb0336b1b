"""Forecasts how long a plan takes, by earlier runs on this machine, else by the project's estimates.

It works on plans and run records alone, without a target.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from seedlab.flow import Outcomes, Plan, PlannedSeed, Project, Run, Stage
from seedlab.flow.evidence import Expectation, Forecast
from seedlab.insight.judging import predict
from seedlab.insight.judging.predict import Experience
from seedlab.plan import graph, scheduler


def forecast(project: Project, plan: Plan, heading: Run, runs: Iterable[Run]) -> Forecast:
    """Forecast how long a plan takes; `heading` is a run as it would be recorded, `runs` has the newest last.

    Only the reading of files is spread over the workers. All else is done in sequence, in one transaction.
    """
    experience = predict.learn(runs, predict.situation_of(heading))
    estimates = {f"{seed.stage}.{seed.name}": seed.estimated_ms for seed in project.every_seed}
    seeds: dict[str, Expectation] = {}
    reading: dict[str, float] = {}
    for stage in plan.stages:
        for seed in stage.seeds:
            name, outcomes = f"{stage.id}.{seed.name}", _outcomes(seed)
            timings = experience.seeds.get((name, predict.kind_of(outcomes)), ())
            seeds[name] = predict.expect(_rows(seed), timings, estimates.get(name))
            reading[name] = seeds[name].seconds * predict.reading(timings)
    total = _total(plan, experience, list(seeds.values()))
    running = [stage for stage in plan.stages if stage.status == "run"]
    by_stage = {
        stage.id: sum(seeds[f"{stage.id}.{seed.name}"].seconds for seed in stage.seeds) for stage in running
    }
    waits_for = {stage.id: [name for name in stage.waits_for if name in by_stage] for stage in running}
    saved = sum(reading.values()) - _makespan(plan, reading, _workers(heading))
    return Forecast(
        total=total,
        seeds=seeds,
        declared_order=tuple(by_stage),
        declared_seconds=total.seconds + saved,
        planned_order=_order(plan, by_stage, waits_for),
        planned_seconds=total.seconds,
        critical_path=graph.longest_path(waits_for, by_stage),
        idle=_idle(plan),
        needless=plan.needless,
    )


def _total(plan: Plan, experience: Experience, seeds: Sequence[Expectation]) -> Expectation:
    """Expect the time of the whole run: by earlier runs if there were any, else as its seeds' sum."""
    timings = experience.runs.get(predict.kind_of(plan.outcomes, ran=bool(seeds)), ())
    if not timings and seeds:
        return predict.summed(seeds)
    return predict.expect(plan.outcomes.total, timings)


def _outcomes(seed: PlannedSeed) -> Outcomes:
    return sum((table.outcomes for table in seed.tables), Outcomes())


def _rows(seed: PlannedSeed) -> int:
    return sum(table.rows for table in seed.tables)


def _workers(run: Run) -> int:
    """Find how many files a run reads at a time, by its settings and machine."""
    workers, cores = run.settings.get("workers"), run.machine.get("cores")
    disabled = predict.situation_of(run).disabled
    if run.level in ("legacy", "bulk") or "parallel" in disabled:
        return 1
    return int(str(workers or cores or 1))


def _makespan(plan: Plan, reading: Mapping[str, float], workers: int) -> float:
    """Simulate in how many seconds so many workers read all seeds; only a stage that runs alone waits."""
    tasks = [
        scheduler.Task(
            id=f"{stage.id}.{seed.name}",
            priority=seed.priority,
            estimated_ms=round(reading[f"{stage.id}.{seed.name}"] * 1000),
            parallel=stage.parallel,
        )
        for stage in plan.stages
        for seed in stage.seeds
    ]
    return scheduler.simulate(tasks, reading, workers)[1]


def _order(
    plan: Plan, seconds: Mapping[str, float], waits_for: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Order the stages as the ready queue hands them out: the longest path first."""
    tasks = [
        scheduler.Task(
            id=stage.id,
            dependencies=tuple(waits_for[stage.id]),
            estimated_ms=round(seconds[stage.id] * 1000),
            parallel=stage.parallel,
        )
        for stage in plan.stages
        if stage.id in seconds
    ]
    return tuple(scheduler.simulate(tasks, seconds, 1)[0])


def _idle(plan: Plan) -> dict[str, str]:
    """Map the stages that could run beside others, but do not, to the reason."""
    running = {stage.id for stage in plan.stages if stage.status == "run"}
    found = {
        stage.id: "parallel = false" for stage in plan.stages if stage.id in running and not stage.parallel
    }
    for stage, waits_for in plan.needless:
        if {stage, waits_for} <= running:
            found.setdefault(stage, f"waits for {waits_for}, which no foreign key needs")
    return found


def experience_of(project: Project, runs: Iterable[Run], heading: Run) -> tuple[Project, Expectation | None]:
    """Replace the project's estimates by times of earlier runs; returns also how long a run usually takes.

    By these estimates the ready queue starts the longest path first.
    """
    experience = predict.learn(runs, predict.situation_of(heading))
    measured: dict[str, int] = {}
    for (name, _), timings in experience.seeds.items():
        if len(timings) >= predict.ENOUGH:
            seconds = predict.expect(timings[-1].rows, timings).seconds
            measured[name] = max(measured.get(name, 0), round(seconds * 1000))
    stages = tuple(_with_estimates(stage, measured) for stage in project.stages)
    return replace(project, stages=stages), experience.usual


def _with_estimates(stage: Stage, measured: Mapping[str, int]) -> Stage:
    seeds = tuple(
        replace(seed, estimated_ms=measured.get(f"{stage.id}.{seed.name}", seed.estimated_ms))
        for seed in stage.seeds
    )
    return replace(stage, seeds=seeds)
