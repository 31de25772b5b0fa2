//! Ring 3: the background processes. The launcher (one per server, with preload) starts a scheduler
//! for each database; the scheduler starts a loader for each slot of each job that shall run. A job
//! that has ended may leave an alert.

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
