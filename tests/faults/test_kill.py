"""A process killed at any moment of its life leaves the target as it was or as the files say.

The moments are random: by time over the whole life of a process, most of which is imports and reading; by what
it has sent to the target, so that writing is met as often; and among the last bytes, so that COMMIT is. SEEDLAB_KILL_SEED repeats them,
as far as time can be repeated.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.cutting import Cutter, nothing
from tests.faults.test_atomicity import TABLES, state
from tests.faults.test_sqlite import seed_and_kill
from tests.fix_clean import clean
from tests.support.seeding import dump, execute, seed, write
from tests.support.waiting import PATIENCE, until_left

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("SEEDLAB_KILL_SEED") or random.randrange(1 << 32))
KILLS = 7  # of each occasion on PostgreSQL, by each way: 63 in all
LAST = 40  # bytes: COMMIT, and what stands before and after it
SQLITE_KILLS = 2  # likewise: 12
CITIES, PUPILS = 300, 3000
Files = Mapping[str, str]


def files(*, later: bool) -> Files:
    """A school; later some pupils have moved, and some have come."""
    cities = "".join(f"c{n},City {n}\n" for n in range(CITIES))
    pupils = "".join(
        f"p{n}@x,c{(n + (later and n % 3 == 0)) % CITIES},p{(n + 7) % PUPILS}@x\n"
        for n in range(PUPILS + 500 * later)
    )
    return {"cities.csv": f"code,name\n{cities}", "pupils.csv": f"email,city.code,friend.email\n{pupils}"}


# What the target holds before: nothing, or the school; and what the files say.
OCCASIONS: dict[str, tuple[Files | None, Files]] = {
    "first": (None, files(later=False)),
    "changed": (files(later=False), files(later=True)),
    "unchanged": (files(later=False), files(later=False)),
}

SQLITE_TABLES = """
CREATE TABLE cities (id SERIAL KEY, code text NOT NULL UNIQUE, name text NOT NULL);
CREATE TABLE pupils (
  id SERIAL KEY, email text NOT NULL UNIQUE, city_id int NOT NULL REFERENCES cities ON DELETE CASCADE,
  friend_id int REFERENCES pupils DEFERRABLE INITIALLY DEFERRED
);
"""


@pytest.fixture(params=OCCASIONS)
def occasion(request: pytest.FixtureRequest) -> str:
    return request.param


@dataclass(frozen=True, slots=True, kw_only=True)
class School:
    """A project, and how to bring a target to where it starts from."""

    folder: Path
    before: Path | None

    def prepare(self, url: str) -> None:
        execute(url, SQLITE_TABLES if url.startswith("sqlite") else TABLES)
        if self.before is not None:
            seed(self.before, url)


@pytest.fixture
def school(tmp_path: Path, occasion: str) -> School:
    before, now = OCCASIONS[occasion]
    return School(
        folder=write(tmp_path / "school", now),
        before=write(tmp_path / "before" / "school", before) if before is not None else None,
    )


def process(school: School, url: str) -> subprocess.Popen[bytes]:
    """Seed in a process of its own."""
    command = [sys.executable, "-m", "seedlab", "seed", str(school.folder), "--database-url", url, "-q"]
    return subprocess.Popen([*command, "--reports", str(school.folder.parent / "reports")])


def kill(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGKILL)
    child.wait(PATIENCE)


def kill_after(child: subprocess.Popen[bytes], seconds: float) -> int:
    """Kill at a moment of its life; answers its exit code, 0 if it was done by then."""
    with suppress(subprocess.TimeoutExpired):
        return child.wait(seconds)
    kill(child)
    return child.returncode


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """An undisturbed run: how long it lasted, how much it sent, what was in the target at both ends."""

    seconds: float
    sent: int
    ends: tuple[Any, Any]


def ended(whole: Life, found: Any) -> str:
    """Tell which end was found; of equal ends, that it is one of them."""
    before, after = whole.ends
    assert found in (before, after)
    return "same" if before == after else "before" if found == before else "after"


# ---- PostgreSQL -----------------------------------------------------------------------------------------


def fresh(school: School, url: str) -> None:
    clean(url)
    school.prepare(url)


def life_of(school: School, url: str) -> Life:
    fresh(school, url)
    before = state(url)
    with Cutter(url, 1 << 40, nothing) as line:
        begun = time.monotonic()
        assert process(school, line.url).wait(PATIENCE) == 0
        seconds, sent = time.monotonic() - begun, line.passed
    return Life(seconds=seconds, sent=sent, ends=(before, state(url)))


def killed_by_time(school: School, url: str, whole: Life, share: float) -> int:
    return kill_after(process(school, url), whole.seconds * share)


def killed_by_bytes(school: School, url: str, whole: Life, share: float) -> int:
    return _killed_at(school, url, 1 + int((whole.sent - 1) * share))


def killed_around_commit(school: School, url: str, whole: Life, share: float) -> int:
    return _killed_at(school, url, whole.sent - int(LAST * share))


def _killed_at(school: School, url: str, sent: int) -> int:
    children: list[subprocess.Popen[bytes]] = []

    def act() -> None:
        kill(children[0])
        raise Cutter.Cut

    with Cutter(url, sent, act) as line:
        children.append(process(school, line.url))
        return children[0].wait(PATIENCE)


Way = Callable[[School, str, Life, float], int]


@pytest.mark.parametrize("way", [killed_by_time, killed_by_bytes, killed_around_commit])
def test_a_process_killed_at_any_moment_leaves_all_or_nothing(
    school: School, clean_postgres_url: str, occasion: str, way: Way
) -> None:
    url = clean_postgres_url
    whole = life_of(school, url)
    chance = random.Random(f"{SEED} postgresql {occasion} {way.__name__}")
    codes = []

    for _ in range(KILLS):
        fresh(school, url)
        share = chance.random()
        code = way(school, url, whole, share)
        until_left(url)
        end = ended(whole, state(url))
        codes.append(code)
        print(f"seed {SEED}, {occasion}, {way.__name__} {share:.4f} of {whole.seconds:.2f} s: {code}, {end}")
        assert code in (-signal.SIGKILL, 0)
        assert code or end != "before"
        seed(school.folder, url)
        assert state(url) == whole.ends[1]

    assert -signal.SIGKILL in codes  # by time, some may have been done before their moment


# ---- SQLite ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["time", "statements"])
def test_a_process_killed_at_any_moment_leaves_the_file_whole(
    school: School, tmp_path: Path, occasion: str, way: str
) -> None:
    elsewhere = f"sqlite:///{tmp_path}/elsewhere.db"
    school.prepare(elsewhere)
    before, begun = dump(elsewhere), time.monotonic()
    statements = int(seed_and_kill(school.folder, elsewhere, "incremental", 0).stdout)
    whole = Life(seconds=time.monotonic() - begun, sent=statements, ends=(before, dump(elsewhere)))
    chance = random.Random(f"{SEED} sqlite {occasion} {way}")

    for number in range(SQLITE_KILLS):
        url = f"sqlite:///{tmp_path}/{number}.db"
        school.prepare(url)
        share = chance.random()
        if way == "time":
            code = kill_after(process(school, url), whole.seconds * share)
        else:
            statement = 1 + int(statements * share)
            code = seed_and_kill(school.folder, url, "incremental", statement).returncode
        end = ended(whole, dump(url))
        print(f"seed {SEED}, {occasion}, {way} {share:.4f} of {whole.seconds:.2f} s: {code}, {end}")
        assert code in (-signal.SIGKILL, 0)
        assert code or end != "before"
        seed(school.folder, url)
        assert dump(url) == whole.ends[1]
