//! A configuration: librdkafka judges names and values.

use super::raw::{REASON_BYTES, text};
use rdkafka::bindings as rd;
use std::ffi::{CString, c_char};

/// Why a property was refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    Unknown,
    /// librdkafka's reason, which usually quotes the value.
    Invalid(String),
}

/// The properties of a client to be.
pub struct Conf(pub(super) *mut rd::rd_kafka_conf_t);

impl Conf {
    pub fn new() -> Conf {
        // SAFETY: allocates; librdkafka aborts when out of memory, it never returns NULL.
        Conf(unsafe { rd::rd_kafka_conf_new() })
    }

    /// Sets one property. Loads the libraries at once when it is `plugin.library.paths`.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let Ok(name) = CString::new(name) else { return Err(Refusal::Unknown) };
        let Ok(value) = CString::new(value) else {
            return Err(Refusal::Invalid("the value contains a zero byte".to_owned()));
        };
        let mut reason: [c_char; REASON_BYTES] = [0; REASON_BYTES];
        // SAFETY: the strings and the buffer outlive the call; librdkafka copies them.
        let result = unsafe {
            rd::rd_kafka_conf_set(
                self.0,
                name.as_ptr(),
                value.as_ptr(),
                reason.as_mut_ptr(),
                reason.len(),
            )
        };
        match result {
            rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK => Ok(()),
            rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_UNKNOWN => Err(Refusal::Unknown),
            // SAFETY: librdkafka terminates the text within the buffer.
            _ => Err(Refusal::Invalid(unsafe { text(reason.as_ptr()) })),
        }
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        // SAFETY: ours until rd_kafka_new takes it, as `Client::new` does by forgetting it.
        unsafe { rd::rd_kafka_conf_destroy(self.0) }
    }
}

#[cfg(test)]
impl Conf {
    /// The value as librdkafka prints it.
    pub fn get(&self, name: &str) -> Option<String> {
        let (name, mut value, mut size) =
            (CString::new(name).unwrap(), [0; REASON_BYTES], REASON_BYTES);
        // SAFETY: the buffer has `size` bytes.
        let result =
            unsafe { rd::rd_kafka_conf_get(self.0, name.as_ptr(), value.as_mut_ptr(), &mut size) };
        let found = result == rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK;
        // SAFETY: librdkafka terminates the value.
        found.then(|| unsafe { text(value.as_ptr()) })
    }
}

/// The names of all properties that librdkafka documents, by its own listing.
#[cfg(test)]
pub fn property_names() -> Vec<String> {
    use super::raw::bytes;
    let (mut start, mut len) = (std::ptr::null_mut(), 0);
    // SAFETY: open_memstream(3): librdkafka prints its table, fclose completes the buffer.
    let listing = unsafe {
        let file = libc::open_memstream(&mut start, &mut len);
        rd::rd_kafka_conf_properties_show(file.cast());
        libc::fclose(file);
        let listing = String::from_utf8(bytes(start.cast(), len).unwrap().to_vec()).unwrap();
        libc::free(start.cast());
        listing
    };
    // Rows look like `name | C/P | …`.
    listing
        .lines()
        .filter_map(|row| row.split_once('|'))
        .map(|(name, _)| name.trim().to_owned())
        .filter(|name| name != "Property" && !name.starts_with('-'))
        .collect()
}
