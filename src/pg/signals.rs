//! What a worker does when it is told to stop, to reload or to cancel (postgres.c, interrupt.c).
//!
//! A stop is an ordinary cancel plus a flag that is never cleared. `die` leaves without running a
//! destructor, and a handler that only sets a flag is not seen by a statement in progress nor by
//! a wait for a synchronous standby.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::pg_sys;

use crate::pg::caught::caught;
use crate::pg::compat;

static STOP: AtomicBool = AtomicBool::new(false);

// pgrx's functions of these names are guarded Rust wrappers: no handlers, and not to be called in
// one.
unsafe extern "C-unwind" {
    fn die(signal: c_int);
    fn SignalHandlerForConfigReload(signal: c_int);
    fn SetLatch(latch: *mut pg_sys::Latch);
}

/// For a worker that owns something (a consumer, a batch): SIGTERM arrives as an ERROR in what is
/// running, destructors run, `stop_requested` is true from then on.
///
/// SIGINT (pg_cancel_backend) and SIGUSR1 (procsignal) stay as PostgreSQL set them for a worker
/// with a database connection. Call it first thing: signals are unblocked here, and not before.
pub fn install_stop() {
    install(on_sigterm);
}

/// For a process that owns nothing: SIGTERM ends it by FATAL at the next check for interrupts,
/// without running destructors.
pub fn install_die() {
    install(die);
}

fn install(sigterm: unsafe extern "C-unwind" fn(c_int)) {
    compat::set_handler(libc::SIGTERM, sigterm);
    compat::set_handler(libc::SIGHUP, SignalHandlerForConfigReload);
    // SAFETY: bgworker.h: a worker starts with signals blocked and unblocks them when its handlers
    // stand; one that came earlier is delivered now.
    unsafe { pg_sys::BackgroundWorkerUnblockSignals() };
}

unsafe extern "C-unwind" fn on_sigterm(_signal: c_int) {
    // SAFETY: as `die` and StatementCancelHandler in postgres.c: sig_atomic_t stores and SetLatch,
    // which is async-signal-safe; errno is the interrupted code's.
    unsafe {
        let errno = *libc::__errno_location();
        STOP.store(true, Ordering::Relaxed);
        pg_sys::QueryCancelPending = 1;
        pg_sys::InterruptPending = 1;
        SetLatch(pg_sys::MyLatch);
        *libc::__errno_location() = errno;
    }
}

/// Has this process been told to stop? Never goes back to false.
///
/// Ask this first after every caught error: a stop reads like a user's cancel (57014).
pub fn stop_requested() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Lets PostgreSQL act on what is pending: cancel, termination, barriers of DROP DATABASE.
/// Call it at least every 100 ms.
///
/// Raises: 57014 when cancelled or told to stop.
pub fn check_for_interrupts() {
    pgrx::check_for_interrupts!();
}

/// The same for a wait that asks whether it shall end: never, but by an ERROR.
///
/// Raises: 57014 when cancelled or told to stop.
pub fn is_over() -> bool {
    check_for_interrupts();
    false
}

/// The same for a worker outside a transaction, whose wait is ended by a cancel, and nothing else: shall
/// it end? A cancel is forgotten then.
pub fn wait_is_over() -> bool {
    let cancelled = caught(|| {
        check_for_interrupts();
        Ok(())
    });
    cancelled.is_err() || stop_requested()
}

/// Forgets a cancel that was not raised yet, so that it does not end what has to be done because of
/// it: call it once `stop_requested` was seen, before the closing transaction.
pub fn forget_cancel() {
    // SAFETY: globals.c: a flag of this process; the main loop of postgres.c clears it likewise.
    unsafe { pg_sys::QueryCancelPending = 0 };
}

/// Reads the configuration again if a SIGHUP asked for it. At a safe point of the loop, outside a
/// transaction. Returns whether it did.
///
/// Raises: nothing for a faulty file (it is logged), 53200 when there is no memory.
pub fn reload_config_if_asked() -> bool {
    // SAFETY: interrupt.c: ConfigReloadPending is this process's; the loop is between transactions.
    unsafe {
        if pg_sys::ConfigReloadPending == 0 {
            return false;
        }
        pg_sys::ConfigReloadPending = 0;
        pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        true
    }
}
