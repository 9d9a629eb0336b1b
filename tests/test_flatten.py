"""Flatten: one text frame per path, places kept, misshapen records told with their place."""

from __future__ import annotations

import json
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from seedlab.errors import DataFaults
from seedlab.flow import INDEX, PARENT, ROW, SourceFile
from seedlab.frames.files import documents, flatten, sources
from seedlab.frames.files.flatten import VALUE
from seedlab.frames.files.splitting import split
from tests.fix_sources import source


def records(folder, value, name="t.json"):
    return sources.read(source(folder, name, json.dumps(value, ensure_ascii=False)))


def frames(folder, value, documents=None):
    return flatten.flatten(records(folder, value), documents or {})


def faults(folder, value, documents=None):
    with pytest.raises(DataFaults) as caught:
        frames(folder, value, documents)
    return [(fault.path, fault.message.split(",")[0]) for fault in caught.value.faults]


MODULES = [
    {
        "code": "M1",
        "questions": [
            {"code": "Q1", "parts": [{"text": "a", "answers": ["x", "y"]}, {"text": "b", "answers": []}]},
            {"code": "Q2", "parts": []},
        ],
    },
    {"code": "M2"},
    {"code": "M3", "questions": [{"code": "Q3", "parts": [{"text": "c", "answers": ["z"]}]}]},
]

# ---- paths and places


def test_lists_become_frames_that_know_their_parent_and_place(tmp_path):
    found = frames(tmp_path, MODULES)

    assert list(found) == ["$", "questions", "questions.parts", "questions.parts.answers"]
    assert found["$"].rows() == [(0, "M1"), (1, "M2"), (2, "M3")]
    assert found["questions"].rows() == [(0, 0, 1, "Q1"), (1, 0, 2, "Q2"), (2, 2, 1, "Q3")]
    assert found["questions.parts"].rows() == [(0, 0, 1, "a"), (1, 0, 2, "b"), (2, 2, 1, "c")]
    assert found["questions.parts.answers"].rows() == [(0, 0, 1, "x"), (1, 0, 2, "y"), (2, 2, 1, "z")]
    assert found["questions.parts.answers"].schema == {
        ROW: pl.UInt32,
        PARENT: pl.UInt32,
        INDEX: pl.UInt32,
        VALUE: pl.String,
    }


def test_objects_spread_into_dotted_columns(tmp_path):
    value = [
        {"name": {"en": "x", "he": "ש"}, "faculty": {"university": {"slug": "u"}}},
        {"name": {"en": "y"}},
    ]

    assert frames(tmp_path, value)["$"].drop(ROW).to_dicts() == [
        {"name.en": "x", "name.he": "ש", "faculty.university.slug": "u"},
        {"name.en": "y", "name.he": None, "faculty.university.slug": None},
    ]


def test_scalars_become_text_unchanged(tmp_path):
    file = source(tmp_path, "t.json", '[{"a": 1.10, "b": true, "c": false, "d": null, "e": "true"}]')

    assert flatten.flatten(sources.read(file), {})["$"].row(0) == (0, "1.10", "true", "false", None, "true")


def test_a_missing_field_is_null(tmp_path):
    assert frames(tmp_path, [{"a": "1"}, {"b": "2"}])["$"].drop(ROW).rows() == [("1", None), (None, "2")]


def test_null_in_place_of_an_object_or_a_list_is_no_column(tmp_path):
    value = [{"faculty": None, "tags": None}, {"faculty": {"code": "F"}, "tags": ["t"]}]

    found = frames(tmp_path, value)

    assert found["$"].columns == [ROW, "faculty.code"]
    assert found["tags"].rows() == [(0, 1, 1, "t")]


def test_an_empty_list_and_no_records_are_frames_without_rows(tmp_path):
    assert frames(tmp_path, [{"a": "1", "tags": []}])["tags"].height == 0
    assert frames(tmp_path, [])["$"].rows() == []


def test_a_list_in_an_object_knows_what_encloses_it(tmp_path):
    found = frames(tmp_path, [{"faculty": {"degrees": [{"code": "D", "years": [1]}]}}])

    assert found["faculty.degrees"].rows() == [(0, 0, 1, "D")]
    assert flatten.enclosing("faculty.degrees", found) == "$"
    assert flatten.enclosing("faculty.degrees.years", found) == "faculty.degrees"


