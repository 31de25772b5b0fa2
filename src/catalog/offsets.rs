//! `gpss.offsets`: where jobs stand. An offset is always the next one to read.

use super::{run, select, select_latest};
use crate::pg::spi::{Arg, Row, UnixMicros};
use crate::pg::tx::Tx;
use gpss_model::beginning::{Inherited, Stand, Stored, TopicIdentity};
use gpss_model::error::Result;
use std::collections::BTreeMap;

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
        let identity = TopicIdentity { cluster_id: row.get(4)?, topic_id: row.get(5)? };
        Ok((row.get(1)?, Stored { next: row.get(2)?, high: row.get(3)?, identity }))
    };
    Ok(select(tx, sql, &[Arg::from(job_id)], row)?.into_iter().collect())
}

/// Sets where a run begins. A new row for a new partition.
pub fn position(
    tx: &Tx,
    job_id: i64,
    positions: &BTreeMap<i32, i64>,
    high: &BTreeMap<i32, i64>,
    origin: &TopicIdentity,
) -> Result<()> {
    let sql = "INSERT INTO gpss.offsets AS o
            (job_id, partition, next_offset, begin_offset, high_watermark, cluster_id, topic_id)
        SELECT $1, n.partition, n.next, n.next, n.high, $5, $6
        FROM unnest($2::int4[], $3::int8[], $4::int8[]) AS n (partition, next, high)
        ON CONFLICT (job_id, partition) DO UPDATE SET
            next_offset = excluded.next_offset,
            begin_offset = excluded.begin_offset,
            high_watermark = excluded.high_watermark,
            watermark_at = pg_catalog.clock_timestamp(),
            cluster_id = excluded.cluster_id,
            topic_id = excluded.topic_id,
            started_at = pg_catalog.clock_timestamp(),
            updated_at = pg_catalog.clock_timestamp(),
            (loaded_before, rejected_before) = (
                SELECT CASE WHEN of_run THEN o.loaded_before ELSE o.rows_loaded END,
                    CASE WHEN of_run THEN o.rejected_before ELSE o.rows_rejected END
                FROM (SELECT EXISTS (SELECT FROM gpss.run r WHERE r.job_id = o.job_id
                    AND r.requested_at <= o.started_at) AS of_run) AS known)";
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

/// The partitions' ends as last heard of.
pub fn watermarks(tx: &Tx, job_id: i64, high: &BTreeMap<i32, i64>) -> Result<()> {
    let sql = "UPDATE gpss.offsets AS o
        SET high_watermark = greatest(n.high, o.next_offset),
            watermark_at = pg_catalog.clock_timestamp()
        FROM unnest($2::int4[], $3::int8[]) AS n (partition, high)
        WHERE o.job_id = $1 AND o.partition = n.partition";
    let partitions: Vec<i32> = high.keys().copied().collect();
    let high: Vec<i64> = high.values().copied().collect();
    run(tx, sql, &[Arg::from(job_id), partitions.as_slice().into(), high.as_slice().into()])?;
    Ok(())
}

/// Partitions that the topic has no longer, because it was recreated with fewer: nothing is left to
/// read in them.
pub fn close(tx: &Tx, job_id: i64, partitions: &[i32]) -> Result<()> {
    let sql = "UPDATE gpss.offsets SET high_watermark = next_offset,
                   watermark_at = pg_catalog.clock_timestamp()
               WHERE job_id = $1 AND partition = ANY ($2)";
    run(tx, sql, &[Arg::from(job_id), Arg::from(partitions)])?;
    Ok(())
}

/// The offsets of the jobs that loaded the same topic of the same cluster into the same tables from a
/// GPSS configuration: GPSS resumes by topic and table, not by job. Without an origin: of any cluster.
pub fn inherited(
    tx: &Tx,
    job_id: i64,
    origin: Option<&TopicIdentity>,
) -> Result<Option<Inherited>> {
    let cluster_id = origin.and_then(|origin| origin.cluster_id.as_deref());
    if origin.is_some() && cluster_id.is_none() {
        // Who knows whether it is the same cluster.
        return Ok(None);
    }
    let sql = "SELECT other.name,
            other.moved_at > coalesce((SELECT max(mine.updated_at) FROM gpss.offsets mine
                                       WHERE mine.job_id = me.id), '-infinity')
            AND NOT EXISTS (SELECT FROM gpss.run r WHERE r.job_id = other.id),
            o.partition, o.next_offset, other.id
        FROM gpss.job me
        JOIN (SELECT job.*, (SELECT max(o.updated_at) FROM gpss.offsets o
                             WHERE o.job_id = job.id) AS moved_at
              FROM gpss.job) other ON other.id <> me.id
            AND gpss.owner_oid(other.owner) = gpss.owner_oid(me.owner)
            AND other.spec->>'origin' = 'config'
            AND other.spec->>'topic' = me.spec->>'topic'
            AND pg_catalog.jsonb_path_query_array(other.spec, '$.outputs[*].target')
              = pg_catalog.jsonb_path_query_array(me.spec, '$.outputs[*].target')
        JOIN gpss.offsets o ON o.job_id = other.id AND o.cluster_id IS NOT NULL
            AND coalesce(o.cluster_id = $2, true) AND coalesce(o.topic_id = $3, true)
        WHERE me.id = $1 AND me.spec->>'origin' = 'config'
        ORDER BY other.moved_at DESC, other.id";
    let row = |row: &Row<'_>| {
        let (job_id, job, newer) = (row.get(5)?, row.get(1)?, row.get(2)?);
        Ok((row.get(3)?, Stand { job_id, job, newer, next: row.get(4)? }))
    };
    let topic_id = origin.and_then(|origin| origin.topic_id.as_deref());
    let args = [Arg::from(job_id), Arg::from(cluster_id), Arg::from(topic_id)];
    let found: Vec<(i32, Stand)> = select(tx, sql, &args, row)?;
    let Some((_, last)) = found.first() else { return Ok(None) };
    let (job, newer) = (last.job.clone(), last.newer);
    let mut stands = BTreeMap::new();
    for (partition, stand) in found {
        stands.entry(partition).or_insert(stand);
    }
    Ok(Some(Inherited { job, newer, stands }))
}

