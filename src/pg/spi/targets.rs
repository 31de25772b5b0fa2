//! What this server's write-ahead log does not keep of the rows that a statement writes.

use std::ffi::c_char;
use std::ptr;

use pgrx::{PgList, pg_sys};

use super::planned::planned;
use crate::pg::tx::Tx;
use gpss_model::error::Result;

/// Tables that a statement writes into, or partitions of them, by their OIDs in ascending order: those
/// that are not like others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// The wrapper commits the rows, elsewhere.
    pub foreign: Vec<pg_sys::Oid>,
    /// Tables of Citus: other servers commit the rows, in two phases.
    pub distributed: Vec<pg_sys::Oid>,
    /// A crash empties them.
    pub unlogged: Vec<pg_sys::Oid>,
}

impl Targets {
    /// # Safety
    /// `plan` is a kept plan, SPI is connected. Raises: what planning raises.
    pub(super) unsafe fn of(tx: &Tx, plan: pg_sys::SPIPlanPtr) -> Result<Targets> {
        // SAFETY: by contract. plancache.c: query_list has the rewritten Query nodes, so that views
        // are their tables; the relations are locked until the transaction ends.
        let mut tables = unsafe {
            planned(plan, |found| {
                let mut tables = vec![];
                if let Some((source, _)) = found {
                    collect((*source).query_list, &mut tables);
                }
                tables.into_iter().flat_map(|table| with_partitions(table)).collect::<Vec<_>>()
            })
        };
        tables.sort_unstable_by_key(|table| table.to_u32());
        tables.dedup();
        let mut targets = Targets::default();
        for table in &tables {
            // SAFETY: lsyscache.c: zero, and permanent, for a table that has just been dropped.
            let (kind, unlogged) = unsafe {
                let kind = pg_sys::get_rel_relkind(*table);
                let stored = kind == pg_sys::RELKIND_RELATION as c_char;
                (kind, stored && is_unlogged(*table))
            };
            if kind == pg_sys::RELKIND_FOREIGN_TABLE as c_char {
                targets.foreign.push(*table);
            }
            if unlogged {
                targets.unlogged.push(*table);
            }
        }
        targets.distributed = tables_of_citus(tx, &tables)?;
        Ok(targets)
    }

    /// Are rows committed on another disk than the offsets?
    pub fn are_elsewhere(&self) -> bool {
        !self.foreign.is_empty() || !self.distributed.is_empty()
    }

    /// Adds those of another statement.
    pub fn add(&mut self, other: Targets) {
        for (all, new) in [
            (&mut self.foreign, other.foreign),
            (&mut self.distributed, other.distributed),
            (&mut self.unlogged, other.unlogged),
        ] {
            all.extend(new);
            all.sort_unstable_by_key(|table| table.to_u32());
            all.dedup();
        }
    }
}

/// Adds the tables that queries write into.
///
/// # Safety
/// A list of Query nodes.
unsafe fn collect(queries: *mut pg_sys::List, tables: &mut Vec<pg_sys::Oid>) {
    // SAFETY: parsenodes.h: resultRelation is an index, from 1, into the range table, or 0; only the
    // top of a query has CTEs that write.
    unsafe {
        for query in PgList::<pg_sys::Query>::from_pg(queries).iter_ptr() {
            let entries = PgList::<pg_sys::RangeTblEntry>::from_pg((*query).rtable);
            let target = usize::try_from((*query).resultRelation).unwrap_or(0).checked_sub(1);
            tables.extend(target.and_then(|at| entries.get_ptr(at)).map(|entry| (*entry).relid));
            for cte in PgList::<pg_sys::CommonTableExpr>::from_pg((*query).cteList).iter_ptr() {
                let inner = (*cte).ctequery.cast::<pg_sys::Query>();
                if (*inner.cast::<pg_sys::Node>()).type_ == pg_sys::NodeTag::T_Query
                    && (*inner).resultRelation > 0
                {
                    collect(pg_sys::lappend(ptr::null_mut(), inner.cast()), tables);
                }
            }
        }
    }
}

/// A table with its partitions at any depth.
///
/// # Safety
/// In a transaction.
unsafe fn with_partitions(table: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    unsafe extern "C-unwind" {
        fn find_all_inheritors(
            parent: pg_sys::Oid,
            lock: pg_sys::LOCKMODE,
            parents: *mut *mut pg_sys::List,
        ) -> *mut pg_sys::List;
    }
    // SAFETY: pg_inherits.c: without locks a child may be gone already, which callers allow for; the
    // guard makes an ERROR a panic, as in every wrapper of pgrx.
    unsafe {
        let list = pg_sys::ffi::pg_guard_ffi_boundary(|| {
            find_all_inheritors(table, pg_sys::NoLock as pg_sys::LOCKMODE, ptr::null_mut())
        });
        // Into other children nothing is written by an INSERT of the parent.
        let tables = PgList::<pg_sys::Oid>::from_pg(list);
        let written =
            |child: &pg_sys::Oid| *child == table || pg_sys::get_rel_relispartition(*child);
        tables.iter_oid().filter(written).collect()
    }
}

/// # Safety
/// In a transaction.
unsafe fn is_unlogged(table: pg_sys::Oid) -> bool {
    // SAFETY: lsyscache.c raises for a table that is not there: asked after its kind, which the same
    // cache has told.
    unsafe { pg_sys::get_rel_persistence(table) == pg_sys::RELPERSISTENCE_UNLOGGED as c_char }
}

/// Which of the tables Citus distributes, replicates or manages.
fn tables_of_citus(tx: &Tx, tables: &[pg_sys::Oid]) -> Result<Vec<pg_sys::Oid>> {
    // SAFETY: lsyscache.c: invalid when there is none.
    let catalog = unsafe {
        pg_sys::get_relname_relid(
            c"pg_dist_partition".as_ptr(),
            pg_sys::PG_CATALOG_NAMESPACE.into(),
        )
    };
    if catalog == pg_sys::InvalidOid {
        return Ok(vec![]);
    }
    let list: Vec<String> = tables.iter().map(|table| table.to_u32().to_string()).collect();
    let sql = format!(
        "SELECT logicalrelid::pg_catalog.oid FROM pg_catalog.pg_dist_partition
         WHERE logicalrelid::pg_catalog.oid
               OPERATOR(pg_catalog.=) ANY ('{{{}}}'::pg_catalog.oid[])
         ORDER BY 1",
        list.join(",")
    );
    super::select(tx, &sql, &[], |row| row.get(1))
}
