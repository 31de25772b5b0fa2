//! `gpss.load`: what `gpkafka load` does. Submit, start, wait, in one call.
//!
//! A function runs inside its caller's transaction, which no worker could see; so the job is made
//! and started by a helper process in a transaction of its own, and this function only watches.

use super::jobs::template_values;
use super::{answer, check_owner, control, submit, unknown_job};
use crate::catalog::jobs::{self, Job};
use crate::catalog::offsets::{self, Loaded};
use crate::catalog::runs::{self, Glance};
use crate::error::{Error, Result, SqlState};
use crate::model::state::Status;
use crate::pg::tx::Tx;
use crate::pg::{agent, caught, latch, signals};
use pgrx::JsonB;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;
use std::ffi::CString;
use std::time::{Duration, Instant};

/// How often the job is looked at, and how often the user is told.
const LOOK: Duration = Duration::from_millis(50);
const REPORT: Duration = Duration::from_secs(2);
/// How often it is asked whether the load waits for its own caller.
const BLOCK_CHECK: Duration = Duration::from_secs(1);

/// Loads a topic by a GPSS configuration and waits for the end: of the topic with quit_at_eof, else
/// until the call is cancelled. A later load of the same topic and table continues. One row per
/// partition; offsets are next-to-read.
#[pg_extern(schema = "gpss", name = "load", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)] // pgrx reads the result's columns from this type
fn load(
    config: &str,
    quit_at_eof: default!(bool, "true"),
    properties: default!(JsonB, "'{}'"),
) -> TableIterator<
    'static,
    (
        name!(partition_id, i32),
        name!(start_time, TimestampWithTimeZone),
        name!(end_time, TimestampWithTimeZone),
        name!(begin_offset, i64),
        name!(end_offset, i64),
        name!(rows_loaded, i64),
        name!(rows_rejected, i64),
        name!(status, String),
    ),
> {
    let rows = answer(|| run(config, quit_at_eof, properties));
    TableIterator::new(rows.into_iter().filter_map(|(row, status)| {
        Some((
            row.partition,
            row.start.to_postgres().try_into().ok()?,
            row.end.to_postgres().try_into().ok()?,
            row.begin_offset,
            row.end_offset,
            row.loaded,
            row.rejected,
            status.as_str().to_owned(),
        ))
    }))
}

/// The half of `gpss.load` that has to be committed before workers can see it: makes the job, or
/// gives the one of the last load the new configuration, and starts it. Returns its name.
#[pg_extern(schema = "gpss", name = "start_load", volatile, parallel_unsafe)]
fn start_load(config: &str, quit_at_eof: bool, properties: JsonB, search_path: &str) -> String {
    answer(|| {
        let tx = Tx::current();
        // The caller's session, to which names in the configuration belong, may have another one.
        tx.set_local(c"search_path", &CString::new(search_path).unwrap_or_default());
        let config = submit::parse(config, &template_values(properties)?)?;
        let targets = submit::targets_of(&tx, &config)?;
        let targets: Vec<String> =
            targets.iter().map(|target| format!("{}.{}", target.schema, target.name)).collect();
        let name = format!("load {} into {}", config.source.topic, targets.join(", "));
        match jobs::lock(&tx, &name)? {
            None => {
                submit::from_config(&tx, &name, &config)?;
            }
            Some(job) => {
                check_owner(&job)?;
                if control::state(&tx, &job)?.is_active() {
                    return Err(Error::new(
                        SqlState::NOT_IN_PREREQUISITE_STATE,
                        format!("job \"{name}\" is already running"),
                    )
                    .hint("Wait for it with gpss.wait_job, or stop it with gpss.stop_job."));
                }
                submit::replace(&tx, &job, &config)?;
            }
        }
        control::start(&name, quit_at_eof, None)?;
        Ok(name)
    })
}

fn run(config: &str, quit_at_eof: bool, properties: JsonB) -> Result<Vec<(Loaded, Status)>> {
    let tx = Tx::current();
    // Here too, so that the user sees the remarks: those of the other process are dropped.
    submit::parse(config, &template_values(JsonB(properties.0.clone()))?)?;
    let params = [
        Some(config.to_owned()),
        Some(quit_at_eof.to_string()),
        Some(properties.0.to_string()),
        Some(submit::search_path(&tx)?),
    ];
    let sql = "SELECT gpss.start_load($1, $2::boolean, $3::jsonb, $4)";
    let made = agent::run(sql, &params)?;
    let name = made.into_iter().flatten().flatten().next().unwrap_or_default();
    let watched = caught::caught(|| watch(&tx, &name));
    let (job, glance) = match watched {
        Ok(end) => end,
        Err(error) => {
            // Cancelled: what is committed stays, and a later load continues there.
            let stopped = agent::run("SELECT gpss.stop_job($1)", &[Some(name.clone())]);
            if let Err(second) = stopped {
                caught::warning(format!("job \"{name}\" could not be stopped: {second}"));
            }
            return Err(error);
        }
    };
    match glance.status {
        Status::Error => Err(Error::new(
            SqlState::FDW_ERROR,
            format!("the load failed: {}", glance.errmsg.unwrap_or_default()),
        )
        .detail("Batches that were committed before stay, and a later load continues after them.")),
        status => {
            let how = if status == Status::Success { "stopped normally" } else { "was stopped" };
            let rows = offsets::last_run(&tx, job.id)?;
            let (loaded, rejected) =
                rows.iter().fold((0, 0), |sum, row| (sum.0 + row.loaded, sum.1 + row.rejected));
            caught::notice(format!(
                "job \"{name}\" {how}: {loaded} rows loaded, {rejected} messages rejected"
            ));
            Ok(rows.into_iter().map(|row| (row, status)).collect())
        }
    }
}

/// Reports progress until the job no longer runs.
fn watch(tx: &Tx, name: &str) -> Result<(Job, Glance)> {
    let job = jobs::find_latest(tx, name)?.ok_or_else(|| unknown_job(name))?;
    caught::notice(format!("job \"{name}\" started"));
    let mut reported = Instant::now();
    let mut last: Option<Glance> = None;
    let mut looked = Instant::now();
    loop {
        if looked.elapsed() >= BLOCK_CHECK {
            looked = Instant::now();
            if runs::waits_for_us(tx, job.id)? {
                // Nobody else can find this deadlock: we wait for no lock.
                return Err(Error::new(
                    SqlState::new("40P01"),
                    "the load waits for a lock that this transaction holds",
                )
                .hint("Call gpss.load at the beginning of a transaction, or outside of one."));
            }
        }
        let now = runs::glance(tx, job.id)?;
        if !now.status.is_active() {
            return Ok((job, now));
        }
        let trouble =
            now.status == Status::Retrying && last.as_ref().is_none_or(|l| l.errmsg != now.errmsg);
        let moved = last.as_ref().is_none_or(|l| l.rows_loaded != now.rows_loaded);
        if trouble {
            let why = now.errmsg.clone().unwrap_or_default();
            caught::notice(format!("{}, will be tried again: {why}", now.status.as_str()));
            last = Some(now);
        } else if moved && reported.elapsed() >= REPORT {
            caught::notice(format!(
                "{} rows loaded, {} messages rejected",
                now.rows_loaded, now.rows_rejected
            ));
            reported = Instant::now();
            last = Some(now);
        }
        latch::wait(LOOK, None);
        signals::check_for_interrupts();
    }
}
