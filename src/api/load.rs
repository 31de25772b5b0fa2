//! `gpss.load`: what `gpkafka load` does. Submit, start, wait, in one call.
//!
//! A function runs inside its caller's transaction, which no worker could see; so the job is made
//! and started by a helper process in a transaction of its own, and this function only watches.

use super::continued::{self, Continued};
use super::jobs::template_values;
use super::{answer, control, remarks, schemas, submit, unknown_job};
use crate::catalog::errors;
use crate::catalog::jobs::{self, Job};
use crate::catalog::offsets::{self, Loaded};
use crate::catalog::runs::{self, Glance};
use crate::pg::call::{Json, Required, Text};
use crate::pg::caught::Level;
use crate::pg::spi::UnixMicros;
use crate::pg::tx::Tx;
use crate::pg::{acl, agent, caught, latch, signals};
use gpss_model::config::LoadConfig;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::job::{JobSpec, Origin, TableName};
use gpss_model::partitions::Partitions;
use gpss_model::printable::counted;
use gpss_model::reset::Reset;
use gpss_model::state::Status;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;
use std::time::{Duration, Instant};

/// How often the job is looked at, and how often the user is told.
const LOOK: Duration = Duration::from_millis(50);
const REPORT: Duration = Duration::from_secs(2);
/// How often it is asked whether the load waits for its own caller.
const BLOCK_CHECK: Duration = Duration::from_secs(1);

/// Loads a topic by a GPSS configuration and waits for the end: of the topic with quit_at_eof, else
/// until the call is cancelled. A later load of the same topic and table by the same role continues,
/// unless `reset` says where to begin, as in start_job. `partitions` stands in the place of the
/// configuration's. One row per partition; offsets are next-to-read.
#[pg_extern(schema = "gpss", name = "load", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)] // pgrx reads the result's columns from this type
fn load(
    config: Text,
    quit_at_eof: default!(Required<bool>, "true"),
    properties: default!(Json, "'{}'"),
    reset: default!(Option<Text>, "NULL"),
    name: default!(Option<Text>, "NULL"),
    partitions: default!(Option<Text>, "NULL"),
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
    let rows = answer(|| {
        let (reset, name, partitions) = (reset.as_deref(), name.as_deref(), partitions.as_deref());
        run(&config, quit_at_eof.0, properties, reset, name, partitions)
    });
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
/// gives the one of the last load the new configuration, and starts it. Returns its name, when that
/// was, in microseconds since 1970, and where it continues after which other jobs.
#[pg_extern(schema = "gpss", name = "start_load", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)] // as above
fn start_load(
    config: Text,
    quit_at_eof: Required<bool>,
    properties: Json,
    search_path: Text,
    reset: Option<Json>,
    name: Option<Text>,
    partitions: Option<Text>,
) -> TableIterator<
    'static,
    (name!(job, Text), name!(since, i64), name!(after, Option<Text>), name!(at, Option<Text>)),
> {
    TableIterator::once(answer(|| {
        let tx = Tx::current();
        // The caller's session, to which names in the configuration belong, may have another one.
        tx.set_local_text(c"search_path", &search_path)?;
        let config = parse(&config, properties, partitions.as_deref())?;
        let identity =
            Identity { topic: &config.source.topic, targets: submit::targets_of(&tx, &config)? };
        let (name, job) = match name.as_deref() {
            Some(name) => (name.to_owned(), identity.job_named(&tx, name)?),
            None => identity.own_job(&tx)?,
        };
        match job {
            None => {
                submit::from_config(&tx, &name, &config)?;
            }
            Some(job) => {
                if control::state(&tx, &job)?.is_active() {
                    return Err(Error::new(
                        SqlState::NOT_IN_PREREQUISITE_STATE,
                        format!("job \"{name}\" is already running"),
                    )
                    .hint(
                        "Wait for it with gpss.wait_job, or stop it with gpss.stop_job. Loads of \
                         different partitions run side by side when each has a name => of its own.",
                    ));
                }
                submit::replace(&tx, &job, &config)?;
            }
        }
        let reset = reset.map(|reset| Reset::try_from(reset.0)).transpose()?;
        let started = control::start(&name, quit_at_eof.0, reset)?;
        let (after, at) = started.continued.map_or((None, None), |c| (c.after, Some(c.at)));
        Ok((Text(name), started.since.0, after.map(Text), at.map(Text)))
    }))
}

fn parse(config: &str, properties: Json, partitions: Option<&str>) -> Result<LoadConfig> {
    let mut config = submit::parse(config, &template_values(properties)?)?;
    if let Some(text) = partitions {
        let chosen = Partitions::parse(text).ok_or_else(|| {
            let message = format!("partitions {}", Partitions::FORM);
            Error::new(SqlState::INVALID_PARAMETER, message)
        })?;
        config.source.partitions = Some(chosen);
    }
    Ok(config)
}

/// What a load continues by: one role's loads of a topic into tables are one job.
struct Identity<'a> {
    topic: &'a str,
    targets: Vec<TableName>,
}

