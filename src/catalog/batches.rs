//! What a batch leaves behind: `gpss.batch`, one row per batch and partition, and `gpss.offsets` moved.

use super::{one, run, select};
use crate::pg::acl::AsUser;
use crate::pg::spi::{Arg, Plan, Row, Type};
use crate::pg::tx::Tx;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::row_counts::RowCounts;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// One partition's share of a batch.
#[derive(Clone, Debug, Default)]
pub struct Share {
    pub partition: i32,
    pub begin_offset: i64,
    /// Exclusive: the next to read.
    pub end_offset: i64,
    pub messages: i64,
    /// Bytes of keys and values.
    pub bytes: i64,
    pub rows: RowCounts,
    pub rejected: i64,
    /// As last heard from the broker.
    pub high_watermark: Option<i64>,
    /// Milliseconds since the Unix epoch.
    pub last_message_ms: Option<i64>,
}

/// Stands for "not known" in the arrays of the statement; offsets and Kafka's times are never negative.
const UNKNOWN: i64 = -1;

/// Everything that a batch leaves in the catalog, but for its rejected messages, in one statement.
const RECORD: &str = "WITH share AS (
    SELECT * FROM unnest($4::int4[], $5::int8[], $6::int8[], $7::int8[], $8::int8[], $9::int8[],
                         $10::int8[], $11::int8[], $12::int8[], $13::int8[], $14::int8[])
        AS share (partition, begin_offset, end_offset, high, last_ms, messages, bytes, inserted,
                  updated, deleted, rejected)
), moved AS (
    UPDATE gpss.offsets AS o SET
        next_offset = s.end_offset,
        high_watermark = greatest(coalesce(nullif(s.high, -1), o.high_watermark), s.end_offset),
        watermark_at = CASE WHEN s.high = -1 THEN o.watermark_at
                            ELSE pg_catalog.clock_timestamp() - $17 * interval '1 microsecond' END,
        last_message_at = coalesce(pg_catalog.to_timestamp(nullif(s.last_ms, -1) / 1000.0),
                                   o.last_message_at),
        rows_loaded = o.rows_loaded + s.inserted + s.updated + s.deleted,
        rows_rejected = o.rows_rejected + s.rejected,
        messages = o.messages + s.messages,
        updated_at = pg_catalog.clock_timestamp()
    FROM share AS s
    WHERE o.job_id = $1 AND o.partition = s.partition AND o.next_offset = s.begin_offset
        AND EXISTS (SELECT FROM gpss.run AS r WHERE r.job_id = $1 AND r.id = $16)
    RETURNING 1
), moment AS MATERIALIZED (
    SELECT pg_catalog.clock_timestamp() AS now
), number AS (
    SELECT coalesce($15, pg_catalog.nextval('gpss.batch_id_seq')) AS id
), recorded AS (
    INSERT INTO gpss.batch AS b (id, job_id, partition, start_time, end_time, begin_offset, end_offset,
        messages, bytes, inserted, updated, deleted, rejected, end_reason)
    SELECT number.id, $1, s.partition,
        moment.now - $2 * interval '1 microsecond', moment.now,
        s.begin_offset, s.end_offset, s.messages, s.bytes, s.inserted, s.updated, s.deleted,
        s.rejected, $3
    FROM share AS s, moment, number
    WHERE $3 IS NOT NULL
    ON CONFLICT (id, partition) DO UPDATE SET
        end_time = excluded.end_time,
        end_offset = excluded.end_offset,
        messages = b.messages + excluded.messages,
        bytes = b.bytes + excluded.bytes,
        inserted = b.inserted + excluded.inserted,
        updated = b.updated + excluded.updated,
        deleted = b.deleted + excluded.deleted,
        rejected = b.rejected + excluded.rejected
)
SELECT (SELECT count(*) FROM moved), (SELECT id FROM number)";

/// How long batches that were closed by a short interval share a row: at one millisecond, a row for
/// each would be 86 million a day.
const SHARED: Duration = Duration::from_secs(1);

/// Records the batches of a run, by a statement that is prepared once.
pub struct Recorder {
    job_id: i64,
    run_id: i64,
    plan: Plan,
    /// The number that batches share at present, and since when.
    shared: Cell<Option<(i64, Instant)>>,
}

