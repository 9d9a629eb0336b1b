"""JSON, JSONL and YAML, read through sources: scalars keep their text, faults their line."""

from __future__ import annotations

import json

import pytest

from seedlab.frames.files import sources
from seedlab.frames.files.documents import Number
from seedlab.frames.files.flatten import dumps
from seedlab.frames.files.trees import MAX_DEPTH, Plain
from tests.fix_sources import faults_of, pointed, source, told


def records(folder, name, content):
    return sources.read(source(folder, name, content)).records


# ---- JSON


def test_json_numbers_keep_their_token(tmp_path):
    content = '[{"a": 1.10, "b": 12345678901234567890, "c": 1E400, "d": "1.10", "e": true, "f": null}]'

    record = records(tmp_path, "t.json", content)[0]

    assert record == {
        "a": "1.10",
        "b": "12345678901234567890",
        "c": "1E400",
        "d": "1.10",
        "e": True,
        "f": None,
    }
    assert [type(value) for value in record.values()] == [Number, Number, Number, str, bool, type(None)]


def test_one_object_is_one_record(tmp_path):
    read = sources.read(source(tmp_path, "t.json", '\ufeff{"a": "x"}'))

    assert (read.records, read.single) == ([{"a": "x"}], True)


@pytest.mark.parametrize("content", ['"text"', "5", "null", "true"])
def test_a_document_must_be_a_list_or_an_object(tmp_path, content):
    assert told(faults_of(source(tmp_path, "t.json", content))) == [("syntax", 1)]


def test_items_that_are_no_objects_are_all_told(tmp_path):
    faults = faults_of(source(tmp_path, "t.json", '[\n {"a": 1},\n 5,\n [2]\n]'))

    assert told(faults) == [("syntax", 3), ("syntax", 4)]
    assert [fault.path for fault in faults] == ["$[1]", "$[2]"]


def test_a_syntax_error_has_line_and_caret(tmp_path):
    fault = faults_of(source(tmp_path, "t.json", '[{"a": 1},\n {"b" 2}]'))[0]

    assert (fault.rule, fault.line, fault.caret, fault.excerpt) == ("syntax", 2, (6, 1), ' {"b" 2}]')


def test_lines_in_a_file_for_one_document_are_told_to_be_lines(tmp_path):
    fault = faults_of(source(tmp_path, "t.json", '{"a": 1}\n{"a": 2}\n'))[0]

    assert (fault.line, fault.message.partition("; ")[2]) == (
        2,
        "for one object per line, name the file .jsonl",
    )


def test_a_key_that_comes_twice_is_a_fault(tmp_path):
    faults = faults_of(
        source(tmp_path, "t.json", '[{"a": 1,\n  "a": 2},\n {"b": 1}, {"b": {"c": 1, "c": 2}}]')
    )

    assert told(faults) == [("syntax", 2), ("syntax", 3)]


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_what_python_alone_calls_json_is_refused(tmp_path, token):
    fault = faults_of(source(tmp_path, "t.json", f'[{{"a": "{token}"}},\n{{"a": {token}}}]'))[0]

    assert (fault.line, pointed(fault)[0]) == (2, token[0])


def test_escaped_nul_and_half_surrogates_are_told_and_whole_pairs_are_read(tmp_path):
    content = '[{"a": "x\\u0000"},\n{"a": "\\ud83d"},\n{"a": "\\ud83d\\ude00"}, {"a": "\\\\u0000"}]'

    faults = faults_of(source(tmp_path, "t.json", content))

    assert told(faults) == [("nul", 1), ("encoding", 2)]
    assert records(tmp_path, "u.json", '[{"a": "\\ud83d\\ude00\\\\u0000"}]') == [{"a": "😀\\u0000"}]


def test_deep_json_is_refused(tmp_path):
    assert told(faults_of(source(tmp_path, "t.json", "[" * 100_000))) == [("too-large", 1)]


# ---- JSONL


def test_blank_lines_between_records_are_skipped(tmp_path):
    assert records(tmp_path, "t.jsonl", '\ufeff{"a": "1"}\r\n\n  \n{"a": "\u2028"}') == [
        {"a": "1"},
        {"a": "\u2028"},
    ]


def test_every_bad_line_is_told(tmp_path):
    content = '{"a": 1}\n{"a" 1}\n\n[1]\n{"a": NaN}\n{"a": 1, "a": 2}\nnull\n' + "[" * 100_000

    faults = faults_of(source(tmp_path, "t.jsonl", content))

    assert [fault.line for fault in faults] == [2, 4, 5, 6, 7, 8]
    assert faults[1].message == "expected an object, found a list"


