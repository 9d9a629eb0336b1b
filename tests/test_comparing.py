"""Two levels, folders or revisions are run in pairs, and only where their databases end up equal."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from itertools import islice, product
from pathlib import Path

import pytest

import seedlab
from seedlab.errors import ConfigurationError, Refused, SeedError
from seedlab.experiment.comparing import swaps
from seedlab.experiment.sides import kind_of
from seedlab.flow.evidence import Comparison
from seedlab.insight.records import history
from tests.support.experiments import MODELS, left_behind, school
from tests.support.school import CITIES, PUPILS
from tests.support.seeding import seed

FEW = {"pairs": 1, "max_pairs": 1}
GIT = ("git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main")
PACKAGE = Path(seedlab.__file__).parent


def count_of(comparison: Comparison, name: str) -> tuple[int, int]:
    return next((each.before, each.after) for each in comparison.counts if each.name == name)


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run([*GIT, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the school in a folder, two revisions long; we stand in that folder."""
    root = tmp_path / "repository"
    folder = school(root / "seeds")
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "one")
    git(root, "tag", "first")
    (folder / "note.txt").write_text("nothing that is seeded")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "two")
    monkeypatch.chdir(folder)
    return root


# ---- turns ----------------------------------------------------------------------------------------------


def test_each_side_goes_first_in_every_other_pair_and_a_coin_says_which_begins() -> None:
    chance = random.Random(1)
    begun = {tuple(islice(swaps(chance), 4)) for _ in range(100)}

    assert begun == {(one, not one, other, not other) for one, other in product((True, False), repeat=2)}


# ---- levels and folders ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_levels_are_compared(tmp_path: Path, scratch_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(school(tmp_path))

    found = seedlab.compare("legacy", "bulk", target=scratch_url, pairs=2, max_pairs=2)

    assert (found.before, found.after, len(found.pairs)) == ("legacy", "bulk", 2)
    before, after = count_of(found, "statements")
    assert before > after
    assert count_of(found, "rows created") == (5, 5)
    assert left_behind(scratch_url) == []


@pytest.mark.slow
def test_more_pairs_are_run_while_there_are_too_few(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(school(tmp_path))

    # Two pairs are never enough for an interval.
    found = seedlab.compare("bulk", "bulk", target=sqlite_url, pairs=2, max_pairs=3)

    assert len(found.pairs) == 3


@pytest.mark.slow
def test_two_folders_with_the_same_rows_are_compared(tmp_path: Path, scratch_url: str) -> None:
    one = school(tmp_path / "one")
    # Rows in another order have other numbers, and `seen` differs from run to run: they are the same rows.
    head, *rows = PUPILS.splitlines(keepends=True)
    cities = "code,name\ntlv,Tel Aviv\nhfa,Haifa\n"
    other = school(tmp_path / "other", pupils_csv=head + "".join(reversed(rows)), cities_csv=cities)

    found = seedlab.compare(one, other, target=scratch_url, **FEW)

    assert count_of(found, "rows created") == (5, 5)
    assert left_behind(scratch_url) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "said"),
    [
        ({"cities_csv": CITIES.replace("Haifa", "haifa")}, r"rows of cities \(2 and 2\) differ"),
        ({"pupils_csv": PUPILS.replace("Bob,tlv", "Bob,hfa")}, r"rows of pupils \(3 and 3\) differ"),
        ({"pupils_csv": PUPILS + "Dan,hfa,7\n"}, r"rows of pupils \(3 and 4\) differ"),
        (
            {
                "models_py": MODELS.replace(
                    'sa.Column("age"', 'sa.Column("grade", sa.Integer), sa.Column("age"'
                )
            },
            r"only one of them has the column pupils\.grade",
        ),
    ],
    ids=["value", "reference", "row", "column"],
)
def test_folders_that_end_in_other_databases_are_refused(
    tmp_path: Path, sqlite_url: str, file: dict[str, str], said: str
) -> None:
    one, other = school(tmp_path / "one"), school(tmp_path / "other", **file)

    with pytest.raises(Refused, match=f"do not end in equal databases: {said}; .* type --anyway"):
        seedlab.compare(one, other, target=sqlite_url, **FEW)

    found = seedlab.compare(one, other, target=sqlite_url, anyway=True, **FEW)
    assert any("do not end in equal databases" in note for note in found.notes)


@pytest.mark.slow
def test_a_reference_to_another_row_is_refused_on_postgresql_too(tmp_path: Path, lonely_url: str) -> None:
    one = school(tmp_path / "one")
    other = school(tmp_path / "other", pupils_csv=PUPILS.replace("Bob,tlv", "Bob,hfa"))

    with pytest.raises(Refused, match=r"rows of pupils \(3 and 3\) differ"):
        seedlab.compare(one, other, target=lonely_url, **FEW)

    assert left_behind(lonely_url) == []


# ---- revisions ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_revisions_are_compared_and_forgotten(repository: Path, scratch_url: str) -> None:
    found = seedlab.compare("first", "HEAD", target=scratch_url, **FEW)

    assert (found.before, found.after) == ("first", "HEAD")
    assert count_of(found, "rows created") == (5, 5)
    assert git(repository, "worktree", "list").count("\n") == 1
    assert git(repository, "status", "--porcelain", "--untracked-files=no") == ""
    assert left_behind(scratch_url) == []


