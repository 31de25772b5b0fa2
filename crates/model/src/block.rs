//! A block of decoded messages, as the reader thread hands it to the backend: two byte arenas and
//! spans into them, so that a block costs a handful of allocations whatever the number of messages.
//!
//! Fields lie apart from whole messages: the executor reads the fields only, one after the other,
//! and most messages never again.
//!
//! Each stretch of bytes lies in its arena the way PostgreSQL's `text` and `bytea` lie in memory
//! (varatt.h: a four-byte header, aligned to four), so that a datum is a pointer and not a copy.

use super::printable::shortened;
use std::borrow::Cow;
use std::ops::Range;

/// A stretch of an arena; `NULL` stands for SQL NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    pub const NULL: Span = Span { start: 0, len: u32::MAX };

    pub fn is_null(self) -> bool {
        self.len == u32::MAX
    }

    /// The stretch with `before` bytes in front of it.
    fn range(self, before: usize) -> Option<Range<usize>> {
        let start = (self.start & !IN_MESSAGES) as usize;
        Some(start.checked_sub(before)?..start + self.len as usize)
    }
}

/// Marks the start of a span in the arena of whole messages.
const IN_MESSAGES: u32 = 1 << 31;

/// The two parts of a message that a decoder reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    Value,
    Key,
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::Value, Side::Key];
}

/// What the decoders found about a message as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// The message does not parse; the span is the reason, it has no records.
    Bad(Span),
}

/// One message's metadata, and where its bytes lie.
#[derive(Clone, Copy, Debug)]
pub struct MessageSpans {
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since the Unix epoch, as Kafka stores it; None when the broker has none.
    pub timestamp: Option<i64>,
    pub key: Span,
    /// The message's value as it came; NULL for a tombstone.
    pub value: Span,
    /// Headers as one JSON array of `{"key": …, "value": …}`; NULL when there are none.
    pub headers: Span,
    pub verdict: Verdict,
    /// Its records are those from here …
    first: u32,
    /// … to before this one.
    end: u32,
}

impl MessageSpans {
    /// The numbers of its records in the block.
    pub fn records(&self) -> Range<usize> {
        self.first as usize..self.end as usize
    }
}

/// One row that a message holds, apart from its fields.
#[derive(Clone, Copy, Debug)]
pub struct RecordSpans {
    /// The JSON documents of value and key; NULL where there is none or nobody wants it whole.
    documents: [Span; 2],
    /// The document is valid but unusual (an escape PostgreSQL refuses, a repeated key on a path):
    /// PostgreSQL's own operators have to be asked for its fields.
    unsure: [bool; 2],
}

impl RecordSpans {
    pub fn document(&self, side: Side) -> Span {
        self.documents[side as usize]
    }

    pub fn unsure(&self, side: Side) -> bool {
        self.unsure[side as usize]
    }
}

/// A field of a JSON document before it lies in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentField {
    Null,
    /// Bytes of the document as they stand there: start, length.
    Value(usize, usize),
    /// Bytes of the decoder's scratch space (unescaped text, a converted value): start, length.
    Scratch(usize, usize),
    /// A value converted to a type that PostgreSQL passes by value: the datum's bits.
    Fixed(i64),
    /// PositionalField in the scratch space that should be converted, but only PostgreSQL knows how.
    Unconverted(usize, usize),
}

/// A field of a record of fields before it lies in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionalField {
    Null,
    /// The record's field of this position.
    Bytes(usize),
    /// As `DocumentField::Scratch`.
    Scratch(usize, usize),
    /// As `DocumentField::Fixed`.
    Fixed(i64),
    /// As `Bytes`, and as `DocumentField::Unconverted`.
    Unconverted(usize),
}

/// A decoded field in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodedField {
    Null,
    Bytes(Span),
    /// As `DocumentField::Fixed`.
    Fixed(i64),
    /// As `DocumentField::Unconverted`.
    Unconverted(Span),
}

/// The bytes of one message, borrowed, on their way into the arena.
#[derive(Clone, Copy, Debug)]
pub struct MessageParts<'a> {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Option<&'a [u8]>,
}

/// How a document was decoded: into fields, or not at all.
#[derive(Clone, Copy, Debug)]
pub enum Decoded<'a> {
    Plain,
    Unsure,
    Bad(&'a str),
}

/// Where a record's document lies.
#[derive(Clone, Copy, Debug, Default)]
pub enum Document<'a> {
    /// There is none, or nobody wants it.
    #[default]
    None,
    /// It is the message's value or key as it came.
    Whole,
    Bytes(&'a [u8]),
}

/// What one side of a message gives to a record. Nothing: NULLs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part<'a> {
    pub document: Document<'a>,
    pub unsure: bool,
    /// The wanted fields of the document; `source` is where `DocumentField::Value` points into.
    pub fields: &'a [DocumentField],
    pub source: &'a [u8],
    /// The wanted fields of a record of fields; `record` is where they point into.
    pub texts: &'a [PositionalField],
    pub record: &'a [Option<&'a [u8]>],
    pub scratch: &'a [u8],
}

