//! JSON's tokens, accepted and refused as PostgreSQL 15 does (`json_lex` in `common/jsonapi.c`):
//! RFC 8259, nothing more. Functions of bytes that are known to be UTF-8 and a position in them:
//! without state, positions stay in registers, which is where the speed comes from.

use std::fmt;

use crate::simd_json::{chunk, skip_digits, skip_plain};

/// Why a document is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Expected(&'static str),
    Ended,
    InvalidToken,
    ControlCharacter(u8),
    InvalidEscape,
    InvalidUnicodeEscape,
    TooDeep(usize),
    NotUtf8(u8),
}

/// What is wrong, and at which byte of the document (the first is byte 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub problem: Problem,
    pub at: usize,
}

/// Worded as PostgreSQL's error and its DETAIL, in one line.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SYNTAX: &str = "invalid input syntax for type json";
        match self.problem {
            Problem::Expected(what) => write!(f, "{SYNTAX}: expected {what}"),
            Problem::Ended => write!(f, "{SYNTAX}: the input string ended unexpectedly"),
            Problem::InvalidToken => write!(f, "{SYNTAX}: invalid token"),
            Problem::ControlCharacter(byte) => {
                write!(f, "{SYNTAX}: character with value 0x{byte:02x} must be escaped")
            }
            Problem::InvalidEscape => write!(f, "{SYNTAX}: invalid escape sequence"),
            Problem::InvalidUnicodeEscape => {
                write!(f, "{SYNTAX}: \"\\u\" must be followed by four hexadecimal digits")
            }
            Problem::TooDeep(limit) => write!(f, "json nested deeper than {limit} levels"),
            Problem::NotUtf8(byte) => {
                write!(f, "invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}")
            }
        }?;
        write!(f, " at byte {}", self.at)
    }
}

pub(crate) type Scanned<T> = Result<T, Fault>;

#[cold]
pub(crate) fn fail<T>(problem: Problem, at: usize) -> Scanned<T> {
    Err(Fault { problem, at })
}

/// Fails because the token at `at` is not what may stand there.
#[cold]
pub(crate) fn expected<T>(bytes: &[u8], at: usize, what: &'static str) -> Scanned<T> {
    let problem = if at < bytes.len() { Problem::Expected(what) } else { Problem::Ended };
    fail(problem, at)
}

/// A string token: its bytes between the quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StringToken {
    pub start: usize,
    pub end: usize,
    pub escapes: Escapes,
}

/// What escapes a string holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Escapes {
    None,
    Some,
    /// At least one that `json_in` accepts and de-escaping refuses.
    Refused,
}

impl StringToken {
    /// Where the next token may begin: behind the closing quote.
    #[inline]
    pub fn next(self) -> usize {
        self.end + 1
    }
}

/// The position of the next byte that is not white space, and that byte: 0, which begins no token,
/// at the end.
#[inline(always)]
pub(crate) fn token(bytes: &[u8], at: usize) -> (usize, u8) {
    match bytes.get(at) {
        Some(&byte) if byte > b' ' => (at, byte),
        _ => token_behind_whitespace(bytes, at),
    }
}

/// As `token`: apart, so that `token` is small enough to be everywhere.
#[inline(never)]
fn token_behind_whitespace(bytes: &[u8], at: usize) -> (usize, u8) {
    let at = skip_whitespace(bytes, at);
    (at, bytes.get(at).copied().unwrap_or_default())
}

