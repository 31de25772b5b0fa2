//! Ring 2: the foreign table over a Kafka topic: its options, its scan, and the reader behind both
//! an ad-hoc SELECT and a job's batch.

pub mod asking;
pub mod batch;
mod cells;
pub mod columns;
mod custom;
pub mod formats;
pub mod function;
pub mod needs;
pub mod options;
pub mod reader;
pub mod registry_options;
pub mod sample;
pub mod scan;
pub mod session;
pub mod source;
pub mod topic;
pub mod watch;
