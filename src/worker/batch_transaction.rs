//! One batch, one transaction: offsets, rows, rejected messages and the batch's own record.

use super::feed::{Collected, EndReason};
use crate::catalog::batches::{self, Share};
use crate::catalog::errors::{self, Reject};
use crate::catalog::jobs::Job;
use crate::catalog::runs::Run;
use crate::catalog::{locks, unlogged_targets};
use crate::fdw::batch::Batch;
use crate::gucs;
use crate::load::{
    Blame, Loaded, Refused, Statement, load_carefully, may_be_a_messages, rejects, unparsable,
};
use crate::pg::fdw::Table;
use crate::pg::lock::{self, Mode};
use crate::pg::signals;
use crate::pg::spi::Targets;
use crate::pg::tx::{Tx, tx};
use gpss_model::epoch;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::job::{ErrorLimit, Origin};
use gpss_model::printable::counted;
use gpss_model::row_counts::{RowCounts, SharedOut};
use pgrx::pg_sys::Oid;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What loads a job's batches, prepared once per session.
pub struct Loading {
    pub statement: Statement,
    batches: batches::Recorder,
    errors: errors::Recorder,
    /// The unlogged tables that this session has committed marks for; None: it has not looked yet.
    marked: RefCell<Option<Vec<Oid>>>,
}

impl Loading {
    /// Errors: as `Statement::prepare`.
    pub fn prepare(tx: &Tx, job: &Job, run_id: i64) -> Result<(Loading, Table)> {
        job.set_search_path(tx)?;
        let (statement, table) = Statement::prepare(tx, job)?;
        let batches = batches::Recorder::prepare(tx, job.id, run_id)?;
        let errors = errors::Recorder::prepare(tx)?;
        Ok((Loading { statement, batches, errors, marked: RefCell::default() }, table))
    }
}

/// Loads a batch and commits it. Messages that cannot be loaded are recorded with it.
///
/// `after` is run in the batch's transaction when its rows are written, if it has any message; its
/// error must not read as a message's. `blame`: which errors do.
pub fn load(
    job: &Job,
    run: &Run,
    loading: &Loading,
    collected: &Collected,
    blame: Blame,
    after: &dyn Fn(&Tx) -> Result<()>,
) -> Result<()> {
    let (batch, statement) = (&collected.batch, &loading.statement);
    let unparsable = unparsable(batch);
    check_error_limit(job, batch, unparsable, &[])?;
    if blame == Blame::Data {
        let outcome = transact(job, run, loading, collected, |tx| {
            let rows = statement.run_in_bulk(tx, &Rc::new(batch.clone()))?;
            after(tx)?;
            Ok(Loaded { rows, refused: vec![] })
        });
        match outcome {
            Err(error) if may_be_a_messages(&error) && !signals::stop_requested() => {}
            outcome => return outcome,
        }
    }
    // The good path knows no savepoint; the batch is still here for a second, careful try.
    transact(job, run, loading, collected, |tx| {
        let mut limit = |refused: &[Refused]| check_error_limit(job, batch, unparsable, refused);
        let loaded = load_carefully(tx, statement, batch, blame, &mut limit)?;
        after(tx)?;
        Ok(loaded)
    })
}

/// One transaction around `write`, which loads the rows and says which messages it could not.
fn transact(
    job: &Job,
    run: &Run,
    loading: &Loading,
    collected: &Collected,
    write: impl FnOnce(&Tx) -> Result<Loaded>,
) -> Result<()> {
    let unlogged = tx(|tx| {
        // The process has it as well, unless code of the user has released that. By this one who stops
        // the job waits for the batch, and a batch that comes later finds its run over.
        lock::lock(tx, locks::job(job.id), Mode::Share);
        job.set_search_path(tx)?;
        job.check_owner_exists()?;
        let targets = match collected.batch.is_empty() {
            true => Targets::default(),
            false => loading.statement.targets(tx)?,
        };
        if targets.are_elsewhere() {
            // Their rows are on another disk before the offsets are on ours.
            tx.force_sync_commit();
        } else if !gucs::synchronous_commit() {
            tx.set_local(c"synchronous_commit", c"off");
        }
        let mut shares = count(collected);
        let record = |end_reason, shares: &[Share]| {
            let age = collected.started.elapsed();
            let heard = collected.closed.elapsed();
            let may_share = collected.reason == EndReason::Interval;
            loading.batches.record(tx, (age, heard), end_reason, may_share, shares)
        };
        if collected.batch.is_empty() {
            return record(None, &shares).map(|_| None);
        }
        let loaded = write(tx)?;
        let rejects: Vec<_> = rejects(&collected.batch, &loaded.refused)
            .into_iter()
            .map(|(_, reject)| reject)
            .collect();
        check_beginning(tx, job, run, collected, &rejects)?;
        for share in &mut shares {
            let ours = rejects.iter().filter(|reject| reject.partition == share.partition);
            share.rejected = i64::try_from(ours.count()).unwrap_or(i64::MAX);
        }
        spread(loaded.rows, &mut shares);
        let batch_id = record(Some(collected.reason.as_str()), &shares)?;
        loading.errors.record(tx, job.id, batch_id, &job.spec.topic, &rejects)?;
        if loading.marked.borrow().as_ref() == Some(&targets.unlogged) {
            return Ok(None);
        }
        unlogged_targets::mark(tx, job.id, &targets.unlogged)?;
        Ok(Some(targets.unlogged))
    })?;
    if unlogged.is_some() {
        loading.marked.replace(unlogged);
    }
    Ok(())
}

