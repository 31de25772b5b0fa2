-- What PUBLIC sees and may do, and whose jobs a role sees.
\getenv abs_srcdir PG_ABS_SRCDIR
\set file :abs_srcdir '/include/error_of.sql'
\i :file
CREATE ROLE regress_gpss_alice LOGIN;
CREATE ROLE regress_gpss_bob LOGIN;
CREATE ROLE regress_gpss_member LOGIN IN ROLE regress_gpss_alice;
CREATE ROLE regress_gpss_monitor LOGIN IN ROLE pg_monitor;

-- Privileges of PUBLIC on everything in the schema.
SELECT has_schema_privilege('public', 'gpss', 'USAGE') AS usage,
       has_schema_privilege('public', 'gpss', 'CREATE') AS create;
SELECT c.oid::regclass, string_agg(p, ', ' ORDER BY p) AS privileges
FROM pg_class c
LEFT JOIN unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS p
    ON relkind <> 'S' AND has_table_privilege('public', c.oid, p)
    OR relkind = 'S' AND p IN ('SELECT', 'UPDATE') AND has_sequence_privilege('public', c.oid, p)
WHERE relnamespace = 'gpss'::regnamespace AND relkind IN ('r', 'v', 'S')
GROUP BY c.oid, relkind
ORDER BY relkind, c.oid::regclass::text;
SELECT has_foreign_data_wrapper_privilege('public', 'gpss', 'USAGE') AS wrapper;

-- A role without any grant.
SET ROLE regress_gpss_bob;
SELECT statement, pg_temp.error_of(statement) FROM (VALUES
    ('TABLE gpss.job'),
    ('TABLE gpss.offsets'),
    ('TABLE gpss.batch'),
    ('TABLE gpss.error'),
    ('TABLE gpss.run'),
    ('TABLE gpss.status'),
    ('TABLE gpss.worker'),
    ('TABLE gpss.jobs'),
    ('TABLE gpss.progress'),
    ('TABLE gpss.batches'),
    ('TABLE gpss.lost_range'),
    ('TABLE gpss.lost_ranges'),
    ('TABLE gpss.errors'),
    ('TABLE gpss.job_definitions'),
    ('INSERT INTO gpss.job (name, owner, spec) VALUES (''x'', ''regress_gpss_bob'', ''{}'')'),
    ('UPDATE gpss.offsets SET next_offset = 0'),
    ('DELETE FROM gpss.run'),
    ('UPDATE gpss.jobs SET name = ''x'''),
    ('SELECT nextval(''gpss.job_id_seq'')'),
    ('CREATE TABLE gpss.mine ()'),
    ('CREATE SERVER mine FOREIGN DATA WRAPPER gpss OPTIONS (brokers ''127.0.0.1:1'')')
) AS v (statement);
RESET ROLE;

-- Jobs of two owners, with what their runs would have left.
GRANT USAGE ON FOREIGN DATA WRAPPER gpss TO regress_gpss_alice;
CREATE SCHEMA gpss_privileges;
GRANT ALL ON SCHEMA gpss_privileges TO regress_gpss_alice, regress_gpss_bob;
SET search_path = gpss_privileges;
CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '127.0.0.1:1');
GRANT USAGE ON FOREIGN SERVER kafka TO regress_gpss_alice, regress_gpss_bob;
SET ROLE regress_gpss_alice;
CREATE FOREIGN TABLE alices_source (doc json) SERVER kafka OPTIONS (topic 'a');
CREATE TABLE alices (id int);
SELECT gpss.submit_job('alices', source => 'alices_source', target => 'alices',
    mapping => '{"id": "(doc->>''id'')::int"}') > 0;
SET ROLE regress_gpss_bob;
CREATE FOREIGN TABLE bobs_source (doc json) SERVER kafka OPTIONS (topic 'b');
CREATE TABLE bobs (id int);
SELECT gpss.submit_job('bobs', source => 'bobs_source', target => 'bobs',
    mapping => '{"id": "(doc->>''id'')::int"}') > 0;
RESET ROLE;
INSERT INTO gpss.offsets (job_id, partition, next_offset, begin_offset, high_watermark)
SELECT id, 0, 10, 0, 15 FROM gpss.job WHERE removed_at IS NULL;
INSERT INTO gpss.batch (id, job_id, partition, start_time, end_time, begin_offset, end_offset,
    messages, bytes, inserted, rejected, end_reason)
