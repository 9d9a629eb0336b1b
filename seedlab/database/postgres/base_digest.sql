-- A digest of the whole schema: every definition as the server spells it, so that running the same migrations again
-- gives the same digest. Rows, rights, comments and the ledger's schema are left out.
WITH spaces AS (
  SELECT oid, nspname FROM pg_namespace
  WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'seedlab')
),
relations AS (
  SELECT c.oid, n.nspname, c.relname, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.reloptions, c.relowner
  FROM pg_class c JOIN spaces n ON n.oid = c.relnamespace WHERE c.relpersistence <> 't'
),
facts AS (
  SELECT concat_ws('|', 'schema', nspname) AS fact FROM spaces
  UNION ALL SELECT concat_ws('|', 'extension', extname, extversion) FROM pg_extension
  UNION ALL SELECT concat_ws('|', 'relation', nspname, relname, relkind, relrowsecurity, relforcerowsecurity, reloptions,
    pg_get_userbyid(relowner), CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END) FROM relations
  UNION ALL SELECT concat_ws('|', 'column', nspname, relname, attnum, attname, format_type(atttypid, atttypmod), attnotnull,
    attidentity, attgenerated, attcollation::regcollation, pg_get_expr(adbin, adrelid))
    FROM pg_attribute a JOIN relations r ON r.oid = a.attrelid LEFT JOIN pg_attrdef d ON (adrelid, adnum) = (attrelid, attnum)
    WHERE attnum > 0 AND NOT attisdropped
  UNION ALL SELECT concat_ws('|', 'constraint', nspname, relname, conname, pg_get_constraintdef(k.oid))
    FROM pg_constraint k JOIN relations r ON r.oid = k.conrelid
  UNION ALL SELECT concat_ws('|', 'index', pg_get_indexdef(indexrelid)) FROM pg_index JOIN relations r ON r.oid = indrelid
  UNION ALL SELECT concat_ws('|', 'trigger', pg_get_triggerdef(t.oid), tgenabled)
    FROM pg_trigger t JOIN relations r ON r.oid = tgrelid WHERE NOT tgisinternal
  UNION ALL SELECT concat_ws('|', 'policy', nspname, relname, polname, polcmd, polpermissive, polroles,
    pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) FROM pg_policy JOIN relations r ON r.oid = polrelid
  UNION ALL SELECT concat_ws('|', 'rule', pg_get_ruledef(w.oid))
    FROM pg_rewrite w JOIN relations r ON r.oid = ev_class WHERE rulename <> '_RETURN'
  UNION ALL SELECT concat_ws('|', 'function', pg_get_functiondef(p.oid))
    FROM pg_proc p JOIN spaces n ON n.oid = pronamespace WHERE prokind IN ('f', 'p')
  UNION ALL SELECT concat_ws('|', 'aggregate', p.oid::regprocedure) FROM pg_proc p JOIN spaces n ON n.oid = pronamespace WHERE prokind = 'a'
  UNION ALL SELECT concat_ws('|', 'type', nspname, typname, typtype, typnotnull, typdefault, format_type(typbasetype, typtypmod))
    FROM pg_type t JOIN spaces n ON n.oid = typnamespace WHERE typtype <> 'c'
  UNION ALL SELECT concat_ws('|', 'label', enumtypid::regtype, enumsortorder, enumlabel) FROM pg_enum
  UNION ALL SELECT concat_ws('|', 'domain', contypid::regtype, conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE contypid <> 0
  UNION ALL SELECT concat_ws('|', 'sequence', s.seqrelid::regclass, seqstart, seqincrement, seqmin, seqmax, seqcycle)
    FROM pg_sequence s JOIN relations r ON r.oid = s.seqrelid
)
SELECT coalesce(sum(hashtextextended(fact, 0)), 0)::text FROM facts
