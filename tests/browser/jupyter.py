"""A JupyterLab of one's own: started on a free port of this machine, nothing of the user's, no questions asked."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.browser.chromium import Page

SECONDS = 60
_CELLS = "[...document.querySelectorAll('.jp-Notebook .jp-Cell')]"
# Runs the cell and goes to the next one.
_FOLDERS = (
    "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR", "IPYTHONDIR"
)  # fmt: skip
_SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},  # cells out of sight are there, too
}
_SHIFT_ENTER = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r", "modifiers": 8}


@contextmanager
def jupyter_lab(root: Path, state: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Serve a folder; gives the address of its files. `state` is where Jupyter keeps its own."""
    port = _free_port()
    own = {name: str(state / name.lower()) for name in _FOLDERS}
    for name, settings in _SETTINGS.items():
        path = state / "jupyterlab_settings_dir" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(settings))
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0", "--IdentityProvider.token=", f"--ServerApp.root_dir={root}",
        "--LabApp.extension_manager=readonly",
    ]  # fmt: skip
    with (state / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **environ, **own}, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    address = f"http://127.0.0.1:{port}/lab"
    try:
        _wait_for(f"http://127.0.0.1:{port}/api", server, state / "server.log")
        yield f"{address}/tree"
    finally:
        server.terminate()
        server.wait(SECONDS)


def _free_port() -> int:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + SECONDS
    while True:
        try:
            with urlopen(url, timeout=5) as answer:
                json.load(answer)
                return
        except (URLError, OSError):
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"JupyterLab does not answer:\n{log.read_text()}") from None
            time.sleep(0.2)


class OpenNotebook:
    """A notebook open in JupyterLab: cells are run as a person does, by Shift+Enter, one after the other."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.wait_for("document.querySelector('.jp-Notebook .jp-Cell') !== null")
        page.wait_for("document.body.innerText.includes('| Idle')")
        page.click(".jp-Notebook .jp-Cell .jp-InputArea")

    def run_all(self) -> list[str]:
        """Run every cell and give the prompts of the code cells, `[1]:` for the first."""
        cells = int(self.page.evaluate(f"{_CELLS}.length"))
        for number in range(cells):
            for kind in ("keyDown", "keyUp"):
                self.page.call("Input.dispatchKeyEvent", type=kind, **_SHIFT_ENTER)
            # A number instead of a star: the kernel has answered.
            self.page.wait_for(
                f"(() => {{const c = {_CELLS}[{number}]; return !c.classList.contains('jp-CodeCell')"
                " || /\\d/.test(c.querySelector('.jp-InputPrompt').textContent)})()",
                seconds=180,
            )
        # JupyterLab adds a cell below the last one.
        return self._of_code_cells(f"{_CELLS}.slice(0, {cells})", ".jp-InputPrompt", "textContent")

    def outputs(self) -> list[str]:
        """What is shown below each code cell, as text."""
        return self._of_code_cells(_CELLS, ".jp-Cell-outputWrapper", "innerText")

    def images(self) -> int:
        """How many pictures are shown, those that were not drawn left out."""
        drawn = "[...document.querySelectorAll('.jp-OutputArea img')].filter(e => e.naturalWidth > 100)"
        return int(self.page.evaluate(f"{drawn}.length"))

    def _of_code_cells(self, cells: str, selector: str, what: str) -> list[str]:
        code = f"{cells}.filter(c => c.classList.contains('jp-CodeCell'))"
        return list(self.page.evaluate(f"{code}.map(c => c.querySelector('{selector}').{what})"))
