"""Positions: the line of any row, in every format, as an editor would count it."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedlab.errors import Fault
from seedlab.flow import ROW
from seedlab.frames import tracing
from seedlab.frames.files import flatten, opening, sources
from seedlab.frames.files.positions import HEADER, Position, locate, locate_name
from tests.fix_sources import source


def lines(folder, name, content, path, rows):
    found = locate(source(folder, name, content), path, rows)
    return {row: (position.line, position.path) for row, position in found.items()}


def pointed(position: Position, column: str) -> str:
    shown, (start, length) = position.point(column)
    return shown[start : start + length]


CSV = 'code,text,n\n\na,"line\n\none",1\n\n\nb,שלום עולם,22\n"c","x, ""y""",\n'

# ---- CSV


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_of_csv_begin_where_their_first_line_is(tmp_path, end):
    found = lines(tmp_path, "t.csv", CSV.replace("\n", end), "$", [0, 1, 2, HEADER])

    assert found == {HEADER: (1, None), 0: (3, None), 1: (8, None), 2: (9, None)}


@pytest.mark.parametrize("chunk", [11, 1 << 20])
def test_fields_are_pointed_at_in_characters(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(opening, "CHUNK", chunk)
    found = locate(source(tmp_path, "t.csv", CSV), "$", [HEADER, 0, 1, 2])

    assert [pointed(found[1], column) for column in ("code", "text", "n")] == ["b", "שלום עולם", "22"]
    assert pointed(found[2], "text") == '"x, ""y"""'
    assert pointed(found[HEADER], "text") == "text"
    assert found[0].point("code") == ('a,"line', (0, 1))


def test_a_field_on_a_later_line_and_an_unknown_column_have_no_caret(tmp_path):
    position = locate(source(tmp_path, "t.csv", CSV), "$", [0])[0]

    assert position.point("n") == ('a,"line', None)
    assert position.point("unknown") == ('a,"line', None)


def test_an_empty_field_is_pointed_at(tmp_path):
    position = locate(source(tmp_path, "t.tsv", "a\tb\tc\n1\t\t3\n"), "$", [0])[0]

    assert position.point("b") == ("1\t\t3", (2, 1))


def test_a_long_line_is_cut_around_the_field(tmp_path):
    position = locate(source(tmp_path, "t.csv", "a,b\n" + "x" * 5000 + ",here\n"), "$", [0])[0]

    assert pointed(position, "b") == "here"
    assert len(position.point("b")[0]) < 500


def test_rows_that_are_not_there_are_left_out(tmp_path):
    assert lines(tmp_path, "t.csv", CSV, "$", [2, 7]) == {2: (9, None)}
    assert lines(tmp_path, "u.csv", CSV, "$", []) == {}


CELLS = st.sampled_from(["", '""', "x", '"a\nb"', '"\n\n"', '"a,""b"""', "ש"])


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(CELLS, st.integers(0, 2)), max_size=8), chunk=st.sampled_from([5, 1000]))
def test_every_row_is_found_in_the_line_in_which_it_was_written(tmp_path, rows, chunk):
    content, wanted = "key,cell\n", {}
    for row, (cell, blank) in enumerate(rows):
        content += "\n" * blank
        wanted[row] = content.count("\n") + 1
        content += f"k{row},{cell}\n"
    file = source(tmp_path, "t.csv", content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "CHUNK", chunk)
        found = locate(file, "$", range(len(rows)))

    assert {row: position.line for row, position in found.items()} == wanted
    assert [pointed(position, "key") for position in found.values()] == [f"k{row}" for row in found]
    assert sources.collect({0: sources.read(file)})[0].get_column(ROW).to_list() == list(wanted)


# ---- JSON and YAML

