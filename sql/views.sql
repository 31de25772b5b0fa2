-- What users read, the foreign data wrapper, privileges and comments.

CREATE FOREIGN DATA WRAPPER gpss HANDLER gpss.fdw_handler VALIDATOR gpss.fdw_validator;

-- Workers keep a consumer while idle and would not notice that their tables are gone.
CREATE EVENT TRIGGER gpss_before_drop_extension ON ddl_command_start
    WHEN TAG IN ('DROP EXTENSION') EXECUTE FUNCTION gpss.before_drop_extension();

-- gpss.offsets with the ends of partitions as last heard of, which a worker that waits, or writes a batch for long,
-- shows in shared memory.
CREATE VIEW gpss.latest_offsets AS
SELECT o.job_id, o.partition, o.begin_offset, o.next_offset,
       CASE WHEN h.at IS NULL THEN o.high_watermark ELSE greatest(h.high, o.next_offset) END AS high_watermark,
       coalesce(h.at, o.watermark_at) AS watermark_at,
       o.last_message_at, o.messages, o.rows_loaded, o.rows_rejected, o.started_at, o.updated_at
FROM gpss.offsets o
LEFT JOIN LATERAL (
    SELECT heard[1] AS high, to_timestamp(heard[2] / 1e6) AS at
    FROM (SELECT gpss.heard_end(w.board, o.partition / w.slots) AS heard
          FROM gpss.worker w
          JOIN gpss.run r ON r.job_id = w.job_id AND r.id = w.run_id
          WHERE w.job_id = o.job_id AND w.slot = o.partition % w.slots AND NOT w.finished) w
    WHERE to_timestamp(heard[2] / 1e6) > o.watermark_at
) h ON true;

CREATE VIEW gpss.progress WITH (security_barrier) AS
SELECT j.name AS job,
       j.spec->>'topic' AS topic,
       o.partition,
       o.begin_offset,
       o.next_offset,
       o.high_watermark,
       greatest(o.high_watermark, o.next_offset) - o.next_offset AS lag,
       o.last_message_at,
       w.pid AS worker_pid,
       coalesce(o.rows_loaded, 0) AS rows_loaded,
       coalesce(o.rows_rejected, 0) AS rows_rejected,
       o.started_at,
       o.updated_at,
       o.watermark_at,
       CASE WHEN a.is_loading THEN a.since END AS batch_started_at,
       coalesce(o.waiting_since, l.since, w.waiting_since, c.since) AS waiting_since,
       coalesce(o.reason, l.reason,
                CASE WHEN w.waiting_for IS NOT NULL AND NOT pg_has_role(gpss.owner_oid(j.owner), 'MEMBER')
                     -- As errmsg of gpss.jobs: it may quote messages.
                     THEN '<insufficient privilege>' ELSE w.waiting_for END,
                c.reason) AS waiting_for
FROM gpss.job j
-- A partition that could not be read since the job was first started has no offsets yet.
JOIN (SELECT job_id, partition, o.begin_offset, o.next_offset, o.high_watermark, o.watermark_at,
             o.last_message_at, o.rows_loaded, o.rows_rejected, o.started_at, o.updated_at,
             q.since AS waiting_since, q.reason
      FROM gpss.latest_offsets o
      FULL JOIN (SELECT q.job_id, q.partition, q.since, q.reason
                 FROM gpss.waiting q
                 JOIN gpss.run r ON r.job_id = q.job_id AND r.id = q.run_id) q
      USING (job_id, partition)) o ON o.job_id = j.id
