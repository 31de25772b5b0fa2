//! What a message names its schema by: a number before the payload, or a header, as Confluent's
//! serializers write them (`PrefixSchemaIdSerializer`, `HeaderSchemaIdSerializer`).
//!
//! - Before the payload: a byte 0 and the number, big-endian, of four bytes; Apicurio's serializers
//!   can write eight.
//! - In the header `__value_schema_id` or `__key_schema_id`: a byte 1 and a GUID of 16 bytes, or a byte
//!   0 and a number of four. The payload has no prefix then. What follows the id in the header is the
//!   format's (Protobuf: the indexes of the message type).

use super::record::Fault;
use gpss_model::block::Side;
use gpss_model::error::{Error, Result as Checked, SqlState};
use gpss_model::format::FormatSpec;
use serde::Deserialize;
use std::fmt;

/// An id of a schema in a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SchemaId {
    Number(u64),
    Guid([u8; 16]),
}

/// As registries and users write it.
impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaId::Number(number) => write!(f, "{number}"),
            SchemaId::Guid(guid) => {
                for (at, byte) in guid.iter().enumerate() {
                    if matches!(at, 4 | 6 | 8 | 10) {
                        f.write_str("-")?;
                    }
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }
    }
}

/// How many bytes the number before a payload has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefix {
    #[default]
    Four,
    Eight,
}

impl Prefix {
    /// What the option `schema_id_bytes` says.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`.
    pub fn of(content: &FormatSpec) -> Checked<Prefix> {
        match content.get("schema_id_bytes") {
            None | Some("4") => Ok(Prefix::Four),
            Some("8") => Ok(Prefix::Eight),
            Some(_) => {
                let message = "option \"schema_id_bytes\" must be 4 or 8";
                Err(Error::new(SqlState::INVALID_PARAMETER, message))
            }
        }
    }

    /// The id before the payload, and what follows.
    ///
    /// # Errors
    /// There is none.
    pub fn split(self, payload: &[u8]) -> Result<(SchemaId, &[u8]), Fault> {
        let found = payload.strip_prefix(&[0]).and_then(|rest| match self {
            Prefix::Four => {
                let (id, rest) = rest.split_first_chunk()?;
                Some((u32::from_be_bytes(*id).into(), rest))
            }
            Prefix::Eight => {
                let (id, rest) = rest.split_first_chunk()?;
                Some((u64::from_be_bytes(*id), rest))
            }
        });
        if let Some((number, rest)) = found {
            return Ok((SchemaId::Number(number), rest));
        }
        Err(match payload.first() {
            Some(0) => Fault::bad("the message is too short for a schema's id"),
            Some(byte) => Fault::Bad(format!(
                "the message does not begin with a schema's id: its first byte is 0x{byte:02x}, not \
                 0x00"
            )),
            None => Fault::bad("the message is empty"),
        })
    }

    /// A text without the id that may be before it: no text begins with a byte 0.
    ///
    /// # Errors
    /// It begins with one, and is too short for an id.
    #[inline]
    pub fn strip(self, payload: &[u8]) -> Result<&[u8], Fault> {
        match payload.first() {
            Some(0) => Ok(self.split(payload)?.1),
            _ => Ok(payload),
        }
    }
}

/// A member of the headers' JSON (`headers_json`).
#[derive(Deserialize)]
struct Header {
    key: Option<String>,
    value: Option<String>,
    value_hex: Option<String>,
}

/// The bytes of the header, among a message's in their JSON form, that names the schema of a side.
///
/// # Errors
/// The header has no value; another registry's names it, which says nothing here.
pub fn of_headers(headers: Option<&[u8]>, side: Side) -> Result<Option<Vec<u8>>, Fault> {
    let Some(headers) = headers else { return Ok(None) };
    let (name, foreign) = match side {
        Side::Value => ("__value_schema_id", "apicurio.value."),
        Side::Key => ("__key_schema_id", "apicurio.key."),
    };
    let occurs = |text: &str| memchr::memmem::find(headers, text.as_bytes()).is_some();
    if !occurs(name) && !occurs(foreign) {
        return Ok(None);
    }
    let list: Vec<Header> = serde_json::from_slice(headers)
        .map_err(|error| Fault::Bad(format!("the message's headers cannot be read: {error}")))?;
    // The last one counts, as in Kafka's clients.
    if let Some(header) = list.iter().rfind(|header| header.key.as_deref() == Some(name)) {
        let bytes = match (&header.value, &header.value_hex) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(hex)) => bytes_of(hex),
            (None, None) => None,
        };
        return match bytes {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(Fault::Bad(format!("header {name} has no value"))),
        };
    }
    let theirs = ["globalId", "contentId", "contentHash", "artifactId"];
    let key = list
        .iter()
        .filter_map(|header| header.key.as_deref())
        .find(|key| key.strip_prefix(foreign).is_some_and(|id| theirs.contains(&id)));
    match key {
        Some(key) => Err(Fault::Bad(format!(
            "the message names its schema in header {key}, which cannot be read; have Apicurio's \
             serializer write it before the payload"
        ))),
        None => Ok(None),
    }
}

