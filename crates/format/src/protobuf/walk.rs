//! From a message's bytes to its JSON document, without values in between: the fields of one
//! message are found first, because they may come in any order and more than once, and then written
//! one after the other.
//!
//! What is kept about the message in the meantime are stretches of its bytes; a repeated field whose
//! elements stand together is one stretch. So memory grows with the document, which is bounded, and
//! not with what the message would be as a tree.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use super::decl::Scalar;
use super::json;
use super::known::{self, Known};
use super::schema::{Cardinality, Field, Kind, Message, Schema};
use super::wire::{Records, Span, Value};

/// Unit tests meet smaller limits, to meet them soon.
const SCALE: usize = if cfg!(test) { 16 } else { 1 };
/// Bytes of a message.
pub(super) const MAX_PAYLOAD: usize = (64 << 20) / SCALE;
/// Bytes of a document.
pub(super) const MAX_DOCUMENT: usize = (128 << 20) / SCALE;
/// Messages in messages, as deep as protobuf's own readers go.
const MAX_DEPTH: usize = 100;
/// Fields and map entries that are kept at the same time (16 bytes each).
const MAX_ITEMS: usize = (4 << 20) / SCALE;

/// Bytes of groups that are gone through to find their ends, in each group around them again.
const MAX_SKIPPED: usize = (1 << 30) / SCALE;

/// Why a message is bad.
pub(super) type Reason = Cow<'static, str>;
type Result<T = ()> = std::result::Result<T, Reason>;

/// A field as it was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    /// In the message's `fields`.
    field: u32,
    /// A number as it came, or the span of bytes; of repeated fields the span of whole records.
    bits: u64,
}

/// Memory that is kept from message to message.
#[derive(Debug, Default)]
pub(super) struct Memory {
    items: Vec<Item>,
    pub document: Vec<u8>,
}

impl Memory {
    /// An unusually large message does not hold its memory for ever.
    const KEPT: usize = 4 << 20;

    pub fn clear(&mut self) {
        self.items.clear();
        self.document.clear();
        self.items.shrink_to(Self::KEPT / size_of::<Item>());
        self.document.shrink_to(Self::KEPT);
    }
}

/// A top-level field that is wanted as raw bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    /// The message has no such field.
    None,
    /// A string or bytes: its place; whether it is NULL when absent.
    Field { index: u32, presence: bool },
    /// A StringValue or BytesValue.
    Wrapped { index: u32 },
}

/// What is found of a message besides its document.
pub(super) struct Found {
    pub raw: Vec<Option<Span>>,
    /// It holds something, and none of it is a field of its type.
    pub is_foreign: bool,
}

/// Writes the document of a message of type `root` into `memory`, and finds its raw fields.
pub(super) fn walk(
    schema: &Schema,
    root: usize,
    payload: &[u8],
    memory: &mut Memory,
    raw: &[Raw],
) -> Result<Found> {
    memory.clear();
    if payload.len() > MAX_PAYLOAD {
        return Err(format!("message is larger than {} MB", MAX_PAYLOAD >> 20).into());
    }
    let message = schema.message(root).ok_or("unknown message type")?;
    let Memory { items, document } = memory;
    let mut walk = Walk { schema, payload, items, out: document, kept: 0, skipped: 0 };
    let whole = Source::One(Span::new(0, payload.len()));
    if message.known.is_some() {
        walk.message(root, whole, 0)?;
        return Ok(Found { raw: vec![None; raw.len()], is_foreign: false });
    }
    let left_out = walk.scan(message, &whole)?;
    // A type without fields cannot tell.
    let has_fields = !message.fields.is_empty();
    let is_foreign = has_fields && !payload.is_empty() && walk.items.is_empty() && !left_out;
    let raw = raw.iter().map(|raw| walk.raw(*raw)).collect::<Result<_>>()?;
    walk.out.push(b'{');
    walk.members(message, 0, 0)?;
    walk.out.push(b'}');
    walk.check_len(0)?;
    Ok(Found { raw, is_foreign })
}

/// Field numbers that a reason names at most.
const NAMED: usize = 10;

