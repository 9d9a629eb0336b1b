-- All that the ledger knows of a project but for the packed rows, as one JSON document.
SELECT json_build_object(
  'version', l.version,
  'generation', l.generation + (SELECT count(*) FROM seedlab.runs),
  'stages', (SELECT json_agg(json_build_array(stage, parts, tables, run_id, finished::text))
    FROM seedlab.stages WHERE project = {project}),
  'loads', (SELECT json_agg(json_build_array(stage, seed, "table", meaning, files, rows, key, made) ORDER BY stage, seed, "table")
    FROM seedlab.rows WHERE project = {project}),
  'tables', (SELECT json_agg(json_build_array("table", columns, key, server, rows, xor::text, sum::text)) FROM seedlab.tables))
FROM seedlab.ledger l
