-- All that the ledger knows about a project except the packed rows, as one JSON document. The query names every table
-- of the ledger on purpose: it fails when one of them is missing, and then the ledger is created again.
SELECT json_build_object(
  'version', l.version,
  'generation', l.generation + (SELECT count(*) FROM seedlab.runs),
  'stages', (SELECT json_agg(json_build_array(stage, parts, tables, run_id, finished))
    FROM seedlab.stages WHERE project = {project}),
  'loads', (SELECT json_agg(json_build_array(stage, seed, "table", meaning, files, rows, key, made) ORDER BY stage, seed, "table")
    FROM seedlab.rows WHERE project = {project}),
  'several', to_regclass('seedlab.packs') IS NOT NULL,
  'undivided', to_regclass('seedlab.packs') IS NULL AND NOT has_schema_privilege('seedlab', 'CREATE'),
  'shared', (SELECT json_agg(DISTINCT "table") FROM seedlab.rows WHERE project <> {project} AND rows > 0),
  'stamped', EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = 'seedlab.tables'::regclass AND attname = 'stamp'),
  -- A stamp is valid only while this row was written by its own run or one of its transactions (not so in a restored
  -- dump), and while the place of the table is the same. In a ledger that has no column `stamp` yet, the name resolves
  -- to the NULL of the outer query.
  'tables', (SELECT json_agg(json_build_array(t."table", t.columns, t.key, t.server, t.rows, t.xor::text, t.sum::text,
      CASE WHEN (t.stamp->'run' = t.writer OR t.stamp->'transactions' @> t.writer) AND t.stamp->>'place' = {place} THEN t.stamp END, t.unmarked))
    FROM (SELECT NULL::jsonb AS stamp) none, LATERAL (
      SELECT "table", columns, key, server, rows, xor, sum, stamp, to_jsonb(xmin::text::int8) AS writer, marks IS NULL AS unmarked FROM seedlab.tables) t))
FROM seedlab.ledger l WHERE NOT EXISTS (SELECT FROM seedlab.lock, seedlab.runs)
