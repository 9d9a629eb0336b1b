"""No database is seeded by mistake: every kind of URL, by every way it can be chosen, in every environment."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from seedlab.database.connect import parse_target
from seedlab.errors import ConfigurationError, Refused
from seedlab.flow import Environment, Project, Target, TargetConfig
from seedlab.plan.choices import ENVIRONMENTS, choose_environment, choose_target
from seedlab.plan.guards import (
    allowed_deletes,
    check_deletes,
    check_dry_run,
    check_reset,
    check_target,
    is_loopback,
)

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

    assert f"points to another machine, {host}" in str(raised.value)
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


# ---- deletes, reset, dry run ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "existing", "allowed"),
    [
        (0, 100, 0),
        (7, 100, 7),
        ("7", 3, 7),
        ("10%", 100, 10),
        ("10%", 99, 9),
        ("0.5%", 1000, 5),
        ("29%", 100, 29),  # by floats it would be 28
        ("100%", 3, 3),
        ("0%", 100, 0),
        ("50%", 0, 0),
    ],
)
def test_a_limit_is_a_number_of_rows_or_a_share(limit: str | int, existing: int, allowed: int) -> None:
    assert allowed_deletes(limit, existing) == allowed


@pytest.mark.parametrize("limit", ["", "x", "-1", -1, "1.5", "%", "101%", "100.1%", "10 %", "٣", True, "1e3"])
def test_any_other_limit_is_an_error_of_usage(limit: str | int) -> None:
    with pytest.raises(ConfigurationError, match="expected a number of rows or a share like"):
        check_deletes({"table pupils": (0, 100)}, limit)


def test_without_a_limit_no_row_goes() -> None:
    check_deletes({"table pupils": (0, 100)}, None)

    with pytest.raises(Refused) as raised:
        check_deletes({"table pupils": (3, 100)}, None)
    assert str(raised.value) == (
        "table pupils: 3 of 100 rows would be deleted; to delete them, type --max-delete 3"
    )


@pytest.mark.parametrize("limit", [10, "10", "10%"])
def test_no_more_rows_go_than_the_limit_allows(limit: str | int) -> None:
    check_deletes({"table pupils": (10, 100)}, limit)

    with pytest.raises(Refused) as raised:
        check_deletes({"table pupils": (11, 100)}, limit)
    assert str(raised.value) == (
        f"table pupils: 11 of 100 rows would be deleted, more than --max-delete {limit} allows; "
        "to delete them, type --max-delete 11"
    )


def test_a_number_is_one_of_all_rows_and_a_share_one_of_each_table() -> None:
    doomed = {"table pupils": (3, 100), "table cities": (1, 2)}
    check_deletes(doomed, 4)
    check_deletes(doomed, "50%")

    for limit in (3, "49%"):
        with pytest.raises(Refused) as raised:
            check_deletes(doomed, limit)
        assert str(raised.value) == (
            "table pupils: 3 of 100 rows, table cities: 1 of 2 rows would be deleted, "
            f"more than --max-delete {limit} allows; to delete them, type --max-delete 4"
        )


@pytest.mark.parametrize(("host", "origin"), [*itertools.product(HERE, TYPED + UNTYPED)])
def test_a_reset_here_needs_no_name(host: str, origin: str) -> None:
    check_reset(target(host, origin), DEVELOPMENT, None)
    check_reset(sqlite(origin), DEVELOPMENT, None)


@pytest.mark.parametrize(("host", "origin"), [*itertools.product(ELSEWHERE, TYPED + UNTYPED)])
def test_a_reset_elsewhere_needs_the_name_however_it_was_chosen(host: str, origin: str) -> None:
    for typed in (None, "Shop", ""):
        with pytest.raises(
            Refused, match="is on another machine; to reset it, type --yes-seed shop"
        ) as raised:
            check_reset(target(host, origin), DEVELOPMENT, typed)
        assert "s3cret" not in str(raised.value)

    check_reset(target(host, origin), DEVELOPMENT, "shop")


def test_a_protected_environment_is_reset_by_name_only() -> None:
    with pytest.raises(Refused, match=r"production is protected .* to reset it, type --yes-seed shop"):
        check_reset(target("localhost", "--database-url"), PRODUCTION, None)

    check_reset(target("localhost", "--database-url"), PRODUCTION, "shop")


def test_a_dry_run_is_refused_where_it_is_protected() -> None:
    check_dry_run(DEVELOPMENT)

    with pytest.raises(Refused, match="type `seedlab plan`"):
        check_dry_run(PRODUCTION)


# ---- the matrix -----------------------------------------------------------------------------------------

NAME, MAX_DELETE, PLAN = "type --yes-seed shop", "type --max-delete 3", "type `seedlab plan`"
URLS = {
    "postgresql://me:s3cret@/shop?host=/var/run/postgresql": "here",
    "postgresql://me:s3cret@localhost/shop": "here",
    "postgresql+psycopg://me:s3cret@127.0.0.1:5433/shop": "here",
    "postgresql://me:s3cret@[::1]/shop": "here",
    "sqlite:///shop.db": "here",
    "postgresql://me:s3cret@db.example.com/shop": "elsewhere",
    "postgresql://me:s3cret@localhost,db.example.com/shop": "elsewhere",
    "postgresql://me:s3cret@localhost/shop?host=db.example.com": "elsewhere",
}
CHOSEN = {
    "--database-url": "typed",
    "--target": "typed",
    "SEEDLAB_DATABASE_URL": "typed",
    "DATABASE_URL": "untyped",
    "[targets.default]": "untyped",
}
# What is said, by environment, place of the database and way of choosing it; None: nothing, it is allowed.
SAID: dict[str, dict[str, str | None]] = {
    "plan": {
        "development here typed": None,
        "development here untyped": None,
        "development elsewhere typed": None,
        "development elsewhere untyped": None,
        "protected": None,
    },
    "seed": {
        "development here typed": None,
        "development here untyped": None,
        "development elsewhere typed": None,
        "development elsewhere untyped": NAME,
        "protected": NAME,
    },
    "dry run": {
        "development here typed": None,
        "development here untyped": None,
        "development elsewhere typed": None,
        "development elsewhere untyped": NAME,
        "protected": PLAN,
    },
    "sync": {
        "development here typed": MAX_DELETE,
        "development here untyped": MAX_DELETE,
        "development elsewhere typed": MAX_DELETE,
        "development elsewhere untyped": NAME,
        "protected": NAME,
    },
    "reset": {
        "development here typed": None,
        "development here untyped": None,
        "development elsewhere typed": NAME,
        "development elsewhere untyped": NAME,
        "protected": NAME,
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One run that was asked for, and what else was typed."""

    target: Target
    environment: Environment
    yes_seed: str | None = None
    max_delete: str | None = None

    def seed(self) -> None:
        check_target(self.target, self.environment, self.yes_seed)

    def dry_run(self) -> None:
        check_dry_run(self.environment)
        self.seed()

    def sync(self) -> None:
        self.seed()
        check_deletes({"table pupils": (3, 100)}, self.max_delete)

    def reset(self) -> None:
        check_reset(self.target, self.environment, self.yes_seed)