LEFT JOIN LATERAL (
    SELECT w.pid, w.waiting_since, w.waiting_for
    FROM gpss.worker w
    WHERE w.job_id = j.id
      AND NOT w.finished
      AND w.slot = o.partition % w.slots
      AND EXISTS (SELECT FROM gpss.run r WHERE r.job_id = j.id AND r.id = w.run_id)
) w ON true
-- What the worker does at this moment; of a batch the catalog does not know before its commit.
LEFT JOIN LATERAL (
    SELECT a.state_change AS since,
           starts_with(a.query, format('gpss job "%s": loading ', j.name)) AS is_loading,
           starts_with(a.query, format('gpss job "%s": connecting ', j.name)) AS is_connecting,
           a.wait_event_type = 'Lock' AS is_blocked,
           a.wait_event
    FROM pg_stat_activity a
    WHERE a.pid = w.pid
      AND a.backend_type = 'gpss loader'
      AND a.state = 'active'
      AND starts_with(a.query, format('gpss job "%s": ', j.name))
) a ON true
LEFT JOIN LATERAL (
    SELECT coalesce((SELECT min(lock.waitstart) FROM pg_locks lock
                     WHERE lock.pid = w.pid AND NOT lock.granted), a.since) AS since,
           format('a lock (%s) held by %s', a.wait_event,
                  (SELECT string_agg(CASE pid WHEN 0 THEN 'a prepared transaction'
                                              ELSE 'process ' || pid END, ', ')
                   FROM unnest(pg_blocking_pids(w.pid)) AS pid)) AS reason
    WHERE a.is_blocked
) l ON true
LEFT JOIN LATERAL (SELECT a.since, 'a connection to Kafka' AS reason WHERE a.is_connecting) c ON true
WHERE j.removed_at IS NULL
  AND (pg_has_role(gpss.owner_oid(j.owner), 'MEMBER') OR pg_has_role('pg_monitor', 'MEMBER'));

CREATE VIEW gpss.jobs WITH (security_barrier) AS
SELECT j.id,
       j.name,
       gpss.owner_oid(j.owner)::regrole AS owner,
       j.spec->>'topic' AS topic,
       t.target_schema,
       t.target_table,
       t.mode,
       CASE WHEN r.forgotten THEN 'JOB_STOPPED'
            ELSE coalesce(s.status, CASE WHEN p.partitions > 0 THEN 'JOB_STOPPED' ELSE 'JOB_SUBMITTED' END)
       END AS status,
       CASE WHEN r.forgotten THEN 'the server was restarted, and gpss is not in shared_preload_libraries'
            -- It may quote messages, which the view errors shows to the owner's side only.
            WHEN s.errmsg IS NOT NULL AND NOT pg_has_role(gpss.owner_oid(j.owner), 'MEMBER') THEN '<insufficient privilege>'
            WHEN s.errmsg IS NULL AND s.status = 'JOB_RUNNING' AND p.rows_rejected > 0 AND p.rows_rejected = p.messages
            THEN CASE p.messages WHEN 1 THEN 'the only message that the job has read so far was rejected'
                      ELSE format('all %s messages that the job has read so far were rejected', p.messages)
                 END || E'\nHINT: gpss.errors says why.'
            ELSE coalesce(s.errmsg, o.missing)
       END AS errmsg,
       coalesce(s.since, j.created_at) AS since,
       s.next_retry_at,
       coalesce(p.rows_loaded, 0) AS rows_loaded,
       coalesce(p.rows_rejected, 0) AS rows_rejected,
       p.lag_messages,
       p.lag_seconds,
       j.created_at
FROM gpss.job j
-- A job with several targets shows them all, in the order of its definition.
CROSS JOIN LATERAL (
    SELECT string_agg(o.output->'target'->>'schema', ', ' ORDER BY o.n) AS target_schema,
           string_agg(o.output->'target'->>'name', ', ' ORDER BY o.n) AS target_table,
           string_agg(o.output->>'mode', ', ' ORDER BY o.n) AS mode
    FROM jsonb_array_elements(j.spec->'outputs') WITH ORDINALITY AS o (output, n)
) t
LEFT JOIN gpss.status s ON s.job_id = j.id
LEFT JOIN LATERAL (
    SELECT format('role "%s", the owner of the job, does not exist: gpss.start_job tells what to do',
                  replace(j.owner::text, 'pg_dropped ', '')) AS missing
    WHERE NOT EXISTS (SELECT FROM pg_roles role WHERE role.oid = gpss.owner_oid(j.owner))
) o ON true
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
           sum(o.messages)::bigint AS messages,
           sum(greatest(o.high_watermark - o.next_offset, 0))::bigint AS lag_messages,
           max(CASE WHEN o.high_watermark > o.next_offset
                    THEN greatest(extract(epoch FROM clock_timestamp() - coalesce(o.last_message_at, o.started_at)), 0)
                    ELSE 0 END)::double precision AS lag_seconds
    FROM gpss.latest_offsets o
    WHERE o.job_id = j.id
) p ON true
WHERE j.removed_at IS NULL
  AND (pg_has_role(gpss.owner_oid(j.owner), 'MEMBER') OR pg_has_role('pg_monitor', 'MEMBER'));

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
WHERE pg_has_role(gpss.owner_oid(j.owner), 'MEMBER') OR pg_has_role('pg_monitor', 'MEMBER');

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
WHERE pg_has_role(gpss.owner_oid(j.owner), 'MEMBER') OR pg_has_role('pg_monitor', 'MEMBER');

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
WHERE pg_has_role(gpss.owner_oid(j.owner), 'MEMBER');

