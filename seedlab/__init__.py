"""Fill relational databases with seed data fast, and prove where the time went.

project = seedlab.load_project("data")
seedlab.plan(project)
run = seedlab.seed(project, "postgresql://me@localhost/dev")
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
    """Import what is asked for when it is asked for: `python -m seedlab --help` asks for nothing.

    `plan` is a room of this package and a verb of the contract; the room can be called.
    """
    from importlib import import_module

    if name == "plan":
        return import_module("seedlab.plan")
    if name in _HOMES:
        return getattr(import_module(f"seedlab.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'seedlab' has no attribute '{name}'")
