"""Formats one recorded run in full for a terminal."""

from __future__ import annotations

from seedlab.flow import Run
from seedlab.insight.formatting.summary import costs, destination, faults_text, stage_lines, total_line
from seedlab.insight.formatting.text import duration, listed, moment, paragraphs, printable, size, table
from seedlab.insight.judging.findings import findings_text
from seedlab.insight.measuring.monitor import PhaseTotal, phase_totals
from seedlab.insight.records.past import machine_name

PHASE_HEAD = ("phase", "time", "CPU", "rows", "statements", "round trips", "sent", "memory")


def run_text(run: Run, width: int = 120) -> str:
    """Format a run: facts, stages, phases, counts, bottlenecks, recommendations, notes, faults."""
    done = run.status == "succeeded" or run.outcomes.total
    faults = [fault for fault in run.faults if fault.message not in (run.error or "")]
    blocks = [
        _heading_lines(run, width),
        stage_lines(run, width),
        phase_lines(run, width),
        [*([total_line(run)] if done else []), *listed(costs(run), width)],
        findings_text(run, width).splitlines(),
        [f"! {printable(note)}" for note in run.notes],
        [f"✗ {printable(run.error)}"] if run.error else [],
        faults_text(faults, width=width).splitlines(),
    ]
    return paragraphs(blocks)


def _heading_lines(run: Run, cells: int) -> list[str]:
    versions = [f"{name} {version}" for name, version in run.versions.items()]
    facts = [
        destination(run.project, printable(run.target)),
        f"run {run.run_id} of {moment(run.started)} UTC: {run.status} in {duration(run.seconds)}",
        f"{run.environment}, {run.level}{_switched_off(run)}",
        " ".join(run.args),
        f"commit {run.commit}" if run.commit else "",
        *listed([machine_name(run.machine), f"{run.machine.get('python', '')}", *versions], cells),
    ]
    return [facts[0], *(printable(each) for each in facts[1:] if each)]


def _switched_off(run: Run) -> str:
    disabled = run.settings.get("disabled")
    return "".join(f", without {each}" for each in disabled) if isinstance(disabled, list) else ""


def phase_lines(run: Run, cells: int) -> list[str]:
    """Format the totals of each phase; the seconds of threads add up."""
    rows = [phase_row(total) for total in phase_totals(run.spans)]
    return table([PHASE_HEAD, *rows], "<>>>>>>>", cells=cells, flexible=0) if rows else []


def phase_row(total: PhaseTotal) -> list[str]:
    """Return a row for a phase, with the columns of `PHASE_HEAD`."""
    return [
        total.name,
        duration(total.seconds),
        duration(total.cpu_seconds),
        f"{total.rows:,}",
        f"{total.statements:,}",
        f"{total.round_trips:,}",
        size(total.bytes_sent),
        size(total.peak_rss_bytes),
    ]
