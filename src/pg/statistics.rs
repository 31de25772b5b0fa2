//! The statistics that views and autovacuum read (pgstat.c): handed over at most once a second while one
//! transaction follows another, and the rest by the next wait that begins or lasts until a second later.
//! A client's session does the same when it waits for the next command (postgres.c).

use std::cell::Cell;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::pg::compat;

/// How long they are kept at most before a wait hands them over.
const KEPT: Duration = Duration::from_secs(1);

thread_local! {
    // A process has one thread that runs transactions.
    /// When the transaction ended whose statistics are still here.
    static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A transaction of ours has ended.
pub(super) fn report() {
    // SAFETY: pgstat.c: `tx` calls this after its transaction.
    let left = unsafe { compat::report_statistics(false) };
    SINCE.set(left.then(Instant::now));
}

/// How long a wait may last before `flush` is due; None: nothing is left, or not ours to hand over.
pub(super) fn due() -> Option<Duration> {
    SINCE.get().map(|since| KEPT.saturating_sub(since.elapsed()))
}

/// Hands over what is left, outside a transaction.
pub(super) fn flush() {
    // SAFETY: xact.c, pgstat.c: outside a transaction, which is checked here.
    unsafe {
        if !pg_sys::IsTransactionOrTransactionBlock() {
            compat::report_statistics(true);
        }
    }
    SINCE.set(None);
}
