//! The scan of a foreign table: of a worker's batch inside a job's statement, of the topic itself
//! anywhere else.

use super::batch::{Batch, Cursor, decode_again};
use super::columns::{self, ColumnSource};
use super::session::{self, Running};
use super::source::{self, KafkaSource};
use super::topic::TopicScan;
use crate::error::{Error, Result, SqlState};
use crate::format::{Cast, JsonField, array_literal};
use crate::model::rows::{Row, Rows, Span, Value, Verdict};
use crate::pg::fdw::{
    Bound, Column, ForeignSource, JsonCall, Output, RowWriter, ScanRequest, Table,
};
use crate::pg::spi::UnixMicros;
use pgrx::pg_sys;
use std::sync::Arc;

/// How one output column is filled.
enum Cell {
    /// The value's bytes (bytea), or the value as text or json.
    ValueBytes,
    ValueText,
    /// The value through the column's input function (jsonb and others).
    ValueInput,
    Key,
    Topic,
    Partition,
    Offset,
    Timestamp,
    Headers,
    Error,
    /// A field of the projection: where it lies, and how to ask PostgreSQL for it.
    Field {
        index: usize,
        calls: Arc<[JsonCall]>,
        fill: Fill,
        /// What may fail is done when the scan's conditions have let the row pass.
        late: bool,
    },
}

/// How a decoded field becomes a datum.
enum Fill {
    /// It is the text of a text or json datum.
    Text,
    /// JSON text that the column takes (json, jsonb); JSON null is SQL NULL.
    Json,
    /// A JSON array for an array column.
    Array,
    /// A value that the decoder has converted, if it knows how and could; else text for the type's
    /// input function.
    Typed(Option<Cast>),
}

/// A scan from Begin to End.
pub struct KafkaScan {
    format: String,
    shape: Shape,
    /// What the decoder delivers for this scan.
    fields: Vec<JsonField>,
    /// Whether the table wants to see messages that do not parse.
    wants_errors: bool,
    range_lines: Vec<String>,
    rows: From,
}

/// How a message becomes a row.
struct Shape {
    topic: String,
    /// Output column and how it is filled; columns that nothing reads are left out.
    cells: Vec<(usize, Cell)>,
}

enum From {
    Batch(BatchScan),
    Topic(Box<TopicScan>),
}

/// A scan of the running batch.
struct BatchScan {
    running: Running,
    cursor: Cursor,
    /// The batch was decoded into exactly our fields, in our order.
    same_fields: bool,
    /// The number of the part whose block `rows` is.
    part: Option<usize>,
    rows: Arc<Rows>,
}

impl ForeignSource for KafkaScan {
    fn delivers_json(table: &Table, column: &Column) -> bool {
        ColumnSource::of(table, column) == ColumnSource::Value
    }

    fn converts(type_oid: pg_sys::Oid) -> bool {
        columns::cast_to(type_oid).is_some()
    }

    fn bounds(column: &Column) -> bool {
        let types: &[pg_sys::Oid] = match column.option("source") {
            Some("partition" | "offset") => &[pg_sys::INT4OID, pg_sys::INT8OID],
            Some("timestamp") => &[pg_sys::TIMESTAMPTZOID],
            _ => &[],
        };
        types.contains(&column.type_oid)
    }

    fn open(request: &ScanRequest) -> Result<KafkaScan> {
        let table = &request.table;
        source::check_wrapper(table)?;
        let KafkaSource { topic, format, .. } = KafkaSource::of(table)?;
        let (cells, fields) = cells(request);
        let headers = cells.iter().any(|(_, cell)| matches!(cell, Cell::Headers));
        if request.explain_only {
            session::note_needs(table.relid, &fields, headers);
        }
        let rows = match session::running(table, headers)? {
            Some(running) => From::Batch(BatchScan {
                same_fields: running.needs.fields == fields,
                running,
                cursor: Cursor::default(),
                part: None,
                rows: Arc::default(),
            }),
            None => {
                let scan = TopicScan::new(table, &topic, request.user, &fields, headers);
                From::Topic(Box::new(scan))
            }
        };
        Ok(KafkaScan {
            format,
            shape: Shape { topic, cells },
            fields,
            wants_errors: table.columns.iter().any(|c| c.option("source") == Some("error")),
            range_lines: request
                .range_texts
                .iter()
                .map(|(column, op, text)| format!("{column} {} {text}", op.symbol()))
                .collect(),
            rows,
        })
    }

