//! A loader: the process of one slot of one job. It reads its share of the partitions and loads
//! batch after batch until it is told to stop, has read to the end, its time is over, or it meets an
//! error that only the user can mend.

mod end;
mod state;
mod waits;

use super::batch_transaction::{self, Loading};
use super::feed::{Feed, Limits, Next};
use super::gauge::Gauge;
use super::start_offsets::{self, METADATA_TIMEOUT, Resolved, Wanted};
use super::task::{self, PostBatch};
use crate::catalog::jobs::{self, Job};
use crate::catalog::locks;
use crate::catalog::offsets;
use crate::catalog::processes::LoaderArgs;
use crate::catalog::runs::{self, Run};
use crate::fdw::reader::{Failure, Reader};
use crate::fdw::source::{self, TopicOptions};
use crate::fdw::watch::{CONFIRMED, Watch};
use crate::gucs;
use crate::load::{Blame, Statement};
use crate::pg::bgworker;
use crate::pg::lock::{Mode, SessionLock};
use crate::pg::tx::tx;
use crate::pg::{acl, activity, caught, latch, signals};
use gpss_kafka::{Consumer, MetadataAnswers, Properties, TopicFound};
use gpss_model::assign;
use gpss_model::error::{Class, Error, Result, SqlState};
use gpss_model::job::MissingTopic;
use gpss_model::printable::counted;
use gpss_model::schedule::{self, Phase, Retries};
use gpss_model::state::Status;
use state::Said;
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// How a session ends without an error.
enum End {
    Stopped,
    /// Everything that was there when the run began, or at the time of day at which it was to end,
    /// has been loaded.
    Finished,
    /// RUNNING_DURATION is over, for good or for now: the phase decides what comes next.
    TimeUp,
    /// RUNNING_DURATION is over for good.
    Over,
    /// The run has ended (stopped, failed in another slot, or replaced): nothing to do here.
    Obsolete,
}

/// The server's clock may be set: a long wait for a moment of it is cut into pieces of this length.
const CLOCK_CHECK: Duration = Duration::from_secs(300);
/// Less than this may be left of a run whose session has ended by another clock.
const CLOCKS_DIFFER: Duration = Duration::from_secs(1);
/// How soon partitions are asked for again whose leader did not answer, at first and at the latest.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// Brokers that cannot be reached when a session begins are told of after this: of several addresses the
/// first may be one that nobody listens at.
const UNREACHABLE: Duration = Duration::from_secs(1);
/// Sessions that lasted so long were healthy: the next failure's wait is short again.
const HEALTHY: Duration = Duration::from_secs(60);

/// After this many internal errors in a row while loading, one is treated as a message's fault; otherwise a
/// single message could block the job for ever.
const PATIENCE: u32 = 3;
/// After this many (about five minutes), also that of a batch of one message.
const LAST_PATIENCE: u32 = 10;

/// Entry point of the process.
pub fn main() {
    signals::install_stop();
    let args = LoaderArgs::mine();
    bgworker::connect(args.database, Some(args.owner));
    let mut loader = Loader {
        gauge: Gauge::start(args.slot, args.slots),
        args,
        locks: None,
        job: None,
        said: None,
        load_failed: false,
        waiting: None,
        internal: 0,
        retries: Retries::default(),
        post_batch: PostBatch::default(),
        until: None,
        time_up: false,
    };
    if let Err(error) = loader.run()
        && !signals::stop_requested()
    {
        caught::log(format!("gpss loader of job {} ends: {error}", loader.args.job_id));
    }
}

struct Loader {
    args: LoaderArgs,
    gauge: Gauge,
    /// Of the job and the slot.
    locks: Option<[SessionLock; 2]>,
    job: Option<Job>,
    said: Option<Said>,
    /// The last failure was one of loading, which only a committed batch disproves.
    load_failed: bool,
    /// Why partitions cannot be read at present, while the others are.
    waiting: Option<Error>,
    /// Internal errors of loading in a row.
    internal: u32,
    /// Of this process; a new one counts anew.
    retries: Retries,
    post_batch: PostBatch,
    /// When RUNNING_DURATION is over, as of the last session's beginning.
    until: Option<Instant>,
    /// RUNNING_DURATION was over by this process's clock.
    time_up: bool,
}

/// A job that is to be worked on, as the catalog has it.
struct Registered {
    job: Job,
    run: Run,
    positioned: bool,
}

/// Everything that one connection to the brokers needs.
struct Prepared {
    job: Job,
    run: Run,
    positioned: bool,
    loading: Loading,
    properties: Properties,
    source: TopicOptions,
}

