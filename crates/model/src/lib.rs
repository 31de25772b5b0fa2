//! Ring 0: the pure rules. Knows neither PostgreSQL nor Kafka.

#![forbid(unsafe_code)]

pub mod assign;
pub mod backoff;
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
pub mod schedule;
pub mod state;
pub mod statement;
pub mod suggest;
pub mod topic;
