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
-- A value that depends on the row itself is none.
EXPLAIN (VERBOSE, COSTS OFF) SELECT doc FROM source s WHERE pos > (SELECT max(pos) FROM done WHERE part = s.part);

SET client_min_messages = warning;
DROP SCHEMA gpss_ranges CASCADE;
DROP SERVER kafka;
