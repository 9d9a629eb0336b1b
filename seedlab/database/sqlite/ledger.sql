-- The ledger in an SQLite file: the tables of ledger.sql, with JSON documents in place of most columns.
CREATE TABLE IF NOT EXISTS seedlab_ledger (version INTEGER NOT NULL, generation INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS seedlab_runs (
  run_id TEXT PRIMARY KEY, document TEXT NOT NULL,
  finished TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%fZ', 'now')));
CREATE TABLE IF NOT EXISTS seedlab_stages (
  project TEXT, stage TEXT, document TEXT NOT NULL,
  finished TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%fZ', 'now')), PRIMARY KEY (project, stage));
CREATE TABLE IF NOT EXISTS seedlab_rows (
  project TEXT, stage TEXT, seed TEXT, "table" TEXT, document TEXT NOT NULL, content BLOB NOT NULL,
  PRIMARY KEY (project, stage, seed, "table"));
CREATE TABLE IF NOT EXISTS seedlab_tables ("table" TEXT PRIMARY KEY, document TEXT NOT NULL, marks BLOB)