impl<'a> Part<'a> {
    fn of_record(&self, position: usize) -> Option<&'a [u8]> {
        self.record.get(position).copied().flatten()
    }

    fn bytes(&self) -> usize {
        let fields = self.fields.iter().map(|field| match field {
            DocumentField::Null | DocumentField::Fixed(_) => 0,
            DocumentField::Value(_, len)
            | DocumentField::Scratch(_, len)
            | DocumentField::Unconverted(_, len) => *len,
        });
        let texts = self.texts.iter().map(|text| match text {
            PositionalField::Null | PositionalField::Fixed(_) => 0,
            PositionalField::Scratch(_, len) => *len,
            PositionalField::Bytes(at) | PositionalField::Unconverted(at) => {
                self.of_record(*at).map_or(0, <[u8]>::len)
            }
        });
        let document = if let Document::Bytes(bytes) = self.document { bytes.len() } else { 0 };
        fields.sum::<usize>() + texts.sum::<usize>() + document
    }
}

/// How many fields a record has of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Width {
    /// Of the value's and the key's document.
    pub fields: [usize; 2],
    /// Of the value's and the key's record of fields.
    pub texts: [usize; 2],
}

impl Width {
    pub fn total(&self) -> usize {
        self.fields.iter().chain(&self.texts).sum()
    }

    /// Where a record's fields of a side's document begin.
    pub fn of_document(&self, side: Side) -> usize {
        match side {
            Side::Value => 0,
            Side::Key => self.fields[0] + self.texts[0],
        }
    }

    /// Where a record's fields of a side's record of fields begin.
    pub fn of_texts(&self, side: Side) -> usize {
        self.of_document(side) + self.fields[side as usize]
    }
}

/// A block of messages.
#[derive(Debug, Default)]
pub struct Block {
    /// Keys, values, headers.
    messages: Vec<u8>,
    /// Fields, documents, and the reasons why messages do not parse.
    decoded: Vec<u8>,
    rows: Vec<MessageSpans>,
    records: Vec<RecordSpans>,
    /// `width` of each record.
    fields: Vec<DecodedField>,
    width: Width,
    /// Messages that do not parse.
    bad: usize,
}

impl Block {
    pub fn with_capacity(width: Width, rows: usize, bytes: usize) -> Self {
        Block {
            messages: Vec::with_capacity(bytes),
            decoded: Vec::new(),
            rows: Vec::with_capacity(rows),
            records: Vec::with_capacity(rows),
            fields: Vec::with_capacity(rows * width.total()),
            width,
            bad: 0,
        }
    }

    /// The same block without messages; its memory is kept, to be used again.
    #[must_use]
    pub fn emptied(mut self, width: Width) -> Self {
        self.messages.clear();
        self.decoded.clear();
        self.rows.clear();
        self.records.clear();
        self.fields.clear();
        Block { width, bad: 0, ..self }
    }

    /// Number of messages.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// Bytes held, with what is kept about each message: what the limits on bytes in flight count.
    pub fn bytes(&self) -> usize {
        self.messages.len()
            + self.decoded.len()
            + size_of_val(self.rows.as_slice())
            + size_of_val(self.records.as_slice())
            + size_of_val(self.fields.as_slice())
    }

    /// How many messages do not parse.
    pub fn bad(&self) -> usize {
        self.bad
    }

    pub fn row(&self, index: usize) -> Option<&MessageSpans> {
        self.rows.get(index)
    }

    /// A record by its number in the block.
    pub fn record(&self, number: usize) -> Option<&RecordSpans> {
        self.records.get(number)
    }

    /// The fields of a record, in the order of `Width`; empty past the end.
    pub fn fields(&self, number: usize) -> &[DecodedField] {
        let width = self.width.total();
        let start = number * width;
        self.fields.get(start..start + width).unwrap_or(&[])
    }

    /// The bytes of a span; None for SQL NULL.
    pub fn bytes_of(&self, span: Span) -> Option<&[u8]> {
        if span.is_null() {
            return None;
        }
        self.arena(span).get(span.range(0)?)
    }

