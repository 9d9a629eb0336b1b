-- A digest of everything that the answer of catalog.sql depends on. Every DDL statement adds a row to a system
-- catalog, removes one, or rewrites one in its own transaction (xmin); VACUUM and ANALYZE write in place and change no
-- xmin. Objects made by initdb are left out, except schemas. Other sessions' temporary tables change the digest, which
-- merely costs one more reading of the catalog; their schemas are left out, because each session has other rights on them.
-- Operators and collations, which defaults name with their schemas, are told by what they depend on: pg_depend is read
-- anyway, and a catalog more takes 0.2 ms.
-- The placeholders are filled in by kept_catalog.py, which makes two digests of this text.
-- The first number is the version of the answer's format: increase it when catalog.sql changes.
SELECT hash_record_extended(ROW(
  7, current_setting('server_version'), current_database(), current_user,
  (SELECT sum(hash_record_extended(ROW(oid, xmin, has_schema_privilege(oid, 'USAGE')), 0)) FROM pg_namespace
    WHERE nspname !~ '^pg_(toast_)?temp_' AND {counted}),
  (SELECT sum(hash_record_extended(ROW(oid, xmin, pg_has_role(relowner, 'USAGE')), 0)) FROM pg_class WHERE oid >= 16384 AND {counted}),
  (SELECT sum(hash_record_extended(ROW(attrelid, attnum, xmin), 0)) FROM pg_attribute WHERE attrelid >= 16384 AND attnum > 0 AND {counted}),
  (SELECT sum(hash_record_extended(ROW(oid, xmin), 0)) FROM pg_type WHERE oid >= 16384 AND {counted}),
  (SELECT sum(hash_record_extended(ROW(oid, xmin), 0)) FROM pg_proc WHERE oid >= 16384 AND {counted}),
  (SELECT sum(hash_record_extended(ROW(oid, xmin), 0)) FROM pg_rewrite WHERE oid >= 16384 AND {counted}),
  (SELECT sum(hash_record_extended(ROW(indexrelid, xmin, indisvalid), 0)) FROM pg_index WHERE indexrelid >= 16384 AND {counted}),
  (SELECT sum(hash_record_extended(ROW({constraint}), 0)) FROM pg_constraint WHERE oid >= 16384 AND {counted}),
  (SELECT sum(hash_record_extended(ROW(inhrelid, inhparent, xmin), 0)) FROM pg_inherits WHERE {counted}),
  (SELECT sum(hash_record_extended(ROW(objid, refobjid, refobjsubid, xmin), 0)) FROM pg_depend
    WHERE classid IN ('pg_class'::regclass, 'pg_operator'::regclass, 'pg_collation'::regclass) AND objid >= 16384 AND {counted}),
  (SELECT sum(hash_record_extended(ROW({comment}), 0)) FROM pg_description WHERE classoid = 'pg_constraint'::regclass AND objoid >= 16384 AND {counted})
), 0) AS digest
