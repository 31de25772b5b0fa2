//! Background workers: registering, watching and ending them, and what they do first (bgworker.c).

use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pgrx::pg_sys::{self, Datum, Oid};

use crate::pg::tx::Tx;
use crate::pg::{caught, compat, exit, latch, signals};
use gpss_model::error::{Error, Result, SqlState};

/// What the server does when a worker has ended with another code than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    Never,
    /// After that many seconds.
    After(u16),
}

/// A worker to be. It starts once recovery has finished, and may connect to a database.
#[derive(Clone, Debug)]
pub struct Worker<'a> {
    /// In messages and `ps`; at most 95 bytes, the rest is cut off.
    pub name: &'a str,
    /// `pg_stat_activity.backend_type`; likewise.
    pub kind: &'a str,
    /// Without directory and `.so`.
    pub library: &'a str,
    /// The exported C symbol `fn(Datum)`.
    pub function: &'a str,
    pub restart: Restart,
    /// The function's argument.
    pub argument: u32,
    pub extra: Extra,
}

impl Worker<'_> {
    /// Registers it with the postmaster, to run from server start.
    ///
    /// Only while `shared_preload_libraries` are loaded (see `preloading`); later the server
    /// ignores it with a message in its log.
    pub fn register(&self) {
        let mut worker = self.entry();
        // SAFETY: bgworker.c: copies the entry.
        unsafe { pg_sys::RegisterBackgroundWorker(&mut worker) };
    }

    /// Starts it now; this process's latch is set when it has started and when it has ended.
    ///
    /// Errors: 53000 when `max_worker_processes` are in use. Raises: 53200.
    pub fn start(&self) -> Result<Handle> {
        let mut worker = self.entry();
        let mut handle = ptr::null_mut();
        // SAFETY: bgworker.c: copies the entry; the handle is palloc'd, here for the process's
        // life, because `Handle` owns it.
        let started = unsafe {
            worker.bgw_notify_pid = pg_sys::MyProcPid;
            let caller = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
            let started = pg_sys::RegisterDynamicBackgroundWorker(&mut worker, &mut handle);
            pg_sys::CurrentMemoryContext = caller;
            started
        };
        if !started {
            return Err(Error::new(
                SqlState::INSUFFICIENT_RESOURCES,
                "no slot for another background worker is free",
            )
            .hint("Increase max_worker_processes and restart the server."));
        }
        Ok(Handle { handle })
    }

    /// Zeroed, then filled: forks of PostgreSQL have further fields.
    fn entry(&self) -> pg_sys::BackgroundWorker {
        let mut worker = pg_sys::BackgroundWorker::default();
        fill(&mut worker.bgw_name, self.name);
        fill(&mut worker.bgw_type, self.kind);
        fill(&mut worker.bgw_library_name, self.library);
        fill(&mut worker.bgw_function_name, self.function);
        worker.bgw_flags =
            (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION) as c_int;
        worker.bgw_start_time = pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished;
        worker.bgw_restart_time = match self.restart {
            Restart::Never => pg_sys::BGW_NEVER_RESTART,
            Restart::After(seconds) => seconds.into(),
        };
        worker.bgw_main_arg = Datum::from(self.argument);
        for (to, from) in worker.bgw_extra.iter_mut().zip(self.extra.bytes) {
            *to = from as c_char;
        }
        worker
    }
}

/// Copies as much of `text` as fits, leaving the last byte zero and no character cut in two.
fn fill(field: &mut [c_char], text: &str) {
    let end = text.floor_char_boundary(field.len().saturating_sub(1));
    for (to, from) in field.iter_mut().zip(text.bytes().take(end)) {
        *to = from as c_char;
    }
}

static PRELOADED: AtomicBool = AtomicBool::new(false);

/// Was this library loaded by `shared_preload_libraries`? Asked once while that is being done, and
/// inherited by every process of the server.
pub fn was_preloaded() -> bool {
    PRELOADED.load(Ordering::Relaxed)
}

/// Is the server loading `shared_preload_libraries` right now?
pub fn preloading() -> bool {
    // SAFETY: miscinit.c: a flag of this process.
    let preloading = unsafe { pg_sys::process_shared_preload_libraries_in_progress };
    PRELOADED.fetch_or(preloading, Ordering::Relaxed);
    preloading
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    NotYetStarted,
    /// With this pid.
    Running(i32),
    /// Ended, or never could start.
    Stopped,
}

