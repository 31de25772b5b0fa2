-- gpss.submit_job over an existing foreign table.
\getenv abs_srcdir PG_ABS_SRCDIR
\set file :abs_srcdir '/include/error_of.sql'
\i :file
CREATE SCHEMA gpss_table;
SET search_path = gpss_table;
CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '127.0.0.1:1');
CREATE FOREIGN TABLE source (
    doc json,
    partition int OPTIONS (source 'partition'),
    position bigint OPTIONS (source 'offset')
) SERVER kafka OPTIONS (topic 'readings');
CREATE FOREIGN TABLE named (sensor int, value numeric, extra text) SERVER kafka OPTIONS (topic 'readings');
CREATE TABLE target (sensor int, value numeric, note text, total numeric GENERATED ALWAYS AS (value * 2) STORED);

-- Every argument.
SELECT gpss.submit_job('full', source => 'source', target => 'target',
    mapping => '{"sensor": "(doc->>''sensor'')::int", "note": "partition || ''/'' || position"}',
    mode => 'INSERT', filter => 'doc->>''value'' IS NOT NULL', max_row => 500, minimal_interval => 20,
    error_limit => '5%', workers => 4) > 0 AS submitted;
SELECT jsonb_pretty(spec) FROM gpss.job WHERE name = 'full' AND removed_at IS NULL;
SELECT name, topic, target_schema, target_table, mode, status FROM gpss.jobs;
-- The same in words, and its statement, for which no broker is asked.
\x on
SELECT job, created_at = (SELECT created_at FROM gpss.jobs WHERE id = job_id) AS created, origin, source_schema, source_table,
    topic, filter, output, target_schema, target_table, mode, mapping, transformer, output_filter, max_row, minimal_interval,
    error_limit, workers, search_path, prepare_sql, post_batch_sql, batch_interval, teardown_sql, schedule, alert
FROM gpss.job_definitions;
\x off
SELECT target, statement, partition_id, "row", error FROM gpss.dryrun('full', 0);
SELECT pg_temp.error_of('SELECT * FROM gpss.dryrun(''full'', -1)');
-- Without a mapping, columns of the same name; the defaults; no bound on the rows.
SELECT gpss.submit_job('names', source => 'named', target => 'target', max_row => 0) > 0 AS submitted;
SELECT spec->'outputs'->0->'mapping', spec->'commit', spec->'workers' FROM gpss.job WHERE name = 'names' AND removed_at IS NULL;
-- Values as regclass, in order.
SELECT gpss.submit_job('ordered', 'gpss_table.named'::regclass, 'gpss_table.target'::regclass) > 0 AS submitted;

-- Removing a job keeps the foreign table, which is the user's.
SELECT gpss.remove_job(name) FROM unnest('{full,names,ordered}'::text[]) AS name;
SELECT count(*) FROM gpss.jobs;
SELECT 'source'::regclass, 'named'::regclass;

-- A partitioned table and a view are targets like any other.
CREATE TABLE parts (sensor int, value numeric) PARTITION BY LIST (sensor);
CREATE VIEW above AS SELECT sensor, value FROM target;
SELECT target, pg_temp.error_of(format('SELECT gpss.submit_job(%L, source => ''named'', target => %L)', target, target))
FROM unnest('{parts,above}'::text[]) AS target;
SELECT gpss.remove_job(name) FROM unnest('{parts,above}'::text[]) AS name;

-- What is refused.
CREATE FUNCTION pg_temp.submit(arguments text) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.error_of(format('SELECT gpss.submit_job(%s)', arguments))
$$;
SELECT arguments, pg_temp.submit(arguments) FROM (VALUES
    ($$'', source => 'named', target => 'target'$$),
    ($$'j', source => 'nowhere', target => 'target'$$),
    ($$'j', source => 'named', target => 'nowhere'$$),
    ($$'j', source => 'named', target => 'named'$$),
    ($$'j', source => 'source', target => 'target'$$),
    ($$'j', source => 'named', target => 'target', mapping => '[]'$$),
    ($$'j', source => 'named', target => 'target', mapping => '{}'$$),
    ($$'j', source => 'named', target => 'target', mapping => '{"value": 1}'$$),
    ($$'j', source => 'named', target => 'target', mapping => '{"valeu": "value"}'$$),
    ($$'j', source => 'named', target => 'target', mapping => '{"value": "valeu"}'$$),
    ($$'j', source => 'named', target => 'target', mapping => '{"value": "1 +"}'$$),
    ($$'j', source => 'named', target => 'target', mapping => '{"value": ""}'$$),
    ($$'j', source => 'named', target => 'target', mapping => '{"value": "1), (2"}'$$),
    ($$'j', source => 'named', target => 'target', mapping => '{"value": "extra"}'$$),
    ($$'j', source => 'named', target => 'target', filter => 'sensor'$$),
    ($$'j', source => 'named', target => 'target', filter => 'true; DROP TABLE target'$$),
    ($$'j', source => 'named', target => 'target', filter => ''$$),
    ($$'j', source => 'named', target => 'target', mode => 'merge'$$),
    ($$'j', source => 'named', target => 'target', mode => 'update', match_columns => '{sensor}'$$),
    ($$'j', source => 'named', target => 'target', max_row => -1$$),
    ($$'j', source => 'named', target => 'target', minimal_interval => -1$$),
    ($$'j', source => 'named', target => 'target', error_limit => 'some'$$),
    ($$'j', source => 'named', target => 'target', error_limit => '101%'$$),
    ($$'j', source => 'named', target => 'target', workers => 0$$),
    ($$'j', source => 'named', target => 'target', workers => -1$$),
    ($$'j', source => 'named', target => 'target', workers => 65$$)
) AS v (arguments);
-- The foreign table of another wrapper, and what is no foreign table.
CREATE FOREIGN DATA WRAPPER other;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER other;
CREATE FOREIGN TABLE theirs (sensor int) SERVER elsewhere OPTIONS (topic 'readings');
CREATE VIEW seen AS SELECT * FROM named;
SELECT source, split_part(pg_temp.submit(format($$'j', source => %L, target => 'target'$$, source)), ':', 1) AS sqlstate
FROM unnest('{theirs,target,seen,pg_class}'::text[]) AS source;
SELECT pg_temp.submit($$'j', source => 'theirs', target => 'target'$$);
-- What makes one row of many messages.
SELECT pg_temp.submit(format($$'j', source => 'named', target => 'target', mapping => '{"sensor": %s}'$$, to_json(expression)))
FROM unnest('{count(*),sum(sensor),row_number() OVER (),max(sensor) OVER () + 1}'::text[]) AS expression;
SELECT count(*) FROM gpss.jobs;

-- A job outlives its target, and can be removed then.
CREATE TABLE fleeting (sensor int);
SELECT gpss.submit_job('fleeting', source => 'named', target => 'fleeting') > 0 AS submitted;
DROP TABLE fleeting;
SELECT name, target_table, status FROM gpss.jobs;
SELECT gpss.remove_job('fleeting');

SET client_min_messages = warning;
DROP SCHEMA gpss_table CASCADE;
DROP SERVER kafka;
DROP FOREIGN DATA WRAPPER other CASCADE;
