//! Collects the next batch from the reader, before any transaction begins.

use crate::error::Error;
use crate::error::Result;
use crate::fdw::batch::{Batch, Part};
use crate::fdw::reader::{Failure, Input, Reader};
use crate::pg::{caught, signals};
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
}

/// A closed batch: its messages and what it does to the offsets.
#[derive(Debug)]
pub struct Collected {
    pub batch: Batch,
    pub from: Offsets,
    pub to: Offsets,
    pub high: Offsets,
    pub started: Instant,
    pub reason: EndReason,
}

/// What the loader has to do next.
#[derive(Debug)]
pub enum Next {
    Load(Collected),
    /// Once: messages can be read. Once: all of them have been, and there was none to load.
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
    /// The topic has these partitions now.
    Partitions(Vec<i32>),
    /// The brokers cannot be reached; librdkafka goes on trying.
    Trouble(Error),
    /// They can be reached again.
    Recovered,
    /// A partition cannot be read on.
    Failed(Failure),
}

/// The longest wait without any event: only a safety net, events wake the process.
const IDLE: Duration = Duration::from_secs(60);

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
            failure: None,
            ended: BTreeSet::new(),
            told: (false, false),
        }
    }

    /// Reads further partitions.
    pub fn add(&mut self, positions: &Offsets) {
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
            self.fill(limits);
            if let Some(reason) = self.full(limits) {
                return Ok(Next::Load(self.close(reason)));
            }
            if self.ends_reached() {
                let moved = self.next != self.stored;
                return Ok(if moved {
                    Next::Load(self.close(EndReason::Eof))
                } else {
                    Next::Finished
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
                    self.high.extend(high);
                    let range = 0..rows.len();
                    self.waiting.push_back(Part { rows: Arc::new(rows), range });
                    if !std::mem::replace(&mut self.told.0, true) {
                        return Ok(Next::Alive { idle: false });
                    }
                }
                Some(Input::End { partition, offset }) => {
                    self.ended.insert(partition);
                    if let Some(next) = self.next.get_mut(&partition) {
                        *next = (*next).max(offset);
                        self.high.insert(partition, *next);
                    }
                }
                Some(Input::Partitions(partitions)) => return Ok(Next::Partitions(partitions)),
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
        self.stored.extend(&collected.to);
        self.reader.commit(collected.to.into_iter().collect());
        for rows in collected.batch.into_blocks() {
            self.reader.recycle(rows);
        }
    }

    fn wait(&self, limits: Limits) {
        let left = self.started.map_or(IDLE, |at| limits.interval.saturating_sub(at.elapsed()));
        let ask = limits.ask.filter(|_| self.ends.is_none());
        let times = [limits.until, ask].into_iter().flatten();
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
            && ends.iter().all(|(partition, end)| self.next.get(partition).is_none_or(|n| n >= end))
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
            reason,
        }
    }
}
