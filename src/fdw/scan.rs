//! The scan of a foreign table: of a worker's batch inside a job's statement, of the topic itself
//! anywhere else.

use super::batch::{Batch, Cursor, decode_again};
use super::columns::{self, ColumnSource, Layout};
use super::custom::{self, OutputColumn, RowFunction, TextRows};
use super::handover::{self, Running};
use super::needs::Needs;
use super::projection::Projection;
use super::source::{self, TopicOptions};
use super::topic_scan::TopicScan;
use crate::pg::fdw::{Bound, Column, Conversion, ForeignSource, RowWriter, ScanRequest, Table};
use gpss_format::{MessageDecoder, width};
use gpss_model::block::{Block, MessageSpans, Side, Span, Verdict};
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::format::Format;
use pgrx::pg_sys;
use std::ops::Range;
use std::sync::Arc;

/// A scan from Begin to End.
pub struct KafkaScan {
    format: &'static str,
    shape: Projection,
    /// What the decoders deliver for this scan.
    needs: Needs,
    /// Whether the table wants to see messages that do not parse.
    wants_errors: bool,
    range_lines: Vec<String>,
    rows: From,
    /// The functions of format custom, for value and key.
    functions: Option<Box<Functions>>,
    /// The message that is being handed out, and its records that have not been.
    current: (usize, Range<usize>),
    /// Rows that have been made of it, or tried.
    made: usize,
}

/// The functions of a table of format custom.
struct Functions {
    value: Option<RowFunction>,
    key: Option<RowFunction>,
    places: [Vec<OutputColumn>; 2],
    /// For the current message; `value` holds those that have not been handed out, the last first.
    rows: [TextRows; 2],
}

enum From {
    Batch(BatchScan),
    Topic(Box<TopicScan>),
}

/// A scan of the running batch.
struct BatchScan {
    running: Running,
    cursor: Cursor,
    /// None when the batch was decoded into what we want.
    again: Option<MessageDecoder>,
    /// The number of the part whose block `rows` is.
    part: Option<usize>,
    rows: Arc<Block>,
}

impl ForeignSource for KafkaScan {
    fn delivers_json(table: &Table, column: &Column) -> bool {
        let Ok(layout) = Layout::of(table) else { return false };
        let mut sources = table.columns.iter().zip(&layout.sources);
        match sources.find(|(c, _)| c.attnum == column.attnum) {
            Some((_, ColumnSource::Whole(side))) => {
                layout.format(*side).is_some_and(Format::is_document)
            }
            _ => false,
        }
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
        let source = TopicOptions::of(table)?;
        let layout = Layout::of(table)?;
        let outputs = (&*request.outputs, &*request.used, &*request.can_wait);
        let (mut shape, needs) = Projection::new(&source.topic, &layout, &table.columns, outputs)?;
        if request.explain_only {
            handover::note_needs(table.relid, &needs);
        }
        let rows = match handover::running(table, request.statement, &layout, needs.headers)? {
            Some(running) => {
                running.progress.begin_scan();
                From::Batch(BatchScan {
                    again: match shape.look_in(&running.decoding.needs) {
                        true => None,
                        false => {
                            shape.look_in(&needs);
                            Some(running.decoding.decoder_of_scan(&needs)?)
                        }
                    },
                    running,
                    cursor: Cursor::default(),
                    part: None,
                    rows: Arc::default(),
                })
            }
            None => {
                let scan = TopicScan::new(table, &source, request.user, needs.clone());
                From::Topic(Box::new(scan))
            }
        };
        Ok(KafkaScan {
            format: layout.format(Side::Value).map_or("none", Format::name),
            needs,
            wants_errors: layout.sources.contains(&ColumnSource::Error),
            range_lines: request
                .range_texts
                .iter()
                .map(|(column, op, text)| format!("{column} {} {text}", op.symbol()))
                .collect(),
            functions: match request.explain_only {
                true => None,
                false => Functions::of(table, &layout, &shape)?.map(Box::new),
            },
            shape,
            rows,
            current: (0, 0..0),
            made: 0,
        })
    }

    fn next(&mut self, bounds: &[Bound], out: &mut RowWriter<'_>) -> Result<bool> {
        loop {
            if let Some(record) = self.current.1.clone().next() {
                let rows = match &self.rows {
                    From::Batch(scan) => Some(&*scan.rows),
                    From::Topic(scan) => scan.block().map(|rows| &**rows),
                };
                let Some(rows) = rows else { return Ok(false) };
                let Some(row) = rows.row(self.current.0) else { return Ok(false) };
                self.made += 1;
                let more = match &mut self.functions {
                    None => false,
                    Some(functions) => match functions.fill(row, rows, out)? {
                        Filled::Nothing => {
                            self.current.1 = 0..0;
                            continue;
                        }
                        Filled::Last => false,
                        Filled::More => true,
                    },
                };
                if !more {
                    self.current.1.start += 1;
                }
                self.shape.fill(row, rows, Some(record), out)?;
                return Ok(true);
            }
            let (found, rows, in_batch) = match &mut self.rows {
                From::Batch(scan) => (scan.next(&self.needs, out)?, Some(&*scan.rows), true),
                From::Topic(scan) => {
                    let found = scan.next(bounds, &mut |rows| out.set_block(rows))?;
                    (found, scan.block().map(|rows| &**rows), false)
                }
            };
            let (Some(index), Some(rows)) = (found, rows) else { return Ok(false) };
            let Some(row) = rows.row(index) else { return Ok(false) };
            (self.current, self.made) = ((index, row.records()), 0);
            match row.verdict {
                Verdict::Good => {}
                // The worker records it with the batch.
                Verdict::Bad(_) if in_batch => {}
                Verdict::Bad(_) if self.wants_errors => {
                    self.shape.fill(row, rows, None, out)?;
                    return Ok(true);
                }
                Verdict::Bad(reason) => {
                    return Err(unparsable(rows, reason));
                }
            }
        }
    }

