//! A block of decoded messages, as the reader thread hands it to the backend: two byte arenas and
//! spans into them, so that a block costs a handful of allocations whatever the number of messages.
//!
//! Fields lie apart from whole messages: the executor reads the fields only, one after the other,
//! and most messages never again.
//!
//! Each stretch of bytes lies in its arena the way PostgreSQL's `text` and `bytea` lie in memory
//! (varatt.h: a four-byte header, aligned to four), so that a datum is a pointer and not a copy.

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

/// What the decoder found about a message as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every field is exactly what PostgreSQL's operators would return.
    Plain,
    /// The document is valid but unusual (an escape PostgreSQL refuses, a repeated key on a path):
    /// PostgreSQL's own operators have to be asked for its fields.
    Unsure,
    /// The message does not parse; the span is the reason, the row is not handed to the scan.
    Bad(Span),
}

/// One message's metadata, and where its bytes lie.
#[derive(Clone, Copy, Debug)]
pub struct Row {
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
}

/// A decoded field before it lies in the arena (see `Rows::push`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Null,
    /// Bytes of the message's value as they stand there: start, length.
    Value(usize, usize),
    /// Bytes of the decoder's scratch space (unescaped text, a converted value): start, length.
    Scratch(usize, usize),
    /// A value converted to a type that PostgreSQL passes by value: the datum's bits.
    Fixed(i64),
    /// Text in the scratch space that should be converted, but only PostgreSQL knows how.
    Unconverted(usize, usize),
}

/// A decoded field in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    Null,
    Bytes(Span),
    /// As `Field::Fixed`.
    Fixed(i64),
    /// As `Field::Unconverted`.
    Unconverted(Span),
}

/// The bytes of one message, borrowed, on their way into the arena.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Option<&'a [u8]>,
}

/// How a message was decoded: into fields, or not at all.
#[derive(Clone, Copy, Debug)]
pub enum Decoded<'a> {
    Plain,
    Unsure,
    Bad(&'a str),
}

/// A block of messages; `width` fields each.
#[derive(Debug, Default)]
pub struct Rows {
    /// Keys, values, headers.
    messages: Vec<u8>,
    /// Fields, and the reasons why messages do not parse.
    decoded: Vec<u8>,
    rows: Vec<Row>,
    fields: Vec<Value>,
    width: usize,
    /// Messages that do not parse.
    bad: usize,
}

impl Rows {
    pub fn with_capacity(width: usize, rows: usize, bytes: usize) -> Self {
        Rows {
            messages: Vec::with_capacity(bytes),
            decoded: Vec::new(),
            rows: Vec::with_capacity(rows),
            fields: Vec::with_capacity(rows * width),
            width,
            bad: 0,
        }
    }

