//! Numbers that a thread shows to all sessions, while its process is busy with something else: shared memory
//! that is written and read without a transaction, and is gone with the process (dsm.c).

use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use pgrx::pg_sys::{self, Datum};

/// Tells a board from other segments: anybody may ask for one by any handle.
const MAGIC: i64 = 0x6770_7373_626f_6172;

/// Numbers on a board.
pub const PLACES: usize = 4096;

/// A number, and when it was known: microseconds since 1970, 0 for never.
#[repr(C)]
struct Place {
    value: AtomicI64,
    at: AtomicI64,
}

#[repr(C)]
struct Layout {
    magic: AtomicI64,
    places: [Place; PLACES],
}

/// The mapping, until it goes.
struct Mapped(*mut Layout);

// SAFETY: it points to shared memory, which is used by atomics alone.
unsafe impl Send for Mapped {}

/// A board of this process, for its life. Any thread may write on it.
#[derive(Clone, Copy)]
pub struct Board {
    handle: u32,
    layout: &'static Mutex<Option<Mapped>>,
}

impl Board {
    /// An empty one; None when the server has no segment left. It is never given back, so once for each
    /// process.
    ///
    /// Raises: 53100 or 53200 when there is no shared memory left.
    pub fn create() -> Option<Board> {
        let flags = pg_sys::DSM_CREATE_NULL_IF_MAXSEGMENTS as i32;
        // SAFETY: dsm.c: a pinned mapping lives until the process ends. It starts on a page and has room for
        // the layout, which nobody else knows of yet; zeroes are valid in all of it.
        unsafe {
            let segment = pg_sys::dsm_create(size_of::<Layout>(), flags);
            if segment.is_null() {
                return None;
            }
            pg_sys::dsm_pin_mapping(segment);
            let layout: *mut Layout = pg_sys::dsm_segment_address(segment).cast();
            layout.write_bytes(0, 1);
            (*layout).magic.store(MAGIC, Ordering::Release);
            let mapped: &'static _ = Box::leak(Box::new(Mutex::new(Some(Mapped(layout)))));
            let arg = Datum::from(std::ptr::from_ref::<Mutex<Option<Mapped>>>(mapped));
            pg_sys::on_dsm_detach(segment, Some(take_away), arg);
            Some(Board { handle: pg_sys::dsm_segment_handle(segment), layout: mapped })
        }
    }

    /// By which others find it.
    pub fn handle(self) -> u32 {
        self.handle
    }

    /// Writes a number; nothing beyond the last place.
    pub fn put(self, place: usize, value: i64, at: i64) {
        let mapped = self.layout.lock();
        // SAFETY: as long as it is there, the mapping is, because `take_away` waits for the lock.
        let layout = mapped.as_ref().map(|mapped| unsafe { &*mapped.0 });
        if let Some(place) = layout.and_then(|layout| layout.places.get(place)) {
            place.value.store(value, Ordering::Relaxed);
            // Who reads the time before the number has a number that is not older.
            place.at.store(at, Ordering::Release);
        }
    }

    /// What is in a place of another process's board, or of this one's; None when it is empty or there is no
    /// such board.
    ///
    /// Raises: when the kernel refuses the mapping.
    pub fn read(handle: u32, place: usize) -> Option<(i64, i64)> {
        // SAFETY: dsm.c: a segment is attached once in a process; what was attached here is let go of
        // before anything can raise. A segment that is long enough and begins with the number is a board.
        unsafe {
            let own = pg_sys::dsm_find_mapping(handle);
            let segment = if own.is_null() { pg_sys::dsm_attach(handle) } else { own };
            if segment.is_null() {
                return None;
            }
            let layout: *const Layout = pg_sys::dsm_segment_address(segment).cast();
            let is_board = pg_sys::dsm_segment_map_length(segment) >= size_of::<Layout>()
                && (*layout).magic.load(Ordering::Acquire) == MAGIC;
            let found = is_board.then(|| &*layout).and_then(|layout| layout.places.get(place));
            let found = found.map(|place| {
                let at = place.at.load(Ordering::Acquire);
                (place.value.load(Ordering::Relaxed), at)
            });
            if own.is_null() {
                pg_sys::dsm_detach(segment);
            }
            found.filter(|(_, at)| *at > 0)
        }
    }
}

/// Before the memory goes, at the end of the process: threads live longer.
unsafe extern "C-unwind" fn take_away(_segment: *mut pg_sys::dsm_segment, arg: Datum) {
    let mapped: *const Mutex<Option<Mapped>> = arg.cast_mut_ptr();
    // SAFETY: `Board::create` has leaked it.
    unsafe { (*mapped).lock().take() };
}
