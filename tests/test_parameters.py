"""Parameters of notebooks: what is refused before anything runs, and that text keeps its spelling."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedlab.errors import ConfigurationError
from seedlab.insight.notebooks import parameters
from seedlab.insight.notebooks.parameters import (
    SeedParameters,
    at_least,
    check,
    from_text,
    of_cell,
    one_of,
    some_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    text: str = ""
    whole: int = field(default=7, metadata=at_least(1))
    number: float = field(default=0.05, metadata=at_least(0))
    flag: bool = False
    word: str = field(default="one", metadata=one_of(("one", "two")))
    words: str = field(default="one,two", metadata=some_of(("one", "two", "three")))

    def __post_init__(self) -> None:
        check(self)


def refusal(**given: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        from_text(Asked, given)
    assert refused.value.exit_code == 2
    return str(refused.value)


def test_each_value_has_the_type_of_its_parameter() -> None:
    given = {
        "text": "7e12345",
        "whole": "007",
        "number": "1",
        "flag": "Yes",
        "word": "two",
        "words": "one, three",
    }

    found = from_text(Asked, given)

    assert found == {
        "text": "7e12345",
        "whole": 7,
        "number": 1.0,
        "flag": True,
        "word": "two",
        "words": "one, three",
    }
    assert [type(value) for value in found.values()] == [str, int, float, bool, str, str]


@given(
    st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: "@" not in text and "=" not in text)
)
def test_text_stays_what_it_is(text: str) -> None:
    assert from_text(Asked, {"text": text}) == {"text": text}


@given(st.integers(min_value=1))
def test_a_whole_number_arrives_whole(number: int) -> None:
    assert from_text(Asked, {"whole": str(number)}) == {"whole": number}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"wrod": "x"}, "unknown parameter wrod; did you mean 'word'?"),
        ({"zzz": "x"}, "the notebook's parameters: text, whole, number, flag, word, words"),
        ({"whole": "7.0"}, "parameter whole: expected a whole number of at least 1, found '7.0'"),
        ({"whole": "0"}, "parameter whole: expected a whole number of at least 1, found 0"),
        ({"number": "inf"}, "parameter number: expected a number of at least 0, found inf"),
        ({"number": "7e12345"}, "parameter number: expected a number of at least 0, found inf"),
        ({"number": "nan"}, "parameter number: expected a number of at least 0, found nan"),
        ({"number": "x"}, "parameter number: expected a number of at least 0, found 'x'"),
        ({"flag": "maybe"}, "parameter flag: expected true or false, found 'maybe'"),
        ({"word": "tow"}, "parameter word: expected one or two, found 'tow'; did you mean 'two'?"),
        ({"words": "one,tree"}, "found 'tree'; did you mean 'three'?"),
        ({"text": "postgresql://me:secret@db/x"}, "parameter text: holds a password"),
        ({"text": "host=db password=secret"}, "parameter text: holds a password"),
        ({"whole": "://me:secret@db"}, "parameter whole: expected a whole number of at least 1, found '://me:***@db'"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_does_not_fit_is_refused(given: dict[str, str], told: str) -> None:
    found = refusal(**given)

    assert told in found
    assert "secret" not in found


@pytest.mark.parametrize(
    "wrong",
    [{"text": 7}, {"whole": True}, {"whole": 7.0}, {"flag": 1}, {"number": math.inf}, {"number": "1"}, {"text": None}],
    ids=str,
)  # fmt: skip
def test_a_notebooks_own_value_is_checked_as_text_is(wrong: dict[str, object]) -> None:
    (name,) = wrong

    with pytest.raises(ConfigurationError, match=f"parameter {name}: expected"):
        Asked(**wrong)


def test_a_whole_number_is_a_number_too() -> None:
    assert Asked(number=1).number == 1


def test_a_notebook_of_ones_own_says_its_parameters_in_its_cell() -> None:
    kind = of_cell("import os\nname = 'a'  # help\ncount: int = 3\nshare = .5\non = True\nhome = os.sep")

    assert from_text(kind, {"count": "4", "on": "no", "name": "b"}) == {"count": 4, "on": False, "name": "b"}
    with pytest.raises(ConfigurationError, match=r"the notebook's parameters: name, count, share, on"):
        from_text(kind, {"home": "x"})


def test_a_cell_of_parameters_that_is_no_python_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="tagged parameters: line 2"):
        of_cell("x = 1\n%time y = 2")


def test_a_level_is_one_that_exists() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'bulk'"):
        SeedParameters(level="blk")
    assert [SeedParameters(level=level).level for level in parameters.LEVELS] == list(parameters.LEVELS)
