//! `{{name}}` in a load configuration: replaced by the text of a property before YAML is read.

use super::yaml;
use crate::error::{Error, Result, SqlState};
use crate::suggest;
use std::collections::{BTreeMap, BTreeSet};

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// A text without templates, and the properties that no template names.
#[derive(Debug)]
pub(super) struct Filled {
    pub text: String,
    pub unused: Vec<String>,
}

/// Replaces each `{{name}}`; a value goes in as text and is not searched for templates itself.
///
/// Braces around anything but a name are left alone: `'{{1,2},{3,4}}'` is an SQL array.
///
/// # Errors
/// A name without a property, with its line; a result that is too long to be a configuration.
pub(super) fn fill(config: &str, properties: &BTreeMap<String, String>) -> Result<Filled> {
    let mut text = String::with_capacity(config.len());
    let mut used = BTreeSet::new();
    let mut rest = config;
    while let Some((before, from_open)) = rest.find(OPEN).and_then(|at| rest.split_at_checked(at)) {
        text.push_str(before);
        match template(from_open) {
            Some((name, after)) => {
                let Some(value) = properties.get(name) else {
                    let line = 1 + lines(config) - lines(from_open);
                    return Err(unset(name, line, properties));
                };
                text.push_str(value);
                used.insert(name);
                rest = after;
            }
            None => {
                text.push('{');
                rest = from_open.get(1..).unwrap_or_default();
            }
        }
        // In the loop, so that a long value in many places is not built up first.
        if text.len() > yaml::MAX_BYTES {
            return Err(yaml::too_long());
        }
    }
    text.push_str(rest);
    let unused = properties.keys().filter(|name| !used.contains(name.as_str())).cloned().collect();
    Ok(Filled { text, unused })
}

/// The name of the template at the start of `text` and what follows the template.
fn template(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix(OPEN)?.trim_start_matches(' ');
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let (name, after) = inside.split_at_checked(inside.find(|c| !is_name(c))?)?;
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return None;
    }
    Some((name, after.trim_start_matches(' ').strip_prefix(CLOSE)?))
}

fn lines(text: &str) -> usize {
    text.bytes().filter(|b| *b == b'\n').count()
}

fn unset(name: &str, line: usize, properties: &BTreeMap<String, String>) -> Error {
    let name = yaml::shown(name);
    let message = format!("line {line}: no property is given for the template {{{{{name}}}}}");
    let hint = suggest::hint(&name, properties.keys().map(String::as_str))
        .unwrap_or_else(|| format!("Give it a value: properties => '{{\"{name}\": \"...\"}}'."));
    Error::new(SqlState::INVALID_PARAMETER, message).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(config: &str, properties: &[(&str, &str)]) -> Result<Filled> {
        fill(config, &properties.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect())
    }

    fn text(config: &str, properties: &[(&str, &str)]) -> String {
        filled(config, properties).unwrap().text
    }

    #[test]
    fn names_are_replaced_by_text() {
        assert_eq!(text("a: {{x}}, {{ y.z }}", &[("x", "1"), ("y.z", "2")]), "a: 1, 2");
        assert_eq!(text("{a: {b: {{x}}}}", &[("x", "1")]), "{a: {b: 1}}");
        assert_eq!(text("{{x}}", &[("x", "{{x}}")]), "{{x}}");
        assert_eq!(text("{{{x}}}", &[("x", "1")]), "{1}");
        assert_eq!(filled("{{x}}", &[("x", "1"), ("y", "2")]).unwrap().unused, ["y"]);
    }

    #[test]
    fn other_braces_are_left_alone() {
        for config in ["'{{1,2},{3,4}}'", "{{", "{{}}", "{{a", "{{a}", "{{é}}", "}}", "{ {a} }"] {
            assert_eq!(text(config, &[]), config);
        }
    }

    #[test]
    fn an_unset_name_is_an_error_with_its_line() {
        let error =
            filled("a: {{x}}\nb: {{topc}}\n", &[("x", "\n\n"), ("topic", "t")]).unwrap_err();
        assert_eq!(error.message, "line 2: no property is given for the template {{topc}}");
        assert_eq!(error.hint.unwrap(), "Perhaps you meant \"topic\".");
    }

    #[test]
    fn the_result_is_bounded() {
        let error = filled(&"{{x}}".repeat(1000), &[("x", &"y".repeat(10_000))]).unwrap_err();
        assert_eq!(error.message, "the load configuration is too long");
    }
}
