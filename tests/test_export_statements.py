"""The SQL of an export, read without a server."""

from __future__ import annotations

from seedlab.database import export_statements as sql
from seedlab.flow import Catalog, Column, Dialect, ForeignKey, Table, UniqueKey
from seedlab.flow.exports import Leaf, TableExport, Tie

SLUG = Column(name="slug", type="text", kind="text", nullable=False)
ID = Column(name="id", type="integer", kind="int4", nullable=False, sequence="s")
AUTHOR = Column(name="author_id", type="integer", kind="int4")
KEY = ForeignKey(name="fk", columns=("author_id",), parent="authors", parent_columns=("id",))
CODE = Column(name='co"de', type="integer", kind="int4", nullable=False)
OWN = Leaf(name='co"de', column=CODE)
EXPORT = TableExport(
    table="books",
    key=('co"de',),
    leaves=(OWN, Leaf(name="author.slug", column=SLUG, path=(KEY,))),
    order=(Leaf(name="author.slug", column=SLUG, path=(KEY,)), OWN),
)


def catalog(dialect: Dialect) -> Catalog:
    schema = "main" if dialect == "sqlite" else "public"
    authors = Table(
        name="authors", schema=schema, relation="authors", columns={"id": ID, "slug": SLUG},
        keys=(UniqueKey(name="pk", columns=("id",), primary=True),),
    )  # fmt: skip
    books = Table(
        name="books", schema=schema, relation="books", columns={'co"de': CODE, "author_id": AUTHOR},
        foreign_keys=(KEY,), kind="partitioned" if dialect == "postgresql" else "table",
    )  # fmt: skip
    return Catalog(
        dialect=dialect, version="", database="", user="", default_schema=schema,
        tables={"authors": authors, "books": books},
    )  # fmt: skip


def test_parents_are_joined_and_rows_ordered_by_key() -> None:
    assert sql.copy_out(sql.select_rows(catalog("postgresql"), EXPORT)).as_string() == (
        'COPY (SELECT "t"."co""de", "p0"."slug" FROM "public"."books" AS t '
        'LEFT JOIN ONLY "public"."authors" AS "p0" ON "t"."author_id" = "p0"."id" '
        'ORDER BY "p0"."slug" COLLATE "C", "t"."co""de") TO STDOUT (FORMAT csv)'
    )
    assert sql.select_rows(catalog("sqlite"), EXPORT).as_string() == (
        'SELECT "t"."co""de", "p0"."slug" FROM "main"."books" AS t '
        'LEFT JOIN "main"."authors" AS "p0" ON "t"."author_id" = "p0"."id" '
        'ORDER BY "p0"."slug" COLLATE BINARY, "t"."co""de"'
    )


def test_ties_give_the_keys_of_parents_and_rows_without() -> None:
    tie = Tie(foreign_key=KEY, doubtful=True)

    assert sql.select_ties(catalog("sqlite"), EXPORT, [(tie, ("id",))]).as_string() == (
        'SELECT "t"."co""de", "p0"."id", '
        'CASE WHEN "t"."author_id" IS NOT NULL AND "p0"."id" IS NULL THEN 1 ELSE 0 END '
        'FROM "main"."books" AS t LEFT JOIN "main"."authors" AS "p0" ON "t"."author_id" = "p0"."id" '
        'ORDER BY "p0"."slug" COLLATE BINARY, "t"."co""de"'
    )


def test_tables_that_inherit_are_not_counted() -> None:
    authors = catalog("postgresql").tables["authors"]

    assert sql.count_values(authors, ["slug"], "postgresql").as_string() == (
        'SELECT count(*), count("slug") FROM ONLY "public"."authors"'
    )
    assert sql.count_distinct(authors, ["id", "slug"], "sqlite").as_string() == (
        'SELECT count(*) FROM (SELECT DISTINCT "id", "slug" FROM "public"."authors") AS q'
    )