/// A worker that this process has started. Dropping it leaves the worker alone.
#[derive(Debug)]
pub struct Handle {
    handle: *mut pg_sys::BackgroundWorkerHandle,
}

impl Handle {
    pub fn status(&self) -> Status {
        let mut pid = 0;
        // SAFETY: bgworker.c: reads the slot in shared memory; a reused slot counts as stopped.
        match unsafe { pg_sys::GetBackgroundWorkerPid(self.handle, &mut pid) } {
            pg_sys::BgwHandleStatus::BGWH_STARTED => Status::Running(pid),
            pg_sys::BgwHandleStatus::BGWH_NOT_YET_STARTED => Status::NotYetStarted,
            _ => Status::Stopped,
        }
    }

    /// Sends it SIGTERM; one that has not started yet never will.
    pub fn terminate(&self) {
        // SAFETY: bgworker.c: marks the slot and signals the postmaster.
        unsafe { pg_sys::TerminateBackgroundWorker(self.handle) };
    }

    /// Waits until it is no longer starting: running or stopped; `NotYetStarted` when the time is
    /// up. Raises: 57014.
    pub fn wait_for_startup(&self, timeout: Duration) -> Status {
        self.wait_while(timeout, |status| status == Status::NotYetStarted)
    }

    /// Waits until it has ended; true when it has within `timeout`. Raises: 57014.
    pub fn wait_for_shutdown(&self, timeout: Duration) -> bool {
        self.wait_while(timeout, |status| status != Status::Stopped) == Status::Stopped
    }

    fn wait_while(&self, timeout: Duration, goes_on: impl Fn(Status) -> bool) -> Status {
        let deadline = Instant::now() + timeout;
        loop {
            let status = self.status();
            let left = deadline.saturating_duration_since(Instant::now());
            if !goes_on(status) || left.is_zero() {
                return status;
            }
            latch::wait(left.min(INTERRUPT_CHECK), None);
            signals::check_for_interrupts();
        }
    }
}

/// At least so often a wait looks at interrupts (DROP DATABASE waits for every process to).
const INTERRUPT_CHECK: Duration = Duration::from_millis(100);

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: palloc'd in TopMemoryContext by `start`, and ours.
        unsafe { pg_sys::pfree(self.handle.cast()) };
    }
}

/// Bytes of BGW_EXTRALEN.
const EXTRA: usize = pg_sys::BGW_EXTRALEN as usize;

/// Numbers that a worker finds at its start (`bgw_extra`, 128 bytes); read in the order written.
#[derive(Clone, Copy, Debug)]
pub struct Extra {
    bytes: [u8; EXTRA],
    at: usize,
}

impl Default for Extra {
    fn default() -> Self {
        Extra::new()
    }
}

impl Extra {
    pub fn new() -> Extra {
        Extra { bytes: [0; EXTRA], at: 0 }
    }

    /// What this worker was started with; nothing but zeros in any other process.
    pub fn mine() -> Extra {
        let mut extra = Extra::new();
        // SAFETY: postmaster.c: null except in a worker, whose entry lives as long as it.
        if let Some(entry) = unsafe { pg_sys::MyBgworkerEntry.as_ref() } {
            for (to, from) in extra.bytes.iter_mut().zip(entry.bgw_extra) {
                *to = from as u8;
            }
        }
        extra
    }

    #[must_use]
    pub fn oid(self, value: Oid) -> Extra {
        self.put(u32::from(value).to_ne_bytes())
    }

    #[must_use]
    pub fn i32(self, value: i32) -> Extra {
        self.put(value.to_ne_bytes())
    }

    #[must_use]
    pub fn i64(self, value: i64) -> Extra {
        self.put(value.to_ne_bytes())
    }

    pub fn next_oid(&mut self) -> Oid {
        Oid::from(u32::from_ne_bytes(self.take()))
    }

    pub fn next_i32(&mut self) -> i32 {
        i32::from_ne_bytes(self.take())
    }

    pub fn next_i64(&mut self) -> i64 {
        i64::from_ne_bytes(self.take())
    }

    /// Panics when more is put than fits: what is put does not depend on data.
    fn put<const N: usize>(mut self, value: [u8; N]) -> Extra {
        self.bytes[self.at..self.at + N].copy_from_slice(&value);
        self.at += N;
        self
    }

    /// Panics when more is taken than fits.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut value = [0; N];
        value.copy_from_slice(&self.bytes[self.at..self.at + N]);
        self.at += N;
        value
    }
}

