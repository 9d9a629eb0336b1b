"""seedlab and a rival in turns: AB BA AB …, each on emptied tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Protocol

from tests.benchmarks.figures import Result, markdown_table, number
from tests.benchmarks.material import Material
from tests.benchmarks.rivals.contract import Rival

FEW = 20_000  # rows up to which every rival takes its turns


class Place(Protocol):
    """Tables that can be emptied."""

    @property
    def superuser_url(self) -> str: ...

    def time(self, action: Callable[[], object]) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What seedlab has to reach against a rival: at most this share of its time, or at least so many times faster."""

    share: float | None = None
    faster: float | None = None

    def __str__(self) -> str:
        if self.share is not None:
            return f"≤ {self.share:g} of its time"
        return f"≥ {self.faster:g} times" if self.faster is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRuns:
    """Seconds of seedlab and of a rival, pair by pair; or why there are none."""

    name: str
    remark: str
    asked: Asked = Asked()
    pairs: Sequence[tuple[float, float]] = ()
    trouble: str = ""
    failed: bool = False

    @property
    def ours(self) -> float:
        return median(ours for ours, _ in self.pairs)

    @property
    def theirs(self) -> float:
        return median(theirs for _, theirs in self.pairs)

    @property
    def faster(self) -> float:
        """Times: the median of the pairs' ratios."""
        return median(theirs / ours for ours, theirs in self.pairs)

    @property
    def met(self) -> bool:
        if not self.pairs:
            return not self.failed
        if self.asked.share is not None:
            return 1 / self.faster <= self.asked.share
        return self.asked.faster is None or self.faster >= self.asked.faster

    def record(self) -> dict[str, object]:
        told = {"name": self.name, "remark": self.remark, "asked": str(self.asked), "met": self.met}
        if not self.pairs:
            return told | {"trouble": self.trouble, "failed": self.failed}
        return told | {"pairs": self.pairs, "seedlab": self.ours, "rival": self.theirs, "faster": self.faster}


# ---- the turns ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Where the turns are taken, and with what."""

    place: Place
    url: str  # which both connect to
    material: Material
    ours: Callable[[], object]
    folder: Path  # for what rivals need
    pairs: int


def measure_pairs(setup: Setup, rival: Rival, asked: Asked) -> PairedRuns:
    """Let both take turns, and check after each of the rival's that it holds the same rows; tell on the way."""
    told = {"name": rival.name, "remark": rival.remark, "asked": asked}
    few = setup.material.rows <= FEW
    if lacking := rival.missing():
        return PairedRuns(**told, trouble=lacking)
    if rival.pace == "small" and not few:
        return PairedRuns(**told, trouble="too slow for so many rows; see the academy's table")
    folder = setup.folder / f"{type(rival).__name__}-{time.time_ns()}"
    folder.mkdir(parents=True)
    try:
        rival.prepare(setup.material, setup.url, folder)
        if few and rival.pace != "small":
            turn(setup, rival)  # what is done once in a process is not part of a warm run
        pairs = setup.pairs if often(rival, asked, few=few) else 1
        return PairedRuns(**told, pairs=[pair(setup, rival, number) for number in range(pairs)])
    except Exception as error:  # noqa: BLE001 - the others go on; the exit code tells
        tell(f"{rival.name}: {type(error).__name__}: {error}")
        return PairedRuns(
            **told, trouble=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}", failed=True
        )
    finally:
        with suppress(Exception):  # it may not have come so far that there is anything to forget
            rival.reset()


def often(rival: Rival, asked: Asked, *, few: bool) -> bool:
    """Whether it takes as many turns as asked for: of many rows only who is quick, and judged."""
    return rival.pace != "small" if few else rival.pace == "quick" and asked != Asked()


def pair(setup: Setup, rival: Rival, number: int) -> tuple[float, float]:
    """A turn of each; who begins alternates."""
    if number % 2:
        theirs = turn(setup, rival)
        ours = setup.place.time(setup.ours)
    else:
        ours = setup.place.time(setup.ours)
        theirs = turn(setup, rival)
    tell(
        f"{rival.name}, pair {number + 1}: seedlab {ours:.3f} s, rival {theirs:.3f} s, {theirs / ours:.2f} times"
    )
    return ours, theirs


def turn(setup: Setup, rival: Rival) -> float:
    """Seconds of one run of the rival."""
    rival.reset()
    found: list[float | None] = []
    seconds = setup.place.time(lambda: found.append(rival.run()))
    rival.verify(setup.place.superuser_url)
    return found[0] or seconds


def tell(text: str) -> None:
    """How far it is, on standard error."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


# ---- what they say --------------------------------------------------------------------------------------


def paired_table(title: str, remark: str, results: Sequence[PairedRuns]) -> Result:
    heads = (
        "tool",
        "--:its time, s",
        "--:seedlab, s",
        "--:times faster",
        "--:share of its time",
        "asked",
        "--:pairs",
        "",
    )
    return Result(
        title=title,
        markdown=f"{remark}\n\n{markdown_table(heads, [_row(each) for each in results])}",
        record=[each.record() for each in results],
        met=all(each.met for each in results),
    )


def _row(each: PairedRuns) -> tuple[str, ...]:
    if not each.pairs:
        return each.name, "-", "-", "-", "-", str(each.asked), "0", f"not run: {each.trouble}"
    faster = number(each.faster)
    return (
        each.name,
        _seconds(each.theirs),
        _seconds(each.ours),
        faster if each.met else f"**{faster}**",
        number(1 / each.faster),
        str(each.asked),
        str(len(each.pairs)),
        each.remark,
    )


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"
