//! Tests of the delimited decoder: by hand and by the cases of `tests/corpus/delimited`.

use super::super::corpus::{self, Values};
use super::*;
use gpss_model::error::SqlState;
use gpss_model::format::Format;
use proptest::prelude::*;
use serde_json::Value as Json;

fn decode(options: &[(&str, &str)], columns: &[&str], text: &str) -> Result<Vec<Values>, String> {
    let content = FormatSpec::with_options(Format::Delimited, options.iter().copied()).unwrap();
    let columns: Vec<_> = columns.iter().map(|name| (*name).to_owned()).collect();
    let mut decoder = DelimitedDecoder::new(&content, &columns).unwrap();
    corpus::decode(&mut decoder, text.as_bytes())
}

/// One case per line: options, columns, payload, and rows or the fault's words.
#[test]
fn decodes_the_corpus() {
    for line in include_str!("../../../../tests/corpus/delimited/cases.jsonl").lines() {
        let case: Json = serde_json::from_str(line).unwrap();
        let options = case["options"].as_object().unwrap();
        let options: Vec<_> =
            options.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
        let columns = case["columns"].as_array().unwrap();
        let columns: Vec<_> = columns.iter().map(|name| name.as_str().unwrap()).collect();
        let got = match decode(&options, &columns, case["payload"].as_str().unwrap()) {
            Ok(rows) => serde_json::json!({ "rows": rows }),
            Err(error) => serde_json::json!({ "error": error }),
        };
        for key in ["rows", "error"] {
            assert_eq!(got.get(key), case.get(key), "{line}");
        }
    }
}

#[test]
fn options_with_two_meanings_are_refused() {
    let long = "x".repeat(33);
    for (options, message) in [
        (&[][..], "format delimited needs option \"delimiter\""),
        (&[("delimiter", "")], "format delimited needs option \"delimiter\""),
        (&[("delimiter", &long)], "option \"delimiter\" is longer than 32 bytes"),
        (&[("delimiter", "a\nb")], "option \"delimiter\" cannot contain a newline"),
        (
            &[("delimiter", "~'"), ("quote", "'")],
            "option \"quote\" must not appear in option \"delimiter\"",
        ),
        (
            &[("delimiter", "\\|"), ("escape", "\\")],
            "option \"escape\" must not appear in option \"delimiter\"",
        ),
        (
            &[("delimiter", "|"), ("eol_prefix", "\\"), ("escape", "\\")],
            "option \"escape\" must not appear in option \"eol_prefix\"",
        ),
        (
            &[("delimiter", "|"), ("eol_prefix", "|")],
            "options \"delimiter\" and \"eol_prefix\" must be different",
        ),
        (
            &[("delimiter", "|"), ("eol_prefix", &long)],
            "option \"eol_prefix\" is longer than 32 bytes",
        ),
        (&[("delimiter", "|"), ("escape", "\n")], "option \"escape\" cannot be newline"),
        (
            &[("delimiter", "||"), ("null", "a||")],
            "option \"delimiter\" must not appear in option \"null\"",
        ),
        (
            &[("delimiter", "|"), ("quote", "'"), ("null", "''")],
            "option \"quote\" must not appear in option \"null\"",
        ),
    ] {
        let content = FormatSpec::with_options(Format::Delimited, options.iter().copied()).unwrap();
        let error = DelimitedDecoder::new(&content, &[]).unwrap_err();
        assert_eq!((error.sqlstate, &*error.message), (SqlState::INVALID_PARAMETER, message));
    }
    let content = FormatSpec::with_options(Format::Delimited, [("delimiter", &*"x".repeat(32))]);
    assert!(DelimitedDecoder::new(&content.unwrap(), &[]).is_ok());
}

proptest! {
    /// What is written with quotes, or with escapes, is read back.
    #[test]
    fn values_come_back(
        values in prop::collection::vec(prop::collection::vec("[a'~^;\n\\\\é]{0,12}", 2), 0..4),
        prefix in prop::sample::select(vec!["", ";", "~", "##"]),
        quoted in any::<bool>(),
    ) {
        // Unquoted, a value's last bytes and what follows could be taken for a delimiter or an end.
        let plain = |value: &String| value.trim_end_matches(['~', '^', '#', ';']).to_owned();
        let values: Vec<Vec<String>> = if quoted {
            values
        } else {
            values.iter().map(|row| row.iter().map(plain).collect()).collect()
        };
        let mut options = vec![("delimiter", "~^"), ("escape", "\\"), ("null", "NULL")];
        options.push(("eol_prefix", prefix));
        if quoted {
            options.push(("quote", "'"));
        }
        let end = if prefix.is_empty() { "\n" } else { prefix };
        let field = |value: &String| {
            let mut text = String::new();
            let mut rest = value.as_str();
            while let Some(char) = rest.chars().next() {
                // What could be read as the delimiter or an end together with what comes next.
                let meant = ["~^", end].into_iter().filter(|s| rest.starts_with(s));
                let meant = meant.map(str::len).max();
                let len = meant.unwrap_or(char.len_utf8());
                if meant.is_some() || char == '\\' || (quoted && char == '\'') {
                    text.push('\\');
                }
                text.push_str(&rest[..len]);
                rest = &rest[len..];
            }
            if quoted { format!("'{text}'") } else { text }
        };
        let line = |row: &Vec<String>| format!("{}~^{}{prefix}\n", field(&row[0]), field(&row[1]));
        let text: String = values.iter().map(line).collect();
        let want: Vec<Values> =
            values.iter().map(|row| row.iter().map(|v| Some(v.clone())).collect()).collect();
        prop_assert_eq!(decode(&options, &["a", "b"], &text), Ok(want));
    }
}
