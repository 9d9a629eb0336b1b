-- One number for all that the answer of catalog.sql depends on. Whatever is altered leaves a row of a system
-- catalog that another transaction wrote (xmin), or one more, or one less; objects of initdb are left out, but
-- for schemas. Vacuum and analyze write these rows in place. Other sessions' temporary tables make it another
-- number: then the catalog is read once more. Their schemas are left out: each session has other rights on them.
-- The first number is that of the answer's form: raise it with a change.
SELECT hash_record_extended(ROW(
  5, current_setting('server_version'), current_database(), current_user,
  (SELECT sum(hash_record_extended(ROW(oid, xmin, has_schema_privilege(oid, 'USAGE')), 0)) FROM pg_namespace
    WHERE nspname !~ '^pg_(toast_)?temp_'),
  (SELECT sum(hash_record_extended(ROW(oid, xmin, pg_has_role(relowner, 'USAGE')), 0)) FROM pg_class WHERE oid >= 16384),
  (SELECT sum(hash_record_extended(ROW(attrelid, attnum, xmin), 0)) FROM pg_attribute WHERE attrelid >= 16384 AND attnum > 0),
  (SELECT sum(hash_record_extended(ROW(oid, xmin), 0)) FROM pg_type WHERE oid >= 16384),
  (SELECT sum(hash_record_extended(ROW(oid, xmin), 0)) FROM pg_proc WHERE oid >= 16384),
  (SELECT sum(hash_record_extended(ROW(indexrelid, xmin, indisvalid), 0)) FROM pg_index WHERE indexrelid >= 16384),
  (SELECT sum(hash_record_extended(ROW(oid, xmin), 0)) FROM pg_constraint WHERE oid >= 16384),
  (SELECT sum(hash_record_extended(ROW(inhrelid, inhparent, xmin), 0)) FROM pg_inherits),
  (SELECT sum(hash_record_extended(ROW(objid, refobjid, refobjsubid, xmin), 0)) FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid >= 16384),
  (SELECT sum(hash_record_extended(ROW(objoid, xmin), 0)) FROM pg_description WHERE classoid = 'pg_constraint'::regclass AND objoid >= 16384)
), 0) AS digest
