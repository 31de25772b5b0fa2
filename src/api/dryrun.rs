//! `gpss.dryrun`: what a job would run, and the rows that the next messages would give. Nothing is
//! written and no offset moves.

use super::jobs::template_values;
use super::{answer, check_owner, submit, unknown_job};
use crate::catalog::jobs::{self, Job};
use crate::catalog::offsets;
use crate::error::{Error, Result, SqlState};
use crate::fdw::batch::Batch;
use crate::fdw::columns::Layout;
use crate::fdw::formats::Formats;
use crate::fdw::sample;
use crate::fdw::session::{self, Needs, Running};
use crate::model::job::{JobSpec, Output};
use crate::model::rows::Verdict;
use crate::model::statement::{self, qualified};
use crate::pg::acl::AsUser;
use crate::pg::fdw::Table;
use crate::pg::signals;
use crate::pg::spi::{self, Plan};
use crate::pg::subtx::subtx;
use crate::pg::tx::Tx;
use pgrx::JsonB;
use pgrx::prelude::*;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::rc::Rc;

/// Messages that one call may look at.
const MAX_MESSAGES: i32 = 10_000;

/// One line of the answer: of a table's statement, of a row, or of a message's error.
#[derive(Default)]
struct Line {
    target: String,
    statement: Option<String>,
    partition: Option<i32>,
    offset: Option<i64>,
    row: Option<serde_json::Value>,
    error: Option<String>,
}

/// The statements of a job, given by its name, or of a load configuration, given as text, and the rows
/// that the next `max_messages` messages would give: from the job's offsets on, else from the oldest
/// message on. Defaults, triggers and constraints of the target are left out.
#[pg_extern(schema = "gpss", name = "dryrun", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)] // pgrx reads the result's columns from this type
fn dryrun(
    job_or_config: &str,
    max_messages: default!(i32, "10"),
    properties: default!(JsonB, "'{}'"),
) -> TableIterator<
    'static,
    (
        name!(target, String),
        name!(statement, Option<String>),
        name!(partition_id, Option<i32>),
        name!(offset, Option<i64>),
        name!(row, Option<JsonB>),
        name!(error, Option<String>),
    ),
> {
    let lines = answer(|| run(job_or_config, max_messages, properties));
    TableIterator::new(lines.into_iter().map(|line| {
        let Line { target, statement, partition, offset, row, error } = line;
        (target, statement, partition, offset, row.map(JsonB), error)
    }))
}

fn run(job_or_config: &str, max_messages: i32, properties: JsonB) -> Result<Vec<Line>> {
    let count = usize::try_from(max_messages)
        .ok()
        .filter(|_| (1..=MAX_MESSAGES).contains(&max_messages))
        .ok_or_else(|| {
            Error::new(
                SqlState::INVALID_PARAMETER,
                format!("max_messages must be between 1 and {MAX_MESSAGES}"),
            )
        })?;
    let tx = Tx::current();
    if let Some(job) = jobs::find(&tx, job_or_config)? {
        check_owner(&job)?;
        return try_out(&tx, &job, count);
    }
    if !job_or_config.contains(':') {
        return Err(unknown_job(job_or_config));
    }
    let config = submit::parse(job_or_config, &template_values(properties)?)?;
    let mut lines = vec![];
    let outcome: Result<()> = subtx(&tx, || {
        let id = submit::from_config(&tx, "gpss.dryrun", &config)?;
        if let Some(job) = jobs::by_id_latest(&tx, id)? {
            lines = try_out(&tx, &job, count)?;
        }
        Err(super::rolled_back())
    });
    super::undone(outcome)?;
    Ok(lines)
}

