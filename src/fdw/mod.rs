//! Ring 2: the foreign table over a Kafka topic: its options, its scan, and the reader behind both
//! an ad-hoc SELECT and a job's batch.

pub mod batch;
pub mod cancellable;
pub mod columns;
mod custom;
pub mod format_function;
pub mod formats;
pub mod handover;
pub mod needs;
pub mod options;
pub mod peek;
mod projection;
pub mod reader;
pub mod registry_options;
pub mod scan;
pub mod source;
pub mod topic_scan;
pub mod watch;
