//! Finding the messages that a failing statement cannot load, so that the others are loaded.
//!
//! Only after a batch has failed: the good path knows no subtransaction. Stretches of the batch are
//! loaded one after the other, longer ones as long as all goes well. A statement that streams fails at
//! the message it took last, so what came before is loaded and that message is tried alone. A statement
//! that fails after it took everything (a foreign key, an AFTER trigger, a sort) does not tell, and
//! the stretch is halved. A message whose values its scan cannot convert does not make a statement fail:
//! it is left out.

use crate::pg::fdw::Conversion;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::row_counts::RowCounts;
use std::collections::HashMap;
use std::ops::Range;

/// A try to load a range that has left nothing behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub error: Error,
    /// The index of the message taken last, when the statement had not taken all of them.
    pub suspect: Option<usize>,
    /// Which of the job's statements has failed.
    pub statement: usize,
    /// The conversion that it has failed with, if it was one of its scan's.
    pub conversion: Option<Box<Conversion>>,
}

/// A try to load a range that has succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Rows written.
    pub rows: RowCounts,
    /// The messages that were left out, with their indices and in their order.
    pub refused: Vec<(usize, Failure)>,
}

impl Failure {
    /// The message taken last, if no statement before this one has run over others, which might be why
    /// this one fails.
    fn suspect_of_first(&self) -> Option<usize> {
        self.suspect.filter(|_| self.statement == 0)
    }
}

/// What is loaded.
pub trait Load {
    /// Loads a range, or leaves no trace of it.
    fn attempt(&mut self, range: Range<usize>) -> std::result::Result<Attempt, Failure>;

    /// Can a single message have caused it?
    fn is_messages(&self, error: &Error) -> bool;

    /// A message cannot be loaded. They come in their order.
    ///
    /// # Errors
    /// What ends the search.
    fn refuse(&mut self, index: usize, failure: Failure) -> Result<()>;
}

/// Loads the messages `0..messages` but for those that fail; the rows written.
///
/// # Errors
/// An error that is not a message's, which ends the search; as `refuse`.
pub fn load(messages: usize, load: &mut dyn Load) -> Result<RowCounts> {
    let mut written = RowCounts::default();
    // What is before `next` is loaded or refused; `count` of them are refused.
    let (mut next, mut count, mut streams) = (0, 0, true);
    let (mut stride, mut known, mut trust) = (FIRST, Known::Nothing, Trust::default());
    while next < messages {
        let end = match known {
            Known::Nothing => messages.min(next.saturating_add(stride)),
            Known::At(suspect, _) if suspect > next => suspect,
            Known::Before(end) if end - next > 1 => next + (end - next) / 2,
            Known::At(..) | Known::Before(_) => next + 1,
        };
        let refused = match load.attempt(next..end) {
            Ok(attempt) => {
                written += attempt.rows;
                for (index, failure) in attempt.refused {
                    load.refuse(index, failure)?;
                }
                next = end;
                match known {
                    Known::At(suspect, failure) if suspect == end && trust.has(&failure) => {
                        known = Known::Nothing;
                        Some(failure)
                    }
                    Known::At(suspect, failure) if suspect < end => {
                        trust.lose(&failure);
                        known = Known::Nothing;
                        None
                    }
                    Known::Nothing => {
                        stride = stride.saturating_add(stride / 2 + 1);
                        None
                    }
                    Known::Before(last) if last <= end => {
                        known = Known::Nothing;
                        None
                    }
                    Known::At(..) | Known::Before(_) => None,
                }
            }
            Err(failure) if !load.is_messages(&failure.error) => return Err(failure.error),
            // It has taken no other message.
            Err(failure) if end - next == 1 || failure.suspect_of_first() == Some(next) => {
                if let Known::At(_, suspected) = &known {
                    trust.confirm(suspected, &failure);
                }
                Some(failure)
            }
            Err(failure) => {
                known = match failure.suspect {
                    Some(index) if (next..end).contains(&index) => Known::At(index, failure),
                    _ => Known::Before(end),
                };
                streams = matches!(known, Known::At(..));
                None
            }
        };
        if let Some(failure) = refused {
            load.refuse(next, failure)?;
            (next, count, known) = (next + 1, count + 1, Known::Nothing);
            stride = stride_for(next / count, streams);
        }
    }
    Ok(written)
}

/// The first stretch: what a failure after its end costs is little beside a batch.
const FIRST: usize = 1024;
/// No stretch is shorter, unless a bad message is known to be in it: each costs a subtransaction.
const SHORTEST: usize = 16;