SELECT -id, id, 0, now(), now(), 0, 10, 10, 1000, 9, 1, 'rows' FROM gpss.job WHERE removed_at IS NULL;
INSERT INTO gpss.error (job_id, batch_id, topic, partition, "offset", payload, stage, sqlstate, message)
SELECT id, -id, 't', 0, 3, 'secret', 'map', '22P02', 'bad' FROM gpss.job WHERE removed_at IS NULL;
INSERT INTO gpss.lost_range (job_id, topic, partition, begin_offset, end_offset, reason)
SELECT id, 't', 0, 3, 10, 'retention' FROM gpss.job WHERE removed_at IS NULL;

CREATE FUNCTION pg_temp.visible() RETURNS TABLE (view text, jobs text) LANGUAGE sql AS $$
    SELECT 'jobs', string_agg(name, ', ' ORDER BY name) FROM gpss.jobs
    UNION ALL SELECT 'progress', string_agg(job, ', ' ORDER BY job) FROM gpss.progress
    UNION ALL SELECT 'batches', string_agg(job, ', ' ORDER BY job) FROM gpss.batches
    UNION ALL SELECT 'lost_ranges', string_agg(job, ', ' ORDER BY job) FROM gpss.lost_ranges
    UNION ALL SELECT 'errors', string_agg(job, ', ' ORDER BY job) FROM gpss.errors
    UNION ALL SELECT 'job_definitions', string_agg(job, ', ' ORDER BY job) FROM gpss.job_definitions
$$;
SET ROLE regress_gpss_alice;
SELECT * FROM pg_temp.visible();
SET ROLE regress_gpss_bob;
SELECT * FROM pg_temp.visible();
SET ROLE regress_gpss_member;
SELECT * FROM pg_temp.visible();
-- Rejected messages are data, not monitoring.
SET ROLE regress_gpss_monitor;
SELECT * FROM pg_temp.visible();
RESET ROLE;
SELECT * FROM pg_temp.visible();

-- The view's barrier: a function of the caller's own does not see rows that the view hides.
SET ROLE regress_gpss_bob;
CREATE FUNCTION pg_temp.tell(name text) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS $$
BEGIN
    RAISE NOTICE 'saw %', name;
    RETURN true;
END $$;
SELECT name FROM gpss.jobs WHERE pg_temp.tell(name);
DROP FUNCTION pg_temp.tell;

-- Other people's jobs, and jobs that do not exist.
SELECT statement, pg_temp.error_of(statement) FROM (VALUES
    ('SELECT gpss.start_job(''alices'')'),
    ('SELECT gpss.start_job(''alices'', now())'),
    ('SELECT gpss.start_job(''alices'', ''{"0": 1}''::jsonb)'),
    ('SELECT gpss.stop_job(''alices'')'),
    ('SELECT gpss.wait_job(''alices'', ''1 ms'')'),
    ('SELECT gpss.remove_job(''alices'')'),
    ('SELECT * FROM gpss.check(''alices'')'),
    ('SELECT gpss.submit_job(''alices'', source => ''bobs_source'', target => ''bobs'', mapping => ''{"id": "1"}'')'),
    ('SELECT gpss.start_job(''nobodys'')'),
    ('SELECT gpss.stop_job(''nobodys'')'),
    ('SELECT gpss.wait_job(''nobodys'')'),
    ('SELECT gpss.remove_job(''nobodys'')'),
    ('SELECT * FROM gpss.check(''nobodys'')')
) AS v (statement);
-- A monitor watches and does not touch.
SET ROLE regress_gpss_monitor;
SELECT pg_temp.error_of('SELECT gpss.stop_job(''alices'')');
-- A member of the owner acts for him.
SET ROLE regress_gpss_member;
SELECT gpss.wait_job('alices');
SELECT gpss.stop_job('alices');
SELECT gpss.remove_job('alices');
RESET ROLE;
SELECT gpss.remove_job('bobs');

-- Privileges that a job's statement needs are asked for when it is submitted.
CREATE TABLE closed (id int, note text);
SET ROLE regress_gpss_bob;
SELECT pg_temp.error_of($$SELECT gpss.submit_job('j', source => 'bobs_source', target => 'closed', mapping => '{"id": "1"}')$$);
RESET ROLE;
GRANT INSERT (note) ON closed TO regress_gpss_bob;
SET ROLE regress_gpss_bob;
SELECT pg_temp.error_of($$SELECT gpss.submit_job('j', source => 'bobs_source', target => 'closed', mapping => '{"id": "1"}')$$);
SELECT pg_temp.error_of($$SELECT gpss.submit_job('j', source => 'bobs_source', target => 'closed', mapping => '{"note": "1::text"}')$$);
SELECT pg_temp.error_of($$SELECT gpss.submit_job('k', source => 'alices_source', target => 'bobs', mapping => '{"id": "1"}')$$);
SELECT gpss.remove_job('j');
RESET ROLE;

