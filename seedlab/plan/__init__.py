"""What to do: the project, the graph of its stages, what the catalog means.

The room shares its name with a verb of the Python contract, `seedlab.plan(project, target)`, so the module
can be called; it passes the call on.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Pass a call of `seedlab.plan` on to `seedlab.contract.plan`."""
        from importlib import import_module

        return import_module("seedlab.contract").plan(*args, **options)


sys.modules[__name__].__class__ = _Room
