//! How a thread wakes the main thread: an eventfd, one end for both (Linux, `eventfd(2)`).
//! Not a latch: a thread must not call PostgreSQL.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use gpss_model::error::{Error, Result, SqlState};

/// A counter in the kernel that is readable while it is not zero. Share it with `Arc`.
#[derive(Debug)]
pub struct EventFd {
    file: File,
}

impl EventFd {
    /// Errors: 53000 when there is no file descriptor left.
    pub fn new() -> Result<EventFd> {
        EventFd::open().map_err(|error| {
            Error::new(SqlState::INSUFFICIENT_RESOURCES, "could not create an eventfd")
                .detail(error.to_string())
        })
    }

    fn open() -> io::Result<EventFd> {
        // SAFETY: eventfd(2): takes no pointer; a descriptor >= 0 is new and ours alone.
        let fd = unsafe {
            match libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) {
                fd if fd < 0 => return Err(io::Error::last_os_error()),
                fd => OwnedFd::from_raw_fd(fd),
            }
        };
        Ok(EventFd { file: File::from(fd) })
    }

    /// Makes it readable; from any thread, never blocks.
    pub fn notify(&self) {
        // The only failure is a full counter: then it is readable already.
        let _ = (&self.file).write(&1u64.to_ne_bytes());
    }

    /// Takes all notifications at once; false when there was none. Look at the queue afterwards.
    pub fn drain(&self) -> bool {
        (&self.file).read(&mut [0u8; 8]).is_ok()
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn notifications_from_a_thread_are_taken_once() {
        let event = Arc::new(EventFd::new().unwrap());
        assert!(!event.drain());
        let other = Arc::clone(&event);
        std::thread::spawn(move || (0..3).for_each(|_| other.notify())).join().unwrap();
        assert!(event.drain());
        assert!(!event.drain());
    }
}
