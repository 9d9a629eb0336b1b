"""Ids that stand in for those of new rows where no sequence may step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from seedlab.errors import WriteError
from seedlab.flow import Catalog, Reserve
from seedlab.steps.resolving.write_plan import placeholders
from tests.support.tables import catalog, table


def rooms(kind: str, **others: str) -> Catalog:
    """A table `rooms`, and tables that refer to it, or to one another, by a column of the type given."""
    tables = [table("rooms", {"id": f"{kind} not null"}, primary=["id"])]
    for name, words in others.items():
        spelling, _, parent = words.partition(" > ")
        refers = {"room_id": f"{parent}.room_id" if parent else "rooms.id"}
        tables.append(table(name, {"room_id": f"{spelling} not null"}, primary=["room_id"], refers=refers))
    return catalog(*tables)


def ids(count: int) -> list[Reserve]:
    return [Reserve(table="rooms", column="id", count=count)]


@pytest.mark.parametrize(("kind", "lowest"), [("int2", -(2**15)), ("int4", -(2**31)), ("int8", -(2**63))])
def test_they_begin_at_the_far_end_of_the_type_but_not_at_the_very_end(kind: str, lowest: int) -> None:
    assert placeholders(rooms(kind))(ids(3))[0] == [lowest + 1, lowest + 2, lowest + 3]


def test_no_two_rows_of_a_table_get_the_same() -> None:
    reserve = placeholders(rooms("int4"))

    taken = reserve(ids(100))[0] + reserve(ids(1))[0] + reserve(ids(100))[0]

    assert len(set(taken)) == 201


def test_a_column_of_two_bytes_gets_as_many_as_its_sequence_has() -> None:
    taken = placeholders(rooms("int2"))(ids(2**15 - 1))[0]

    assert (min(taken), max(taken), len(set(taken))) == (-(2**15) + 1, -1, 2**15 - 1)


def test_more_rows_than_the_column_has_ids_are_an_error() -> None:
    reserve = placeholders(rooms("int2"))
    reserve(ids(2**15 - 1))[0]

    with pytest.raises(WriteError, match="column id of table rooms is int2, which is too small"):
        reserve(ids(1))[0]


def test_they_fit_whoever_refers_to_them_over_many_tables() -> None:
    known = rooms("int8", keys="int8", locks="int2 > keys")

    assert placeholders(known)(ids(1))[0] == [-(2**15) + 1]


def test_where_a_referring_column_has_not_enough_its_width_is_not_kept() -> None:
    known = rooms("int8", keys="int4", locks="int2")

    assert placeholders(known)(ids(2**15))[0][0] == -(2**31) + 1


def test_tables_that_refer_to_each_other_come_to_an_end() -> None:
    own = table("rooms", {"id": "int4 not null"}, primary=["id"], refers={"id": "keys.id"})
    keys = table("keys", {"id": "int2 not null"}, primary=["id"], refers={"id": "rooms.id"})

    assert placeholders(catalog(own, keys))(ids(1))[0] == [-(2**15) + 1]


def test_a_domain_gets_them_from_above_as_it_may_refuse_what_is_below_zero() -> None:
    known = rooms("int4")
    id_ = replace(known.tables["rooms"].columns["id"], domain=True)
    positive = replace(known.tables["rooms"], columns={"id": id_})

    assert placeholders(catalog(positive))(ids(2))[0] == [2**31 - 1, 2**31 - 2]
