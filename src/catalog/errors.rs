//! `gpss.error`: messages that were not loaded, with the bytes as they came.

use super::{exec, one, run, select, select_latest};
use crate::pg::acl::AsUser;
use crate::pg::encoding;
use crate::pg::spi::{Arg, Plan, Row, Type};
use crate::pg::tx::Tx;
use gpss_model::block::MessageParts;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::printable::{counted, shortened};
use gpss_model::statement::quote_literal;
use std::borrow::Cow;

/// Where a message failed; `gpss.errors.stage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is not in the format.
    Decode,
    /// The filter, an expression of the mapping, or the conversion to the column's type.
    Map,
    /// A constraint, a trigger, or whatever else belongs to the target.
    Write,
}

impl Stage {
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Decode => "decode",
            Stage::Map => "map",
            Stage::Write => "write",
        }
    }
}

/// Why a message was rejected.
#[derive(Clone, Debug)]
pub struct Reason<'a> {
    pub stage: Stage,
    pub sqlstate: SqlState,
    pub message: Cow<'a, str>,
    pub detail: Option<Cow<'a, str>>,
    pub column: Option<&'a str>,
}

/// A text of a reason, as every database can hold it: what a payload contains must not keep its message
/// from being recorded.
pub fn reason_text(text: &str) -> Cow<'_, str> {
    match shortened(text) {
        Cow::Borrowed(text) => encoding::storable(text),
        Cow::Owned(text) => Cow::Owned(encoding::storable(&text).into_owned()),
    }
}

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
    pub reason: Reason<'a>,
}

/// What there is to say when a run has rejected messages of a job.
pub fn left_behind(job: &str, rejected: i64) -> Error {
    not_loaded(job, rejected, "rejected and not loaded")
}

/// The same of the runs before it.
pub fn left_behind_earlier(job: &str, rejected: i64) -> Error {
    not_loaded(job, rejected, "rejected earlier and not loaded yet")
}

fn not_loaded(job: &str, count: i64, how: &str) -> Error {
    let (messages, were) = (counted(count, "message"), if count == 1 { "was" } else { "were" });
    let name = quote_literal(job);
    Error::new(SqlState::WARNING, format!("{messages} {were} {how}")).hint(format!(
        "gpss.errors has them and says why. gpss.retry_errors({name}) loads them when that is mended."
    ))
}

/// How many rejected messages of a job have not been loaded since.
pub fn count_new(tx: &Tx, job_id: i64) -> Result<i64> {
    let sql = "SELECT count(*) FROM gpss.error WHERE job_id = $1 AND status = 'new'";
    one(select_latest(tx, sql, &[Arg::from(job_id)], |row| row.get(1))?)
}

/// Records rejected messages, by a statement that is prepared once.
pub struct Recorder {
    plan: Plan,
}

impl Recorder {
    pub fn prepare(tx: &Tx) -> Result<Recorder> {
        let sql = "INSERT INTO gpss.error (job_id, batch_id, topic, partition, \"offset\",
                message_timestamp, key, payload, headers, stage, sqlstate, message, detail, column_name)
            VALUES ($1, $2, $3, $4, $5, pg_catalog.to_timestamp($6 / 1000.0), $7, $8, $9::jsonb, $10,
                $11, $12, $13, $14)";
        let mut types =
            vec![Type::Int8, Type::Int8, Type::Text, Type::Int4, Type::Int8, Type::Int8];
        types.extend([Type::Bytea; 2]);
        types.extend([Type::Text; 6]);
        let _owner = AsUser::extension_owner();
        Ok(Recorder { plan: Plan::prepare(tx, sql, &types)? })
    }

    pub fn record(
        &self,
        tx: &Tx,
        job_id: i64,
        batch_id: i64,
        topic: &str,
        rejects: &[Reject<'_>],
    ) -> Result<()> {
        if rejects.is_empty() {
            return Ok(());
        }
        let _owner = AsUser::extension_owner();
        for reject in rejects {
            // A header must not keep its message from being recorded.
            let headers = reject.headers.map(encoding::storable);
            let args = [
                Arg::from(job_id),
                Arg::from(batch_id),
                Arg::from(topic),
                Arg::from(reject.partition),
                Arg::from(reject.offset),
                Arg::from(reject.timestamp_ms),
                Arg::from(reject.key),
                Arg::from(reject.payload),
                Arg::from(headers.as_deref()),
                Arg::from(reject.reason.stage.as_str()),
                Arg::from(reject.reason.sqlstate.as_str()),
                Arg::from(&*reject.reason.message),
                Arg::from(reject.reason.detail.as_deref()),
                Arg::from(reject.reason.column),
            ];
            self.plan.execute(tx, &args)?;
        }
        Ok(())
    }
}

