//! GPSS load configurations: text → `LoadConfig`, the same for every version of the format.
//! Each version has a file of its own that takes the keys of its tree and fills a `LoadConfig`.

mod name;
mod template;
mod v1;
mod yaml;

use super::job::{Commit, ErrorLimit, Mapping, Mode};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;

/// What a load configuration says, checked as far as it can be without a database or a broker.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadConfig {
    /// DATABASE and USER do not choose anything here; the caller warns when the session has others.
    pub database: Option<String>,
    pub user: Option<String>,
    pub source: KafkaSource,
    /// None: the table is looked up by the caller's search path.
    pub target_schema: Option<String>,
    pub target_table: String,
    /// METADATA:SCHEMA, where the foreign table goes; None: the target's schema.
    pub work_schema: Option<String>,
    pub mode: Mode,
    /// None: source columns fill the target columns of the same name.
    pub mapping: Option<Vec<Mapping>>,
    /// SQL condition over the source's columns.
    pub filter: Option<String>,
    /// None: rejected messages are recorded without limit.
    pub error_limit: Option<ErrorLimit>,
    pub commit: Commit,
    /// What was accepted without effect; for the user's eyes, without values.
    pub notices: Vec<String>,
}

/// Where the messages come from and how they are read.
#[derive(Clone, PartialEq)]
pub struct KafkaSource {
    /// `host:port`, separated by commas.
    pub brokers: String,
    pub topic: String,
    /// In the order of the message's fields; a field called `__IGNORED__` is skipped.
    pub columns: Vec<Column>,
    /// In lower case.
    pub format: String,
    /// Client properties in the order given; may hold secrets.
    pub properties: Vec<(String, String)>,
}

/// A column of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// An SQL type as the user wrote it.
    pub type_name: String,
}

impl fmt::Debug for KafkaSource {
    /// Without the properties' values, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.properties.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("KafkaSource")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("columns", &self.columns)
            .field("format", &self.format)
            .field("properties", &names)
            .finish()
    }
}

/// Reads a load configuration; `properties` fill its `{{templates}}`.
///
/// # Errors
/// With the line: `SYNTAX_ERROR` for YAML that cannot be read, for unknown, missing and doubled
/// keys and for values of the wrong type; `INVALID_PARAMETER` for values that are not allowed;
/// `FEATURE_NOT_SUPPORTED` for what GPSS has and is not built yet.
pub fn parse(config: &str, properties: &BTreeMap<String, String>) -> Result<LoadConfig, Error> {
    let filled = template::fill(config, properties)?;
    let mut root = yaml::parse(&filled.text)?.map()?;
    let mut config = match root.take("VERSION")? {
        None => v1::read(root)?,
        Some(version) => {
            let later = version.not_built(
                "has a value that is not supported yet",
                "Write the configuration in version 1, the format without KEY and VALUE blocks.",
            );
            let unknown = version.invalid("must be 1, 2 or v3");
            match version.text()?.as_str() {
                "1" => v1::read(root)?,
                "2" | "v3" | "3" => return Err(later),
                _ => return Err(unknown),
            }
        }
    };
    for name in &filled.unused {
        config.notices.push(format!("property \"{}\" fills no template", yaml::shown(name)));
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SqlState;
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
        assert_eq!(with("2").unwrap_err().sqlstate, SqlState::FEATURE_NOT_SUPPORTED);
        assert_eq!(with("v3").unwrap_err().sqlstate, SqlState::FEATURE_NOT_SUPPORTED);
        assert_eq!(with("4").unwrap_err().message, "line 1: VERSION must be 1, 2 or v3");
        assert!(with("[1]").is_err());
    }

    #[test]
    fn a_file_in_json() {
        let json = r#"{"KAFKA": {"INPUT": {"SOURCE": {"BROKERS": "k:9092", "TOPIC": "t"},
            "FORMAT": "json", "FILTER": null}, "OUTPUT": {"TABLE": "t", "MAPPING": {"a": "value->>'a'"}},
            "COMMIT": {"MAX_ROW": 5}}}"#;
        let config = parse(json, &BTreeMap::new()).unwrap();
        assert_eq!(config.commit.max_row, Some(5));
        assert_eq!(config.filter, None);
    }

    proptest! {
        #[test]
        fn a_damaged_file_is_read_or_refused(
            edits in prop::collection::vec(
                (0usize..VALID.len(), 0usize..12, prop::sample::select(vec![
                    "", "\n", " ", ":", ": ", "- ", "[", "]", "{", "}", "{{", "}}", "\"", "'", "&a ", "*a",
                    "!", "#", "|\n", "null", "-1", "99999999999999999999", "\0", "\t", "ä", "%", ",",
                ])), 1..5),
        ) {
            let mut text = VALID.to_owned();
            for (at, cut, insert) in edits {
                let from = at.min(text.len());
                let to = (from + cut).min(text.len());
                if text.is_char_boundary(from) && text.is_char_boundary(to) {
                    text.replace_range(from..to, insert);
                }
            }
            if let Err(error) = parse(&text, &properties()) {
                prop_assert!(!error.to_string().contains("s3cret"), "{}", error);
            }
        }
    }
}
