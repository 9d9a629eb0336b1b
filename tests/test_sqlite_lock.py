"""The file that keeps seeders of one SQLite database apart, and names the one that writes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from seedlab.database.lock_holder import this_process
from seedlab.database.sqlite.lock import SideLock


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "school.db"
    path.write_bytes(b"")
    return path


@pytest.fixture
def locks(database: Path) -> Iterator[tuple[SideLock, SideLock]]:
    """Two sessions' locks of one database."""
    made = SideLock(str(database)), SideLock(str(database))
    yield made
    for each in made:
        each.release()


def test_the_lock_lies_beside_the_database_and_names_its_holder(locks: tuple[SideLock, SideLock]) -> None:
    assert locks[0].take(0) is None

    pid, host = this_process()
    said = json.loads(Path(f"{locks[0].path.parent}/school.db.seedlab-lock").read_text())
    assert (said["pid"], said["host"]) == (pid, host)
    assert said.keys() == {"pid", "host", "started"}


def test_a_second_one_is_told_who_has_it(locks: tuple[SideLock, SideLock]) -> None:
    locks[0].take(0)

    holder = locks[1].take(0)

    assert holder is not None
    assert (holder.pid, holder.host) == this_process()
    assert len(holder.since) == len("2026-11-25 13:48:01")


def test_who_waits_in_vain_is_told_who_has_it(locks: tuple[SideLock, SideLock]) -> None:
    locks[0].take(0)

    holder = locks[1].take(50)

    assert holder is not None
    assert holder.pid == os.getpid()


def test_what_is_released_is_free_and_leaves_no_file(locks: tuple[SideLock, SideLock]) -> None:
    locks[0].take(0)
    locks[0].release()
    locks[0].release()

    assert not locks[0].path.exists()
    assert locks[1].take(0) is None


def test_the_one_who_has_it_does_not_lose_it_by_others_who_try(locks: tuple[SideLock, SideLock]) -> None:
    locks[0].take(0)
    locks[1].take(0)
    locks[1].release()

    assert locks[0].path.exists()
    assert locks[1].take(0) is not None


@pytest.mark.parametrize("left", [b"", b"{", b'{"pid": 1, "host": "gone", "started": "long ago"}', b"[]"])
def test_what_a_dead_holder_left_is_taken_over(locks: tuple[SideLock, SideLock], left: bytes) -> None:
    locks[0].path.write_bytes(left)

    assert locks[0].take(0) is None

    holder = locks[1].take(0)
    assert holder is not None
    assert holder.pid == os.getpid()


@pytest.mark.slow
@pytest.mark.parametrize("said", [b"", b"{", b"[]", b'{"pid": 1}'])
def test_a_holder_that_does_not_say_who_it_is_holds_it_all_the_same(
    locks: tuple[SideLock, SideLock], said: bytes
) -> None:
    locks[0].take(0)
    locks[0].path.write_bytes(said)

    holder = locks[1].take(0)

    assert holder is not None
    assert holder.pid is None


def test_a_lock_file_that_somebody_deleted_is_not_the_lock_any_more(
    locks: tuple[SideLock, SideLock],
) -> None:
    locks[0].take(0)
    locks[0].path.unlink()

    assert locks[1].take(0) is None
    locks[0].release()

    assert locks[1].path.exists()


def test_links_to_one_database_share_its_lock(database: Path, locks: tuple[SideLock, SideLock]) -> None:
    link = database.with_name("link.db")
    link.symlink_to(database)
    locks[0].take(0)

    assert SideLock(str(link)).take(0) is not None


def test_where_no_file_can_be_made_there_is_no_lock(locks: tuple[SideLock, SideLock]) -> None:
    locks[0].path.mkdir()

    assert locks[0].take(0) is None
    locks[0].release()

    assert locks[0].path.is_dir()


def test_a_link_in_the_place_of_the_lock_is_not_followed(
    locks: tuple[SideLock, SideLock], tmp_path: Path
) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("to my aunt")
    locks[0].path.symlink_to(letter)

    assert locks[0].take(0) is None
    assert letter.read_text() == "to my aunt"
