//! The cells of a scan's rows: what each output column is made of, and making it from a record.

use super::columns::{self, ColumnSource, Layout};
use super::custom::OutputColumn;
use super::needs::Needs;
use crate::pg::encoding::storable;
use crate::pg::fdw::{Column, JsonCall, RowWriter, ScanOutput};
use crate::pg::spi::UnixMicros;
use gpss_format::{Cast, TextField, Wanted, array_literal, width};
use gpss_model::block::{Block, DecodedField, MessageSpans, Side, Span, Verdict};
use gpss_model::error::Result;
use pgrx::pg_sys;
use serde_json::json;
use std::sync::Arc;

/// How one output column is filled.
enum Cell {
    /// The value or key as it came: as bytea, or through the column's input function.
    Bytes(Side),
    Payload(Side),
    /// The document as text or json, or through the column's input function (jsonb and others).
    Document(Side),
    DocumentInput(Side),
    Meta,
    Topic,
    Partition,
    Offset,
    Timestamp,
    Headers,
    Error,
    ProjectedField(ProjectedField),
    /// A column of the rows that the side's function returns, by its place among them.
    Returned(Side, usize),
}

/// A field of a record.
struct ProjectedField {
    side: Side,
    /// Of the document; else of the record of fields.
    of_document: bool,
    /// Its place in the scan's own list of wanted fields.
    own: usize,
    /// Its place among the fields of a record in the block.
    index: usize,
    /// How to ask PostgreSQL for it, when it is of a document.
    calls: Arc<[JsonCall]>,
    fill: Fill,
    /// What may fail is done when the scan's conditions have let the row pass.
    late: bool,
}

/// How a decoded field becomes a datum.
enum Fill {
    /// It is the text of a text or json datum.
    Text,
    /// It is the bytes of a bytea datum.
    Bytes,
    /// JSON text that the column takes (json, jsonb); JSON null is SQL NULL.
    Json,
    /// A JSON array for an array column.
    Array,
    /// A value that the decoder has converted, if it knows how and could; else text for the type's
    /// input function.
    Typed(Option<Cast>),
}

/// How a message becomes rows.
pub struct Projection {
    topic: String,
    /// Output column and how it is filled; columns that nothing reads are left out.
    cells: Vec<(usize, Cell)>,
    wanted: [Wanted; 2],
}

