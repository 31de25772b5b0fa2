//! A client, and what it can ask the brokers.

use super::conf::Conf;
use super::metadata_answers::MetadataAnswers;
use super::raw::{REASON_BYTES, code, elements, metadata, millis, text};
use super::signals::SignalsBlocked;
use super::unanswered::Unanswered;
use crate::fault::Fault;
use rdkafka::bindings as rd;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// A librdkafka client. Queues and topics share it; the last one to go destroys it.
pub struct Client {
    pub(super) rk: *mut rd::rd_kafka_t,
    /// Where `on_error` puts what it is told; librdkafka has its address.
    faults: Arc<Mutex<Vec<Fault>>>,
    /// The same: only kept.
    _metadata_answers: Option<MetadataAnswers>,
    pub(super) unanswered: Mutex<Vec<Unanswered>>,
}

/// Faults kept until they are taken: one for each partition of a topic that is gone, and more.
const FAULTS: usize = 10_000;

static BEFORE_CLIENTS: OnceLock<fn()> = OnceLock::new();

/// From now on `prepare` is called before each client is made, on the thread that makes it: for what a
/// process with librdkafka's threads needs to have.
pub fn before_clients(prepare: fn()) {
    // The library is wired once.
    let _ = BEFORE_CLIENTS.set(prepare);
}

/// Takes the errors of a topic or a partition that librdkafka finds in metadata. It puts them into
/// the partition's queue as errors of the client (rdkafka_partition.c, `rd_kafka_toppar_enq_error`),
/// which a batch of messages cannot hold: it calls this instead.
///
/// # Safety
/// For librdkafka only: `opaque` is the `faults` of a client that lives, `reason` a C string.
unsafe extern "C" fn on_error(
    _rk: *mut rd::rd_kafka_t,
    raw: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: by this function's contract.
    let (faults, text) = unsafe { (&*opaque.cast::<Mutex<Vec<Fault>>>(), text(reason)) };
    let mut faults = faults.lock().unwrap_or_else(PoisonError::into_inner);
    if faults.len() < FAULTS {
        faults.push(Fault { code: code(raw), text });
    }
}

// SAFETY: a rd_kafka_t may be used from any thread, and from several at once (rdkafka.h).
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

impl Client {
    /// Makes a consumer; no network wait. The error is librdkafka's reason.
    ///
    /// With `metadata_answers`, its answers are counted there; a failure then leaves the
    /// configuration behind, a few kilobytes.
    pub fn new(
        conf: Conf,
        metadata_answers: Option<MetadataAnswers>,
    ) -> Result<Arc<Client>, String> {
        if let Some(prepare) = BEFORE_CLIENTS.get() {
            prepare();
        }
        let mut reason: [c_char; REASON_BYTES] = [0; REASON_BYTES];
        let faults = Arc::<Mutex<Vec<Fault>>>::default();
        // SAFETY: on success librdkafka owns the configuration, on failure it stays ours. Faults and
        // counter keep their addresses and are dropped after librdkafka's client (`Client::drop`).
        let rk = unsafe {
            rd::rd_kafka_conf_set_events(conf.0, rd::RD_KAFKA_EVENT_ERROR);
            rd::rd_kafka_conf_set_error_cb(conf.0, Some(on_error));
            rd::rd_kafka_conf_set_opaque(conf.0, Arc::as_ptr(&faults).cast_mut().cast());
            if let Some(answers) = &metadata_answers {
                answers.count_those_of(conf.0);
            }
            rd::rd_kafka_new(
                rd::rd_kafka_type_t::RD_KAFKA_CONSUMER,
                conf.0,
                reason.as_mut_ptr(),
                reason.len(),
            )
        };
        if rk.is_null() {
            if metadata_answers.is_some() {
                // librdkafka has destroyed the interceptors, which the configuration still names
                // (rdkafka.c, `rd_kafka_new`): destroying it would free them twice.
                std::mem::forget(conf);
            }
            // SAFETY: librdkafka terminates the text within the buffer.
            return Err(unsafe { text(reason.as_ptr()) });
        }
        std::mem::forget(conf);
        // SAFETY: NULL stands for the main queue, to which logs are forwarded (property log.queue).
        unsafe { rd::rd_kafka_set_log_queue(rk, ptr::null_mut()) };
        Ok(Arc::new(Client {
            rk,
            faults,
            _metadata_answers: metadata_answers,
            unanswered: Mutex::default(),
        }))
    }

    pub(super) fn take_faults(&self) -> Vec<Fault> {
        std::mem::take(&mut *self.faults.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The partition's high watermark of the latest fetch response; None before the first one.
    pub fn high_watermark(&self, topic: &CStr, partition: i32) -> Option<i64> {
        let (mut low, mut high) = (-1, -1);
        // SAFETY: reads the cached values; no network.
        unsafe {
            rd::rd_kafka_get_watermark_offsets(
                self.rk,
                topic.as_ptr(),
                partition,
                &mut low,
                &mut high,
            )
        };
        (high >= 0).then_some(high)
    }

    /// The names of all topics that the brokers show; None when they do not answer within the time.
    /// Waits for them.
    pub fn topic_names(&self, timeout: Duration) -> Option<Vec<String>> {
        let mut list: *const rd::rd_kafka_metadata = ptr::null();
        // SAFETY: on success the list is ours until it is given back; the names are copied before.
        unsafe {
            let all = 1;
            let result = metadata(self.rk, all, ptr::null_mut(), &mut list, millis(timeout));
            let answer = list.as_ref().filter(|_| result == 0)?;
            let topics = elements(answer.topics, usize::try_from(answer.topic_cnt).unwrap_or(0));
            let names = topics.iter().map(|topic| text(topic.topic)).collect();
            rd::rd_kafka_metadata_destroy(list);
            Some(names)
        }
    }

    /// The client will not be destroyed before the answer has come.
    pub(super) fn keep(&self, unanswered: Unanswered) {
        let mut kept = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|earlier| !earlier.is_answered(Duration::ZERO));
        kept.push(unanswered);
    }
}

impl Drop for Client {
    /// Leaves a client that has not been answered to a thread of its own.
    fn drop(&mut self) {
        let handle = Handle(self.rk);
        let unanswered = self.unanswered.get_mut().unwrap_or_else(PoisonError::into_inner);
        let unanswered = std::mem::take(unanswered);
        if unanswered.is_empty() {
            return handle.destroy();
        }
        // What librdkafka has the addresses of: it lives as long as the client, which without a thread, or
        // without an answer, is left behind rather than destroyed.
        let known = ManuallyDrop::new((Arc::clone(&self.faults), self._metadata_answers.clone()));
        let end = move || {
            if unanswered.into_iter().all(|one| one.wait()) {
                handle.destroy();
                drop(ManuallyDrop::into_inner(known));
            }
        };
        // PostgreSQL's signal handlers must run on its own thread only.
        let _blocked = SignalsBlocked::new();
        let _ = thread::Builder::new().name("gpss close".to_owned()).spawn(end);
    }
}

/// A client that is to be destroyed, once.
struct Handle(*mut rd::rd_kafka_t);

// SAFETY: a rd_kafka_t may be used from any thread (rdkafka.h).
unsafe impl Send for Handle {}

impl Handle {
    fn destroy(self) {
        // SAFETY: the last reference: queues and topics hold one of the `Client` each.
        unsafe { rd::rd_kafka_destroy(self.0) }
    }
}
