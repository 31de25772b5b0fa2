//! One datum to one JSON text: a walk over the bytes along the compiled schema, without a tree of
//! values in between.
//!
//! Bounded whatever the bytes and the schema are: in depth by `MAX_DEPTH`, in memory by the limit of
//! the output, and in time by both of them and the input, because each step takes a byte of the
//! input or appends a byte to the output.

use std::fmt;

use super::json;
use super::logical::{self, MAX_DECIMAL};
use super::schema::{Field, Node, NodeId, Schema};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Records, arrays and maps nested deeper are refused.
pub(super) const MAX_DEPTH: usize = 500;

/// Why bytes are no datum of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Ended,
    LongNumber,
    IntRange(i64),
    NegativeLength(i64),
    BlockCount(i64),
    Boolean(u8),
    Branch(i64),
    Symbol(i64),
    TimeOfDay(i64),
    LongDecimal(usize),
    NotUtf8,
    TooDeep,
    TooLarge(usize),
    Extra(usize),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Ended => f.write_str("the data ended unexpectedly"),
            Problem::LongNumber => f.write_str("number of more than 64 bits"),
            Problem::IntRange(value) => write!(f, "{value} is out of range for type int"),
            Problem::NegativeLength(value) => write!(f, "length {value} is negative"),
            Problem::BlockCount(count) => {
                write!(f, "a block of {count} items does not fit into the data")
            }
            Problem::Boolean(byte) => write!(f, "0x{byte:02x} is not a boolean"),
            Problem::Branch(index) => write!(f, "the union has no branch {index}"),
            Problem::Symbol(index) => write!(f, "the enum has no symbol {index}"),
            Problem::TimeOfDay(value) => write!(f, "{value} is not a time of day"),
            Problem::LongDecimal(len) => {
                write!(f, "a decimal of {len} bytes exceeds the limit of {MAX_DECIMAL}")
            }
            Problem::NotUtf8 => f.write_str("a string is not valid UTF-8"),
            Problem::TooDeep => write!(f, "nested deeper than {MAX_DEPTH} levels"),
            Problem::TooLarge(limit) => write!(f, "the JSON text is longer than {limit} bytes"),
            Problem::Extra(1) => f.write_str("1 byte is left over"),
            Problem::Extra(count) => write!(f, "{count} bytes are left over"),
        }
    }
}

pub(super) type Walked<T> = Result<T, Problem>;

/// Bytes and how far they have been read.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    /// As `new`, but begins at a later byte.
    pub fn at(bytes: &'a [u8], at: usize) -> Cursor<'a> {
        Cursor { bytes, at }
    }

    /// The same bytes, read up to another one.
    pub fn from(&self, at: usize) -> Cursor<'a> {
        Cursor { bytes: self.bytes, at }
    }

    /// The bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The bytes not read yet.
    pub fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    #[inline]
    pub fn take(&mut self, len: usize) -> Walked<&'a [u8]> {
        let end = self.at.checked_add(len).ok_or(Problem::Ended)?;
        let taken = self.bytes.get(self.at..end).ok_or(Problem::Ended)?;
        self.at = end;
        Ok(taken)
    }

    #[inline]
    fn byte(&mut self) -> Walked<u8> {
        let byte = self.bytes.get(self.at).copied().ok_or(Problem::Ended)?;
        self.at += 1;
        Ok(byte)
    }

    fn array<const N: usize>(&mut self) -> Walked<[u8; N]> {
        self.take(N)?.first_chunk().copied().ok_or(Problem::Ended)
    }

    /// A number of at most ten bytes, seven bits each, the lowest first, its sign in the first bit.
    #[inline]
    pub fn long(&mut self) -> Walked<i64> {
        let first = self.byte()?;
        let bits = if first < 0x80 { u64::from(first) } else { self.long_bits(first)? };
        Ok((bits >> 1) as i64 ^ -((bits & 1) as i64))
    }

    #[inline(never)]
    fn long_bits(&mut self, first: u8) -> Walked<u64> {
        let mut bits = u64::from(first & 0x7f);
        for shift in (7..63).step_by(7) {
            let byte = self.byte()?;
            bits |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(bits);
            }
        }
        match self.byte()? {
            last @ 0..=1 => Ok(bits | u64::from(last) << 63),
            _ => Err(Problem::LongNumber),
        }
    }

    #[inline]
    fn int(&mut self) -> Walked<i64> {
        let value = self.long()?;
        if i32::try_from(value).is_ok() { Ok(value) } else { Err(Problem::IntRange(value)) }
    }

    pub fn length(&mut self) -> Walked<usize> {
        let value = self.long()?;
        usize::try_from(value).map_err(|_| Problem::NegativeLength(value))
    }

    /// Bytes behind their length.
    #[inline]
    pub fn bytes(&mut self) -> Walked<&'a [u8]> {
        let len = self.length()?;
        self.take(len)
    }

    /// The items of the next block of an array or map: 0 at its end.
    pub fn block(&mut self, takes_bytes: bool) -> Walked<u64> {
        let mut count = self.long()?;
        if count < 0 {
            count = count.checked_neg().ok_or(Problem::BlockCount(count))?;
            // For readers that skip the block.
            let size = self.length()?;
            if size > self.left() {
                return Err(Problem::Ended);
            }
        }
        let items = count.unsigned_abs();
        if takes_bytes && items > self.left() as u64 {
            return Err(Problem::BlockCount(count));
        }
        Ok(items)
    }
}