/// Connects this worker to a database, as a role, or as the superuser of initdb.
///
/// Ends the process (FATAL, code 1) when the database or role is gone, refuses connections, or,
/// before PostgreSQL 17, when the role may not log in: connect as nobody in particular then, and
/// act as the role (`acl::AsUser`).
///
/// What the role, the database or the server has as defaults for sessions does not make this one
/// read only, nor blind to what other workers commit: it could not work.
pub fn connect(database: Oid, role: Option<Oid>) {
    let role = role.unwrap_or(pg_sys::InvalidOid);
    // SAFETY: bgworker.c: once per worker, after its signals are set up and before any transaction.
    unsafe {
        let flags = compat::CONNECT_FLAGS;
        pg_sys::BackgroundWorkerInitializeConnectionByOid(database, role, flags);
    }
    set_for_process(c"default_transaction_read_only", c"off");
    set_for_process(c"default_transaction_isolation", c"read committed");
}

/// As `connect`, as the superuser of initdb. When the database has been dropped, the postmaster
/// forgets this worker; after any other failure it starts it again, as `Restart` says.
pub fn connect_while_it_exists(database: Oid) {
    exit::leave_without_atexit();
    caught::with_context(notice_missing_database, || connect(database, None));
}

unsafe extern "C-unwind" fn notice_missing_database(_arg: *mut c_void) {
    if caught::sqlstate_being_reported() == SqlState::UNDEFINED_DATABASE {
        exit::be_forgotten();
    }
}

/// Connects this worker to no database: it sees the shared catalogs (`pg_database`) only.
pub fn connect_shared() {
    connect(pg_sys::InvalidOid, None);
}

/// The id of the running top-level transaction, assigned if it has none yet: for a worker that is
/// to wait until its starter has committed.
///
/// Raises: XX000 outside a transaction, 25006 on a standby.
pub fn current_xid() -> u32 {
    // SAFETY: xact.c: an id is assigned or it raises.
    unsafe { pg_sys::GetTopTransactionId().into() }
}

/// Waits until the transaction `xid` has ended, committed or not. What it did is seen by the next
/// statement in READ COMMITTED.
///
/// Raises: 57014; 40P01 when that transaction waits for this one.
pub fn wait_for_xact_end(_tx: &Tx, xid: u32) {
    // SAFETY: lmgr.c: in a transaction; relation and tuple would only make the error's context.
    unsafe {
        let nothing = pg_sys::XLTW_Oper::XLTW_None;
        pg_sys::XactLockTableWait(xid.into(), ptr::null_mut(), ptr::null_mut(), nothing);
    }
}

/// The database this process is connected to.
pub fn my_database() -> Oid {
    // SAFETY: globals.c: set once when this process connected.
    unsafe { pg_sys::MyDatabaseId }
}

/// Is there a background worker of this server with that pid?
pub fn is_alive(pid: i32) -> bool {
    // SAFETY: procarray.c: the entry lies in shared memory for the life of the server.
    unsafe {
        let proc = pg_sys::BackendPidGetProc(pid);
        !proc.is_null() && compat::is_background_worker(proc)
    }
}

/// Tells a background worker to stop (SIGTERM).
pub fn terminate(pid: i32) {
    // SAFETY: kill(2): fails for a process that is gone, which is as good.
    unsafe { libc::kill(pid, libc::SIGTERM) };
}

/// Sets a configuration parameter for this process. Raises: a wrong name or value.
pub fn set_for_process(name: &std::ffi::CStr, value: &std::ffi::CStr) {
    let (context, source) = (pg_sys::GucContext::PGC_USERSET, pg_sys::GucSource::PGC_S_SESSION);
    // SAFETY: guc.c: both strings are copied; allowed outside a transaction.
    unsafe { pg_sys::SetConfigOption(name.as_ptr(), value.as_ptr(), context, source) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[test]
    fn extra_comes_back_in_order() {
        let mut extra = Extra::new().oid(Oid::from(7u32)).i64(i64::MIN).i32(-1);
        extra.at = 0;
        assert_eq!(extra.next_oid(), Oid::from(7u32));
        assert_eq!((extra.next_i64(), extra.next_i32()), (i64::MIN, -1));
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let mut field: [c_char; 4] = [0; 4];
        fill(&mut field, "aéé");
        // SAFETY: `fill` leaves the last byte zero.
        assert_eq!(unsafe { CStr::from_ptr(field.as_ptr()) }.to_str(), Ok("aé"));
    }
}
