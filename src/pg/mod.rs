//! The server behind safe functions: the only folder that may say `unsafe`, each time with the rule
//! of PostgreSQL that makes it sound. It knows nothing of Kafka or jobs.
//!
//! "Raises" in a doc line means: leaves by a PostgreSQL ERROR (as a Rust panic), not by `Err`.
//! `tx` and `subtx` turn it into `Err`.
//!
//! | file | owns |
//! | --- | --- |
//! | `tx` | transactions of a worker; the token without which nothing reads or writes |
//! | `subtx` | savepoints |
//! | `xact` | what happens at a transaction's end |
//! | `caught` | ERROR and panic as values, and back |
//! | `call` | arguments and results of SQL functions |
//! | `spi` | SQL: parameters in, values out; `spi/` has its parts, rows written by the page among them |
//! | `fdw` | the callbacks of foreign data wrappers |
//! | `datum` | text into datums |
//! | `encoding` | text between Rust and the database's encoding |
//! | `column_type` | type and modifier |
//! | `acl` | roles and privileges |
//! | `lock` | heavyweight locks |
//! | `latch` | waits |
//! | `signals` | stop, reload, cancel |
//! | `bgworker` | background workers |
//! | `agent` | autonomous transactions |
//! | `threads` | threads beside the backend's |
//! | `eventfd` | how they wake it |
//! | `board` | numbers that a thread shows to all sessions |
//! | `dsm` | one question and its answer in shared memory |
//! | `mcx` | memory contexts |
//! | `slot` | tuple slots |
//! | `unguarded` | C functions without pgrx's guard, checked against its bindings |
//! | `exit` | an end without C's exit handlers |
//! | `program` | a shell command |
//! | `activity` | `pg_stat_activity` |
//! | `statistics` | `pg_stat_*` |
//! | `databases` | the databases of the server |
//! | `event_trigger` | event triggers |
//! | `parser` | is a text SQL? |
//! | `backtrace` | no backtraces in reports |
//! | `compat` | what differs between versions of PostgreSQL |
//!
//! # Decisions
//!
//! - **A command gets nothing of the server** but environment and output: signals are reset and all
//!   descriptors closed between fork and exec (`pg/program.rs`), because PostgreSQL before 16
//!   leaves data files open for its children.
//! - **Rows are written in bulk** only into ordinary heap tables without triggers that could see
//!   single rows before they are written, without stored generated columns, and when no volatile
//!   function could look at the target meanwhile: COPY's own rules, but for `clock_timestamp()`,
//!   `gen_random_uuid()` and `random()`, which look at nothing.

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
mod unguarded;
pub mod xact;
