"""The commands that make something: a project, a larger one, a server."""

from __future__ import annotations

import os
from argparse import Namespace
from typing import TYPE_CHECKING

from seedlab.cli.printing import show, width

if TYPE_CHECKING:
    from pathlib import Path


def init(args: Namespace) -> int:
    """Write a project to start from: a small one, or what a database holds."""
    from pathlib import Path

    from seedlab.errors import ConfigurationError
    from seedlab.plan import scaffold

    directory = Path(args.directory)
    if args.from_database:
        return _export(args, directory)
    if args.database_url or args.table or args.exclude_table or args.subset or args.with_ids:
        raise ConfigurationError("to write what a database holds, type --from-database, too")
    scaffold.refuse_data(directory)
    files = scaffold.files(directory.resolve().name)
    scaffold.write(directory, files)
    text = f"wrote {', '.join(map(str, files))} to {directory}\nnext: seedlab seed {directory}\n"
    show(args, text, lambda: {"directory": str(directory), "files": [str(name) for name in files]})
    return 0


def export(args: Namespace) -> int:
    """Write a project from what a database holds."""
    from pathlib import Path

    return _export(args, Path(args.out))


def _export(args: Namespace, out: Path) -> int:
    from seedlab.cli.request import source_of
    from seedlab.insight.faces import export_text
    from seedlab.insight.measuring.monitor import Monitor
    from seedlab.operations.exporting import export
    from seedlab.plan.adopting import Wanted

    wanted = Wanted(tables=tuple(args.table), exclude=tuple(args.exclude_table), with_ids=args.with_ids)
    made = export(source_of(args), out, wanted, dict(args.subset), Monitor())
    show(
        args,
        export_text.export_text(made, str(out), width()),
        lambda: export_text.export_record(made, str(out)),
    )
    return 0


def generate(args: Namespace) -> int:
    """Grow a project to a size."""
    from pathlib import Path

    from seedlab.cli.request import project_of
    from seedlab.operations.generation import generate

    made = generate(project_of(args), rows=args.rows, out=Path(args.out), format=args.format)
    text = (
        f"wrote {made.rows:,} rows ({made.repetitions:,} times the project's own) in {len(made.files)} files "
        f"to {args.out}\nnext: seedlab seed {args.out}\n"
    )
    record = {"directory": args.out, "rows": made.rows, "repetitions": made.repetitions}
    show(args, text, lambda: {**record, "files": [str(path) for path in made.files]})
    return 0


def server(args: Namespace) -> int:
    """Start, stop, clean or name the embedded server."""
    from seedlab.database import server

    if args.action == "url":
        return _server_url(args)
    act = {"start": server.start, "stop": server.stop, "status": server.status, "clean": server.clean}
    seen = act[args.action](os.environ)
    state = f"running, process {seen.pid}" if seen.running else "not running"
    record = {"running": seen.running, "pid": seen.pid, "major": seen.major, "home": str(seen.home)}
    show(args, f"PostgreSQL {seen.major}: {state}, in {seen.home}\n", lambda: record)
    return 0


def _server_url(args: Namespace) -> int:
    """Print how to connect to the project's database, starting the server so that it can be used at once."""
    from pathlib import Path

    from seedlab.database import server
    from seedlab.plan.project import find_project, name_of

    project = name_of(find_project(Path(args.directory) if args.directory else None, Path.cwd()))
    url = server.ensure_database(server.start(os.environ), server.database_name(project))
    show(args, f"{url}\n", lambda: {"url": url}, essential=True)
    return 0