def test_records_are_not_changed(tmp_path):
    read = records(tmp_path, MODULES)
    before = json.dumps(read.records)

    flatten.flatten(read, {"questions": {"parts": flatten.dumps}})

    assert json.dumps(read.records) == before


# ---- documents


def test_documents_are_kept_whole_as_json(tmp_path):
    content = (
        '[{"a": {"n": 1.50, "s": "ש\\n", "l": [true, null]}, "b": "text", "c": null, "d": [1, "2"], "e": 5}]'
    )
    file = source(tmp_path, "t.json", content)

    row = flatten.flatten(sources.read(file), {"$": dict.fromkeys("abcde", flatten.dumps)})["$"].row(
        0, named=True
    )

    assert row["a"] == '{"n": 1.50, "s": "ש\\n", "l": [true, null]}'
    assert (row["b"], row["c"], row["d"], row["e"]) == ('"text"', None, '[1, "2"]', "5")


def test_documents_lie_at_any_depth(tmp_path):
    value = [{"meta": {"extra": {"k": "v"}, "x": "y"}, "parts": [{"parameters": {"left": [[1], {}]}}]}]

    found = frames(
        tmp_path, value, {"$": {"meta.extra": flatten.dumps}, "parts": {"parameters": flatten.dumps}}
    )

    assert found["$"].row(0) == (0, '{"k": "v"}', "y")
    assert found["parts"].get_column("parameters").to_list() == ['{"left": [[1], {}]}']
    assert list(found) == ["$", "parts"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.slow
@settings(max_examples=50)
@given(JSON)
def test_the_dumper_writes_json(value):
    assert json.loads(flatten.dumps(tokens(value))) == value


def tokens(value):
    """What the reader gives for this value."""
    return json.loads(json.dumps(value), parse_int=documents.Number, parse_float=documents.Number)


# ---- misshapen records


def test_lists_of_lists_and_mixed_lists_are_faults(tmp_path):
    value = [{"a": [[1]]}, {"a": [1, {"b": 2}]}, {"a": [{"b": 2}]}, {"a": [1]}, {"a": [{}, None]}]

    found = faults(tmp_path, value)

    assert [path for path, _ in found] == ["$[0].a", "$[1].a", "$[3].a", "$[4].a"]


def test_a_scalar_where_others_have_more_is_a_fault(tmp_path):
    value = [{"q": [{"a": {"b": 1}, "c": [1]}]}, {"q": [{"a": None, "c": None}, {"a": "x", "c": False}]}]

    assert faults(tmp_path, value) == [
        ("$[1].q[1].a", "expected an object as in other records"),
        ("$[1].q[1].c", "expected a list as in other records"),
    ]


def test_an_object_here_and_a_list_there_is_a_fault(tmp_path):
    assert "list in others" in faults(tmp_path, [{"a": {"b": 1}}, {"a": [1]}])[0][1]


@pytest.mark.parametrize(
    "record",
    [
        {"a.b": 1, "a": {"b": 2}},
        {"a": {"b": 2}, "a.b": 1},
        {"a": {"b": [2]}, "a.b": [1]},
        {"a": {"b": {"c": 2}}, "a.b": {"d": 1}},
    ],
)
def test_the_same_column_said_in_two_ways_is_a_fault(tmp_path, record):
    assert faults(tmp_path, record) == [
        ("$.a.b", "'a.b' is given twice: as an object and with a dot in its name")
    ]


def test_a_column_may_be_said_in_one_way_here_and_in_another_there(tmp_path):
    frame = frames(tmp_path, [{"a.b": 1}, {"a": {"b": 2}}, {"a": None}])["$"]

    assert frame["a.b"].to_list() == ["1", "2", None]


def test_the_same_path_in_two_places_is_a_fault(tmp_path):
    value = [{"a": [{"b": [1]}]}, {"a.b": [2]}]

    assert faults(tmp_path, value) == [
        ("$[0].a[0].b", "'a.b' is a list in two different places of the records; rename one of them")
    ]


@pytest.mark.parametrize(
    "name", ["_seedlab_row", "_seedlab_file", "_seedlab_parent", "_seedlab_index", "_seedlab_handle"]
)
def test_our_own_names_are_refused(tmp_path, name):
    assert [path for path, _ in faults(tmp_path, [{"l": [{"x": 1}, {name: 1}]}])] == [f"$[0].l[1].{name}"]


def test_objects_nested_too_deep_are_refused(tmp_path):
    value: dict = {}
    for _ in range(2000):
        value = {"a": value}
    file = SourceFile(path=tmp_path / "t.yaml", name="t.yaml", format="yaml")

    with pytest.raises(DataFaults) as caught:
        flatten.flatten(documents.Records(file=file, records=[value]), {})

    assert [fault.rule for fault in caught.value.faults] == ["too-large"]


# ---- Parquet


def parquet(folder, frame):
    path = folder / "t.parquet"
    frame.write_parquet(path)
    file = source(folder, path.name, path.read_bytes())
    return file, sources.collect({0: sources.read(file)})[0]


def test_lists_and_structs_of_parquet_split_as_json_does(tmp_path):
    frame = pl.DataFrame(MODULES, schema_overrides={"code": pl.String})

    found = split(*parquet(tmp_path, frame), {})

    assert found.keys() == frames(tmp_path, MODULES).keys()
    for path, wanted in frames(tmp_path, MODULES).items():
        assert_frame_equal(found[path], wanted)


def test_structs_of_parquet_spread_and_documents_stay_whole(tmp_path):
    frame = pl.DataFrame(
        {
            "s": [{"a": 1, "t": {"b": Decimal("1.50")}}, None],
            "meta": [{"k": [1, 2]}, None],
            "tags": [["x", None], None],
            "pair": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int64, 2)),
        }
    )

    found = split(*parquet(tmp_path, frame), {"$": dict.fromkeys(("meta", "tags"), flatten.dumps)})

    assert found["$"].rows() == [(0, "1", "1.50", '{"k":[1,2]}', '["x",null]'), (1, None, None, None, None)]
    assert found["$"].columns == [ROW, "s.a", "s.t.b", "meta", "tags"]
    assert found["pair"].rows() == [(0, 0, 1, "1"), (1, 0, 2, "2"), (2, 1, 1, "3"), (3, 1, 2, "4")]


