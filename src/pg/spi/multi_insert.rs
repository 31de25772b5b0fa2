//! `INSERT … SELECT` the way COPY loads (copyfrom.c): the rows go into the table by the page, with
//! one WAL record and one buffer lock for many rows instead of for each.
//!
//! Only where nobody can tell the difference by the result (`allowed`); otherwise the statement runs as
//! usual.

mod allowed;

use std::ffi::{c_char, c_int};
use std::ptr;

use pgrx::pg_sys;

use super::planned::planned;
use crate::pg::unguarded::unguarded;
use crate::pg::{compat, slot};
use allowed::Obstacle;

/// Rows and bytes that are collected before they are written (copyfrom.c has the same bounds).
const MAX_ROWS: usize = 1000;
const MAX_BYTES: usize = 65_535;

/// Where the executor sends the rows of the statement's SELECT.
#[repr(C)]
struct Receiver {
    /// First: the executor knows only this part.
    dest: pg_sys::DestReceiver,
    estate: *mut pg_sys::EState,
    target: *mut pg_sys::ResultRelInfo,
    bulk: pg_sys::BulkInsertState,
    command: pg_sys::CommandId,
    constraints: bool,
    partition: bool,
    after_row: bool,
    slots: [*mut pg_sys::TupleTableSlot; MAX_ROWS],
    count: usize,
    bytes: usize,
}

/// Runs the prepared statement; the number of rows written, or why it has to run as usual. No
/// privilege, constraint, index or trigger is left out.
///
/// # Safety
/// `plan` is a kept plan without parameters, SPI is connected. Raises: the statement's errors.
pub(super) unsafe fn execute(plan: pg_sys::SPIPlanPtr) -> Result<u64, Obstacle> {
    // SAFETY: by contract.
    unsafe {
        planned(plan, |found| {
            let (source, cached) = found.ok_or(SEVERAL)?;
            Ok(allowed::insert(source, cached)?.run((*source).query_string))
        })
    }
}

/// What `execute` would say, without running anything.
///
/// # Safety
/// As `execute`.
pub(super) unsafe fn obstacle(plan: pg_sys::SPIPlanPtr) -> Option<Obstacle> {
    // SAFETY: by contract.
    unsafe {
        planned(plan, |found| match found {
            Some((source, cached)) => allowed::insert(source, cached).err(),
            None => Some(SEVERAL),
        })
    }
}

const SEVERAL: Obstacle = "it is more than one statement";

/// A planned `INSERT` into one ordinary table and the plan of its rows.
struct Insert {
    statement: *mut pg_sys::PlannedStmt,
    rows: *mut pg_sys::Plan,
    target: pg_sys::Index,
}

