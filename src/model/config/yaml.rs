//! YAML text → a tree whose nodes know their place, and typed access to it that reports every key
//! nobody asked for. JSON is YAML.
//!
//! Reads the parser's events instead of a ready-made document: scalars stay the text they are, the
//! tree is bounded, and there are no aliases, so a short text cannot grow into a large tree.

use crate::error::{Error, Result, SqlState};
use crate::model::suggest;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};
use std::collections::HashMap;

/// Bytes; a mapping of 1,600 columns, the most a table can have, takes a fifth of it.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// Lists and mappings inside each other; the deepest configuration has eight.
const MAX_DEPTH: usize = 32;
/// Characters of a user's text that a message repeats.
const MAX_SHOWN: usize = 64;

#[derive(Debug)]
struct Node {
    line: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// `plain`: written without quotes, so that it may stand for "no value".
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug)]
struct Entry {
    key: String,
    line: usize,
    node: Node,
}

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Value {
    /// Its keys from the top, joined by colons as the GPSS documentation does.
    path: String,
    node: Node,
}

/// A mapping whose keys are taken one by one; what is left at the end is unknown.
#[derive(Debug)]
pub(super) struct Map {
    path: String,
    line: usize,
    entries: Vec<Entry>,
    /// The keys that were asked for: together the keys that may stand here.
    known: Vec<&'static str>,
}

/// Parses a text of one document.
///
/// # Errors
/// `SYNTAX_ERROR`, with the line, for anything but one bounded document without aliases and tags
/// whose mappings have distinct scalar keys.
pub(super) fn parse(text: &str) -> Result<Value> {
    if text.len() > MAX_BYTES {
        return Err(too_long());
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, span) = event.map_err(|e| unreadable(&e))?;
        builder.take(event, span.start.line())?;
    }
    let node = builder.root.filter(|node| !node.is_null());
    let node =
        node.ok_or_else(|| Error::new(SqlState::SYNTAX_ERROR, "the load configuration is empty"))?;
    Ok(Value { path: String::new(), node })
}

/// The error for a text that is beyond `MAX_BYTES`.
pub(super) fn too_long() -> Error {
    Error::new(SqlState::SYNTAX_ERROR, "the load configuration is too long")
        .detail(format!("It may have {MAX_BYTES} bytes."))
}

/// A syntax error at a line.
pub(super) fn error_at(line: usize, message: impl AsRef<str>) -> Error {
    Error::new(SqlState::SYNTAX_ERROR, format!("line {line}: {}", message.as_ref()))
}

/// The start of a text as a message may repeat it.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

fn unreadable(error: &ScanError) -> Error {
    error_at(error.marker().line(), format!("not valid YAML: {}", error.info())).hint(
        "Indent with spaces, and put a value in quotes that holds \": \" or \" #\" or begins with \
         a sign that YAML reserves, such as [ { & * ! | > % @.",
    )
}

/// The tree while it is built: the stack of what is still open.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

struct Open {
    node: Node,
    /// A mapping's key whose value comes next.
    key: Option<(String, usize)>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<()> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(error_at(line, "a second document begins")
                        .hint("A load configuration is one YAML document."));
                }
            }
            Event::Alias(_) => return Err(no_anchors(line)),
            Event::Scalar(text, style, anchor, tag) => {
                plain_yaml(anchor, tag.is_some(), line)?;
                if text.contains('\0') {
                    return Err(error_at(line, "a text holds a zero byte"));
                }
                let plain = style == ScalarStyle::Plain;
                self.put(Node {
                    line,
                    content: Content::Scalar { text: text.into_owned(), plain },
                })?;
            }
            Event::SequenceStart(anchor, tag) => {
                plain_yaml(anchor, tag.is_some(), line)?;
                self.open(Node { line, content: Content::List(Vec::new()) })?;
            }
            Event::MappingStart(anchor, tag) => {
                plain_yaml(anchor, tag.is_some(), line)?;
                self.open(Node { line, content: Content::Map(Vec::new()) })?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(closed) = self.open.pop() {
                    self.put(closed.node)?;
                }
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn open(&mut self, node: Node) -> Result<()> {
        if self.open.len() >= MAX_DEPTH {
            return Err(error_at(node.line, "lists and mappings are nested too deeply"));
        }
        self.open.push(Open { node, key: None });
        Ok(())
    }

    /// Puts a finished node where it belongs: into the innermost open list or mapping.
    fn put(&mut self, node: Node) -> Result<()> {
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut parent.node.content {
            Content::List(items) => items.push(node),
            Content::Map(entries) => match parent.key.take() {
                Some((key, line)) => entries.push(Entry { key, line, node }),
                None => match node.content {
                    Content::Scalar { text, .. } => parent.key = Some((text, node.line)),
                    _ => return Err(error_at(node.line, "a key must be a text")),
                },
            },
            Content::Scalar { .. } => {}
        }
        Ok(())
    }
}

