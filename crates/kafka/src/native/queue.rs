//! Queues: of events, and of the messages of partitions.

use super::client::Client;
use super::event::{Answer, Happening};
use super::message::{OwnedMessage, Taken};
use super::raw::millis;
use super::unanswered::Unanswered;
use rdkafka::bindings as rd;
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A queue of librdkafka's.
pub struct Queue {
    pub(super) queue: NonNull<rd::rd_kafka_queue_t>,
    waker: Waker,
    pub(super) client: Arc<Client>,
    /// When the last answer about metadata is due that has not been taken; None: there is none to come.
    due: Cell<Option<Instant>>,
}

// SAFETY: a rd_kafka_queue_t may be used from any thread (rdkafka.h).
unsafe impl Send for Queue {}

impl Queue {
    /// A new, empty queue.
    pub fn new(client: &Arc<Client>) -> Queue {
        // SAFETY: the client lives.
        Queue::from(unsafe { rd::rd_kafka_queue_new(client.rk) }, client)
    }

    /// The client's main queue: logs and errors.
    pub fn main(client: &Arc<Client>) -> Queue {
        // SAFETY: the client lives; this takes a reference of its own.
        Queue::from(unsafe { rd::rd_kafka_queue_get_main(client.rk) }, client)
    }

    fn from(queue: *mut rd::rd_kafka_queue_t, client: &Arc<Client>) -> Queue {
        // SAFETY: librdkafka aborts when out of memory, it never returns NULL here.
        let queue = unsafe { NonNull::new_unchecked(queue) };
        let waker = Waker(Arc::new(Mutex::new(Some(Raw(queue)))));
        Queue { queue, waker, client: Arc::clone(client), due: Cell::new(None) }
    }

    /// An answer about metadata comes within this time, if only to say that there is none.
    pub(super) fn expect(&self, timeout: Duration) {
        self.due.set(Some(Instant::now() + timeout));
    }

    /// For another thread.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// The next event; waits for `timeout` at most.
    pub fn poll(&self, timeout: Duration) -> Option<Answer> {
        // SAFETY: the queue lives; the event is ours to destroy, which `Happening` does.
        let event = unsafe { rd::rd_kafka_queue_poll(self.queue.as_ptr(), millis(timeout)) };
        let answer = (!event.is_null()).then(|| Happening(event).read());
        if matches!(answer, Some(Answer::Topic(_) | Answer::ClusterId(_))) {
            self.due.set(None);
        }
        answer
    }

    /// Takes up to `max` messages and hands them to `each`, and errors of the topic, if there are
    /// any; their number.
    ///
    /// With a `timeout`, librdkafka waits until all `max` have come or the time is over: ask for one
    /// message when waiting, for many when not. `messages` is scratch space.
    pub fn take(
        &self,
        messages: &mut Messages,
        max: usize,
        timeout: Duration,
        each: &mut dyn FnMut(Taken<'_>),
    ) -> usize {
        let list = &mut messages.0;
        list.clear();
        list.reserve(max);
        // SAFETY: the list has room for `max` pointers and librdkafka writes at most as many; those
        // counted in the result are written. Each is ours to destroy, which `Remaining` does, also
        // when `each` panics.
        unsafe {
            let count = rd::rd_kafka_consume_batch_queue(
                self.queue.as_ptr(),
                millis(timeout),
                list.as_mut_ptr(),
                max,
            );
            list.set_len(usize::try_from(count).unwrap_or(0).min(max));
        }
        let taken = list.len();
        let mut remaining = Remaining(list.drain(..));
        for message in remaining.0.by_ref() {
            each(OwnedMessage(message).read());
        }
        let faults = self.client.take_faults();
        let count = taken + faults.len();
        for fault in faults {
            each(Taken::Fault { partition: partition_in(&fault.text), offset: -1, fault });
        }
        count
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.waker.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match self.due.get() {
            Some(due) => self.client.keep(Unanswered { queue: self.queue, due }),
            // SAFETY: ours; messages and answers in it are destroyed with it.
            None => unsafe { rd::rd_kafka_queue_destroy(self.queue.as_ptr()) },
        }
    }
}

/// Ends a wait in the queue, or the next one if none is under way; does nothing once the queue is
/// gone, whose life it does not prolong.
#[derive(Clone)]
pub struct Waker(Arc<Mutex<Option<Raw>>>);

struct Raw(NonNull<rd::rd_kafka_queue_t>);

// SAFETY: as `Queue`.
unsafe impl Send for Raw {}

impl Waker {
    pub fn wake(&self) {
        let queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Raw(queue)) = &*queue {
            // SAFETY: `Queue::drop` takes it out before it destroys it, and the lock is held.
            unsafe { rd::rd_kafka_queue_yield(queue.as_ptr()) };
        }
    }
}

/// The partition in the text of `rd_kafka_toppar_enq_error`, "topic [partition]: reason"; -1 when
/// there is none.
fn partition_in(text: &str) -> i32 {
    let partition = text.split_once(" [").and_then(|(_, rest)| rest.split_once("]:"));
    partition.and_then(|(partition, _)| partition.parse().ok()).unwrap_or(-1)
}

/// Scratch space for [`Queue::take`]: empty between two calls.
#[derive(Default)]
pub struct Messages(Vec<*mut rd::rd_kafka_message_t>);

// SAFETY: holds no pointer between calls.
unsafe impl Send for Messages {}

struct Remaining<'a>(std::vec::Drain<'a, *mut rd::rd_kafka_message_t>);

impl Drop for Remaining<'_> {
    fn drop(&mut self) {
        for message in self.0.by_ref() {
            drop(OwnedMessage(message));
        }
    }
}