/// Why a message without any field of its type gives no row.
pub(super) fn foreign(schema: &Schema, root: usize, payload: &[u8]) -> String {
    let Some(message) = schema.message(root) else { return "unknown message type".to_owned() };
    let mut records = Records::new(payload, Span::new(0, payload.len()));
    // With each number, whether the type has a field of it, which then is of another wire type.
    let mut numbers: Vec<(u32, bool)> = vec![];
    // What does not parse has been told before.
    while let Ok(Some(record)) = records.next() {
        let number = (record.number, message.find(record.number).is_some());
        if !numbers.contains(&number) {
            numbers.push(number);
        }
        if numbers.len() > NAMED {
            break;
        }
    }
    let named = |(number, has): &(u32, bool)| match has {
        true => format!("{number} of another wire type"),
        false => number.to_string(),
    };
    let more = if numbers.len() > NAMED { ", ..." } else { "" };
    let named: Vec<String> = numbers.iter().take(NAMED).map(named).collect();
    format!(
        "none of the fields of message type \"{}\" is there; there are fields with the numbers: {}{more}",
        message.name,
        named.join(", ")
    )
}

/// Where a message's bytes are. A message that comes in several parts is the parts together.
#[derive(Clone, Debug)]
enum Source {
    One(Span),
    /// The spans of these items.
    Items(Range<usize>),
}

struct Walk<'a> {
    schema: &'a Schema,
    payload: &'a [u8],
    /// The items of the messages around the current one, and its own.
    items: &'a mut Vec<Item>,
    out: &'a mut Vec<u8>,
    /// Map entries that are kept.
    kept: usize,
    /// Bytes of groups that were gone through.
    skipped: usize,
}

/// A map's entry: its key as in `Item`, and all of it.
struct Entry {
    key: u64,
    entry: Span,
}

impl<'a> Walk<'a> {
    fn part(&self, source: &Source, index: usize) -> Option<Span> {
        match source {
            Source::One(span) => (index == 0).then_some(*span),
            Source::Items(range) => {
                let at = range.start.checked_add(index).filter(|at| *at < range.end)?;
                self.items.get(at).map(|item| Span::from_bits(item.bits))
            }
        }
    }

    fn check_len(&self, more: usize) -> Result {
        if self.out.len() + more > MAX_DOCUMENT {
            return Err(format!("message gives more than {} MB of JSON", MAX_DOCUMENT >> 20).into());
        }
        Ok(())
    }

    fn check_items(&self) -> Result {
        if self.items.len() + self.kept > MAX_ITEMS {
            return Err("message has too many fields out of order".into());
        }
        Ok(())
    }

    /// Counts what it took to find the end of a group.
    #[inline]
    fn count_group(&mut self, value: Value) -> Result {
        if let Value::Group(span) = value {
            self.skipped += span.end() - span.start();
            if self.skipped > MAX_SKIPPED {
                return Err("message has too much in groups in groups".into());
            }
        }
        Ok(())
    }

    /// Puts the fields of a message on top of `items`, in the order of its `fields`. True if an
    /// enum's unknown value was left out.
    fn scan(&mut self, message: &Message, source: &Source) -> Result<bool> {
        let base = self.items.len();
        let (mut sorted, mut last, mut in_oneofs, mut left_out) = (true, 0, 0, false);
        let mut part = 0;
        while let Some(span) = self.part(source, part) {
            part += 1;
            let mut records = Records::new(self.payload, span);
            while let Some(record) = records.next()? {
                self.count_group(record.value)?;
                let Some(index) = message.find(record.number) else { continue };
                let Some(field) = message.fields.get(index) else { continue };
                let index = index as u32;
                let bits = if field.shape == Cardinality::Singular {
                    let Some(bits) = accept(field, record.value) else { continue };
                    if self.is_unknown(field, bits) {
                        left_out = true;
                        continue;
                    }
                    bits
                } else {
                    if accept(field, record.value).is_none() && !is_packed(field, record.value) {
                        continue;
                    }
                    if let Some(open) = self.items.get_mut(base..).and_then(<[Item]>::last_mut)
                        && open.field == index
                        && Span::from_bits(open.bits).end() == record.start
                    {
                        let start = Span::from_bits(open.bits).start();
                        open.bits = Span::new(start, records.at()).to_bits();
                        continue;
                    }
                    Span::new(record.start, records.at()).to_bits()
                };
                sorted &= last <= index;
                last = index;
                in_oneofs += usize::from(field.oneof.is_some());
                self.items.push(Item { field: index, bits });
                self.check_items()?;
            }
        }
        if in_oneofs > 1 {
            self.settle_oneofs(message, base);
        }
        if !sorted && let Some(own) = self.items.get_mut(base..) {
            own.sort_by_key(|item| item.field);
        }
        Ok(left_out)
    }

