//! Ending the process without C's exit handlers.
//!
//! `proc_exit` (ipc.c) runs PostgreSQL's own callbacks and then calls exit(3), which runs what
//! libraries registered with atexit(3). OpenSSL's handler frees its tables there while librdkafka's
//! threads may still use them, and the server restarts because of the crash.
//!
//! Leaving from inside an on_proc_exit callback would skip the callbacks registered before ours
//! (they run last in, first out): the log line of log_disconnections, the TLS goodbye. So ours
//! only registers an exit handler. Being the youngest, that one runs first of all handlers, after
//! all of PostgreSQL's callbacks, and leaves by _exit(2) with PostgreSQL's exit code. What is
//! skipped is atexit(3) handlers alone: PostgreSQL's own has nothing left to do by then, and the
//! server writes its output unbuffered. What others have printed is flushed.
//!
//! A session that is terminated ends like that too: FATAL unwinds no Rust, and its clients and
//! threads live until the end.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use pgrx::pg_sys::{self, Datum};

static EXIT_CODE: AtomicI32 = AtomicI32::new(0);
static FORGOTTEN: AtomicBool = AtomicBool::new(false);

/// This background worker is not to be started again, however it ends: the postmaster forgets a
/// worker that leaves with code 0 (bgworker.c). Needs `leave_without_atexit`. May be called while an
/// error is being reported.
pub fn be_forgotten() {
    FORGOTTEN.store(true, Ordering::Relaxed);
}

/// From now on this process ends without running atexit(3) handlers. To be called before the first
/// thread that may live until the end, on the main thread; again is fine, on any. Never in the
/// postmaster.
///
/// Raises: 54000 when PostgreSQL has no slot for another callback.
pub fn leave_without_atexit() {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    if !REGISTERED.swap(true, Ordering::Relaxed) {
        // SAFETY: ipc.c: the function is static, and its own library is never unloaded.
        unsafe { pg_sys::on_proc_exit(Some(on_exit), Datum::null()) };
    }
}

unsafe extern "C-unwind" fn on_exit(code: c_int, _arg: Datum) {
    // ipc.c passes -1 when some library called exit(3) by itself: then its exit code is to stay.
    if code >= 0 {
        let forgotten = code == 1 && FORGOTTEN.load(Ordering::Relaxed);
        EXIT_CODE.store(if forgotten { 0 } else { code }, Ordering::Relaxed);
        // SAFETY: atexit(3): takes a static function. Should it fail, the handlers run after all.
        unsafe { libc::atexit(leave) };
    }
}

unsafe extern "C" {
    static stdout: *mut libc::FILE;
}

extern "C" fn leave() {
    // SAFETY: stdio.h: the C library's own stream. No other one, as exit(3) would: a thread of a
    // library may be within it, and holds its lock.
    unsafe { libc::fflush(stdout) };
    // SAFETY: _exit(2): all of PostgreSQL's callbacks have run (see above).
    unsafe { libc::_exit(EXIT_CODE.load(Ordering::Relaxed)) }
}
