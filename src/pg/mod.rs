//! The server behind safe functions: the only folder that may say `unsafe`, each time with the rule
//! of PostgreSQL that makes it sound. It knows nothing of Kafka or jobs.
//!
//! "Raises" in a doc line means: leaves by a PostgreSQL ERROR (as a Rust panic), not by `Err`.
//! `tx` and `subtx` turn it into `Err`.

pub mod acl;
pub mod activity;
pub mod agent;
pub mod backtrace;
pub mod bgworker;
pub mod board;
pub mod call;
pub mod caught;
pub mod column_type;
mod compat;
pub mod databases;
pub mod datum;
mod dsm;
pub mod encoding;
pub mod event_trigger;
pub mod eventfd;
pub mod exit;
pub mod fdw;
pub mod latch;
pub mod lock;
pub mod mcx;
pub mod parser;
pub mod program;
pub mod signals;
mod slot;
pub mod spi;
mod statistics;
pub mod subtx;
pub mod threads;
pub mod tx;
pub mod xact;
