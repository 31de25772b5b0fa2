//! Counts the brokers' answers to questions for metadata, whoever in the client has asked them.
//!
//! librdkafka fetches by the topic's id, and takes another id from nothing but such an answer. So a
//! message that was handed out before the count has moved is of the topic as it was.

use rdkafka::bindings as rd;
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const NAME: &CStr = c"gpss";
/// The key of Metadata among the protocol's requests.
const METADATA: i16 = 3;
/// `rd_kafka_thread_type_t` of the threads that read from brokers.
const BROKER_THREAD: i32 = 2;

const _: () = assert!(rd::rd_kafka_thread_type_t::RD_KAFKA_THREAD_BROKER as i32 == BROKER_THREAD);

thread_local! {
    /// librdkafka hands an answer from the thread that has read it to its main thread, and calls
    /// `on_response` in both.
    static READS_ANSWERS: Cell<bool> = const { Cell::new(false) };
}

/// How many answers have come.
#[derive(Clone, Debug, Default)]
pub struct MetadataAnswers(Arc<AtomicU64>);

// With the error codes as the numbers they are: see `raw::event_error`.
type OnResponse = unsafe extern "C" fn(
    *mut rd::rd_kafka_t,
    c_int,
    *const c_char,
    i32,
    i16,
    i16,
    i32,
    usize,
    i64,
    i32,
    *mut c_void,
) -> i32;
type OnThreadStart =
    unsafe extern "C" fn(*mut rd::rd_kafka_t, i32, *const c_char, *mut c_void) -> i32;
type OnNew = unsafe extern "C" fn(
    *mut rd::rd_kafka_t,
    *const rd::rd_kafka_conf_t,
    *mut c_void,
    *mut c_char,
    usize,
) -> i32;

unsafe extern "C" {
    #[link_name = "rd_kafka_interceptor_add_on_response_received"]
    fn add_on_response_received(
        rk: *mut rd::rd_kafka_t,
        name: *const c_char,
        call: OnResponse,
        opaque: *mut c_void,
    ) -> i32;
    #[link_name = "rd_kafka_interceptor_add_on_thread_start"]
    fn add_on_thread_start(
        rk: *mut rd::rd_kafka_t,
        name: *const c_char,
        call: OnThreadStart,
        opaque: *mut c_void,
    ) -> i32;
    #[link_name = "rd_kafka_conf_interceptor_add_on_new"]
    fn add_on_new(
        conf: *mut rd::rd_kafka_conf_t,
        name: *const c_char,
        call: OnNew,
        opaque: *mut c_void,
    ) -> i32;
}

impl MetadataAnswers {
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Has a client that is made of this configuration count its answers here.
    ///
    /// # Safety
    /// `conf` lives, and `self` or a clone of it lives as long as the client.
    pub(super) unsafe fn count_those_of(&self, conf: *mut rd::rd_kafka_conf_t) {
        let counter = Arc::as_ptr(&self.0).cast_mut().cast();
        // SAFETY: by this function's contract; it fails only for a name that was added before.
        unsafe { add_on_new(conf, NAME.as_ptr(), on_new, counter) };
    }
}

/// # Safety
/// For librdkafka only, with `opaque` as `count_those_of` has given it.
unsafe extern "C" fn on_new(
    rk: *mut rd::rd_kafka_t,
    _conf: *const rd::rd_kafka_conf_t,
    opaque: *mut c_void,
    _reason: *mut c_char,
    _size: usize,
) -> i32 {
    // SAFETY: interceptors of a client are added while it is being made (rdkafka.h).
    unsafe {
        add_on_thread_start(rk, NAME.as_ptr(), on_thread_start, opaque);
        add_on_response_received(rk, NAME.as_ptr(), on_response, opaque)
    }
}

/// # Safety
/// For librdkafka only, which calls it in the new thread.
unsafe extern "C" fn on_thread_start(
    _rk: *mut rd::rd_kafka_t,
    kind: i32,
    _name: *const c_char,
    _opaque: *mut c_void,
) -> i32 {
    READS_ANSWERS.set(kind == BROKER_THREAD);
    0
}

/// Runs before the answer is parsed (rdkafka_buf.c, `rd_kafka_buf_callback`).
///
/// # Safety
/// As `on_new`.
unsafe extern "C" fn on_response(
    _rk: *mut rd::rd_kafka_t,
    _socket: c_int,
    _broker: *const c_char,
    _broker_id: i32,
    key: i16,
    _version: i16,
    _correlation: i32,
    _size: usize,
    _rtt: i64,
    _error: i32,
    opaque: *mut c_void,
) -> i32 {
    if key == METADATA && READS_ANSWERS.get() {
        // SAFETY: the counter outlives the client, which waits for its threads when it ends.
        unsafe { &*opaque.cast::<AtomicU64>() }.fetch_add(1, Ordering::Release);
    }
    0
}
