//! Reading librdkafka's C values: strings, arrays, error codes.

use crate::fault::Fault;
use rdkafka::bindings as rd;
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::time::Duration;

unsafe extern "C" {
    // The crate declares these with a Rust enum as the result. The code may come from a broker
    // that is newer than the enum, which would be undefined behaviour; so here it is a number.
    #[link_name = "rd_kafka_event_error"]
    pub(super) fn event_error(event: *mut rd::rd_kafka_event_t) -> i32;
    #[link_name = "rd_kafka_error_code"]
    pub(super) fn error_code(error: *const rd::rd_kafka_error_t) -> i32;
    #[link_name = "rd_kafka_metadata"]
    pub(super) fn metadata(
        client: *mut rd::rd_kafka_t,
        all_topics: c_int,
        only: *mut rd::rd_kafka_topic_t,
        list: *mut *const rd::rd_kafka_metadata,
        timeout_ms: c_int,
    ) -> i32;
}

/// Room for librdkafka's reason when it refuses something.
pub(super) const REASON_BYTES: usize = 512;

pub(super) fn code(raw: i32) -> Code {
    RDKafkaRespErr::try_from(raw).unwrap_or(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN).into()
}

/// A raw error code with librdkafka's description of it.
pub(super) fn fault(raw: i32) -> Fault {
    let text = match RDKafkaRespErr::try_from(raw) {
        // SAFETY: rd_kafka_err2str returns a static or thread-local string.
        Ok(known) => unsafe { text(rd::rd_kafka_err2str(known)) },
        Err(_) => format!("Broker: error {raw}"),
    };
    Fault { code: code(raw), text }
}

/// A C string as an owned one; empty for NULL.
///
/// # Safety
/// `s` is NULL or NUL-terminated.
pub(super) unsafe fn text(s: *const c_char) -> String {
    if s.is_null() {
        return String::new();
    }
    // SAFETY: by this function's contract.
    unsafe { CStr::from_ptr(s) }.to_string_lossy().trim().to_owned()
}

/// The elements of an array that librdkafka returns; empty for NULL.
///
/// # Safety
/// `first` is NULL or points to `count` elements that live as long as the answer is used.
pub(super) unsafe fn elements<'a, T>(first: *const T, count: usize) -> &'a [T] {
    if first.is_null() {
        return &[];
    }
    // SAFETY: by this function's contract.
    unsafe { std::slice::from_raw_parts(first, count) }
}

pub(super) fn millis(timeout: Duration) -> c_int {
    c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX)
}

/// Bytes; None for NULL.
///
/// # Safety
/// `start` is NULL or points to `len` bytes that live for `'a`.
pub(super) unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: by this function's contract.
    Some(unsafe { std::slice::from_raw_parts(start.cast(), len) })
}
