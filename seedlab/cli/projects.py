"""The commands `init`, `export` and `generate`, which write projects."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from seedlab.cli.printing import show, width

if TYPE_CHECKING:
    from pathlib import Path


def init(args: Namespace) -> int:
    """Write a project to start from: the example, or an export of a database."""
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
    """Write a project with the content of a database."""
    from pathlib import Path

    return _export(args, Path(args.out))


def _export(args: Namespace, out: Path) -> int:
    from seedlab.cli.request import source_of
    from seedlab.insight.formatting import export_text
    from seedlab.insight.measuring.monitor import Monitor
    from seedlab.operations.exporting import export
    from seedlab.plan.export_plan import Wanted

    wanted = Wanted(tables=tuple(args.table), exclude=tuple(args.exclude_table), with_ids=args.with_ids)
    exported = export(source_of(args), out, wanted, dict(args.subset), Monitor())
    show(
        args,
        export_text.export_text(exported, str(out), width()),
        lambda: export_text.export_record(exported, str(out)),
        essential=not exported.tables,
    )
    return 0 if exported.tables else 1


def generate(args: Namespace) -> int:
    """Write a copy of a project that is grown to a number of rows."""
    from pathlib import Path

    from seedlab.cli.request import project_of
    from seedlab.operations.generation import generate

    grown = generate(project_of(args), rows=args.rows, out=Path(args.out), format=args.format)
    text = (
        f"wrote {grown.rows:,} rows ({grown.repetitions:,} times the project's own) in "
        f"{len(grown.files)} files to {args.out}\nnext: seedlab seed {args.out}\n"
    )
    record = {"directory": args.out, "rows": grown.rows, "repetitions": grown.repetitions}
    show(args, text, lambda: {**record, "files": [str(path) for path in grown.files]})
    return 0
