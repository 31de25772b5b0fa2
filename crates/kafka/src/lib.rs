//! Ring 1: Kafka through librdkafka. Knows nothing of PostgreSQL.
//!
//! | file | owns |
//! | --- | --- |
//! | `properties` | which librdkafka properties a user may give, and the ones we set |
//! | `consumer` | a client that reads partitions from given offsets, in batches |
//! | `metadata` | questions to the brokers: a topic's id and partitions, watermarks, offsets by time |
//! | `notices` | what librdkafka logs and whether the brokers can be reached |
//! | `fault` | librdkafka's error codes as SQLSTATEs |
//! | `detached_drop` | an end with a deadline, for what may block when it is dropped |
//! | `native/` | the calls into librdkafka; the only place with `unsafe` |
//!
//! # Decisions
//!
//! - **Answers to questions for metadata are counted**, by interceptors of librdkafka: only they
//!   lead its client to another topic of the same name, and it tells nobody. What the reader has
//!   taken is handed on when none has come since the topic's id was last compared (`fdw/watch.rs`).
//! - **librdkafka logs at level 6**, whatever the user wants to see: only there it says why it lost
//!   a connection, which explains a timeout.
//! - **librdkafka properties are an allow list**: an unknown one might run a program.

#![deny(unsafe_code)]

pub mod consumer;
mod detached_drop;
pub mod fault;
mod metadata;
mod native;
mod notices;
pub mod properties;

pub use consumer::{Consumer, Event, PartitionFault};
pub use metadata::no_leader;
pub use native::{Message, MetadataAnswers, TopicFound, Waker, before_clients};
pub use properties::Properties;
