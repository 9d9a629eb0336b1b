"""Forecasts how long a plan will take, from earlier runs or the project's own estimates.

Uses plans and records only, and no target.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from seedlab.flow import Outcomes, Plan, PlannedSeed, Project, Run, Stage
from seedlab.flow.evidence import Expectation, Forecast
from seedlab.insight.judging import predict
from seedlab.insight.judging.predict import Experience
from seedlab.plan import graph, ready


def forecast(project: Project, plan: Plan, heading: Run, runs: Iterable[Run]) -> Forecast:
    """Forecast how long a plan will take.

    `heading` is the record of a run as far as it is known before, `runs` are earlier ones, newest last. The
    model: workers read files concurrently, and all else happens sequentially in one transaction.
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
    """Predict the whole run from earlier whole runs if there are enough, else as the sum of its seeds."""
    timings = experience.runs.get(predict.kind_of(plan.outcomes, ran=bool(seeds)), ())
    if len(timings) < predict.ENOUGH and seeds:
        return predict.together(seeds)
    return predict.expect(plan.outcomes.total, timings)


def _outcomes(seed: PlannedSeed) -> Outcomes:
    return sum((table.outcomes for table in seed.tables), Outcomes())


def _rows(seed: PlannedSeed) -> int:
    return sum(table.rows for table in seed.tables)


def _workers(run: Run) -> int:
    """Return how many files a run reads at a time, by its settings and machine."""
    workers, cores = run.settings.get("workers"), run.machine.get("cores")
    disabled = predict.situation_of(run).disabled
    if run.level in ("legacy", "bulk") or "parallel" in disabled:
        return 1
    return int(str(workers or cores or 1))


def _makespan(plan: Plan, reading: Mapping[str, float], workers: int) -> float:
    """Return the seconds in which so many workers read all seeds.

    Reading waits for nothing, but for a stage that runs alone.
    """
    tasks = [
        ready.Task(
            id=f"{stage.id}.{seed.name}",
            priority=seed.priority,
            estimated_ms=round(reading[f"{stage.id}.{seed.name}"] * 1000),
            parallel=stage.parallel,
        )
        for stage in plan.stages
        for seed in stage.seeds
    ]
    return ready.simulate(tasks, reading, workers)[1]


def _order(
    plan: Plan, seconds: Mapping[str, float], waits_for: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Return the stages in the order in which they would start: the longest path first."""
    tasks = [
        ready.Task(
            id=stage.id,
            dependencies=tuple(waits_for[stage.id]),
            estimated_ms=round(seconds[stage.id] * 1000),
            parallel=stage.parallel,
        )
        for stage in plan.stages
        if stage.id in seconds
    ]
    return tuple(ready.simulate(tasks, seconds, 1)[0])


def _idle(plan: Plan) -> dict[str, str]:
    """Map stages that could run beside others, but do not, to the reason."""
    running = {stage.id for stage in plan.stages if stage.status == "run"}
    found = {
        stage.id: "parallel = false" for stage in plan.stages if stage.id in running and not stage.parallel
    }
    for stage, waits_for in plan.needless:
        if {stage, waits_for} <= running:
            found.setdefault(stage, f"waits for {waits_for}, which no foreign key needs")
    return found


def experience_of(project: Project, runs: Iterable[Run], heading: Run) -> tuple[Project, Expectation | None]:
    """Return the project with measured times as its seeds' estimates, and the usual duration of a run.

    The scheduler starts the longest path first by these estimates.
    """
    experience = predict.learn(runs, predict.situation_of(heading))
    took: dict[str, int] = {}
    for (name, _), timings in experience.seeds.items():
        if len(timings) >= predict.ENOUGH:
            seconds = predict.expect(timings[-1].rows, timings).seconds
            took[name] = max(took.get(name, 0), round(seconds * 1000))
    stages = tuple(_with_estimates(stage, took) for stage in project.stages)
    return replace(project, stages=stages), experience.usual


def _with_estimates(stage: Stage, took: Mapping[str, int]) -> Stage:
    seeds = tuple(
        replace(seed, estimated_ms=took.get(f"{stage.id}.{seed.name}", seed.estimated_ms))
        for seed in stage.seeds
    )
    return replace(stage, seeds=seeds)
