//! Ring 0: the pure rules. Knows neither PostgreSQL nor Kafka.
//!
//! | file | owns |
//! | --- | --- |
//! | `error` | the one error type: what `ereport` carries |
//! | `config` | GPSS load configurations of all versions |
//! | `job` | a job's definition |
//! | `format` | formats and their options |
//! | `statement` | SQL text: quoting, the statements of a batch |
//! | `fragment` | SQL of users that goes into ours |
//! | `names` | which column a name means |
//! | `suggest` | the nearest known name |
//! | `block` | decoded messages, as the reader hands them on |
//! | `assign` | which slot reads which partition |
//! | `partitions` | a choice of partitions |
//! | `reset` | where a start begins that is not to continue |
//! | `beginning` | where a run begins, from all that is known |
//! | `row_counts` | rows inserted, updated, deleted |
//! | `state` | the states of a job |
//! | `schedule` | when a job runs |
//! | `backoff` | waits between tries |
//! | `brokers` | lists of brokers |
//! | `topic` | names of topics |
//! | `epoch` | numbers where a time was expected |
//! | `printable` | texts that may hold anything |
//!
//! # Decisions
//!
//! - **CONSISTENCY at-least, at-most and none are accepted; delivery is exactly once regardless.**
//!   Offsets are committed with the rows, which keeps both promises at once.

#![forbid(unsafe_code)]

pub mod assign;
pub mod backoff;
pub mod beginning;
pub mod block;
pub mod brokers;
pub mod config;
pub mod epoch;
pub mod error;
pub mod format;
pub mod fragment;
pub mod job;
pub mod names;
pub mod partitions;
pub mod printable;
pub mod reset;
pub mod row_counts;
pub mod schedule;
pub mod state;
pub mod statement;
pub mod suggest;
pub mod topic;
