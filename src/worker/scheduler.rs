//! The scheduler of a database: compares the jobs that shall run (`gpss.run`) with the loaders that
//! do, and starts what is missing. It leaves when nothing shall run.

use super::retention;
use crate::catalog::jobs::{self, Job};
use crate::catalog::locks;
use crate::catalog::processes::{self, LoaderArgs};
use crate::catalog::runs::{self, Trouble};
use crate::pg::bgworker::{self, Extra, Handle};
use crate::pg::lock::{self, Mode, SessionLock};
use crate::pg::tx::{Tx, tx};
use crate::pg::{acl, activity, caught, latch, signals};
use gpss_model::backoff::Backoff;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::state::Status;
use pgrx::pg_sys::Datum;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// With loaders missing (a job's row was locked, a start has to wait): look again soon.
const SOON: Duration = Duration::from_secs(1);
/// A loader that has ended its run leaves within this.
const LEAVE: Duration = Duration::from_secs(2);
/// With everything running: ends of loaders wake the process, this is for the purge.
const LATER: Duration = Duration::from_secs(300);
/// A loader that lived this long, or has loaded anything, was healthy: its successor starts soon.
const HEALTHY: Duration = Duration::from_secs(60);
/// When no process of max_worker_processes is free: asked again after this, unless a loader of ours
/// ends before.
const NO_SLOT: Duration = Duration::from_secs(5);

/// Entry point of the process; `arg` is the transaction to wait for, or 0.
pub fn main(arg: Datum) {
    signals::install_die();
    let database = Extra::mine().next_oid();
    bgworker::connect_while_it_exists(database);
    if let Ok(xid) = u32::try_from(arg.value())
        && xid != 0
        && let Err(error) = tx(|tx| {
            bgworker::wait_for_xact_end(tx, xid);
            Ok(())
        })
    {
        caught::log(format!("gpss scheduler: {error}"));
    }
    let Some(lock) = become_the_scheduler() else { return };
    let starting = Scheduler::default().run();
    // In this order: a start waits for the second and then looks whether somebody has the first.
    drop(lock);
    drop(starting);
}

/// None when another scheduler is at work, which is woken, or there is nothing to do.
fn become_the_scheduler() -> Option<SessionLock> {
    loop {
        let starts = tx(|tx| {
            // Waits for a DROP EXTENSION, whose end decides whether there is anything to do.
            drop(SessionLock::acquire(tx, locks::GATE, Mode::Share));
            // A start may have counted on the scheduler that this one replaces.
            Ok(!lock::try_lock(tx, locks::STARTING, Mode::Exclusive))
        });
        // The second transaction sees what those starts have done that are over.
        let attempt = starts.and_then(|starts| {
            tx(|tx| {
                if !starts && !something_to_run(tx)? {
                    return Ok(Attempt::Leave);
                }
                if let Some(lock) = SessionLock::try_acquire(tx, locks::SCHEDULER, Mode::Exclusive)
                {
                    return Ok(Attempt::Locked(lock));
                }
                for pid in lock::holders(tx, locks::SCHEDULER)? {
                    latch::wake(pid);
                }
                Ok(Attempt::Leave)
            })
        });
        match attempt {
            Ok(Attempt::Locked(lock)) => return Some(lock),
            Ok(Attempt::Leave) => return None,
            Err(error) => {
                caught::log(format!("gpss scheduler: {error}"));
                wait(SOON, &[]);
            }
        }
    }
}

enum Attempt {
    Locked(SessionLock),
    Leave,
}

fn something_to_run(tx: &Tx) -> Result<bool> {
    Ok(acl::extension_oid("gpss").is_some() && !runs::wanted(tx)?.is_empty())
}

/// Nothing shall run, and no transaction has started anything that is to run when it commits: as
/// long as the lock is held, none will.
fn nothing_to_come() -> Result<Option<SessionLock>> {
    let starting = tx(|tx| Ok(SessionLock::try_acquire(tx, locks::STARTING, Mode::Exclusive)))?;
    Ok(match starting {
        Some(lock) if !tx(something_to_run)? => Some(lock),
        _ => None,
    })
}

/// Until somebody wakes the process, one of `watched` has ended, or the time is over.
fn wait(timeout: Duration, watched: &[i32]) {
    activity::idle("gpss: watching loaders");
    let until = Instant::now() + timeout;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let woken = latch::wait(if watched.is_empty() { left } else { left.min(SOON) }, None);
        // A cancel by pg_cancel_backend has nothing to cancel here.
        signals::wait_is_over();
        signals::reload_config_if_asked();
        let ended = watched.iter().any(|pid| !latch::is_alive(*pid));
        if woken.by_latch || ended || Instant::now() >= until {
            return;
        }
    }
}

