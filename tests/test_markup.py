"""Whatever a name is, it is shown as that name: no markup, no script, no broken table."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from seedlab.insight.formatting.text import printable
from seedlab.insight.pages.markup import html, markdown
from seedlab.insight.pages.page import Bar, Grid, Page
from tests.support.evidence import HEBREW, HOSTILE

TAGS = {
    "div",
    "p",
    "span",
    "strong",
    "br",
    "bdi",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "ul",
    "li",
    "svg",
    "rect",
    "title",
}
anything = st.text(max_size=40) | st.sampled_from(
    [HOSTILE, HEBREW, "</td>|", "a\nb", "![x](http://x)", "&amp;"]
)
pages = st.builds(
    lambda title, facts, cells, notes: Page(
        title=title,
        facts=tuple(facts),
        bar=Bar(whole=title, parts=((title, 1.0, "#0072B2"),)),
        grids=(Grid(head=("a", title), align="<>", rows=tuple((cell, title) for cell in cells)),),
        notes=tuple(notes),
    ),
    anything, st.lists(anything, max_size=2), st.lists(anything, max_size=3), st.lists(anything, max_size=2),
)  # fmt: skip


class Reader(HTMLParser):
    """What a browser would make of it."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@given(page=pages)
def test_html_holds_only_our_tags_and_every_text_as_it_is(page: Page) -> None:
    reader = Reader()
    reader.feed(html(page))
    reader.close()

    assert set(reader.tags) <= TAGS
    assert reader.attributes <= {
        "class",
        "style",
        "role",
        "aria-label",
        "viewbox",
        "preserveaspectratio",
        "x",
        "width",
        "height",
        "fill",
    }
    assert reader.open == []
    for text in (page.title, *page.facts, *page.notes, *(row[0] for row in page.grids[0].rows)):
        assert printable(text) in reader.text


@given(page=pages)
def test_a_markdown_table_keeps_its_columns_and_nothing_is_html(page: Page) -> None:
    text = markdown(page)
    table = [line for line in text.splitlines() if line.startswith("| ")]

    assert len(table) == 2 + len(page.grids[0].rows)
    for line in table:
        assert len(re.findall(r"(?<!\\)\|", line)) == 3
    assert not re.search(r"<(?!br)", text)
    assert not re.search(r"(?<!\\)`", text)


def test_the_colours_of_a_bar_are_named_below_it() -> None:
    shown = html(Page(title="t", bar=Bar(whole="Time", parts=(("merge <2 s>", 0.6, "#0072b2"),))))

    assert shown.count("#0072b2") == 2
    assert "</span> merge &lt;2 s&gt;</span>" in shown


def test_hebrew_keeps_to_itself_beside_numbers() -> None:
    page = Page(title=f"{HEBREW}: 3", grids=(Grid(head=("stage",), align="<", rows=((HEBREW,),)),))

    assert f"<bdi>{HEBREW}</bdi></td>" in html(page)
