//! Ring 2: a batch of messages into the tables of a job, inside a transaction of the caller's: all of
//! them at once, or all but those that cannot be loaded, with the reasons.

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
