-- What files and habits of GPSS bring along: names, texts and shapes that are taken as they are meant.
\getenv abs_srcdir PG_ABS_SRCDIR
\set file :abs_srcdir '/include/error_of.sql'
\i :file
\set file :abs_srcdir '/include/config.sql'
\i :file
CREATE SCHEMA gpss_field;
SET search_path = gpss_field;
CREATE TABLE crimes (id int, iucr text, "Ward" text, note text DEFAULT 'none', seen timestamptz);
CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '127.0.0.1:1');
CREATE FOREIGN TABLE topic (id int, "IUCR" text, part int OPTIONS (source 'partition')) SERVER kafka OPTIONS (topic 'crimes');
CREATE FUNCTION pg_temp.small(input text, output text) RETURNS text LANGUAGE sql AS $$
    SELECT format('KAFKA: {INPUT: {SOURCE: {BROKERS: "127.0.0.1:1", TOPIC: crimes}, %s}, OUTPUT: {%s}}', input, output)
$$;
CREATE FUNCTION pg_temp.statement(job text) RETURNS text LANGUAGE sql AS $$
    SELECT regexp_replace(spec->'outputs'->0->>'mapping', 'gpss_job_\d+', 'gpss_job_N', 'g') FROM gpss.job
    WHERE name = $1 AND removed_at IS NULL