/// What the scheduler knows of a slot.
struct Slot {
    run_id: i64,
    handle: Option<Handle>,
    started: Instant,
    /// Not before this.
    due: Instant,
    backoff: Backoff,
    /// The end of `Scheduler::no_slot` that gpss.status tells of.
    told: Option<Instant>,
    /// When the run was seen to have ended.
    ended: Option<Instant>,
}

impl Slot {
    /// Whether the loader of a run that has ended is gone. The one that has ended it leaves by itself;
    /// those of other slots do not know of it, and are told.
    fn is_over(&mut self) -> bool {
        let alive = |handle: &&Handle| handle.status() != bgworker::Status::Stopped;
        let Some(handle) = self.handle.as_ref().filter(alive) else { return true };
        let ended = *self.ended.get_or_insert_with(Instant::now);
        if ended.elapsed() < LEAVE {
            return false;
        }
        handle.terminate();
        true
    }
}

#[derive(Default)]
struct Scheduler {
    slots: HashMap<(i64, i32), Slot>,
    /// No process is free for a loader; then the runs that wait are tried again in their order.
    no_slot: Option<(Instant, Error)>,
    /// Loaders that an earlier scheduler has started, as of the last look: their ends wake nobody.
    inherited: Vec<i32>,
    purged: Option<Instant>,
}

impl Scheduler {
    /// Until nothing shall run; see `nothing_to_come` for the lock.
    fn run(&mut self) -> SessionLock {
        loop {
            activity::running("gpss: looking after jobs");
            let settled = match self.look() {
                Ok(settled) => settled,
                Err(error) => {
                    caught::log(format!("gpss scheduler: {error}"));
                    Some(false)
                }
            };
            if settled.is_none() {
                match nothing_to_come() {
                    Ok(Some(lock)) => return lock,
                    Ok(None) => {}
                    Err(error) => caught::log(format!("gpss scheduler: {error}")),
                }
            }
            let more = self.purge();
            wait(if settled == Some(true) && !more { LATER } else { SOON }, &self.inherited);
        }
    }

    /// Starts what is missing. None: nothing shall run; true: everything that shall run does.
    fn look(&mut self) -> Result<Option<bool>> {
        let wanted = tx(|tx| match acl::extension_oid("gpss") {
            Some(_) => runs::wanted(tx),
            None => Ok(vec![]),
        })?;
        let known = self.slots.len();
        self.slots
            .retain(|(job, _), slot| wanted.contains(&(*job, slot.run_id)) || !slot.is_over());
        if self.slots.len() < known {
            self.no_slot = None;
        }
        self.no_slot.take_if(|(until, _)| Instant::now() >= *until);
        if wanted.is_empty() && self.slots.is_empty() {
            return Ok(None);
        }
        let mut settled = self.slots.values().all(|slot| slot.ended.is_none());
        self.inherited.clear();
        for (job_id, run_id) in wanted {
            settled &= self.look_after(job_id, run_id)?;
        }
        Ok(Some(settled))
    }

    /// One job; whether all its loaders run.
    fn look_after(&mut self, job_id: i64, run_id: i64) -> Result<bool> {
        tx(|tx| {
            // Whoever starts, stops or removes the job has its row locked: not now.
            let Some(job) = jobs::try_lock(tx, job_id)? else { return Ok(false) };
            // Who is at work first, what they have committed second: one that ends in between is then
            // seen to have finished, and not missed.
            let mut vacant = vec![];
            for slot in 0..job.spec.workers as i32 {
                if !self.at_work(tx, job_id, slot)? {
                    vacant.push(slot);
                }
            }
            if runs::find(tx, job_id)?.is_none_or(|run| run.id != run_id) {
                return Ok(false);
            }
            let finished = runs::finished_slots(tx, job_id, run_id)?;
            let missing: Vec<i32> =
                vacant.into_iter().filter(|slot| !finished.contains(slot)).collect();
            if !missing.is_empty()
                && let Err(error) = job.check_can_run()
            {
                end(tx, &job, run_id, &error)?;
                return Ok(false);
            }
            let mut settled = true;
            for slot in missing {
                settled &= self.fill_slot(tx, &job, run_id, slot)?;
            }
            Ok(settled)
        })
    }

    fn at_work(&mut self, tx: &Tx, job_id: i64, slot: i32) -> Result<bool> {
        let handle = self.slots.get(&(job_id, slot)).and_then(|known| known.handle.as_ref());
        if handle.is_some_and(|handle| handle.status() != bgworker::Status::Stopped) {
            return Ok(true);
        }
        let tag = locks::slot(job_id, slot);
        // Let go at once: the new loader wants it.
        if SessionLock::try_acquire(tx, tag, Mode::Exclusive).is_some() {
            return Ok(false);
        }
        let holders = lock::holders(tx, tag)?;
        let somebody = !holders.is_empty();
        self.inherited.extend(holders);
        Ok(somebody)
    }

