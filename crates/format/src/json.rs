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

mod key_predictor;
pub(crate) mod scan;

use std::fmt::Write;

use super::cast::{Cast, Converted, cast};
use super::missing;
use super::path::{self, JsonField, NOWHERE, Node, ROOT, Wanted, trie};
use gpss_model::block::{Decoded, DocumentField};
use key_predictor::{KeyId, KeyPredictor, KeySlot, Known, OTHER};
use scan::{Escapes, Fault, Problem, Scanned, StringToken};

/// Documents nested deeper are refused. PostgreSQL bounds the depth by its stack: with the default
/// `max_stack_depth` of 2 MB, between 13,000 and 14,500 levels. Less than half of that, so that
/// whatever is accepted here can be read by PostgreSQL's functions deep in a query as well.
pub const MAX_DEPTH: usize = 5_000;

/// What `decode` found: one row for `Rows::add`. Without fields unless `decoded` is `Plain`.
#[derive(Debug)]
pub struct Document<'a> {
    pub decoded: Decoded<'a>,
    pub fields: &'a [DocumentField],
    pub scratch: &'a [u8],
}

/// Decodes JSON documents into the same list of fields, message after message.
#[derive(Debug)]
pub struct JsonDecoder {
    /// The wanted keys as a trie, from `ROOT`.
    nodes: Vec<Node>,
    /// The keys of earlier documents.
    shape: KeyPredictor,
    /// What is around the container that is being read, the innermost last.
    stack: Vec<Container>,
    fields: Vec<DocumentField>,
    scratch: Vec<u8>,
    /// A de-escaped key.
    key: Vec<u8>,
    reason: String,
    /// The current document's number.
    document: u64,
    /// PostgreSQL has to be asked for the current document's fields.
    unsure: bool,
    /// An escape that PostgreSQL refuses matters only in a text that is wanted.
    lenient: bool,
    /// Members of which a document must have one.
    names: Vec<String>,
    /// The current document has one.
    named: bool,
}

/// What is being read: an array, an object, or the document around its one value.
#[derive(Clone, Copy, Debug)]
struct Container {
    kind: Kind,
    start: usize,
    node: usize,
    /// The key whose value it is, or is in.
    key: KeyId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Document,
    Array,
    Object,
}

impl Container {
    const DOCUMENT: Container =
        Container { kind: Kind::Document, start: 0, node: NOWHERE, key: OTHER };

    /// What may stand behind a value in it.
    fn expected(&self) -> &'static str {
        match self.kind {
            Kind::Document => "end of input",
            Kind::Array => "\",\" or \"]\"",
            Kind::Object => "\",\" or \"}\"",
        }
    }
}

/// What a value is, as far as `->>` minds.
#[derive(Clone, Copy)]
enum Value {
    /// A string without escapes.
    Plain,
    /// A string with escapes.
    Escaped,
    /// A string with escapes that PostgreSQL refuses, where that matters only if it is wanted.
    Refused,
    Null,
    Other,
}

impl JsonDecoder {
    /// A decoder that delivers `fields` in this order.
    pub fn new(fields: &[JsonField]) -> Self {
        JsonDecoder {
            nodes: trie(fields),
            shape: KeyPredictor::new(),
            stack: Vec::new(),
            fields: vec![DocumentField::Null; fields.len()],
            scratch: Vec::new(),
            key: Vec::new(),
            reason: String::new(),
            document: 0,
            unsure: false,
            lenient: false,
            names: vec![],
            named: false,
        }
    }

    /// For documents that a decoder has made of another format: PostgreSQL's rule that one bad
    /// escape fails every field of a document does not apply to them.
    pub fn be_lenient(&mut self) {
        self.lenient = true;
    }

    /// Documents without any of these members are bad; none: no document is.
    pub fn require_one_of(&mut self, names: &[String]) {
        path::name(&mut self.nodes, names);
        self.names = names.to_vec();
    }