impl Projection {
    /// The cells of those outputs that are used, and what decoders have to deliver for them. An output
    /// may wait until the scan's conditions have let the row pass.
    ///
    /// # Errors
    /// As `Layout::of`.
    pub fn new(
        topic: &str,
        layout: &Layout,
        columns: &[Column],
        (outputs, used, can_wait): (&[ScanOutput], &[bool], &[bool]),
    ) -> Result<(Projection, Needs)> {
        let mut shape =
            Projection { topic: topic.to_owned(), cells: vec![], wanted: Default::default() };
        let used = outputs.iter().zip(used).enumerate().filter(|(_, (_, used))| **used);
        for (i, (output, _)) in used {
            let late = can_wait.get(i).is_some_and(|wait| *wait);
            let source = |column: &Column| {
                let mut known = columns.iter().zip(&layout.sources);
                known.find(|(c, _)| c.attnum == column.attnum).map(|(_, source)| source)
            };
            let cell = match output {
                ScanOutput::Dropped => None,
                ScanOutput::Json { column, calls, cast } => match source(column) {
                    Some(ColumnSource::Whole(side)) => {
                        let fill = match cast {
                            Some(type_oid) => Fill::Typed(columns::conversion(*type_oid)),
                            None => Fill::Text,
                        };
                        Some(shape.member(*side, calls, fill, late))
                    }
                    _ => None,
                },
                ScanOutput::Column(column) => {
                    source(column).map(|source| shape.column(layout, source, column, late))
                }
            };
            shape.cells.extend(cell.map(|cell| (i, cell)));
        }
        let headers = |(_, cell): &(usize, Cell)| matches!(cell, Cell::Headers | Cell::Meta);
        let needs = Needs { sides: shape.wanted.clone(), headers: shape.cells.iter().any(headers) };
        shape.look_in(&needs);
        Ok((shape, needs))
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The columns that a side's function fills.
    pub fn returned(&self, side: Side) -> Vec<OutputColumn> {
        let place = |(i, cell): &(usize, Cell)| match cell {
            Cell::Returned(of, place) if *of == side => Some((*i, *place)),
            _ => None,
        };
        self.cells.iter().filter_map(place).collect()
    }

    /// Looks for the fields where a decoder for `needs` puts them; false when it does not deliver all.
    pub fn look_in(&mut self, needs: &Needs) -> bool {
        let width = width(&needs.sides);
        let mut whole = true;
        for side in Side::BOTH {
            whole &= !self.wanted[side as usize].document || needs.sides[side as usize].document;
        }
        for (_, cell) in &mut self.cells {
            let Cell::ProjectedField(field) = cell else { continue };
            let (own, there) =
                (&self.wanted[field.side as usize], &needs.sides[field.side as usize]);
            let place = if field.of_document {
                let found = own.fields.get(field.own);
                found
                    .and_then(|wanted| there.fields.iter().position(|known| known == wanted))
                    .map(|at| width.of_document(field.side) + at)
            } else {
                let found = own.texts.get(field.own);
                found
                    .and_then(|wanted| there.texts.iter().position(|known| known == wanted))
                    .map(|at| width.of_texts(field.side) + at)
            };
            whole &= place.is_some();
            field.index = place.unwrap_or(usize::MAX);
        }
        whole
    }

    fn column(
        &mut self,
        layout: &Layout,
        source: &ColumnSource,
        column: &Column,
        late: bool,
    ) -> Cell {
        let type_oid = column.type_oid;
        let typed = || match type_oid {
            _ if column.typmod == -1 => Fill::Typed(columns::conversion(type_oid)),
            _ => Fill::Typed(None),
        };
        match source {
            ColumnSource::Whole(side) if type_oid == pg_sys::BYTEAOID => Cell::Bytes(*side),
            ColumnSource::Whole(side) => {
                if !layout.format(*side).is_some_and(|format| format.is_document()) {
                    return Cell::Payload(*side);
                }
                self.wanted[*side as usize].document = true;
                match type_oid {
                    pg_sys::JSONOID | pg_sys::TEXTOID => Cell::Document(*side),
                    _ => Cell::DocumentInput(*side),
                }
            }
            ColumnSource::Member(side, name) => {
                let fill = match type_oid {
                    pg_sys::TEXTOID => Fill::Text,
                    _ if columns::is_json(column) => Fill::Json,
                    _ if column.is_array => Fill::Array,
                    _ => typed(),
                };
                self.member(*side, &[columns::field_call(column, name)], fill, late)
            }
            ColumnSource::Raw(side, position) => {
                self.text(*side, *position, &column.name, Fill::Bytes, late)
            }
            ColumnSource::Position(side, position) => {
                let fill = if type_oid == pg_sys::TEXTOID { Fill::Text } else { typed() };
                self.text(*side, *position, &column.name, fill, late)
            }
            ColumnSource::Returned(side, _) => Cell::Returned(*side, layout.returned_place(source)),
            ColumnSource::Meta => Cell::Meta,
            ColumnSource::Topic => Cell::Topic,
            ColumnSource::Partition => Cell::Partition,
            ColumnSource::Offset => Cell::Offset,
            ColumnSource::Timestamp => Cell::Timestamp,
            ColumnSource::Headers => Cell::Headers,
            ColumnSource::Error => Cell::Error,
        }
    }

    /// A field of a document.
    fn member(&mut self, side: Side, calls: &[JsonCall], fill: Fill, can_wait: bool) -> Cell {
        let cast = if let Fill::Typed(cast) = fill { cast } else { None };
        let late = can_wait && matches!(fill, Fill::Text | Fill::Typed(_));
        let wanted = &mut self.wanted[side as usize].fields;
        let own = place_of(wanted, columns::json_field(calls, cast));
        Cell::ProjectedField(ProjectedField {
            side,
            of_document: true,
            own,
            index: usize::MAX,
            calls: calls.into(),
            fill,
            late,
        })
    }

    /// A field of a record of fields.
    fn text(
        &mut self,
        side: Side,
        position: usize,
        name: &str,
        fill: Fill,
        can_wait: bool,
    ) -> Cell {
        let cast = if let Fill::Typed(cast) = fill { cast } else { None };
        let late = can_wait && matches!(fill, Fill::Typed(_));
        let wanted = &mut self.wanted[side as usize].texts;
        let own = place_of(wanted, TextField { position, cast, name: name.to_owned() });
        Cell::ProjectedField(ProjectedField {
            side,
            of_document: false,
            own,
            index: usize::MAX,
            calls: [].into(),
            fill,
            late,
        })
    }

    /// Fills a row from a record of a message; without one, of a message that does not parse.
    pub fn fill(
        &self,
        row: &MessageSpans,
        rows: &Block,
        record: Option<usize>,
        out: &mut RowWriter<'_>,
    ) -> Result<()> {
        let fields = record.map_or(&[][..], |number| rows.fields(number));
        let record = record.and_then(|number| rows.record(number));
        for (i, cell) in &self.cells {
            match (cell, record) {
                (Cell::ProjectedField(field), Some(record)) => {
                    if field.of_document && record.unsure(field.side) {
                        field.ask(*i, record.document(field.side), out)?;
                    } else {
                        let value = fields.get(field.index).copied().unwrap_or(DecodedField::Null);
                        field.set(*i, value, rows, out)?;
                    }
                }
                (Cell::Document(side), Some(record)) => out.set_text(*i, record.document(*side))?,
                (Cell::DocumentInput(side), Some(record)) => {
                    set_input(*i, rows.bytes_of(record.document(*side)), out)?;
                }
                _ => self.fill_other(*i, cell, row, rows, out)?,
            }
        }
        Ok(())
    }

    /// What is the same for all records of a message.
    fn fill_other(
        &self,
        i: usize,
        cell: &Cell,
        row: &MessageSpans,
        rows: &Block,
        out: &mut RowWriter<'_>,
    ) -> Result<()> {
        let payload = |side: &Side| match side {
            Side::Value => row.value,
            Side::Key => row.key,
        };
        let bad = matches!(row.verdict, Verdict::Bad(_));
        match cell {
            Cell::ProjectedField(_)
            | Cell::Document(_)
            | Cell::DocumentInput(_)
            | Cell::Returned(..) => {}
            Cell::Bytes(side) => out.set_bytes(i, payload(side)),
            Cell::Payload(Side::Value) if bad => {}
            Cell::Payload(side) => set_input(i, rows.bytes_of(payload(side)), out)?,
            Cell::Meta => out.set_input(i, self.meta(row, rows).as_bytes())?,
            Cell::Topic => set_input(i, Some(self.topic.as_bytes()), out)?,
            Cell::Partition => set_number(i, row.partition.into(), out)?,
            Cell::Offset => set_number(i, row.offset, out)?,
            Cell::Timestamp => set_timestamp(i, row.timestamp, out)?,
            Cell::Headers => set_input(i, rows.bytes_of(row.headers), out)?,
            Cell::Error => {
                if let Verdict::Bad(reason) = row.verdict {
                    out.set_input(i, storable(&rows.text_of(reason)).as_bytes())?;
                }
            }
        }
        Ok(())
    }

    /// `{"topic": …, "partition": …, "offset": …, "timestamp": …}`, and `headers` if there are any.
    fn meta(&self, row: &MessageSpans, rows: &Block) -> String {
        let mut text = json!({
            "topic": self.topic,
            "partition": row.partition,
            "offset": row.offset,
            "timestamp": row.timestamp,
        })
        .to_string();
        let headers = rows.bytes_of(row.headers).map(String::from_utf8_lossy);
        if let Some(headers) = headers {
            text.pop();
            text.push_str(",\"headers\":");
            text.push_str(&headers);
            text.push('}');
        }
        text
    }
}

fn place_of<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|known| *known == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

impl ProjectedField {
    /// As the decoder has delivered it.
    fn set(
        &self,
        i: usize,
        value: DecodedField,
        rows: &Block,
        out: &mut RowWriter<'_>,
    ) -> Result<()> {
        match (value, &self.fill) {
            (DecodedField::Null, _) => {}
            (DecodedField::Fixed(bits), _) => out.set_i64(i, bits),
            (DecodedField::Bytes(span), Fill::Text) => out.set_text(i, span)?,
            (DecodedField::Bytes(span), Fill::Bytes) => out.set_bytes(i, span),
            (DecodedField::Bytes(span), Fill::Typed(Some(Cast::Uuid))) => {
                out.set_reference(i, span)
            }
            (DecodedField::Bytes(span), Fill::Typed(Some(_))) => out.set_bytes(i, span),
            (DecodedField::Bytes(span) | DecodedField::Unconverted(span), Fill::Typed(_))
                if self.late =>
            {
                out.set_input_late(i, span);
            }
            (DecodedField::Bytes(span) | DecodedField::Unconverted(span), _) => {
                self.set_input(i, rows.bytes_of(span), out)?;
            }
        }
        Ok(())
    }

