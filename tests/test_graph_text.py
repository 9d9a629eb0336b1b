"""The dependencies between stages, drawn for a terminal and for Mermaid."""

from __future__ import annotations

from seedlab.flow import Edge, Stage
from seedlab.insight.formatting.graph_text import graph_mermaid, graph_text
from seedlab.insight.formatting.text import width

STAGES = (
    Stage(id="courses", name="Courses", seeds=()),
    Stage(id="modules", name="Modules", seeds=(), parallel=False),
    Stage(id="links", name="Links", seeds=()),
)
SHOWN = (
    Edge(before="courses", after="modules", origin="declared"),
    Edge(before="courses", after="modules", origin="modules_courses_fk"),
    Edge(before="modules", after="links", origin="links_modules_fk"),
)


def test_the_text_says_who_waits_for_whom_and_why() -> None:
    assert graph_text(STAGES, SHOWN) == (
        "courses\n"
        "modules (runs alone)\n"
        "  ← courses  (declared, modules_courses_fk)\n"
        "links\n"
        "  ← modules  (links_modules_fk)\n"
    )


def test_reasons_that_do_not_fit_go_on_below_and_no_name_is_broken() -> None:
    drawn = graph_text(STAGES, SHOWN, 40).splitlines()

    assert drawn[2:4] == ["  ← courses  (declared,", "              modules_courses_fk)"]
    assert max(map(width, drawn)) <= 40


def test_control_characters_of_names_are_shown_and_not_sent() -> None:
    shown = (Edge(before="courses", after="links", origin="fk\x1b[31m"),)

    assert "\x1b" not in graph_text(STAGES, shown)


def test_mermaid_has_names_that_cannot_break_it() -> None:
    quoted = (*STAGES[:2], Stage(id="links", name='the "end"', seeds=()))

    assert graph_mermaid(quoted, SHOWN) == (
        "flowchart TD\n"
        '  s0["Courses"]\n'
        '  s1["Modules"]\n'
        '  s2["the #quot;end#quot;"]\n'
        '  s0 -->|"declared, modules_courses_fk"| s1\n'
        '  s1 -.->|"links_modules_fk"| s2\n'
    )
