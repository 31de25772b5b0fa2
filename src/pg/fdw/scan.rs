//! Execution of a foreign scan: from the executor's callbacks to `ForeignSource::next` and back
//! into the scan slot.

use super::plan::{JsonCall, Private, RangeClause, ScanColumn};
use super::table::{Column, Table};
use super::{ForeignSource, RangeOp};
use crate::pg::acl::OwnersCode;
use crate::pg::call::Text;
use crate::pg::column_type::ColumnType;
use crate::pg::datum::Inputs;
use crate::pg::spi::StatementId;
use crate::pg::subtx::subtx;
use crate::pg::tx::Tx;
use crate::pg::{caught, compat, datum, encoding, mcx, signals, slot};
use gpss_model::block::{Block, Span};
use gpss_model::error::{Class, Error, Result};
use pgrx::prelude::*;
use pgrx::{PgList, pg_sys};
use std::ffi::CStr;
use std::sync::Arc;

/// One column of the rows that the scan delivers.
#[derive(Clone, Debug)]
pub enum ScanOutput {
    /// A column of the table.
    Column(Column),
    /// The value of an expression over a json column of the table, converted if a type is given.
    Json { column: Column, calls: Vec<JsonCall>, cast: Option<pg_sys::Oid> },
    /// A dropped column: always NULL.
    Dropped,
}

/// What a scan is asked for.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    pub table: Table,
    /// In the order of the scan's row type.
    pub outputs: Vec<ScanOutput>,
    /// Which of the outputs the finished plan reads; the others may stay NULL.
    pub used: Vec<bool>,
    /// Which of the outputs have to wait until the scan's conditions have let the row pass: there are
    /// conditions, which do not read them and may be asked twice.
    pub can_wait: Vec<bool>,
    /// Bounds as EXPLAIN prints them: column, comparison, value.
    pub range_texts: Vec<(String, RangeOp, String)>,
    /// The role whose user mapping applies (the view's owner behind a view).
    pub user: pg_sys::Oid,
    /// The statement that the scan is part of, if it has a text.
    pub statement: Option<StatementId>,
    /// EXPLAIN without ANALYZE: nothing will be read.
    pub explain_only: bool,
}

/// A bound with its value; timestamps are microseconds since 2000-01-01 UTC, as PostgreSQL's are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    pub attnum: i16,
    pub op: RangeOp,
    /// One value, or for `= ANY` all of them; empty when it was NULL (no row satisfies it).
    pub values: Vec<i64>,
}

impl Bound {
    /// Whether a value of the column satisfies it.
    pub fn admits(&self, value: i64) -> bool {
        self.values.iter().any(|bound| self.op.holds(value, *bound))
    }
}

impl ScanOutput {
    /// As a user may read it.
    fn name(&self) -> String {
        match self {
            ScanOutput::Column(column) => format!("column \"{}\"", column.name),
            ScanOutput::Json { column, calls, .. } => {
                let calls: String = calls.iter().map(ToString::to_string).collect();
                format!("column \"{}\"{calls}", column.name)
            }
            ScanOutput::Dropped => String::new(),
        }
    }
}

/// A text of a message becoming a column's value; equal for all scans that do the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Conversion {
    /// As `ScanOutput::name`.
    output: String,
    type_oid: u32,
    typmod: i32,
}

struct State<S> {
    /// None once the scan has ended, so that it does not keep its connection.
    source: Option<S>,
    tells_place: bool,
    /// The outputs as errors call them.
    names: Vec<String>,
    ranges: Vec<RangeClause>,
    range_exprs: *mut pg_sys::List,
    bounds: Option<Vec<Bound>>,
    columns: Columns,
}

/// What a row writer keeps from row to row.
pub(super) struct Columns {
    /// The outputs' input functions, looked up at first use.
    inputs: Option<Inputs>,
    types: Vec<ColumnType>,
    /// Keeps the block alive that the slot's datums point into.
    held: Arc<Block>,
    /// Text datums may point into the block as they are: the server's encoding is UTF-8 or none.
    utf8: bool,
    /// Columns of the current row that are set when the conditions have let it pass.
    late: Vec<(usize, Late)>,
    /// Whose code the columns' types are, which its reader need not trust.
    code: Option<OwnersCode>,
    /// The column whose value is being made, and stays it when that fails.
    making: Option<usize>,
    /// It is made of its own text, whatever else the message holds.
    converts: bool,
    /// A value that cannot be made leaves the transaction as it was.
    apart: bool,
}

