//! Transactions of a background worker, and the token without which nothing reads or writes.
//! Nothing else in the crate starts, commits or aborts a transaction (xact.c has the rules).

use std::ffi::CStr;
use std::marker::PhantomData;

use pgrx::pg_sys;

use crate::pg::caught::{caught, raise};
use crate::pg::{encoding, mcx, signals, statistics};
use gpss_model::error::{Error, Result, SqlState};

/// Proof that a transaction is open. Only this module makes one.
pub struct Tx {
    // Transactions belong to the main thread.
    _not_send: PhantomData<*const ()>,
}

impl Tx {
    /// The transaction of the SQL statement that called us: for functions called from SQL only,
    /// and never to be kept beyond the call.
    ///
    /// Raises: XX000 outside a transaction.
    pub fn current() -> Tx {
        // SAFETY: xact.c: reads this process's transaction state.
        if !unsafe { pg_sys::IsTransactionState() } {
            raise(Error::new(SqlState::INTERNAL, "no transaction is open"));
        }
        Tx { _not_send: PhantomData }
    }

    /// `SET LOCAL name = value`: until the end of this transaction.
    ///
    /// Raises: an unknown name, a wrong value, a missing privilege.
    pub fn set_local(&self, name: &CStr, value: &CStr) {
        // SAFETY: guc.c: both strings are copied; elevel 0 with this source means ERROR.
        unsafe {
            pg_sys::set_config_option(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_LOCAL,
                true,
                0,
                false,
            );
        }
    }

    /// The same for a value of any text.
    ///
    /// Errors: 22021 for a NUL, 22P05 for a character that the database lacks. Raises: as `set_local`.
    pub fn set_local_text(&self, name: &CStr, value: &str) -> Result<()> {
        self.set_local(name, &encoding::c_string(value)?);
        Ok(())
    }

    /// The commit waits for this server's disk, whatever `synchronous_commit` says then.
    pub fn force_sync_commit(&self) {
        // SAFETY: xact.c: sets a flag of this process's, which the next transaction resets.
        unsafe { pg_sys::ForceSyncCommit() };
    }
}

/// Runs `f` in a transaction of its own and commits it; any `Err`, ERROR or panic, the commit's
/// own included, aborts it and comes back as `Err`. For background workers, outside a transaction.
///
/// Once the process has been told to stop, the commit does not wait for standbys.
///
/// Afterwards everything palloc'd since the last call is freed: the worker lives in a memory
/// context that is emptied here. A cancel that came too late to be raised is forgotten on error.
pub fn tx<R>(f: impl FnOnce(&Tx) -> Result<R>) -> Result<R> {
    // SAFETY: xact.c: reads this process's transaction state.
    if unsafe { pg_sys::IsTransactionOrTransactionBlock() } {
        return Err(Error::new(SqlState::INTERNAL, "a transaction is already open"));
    }
    let outcome = caught(|| {
        begin();
        let tx = Tx { _not_send: PhantomData };
        if signals::stop_requested() {
            // The order to stop is used up: nothing more would end a wait for an absent standby.
            tx.set_local(c"synchronous_commit", c"local");
        }
        let value = f(&tx)?;
        commit();
        Ok(value)
    });
    if outcome.is_err() {
        abort();
    }
    statistics::report();
    mcx::reset_turn();
    outcome
}

/// A block, as after BEGIN: outside of one Citus takes each statement for a transaction of its own, and
/// commits on a shard's node at once what we may have to roll back.
fn begin() {
    // SAFETY: xact.c: the statement's time first, or now() is the last transaction's; the block is
    // open when the command that began it has ended; SPI and the planner want an active snapshot.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::BeginTransactionBlock();
        pg_sys::CommitTransactionCommand();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
}

fn commit() {
    // SAFETY: snapmgr.c: what `begin` pushed is popped before the commit; xact.c: which the end of the
    // block only orders.
    unsafe {
        pg_sys::PopActiveSnapshot();
        pg_sys::EndTransactionBlock(false);
        pg_sys::CommitTransactionCommand();
    }
}

fn abort() {
    // SAFETY: xact.c: allowed in every transaction state, does nothing when none is open; it ends the
    // block, and drops snapshots, SPI connections, locks and buffers that the failure left behind.
    unsafe { pg_sys::AbortOutOfAnyTransaction() };
    signals::forget_cancel();
}
