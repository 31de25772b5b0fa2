//! Jobs as processes: start, stop, wait.

use super::continued::{self, Continued};
use super::schemas::table_oid;
use super::{answer, check_owner, unknown_job};
use crate::catalog::jobs::Job;
use crate::catalog::{jobs, locks, processes, runs};
use crate::fdw::source::{self, TopicOptions};
use crate::pg::board::Board;
use crate::pg::call::{Json, Required, Text};
use crate::pg::fdw::Table;
use crate::pg::lock::{self, Mode};
use crate::pg::spi::{self, UnixMicros};
use crate::pg::subtx::subtx;
use crate::pg::tx::Tx;
use crate::pg::{acl, bgworker, caught, latch, signals, xact};
use gpss_kafka::Consumer;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::reset::Reset;
use gpss_model::state::Status;
use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::prelude::*;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How often a waiting function looks again.
const LOOK: Duration = Duration::from_millis(50);

/// Starts a job when this transaction commits. `reset` says where to begin: 'earliest', 'latest', a time
/// (also in milliseconds since 1970), or '{"0": 1234}' per partition; NULL continues.
#[pg_extern(schema = "gpss", name = "start_job", volatile, parallel_unsafe)]
fn start_job(
    name: Text,
    quit_at_eof: default!(Required<bool>, "false"),
    reset: default!(Option<Text>, "NULL"),
) {
    answer(|| {
        let reset = reset.as_deref().map(reset_of).transpose()?;
        start_and_tell(&name, quit_at_eof.0, reset)
    });
}

/// Starts a job with the first message that is not older than a point in time; NULL continues.
#[pg_extern(schema = "gpss", name = "start_job", volatile, parallel_unsafe)]
fn start_job_at(
    name: Text,
    reset: Option<TimestampWithTimeZone>,
    quit_at_eof: default!(Required<bool>, "false"),
) {
    answer(|| {
        let at = reset.map(|reset| reset_at(UnixMicros::from_postgres(reset.into())));
        start_and_tell(&name, quit_at_eof.0, at.transpose()?)
    });
}

/// Starts a job at offsets by partition: '{"0": 1234, "1": "latest"}'; NULL continues.
#[pg_extern(schema = "gpss", name = "start_job", volatile, parallel_unsafe)]
fn start_job_at_offsets(
    name: Text,
    reset: Option<Json>,
    quit_at_eof: default!(Required<bool>, "false"),
) {
    answer(|| {
        let reset = reset.map(|reset| Reset::try_from(reset.0)).transpose()?;
        start_and_tell(&name, quit_at_eof.0, reset)
    });
}

/// From the text a user writes; a time as PostgreSQL reads it.
pub(super) fn reset_of(text: &str) -> Result<Reset> {
    let wrong = match Reset::parse(text) {
        Ok(reset) => return Ok(reset),
        Err(wrong) => wrong,
    };
    // What has only digits may be milliseconds or nothing: PostgreSQL reads years in them.
    if !text.bytes().any(|b| b.is_ascii_digit()) || text.trim().bytes().all(|b| b.is_ascii_digit())
    {
        return Err(wrong);
    }
    let tx = Tx::current();
    let sql = "SELECT $1::pg_catalog.timestamptz";
    let time = subtx(&tx, || spi::select(&tx, sql, &[text.into()], |row| row.get::<UnixMicros>(1)));
    match time {
        Ok(time) => time.into_iter().next().map_or(Err(wrong), reset_at),
        Err(error) if error.sqlstate == SqlState::QUERY_CANCELED => Err(error),
        Err(_) => Err(wrong),
    }
}

fn reset_at(time: UnixMicros) -> Result<Reset> {
    Reset::timestamp(time.0.div_euclid(1000))
}

