//! A scan outside a job: reads the asked ranges of the topic up to the end as it stood when the
//! scan began, then stops. Nothing is remembered; no offset moves.

use super::columns::Layout;
use super::formats::Formats;
use super::handover::Position;
use super::needs::Needs;
use super::reader::{Failure, Input, Reader};
use super::source::{self, TopicOptions};
use crate::gucs;
use crate::pg::fdw::{Bound, RangeOp, Table};
use crate::pg::signals;
use crate::pg::spi::UnixMicros;
use gpss_kafka::{Consumer, TopicFound, no_leader};
use gpss_model::block::{Block, MessageSpans};
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::partitions::Partitions;
use gpss_model::reset::{self, Reset, Start};
use pgrx::pg_sys::Oid;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long the brokers have for each question before the first row.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);
/// The main thread looks for interrupts at least this often while it waits.
const WAIT: Duration = Duration::from_millis(1000);

pub struct TopicScan {
    table: Table,
    topic: String,
    /// The table's choice of partitions.
    partitions: Option<Partitions>,
    /// Where to begin instead of at the oldest message, as far as the broker has it.
    from: BTreeMap<i32, i64>,
    /// Those of these partitions and offsets that have to be there.
    reset: Option<Reset>,
    user: Oid,
    needs: Needs,
    limits: Limits,
    /// What is read, resolved at the first row: partition → from, up to (exclusive).
    ranges: Option<BTreeMap<i32, (i64, i64)>>,
    metadata: Metadata,
    reader: Option<Reader>,
    /// Partitions whose end has not been reached.
    open: BTreeMap<i32, i64>,
    block: Option<(Arc<Block>, usize)>,
}

impl TopicScan {
    pub fn new(table: &Table, source: &TopicOptions, user: Oid, needs: Needs) -> TopicScan {
        TopicScan {
            table: table.clone(),
            topic: source.topic.clone(),
            partitions: source.partitions.clone(),
            from: BTreeMap::new(),
            reset: None,
            user,
            needs,
            limits: Limits::default(),
            ranges: None,
            metadata: Metadata::default(),
            reader: None,
            open: BTreeMap::new(),
            block: None,
        }
    }

    /// The same from these offsets on, of which a reset has named some.
    pub fn starting_at(self, from: &BTreeMap<i32, i64>, reset: Option<&Reset>) -> TopicScan {
        TopicScan { from: from.clone(), reset: reset.cloned(), ..self }
    }

    pub fn rescan(&mut self, new_bounds: bool) {
        // The same ranges again give the same rows, without keeping them.
        self.reader = None;
        self.block = None;
        if new_bounds {
            self.ranges = None;
        }
    }

    /// The block that `next` has found the last message in.
    pub fn block(&self) -> Option<&Arc<Block>> {
        self.block.as_ref().map(|(rows, _)| rows)
    }

    /// The next message within the ranges: its index in the block, a new one of which is shown first.
    pub fn next(
        &mut self,
        bounds: &[Bound],
        show: &mut dyn FnMut(&Arc<Block>),
    ) -> Result<Option<usize>> {
        if self.reader.is_none() && self.block.is_none() {
            self.start(bounds)?;
        }
        loop {
            if let Some((rows, next)) = &mut self.block {
                while let Some(row) = rows.row(*next) {
                    let index = *next;
                    *next += 1;
                    let Some(end) = self.open.get(&row.partition).copied() else { continue };
                    if row.offset + 1 >= end {
                        self.open.remove(&row.partition);
                    }
                    if row.offset < end && self.limits.wants(row) {
                        return Ok(Some(index));
                    }
                }
                self.block = None;
            }
            if self.open.is_empty() {
                self.reader = None;
                return Ok(None);
            }
            let Some(reader) = &mut self.reader else { return Ok(None) };
            match reader.try_next()? {
                Some(Input::Block { rows, .. }) => {
                    let rows = Arc::new(rows);
                    show(&rows);
                    self.block = Some((rows, 0));
                }
                Some(Input::End { partition, offset }) => {
                    if self.open.get(&partition).is_some_and(|end| offset >= *end) {
                        self.open.remove(&partition);
                    }
                }
                Some(Input::Topic(_) | Input::Recovered | Input::Notice(_)) => {}
                Some(Input::Trouble(error) | Input::Waiting { error, .. }) => return Err(error),
                Some(Input::Failed(Failure::Other(error) | Failure::Unknown(error))) => {
                    return Err(error);
                }
                Some(Input::Failed(Failure::OffsetGone { partition })) => {
                    return Err(Error::new(
                        SqlState::FDW_ERROR,
                        format!("messages of partition {partition} were deleted during the scan"),
                    )
                    .hint("Kafka's retention removed them. Repeat the query."));
                }
                None => {
                    reader.wait(WAIT);
                    signals::check_for_interrupts();
                }
            }
        }
    }

