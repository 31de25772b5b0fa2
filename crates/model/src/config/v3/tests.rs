//! Version v3: what is read, refused and noticed.

use super::super::{Column, parse};
use super::*;
use crate::error::{Error, SqlState};
use crate::format::Format;
use crate::job::Mode;
use std::collections::BTreeMap;

const SMALL: &str = "\
version: v3
targets:
- gpdb:
    tables:
    - table: clicks
sources:
- kafka:
    topic: web_log
    brokers: k1:9092
    value_content:
      json: {column: {name: j, type: json}}
";

fn changed(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from}");
    SMALL.replacen(from, to, 1)
}

fn read(text: &str) -> Result<LoadConfig> {
    parse(text, &BTreeMap::new())
}

fn refused(from: &str, to: &str) -> Error {
    read(&changed(from, to)).unwrap_err()
}

#[test]
fn mistakes_are_named_with_line_and_path() {
    let table = r#"topic: ⇒ topics: ⇒ line 8: unknown key "topics" in sources[1]:kafka
topic: web_log ⇒ topic: [a] ⇒ line 8: sources[1]:kafka:topic names several topics: a job reads one
    topic: web_log ⇒ ⇒ line 9: sources[1]:kafka lacks the key topic
value_content: ⇒ value: ⇒ line 8: sources[1]:kafka lacks the key value_content
json: {column ⇒ jsn: {column ⇒ line 11: sources[1]:kafka:value_content:jsn names an unknown format
json: {column ⇒ xml: {}, json: {column ⇒ line 11: not valid YAML
type: json} ⇒ tipe: json} ⇒ line 11: unknown key "tipe" in sources[1]:kafka:value_content:json:column
type: json} ⇒ type: json}, quote: x ⇒ line 11: unknown key "quote" in sources[1]:kafka:value_content:json
type: json} ⇒ type: json}, columns: [] ⇒ line 11: sources[1]:kafka:value_content:json:columns describes the columns a second time
type: json} ⇒ type: json}, is_jsonl: maybe ⇒ line 11: sources[1]:kafka:value_content:json:is_jsonl must be true or false
json: {column: {name: j, type: json}} ⇒ custom: {name: x} ⇒ line 11: sources[1]:kafka:value_content:custom lacks the key columns
json: {column: {name: j, type: json}} ⇒ delimited: {columns: [{name: a, type: int}]} ⇒ line 11: sources[1]:kafka:value_content:delimited lacks the key delimiter
json: {column: {name: j, type: json}} ⇒ avro: {source_column_name: a.b} ⇒ line 11: sources[1]:kafka:value_content:avro:source_column_name is not a name
json: {column: {name: j, type: json}} ⇒ custom: {columns: [{name: a, type: int}], name: f, options: [a]} ⇒ line 11: sources[1]:kafka:value_content:custom:options must be parameters such as name=value
json: {column: {name: j, type: json}} ⇒ [] ⇒ line 11: sources[1]:kafka:value_content must be a mapping of keys to values
topic: web_log ⇒ topic: web_log, key_content: {binary: {source_column_name: j}} ⇒ line 8: not valid YAML
brokers: k1:9092 ⇒ brokers: k1:9092\n    key_content: {binary: {source_column_name: j}} ⇒ line 10: sources[1]:kafka:key_content:binary:source_column_name names a column a second time
brokers: k1:9092 ⇒ brokers: k1:9092\n    meta: {csv: {}} ⇒ line 10: sources[1]:kafka:meta:csv must be json
brokers: k1:9092 ⇒ brokers: k1:9092\n    consistency: week ⇒ line 10: sources[1]:kafka:consistency must be strong, at-least, at-most or none
brokers: k1:9092 ⇒ brokers: k1:9092\n    task: {batch_size: {max_count: x}} ⇒ line 10: sources[1]:kafka:task:batch_size:max_count must be a whole number, zero or more
brokers: k1:9092 ⇒ brokers: k1:9092\n    task: {window_sizes: 1} ⇒ line 10: unknown key "window_sizes" in sources[1]:kafka:task
brokers: k1:9092 ⇒ brokers: k1:9092\n    task: {}\n    window: {} ⇒ line 11: sources[1]:kafka:window stands beside task, which is its new name
- kafka: ⇒ - kafak: ⇒ line 7: unknown key "kafak" in sources[1]
- kafka: ⇒ - file: {}\n- kafka: ⇒ line 7: sources must have exactly one entry
- table: clicks ⇒ - tabel: clicks ⇒ line 5: unknown key "tabel" in targets[1]:gpdb:tables[1]
    - table: clicks ⇒ ⇒ line 4: targets[1]:gpdb:tables has no value
