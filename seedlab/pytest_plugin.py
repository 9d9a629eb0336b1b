"""The pytest plugin: a fixture with a seeded database for each test, and a limit on a test's statements.

Every pytest session of the user's environment loads this module, so it imports nothing else of seedlab before
a test uses one of its fixtures.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from seedlab.experiment.clones import SnapshotRequest
    from seedlab.experiment.testing import ClonePools, Database, LentClone

_FIXTURE = "seedlab_database"
_VARIABLE = "SEEDLAB_DATABASE_URL"
_ARGUMENTS = ("project", "environment")
_pools: pytest.StashKey[ClonePools] = pytest.StashKey()
_loan: pytest.StashKey[LentClone] = pytest.StashKey()
_keeping = pytest.StashKey[bool]()
_remaining = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's settings and its option."""
    parser.addini("seedlab_project", "folder of the seedlab project, from the root directory")
    parser.addini("seedlab_environment", "environment that seedlab seeds for tests (default: test)")
    parser.addini("seedlab_target", "target of the seedlab project beside which databases for tests are made")
    parser.getgroup("seedlab").addoption(
        "--seedlab-keep", action="store_true", help="keep the database of each test that fails"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin's markers."""
    config.addinivalue_line(
        "markers", "seedlab(project=…, environment=…): what the test's seedlab_database is a copy of"
    )
    config.addinivalue_line(
        "markers", "max_statements(n): fail if the test sends more statements to its seedlab_database"
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Count the tests that use a database, so that no more are created in advance."""
    wanted = sum(_FIXTURE in getattr(item, "fixturenames", ()) for item in session.items)
    session.config.stash[_remaining] = wanted


def pytest_unconfigure(config: pytest.Config) -> None:
    """Drop all remaining databases."""
    if (pools := config.stash.get(_pools, None)) is not None:
        del config.stash[_pools]
        pools.close()


@pytest.fixture
def seedlab_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Provide a seeded database of the test's own, with `url`, `name` and `connect()`; dropped afterwards."""
    loan = _lend(request)
    if isinstance(loan, str):  # fails here, and not where the exception was, to show no traceback of ours
        pytest.fail(loan, pytrace=False)
    request.node.stash[_loan] = loan
    yield loan.database
    if request.node.stash.get(_keeping, False):
        loan.keep()
    else:
        loan.give_back()


@pytest.fixture
def seedlab_url(seedlab_database: Database) -> str:
    """Provide the URL of the test's own seeded database."""
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
    loan.statements.clear()  # forgets those of the fixtures
    result = yield
    from seedlab.experiment.testing import too_many

    if (message := too_many(loan.statements, most)) is not None:
        pytest.fail(message, pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With `--seedlab-keep`, keep the database of a failed test, and report where it is."""
    report = yield
    loan = item.stash.get(_loan, None)
    if loan is not None and call.when == "call" and report.failed and item.config.getoption("seedlab_keep"):
        item.stash[_keeping] = True  # the fixture keeps it once all fixtures that use it are finalised
        report.sections.append(("seedlab database, kept", loan.kept_as))
    return report


# ---- requests -------------------------------------------------------------------------------------------


def _lend(request: pytest.FixtureRequest) -> LentClone | str:
    """Return a database for the test, or the reason why there is none."""
    from seedlab.experiment.testing import NoDatabase

    stash = request.config.stash
    stash[_remaining] = remaining = max(stash.get(_remaining, 0) - 1, 0)
    counted = request.node.get_closest_marker("max_statements") is not None
    snapshot = _snapshot_request(request)
    try:
        return _session_pools(request.config).lend(snapshot, counted=counted, wanted=remaining)
    except NoDatabase as error:
        return str(error)


def _session_pools(config: pytest.Config) -> ClonePools:
    """Return the session's pools, which are created for the first test that needs them."""
    from seedlab.experiment.testing import ClonePools

    return config.stash.setdefault(_pools, ClonePools())


def _snapshot_request(request: pytest.FixtureRequest) -> SnapshotRequest:
    """Return what the test's markers request, the nearest first, and for the rest what the settings do."""
    from seedlab.experiment.clones import SnapshotRequest

    config = request.config
    marked: dict[str, str] = {}
    for marker in request.node.iter_markers("seedlab"):
        unknown = [
            *map(repr, marker.args),
            *(name for name in marker.kwargs if name not in _ARGUMENTS),
        ]
        if unknown:
            pytest.fail(f"seedlab({unknown[0]}): expected project=… or environment=…", pytrace=False)
        marked = {**marker.kwargs, **marked}
    project = marked.get("project") or config.getini("seedlab_project")
    return SnapshotRequest(
        directory=config.rootpath / project if project else None,
        start=Path(config.rootpath),
        # As everywhere, an environment variable overrides a setting in a file.
        target=None if os.environ.get(_VARIABLE) else config.getini("seedlab_target") or None,
        environment=marked.get("environment") or config.getini("seedlab_environment") or None,
    )


def _limit(marker: pytest.Mark) -> int:
    """Return the n of max_statements(n)."""
    values = [*marker.args, *marker.kwargs.values()]
    if len(values) != 1 or isinstance(values[0], bool) or not isinstance(values[0], int) or values[0] < 0:
        pytest.fail(f"max_statements: expected one number of statements, found {values}", pytrace=False)
    return int(values[0])