/// The position of the next byte that is not white space.
pub(crate) fn skip_whitespace(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Reads the string whose opening quote is at `at`.
#[inline(always)]
pub(crate) fn string(bytes: &[u8], at: usize) -> Scanned<StringToken> {
    let start = at + 1;
    let end = skip_plain(bytes, start);
    let (end, escapes) = match bytes.get(end) {
        Some(b'"') => (end, Escapes::None),
        _ => unusual_string(bytes, end)?,
    };
    Ok(StringToken { start, end, escapes })
}

/// Goes on with a string at `at` that is not plain text up to its quote; returns its end.
#[inline(never)]
fn unusual_string(bytes: &[u8], mut at: usize) -> Scanned<(usize, Escapes)> {
    let mut escapes = Escapes::None;
    loop {
        match bytes.get(at) {
            Some(b'"') => return Ok((at, escapes)),
            Some(b'\\') => {
                let (len, char) = escape(bytes, at)?;
                let found = if char.is_some() { Escapes::Some } else { Escapes::Refused };
                escapes = escapes.max(found);
                at = skip_plain(bytes, at + len);
            }
            Some(&byte) => return fail(Problem::ControlCharacter(byte), at),
            None => return fail(Problem::Ended, at),
        }
    }
}

/// Reads the number that begins at `at` with a digit or a minus sign; returns its end.
#[inline(always)]
pub(crate) fn number(bytes: &[u8], at: usize) -> Scanned<usize> {
    let whole = at + usize::from(bytes.get(at) == Some(&b'-'));
    let mut end =
        if bytes.get(whole) == Some(&b'0') { whole + 1 } else { skip_digits(bytes, whole) };
    let mut valid = end > whole;
    if bytes.get(end) == Some(&b'.') {
        let fraction = end + 1;
        end = skip_digits(bytes, fraction);
        valid &= end > fraction;
    }
    if word_goes_on(bytes, end) {
        let signed = matches!(bytes.get(end + 1), Some(b'+' | b'-'));
        let exponent = end + 1 + usize::from(signed);
        valid &= matches!(bytes.get(end), Some(b'e' | b'E'));
        end = skip_digits(bytes, exponent);
        valid &= end > exponent && !word_goes_on(bytes, end);
    }
    if valid { Ok(end) } else { fail(Problem::InvalidToken, at) }
}

/// Reads true, false or null at `at`; returns its end.
#[inline(always)]
pub(crate) fn keyword(bytes: &[u8], at: usize) -> Scanned<usize> {
    let long = chunk(bytes, at) == Some(b"false");
    let end = at + if long { 5 } else { 4 };
    let short = matches!(chunk(bytes, at), Some(b"true" | b"null"));
    if (long || short) && !word_goes_on(bytes, end) {
        Ok(end)
    } else {
        fail(Problem::InvalidToken, at)
    }
}

/// Whether the token goes on: PostgreSQL takes `12abc` for one wrong token.
#[inline(always)]
fn word_goes_on(bytes: &[u8], at: usize) -> bool {
    static GOES_ON: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0_u8;
        loop {
            table[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
            if byte == u8::MAX {
                break table;
            }
            byte += 1;
        }
    };
    bytes.get(at).is_some_and(|&byte| GOES_ON[usize::from(byte)])
}

/// Reads the escape sequence whose backslash is at `at`: its length and what it stands for; None
/// for what PostgreSQL refuses to de-escape: `\u0000` and surrogates that are no pair.
#[inline(always)]
fn escape(bytes: &[u8], at: usize) -> Scanned<(usize, Option<char>)> {
    let char = match bytes.get(at + 1) {
        Some(&byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
        Some(b'b') => '\x08',
        Some(b'f') => '\x0c',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            let Some(unit) = hex_unit(bytes, at + 2) else {
                return fail(Problem::InvalidUnicodeEscape, at);
            };
            if let (0xD800..=0xDBFF, Some(b"\\u")) = (unit, bytes.get(at + 6..at + 8))
                && let Some(low @ 0xDC00..=0xDFFF) = hex_unit(bytes, at + 8)
            {
                let code = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                return Ok((12, char::from_u32(code)));
            }
            return Ok((6, char::from_u32(unit).filter(|&char| char != '\0')));
        }
        Some(_) => return fail(Problem::InvalidEscape, at),
        None => return fail(Problem::Ended, bytes.len()),
    };
    Ok((2, Some(char)))
}

/// The UTF-16 code unit written as four hexadecimal digits at `at`.
#[inline(never)]
fn hex_unit(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit * 16 + char::from(digit).to_digit(16)?))
}

/// Appends a string's text to `out`, de-escaped. Escapes that PostgreSQL refuses are left out: the
/// caller has seen them in `escapes` and does not use the text.
pub(crate) fn unescape(bytes: &[u8], string: StringToken, out: &mut Vec<u8>) {
    let bytes = bytes.get(..string.end).unwrap_or_default();
    let mut at = string.start;
    while at < bytes.len() {
        let stop = skip_plain(bytes, at);
        out.extend_from_slice(bytes.get(at..stop).unwrap_or_default());
        at = stop;
        if let Ok((len, char)) = escape(bytes, at) {
            if let Some(char) = char {
                out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
            at += len;
        }
    }
}
