//! Where a start begins to read when it is not to continue: the `reset` argument of `start_job`.

use crate::error::{Error, Result, SqlState};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ops::Range;

const EARLIEST: &str = "earliest";
const LATEST: &str = "latest";

/// Bare numbers that are milliseconds since 1970, from 1973 to 2286, and not seconds, a date or an
/// offset.
const PLAUSIBLE_MS: Range<i64> = 100_000_000_000..10_000_000_000_000;

/// Where one partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The oldest message that the broker still has.
    Earliest,
    /// Messages produced from now on.
    Latest,
    /// The next offset to read; never negative.
    Offset(i64),
}

/// Where the job begins.
///
/// As JSON: `"earliest"`, `"latest"`, `<ms>` or `{"timestamp": <ms>}`, `{"<partition>": <offset>, …}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Reset {
    Earliest,
    Latest,
    /// The first message at or after this time; milliseconds since the Unix epoch, never negative.
    Timestamp(i64),
    /// Partitions that are not named continue.
    Offsets(BTreeMap<i32, Start>),
}

impl Reset {
    /// From the text a user writes: a bare `earliest` or `latest` in any case, milliseconds since 1970,
    /// or JSON.
    ///
    /// # Errors
    /// `INVALID_PARAMETER` for anything else.
    pub fn parse(text: &str) -> Result<Reset> {
        let bare = text.trim();
        // What is not JSON is taken as a JSON string, so that both spellings take one way.
        let value = serde_json::from_str(bare).unwrap_or_else(|_| Value::from(bare));
        Reset::try_from(value)
    }

    /// From milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// A time before 1970: Kafka gives negative numbers a meaning of their own.
    pub fn timestamp(epoch_ms: i64) -> Result<Reset> {
        if epoch_ms < 0 {
            return Err(invalid("the time to start from lies before 1970"));
        }
        Ok(Reset::Timestamp(epoch_ms))
    }

    /// Are all partitions that it names among those of the topic?
    ///
    /// # Errors
    /// `INVALID_PARAMETER` if not.
    pub fn check_partitions(&self, topic: &str, partitions: &[i32]) -> Result<()> {
        let Reset::Offsets(wanted) = self else { return Ok(()) };
        let Some(unknown) = wanted.keys().find(|partition| !partitions.contains(partition)) else {
            return Ok(());
        };
        let there_are = match partitions {
            [only] => format!("there is only {only}"),
            _ => format!("there are {}", numbers(partitions)),
        };
        let message = format!("topic \"{topic}\" has no partition {unknown}");
        Err(Error::new(SqlState::INVALID_PARAMETER, message)
            .detail(format!("The reset of this start names it; {there_are}.")))
    }
}

/// The error for an offset that a reset names and that the partition, with offsets from `low` to `high`, has not.
pub fn not_there(topic: &str, partition: i32, offset: i64, (low, high): (i64, i64)) -> Error {
    let message = format!(
        "offset {offset} of partition {partition} of topic \"{topic}\" is not on the broker"
    );
    Error::new(SqlState::NO_DATA, message)
        .detail(format!("The broker has offsets {low} to {high}."))
        .hint("Name an offset of these in the reset, or 'earliest' or 'latest'.")
}

/// `0 to 3, 5`.
fn numbers(partitions: &[i32]) -> String {
    let mut sorted = partitions.to_vec();
    sorted.sort_unstable();
    let stretches = sorted.chunk_by(|a, b| a + 1 == *b).map(|stretch| match stretch {
        [first, .., last] => format!("{first} to {last}"),
        _ => stretch.iter().map(i32::to_string).collect(),
    });
    stretches.collect::<Vec<_>>().join(", ")
}

impl TryFrom<Value> for Reset {
    type Error = Error;

    fn try_from(value: Value) -> Result<Reset> {
        match value {
            Value::String(text) => match Start::from_word(&text) {
                Some(Start::Earliest) => Ok(Reset::Earliest),
                Some(Start::Latest) => Ok(Reset::Latest),
                _ => Err(invalid(format!("invalid reset \"{}\"", clip(&text)))),
            },
            Value::Object(object) => match object.get("timestamp") {
                Some(ms) if object.len() == 1 => {
                    Reset::timestamp(ms.as_i64().ok_or_else(|| {
                        invalid("the timestamp of a reset must be milliseconds since 1970")
                    })?)
                }
                _ => offsets(object),
            },
            Value::Number(ms) => match ms.as_i64() {
                Some(ms) if PLAUSIBLE_MS.contains(&ms) => Ok(Reset::Timestamp(ms)),
                _ => Err(invalid(format!("invalid reset {}", clip(&ms.to_string())))
                    .detail("A number is a time in milliseconds since 1970.")),
            },
            _ => Err(invalid("a reset must be a text or a JSON object")),
        }
    }
}