impl Recorder {
    pub fn prepare(tx: &Tx, job_id: i64, run_id: i64) -> Result<Recorder> {
        let _owner = AsUser::extension_owner();
        let mut types = vec![Type::Int8, Type::Int8, Type::Text, Type::Int4Array];
        types.resize(14, Type::Int8Array);
        types.extend([Type::Int8, Type::Int8, Type::Int8]);
        let plan = Plan::prepare(tx, RECORD, &types)?;
        Ok(Recorder { job_id, run_id, plan, shared: Cell::new(None) })
    }

    /// Moves the offsets by compare-and-set and adds the batch's rows; the batch's number. Without
    /// `end_reason` (a batch that holds no message) only the offsets move.
    ///
    /// `age` and `heard`: how long ago the batch's first message was taken, and the ends were heard of. A batch `may_share` the row of
    /// those before it that may.
    ///
    /// Errors: 40001 when the run is over, or an offset is not where the caller read from, because
    /// then another process owns the partition.
    pub fn record(
        &self,
        tx: &Tx,
        (age, heard): (Duration, Duration),
        end_reason: Option<&str>,
        may_share: bool,
        shares: &[Share],
    ) -> Result<i64> {
        let shared = self.shared.take().filter(|(_, since)| may_share && since.elapsed() < SHARED);
        let column = |f: fn(&Share) -> i64| -> Vec<i64> { shares.iter().map(f).collect() };
        let partitions: Vec<i32> = shares.iter().map(|s| s.partition).collect();
        let columns = [
            column(|s| s.begin_offset),
            column(|s| s.end_offset),
            column(|s| s.high_watermark.unwrap_or(UNKNOWN)),
            column(|s| s.last_message_ms.unwrap_or(UNKNOWN)),
            column(|s| s.messages),
            column(|s| s.bytes),
            column(|s| rows(s.rows.inserted)),
            column(|s| rows(s.rows.updated)),
            column(|s| rows(s.rows.deleted)),
            column(|s| s.rejected),
        ];
        let mut args = vec![
            Arg::from(self.job_id),
            Arg::from(micros(age)),
            Arg::from(end_reason),
            Arg::from(partitions.as_slice()),
        ];
        args.extend(columns.iter().map(|column| Arg::from(column.as_slice())));
        let shared_id = shared.map(|(id, _)| id);
        args.extend::<[Arg<'_>; 3]>([shared_id.into(), self.run_id.into(), micros(heard).into()]);
        let _owner = AsUser::extension_owner();
        let row = |row: &Row<'_>| Ok((row.get::<i64>(1)?, row.get(2)?));
        let (moved, id) = one(self.plan.execute_returning(tx, &args, row)?)?;
        if usize::try_from(moved) == Ok(shares.len()) {
            // If the transaction fails after all, the next batch makes the row.
            self.shared.set(may_share.then(|| shared.unwrap_or_else(|| (id, Instant::now()))));
            return Ok(id);
        }
        Err(Error::new(
            SqlState::SERIALIZATION_FAILURE,
            "the run is over, or the job's offsets were changed by another process",
        )
        .detail(
            "The batch was rolled back; a run that goes on reads it again from the stored offsets.",
        ))
    }
}

fn rows(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// How many messages a run that has not ended has rejected.
pub fn rejected(tx: &Tx, job_id: i64, run_id: i64) -> Result<i64> {
    let sql = "SELECT coalesce(sum(o.rows_rejected - o.rejected_before), 0)::int8 FROM gpss.run r
        JOIN gpss.offsets o ON o.job_id = r.job_id AND o.started_at >= r.requested_at
        WHERE r.job_id = $1 AND r.id = $2";
    one(select(tx, sql, &[Arg::from(job_id), Arg::from(run_id)], |row| row.get(1))?)
}

/// How many messages a job has rejected, if it has rejected every message that it has ever read.
pub fn only_rejected(tx: &Tx, job_id: i64) -> Result<Option<i64>> {
    // Not gpss.batch, which is purged.
    let sql = "SELECT coalesce(sum(rows_rejected), 0)::int8 FROM gpss.offsets WHERE job_id = $1
        HAVING coalesce(sum(rows_rejected), 0) = coalesce(sum(messages), 0)";
    Ok(select(tx, sql, &[Arg::from(job_id)], |row| row.get(1))?.pop())
}

/// Deletes rows older than the retention.
pub fn purge(tx: &Tx, seconds: i32) -> Result<u64> {
    let sql = "DELETE FROM gpss.batch
               WHERE end_time < pg_catalog.now() - $1 * interval '1 second'";
    run(tx, sql, &[Arg::from(seconds)])
}
