//! Version 1 of the load configuration (VERSION absent or 1): `KAFKA:INPUT`, `:OUTPUT`, `:COMMIT`.

use super::yaml::{Map, Value};
use super::{Column, KafkaSource, LoadConfig, name};
use crate::error::Result;
use crate::model::job::{Commit, ErrorLimit, Mapping, Mode};
use crate::model::{statement, suggest};
use std::collections::HashSet;

/// A column of this name stands for a field of the message that is skipped.
const IGNORED: &str = "__IGNORED__";
const FORMATS: [&str; 8] =
    ["avro", "binary", "csv", "custom", "delimited", "json", "jsonl", "protobuf"];
const MODES: [&str; 3] = ["insert", "update", "merge"];

const VERSION_2: &str = "The key belongs to version 2 of the format; remove it.";

/// Reads the whole tree; `root` has lost its VERSION already.
pub(super) fn read(mut root: Map) -> Result<LoadConfig> {
    let mut notices = Vec::new();
    let database = root.text("DATABASE")?;
    let user = root.text("USER")?;
    let why = "the job runs inside this database";
    unused(&mut root, &["HOST", "PORT"], why, &mut notices)?;
    unused(&mut root, &["PASSWORD"], "it is not stored either", &mut notices)?;
    root.not_built(&["FILE", "RABBITMQ"], "Kafka is the only source so far.")?;
    root.not_built(&["SCHEDULE", "ALERT"], VERSION_2)?;
    let mut kafka = root.require("KAFKA")?.map()?;
    root.finish()?;

    let (source, filter, error_limit) = input(kafka.require("INPUT")?.map()?, &mut notices)?;
    kafka.not_built(&["OUTPUTS"], "One job loads into one table: use OUTPUT.")?;
    let output = output(kafka.require("OUTPUT")?.map()?)?;
    let work_schema = kafka.take("METADATA")?.map(metadata).transpose()?.flatten();
    let commit = kafka.take("COMMIT")?.map(commit).transpose()?.unwrap_or_default();
    if let Some(value) = kafka.take("POLL")? {
        let mut poll = value.map()?;
        let why = "messages are fetched as they arrive";
        unused(&mut poll, &["BATCHSIZE", "TIMEOUT"], why, &mut notices)?;
        poll.finish()?;
    }
    if let Some(value) = kafka.take("TASK")? {
        let mut task = value.map()?;
        let keys = ["POST_BATCH_SQL", "BATCH_INTERVAL", "PREPARE_SQL", "TEARDOWN_SQL"];
        task.not_built(&keys, "Remove TASK; a trigger on the target table can do its work.")?;
        task.finish()?;
    }
    let properties = match kafka.take("PROPERTIES")? {
        Some(value) => properties(value.map()?)?,
        None => Vec::new(),
    };
    kafka.finish()?;
    Ok(LoadConfig {
        database,
        user,
        source: KafkaSource { properties, ..source },
        target_schema: output.schema,
        target_table: output.table,
        work_schema,
        mode: Mode::Insert,
        mapping: output.mapping,
        filter,
        error_limit,
        commit,
        notices,
    })
}

