//! Text between Rust and the database's encoding.

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char, c_int};

use pgrx::pg_sys;

use gpss_model::error::{Error, Result, SqlState};
use gpss_model::printable::printable;

/// For what is longer than a value may be (program_limit_exceeded).
pub(super) const PROGRAM_LIMIT_EXCEEDED: SqlState = SqlState::new("54000");

/// Is the database's encoding UTF-8, or none (SQL_ASCII), so that UTF-8 text goes in as it is?
pub fn server_is_utf8() -> bool {
    // SAFETY: mbutils.c: reads this process's setting.
    let encoding = unsafe { pg_sys::GetDatabaseEncoding() } as u32;
    matches!(encoding, pg_sys::pg_enc::PG_UTF8 | pg_sys::pg_enc::PG_SQL_ASCII)
}

/// The text as any database can hold it: without control characters, and with `?` for what is not ASCII
/// unless the database holds UTF-8.
pub fn storable(text: &str) -> Cow<'_, str> {
    let text = printable(text);
    if text.is_ascii() || server_is_utf8() {
        return text;
    }
    Cow::Owned(text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect())
}

pub(super) fn valid_utf8(bytes: &[u8]) -> Result<&str> {
    str::from_utf8(bytes)
        .map_err(|error| invalid_utf8(bytes.get(error.valid_up_to()..).unwrap_or_default()))
}

/// What PostgreSQL's own check says (`report_invalid_encoding`): the bytes of one character.
fn invalid_utf8(rest: &[u8]) -> Error {
    let length = match rest.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        _ => 1,
    };
    let bytes: Vec<String> = rest.iter().take(length).map(|byte| format!("0x{byte:02x}")).collect();
    Error::new(
        SqlState::CHARACTER_NOT_IN_REPERTOIRE,
        format!("invalid byte sequence for encoding \"UTF8\": {}", bytes.join(" ")),
    )
}

/// Text in the database's encoding, refused when it holds a NUL.
///
/// Errors: 22021, 22P05. Raises: what a conversion function may raise.
pub(super) fn to_server(text: &str) -> Result<Cow<'_, [u8]>> {
    if text.as_bytes().contains(&0) {
        return Err(invalid_utf8(&[0]));
    }
    if server_is_utf8() || text.is_ascii() {
        return Ok(Cow::Borrowed(text.as_bytes()));
    }
    let length = c_int::try_from(text.len())
        .map_err(|_| Error::new(PROGRAM_LIMIT_EXCEEDED, "a value is too long for a column"))?;
    // SAFETY: mbutils.c: returns its argument when it converted nothing, else a NUL-terminated
    // palloc'd string, which is copied here and goes with its context.
    let converted = unsafe {
        let source = text.as_ptr().cast::<c_char>();
        let target = pg_sys::pg_any_to_server(source, length, pg_sys::pg_enc::PG_UTF8 as c_int);
        if target.cast_const() == source {
            return Ok(Cow::Borrowed(text.as_bytes()));
        }
        CStr::from_ptr(target).to_bytes().to_vec()
    };
    Ok(Cow::Owned(converted))
}

/// As `to_server`, for C.
pub fn c_string(text: &str) -> Result<CString> {
    // It holds no NUL.
    Ok(CString::new(to_server(text)?).unwrap_or_default())
}

/// Text of the database's encoding as Rust's.
///
/// Errors: 22021 for bytes that are no text (SQL_ASCII). Raises: as `to_server`.
pub(super) fn utf8(bytes: &[u8]) -> Result<String> {
    if server_is_utf8() || bytes.is_ascii() {
        return valid_utf8(bytes).map(str::to_owned);
    }
    let text = CString::new(bytes).map_err(|_| invalid_utf8(&[0]))?;
    Ok(from_server(&text))
}

/// Text of the database's encoding as Rust's; bytes that are no text (SQL_ASCII) are replaced.
pub(super) fn from_server(text: &CStr) -> String {
    let bytes = text.to_bytes();
    if server_is_utf8() || bytes.is_ascii() {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let Ok(length) = c_int::try_from(bytes.len()) else {
        return String::from_utf8_lossy(bytes).into_owned();
    };
    // SAFETY: mbutils.c: as pg_any_to_server, the other way.
    let converted = unsafe {
        let utf8 = pg_sys::pg_enc::PG_UTF8 as c_int;
        CStr::from_ptr(pg_sys::pg_server_to_any(text.as_ptr(), length, utf8))
    };
    String::from_utf8_lossy(converted.to_bytes()).into_owned()
}
