"""The pytest plugin: a seeded database of its own for each test that asks, and a limit to what it may send.

Light: nothing of seedlab is imported before a test uses a fixture of ours.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from seedlab.experiment.clones import Asked
    from seedlab.experiment.testing import Database, Loan, Workshop

_FIXTURE = "seedlab_database"
_VARIABLE = "SEEDLAB_DATABASE_URL"
_WORDS = ("project", "environment")
_workshop: pytest.StashKey[Workshop] = pytest.StashKey()
_loan: pytest.StashKey[Loan] = pytest.StashKey()
_keeping = pytest.StashKey[bool]()
_left = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the settings of a project's tests."""
    parser.addini("seedlab_project", "folder of the seedlab project, from the root directory")
    parser.addini("seedlab_environment", "environment that seedlab seeds for tests (default: test)")
    parser.addini("seedlab_target", "target of the seedlab project beside which databases for tests are made")
    parser.getgroup("seedlab").addoption(
        "--seedlab-keep", action="store_true", help="keep the database of each test that fails"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    config.addinivalue_line(
        "markers", "seedlab(project=…, environment=…): what the test's seedlab_database is a copy of"
    )
    config.addinivalue_line(
        "markers", "max_statements(n): fail if the test sends more statements to its seedlab_database"
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Count the tests that want a database: no more are made ahead."""
    wanted = sum(_FIXTURE in getattr(item, "fixturenames", ()) for item in session.items)
    session.config.stash[_left] = wanted


def pytest_unconfigure(config: pytest.Config) -> None:
    """Drop all databases that are left."""
    if (workshop := config.stash.get(_workshop, None)) is not None:
        del config.stash[_workshop]
        workshop.close()


@pytest.fixture
def seedlab_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Give a seeded database of the test's own, with `url`, `name`, `connect()`; it is dropped afterwards."""
    loan = _lent(request)
    if isinstance(loan, str):  # why there is none; told here, where no other error stands behind it
        pytest.fail(loan, pytrace=False)
    request.node.stash[_loan] = loan
    yield loan.database
    if request.node.stash.get(_keeping, False):
        loan.keep()
    else:
        loan.give_back()


@pytest.fixture
def seedlab_url(seedlab_database: Database) -> str:
    """Give the URL of the test's own seeded database."""
    return seedlab_database.url


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail a test that sends more statements than its `max_statements` marker allows."""
    marker = item.get_closest_marker("max_statements")
    if marker is None:
        return (yield)
    most = _limit(marker)
    loan = item.stash.get(_loan, None)
    if loan is None or loan.statements is None:
        pytest.fail(
            "max_statements counts what is sent to seedlab_database, and the test asks for none; "
            "let it take seedlab_database or seedlab_url",
            pytrace=False,
        )
    loan.statements.clear()  # of fixtures
    result = yield
    from seedlab.experiment.testing import too_many

    if (told := too_many(loan.statements, most)) is not None:
        pytest.fail(told, pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the database of a test that failed, if that is asked for, and say where it is."""
    report = yield
    loan = item.stash.get(_loan, None)
    if loan is not None and call.when == "call" and report.failed and item.config.getoption("seedlab_keep"):
        item.stash[_keeping] = True  # when all that uses it is done
        report.sections.append(("seedlab database, kept", loan.kept_as))
    return report


# ---- what a test asks for -------------------------------------------------------------------------------


def _lent(request: pytest.FixtureRequest) -> Loan | str:
    """Borrow a database, or say why there is none."""
    from seedlab.experiment.testing import CannotLend

    stash = request.config.stash
    stash[_left] = left = max(stash.get(_left, 0) - 1, 0)
    counted = request.node.get_closest_marker("max_statements") is not None
    asked = _asked(request)
    try:
        return _opened(request.config).lend(asked, counted=counted, wanted=left)
    except CannotLend as error:
        return str(error)


def _opened(config: pytest.Config) -> Workshop:
    """The session's workshop; it opens with the first test that needs it."""
    from seedlab.experiment.testing import Workshop

    return config.stash.setdefault(_workshop, Workshop())


def _asked(request: pytest.FixtureRequest) -> Asked:
    """What the markers say, the nearest first, then the settings."""
    from seedlab.experiment.clones import Asked

    config = request.config
    said: dict[str, str] = {}
    for marker in request.node.iter_markers("seedlab"):
        unknown = [*map(repr, marker.args), *(name for name in marker.kwargs if name not in _WORDS)]
        if unknown:
            pytest.fail(f"seedlab({unknown[0]}): expected project=… or environment=…", pytrace=False)
        said = {**marker.kwargs, **said}
    project = said.get("project") or config.getini("seedlab_project")
    return Asked(
        directory=config.rootpath / project if project else None,
        start=Path(config.rootpath),
        # A variable overrides what a file says, as everywhere.
        target=None if os.environ.get(_VARIABLE) else config.getini("seedlab_target") or None,
        environment=said.get("environment") or config.getini("seedlab_environment") or None,
    )


def _limit(marker: pytest.Mark) -> int:
    """Read the number of max_statements(n)."""
    given = [*marker.args, *marker.kwargs.values()]
    if len(given) != 1 or isinstance(given[0], bool) or not isinstance(given[0], int) or given[0] < 0:
        pytest.fail(f"max_statements: expected one number of statements, found {given}", pytrace=False)
    return int(given[0])