/// Runs with the rights of the job's owner, and undone: a mapping may call functions.
fn try_out(tx: &Tx, job: &Job, count: usize) -> Result<Vec<Line>> {
    let mut lines = vec![];
    let next = offsets::load(tx, job.id)?;
    let outcome = subtx(tx, || {
        let path = CString::new(job.spec.search_path.as_str()).unwrap_or_default();
        let _owner = AsUser::restricted(job.owner);
        tx.set_local(c"search_path", &path);
        tx.set_local(c"standard_conforming_strings", c"on");
        lines = rows(tx, job, &next, count)?;
        Err(super::rolled_back())
    });
    super::undone(outcome)?;
    Ok(lines)
}

fn rows(tx: &Tx, job: &Job, next: &BTreeMap<i32, i64>, count: usize) -> Result<Vec<Line>> {
    let spec = &job.spec;
    let statements = submit::check_statements(tx, spec)?;
    let table = Table::load(submit::oid(tx, &spec.source)?);
    let mut needs = Needs::default();
    let mut trials = vec![];
    for output in &spec.outputs {
        let sql = trial(tx, spec, output, &table)?;
        let explain = format!("EXPLAIN (VERBOSE, COSTS OFF) {sql}");
        let (outcome, needed) = session::probe(table.relid, || spi::exec(tx, &explain, &[]));
        outcome?;
        needs.add(&needed);
        trials.push(Plan::prepare(tx, &sql, &[])?);
    }
    let formats = Formats::of(&table, job.owner)?;
    let layout = Rc::new(Layout::of(&table)?);
    let batch = sample::take(&table, job.owner, next, (&formats, &needs), count)?;
    let needs = Rc::new(needs);
    let mut lines = vec![];
    for ((output, statement), plan) in spec.outputs.iter().zip(statements).zip(&trials) {
        let target = qualified(&output.target);
        let statement = Some(statement);
        lines.push(Line { target: target.clone(), statement, ..Line::default() });
        for index in 0..batch.messages() {
            let running = Running {
                relid: table.relid,
                source: spec.source.clone(),
                batch: Rc::new(batch.slice(index..index + 1)),
                needs: Rc::clone(&needs),
                layout: Rc::clone(&layout),
                formats: formats.clone(),
                progress: Rc::default(),
            };
            lines.extend(of_message(tx, &target, &batch, index, running, plan)?);
        }
    }
    Ok(lines)
}

/// The rows of one message for one table, or its error.
fn of_message(
    tx: &Tx,
    target: &str,
    batch: &Batch,
    index: usize,
    running: Running,
    plan: &Plan,
) -> Result<Vec<Line>> {
    let Some((block, message)) = batch.rows().nth(index) else { return Ok(vec![]) };
    let line = || Line {
        target: target.to_owned(),
        partition: Some(message.partition),
        offset: Some(message.offset),
        ..Line::default()
    };
    if let Verdict::Bad(reason) = message.verdict {
        let reason = block.bytes_of(reason).unwrap_or_default();
        let error = Some(String::from_utf8_lossy(reason).into_owned());
        return Ok(vec![Line { error, ..line() }]);
    }
    let found = subtx(tx, || {
        session::with_batch(running, || plan.execute_returning(tx, &[], |row| row.get::<String>(1)))
    });
    signals::check_for_interrupts();
    match found {
        Ok(rows) => {
            let line = |row: String| match serde_json::from_str(&row) {
                Ok(row) => Line { row: Some(row), ..line() },
                Err(error) => Line { error: Some(format!("cannot be shown: {error}")), ..line() },
            };
            Ok(rows.into_iter().map(line).collect())
        }
        Err(error) if error.sqlstate == SqlState::QUERY_CANCELED => Err(error),
        Err(error) => Ok(vec![Line { error: Some(error.to_string()), ..line() }]),
    }
}

/// The rows of an output's statement as JSON, each value as its column's type.
fn trial(tx: &Tx, spec: &JobSpec, output: &Output, table: &Table) -> Result<String> {
    let source: Vec<String> = table.columns.iter().map(|c| c.name.clone()).collect();
    let target = crate::pg::fdw::relation_columns(submit::oid(tx, &output.target)?);
    statement::trial_statement(spec, output, &source, &target)
}
