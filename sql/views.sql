-- What users read, the foreign data wrapper, privileges and comments.

CREATE FOREIGN DATA WRAPPER gpss HANDLER gpss.fdw_handler VALIDATOR gpss.fdw_validator;

-- Workers keep a consumer while idle and would not notice that their tables are gone.
CREATE EVENT TRIGGER gpss_before_drop_extension ON ddl_command_start
    WHEN TAG IN ('DROP EXTENSION') EXECUTE FUNCTION gpss.before_drop_extension();

CREATE VIEW gpss.progress WITH (security_barrier) AS
SELECT j.name AS job,
       j.spec->>'topic' AS topic,
       o.partition,
       o.begin_offset,
       o.next_offset,
       o.high_watermark,
       greatest(o.high_watermark - o.next_offset, 0) AS lag,
       o.last_message_at,
       w.pid AS worker_pid,
       o.rows_loaded,
       o.rows_rejected,
       o.started_at,
       o.updated_at
FROM gpss.job j
JOIN gpss.offsets o ON o.job_id = j.id
LEFT JOIN LATERAL (
    SELECT w.pid
    FROM gpss.worker w
    WHERE w.job_id = j.id
      AND NOT w.finished
      AND w.slot = o.partition % nullif((SELECT count(*) FROM gpss.worker all_slots WHERE all_slots.job_id = j.id), 0)
      AND EXISTS (SELECT FROM gpss.run r WHERE r.job_id = j.id AND r.id = w.run_id)
) w ON true
WHERE j.removed_at IS NULL
  AND (pg_has_role(j.owner::oid, 'MEMBER') OR pg_has_role('pg_monitor', 'MEMBER'));

CREATE VIEW gpss.jobs WITH (security_barrier) AS
SELECT j.id,
       j.name,
       j.owner,
       j.spec->>'topic' AS topic,
       t.target_schema,
       t.target_table,
       t.mode,
       CASE WHEN r.forgotten THEN 'JOB_STOPPED'
            ELSE coalesce(s.status, CASE WHEN p.partitions > 0 THEN 'JOB_STOPPED' ELSE 'JOB_SUBMITTED' END)
       END AS status,
       CASE WHEN r.forgotten THEN 'the server was restarted, and gpss is not in shared_preload_libraries'
            ELSE s.errmsg
       END AS errmsg,
       coalesce(s.since, j.created_at) AS since,
       s.next_retry_at,
       coalesce(p.rows_loaded, 0) AS rows_loaded,
       coalesce(p.rows_rejected, 0) AS rows_rejected,
       coalesce(p.lag_messages, 0) AS lag_messages,
       coalesce(p.lag_seconds, 0) AS lag_seconds
FROM gpss.job j
-- A job with several targets shows them all, in the order of its definition.
CROSS JOIN LATERAL (
    SELECT string_agg(o.output->'target'->>'schema', ', ' ORDER BY o.n) AS target_schema,
           string_agg(o.output->'target'->>'name', ', ' ORDER BY o.n) AS target_table,
           string_agg(o.output->>'mode', ', ' ORDER BY o.n) AS mode
    FROM jsonb_array_elements(j.spec->'outputs') WITH ORDINALITY AS o (output, n)
) t
LEFT JOIN gpss.status s ON s.job_id = j.id
-- Without preload: a run from before the server's last start that no scheduler has taken up; none on a
-- standby.
LEFT JOIN LATERAL (
    SELECT NOT gpss.preloaded()
           AND run.server_start <> pg_postmaster_start_time()
           AND NOT pg_is_in_recovery()
           AND NOT EXISTS (SELECT FROM pg_locks l
                           WHERE l.locktype = 'advisory' AND l.granted
                             AND l.classid = 1 AND l.objid = 1 AND l.objsubid = 26480
                             AND l.database = (SELECT d.oid FROM pg_database d
                                               WHERE d.datname = current_database())) AS forgotten
    FROM gpss.run run
    WHERE run.job_id = j.id
) r ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS partitions,
           sum(o.rows_loaded)::bigint AS rows_loaded,
           sum(o.rows_rejected)::bigint AS rows_rejected,
           sum(greatest(o.high_watermark - o.next_offset, 0))::bigint AS lag_messages,
           max(CASE WHEN o.high_watermark > o.next_offset
                    THEN greatest(extract(epoch FROM clock_timestamp() - coalesce(o.last_message_at, o.started_at)), 0)
                    ELSE 0 END)::double precision AS lag_seconds
    FROM gpss.offsets o
    WHERE o.job_id = j.id
) p ON true
WHERE j.removed_at IS NULL
  AND (pg_has_role(j.owner::oid, 'MEMBER') OR pg_has_role('pg_monitor', 'MEMBER'));

CREATE VIEW gpss.batches WITH (security_barrier) AS
SELECT b.id,
       j.name AS job,
       b.partition,
       b.start_time,
       b.end_time,
       b.begin_offset,
       b.end_offset,
       b.messages,
       b.bytes,
       b.inserted,
       b.updated,
       b.deleted,
       b.rejected,
       b.end_reason,
       b.job_id
FROM gpss.batch b
JOIN gpss.job j ON j.id = b.job_id
WHERE pg_has_role(j.owner::oid, 'MEMBER') OR pg_has_role('pg_monitor', 'MEMBER');

CREATE VIEW gpss.lost_ranges WITH (security_barrier) AS
SELECT l.id,
       j.name AS job,
       l.occurred_at,
       l.topic,
       l.topic_id,
       l.partition,
       l.begin_offset,
       l.end_offset,
       l.end_offset - l.begin_offset AS messages,
       l.reason
