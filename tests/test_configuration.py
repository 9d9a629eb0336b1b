"""The line of a key is found as a person would find it."""

from __future__ import annotations

import pytest

from seedlab.plan.configuration import describe, scan_lines, spell

TEXT = '''\
# [not.a.header]
top = 1
"quoted key" = 2
text = """
[inside] = a string
x = 1
"""
dotted.inner = 3

[a.b]   # [a.c]
x = "[a.d]"

[[list]]
id = 1
  [[list.items]]
  id = 2
  [list.items.table]
  t = { path = "$" }
  [[list.items]]
  id = [
    "k = 1",
  ]
[[list]]
  [[list.items]]
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("quoted key",), 3),
        (("text",), 4),
        (("dotted",), 8),
        (("dotted", "inner"), 8),
        (("a", "b"), 10),
        (("a", "b", "x"), 11),
        (("list", 0), 13),
        (("list", 0, "id"), 14),
        (("list", 0, "items", 0, "id"), 16),
        (("list", 0, "items", 0, "table", "t"), 18),
        (("list", 0, "items", 1, "id"), 20),
        (("list", 1), 23),
        (("list", 1, "items", 0), 24),
    ],
)
def test_a_key_is_found_on_its_line(path: tuple[str | int, ...], line: int) -> None:
    assert scan_lines(TEXT)[path] == line


def test_nothing_is_found_in_comments_and_strings() -> None:
    found = scan_lines(TEXT)

    assert not {("not",), ("inside",), ("a", "c"), ("a", "d"), ("x",)} & found.keys()


def test_key_paths_and_values_are_spelled_as_in_toml() -> None:
    import datetime

    assert spell(("stages", 0, "seeds", 2, "mode")) == "stages[0].seeds[2].mode"
    assert [describe(each) for each in (True, 1, 1.5, "x", [], {}, datetime.date(2026, 1, 1))] == [
        "a boolean (true)",
        "an integer (1)",
        "a float (1.5)",
        "a string ('x')",
        "a list",
        "a table",
        "a date or time (datetime.date(2026, 1, 1))",
    ]
