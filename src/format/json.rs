//! The JSON decoder: one pass over a document checks it and finds all wanted fields, with the
//! results of PostgreSQL 15's functions for type `json` (`get_worker` in `utils/adt/jsonfuncs.c`).
//!
//! Where PostgreSQL's result depends on more than the document's text at the field's place, the
//! answer is `Decoded::Unsure` and its own functions have to be asked:
//! - a string or key anywhere holds `\u0000` or an unpaired surrogate: `json_in` accepts it, but
//!   every field operator de-escapes all strings on its way and raises an error;
//! - a key on the way to a field (not its last key) is repeated: `a -> 'b' -> 'c'` looks into the
//!   last `b` only, `a #> '{b,c}'` into all of them;
//! - an element of `#> '{…}'` that is an integer meets an array: it is a subscript there.

use std::fmt::Write;

use super::cast::{Cast, Converted, cast};
use super::path::{JsonField, Node, ROOT, Wanted, trie};
use super::scan::{self, Escapes, Fault, Problem, Scanned, StringToken};
use crate::model::rows::{Decoded, Field};

/// Documents nested deeper are refused. PostgreSQL bounds the depth by its stack: with the default
/// `max_stack_depth` of 2 MB, between 13,000 and 14,500 levels. Less than half of that, so that
/// whatever is accepted here can be read by PostgreSQL's functions deep in a query as well.
pub const MAX_DEPTH: usize = 5_000;

/// What `decode` found: the arguments of `Rows::push`. Without fields unless `decoded` is `Plain`.
#[derive(Debug)]
pub struct Document<'a> {
    pub decoded: Decoded<'a>,
    pub fields: &'a [Field],
    pub scratch: &'a [u8],
}

/// Decodes JSON documents into the same list of fields, message after message.
#[derive(Debug)]
pub struct JsonDecoder {
    /// The wanted keys as a trie; the first node is the document itself.
    nodes: Vec<Node>,
    /// The arrays and objects around the current position, the innermost last.
    stack: Vec<Container>,
    fields: Vec<Field>,
    scratch: Vec<u8>,
    /// A de-escaped key.
    key: Vec<u8>,
    reason: String,
    /// PostgreSQL has to be asked for the current document's fields.
    unsure: bool,
}

#[derive(Debug)]
struct Container {
    start: usize,
    object: bool,
    node: Option<usize>,
}

/// What a value is, as far as `->>` minds.
#[derive(Clone, Copy)]
enum Value {
    String(StringToken),
    Null,
    Other,
}

impl JsonDecoder {
    /// A decoder that delivers `fields` in this order.
    pub fn new(fields: &[JsonField]) -> Self {
        JsonDecoder {
            nodes: trie(fields),
            stack: Vec::new(),
            fields: vec![Field::Null; fields.len()],
            scratch: Vec::new(),
            key: Vec::new(),
            reason: String::new(),
            unsure: false,
        }
    }