FROM gpss.lost_range l
JOIN gpss.job j ON j.id = l.job_id
WHERE pg_has_role(j.owner::oid, 'MEMBER') OR pg_has_role('pg_monitor', 'MEMBER');

-- Payloads are data, not monitoring: only the owner's side sees them.
CREATE VIEW gpss.errors WITH (security_barrier) AS
SELECT e.id,
       j.name AS job,
       e.batch_id,
       e.occurred_at,
       e.topic,
       e.partition,
       e."offset",
       e.message_timestamp,
       e.key,
       e.payload,
       e.headers,
       e.stage,
       e.sqlstate,
       e.message,
       e.detail,
       e.column_name,
       e.status,
       e.attempts,
       e.job_id
FROM gpss.error e
JOIN gpss.job j ON j.id = e.job_id
WHERE pg_has_role(j.owner::oid, 'MEMBER');

GRANT SELECT ON gpss.jobs, gpss.progress, gpss.batches, gpss.lost_ranges, gpss.errors TO PUBLIC;

COMMENT ON SCHEMA gpss IS 'loads Kafka topics into tables';
COMMENT ON FOREIGN DATA WRAPPER gpss IS 'Kafka topics as foreign tables';
COMMENT ON VIEW gpss.jobs IS 'one row per job: definition, status and totals';
COMMENT ON VIEW gpss.progress IS 'one row per job and partition: offsets and lag as of the last batch';
COMMENT ON VIEW gpss.batches IS 'one row per committed batch and partition, or for a second of batches closed by a shorter interval; offsets are next-to-read, so a batch holds [begin_offset, end_offset)';
COMMENT ON VIEW gpss.lost_ranges IS 'one row per range of offsets that a job went over because the brokers had it no longer: [begin_offset, end_offset); messages is the number of offsets, some of which may have held no message';
COMMENT ON VIEW gpss.errors IS 'one row per rejected message, with the bytes as they came';

COMMENT ON FUNCTION gpss.submit_job(text, text, jsonb) IS
    'registers a job from a GPSS load configuration; properties fill its {{templates}}; does not start it';
COMMENT ON FUNCTION gpss.submit_job(text, text, text) IS
    'either of the two others, for bare literals: from a configuration if the third argument is a JSON object, else over a foreign table';
COMMENT ON FUNCTION gpss.submit_job(text, regclass, regclass, jsonb, text, text[], text, bigint, bigint, text, integer) IS
    'registers a job over an existing foreign table; does not start it';
COMMENT ON FUNCTION gpss.start_job(text, boolean, text) IS
    'starts a job when the transaction commits; reset: earliest, latest, a time (also in milliseconds since 1970), or offsets by partition as JSON; NULL continues';
COMMENT ON FUNCTION gpss.start_job(text, timestamptz, boolean) IS
    'starts a job at the first message that is not older than reset; NULL continues';
COMMENT ON FUNCTION gpss.start_job(text, jsonb, boolean) IS
    'starts a job at offsets by partition; NULL continues';
COMMENT ON FUNCTION gpss.stop_job(text) IS
    'stops a job; its running batch is dropped and its workers are gone when this returns';
COMMENT ON FUNCTION gpss.remove_job(text) IS
    'removes a job that is not running, and the foreign table and server made for it';
COMMENT ON FUNCTION gpss.wait_job(text, interval) IS
    'waits until a job no longer runs, or for the timeout; its status then';
COMMENT ON FUNCTION gpss.load(text, boolean, jsonb, text, text, text) IS
    'submits, starts and awaits a load from a GPSS configuration; a later load of the same topic and table by the same role continues, unless reset says where to begin; the result is of this load alone';
COMMENT ON FUNCTION gpss.start_load(text, boolean, jsonb, text, jsonb, text, text) IS
    'the part of gpss.load that has to be committed before workers can see it: its job, when it was started, and where it continues after which other jobs';
COMMENT ON FUNCTION gpss.check(text, jsonb) IS
    'tries everything that a job (by name) or a load configuration (as text) needs, one row each';
COMMENT ON FUNCTION gpss.retry_errors(text, bigint[]) IS
    'loads rejected messages of a job through its mapping as it is today, in this transaction; all new ones, or those of ids';
COMMENT ON FUNCTION gpss.purge_errors(text, bigint[], text, interval) IS
    'deletes rejected messages of a job: all, or those of ids, of a status, older than an interval; their number';
COMMENT ON FUNCTION gpss.preloaded() IS
    'is gpss in shared_preload_libraries, so that jobs start again by themselves after a restart of the server?';
COMMENT ON FUNCTION gpss.fdw_handler() IS 'handler of the foreign data wrapper gpss';
COMMENT ON FUNCTION gpss.fdw_validator(text[], oid) IS 'validator of the foreign data wrapper gpss';
COMMENT ON FUNCTION gpss.before_drop_extension() IS
    'event trigger: stops the jobs of the database before DROP EXTENSION gpss';
COMMENT ON EVENT TRIGGER gpss_before_drop_extension IS
    'stops the jobs of the database before DROP EXTENSION gpss';
COMMENT ON FUNCTION gpss.gpfmt_gpss(bytea, jsonb) IS
    'the rows that a payload holds in a format; options are those of a foreign table: {"format": "csv", "delimiter": ";"}';
COMMENT ON FUNCTION gpss.gpfmt_protobuf(bytea, jsonb) IS
    'the rows that a protobuf message holds; options: schema, schema_path or schema_registry, and message';
COMMENT ON FUNCTION gpss.dryrun(text, integer, jsonb) IS
    'the statements of a job (by name) or a load configuration (as text), and the rows that the next messages would give';
COMMENT ON FUNCTION gpss.convert(text, jsonb) IS
    'a load configuration of any version as one of version 3';