# ---- YAML


def test_yaml_scalars_stay_text(tmp_path):
    values = [
        "NO",
        "yes",
        "1.10",
        "012",
        "1:30",
        "2020-01-01",
        "0x1F",
        "1_000",
        "true",
        "5",
        ".inf",
        "=",
        "NA",
    ]

    read = records(tmp_path, "t.yaml", "".join(f"- v: {value}\n" for value in values))

    assert [record["v"] for record in read] == values
    assert {type(record["v"]) for record in read} == {Plain}


def test_plain_null_is_null_and_quoted_null_is_text(tmp_path):
    content = """
    - {a: null, b: ~, c: , d: "null", e: '', f: !!str null, g: |-
        null
      }
    """.replace("g: |-\n        null", 'g: "~"')

    assert list(records(tmp_path, "t.yaml", content)[0].values()) == [
        None,
        None,
        None,
        "null",
        "",
        "null",
        "~",
    ]


def test_keys_are_text_even_where_yaml_sees_more(tmp_path):
    assert list(records(tmp_path, "t.yaml", "{no: 1, null: 2, 5: 3}")[0]) == ["no", "null", "5"]


def test_inside_json_plain_scalars_are_what_they_look_like(tmp_path):
    content = '{a: 5, b: "5", c: true, d: "true", e: ~, f: 012, g: 1.50, h: [x, {"k": -1e3}], i: Yes}'

    text = dumps(records(tmp_path, "t.yaml", content)[0])

    assert text == (
        '{"a": 5, "b": "5", "c": true, "d": "true", "e": null, "f": "012", "g": 1.50, '
        '"h": ["x", {"k": -1e3}], "i": "Yes"}'
    )
    assert json.loads(text)["c"] is True


def test_aliases_and_merge_keys_are_read(tmp_path):
    content = """
- &base {name: x, size: 1}
- <<: *base
  size: 2
  tags: &tags [a, b]
- <<: [{size: 9}, *base]
  tags: *tags
  "<<": text
"""

    assert records(tmp_path, "t.yaml", content) == [
        {"name": "x", "size": "1"},
        {"size": "2", "tags": ["a", "b"], "name": "x"},
        {"tags": ["a", "b"], "<<": "text", "size": "9", "name": "x"},
    ]


@pytest.mark.parametrize(
    "content",
    [
        "- a: !!python/object/apply:os.system ['true']",
        "- a: !!python/name:os.system ''",
        '- a: !!js/function "x"',
        "- a: !local 5",
        "- a: !!int 5",
        "- !!binary abcd",
    ],
)
def test_tags_are_refused(tmp_path, content):
    fault = faults_of(source(tmp_path, "t.yaml", content))[0]

    assert (fault.rule, fault.line) == ("syntax", 1)
    assert "tag" in fault.message


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        ("- a: 1\n  b: 2\n  a: 3\n", 3, "occurs twice"),
        ("- a: [1\n- b: 2\n", 2, "flow sequence"),
        ("- a: 1\n---\n- b: 2\n", 2, "second"),
        ("- a: 1\n- b: \x07\n", 2, "control character"),
        ('- a: 1\n- b: "\\0"\n', 2, "NUL"),
        ("- a: *nobody\n", 1, "no anchor"),
        ("- &a [*a]\n", 1, "inside the value"),
        ("- [1, 2]: x\n", 1, "as key"),
        ("- a: 1\n- text\n", 2, "an object"),
        ("- <<: text\n", 1, "to merge"),
        ("# nothing\n", 1, "found nothing"),
    ],
)
def test_bad_yaml_is_told_with_its_line(tmp_path, content, line, what):
    fault = faults_of(source(tmp_path, "t.yaml", content))[0]

    assert fault.line == line
    assert what in fault.message


def test_a_billion_laughs_are_refused(tmp_path):
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]

    assert [fault.rule for fault in faults_of(source(tmp_path, "t.yaml", "\n".join(lines)))] == ["too-large"]


@pytest.mark.parametrize("content", ["[" * 100_000, "[\n" * 100_000, "- " * 1_500 + "a", '{"a": ' * 5_000])
def test_deep_yaml_is_refused_and_does_not_crash(tmp_path, content):
    assert [fault.rule for fault in faults_of(source(tmp_path, "t.yaml", content))] == ["too-large"]


def test_yaml_may_be_as_deep_as_the_limit(tmp_path):
    assert records(tmp_path, "u.yaml", "- a: " + "[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2))