/// The bytes of bytea's text form.
fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.strip_prefix("\\x")?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
            _ => None,
        })
        .collect()
}

/// The id in a header, and what follows it there.
///
/// # Errors
/// It is none.
pub fn of_header(bytes: &[u8]) -> Result<(SchemaId, &[u8]), Fault> {
    let found = match bytes.split_first() {
        Some((0, rest)) => rest
            .split_first_chunk()
            .map(|(id, rest)| (SchemaId::Number(u32::from_be_bytes(*id).into()), rest)),
        Some((1, rest)) => {
            rest.split_first_chunk().map(|(guid, rest)| (SchemaId::Guid(*guid), rest))
        }
        _ => None,
    };
    found.ok_or_else(|| {
        Fault::bad(
            "the header of the schema's id is neither a byte 1 and a GUID nor a byte 0 and a number",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers_json;

    const GUID: [u8; 16] = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";

    fn headers(list: &[(&str, Option<&[u8]>)]) -> Vec<u8> {
        let mut json = Vec::new();
        headers_json(list.iter().map(|(key, value)| (key.as_bytes(), *value)), &mut json);
        json
    }

    #[test]
    fn ids_are_written_as_registries_do() {
        assert_eq!(SchemaId::Guid(GUID).to_string(), "00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(SchemaId::Number(7).to_string(), "7");
    }

    #[test]
    fn a_prefix_has_four_bytes_or_eight() {
        let number = SchemaId::Number;
        assert_eq!(Prefix::Four.split(b"\0\0\0\x01\x02rest"), Ok((number(258), &b"rest"[..])));
        let eight = b"\0\0\0\0\0\0\0\x01\x02rest";
        assert_eq!(Prefix::Eight.split(eight), Ok((number(258), &b"rest"[..])));
        assert_eq!(Prefix::Four.strip(b"\0\0\0\x01\x02{}"), Ok(&b"{}"[..]));
        assert_eq!(Prefix::Eight.strip(b"{}"), Ok(&b"{}"[..]));
        assert_eq!(Prefix::Four.strip(b""), Ok(&b""[..]));
        for (prefix, payload, reason) in [
            (Prefix::Four, &b"\0\0\0\x01"[..], "too short"),
            (Prefix::Eight, b"\0\0\0\0\0\0\0\x01", "too short"),
            (Prefix::Four, b"\x01\0\0\0\x01", "0x01"),
            (Prefix::Four, b"", "empty"),
        ] {
            let Err(Fault::Bad(said)) = prefix.split(payload) else { panic!("{payload:?}") };
            assert!(said.contains(reason), "{said}");
        }
        assert!(Prefix::Four.strip(b"\0\0").is_err());
    }

    #[test]
    fn headers_name_the_schemas_of_their_side() {
        let guid = [&[1][..], &GUID].concat();
        // The form of a text, too: bytes of a GUID may happen to be one.
        let text = b"\x01abcdefghijklmno\xc3\xa4";
        let json = headers(&[
            ("a", Some(b"__value_schema_id")),
            ("__value_schema_id", Some(b"an older one")),
            ("__value_schema_id", Some(&guid)),
            ("__key_schema_id", Some(text)),
            ("apicurio.value.encoding", Some(b"BINARY")),
        ]);
        assert_eq!(of_headers(Some(&json), Side::Value), Ok(Some(guid.clone())));
        assert_eq!(of_headers(Some(&json), Side::Key), Ok(Some(text.to_vec())));
        assert_eq!(of_header(&guid), Ok((SchemaId::Guid(GUID), &b""[..])));
        assert_eq!(of_header(b"\0\0\0\0\x07\x02"), Ok((SchemaId::Number(7), &b"\x02"[..])));
        for bytes in [&b""[..], b"\0\0\0\x01", &guid[..16], b"\x02aaaaaaaaaaaaaaaa"] {
            assert!(matches!(of_header(bytes), Err(Fault::Bad(_))), "{bytes:?}");
        }
        // As jsonb writes it again.
        let stored = format!(
            "[{{\"key\": \"__value_schema_id\", \"value_hex\": \"\\\\x{}\"}}]",
            "0100112233445566778899aabbccddeeff"
        );
        assert_eq!(of_headers(Some(stored.as_bytes()), Side::Value), Ok(Some(guid)));
    }

    #[test]
    fn headers_that_cannot_be_read_are_not_passed_over() {
        let none = headers(&[("__value_schema_id", None)]);
        assert!(matches!(of_headers(Some(&none), Side::Value), Err(Fault::Bad(_))));
        let foreign = headers(&[("apicurio.value.globalId", Some(b"\0\0\0\0\0\0\0\x01"))]);
        assert!(matches!(of_headers(Some(&foreign), Side::Value), Err(Fault::Bad(_))));
        assert_eq!(of_headers(Some(&foreign), Side::Key), Ok(None));
        let other = headers(&[("trace", Some(b"apicurio.value.globalId, __value_schema_id"))]);
        assert_eq!(of_headers(Some(&other), Side::Value), Ok(None));
        assert_eq!(of_headers(None, Side::Value), Ok(None));
    }
}