    /// Checks a document and finds its fields. `Bad` where `json_in` raises an error in a database
    /// with encoding UTF8, and above `MAX_DEPTH`; the reason names the byte, the first being 0.
    pub fn decode(&mut self, value: &[u8]) -> Document<'_> {
        self.fields.fill(Field::Null);
        self.scratch.clear();
        self.stack.clear();
        self.unsure = false;
        for node in &mut self.nodes {
            node.seen = false;
        }
        let decoded = match check_utf8(value).and_then(|()| self.walk(value)) {
            // Without fields nothing is de-escaped: the message is as valid as `json_in` says.
            Ok(()) if self.unsure && !self.fields.is_empty() => Decoded::Unsure,
            Ok(()) => {
                let (fields, scratch) = (&self.fields, &self.scratch);
                return Document { decoded: Decoded::Plain, fields, scratch };
            }
            Err(fault) => {
                self.reason.clear();
                // Writing to a String cannot fail.
                let _ = write!(self.reason, "{fault}");
                Decoded::Bad(&self.reason)
            }
        };
        Document { decoded, fields: &[], scratch: &[] }
    }

    /// Reads the whole document.
    fn walk(&mut self, bytes: &[u8]) -> Scanned<()> {
        let mut at = 0;
        let mut node = Some(ROOT);
        // What else than a key may stand here, when it is a key's turn.
        let mut key: Option<&'static str> = None;
        loop {
            at = scan::skip_whitespace(bytes, at);
            if let Some(expected) = key {
                let name = match bytes.get(at) {
                    Some(b'"') => scan::string(bytes, at)?,
                    _ => return scan::expected(bytes, at, expected),
                };
                at = scan::skip_whitespace(bytes, name.next());
                if bytes.get(at) != Some(&b':') {
                    return scan::expected(bytes, at, "\":\"");
                }
                at = scan::skip_whitespace(bytes, at + 1);
                self.unsure |= name.escapes == Escapes::Refused;
                node = match self.stack.last() {
                    Some(&Container { node: Some(parent), .. }) => self.child(parent, bytes, name),
                    _ => None,
                };
            }
            let start = at;
            match bytes.get(at) {
                Some(b'"') => {
                    let string = scan::string(bytes, at)?;
                    at = string.next();
                    self.unsure |= string.escapes == Escapes::Refused;
                    if let Some(node) = node {
                        self.deliver(node, bytes, start, at, Value::String(string));
                    }
                }
                Some(b'-' | b'0'..=b'9') => {
                    at = scan::number(bytes, at)?;
                    if let Some(node) = node {
                        self.deliver(node, bytes, start, at, Value::Other);
                    }
                }
                Some(b'{') => {
                    self.open(start, true, node)?;
                    at = scan::skip_whitespace(bytes, at + 1);
                    if bytes.get(at) != Some(&b'}') {
                        key = Some("string or \"}\"");
                        continue;
                    }
                }
                Some(b'[') => {
                    self.open(start, false, node)?;
                    self.unsure |= node.is_some_and(|node| self.nodes[node].subscripts);
                    at = scan::skip_whitespace(bytes, at + 1);
                    if bytes.get(at) != Some(&b']') {
                        key = None;
                        node = None;
                        continue;
                    }
                }
                Some(&byte @ (b't' | b'f' | b'n')) => {
                    let (word, value): (&[u8], _) = match byte {
                        b't' => (b"true", Value::Other),
                        b'f' => (b"false", Value::Other),
                        _ => (b"null", Value::Null),
                    };
                    at = scan::keyword(bytes, at, word)?;
                    if let Some(node) = node {
                        self.deliver(node, bytes, start, at, value);
                    }
                }
                _ => return scan::expected(bytes, at, "JSON value"),
            }
            // A value has ended, or an empty container is about to.
            loop {
                at = scan::skip_whitespace(bytes, at);
                let byte = bytes.get(at);
                let Some(&Container { start, object, node: outer }) = self.stack.last() else {
                    return match byte {
                        None => Ok(()),
                        Some(_) => scan::expected(bytes, at, "end of input"),
                    };
                };
                at += 1;
                if byte == Some(&b',') {
                    key = object.then_some("string");
                    node = None;
                    break;
                }
                if byte != Some(if object { &b'}' } else { &b']' }) {
                    let what = if object { "\",\" or \"}\"" } else { "\",\" or \"]\"" };
                    return scan::expected(bytes, at - 1, what);
                }
                self.stack.pop();
                if let Some(node) = outer {
                    self.deliver(node, bytes, start, at, Value::Other);
                }
            }
        }
    }

    fn open(&mut self, start: usize, object: bool, node: Option<usize>) -> Scanned<()> {
        if self.stack.len() == MAX_DEPTH {
            return scan::fail(Problem::TooDeep(MAX_DEPTH), start);
        }
        self.stack.push(Container { start, object, node });
        Ok(())
    }

    /// The node of an object's key, when fields lie on it.
    #[inline]
    fn child(&mut self, parent: usize, bytes: &[u8], key: StringToken) -> Option<usize> {
        let name = if key.escapes == Escapes::None {
            bytes.get(key.start..key.end)?
        } else {
            self.key.clear();
            scan::unescape(bytes, key, &mut self.key);
            &self.key
        };
        let child = *self.nodes[parent].children.get(name)?;
        let node = &mut self.nodes[child];
        if !node.children.is_empty() {
            self.unsure |= node.seen;
            node.seen = true;
        }
        Some(child)
    }

    /// Sets the fields that want the value at `node`; a repeated key overrides what was set.
    fn deliver(&mut self, node: usize, bytes: &[u8], start: usize, end: usize, value: Value) {
        // PostgreSQL keeps white space before a lone scalar (`get_scalar`).
        let scalar = self.stack.is_empty() && !matches!(bytes.get(start), Some(b'{' | b'['));
        let start = if scalar { 0 } else { start };
        for &Wanted { index, text, cast } in &self.nodes[node].wanted {
            let from = self.scratch.len();
            let field = match value {
                Value::String(string) if text && string.escapes != Escapes::None => {
                    scan::unescape(bytes, string, &mut self.scratch);
                    Field::Scratch(from, self.scratch.len() - from)
                }
                Value::String(string) if text => {
                    Field::Value(string.start, string.end - string.start)
                }
                Value::Null if text => Field::Null,
                _ => Field::Value(start, end - start),
            };
            self.fields[index] = match cast {
                Some(to) => convert(to, field, bytes, &mut self.scratch),
                None => field,
            };
        }
    }
}

/// A field's text as a value of the type; left as text when only PostgreSQL can say what it is.
fn convert(to: Cast, field: Field, bytes: &[u8], scratch: &mut Vec<u8>) -> Field {
    let from = scratch.len();
    let converted = match field {
        Field::Value(start, len) => {
            let text = bytes.get(start..start + len).unwrap_or_default();
            cast(text, to, scratch).or_else(|| {
                scratch.extend_from_slice(text);
                None
            })
        }
        // Escapes in a number or a date are too rare to be worth a way of their own.
        Field::Scratch(start, len) => return Field::Unconverted(start, len),
        other => return other,
    };
    match converted {
        Some(Converted::Fixed(bits)) => Field::Fixed(bits),
        Some(Converted::Bytes) => Field::Scratch(from, scratch.len() - from),
        None => Field::Unconverted(from, scratch.len() - from),
    }
}

/// The standard library's check takes half as long as decoding when the text is not English.
fn check_utf8(value: &[u8]) -> Scanned<()> {
    if simdutf8::basic::from_utf8(value).is_ok() {
        return Ok(());
    }
    let at = std::str::from_utf8(value).map_or_else(|e| e.valid_up_to(), |valid| valid.len());
    let byte = value.get(at).copied().unwrap_or_default();
    Err(Fault { problem: Problem::NotUtf8(byte), at })
}

#[cfg(test)]
mod tests;
