//! Collects the next batch from the reader, before any transaction begins.

use crate::fdw::batch::{Batch, Part};
use crate::fdw::reader::{Failure, Input, Reader};
use crate::pg::{caught, signals};
use gpss_kafka::{TopicFound, no_leader};
use gpss_model::error::Error;
use gpss_model::error::Result;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Partition → offset.
pub type Offsets = BTreeMap<i32, i64>;

/// Why a batch was closed; `gpss.batches.end_reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// MAX_ROW messages.
    Rows,
    /// The memory bound gpss.batch_size.
    Bytes,
    /// MINIMAL_INTERVAL has passed since the first message.
    Interval,
    /// Everything that was there when the run began has been read (quit_at_eof).
    Eof,
    /// No message, but the end has moved over offsets that carry none (transaction markers), or is
    /// lower than it was said to be (an open transaction).
    Gap,
    /// RUNNING_DURATION is over.
    Duration,
    /// What follows cannot be read now.
    Failure,
}

impl EndReason {
    pub fn as_str(self) -> &'static str {
        match self {
            EndReason::Rows => "max_row",
            EndReason::Bytes => "batch_size",
            EndReason::Interval => "interval",
            EndReason::Eof => "eof",
            EndReason::Gap => "gap",
            EndReason::Duration => "running_duration",
            EndReason::Failure => "failure",
        }
    }
}

/// The bounds of a batch; the first that is reached closes it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub messages: usize,
    pub bytes: usize,
    pub interval: Duration,
    /// When the session ends: the last batch is closed then.
    pub until: Option<Instant>,
    /// When to ask whether the session shall end at the topic's end.
    pub ask: Option<Instant>,
    /// When to ask again for partitions that could not be asked for.
    pub again: Option<Instant>,
}

/// A closed batch: its messages and what it does to the offsets.
#[derive(Debug)]
pub struct Collected {
    pub batch: Batch,
    pub from: Offsets,
    pub to: Offsets,
    pub high: Offsets,
    pub started: Instant,
    /// Until then ends were heard of.
    pub closed: Instant,
    pub reason: EndReason,
}

/// What the loader has to do next.
#[derive(Debug)]
pub enum Next {
    Load(Collected),
    /// Sent twice at most: when the first block arrives, and (`idle`) when every partition has been
    /// read to its end with nothing to load.
    Alive {
        idle: bool,
    },
    /// Everything has been read (quit_at_eof).
    Finished,
    /// The process was told to stop.
    Stopped,
    /// `Limits::until` has come, and everything taken before is committed.
    TimeUp,
    /// `Limits::ask` has come, and no end is known.
    Ask,
    /// The topic has other partitions now, or others of them have a leader.
    Topic(TopicFound),
    /// `Limits::again` has come.
    Again,
    /// Other partitions than before cannot be read at present: see `Feed::waits`.
    Waits,
    /// The ends of partitions, which the views do not show yet.
    Watermarks(Offsets),
    /// The brokers cannot be reached; librdkafka goes on trying.
    Trouble(Error),
    /// They can be reached again.
    Recovered,
    /// A partition cannot be read on.
    Failed(Failure),
}

/// The longest wait without any event: only a safety net, events wake the process.
const IDLE: Duration = Duration::from_secs(60);

/// How often the views are told of ends that no batch tells them of, such as those of partitions whose
/// batch is still being collected or takes long to load.
const SHOW: Duration = Duration::from_secs(2);

/// Why a partition cannot be read at present.
#[derive(Debug)]
struct Wait {
    error: Error,
    /// Messages or an end of the partition show that this is over.
    until_read: bool,
}

fn has_come(at: Option<Instant>) -> bool {
    at.is_some_and(|at| Instant::now() >= at)
}

