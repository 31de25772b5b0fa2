//! Threads beside the backend's own.
//!
//! Contract: code in such a thread calls nothing of PostgreSQL or pgrx, no `log!`, no `palloc`, no
//! datum; it answers through a channel or its return value.

use std::any::Any;
use std::io;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::pg::exit;
use gpss_model::error::{Error, Result, SqlState};

/// A running thread and the place where its result arrives.
pub struct Thread<T> {
    result: Receiver<Result<T>>,
    handle: Option<JoinHandle<()>>,
}

/// Starts `f` in a thread that no signal is delivered to, so that PostgreSQL's handlers run on the
/// main thread only. A panic in it becomes the `Err` (XX000) of `join`.
///
/// Dropping the `Thread` detaches it. Errors: 53000 when no thread can be made.
pub fn spawn<T: Send + 'static>(
    name: &str,
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<Thread<T>> {
    start(name, f).map_err(|error| {
        Error::new(SqlState::INSUFFICIENT_RESOURCES, "could not start a thread")
            .detail(error.to_string())
    })
}

fn start<T: Send + 'static>(
    name: &str,
    f: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Thread<T>> {
    // pgrx gives the process to the thread that calls it first: that has to be this one.
    pgrx::pg_sys::thread_check::check_active_thread();
    exit::leave_without_atexit();
    let (send, result) = channel();
    let body = move || {
        let outcome = catch_unwind(AssertUnwindSafe(f)).map_err(|panic| bug(&*panic));
        // Nobody waits any more: the result is not wanted.
        let _ = send.send(outcome);
    };
    let _blocked = SignalsBlocked::new()?;
    let handle = Builder::new().name(name.to_owned()).spawn(body)?;
    Ok(Thread { result, handle: Some(handle) })
}

impl<T> Thread<T> {
    /// Its result, waiting for it at most `timeout`; `None` while it still runs. Takes the result:
    /// once only. The wait is deaf to latch and interrupts: keep it under 100 ms and repeat.
    pub fn join(&mut self, timeout: Duration) -> Option<Result<T>> {
        let outcome = match self.result.recv_timeout(timeout) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => {
                Err(Error::new(SqlState::INTERNAL, "the thread's result was already taken"))
            }
        };
        if let Some(handle) = self.handle.take() {
            // It has sent its result and is on its way out; `catch_unwind` saw every panic.
            let _ = handle.join();
        }
        Some(outcome)
    }

    /// Has it ended?
    pub fn is_finished(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

fn bug(panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    let error = Error::new(SqlState::INTERNAL, "a thread panicked");
    match text {
        Some(text) => error.detail(text),
        None => error,
    }
}

/// All signals blocked for the calling thread, until dropped; a thread made meanwhile inherits it.
struct SignalsBlocked {
    previous: libc::sigset_t,
}

impl SignalsBlocked {
    fn new() -> io::Result<SignalsBlocked> {
        let (mut all, mut previous) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: sigfillset(3), pthread_sigmask(3): both sets are ours and written before read.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            match libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), previous.as_mut_ptr()) {
                0 => Ok(SignalsBlocked { previous: previous.assume_init() }),
                code => Err(io::Error::from_raw_os_error(code)),
            }
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: pthread_sigmask(3): puts back what `new` read, on the same thread.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &self.previous, std::ptr::null_mut());
        }
    }
}
