//! `JobSpec`: what a job is, whatever it was submitted as. This is what `gpss.job.spec` stores.

use serde::{Deserialize, Serialize};

/// A table's name with its schema, unquoted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableName {
    pub schema: String,
    pub name: String,
}

/// One target column and the SQL expression over the source's columns that fills it (GPSS: MAPPING).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    pub column: String,
    pub expression: String,
}

/// How rows go into the target (GPSS: MODE). Update and merge are not built yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Insert,
}

/// When a batch with too many rejected messages fails (GPSS: ERROR_LIMIT); counted per batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorLimit {
    /// The batch fails when this many messages are rejected; 0 and 1: by the first.
    Count(u64),
    /// The batch fails when more than this percentage of its messages is rejected.
    Percent(f64),
}

impl ErrorLimit {
    /// What `parse` takes, for messages.
    pub const FORM: &str = "must be a number of messages such as 25 or a percentage such as 10%";

    /// `25` or `10%`; None for anything else.
    pub fn parse(text: &str) -> Option<ErrorLimit> {
        let text = text.trim();
        let is_number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        match text.strip_suffix('%') {
            Some(percent) if is_number(percent) => percent
                .parse()
                .ok()
                .filter(|percent| (0.0..=100.0).contains(percent))
                .map(ErrorLimit::Percent),
            Some(_) => None,
            None if text.starts_with('+') => None,
            None => text.parse().ok().map(ErrorLimit::Count),
        }
    }
}

/// When a batch is closed (GPSS: COMMIT). The first bound that is reached closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Messages per batch (GPSS: MAX_ROW); None: no bound but the bytes.
    pub max_row: Option<u64>,
    /// Milliseconds from a batch's first message to its commit (GPSS: MINIMAL_INTERVAL).
    pub minimal_interval_ms: u64,
}

/// Where a job came from; decides whose position it may continue (GPSS: same topic, same table).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A GPSS load configuration: the foreign table was made for the job and goes with it.
    Config,
    /// Plain SQL over a foreign table that is the user's.
    Sql,
}

/// A job's definition: complete, without secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    pub origin: Origin,
    /// The foreign table that is read.
    pub source: TableName,
    /// The topic behind it when the job was submitted.
    pub topic: String,
    pub target: TableName,
    #[serde(default)]
    pub mode: Mode,
    /// None: source columns fill the target columns of the same name.
    pub mapping: Option<Vec<Mapping>>,
    /// SQL condition over the source's columns; rows for which it is not true are not loaded (GPSS: FILTER).
    pub filter: Option<String>,
    /// None: rejected messages are recorded without limit.
    pub error_limit: Option<ErrorLimit>,
    pub commit: Commit,
    /// search_path of the session that submitted the job: mapping and filter mean what they meant.
    pub search_path: String,
    /// Worker processes at most; never more than partitions.
    pub workers: u32,
}

impl Commit {
    /// More is not faster, and the first batch of a topic waits for them.
    pub const DEFAULT_MAX_ROW: u64 = 20_000;
    /// Long enough that a busy topic gives large batches, short enough that a person does not wait.
    pub const DEFAULT_INTERVAL_MS: u64 = 1_000;
}

impl Default for Commit {
    fn default() -> Self {
        Commit {
            max_row: Some(Self::DEFAULT_MAX_ROW),
            minimal_interval_ms: Self::DEFAULT_INTERVAL_MS,
        }
    }
}