    fn tells_place(&self) -> bool {
        // A worker knows which message its statement took last.
        matches!(self.rows, From::Topic(_))
    }

    fn place(&self) -> Option<String> {
        let From::Topic(scan) = &self.rows else { return None };
        let row = scan.block()?.row(self.current.0)?;
        Some(place(self.shape.topic(), row))
    }

    fn may_leave_out(&self) -> bool {
        matches!(&self.rows, From::Batch(scan) if scan.running.progress.may_leave_out())
    }

    fn leave_out(&mut self, error: &Error, conversion: Option<Conversion>) -> bool {
        let From::Batch(BatchScan { running: Running { progress, .. }, .. }) = &self.rows else {
            return false;
        };
        if self.made > 1 || !progress.may_leave_out() {
            progress.conversion.replace(conversion);
            return false;
        }
        progress.leave_out(error.clone(), conversion);
        self.forget_current();
        true
    }

    fn rescan(&mut self, new_bounds: bool) -> Result<()> {
        self.forget_current();
        match &mut self.rows {
            From::Batch(scan) => {
                scan.running.progress.begin_scan();
                scan.cursor = Cursor::default();
                scan.part = None;
            }
            From::Topic(scan) => scan.rescan(new_bounds),
        }
        Ok(())
    }

    fn explain(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("Kafka Topic", self.shape.topic().to_owned()),
            ("Kafka Format", self.format.to_owned()),
        ];
        let range = match self.range_lines.is_empty() {
            true => "all partitions, from the beginning to the end".to_owned(),
            false => self.range_lines.join(", "),
        };
        lines.push(("Kafka Range", range));
        let labels = ["Decoded Fields", "Decoded Key Fields"];
        for (label, wanted) in labels.into_iter().zip(&self.needs.sides) {
            let fields = wanted.fields.iter().map(ToString::to_string);
            let names: Vec<_> =
                fields.chain(wanted.texts.iter().map(ToString::to_string)).collect();
            if !names.is_empty() {
                lines.push((label, names.join(", ")));
            }
        }
        lines
    }
}

impl KafkaScan {
    fn forget_current(&mut self) {
        self.current = (0, 0..0);
        if let Some(functions) = &mut self.functions {
            functions.rows = Default::default();
        }
    }
}

/// Whether the functions have filled a row.
enum Filled {
    /// They returned no row for the message.
    Nothing,
    More,
    Last,
}

impl Functions {
    fn of(table: &Table, layout: &Layout, shape: &Projection) -> Result<Option<Functions>> {
        let value = RowFunction::of(table, layout, Side::Value)?;
        let key = RowFunction::of(table, layout, Side::Key)?;
        let places = Side::BOTH.map(|side| shape.returned(side));
        let any = value.is_some() || key.is_some();
        Ok(any.then(|| Functions { value, key, places, rows: Default::default() }))
    }

    /// Fills the columns that the functions return; calls them when a message begins.
    fn fill(
        &mut self,
        row: &MessageSpans,
        rows: &Block,
        out: &mut RowWriter<'_>,
    ) -> Result<Filled> {
        let [of_value, of_key] = &mut self.rows;
        if of_value.is_empty() {
            *of_key = match &mut self.key {
                Some(key) => key.rows(rows.bytes_of(row.key))?,
                None => vec![],
            };
            if of_key.len() > 1 {
                return Err(Error::new(
                    SqlState::INVALID_TEXT,
                    "in the message's key: more than one record",
                ));
            }
            *of_value = match &mut self.value {
                Some(value) => value.rows(rows.bytes_of(row.value))?,
                None => vec![vec![]],
            };
            of_value.reverse();
        }
        let Some(value) = of_value.pop() else { return Ok(Filled::Nothing) };
        custom::fill(&self.places[0], &value, out)?;
        custom::fill(&self.places[1], of_key.first().map_or(&[][..], Vec::as_slice), out)?;
        Ok(if of_value.is_empty() { Filled::Last } else { Filled::More })
    }
}

impl BatchScan {
    fn next(&mut self, needs: &Needs, out: &mut RowWriter<'_>) -> Result<Option<usize>> {
        let batch: &Batch = &self.running.batch;
        let progress = &self.running.progress;
        progress.asked.set(true);
        let (part, index) = loop {
            let Some(next) = self.cursor.next(batch) else {
                progress.exhausted.set(true);
                return Ok(None);
            };
            let taken = self.cursor.taken();
            progress.taken.set(taken);
            if !progress.is_left_out(taken - 1) {
                break next;
            }
        };
        if self.part != Some(part) {
            let Some(decoded) = batch.parts().get(part) else { return Ok(None) };
            self.rows = match &mut self.again {
                None => Arc::clone(&decoded.rows),
                Some(decoder) => {
                    Arc::new(decode_again(&decoded.rows, decoder, width(&needs.sides))?)
                }
            };
            self.part = Some(part);
            out.set_block(&self.rows);
        }
        Ok(Some(index))
    }
}

fn unparsable(rows: &Block, reason: Span) -> Error {
    Error::new(SqlState::INVALID_TEXT, rows.text_of(reason)).hint(
        "Add a column with OPTIONS (source 'error') to the foreign table to see messages that \
         do not parse as rows, or exclude the message by its offset.",
    )
}

fn place(topic: &str, row: &MessageSpans) -> String {
    format!("Message at topic \"{topic}\", partition {}, offset {}", row.partition, row.offset)
}
