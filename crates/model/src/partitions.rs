//! A choice of partitions (GPSS: PARTITIONS): numbers and inclusive ranges.

use crate::error::{Error, Result, SqlState};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Ranges of partition numbers, both ends included, in the order the user wrote them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partitions(Vec<(i32, i32)>);

impl Partitions {
    /// What `parse` takes, for messages.
    pub const FORM: &str = "must be a list of partitions such as (1, 3...5)";

    /// `(1, 2...4, 7)`, the parentheses or brackets may be left out and a range may have two dots or
    /// a dash; None for anything else, for an empty list and for a range that runs backwards.
    pub fn parse(text: &str) -> Option<Partitions> {
        let text = text.trim();
        let inner = match text.as_bytes() {
            [b'(', .., b')'] | [b'[', .., b']'] => text.get(1..text.len() - 1)?,
            _ => text,
        };
        inner.split(',').map(range).collect::<Option<Vec<_>>>().map(Partitions)
    }

    /// The first number that the user has written, alone or at an end of a range, and that is not
    /// among these.
    fn missing(&self, partitions: &[i32]) -> Option<i32> {
        let mut named = self.0.iter().flat_map(|(first, last)| [*first, *last]);
        named.find(|partition| !partitions.contains(partition))
    }

    /// Are all that the user has written in the topic?
    pub fn check(&self, topic: &str, partitions: &[i32]) -> Result<()> {
        match self.missing(partitions) {
            None => Ok(()),
            Some(partition) => Err(Error::new(
                SqlState::INVALID_PARAMETER,
                format!("topic \"{topic}\" has no partition {partition}"),
            )
            .hint("PARTITIONS, the foreign table's option \"partitions\", names it.")),
        }
    }

    pub fn contains(&self, partition: i32) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&partition))
    }
}

/// As `parse` takes it, without parentheses.
impl fmt::Display for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            match first == last {
                true => write!(f, "{separator}{first}")?,
                false => write!(f, "{separator}{first}...{last}")?,
            }
        }
        Ok(())
    }
}

fn range(text: &str) -> Option<(i32, i32)> {
    let (first, last) =
        ["...", "..", "-"].iter().find_map(|sign| text.split_once(sign)).unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

fn number(text: &str) -> Option<i32> {
    let text = text.trim();
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges() {
        let chosen = Partitions::parse("(1, 2...4, 7)").unwrap();
        let inside: Vec<i32> = (0..10).filter(|p| chosen.contains(*p)).collect();
        assert_eq!(inside, [1, 2, 3, 4, 7]);
        assert_eq!(chosen.to_string(), "1, 2...4, 7");
        assert_eq!(chosen.missing(&[0, 1, 2, 3, 4, 5]), Some(7));
        assert_eq!(chosen.missing(&[1, 2, 4, 7]), None);
        for text in ["5", "[5]", "5-5", " ( 5..5 ) "] {
            assert_eq!(Partitions::parse(text).unwrap().to_string(), "5", "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "()", "a", "1,", "4...2", "-1", "1;2", "99999999999", "(1", "1...2...3"] {
            assert_eq!(Partitions::parse(text), None, "{text}");
        }
    }
}
