//! GPSS load configurations: text → `LoadConfig`, the same for every version of the format, and
//! back to the newest. `v2` and `v3` take the keys of their trees and fill a `LoadConfig`; what they
//! have in common is in the files beside them.

mod batch;
mod columns;
mod content;
mod name;
mod options;
mod output;
mod schedule;
mod template;
mod tree;
mod v2;
mod v3;
mod v3_write;
mod value;
mod yaml;
mod yaml_write;

#[cfg(test)]
mod reference;

pub use columns::IGNORED;
pub use v3_write::write;

use super::format::{Format, FormatSpec};
use super::job::{Alert, Commit, ErrorLimit, Fallback, MissingTopic, Schedule, TargetSpec, Task};
use super::partitions::Partitions;
use crate::error::{Error, Result, SqlState};
use std::collections::BTreeMap;
use std::fmt;

/// What a load configuration says, checked as far as it can be without a database or a broker.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadConfig {
    /// DATABASE and USER do not choose anything here; the caller warns when the session has others.
    pub database: Option<String>,
    pub user: Option<String>,
    pub source: SourceSpec,
    /// At least one.
    pub outputs: Vec<TargetSpec<Target>>,
    /// METADATA:SCHEMA, where the foreign table goes; None: the first target's schema.
    pub work_schema: Option<String>,
    /// SQL condition over the source's columns (FILTER of INPUT).
    pub filter: Option<String>,
    /// None: rejected messages are recorded without limit.
    pub error_limit: Option<ErrorLimit>,
    pub commit: Commit,
    pub task: Task,
    pub schedule: Schedule,
    pub alert: Option<Alert>,
    /// What was accepted without effect; for the user's eyes, without values.
    pub notices: Vec<String>,
}

/// A target table as a configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// None: the table is looked up by the caller's search path.
    pub schema: Option<String>,
    pub table: String,
}

/// Where the messages come from and how they are read.
#[derive(Clone, PartialEq)]
pub struct SourceSpec {
    /// `host:port`, separated by commas (`model::brokers`).
    pub brokers: String,
    pub topic: String,
    /// None: all partitions.
    pub partitions: Option<Partitions>,
    pub fallback: Option<Fallback>,
    /// None: as if it were `wait`.
    pub missing_topic: Option<MissingTopic>,
    /// At least one of value and key is there.
    pub value: Option<Side>,
    pub key: Option<Side>,
    /// A json or jsonb column for the message's metadata.
    pub meta: Option<Column>,
    /// Client properties in the order given; may hold secrets.
    pub properties: Vec<(String, String)>,
}

/// How a message's value or key is read, and the columns it fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    pub content: FormatSpec,
    /// In the order of the message's fields; a field called `__IGNORED__` is skipped. None, which only
    /// the value of a format by position may have: those of the one table.
    pub columns: Vec<Column>,
}

impl Side {
    /// Does its one column take the whole document, or all of the bytes? Else columns take fields.
    pub fn is_whole(&self) -> bool {
        match (self.content.format, self.columns.as_slice()) {
            (Format::Binary, [_]) => true,
            (format, [column]) => {
                format.is_document() && columns::is_type(column, &["json", "jsonb"])
            }
            _ => false,
        }
    }
}

/// A column of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// An SQL type as the user wrote it.
    pub type_name: String,
}

impl fmt::Debug for SourceSpec {
    /// Without the properties' values, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.properties.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("KafkaSource")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("value", &self.value)
            .field("key", &self.key)
            .field("properties", &names)
            .finish()
    }
}

const NO_DEBUG: &str = "the server's log and gpss.errors tell what happens";
const NO_PASSWORD: &str = "it is not stored either";
const ONLY_KAFKA: &str = "Kafka is the only source.";
const NO_PLUGIN: &str = "No program of the user's is loaded into the server. An SQL function can \
    change the rows: TRANSFORMER of OUTPUT in version 2, tables[].transformer in version v3.";