tables:\n    - table: clicks ⇒ tables: [] ⇒ line 4: targets[1]:gpdb:tables names no table
table: clicks ⇒ table: clicks\n      mode: {} ⇒ line 6: targets[1]:gpdb:tables[1]:mode names no mode
table: clicks ⇒ table: clicks\n      mode: {insert: {}, merge: {}} ⇒ line 6: targets[1]:gpdb:tables[1]:mode:merge is a second mode
table: clicks ⇒ table: clicks\n      mode: {upsert: {}} ⇒ line 6: unknown key "upsert" in targets[1]:gpdb:tables[1]:mode
table: clicks ⇒ table: clicks\n      mode: {merge: {match_columns: [a]}} ⇒ line 6: targets[1]:gpdb:tables[1]:mode:merge lacks the key update_columns
table: clicks ⇒ table: clicks\n      mode: merge ⇒ line 6: targets[1]:gpdb:tables[1]:mode lacks the key match_columns
table: clicks ⇒ table: clicks\n      mode: {update: {match_columns: a, update_columns: b, delete_condition: c}} ⇒ line 6: targets[1]:gpdb:tables[1]:mode:update:delete_condition has no meaning in mode update
table: clicks ⇒ table: clicks\n      mapping: {a: b}\n      transformer: {transform: f} ⇒ line 7: targets[1]:gpdb:tables[1]:transformer cannot stand beside mapping
table: clicks ⇒ table: a.b\n      schema: c ⇒ line 5: targets[1]:gpdb:tables[1]:table names a schema although schema does
targets: ⇒ options: {}\ntargets: ⇒ line 2: unknown key "options" in the load configuration
targets: ⇒ option: {schedule: {retries: 1}}\ntargets: ⇒ line 2: unknown key "retries" in option:schedule"#;
    for line in table.lines() {
        let mut fields = line.split('⇒');
        let from = fields.next().unwrap().trim_end().replace("\\n", "\n");
        let to = fields.next().unwrap().trim().replace("\\n", "\n");
        let wanted = fields.next().unwrap().trim();
        let message = refused(&from, &to).message;
        assert!(message.starts_with(wanted), "{message}\n{wanted}");
    }
}

#[test]
fn what_only_gpss_has_is_refused_as_such() {
    for (from, to, message) in [
        ("- kafka:", "- s3:", "line 8: sources[1]:s3 is not supported"),
        ("- kafka:", "- rabbitmq:", "line 8: sources[1]:rabbitmq is not supported"),
        ("- kafka:", "- file:", "line 8: sources[1]:file is not supported"),
        (
            "    topic: web_log",
            "    topic: t\n    transformer: {path: /x}",
            "line 9: sources[1]:kafka:transformer is not supported",
        ),
    ] {
        let error = refused(from, to);
        assert_eq!(
            (error.message.as_str(), error.sqlstate),
            (message, SqlState::FEATURE_NOT_SUPPORTED)
        );
        assert!(error.hint.is_some());
    }
}