/// The length of the next stretch, when bad messages have been at this distance from each other on average.
///
/// A statement that streams does not read what comes after a bad message, so a stretch may be too long. Others
/// read all of it: where bad messages are dense, about half of the stretches shall fail, because one
/// that is sure to fail tells nothing.
fn stride_for(distance: usize, streams: bool) -> usize {
    let long = SHORTEST.max(distance / 4);
    if streams { long } else { long.min((distance * 7 / 10).max(1)) }
}

/// What failed attempts have told about the messages to come.
enum Known {
    Nothing,
    /// This one is suspected; those before it are probably good.
    At(usize, Failure),
    /// One before this one is bad.
    Before(usize),
}

/// Errors for which the message taken last has always failed alone, too.
///
/// A statement that fails at a message and succeeds over those before it need then not be run over this message
/// alone: that would only tell the same.
#[derive(Default)]
struct Trust {
    /// How often it has been so; None: not once.
    confirmed: HashMap<SqlState, Option<u32>>,
}

impl Trust {
    const ENOUGH: u32 = 4;

    fn has(&self, failure: &Failure) -> bool {
        let confirmed = self.confirmed.get(&failure.error.sqlstate);
        failure.suspect_of_first().is_some()
            && matches!(confirmed, Some(Some(times)) if *times >= Self::ENOUGH)
    }

    fn confirm(&mut self, suspected: &Failure, alone: &Failure) {
        if suspected.error.sqlstate != alone.error.sqlstate {
            return self.lose(suspected);
        }
        let confirmed = self.confirmed.entry(alone.error.sqlstate).or_insert(Some(0));
        *confirmed = confirmed.map(|times| times.saturating_add(1));
    }