-- A definition is code of the owner's, perhaps with a secret in a command.
CREATE VIEW gpss.job_definitions WITH (security_barrier) AS
SELECT j.id AS job_id,
       j.name AS job,
       j.created_at,
       j.spec->>'origin' AS origin,
       j.spec->'source'->>'schema' AS source_schema,
       j.spec->'source'->>'name' AS source_table,
       j.spec->>'topic' AS topic,
       j.spec->>'filter' AS filter,
       o.n::integer AS output,
       o.output->'target'->>'schema' AS target_schema,
       o.output->'target'->>'name' AS target_table,
       CASE jsonb_typeof(o.output->'mode')
            WHEN 'object' THEN (SELECT min(mode) FROM jsonb_object_keys(o.output->'mode') AS k (mode))
            ELSE o.output->>'mode'
       END AS mode,
       CASE jsonb_typeof(o.output->'mapping')
            WHEN 'array' THEN (SELECT jsonb_object_agg(m->>'column', m->>'expression')
                               FROM jsonb_array_elements(o.output->'mapping') AS m)
       END AS mapping,
       nullif(o.output->'transformer', 'null') AS transformer,
       o.output->>'filter' AS output_filter,
       coalesce((j.spec->'commit'->>'max_row')::bigint, 0) AS max_row,
       (j.spec->'commit'->>'minimal_interval_ms')::bigint AS minimal_interval,
       coalesce(j.spec->'error_limit'->>'count', (j.spec->'error_limit'->>'percent')::float8 || '%') AS error_limit,
       (j.spec->>'workers')::integer AS workers,
       j.spec->>'search_path' AS search_path,
       j.spec->'task'->>'prepare' AS prepare_sql,
       j.spec->'task'->>'post_batch' AS post_batch_sql,
       (j.spec->'task'->>'batch_interval')::bigint AS batch_interval,
       j.spec->'task'->>'teardown' AS teardown_sql,
       nullif(jsonb_strip_nulls(j.spec->'schedule'), '{"max_restart_times": 0}') AS schedule,
       nullif(jsonb_strip_nulls(j.spec->'alert'), 'null') AS alert
FROM gpss.job j
CROSS JOIN LATERAL jsonb_array_elements(j.spec->'outputs') WITH ORDINALITY AS o (output, n)
WHERE j.removed_at IS NULL
  AND pg_has_role(gpss.owner_oid(j.owner), 'MEMBER');

-- pgrx declares them STRICT: with NULL they would do nothing, without a word.
ALTER FUNCTION gpss.submit_job(text, text, jsonb) CALLED ON NULL INPUT;
ALTER FUNCTION gpss.submit_job(text, text, text) CALLED ON NULL INPUT;
ALTER FUNCTION gpss.stop_job(text) CALLED ON NULL INPUT;
ALTER FUNCTION gpss.remove_job(text) CALLED ON NULL INPUT;
ALTER FUNCTION gpss.check(text, jsonb) CALLED ON NULL INPUT;
ALTER FUNCTION gpss.convert(text, jsonb) CALLED ON NULL INPUT;

GRANT SELECT ON gpss.jobs, gpss.progress, gpss.batches, gpss.lost_ranges, gpss.errors, gpss.job_definitions TO PUBLIC;

COMMENT ON TYPE gpss.job_owner IS 'for the tables behind the views: a role, by its OID here and by its name in a dump';
COMMENT ON FUNCTION gpss.owner_oid(gpss.job_owner) IS 'for the views: the OID of a job''s owner, 0 when there is no such role';
COMMENT ON SCHEMA gpss IS 'loads Kafka topics into tables';
COMMENT ON FOREIGN DATA WRAPPER gpss IS 'Kafka topics as foreign tables';
COMMENT ON VIEW gpss.jobs IS 'one row per job: definition, status and totals';
COMMENT ON VIEW gpss.progress IS 'one row per job and partition: offsets as of the last batch, lag as of watermark_at, and what the partition waits for';
COMMENT ON VIEW gpss.batches IS 'one row per committed batch and partition, or for a second of batches closed by a shorter interval; offsets are next-to-read, so a batch holds [begin_offset, end_offset)';
COMMENT ON VIEW gpss.lost_ranges IS 'one row per range of offsets that a job went over because the brokers had it no longer: [begin_offset, end_offset); messages is the number of offsets, some of which may have held no message';
COMMENT ON VIEW gpss.errors IS 'one row per rejected message, with the bytes as they came';
COMMENT ON VIEW gpss.job_definitions IS 'one row per job and target table: what the job was submitted as; only for the owner and members of it';

