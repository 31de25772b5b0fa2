//! `gpss.batch`: what was loaded, one row per batch and partition.

use super::{exec, one, run};
use crate::error::Result;
use crate::pg::spi::Arg;
use crate::pg::tx::Tx;

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
    pub inserted: i64,
    pub rejected: i64,
    /// As last heard from the broker.
    pub high_watermark: Option<i64>,
    /// Milliseconds since the Unix epoch.
    pub last_message_ms: Option<i64>,
}

/// A number for a batch.
pub fn next_id(tx: &Tx) -> Result<i64> {
    one(exec(tx, "SELECT pg_catalog.nextval('gpss.batch_id_seq')", &[], |row| row.get(1))?)
}

/// `collected_ms`: how long ago the batch's first message was taken.
pub fn insert(
    tx: &Tx,
    id: i64,
    job_id: i64,
    collected_ms: i64,
    end_reason: &str,
    shares: &[Share],
) -> Result<()> {
    let sql = "INSERT INTO gpss.batch (id, job_id, partition, start_time, end_time, begin_offset,
            end_offset, messages, bytes, inserted, rejected, end_reason)
        SELECT $1, $2, n.partition,
            pg_catalog.clock_timestamp() - $3 * interval '1 millisecond',
            pg_catalog.clock_timestamp(),
            n.begin_offset, n.end_offset, n.messages, n.bytes, n.inserted, n.rejected, $4
        FROM unnest($5::int4[], $6::int8[], $7::int8[], $8::int8[], $9::int8[],
                               $10::int8[], $11::int8[])
             AS n (partition, begin_offset, end_offset, messages, bytes, inserted, rejected)";
    let column = |f: fn(&Share) -> i64| -> Vec<i64> { shares.iter().map(f).collect() };
    let partitions: Vec<i32> = shares.iter().map(|s| s.partition).collect();
    let columns = [
        column(|s| s.begin_offset),
        column(|s| s.end_offset),
        column(|s| s.messages),
        column(|s| s.bytes),
        column(|s| s.inserted),
        column(|s| s.rejected),
    ];
    let mut args = vec![
        Arg::from(id),
        Arg::from(job_id),
        Arg::from(collected_ms),
        Arg::from(end_reason),
        Arg::from(partitions.as_slice()),
    ];
    args.extend(columns.iter().map(|column| Arg::from(column.as_slice())));
    run(tx, sql, &args)?;
    Ok(())
}

/// Deletes rows older than the retention.
pub fn purge(tx: &Tx, minutes: i32) -> Result<u64> {
    let sql = "DELETE FROM gpss.batch
               WHERE end_time < pg_catalog.now() - $1 * interval '1 minute'";
    run(tx, sql, &[Arg::from(minutes)])
}