/// A rejected message as it was recorded.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub id: i64,
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    /// JSON text.
    pub headers: Option<String>,
}

impl Recorded {
    /// As it came from Kafka.
    pub fn message(&self) -> MessageParts<'_> {
        MessageParts {
            partition: self.partition,
            offset: self.offset,
            timestamp: self.timestamp_ms,
            key: self.key.as_deref(),
            value: self.payload.as_deref(),
            headers: self.headers.as_ref().map(|text| text.as_bytes()),
        }
    }
}

/// Which rejected messages.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    pub job_ids: &'a [i64],
    pub topic: &'a str,
    /// All of them, or those of these numbers.
    pub ids: Option<&'a [i64]>,
}

/// The next rejected messages after the number `after` that have not been loaded since, in their order:
/// at most `count`, and not many more bytes than `bytes`. Their rows stay locked to the end of the
/// transaction, so that nobody else loads them too.
pub fn lock_new(
    tx: &Tx,
    selection: Selection<'_>,
    after: i64,
    count: i64,
    bytes: i64,
) -> Result<Vec<Recorded>> {
    // Sizes are known without reading the values; a row is given when those before it are small enough.
    let sql = "WITH locked AS MATERIALIZED (
            SELECT e.id FROM gpss.error AS e
            WHERE e.job_id = ANY ($1) AND e.id > $3 AND e.status = 'new'
                AND ($2 IS NULL OR e.id = ANY ($2)) AND e.topic = $6
            ORDER BY e.id LIMIT $4
            FOR UPDATE
        ), sized AS (
            SELECT e.id, sum(coalesce(octet_length(e.payload), 0) + coalesce(octet_length(e.key), 0))
                OVER (ORDER BY e.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
            FROM gpss.error AS e JOIN locked USING (id)
        )
        SELECT e.id, e.partition, e.\"offset\",
            pg_catalog.round(extract(epoch FROM e.message_timestamp) * 1000)::int8,
            e.key, e.payload, e.headers::text
        FROM gpss.error AS e JOIN sized AS s USING (id)
        WHERE coalesce(s.before, 0) <= $5
        ORDER BY e.id";
    let args = [
        Arg::from(selection.job_ids),
        Arg::from(selection.ids),
        Arg::from(after),
        Arg::from(count),
        Arg::from(bytes),
        Arg::from(selection.topic),
    ];
    exec(tx, sql, &args, |row: &Row<'_>| {
        Ok(Recorded {
            id: row.get(1)?,
            partition: row.get(2)?,
            offset: row.get(3)?,
            timestamp_ms: row.get(4)?,
            key: row.get(5)?,
            payload: row.get(6)?,
            headers: row.get(7)?,
        })
    })
}

/// These have been loaded now.
pub fn mark_retried(tx: &Tx, ids: &[i64]) -> Result<()> {
    let sql =
        "UPDATE gpss.error SET status = 'retried', attempts = attempts + 1 WHERE id = ANY ($1)";
    run(tx, sql, &[Arg::from(ids)])?;
    Ok(())
}

/// This one has failed again.
pub fn failed_again(tx: &Tx, id: i64, reason: &Reason<'_>) -> Result<()> {
    let sql =
        "UPDATE gpss.error SET attempts = attempts + 1, stage = $2, sqlstate = $3, message = $4,
            detail = $5, column_name = $6
        WHERE id = $1";
    let args = [
        Arg::from(id),
        Arg::from(reason.stage.as_str()),
        Arg::from(reason.sqlstate.as_str()),
        Arg::from(&*reason.message),
        Arg::from(reason.detail.as_deref()),
        Arg::from(reason.column),
    ];
    run(tx, sql, &args)?;
    Ok(())
}

