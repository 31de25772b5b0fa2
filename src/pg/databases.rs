//! The databases of the server, read without being connected to one (as autovacuum's launcher does).

use crate::pg::tx::tx;
use gpss_model::error::Result;
use pgrx::pg_sys;

/// The databases that sessions may connect to, templates left out.
pub fn connectable() -> Result<Vec<pg_sys::Oid>> {
    tx(|_tx| {
        let mut found = vec![];
        // SAFETY: get_database_list of autovacuum.c: pg_database is a shared catalog, readable in a
        // transaction without a database; each tuple is valid until the next one is fetched.
        unsafe {
            let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
            let relation = pg_sys::table_open(pg_sys::DatabaseRelationId, lock);
            let scan = pg_sys::table_beginscan_catalog(relation, 0, std::ptr::null_mut());
            loop {
                let forward = pg_sys::ScanDirection::ForwardScanDirection;
                let tuple = pg_sys::heap_getnext(scan, forward);
                if tuple.is_null() {
                    break;
                }
                let row = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
                if (*row).datallowconn && !(*row).datistemplate {
                    found.push((*row).oid);
                }
            }
            pg_sys::table_endscan(scan);
            pg_sys::table_close(relation, lock);
        }
        Ok(found)
    })
}
