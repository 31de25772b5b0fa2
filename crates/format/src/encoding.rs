//! The option `encoding`: what a message's text is written in, by PostgreSQL's names. Decoders read
//! UTF-8 only; what is something else is converted before.
//!
//! Encodings of one byte per character convert exactly as in PostgreSQL. Those of several bytes
//! convert as browsers do (the Encoding Standard): the same but for rare signs, of which there are
//! more than PostgreSQL knows. That is 1 character in 13,000 for EUC_JP, 2 in 7,400 for EUC_CN, 20
//! in 24,000 for GB18030, 267 in 14,000 for BIG5, none for SJIS, GBK, UHC and EUC_KR; PostgreSQL
//! alone knows 106 in EUC_JP (IBM's extensions), 189 for private use in UHC and 1 in EUC_KR.

use super::record::Fault;
use encoding_rs::{DecoderResult, Encoding};
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::format::FormatSpec;

/// An encoding that can be converted: PostgreSQL's name, further names as they are compared, and
/// what to make of its bytes.
struct Known {
    name: &'static str,
    aliases: &'static [&'static str],
    set: Set,
}

enum Set {
    Utf8,
    /// Bytes above 127 stand for the characters of the same numbers.
    Latin1,
    /// One byte per character.
    Single(&'static Encoding),
    Multi(&'static Encoding),
}

const fn known(name: &'static str, aliases: &'static [&'static str], set: Set) -> Known {
    Known { name, aliases, set }
}

/// `pg_encname_tbl` in `common/encnames.c`.
const KNOWN: &[Known] = &[
    known("UTF8", &["unicode"], Set::Utf8),
    // No conversion, as in PostgreSQL: what goes into a database of encoding UTF8 has to be UTF-8.
    known("SQL_ASCII", &[], Set::Utf8),
    known("LATIN1", &["iso88591"], Set::Latin1),
    known("LATIN2", &["iso88592"], Set::Single(encoding_rs::ISO_8859_2)),
    known("LATIN3", &["iso88593"], Set::Single(encoding_rs::ISO_8859_3)),
    known("LATIN4", &["iso88594"], Set::Single(encoding_rs::ISO_8859_4)),
    known("LATIN5", &["iso88599"], Set::Single(encoding_rs::WINDOWS_1254)),
    known("LATIN6", &["iso885910"], Set::Single(encoding_rs::ISO_8859_10)),
    known("LATIN7", &["iso885913"], Set::Single(encoding_rs::ISO_8859_13)),
    known("LATIN8", &["iso885914"], Set::Single(encoding_rs::ISO_8859_14)),
    known("LATIN9", &["iso885915"], Set::Single(encoding_rs::ISO_8859_15)),
    known("LATIN10", &["iso885916"], Set::Single(encoding_rs::ISO_8859_16)),
    known("ISO_8859_5", &[], Set::Single(encoding_rs::ISO_8859_5)),
    known("ISO_8859_6", &[], Set::Single(encoding_rs::ISO_8859_6)),
    known("ISO_8859_7", &[], Set::Single(encoding_rs::ISO_8859_7)),
    known("ISO_8859_8", &[], Set::Single(encoding_rs::ISO_8859_8)),
    known("KOI8R", &["koi8"], Set::Single(encoding_rs::KOI8_R)),
    known("KOI8U", &[], Set::Single(encoding_rs::KOI8_U)),
    known("WIN866", &["windows866", "alt"], Set::Single(encoding_rs::IBM866)),
    known("WIN874", &["windows874"], Set::Single(encoding_rs::WINDOWS_874)),
    known("WIN1250", &["windows1250"], Set::Single(encoding_rs::WINDOWS_1250)),
    known("WIN1251", &["windows1251", "win"], Set::Single(encoding_rs::WINDOWS_1251)),
    known("WIN1252", &["windows1252"], Set::Single(encoding_rs::WINDOWS_1252)),
    known("WIN1253", &["windows1253"], Set::Single(encoding_rs::WINDOWS_1253)),
    known("WIN1254", &["windows1254"], Set::Single(encoding_rs::WINDOWS_1254)),
    known("WIN1255", &["windows1255"], Set::Single(encoding_rs::WINDOWS_1255)),
    known("WIN1256", &["windows1256"], Set::Single(encoding_rs::WINDOWS_1256)),
    known("WIN1257", &["windows1257"], Set::Single(encoding_rs::WINDOWS_1257)),
    known(
        "WIN1258",
        &["windows1258", "abc", "tcvn", "tcvn5712", "vscii"],
        Set::Single(encoding_rs::WINDOWS_1258),
    ),
    known(
        "SJIS",
        &["shiftjis", "mskanji", "win932", "windows932"],
        Set::Multi(encoding_rs::SHIFT_JIS),
    ),
    known("EUC_JP", &[], Set::Multi(encoding_rs::EUC_JP)),
    known("EUC_KR", &[], Set::Multi(encoding_rs::EUC_KR)),
    known("UHC", &["win949", "windows949"], Set::Multi(encoding_rs::EUC_KR)),
    known("EUC_CN", &[], Set::Multi(encoding_rs::GBK)),
    known("GBK", &["win936", "windows936"], Set::Multi(encoding_rs::GBK)),
    known("GB18030", &[], Set::Multi(encoding_rs::GB18030)),
    known("BIG5", &["win950", "windows950"], Set::Multi(encoding_rs::BIG5)),
];

/// Converts messages to UTF-8.
#[derive(Debug)]
pub(super) struct Converter {
    name: &'static str,
    how: How,
    /// Keeps its memory from message to message.
    converted: String,
}

#[derive(Debug)]
enum How {
    Check,
    /// The characters of the bytes 128 to 255.
    Single(Box<[Option<char>; 128]>),
    Multi(&'static Encoding),
}

impl Converter {
    /// # Errors
    /// `INVALID_PARAMETER` for an encoding that is unknown or cannot be converted.
    pub fn new(content: &FormatSpec) -> Result<Converter> {
        let name = content.get("encoding").unwrap_or("UTF8");
        let clean = clean(name);
        let Some(known) = KNOWN.iter().find(|known| {
            self::clean(known.name) == clean || known.aliases.iter().any(|alias| *alias == clean)
        }) else {
            let names = KNOWN.iter().map(|known| known.name).collect::<Vec<_>>().join(", ");
            let message = format!("encoding \"{name}\" cannot be converted to UTF8");
            return Err(Error::new(SqlState::INVALID_PARAMETER, message)
                .hint(format!("Encodings that can be converted are: {names}.")));
        };
        let how = match known.set {
            Set::Utf8 => How::Check,
            Set::Latin1 | Set::Single(_) => How::Single(Box::new(table(known))),
            Set::Multi(encoding) => How::Multi(encoding),
        };
        let name = if matches!(how, How::Check) { "UTF8" } else { known.name };
        Ok(Converter { name, how, converted: String::new() })
    }

    /// The payload as UTF-8 text without zero bytes.
    ///
    /// # Errors
    /// Bytes that are no text in the encoding.
    #[inline]
    pub fn text<'a>(&'a mut self, payload: &'a [u8]) -> Result<&'a [u8], Fault> {
        if let How::Check = self.how {
            check_text(payload)?;
            return Ok(payload);
        }
        if memchr::memchr(0, payload).is_some() {
            return Err(invalid(self.name, &[0]));
        }
        self.convert(payload)
    }

    /// The payload as UTF-8, for readers that check what they read: not checked unless converted.
    ///
    /// # Errors
    /// Bytes that cannot be converted.
    #[inline]
    pub fn document<'a>(&'a mut self, payload: &'a [u8]) -> Result<&'a [u8], Fault> {
        if let How::Check = self.how { Ok(payload) } else { self.convert(payload) }
    }

    fn convert<'a>(&'a mut self, payload: &'a [u8]) -> Result<&'a [u8], Fault> {
        // ASCII is the same in all of them.
        if payload.is_ascii() {
            return Ok(payload);
        }
        self.converted.clear();
        match &self.how {
            How::Check => return Ok(payload),
            How::Single(table) => {
                for byte in payload {
                    let high = byte.checked_sub(128).and_then(|at| table.get(usize::from(at)));
                    match high {
                        None => self.converted.push(char::from(*byte)),
                        Some(Some(char)) => self.converted.push(*char),
                        Some(None) => return Err(invalid(self.name, &[*byte])),
                    }
                }
            }
            How::Multi(encoding) => {
                if let Err(bytes) = convert(encoding, payload, &mut self.converted) {
                    return Err(invalid(self.name, bytes));
                }
            }
        }
        Ok(self.converted.as_bytes())
    }
}

/// Appends the payload's text; or the bytes that have none.
fn convert<'a>(
    encoding: &'static Encoding,
    payload: &'a [u8],
    into: &mut String,
) -> Result<(), &'a [u8]> {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut rest = payload;
    loop {
        // Only a payload beyond the address space has no length.
        into.reserve(
            decoder.max_utf8_buffer_length_without_replacement(rest.len()).unwrap_or_default(),
        );
        let (result, read) = decoder.decode_to_string_without_replacement(rest, into, true);
        match result {
            DecoderResult::InputEmpty => return Ok(()),
            DecoderResult::OutputFull => rest = rest.get(read..).unwrap_or_default(),
            DecoderResult::Malformed(bad, behind) => {
                let to = read.saturating_sub(usize::from(behind));
                let from = to.saturating_sub(usize::from(bad));
                return Err(rest.get(from..to).unwrap_or_default());
            }
        }
    }
}

/// What the bytes from 128 on mean in an encoding of one byte per character.
fn table(known: &Known) -> [Option<char>; 128] {
    let mut table = [None; 128];
    for (byte, entry) in (128..=u8::MAX).zip(&mut table) {
        *entry = match (&known.set, known.name, byte) {
            (Set::Latin1, ..) | (_, "LATIN5", ..0xa0) => Some(char::from(byte)),
            // RFC 2319; the Encoding Standard has Belarusian letters there.
            (_, "KOI8U", 0xae) => Some('\u{255d}'),
            (_, "KOI8U", 0xbe) => Some('\u{256c}'),
            // Younger than the tables of PostgreSQL.
            (_, "WIN1255", 0xca) => None,
            (Set::Single(encoding), ..) => single(encoding, byte)
                // The Encoding Standard fills the gaps of Microsoft's with control characters.
                .filter(|char| !known.name.starts_with("WIN") || !char.is_control()),
            _ => None,
        };
    }
    table
}

fn single(encoding: &'static Encoding, byte: u8) -> Option<char> {
    let mut text = [0; 4];
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let (result, _, written) = decoder.decode_to_utf8_without_replacement(&[byte], &mut text, true);
    if result != DecoderResult::InputEmpty {
        return None;
    }
    std::str::from_utf8(text.get(..written)?).ok()?.chars().next()
}

/// A name as PostgreSQL compares it (`clean_encoding_name`).
fn clean(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether bytes are UTF-8 without zero bytes.
///
/// # Errors
/// In PostgreSQL's words: it names the bytes of the first character that is none
/// (`report_invalid_encoding` in `utils/mb/mbutils.c`).
#[inline]
pub(super) fn check_text(bytes: &[u8]) -> Result<(), Fault> {
    if simdutf8::basic::from_utf8(bytes).is_ok() && memchr::memchr(0, bytes).is_none() {
        return Ok(());
    }
    Err(not_utf8(bytes))
}

#[cold]
fn not_utf8(bytes: &[u8]) -> Fault {
    let valid = std::str::from_utf8(bytes).map_or_else(|e| e.valid_up_to(), str::len);
    let at = memchr::memchr(0, bytes).map_or(valid, |zero| zero.min(valid));
    let rest = bytes.get(at..).unwrap_or_default();
    let len = match rest.first() {
        Some(0xc0..0xe0) => 2,
        Some(0xe0..0xf0) => 3,
        Some(0xf0..0xf8) => 4,
        _ => 1,
    };
    invalid("UTF8", rest.get(..len).unwrap_or(rest))
}

#[cold]
fn invalid(encoding: &str, bytes: &[u8]) -> Fault {
    let bytes = bytes.iter().map(|byte| format!("0x{byte:02x}")).collect::<Vec<_>>().join(" ");
    Fault::bad(format!("invalid byte sequence for encoding \"{encoding}\": {bytes}"))
}

#[cfg(test)]
mod tests;
