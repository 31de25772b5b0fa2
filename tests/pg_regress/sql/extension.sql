-- CREATE, DROP and re-create the extension, in a database of its own.
CREATE DATABASE regress_gpss_extension TEMPLATE template0;
\c regress_gpss_extension
CREATE ROLE regress_gpss_nobody;

-- Only a superuser may create it.
GRANT CREATE ON DATABASE regress_gpss_extension TO regress_gpss_nobody;
SET ROLE regress_gpss_nobody;
CREATE EXTENSION gpss;
RESET ROLE;
REVOKE CREATE ON DATABASE regress_gpss_extension FROM regress_gpss_nobody;

-- The extension makes its schema itself, so that dropping it leaves nothing.
CREATE SCHEMA gpss;
CREATE EXTENSION gpss;
\echo :LAST_ERROR_SQLSTATE
DROP SCHEMA gpss;

CREATE EXTENSION gpss;
\dx+ gpss
CREATE SCHEMA elsewhere;
ALTER EXTENSION gpss SET SCHEMA elsewhere;

-- What pg_dump carries: definitions and history, not what describes the running server.
SELECT config::regclass FROM pg_extension, unnest(extconfig) AS config
WHERE extname = 'gpss' ORDER BY config::regclass::text;

-- The script is ASCII, because it is read in the encoding of the database, whichever that is.
SELECT count(*) > 100 AS is_there, count(*) FILTER (WHERE line ~ '[^\x01-\x7f]') AS not_ascii
FROM pg_config() AS c, pg_extension AS e,
    pg_read_binary_file(format('%s/extension/gpss--%s.sql', c.setting, e.extversion)) AS script,
    regexp_split_to_table(convert_from(script, 'UTF8'), '\n') AS line
WHERE c.name = 'SHAREDIR' AND e.extname = 'gpss';

-- No report has a backtrace, although the server's environment asks for them.
CREATE TEMPORARY TABLE environment (asks text);
COPY environment FROM PROGRAM 'echo "RUST_BACKTRACE is $RUST_BACKTRACE"';
TABLE environment;
SELECT gpss.stop_job('nobody');

-- Every view is documented, and every column of it.
SELECT c.oid::regclass AS undocumented
FROM pg_class c
WHERE relnamespace = 'gpss'::regnamespace AND relkind = 'v' AND obj_description(oid, 'pg_class') IS NULL
ORDER BY 1;
SELECT attrelid::regclass AS view, attname AS undocumented
FROM pg_attribute
WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'gpss'::regnamespace AND relkind = 'v')
  AND attnum > 0 AND col_description(attrelid, attnum) IS NULL
ORDER BY 1, 2;

-- What depends on it holds it back.
CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '127.0.0.1:1');
CREATE FOREIGN TABLE source (doc json) SERVER kafka OPTIONS (topic 'readings');
CREATE TABLE target (id int);
SELECT gpss.submit_job('job', source => 'source', target => 'target',
    mapping => '{"id": "(doc->>''id'')::int"}') > 0 AS submitted;
DROP EXTENSION gpss;
\echo :LAST_ERROR_SQLSTATE
SELECT name, status FROM gpss.jobs;
BEGIN;
DROP EXTENSION gpss CASCADE;
ROLLBACK;
SELECT name, status FROM gpss.jobs;
DROP EXTENSION gpss CASCADE;

SELECT count(*) AS functions FROM pg_proc WHERE probin LIKE '%gpss%';
SELECT count(*) AS wrappers FROM pg_foreign_data_wrapper;
SELECT count(*) AS triggers FROM pg_event_trigger;
SELECT count(*) AS schemas FROM pg_namespace WHERE nspname = 'gpss';

-- A new one starts empty; creating it twice, or rolling that back, does no harm.
CREATE EXTENSION gpss;
CREATE EXTENSION gpss;
CREATE EXTENSION IF NOT EXISTS gpss;
SELECT count(*) FROM gpss.jobs;
DROP EXTENSION gpss;
BEGIN;
CREATE EXTENSION gpss;
ROLLBACK;
SELECT count(*) AS schemas FROM pg_namespace WHERE nspname = 'gpss';
BEGIN;
CREATE EXTENSION gpss;
DROP EXTENSION gpss;
CREATE EXTENSION gpss;
COMMIT;
SELECT count(*) FROM gpss.jobs;

-- Its functions without it.
BEGIN;
CREATE FUNCTION pg_temp.orphan(text) RETURNS void LANGUAGE c STRICT
    AS '$libdir/gpss', 'remove_job_wrapper';
DROP EXTENSION gpss;
SELECT pg_temp.orphan('job');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

\c regress
DROP DATABASE regress_gpss_extension WITH (FORCE);
DROP ROLE regress_gpss_nobody;