impl From<Reset> for Value {
    fn from(reset: Reset) -> Value {
        match reset {
            Reset::Earliest => EARLIEST.into(),
            Reset::Latest => LATEST.into(),
            Reset::Timestamp(ms) => Map::from_iter([("timestamp".to_owned(), ms.into())]).into(),
            Reset::Offsets(starts) => starts
                .into_iter()
                .map(|(partition, start)| (partition.to_string(), start.into()))
                .collect::<Map<String, Value>>()
                .into(),
        }
    }
}

impl Start {
    fn from_word(text: &str) -> Option<Start> {
        match text.to_ascii_lowercase().as_str() {
            EARLIEST => Some(Start::Earliest),
            LATEST => Some(Start::Latest),
            _ => None,
        }
    }
}

impl From<Start> for Value {
    fn from(start: Start) -> Value {
        match start {
            Start::Earliest => EARLIEST.into(),
            Start::Latest => LATEST.into(),
            Start::Offset(offset) => offset.into(),
        }
    }
}

fn offsets(object: Map<String, Value>) -> Result<Reset> {
    if object.is_empty() {
        return Err(invalid("the reset names no partition"));
    }
    let start = |(key, value): (String, Value)| {
        let partition = key
            .parse::<i32>()
            .ok()
            // Only the plain spelling: "00" would name partition 0 a second time.
            .filter(|partition| *partition >= 0 && partition.to_string() == key)
            .ok_or_else(|| invalid(format!("\"{}\" is not a partition number", clip(&key))))?;
        let start = match &value {
            Value::String(text) => Start::from_word(text),
            number => number.as_i64().filter(|offset| *offset >= 0).map(Start::Offset),
        };
        start.map(|start| (partition, start)).ok_or_else(|| {
            invalid(format!(
                "partition {partition} must start at an offset, \"{EARLIEST}\" or \"{LATEST}\""
            ))
        })
    };
    object.into_iter().map(start).collect::<Result<_>>().map(Reset::Offsets)
}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::INVALID_PARAMETER, message).hint(
        "Give 'earliest', 'latest', a time such as '2026-01-31 12:00+00', milliseconds since 1970, or an \
         object of partitions and offsets such as {\"0\": 1234, \"1\": \"earliest\"}.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(reset: &Reset) {
        let text = serde_json::to_string(reset).unwrap();
        assert_eq!(serde_json::from_str::<Reset>(&text).unwrap(), *reset);
        assert_eq!(Reset::parse(&text).unwrap(), *reset);
    }

    #[test]
    fn reads_what_users_write() {
        assert_eq!(Reset::parse(" earliest\n"), Ok(Reset::Earliest));
        assert_eq!(Reset::parse("LATEST"), Ok(Reset::Latest));
        assert_eq!(Reset::parse("\"latest\""), Ok(Reset::Latest));
        assert_eq!(Reset::parse("{\"timestamp\": 1700000000000}"), Reset::timestamp(1700000000000));
        assert_eq!(Reset::parse(" 1600000000000 "), Reset::timestamp(1600000000000));
        let starts = BTreeMap::from([(0, Start::Offset(1234)), (1, Start::Earliest)]);
        assert_eq!(
            Reset::parse("{\"0\": 1234, \"1\": \"earliest\"}"),
            Ok(Reset::Offsets(starts.clone()))
        );
        round_trip(&Reset::Offsets(starts));
        round_trip(&Reset::Timestamp(0));
        round_trip(&Reset::Earliest);
        round_trip(&Reset::Latest);
    }

    #[test]
    fn refuses_the_rest_with_a_hint() {
        for text in [
            "",
            "first",
            "{}",
            "[]",
            "17",
            "1600000000",
            "20260131120000",
            "-1600000000000",
            "1600000000000.5",
            "null",
            "{\"0\": -1}",
            "{\"0\": 1.5}",
            "{\"-1\": 1}",
            "{\"00\": 1}",
            "{\"a\": 1}",
            "{\"0\": null}",
            "{\"0\": \"newest\"}",
            "{\"timestamp\": -1}",
            "{\"timestamp\": 1, \"0\": 1}",
            "{\"0\": 9223372036854775808}",
        ] {
            let error = Reset::parse(text).unwrap_err();
            assert_eq!(error.sqlstate, SqlState::INVALID_PARAMETER, "{text}");
            assert!(error.hint.is_some(), "{text}");
        }
    }

    #[test]
    fn partitions_that_are_not_there_are_told_with_those_that_are() {
        let detail = |reset: &str, partitions: &[i32]| {
            let checked = Reset::parse(reset).unwrap().check_partitions("t", partitions);
            checked.err().map(|error| error.to_string())
        };
        assert_eq!(detail("{\"1\": 5}", &[0, 1]), None);
        assert_eq!(detail("earliest", &[0]), None);
        assert_eq!(
            detail("{\"0\": 1, \"9\": 5}", &[5, 0, 1, 2]).unwrap(),
            "topic \"t\" has no partition 9: The reset of this start names it; there are 0 to 2, 5."
        );
        assert!(detail("{\"9\": 5}", &[0]).unwrap().ends_with("there is only 0."));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}") {
            if let Ok(reset) = Reset::parse(&text) {
                round_trip(&reset);
            }
        }
    }
}
