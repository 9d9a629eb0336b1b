"""The commands of seeded databases: copy one, list them, drop what is no longer of use."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from seedlab.cli.printing import complain, show, width

if TYPE_CHECKING:
    from seedlab.database.snapshots import Snapshot
    from seedlab.experiment.clones import Asked


def clone(args: Namespace) -> int:
    """Copy the project's snapshot to a database of its own, and print how to connect to it."""
    from seedlab.database.connect import url_of
    from seedlab.experiment.clones import open_stock

    with open_stock(_asked(args)) as stock:
        stock.snapshots.claim(args.name, replace=bool(args.replace))  # before a seed that takes its time
        snapshot, seeded = stock.snapshot()
        made = stock.snapshots.hand_over(snapshot, args.name, replace=bool(args.replace))
    if seeded and not args.quiet:
        complain(f"seeded {snapshot.name} with {snapshot.mark.rows:,} rows; clones are copies of it\n")
    record = {"url": url_of(made), "name": made.database, "snapshot": snapshot.name, "seeded": seeded}
    about = {each: getattr(snapshot.mark, each) for each in ("project", "environment", "rows")}
    show(args, f"{url_of(made)}\n", lambda: {**record, **about}, essential=True)
    return 0


def snapshots(args: Namespace) -> int:
    """List the snapshots where the target is, or drop those that are no longer of use."""
    from seedlab.database.durations import milliseconds
    from seedlab.experiment.clones import open_stock, prune

    oldest = milliseconds(args.older_than) / 1000 if args.older_than else None
    with open_stock(_asked(args)) as stock:
        if args.action == "prune":
            gone, used = prune(stock.snapshots, oldest)
            lines = [*(f"- {name}\n" for name in gone), *(f"! {name} is in use\n" for name in used)]
            text = "".join(lines) or "nothing to prune\n"
            show(args, text, lambda: {"dropped": gone, "in_use": used})
            return 0
        found = stock.snapshots.every()
        show(args, _listed(found), lambda: {"snapshots": list(map(_record, found))})
    return 0


def _asked(args: Namespace) -> Asked:
    from seedlab.experiment.clones import Asked

    return Asked(
        directory=Path(args.directory) if args.directory else None,
        database_url=args.database_url,
        target=args.target,
        environment=args.env,
        yes_seed=args.yes_seed,
    )


def _listed(found: Sequence[Snapshot]) -> str:
    """A line for each, the newest first."""
    from datetime import UTC, datetime

    from seedlab.insight.faces.text import roughly, size, table

    if not found:
        return "no snapshots\n"
    now = datetime.now(UTC)
    rows = [("name", "project", "environment", "rows", "size", "age", "clones")]
    for each in found:
        mark = each.mark
        age = roughly((now - datetime.fromisoformat(mark.created)).total_seconds())
        numbers = (f"{mark.rows:,}", size(mark.bytes), age, str(each.clones))
        rows.append((each.name, mark.project, mark.environment, *numbers))
    # Names are copied, to clone or to prune; those of SQLite are paths.
    lines = table(rows, "<<<>>>>", cells=width(), flexible=1, spare=(2, 1), whole=(0,))
    return "".join(f"{line}\n" for line in lines)


def _record(snapshot: Snapshot) -> dict[str, object]:
    return {"name": snapshot.name, **asdict(snapshot.mark), "clones": snapshot.clones}
