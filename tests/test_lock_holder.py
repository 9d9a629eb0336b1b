"""Who holds a target's lock says so in its connection's name, and is named in a sentence."""

from __future__ import annotations

import os
import platform

import pytest

from seedlab.database.lock_holder import Holder, label_of, lock_held_message, read_label, this_process


def read(label: str) -> Holder:
    return read_label(label, server_pid=815, host="10.0.0.5", since="2026-11-25 13:48:01")


def test_a_label_names_project_process_and_host() -> None:
    assert label_of("school").startswith(f"seedlab school {os.getpid()}@{platform.node()[:20]}")


def test_what_a_label_says_is_read_again() -> None:
    pid, host = this_process()

    found = read(label_of("my school 7@8"))

    assert (found.pid, found.host, found.project) == (pid, host[: 40 - len(f"{pid}@")], "my school 7@8")
    assert (found.server_pid, found.since) == (815, "2026-11-25 13:48:01")


@pytest.mark.parametrize("project", ["p" * 200, "בית ספר" * 30, "a\nb\tc", "x"])
@pytest.mark.parametrize("host", ["h", "host." * 40, "ho st", "מחשב"])
def test_a_label_is_what_the_server_keeps_and_never_loses_the_process(
    project: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((system[0], host, *system[2:])))

    label = label_of(project)

    assert len(label.encode()) <= 63
    assert label.isascii()
    assert label.isprintable()
    assert read(label).pid == os.getpid()


def test_a_connection_that_calls_itself_otherwise_is_known_by_its_server_process() -> None:
    assert str(read("psql")) == "psql (server process 815), since 2026-11-25 13:48:01 UTC"
    assert str(read("")) == "server process 815, since 2026-11-25 13:48:01 UTC"


def test_a_holder_is_named_with_all_that_is_known_of_it() -> None:
    holder = Holder(pid=7, host="build", since="2026-11-25 13:48:01", project="school", server_pid=815)

    assert str(holder) == (
        "process 7 on build (project school, server process 815), since 2026-11-25 13:48:01 UTC"
    )
    assert str(Holder(pid=7, host="build")) == "process 7 on build"
    assert str(Holder()) == "an unknown process"


@pytest.mark.parametrize("wait", [None, "0", "0s"])
def test_who_did_not_wait_is_told_how_to(wait: str | None) -> None:
    assert lock_held_message(Holder(pid=7, host="build"), wait) == (
        "another seed is running: process 7 on build; --wait 30s waits for it"
    )


def test_another_program_that_holds_the_lock_is_not_taken_for_a_seed() -> None:
    assert lock_held_message(read("psql"), None) == (
        "another program, which is no seed, holds the lock of seeds: psql (server process 815), "
        "since 2026-11-25 13:48:01 UTC; --wait 30s waits for it"
    )


def test_who_waited_in_vain_is_told_how_long() -> None:
    assert lock_held_message(Holder(pid=7, host="build"), "30s").endswith("process 7 on build; waited 30s")


def test_a_holder_that_has_just_ended_is_no_mystery() -> None:
    assert "it has just ended, run again" in lock_held_message(None, None)
