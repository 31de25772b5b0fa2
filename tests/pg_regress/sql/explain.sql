-- What a scan reads and decodes, as EXPLAIN shows it. No broker is asked.
CREATE SCHEMA gpss_explain;
SET search_path = gpss_explain;
\set ECHO none
\pset format unaligned
\pset tuples_only on
\set ECHO all
CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '127.0.0.1:1');
CREATE FOREIGN TABLE source (
    doc json,
    part int OPTIONS (source 'partition'),
    pos bigint OPTIONS (source 'offset'),
    at timestamptz OPTIONS (source 'timestamp'),
    key text OPTIONS (source 'key'),
    topic text OPTIONS (source 'topic'),
    headers jsonb OPTIONS (source 'headers')
) SERVER kafka OPTIONS (topic 'readings');
CREATE FOREIGN TABLE members (
    id int,
    "Mixed Case" text,
    renamed text OPTIONS (field 'a.b'),
    nested json,
    binary_nested jsonb,
    list int[],
    pos bigint OPTIONS (source 'offset')
) SERVER kafka OPTIONS (topic 'readings');
CREATE FOREIGN TABLE binary_json (doc jsonb) SERVER kafka OPTIONS (topic 'readings');
CREATE TABLE target (id int, name text);

-- The whole value, metadata alone.
EXPLAIN (VERBOSE, COSTS OFF) SELECT doc FROM source;
EXPLAIN (VERBOSE, COSTS OFF) SELECT part, pos, at, key, topic, headers FROM source;
EXPLAIN (COSTS OFF) SELECT doc->>'a' FROM source;
EXPLAIN (COSTS OFF, FORMAT json) SELECT doc->>'a' FROM source;

-- Each operator, its function, and chains; an expression is decoded once.
EXPLAIN (VERBOSE, COSTS OFF) SELECT doc->>'a', doc->'b', doc#>>'{c,d}', doc#>'{e,0}' FROM source;
EXPLAIN (VERBOSE, COSTS OFF) SELECT doc->'a'->>'b', doc->'a'->'b'->'c', doc#>'{a}'->>'b', doc->'a'#>>'{b,c}' FROM source;
EXPLAIN (VERBOSE, COSTS OFF) SELECT json_object_field_text(doc, 'a'), json_extract_path_text(doc, 'a', 'b'),
    json_extract_path(doc, VARIADIC '{a}'), doc->>('a' || 'b') FROM source;
EXPLAIN (VERBOSE, COSTS OFF) SELECT (doc->>'a')::int + (doc->>'a')::int, upper(doc->>'a'), doc->>'A', doc->>'', doc->>'it''s' FROM source;
-- Not decoded: array elements, keys that are not constant, NULL, empty paths.
EXPLAIN (VERBOSE, COSTS OFF) SELECT doc->0, doc->>-1, doc->>key, doc->>NULL, doc#>'{}', doc#>>'{a,NULL}' FROM source;
EXPLAIN (VERBOSE, COSTS OFF) SELECT doc->'a'->0->>'b' FROM source;
-- jsonb is left to PostgreSQL: its text is not the message's.
EXPLAIN (VERBOSE, COSTS OFF) SELECT doc->>'a' FROM binary_json WHERE doc @> '{"b": 1}';

-- In conditions, CASE, aggregates, windows, DISTINCT, ORDER BY, sub-selects, set-returning functions.
EXPLAIN (VERBOSE, COSTS OFF) SELECT doc->>'a' FROM source WHERE doc->>'b' = 'x' AND (doc->>'a')::int > 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT key FROM source WHERE doc->>'b' IN ('x', 'y') OR doc->'c'->>'d' IS NULL;
EXPLAIN (VERBOSE, COSTS OFF) SELECT CASE doc->>'a' WHEN 'x' THEN doc->>'b' ELSE coalesce(doc->>'c', doc->>'a') END FROM source;
EXPLAIN (VERBOSE, COSTS OFF) SELECT sum((doc->>'a')::int) FROM source;
EXPLAIN (VERBOSE, COSTS OFF) SELECT doc->>'g', sum((doc->>'a')::int) FROM source WHERE doc->>'w' = '1' GROUP BY doc->>'g' HAVING count(doc->>'h') > 1;
EXPLAIN (VERBOSE, COSTS OFF) SELECT json_agg(doc), min(doc->>'a') FROM source;
EXPLAIN (VERBOSE, COSTS OFF) SELECT DISTINCT doc->>'a' FROM source ORDER BY 1;
EXPLAIN (VERBOSE, COSTS OFF) SELECT doc->>'a' FROM source ORDER BY doc->>'b', pos LIMIT 1;
EXPLAIN (VERBOSE, COSTS OFF) SELECT rank() OVER (PARTITION BY doc->>'a' ORDER BY pos) FROM source;
EXPLAIN (VERBOSE, COSTS OFF) SELECT doc->>'a', (SELECT max(name) FROM target WHERE name = doc->>'b') FROM source;
EXPLAIN (VERBOSE, COSTS OFF) SELECT doc->>'a', json_array_elements(doc->'items')->>'sku' FROM source;
EXPLAIN (VERBOSE, COSTS OFF) INSERT INTO target SELECT (doc->>'id')::int, doc->>'name' FROM source WHERE pos >= 10;