impl Identity<'_> {
    /// The calling role's job, locked, or a name for it that is free. The first role has the plain name.
    fn own_job(&self, tx: &Tx) -> Result<(String, Option<Job>)> {
        let targets: Vec<String> = self
            .targets
            .iter()
            .map(|target| format!("{}.{}", target.schema, target.name))
            .collect();
        let plain = format!("load {} into {}", self.topic, targets.join(", "));
        let of_role = format!("{plain} as {}", acl::role_name(acl::current_user()));
        let mut free = None;
        for name in [plain, of_role] {
            match jobs::find(tx, &name)? {
                Some(job) if self.is_own(&job) => return self.locked(tx, name),
                Some(_) => {}
                None => free = free.or(Some(name)),
            }
        }
        match free {
            Some(name) => Ok((name, None)),
            None => Err(Error::new(
                SqlState::DUPLICATE_OBJECT,
                "other jobs have the names that this load would have",
            )
            .hint("Give it one: gpss.load(..., name => 'name').")),
        }
    }

    fn locked(&self, tx: &Tx, name: String) -> Result<(String, Option<Job>)> {
        let job = jobs::lock(tx, &name)?;
        Ok((name, job))
    }

    /// A job of that name, locked; None when there is none.
    fn job_named(&self, tx: &Tx, name: &str) -> Result<Option<Job>> {
        let Some(job) = jobs::find(tx, name)? else { return Ok(None) };
        if job.owner != acl::current_user() {
            return Err(Error::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("job \"{name}\" belongs to another role"),
            )
            .detail("A load runs as the role that calls gpss.load.")
            .hint("Choose another name, or call it as the job's owner (SET ROLE)."));
        }
        if !self.is_own(&job) {
            return Err(Error::new(
                SqlState::DUPLICATE_OBJECT,
                format!("job \"{name}\" loads something else"),
            )
            .detail("Only a job over a configuration of the same topic and tables takes a new one.")
            .hint("Choose another name, or remove the job with gpss.remove_job first."));
        }
        Ok(self.locked(tx, name.to_owned())?.1)
    }

    fn is_own(&self, job: &Job) -> bool {
        let JobSpec { origin, topic, outputs, .. } = &job.spec;
        job.owner == acl::current_user()
            && *origin == Origin::Config
            && topic == self.topic
            && outputs.iter().map(|output| &output.target).eq(&self.targets)
    }
}

