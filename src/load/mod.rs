//! Ring 2: a batch of messages into the tables of a job, inside a transaction of the caller's: all of
//! them at once, or all but those that cannot be loaded, with the reasons.
//!
//! | file | owns |
//! | --- | --- |
//! | `statement` | the statements of a job, one for each table |
//! | `salvage` | a batch that has failed, but for the messages that cannot be loaded |
//! | `isolate` | the search for these |
//! | `locate` | stage and column of a failure |
//! | `refused` | the messages that are not loaded |
//! | `retry` | rejected messages once more |
//!
//! # Decisions
//!
//! - **The good path has no savepoint.** It would cost every batch; a batch with a bad message
//!   costs a second run instead.
//! - **A message that one table of a job refuses goes into none**: the message is the unit that is
//!   loaded or rejected.
//! - **Who is to blame** is decided by SQLSTATE only where that tells. What is neither a message's
//!   data nor the surroundings is blamed on a message when others of its batch are loaded
//!   (`load/salvage.rs`); and an internal error only when it comes back.

mod isolate;
mod locate;
mod refused;
mod retry;
mod salvage;
mod statement;

pub use refused::{Refused, rejects, unparsable};
pub use retry::load_again;
pub use salvage::{Blame, Loaded, load_carefully};
pub use statement::Statement;

use gpss_model::error::{Class, Error, SqlState};

/// Can one message have caused this error? Class Data: yes. Class Config: perhaps; a unit that `date_trunc`
/// does not support, a tsvector's syntax, row-level security or a name in a cast to regclass can fail for
/// one message only. `load_carefully` finds out.
pub fn may_be_a_messages(error: &Error) -> bool {
    match error.class() {
        Class::Data => true,
        // 55000 is what the task's statements fail with.
        Class::Config => error.sqlstate != SqlState::NOT_IN_PREREQUISITE_STATE,
        Class::Environment | Class::Bug => false,
    }
}
