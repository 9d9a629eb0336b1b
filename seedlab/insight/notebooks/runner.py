"""Runs a notebook as a report: finds it, checks its parameters, runs it, and writes the report's files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedlab.errors import ConfigurationError, GateFailed, Place, masked, nearest
from seedlab.insight.formatting.text import markdown_text
from seedlab.insight.notebooks import parameters
from seedlab.insight.records.files import folder_name

if TYPE_CHECKING:
    from seedlab.insight.notebooks.kernels import OnHeading

# The variable that names the folder into which a notebook writes summary and figures. It is not set if a
# person runs the notebook.
FOLDER = "SEEDLAB_REPORT_FOLDER"
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
STEP_SUMMARY_BYTES = 500_000  # GitHub drops all summaries of a step if they exceed 1 MiB
_PACKAGE = Path(__file__).parents[2]
_KINDS: Mapping[str, type[Any]] = {
    "01-seed": parameters.SeedParameters,
    "02-profile-phases": parameters.ProfileParameters,
    "03-bottlenecks": parameters.RunParameters,
    "04-before-after": parameters.CompareParameters,
    "05-history": parameters.HistoryParameters,
}
NAMES = tuple(_KINDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """A notebook and the dataclass of its parameters."""

    name: str
    path: Path
    parameters: type[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The report of a notebook: the folder of its files, and why the notebook failed, if it did.

    The exit code of a failed notebook is 1, or 6 if a gate failed.
    """

    folder: Path
    failure: str | None = None
    exit_code: int = 0


# ---- find -----------------------------------------------------------------------------------------------


def folder() -> Path:
    """Return the folder of the notebooks, which is inside an installed package, or in the repository."""
    inside = _PACKAGE / "_notebooks"
    return inside if inside.is_dir() else _PACKAGE.parent / "notebooks"


def find(name: str) -> Notebook:
    """Find a notebook by its name, its number, its name without the number, or its path."""
    for known, kind in _KINDS.items():
        if name in (known, *known.split("-", 1)):
            return Notebook(name=known, path=folder() / f"{known}.ipynb", parameters=kind)
    path = Path(name)
    if path.suffix == ".ipynb" and path.is_file():
        return Notebook(name=path.stem, path=path, parameters=_own_parameters(path))
    hint = nearest(name, _KINDS) or f"; there are {', '.join(_KINDS)}, or name a file"
    raise ConfigurationError(f"found no notebook {name}{hint}")


def _own_parameters(path: Path) -> type[Any]:
    """Return the parameters of the known notebook of this name, else those of the notebook's own cell."""
    if path.stem in _KINDS:
        return _KINDS[path.stem]
    sources = [
        "".join(cell["source"])
        for cell in _read(path)["cells"]
        if cell["cell_type"] == "code" and "parameters" in cell["metadata"].get("tags", ())
    ]
    return parameters.of_cell("\n".join(sources))


def _read(path: Path) -> dict[str, Any]:
    try:
        notebook: dict[str, Any] = json.loads(path.read_bytes())
        known = notebook["nbformat"] == 4
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"cannot read the notebook: {error}", Place(file=str(path))) from error
    if not known:
        raise ConfigurationError(
            f"the notebook has format {notebook['nbformat']}, expected 4; open and save it in JupyterLab",
            Place(file=str(path)),
        )
    if not isinstance(notebook.get("cells"), list):
        raise ConfigurationError("not a whole notebook: it has no cells", Place(file=str(path)))
    return notebook


# ---- run ------------------------------------------------------------------------------------------------


def run(
    notebook: Notebook,
    arguments: Mapping[str, str],
    out: Path,
    *,
    environ: Mapping[str, str],
    on_heading: OnHeading,
) -> Report:
    """Run a notebook and write its report into the folder `out`.

    Raises ConfigurationError for wrong arguments before anything runs. The report of a failed notebook ends
    with the traceback.
    """
    values = parameters.from_text(notebook.parameters, arguments)
    if find_spec("papermill") is None or find_spec("nbconvert") is None:
        raise ConfigurationError(
            "notebooks need packages that are not installed: pip install 'seedlab[notebook]'"
        )
    path = _copy(notebook.path, out)
    from seedlab.insight.notebooks import kernels  # takes a second, so only once the parameters are right

    failure, exit_code = None, 0
    inner = {name: value for name, value in environ.items() if name != STEP_SUMMARY}
    try:
        with ThreadPoolExecutor(1) as pool:  # importing nbconvert takes as long as a short notebook
            pool.submit(import_module, "seedlab.insight.pages.report_page")
            kernels.execute(path, values, {**inner, FOLDER: str(out.resolve())}, on_heading)
    except kernels.KernelFailed as error:
        failure, exit_code = masked(str(error)), 1
        if error.kind == GateFailed.__name__:
            failure, exit_code = failure.removeprefix(f"{error.kind}: "), GateFailed.exit_code
    _finish(notebook, path, values, failure)
    return Report(folder=out, failure=failure, exit_code=exit_code)


