"""The page of a history is whole in itself, small, and shows what others wrote as text and nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedlab.errors import Fault
from seedlab.insight.judging.trend import trends
from seedlab.insight.notebooks.run_history import History, read_history
from seedlab.insight.pages import history_page as pages
from seedlab.insight.pages.history_page import history_page
from seedlab.insight.pages.history_svg import small_svg, trend_svg
from seedlab.insight.records.past import Unread
from tests.support.histories import EVIL, HEBREW, failed_of, past_of, run_of, written


class Seen(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.slow
def test_two_hundred_runs_fit_in_half_a_megabyte_with_all_their_details(tmp_path: Path) -> None:
    runs = [
        run_of(number, 1 + number % 7 / 50, ("cold", "again", "cold", None)[number % 4])
        for number in range(200)
    ]

    page = history_page(read_history(written(tmp_path, *runs)))

    assert len(page.encode()) < 500_000
    assert len(Seen(page).all("details")) == 200


def test_more_runs_than_fit_are_left_out_aloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "POINTS", 10)
    monkeypatch.setattr(pages, "DETAIL_BYTES", 8000)
    found = read_history(written(tmp_path, *(run_of(number) for number in range(12))))

    page = Seen(history_page(found))

    assert "2 older runs not shown; " in page.text
    assert re.search(r"\d runs without details: seedlab show RUN", page.text)
    ids = {each["id"] for each in page.all("div") if "id" in each}
    assert 0 < len(ids) < 10
    assert {each["href"] for each in page.all("a")} == {"#s-0"} | {f"#{each}" for each in ids}


def test_each_run_of_the_chart_leads_to_its_details(tmp_path: Path) -> None:
    page = history_page(
        read_history(written(tmp_path, run_of(1), run_of(2, kind="again"), run_of(3, kind=None)))
    )

    links = re.findall(r'<a href="#(r-\w+)"><path', page)
    assert sorted(links) == ["r-00000001", "r-00000002", "r-00000003"]
    assert sorted(re.findall(r'id="(r-\w+)"', page)) == sorted(links)


def test_the_page_asks_for_nothing_and_runs_nothing(tmp_path: Path) -> None:
    evil = replace(
        run_of(1, kind=None), project=EVIL, error=EVIL, notes=(EVIL,), args=(EVIL,), commit=EVIL, target=EVIL,
        environment=EVIL, run_id='x"><b', level=EVIL,  # type: ignore[arg-type]
    )  # fmt: skip
    found = read_history(written(tmp_path, evil))
    found = replace(found, notes=(Unread(path=Path(EVIL), why=EVIL),))

    page = Seen(history_page(found))

    tags = {name for name, _ in page.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "b"}
    assert EVIL in page.text
    policy = next(each for each in page.all("meta") if each.get("http-equiv"))
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert not any(name in each for _, each in page.tags for name in ("src", "onclick", "style"))
    assert all((each["href"] or "").startswith("#") for each in page.all("a"))


def test_a_hebrew_name_is_isolated_from_what_stands_beside_it(tmp_path: Path) -> None:
    page = history_page(read_history(written(tmp_path, run_of(1, project=HEBREW))))

    assert f"<bdi>{HEBREW}</bdi>/incremental/cold" in page
    assert f">{HEBREW}" not in page.replace(f"<bdi>{HEBREW}</bdi>", "")


def test_how_the_last_run_went_comes_first_and_machines_stay_apart() -> None:
    runs = [past_of(number, 0.3) for number in range(13)]
    page = Seen(history_page(History(folders=(), runs=(*runs, past_of(20, 0.9, machine="Intel")))))

    head, _, rest = page.text.partition("academy/incremental/cold: ○ 900 ms, too few runs (the first one)")
    assert head.endswith("last run of ")
    assert "academy/incremental/cold: ● 300 ms, as usual (286 ms to 315 ms, 12 runs)" in rest
    assert len(page.all("section")) == 2


def test_a_fault_is_shown_with_its_line(tmp_path: Path) -> None:
    fault = Fault(rule="rounding", file="bottles.csv", line=3, message="it would be rounded")
    page = Seen(history_page(read_history(written(tmp_path, run_of(1, kind=None, faults=(fault,))))))

    assert "bottles.csv:3: it would be rounded" in page.text


def test_a_record_that_went_away_meanwhile_is_told_in_its_details() -> None:
    page = Seen(history_page(History(folders=(), runs=(past_of(1, path=Path("gone/run.json")),))))

    assert "gone/run.json: cannot read the run record" in page.text


def test_no_runs_make_a_page_that_says_what_to_do() -> None:
    assert (
        "No run is on record yet: seedlab seed makes one."
        in Seen(history_page(History(folders=(), runs=()))).text
    )


# ---- charts ---------------------------------------------------------------------------------------------


def chart_of(*runs) -> str:
    (trend,) = trends(runs)
    return trend_svg(trend)


def test_slow_fast_failed_and_usual_runs_differ_in_shape() -> None:
    chart = chart_of(*(past_of(n) for n in range(6)), past_of(6, 1.5), past_of(7, 0.5), failed_of(8))

    classes = re.findall(r'<path class="(usual|slower|faster|failed)"', chart)
    assert classes == ["usual"] * 6 + ["slower", "faster", "failed"]
    assert (
        "<title>00000006, 2026-03-01 14:00:00: 1.50 s, slower than usual: 1.5 times the median</title>"
        in chart
    )


def test_the_line_is_broken_at_a_failed_run_and_at_a_long_pause() -> None:
    chart = chart_of(past_of(0), past_of(1), failed_of(2), past_of(3), past_of(24 * 30), past_of(24 * 30 + 1))

    (line,) = re.findall(r'<path class="line" d="([^"]*)"', chart)
    assert (line.count("M"), line.count("L")) == (3, 2)
    assert ">29 days</text>" in chart


def test_the_days_of_many_pauses_lie_neither_on_each_other_nor_on_the_dates() -> None:
    chart = chart_of(*(past_of(24 * 8 * n) for n in range(30)))
    dates = [float(x) for x in re.findall(r'<text(?: class="y")? x="(\d+)" y="184"', chart)]
    days = [float(x) for x in re.findall(r'<text class="middle" x="([\d.]+)" y="184">8 days', chart)]

    assert chart.count('class="gap"') == 29
    assert len(days) >= 3
    assert min(right - left for left, right in pairwise(days)) >= 90
    assert days[0] - dates[0] >= 110 + 45
    assert dates[1] - days[-1] >= 110 + 45


def test_the_times_of_runs_that_hung_one_after_another_do_not_lie_on_each_other() -> None:
    chart = chart_of(
        *(past_of(n) for n in range(20)), *(past_of(n, 90.0) for n in range(20, 24)), past_of(24)
    )

    assert chart.count(">1 min 30 s</text>") == 1
    assert chart.count('class="slower"') == 4


def test_only_phases_of_the_last_run_are_drawn_and_not_older_ones_as_if_they_were_its() -> None:
    runs = (past_of(0, phases={"read": 0.1, "index": 0.7}), past_of(1, phases={"read": 0.2}))
    page = history_page(History(folders=(), runs=runs))

    assert "<figcaption>read 200 ms" in page
    assert "<figcaption>index" not in page


def test_a_run_that_hung_is_drawn_at_the_edge_with_its_time() -> None:
    chart = chart_of(*(past_of(n) for n in range(6)), past_of(6, 90.0))

    assert ">1 min 30 s</text>" in chart
    assert chart.count('class="grid"') <= 6


@given(
    seconds=st.lists(st.floats(min_value=0, max_value=1e7), min_size=1, max_size=40),
    failing=st.sets(st.integers(0, 40)),
)
def test_whatever_the_times_a_chart_stays_in_its_frame(seconds: list[float], failing: set[int]) -> None:
    runs = [failed_of(n, seconds=s) if n in failing else past_of(n, s) for n, s in enumerate(seconds)]

    chart = chart_of(*runs) + small_svg(seconds, None)

    assert "nan" not in chart
    assert "inf" not in chart
    numbers = [
        float(each) for path in re.findall(r' d="([^"]*)"', chart) for each in re.findall(r"-?[\d.]+", path)
    ]
    assert all(-20 <= each <= 660 for each in numbers)
    assert 1 <= chart.count('class="grid"') <= 6
