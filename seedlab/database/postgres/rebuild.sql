-- The indexes and constraints of some tables: everything that is needed to drop them and create them again, and
-- `made`, which must be the same afterwards. Definitions are spelled for the search path of the transaction, under
-- which they are run again. Hence the search path is not changed, and every name below is qualified.
WITH mine AS MATERIALIZED (
  SELECT c.oid, n.nspname, c.relname,
    CASE
      WHEN NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE') THEN 'no right to create in its schema'
      WHEN c.relreplident = 'i' THEN 'an index is its replica identity'
      WHEN EXISTS (SELECT FROM pg_catalog.pg_publication_tables p WHERE p.schemaname = n.nspname AND p.tablename = c.relname)
        THEN 'it is published'
      WHEN EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisexclusion)
        THEN 'it has an exclusion constraint'
    END AS why
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY (__TABLES__)
), indexes AS MATERIALIZED (
  SELECT i.*, m.nspname, m.relname AS tablename, m.why AS table_why, x.relname, x.reloptions, x.reltablespace,
    con.oid AS conoid, con.conname, con.contype, con.condeferrable, con.condeferred,
    pg_catalog.pg_get_indexdef(i.indexrelid) AS definition,
    pg_catalog.obj_description(i.indexrelid, 'pg_class') AS comment,
    pg_catalog.obj_description(con.oid, 'pg_constraint') AS constraint_comment,
    (SELECT pg_catalog.array_agg(ROW(a.attnum, a.attstattarget, a.attoptions)::pg_catalog.text ORDER BY a.attnum)
       FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indexrelid
       AND (COALESCE(a.attstattarget, -1) >= 0 OR a.attoptions IS NOT NULL)) AS targets
  FROM pg_catalog.pg_index i JOIN mine m ON m.oid = i.indrelid JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
  LEFT JOIN pg_catalog.pg_constraint con ON con.conindid = i.indexrelid AND con.contype IN ('p', 'u', 'x')
)
SELECT pg_catalog.json_build_object(
  'event_trigger', (SELECT pg_catalog.min(evtname) FROM pg_catalog.pg_event_trigger
    WHERE evtenabled IN ('O', 'A') AND evtevent <> 'login'),
  'trigger', (SELECT pg_catalog.min(t.tgname) FROM pg_catalog.pg_trigger t JOIN mine ON mine.oid = t.tgrelid
    WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype & 4 <> 0),
  'update_trigger', (SELECT pg_catalog.min(t.tgname) FROM pg_catalog.pg_trigger t JOIN mine ON mine.oid = t.tgrelid
    WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype & 16 <> 0),
  'tables', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(nspname, relname, why)) FROM mine WHERE why IS NOT NULL),
  'indexes', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
      'schema', x.nspname, 'relation', x.tablename, 'name', x.relname, 'definition', x.definition, 'comment', x.comment,
      'constraint', x.conname, 'kind', x.contype, 'deferrable', x.condeferrable, 'deferred', x.condeferred,
      'constraint_comment', x.constraint_comment, 'clustered', x.indisclustered,
      'analyzed', x.indexprs IS NOT NULL AND EXISTS (SELECT FROM pg_catalog.pg_stats s
         WHERE s.schemaname = x.nspname AND s.tablename = x.relname),
      'referrers', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, c.relname, f.conname))
         FROM pg_catalog.pg_constraint f JOIN pg_catalog.pg_class c ON c.oid = f.conrelid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE f.contype = 'f' AND f.conindid = x.indexrelid), '[]'),
      'why', CASE
        WHEN x.table_why IS NOT NULL THEN x.table_why
        WHEN NOT (x.indisvalid AND x.indisready AND x.indislive) THEN 'it is not valid'
        WHEN x.reltablespace <> 0 THEN 'it lies in a tablespace of its own'
        WHEN x.targets IS NOT NULL THEN 'its columns have statistics targets'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
          AND d.objid = x.indexrelid AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass)
          THEN 'it belongs to an extension'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_depend d
          WHERE (d.refclassid, d.refobjid) IN (('pg_catalog.pg_class'::pg_catalog.regclass, x.indexrelid),
            ('pg_catalog.pg_constraint'::pg_catalog.regclass, x.conoid))
          AND d.deptype <> 'i' AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint f
            WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND f.oid = d.objid AND f.contype = 'f'))
          THEN 'a view or a function depends on it'
      END) ORDER BY x.indexrelid) FROM indexes x),
  'made', (SELECT pg_catalog.json_agg(doc) FROM (
      SELECT pg_catalog.json_build_array('index', nspname, tablename, relname, definition, comment, reloptions, reltablespace::pg_catalog.int8,
        targets, indisunique, indisprimary, indimmediate, indisclustered, indisvalid, indisready, indisreplident)::pg_catalog.text AS doc
      FROM indexes
      UNION ALL
      SELECT pg_catalog.json_build_array('constraint', con.conrelid::pg_catalog.regclass::pg_catalog.text, con.conname, con.contype,
        pg_catalog.pg_get_constraintdef(con.oid), con.convalidated, con.condeferrable, con.condeferred, con.conislocal,
        con.coninhcount, con.connoinherit, pg_catalog.obj_description(con.oid, 'pg_constraint'))::pg_catalog.text
      FROM pg_catalog.pg_constraint con WHERE con.conrelid IN (SELECT oid FROM mine) OR con.confrelid IN (SELECT oid FROM mine)
      UNION ALL
      SELECT pg_catalog.json_build_array('column', m.nspname, m.relname, a.attname, a.attnotnull)::pg_catalog.text
      FROM pg_catalog.pg_attribute a JOIN mine m ON m.oid = a.attrelid WHERE a.attnum > 0 AND NOT a.attisdropped
    ) q))