    /// Of each oneof only the field that came last stays, and of that what came after the others.
    fn settle_oneofs(&mut self, message: &Message, base: usize) {
        // The field that stays, and whether another one has come up before it.
        let mut last: BTreeMap<u32, (u32, bool)> = BTreeMap::new();
        let mut dropped = false;
        let Some(own) = self.items.get_mut(base..) else { return };
        for item in own.iter_mut().rev() {
            let field = message.fields.get(item.field as usize);
            let Some(oneof) = field.and_then(|field| field.oneof) else { continue };
            let (stays, over) = last.entry(oneof).or_insert((item.field, false));
            *over |= *stays != item.field;
            if *over {
                item.field = u32::MAX;
                dropped = true;
            }
        }
        if !dropped {
            return;
        }
        // Only the message's own items: there may be many of those around it.
        let mut end = base;
        for at in base..self.items.len() {
            let Some(item) = self.items.get(at).copied() else { break };
            if item.field != u32::MAX {
                if let Some(place) = self.items.get_mut(end) {
                    *place = item;
                }
                end += 1;
            }
        }
        self.items.truncate(end);
    }

    fn is_unknown(&self, field: &Field, bits: u64) -> bool {
        let Kind::Enum(place) = field.kind else { return false };
        let declared = self.schema.enumeration(place);
        declared.is_some_and(|e| e.closed && e.name_of(bits as i32).is_none())
    }

    /// The items of the field at `index`, among those from `base` on.
    fn of_field(&self, base: usize, index: usize) -> Range<usize> {
        let own = self.items.get(base..).unwrap_or_default();
        let start = own.partition_point(|item| (item.field as usize) < index);
        let end = own.partition_point(|item| item.field as usize <= index);
        base + start..base + end
    }

    fn last_of(&self, range: &Range<usize>) -> Option<u64> {
        self.items.get(range.clone())?.last().map(|item| item.bits)
    }

    fn raw(&mut self, raw: Raw) -> Result<Option<Span>> {
        const EMPTY: u64 = 0;
        Ok(match raw {
            Raw::None => None,
            Raw::Field { index, presence } => {
                let bits = self.last_of(&self.of_field(0, index as usize));
                let absent = (!presence).then_some(EMPTY);
                bits.or(absent).map(Span::from_bits)
            }
            Raw::Wrapped { index } => {
                let range = self.of_field(0, index as usize);
                if range.is_empty() {
                    return Ok(None);
                }
                let mut value = EMPTY;
                for part in 0.. {
                    let Some(span) = self.part(&Source::Items(range.clone()), part) else { break };
                    let mut records = Records::new(self.payload, span);
                    while let Some(record) = records.next()? {
                        if let (1, Value::Bytes(span)) = (record.number, record.value) {
                            value = span.to_bits();
                        }
                    }
                }
                Some(Span::from_bits(value))
            }
        })
    }

    fn message(&mut self, place: usize, source: Source, depth: usize) -> Result {
        if depth >= MAX_DEPTH {
            return Err(format!("messages are nested deeper than {MAX_DEPTH}").into());
        }
        let schema = self.schema;
        let message = schema.message(place).ok_or("unknown message type")?;
        let base = self.items.len();
        self.scan(message, &source)?;
        match message.known {
            Some(known) => self.known(known, message, base, depth)?,
            None => {
                self.out.push(b'{');
                self.members(message, base, depth)?;
                self.out.push(b'}');
            }
        }
        self.items.truncate(base);
        Ok(())
    }

