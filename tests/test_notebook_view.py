"""The output of a notebook: whole without a script or a link, and no name can break out of it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from hypothesis import given

from seedlab.insight.measuring.state import LaneState, RunState, StageState
from seedlab.insight.pages.notebook_view import html
from tests.test_live import STATE, STATES


def tree(state: RunState, title: str = "") -> ElementTree.Element:
    """Parse the output; it is XML too."""
    return ElementTree.fromstring(html(state, title))


def words(state: RunState, title: str = "") -> str:
    return " ".join("".join(tree(state, title).itertext()).split())


def test_it_says_what_the_terminal_says() -> None:
    found = words(STATE, "academy → postgresql://localhost/academy")

    for said in (
        "academy → postgresql://localhost/academy",
        "1 min 15 s · 46,200 of 3,091,200 rows · 14,800 rows/s · about 3 min 34 s left · 212 MB",
        "45,000 of 90,000",
        "merge courses",
        "waits for a lock (transactionid)",
        "! an older note",
    ):
        assert said in found


def test_a_bar_is_as_long_as_its_stage_is_far() -> None:
    empty = RunState(seconds=1, stages=(StageState(id="a", status="done", rows=0, total=0),))
    bars = [
        each for state in (STATE, empty) for each in tree(state).iter() if each.get("class") == "seedlab-bar"
    ]

    assert [bar[0].attrib["style"].partition(";")[0] for bar in bars] == [
        "width:240px",
        "width:120px",
        "width:0px",
        "width:240px",
    ]


def test_the_end_is_marked() -> None:
    assert "✓ done after 1 min 15 s" in words(STATE.ended("done"))
    assert "✗ failed after 1 min 15 s" in words(STATE.ended("failed"))


def test_names_cannot_break_out() -> None:
    evil = "</td><script>alert(1)</script>\"'&"
    state = RunState(
        seconds=1,
        stages=(StageState(id=evil, status="running", rows=1, total=2),),
        lanes=(LaneState(number=0, doing=evil, wait=evil),),
        notes=(evil,),
    )

    assert [each.tag for each in tree(state, evil).iter("script")] == []
    assert words(state, evil).count("<script>") == 5


@given(state=STATES)
def test_every_run_is_well_formed_small_and_asks_for_nothing(state: RunState) -> None:
    text = html(state, "a < b")
    tree(state, "a < b")

    assert not re.search("<(script|link|img|iframe|style)|href=|src=|url\\(", text)
    assert len(text) < 40_000