    /// The bytes of a span that is text, such as the reason of a `Verdict::Bad`.
    pub fn text_of(&self, span: Span) -> Cow<'_, str> {
        String::from_utf8_lossy(self.bytes_of(span).unwrap_or_default())
    }

    /// A span with its four-byte varlena header in front: what a `text` or `bytea` datum points to.
    pub fn varlena_of(&self, span: Span) -> Option<&[u8]> {
        if span.is_null() {
            return None;
        }
        self.arena(span).get(span.range(HEADER)?)
    }

    fn arena(&self, span: Span) -> &[u8] {
        if span.start & IN_MESSAGES == 0 { &self.decoded } else { &self.messages }
    }

    /// Do `data` more bytes, in `values` pieces, fit? The block's spans have 31 bits.
    fn has_room(&self, data: usize, values: usize) -> bool {
        self.bytes() + data + values * 2 * HEADER < IN_MESSAGES as usize
    }

    /// Appends a message, without records yet. False, and nothing appended, when the block is full:
    /// an empty block takes any message that Kafka can carry (1 GB).
    #[must_use]
    pub fn push(&mut self, m: &MessageParts<'_>) -> bool {
        let parts = [m.value, m.key, m.headers];
        let data = parts.map(|bytes| bytes.map_or(0, <[u8]>::len)).iter().sum();
        if !self.has_room(data, parts.len()) {
            return false;
        }
        let [value, key, headers] = parts.map(|bytes| {
            let span = put(&mut self.messages, bytes);
            if span.is_null() { span } else { Span { start: span.start | IN_MESSAGES, ..span } }
        });
        let first = self.records.len() as u32;
        self.rows.push(MessageSpans {
            partition: m.partition,
            offset: m.offset,
            timestamp: m.timestamp,
            key,
            value,
            headers,
            verdict: Verdict::Good,
            first,
            end: first,
        });
        true
    }

    /// Appends a record to the last message; missing fields become NULL. False, and nothing appended,
    /// when the block is full.
    #[must_use]
    pub fn add(&mut self, parts: [&Part<'_>; 2]) -> bool {
        let data = parts[0].bytes() + parts[1].bytes();
        if !self.has_room(data, self.width.total() + 2) {
            return false;
        }
        let Some(row) = self.rows.last_mut() else { return false };
        let whole = [row.value, row.key];
        row.end += 1;
        let mut documents = [Span::NULL; 2];
        for side in [0, 1] {
            let part = parts[side];
            documents[side] = match part.document {
                Document::None => Span::NULL,
                Document::Whole => whole[side],
                Document::Bytes(bytes) => put(&mut self.decoded, Some(bytes)),
            };
            for i in 0..self.width.fields[side] {
                let value = self.field(part, i);
                self.fields.push(value);
            }
            for i in 0..self.width.texts[side] {
                let value = self.text(part, i);
                self.fields.push(value);
            }
        }
        let unsure = [parts[0].unsure, parts[1].unsure];
        self.records.push(RecordSpans { documents, unsure });
        true
    }

    fn field(&mut self, part: &Part<'_>, i: usize) -> DecodedField {
        match part.fields.get(i) {
            None | Some(DocumentField::Null) => DecodedField::Null,
            Some(DocumentField::Value(start, len)) => {
                DecodedField::Bytes(put(&mut self.decoded, part.source.get(*start..start + len)))
            }
            Some(DocumentField::Scratch(start, len)) => {
                DecodedField::Bytes(put(&mut self.decoded, part.scratch.get(*start..start + len)))
            }
            Some(DocumentField::Fixed(bits)) => DecodedField::Fixed(*bits),
            Some(DocumentField::Unconverted(start, len)) => DecodedField::Unconverted(put(
                &mut self.decoded,
                part.scratch.get(*start..start + len),
            )),
        }
    }

    fn text(&mut self, part: &Part<'_>, i: usize) -> DecodedField {
        match part.texts.get(i) {
            None | Some(PositionalField::Null) => DecodedField::Null,
            Some(PositionalField::Bytes(at)) => match part.of_record(*at) {
                None => DecodedField::Null,
                bytes => DecodedField::Bytes(put(&mut self.decoded, bytes)),
            },
            Some(PositionalField::Scratch(start, len)) => {
                DecodedField::Bytes(put(&mut self.decoded, part.scratch.get(*start..start + len)))
            }
            Some(PositionalField::Fixed(bits)) => DecodedField::Fixed(*bits),
            Some(PositionalField::Unconverted(at)) => {
                DecodedField::Unconverted(put(&mut self.decoded, part.of_record(*at)))
            }
        }
    }

    /// The last message does not parse: its records are taken back.
    pub fn reject(&mut self, reason: &str) {
        let Some(row) = self.rows.last_mut() else { return };
        let first = row.first as usize;
        row.end = row.first;
        self.records.truncate(first);
        self.fields.truncate(first * self.width.total());
        self.bad += 1;
        let reason = shortened(reason);
        let reason = if self.has_room(reason.len(), 1) { &*reason } else { "" };
        let span = put(&mut self.decoded, Some(reason.as_bytes()));
        if let Some(row) = self.rows.last_mut() {
            row.verdict = Verdict::Bad(span);
        }
    }

    /// Takes the last message back with its records; the bytes stay in the arenas.
    pub fn take_back(&mut self) {
        if let Some(row) = self.rows.pop() {
            self.records.truncate(row.first as usize);
            self.fields.truncate(row.first as usize * self.width.total());
        }
    }
}

