//! YAML text → a tree whose nodes know their lines. JSON is YAML.
//!
//! Reads the parser's events instead of a ready-made document: scalars stay the text they are, the
//! tree is bounded, and there are no aliases, so a short text cannot grow into a large tree.

use crate::error::{Error, Result, SqlState};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

/// Bytes; a mapping of 1,600 columns, the most a table can have, takes a fifth of it.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// Lists and mappings inside each other; the deepest configuration has eight.
const MAX_DEPTH: usize = 32;
/// Characters of a user's text that a message repeats.
const MAX_SHOWN: usize = 64;

#[derive(Debug)]
pub(super) struct Node {
    pub line: usize,
    pub content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    /// `plain`: written without quotes, so that it may stand for "no value".
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub key: String,
    pub line: usize,
    pub node: Node,
}

/// Parses a text of one document.
///
/// # Errors
/// `SYNTAX_ERROR`, with the line, for anything but one bounded document without aliases and tags
/// whose mappings have distinct scalar keys.
pub(super) fn parse(text: &str) -> Result<Node> {
    if text.len() > MAX_BYTES {
        return Err(too_long());
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, span) = event.map_err(|e| unreadable(&e))?;
        builder.take(event, span.start.line())?;
    }
    let node = builder.root.filter(|node| !node.is_null());
    node.ok_or_else(|| Error::new(SqlState::SYNTAX_ERROR, "the load configuration is empty"))
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
        shown.push_str("...");
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
    /// Nothing, or a plain scalar that stands for nothing.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Value, parse};
    use super::*;
    use proptest::prelude::*;

    fn message(text: &str) -> String {
        parse(text).and_then(Value::map).unwrap_err().message
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
