from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from seedlab.database.embedded import binaries
from seedlab.errors import ServerError


@pytest.fixture
def programs() -> Path:
    try:
        return binaries.find_binaries(os.environ)
    except ServerError as error:
        pytest.skip(str(error))


def test_the_programs_found_are_all_that_is_needed(programs: Path) -> None:
    assert all((programs / name).is_file() for name in ("initdb", "pg_ctl", "postgres"))
    assert binaries.major_version(programs) >= 15


def test_the_folder_named_by_the_user_comes_first(programs: Path, tmp_path: Path) -> None:
    named = tmp_path / "bin"
    named.symlink_to(programs)

    assert binaries.find_binaries({"SEEDLAB_PG_BIN": str(named)}) == named


def test_a_wrong_folder_named_by_the_user_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"SEEDLAB_PG_BIN names .* has no initdb, pg_ctl, postgres"):
        binaries.find_binaries({**os.environ, "SEEDLAB_PG_BIN": str(tmp_path)})


def test_the_path_is_searched_when_there_is_no_wheel(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "WHEELS", ())
    (tmp_path / "initdb").symlink_to(programs / "initdb")

    assert binaries.find_binaries({"PATH": str(tmp_path)}) == programs.resolve()


def test_the_error_names_every_place_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "WHEELS", ("no_such_wheel",))

    with pytest.raises(ServerError) as caught:
        binaries.find_binaries({"PATH": ""})

    for part in ("the wheel no-such-wheel", "on the PATH", "pg_config", "pip install 'seedlab[embedded]'"):
        assert part in str(caught.value)


def test_the_newest_version_in_a_wheel_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("pginstall", "pginstall9", "pginstall18"):
        programs = tmp_path / "some_wheel" / folder / "bin"
        programs.mkdir(parents=True)
        for name in ("initdb", "pg_ctl", "postgres"):
            (programs / name).touch()
    (tmp_path / "some_wheel" / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(binaries, "WHEELS", ("some_wheel",))

    assert binaries.find_binaries({"PATH": ""}).parent.name == "pginstall18"


@pytest.mark.slow
def test_a_copy_works_and_is_made_once(programs: Path, tmp_path: Path) -> None:
    first = binaries.copy_binaries(programs, tmp_path)
    made = first.stat().st_ctime_ns
    second = binaries.copy_binaries(programs, tmp_path)

    said = subprocess.run([first / "initdb", "--version"], capture_output=True, text=True, check=True)
    assert "PostgreSQL" in said.stdout
    assert second == first
    assert second.stat().st_ctime_ns == made
