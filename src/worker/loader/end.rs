//! How a loader leaves: what has to be done when its job ends, and when only the process does.

use super::Loader;
use crate::catalog::processes::{self, LoaderArgs};
use crate::catalog::{batches, errors, jobs, locks, runs};
use crate::pg::tx::{Tx, tx};
use crate::pg::{acl, activity, caught, lock, signals};
use crate::worker::{describe, describe_with, hints, task};
use gpss_model::error::{Error, Result};
use gpss_model::state::Status;

/// What PostgreSQL says of a table, a column, a function or a privilege that is missing has seldom a
/// hint.
const MEND: &str = "Correct the target or the privileges and start the job again, or gpss.load: it goes on \
                    where it stood. To correct the mapping of a job that was submitted, remove it and \
                    submit it anew.";

impl Loader {
    /// Ends the run for good: TEARDOWN_SQL, the last status, and the alert. With JOB_SUCCESS only the
    /// last of several slots does.
    ///
    /// The statement comes first, so that whoever waits for the job waits for it too; after a crash
    /// between the two the run goes on, and ends by running it once more.
    pub(super) fn end(&mut self, status: Status, errmsg: Option<String>) -> Result<()> {
        let failed = self.teardown();
        if signals::stop_requested() {
            if failed.is_some() {
                // Cancelled in the middle of it.
                return self.stopped();
            }
            signals::forget_cancel();
        }
        let mut errmsg = joined(errmsg, failed);
        let ended = tx(|tx| {
            if acl::extension_oid("gpss").is_none() {
                return Ok(false);
            }
            if status != Status::Error {
                errmsg = joined(errmsg.take(), self.left_behind(tx)?);
            }
            let ended = self.end_run(tx, status)?;
            if ended {
                runs::set_status(tx, self.args.job_id, status, errmsg.as_deref(), None)?;
            }
            Ok(ended)
        })?;
        if ended {
            self.log_end(status, errmsg.as_deref());
            if let Some(job) = &self.job {
                processes::alert(job, self.args.run_id, status, None);
            }
        }
        Ok(())
    }

    /// What to say if the run has rejected messages.
    fn left_behind(&self, tx: &Tx) -> Result<Option<String>> {
        let rejected = batches::rejected(tx, self.args.job_id, self.args.run_id)?;
        let job = self.job.as_ref().filter(|_| rejected > 0);
        Ok(job.map(|job| describe(&errors::left_behind(&job.name, rejected))))
    }

    fn end_run(&self, tx: &Tx, status: Status) -> Result<bool> {
        let LoaderArgs { job_id, run_id, slot, slots, .. } = self.args;
        match status {
            Status::Success => runs::finish_slot(tx, job_id, run_id, slot, slots),
            _ => runs::delete(tx, job_id, run_id),
        }
    }

    fn log_end(&self, status: Status, errmsg: Option<&str>) {
        let name = self.name();
        caught::log(match (status, errmsg) {
            (Status::Success, None) => {
                format!("gpss {name} has read to the end and stopped normally")
            }
            (_, None) => format!("gpss {name} is {}", status.as_str()),
            (_, Some(text)) => format!("gpss {name} is {}: {text}", status.as_str()),
        });
    }

    /// Ends the run: only the user can mend this, or the attempts are used up.
    pub(super) fn fail(&mut self, error: &Error) -> Result<()> {
        let mut error = error.clone();
        if let Some(job) = &self.job {
            let remote = tx(|tx| hints::of_remote_table(tx, &job.spec, &error));
            error.hint = error.hint.or(remote.ok().flatten());
        }
        if error.sqlstate.as_str().starts_with("42") && hints::hint(error.sqlstate).is_none() {
            error.hint.get_or_insert_with(|| MEND.to_owned());
        }
        let told = self.job.as_ref().is_some_and(|job| job.spec.schedule.max_retries.is_some());
        let retries = match self.retries.made() {
            _ if !told => String::new(),
            0 => String::new(),
            1 => " (tried again once)".to_owned(),
            times => format!(" (tried again {times} times)"),
        };
        self.end(Status::Error, Some(describe_with(&error, &retries)))
    }

    /// The process was told to stop. By `stop_job` the job ends too, which then sets the status; at a
    /// shutdown it is only interrupted.
    pub(super) fn stopped(&mut self) -> Result<()> {
        signals::forget_cancel();
        let LoaderArgs { job_id, slot, .. } = self.args;
        let ends = tx(|tx| {
            if acl::extension_oid("gpss").is_none() {
                return Ok(false);
            }
            if self.job.is_none() {
                self.job = jobs::by_id(tx, job_id)?;
            }
            let by_stop_job = !lock::holders(tx, locks::stopping(job_id))?.is_empty();
            if by_stop_job {
                runs::worker_leaves(tx, job_id, slot)?;
            }
            let has_teardown = self.job.as_ref().is_some_and(|j| j.spec.task.teardown.is_some());
            Ok(has_teardown && by_stop_job)
        })?;
        if ends && let Some(failed) = self.teardown() {
            signals::forget_cancel();
            // `stop_job` keeps the text.
            tx(|tx| match runs::is_current(tx, job_id, self.args.run_id)? {
                true => runs::set_status(tx, job_id, Status::Stopped, Some(&failed), None),
                false => Ok(()),
            })?;
            self.log_end(Status::Stopped, Some(&failed));
        }
        Ok(())
    }

    /// Runs TEARDOWN_SQL; why that failed.
    fn teardown(&self) -> Option<String> {
        let job = self.job.as_ref().filter(|job| job.spec.task.teardown.is_some())?;
        activity::running(&format!("gpss job \"{}\": TEARDOWN_SQL", job.name));
        task::teardown(job, self.args.run_id).err().map(|error| describe(&error))
    }
}

/// What is to be said, one after the other.
fn joined(first: Option<String>, second: Option<String>) -> Option<String> {
    match (first, second) {
        (Some(first), Some(second)) => Some(format!("{first}\n{second}")),
        (first, second) => first.or(second),
    }
}
