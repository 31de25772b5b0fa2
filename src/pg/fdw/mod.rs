//! The glue between PostgreSQL's foreign data wrapper callbacks (fdwapi.h) and a safe trait.
//! What is Kafka's or JSON's meaning lies behind `ForeignSource`; here are only the C structures.
//!
//! Rules obeyed: the plan holds nothing but nodes that copyObject knows (plans are cached and
//! copied); runtime state is made in Begin and freed by a memory context callback, because End is
//! not called after an ERROR.

pub mod function;
mod plan;
mod scan;
mod table;

pub use plan::JsonCall;
pub use scan::{Bound, Conversion, RowWriter, ScanOutput, ScanRequest};
pub use table::{Column, Table, options_from_array, relation_columns, type_by_name, type_name};

use gpss_model::error::Error;
use pgrx::pg_sys;
use serde::{Deserialize, Serialize};

/// Comparison of a metadata column with a value known before the scan begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RangeOp {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    NotEqual,
}

impl RangeOp {
    /// The same comparison read from right to left.
    fn commuted(self) -> RangeOp {
        match self {
            RangeOp::Less => RangeOp::Greater,
            RangeOp::LessOrEqual => RangeOp::GreaterOrEqual,
            RangeOp::Equal | RangeOp::NotEqual => self,
            RangeOp::GreaterOrEqual => RangeOp::LessOrEqual,
            RangeOp::Greater => RangeOp::Less,
        }
    }

    /// Whether `left` compares like this with `right`.
    pub fn holds(self, left: i64, right: i64) -> bool {
        match self {
            RangeOp::Less => left < right,
            RangeOp::LessOrEqual => left <= right,
            RangeOp::Equal => left == right,
            RangeOp::GreaterOrEqual => left >= right,
            RangeOp::Greater => left > right,
            RangeOp::NotEqual => left != right,
        }
    }

    pub fn symbol(self) -> &'static str {
        match self {
            RangeOp::Less => "<",
            RangeOp::LessOrEqual => "<=",
            RangeOp::Equal => "=",
            RangeOp::GreaterOrEqual => ">=",
            RangeOp::Greater => ">",
            RangeOp::NotEqual => "<>",
        }
    }
}

/// A source of rows behind a foreign table. One value lives from Begin to the end of the query.
pub trait ForeignSource: Sized + 'static {
    /// Whether `col->>'k'` and its kin over this column are delivered by the source itself.
    fn delivers_json(table: &Table, column: &Column) -> bool;

    /// Whether it can convert such a text to this type, as the type's input function would.
    fn converts(type_oid: pg_sys::Oid) -> bool;

    /// Whether comparisons of this column bound what is read. They are checked again by the
    /// executor, so the source may treat them as a hint.
    fn bounds(column: &Column) -> bool;

    /// Called in Begin, also by EXPLAIN: no network here.
    fn open(request: &ScanRequest) -> Result<Self, Error>;

    /// Fills the next row; false at the end. `bounds` are evaluated before the first call.
    fn next(&mut self, bounds: &[Bound], row: &mut RowWriter<'_>) -> Result<bool, Error>;

    /// Should data errors be reported with the message's partition and offset?
    fn tells_place(&self) -> bool;

    /// The message that the row is made of, as the beginning of a sentence.
    fn place(&self) -> Option<String>;

    /// Could the scan go on without the next row? Each value that can fail is then made in a subtransaction.
    fn may_leave_out(&self) -> bool;

    /// A value of the row cannot be made, by an error of class Data. True, only if it could: the scan goes on
    /// without the row.
    fn leave_out(&mut self, error: &Error, conversion: Option<Conversion>) -> bool;

    /// The same rows again; with `new_bounds`, whatever the bounds now say.
    fn rescan(&mut self, new_bounds: bool) -> Result<(), Error>;

    /// Label and text of each line that EXPLAIN adds.
    fn explain(&self) -> Vec<(&'static str, String)>;
}

/// The callbacks of a scan over `S`, as `fdw_handler` returns them (makeNode(FdwRoutine)).
pub fn routine<S: ForeignSource>() -> pg_sys::Datum {
    // SAFETY: a node of this type, zeroed but for its tag, is what fdwapi.h asks for; unset
    // callbacks mean "not supported".
    unsafe {
        let mut routine =
            pgrx::PgBox::<pg_sys::FdwRoutine>::alloc_node(pg_sys::NodeTag::T_FdwRoutine);
        routine.GetForeignRelSize = Some(plan::get_foreign_rel_size);
        routine.GetForeignPaths = Some(plan::get_foreign_paths);
        routine.GetForeignPlan = Some(plan::get_foreign_plan::<S>);
        routine.BeginForeignScan = Some(scan::begin_foreign_scan::<S>);
        routine.IterateForeignScan = Some(scan::iterate_foreign_scan::<S>);
        routine.ReScanForeignScan = Some(scan::rescan_foreign_scan::<S>);
        routine.EndForeignScan = Some(scan::end_foreign_scan::<S>);
        routine.ExplainForeignScan = Some(scan::explain_foreign_scan::<S>);
        routine.into_datum_ptr()
    }
}

trait IntoDatumPtr {
    fn into_datum_ptr(self) -> pg_sys::Datum;
}

impl IntoDatumPtr for pgrx::PgBox<pg_sys::FdwRoutine, pgrx::AllocatedByRust> {
    fn into_datum_ptr(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.into_pg())
    }
}
