-- All that the ledger knows of a project but for the packed rows, as one JSON document. It names every table
-- of the ledger, so that it fails, and the ledger is made again, where one of them is missing.
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
  'tables', (SELECT json_agg(json_build_array("table", columns, key, server, rows, xor::text, sum::text)) FROM seedlab.tables))
FROM seedlab.ledger l WHERE NOT EXISTS (SELECT FROM seedlab.lock, seedlab.runs)
