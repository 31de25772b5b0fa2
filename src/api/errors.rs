//! `gpss.retry_errors` and `gpss.purge_errors`: what becomes of rejected messages.

use super::{answer, check_owner, unknown_job};
use crate::catalog::errors::{self, Selection};
use crate::catalog::jobs::{self, Job};
use crate::fdw::source::TopicOptions;
use crate::load::{Statement, load_again};
use crate::pg::acl::{self, AsUser};
use crate::pg::call::Text;
use crate::pg::spi;
use crate::pg::tx::Tx;
use gpss_model::error::{Error, Result, SqlState};
use pgrx::datum::Interval;
use pgrx::prelude::*;

/// Messages, and bytes of them, that are taken at a time.
const COUNT: i64 = 10_000;
const BYTES: i64 = 16 << 20;

/// What `gpss.errors.status` may be.
const STATUSES: [&str; 3] = ["new", "retried", "discarded"];

/// Loads rejected messages of a job, and of removed ones of its name and topic, by its mapping as it is
/// today, in this transaction, together with their new status: all that are new, or those of `ids` that
/// are. What fails again stays new, with one attempt more and its new reason.
#[pg_extern(schema = "gpss", name = "retry_errors", volatile, parallel_unsafe)]
fn retry_errors(
    name: Text,
    ids: default!(Option<Vec<i64>>, "NULL"),
) -> TableIterator<'static, (name!(retried, i64), name!(failed, i64))> {
    TableIterator::once(answer(|| retry(&name, ids.as_deref())))
}

fn retry(name: &str, ids: Option<&[i64]>) -> Result<(i64, i64)> {
    let tx = Tx::current();
    let job = jobs::find(&tx, name)?.ok_or_else(|| unknown_job(name))?;
    check_owner(&job)?;
    job.check_owner_exists()?;
    // A mapping is mended by removing the job and submitting another one of its name.
    let named = jobs::all_named(&tx, name)?.into_iter().filter(|j| j.owner == job.owner);
    let job_ids: Vec<i64> = named.map(|job| job.id).collect();
    // What the caller's transaction has deferred is checked as the caller, not as the job's owner.
    spi::exec(&tx, "SET CONSTRAINTS ALL IMMEDIATE", &[])?;
    let _owner = as_owner(&tx, &job)?;
    let (statement, table) = Statement::prepare(&tx, &job)?;
    let topic = TopicOptions::of(&table)?.topic;
    let selection = Selection { job_ids: &job_ids, topic: &topic, ids };
    let (mut last, mut tried, mut failed) = (0, 0, 0);
    loop {
        let messages = errors::lock_new(&tx, selection, last, COUNT, BYTES)?;
        let Some(message) = messages.last() else { break };
        last = message.id;
        tried += messages.len();
        failed += load_again(&tx, &statement, &messages)?;
    }
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    Ok((count(tried - failed), count(failed)))
}

/// The mapping runs as the job's owner, as in the job. He may be somebody else than the caller, whose
/// session it is not to change.
fn as_owner(tx: &Tx, job: &Job) -> Result<AsUser> {
    let owner = match acl::current_user() == job.owner {
        true => AsUser::role(job.owner),
        false => AsUser::restricted(job.owner),
    };
    let owner = owner.with_settings_undone();
    job.set_search_path_in_session(tx)?;
    Ok(owner)
}

/// Deletes rejected messages of a job, also of one that has been removed: all, or those of `ids`, of a
/// `status`, and older than an interval. The number of rows.
#[pg_extern(schema = "gpss", name = "purge_errors", volatile, parallel_unsafe)]
fn purge_errors(
    name: Text,
    ids: default!(Option<Vec<i64>>, "NULL"),
    status: default!(Option<Text>, "NULL"),
    older_than: default!(Option<Interval>, "NULL"),
) -> i64 {
    answer(|| {
        let tx = Tx::current();
        let status = status.as_deref();
        if let Some(status) = status.filter(|status| !STATUSES.contains(status)) {
            let message = format!("status \"{status}\" does not exist");
            return Err(Error::new(SqlState::INVALID_PARAMETER, message)
                .hint(format!("There are {}.", STATUSES.join(", "))));
        }
        let jobs = jobs::all_named(&tx, &name)?;
        let first = jobs.last().ok_or_else(|| unknown_job(&name))?;
        let own: Vec<i64> =
            jobs.iter().filter(|job| check_owner(job).is_ok()).map(|job| job.id).collect();
        if own.is_empty() {
            check_owner(first)?;
        }
        if older_than.as_ref().is_some_and(|age| age.as_micros() < 0) {
            let message = "older_than must not be negative";
            return Err(Error::new(SqlState::INVALID_PARAMETER, message));
        }
        let age = older_than.map(|age| i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
        let deleted = errors::delete(&tx, &own, ids.as_deref(), status, age)?;
        Ok(i64::try_from(deleted).unwrap_or(i64::MAX))
    })
}
