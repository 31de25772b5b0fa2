//! GPSS's format `delimited`: fields between delimiters of several bytes, with quotes and escapes if
//! the options name them.
//!
//! What GPSS leaves open is decided so:
//! - a row ends with `eol_prefix` and a line feed, both together; without `eol_prefix`, with a line
//!   feed. A carriage return is data: `eol_prefix` can name it. The last row needs no end;
//! - a field is quoted when its first byte is the quote; behind the closing quote the field ends. A
//!   quote elsewhere is data;
//! - without `escape`, the quote escapes itself, as in CSV;
//! - an escape before anything that needs none is data, within quotes and without;
//! - an unquoted field that is, as it is written, the text of `null` is NULL: by default one without
//!   any bytes, as in CSV.

use super::copy::{self, LineState, Row, Value, refused};
use super::encoding::Converter;
use super::record::{Decode, Fault, Sink};
use super::simd_delimiters::{Marks, Specials};
use gpss_model::error::Result;
use gpss_model::format::FormatSpec;

/// Bytes of a delimiter, and of an end-of-line prefix; GPSS's limit.
const MAX_BYTES: usize = 32;

type DelimitedMarks<'a> = Marks<'a, 4>;

/// Reads messages of delimited rows.
#[derive(Debug)]
pub struct DelimitedDecoder {
    converter: Converter,
    specials: Specials<4>,
    rows: Rows,
}

#[derive(Debug)]
struct Rows {
    delimiter: Vec<u8>,
    row_end: Vec<u8>,
    /// How much of `row_end` an escape makes data.
    escaped_end: usize,
    quote: Option<u8>,
    escape: Option<u8>,
    null: Vec<u8>,
    row: Row,
}

/// What comes behind a field, and where that begins.
enum Next {
    Field(usize),
    Row { at: usize, next: usize },
    Nothing,
}

impl DelimitedDecoder {
    /// A decoder of records with these columns, by position.
    ///
    /// # Errors
    /// `INVALID_PARAMETER` without a delimiter, and for bytes that would have two meanings.
    pub fn new(content: &FormatSpec, columns: &[String]) -> Result<DelimitedDecoder> {
        let delimiter = content.get("delimiter").unwrap_or_default();
        if delimiter.is_empty() {
            return Err(refused("format delimited needs option \"delimiter\""));
        }
        let prefix = content.get("eol_prefix").unwrap_or_default();
        let quote = content.byte("quote");
        let escape = content.byte("escape").or(quote);
        for (name, value) in [("delimiter", delimiter), ("eol_prefix", prefix)] {
            if value.len() > MAX_BYTES {
                return Err(refused(format!("option \"{name}\" is longer than {MAX_BYTES} bytes")));
            }
            if value.contains('\n') {
                return Err(refused(format!("option \"{name}\" cannot contain a newline")));
            }
            for (other, byte) in [("quote", quote), ("escape", escape)] {
                if byte.is_some_and(|byte| value.as_bytes().contains(&byte)) {
                    let message =
                        format!("option \"{other}\" must not appear in option \"{name}\"");
                    return Err(refused(message));
                }
            }
        }
        if delimiter == prefix {
            return Err(refused("options \"delimiter\" and \"eol_prefix\" must be different"));
        }
        for (name, byte) in [("quote", quote), ("escape", escape)] {
            if byte == Some(b'\n') {
                return Err(refused(format!("option \"{name}\" cannot be newline")));
            }
        }
        let null = copy::null(content, "", delimiter)?;
        if quote.is_some_and(|quote| null.contains(&quote)) {
            return Err(refused("option \"quote\" must not appear in option \"null\""));
        }
        let row_end = [prefix.as_bytes(), b"\n"].concat();
        let first = |bytes: &[u8]| bytes.first().copied().unwrap_or(b'\n');
        let (delimiter, newline) = (delimiter.as_bytes(), first(&row_end));
        let specials =
            [first(delimiter), newline, quote.unwrap_or(newline), escape.unwrap_or(newline)];
        Ok(DelimitedDecoder {
            converter: Converter::new(content)?,
            specials: Specials::new(specials),
            rows: Rows {
                delimiter: delimiter.to_vec(),
                escaped_end: prefix.len().max(1),
                row_end,
                quote,
                escape,
                null,
                row: Row::new(content, columns),
            },
        })
    }
}

