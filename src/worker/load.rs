//! One batch, one transaction: offsets, rows, rejected messages and the batch's own record.

use super::feed::{Collected, EndReason};
use super::isolate::{self, Outcome, Rejected};
use crate::catalog::batches::{Recorder, Share};
use crate::catalog::errors::{self, Reject};
use crate::catalog::jobs::Job;
use crate::error::{Class, Error, Result, SqlState};
use crate::fdw::batch::Batch;
use crate::fdw::session::{self, Decoding, Progress, Running};
use crate::gucs;
use crate::model::job::{ErrorLimit, Output, TableName};
use crate::model::rows::{Row, Verdict};
use crate::pg::fdw::{Table, relation_columns};
use crate::pg::signals;
use crate::pg::spi::{self, Plan};
use crate::pg::subtx::subtx;
use crate::pg::tx::{Tx, tx};
use crate::{fdw::source, model::statement};
use pgrx::pg_sys::Oid;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

/// A job's statements, one for each of its tables, prepared once per session.
pub struct Statement {
    plans: Vec<Plan>,
    recorder: Recorder,
    /// What the reader has to decode for them, and how.
    pub decoding: Rc<Decoding>,
}

impl Statement {
    /// Builds and prepares the job's statements, and learns from their plans what they need.
    pub fn prepare(tx: &Tx, job: &Job) -> Result<(Statement, Table)> {
        job.set_search_path(tx);
        let table = Table::load(relation(tx, &job.spec.source, "foreign table")?);
        source::check_wrapper(&table)?;
        let source: Vec<String> = table.columns.iter().map(|c| c.name.clone()).collect();
        let statement = |output: &Output| {
            let target = relation_columns(relation(tx, &output.target, "table")?);
            statement::insert_statement(&job.spec, output, &source, &target)
        };
        let statements = job.spec.outputs.iter().map(statement).collect::<Result<Vec<_>>>()?;
        let (plans, decoding) = Decoding::prepare(tx, &table, job.owner, &statements)?;
        let (recorder, decoding) = (Recorder::prepare(tx)?, Rc::new(decoding));
        Ok((Statement { plans, recorder, decoding }, table))
    }
}

impl Statement {
    /// Runs over a batch, table after table; the number of rows written.
    ///
    /// Raises: what a statement raises; `progress` then tells how far its scan came.
    fn run(&self, tx: &Tx, batch: &Rc<Batch>, progress: &Rc<Progress>) -> Result<u64> {
        self.each(batch, progress, |plan| plan.execute(tx, &[]))
    }

    /// As `run`, but in bulk: an error does not tell which message it is about.
    fn run_in_bulk(&self, tx: &Tx, batch: &Rc<Batch>) -> Result<u64> {
        if self.decoding.calls_functions() {
            // They may look at the target, between one row and the next.
            return self.run(tx, batch, &Rc::default());
        }
        self.each(batch, &Rc::default(), |plan| plan.execute_in_bulk(tx))
    }

    fn each(
        &self,
        batch: &Rc<Batch>,
        progress: &Rc<Progress>,
        run: impl Fn(&Plan) -> Result<u64>,
    ) -> Result<u64> {
        let mut written = 0;
        for plan in &self.plans {
            progress.begin();
            written += self.with_batch(batch, progress, || run(plan))?;
        }
        Ok(written)
    }

    fn with_batch<R>(
        &self,
        batch: &Rc<Batch>,
        progress: &Rc<Progress>,
        run: impl FnOnce() -> R,
    ) -> R {
        let running = Running {
            decoding: Rc::clone(&self.decoding),
            batch: Rc::clone(batch),
            progress: Rc::clone(progress),
        };
        session::with_batch(running, run)
    }
}

/// The OID of a table by its stored name.
fn relation(tx: &Tx, name: &TableName, kind: &str) -> Result<Oid> {
    let qualified = statement::qualified(name);
    let sql = "SELECT pg_catalog.to_regclass($1)::oid";
    let found =
        spi::select(tx, sql, &[qualified.as_str().into()], |row| row.get::<Option<Oid>>(1))?;
    found.into_iter().flatten().next().ok_or_else(|| {
        Error::new(SqlState::UNDEFINED_TABLE, format!("{kind} {qualified} does not exist"))
            .hint("Create it again, or remove the job with gpss.remove_job.")
    })
}

