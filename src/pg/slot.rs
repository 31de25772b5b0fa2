//! Tuple slots (tuptable.h) cleared and filled without a guard of pgrx for each row.

use crate::pg::unguarded::unguarded;
use pgrx::pg_sys;

unguarded! {
    fn ExecStoreVirtualTuple(slot: *mut pg_sys::TupleTableSlot) -> *mut pg_sys::TupleTableSlot;
}

/// `ExecClearTuple`, an inline function in C.
///
/// # Safety
/// A live slot.
pub(super) unsafe fn clear(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: execTuples.c: frees a tuple and lets go of a buffer, which does not raise.
    unsafe {
        if let Some(clear) = (*(*slot).tts_ops).clear {
            clear(slot);
        }
    }
}

/// `ExecStoreVirtualTuple`: what stands in the slot's arrays is its row.
///
/// # Safety
/// A slot that has been cleared and whose arrays are filled.
pub(super) unsafe fn store_virtual(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: execTuples.c: sets two members and does not raise.
    unsafe { ExecStoreVirtualTuple(slot) };
}
