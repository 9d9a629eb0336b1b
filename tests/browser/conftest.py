"""The browser of the tests in this folder: `browser` for the session, `open_page` for pages that a test opens."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.browser.chromium import Browser, Page, find_chromium
from tests.fix_system import missing


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium that reaches nothing but this machine."""
    program = find_chromium()
    if program is None:
        missing("needs a browser: install the package chromium")
    with Browser(program, tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages, as `Browser.open` does; they are closed after the test."""
    opened: list[Page] = []

    def open_page(url: str, **how: object) -> Page:
        opened.append(browser.open(url, **how))  # type: ignore[arg-type]
        return opened[-1]

    yield open_page
    for page in opened:
        page.close()