fn run(
    config: &str,
    quit_at_eof: bool,
    properties: Json,
    reset: Option<&str>,
    name: Option<&str>,
    partitions: Option<&str>,
) -> Result<Vec<(Loaded, Status)>> {
    let tx = Tx::current();
    // Here too, so that the user sees the remarks: those of the other process are dropped.
    parse(config, properties.clone(), partitions)?;
    // Here, because a time is read by the settings of this session.
    let reset = reset.map(control::reset_of).transpose()?;
    let begins = reset.is_none();
    let params = [
        Some(config.to_owned()),
        Some(quit_at_eof.to_string()),
        Some(properties.0.to_string()),
        Some(schemas::search_path(&tx)?),
        reset.map(|reset| serde_json::Value::from(reset).to_string()),
        name.map(str::to_owned),
        partitions.map(str::to_owned),
    ];
    let sql = "SELECT job, since, after, at
               FROM gpss.start_load($1, $2::boolean, $3::jsonb, $4, $5::jsonb, $6, $7)";
    let made = agent::run(sql, &params)?.into_iter().next().unwrap_or_default();
    let [name, since, after, at] = made.try_into().unwrap_or_default();
    let name: String = name.unwrap_or_default();
    let since = UnixMicros(since.and_then(|since| since.parse().ok()).unwrap_or_default());
    let continued = at.map(|at| Continued { after, at });
    let watched = caught::caught(|| watch(&tx, &name, since, begins, continued.as_ref()));
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
    let rows = offsets::of_run(&tx, job.id, since)?;
    match glance.status {
        Status::Error => {
            let error = Error::new(
                SqlState::FDW_ERROR,
                format!("the load failed: {}", glance.errmsg.unwrap_or_default()),
            );
            Err(if rows.iter().any(|row| row.end_offset > row.begin_offset) {
                error.detail(
                    "Batches that were committed before stay, and a later load continues after them.",
                )
            } else {
                error
            })
        }
        status => {
            let how = if status == Status::Success { "stopped normally" } else { "was stopped" };
            let (loaded, rejected) = totals(&rows);
            caught::notice(format!("job \"{name}\" {how}: {}", counts(loaded, rejected)));
            if rejected > 0 {
                caught::report(Level::Warning, &errors::left_behind(&name, rejected));
            }
            let earlier = errors::count_new(&tx, job.id)?.saturating_sub(rejected);
            if earlier > 0 {
                caught::report(Level::Notice, &errors::left_behind_earlier(&name, earlier));
            }
            Ok(rows.into_iter().map(|row| (row, status)).collect())
        }
    }
}

/// Rows loaded and messages rejected.
fn totals(rows: &[Loaded]) -> (i64, i64) {
    rows.iter().fold((0, 0), |sum, row| (sum.0 + row.loaded, sum.1 + row.rejected))
}

fn counts(loaded: i64, rejected: i64) -> String {
    format!("{} loaded, {} rejected", counted(loaded, "row"), counted(rejected, "message"))
}

/// Reports progress until the job no longer runs.
fn watch(
    tx: &Tx,
    name: &str,
    since: UnixMicros,
    begins: bool,
    continued: Option<&Continued>,
) -> Result<(Job, Glance)> {
    let job = jobs::find_latest(tx, name)?.ok_or_else(|| unknown_job(name))?;
    remarks::tell(tx, &job.spec)?;
    match continued {
        Some(Continued { after: None, at }) => {
            caught::notice(format!("job \"{name}\" started, continues at {at}"));
        }
        _ => caught::notice(format!("job \"{name}\" started")),
    }
    match continued {
        Some(continued) => continued.tell(name),
        None if begins => continued::tell_of_beginning(tx, &job)?,
        None => {}
    }
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
        let totals_of = |glance: &Glance| (glance.rows_loaded, glance.rows_rejected);
        let moved = last.as_ref().is_none_or(|last| totals_of(last) != totals_of(&now));
        if trouble {
            let why = now.errmsg.clone().unwrap_or_default();
            caught::notice(format!("{}, will be tried again: {why}", now.status.as_str()));
            last = Some(now);
        } else if moved && reported.elapsed() >= REPORT {
            let (loaded, rejected) = totals(&offsets::of_run(tx, job.id, since)?);
            caught::notice(counts(loaded, rejected));
            reported = Instant::now();
            last = Some(now);
        }
        latch::wait(LOOK, None);
        signals::check_for_interrupts();
    }
}
