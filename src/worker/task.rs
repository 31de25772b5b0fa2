//! The user's SQL around the batches (GPSS: TASK). It runs as the job's owner, in the session of the
//! loader, with the job's search path; an error of it is never a message's.

use crate::catalog::jobs::Job;
use crate::catalog::{locks, runs};
use crate::pg::caught::caught;
use crate::pg::lock::{self, Mode};
use crate::pg::spi;
use crate::pg::tx::{Tx, tx};
use crate::pg::{bgworker, encoding, signals};
use gpss_model::error::{Class, Error, Result, SqlState};
use gpss_model::job::Task;
use std::ffi::CStr;

/// How long TEARDOWN_SQL waits for a lock when `stop_job` waits for it: the caller may hold that
/// lock, and waits in a way that the deadlock detector does not see.
const LOCK_TIMEOUT: &CStr = c"10s";

/// PREPARE_SQL, in a transaction of its own. The search path it leaves behind becomes the job's in
/// this process.
///
/// # Errors
/// The statement's, of class Config unless the surroundings are at fault.
pub fn prepare(job: &mut Job) -> Result<()> {
    let Some(sql) = &job.spec.task.prepare else { return Ok(()) };
    let path = encoding::c_string(&job.spec.search_path)?;
    tx(|tx| {
        lock::lock(tx, locks::job(job.id), Mode::Share);
        // For the session, as SET does it; undone when the transaction fails.
        bgworker::set_for_process(c"search_path", &path);
        run(tx, "PREPARE_SQL", sql)
    })?;
    // After the commit: what SET LOCAL said is over.
    let sql = "SELECT pg_catalog.current_setting('search_path')";
    let left = tx(|tx| spi::select(tx, sql, &[], |row| row.get::<String>(1)))?;
    job.spec.search_path = left.into_iter().next().unwrap_or_default();
    Ok(())
}

/// TEARDOWN_SQL, in a transaction of its own, unless the run has ended without us.
///
/// # Errors
/// The statement's.
pub fn teardown(job: &Job, run_id: i64) -> Result<()> {
    let Some(sql) = &job.spec.task.teardown else { return Ok(()) };
    tx(|tx| {
        if !runs::is_current(tx, job.id, run_id)? {
            return Ok(());
        }
        job.set_search_path(tx)?;
        if signals::stop_requested() {
            tx.set_local(c"lock_timeout", LOCK_TIMEOUT);
        }
        run(tx, "TEARDOWN_SQL", sql)
    })
}

/// POST_BATCH_SQL and when it is due.
#[derive(Debug, Default)]
pub struct PostBatch {
    /// Batches with messages that this process has committed for its run.
    committed: u64,
}

impl PostBatch {
    /// The statement, when the next batch is one that it follows.
    pub fn due<'a>(&self, task: &'a Task) -> Option<&'a str> {
        let next = self.committed.saturating_add(1);
        let due = task.batch_interval > 0 && next.is_multiple_of(task.batch_interval);
        task.post_batch.as_deref().filter(|_| due)
    }

    pub fn committed(&mut self) {
        self.committed = self.committed.saturating_add(1);
    }
}

/// POST_BATCH_SQL, in the batch's transaction.
///
/// # Errors
/// The statement's, of class Config unless the surroundings are at fault: the caller ends the
/// transaction.
pub fn post_batch(tx: &Tx, sql: &str) -> Result<()> {
    run(tx, "POST_BATCH_SQL", sql)
}

/// # Errors
/// The statement's, as `blame` has it: the caller ends the transaction.
fn run(tx: &Tx, key: &str, sql: &str) -> Result<()> {
    caught(|| spi::exec(tx, sql, &[]).map(drop)).map_err(|error| blame(error, key))
}

/// The error with the statement's name. Neither one of class Data, which would be taken for a
/// message's, nor one of class 42, which an expression may raise for a message, keeps its code.
fn blame(error: Error, key: &str) -> Error {
    let class = error.class();
    let inside = "It runs inside a transaction, which it cannot end (COMMIT) and to which not all \
                  statements may belong (VACUUM).";
    Error {
        sqlstate: match class {
            Class::Environment => error.sqlstate,
            Class::Data | Class::Config | Class::Bug => SqlState::NOT_IN_PREREQUISITE_STATE,
        },
        message: format!("the {key} statement failed: {}", error.message),
        detail: error.detail,
        hint: error.hint.or_else(|| (class == Class::Bug).then(|| inside.to_owned())),
        subject: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_follows_each_nth_batch() {
        let due = |interval| {
            let task = Task {
                post_batch: Some("f()".into()),
                batch_interval: interval,
                ..Task::default()
            };
            let mut post_batch = PostBatch::default();
            (1..=6)
                .filter(|_| {
                    let due = post_batch.due(&task).is_some();
                    post_batch.committed();
                    due
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(due(1), [1, 2, 3, 4, 5, 6]);
        assert_eq!(due(3), [3, 6]);
        assert!(due(0).is_empty() && due(u64::MAX).is_empty());
        let nothing = Task { batch_interval: 1, ..Task::default() };
        assert_eq!(PostBatch::default().due(&nothing), None);
    }

    #[test]
    fn an_error_is_never_a_messages() {
        for code in ["22P02", "23505", "P0001", "42501", "42804", "XX000"] {
            let error = blame(Error::new(SqlState::new(code), "bad").detail("so"), "PREPARE_SQL");
            assert_eq!(error.sqlstate, SqlState::NOT_IN_PREREQUISITE_STATE, "{code}");
            assert_eq!(error.to_string(), "the PREPARE_SQL statement failed: bad: so");
        }
        let error = blame(Error::new(SqlState::new("55P03"), "locked"), "PREPARE_SQL");
        assert_eq!(error.class(), Class::Environment);
    }
}
