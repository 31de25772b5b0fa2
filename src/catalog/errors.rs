//! `gpss.error`: messages that were not loaded, with the bytes as they came.

use super::run;
use crate::error::{Result, SqlState};
use crate::pg::spi::Arg;
use crate::pg::tx::Tx;

/// A rejected message.
#[derive(Clone, Debug)]
pub struct Reject<'a> {
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    pub key: Option<&'a [u8]>,
    pub payload: Option<&'a [u8]>,
    /// JSON text.
    pub headers: Option<&'a str>,
    pub stage: &'static str,
    pub sqlstate: SqlState,
    pub message: &'a str,
    pub detail: Option<&'a str>,
}

pub fn insert(tx: &Tx, job_id: i64, batch_id: i64, topic: &str, reject: &Reject<'_>) -> Result<()> {
    let sql = "INSERT INTO gpss.error (job_id, batch_id, topic, partition, \"offset\",
            message_timestamp, key, payload, headers, stage, sqlstate, message, detail)
        VALUES ($1, $2, $3, $4, $5, pg_catalog.to_timestamp($6 / 1000.0), $7, $8, $9::jsonb, $10,
            $11, $12, $13)";
    let args = [
        Arg::from(job_id),
        Arg::from(batch_id),
        Arg::from(topic),
        Arg::from(reject.partition),
        Arg::from(reject.offset),
        Arg::from(reject.timestamp_ms),
        Arg::from(reject.key),
        Arg::from(reject.payload),
        Arg::from(reject.headers),
        Arg::from(reject.stage),
        Arg::from(reject.sqlstate.as_str()),
        Arg::from(reject.message),
        Arg::from(reject.detail),
    ];
    run(tx, sql, &args)?;
    Ok(())
}
