"""CSV and TSV, read through sources: what is a row, what is NULL, and what is refused."""

from __future__ import annotations

import pytest

from seedlab.errors import Fault
from seedlab.flow import ROW
from seedlab.frames.files import delimited, sources
from seedlab.frames.files.faults import MAX_FAULTS
from tests.fix_sources import faults_of, pointed, source, told


def rows(folder, content, name="t.csv"):
    flat = sources.read(source(folder, name, content))
    return sources.collect({0: flat})[0].drop(ROW).rows()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_unquoted_empty_is_null_and_quoted_empty_is_the_empty_string(tmp_path, end):
    assert rows(tmp_path, end.join(["a,b,c", ',"",x', ""])) == [(None, "", "x")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_blank_line_is_not_a_row_of_nulls(tmp_path, end):
    assert rows(tmp_path, end.join(["", "a,b", "", "1,2", "", "", "3,4", "", ""])) == [("1", "2"), ("3", "4")]


def test_a_blank_line_inside_quotes_is_text(tmp_path):
    assert rows(tmp_path, 'a,b\n\n"x\n\ny",2\n') == [("x\n\ny", "2")]


def test_blank_lines_of_a_single_column_are_skipped_and_quoted_ones_kept(tmp_path):
    assert rows(tmp_path, 'a\n1\n\n""\n') == [("1",), ("",)]


def test_no_type_is_guessed(tmp_path):
    values = (
        "007",
        "845E84",
        "1.10",
        "NO",
        "true",
        "12345678901234567890",
        "null",
        "NA",
        " x ",
        "2020-01-01",
    )

    header = ",".join(f"c{n}" for n in range(len(values)))
    assert rows(tmp_path, f"{header}\n{','.join(values)}\n") == [values]


def test_a_byte_order_mark_is_dropped(tmp_path):
    flat = sources.read(source(tmp_path, "t.csv", b'\xef\xbb\xbf"a",b\n1,2\n'))

    assert flat.columns == ("a", "b")


@pytest.mark.parametrize("first", ["\ufeff", "\ufeffx"])
def test_a_value_that_begins_like_a_byte_order_mark_is_kept(tmp_path, first):
    assert rows(tmp_path, f"a\n{first}\n\ufeff\n") == [(first,), ("\ufeff",)]


def test_quotes_in_the_header_are_read_as_in_rows(tmp_path):
    flat = sources.read(source(tmp_path, "t.csv", '"a,""x""","b\nc"\n1,2\n'))

    assert flat.columns == ('a,"x"', "b\nc")
    assert sources.collect({0: flat})[0].columns == [ROW, 'a,"x"', "b\nc"]


def test_tabs_separate_and_commas_do_not(tmp_path):
    assert rows(tmp_path, 'a\tb\n1,5\t"x\ty"\n', "t.tsv") == [("1,5", "x\ty")]


def test_a_header_alone_is_an_empty_table(tmp_path):
    assert rows(tmp_path, "a,b") == []


@pytest.mark.parametrize("content", ["", "\n\r\n", "\ufeff"])
def test_no_header_is_a_fault(tmp_path, content):
    assert told(faults_of(source(tmp_path, "t.csv", content))) == [("syntax", 1)]


def test_a_column_named_twice_or_not_at_all_is_a_fault(tmp_path):
    faults = faults_of(source(tmp_path, "t.csv", "a,,a,_seedlab_row\n1,2,3,4\n"))

    assert [fault.message.split(" ", 2)[:2] for fault in faults] == [
        ["column", "2"],
        ["column", "'_seedlab_row'"],
        ["column", "'a'"],
    ]


@pytest.mark.parametrize(
    ("name", "header", "told"),
    [
        ("t.csv", "slug;name", "expected commas between the columns, found semicolons; save the file with"),
        ("t.csv", "slug\tname", "expected commas between the columns, found tabs"),
        ("t.tsv", "slug,name", "expected tabs between the columns, found commas"),
    ],
)
def test_another_separator_is_told_at_the_header(tmp_path, name, header, told):
    (fault,) = faults_of(source(tmp_path, name, f"{header}\n1,5;red\n"))

    assert fault.message.startswith(told)
    assert (fault.line, fault.caret) == (1, (4, 1))


def test_a_quoted_column_may_have_a_separator_in_its_name(tmp_path):
    assert rows(tmp_path, '"a;b"\n1\n') == [("1",)]


def test_every_record_of_the_wrong_length_is_told_with_its_line(tmp_path):
    faults = faults_of(source(tmp_path, "t.csv", 'a,b\n1\n1,2\n\n"x\ny",2,3,4\n5,6,\n'))

    assert told(faults) == [("field-count", 2), ("field-count", 5), ("field-count", 7)]
    assert [fault.message for fault in faults] == [
        "expected 2 fields, found 1",
        "expected 2 fields, found 4",
        "expected 2 fields, found 3",
    ]
    assert faults[0].caret == (1, 1)


def test_the_caret_points_at_the_surplus_fields_in_characters_not_bytes(tmp_path):
    fault = faults_of(source(tmp_path, "t.csv", "a,b\nשם,2,עברית\n"))[0]

    assert pointed(fault) == "עברית"


def test_text_beside_quotes_is_refused(tmp_path):
    faults = faults_of(source(tmp_path, "t.csv", 'a,b\n"q"z,1\nx"y,1\n1,2\n'))

    assert told(faults) == [("syntax", 2), ("syntax", 3)]
    assert [pointed(fault) for fault in faults] == ["z", '"']


def test_an_open_quote_does_not_hide_the_faults_after_it(tmp_path):
    faults = faults_of(source(tmp_path, "t.csv", 'a,b\n1,"open\n1\n2,3\n4,5,6\n'))

    assert told(faults) == [("syntax", 2), ("field-count", 3), ("field-count", 5)]
    assert "never closed" in faults[0].message


def test_carriage_returns_alone_are_no_line_ends(tmp_path):
    assert told(faults_of(source(tmp_path, "t.csv", "a,b\r1,2\r"))) == [("syntax", 1)]
    assert told(faults_of(source(tmp_path, "t.csv", "a,b\n1,2\r3,4\n"))) == [("syntax", 2)]
    assert rows(tmp_path, 'a,b\n"1\r2",x\n') == [("1\r2", "x")]


def test_lines_that_are_not_utf8_are_all_told(tmp_path):
    faults = faults_of(source(tmp_path, "t.csv", b"a,b\n1,\xe9\nx,y\nab\xff,2\n"))

    assert told(faults) == [("encoding", 2), ("encoding", 4)]
    assert [fault.caret for fault in faults] == [(2, 1), (2, 1)]
    assert "0xe9" in faults[0].message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_wide_encodings_are_recognised(tmp_path, encoding):
    faults = faults_of(source(tmp_path, "t.csv", "name,b\nx,y\n".encode(encoding)))

    assert told(faults) == [("encoding", 1)]
    assert "UTF-16" in faults[0].message


def test_a_nul_is_told_and_the_rest_still_checked(tmp_path):
    faults = faults_of(source(tmp_path, "t.csv", "column a,column b\none\0,two\nthree\n"))

    assert told(faults) == [("nul", 2), ("field-count", 3)]


def test_a_thousand_faults_are_listed_and_the_rest_counted(tmp_path):
    faults = faults_of(source(tmp_path, "t.csv", "a,b\n" + "1\n" * (MAX_FAULTS + 5)))

    assert len(faults) == MAX_FAULTS + 1
    assert faults[-1] == Fault(
        rule="field-count", message="5 more faults in this file are not listed", file="t.csv", count=5
    )


def test_a_long_line_is_cut_around_the_caret(tmp_path):
    fault = faults_of(source(tmp_path, "t.csv", "a,b\n" + "x" * 5000 + ",2,!\n"))[0]

    assert len(fault.excerpt) < 500
    assert pointed(fault) == "!"


def test_the_boundary_lies_after_the_last_whole_record():
    assert delimited.boundary(b'1,2\n3,"x\ny') == 4
    assert delimited.boundary(b'1,2\n3,"x\ny"\n4') == 12
    assert delimited.boundary(b'1,"2\n') == 0


def test_a_quote_left_open_far_above_is_told_with_the_line_where_its_record_begins(tmp_path):
    (fault,) = faults_of(source(tmp_path, "t.csv", 'a,b\n1,"x\n2,y\n3,"z"\n'))

    assert fault.line == 4
    assert "the record begins in line 2" in fault.message