/// This many messages, all rejected since the job's first one, are not bad messages but a wrong format or mapping.
const HOPELESS: usize = 10;

/// Has the job rejected every message that it has ever read? Without an error limit it then ends, and
/// moves no offset for this batch: the corrected job finds its messages.
///
/// A run that quits at the end of the topic asks with fewer messages too, in the batch that ends there: nothing
/// comes after them that could be loaded.
fn check_beginning(
    tx: &Tx,
    job: &Job,
    run: &Run,
    collected: &Collected,
    rejects: &[Reject<'_>],
) -> Result<()> {
    if job.spec.error_limit.is_some() || rejects.len() < collected.batch.messages() {
        return Ok(());
    }
    let Some(before) = batches::only_rejected(tx, job.id)? else { return Ok(()) };
    let rejected = usize::try_from(before).unwrap_or(usize::MAX).saturating_add(rejects.len());
    let is_all = run.quit_at_eof && collected.reason == EndReason::Eof;
    if rejected < HOPELESS && !is_all {
        return Ok(());
    }
    let what = match rejected {
        1 => "the only message that the job has read was rejected".to_owned(),
        _ => format!("all {rejected} messages that the job has read were rejected"),
    };
    let earlier = match before {
        0 => "",
        _ => {
            " Those of the batches before this one are in gpss.errors: gpss.retry_errors loads them."
        }
    };
    let mend = match job.spec.origin {
        Origin::Config => {
            "Correct the configuration and call gpss.load again, or remove the job, submit it with the \
             corrected one and start it."
        }
        Origin::Sql => {
            "Correct the foreign table's options and start the job again, or remove it, submit it with \
             another mapping and start it."
        }
    };
    Err(Error::new(SqlState::NOT_IN_PREREQUISITE_STATE, what)
        .detail(rejects.iter().take(1).map(described).collect::<String>())
        .hint(format!(
            "No offset was moved for this batch. {mend}{earlier} To have such messages in gpss.errors and go on, give the job an error limit \
             (ERROR_LIMIT, error_limit), for example 100%.",
        )))
}

/// Where a rejected message is, why it was rejected, and what can be done if that is known.
fn described(reject: &Reject<'_>) -> String {
    let Reject { partition, offset, reason, .. } = reject;
    let advice = reason.detail.as_deref().filter(|_| epoch::is_of_times(reason.sqlstate));
    let advice = advice.map(|advice| format!(" {advice}")).unwrap_or_default();
    format!("The first is partition {partition}, offset {offset}: {}.{advice}", reason.message)
}

/// Are there too many messages that do not parse or are `refused`?
fn check_error_limit(
    job: &Job,
    batch: &Batch,
    unparsable: usize,
    refused: &[Refused],
) -> Result<()> {
    let messages = batch.messages();
    let count = unparsable + refused.len();
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
    let were = if count == 1 { "was" } else { "were" };
    // The search for others ends here.
    let at_least = if count == messages { "" } else { "at least " };
    let example = rejects(batch, refused).into_iter().next().map(|(_, first)| described(&first));
    Err(Error::new(
        SqlState::NOT_IN_PREREQUISITE_STATE,
        format!(
            "{at_least}{count} of {} of a batch {were} rejected, the error limit is {limit}",
            counted(messages, "message")
        ),
    )
    .detail(example.unwrap_or_default())
    .hint(format!(
        "No offset was moved. gpss.dryrun shows what the next messages give. To have the bad ones in \
         gpss.errors and the others loaded, {}.",
        match job.spec.origin {
            Origin::Config => {
                "call gpss.load again with a higher ERROR_LIMIT, or remove the job, submit it with that and \
                 start it: it goes on where it stood"
            }
            Origin::Sql => {
                "note next_offset in gpss.progress, remove the job, submit it with a higher error_limit and \
                 start it there: reset => '{\"0\": ...}'"
            }
        }
    )))
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
fn spread(rows: RowCounts, shares: &mut [Share]) {
    let good = |share: &Share| u64::try_from(share.messages - share.rejected).unwrap_or(0);
    let mut shared_out = SharedOut::new(rows, shares.iter().map(good).sum());
    for share in shares {
        share.rows = shared_out.next(good(share));
    }
}
