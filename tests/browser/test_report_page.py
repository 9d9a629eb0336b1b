"""A report in a real browser, offline: nothing asked for, nothing complained of, readable on a phone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from seedlab.insight.notebooks import runner as notebooks
from tests.browser.chromium import Page
from tests.support.nbmake import write_notebook

pytestmark = pytest.mark.slow  # a kernel for each report
OpenPage = Callable[..., Page]
TABLE = """
from IPython.display import HTML
HTML("<table><tr>" + "".join(f"<td>a wide cell {n}</td>" for n in range(40)) + "</tr></table>")
"""


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> notebooks.Report:
    """Of a notebook that shows a chart and a table, and fails."""
    monkeypatch.chdir(tmp_path)
    chart = "from seedlab.insight.charts.style import empty_chart\nempty_chart('A finding', 'because')"
    cells = (
        "# Title",
        "# ## Question?",
        chart,
        TABLE,
        "print('שלום, 7 rows')",
        "raise ValueError('x' * 400)",
    )
    path = write_notebook(tmp_path / "n.ipynb", *cells)
    return notebooks.run(
        notebooks.find(str(path)), {}, tmp_path / "out", environ=os.environ, on_heading=lambda _: None
    )


def test_a_report_asks_for_nothing_and_complains_of_nothing(
    report: notebooks.Report, open_page: OpenPage
) -> None:
    url = (report.folder / "report.html").resolve().as_uri()

    page = open_page(url)

    assert [each for each in page.requests if not each.startswith("data:")] == [url]
    assert page.messages == []
    assert page.evaluate("document.title") == "Title"
    assert page.evaluate("[...document.images].map(e => [e.naturalWidth > 100, e.alt])") == [
        [True, "A finding. because."]
    ]


def test_the_failure_comes_first_and_the_traceback_last(
    report: notebooks.Report, open_page: OpenPage
) -> None:
    page = open_page((report.folder / "report.html").resolve().as_uri())

    red = "getComputedStyle(document.querySelector('.failure')).backgroundColor"
    assert page.evaluate(red) == "rgb(179, 38, 30)"
    assert page.evaluate("document.querySelector('.failure').getBoundingClientRect().top") < 60
    assert page.evaluate("[...document.querySelectorAll('pre')].at(-1).textContent.includes('Traceback')")


def test_code_is_folded_away_until_it_is_asked_for(report: notebooks.Report, open_page: OpenPage) -> None:
    page = open_page((report.folder / "report.html").resolve().as_uri())
    shown = "document.querySelector('details.code .input_area').checkVisibility()"
    assert page.evaluate(shown) is False

    page.click("details.code summary")

    assert page.evaluate(shown) is True


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_wider_than_the_window(width: int, report: notebooks.Report, open_page: OpenPage) -> None:
    page = open_page((report.folder / "report.html").resolve().as_uri(), width=width)

    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_words_of_a_table_stay_on_one_line_on_a_telephone(
    report: notebooks.Report, open_page: OpenPage
) -> None:
    page = open_page((report.folder / "report.html").resolve().as_uri(), width=390)
    cell = "document.querySelector('td')"

    lines = f"{cell}.clientHeight / parseFloat(getComputedStyle({cell}).lineHeight)"

    assert 1 <= page.evaluate(lines) < 2
