"""Which failed attempts of a run are followed by another."""

from __future__ import annotations

import pytest

from seedlab.errors import DataFaults, Fault, SeedError, TargetChanged, WriteError
from seedlab.steps.writing.retrying import MAX_ATTEMPTS, Attempts

OVERTAKEN = TargetChanged("another seed wrote to the database during this run")


def conflict() -> TargetChanged:
    error = TargetChanged("another session wrote to the same tables during this run (40001)")
    error.__cause__ = WriteError("could not serialize access", sqlstate="40001")
    return error


def fault(rule: str, line: int | None) -> DataFaults:
    return DataFaults([Fault(rule=rule, message="", table="t", line=line)])


def failed(attempts: Attempts, errors: list[TargetChanged | DataFaults]) -> SeedError | None:
    """Fail by these errors, one after the other; return what is raised at the last of them."""
    *before, last = errors
    for each in before:
        assert attempts.fail(each).endswith("; trying again")
    try:
        attempts.fail(last)
    except SeedError as error:
        return error
    return None


def test_a_run_that_other_seeds_overtake_ends_as_if_one_held_the_lock() -> None:
    error = failed(Attempts(), [OVERTAKEN] * MAX_ATTEMPTS)

    assert error is OVERTAKEN
    assert error.exit_code == 5


def test_a_run_that_may_wait_is_overtaken_as_often_as_time_allows() -> None:
    assert failed(Attempts("1h"), [OVERTAKEN] * 50) is None


def test_what_an_application_changes_ends_a_run_by_its_error_however_long_it_may_wait() -> None:
    error = failed(Attempts("1h"), [conflict()] * MAX_ATTEMPTS)

    assert isinstance(error, WriteError)
    assert error.sqlstate == "40001"


@pytest.mark.parametrize(("error", "exclusive"), [(OVERTAKEN, False), (conflict(), True)])
def test_the_last_attempt_keeps_other_writers_out_if_they_changed_rows(
    error: TargetChanged, exclusive: bool
) -> None:
    attempts = Attempts()
    found = []
    for _ in range(MAX_ATTEMPTS - 1):
        found.append(attempts.exclusive)
        attempts.fail(error)

    assert not any(found)
    assert attempts.exclusive is exclusive


@pytest.mark.parametrize(
    ("error", "again"),
    [(fault("unique", None), True), (fault("unique", 3), False), (fault("type", None), False)],
)
def test_a_unique_value_that_no_row_of_the_files_has_twice_is_tried_once_more(
    error: DataFaults, again: bool
) -> None:
    assert (failed(Attempts(), [error]) is None) is again
    if again:
        assert failed(Attempts(), [error, error]) is error
