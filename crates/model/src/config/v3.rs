//! Version v3 of the load configuration: `targets`, `sources`, `option`, in lower case; and FlowServer's
//! version v1.0, which is made of the same blocks.

use super::batch::{self, CommitKeys, TaskKeys};
use super::columns::Seen;
use super::tree::{Case, Map, Value};
use super::value::{self, column_name, only, sql};
use super::{LoadConfig, SourceSpec, Target, content, output, schedule};
use crate::error::Result;
use crate::job::{Alert, Commit, ErrorLimit, Schedule, TargetSpec, Task};

const COMMIT: CommitKeys =
    CommitKeys { max_row: "MAX_COUNT", interval: "INTERVAL_MS", idle: "IDLE_DURATION_MS" };
const TASK: TaskKeys = TaskKeys {
    post_batch: "WINDOW_STATEMENT",
    interval: "WINDOW_SIZE",
    prepare: "PREPARE_STATEMENT",
    teardown: "TEARDOWN_STATEMENT",
};

/// The names that FlowServer has changed.
struct Keys {
    database: &'static str,
    value: &'static str,
    key: &'static str,
    meta: &'static str,
    properties: &'static str,
    control: Option<&'static str>,
    /// How many threads read, and how far ahead.
    readers: &'static [&'static str],
}

const KEYS: Keys = Keys {
    database: "database",
    value: "value_content",
    key: "key_content",
    meta: "meta",
    properties: "rdkafka_prop",
    control: None,
    readers: &[],
};
const FLOW_KEYS: Keys = Keys {
    database: "dbname",
    value: "value",
    key: "key",
    meta: "metadata",
    properties: "properties",
    control: Some("control"),
    readers: &["read_workers", "read_buffer"],
};

/// Reads the whole tree; `root` has lost its version already.
pub(super) fn read(root: Map, notices: &mut Vec<String>) -> Result<LoadConfig> {
    let mut root = root.in_case(Case::Lower);
    let hint = "Version v3 has targets and sources.";
    root.misplaced(&["KAFKA", "FILE", "RABBITMQ"], "versions 1 and 2", hint)?;
    let (targets, sources) = (root.require("targets"), root.require("sources"));
    let option = root.take("option")?;
    root.finish()?;
    let target = only(targets?, "A job loads into one database.")?;
    let source = only(sources?, "A job reads one topic.")?;

    let gpdb = gpdb(entry(target, "gpdb", &[], "")?, &KEYS, notices)?;
    let others = ["file", "rabbitmq", "s3"];
    let kafka = kafka(entry(source, "kafka", &others, super::ONLY_KAFKA)?, &KEYS, notices)?;
    let runs = option.map(|value| runs(value.map()?, notices)).transpose()?;
    Ok(whole(gpdb, kafka, runs.unwrap_or_default()))
}

/// `source` and `target` of FlowServer's version v1.0; what is below them is that of v3 but for some
/// names and the block `control`.
pub(super) fn read_flow(root: Map, notices: &mut Vec<String>) -> Result<LoadConfig> {
    let mut root = root.in_case(Case::Lower);
    let hint = "Version v1.0 has source and target.";
    root.misplaced(&["KAFKA", "FILE", "RABBITMQ"], "versions 1 and 2", hint)?;
    root.misplaced(&["TARGETS", "SOURCES"], "version v3", hint)?;
    let (target, source) = (root.require("target"), root.require("source"));
    let option = root.take("option")?;
    let schedule = root.take("schedule")?;
    root.finish()?;

    let gpdb = gpdb(entry(target?, "database", &[], "")?, &FLOW_KEYS, notices)?;
    let kafka = entry(source?, "kafka", &["rabbitmq"], super::ONLY_KAFKA)?;
    let kafka = self::kafka(kafka, &FLOW_KEYS, notices)?;
    let mut runs = option.map(|value| runs(value.map()?, notices)).transpose()?.unwrap_or_default();
    if let Some(value) = schedule {
        runs.0 = schedule::schedule(value, notices)?;
    }
    Ok(whole(gpdb, kafka, runs))
}

/// `schedule` and `alert`.
fn runs(mut option: Map, notices: &mut Vec<String>) -> Result<(Schedule, Option<Alert>)> {
    let schedule = option.take("schedule")?.map(|value| schedule::schedule(value, notices));
    let alert = option.take("alert")?.map(schedule::alert).transpose()?;
    option.finish()?;
    Ok((schedule.transpose()?.unwrap_or_default(), alert))
}

fn whole(gpdb: Gpdb, kafka: Kafka, (schedule, alert): (Schedule, Option<Alert>)) -> LoadConfig {
    LoadConfig {
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
    }
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
    outputs: Vec<TargetSpec<Target>>,
}

fn gpdb(mut map: Map, keys: &Keys, notices: &mut Vec<String>) -> Result<Gpdb> {
    map.ignore(&["host", "port"])?;
    map.unused(&["password"], super::NO_PASSWORD, notices)?;
    let tables = map.require("tables")?;
    let place = tables.place();
    let outputs = tables.list()?.into_iter().map(|table| output::v3(table, notices));
    let outputs = outputs.collect::<Result<Vec<_>>>()?;
    if outputs.is_empty() {
        return Err(place.error("names no table"));
    }
    let gpdb = Gpdb {
        database: map.text(keys.database)?,
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
    source: SourceSpec,
    commit: Commit,
    task: Task,
}

fn kafka(mut map: Map, keys: &Keys, notices: &mut Vec<String>) -> Result<Kafka> {
    let mut seen = Seen::default();
    let brokers = value::brokers(map.require("brokers")?)?;
    let topic = value::topic(map.require("topic")?)?;
    let partitions = map.take("partitions")?.map(value::partitions).transpose()?;
    let mut fallback = map.take("fallback_offset")?;
    let missing_topic = map.take("missing_topic")?.map(value::missing_topic).transpose()?;
    if let Some(control) = keys.control.map(|key| map.take(key)).transpose()?.flatten() {
        let mut control = control.map()?;
        fallback = fallback.or(control.take("fallback_offset")?);
        batch::promises(&mut control, notices)?;
        control.finish()?;
    }
    let fallback = fallback.map(value::fallback).transpose()?;
    let value = map.take(keys.value)?;
    let value =
        value.map(|value| content::v3(value, content::VALUE, &mut seen, notices)).transpose()?;
    let key = map.take(keys.key)?;
    let key = key.map(|value| content::v3(value, content::KEY, &mut seen, notices)).transpose()?;
    let meta = map.take(keys.meta)?.map(|value| content::meta_v3(value, &mut seen)).transpose()?;
    if value.is_none() && key.is_none() {
        let hint = format!("Give {}, {} or both.", keys.value, keys.key);
        return Err(map.missing(keys.value).hint(hint));
    }
    let why = "one reader fetches from all brokers at once";
    map.unused(keys.readers, why, notices)?;
    let properties = match map.take(keys.properties)? {
        Some(value) => value::properties(value.map()?)?,
        None => Vec::new(),
    };
    let mut source = SourceSpec {
        brokers,
        topic,
        partitions,
        fallback,
        missing_topic,
        value,
        key,
        meta,
        properties,
    };
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
