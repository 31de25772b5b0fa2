//! Ring 2: typed rows of the `gpss.*` tables. Every access runs as the extension's owner, because
//! users have no privileges on the tables; callers check who asks before they call.
//!
//! | file | owns |
//! | --- | --- |
//! | `jobs` | `gpss.job` |
//! | `runs` | `gpss.run`, `gpss.status`, `gpss.worker` |
//! | `offsets` | `gpss.offsets` |
//! | `batches` | `gpss.batch`, and offsets moved by a batch |
//! | `errors` | `gpss.error` |
//! | `lost_ranges` | `gpss.lost_range` |
//! | `waiting` | `gpss.waiting` |
//! | `unlogged_targets` | `gpss.unlogged_target`, `gpss.unlogged_mark` |
//! | `locks` | the heavyweight locks by which processes find out about each other |
//! | `processes` | background processes by name: started, found, told to stop |
//!
//! # Decisions
//!
//! - **A restored job is a stopped one.** `pg_dump` carries `gpss.job`, `offsets`, `batch`, `error`
//!   and `lost_range`, but not `run`, `status`, `worker` and `waiting`: a copy of a database must
//!   not begin to load by itself.
//! - **A job's owner has a type of its own** (`api/owner.rs`): stored by OID, so that a renamed
//!   role keeps its jobs and a new role of an old name does not get them; read and written by name,
//!   for dumps. `regrole` is that too, but its input fails where the role is missing, and with it
//!   all jobs.
//! - **Offsets carry the ids of their Kafka cluster and topic.** A job whose brokers turn out to be
//!   another cluster ends with an error and asks for a reset: going on at the old offsets would
//!   skip messages. The same for another topic of the same name, by its id
//!   ([docs/offsets.md](../../docs/offsets.md)); a fallback makes the job go on there.
//! - **Removed jobs stay in `gpss.job`** with their offsets: GPSS continues by topic and table, not
//!   by job, so a later load from a configuration has to find them. Owner and Kafka cluster have to
//!   be the same.
//! - **A crash is noticed by what it takes.** Unlogged tables are emptied, offsets are not. A mark
//!   in an unlogged table of ours goes the way of the target's rows, whatever empties them: a
//!   crash, a failover, a restored base backup.
//! - **Batches of a short interval share a row** of `gpss.batch` for a second: at one millisecond
//!   it would be 86 million rows a day.

pub mod batches;
pub mod errors;
pub mod jobs;
pub mod locks;
pub mod lost_ranges;
pub mod offsets;
pub mod processes;
pub mod runs;
pub mod unlogged_targets;
pub mod waiting;

use crate::pg::acl::AsUser;
use crate::pg::spi::{self, Arg, Row};
use crate::pg::tx::Tx;
use gpss_model::error::{Error, Result, SqlState};

/// Raises: what the statement raises.
fn select<T>(
    tx: &Tx,
    sql: &str,
    args: &[Arg<'_>],
    row: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let _owner = AsUser::extension_owner();
    spi::select(tx, sql, args, row)
}

/// As `select`, and sees what others have committed meanwhile also within one long statement.
///
/// Raises: what the statement raises.
fn select_latest<T>(
    tx: &Tx,
    sql: &str,
    args: &[Arg<'_>],
    row: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let _owner = AsUser::extension_owner();
    spi::select_latest(tx, sql, args, row)
}

/// Runs a statement that writes or locks, on what others have committed until now in REPEATABLE READ too,
/// and maps what it returns.
///
/// Raises: what the statement raises.
fn exec<T>(
    tx: &Tx,
    sql: &str,
    args: &[Arg<'_>],
    row: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let _owner = AsUser::extension_owner();
    spi::exec_returning_latest(tx, sql, args, row)
}

/// Runs such a statement; the number of rows it touched.
///
/// Raises: what the statement raises.
fn run(tx: &Tx, sql: &str, args: &[Arg<'_>]) -> Result<u64> {
    let _owner = AsUser::extension_owner();
    spi::exec_latest(tx, sql, args)
}

/// The one row that a statement is known to return.
fn one<T>(mut rows: Vec<T>) -> Result<T> {
    rows.pop().ok_or_else(|| Error::new(SqlState::INTERNAL, "a catalog query returned no row"))
}
