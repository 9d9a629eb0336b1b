"""What a delete knows before it asks a database: who refers to whom, and which tables go first."""

from __future__ import annotations

import random
from itertools import pairwise

from seedlab.database.postgres import delete_statements as sql
from seedlab.database.postgres.delete_statements import Doomed
from seedlab.database.removals import children_first, find_referrals
from tests.support.tables import COURSES, FACULTIES, SCHOOL, UNIVERSITIES, catalog, table


def chain(*edges: str) -> list[list[str]]:
    """The groups of tables `a`, `b`, … of which `ab` says that a refers to b."""
    names = sorted({name for edge in edges for name in edge})
    columns = {f"{name}_id": "int4" for name in names} | {"id": "int4 not null"}
    made = catalog(
        *(
            table(
                name,
                columns,
                primary=["id"],
                refers={f"{edge[1]}_id": f"{edge[1]}.id" for edge in edges if edge[0] == name},
            )
            for name in names
        )
    )
    random.shuffle(names)
    return children_first(names, find_referrals(made, names))


def test_children_go_before_their_parents() -> None:
    groups = chain("ab", "bc", "ac", "cd", "xd")

    place = {name: n for n, group in enumerate(groups) for name in group}
    assert all(a < b for a, b in pairwise(place[name] for name in "abcd"))
    assert place["x"] < place["d"]
    assert all(len(group) == 1 for group in groups)


def test_the_tables_of_a_cycle_share_a_group() -> None:
    assert chain("ab", "bc", "ca", "aa", "xa", "cy", "yz", "zy") == [["x"], ["a", "b", "c"], ["y", "z"]]


def test_tables_that_only_others_join_do_not_order_what_goes() -> None:
    referrals = find_referrals(SCHOOL, ["universities", "courses"])

    assert {each.child.name for each in referrals} == {"faculties", "prerequisites"}
    assert len(children_first(["universities", "courses"], referrals)) == 2


def test_every_value_is_a_parameter_and_its_cast_is_the_columns_own() -> None:
    doomed = [
        Doomed(table=UNIVERSITIES, columns=("slug",), arrays=["{x}"]),
        Doomed(table=FACULTIES, columns=("university_id", "code"), arrays=["{y}", "{z}"]),
    ]

    text = sql.delete(doomed).as_string(None)

    assert 'unnest($1::pg_catalog.text[]) AS r("slug")' in text
    assert 'unnest($2::pg_catalog.text[], $3::pg_catalog.text[]) AS r("university_id", "code")' in text
    assert 'CAST("r"."university_id" AS uuid)' in text
    assert 'DELETE FROM "public"."faculties" t USING "s1" s' in text


def test_a_staged_removal_takes_no_parameter() -> None:
    doomed = [
        Doomed(table=UNIVERSITIES, columns=("slug",), staged="_seedlab_delete_0"),
        Doomed(table=COURSES, columns=("code",), arrays=["{x}"]),
    ]

    text = sql.delete(doomed).as_string(None)

    assert 'FROM (SELECT "slug" FROM "pg_temp"."_seedlab_delete_0") AS r' in text
    assert "unnest($1::pg_catalog.text[])" in text
    assert "$2" not in text