impl Loader {
    /// Sessions until one ends for good. An `Err` is one that could not even be recorded.
    fn run(&mut self) -> Result<()> {
        self.locks = self.lock()?;
        if self.locks.is_none() {
            return Ok(());
        }
        loop {
            let begun = Instant::now();
            let outcome = caught::caught(|| self.session());
            if signals::stop_requested() {
                return self.stopped();
            }
            let error = match outcome {
                Ok(End::Finished) => return self.end(Status::Success, None),
                Ok(End::Over) => {
                    return self.end(Status::Stopped, Some("RUNNING_DURATION is over".to_owned()));
                }
                Ok(End::TimeUp) => {
                    self.time_up = true;
                    continue;
                }
                Ok(End::Stopped | End::Obsolete) => return Ok(()),
                Err(error) => error,
            };
            // Nobody is to hear of the failures of a run that is over.
            if self.is_over().unwrap_or(false) {
                return Ok(());
            }
            if begun.elapsed() > HEALTHY {
                self.retries.was_healthy();
            }
            let schedule = self.job.as_ref().map(|job| job.spec.schedule).unwrap_or_default();
            let Some(wait) = self.retries.failed(&schedule, error.class(), super::jitter()) else {
                return self.fail(&error);
            };
            self.retrying(&error, Some(wait));
            if signals::stop_requested() || !self.sleep_within_the_run(wait)? {
                return self.stopped();
            }
        }
    }

    /// Sleeps, but not beyond the end of the run: what comes then is not to wait for a retry.
    fn sleep_within_the_run(&mut self, wait: Duration) -> Result<bool> {
        let left = self.until.take().map(|at| at.saturating_duration_since(Instant::now()));
        match left.filter(|left| !left.is_zero() && *left < wait) {
            Some(left) => {
                self.time_up = true;
                self.sleep(left)
            }
            None => self.sleep(wait),
        }
    }

    /// The locks of the job and the slot, for the life of the process; None when another process
    /// has the slot.
    fn lock(&self) -> Result<Option<[SessionLock; 2]>> {
        let LoaderArgs { job_id, slot, .. } = self.args;
        tx(|tx| {
            let job = SessionLock::acquire(tx, locks::job(job_id), Mode::Share);
            let slot = SessionLock::try_acquire(tx, locks::slot(job_id, slot), Mode::Exclusive);
            Ok(slot.map(|slot| [job, slot]))
        })
    }

    /// False when code of the user has released them (`pg_advisory_unlock_all`).
    fn has_locks(&self) -> bool {
        self.locks.as_ref().is_some_and(|locks| locks.iter().all(SessionLock::is_held))
    }

    /// Is the run over, at least for this process? Locks that were lost are taken again first: who stops
    /// the job knows of the process by them, and has not told it without.
    fn is_over(&mut self) -> Result<bool> {
        if !self.has_locks() {
            self.locks = None;
            self.locks = self.lock()?;
        }
        let LoaderArgs { job_id, run_id, .. } = self.args;
        Ok(self.locks.is_none() || !tx(|tx| runs::is_current(tx, job_id, run_id))?)
    }

