//! Ring 0: the pure rules. Imports std, serde and a YAML reader; knows neither PostgreSQL nor Kafka.

pub mod assign;
pub mod backoff;
pub mod config;
pub mod job;
pub mod reset;
pub mod rows;
pub mod state;
pub mod statement;
pub mod suggest;