/// A reader and the batch that is being collected from it.
pub struct Feed {
    reader: Reader,
    /// Taken from the reader, not yet in a batch.
    waiting: VecDeque<Part>,
    batch: Batch,
    started: Option<Instant>,
    /// Committed, or where the session began.
    stored: Offsets,
    /// Next to read after the batch being collected.
    next: Offsets,
    high: Offsets,
    /// The ends of the partitions as the views have them.
    shown: Offsets,
    shown_at: Instant,
    waits: BTreeMap<i32, Wait>,
    /// They have changed since they were last told.
    waits_changed: bool,
    /// Where to end, when the session shall end at the topic's end.
    ends: Option<Offsets>,
    /// Why nothing more can be read; told when what was read before is committed.
    failure: Option<Failure>,
    /// Partitions whose end has been seen.
    ended: BTreeSet<i32>,
    /// `Next::Alive` has been told, with messages and without.
    told: (bool, bool),
}

impl Feed {
    /// `ends`: the partitions' ends as they are stored with the positions.
    pub fn new(reader: Reader, positions: Offsets, ends: Offsets, quit_at_eof: bool) -> Feed {
        Feed {
            reader,
            waiting: VecDeque::new(),
            batch: Batch::default(),
            started: None,
            next: positions.clone(),
            stored: positions,
            high: Offsets::new(),
            ends: quit_at_eof.then(|| ends.clone()),
            shown: ends,
            shown_at: Instant::now(),
            waits: BTreeMap::new(),
            waits_changed: false,
            failure: None,
            ended: BTreeSet::new(),
            told: (false, false),
        }
    }

    /// Reads further partitions. Those that the session began without are read to their ends too when it
    /// ends at the topic's end.
    pub fn add(&mut self, positions: &Offsets, ends: &Offsets) {
        for (partition, end) in ends {
            if self.waits.remove(partition).is_some() {
                self.waits_changed = true;
                if let Some(ends) = &mut self.ends {
                    ends.insert(*partition, *end);
                }
            }
        }
        self.shown.extend(ends);
        self.stored.extend(positions);
        self.next.extend(positions);
        self.reader.add(positions.iter().map(|(p, o)| (*p, *o)).collect());
    }

    /// The partitions that are read.
    pub fn partitions(&self) -> Vec<i32> {
        self.next.keys().copied().collect()
    }

    /// From now on the session ends when these offsets are reached.
    pub fn end_at(&mut self, ends: Offsets) {
        self.ends = Some(ends);
    }

    /// Which partitions are read.
    pub fn knows(&self, partition: i32) -> bool {
        self.next.contains_key(&partition)
    }

    /// A partition cannot be asked for at present.
    pub fn wait_for(&mut self, partition: i32, error: Error) {
        self.waits_changed = true;
        self.waits.insert(partition, Wait { error, until_read: false });
    }

    /// Which of these partitions, the session's own, have a leader now?
    pub fn look_at_leaders(&mut self, topic: &str, found: &TopicFound, own: &[i32]) {
        for partition in own {
            let waits = self.waits.get(partition).map(|wait| wait.until_read);
            if !found.has_leader(*partition) {
                if waits != Some(false) {
                    self.wait_for(*partition, no_leader(topic, *partition));
                }
            } else if waits == Some(false) && self.knows(*partition) {
                self.waits_changed = true;
                self.waits.remove(partition);
            }
        }
    }

    /// The partitions that cannot be read at present, and why.
    pub fn waits(&self) -> BTreeMap<i32, Error> {
        self.waits.iter().map(|(partition, wait)| (*partition, wait.error.clone())).collect()
    }

    /// Something of the partition has been read.
    fn is_read(&mut self, partition: i32) {
        if self.waits.get(&partition).is_some_and(|wait| wait.until_read) {
            self.waits_changed = true;
            self.waits.remove(&partition);
        }
    }

