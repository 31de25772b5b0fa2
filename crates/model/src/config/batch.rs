//! When a batch is closed, and the SQL around batches; the versions have other keys for the same.

use super::tree::{Location, Map};
use super::value::{choice, statements};
use crate::error::Result;
use crate::job::{Commit, Task};

/// GPSS's names for what a commit promises, in the spellings of the field.
const CONSISTENCY: [&str; 10] = [
    "strong",
    "at-least",
    "at-most",
    "none",
    "exactly",
    "atleast",
    "atmost",
    "exactly-once",
    "at-least-once",
    "at-most-once",
];
const STRONG: [&str; 3] = ["strong", "exactly", "exactly-once"];

/// The names of one version for the keys of a batch.
pub(super) struct CommitKeys {
    pub max_row: &'static str,
    pub interval: &'static str,
    pub idle: &'static str,
}

/// The names of one version for the SQL around batches.
pub(super) struct TaskKeys {
    pub post_batch: &'static str,
    pub interval: &'static str,
    pub prepare: &'static str,
    pub teardown: &'static str,
}

/// Takes the bounds of a batch.
pub(super) fn commit(
    map: &mut Map,
    keys: &CommitKeys,
    notices: &mut Vec<String>,
) -> Result<Commit> {
    let max_row = map.take(keys.max_row)?.map(|value| value.integer()).transpose()?;
    let interval = map.take(keys.interval)?.map(|value| value.integer()).transpose()?;
    map.unused(&[keys.idle], "no lock is held while the job waits for messages", notices)?;
    Ok(match (max_row, interval) {
        (None, None) => Commit::default(),
        (max_row, interval) => Commit {
            // GPSS: zero or absent is no bound on the messages.
            max_row: max_row.filter(|rows| *rows > 0),
            minimal_interval_ms: interval.unwrap_or(Commit::DEFAULT_INTERVAL_MS),
        },
    })
}

/// Takes what GPSS lets the user choose about failures and repetitions, and we do not.
pub(super) fn promises(map: &mut Map, notices: &mut Vec<String>) -> Result<()> {
    let why =
        "rejected messages are always kept in gpss.errors and the rest of the batch is loaded";
    map.unused(&["SAVE_FAILING_BATCH", "RECOVER_FAILING_BATCH"], why, notices)?;
    if let Some(value) = map.take("CONSISTENCY")? {
        let key = value.place().spelled("CONSISTENCY");
        let name = choice(value, &CONSISTENCY, "must be strong, at-least, at-most or none")?;
        if !STRONG.contains(&name) {
            notices.push(format!(
                "{key} {name} is not used: offsets are committed with the rows, so each message is \
                 loaded exactly once, which keeps the promise of at-least and of at-most"
            ));
        }
    }
    Ok(())
}

/// Takes the SQL around batches.
pub(super) fn task(map: &mut Map, keys: &TaskKeys, notices: &mut Vec<String>) -> Result<Task> {
    let place = map.place();
    let task = Task {
        prepare: map.take(keys.prepare)?.map(statements).transpose()?,
        post_batch: map.take(keys.post_batch)?.map(statements).transpose()?,
        batch_interval: map.take(keys.interval)?.map_or(Ok(0), |value| value.integer())?,
        teardown: map.take(keys.teardown)?.map(statements).transpose()?,
    };
    notices.extend(half_a_task(&task, keys, &place));
    Ok(task)
}

/// The notice for one of statement and interval without the other.
fn half_a_task(task: &Task, keys: &TaskKeys, place: &Location) -> Option<String> {
    let (sql, interval) = (place.spelled(keys.post_batch), place.spelled(keys.interval));
    match (&task.post_batch, task.batch_interval) {
        (Some(_), 0) => {
            Some(format!("{sql} is not used: {interval} is 0 or absent, which is never"))
        }
        (None, 1..) => Some(format!("{interval} is not used: there is no {sql}")),
        _ => None,
    }
}
