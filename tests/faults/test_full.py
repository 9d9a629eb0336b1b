"""A disk that is full: what could not be written is named, and nothing is half done.

A limit on the size of the child's files stands for the disk, as any user can set one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.seeding import counted, dump, execute, seed, write

TABLES = "CREATE TABLE cities (id SERIAL KEY, code text NOT NULL UNIQUE, name text NOT NULL);"
CITIES = "code,name\n" + "".join(f"c{n},{'n' * 200}\n" for n in range(2000))  # 400 kB
CHILD = """
import resource, sys
from seedlab.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
sys.exit(main(sys.argv[1:]))
"""


def on_a_full_disk(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CHILD, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("commit", [[], ["--commit", "stage"]])
def test_a_seed_undoes_all_and_the_next_one_does_it(
    tmp_path: Path, sqlite_url: str, commit: list[str]
) -> None:
    school = write(tmp_path / "school", {"cities.csv": CITIES})
    execute(sqlite_url, TABLES)
    empty = dump(sqlite_url)

    failed = on_a_full_disk(
        "seed", school, "--database-url", sqlite_url, *commit, "--reports", tmp_path / "r"
    )

    assert failed.returncode == 1
    assert "refused a statement" in failed.stderr
    assert dump(sqlite_url) == empty
    assert counted(seed(school, sqlite_url)) == (2000, 0, 0)


def test_an_export_names_its_folder_and_leaves_nothing(tmp_path: Path, clean_database_url: str) -> None:
    school = write(tmp_path / "school", {"cities.csv": CITIES})
    execute(clean_database_url, TABLES)
    seed(school, clean_database_url)
    out = tmp_path / "exports" / "out"

    failed = on_a_full_disk("export", out, "--database-url", clean_database_url)

    assert (failed.returncode, failed.stdout) == (2, "")
    assert f"writing {out}: file too large" in failed.stderr
    assert list(out.parent.iterdir()) == []