    /// Waits for the next thing to do.
    pub fn next(&mut self, limits: Limits) -> Result<Next> {
        loop {
            if signals::stop_requested() {
                return Ok(Next::Stopped);
            }
            if has_come(limits.until) {
                let moved = self.next != self.stored;
                return Ok(if moved {
                    Next::Load(self.close(EndReason::Duration))
                } else {
                    Next::TimeUp
                });
            }
            if self.ends.is_none() && has_come(limits.ask) {
                return Ok(Next::Ask);
            }
            if std::mem::take(&mut self.waits_changed) {
                return Ok(Next::Waits);
            }
            if has_come(limits.again) {
                return Ok(Next::Again);
            }
            self.fill(limits);
            if self.shown_at.elapsed() >= SHOW
                && let Some(higher) = self.unshown()
            {
                self.shown_at = Instant::now();
                self.shown.extend(&higher);
                return Ok(Next::Watermarks(higher));
            }
            if let Some(reason) = self.full(limits) {
                return Ok(Next::Load(self.close(reason)));
            }
            if self.ends_reached() {
                if self.next != self.stored {
                    return Ok(Next::Load(self.close(EndReason::Eof)));
                }
                let unread = self.waits.iter().find(|(partition, _)| !self.has_ended(**partition));
                return Ok(match unread {
                    Some((_, wait)) => Next::Failed(Failure::Other(wait.error.clone())),
                    None => Next::Finished,
                });
            }
            if let Some(failure) = self.failure.take() {
                if self.batch.is_empty() {
                    return Ok(Next::Failed(failure));
                }
                self.failure = Some(failure);
                return Ok(Next::Load(self.close(EndReason::Failure)));
            }
            match self.reader.try_next()? {
                Some(Input::Block { rows, high }) => {
                    for (partition, _) in &high {
                        self.is_read(*partition);
                    }
                    self.heard(&high.into_iter().collect());
                    let range = 0..rows.count();
                    self.waiting.push_back(Part { rows: Arc::new(rows), range });
                    if !std::mem::replace(&mut self.told.0, true) {
                        return Ok(Next::Alive { idle: false });
                    }
                }
                Some(Input::End { partition, offset }) => {
                    self.ended.insert(partition);
                    self.is_read(partition);
                    if let Some(next) = self.next.get_mut(&partition) {
                        *next = (*next).max(offset);
                        self.high.insert(partition, *next);
                    }
                }
                Some(Input::Topic(found)) => return Ok(Next::Topic(found)),
                Some(Input::Waiting { partition, error }) => {
                    let known = self.waits.get(&partition);
                    if known.is_none_or(|wait| wait.until_read && wait.error != error) {
                        self.waits_changed = true;
                        self.waits.insert(partition, Wait { error, until_read: true });
                    }
                }
                Some(Input::Trouble(error)) => return Ok(Next::Trouble(error)),
                Some(Input::Recovered) => return Ok(Next::Recovered),
                Some(Input::Notice(text)) => caught::debug(text),
                Some(Input::Failed(failure)) => self.failure = Some(failure),
                None if self.batch.is_empty() && self.next.keys().any(|p| self.has_moved(*p)) => {
                    return Ok(Next::Load(self.close(EndReason::Gap)));
                }
                None if self.batch.is_empty()
                    && self.ended.len() == self.next.len()
                    && !self.told.1 =>
                {
                    self.told.1 = true;
                    return Ok(Next::Alive { idle: true });
                }
                None => self.wait(limits),
            }
        }
    }

    /// The batch has been committed.
    pub fn committed(&mut self, collected: Collected) {
        for (partition, next) in &collected.to {
            let known = collected.high.get(partition).or_else(|| self.shown.get(partition));
            let high = known.map_or(*next, |high| *high.max(next));
            self.shown.insert(*partition, high);
        }
        self.shown_at = Instant::now();
        self.stored.extend(&collected.to);
        self.reader.commit(collected.to.into_iter().collect());
        for rows in collected.batch.into_blocks() {
            self.reader.recycle(rows);
        }
    }

