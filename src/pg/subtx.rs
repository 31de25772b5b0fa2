//! A savepoint around a closure, as PL/pgSQL's EXCEPTION block makes one (pl_exec.c).

use pgrx::pg_sys;

use crate::pg::caught::caught;
use crate::pg::tx::Tx;
use gpss_model::error::{Error, Result, SqlState};

/// Runs `f` in a subtransaction: released when it returns `Ok`, rolled back on `Err`, ERROR or
/// panic, which come back as `Err` with the outer transaction usable.
///
/// A cancel (57014) is an error like any other here: look at `signals::stop_requested` and do not
/// go on after it. Raises: what `BeginInternalSubTransaction` raises (parallel mode).
pub fn subtx<R>(_tx: &Tx, f: impl FnOnce() -> Result<R>) -> Result<R> {
    // SAFETY: xact.c: begin changes both; the closure runs in the caller's context, as in plpgsql.
    let (context, owner) = unsafe {
        let outer = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::CurrentMemoryContext = outer.0;
        outer
    };
    let outcome = caught(|| {
        let value = f()?;
        // SAFETY: xact.c: the innermost subtransaction is ours; closures nest, so do they.
        unsafe { pg_sys::ReleaseCurrentSubTransaction() };
        Ok(value)
    });
    // SAFETY: xact.c: after an ERROR the subtransaction is rolled back, never released; context
    // and owner belong to the outer level, which is still open.
    unsafe {
        if outcome.is_err() {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        pg_sys::CurrentMemoryContext = context;
        pg_sys::CurrentResourceOwner = owner;
    }
    outcome
}

/// What `f` gives, of which nothing else stays: it runs in a subtransaction that is rolled back.
///
/// Raises: as `subtx`.
pub fn trial<R>(tx: &Tx, f: impl FnOnce() -> Result<R>) -> Result<R> {
    let mut given = None;
    let rolled_back: Result<()> = subtx(tx, || {
        given = Some(f()?);
        Err(Error::new(SqlState::NO_DATA, "rolled back on purpose"))
    });
    match (given, rolled_back) {
        (Some(given), _) => Ok(given),
        (None, Err(error)) => Err(error),
        (None, Ok(())) => Err(Error::new(SqlState::INTERNAL, "trial returned no value")),
    }
}
