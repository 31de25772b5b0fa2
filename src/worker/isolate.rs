//! Finding the messages that a failing statement cannot load, so that the others are loaded.
//!
//! Only after a batch has failed: the good path knows no subtransaction. A statement that streams
//! fails at the message it took last, so what came before is loaded, that message is put aside, and
//! the rest is tried. A statement that fails after it took everything (a sort, a foreign key, an
//! AFTER trigger) does not tell, and the range is halved.

use crate::error::{Error, Result};
use std::ops::Range;

/// How a try to load a range ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The number of rows written.
    Loaded(u64),
    Failed {
        error: Error,
        /// The index of the message taken last, when the statement had not taken all of them.
        suspect: Option<usize>,
    },
}

/// A message that cannot be loaded, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    pub index: usize,
    pub error: Error,
}

/// Loads the messages `0..messages` but for those that fail; the rows written, and the rejects in
/// their order. `attempt` loads a range or leaves no trace of it.
///
/// An error that is not a message's (`is_messages`) ends the search and is returned. So does
/// `limit` returning an error for a number of rejects.
pub fn load(
    messages: usize,
    attempt: &mut dyn FnMut(Range<usize>) -> Outcome,
    is_messages: &mut dyn FnMut(&Error) -> bool,
    limit: &mut dyn FnMut(&[Rejected]) -> Result<()>,
) -> Result<(u64, Vec<Rejected>)> {
    let mut written = 0;
    let mut rejected = vec![];
    // A stack, the first range on top, so that rejects come in order.
    let mut todo: Vec<Range<usize>> = Vec::from([Range { start: 0, end: messages }]);
    while let Some(range) = todo.pop() {
        if range.is_empty() {
            continue;
        }
        match attempt(range.clone()) {
            Outcome::Loaded(rows) => written += rows,
            Outcome::Failed { error, .. } if !is_messages(&error) => return Err(error),
            Outcome::Failed { error, .. } if range.len() == 1 => {
                rejected.push(Rejected { index: range.start, error });
                limit(&rejected)?;
            }
            Outcome::Failed { suspect: Some(index), .. } if range.contains(&index) => {
                todo.push(index + 1..range.end);
                todo.push(index..index + 1);
                todo.push(range.start..index);
            }
            Outcome::Failed { .. } => {
                let middle = range.start + range.len() / 2;
                todo.push(middle..range.end);
                todo.push(range.start..middle);
            }
        }
    }
    Ok((written, rejected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Class, SqlState};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn is_data(error: &Error) -> bool {
        error.class() == Class::Data
    }

    fn data() -> Error {
        Error::new(SqlState::INVALID_TEXT, "bad")
    }

    /// Loads against a set of bad messages; also counts how many messages were tried in all.
    fn run(messages: usize, bad: &BTreeSet<usize>, streams: bool) -> (u64, Vec<usize>, usize) {
        let mut tried = 0;
        let mut attempt = |range: Range<usize>| match bad.range(range.clone()).next() {
            None => {
                tried += range.len();
                Outcome::Loaded(range.len() as u64)
            }
            Some(first) => {
                tried += if streams { first - range.start + 1 } else { range.len() };
                Outcome::Failed { error: data(), suspect: streams.then_some(*first) }
            }
        };
        let (written, rejected) =
            load(messages, &mut attempt, &mut is_data, &mut |_| Ok(())).unwrap();
        (written, rejected.into_iter().map(|r| r.index).collect(), tried)
    }

    proptest! {
        #[test]
        fn exactly_the_bad_ones_are_rejected(
            messages in 0usize..300,
            bad in proptest::collection::btree_set(0usize..300, 0..40),
            streams: bool,
        ) {
            let bad: BTreeSet<usize> = bad.into_iter().filter(|i| *i < messages).collect();
            let (written, rejected, _) = run(messages, &bad, streams);
            prop_assert_eq!(rejected, bad.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(written as usize, messages - bad.len());
        }
    }

    #[test]
    fn a_streaming_statement_tries_each_message_about_twice() {
        let bad: BTreeSet<usize> = (0..50_000).step_by(100).collect();
        let (_, rejected, tried) = run(50_000, &bad, true);
        assert_eq!(rejected.len(), 500);
        assert!(tried < 105_000, "{tried}");
    }

    #[test]
    fn halving_costs_a_logarithm_for_each_bad_message() {
        let (_, rejected, tried) = run(1 << 16, &BTreeSet::from([12_345]), false);
        assert_eq!(rejected, [12_345]);
        assert!(tried <= 4 << 16, "{tried}");
    }

    #[test]
    fn what_is_not_a_messages_fault_ends_the_search() {
        let full = Error::new(SqlState::INSUFFICIENT_RESOURCES, "disk full");
        let mut attempt =
            |_: Range<usize>| Outcome::Failed { error: full.clone(), suspect: Some(0) };
        assert_eq!(load(9, &mut attempt, &mut is_data, &mut |_| Ok(())), Err(full.clone()));
    }

    #[test]
    fn the_limit_ends_the_search() {
        let mut attempt = |_: Range<usize>| Outcome::Failed { error: data(), suspect: None };
        let mut limit = |rejected: &[Rejected]| match rejected.len() {
            3 => Err(Error::new(SqlState::NOT_IN_PREREQUISITE_STATE, "too many")),
            _ => Ok(()),
        };
        let error = load(100, &mut attempt, &mut is_data, &mut limit).unwrap_err();
        assert_eq!(error.message, "too many");
    }
}
