"""Conditions are judged all at once and say why not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from seedlab.errors import ConfigurationError
from seedlab.plan.conditions import Condition, Situation, parse, tables_needed, unmet

SCRIPT = """
from __future__ import annotations
from dataclasses import dataclass
import helper

@dataclass
class Term:
    begun: bool = True

def yes(situation): return Term().begun
def no(situation): return False
def why(situation): return False, f"no term in {situation.environment}"
def number(situation): return 1
def pair(situation): return "yes", True
def empty(situation): return "modules" in situation.empty_tables
def late(situation):
    import helper
    return helper.ANSWER
def broken(situation): raise ValueError("no calendar")
constant = 3
"""


def situation(root: Path, *empty: str, environment: str = "development", force: bool = False) -> Situation:
    return Situation(environment=environment, empty_tables=frozenset(empty), root=root, force=force)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "conditions.py").write_text(SCRIPT)
    (tmp_path / "helper.py").write_text("ANSWER = True")
    return tmp_path


def test_three_kinds_are_understood() -> None:
    assert parse("empty:hr.people") == Condition(kind="empty", values=("hr.people",), text="empty:hr.people")
    assert parse("environment:test, development").values == ("test", "development")
    assert parse("python:a/b.py:f").values == ("a/b.py", "f")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("empy:x", "unknown condition 'empy:x'; did you mean 'empty'?"),
        ("never", "known are empty:TABLE, environment:NAME, python:FILE.py:FUNCTION"),
        ("empty:", "cannot read the condition 'empty:'; expected empty:TABLE"),
        ("empty", "expected empty:TABLE"),
        ("empty:a,b", "expected empty:TABLE"),
        ("environment: ,", "expected environment:NAME"),
        ("python:f", "expected FILE.py:NAME, found 'f'"),
        ("python:", "expected python:FILE.py:FUNCTION"),
        ("python:a.py:os.remove", "expected FILE.py:NAME, found 'a.py:os.remove'"),
    ],
)
def test_a_condition_that_cannot_be_read_shows_how_it_is_spelled(text: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse(text)

    assert expected in str(raised.value)


def test_the_tables_to_ask_for_are_known_before() -> None:
    assert tables_needed(map(parse, ["empty:a", "environment:test", "empty:b", "empty:a"])) == {"a", "b"}


def test_all_reasons_are_given_not_only_the_first(root: Path) -> None:
    texts = ["empty:universities", "empty:modules", "environment:test,production", "python:conditions.py:why"]

    assert unmet([parse(each) for each in texts], situation(root, "modules")) == (
        "universities is not empty",
        "environment is development, not test or production",
        "no term in development",
    )


def test_met_conditions_have_no_reasons(root: Path) -> None:
    texts = [
        "empty:modules",
        "environment:development",
        "python:conditions.py:yes",
        "python:conditions.py:empty",
    ]

    assert unmet([parse(each) for each in texts], situation(root, "modules")) == ()
    assert unmet([], situation(root)) == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("broken", "conditions.py: broken failed: ValueError: no calendar"),
        ("number", "conditions.py: number returned int; expected bool or (bool, reason)"),
        ("pair", "conditions.py: pair returned tuple; expected bool or (bool, reason)"),
        ("constant", "conditions.py: 'constant' is not a function"),
        ("brken", "conditions.py: it defines no 'brken'; did you mean 'broken'?"),
    ],
)
def test_a_function_that_fails_is_named_with_its_file(root: Path, name: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        unmet([parse(f"python:conditions.py:{name}")], situation(root))

    assert str(raised.value) == expected


def test_functions_come_from_the_project_only(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "evil.py"
    outside.write_text("def f(situation): return True")
    (root / "link.py").symlink_to(outside)

    for file in (f"../{outside.parent.name}/evil.py", str(outside), "link.py"):
        with pytest.raises(ConfigurationError, match="lies outside the project"):
            unmet([parse(f"python:{file}:f")], situation(root))


def test_project_code_imports_its_neighbours_and_leaves_no_trace(root: Path) -> None:
    path, bytecode = list(sys.path), sys.dont_write_bytecode

    assert unmet([parse("python:conditions.py:late")], situation(root)) == ()
    assert (sys.path, sys.dont_write_bytecode) == (path, bytecode)
    assert "helper" not in sys.modules
    assert sorted(each.name for each in root.iterdir()) == ["conditions.py", "helper.py"]


def test_a_changed_file_is_read_anew(root: Path) -> None:
    condition = [parse("python:conditions.py:late")]
    before = unmet(condition, situation(root))

    (root / "helper.py").write_text("ANSWER = False")

    assert (before, unmet(condition, situation(root))) == ((), ("late returned false",))


def test_a_file_that_does_not_run_is_told(root: Path) -> None:
    (root / "conditions.py").write_text("import nothing_like_this")

    with pytest.raises(
        ConfigurationError, match=r"conditions.py: it does not run: ModuleNotFoundError: No module"
    ):
        unmet([parse("python:conditions.py:f")], situation(root))
