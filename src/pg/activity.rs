//! What `pg_stat_activity` shows of a worker (backend_status.c).

use std::ffi::CString;

use pgrx::pg_sys;

/// State `active`, with `text` as the query.
pub fn running(text: &str) {
    report(pg_sys::BackendState::STATE_RUNNING, text);
}

/// State `idle`, with `text` as the query.
pub fn idle(text: &str) {
    report(pg_sys::BackendState::STATE_IDLE, text);
}

fn report(state: pg_sys::BackendState::Type, text: &str) {
    let text = c_string(text);
    // SAFETY: backend_status.c: copies as much of the text as fits.
    unsafe { pg_sys::pgstat_report_activity(state, text.as_ptr()) };
}

/// Sets `application_name`. Raises: 53200.
pub fn set_application_name(name: &str) {
    let name = c_string(name);
    let (context, source) = (pg_sys::GucContext::PGC_USERSET, pg_sys::GucSource::PGC_S_SESSION);
    // SAFETY: guc.c: both strings are copied; allowed outside a transaction.
    unsafe {
        pg_sys::SetConfigOption(c"application_name".as_ptr(), name.as_ptr(), context, source);
    }
}

/// Text for C: an interior NUL would cut it, a space does not.
pub(super) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}
