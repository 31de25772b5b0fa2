//! The only place for differences between PostgreSQL versions.

use std::ffi::c_int;

use pgrx::pg_sys;

use crate::pg::column_type::ColumnType;
use crate::pg::encoding;
use crate::pg::unguarded::unguarded;

/// Installs a signal handler (`pqsignal`; 18 renamed the backend's to `pqsignal_be`).
pub(super) fn set_handler(signal: c_int, handler: unsafe extern "C-unwind" fn(c_int)) {
    // SAFETY: pqsignal.c: sigaction with a function that keeps to async-signal-safe calls.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::pqsignal(signal, Some(handler));
        #[cfg(feature = "pg18")]
        pg_sys::pqsignal_be(signal, Some(handler));
    }
}

/// A path for the whole base relation, without pathkeys or private data; its parameters are what the
/// relation refers to laterally.
///
/// # Safety
/// `root` and `rel` are the planner's, inside GetForeignPaths.
pub(super) unsafe fn create_foreignscan_path(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    rows: f64,
    startup_cost: pg_sys::Cost,
    total_cost: pg_sys::Cost,
) -> *mut pg_sys::ForeignPath {
    // SAFETY: pathnode.c: by the contract; null stands for the default of each of the rest.
    unsafe {
        pg_sys::create_foreignscan_path(
            root,
            rel,
            std::ptr::null_mut(),
            rows,
            #[cfg(feature = "pg18")]
            0, // disabled_nodes
            startup_cost,
            total_cost,
            std::ptr::null_mut(),
            (*rel).lateral_relids,
            std::ptr::null_mut(),
            #[cfg(any(feature = "pg17", feature = "pg18"))]
            std::ptr::null_mut(), // fdw_restrictinfo
            std::ptr::null_mut(),
        )
    }
}

/// The role whose privileges and user mapping a foreign scan of a base relation uses.
///
/// # Safety
/// `node` is an initialised ForeignScanState.
pub(super) unsafe fn check_as_user(node: *mut pg_sys::ForeignScanState) -> pg_sys::Oid {
    // SAFETY: execnodes.h: a node has its plan and its EState; a base relation's scanrelid is an
    // index, from 1, into the range table.
    unsafe {
        let plan = (*node).ss.ps.plan.cast::<pg_sys::ForeignScan>();
        #[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
        let user = (*plan).checkAsUser;
        #[cfg(not(any(feature = "pg16", feature = "pg17", feature = "pg18")))]
        let user = {
            let table = (*(*node).ss.ps.state).es_range_table;
            let table = pgrx::PgList::<pg_sys::RangeTblEntry>::from_pg(table);
            let entry = table.get_ptr(((*plan).scan.scanrelid as usize).saturating_sub(1));
            entry.map_or(pg_sys::InvalidOid, |entry| (*entry).checkAsUser)
        };
        if user == pg_sys::InvalidOid { pg_sys::GetUserId() } else { user }
    }
}

/// Type and type modifier of attribute `index`, from 0.
///
/// # Safety
/// `descriptor` is live and has that attribute.
pub(super) unsafe fn attribute_type(descriptor: pg_sys::TupleDesc, index: usize) -> ColumnType {
    // SAFETY: by the contract.
    unsafe {
        let attribute = attribute(descriptor, index);
        ColumnType { oid: (*attribute).atttypid, typmod: (*attribute).atttypmod }
    }
}

/// The name of an attribute.
///
/// # Safety
/// As `attribute_type`.
pub(super) unsafe fn attribute_name(descriptor: pg_sys::TupleDesc, index: usize) -> String {
    // SAFETY: name.h: a NameData is NUL-terminated.
    unsafe {
        let name = (*attribute(descriptor, index)).attname.data.as_ptr();
        encoding::from_server(std::ffi::CStr::from_ptr(name))
    }
}

/// # Safety
/// As `attribute_type`.
unsafe fn attribute(
    descriptor: pg_sys::TupleDesc,
    index: usize,
) -> *const pg_sys::FormData_pg_attribute {
    // SAFETY: tupdesc.h: by the contract; 18 has the full attributes behind the compact ones.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        let attribute = (*descriptor).attrs.as_ptr().add(index);
        #[cfg(feature = "pg18")]
        let attribute = {
            let compact = (*descriptor).compact_attrs.as_ptr();
            let full = compact.add((*descriptor).natts as usize);
            full.cast::<pg_sys::FormData_pg_attribute>().add(index)
        };
        attribute
    }
}

/// A type and its modifier by their name in SQL; None for an unknown type.
///
/// Raises: a name that is not well formed, and what the type says of its modifier.
///
/// # Safety
/// In a transaction.
pub(super) unsafe fn parse_type(name: &std::ffi::CStr) -> Option<ColumnType> {
    let mut found = ColumnType { oid: pg_sys::InvalidOid, typmod: -1 };
    // SAFETY: parse_type.c: writes the two; with missing_ok an unknown type is InvalidOid. From 16 on
    // soft errors go into an ErrorSaveContext, and without one they are raised: unknown types too.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        pg_sys::parseTypeString(name.as_ptr(), &mut found.oid, &mut found.typmod, true);
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        pg_sys::parseTypeString(
            name.as_ptr(),
            &mut found.oid,
            &mut found.typmod,
            std::ptr::null_mut(),
        );
    }
    (found.oid != pg_sys::InvalidOid).then_some(found)
}

