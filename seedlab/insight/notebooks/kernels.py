"""Runs notebooks in kernels of this Python, which are reached by sockets in a temporary folder.

Imports papermill, which takes a second, so `runner.py` imports this module only to run a notebook.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill import PapermillExecutionError, execute_notebook
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines

OnHeading = Callable[[str], None]


class KernelFailed(Exception):
    """A cell raised an exception of class `kind`, or the kernel died; the notebook is kept as it is then."""

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


def execute(
    path: Path, parameters: Mapping[str, object], environ: Mapping[str, str], on_heading: OnHeading
) -> None:
    """Run a notebook in place, and call `on_heading` with each heading that is reached.

    The file is written after each cell, so that it can be watched, and is valid when KernelFailed is raised.
    """
    papermill_engines.register("seedlab", _Engine)
    name = str(path).replace("{", "{{").replace("}", "}}")  # papermill formats paths
    try:
        execute_notebook(
            name, name, dict(parameters), engine_name="seedlab", kernel_name="python3", progress_bar=False,
            environ=environ, on_heading=on_heading,
        )  # fmt: skip
    except PapermillExecutionError as error:
        raise KernelFailed(f"{error.ename}: {error.evalue}", error.ename) from error


class _ThisPython(KernelSpecManager):
    """Offers only the kernel of this Python, since other environments may lack seedlab."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:  # noqa: ARG002 - the name does not matter
        """Return the specification of a kernel of this Python."""
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


class _Engine(NBClientEngine):  # type: ignore[misc]
    """Runs a notebook over Unix sockets, which need no free port and cause no warning of plain TCP."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, *, environ: Mapping[str, str], on_heading: OnHeading, **_: object
    ) -> None:
        def begun(cell: Any, **_: object) -> None:
            if cell.cell_type == "markdown" and (heading := _heading(cell.source)):
                on_heading(heading)

        with tempfile.TemporaryDirectory(prefix="seedlab-") as folder:
            kernel = AsyncKernelManager(
                transport="ipc", connection_file=f"{folder}/kernel.json", kernel_spec_manager=_ThisPython()
            )
            client = PapermillNotebookClient(
                nb_man, km=kernel, kernel_name=kernel_name, timeout=None, on_cell_start=begun
            )
            # A kernel that is ended prints complaints, so its error output is shown only if it died.
            with Path(folder, "stderr").open("w+", encoding="utf-8", errors="replace") as stderr:
                try:
                    client.execute(env=dict(environ), stderr=stderr, cleanup_kc=True)
                except DeadKernelError as error:
                    stderr.seek(0)
                    last = "; ".join(stderr.read().strip().splitlines()[-3:])
                    raise KernelFailed(f"the kernel died: {last or 'without a word'}") from error


def _heading(source: str) -> str:
    """Return the first heading of a Markdown cell, or ""."""
    return next((line.lstrip("# ") for line in source.splitlines() if line.startswith("#")), "")
