//! Waiting on this process's latch, and waking others by theirs (latch.c).

use std::os::fd::AsRawFd;
use std::time::Duration;

use pgrx::pg_sys;

use crate::pg::eventfd::EventFd;
use crate::pg::statistics;

/// Why a wait ended; more than one may be true, none means the time was up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// Somebody set the latch: a signal, `wake`, a change of a worker we started.
    pub by_latch: bool,
    /// The event was notified; it stays so until drained.
    pub by_event: bool,
}

/// Waits for the latch, for `event` to be notified, or for `timeout`, whichever is first.
/// A latch that fired is reset, so look at every flag and queue after this and not before.
///
/// Does not act on interrupts: call `signals::check_for_interrupts`. Ends the process when the
/// postmaster is gone. Raises: on failure of the kernel's calls.
///
/// A wait of a second hands over the statistics that are left (`statistics`).
pub fn wait(timeout: Duration, event: Option<&EventFd>) -> Woken {
    let Some(due) = statistics::due().filter(|due| *due < timeout) else {
        return wait_for(timeout, event);
    };
    match wait_for(due, event) {
        Woken { by_latch: false, by_event: false } => {
            statistics::flush();
            wait_for(timeout - due, event)
        }
        woken => woken,
    }
}

fn wait_for(timeout: Duration, event: Option<&EventFd>) -> Woken {
    let mut events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    if event.is_some() {
        events |= pg_sys::WL_SOCKET_READABLE;
    }
    // latch.c takes a timeout of up to INT_MAX milliseconds; one is the least that is not "now".
    let ms = timeout.as_micros().div_ceil(1000).min(i32::MAX as u128) as i64;
    // SAFETY: latch.c: MyLatch is this process's own; the descriptor is borrowed and so stays open.
    let fired = unsafe {
        pg_sys::WaitLatchOrSocket(
            pg_sys::MyLatch,
            events as i32,
            event.map_or(pg_sys::PGINVALID_SOCKET, AsRawFd::as_raw_fd),
            ms,
            pg_sys::PG_WAIT_EXTENSION,
        ) as u32
    };
    let woken = Woken {
        by_latch: fired & pg_sys::WL_LATCH_SET != 0,
        by_event: fired & pg_sys::WL_SOCKET_READABLE != 0,
    };
    if woken.by_latch {
        // SAFETY: latch.c: only the owner resets, and we own MyLatch.
        unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
    }
    woken
}

/// Is there a server process `pid`?
pub fn is_alive(pid: i32) -> bool {
    // SAFETY: procarray.c: looks under its lock; the pointer is compared and not followed.
    unsafe { !pg_sys::BackendPidGetProc(pid).is_null() }
}

/// Sets the latch of the server process `pid`; false when there is none with that pid.
pub fn wake(pid: i32) -> bool {
    // SAFETY: procarray.c: the entry lies in shared memory for the life of the server; were the
    // process gone meanwhile, its successor would wake once for nothing, which latches allow.
    unsafe {
        let proc = pg_sys::BackendPidGetProc(pid);
        if proc.is_null() {
            return false;
        }
        pg_sys::SetLatch(&raw mut (*proc).procLatch);
        true
    }
}
