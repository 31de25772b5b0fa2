//! A piece of shared memory between two processes: one question in it, one answer back (dsm.c).

use std::sync::atomic::{AtomicU32, Ordering};
use std::{ptr, slice};

use pgrx::pg_sys;

use gpss_model::error::{Error, Result, SqlState};

/// What lies at the start of the segment; the question and the answer's room follow.
#[repr(C)]
struct Header {
    /// Length of the answer, or `NO_ANSWER`; stored last by the answering process.
    answer: AtomicU32,
    question: u32,
    room: u32,
}

const NO_ANSWER: u32 = u32::MAX;

/// One end. Each process lets go of the segment on drop; the last one removes it, also by dying.
pub(super) struct Mailbox {
    segment: *mut pg_sys::dsm_segment,
}

impl Mailbox {
    /// A new segment that holds `question` and takes an answer of up to `room` bytes.
    ///
    /// Errors: 53000 when the server has no segment left, 54000 when the question is too long.
    /// Raises: 53100 or 53200 when there is no shared memory left.
    pub(super) fn create(question: &[u8], room: u32) -> Result<Mailbox> {
        let length = u32::try_from(question.len())
            .ok()
            .filter(|length| *length <= LONGEST)
            .ok_or_else(|| Error::new(SqlState::new("54000"), "the request is too long"))?;
        let size = size_of::<Header>() + question.len() + room as usize;
        let flags = pg_sys::DSM_CREATE_NULL_IF_MAXSEGMENTS as i32;
        // SAFETY: dsm.c: the mapping belongs to the current resource owner or, without one, to the
        // session; `Mailbox` lets go of it before either ends.
        let segment = unsafe { pg_sys::dsm_create(size, flags) };
        if segment.is_null() {
            return Err(Error::new(
                SqlState::INSUFFICIENT_RESOURCES,
                "no dynamic shared memory segment is free",
            ));
        }
        let mailbox = Mailbox { segment };
        let header = Header { answer: AtomicU32::new(NO_ANSWER), question: length, room };
        // SAFETY: dsm.c: the mapping has `size` bytes and starts on a page; nobody else has it yet.
        unsafe {
            ptr::write(mailbox.header(), header);
            ptr::copy_nonoverlapping(question.as_ptr(), mailbox.body(), question.len());
        }
        Ok(mailbox)
    }

    /// The segment of another process; None when it is gone.
    pub(super) fn open(handle: u32) -> Option<Mailbox> {
        // SAFETY: dsm.c: as in `create`.
        let segment = unsafe { pg_sys::dsm_attach(handle) };
        (!segment.is_null()).then(|| Mailbox { segment })
    }

    /// By which the other process opens it.
    pub(super) fn handle(&self) -> u32 {
        // SAFETY: dsm.c: the segment is mapped.
        unsafe { pg_sys::dsm_segment_handle(self.segment) }
    }

    /// The question, copied.
    pub(super) fn question(&self) -> Vec<u8> {
        // SAFETY: `create` has written that many bytes before the handle was known to anybody.
        unsafe {
            let length = (*self.header()).question as usize;
            slice::from_raw_parts(self.body(), length).to_vec()
        }
    }

    /// Bytes that an answer may have.
    pub(super) fn room(&self) -> usize {
        // SAFETY: written by `create`, never changed.
        unsafe { (*self.header()).room as usize }
    }

    /// Answers, once; false when it does not fit.
    pub(super) fn answer(&self, answer: &[u8]) -> bool {
        let length = match u32::try_from(answer.len()) {
            Ok(length) if answer.len() <= self.room() => length,
            _ => return false,
        };
        // SAFETY: the room lies behind the question; the asker reads it after the length, which is
        // stored last.
        unsafe {
            let room = self.body().add((*self.header()).question as usize);
            ptr::copy_nonoverlapping(answer.as_ptr(), room, answer.len());
            (*self.header()).answer.store(length, Ordering::Release);
        }
        true
    }

    /// The answer, copied; None as long as there is none.
    pub(super) fn take_answer(&self) -> Option<Vec<u8>> {
        // SAFETY: as in `answer`: once the length is there, the bytes are, and stay.
        unsafe {
            let length = (*self.header()).answer.load(Ordering::Acquire);
            let room = self.body().add((*self.header()).question as usize);
            (length != NO_ANSWER).then(|| slice::from_raw_parts(room, length as usize).to_vec())
        }
    }

    fn header(&self) -> *mut Header {
        // SAFETY: dsm.c: mapped as long as `self` lives.
        unsafe { pg_sys::dsm_segment_address(self.segment).cast() }
    }

    fn body(&self) -> *mut u8 {
        // SAFETY: the header is followed by the question in the same mapping.
        unsafe { self.header().add(1).cast() }
    }
}

/// Longest question, in bytes.
const LONGEST: u32 = 1 << 28;

impl Drop for Mailbox {
    fn drop(&mut self) {
        // SAFETY: dsm.c: ours, once; detaching does not raise, and forgets the resource owner's
        // claim, which ends later than any unwinding does.
        unsafe { pg_sys::dsm_detach(self.segment) };
    }
}
