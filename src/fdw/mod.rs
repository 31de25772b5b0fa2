//! Ring 2: the foreign table over a Kafka topic: its options, its scan, and the reader behind both
//! an ad-hoc SELECT and a job's batch.

pub mod batch;
pub mod columns;
pub mod options;
pub mod reader;
pub mod scan;
pub mod session;
pub mod source;
pub mod topic;