def _copy(source: Path, out: Path) -> Path:
    """Copy the notebook into the report; the path is relative, since papermill stores it."""
    path = Path(os.path.relpath(out / "report.ipynb"))
    try:
        out.mkdir(parents=True, exist_ok=True)
        _clear(out)
        path.write_bytes(source.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"cannot write the report: {error.strerror}; name another folder with --out", Place(file=str(out))
        ) from error
    return path


def _clear(out: Path) -> None:
    """Delete an earlier report from the folder. Raises ConfigurationError if it has other files."""
    if any(out.iterdir()) and not (out / "report.ipynb").is_file():
        raise ConfigurationError(
            "the folder has files that are no report; name another with --out", Place(file=str(out))
        )
    for name in ("report.ipynb", "report.html", "summary.md", "summary.json"):
        (out / name).unlink(missing_ok=True)
    for old in (out / "figures").glob("*.svg"):
        old.unlink()


# ---- the report's files ---------------------------------------------------------------------------------


def _finish(notebook: Notebook, path: Path, arguments: Mapping[str, object], failure: str | None) -> None:
    """Write the cleaned notebook, its page and its summary."""
    import nbformat

    from seedlab.insight.pages.report_page import page

    done = nbformat.read(path, as_version=4)
    _clean(done)
    _replace(path, nbformat.writes(done) + "\n")
    shown = nbformat.from_dict({**done, "cells": _executed(done.cells)})
    html = page(shown, title=_title(done.cells, notebook.name), arguments=arguments, failure=failure)
    _replace(path.with_name("report.html"), html)
    _summarise(notebook, path.parent, arguments, failure)


def _clean(notebook: Any) -> None:
    """Remove papermill's banners and paths, and mask everything in outputs that looks like a password."""
    notebook.cells = [
        cell for cell in notebook.cells if "papermill-error-cell-tag" not in cell.metadata.get("tags", ())
    ]
    for name in ("input_path", "output_path", "environment_variables"):
        notebook.metadata.get("papermill", {}).pop(name, None)
    for output in (output for cell in notebook.cells for output in cell.get("outputs", ())):
        for part in (output, output.get("data", {})):
            part.update({name: _masked(value) for name, value in part.items()})


def _masked(value: Any) -> Any:
    if isinstance(value, list):
        return [_masked(each) for each in value]
    return masked(value) if isinstance(value, str) else value


def _executed(cells: list[Any]) -> list[Any]:
    """Leave out the cells that follow a failed one, so that the traceback is at the end."""
    failed = [
        number
        for number, cell in enumerate(cells)
        if any(output.output_type == "error" for output in cell.get("outputs", ()))
    ]
    return cells[: failed[0] + 1] if failed else cells


def _title(cells: list[Any], name: str) -> str:
    """Return the first heading, else the notebook's name."""
    first = next((cell.source for cell in cells if cell.cell_type == "markdown"), "")
    return first.partition("\n")[0].lstrip("# ") if first.startswith("#") else name


def _summarise(notebook: Notebook, out: Path, arguments: Mapping[str, object], failure: str | None) -> None:
    """Add to the summary that the notebook wrote how it ended, and its parameters."""
    markdown, result = out / "summary.md", out / "summary.json"
    text = markdown.read_text("utf-8") if markdown.is_file() else ""
    found = json.loads(result.read_bytes()) if result.is_file() else None
    if failure is not None:
        told = "  \n".join(map(markdown_text, failure.splitlines()))
        text = f"❌ **{notebook.name} failed**: {told}\n\n{text}".rstrip() + "\n"
    _replace(markdown, text or f"✅ **{notebook.name}** ran to its end.\n")
    record = {
        "notebook": notebook.name,
        "parameters": dict(arguments),
        "status": "succeeded" if failure is None else "failed",
        "error": failure,
        "result": found,
    }
    _replace(result, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _replace(path: Path, text: str) -> None:
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(text, "utf-8")
    unfinished.replace(path)


def summary_record(report: Report) -> dict[str, Any]:
    """Return the content of summary.json, and the report's folder."""
    return {"folder": str(report.folder), **json.loads((report.folder / "summary.json").read_bytes())}


def append_step_summary(report: Report, environ: Mapping[str, str]) -> None:
    """Append the summary to the step summary of a GitHub job, if the environment names its file.

    Notebooks do not see that variable, so that only the outermost report is appended.
    """
    if environ.get(STEP_SUMMARY):
        text = (report.folder / "summary.md").read_text("utf-8")
        with Path(environ[STEP_SUMMARY]).open("a", encoding="utf-8") as file:
            file.write(f"{shortened(text, STEP_SUMMARY_BYTES)}\n")


def shortened(text: str, limit: int) -> str:
    """Cut a text to at most `limit` bytes of whole lines, and say so at its end."""
    if len(text.encode()) <= limit:
        return text
    kept = text.encode()[: limit - 100].decode("utf-8", "ignore").rpartition("\n")[0]
    return f"{kept}\n\n… cut: the whole is in the report\n"


def new_folder(reports: Path, notebook: Notebook) -> Path:
    """Return a new folder for a report, named by the time and the notebook."""
    name = folder_name(datetime.now(UTC), notebook.name)
    folder, number = reports / name, 1
    while folder.exists():
        number += 1
        folder = reports / f"{name}-{number}"
    return folder
