//! `gpss.lost_range`: offsets that a job went over because the brokers had them no longer.

use super::run;
use crate::pg::spi::Arg;
use crate::pg::tx::Tx;
use gpss_model::beginning::Lost;
use gpss_model::error::Result;

pub fn insert(tx: &Tx, job_id: i64, topic: &str, lost: &Lost) -> Result<()> {
    let sql = "INSERT INTO gpss.lost_range
            (job_id, topic, topic_id, partition, begin_offset, end_offset, reason)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let args = [
        Arg::from(job_id),
        Arg::from(topic),
        Arg::from(lost.topic_id.as_deref()),
        Arg::from(lost.partition),
        Arg::from(lost.begin_offset),
        Arg::from(lost.end_offset),
        Arg::from(lost.reason.as_str()),
    ];
    run(tx, sql, &args)?;
    Ok(())
}
