//! Tests of the CSV decoder: by hand and against PostgreSQL's COPY.

use super::super::corpus::{self, Values, columns, fault, rows};
use super::*;
use gpss_model::format::Format;
use proptest::prelude::*;

fn decoder(options: &[(&str, &str)], count: usize) -> CsvDecoder {
    let content = FormatSpec::with_options(Format::Csv, options.iter().copied()).unwrap();
    CsvDecoder::new(&content, &columns(count)).unwrap()
}

fn decode(options: &[(&str, &str)], count: usize, text: &str) -> Result<Vec<Values>, String> {
    corpus::decode(&mut decoder(options, count), text.as_bytes())
}

/// `tests/corpus/csv/generate.sql` says what the cases are.
#[test]
fn decodes_the_corpus_as_copy_did() {
    corpus::check(Format::Csv, include_str!("../../../../tests/corpus/csv/expected.jsonl"));
    corpus::check_file(Format::Csv, "GPSS_CSV_CASES");
}

#[test]
fn missing_fields_are_filled_when_asked_to() {
    let fill = [("fill_missing_fields", "true")];
    assert_eq!(
        decode(&fill, 3, "1\n1,2\n1,2,\n"),
        rows(&[&["1", "-", "-"], &["1", "2", "-"], &["1", "2", "-"]])
    );
    // Where the field is missing, there is nothing to be forced.
    let force = [("fill_missing_fields", "on"), ("force_not_null", "c1,c2")];
    assert_eq!(decode(&force, 3, "1,"), rows(&[&["1", "", "-"]]));
    assert_eq!(decode(&fill, 2, "1,2,3"), fault("extra data after last expected column"));
    let empty = "missing data for column \"c1\", found empty data line";
    assert_eq!(decode(&fill, 2, "1,2\n\n"), fault(empty));
    assert_eq!(decode(&fill, 1, "\n"), rows(&[&["-"]]));
    assert_eq!(decode(&[], 2, "1,2\n\n"), fault("missing data for column \"c1\""));
}

#[test]
fn without_columns_only_empty_lines_are_rows() {
    assert_eq!(decode(&[], 0, "\n\n"), rows(&[&[], &[]]));
    assert_eq!(decode(&[], 0, ""), rows(&[]));
    assert_eq!(decode(&[], 0, "a\n"), fault("extra data after last expected column"));
}

#[test]
fn every_message_has_its_own_header_and_line_ends() {
    let mut decoder = decoder(&[("header", "true")], 1);
    for payload in ["h\n1\n", "h\r1\r", "h\r\n1", "\"h\n,\"\n1"] {
        assert_eq!(corpus::decode(&mut decoder, payload.as_bytes()), rows(&[&["1"]]));
    }
    assert_eq!(corpus::decode(&mut decoder, b"\"h"), rows(&[]));
    assert!(corpus::decode(&mut decoder, b"h\n\"1").is_err());
    assert_eq!(corpus::decode(&mut decoder, b"h\n1"), rows(&[&["1"]]));
}

#[test]
fn a_field_without_escapes_is_not_copied() {
    let payload = b"plain,\"quoted, text\",\"es\"\"caped\"";
    let mut decoder = decoder(&[], 3);
    let done = decoder.decode(payload, &mut |record| {
        let inside: Vec<_> = record
            .fields
            .iter()
            .map(|field| payload.as_ptr_range().contains(&field.unwrap().as_ptr()))
            .collect();
        assert_eq!(inside, [true, true, false]);
        assert_eq!(record.fields[2], Some(&b"es\"caped"[..]));
        Ok(())
    });
    assert_eq!(done, Ok(()));
}