@pytest.mark.slow
def test_revisions_with_other_rows_are_refused_and_forgotten(repository: Path, sqlite_url: str) -> None:
    (repository / "seeds" / "cities.csv").write_text(CITIES + "jrs,Jerusalem\n")
    git(repository, "commit", "--quiet", "--all", "--message", "three")

    with pytest.raises(Refused, match=r"first and HEAD do not end .* rows of cities \(2 and 3\) differ"):
        seedlab.compare("first", "HEAD", target=sqlite_url, **FEW)

    assert git(repository, "worktree", "list").count("\n") == 1


@pytest.mark.slow
def test_a_hook_of_the_repository_is_not_run(repository: Path, sqlite_url: str) -> None:
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {repository}/hooked\n")
    hook.chmod(0o755)

    seedlab.compare("first", "HEAD", target=sqlite_url, **FEW)

    assert not (repository / "hooked").exists()


@pytest.mark.slow  # four processes, two of which compile all of seedlab
def test_a_revision_with_a_seedlab_of_its_own_is_seeded_by_that(repository: Path, sqlite_url: str) -> None:
    shutil.copytree(PACKAGE, repository / "seedlab", ignore=shutil.ignore_patterns("__pycache__"))
    main = repository / "seedlab" / "__main__.py"
    main.write_text(f"open({str(repository / 'ran')!r}, 'a').write('x')\n{main.read_text()}")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "three")

    found = seedlab.compare("first", "HEAD", target=sqlite_url, **FEW)

    assert count_of(found, "rows created") == (5, 5)
    assert (repository / "ran").read_text() == "xx"  # the first pair, and the one that counts


@pytest.mark.slow
def test_a_revision_that_cannot_be_seeded_says_why(repository: Path, sqlite_url: str) -> None:
    shutil.copytree(PACKAGE, repository / "seedlab", ignore=shutil.ignore_patterns("__pycache__"))
    (repository / "seedlab" / "orchestrator.py").write_text("raise ImportError('not today')\n")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "three")

    with pytest.raises(SeedError, match=r"seeding revision 'HEAD' ended with exit code 1: .*not today"):
        seedlab.compare("first", "HEAD", target=sqlite_url, **FEW)


def test_a_project_that_a_revision_lacks_is_named(repository: Path, sqlite_url: str) -> None:
    git(repository, "mv", "seeds", "moved")
    git(repository, "commit", "--quiet", "--message", "three")
    os.chdir(repository / "moved")

    with pytest.raises(ConfigurationError, match="the revision 'first' has no folder moved"):
        seedlab.compare("first", "HEAD", target=sqlite_url, **FEW)

    assert git(repository, "worktree", "list").count("\n") == 1


# ---- stored runs ----------------------------------------------------------------------------------------


def test_stored_runs_are_compared_by_id_file_and_folder(tmp_path: Path, sqlite_url: str) -> None:
    folder, reports = school(tmp_path / "school"), tmp_path / "reports"
    one = seed(folder, sqlite_url)
    other = seed(folder, sqlite_url.replace("test.db", "other.db"))
    paths = [history.write(run, reports) for run in (one, other)]

    by_id = seedlab.compare(one.run_id, other.run_id, reports=reports)

    assert by_id.pairs == ((one.seconds, other.seconds),)
    assert seedlab.compare(*paths, reports=reports).pairs == by_id.pairs
    assert seedlab.compare(*(path.parent for path in paths), reports=reports).pairs == by_id.pairs
    assert seedlab.compare(one.run_id[:6], "last", reports=reports).pairs == by_id.pairs
    assert seedlab.compare(one, other).pairs == by_id.pairs


def test_stored_runs_of_other_data_are_refused(tmp_path: Path, sqlite_url: str) -> None:
    one = seed(school(tmp_path / "school"), sqlite_url)
    changed = school(tmp_path / "school", cities_csv=CITIES.replace("Haifa", "haifa"))
    other = seed(changed, sqlite_url)

    with pytest.raises(ConfigurationError, match="cannot be compared, they differ in data"):
        seedlab.compare(one, other)

    assert any(
        "not the same conditions: data" in note for note in seedlab.compare(one, other, anyway=True).notes
    )


# ---- what a name means ----------------------------------------------------------------------------------


def test_a_name_that_may_mean_two_things_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bulk").mkdir()

    with pytest.raises(
        ConfigurationError, match="'bulk' is a level and a folder; say which: level:bulk or folder:bulk"
    ):
        kind_of("bulk", "copy", tmp_path)

    assert kind_of("level:bulk", "copy", tmp_path) == "level"
    assert kind_of("./bulk", "folder:bulk", tmp_path) == "folder"


def test_names_of_two_kinds_are_told(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match="'copy' is a level and 'HEAD' is a git revision; expected two"
    ):
        kind_of("copy", "HEAD", tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bluk", r"is no run in .*, no level, no folder and no git revision here; did you mean 'bulk'\?"),
        ("revision:nowhere", "there is no git revision 'nowhere'"),
        ("--upload-pack=x", "is no run"),
    ],
)
def test_a_name_that_means_nothing_is_told(repository: Path, tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        kind_of(name, "copy", tmp_path)
