//! The scheduler of a database: compares the jobs that shall run (`gpss.run`) with the loaders that
//! do, and starts what is missing. It leaves when nothing shall run.

use super::retention;
use crate::catalog::jobs::{self, Job};
use crate::catalog::processes::{self, LoaderArgs};
use crate::catalog::{locks, runs};
use crate::error::Result;
use crate::model::backoff::Backoff;
use crate::model::state::Status;
use crate::pg::bgworker::{self, Extra, Handle};
use crate::pg::lock::{self, Mode, SessionLock};
use crate::pg::tx::{Tx, flush_statistics, tx};
use crate::pg::{acl, activity, caught, latch, signals};
use pgrx::pg_sys::Datum;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// With loaders missing (a job's row was locked, a start has to wait): look again soon.
const SOON: Duration = Duration::from_secs(1);
/// With everything running: ends of loaders wake the process, this is for the purge.
const LATER: Duration = Duration::from_secs(300);
/// A loader that lived this long was healthy: its successor starts at once.
const HEALTHY: Duration = Duration::from_secs(60);

/// Entry point of the process; `arg` is the transaction to wait for, or 0.
pub fn main(arg: Datum) {
    signals::install_die();
    let database = Extra::mine().next_oid();
    bgworker::connect(database, None);
    if let Ok(xid) = u32::try_from(arg.value())
        && xid != 0
        && let Err(error) = tx(|tx| {
            bgworker::wait_for_xact_end(tx, xid);
            Ok(())
        })
    {
        caught::log(format!("gpss scheduler: {error}"));
    }
    let mut scheduler = Scheduler { slots: HashMap::new(), purged: None };
    while let Some(lock) = become_the_scheduler() {
        scheduler.run();
        drop(lock);
        // A start that was committed between the last look and now has found the lock taken.
        if !matches!(tx(something_to_run), Ok(true)) {
            break;
        }
    }
}

/// None when another scheduler is at work, which is woken, or there is nothing to do.
fn become_the_scheduler() -> Option<SessionLock> {
    loop {
        let attempt = tx(|tx| {
            // Waits for a DROP EXTENSION, whose end decides whether there is anything to do.
            drop(SessionLock::acquire(tx, locks::GATE, Mode::Share));
            if !something_to_run(tx)? {
                return Ok(Attempt::Leave);
            }
            if let Some(lock) = SessionLock::try_acquire(tx, locks::SCHEDULER, Mode::Exclusive) {
                return Ok(Attempt::Locked(lock));
            }
            for pid in lock::holders(tx, locks::SCHEDULER)? {
                latch::wake(pid);
            }
            Ok(Attempt::Leave)
        });
        match attempt {
            Ok(Attempt::Locked(lock)) => return Some(lock),
            Ok(Attempt::Leave) => return None,
            Err(error) => {
                caught::log(format!("gpss scheduler: {error}"));
                wait(SOON);
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

fn wait(timeout: Duration) {
    activity::idle("gpss: watching loaders");
    latch::wait(timeout, None);
    signals::check_for_interrupts();
    signals::reload_config_if_asked();
}

/// What the scheduler knows of a slot.
struct Slot {
    run_id: i64,
    handle: Option<Handle>,
    started: Instant,
    /// Not before this.
    due: Instant,
    backoff: Backoff,
}

struct Scheduler {
    slots: HashMap<(i64, i32), Slot>,
    purged: Option<Instant>,
}

impl Scheduler {
    /// Until nothing shall run.
    fn run(&mut self) {
        loop {
            activity::running("gpss: looking after jobs");
            let settled = match self.look() {
                Ok(Some(settled)) => settled,
                Ok(None) => return,
                Err(error) => {
                    caught::log(format!("gpss scheduler: {error}"));
                    false
                }
            };
            self.purge();
            wait(if settled { LATER } else { SOON });
        }
    }

    /// Starts what is missing. None: nothing shall run; true: everything that shall run does.
    fn look(&mut self) -> Result<Option<bool>> {
        let wanted = tx(|tx| match acl::extension_oid("gpss") {
            Some(_) => runs::wanted(tx),
            None => Ok(vec![]),
        })?;
        self.slots.retain(|(job, _), slot| wanted.contains(&(*job, slot.run_id)));
        if wanted.is_empty() {
            return Ok(None);
        }
        let mut settled = true;
        for (job_id, run_id) in wanted {
            settled &= self.look_after(job_id, run_id)?;
        }
        flush_statistics();
        Ok(Some(settled))
    }

    /// One job; whether all its loaders run.
    fn look_after(&mut self, job_id: i64, run_id: i64) -> Result<bool> {
        tx(|tx| {
            // Whoever starts, stops or removes the job has its row locked: not now.
            let Some(job) = jobs::try_lock(tx, job_id)? else { return Ok(false) };
            // Who is at work first, what they have committed second: one that ends in between is then
            // seen to have finished, and not missed.
            let slots = 0..job.spec.workers as i32;
            let vacant: Vec<i32> = slots.filter(|slot| !self.at_work(tx, job_id, *slot)).collect();
            if runs::find(tx, job_id)?.is_none_or(|run| run.id != run_id) {
                return Ok(false);
            }
            let finished = runs::finished_slots(tx, job_id, run_id)?;
            let mut settled = true;
            for slot in vacant.into_iter().filter(|slot| !finished.contains(slot)) {
                settled &= self.fill_slot(tx, &job, run_id, slot)?;
            }
            Ok(settled)
        })
    }

    fn at_work(&self, tx: &Tx, job_id: i64, slot: i32) -> bool {
        let handle = self.slots.get(&(job_id, slot)).and_then(|known| known.handle.as_ref());
        handle.is_some_and(|handle| handle.status() != bgworker::Status::Stopped)
            || somebody_has(tx, job_id, slot)
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
        });
        if known.handle.take().is_some() {
            if known.started.elapsed() > HEALTHY {
                known.backoff.succeeded();
            }
            let pause = known.backoff.failed(super::jitter());
            known.due = now + pause;
            let text = "the loader process ended unexpectedly, see the server's log";
            runs::set_status(tx, job.id, Status::Retrying, Some(text), Some(ms(pause)))?;
            caught::log(format!("gpss job \"{}\": {text}", job.name));
        }
        if now < known.due {
            return Ok(false);
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
                Ok(true)
            }
            Err(error) => {
                let pause = known.backoff.failed(super::jitter());
                known.due = now + pause;
                let text = super::describe(&error);
                runs::set_status(tx, job.id, Status::Retrying, Some(&text), Some(ms(pause)))?;
                caught::log(format!("gpss job \"{}\": {text}", job.name));
                Ok(false)
            }
        }
    }

    /// What the retention settings no longer keep, now and then.
    fn purge(&mut self) {
        if self.purged.is_some_and(|at| at.elapsed() < LATER) {
            return;
        }
        self.purged = Some(Instant::now());
        if let Err(error) = retention::purge() {
            caught::log(format!("gpss scheduler: cannot purge old rows: {error}"));
        }
    }
}

/// A loader of an earlier scheduler may be at work. The lock is let go at once: the new loader
/// wants it.
fn somebody_has(tx: &Tx, job_id: i64, slot: i32) -> bool {
    SessionLock::try_acquire(tx, locks::slot(job_id, slot), Mode::Exclusive).is_none()
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