#[test]
fn text_is_converted_before_it_is_read() {
    let options = [("encoding", "latin1"), ("delimiter", ";")];
    let mut decoder = decoder(&options, 2);
    let rows = corpus::decode(&mut decoder, b"\xe9;\"\xfc\"\"\"\n").unwrap();
    assert_eq!(rows, [[Some("é".to_owned()), Some("ü\"".to_owned())]]);
    // The second byte of a character may look like a delimiter.
    let mut decoder = self::decoder(&[("encoding", "SJIS"), ("delimiter", "|")], 2);
    let rows = corpus::decode(&mut decoder, b"\x83|\x83||x").unwrap();
    assert_eq!(rows, [[Some("ポポ".to_owned()), Some("x".to_owned())]]);
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    for (options, message) in [
        (&[("delimiter", "ab")][..], "option \"delimiter\" must be a single one-byte character"),
        (&[("delimiter", "é")], "option \"delimiter\" must be a single one-byte character"),
        (&[("delimiter", "")], "option \"delimiter\" must be a single one-byte character"),
        (&[("delimiter", "\n")], "option \"delimiter\" cannot be newline or carriage return"),
        (&[("delimiter", "\"")], "options \"delimiter\" and \"quote\" must be different"),
        (&[("quote", ",")], "options \"delimiter\" and \"quote\" must be different"),
        (&[("quote", "\r")], "option \"quote\" cannot be newline or carriage return"),
        (&[("escape", "\n")], "option \"escape\" cannot be newline or carriage return"),
        (&[("null", "a\nb")], "option \"null\" cannot contain newline or carriage return"),
        (&[("null", "a,b")], "option \"delimiter\" must not appear in option \"null\""),
        (&[("null", "\"\"")], "option \"quote\" must not appear in option \"null\""),
        (
            &[("force_null", "c0, d1")],
            "option \"force_null\" names \"d1\", which is no column of the record",
        ),
        (&[("encoding", "JOHAB")], "encoding \"JOHAB\" cannot be converted to UTF8"),
    ] {
        let content = FormatSpec::with_options(Format::Csv, options.iter().copied()).unwrap();
        let error = CsvDecoder::new(&content, &columns(2)).unwrap_err();
        assert_eq!((error.sqlstate, &*error.message), (SqlState::INVALID_PARAMETER, message));
    }
    let content = FormatSpec::with_options(Format::Csv, [("delimiter", "\\t")]).unwrap();
    let hint = CsvDecoder::new(&content, &[]).unwrap_err().hint;
    assert_eq!(hint.as_deref(), Some("In SQL, a tab is written as E'\\t'."));
}

#[test]
fn stops_at_the_sinks_fault() {
    let mut seen = 0;
    let done = decoder(&[], 1).decode(b"1\n2\n3\n", &mut |_| {
        seen += 1;
        if seen == 2 { Err(Fault::bad("no")) } else { Ok(()) }
    });
    assert_eq!((done, seen), (Err(Fault::bad("line 2: no")), 2));
}

#[test]
fn of_several_lines_the_faulty_one_is_named() {
    let fault = |text: &str| match decoder(&[], 2).decode(text.as_bytes(), &mut |_| Ok(())) {
        Err(Fault::Bad(reason)) => reason,
        other => panic!("{other:?}"),
    };
    for (line, text) in [
        ("", "1\n"),
        ("", "1"),
        ("line 1: ", "1\n1,2\n"),
        ("line 2: ", "1,2\n3"),
        ("line 3: ", "1,2\r1,2\r3\r"),
        ("line 2: ", "1,2\r\n3\r\n"),
        // As COPY counts, line ends within quotes count.
        ("line 3: ", "1,\"a\nb\"\n3\n"),
    ] {
        assert_eq!(fault(text), format!("{line}missing data for column \"c1\""), "{text:?}");
    }
}

proptest! {
    /// What is written with quotes is read back.
    #[test]
    fn quoted_values_come_back(
        values in prop::collection::vec(
            prop::collection::vec(prop::option::of("[a\",\r\n\\\\.é]{0,20}"), 3),
            0..5,
        ),
    ) {
        let field = |value: &Option<String>| {
            value.as_ref().map_or(String::new(), |text| format!("\"{}\"", text.replace('"', "\"\"")))
        };
        let line = |row: &Vec<_>| row.iter().map(field).collect::<Vec<_>>().join(",");
        let text: String = values.iter().map(|row| line(row) + "\r\n").collect();
        prop_assert_eq!(decode(&[], 3, &text), Ok(values));
    }
}