    /// By PostgreSQL's own functions. Text and json outputs are what the functions return; the others
    /// go through the type's input function, which needs the text: ask the functions for that too.
    fn ask(&self, i: usize, document: Span, out: &mut RowWriter<'_>) -> Result<()> {
        match &self.fill {
            fill if self.late => {
                out.set_json_calls_late(i, document, &self.calls, !matches!(fill, Fill::Text));
                Ok(())
            }
            Fill::Text => out.set_json_calls(i, document, &self.calls),
            _ => {
                let text = out.json_calls_text(i, document, &self.calls)?;
                self.set_input(i, text.as_deref(), out)
            }
        }
    }

    fn set_input(&self, i: usize, bytes: Option<&[u8]>, out: &mut RowWriter<'_>) -> Result<()> {
        let Some(bytes) = bytes else { return Ok(()) };
        match self.fill {
            Fill::Json | Fill::Array if bytes == b"null" => Ok(()),
            Fill::Array => {
                let literal = std::str::from_utf8(bytes).ok().and_then(array_literal);
                out.set_input(i, literal.as_deref().map_or(bytes, str::as_bytes))
            }
            _ => out.set_input(i, bytes),
        }
    }
}

fn set_input(i: usize, bytes: Option<&[u8]>, out: &mut RowWriter<'_>) -> Result<()> {
    bytes.map_or(Ok(()), |bytes| out.set_input(i, bytes))
}

fn set_number(i: usize, value: i64, out: &mut RowWriter<'_>) -> Result<()> {
    match (out.type_oid(i), i32::try_from(value)) {
        (pg_sys::INT8OID, _) => out.set_i64(i, value),
        (pg_sys::INT4OID, Ok(value)) => out.set_i32(i, value),
        _ => out.set_input(i, value.to_string().as_bytes())?,
    }
    Ok(())
}

/// Kafka's milliseconds as timestamptz, or as the number itself in other columns.
fn set_timestamp(i: usize, ms: Option<i64>, out: &mut RowWriter<'_>) -> Result<()> {
    match ms {
        None => Ok(()),
        Some(ms) if out.type_oid(i) == pg_sys::TIMESTAMPTZOID => {
            out.set_i64(i, UnixMicros(ms.saturating_mul(1000)).to_postgres());
            Ok(())
        }
        Some(ms) => set_number(i, ms, out),
    }
}