-- A configuration makes a server: that needs USAGE on the wrapper, and CREATE in the schema.
\set file :abs_srcdir '/include/config.sql'
\i :file
SET ROLE regress_gpss_bob;
CREATE TABLE readings (sensor int, value numeric);
SELECT pg_temp.error_of($$SELECT gpss.submit_job('c', pg_temp.config())$$);
RESET ROLE;
SET ROLE regress_gpss_alice;
SELECT pg_temp.error_of($$SELECT gpss.submit_job('c', pg_temp.config())$$);
RESET ROLE;
REVOKE CREATE ON SCHEMA gpss_privileges FROM regress_gpss_alice;
GRANT INSERT ON readings TO regress_gpss_alice;
SET ROLE regress_gpss_alice;
SELECT pg_temp.error_of($$SELECT gpss.submit_job('c', pg_temp.config())$$);
RESET ROLE;
GRANT CREATE ON SCHEMA gpss_privileges TO regress_gpss_alice;
-- Without USAGE on a schema: in the configuration, by the search path, in plain SQL.
CREATE SCHEMA gpss_closed;
CREATE TABLE gpss_closed.readings (sensor int, value numeric);
CREATE TABLE gpss_closed.elsewhere (sensor int, value numeric);
GRANT INSERT ON gpss_closed.readings, gpss_closed.elsewhere TO regress_gpss_alice;
SELECT 'gpss_closed.readings'::regclass::oid AS closed \gset
SET ROLE regress_gpss_alice;
SET search_path = gpss_closed, gpss_privileges;
SELECT pg_temp.error_of($$SELECT gpss.submit_job('c', pg_temp.config('TABLE: readings', 'SCHEMA: gpss_closed
      TABLE: readings'))$$);
SELECT pg_temp.error_of($$SELECT gpss.submit_job('c', pg_temp.config('TABLE: readings', 'TABLE: elsewhere'))$$);
SELECT pg_temp.error_of(format('SELECT gpss.submit_job(''c'', source => ''alices_source'', target => %s)', :'closed'));
SELECT pg_temp.error_of($$SELECT gpss.submit_job('c', pg_temp.config('KAFKA:', 'KAFKA:
   METADATA: {SCHEMA: gpss_closed}'))$$);
RESET ROLE;
SET search_path = gpss_privileges;
SET client_min_messages = warning;
DROP SCHEMA gpss_closed CASCADE;
RESET client_min_messages;
SET ROLE regress_gpss_alice;
SELECT gpss.submit_job('c', pg_temp.config()) AS id \gset
SELECT owner FROM gpss.jobs WHERE name = 'c';
-- What was made is the submitter's; what he may do with it is what he may do anyway.
SELECT srvowner::regrole FROM pg_foreign_server WHERE srvname = 'gpss_job_' || :id;
SELECT relowner::regrole FROM pg_class WHERE relname = 'gpss_job_' || :id;
SELECT gpss.remove_job('c');
-- Properties that reach outside need the same roles as in CREATE SERVER.
SELECT pg_temp.error_of($$SELECT gpss.submit_job('c', pg_temp.config('   COMMIT:', '   PROPERTIES:
      ssl.ca.location: /etc/passwd
   COMMIT:'))$$);
SELECT pg_temp.error_of($$SELECT gpss.submit_job('c', pg_temp.config('   COMMIT:', '   PROPERTIES:
      plugin.library.paths: /tmp/evil
   COMMIT:'))$$);
-- So do the program of an alert and the files of a schema registry.
SELECT pg_temp.error_of($$SELECT gpss.submit_job('c', pg_temp.config('KAFKA:', 'ALERT: {COMMAND: "true"}
KAFKA:'))$$);
SELECT pg_temp.error_of($$SELECT gpss.submit_job('c', pg_temp.config('FORMAT: json', 'FORMAT: avro
      AVRO_OPTION: {SCHEMA_PATH_ON_GPDB: /etc/passwd}'))$$);
RESET ROLE;
GRANT pg_execute_server_program TO regress_gpss_alice;
SET ROLE regress_gpss_alice;
SELECT gpss.submit_job('c', pg_temp.config('KAFKA:', 'ALERT: {COMMAND: "true"}
KAFKA:')) > 0 AS submitted;
SELECT gpss.remove_job('c');
RESET ROLE;

DELETE FROM gpss.error;
DELETE FROM gpss.batch;
DELETE FROM gpss.lost_range;
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA gpss_privileges CASCADE;
DROP SERVER kafka CASCADE;
REVOKE USAGE ON FOREIGN DATA WRAPPER gpss FROM regress_gpss_alice;
DROP ROLE regress_gpss_alice, regress_gpss_bob, regress_gpss_member, regress_gpss_monitor;