/// Deletes rows of these jobs; how many. Each condition that is None holds for all rows.
pub fn delete(
    tx: &Tx,
    job_ids: &[i64],
    ids: Option<&[i64]>,
    status: Option<&str>,
    older_than_us: Option<i64>,
) -> Result<u64> {
    let sql = "DELETE FROM gpss.error
        WHERE job_id = ANY ($1)
            AND ($2 IS NULL OR id = ANY ($2))
            AND ($3 IS NULL OR status = $3)
            AND ($4 IS NULL
                 OR occurred_at < pg_catalog.now() - $4 * interval '1 microsecond')";
    let args = [Arg::from(job_ids), Arg::from(ids), Arg::from(status), Arg::from(older_than_us)];
    run(tx, sql, &args)
}

/// What a purge has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Rows deleted, and those of them that had not been loaded since.
    pub deleted: i64,
    pub of_them_new: i64,
    /// Rows whose payload was given up.
    pub discarded: i64,
}

/// Rows that one purge takes at most, so that it is over soon.
pub const PORTION: i64 = 10_000;

/// Deletes rows that are older than `seconds`. As `discard`, it leaves rows that somebody has locked for
/// the next time.
pub fn purge(tx: &Tx, seconds: i32) -> Result<Purged> {
    let sql = "WITH old AS (
            SELECT id FROM gpss.error
            WHERE occurred_at < pg_catalog.now() - $1 * interval '1 second'
            LIMIT $2
            FOR UPDATE SKIP LOCKED
        ), deleted AS (
            DELETE FROM gpss.error AS e USING old WHERE e.id = old.id RETURNING e.status
        )
        SELECT count(*), count(*) FILTER (WHERE status = 'new') FROM deleted";
    let counts = |row: &Row<'_>| {
        Ok(Purged { deleted: row.get(1)?, of_them_new: row.get(2)?, ..Purged::default() })
    };
    one(exec(tx, sql, &[Arg::from(seconds), Arg::from(PORTION)], counts)?)
}

/// Gives up the payloads of the oldest rows where those of a job need more than `bytes`, compressed as they are
/// stored.
pub fn discard(tx: &Tx, bytes: i64) -> Result<Purged> {
    // As long as the whole table is smaller, none of it is read.
    let sql = "WITH sized AS (
            SELECT id, sum(coalesce(pg_catalog.pg_column_size(payload), 0)
                           + coalesce(pg_catalog.pg_column_size(key), 0))
                OVER (PARTITION BY job_id ORDER BY id DESC) AS with_younger
            FROM gpss.error
            WHERE pg_catalog.pg_table_size('gpss.error') > $1 AND (payload IS NOT NULL OR key IS NOT NULL)
        ), large AS (
            SELECT e.id FROM gpss.error AS e JOIN sized USING (id) WHERE with_younger > $1
            LIMIT $2
            FOR UPDATE OF e SKIP LOCKED
        ), discarded AS (
            UPDATE gpss.error AS e SET key = NULL, payload = NULL, headers = NULL,
                status = CASE status WHEN 'new' THEN 'discarded' ELSE status END
            FROM large WHERE e.id = large.id
            RETURNING 1
        )
        SELECT count(*) FROM discarded";
    let count = |row: &Row<'_>| Ok(Purged { discarded: row.get(1)?, ..Purged::default() });
    one(exec(tx, sql, &[Arg::from(bytes), Arg::from(PORTION)], count)?)
}

/// The one column of a table that a constraint is about; None for several or none.
pub fn column_of_constraint(
    tx: &Tx,
    schema: &str,
    table: &str,
    constraint: &str,
) -> Result<Option<String>> {
    let sql = "SELECT a.attname::text FROM pg_catalog.pg_constraint AS c
        JOIN pg_catalog.pg_class AS t ON t.oid = c.conrelid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = c.conkey[1]
        WHERE n.nspname = $1 AND t.relname = $2 AND c.conname = $3
            AND pg_catalog.cardinality(c.conkey) = 1";
    let args = [Arg::from(schema), Arg::from(table), Arg::from(constraint)];
    Ok(select(tx, sql, &args, |row| row.get(1))?.pop())
}
