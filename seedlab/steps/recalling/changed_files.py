"""Decides of which stages only the files that changed are read.

That is enough for a stage if nothing but files changed since it ran, for it and for all stages that it
depends on.
"""

from __future__ import annotations

from dataclasses import replace

from seedlab.flow import Memory, Stage
from seedlab.plan import graph
from seedlab.plan.freshness import Verdict
from seedlab.steps.agenda import Task


def reduced_stages(task: Task) -> dict[str, Stage]:
    """Map the stages of which only changed files have to be read to stages with just these files.

    A stage may be left without any file: it runs only because a stage that it depends on does.
    """
    if task.options.environment.subset or task.options.rejects:
        return {}
    stale = {stage.id: stage for stage in task.stale}
    found: dict[str, Stage] = {}
    for name in graph.topological_order({stage.id: stage.dependencies for stage in task.agenda.stages}):
        if (stage := stale.get(name)) is None:
            continue
        if any(each in stale and each not in found for each in stage.dependencies):
            continue
        reduced = _reduced(stage, task.assessment.verdicts[name], task.memory)
        if reduced is not None:
            found[name] = reduced
    return found


def _reduced(stage: Stage, verdict: Verdict, memory: Memory) -> Stage | None:
    """Leave a stage only the files that changed; None where reading these may not be enough.

    It is not for a seed that is new, that deletes (`sync`), chooses among equal keys or has a transform:
    there the meaning of a file's rows depends on other files.
    """
    if verdict.files is None:
        return None
    remembered = {load.seed for load in memory.loads if load.stage == stage.id}
    seeds = []
    for seed in stage.seeds:
        files = tuple(file for file in seed.files if file.name in verdict.files)
        if not files:
            continue
        independent = seed.mode != "sync" and seed.duplicates == "error" and not seed.transform
        if not (independent and seed.name in remembered):
            return None
        seeds.append(replace(seed, files=files))
    return replace(stage, seeds=tuple(seeds))
