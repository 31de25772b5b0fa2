//! COPY's CSV, as PostgreSQL 15 reads it (`CopyReadLineText` and `CopyReadAttributesCSV` in
//! `commands/copyfromparse.c`), in one pass: lines and fields are found together.
//!
//! Not followed is one slip of COPY: a backslash that is the quote and stands before the end of the
//! bytes that COPY has read so far may count twice.
//!
//! The crate csv-core reads another CSV: it does not tell quoted fields from others, so that NULL
//! could not be told from the empty string; it takes a quote within a field for text, which opens a
//! quoted part in COPY; it skips empty lines, accepts mixed line ends and an unterminated quote, and
//! knows no `\.`.

use super::copy::{self, EndMark, Eol, LineState, Row, Value, refused};
use super::encoding::Converter;
use super::record::{Decode, Fault, Sink};
use super::simd_delimiters::{Marks, Specials};
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::format::FormatSpec;
use gpss_model::suggest;

/// COPY's word for line ends that are no data.
const UNQUOTED: &str = "unquoted";

type CsvMarks<'a> = Marks<'a, 5>;

/// Reads messages of CSV lines.
#[derive(Debug)]
pub struct CsvDecoder {
    converter: Converter,
    specials: Specials<5>,
    lines: Lines,
}

#[derive(Debug)]
struct Lines {
    delimiter: u8,
    quote: u8,
    escape: u8,
    null: Vec<u8>,
    header: bool,
    /// By column; empty when none is forced.
    force: Vec<Force>,
    row: Row,
}

/// What `force_not_null` and `force_null` say of a column.
#[derive(Clone, Copy, Debug, Default)]
struct Force {
    not_null: bool,
    null: bool,
}

/// The special byte that ends a field, and where it is; None at the end of the text.
type Mark = Option<(usize, u8)>;

impl CsvDecoder {
    /// A decoder of records with these columns, by position.
    ///
    /// # Errors
    /// `INVALID_PARAMETER` for what COPY refuses, and for quotes and escapes that are line ends,
    /// with which nothing could be read.
    pub fn new(content: &FormatSpec, columns: &[String]) -> Result<CsvDecoder> {
        let delimiter = copy::delimiter(content, b',')?;
        let quote = character(content, "quote")?.unwrap_or(b'"');
        let escape = character(content, "escape")?.unwrap_or(quote);
        if delimiter == quote {
            return Err(refused("options \"delimiter\" and \"quote\" must be different"));
        }
        let null = copy::null(content, "", char::from(delimiter).encode_utf8(&mut [0; 4]))?;
        if null.contains(&quote) {
            return Err(refused("option \"quote\" must not appear in option \"null\""));
        }
        Ok(CsvDecoder {
            converter: Converter::new(content)?,
            specials: Specials::new([delimiter, quote, escape, b'\n', b'\r']),
            lines: Lines {
                delimiter,
                quote,
                escape,
                null,
                header: content.is_on("header"),
                force: force(content, columns)?,
                row: Row::new(content, columns),
            },
        })
    }
}

