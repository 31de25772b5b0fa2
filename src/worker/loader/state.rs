//! What a loader says of its job: in gpss.status, and in the server's log one line for each change
//! of the state or of its reason.

use super::Loader;
use crate::catalog::processes::LoaderArgs;
use crate::catalog::runs::{self, Trouble};
use crate::pg::tx::{Tx, tx};
use crate::pg::{activity, caught};
use crate::worker::describe;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::printable::shortened;
use gpss_model::state::Status;
use std::time::Duration;

/// What was said last, by this process or, before it has said anything, by another one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Running,
    /// For this failure, if one of this process's. Its DETAIL is left out: addresses and process
    /// ids in it differ from one try to the next.
    Retrying(Option<(SqlState, String)>),
    /// Between two runs of a SCHEDULE.
    Pausing,
}

/// For this failure.
pub(super) fn retrying(error: &Error) -> Said {
    Said::Retrying(Some((error.sqlstate, error.message.clone())))
}

impl Loader {
    /// The job runs, as far as it can.
    pub(super) fn running(&mut self) -> Result<()> {
        if let Some(error) = self.waiting.clone() {
            if self.said != Some(retrying(&error)) {
                self.retrying(&error, None);
            }
            return Ok(());
        }
        if self.said == Some(Said::Running) {
            return Ok(());
        }
        let LoaderArgs { job_id, run_id, slot, .. } = self.args;
        let runs = tx(|tx| match runs::is_current(tx, job_id, run_id)? {
            true => runs::running(tx, job_id, run_id, slot),
            false => Ok(true),
        })?;
        if runs {
            self.say(Said::Running, None);
        }
        // Else another worker will say it.
        self.said = Some(Said::Running);
        Ok(())
    }

    /// Something has succeeded since the last failure: that is over.
    pub(super) fn succeeded(&mut self) -> Result<()> {
        self.retries.succeeded();
        self.load_failed = false;
        self.running()
    }

    /// The job waits for its surroundings: for the next try, or within librdkafka.
    pub(super) fn retrying(&mut self, error: &Error, wait: Option<Duration>) {
        let text = describe(error);
        // Some partitions may wait for something of their own: the others are read.
        let whole = (self.waiting.as_ref() != Some(error))
            .then(|| shortened(&error.to_string()).into_owned());
        let written = self.set_retrying(&text, whole.as_deref(), wait);
        // It may fail for the same reason: then the log alone knows.
        let unwritten = written.err().map(|second| format!("; and the status: {second}"));
        self.say(retrying(error), Some(text + &unwritten.unwrap_or_default()));
        if let Some(wait) = wait {
            activity::idle(&format!("gpss {}: next try in {} s", self.name(), wait.as_secs()));
        }
    }

    /// A pause of the SCHEDULE.
    pub(super) fn pausing(&mut self, left: Duration) -> Result<()> {
        let text = "RUNNING_DURATION is over, the job starts again after \
                    AUTO_STOP_RESTART_INTERVAL";
        self.set_retrying(text, Some(text), Some(left))?;
        self.say(Said::Pausing, Some(text.to_owned()));
        activity::idle(&format!("gpss {}: pause", self.name()));
        Ok(())
    }

    /// A try begins: no next one is due. Until it succeeds the job is what it was.
    pub(super) fn trying(&mut self, tx: &Tx) -> Result<()> {
        let job_id = self.args.job_id;
        if runs::status(tx, job_id)? == Some(Status::Retrying) {
            runs::forget_next_try(tx, job_id, self.args.slot)?;
            if self.said.is_none() {
                self.said = Some(Said::Retrying(None));
                // Nobody knows what had failed.
                self.load_failed = true;
            }
        }
        Ok(())
    }

    /// Writes it down, unless the run has ended: then gpss.status has its last word already.
    fn set_retrying(
        &self,
        errmsg: &str,
        waiting_for: Option<&str>,
        retry_in: Option<Duration>,
    ) -> Result<()> {
        let LoaderArgs { job_id, run_id, slot, .. } = self.args;
        let retry_in_ms = retry_in.map(|d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        let trouble = Trouble { errmsg, waiting_for, retry_in_ms };
        tx(|tx| match runs::is_current(tx, job_id, run_id)? {
            true => runs::retrying(tx, job_id, slot, &trouble),
            false => Ok(()),
        })
    }

    fn say(&mut self, now: Said, text: Option<String>) {
        if self.said.as_ref() == Some(&now) {
            return;
        }
        let status = if now == Said::Running { Status::Running } else { Status::Retrying };
        let text = text.map(|text| format!(": {text}")).unwrap_or_default();
        self.said = Some(now);
        caught::log(format!("gpss {} is {}{text}", self.name(), status.as_str()));
    }
}