impl Columns {
    pub(super) fn new(types: Vec<ColumnType>, code: Option<OwnersCode>) -> Columns {
        Columns {
            inputs: None,
            types,
            held: Arc::new(Block::default()),
            utf8: encoding::server_is_utf8(),
            late: vec![],
            code,
            making: None,
            converts: false,
            apart: false,
        }
    }

    /// What has failed, if it was that.
    fn conversion(&self, names: &[String]) -> Option<Conversion> {
        let index = self.making.filter(|_| self.converts)?;
        let (output, column) = (names.get(index)?.clone(), self.types.get(index)?);
        Some(Conversion { output, type_oid: column.oid.to_u32(), typmod: column.typmod })
    }
}

/// What a column is made of when its turn comes.
enum Late {
    /// This text, by the type's input function.
    Text(Span),
    /// What the calls give for the document, as it is or by the type's input function.
    Calls { document: Span, calls: Arc<[JsonCall]>, convert: bool },
}

#[pg_guard]
pub(super) unsafe extern "C-unwind" fn begin_foreign_scan<S: ForeignSource>(
    node: *mut pg_sys::ForeignScanState,
    eflags: std::ffi::c_int,
) {
    // SAFETY: the executor passes an initialised node whose plan is a ForeignScan made by
    // get_foreign_plan; the state is freed with the query's memory context.
    unsafe {
        let plan = (*node).ss.ps.plan.cast::<pg_sys::ForeignScan>();
        let private = read_private((*plan).fdw_private);
        let relation = (*node).ss.ss_currentRelation;
        let table = Table::load((*relation).rd_id);
        let outputs = outputs(&private, &table, (*(*relation).rd_att).natts);
        let custom = !private.columns.is_empty();
        let (tlist, qual) = ((*plan).scan.plan.targetlist, (*plan).scan.plan.qual);
        let mut used = read_outputs(plan, &[tlist, qual], outputs.len(), custom);
        let can_wait = if qual.is_null() || pg_sys::contain_volatile_functions(qual.cast()) {
            vec![false; outputs.len()]
        } else {
            let read = read_outputs(plan, &[qual], outputs.len(), custom);
            read.into_iter().map(|read| !read).collect()
        };
        if let Some(needed) = &private.needed {
            for (output, used) in outputs.iter().zip(&mut used) {
                *used &= !matches!(output, ScanOutput::Column(c) if !needed.contains(&c.attnum));
            }
        }
        let names = |attnum| {
            let column = table.columns.iter().find(|c| c.attnum == attnum);
            column.map(|c| c.name.clone()).unwrap_or_default()
        };
        let request = ScanRequest {
            range_texts: private
                .ranges
                .iter()
                .map(|r| (names(r.attnum), r.op, r.text.clone()))
                .collect(),
            outputs,
            used,
            can_wait,
            user: compat::check_as_user(node),
            statement: StatementId::of((*(*node).ss.ps.state).es_sourceText),
            explain_only: eflags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as i32 != 0,
            table,
        };
        let source = S::open(&request).unwrap_or_else(|e| caught::raise(e));
        let code = OwnersCode::of(request.table.owner, &request.table.schema);
        let range_exprs = pg_sys::ExecInitExprList((*plan).fdw_exprs, node.cast());
        let descriptor = (*(*node).ss.ss_ScanTupleSlot).tts_tupleDescriptor;
        let types: Vec<_> = (0..(*descriptor).natts as usize)
            .map(|i| compat::attribute_type(descriptor, i))
            .collect();
        let state = State {
            tells_place: source.tells_place(),
            names: request.outputs.iter().map(ScanOutput::name).collect(),
            source: Some(source),
            ranges: private.ranges,
            range_exprs,
            bounds: None,
            columns: Columns::new(types, Some(code)),
        };
        // ExecInitNode runs in the query's context (es_query_cxt).
        (*node).fdw_state = mcx::attach(state).as_ptr().cast();
    }
}