$$;
CREATE FUNCTION pg_temp.submitted(config text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM gpss.submit_job('j', config);
    RETURN pg_temp.statement('j');
END $$;

-- Names: the exact one first, else in lower case. What goes nowhere and what nothing fills is said.
BEGIN;
SELECT pg_temp.submitted(pg_temp.small('FORMAT: csv, COLUMNS: [{NAME: ID, TYPE: int}, {NAME: IUCR, TYPE: text}, {NAME: Ward, TYPE: text}, {NAME: seen, TYPE: timestamptz}]', 'TABLE: crimes'));
ROLLBACK;
BEGIN;
SELECT pg_temp.submitted(pg_temp.small('FORMAT: csv, COLUMNS: [{NAME: cust_id, TYPE: int}, {NAME: IUCR, TYPE: text}, {NAME: __IGNORED__, TYPE: text}]', 'TABLE: crimes'));
ROLLBACK;
SELECT pg_temp.error_of(format('SELECT gpss.submit_job(%L, %L)', 'j', pg_temp.small('FORMAT: csv, COLUMNS: [{NAME: cust_id, TYPE: int}, {NAME: IUCR, TYPE: text}]',
    'TABLE: crimes, MAPPING: {ID: "cust_id as id", WARD: "lower(IUCR)"}')));
BEGIN;
SELECT pg_temp.submitted(pg_temp.small('FORMAT: csv, FILTER: "cust_id > 5;", COLUMNS: [{NAME: cust_id, TYPE: int}, {NAME: IUCR, TYPE: text}]',
    'TABLE: crimes, MAPPING: {ID: "cust_id as id", Ward: "lower(IUCR)", Note: "\"IUCR\" as \"Note\";"}'));
SELECT spec->'filter' FROM gpss.job WHERE name = 'j' AND removed_at IS NULL;
ROLLBACK;
-- Plain SQL: as PostgreSQL reads expressions, but columns of the same name by the same rule.
BEGIN;
SELECT gpss.submit_job('j', source => 'topic', target => 'crimes') > 0 AS submitted;
SELECT pg_temp.statement('j');
ROLLBACK;
BEGIN;
SELECT gpss.submit_job('j', source => 'topic', target => 'crimes', filter => 'id > 1;', mapping => '{"ID": "id as x", "Ward": "\"IUCR\";"}') > 0 AS submitted;
SELECT pg_temp.statement('j'), spec->'filter' FROM gpss.job WHERE name = 'j' AND removed_at IS NULL;
ROLLBACK;
SELECT pg_temp.error_of($$SELECT gpss.submit_job('j', source => 'topic', target => 'crimes', mapping => '{"id": "ID", "iucr": "IUCR"}')$$);
-- csv without COLUMNS.
BEGIN;
SELECT pg_temp.submitted(pg_temp.small('FORMAT: csv', 'TABLE: crimes')) IS NOT NULL AS submitted;
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute a JOIN gpss.job ON attrelid = format('%I.%I', spec->'source'->>'schema', spec->'source'->>'name')::regclass
WHERE name = 'j' AND removed_at IS NULL AND attnum > 0 ORDER BY attnum;
ROLLBACK;

-- Three bare literals.
BEGIN;
SELECT gpss.submit_job('a', 'topic', 'crimes') > 0 AS submitted;
SELECT gpss.submit_job('b', 'KAFKA: {INPUT: {SOURCE: {BROKERS: b, TOPIC: "{{topic}}"}, FORMAT: csv}, OUTPUT: {TABLE: crimes}}', '{"topic": "crimes"}') > 0 AS submitted;
SELECT gpss.submit_job('c', 'KAFKA: {INPUT: {SOURCE: {BROKERS: b, TOPIC: t}, FORMAT: csv}, OUTPUT: {TABLE: crimes}}') > 0 AS submitted;
SELECT gpss.submit_job('d', config => 'KAFKA: {INPUT: {SOURCE: {BROKERS: b, TOPIC: "{{topic}}"}, FORMAT: csv}, OUTPUT: {TABLE: crimes}}', properties => '{"topic": "crimes"}') > 0 AS submitted;
SELECT gpss.submit_job('e', 'topic', 'crimes', '{"id": "id"}') > 0 AS submitted;
SELECT gpss.submit_job('f', 'topic', 'crimes', max_row => 5) > 0 AS submitted;
SELECT gpss.submit_job('g', 'topic'::regclass, 'crimes') > 0 AS submitted;
SELECT gpss.submit_job('h', source => 'topic', target => 'crimes') > 0 AS submitted;
PREPARE bound (text, text, text) AS SELECT gpss.submit_job($1, $2, $3) > 0 AS submitted;
EXECUTE bound('i', 'topic', 'crimes');
SELECT name, topic, target_table FROM gpss.jobs ORDER BY name;
ROLLBACK;
SELECT call, pg_temp.error_of('SELECT gpss.submit_job(' || call || ')') FROM (VALUES
    ($$'j', 'topic', 'nowhere'$$), ($$'j', 'nowhere', 'crimes'$$), ($$'j', 'crimes', 'crimes'$$), ($$'j', 'KAFKA: {}', '{"a": '$$),
    ($$'j', E'KAFKA:\n x', 'crimes'$$), ($$'j', 'job.yaml', '{}'$$)) AS v (call);

-- The name of a file.
SELECT pg_temp.error_of($$SELECT gpss.submit_job('j', 'job.yaml')$$);
SELECT call, pg_temp.error_of(format('SELECT * FROM gpss.%s(%L)', call, '/etc/gpss/job.yml')) LIKE '22023: %is the name of a file%' AS told
FROM unnest('{load,check,dryrun,convert}'::text[]) AS call;
-- One word is none either; where a job's name may stand, it is that.
SELECT call, pg_temp.error_of(format('SELECT * FROM gpss.%s(%L)', call, 'mobile_info'))
FROM unnest('{load,check,dryrun,convert}'::text[]) AS call;

-- One NOTICE for all that has no effect, and none for what everybody knows.
BEGIN;
SELECT gpss.submit_job('quiet', format(E'DATABASE: %s\nUSER: %s\nHOST: mdw\nPORT: 5432\n%s', current_database(), current_user, pg_temp.small('FORMAT: csv', 'TABLE: crimes'))) > 0 AS submitted;
SELECT gpss.submit_job('loud', format(E'DATABASE: shop\nUSER: gpadmin\nHOST: mdw\nPORT: 5432\nPASSWORD: x\n%s', pg_temp.small('FORMAT: csv', 'TABLE: crimes'))) > 0 AS submitted;
ROLLBACK;

-- SQL around the batches is parsed.
SELECT task, pg_temp.error_of(format('SELECT gpss.submit_job(%L, %L)', 'j', replace(pg_temp.small('FORMAT: csv', 'TABLE: crimes'), 'OUTPUT', 'TASK: {' || task || '}, OUTPUT')))
FROM (VALUES ('POST_BATCH_SQL: "CREATE TEMP TABLE t AS SELECT 1 DISTRIBUTED RANDOMLY", BATCH_INTERVAL: 1'), ('PREPARE_SQL: "CREATE TABLE t (a int) DISTRIBUTED BY (a)"'),
    ('TEARDOWN_SQL: "SELEC 1"'), ('PREPARE_SQL: "SELECT * FROM is_not_there_yet; SELECT 2;"')) AS v (task);
SELECT gpss.remove_job('j');

-- Brokers and topics.
SELECT brokers, pg_temp.error_of(format('CREATE SERVER bad FOREIGN DATA WRAPPER gpss OPTIONS (brokers %L)', brokers))
FROM unnest('{localhost:abc,kafka://b:9092,b:99999,"a b:1",","}'::text[]) AS brokers;
SELECT pg_temp.error_of($$ALTER SERVER kafka OPTIONS (SET brokers 'b:0')$$);
CREATE SERVER good FOREIGN DATA WRAPPER gpss OPTIONS (brokers 'SSL://b1:9093, [::1]:9092,b2');
SELECT topic, pg_temp.error_of(format('CREATE FOREIGN TABLE bad () SERVER kafka OPTIONS (topic %L)', topic)) FROM unnest('{"a,b","^a.*","a b"}'::text[]) AS topic;
SELECT replacement, pg_temp.error_of(format('SELECT gpss.submit_job(%L, %L)', 'bad', pg_temp.config(replaced, replacement))) FROM (VALUES
    ('BROKERS: 127.0.0.1:1', 'BROKERS: kafka://127.0.0.1:1'), ('TOPIC: readings', 'TOPIC: a,b'), ('TOPIC: readings', 'TOPIC: [a, b]')) AS v (replaced, replacement);

-- Avro without a schema.
BEGIN;
CREATE TABLE documents (value json);
SELECT gpss.submit_job('avro', pg_temp.small('FORMAT: avro', 'TABLE: documents')) > 0 AS submitted;
ROLLBACK;

-- Transformers: which row they are given.
CREATE FUNCTION of_target(s crimes, p json) RETURNS crimes LANGUAGE sql AS 'SELECT s';
CREATE FUNCTION of_any(s anyelement, p json) RETURNS anyelement LANGUAGE sql AS 'SELECT s';
CREATE FUNCTION of_source(s anyelement, p json) RETURNS crimes LANGUAGE plpgsql AS $$
DECLARE r crimes; BEGIN r.id := s.cust_id; RETURN r; END $$;
CREATE FUNCTION makes(s anyelement, p json) RETURNS crimes LANGUAGE plpgsql AS $$
DECLARE r crimes; BEGIN r.id := s.id; RETURN r; END $$;
BEGIN;
SELECT gpss.submit_job(f, replace(pg_temp.small('FORMAT: csv, COLUMNS: [{NAME: cust_id, TYPE: int}, {NAME: ID, TYPE: int}]', 'TABLE: crimes, TRANSFORMER: {TRANSFORM: THIS}'), 'THIS', f)) > 0 AS submitted
FROM unnest('{of_target,of_any,of_source,makes,gpss_field.of_source}'::text[]) AS f;
SELECT name, spec->'outputs'->0->'transformer'->'input' FROM gpss.job WHERE removed_at IS NULL ORDER BY name;
ROLLBACK;
SELECT f, pg_temp.error_of(format('SELECT gpss.submit_job(%L, %L)', 'j', replace(pg_temp.small('FORMAT: csv, COLUMNS: [{NAME: cust_id, TYPE: int}]', 'TABLE: crimes, TRANSFORMER: {TRANSFORM: THIS}'), 'THIS', f)))
FROM unnest('{of_target,nowhere}'::text[]) AS f;
CREATE TABLE third (id int);
CREATE FUNCTION of_third(s third, p json) RETURNS crimes LANGUAGE sql AS 'SELECT NULL::crimes';
SELECT pg_temp.error_of(format('SELECT gpss.submit_job(%L, %L)', 'j',
    pg_temp.small('FORMAT: csv, COLUMNS: [{NAME: ID, TYPE: int}]', 'TABLE: crimes, TRANSFORMER: {TRANSFORM: of_third}')));

SELECT count(*) FROM gpss.jobs;
\set ECHO none
SET client_min_messages = warning;
DROP SCHEMA gpss_field CASCADE;
DROP SERVER kafka;
DROP SERVER good;
