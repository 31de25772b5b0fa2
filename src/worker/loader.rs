//! A loader: the process of one slot of one job. It reads its share of the partitions and loads
//! batch after batch until it is told to stop, has read to the end, or meets an error that only
//! the user can mend.

use super::feed::{Feed, Limits, Next};
use super::load::{self, Statement};
use super::position::{self, METADATA_TIMEOUT, Wanted};
use crate::catalog::jobs::{self, Job};
use crate::catalog::locks;
use crate::catalog::processes::LoaderArgs;
use crate::catalog::runs::{self, Run};
use crate::error::{Class, Error, Result, SqlState};
use crate::fdw::reader::{Failure, Reader};
use crate::fdw::source::{self, Fallback, KafkaSource};
use crate::gucs;
use crate::kafka::{Consumer, Properties};
use crate::model::assign;
use crate::model::backoff::Backoff;
use crate::model::state::Status;
use crate::pg::bgworker;
use crate::pg::lock::{Mode, SessionLock};
use crate::pg::tx::{flush_statistics, tx};
use crate::pg::{acl, activity, caught, exit, latch, signals};
use std::time::{Duration, Instant};

/// How a session ends without an error.
enum End {
    Stopped,
    /// Everything that was there when the run began has been loaded.
    Finished,
    /// The run has ended (stopped, failed in another slot, or replaced): nothing to do here.
    Obsolete,
}

/// Entry point of the process.
pub fn main() {
    signals::install_stop();
    let args = LoaderArgs::mine();
    bgworker::connect(args.database, Some(args.owner));
    exit::leave_without_atexit();
    // The owner's defaults are for his sessions; a worker that could not write or see what other
    // workers do could not work.
    bgworker::set_for_process(c"default_transaction_read_only", c"off");
    bgworker::set_for_process(c"default_transaction_isolation", c"read committed");
    let mut loader = Loader { args, job: None, status: None };
    if let Err(error) = loader.run()
        && !signals::stop_requested()
    {
        caught::log(format!("gpss loader of job {} ends: {error}", loader.args.job_id));
    }
}

struct Loader {
    args: LoaderArgs,
    job: Option<Job>,
    /// What this process last wrote into gpss.status.
    status: Option<Status>,
}

/// Everything that one connection to the brokers needs.
struct Prepared {
    job: Job,
    run: Run,
    positioned: bool,
    statement: Statement,
    properties: Properties,
    fallback: Option<Fallback>,
}

