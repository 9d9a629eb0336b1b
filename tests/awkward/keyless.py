"""Tables with neither a primary key nor a unique constraint: their rows are told by all that they hold."""

from __future__ import annotations

from tests.awkward import Schema

LOG = Schema(
    name="no-key-and-equal-rows",
    ddl="""
        CREATE TABLE people (id serial PRIMARY KEY, name text NOT NULL UNIQUE);
        CREATE TABLE log (at timestamptz, level text NOT NULL DEFAULT 'info', person_id int REFERENCES people, detail jsonb, cost numeric, made timestamptz DEFAULT now());
        INSERT INTO people (name) VALUES ('ann');
        INSERT INTO log (level, person_id, cost) VALUES ('info', NULL, 1.50), ('mine', 1, 7), ('info', NULL, 1.50);
    """,
    files={
        "log.csv": 'level,person.name,cost,detail,at\ninfo,,1.50,,\ninfo,,1.50,,\ninfo,,1.50,,\nwarn,bob,1.5,"{""a"": 1}",2024-01-01T00:00:00Z\nwarn,bob,1.5,"{""a"": 1}",2024-01-01T00:00:00Z\n',
        "people.csv": "name\nbob\n",
    },
    rows=6,
    found=2,
    holds={
        "SELECT level, cost::text, count(*) FROM log GROUP BY 1, 2 ORDER BY 1": [
            ("info", "1.50", 3),
            ("mine", "7", 1),
            ("warn", "1.5", 2),
        ]
    },
    change={
        "log.csv": 'level,person.name,cost,detail,at\ninfo,,1.50,,\ninfo,,1.50,,\ninfo,,1.50,,\ninfo,,1.50,,\nwarn,bob,1.5,"{""a"": 1}",2024-01-01T00:00:00Z\nwarn,ann,1.5,"{""a"": 1}",2024-01-01T00:00:00Z\n'
    },
    changed=(2, 0, 5),
    held={
        "SELECT level, count(*) FROM log GROUP BY 1 ORDER BY 1": [("info", 4), ("mine", 1), ("warn", 3)],
    },
    insert="INSERT INTO log DEFAULT VALUES",
)

FRESH = Schema(
    name="no-key-and-empty",
    ddl="""
        CREATE TABLE points (x float8, y float8, shape point, tags text[], raw json, n int GENERATED ALWAYS AS IDENTITY, twice float8 GENERATED ALWAYS AS (x * 2) STORED);
    """,
    files={
        "points.csv": 'x,y,shape,tags,raw\n1,0.1,"(1,2)","{a,b}","{""b"": 1}"\n1,0.1,"(1,2)","{a,b}","{""b"": 1}"\nNaN,,,,\n'
    },
    rows=3,
    holds={"SELECT x::text, n, twice::text FROM points ORDER BY n": [("1", 1, "2"), ("1", 2, "2"), ("NaN", 3, "NaN")]},
    change={
        "points.csv": 'x,y,shape,tags,raw\n1,0.1,"(1,2)","{a,b}","{""b"": 1}"\n1,0.1,"(1,2)","{a,b}","{""b"": 2}"\nNaN,,,,\n'
    },
    changed=(1, 0, 2),
    held={"SELECT count(*) FROM points": [(4,)]},
    insert="INSERT INTO points (x) VALUES (5)",
)  # fmt: skip

PARTITIONED = Schema(
    name="no-key-and-partitions",
    ddl="""
        CREATE TABLE m (at date NOT NULL, v int) PARTITION BY RANGE (at);
        CREATE TABLE m_old PARTITION OF m FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
        CREATE TABLE m_new PARTITION OF m DEFAULT;
    """,
    files={"m.csv": "at,v\n2023-01-01,1\n2024-01-01,2\n2024-01-01,2\n"},
    rows=3,
    holds={"SELECT count(*) FROM m_new": [(2,)]},
    change={"m.csv": "at,v\n2023-01-01,1\n2024-01-01,2\n2024-01-01,2\n2024-01-01,2\n"},
    changed=(1, 0, 3),
    held={"SELECT count(*) FROM m_new": [(3,)]},
)

ALL = [LOG, FRESH, PARTITIONED]
