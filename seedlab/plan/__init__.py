"""Decides what to do: reads the project, orders its stages, and relates its files to the catalog.

The package shares its name with a function of the Python contract, `seedlab.plan(project, target)`.
Importing the package would hide that function, so the module itself can be called and passes calls on.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call `seedlab.contract.plan`."""
        from importlib import import_module

        return import_module("seedlab.contract").plan(*args, **options)


sys.modules[__name__].__class__ = _Room