COMMENT ON VIEW gpss.latest_offsets IS 'for the views: where jobs stand, with the ends of partitions as last heard of';
COMMENT ON FUNCTION gpss.heard_end(bigint, integer) IS
    'for the views: the end of a partition that a worker has heard of and not written down, and when, in microseconds since 1970';

COMMENT ON COLUMN gpss.jobs.id IS 'number of the job; its objects are called gpss_job_<number>';
COMMENT ON COLUMN gpss.jobs.name IS 'name of the job';
COMMENT ON COLUMN gpss.jobs.owner IS 'role that the job belongs to and runs as; - when it does not exist';
COMMENT ON COLUMN gpss.jobs.topic IS 'Kafka topic';
COMMENT ON COLUMN gpss.jobs.target_schema IS 'schema of the target table; several targets are separated by commas';
COMMENT ON COLUMN gpss.jobs.target_table IS 'target table; several are separated by commas';
COMMENT ON COLUMN gpss.jobs.mode IS 'how rows go into the target: insert';
COMMENT ON COLUMN gpss.jobs.status IS 'JOB_SUBMITTED, JOB_RUNNING, JOB_RETRYING, JOB_STOPPED, JOB_SUCCESS or JOB_ERROR';
COMMENT ON COLUMN gpss.jobs.errmsg IS 'why the job retries, or has ended with an error; what to do about it is in a line that begins with HINT:';
COMMENT ON COLUMN gpss.jobs.since IS 'when the job got its status';
COMMENT ON COLUMN gpss.jobs.next_retry_at IS 'when the next try of a job that retries is due; NULL while it is made';
COMMENT ON COLUMN gpss.jobs.rows_loaded IS 'rows that all runs of the job have written';
COMMENT ON COLUMN gpss.jobs.rows_rejected IS 'messages that all runs of the job have rejected';
COMMENT ON COLUMN gpss.jobs.lag_messages IS 'offsets between the job and the ends of its partitions; NULL until a worker has heard of them';
COMMENT ON COLUMN gpss.jobs.lag_seconds IS 'age of the last message that was loaded; 0 when everything has been read, NULL as lag_messages';
COMMENT ON COLUMN gpss.jobs.created_at IS 'when the job was submitted';

COMMENT ON COLUMN gpss.progress.job IS 'name of the job';
COMMENT ON COLUMN gpss.progress.topic IS 'Kafka topic';
COMMENT ON COLUMN gpss.progress.partition IS 'partition of the topic';
COMMENT ON COLUMN gpss.progress.begin_offset IS 'offset at which the last run began';
COMMENT ON COLUMN gpss.progress.next_offset IS 'next offset to read';
COMMENT ON COLUMN gpss.progress.high_watermark IS 'end of the partition: offset that its next message gets';
COMMENT ON COLUMN gpss.progress.lag IS 'offsets between the job and the end of the partition';
COMMENT ON COLUMN gpss.progress.last_message_at IS 'Kafka''s timestamp of the last message that was loaded';
COMMENT ON COLUMN gpss.progress.worker_pid IS 'process that reads the partition';
COMMENT ON COLUMN gpss.progress.rows_loaded IS 'rows that all runs of the job have written from the partition';
COMMENT ON COLUMN gpss.progress.rows_rejected IS 'messages of the partition that all runs of the job have rejected';
COMMENT ON COLUMN gpss.progress.started_at IS 'when the last run began to read the partition';
COMMENT ON COLUMN gpss.progress.updated_at IS 'when the offsets were last moved';
COMMENT ON COLUMN gpss.progress.watermark_at IS 'when high_watermark was heard of; the brokers are asked every 30 seconds at the latest';
COMMENT ON COLUMN gpss.progress.batch_started_at IS 'when the worker began to write the batch that it writes now';
COMMENT ON COLUMN gpss.progress.waiting_since IS 'since when the partition waits';
COMMENT ON COLUMN gpss.progress.waiting_for IS 'why the partition, or none of its worker, can be read, or the lock that the worker waits for; NULL: it does not wait';

