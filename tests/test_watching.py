"""A project is seeded again when a file of it was saved, whole, and not otherwise."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from seedlab.cli import watching
from seedlab.cli.watching import TICK, Folder, Saved, Stamps, changes, heading, saves, watch
from seedlab.plan.project import load_project
from tests.support.school import FILES, SEED, STAGE, TABLES
from tests.support.seeding import execute, rows_of, write
from tests.support.waiting import PATIENCE, until

A, B, C = (1, 10, 7), (2, 10, 7), (3, 10, 7)  # stamps
CONFIG = (
    STAGE.format("core") + SEED.format("cities", "cities.csv") + SEED.format("pupils", "pupils/*.csv")
    + 'table = "pupils"\n'
)  # fmt: skip


@pytest.fixture
def school(tmp_path: Path) -> Path:
    files = {"seedlab.toml": CONFIG, "cities.csv": FILES["cities.csv"], "pupils/1.csv": FILES["pupils.csv"]}
    return write(tmp_path / "school", files)


# ---- what differs between two looks ---------------------------------------------------------------------


def test_what_differs_is_changed_added_or_removed() -> None:
    assert changes({"same": A, "moved": A, "gone": A}, {"same": A, "moved": B, "here": A}) == (
        Saved(name="gone", what="removed"),
        Saved(name="here", what="added"),
        Saved(name="moved", what="changed"),
    )


@pytest.mark.parametrize("stamp", [(9, 10, 7), (1, 9, 7), (1, 10, 9)])
def test_time_size_and_inode_each_tell_a_change(stamp: watching.Stamp) -> None:
    assert changes({"a": A}, {"a": stamp}) == (Saved(name="a", what="changed"),)


def test_a_heading_says_when_what_was_saved_and_counts_what_is_too_much() -> None:
    saved = [Saved(name=f"{n}.csv", what="changed") for n in range(5)]
    saved += [Saved(name="new.csv", what="added"), Saved(name="עיר.csv", what="removed")]

    assert heading(saved, lambda: time.struct_time((2026, 11, 23, 14, 3, 7, 0, 0, 0))) == (
        "14:03:07  0.csv, 1.csv, 2.csv and 2 more changed, new.csv added, עיר.csv\u200e removed"
    )
    assert heading([]) == ""


def test_a_name_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in heading([Saved(name="\x1b[2J.csv", what="added")])


# ---- which files are looked at --------------------------------------------------------------------------


def test_data_configuration_and_python_are_looked_at_and_nothing_else(school: Path) -> None:
    write(
        school,
        {
            "models.py": "", "pupils/4.csv": "", "note.txt": "", "pupils/1.csv~": "", ".hidden/x.csv": "",
            "reports/runs/1/run.json": "", "venv/pyvenv.cfg": "", "venv/lib/x.py": "", "__pycache__/m.py": "",
        },
    )  # fmt: skip

    seen = Folder(load_project(school), school / "reports").look()

    assert sorted(seen) == ["cities.csv", "models.py", "pupils/1.csv", "pupils/4.csv", "seedlab.toml"]


def test_a_file_that_only_the_project_knows_of_is_looked_at(school: Path) -> None:
    write(school, {".cities.csv": "", "seedlab.toml": CONFIG.replace("cities.csv", ".cities.csv")})

    assert ".cities.csv" in Folder(load_project(school), "reports").look()


def test_a_saved_file_concerns_the_project_if_it_is_of_it_before_or_after(school: Path) -> None:
    folder = Folder(load_project(school), "reports")
    write(school, {"pupils/2.csv": "", "other.csv": "", "helper.py": ""})
    names = ["pupils/1.csv", "pupils/2.csv", "other.csv", "helper.py", "cities.csv"]

    concerning = folder.concerning([Saved(name=name, what="changed") for name in names])
    (school / "pupils/1.csv").unlink()
    removed = folder.concerning([Saved(name="pupils/1.csv", what="removed")])
    removed_again = folder.concerning([Saved(name="pupils/1.csv", what="removed")])

    assert [each.name for each in concerning] == ["pupils/1.csv", "pupils/2.csv", "helper.py", "cities.csv"]
    assert (len(removed), len(removed_again)) == (1, 0)


def test_all_that_was_saved_concerns_a_project_that_cannot_be_understood(school: Path) -> None:
    folder = Folder(load_project(school), "reports")
    (school / "cities.csv").unlink()
    saved = (Saved(name="cities.csv", what="removed"), Saved(name="other.csv", what="added"))

    assert folder.concerning(saved) == saved


# ---- when files count as saved --------------------------------------------------------------------------


class Days:
    """Looks that go through given stamps, one for each tick, and then are interrupted."""

    def __init__(self, *days: Stamps) -> None:
        self.days = list(days)
        self.slept: list[float] = []

    def look(self) -> Stamps:
        return self.days[0]

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.days.pop(0)
        if not self.days:
            raise KeyboardInterrupt

    def saves(self) -> list[list[str]]:
        """Names that were given, until interrupted."""
        given: list[list[str]] = []
        with suppress(KeyboardInterrupt):
            for saved in saves(self.look, self.sleep):
                given.append([each.name for each in saved])
        return given


def test_the_beginning_comes_without_waiting() -> None:
    days = Days({})

    assert next(saves(days.look, days.sleep)) == ()
    assert days.slept == []


def test_what_stays_the_same_is_not_given() -> None:
    days = Days({"a": A}, {"a": A}, {"a": A})

    assert days.saves() == [[]]
    assert set(days.slept) == {TICK}


def test_what_was_saved_is_given_once_it_stays_the_same_for_a_tick() -> None:
    assert Days({"a": A}, {"a": B}).saves() == [[]]
    assert Days({"a": A}, {"a": B}, {"a": B}).saves() == [[], ["a"]]
    assert Days({"a": A}, {"a": B}, {"a": B}, {"a": B}, {"a": B}).saves() == [[], ["a"]]


def test_a_file_that_is_still_being_written_is_waited_for() -> None:
    assert Days({"a": A}, {"a": B}, {"a": C}, {"a": (4, 1, 1)}).saves() == [[]]
    assert Days({"a": A}, {"a": B}, {"a": C}, {"a": C}).saves() == [[], ["a"]]


def test_files_saved_one_after_the_other_are_given_together() -> None:
    assert Days({}, {"a": A}, {"a": A, "b": A}, {"a": A, "b": A}).saves() == [[], ["a", "b"]]


def test_a_file_removed_and_put_back_as_editors_do_is_given_as_changed() -> None:
    days = Days({"a": A}, {}, {"a": B}, {"a": B})

    next(given := saves(days.look, days.sleep))

    assert next(given) == (Saved(name="a", what="changed"),)


def test_what_comes_back_to_what_it_was_is_not_given() -> None:
    assert Days({"a": A}, {}, {"a": A}, {"a": A}, {"a": A}).saves() == [[]]


def test_what_is_saved_while_the_taker_is_at_work_is_given_next() -> None:
    days = Days({"a": A}, {"a": C}, {"a": C})
    given = saves(days.look, days.sleep)

    next(given)
    days.days[0] = {"a": B}

    assert [each.name for each in next(given)] == ["a"]


# ---- runs and exit codes --------------------------------------------------------------------------------


class Runs:
    """Runs that end in given codes; before each tick but the last, a file is saved."""

    def __init__(self, school: Path, *codes: int, save: str = "cities.csv") -> None:
        self.school = school
        self.codes = list(codes)
        self.save = save
        self.seen: list[list[str]] = []
        self.begun = 0
        self.ticks = 0

    def run(self, saved: tuple[Saved, ...]) -> int:
        self.seen.append([each.name for each in saved])
        return self.codes.pop(0)

    def begin(self) -> None:
        self.begun += 1

    def sleep(self, _: float) -> None:
        if not self.codes or self.ticks > 10:
            raise KeyboardInterrupt
        if self.ticks % 2 == 0:
            with (self.school / self.save).open("a") as file:
                file.write("\n")
        self.ticks += 1

    def watch(self) -> int:
        folder = Folder(load_project(self.school), "reports")
        return watch(folder, self.run, self.begin, self.sleep)


def test_an_interrupt_between_runs_ends_it_with_the_code_of_the_last_run(school: Path) -> None:
    runs = Runs(school, 0, 3)

    assert runs.watch() == 3
    assert runs.seen == [[], ["cities.csv"]]
    assert runs.begun == 1


def test_it_goes_on_after_every_kind_of_failure(school: Path) -> None:
    runs = Runs(school, 3, 2, 1, 4, 5, 0)

    assert runs.watch() == 0
    assert len(runs.seen) == 6


def test_an_interrupt_during_a_run_ends_it(school: Path) -> None:
    assert Runs(school, 0, 130, 0).watch() == 130


@pytest.mark.parametrize("code", [1, 4, 5, 130])
def test_a_first_run_that_no_saving_would_mend_ends_it(school: Path, code: int) -> None:
    runs = Runs(school, code, 0)

    assert runs.watch() == code
    assert (runs.seen, runs.begun) == ([[]], 0)


def test_a_file_that_is_not_of_the_project_starts_no_run(school: Path) -> None:
    runs = Runs(school, 0, 0, save="other.csv")

    assert runs.watch() == 0
    assert runs.seen == [[]]


# ---- a real process -------------------------------------------------------------------------------------
# The handler is set anew: a shell that starts the tests in the background lets them ignore Ctrl-C.

CHILD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from seedlab.cli import main
sys.exit(main(sys.argv[1:]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """`seedlab seed --watch` in a process of its own, and the files that it writes to."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text("utf-8")

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text("utf-8")

    def until(self, met: Callable[[], bool]) -> None:
        """Wait until it is so."""

        def met_alive() -> bool:
            assert self.process.poll() is None, self.err
            return met()

        until(met_alive, lambda: self.out + self.err)

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)


