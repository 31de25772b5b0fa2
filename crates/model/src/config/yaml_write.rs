//! A tree → YAML text that `yaml` reads as the same tree, with templates filled from nothing.

use std::fmt::Write;

/// Characters of a key that YAML takes without a question mark in front are 1,024 at most.
const MAX_SIMPLE_KEY: usize = 1_000;

/// What is written.
#[derive(Clone, Debug)]
pub(super) enum Yaml {
    /// In quotes where another reader would take it for something else.
    Text(String),
    /// A number, `true`, `false` or `null`: as it is.
    Bare(String),
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
}

impl Yaml {
    pub(super) fn text(text: impl Into<String>) -> Yaml {
        Yaml::Text(text.into())
    }

    pub(super) fn bare(value: impl ToString) -> Yaml {
        Yaml::Bare(value.to_string())
    }

    pub(super) fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Yaml {
        Yaml::List(texts.into_iter().map(Yaml::text).collect())
    }

    /// A mapping with those of the keys that have a value.
    pub(super) fn map<const N: usize>(pairs: [(&str, Option<Yaml>); N]) -> Yaml {
        let given = pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        Yaml::Map(given.collect())
    }

    /// A document.
    pub(super) fn document(&self) -> String {
        let mut text = String::new();
        match self {
            Yaml::Map(pairs) if !pairs.is_empty() => map(&mut text, pairs, 0),
            Yaml::List(items) if !items.is_empty() => list(&mut text, items, 0),
            value => after_sign(&mut text, value, 0),
        }
        text
    }
}

fn map(text: &mut String, pairs: &[(String, Yaml)], depth: usize) {
    for (i, (key, value)) in pairs.iter().enumerate() {
        // A mapping in a list begins in the line of its dash.
        if i > 0 || !text.ends_with("- ") {
            indent(text, depth);
        }
        let key = one_line(key);
        match key.chars().count() {
            0..=MAX_SIMPLE_KEY => write_all(text, &[&key, ":"]),
            _ => {
                write_all(text, &["? ", &key, "\n"]);
                indent(text, depth);
                text.push(':');
            }
        }
        after_sign(text, value, depth + 1);
    }
}

fn list(text: &mut String, items: &[Yaml], depth: usize) {
    for item in items {
        indent(text, depth);
        text.push('-');
        match item {
            Yaml::Map(pairs) if !pairs.is_empty() => {
                text.push(' ');
                map(text, pairs, depth + 1);
            }
            item => after_sign(text, item, depth + 1),
        }
    }
}

/// A value behind the colon of its key or the dash of its list, to the end of its last line.
fn after_sign(text: &mut String, value: &Yaml, depth: usize) {
    match value {
        Yaml::Text(value) if is_block(value) => block(text, value, depth),
        Yaml::Text(value) => write_all(text, &[" ", &one_line(value), "\n"]),
        Yaml::Bare(value) => write_all(text, &[" ", value, "\n"]),
        Yaml::List(items) if items.is_empty() => text.push_str(" []\n"),
        Yaml::Map(pairs) if pairs.is_empty() => text.push_str(" {}\n"),
        Yaml::List(items) => {
            text.push('\n');
            list(text, items, depth);
        }
        Yaml::Map(pairs) => {
            text.push('\n');
            map(text, pairs, depth);
        }
    }
}

fn write_all(text: &mut String, parts: &[&str]) {
    text.extend(parts.iter().copied());
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

/// Whether a text of several lines comes back from a block of lines as it was.
fn is_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.starts_with([' ', '\n'])
        && !body.ends_with('\n')
        && !text.contains("{{")
        && body.split('\n').all(|line| line.is_empty() || !line.trim_end().is_empty())
        && text.chars().all(|c| c == '\n' || is_printable(c))
}

fn block(text: &mut String, value: &str, depth: usize) {
    let (body, sign) = match value.strip_suffix('\n') {
        Some(body) => (body, " |\n"),
        None => (value, " |-\n"),
    };
    text.push_str(sign);
    for line in body.split('\n') {
        if !line.is_empty() {
            indent(text, depth);
            text.push_str(line);
        }
        text.push('\n');
    }
}

