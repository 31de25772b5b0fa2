//! ERROR and panic as values, and values as reports: the only place that catches or calls `ereport`.
//!
//! Catching rolls nothing back (elog.h: after PG_CATCH the transaction is as broken as the ERROR
//! left it), so whoever catches ends the transaction or subtransaction next: `tx` and `subtx` do.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::AssertUnwindSafe;
use std::ptr;

use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::panic::{CaughtError, ErrorReport};
use pgrx::pg_sys::{self, PgTryBuilder};

use crate::pg::activity::c_string;
use crate::pg::encoding::storable;
use crate::pg::mcx::Lasting;
use gpss_model::error::{Error, Result, SqlState, Subject};

/// What pgrx does not hand on of the last report.
///
/// It turns every code it does not know (a user's `RAISE … USING ERRCODE = 'G0001'`, the codes
/// added since PostgreSQL 12) into XX000, which would call a bad row a bug, and leaves out which
/// column or constraint the error is about. An error context callback sees both while the report is
/// still PostgreSQL's.
#[derive(Default)]
struct Noted {
    /// Packed.
    sqlstate: i32,
    subject: Option<Box<Subject>>,
}

thread_local! {
    // Reports are made by the main thread only.
    static NOTED: RefCell<Noted> = RefCell::default();
}

/// Where a report is copied to and read: emptied each time, because FreeErrorData leaves some of the
/// texts that CopyErrorData has copied (elog.c: names of files and functions, and the message's id).
static REPORT: Lasting = Lasting::new(c"gpss report");

/// Runs `f`; a PostgreSQL ERROR or a Rust panic inside it becomes `Err`. FATAL is not caught.
///
/// The DETAIL is PostgreSQL's own; a panic's is the place it came from. Never a backtrace.
pub fn caught<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    // Made now: not while an error, of missing memory perhaps, is being reported.
    REPORT.get();
    with_context(note, || {
        PgTryBuilder::new(AssertUnwindSafe(f)).catch_others(|cause| Err(to_error(cause))).execute()
    })
}

/// Runs `f` with an error context callback.
pub(super) fn with_context<R>(
    callback: unsafe extern "C-unwind" fn(*mut c_void),
    f: impl FnOnce() -> R,
) -> R {
    /// Takes the frame off the list, also when an ERROR unwinds.
    struct TakenOff(*mut pg_sys::ErrorContextCallback);
    impl Drop for TakenOff {
        fn drop(&mut self) {
            // SAFETY: elog.h: a list of frames; the last one put on is the first to be taken off.
            unsafe { pg_sys::error_context_stack = self.0 };
        }
    }
    // SAFETY: elog.h: frames outlive their stay on the list, which ends with this function; only the
    // main thread gets here (pgrx checks it at each call).
    let previous = unsafe { pg_sys::error_context_stack };
    let mut frame =
        pg_sys::ErrorContextCallback { previous, callback: Some(callback), arg: ptr::null_mut() };
    frame.arg = (&raw mut frame).cast();
    let _taken_off = TakenOff(previous);
    // SAFETY: as above.
    unsafe { pg_sys::error_context_stack = &raw mut frame };
    f()
}

/// Is this the frame of the innermost `with_context` that has this callback? Each report runs the
/// callbacks of all frames. For an error context callback only, with its argument.
fn is_innermost(arg: *mut c_void, callback: unsafe extern "C-unwind" fn(*mut c_void)) -> bool {
    // SAFETY: elog.c: errfinish goes through this list of live frames while it calls us.
    unsafe {
        let mut frame = pg_sys::error_context_stack;
        while !frame.is_null()
            && !(*frame).callback.is_some_and(|other| ptr::fn_addr_eq(other, callback))
        {
            frame = (*frame).previous;
        }
        frame.cast() == arg
    }
}

/// Raises: the error, as ERROR with its SQLSTATE, message, DETAIL and HINT.
///
/// A code unknown to pgrx's table reaches the client as P0001 (`caught` still sees the real one, unless
/// functions of PostgreSQL's stand in between: see `beyond_postgres`).
pub fn raise(error: Error) -> ! {
    let packed = pack(error.sqlstate);
    let code = PgSqlErrorCode::from(pack(as_mapped(error.sqlstate)));
    NOTED.replace(Noted { sqlstate: packed, subject: None });
    let mut report = ErrorReport::new(code, storable(&error.message).into_owned(), "gpss");
    if let Some(detail) = error.detail {
        report = report.set_detail(storable(&detail).into_owned());
    }
    if let Some(hint) = error.hint {
        report = report.set_hint(storable(&hint).into_owned());
    }
    report.report(pgrx::PgLogLevel::ERROR);
    unreachable!("an ERROR does not return")
}

