//! What COPY's formats have in common, and `delimited` with them: the row that is being read, and
//! the rule that a text has one style of line ends (`commands/copyfromparse.c` of PostgreSQL 15).

use super::encoding;
use super::record::{Fault, Record, Sink};
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::format::FormatSpec;

/// How the lines of a text end; known from its first line end on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eol {
    Unknown,
    Lf,
    Cr,
    CrLf,
}

impl Eol {
    /// A line feed that is no data stands here.
    ///
    /// # Errors
    /// When lines end otherwise; `kind` is COPY's word for what is no data.
    #[inline(always)]
    pub fn line_feed(&mut self, kind: &str) -> Result<(), Fault> {
        if matches!(self, Eol::Cr | Eol::CrLf) {
            return Err(Fault::bad(format!("{kind} newline found in data")));
        }
        *self = Eol::Lf;
        Ok(())
    }

    /// A carriage return that is no data stands here, with a line feed behind it or not. Tells
    /// whether that belongs to the line end.
    ///
    /// # Errors
    /// As `line_feed`.
    pub fn carriage_return(&mut self, line_feed: bool, kind: &str) -> Result<bool, Fault> {
        *self = match (*self, line_feed) {
            (Eol::Unknown | Eol::CrLf, true) => Eol::CrLf,
            (Eol::Unknown | Eol::Cr, _) => Eol::Cr,
            (Eol::CrLf, false) | (Eol::Lf, _) => {
                return Err(Fault::bad(format!("{kind} carriage return found in data")));
            }
        };
        Ok(*self == Eol::CrLf)
    }

    /// Says that `\.` with `rest` behind it ends the data.
    ///
    /// # Errors
    /// Why it does not.
    pub fn ends_data(self, rest: &[u8]) -> Result<(), EndMark> {
        let rest = match (self, rest) {
            (Eol::CrLf, [b'\n', ..]) => return Err(EndMark::OtherStyle),
            (Eol::CrLf, [b'\r', rest @ ..]) => rest,
            (Eol::CrLf, _) => return Err(EndMark::Corrupt),
            _ => rest,
        };
        match (self, rest.first()) {
            (Eol::Unknown, Some(b'\r' | b'\n'))
            | (Eol::Lf | Eol::CrLf, Some(b'\n'))
            | (Eol::Cr, Some(b'\r')) => Ok(()),
            (_, Some(b'\r' | b'\n')) => Err(EndMark::Refused),
            _ => Err(EndMark::Corrupt),
        }
    }
}

/// Why `\.` does not end the data. The first two are data in CSV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndMark {
    /// Something else stands behind it.
    Corrupt,
    /// The line ends with a line feed, those before with both.
    OtherStyle,
    /// The line ends unlike those before in any other way.
    Refused,
}

impl EndMark {
    #[cold]
    pub fn fault(self) -> Fault {
        Fault::bad(match self {
            EndMark::Corrupt => "end-of-copy marker corrupt",
            EndMark::OtherStyle | EndMark::Refused => {
                "end-of-copy marker does not match previous newline style"
            }
        })
    }
}

/// Where the value of a field is.
#[derive(Clone, Copy, Debug)]
pub(super) enum LineState {
    Null,
    /// From, to: in the text that is read.
    Text(usize, usize),
    /// From, to: in the row's scratch.
    Scratch(usize, usize),
}

/// What a field's text is put together from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Empty,
    Text(usize, usize),
    Copied(usize, usize),
}

impl Value {
    pub fn place(self) -> LineState {
        match self {
            Value::Empty => LineState::Text(0, 0),
            Value::Text(from, to) => LineState::Text(from, to),
            Value::Copied(from, to) => LineState::Scratch(from, to),
        }
    }
}

/// The row that is being read.
#[derive(Debug)]
pub(super) struct Row {
    columns: Vec<String>,
    fill: bool,
    fields: Vec<LineState>,
    /// There were more fields than columns.
    extra: bool,
    /// What had to be de-escaped.
    pub scratch: Vec<u8>,
    /// Empty between rows: keeps the memory.
    handed: Vec<Option<&'static [u8]>>,
}

impl Row {
    pub fn new(content: &FormatSpec, columns: &[String]) -> Row {
        Row {
            columns: columns.to_vec(),
            fill: content.is_on("fill_missing_fields"),
            fields: Vec::with_capacity(columns.len()),
            extra: false,
            scratch: Vec::new(),
            handed: Vec::with_capacity(columns.len()),
        }
    }

    #[inline(always)]
    pub fn begin(&mut self) {
        self.fields.clear();
        self.scratch.clear();
        self.extra = false;
    }

    /// The number of the field that comes next, the first being 0.
    #[inline(always)]
    pub fn next_field(&self) -> usize {
        self.fields.len()
    }

    #[inline(always)]
    pub fn push(&mut self, field: LineState) {
        if self.fields.len() < self.columns.len() {
            self.fields.push(field);
        } else {
            self.extra = true;
        }
    }

    /// The bytes of a value in `text` or in the scratch.
    pub fn bytes<'a>(&'a self, text: &'a [u8], place: LineState) -> Option<&'a [u8]> {
        match place {
            LineState::Null => None,
            LineState::Text(from, to) => text.get(from..to),
            LineState::Scratch(from, to) => self.scratch.get(from..to),
        }
    }

