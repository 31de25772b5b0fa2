//! A session of a loader: one connection to the brokers, from its positions to whatever ends it. Each event
//! of the feed has a method.

use super::{CLOCK_CHECK, End, Loader, Prepared};
use crate::catalog::processes::LoaderArgs;
use crate::catalog::{offsets, runs};
use crate::fdw::reader::{Failure, Reader};
use crate::fdw::watch::Watch;
use crate::gucs;
use crate::load::Blame;
use crate::pg::tx::tx;
use crate::pg::{activity, caught};
use crate::worker::batch_transaction;
use crate::worker::feed::{Collected, Feed, Limits, Next, Offsets};
use crate::worker::start_offsets::{self, METADATA_TIMEOUT, Resolved, Wanted};
use crate::worker::task;
use gpss_kafka::{Consumer, MetadataAnswers, TopicFound};
use gpss_model::error::{Class, Error, Result, SqlState};
use gpss_model::printable::counted;
use pgrx::pg_sys::Oid;
use std::time::{Duration, Instant};

/// How soon partitions are asked for again whose leader did not answer, at first and at the latest.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// After this many internal errors in a row while loading, one is treated as a message's fault; otherwise a
/// single message could block the job for ever.
const PATIENCE: u32 = 3;
/// After this many (about five minutes), also that of a batch of one message.
const LAST_PATIENCE: u32 = 10;

pub(super) struct Session<'a> {
    loader: &'a mut Loader,
    prepared: &'a Prepared,
    wanted: Wanted<'a>,
    found: TopicFound,
    feed: Feed,
    /// When to look whether the time of day has come at which the job is to end.
    ask: Option<Instant>,
    /// When to ask again for partitions whose leader did not answer, and how long to wait after that.
    again: Option<Instant>,
    patience: Duration,
}