    /// A comma, unless it would be the first after an opening bracket.
    fn comma(&mut self) -> Result {
        if !matches!(self.out.last(), Some(b'{' | b'[')) {
            self.out.push(b',');
        }
        self.check_len(0)
    }

    /// The members of a message whose items begin at `base`.
    fn members(&mut self, message: &Message, base: usize, depth: usize) -> Result {
        let end = self.items.len();
        let mut implicit = message.implicit().iter().map(|index| *index as usize).peekable();
        let mut at = base;
        while let Some(index) = self.items.get(at).filter(|_| at < end).map(|i| i.field as usize) {
            while let Some(absent) = implicit.next_if(|absent| *absent < index) {
                self.absent(message, absent, depth)?;
            }
            let _ = implicit.next_if_eq(&index);
            let mut to = at + 1;
            while self.items.get(to).is_some_and(|item| to < end && item.field as usize == index) {
                to += 1;
            }
            let field = message.fields.get(index).ok_or("unknown field")?;
            self.comma()?;
            self.out.extend_from_slice(&field.key);
            match (field.shape, &field.kind) {
                (Cardinality::Map, Kind::Message(entry)) => self.map(*entry, at..to, depth)?,
                (Cardinality::Singular, _) => self.singular(field, at..to, depth)?,
                _ => self.array(field, at..to, depth)?,
            }
            at = to;
        }
        for absent in implicit {
            self.absent(message, absent, depth)?;
        }
        Ok(())
    }

    /// A field without presence that did not come.
    fn absent(&mut self, message: &Message, index: usize, depth: usize) -> Result {
        let field = message.fields.get(index).ok_or("unknown field")?;
        self.comma()?;
        self.out.extend_from_slice(&field.key);
        match field.shape {
            Cardinality::Map => self.out.extend_from_slice(b"{}"),
            Cardinality::Repeated => self.out.extend_from_slice(b"[]"),
            Cardinality::Singular => self.default(&field.kind, depth)?,
        }
        Ok(())
    }

    /// What a value is that did not come.
    fn default(&mut self, kind: &Kind, depth: usize) -> Result {
        match kind {
            Kind::Scalar(Scalar::String | Scalar::Bytes) => self.out.extend_from_slice(b"\"\""),
            Kind::Message(place) => self.message(*place, Source::Items(0..0), depth + 1)?,
            kind => self.value(kind, 0, depth)?,
        }
        Ok(())
    }

    /// The value of a field that came once, or the last one.
    fn singular(&mut self, field: &Field, range: Range<usize>, depth: usize) -> Result {
        match (&field.kind, self.last_of(&range)) {
            (Kind::Message(place), Some(_)) => {
                self.message(*place, Source::Items(range), depth + 1)
            }
            (kind, Some(bits)) => self.value(kind, bits, depth),
            (kind, None) => self.default(kind, depth),
        }
    }

    /// A value that came as `bits`.
    fn value(&mut self, kind: &Kind, bits: u64, depth: usize) -> Result {
        let schema = self.schema;
        match kind {
            Kind::Scalar(scalar) => self.scalar(*scalar, bits)?,
            Kind::Enum(place) => {
                let declared = schema.enumeration(*place).ok_or("unknown enum type")?;
                match declared.name_of(bits as i32) {
                    _ if declared.null => self.out.extend_from_slice(b"null"),
                    Some(name) => self.out.extend_from_slice(name),
                    None => json::signed(i64::from(bits as i32), self.out),
                }
            }
            Kind::Message(place) => {
                self.message(*place, Source::One(Span::from_bits(bits)), depth + 1)?;
            }
            Kind::Missing(name) => return Err(format!("type \"{name}\" is not defined").into()),
        }
        Ok(())
    }

