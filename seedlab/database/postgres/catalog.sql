-- All tables that a seed could fill, with their columns, unique keys and foreign keys, as one JSON document.
-- Runs with search_path = pg_catalog, so every name below is the server's own. Keys list column numbers, not names:
-- looking the names up here would take the server longer than all the rest of the query. A new schema has not been
-- analyzed, so the server thinks that it has hardly a sequence: OFFSET 0 keeps it from joining as if it were so.
WITH rel AS MATERIALIZED (
  SELECT c.oid, n.nspname, c.relname, c.relkind, c.relrowsecurity, c.relispartition,
         pg_has_role(c.relowner, 'USAGE') AS owned,
         c.relkind = 'r' AND pg_relation_size(c.oid) = 0 AS no_pages,
         EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)) AS inherits,
         CASE WHEN c.relhasrules AND c.relkind IN ('r', 'p') THEN (
           SELECT json_agg(r.rulename ORDER BY r.rulename) FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_enabled <> 'D') END AS rules
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'seedlab', 'seedlab_stage')
    AND n.nspname NOT LIKE 'pg\_%' AND has_schema_privilege(n.oid, 'USAGE')
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
), fills AS (
  SELECT d.refobjid AS relid, d.refobjsubid AS attnum, d.objid AS seqid FROM pg_depend d
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i' AND d.refobjsubid > 0
  UNION ALL SELECT f.adrelid, f.adnum, d.refobjid FROM pg_attrdef f CROSS JOIN LATERAL (
    SELECT refobjid FROM pg_depend
    WHERE classid = 'pg_attrdef'::regclass AND objid = f.oid AND refclassid = 'pg_class'::regclass AND deptype = 'n' OFFSET 0) d
  WHERE pg_get_expr(f.adbin, f.adrelid) ~ '^nextval\(''([^'']|'''')+''::regclass\)$'
), seq AS MATERIALIZED (
  SELECT fills.relid, fills.attnum, s.name FROM fills CROSS JOIN LATERAL (
    SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = fills.seqid AND c.relkind = 'S' OFFSET 0) s
), dom AS MATERIALIZED (
  SELECT d.oid, format_type(d.base, d.typmod) AS base, d.not_null FROM (
    WITH RECURSIVE down(oid, base, typmod, not_null) AS (
      SELECT oid, typbasetype, typtypmod, typnotnull FROM pg_type WHERE typtype = 'd' UNION ALL
      SELECT down.oid, b.typbasetype, b.typtypmod, down.not_null OR b.typnotnull
      FROM down JOIN pg_type b ON b.oid = down.base AND b.typtype = 'd')
    SELECT * FROM down) d JOIN pg_type b ON b.oid = d.base AND b.typtype <> 'd'
), cols AS (
  SELECT a.attrelid, json_agg(json_build_array(
           a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), NOT (a.attnotnull OR t.typnotnull), a.atthasdef OR t.typdefault IS NOT NULL,
           a.attgenerated <> '', a.attidentity, seq.name,
           CASE t.typtype WHEN 'd' THEN json_build_array(dom.base, dom.not_null) END,
           t.typsend::text,
           CASE WHEN NOT co.collisdeterministic THEN co.oid::regcollation::text END, t.typtype, pg_get_expr(f.adbin, f.adrelid)) ORDER BY a.attnum) AS doc
  FROM pg_attribute a JOIN rel ON rel.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN dom ON dom.oid = t.oid LEFT JOIN pg_collation co ON co.oid = a.attcollation
  LEFT JOIN seq ON seq.relid = a.attrelid AND seq.attnum = a.attnum
  LEFT JOIN pg_index p ON p.indrelid = a.attrelid AND p.indisprimary AND p.indnkeyatts = 1 AND p.indkey[0] = a.attnum
  LEFT JOIN pg_attrdef f ON f.adrelid = p.indrelid AND f.adnum = p.indkey[0] AND a.attgenerated = '' AND seq.name IS NULL
  WHERE a.attnum > 0 AND NOT a.attisdropped GROUP BY a.attrelid
), keys AS (
  SELECT i.indrelid, json_agg(json_build_array(x.relname, i.indisprimary,
           (i.indkey::int2[])[0:i.indnkeyatts - 1]) ORDER BY x.relname) AS doc
  FROM pg_index i JOIN rel ON rel.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
  WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL GROUP BY i.indrelid
), fks AS (
  SELECT f.conrelid, json_agg(json_build_array(f.conname, f.confrelid::int8, f.conkey, f.confkey,
           pg_get_constraintdef(f.oid), f.convalidated, obj_description(f.oid, 'pg_constraint'),
           EXISTS (SELECT FROM pg_index i WHERE i.indrelid = f.conrelid AND i.indisvalid AND i.indpred IS NULL
             AND (i.indkey::int2[])[0:least(i.indnkeyatts, cardinality(f.conkey)) - 1] @> f.conkey)) ORDER BY f.conname) AS doc
  FROM pg_constraint f JOIN rel ON rel.oid = f.conrelid WHERE f.contype = 'f' AND f.conparentid = 0 GROUP BY f.conrelid
), part AS (
  SELECT f.conname, f.confrelid, f.confkey, pg_partition_root(f.conrelid)::oid AS root,
         (SELECT array_agg(mine.attnum ORDER BY k.place) FROM unnest(f.conkey) WITH ORDINALITY k(number, place)
            JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.number
            JOIN pg_attribute mine ON mine.attrelid = pg_partition_root(f.conrelid) AND mine.attname = a.attname) AS conkey
  FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid
  WHERE f.contype = 'f' AND f.conparentid = 0 AND c.relispartition
)
SELECT json_build_object(
  'composites', (SELECT json_agg(json_build_array(name, fields)) FROM (
    SELECT format_type(c.reltype, NULL) AS name,
           json_agg(json_build_array(a.attname, format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum) AS fields
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind = 'c' GROUP BY c.oid, c.reltype) q),
  'version', current_setting('server_version'), 'database', current_database(), 'user', current_user,
  'wal', CASE WHEN pg_is_in_recovery() THEN NULL ELSE (pg_current_wal_insert_lsn() - '0/0')::text END,
  'tables', COALESCE((SELECT json_agg(json_build_array(rel.oid::int8, rel.nspname, rel.relname, rel.relkind, rel.owned, rel.no_pages,
      rel.relrowsecurity, rel.inherits, cols.doc, keys.doc, fks.doc, rel.rules) ORDER BY rel.nspname, rel.relname)
    FROM rel LEFT JOIN cols ON cols.attrelid = rel.oid LEFT JOIN keys ON keys.indrelid = rel.oid
    LEFT JOIN fks ON fks.conrelid = rel.oid), '[]'),
  'partitions', (SELECT json_agg(json_build_array(n.nspname, c.relname, pg_partition_root(c.oid)::oid::int8))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relispartition AND c.relkind IN ('r', 'p', 'f')),
  'partition_keys', (SELECT json_agg(json_build_array(root::int8, conname, confrelid::int8, conkey, confkey) ORDER BY conname) FROM part))