@pytest.mark.parametrize(
    ("items", "what"),
    [([[[1], [2]]], "lists"), ([[{"a": 1}, None]], "null"), ([[{"_seedlab_row": 1}]], "_seedlab_row")],
)
def test_items_of_parquet_that_cannot_be_rows_are_faults(tmp_path, items, what):
    file, frame = parquet(tmp_path, pl.DataFrame({"l": items}))

    with pytest.raises(DataFaults) as caught:
        split(file, frame, {})

    assert what in caught.value.faults[0].message


def test_a_csv_frame_is_left_as_it_is(tmp_path):
    file = source(tmp_path, "t.csv", "a,b\n1,\n")
    frame = sources.collect({0: sources.read(file)})[0]

    assert_frame_equal(split(file, frame, {"$": {"a": flatten.dumps}})["$"], frame)


# ---- between frames


def test_children_inherit_their_parents_reference(tmp_path):
    found = frames(tmp_path, MODULES)

    questions = flatten.inherit(found["questions"], found["$"], "module", ["code"])
    parts = flatten.inherit(found["questions.parts"], questions, "question", ["code", "module.code"])

    assert questions.get_column("module.code").to_list() == ["M1", "M1", "M3"]
    assert parts.select("question.code", "question.module.code").rows() == [
        ("Q1", "M1"),
        ("Q1", "M1"),
        ("Q3", "M3"),
    ]


def test_columns_are_filled_from_the_place_and_from_paths(tmp_path):
    frame = frames(tmp_path, [{"q": [{"name": {"en": "x"}, "old": "1"}, {"name": {"en": "y"}, "old": "2"}]}])[
        "q"
    ]

    filled = flatten.fill(
        frame, {"position": "$index", "title": "name.en", "old": "old", "new": "old", "no": "nowhere"}
    )

    assert filled.drop(ROW, PARENT, INDEX).to_dicts() == [
        {"old": "1", "position": "1", "title": "x", "new": "1"},
        {"old": "2", "position": "2", "title": "y", "new": "2"},
    ]


def test_two_columns_can_swap_names(tmp_path):
    frame = frames(tmp_path, [{"a": "1", "b": "2"}])["$"]

    assert flatten.fill(frame, {"a": "b", "b": "a"}).row(0, named=True) == {ROW: 0, "a": "2", "b": "1"}
