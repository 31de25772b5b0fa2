//! Typed access to the tree of a load configuration that names line and path of every mistake and
//! reports every key nobody asked for.

use super::yaml::{self, Content, Entry, Node, error_at, shown};
use crate::error::{Error, Result, SqlState};
use crate::suggest;
use serde_json::Number;
use std::collections::HashMap;

/// Lists and mappings inside each other in a value that is taken as JSON: few enough that it can be
/// written at another depth.
const MAX_JSON_DEPTH: usize = 16;

/// How messages spell the keys: as the documentation of the file's version does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// Versions 1 and 2.
    Upper,
    /// Version v3.
    Lower,
}

/// Where a value stands.
#[derive(Clone, Debug)]
pub(super) struct Location {
    line: usize,
    /// Its keys from the top, joined by colons as the GPSS documentation does.
    path: String,
    case: Case,
}

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Value {
    place: Location,
    node: Node,
}

/// A mapping whose keys are taken one by one; what is left at the end is unknown.
///
/// Each key may stand there in upper and in lower case, whatever the version and however the code
/// that asks for it spells it.
#[derive(Debug)]
pub(super) struct Map {
    place: Location,
    entries: Vec<Entry>,
    /// The keys that were asked for: together the keys that may stand here.
    known: Vec<&'static str>,
    /// Those of them that are refused or do nothing.
    useless: Vec<&'static str>,
    /// Keys that belong into the mapping of one of the keys here, and which that is.
    deeper: Vec<(&'static str, &'static str)>,
}

impl Location {
    /// An error about what stands here: its line and path, then `what`.
    pub(super) fn error(&self, what: &str) -> Error {
        error_at(self.line, format!("{} {what}", self.name()))
    }

    /// The same for a value of the right type that is not allowed.
    pub(super) fn invalid(&self, what: &str) -> Error {
        Error { sqlstate: SqlState::INVALID_PARAMETER, ..self.error(what) }
    }

    /// The refusal of something that GPSS has and we do not.
    pub(super) fn unsupported(&self, what: &str, hint: &str) -> Error {
        Error { sqlstate: SqlState::FEATURE_NOT_SUPPORTED, ..self.error(what) }.hint(hint)
    }

    /// An error from elsewhere, with its line and path in front.
    pub(super) fn locate(&self, mut error: Error) -> Error {
        error.message = format!("line {}: {}: {}", self.line, self.name(), error.message);
        error
    }

    /// An error whose message goes on where this place's name ends.
    pub(super) fn about(&self, mut error: Error) -> Error {
        error.message = format!("line {}: {} {}", self.line, self.name(), error.message);
        error
    }

    /// The refusal of a mapping without one of its keys.
    pub(super) fn lacks(&self, key: &str) -> Error {
        self.error(&format!("lacks the key {}", self.case.of(key)))
    }

    /// A key as messages about this file spell it.
    pub(super) fn spelled(&self, key: &str) -> String {
        self.case.of(key)
    }

    /// The path as a message names it.
    fn name(&self) -> &str {
        if self.path.is_empty() { "the load configuration" } else { &self.path }
    }

    fn child(&self, key: &str, line: usize) -> Location {
        let path =
            if self.path.is_empty() { key.to_owned() } else { format!("{}:{key}", self.path) };
        Location { line, path, case: self.case }
    }
}

impl Case {
    fn of(self, key: &str) -> String {
        match self {
            Case::Upper => key.to_ascii_uppercase(),
            Case::Lower => key.to_ascii_lowercase(),
        }
    }
}

/// The top of a text's tree.
///
/// # Errors
/// As `yaml::parse`.
pub(super) fn parse(text: &str) -> Result<Value> {
    Ok(Value::root(yaml::parse(text)?))
}

impl Value {
    fn root(node: Node) -> Value {
        let place = Location { line: node.line, path: String::new(), case: Case::Upper };
        Value { place, node }
    }

