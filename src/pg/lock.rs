//! Heavyweight locks of our own (lock.c): they are seen in `pg_locks`, deadlocks among them are
//! found, and the server releases them when a process ends, however it ends.

use pgrx::pg_sys;

use crate::pg::compat;
use crate::pg::spi::{self, Arg};
use crate::pg::tx::Tx;
use gpss_model::error::Result;

/// `objsubid` in `pg_locks`. PostgreSQL's advisory functions use 1 and 2, so users' advisory locks
/// never meet ours.
const NAMESPACE: u16 = 0x6770;

/// What is locked, in this database. Shown in `pg_locks` as an advisory lock with these as
/// `classid` and `objid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The kind of thing.
    pub class: u32,
    /// Which one.
    pub id: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Share,
    Exclusive,
}

/// Locks until the end of the transaction; false when somebody else has it.
pub fn try_lock(_tx: &Tx, tag: Tag, mode: Mode) -> bool {
    acquire(tag, mode, Owner::Transaction, Wait::No)
}

/// Locks until the end of the transaction. Raises: as `SessionLock::acquire`.
pub fn lock(_tx: &Tx, tag: Tag, mode: Mode) {
    acquire(tag, mode, Owner::Transaction, Wait::Yes);
}

/// A lock that outlives transactions: held until dropped or until the process ends.
///
/// `pg_advisory_unlock_all()`, which any function may call, releases it early: see `is_held`. What a
/// transaction must not lose it locks for itself (`lock`), at no cost while it has this one.
#[derive(Debug)]
pub struct SessionLock {
    tag: Tag,
    mode: Mode,
}

impl SessionLock {
    /// Waits as long as it takes. Raises: 57014, 40P01 (deadlock), 55P03 (lock_timeout).
    pub fn acquire(_tx: &Tx, tag: Tag, mode: Mode) -> SessionLock {
        acquire(tag, mode, Owner::Session, Wait::Yes);
        SessionLock { tag, mode }
    }

    /// None when somebody else has it.
    pub fn try_acquire(_tx: &Tx, tag: Tag, mode: Mode) -> Option<SessionLock> {
        acquire(tag, mode, Owner::Session, Wait::No).then(|| SessionLock { tag, mode })
    }

    /// Does this process still have it? To be asked between transactions, after code of a user.
    pub fn is_held(&self) -> bool {
        compat::lock_is_held(&self.tag.locktag(), self.mode.lockmode())
    }
}

impl Drop for SessionLock {
    fn drop(&mut self) {
        if !self.is_held() {
            return;
        }
        // SAFETY: lock.c: releases one count of what `acquire` took; one that is the transaction's
        // alone makes a WARNING. No transaction is needed for a session's lock.
        unsafe { pg_sys::LockRelease(&self.tag.locktag(), self.mode.lockmode(), true) };
    }
}

/// The other processes that hold the lock in any mode.
pub fn holders(tx: &Tx, tag: Tag) -> Result<Vec<i32>> {
    held(tx, tag.class, Some(tag.id))
}

/// The other processes that hold any lock of the class.
pub fn holders_of_class(tx: &Tx, class: u32) -> Result<Vec<i32>> {
    held(tx, class, None)
}

fn held(tx: &Tx, class: u32, id: Option<u32>) -> Result<Vec<i32>> {
    let sql = "SELECT pid FROM pg_catalog.pg_locks
        WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND granted
          AND database OPERATOR(pg_catalog.=) $1 AND classid OPERATOR(pg_catalog.=) $2
          AND ($3 IS NULL OR objid OPERATOR(pg_catalog.=) $3)
          AND objsubid OPERATOR(pg_catalog.=) $4
          AND pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()";
    let args = [
        Arg::from(database()),
        Arg::from(pg_sys::Oid::from(class)),
        Arg::from(id.map(pg_sys::Oid::from)),
        Arg::from(i32::from(NAMESPACE)),
    ];
    spi::select(tx, sql, &args, |row| row.get(1))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Transaction,
    Session,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Yes,
    No,
}

fn acquire(tag: Tag, mode: Mode, owner: Owner, wait: Wait) -> bool {
    let (session, no_wait) = (owner == Owner::Session, wait == Wait::No);
    // SAFETY: lock.c: a transaction is open (callers take a Tx); the tag is copied.
    let result = unsafe { pg_sys::LockAcquire(&tag.locktag(), mode.lockmode(), session, no_wait) };
    result != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}

fn database() -> pg_sys::Oid {
    // SAFETY: globals.c: set once when this process connected.
    unsafe { pg_sys::MyDatabaseId }
}

impl Tag {
    /// As SET_LOCKTAG_ADVISORY of lock.h. The method has to be USER_LOCKMETHOD: the end of a failed
    /// transaction releases session locks of the other one (lock.c, ProcReleaseLocks).
    fn locktag(self) -> pg_sys::LOCKTAG {
        pg_sys::LOCKTAG {
            locktag_field1: database().into(),
            locktag_field2: self.class,
            locktag_field3: self.id,
            locktag_field4: NAMESPACE,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        }
    }
}

impl Mode {
    fn lockmode(self) -> pg_sys::LOCKMODE {
        let mode = match self {
            Mode::Share => pg_sys::ShareLock,
            Mode::Exclusive => pg_sys::ExclusiveLock,
        };
        mode as pg_sys::LOCKMODE
    }
}
