//! A value whose end may block: it is dropped by a thread of its own, which is left behind when it
//! takes too long. librdkafka joins its threads when a client ends, and one of them may be looking
//! up a host name (getaddrinfo(3) has no deadline).

use super::native::SignalsBlocked;
use std::ops::{Deref, DerefMut};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long an end waits that has been given no deadline: an error's way out, for example.
const DEADLINE: Duration = Duration::from_secs(2);

/// Empty only after [`Aside::close`] or while dropped.
pub struct Aside<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Aside<T> {
    pub fn new(value: T) -> Aside<T> {
        Aside(Some(value))
    }

    /// Ends the value; false when that took longer than `deadline` and goes on aside.
    pub fn close(mut self, deadline: Duration) -> bool {
        self.end(deadline)
    }

    fn end(&mut self, deadline: Duration) -> bool {
        let Some(value) = self.0.take() else { return true };
        let (done, wait) = mpsc::sync_channel(1);
        let end = move || {
            drop(value);
            // Nobody waits after the deadline.
            let _ = done.send(());
        };
        // PostgreSQL's signal handlers must run on its own thread only.
        let blocked = SignalsBlocked::new();
        let thread = thread::Builder::new().name("gpss close".to_owned()).spawn(end);
        drop(blocked);
        // Without a thread the closure, and the value with it, has been dropped here.
        thread.is_err() || wait.recv_timeout(deadline).is_ok()
    }
}

impl<T: Send + 'static> Drop for Aside<T> {
    fn drop(&mut self) {
        self.end(DEADLINE);
    }
}

impl<T: Send + 'static> Deref for Aside<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Some(value) => value,
            None => unreachable!("used after its end"),
        }
    }
}

impl<T: Send + 'static> DerefMut for Aside<T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.0 {
            Some(value) => value,
            None => unreachable!("used after its end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    struct Slow(Duration);

    impl Drop for Slow {
        fn drop(&mut self) {
            thread::sleep(self.0);
        }
    }

    #[test]
    fn an_end_is_waited_for_up_to_the_deadline() {
        assert!(Aside::new(Slow(Duration::ZERO)).close(Duration::from_secs(5)));
        let start = Instant::now();
        assert!(!Aside::new(Slow(Duration::from_secs(5))).close(Duration::from_millis(50)));
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}
