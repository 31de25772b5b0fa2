//! `gpss.dryrun`: what a job would run, and the rows that the next messages would give. Nothing is
//! written and no offset moves.

use super::{Named, answer, continued, control, job_or_config, schemas, submit, trial_as_owner};
use crate::catalog::errors::reason_text;
use crate::catalog::jobs::Job;
use crate::fdw::batch::Batch;
use crate::fdw::handover::{self, Decoding, Running};
use crate::fdw::peek;
use crate::pg::call::{Json, Required, Text};
use crate::pg::caught::{self, Level};
use crate::pg::fdw::{Table, relation_columns};
use crate::pg::signals;
use crate::pg::spi::Plan;
use crate::pg::subtx::{subtx, trial};
use crate::pg::tx::Tx;
use gpss_model::block::Verdict;
use gpss_model::epoch;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::job::{JobSpec, Mapping, TargetSpec};
use gpss_model::reset::{Reset, Start};
use gpss_model::statement::{self, qualified};
use pgrx::prelude::*;
use std::collections::BTreeMap;
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
/// that the next `max_messages` messages would give: from where a start, or a load of that text, would go on,
/// unless `reset` says where to begin, as in start_job but for times and 'latest'; with 0 the
/// statements alone, for which no broker is asked. Defaults, triggers and constraints of the target are left
/// out.
#[pg_extern(schema = "gpss", name = "dryrun", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)] // pgrx reads the result's columns from this type
fn dryrun(
    job_or_config: Text,
    max_messages: default!(Required<i32>, "10"),
    properties: default!(Json, "'{}'"),
    reset: default!(Option<Text>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(target, Text),
        name!(statement, Option<Text>),
        name!(partition_id, Option<i32>),
        name!(offset, Option<i64>),
        name!(row, Option<Json>),
        name!(error, Option<Text>),
    ),
> {
    let lines = answer(|| run(&job_or_config, max_messages.0, properties, reset.as_deref()));
    TableIterator::new(lines.into_iter().map(|line| {
        let Line { target, statement, partition, offset, row, error } = line;
        let (statement, error) = (statement.map(Text), error.map(Text));
        (Text(target), statement, partition, offset, row.map(Json), error)
    }))
}

fn run(text: &str, max_messages: i32, properties: Json, reset: Option<&str>) -> Result<Vec<Line>> {
    let count = usize::try_from(max_messages)
        .ok()
        .filter(|_| (0..=MAX_MESSAGES).contains(&max_messages))
        .ok_or_else(|| {
            Error::new(
                SqlState::INVALID_PARAMETER,
                format!("max_messages must be between 0 and {MAX_MESSAGES}"),
            )
        })?;
    let tx = Tx::current();
    let reset = reset.map(control::reset_of).transpose()?;
    let tried = |job: &Job| {
        let next = beginning(continued::positions(&tx, job)?, reset.as_ref())?;
        let (lines, read) = try_out(&tx, job, (&next, reset.as_ref()), count)?;
        Ok((next, lines, read))
    };
    let (next, lines, read) = match job_or_config(&tx, text, properties)? {
        Named::Job(job) => tried(&job)?,
        Named::Config(config) => {
            trial(&tx, || tried(&submit::from_config(&tx, "gpss.dryrun", &config)?))?
        }
    };
    if count > 0 && lines.iter().all(|line| line.offset.is_none()) {
        tell_of_no_row(read, &next);
    }
    Ok(lines)
}

/// Where to begin by partition; where nothing is said, with the oldest message.
fn beginning(stored: BTreeMap<i32, i64>, reset: Option<&Reset>) -> Result<BTreeMap<i32, i64>> {
    let refused = |what: &str| {
        let message = format!("gpss.dryrun cannot begin at {what}");
        Error::new(SqlState::INVALID_PARAMETER, message)
            .hint("Pass reset => 'earliest', or offsets: reset => '{\"0\": 1234}'.")
    };
    let mut next = stored;
    match reset {
        None => {}
        Some(Reset::Earliest) => next.clear(),
        Some(Reset::Offsets(starts)) => {
            for (partition, start) in starts {
                match start {
                    Start::Offset(offset) => next.insert(*partition, *offset),
                    Start::Earliest => next.remove(partition),
                    Start::Latest => return Err(refused("messages that are not there yet")),
                };
            }
        }
        Some(Reset::Latest) => return Err(refused("messages that are not there yet")),
        Some(Reset::Timestamp(_)) => return Err(refused("a time")),
    }
    Ok(next)
}

fn tell_of_no_row(read: usize, next: &BTreeMap<i32, i64>) {
    let notice = if read > 0 {
        let message = format!(
            "the filter drops {}",
            match read {
                1 => "the only message that was read".to_owned(),
                _ => format!("all {read} messages that were read"),
            }
        );
        Error::new(SqlState::SUCCESS, message)
    } else if next.is_empty() {
        let notice = Error::new(SqlState::SUCCESS, "there was no message to try");
        notice.detail("The topic has none.")
    } else {
        let from = continued::list(next);
        let notice =
            Error::new(SqlState::SUCCESS, format!("there was no message to try from {from} on"));
        notice.hint("Pass reset => 'earliest' to try the oldest messages.")
    };
    caught::report(Level::Notice, &notice);
}

/// What the job's statements say of the `next` message, or where there is none, of the `oldest` one: none of
/// them fails, or the first error; None: there is no message.
///
/// # Errors
/// As the dry run of one message.
pub fn try_one(tx: &Tx, job: &Job) -> Result<Option<(&'static str, Result<(), String>)>> {
    let next = continued::positions(tx, job)?;
    let oldest = BTreeMap::new();
    for (which, from) in [("next", &next), ("oldest", &oldest)] {
        let (lines, read) = try_out(tx, job, (from, None), 1)?;
        if read > 0 {
            let error = lines.into_iter().find_map(|line| line.error);
            return Ok(Some((which, error.map_or(Ok(()), Err))));
        }
        if next.is_empty() {
            break;
        }
    }
    Ok(None)
}

/// Where to begin, and the reset that says some of that.
type From<'a> = (&'a BTreeMap<i32, i64>, Option<&'a Reset>);

/// The lines, and how many messages were read for them.
fn try_out(tx: &Tx, job: &Job, from: From<'_>, count: usize) -> Result<(Vec<Line>, usize)> {
    trial_as_owner(tx, job, || rows(tx, job, from, count))
}

fn rows(tx: &Tx, job: &Job, from: From<'_>, count: usize) -> Result<(Vec<Line>, usize)> {
    let outputs = &job.spec.outputs;
    let statements = submit::check_statements(tx, &job.spec)?;
    let of_statement = |(output, statement): (&TargetSpec, String)| {
        let target = qualified(&output.target);
        Line { target, statement: Some(statement), ..Line::default() }
    };
    if count == 0 {
        return Ok((outputs.iter().zip(statements).map(of_statement).collect(), 0));
    }
    let table = Table::load(schemas::table_oid(tx, &job.spec.source)?);
    let trials = outputs.iter().map(|output| trial_of(tx, &job.spec, output, &table));
    let trials = trials.collect::<Result<Vec<_>>>()?;
    let (plans, decoding) = Decoding::prepare(tx, &table, job.owner, &trials)?;
    let messages = peek::take(&table, job.owner, from, &decoding.needs, count)?;
    let decoding = Rc::new(decoding);
    let mut lines = vec![];
    for ((output, statement), plan) in outputs.iter().zip(statements).zip(&plans) {
        lines.push(of_statement((output, statement)));
        let target = qualified(&output.target);
        let time = only_time(tx, output)?;
        for message in &messages {
            lines.extend(of_message(tx, &target, message, &decoding, plan, time.as_ref())?);
        }
    }
    Ok((lines, messages.len()))
}

/// How the target's column of a date or time is made, if it has one only: what a trial finds wrong with
/// such a value is about that one.
fn only_time(tx: &Tx, output: &TargetSpec) -> Result<Option<Mapping>> {
    let columns = relation_columns(schemas::table_oid(tx, &output.target)?);
    let is_time = |mapping: &&Mapping| {
        let column = columns.iter().find(|column| column.name == mapping.column);
        let of_time = ["timestamp", "date", "time "];
        column.is_some_and(|c| of_time.iter().any(|name| c.type_name.starts_with(name)))
    };
    let mut times = output.mapping.iter().flatten().filter(is_time);
    Ok(times.next().filter(|_| times.next().is_none()).cloned())
}

/// The rows of one message for one table, or its error.
fn of_message(
    tx: &Tx,
    target: &str,
    batch: &Rc<Batch>,
    decoding: &Rc<Decoding>,
    plan: &Plan,
    time: Option<&Mapping>,
) -> Result<Vec<Line>> {
    let Some((block, message)) = batch.rows().next() else { return Ok(vec![]) };
    let line = || Line {
        target: target.to_owned(),
        partition: Some(message.partition),
        offset: Some(message.offset),
        ..Line::default()
    };
    let failed =
        |error: &str| Ok(vec![Line { error: Some(reason_text(error).into_owned()), ..line() }]);
    if let Verdict::Bad(reason) = message.verdict {
        return failed(&block.text_of(reason));
    }
    let running = Running {
        decoding: Rc::clone(decoding),
        batch: Rc::clone(batch),
        progress: Rc::default(),
        statement: plan.id(),
    };
    let found = subtx(tx, || {
        handover::with_batch(running, || {
            plan.execute_returning(tx, &[], |row| row.get::<String>(1))
        })
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
        Err(error) => failed(&epoch::explained(error, time).to_string()),
    }
}

/// The rows of an output's statement as JSON, each value as its column's type.
fn trial_of(tx: &Tx, spec: &JobSpec, output: &TargetSpec, table: &Table) -> Result<String> {
    let source: Vec<String> = table.columns.iter().map(|c| c.name.clone()).collect();
    let target = relation_columns(schemas::table_oid(tx, &output.target)?);
    statement::trial_statement(spec, output, &source, &target)
}
