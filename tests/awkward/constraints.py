"""Constraints, indexes and triggers of every kind, deferred, not valid and not enforced ones among them."""

from __future__ import annotations

from tests.awkward import Schema

UNIQUES = Schema(
    name="unique-indexes-of-every-kind",
    ddl="""
        CREATE TABLE mails (id int PRIMARY KEY, address text NOT NULL, active boolean NOT NULL, alias text, n int);
        CREATE UNIQUE INDEX ON mails (lower(address)) WHERE active;
        CREATE UNIQUE INDEX ON mails (alias) NULLS NOT DISTINCT;
        CREATE UNIQUE INDEX ON mails (n) INCLUDE (address);
        CREATE TABLE slugs (slug text NOT NULL, lang text, title text, UNIQUE NULLS NOT DISTINCT (slug, lang));
    """,
    files={
        "mails.csv": "id,address,active,alias,n\n1,A@x,true,,1\n2,a@x,false,b,\n3,a@X,false,c,\n",
        "slugs.csv": "slug,lang,title\na,en,x\na,de,y\nb,en,z\n",
    },
    rows=6,
    change={"slugs.csv": "slug,lang,title\na,en,x\na,de,Y\nb,en,z\n"},
    held={"SELECT title FROM slugs ORDER BY slug, lang": [("Y",), ("x",), ("z",)]},
    insert="INSERT INTO mails VALUES (4, 'new', true, 'd', 4)",
)

CHECKS = Schema(
    name="checks-and-exclusions",
    ddl="""
        CREATE TABLE rooms (id int PRIMARY KEY, name text NOT NULL CHECK (name <> ''));
        CREATE TABLE bookings (id int PRIMARY KEY, room_id int REFERENCES rooms, at date NOT NULL, until date NOT NULL, "%" int,
          CHECK (until > at), CONSTRAINT "odd %s {name}" CHECK ("%" BETWEEN 0 AND 100 OR "%" IS NULL),
          EXCLUDE USING gist (daterange(at, until) WITH &&) WHERE (room_id = 1) DEFERRABLE INITIALLY DEFERRED);
    """,
    files={
        "bookings.csv": "id,room_id,at,until,%\n1,1,2024-01-01,2024-01-03,5\n2,1,2024-01-03,2024-01-05,\n3,2,2024-01-01,2024-01-09,100\n",
        "rooms.csv": "id,name\n1,a\n2,b\n",
    },
    rows=5,
    change={
        "bookings.csv": "id,room_id,at,until,%\n1,1,2024-01-01,2024-01-03,5\n2,1,2024-01-03,2024-01-06,\n3,2,2024-01-01,2024-01-09,100\n"
    },
    insert="INSERT INTO bookings VALUES (9, 1, '2025-01-01', '2025-01-02', 1)",
)

DEFERRED = Schema(
    name="deferrable-keys",
    ddl="""
        CREATE TABLE a (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text UNIQUE DEFERRABLE);
        CREATE TABLE b (id int PRIMARY KEY, p int UNIQUE DEFERRABLE INITIALLY DEFERRED);
        ALTER TABLE b ADD FOREIGN KEY (p) REFERENCES b DEFERRABLE INITIALLY IMMEDIATE;
    """,
    files={"a.csv": "id,v\n2,x\n1,y\n", "b.csv": "id,p\n1,2\n2,3\n3,\n"},
    rows=5,
    change={"b.csv": "id,p\n1,2\n2,3\n3,1\n"},
    insert="INSERT INTO a VALUES (3, 'z')",
)

SWAPPED = Schema(
    name="two-rows-swap-a-deferrable-unique-value",
    ddl="CREATE TABLE seats (id int PRIMARY KEY, place int NOT NULL UNIQUE DEFERRABLE INITIALLY DEFERRED);",
    files={"seats.csv": "id,place\n1,1\n2,2\n"},
    rows=2,
    change={"seats.csv": "id,place\n1,2\n2,1\n"},
    changed=(0, 2, 0),
    held={"SELECT place FROM seats ORDER BY id": [(2,), (1,)]},
)