JSON = """[
  {"code": "Q1", "tags": ["a",
     "b"], "text": "[{\\"tags\\": []}]",
   "info": {"parts": [
      {"n": 1},
      {"n": 2, "tags": []}]}},
  {"code": "Q2"}, {"tags": ["c"],
   "info": {"parts": [{"n": 3}]}}
]
"""
YAML = """# questions
- code: Q1
  tags: [a,
    b]
  info:
    parts:
      - n: 1
      -
        n: 2
- code: Q2

- {tags: [c], info: {parts: [{n: 3}]}}
"""


def test_records_of_json_are_found(tmp_path):
    assert lines(tmp_path, "t.json", JSON, "$", [0, 1, 2]) == {0: (2, "$[0]"), 1: (7, "$[1]"), 2: (7, "$[2]")}


def test_nested_rows_of_json_are_found(tmp_path):
    assert lines(tmp_path, "t.json", JSON, "tags", [1, 2]) == {1: (3, "$[0].tags[1]"), 2: (7, "$[2].tags[0]")}
    assert lines(tmp_path, "t.json", JSON, "info.parts", [1, 2]) == {
        1: (6, "$[0].info.parts[1]"),
        2: (8, "$[2].info.parts[0]"),
    }


def test_rows_of_yaml_are_found(tmp_path):
    assert lines(tmp_path, "t.yaml", YAML, "$", [0, 1, 2]) == {
        0: (2, "$[0]"),
        1: (10, "$[1]"),
        2: (12, "$[2]"),
    }
    assert lines(tmp_path, "t.yaml", YAML, "tags", [1, 2]) == {
        1: (4, "$[0].tags[1]"),
        2: (12, "$[2].tags[0]"),
    }
    assert lines(tmp_path, "t.yaml", YAML, "info.parts", [0, 1, 2]) == {
        0: (7, "$[0].info.parts[0]"),
        1: (9, "$[0].info.parts[1]"),
        2: (12, "$[2].info.parts[0]"),
    }


def test_one_object_has_the_path_of_the_root(tmp_path):
    assert lines(tmp_path, "t.json", '\n{"a": [1]}', "$", [0]) == {0: (2, "$")}
    assert lines(tmp_path, "t.json", '\n{"a": [1]}', "a", [0]) == {0: (2, "$.a[0]")}