fn put(arena: &mut Vec<u8>, bytes: Option<&[u8]>) -> Span {
    let Some(bytes) = bytes else { return Span::NULL };
    arena.resize(arena.len().next_multiple_of(HEADER), 0);
    arena.extend_from_slice(&varlena_header(bytes.len()));
    let start = arena.len() as u32;
    arena.extend_from_slice(bytes);
    Span { start, len: bytes.len() as u32 }
}

/// Bytes of a varlena header, and its alignment.
const HEADER: usize = 4;

/// SET_VARSIZE_4B of varatt.h: the length includes the header and lies above (little endian) or
/// below (big endian) the two flag bits.
fn varlena_header(len: usize) -> [u8; HEADER] {
    let total = (len + HEADER) as u32;
    if cfg!(target_endian = "little") { (total << 2).to_ne_bytes() } else { total.to_ne_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(value: Option<&[u8]>) -> MessageParts<'_> {
        MessageParts {
            partition: 2,
            offset: 7,
            timestamp: Some(1),
            key: None,
            value,
            headers: None,
        }
    }

    #[test]
    fn fields_point_into_the_document_or_the_scratch() {
        let width = Width { fields: [3, 0], texts: [0, 0] };
        let mut rows = Block::with_capacity(width, 0, 0);
        let value = br#"{"a":"x","b":"\/"}"#;
        let part = Part {
            document: Document::Whole,
            fields: &[
                DocumentField::Value(6, 1),
                DocumentField::Scratch(0, 1),
                DocumentField::Fixed(-3),
            ],
            source: value,
            scratch: b"/",
            ..Part::default()
        };
        assert!(rows.push(&message(Some(value))) && rows.add([&part, &Part::default()]));
        assert!(rows.push(&message(None)));
        rows.reject("no");
        assert_eq!((rows.bad(), rows.count()), (1, 2));
        let [DecodedField::Bytes(x), DecodedField::Bytes(slash), DecodedField::Fixed(-3)] =
            *rows.fields(0)
        else {
            panic!("{:?}", rows.fields(0));
        };
        assert_eq!([x, slash].map(|s| rows.bytes_of(s)), [Some(&b"x"[..]), Some(&b"/"[..])]);
        let first = rows.row(0).unwrap();
        assert_eq!(rows.record(0).unwrap().document(Side::Value), first.value);
        let second = rows.row(1).unwrap();
        assert!(second.records().is_empty() && rows.fields(1).is_empty());
        assert!(rows.bytes_of(second.value).is_none() && rows.bytes_of(second.key).is_none());
        let Verdict::Bad(reason) = second.verdict else { panic!("expected Bad") };
        assert_eq!(rows.bytes_of(reason), Some(&b"no"[..]));
        let varlena = rows.varlena_of(first.value).unwrap();
        assert_eq!(varlena.len(), 4 + 18);
        assert_eq!(varlena[..4], varlena_header(18));
    }

    #[test]
    fn a_message_has_any_number_of_records_from_both_sides() {
        let width = Width { fields: [1, 1], texts: [2, 0] };
        let mut rows = Block::with_capacity(width, 0, 0);
        let key = Part { fields: &[DocumentField::Fixed(9)], unsure: true, ..Part::default() };
        assert!(rows.push(&message(Some(b"xy"))));
        for text in [&b"x"[..], b"y"] {
            let (texts, record) =
                ([PositionalField::Null, PositionalField::Bytes(1)], [None, Some(text)]);
            let (texts, record, document) = (&texts, &record, Document::Bytes(text));
            assert!(rows.add([&Part { texts, record, document, ..Part::default() }, &key]));
        }
        assert!(rows.push(&message(None)) && rows.add([&Part::default(), &Part::default()]));
        assert!(rows.push(&message(Some(b"z"))) && rows.add([&Part::default(), &key]));
        rows.take_back();
        assert_eq!(rows.count(), 2);
        let records = rows.row(0).unwrap().records();
        assert_eq!(records, 0..2);
        for (number, text) in records.zip([b"x", b"y"]) {
            let fields = rows.fields(number);
            assert_eq!(fields[width.of_document(Side::Key)], DecodedField::Fixed(9));
            let DecodedField::Bytes(span) = fields[width.of_texts(Side::Value) + 1] else {
                panic!()
            };
            assert_eq!(rows.bytes_of(span).unwrap(), text);
            let record = rows.record(number).unwrap();
            assert!(record.unsure(Side::Key) && !record.unsure(Side::Value));
            assert_eq!(rows.bytes_of(record.document(Side::Value)).unwrap(), text);
        }
        assert_eq!(rows.fields(2), [DecodedField::Null; 4]);
    }
}
