-- The ledger: seedlab's own tables in a target. `seedlab status` shows what they hold.
CREATE SCHEMA IF NOT EXISTS seedlab;
-- One row. Every writing run increases the generation, so that a concurrent run notices that what it has read is
-- outdated. A run that commits each stage separately increases it once, when it begins; each of its stages adds a row
-- to `runs`, and the number of those rows is part of the generation that is read.
CREATE TABLE IF NOT EXISTS seedlab.ledger (version int4 NOT NULL, generation int8 NOT NULL);
INSERT INTO seedlab.ledger SELECT 1, 0 WHERE NOT EXISTS (SELECT FROM seedlab.ledger);
-- Locked while a run writes, never written to.
CREATE TABLE IF NOT EXISTS seedlab.lock ();
CREATE TABLE IF NOT EXISTS seedlab.runs (
  run_id text PRIMARY KEY, project text NOT NULL, environment text NOT NULL, level text NOT NULL,
  started timestamptz NOT NULL, finished timestamptz NOT NULL DEFAULT clock_timestamp(), outcomes jsonb NOT NULL);
-- Per stage: hashes, by label, of everything that its rows depend on.
CREATE TABLE IF NOT EXISTS seedlab.stages (
  project text, stage text, parts jsonb NOT NULL, tables jsonb NOT NULL, run_id text NOT NULL,
  finished timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (project, stage));
-- Per seed and table: the packed hashes of its rows as the files had them; `recent` has those of later changes.
CREATE TABLE IF NOT EXISTS seedlab.rows (
  project text, stage text, seed text, "table" text, meaning text NOT NULL, files jsonb NOT NULL,
  key jsonb NOT NULL, made text, rows int8 NOT NULL, content bytea NOT NULL, recent bytea NOT NULL DEFAULT '',
  PRIMARY KEY (project, stage, seed, "table"));
-- Per table: the state of its seeded columns when a run last wrote. `marks` are key and column hashes of the seeded
-- rows, `recent` those of rows written later. A stamp names the transactions that wrote the table's rows.
CREATE TABLE IF NOT EXISTS seedlab.tables (
  "table" text PRIMARY KEY, columns jsonb NOT NULL, key jsonb NOT NULL, server text NOT NULL,
  rows int8 NOT NULL, xor int8 NOT NULL, sum numeric NOT NULL, marks bytea, recent bytea NOT NULL DEFAULT '', stamp jsonb);
-- The catalog as each role last read it, valid while the digest of all that it depends on (catalog_digest.sql) is
-- unchanged.
CREATE TABLE IF NOT EXISTS seedlab.catalogs (role text PRIMARY KEY, digest int8 NOT NULL, document json NOT NULL);
-- Hashes do not compress, so the server must not try. CREATE TABLE accepts STORAGE only since PostgreSQL 16. Where all
-- tables are published, only one with a replica identity can be updated. ALTER TABLE runs only when it is needed, as its
-- lock would wait for a run that is already filling the ledger.
DO $$BEGIN
  IF (SELECT relreplident FROM pg_catalog.pg_class WHERE oid = 'seedlab.ledger'::pg_catalog.regclass) <> 'f' THEN
    ALTER TABLE seedlab.ledger REPLICA IDENTITY FULL; END IF; IF (SELECT attstorage FROM pg_catalog.pg_attribute WHERE attrelid = 'seedlab.rows'::pg_catalog.regclass AND attname = 'content') <> 'e' THEN
    ALTER TABLE seedlab.rows ALTER COLUMN content SET STORAGE EXTERNAL, ALTER COLUMN recent SET STORAGE EXTERNAL; ALTER TABLE seedlab.tables ALTER COLUMN marks SET STORAGE EXTERNAL, ALTER COLUMN recent SET STORAGE EXTERNAL; END IF; IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = 'seedlab.tables'::pg_catalog.regclass AND attname = 'stamp') THEN
    ALTER TABLE seedlab.tables ADD COLUMN stamp jsonb; END IF; END$$