/// Reads one datum.
pub(super) struct Walk<'s, 'a, 'o> {
    schema: &'s Schema,
    pub cursor: Cursor<'a>,
    out: &'o mut Vec<u8>,
    /// Bytes that `out` may have.
    limit: usize,
    base64: bool,
}

impl<'s, 'a, 'o> Walk<'s, 'a, 'o> {
    pub fn new(
        schema: &'s Schema,
        cursor: Cursor<'a>,
        out: &'o mut Vec<u8>,
        limit: usize,
        base64: bool,
    ) -> Self {
        Walk { schema, cursor, out, limit, base64 }
    }

    /// Appends the datum's JSON text. When it is a record, `starts` gets the positions where its
    /// fields begin, and the record's node is returned.
    pub fn datum(&mut self, starts: &mut Vec<usize>) -> Walked<Option<NodeId>> {
        let node = self.branch(self.schema.root)?;
        match self.schema.node(node) {
            Node::Record(fields) => {
                self.record(fields, 0, |at| starts.push(at))?;
                Ok(Some(node))
            }
            _ => self.value(node, 0).map(|()| None),
        }
    }

    /// Appends bytes that are no datum but the value itself.
    pub fn plain_bytes(&mut self) -> Walked<()> {
        let bytes = self.cursor.take(self.cursor.left())?;
        self.bytes(bytes);
        self.check_limit()
    }

    fn check_limit(&self) -> Walked<()> {
        if self.out.len() > self.limit { Err(Problem::TooLarge(self.limit)) } else { Ok(()) }
    }

    /// The node of the value at the cursor: unions are left behind.
    #[inline]
    fn branch(&mut self, mut node: NodeId) -> Walked<NodeId> {
        // A union has no name, so that it cannot be its own branch: the loop ends.
        while let Node::Union(branches) = self.schema.node(node) {
            let index = self.cursor.long()?;
            let branch = usize::try_from(index).ok().and_then(|index| branches.get(index));
            node = *branch.ok_or(Problem::Branch(index))?;
        }
        Ok(node)
    }

    fn value(&mut self, node: NodeId, depth: usize) -> Walked<()> {
        self.check_limit()?;
        let schema = self.schema;
        let node = self.branch(node)?;
        match schema.node(node) {
            Node::Null => self.out.extend_from_slice(b"null"),
            Node::Boolean => match self.cursor.byte()? {
                0 => self.out.extend_from_slice(b"false"),
                1 => self.out.extend_from_slice(b"true"),
                byte => return Err(Problem::Boolean(byte)),
            },
            Node::Int => {
                let value = self.cursor.int()?;
                self.number(value);
            }
            Node::Long => {
                let value = self.cursor.long()?;
                self.number(value);
            }
            Node::Float => {
                let value = f32::from_le_bytes(self.cursor.array()?);
                json::push_float(self.out, value.is_finite(), value);
            }
            Node::Double => {
                let value = f64::from_le_bytes(self.cursor.array()?);
                json::push_float(self.out, value.is_finite(), value);
            }
            Node::Bytes => {
                let bytes = self.cursor.bytes()?;
                self.bytes(bytes);
            }
            Node::Fixed(size) => {
                let bytes = self.cursor.take(*size)?;
                self.bytes(bytes);
            }
            Node::String => self.string()?,
            Node::Enum(symbols) => {
                let index = self.cursor.long()?;
                let symbol = usize::try_from(index).ok().and_then(|index| symbols.get(index));
                self.out.extend_from_slice(symbol.ok_or(Problem::Symbol(index))?);
            }
            Node::Record(fields) => self.record(fields, depth, |_| ())?,
            Node::Array(items) => self.array(*items, depth)?,
            Node::Map(values) => self.map(*values, depth)?,
            // `branch` has left it behind.
            Node::Union(_) => return Err(Problem::Branch(0)),
            logical => self.logical(logical)?,
        }
        Ok(())
    }

