"""No database is seeded by mistake: every kind of URL, by every way it can be chosen, in every environment."""

from __future__ import annotations

import itertools

import pytest

from seedlab.errors import Refused
from seedlab.flow import Environment, Target
from seedlab.plan.guards import check_target, is_loopback

HERE = [
    "",
    "localhost",
    "LOCALHOST",
    "127.0.0.1",
    "127.8.8.8",
    "::1",
    "[::1]",
    "/var/run/postgresql",
    "@abstract",
    "localhost,127.0.0.1",
]
ELSEWHERE = [
    "db.example.com",
    "10.0.0.5",
    "2001:db8::1",
    "localhost.example.com",
    "localhost,db.example.com",
    "0.0.0.0",
    "127.1",
    "128.0.0.1",
]
TYPED = ["--database-url", "--target staging", "--target default", "SEEDLAB_DATABASE_URL", "embedded"]
UNTYPED = ["DATABASE_URL", "[targets.default]"]
DEVELOPMENT = Environment(name="development")
PRODUCTION = Environment(name="production", protected=True)


def target(host: str, origin: str, database: str = "shop") -> Target:
    url = f"postgresql://me:s3cret@{host}/{database}"
    return Target(
        dialect="postgresql",
        url=url,
        shown=f"postgresql://me@{host}/{database}",
        host=host,
        database=database,
        origin=origin,
    )


def sqlite(origin: str) -> Target:
    return Target(
        dialect="sqlite",
        url="sqlite:///my shop.db",
        shown="my shop.db",
        host="",
        database="my shop.db",
        origin=origin,
    )


@pytest.mark.parametrize(
    ("host", "here"), [*((each, True) for each in HERE), *((each, False) for each in ELSEWHERE)]
)
def test_loopback_is_this_machine_and_nothing_else(host: str, here: bool) -> None:
    assert is_loopback(host) is here


@pytest.mark.parametrize(
    ("host", "origin"), [*itertools.product(HERE, TYPED + UNTYPED), *itertools.product(ELSEWHERE, TYPED)]
)
def test_consent_was_given(host: str, origin: str) -> None:
    check_target(target(host, origin), DEVELOPMENT, None)

    with pytest.raises(Refused, match="environment production is protected"):
        check_target(target(host, origin), PRODUCTION, None)


@pytest.mark.parametrize(("host", "origin"), [*itertools.product(ELSEWHERE, UNTYPED)])
def test_another_machine_that_nobody_typed_needs_its_name(host: str, origin: str) -> None:
    with pytest.raises(Refused) as raised:
        check_target(target(host, origin), DEVELOPMENT, None)

    assert f"leads to another machine, {host}" in str(raised.value)
    assert str(raised.value).endswith("type --yes-seed shop")
    assert "s3cret" not in str(raised.value)
    check_target(target(host, origin), DEVELOPMENT, "shop")


@pytest.mark.parametrize(("host", "origin"), [*itertools.product(HERE[:2] + ELSEWHERE[:2], TYPED + UNTYPED)])
def test_a_protected_environment_needs_the_exact_name(host: str, origin: str) -> None:
    for typed in ("Shop", "sho", "", "yes", "shop "):
        with pytest.raises(Refused, match=f"type --yes-seed shop, not '{typed}'"):
            check_target(target(host, origin), PRODUCTION, typed)

    check_target(target(host, origin), PRODUCTION, "shop")


def test_a_sqlite_file_is_here_and_its_name_is_quoted_for_the_shell() -> None:
    for origin in TYPED + UNTYPED:
        check_target(sqlite(origin), DEVELOPMENT, None)

    with pytest.raises(Refused, match=r"type --yes-seed 'my shop\.db'"):
        check_target(sqlite("--database-url"), PRODUCTION, None)


def test_a_database_without_a_name_cannot_be_consented_to() -> None:
    with pytest.raises(Refused, match="names no database; name it there"):
        check_target(target("localhost", "--database-url", database=""), PRODUCTION, "")


def test_a_refusal_has_its_own_exit_code() -> None:
    assert Refused.exit_code == 4
