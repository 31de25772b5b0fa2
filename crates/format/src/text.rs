//! COPY's text format, as PostgreSQL 15 reads it (`CopyReadLineText` and `CopyReadAttributesText` in
//! `commands/copyfromparse.c`), in one pass: lines and fields are found together.
//!
//! `\.` ends the data wherever it stands, as in COPY FROM STDIN. (COPY from a file goes on behind it
//! when something stands before it on the line, which nobody can have meant.)

use super::copy::{self, Eol, LineState, Row, refused};
use super::encoding::Converter;
use super::record::{Decode, Fault, Sink};
use super::simd_delimiters::{Marks, Specials};
use gpss_model::error::Result;
use gpss_model::format::FormatSpec;

/// COPY's word for line ends that are no data.
const LITERAL: &str = "literal";

/// Delimiters that cannot be told from the letter of an escape.
const NO_DELIMITERS: &[u8] = b"\\.abcdefghijklmnopqrstuvwxyz0123456789";

/// Reads messages of lines in COPY's text format.
#[derive(Debug)]
pub struct TextDecoder {
    converter: Converter,
    specials: Specials<4>,
    lines: Lines,
}

#[derive(Debug)]
struct Lines {
    delimiter: u8,
    null: Vec<u8>,
    header: bool,
    row: Row,
    /// What is wrong with a field of the line: told when the line has been read to its end, because
    /// COPY looks for fields only then.
    fault: Option<Fault>,
}

/// How a line ends.
enum End {
    /// With a line end; the next line begins there.
    Line { at: usize, next: usize },
    /// With the text, or with `\.`.
    Data { at: usize },
}

impl TextDecoder {
    /// A decoder of records with these columns, by position.
    ///
    /// # Errors
    /// `INVALID_PARAMETER` for what COPY refuses.
    pub fn new(content: &FormatSpec, columns: &[String]) -> Result<TextDecoder> {
        let delimiter = copy::delimiter(content, b'\t')?;
        if NO_DELIMITERS.contains(&delimiter) {
            let delimiter = char::from(delimiter);
            return Err(refused(format!("option \"delimiter\" cannot be \"{delimiter}\"")));
        }
        let null = copy::null(content, "\\N", char::from(delimiter).encode_utf8(&mut [0; 4]))?;
        Ok(TextDecoder {
            converter: Converter::new(content)?,
            specials: Specials::new([delimiter, b'\\', b'\n', b'\r']),
            lines: Lines {
                delimiter,
                null,
                header: content.is_on("header"),
                row: Row::new(content, columns),
                fault: None,
            },
        })
    }
}

impl Decode for TextDecoder {
    fn decode(&mut self, payload: &[u8], sink: &mut Sink<'_>) -> Result<(), Fault> {
        let text = self.converter.text(payload)?;
        let (marks, mut start) = (self.specials.marks(text), 0);
        let outcome = self.lines.read(text, marks, &mut start, sink);
        outcome.map_err(|fault| copy::in_line(fault, text, start))
    }
}

impl Lines {
    fn read(
        &mut self,
        text: &[u8],
        mut marks: Marks<'_, 4>,
        start: &mut usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), Fault> {
        let mut eol = Eol::Unknown;
        let mut header = self.header;
        while *start < text.len() {
            self.row.begin();
            self.fault = None;
            let (at, next) = match self.line(text, *start, &mut marks, &mut eol)? {
                End::Line { at, next } => (at, next),
                End::Data { at } if at == *start => return Ok(()),
                End::Data { at } => (at, text.len()),
            };
            if header {
                header = false;
            } else if let Some(fault) = self.fault.take() {
                return Err(fault);
            } else {
                self.row.hand_out(text, at == *start, sink)?;
            }
            *start = next;
        }
        Ok(())
    }

