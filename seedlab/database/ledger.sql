-- The ledger: what seedlab remembers in a target. Made by us, read by people with `seedlab status`.
CREATE SCHEMA IF NOT EXISTS seedlab;
-- One row. Every run that writes raises the generation, by which another sees that it must look again; one that
-- commits each stage by itself does so when it begins, and adds a row to `runs` with each, which counts too.
CREATE TABLE IF NOT EXISTS seedlab.ledger (version int4 NOT NULL, generation int8 NOT NULL);
INSERT INTO seedlab.ledger SELECT 1, 0 WHERE NOT EXISTS (SELECT FROM seedlab.ledger);
-- Locked while a run writes, never written to.
CREATE TABLE IF NOT EXISTS seedlab.lock ();
CREATE TABLE IF NOT EXISTS seedlab.runs (
  run_id text PRIMARY KEY, project text NOT NULL, environment text NOT NULL, level text NOT NULL,
  started timestamptz NOT NULL, finished timestamptz NOT NULL DEFAULT clock_timestamp(), outcomes jsonb NOT NULL);
-- Of each stage a hash for everything that its rows depend on, by label.
CREATE TABLE IF NOT EXISTS seedlab.stages (
  project text, stage text, parts jsonb NOT NULL, tables jsonb NOT NULL, run_id text NOT NULL,
  finished timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (project, stage));
-- What each seed brought to each table: hashes of its rows, packed; what came since, packed likewise.
CREATE TABLE IF NOT EXISTS seedlab.rows (
  project text, stage text, seed text, "table" text, meaning text NOT NULL, files jsonb NOT NULL,
  key jsonb NOT NULL, made text, rows int8 NOT NULL, content bytea NOT NULL, recent bytea NOT NULL DEFAULT '',
  PRIMARY KEY (project, stage, seed, "table"));
-- What the seeded columns of each table held when a run last wrote; marks are key and row hashes of our rows,
-- recent ones those of rows that were written since. A stamp names the transactions that wrote the table's rows.
CREATE TABLE IF NOT EXISTS seedlab.tables (
  "table" text PRIMARY KEY, columns jsonb NOT NULL, key jsonb NOT NULL, server text NOT NULL,
  rows int8 NOT NULL, xor int8 NOT NULL, sum numeric NOT NULL, marks bytea, recent bytea NOT NULL DEFAULT '', stamp jsonb);
-- The catalog as a role last read it, while the digest of all that it depends on is the same (catalog_digest.sql).
CREATE TABLE IF NOT EXISTS seedlab.catalogs (role text PRIMARY KEY, digest int8 NOT NULL, document json NOT NULL);
-- What is packed does not get smaller. Not in CREATE TABLE, where PostgreSQL before 16 cannot say it, and only
-- once: another who comes to make the ledger must not wait for the one who has made it and fills it.
DO $$BEGIN
  IF (SELECT attstorage FROM pg_catalog.pg_attribute WHERE attrelid = 'seedlab.rows'::pg_catalog.regclass AND attname = 'content') <> 'e' THEN
    ALTER TABLE seedlab.rows ALTER COLUMN content SET STORAGE EXTERNAL, ALTER COLUMN recent SET STORAGE EXTERNAL; ALTER TABLE seedlab.tables ALTER COLUMN marks SET STORAGE EXTERNAL, ALTER COLUMN recent SET STORAGE EXTERNAL; END IF; IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = 'seedlab.tables'::pg_catalog.regclass AND attname = 'stamp') THEN
    ALTER TABLE seedlab.tables ADD COLUMN stamp jsonb; END IF; END$$
