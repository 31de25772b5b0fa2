//! Ring 2: a batch of messages into the tables of a job, inside a transaction of the caller's: all of
//! them at once, or all but those that cannot be loaded, with the reasons.

mod again;
mod blame;
mod careful;
mod isolate;
mod refused;
mod statement;

pub use again::load_again;
pub use careful::{Blame, Loaded, load_carefully};
pub use refused::{Refused, rejects, unparsable};
pub use statement::Statement;

use crate::error::{Class, Error};

/// Can a single message be at fault? Class Data, and what an expression can raise for one message and not
/// for another: a feature that is not supported (a unit of `date_trunc`), and of class 42 all (a tsvector's
/// syntax, row-level security) but what says that something does not exist.
pub fn may_be_a_messages(error: &Error) -> bool {
    let state = error.sqlstate.as_str();
    let missing = ["42P01", "42703", "42883", "42P02", "42704", "42P10"].contains(&state);
    let of_an_expression = state == "0A000" || (state.starts_with("42") && !missing);
    error.class() == Class::Data || of_an_expression
}