/// The text of a String node.
///
/// # Safety
/// `node` is a live String node.
pub(super) unsafe fn string_value(node: *mut pg_sys::Node) -> *const std::ffi::c_char {
    // SAFETY: value.h: by the contract.
    unsafe {
        #[cfg(feature = "pg14")]
        let text = (*node.cast::<pg_sys::Value>()).val.str_;
        #[cfg(not(feature = "pg14"))]
        let text = (*node.cast::<pg_sys::String>()).sval;
        text
    }
}

/// Has `role` USAGE on the foreign-data wrapper? (16 has one function for all kinds of object.)
///
/// # Safety
/// In a transaction; raises for an OID that is none of a wrapper.
pub(super) unsafe fn may_use_wrapper(wrapper: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    let usage = pg_sys::ACL_USAGE as pg_sys::AclMode;
    // SAFETY: aclchk.c: by the contract.
    let result = unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        let result = pg_sys::pg_foreign_data_wrapper_aclcheck(wrapper, role, usage);
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        let result = {
            let class = pg_sys::ForeignDataWrapperRelationId;
            pg_sys::object_aclcheck(class, wrapper, role, usage)
        };
        result
    };
    result == pg_sys::AclResult::ACLCHECK_OK
}

/// Has the role CONNECT on this process's database? True for superusers.
pub(super) fn may_connect(role: pg_sys::Oid) -> bool {
    let connect = pg_sys::ACL_CONNECT as pg_sys::AclMode;
    // SAFETY: aclchk.c: a role that does not exist has what PUBLIC has; the database exists, as this
    // process is connected to it. In a transaction, as every user of the catalogs here.
    let result = unsafe {
        let database = pg_sys::MyDatabaseId;
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        let result = pg_sys::pg_database_aclcheck(database, role, connect);
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        let result = pg_sys::object_aclcheck(pg_sys::DatabaseRelationId, database, role, connect);
        result
    };
    result == pg_sys::AclResult::ACLCHECK_OK
}

/// What a worker passes when it connects as a role: 17 can let in roles without LOGIN.
pub(super) const CONNECT_FLAGS: u32 = {
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    let flags = pg_sys::BGWORKER_BYPASS_ROLELOGINCHECK;
    #[cfg(not(any(feature = "pg17", feature = "pg18")))]
    let flags = 0;
    flags
};

/// Runs a query to its end (18 dropped an argument).
///
/// # Safety
/// `query` has been started.
pub(super) unsafe fn executor_run(query: *mut pg_sys::QueryDesc) {
    // SAFETY: execMain.c: by the contract; 0 = all rows, once.
    unsafe {
        pg_sys::ExecutorRun(
            query,
            pg_sys::ScanDirection::ForwardScanDirection,
            0,
            #[cfg(not(feature = "pg18"))]
            true,
        );
    }
}

/// `ExecInsertIndexTuples` for a new row, without a guard: an ERROR leaves as in C. The result lists
/// the indexes with deferred constraints (16 added an argument).
///
/// # Safety
/// Called from PostgreSQL, with a row just written.
pub(super) unsafe fn insert_index_tuples(
    target: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    estate: *mut pg_sys::EState,
) -> *mut pg_sys::List {
    unguarded! {
        fn ExecInsertIndexTuples(
            target: *mut pg_sys::ResultRelInfo,
            slot: *mut pg_sys::TupleTableSlot,
            estate: *mut pg_sys::EState,
            update: bool,
            no_dup_err: bool,
            spec_conflict: *mut bool,
            arbiter_indexes: *mut pg_sys::List,
            #[cfg(not(any(feature = "pg14", feature = "pg15")))] only_summarizing: bool,
        ) -> *mut pg_sys::List;
    }
    // SAFETY: execIndexing.c: by the contract.
    unsafe {
        ExecInsertIndexTuples(
            target,
            slot,
            estate,
            false,
            false,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            #[cfg(not(any(feature = "pg14", feature = "pg15")))]
            false,
        )
    }
}

/// Does this process hold the lock, in that mode, as session or in its transaction?
pub(super) fn lock_is_held(tag: &pg_sys::LOCKTAG, mode: pg_sys::LOCKMODE) -> bool {
    // SAFETY: lock.c: looks into this process's own table.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16"))]
        let held = pg_sys::LockHeldByMe(tag, mode);
        #[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16")))]
        let held = pg_sys::LockHeldByMe(tag, mode, false);
        held
    }
}

/// Does the entry of the process array belong to a background worker? (18 replaced the flag.)
///
/// # Safety
/// `proc` is an entry of the process array.
pub(super) unsafe fn is_background_worker(proc: *mut pg_sys::PGPROC) -> bool {
    // SAFETY: proc.h: by the contract.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        let is_worker = (*proc).isBackgroundWorker;
        #[cfg(feature = "pg18")]
        let is_worker = !(*proc).isRegularBackend;
        is_worker
    }
}

/// Hands the statistics of this process's transactions over, at most once a second unless it is
/// `forced`. Is anything left? (14 does not tell.)
///
/// # Safety
/// Outside a transaction.
pub(super) unsafe fn report_statistics(forced: bool) -> bool {
    // SAFETY: pgstat.c: by the contract. 14 calls the argument "disconnect", which concerns sessions of
    // clients; from 15 on the answer is when to come again, or 0.
    unsafe {
        #[cfg(feature = "pg14")]
        let left = {
            pg_sys::pgstat_report_stat(forced);
            !forced
        };
        #[cfg(not(feature = "pg14"))]
        let left = pg_sys::pgstat_report_stat(forced) != 0;
        left
    }
}
