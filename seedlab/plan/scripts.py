"""Loads and runs the project's own Python: conditions, transforms, models. Data files cannot name any."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import ModuleType

from seedlab.errors import ConfigurationError, Place, nearest

_SPELLING = re.compile(r"(?P<file>[^:]+\.py):(?P<name>[^\W\d]\w*)")


def split(text: str) -> tuple[str, str]:
    """Split `FILE.py:NAME`. Raises ConfigurationError that shows the syntax."""
    found = _SPELLING.fullmatch(text)
    if found is None:
        raise ConfigurationError(f"expected FILE.py:NAME, found '{text}'")
    return found["file"], found["name"]


def find_script(root: Path, file: str) -> Path:
    """Return the path of a Python file. Raises ConfigurationError unless it exists inside the project."""
    if "\0" in file:
        raise ConfigurationError(f"expected a file's path, found {file!r}")
    path = root / file
    if PurePosixPath(file).is_absolute() or not path.resolve().is_relative_to(root.resolve()):
        raise ConfigurationError(f"{file} lies outside the project; put it into the project's folder")
    if not path.is_file():
        scripts = [each.relative_to(root).as_posix() for each in root.glob("*.py")]
        raise ConfigurationError(f"there is no file {file} in the project{nearest(file, scripts)}")
    return path


def load_script(root: Path, file: str) -> ModuleType:
    """Execute a Python file of the project, even if it was before, and return the module.

    Raises ConfigurationError that names the file for any exception in it.
    """
    path = find_script(root, file)
    name = f"_seedlab_project_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look themselves up there
    try:
        with beside(path.parent):
            spec.loader.exec_module(module)
    except Exception as error:
        sys.modules.pop(name, None)
        raise ConfigurationError(f"it does not run: {describe(error)}", Place(file=file)) from error
    return module


def find_name(root: Path, file: str, name: str) -> object:
    """Execute a Python file of the project and return what it defines as `name`."""
    module = load_script(root, file)
    if not hasattr(module, name):
        hint = nearest(name, (each for each in vars(module) if not each.startswith("_")))
        raise ConfigurationError(f"it defines no '{name}'{hint}", Place(file=file))
    return getattr(module, name)


def find_function(root: Path, file: str, name: str) -> Callable[..., object]:
    """Execute a Python file of the project and return its function `name`."""
    function = find_name(root, file, name)
    if not callable(function):
        raise ConfigurationError(f"'{name}' is not a function", Place(file=file))
    return function


@contextmanager
def running(root: Path, file: str, name: str) -> Iterator[None]:
    """Let a function of the project run within this context, where it may import modules of its folder.

    Raises ConfigurationError that names the function and its file for any exception in it.
    """
    try:
        with beside((root / file).parent):
            yield
    except Exception as error:
        raise ConfigurationError(f"{name} failed: {describe(error)}", Place(file=file)) from error


@contextmanager
def beside(folder: Path) -> Iterator[None]:
    """Let project code import modules of its folder within this context.

    Afterwards these modules are unloaded again; no bytecode is written.
    """
    modules, bytecode = set(sys.modules), sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = bytecode
        sys.path.remove(str(folder))
        for name in set(sys.modules) - modules:
            if _lies_in(folder, sys.modules[name]):
                del sys.modules[name]


def describe(error: BaseException) -> str:
    """Describe an exception of project code by its type and the first line of its message.

    The values that polars quotes are left out, since they may be those of rows.
    """
    message = str(error).partition("\n")[0].partition(" values: [")[0]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _lies_in(folder: Path, module: ModuleType) -> bool:
    file = Path(getattr(module, "__file__", None) or "/")
    return file.is_relative_to(folder) and "site-packages" not in file.parts  # a .venv may lie in the project
