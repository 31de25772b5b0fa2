//! Versions 1 and 2 of the load configuration: `KAFKA:INPUT`, `:OUTPUT`, `:COMMIT`, in upper case.
//! They differ in how a message is described and in the number of tables; the rest is read alike.

use super::batch::{self, CommitKeys, TaskKeys};
use super::columns::Seen;
use super::tree::{Map, Value};
use super::value::{self, column_name, sql};
use super::{Column, LoadConfig, Side, SourceSpec, Target, content, output, schedule};
use crate::error::Result;
use crate::job::{ErrorLimit, TargetSpec};

/// What the file says about its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Nothing: 1 by GPSS's rule, 2 if the file describes values or keys as only version 2 does.
    Unstated,
    One,
    Two,
}

const COMMIT: CommitKeys =
    CommitKeys { max_row: "MAX_ROW", interval: "MINIMAL_INTERVAL", idle: "IDLE_DURATION" };
const TASK: TaskKeys = TaskKeys {
    post_batch: "POST_BATCH_SQL",
    interval: "BATCH_INTERVAL",
    prepare: "PREPARE_SQL",
    teardown: "TEARDOWN_SQL",
};
/// How version 1 describes a message, in INPUT itself.
const OF_VERSION_1: [&str; 9] = [
    "COLUMNS",
    "FORMAT",
    "AVRO_OPTION",
    "CSV_OPTION",
    "CUSTOM_OPTION",
    "DELIMITED_OPTION",
    "JSONL_OPTION",
    "PROTOBUF_OPTION",
    "TEXT_OPTION",
];

/// Reads the whole tree; `root` has lost its VERSION already.
pub(super) fn read(
    mut root: Map,
    version: Version,
    notices: &mut Vec<String>,
) -> Result<LoadConfig> {
    root.misplaced(&["TARGETS", "SOURCES", "OPTION"], "version v3", "Write version: v3.")?;
    let database = root.text("DATABASE")?;
    let user = root.text("USER")?;
    root.ignore(&["HOST", "PORT"])?;
    root.unused(&["PASSWORD"], super::NO_PASSWORD, notices)?;
    root.unsupported(&["FILE", "RABBITMQ"], super::ONLY_KAFKA)?;
    root.unused(&["DEBUG"], super::NO_DEBUG, notices)?;
    let (schedule, alert) = (root.take("SCHEDULE")?, root.take("ALERT")?);
    // A key that nobody knows says more about the file than what is missing or wrong below another.
    let kafka = root.require("KAFKA");
    root.finish()?;
    let mut kafka = kafka?.map()?;
    let schedule = schedule.map(|value| schedule::schedule(value, notices));
    let schedule = schedule.transpose()?.unwrap_or_default();
    let alert = alert.map(schedule::alert).transpose()?;
    kafka.unused(&["DEBUG"], super::NO_DEBUG, notices)?;

    let input_map = kafka.require("INPUT")?.map()?;
    let two = match version {
        Version::One => false,
        Version::Two => true,
        Version::Unstated => input_map.has("VALUE") || input_map.has("KEY"),
    };
    if two && version == Version::Unstated {
        notices.push("the file has VALUE or KEY and no VERSION: it is read as version 2".into());
    }
    let mut input = input(input_map, two, notices)?;
    let outputs = outputs(&mut kafka, two, notices)?;
    let work_schema = kafka.take("METADATA")?.map(metadata).transpose()?.flatten();
    let commit = match kafka.take("COMMIT")? {
        Some(value) => {
            let mut map = value.map()?;
            let commit = batch::commit(&mut map, &COMMIT, notices)?;
            batch::promises(&mut map, notices)?;
            map.finish()?;
            commit
        }
        None => Default::default(),
    };
    if let Some(value) = kafka.take("POLL")? {
        let mut poll = value.map()?;
        let why = "messages are fetched as they arrive";
        poll.unused(&["BATCHSIZE", "TIMEOUT"], why, notices)?;
        poll.finish()?;
    }
    let task = match kafka.take("TASK")? {
        Some(value) => {
            let mut map = value.map()?;
            let task = batch::task(&mut map, &TASK, notices)?;
            map.finish()?;
            task
        }
        None => Default::default(),
    };
    if let Some(value) = kafka.take("PROPERTIES")? {
        input.source.properties = value::properties(value.map()?)?;
    }
    kafka.finish()?;
    Ok(LoadConfig {
        database,
        user,
        source: input.source,
        outputs,
        work_schema,
        filter: input.filter,
        error_limit: input.error_limit,
        commit,
        task,
        schedule,
        alert,
        notices: Vec::new(),
    })
}

