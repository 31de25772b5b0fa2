//! `gpss.offsets`: where jobs stand. An offset is always the next one to read.

use super::{run, select, select_latest};
use crate::error::Result;
use crate::pg::spi::{Arg, Row, UnixMicros};
use crate::pg::tx::Tx;
use std::collections::BTreeMap;

/// Which topic offsets belong to: None where brokers have no such id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub cluster_id: Option<String>,
    pub topic_id: Option<String>,
}

/// Where a job stands in a partition.
#[derive(Clone, Debug)]
pub struct Stored {
    pub next: i64,
    /// The partition's end as last heard of.
    pub high: i64,
    pub origin: Origin,
}

/// Partition → next offset.
pub fn load(tx: &Tx, job_id: i64) -> Result<BTreeMap<i32, i64>> {
    Ok(stored(tx, job_id)?.into_iter().map(|(p, stored)| (p, stored.next)).collect())
}

/// By partition.
pub fn stored(tx: &Tx, job_id: i64) -> Result<BTreeMap<i32, Stored>> {
    let sql = "SELECT partition, next_offset,
            greatest(coalesce(high_watermark, next_offset), next_offset), cluster_id, topic_id
        FROM gpss.offsets WHERE job_id = $1";
    let row = |row: &Row<'_>| {
        let origin = Origin { cluster_id: row.get(4)?, topic_id: row.get(5)? };
        Ok((row.get(1)?, Stored { next: row.get(2)?, high: row.get(3)?, origin }))
    };
    Ok(select(tx, sql, &[Arg::from(job_id)], row)?.into_iter().collect())
}

/// Sets where a run begins. A new row for a new partition.
pub fn position(
    tx: &Tx,
    job_id: i64,
    positions: &BTreeMap<i32, i64>,
    high: &BTreeMap<i32, i64>,
    origin: &Origin,
) -> Result<()> {
    let sql = "INSERT INTO gpss.offsets AS o
            (job_id, partition, next_offset, begin_offset, high_watermark, cluster_id, topic_id)
        SELECT $1, n.partition, n.next, n.next, n.high, $5, $6
        FROM unnest($2::int4[], $3::int8[], $4::int8[]) AS n (partition, next, high)
        ON CONFLICT (job_id, partition) DO UPDATE SET
            next_offset = excluded.next_offset,
            begin_offset = excluded.begin_offset,
            high_watermark = excluded.high_watermark,
            cluster_id = excluded.cluster_id,
            topic_id = excluded.topic_id,
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
        Arg::from(origin.cluster_id.as_deref()),
        Arg::from(origin.topic_id.as_deref()),
    ];
    run(tx, sql, &args)?;
    Ok(())
}

/// Partitions that the topic has no longer, because it was made anew with fewer: nothing is left to
/// read in them.
pub fn close(tx: &Tx, job_id: i64, partitions: &[i32]) -> Result<()> {
    let sql = "UPDATE gpss.offsets SET high_watermark = next_offset
               WHERE job_id = $1 AND partition = ANY ($2)";
    run(tx, sql, &[Arg::from(job_id), Arg::from(partitions)])?;
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
pub fn inherited(tx: &Tx, job_id: i64, origin: &Origin) -> Result<Option<Inherited>> {
    let Some(cluster_id) = &origin.cluster_id else {
        // Who knows whether it is the same cluster.
        return Ok(None);
    };
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
            AND coalesce(o.topic_id = $3, true)
        WHERE me.id = $1 AND me.spec->>'origin' = 'config'
        ORDER BY o.updated_at DESC
        LIMIT 1";
    let row = |row: &Row<'_>| Ok((row.get::<i64>(1)?, row.get::<String>(2)?, row.get::<bool>(3)?));
    let args =
        [Arg::from(job_id), Arg::from(cluster_id.as_str()), Arg::from(origin.topic_id.as_deref())];
    let Some((id, job, newer)) = select(tx, sql, &args, row)?.pop() else { return Ok(None) };
    let mut stored = stored(tx, id)?;
    stored.retain(|_, stored| stored.origin.may_be(origin));
    let offsets = stored.into_iter().map(|(p, stored)| (p, stored.next)).collect();
    Ok(Some(Inherited { job, offsets, newer }))
}

impl Origin {
    /// Neither id says that it is another topic.
    pub fn may_be(&self, other: &Origin) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
        same(&self.cluster_id, &other.cluster_id) && same(&self.topic_id, &other.topic_id)
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