Start = Callable[..., Watcher]


@pytest.fixture
def start(school: Path, tmp_path: Path) -> Iterator[Start]:
    """Start watching the school, and wait until the first run is done."""
    started: list[subprocess.Popen[bytes]] = []
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SEEDLAB_")}

    def begin(url: str, *flags: str, ready: str = "watching school") -> Watcher:
        command = [sys.executable, "-c", CHILD, "seed", str(school), "--watch", "--database-url", url, *flags]
        with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
            started.append(
                subprocess.Popen(
                    [*command, "--reports", str(tmp_path / "reports")], stdout=out, stderr=err, env=environ
                )
            )
        watcher = Watcher(process=started[-1], folder=tmp_path)
        watcher.until(lambda: ready in watcher.out + watcher.err)
        return watcher

    yield begin
    for process in started:
        process.kill()
        process.wait()


PUPILS = "SELECT pupils.name, age FROM pupils ORDER BY 1"


@pytest.mark.slow
def test_a_saved_file_is_seeded_and_told_in_a_line(
    school: Path, clean_database_url: str, start: Start
) -> None:
    execute(clean_database_url, TABLES)
    watcher = start(clean_database_url)
    summary = watcher.out

    write(school, {"pupils/1.csv": FILES["pupils.csv"].replace("Ada,hfa,9", "Ada,hfa,10")})
    watcher.until(lambda: "pupils/1.csv changed" in watcher.out)
    write(school, {"pupils/2.csv": "name,city.code,age\nDan,tlv,7\n"})
    watcher.until(lambda: "pupils/2.csv added" in watcher.out)
    code = watcher.interrupt()

    first, second = watcher.out.removeprefix(summary).splitlines()
    assert "5 created" in summary
    assert first[8:].startswith("  pupils/1.csv changed: 1 updated, 4 unchanged in ")
    assert second[8:].startswith("  pupils/2.csv added: 1 created, 5 unchanged in ")
    assert rows_of(clean_database_url, PUPILS) == [("Ada", 10), ("Bob", None), ("Cid", 11), ("Dan", 7)]
    assert (code, watcher.err.count("record:"), "interrupted" in watcher.err) == (0, 1, False)
    assert len(list((watcher.folder / "reports/runs").iterdir())) == 3


