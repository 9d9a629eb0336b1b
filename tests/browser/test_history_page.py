"""The page of a history in a real browser, offline: it complains of nothing, asks for nothing, and can be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from seedlab.insight.notebooks.run_history import read_history
from seedlab.insight.pages.history_page import history_fragment, history_page
from tests.browser.chromium import Page
from tests.support.histories import EVIL, HEBREW, run_of, written

OpenPage = Callable[..., Page]
CLOSED = "document.querySelectorAll('details:not([open])').length"
LUMINANCE = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"


@pytest.fixture
def page_file(tmp_path: Path) -> Path:
    """The page of 40 runs: slow ones, failed ones, Hebrew and hostile names, a second machine."""
    runs = [run_of(number, 1 + number % 7 / 50) for number in range(30)]
    machine = {**run_of().machine, "cpu": "Intel Xeon"}
    runs += [
        run_of(30, 1.9), run_of(31, kind=None), run_of(32, 8.0), run_of(24 * 20, kind="again"),
        run_of(24 * 20 + 1, project=HEBREW), run_of(24 * 20 + 2, project=EVIL, error=EVIL, notes=(EVIL,)),
        replace(run_of(24 * 20 + 3), machine=machine), run_of(24 * 20 + 4),
    ]  # fmt: skip
    file = tmp_path / "history.html"
    file.write_text(history_page(read_history(written(tmp_path, *runs))), "utf-8")
    return file


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
def test_it_fits_and_complains_of_nothing_and_asks_for_nothing(
    page_file: Path, open_page: OpenPage, width: int, dark: bool
) -> None:
    page = open_page(page_file.as_uri(), width=width, dark=dark)

    assert page.messages == []
    assert page.requests == [page_file.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert (max(page.evaluate(LUMINANCE)) < 60) == dark


def test_why_a_run_failed_is_there_to_be_read(tmp_path: Path, open_page: OpenPage) -> None:
    file = tmp_path / "history.html"
    run = run_of(1, kind=None, error="cannot connect to postgresql://me@here/db: " + "and so on " * 30)
    file.write_text(history_page(read_history(written(tmp_path, run))), "utf-8")

    page = open_page(file.as_uri(), width=1200)

    cut = "[...document.querySelectorAll('.wide')].filter(e => e.scrollWidth > e.clientWidth).length"
    assert page.evaluate(cut) == 0


def test_a_click_on_a_run_of_the_chart_opens_its_details(page_file: Path, open_page: OpenPage) -> None:
    page = open_page(page_file.as_uri())
    closed = page.evaluate(CLOSED)

    page.click("svg a[href='#r-0000001e'] path")

    assert page.evaluate("location.hash") == "#r-0000001e"
    assert page.evaluate(CLOSED) == closed - 1
    details = page.evaluate("document.querySelector('details[open]').innerText")
    assert details.startswith(
        "▲ 0000001e 2026-03-02 14:00:00 academy/incremental/cold 1.90 s slower than usual"
    )
    assert "\nread\t" in details
    assert page.evaluate("document.querySelector('details[open]').getBoundingClientRect().top") < 900


def test_a_hebrew_name_leaves_what_follows_in_its_place(page_file: Path, open_page: OpenPage) -> None:
    page = open_page(page_file.as_uri())

    places = page.evaluate(
        "(() => {const name = [...document.querySelectorAll('h2 bdi')].find(e => e.textContent == '"
        + HEBREW
        + "');"
        "const range = document.createRange(); range.selectNode(name.nextSibling);"
        "return [name.getBoundingClientRect().right, range.getBoundingClientRect().left]})()"
    )

    assert places[0] <= places[1] + 1


def test_what_a_notebook_shows_needs_nothing_either(tmp_path: Path, open_page: OpenPage) -> None:
    fragment = history_fragment(read_history(written(tmp_path, run_of(1), run_of(2))))
    file = tmp_path / "cell.html"
    file.write_text(f"<!doctype html><meta charset=utf-8><p id=mine>x</p>{fragment}", "utf-8")

    page = open_page(file.as_uri())

    assert (page.messages, page.requests) == ([], [file.as_uri()])
    # Its styles keep to themselves.
    assert page.evaluate("getComputedStyle(document.querySelector('#mine')).fontSize") == "16px"