    /// The same block without messages; its memory is kept, to be used again.
    #[must_use]
    pub fn emptied(mut self, width: usize) -> Self {
        self.messages.clear();
        self.decoded.clear();
        self.rows.clear();
        self.fields.clear();
        Rows { width, bad: 0, ..self }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes held, with what is kept about each message: what the limits on bytes in flight count.
    pub fn bytes(&self) -> usize {
        self.messages.len()
            + self.decoded.len()
            + size_of_val(self.rows.as_slice())
            + size_of_val(self.fields.as_slice())
    }

    /// How many messages do not parse.
    pub fn bad(&self) -> usize {
        self.bad
    }

    pub fn row(&self, index: usize) -> Option<&Row> {
        self.rows.get(index)
    }

    /// The fields of a row, in the order of the projection; empty past the end.
    pub fn fields(&self, index: usize) -> &[Value] {
        let start = index * self.width;
        self.fields.get(start..start + self.width).unwrap_or(&[])
    }

    /// The bytes of a span; None for SQL NULL.
    pub fn bytes_of(&self, span: Span) -> Option<&[u8]> {
        if span.is_null() {
            return None;
        }
        self.arena(span).get(span.range(0)?)
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

    /// Appends a message. `fields` and `scratch` are the decoder's; missing fields become NULL.
    /// False, and nothing appended, when the block's 31-bit spans do not reach that far: an empty
    /// block takes any message that Kafka can carry (1 GB) without fields.
    #[must_use]
    pub fn push(
        &mut self,
        m: &Message<'_>,
        decoded: Decoded<'_>,
        fields: &[Field],
        scratch: &[u8],
    ) -> bool {
        let of_fields = fields.iter().map(|field| match field {
            Field::Null | Field::Fixed(_) => 0,
            Field::Value(_, len) | Field::Scratch(_, len) | Field::Unconverted(_, len) => *len,
        });
        let of_message = [m.value, m.key, m.headers].map(|bytes| bytes.map_or(0, <[u8]>::len));
        let reason = if let Decoded::Bad(reason) = decoded { reason.len() } else { 0 };
        let data: usize = of_fields.chain(of_message).sum::<usize>() + reason;
        let framing = (self.width + 4) * 2 * HEADER;
        if self.bytes() + data + framing >= IN_MESSAGES as usize {
            return false;
        }
        let [value, key, headers] = [m.value, m.key, m.headers].map(|bytes| {
            let span = put(&mut self.messages, bytes);
            if span.is_null() { span } else { Span { start: span.start | IN_MESSAGES, ..span } }
        });
        let verdict = match decoded {
            Decoded::Plain => Verdict::Plain,
            Decoded::Unsure => Verdict::Unsure,
            Decoded::Bad(reason) => {
                self.bad += 1;
                Verdict::Bad(put(&mut self.decoded, Some(reason.as_bytes())))
            }
        };
        let document = m.value.unwrap_or_default();
        for i in 0..self.width {
            let value = match fields.get(i) {
                None | Some(Field::Null) => Value::Null,
                Some(Field::Value(start, len)) => {
                    Value::Bytes(put(&mut self.decoded, document.get(*start..start + len)))
                }
                Some(Field::Scratch(start, len)) => {
                    Value::Bytes(put(&mut self.decoded, scratch.get(*start..start + len)))
                }
                Some(Field::Fixed(bits)) => Value::Fixed(*bits),
                Some(Field::Unconverted(start, len)) => {
                    Value::Unconverted(put(&mut self.decoded, scratch.get(*start..start + len)))
                }
            };
            self.fields.push(value);
        }
        self.rows.push(Row {
            partition: m.partition,
            offset: m.offset,
            timestamp: m.timestamp,
            key,
            value,
            headers,
            verdict,
        });
        true
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

    #[test]
    fn fields_point_into_the_value_or_the_scratch() {
        let mut rows = Rows::with_capacity(3, 0, 0);
        let m = Message {
            partition: 2,
            offset: 7,
            timestamp: Some(1),
            key: None,
            value: Some(br#"{"a":"x","b":"\/"}"#),
            headers: None,
        };
        let fields = [Field::Value(6, 1), Field::Scratch(0, 1), Field::Fixed(-3)];
        assert!(rows.push(&m, Decoded::Plain, &fields, b"/"));
        assert!(rows.push(&Message { value: None, ..m }, Decoded::Bad("no"), &[], b""));
        assert_eq!(rows.bad(), 1);
        let [Value::Bytes(x), Value::Bytes(slash), Value::Fixed(-3)] = *rows.fields(0) else {
            panic!("{:?}", rows.fields(0));
        };
        assert_eq!([x, slash].map(|s| rows.bytes_of(s)), [Some(&b"x"[..]), Some(&b"/"[..])]);
        assert_eq!(rows.fields(1), [Value::Null; 3]);
        let second = rows.row(1).unwrap();
        assert!(rows.bytes_of(second.value).is_none() && rows.bytes_of(second.key).is_none());
        let Verdict::Bad(reason) = second.verdict else { panic!("expected Bad") };
        assert_eq!(rows.bytes_of(reason), Some(&b"no"[..]));
        let varlena = rows.varlena_of(rows.row(0).unwrap().value).unwrap();
        assert_eq!(varlena.len(), 4 + 18);
        assert_eq!(varlena[..4], varlena_header(18));
        assert!(rows.row(2).is_none() && rows.fields(2).is_empty());
    }
}
