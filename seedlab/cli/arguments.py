"""Defines and parses the command line; flags that are not given are read from SEEDLAB_* variables.

Imports nothing that is slow to import, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from seedlab.cli.argument_kinds import delay, limit, listed, positive, share
from seedlab.cli.argument_parser import Parser

# Flags that are settings. `plan.choices.settings` chooses among the flag, the variable and the project file.
SETTINGS = (
    "level", "disable", "isolation", "statement_timeout", "lock_timeout", "batch_rows", "workers", "ids",
)  # fmt: skip
_SWITCHES = ("json", "quiet", "show_values", "debug", "force", "dry_run", "rows", "history")
# Flags that are read from variables here, by the type of their value.
_WORDS = ("select", "exclude")
_TEXTS = (
    "database_url", "target", "yes_seed", "reports", "wait", "max_delete", "on_error", "commit", "executor",
    "trace",
)  # fmt: skip
_TRUTHS = {
    "1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False,
}  # fmt: skip
_EPILOG = """\
exit codes: 0 done, 1 failed or no connection, 2 usage or configuration, 3 data faults,
4 refused by a guard, 5 another seed holds the lock, 6 a performance gate failed, 130 interrupted

flags that are not given are taken from variables: --batch-rows from SEEDLAB_BATCH_ROWS"""


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
    """Parse a command line, and read flags that are not given from variables.

    Raises ConfigurationError for arguments or variables that are wrong.
    """
    parser = build_parser(arguments[0] if arguments else None)
    args, more = parser.parse_known_args(arguments)
    if args.command == "generate" and len(more) == 1 and not more[0].startswith("-"):
        # argparse assigns all positionals at the first of them: of `DIR --rows N OUT` it takes DIR for OUT.
        args.directory, args.out = args.out, more[0]
    elif more:
        parser.refuse(more, args.command)
    try:
        _fill(args, environ)
    except ValueError as error:
        parser.error(str(error))
    return args


def build_parser(command: str | None = None) -> Parser:
    """Build the parser of all commands, which takes 8 ms, or only that of one command and its group."""
    parser = Parser(
        prog="seedlab",
        description="Fill PostgreSQL and SQLite databases from data files, fast and exactly.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    adders = {add: names for add, names in _ADDERS.items() if command in names} or _ADDERS
    for add in adders:
        add(commands)
    for each in commands.choices.values():
        _add_output(each)
    return parser


_Commands = argparse._SubParsersAction  # argparse has no public name for it


def _add_runs(commands: _Commands[Parser]) -> None:
    seed = _command(commands, "seed", "write the data of a project into a database")
    _add_directory(seed)
    _add_target(seed)
    _add_selection(seed)
    _add_settings(seed)
    _switch(
        seed,
        "--force",
        "also run stages that are up to date or whose conditions are not met; guards still hold",
    )
    seed.add_argument(
        "--yes-seed", metavar="NAME", help="name of a database that a guard protects, to write to it"
    )
    seed.add_argument(
        "--watch", action="store_true", help="seed again whenever a file of the project is saved"
    )
    _switch(seed, "--dry-run", "write, then roll back, to find what triggers and constraints refuse")
    seed.add_argument(
        "--on-error", choices=("stop", "reject"),
        help="stop (the default), or reject: write bad rows to files beside the record; the exit code is 3",
    )  # fmt: skip
    seed.add_argument(
        "--commit", choices=("run", "stage"),
        help="run (the default): one transaction; stage: one per stage, independent stages concurrently",
    )  # fmt: skip
    seed.add_argument(
        "--executor", metavar="URL", help="executor that stages the parts of large loads: dask://HOST:PORT"
    )
    seed.add_argument(
        "--max-delete", metavar="N", help="number or share (10%%) of rows that a sync may delete"
    )
    seed.add_argument("--trace", metavar="FILE", help="write a trace for ui.perfetto.dev or chrome://tracing")
    _add_wait(seed)
    _add_reports(seed)
    plan = _command(commands, "plan", "show what a seed would do; nothing is written")
    _add_directory(plan)
    _add_target(plan)
    _add_selection(plan)
    _add_settings(plan)
    _switch(plan, "--force", "plan as if no stage were up to date and all conditions were met")
    plan.add_argument("--yes-seed", metavar="NAME", help=argparse.SUPPRESS)
    _switch(plan, "--rows", "show which rows would change, and in which columns")
    _add_reports(plan)
    plan.add_argument(
        "--exit-on-change", metavar="N", type=positive, help="exit with N if any row would change"
    )


def _add_undos(commands: _Commands[Parser]) -> None:
    reset = _command(commands, "reset", "delete the rows that seedlab made, children first")
    _add_directory(reset)
    reset.add_argument(
        "--stage", metavar="STAGE", action="append", default=[], help="only those of a stage; repeatable"
    )
    rollback = _command(commands, "rollback", "delete the rows that one run made, if it only made rows")
    rollback.add_argument("run", metavar="RUN", help="the run, as seedlab status lists it")
    _add_directory(rollback)
    for undo in (reset, rollback):
        _add_target(undo)
        undo.add_argument("--yes-seed", metavar="NAME", help="name of the protected or distant database")
        _add_wait(undo)
        _add_reports(undo)


def _add_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wait", metavar="TIME", help="wait for another seed to end, at most this long, such as 30s"
    )


def _add_reports(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reports", metavar="DIR", help="where run records are kept (default: reports)")


def _add_readers(commands: _Commands[Parser]) -> None:
    check = _command(commands, "check", "read all data files and report every fault, without a database")
    _add_directory(check)
    check.add_argument("--env", metavar="NAME", help="environment whose data is checked")
    _add_selection(check)
    _add_directory(_command(commands, "ls", "list stages and seeds with their tables and files"))
    graph = _command(commands, "graph", "draw the dependencies between stages")
    _add_directory(graph)
    _switch(graph, "--mermaid", "as a Mermaid diagram")
    status = _command(commands, "status", "show what the ledger of the target remembers of the project")
    _add_directory(status)
    _add_target(status)
    doctor = _command(commands, "doctor", "check this installation, the project and the target")
    _add_directory(doctor)
    _add_target(doctor)


def _add_tellers(commands: _Commands[Parser]) -> None:
    history = _command(commands, "history", "list the runs on record, each beside what is usual")
    _add_directory(history, "a project, to list its runs alone")
    history.add_argument(
        "--limit", metavar="N", type=positive, default=20, help="the newest N runs (default: 20)"
    )
    show = _command(commands, "show", "show all that is on record of one run")
    show.add_argument("run", metavar="RUN", help="its id or the beginning of it, `last`, or a path")
    report = _command(commands, "report", "write a page to read in a browser: of a notebook, or of all runs")
    report.add_argument(
        "notebook", metavar="NOTEBOOK", nargs="?", help="01-seed, …, with or without the number, or a file"
    )
    _switch(report, "--history", "a page of the runs on record: trends, and each run")
    report.add_argument(
        "-p", "--parameter", metavar="NAME=VALUE", action="append", default=[],
        help="a parameter of the notebook; repeatable",
    )  # fmt: skip
    report.add_argument(
        "--out",
        metavar="PATH",
        help="folder of a notebook's report, file of the page (default: into the reports)",
    )
    for command in (history, show, report):
        _add_reports(command)


def _add_experiments(commands: _Commands[Parser]) -> None:
    profile = _command(
        commands, "profile", "run every level in fresh databases: what each optimisation gains"
    )
    _add_directory(profile)
    profile.add_argument(
        "--levels", metavar="LEVELS", type=listed(str),
        default=("legacy", "bulk", "parallel", "copy", "incremental"),
        help="levels, with commas between (default: all)",
    )  # fmt: skip
    profile.add_argument("--pairs", metavar="N", type=positive, default=7, help="runs of each (default: 7)")
    profile.add_argument(
        "--round-trip-ms", metavar="MS", type=listed(delay), default=(0.0,),
        help="delay every round trip; several with commas between: 0,1,5",
    )  # fmt: skip
    profile.add_argument(
        "--ablation", action="store_true", help="also the default level with each switch off alone"
    )
    compare = _command(commands, "compare", "compare two runs, levels, project folders or git revisions")
    compare.add_argument("before", metavar="A", help="a run, a level, a folder or a git revision")
    compare.add_argument("after", metavar="B", help="another one of the same kind")
    compare.add_argument("--pairs", metavar="N", type=positive, default=7, help="pairs of runs (default: 7)")
    compare.add_argument(
        "--max-pairs", metavar="N", type=positive, default=15,
        help="run up to this many while more pairs would narrow the result (default: 15)",
    )  # fmt: skip
    compare.add_argument(
        "--threshold", metavar="SHARE", type=share, default=0.05,
        help="smallest difference of time that counts (default: 5%%)",
    )  # fmt: skip
    compare.add_argument(
        "--fail-on", choices=("counts", "time", "any", "none"), default="counts",
        help="what ends in exit code 6: more statements, round trips, …; a slower total; any of them; none",
    )  # fmt: skip
    compare.add_argument("--anyway", action="store_true", help="compare what does not match, with a warning")
    compare.add_argument(
        "--round-trip-ms", metavar="MS", type=delay, default=0.0, help="delay every round trip"
    )
    for experiment in (profile, compare):
        _add_target(experiment)
        experiment.add_argument(
            "--yes-seed", metavar="NAME", help="name of the protected or distant database"
        )
        _add_reports(experiment)


def _add_makers(commands: _Commands[Parser]) -> None:
    init = _command(commands, "init", "write a project to start from: a small one, or what a database holds")
    init.add_argument("directory", metavar="DIR")
    init.add_argument("--from-database", action="store_true", help="export a database, see seedlab export")
    _add_export(init)
    export = _command(commands, "export", "write a project of what a database holds")
    export.add_argument("out", metavar="OUT", help="folder of the new project")
    _add_export(export)
    generate = _command(commands, "generate", "grow a project to a size, for measuring")
    _add_directory(generate)
    generate.add_argument("--rows", metavar="N", type=positive, required=True, help="rows in all")
    generate.add_argument("out", metavar="OUT", help="directory of the new project")
    generate.add_argument(
        "--format", default="parquet", choices=("parquet", "csv", "jsonl", "json", "yaml"),
        help="format of the files made (default: parquet)",
    )  # fmt: skip
    server = _command(commands, "server", "run the embedded PostgreSQL server")
    server.add_argument("action", choices=("start", "stop", "status", "url", "clean"))
    _add_directory(server)


def _add_export(parser: argparse.ArgumentParser) -> None:
    _add_target(parser, title="database", environments=False)
    group = parser.add_argument_group("content")
    group.add_argument(
        "--table", metavar="PATTERN", action="append", default=[],
        help="only this table: users, billing.*; repeatable",
    )  # fmt: skip
    group.add_argument(
        "--exclude-table", metavar="PATTERN", action="append", default=[],
        help="all tables but this one; repeatable",
    )  # fmt: skip
    group.add_argument(
        "--subset", metavar="TABLE=N", action="append", type=limit, default=[],
        help="the first N rows by key, with all that they refer to; repeatable",
    )  # fmt: skip
    group.add_argument(
        "--with-ids", action="store_true", help="keep generated ids, and refer by them instead of by key"
    )


def _add_clones(commands: _Commands[Parser]) -> None:
    clone = _command(commands, "clone", "copy a seeded database, which is seeded once for all copies")
    clone.add_argument("name", metavar="NAME", help="name of the new database; SQLite: its file")
    _add_directory(clone)
    _switch(clone, "--replace", "drop the clone of this name; your connections to it end")
    snapshots = _command(commands, "snapshots", "list or drop the databases that clones are copied from")
    snapshots.add_argument("action", choices=("ls", "prune"))
    _add_directory(snapshots)
    snapshots.add_argument(
        "--older-than", metavar="TIME",
        help="prune those older than this, such as 7d (default: all but the newest of each project)",
    )  # fmt: skip
    for command in (clone, snapshots):
        _add_target(command)
        command.add_argument("--yes-seed", metavar="NAME", help="name of the distant database")


def _command(commands: _Commands[Parser], name: str, about: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=about, description=f"{about[0].upper()}{about[1:]}.", allow_abbrev=False
    )


def _add_directory(
    parser: argparse.ArgumentParser, about: str = "the project (default: the nearest seedlab.toml upward)"
) -> None:
    parser.add_argument("directory", metavar="DIR", nargs="?", help=about)


def _add_target(
    parser: argparse.ArgumentParser,
    title: str = "target (default: the embedded server)",
    *,
    environments: bool = True,
) -> None:
    group = parser.add_argument_group(title)
    group.add_argument("--database-url", metavar="URL", help="postgresql://… or sqlite:///…")
    group.add_argument("-t", "--target", metavar="NAME", help="a target of the project")
    if environments:
        group.add_argument("--env", metavar="NAME", help="environment: which data, which guards")


def _add_selection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("selection")
    group.add_argument(
        "-s", "--select", metavar="WHAT", action="append",
        help="a stage or seed; +stage adds what it needs, stage+ what needs it; tag:NAME; repeatable",
    )  # fmt: skip
    group.add_argument(
        "-x", "--exclude", metavar="WHAT", action="append", help="the same, to be left out; repeatable"
    )


def _add_settings(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("settings")
    group.add_argument(
        "--level", metavar="LEVEL", help="legacy, bulk, parallel, copy or incremental (the default)"
    )
    group.add_argument(
        "--disable", metavar="NAME", action="append",
        help="switch off cache, parallel, copy, rebuild or incremental; repeatable",
    )  # fmt: skip
    workers = "threads, and from 2 also staging connections (0: only threads, one per core)"
    group.add_argument("--workers", metavar="N", help=workers)
    group.add_argument("--batch-rows", metavar="N", help="rows held in memory at a time")
    group.add_argument("--isolation", metavar="LEVEL", help="isolation of the writing transaction")
    group.add_argument("--statement-timeout", metavar="TIME", help="longest statement, such as 30s")
    group.add_argument("--lock-timeout", metavar="TIME", help="longest wait for a lock, such as 10s")
    group.add_argument("--ids", metavar="KIND", help="uuid8 (the default) or uuid5")


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    _switch(group, "--json", "print JSON, and only JSON, on standard output")
    _switch(group, "-q", "--quiet", "print nothing but errors")
    _switch(group, "--show-values", "show row values in messages about data")
    _switch(group, "--debug", "show the whole traceback of an error")


def _switch(parser: argparse._ActionsContainer, *names_and_help: str) -> None:
    """Add a flag without a value, which is None if it is not given, so that its variable applies."""
    *names, about = names_and_help
    parser.add_argument(*names, action="store_const", const=True, default=None, help=about)


def _fill(args: argparse.Namespace, environ: Mapping[str, str]) -> None:
    """Set flags that were not given from SEEDLAB_* variables, or to their defaults."""
    missing = [name for name in (*_SWITCHES, *_WORDS, *_TEXTS) if getattr(args, name, "") is None]
    for name in missing:
        text = environ.get(f"SEEDLAB_{name.upper()}")
        if name in _SWITCHES:
            setattr(args, name, _truth(name, text))
        elif name in _WORDS:
            setattr(args, name, (text or "").replace(",", " ").split())
        elif text and name != "database_url":  # `choose_target` reads that variable, since its origin matters
            setattr(args, name, text)
    if hasattr(args, "reports"):
        args.reports = Path(args.reports or "reports")


def _truth(name: str, text: str | None) -> bool:
    if not text:
        return False
    if text.lower() not in _TRUTHS:
        raise ValueError(f"SEEDLAB_{name.upper()}: expected 1 or 0, found {text!r}")
    return _TRUTHS[text.lower()]


# Functions that add commands to the parser, and the commands that each adds.
_ADDERS = {
    _add_runs: ("seed", "plan"),
    _add_undos: ("reset", "rollback"),
    _add_readers: ("check", "ls", "graph", "status", "doctor"),
    _add_tellers: ("history", "show", "report"),
    _add_experiments: ("profile", "compare"),
    _add_makers: ("init", "export", "generate", "server"),
    _add_clones: ("clone", "snapshots"),
}