VALID = "SELECT conname, convalidated, condeferrable, condeferred FROM pg_constraint WHERE conrelid::regclass::text IN ('kids', 'parents') AND contype IN ('c', 'f') ORDER BY 1"
NOT_VALID = Schema(
    name="constraints-that-are-not-valid",
    ddl="""
        CREATE TABLE parents (id int PRIMARY KEY, v text);
        CREATE TABLE kids (id int PRIMARY KEY, parent_id int, age int, n int);
        INSERT INTO kids VALUES (100, 77, -1, 0);
        ALTER TABLE kids ADD CONSTRAINT fk FOREIGN KEY (parent_id) REFERENCES parents DEFERRABLE NOT VALID;
        ALTER TABLE kids ADD CONSTRAINT positive CHECK (age > 0) NOT VALID;
    """,
    files={"kids.csv": "id,parent_id,age,n\n1,1,5,0\n2,2,6,0\n", "parents.csv": "id,v\n1,a\n2,b\n"},
    rows=4,
    holds={
        VALID: [("fk", False, True, False), ("positive", False, False, False)],
        "SELECT * FROM kids ORDER BY 1": [(1, 1, 5, 0), (2, 2, 6, 0), (100, 77, -1, 0)],
    },
    change={"kids.csv": "id,parent_id,age,n\n1,1,5,0\n2,2,6,7\n"},
    held={VALID: [("fk", False, True, False), ("positive", False, False, False)]},
)

NOT_VALID_EMPTY = Schema(
    name="constraints-that-are-not-valid-of-empty-tables",
    ddl="""
        CREATE TABLE parents (id int PRIMARY KEY, v text);
        CREATE TABLE kids (id int PRIMARY KEY, parent_id int, other_id int REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
        ALTER TABLE kids ADD CONSTRAINT fk FOREIGN KEY (parent_id) REFERENCES parents NOT VALID;
        COMMENT ON CONSTRAINT kids_other_id_fkey ON kids IS 'keep me';
    """,
    files={"kids.csv": "id,parent_id,other_id\n1,1,2\n2,2,\n", "parents.csv": "id,v\n1,a\n2,b\n"},
    rows=4,
    holds={
        VALID: [("fk", False, False, False), ("kids_other_id_fkey", True, True, True)],
        "SELECT obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE conname = 'kids_other_id_fkey'": [("keep me",)],
    },
    change={"kids.csv": "id,parent_id,other_id\n1,1,2\n2,2,1\n"},
)  # fmt: skip

NOT_ENFORCED = Schema(
    name="constraints-that-are-not-enforced",
    ddl="""
        CREATE TABLE parents (id int PRIMARY KEY, code text UNIQUE);
        CREATE TABLE kids (id int PRIMARY KEY, parent_id int, other_id int, age int CHECK (age > 0) NOT ENFORCED);
        ALTER TABLE kids ADD CONSTRAINT fk FOREIGN KEY (parent_id) REFERENCES parents NOT ENFORCED;
        ALTER TABLE kids ADD CONSTRAINT other FOREIGN KEY (other_id) REFERENCES parents NOT ENFORCED;
    """,
    files={"kids.csv": "id,parent_id,age,other.code\n1,1,5,b\n2,99,-6,\n", "parents.csv": "id,code\n1,a\n2,b\n"},
    rows=4,
    holds={"SELECT * FROM kids ORDER BY 1": [(1, 1, 2, 5), (2, 99, None, -6)]},
    change={"kids.csv": "id,parent_id,age,other.code\n1,1,5,b\n2,98,-6,\n"},
    needs=18,
)  # fmt: skip

TEMPORAL = Schema(
    name="temporal-keys-and-foreign-keys",
    ddl="""
        CREATE TABLE rooms (id int4range, valid daterange, name text, PRIMARY KEY (id, valid WITHOUT OVERLAPS));
        CREATE TABLE stays (code text PRIMARY KEY, "PERIOD room" int4range, during daterange NOT NULL,
          FOREIGN KEY ("PERIOD room", PERIOD during) REFERENCES rooms (id, PERIOD valid));
    """,
    files={
        "rooms.csv": 'id,valid,name\n"[1,2)","[2024-01-01,2024-06-01)",a\n"[1,2)","[2024-06-01,)",b\n',
        "stays.csv": 'code,PERIOD room,during\nx,"[1,2)","[2024-05-01,2024-07-01)"\ny,,"[2020-01-01,)"\n',
    },
    rows=4,
    holds={
        "SELECT code, during::text FROM stays ORDER BY 1": [
            ("x", "[2024-05-01,2024-07-01)"),
            ("y", "[2020-01-01,)"),
        ],
        "SELECT convalidated FROM pg_constraint WHERE contype = 'f' AND conrelid = 'stays'::regclass": [(True,)],
    },
    change={"stays.csv": 'code,PERIOD room,during\nx,"[1,2)","[2024-02-01,2024-07-01)"\ny,,"[2020-01-01,)"\n'},
    held={"SELECT during::text FROM stays ORDER BY code": [("[2024-02-01,2024-07-01)",), ("[2020-01-01,)",)]},
    needs=18,
)  # fmt: skip

