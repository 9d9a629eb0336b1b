"""The command `server`: start, stop or clean the embedded server, or show where it is."""

from __future__ import annotations

import os
from argparse import Namespace

from seedlab.cli.printing import show


def server(args: Namespace) -> int:
    """Start, stop or clean the embedded server, or show its status or URL."""
    from seedlab.database.embedded import server

    if args.action == "url":
        return _server_url(args)
    actions = {"start": server.start, "stop": server.stop, "status": server.status, "clean": server.clean}
    status = actions[args.action](os.environ)
    state = f"running, process {status.pid}" if status.running else "not running"
    record = {"running": status.running, "pid": status.pid, "major": status.major, "home": str(status.home)}
    show(args, f"PostgreSQL {status.major}: {state}, in {status.home}\n", lambda: record)
    return 0


def _server_url(args: Namespace) -> int:
    """Print the URL of the project's database; the server is started so that it can be used at once."""
    from pathlib import Path

    from seedlab.database.embedded import server
    from seedlab.plan.project import find_project, name_of

    project = name_of(find_project(Path(args.directory) if args.directory else None, Path.cwd()))
    url = server.ensure_database(server.start(os.environ), server.database_name(project))
    show(args, f"{url}\n", lambda: {"url": url}, essential=True)
    return 0