    /// Starts a loader for a slot that has none; whether that was possible now.
    fn fill_slot(&mut self, tx: &Tx, job: &Job, run_id: i64, slot: i32) -> Result<bool> {
        let now = Instant::now();
        let known = self.slots.entry((job.id, slot)).or_insert_with(|| Slot {
            run_id,
            handle: None,
            started: now,
            due: now,
            backoff: Backoff::default(),
            told: None,
            ended: None,
        });
        // One that `stop_job` has told to leave, and whose job goes on because that was rolled back, has
        // not failed.
        if known.handle.take().is_some() && !runs::worker_has_left(tx, job.id, known.run_id, slot)?
        {
            let lived = known.started.elapsed();
            let micros = i64::try_from(lived.as_micros()).unwrap_or(i64::MAX);
            if lived > HEALTHY || runs::has_loaded_within(tx, job.id, micros)? {
                known.backoff.succeeded();
            }
            let pause = known.backoff.failed(super::jitter());
            known.due = now + pause;
            let text = "the loader process ended unexpectedly, see the server's log";
            retrying(tx, job.id, slot, text, pause)?;
            caught::log(format!("gpss job \"{}\": {text}", job.name));
        }
        if now < known.due {
            return Ok(false);
        }
        if let Some((until, error)) = &self.no_slot {
            return tell_no_slot(tx, job, (slot, known), *until, error);
        }
        let args = LoaderArgs {
            database: bgworker::my_database(),
            owner: job.owner,
            job_id: job.id,
            run_id,
            slot,
            slots: job.spec.workers as i32,
        };
        match processes::start_loader(&args) {
            Ok(handle) => {
                known.handle = Some(handle);
                known.started = now;
                known.told = None;
                Ok(true)
            }
            Err(error) if error.sqlstate == SqlState::INSUFFICIENT_RESOURCES => {
                let until = now + NO_SLOT;
                let told = tell_no_slot(tx, job, (slot, known), until, &error);
                self.no_slot = Some((until, error));
                told
            }
            Err(error) => {
                let pause = known.backoff.failed(super::jitter());
                known.due = now + pause;
                let text = super::describe(&error);
                retrying(tx, job.id, slot, &text, pause)?;
                caught::log(format!("gpss job \"{}\": {text}", job.name));
                Ok(false)
            }
        }
    }

    /// What the retention settings no longer keep, now and then. Whether there is more.
    fn purge(&mut self) -> bool {
        if self.purged.is_some_and(|at| at.elapsed() < LATER) {
            return false;
        }
        let more = retention::purge().unwrap_or_else(|error| {
            caught::log(format!("gpss scheduler: cannot purge old rows: {error}"));
            false
        });
        if !more {
            self.purged = Some(Instant::now());
        }
        more
    }
}

/// Says, once for each try, that a run waits for a process. Returns that it has none.
fn tell_no_slot(
    tx: &Tx,
    job: &Job,
    (slot, known): (i32, &mut Slot),
    until: Instant,
    error: &Error,
) -> Result<bool> {
    if known.told != Some(until) {
        let text = super::describe(error);
        let pause = until.saturating_duration_since(Instant::now());
        retrying(tx, job.id, slot, &text, pause)?;
        if known.told.is_none() {
            caught::log(format!("gpss job \"{}\": {text}", job.name));
        }
        known.told = Some(until);
    }
    Ok(false)
}

/// Ends a run that no loader could take up, which would have ended it itself.
fn end(tx: &Tx, job: &Job, run_id: i64, error: &Error) -> Result<()> {
    if runs::delete(tx, job.id, run_id)? {
        let text = super::describe(error);
        runs::set_status(tx, job.id, Status::Error, Some(&text), None)?;
        caught::log(format!("gpss job \"{}\" is {}: {text}", job.name, Status::Error.as_str()));
        processes::alert(job, run_id, Status::Error, Some(bgworker::current_xid()));
    }
    Ok(())
}

/// A slot has no loader, and gets one after the pause at the earliest.
fn retrying(tx: &Tx, job_id: i64, slot: i32, text: &str, pause: Duration) -> Result<()> {
    let retry_in_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
    let trouble = Trouble { errmsg: text, waiting_for: Some(text), retry_in_ms: Some(retry_in_ms) };
    runs::retrying(tx, job_id, slot, &trouble)
}
