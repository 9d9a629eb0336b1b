"""Own the kernels that notebooks run in: this very Python, reached by sockets in a folder of its own.

Imports papermill, which takes a second: only `notebooks.py` imports this, and only to run one.
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

Tell = Callable[[str], None]


class KernelFailed(Exception):
    """A cell raised `kind`, or the kernel died; the notebook is kept as far as it came."""

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


def execute(path: Path, parameters: Mapping[str, object], environ: Mapping[str, str], tell: Tell) -> None:
    """Run a notebook in place; `tell` hears each heading that is reached.

    The file is written after each cell, so it can be watched, and is whole when this raises KernelFailed.
    """
    papermill_engines.register("seedlab", _Engine)
    name = str(path).replace("{", "{{").replace("}", "}}")  # papermill formats paths
    try:
        execute_notebook(
            name, name, dict(parameters), engine_name="seedlab", kernel_name="python3", progress_bar=False,
            environ=environ, tell=tell,
        )  # fmt: skip
    except PapermillExecutionError as error:
        raise KernelFailed(f"{error.ename}: {error.evalue}", error.ename) from error


class _ThisPython(KernelSpecManager):
    """Offers one kernel, whatever a notebook was saved with: no other environment has our package."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:  # noqa: ARG002 - the name does not matter
        """Give the specification of a kernel of this Python."""
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


class _Engine(NBClientEngine):  # type: ignore[misc]
    """Runs a notebook over sockets of the file system: no ports to race for, no warning of plain TCP."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, *, environ: Mapping[str, str], tell: Tell, **_: object
    ) -> None:
        def begun(cell: Any, **_: object) -> None:
            if cell.cell_type == "markdown" and (heading := _heading(cell.source)):
                tell(heading)

        with tempfile.TemporaryDirectory(prefix="seedlab-") as folder:
            kernel = AsyncKernelManager(
                transport="ipc", connection_file=f"{folder}/kernel.json", kernel_spec_manager=_ThisPython()
            )
            client = PapermillNotebookClient(
                nb_man, km=kernel, kernel_name=kernel_name, timeout=None, on_cell_start=begun
            )
            # A kernel complains of being ended; what it says while it dies is worth telling.
            with Path(folder, "said").open("w+", encoding="utf-8", errors="replace") as said:
                try:
                    client.execute(env=dict(environ), stderr=said, cleanup_kc=True)
                except DeadKernelError as error:
                    said.seek(0)
                    last = "; ".join(said.read().strip().splitlines()[-3:])
                    raise KernelFailed(f"the kernel died: {last or 'without a word'}") from error


def _heading(source: str) -> str:
    """Give the first heading of a Markdown cell."""
    return next((line.lstrip("# ") for line in source.splitlines() if line.startswith("#")), "")
