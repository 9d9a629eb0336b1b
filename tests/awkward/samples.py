"""Shapes that public sample databases have and other schemas have not."""

from __future__ import annotations

from tests.awkward import Schema

PAYMENTS = Schema(
    name="foreign-keys-of-single-partitions",
    ddl="""
        CREATE TABLE rental (id int PRIMARY KEY, code text NOT NULL UNIQUE);
        CREATE TABLE payment (gone int, id int, day date, rental_id int NOT NULL, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
        ALTER TABLE payment DROP COLUMN gone;
        CREATE TABLE payment_2023 PARTITION OF payment FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
        CREATE TABLE payment_2024 PARTITION OF payment FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
        CREATE TABLE payment_else PARTITION OF payment DEFAULT;
        ALTER TABLE payment_2023 ADD FOREIGN KEY (rental_id) REFERENCES rental;
        ALTER TABLE payment_2024 ADD FOREIGN KEY (rental_id) REFERENCES rental;
    """,
    files={
        "rental.csv": "id,code\n1,a\n2,b\n",
        "payment.csv": "id,day,rental_id\n1,2023-05-01,1\n2,2024-05-01,2\n3,1999-01-01,77\n",
    },
    rows=5,
    change={"payment.csv": "id,day,rental_id\n1,2023-05-01,2\n2,2024-05-01,2\n3,1999-01-01,77\n"},
    held={"SELECT rental_id FROM payment ORDER BY id": [(2,), (2,), (77,)]},
)  # fmt: skip

NAMED_PAYMENTS = Schema(
    name="a-reference-by-the-foreign-key-of-a-partition",
    ddl=PAYMENTS.ddl,
    files={
        "rental.csv": "id,code\n1,a\n2,b\n",
        "payment.csv": "id,day,rental.code\n1,2023-05-01,a\n2,2024-05-01,b\n",
    },
    rows=4,
    holds={"SELECT rental_id FROM payment ORDER BY id": [(1,), (2,)]},
)

TWICE = Schema(
    name="two-foreign-keys-that-say-the-same",
    ddl="""
        CREATE TABLE servers (id serial PRIMARY KEY, tag text NOT NULL UNIQUE);
        CREATE TABLE options (id serial PRIMARY KEY, code text NOT NULL UNIQUE);
        CREATE TABLE options_servers (option_id int NOT NULL REFERENCES options, server_id int NOT NULL REFERENCES servers, PRIMARY KEY (option_id, server_id));
        ALTER TABLE options_servers ADD CONSTRAINT again FOREIGN KEY (server_id) REFERENCES servers ON DELETE CASCADE;
    """,
    files={
        "servers.csv": "tag\nall\none\n",
        "options.json": '[{"code": "a", "servers": ["all"]}, {"code": "b", "servers": []}]',
        "options_servers.csv": "option.code,server.tag\nb,one\nb,all\n",
    },
    rows=7,
    holds={"SELECT tag FROM options_servers JOIN servers ON server_id = servers.id JOIN options ON option_id = options.id ORDER BY code, tag": [("all",), ("all",), ("one",)]},
    change={"options_servers.csv": "option.code,again.tag\nb,one\nb,all\na,one\n"},
    changed=(1, 0, 7),
)  # fmt: skip

ALL = [PAYMENTS, NAMED_PAYMENTS, TWICE]
