//! Where message types come from: what a user gives, or what a schema registry knows.

use super::common;
use super::decl::{Budget, File};
use super::descriptor;
use super::json;
use super::proto_parser;
use super::schema::Schema;
use crate::schemas::Registered;

/// A schema of the user's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaSource {
    /// What the file at `schema_path` holds.
    File(Vec<u8>),
    /// The option `schema`.
    Text(String),
}

/// Bytes of a serialized descriptor set, or of all `.proto` texts together.
const MAX_SOURCE: usize = 4 << 20;
/// The name of a file that has none.
const UNNAMED: &str = "<schema>";

/// The message types of a descriptor set, of a `.proto` text, or of a descriptor set in base64: told
/// apart by what they look like.
///
/// # Errors
/// Why it is none of them, in words for the details of an error.
pub(super) fn local(source: &SchemaSource) -> Result<Schema, String> {
    match source {
        SchemaSource::File(bytes) => any(bytes, &[]),
        SchemaSource::Text(text) => any(text.as_bytes(), &[]),
    }
}

/// The message types of a registered schema.
///
/// # Errors
/// As `local`.
pub(super) fn registered(schema: &Registered) -> Result<Schema, String> {
    any(schema.text.as_bytes(), &schema.references)
}

fn any(bytes: &[u8], references: &[(String, String)]) -> Result<Schema, String> {
    let size = references.iter().fold(bytes.len(), |sum, (_, text)| sum.saturating_add(text.len()));
    if size > MAX_SOURCE {
        return Err(format!("the schema is larger than {} MB", MAX_SOURCE >> 20));
    }
    let mut budget = Budget::default();
    let mut files = Vec::new();
    for (name, text) in references {
        let file = one(name, text, &mut budget);
        files.push(file.map_err(|reason| format!("in the import \"{name}\": {reason}"))?);
    }
    match (binary(bytes, &mut budget), std::str::from_utf8(bytes)) {
        (Some(set), _) => files.extend(set?),
        (None, Ok(text)) => files.push(proto_parser::parse(UNNAMED, text, &mut budget)?),
        (None, Err(_)) => {
            return Err("it is neither a descriptor set nor text in UTF-8".to_owned());
        }
    }
    let mut all = common::imported(&files, &mut budget)?;
    all.append(&mut files);
    Schema::link(all, &mut budget)
}

/// A file that a schema refers to.
fn one(name: &str, text: &str, budget: &mut Budget) -> Result<File, String> {
    match from_base64(text) {
        Some(bytes) => {
            let file = descriptor::file(&bytes, budget)?;
            Ok(File { name: name.to_owned(), ..file })
        }
        None => proto_parser::parse(name, text, budget),
    }
}

/// Serialized descriptors, as they are or in base64; None when it is neither.
fn binary(bytes: &[u8], budget: &mut Budget) -> Option<Result<Vec<File>, String>> {
    let base64 = std::str::from_utf8(bytes).ok().and_then(from_base64);
    // Text holds none of the control characters that lengths and types are. A set begins with the
    // tag of its first file, which as text would be an empty line.
    let control = |b: &u8| *b < b' ' && !matches!(b, b'\t' | b'\n' | 0x0b | 0x0c | b'\r');
    let bytes = match &base64 {
        Some(bytes) => bytes,
        None if bytes.iter().any(control) => bytes,
        None => return None,
    };
    Some(descriptor::set(bytes, budget).or_else(|reason| {
        // What a registry serializes is a single file.
        let single = descriptor::file(bytes, budget);
        let single = single.ok().filter(|file| !file.messages.is_empty());
        single.map(|file| vec![file]).ok_or_else(|| format!("in the descriptor set: {reason}"))
    }))
}

/// Descriptors in base64. Short texts may look like it; descriptors begin with field 1.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    json::from_base64(text).filter(|bytes| bytes.first() == Some(&0x0a))
}
