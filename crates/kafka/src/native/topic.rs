//! A topic and its partitions that are read.

use super::client::Client;
use super::queue::Queue;
use super::raw::fault;
use crate::fault::Fault;
use rdkafka::bindings as rd;
use std::ffi::{CStr, CString};
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// A topic whose partitions are read into one queue.
pub struct Topic {
    topic: NonNull<rd::rd_kafka_topic_t>,
    name: CString,
    started: Vec<i32>,
    /// Where its messages come to; also keeps the client alive.
    queue: Queue,
}

// SAFETY: a rd_kafka_topic_t may be used from any thread (rdkafka.h).
unsafe impl Send for Topic {}

impl Topic {
    pub fn new(client: &Arc<Client>, name: CString) -> Result<Topic, Fault> {
        // SAFETY: the client lives; without a configuration the topic takes the client's.
        let topic = unsafe { rd::rd_kafka_topic_new(client.rk, name.as_ptr(), ptr::null_mut()) };
        match NonNull::new(topic) {
            Some(topic) => Ok(Topic { topic, name, started: vec![], queue: Queue::new(client) }),
            // SAFETY: reads a thread-local variable; the code is one of librdkafka's own.
            None => Err(fault(unsafe { rd::rd_kafka_last_error() } as i32)),
        }
    }

    pub fn name(&self) -> &CStr {
        &self.name
    }

    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Reads a partition from the offset on. A partition that is read already is started anew.
    pub fn start(&mut self, partition: i32, offset: i64) -> Result<(), Fault> {
        self.stop(partition);
        // SAFETY: topic and queue live; messages come to the queue only.
        let result = unsafe {
            rd::rd_kafka_consume_start_queue(
                self.topic.as_ptr(),
                partition,
                offset,
                self.queue.queue.as_ptr(),
            )
        };
        if result != 0 {
            // SAFETY: as in `new`.
            return Err(fault(unsafe { rd::rd_kafka_last_error() } as i32));
        }
        self.started.push(partition);
        Ok(())
    }

    /// Reads a partition no longer; what it has in the queue is not handed out any more.
    pub fn stop(&mut self, partition: i32) {
        if let Some(at) = self.started.iter().position(|p| *p == partition) {
            self.started.swap_remove(at);
            // SAFETY: started and not stopped yet. Waits for librdkafka's main thread, which does
            // no blocking call.
            unsafe { rd::rd_kafka_consume_stop(self.topic.as_ptr(), partition) };
        }
    }

    pub fn stop_all(&mut self) {
        while let Some(partition) = self.started.last().copied() {
            self.stop(partition);
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.stop_all();
        // SAFETY: ours, destroyed once.
        unsafe { rd::rd_kafka_topic_destroy(self.topic.as_ptr()) }
    }
}