/// Reads a load configuration; `properties` fill its `{{templates}}`.
///
/// # Errors
/// With the line: `SYNTAX_ERROR` for YAML that cannot be read, for unknown, missing and doubled
/// keys and for values of the wrong type; `INVALID_PARAMETER` for values that are not allowed;
/// `FEATURE_NOT_SUPPORTED` for what GPSS has and we do not.
pub fn parse(config: &str, properties: &BTreeMap<String, String>) -> Result<LoadConfig, Error> {
    if is_file_name(config) {
        return Err(no_text(config));
    }
    if is_word(config) {
        return Err(no_text_but(config, "a name"));
    }
    let filled = template::fill(config, properties)?;
    let mut notices = Vec::new();
    let mut root = tree(&filled.text, &mut notices)?;
    let version = match root.take("VERSION")? {
        Some(value) => {
            let versions = ["1", "2", "v3", "3", "v1.0"];
            Some(value::choice(value, &versions, "must be 1, 2 or v3")?)
        }
        None if root.has("KAFKA") => None,
        None if root.has("TARGETS") || root.has("SOURCES") => {
            notices.push("the file has no version: it is read as version v3".to_owned());
            Some("v3")
        }
        None if root.has("TARGET") && root.has("SOURCE") => {
            notices.push("the file has no version: it is read as version v1.0".to_owned());
            Some("v1.0")
        }
        None => None,
    };
    let mut config = match version {
        None => v2::read(root, v2::Version::Unstated, &mut notices)?,
        Some("1") => v2::read(root, v2::Version::One, &mut notices)?,
        Some("2") => v2::read(root, v2::Version::Two, &mut notices)?,
        Some("v1.0") => v3::read_flow(root, &mut notices)?,
        Some(_) => v3::read(root, &mut notices)?,
    };
    let columns = config.source.value.as_ref().map(|side| side.columns.len());
    if columns == Some(0) && config.outputs.len() > 1 {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "the value's COLUMNS are missing").detail(
            "Without them the value has the columns of its table, but there are several tables.",
        ));
    }
    for name in &filled.unused {
        notices.push(format!("property \"{}\" fills no template", yaml::shown(name)));
    }
    config.notices = notices;
    Ok(config)
}

/// The top of the tree.
fn tree(text: &str, notices: &mut Vec<String>) -> Result<tree::Map> {
    let root = match tree::parse(text) {
        Err(error) => {
            // As GPSS's manual prints it: `- gpdb` without the colon that its keys need.
            let Some((mended, line)) = with_colons(text) else { return Err(error) };
            let Ok(root) = tree::parse(&mended) else { return Err(error) };
            notices.push(format!("line {line}: a colon is missing and was added"));
            root
        }
        Ok(root) => root,
    };
    if !root.is_map() {
        let error = root.place().error("must be a mapping of keys to values");
        return Err(error.hint("Give the text of a load configuration, in YAML or JSON."));
    }
    root.map()
}

/// The text with a colon behind each `- gpdb` and `- kafka` that is alone in its line, and the first
/// such line's number; None: there is none.
fn with_colons(text: &str) -> Option<(String, usize)> {
    let lacks = |line: &str| {
        line.trim()
            .strip_prefix('-')
            .is_some_and(|kind| ["gpdb", "kafka"].contains(&kind.trim_start()))
    };
    let first = text.lines().position(lacks)?;
    let mended: Vec<String> = text
        .lines()
        .map(|line| if lacks(line) { format!("{}:", line.trim_end()) } else { line.to_owned() })
        .collect();
    Some((mended.join("\n"), first + 1))
}

/// Is it the name of a file rather than what is in one?
pub fn is_file_name(text: &str) -> bool {
    let name = text.trim();
    let lower = name.to_ascii_lowercase();
    let is_path = ["/", "./", "../", "~/"].iter().any(|start| name.starts_with(start));
    !name.contains(['\n', '\r', '{'])
        && !name.contains(": ")
        && (is_path && !name.contains(char::is_whitespace)
            || [".yaml", ".yml", ".json"].iter().any(|end| lower.ends_with(end)))
}

/// Is it one word, which no configuration is?
fn is_word(text: &str) -> bool {
    let word = text.trim();
    !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || "\"':{[#&*!|>%@`".contains(c))
}

/// The refusal of a file's name where its text is wanted.
pub fn no_text(name: &str) -> Error {
    no_text_but(name, "the name of a file")
}

fn no_text_but(name: &str, what: &str) -> Error {
    let name = yaml::shown(name.trim());
    Error::new(
        SqlState::INVALID_PARAMETER,
        format!("\"{name}\" is {what}, not the text of a load configuration"),
    )
    .detail("The server does not read files of the client.")
    .hint(format!(
        "In psql: \\set config `cat {name}` and then :'config' in its place. A file on the server: \
         pg_read_file('/path/to/file'), for roles that may."
    ))
}

