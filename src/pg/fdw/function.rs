//! Functions that return `SETOF record`: the rows of a `RowWriter`, in a tuplestore (funcapi.h:
//! materialize mode).

use super::scan::{Columns, RowWriter};
use super::table::{Column, is_array};
use crate::pg::call::Json;
use crate::pg::{compat, mcx, slot};
use gpss_model::error::{Error, Result, SqlState};
use pgrx::pg_sys;

/// What makes rows for the calls of such a function at one place of a query.
pub trait RecordFunction: Sized + 'static {
    /// Is called again with this argument?
    fn fits(&self, options: &serde_json::Value) -> bool;

    /// For rows of these columns.
    fn new(columns: Vec<Column>, options: serde_json::Value) -> Result<Self>;

    /// The first argument of a call.
    fn begin(&mut self, payload: &[u8]) -> Result<()>;

    /// Fills the next row; false at the end.
    fn next(&mut self, row: &mut RowWriter<'_>) -> Result<bool>;
}

/// A call of a strict C function `(bytea, jsonb) RETURNS SETOF record`.
///
/// # Errors
/// 0A000 where the caller takes no set or names no columns; those of `F`.
pub fn call<F: RecordFunction>(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: fmgr.h, execnodes.h: the executor passes a ReturnSetInfo where it accepts a set; what is
    // put into it is allocated in the query's context.
    unsafe {
        let result = (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
        let is_set_info = !result.is_null()
            && (*result.cast::<pg_sys::Node>()).type_ == pg_sys::NodeTag::T_ReturnSetInfo
            && (*result).allowedModes as u32 & pg_sys::SetFunctionReturnMode::SFRM_Materialize != 0
            && !(*result).expectedDesc.is_null();
        if !is_set_info {
            return Err(Error::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "the function returns rows whose columns the query has to name",
            )
            .hint(
                "Write SELECT ... FROM gpss.gpfmt_gpss(payload, options) AS t(column type, ...).",
            ));
        }
        let payload = pgrx::fcinfo::pg_getarg::<&[u8]>(fcinfo, 0).unwrap_or_default();
        let options = pgrx::fcinfo::pg_getarg::<Json>(fcinfo, 1);
        let options = options.map_or(serde_json::Value::Null, |options| options.0);

        let query_context = (*(*result).econtext).ecxt_per_query_memory;
        let caller = pg_sys::MemoryContextSwitchTo(query_context);
        let descriptor = pg_sys::CreateTupleDescCopy((*result).expectedDesc);
        let random = (*result).allowedModes as u32
            & pg_sys::SetFunctionReturnMode::SFRM_Materialize_Random
            != 0;
        let store = pg_sys::tuplestore_begin_heap(random, false, pg_sys::work_mem);
        (*result).returnMode = pg_sys::SetFunctionReturnMode::SFRM_Materialize;
        (*result).setResult = store;
        (*result).setDesc = descriptor;
        pg_sys::MemoryContextSwitchTo(caller);

        let function = function::<F>(fcinfo, descriptor, options)?;
        function.begin(payload)?;
        fill(function, descriptor, store)?;
    }
    Ok(pg_sys::Datum::null())
}

/// The maker of the calls at this place of the query, kept from call to call; another one in its place
/// when the options are others.
///
/// # Safety
/// A function call of the executor's; `descriptor` is live.
unsafe fn function<'a, F: RecordFunction>(
    fcinfo: pg_sys::FunctionCallInfo,
    descriptor: pg_sys::TupleDesc,
    options: serde_json::Value,
) -> Result<&'a mut F> {
    // SAFETY: fmgr.h: fn_extra is the function's own, fn_mcxt lives as long as the FmgrInfo. The
    // descriptor at one place of a query is always the same, and calls there do not overlap.
    let place = unsafe {
        let info = (*fcinfo).flinfo;
        if (*info).fn_extra.is_null() {
            let caller = pg_sys::MemoryContextSwitchTo((*info).fn_mcxt);
            (*info).fn_extra = mcx::attach(None::<F>).as_ptr().cast();
            pg_sys::MemoryContextSwitchTo(caller);
        }
        &mut *(*info).fn_extra.cast::<Option<F>>()
    };
    if place.as_ref().is_none_or(|known| !known.fits(&options)) {
        // The old one goes first: they may be large.
        *place = None;
        // SAFETY: the descriptor is live.
        let columns = unsafe { columns(descriptor) };
        *place = Some(F::new(columns, options)?);
    }
    place.as_mut().ok_or_else(|| Error::new(SqlState::INTERNAL, "no format function"))
}

/// # Safety
/// `descriptor` is live.
unsafe fn columns(descriptor: pg_sys::TupleDesc) -> Vec<Column> {
    // SAFETY: by contract.
    unsafe {
        (0..(*descriptor).natts as usize)
            .map(|i| {
                let column = compat::attribute_type(descriptor, i);
                Column {
                    attnum: i as i16 + 1,
                    name: compat::attribute_name(descriptor, i),
                    type_oid: column.oid,
                    typmod: column.typmod,
                    is_array: is_array(column.oid),
                    options: vec![],
                }
            })
            .collect()
    }
}

/// # Safety
/// `descriptor` and `store` are live and belong together.
unsafe fn fill(
    function: &mut impl RecordFunction,
    descriptor: pg_sys::TupleDesc,
    store: *mut pg_sys::Tuplestorestate,
) -> Result<()> {
    // SAFETY: execTuples.c: a virtual slot's arrays have natts entries; tuplestore.c copies the row,
    // so that what the input functions allocated may go after each row.
    unsafe {
        let natts = (*descriptor).natts as usize;
        let types = (0..natts).map(|i| compat::attribute_type(descriptor, i)).collect();
        let mut columns = Columns::new(types, None);
        let slot = pg_sys::MakeSingleTupleTableSlot(descriptor, &pg_sys::TTSOpsVirtual);
        // A child, not a value of ours: an ERROR leaves it current until PostgreSQL cleans up.
        let row_context = mcx::create(pg_sys::CurrentMemoryContext, c"gpss row");
        loop {
            slot::clear(slot);
            let mut row = RowWriter::new(
                std::slice::from_raw_parts_mut((*slot).tts_values, natts),
                std::slice::from_raw_parts_mut((*slot).tts_isnull, natts),
                &mut columns,
            );
            let caller = pg_sys::MemoryContextSwitchTo(row_context);
            let more = function.next(&mut row);
            pg_sys::MemoryContextSwitchTo(caller);
            if !more? {
                break;
            }
            slot::store_virtual(slot);
            pg_sys::tuplestore_puttupleslot(store, slot);
            pg_sys::MemoryContextReset(row_context);
            pgrx::check_for_interrupts!();
        }
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        pg_sys::MemoryContextDelete(row_context);
    }
    Ok(())
}