AUDIT = """
    CREATE TABLE audit (n serial PRIMARY KEY, what text, who text, was text, now text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO audit (what, who, was, now) VALUES (TG_NAME || ' ' || TG_OP, NEW.code, CASE WHEN TG_OP = 'UPDATE' THEN OLD.v END, NEW.v);
      RETURN NEW; END $$;
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := '2024-01-01'::timestamptz + NEW.touched * interval '1 day';
      NEW.touched := NEW.touched + 1; RETURN NEW; END $$;
"""
TRIGGERS = Schema(
    name="triggers",
    ddl=f"""{AUDIT}
        CREATE TABLE things (code text PRIMARY KEY, v text, updated_at timestamptz, touched int NOT NULL DEFAULT 0);
        CREATE TABLE parts (code text PRIMARY KEY, v text, thing_code text NOT NULL REFERENCES things);
        CREATE TRIGGER b BEFORE INSERT OR UPDATE ON things FOR EACH ROW EXECUTE FUNCTION touch();
        CREATE TRIGGER a AFTER INSERT OR UPDATE ON things FOR EACH ROW EXECUTE FUNCTION note();
        CREATE TRIGGER p BEFORE INSERT OR UPDATE ON parts FOR EACH ROW EXECUTE FUNCTION note();
        CREATE CONSTRAINT TRIGGER d AFTER INSERT OR UPDATE ON parts DEFERRABLE INITIALLY DEFERRED
          FOR EACH ROW EXECUTE FUNCTION note();
    """,
    files={"things.csv": "code,v\na,1\nb,2\nc,3\n", "parts.csv": "code,v,thing_code\nx,1,c\n"},
    rows=4,
    holds={
        "SELECT what, who, was, now FROM audit ORDER BY 1, 2": [
            ("a INSERT", "a", None, "1"),
            ("a INSERT", "b", None, "2"),
            ("a INSERT", "c", None, "3"),
            ("d INSERT", "x", None, "1"),
            ("p INSERT", "x", None, "1"),
        ],
        "SELECT touched FROM things": [(1,), (1,), (1,)],
    },
    change={"things.csv": "code,v\na,1\nb,9\nc,3\n"},
    held={
        "SELECT what, who, was, now FROM audit WHERE what LIKE '% UPDATE'": [("a UPDATE", "b", "2", "9")],
        "SELECT code, touched FROM things ORDER BY 1": [("a", 1), ("b", 2), ("c", 1)],
    },
    insert="INSERT INTO parts VALUES ('y', '1', 'a')",
)

AUDITED = Schema(
    name="an-audit-table-that-refers-back",
    ddl="""
        CREATE TABLE items (id serial PRIMARY KEY, code text NOT NULL UNIQUE, v int);
        CREATE TABLE changes (n serial PRIMARY KEY, item_id int NOT NULL REFERENCES items, v int);
        CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO changes (item_id, v) VALUES (NEW.id, NEW.v); RETURN NULL; END';
        CREATE TRIGGER log AFTER INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION log();
        CREATE TABLE tags (item_id int REFERENCES items, tag text, PRIMARY KEY (item_id, tag));
    """,
    files={"items.csv": "code,v\na,1\nb,2\n", "tags.csv": "item.code,tag\nb,red\na,red\n"},
    rows=4,
    holds={"SELECT code, c.v FROM changes c JOIN items i ON i.id = item_id ORDER BY 1": [("a", 1), ("b", 2)]},
    change={"items.csv": "code,v\na,1\nb,3\n"},
    held={"SELECT code, c.v FROM changes c JOIN items i ON i.id = item_id ORDER BY 1, 2": [("a", 1), ("b", 2), ("b", 3)]},
)  # fmt: skip

ALL = [
    UNIQUES,
    CHECKS,
    DEFERRED,
    SWAPPED,
    NOT_VALID,
    NOT_VALID_EMPTY,
    NOT_ENFORCED,
    TEMPORAL,
    TRIGGERS,
    AUDITED,
]