    /// Checks a document and finds its fields. `Bad` where `json_in` raises an error in a database
    /// with encoding UTF8, and above `MAX_DEPTH`; the reason names the byte, the first being 0.
    pub fn decode(&mut self, value: &[u8]) -> Document<'_> {
        self.fields.fill(DocumentField::Null);
        self.scratch.clear();
        self.stack.clear();
        self.unsure = false;
        self.named = false;
        self.document += 1;
        self.shape.begin();
        let decoded = match check_utf8(value).and_then(|()| self.walk(value)) {
            Ok(()) if !self.named && !self.names.is_empty() => {
                self.reason = missing::reason(value, &self.names);
                Decoded::Bad(&self.reason)
            }
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

    /// Reads the whole document. The state is in variables, and functions that are not inlined give
    /// it back by value: what is written to memory in parts and read as one has to wait.
    fn walk(&mut self, bytes: &[u8]) -> Scanned<()> {
        let mut inside = Container::DOCUMENT;
        // Of the value that begins at `at` with `byte`.
        let (mut key, mut node) = (OTHER, ROOT);
        let (mut at, mut byte) = scan::token(bytes, 0);
        loop {
            let start = at;
            let value = match byte {
                b'"' => {
                    let string = scan::string(bytes, at)?;
                    at = string.next();
                    match string.escapes {
                        Escapes::None => Value::Plain,
                        Escapes::Refused if self.lenient => Value::Refused,
                        escapes => {
                            self.unsure |= escapes == Escapes::Refused;
                            Value::Escaped
                        }
                    }
                }
                b'-' | b'0'..=b'9' => {
                    at = scan::number(bytes, at)?;
                    Value::Other
                }
                b't' | b'f' | b'n' => {
                    at = scan::keyword(bytes, at)?;
                    if byte == b'n' { Value::Null } else { Value::Other }
                }
                b'{' => {
                    self.check_depth(at)?;
                    let (first, next) = scan::token(bytes, at + 1);
                    if next != b'}' {
                        self.stack.push(inside);
                        inside = Container { kind: Kind::Object, start, node, key };
                        let place = KeySlot::Inside(key);
                        let known = self.key(bytes, at + 1, node, place, "string or \"}\"")?;
                        (key, node) = (known.key, known.node);
                        (at, byte) = scan::token(bytes, known.value);
                        continue;
                    }
                    at = first + 1;
                    Value::Other
                }
                b'[' => {
                    self.check_depth(at)?;
                    self.unsure |= self.nodes[node].subscripts;
                    (at, byte) = scan::token(bytes, at + 1);
                    if byte != b']' {
                        self.stack.push(inside);
                        inside = Container { kind: Kind::Array, start, node, key };
                        node = NOWHERE;
                        continue;
                    }
                    at += 1;
                    Value::Other
                }
                _ => return scan::expected(bytes, at, "JSON value"),
            };
            if node != NOWHERE {
                self.deliver(node, bytes, start, at, value);
            }
            // A value has ended, and with it the containers that do not go on.
            loop {
                (at, byte) = scan::token(bytes, at);
                if byte == b',' && inside.kind == Kind::Object {
                    let place = KeySlot::After(key);
                    let known = self.key(bytes, at + 1, inside.node, place, "string")?;
                    (key, node) = (known.key, known.node);
                    (at, byte) = scan::token(bytes, known.value);
                    break;
                }
                match (inside.kind, byte) {
                    (Kind::Array, b',') => {
                        (key, node) = (inside.key, NOWHERE);
                        (at, byte) = scan::token(bytes, at + 1);
                        break;
                    }
                    (Kind::Array, b']') | (Kind::Object, b'}') => at += 1,
                    (Kind::Document, _) if at == bytes.len() => return Ok(()),
                    _ => return scan::expected(bytes, at, inside.expected()),
                }
                if inside.node != NOWHERE {
                    self.deliver(inside.node, bytes, inside.start, at, Value::Other);
                }
                key = inside.key;
                inside = self.stack.pop().unwrap_or(Container::DOCUMENT);
            }
        }
    }

    fn check_depth(&self, at: usize) -> Scanned<()> {
        if self.stack.len() < MAX_DEPTH {
            Ok(())
        } else {
            scan::fail(Problem::TooDeep(MAX_DEPTH), at)
        }
    }

    /// The key that begins, perhaps behind white space, at `at` in an object at node `parent`.
    #[inline(always)]
    fn key(
        &mut self,
        bytes: &[u8],
        at: usize,
        parent: usize,
        place: KeySlot,
        expected: &'static str,
    ) -> Scanned<Known> {
        if let Some(known) = self.shape.guess(place, parent, bytes, at) {
            return Ok(known);
        }
        let Known { key, node, value } = self.read_key(bytes, at, parent, place, expected)?;
        Ok(Known { key, node, value })
    }

    /// As `key`, when the guess was wrong.
    #[inline(never)]
    fn read_key(
        &mut self,
        bytes: &[u8],
        start: usize,
        parent: usize,
        place: KeySlot,
        expected: &'static str,
    ) -> Scanned<Known> {
        let (at, byte) = scan::token(bytes, start);
        if byte != b'"' {
            return scan::expected(bytes, at, expected);
        }
        let name = scan::string(bytes, at)?;
        let (at, byte) = scan::token(bytes, name.next());
        if byte != b':' {
            return scan::expected(bytes, at, "\":\"");
        }
        let (value, _) = scan::token(bytes, at + 1);
        self.unsure |= name.escapes == Escapes::Refused && !self.lenient;
        let node = self.child(parent, bytes, name);
        let text = bytes.get(start..value).unwrap_or_default();
        let key = match name.escapes {
            Escapes::None => self.shape.learn(place, parent, text, node),
            Escapes::Some | Escapes::Refused => OTHER,
        };
        Ok(Known { key, node, value })
    }

    /// The node of an object's key.
    fn child(&mut self, parent: usize, bytes: &[u8], key: StringToken) -> usize {
        let name = if key.escapes == Escapes::None {
            bytes.get(key.start..key.end).unwrap_or_default()
        } else {
            self.key.clear();
            scan::unescape(bytes, key, &mut self.key);
            &self.key
        };
        self.nodes[parent].children.get(name).copied().unwrap_or(NOWHERE)
    }

    /// Sets the fields that want the value at `node`; a repeated key overrides what was set.
    #[inline(never)]
    fn deliver(&mut self, node: usize, bytes: &[u8], start: usize, end: usize, value: Value) {
        let here = &self.nodes[node];
        self.named |= here.named;
        if here.wanted.is_empty() && here.children.is_empty() {
            return;
        }
        // PostgreSQL keeps white space before a lone scalar (`get_scalar`).
        let lone = node == ROOT && !matches!(bytes.get(start), Some(b'{' | b'['));
        let json = if lone {
            DocumentField::Value(0, end)
        } else {
            DocumentField::Value(start, end - start)
        };
        let as_text = match value {
            Value::Plain => DocumentField::Value(start + 1, end - start - 2),
            Value::Escaped => self.unescaped(bytes, start + 1, end - 1),
            Value::Refused => {
                self.unsure |= self.nodes[node].wanted.iter().any(|wanted| wanted.text);
                DocumentField::Null
            }
            Value::Null => DocumentField::Null,
            Value::Other => json,
        };
        let node = &mut self.nodes[node];
        if !node.children.is_empty() {
            self.unsure |= node.seen_in == self.document;
            node.seen_in = self.document;
        }
        for &Wanted { index, text, cast } in &node.wanted {
            let field = if text { as_text } else { json };
            self.fields[index] = match cast {
                Some(to) => convert(to, field, bytes, &mut self.scratch),
                None => field,
            };
        }
    }

    /// The text of a string with escapes, between its quotes.
    #[inline(never)]
    fn unescaped(&mut self, bytes: &[u8], start: usize, end: usize) -> DocumentField {
        let from = self.scratch.len();
        let string = StringToken { start, end, escapes: Escapes::Some };
        scan::unescape(bytes, string, &mut self.scratch);
        DocumentField::Scratch(from, self.scratch.len() - from)
    }
}

/// A field's text as a value of the type; left as text when only PostgreSQL can say what it is.
fn convert(to: Cast, field: DocumentField, bytes: &[u8], scratch: &mut Vec<u8>) -> DocumentField {
    let from = scratch.len();
    let converted = match field {
        DocumentField::Value(start, len) => {
            let text = bytes.get(start..start + len).unwrap_or_default();
            cast(text, to, scratch).or_else(|| {
                scratch.extend_from_slice(text);
                None
            })
        }
        // Escapes in a number or a date are too rare to be worth a way of their own.
        DocumentField::Scratch(start, len) => return DocumentField::Unconverted(start, len),
        other => return other,
    };
    match converted {
        Some(Converted::Fixed(bits)) => DocumentField::Fixed(bits),
        Some(Converted::Bytes) => DocumentField::Scratch(from, scratch.len() - from),
        None => DocumentField::Unconverted(from, scratch.len() - from),
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
