"""The SQL that PostgreSQL is sent, read without a server."""

from __future__ import annotations

from dataclasses import replace

from psycopg.sql import SQL, Composable

from seedlab.database.postgres import classify_statements
from seedlab.database.postgres import statements as sql
from seedlab.database.postgres import transaction_statements as transaction
from seedlab.database.postgres.lookup_statements import lookup
from seedlab.flow import Load, Settings
from seedlab.plan.binder import bind
from tests.support.tables import COURSES, FACULTIES, SCHOOL, catalog, column, given, table

ODD = table('we"ird', {'na"me': "text not null", "order": "int4"}, primary=['na"me'])


def text(statement: Composable) -> str:
    return statement.as_string(None)


def load_of(name: str, *columns: str, **spec: object) -> Load:
    return bind(SCHOOL, [given(name, columns, **spec)]).loads[0]


def test_identifiers_are_quoted_whatever_they_hold() -> None:
    assert text(sql.qualified(ODD)) == '"public"."we""ird"'
    assert text(sql.names(ODD.columns)) == '"na""me", "order"'
    assert text(sql.names(["a"], "t")) == '"t"."a"'


def test_the_transaction_is_opened_with_everything_set_for_it_alone() -> None:
    settings = Settings(lock_timeout="5s", statement_timeout="1min")

    opened = [text(each) for each in transaction.opening(settings, SQL('"$user", public'), read_only=False)]

    assert opened[0] == "BEGIN ISOLATION LEVEL REPEATABLE READ"
    assert """SET LOCAL "lock_timeout" = '5s'""" in opened
    assert """SET LOCAL "statement_timeout" = '1min'""" in opened
    assert """SET LOCAL "timezone" = 'UTC'""" in opened
    assert opened[-1] == 'SET LOCAL search_path = "$user", public, pg_temp'
    assert all(each.startswith("SET LOCAL") for each in opened[1:])


def test_a_timeout_that_nobody_asked_for_is_left_to_the_server() -> None:
    opened = [text(each) for each in transaction.opening(Settings(), SQL("public"), read_only=True)]

    assert opened[0] == "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    assert not [each for each in opened if "statement_timeout" in each]


def test_a_setting_cannot_leave_its_quotes() -> None:
    opened = [
        text(each)
        for each in transaction.opening(Settings(lock_timeout="'; DROP"), SQL("public"), read_only=False)
    ]

    assert """SET LOCAL "lock_timeout" = '''; DROP'""" in opened


def test_foreign_keys_are_dropped_and_made_again_by_the_servers_definition() -> None:
    key = replace(
        FACULTIES.foreign_keys[0],
        definition="FOREIGN KEY (university_id) REFERENCES universities(id)",
        comment="it's",
    )
    faculties = replace(FACULTIES, foreign_keys=(key,))

    assert text(sql.drop_foreign_keys(faculties, [key])) == (
        'ALTER TABLE "public"."faculties" DROP CONSTRAINT "faculties_university_id_fkey"'
    )
    assert text(sql.add_foreign_keys(faculties, [key])) == (
        'ALTER TABLE "public"."faculties" ADD CONSTRAINT "faculties_university_id_fkey" '
        "FOREIGN KEY (university_id) REFERENCES universities(id)"
    )
    assert text(sql.comment_foreign_key(faculties, key)).endswith("""ON "public"."faculties" IS 'it''s'""")


def test_tables_are_locked_together_in_one_statement() -> None:
    assert text(sql.lock_exclusively([FACULTIES, COURSES])) == (
        'LOCK TABLE "public"."faculties", "public"."courses" IN ACCESS EXCLUSIVE MODE NOWAIT'
    )
    assert text(sql.lock_for_writing([FACULTIES])).endswith("IN SHARE ROW EXCLUSIVE MODE")


def test_emptiness_is_asked_of_all_tables_in_one_statement() -> None:
    assert text(sql.find_empty([FACULTIES, COURSES])).count("NOT EXISTS (SELECT FROM") == 2


