-- Ranges whose ends are known only while the statement runs: sub-selects, correlation, LATERAL.
CREATE SCHEMA gpss_ranges;
SET search_path = gpss_ranges;
\set ECHO none
\pset format unaligned
\pset tuples_only on
\set ECHO all
CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '127.0.0.1:1');
CREATE FOREIGN TABLE source (doc json, part int OPTIONS (source 'partition'), pos bigint OPTIONS (source 'offset'))
    SERVER kafka OPTIONS (topic 'readings');
CREATE TABLE done (part int, pos bigint);

-- How a range is written here is EXPLAIN's affair; that there is one is not.
CREATE FUNCTION ranged(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || statement LOOP
        IF line ~ 'Kafka Range' THEN
            RETURN NEXT CASE WHEN line ~ 'all partitions' THEN 'everything' ELSE 'a range' END;
        END IF;
    END LOOP;
END $$;
SELECT ranged('SELECT doc FROM source WHERE pos > (SELECT max(pos) FROM done)');
SELECT ranged('SELECT doc->>''a'' FROM source WHERE part = (SELECT 0) AND pos < (SELECT max(pos) FROM done)');
SELECT ranged('SELECT (SELECT count(*) FROM source s WHERE s.part = done.part) FROM done');
SELECT ranged('SELECT * FROM done, LATERAL (SELECT doc->>''a'' FROM source s WHERE s.part = done.part AND s.pos >= done.pos LIMIT 1) AS first');
SELECT ranged('SELECT doc FROM source WHERE pos = ANY (ARRAY(SELECT pos FROM done))');
-- Of a row before it, also when the sub-select becomes part of the join.
SELECT ranged('SELECT * FROM done LEFT JOIN LATERAL (SELECT s.pos, done.part + 1 AS next FROM source s WHERE s.pos = ANY (ARRAY[done.pos, 3])) AS found ON true');
EXPLAIN (VERBOSE, COSTS OFF) SELECT done.part, found.* FROM done LEFT JOIN LATERAL (SELECT s.pos, doc->>'a' AS a, done.pos AS own
    FROM source s WHERE s.pos > done.pos AND s.pos < 100) AS found ON true;
-- A value that depends on the row itself is none.
EXPLAIN (VERBOSE, COSTS OFF) SELECT doc FROM source s WHERE pos > (SELECT max(pos) FROM done WHERE part = s.part);

-- An operator is known by what it is: one of the same name in another schema may do anything.
CREATE SCHEMA gpss_odd;
CREATE FUNCTION gpss_odd.near(bigint, bigint) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT abs($1 - $2) < 10';
CREATE FUNCTION gpss_odd.odd(json, text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''odd''';
CREATE OPERATOR gpss_odd.= (FUNCTION = gpss_odd.near, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR gpss_odd.<> (FUNCTION = gpss_odd.near, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR gpss_odd.< (FUNCTION = gpss_odd.near, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR gpss_odd.->> (FUNCTION = gpss_odd.odd, LEFTARG = json, RIGHTARG = text);
CREATE OPERATOR gpss_odd.@@@ (FUNCTION = pg_catalog.json_object_field_text, LEFTARG = json, RIGHTARG = text);
CREATE FUNCTION gpss_odd.json_object_field_text(json, text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''odd''';
SET search_path = gpss_odd, pg_catalog, gpss_ranges;
SELECT ranged('SELECT doc FROM source WHERE pos = 5::bigint');
SELECT ranged('SELECT doc FROM source WHERE pos = ANY (''{5}''::bigint[])');
SELECT ranged('SELECT doc FROM source WHERE pos <> 5::bigint');
SELECT ranged('SELECT doc FROM source WHERE 5::bigint < pos');
SELECT ranged('SELECT doc FROM source WHERE pos OPERATOR(pg_catalog.<) 5::bigint');
EXPLAIN (VERBOSE, COSTS OFF) SELECT doc->>'a', json_object_field_text(doc, 'b'), doc @@@ 'c' FROM source;
SET search_path = gpss_ranges;

SET client_min_messages = warning;
DROP SCHEMA gpss_odd CASCADE;
DROP SCHEMA gpss_ranges CASCADE;
DROP SERVER kafka;