fn one_line(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

/// Whether a text may stand without quotes: less than YAML allows, and nothing that a reader of
/// YAML 1.1 or 1.2 would take for a number, a date or a truth value.
fn is_plain(text: &str) -> bool {
    let word = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '/' | '('))
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.contains("{{")
        && text.chars().all(|c| c.is_ascii() && is_printable(c) || c.is_alphanumeric())
        && !word.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// No control character, Unicode line break, byte order mark or noncharacter.
fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    let mut signs = text.chars().peekable();
    while let Some(c) = signs.next() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            // Two of them would begin a template.
            '{' if signs.peek() == Some(&'{') => quoted.push_str("\\x7b"),
            c if is_printable(c) => quoted.push(c),
            c => {
                let code = u32::from(c);
                // Writing to a String does not fail.
                let _ = match code {
                    0..=0xff => write!(quoted, "\\x{code:02x}"),
                    0x100..=0xffff => write!(quoted, "\\u{code:04x}"),
                    _ => write!(quoted, "\\U{code:08x}"),
                };
            }
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::super::{template, tree};
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn read(text: &str) -> serde_json::Value {
        let filled = template::fill(text, &BTreeMap::new()).unwrap();
        tree::parse(&filled.text).unwrap().map().unwrap().json().unwrap().into()
    }

    #[test]
    fn easy_to_read() {
        let tree = Yaml::map([
            ("plain", Some(Yaml::text("(j->>'a')::int"))),
            ("number", Some(Yaml::bare(5))),
            ("text", Some(Yaml::text("5"))),
            ("template", Some(Yaml::text("{{x}}"))),
            ("absent", None),
            ("lines", Some(Yaml::text("select 1\n  # ok\n\nfrom t"))),
            ("none", Some(Yaml::map([]))),
            (
                "list",
                Some(Yaml::List(vec![
                    Yaml::map([("a", Some(Yaml::bare(true)))]),
                    Yaml::texts(["b: c"]),
                ])),
            ),
        ]);
        let text = "\
plain: (j->>'a')::int
number: 5
text: \"5\"
template: \"\\x7b{x}}\"
lines: |-
  select 1
    # ok

  from t
none: {}
list:
  - a: true
  -
    - \"b: c\"
";
        assert_eq!(tree.document(), text);
    }

    fn nasty() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{0,12}",
            prop::collection::vec(
                prop::sample::select(vec![
                    "a", "select", "1", ":", ": ", " ", "  ", "#", " #", "\n", "\n\n", "\r", "\t",
                    "\"", "'", "\\", "{{x}}", "{", "}", "[", "]", ",", "-", "- ", "?", "&", "*",
                    "!", "|", ">", "%", "@", "`", "~", "null", "true", "\u{85}", "\u{2028}",
                    "\u{feff}", "\u{a0}", "ä", "😀", "---", "...", "\x07", "<<", "=", "\u{ffff}",
                ]),
                0..8,
            )
            .prop_map(|parts| parts.concat()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn a_text_comes_back(
            pairs in prop::collection::btree_map(nasty(), (nasty(), nasty()), 1..4),
        ) {
            let tree = Yaml::Map(
                pairs
                    .iter()
                    .map(|(key, (a, b))| {
                        let inner = Yaml::map([("k", Some(Yaml::text(b)))]);
                        let list = Yaml::List(vec![Yaml::text(a), inner, Yaml::texts([b])]);
                        (key.clone(), list)
                    })
                    .collect(),
            );
            let wanted: serde_json::Map<_, _> = pairs
                .into_iter()
                .map(|(key, (a, b))| (key, serde_json::json!([a, {"k": &b}, [&b]])))
                .collect();
            prop_assert_eq!(read(&tree.document()), serde_json::Value::Object(wanted));
        }
    }

    #[test]
    fn a_long_key_comes_back() {
        let key = "k: ".repeat(2_000);
        let inner = Yaml::Map(vec![(key.clone(), Yaml::text("v")), ("b".into(), Yaml::text("w"))]);
        let tree = Yaml::map([("list", Some(Yaml::List(vec![inner])))]);
        let wanted = serde_json::json!({"list": [{ key: "v", "b": "w" }]});
        assert_eq!(read(&tree.document()), wanted);
    }
}