MODES: dict[str, Callable[[Asked], None]] = {
    "plan": lambda _: None,  # reads only: no guard stands before it
    "seed": Asked.seed,
    "dry run": Asked.dry_run,
    "sync": Asked.sync,
    "reset": Asked.reset,
}


def asked(url: str, chosen: str, environment: str) -> Asked:
    """A run as the command line would understand it."""
    name = {"--target": "staging", "[targets.default]": "default"}.get(chosen)
    targets = {name: TargetConfig(name=name, url=url)} if name else {}
    project = Project(root=Path("p"), name="p", stages=(), targets=targets, environments=ENVIRONMENTS)
    choice = choose_target(
        project,
        database_url=url if chosen == "--database-url" else None,
        target="staging" if chosen == "--target" else None,
        environ={chosen: url},
    )
    made = parse_target(url, choice.origin, name=choice.name, environment=choice.environment)
    return Asked(target=made, environment=choose_environment(project, environment, {}, choice))


@pytest.mark.usefixtures("plain_environment")
@pytest.mark.parametrize("environment", ["development", "production"])
@pytest.mark.parametrize("chosen", CHOSEN)
@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("mode", MODES)
def test_every_way_to_write_is_allowed_or_says_what_to_type(
    mode: str, url: str, chosen: str, environment: str
) -> None:
    place = f"development {URLS[url]} {CHOSEN[chosen]}" if environment == "development" else "protected"
    run, said = asked(url, chosen, environment), SAID[mode][place]

    assert sentence(mode, run) == said
    assert sentence(mode, obeying(run, said)) == {
        PLAN: PLAN,
        NAME: MAX_DELETE if mode == "sync" else None,
    }.get(said or "")


def sentence(mode: str, run: Asked) -> str | None:
    """What the refusal tells to type, which is its end; None where nothing is refused."""
    message = ""
    try:
        MODES[mode](run)
    except Refused as refused:
        message = str(refused)
    assert "s3cret" not in message
    return message.rpartition("; to ")[2].partition(", ")[2] or None


def obeying(run: Asked, said: str | None) -> Asked:
    """The same run with that typed; `seedlab plan` is another command."""
    return replace(
        run,
        yes_seed="shop" if said == NAME else run.yes_seed,
        max_delete="3" if said == MAX_DELETE else run.max_delete,
    )


def test_a_target_in_production_stays_protected_under_another_environment() -> None:
    live = TargetConfig(name="live", url="sqlite:///shop.db", environment="production")
    project = Project(root=Path("p"), name="p", stages=(), targets={"live": live}, environments=ENVIRONMENTS)
    choice = choose_target(project, database_url=None, target="live", environ={})

    environment = choose_environment(project, "development", {}, choice)

    for guard in (check_target, check_reset):
        with pytest.raises(Refused, match=NAME):
            guard(parse_target(live.url, choice.origin), environment, None)
    with pytest.raises(Refused, match=PLAN):
        check_dry_run(environment)
