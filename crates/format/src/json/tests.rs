//! Tests of the JSON decoder: by hand, against PostgreSQL's own results and against serde_json.

use proptest::prelude::*;
use serde_json::Value as Json;

use super::super::path::Step;
use super::*;

fn field(steps: &[&str], text: bool) -> JsonField {
    JsonField {
        steps: steps.iter().map(|key| Step::Key((*key).into())).collect(),
        text,
        cast: None,
    }
}

/// The fields' texts; Err(None) for Unsure, Err(reason) for Bad.
fn decode(decoder: &mut JsonDecoder, json: &[u8]) -> Result<Vec<Option<String>>, Option<String>> {
    let document = decoder.decode(json);
    match document.decoded {
        Decoded::Plain => {}
        Decoded::Unsure => return Err(None),
        Decoded::Bad(reason) => return Err(Some(reason.to_owned())),
    }
    let text = |bytes: &[u8]| Some(String::from_utf8(bytes.to_vec()).unwrap());
    Ok(document
        .fields
        .iter()
        .map(|field| match *field {
            DocumentField::Null => None,
            DocumentField::Value(start, len) => text(&json[start..start + len]),
            DocumentField::Scratch(start, len) => text(&document.scratch[start..start + len]),
            DocumentField::Fixed(_) | DocumentField::Unconverted(..) => {
                panic!("nothing is converted here")
            }
        })
        .collect())
}

fn reason(json: &[u8]) -> String {
    decode(&mut JsonDecoder::new(&[]), json).unwrap_err().unwrap()
}

#[test]
fn a_reason_reads_like_postgresqls_and_names_the_byte() {
    const SYNTAX: &str = "invalid input syntax for type json";
    for (json, want) in [
        (&b""[..], "the input string ended unexpectedly at byte 0"),
        (b"{\"a\":1", "the input string ended unexpectedly at byte 6"),
        (b"\"a", "the input string ended unexpectedly at byte 2"),
        (b"{\"a\" 1}", "expected \":\" at byte 5"),
        (b"{\"a\":}", "expected JSON value at byte 5"),
        (b"{1:2}", "expected string or \"}\" at byte 1"),
        (b"{\"a\":1,}", "expected string at byte 7"),
        (b"{\"a\":1]", "expected \",\" or \"}\" at byte 6"),
        (b"[1}", "expected \",\" or \"]\" at byte 2"),
        (b"1 2", "expected end of input at byte 2"),
        (b" 12x", "invalid token at byte 1"),
        (b"\0", "expected JSON value at byte 0"),
        (b"\"\0\"", "character with value 0x00 must be escaped at byte 1"),
        (b"\"\\x\"", "invalid escape sequence at byte 1"),
        (b"\"\\u12\"", "\"\\u\" must be followed by four hexadecimal digits at byte 1"),
    ] {
        assert_eq!(reason(json), format!("{SYNTAX}: {want}"));
    }
    let encoding = "invalid byte sequence for encoding \"UTF8\"";
    assert_eq!(reason(b"\"a\xff\""), format!("{encoding}: 0xff at byte 2"));
    assert_eq!(reason(b"\"\xed\xa0\x80\""), format!("{encoding}: 0xed at byte 1"));
    assert_eq!(reason(b"\"\xc3"), format!("{encoding}: 0xc3 at byte 1"));
}

#[test]
fn depth_is_bounded_without_recursion() {
    let nested = |depth| [vec![b'['; depth], vec![b']'; depth]].concat();
    let mut decoder = JsonDecoder::new(&[field(&[], false)]);
    assert!(decode(&mut decoder, &nested(MAX_DEPTH)).is_ok());
    let refused = "json nested deeper than 5000 levels at byte 5000";
    assert_eq!(reason(&nested(MAX_DEPTH + 1)), refused);
    assert_eq!(reason(&vec![b'['; 10_000_000]), refused);
    let objects = "{\"a\":".repeat(1_000_000);
    assert!(reason(objects.as_bytes()).starts_with("json nested deeper"));
}

