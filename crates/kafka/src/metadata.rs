//! Questions to the brokers, asked in slices of 100 ms so that they can be cancelled.
//!
//! librdkafka's admin requests are used because their answer comes to a queue: the blocking calls
//! would have to be repeated for each slice, and a broker slower than a slice would never answer.

use super::consumer::{Consumer, SLICE, topic_name};
use super::fault::{Fault, NO_TOKEN};
use super::native::{Answer, EARLIEST, LATEST, PartitionOffsets, Queue, TopicFound};
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::suggest;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::time::{Duration, Instant};

/// How long a hint may take: the main thread cannot be interrupted meanwhile.
const NAMES_TIMEOUT: Duration = Duration::from_secs(1);

/// The topic that a name most likely stands for: letters of another case come first.
fn similar<'a>(topic: &str, names: &'a [String]) -> Option<&'a str> {
    let same = |name: &&String| name.to_lowercase() == topic.to_lowercase();
    let other_case = names.iter().find(same).map(String::as_str);
    other_case.or_else(|| {
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        // Kafka's own topics begin so.
        names.retain(|name| !name.starts_with("__"));
        names.sort_unstable();
        suggest::nearest(topic, names)
    })
}

/// Topics that a hint names at most.
const NAMED: usize = 10;

/// What topics there are instead: the one that is meant, or else all; None when there are none.
fn known(topic: &str, names: &[String]) -> Option<String> {
    if let Some(near) = similar(topic, names) {
        return Some(format!("There is a topic \"{near}\"."));
    }
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.retain(|name| !name.starts_with("__"));
    names.sort_unstable();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!names.is_empty()).then(|| format!("There are the topics {}{more}.", names.join(", ")))
}

/// A partition that has no leader can be neither read nor asked.
pub fn no_leader(topic: &str, partition: i32) -> Error {
    Error::new(
        SqlState::CONNECTION_FAILURE,
        format!("partition {partition} of Kafka topic \"{topic}\" has no leader"),
    )
    .hint("Start the brokers that have its replicas, or see what their logs say of it.")
}

