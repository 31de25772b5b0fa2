//! Answers about metadata that nobody waits for any more, and that a client has to have before it ends.

use super::event::Happening;
use super::raw::millis;
use rdkafka::bindings as rd;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

/// The queue of a question about metadata whose answer nobody waits for any more.
///
/// librdkafka (2.12.1) reads through a null pointer when such an answer comes to a client that is being destroyed
/// (rd_kafka_parse_Metadata0 gives no metadata then, and no error either). So the client is
/// destroyed when the answer has come.
pub(super) struct Unanswered {
    pub(super) queue: NonNull<rd::rd_kafka_queue_t>,
    pub(super) due: Instant,
}

// SAFETY: a rd_kafka_queue_t may be used from any thread (rdkafka.h).
unsafe impl Send for Unanswered {}

impl Unanswered {
    /// How much later than asked for librdkafka may notice that the time is over.
    const LATE: Duration = Duration::from_secs(5);

    /// Waits for the answer; false when there is none, which has not been seen.
    pub(super) fn wait(&self) -> bool {
        let left = self.due.saturating_duration_since(Instant::now());
        // One after the other: to a process that was stopped the time passes before librdkafka can notice.
        [left, Self::LATE].into_iter().any(|timeout| self.is_answered(timeout))
    }

    /// Takes the answer if it comes within the time.
    pub(super) fn is_answered(&self, timeout: Duration) -> bool {
        // SAFETY: the queue lives; the event is ours to destroy, which `Happening` does.
        let event = unsafe { rd::rd_kafka_queue_poll(self.queue.as_ptr(), millis(timeout)) };
        !event.is_null() && {
            drop(Happening(event));
            true
        }
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once; an answer that comes later is destroyed by librdkafka.
        unsafe { rd::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::client::Client;
    use crate::native::conf::Conf;
    use crate::native::queue::Queue;

    #[test]
    fn what_nobody_waits_for_any_more_is_waited_for_before_a_client_is_destroyed() {
        for asks in [true, false] {
            let mut conf = Conf::new();
            conf.set("bootstrap.servers", "127.0.0.1:1").unwrap();
            let client = Client::new(conf, None).unwrap();
            let queue = Queue::new(&client);
            let begun = Instant::now();
            if asks {
                // Nobody is there: the answer is that the time is over.
                queue.describe_cluster(Duration::from_secs(2));
            }
            drop(queue);
            let unanswered = std::mem::take(&mut *client.unanswered.lock().unwrap());
            assert!(unanswered.iter().all(Unanswered::wait));
            let took = begun.elapsed();
            assert_eq!(took > Duration::from_millis(1500), asks, "{took:?}");
        }
    }

    #[test]
    fn a_client_that_was_not_answered_holds_nobody_up() {
        let mut conf = Conf::new();
        conf.set("bootstrap.servers", "127.0.0.1:1").unwrap();
        let client = Client::new(conf, None).unwrap();
        let queue = Queue::new(&client);
        queue.describe_cluster(Duration::from_secs(30));
        let begun = Instant::now();
        drop(queue);
        drop(client);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn what_has_been_answered_is_not_kept() {
        let mut conf = Conf::new();
        conf.set("bootstrap.servers", "127.0.0.1:1").unwrap();
        let client = Client::new(conf, None).unwrap();
        for _ in 0..2 {
            let queue = Queue::new(&client);
            queue.describe_cluster(Duration::from_millis(100));
            drop(queue);
            std::thread::sleep(Duration::from_secs(3));
        }
        assert_eq!(client.unanswered.lock().unwrap().len(), 1);
    }

    #[test]
    fn an_answer_is_waited_for_beyond_its_time_if_the_process_was_stopped() {
        let mut conf = Conf::new();
        conf.set("bootstrap.servers", "127.0.0.1:1").unwrap();
        let client = Client::new(conf, None).unwrap();
        let queue = Queue::new(&client);
        queue.describe_cluster(Duration::from_secs(7));
        // As if those seconds had passed while nothing could run.
        queue.expect(Duration::ZERO);
        drop(queue);
        std::thread::sleep(Duration::from_millis(5500));
        let unanswered = std::mem::take(&mut *client.unanswered.lock().unwrap());
        assert!(unanswered.iter().all(Unanswered::wait));
    }
}
