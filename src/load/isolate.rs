//! Finding the messages that a failing statement cannot load, so that the others are loaded.
//!
//! Only after a batch has failed: the good path knows no subtransaction. Stretches of the batch are
//! loaded one after the other, longer ones as long as all goes well. A statement that streams fails at
//! the message it took last, so what came before is loaded and that message is tried alone. A statement
//! that fails after it took everything (a foreign key, an AFTER trigger, a sort) does not tell, and
//! the stretch is halved.

use super::Refused;
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

/// Loads the messages `0..messages` but for those that fail; the rows written, and the refused ones in
/// their order. `attempt` loads a range or leaves no trace of it.
///
/// An error that is not a message's (`is_messages`) ends the search and is returned. So does
/// `limit` returning an error for a number of them.
pub fn load(
    messages: usize,
    attempt: &mut dyn FnMut(Range<usize>) -> Outcome,
    is_messages: &dyn Fn(&Error) -> bool,
    limit: &mut dyn FnMut(&[Refused]) -> Result<()>,
) -> Result<(u64, Vec<Refused>)> {
    let (mut written, mut refused) = (0, vec![]);
    // What is before `next` is loaded or refused.
    let (mut next, mut stride, mut known) = (0, FIRST, Known::Nothing);
    // After the last refused one.
    let mut since = 0;
    while next < messages {
        let end = match known {
            Known::Nothing => messages.min(next.saturating_add(stride)),
            Known::At(suspect) if suspect > next => suspect,
            Known::Before(end) if end - next > 1 => next + (end - next) / 2,
            Known::At(_) | Known::Before(_) => next + 1,
        };
        match attempt(next..end) {
            Outcome::Loaded(rows) => {
                written += rows;
                match known {
                    Known::Nothing => stride = stride.saturating_add(stride / 2),
                    Known::At(last) if last < end => known = Known::Nothing,
                    Known::Before(last) if last <= end => known = Known::Nothing,
                    Known::At(_) | Known::Before(_) => {}
                }
                next = end;
            }
            Outcome::Failed { error, .. } if !is_messages(&error) => return Err(error),
            Outcome::Failed { error, .. } if end - next == 1 => {
                refused.push(Refused { index: next, error, place: None });
                limit(&refused)?;
                // Bad messages are as far from each other as before, probably.
                stride = SHORTEST.max((next - since) / 4);
                (next, since, known) = (end, end, Known::Nothing);
            }
            Outcome::Failed { suspect: Some(index), .. } if (next..end).contains(&index) => {
                known = Known::At(index);
            }
            Outcome::Failed { .. } => known = Known::Before(end),
        }
    }
    Ok((written, refused))
}

/// The first stretch: what a failure after its end costs is little beside a batch.
const FIRST: usize = 1024;
/// No stretch is shorter, unless a bad message is known to be in it: each costs a subtransaction.
const SHORTEST: usize = 16;

/// What failed attempts have told about the messages to come.
#[derive(Clone, Copy)]
enum Known {
    Nothing,
    /// This one is suspected; those before it are probably good.
    At(usize),
    /// One before this one is bad.
    Before(usize),
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
        let (mut tried, mut loaded) = (0, vec![false; messages]);
        let mut attempt = |range: Range<usize>| match bad.range(range.clone()).next() {
            None => {
                tried += range.len();
                // Nothing twice.
                assert!(!loaded[range.clone()].contains(&true));
                loaded[range.clone()].fill(true);
                Outcome::Loaded(range.len() as u64)
            }
            Some(first) => {
                tried += if streams { first - range.start + 1 } else { range.len() };
                Outcome::Failed { error: data(), suspect: streams.then_some(*first) }
            }
        };
        let (written, refused) = load(messages, &mut attempt, &is_data, &mut |_| Ok(())).unwrap();
        (written, refused.into_iter().map(|r| r.index).collect(), tried)
    }

    proptest! {
        #[test]
        fn exactly_the_bad_ones_are_refused(
            messages in 0usize..5000,
            bad in proptest::collection::btree_set(0usize..5000, 0..40),
            streams: bool,
        ) {
            let bad: BTreeSet<usize> = bad.into_iter().filter(|i| *i < messages).collect();
            let (written, refused, _) = run(messages, &bad, streams);
            prop_assert_eq!(refused, bad.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(written as usize, messages - bad.len());
        }
    }

    #[test]
    fn one_in_a_hundred_costs_about_twice_the_messages() {
        let bad: BTreeSet<usize> =
            (0..50_000).filter(|n| n * 2_654_435_761 % 4_294_967_296 < 42_949_672).collect();
        for (streams, most) in [(true, 80_000), (false, 110_000)] {
            let (_, refused, tried) = run(50_000, &bad, streams);
            assert_eq!(refused.len(), bad.len());
            assert!(tried < most, "{streams}: {tried}");
        }
    }

    #[test]
    fn a_single_bad_message_costs_about_as_much_as_the_batch() {
        for bad in [0, 777, 12_345, 65_535] {
            let (_, refused, tried) = run(1 << 16, &BTreeSet::from([bad]), false);
            assert_eq!(refused, [bad]);
            assert!(tried <= 3 << 16, "{bad}: {tried}");
        }
    }

    #[test]
    fn a_suspect_that_can_be_loaded_alone_is_loaded() {
        // As with a statement that cannot take two certain messages at once.
        let mut attempt = |range: Range<usize>| match range.contains(&4) && range.len() > 1 {
            true => Outcome::Failed { error: data(), suspect: Some(4) },
            false => Outcome::Loaded(range.len() as u64),
        };
        let loaded = load(9, &mut attempt, &is_data, &mut |_| Ok(()));
        assert_eq!(loaded, Ok((9, vec![])));
    }

    #[test]
    fn what_is_not_a_messages_fault_ends_the_search() {
        let full = Error::new(SqlState::INSUFFICIENT_RESOURCES, "disk full");
        let mut attempt =
            |_: Range<usize>| Outcome::Failed { error: full.clone(), suspect: Some(0) };
        assert_eq!(load(9, &mut attempt, &is_data, &mut |_| Ok(())), Err(full.clone()));
    }

    #[test]
    fn the_limit_ends_the_search() {
        let mut attempt = |_: Range<usize>| Outcome::Failed { error: data(), suspect: None };
        let mut limit = |refused: &[Refused]| match refused.len() {
            3 => Err(Error::new(SqlState::NOT_IN_PREREQUISITE_STATE, "too many")),
            _ => Ok(()),
        };
        let error = load(100, &mut attempt, &is_data, &mut limit).unwrap_err();
        assert_eq!(error.message, "too many");
    }
}
