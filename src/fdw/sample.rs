//! The next messages of a topic as a batch, read in a user's session: to be looked at, not loaded.

use super::batch::{Batch, Part};
use super::formats::Formats;
use super::reader::{Failure, Input, Reader};
use super::session::{Needs, Position};
use super::source::{self, KafkaSource};
use crate::error::{Error, Result, SqlState};
use crate::gucs;
use crate::kafka::Consumer;
use crate::pg::fdw::Table;
use crate::pg::signals;
use pgrx::pg_sys::Oid;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long the brokers have for each question.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);
const WAIT: Duration = Duration::from_millis(1000);

/// At most `count` messages from `next` on, or from the oldest one where it says nothing or its
/// offset is gone; fewer when the topic ends before.
///
/// # Errors
/// As a scan of the table.
pub fn take(
    table: &Table,
    user: Oid,
    next: &BTreeMap<i32, i64>,
    decoding: (&Formats, &Needs),
    count: usize,
) -> Result<Batch> {
    let KafkaSource { topic, partitions: chosen, .. } = KafkaSource::of(table)?;
    let consumer = Consumer::open(&source::properties(table, user)?)?;
    let cancelled = signals::interrupt_pending;
    let mut ends = BTreeMap::new();
    let mut starts: Vec<Position> = vec![];
    for partition in consumer.partitions(&topic, METADATA_TIMEOUT, &cancelled)? {
        if chosen.as_ref().is_some_and(|chosen| !chosen.contains(partition)) {
            continue;
        }
        let (low, high) = consumer.watermarks(&topic, partition, METADATA_TIMEOUT, &cancelled)?;
        let wanted = next.get(&partition).copied().filter(|next| (low..=high).contains(next));
        let start = wanted.unwrap_or(low);
        if start < high {
            ends.insert(partition, high);
            starts.push((partition, start));
        }
    }
    signals::check_for_interrupts();
    let mut batch = Batch::default();
    if starts.is_empty() {
        return Ok(batch);
    }
    let budget = gucs::buffer_bytes();
    let mut reader = Reader::start(consumer, &topic, &starts, decoding, budget, false)?;
    while batch.messages() < count && !ends.is_empty() {
        match reader.try_next()? {
            Some(Input::Block { rows, .. }) => {
                for row in (0..rows.len()).filter_map(|i| rows.row(i)) {
                    if ends.get(&row.partition).is_some_and(|end| row.offset + 1 >= *end) {
                        ends.remove(&row.partition);
                    }
                }
                batch.take(&mut Part { range: 0..rows.len(), rows: Arc::new(rows) }, count);
            }
            Some(Input::End { partition, offset }) => {
                if ends.get(&partition).is_some_and(|end| offset >= *end) {
                    ends.remove(&partition);
                }
            }
            Some(Input::Partitions(_) | Input::Recovered | Input::Notice(_)) => {}
            Some(Input::Trouble(error) | Input::Failed(Failure::Other(error))) => {
                return Err(error);
            }
            Some(Input::Failed(Failure::OffsetGone { partition })) => {
                return Err(Error::new(
                    SqlState::FDW_ERROR,
                    format!("messages of partition {partition} were deleted meanwhile"),
                )
                .hint("Kafka's retention removed them. Try again."));
            }
            None => {
                reader.wait(WAIT);
                signals::check_for_interrupts();
            }
        }
    }
    Ok(batch)
}