impl Insert {
    /// # Safety
    /// As `allowed::insert`; a snapshot is active. `text` is the statement's, for reports.
    unsafe fn run(self, text: *const c_char) -> u64 {
        // SAFETY: execMain.c: the order is that of COPY (copyfrom.c, CopyFrom) within that of an
        // INSERT (ExecutorStart … ExecutorEnd, which begin and end the triggers' query), so that
        // extensions see one: it sends the rows of its plan to the receiver, as if they were its
        // RETURNING. The copy of the statement shares its nodes, which nobody changes. ExecEndPlan
        // closes what ExecInitResultRelation has opened, and the slots.
        unsafe {
            let insert = pg_sys::palloc(size_of::<pg_sys::PlannedStmt>());
            let insert = insert.cast::<pg_sys::PlannedStmt>();
            insert.copy_from_nonoverlapping(self.statement, 1);
            (*insert).planTree = self.rows;
            (*insert).resultRelations = ptr::null_mut();
            (*insert).hasReturning = true;

            let receiver = pg_sys::palloc0(size_of::<Receiver>()).cast::<Receiver>();
            (*receiver).dest.receiveSlot = Some(receive);
            (*receiver).dest.rStartup = Some(start_up);
            (*receiver).dest.rShutdown = Some(shut_down);
            (*receiver).dest.rDestroy = Some(shut_down);
            (*receiver).dest.mydest = pg_sys::CommandDest::DestNone;
            let query = pg_sys::CreateQueryDesc(
                insert,
                text,
                pg_sys::GetActiveSnapshot(),
                ptr::null_mut(),
                receiver.cast(),
                ptr::null_mut(),
                ptr::null_mut(),
                0,
            );
            pg_sys::ExecutorStart(query, 0);
            let estate = (*query).estate;
            let before = pg_sys::MemoryContextSwitchTo((*estate).es_query_cxt);
            let target = pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>());
            let target = target.cast::<pg_sys::ResultRelInfo>();
            (*target).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            pg_sys::ExecInitResultRelation(estate, target, self.target);
            pg_sys::ExecOpenIndices(target, false);
            pg_sys::MemoryContextSwitchTo(before);

            let relation = (*target).ri_RelationDesc;
            (*receiver).estate = estate;
            (*receiver).target = target;
            (*receiver).command = (*estate).es_output_cid;
            (*receiver).bulk = pg_sys::GetBulkInsertState();
            (*receiver).constraints = !(*(*relation).rd_att).constr.is_null();
            (*receiver).partition = (*(*relation).rd_rel).relispartition;
            let triggers = (*target).ri_TrigDesc;
            (*receiver).after_row = !triggers.is_null() && (*triggers).trig_insert_after_row;

            pg_sys::ExecBSInsertTriggers(estate, target);
            compat::executor_run(query);
            pg_guard_flush(receiver);
            let rows = (*estate).es_processed;
            pg_sys::FreeBulkInsertState((*receiver).bulk);
            pg_sys::ExecASInsertTriggers(estate, target, ptr::null_mut());
            pg_sys::ExecutorFinish(query);
            pg_sys::ExecutorEnd(query);
            pg_sys::FreeQueryDesc(query);
            rows
        }
    }
}

// Without pgrx's guards, of which a row would need half a dozen: `receive` is called by the executor
// and calls these, an ERROR passes through its frame as it would through a C function's. So nothing
// in these frames may need to be dropped.
unguarded! {
    fn ExecFetchSlotHeapTuple(
        slot: *mut pg_sys::TupleTableSlot,
        materialize: bool,
        should_free: *mut bool,
    ) -> pg_sys::HeapTuple;
    fn ExecConstraints(
        target: *mut pg_sys::ResultRelInfo,
        slot: *mut pg_sys::TupleTableSlot,
        estate: *mut pg_sys::EState,
    );
    fn ExecPartitionCheck(
        target: *mut pg_sys::ResultRelInfo,
        slot: *mut pg_sys::TupleTableSlot,
        estate: *mut pg_sys::EState,
        emit_error: bool,
    ) -> bool;
    fn slot_getsomeattrs_int(slot: *mut pg_sys::TupleTableSlot, attnum: c_int);
    fn table_slot_create(
        relation: pg_sys::Relation,
        list: *mut *mut pg_sys::List,
    ) -> *mut pg_sys::TupleTableSlot;
    fn heap_multi_insert(
        relation: pg_sys::Relation,
        slots: *mut *mut pg_sys::TupleTableSlot,
        count: c_int,
        command: pg_sys::CommandId,
        options: c_int,
        bulk: pg_sys::BulkInsertState,
    );
    fn ExecARInsertTriggers(
        estate: *mut pg_sys::EState,
        target: *mut pg_sys::ResultRelInfo,
        slot: *mut pg_sys::TupleTableSlot,
        recheck: *mut pg_sys::List,
        transition: *mut pg_sys::TransitionCaptureState,
    );
    fn MakePerTupleExprContext(estate: *mut pg_sys::EState) -> *mut pg_sys::ExprContext;
    fn list_free(list: *mut pg_sys::List);
}

unsafe extern "C-unwind" fn start_up(_: *mut pg_sys::DestReceiver, _: c_int, _: pg_sys::TupleDesc) {
}

