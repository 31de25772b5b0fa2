//! How request and answer travel between caller and agent: lengths and bytes, same machine, same
//! library.

use gpss_model::error::{Error, Result, SqlState};

/// Rows of columns, as text; `None` is NULL.
pub type Rows = Vec<Vec<Option<String>>>;

const ROWS: u8 = 0;
const ERROR: u8 = 1;

/// Length that stands for NULL.
const NULL: u32 = u32::MAX;

/// Longest text of an error that is sent, in bytes: three of them fit an answer.
const ERROR_TEXT: usize = 8 * 1024;

pub(super) fn encode_request(sql: &str, params: &[Option<String>]) -> Vec<u8> {
    let mut out = Vec::new();
    put_text(&mut out, Some(sql));
    put_row(&mut out, params);
    out
}

pub(super) fn decode_request(request: &[u8]) -> Result<(String, Vec<Option<String>>)> {
    let mut input = request;
    let parse = |input: &mut &[u8]| Some((take_text(input)??, take_row(input)?));
    parse(&mut input).ok_or_else(garbled)
}

pub(super) fn encode_rows(rows: &Rows) -> Vec<u8> {
    let mut out = vec![ROWS];
    put_length(&mut out, rows.len());
    rows.iter().for_each(|row| put_row(&mut out, row));
    out
}

pub(super) fn encode_error(error: &Error) -> Vec<u8> {
    let cut = |text: &str| text[..text.floor_char_boundary(ERROR_TEXT)].to_owned();
    let mut out = vec![ERROR];
    put_text(&mut out, Some(error.sqlstate.as_str()));
    put_text(&mut out, Some(&cut(&error.message)));
    put_text(&mut out, error.detail.as_deref().map(cut).as_deref());
    put_text(&mut out, error.hint.as_deref().map(cut).as_deref());
    out
}

/// The rows, or the error that the agent met.
pub(super) fn decode_answer(answer: &[u8]) -> Result<Rows> {
    match answer.split_first() {
        Some((&ROWS, mut input)) => take_rows(&mut input).ok_or_else(garbled),
        Some((&ERROR, mut input)) => Err(take_error(&mut input).unwrap_or_else(garbled)),
        _ => Err(garbled()),
    }
}

fn take_rows(input: &mut &[u8]) -> Option<Rows> {
    (0..take_u32(input)?).map(|_| take_row(input)).collect()
}

fn take_error(input: &mut &[u8]) -> Option<Error> {
    let sqlstate = SqlState(take_text(input)??.as_bytes().try_into().ok()?);
    let message = take_text(input)??;
    let (detail, hint) = (take_text(input)?, take_text(input)?);
    Some(Error { sqlstate, message, detail, hint, subject: None })
}

fn garbled() -> Error {
    Error::new(SqlState::INTERNAL, "a message between agent and caller cannot be read")
}

fn put_row(out: &mut Vec<u8>, row: &[Option<String>]) {
    put_length(out, row.len());
    row.iter().for_each(|text| put_text(out, text.as_deref()));
}

fn put_text(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => out.extend_from_slice(&NULL.to_ne_bytes()),
        Some(text) => {
            put_length(out, text.len());
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// A length beyond 32 bits makes a message that the other side refuses.
fn put_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u32::try_from(length).unwrap_or(NULL).to_ne_bytes());
}

fn take_row(input: &mut &[u8]) -> Option<Vec<Option<String>>> {
    (0..take_u32(input)?).map(|_| take_text(input)).collect()
}

fn take_text(input: &mut &[u8]) -> Option<Option<String>> {
    let length = take_u32(input)?;
    if length == NULL {
        return Some(None);
    }
    let (text, rest) = input.split_at_checked(usize::try_from(length).ok()?)?;
    *input = rest;
    Some(Some(std::str::from_utf8(text).ok()?.to_owned()))
}

fn take_u32(input: &mut &[u8]) -> Option<u32> {
    let (bytes, rest) = input.split_first_chunk::<4>()?;
    *input = rest;
    Some(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_they_were() {
        let params = vec![Some("ä".to_owned()), None, Some(String::new())];
        let request = encode_request("SELECT $1", &params);
        assert_eq!(decode_request(&request), Ok(("SELECT $1".to_owned(), params.clone())));
        let rows = vec![params, vec![]];
        assert_eq!(decode_answer(&encode_rows(&rows)), Ok(rows));
        let error = Error::new(SqlState::SYNTAX_ERROR, "no").hint("yes");
        assert_eq!(decode_answer(&encode_error(&error)), Err(error));
    }

    #[test]
    fn a_cut_off_message_is_refused() {
        let whole = encode_rows(&vec![vec![Some("text".to_owned())]]);
        for length in 0..whole.len() {
            assert!(decode_answer(&whole[..length]).is_err());
        }
    }

    #[test]
    fn long_error_texts_are_cut_between_characters() {
        let error = Error::new(SqlState::INTERNAL, "é".repeat(ERROR_TEXT));
        let back = decode_answer(&encode_error(&error)).unwrap_err();
        assert_eq!(back.message.len(), ERROR_TEXT);
    }
}