#[test]
fn content_in_every_form() {
    for (block, format, name, type_name) in [
        ("json: {column: {name: j, type: JSONB}}", Format::Json, "j", "JSONB"),
        ("json: {}", Format::Json, "value", "json"),
        ("json:", Format::Json, "value", "json"),
        ("JSON: {COLUMN: {NAME: j, TYPE: json}, IS_JSONL: no}", Format::Json, "j", "json"),
        ("json: {is_jsonl: true, newline: '|'}", Format::Jsonl, "value", "json"),
        ("jsonl: {newline: '|'}", Format::Jsonl, "value", "json"),
        ("avro: {source_column_name: a, schema_url: http://r}", Format::Avro, "a", "json"),
        ("avro: {column: {name: a, type: jsonb}}", Format::Avro, "a", "jsonb"),
        ("protobuf: {schema_path_on_gpdb: /p, message: m}", Format::Protobuf, "value", "json"),
        ("binary: {source_column_name: b}", Format::Binary, "b", "bytea"),
        ("binary:", Format::Binary, "value", "bytea"),
        ("csv: {columns: [{name: a, type: int}], force_not_null: [a]}", Format::Csv, "a", "int"),
        ("text: {columns: [{name: a, type: int}], delimiter: ';'}", Format::Text, "a", "int"),
        (
            "custom: {columns: [{name: a, type: int}], name: f, options: ['k= v']}",
            Format::Custom,
            "a",
            "int",
        ),
    ] {
        let config = read(&changed("json: {column: {name: j, type: json}}", block)).unwrap();
        let value = config.source.value.unwrap();
        assert_eq!(value.content.format, format, "{block}");
        let column = Column { name: name.into(), type_name: type_name.into() };
        assert_eq!(value.columns, [column], "{block}");
        assert!(config.notices.is_empty(), "{block}");
    }
    let config = read(&changed("type: json}", "type: json}, newline: x")).unwrap();
    assert_eq!(config.notices, ["newline is not used: it has a meaning with is_jsonl only"]);
}

#[test]
fn shapes_of_files_in_the_field() {
    let config = read(SMALL).unwrap();
    assert_eq!(config.commit, Commit::default());
    // Keys beside `- gpdb:` that were meant to be under it.
    let flat = SMALL.replace("    tables:\n    - table", "  tables:\n  - table");
    assert_eq!(read(&flat).unwrap(), config);
    let upper = SMALL.replace("targets", "TARGETS").replace("gpdb", "GPDB");
    let upper = upper.replace("topic", "TOPIC").replace("value_content", "VALUE_CONTENT");
    assert_eq!(read(&upper).unwrap(), config);
    let list = "table: clicks\n      mapping: [{name: a, expression: j}]";
    let map = "table: clicks\n      mapping: {a: j}";
    let clicks = "table: clicks";
    assert_eq!(read(&changed(clicks, list)).unwrap(), read(&changed(clicks, map)).unwrap());
    for mode in ["insert", "{insert: {}}", "{insert: }", "{INSERT: null}"] {
        let text = changed(clicks, &format!("{clicks}\n      mode: {mode}"));
        assert_eq!(read(&text).unwrap().outputs[0].mode, Mode::Insert, "{mode}");
    }
    let sizes =
        "{batch_size: {max_count: 7, interval_ms: 8}, window_size: 2, window_statement: f()}";
    let with =
        |key: &str| read(&changed("brokers:", &format!("{key}: {sizes}\n    brokers:"))).unwrap();
    assert_eq!(with("task"), with("window"));
    assert_eq!(with("task").commit, Commit { max_row: Some(7), minimal_interval_ms: 8 });
    assert_eq!(with("task").task.batch_interval, 2);
}

#[test]
fn what_is_noticed() {
    let text = changed(
        "brokers:",
        "consistency: none\n    save_failing_batch: true\n    encoding: x\n    brokers:",
    );
    let text =
        text.replace("    tables:", "    host: h\n    port: 1\n    password: s3cret\n    tables:");
    let config = read(&text).unwrap();
    let noticed: Vec<_> = config.notices.iter().filter_map(|n| n.split(' ').next()).collect();
    assert_eq!(noticed, ["password", "save_failing_batch", "consistency"]);
    assert!(!format!("{config:?}").contains("s3cret"));
}