    pub(super) fn place(&self) -> Location {
        self.place.clone()
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.content, Content::Map(_))
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.content, Content::List(_))
    }

    /// The scalar as it is written, whatever type YAML would give it.
    ///
    /// # Errors
    /// A list, a mapping, or no value.
    pub(super) fn text(self) -> Result<String> {
        if self.node.is_null() {
            return Err(self.no_value());
        }
        self.any_text()
    }

    /// The refusal of a scalar that YAML takes for nothing.
    fn no_value(&self) -> Error {
        let error = self.place.error("has no value");
        match &self.node.content {
            Content::Scalar { text, plain: true } if !text.is_empty() => error
                .detail(format!("Without quotes, {text} stands for no value in YAML."))
                .hint(format!("Write '{text}' if the text is meant.")),
            _ => error,
        }
    }

    /// The scalar as SQL, where `null` is a value.
    ///
    /// # Errors
    /// A list, a mapping, or nothing but blanks.
    pub(super) fn sql(self) -> Result<String> {
        match &self.node.content {
            Content::Scalar { text, plain } if text.trim().is_empty() || *plain && text == "~" => {
                Err(self.no_value())
            }
            _ => self.any_text(),
        }
    }

    fn any_text(self) -> Result<String> {
        let (kind, sign) = match self.node.content {
            Content::Scalar { text, .. } => return Ok(text),
            Content::List(_) => ("list", '['),
            Content::Map(_) => ("mapping", '{'),
        };
        Err(self
            .place
            .error(&format!("must be a single value, not a {kind}"))
            .hint(format!("Put a value that begins with \"{sign}\" in quotes.")))
    }

    /// A whole number from zero to what a bigint holds.
    pub(super) fn integer(self) -> Result<u64> {
        let place = self.place();
        let text = self.text()?;
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<i64>()
            .ok()
            .filter(|_| digits)
            .and_then(|number| u64::try_from(number).ok())
            .ok_or_else(|| place.invalid("must be a whole number, zero or more"))
    }

    /// A whole number that a bigint holds.
    pub(super) fn signed(self) -> Result<i64> {
        let place = self.place();
        let text = self.text()?;
        text.parse().map_err(|_| place.invalid("must be a whole number"))
    }

    pub(super) fn list(self) -> Result<Vec<Value>> {
        let Location { path, case, .. } = &self.place;
        match self.node.content {
            Content::List(nodes) => Ok(nodes
                .into_iter()
                .enumerate()
                .map(|(i, node)| {
                    let path = format!("{path}[{}]", i + 1);
                    Value { place: Location { line: node.line, path, case: *case }, node }
                })
                .collect()),
            _ => Err(self.place.error("must be a list")),
        }
    }

    pub(super) fn map(self) -> Result<Map> {
        match self.node.content {
            Content::Map(entries) => {
                refuse_duplicates(&self.place, &entries)?;
                Ok(Map::new(self.place, entries))
            }
            _ => Err(self.place.error("must be a mapping of keys to values")),
        }
    }

    /// `map`, where no value is a mapping without keys.
    pub(super) fn map_or_empty(self) -> Result<Map> {
        if self.node.is_null() {
            return Ok(Map::new(self.place, Vec::new()));
        }
        self.map()
    }
}

/// A node as JSON: scalars without quotes are what YAML 1.2 takes them for, as far as JSON has it;
/// a number that would lose digits stays a text. `place` is that of the value the node belongs to.
fn json(node: Node, place: &Location, depth: usize) -> Result<serde_json::Value> {
    if depth > MAX_JSON_DEPTH {
        return Err(error_at(node.line, format!("{} is nested too deeply", place.name())));
    }
    let null = node.is_null();
    Ok(match node.content {
        Content::Scalar { .. } if null => serde_json::Value::Null,
        Content::Scalar { text, plain: true } => typed(text),
        Content::Scalar { text, .. } => text.into(),
        Content::List(nodes) => {
            nodes.into_iter().map(|node| json(node, place, depth + 1)).collect::<Result<_>>()?
        }
        Content::Map(entries) => serde_json::Value::Object(json_map(entries, place, depth)?),
    })
}

fn json_map(
    entries: Vec<Entry>,
    place: &Location,
    depth: usize,
) -> Result<serde_json::Map<String, serde_json::Value>> {
    refuse_duplicates(place, &entries)?;
    entries.into_iter().map(|e| Ok((e.key, json(e.node, place, depth + 1)?))).collect()
}

/// A scalar without quotes as JSON.
fn typed(text: String) -> serde_json::Value {
    match text.as_str() {
        "true" | "True" | "TRUE" => return true.into(),
        "false" | "False" | "FALSE" => return false.into(),
        _ => {}
    }
    // JSON's own grammar of numbers is stricter than Rust's: no "+1", "007", "inf" or ".5".
    let is_number = serde_json::from_str::<Number>(&text).is_ok();
    let whole = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let number = match whole {
        _ if !is_number => None,
        true => text.parse().map(i64::into).or_else(|_| text.parse().map(u64::into)).ok(),
        false => text.parse().ok().and_then(Number::from_f64),
    };
    number.map_or_else(|| text.into(), serde_json::Value::Number)
}

fn refuse_duplicates(place: &Location, entries: &[Entry]) -> Result<()> {
    let mut lines = HashMap::with_capacity(entries.len());
    for entry in entries {
        if let Some(first) = lines.insert(entry.key.as_str(), entry.line) {
            return Err(duplicate(place, &entry.key, first, entry.line));
        }
    }
    Ok(())
}

