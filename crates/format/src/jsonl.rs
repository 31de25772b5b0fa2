//! `jsonl`: JSON documents one after the other, separated by the bytes of the option `newline`.
//!
//! The separator ends a document wherever it stands. A raw line feed cannot stand within a JSON
//! string; another separator has to be one that occurs in no document. A document that is an array may
//! stand for its elements.

use super::copy::refused;
use super::encoding::Converter;
use super::record::{Decode, Fault, Record, Sink};
use super::schema_id::Prefix;
use gpss_model::error::Result;
use gpss_model::format::FormatSpec;
use memchr::memmem::Finder;

/// Splits messages into documents, which it does not look into.
#[derive(Debug)]
pub struct JsonlDecoder {
    converter: Converter,
    prefix: Prefix,
    separator: Finder<'static>,
    /// Arrays give a record for each element.
    spreads: bool,
}

impl JsonlDecoder {
    /// # Errors
    /// `INVALID_PARAMETER` for a separator that is empty, or an encoding that cannot be converted.
    pub fn new(content: &FormatSpec) -> Result<JsonlDecoder> {
        let separator = content.get("newline").unwrap_or("\n");
        if separator.is_empty() {
            return Err(refused("option \"newline\" must not be empty"));
        }
        Ok(JsonlDecoder {
            converter: Converter::new(content)?,
            prefix: Prefix::of(content)?,
            separator: Finder::new(separator.as_bytes()).into_owned(),
            spreads: false,
        })
    }

    /// The same, but that an array gives a record for each of its elements, as if each was a document.
    #[must_use]
    pub fn spreading(self) -> JsonlDecoder {
        JsonlDecoder { spreads: true, ..self }
    }
}

/// Hands a document on, or the elements of one that is an array.
fn spread(document: &[u8], sink: &mut Sink<'_>) -> Result<(), Fault> {
    let record = |document| Record { document: Some(document), fields: &[] };
    let Some(elements) = Elements::of(document) else { return sink(record(document)) };
    for (index, element) in elements.enumerate() {
        let Some(element) = element else {
            // The JSON decoder says what is wrong with it.
            sink(record(document))?;
            return Err(Fault::bad("invalid JSON array"));
        };
        sink(record(element)).map_err(|fault| in_place("element", index + 1, fault))?;
    }
    Ok(())
}

fn in_place(what: &str, number: usize, fault: Fault) -> Fault {
    match fault {
        Fault::Bad(reason) => Fault::Bad(format!("{what} {number}: {reason}")),
        fault => fault,
    }
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The elements of an array, which are not looked into beyond what ends them; None in the place of one where
/// the array is none. An element that is missing is empty.
struct Elements<'a> {
    /// What is behind the opening bracket or a comma; None: the array has ended.
    rest: Option<&'a [u8]>,
}

impl<'a> Elements<'a> {
    /// Of a document that begins as an array does.
    fn of(document: &'a [u8]) -> Option<Elements<'a>> {
        let begin = document.iter().position(|byte| !is_blank(byte))?;
        let rest = document.get(begin..)?.strip_prefix(b"[")?;
        let is_empty = rest.iter().filter(|byte| !is_blank(byte)).eq(b"]");
        Some(Elements { rest: (!is_empty).then_some(rest) })
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        let rest = self.rest.take()?;
        let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
        for (at, byte) in rest.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                _ if in_string => {}
                b'[' | b'{' => depth += 1,
                b',' if depth == 0 => {
                    self.rest = rest.get(at + 1..);
                    return Some(rest.get(..at));
                }
                b']' if depth == 0 => {
                    let behind = rest.get(at + 1..).unwrap_or_default();
                    return Some(rest.get(..at).filter(|_| behind.iter().all(is_blank)));
                }
                b'}' if depth == 0 => break,
                b']' | b'}' => depth -= 1,
                _ => {}
            }
        }
        Some(None)
    }
}