impl Decode for CsvDecoder {
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
        mut marks: CsvMarks<'_>,
        start: &mut usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), Fault> {
        let mut eol = Eol::Unknown;
        let mut header = self.header;
        while let Some(first) = text.get(*start) {
            if *first == b'\\' && ends_data(eol, text, *start)? {
                return Ok(());
            }
            self.row.begin();
            let mut field = *start;
            let end = loop {
                match self.field(text, field, &mut marks) {
                    Ok(Some((at, byte))) if byte == self.delimiter => field = at + 1,
                    Ok(end) => break end,
                    // COPY throws a header away before it looks for its fields.
                    Err(_) if header => break None,
                    Err(fault) => return Err(fault),
                }
            };
            let (len, next) = match end {
                Some((at, b'\n')) => {
                    eol.line_feed(UNQUOTED)?;
                    (at - *start, at + 1)
                }
                Some((at, _)) => {
                    let line_feed = text.get(at + 1) == Some(&b'\n');
                    if eol.carriage_return(line_feed, UNQUOTED)? {
                        marks.next();
                        (at - *start, at + 2)
                    } else {
                        (at - *start, at + 1)
                    }
                }
                None => (text.len() - *start, text.len()),
            };
            if header {
                header = false;
            } else {
                self.row.hand_out(text, len == 0, sink)?;
            }
            *start = next;
        }
        Ok(())
    }

    /// Reads the field that begins at `start`, and tells what ends it.
    ///
    /// # Errors
    /// The text ends within quotes.
    #[inline(always)]
    fn field(
        &mut self,
        text: &[u8],
        start: usize,
        marks: &mut CsvMarks<'_>,
    ) -> Result<Mark, Fault> {
        loop {
            let mark = marks.next();
            let end = match mark {
                Some((at, byte)) => {
                    if byte == self.delimiter || matches!(byte, b'\n' | b'\r') {
                        at
                    } else if byte == self.quote {
                        return self.quoted_field(text, start, at, marks);
                    } else {
                        // An escape means nothing outside of quotes.
                        continue;
                    }
                }
                None => text.len(),
            };
            let null = end - start == self.null.len()
                && (self.null.is_empty() || text.get(start..end) == Some(&self.null));
            let place = if null { LineState::Null } else { LineState::Text(start, end) };
            self.push(text, place);
            return Ok(mark);
        }
    }

    /// As `field`, with the first quote at `quote`.
    #[inline(never)]
    fn quoted_field(
        &mut self,
        text: &[u8],
        start: usize,
        quote: usize,
        marks: &mut CsvMarks<'_>,
    ) -> Result<Mark, Fault> {
        let mut value = Value::Empty;
        self.row.add(text, &mut value, start, quote);
        let mut from = quote + 1;
        let mut inside = true;
        loop {
            let Some((at, byte)) = marks.next() else {
                if inside {
                    return Err(Fault::bad("unterminated CSV quoted field"));
                }
                self.row.add(text, &mut value, from, text.len());
                self.push(text, value.place());
                return Ok(None);
            };
            if inside {
                let escapes = byte == self.escape
                    && text.get(at + 1).is_some_and(|b| *b == self.escape || *b == self.quote);
                if !escapes && byte != self.quote {
                    continue;
                }
                self.row.add(text, &mut value, from, at);
                from = at + 1;
                if escapes {
                    // The next one is text.
                    marks.next();
                } else {
                    inside = false;
                }
            } else if byte == self.delimiter || matches!(byte, b'\n' | b'\r') {
                self.row.add(text, &mut value, from, at);
                self.push(text, value.place());
                return Ok(Some((at, byte)));
            } else if byte == self.quote {
                self.row.add(text, &mut value, from, at);
                from = at + 1;
                inside = true;
            }
        }
    }

    #[inline(always)]
    fn push(&mut self, text: &[u8], place: LineState) {
        let place = if self.force.is_empty() { place } else { self.forced(text, place) };
        self.row.push(place);
    }

    fn forced(&mut self, text: &[u8], place: LineState) -> LineState {
        let force = self.force.get(self.row.next_field()).copied().unwrap_or_default();
        match place {
            LineState::Null if force.not_null => {
                let from = self.row.scratch.len();
                self.row.scratch.extend_from_slice(&self.null);
                LineState::Scratch(from, self.row.scratch.len())
            }
            LineState::Null => LineState::Null,
            place if force.null && self.row.bytes(text, place) == Some(&self.null) => {
                LineState::Null
            }
            place => place,
        }
    }
}

/// Whether the line that begins at `start` with a backslash says that the data ends.
///
/// # Errors
/// It says so with another line end than those before.
fn ends_data(eol: Eol, text: &[u8], start: usize) -> Result<bool, Fault> {
    match text.get(start + 1..) {
        Some([b'.', rest @ ..]) => match eol.ends_data(rest) {
            Ok(()) => Ok(true),
            // In CSV it may be a value.
            Err(EndMark::Corrupt | EndMark::OtherStyle) => Ok(false),
            Err(refused) => Err(refused.fault()),
        },
        _ => Ok(false),
    }
}

/// A quote or an escape.
fn character(content: &FormatSpec, name: &str) -> Result<Option<u8>> {
    match content.byte(name) {
        Some(b'\n' | b'\r') => {
            Err(refused(format!("option \"{name}\" cannot be newline or carriage return")))
        }
        Some(0) => Err(refused(format!("option \"{name}\" cannot be a zero byte"))),
        other => Ok(other),
    }
}

/// The columns of `force_not_null` and `force_null`.
fn force(content: &FormatSpec, columns: &[String]) -> Result<Vec<Force>> {
    let mut force = Vec::new();
    for (option, not_null) in [("force_not_null", true), ("force_null", false)] {
        for name in content.names(option) {
            force.resize(columns.len(), Force::default());
            let mut found = false;
            for (column, force) in columns.iter().zip(&mut force) {
                if column == name {
                    found = true;
                    *(if not_null { &mut force.not_null } else { &mut force.null }) = true;
                }
            }
            if !found {
                return Err(unknown_column(option, name, columns));
            }
        }
    }
    Ok(force)
}

fn unknown_column(option: &str, name: &str, columns: &[String]) -> Error {
    let message = format!("option \"{option}\" names \"{name}\", which is no column of the record");
    let error = Error::new(SqlState::INVALID_PARAMETER, message);
    match suggest::hint(name, columns.iter().map(String::as_str)) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

#[cfg(test)]
mod tests;
