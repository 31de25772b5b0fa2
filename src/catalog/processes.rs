//! The background processes by name: how each is started, found and told to stop.

use crate::catalog::jobs::Job;
use crate::pg::bgworker::{self, Extra, Handle, Restart, Worker};
use crate::pg::caught;
use gpss_model::error::Result;
use gpss_model::state::Status;
use pgrx::pg_sys::Oid;

/// `pg_stat_activity.backend_type` of each kind.
const LAUNCHER: &str = "gpss launcher";
const SCHEDULER: &str = "gpss scheduler";
const LOADER: &str = "gpss loader";
const ALERT: &str = "gpss alert";

const LIBRARY: &str = "gpss";

/// One per server, from server start; only with shared_preload_libraries.
pub fn register_launcher() {
    Worker {
        name: LAUNCHER,
        kind: LAUNCHER,
        library: LIBRARY,
        function: "gpss_launcher_main",
        restart: Restart::After(5),
        argument: 0,
        extra: Extra::new(),
    }
    .register();
}

/// A scheduler for a database. It first waits for the end of transaction `xid`, if one is given,
/// and leaves at once if the database has a scheduler already or has nothing to run.
///
/// The postmaster starts it again when it is terminated or the server has crashed.
pub fn start_scheduler(database: Oid, xid: Option<u32>) -> Result<Handle> {
    Worker {
        name: SCHEDULER,
        kind: SCHEDULER,
        library: LIBRARY,
        function: "gpss_scheduler_main",
        restart: Restart::After(1),
        argument: xid.unwrap_or(0),
        extra: Extra::new().oid(database),
    }
    .start()
}

/// Arguments of a loader process.
#[derive(Clone, Copy, Debug)]
pub struct LoaderArgs {
    pub database: Oid,
    pub owner: Oid,
    pub job_id: i64,
    pub run_id: i64,
    pub slot: i32,
    pub slots: i32,
}

/// A loader; the scheduler starts it again, not the postmaster.
pub fn start_loader(args: &LoaderArgs) -> Result<Handle> {
    Worker {
        name: &format!("gpss loader of job {}, slot {}", args.job_id, args.slot),
        kind: LOADER,
        library: LIBRARY,
        function: "gpss_loader_main",
        restart: Restart::Never,
        argument: 0,
        extra: Extra::new()
            .oid(args.database)
            .oid(args.owner)
            .i64(args.job_id)
            .i64(args.run_id)
            .i32(args.slot)
            .i32(args.slots),
    }
    .start()
}

impl LoaderArgs {
    /// Of this process.
    pub fn mine() -> LoaderArgs {
        let mut extra = Extra::mine();
        LoaderArgs {
            database: extra.next_oid(),
            owner: extra.next_oid(),
            job_id: extra.next_i64(),
            run_id: extra.next_i64(),
            slot: extra.next_i32(),
            slots: extra.next_i32(),
        }
    }
}

/// Which end of which run an alert is about.
#[derive(Clone, Copy, Debug)]
pub struct AlertArgs {
    pub database: Oid,
    pub job_id: i64,
    pub run_id: i64,
    pub status: Status,
}

/// Leaves a process behind that runs the job's ALERT, if it has one: when transaction `xid` is
/// committed, if one is given. What is in the way of that goes to the server's log.
pub fn alert(job: &Job, run_id: i64, status: Status, xid: Option<u32>) {
    if job.spec.alert.is_none() {
        return;
    }
    let args = AlertArgs { database: bgworker::my_database(), job_id: job.id, run_id, status };
    if let Err(error) = start_alert(&args, xid) {
        caught::log(format!("gpss job \"{}\": ALERT is not run: {error}", job.name));
    }
}

/// A process that runs the job's ALERT. It first waits for the end of transaction `xid`, if one is
/// given, and leaves at once if the run has not ended then.
fn start_alert(args: &AlertArgs, xid: Option<u32>) -> Result<()> {
    let status = Status::ALL.iter().position(|status| *status == args.status);
    Worker {
        name: &format!("gpss alert of job {}", args.job_id),
        kind: ALERT,
        library: LIBRARY,
        function: "gpss_alert_main",
        restart: Restart::Never,
        argument: xid.unwrap_or(0),
        extra: Extra::new()
            .oid(args.database)
            .i64(args.job_id)
            .i64(args.run_id)
            .i32(status.and_then(|at| i32::try_from(at).ok()).unwrap_or(0)),
    }
    .start()
    .map(drop)
}

impl AlertArgs {
    /// Of this process.
    pub fn mine() -> AlertArgs {
        let mut extra = Extra::mine();
        AlertArgs {
            database: extra.next_oid(),
            job_id: extra.next_i64(),
            run_id: extra.next_i64(),
            status: usize::try_from(extra.next_i32())
                .ok()
                .and_then(|at| Status::ALL.get(at).copied())
                .unwrap_or(Status::Submitted),
        }
    }
}