    /// One connection to the brokers, from its positions to whatever ends it.
    fn session(&mut self) -> Result<End> {
        let registered = match self.register()? {
            Ok(registered) => registered,
            Err(end) => return Ok(end),
        };
        let until = self.until;
        let prepared = self.prepare(registered)?;
        if !self.has_locks() && self.is_over()? {
            return Ok(End::Obsolete);
        }
        let Prepared { job, run, positioned, loading, properties, source } = prepared;
        activity::set_application_name(&format!("gpss job {}", job.name));
        activity::running(&format!("gpss job \"{}\": connecting to Kafka", job.name));
        let topic = &job.spec.topic;
        let answers = MetadataAnswers::default();
        let consumer = Consumer::open_counting(&properties, &answers)?;
        let mut found = self.find(&job, &run, &source, &consumer)?;
        if let Some(reset) = &run.reset {
            reset.check_partitions(topic, &found.partitions)?;
        }
        let own = self.own(&found.partitions, &source)?;
        let LoaderArgs { slot, slots, .. } = self.args;
        let fallback = source.fallback;
        let unlogged = tx(|tx| {
            job.set_search_path(tx)?;
            Ok(loading.statement.targets(tx)?.unlogged)
        })?;
        let unlogged = &unlogged;
        let mut wanted =
            Wanted { job: &job, run: &run, slot, slots, positioned, fallback, unlogged };
        let Resolved { positions, ends, waits } =
            start_offsets::resolve(&wanted, &consumer, &found, &own)?;
        wanted.positioned = true;
        let starts: Vec<_> = positions.iter().map(|(p, o)| (*p, *o)).collect();
        let buffer = gucs::buffer_bytes();
        let decoding = &loading.statement.decoding;
        let decoding = (&decoding.formats, &decoding.needs);
        let watch = (Some(Watch::new(topic, found.clone(), answers)), self.gauge.show());
        let reader = Reader::start(consumer, topic, &starts, decoding, buffer, watch)?;
        let mut feed = Feed::new(reader, positions, ends, run.quit_at_eof);
        for (partition, error) in waits {
            feed.wait_for(partition, error);
        }
        self.waits(&feed.waits())?;
        if self.said.is_none() {
            self.running()?;
        }
        let quit_after = job.spec.schedule.quit_at_eof_after.filter(|_| !run.quit_at_eof);
        // At once: the time may have come already.
        let mut ask = quit_after.map(|_| Instant::now());
        // Partitions whose leader does not answer are asked for again, at growing intervals.
        let (mut again, mut patience) = (None, ASK_AGAIN.0);

        loop {
            let limits = Limits {
                until,
                ask,
                again,
                messages: job
                    .spec
                    .commit
                    .max_row
                    .map_or(usize::MAX, |rows| usize::try_from(rows).unwrap_or(usize::MAX)),
                bytes: gucs::batch_bytes(),
                interval: Duration::from_millis(job.spec.commit.minimal_interval_ms),
            };
            activity::idle(&format!("gpss job \"{}\": waiting for messages", job.name));
            match self.gauge.rest(|| feed.next(limits))? {
                Next::Load(collected) => {
                    let messages = collected.batch.messages();
                    activity::running(&format!(
                        "gpss job \"{}\": loading {}",
                        job.name,
                        counted(messages, "message")
                    ));
                    let after = self.post_batch.due(&job.spec.task);
                    let blame = match self.internal {
                        ..PATIENCE => Blame::Data,
                        PATIENCE..LAST_PATIENCE => Blame::Internal,
                        LAST_PATIENCE.. => Blame::InternalAlone,
                    };
                    batch_transaction::load(&job, &run, &loading, &collected, blame, &|tx| {
                        match after {
                            Some(sql) => task::post_batch(tx, sql),
                            None => Ok(()),
                        }
                    })
                    .inspect_err(|error| {
                        self.load_failed = true;
                        self.internal = match error.class() {
                            Class::Bug => self.internal.saturating_add(1),
                            _ => 0,
                        };
                    })?;
                    self.internal = 0;
                    if !self.has_locks() && self.is_over()? {
                        return Ok(End::Obsolete);
                    }
                    feed.committed(collected);
                    feed.heard(&self.gauge.ends());
                    if messages > 0 {
                        self.post_batch.committed();
                    }
                    self.succeeded()?;
                }
                Next::Alive { idle } if idle || !self.load_failed => self.succeeded()?,
                Next::Alive { .. } => {}
                Next::Finished => return Ok(End::Finished),
                Next::Stopped => return Ok(End::Stopped),
                Next::TimeUp => return Ok(End::TimeUp),
                Next::Ask => {
                    let left = match quit_after {
                        Some(time) => Duration::from_millis(tx(|tx| runs::ms_until(tx, time))?),
                        None => CLOCK_CHECK,
                    };
                    ask = Some(Instant::now() + left.min(CLOCK_CHECK));
                    if left.is_zero() {
                        let mut waits = feed.waits().into_iter();
                        if let Some((_, error)) = waits.find(|(p, _)| feed.knows(*p)) {
                            // Its end is not known: the next session asks before it reads.
                            return Err(error);
                        }
                        let consumer = Consumer::open(&properties)?;
                        let ends = start_offsets::ends(&consumer, topic, &feed.partitions())?;
                        consumer.close(METADATA_TIMEOUT);
                        caught::log(format!(
                            "gpss job \"{}\" ends when it has read to the end: the time of \
                             QUIT_AT_EOF_AFTER has come",
                            job.name
                        ));
                        feed.end_at(ends);
                    }
                }
                next @ (Next::Topic(_) | Next::Again) => {
                    if let Next::Topic(now) = next {
                        found = now;
                        patience = ASK_AGAIN.0;
                    }
                    self.read_new_partitions(&wanted, &source, &properties, &found, &mut feed)?;
                    again = None;
                }
                Next::Waits => {
                    self.waits(&feed.waits())?;
                    let own = self.own(&found.partitions, &source)?;
                    let is_missing = |p: &i32| !feed.knows(*p) && found.has_leader(*p);
                    if again.is_none() && own.iter().any(is_missing) {
                        again = Some(Instant::now() + patience);
                        patience = (2 * patience).min(ASK_AGAIN.1);
                    }
                }
                Next::Watermarks(high) => {
                    tx(|tx| {
                        tx.set_local(c"synchronous_commit", c"off");
                        offsets::watermarks(tx, job.id, &high)
                    })?;
                }
                // A new session reads the credentials anew.
                Next::Trouble(error) if error.sqlstate == SqlState::INVALID_AUTHORIZATION => {
                    return Err(error);
                }
                Next::Trouble(error) => self.retrying(&error, None),
                Next::Recovered if self.retries.made() == 0 && !self.load_failed => {
                    self.running()?;
                }
                Next::Recovered => {}
                Next::Failed(Failure::Other(error)) => return Err(error),
                // It is there: the next session finds it.
                Next::Failed(Failure::Unknown(Error { message, detail, .. })) => {
                    return Err(Error {
                        detail,
                        ..Error::new(SqlState::CONNECTION_FAILURE, message)
                    });
                }
                // Positions are resolved anew: the fallback decides, or the job fails there.
                Next::Failed(Failure::OffsetGone { partition }) => {
                    return Err(Error::new(
                        SqlState::CONNECTION_FAILURE,
                        format!(
                            "the wanted offset of partition {partition} is no longer on the broker"
                        ),
                    ));
                }
            }
        }
    }

