//! What decoders have in common: bytes of a message's value or key in, records out.

use gpss_model::error::Error;

/// One row that a message holds, borrowed from its decoder.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// The record as one JSON document, for formats of documents; not checked any further.
    pub document: Option<&'a [u8]>,
    /// Fields in the decoder's order, None for NULL: for positional formats, all fields of the
    /// record as UTF-8 text without zero bytes; for the binary format the one field; for others the
    /// top-level fields that were asked for as raw bytes.
    pub fields: &'a [Option<&'a [u8]>],
}

/// Why a message gives no records.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// It costs this message: what is wrong, in words that PostgreSQL uses where it has them. What
    /// was handed out of the message before is taken back.
    Bad(String),
    /// Not the message's fault (a schema registry that does not answer): reading stops, no message
    /// is rejected, and it is tried again later. Or what only the user can mend.
    Failed(Error),
}

impl Fault {
    pub fn bad(reason: impl Into<String>) -> Fault {
        Fault::Bad(reason.into())
    }
}

/// Takes a message's records one by one.
pub type Sink<'a> = dyn FnMut(Record<'_>) -> Result<(), Fault> + 'a;

/// A decoder of one format; lives as long as the reader, on the reader's thread.
pub trait Decode: Send {
    /// Hands the records of `payload` to `sink`, in order.
    ///
    /// # Errors
    /// Its own fault, or the sink's, at which it stops.
    fn decode(&mut self, payload: &[u8], sink: &mut Sink<'_>) -> Result<(), Fault>;

    /// Does it look its schemas up by ids, which a header of the message may hold?
    fn reads_schema_ids(&self) -> bool {
        false
    }

    /// As `decode`, of a payload whose schema a header names, by these bytes; for a decoder that
    /// `reads_schema_ids`.
    ///
    /// # Errors
    /// As `decode`.
    fn decode_identified(
        &mut self,
        _id: &[u8],
        payload: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), Fault> {
        self.decode(payload, sink)
    }
}