fn start_and_tell(name: &str, quit_at_eof: bool, reset: Option<Reset>) -> Result<()> {
    let begins = reset.is_none();
    let started = start(name, quit_at_eof, reset)?;
    match started.continued {
        Some(continued) => continued.tell(name),
        None if begins => continued::tell_of_beginning(&Tx::current(), &started.job)?,
        None => {}
    }
    Ok(())
}

/// What has been asked for by a start.
pub(super) struct Started {
    pub job: Job,
    pub since: UnixMicros,
    /// None for one with a reset.
    pub continued: Option<Continued>,
}

/// Starts a job for the calling user.
pub(super) fn start(name: &str, quit_at_eof: bool, reset: Option<Reset>) -> Result<Started> {
    let tx = Tx::current();
    let job = jobs::lock(&tx, name)?.ok_or_else(|| unknown_job(name))?;
    check_owner(&job)?;
    job.check_can_run()?;
    if state(&tx, &job)?.is_active() {
        return Err(Error::new(
            SqlState::NOT_IN_PREREQUISITE_STATE,
            format!("job \"{name}\" is already running"),
        )
        .hint("Stop it with gpss.stop_job before starting it again."));
    }
    if let Some(reset) = &reset {
        check_reset(&tx, &job, reset)?;
    }
    jobs::settle_owner(&tx, job.id)?;
    runs::delete_any(&tx, job.id)?;
    let continued = match &reset {
        None => continued::of(&tx, &job)?,
        Some(_) => None,
    };
    let since = runs::insert(&tx, job.id, quit_at_eof, reset.as_ref())?;
    runs::set_status(&tx, job.id, Status::Running, None, None)?;
    have_it_scheduled(&tx)?;
    if !bgworker::was_preloaded() {
        caught::report(
            caught::Level::Notice,
            &Error::new(
                SqlState::NOT_IN_PREREQUISITE_STATE,
                "jobs will not start again by themselves after a restart of the server",
            )
            .hint("Add gpss to shared_preload_libraries."),
        );
    }
    Ok(Started { job, since, continued })
}

/// How long the brokers have to say which partitions there are.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);

/// A reset by partition must name partitions that there are. When the brokers do not tell, the loader asks
/// them again.
fn check_reset(tx: &Tx, job: &Job, reset: &Reset) -> Result<()> {
    if !matches!(reset, Reset::Offsets(_)) {
        return Ok(());
    }
    let found = subtx(tx, || {
        let table = Table::load(table_oid(tx, &job.spec.source)?);
        let topic = TopicOptions::of(&table)?.topic;
        Ok((topic, Consumer::open(&source::properties(&table, job.owner)?)?))
    });
    let Ok((topic, consumer)) = found else { return Ok(()) };
    let known = consumer.topic(&topic, METADATA_TIMEOUT, &signals::is_over);
    consumer.close(METADATA_TIMEOUT);
    signals::check_for_interrupts();
    known.map_or(Ok(()), |known| reset.check_partitions(&topic, &known.partitions))
}

/// For the views: what a worker shows on its board in a place: a number, and when it was known. NULL when there is
/// nothing. Anybody may ask: the boards have ends of partitions only.
#[pg_extern(schema = "gpss", name = "heard_end", volatile, strict, parallel_safe)]
fn heard_end(board: i64, place: i32) -> Option<Vec<i64>> {
    let (board, place) = (u32::try_from(board).ok()?, usize::try_from(place).ok()?);
    Board::read(board, place).map(|(end, at)| vec![end, at])
}

/// For the view gpss.jobs: do jobs start again by themselves after a restart of the server?
#[pg_extern(schema = "gpss", name = "preloaded", stable, parallel_safe)]
fn preloaded() -> bool {
    bgworker::was_preloaded()
}

/// The transaction in which this session last started a job.
static STARTED_FOR: AtomicU32 = AtomicU32::new(0);
/// The transaction in which it last started a scheduler.
static SCHEDULER_FOR: AtomicU32 = AtomicU32::new(0);