    fn number(&mut self, value: i64) {
        if value < 0 {
            self.out.push(b'-');
        }
        logical::push_number(self.out, value.unsigned_abs(), 1);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if self.base64 {
            // Standard base64 needs no escapes; what is written four for three is bounded by the
            // input.
            let from = self.out.len() + 1;
            let len = base64::encoded_len(bytes.len(), true).unwrap_or(0);
            self.out.push(b'"');
            self.out.resize(from + len, b'=');
            if let Some(space) = self.out.get_mut(from..) {
                // The space is as long as the text.
                let _ = BASE64_STANDARD.encode_slice(bytes, space);
            }
            self.out.push(b'"');
        } else {
            json::push_bytes(self.out, bytes);
        }
    }

    #[inline]
    fn string(&mut self) -> Walked<()> {
        let text = self.cursor.bytes()?;
        if simdutf8::basic::from_utf8(text).is_err() {
            return Err(Problem::NotUtf8);
        }
        json::push_text(self.out, text);
        Ok(())
    }

    fn record(
        &mut self,
        fields: &'s [Field],
        depth: usize,
        mut start: impl FnMut(usize),
    ) -> Walked<()> {
        let depth = deeper(depth)?;
        for field in fields {
            self.out.extend_from_slice(&field.prefix);
            start(self.cursor.position());
            self.value(field.node, depth)?;
        }
        self.out.extend_from_slice(if fields.is_empty() { b"{}" } else { b"}" });
        Ok(())
    }

    fn array(&mut self, items: NodeId, depth: usize) -> Walked<()> {
        let depth = deeper(depth)?;
        let takes_bytes = self.schema.takes_bytes(items);
        let mut separator = b'[';
        loop {
            let count = self.cursor.block(takes_bytes)?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                self.out.push(separator);
                separator = b',';
                self.value(items, depth)?;
            }
        }
        self.out.extend_from_slice(if separator == b'[' { b"[]" } else { b"]" });
        Ok(())
    }

    fn map(&mut self, values: NodeId, depth: usize) -> Walked<()> {
        let depth = deeper(depth)?;
        let mut separator = b'{';
        loop {
            // A key takes at least a byte.
            let count = self.cursor.block(true)?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                self.out.push(separator);
                separator = b',';
                self.string()?;
                self.out.push(b':');
                self.value(values, depth)?;
            }
        }
        self.out.extend_from_slice(if separator == b'{' { b"{}" } else { b"}" });
        Ok(())
    }

    #[inline(never)]
    fn logical(&mut self, node: &Node) -> Walked<()> {
        match *node {
            Node::Date => {
                let days = self.cursor.int()?;
                logical::push_date(self.out, days);
            }
            Node::Time(unit) => {
                let time = self.cursor.long()?;
                if !logical::push_time(self.out, time, unit) {
                    return Err(Problem::TimeOfDay(time));
                }
            }
            Node::Timestamp { unit, utc } => {
                let time = self.cursor.long()?;
                logical::push_timestamp(self.out, time, unit, utc);
            }
            Node::Decimal { size, scale } => {
                let bytes = match size {
                    Some(size) => self.cursor.take(size)?,
                    None => self.cursor.bytes()?,
                };
                if bytes.len() > MAX_DECIMAL {
                    return Err(Problem::LongDecimal(bytes.len()));
                }
                logical::push_decimal(self.out, bytes, scale);
            }
            Node::Uuid => {
                let bytes = self.cursor.take(16)?;
                logical::push_uuid(self.out, bytes);
            }
            Node::Duration => {
                let bytes = self.cursor.take(12)?;
                logical::push_duration(self.out, bytes);
            }
            // `value` reads them.
            _ => {}
        }
        Ok(())
    }
}

fn deeper(depth: usize) -> Walked<usize> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(Problem::TooDeep) }
}

/// The bytes of the bytes, fixed or string value at the cursor; None when it is null.
///
/// # Errors
/// None inside when the value is something else.
pub(super) fn raw<'a>(
    schema: &Schema,
    mut node: NodeId,
    mut cursor: Cursor<'a>,
) -> Result<Option<&'a [u8]>, Option<Problem>> {
    while let Node::Union(branches) = schema.node(node) {
        let index = cursor.long().map_err(Some)?;
        let branch = usize::try_from(index).ok().and_then(|index| branches.get(index));
        node = *branch.ok_or(Some(Problem::Branch(index)))?;
    }
    let bytes = match *schema.node(node) {
        Node::Null => return Ok(None),
        Node::Bytes | Node::String | Node::Decimal { size: None, .. } => cursor.bytes(),
        Node::Fixed(size) | Node::Decimal { size: Some(size), .. } => cursor.take(size),
        Node::Uuid => cursor.take(16),
        Node::Duration => cursor.take(12),
        _ => return Err(None),
    };
    bytes.map(Some).map_err(Some)
}