/// Loads a batch and commits it. Messages that cannot be loaded are recorded with it.
///
/// `after` is run in the batch's transaction when its rows are written, if it has any message; its
/// error must not read as a message's.
pub fn load(
    job: &Job,
    statement: &Statement,
    collected: &Collected,
    after: &dyn Fn(&Tx) -> Result<()>,
) -> Result<()> {
    let unparsable = unparsable(collected);
    check_error_limit(job, collected, unparsable, &[])?;
    let outcome = transact(job, statement, collected, |tx| {
        let inserted = statement.run_in_bulk(tx, &Rc::new(collected.batch.clone()))?;
        after(tx)?;
        Ok((inserted, vec![]))
    });
    match outcome {
        // The good path knows no savepoint; the batch is still here for a second, careful try.
        Err(error) if may_be_a_messages(&error) && !signals::stop_requested() => {
            transact(job, statement, collected, |tx| {
                let loaded = load_carefully(tx, job, statement, collected, unparsable)?;
                after(tx)?;
                Ok(loaded)
            })
        }
        outcome => outcome,
    }
}

/// Loads what can be loaded and says what cannot.
fn load_carefully(
    tx: &Tx,
    job: &Job,
    statement: &Statement,
    collected: &Collected,
    unparsable: usize,
) -> Result<(u64, Vec<Rejected>)> {
    let batch = &collected.batch;
    // A deferred constraint would fail the commit and name no message.
    spi::exec(tx, "SET CONSTRAINTS ALL IMMEDIATE", &[])?;
    let mut attempt = |range: Range<usize>| {
        let progress = Rc::new(Progress::default());
        let slice = Rc::new(batch.slice(range.clone()));
        match subtx(tx, || statement.run(tx, &slice, &progress)) {
            Ok(inserted) => Outcome::Loaded(inserted),
            Err(error) => Outcome::Failed {
                error,
                suspect: progress.suspect().map(|index| range.start + index),
            },
        }
    };
    // What fails without any message is the statement's fault.
    if let Outcome::Failed { error, .. } = attempt(0..0) {
        return Err(error);
    }
    let mut limit = |rejected: &[Rejected]| check_error_limit(job, collected, unparsable, rejected);
    let (inserted, rejected) =
        isolate::load(batch.messages(), &mut attempt, &mut may_be_a_messages, &mut limit)?;
    let all = rejected.len() > 1 && rejected.len() + unparsable == batch.messages();
    match rejected.first() {
        // Each and every one, and not by its data: rather a privilege that is missing.
        Some(first) if all && rejected.iter().all(|r| r.error.class() == Class::Config) => {
            Err(first.error.clone())
        }
        _ => Ok((inserted, rejected)),
    }
}

/// Class Data, and of class 42 what an expression can raise for one message and not for another (a
/// tsvector's syntax, row-level security), but not what says that something does not exist.
fn may_be_a_messages(error: &Error) -> bool {
    let state = error.sqlstate.as_str();
    let missing = ["42P01", "42703", "42883", "42P02", "42704", "42P10"].contains(&state);
    error.class() == Class::Data || (state.starts_with("42") && !missing)
}

/// One transaction around `write`, which loads the rows and says which messages it could not.
fn transact(
    job: &Job,
    statement: &Statement,
    collected: &Collected,
    write: impl FnOnce(&Tx) -> Result<(u64, Vec<Rejected>)>,
) -> Result<()> {
    tx(|tx| {
        if !gucs::synchronous_commit() {
            tx.set_local(c"synchronous_commit", c"off");
        }
        job.set_search_path(tx);
        let mut shares = count(collected);
        let record = |end_reason, shares: &[Share]| {
            let age = collected.started.elapsed();
            let may_share = collected.reason == EndReason::Interval;
            statement.recorder.record(tx, job.id, age, end_reason, may_share, shares)
        };
        if collected.batch.is_empty() {
            return record(None, &shares).map(drop);
        }
        let (inserted, rejected) = write(tx)?;
        let rejects = rejects(collected, &rejected);
        for share in &mut shares {
            let ours = rejects.iter().filter(|reject| reject.partition == share.partition);
            share.rejected = i64::try_from(ours.count()).unwrap_or(i64::MAX);
        }
        spread(inserted, &mut shares);
        let batch_id = record(Some(collected.reason.as_str()), &shares)?;
        for reject in &rejects {
            errors::insert(tx, job.id, batch_id, &job.spec.topic, reject)?;
        }
        Ok(())
    })
}

/// `rejected` are those beyond the `unparsable` ones.
fn check_error_limit(
    job: &Job,
    collected: &Collected,
    unparsable: usize,
    rejected: &[Rejected],
) -> Result<()> {
    let messages = collected.batch.messages();
    let count = unparsable + rejected.len();
    let (exceeded, limit) = match job.spec.error_limit {
        None => return Ok(()),
        Some(ErrorLimit::Count(limit)) => (count as u64 >= limit.max(1), limit.to_string()),
        Some(ErrorLimit::Percent(limit)) => {
            (count as f64 * 100.0 > limit * messages as f64, format!("{limit}%"))
        }
    };
    if count == 0 || !exceeded {
        return Ok(());
    }
    let rejects = rejects(collected, rejected);
    let example = rejects.first().map(|first| {
        format!(
            "The first is partition {}, offset {}: {}.",
            first.partition, first.offset, first.message
        )
    });
    Err(Error::new(
        SqlState::NOT_IN_PREREQUISITE_STATE,
        format!(
            "{count} of {messages} messages of a batch were rejected, the error limit is {limit}"
        ),
    )
    .detail(example.unwrap_or_default())
    .hint("No offset was moved. Raise ERROR_LIMIT, or start the job after the bad messages."))
}