-- A conversion whose text every row has to give is the decoder's; one that a CASE, a condition, a join, a
-- LIMIT or a set-returning function may spare a row from is not.
EXPLAIN (VERBOSE, COSTS OFF) SELECT (doc->>'a')::bigint, (doc->'b'->>'c')::numeric, (doc#>>'{d,e}')::timestamptz,
    (doc->>'f')::bool, (doc->>'g')::uuid, (doc->>'h')::date, (doc->>'i')::float8 FROM source;
EXPLAIN (VERBOSE, COSTS OFF) SELECT to_timestamp((doc->>'a')::bigint / 1000.0), abs((doc->>'a')::bigint), (doc->>'b')::numeric(10, 2),
    (doc->>'c')::varchar, (doc->>'d')::inet FROM source WHERE pos > 10 AND doc->>'a' <> '';
EXPLAIN (VERBOSE, COSTS OFF) SELECT CASE WHEN doc->>'a' ~ '^[0-9]+$' THEN (doc->>'a')::int END, coalesce(pos, (doc->>'b')::bigint) FROM source;
EXPLAIN (VERBOSE, COSTS OFF) SELECT (doc->>'a')::int, (doc->>'b')::int FROM source WHERE (doc->>'a')::int > 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT (doc->>'a')::int FROM source LIMIT 1;
EXPLAIN (VERBOSE, COSTS OFF) SELECT (s.doc->>'a')::int FROM source s JOIN target t ON t.id = s.pos;
EXPLAIN (VERBOSE, COSTS OFF) SELECT (doc->>'a')::int, json_array_elements(doc->'items') FROM source;

-- A whole row or a system column takes the table's own row type, without decoding.
EXPLAIN (VERBOSE, COSTS OFF) SELECT source, doc->>'a' FROM source;
EXPLAIN (VERBOSE, COSTS OFF) SELECT tableoid::regclass, doc->>'a' FROM source;
EXPLAIN (VERBOSE, COSTS OFF) SELECT ctid, doc->>'a' FROM source;
EXPLAIN (VERBOSE, COSTS OFF) SELECT doc->>'a' FROM source WHERE source IS NOT NULL;
EXPLAIN (VERBOSE, COSTS OFF) SELECT doc->>'a' FROM source FOR UPDATE;

-- Joins, a view, a partition, a common table expression, UNION.
EXPLAIN (VERBOSE, COSTS OFF) SELECT a.doc->>'x', b.doc->>'y' FROM source a JOIN source b ON a.doc->>'id' = b.doc->>'id' WHERE a.part = 0 AND b.part = 1 AND a.doc->>'z' = 'q';
EXPLAIN (VERBOSE, COSTS OFF) SELECT t.name, s.doc->>'a' FROM target t LEFT JOIN source s ON s.pos = t.id AND s.doc->>'b' = 'x';
CREATE VIEW readings AS SELECT doc->>'a' AS a, pos, doc FROM source WHERE part = 0;
EXPLAIN (VERBOSE, COSTS OFF) SELECT a, doc->>'b' FROM readings WHERE pos < 5;
CREATE TABLE everything (doc json, pos bigint) PARTITION BY RANGE (pos);
CREATE FOREIGN TABLE first_part (doc json, pos bigint OPTIONS (source 'offset')) SERVER kafka OPTIONS (topic 'readings');
ALTER TABLE everything ATTACH PARTITION first_part FOR VALUES FROM (0) TO (100);
EXPLAIN (VERBOSE, COSTS OFF) SELECT doc->>'a' FROM everything WHERE pos > 5 AND doc->>'b' = 'x';
EXPLAIN (VERBOSE, COSTS OFF) WITH s AS MATERIALIZED (SELECT doc->>'a' AS a FROM source) SELECT a FROM s WHERE a = 'x';
EXPLAIN (VERBOSE, COSTS OFF) SELECT doc->>'a' FROM source WHERE part = 0 UNION ALL SELECT doc->>'b' FROM source WHERE part = 1;

-- Columns taken by name.
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM members;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id, renamed FROM members WHERE nested->>'x' = '1' AND binary_nested->>'y' = '2' AND pos = 7;
EXPLAIN (VERBOSE, COSTS OFF) SELECT pos FROM members;

-- Ranges of partitions, offsets and times.
EXPLAIN (VERBOSE, COSTS OFF) SELECT key FROM source WHERE part = 3 AND pos >= 10 AND pos < 20;
EXPLAIN (VERBOSE, COSTS OFF) SELECT key FROM source WHERE 10 <= pos AND 20 > pos AND part <= 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT key FROM source WHERE pos BETWEEN 10 AND 20;
EXPLAIN (VERBOSE, COSTS OFF) SELECT key FROM source WHERE part IN (0, 2) AND pos = ANY ('{5,6}'::bigint[]);
EXPLAIN (VERBOSE, COSTS OFF) SELECT key FROM source WHERE part = '1'::smallint AND part < '2'::bigint AND pos > 1 + 2;
EXPLAIN (VERBOSE, COSTS OFF) SELECT key FROM source WHERE at >= '2024-01-01 12:00+02' AND at < '2024-02-01 00:00+00';
EXPLAIN (VERBOSE, COSTS OFF) SELECT key FROM source WHERE at > now() - interval '1 hour';
-- Not ranges.
EXPLAIN (VERBOSE, COSTS OFF) SELECT key FROM source WHERE part <> 3 AND pos <> ALL ('{5,6}'::bigint[]);
EXPLAIN (VERBOSE, COSTS OFF) SELECT key FROM source WHERE part = 1 OR pos = 2;
EXPLAIN (VERBOSE, COSTS OFF) SELECT key FROM source WHERE pos > (random() * 10)::int AND pos > part AND pos + 1 > 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT key FROM source WHERE pos > 2.5 AND part IS NOT NULL;
EXPLAIN (VERBOSE, COSTS OFF) SELECT key FROM source WHERE false;

-- Parameters: a plan of its own for each value first, one plan for all later.
PREPARE reading (int, bigint, timestamptz, text) AS
    SELECT doc->>'a' FROM source WHERE part = $1 AND pos >= $2 AND at > $3 AND doc->>'b' = $4 AND doc->>$4 = 'x';
EXPLAIN (VERBOSE, COSTS OFF) EXECUTE reading (1, 2, '2024-01-01 00:00+00', 'k');
SET plan_cache_mode = force_generic_plan;
EXPLAIN (VERBOSE, COSTS OFF) EXECUTE reading (1, 2, '2024-01-01 00:00+00', 'k');
SET plan_cache_mode = auto;
-- A cached plan is used many times, over a change of the table as well.
CREATE FUNCTION plans(times int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    CREATE TEMP TABLE seen (plan text);
    FOR i IN 1..times LOOP
        FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) EXECUTE reading (1, 2, ''2024-01-01 00:00+00'', ''k'')' LOOP
            INSERT INTO seen VALUES (line);
        END LOOP;
    END LOOP;
    RETURN QUERY SELECT count(*) || ' times ' || trim(plan) FROM seen GROUP BY plan ORDER BY plan COLLATE "C";
    DROP TABLE seen;
END $$;
SET plan_cache_mode = force_generic_plan;
SELECT plans(10);
ALTER FOREIGN TABLE source OPTIONS (SET topic 'other');
ALTER FOREIGN TABLE source DROP COLUMN headers;
ALTER FOREIGN TABLE source ADD COLUMN problem text OPTIONS (source 'error');
SELECT plans(10);
RESET plan_cache_mode;
EXPLAIN (VERBOSE, COSTS OFF) SELECT *, doc->>'a' FROM source;

SET client_min_messages = warning;
DROP SCHEMA gpss_explain CASCADE;
DROP SERVER kafka;