struct Input {
    source: SourceSpec,
    filter: Option<String>,
    error_limit: Option<ErrorLimit>,
}

fn input(mut input: Map, two: bool, notices: &mut Vec<String>) -> Result<Input> {
    let source = input.require("SOURCE")?.map()?;
    let source = kafka_source(source, notices)?;
    let (value, key, meta) = message(&mut input, two)?;
    let mut source = SourceSpec { value, key, meta, ..source };
    input.unsupported(&["TRANSFORMER"], super::NO_PLUGIN)?;
    if let Some(value) = input.take("ENCODING")? {
        super::set_encoding(&mut source, value, notices)?;
    }
    let filter = input.take("FILTER")?.map(sql).transpose()?;
    let error_limit = input.take("ERROR_LIMIT")?.map(value::error_limit).transpose()?;
    let why = "no process outside the server takes part";
    input.unused(&["LOCAL_HOSTNAME", "LOCAL_PORT"], why, notices)?;
    input.finish()?;
    Ok(Input { source, filter, error_limit })
}

type Message = (Option<Side>, Option<Side>, Option<Column>);

fn message(input: &mut Map, two: bool) -> Result<Message> {
    let mut seen = Seen::default();
    if !two {
        let hint = "Write VERSION: 2, and put COLUMNS, FORMAT and the option block into VALUE.";
        input.misplaced(&["VALUE", "KEY", "META"], "version 2", hint)?;
        return Ok((Some(content::take_v2(input, content::VALUE, &mut seen)?), None, None));
    }
    let hint = "In version 2 it goes into KAFKA:INPUT:VALUE.";
    input.misplaced(&OF_VERSION_1, "version 1", hint)?;
    let value = input.take("VALUE")?.map(|value| content::v2(value, content::VALUE, &mut seen));
    let value = value.transpose()?;
    let key =
        input.take("KEY")?.map(|value| content::v2(value, content::KEY, &mut seen)).transpose()?;
    let meta = input.take("META")?.map(|value| content::meta_v2(value, &mut seen)).transpose()?;
    if value.is_none() && key.is_none() {
        return Err(input.missing("VALUE").hint("Give VALUE, KEY or both."));
    }
    Ok((value, key, meta))
}

fn kafka_source(mut source: Map, notices: &mut Vec<String>) -> Result<SourceSpec> {
    let why = "encryption is chosen by the property security.protocol";
    source.unused(&["ENCRYPTION"], why, notices)?;
    let kafka = SourceSpec {
        brokers: value::brokers(source.require("BROKERS")?)?,
        topic: value::topic(source.require("TOPIC")?)?,
        partitions: source.take("PARTITIONS")?.map(value::partitions).transpose()?,
        fallback: source.take("FALLBACK_OFFSET")?.map(value::fallback).transpose()?,
        missing_topic: source.take("MISSING_TOPIC")?.map(value::missing_topic).transpose()?,
        value: None,
        key: None,
        meta: None,
        properties: Vec::new(),
    };
    source.finish()?;
    Ok(kafka)
}

fn outputs(
    kafka: &mut Map,
    two: bool,
    notices: &mut Vec<String>,
) -> Result<Vec<TargetSpec<Target>>> {
    if !two {
        let hint = "Write VERSION: 2, or use OUTPUT with one table.";
        kafka.misplaced(&["OUTPUTS"], "version 2", hint)?;
        return Ok(vec![output::v2(kafka.require("OUTPUT")?, notices)?]);
    }
    let several = kafka.take("OUTPUTS")?;
    let one = kafka.take("OUTPUT")?;
    match (one, several) {
        (Some(one), None) => Ok(vec![output::v2(one, notices)?]),
        (None, Some(several)) => {
            let place = several.place();
            let tables = several.list()?.into_iter().map(|table| output::v2(table, notices));
            let tables = tables.collect::<Result<Vec<_>>>()?;
            if tables.is_empty() {
                return Err(place.error("names no table"));
            }
            Ok(tables)
        }
        (Some(_), Some(several)) => {
            Err(several.place().error("stands beside OUTPUT").hint("Remove one of them."))
        }
        (None, None) => Err(kafka.missing("OUTPUT")),
    }
}

fn metadata(value: Value) -> Result<Option<String>> {
    let mut metadata = value.map()?;
    let schema = metadata.take("SCHEMA")?.map(column_name).transpose()?;
    metadata.finish()?;
    Ok(schema)
}

#[cfg(test)]
mod tests;