COMMENT ON COLUMN gpss.latest_offsets.job_id IS 'number of the job';
COMMENT ON COLUMN gpss.latest_offsets.partition IS 'partition of the topic';
COMMENT ON COLUMN gpss.latest_offsets.begin_offset IS 'offset at which the last run began';
COMMENT ON COLUMN gpss.latest_offsets.next_offset IS 'next offset to read';
COMMENT ON COLUMN gpss.latest_offsets.high_watermark IS 'end of the partition: offset that its next message gets';
COMMENT ON COLUMN gpss.latest_offsets.watermark_at IS 'when high_watermark was heard of';
COMMENT ON COLUMN gpss.latest_offsets.last_message_at IS 'Kafka''s timestamp of the last message that was loaded';
COMMENT ON COLUMN gpss.latest_offsets.messages IS 'messages of the partition that all runs of the job have read';
COMMENT ON COLUMN gpss.latest_offsets.rows_loaded IS 'rows that all runs of the job have written from the partition';
COMMENT ON COLUMN gpss.latest_offsets.rows_rejected IS 'messages of the partition that all runs of the job have rejected';
COMMENT ON COLUMN gpss.latest_offsets.started_at IS 'when the last run began to read the partition';
COMMENT ON COLUMN gpss.latest_offsets.updated_at IS 'when the offsets were last moved';

COMMENT ON COLUMN gpss.batches.id IS 'number of the batch; one batch may have several partitions';
COMMENT ON COLUMN gpss.batches.job IS 'name of the job';
COMMENT ON COLUMN gpss.batches.partition IS 'partition of the topic';
COMMENT ON COLUMN gpss.batches.start_time IS 'when the first message of the batch was taken';
COMMENT ON COLUMN gpss.batches.end_time IS 'just before the commit of the batch';
COMMENT ON COLUMN gpss.batches.begin_offset IS 'first offset of the batch';
COMMENT ON COLUMN gpss.batches.end_offset IS 'next offset after the batch';
COMMENT ON COLUMN gpss.batches.messages IS 'messages of the partition in the batch';
COMMENT ON COLUMN gpss.batches.bytes IS 'bytes of their keys and values';
COMMENT ON COLUMN gpss.batches.inserted IS 'rows inserted';
COMMENT ON COLUMN gpss.batches.updated IS 'rows updated';
COMMENT ON COLUMN gpss.batches.deleted IS 'rows deleted';
COMMENT ON COLUMN gpss.batches.rejected IS 'messages rejected';
COMMENT ON COLUMN gpss.batches.end_reason IS 'what closed the batch: max_row, batch_size, interval, eof, running_duration or failure';
COMMENT ON COLUMN gpss.batches.job_id IS 'number of the job, which another one of its name has not';

COMMENT ON COLUMN gpss.lost_ranges.id IS 'number of the range';
COMMENT ON COLUMN gpss.lost_ranges.job IS 'name of the job';
COMMENT ON COLUMN gpss.lost_ranges.occurred_at IS 'when the job went over the range';
COMMENT ON COLUMN gpss.lost_ranges.topic IS 'Kafka topic';
COMMENT ON COLUMN gpss.lost_ranges.topic_id IS 'Kafka''s id of the topic that the offsets belong to';
COMMENT ON COLUMN gpss.lost_ranges.partition IS 'partition of the topic';
COMMENT ON COLUMN gpss.lost_ranges.begin_offset IS 'first offset of the range';
COMMENT ON COLUMN gpss.lost_ranges.end_offset IS 'next offset after the range';
COMMENT ON COLUMN gpss.lost_ranges.messages IS 'number of offsets in the range: messages that are lost at most';
COMMENT ON COLUMN gpss.lost_ranges.reason IS 'retention, truncated or topic recreated';

