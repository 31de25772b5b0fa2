-- NULL for each argument of each function of the extension that is not strict, the others as they may be:
-- a required one is refused by its name.
\getenv abs_srcdir PG_ABS_SRCDIR
\set file :abs_srcdir '/include/error_of.sql'
\i :file
SELECT function, argument, CASE WHEN error ~ '^(22004|XX)' THEN error ELSE 'may be null' END
FROM (
    SELECT p.oid::regprocedure::text AS function, p.proargnames[position] AS argument, position,
        pg_temp.error_of(format('SELECT FROM %s(%s)', p.oid::regproc, (
            SELECT string_agg(format('%L::%s', CASE WHEN n = position THEN NULL ELSE CASE type
                WHEN 'boolean'::regtype THEN 'false'
                WHEN 'integer'::regtype THEN '1'
                WHEN 'bigint'::regtype THEN '1'
                WHEN 'regclass'::regtype THEN 'pg_class'
                WHEN 'jsonb'::regtype THEN '{}'
                WHEN 'interval'::regtype THEN '1 s'
                WHEN 'timestamptz'::regtype THEN '2026-01-01 00:00+00'
                WHEN 'bigint[]'::regtype THEN '{1}'
                WHEN 'text[]'::regtype THEN '{a}'
                WHEN 'text'::regtype THEN 'nobody'
                END END, format_type(type, NULL)), ', ' ORDER BY n)
            FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS t (type, n)))) AS error
    FROM pg_depend AS d
    JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND NOT p.proisstrict,
        generate_series(1, p.pronargs) AS position
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
      AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'gpss')
) AS tried
ORDER BY function COLLATE "C", position;
-- Those that are: NULL is the format's or the view's answer to NULL.
SELECT p.oid::regprocedure FROM pg_depend AS d
JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND p.proisstrict
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'gpss')
ORDER BY p.oid::regprocedure::text COLLATE "C";
