//! The calls into librdkafka behind safe types; the only folder here with `unsafe`.
//!
//! Partitions are read with librdkafka's simple consumer (`rd_kafka_consume_start_queue`): exact
//! offsets, one queue of our own for all partitions, no consumer group. That queue carries fetched
//! messages and partition errors only; `rd_kafka_consume_batch_queue` aborts the process on
//! anything else (rdkafka_msg.c, `rd_kafka_message_get`), so nothing may be forwarded to it.
//! Logs and client errors come as events from the main queue. Callbacks:
//! `client::on_error` runs in our own thread while a partition queue is polled, those of
//! `metadata_answers` in librdkafka's, and only count.
//! librdkafka blocks all signals in the threads it makes (rdkafka.c, `rd_kafka_new`;
//! rdkafka_broker.c, `rd_kafka_broker_add`), so PostgreSQL's handlers never run on them.
//!
//! Everything that librdkafka hands over is owned by one type whose drop gives it back, and each
//! of them keeps the client alive that it belongs to.
#![allow(unsafe_code)]

mod client;
mod conf;
mod event;
mod message;
mod metadata_answers;
mod queue;
mod raw;
mod requests;
mod signals;
mod topic;
mod unanswered;

pub use client::{Client, before_clients};
pub use conf::{Conf, Refusal};
pub use event::{Answer, PartitionOffsets, TopicFound};
pub use message::{Message, Taken};
pub use metadata_answers::MetadataAnswers;
pub use queue::{Messages, Queue, Waker};
pub use requests::{EARLIEST, LATEST};
pub use signals::SignalsBlocked;
pub use topic::Topic;

#[cfg(test)]
pub use conf::property_names;
