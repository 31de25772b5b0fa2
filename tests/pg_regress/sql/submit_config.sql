-- gpss.submit_job from a GPSS load configuration.
\getenv abs_srcdir PG_ABS_SRCDIR
\set file :abs_srcdir '/include/error_of.sql'
\i :file
\set file :abs_srcdir '/include/config.sql'
\i :file
CREATE SCHEMA gpss_submit;
SET search_path = gpss_submit;
CREATE TABLE readings (sensor int, value numeric, note text DEFAULT 'none', total numeric GENERATED ALWAYS AS (value * 2) STORED);

-- A job is its definition, a server and a foreign table.
SELECT gpss.submit_job('first', pg_temp.config()) AS id \gset
SELECT name, topic, target_schema, target_table, mode, status, errmsg, next_retry_at, rows_loaded, rows_rejected,
    lag_messages, lag_seconds, owner = current_user::regrole AS mine, since <= now() AS since
FROM gpss.jobs WHERE id = :id;
SELECT jsonb_pretty(spec #- '{source,name}') FROM gpss.job WHERE id = :id;
SELECT spec->'source'->>'name' = 'gpss_job_' || :id FROM gpss.job WHERE id = :id;
SELECT srvoptions FROM pg_foreign_server WHERE srvname = 'gpss_job_' || :id;
SELECT relnamespace::regnamespace, ftoptions, attname, atttypid::regtype
FROM pg_foreign_table JOIN pg_class c ON c.oid = ftrelid JOIN pg_attribute ON attrelid = c.oid AND attnum > 0
WHERE relname = 'gpss_job_' || :id;
SELECT count(*) AS mappings FROM pg_user_mappings WHERE srvname = 'gpss_job_' || :id;

-- The name is taken, and a second try leaves nothing behind.
SELECT pg_temp.error_of($$SELECT gpss.submit_job('first', pg_temp.config())$$);
SELECT count(*) FROM pg_foreign_server WHERE srvname LIKE 'gpss_job_%';

-- Removing it removes what was made for it; the name is free again.
SELECT gpss.remove_job('first');
SELECT pg_temp.error_of($$SELECT gpss.remove_job('first')$$);
SELECT count(*) FROM pg_foreign_server WHERE srvname LIKE 'gpss_job_%';
SELECT count(*) FROM pg_class WHERE relname LIKE 'gpss_job_%' AND relkind = 'f';
SELECT gpss.submit_job('first', pg_temp.config()) > :id AS submitted;
SELECT gpss.remove_job('first');
-- So does rolling back.
BEGIN;
SELECT gpss.submit_job('first', pg_temp.config()) > 0 AS submitted;
ROLLBACK;
SELECT count(*) FROM gpss.jobs;
SELECT count(*) FROM pg_foreign_server WHERE srvname LIKE 'gpss_job_%';

-- What is accepted without effect is said.
BEGIN;
SELECT gpss.submit_job('notices', pg_temp.config('KAFKA:', 'HOST: mdw
PORT: 5432
PASSWORD: hunter2
KAFKA:'), '{"spare": "x"}') > 0 AS submitted;
SELECT gpss.submit_job('notices too', pg_temp.config('   COMMIT:', '   POLL:
      BATCHSIZE: 100
      TIMEOUT: 3000
   PROPERTIES:
      acks: all
      group.id: readers
   COMMIT:')) > 0 AS submitted;
SELECT gpss.submit_job('keys of other modes', pg_temp.config('TABLE: readings', E'TABLE: readings\n      MATCH_COLUMNS: [sensor]')) > 0 AS submitted;
SELECT gpss.submit_job('half a task', pg_temp.config('   COMMIT:', E'   TASK:\n      POST_BATCH_SQL: SELECT 1\n   COMMIT:')) > 0 AS submitted;
SELECT count(*) FROM gpss.job WHERE spec::text LIKE '%hunter2%';
ROLLBACK;

-- JSON is YAML; defaults; names as they are written; a mapping that uses all of SQL.
BEGIN;
SELECT gpss.submit_job('json', '{"KAFKA": {"INPUT": {"SOURCE": {"BROKERS": "b:9092", "TOPIC": "t"}, "FORMAT": "json"},
    "OUTPUT": {"TABLE": "readings", "MAPPING": {"sensor": "(value->>''a'')::int"}}}}') > 0 AS submitted;
SELECT spec->'commit', spec->'error_limit', spec->'filter' FROM gpss.job WHERE name = 'json' AND removed_at IS NULL;
CREATE TABLE "Mixed Case" (sensor int, value numeric);
SELECT gpss.submit_job('names', pg_temp.config('TABLE: readings', 'TABLE: gpss_submit."Mixed Case"')) > 0 AS submitted;
SELECT target_schema, target_table FROM gpss.jobs WHERE name = 'names';
SELECT gpss.submit_job('sql', pg_temp.config('(jdata->>''value'')::numeric', $$>-
              CASE jdata->>'unit' -- Celsius
                WHEN 'K' THEN (jdata->>'value')::numeric - 273.15
                ELSE (SELECT max(value) FROM gpss_submit.readings) END$$)) > 0 AS submitted;
SELECT gpss.submit_job('filter', pg_temp.config('ERROR_LIMIT: 25', $$ERROR_LIMIT: 12.5%
      FILTER: (jdata->>'value')::numeric > 0$$)) > 0 AS submitted;
SELECT spec->'filter', spec->'error_limit' FROM gpss.job WHERE name = 'filter' AND removed_at IS NULL;
CREATE SCHEMA work;
SELECT gpss.submit_job('work', pg_temp.config('   COMMIT:', '   METADATA:
      SCHEMA: work
   COMMIT:')) > 0 AS submitted;
SELECT spec->'source'->>'schema' FROM gpss.job WHERE name = 'work' AND removed_at IS NULL;
ROLLBACK;

-- Other formats; several columns are members of the document.
BEGIN;
SELECT gpss.submit_job('avro', pg_temp.config('FORMAT: json', 'FORMAT: avro')) AS id \gset
SELECT ftoptions, attname, attfdwoptions FROM pg_foreign_table JOIN pg_class c ON c.oid = ftrelid JOIN pg_attribute ON attrelid = c.oid AND attnum > 0
WHERE relname = 'gpss_job_' || :id;
SELECT gpss.submit_job('members', pg_temp.config('TYPE: json', E'TYPE: json\n         - NAME: more\n           TYPE: int')) AS id \gset
SELECT ftoptions, attname, attfdwoptions FROM pg_foreign_table JOIN pg_class c ON c.oid = ftrelid JOIN pg_attribute ON attrelid = c.oid AND attnum > 0
WHERE relname = 'gpss_job_' || :id ORDER BY attnum;
ROLLBACK;

-- Templates.
BEGIN;
SELECT pg_temp.error_of($$SELECT gpss.submit_job('t', pg_temp.config('readings
      COLUMNS', '{{topic}}
      COLUMNS'))$$);
SELECT pg_temp.error_of($$SELECT gpss.submit_job('t', pg_temp.config('readings
      COLUMNS', '{{topic}}
      COLUMNS'), '{"topics": "x"}')$$);
SELECT pg_temp.error_of($$SELECT gpss.submit_job('t', pg_temp.config(), '["topic"]')$$);
SELECT pg_temp.error_of($$SELECT gpss.submit_job('t', pg_temp.config(), '{"topic": ["x"]}')$$);
SELECT pg_temp.error_of($$SELECT gpss.submit_job('t', pg_temp.config(), '{"topic": null}')$$);
SELECT gpss.submit_job('template', replace(pg_temp.config('MAX_ROW: 100', 'MAX_ROW: {{ rows }}'), 'TOPIC: readings',
    'TOPIC: "{{topic}}"'), '{"topic": "orders", "rows": 7}') > 0 AS submitted;
SELECT topic, spec->'commit'->'max_row' FROM gpss.jobs JOIN gpss.job USING (id) WHERE jobs.name = 'template';
ROLLBACK;

-- Secrets end up in the user mapping and nowhere else.
SELECT gpss.submit_job('secret', pg_temp.config('   COMMIT:', '   PROPERTIES:
      security.protocol: sasl_plaintext
      sasl.mechanisms: PLAIN
      sasl.username: me
      sasl.password: "{{password}}"
   COMMIT:'), '{"password": "hunter2"}') AS id \gset
SELECT srvoptions FROM pg_foreign_server WHERE srvname = 'gpss_job_' || :id;
SELECT usename = current_user, umoptions FROM pg_user_mappings WHERE srvname = 'gpss_job_' || :id;
SELECT 'gpss.' || name AS "a view or table of gpss with the secret"
FROM (VALUES ('job'), ('run'), ('status'), ('jobs'), ('progress'), ('batches'), ('errors')) AS v (name)
WHERE query_to_xml('TABLE gpss.' || name, false, false, '')::text LIKE '%hunter2%';
SELECT count(*) FROM pg_foreign_table WHERE ftoptions::text LIKE '%hunter2%';
SET client_min_messages = warning;
SELECT gpss.remove_job('secret');
RESET client_min_messages;
SELECT count(*) FROM pg_user_mappings WHERE umoptions::text LIKE '%hunter2%';
-- No error repeats one.
SELECT pg_temp.error_of($$SELECT gpss.submit_job('s', pg_temp.config('   COMMIT:', '   PROPERTIES:
      sasl.passwrod: hunter2
   COMMIT:'))$$);
SELECT pg_temp.error_of($$SELECT gpss.submit_job('s', pg_temp.config('   COMMIT:', '   PROPERTIES:
      sasl.password: [hunter2]
   COMMIT:'))$$);
SELECT pg_temp.error_of($$SELECT gpss.submit_job('s', pg_temp.config('TABLE: readings', 'TABLE: nowhere')
    || E'   PROPERTIES:\n      sasl.password: hunter2\n')$$);

-- Bad configurations: the line, the path and the nearest key.
SELECT pg_temp.error_of(format('SELECT gpss.submit_job(%L, %L)', 'bad', config)) FROM (VALUES
    (''), ('  '), ('readings'), ('- a'), ('KAFKA: ['), (E'KAFKA:\n\tINPUT: x'), ('KAFKA: &a 1'), (E'a: 1\n---\nb: 2')
) AS v (config);
SELECT replace(replacement, E'\n', '\n'), pg_temp.error_of(format('SELECT gpss.submit_job(%L, %L)', 'bad',
    pg_temp.config(replaced, replacement))) FROM (VALUES
    ('DATABASE:', E'VERSION: 2\nDATABASE:'),
    ('DATABASE:', E'VERSION: 7\nDATABASE:'),
    ('DATABASE:', 'DATABSE:'),
    ('KAFKA:', 'KAFAK:'),
    ('INPUT:', 'IMPORT:'),
    ('SOURCE:', 'SORCE:'),
    ('BROKERS:', 'BROKER:'),
    ('BROKERS: 127.0.0.1:1', 'BROKERS: ""'),
    ('TOPIC:', 'TOPICS:'),
    ('         TOPIC: readings', ''),
    ('TOPIC: readings', 'TOPIC: [readings]'),
    ('COLUMNS:', 'COLUMN:'),
    ('NAME: jdata', 'NAMES: jdata'),
    ('TYPE: json', 'TYPE: xml'),
    ('FORMAT: json', 'FORMAT: jsn'),
    ('      FORMAT: json', ''),
    ('ERROR_LIMIT: 25', 'ERROR_LIMIT: many'),
    ('ERROR_LIMIT: 25', 'ERROR_LIMIT: -1'),
    ('ERROR_LIMIT: 25', 'ERROR_LIMIT: 101%'),
    ('ERROR_LIMIT: 25', 'FILTER: "("'),
    ('OUTPUT:', 'OUTPUTS:'),
    ('TABLE: readings', 'TABEL: readings'),
    ('TABLE: readings', 'TABLE: a.b.c'),
    ('TABLE: readings', E'TABLE: a.b\n      SCHEMA: c'),
    ('TABLE: readings', E'TABLE: readings\n      MODE: merge'),
    ('TABLE: readings', E'TABLE: readings\n      MODE: upsert'),
    ('EXPRESSION: (jdata->>''sensor'')::int', 'EXPRESION: 1'),
    ('EXPRESSION: (jdata->>''sensor'')::int', 'EXPRESSION: "1); DROP TABLE readings; --"'),
    ('EXPRESSION: (jdata->>''sensor'')::int', 'EXPRESSION: "''"'),
    ('EXPRESSION: (jdata->>''sensor'')::int', 'EXPRESSION:'),
    ('NAME: value', 'NAME: sensor'),
    ('MAX_ROW: 100', 'MAXROW: 100'),
    ('MAX_ROW: 100', 'MAX_ROW: -100'),
    ('MAX_ROW: 100', 'MAX_ROW: 1.5'),
    ('MINIMAL_INTERVAL: 200', 'MINIMAL_INTERVAL: 2 s'),
    ('MINIMAL_INTERVAL: 200', E'MAX_ROW: 200'),
    ('   COMMIT:', E'   PROPERTIES:\n      group.ids: x\n   COMMIT:'),
    ('   COMMIT:', E'   PROPERTIES:\n      fetch.wait.max.ms: soon\n   COMMIT:')
) AS v (replaced, replacement);
-- What only the database knows.
SELECT replacement, regexp_replace(pg_temp.error_of(format('SELECT gpss.submit_job(%L, %L)', 'bad',
    pg_temp.config(replaced, replacement))), 'gpss_job_\d+', 'gpss_job_N') FROM (VALUES
    ('TABLE: readings', 'TABLE: reading'),
    ('TABLE: readings', 'TABLE: elsewhere.readings'),
    ('TABLE: readings', 'TABLE: "Readings"'),
    ('NAME: sensor', 'NAME: sensors'),
    ('NAME: sensor', 'NAME: total'),
    ('(jdata->>''sensor'')::int', '(jdata->>''sensor'')::intt'),
    ('(jdata->>''sensor'')::int', 'jdata->>''sensor'''),
    ('(jdata->>''sensor'')::int', 'jdat->>''sensor'''),
    ('(jdata->>''sensor'')::int', '1 +'),
    ('(jdata->>''sensor'')::int', 'no_such_function(jdata)'),
    ('(jdata->>''sensor'')::int', '$1'),
    ('ERROR_LIMIT: 25', 'FILTER: jdata->>''a''')
) AS v (replaced, replacement);
SELECT pg_temp.error_of(format('SELECT gpss.submit_job(%L, %L)', name, pg_temp.config())) FROM (VALUES (''), (' ')) AS v (name);
SELECT pg_temp.error_of('SELECT * FROM gpss.check(pg_temp.config(''TOPIC:'', ''TOPICS:''))');

-- What a job was submitted as, one row for each of its tables.
SELECT gpss.submit_job('definition', pg_temp.config('KAFKA:
   INPUT:', 'ALERT: {COMMAND: "true", TIMEOUT: 5}
SCHEDULE: {RETRY_INTERVAL: 10s}
KAFKA:
   TASK: {POST_BATCH_SQL: SELECT 1, BATCH_INTERVAL: 3, PREPARE_SQL: SELECT 2, TEARDOWN_SQL: SELECT 3}
   INPUT:')) > 0 AS submitted;
\x on
SELECT job, origin, source_table = 'gpss_job_' || job_id AS source_table, topic, filter, output, target_table, mode, mapping, max_row,
    minimal_interval, error_limit, prepare_sql, post_batch_sql, batch_interval, teardown_sql, schedule, alert
FROM gpss.job_definitions;
\x off
SELECT gpss.remove_job('definition');
SELECT count(*) FROM gpss.job_definitions;

-- gpss.load raises what is wrong with its configuration, and makes no job.
SELECT pg_temp.error_of('SELECT * FROM gpss.load(pg_temp.config(''TOPIC:'', ''TOPICS:''))');
SELECT pg_temp.error_of('SELECT * FROM gpss.load(pg_temp.config(''TABLE: readings'', ''TABLE: nowhere''))');
SELECT pg_temp.error_of('SELECT * FROM gpss.load('''')');
SELECT pg_temp.error_of('SELECT * FROM gpss.load(pg_temp.config(), properties => ''[]'')');
SELECT pg_temp.error_of('SELECT * FROM gpss.load(pg_temp.config(), reset => ''first'')');
SELECT pg_temp.error_of('SELECT * FROM gpss.load(pg_temp.config(), partitions => ''all'')');
SELECT pg_temp.error_of('SELECT * FROM gpss.load(pg_temp.config(), name => '' '')');

-- Nothing of all that is left.
SELECT count(*) FROM gpss.jobs;
SELECT count(*) FROM pg_foreign_server WHERE srvname LIKE 'gpss_job_%';
DROP SCHEMA gpss_submit CASCADE;
