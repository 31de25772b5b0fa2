//! Ring 3: the background processes. The launcher (one per server, with preload) starts a scheduler
//! for each database; the scheduler starts a loader for each slot of each job that shall run. A job
//! that has ended may leave an alert.
//!
//! | file | owns |
//! | --- | --- |
//! | `launcher` | gives each database a scheduler after a server start |
//! | `scheduler` | starts what shall run and does not |
//! | `loader` | one slot of one job: from connecting to the end |
//! | `start_offsets` | where a slot's partitions begin |
//! | `feed` | collects the next batch, before any transaction begins |
//! | `batch_transaction` | one batch, one transaction |
//! | `task` | the user's SQL around batches |
//! | `gauge` | the ends of partitions while the main thread is held up |
//! | `hints` | what to do about errors without a HINT |
//! | `alert` | runs a command when a job has ended |
//! | `retention` | deletes what is too old |
//!
//! # Decisions
//!
//! - **Offsets move at the end of the batch's transaction**, not at its beginning. The row locks
//!   are held briefly, and a second owner of a partition is found out by the compare-and-set at the
//!   latest; locks alone do not decide.
//! - **TEARDOWN_SQL runs before the last status is written**, so that `wait_job` and `stop_job`
//!   wait for it. The price: after a crash in between it runs twice.
//! - **No consumer group.** Partitions are read by librdkafka's simple consumer at exact offsets;
//!   slot *n* of *k* reads the partitions *p* with *p* mod *k* = *n*, which is stable when
//!   partitions are added.
//! - **A partition's trouble is its own.** One without a leader is left out when a session begins
//!   and taken up like a new one, with the run's reset; its row in `gpss.waiting` remembers that.
//!   One whose messages cannot be read is stopped and started anew at its next offset, because
//!   librdkafka goes on behind what it cannot read.
//! - **A lost offset ends the job** instead of being skipped (`auto.offset.reset = error`), unless
//!   the table has `fallback_offset`.

pub mod alert;
mod batch_transaction;
mod feed;
mod gauge;
mod hints;
pub mod launcher;
pub mod loader;
mod retention;
pub mod scheduler;
mod start_offsets;
mod task;

use gpss_model::error::Error;
use gpss_model::printable::shortened;

/// An error as `gpss.jobs.errmsg` shows it: message and detail, and the hint in a line of its own.
fn describe(error: &Error) -> String {
    describe_with(error, "")
}

/// The same with a remark on the error.
fn describe_with(error: &Error, remark: &str) -> String {
    let mut text = format!("{}{remark}", shortened(&error.to_string()));
    if let Some(hint) = error.hint.as_deref().or_else(|| hints::hint(error.sqlstate)) {
        text.push_str("\nHINT: ");
        text.push_str(hint);
    }
    text
}

/// Between 0 and 1: spreads the retries of processes that failed together.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(std::process::id());
    (random % 1000) as f64 / 1000.0
}
