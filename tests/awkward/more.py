"""What the collection had not thought of at first."""

from __future__ import annotations

from tests.awkward import Schema

NULLABLE_KEY = Schema(
    name="only-a-nullable-unique-key",
    ddl="CREATE TABLE t (a int, b text, v text, UNIQUE NULLS NOT DISTINCT (a, b)); CREATE TABLE u (a int UNIQUE, v text);",
    files={"t.csv": "a,b,v\n1,x,p\n2,y,q\n", "u.csv": "a,v\n1,x\n2,y\n"},
    rows=4,
    change={"u.csv": "a,v\n1,x\n2,z\n"},
)

PARTIAL_ONLY = Schema(
    name="only-partial-and-expression-indexes",
    ddl="""CREATE TABLE t (email text NOT NULL, gone boolean NOT NULL DEFAULT false, v text);
        CREATE UNIQUE INDEX ON t (email) WHERE NOT gone; CREATE UNIQUE INDEX ON t (lower(v));""",
    files={"t.csv": "email,v\na,1\nb,2\n"},
    rows=2,
    change={"t.csv": "email,v\na,1\nb,2\nc,3\n"},
    changed=(1, 0, 2),
)

ONE_COLUMN = Schema(
    name="one-column-and-none",
    ddl="""CREATE TABLE codes (code text PRIMARY KEY); CREATE TABLE counters (id serial PRIMARY KEY, n int DEFAULT 0);
        CREATE TABLE links (a text REFERENCES codes, b text REFERENCES codes, PRIMARY KEY (a, b));""",
    files={"codes.csv": "code\na\nb\n", "counters.csv": "id\n7\n9\n", "links.csv": "b,a\na,b\nb,b\n"},
    rows=6,
    holds={"SELECT * FROM counters ORDER BY 1": [(7, 0), (9, 0)]},
    change={"codes.csv": "code\na\nb\nc\n"},
    changed=(1, 0, 6),
    insert="INSERT INTO counters DEFAULT VALUES",
    inserted={"SELECT max(id) FROM counters": [(10,)]},
)

FK_TO_UNIQUE = Schema(
    name="foreign-keys-to-other-unique-keys",
    ddl="""CREATE TABLE countries (id serial PRIMARY KEY, iso char(2) NOT NULL UNIQUE, name text NOT NULL UNIQUE);
        CREATE TABLE towns (id serial PRIMARY KEY, iso char(2) NOT NULL REFERENCES countries (iso) ON UPDATE CASCADE, name text, UNIQUE (iso, name));
        CREATE TABLE roads (a_iso char(2), a text, b_iso char(2), b text, PRIMARY KEY (a_iso, a, b_iso, b),
          FOREIGN KEY (a_iso, a) REFERENCES towns (iso, name), FOREIGN KEY (b_iso, b) REFERENCES towns (iso, name) ON DELETE SET NULL (b));""",
    files={
        "roads.csv": "a_iso,a,b_iso,b\nil,Haifa,il,Jaffa\n",
        "towns.csv": "name,iso\nHaifa,il\nJaffa,il\nLyon,fr\n",
        "countries.csv": "iso,name\nil,Israel\nfr,France\n",
    },
    rows=6,
    change={"countries.csv": "iso,name\nil,Israel!\nfr,France\n"},
    insert="INSERT INTO towns (iso, name) VALUES ('il', 'Acre')",
    inserted={"SELECT max(id) FROM towns": [(4,)]},
)

POLY = Schema(
    name="one-column-in-two-foreign-keys",
    ddl="""CREATE TABLE a (id uuid PRIMARY KEY, v text); CREATE TABLE b (id uuid PRIMARY KEY REFERENCES a, w text);
        CREATE TABLE c (id uuid PRIMARY KEY REFERENCES b REFERENCES a, x text);
        CREATE TABLE d (id serial PRIMARY KEY, c_id uuid UNIQUE NOT NULL REFERENCES a REFERENCES c);""",
    files={
        "d.csv": "c_id\n00000000-0000-4000-8000-000000000001\n",
        "c.csv": "id,x\n00000000-0000-4000-8000-000000000001,z\n",
        "b.csv": "id,w\n00000000-0000-4000-8000-000000000001,y\n",
        "a.csv": "id,v\n00000000-0000-4000-8000-000000000001,x\n",
    },
    rows=4,
    change={"b.csv": "id,w\n00000000-0000-4000-8000-000000000001,Y\n"},
)

