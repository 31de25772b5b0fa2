//! What shall happen when the transaction of the calling SQL statement ends (xact.c).

use pgrx::{PgXactCallbackEvent, register_xact_callback};

use crate::pg::caught::raise;
use crate::pg::latch;
use crate::pg::tx::Tx;
use gpss_model::error::Error;

/// Wakes these processes once others see what this transaction has done; not if it is rolled back.
pub fn wake_at_commit(_tx: &Tx, pids: Vec<i32>) {
    // No ERROR may leave it: after the commit that would be a PANIC. `wake` raises none.
    register_xact_callback(PgXactCallbackEvent::Commit, move || {
        for pid in pids {
            latch::wake(pid);
        }
    });
}

/// Makes `PREPARE TRANSACTION` fail in this transaction.
pub fn refuse_prepare(_tx: &Tx, error: Error) {
    register_xact_callback(PgXactCallbackEvent::PrePrepare, move || raise(error));
}