/// Takes keys that have no meaning here, and says so.
fn unused(
    map: &mut Map,
    keys: &[&'static str],
    why: &str,
    notices: &mut Vec<String>,
) -> Result<()> {
    for key in keys {
        if map.text(key)?.is_some() {
            notices.push(format!("{key} is not used: {why}"));
        }
    }
    Ok(())
}

fn input(
    mut input: Map,
    notices: &mut Vec<String>,
) -> Result<(KafkaSource, Option<String>, Option<ErrorLimit>)> {
    let source = input.require("SOURCE")?.map()?;
    let (brokers, topic) = brokers_and_topic(source, notices)?;
    input.not_built(
        &["VALUE", "KEY", "META"],
        "The key belongs to version 2; describe the message's value by COLUMNS and FORMAT.",
    )?;
    input.not_built(&["TRANSFORMER", "ENCODING"], VERSION_2)?;
    let format = format(input.require("FORMAT")?)?;
    input.not_built(
        &["DELIMITED_OPTION", "AVRO_OPTION", "CUSTOM_OPTION", "CSV_OPTION", "JSONL_OPTION"],
        "Format json takes no options: remove the key.",
    )?;
    let columns = match input.take("COLUMNS")? {
        Some(value) => json_columns(value)?,
        // A message without COLUMNS is one column of this name.
        None => vec![Column { name: "value".to_owned(), type_name: "json".to_owned() }],
    };
    let filter = input.take("FILTER")?.map(sql).transpose()?;
    let limit = input.take("ERROR_LIMIT")?.map(error_limit).transpose()?;
    let why = "no process outside the server takes part";
    unused(&mut input, &["LOCAL_HOSTNAME", "LOCAL_PORT"], why, notices)?;
    input.finish()?;
    let source = KafkaSource { brokers, topic, columns, format, properties: Vec::new() };
    Ok((source, filter, limit))
}

fn brokers_and_topic(mut source: Map, notices: &mut Vec<String>) -> Result<(String, String)> {
    let why = "encryption is chosen by the property security.protocol";
    unused(&mut source, &["ENCRYPTION"], why, notices)?;
    source.not_built(&["PARTITIONS", "FALLBACK_OFFSET"], VERSION_2)?;
    let brokers = filled(source.require("BROKERS")?)?;
    let topic = filled(source.require("TOPIC")?)?;
    source.finish()?;
    Ok((brokers, topic))
}

fn format(value: Value) -> Result<String> {
    let mut unknown = value.invalid("names an unknown format");
    let later = value.not_built("has a value that is not supported yet", "Use format json.");
    let format = value.text()?.trim().to_ascii_lowercase();
    if format == "json" {
        return Ok(format);
    }
    if FORMATS.contains(&format.as_str()) {
        return Err(later.detail(format!("The format is {format}.")));
    }
    unknown.hint = suggest::hint(&format, FORMATS);
    Err(unknown)
}

/// The columns of format json: the whole message is one value.
fn json_columns(value: Value) -> Result<Vec<Column>> {
    let wrong = value.invalid("must name exactly one column of type json or jsonb for format json");
    let columns = columns(value)?;
    match columns.as_slice() {
        [column] if ["json", "jsonb"].contains(&column.type_name.to_ascii_lowercase().as_str()) => {
            Ok(columns)
        }
        _ => Err(wrong),
    }
}

/// COLUMNS of any format: names, and SQL types that are PostgreSQL's to understand.
fn columns(value: Value) -> Result<Vec<Column>> {
    let mut columns = Vec::new();
    let mut seen = HashSet::new();
    for item in value.list()? {
        let mut item = item.map()?;
        let name_value = item.require("NAME")?;
        let type_name = filled(item.require("TYPE")?)?;
        item.finish()?;
        let doubled = name_value.error("names a column a second time");
        let name = column_name(name_value)?;
        if name != IGNORED && !seen.insert(name.clone()) {
            return Err(doubled);
        }
        columns.push(Column { name, type_name });
    }
    Ok(columns)
}

struct Output {
    schema: Option<String>,
    table: String,
    mapping: Option<Vec<Mapping>>,
}

fn output(mut output: Map) -> Result<Output> {
    if let Some(value) = output.take("MODE")? {
        insert_mode(value)?;
    }
    output.not_built(
        &[
            "MATCH_COLUMNS",
            "ORDER_COLUMNS",
            "UPDATE_COLUMNS",
            "UPDATE_CONDITION",
            "DELETE_CONDITION",
        ],
        "The key has a meaning in modes update and merge only; remove it.",
    )?;
    output.not_built(&["FILTER"], "Use KAFKA:INPUT:FILTER.")?;
    output.not_built(&["TRANSFORMER"], VERSION_2)?;
    let schema = output.take("SCHEMA")?.map(column_name).transpose()?;
    let (schema, table) = table_name(schema, output.require("TABLE")?)?;
    let mapping = output.take("MAPPING")?.map(mapping).transpose()?;
    output.finish()?;
    Ok(Output { schema, table, mapping })
}

/// TABLE, and the schema it may carry when SCHEMA is absent.
fn table_name(schema: Option<String>, value: Value) -> Result<(Option<String>, String)> {
    let malformed = value.invalid("is not a table name");
    let two_schemas = value
        .invalid("names a schema although SCHEMA does")
        .hint("Remove one of them, or put a table name that holds a dot in double quotes.");
    let mut parts = name::parts(&value.text()?).ok_or_else(|| malformed.clone())?;
    match (parts.pop(), parts.pop(), parts.is_empty()) {
        (Some(table), None, true) => Ok((schema, table)),
        (Some(_), Some(_), true) if schema.is_some() => Err(two_schemas),
        (Some(table), own, true) => Ok((own, table)),
        _ => Err(malformed),
    }
}

fn insert_mode(value: Value) -> Result<()> {
    let mut unknown = value.invalid("must be insert");
    let later = value.not_built("has a value that is not supported yet", "Use MODE insert.");
    let mode = value.text()?.trim().to_ascii_lowercase();
    if mode == "insert" {
        return Ok(());
    }
    if MODES.contains(&mode.as_str()) {
        return Err(later.detail(format!("The mode is {mode}.")));
    }
    unknown.hint = suggest::hint(&mode, MODES);
    Err(unknown)
}

/// MAPPING as a list of NAME and EXPRESSION, or as a mapping from one to the other.
fn mapping(value: Value) -> Result<Vec<Mapping>> {
    let empty = value.error("names no column");
    let mut pairs = Vec::new();
    if value.is_map() {
        for (key, expression) in value.map()?.into_pairs() {
            let malformed = expression.invalid("is not a column name");
            pairs.push((name::single(&key).ok_or(malformed)?, expression));
        }
    } else {
        for item in value.list()? {
            let mut item = item.map()?;
            let column = column_name(item.require("NAME")?)?;
            let expression = item.require_sql("EXPRESSION")?;
            item.finish()?;
            pairs.push((column, expression));
        }
    }
    if pairs.is_empty() {
        return Err(empty);
    }
    let mut seen = HashSet::new();
    let mut mapping = Vec::new();
    for (column, expression) in pairs {
        if !seen.insert(column.clone()) {
            return Err(expression.error("is for a column that is mapped already"));
        }
        mapping.push(Mapping { column, expression: sql(expression)? });
    }
    Ok(mapping)
}

/// SQL that stays where it is put; checked here because the line is known here.
fn sql(value: Value) -> Result<String> {
    let place = value.error("is not a complete SQL expression");
    let sql = value.sql()?;
    statement::check_fragment(&sql).map_err(|error| {
        place.detail(format!("Found {}.", error.message)).hint(
            "Put the expression in quotes if it holds \" #\", which begins a comment in YAML.",
        )
    })?;
    Ok(sql)
}

fn error_limit(value: Value) -> Result<ErrorLimit> {
    let wrong = value.invalid(ErrorLimit::FORM);
    ErrorLimit::parse(&value.text()?).ok_or(wrong)
}

fn metadata(value: Value) -> Result<Option<String>> {
    let mut metadata = value.map()?;
    let schema = metadata.take("SCHEMA")?.map(column_name).transpose()?;
    metadata.finish()?;
    Ok(schema)
}

fn commit(value: Value) -> Result<Commit> {
    let mut commit = value.map()?;
    commit.not_built(
        &["CONSISTENCY", "IDLE_DURATION", "SAVE_FAILING_BATCH", "RECOVER_FAILING_BATCH"],
        VERSION_2,
    )?;
    let max_row = commit.take("MAX_ROW")?.map(Value::integer).transpose()?;
    let interval = commit.take("MINIMAL_INTERVAL")?.map(Value::integer).transpose()?;
    commit.finish()?;
    Ok(match (max_row, interval) {
        (None, None) => Commit::default(),
        (max_row, interval) => Commit {
            // GPSS: zero or absent is no bound on the messages.
            max_row: max_row.filter(|rows| *rows > 0),
            minimal_interval_ms: interval.unwrap_or(Commit::DEFAULT_INTERVAL_MS),
        },
    })
}

fn properties(properties: Map) -> Result<Vec<(String, String)>> {
    properties.into_pairs().into_iter().map(|(name, value)| Ok((name, value.text()?))).collect()
}

/// A name of one part, with or without quotes.
fn column_name(value: Value) -> Result<String> {
    let malformed = value
        .invalid("is not a name")
        .hint("Put a name that holds a dot or a quote in double quotes.");
    name::single(&value.text()?).ok_or(malformed)
}

/// A text that is more than blanks, without those around it.
fn filled(value: Value) -> Result<String> {
    let empty = value.error("has no value");
    let text = value.text()?;
    match text.trim() {
        "" => Err(empty),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use crate::error::{Error, SqlState};
    use std::collections::BTreeMap;

    fn read(text: &str) -> Result<LoadConfig> {
        parse(text, &BTreeMap::new())
    }

    fn refused(text: &str) -> Error {
        read(text).unwrap_err()
    }

    /// A small valid file with a change.
    fn changed(from: &str, to: &str) -> String {
        let text = "\
DATABASE: shopdb
USER: loader
KAFKA:
  INPUT:
    SOURCE: {BROKERS: \"k1:9092\", TOPIC: readings}
    COLUMNS: [{NAME: doc, TYPE: json}]
    FORMAT: json
    ERROR_LIMIT: 5
  OUTPUT:
    TABLE: readings
    MAPPING:
      - {NAME: sensor, EXPRESSION: \"(doc->>'sensor_id')::int\"}
      - {NAME: reading, EXPRESSION: \"(doc->>'val')::decimal\"}
  COMMIT: {MINIMAL_INTERVAL: 1000}
";
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    }

    fn map(column: &str, expression: &str) -> Mapping {
        Mapping { column: column.into(), expression: expression.into() }
    }

    /// The layout of files in the field: three-space steps, comments beyond ASCII, plain expressions.
    const FIELD: &str = "\
# Пакеты: загрузка из Kafka
DATABASE: packages
USER: gpadmin
HOST: mdw
PORT: 5432
KAFKA:
   INPUT:
      SOURCE:
         BROKERS: kafka1:9092,kafka2:9092
         TOPIC: packages
      # колонки
      COLUMNS:
         - NAME: jdata
           TYPE: json
      FORMAT: json
      ERROR_LIMIT: 10
   OUTPUT:
      TABLE: packages
      MAPPING:
         - NAME: package_name
           EXPRESSION: (jdata->>'package_name')::text
         - NAME: vat
           EXPRESSION: (jdata->>'amount')::numeric * .19
   COMMIT:
      MAX_ROW: 1000
";

    #[test]
    fn a_file_from_the_field() {
        let config = read(FIELD).unwrap();
        assert_eq!(config.database.as_deref(), Some("packages"));
        assert_eq!(config.user.as_deref(), Some("gpadmin"));
        assert_eq!(config.source.brokers, "kafka1:9092,kafka2:9092");
        assert_eq!(config.source.topic, "packages");
        assert_eq!(config.source.format, "json");
        assert_eq!(
            config.source.columns,
            [Column { name: "jdata".into(), type_name: "json".into() }]
        );
        assert_eq!((config.target_schema, config.target_table.as_str()), (None, "packages"));
        assert_eq!(
            config.mapping.unwrap(),
            [
                map("package_name", "(jdata->>'package_name')::text"),
                map("vat", "(jdata->>'amount')::numeric * .19")
            ]
        );
        assert_eq!(config.error_limit, Some(ErrorLimit::Count(10)));
        assert_eq!(
            config.commit,
            Commit { max_row: Some(1000), minimal_interval_ms: Commit::DEFAULT_INTERVAL_MS }
        );
        assert_eq!(
            config.notices,
            [
                "HOST is not used: the job runs inside this database",
                "PORT is not used: the job runs inside this database"
            ]
        );
        assert_eq!(read(&FIELD.replace('\n', "\r\n")).unwrap().source, config.source);
    }

    #[test]
    fn json_without_columns_and_mapping() {
        let text = "\
DATABASE: shopdb
USER: loader
KAFKA:
  INPUT:
    SOURCE: {BROKERS: \"k1:9092\", TOPIC: raw_events}
    FORMAT: json
  OUTPUT: {TABLE: raw_events}
";
        let config = read(text).unwrap();
        assert_eq!(
            config.source.columns,
            [Column { name: "value".into(), type_name: "json".into() }]
        );
        assert_eq!(config.mapping, None);
        assert_eq!(config.error_limit, None);
        assert_eq!(config.commit, Commit::default());
        assert!(config.notices.is_empty());
    }

    #[test]
    fn mapping_in_both_forms_and_lower_case_keys() {
        let list = read(&changed("", "")).unwrap();
        assert_eq!(
            list.mapping.as_deref().unwrap(),
            [map("sensor", "(doc->>'sensor_id')::int"), map("reading", "(doc->>'val')::decimal")]
        );
        let lower = changed("TABLE: readings\n    MAPPING:", "table: readings\n    mapping:");
        assert_eq!(read(&lower).unwrap(), list);
        let one_map =
            "MAPPING: {sensor: \"(doc->>'sensor_id')::int\", \"\\\"Amount\\\"\": null}\n    _:";
        let mut config = changed("MAPPING:", one_map);
        config.truncate(config.find("    _:").unwrap());
        assert_eq!(
            read(&config).unwrap().mapping.unwrap(),
            [map("sensor", "(doc->>'sensor_id')::int"), map("Amount", "null")]
        );
    }

    #[test]
    fn everything_version_1_has() {
        let mut text = changed("USER: loader", "USER: loader\nPASSWORD: secret\nVERSION: 1");
        text = text.replace("TOPIC: readings", "TOPIC: readings, ENCRYPTION: false");
        text = text.replace(
            "ERROR_LIMIT: 5",
            "ERROR_LIMIT: 2.5%\n    FILTER: doc is not null\n    LOCAL_PORT: 8080",
        );
        text = text.replace("MINIMAL_INTERVAL: 1000", "MAX_ROW: 0, MINIMAL_INTERVAL: 1500");
        text.push_str(
            "  METADATA: {SCHEMA: work}\n  POLL: {BATCHSIZE: 100, TIMEOUT: 3000}\n  TASK: {}\n  \
             PROPERTIES:\n    group.id: g1\n    api.version.request: false\n    \
             sasl.password: s3cret\n",
        );
        let config = read(&text).unwrap();
        assert_eq!(config.error_limit, Some(ErrorLimit::Percent(2.5)));
        assert_eq!(config.filter.as_deref(), Some("doc is not null"));
        assert_eq!(config.work_schema.as_deref(), Some("work"));
        assert_eq!(config.commit, Commit { max_row: None, minimal_interval_ms: 1500 });
        let names: Vec<_> =
            config.source.properties.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["group.id", "api.version.request", "sasl.password"]);
        let keys: Vec<_> = config.notices.iter().filter_map(|n| n.split(' ').next()).collect();
        assert_eq!(keys, ["PASSWORD", "ENCRYPTION", "LOCAL_PORT", "BATCHSIZE", "TIMEOUT"]);
        let debug = format!("{config:?}");
        assert!(!debug.contains("s3cret") && !debug.contains("secret\""), "{debug}");
    }

    /// Cases of one line each: what to change ⇒ into what ⇒ the message.
    fn cases(table: &str) -> impl Iterator<Item = (String, &str)> {
        table.lines().map(|line| {
            let mut fields = line.split('⇒').map(str::trim);
            let (from, to) = (fields.next().unwrap(), fields.next().unwrap());
            (changed(from, &to.replace("\\n", "\n    ")), fields.next().unwrap())
        })
    }

    #[test]
    fn what_is_not_built_yet_is_refused_as_such() {
        let table = r#"FORMAT: json ⇒ FORMAT: csv ⇒ line 7: KAFKA:INPUT:FORMAT has a value that
TABLE: readings ⇒ TABLE: readings\nMODE: MERGE ⇒ line 11: KAFKA:OUTPUT:MODE has a value that
TABLE: readings ⇒ TABLE: readings\nMATCH_COLUMNS: [a] ⇒ line 11: KAFKA:OUTPUT:MATCH_COLUMNS
DATABASE: shopdb ⇒ VERSION: 2 ⇒ line 1: VERSION has a value that
DATABASE: shopdb ⇒ version: v3 ⇒ line 1: VERSION has a value that
ERROR_LIMIT: 5 ⇒ VALUE: {FORMAT: json} ⇒ line 8: KAFKA:INPUT:VALUE
ERROR_LIMIT: 5 ⇒ CSV_OPTION: {QUOTE: x} ⇒ line 8: KAFKA:INPUT:CSV_OPTION
TOPIC: readings ⇒ TOPIC: t, PARTITIONS: (1) ⇒ line 5: KAFKA:INPUT:SOURCE:PARTITIONS
{MINIMAL_INTERVAL: 1000} ⇒ {IDLE_DURATION: 1} ⇒ line 14: KAFKA:COMMIT:IDLE_DURATION
COMMIT: {MINIMAL_INTERVAL: 1000} ⇒ TASK: {POST_BATCH_SQL: f()} ⇒ line 14: KAFKA:TASK:POST_BATCH_SQL
USER: loader ⇒ SCHEDULE: {MAX_RETRIES: 3} ⇒ line 2: SCHEDULE"#;
        for (text, message) in cases(table) {
            let error = refused(&text);
            assert_eq!(error.message, format!("{message} is not supported yet"));
            assert_eq!(error.sqlstate, SqlState::FEATURE_NOT_SUPPORTED);
            assert!(error.hint.is_some());
        }
    }

    #[test]
    fn a_csv_file_is_refused_for_its_format_before_its_columns() {
        let columns =
            "COLUMNS: [{NAME: buyer, TYPE: int}, {NAME: __IGNORED__, TYPE: int}]\n    FORMAT: csv";
        let error =
            refused(&changed("COLUMNS: [{NAME: doc, TYPE: json}]\n    FORMAT: json", columns));
        assert_eq!(error.sqlstate, SqlState::FEATURE_NOT_SUPPORTED);
        assert_eq!(error.detail.unwrap(), "The format is csv.");
    }

    #[test]
    fn mistakes_are_named_with_line_and_path() {
        let table = r#"TOPIC: ⇒ TOPICS: ⇒ line 5: unknown key "TOPICS" in KAFKA:INPUT:SOURCE
, TOPIC: readings ⇒ ⇒ line 5: KAFKA:INPUT:SOURCE lacks the key TOPIC
TOPIC: readings ⇒ TOPIC: " " ⇒ line 5: KAFKA:INPUT:SOURCE:TOPIC has no value
readings} ⇒ [a, b]} ⇒ line 5: KAFKA:INPUT:SOURCE:TOPIC must be a single value, not a list
USER: loader ⇒ USR: loader ⇒ line 2: unknown key "USR" in the load configuration
FORMAT: json ⇒ FORMAT: jsn ⇒ line 7: KAFKA:INPUT:FORMAT names an unknown format
TYPE: json ⇒ TYPE: int ⇒ line 6: KAFKA:INPUT:COLUMNS must name exactly one column of type json or jsonb for format json
, TYPE: json ⇒ ⇒ line 6: KAFKA:INPUT:COLUMNS[1] lacks the key TYPE
[{NAME ⇒ [a, {NAME ⇒ line 6: KAFKA:INPUT:COLUMNS[1] must be a mapping of keys to values
[{NAME ⇒ [{NAME: doc, TYPE: int}, {NAME ⇒ line 6: KAFKA:INPUT:COLUMNS[2]:NAME names a column a second time
LIMIT: 5 ⇒ LIMIT: -5 ⇒ line 8: KAFKA:INPUT:ERROR_LIMIT must be a number of messages such as 25 or a percentage such as 10%
LIMIT: 5 ⇒ LIMIT: 101% ⇒ line 8: KAFKA:INPUT:ERROR_LIMIT must be a number of messages such as 25 or a percentage such as 10%
MINIMAL_INTERVAL: 1000 ⇒ MAX_ROW: ten ⇒ line 14: KAFKA:COMMIT:MAX_ROW must be a whole number, zero or more
MINIMAL_INTERVAL: 1000 ⇒ MAX_ROW: 1, MAX_ROW: 2 ⇒ line 14: duplicate key "MAX_ROW" in KAFKA:COMMIT
TABLE: readings ⇒ TABLE: a.b.c ⇒ line 10: KAFKA:OUTPUT:TABLE is not a table name
TABLE: readings ⇒ SCHEMA: s\nTABLE: a.b ⇒ line 11: KAFKA:OUTPUT:TABLE names a schema although SCHEMA does
TABLE: readings ⇒ SCHEMA: s.t\nTABLE: a ⇒ line 10: KAFKA:OUTPUT:SCHEMA is not a name
NAME: reading ⇒ NAME: sensor ⇒ line 13: KAFKA:OUTPUT:MAPPING[2]:EXPRESSION is for a column that is mapped already
"(doc->>'val')::decimal" ⇒ ⇒ line 13: KAFKA:OUTPUT:MAPPING[2]:EXPRESSION has no value"#;
        for (text, message) in cases(table) {
            assert_eq!(refused(&text).message, message);
        }
    }

    #[test]
    fn an_expression_that_yaml_cuts_at_a_comment_sign_is_noticed() {
        let error = refused(&FIELD.replace("(jdata->>'amount')", "(jdata #>> '{a,b}')"));
        assert_eq!(
            error.message,
            "line 23: KAFKA:OUTPUT:MAPPING[2]:EXPRESSION is not a complete SQL expression"
        );
        assert_eq!(error.detail.unwrap(), "Found unclosed parenthesis.");
    }

    #[test]
    fn table_names() {
        for (output, schema, table) in [
            ("TABLE: Orders", None, "Orders"),
            ("TABLE: web.orders", Some("web"), "orders"),
            ("TABLE: '\"Web\".\"o.r\"'", Some("Web"), "o.r"),
            ("SCHEMA: web\n    TABLE: orders", Some("web"), "orders"),
            ("SCHEMA: web\n    TABLE: '\"a.b\"'", Some("web"), "a.b"),
        ] {
            let config = read(&changed("TABLE: readings", output)).unwrap();
            assert_eq!(
                (config.target_schema.as_deref(), config.target_table.as_str()),
                (schema, table)
            );
        }
    }
}
