"""The house rules that a machine can watch, and planted violations that prove it watches."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "seedlab"
ROOMS = ("plan", "frames", "database", "insight")
# Whoever stands in a line may import from the lines above it, and from its own line; but no room from
# another room. The package itself (`seedlab`) offers the contract.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors"}),
    frozenset({"flow"}),
    frozenset(ROOMS),
    frozenset({"steps"}),
    frozenset({"orchestrator"}),
    frozenset({"", "contract", "experiment", "operations", "progress", "pytest_plugin"}),
    frozenset({"notebook"}),
    frozenset({"cli", "__main__"}),
)
# The same of the steps of a run, in the order in which they happen.
STEPS: tuple[frozenset[str], ...] = (
    frozenset({"looking", "sampling"}),
    frozenset({"agenda"}),
    frozenset({"preparing"}),
    frozenset({"resolving"}),
    frozenset({"recalling"}),
    frozenset({"pipeline"}),
    frozenset({"reducing"}),
    frozenset({"remembering"}),
    frozenset({"writing"}),
    frozenset({"parallel"}),
    frozenset({"reporting", "previewing", "undoing"}),
)
# `seedlab.plan` is a room and, called, a verb of the contract: the room passes the call on.
CONTRACT_BY_CALL = "plan: imports contract"
# Within the rooms: packages that know nothing of each other. Files are read before anything is known of
# tables, so of `frames` they use only what evaluates expressions.
APART: Mapping[str, tuple[str, ...]] = {
    "database.postgres": ("database.sqlite",),
    "database.sqlite": ("database.postgres", "database.embedded"),
    "database.embedded": ("database.postgres", "database.sqlite"),
    "frames.files": ("frames",),
}
BESIDES = ("frames.files", "frames.batcher")
LINES_OF_A_MODULE = 400
LINES_OF_A_FUNCTION = 60
SPEAKERS = {"cli", "__main__", "progress"}
PRINTING = {"print", "sys.exit", "exit", "quit", "os._exit"}
ENDINGS = {
    each.rpartition(".")[2] for each in PRINTING
}  # looked at first: to spell every call takes a second
# Row by row by its nature (`legacy`), or over a handful of faults.
ROW_BY_ROW = {"database.legacy", "frames.tracing"}

Modules = Mapping[
    str, str
]  # name below the package ("database.postgres.wire", "" for the package itself) → source


def modules() -> dict[str, str]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path.read_text()
    return found


@cache
def parsed(source: str) -> ast.Module:
    """The tree of a module, which every rule looks at."""
    return ast.parse(source)


@cache
def all_nodes(source: str) -> tuple[ast.AST, ...]:
    """The same, gone through once for all rules."""
    return tuple(ast.walk(parsed(source)))


# ---- what a module imports ------------------------------------------------------------------------------


def imports(name: str, source: str, known: Collection[str], *, run_time: bool = False) -> Iterator[str]:
    """Everything imported, wherever it stands: at the top, in a function, by a relative or a computed name."""
    home = ["seedlab", *name.split(".")] if name else ["seedlab"]
    for node in _run_time_nodes(parsed(source)) if run_time else all_nodes(source):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            is_package = not name or any(each.startswith(f"{name}.") for each in known)
            base = _absolute(home if is_package else home[:-1], node)
            for alias in node.names:
                below = f"{base}.{alias.name}"
                yield below if below.removeprefix("seedlab.") in known else base
        elif isinstance(node, ast.Call) and _callee(node) in ("import_module", "__import__"):
            yield from (str(name.value) for name in node.args[:1] if isinstance(name, ast.Constant))


def _absolute(package: list[str], node: ast.ImportFrom) -> str:
    above = package[: len(package) - node.level + 1] if node.level else []
    return ".".join([*above, *(node.module.split(".") if node.module else ())])


def _run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    waiting = deque([tree])
    while waiting:
        for node in ast.iter_child_nodes(waiting.popleft()):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            waiting.append(node)
            yield node


def _callee(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _layer(name: str) -> int | None:
    top = name.partition(".")[0]
    return next((n for n, layer in enumerate(LAYERS) if top in layer), None)


# ---- the rules ------------------------------------------------------------------------------------------


def broken_layers(sources: Modules) -> list[str]:
    """Imports that run the wrong way, and modules that nobody gave a layer."""
    found = [f"{name}: has no layer" for name in sources if _layer(name) is None]
    for name, source in sources.items():
        for imported in imports(name, source, sources):
            if imported.partition(".")[0] != "seedlab":
                continue
            other = imported.removeprefix("seedlab").removeprefix(".")
            mine, theirs = _layer(name), _layer(other)
            rooms = {name.partition(".")[0], other.partition(".")[0]}
            across = len(rooms) > 1 and rooms <= set(ROOMS)
            if mine is None or theirs is None or theirs > mine or across:
                found.append(f"{name}: imports {other or 'the package'}")
    return [each for each in found if each != CONTRACT_BY_CALL]


def broken_order(sources: Modules) -> list[str]:
    """Steps that import a later one, and steps that nobody gave a place."""
    places = {step: n for n, steps in enumerate(STEPS) for step in steps}
    found = []
    for name, source in sources.items():
        room, _, step = name.partition(".")
        if room != "steps" or not step:
            continue
        step = step.partition(".")[0]
        if step not in places:
            found.append(f"{name}: has no place among the steps")
            continue
        for imported in imports(name, source, sources, run_time=True):
            other = imported.removeprefix("seedlab.steps.").partition(".")[0]
            if other in places and imported.startswith("seedlab.steps.") and places[other] > places[step]:
                found.append(f"{name}: imports {imported.removeprefix('seedlab.')}, which comes later")
    return found


def crossings(sources: Modules) -> list[str]:
    """Imports between packages of a room that stand apart."""
    return [
        f"{name}: imports {other}"
        for name, source in sources.items()
        for package, apart in APART.items()
        if _within(name, (package,))
        for other in (each.removeprefix("seedlab.") for each in imports(name, source, sources))
        if _within(other, apart) and not _within(other, BESIDES)
    ]


def _within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def heavy_imports(sources: Modules) -> list[str]:
    """Frames know no connection, clock or environment; flow and errors no polars."""
    found = []
    for name, source in sources.items():
        if (room := name.partition(".")[0]) not in ("frames", "flow", "errors"):
            continue
        names = {each.partition(".")[0] for each in imports(name, source, sources, run_time=True)}
        if room == "frames":
            found += [
                f"{name}: imports {each}"
                for each in sorted(names & {"sqlalchemy", "psycopg", "sqlite3", "time"})
            ]
            found += [
                f"{name}: uses {each}" for each in _uses(source, {"environ", "getenv", "now", "utcnow"})
            ]
        else:
            heavy = {"polars", "sqlalchemy", "psycopg", "rich", "yaml", "zstandard", "xxhash"}
            found += [f"{name}: imports {each}" for each in sorted(names & heavy)]
    return found


def row_loops(sources: Modules) -> list[str]:
    """Calls by which data leave polars row by row."""
    return [
        f"{name}: uses {used}"
        for name, source in sources.items()
        if name.partition(".")[0] in ("frames", "database") and name not in ROW_BY_ROW
        for used in _uses(source, {"iter_rows", "map_elements", "map_rows", "to_dicts", "rows"})
        if used != "rows" or ".rows(" in source
    ]


def printing(sources: Modules) -> list[str]:
    """Only the command line prints or exits, and its progress speaks to the stream it is given."""
    found = []
    for name, source in sources.items():
        if name.partition(".")[0] in SPEAKERS:
            continue
        for node in all_nodes(source):
            if isinstance(node, ast.Call) and _callee(node) in ENDINGS and ast.unparse(node.func) in PRINTING:
                found.append(f"{name}: calls {ast.unparse(node.func)}")
            if isinstance(node, ast.Raise) and node.exc is not None and "SystemExit" in ast.unparse(node.exc):
                found.append(f"{name}: raises SystemExit")
    return found


def sizes(sources: Modules) -> list[str]:
    """Modules and functions longer than a reader's patience, and modules named for nothing."""
    found = []
    for name, source in sources.items():
        if source.count("\n") > LINES_OF_A_MODULE:
            found.append(f"{name}: has {source.count(chr(10))} lines")
        if set(name.split(".")) & {"utils", "util", "helpers", "misc", "common"}:
            found.append(f"{name}: is named for nothing")
        for node in all_nodes(source):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                lines = node.end_lineno - node.lineno + 1
                if lines > LINES_OF_A_FUNCTION:
                    found.append(f"{name}: {node.name} has {lines} lines")
    return found