@pytest.mark.parametrize("chunk", [9, 1 << 20])
def test_rows_of_jsonl_are_found_in_their_line(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(opening, "CHUNK", chunk)
    content = '{"a": [1, 2]}\n\n{"a": []}\n{"a": [3]}\n'

    assert lines(tmp_path, "t.jsonl", content, "$", [0, 1, 2]) == {
        0: (1, "$[0]"),
        1: (3, "$[1]"),
        2: (4, "$[2]"),
    }
    assert lines(tmp_path, "t.jsonl", content, "a", [1, 2]) == {1: (1, "$[0].a[1]"), 2: (4, "$[2].a[0]")}


def test_a_document_on_one_line_shows_the_part_with_the_record(tmp_path):
    content = "[" + ", ".join(f'{{"code": "Q{n}"}}' for n in range(500)) + "]"

    shown, caret = locate(source(tmp_path, "t.json", content), "$", [300])[300].point("code")

    assert '"Q300"' in shown
    assert (len(shown) < 500, caret) == (True, None)


FIELDS = """[
  {"code": "Q1", "info": {"n": 12.50,
     "text": "a \\"b\\""}, "tags": [
     {"n": true}]}
]
"""


@pytest.mark.parametrize(
    ("path", "column", "line", "what"),
    [
        ("$", "code", 2, '"Q1"'),
        ("$", "info.n", 2, "12.50"),
        ("$", "info.text", 3, '"a \\"b\\""'),
        ("$", "info", 2, "{"),
        ("tags", "n", 4, "true"),
    ],
)
def test_values_of_json_are_pointed_at(tmp_path, path, column, line, what):
    value = locate(source(tmp_path, "t.json", FIELDS), path, [0])[0].at(column)

    assert (value.line, pointed(value, column)) == (line, what)


@pytest.mark.parametrize(
    ("column", "line", "what"),
    [("code", 1, "Q1"), ("quoted", 2, "'it''s'"), ("ref.code", 4, "007"), ("none", 5, "~"), ("text", 6, "|")],
)
def test_values_of_yaml_are_pointed_at(tmp_path, column, line, what):
    content = "- code: Q1\n  quoted: 'it''s'\n  ref:\n    code: 007\n  none: ~\n  text: |\n    a\n    b\n"
    value = locate(source(tmp_path, "t.yaml", content), "$", [0])[0].at(column)

    assert (value.line, pointed(value, column)) == (line, what)


@pytest.mark.parametrize(
    ("column", "line", "excerpt_line", "shown"),
    [
        ("info.n", 2, None, '  {"code": "Q1", "info": {"n": 12.50,'),
        ("info.text", 2, 3, '     "text": "a \\"b\\""}, "tags": ['),
    ],
)
def test_a_fault_has_the_line_of_its_record_and_shows_that_of_its_value(
    tmp_path, column, line, excerpt_line, shown
):
    file = source(tmp_path, "t.json", FIELDS)
    fault = Fault(rule="type", message="", file=file.name, table="t", column=column, row=0)

    (placed,) = tracing.complete([fault], {file.name: file}, {"t": "$"})

    assert (placed.line, placed.excerpt_line, placed.excerpt) == (line, excerpt_line, shown)


def test_a_value_that_a_record_lacks_is_pointed_at_where_the_record_begins(tmp_path):
    record = locate(source(tmp_path, "t.json", FIELDS), "$", [0])[0]

    assert record.at("unknown") is record
    assert record.at("code.unknown") is record


@pytest.mark.parametrize(
    ("name", "content", "line", "what"),
    [
        ("t.csv", "a,b\n1,2\n", 1, "b"),
        ("t.json", '[{"a": 1},\n {"c": 2, "b": 3}]', 2, "b"),
        ("t.jsonl", '{"a": 1}\n{"b": 3}\n', 2, "b"),
        ("t.yaml", "- a: 1\n- a: 2\n  b: 3\n", 3, "b"),
    ],
)
def test_a_column_is_found_where_it_is_first_named(tmp_path, name, content, line, what):
    found = locate_name(source(tmp_path, name, content), "$", "b")

    assert (found.line, pointed(found, "b")) == (line, what)
    assert found.at("b") is found


def test_a_column_that_no_record_names_is_nowhere(tmp_path):
    assert locate_name(source(tmp_path, "t.json", FIELDS), "$", "unknown") is None
    assert locate_name(source(tmp_path, "t.parquet", b""), "$", "unknown") is None


NESTED = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "a": st.lists(
                st.fixed_dictionaries({}, optional={"b": st.lists(st.integers(0, 9), max_size=3)}), max_size=3
            )
        },
    ),
    max_size=4,
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=NESTED)
def test_positions_count_rows_as_flatten_does(tmp_path, value):
    import json

    import yaml

    for name, content in (("t.json", json.dumps(value, indent=1)), ("t.yaml", yaml.safe_dump(value))):
        file = source(tmp_path, name, content)
        frames = flatten.flatten(sources.read(file), {})
        for path, frame in frames.items():
            assert list(locate(file, path, range(frame.height + 1))) == list(range(frame.height))


# ---- other formats


def test_a_row_of_parquet_is_its_number(tmp_path):
    file = source(tmp_path, "t.parquet", b"")

    assert locate(file, "$", [0, 4, HEADER]) == {0: Position(line=1), 4: Position(line=5)}
    assert locate(file, "tags", [0]) == {}


def test_lines_of_packed_files_are_those_of_the_unpacked(tmp_path):
    assert lines(tmp_path, "t.csv.gz", gzip.compress(CSV.encode()), "$", [2]) == {2: (9, None)}
