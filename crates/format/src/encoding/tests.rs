//! Tests of the encodings: against PostgreSQL's conversions.

use super::*;
use gpss_model::format::Format;
use proptest::prelude::*;
use serde_json::Value as Json;

fn converter(encoding: &str) -> Result<Converter> {
    Converter::new(&FormatSpec::with_options(Format::Csv, [("encoding", encoding)]).unwrap())
}

fn text(encoding: &str, bytes: &[u8]) -> Result<String, Fault> {
    let mut converter = converter(encoding).unwrap();
    converter.text(bytes).map(|text| String::from_utf8(text.to_vec()).unwrap())
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

/// `tests/corpus/encoding/generate.sql` says what the cases are.
#[test]
fn converts_as_postgresql_did() {
    for line in include_str!("../../../../tests/corpus/encoding/expected.jsonl").lines() {
        let case: Json = serde_json::from_str(line).unwrap();
        let encoding = case["encoding"].as_str().unwrap();
        if let Some(want) = case["text"].as_str() {
            let hex = case["hex"].as_str().unwrap();
            assert_eq!(text(encoding, &bytes(hex)).as_deref(), Ok(want), "{encoding}");
            continue;
        }
        for (byte, want) in (128..=255).zip(case["characters"].as_array().unwrap()) {
            let got = text(encoding, &[b'a', byte, b'b']);
            let want = match want.as_str() {
                Some(want) => Ok(format!("a{want}b")),
                None => Err(invalid(encoding, &[byte])),
            };
            assert_eq!(got, want, "{encoding} 0x{byte:02x}");
        }
    }
}

#[test]
fn names_are_compared_like_postgresqls() {
    for (name, want) in [
        ("utf8", "UTF8"),
        ("UTF-8", "UTF8"),
        ("Unicode", "UTF8"),
        ("SQL_ASCII", "UTF8"),
        ("latin-1", "LATIN1"),
        ("ISO_8859_1", "LATIN1"),
        ("iso-8859-15", "LATIN9"),
        ("Windows-1252", "WIN1252"),
        ("win 1252", "WIN1252"),
        ("Shift_JIS", "SJIS"),
        ("euc-jp", "EUC_JP"),
        ("koi8-r", "KOI8R"),
        ("iso_8859_8", "ISO_8859_8"),
    ] {
        assert_eq!(converter(name).unwrap().name, want, "{name}");
    }
    for name in ["", "nonsense", "MULE_INTERNAL", "EUC_TW", "JOHAB", "EUC_JIS_2004"] {
        let error = converter(name).unwrap_err();
        assert_eq!(error.sqlstate, SqlState::INVALID_PARAMETER);
        assert_eq!(error.message, format!("encoding \"{name}\" cannot be converted to UTF8"));
        assert!(error.hint.unwrap().starts_with("Encodings that can be converted are: UTF8, "));
    }
}

#[test]
fn faults_name_the_bytes_as_postgresql_does() {
    for (encoding, bytes, want) in [
        ("UTF8", &b"a\xff"[..], "0xff"),
        ("UTF8", b"a\xc3(b", "0xc3 0x28"),
        ("UTF8", b"\xc3", "0xc3"),
        ("UTF8", b"\xe2\x82", "0xe2 0x82"),
        ("UTF8", b"\xed\xa0\x80xyz", "0xed 0xa0 0x80"),
        ("UTF8", b"\xf4\x90\x80\x80", "0xf4 0x90 0x80 0x80"),
        ("UTF8", b"\x80\x80", "0x80"),
        ("UTF8", b"a\0\xff", "0x00"),
        ("UTF8", b"a\xff\0", "0xff"),
        ("LATIN1", b"\xe9\0", "0x00"),
        ("SJIS", b"abc\0", "0x00"),
        ("SJIS", b"ab\x83", "0x83"),
        ("SJIS", b"\x93\xfa\x83\x20x", "0x83"),
        ("EUC_JP", b"\xc6\xfc\xff\xff", "0xff"),
        ("WIN1252", b"\x81", "0x81"),
    ] {
        let want = format!("invalid byte sequence for encoding \"{encoding}\": {want}");
        assert_eq!(text(encoding, bytes), Err(Fault::Bad(want)));
    }
}

#[test]
fn what_is_not_converted_is_not_copied() {
    for encoding in ["UTF8", "LATIN1", "GBK"] {
        let payload = b"abc";
        let mut converter = converter(encoding).unwrap();
        assert!(std::ptr::eq(converter.text(payload).unwrap(), payload));
        assert!(std::ptr::eq(converter.document(payload).unwrap(), payload));
    }
    // A reader of documents checks them itself.
    assert_eq!(converter("UTF8").unwrap().document(b"\xff"), Ok(&b"\xff"[..]));
    assert_eq!(converter("LATIN1").unwrap().document(b"\xff\0"), Ok("ÿ\0".as_bytes()));
    assert!(converter("EUC_KR").unwrap().document(b"\xff").is_err());
}

proptest! {
    #[test]
    fn any_bytes_become_text_or_a_fault(
        known in 0..KNOWN.len(),
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..4),
    ) {
        let mut converter = converter(KNOWN[known].name).unwrap();
        for payload in payloads {
            match converter.text(&payload) {
                Ok(text) => {
                    prop_assert!(std::str::from_utf8(text).is_ok());
                    prop_assert!(!text.contains(&0));
                }
                Err(fault) => prop_assert!(matches!(fault, Fault::Bad(_))),
            }
        }
    }
}
