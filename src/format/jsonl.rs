//! `jsonl`: JSON documents one after the other, separated by the bytes of the option `newline`.
//!
//! The separator ends a document wherever it stands. A raw line feed cannot stand within a JSON
//! string; another separator has to be one that occurs in no document.

use super::copy::refused;
use super::encoding::Converter;
use super::record::{Decode, Fault, Record, Sink};
use super::schema_id::Prefix;
use crate::error::Result;
use crate::model::content::Content;
use memchr::memmem::Finder;

/// Splits messages into documents, which it does not look into.
#[derive(Debug)]
pub struct JsonlDecoder {
    converter: Converter,
    prefix: Prefix,
    separator: Finder<'static>,
}

impl JsonlDecoder {
    /// # Errors
    /// `INVALID_PARAMETER` for a separator that is empty, or an encoding that cannot be converted.
    pub fn new(content: &Content) -> Result<JsonlDecoder> {
        let separator = content.get("newline").unwrap_or("\n");
        if separator.is_empty() {
            return Err(refused("option \"newline\" must not be empty"));
        }
        Ok(JsonlDecoder {
            converter: Converter::new(content)?,
            prefix: Prefix::of(content)?,
            separator: Finder::new(separator.as_bytes()).into_owned(),
        })
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
            if !document.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
                number += 1;
                sink(Record { document: Some(document), fields: &[] }).map_err(
                    |fault| match fault {
                        Fault::Bad(reason)
                            if number > 1 || behind.is_some_and(|b| !b.is_empty()) =>
                        {
                            Fault::Bad(format!("document {number}: {reason}"))
                        }
                        fault => fault,
                    },
                )?;
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
    use crate::model::content::Format;
    use proptest::prelude::*;

    fn documents(newline: Option<&str>, payload: &[u8]) -> Vec<String> {
        let content = Content::with_options(Format::Jsonl, newline.map(|value| ("newline", value)));
        let mut decoder = JsonlDecoder::new(&content.unwrap()).unwrap();
        let mut documents = Vec::new();
        let done = decoder.decode(payload, &mut |record| {
            assert!(record.fields.is_empty());
            documents.push(String::from_utf8_lossy(record.document.unwrap()).into_owned());
            Ok(())
        });
        done.unwrap();
        documents
    }

    /// The cases of `tests/corpus/jsonl`: payload, separator, documents.
    #[test]
    fn splits_the_corpus() {
        let lines = include_str!("../../tests/corpus/jsonl/cases.jsonl").lines();
        for line in lines {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let payload = case["payload"].as_str().unwrap();
            let got = documents(case["newline"].as_str(), payload.as_bytes());
            assert_eq!(serde_json::json!(got), case["documents"], "{line}");
        }
    }

    #[test]
    fn an_empty_separator_is_refused() {
        let content = Content::with_options(Format::Jsonl, [("newline", "")]).unwrap();
        let error = JsonlDecoder::new(&content).unwrap_err();
        assert_eq!(error.message, "option \"newline\" must not be empty");
    }

    #[test]
    fn stops_at_the_sinks_fault() {
        let mut decoder = JsonlDecoder::new(&Content::new(Format::Jsonl)).unwrap();
        let mut seen = 0;
        let done = decoder.decode(b"1\n2\n3", &mut |_| {
            seen += 1;
            if seen == 2 { Err(Fault::bad("no")) } else { Ok(()) }
        });
        assert_eq!((done, seen), (Err(Fault::bad("document 2: no")), 2));
    }

    proptest! {
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
