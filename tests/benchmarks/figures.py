"""What a benchmark found: figures with their raw samples, as lines, Markdown and JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from seedlab.insight.measuring import machine

Samples = dict[str, list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of a table; `samples` are seconds, milliseconds or counts."""

    what: str
    reached: float
    asked: float | None = None
    at_least: bool = False
    samples: Samples
    remark: str = ""

    @property
    def met(self) -> bool:
        if self.asked is None:
            return True
        return self.reached >= self.asked if self.at_least else self.reached <= self.asked

    @property
    def wish(self) -> str:
        """What was asked, if anything."""
        return "" if self.asked is None else f"{'≥' if self.at_least else '≤'} {self.asked:g}"

    def __str__(self) -> str:
        verdict = "" if self.asked is None else "met" if self.met else "MISSED"
        return f"{self.what:<72} {self.reached:>7.2f}  {self.wish:<6} {verdict:<7} {self.remark}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A benchmark's part of the page and of the record."""

    title: str
    markdown: str
    record: object
    met: bool = True


def in_figures(title: str, figures: Sequence[Figure]) -> Result:
    rows = [
        (each.what, _bold(number(each.reached), each.met), each.wish, each.remark.replace("|", "\\|"))
        for each in figures
    ]
    return Result(
        title=title,
        markdown=markdown_table(("what", "--:reached", "--:asked", ""), rows),
        record=[{**asdict(each), "met": each.met} for each in figures],
        met=all(each.met for each in figures),
    )


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A head that begins with `--:` stands over numbers."""
    lines = [
        [head.removeprefix("--:") for head in heads],
        ["--:" if h[:3] == "--:" else "---" for h in heads],
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (*lines, *rows))


def number(value: float) -> str:
    """Three digits; all of a large one."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _bold(text: str, met: bool) -> str:
    return text if met else f"**{text}**"


def page(results: Sequence[Result]) -> str:
    """All of it as Markdown."""
    return "\n\n".join(f"## {each.title}\n\n{each.markdown}" for each in results) + "\n"


def write_record(file: Path, results: Sequence[Result], versions: Mapping[str, str] | None = None) -> None:
    """Write the figures with their raw samples, and the facts of the machine that they depend on."""
    record = {
        "machine": machine.machine(),
        "load_average": machine.load_average(),
        "versions": {**machine.versions(), **(versions or {})},
        "results": [{"title": each.title, "met": each.met, "figures": each.record} for each in results],
    }
    file.write_text(json.dumps(record, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def alone(parser: argparse.ArgumentParser, measure: Callable[[argparse.Namespace], Result]) -> int:
    """Run one benchmark as a program: exit code 1 if a figure is missed."""
    parser.add_argument("--json", type=Path, help="write the figures with their raw samples")
    args = parser.parse_args()
    result = measure(args)
    print(result.markdown)
    if args.json:
        write_record(args.json, [result])
    return 0 if result.met else 1
