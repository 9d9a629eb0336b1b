"""Fill PostgreSQL and SQLite databases with seed data fast, and show where the time went.

    project = seedlab.load_project("data")
    print(seedlab.plan(project))
    run = seedlab.seed(project, "postgresql://me@localhost/dev")

`contract.py` has these functions; `docs/design.md` says how a run goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seedlab.contract import compare, connected, history, load_project, profile, seed
    from seedlab.errors import SeedError
    from seedlab.insight.notebooks.objects import Plan, Run

__version__ = "0.1.0"
__all__ = [
    "Plan",
    "Run",
    "SeedError",
    "compare",
    "connected",
    "history",
    "load_project",
    "plan",
    "profile",
    "seed",
]

_HOMES = {
    "Plan": "insight.notebooks.objects",
    "Run": "insight.notebooks.objects",
    "SeedError": "errors",
    "compare": "contract",
    "connected": "contract",
    "history": "contract",
    "load_project": "contract",
    "profile": "contract",
    "seed": "contract",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `python -m seedlab --help` imports none.

    `seedlab.plan` is a package and also the name of a public function. The package can be called as that
    function (docs/design.md, decision 2).
    """
    from importlib import import_module

    if name == "plan":
        return import_module("seedlab.plan")
    if name in _HOMES:
        return getattr(import_module(f"seedlab.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'seedlab' has no attribute '{name}'")
