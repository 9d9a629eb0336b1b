"""The browser sees what it has to: complaints, requests, sizes, colours; or the other tests here prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.chromium import Page

OpenPage = Callable[..., Page]


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], str]:
    """Write a page and give its address."""

    def written(html: str) -> str:
        path = tmp_path / "page.html"
        path.write_text(f"<!doctype html><meta charset=utf-8>{html}", "utf-8")
        return path.as_uri()

    return written


@pytest.mark.slow
def test_a_page_without_faults_asks_for_itself_alone(written, open_page: OpenPage) -> None:
    url = written("<p>שלום</p>")

    page = open_page(url)

    assert (page.requests, page.messages) == ([url], [])
    assert page.evaluate("document.querySelector('p').textContent") == "שלום"


@pytest.mark.parametrize(
    ("html", "complaint"),
    [
        ("<script>console.error('no', 1)</script>", "error: no 1"),
        ("<script>null.x</script>", "TypeError"),
        ("<img src='missing.png'>", "ERR_FILE_NOT_FOUND"),
    ],
)
def test_what_a_page_complains_of_is_heard(written, open_page: OpenPage, html: str, complaint: str) -> None:
    page = open_page(written(html))

    assert any(complaint in message for message in page.messages), page.messages


def test_a_request_for_another_machine_is_seen_and_fails(written, open_page: OpenPage) -> None:
    page = open_page(written("<script src='https://example.invalid/x.js'></script>"))

    assert "https://example.invalid/x.js" in page.requests
    assert any("ERR_NAME_NOT_RESOLVED" in message for message in page.messages), page.messages


def test_a_click_lands_and_what_it_does_is_waited_for(written, open_page: OpenPage) -> None:
    page = open_page(
        written("<p style='height: 3000px'><b onclick='setTimeout(() => this.id = 1, 50)'>x</b>")
    )

    page.click("b")

    assert page.wait_for("document.querySelector('b').id") == "1"


def test_a_page_has_the_size_and_the_colours_asked_for(written, open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(written("<p style='height: 2000px'>"), width=400, dark=True)

    assert page.evaluate("innerWidth") == 400
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is True
    assert page.screenshot(tmp_path / "shot.png").stat().st_size > 100