/// All functions wait for `timeout` at most and look at `cancelled` every 100 ms; it may as well leave
/// by a panic.
///
/// # Errors
/// 08006 when no broker answers, 28000 when they refuse the credentials, 42501 without the ACL,
/// 42704 for an unknown topic or partition, 57014 when cancelled.
impl Consumer {
    /// The topic's id and its partitions. Never creates the topic. One that is not there gets the name
    /// of the nearest that is as a hint.
    pub fn topic(
        &self,
        topic: &str,
        timeout: Duration,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<TopicFound> {
        self.describe(topic, timeout, cancelled).map_err(|error| {
            if error.sqlstate != SqlState::UNDEFINED_OBJECT {
                return error;
            }
            let names = self.session.client.topic_names(timeout.min(NAMES_TIMEOUT));
            match names.as_ref().and_then(|names| known(topic, names)) {
                Some(known) => error.hint(known),
                None => error,
            }
        })
    }

    /// As `topic`, without the hint, which has the brokers list all topics.
    pub fn describe(
        &self,
        topic: &str,
        timeout: Duration,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<TopicFound> {
        let name = topic_name(topic)?;
        let answer = self.ask(
            timeout,
            cancelled,
            |queue| queue.describe_topic(&name, timeout),
            |answer| match answer {
                Answer::Topic(found) => Some(found),
                _ => None,
            },
        )?;
        answer.map_err(|fault| {
            let what = if fault.code == Code::UnknownTopicOrPartition {
                format!("Kafka topic \"{topic}\" does not exist")
            } else {
                format!("cannot get the partitions of Kafka topic \"{topic}\"")
            };
            self.failed(&fault, timeout, &what)
        })
    }

    /// A partition's first offset and its end: the last stable offset, unless isolation.level is
    /// read_uncommitted.
    pub fn watermarks(
        &self,
        topic: &str,
        partition: i32,
        timeout: Duration,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(i64, i64)> {
        let offset = |what| -> Result<i64> {
            let found = self.offsets(topic, &[partition], what, timeout, cancelled)?;
            Ok(found.first().map_or(0, |(_, offset)| *offset))
        };
        Ok((offset(EARLIEST)?, offset(LATEST)?))
    }

    /// The ends of partitions, as `watermarks` has them; those are left out whose leaders do not tell.
    ///
    /// # Errors
    /// Also when one of them has no leader.
    pub fn ends(
        &self,
        topic: &str,
        partitions: &[i32],
        timeout: Duration,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Vec<(i32, i64)>> {
        if partitions.is_empty() {
            return Ok(vec![]);
        }
        let answer = self.list_offsets(topic, partitions, LATEST, timeout, cancelled)?;
        let ends = answer.map_err(|fault| self.no_offsets(&fault, topic, partitions, timeout))?;
        Ok(ends.into_iter().filter_map(|(p, end)| Some((p, end.ok()?))).collect())
    }

    /// Per partition the offset of the first message that is not older than `ms`, in milliseconds
    /// since the Unix epoch; None when there is none.
    pub fn offsets_for_time(
        &self,
        topic: &str,
        ms: i64,
        partitions: &[i32],
        timeout: Duration,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Vec<(i32, Option<i64>)>> {
        // Negative times would be taken for EARLIEST and LATEST.
        let found = self.offsets(topic, partitions, ms.max(0), timeout, cancelled)?;
        Ok(found.into_iter().map(|(p, offset)| (p, (offset >= 0).then_some(offset))).collect())
    }

    /// The id of the cluster; None when its brokers have none.
    pub fn cluster_id(
        &self,
        timeout: Duration,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<String>> {
        self.ask(
            timeout,
            cancelled,
            |queue| queue.describe_cluster(timeout),
            |answer| match answer {
                Answer::ClusterId(id) => Some(id),
                _ => None,
            },
        )?
        .map_err(|fault| self.failed(&fault, timeout, "cannot reach the Kafka cluster"))
    }

    fn offsets(
        &self,
        topic: &str,
        partitions: &[i32],
        what: i64,
        timeout: Duration,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Vec<(i32, i64)>> {
        let failed = |fault: Fault| self.no_offsets(&fault, topic, partitions, timeout);
        let answer = self.list_offsets(topic, partitions, what, timeout, cancelled)?;
        let offsets = answer.map_err(failed)?;
        offsets.into_iter().map(|(p, offset)| Ok((p, offset.map_err(failed)?))).collect()
    }

    fn list_offsets(
        &self,
        topic: &str,
        partitions: &[i32],
        what: i64,
        timeout: Duration,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Result<PartitionOffsets, Fault>> {
        let name = topic_name(topic)?;
        let committed = self.reads_committed;
        self.ask(
            timeout,
            cancelled,
            |queue| queue.list_offsets(&name, partitions, what, committed, timeout),
            |answer| match answer {
                Answer::Offsets(offsets) => Some(offsets),
                _ => None,
            },
        )
    }

    fn no_offsets(
        &self,
        fault: &Fault,
        topic: &str,
        partitions: &[i32],
        timeout: Duration,
    ) -> Error {
        let of = match partitions {
            [partition] => format!("partition {partition} of "),
            _ => String::new(),
        };
        let what = format!("cannot get the offsets of {of}Kafka topic \"{topic}\"");
        self.failed(fault, timeout, &what)
    }

    /// Sends a question and waits for the answer that `read` recognises.
    fn ask<T>(
        &self,
        timeout: Duration,
        cancelled: &dyn Fn() -> bool,
        send: impl FnOnce(&Queue),
        read: impl Fn(Answer) -> Option<Result<T, Fault>>,
    ) -> Result<Result<T, Fault>> {
        let queue = Queue::new(&self.session.client);
        send(&queue);
        // librdkafka keeps the timeout itself, a little late.
        let deadline = Instant::now() + timeout + SLICE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Some(result) = queue.poll(left.min(SLICE)).and_then(&read) {
                if result.is_ok() {
                    self.notices.borrow_mut().connected();
                }
                return Ok(result);
            }
            self.serve();
            if let Some(refused) = self.notices.borrow().refused() {
                return Ok(Err(refused.clone()));
            }
            if cancelled() {
                return Err(Error::new(
                    SqlState::QUERY_CANCELED,
                    "canceling the request to Kafka due to user request",
                ));
            }
            if left.is_zero() {
                return Ok(Err(Fault { code: Code::OperationTimedOut, text: String::new() }));
            }
        }
    }

    /// The error for a failed question. A timeout is explained by what librdkafka last said about
    /// the connection.
    fn failed(&self, fault: &Fault, timeout: Duration, what: &str) -> Error {
        self.serve();
        if fault.code != Code::OperationTimedOut {
            return fault.error(what, &self.brokers);
        }
        self.notices.borrow().failure(what, &self.brokers).unwrap_or_else(|| {
            let or = if self.properties.asks_for_tokens() {
                format!(", or {NO_TOKEN},")
            } else {
                String::new()
            };
            let text = format!("No broker answered{or} within {} ms", timeout.as_millis());
            Fault { code: fault.code, text }.error(what, &self.brokers)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_in_another_case_is_found_before_a_similar_one() {
        let names = ["goods", "GOOD", "__consumer_offsets", "other"].map(str::to_owned);
        assert_eq!(similar("Good", &names), Some("GOOD"));
        assert_eq!(similar("god", &names), Some("GOOD"));
        assert_eq!(similar("_consumer_offsets", &names), None);
        assert_eq!(similar("something", &names), None);
        let said = |topic, names| known(topic, names).unwrap_or_default();
        assert_eq!(said("Good", &names), "There is a topic \"GOOD\".");
        assert_eq!(said("something", &names), "There are the topics GOOD, goods, other.");
        assert_eq!(said("something", &names[2..3]), "");
        let many: Vec<String> = (10..30).map(|n| format!("topic{n}")).collect();
        assert!(
            said("x", &many).ends_with("topic18, topic19 and 10 more."),
            "{}",
            said("x", &many)
        );
    }
}
