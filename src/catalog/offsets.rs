//! `gpss.offsets`: where jobs stand. An offset is always the next one to read.

use super::{run, select, select_latest};
use crate::error::Result;
use crate::pg::spi::{Arg, Row, UnixMicros};
use crate::pg::tx::Tx;
use std::collections::BTreeMap;

/// Partition → next offset.
pub fn load(tx: &Tx, job_id: i64) -> Result<BTreeMap<i32, i64>> {
    let sql = "SELECT partition, next_offset FROM gpss.offsets WHERE job_id = $1";
    let row = |row: &Row<'_>| Ok((row.get(1)?, row.get(2)?));
    Ok(select(tx, sql, &[Arg::from(job_id)], row)?.into_iter().collect())
}

/// The Kafka cluster that the offsets belong to, if it is known.
pub fn cluster(tx: &Tx, job_id: i64) -> Result<Option<String>> {
    let sql = "SELECT cluster_id FROM gpss.offsets
               WHERE job_id = $1 AND cluster_id IS NOT NULL LIMIT 1";
    Ok(select(tx, sql, &[Arg::from(job_id)], |row| row.get(1))?.pop())
}

/// Sets where a run begins. A new row for a new partition.
pub fn position(
    tx: &Tx,
    job_id: i64,
    positions: &BTreeMap<i32, i64>,
    high: &BTreeMap<i32, i64>,
    cluster_id: Option<&str>,
) -> Result<()> {
    let sql = "INSERT INTO gpss.offsets AS o
            (job_id, partition, next_offset, begin_offset, high_watermark, cluster_id)
        SELECT $1, n.partition, n.next, n.next, n.high, $5
        FROM unnest($2::int4[], $3::int8[], $4::int8[]) AS n (partition, next, high)
        ON CONFLICT (job_id, partition) DO UPDATE SET
            next_offset = excluded.next_offset,
            begin_offset = excluded.begin_offset,
            high_watermark = excluded.high_watermark,
            cluster_id = excluded.cluster_id,
            started_at = pg_catalog.clock_timestamp(),
            updated_at = pg_catalog.clock_timestamp()";
    let partitions: Vec<i32> = positions.keys().copied().collect();
    let next: Vec<i64> = positions.values().copied().collect();
    let high: Vec<i64> = positions
        .iter()
        .map(|(partition, next)| high.get(partition).copied().unwrap_or(*next))
        .collect();
    let args = [
        Arg::from(job_id),
        Arg::from(partitions.as_slice()),
        Arg::from(next.as_slice()),
        Arg::from(high.as_slice()),
        Arg::from(cluster_id),
    ];
    run(tx, sql, &args)?;
    Ok(())
}

/// Where another job of the same identity stood.
pub struct Inherited {
    /// Its name.
    pub job: String,
    pub offsets: BTreeMap<i32, i64>,
    /// It has stopped, and later than this job.
    pub newer: bool,
}

/// The offsets of the job that last loaded the same topic of the same cluster into the same tables
/// from a GPSS configuration: GPSS resumes by topic and table, not by job.
pub fn inherited(tx: &Tx, job_id: i64, cluster_id: &str) -> Result<Option<Inherited>> {
    let sql = "SELECT o.job_id, other.name,
            o.updated_at > coalesce((SELECT max(mine.updated_at) FROM gpss.offsets mine
                                     WHERE mine.job_id = me.id), '-infinity')
            AND NOT EXISTS (SELECT FROM gpss.run r WHERE r.job_id = other.id)
        FROM gpss.job me
        JOIN gpss.job other ON other.id <> me.id
            AND other.owner = me.owner
            AND other.spec->>'origin' = 'config'
            AND other.spec->>'topic' = me.spec->>'topic'
            AND pg_catalog.jsonb_path_query_array(other.spec, '$.outputs[*].target')
              = pg_catalog.jsonb_path_query_array(me.spec, '$.outputs[*].target')
        JOIN gpss.offsets o ON o.job_id = other.id AND o.cluster_id = $2
        WHERE me.id = $1 AND me.spec->>'origin' = 'config'
        ORDER BY o.updated_at DESC
        LIMIT 1";
    let row = |row: &Row<'_>| Ok((row.get::<i64>(1)?, row.get::<String>(2)?, row.get::<bool>(3)?));
    match select(tx, sql, &[Arg::from(job_id), Arg::from(cluster_id)], row)?.pop() {
        Some((id, job, newer)) => Ok(Some(Inherited { job, offsets: load(tx, id)?, newer })),
        None => Ok(None),
    }
}

/// What the last run of a job did to a partition.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub partition: i32,
    pub start: UnixMicros,
    pub end: UnixMicros,
    pub begin_offset: i64,
    pub end_offset: i64,
    pub loaded: i64,
    pub rejected: i64,
}

/// One per partition, as others have committed it until now.
pub fn last_run(tx: &Tx, job_id: i64) -> Result<Vec<Loaded>> {
    let sql = "SELECT o.partition, o.started_at, o.updated_at, o.begin_offset, o.next_offset,
            coalesce(sum(b.inserted), 0)::int8, coalesce(sum(b.rejected), 0)::int8
        FROM gpss.offsets o
        LEFT JOIN gpss.batch b ON b.job_id = o.job_id AND b.partition = o.partition
            AND b.start_time >= o.started_at
        WHERE o.job_id = $1
        GROUP BY o.job_id, o.partition
        ORDER BY o.partition";
    select_latest(tx, sql, &[Arg::from(job_id)], |row| {
        Ok(Loaded {
            partition: row.get(1)?,
            start: row.get(2)?,
            end: row.get(3)?,
            begin_offset: row.get(4)?,
            end_offset: row.get(5)?,
            loaded: row.get(6)?,
            rejected: row.get(7)?,
        })
    })
}