impl Loader {
    /// Sessions until one ends for good. An `Err` is one that could not even be recorded.
    fn run(&mut self) -> Result<()> {
        let Some(_locks) = self.lock()? else { return Ok(()) };
        let mut backoff = Backoff::default();
        loop {
            let begun = Instant::now();
            let outcome = caught::caught(|| self.session(&mut backoff));
            if signals::stop_requested() {
                signals::forget_cancel();
                return Ok(());
            }
            let error = match outcome {
                Ok(End::Finished) => return self.finish(),
                Ok(End::Stopped | End::Obsolete) => return Ok(()),
                Err(error) => error,
            };
            match error.class() {
                Class::Data | Class::Config => return self.fail(&error),
                Class::Environment | Class::Bug => {}
            }
            if begun.elapsed() > Duration::from_secs(60) {
                backoff.succeeded();
            }
            let wait = backoff.failed(super::jitter());
            self.retry_later(&error, wait);
            if signals::stop_requested() || !self.sleep(wait)? {
                return Ok(());
            }
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

    /// One connection to the brokers, from its positions to whatever ends it.
    fn session(&mut self, backoff: &mut Backoff) -> Result<End> {
        let Some(prepared) = self.prepare()? else { return Ok(End::Obsolete) };
        let Prepared { job, run, positioned, statement, properties, fallback } = prepared;
        activity::set_application_name(&format!("gpss job {}", job.name));
        activity::running(&format!("gpss job \"{}\": connecting to Kafka", job.name));
        let topic = &job.spec.topic;
        let consumer = Consumer::open(&properties)?;
        let partitions = consumer.partitions(topic, METADATA_TIMEOUT, &signals::stop_requested)?;
        position::check_reset(&run, topic, &partitions)?;
        let own = self.own(&partitions);
        let slot = self.args.slot;
        let mut wanted = Wanted { job: &job, run: &run, slot, positioned, fallback };
        let (positions, ends) = position::resolve(&wanted, &consumer, &own)?;
        wanted.positioned = true;
        let ends = run.quit_at_eof.then_some(ends);
        let starts: Vec<_> = positions.iter().map(|(p, o)| (*p, *o)).collect();
        let buffer = gucs::buffer_bytes();
        let reader = Reader::start(consumer, topic, &starts, &statement.needs, buffer, true)?;
        let mut feed = Feed::new(reader, positions, ends);
        self.set_status(Status::Running, None, None)?;

        loop {
            let limits = Limits {
                messages: job
                    .spec
                    .commit
                    .max_row
                    .map_or(usize::MAX, |rows| usize::try_from(rows).unwrap_or(usize::MAX)),
                bytes: gucs::batch_bytes(),
                interval: Duration::from_millis(job.spec.commit.minimal_interval_ms),
            };
            activity::idle(&format!("gpss job \"{}\": waiting for messages", job.name));
            match feed.next(limits)? {
                Next::Load(collected) => {
                    let messages = collected.batch.messages();
                    activity::running(&format!(
                        "gpss job \"{}\": loading {messages} messages",
                        job.name
                    ));
                    load::load(&job, &statement, &collected)?;
                    feed.committed(collected);
                    backoff.succeeded();
                    self.set_status(Status::Running, None, None)?;
                }
                Next::Finished => return Ok(End::Finished),
                Next::Stopped => return Ok(End::Stopped),
                Next::Partitions(partitions) => {
                    let mut new = self.own(&partitions);
                    new.retain(|partition| !feed.knows(*partition));
                    if !new.is_empty() {
                        let consumer = Consumer::open(&properties)?;
                        let (positions, _) = position::resolve(&wanted, &consumer, &new)?;
                        consumer.close(METADATA_TIMEOUT);
                        caught::log(format!(
                            "gpss job \"{}\" reads new partitions {new:?} of topic \"{topic}\"",
                            job.name
                        ));
                        feed.add(&positions);
                    }
                }
                Next::Trouble(error) => {
                    self.set_status(Status::Retrying, Some(&error), None)?;
                }
                Next::Recovered => self.set_status(Status::Running, None, None)?,
                Next::Failed(Failure::Other(error)) => return Err(error),
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

    /// Reads the catalog and prepares the statement; None when the run has ended.
    fn prepare(&mut self) -> Result<Option<Prepared>> {
        let LoaderArgs { job_id, slot, run_id, owner, .. } = self.args;
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
            let positioned = runs::register_worker(tx, job_id, slot, run_id, pid)?;
            Ok(Some((job, run, positioned)))
        })?;
        let Some((mut job, run, positioned)) = registered else { return Ok(None) };
        self.job = Some(job.clone());
        tx(|tx| {
            let (statement, table) = Statement::prepare(tx, &job)?;
            let source = KafkaSource::of(&table)?;
            job.spec.topic = source.topic;
            Ok(Some(Prepared {
                properties: source::properties(&table, owner)?,
                fallback: source.fallback,
                statement,
                positioned,
                job,
                run,
            }))
        })
    }

    fn own(&self, partitions: &[i32]) -> Vec<i32> {
        let LoaderArgs { slot, slots, .. } = self.args;
        assign::partitions_of(slot.unsigned_abs(), slots.unsigned_abs(), partitions)
    }

    fn name(&self) -> String {
        match &self.job {
            Some(job) => format!("job \"{}\"", job.name),
            None => format!("job {}", self.args.job_id),
        }
    }

    /// Writes the status when it differs from what this process wrote last.
    fn set_status(
        &mut self,
        status: Status,
        error: Option<&Error>,
        retry_in: Option<Duration>,
    ) -> Result<()> {
        if self.status == Some(status) && status == Status::Running {
            return Ok(());
        }
        let LoaderArgs { job_id, run_id, .. } = self.args;
        let text = error.map(super::describe);
        let retry_ms = retry_in.map(|d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        tx(|tx| {
            // A run that has ended has its last word already.
            match runs::find(tx, job_id)? {
                Some(run) if run.id == run_id => {
                    runs::set_status(tx, job_id, status, text.as_deref(), retry_ms)
                }
                _ => Ok(()),
            }
        })?;
        flush_statistics();
        let changed = self.status != Some(status);
        self.status = Some(status);
        match (&text, status) {
            (Some(text), _) if changed => {
                caught::log(format!("gpss {} is {}: {text}", self.name(), status.as_str()));
            }
            (None, Status::Running) => {
                caught::log(format!("gpss {} is {}", self.name(), status.as_str()));
            }
            _ => {}
        }
        Ok(())
    }

    /// The last slot that finishes ends the run.
    fn finish(&mut self) -> Result<()> {
        let LoaderArgs { job_id, run_id, slot, slots, .. } = self.args;
        let last = tx(|tx| {
            let last = runs::finish_slot(tx, job_id, run_id, slot, slots)?;
            if last {
                runs::set_status(tx, job_id, Status::Success, None, None)?;
            }
            Ok(last)
        })?;
        if last {
            caught::log(format!("gpss {} has read to the end and stopped normally", self.name()));
        }
        Ok(())
    }

    /// Ends the run: only the user can mend this.
    fn fail(&mut self, error: &Error) -> Result<()> {
        let LoaderArgs { job_id, run_id, .. } = self.args;
        let text = super::describe(error);
        tx(|tx| {
            if acl::extension_oid("gpss").is_some() && runs::delete(tx, job_id, run_id)? {
                runs::set_status(tx, job_id, Status::Error, Some(&text), None)?;
            }
            Ok(())
        })?;
        caught::log(format!("gpss {} is {}: {text}", self.name(), Status::Error.as_str()));
        Ok(())
    }

    /// Says when the next try is due. That may fail too: then the log alone knows.
    fn retry_later(&mut self, error: &Error, wait: Duration) {
        if let Err(second) = self.set_status(Status::Retrying, Some(error), Some(wait)) {
            caught::log(format!("gpss {}: {error}; and the status: {second}", self.name()));
        }
        activity::idle(&format!("gpss {}: next try in {} s", self.name(), wait.as_secs()));
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
            if caught::caught(|| {
                signals::check_for_interrupts();
                Ok(())
            })
            .is_err()
            {
                return Ok(!signals::stop_requested());
            }
        }
        Ok(false)
    }
}