    /// Appends a part of the text to a value, which is copied only when it has gaps.
    #[inline(always)]
    pub fn add(&mut self, text: &[u8], value: &mut Value, from: usize, to: usize) {
        if from >= to {
            return;
        }
        match *value {
            Value::Empty => *value = Value::Text(from, to),
            Value::Text(start, end) if end == from => *value = Value::Text(start, to),
            Value::Text(start, end) => {
                let copied = self.scratch.len();
                self.scratch.extend_from_slice(text.get(start..end).unwrap_or_default());
                self.scratch.extend_from_slice(text.get(from..to).unwrap_or_default());
                *value = Value::Copied(copied, self.scratch.len());
            }
            Value::Copied(start, _) => {
                self.scratch.extend_from_slice(text.get(from..to).unwrap_or_default());
                *value = Value::Copied(start, self.scratch.len());
            }
        }
    }

    /// Hands out the row, whose line is empty or not, when it has as many fields as columns.
    ///
    /// # Errors
    /// The sink's, or that there are more fields or less.
    #[inline(always)]
    pub fn hand_out(&mut self, text: &[u8], empty: bool, sink: &mut Sink<'_>) -> Result<(), Fault> {
        if self.extra || self.fields.len() < self.columns.len() {
            self.mend(empty)?;
        }
        let mut handed: Vec<Option<&[u8]>> = std::mem::take(&mut self.handed);
        handed.extend(self.fields.iter().map(|field| self.bytes(text, *field)));
        let done = sink(Record { document: None, fields: &handed });
        // Collecting the iterator of an empty vector into one of the same layout keeps its memory.
        handed.clear();
        self.handed = handed.into_iter().map(|_| None).collect();
        done
    }

    #[cold]
    fn mend(&mut self, empty: bool) -> Result<(), Fault> {
        if self.extra {
            // A line of no fields is what a table without columns wants.
            return if empty && self.columns.is_empty() {
                Ok(())
            } else {
                Err(Fault::bad("extra data after last expected column"))
            };
        }
        let missing = self.columns.get(self.fields.len()).map_or("", String::as_str);
        if !self.fill {
            return Err(Fault::bad(format!("missing data for column \"{missing}\"")));
        }
        if empty {
            // Greenplum's rule and words: a line without any data is not a row of NULLs.
            return Err(Fault::bad(format!(
                "missing data for column \"{missing}\", found empty data line"
            )));
        }
        self.fields.resize(self.columns.len(), LineState::Null);
        Ok(())
    }

    /// The fault of a de-escaped field, from `from` in the scratch on, that is no text.
    pub fn check_scratch(&self, from: usize) -> Result<(), Fault> {
        encoding::check_text(self.scratch.get(from..).unwrap_or_default())
    }
}

/// The fault of the line that begins at `start`, with its number if the text has more than this one.
#[cold]
pub(super) fn in_line(fault: Fault, text: &[u8], start: usize) -> Fault {
    let Fault::Bad(reason) = fault else { return fault };
    let end = if text.contains(&b'\n') { b'\n' } else { b'\r' };
    let ends = |text: &[u8]| text.iter().filter(|byte| **byte == end).count();
    if ends(text.strip_suffix(&[end]).unwrap_or(text)) == 0 {
        return Fault::Bad(reason);
    }
    let number = ends(text.get(..start).unwrap_or_default()) + 1;
    Fault::Bad(format!("line {number}: {reason}"))
}

/// `delimiter`, which CSV and text want as one byte.
///
/// # Errors
/// `INVALID_PARAMETER` for another, or one that COPY refuses in both formats.
pub(super) fn delimiter(content: &FormatSpec, default: u8) -> Result<u8> {
    let Some(value) = content.get("delimiter") else { return Ok(default) };
    match value.as_bytes() {
        [b'\n' | b'\r'] => {
            Err(refused("option \"delimiter\" cannot be newline or carriage return"))
        }
        [0] => Err(refused("option \"delimiter\" cannot be a zero byte")),
        [byte] => Ok(*byte),
        _ => {
            let error = refused("option \"delimiter\" must be a single one-byte character");
            Err(match value {
                "\\t" => error.hint("In SQL, a tab is written as E'\\t'."),
                _ => error.hint("Format delimited has delimiters of several bytes."),
            })
        }
    }
}

/// `null`, which may not hold what ends a field or a line.
///
/// # Errors
/// `INVALID_PARAMETER` if it does.
pub(super) fn null(content: &FormatSpec, default: &str, delimiter: &str) -> Result<Vec<u8>> {
    let null = content.get("null").unwrap_or(default);
    if null.contains(['\r', '\n']) {
        return Err(refused("option \"null\" cannot contain newline or carriage return"));
    }
    if null.contains(delimiter) {
        return Err(refused("option \"delimiter\" must not appear in option \"null\""));
    }
    Ok(null.as_bytes().to_vec())
}

pub(super) fn refused(message: impl Into<String>) -> Error {
    Error::new(SqlState::INVALID_PARAMETER, message)
}