#[pg_guard]
pub(super) unsafe extern "C-unwind" fn iterate_foreign_scan<S: ForeignSource>(
    node: *mut pg_sys::ForeignScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: fdw_state is the State of begin_foreign_scan; the slot's arrays have natts entries
    // (execTuples.c) and are overwritten as ExecStoreVirtualTuple's contract wants.
    unsafe {
        let state = &mut *(*node).fdw_state.cast::<State<S>>();
        let slot = (*node).ss.ss_ScanTupleSlot;
        if state.bounds.is_none() {
            let bounds = evaluate(&state.ranges, state.range_exprs, (*node).ss.ps.ps_ExprContext);
            state.bounds = Some(bounds);
        }
        loop {
            let Err(error) = fill(node, slot, state) else { return slot };
            let error = caught::beyond_postgres(error);
            let conversion = state.columns.conversion(&state.names);
            let is_rows = state.columns.making.is_some() && error.class() == Class::Data;
            let leave_out = |source: &mut S| is_rows && source.leave_out(&error, conversion);
            if !state.source.as_mut().is_some_and(leave_out) {
                caught::raise(error);
            }
            // As before each row (ExecScan).
            pg_sys::MemoryContextReset((*(*node).ss.ps.ps_ExprContext).ecxt_per_tuple_memory);
            signals::check_for_interrupts();
        }
    }
}

/// Fills the slot with the next row; it stays empty at the end.
///
/// # Safety
/// `node` is being iterated, the slot and the state are its own.
unsafe fn fill<S: ForeignSource>(
    node: *mut pg_sys::ForeignScanState,
    slot: *mut pg_sys::TupleTableSlot,
    state: &mut State<S>,
) -> Result<()> {
    // SAFETY: the slot's arrays have natts entries (execTuples.c) and are overwritten as
    // ExecStoreVirtualTuple's contract wants.
    unsafe {
        slot::clear(slot);
        let Some(source) = &mut state.source else { return Ok(()) };
        state.columns.late.clear();
        state.columns.making = None;
        state.columns.apart = source.may_leave_out();
        let natts = state.columns.types.len();
        let mut row = RowWriter::new(
            std::slice::from_raw_parts_mut((*slot).tts_values, natts),
            std::slice::from_raw_parts_mut((*slot).tts_isnull, natts),
            &mut state.columns,
        );
        let mut fill = || {
            let found = source.next(state.bounds.as_deref().unwrap_or(&[]), &mut row)?;
            if found {
                slot::store_virtual(slot);
                if !row.columns.late.is_empty() && passes(node, slot) {
                    row.set_late()?;
                }
            }
            Ok(())
        };
        // pgrx drops the CONTEXT of errors, hence the DETAIL.
        match state.tells_place {
            true => caught::caught(fill).map_err(|error| {
                let column = state.columns.making.and_then(|index| state.names.get(index));
                in_place(error, source.place(), column)
            }),
            false => fill(),
        }
    }
}

fn in_place(mut error: Error, place: Option<String>, column: Option<&String>) -> Error {
    if error.class() == Class::Data
        && let Some(place) = place
    {
        let place = match column {
            Some(column) => format!("{place}, {column}."),
            None => format!("{place}."),
        };
        error.detail = Some(match error.detail {
            Some(detail) if detail != place => format!("{detail} {place}"),
            _ => place,
        });
    }
    error
}

/// Do the scan's conditions let the row pass? (ExecQual; the executor will ask again.)
///
/// # Safety
/// `node` is being iterated, the slot is its filled scan slot.
unsafe fn passes(node: *mut pg_sys::ForeignScanState, slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: execExpr.c: a NULL qual is always true; one made by ExecInitQual never gives NULL.
    unsafe {
        let (qual, context) = ((*node).ss.ps.qual, (*node).ss.ps.ps_ExprContext);
        let mut null = false;
        (*context).ecxt_scantuple = slot;
        qual.is_null() || pg_sys::ExecEvalExprSwitchContext(qual, context, &mut null).value() != 0
    }
}

#[pg_guard]
pub(super) unsafe extern "C-unwind" fn rescan_foreign_scan<S: ForeignSource>(
    node: *mut pg_sys::ForeignScanState,
) {
    // SAFETY: fdw_state is the State of begin_foreign_scan.
    unsafe {
        let state = &mut *(*node).fdw_state.cast::<State<S>>();
        let new_bounds = !(*node).ss.ps.chgParam.is_null() && !state.ranges.is_empty();
        if new_bounds {
            state.bounds = None;
        }
        if let Some(Err(e)) = state.source.as_mut().map(|source| source.rescan(new_bounds)) {
            caught::raise(e);
        }
    }
}