unsafe extern "C-unwind" fn shut_down(_: *mut pg_sys::DestReceiver) {}

/// Takes a row, which is valid only until the next one.
unsafe extern "C-unwind" fn receive(
    slot: *mut pg_sys::TupleTableSlot,
    dest: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: `dest` is the first member of a Receiver; both slots have the target's columns (the
    // planner has made the SELECT's list so), the arrays their number of entries.
    unsafe {
        let receiver = dest.cast::<Receiver>();
        let target = (*receiver).target;
        let relation = (*target).ri_RelationDesc;
        let natts = (*(*relation).rd_att).natts;
        if i32::from((*slot).tts_nvalid) < natts {
            slot_getsomeattrs_int(slot, natts);
        }
        let place = (&raw mut (*receiver).slots).cast::<*mut pg_sys::TupleTableSlot>();
        let place = place.add((*receiver).count);
        if (*place).is_null() {
            *place = table_slot_create(relation, &raw mut (*(*receiver).estate).es_tupleTable);
        }
        let row = *place;
        let natts = natts as usize;
        (*row).tts_values.copy_from_nonoverlapping((*slot).tts_values, natts);
        (*row).tts_isnull.copy_from_nonoverlapping((*slot).tts_isnull, natts);
        slot::store_virtual(row);
        (*row).tts_tableOid = (*relation).rd_id;
        if (*receiver).constraints {
            ExecConstraints(target, row, (*receiver).estate);
        }
        if (*receiver).partition {
            ExecPartitionCheck(target, row, (*receiver).estate, true);
        }
        (*(*receiver).estate).es_processed += 1;
        let tuple = ExecFetchSlotHeapTuple(row, true, ptr::null_mut());
        (*receiver).bytes += (*tuple).t_len as usize;
        (*receiver).count += 1;
        if (*receiver).count == MAX_ROWS || (*receiver).bytes > MAX_BYTES {
            flush(receiver);
        }
        true
    }
}

/// Writes the rows taken, their index entries, and queues their triggers.
///
/// # Safety
/// Inside a guard; after `run` has set the receiver up.
unsafe extern "C-unwind" fn flush(receiver: *mut Receiver) {
    // SAFETY: as CopyMultiInsertBufferFlush (copyfrom.c). heap_multi_insert leaks into the current
    // context, which is the one that the executor resets for each row.
    unsafe {
        let (estate, target) = ((*receiver).estate, (*receiver).target);
        let slots = (&raw mut (*receiver).slots).cast::<*mut pg_sys::TupleTableSlot>();
        let context = match (*estate).es_per_tuple_exprcontext {
            context if context.is_null() => MakePerTupleExprContext(estate),
            context => context,
        };
        let before = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = (*context).ecxt_per_tuple_memory;
        heap_multi_insert(
            (*target).ri_RelationDesc,
            slots,
            (*receiver).count as c_int,
            (*receiver).command,
            0,
            (*receiver).bulk,
        );
        pg_sys::CurrentMemoryContext = before;
        for i in 0..(*receiver).count {
            let slot = *slots.add(i);
            let mut recheck = ptr::null_mut();
            if (*target).ri_NumIndices > 0 {
                recheck = compat::insert_index_tuples(target, slot, estate);
            }
            if (*receiver).after_row {
                ExecARInsertTriggers(estate, target, slot, recheck, ptr::null_mut());
            }
            list_free(recheck);
            slot::clear(slot);
        }
        (*receiver).count = 0;
        (*receiver).bytes = 0;
    }
}

/// `flush` called from Rust: an ERROR becomes a panic, as in every wrapper of pgrx.
///
/// # Safety
/// As `flush`.
unsafe fn pg_guard_flush(receiver: *mut Receiver) {
    // SAFETY: ffi.rs of pgrx: main thread, and nothing with a destructor is made inside.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            if (*receiver).count > 0 {
                flush(receiver);
            }
        });
    }
}
