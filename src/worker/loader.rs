//! A loader: the process of one slot of one job. It reads its share of the partitions and loads
//! batch after batch until it is told to stop, has read to the end, its time is over, or it meets an
//! error that only the user can mend.

mod end;
mod session;
mod state;
mod waits;

use super::batch_transaction::Loading;
use super::gauge::Gauge;
use super::start_offsets::METADATA_TIMEOUT;
use super::task::{self, PostBatch};
use crate::catalog::jobs::{self, Job};
use crate::catalog::locks;
use crate::catalog::offsets;
use crate::catalog::processes::LoaderArgs;
use crate::catalog::runs::{self, Run};
use crate::fdw::source::{self, TopicOptions};
use crate::fdw::watch::CONFIRMED;
use crate::load::Statement;
use crate::pg::bgworker;
use crate::pg::lock::{Mode, SessionLock};
use crate::pg::tx::tx;
use crate::pg::{acl, activity, caught, latch, signals};
use gpss_kafka::{Consumer, Properties, TopicFound};
use gpss_model::assign;
use gpss_model::error::{Class, Error, Result, SqlState};
use gpss_model::job::MissingTopic;
use gpss_model::schedule::{self, Phase, Retries};
use gpss_model::state::Status;
use session::Session;
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
/// Brokers that cannot be reached when a session begins are told of after this: of several addresses the
/// first may be one that nobody listens at.
const UNREACHABLE: Duration = Duration::from_secs(1);
/// Sessions that lasted so long were healthy: the next failure's wait is short again.
const HEALTHY: Duration = Duration::from_secs(60);

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

    /// One connection to the brokers.
    fn session(&mut self) -> Result<End> {
        let registered = match self.register()? {
            Ok(registered) => registered,
            Err(end) => return Ok(end),
        };
        let prepared = self.prepare(registered)?;
        if !self.has_locks() && self.is_over()? {
            return Ok(End::Obsolete);
        }
        let unlogged = tx(|tx| {
            prepared.job.set_search_path(tx)?;
            Ok(prepared.loading.statement.targets(tx)?.unlogged)
        })?;
        Session::begin(self, &prepared, &unlogged)?.run()
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