def _uses(source: str, names: set[str]) -> list[str]:
    attributes = {node.attr for node in all_nodes(source) if isinstance(node, ast.Attribute)}
    imported = {a.name for node in all_nodes(source) if isinstance(node, ast.ImportFrom) for a in node.names}
    return sorted((attributes | imported) & names)


RULES = (broken_layers, broken_order, crossings, heavy_imports, row_loops, printing, sizes)


@pytest.fixture(scope="module")
def house() -> dict[str, str]:
    return modules()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(rule: object, house: Modules) -> None:
    assert rule(house) == []  # type: ignore[operator]


@pytest.fixture(scope="module")
def empty_house(house: Modules) -> dict[str, str]:
    """The modules that are there, with nothing in them yet."""
    return dict.fromkeys(house, "")


def test_the_whole_package_is_watched(house: Modules) -> None:
    assert {"", "flow", "orchestrator", "frames.resolve", "database.postgres.wire", "cli"} <= house.keys()


# ---- planted violations ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("flow", "from seedlab.frames.cache import SeedCache"),
        ("errors", "from seedlab import flow"),
        ("plan.binder", "from seedlab.frames import resolve"),
        ("frames.resolve", "import seedlab.database.postgres.wire"),
        ("frames.resolve", "from ..plan import binder"),
        ("frames.resolve", "from .. import plan"),
        ("insight.measuring.monitor", "def later():\n    from seedlab.database.postgres import wire"),
        ("insight.measuring.monitor", "import importlib\nimportlib.import_module('seedlab.plan.binder')"),
        (
            "database.postgres.wire",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from seedlab.plan import binder",
        ),
        (
            "database.postgres.wire",
            "try:\n    from seedlab import orchestrator\nexcept ImportError:\n    pass",
        ),
        ("plan", "from .. import orchestrator"),
        ("steps.pipeline", "from seedlab.orchestrator import seed"),
        ("orchestrator", "import seedlab.cli"),
        ("orchestrator", "from seedlab import contract"),
        ("contract", "from seedlab import cli"),
        ("frames.resolve", "import seedlab"),
    ],
)
def test_an_import_the_wrong_way_is_seen(name: str, source: str, empty_house: Modules) -> None:
    assert len(broken_layers({**empty_house, name: source})) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("frames.resolve", "from seedlab.frames.cache import SeedCache"),
        ("frames.resolve", "from . import cache"),
        ("frames.resolve", "from seedlab import flow\nfrom seedlab.errors import Fault"),
        ("orchestrator", "from seedlab.steps import pipeline\nfrom seedlab.plan import graph"),
        ("steps.pipeline", "from seedlab.steps.preparing.shaping import Shaped"),
        ("cli", "def seed():\n    from seedlab import orchestrator, contract"),
    ],
)
def test_an_import_the_right_way_is_fine(name: str, source: str, empty_house: Modules) -> None:
    assert broken_layers({**empty_house, name: source}) == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("database.postgres.wire", "from seedlab.database.sqlite import statements"),
        ("database.sqlite.session", "import seedlab.database.postgres.wire"),
        ("database.sqlite", "from seedlab.database.embedded import server"),
        ("frames.files.sources", "from seedlab.frames.resolve import named"),
        ("frames.files.sources", "from .. import resolve"),
    ],
)
def test_an_import_across_a_room_is_seen(name: str, source: str, empty_house: Modules) -> None:
    assert len(crossings({**empty_house, name: source})) == 1


