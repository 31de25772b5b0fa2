//! `gpss.gpfmt_gpss` and `gpss.gpfmt_protobuf`: the formats of foreign tables as functions over one
//! payload, with the same decoders.

use super::columns::Layout;
use super::formats::Formats;
use super::needs::Needs;
use super::options::{OptionContext, Privileges, validate};
use super::projection::Projection;
use crate::pg::fdw::function::RecordFunction;
use crate::pg::fdw::{Column, RowWriter, ScanOutput};
use gpss_format::{MessageDecoder, width};
use gpss_model::block::{Block, MessageParts, Verdict};
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::format::{self, Format};
use serde_json::Value;
use std::ops::Range;
use std::sync::Arc;

/// Which of the two functions it is.
pub trait FormatFunctionKind: 'static {
    const FUNCTION: format::FormatFunction;
}

/// One place of a query where the function is called.
pub struct PayloadRows<K> {
    options: Value,
    shape: Projection,
    needs: Needs,
    decoder: MessageDecoder,
    rows: Arc<Block>,
    /// The rows are those of a new payload.
    fresh: bool,
    left: Range<usize>,
    kind: std::marker::PhantomData<K>,
}

impl<K: FormatFunctionKind> RecordFunction for PayloadRows<K> {
    fn fits(&self, options: &Value) -> bool {
        self.options == *options
    }

    fn new(columns: Vec<Column>, options: Value) -> Result<Self> {
        let list = option_list::<K>(&options)?;
        validate(OptionContext::Function, &list, Privileges::of_current_user())?;
        let layout = Layout::of_options(&list, &columns)?;
        let outputs: Vec<ScanOutput> = columns.iter().cloned().map(ScanOutput::Column).collect();
        let used = vec![true; outputs.len()];
        let (shape, needs) = Projection::new("", &layout, &columns, (&outputs, &used, &[]))?;
        let decoder = Formats::new(&layout, &columns, |_| (None, None))?.decoder_here(&needs)?;
        Ok(PayloadRows {
            options,
            shape,
            needs,
            decoder,
            rows: Arc::default(),
            fresh: false,
            left: 0..0,
            kind: std::marker::PhantomData,
        })
    }

    fn begin(&mut self, payload: &[u8]) -> Result<()> {
        let mut rows = Block::with_capacity(width(&self.needs.sides), 1, payload.len());
        let message = MessageParts {
            partition: 0,
            offset: 0,
            timestamp: None,
            key: None,
            value: Some(payload),
            headers: None,
        };
        self.decoder.decode(&message, &mut rows)?;
        self.left = match rows.row(0) {
            Some(row) => {
                if let Verdict::Bad(reason) = row.verdict {
                    return Err(Error::new(SqlState::INVALID_TEXT, rows.text_of(reason)));
                }
                row.records()
            }
            None => 0..0,
        };
        self.rows = Arc::new(rows);
        self.fresh = true;
        Ok(())
    }

    fn next(&mut self, out: &mut RowWriter<'_>) -> Result<bool> {
        if std::mem::take(&mut self.fresh) {
            out.set_block(&self.rows);
        }
        let (Some(record), Some(row)) = (self.left.next(), self.rows.row(0)) else {
            return Ok(false);
        };
        self.shape.fill(row, &self.rows, Some(record), out)?;
        Ok(true)
    }
}

/// The options as a foreign table would have them: `format`, and those of the format.
fn option_list<K: FormatFunctionKind>(options: &Value) -> Result<Vec<(String, String)>> {
    let refuse = |what: String| Error::new(SqlState::INVALID_PARAMETER, what);
    let Value::Object(object) = options else {
        return Err(refuse("options must be a JSON object".into())
            .hint("For example '{\"format\": \"csv\", \"delimiter\": \";\"}'."));
    };
    let mut list = vec![];
    for (name, value) in object {
        if name != "format" && format::option(name).is_none() {
            // The error of a foreign table, with its hint.
            validate(
                OptionContext::Function,
                &[(name.clone(), String::new())],
                Privileges::of_current_user(),
            )?;
        }
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Array(items) if items.iter().all(Value::is_string) => {
                items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
            }
            Value::Object(_) if name == "params" => value.to_string(),
            Value::Null => continue,
            _ => return Err(refuse(format!("option \"{name}\" must be a text"))),
        };
        list.push((name.clone(), text));
    }
    let named = list.iter().find(|(name, _)| name == "format").map(|(_, format)| format.as_str());
    // A sole one need not be named.
    let formats: Vec<Format> = Format::of_function(K::FUNCTION).collect();
    match (named, formats.as_slice()) {
        (None, [format]) => list.push(("format".into(), format.name().into())),
        (None, formats) => {
            let names: Vec<&str> = formats.iter().map(|format| format.name()).collect();
            return Err(refuse("options lack the key \"format\"".into())
                .hint(format!("Its values are: {}.", names.join(", "))));
        }
        (Some(name), formats)
            if Format::by_name(name).is_some_and(|format| !formats.contains(&format)) =>
        {
            return Err(refuse(format!("the function does not take format {name}")).hint(
                "gpss.gpfmt_gpss takes all formats but protobuf and custom; gpss.gpfmt_protobuf takes \
                 protobuf.",
            ));
        }
        (Some(_), _) => {}
    }
    Ok(list)
}