    fn start(&mut self, bounds: &[Bound]) -> Result<()> {
        let mut client = Client { table: &self.table, user: self.user, consumer: None };
        if self.ranges.is_none() {
            self.limits = self.limits(bounds);
            self.limits.chosen = self.partitions.clone();
            let ranges =
                self.metadata.resolve(&mut client, &self.topic, &self.from, &self.limits)?;
            if let Some(reset) = &self.reset {
                self.metadata.check(&self.topic, reset)?;
            }
            self.ranges = Some(ranges);
        }
        let ranges = self.ranges.iter().flatten();
        self.open = ranges.clone().map(|(p, (_, end))| (*p, *end)).collect();
        let starts: Vec<Position> = ranges.map(|(p, (start, _))| (*p, *start)).collect();
        if starts.is_empty() {
            return Ok(());
        }
        let budget = gucs::buffer_bytes();
        let layout = Layout::of(&self.table)?;
        let formats = Formats::of(&self.table, &layout, self.user)?;
        let decoding = (&formats, &self.needs);
        let consumer = client.into_consumer()?;
        self.reader =
            Some(Reader::start(consumer, &self.topic, &starts, decoding, budget, (None, None))?);
        Ok(())
    }

    /// The bounds sorted by what their column holds.
    fn limits(&self, bounds: &[Bound]) -> Limits {
        let mut limits = Limits::default();
        for bound in bounds {
            let column = self.table.columns.iter().find(|c| c.attnum == bound.attnum);
            match column.and_then(|c| c.option("source")) {
                Some("partition") => limits.partitions.push(bound.clone()),
                Some("offset") => limits.offset(bound),
                Some("timestamp") => limits.timestamp(bound),
                _ => {}
            }
        }
        limits
    }
}

/// What the bounds of a scan leave to be read. They are hints: the executor checks each row again.
#[derive(Debug)]
struct Limits {
    chosen: Option<Partitions>,
    partitions: Vec<Bound>,
    offsets: Vec<Bound>,
    from: i64,
    /// Exclusive.
    to: i64,
    /// Milliseconds since the Unix epoch: messages before the first one of this age are not read.
    since: Option<i64>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            chosen: None,
            partitions: vec![],
            offsets: vec![],
            from: 0,
            to: i64::MAX,
            since: None,
        }
    }
}

impl Limits {
    fn offset(&mut self, bound: &Bound) {
        self.offsets.push(bound.clone());
        let (Some(low), Some(high)) = (bound.values.iter().min(), bound.values.iter().max()) else {
            // Compared with NULL: no row.
            self.to = 0;
            return;
        };
        match bound.op {
            RangeOp::Equal => {
                self.from = self.from.max(*low);
                self.to = self.to.min(high.saturating_add(1));
            }
            RangeOp::GreaterOrEqual => self.from = self.from.max(*low),
            RangeOp::Greater => self.from = self.from.max(low.saturating_add(1)),
            RangeOp::Less => self.to = self.to.min(*high),
            RangeOp::LessOrEqual => self.to = self.to.min(high.saturating_add(1)),
            RangeOp::NotEqual => {}
        }
    }

    /// Only a lower bound helps: timestamps need not rise with the offset, and the broker answers
    /// "the first message that is not older" (KIP-79).
    fn timestamp(&mut self, bound: &Bound) {
        if matches!(bound.op, RangeOp::Equal | RangeOp::GreaterOrEqual | RangeOp::Greater)
            && let Some(us) = bound.values.iter().min()
        {
            let ms = UnixMicros::from_postgres(*us).0.div_euclid(1000);
            self.since = Some(self.since.map_or(ms, |since| since.max(ms)));
        }
    }

    fn wants_partition(&self, partition: i32) -> bool {
        self.chosen.as_ref().is_none_or(|chosen| chosen.contains(partition))
            && self.partitions.iter().all(|bound| bound.admits(partition.into()))
    }

    /// Can this message satisfy the scan's partition and offset conditions? Others are skipped before
    /// conversion, so that `WHERE "offset" <> n` excludes a message that does not parse.
    fn wants(&self, row: &MessageSpans) -> bool {
        self.wants_partition(row.partition)
            && self.offsets.iter().all(|bound| bound.admits(row.offset))
    }
}

/// A client that is made when it is needed.
struct Client<'a> {
    table: &'a Table,
    user: Oid,
    consumer: Option<Consumer>,
}

impl Client<'_> {
    fn consumer(&mut self) -> Result<&Consumer> {
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => Consumer::open(&source::properties(self.table, self.user)?)?,
        };
        Ok(self.consumer.insert(consumer))
    }

    fn into_consumer(mut self) -> Result<Consumer> {
        self.consumer()?;
        self.consumer.ok_or_else(|| Error::new(SqlState::INTERNAL, "no client"))
    }
}

/// What the brokers have answered, each asked for once: a scan that begins again with other bounds, for each row of another
/// relation perhaps, ends where it would have ended the first time.
#[derive(Default)]
struct Metadata {
    topic: Option<TopicFound>,
    /// Of those that were asked for: oldest offset and end.
    marks: BTreeMap<i32, (i64, i64)>,
    /// The time last asked for, and the first offset that is not older, by partition.
    at_time: Option<(i64, BTreeMap<i32, Option<i64>>)>,
}

