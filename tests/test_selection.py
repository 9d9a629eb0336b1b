"""Selectors keep what they say, and everything left out has its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedlab.errors import ConfigurationError
from seedlab.flow import Environment, Seed, SourceFile, Stage
from seedlab.plan.selection import Selection, select

DEVELOPMENT = Environment(name="development")


def seed(stage: str, name: str, tags: tuple[str, ...] = (), environments: tuple[str, ...] = ()) -> Seed:
    file = SourceFile(path=Path(f"/p/{stage}/in/{name}.csv"), name=f"{stage}/in/{name}.csv", format="csv")
    return Seed(name=name, stage=stage, files=(file,), tables=(), tags=tags, environments=environments)


STAGES = (
    Stage(id="words", name="W", seeds=(seed("words", "english", ("essential",)), seed("words", "hebrew"))),
    Stage(id="courses", name="C", seeds=(seed("courses", "cs", ("essential",)),), dependencies=("words",)),
    Stage(
        id="modules",
        name="M",
        seeds=(seed("modules", "physics", (), ("test",)), seed("modules", "general")),
        dependencies=("courses",),
    ),
    Stage(id="links", name="L", seeds=(seed("links", "links"),), dependencies=("modules", "words")),
)


def pick(*selectors: str, exclude: tuple[str, ...] = (), environment: Environment = DEVELOPMENT) -> Selection:
    return select(STAGES, selectors, exclude, environment)


def names(selection: Selection) -> list[str]:
    return [f"{each.stage}.{each.name}" for stage in selection.stages for each in stage.seeds]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("courses", ["courses.cs"]),
        ("+courses", ["words.english", "words.hebrew", "courses.cs"]),
        ("modules+", ["modules.general", "links.links"]),
        ("+modules+", ["words.english", "words.hebrew", "courses.cs", "modules.general", "links.links"]),
        ("tag:essential", ["words.english", "courses.cs"]),
        ("+general", ["words.english", "words.hebrew", "courses.cs", "modules.general"]),
        ("words.hebrew", ["words.hebrew"]),
        ("hebrew", ["words.hebrew"]),
        ("path:words/*", ["words.english", "words.hebrew"]),
        ("path:courses", ["courses.cs"]),
        ("path:*/gen*.csv", ["modules.general"]),
        ("links", ["links.links"]),
    ],
)
def test_a_selector_keeps(selector: str, expected: list[str]) -> None:
    assert names(pick(selector)) == expected


def test_several_selectors_keep_what_any_of_them_keeps() -> None:
    assert names(pick("hebrew", "courses")) == ["words.hebrew", "courses.cs"]


def test_without_selectors_everything_of_the_environment_is_kept() -> None:
    found = pick()

    assert names(found) == ["words.english", "words.hebrew", "courses.cs", "modules.general", "links.links"]
    assert found.left_out == {"modules.physics": "not in environment development"}
    assert names(pick(environment=Environment(name="test")))[3] == "modules.physics"


def test_the_selectors_of_the_environment_and_of_the_caller_must_both_agree() -> None:
    production = Environment(name="production", select=("tag:essential",))

    found = pick("words", environment=production)

    assert names(found) == ["words.english"]
    assert found.left_out["words.hebrew"] == "not selected by environment production"
    assert found.left_out["courses"] == "not selected by -s words"
    assert (
        found.left_out["modules"] == "not in environment production; not selected by environment production"
    )


def test_what_is_excluded_says_by_whom() -> None:
    found = pick(exclude=("words+", "cs"))

    assert names(found) == []
    assert found.left_out["links"] == "excluded by -x words+"


def test_everything_left_out_has_a_reason() -> None:
    found = pick("words.hebrew", "links")

    everything = {f"{each.stage}.{each.name}" for stage in STAGES for each in stage.seeds}
    assert found.left_out.keys() >= everything - set(names(found))
    assert found.left_out["courses"] == "not selected by -s words.hebrew -s links"
    assert all(found.left_out.values())


def test_kept_stages_wait_for_the_nearest_kept_ones() -> None:
    found = pick("words", "links")

    assert [(stage.id, stage.dependencies) for stage in found.stages] == [
        ("words", ()),
        ("links", ("words",)),
    ]


@pytest.mark.parametrize(
    ("selector", "nearest"),
    [
        ("corses", "courses"),
        ("+modles+", "modules"),
        ("tag:esential", "tag:essential"),
        ("words.hebew", "words.hebrew"),
    ],
)
def test_a_selector_that_matches_nothing_is_an_error_with_the_nearest_name(
    selector: str, nearest: str
) -> None:
    for call in (lambda: pick(selector), lambda: pick(exclude=(selector,))):
        with pytest.raises(ConfigurationError) as raised:
            call()
        assert f"'{selector}' selects nothing; did you mean '{nearest}'?" in str(raised.value)


def test_a_selector_of_the_environment_that_matches_nothing_names_the_environment() -> None:
    with pytest.raises(ConfigurationError, match=r"environments.ci.select: 'tag:none' selects nothing"):
        pick(environment=Environment(name="ci", select=("tag:none",)))
