//! Memory contexts: a named one with an owner, and Rust values that die with PostgreSQL's memory.

use std::ffi::{CStr, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

use pgrx::pg_sys;

/// A memory context that lives as long as this value.
pub struct Mcx {
    context: pg_sys::MemoryContext,
}

impl Mcx {
    /// A child of TopMemoryContext: it ends with its owner, not with a transaction.
    ///
    /// Raises: 53200 when there is no memory.
    pub fn new(name: &'static CStr) -> Mcx {
        // SAFETY: mcxt.c: TopMemoryContext lives as long as the process; the name is static.
        unsafe { Mcx { context: create(pg_sys::TopMemoryContext, name) } }
    }

    /// For calls that take a context; valid while this value lives.
    pub fn as_ptr(&self) -> pg_sys::MemoryContext {
        self.context
    }
}

impl Drop for Mcx {
    fn drop(&mut self) {
        // SAFETY: mcxt.c: ours, made under TopMemoryContext, and never the current one.
        unsafe { pg_sys::MemoryContextDelete(self.context) };
    }
}

/// Moves `value` to the heap and ties it to the current memory context: it is dropped when that is
/// reset or deleted, also after an ERROR. The pointer is valid until then.
///
/// The drop runs inside PostgreSQL's cleanup: it must not call anything that can raise; a panic in
/// it is swallowed. Raises: 53200 when there is no memory.
pub fn attach<T: 'static>(value: T) -> NonNull<T> {
    // SAFETY: mcxt.c: the callback record must live in the context it is registered with.
    let record = unsafe { pg_sys::palloc0(size_of::<pg_sys::MemoryContextCallback>()) };
    let record = record.cast::<pg_sys::MemoryContextCallback>();
    let value = NonNull::from(Box::leak(Box::new(value)));
    // SAFETY: as above; from here on the callback owns the box.
    unsafe {
        (*record).func = Some(drop_value::<T>);
        (*record).arg = value.as_ptr().cast();
        pg_sys::MemoryContextRegisterResetCallback(pg_sys::CurrentMemoryContext, record);
    }
    value
}

unsafe extern "C-unwind" fn drop_value<T>(arg: *mut c_void) {
    // SAFETY: mcxt.c calls it once with the pointer that `attach` took from its box. Unwinding
    // into MemoryContextReset would leave the context half freed, so a panic ends here.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(unsafe { Box::from_raw(arg.cast::<T>()) })));
}

/// Where a worker lives between its transactions.
static TURN: Lasting = Lasting::new(c"gpss turn");

/// Empties the worker's per-turn context and makes it the current one: after a transaction
/// PostgreSQL leaves the process in TopMemoryContext, where every palloc would stay for ever.
pub(super) fn reset_turn() {
    let turn = TURN.get();
    // SAFETY: mcxt.c: a live context; no transaction is open, so nobody else points into it.
    unsafe {
        pg_sys::MemoryContextReset(turn);
        pg_sys::CurrentMemoryContext = turn;
    }
}

/// A memory context that is made at its first use and lives as long as the process.
pub(super) struct Lasting {
    name: &'static CStr,
    context: AtomicPtr<pg_sys::MemoryContextData>,
}

impl Lasting {
    pub(super) const fn new(name: &'static CStr) -> Lasting {
        Lasting { name, context: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Raises: 53200 when there is no memory for it, at its first use.
    pub(super) fn get(&self) -> pg_sys::MemoryContext {
        let mut context = self.context.load(Ordering::Relaxed);
        if context.is_null() {
            // SAFETY: mcxt.c: hangs below TopMemoryContext and is never deleted.
            context = unsafe { create(pg_sys::TopMemoryContext, self.name) };
            self.context.store(context, Ordering::Relaxed);
        }
        context
    }
}

/// A child that ends with its parent at the latest.
///
/// # Safety
/// `parent` is a live memory context.
pub(super) unsafe fn create(
    parent: pg_sys::MemoryContext,
    name: &'static CStr,
) -> pg_sys::MemoryContext {
    // SAFETY: by the contract; sizes are ALLOCSET_DEFAULT_SIZES of memutils.h.
    unsafe {
        pg_sys::AllocSetContextCreateExtended(
            parent,
            name.as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        )
    }
}