fn started_here() -> bool {
    let xid = STARTED_FOR.load(Ordering::Relaxed);
    // Asking for our own assigns one: not in a session that has started nothing.
    xid != 0 && xid == bgworker::current_xid()
}

/// Has the database's scheduler look when this transaction commits, or starts one that waits for it:
/// one is enough for all that the transaction starts.
fn have_it_scheduled(tx: &Tx) -> Result<()> {
    // From here to the end of the transaction, or of a savepoint, a scheduler that is there stays.
    lock::lock(tx, locks::STARTING, Mode::Share);
    let schedulers = lock::holders(tx, locks::SCHEDULER)?;
    let xid = bgworker::current_xid();
    if !schedulers.is_empty() {
        xact::wake_at_commit(tx, schedulers);
    } else if SCHEDULER_FOR.load(Ordering::Relaxed) != xid {
        processes::start_scheduler(bgworker::my_database(), Some(xid))?;
        SCHEDULER_FOR.store(xid, Ordering::Relaxed);
    }
    if STARTED_FOR.swap(xid, Ordering::Relaxed) != xid {
        let error = Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "cannot PREPARE a transaction that has started a job",
        );
        let hint = "Commit it, or start the job in a transaction of its own.";
        xact::refuse_prepare(tx, error.hint(hint));
    }
    Ok(())
}

/// Running or not is decided by the run's row, the rest by the last status. Without preload, a run
/// from before the server's last start that no scheduler has taken up is over. With preload, a
/// scheduler that is not there is about to come.
pub(super) fn state(tx: &Tx, job: &Job) -> Result<Status> {
    let last = runs::status(tx, job.id)?;
    let forgotten = !bgworker::was_preloaded()
        && runs::of_an_earlier_server(tx, job.id)?
        && lock::holders(tx, locks::SCHEDULER)?.is_empty();
    Ok(match runs::find(tx, job.id)? {
        Some(_) if forgotten => Status::Stopped,
        Some(_) => last.filter(|s| s.is_active()).unwrap_or(Status::Running),
        None => last.filter(|s| !s.is_active()).unwrap_or(Status::Submitted),
    })
}

/// Stops a job: its running batch is dropped, its workers have run TEARDOWN_SQL and are gone when
/// this returns. What it had committed stays, and a later start continues there.
#[pg_extern(schema = "gpss", name = "stop_job", volatile, parallel_unsafe)]
fn stop_job(name: Text) {
    answer(|| stop(&name));
}

pub(super) fn stop(name: &str) -> Result<()> {
    let tx = Tx::current();
    // The scheduler starts no worker of a locked job.
    let job = jobs::lock(&tx, name)?.ok_or_else(|| unknown_job(name))?;
    check_owner(&job)?;
    let Some(run) = runs::find(&tx, job.id)? else {
        caught::notice(format!("job \"{name}\" is not running"));
        return Ok(());
    };
    // Tells a worker that the job ends: it runs TEARDOWN_SQL before it leaves.
    let announced = lock::try_lock(&tx, locks::stopping(job.id), Mode::Exclusive);
    let had_workers = wait_for_workers(&tx, &job)?;
    // A worker may have ended the run with its last batch.
    if runs::delete_any(&tx, job.id)? {
        // The last word of a worker whose TEARDOWN_SQL failed.
        let said = runs::glance(&tx, job.id)?;
        let errmsg = said.errmsg.filter(|_| said.status == Status::Stopped);
        runs::set_status(&tx, job.id, Status::Stopped, errmsg.as_deref(), None)?;
        let torn_down = job.spec.task.teardown.is_none() || (had_workers && announced);
        if !torn_down && runs::has_begun(&tx, job.id, run.id)? {
            caught::warning(format!(
                "TEARDOWN_SQL of job \"{name}\" was not run, because the job had no worker"
            ));
        }
        caught::log(format!("gpss job \"{name}\" is {}", Status::Stopped.as_str()));
        let xid = bgworker::current_xid();
        processes::alert(&job, run.id, Status::Stopped, Some(xid));
    }
    Ok(())
}