#[pg_guard]
pub(super) unsafe extern "C-unwind" fn end_foreign_scan<S: ForeignSource>(
    node: *mut pg_sys::ForeignScanState,
) {
    // SAFETY: fdw_state is the State of begin_foreign_scan, which the query's context frees later.
    unsafe { (*(*node).fdw_state.cast::<State<S>>()).source = None };
}

#[pg_guard]
pub(super) unsafe extern "C-unwind" fn explain_foreign_scan<S: ForeignSource>(
    node: *mut pg_sys::ForeignScanState,
    es: *mut pg_sys::ExplainState,
) {
    // SAFETY: fdw_state is the State of begin_foreign_scan; ExplainPropertyText copies the text.
    unsafe {
        let state = &*(*node).fdw_state.cast::<State<S>>();
        for (label, text) in state.source.iter().flat_map(ForeignSource::explain) {
            let [label, text] = [label.to_owned(), text.replace('\0', "")]
                .map(|text| encoding::c_string(&text).unwrap_or_default());
            pg_sys::ExplainPropertyText(label.as_ptr(), text.as_ptr(), es);
        }
    }
}

/// # Safety
/// `list` is the `fdw_private` that get_foreign_plan made.
unsafe fn read_private(list: *mut pg_sys::List) -> Private {
    // SAFETY: its only member is a String node.
    unsafe {
        let text = PgList::<pg_sys::Node>::from_pg(list)
            .get_ptr(0)
            .map(|node| CStr::from_ptr(compat::string_value(node)).to_string_lossy());
        text.and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default()
    }
}

fn outputs(private: &Private, table: &Table, natts: i32) -> Vec<ScanOutput> {
    let column = |attnum: i16| table.columns.iter().find(|c| c.attnum == attnum).cloned();
    if private.columns.is_empty() {
        return (1..=natts as i16)
            .map(|attnum| column(attnum).map_or(ScanOutput::Dropped, ScanOutput::Column))
            .collect();
    }
    let output = |scan_column: &ScanColumn| match scan_column {
        ScanColumn::Attribute(attnum) => {
            column(*attnum).map_or(ScanOutput::Dropped, ScanOutput::Column)
        }
        ScanColumn::Json { attnum, calls, cast } => match column(*attnum) {
            Some(column) => {
                ScanOutput::Json { column, calls: calls.clone(), cast: cast.map(pg_sys::Oid::from) }
            }
            None => ScanOutput::Dropped,
        },
    };
    private.columns.iter().map(output).collect()
}

/// Which scan columns these expressions of the finished plan read.
///
/// # Safety
/// `plan` is a finished (set_plan_references) ForeignScan, the lists are its own.
unsafe fn read_outputs(
    plan: *mut pg_sys::ForeignScan,
    lists: &[*mut pg_sys::List],
    count: usize,
    custom: bool,
) -> Vec<bool> {
    // SAFETY: by contract; pull_varattnos allocates its set in the current context.
    unsafe {
        let varno = if custom { pg_sys::INDEX_VAR as u32 } else { (*plan).scan.scanrelid };
        let mut attnos = std::ptr::null_mut();
        for list in lists {
            pg_sys::pull_varattnos(list.cast(), varno as _, &mut attnos);
        }
        let offset = pg_sys::FirstLowInvalidHeapAttributeNumber;
        let whole_row = pg_sys::bms_is_member(-offset, attnos);
        (1..=count as i32).map(|n| whole_row || pg_sys::bms_is_member(n - offset, attnos)).collect()
    }
}

/// # Safety
/// `exprs` is the list of ExprState of the same length as `ranges`; `context` is the node's.
unsafe fn evaluate(
    ranges: &[RangeClause],
    exprs: *mut pg_sys::List,
    context: *mut pg_sys::ExprContext,
) -> Vec<Bound> {
    // SAFETY: ExecInitExprList made the states; the result's type is the one recorded at planning.
    unsafe {
        let exprs = PgList::<pg_sys::ExprState>::from_pg(exprs);
        ranges
            .iter()
            .zip(exprs.iter_ptr())
            .map(|(range, expr)| {
                let mut null = false;
                let datum = pg_sys::ExecEvalExprSwitchContext(expr, context, &mut null);
                let type_oid = pg_sys::Oid::from(range.type_oid);
                let values = if null { vec![] } else { integers(datum, type_oid) };
                Bound { attnum: range.attnum, op: range.op, values }
            })
            .collect()
    }
}

