//! Every configuration parameter: name, unit, default, and when a change takes effect.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

/// Kilobytes that a reader may have decoded ahead of the executor. Read when a reader starts.
static BUFFER_SIZE: GucSetting<i32> = GucSetting::<i32>::new(16384);
/// Kilobytes after which a batch is closed, whatever MAX_ROW says. Read for each batch.
static BATCH_SIZE: GucSetting<i32> = GucSetting::<i32>::new(65536);
/// Seconds for which rows of gpss.batches are kept; -1 keeps them for ever.
static BATCH_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(7 * 24 * 60 * 60);
/// Seconds for which rows of gpss.errors are kept; -1 keeps them for ever.
static ERROR_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(30 * 24 * 60 * 60);
/// Kilobytes of payloads that gpss.errors keeps for a job; -1 has no limit.
static ERROR_SIZE: GucSetting<i32> = GucSetting::<i32>::new(1 << 20);
/// Whether a worker waits for the WAL of each batch to be flushed.
static SYNCHRONOUS_COMMIT: GucSetting<bool> = GucSetting::<bool>::new(false);

/// Called once from `_PG_init`.
pub fn init() {
    GucRegistry::define_int_guc(
        c"gpss.buffer_size",
        c"Memory for messages that have been read but not taken by a batch, per worker.",
        c"Librdkafka's own queue has the same bound. Takes effect when a worker or scan starts.",
        &BUFFER_SIZE,
        1024,
        1 << 20,
        GucContext::Sighup,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_int_guc(
        c"gpss.batch_size",
        c"Memory at which a worker closes a batch before its other limits are reached.",
        c"Takes effect with the next batch.",
        &BATCH_SIZE,
        64,
        1 << 20,
        GucContext::Sighup,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_int_guc(
        c"gpss.batch_retention",
        c"Time for which rows of gpss.batches are kept.",
        c"-1 keeps them for ever.",
        &BATCH_RETENTION,
        -1,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"gpss.error_retention",
        c"Time for which rows of gpss.errors are kept.",
        c"-1 keeps them for ever.",
        &ERROR_RETENTION,
        -1,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"gpss.error_size",
        c"Size of the payloads that gpss.errors keeps for each job.",
        c"Beyond it the oldest rows lose theirs; -1 has no limit.",
        &ERROR_SIZE,
        -1,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_bool_guc(
        c"gpss.synchronous_commit",
        c"Makes workers wait until a batch is on disk before they report it as committed.",
        c"Off loses nothing: after a crash rows and offsets are gone together and Kafka still has the messages.",
        &SYNCHRONOUS_COMMIT,
        GucContext::Userset,
        GucFlags::default(),
    );
}

fn bytes(kilobytes: i32) -> usize {
    usize::try_from(kilobytes).unwrap_or(0) * 1024
}

pub fn buffer_bytes() -> usize {
    bytes(BUFFER_SIZE.get())
}

pub fn batch_bytes() -> usize {
    bytes(BATCH_SIZE.get())
}

/// None: for ever.
pub fn batch_retention_seconds() -> Option<i32> {
    Some(BATCH_RETENTION.get()).filter(|seconds| *seconds >= 0)
}

/// None: for ever.
pub fn error_retention_seconds() -> Option<i32> {
    Some(ERROR_RETENTION.get()).filter(|seconds| *seconds >= 0)
}

/// None: no limit.
pub fn error_bytes() -> Option<i64> {
    Some(i64::from(ERROR_SIZE.get()) * 1024).filter(|bytes| *bytes >= 0)
}

pub fn synchronous_commit() -> bool {
    SYNCHRONOUS_COMMIT.get()
}