/// What another job has loaded that this one will load again.
pub struct Twin {
    pub name: String,
    /// Where it stands.
    pub next: BTreeMap<i32, i64>,
    /// How many messages it has rejected.
    pub rejected: i64,
}

/// The job that moved last of those that have loaded rows of the same topic into the same tables for the same
/// owner, without one continuing the other.
pub fn of_other_kind(tx: &Tx, job_id: i64) -> Result<Option<Twin>> {
    let sql = "SELECT other.id, other.name, sum(o.rows_rejected)::int8 FROM gpss.job me
        JOIN gpss.job other ON other.id <> me.id
            AND gpss.owner_oid(other.owner) = gpss.owner_oid(me.owner)
            AND (other.spec->>'origin' = 'sql' OR me.spec->>'origin' = 'sql')
            AND other.spec->>'topic' = me.spec->>'topic'
            AND pg_catalog.jsonb_path_query_array(other.spec, '$.outputs[*].target')
              = pg_catalog.jsonb_path_query_array(me.spec, '$.outputs[*].target')
        JOIN gpss.offsets o ON o.job_id = other.id
        WHERE me.id = $1
        GROUP BY other.id, other.name HAVING sum(o.rows_loaded) > 0
        ORDER BY max(o.updated_at) DESC LIMIT 1";
    let row = |row: &Row<'_>| Ok((row.get(1)?, row.get(2)?, row.get(3)?));
    let Some((id, name, rejected)) = select(tx, sql, &[Arg::from(job_id)], row)?.pop() else {
        return Ok(None);
    };
    Ok(Some(Twin { name, next: load(tx, id)?, rejected }))
}

/// What a run of a job did to a partition.
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

/// One per partition that the run asked for at that time reads, as others have committed it until now.
pub fn of_run(tx: &Tx, job_id: i64, since: UnixMicros) -> Result<Vec<Loaded>> {
    let sql = "SELECT o.partition, o.started_at, o.updated_at, o.begin_offset, o.next_offset,
            o.rows_loaded - o.loaded_before, o.rows_rejected - o.rejected_before
        FROM gpss.offsets o
        WHERE o.job_id = $1 AND o.started_at >= $2
        ORDER BY o.partition";
    select_latest(tx, sql, &[Arg::from(job_id), Arg::from(since)], |row| {
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