fn duplicate(place: &Location, key: &str, first: usize, second: usize) -> Error {
    error_at(second, format!("duplicate key \"{}\" in {}", shown(key), place.name()))
        .detail(format!("It stands in line {first} as well."))
}

impl Map {
    fn new(place: Location, entries: Vec<Entry>) -> Map {
        Map { place, entries, known: vec![], useless: vec![], deeper: vec![] }
    }

    pub(super) fn place(&self) -> Location {
        self.place.clone()
    }

    /// The same mapping of a version that spells its keys so.
    pub(super) fn in_case(mut self, case: Case) -> Map {
        self.place.case = case;
        self
    }

    /// Whether the key stands here and was not taken yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.position(key).is_some()
    }

    /// Takes a key's value out of the mapping; None when it is absent or has no value.
    pub(super) fn take(&mut self, key: &'static str) -> Result<Option<Value>> {
        Ok(self.take_any(key)?.filter(|value| !value.node.is_null()))
    }

    /// `take` of a key that must be there.
    pub(super) fn require(&mut self, key: &'static str) -> Result<Value> {
        match self.take_any(key)? {
            Some(value) if value.node.is_null() => Err(value.no_value()),
            Some(value) => Ok(value),
            None => Err(self.missing(key)),
        }
    }

    /// `require` of a key whose value may be none, for `Value::sql` and `Value::map_or_empty`.
    pub(super) fn require_any(&mut self, key: &'static str) -> Result<Value> {
        match self.take_any(key)? {
            Some(value) => Ok(value),
            None => Err(self.missing(key)),
        }
    }

    /// `take` as a text.
    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>> {
        self.take(key)?.map(Value::text).transpose()
    }

    /// Takes keys that have no meaning here, and of which everybody knows that.
    pub(super) fn ignore(&mut self, keys: &[&'static str]) -> Result<()> {
        self.useless.extend(keys);
        keys.iter().try_for_each(|key| self.take_any(key).map(drop))
    }

    /// Takes keys that have no meaning here, and says so.
    pub(super) fn unused(
        &mut self,
        keys: &[&'static str],
        why: &str,
        notices: &mut Vec<String>,
    ) -> Result<()> {
        self.useless.extend(keys);
        for key in keys {
            if self.take(key)?.is_some() {
                notices.push(format!("{} is not used: {why}", self.place.spelled(key)));
            }
        }
        Ok(())
    }

    /// Refuses keys that GPSS has and we do not, so that none is silently ignored.
    pub(super) fn unsupported(&mut self, keys: &[&'static str], hint: &str) -> Result<()> {
        self.useless.extend(keys);
        for key in keys {
            // Also without a value: `s3:` chooses a source.
            if let Some(value) = self.take_any(key)? {
                return Err(value.place.unsupported("is not supported", hint));
            }
        }
        Ok(())
    }

    /// Refuses keys that another version of the format has in this place.
    pub(super) fn misplaced(&self, keys: &[&str], version: &str, hint: &str) -> Result<()> {
        for key in keys {
            if let Some(entry) = self.position(key).and_then(|at| self.entries.get(at)) {
                let place = self.place.child(&entry.key, entry.line);
                return Err(place.error(&format!("belongs to {version} of the format")).hint(hint));
            }
        }
        Ok(())
    }

    /// Says which keys belong into the mapping of `key`, for who writes one of them here.
    pub(super) fn has_deeper(
        &mut self,
        key: &'static str,
        keys: impl IntoIterator<Item = &'static str>,
    ) {
        self.deeper.extend(keys.into_iter().map(|deeper| (deeper, key)));
    }

    /// All keys and values in their order, for a mapping with keys of the user's own.
    pub(super) fn into_pairs(self) -> Vec<(String, Value)> {
        let place = self.place;
        let value = |entry: Entry| {
            let place = place.child(&shown(&entry.key), entry.node.line);
            (entry.key, Value { place, node: entry.node })
        };
        self.entries.into_iter().map(value).collect()
    }

    /// A mapping with keys of the user's own as JSON.
    pub(super) fn json(self) -> Result<serde_json::Map<String, serde_json::Value>> {
        json_map(self.entries, &self.place, 0)
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

    /// The error for a key that must be there and is not.
    pub(super) fn missing(&self, key: &'static str) -> Error {
        // A misspelt required key is both missing and unknown; what stands there tells more.
        match self.entries.iter().find(|entry| suggest::nearest(&entry.key, [key]).is_some()) {
            Some(entry) => self.unknown(entry),
            None => self.place.lacks(key),
        }
    }

    fn take_any(&mut self, key: &'static str) -> Result<Option<Value>> {
        self.known.push(key);
        let Some(at) = self.position(key) else {
            return Ok(None);
        };
        let entry = self.entries.remove(at);
        let key = self.place.spelled(key);
        if let Some(other) = self.position(&key).and_then(|at| self.entries.get(at)) {
            let (first, second) = (entry.line.min(other.line), entry.line.max(other.line));
            return Err(duplicate(&self.place, &key, first, second));
        }
        let place = self.place.child(&key, entry.node.line);
        Ok(Some(Value { place, node: entry.node }))
    }

    fn position(&self, key: &str) -> Option<usize> {
        let spellings = [key.to_ascii_uppercase(), key.to_ascii_lowercase()];
        self.entries.iter().position(|entry| spellings.contains(&entry.key))
    }

    fn unknown(&self, entry: &Entry) -> Error {
        let message = format!("unknown key \"{}\" in {}", shown(&entry.key), self.place.name());
        let mut error = error_at(entry.line, message);
        let spelled = |keys: &[&str]| keys.iter().map(|key| self.place.spelled(key)).collect();
        let known: Vec<String> = spelled(&self.known);
        error.hint = suggest::hint(&entry.key, known.iter().map(String::as_str))
            .or_else(|| self.deeper_hint(&entry.key))
            .or_else(|| {
                let useful = self.known.iter().filter(|key| !self.useless.contains(key));
                let useful: Vec<String> = spelled(&useful.copied().collect::<Vec<_>>());
                let list = format!("Valid keys in this context are: {}.", useful.join(", "));
                (!useful.is_empty()).then_some(list)
            });
        error
    }

    fn deeper_hint(&self, key: &str) -> Option<String> {
        let near = suggest::nearest(key, self.deeper.iter().map(|(deeper, _)| *deeper))?;
        let (_, above) = self.deeper.iter().find(|(deeper, _)| *deeper == near)?;
        let (near, above) = (self.place.spelled(near), self.place.spelled(above));
        Some(format!("Perhaps you meant \"{near}\" in {above}."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> Map {
        parse(text).unwrap().map().unwrap()
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
            parse("[1]").and_then(Value::map).unwrap_err().message,
            "line 1: the load configuration must be a mapping of keys to values"
        );
    }

    #[test]
    fn null_is_no_value_except_as_sql() {
        let mut m = map("A:\nB: ~\nC: null\nD: null\n");
        assert!(m.take("A").unwrap().is_none() && m.take("B").unwrap().is_none());
        assert!(m.take("C").unwrap().is_none());
        assert_eq!(m.require_any("D").unwrap().sql().unwrap(), "null");
    }

    #[test]
    fn a_version_spells_its_keys() {
        let mut m = map("a:\n  TOPIC: [t]\n  brokrs: k\n").in_case(Case::Lower);
        let mut a = m.require("A").unwrap().map().unwrap();
        let error = a.text("TOPIC").unwrap_err();
        assert_eq!(error.message, "line 2: a:topic must be a single value, not a list");
        let error = a.require("BROKERS").unwrap_err();
        assert_eq!(error.message, "line 3: unknown key \"brokrs\" in a");
        assert_eq!(error.hint.unwrap(), "Perhaps you meant \"brokers\".");
    }

    #[test]
    fn plain_scalars_as_json() {
        let text = "A: [1, -2, 1.5, 1e3, true, null, ~, 'true', '1', 007, 0x1, +1, .5, .inf, yes, \
                    18446744073709551615, 99999999999999999999, 1e999, [a, {b: 2}]]";
        let json = map(text).json().unwrap().remove("A").unwrap();
        assert_eq!(
            json.to_string(),
            concat!(
                r#"[1,-2,1.5,1000.0,true,null,null,"true","1","007","0x1","+1",".5",".inf","yes","#,
                r#"18446744073709551615,"99999999999999999999","1e999",["a",{"b":2}]]"#
            )
        );
    }

    #[test]
    fn json_is_bounded_and_its_keys_are_distinct() {
        let text = format!("A: {}{}", "[".repeat(17), "]".repeat(17));
        let error = map(&text).json().unwrap_err();
        assert_eq!(error.message, "line 1: the load configuration is nested too deeply");
        let error = map("A:\n  - {b: 1, b: 2}").json().unwrap_err();
        assert_eq!(error.message, "line 2: duplicate key \"b\" in the load configuration");
    }

    #[test]
    fn signed_numbers() {
        let mut m = map("A: -1\nB: 7\nC: 1.5\nD: 99999999999999999999");
        assert_eq!(m.require("A").unwrap().signed(), Ok(-1));
        assert_eq!(m.require("B").unwrap().signed(), Ok(7));
        for key in ["C", "D"] {
            let error = m.require(key).unwrap().signed().unwrap_err();
            assert!(error.message.ends_with("must be a whole number"), "{error}");
        }
    }
}