COMMENT ON COLUMN gpss.errors.id IS 'number of the row, for retry_errors and purge_errors';
COMMENT ON COLUMN gpss.errors.job IS 'name of the job';
COMMENT ON COLUMN gpss.errors.batch_id IS 'batch that the message was in';
COMMENT ON COLUMN gpss.errors.occurred_at IS 'when the message was rejected';
COMMENT ON COLUMN gpss.errors.topic IS 'Kafka topic';
COMMENT ON COLUMN gpss.errors.partition IS 'partition of the topic';
COMMENT ON COLUMN gpss.errors."offset" IS 'offset of the message';
COMMENT ON COLUMN gpss.errors.message_timestamp IS 'Kafka''s timestamp of the message';
COMMENT ON COLUMN gpss.errors.key IS 'key of the message';
COMMENT ON COLUMN gpss.errors.payload IS 'value of the message; NULL as well when it was discarded';
COMMENT ON COLUMN gpss.errors.headers IS 'headers of the message';
COMMENT ON COLUMN gpss.errors.stage IS 'what failed: decode, map or write';
COMMENT ON COLUMN gpss.errors.sqlstate IS 'code of the error';
COMMENT ON COLUMN gpss.errors.message IS 'the error';
COMMENT ON COLUMN gpss.errors.detail IS 'its DETAIL';
COMMENT ON COLUMN gpss.errors.column_name IS 'column of the target that could not be filled, or that the violated constraint is about';
COMMENT ON COLUMN gpss.errors.status IS 'new, retried (loaded since) or discarded (its payload was given up)';
COMMENT ON COLUMN gpss.errors.attempts IS 'how often it was tried to load the message';
COMMENT ON COLUMN gpss.errors.job_id IS 'number of the job, which another one of its name has not';

COMMENT ON COLUMN gpss.job_definitions.job_id IS 'number of the job';
COMMENT ON COLUMN gpss.job_definitions.job IS 'name of the job';
COMMENT ON COLUMN gpss.job_definitions.created_at IS 'when the job was submitted';
COMMENT ON COLUMN gpss.job_definitions.origin IS 'config: a load configuration, which has made the foreign table; sql: a foreign table of the user''s own';
COMMENT ON COLUMN gpss.job_definitions.source_schema IS 'schema of the foreign table';
COMMENT ON COLUMN gpss.job_definitions.source_table IS 'foreign table that the job reads';
COMMENT ON COLUMN gpss.job_definitions.topic IS 'Kafka topic of the foreign table when the job was submitted';
COMMENT ON COLUMN gpss.job_definitions.filter IS 'condition over the source''s columns for all target tables';
COMMENT ON COLUMN gpss.job_definitions.output IS 'number of the target table among those of the job, from 1';
COMMENT ON COLUMN gpss.job_definitions.target_schema IS 'schema of the target table';
COMMENT ON COLUMN gpss.job_definitions.target_table IS 'target table';
COMMENT ON COLUMN gpss.job_definitions.mode IS 'how rows go into the target: insert';
COMMENT ON COLUMN gpss.job_definitions.mapping IS 'expression for each column, as submit_job takes it';
COMMENT ON COLUMN gpss.job_definitions.transformer IS 'function that makes the rows in the place of a mapping, with its properties';
COMMENT ON COLUMN gpss.job_definitions.output_filter IS 'condition over the source''s columns for this target table';
COMMENT ON COLUMN gpss.job_definitions.max_row IS 'messages in a batch; 0: no bound';
COMMENT ON COLUMN gpss.job_definitions.minimal_interval IS 'milliseconds from a batch''s first message to its commit';
COMMENT ON COLUMN gpss.job_definitions.error_limit IS 'messages of a batch that may be rejected, or their percentage; NULL: any number';
COMMENT ON COLUMN gpss.job_definitions.workers IS 'processes';
COMMENT ON COLUMN gpss.job_definitions.search_path IS 'where names in the expressions are looked up';
COMMENT ON COLUMN gpss.job_definitions.prepare_sql IS 'SQL that is run before the job begins to read';
COMMENT ON COLUMN gpss.job_definitions.post_batch_sql IS 'SQL that is run in the transaction of each batch_interval-th batch';
COMMENT ON COLUMN gpss.job_definitions.batch_interval IS 'batches from one post_batch_sql to the next';
COMMENT ON COLUMN gpss.job_definitions.teardown_sql IS 'SQL that is run when the job has ended';
COMMENT ON COLUMN gpss.job_definitions.schedule IS 'when the job runs: times are in milliseconds, a time of day in seconds after midnight';
COMMENT ON COLUMN gpss.job_definitions.alert IS 'command that is run on the server when the job has ended';

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
COMMENT ON FUNCTION gpss.dryrun(text, integer, jsonb, text) IS
    'the statements of a job (by name) or a load configuration (as text), and the rows that the next messages would give';
COMMENT ON FUNCTION gpss.convert(text, jsonb) IS
    'a load configuration of any version as one of version 3';