    fn lose(&mut self, suspected: &Failure) {
        self.confirmed.insert(suspected.error.sqlstate, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpss_model::error::Class;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// A statement over messages of which some are bad.
    #[derive(Default)]
    struct Trial {
        bad: BTreeSet<usize>,
        /// It leaves these out.
        left_out: BTreeSet<usize>,
        /// It tells which message it took last.
        streams: bool,
        /// The number of further messages that are taken before an error shows.
        ahead: usize,
        messages: usize,
        loaded: BTreeSet<usize>,
        refused: Vec<usize>,
        /// Messages tried in all, and attempts.
        tried: usize,
        attempts: usize,
        limit: Option<usize>,
    }

    fn failure(suspect: Option<usize>) -> Failure {
        let error = Error::new(SqlState::INVALID_TEXT, "bad");
        Failure { error, suspect, statement: 0, conversion: None }
    }

    fn rows(number: usize) -> Attempt {
        Attempt { rows: RowCounts::of_inserted(number as u64), refused: vec![] }
    }

    impl Load for Trial {
        fn attempt(&mut self, range: Range<usize>) -> std::result::Result<Attempt, Failure> {
            self.attempts += 1;
            let Some(first) = self.bad.range(range.clone()).next() else {
                self.tried += range.len();
                let mut attempt = Attempt::default();
                for index in range.clone() {
                    if self.left_out.contains(&index) {
                        attempt.refused.push((index, failure(Some(index))));
                        continue;
                    }
                    assert!(self.loaded.insert(index), "{index} is loaded twice");
                    attempt.rows.inserted += 1;
                }
                return Ok(attempt);
            };
            let taken = (first + self.ahead + 1).min(range.end);
            let streams = self.streams && taken < range.end + 1 && first + self.ahead < range.end;
            self.tried += if streams { taken - range.start } else { range.len() };
            Err(failure(streams.then(|| taken - 1)))
        }

        fn is_messages(&self, error: &Error) -> bool {
            error.class() == Class::Data
        }

        fn refuse(&mut self, index: usize, _: Failure) -> Result<()> {
            self.refused.push(index);
            match self.limit {
                Some(limit) if self.refused.len() == limit => {
                    Err(Error::new(SqlState::NOT_IN_PREREQUISITE_STATE, "too many"))
                }
                _ => Ok(()),
            }
        }
    }

    fn run(messages: usize, bad: &BTreeSet<usize>, streams: bool, ahead: usize) -> Trial {
        let mut trial = Trial { bad: bad.clone(), streams, ahead, messages, ..Trial::default() };
        let written = load(trial.messages, &mut trial).unwrap();
        assert_eq!(written.total() as usize, trial.loaded.len());
        trial
    }

    /// Scattered over the messages, one of this many.
    fn scattered(messages: usize, one_in: usize) -> BTreeSet<usize> {
        let hash = |n: usize| n * 2_654_435_761 % 4_294_967_296;
        (0..messages).filter(|n| hash(*n) < 4_294_967_296 / one_in).collect()
    }

    proptest! {
        #[test]
        fn exactly_the_bad_ones_are_refused(
            messages in 0usize..5000,
            bad in proptest::collection::btree_set(0usize..5000, 0..400),
            left_out in proptest::collection::btree_set(0usize..5000, 0..400),
            streams: bool,
            ahead in 0usize..4,
        ) {
            let of = |set: BTreeSet<usize>| set.into_iter().filter(|i| *i < messages).collect();
            let (left_out, bad): (BTreeSet<usize>, BTreeSet<usize>) = (of(left_out), of(bad));
            let bad = &bad - &left_out;
            let refused = &bad | &left_out;
            let mut trial = Trial { bad, left_out, streams, ahead, ..Trial::default() };
            let written = load(messages, &mut trial).unwrap();
            prop_assert_eq!(&trial.refused, &refused.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(trial.loaded.len(), messages - refused.len());
            prop_assert_eq!(trial.loaded.len(), written.total() as usize);
        }
    }

    #[test]
    fn one_in_a_hundred_costs_about_twice_the_messages() {
        let bad = scattered(50_000, 100);
        for (streams, most) in [(true, 80_000), (false, 110_000)] {
            let tried = run(50_000, &bad, streams, 0).tried;
            assert!(tried < most, "{streams}: {tried}");
        }
    }

    #[test]
    fn one_in_twelve_costs_less_than_three_attempts_each_if_the_statement_streams() {
        let bad = scattered(60_000, 12);
        for (streams, most) in [(true, 29), (false, 65)] {
            let trial = run(60_000, &bad, streams, 0);
            let each = trial.attempts * 10 / bad.len();
            assert!(each < most, "{streams}: {each}");
            assert!(trial.tried < 4 * 60_000, "{streams}: {}", trial.tried);
        }
        // Nothing but bad ones.
        for (streams, most) in [(true, 1000), (false, 1020)] {
            let trial = run(1000, &(0..1000).collect(), streams, 0);
            assert!(trial.attempts <= most, "{streams}: {}", trial.attempts);
        }
    }

    #[test]
    fn a_single_bad_message_costs_about_as_much_as_the_batch() {
        for bad in [0, 777, 12_345, 65_535] {
            let trial = run(1 << 16, &BTreeSet::from([bad]), false, 0);
            assert_eq!(trial.refused, [bad]);
            assert!(trial.tried <= 3 << 16, "{bad}: {}", trial.tried);
        }
    }

    /// A statement that cannot take the message 4 beside another one, or its second statement cannot.
    struct Picky {
        statement: usize,
        at: usize,
        refused: Vec<usize>,
    }

    impl Load for Picky {
        fn attempt(&mut self, range: Range<usize>) -> std::result::Result<Attempt, Failure> {
            match range.contains(&4) && range.len() > 1 {
                true => Err(Failure { statement: self.statement, ..failure(Some(self.at)) }),
                false => Ok(rows(range.len())),
            }
        }

        fn is_messages(&self, _: &Error) -> bool {
            true
        }

        fn refuse(&mut self, index: usize, _: Failure) -> Result<()> {
            self.refused.push(index);
            Ok(())
        }
    }

    #[test]
    fn a_suspect_that_can_be_loaded_alone_is_loaded() {
        for (statement, at) in [(0, 4), (1, 4), (1, 0)] {
            let mut picky = Picky { statement, at, refused: vec![] };
            assert_eq!(load(9, &mut picky), Ok(RowCounts::of_inserted(9)), "{statement} {at}");
            assert!(picky.refused.is_empty());
        }
    }

    #[test]
    fn what_is_not_a_messages_fault_ends_the_search() {
        struct Full(Error);
        impl Load for Full {
            fn attempt(&mut self, _: Range<usize>) -> std::result::Result<Attempt, Failure> {
                Err(Failure { error: self.0.clone(), ..failure(Some(0)) })
            }
            fn is_messages(&self, _: &Error) -> bool {
                false
            }
            fn refuse(&mut self, _: usize, _: Failure) -> Result<()> {
                panic!("no message's fault")
            }
        }
        let full = Error::new(SqlState::INSUFFICIENT_RESOURCES, "disk full");
        assert_eq!(load(9, &mut Full(full.clone())), Err(full));
    }

    #[test]
    fn the_limit_ends_the_search() {
        let mut trial =
            Trial { bad: (0..100).collect(), messages: 100, limit: Some(3), ..Trial::default() };
        assert_eq!(load(100, &mut trial).unwrap_err().message, "too many");
        assert_eq!(trial.refused, [0, 1, 2]);
    }
}
