//! Reads the cases that PostgreSQL's COPY was asked about: `tests/corpus/csv/generate.sql` says what
//! they look like.

use super::record::{Decode, Fault};
use super::text_decoder;
use gpss_model::format::{Format, FormatSpec};
use serde_json::Value as Json;

/// A row's values.
pub(super) type Values = Vec<Option<String>>;

/// The records of a payload, or what is wrong with it.
pub(super) fn decode(decoder: &mut dyn Decode, payload: &[u8]) -> Result<Vec<Values>, String> {
    let mut rows = Vec::new();
    let done = decoder.decode(payload, &mut |record| {
        assert_eq!(record.document, None);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        rows.push(record.fields.iter().map(|field| field.map(text)).collect());
        Ok(())
    });
    match done {
        Ok(()) => Ok(rows),
        Err(Fault::Bad(reason)) => Err(without_line(reason)),
        Err(Fault::Failed(error)) => panic!("a decoder of text cannot fail: {error}"),
    }
}

/// The reason without `line N: `, which COPY has in its CONTEXT.
fn without_line(reason: String) -> String {
    let rest = reason.strip_prefix("line ").and_then(|rest| rest.split_once(": "));
    match rest {
        Some((number, rest)) if number.parse::<usize>().is_ok() => rest.to_owned(),
        _ => reason,
    }
}

/// The names `c0`, `c1` and so on.
pub(super) fn columns(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("c{i}")).collect()
}

/// Rows of fields; NULL is written as `-`.
pub(super) fn rows(rows: &[&[&str]]) -> Result<Vec<Values>, String> {
    let value = |field: &&str| (*field != "-").then(|| (*field).to_owned());
    Ok(rows.iter().map(|row| row.iter().map(value).collect()).collect())
}

pub(super) fn fault(message: &str) -> Result<Vec<Values>, String> {
    Err(message.to_owned())
}

/// What is checked when a decoder is made says so in our words.
fn is_refused(error: &str) -> bool {
    [
        "COPY delimiter",
        "COPY null",
        "COPY quote",
        "COPY escape",
        "CSV quote",
        "COPY force",
        "FORCE_",
    ]
    .iter()
    .any(|begin| error.starts_with(begin))
}

/// Decodes the cases, one per line, as COPY did; returns how many there were.
pub(super) fn check(format: Format, cases: &str) -> usize {
    let mut differences = 0;
    for line in cases.lines() {
        let case: Json = serde_json::from_str(line).unwrap();
        assert_eq!(case["format"], format.name());
        let options = case["options"].as_object().unwrap();
        let options = options.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
        let content = FormatSpec::with_options(format, options).unwrap();
        let columns: Vec<_> = strings(&case["columns"]).map(Option::unwrap).collect();
        let payload = match case["payload"].as_str() {
            Some(text) => text.as_bytes().to_vec(),
            None => from_hex(case["hex"].as_str().unwrap()),
        };
        let want = match case["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => {
                Ok(case["rows"].as_array().unwrap().iter().map(|r| strings(r).collect()).collect())
            }
        };
        let got = match text_decoder(&content, &columns) {
            Ok(mut decoder) => decode(decoder.as_mut(), &payload),
            Err(error) => {
                assert!(want.as_ref().is_err_and(|e| is_refused(e)), "{line}\n{error}");
                continue;
            }
        };
        // We look at a message's encoding first; COPY may find something else before, or `\.`.
        let no_text = std::str::from_utf8(&payload).is_err() || payload.contains(&0);
        if no_text {
            let reason = got.as_ref().expect_err(line);
            assert!(reason.starts_with("invalid byte sequence for encoding"), "{line}\n{reason}");
            continue;
        }
        if got != want {
            eprintln!("{line}\n gave {got:?}");
            differences += 1;
        }
    }
    assert_eq!(differences, 0);
    cases.lines().count()
}

/// More cases, from the file that an environment variable names.
pub(super) fn check_file(format: Format, variable: &str) {
    if let Ok(path) = std::env::var(variable) {
        let count = check(format, &std::fs::read_to_string(path).unwrap());
        eprintln!("{count} cases");
    }
}

fn strings(array: &Json) -> impl Iterator<Item = Option<String>> {
    array.as_array().unwrap().iter().map(|value| value.as_str().map(str::to_owned))
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) * 16 + digit(pair[1])).collect()
}