impl Decode for JsonlDecoder {
    fn decode(&mut self, payload: &[u8], sink: &mut Sink<'_>) -> Result<(), Fault> {
        let mut rest = self.converter.document(self.prefix.strip(payload)?)?;
        let mut number = 0;
        loop {
            let (piece, behind) = match self.separator.find(rest) {
                Some(at) => {
                    let end = at + self.separator.needle().len();
                    (rest.get(..at).unwrap_or_default(), rest.get(end..))
                }
                None => (rest, None),
            };
            // A carriage return is white space around a document: a line may end with it.
            let document = piece.strip_suffix(b"\r").unwrap_or(piece);
            if !document.iter().all(is_blank) {
                number += 1;
                let several = number > 1 || behind.is_some_and(|b| !b.is_empty());
                let handed_out = match self.spreads {
                    true => spread(document, sink),
                    false => sink(Record { document: Some(document), fields: &[] }),
                };
                handed_out.map_err(|fault| match several {
                    true => in_place("document", number, fault),
                    false => fault,
                })?;
            }
            match behind {
                Some(behind) => rest = behind,
                None => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{JsonDecoder, MAX_DEPTH};
    use gpss_model::block::Decoded;
    use gpss_model::format::Format;
    use proptest::prelude::*;

    fn decoder(newline: Option<&str>) -> JsonlDecoder {
        let content =
            FormatSpec::with_options(Format::Jsonl, newline.map(|value| ("newline", value)));
        JsonlDecoder::new(&content.unwrap()).unwrap()
    }

    fn documents(newline: Option<&str>, payload: &[u8]) -> Vec<String> {
        decoded(decoder(newline), payload).unwrap()
    }

    /// The documents, each of which is to be valid JSON if arrays are spread.
    fn decoded(mut decoder: JsonlDecoder, payload: &[u8]) -> Result<Vec<String>, Fault> {
        let mut documents = Vec::new();
        let mut json = JsonDecoder::new(&[]);
        let checks = decoder.spreads;
        decoder.decode(payload, &mut |record| {
            assert!(record.fields.is_empty());
            let document = record.document.unwrap();
            if checks && let Decoded::Bad(reason) = json.decode(document).decoded {
                return Err(Fault::bad(reason));
            }
            documents.push(String::from_utf8_lossy(document).into_owned());
            Ok(())
        })?;
        Ok(documents)
    }

    fn spread_out(payload: &str) -> Result<Vec<String>, String> {
        decoded(decoder(None).spreading(), payload.as_bytes()).map_err(|fault| match fault {
            Fault::Bad(reason) => reason,
            Fault::Failed(error) => panic!("{error}"),
        })
    }

    #[test]
    fn arrays_are_spread() {
        let cases: [(&str, &[&str]); 8] = [
            ("[]", &[]),
            ("[ ]\n \t[\r\t ] \n", &[]),
            ("[1]", &["1"]),
            (" [1,2]\n3\n[4]\r\n", &["1", "2", "3", "4"]),
            (r#"[{"a":[1,2]},{"b":"],[\",{"}]"#, &[r#"{"a":[1,2]}"#, r#"{"b":"],[\",{"}"#]),
            // What is in an element is not spread.
            ("[[1,2],[],null]", &["[1,2]", "[]", "null"]),
            (r#"["\\",","]"#, &[r#""\\""#, r#"",""#]),
            ("[1 , 2]", &["1 ", " 2"]),
        ];
        for (payload, want) in cases {
            assert_eq!(spread_out(payload).unwrap(), want, "{payload}");
        }
        let deep = format!("[{}1{}]", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert_eq!(spread_out(&deep).unwrap().len(), 1);
        assert!(spread_out(&format!("[{deep}]")).unwrap_err().contains("element 1: "));
    }

    #[test]
    fn what_is_no_array_or_no_document_in_it_is_bad() {
        let cases = [
            ("[1,,2]", "element 2: "),
            ("[,]", "element 1: "),
            ("[1,]", "element 2: "),
            ("[1,2", ""),
            ("[", ""),
            ("[1]]", ""),
            ("[1] 2", ""),
            ("[1}", ""),
            ("[{]", ""),
            ("[\"a]", ""),
            ("[1, x]", "element 2: "),
            ("{}\n[1, x]", "document 2: element 2: "),
            ("{}\n[1, {]}]", "document 2: "),
            ("\u{c}[1]", ""),
        ];
        for (payload, place) in cases {
            let reason = spread_out(payload).expect_err(payload);
            let rest = reason.strip_prefix(place).unwrap_or_default();
            assert!(rest.starts_with("invalid "), "{payload}: {reason}");
            assert!(!reason.contains("invalid JSON array"), "{payload}: {reason}");
        }
    }

    /// The cases of `tests/corpus/jsonl`: payload, separator, documents.
    #[test]
    fn splits_the_corpus() {
        let lines = include_str!("../../../tests/corpus/jsonl/cases.jsonl").lines();
        for line in lines {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let payload = case["payload"].as_str().unwrap();
            let got = documents(case["newline"].as_str(), payload.as_bytes());
            assert_eq!(serde_json::json!(got), case["documents"], "{line}");
        }
    }

    #[test]
    fn an_empty_separator_is_refused() {
        let content = FormatSpec::with_options(Format::Jsonl, [("newline", "")]).unwrap();
        let error = JsonlDecoder::new(&content).unwrap_err();
        assert_eq!(error.message, "option \"newline\" must not be empty");
    }

    #[test]
    fn stops_at_the_sinks_fault() {
        let mut decoder = JsonlDecoder::new(&FormatSpec::new(Format::Jsonl)).unwrap();
        let mut seen = 0;
        let done = decoder.decode(b"1\n2\n3", &mut |_| {
            seen += 1;
            if seen == 2 { Err(Fault::bad("no")) } else { Ok(()) }
        });
        assert_eq!((done, seen), (Err(Fault::bad("document 2: no")), 2));
    }

    /// JSON of any kind on one line.
    fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<i32>().prop_map(|n| n.to_string()),
            "[a\\[\\]{},:\"\\\\ é]{0,8}".prop_map(|text| serde_json::json!(text).to_string()),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let inner = proptest::collection::vec(inner, 0..4);
            prop_oneof![
                inner.clone().prop_map(|items| format!("[{}]", items.join(" ,"))),
                inner.prop_map(|items| {
                    let member = |(n, item): (usize, &String)| format!("\"]{n}\": {item}");
                    let members: Vec<_> = items.iter().enumerate().map(member).collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_array_is_as_its_elements_on_lines(
            documents in proptest::collection::vec(any_json(), 0..6),
        ) {
            let array = format!("[{}]", documents.join(","));
            prop_assert_eq!(spread_out(&array).unwrap(), &documents[..]);
            let own_line = |document: &String| format!("{document}\n");
            let lines: String = documents.iter().map(own_line).collect();
            prop_assert_eq!(self::documents(None, lines.as_bytes()), documents);
        }

        #[test]
        fn what_json_refuses_is_not_spread(text in "\\[[\\[\\]{}:,\"\\\\ 1a]{0,12}") {
            let is_json = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            prop_assert_eq!(spread_out(&text).is_ok(), is_json, "{}", text);
        }

        #[test]
        fn documents_are_the_lines(payload in "[ab {}\r\n]{0,80}") {
            let want: Vec<_> = payload
                .split('\n')
                .map(|line| line.strip_suffix('\r').unwrap_or(line))
                .filter(|line| !line.trim().is_empty())
                .collect();
            prop_assert_eq!(documents(None, payload.as_bytes()), want);
        }
    }
}