    fn scalar(&mut self, scalar: Scalar, bits: u64) -> Result {
        let out = &mut *self.out;
        match scalar {
            Scalar::Double => json::double(f64::from_bits(bits), out),
            Scalar::Float => json::float(f32::from_bits(bits as u32), out),
            Scalar::Int64 | Scalar::Sfixed64 => json::signed(bits as i64, out),
            Scalar::Uint64 | Scalar::Fixed64 => json::unsigned(bits, out),
            Scalar::Int32 | Scalar::Sfixed32 => json::signed(i64::from(bits as i32), out),
            Scalar::Uint32 | Scalar::Fixed32 => json::unsigned(u64::from(bits as u32), out),
            Scalar::Sint64 => json::signed(unzigzag(bits), out),
            // Of a number with more than 32 bits the lower ones count, also here.
            Scalar::Sint32 => json::signed(unzigzag(u64::from(bits as u32)), out),
            Scalar::Bool => out.extend_from_slice(if bits == 0 { b"false" } else { b"true" }),
            Scalar::String => return self.string(Span::from_bits(bits)),
            Scalar::Bytes => {
                let bytes = Span::from_bits(bits).of(self.payload);
                self.check_len(bytes.len() / 3 * 4)?;
                json::base64(bytes, self.out);
            }
        }
        Ok(())
    }

