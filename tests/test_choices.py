"""Settings, target and environment are chosen in the order the contract says, and say who chose them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from seedlab.errors import ConfigurationError, Place
from seedlab.flow import Project, TargetConfig
from seedlab.plan.choices import (
    ENVIRONMENTS,
    TargetChoice,
    choose_environment,
    choose_target,
    environment,
    settings,
)

PROJECT = Project(
    root=Path("p"),
    name="p",
    stages=(),
    config=Path("p/seedlab.toml"),
    targets={
        "staging": TargetConfig(
            name="staging",
            url="postgresql://u:${PASSWORD}@s/db",
            environment="test",
            place=Place(file="seedlab.toml", line=7),
        ),
        "live": TargetConfig(name="live", url="postgresql://live/db", environment="production"),
    },
    environments=ENVIRONMENTS,
    settings={"lock_timeout": "3s", "disable": frozenset({"copy"})},
)
WITH_DEFAULT = replace(PROJECT, targets={"default": TargetConfig(name="default", url="sqlite:///d.db")})


def choose(
    project: Project = PROJECT, url: str | None = None, target: str | None = None, **environ: str
) -> TargetChoice:
    return choose_target(project, database_url=url, target=target, environ=environ)


# ---- settings ----


def test_a_flag_wins_over_a_variable_over_the_file_over_the_default() -> None:
    environ = {"SEEDLAB_LOCK_TIMEOUT": "2s", "SEEDLAB_BATCH_ROWS": "500"}

    given = settings(PROJECT, {"lock_timeout": "1s", "level": None}, environ)
    without_flag = settings(PROJECT, {}, environ)
    without_both = settings(PROJECT, {}, {})

    assert (given.lock_timeout, given.origins["lock_timeout"]) == ("1s", "--lock-timeout")
    assert (without_flag.lock_timeout, without_flag.origins["lock_timeout"]) == ("2s", "SEEDLAB_LOCK_TIMEOUT")
    assert (without_both.lock_timeout, without_both.origins["lock_timeout"]) == ("3s", "seedlab.toml")
    assert (given.level, given.origins["level"]) == ("incremental", "default")
    assert given.batch_rows == 500


def test_optimisations_are_switched_off_one_by_one() -> None:
    from_file = settings(PROJECT, {}, {})
    from_flag = settings(PROJECT, {"disable": ["cache", "rebuild"]}, {})
    from_variable = settings(PROJECT, {}, {"SEEDLAB_DISABLE": "cache, parallel"})

    assert from_file.disabled == {"copy"}
    assert from_file.origins["disabled"] == "seedlab.toml"
    assert from_flag.disabled == {"cache", "rebuild"}
    assert from_variable.disabled == {"cache", "parallel"}
    assert from_flag.switches == {"parallel", "copy", "incremental"}


@pytest.mark.parametrize("duration", ["10s", "500ms", "5min", "0", "1.5s", "2h"])
def test_durations_are_accepted(duration: str) -> None:
    assert settings(PROJECT, {"statement_timeout": duration}, {}).statement_timeout == duration


@pytest.mark.parametrize(
    ("flags", "environ", "expected"),
    [
        ({"lock_timeout": "10"}, {}, '--lock-timeout: expected a duration like "10s"'),
        ({"lock_timeout": "-1s"}, {}, "--lock-timeout: expected a duration"),
        ({"lock_timeout": "1s; DROP"}, {}, "--lock-timeout: expected a duration"),
        ({}, {"SEEDLAB_STATEMENT_TIMEOUT": "soon"}, "SEEDLAB_STATEMENT_TIMEOUT: expected a duration"),
        ({"level": "increment"}, {}, "did you mean 'incremental'?"),
        (
            {"isolation": "read uncommitted"},
            {},
            "expected one of read committed, repeatable read, serializable",
        ),
        (
            {"disable": ["cash"]},
            {},
            "--disable: expected a list of cache, parallel, copy, rebuild, incremental",
        ),
        (
            {},
            {"SEEDLAB_BATCH_ROWS": "many"},
            "SEEDLAB_BATCH_ROWS: expected an integer of at least 1, found 'many'",
        ),
        ({"workers": -1}, {}, "--workers: expected an integer of at least 0"),
        ({"ids": "uuid4"}, {}, "--ids: expected one of uuid8, uuid5"),
        ({"lock_timout": "1s"}, {}, "did you mean 'lock_timeout'?"),
    ],
)
def test_a_wrong_setting_names_who_said_it(
    flags: dict[str, object], environ: dict[str, str], expected: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        settings(PROJECT, flags, environ)

    assert expected in str(raised.value)


# ---- target ----


def test_targets_are_chosen_in_the_order_of_the_contract() -> None:
    everything = {"SEEDLAB_DATABASE_URL": "s://", "DATABASE_URL": "d://", "PASSWORD": "x"}

    origins = [
        choose(WITH_DEFAULT, url="u://", target="default", **everything),
        choose(WITH_DEFAULT, target="default", **everything),
        choose(WITH_DEFAULT, **everything),
        choose(WITH_DEFAULT, DATABASE_URL="d://"),
        choose(WITH_DEFAULT),
        choose(PROJECT),
    ]

    assert [(each.origin, each.url) for each in origins] == [
        ("--database-url", "u://"),
        ("--target default", "sqlite:///d.db"),
        ("SEEDLAB_DATABASE_URL", "s://"),
        ("DATABASE_URL", "d://"),
        ("[targets.default]", "sqlite:///d.db"),
        ("embedded", None),
    ]


def test_an_empty_variable_is_not_set() -> None:
    assert choose(SEEDLAB_DATABASE_URL="", DATABASE_URL="").origin == "embedded"


def test_variables_in_a_url_are_replaced_and_never_shown() -> None:
    choice = choose(target="staging", PASSWORD="s3cret")

    assert choice.url == "postgresql://u:s3cret@s/db"
    assert (choice.name, choice.environment) == ("staging", "test")
    assert "s3cret" not in repr(choice)


def test_a_variable_that_is_not_set_is_named_with_its_place() -> None:
    with pytest.raises(
        ConfigurationError, match=r"seedlab.toml:7:targets.staging.url: the variable PASSWORD is not set"
    ):
        choose(target="staging")


def test_an_unknown_target_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown target 'stagin'; did you mean 'staging'\?"):
        choose(target="stagin")


def test_a_target_of_a_project_that_names_none_is_told_how_to_name_one() -> None:
    bare = replace(PROJECT, targets={})

    with pytest.raises(ConfigurationError, match=r"has no targets: use --database-url, or add \[targets.x\]"):
        choose_target(bare, target="x", database_url=None, environ={})


# ---- environment ----


def test_environments_are_chosen_in_the_order_of_the_contract() -> None:
    staging = choose(target="staging", PASSWORD="x")

    assert (
        choose_environment(PROJECT, "development", {"SEEDLAB_ENV": "production"}, staging).name
        == "development"
    )
    assert choose_environment(PROJECT, None, {"SEEDLAB_ENV": "production"}, staging).name == "production"
    assert choose_environment(PROJECT, None, {}, staging).name == "test"
    assert choose_environment(PROJECT, None, {}, choose()).name == "development"


def test_a_protected_target_stays_protected_whatever_the_flag_says() -> None:
    chosen = choose_environment(PROJECT, "development", {}, choose(target="live"))

    assert (chosen.name, chosen.protected) == ("development", True)


def test_an_unknown_environment_is_told_with_the_nearest() -> None:
    with pytest.raises(
        ConfigurationError, match=r"unknown environment 'prod'; did you mean 'production'\?|known are"
    ):
        environment(PROJECT, "prod")
    with pytest.raises(ConfigurationError, match=r"did you mean 'development'\?"):
        choose_environment(PROJECT, "develpment", {}, choose())