impl Decode for DelimitedDecoder {
    fn decode(&mut self, payload: &[u8], sink: &mut Sink<'_>) -> Result<(), Fault> {
        let text = self.converter.text(payload)?;
        let (marks, mut start) = (self.specials.marks(text), 0);
        let outcome = self.rows.read(text, marks, &mut start, sink);
        outcome.map_err(|fault| copy::in_line(fault, text, start))
    }
}

impl Rows {
    fn read(
        &mut self,
        text: &[u8],
        mut marks: DelimitedMarks<'_>,
        start: &mut usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), Fault> {
        while *start < text.len() {
            self.row.begin();
            let mut field = *start;
            let (at, next) = loop {
                let quoted = self.quote.is_some() && text.get(field).copied() == self.quote;
                let end = if quoted {
                    self.quoted_field(text, field, &mut marks)?
                } else {
                    self.field(text, field, &mut marks)
                };
                match end {
                    Next::Field(at) => field = at,
                    Next::Row { at, next } => break (at, next),
                    Next::Nothing => break (text.len(), text.len()),
                }
            };
            self.row.hand_out(text, at == *start, sink)?;
            *start = next;
        }
        Ok(())
    }

    /// What begins at `at`, if that ends a field. A row's end goes first: it is longer than a
    /// delimiter that it begins with.
    #[inline(always)]
    fn end(&self, text: &[u8], at: usize) -> Option<Next> {
        let rest = text.get(at..).unwrap_or_default();
        if rest.starts_with(&self.row_end) {
            Some(Next::Row { at, next: at + self.row_end.len() })
        } else if rest.starts_with(&self.delimiter) {
            Some(Next::Field(at + self.delimiter.len()))
        } else {
            None
        }
    }

    /// How many bytes behind an escape it makes data; 0: it is data itself.
    fn escaped(&self, rest: &[u8]) -> usize {
        let Some(first) = rest.first() else { return 0 };
        if Some(*first) == self.escape || Some(*first) == self.quote {
            return 1;
        }
        let end = self.row_end.get(..self.escaped_end).unwrap_or_default();
        let len = |bytes: &[u8]| if rest.starts_with(bytes) { bytes.len() } else { 0 };
        len(&self.delimiter).max(len(end))
    }

    /// Reads the unquoted field that begins at `start`.
    #[inline(always)]
    fn field(&mut self, text: &[u8], start: usize, marks: &mut DelimitedMarks<'_>) -> Next {
        let mut value = Value::Empty;
        let (mut from, mut at) = (start, start);
        let (end, next) = loop {
            let Some((mark, byte)) = marks.next_from(at) else { break (text.len(), Next::Nothing) };
            if let Some(next) = self.end(text, mark) {
                break (mark, next);
            }
            at = mark + 1;
            // Where the quote is the escape, it is so within quotes only.
            if Some(byte) == self.escape && self.escape != self.quote {
                let len = self.escaped(text.get(at..).unwrap_or_default());
                if len > 0 {
                    self.row.add(text, &mut value, from, mark);
                    from = at;
                    at += len;
                }
            }
        };
        if text.get(start..end) == Some(&self.null) {
            self.row.push(LineState::Null);
        } else {
            self.row.add(text, &mut value, from, end);
            self.row.push(value.place());
        }
        next
    }

    /// Reads the field whose opening quote is at `start`.
    ///
    /// # Errors
    /// The quote is not closed, or the field does not end behind it.
    #[inline(never)]
    fn quoted_field(
        &mut self,
        text: &[u8],
        start: usize,
        marks: &mut DelimitedMarks<'_>,
    ) -> Result<Next, Fault> {
        let mut value = Value::Empty;
        let (mut from, mut at) = (start + 1, start + 1);
        loop {
            let Some((mark, byte)) = marks.next_from(at) else {
                return Err(Fault::bad("unterminated quoted field"));
            };
            at = mark + 1;
            if Some(byte) == self.escape {
                let rest = text.get(at..).unwrap_or_default();
                let len = match (self.escape == self.quote, rest.first()) {
                    (true, Some(next)) => usize::from(*next == byte),
                    (true, None) => 0,
                    (false, _) => self.escaped(rest),
                };
                if len > 0 {
                    self.row.add(text, &mut value, from, mark);
                    from = at;
                    at += len;
                    continue;
                }
            }
            if Some(byte) == self.quote {
                self.row.add(text, &mut value, from, mark);
                self.row.push(value.place());
                return match self.end(text, at) {
                    Some(next) => Ok(next),
                    None if at >= text.len() => Ok(Next::Nothing),
                    None => Err(Fault::bad("unexpected data after the closing quote of a field")),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests;