/// The number of messages that do not parse.
fn unparsable(collected: &Collected) -> usize {
    if collected.batch.parts().iter().all(|part| part.rows.bad() == 0) {
        return 0;
    }
    let bad = |row: &Row| matches!(row.verdict, Verdict::Bad(_));
    collected.batch.rows().filter(|(_, row)| bad(row)).count()
}

/// All rejected messages of a batch, in its order.
fn rejects<'a>(collected: &'a Collected, rejected: &'a [Rejected]) -> Vec<Reject<'a>> {
    let mut found = vec![];
    if rejected.is_empty() && unparsable(collected) == 0 {
        return found;
    }
    let mut rejected = rejected.iter().peekable();
    for (index, (rows, row)) in collected.batch.rows().enumerate() {
        let text = |span| rows.bytes_of(span).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let reject = |stage, sqlstate, message, detail| Reject {
            partition: row.partition,
            offset: row.offset,
            timestamp_ms: row.timestamp,
            key: rows.bytes_of(row.key),
            payload: rows.bytes_of(row.value),
            headers: text(row.headers),
            stage,
            sqlstate,
            message,
            detail,
        };
        if let Some(found_bad) = rejected.next_if(|r| r.index == index) {
            let error = &found_bad.error;
            let stage = stage_of(error.sqlstate);
            found.push(reject(stage, error.sqlstate, &error.message, error.detail.as_deref()));
        } else if let Verdict::Bad(reason) = row.verdict {
            let message = text(reason).unwrap_or_default();
            found.push(reject("decode", SqlState::INVALID_TEXT, message, None));
        }
    }
    found
}

/// Classes 23 and 44 are raised by constraints of the target, the others by expressions.
fn stage_of(sqlstate: SqlState) -> &'static str {
    if matches!(&sqlstate.0[..2], b"23" | b"44") { "write" } else { "map" }
}

/// Each moved partition's share of the batch; one whose end has moved without a message has a
/// share too.
fn count(collected: &Collected) -> Vec<Share> {
    let mut shares: BTreeMap<i32, Share> = BTreeMap::new();
    for (partition, end_offset) in &collected.to {
        let share = Share {
            partition: *partition,
            begin_offset: collected.from.get(partition).copied().unwrap_or(*end_offset),
            end_offset: *end_offset,
            high_watermark: collected.high.get(partition).copied(),
            ..Share::default()
        };
        shares.insert(*partition, share);
    }
    for (rows, row) in collected.batch.rows() {
        if let Some(share) = shares.get_mut(&row.partition) {
            share.messages += 1;
            for span in [row.key, row.value] {
                share.bytes += rows.bytes_of(span).map_or(0, |bytes| bytes.len() as i64);
            }
            share.last_message_ms = share.last_message_ms.max(row.timestamp);
        }
    }
    shares.into_values().collect()
}

/// Which partition a written row came from is known only when every good message gave one row;
/// otherwise (a filter, a set-returning function) the rows are shared out by good messages.
fn spread(inserted: u64, shares: &mut [Share]) {
    let good: i64 = shares.iter().map(|s| s.messages - s.rejected).sum();
    let inserted = i64::try_from(inserted).unwrap_or(i64::MAX);
    let (mut seen, mut given) = (0i128, 0i64);
    for share in shares {
        seen += i128::from(share.messages - share.rejected);
        let due = i128::from(inserted) * seen / i128::from(good.max(1));
        share.inserted = i64::try_from(due).unwrap_or(i64::MAX) - given;
        given += share.inserted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(list: &[(i64, i64)]) -> Vec<Share> {
        let share = |(messages, rejected): &(i64, i64)| Share {
            messages: *messages,
            rejected: *rejected,
            ..Share::default()
        };
        list.iter().map(share).collect()
    }

    #[test]
    fn rows_are_shared_out_without_remainder() {
        let mut some = shares(&[(10, 1), (5, 0), (0, 0), (7, 7)]);
        spread(14, &mut some);
        let inserted: Vec<i64> = some.iter().map(|s| s.inserted).collect();
        assert_eq!(inserted, [9, 5, 0, 0]);
        spread(3, &mut some);
        assert_eq!(some.iter().map(|s| s.inserted).sum::<i64>(), 3);
        let mut none = shares(&[(2, 2)]);
        spread(0, &mut none);
        assert_eq!(none[0].inserted, 0);
    }
}
