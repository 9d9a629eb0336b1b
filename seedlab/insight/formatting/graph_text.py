"""Draws the dependencies between stages: as text for a terminal, and as a Mermaid flowchart. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from seedlab.flow import Edge, Stage
from seedlab.insight.formatting.text import isolate, listed, printable, width

Ends = tuple[str, str]  # the stage before, the stage after


def graph_text(stages: Sequence[Stage], shown: Iterable[Edge], cells: int = 120) -> str:
    """Draw the graph as text: each stage, and below it the stages that it waits for, with the reasons."""
    origins = _origins(shown)
    lines = []
    for stage in stages:
        name = isolate(printable(stage.id))
        lines.append(name if stage.parallel else f"{name} (runs alone)")
        for (before, after), why in origins.items():
            if after == stage.id:
                lines += _waits_for(before, why, cells)
    return "\n".join(lines) + "\n"


def _waits_for(before: str, why: Sequence[str], cells: int) -> list[str]:
    """Format a dependency; its reasons go on below each other if they do not fit into one line."""
    head = f"  ← {isolate(printable(before))}  ("
    first, *others = listed([printable(each) for each in why], max(cells - width(head) - 1, 1))
    lines = [f"{head}{first}", *(" " * width(head) + other for other in others)]
    return [*lines[:-1], f"{lines[-1]})"]


def graph_mermaid(stages: Sequence[Stage], shown: Iterable[Edge]) -> str:
    """Draw the graph as a Mermaid flowchart; dotted arrows are undeclared dependencies by foreign keys."""
    nodes = {stage.id: f"s{number}" for number, stage in enumerate(stages)}
    lines = ["flowchart TD"]
    lines += [f"  {nodes[stage.id]}[{_label(stage.name)}]" for stage in stages]
    for (before, after), why in _origins(shown).items():
        arrow = "-->" if "declared" in why else "-.->"
        lines.append(f"  {nodes[before]} {arrow}|{_label(', '.join(why))}| {nodes[after]}")
    return "\n".join(lines) + "\n"


def _origins(shown: Iterable[Edge]) -> dict[Ends, list[str]]:
    """Collect the origins of the edges between two stages, each once."""
    found: dict[Ends, dict[str, None]] = {}
    for edge in shown:
        found.setdefault((edge.before, edge.after), {})[edge.origin] = None
    return {ends: list(origins) for ends, origins in found.items()}


def _label(text: str) -> str:
    return '"' + text.replace('"', "#quot;") + '"'
