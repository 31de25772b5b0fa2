//! `binary` and `json`: one record per message, the payload as it is.

use super::encoding::Converter;
use super::record::{Decode, Fault, Record, Sink};
use super::schema_id::Prefix;
use gpss_model::error::Result;
use gpss_model::format::FormatSpec;

/// One field: the payload.
#[derive(Debug, Default)]
pub struct BinaryDecoder;

impl Decode for BinaryDecoder {
    fn decode(&mut self, payload: &[u8], sink: &mut Sink<'_>) -> Result<(), Fault> {
        sink(Record { document: None, fields: &[Some(payload)] })
    }
}

/// One document: the payload, converted to UTF-8 when it is in another encoding, without a schema's id
/// before it.
#[derive(Debug)]
pub struct DocumentDecoder {
    converter: Converter,
    prefix: Prefix,
}

impl DocumentDecoder {
    /// # Errors
    /// `INVALID_PARAMETER` for an encoding that cannot be converted.
    pub fn new(content: &FormatSpec) -> Result<DocumentDecoder> {
        Ok(DocumentDecoder { converter: Converter::new(content)?, prefix: Prefix::of(content)? })
    }
}

impl Decode for DocumentDecoder {
    fn decode(&mut self, payload: &[u8], sink: &mut Sink<'_>) -> Result<(), Fault> {
        let document = self.converter.document(self.prefix.strip(payload)?)?;
        sink(Record { document: Some(document), fields: &[] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpss_model::format::Format;

    #[test]
    fn binary_is_one_field_of_any_bytes() {
        for payload in [&b""[..], b"a\0\xff"] {
            let mut rows = 0;
            let done = BinaryDecoder.decode(payload, &mut |record| {
                assert_eq!((record.document, record.fields), (None, &[Some(payload)][..]));
                rows += 1;
                Ok(())
            });
            assert_eq!((done, rows), (Ok(()), 1));
        }
    }

    #[test]
    fn a_document_is_left_as_it_is_unless_it_is_converted() {
        for (encoding, payload, want) in [
            (None, &b"{\"a\":\"\xff\"}\n"[..], &b"{\"a\":\"\xff\"}\n"[..]),
            (Some("LATIN1"), b"\"\xe9\"", "\"é\"".as_bytes()),
            (None, b"", b""),
        ] {
            let options = encoding.map(|value| ("encoding", value));
            let content = FormatSpec::with_options(Format::Json, options).unwrap();
            let mut decoder = DocumentDecoder::new(&content).unwrap();
            let mut rows = 0;
            let done = decoder.decode(payload, &mut |record| {
                assert_eq!(record.document, Some(want));
                assert!(record.fields.is_empty());
                rows += 1;
                Ok(())
            });
            assert_eq!((done, rows), (Ok(()), 1));
        }
    }
}