CASCADE = Schema(
    name="triggers-that-change-other-seeded-tables",
    ddl="""CREATE TABLE posts (id int PRIMARY KEY, title text, comments int NOT NULL DEFAULT 0);
        CREATE TABLE comments (id int PRIMARY KEY, post_id int NOT NULL REFERENCES posts, text text);
        CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE posts SET comments = comments + 1 WHERE id = NEW.post_id; RETURN NEW; END';
        CREATE TRIGGER counted AFTER INSERT ON comments FOR EACH ROW EXECUTE FUNCTION count_it();""",
    files={"posts.csv": "id,title\n1,a\n2,b\n", "comments.csv": "id,post_id,text\n1,1,x\n2,1,y\n"},
    rows=4,
    holds={"SELECT comments FROM posts ORDER BY id": [(2,), (0,)]},
    change={"comments.csv": "id,post_id,text\n1,1,x\n2,1,z\n"},
    held={"SELECT comments FROM posts ORDER BY id": [(2,), (0,)]},
)

STATEMENT = Schema(
    name="statement-triggers-and-rules",
    ddl="""CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE seen (n serial PRIMARY KEY, rows int);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO seen (rows) SELECT count(*) FROM fresh HAVING count(*) > 0; RETURN NULL; END';
        CREATE TRIGGER n AFTER INSERT ON t REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION note();
        CREATE TRIGGER m AFTER UPDATE ON t REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION note();""",
    files={"t.csv": "id,v\n1,a\n2,b\n"},
    rows=2,
    holds={"SELECT sum(rows) FROM seen": [(2,)]},
    change={"t.csv": "id,v\n1,a\n2,c\n"},
    held={"SELECT sum(rows) FROM seen": [(3,)]},
)

UNLOGGED = Schema(
    name="unlogged-typed-and-storage",
    ddl="""CREATE TYPE person AS (id int, name text); CREATE TABLE people OF person (PRIMARY KEY (id));
        CREATE UNLOGGED TABLE temp_like (id int PRIMARY KEY, v text) WITH (fillfactor = 50);
        CREATE TABLE dropped (gone int, id int PRIMARY KEY, also int, v text); ALTER TABLE dropped DROP gone, DROP also;""",
    files={"people.csv": "id,name\n1,a\n", "temp_like.csv": "id,v\n1,a\n", "dropped.csv": "v,id\na,1\n"},
    rows=3,
    change={"dropped.csv": "v,id\nb,1\n"},
)

FOLDED = Schema(
    name="keys-that-ignore-case",
    ddl="""CREATE EXTENSION IF NOT EXISTS citext SCHEMA public;
        CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        CREATE TABLE users (email citext PRIMARY KEY, name text COLLATE folded UNIQUE NOT NULL, v text);
        CREATE TABLE posts (slug text COLLATE folded PRIMARY KEY, author citext NOT NULL REFERENCES users, v text);""",
    files={"users.csv": "email,name,v\nA@x,Ann,1\nb@X,Bob,2\n", "posts.csv": "slug,author,v\nOne,A@x,x\ntwo,b@X,y\n"},
    rows=4,
    change={"users.csv": "email,name,v\na@X,Ann,1\nB@x,Bob,3\n"},
    held={"SELECT email::text, v FROM users ORDER BY v": [("A@x", "1"), ("b@X", "3")]},
    insert="INSERT INTO posts VALUES ('three', 'B@X', 'z')",
)  # fmt: skip

ALL = [NULLABLE_KEY, PARTIAL_ONLY, ONE_COLUMN, FK_TO_UNIQUE, POLY, CASCADE, STATEMENT, UNLOGGED]