    /// Reads the line that begins at `start`.
    #[inline(always)]
    fn line(
        &mut self,
        text: &[u8],
        start: usize,
        marks: &mut Marks<'_, 4>,
        eol: &mut Eol,
    ) -> Result<End, Fault> {
        let mut field = start;
        let mut escaped = false;
        loop {
            let (value_end, end) = match marks.next() {
                Some((at, byte)) if byte == self.delimiter => {
                    self.push(text, field, at, escaped);
                    field = at + 1;
                    escaped = false;
                    continue;
                }
                Some((at, b'\n')) => {
                    eol.line_feed(LITERAL)?;
                    (at, End::Line { at, next: at + 1 })
                }
                Some((at, b'\r')) => {
                    if eol.carriage_return(text.get(at + 1) == Some(&b'\n'), LITERAL)? {
                        marks.next();
                        (at, End::Line { at, next: at + 2 })
                    } else {
                        (at, End::Line { at, next: at + 1 })
                    }
                }
                Some((at, _)) => match text.get(at + 1..) {
                    Some([b'.', rest @ ..]) => {
                        eol.ends_data(rest).map_err(|mark| mark.fault())?;
                        (at, End::Data { at })
                    }
                    Some([byte, rest @ ..]) => {
                        escaped = true;
                        self.skip_escaped(*byte, rest, marks);
                        continue;
                    }
                    // COPY drops a backslash with nothing behind it.
                    _ => (at, End::Data { at: text.len() }),
                },
                None => (text.len(), End::Data { at: text.len() }),
            };
            self.push(text, field, value_end, escaped);
            return Ok(end);
        }
    }

    /// Passes over the marks of what belongs to an escape: the byte behind the backslash, and with
    /// `\x` two digits, one of which may be the delimiter.
    fn skip_escaped(&self, byte: u8, rest: &[u8], marks: &mut Marks<'_, 4>) {
        if byte == self.delimiter || matches!(byte, b'\\' | b'\n' | b'\r') {
            marks.next();
        }
        if byte == b'x' && self.delimiter.is_ascii_hexdigit() {
            let digits = rest.iter().take(2).take_while(|digit| digit.is_ascii_hexdigit());
            for _ in digits.filter(|digit| **digit == self.delimiter) {
                marks.next();
            }
        }
    }

    #[inline(always)]
    fn push(&mut self, text: &[u8], from: usize, to: usize, escaped: bool) {
        let place = if to - from == self.null.len() && text.get(from..to) == Some(&self.null) {
            LineState::Null
        } else if escaped {
            self.unescaped(text.get(from..to).unwrap_or_default())
        } else {
            LineState::Text(from, to)
        };
        self.row.push(place);
    }

    /// Copies a field with escapes.
    #[inline(never)]
    fn unescaped(&mut self, raw: &[u8]) -> LineState {
        let from = self.row.scratch.len();
        let suspicious = unescape(raw, &mut self.row.scratch);
        if suspicious && self.fault.is_none() {
            self.fault = self.row.check_scratch(from).err();
        }
        LineState::Scratch(from, self.row.scratch.len())
    }
}

/// Appends the text of a field; tells whether an escape stands for a byte that is not ASCII, or for
/// the zero byte.
fn unescape(raw: &[u8], into: &mut Vec<u8>) -> bool {
    let mut suspicious = false;
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        into.extend_from_slice(plain);
        let byte;
        (byte, rest) = match escape {
            [_, digit @ b'0'..=b'7', behind @ ..] => number(*digit, behind, 8, 2),
            [_, b'x', digit, behind @ ..] if digit.is_ascii_hexdigit() => {
                number(*digit, behind, 16, 1)
            }
            [_, letter, behind @ ..] => {
                into.push(match letter {
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'v' => 11,
                    other => *other,
                });
                rest = behind;
                continue;
            }
            _ => return suspicious,
        };
        suspicious |= byte == 0 || !byte.is_ascii();
        into.push(byte);
    }
    into.extend_from_slice(rest);
    suspicious
}

/// The byte of a number that begins with `digit` and goes on with up to `more` digits, modulo 256
/// as in COPY; and what is behind it.
fn number(digit: u8, mut rest: &[u8], base: u32, more: usize) -> (u8, &[u8]) {
    let value = |digit: u8| char::from(digit).to_digit(base);
    let mut number = value(digit).unwrap_or_default();
    for _ in 0..more {
        let Some((digit, behind)) = rest.split_first() else { break };
        let Some(digit) = value(*digit) else { break };
        number = number * base + digit;
        rest = behind;
    }
    ((number & 0xff) as u8, rest)
}

#[cfg(test)]
mod tests;