/// Tells the workers of a job to stop until the last has let go of the job's lock, which this
/// transaction then holds, and has ended. Returns whether there was one.
fn wait_for_workers(tx: &Tx, job: &Job) -> Result<bool> {
    let tag = locks::job(job.id);
    let mut signalled = Signalled::default();
    while !lock::try_lock(tx, tag, Mode::Exclusive) {
        signalled.stop(workers(lock::holders(tx, tag)?));
    }
    signalled.wait();
    Ok(signalled.any)
}

/// Those of the processes that are background workers: a session holds the lock of a job as well, to the
/// end of the transaction in which it has stopped it.
fn workers(mut pids: Vec<i32>) -> Vec<i32> {
    pids.retain(|pid| bgworker::is_alive(*pid));
    pids
}

/// The workers that were sent the signal to stop.
#[derive(Default)]
struct Signalled {
    /// Those that have not ended.
    pids: HashSet<i32>,
    /// Whether there was one.
    any: bool,
}

impl Signalled {
    /// Each is signalled once, since a second order would cancel what it does because of the first; then
    /// some time passes.
    fn stop(&mut self, workers: Vec<i32>) {
        for pid in workers {
            if self.pids.insert(pid) {
                self.any = true;
                bgworker::terminate(pid);
            }
        }
        self.pause();
    }

    /// Until all have ended.
    fn wait(&mut self) {
        while !self.pids.is_empty() {
            self.pause();
        }
    }

    fn pause(&mut self) {
        pause();
        self.pids.retain(|pid| bgworker::is_alive(*pid));
    }
}

fn pause() {
    latch::wait(LOOK, None);
    signals::check_for_interrupts();
}

/// Waits until a job is no longer running, or for `timeout`; its status then.
#[pg_extern(schema = "gpss", name = "wait_job", volatile, parallel_unsafe)]
fn wait_job(name: Text, timeout: default!(Option<Interval>, "NULL")) -> String {
    answer(|| {
        let tx = Tx::current();
        let job = jobs::find(&tx, &name)?.ok_or_else(|| unknown_job(&name))?;
        check_owner(&job)?;
        if started_here() && runs::asked_for_in_this_transaction(&tx, job.id)? {
            return Err(Error::new(
                SqlState::NOT_IN_PREREQUISITE_STATE,
                format!(
                    "job \"{}\" was started in this transaction and begins at its commit",
                    job.name
                ),
            )
            .hint("Commit first, then call gpss.wait_job."));
        }
        let timeout = timeout.map(|t| u64::try_from(t.as_micros()).unwrap_or(0));
        let deadline = timeout.map(|us| Instant::now() + Duration::from_micros(us));
        loop {
            let status = runs::glance(&tx, job.id)?.status;
            let late = deadline.is_some_and(|at| Instant::now() >= at);
            if late || !status.is_active() {
                return Ok(status.as_str().to_owned());
            }
            latch::wait(LOOK, None);
            signals::check_for_interrupts();
        }
    })
}

/// Before DROP EXTENSION: workers that wait for messages would not notice that their tables are
/// gone. The scheduler comes back by the postmaster's hand and then sees whether the extension is
/// still there; until this transaction ends it waits at the gate.
pub fn stop_everything() {
    answer(|| {
        let tx = Tx::current();
        if !acl::owns_extension() {
            // DROP EXTENSION itself says so.
            return Ok(());
        }
        while !lock::try_lock(&tx, locks::GATE, Mode::Exclusive) {
            pause();
        }
        let mut signalled = Signalled::default();
        loop {
            let mut pids = workers(lock::holders(&tx, locks::SCHEDULER)?);
            if pids.is_empty() {
                pids = workers(lock::holders_of_class(&tx, locks::JOBS)?);
            }
            if pids.is_empty() {
                break;
            }
            signalled.stop(pids);
        }
        signalled.wait();
        Ok(())
    });
}