def test_what_all_dialects_share_may_be_imported(empty_house: Modules) -> None:
    shared = {
        "database.postgres.wire": "from seedlab.database.embedded import server\nfrom seedlab.database import kinds",
        "frames.files.sources": "from seedlab.frames.batcher import cut\nfrom seedlab.frames.files import faults",
        "database.connect": "from seedlab.database.sqlite import session\nfrom seedlab.database.postgres import wire",
    }
    assert crossings({**empty_house, **shared}) == []


def test_a_step_that_looks_ahead_is_seen(empty_house: Modules) -> None:
    ahead = "from seedlab.steps.writing import transaction"
    back = "from seedlab.steps.preparing.shaping import Shaped"

    found = broken_order({**empty_house, "steps.pipeline": ahead, "steps.undoing": back, "steps.novelty": ""})

    assert found == [
        "steps.pipeline: imports steps.writing.transaction, which comes later",
        "steps.novelty: has no place among the steps",
    ]


def test_a_module_without_a_layer_is_seen(empty_house: Modules) -> None:
    assert broken_layers({**empty_house, "novelty": "", "attic.box": ""}) == [
        "novelty: has no layer",
        "attic.box: has no layer",
    ]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("frames.resolve", "def f():\n    import psycopg"),
        ("frames.resolve", "from sqlalchemy.engine import Engine"),
        ("frames.resolve", "import time"),
        ("frames.resolve", "import os\nos.environ['X']"),
        ("frames.resolve", "from os import getenv"),
        ("frames.resolve", "import datetime\ndatetime.datetime.now()"),
        ("flow", "import polars as pl"),
        ("flow", "def f():\n    import polars.selectors"),
        ("errors", "import psycopg"),
    ],
)
def test_a_heavy_import_is_seen(name: str, source: str) -> None:
    assert len(heavy_imports({name: source})) == 1


def test_an_import_for_types_only_is_not_heavy() -> None:
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import polars as pl"

    assert heavy_imports({"flow": source}) == []


@pytest.mark.parametrize(
    "call", ["iter_rows()", "map_elements(f)", "to_dicts()", "rows()", "rows(named=True)"]
)
def test_a_loop_over_rows_is_seen(call: str) -> None:
    assert len(row_loops({"frames.resolve": f"x = frame.{call}"})) == 1
    assert row_loops({"insight.measuring.monitor": f"x = frame.{call}"}) == []


@pytest.mark.parametrize(
    "source",
    ["print('x')", "import sys\nsys.exit(1)", "raise SystemExit", "def f():\n    raise SystemExit(2)"],
)
def test_a_print_or_exit_outside_the_command_line_is_seen(source: str) -> None:
    assert len(printing({"orchestrator": source})) == 1
    assert printing({"cli": source}) == []


def test_what_is_too_long_or_named_for_nothing_is_seen() -> None:
    long = "def f():\n" + "    pass\n" * 60

    assert sizes({"plan.graph": long}) == ["plan.graph: f has 61 lines"]
    assert sizes({"plan.graph": "#\n" * 401}) == ["plan.graph: has 401 lines"]
    assert sizes({"plan.utils": ""}) == ["plan.utils: is named for nothing"]
    assert sizes({"plan.graph": long.removesuffix("    pass\n")}) == []
