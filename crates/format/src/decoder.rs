//! The decoder of a format that needs neither schemas nor functions.

use super::csv::CsvDecoder;
use super::delimited::DelimitedDecoder;
use super::jsonl::JsonlDecoder;
use super::plain::{BinaryDecoder, DocumentDecoder};
use super::record::Decode;
use super::text::TextDecoder;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::format::{Format, FormatSpec};

/// A decoder for `content`; `columns` are the names of a record's fields by position, which only
/// positional formats have.
///
/// # Errors
/// `INVALID_PARAMETER` for options that do not go together or cannot be obeyed;
/// `FEATURE_NOT_SUPPORTED` for a format that has its decoder elsewhere.
pub fn text_decoder(content: &FormatSpec, columns: &[String]) -> Result<Box<dyn Decode>> {
    Ok(match content.format {
        Format::Csv => Box::new(CsvDecoder::new(content, columns)?),
        Format::Text => Box::new(TextDecoder::new(content, columns)?),
        Format::Delimited => Box::new(DelimitedDecoder::new(content, columns)?),
        Format::Jsonl => Box::new(JsonlDecoder::new(content)?),
        Format::Json => Box::new(DocumentDecoder::new(content)?),
        Format::Binary => Box::new(BinaryDecoder),
        Format::Avro | Format::Protobuf | Format::Custom => {
            let message = format!("format {} is no text format", content.format.name());
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpss_model::format::{FORMATS, FormatInfo};

    #[test]
    fn each_format_of_text_has_its_decoder() {
        for FormatInfo { format, name, has_schemas, .. } in FORMATS {
            let mut content = FormatSpec::new(format);
            if format == Format::Delimited {
                content.set("delimiter", "|").unwrap();
            }
            let decoder = text_decoder(&content, &["a".to_owned()]);
            let elsewhere = has_schemas || format == Format::Custom;
            match decoder {
                Ok(mut decoder) => {
                    assert!(!elsewhere, "{name}");
                    let mut rows = 0;
                    let done = decoder.decode(b"1\n", &mut |record| {
                        rows += 1;
                        assert_eq!(record.document.is_some(), format.is_document(), "{name}");
                        assert_eq!(record.fields.len(), usize::from(!format.is_document()));
                        Ok(())
                    });
                    assert_eq!((done, rows), (Ok(()), 1), "{name}");
                }
                Err(error) => {
                    assert!(elsewhere, "{name}");
                    assert_eq!(error.sqlstate, SqlState::FEATURE_NOT_SUPPORTED);
                }
            }
        }
    }
}