    fn next(&mut self, bounds: &[Bound], out: &mut RowWriter<'_>) -> Result<bool> {
        loop {
            let (found, rows, in_batch) = match &mut self.rows {
                From::Batch(scan) => (scan.next(&self.fields, out)?, Some(&*scan.rows), true),
                From::Topic(scan) => (scan.next(bounds, out)?, scan.block(), false),
            };
            let (Some(index), Some(rows)) = (found, rows) else { return Ok(false) };
            let Some(row) = rows.row(index) else { return Ok(false) };
            if let Verdict::Bad(reason) = row.verdict {
                if in_batch {
                    // The worker records it with the batch.
                    continue;
                }
                if !self.wants_errors {
                    return Err(unparsable(&self.shape.topic, row, rows, reason));
                }
            }
            self.shape.fill(row, rows, rows.fields(index), out)?;
            return Ok(true);
        }
    }

    fn rescan(&mut self, new_bounds: bool) -> Result<()> {
        match &mut self.rows {
            From::Batch(scan) => {
                scan.cursor = Cursor::default();
                scan.part = None;
            }
            From::Topic(scan) => scan.rescan(new_bounds),
        }
        Ok(())
    }

    fn explain(&self) -> Vec<(&'static str, String)> {
        let mut lines =
            vec![("Kafka Topic", self.shape.topic.clone()), ("Kafka Format", self.format.clone())];
        let range = match self.range_lines.is_empty() {
            true => "all partitions, from the beginning to the end".to_owned(),
            false => self.range_lines.join(", "),
        };
        lines.push(("Kafka Range", range));
        if !self.fields.is_empty() {
            let names: Vec<String> = self.fields.iter().map(ToString::to_string).collect();
            lines.push(("Decoded Fields", names.join(", ")));
        }
        lines
    }
}

impl Shape {
    fn fill(
        &self,
        row: &Row,
        rows: &Rows,
        fields: &[Value],
        out: &mut RowWriter<'_>,
    ) -> Result<()> {
        let plain = row.verdict == Verdict::Plain;
        for (i, cell) in &self.cells {
            match cell {
                Cell::Field { index, fill, late, .. } if plain => {
                    let value = fields.get(*index).copied().unwrap_or(Value::Null);
                    set_value(*i, fill, *late, value, rows, out)?;
                }
                _ => self.fill_other(*i, cell, row, rows, out)?,
            }
        }
        Ok(())
    }

    /// Anything but a field of a message whose fields are known.
    fn fill_other(
        &self,
        i: usize,
        cell: &Cell,
        row: &Row,
        rows: &Rows,
        out: &mut RowWriter<'_>,
    ) -> Result<()> {
        let bad = matches!(row.verdict, Verdict::Bad(_));
        match cell {
            Cell::ValueBytes => out.set_bytes(i, row.value),
            Cell::ValueText | Cell::ValueInput | Cell::Field { .. } if bad => {}
            Cell::ValueText => out.set_text(i, row.value)?,
            Cell::ValueInput => set_input(i, rows.bytes_of(row.value), out)?,
            Cell::Key if out.type_oid(i) == pg_sys::BYTEAOID => out.set_bytes(i, row.key),
            Cell::Key => set_input(i, rows.bytes_of(row.key), out)?,
            Cell::Topic => set_input(i, Some(self.topic.as_bytes()), out)?,
            Cell::Partition => set_number(i, row.partition.into(), out)?,
            Cell::Offset => set_number(i, row.offset, out)?,
            Cell::Timestamp => set_timestamp(i, row.timestamp, out)?,
            Cell::Headers => set_input(i, rows.bytes_of(row.headers), out)?,
            Cell::Error => {
                if let Verdict::Bad(reason) = row.verdict {
                    set_input(i, rows.bytes_of(reason), out)?;
                }
            }
            // Text and json outputs are what the functions return; the others go through the type's
            // input function, which needs the text: ask the functions for that too.
            Cell::Field { calls, fill, late: true, .. } => {
                out.set_json_calls_late(i, row.value, calls, !matches!(fill, Fill::Text));
            }
            Cell::Field { calls, fill, .. } => match fill {
                Fill::Text => out.set_json_calls(i, row.value, calls)?,
                _ => {
                    let text = out.json_calls_text(row.value, calls)?;
                    set_field(i, fill, text.as_deref(), out)?;
                }
            },
        }
        Ok(())
    }
}

/// A field as the decoder has delivered it.
fn set_value(
    i: usize,
    fill: &Fill,
    late: bool,
    value: Value,
    rows: &Rows,
    out: &mut RowWriter<'_>,
) -> Result<()> {
    match (value, fill) {
        (Value::Null, _) => {}
        (Value::Fixed(bits), _) => out.set_i64(i, bits),
        (Value::Bytes(span), Fill::Text) => out.set_text(i, span)?,
        (Value::Bytes(span), Fill::Typed(Some(Cast::Uuid))) => out.set_reference(i, span),
        (Value::Bytes(span), Fill::Typed(Some(_))) => out.set_bytes(i, span),
        (Value::Bytes(span) | Value::Unconverted(span), Fill::Typed(_)) if late => {
            out.set_input_late(i, span);
        }
        (Value::Bytes(span) | Value::Unconverted(span), _) => {
            set_field(i, fill, rows.bytes_of(span), out)?;
        }
    }
    Ok(())
}