/// Where a message that is not an error goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Server log, at `log_min_messages = debug1`.
    Debug,
    /// Server log.
    Log,
    /// The client.
    Notice,
    /// The client and the server log.
    Warning,
}

/// A line for the server log. Raises: a pending cancel (`errfinish` checks for interrupts).
pub fn log(message: impl Into<String>) {
    emit(Level::Log, None, &message.into(), None, None);
}

/// A line for the server log at `log_min_messages = debug1`. Raises: a pending cancel.
pub fn debug(message: impl Into<String>) {
    emit(Level::Debug, None, &message.into(), None, None);
}

/// A message for the client. Raises: a pending cancel.
pub fn notice(message: impl Into<String>) {
    emit(Level::Notice, None, &message.into(), None, None);
}

/// A warning for client and server log. Raises: a pending cancel.
pub fn warning(message: impl Into<String>) {
    emit(Level::Warning, None, &message.into(), None, None);
}

/// A whole report (SQLSTATE, message, DETAIL, HINT) at a level below ERROR. Raises: a pending cancel.
pub fn report(level: Level, error: &Error) {
    let (detail, hint) = (error.detail.as_deref(), error.hint.as_deref());
    emit(level, Some(error.sqlstate), &error.message, detail, hint);
}

// pgrx reports below ERROR without a guard, although `errfinish` ends in CHECK_FOR_INTERRUPTS: a
// pending cancel would jump over every Rust frame. These are called inside a guard of our own.
unsafe extern "C-unwind" {
    fn errstart(elevel: c_int, domain: *const c_char) -> bool;
    fn errcode(sqlerrcode: c_int) -> c_int;
    fn errmsg_internal(fmt: *const c_char, ...) -> c_int;
    fn errdetail_internal(fmt: *const c_char, ...) -> c_int;
    fn errhint(fmt: *const c_char, ...) -> c_int;
    fn errfinish(filename: *const c_char, lineno: c_int, funcname: *const c_char);
    fn geterrcode() -> c_int;
    // Without pgrx's guard too, in the callback: it would take the report that is being made for its own.
    fn CopyErrorData() -> *mut pg_sys::ErrorData;
}

/// Text is never a format: it always travels as the argument of this one.
const AS_IS: &CStr = c"%s";

fn emit(
    level: Level,
    state: Option<SqlState>,
    message: &str,
    detail: Option<&str>,
    hint: Option<&str>,
) {
    let text = |text: &str| c_string(&storable(text));
    let (message, detail, hint) = (text(message), detail.map(text), hint.map(text));
    let elevel = level.elevel();
    let start = || {
        // SAFETY: elog.c: errstart opens the report that the calls below fill and close.
        unsafe { errstart(elevel, ptr::null()) }
    };
    let finish = || {
        // SAFETY: elog.c: between errstart = true and errfinish; the strings outlive the call.
        unsafe {
            state.map(|state| errcode(pack(state)));
            errmsg_internal(AS_IS.as_ptr(), message.as_ptr());
            detail.as_ref().map(|text| errdetail_internal(AS_IS.as_ptr(), text.as_ptr()));
            hint.as_ref().map(|text| errhint(AS_IS.as_ptr(), text.as_ptr()));
            errfinish(c"caught.rs".as_ptr(), 0, c"emit".as_ptr());
        }
    };
    // SAFETY: ffi.rs of pgrx: main thread, and nothing with a destructor is made inside.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            if start() {
                finish();
            }
        });
    }
}

impl Level {
    fn elevel(self) -> c_int {
        let level = match self {
            Level::Debug => pgrx::PgLogLevel::DEBUG1,
            Level::Log => pgrx::PgLogLevel::LOG,
            Level::Notice => pgrx::PgLogLevel::NOTICE,
            Level::Warning => pgrx::PgLogLevel::WARNING,
        };
        level as c_int
    }
}

/// For error context callbacks only.
pub(super) fn sqlstate_being_reported() -> SqlState {
    // SAFETY: elog.h: geterrcode may be called in an error context callback, and only there.
    unpack(unsafe { geterrcode() })
}

unsafe extern "C-unwind" fn note(arg: *mut c_void) {
    if !is_innermost(arg, note) {
        return;
    }
    // SAFETY: elog.h: geterrcode may be called in an error context callback, and only there.
    let packed = unsafe { geterrcode() };
    // Integrity constraints (23) and domains' (44) alone name what they are about, and row-level security,
    // which has a missing privilege's code, in its message.
    let state = unpack(packed);
    let names = matches!(&state.0[..2], b"23" | b"44") || state == SqlState::INSUFFICIENT_PRIVILEGE;
    let subject = names.then(subject).flatten().map(Box::new);
    NOTED.replace(Noted { sqlstate: packed, subject });
}

