//! Which values of a JSON document are wanted: PostgreSQL's operators as paths, and the trie of their
//! keys that the decoder walks down with a document.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use serde::{Deserialize, Serialize};

use super::cast::Cast;

/// One step from a JSON value to a value in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// `-> 'k'`: the value of an object's key.
    Key(String),
    /// One element of `#> '{a,b}'`: as `Key`, but when it is an integer also an array's subscript.
    Element(String),
}

impl Step {
    fn element(&self) -> Option<&str> {
        match self {
            Step::Element(element) => Some(element),
            Step::Key(_) => None,
        }
    }
}

/// A field to deliver: what a chain of `->`, `->>`, `#>`, `#>>` gives for the document. No steps:
/// the document itself, as `#> '{}'`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonField {
    pub steps: Vec<Step>,
    /// True for `->>` and `#>>`: strings de-escaped, JSON null is SQL NULL. False for `->` and
    /// `#>`: the value as it is written in the document.
    pub text: bool,
    /// The text is wanted as a value of this type.
    pub cast: Option<Cast>,
}

impl fmt::Display for JsonField {
    /// As the operators that ask for it: `->'a'->>'b'`, `(#>>'{a,b}')::bigint`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(cast) = self.cast {
            let text = JsonField { cast: None, ..self.clone() };
            return write!(f, "({text})::{cast}");
        }
        let arrow = |last: bool, text: &'static str, json: &'static str| {
            if last && self.text { text } else { json }
        };
        let mut rest = self.steps.as_slice();
        while let [step, after @ ..] = rest {
            match step {
                Step::Key(key) => {
                    rest = after;
                    let arrow = arrow(rest.is_empty(), "->>", "->");
                    write!(f, "{arrow}'{}'", key.replace('\'', "''"))?;
                }
                Step::Element(_) => {
                    let elements: Vec<&str> = rest.iter().map_while(Step::element).collect();
                    rest = rest.get(elements.len()..).unwrap_or_default();
                    let arrow = arrow(rest.is_empty(), "#>>", "#>");
                    write!(f, "{arrow}'{{{}}}'", elements.join(",").replace('\'', "''"))?;
                }
            }
        }
        Ok(())
    }
}

/// The index of the node that stands for all places on which no field lies.
pub(super) const NOWHERE: usize = 0;

/// The index of the node that stands for the document itself.
pub(super) const ROOT: usize = 1;

/// A place in the documents on which a wanted field lies.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub children: HashMap<Box<[u8]>, usize, BuildHasherDefault<KeyHasher>>,
    /// A child is a subscript if the value here is an array.
    pub subscripts: bool,
    /// The fields whose value is the value here.
    pub wanted: Vec<Wanted>,
    /// A column is named after the value here.
    pub named: bool,
    /// The document that had this key last. Kept for nodes with children only.
    pub seen_in: u64,
}

/// A field at its place: its index, and how it is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub index: usize,
    pub text: bool,
    pub cast: Option<Cast>,
}

/// The trie of the fields' paths.
pub(super) fn trie(fields: &[JsonField]) -> Vec<Node> {
    let mut nodes = vec![Node::default(), Node::default()];
    for (index, field) in fields.iter().enumerate() {
        let mut at = ROOT;
        for step in &field.steps {
            let (Step::Key(key) | Step::Element(key)) = step;
            nodes[at].subscripts |= matches!(step, Step::Element(e) if is_subscript(e));
            let new = nodes.len();
            at = *nodes[at].children.entry(key.as_bytes().into()).or_insert(new);
            if at == new {
                nodes.push(Node::default());
            }
        }
        nodes[at].wanted.push(Wanted { index, text: field.text, cast: field.cast });
    }
    nodes
}

/// Adds members of the document that columns are named after.
pub(super) fn name(nodes: &mut Vec<Node>, names: &[String]) {
    for name in names {
        let new = nodes.len();
        let at = *nodes[ROOT].children.entry(name.as_bytes().into()).or_insert(new);
        if at == new {
            nodes.push(Node::default());
        }
        nodes[at].named = true;
    }
}

/// Whether `strtol` takes the whole text for an integer, as `get_path_all` asks. An integer out of
/// range is counted in: asking PostgreSQL needlessly does no harm.
fn is_subscript(element: &str) -> bool {
    let number = element.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Hashes keys eight bytes at a time. The table holds wanted keys only, never keys of documents,
/// so that no document can fill it with collisions.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        // The last word overlaps the one before: no loop over single bytes.
        if let Some(last) = bytes.last_chunk::<8>() {
            for word in bytes.as_chunks::<8>().0 {
                self.write_u64(u64::from_le_bytes(*word));
            }
            self.write_u64(u64::from_le_bytes(*last));
        } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            self.write_u64(u64::from(first) << 32 | u64::from(last));
        } else {
            self.write_u64(bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)));
        }
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_u64(&mut self, number: u64) {
        // An odd constant with well mixed bits (2^64 divided by the golden ratio).
        self.0 = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        // The table takes its position from the low bits; a product mixes its high bits best.
        self.0 ^ (self.0 >> 32)
    }
}