/// # Safety
/// `datum` is of type `type_oid`.
unsafe fn integers(datum: pg_sys::Datum, type_oid: pg_sys::Oid) -> Vec<i64> {
    // SAFETY: by contract.
    unsafe {
        match type_oid {
            pg_sys::INT2OID => i16::from_datum(datum, false).map(|v| vec![v.into()]),
            pg_sys::INT4OID => i32::from_datum(datum, false).map(|v| vec![v.into()]),
            pg_sys::INT4ARRAYOID => Vec::<Option<i32>>::from_datum(datum, false)
                .map(|items| items.into_iter().flatten().map(i64::from).collect()),
            pg_sys::INT8ARRAYOID => Vec::<Option<i64>>::from_datum(datum, false)
                .map(|items| items.into_iter().flatten().collect()),
            // int8 and timestamptz are both the 64 bits of the datum.
            _ => i64::from_datum(datum, false).map(|v| vec![v]),
        }
        .unwrap_or_default()
    }
}

/// The row being filled. Every column is NULL until it is set.
///
/// Raises: setters that call an input function raise that function's ERROR.
pub struct RowWriter<'a> {
    values: &'a mut [pg_sys::Datum],
    nulls: &'a mut [bool],
    columns: &'a mut Columns,
}

impl<'a> RowWriter<'a> {
    /// Over a slot's arrays.
    pub(super) fn new(
        values: &'a mut [pg_sys::Datum],
        nulls: &'a mut [bool],
        columns: &'a mut Columns,
    ) -> RowWriter<'a> {
        nulls.fill(true);
        RowWriter { values, nulls, columns }
    }

    /// Says which block the spans of this and the following rows belong to.
    pub fn set_block(&mut self, rows: &Arc<Block>) {
        self.columns.held = Arc::clone(rows);
    }

    /// The type of an output column.
    pub fn type_oid(&self, index: usize) -> pg_sys::Oid {
        self.columns.types.get(index).map_or(pg_sys::InvalidOid, |t| t.oid)
    }

    /// Makes a column's value by what may fail, and raise.
    fn make<T>(&mut self, index: usize, value: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.columns.making = Some(index);
        self.columns.converts = false;
        let value = match self.columns.apart {
            true => subtx(&Tx::current(), || value(self))?,
            false => value(self)?,
        };
        self.columns.making = None;
        Ok(value)
    }

    fn set(&mut self, index: usize, datum: pg_sys::Datum) {
        if let (Some(value), Some(null)) = (self.values.get_mut(index), self.nulls.get_mut(index)) {
            *value = datum;
            *null = false;
        }
    }

    pub fn set_i32(&mut self, index: usize, value: i32) {
        self.set(index, pg_sys::Datum::from(value));
    }

    /// An int8, a timestamp, or the bits of a datum of any type that is passed by value.
    pub fn set_i64(&mut self, index: usize, value: i64) {
        self.set(index, pg_sys::Datum::from(value));
    }

    /// Bytes of the block for a type of fixed length that is passed by reference; not copied.
    pub fn set_reference(&mut self, index: usize, span: Span) {
        if let Some(bytes) = self.columns.held.bytes_of(span) {
            let datum = pg_sys::Datum::from(bytes.as_ptr());
            self.set(index, datum);
        }
    }

    /// Bytes of the block as bytea, or as the type of length -1 they are the value of; not copied.
    pub fn set_bytes(&mut self, index: usize, span: Span) {
        if let Some(varlena) = self.columns.held.varlena_of(span) {
            let datum = pg_sys::Datum::from(varlena.as_ptr());
            self.set(index, datum);
        }
    }

    /// UTF-8 text of the block (the decoder has checked it) as a text or json datum; not copied
    /// unless the server's encoding is another.
    pub fn set_text(&mut self, index: usize, span: Span) -> Result<()> {
        if self.columns.utf8 {
            self.set_bytes(index, span);
        } else if self.columns.held.bytes_of(span).is_some() {
            let held = Arc::clone(&self.columns.held);
            let bytes = held.bytes_of(span).unwrap_or_default();
            let datum = self.make(index, |row| {
                row.columns.converts = true;
                datum::text_from_bytes(bytes)
            })?;
            self.set(index, datum);
        }
        Ok(())
    }

    /// Any type through its input function, with the column's type modifier, as COPY does.
    pub fn set_input(&mut self, index: usize, text: &[u8]) -> Result<()> {
        let datum = self.make(index, |row| {
            row.columns.converts = true;
            let Columns { inputs, types, code, .. } = &mut *row.columns;
            let inputs = inputs.get_or_insert_with(|| Inputs::new(types, code.clone()));
            inputs.call(index, Some(text))
        })?;
        if let Some(datum) = datum {
            self.set(index, datum);
        }
        Ok(())
    }

    /// As `set_input` with this text, for a column that can wait.
    pub fn set_input_late(&mut self, index: usize, text: Span) {
        self.columns.late.push((index, Late::Text(text)));
    }

    /// As `set_json_calls`, or `set_input` with what they give, for a column that can wait.
    pub fn set_json_calls_late(
        &mut self,
        index: usize,
        document: Span,
        calls: &Arc<[JsonCall]>,
        convert: bool,
    ) {
        let late = Late::Calls { document, calls: Arc::clone(calls), convert };
        self.columns.late.push((index, late));
    }

    fn set_late(&mut self) -> Result<()> {
        let held = Arc::clone(&self.columns.held);
        // Put back for the next row, which need not allocate then.
        let mut columns = std::mem::take(&mut self.columns.late);
        for (index, late) in columns.drain(..) {
            match late {
                Late::Text(text) => {
                    self.set_input(index, held.bytes_of(text).unwrap_or_default())?;
                }
                Late::Calls { document, calls, convert: false } => {
                    self.set_json_calls(index, document, &calls)?;
                }
                Late::Calls { document, calls, convert: true } => {
                    if let Some(text) = self.json_calls_text(index, document, &calls)? {
                        self.set_input(index, &text)?;
                    }
                }
            }
        }
        self.columns.late = columns;
        Ok(())
    }

    /// What PostgreSQL's own functions return for the calls over this JSON document.
    pub fn set_json_calls(
        &mut self,
        index: usize,
        document: Span,
        calls: &[JsonCall],
    ) -> Result<()> {
        if let Some(datum) = self.make(index, |row| row.json_calls(document, calls))? {
            self.set(index, datum);
        }
        Ok(())
    }

    /// The same as bytes; None for SQL NULL.
    pub fn json_calls_text(
        &mut self,
        index: usize,
        document: Span,
        calls: &[JsonCall],
    ) -> Result<Option<Vec<u8>>> {
        let datum = self.make(index, |row| row.json_calls(document, calls))?;
        // SAFETY: the functions return text or json, which have the same representation.
        let text = datum.and_then(|datum| unsafe { Text::from_datum(datum, false) });
        Ok(text.map(|text| text.0.into_bytes()))
    }

    fn json_calls(&self, document: Span, calls: &[JsonCall]) -> Result<Option<pg_sys::Datum>> {
        let Some(bytes) = self.columns.held.bytes_of(document) else { return Ok(None) };
        Ok(calls.iter().try_fold(datum::text_from_bytes(bytes)?, apply))
    }
}

/// One call of jsonfuncs.c over a json datum; None for SQL NULL.
fn apply(json: pg_sys::Datum, call: &JsonCall) -> Option<pg_sys::Datum> {
    let text = |key: &String| Text(key.clone());
    let texts = |path: &[String]| path.iter().map(text).collect::<Vec<Text>>();
    // SAFETY: the functions are built in and strict, the arguments have the types they declare.
    unsafe {
        let (function, arg): (unsafe fn(pg_sys::FunctionCallInfo) -> pg_sys::Datum, _) = match call
        {
            JsonCall::Field(key) => (pg_sys::json_object_field, text(key).into_datum()),
            JsonCall::FieldText(key) => (pg_sys::json_object_field_text, text(key).into_datum()),
            JsonCall::Path(path) => (pg_sys::json_extract_path, texts(path).into_datum()),
            JsonCall::PathText(path) => (pg_sys::json_extract_path_text, texts(path).into_datum()),
        };
        pgrx::direct_function_call_as_datum(function, &[Some(json), arg])
    }
}