fn plain_yaml(anchor: usize, tagged: bool, line: usize) -> Result<()> {
    // The parser numbers anchors from one; zero is none.
    if anchor != 0 {
        return Err(no_anchors(line));
    }
    if tagged {
        return Err(error_at(line, "tags are not supported")
            .hint("Put a value that begins with \"!\" in quotes."));
    }
    Ok(())
}

fn no_anchors(line: usize) -> Error {
    error_at(line, "anchors and aliases are not supported")
        .hint("Write the value out, and put one that begins with \"&\" or \"*\" in quotes.")
}

impl Node {
    fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

impl Value {
    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.content, Content::Map(_))
    }

    /// An error about this value: its line and path, then `what`.
    pub(super) fn error(&self, what: &str) -> Error {
        error_at(self.node.line, format!("{} {what}", named(&self.path)))
    }

    /// The same for a value of the right type that is not allowed.
    pub(super) fn invalid(&self, what: &str) -> Error {
        Error { sqlstate: SqlState::INVALID_PARAMETER, ..self.error(what) }
    }

    /// The refusal of something that GPSS has and we do not have yet.
    pub(super) fn not_built(&self, what: &str, hint: &str) -> Error {
        Error { sqlstate: SqlState::FEATURE_NOT_SUPPORTED, ..self.error(what) }.hint(hint)
    }

    /// The scalar as it is written, whatever type YAML would give it.
    ///
    /// # Errors
    /// A list, a mapping, or no value.
    pub(super) fn text(self) -> Result<String> {
        if self.node.is_null() {
            return Err(self.error("has no value"));
        }
        self.any_text()
    }

    /// The scalar as SQL, where `null` is a value.
    ///
    /// # Errors
    /// A list, a mapping, or nothing but blanks.
    pub(super) fn sql(self) -> Result<String> {
        if let Content::Scalar { text, .. } = &self.node.content
            && matches!(text.trim(), "" | "~")
        {
            return Err(self.error("has no value"));
        }
        self.any_text()
    }

    fn any_text(self) -> Result<String> {
        let (kind, sign) = match self.node.content {
            Content::Scalar { text, .. } => return Ok(text),
            Content::List(_) => ("list", '['),
            Content::Map(_) => ("mapping", '{'),
        };
        Err(self
            .error(&format!("must be a single value, not a {kind}"))
            .hint(format!("Put a value that begins with \"{sign}\" in quotes.")))
    }

    /// A whole number from zero to what a bigint holds.
    pub(super) fn integer(self) -> Result<u64> {
        let wanted = self.invalid("must be a whole number, zero or more");
        let text = self.text()?;
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<i64>()
            .ok()
            .filter(|_| digits)
            .and_then(|number| u64::try_from(number).ok())
            .ok_or(wanted)
    }

    pub(super) fn list(self) -> Result<Vec<Value>> {
        match self.node.content {
            Content::List(nodes) => Ok(nodes
                .into_iter()
                .enumerate()
                .map(|(i, node)| Value { path: format!("{}[{}]", self.path, i + 1), node })
                .collect()),
            _ => Err(self.error("must be a list")),
        }
    }

    pub(super) fn map(self) -> Result<Map> {
        match self.node.content {
            Content::Map(entries) => {
                refuse_duplicates(&self.path, &entries)?;
                Ok(Map { path: self.path, line: self.node.line, entries, known: Vec::new() })
            }
            _ => Err(self.error("must be a mapping of keys to values")),
        }
    }
}

fn refuse_duplicates(path: &str, entries: &[Entry]) -> Result<()> {
    let mut lines = HashMap::with_capacity(entries.len());
    for entry in entries {
        if let Some(first) = lines.insert(entry.key.as_str(), entry.line) {
            return Err(duplicate(path, &entry.key, first, entry.line));
        }
    }
    Ok(())
}

fn duplicate(path: &str, key: &str, first: usize, second: usize) -> Error {
    error_at(second, format!("duplicate key \"{}\" in {}", shown(key), named(path)))
        .detail(format!("It stands in line {first} as well."))
}

/// The path as a message names it.
fn named(path: &str) -> &str {
    if path.is_empty() { "the load configuration" } else { path }
}

