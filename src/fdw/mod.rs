//! Ring 2: the foreign table over a Kafka topic: its options, its scan, and the reader behind both
//! an ad-hoc SELECT and a job's batch.
//!
//! | file | owns |
//! | --- | --- |
//! | `options` | every option of the wrapper's objects, and the check of their values |
//! | `registry_options` | those that are for schema registries |
//! | `source` | topic, brokers and client properties of a foreign table |
//! | `columns` | what each column holds |
//! | `formats` | the decoders for a table's options |
//! | `scan` | a foreign scan: of a batch in a job's statement, of the topic elsewhere |
//! | `topic_scan` | the ranges of a topic that a query asks for |
//! | `peek` | the next messages, for a dry run |
//! | `projection` | output columns of a scan made from records |
//! | `needs` | what scans need of a message |
//! | `custom` | format custom: rows by an SQL function |
//! | `format_function` | formats as SQL functions over one payload |
//! | `reader` | the thread that polls and decodes |
//! | `watch` | is the topic still the one that the offsets belong to? |
//! | `batch` | the messages that one transaction loads |
//! | `handover` | a batch on its way to the scans of its own statement |
//! | `cancellable` | a registry asked from the main thread |
//!
//! # Decisions
//!
//! - **JSON operators are part of the scan.** `->`, `->>`, `#>`, `#>>` over a `json` column of the
//!   whole value are planned as columns of the scan. Where the result depends on more than the text
//!   at the place (unpaired surrogates, repeated keys on the way, array subscripts), the decoder
//!   says so and PostgreSQL's own functions are called for that message.
//! - **Conversions are part of the scan** where each row is converted anyway: `(doc->>'k')::bigint`
//!   in the target list, but not below CASE, with a join or a LIMIT. The decoder makes the common
//!   forms itself (`crates/format/src/cast.rs`); for all others, errors included, the type's input
//!   function is called, after the scan's conditions have let the row pass.
//! - **A batch is handed out only to the table it was read for.** PostgreSQL plans a statement
//!   again by names; when another foreign table has taken the name, or a column wants headers that
//!   were not kept, the worker begins a new session instead.
//! - **A batch is handed out only to the job's own statement**, which is known by the place of its
//!   text: a function that it calls may query the same foreign table, and reads the topic. Citus
//!   executes the SELECT of an `INSERT … SELECT` as a statement without text; such a one gets the
//!   batch until its first message is taken. A statement that has written rows while none of its
//!   scans asked for the batch has read something else, and fails.
//! - **Code that a foreign table brings along** (a formatter, a domain's CHECK) runs as the table's
//!   owner, restricted as by `REFRESH MATERIALIZED VIEW` (`pg/acl.rs`: `OwnersCode`): maintenance
//!   commands of PostgreSQL 17 do so for the same reason.
//! - **Comparisons are known by their operator family**, not by their names: only PostgreSQL's own
//!   become ranges of a topic.
//! - **A scan that begins again** ends where it ended first, and asks the brokers only for what it
//!   does not know: a lateral join begins once for each outer row.
//! - **`EXPLAIN` and planning ask no broker**; the number of rows is assumed.
//! - **The plan holds a JSON text, no pointer**: PostgreSQL copies and caches plans.
//! - **A client that gets no answer is replaced**, after three questions for the partitions in a
//!   row: librdkafka forgets all brokers, the configured ones too, when one that is about to stop
//!   or has just started answers with an empty list. The reader knows the offsets and reads on with
//!   a new client.

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