#[test]
fn a_decoder_forgets_the_document_before() {
    let mut decoder = JsonDecoder::new(&[field(&["a", "b"], true), field(&["c"], true)]);
    let some = |text: &str| Some(text.to_owned());
    let first = decode(&mut decoder, br#"{"a":{"b":"\n"},"c":"\t"}"#);
    assert_eq!(first, Ok(vec![some("\n"), some("\t")]));
    assert_eq!(decode(&mut decoder, br#"{"a":{"b":1},"a":{}}"#), Err(None));
    assert!(decode(&mut decoder, br#"{"a":{"b":1},"c":[{"#).is_err());
    assert_eq!(decode(&mut decoder, br#"{"a":{"b":1}}"#), Ok(vec![some("1"), None]));
    assert!(decoder.decode(br#"{"c":"\ud800"}"#).fields.is_empty());
    assert_eq!(decode(&mut decoder, b"[]"), Ok(vec![None, None]));
}

#[test]
fn more_keys_than_are_remembered_are_read() {
    let mut decoder = JsonDecoder::new(&[field(&["k2999"], true), field(&["o", "k1"], true)]);
    let members = |keys: std::ops::Range<usize>| {
        keys.map(|i| format!("\"k{i}\": {i}")).collect::<Vec<_>>().join(", ")
    };
    for round in 0..10 {
        let (inner, outer) = (members(0..round), members(round * 100..3_000));
        let json = format!("{{\"o\": {{{inner}}}, {outer}}}");
        let inner = (round > 1).then(|| "1".to_owned());
        let want = Ok(vec![Some("2999".to_owned()), inner]);
        assert_eq!(decode(&mut decoder, json.as_bytes()), want);
    }
}

#[test]
fn without_fields_refused_escapes_do_not_matter() {
    assert_eq!(decode(&mut JsonDecoder::new(&[]), br#"["\u0000","\udc00"]"#), Ok(vec![]));
}

/// The steps of a chain of operators as the corpus writes it, and whether it gives text.
fn from_operators(operators: &Json) -> JsonField {
    let mut field = field(&[], false);
    for operator in operators.as_array().unwrap() {
        let name = operator[0].as_str().unwrap();
        field.text = name.ends_with(">>");
        match &operator[1] {
            Json::Array(path) => field
                .steps
                .extend(path.iter().map(|element| Step::Element(element.as_str().unwrap().into()))),
            key => field.steps.push(Step::Key(key.as_str().unwrap().into())),
        }
    }
    field
}

/// Whether the module's rules allow to leave this field to PostgreSQL.
fn may_be_unsure(field: &JsonField, document: &str) -> bool {
    let on_the_way = &field.steps[..field.steps.len().saturating_sub(1)];
    let repeated = |step: &Step| {
        let (Step::Key(key) | Step::Element(key)) = step;
        document.contains("\\u") || document.matches(&format!("\"{key}\"")).count() > 1
    };
    let subscript = |step: &Step| match step {
        Step::Key(_) => false,
        Step::Element(element) => element.trim().parse::<i32>().is_ok(),
    };
    on_the_way.iter().any(repeated) || (document.contains('[') && field.steps.iter().any(subscript))
}

/// `tests/corpus/json/generate.sql` says what the cases are.
#[test]
fn decodes_the_corpus_as_postgresql_did() {
    let mut lines = include_str!("../../../../tests/corpus/json/expected.jsonl").lines();
    let head: Json = serde_json::from_str(lines.next().unwrap()).unwrap();
    let fields: Vec<_> = head["fields"].as_array().unwrap().iter().map(from_operators).collect();
    let mut all = JsonDecoder::new(&fields);
    let mut each: Vec<_> =
        fields.iter().map(|field| JsonDecoder::new(std::slice::from_ref(field))).collect();
    for line in lines {
        let case: Json = serde_json::from_str(line).unwrap();
        let document = case["document"].as_str().unwrap();
        let together = decode(&mut all, document.as_bytes());
        let Some(results) = case["results"].as_array() else {
            assert!(matches!(together, Err(Some(_))), "{document:?} gave {together:?}");
            continue;
        };
        let mut unsure = false;
        for (i, want) in results.iter().enumerate() {
            match decode(&mut each[i], document.as_bytes()) {
                Ok(got) => {
                    assert!(!want.is_object(), "{document:?} {:?} gave {got:?}", fields[i]);
                    assert_eq!(got[0].as_deref(), want.as_str(), "{document:?} {:?}", fields[i]);
                }
                Err(None) => {
                    unsure = true;
                    let allowed = want.is_object() || may_be_unsure(&fields[i], document);
                    assert!(allowed, "{document:?} {:?} is unsure", fields[i]);
                }
                Err(Some(reason)) => panic!("{document:?} is bad: {reason}"),
            }
        }
        match together {
            Ok(got) => {
                let want: Vec<_> = results.iter().map(Json::as_str).collect();
                assert_eq!(got.iter().map(Option::as_deref).collect::<Vec<_>>(), want);
            }
            Err(None) => assert!(unsure, "{document:?} is unsure with all fields only"),
            Err(Some(reason)) => panic!("{document:?} is bad: {reason}"),
        }
    }
}

fn json_text() -> impl Strategy<Value = String> {
    let blank = || "[ \t\r\n]{0,2}";
    let string = prop_oneof![
        Just(r#""a""#.to_owned()),
        Just(r#""\u0061""#.to_owned()),
        r#""(a|b|é|😀|\\n|\\"|\\\\|\\/|\\u00e9|\\ud83d\\ude00|[ -!#-\[\]-~]){0,12}""#,
    ];
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,2})?",
        string.clone(),
    ];
    let value = scalar.prop_recursive(5, 40, 6, move |inner| {
        let items = (inner, blank(), blank())
            .prop_map(|(value, before, after)| format!("{before}{value}{after}"));
        let members = (blank(), string.clone(), blank(), items.clone())
            .prop_map(|(before, key, after, value)| format!("{before}{key}{after}:{value}"));
        prop_oneof![
            prop::collection::vec(items, 0..6).prop_map(|v| format!("[{}]", v.join(","))),
            prop::collection::vec(members, 0..6).prop_map(|v| format!("{{{}}}", v.join(","))),
        ]
    });
    (blank(), value, blank()).prop_map(|(before, value, after)| before + &value + &after)
}

/// A byte to put in, biased to those that mean something.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![prop::sample::select(&b"{}[]:,\"\\ue0-+.19tn \t\x00\x1f\x80\xc3"[..]), any::<u8>()]
}

fn valid_by_serde(json: &[u8]) -> bool {
    std::str::from_utf8(json)
        .is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn fields_are_those_of_serde_json(json in json_text()) {
        let mut decoder = JsonDecoder::new(&[field(&["a"], true), field(&["a"], false)]);
        let parsed: Json = serde_json::from_str(&json).unwrap();
        let got = decode(&mut decoder, json.as_bytes()).unwrap();
        let want = parsed.get("a");
        let text = want.and_then(|want| match want {
            Json::Null => None,
            Json::String(text) => Some(text.clone()),
            // The text as it stands in the document: compared as a value below.
            _ => got[1].clone(),
        });
        prop_assert_eq!(&got[0], &text);
        let raw = got[1].as_ref().map(|raw| serde_json::from_str::<Json>(raw).unwrap());
        prop_assert_eq!(raw.as_ref(), want);
    }

    #[test]
    fn accepts_what_serde_json_accepts(
        json in json_text(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..3, byte()), 0..4),
    ) {
        let mut json = json.into_bytes();
        for (place, change, byte) in changes {
            let at = place.index(json.len() + 1);
            match change {
                0 => json.insert(at, byte),
                1 => json.truncate(at),
                _ if at < json.len() => json[at] = byte,
                _ => {}
            }
        }
        let mut decoder = JsonDecoder::new(&[field(&["a"], true)]);
        let got = decode(&mut decoder, &json);
        prop_assert_eq!(!matches!(got, Err(Some(_))), valid_by_serde(&json), "{:?}", got);
    }

    #[test]
    fn earlier_documents_do_not_matter(
        json in json_text(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), byte()), 1..20),
    ) {
        let fields = [field(&["a"], true), field(&["a", "a"], false), field(&["b"], true)];
        let mut decoder = JsonDecoder::new(&fields);
        for (place, byte) in changes {
            let mut json = json.clone().into_bytes();
            let at = place.index(json.len());
            json[at] = byte;
            let want = decode(&mut JsonDecoder::new(&fields), &json);
            prop_assert_eq!(decode(&mut decoder, &json), want);
        }
    }

    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(byte(), 0..40)) {
        let got = decode(&mut JsonDecoder::new(&[field(&[], true)]), &bytes);
        prop_assert_eq!(!matches!(got, Err(Some(_))), valid_by_serde(&bytes), "{:?}", got);
    }
}
