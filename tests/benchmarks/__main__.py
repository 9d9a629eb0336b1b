"""Every figure of docs/performance.md, with one command.

    python -m tests.benchmarks [--only beside,sqlite] [--rivals psql,dlt] [--rows 1000000] [--pairs 3]
                               [--json FILE] [--markdown FILE]

Makes databases of its own on the embedded server, and drops them. Nothing else should run meanwhile. Progress is
told on standard error, the tables are printed as Markdown; the exit code is 1 if a figure was missed. The tools that
are compared with come by the extra `bench`; those that are not installed are told.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks import (
    again,
    beside,
    changed,
    clones,
    cold,
    grow,
    growth,
    levels,
    overhead,
    spread,
    sqlite,
    streaming,
    verdicts,
)
from tests.benchmarks.figures import Result, page, write_record
from tests.benchmarks.paired_runs import tell

Measure = Callable[[argparse.Namespace], Result]

BENCHMARKS: dict[str, Measure] = {
    "academy": lambda args: beside.on_the_academy(args.pairs, args.rivals),
    "delayed": lambda args: beside.on_the_academy(args.pairs, args.rivals, round_trip_ms=1),
    "beside": lambda args: beside.on_many_rows(args.rows, args.pairs, args.rivals),
    "changed": lambda args: changed.result(args.rows, 7),
    "sqlite": lambda args: sqlite.measure(args.rows, args.pairs),
    "growth": lambda args: growth.measure(args.growth),
    "streaming": lambda args: streaming.result(args.streamed_rows, list(streaming.MOST_MEGABYTES), 1),
    "grow": lambda args: grow.result(500_000, args.pairs, (5, 10, 20, 50, 100)),
    "empty": lambda args: grow.filled((25_000, 50_000, 200_000, 500_000), args.pairs),
    "spread": lambda args: spread.result(300_000, args.pairs, 40_000, (1, 2, 4)),
    "clones": lambda args: clones.result(args.rows, 15),
    "cold": cold.result,
    "again": lambda args: again.result(args.again_runs),
    "levels": lambda args: levels.result(args.level_runs),
    "overhead": lambda args: overhead.result(args.overhead_pairs, args.overhead_rows),
    "verdicts": lambda args: verdicts.result(args.repetitions),
}


def numbers(text: str) -> list[int]:
    return [int(part.replace("_", "")) for part in text.split(",")]


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--only", metavar="NAMES", help=f"of {', '.join(BENCHMARKS)}; separated by commas")
    parser.add_argument("--rivals", metavar="WORDS", help="only tools whose name holds one of the words")
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="of `beside`, `sqlite`, `changed` and `clones`"
    )
    parser.add_argument(
        "--pairs",
        type=int,
        default=3,
        help="of runs; with many rows for quick tools of which something is asked, the others run once",
    )
    parser.add_argument("--growth", type=numbers, default=[100_000, 1_000_000, 10_000_000], metavar="ROWS")
    parser.add_argument("--streamed-rows", type=int, default=10_000_000)
    cold.arguments(parser)
    parser.add_argument("--again-runs", type=int, default=21)
    parser.add_argument("--level-runs", type=int, default=3)
    parser.add_argument("--overhead-pairs", type=int, default=15)
    parser.add_argument("--overhead-rows", type=int, default=400_000)
    parser.add_argument("--repetitions", type=int, default=3000, help="of simulated noise")
    parser.add_argument("--json", type=Path, help="write the figures with their raw samples")
    parser.add_argument("--markdown", type=Path, help="write the tables")
    return parser


def measured(names: list[str], args: argparse.Namespace) -> Iterator[Result]:
    for name in names:
        tell(f"--- {name}")
        try:
            yield BENCHMARKS[name](args)
        except Exception as error:  # noqa: BLE001 - the others have taken half an hour
            traceback.print_exc()
            yield Result(title=name, markdown=f"failed: {type(error).__name__}", record=[], met=False)


def main() -> int:
    parser = arguments()
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"--only {','.join(unknown)}: choose of {', '.join(BENCHMARKS)}")
    results: list[Result] = []
    for result in measured(names, args):
        results.append(result)
        print(f"\n## {result.title}\n\n{result.markdown}", flush=True)
        if args.json:  # after each, so that what ends it early leaves the figures it had
            write_record(args.json, results, beside.versions(args.rivals))
        if args.markdown:
            args.markdown.write_text(page(results), encoding="utf-8")
    return 0 if all(result.met for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
