//! Ring 2: typed rows of the `gpss.*` tables. Every access runs as the extension's owner, because
//! users have no privileges on the tables; callers check who asks before they call.

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
