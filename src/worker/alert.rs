//! The alert: a short-lived process that runs a job's ALERT command when the job has ended, so that
//! nobody waits for the command.

use crate::catalog::jobs;
use crate::catalog::processes::AlertArgs;
use crate::catalog::runs;
use crate::pg::acl::{self, Predefined};
use crate::pg::bgworker;
use crate::pg::program::{self, Ended, Program};
use crate::pg::tx::tx;
use crate::pg::{activity, caught, signals};
use gpss_model::error::Result;
use gpss_model::job::Alert;
use pgrx::pg_sys::Datum;
use std::time::Duration;

/// Entry point of the process; `arg` is the transaction to wait for, or 0.
pub fn main(arg: Datum) {
    // With a flag: the command has to be killed before the process leaves.
    signals::install_stop();
    let args = AlertArgs::mine();
    bgworker::connect(args.database, None);
    let outcome = wait_for(arg).and_then(|()| read(&args)).and_then(|call| match call {
        Some(call) => run(&call),
        None => Ok(()),
    });
    let stopped = signals::stop_requested();
    signals::forget_cancel();
    if let Err(error) = outcome
        && !stopped
    {
        caught::log(format!("gpss job {}: ALERT failed: {error}", args.job_id));
    }
}

/// What is to be run, and with which variables.
struct Call {
    job: String,
    alert: Alert,
    environment: [(&'static str, String); 6],
}

fn wait_for(arg: Datum) -> Result<()> {
    match u32::try_from(arg.value()) {
        Ok(xid) if xid != 0 => tx(|tx| {
            bgworker::wait_for_xact_end(tx, xid);
            Ok(())
        }),
        _ => Ok(()),
    }
}

/// None: there is nothing to do.
fn read(args: &AlertArgs) -> Result<Option<Call>> {
    tx(|tx| {
        if acl::extension_oid("gpss").is_none() {
            return Ok(None);
        }
        // Removed right after its end, perhaps.
        let Some(job) = jobs::by_id_even_removed(tx, args.job_id)? else { return Ok(None) };
        // The stop was rolled back.
        if runs::find(tx, job.id)?.is_some_and(|run| run.id == args.run_id) {
            return Ok(None);
        }
        let Some(alert) = job.spec.alert else { return Ok(None) };
        // Once more: the role may have lost it since the job was submitted.
        if !acl::has_privs_of_predefined(job.owner, Predefined::ExecuteServerProgram) {
            caught::log(format!(
                "gpss job \"{}\": ALERT is not run: the job's owner has not the privileges of role \
                 pg_execute_server_program",
                job.name
            ));
            return Ok(None);
        }
        // The job may have been started again meanwhile: then the reason is lost.
        let now = runs::glance(tx, job.id)?;
        let detail = now.errmsg.filter(|_| now.status == args.status).unwrap_or_default();
        let tables: Vec<String> = job
            .spec
            .outputs
            .iter()
            .map(|output| format!("{}.{}", output.target.schema, output.target.name))
            .collect();
        let environment = [
            ("GPSSJOB_ID", job.id.to_string()),
            ("GPSSJOB_NAME", job.name.clone()),
            ("GPSSJOB_STATUS", args.status.as_str().to_owned()),
            ("GPSSJOB_DETAIL", detail),
            ("GPSSJOB_TOPIC", job.spec.topic),
            ("GPSSJOB_TABLE", tables.join(", ")),
        ];
        Ok(Some(Call { job: job.name, alert, environment }))
    })
}

fn run(call: &Call) -> Result<()> {
    let Call { job, alert, environment } = call;
    activity::running(&format!("gpss job \"{job}\": ALERT"));
    let program = Program {
        command: &alert.command,
        workdir: alert.workdir.as_deref(),
        environment,
        timeout: alert.timeout_ms.map(Duration::from_millis),
    };
    let ended = program::run(&program)?;
    signals::forget_cancel();
    match ended {
        Ended::Well => caught::debug(format!("gpss job \"{job}\": ALERT was run")),
        Ended::Badly(how) => caught::log(format!("gpss job \"{job}\": ALERT failed: {how}")),
        Ended::TimedOut => {
            caught::log(format!("gpss job \"{job}\": ALERT was killed when its TIMEOUT was over"));
        }
        Ended::Stopped => {
            caught::log(format!("gpss job \"{job}\": ALERT was killed with its process"));
        }
    }
    Ok(())
}
