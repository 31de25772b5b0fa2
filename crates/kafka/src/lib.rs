//! Ring 1: Kafka through librdkafka. Knows nothing of PostgreSQL.
//!
//! | file | owns |
//! | --- | --- |
//! | `properties` | which librdkafka properties a user may give, and the ones we set |
//! | `consumer` | a client that reads partitions from given offsets, in batches |
//! | `metadata` | questions to the brokers: a topic's id and partitions, watermarks, offsets by time |
//! | `notices` | what librdkafka logs and whether the brokers can be reached |
//! | `fault` | librdkafka's error codes as SQLSTATEs |
//! | `aside` | an end with a deadline, for what may block when it is dropped |
//! | `native/` | the calls into librdkafka; the only place with `unsafe` |

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
