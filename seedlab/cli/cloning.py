"""The commands `clone` and `snapshots`: copy a seeded database; list or drop the copies' originals."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from seedlab.cli.printing import show, width, write_stderr

if TYPE_CHECKING:
    from seedlab.database.snapshots import Snapshot
    from seedlab.experiment.clones import SnapshotRequest


def clone(args: Namespace) -> int:
    """Clone the project's snapshot, seeding it first if necessary, and print the clone's URL."""
    from seedlab.database.connect import url_of
    from seedlab.experiment.clones import open_provider

    with open_provider(_request(args)) as provider:
        # The name is checked first, since seeding may take long.
        provider.snapshots.claim(args.name, replace=bool(args.replace))
        snapshot, seeded = provider.snapshot()
        cloned = provider.snapshots.hand_over(snapshot, args.name, replace=bool(args.replace))
    if seeded and not args.quiet:
        write_stderr(f"seeded {snapshot.name} with {snapshot.mark.rows:,} rows; clones are copies of it\n")
    record = {"url": url_of(cloned), "name": cloned.database, "snapshot": snapshot.name, "seeded": seeded}
    about = {each: getattr(snapshot.mark, each) for each in ("project", "environment", "rows")}
    show(args, f"{url_of(cloned)}\n", lambda: {**record, **about}, essential=True)
    return 0


def snapshots(args: Namespace) -> int:
    """List the snapshots on the target's server, or drop those that are no longer needed."""
    from seedlab.database.durations import milliseconds
    from seedlab.experiment.clones import open_provider, prune

    oldest = milliseconds(args.older_than) / 1000 if args.older_than else None
    with open_provider(_request(args)) as provider:
        if args.action == "prune":
            dropped, used = prune(provider.snapshots, oldest)
            lines = [*(f"- {name}\n" for name in dropped), *(f"! {name} is in use\n" for name in used)]
            text = "".join(lines) or "nothing to prune\n"
            show(args, text, lambda: {"dropped": dropped, "in_use": used})
            return 0
        found = provider.snapshots.every()
        show(args, _listed(found), lambda: {"snapshots": list(map(_record, found))})
    return 0


def _request(args: Namespace) -> SnapshotRequest:
    from seedlab.experiment.clones import SnapshotRequest

    return SnapshotRequest(
        directory=Path(args.directory) if args.directory else None,
        database_url=args.database_url,
        target=args.target,
        environment=args.env,
        yes_seed=args.yes_seed,
    )


def _listed(found: Sequence[Snapshot]) -> str:
    """Word the list of snapshots, one per line, newest first."""
    from datetime import UTC, datetime

    from seedlab.insight.formatting.text import roughly, size, table

    if not found:
        return "no snapshots\n"
    now = datetime.now(UTC)
    rows = [("name", "project", "environment", "rows", "size", "age", "clones")]
    for each in found:
        mark = each.mark
        age = roughly((now - datetime.fromisoformat(mark.created)).total_seconds())
        numbers = (f"{mark.rows:,}", size(mark.bytes), age, str(each.clones))
        rows.append((each.name, mark.project, mark.environment, *numbers))
    # Names are shown in full, because people copy them; on SQLite they are paths.
    lines = table(rows, "<<<>>>>", cells=width(), flexible=1, spare=(2, 1), whole=(0,))
    return "".join(f"{line}\n" for line in lines)


def _record(snapshot: Snapshot) -> dict[str, object]:
    return {"name": snapshot.name, **asdict(snapshot.mark), "clones": snapshot.clones}