impl BatchScan {
    fn next(&mut self, fields: &[JsonField], out: &mut RowWriter<'_>) -> Result<Option<usize>> {
        let batch: &Batch = &self.running.batch;
        let progress = &self.running.progress;
        let Some((part, index)) = self.cursor.next(batch) else {
            progress.exhausted.set(true);
            return Ok(None);
        };
        progress.taken.set(self.cursor.taken());
        if self.part != Some(part) {
            let Some(decoded) = batch.parts().get(part) else { return Ok(None) };
            self.rows = match self.same_fields {
                true => Arc::clone(&decoded.rows),
                false => Arc::new(decode_again(&decoded.rows, fields)),
            };
            self.part = Some(part);
            out.set_block(&self.rows);
        }
        Ok(Some(index))
    }
}

/// Which cells the plan reads, and the distinct fields behind them.
fn cells(request: &ScanRequest) -> (Vec<(usize, Cell)>, Vec<JsonField>) {
    let mut fields: Vec<JsonField> = vec![];
    let mut cells = vec![];
    let used =
        request.outputs.iter().zip(&request.used).enumerate().filter(|(_, (_, used))| **used);
    for (i, (output, _)) in used {
        let can_wait = request.can_wait.get(i).is_some_and(|wait| *wait);
        let cell = match output {
            Output::Dropped => continue,
            Output::Json { calls, cast } => {
                let fill = match cast {
                    Some(type_oid) => Fill::Typed(columns::conversion(*type_oid)),
                    None => Fill::Text,
                };
                field_cell(calls, fill, can_wait, &mut fields)
            }
            Output::Column(column) => column_cell(&request.table, column, can_wait, &mut fields),
        };
        cells.push((i, cell));
    }
    (cells, fields)
}

fn column_cell(
    table: &Table,
    column: &Column,
    can_wait: bool,
    fields: &mut Vec<JsonField>,
) -> Cell {
    let type_oid = column.type_oid;
    match ColumnSource::of(table, column) {
        ColumnSource::Value => match type_oid {
            pg_sys::BYTEAOID => Cell::ValueBytes,
            pg_sys::JSONOID | pg_sys::TEXTOID => Cell::ValueText,
            _ => Cell::ValueInput,
        },
        ColumnSource::Key => Cell::Key,
        ColumnSource::Topic => Cell::Topic,
        ColumnSource::Partition => Cell::Partition,
        ColumnSource::Offset => Cell::Offset,
        ColumnSource::Timestamp => Cell::Timestamp,
        ColumnSource::Headers => Cell::Headers,
        ColumnSource::Error => Cell::Error,
        ColumnSource::Field(name) => {
            let fill = match type_oid {
                pg_sys::TEXTOID => Fill::Text,
                _ if columns::is_json(column) => Fill::Json,
                _ if column.is_array => Fill::Array,
                _ if column.typmod == -1 => Fill::Typed(columns::conversion(type_oid)),
                _ => Fill::Typed(None),
            };
            field_cell(&[columns::field_call(column, &name)], fill, can_wait, fields)
        }
    }
}

fn field_cell(calls: &[JsonCall], fill: Fill, can_wait: bool, fields: &mut Vec<JsonField>) -> Cell {
    let cast = if let Fill::Typed(cast) = fill { cast } else { None };
    let late = can_wait && matches!(fill, Fill::Text | Fill::Typed(_));
    let field = columns::json_field(calls, cast);
    let index = fields.iter().position(|f| *f == field).unwrap_or_else(|| {
        fields.push(field);
        fields.len() - 1
    });
    Cell::Field { index, calls: calls.into(), fill, late }
}

fn set_field(i: usize, fill: &Fill, bytes: Option<&[u8]>, out: &mut RowWriter<'_>) -> Result<()> {
    let Some(bytes) = bytes else { return Ok(()) };
    match fill {
        Fill::Json | Fill::Array if bytes == b"null" => Ok(()),
        Fill::Array => {
            let literal = std::str::from_utf8(bytes).ok().and_then(array_literal);
            out.set_input(i, literal.as_deref().map_or(bytes, str::as_bytes))
        }
        _ => out.set_input(i, bytes),
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

fn unparsable(topic: &str, row: &Row, rows: &Rows, reason: Span) -> Error {
    let reason = String::from_utf8_lossy(rows.bytes_of(reason).unwrap_or_default()).into_owned();
    Error::new(SqlState::INVALID_TEXT, reason)
        .detail(format!(
            "Message at topic \"{topic}\", partition {}, offset {}.",
            row.partition, row.offset
        ))
        .hint(
            "Add a column with OPTIONS (source 'error') to the foreign table to see messages that \
             do not parse as rows, or exclude the message by its offset.",
        )
}