/// As ExecWithCheckOptions (execMain.c) begins it, before it is translated.
const REFUSED_BY_POLICY: &str = "new row violates row-level security policy";

/// What the report that is being made is about; for an error context callback only.
fn subject() -> Option<Subject> {
    let context = REPORT.get();
    // SAFETY: elog.c: errfinish calls us with its report on the stack, which CopyErrorData copies into
    // the current memory context; that may not be ErrorContext, in which errfinish runs its callbacks.
    // Its texts are NULL or zero-terminated, and are copied before the context is emptied.
    unsafe {
        let caller = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = context;
        let report = CopyErrorData();
        let text = |text: *const c_char| {
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        };
        let by_policy =
            text((*report).message_id).is_some_and(|id| id.starts_with(REFUSED_BY_POLICY));
        let table = text((*report).table_name).or_else(|| by_policy.then(String::new));
        let found = table.map(|table| Subject {
            schema: text((*report).schema_name).unwrap_or_default(),
            table,
            column: text((*report).column_name),
            constraint: text((*report).constraint_name),
        });
        pg_sys::CurrentMemoryContext = caller;
        pg_sys::MemoryContextReset(context);
        found
    }
}

/// The error as it is caught once it has been raised through functions of PostgreSQL's.
pub fn beyond_postgres(error: Error) -> Error {
    Error { sqlstate: as_mapped(error.sqlstate), ..error }
}

fn as_mapped(state: SqlState) -> SqlState {
    match is_mapped(pack(state)) {
        true => state,
        false => unpack(PgSqlErrorCode::ERRCODE_RAISE_EXCEPTION as i32),
    }
}

fn is_mapped(packed: i32) -> bool {
    PgSqlErrorCode::from(packed) as i32 == packed
}

fn to_error(cause: CaughtError) -> Error {
    let noted = NOTED.take();
    let (report, place) = match cause {
        CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => (report, None),
        CaughtError::RustPanic { ereport, .. } => {
            let place = format!("panicked at {}:{}", ereport.file(), ereport.line_number());
            (ereport, Some(place))
        }
    };
    let code = report.sql_error_code();
    let hidden = matches!(
        code,
        PgSqlErrorCode::ERRCODE_INTERNAL_ERROR | PgSqlErrorCode::ERRCODE_RAISE_EXCEPTION
    );
    let packed = if hidden && !is_mapped(noted.sqlstate) { noted.sqlstate } else { code as i32 };
    Error {
        sqlstate: unpack(packed),
        // Another code: a report that was caught on the way, and not this one.
        subject: noted.subject.filter(|_| noted.sqlstate == packed),
        message: received(report.message()),
        detail: place.or_else(|| report.detail().map(received)),
        hint: report.hint().map(received),
    }
}

/// pgrx takes the text for UTF-8. In other encodings, invalid bytes have become U+FFFD, which the
/// database cannot store.
fn received(text: &str) -> String {
    text.replace('\u{fffd}', "?")
}

/// MAKE_SQLSTATE of elog.h: six bits a character, the first one lowest.
fn pack(state: SqlState) -> i32 {
    state
        .0
        .iter()
        .rev()
        .fold(0, |packed, &c| (packed << 6) | i32::from(c.wrapping_sub(b'0') & 0x3f))
}

/// unpack_sql_state of elog.c.
fn unpack(packed: i32) -> SqlState {
    let mut state = [b'0'; 5];
    for (at, c) in state.iter_mut().enumerate() {
        // Six bits fit a byte.
        *c += ((packed >> (6 * at)) & 0x3f) as u8;
    }
    SqlState(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstate_survives_packing() {
        for code in ["00000", "22P02", "HV00D", "XX000", "ZZZZZ", "G0001"] {
            assert_eq!(unpack(pack(SqlState::new(code))), SqlState::new(code));
        }
        assert_eq!(pack(SqlState::INTERNAL), PgSqlErrorCode::ERRCODE_INTERNAL_ERROR as i32);
    }

    #[test]
    fn a_users_own_code_is_not_mapped() {
        assert!(is_mapped(pack(SqlState::INVALID_TEXT)));
        assert!(is_mapped(pack(SqlState::INTERNAL)) && is_mapped(Noted::default().sqlstate));
        assert!(!is_mapped(pack(SqlState::new("G0001"))));
    }
}