impl<'a> Session<'a> {
    /// Connects, finds out where this slot's partitions begin, and starts to read. The targets `unlogged`
    /// would be emptied by a crash.
    pub(super) fn begin(
        loader: &'a mut Loader,
        prepared: &'a Prepared,
        unlogged: &'a [Oid],
    ) -> Result<Session<'a>> {
        let Prepared { job, run, positioned, loading, properties, source } = prepared;
        activity::set_application_name(&format!("gpss job {}", job.name));
        activity::running(&format!("gpss job \"{}\": connecting to Kafka", job.name));
        let topic = &job.spec.topic;
        let answers = MetadataAnswers::default();
        let consumer = Consumer::open_counting(properties, &answers)?;
        let found = loader.find(job, run, source, &consumer)?;
        if let Some(reset) = &run.reset {
            reset.check_partitions(topic, &found.partitions)?;
        }
        let own = loader.own(&found.partitions, source)?;
        let LoaderArgs { slot, slots, .. } = loader.args;
        let fallback = source.fallback;
        let mut wanted =
            Wanted { job, run, slot, slots, positioned: *positioned, fallback, unlogged };
        let Resolved { positions, ends, waits } =
            start_offsets::resolve(&wanted, &consumer, &found, &own)?;
        wanted.positioned = true;
        let starts: Vec<_> = positions.iter().map(|(p, o)| (*p, *o)).collect();
        let buffer = gucs::buffer_bytes();
        let decoding = &loading.statement.decoding;
        let decoding = (&decoding.formats, &decoding.needs);
        let watch = (Some(Watch::new(topic, found.clone(), answers)), loader.gauge.show());
        let reader = Reader::start(consumer, topic, &starts, decoding, buffer, watch)?;
        let mut feed = Feed::new(reader, positions, ends, run.quit_at_eof);
        for (partition, error) in waits {
            feed.wait_for(partition, error);
        }
        // At once: the time may have come already.
        let ask = quit_after(&wanted).map(|_| Instant::now());
        Ok(Session {
            loader,
            prepared,
            wanted,
            found,
            feed,
            ask,
            again: None,
            patience: ASK_AGAIN.0,
        })
    }

    /// Event after event.
    pub(super) fn run(mut self) -> Result<End> {
        self.loader.waits(&self.feed.waits())?;
        if self.loader.said.is_none() {
            self.loader.running()?;
        }
        loop {
            let job = &self.prepared.job;
            activity::idle(&format!("gpss job \"{}\": waiting for messages", job.name));
            let (limits, feed) = (self.limits(), &mut self.feed);
            let next = self.loader.gauge.rest(|| feed.next(limits))?;
            if let Some(end) = self.take(next)? {
                return Ok(end);
            }
        }
    }

    fn limits(&self) -> Limits {
        let commit = &self.prepared.job.spec.commit;
        let rows = |rows| usize::try_from(rows).unwrap_or(usize::MAX);
        Limits {
            until: self.loader.until,
            ask: self.ask,
            again: self.again,
            messages: commit.max_row.map_or(usize::MAX, rows),
            bytes: gucs::batch_bytes(),
            interval: Duration::from_millis(commit.minimal_interval_ms),
        }
    }

    /// What one event asks for; the session's end, if it is one.
    fn take(&mut self, next: Next) -> Result<Option<End>> {
        match next {
            Next::Load(collected) => return self.load(collected),
            Next::Alive { idle } => self.alive(idle)?,
            Next::Finished => return Ok(Some(End::Finished)),
            Next::Stopped => return Ok(Some(End::Stopped)),
            Next::TimeUp => return Ok(Some(End::TimeUp)),
            Next::Ask => self.ask_the_time()?,
            Next::Topic(found) => {
                self.found = found;
                self.patience = ASK_AGAIN.0;
                self.read_new_partitions()?;
            }
            Next::Again => self.read_new_partitions()?,
            Next::Waits => self.partitions_wait()?,
            Next::Watermarks(high) => self.show_ends(&high)?,
            Next::Trouble(error) => self.trouble(error)?,
            Next::Recovered => self.recovered()?,
            Next::Failed(failure) => return Err(failed(failure)),
        }
        Ok(None)
    }

    fn load(&mut self, collected: Collected) -> Result<Option<End>> {
        let Prepared { job, run, loading, .. } = self.prepared;
        let loader = &mut *self.loader;
        let messages = collected.batch.messages();
        activity::running(&format!(
            "gpss job \"{}\": loading {}",
            job.name,
            counted(messages, "message")
        ));
        let after = loader.post_batch.due(&job.spec.task);
        let blame = match loader.internal {
            ..PATIENCE => Blame::Data,
            PATIENCE..LAST_PATIENCE => Blame::Internal,
            LAST_PATIENCE.. => Blame::InternalAlone,
        };
        let loaded = batch_transaction::load(job, run, loading, &collected, blame, &|tx| {
            after.map_or(Ok(()), |sql| task::post_batch(tx, sql))
        });
        if let Err(error) = &loaded {
            loader.load_failed = true;
            loader.internal = match error.class() {
                Class::Bug => loader.internal.saturating_add(1),
                _ => 0,
            };
        }
        loaded?;
        loader.internal = 0;
        if !loader.has_locks() && loader.is_over()? {
            return Ok(Some(End::Obsolete));
        }
        self.feed.committed(collected);
        self.feed.heard(&loader.gauge.ends());
        if messages > 0 {
            loader.post_batch.committed();
        }
        loader.succeeded()?;
        Ok(None)
    }

    /// The brokers hand out messages or have none to load: that is a success unless it was loading that had failed.
    fn alive(&mut self, idle: bool) -> Result<()> {
        if idle || !self.loader.load_failed {
            self.loader.succeeded()?;
        }
        Ok(())
    }

    /// Has the time of day come at which the job is to end at the topic's end?
    fn ask_the_time(&mut self) -> Result<()> {
        let left = match quit_after(&self.wanted) {
            Some(time) => Duration::from_millis(tx(|tx| runs::ms_until(tx, time))?),
            None => CLOCK_CHECK,
        };
        self.ask = Some(Instant::now() + left.min(CLOCK_CHECK));
        if !left.is_zero() {
            return Ok(());
        }
        let mut waits = self.feed.waits().into_iter();
        if let Some((_, error)) = waits.find(|(partition, _)| self.feed.knows(*partition)) {
            // Its end is not known: the next session asks before it reads.
            return Err(error);
        }
        let Prepared { job, properties, .. } = self.prepared;
        let consumer = Consumer::open(properties)?;
        let ends = start_offsets::ends(&consumer, &job.spec.topic, &self.feed.partitions())?;
        consumer.close(METADATA_TIMEOUT);
        caught::log(format!(
            "gpss job \"{}\" ends when it has read to the end: the time of QUIT_AT_EOF_AFTER has come",
            job.name
        ));
        self.feed.end_at(ends);
        Ok(())
    }

    /// Adds to the feed this slot's partitions that it does not read yet and that have a leader. What
    /// cannot be asked for waits, and the others are read on.
    fn read_new_partitions(&mut self) -> Result<()> {
        self.again = None;
        let Prepared { properties, source, .. } = self.prepared;
        let (feed, found, topic) = (&mut self.feed, &self.found, &source.topic);
        let mut new = self.loader.own(&found.partitions, source)?;
        feed.look_at_leaders(topic, found, &new);
        new.retain(|partition| !feed.knows(*partition) && found.has_leader(*partition));
        if new.is_empty() {
            return Ok(());
        }
        let consumer = Consumer::open(properties)?;
        let resolved = start_offsets::resolve(&self.wanted, &consumer, found, &new);
        consumer.close(METADATA_TIMEOUT);
        match resolved {
            Ok(Resolved { positions, ends, waits }) => {
                new.retain(|partition| positions.contains_key(partition));
                feed.add(&positions, &ends);
                for (partition, error) in waits {
                    feed.wait_for(partition, error);
                }
            }
            Err(error) if error.sqlstate == SqlState::CONNECTION_FAILURE => {
                for partition in new.drain(..) {
                    feed.wait_for(partition, error.clone());
                }
            }
            Err(error) => return Err(error),
        }
        if !new.is_empty() {
            caught::log(format!(
                "gpss job \"{}\" reads partitions {new:?} of topic \"{topic}\" too",
                self.prepared.job.name
            ));
        }
        Ok(())
    }

    /// Other partitions than before cannot be read: says so, and asks again for those whose leader did not
    /// answer, at growing intervals.
    fn partitions_wait(&mut self) -> Result<()> {
        self.loader.waits(&self.feed.waits())?;
        let own = self.loader.own(&self.found.partitions, &self.prepared.source)?;
        let is_missing = |p: &i32| !self.feed.knows(*p) && self.found.has_leader(*p);
        if self.again.is_none() && own.iter().any(is_missing) {
            self.again = Some(Instant::now() + self.patience);
            self.patience = (2 * self.patience).min(ASK_AGAIN.1);
        }
        Ok(())
    }

    /// Writes down the ends of partitions that no batch tells of.
    fn show_ends(&self, high: &Offsets) -> Result<()> {
        tx(|tx| {
            tx.set_local(c"synchronous_commit", c"off");
            offsets::watermarks(tx, self.prepared.job.id, high)
        })
    }

    fn trouble(&mut self, error: Error) -> Result<()> {
        // A new session reads the credentials again.
        if error.sqlstate == SqlState::INVALID_AUTHORIZATION {
            return Err(error);
        }
        self.loader.retrying(&error, None);
        Ok(())
    }

    fn recovered(&mut self) -> Result<()> {
        if self.loader.retries.made() == 0 && !self.loader.load_failed {
            self.loader.running()?;
        }
        Ok(())
    }
}

/// The time of day at which the job is to end, unless its run ends with the topic anyway.
fn quit_after(wanted: &Wanted<'_>) -> Option<u32> {
    wanted.job.spec.schedule.quit_at_eof_after.filter(|_| !wanted.run.quit_at_eof)
}

/// A partition cannot be read on: why the session ends.
fn failed(failure: Failure) -> Error {
    match failure {
        Failure::Other(error) => error,
        // It is there: the next session finds it.
        Failure::Unknown(Error { message, detail, .. }) => {
            Error { detail, ..Error::new(SqlState::CONNECTION_FAILURE, message) }
        }
        // Positions are resolved again: the fallback decides, or the job fails there.
        Failure::OffsetGone { partition } => Error::new(
            SqlState::CONNECTION_FAILURE,
            format!("the wanted offset of partition {partition} is no longer on the broker"),
        ),
    }
}
