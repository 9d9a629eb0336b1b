"""What a user may do in a target, asked of real databases."""

from __future__ import annotations

import uuid
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from seedlab.database.connect import parse_target
from seedlab.database.rights import reading_grants, rights
from seedlab.errors import ConnectionFailed
from tests.fix_postgres import PostgresServer
from tests.support.seeding import execute


def test_the_owner_of_a_database_may_make_schemas_and_temporary_tables(postgres_url: str) -> None:
    found = rights(parse_target(postgres_url, "test"))

    assert (found.schemas, found.temporary) == (True, True)
    assert int(found.version.split(".")[0]) >= 14


def test_a_revoked_right_is_seen(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        name = connection.info.dbname
        user = connection.info.user
        for who in ("PUBLIC", user):
            connection.execute(f'REVOKE TEMPORARY, CREATE ON DATABASE "{name}" FROM {who}')

    found = rights(parse_target(postgres_url, "test"))

    assert (found.user, found.schemas, found.temporary) == (user, False, False)


def test_rights_that_are_missing_on_tables_are_spelled_as_grants(
    clean_postgres_url: str, postgres_server: PostgresServer
) -> None:
    if postgres_server.superuser_url is None:
        pytest.skip("the server given lets us make no role")
    role = f"Reader_{uuid.uuid4().hex}"
    execute(
        clean_postgres_url,
        'CREATE TABLE one (id serial PRIMARY KEY, n int); CREATE TABLE "Two" (id int, n int);'
        "CREATE TABLE three (id int); CREATE SCHEMA aside; CREATE TABLE aside.four (id int);"
        "CREATE TABLE stranger (id int)",
    )
    with psycopg.connect(postgres_server.superuser_url, autocommit=True) as admin:
        admin.execute(f'CREATE ROLE "{role}" LOGIN')
        execute(
            clean_postgres_url,
            f'GRANT USAGE ON SCHEMA public TO "{role}"; GRANT SELECT, INSERT ON one TO "{role}"; GRANT SELECT, INSERT (n), UPDATE (n) ON "Two" TO "{role}"',
        )
        guest = urlsplit(clean_postgres_url)._replace(
            netloc=f"{role}@{urlsplit(clean_postgres_url).hostname or ''}"
        )
        tables = ["one", "Two", "public.three", "aside.four", "nowhere"]

        found = rights(parse_target(guest.geturl(), "test"), tables)
        owners = rights(parse_target(clean_postgres_url, "test"), tables)
        execute(
            clean_postgres_url,
            f'REVOKE ALL ON one, "Two" FROM "{role}"; REVOKE ALL ON SCHEMA public FROM "{role}"',
        )
        admin.execute(f'DROP ROLE "{role}"')

    assert found.grants == (
        f'GRANT SELECT, INSERT, UPDATE ON aside.four, three TO "{role}";',
        f'GRANT UPDATE ON one TO "{role}";',
        f'GRANT USAGE ON SCHEMA aside TO "{role}";',
        f'GRANT USAGE ON SEQUENCE one_id_seq TO "{role}";',
    )
    assert owners.grants == ()


def test_a_server_that_does_not_answer_is_named_without_the_password() -> None:
    target = parse_target("postgresql://me:hunter2@127.0.0.1:1/school", "test")

    with pytest.raises(
        ConnectionFailed, match=r"connecting to postgresql://me@127\.0\.0\.1:1/school failed"
    ) as caught:
        rights(target)

    assert "hunter2" not in str(caught.value)


def test_a_sqlite_file_need_not_be_there_but_its_folder_must(tmp_path: Path) -> None:
    assert rights(parse_target(f"sqlite:///{tmp_path}/new.db", "test")).schemas

    with pytest.raises(ConnectionFailed, match="there is no folder"):
        rights(parse_target(f"sqlite:///{tmp_path}/none/new.db", "test"))


@pytest.mark.parametrize(
    ("user", "spelled"), [("app", '"app"'), ("App", '"App"'), ('a"b; DROP', '"a""b; DROP"'), ("", '""')]
)
def test_grants_name_the_user_as_sql_does(user: str, spelled: str) -> None:
    assert reading_grants(user) == (
        f"GRANT USAGE ON SCHEMA seedlab TO {spelled};",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA seedlab TO {spelled};",
    )


@pytest.mark.parametrize("user", ["select", "user", "all"])
def test_grants_to_a_role_that_is_named_like_a_word_of_sql_can_be_run(
    clean_postgres_url: str, postgres_server: PostgresServer, user: str
) -> None:
    if postgres_server.superuser_url is None:
        pytest.skip("the server given lets us make no role")
    own = urlsplit(postgres_server.superuser_url)._replace(path=urlsplit(clean_postgres_url).path)
    with psycopg.connect(own.geturl()) as admin:
        admin.execute(sql.SQL("CREATE SCHEMA seedlab; CREATE ROLE {}").format(sql.Identifier(user)))
        for grant in reading_grants(user):
            admin.execute(grant.encode())
        admin.rollback()


def test_rights_are_asked_of_the_table_that_a_seed_means(
    clean_postgres_url: str, postgres_server: PostgresServer
) -> None:
    if postgres_server.superuser_url is None:
        pytest.skip("the server given lets us make no role")
    role = f"reader_{uuid.uuid4().hex}"
    execute(
        clean_postgres_url,
        'CREATE TABLE "a.b" (n int); CREATE SCHEMA a; CREATE TABLE a.b (n int); CREATE TABLE "c.d" (n int)',
    )
    with psycopg.connect(postgres_server.superuser_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN")
        execute(clean_postgres_url, f"GRANT USAGE ON SCHEMA a, public TO {role}")
        guest = urlsplit(clean_postgres_url)._replace(
            netloc=f"{role}@{urlsplit(clean_postgres_url).hostname or ''}"
        )
        found = rights(parse_target(guest.geturl(), "test"), ["a.b", "c.d"])
        execute(clean_postgres_url, f"REVOKE USAGE ON SCHEMA a, public FROM {role}")
        admin.execute(f"DROP ROLE {role}")

    assert found.grants == (f'GRANT SELECT, INSERT, UPDATE ON "c.d", a.b TO "{role}";',)