/// ENCODING: the encoding of the value and of the key, where the format is text in one.
fn set_encoding(
    source: &mut SourceSpec,
    value: tree::Value,
    notices: &mut Vec<String>,
) -> Result<()> {
    let key = value.place().spelled("ENCODING");
    let encoding = value::filled(value)?;
    let mut used = false;
    for side in [&mut source.value, &mut source.key].into_iter().flatten() {
        // An error says that the format has no encoding; any text is a value.
        used |= side.content.set("encoding", &encoding).is_ok();
    }
    if !used {
        notices.push(format!("{key} is not used: the format has no encoding"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VALID: &str = "\
DATABASE: shopdb
PASSWORD: {{pw}}
KAFKA:
  INPUT:
    SOURCE: {BROKERS: \"k1:9092\", TOPIC: \"{{topic}}\"}
    COLUMNS: [{NAME: doc, TYPE: json}]
    FORMAT: json
    ERROR_LIMIT: 10%
  OUTPUT:
    TABLE: web.readings
    MAPPING:
      - NAME: sensor
        EXPRESSION: (doc->>'sensor_id')::int
  COMMIT: {MAX_ROW: 10, MINIMAL_INTERVAL: 1000}
  PROPERTIES: {group.id: g}
";

    const VALID_2: &str = "\
VERSION: 2
PASSWORD: {{pw}}
KAFKA:
  INPUT:
    SOURCE: {BROKERS: k1:9092, TOPIC: \"{{topic}}\", PARTITIONS: [1, 3...5], FALLBACK_OFFSET: latest}
    VALUE:
      COLUMNS: [{NAME: a, TYPE: int}, {NAME: __IGNORED__, TYPE: text}, {NAME: b, TYPE: text}]
      FORMAT: delimited
      DELIMITED_OPTION: {DELIMITER: \"~^\", QUOTE: '|', ESCAPE: '\\'}
    KEY: {FORMAT: avro, AVRO_OPTION: {SCHEMA_REGISTRY_ADDR: \"http://r:8081\"}}
    META: {COLUMNS: [{NAME: m, TYPE: jsonb}], FORMAT: json}
    ENCODING: latin1
  OUTPUTS:
    - TABLE: t
      MODE: MERGE
      MATCH_COLUMNS: [a]
      UPDATE_COLUMNS: b, c
      DELETE_CONDITION: b is null
    - {TABLE: u, TRANSFORMER: {TRANSFORM: f, PROPERTIES: {x: 1, y: [z]}}}
  COMMIT: {CONSISTENCY: at-least, MAX_ROW: 5}
  TASK: {POST_BATCH_SQL: \"select 1; select 2\", BATCH_INTERVAL: 2}
  PROPERTIES: {group.id: g}
SCHEDULE: {RETRY_INTERVAL: 30s, QUIT_AT_EOF_AFTER: 18:30}
ALERT: {COMMAND: \"mail x\", TIMEOUT: -1}
";

    const VALID_3: &str = "\
version: v3
targets:
- gpdb:
    password: {{pw}}
    error_limit: 2%
    filter_expression: (m->>'partition')::int <> 3
    tables:
    - table: clicks
      mode: {insert: {}}
      mapping: {url: \"j->>'u'\"}
    - table: views
      mode: {merge: {match_columns: [id], update_columns: [n]}}
sources:
- kafka:
    topic: \"{{topic}}\"
    brokers: k1:9092
    value_content: {json: {column: {name: j, type: jsonb}, is_jsonl: true, newline: '\\n'}}
    key_content: {custom: {columns: [{name: k, type: int}], name: f, options: [a=b, c=d]}}
    meta: {json: {column: {name: m, type: json}}}
    rdkafka_prop: {group.id: g}
    task:
      batch_size: {max_count: 20000, interval_ms: 3000}
      window_size: 10
      window_statement: select web.refresh_daily()
option:
  schedule: {max_retries: 3, retry_interval: 30s, running_duration: 8h}
  alert: {command: mail, workdir: /tmp, timeout: 5s}
";

    fn properties() -> BTreeMap<String, String> {
        BTreeMap::from(
            [("pw", "s3cret"), ("topic", "readings"), ("spare", "x")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        )
    }

    #[test]
    fn templates_are_filled_and_spare_properties_noticed() {
        let config = parse(VALID, &properties()).unwrap();
        assert_eq!(config.source.topic, "readings");
        assert_eq!(
            config.notices,
            [
                "PASSWORD is not used: it is not stored either",
                "property \"spare\" fills no template"
            ]
        );
        let error = parse(VALID, &BTreeMap::new()).unwrap_err();
        assert_eq!(error.message, "line 2: no property is given for the template {{pw}}");
    }

    #[test]
    fn versions() {
        let with = |version: &str| parse(&format!("VERSION: {version}\n{VALID}"), &properties());
        assert!(with("1").is_ok() && with("'1'").is_ok() && with("").is_ok());
        assert_eq!(with("4").unwrap_err().message, "line 1: VERSION must be 1, 2 or v3");
        assert!(with("[1]").is_err());
        let error = with("2").unwrap_err();
        assert_eq!(error.message, "line 7: KAFKA:INPUT:COLUMNS belongs to version 1 of the format");
        assert_eq!(error.hint.unwrap(), "In version 2 it goes into KAFKA:INPUT:VALUE.");
        for version in ["v3", "3", "V3"] {
            let error = with(version).unwrap_err();
            assert_eq!(error.message, "line 4: KAFKA belongs to versions 1 and 2 of the format");
        }
    }

    #[test]
    fn a_file_without_its_version() {
        let text = VALID_2.replace("VERSION: 2\n", "");
        let config = parse(&text, &properties()).unwrap();
        let notice = "the file has VALUE or KEY and no VERSION: it is read as version 2";
        assert!(config.notices.iter().any(|n| n == notice), "{:?}", config.notices);
        let with_version = parse(VALID_2, &properties()).unwrap();
        assert_eq!(LoadConfig { notices: with_version.notices.clone(), ..config }, with_version);
        let error = parse(&format!("VERSION: 1\n{text}"), &properties()).unwrap_err();
        assert_eq!(error.message, "line 6: KAFKA:INPUT:VALUE belongs to version 2 of the format");

        let text = VALID_3.replace("version: v3\n", "");
        let config = parse(&text, &properties()).unwrap();
        assert_eq!(config.notices[0], "the file has no version: it is read as version v3");
        let error = parse(&format!("VERSION: 1\n{text}"), &properties()).unwrap_err();
        assert_eq!(error.message, "line 2: targets belongs to version v3 of the format");
    }

    #[test]
    fn the_name_of_a_file_is_no_configuration() {
        for name in
            ["job.yaml", " /etc/gpss/my job.YML\n", "./x", "/tmp/j", "cat job.json", "C:\\j.yaml"]
        {
            let error = parse(name, &BTreeMap::new()).unwrap_err();
            assert_eq!(error.sqlstate, SqlState::INVALID_PARAMETER, "{name}");
            assert!(error.message.contains("is the name of a file"), "{name}: {error}");
            assert!(error.hint.unwrap().contains("`cat "), "{name}");
        }
        for text in ["KAFKA: x.yaml", "{\"a\": \"b.json\"}", "KAFKA:\n  x.yaml", "a job"] {
            let error = parse(text, &BTreeMap::new()).unwrap_err();
            assert_eq!(error.sqlstate, SqlState::SYNTAX_ERROR, "{text}");
        }
        let error = parse("a job", &BTreeMap::new()).unwrap_err();
        assert!(error.hint.unwrap().starts_with("Give the text"));
        let error = parse(" mobile_info\n", &BTreeMap::new()).unwrap_err();
        assert_eq!(
            error.message,
            "\"mobile_info\" is a name, not the text of a load configuration"
        );
    }

    const FLOW: &str = "\
version: v1.0
source:
  kafka:
    brokers: [k1:9092, k2:9092]
    topic: web_log
    value: {csv: {columns: [{name: id, type: int}, {name: at, type: timestamp}], delimiter: ';'}}
    control: {consistency: exactly-once, fallback_offset: latest}
    read_workers: 3
    task: {batch_size: {interval_ms: 500, max_count: 70}}
    properties: {client.id: c}
target:
  database:
    host: h
    port: 5432
    user: u
    dbname: d
    error_limit: 5
    tables:
    - {table: clicks, schema: web, mode: insert, mapping: {id: id}}
";

    #[test]
    fn a_file_of_flowserver() {
        let config = parse(FLOW, &BTreeMap::new()).unwrap();
        let twin = "\
version: v3
targets:
- gpdb:
    user: u
    database: d
    error_limit: 5
    tables:
    - {table: clicks, schema: web, mode: {insert: {}}, mapping: {id: id}}
sources:
- kafka:
    brokers: k1:9092,k2:9092
    topic: web_log
    value_content: {csv: {columns: [{name: id, type: int}, {name: at, type: timestamp}], delimiter: ';'}}
    fallback_offset: latest
    task: {batch_size: {interval_ms: 500, max_count: 70}}
    rdkafka_prop: {client.id: c}
";
        let twin = parse(twin, &BTreeMap::new()).unwrap();
        let why = "read_workers is not used: one reader fetches from all brokers at once";
        assert_eq!(config.notices, [why]);
        assert_eq!(LoadConfig { notices: vec![], ..config.clone() }, twin);
        let unnamed = parse(&FLOW.replace("version: v1.0\n", ""), &BTreeMap::new()).unwrap();
        assert_eq!(unnamed.notices[0], "the file has no version: it is read as version v1.0");
        let error = parse(&FLOW.replace("dbname", "database"), &BTreeMap::new()).unwrap_err();
        assert_eq!(error.message, "line 16: unknown key \"database\" in target:database");
        let error = parse(&FLOW.replace("  kafka:", "  rabbitmq:"), &BTreeMap::new()).unwrap_err();
        assert_eq!(error.sqlstate, SqlState::FEATURE_NOT_SUPPORTED);
    }

    #[test]
    fn a_colon_that_the_manual_forgets_is_added() {
        let flat = VALID_3.replace("  - table", "- table");
        let flat = flat.replace("- gpdb:\n    ", "- gpdb\n  ").replace("\n    ", "\n  ");
        let flat = flat.split("sources:").next().unwrap().to_owned()
            + "sources:"
            + VALID_3.split("sources:").nth(1).unwrap();
        let config = parse(&flat, &properties()).unwrap();
        assert_eq!(config.notices[0], "line 3: a colon is missing and was added", "{flat}");
        let twin = parse(VALID_3, &properties()).unwrap();
        assert_eq!(config.outputs.len(), twin.outputs.len());
        assert_eq!(config.filter, twin.filter);
        // What no colon mends is told as it was.
        let error = parse("targets:\n- gpdb\n  a: [\n", &BTreeMap::new()).unwrap_err();
        assert!(error.message.starts_with("line 3: not valid YAML"), "{error}");
    }

    #[test]
    fn a_file_in_json() {
        let json = r#"{"KAFKA": {"INPUT": {"SOURCE": {"BROKERS": "k:9092", "TOPIC": "t"},
            "FORMAT": "json", "FILTER": null},
            "OUTPUT": {"TABLE": "t", "MAPPING": {"a": "value->>'a'"}}, "COMMIT": {"MAX_ROW": 5}}}"#;
        let config = parse(json, &BTreeMap::new()).unwrap();
        assert_eq!(config.commit.max_row, Some(5));
        assert_eq!(config.filter, None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn a_damaged_file_is_read_or_refused(
            valid in prop::sample::select(vec![VALID, VALID_2, VALID_3]),
            edits in prop::collection::vec(
                (any::<prop::sample::Index>(), 0usize..12, prop::sample::select(vec![
                    "", "\n", " ", ":", ": ", "- ", "[", "]", "{", "}", "{{", "}}", "\"", "'", "&a ",
                    "*a", "!", "#", "|\n", "null", "-1", "99999999999999999999", "\0", "\t", "ä", "%",
                    ",", "\\", "\\x", "d", "ms", "=", "~",
                ])), 1..5),
        ) {
            let mut text = valid.to_owned();
            for (at, cut, insert) in edits {
                let from = at.index(text.len() + 1);
                let to = (from + cut).min(text.len());
                if text.is_char_boundary(from) && text.is_char_boundary(to) {
                    text.replace_range(from..to, insert);
                }
            }
            match parse(&text, &properties()) {
                Err(error) => prop_assert!(!error.to_string().contains("s3cret"), "{}", error),
                Ok(config) => {
                    // What could be read can be written, and read again.
                    let written = parse(&write(&config), &BTreeMap::new()).unwrap();
                    let wanted = LoadConfig { notices: written.notices.clone(), ..config };
                    prop_assert_eq!(written, wanted);
                }
            }
        }
    }
}