@pytest.mark.slow
def test_a_file_that_breaks_is_told_and_one_that_mends_it_is_seeded(
    school: Path, sqlite_url: str, start: Start
) -> None:
    execute(sqlite_url, TABLES)
    watcher = start(sqlite_url)

    write(school, {"pupils/1.csv": "name,city.code,age\nAda,nowhere,9\n"})
    watcher.until(lambda: "nothing was written" in watcher.err)
    broken = rows_of(sqlite_url, "SELECT count(*) FROM pupils")
    write(school, {"seedlab.toml": CONFIG.replace("[[stages.seeds]]", "[[stages.seed]]")})
    watcher.until(lambda: "unknown key 'seed'" in watcher.err)
    write(school, {"seedlab.toml": CONFIG, "pupils/1.csv": FILES["pupils.csv"].replace("Ada", "Eve")})
    watcher.until(lambda: "created" in watcher.out.splitlines()[-1])

    assert broken == [(3,)]
    assert "pupils/1.csv changed:\npupils/1.csv:2: missing-parent" in watcher.err
    assert "1 created, 4 unchanged" in watcher.out
    assert rows_of(sqlite_url, PUPILS) == [("Ada", 9), ("Bob", None), ("Cid", 11), ("Eve", 9)]
    assert watcher.interrupt() == 0


@pytest.mark.slow
def test_ctrl_c_after_a_run_with_faults_ends_with_its_code(
    school: Path, sqlite_url: str, start: Start
) -> None:
    execute(sqlite_url, TABLES)
    write(school, {"pupils/1.csv": "name,city.code,age\nAda,nowhere,9\n"})

    watcher = start(sqlite_url)

    assert watcher.interrupt() == 3


@pytest.mark.slow
def test_json_is_a_line_for_each_run_also_for_one_that_failed(
    school: Path, sqlite_url: str, start: Start
) -> None:
    execute(sqlite_url, TABLES)
    watcher = start(sqlite_url, "--json", "-q", ready="\n")

    for text, lines in (("city.code,name\n", 2), (FILES["pupils.csv"], 3)):
        write(school, {"pupils/1.csv": text})
        watcher.until(lambda lines=lines: watcher.out.count("\n") == lines)  # type: ignore[misc]
    watcher.interrupt()

    records = [json.loads(line) for line in watcher.out.splitlines()]
    assert [(each["exit_code"], each["outcomes"]["unchanged"]) for each in records] == [
        (0, 0),
        (0, 2),
        (0, 5),
    ]


def test_a_target_that_does_not_answer_ends_it_at_once(school: Path, start: Start) -> None:
    url = "postgresql://me@127.0.0.1:1/school"

    watcher = start(url, ready="✗")

    assert watcher.process.wait(PATIENCE) == 1
    assert "watching" not in watcher.err


def test_a_project_that_is_not_there_ends_it_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "seedlab", "seed", str(tmp_path / "nowhere"), "--watch"]

    assert subprocess.run(command, check=False, capture_output=True, timeout=PATIENCE).returncode == 2