    fn text(&self, span: Span) -> Result<&'a str> {
        std::str::from_utf8(span.of(self.payload)).map_err(|_| "string is not valid UTF-8".into())
    }

    fn string(&mut self, span: Span) -> Result {
        let text = self.text(span)?;
        self.check_len(text.len())?;
        // A large text in pieces: each character may become six, only then is it known how long.
        if text.len() > MAX_DOCUMENT / 64 {
            let longer = text.bytes().filter(|b| *b < b' ').count() * 5;
            self.check_len(text.len() + longer)?;
        }
        json::string(text, self.out);
        Ok(())
    }

    /// A repeated field.
    fn array(&mut self, field: &Field, range: Range<usize>, depth: usize) -> Result {
        self.out.push(b'[');
        for run in range {
            let Some(span) = self.part(&Source::Items(run..run + 1), 0) else { continue };
            let mut records = Records::new(self.payload, span);
            while let Some(record) = records.next()? {
                self.count_group(record.value)?;
                if let Some(bits) = accept(field, record.value) {
                    self.element(field, bits, depth)?;
                } else if let (Kind::Scalar(_) | Kind::Enum(_), Value::Bytes(packed)) =
                    (&field.kind, record.value)
                {
                    let mut numbers = Records::new(self.payload, packed);
                    while numbers.at() < packed.end() {
                        let bits = match wire_of(&field.kind) {
                            Wire::Varint => numbers.varint()?,
                            Wire::Fixed32 => u64::from(numbers.fixed32()?),
                            Wire::Fixed64 => numbers.fixed64()?,
                            Wire::Bytes => break,
                        };
                        self.element(field, bits, depth)?;
                    }
                }
            }
        }
        self.out.push(b']');
        Ok(())
    }

    fn element(&mut self, field: &Field, bits: u64, depth: usize) -> Result {
        if self.is_unknown(field, bits) {
            return Ok(());
        }
        self.comma()?;
        self.value(&field.kind, bits, depth)
    }

    /// A map as an object, its keys in their order; of equal keys the last counts.
    fn map(&mut self, entry: usize, range: Range<usize>, depth: usize) -> Result {
        let schema = self.schema;
        let message = schema.message(entry).ok_or("unknown message type")?;
        let [key_field, value_field] = &*message.fields else { return Err("bad map".into()) };
        let Kind::Scalar(key_kind) = key_field.kind else { return Err("bad map".into()) };
        let base = self.items.len();
        let mut entries = Vec::new();
        for run in range {
            let Some(span) = self.part(&Source::Items(run..run + 1), 0) else { continue };
            let mut records = Records::new(self.payload, span);
            while let Some(record) = records.next()? {
                let (Value::Bytes(entry) | Value::Group(entry)) = record.value else { continue };
                let left_out = self.scan(message, &Source::One(entry))?;
                let key = self.last_of(&self.of_field(base, 0)).unwrap_or(0);
                self.items.truncate(base);
                if !left_out {
                    entries.push(Entry { key, entry });
                    self.kept += 1;
                    self.check_items()?;
                }
            }
        }
        let kept = entries.len();
        let payload = self.payload;
        let text = |entry: &Entry| Span::from_bits(entry.key).of(payload);
        match key_kind {
            Scalar::String => entries.sort_by(|a, b| text(a).cmp(text(b))),
            Scalar::Int64 | Scalar::Sfixed64 => entries.sort_by_key(|entry| entry.key as i64),
            Scalar::Int32 | Scalar::Sfixed32 => entries.sort_by_key(|entry| entry.key as i32),
            Scalar::Uint32 | Scalar::Fixed32 => entries.sort_by_key(|entry| entry.key as u32),
            Scalar::Sint64 => entries.sort_by_key(|entry| unzigzag(entry.key)),
            Scalar::Sint32 => entries.sort_by_key(|e| unzigzag(u64::from(e.key as u32))),
            Scalar::Bool => entries.sort_by_key(|entry| entry.key != 0),
            _ => entries.sort_by_key(|entry| entry.key),
        }
        let same = |a: &Entry, b: &Entry| match key_kind {
            Scalar::String => text(a) == text(b),
            Scalar::Int32 | Scalar::Sfixed32 | Scalar::Sint32 => a.key as i32 == b.key as i32,
            Scalar::Uint32 | Scalar::Fixed32 => a.key as u32 == b.key as u32,
            Scalar::Bool => (a.key != 0) == (b.key != 0),
            _ => a.key == b.key,
        };
        self.out.push(b'{');
        let mut entries = entries.iter().peekable();
        while let Some(entry) = entries.next() {
            if entries.peek().is_some_and(|next| same(entry, next)) {
                continue;
            }
            self.comma()?;
            if key_kind == Scalar::String {
                self.string(Span::from_bits(entry.key))?;
            } else {
                self.out.push(b'"');
                self.scalar(key_kind, entry.key)?;
                self.out.push(b'"');
            }
            self.out.push(b':');
            self.scan(message, &Source::One(entry.entry))?;
            let range = self.of_field(base, 1);
            self.singular(value_field, range, depth)?;
            self.items.truncate(base);
        }
        self.kept -= kept;
        self.out.push(b'}');
        Ok(())
    }

    /// A message with a form of its own, whose items begin at `base`.
    fn known(&mut self, known: Known, message: &Message, base: usize, depth: usize) -> Result {
        let first = self.of_field(base, 0);
        let second = self.of_field(base, 1);
        let number = |walk: &Self, range| walk.last_of(range).unwrap_or(0);
        match known {
            Known::Timestamp => {
                let (seconds, nanos) = (number(self, &first), number(self, &second));
                known::timestamp(seconds as i64, nanos as i32, self.out)?;
            }
            Known::Duration => {
                let (seconds, nanos) = (number(self, &first), number(self, &second));
                known::duration(seconds as i64, nanos as i32, self.out)?;
            }
            Known::Wrapper(scalar) => {
                let bits = number(self, &first);
                self.value(&Kind::Scalar(scalar), bits, depth)?;
            }
            Known::FieldMask => self.field_mask(first)?,
            Known::ListValue | Known::Struct => {
                let field = message.fields.first().ok_or("unknown field")?;
                match (&field.kind, first.is_empty()) {
                    (Kind::Message(entry), false) if known == Known::Struct => {
                        self.map(*entry, first, depth)?;
                    }
                    (_, false) => self.array(field, first, depth)?,
                    (_, true) if known == Known::Struct => self.out.extend_from_slice(b"{}"),
                    (_, true) => self.out.extend_from_slice(b"[]"),
                }
            }
            Known::Value => {
                let range = base..self.items.len();
                let index = self.items.get(base).map(|item| item.field as usize);
                let field = index.and_then(|index| message.fields.get(index));
                let Some(field) = field else {
                    self.out.extend_from_slice(b"null");
                    return Ok(());
                };
                let special = f64::from_bits(number(self, &range));
                if field.kind == Kind::Scalar(Scalar::Double) && !special.is_finite() {
                    return Err("a JSON value is no finite number".into());
                }
                self.singular(field, range, depth)?;
            }
            Known::Any => self.any(number(self, &first), number(self, &second), depth)?,
        }
        Ok(())
    }

    fn field_mask(&mut self, range: Range<usize>) -> Result {
        let mut text = String::new();
        for run in range {
            let Some(span) = self.part(&Source::Items(run..run + 1), 0) else { continue };
            let mut records = Records::new(self.payload, span);
            while let Some(record) = records.next()? {
                let Value::Bytes(path) = record.value else { continue };
                let path = known::mask_path(self.text(path)?)?;
                if !text.is_empty() {
                    text.push(',');
                }
                text.push_str(&path);
            }
        }
        self.check_len(text.len())?;
        json::string(&text, self.out);
        Ok(())
    }

    /// A message of the type that its address names. Where the schema does not define it, its bytes.
    fn any(&mut self, address: u64, value: u64, depth: usize) -> Result {
        let (address, value) = (Span::from_bits(address), Span::from_bits(value));
        let (name, bytes) = (self.text(address)?, value.of(self.payload));
        if name.is_empty() && bytes.is_empty() {
            self.out.extend_from_slice(b"{}");
            return Ok(());
        }
        self.out.extend_from_slice(b"{\"@type\":");
        self.string(address)?;
        let name = name.rsplit('/').next().unwrap_or_default();
        let schema = self.schema;
        let place = schema.find(name);
        match place.and_then(|place| schema.message(place)) {
            None => {
                self.out.extend_from_slice(b",\"value\":");
                self.scalar(Scalar::Bytes, value.to_bits())?;
            }
            Some(message) if message.known.is_some() => {
                self.out.extend_from_slice(b",\"value\":");
                self.message(place.unwrap_or_default(), Source::One(value), depth + 1)?;
            }
            Some(message) => {
                if depth + 1 >= MAX_DEPTH {
                    return Err(format!("messages are nested deeper than {MAX_DEPTH}").into());
                }
                let base = self.items.len();
                self.scan(message, &Source::One(value))?;
                self.members(message, base, depth + 1)?;
                self.items.truncate(base);
            }
        }
        self.out.push(b'}');
        self.check_len(0)
    }
}