    /// Adds to the feed this slot's partitions that it does not read yet and that have a leader. What
    /// cannot be asked for waits, and the others are read on.
    fn read_new_partitions(
        &self,
        wanted: &Wanted<'_>,
        source: &TopicOptions,
        properties: &Properties,
        found: &TopicFound,
        feed: &mut Feed,
    ) -> Result<()> {
        let topic = &source.topic;
        let mut new = self.own(&found.partitions, source)?;
        feed.look_at_leaders(topic, found, &new);
        new.retain(|partition| !feed.knows(*partition) && found.has_leader(*partition));
        if new.is_empty() {
            return Ok(());
        }
        let consumer = Consumer::open(properties)?;
        let resolved = start_offsets::resolve(wanted, &consumer, found, &new);
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
                wanted.job.name
            ));
        }
        Ok(())
    }

    /// Reads the catalog, and waits while the schedule says so. `Err` holds an end before the
    /// session has begun.
    fn register(&mut self) -> Result<Result<Registered, End>> {
        let LoaderArgs { job_id, slot, slots, run_id, .. } = self.args;
        // In a transaction of its own, so that the views show a worker whose statement fails.
        let registered = tx(|tx| {
            if acl::extension_oid("gpss").is_none() {
                return Ok(None);
            }
            let (Some(job), Some(run)) = (jobs::by_id(tx, job_id)?, runs::find(tx, job_id)?) else {
                return Ok(None);
            };
            if run.id != run_id {
                return Ok(None);
            }
            let pid = std::process::id() as i32;
            let worker = runs::Worker { slot, slots, pid, board: self.gauge.board() };
            let positioned = runs::register_worker(tx, job_id, run_id, &worker)?;
            self.trying(tx)?;
            Ok(Some((job, run, positioned)))
        })?;
        let Some((job, run, positioned)) = registered else { return Ok(Err(End::Obsolete)) };
        self.job = Some(job.clone());
        Ok(match self.take_turn(&job)? {
            None => Ok(Registered { job, run, positioned }),
            Some(end) => Err(end),
        })
    }

    /// Waits until the schedule lets the job run. Returns the session's end if it never will.
    fn take_turn(&mut self, job: &Job) -> Result<Option<End>> {
        self.until = None;
        if job.spec.schedule.running_duration_ms.is_none() {
            return Ok(None);
        }
        let LoaderArgs { job_id, run_id, .. } = self.args;
        let mut paused = false;
        loop {
            let age = tx(|tx| runs::age_ms(tx, job_id, run_id))?;
            let Some(age) = age else { return Ok(Some(End::Obsolete)) };
            let wait = match schedule::phase(&job.spec.schedule, age) {
                // The server's clock is a little behind this process's, which ended the session: no
                // new one for that.
                Phase::Run { left: Some(left) } if self.time_up && left < CLOCKS_DIFFER => left,
                Phase::Run { left } => {
                    if paused {
                        self.running()?;
                    }
                    self.time_up = false;
                    self.until = left.and_then(|left| Instant::now().checked_add(left));
                    return Ok(None);
                }
                Phase::Over => return Ok(Some(End::Over)),
                Phase::Pause { left } => {
                    if !paused {
                        self.pausing(left)?;
                        paused = true;
                    }
                    left.min(CLOCK_CHECK)
                }
            };
            if !self.sleep(wait)? {
                return Ok(Some(End::Stopped));
            }
        }
    }

    /// Runs PREPARE_SQL and prepares the job's statements.
    fn prepare(&mut self, registered: Registered) -> Result<Prepared> {
        let Registered { mut job, run, positioned, .. } = registered;
        let owner = self.args.owner;
        activity::running(&format!("gpss job \"{}\": preparing its statements", job.name));
        let question = || {
            tx(|tx| {
                let table = Statement::source(tx, &job)?;
                Ok((source::properties(&table, owner)?, TopicOptions::of(&table)?.topic))
            })
        };
        // Before what may wait for a lock; what fails here fails again below.
        if let Ok((properties, topic)) = question() {
            self.gauge.ask_for(properties, topic);
        }
        if job.spec.task.prepare.is_some() {
            activity::running(&format!("gpss job \"{}\": PREPARE_SQL", job.name));
            task::prepare(&mut job)?;
            self.job = Some(job.clone());
        }
        tx(|tx| {
            let (loading, table) = Loading::prepare(tx, &job, run.id)?;
            let source = TopicOptions::of(&table)?;
            job.spec.topic = source.topic.clone();
            Ok(Prepared {
                properties: source::properties(&table, owner)?,
                source,
                loading,
                positioned,
                job,
                run,
            })
        })
    }

    /// Asks for the topic. One that has been read before is missed for good only when it is still
    /// missing a little later: brokers that have just started may not know it yet. One that has not is
    /// waited for, unless the run is to end with the topic.
    fn find(
        &mut self,
        job: &Job,
        run: &Run,
        source: &TopicOptions,
        consumer: &Consumer,
    ) -> Result<TopicFound> {
        let topic = &job.spec.topic;
        let missing = match self.ask_for_topic(topic, consumer) {
            Err(error) if error.sqlstate == SqlState::UNDEFINED_OBJECT => error,
            answer => return answer,
        };
        let read_before = !tx(|tx| offsets::load(tx, job.id))?.is_empty();
        if read_before && self.sleep(CONFIRMED)? {
            self.ask_for_topic(topic, consumer)
        } else if read_before || run.quit_at_eof || source.missing_topic == MissingTopic::Fail {
            Err(missing)
        } else {
            Err(Error {
                sqlstate: SqlState::CONNECTION_FAILURE,
                message: format!("{}; the job waits for it", missing.message),
                ..missing
            })
        }
    }

    /// Asks for the topic, and says meanwhile when no broker can be reached.
    fn ask_for_topic(&mut self, topic: &str, consumer: &Consumer) -> Result<TopicFound> {
        let (asked, loader) = (Instant::now(), RefCell::new(self));
        let cancelled = || {
            if asked.elapsed() > UNREACHABLE
                && let Some(trouble) = consumer.trouble()
            {
                let mut loader = loader.borrow_mut();
                if loader.said != Some(state::retrying(&trouble)) {
                    loader.retrying(&trouble, None);
                }
            }
            signals::wait_is_over()
        };
        let answer = consumer.topic(topic, METADATA_TIMEOUT, &cancelled);
        // The same failure is told in the same words.
        answer.map_err(|error| match error.class() {
            Class::Environment => consumer.trouble().unwrap_or(error),
            _ => error,
        })
    }

    /// This slot's share of the partitions that the job reads.
    ///
    /// # Errors
    /// The topic lacks one of those that were chosen.
    fn own(&self, partitions: &[i32], source: &TopicOptions) -> Result<Vec<i32>> {
        let LoaderArgs { slot, slots, .. } = self.args;
        let mut partitions = partitions.to_vec();
        if let Some(chosen) = &source.partitions {
            chosen.check(&source.topic, &partitions)?;
            partitions.retain(|partition| chosen.contains(*partition));
        }
        Ok(assign::partitions_of(slot.unsigned_abs(), slots.unsigned_abs(), &partitions))
    }

    fn name(&self) -> String {
        match &self.job {
            Some(job) => format!("job \"{}\"", job.name),
            None => format!("job {}", self.args.job_id),
        }
    }

    /// False when told to stop meanwhile.
    fn sleep(&self, wait: Duration) -> Result<bool> {
        let until = Instant::now() + wait;
        while !signals::stop_requested() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(true);
            }
            latch::wait(left, None);
            // A cancel by pg_cancel_backend ends the wait, not the job.
            if signals::wait_is_over() {
                return Ok(!signals::stop_requested());
            }
        }
        Ok(false)
    }
}