    /// Ends of partitions, which may be older than those that are known.
    pub fn heard(&mut self, ends: &Offsets) {
        for (partition, end) in
            ends.iter().filter(|(partition, _)| self.next.contains_key(partition))
        {
            let known = self.high.entry(*partition).or_insert(*end);
            *known = (*known).max(*end);
        }
    }

    fn wait(&self, limits: Limits) {
        let left = self.started.map_or(IDLE, |at| limits.interval.saturating_sub(at.elapsed()));
        let ask = limits.ask.filter(|_| self.ends.is_none());
        let show = self.unshown().map(|_| self.shown_at + SHOW);
        let times = [limits.until, ask, limits.again, show].into_iter().flatten();
        let left =
            times.map(|at| at.saturating_duration_since(Instant::now())).fold(left, Ord::min);
        self.reader.wait(left);
        if !signals::stop_requested() {
            signals::check_for_interrupts();
        }
        signals::reload_config_if_asked();
    }

    /// Moves waiting messages into the batch.
    fn fill(&mut self, limits: Limits) {
        while let Some(part) = self.waiting.front_mut() {
            let before = part.range.start;
            let room = self.batch.take(part, limits.messages);
            if part.range.start > before {
                self.started.get_or_insert_with(Instant::now);
            }
            for row in (before..part.range.start).filter_map(|i| part.rows.row(i)) {
                self.next.insert(row.partition, row.offset + 1);
            }
            if part.range.is_empty() {
                self.waiting.pop_front();
            }
            if !room || self.batch.bytes() >= limits.bytes {
                return;
            }
        }
    }

    fn full(&self, limits: Limits) -> Option<EndReason> {
        if self.batch.is_empty() {
            None
        } else if self.batch.messages() >= limits.messages {
            Some(EndReason::Rows)
        } else if self.batch.bytes() >= limits.bytes {
            Some(EndReason::Bytes)
        } else if self.started.is_some_and(|at| at.elapsed() >= limits.interval) {
            Some(EndReason::Interval)
        } else {
            None
        }
    }

    fn ends_reached(&self) -> bool {
        let Some(ends) = &self.ends else { return false };
        self.waiting.is_empty()
            && ends
                .keys()
                .all(|partition| self.has_ended(*partition) || self.waits.contains_key(partition))
    }

    /// Has the partition been read as far as the session shall read it? Not yet, if it could not even be
    /// asked for.
    fn has_ended(&self, partition: i32) -> bool {
        let end = self.ends.as_ref().and_then(|ends| ends.get(&partition));
        match (self.next.get(&partition), end) {
            (Some(next), Some(end)) => next >= end,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// Ends that are higher than the views show.
    fn unshown(&self) -> Option<Offsets> {
        let is_higher =
            |(p, high): &(&i32, &i64)| self.shown.get(p).is_none_or(|shown| shown < high);
        let higher: Offsets = self.high.iter().filter(is_higher).map(|(p, o)| (*p, *o)).collect();
        (!higher.is_empty()).then_some(higher)
    }

    /// Is there something to write for the partition? Its offset has moved, or everything has been
    /// read and the views tell otherwise: what is above is an open transaction's, whose messages
    /// count when it ends.
    fn has_moved(&self, partition: i32) -> bool {
        let of = |offsets: &Offsets| offsets.get(&partition).copied();
        let (next, high) = (of(&self.next), of(&self.high));
        of(&self.stored) != next || (high == next && of(&self.shown) > next)
    }

    fn close(&mut self, reason: EndReason) -> Collected {
        let to: Offsets =
            self.next.iter().filter(|(p, _)| self.has_moved(**p)).map(|(p, o)| (*p, *o)).collect();
        let pick = |from: &Offsets| -> Offsets {
            to.keys().filter_map(|p| from.get(p).map(|o| (*p, *o))).collect()
        };
        Collected {
            from: pick(&self.stored),
            high: pick(&self.high),
            to,
            batch: std::mem::take(&mut self.batch),
            started: self.started.take().unwrap_or_else(Instant::now),
            closed: Instant::now(),
            reason,
        }
    }
}
