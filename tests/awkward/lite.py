"""What SQLite has of all this, and what only SQLite has."""

from __future__ import annotations

from tests.awkward import Schema
from tests.awkward.names import ODD, OURS, quoted

KINDS = Schema(
    name="tables-of-every-kind",
    ddl="""
        CREATE TABLE plain (id INTEGER PRIMARY KEY, v);
        CREATE TABLE auto (id INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT NOT NULL UNIQUE);
        CREATE TABLE bare (a TEXT, b INT, PRIMARY KEY (a, b)) WITHOUT ROWID;
        CREATE TABLE firm (id INTEGER PRIMARY KEY, n INT NOT NULL, r REAL, t TEXT, x ANY, b BLOB) STRICT;
        CREATE TABLE down (id INTEGER PRIMARY KEY DESC, v TEXT);
        CREATE TABLE made (w INT, h INT, area INT AS (w * h) STORED, twice INT AS (w * 2), v TEXT, PRIMARY KEY (w, h));
    """,
    files={
        "plain.csv": "id,v\n5,a\n2,b\n",
        "auto.csv": "code\nx\ny\n",
        "bare.csv": "b,a\n1,x\n2,x\n",
        "firm.csv": "id,n,r,t,x\n1,1,0.5,a,z\n2,2,,,\n",
        "down.csv": "id,v\n-1,a\n1,b\n",
        "made.csv": "w,h,v,area\n2,3,a,6\n1,1,b,7\n",
    },
    rows=12,
    holds={
        "SELECT id FROM auto": [(1,), (2,)],
        "SELECT area, twice FROM made ORDER BY 1": [(1, 2), (6, 4)],
        "SELECT * FROM plain ORDER BY 1": [(2, "b"), (5, "a")],
    },
    change={"made.csv": "w,h,v,area\n2,3,A,6\n1,1,b,7\n"},
    held={"SELECT v FROM made ORDER BY area": [("b",), ("A",)]},
    insert="INSERT INTO auto (code) VALUES ('z'); INSERT INTO plain (v) VALUES (9);",
    inserted={"SELECT max(id) FROM auto": [(3,)], "SELECT max(id) FROM plain": [(6,)]},
)  # fmt: skip

DEFERRED = Schema(
    name="foreign-keys-deferred-and-not",
    ddl="""
        CREATE TABLE a (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, b_id INT NOT NULL REFERENCES b DEFERRABLE INITIALLY DEFERRED);
        CREATE TABLE b (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, c_id INT NOT NULL REFERENCES c);
        CREATE TABLE c (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, a_id INT NOT NULL REFERENCES a, up INT REFERENCES c);
        CREATE TABLE tenants (id INT PRIMARY KEY);
        CREATE TABLE users (tenant INT REFERENCES tenants, id INT, boss INT, PRIMARY KEY (tenant, id), FOREIGN KEY (tenant, boss) REFERENCES users);
    """,
    files={
        "a.csv": "code,b.code\nx,y\ny,x\n",
        "b.csv": "code,c.code\nx,y\ny,x\n",
        "c.csv": "code,a.code,up.code\nx,y,y\ny,x,\n",
        "tenants.csv": "id\n1\n2\n",
        "users.csv": "id,tenant,boss\n2,1,1\n1,1,\n1,2,1\n",
    },
    rows=11,
    holds={
        "SELECT a.code, b.code FROM a JOIN b ON b.id = b_id ORDER BY 1": [("x", "y"), ("y", "x")],
        "SELECT * FROM users ORDER BY 1, 2": [(1, 1, None), (1, 2, 1), (2, 1, 1)],
    },
    change={"users.csv": "id,tenant,boss\n2,1,2\n1,1,\n1,2,1\n"},
    held={"SELECT boss FROM users ORDER BY tenant, id": [(None,), (2,), (1,)]},
    insert="INSERT INTO tenants VALUES (3);",
)  # fmt: skip

NAMES = Schema(
    name="odd-names",
    ddl="".join(
        f"CREATE TABLE {quoted(name)} (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, up_id INT REFERENCES {quoted(name)});"
        for name in ODD
        if name != "order"
    )
    + f"CREATE TABLE t (id INT PRIMARY KEY, up INT REFERENCES \"7\", {', '.join(f'{quoted(n)} TEXT' for n in OURS)});",
    files={f"{name}.csv": "code,up.code\nb,a\na,\n" for name in ODD if name != "order"}
    | {"t.csv": "id," + ",".join(OURS) + "\n1," + ",".join(OURS) + "\n"},
    rows=2 * len(ODD) - 1,
    holds={
        **{f"SELECT code FROM {quoted(name)} WHERE up_id IS NOT NULL": [("b",)] for name in ODD},
        f"SELECT {', '.join(map(quoted, OURS))} FROM t": [OURS],
    },
    change={"Order.csv": "code,up.code\nb,b\na,\n"},
    insert='INSERT INTO "2024_sales" (code) VALUES (1);',
)  # fmt: skip

CONSTRAINTS = Schema(
    name="indexes-and-triggers",
    ddl="""
        CREATE TABLE mails (id INT PRIMARY KEY, address TEXT COLLATE NOCASE NOT NULL, active INT CHECK (active IN (0, 1)));
        CREATE UNIQUE INDEX some ON mails (address) WHERE active; CREATE UNIQUE INDEX low ON mails (lower(address) || id);
        CREATE TABLE tags (name TEXT COLLATE NOCASE PRIMARY KEY, n NUMERIC);
        CREATE TABLE audit (n INTEGER PRIMARY KEY, what TEXT);
        CREATE TRIGGER i AFTER INSERT ON tags BEGIN INSERT INTO audit (what) VALUES ('new ' || NEW.name); END;
        CREATE TRIGGER u AFTER UPDATE ON tags BEGIN INSERT INTO audit (what) VALUES ('set ' || NEW.name); END;
    """,
    files={"mails.csv": "id,address,active\n1,a,1\n2,A,0\n", "tags.csv": "name,n\nRed,1.0\nblue,2\n"},
    rows=4,
    holds={"SELECT what FROM audit ORDER BY 1": [("new Red",), ("new blue",)]},
    change={"tags.csv": "name,n\nred,1\nBLUE,3\n"},
    held={"SELECT what FROM audit WHERE n > 2": [("set blue",)], "SELECT name, n FROM tags ORDER BY 2": [("Red", 1), ("blue", 3)]},
    insert="INSERT INTO tags VALUES ('new', 1);",
)  # fmt: skip

DEFAULTS = Schema(
    name="ids-from-defaults",
    ddl="""
        CREATE TABLE tokens (id TEXT PRIMARY KEY DEFAULT (lower(hex(randomblob(8)))), code TEXT NOT NULL UNIQUE, made TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP);
        CREATE TABLE uses (id INTEGER PRIMARY KEY, n INT UNIQUE NOT NULL, token_id TEXT NOT NULL REFERENCES tokens);
    """,
    files={"tokens.csv": "code\nx\ny\n", "uses.csv": "n,token.code\n1,y\n2,y\n"},
    rows=4,
    holds={"SELECT n, code FROM uses JOIN tokens t ON t.id = token_id ORDER BY 1": [(1, "y"), (2, "y")]},
    change={"uses.csv": "n,token.code\n1,y\n2,x\n"},
    held={"SELECT n, code FROM uses JOIN tokens t ON t.id = token_id ORDER BY 1": [(1, "y"), (2, "x")]},
    insert="INSERT INTO tokens (code) VALUES ('z');",
)  # fmt: skip

ALL = [KINDS, DEFERRED, NAMES, CONSTRAINTS, DEFAULTS]
