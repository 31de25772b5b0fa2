//! The heavyweight locks by which processes find out about each other.

use crate::pg::lock::Tag;

/// Held by the scheduler of a database, so that there is one.
pub const SCHEDULER: Tag = Tag { class: 1, id: 1 };

/// Shared by a scheduler for the moment in which it becomes one; held by DROP EXTENSION to the end
/// of its transaction, so that no scheduler begins meanwhile.
pub const GATE: Tag = Tag { class: 3, id: 1 };

/// Shared by `start_job` to the end of its transaction; a scheduler leaves only when it gets this
/// exclusively, and so never misses a start that has counted on it.
pub const STARTING: Tag = Tag { class: 3, id: 2 };

/// The class of `job`.
pub const JOBS: u32 = 2;

/// Shared by the loaders of a job for as long as they live; who gets it exclusively knows that they
/// are gone. Two jobs whose numbers agree in the lower 32 bits would wait for each other, no more.
pub fn job(job_id: i64) -> Tag {
    Tag { class: JOBS, id: job_id as u32 }
}

/// Held by `stop_job` to the end of its transaction: by it a loader that is told to stop knows that
/// the job ends, and not only the process.
pub fn stopping(job_id: i64) -> Tag {
    Tag { class: 4, id: job_id as u32 }
}

/// Held by the one loader of a slot.
pub fn slot(job_id: i64, slot: i32) -> Tag {
    Tag { class: 16 + slot.unsigned_abs(), id: job_id as u32 }
}
