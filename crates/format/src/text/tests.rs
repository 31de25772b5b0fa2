//! Tests of the text decoder: by hand and against PostgreSQL's COPY.

use super::super::corpus::{self, Values, columns, fault, rows};
use super::*;
use gpss_model::format::Format;
use proptest::prelude::*;

fn decode(options: &[(&str, &str)], count: usize, text: &str) -> Result<Vec<Values>, String> {
    let content = FormatSpec::with_options(Format::Text, options.iter().copied()).unwrap();
    let mut decoder = TextDecoder::new(&content, &columns(count)).unwrap();
    corpus::decode(&mut decoder, text.as_bytes())
}

/// `tests/corpus/csv/generate.sql` says what the cases are.
#[test]
fn decodes_the_corpus_as_copy_did() {
    corpus::check(Format::Text, include_str!("../../../../tests/corpus/text/expected.jsonl"));
    corpus::check_file(Format::Text, "GPSS_TEXT_CASES");
}

#[test]
fn the_end_mark_ends_the_data_wherever_it_stands() {
    assert_eq!(decode(&[], 1, "a\n\\.\nb\n"), rows(&[&["a"]]));
    assert_eq!(decode(&[], 1, "a\\.\nb\n"), rows(&[&["a"]]));
    assert_eq!(decode(&[], 1, "a\nb\\.\n"), rows(&[&["a"], &["b"]]));
    assert_eq!(decode(&[("header", "1")], 1, "a\\.\nb\n"), rows(&[]));
    assert_eq!(decode(&[], 1, "a\\.b\n"), fault("end-of-copy marker corrupt"));
    assert_eq!(decode(&[], 1, "a\n\\."), fault("end-of-copy marker corrupt"));
    let other = "end-of-copy marker does not match previous newline style";
    assert_eq!(decode(&[], 1, "a\n\\.\r"), fault(other));
}

#[test]
fn missing_fields_are_filled_when_asked_to() {
    let fill = [("fill_missing_fields", "true")];
    assert_eq!(
        decode(&fill, 3, "1\n1\t\\N\n1\t\t\n"),
        rows(&[&["1", "-", "-"], &["1", "-", "-"], &["1", "", ""]])
    );
    let empty = "missing data for column \"c1\", found empty data line";
    assert_eq!(decode(&fill, 2, "\n"), fault(empty));
    assert_eq!(decode(&[], 2, "1\n"), fault("missing data for column \"c1\""));
}

#[test]
fn what_is_wrong_with_the_line_goes_before_what_is_wrong_with_a_field() {
    let carriage_return = "literal carriage return found in data";
    assert_eq!(decode(&[], 1, "a\n\\377\r\n"), fault(carriage_return));
    let bytes = "invalid byte sequence for encoding \"UTF8\": 0xff";
    assert_eq!(decode(&[], 1, "a\tb\t\\377\n"), fault(bytes));
    assert_eq!(decode(&[("header", "on")], 1, "\\377\nb\n"), rows(&[&["b"]]));
    // The row after a bad header begins anew.
    assert_eq!(decode(&[], 1, "\\303\\251\n"), rows(&[&["é"]]));
    assert_eq!(decode(&[("null", "\\377")], 1, "\\377\n"), rows(&[&["-"]]));
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    for (options, message) in [
        (&[("delimiter", "ab")][..], "option \"delimiter\" must be a single one-byte character"),
        (&[("delimiter", "n")], "option \"delimiter\" cannot be \"n\""),
        (&[("delimiter", "\\")], "option \"delimiter\" cannot be \"\\\""),
        (&[("delimiter", "\r")], "option \"delimiter\" cannot be newline or carriage return"),
        (&[("delimiter", "N")], "option \"delimiter\" must not appear in option \"null\""),
        (&[("null", "\n")], "option \"null\" cannot contain newline or carriage return"),
    ] {
        let content = FormatSpec::with_options(Format::Text, options.iter().copied()).unwrap();
        let error = TextDecoder::new(&content, &columns(2)).unwrap_err();
        assert_eq!(error.message, message);
    }
}

proptest! {
    /// What COPY TO would write is read back.
    #[test]
    fn escaped_values_come_back(
        values in prop::collection::vec(
            prop::collection::vec(prop::option::of("[aN\t\r\n\\\\.é\u{b}]{0,20}"), 3),
            0..5,
        ),
    ) {
        let escaped = |text: &str| {
            text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
        };
        let field = |value: &Option<String>| value.as_deref().map_or("\\N".to_owned(), escaped);
        let line = |row: &Vec<_>| row.iter().map(field).collect::<Vec<_>>().join("\t");
        let text: String = values.iter().map(|row| line(row) + "\n").collect();
        prop_assert_eq!(decode(&[], 3, &text), Ok(values));
    }
}
