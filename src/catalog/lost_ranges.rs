//! `gpss.lost_range`: offsets that a job went over because the brokers had them no longer.

use super::run;
use crate::pg::spi::Arg;
use crate::pg::tx::Tx;
use gpss_model::error::Result;

/// Why offsets are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Kafka removed them before they were read.
    Retention,
    /// The partition ends before the job's offset: the brokers have lost what the job had read.
    Truncated,
    /// The topic was deleted before they were read.
    Recreated,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Retention => "retention",
            Reason::Truncated => "truncated",
            Reason::Recreated => "topic recreated",
        }
    }
}

/// A range of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    pub partition: i32,
    pub begin_offset: i64,
    /// Exclusive.
    pub end_offset: i64,
    pub reason: Reason,
    /// Of the topic that had them.
    pub topic_id: Option<String>,
}

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
