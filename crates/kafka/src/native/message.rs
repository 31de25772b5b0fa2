//! Messages, borrowed from librdkafka while they are handed out.

use super::raw::{bytes, code, fault};
use crate::fault::Fault;
use rdkafka::bindings as rd;
use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr;

/// What a partition's queue holds: a message or an error of the partition.
pub enum Taken<'a> {
    Message(Message<'a>),
    /// `offset` is where reading stands, `partition` the one concerned; negative when unknown.
    Fault {
        partition: i32,
        offset: i64,
        fault: Fault,
    },
}

/// A message or error that is ours to destroy.
pub(super) struct OwnedMessage(pub(super) *mut rd::rd_kafka_message_t);

impl OwnedMessage {
    pub(super) fn read(&self) -> Taken<'_> {
        // SAFETY: librdkafka's message, ours until dropped; `RawMessage` has its layout.
        let message = unsafe { &*self.0.cast::<RawMessage>() };
        if message.err != 0 {
            // SAFETY: an error's payload is its text.
            let text = unsafe { bytes(message.payload, message.len) }
                .map(|text| String::from_utf8_lossy(text).into_owned())
                .unwrap_or_else(|| fault(message.err).text);
            let fault = Fault { code: code(message.err), text };
            return Taken::Fault { partition: message.partition, offset: message.offset, fault };
        }
        let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: as above; librdkafka sets one of the enum's three values.
        let timestamp = unsafe { rd::rd_kafka_message_timestamp(self.0, &mut kind) };
        Taken::Message(Message {
            partition: message.partition,
            offset: message.offset,
            timestamp_ms: (timestamp >= 0).then_some(timestamp),
            // SAFETY: key and payload live as long as the message.
            key: unsafe { bytes(message.key, message.key_len) },
            // SAFETY: as above.
            payload: unsafe { bytes(message.payload, message.len) },
            message: self.0,
            lives: PhantomData,
        })
    }
}

impl Drop for OwnedMessage {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { rd::rd_kafka_message_destroy(self.0) }
    }
}

/// `rd_kafka_message_t` with the error as the number it is: see `event_error`.
#[repr(C)]
struct RawMessage {
    err: i32,
    topic: *mut c_void,
    partition: i32,
    payload: *mut c_void,
    len: usize,
    key: *mut c_void,
    key_len: usize,
    offset: i64,
}

const _: () = assert!(
    std::mem::offset_of!(RawMessage, offset)
        == std::mem::offset_of!(rd::rd_kafka_message_t, offset)
);

/// A message, borrowed from librdkafka while it is handed out.
pub struct Message<'a> {
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since the Unix epoch; None when the broker has none.
    pub timestamp_ms: Option<i64>,
    pub key: Option<&'a [u8]>,
    /// None for a tombstone.
    pub payload: Option<&'a [u8]>,
    message: *const rd::rd_kafka_message_t,
    lives: PhantomData<&'a [u8]>,
}

impl<'a> Message<'a> {
    /// The headers in their order; keys may repeat.
    pub fn headers(&self) -> Headers<'a> {
        let mut list = ptr::null_mut();
        // SAFETY: the message lives for 'a and keeps the parsed headers; the list stays NULL when
        // there are none.
        unsafe { rd::rd_kafka_message_headers(self.message, &mut list) };
        Headers { list, next: 0, lives: PhantomData }
    }
}

/// Iterates over a message's headers: key and value, the value None when it is null.
pub struct Headers<'a> {
    list: *const rd::rd_kafka_headers_t,
    next: usize,
    lives: PhantomData<&'a [u8]>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.list.is_null() {
            return None;
        }
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list belongs to the message, which lives for 'a; past the last header
        // librdkafka returns an error and writes nothing. Names are NUL-terminated.
        unsafe {
            rd::rd_kafka_header_get_all(self.list, self.next, &mut name, &mut value, &mut size);
            if name.is_null() {
                return None;
            }
            self.next += 1;
            Some((CStr::from_ptr(name).to_bytes(), bytes(value, size)))
        }
    }
}
