"""Summarises a value as a `Page`, which is then formatted as text, Markdown or HTML. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seedlab.flow import Plan, PlannedStage, Run, StageReport
from seedlab.flow.evidence import Comparison, Profile
from seedlab.insight.formatting.comparison_text import (
    COUNT_HEAD,
    PHASE_HEAD,
    count_cells,
    headline,
    phase_rows,
)
from seedlab.insight.formatting.history_text import health, title
from seedlab.insight.formatting.palette import PALE, PHASE_COLOURS
from seedlab.insight.formatting.profile_times import delay_text, effect_text, profile_finding
from seedlab.insight.formatting.run_text import phase_row
from seedlab.insight.formatting.summary import MARKS, changes_of, outcomes_text, tables_of
from seedlab.insight.formatting.text import duration, moment, percent, printable, several
from seedlab.insight.formatting.timing import covered, time_went, totals, worked
from seedlab.insight.judging.findings import saves_text
from seedlab.insight.measuring.monitor import PhaseTotal
from seedlab.insight.records.profiles import Effect, delays, effects, runs_of

if TYPE_CHECKING:
    from seedlab.insight.notebooks.run_history import History

MANY = 40  # the most rows of a table; the record has all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table: the names of its columns, `<` or `>` for each, and rows of text."""

    head: tuple[str, ...]
    align: str
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """The parts of a whole, to be drawn as a bar: name, share, colour."""

    whole: str
    parts: tuple[tuple[str, float, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The content of a display: the title, facts of one line each, a bar, tables, notes."""

    title: str
    facts: tuple[str, ...] = ()
    bar: Bar | None = None
    grids: tuple[Grid, ...] = ()
    notes: tuple[str, ...] = ()


# ---- a run ----------------------------------------------------------------------------------------------


def run_page(run: Run) -> Page:
    """Summarise a run: outcomes, where the time went, stages and phases."""
    status = "" if run.status == "succeeded" else f"{run.status}, "
    facts = [f"{run.level}, {run.environment}, run {run.run_id} of {moment(run.started)} UTC → {run.target}"]
    if run.error:
        facts.append(run.error)
    if run.spans:
        facts.append(time_went(run))
    return Page(
        title=f"{run.project}: {status}{outcomes_text(run.outcomes)} in {duration(run.seconds)}",
        facts=tuple(facts),
        bar=_phase_bar(run),
        grids=tuple(grid for grid in (_stages(run.stages), _phases(run)) if grid.rows),
        notes=(*run.notes, *_advice(run)),
    )


def _stages(stages: Sequence[StageReport]) -> Grid:
    rows = [
        (
            MARKS[stage.status],
            stage.id,
            stage.reason,
            outcomes_text(stage.outcomes) if stage.status == "run" else stage.status,
            duration(stage.seconds) if stage.status != "skipped" else "",
        )
        for stage in stages
    ]
    return Grid(head=("", "stage", "why", "rows", "time"), align="<<<<>", rows=_first(rows))


def _first(rows: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    if len(rows) <= MANY:
        return tuple(rows)
    blank = ("",) * (len(rows[0]) - 2)
    return (*rows[:MANY], ("…", f"and {len(rows) - MANY:,} more", *blank))


def _phases(run: Run) -> Grid:
    whole = worked(run) or 1.0
    head = ("phase", "time", "share", "CPU", "rows", "statements", "round trips", "sent", "peak memory")
    return Grid(head=head, align="<>>>>>>>>", rows=tuple(_phase_row(each, whole) for each in totals(run)))


def _phase_row(each: PhaseTotal, whole: float) -> tuple[str, ...]:
    phase, seconds, *others = phase_row(each)
    return (phase, seconds, percent(each.seconds / whole), *others)


def _phase_bar(run: Run) -> Bar | None:
    outside = max(run.seconds - covered(run), 0.0)
    total = sum(each.seconds for each in totals(run)) + outside
    if not run.spans or total <= 0:
        return None
    parts = [
        (f"{each.name} {duration(each.seconds)}", each.seconds / total, PHASE_COLOURS[each.name])
        for each in totals(run)
    ]
    rest = (f"outside of phases {duration(outside)}", outside / total, PALE)
    return Bar(whole="Time by phase", parts=(*parts, rest))


def _advice(run: Run) -> tuple[str, ...]:
    found = [
        f"{percent(each.share)} {each.resource}, {each.where}: {each.evidence}" for each in run.bottlenecks
    ]
    found += [
        f"What would help: {each.what}{saves_text(each)}. Why: {each.why}. Try: {each.command}"
        for each in run.recommendations
    ]
    return tuple(found)


# ---- a plan ---------------------------------------------------------------------------------------------


def plan_page(plan: Plan) -> Page:
    """Summarise a plan: stages in writing order, the outcomes and strategy of each table."""
    rows = [row for stage in plan.stages for row in _planned_rows(stage, plan)]
    run = sum(stage.status == "run" for stage in plan.stages)
    change = f"{outcomes_text(plan.outcomes)} in {several(run, 'stage')}" if run else "nothing to do"
    head = ("", "stage", "why", "table", "rows", "change", "how")
    return Page(
        title=f"plan of {plan.project}: {change}",
        facts=(f"{plan.level}, {plan.environment} → {plan.target}; a plan writes nothing",),
        grids=(Grid(head=head, align="<<<<><<", rows=_first(rows)),) if rows else (),
        notes=plan.notes,
    )


def _planned_rows(stage: PlannedStage, plan: Plan) -> list[tuple[str, ...]]:
    if stage.status == "skipped":
        return [(MARKS["skipped"], stage.id, stage.reason, "", "", "skipped", "")]
    wave = next((number for number, wave in enumerate(plan.waves, 1) if stage.id in wave), None)
    after = f"after {', '.join(stage.waits_for)}" if stage.waits_for else ""
    why = ", ".join(filter(None, (stage.reason, f"wave {wave}" if wave else "", after)))
    tables = [
        (each.table, f"{each.rows:,}", changes_of(each.outcomes), each.strategy) for each in tables_of(stage)
    ]
    heads = [(MARKS["planned"], stage.id, why)] + [("", "", "")] * len(tables)
    return [(*head, *table) for head, table in zip(heads, tables or [("", "", "", "")], strict=False)]


# ---- a comparison ---------------------------------------------------------------------------------------


def comparison_page(comparison: Comparison) -> Page:
    """Summarise a comparison: the verdict, each phase, each count."""
    return Page(
        title=headline(comparison, printable),
        facts=(
            "times are medians, changes are ratios within the pairs",
            f"differences of time below {percent(comparison.threshold)} do not count",
        ),
        grids=tuple(
            Grid(head=head, align=align, rows=tuple(rows))
            for head, align, rows in (
                (PHASE_HEAD, "<<>>><>", phase_rows(comparison)),
                (COUNT_HEAD, "<<>>>", map(count_cells, comparison.counts)),
            )
        ),
        notes=comparison.notes,
    )


# ---- a history ------------------------------------------------------------------------------------------


def past_page(history: History) -> Page:
    """Summarise a history: how the last run of each series went, newest first."""
    rows = [
        (
            title(trend.series),
            trend.series.circumstances,
            several(len(trend.points), "run"),
            moment(trend.last.run.started),
            health(trend),
        )
        for trend in reversed(history.trends)
    ]
    head = ("series", "of", "runs", "last (UTC)", "how it went")
    newest = f", the last at {rows[0][3]}: {rows[0][0]} {rows[0][4]}" if rows else ""
    return Page(
        title=f"{several(len(history.runs), 'run')} on record{newest}",
        grids=(Grid(head=head, align="<<><<", rows=_first(rows)),) if rows else (),
        notes=tuple(f"{note.path}: {note.why}" for note in history.notes),
    )


# ---- a profile ------------------------------------------------------------------------------------------


def profile_page(profile: Profile) -> Page:
    """Summarise a profile: what each variant took and saved."""
    rounds = max((attempt.pair for attempt in profile.attempts), default=0)
    origin = f"profile {profile.profile_id} of {moment(profile.started)} UTC"
    return Page(
        title=f"{profile.project}: {profile_finding(profile)}",
        facts=(f"medians of {several(rounds, 'round')} and ratios within each, {origin}",),
        grids=tuple(_variants(profile, delay) for delay in delays(profile)),
        notes=profile.notes,
    )


def _variants(profile: Profile, delay: float) -> Grid:
    head = (delay_text(delay), "median", "range", "runs", "what it gained")
    known = [each for each in effects(profile) if each.round_trip_ms == delay]
    return Grid(head=head, align="<>>><", rows=tuple(_variant_row(profile, each) for each in known))


def _variant_row(profile: Profile, effect: Effect) -> tuple[str, ...]:
    seconds = [run.seconds for run in runs_of(profile, effect.variant, effect.round_trip_ms)]
    spread = f"{duration(min(seconds))} to {duration(max(seconds))}"
    return (effect.variant, duration(effect.seconds), spread, f"{effect.runs}", effect_text(effect))


# ---- as text --------------------------------------------------------------------------------------------


def text_of(page: Page) -> str:
    """Format a page's title and facts as text, for a prompt."""
    return "\n  ".join(printable(line) for line in (page.title, *page.facts))