impl Metadata {
    /// Partition → first and last (exclusive) offset to read; partitions with nothing to read are left
    /// out.
    fn resolve(
        &mut self,
        client: &mut Client<'_>,
        topic: &str,
        from: &BTreeMap<i32, i64>,
        limits: &Limits,
    ) -> Result<BTreeMap<i32, (i64, i64)>> {
        let cancelled = signals::is_over;
        let found = match self.topic.take() {
            Some(found) => found,
            None => client.consumer()?.topic(topic, METADATA_TIMEOUT, &cancelled)?,
        };
        let found = self.topic.insert(found);
        if let Some(chosen) = &limits.chosen {
            chosen.check(topic, &found.partitions)?;
        }
        let mut wanted = found.partitions.clone();
        wanted.retain(|partition| limits.wants_partition(*partition));
        if let Some(partition) = wanted.iter().find(|partition| !found.has_leader(**partition)) {
            return Err(no_leader(topic, *partition));
        }
        let mut ranges = BTreeMap::new();
        for partition in &wanted {
            let (low, high) = match self.marks.get(partition) {
                Some(marks) => *marks,
                None => client.consumer()?.watermarks(
                    topic,
                    *partition,
                    METADATA_TIMEOUT,
                    &cancelled,
                )?,
            };
            self.marks.insert(*partition, (low, high));
            let begin = from.get(partition).copied().filter(|from| (low..=high).contains(from));
            let begin = limits.from.max(begin.unwrap_or(low));
            ranges.insert(*partition, (begin, limits.to.min(high)));
        }
        if let Some(since) = limits.since {
            let known = self.at_time.take().filter(|(time, _)| *time == since);
            let (_, offsets) = self.at_time.insert(known.unwrap_or((since, BTreeMap::new())));
            let mut unknown = wanted;
            unknown.retain(|partition| !offsets.contains_key(partition));
            if !unknown.is_empty() {
                offsets.extend(client.consumer()?.offsets_for_time(
                    topic,
                    since,
                    &unknown,
                    METADATA_TIMEOUT,
                    &cancelled,
                )?);
            }
            for (partition, offset) in offsets {
                if let Some((from, to)) = ranges.get_mut(partition) {
                    // No message at or after the timestamp: nothing to read.
                    *from = (*from).max(offset.unwrap_or(*to));
                }
            }
        }
        ranges.retain(|_, (from, to)| from < to);
        Ok(ranges)
    }

    /// Is there what a reset names, as far as it was asked for?
    fn check(&self, topic: &str, reset: &Reset) -> Result<()> {
        let partitions = self.topic.iter().flat_map(|found| &found.partitions);
        reset.check_partitions(topic, &partitions.copied().collect::<Vec<_>>())?;
        let Reset::Offsets(starts) = reset else { return Ok(()) };
        for (partition, start) in starts {
            if let (Start::Offset(offset), Some((low, high))) = (start, self.marks.get(partition))
                && !(low..=high).contains(&offset)
            {
                return Err(reset::not_there(topic, *partition, *offset, (*low, *high)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(op: RangeOp, values: &[i64]) -> Bound {
        Bound { attnum: 1, op, values: values.to_vec() }
    }

    #[test]
    fn offsets_narrow_from_both_sides() {
        let mut limits = Limits::default();
        limits.offset(&bound(RangeOp::Greater, &[9]));
        limits.offset(&bound(RangeOp::LessOrEqual, &[19]));
        assert_eq!((limits.from, limits.to), (10, 20));
        limits.offset(&bound(RangeOp::Equal, &[12, 15]));
        assert_eq!((limits.from, limits.to), (12, 16));
        limits.offset(&bound(RangeOp::Less, &[]));
        assert_eq!(limits.to, 0);
    }

    #[test]
    fn extreme_offsets_do_not_overflow() {
        let mut limits = Limits::default();
        limits.offset(&bound(RangeOp::Greater, &[i64::MAX]));
        limits.offset(&bound(RangeOp::LessOrEqual, &[i64::MAX]));
        assert_eq!((limits.from, limits.to), (i64::MAX, i64::MAX));
    }

    #[test]
    fn partitions_are_chosen_by_every_bound() {
        let mut limits = Limits::default();
        limits.partitions.push(bound(RangeOp::Equal, &[1, 2, 5]));
        limits.partitions.push(bound(RangeOp::Less, &[5]));
        let chosen: Vec<i32> = (0..8).filter(|p| limits.wants_partition(*p)).collect();
        assert_eq!(chosen, [1, 2]);
    }

    #[test]
    fn timestamps_bound_from_below_only() {
        let mut limits = Limits::default();
        limits.timestamp(&bound(RangeOp::Less, &[0]));
        assert_eq!(limits.since, None);
        limits.timestamp(&bound(RangeOp::GreaterOrEqual, &[1_500]));
        assert_eq!(limits.since, Some(946_684_800_001));
    }
}