def test_a_merge_updates_only_rows_that_differ_and_inserts_only_rows_not_found() -> None:
    load = load_of("universities", "slug", "name")
    made = text(
        sql.merge(
            [
                sql.MergeStep(
                    load, SCHOOL.tables["universities"], sql.arrays_source(load.columns), as_text=True
                )
            ]
        )
    )

    assert 'LEFT JOIN "public"."universities" t ON "t"."slug" = "s"."slug"' in made
    assert '("s"."name" IS DISTINCT FROM "t"."name") AS _seedlab_differs' in made
    assert 'SET "name" = "s"."name"' in made
    assert "ON CONFLICT" not in made
    assert "WHERE NOT _seedlab_hit" in made
    assert made.count("$") == 3


def test_a_merge_never_changes_a_key_or_an_id() -> None:
    load = load_of("universities", "slug", "name")

    assert sql.compared(load, SCHOOL.tables["universities"]) == ["name"]


def test_a_merge_in_insert_mode_updates_nothing() -> None:
    load = replace(load_of("universities", "slug", "name"), mode="insert")

    made = text(
        sql.merge(
            [
                sql.MergeStep(
                    load, SCHOOL.tables["universities"], sql.arrays_source(load.columns), as_text=True
                )
            ]
        )
    )

    assert "UPDATE" not in made
    assert 'SELECT 0, (SELECT count(*) FROM "i0"), (SELECT count(*) FROM "j0"), ' in made


def test_the_merges_of_a_cycle_are_one_statement_with_counts_for_each() -> None:
    load = load_of("universities", "slug", "name")
    step = sql.MergeStep(load, SCHOOL.tables["universities"], sql.arrays_source(load.columns), as_text=True)

    made = text(sql.merge([step, step]))

    for n in range(2):
        counts = (
            f'(SELECT count(*) FROM "u{n}"), (SELECT count(*) FROM "i{n}"), (SELECT count(*) FROM "j{n}")'
        )
        assert f"{counts}, (SELECT array_agg" in made


PRICES = table(
    "prices",
    {
        "code": "text not null",
        "label": "varchar(9)",
        "price": column("price", "numeric", send="pg_catalog.numeric_send"),
    },
    primary=["code"],
)


def price_load(**facts: object) -> Load:
    (load,) = bind(catalog(PRICES), [given("prices", ["code", "label", "price"])]).loads
    return replace(load, **facts)  # type: ignore[arg-type]


def test_a_classification_is_the_judgement_of_a_merge_without_its_writing() -> None:
    load = price_load()
    judgement = f"WITH {text(sql.classified(0, load, PRICES, sql.arrays_source(load.columns), as_text=True))}"

    made = text(classify_statements.counts(load, PRICES))

    assert judgement.startswith(
        'WITH "j0" AS MATERIALIZED (SELECT s.*, t.tableoid IS NOT NULL AS _seedlab_hit'
    )
    assert made == (
        f"{judgement} SELECT count(*) FILTER (WHERE _seedlab_hit AND _seedlab_differs), "
        "count(*) FILTER (WHERE NOT _seedlab_hit), count(*) FROM j0"
    )


def test_a_classification_in_insert_mode_finds_no_row_different() -> None:
    made = text(classify_statements.counts(price_load(mode="insert"), PRICES))

    assert "false AS _seedlab_differs" in made


def test_differences_are_asked_of_the_same_judgement_with_the_place_of_each_row() -> None:
    load = price_load()
    judgement, _, _ = text(classify_statements.counts(load, PRICES)).partition(" SELECT count")
    placed = judgement.replace(') AS "price" FROM', ') AS "price", "r"."_seedlab_row" FROM').replace(
        ') AS r("code", "label", "price")', ') WITH ORDINALITY AS r("code", "label", "price", "_seedlab_row")'
    )

    made = text(classify_statements.differences(load, PRICES))

    assert placed != judgement
    assert made == (
        f'{placed} SELECT s."_seedlab_row", d.name, d.was, d.becomes FROM j0 s '
        'LEFT JOIN "public"."prices" t ON s._seedlab_hit AND "t"."code" = "s"."code" '
        "CROSS JOIN LATERAL (VALUES (NULL::text, NULL::text, NULL::text, NOT s._seedlab_hit), "
        """('label', "t"."label"::text, "s"."label"::text, s._seedlab_hit AND ("s"."label" IS DISTINCT FROM "t"."label")), """
        """('price', "t"."price"::text, "s"."price"::text, s._seedlab_hit AND ("""
        'pg_catalog.numeric_send("s"."price") IS DISTINCT FROM pg_catalog.numeric_send("t"."price")))) '
        "d(name, was, becomes, is_so) WHERE (s._seedlab_differs OR NOT s._seedlab_hit) AND d.is_so"
    )


