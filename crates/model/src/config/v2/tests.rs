//! Versions 1 and 2: what is read, refused and noticed.

use super::super::parse;
use super::*;
use crate::error::{Error, SqlState};
use crate::format::Format;
use crate::job::{Alert, Commit, Fallback, Mapping, Matching, Mode, Schedule, Task};
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

fn column(name: &str, type_name: &str) -> Column {
    Column { name: name.into(), type_name: type_name.into() }
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
    let value = config.source.value.as_ref().unwrap();
    assert_eq!(value.content.format, Format::Json);
    assert_eq!(value.columns, [column("jdata", "json")]);
    let output = &config.outputs[0];
    assert_eq!(output.target, Target { schema: None, table: "packages".into() });
    assert_eq!(
        output.mapping.as_deref().unwrap(),
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
    assert_eq!(config.notices, [""; 0]);
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
    assert_eq!(config.source.value.unwrap().columns, [column("value", "json")]);
    assert_eq!(config.outputs[0].mapping, None);
    assert_eq!(config.error_limit, None);
    assert_eq!(config.commit, Commit::default());
    assert!(config.notices.is_empty());
}

#[test]
fn mapping_in_both_forms_and_lower_case_keys() {
    let list = read(&changed("", "")).unwrap();
    assert_eq!(
        list.outputs[0].mapping.as_deref().unwrap(),
        [map("sensor", "(doc->>'sensor_id')::int"), map("reading", "(doc->>'val')::decimal")]
    );
    let lower = changed("TABLE: readings\n    MAPPING:", "table: readings\n    mapping:");
    assert_eq!(read(&lower).unwrap(), list);
    let one_map =
        "MAPPING: {sensor: \"(doc->>'sensor_id')::int\", \"\\\"Amount\\\"\": null}\n    _:";
    let mut config = changed("MAPPING:", one_map);
    config.truncate(config.find("    _:").unwrap());
    assert_eq!(
        read(&config).unwrap().outputs[0].mapping.as_deref().unwrap(),
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
    let names: Vec<_> = config.source.properties.iter().map(|(name, _)| name.as_str()).collect();
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
fn what_only_gpss_has_is_refused_as_such() {
    let table = r#"ERROR_LIMIT: 5 ⇒ TRANSFORMER: {PATH: /x.so, TRANSFORM: f} ⇒ line 8: KAFKA:INPUT:TRANSFORMER
USER: loader ⇒ FILE: {INPUT: {}} ⇒ line 2: FILE
USER: loader ⇒ rabbitmq: ⇒ line 2: RABBITMQ"#;
    for (text, message) in cases(table) {
        let error = refused(&text);
        assert_eq!(error.message, format!("{message} is not supported"));
        assert_eq!(error.sqlstate, SqlState::FEATURE_NOT_SUPPORTED);
        assert!(error.hint.is_some());
    }
}

#[test]
fn unknown_keys_get_the_known_ones() {
    let table = r#"ERROR_LIMIT: 5 ⇒ NEWLINES: a ⇒ Valid keys in this context are: SOURCE, FORMAT, COLUMNS, JSONL_OPTION, CSV_OPTION, TEXT_OPTION, DELIMITED_OPTION, AVRO_OPTION, PROTOBUF_OPTION, CUSTOM_OPTION, ENCODING, FILTER, ERROR_LIMIT.
FORMAT: json ⇒ FORMAT: csv\nDELIMITTER: ";" ⇒ Perhaps you meant "DELIMITER" in CSV_OPTION.
FORMAT: json ⇒ FORMAT: delimited\nDELIMITER: ";"\nDELIMITED_OPTION: {DELIMITER: ";"} ⇒ Perhaps you meant "DELIMITER" in DELIMITED_OPTION.
FORMAT: json ⇒ FORMAT: csv\nCSV_OPTION: {DELIMITTER: ";"} ⇒ Perhaps you meant "DELIMITER".
MINIMAL_INTERVAL: 1000 ⇒ EVERY: 1000 ⇒ Valid keys in this context are: MAX_ROW, MINIMAL_INTERVAL, CONSISTENCY."#;
    for (text, hint) in cases(table) {
        assert_eq!(refused(&text).hint.as_deref(), Some(hint), "{text}");
    }
}

#[test]
fn mistakes_are_named_with_line_and_path() {
    let table = r#"TOPIC: ⇒ TOPICS: ⇒ line 5: unknown key "TOPICS" in KAFKA:INPUT:SOURCE
, TOPIC: readings ⇒ ⇒ line 5: KAFKA:INPUT:SOURCE lacks the key TOPIC
TOPIC: readings ⇒ TOPIC: " " ⇒ line 5: KAFKA:INPUT:SOURCE:TOPIC has no value
readings} ⇒ [a, b]} ⇒ line 5: KAFKA:INPUT:SOURCE:TOPIC names several topics: a job reads one
TOPIC: readings ⇒ TOPIC: "a,b" ⇒ line 5: KAFKA:INPUT:SOURCE:TOPIC names several topics: a job reads one
"k1:9092" ⇒ "k1:99999" ⇒ line 5: KAFKA:INPUT:SOURCE:BROKERS has a port for k1 that is no number from 1 to 65535: 99999
KAFKA: ⇒ FILES: ⇒ line 3: unknown key "FILES" in the load configuration
NAME: doc ⇒ NAME: null ⇒ line 6: KAFKA:INPUT:COLUMNS[1]:NAME has no value
NAME: sensor ⇒ NAME: ~ ⇒ line 12: KAFKA:OUTPUT:MAPPING[1]:NAME has no value
, TYPE: json ⇒ , TYPE: ⇒ line 6: KAFKA:INPUT:COLUMNS[1]:TYPE has no value
USER: loader ⇒ USR: loader ⇒ line 2: unknown key "USR" in the load configuration
FORMAT: json ⇒ FORMAT: jsn ⇒ line 7: KAFKA:INPUT:FORMAT names an unknown format
FORMAT: json ⇒ FORMAT: binary ⇒ line 6: KAFKA:INPUT:COLUMNS must name exactly one column of type bytea for format binary
NAME: doc ⇒ NAME: __IGNORED__ ⇒ line 6: KAFKA:INPUT:COLUMNS names __IGNORED__, but format json has no positions
FORMAT: json ⇒ FORMAT: custom ⇒ line 5: KAFKA:INPUT lacks the key CUSTOM_OPTION
FORMAT: json ⇒ FORMAT: custom\nCUSTOM_OPTION: {PARAMSTR: a=b} ⇒ line 8: KAFKA:INPUT:CUSTOM_OPTION lacks the key NAME
FORMAT: json ⇒ FORMAT: custom\nCUSTOM_OPTION: {NAME: f, PARAMSTR: 'a=b,c'} ⇒ line 8: KAFKA:INPUT:CUSTOM_OPTION:PARAMSTR must be parameters such as name=value
FORMAT: json ⇒ FORMAT: delimited ⇒ line 5: KAFKA:INPUT lacks the key DELIMITED_OPTION
FORMAT: json ⇒ FORMAT: delimited\nDELIMITED_OPTION: {QUOTE: x} ⇒ line 8: KAFKA:INPUT:DELIMITED_OPTION lacks the key DELIMITER
FORMAT: json ⇒ FORMAT: delimited\nDELIMITED_OPTION: {DELIMITER: a, QUOTE: x} ⇒ line 8: KAFKA:INPUT:DELIMITED_OPTION lacks the key ESCAPE
FORMAT: json ⇒ FORMAT: delimited\nDELIMITED_OPTION: {DELIMITER: axb, QUOTE: x, ESCAPE: x} ⇒ line 8: KAFKA:INPUT:DELIMITED_OPTION has a delimiter that contains the quote character
FORMAT: json ⇒ FORMAT: delimited\nDELIMITED_OPTION: {DELIMITER: 123456789012345678901234567890123} ⇒ line 8: KAFKA:INPUT:DELIMITED_OPTION has a delimiter of more than 32 bytes
FORMAT: json ⇒ FORMAT: delimited\nDELIMITED_OPTION: {DELIMITER: '\xff'} ⇒ line 8: KAFKA:INPUT:DELIMITED_OPTION:DELIMITER has a sequence \x that is no ASCII character
FORMAT: json ⇒ FORMAT: csv\nCSV_OPTION: {QUOTE: ab} ⇒ line 8: KAFKA:INPUT:CSV_OPTION:QUOTE: option "quote" must be a single one-byte character
FORMAT: json ⇒ FORMAT: csv\nCSV_OPTION: {DELIMITER: ab} ⇒ line 8: KAFKA:INPUT:CSV_OPTION has a delimiter that is not a single one-byte character
FORMAT: json ⇒ FORMAT: csv\nCSV_OPTION: {QUOTES: a} ⇒ line 8: unknown key "QUOTES" in KAFKA:INPUT:CSV_OPTION
FORMAT: json ⇒ FORMAT: csv\nJSONL_OPTION: {NEWLINE: a} ⇒ line 8: KAFKA:INPUT:JSONL_OPTION does not belong to format csv
FORMAT: json ⇒ FORMAT: avro\nAVRO_OPTION: {SCHEMA_PATH_ON_GPDB: x} ⇒ line 8: KAFKA:INPUT:AVRO_OPTION:SCHEMA_PATH_ON_GPDB: option "schema_path" must be an absolute path on the database server
FORMAT: json ⇒ FORMAT: avro\nAVRO_OPTION: {SCHEMA_MIN_TLS_VERSION: 2} ⇒ line 8: KAFKA:INPUT:AVRO_OPTION:SCHEMA_MIN_TLS_VERSION must be 1.0, 1.1, 1.2 or 1.3
readings} ⇒ t, PARTITIONS: a} ⇒ line 5: KAFKA:INPUT:SOURCE:PARTITIONS must be a list of partitions such as (1, 3...5)
readings} ⇒ t, MISSING_TOPIC: last} ⇒ line 5: KAFKA:INPUT:SOURCE:MISSING_TOPIC must be wait or fail
readings} ⇒ t, FALLBACK_OFFSET: last} ⇒ line 5: KAFKA:INPUT:SOURCE:FALLBACK_OFFSET must be earliest or latest
MINIMAL_INTERVAL: 1000 ⇒ CONSISTENCY: week ⇒ line 14: KAFKA:COMMIT:CONSISTENCY must be strong, at-least, at-most or none
TABLE: readings ⇒ TABLE: readings\nMODE: upsert ⇒ line 11: KAFKA:OUTPUT:MODE must be insert, update or merge
TABLE: readings ⇒ TABLE: readings\nMODE: update ⇒ line 10: KAFKA:OUTPUT lacks the key MATCH_COLUMNS
TABLE: readings ⇒ TABLE: t\nMODE: merge\nMATCH_COLUMNS: [a] ⇒ line 10: KAFKA:OUTPUT lacks the key UPDATE_COLUMNS
TABLE: readings ⇒ TABLE: t\nMODE: update\nMATCH_COLUMNS: [a]\nUPDATE_COLUMNS: b\nDELETE_CONDITION: c ⇒ line 14: KAFKA:OUTPUT:DELETE_CONDITION has no meaning in mode update
TABLE: readings ⇒ TABLE: t\nTRANSFORMER: {TRANSFORM: f} ⇒ line 11: KAFKA:OUTPUT:TRANSFORMER cannot stand beside MAPPING
OUTPUT: ⇒ OUTPUTS: ⇒ line 9: KAFKA:OUTPUTS belongs to version 2 of the format
ERROR_LIMIT: 5 ⇒ META: {FORMAT: json} ⇒ line 8: KAFKA:INPUT:META belongs to version 2 of the format
USER: loader ⇒ SCHEDULE: {RETRY_INTERVAL: 5 weeks} ⇒ line 2: SCHEDULE:RETRY_INTERVAL must be a duration such as 30s, 5m or 8h
USER: loader ⇒ SCHEDULE: {MAX_RETRIES: x} ⇒ line 2: SCHEDULE:MAX_RETRIES must be a whole number
USER: loader ⇒ SCHEDULE: {QUIT_AT_EOF_AFTER: 25:00} ⇒ line 2: SCHEDULE:QUIT_AT_EOF_AFTER must be a time of the day such as 18:30
USER: loader ⇒ ALERT: {COMMAND: x, WORKDIR: tmp} ⇒ line 2: ALERT:WORKDIR must be an absolute path on the database server
USER: loader ⇒ ALERT: {COMMAND: x, TIMEOUT: -2} ⇒ line 2: ALERT:TIMEOUT must be a duration such as 30s, or -1 for no limit
COMMIT: {MINIMAL_INTERVAL: 1000} ⇒ TASK: {PREPARE_SQL: select (1;} ⇒ line 14: KAFKA:TASK:PREPARE_SQL is not complete SQL
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
fn a_key_that_nobody_knows_comes_first() {
    for wrong in ["SCHEDULE: {MAX_RETRIES: x}", "ALERT: {COMMAND: ''}", "SCHEDULE: 5"] {
        let error = refused(&changed("USER: loader", &format!("{wrong}\nUSR: loader")));
        assert_eq!(error.message, "line 3: unknown key \"USR\" in the load configuration");
    }
    let error = refused("TOPIC: x\n");
    assert_eq!(error.message, "line 1: unknown key \"TOPIC\" in the load configuration");
}

#[test]
fn what_yaml_takes_for_nothing_can_be_quoted() {
    let error = refused(&changed("NAME: doc", "NAME: null"));
    assert_eq!(error.detail.unwrap(), "Without quotes, null stands for no value in YAML.");
    assert_eq!(error.hint.unwrap(), "Write 'null' if the text is meant.");
    let config = read(&changed("NAME: doc", "NAME: 'null'")).unwrap();
    assert_eq!(config.source.value.unwrap().columns[0].name, "null");
    let expression = |written: &str| {
        let config = read(&changed("\"(doc->>'val')::decimal\"", written));
        config.map(|c| c.outputs[0].mapping.as_ref().unwrap()[1].expression.clone())
    };
    assert_eq!(expression("'~'").unwrap(), "~");
    assert_eq!(expression("null").unwrap(), "null");
    assert_eq!(expression("true").unwrap(), "true");
    assert_eq!(expression("~").unwrap_err().hint.unwrap(), "Write '~' if the text is meant.");
    assert!(expression("''").is_err());
}

#[test]
fn sql_as_it_stands_in_a_select_list() {
    for (written, kept) in [
        ("(doc->>'val')::text as reading;", "(doc->>'val')::text"),
        ("(doc->>'val')::text as \"Any Name\"", "(doc->>'val')::text"),
        ("cast(doc->>'val' as text) ;", "cast(doc->>'val' as text)"),
    ] {
        let quoted = written.replace('\'', "''");
        let text = changed("\"(doc->>'val')::decimal\"", &format!("'{quoted}'"));
        let config = read(&text).unwrap();
        assert_eq!(config.outputs[0].mapping.as_ref().unwrap()[1].expression.trim_end(), kept);
    }
    let filter = read(&changed("ERROR_LIMIT: 5", "FILTER: doc is not null;")).unwrap().filter;
    assert_eq!(filter.unwrap(), "doc is not null");
}

#[test]
fn a_value_by_position_without_columns_has_its_tables() {
    let columns = "    COLUMNS: [{NAME: doc, TYPE: json}]\n    FORMAT: json";
    for format in ["csv", "text", "delimited\n    DELIMITED_OPTION: {DELIMITER: '|'}"] {
        let config = read(&changed(columns, &format!("    FORMAT: {format}"))).unwrap();
        assert_eq!(config.source.value.unwrap().columns, [], "{format}");
    }
    let two = "VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {BROKERS: k, TOPIC: t}
    VALUE: {FORMAT: csv}
  OUTPUTS: [{TABLE: a}, {TABLE: b}]
";
    let error = refused(two);
    assert_eq!(error.message, "the value's COLUMNS are missing");
    assert!(read(&two.replace(", {TABLE: b}", "")).is_ok());
    let key = two.replace("VALUE", "KEY").replace(", {TABLE: b}", "");
    assert_eq!(refused(&key).message, "line 5: KAFKA:INPUT:KEY lacks the key COLUMNS");
}

#[test]
fn an_unknown_format_is_answered_with_all_of_them() {
    for (name, hint) in [
        ("jsn", "Perhaps you meant \"json\". The formats are: json,"),
        ("xml", "The formats are: json, jsonl, csv,"),
    ] {
        let error = refused(&changed("FORMAT: json", &format!("FORMAT: {name}")));
        assert!(error.hint.as_ref().unwrap().starts_with(hint), "{error:?}");
    }
}

#[test]
fn a_block_for_debugging_is_noticed() {
    for (from, to) in [
        ("USER: loader", "DEBUG: {GRANULARITY: 5}"),
        ("  OUTPUT:", "  DEBUG: {GRANULARITY: 5}\n  OUTPUT:"),
    ] {
        let notices = read(&changed(from, to)).unwrap().notices;
        assert_eq!(
            notices,
            ["DEBUG is not used: the server's log and gpss.errors tell what happens"]
        );
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
        let target = &config.outputs[0].target;
        assert_eq!((target.schema.as_deref(), target.table.as_str()), (schema, table));
    }
}

/// A valid file of version 2 with something in INPUT's place for VALUE.
fn two(message: &str) -> String {
    format!(
        "VERSION: 2\nKAFKA:\n  INPUT:\n    SOURCE: {{BROKERS: k, TOPIC: t}}\n    {message}\n  \
         OUTPUT: {{TABLE: t}}\n"
    )
}

#[test]
fn mistakes_in_version_2() {
    for (message, wanted) in [
        ("FILTER: a", "line 4: KAFKA:INPUT lacks the key VALUE"),
        ("COLUMNS: []", "line 5: KAFKA:INPUT:COLUMNS belongs to version 1 of the format"),
        ("csv_option: {}", "line 5: KAFKA:INPUT:csv_option belongs to version 1 of the format"),
        ("VALUE: {}", "line 5: KAFKA:INPUT:VALUE lacks the key FORMAT"),
        (
            "VALUE: {FORMAT: custom, CUSTOM_OPTION: {NAME: f}}",
            "line 5: KAFKA:INPUT:VALUE lacks the key COLUMNS",
        ),
        ("VALUE: {FORMAT: csv, COLUMN: []}", "line 5: unknown key \"COLUMN\" in KAFKA:INPUT:VALUE"),
        (
            "VALUE: {FORMAT: delimited, DELIMITED_OPTIONS: {DELIMITER: x}}",
            "line 5: unknown key \"DELIMITED_OPTIONS\" in KAFKA:INPUT:VALUE",
        ),
        (
            "KEY: {FORMAT: delimited, COLUMNS: [{NAME: a, TYPE: int}], DELIMITED_OPTION: {DELIM: x}}",
            "line 5: KAFKA:INPUT:KEY:DELIMITED_OPTION lacks the key DELIMITER",
        ),
        (
            "KEY: {FORMAT: delimited, COLUMNS: [{NAME: a, TYPE: int}], DELIMITED_OPTIONS: {}}",
            "line 5: unknown key \"DELIMITED_OPTIONS\" in KAFKA:INPUT:KEY",
        ),
        (
            "VALUE: {FORMAT: json, CSV_OPTION: {QUOTE: x}}",
            "line 5: KAFKA:INPUT:VALUE:CSV_OPTION does not belong to format json",
        ),
        (
            "VALUE: {FORMAT: json}\n    KEY: {FORMAT: json, COLUMNS: [{NAME: value, TYPE: int}]}",
            "line 6: KAFKA:INPUT:KEY:COLUMNS[1]:NAME names a column a second time",
        ),
        (
            "VALUE: {FORMAT: json, COLUMNS: [{NAME: key, TYPE: json}]}\n    KEY: {FORMAT: json}",
            "line 6: KAFKA:INPUT:KEY names a column a second time",
        ),
        (
            "KEY: {FORMAT: json}\n    META: {COLUMNS: [{NAME: m, TYPE: text}]}",
            "line 6: KAFKA:INPUT:META:COLUMNS must name exactly one column of type json or jsonb",
        ),
        (
            "KEY: {FORMAT: json}\n    META: {FORMAT: csv}",
            "line 6: KAFKA:INPUT:META:FORMAT must be json",
        ),
        (
            "KEY: {FORMAT: csv, COLUMNS: [{NAME: __IGNORED__, TYPE: int}]}",
            "line 5: KAFKA:INPUT:KEY:COLUMNS names no column but __IGNORED__",
        ),
    ] {
        assert_eq!(refused(&two(message)).message, wanted);
    }
    let text = two("KEY: {FORMAT: json}");
    let error = refused(&text.replace("OUTPUT:", "OUTPUTS: [{TABLE: u}]\n  OUTPUT:"));
    assert_eq!(error.message, "line 6: KAFKA:OUTPUTS stands beside OUTPUT");
    let error = refused(&text.replace("  OUTPUT: {TABLE: t}\n", ""));
    assert_eq!(error.message, "line 3: KAFKA lacks the key OUTPUT");
    let error = refused(&text.replace("OUTPUT: {TABLE: t}", "OUTPUTS: []"));
    assert_eq!(error.message, "line 6: KAFKA:OUTPUTS names no table");
    let error = refused(&two("VALUE: {FORMAT: json, JSONL_OPTION: {NEWLINE: x}}"));
    assert_eq!(error.hint.unwrap(), "Messages of several documents have format jsonl.");
    let error = refused(&two("VALUE: {FORMAT: jsonl, CSV_OPTION: {QUOTE: x}}"));
    assert_eq!(error.hint.unwrap(), "The options of format jsonl are in JSONL_OPTION.");
}

#[test]
fn options_of_every_format() {
    let table = r#"
csv, CSV_OPTION: {DELIMITER: '\t', QUOTE: '\', ESCAPE: '\\', NULL_STRING: '\N'} ⇒ delimiter="\t" escape="\\" null="\\N" quote="\\"
csv, CSV_OPTION: {FORCE_NOT_NULL: 'a, "b"', force_null: [c]} ⇒ force_not_null="a,b" force_null="c"
CSV, CSV_OPTION: {FILL_MISSING_FIELDS: true, HEADER: 'no'} ⇒ fill_missing_fields="true" header="no"
text, TEXT_OPTION: {DELIMITER: '|', NULL_STRING: ''} ⇒ delimiter="|" null=""
delimited, DELIMITED_OPTION: {DELIMITER: "\x03", EOL_PREFIX: '\x3b;'} ⇒ delimiter="\u{3}" eol_prefix=";;"
delimited, DELIMITED_OPTION: {DELIMITER: ab, QUOTE: '', ESCAPE: '', EOL_PREFIX: ''} ⇒ delimiter="ab"
jsonl, JSONL_OPTION: {NEWLINE: '\r\n'} ⇒ newline="\r\n"
avro, AVRO_OPTION: {SCHEMA_REGISTRY_ADDR: ' http://a:1, http://b:2 '} ⇒ schema_registry="http://a:1, http://b:2"
avro, AVRO_OPTION: {SCHEMA_CA_ON_GPDB: /a, SCHEMA_CERT_ON_GPDB: /b} ⇒ schema_ca="/a" schema_cert="/b"
avro, AVRO_OPTION: {SCHEMA_KEY_ON_GPDB: /c, SCHEMA_MIN_TLS_VERSION: 1.2} ⇒ schema_key="/c" schema_min_tls_version="1.2"
avro, AVRO_OPTION: {SCHEMA_PATH_ON_GPDB: /p, BYTES_TO_BASE64: on} ⇒ bytes_to_base64="on" schema_path="/p"
protobuf, PROTOBUF_OPTION: {SCHEMA_PATH_ON_GPDB: /p, MESSAGE: a.B} ⇒ message="a.B" schema_path="/p"
custom, CUSTOM_OPTION: {NAME: s.f, PARAMSTR: 'b=1, a = x=y'} ⇒ formatter="s.f" params="{\"a\":\"x=y\",\"b\":\"1\"}""#;
    for line in table.trim().lines() {
        let (format, wanted) = line.split_once(" ⇒ ").unwrap();
        let columns = "COLUMNS: [{NAME: a, TYPE: int}]";
        let text = two(&format!("VALUE: {{{columns}, FORMAT: {format}}}"));
        let content = read(&text).unwrap().source.value.unwrap().content;
        let options: Vec<_> = content.options().map(|(k, v)| format!("{k}={v:?}")).collect();
        assert_eq!(options.join(" "), wanted);
    }
}

#[test]
fn columns_that_need_no_description() {
    for (format, type_name) in [
        ("json", "json"),
        ("jsonl", "json"),
        ("avro", "json"),
        ("protobuf", "json"),
        ("binary", "bytea"),
    ] {
        let block = format!("{{FORMAT: {format}}}");
        let config =
            read(&two(&format!("VALUE: {block}\n    KEY: {block}\n    META: {{FORMAT: json}}")));
        let source = config.unwrap().source;
        assert_eq!(source.value.unwrap().columns, [column("value", type_name)]);
        assert_eq!(source.key.unwrap().columns, [column("key", type_name)]);
        assert_eq!(source.meta.unwrap(), column("meta", "json"));
    }
    let fields = "VALUE: {FORMAT: json, COLUMNS: [{NAME: id, TYPE: int}, {NAME: doc, TYPE: JSON}]}";
    let value = read(&two(fields)).unwrap().source.value.unwrap();
    assert_eq!(value.columns, [column("id", "int"), column("doc", "JSON")]);
}

#[test]
fn everything_version_2_has() {
    let text = r#"
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {BROKERS: k, TOPIC: t, PARTITIONS: "(1, 2...4)", FALLBACK_OFFSET: EARLIEST}
    VALUE: {COLUMNS: [{NAME: a, TYPE: int}, {NAME: b, TYPE: text}], FORMAT: CSV}
    KEY: {FORMAT: binary}
    ENCODING: LATIN1
  OUTPUTS:
    - {SCHEMA: s, TABLE: t, MODE: Update, MATCH_COLUMNS: 'a, "B"', UPDATE_COLUMNS: [c],
       UPDATE_CONDITION: c > 0, FILTER: a = 1}
    - TABLE: u
      MODE: MERGE
      MATCH_COLUMNS: [a]
      ORDER_COLUMNS: [b]
      UPDATE_COLUMNS: [c]
      DELETE_CONDITION: removed
    - TABLE: v
      MATCH_COLUMNS: [a]
      TRANSFORMER:
        {TRANSFORM: f, PATH: /x, PROPERTIES: {tag: "eu-", add: 5, "on": true}, COLUMNS: [a, b]}
  COMMIT: {MAX_ROW: 7, CONSISTENCY: AT-LEAST, IDLE_DURATION: 5, SAVE_FAILING_BATCH: true,
           RECOVER_FAILING_BATCH: false}
  TASK: {POST_BATCH_SQL: select f(), PREPARE_SQL: "select 1; select 2;", TEARDOWN_SQL: analyze t}
SCHEDULE: {RETRY_INTERVAL: 5, MAX_RETRIES: -1, RUNNING_DURATION: 1h, MAX_RESTART_TIMES: 2,
           AUTO_STOP_RESTART_INTERVAL: 10m, QUIT_AT_EOF_AFTER: 18:30}
ALERT: {COMMAND: "echo $GPSSJOB_NAME", WORKDIR: /tmp, TIMEOUT: 500ms}
"#;
    let config = read(text).unwrap();
    let source = &config.source;
    assert_eq!(source.partitions.as_ref().unwrap().to_string(), "1, 2...4");
    assert_eq!(source.fallback, Some(Fallback::Earliest));
    assert_eq!(source.value.as_ref().unwrap().content.get("encoding"), Some("LATIN1"));
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let [first, second, third] = config.outputs.as_slice() else { panic!() };
    assert_eq!(
        first.mode,
        Mode::Update(Matching {
            match_columns: names(&["a", "B"]),
            update_columns: names(&["c"]),
            update_condition: Some("c > 0".into()),
            ..Default::default()
        })
    );
    assert_eq!(first.filter.as_deref(), Some("a = 1"));
    assert_eq!(
        second.mode,
        Mode::Merge(Matching {
            match_columns: names(&["a"]),
            order_columns: names(&["b"]),
            update_columns: names(&["c"]),
            delete_condition: Some("removed".into()),
            ..Default::default()
        })
    );
    let transformer = third.transformer.as_ref().unwrap();
    assert_eq!((transformer.function.as_str(), &third.mode), ("f", &Mode::Insert));
    assert_eq!(
        serde_json::Value::Object(transformer.properties.clone()),
        serde_json::json!({"tag": "eu-", "add": 5, "on": true})
    );
    assert_eq!(transformer.columns, ["a", "b"]);
    assert_eq!(
        config.task,
        Task {
            prepare: Some("select 1; select 2;".into()),
            post_batch: Some("select f()".into()),
            batch_interval: 0,
            teardown: Some("analyze t".into()),
        }
    );
    assert_eq!(
        config.schedule,
        Schedule {
            retry_interval_ms: Some(5_000),
            max_retries: Some(-1),
            running_duration_ms: Some(3_600_000),
            auto_stop_restart_interval_ms: Some(600_000),
            max_restart_times: 2,
            quit_at_eof_after: Some(66_600),
        }
    );
    assert_eq!(
        config.alert,
        Some(Alert {
            command: "echo $GPSSJOB_NAME".into(),
            workdir: Some("/tmp".into()),
            timeout_ms: Some(500),
        })
    );
    let noticed: Vec<_> = config.notices.iter().filter_map(|n| n.split(' ').next()).collect();
    assert_eq!(
        noticed,
        [
            "MATCH_COLUMNS",
            "PATH",
            "IDLE_DURATION",
            "SAVE_FAILING_BATCH",
            "RECOVER_FAILING_BATCH",
            "CONSISTENCY",
            "POST_BATCH_SQL"
        ]
    );
}

#[test]
fn what_is_noticed() {
    for (from, to, notices) in [
        ("MINIMAL_INTERVAL: 1000", "CONSISTENCY: strong", vec![]),
        ("MINIMAL_INTERVAL: 1000", "CONSISTENCY: EXACTLY", vec![]),
        (
            "MINIMAL_INTERVAL: 1000",
            "CONSISTENCY: AtMost",
            vec![
                "CONSISTENCY atmost is not used: offsets are committed with the rows, so each \
                 message is loaded exactly once, which keeps the promise of at-least and of at-most",
            ],
        ),
        (
            "COMMIT: {MINIMAL_INTERVAL: 1000}",
            "TASK: {BATCH_INTERVAL: 2}",
            vec!["BATCH_INTERVAL is not used: there is no POST_BATCH_SQL"],
        ),
        (
            "USER: loader",
            "SCHEDULE: {AUTO_STOP_RESTART_INTERVAL: 1h}",
            vec!["AUTO_STOP_RESTART_INTERVAL is not used: RUNNING_DURATION is absent or 0"],
        ),
        (
            "USER: loader",
            "SCHEDULE: {RUNNING_DURATION: 1h, AUTO_STOP_RESTART_INTERVAL: 1h}",
            vec!["AUTO_STOP_RESTART_INTERVAL is not used: MAX_RESTART_TIMES is absent or 0"],
        ),
        (
            "USER: loader",
            "SCHEDULE: {RUNNING_DURATION: 1h, MAX_RESTART_TIMES: -1}",
            vec!["MAX_RESTART_TIMES is not used: AUTO_STOP_RESTART_INTERVAL is absent or 0"],
        ),
        ("ERROR_LIMIT: 5", "ENCODING: utf8", vec![]),
        (
            "FORMAT: json",
            "FORMAT: avro\n    ENCODING: utf8",
            vec!["ENCODING is not used: the format has no encoding"],
        ),
    ] {
        assert_eq!(read(&changed(from, to)).unwrap().notices, notices, "{to}");
    }
}