/// How a value of a type comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Varint,
    Fixed32,
    Fixed64,
    Bytes,
}

fn wire_of(kind: &Kind) -> Wire {
    match kind {
        Kind::Scalar(Scalar::Double | Scalar::Fixed64 | Scalar::Sfixed64) => Wire::Fixed64,
        Kind::Scalar(Scalar::Float | Scalar::Fixed32 | Scalar::Sfixed32) => Wire::Fixed32,
        Kind::Scalar(Scalar::String | Scalar::Bytes) | Kind::Message(_) | Kind::Missing(_) => {
            Wire::Bytes
        }
        Kind::Scalar(_) | Kind::Enum(_) => Wire::Varint,
    }
}

/// A value as it is kept; None when it does not come the way that the field's type does: then it is
/// a field that is not known.
#[inline]
fn accept(field: &Field, value: Value) -> Option<u64> {
    match (wire_of(&field.kind), value) {
        (Wire::Varint, Value::Varint(bits)) | (Wire::Fixed64, Value::Fixed64(bits)) => Some(bits),
        (Wire::Fixed32, Value::Fixed32(bits)) => Some(u64::from(bits)),
        (Wire::Bytes, Value::Bytes(span)) if !field.delimited => Some(span.to_bits()),
        (Wire::Bytes, Value::Group(span)) if field.delimited => Some(span.to_bits()),
        _ => None,
    }
}

/// Several numbers in one record, which any repeated field may be.
fn is_packed(field: &Field, value: Value) -> bool {
    matches!(value, Value::Bytes(_)) && wire_of(&field.kind) != Wire::Bytes
}

fn unzigzag(bits: u64) -> i64 {
    (bits >> 1) as i64 ^ -((bits & 1) as i64)
}