def test_in_insert_mode_only_new_rows_are_told() -> None:
    made = text(classify_statements.differences(price_load(mode="insert"), PRICES))

    assert "(VALUES (NULL::text, NULL::text, NULL::text, NOT s._seedlab_hit)) d(" in made


def test_a_classification_writes_nothing() -> None:
    for build in (classify_statements.counts, classify_statements.differences):
        made = text(build(price_load(), PRICES))

        assert not [word for word in ("INSERT", "UPDATE", "DELETE", "CREATE", "RETURNING") if word in made]


def test_a_type_whose_equality_is_blind_is_compared_through_its_send_function() -> None:
    prices = table(
        "prices",
        {"code": "text not null", "price": column("price", "numeric", send="pg_catalog.numeric_send")},
        primary=["code"],
    )
    (load,) = bind(catalog(prices), [given("prices", ["code", "price"])]).loads

    made = text(sql.merge([sql.MergeStep(load, prices, sql.arrays_source(load.columns), as_text=True)]))

    assert (
        'pg_catalog.numeric_send("s"."price") IS DISTINCT FROM pg_catalog.numeric_send("t"."price")' in made
    )


def test_an_identity_column_that_is_given_overrides_the_system() -> None:
    rooms = table("rooms", {"id": column("id", "int4 not null", identity="always")}, primary=["id"])
    (load,) = bind(catalog(rooms), [given("rooms", ["id"])]).loads

    assert "OVERRIDING SYSTEM VALUE" in text(
        sql.merge([sql.MergeStep(load, rooms, sql.arrays_source(["id"]), as_text=True)])
    )


def test_sources_number_their_parameters() -> None:
    assert text(sql.arrays_source(["a", "b"], first=3)) == (
        'unnest($3::pg_catalog.text[], $4::pg_catalog.text[]) AS r("a", "b")'
    )
    assert text(sql.values_source(["a", "b"], rows=2)) == (
        '(SELECT v.*, row_number() OVER () AS "_seedlab_place" '
        'FROM (VALUES ($1::text, $2::text), ($3::text, $4::text)) AS v("a", "b")) AS r'
    )


def test_a_look_up_walks_the_key_chain_by_joins() -> None:
    load = load_of("courses", "code", "faculty.code", "faculty.university.slug")
    reference = load.references[0]

    made = text(lookup(SCHOOL, "faculties", reference.parts, ["id"], 150_000))

    assert made == (
        'SELECT k.n, "t"."id"::text FROM "public"."faculties" t '
        'JOIN "public"."universities" "t_0" ON "t"."university_id" = "t_0"."id" '
        'JOIN unnest($1::pg_catalog.text[], $2::pg_catalog.text[]) WITH ORDINALITY k("c1", "c2", n) '
        'ON "t"."code" = CAST("k"."c1" AS text) AND "t_0"."slug" = CAST("k"."c2" AS text)'
    )


def test_a_sequence_is_read_and_raised_by_the_servers_own_name_for_it() -> None:
    id_ = column("id", "int4 not null", sequence='public."Odd_seq"')
    rooms = table("rooms", {"id": id_}, primary=["id"])

    assert text(sql.reserve(id_, 3)).startswith("""SELECT pg_catalog.nextval('public."Odd_seq"'""")
    raised = text(sql.raise_sequence(rooms, id_))
    assert 'FROM pg_catalog.pg_sequence q, public."Odd_seq" s' in raised
    assert """q.seqrelid = 'public."Odd_seq"'::pg_catalog.regclass""" in raised


def test_a_staging_table_has_the_targets_types_and_ends_with_the_transaction() -> None:
    made = text(sql.staging_table("s", FACULTIES, ["code"]))

    assert made == (
        'CREATE TEMPORARY TABLE "pg_temp"."s" ON COMMIT DROP AS '
        'SELECT "code" FROM "public"."faculties" WITH NO DATA'
    )