impl Map {
    /// Takes a key's value out of the mapping; None when it is absent or has no value.
    ///
    /// The key may also stand there in lower case, as it does in files in the field.
    pub(super) fn take(&mut self, key: &'static str) -> Result<Option<Value>> {
        Ok(self.take_any(key)?.filter(|value| !value.node.is_null()))
    }

    /// `take` of a key that must be there.
    pub(super) fn require(&mut self, key: &'static str) -> Result<Value> {
        match self.take(key)? {
            Some(value) => Ok(value),
            None => Err(self.missing(key)),
        }
    }

    /// `require` of a key whose value is SQL, where `null` is a value.
    pub(super) fn require_sql(&mut self, key: &'static str) -> Result<Value> {
        match self.take_any(key)? {
            Some(value) => Ok(value),
            None => Err(self.missing(key)),
        }
    }

    /// `take` as a text.
    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>> {
        self.take(key)?.map(Value::text).transpose()
    }

    /// Refuses keys that GPSS has and we do not have yet, so that none is silently ignored.
    pub(super) fn not_built(&mut self, keys: &[&'static str], hint: &str) -> Result<()> {
        for key in keys {
            if let Some(value) = self.take(key)? {
                return Err(value.not_built("is not supported yet", hint));
            }
        }
        Ok(())
    }

    /// All keys and values in the order in which they stand, for a mapping with keys of the user's own.
    pub(super) fn into_pairs(self) -> Vec<(String, Value)> {
        let path = self.path;
        let value = |entry: Entry| {
            let path = format!("{path}:{}", shown(&entry.key));
            (entry.key, Value { path, node: entry.node })
        };
        self.entries.into_iter().map(value).collect()
    }

    /// Ends the reading of this mapping.
    ///
    /// # Errors
    /// A key that nobody asked for.
    pub(super) fn finish(self) -> Result<()> {
        match self.entries.first() {
            Some(entry) => Err(self.unknown(entry)),
            None => Ok(()),
        }
    }

    fn take_any(&mut self, key: &'static str) -> Result<Option<Value>> {
        self.known.push(key);
        let lower = key.to_ascii_lowercase();
        let is_key = |entry: &Entry| entry.key == key || entry.key == lower;
        let Some(at) = self.entries.iter().position(is_key) else {
            return Ok(None);
        };
        let entry = self.entries.remove(at);
        if let Some(other) = self.entries.iter().find(|entry| is_key(entry)) {
            let (first, second) = (entry.line.min(other.line), entry.line.max(other.line));
            return Err(duplicate(&self.path, key, first, second));
        }
        let path = if self.path.is_empty() { key.into() } else { format!("{}:{key}", self.path) };
        Ok(Some(Value { path, node: entry.node }))
    }

    fn missing(&self, key: &'static str) -> Error {
        // A misspelt required key is both missing and unknown; what stands there tells the user more.
        match self.entries.iter().find(|entry| suggest::nearest(&entry.key, [key]).is_some()) {
            Some(entry) => self.unknown(entry),
            None => error_at(self.line, format!("{} lacks the key {key}", named(&self.path))),
        }
    }

    fn unknown(&self, entry: &Entry) -> Error {
        let message = format!("unknown key \"{}\" in {}", shown(&entry.key), named(&self.path));
        let mut error = error_at(entry.line, message);
        error.hint = suggest::hint(&entry.key, self.known.iter().copied());
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(text: &str) -> Map {
        parse(text).unwrap().map().unwrap()
    }

    fn message(text: &str) -> String {
        parse(text).and_then(Value::map).unwrap_err().message
    }

    #[test]
    fn scalars_stay_the_text_they_are() {
        let mut m = map("A: 0x10\nB: yes\nC: 'null'\nD: |\n  two\n  lines\nE: 1.50\n");
        for (key, text) in
            [("A", "0x10"), ("B", "yes"), ("C", "null"), ("D", "two\nlines\n"), ("E", "1.50")]
        {
            assert_eq!(m.text(key).unwrap().unwrap(), text);
        }
        m.finish().unwrap();
    }

    #[test]
    fn json_is_yaml() {
        let mut m = map("{\"A\": {\"B\": [1, \"x\\u00e9\"]}, \"C\": null}");
        let items = m.require("A").unwrap().map().unwrap().require("B").unwrap().list().unwrap();
        let texts: Vec<_> = items.into_iter().map(|v| v.text().unwrap()).collect();
        assert_eq!(texts, ["1", "x\u{e9}"]);
        assert!(m.take("C").unwrap().is_none());
    }

    #[test]
    fn keys_in_lower_case_are_the_same_keys() {
        assert_eq!(map("topic: t").text("TOPIC").unwrap().unwrap(), "t");
        let error = map("topic: t\nTOPIC: u").text("TOPIC").unwrap_err();
        assert_eq!(error.message, "line 2: duplicate key \"TOPIC\" in the load configuration");
        assert!(map("Topic: t").text("TOPIC").unwrap().is_none());
    }

    #[test]
    fn unknown_and_missing_keys_say_where_and_what_is_near() {
        let mut top = map("A:\n  TOPICS: t\n");
        let mut m = top.require("A").unwrap().map().unwrap();
        let error = m.require("TOPIC").unwrap_err();
        assert_eq!(error.message, "line 2: unknown key \"TOPICS\" in A");
        assert_eq!(error.hint.unwrap(), "Perhaps you meant \"TOPIC\".");
        assert_eq!(m.require("BROKERS").unwrap_err().message, "line 2: A lacks the key BROKERS");
        assert_eq!(m.finish().unwrap_err().message, "line 2: unknown key \"TOPICS\" in A");
    }

    #[test]
    fn types_are_checked_with_line_and_path() {
        let mut m = map("\nA: [1]\nB: -1\nC: 1.5\nD: x\nE: 99999999999999999999\nF: 10\n");
        assert_eq!(
            m.text("A").unwrap_err().message,
            "line 2: A must be a single value, not a list"
        );
        for key in ["B", "C", "D", "E"] {
            let error = m.require(key).unwrap().integer().unwrap_err();
            assert_eq!(error.sqlstate, SqlState::INVALID_PARAMETER);
            assert!(error.message.ends_with("must be a whole number, zero or more"), "{error}");
        }
        assert_eq!(m.require("F").unwrap().integer(), Ok(10));
        assert_eq!(
            message("[1]"),
            "line 1: the load configuration must be a mapping of keys to values"
        );
    }

    #[test]
    fn null_is_no_value_except_as_sql() {
        let mut m = map("A:\nB: ~\nC: null\nD: null\n");
        assert!(m.take("A").unwrap().is_none() && m.take("B").unwrap().is_none());
        assert!(m.take("C").unwrap().is_none());
        assert_eq!(m.require_sql("D").unwrap().sql().unwrap(), "null");
    }

    #[test]
    fn what_yaml_can_do_beyond_plain_trees_is_refused() {
        assert_eq!(message(""), "the load configuration is empty");
        assert_eq!(message("# only a comment\n"), "the load configuration is empty");
        assert_eq!(message("--- ~"), "the load configuration is empty");
        assert_eq!(message("a: 1\n---\nb: 2\n"), "line 2: a second document begins");
        assert_eq!(message("a: &x 1\nb: *x\n"), "line 1: anchors and aliases are not supported");
        assert_eq!(message("a: !!binary x\n"), "line 1: tags are not supported");
        assert_eq!(message("a: 1\n? [b]\n: 2\n"), "line 2: a key must be a text");
        assert_eq!(message("a: \"x\\0\"\n"), "line 1: a text holds a zero byte");
        assert_eq!(
            message("a: 1\nb: 2\na: 3\n"),
            "line 3: duplicate key \"a\" in the load configuration"
        );
        assert!(message("a: 1\n\tb: 2").starts_with("line 1: not valid YAML: "));
        assert!(message("a: b: c").starts_with("line 1: not valid YAML: "));
        assert_eq!(message(&"[".repeat(40)), "line 1: lists and mappings are nested too deeply");
        assert_eq!(message(&"x".repeat(MAX_BYTES + 1)), "the load configuration is too long");
    }

    #[test]
    fn a_billion_laughs_are_cheap() {
        let mut text = String::from("a: &a [x, x]\n");
        for (from, to) in ["ab", "bc", "cd"].iter().filter_map(|s| s.split_at_checked(1)) {
            text.push_str(&format!("{to}: &{to} [*{from}, *{from}]\n"));
        }
        assert_eq!(message(&text), "line 1: anchors and aliases are not supported");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn no_signs_make_the_reader_panic(
            parts in prop::collection::vec(prop::sample::select(vec![
                "a", ":", ": ", "- ", "-", "?", "? ", "{", "}", "[", "]", ",", "\n", "\n ", "\n  ",
                "\t", "#", " #", "&a", "*a", "!", "!!str", "|", ">", "|+", "'", "\"", "\\", "\\x", "%",
                "%YAML 1.2\n", "---", "...", "~", "\r", "\u{feff}", "\u{85}", "ä", "\0", "<<",
            ]), 0..40),
        ) {
            let _ = parse(&parts.concat());
        }
    }
}
