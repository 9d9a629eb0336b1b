"""The noise that verdicts have to bear: series of seconds in which nothing differs, simulated and recorded.

A recording holds the seconds of cold seeds of the academy, one after the other, of one code on one machine.

    python -m tests.benchmarks.noise --regime quiet [--runs 600] [--file FILE]
    python -m tests.benchmarks.noise --regime busy --neighbours 2
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seedlab.insight.measuring import machine
from tests.benchmarks.bench import bench, seed

RECORDING = Path(__file__).with_name("noise.json")


# ---- simulated ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """Noise of a machine, in log seconds: each run's own, a drift that lasts, and spikes that slow a run.

    The drift is AR(1), whose neighbours correlate by 0.9; a spike makes a run longer by 20 to 100 %.
    """

    jitter: float
    drift: float
    spikes: float


REGIMES = {
    "quiet": Regime(jitter=0.01, drift=0.02, spikes=0.02),
    "noisy": Regime(jitter=0.04, drift=0.08, spikes=0.10),
    "awful": Regime(jitter=0.08, drift=0.15, spikes=0.20),
}
_MEMORY = 0.9


def simulated(regime: Regime, runs: int, chance: random.Random) -> list[float]:
    """Seconds of so many runs, one after the other, whose median is about 1."""
    drift, series = chance.gauss(0, regime.drift), []
    for _ in range(runs):
        spike = chance.uniform(1.2, 2.0) if chance.random() < regime.spikes else 1.0
        series.append(math.exp(drift + chance.gauss(0, regime.jitter)) * spike)
        drift = _MEMORY * drift + chance.gauss(0, regime.drift * math.sqrt(1 - _MEMORY**2))
    return series


# ---- recorded -------------------------------------------------------------------------------------------


def recorded(file: Path = RECORDING) -> dict[str, list[float]]:
    """Seconds of the runs of each recorded regime."""
    regimes = json.loads(file.read_text())["regimes"]
    return {name: [each / 1000 for each in regime["milliseconds"]] for name, regime in regimes.items()}


def record(runs: int) -> list[float]:
    """Milliseconds of so many cold seeds, after three that do not count."""
    series = []
    with bench() as place:
        for _ in range(runs + 3):
            place.empty()
            gc.collect()
            series.append(round(seed(place.url).seconds * 1000, 1))
    return series[3:]


@contextmanager
def neighbours(number: int) -> Iterator[None]:
    """So many processes that compute, write and rest by turns, for irregular times."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_neighbour, args=(n,), daemon=True) for n in range(number)]
    for each in processes:
        each.start()
    try:
        yield
    finally:
        for each in processes:
            each.terminate()
            each.join()


def _neighbour(number: int) -> None:
    chance = random.Random(number)
    with tempfile.TemporaryFile() as file:
        while True:
            until = time.perf_counter() + chance.expovariate(1 / 0.4)
            while time.perf_counter() < until:
                sum(range(10_000))
            file.seek(0)
            file.write(os.urandom(1_000_000))
            file.flush()
            os.fsync(file.fileno())
            time.sleep(chance.expovariate(1 / 0.8))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--regime", required=True)
    parser.add_argument("--runs", type=int, default=600)
    parser.add_argument("--neighbours", type=int, default=0)
    parser.add_argument("--file", type=Path, default=RECORDING)
    args = parser.parse_args()
    began, load = datetime.now(UTC), os.getloadavg()[0]
    with neighbours(args.neighbours):
        series = record(args.runs)
    regime: dict[str, Any] = {
        "recorded": f"{began:%Y-%m-%d}",
        "neighbours": args.neighbours,
        "load_average": [round(load, 1), round(os.getloadavg()[0], 1)],
        "milliseconds": series,
    }
    known = json.loads(args.file.read_text()) if args.file.exists() else {"regimes": {}}
    regimes = {**known["regimes"], args.regime: regime}
    whole = {"machine": dict(machine.machine()), "versions": machine.versions(), "regimes": regimes}
    args.file.write_text(json.dumps(whole) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
