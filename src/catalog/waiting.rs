//! `gpss.waiting`: partitions that a run cannot read at present, since when and why.

use super::{run, select};
use crate::pg::spi::Arg;
use crate::pg::tx::Tx;
use gpss_model::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Whose partitions: those of one slot of a run.
#[derive(Clone, Copy)]
pub struct Whose {
    pub job_id: i64,
    pub run_id: i64,
    pub slot: i32,
    pub slots: i32,
}

/// These partitions wait; one that has waited before keeps its time. `unpositioned`: those of them to
/// which the run's reset has still to be applied.
pub fn begin(
    tx: &Tx,
    whose: Whose,
    waits: &BTreeMap<i32, Error>,
    unpositioned: &BTreeSet<i32>,
) -> Result<()> {
    let sql = "INSERT INTO gpss.waiting AS w (job_id, partition, run_id, reason, unpositioned)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (job_id, partition) DO UPDATE SET
            run_id = excluded.run_id,
            reason = excluded.reason,
            since = CASE WHEN w.run_id = excluded.run_id THEN w.since ELSE excluded.since END,
            unpositioned = CASE WHEN w.run_id = excluded.run_id THEN w.unpositioned
                                ELSE excluded.unpositioned END
        WHERE (w.run_id, w.reason) <> (excluded.run_id, excluded.reason)";
    for (partition, why) in waits {
        let reason = why.to_string();
        let args = [
            Arg::from(whose.job_id),
            Arg::from(*partition),
            Arg::from(whose.run_id),
            Arg::from(reason.as_str()),
            Arg::from(unpositioned.contains(partition)),
        ];
        run(tx, sql, &args)?;
    }
    Ok(())
}

/// These partitions wait no longer.
pub fn end(tx: &Tx, job_id: i64, partitions: &[i32]) -> Result<()> {
    let sql = "DELETE FROM gpss.waiting WHERE job_id = $1 AND partition = ANY ($2)";
    run(tx, sql, &[Arg::from(job_id), Arg::from(partitions)])?;
    Ok(())
}

/// These partitions of the slot wait, and no others.
pub fn set(tx: &Tx, whose: Whose, waits: &BTreeMap<i32, Error>) -> Result<()> {
    let sql = "DELETE FROM gpss.waiting
               WHERE job_id = $1 AND partition % $2 = $3 AND partition <> ALL ($4)";
    let partitions: Vec<i32> = waits.keys().copied().collect();
    let Whose { job_id, slot, slots, .. } = whose;
    let args = [job_id.into(), slots.into(), slot.into(), partitions.as_slice().into()];
    run(tx, sql, &args)?;
    begin(tx, whose, waits, &BTreeSet::new())
}

/// The partitions to which the run's reset has still to be applied.
pub fn unpositioned(tx: &Tx, job_id: i64, run_id: i64) -> Result<BTreeSet<i32>> {
    let sql = "SELECT partition FROM gpss.waiting
               WHERE job_id = $1 AND run_id = $2 AND unpositioned";
    let args = [Arg::from(job_id), Arg::from(run_id)];
    Ok(select(tx, sql, &args, |row| row.get(1))?.into_iter().collect())
}
