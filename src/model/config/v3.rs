//! Version v3 of the load configuration: `targets`, `sources`, `option`, in lower case.

use super::batch::{self, CommitKeys, TaskKeys};
use super::columns::Seen;
use super::tree::{Case, Map, Value};
use super::value::{self, column_name, filled, only, sql};
use super::{KafkaSource, LoadConfig, Target, output, schedule, side};
use crate::error::Result;
use crate::model::job::{Commit, ErrorLimit, Output, Task};

const COMMIT: CommitKeys =
    CommitKeys { max_row: "MAX_COUNT", interval: "INTERVAL_MS", idle: "IDLE_DURATION_MS" };
const TASK: TaskKeys = TaskKeys {
    post_batch: "WINDOW_STATEMENT",
    interval: "WINDOW_SIZE",
    prepare: "PREPARE_STATEMENT",
    teardown: "TEARDOWN_STATEMENT",
};

/// Reads the whole tree; `root` has lost its version already.
pub(super) fn read(root: Map, notices: &mut Vec<String>) -> Result<LoadConfig> {
    let mut root = root.in_case(Case::Lower);
    let hint = "Version v3 has targets and sources.";
    root.misplaced(&["KAFKA", "FILE", "RABBITMQ"], "versions 1 and 2", hint)?;
    let target = only(root.require("targets")?, "A job loads into one database.")?;
    let source = only(root.require("sources")?, "A job reads one topic.")?;
    let option = root.take("option")?;
    root.finish()?;

    let gpdb = gpdb(entry(target, "gpdb", &[], "")?, notices)?;
    let others = ["file", "rabbitmq", "s3"];
    let kafka = kafka(entry(source, "kafka", &others, super::ONLY_KAFKA)?, notices)?;
    let (mut schedule, mut alert) = (Default::default(), None);
    if let Some(value) = option {
        let mut option = value.map()?;
        if let Some(value) = option.take("schedule")? {
            schedule = schedule::schedule(value, notices)?;
        }
        alert = option.take("alert")?.map(schedule::alert).transpose()?;
        option.finish()?;
    }
    Ok(LoadConfig {
        database: gpdb.database,
        user: gpdb.user,
        source: kafka.source,
        outputs: gpdb.outputs,
        work_schema: gpdb.work_schema,
        filter: gpdb.filter,
        error_limit: gpdb.error_limit,
        commit: kafka.commit,
        task: kafka.task,
        schedule,
        alert,
        notices: Vec::new(),
    })
}

/// The keys of an entry `- <kind>: {…}`; `others` are kinds that only GPSS has.
fn entry(value: Value, kind: &'static str, others: &[&'static str], hint: &str) -> Result<Map> {
    let mut entry = value.map()?;
    entry.unsupported(others, hint)?;
    let named = entry.has(kind);
    match entry.take(kind)? {
        Some(value) => {
            entry.finish()?;
            value.map()
        }
        // `- gpdb:` with its keys beside it: they were meant to be indented further.
        None if named => Ok(entry),
        None => Err(entry.missing(kind)),
    }
}

struct Gpdb {
    database: Option<String>,
    user: Option<String>,
    work_schema: Option<String>,
    error_limit: Option<ErrorLimit>,
    filter: Option<String>,
    outputs: Vec<Output<Target>>,
}

fn gpdb(mut map: Map, notices: &mut Vec<String>) -> Result<Gpdb> {
    map.unused(&["host", "port"], super::THIS_DATABASE, notices)?;
    map.unused(&["password"], super::NO_PASSWORD, notices)?;
    let tables = map.require("tables")?;
    let place = tables.place();
    let outputs = tables.list()?.into_iter().map(|table| output::v3(table, notices));
    let outputs = outputs.collect::<Result<Vec<_>>>()?;
    if outputs.is_empty() {
        return Err(place.error("names no table"));
    }
    let gpdb = Gpdb {
        database: map.text("database")?,
        user: map.text("user")?,
        work_schema: map.take("work_schema")?.map(column_name).transpose()?,
        error_limit: map.take("error_limit")?.map(value::error_limit).transpose()?,
        filter: map.take("filter_expression")?.map(sql).transpose()?,
        outputs,
    };
    map.finish()?;
    Ok(gpdb)
}

struct Kafka {
    source: KafkaSource,
    commit: Commit,
    task: Task,
}

fn kafka(mut map: Map, notices: &mut Vec<String>) -> Result<Kafka> {
    let mut seen = Seen::default();
    let brokers = filled(map.require("brokers")?)?;
    let topic = filled(map.require("topic")?)?;
    let partitions = map.take("partitions")?.map(value::partitions).transpose()?;
    let fallback = map.take("fallback_offset")?.map(value::fallback).transpose()?;
    let value = map.take("value_content")?;
    let value = value.map(|value| side::v3(value, "value", &mut seen, notices)).transpose()?;
    let key = map.take("key_content")?;
    let key = key.map(|value| side::v3(value, "key", &mut seen, notices)).transpose()?;
    let meta = map.take("meta")?.map(|value| side::meta_v3(value, &mut seen)).transpose()?;
    if value.is_none() && key.is_none() {
        return Err(map.missing("value_content").hint("Give value_content, key_content or both."));
    }
    let properties = match map.take("rdkafka_prop")? {
        Some(value) => value::properties(value.map()?)?,
        None => Vec::new(),
    };
    let mut source =
        KafkaSource { brokers, topic, partitions, fallback, value, key, meta, properties };
    if let Some(value) = map.take("encoding")? {
        super::set_encoding(&mut source, value, notices)?;
    }
    map.unsupported(&["transformer"], super::NO_PLUGIN)?;
    batch::promises(&mut map, notices)?;
    let (commit, task) = task(&mut map, notices)?;
    map.finish()?;
    Ok(Kafka { source, commit, task })
}

/// `task`, which was called `window` before GPSS 1.10.
fn task(map: &mut Map, notices: &mut Vec<String>) -> Result<(Commit, Task)> {
    let task = map.take("task")?;
    let window = map.take("window")?;
    if let (Some(_), Some(window)) = (&task, &window) {
        let error = window.place().error("stands beside task, which is its new name");
        return Err(error.hint("Remove one of them."));
    }
    let Some(value) = task.or(window) else {
        return Ok(Default::default());
    };
    let mut map = value.map()?;
    let mut commit = Commit::default();
    if let Some(value) = map.take("batch_size")? {
        let mut sizes = value.map()?;
        commit = batch::commit(&mut sizes, &COMMIT, notices)?;
        sizes.finish()?;
    }
    let task = batch::task(&mut map, &TASK, notices)?;
    map.finish()?;
    Ok((commit, task))
}

#[cfg(test)]
mod tests;
