-- Jobs whose broker is not there: what start, stop, wait and remove say and what a transaction undoes.
\getenv abs_srcdir PG_ABS_SRCDIR
\set file :abs_srcdir '/include/error_of.sql'
\i :file
CREATE SCHEMA gpss_control;
SET search_path = gpss_control;
CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '127.0.0.1:1');
CREATE FOREIGN TABLE source (id int) SERVER kafka OPTIONS (topic 'readings');
CREATE TABLE target (id int);
SELECT gpss.submit_job('job', source => 'source', target => 'target') > 0 AS submitted;

-- Not running.
SELECT gpss.wait_job('job');
SELECT gpss.wait_job('job', '1 ms');
SELECT gpss.stop_job('job');
SELECT status FROM gpss.jobs;

-- Where to start.
SELECT reset, pg_temp.error_of(format('SELECT gpss.start_job(''job'', reset => %s)', reset)) FROM (VALUES
    ($$'first'$$), ($$''$$), ($$'{}'::jsonb$$), ($$'{"0": -1}'::jsonb$$), ($$'{"00": 1}'::jsonb$$), ($$'{"a": 1}'::jsonb$$),
    ($$'{"0": "newest"}'::jsonb$$), ($$'{"0": 1.5}'::jsonb$$), ($$'[1]'::jsonb$$), ($$'null'::jsonb$$), ($$'"first"'::jsonb$$),
    ($$timestamptz '1969-12-31 00:00+00'$$), ($$timestamptz '-infinity'$$), ($$'1600000000'$$), ($$'20260131120000'$$),
    ($$'2026-13-01'$$), ($$'1969-12-31 00:00+00'$$)
) AS v (reset);
SELECT count(*) FROM gpss.run;

-- Start and stop belong to their transaction.
BEGIN;
SELECT gpss.start_job('job', reset => 'LATEST', quit_at_eof => true);
SELECT quit_at_eof, reset FROM gpss.run;
SELECT status FROM gpss.jobs;
SELECT pg_temp.error_of('SELECT gpss.start_job(''job'')');
SELECT pg_temp.error_of('SELECT gpss.remove_job(''job'')');
SELECT gpss.stop_job('job');
SELECT status FROM gpss.jobs;
SELECT gpss.remove_job('job');
SELECT count(*) FROM gpss.jobs;
ROLLBACK;
SELECT status FROM gpss.jobs;
BEGIN;
SAVEPOINT before;
SELECT gpss.start_job('job', timestamptz '2024-01-01 00:00+00');
SELECT reset FROM gpss.run;
ROLLBACK TO before;
SELECT gpss.start_job('job', '{"0": 12, "1": "earliest"}'::jsonb);
SELECT reset FROM gpss.run;
ROLLBACK TO before;
-- A time as text, and as gpsscli has it.
SELECT gpss.start_job('job', reset => '2024-01-01 00:00+00');
SELECT reset FROM gpss.run;
ROLLBACK TO before;
SELECT gpss.start_job('job', reset => '1600000000000');
SELECT reset FROM gpss.run;
ROLLBACK TO before;
-- NULL continues, whatever its type.
SELECT gpss.start_job('job', reset => NULL::timestamptz);
SELECT reset FROM gpss.run;
ROLLBACK TO before;
SELECT gpss.start_job('job', reset => NULL::jsonb);
SELECT reset FROM gpss.run;
ROLLBACK TO before;
SELECT gpss.start_job('job', reset => NULL);
SELECT reset FROM gpss.run;
ROLLBACK;
SELECT count(*) FROM gpss.run;

-- A job with a new name; an old name with a new job.
SELECT gpss.remove_job('job');
SELECT gpss.submit_job('job', source => 'source', target => 'target') > 0 AS submitted;
SELECT count(*) FROM gpss.job WHERE name = 'job' AND spec->'outputs'->0->'target'->>'schema' = 'gpss_control';

-- The worker connects as the owner, who has to be able to.
CREATE ROLE regress_gpss_group;
GRANT ALL ON SCHEMA gpss_control TO regress_gpss_group;
GRANT SELECT ON source TO regress_gpss_group;
GRANT INSERT ON target TO regress_gpss_group;
SET ROLE regress_gpss_group;
SELECT gpss.submit_job('group', source => 'source', target => 'target') > 0 AS submitted;
SELECT pg_temp.error_of('SELECT gpss.start_job(''group'')');
SELECT gpss.remove_job('group');
RESET ROLE;

-- A broker that is not there keeps the job trying; stopping takes effect at once.
SELECT gpss.start_job('job');
DO $$
BEGIN
    FOR i IN 1..300 LOOP
        EXIT WHEN (SELECT status FROM gpss.jobs WHERE name = 'job') = 'JOB_RETRYING';
        PERFORM pg_sleep(0.1);
        COMMIT;
    END LOOP;
END $$;
SELECT status, errmsg ~ '127.0.0.1:1' AS names_the_broker, rows_loaded FROM gpss.jobs;
SELECT gpss.wait_job('job', '10 ms');
SELECT pg_temp.error_of('SELECT gpss.start_job(''job'')');
SELECT pg_temp.error_of('SELECT gpss.remove_job(''job'')');
SELECT clock_timestamp() AS began \gset
SELECT gpss.stop_job('job');
SELECT clock_timestamp() - :'began' < interval '5 s' AS quickly;
SELECT status, errmsg FROM gpss.jobs;
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type LIKE 'gpss loader%';
SELECT gpss.remove_job('job');

SET client_min_messages = warning;
DROP SCHEMA gpss_control CASCADE;
DROP SERVER kafka;
DROP ROLE regress_gpss_group;
