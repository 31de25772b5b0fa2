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

/// How rows go into the target (GPSS: MODE).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Insert,
    /// Sets columns of the rows that match; inserts none.
    Update(Matching),
    /// As update, and inserts rows that match none.
    Merge(Matching),
}

impl Mode {
    /// The name that users write.
    pub fn name(&self) -> &'static str {
        match self {
            Mode::Insert => "insert",
            Mode::Update(_) => "update",
            Mode::Merge(_) => "merge",
        }
    }
}

/// Which rows of the target a row of the input is about, and what becomes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matching {
    /// Target columns compared for equality (GPSS: MATCH_COLUMNS).
    pub match_columns: Vec<String>,
    /// Of input rows that match alike, the one with the largest values counts (GPSS: ORDER_COLUMNS).
    pub order_columns: Vec<String>,
    /// Target columns that are overwritten (GPSS: UPDATE_COLUMNS).
    pub update_columns: Vec<String>,
    /// SQL condition of the update (GPSS: UPDATE_CONDITION).
    pub update_condition: Option<String>,
    /// SQL condition under which a matched row is deleted; merge only (GPSS: DELETE_CONDITION).
    pub delete_condition: Option<String>,
}

/// What a transformer's row is one of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowOf {
    /// The target, made of the source's columns that have the names of its own.
    #[default]
    Target,
    /// The source.
    Source,
}

/// An SQL function `(anyelement, json)` in the place of a mapping: it is given a row and returns the one
/// that is written (GPSS: TRANSFORMER).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transformer {
    /// The function's name, perhaps with its schema, as the user wrote it.
    pub function: String,
    /// Its second argument.
    pub properties: serde_json::Map<String, serde_json::Value>,
    /// Target columns that are written; empty: all.
    pub columns: Vec<String>,
    /// Its first argument; settled when the job is submitted.
    #[serde(default)]
    pub input: RowOf,
}

/// One table that a job loads into; `T` is how the table is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetSpec<T = TableName> {
    pub target: T,
    #[serde(default)]
    pub mode: Mode,
    /// None: source columns fill the target columns of the same name.
    pub mapping: Option<Vec<Mapping>>,
    /// Instead of a mapping.
    #[serde(default)]
    pub transformer: Option<Transformer>,
    /// SQL condition over the source's columns; rows for which it is not true do not go into this
    /// table (GPSS: FILTER of OUTPUT).
    #[serde(default)]
    pub filter: Option<String>,
}

impl<T> TargetSpec<T> {
    /// The same for a table that is known otherwise.
    pub fn with_target<U>(self, target: U) -> TargetSpec<U> {
        let TargetSpec { mode, mapping, transformer, filter, .. } = self;
        TargetSpec { target, mode, mapping, transformer, filter }
    }
}

/// SQL around the batches (GPSS: TASK).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Before the job begins to read (GPSS: PREPARE_SQL).
    pub prepare: Option<String>,
    /// In the transaction of each `batch_interval`-th batch (GPSS: POST_BATCH_SQL).
    pub post_batch: Option<String>,
    /// In batches; 0: never (GPSS: BATCH_INTERVAL).
    pub batch_interval: u64,
    /// When the job has ended, however (GPSS: TEARDOWN_SQL).
    pub teardown: Option<String>,
}

/// When a job runs (GPSS: SCHEDULE).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Milliseconds between attempts after a failure; None: exponential backoff.
    pub retry_interval_ms: Option<u64>,
    /// Attempts after a failure of any kind; None or negative: for ever, but for failures that only
    /// the user can mend when None.
    pub max_retries: Option<i64>,
    /// Milliseconds after which a run stops.
    pub running_duration_ms: Option<u64>,
    /// Milliseconds from such a stop to the next start; None: it is not started again.
    pub auto_stop_restart_interval_ms: Option<u64>,
    /// Such starts at most; negative: without end.
    pub max_restart_times: i64,
    /// Seconds after midnight from which on, each day, the job stops when it has read to the end.
    pub quit_at_eof_after: Option<u32>,
}

/// A program that is run on the server when a job fails or stops (GPSS: ALERT).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// For `/bin/sh -c`.
    pub command: String,
    /// None: the data directory.
    pub workdir: Option<String>,
    /// Milliseconds after which it is killed; None: it may take its time.
    pub timeout_ms: Option<u64>,
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

/// What to do when the wanted offset is no longer on the broker (GPSS: FALLBACK_OFFSET).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    Earliest,
    Latest,
}

impl Fallback {
    pub const NAMES: [&str; 2] = ["earliest", "latest"];

    pub fn by_name(name: &str) -> Option<Fallback> {
        match name {
            "earliest" => Some(Fallback::Earliest),
            "latest" => Some(Fallback::Latest),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Fallback::Earliest => "earliest",
            Fallback::Latest => "latest",
        }
    }
}

/// What becomes of a job whose topic does not exist, and has never been read by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingTopic {
    /// It waits until somebody makes the topic.
    #[default]
    Wait,
    /// It ends with an error.
    Fail,
}

impl MissingTopic {
    pub const NAMES: [&str; 2] = ["wait", "fail"];

    pub fn by_name(name: &str) -> Option<MissingTopic> {
        match name {
            "wait" => Some(MissingTopic::Wait),
            "fail" => Some(MissingTopic::Fail),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            MissingTopic::Wait => "wait",
            MissingTopic::Fail => "fail",
        }
    }
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
    /// At least one; all are written in the batch's transaction.
    pub outputs: Vec<TargetSpec>,
    /// SQL condition over the source's columns; rows for which it is not true are not loaded (GPSS:
    /// FILTER of INPUT).
    pub filter: Option<String>,
    /// None: rejected messages are recorded without limit.
    pub error_limit: Option<ErrorLimit>,
    pub commit: Commit,
    /// search_path of the session that submitted the job: mapping and filter mean what they meant.
    pub search_path: String,
    /// Worker processes at most; never more than partitions.
    pub workers: u32,
    #[serde(default)]
    pub task: Task,
    #[serde(default)]
    pub schedule: Schedule,
    #[serde(default)]
    pub alert: Option<Alert>,
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
