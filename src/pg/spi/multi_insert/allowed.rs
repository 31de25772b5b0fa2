//! When rows may be written in bulk: when nobody can tell the difference by the result.

use std::ffi::{c_char, c_void};
use std::ptr;

use pgrx::prelude::*;
use pgrx::{PgList, pg_sys};

use super::Insert;
use crate::pg::compat;

/// Why a statement has to run as usual, as a user may read it.
pub type Obstacle = &'static str;

/// The rows of an `INSERT … SELECT` and where they go, or why it has to run as usual.
///
/// # Safety
/// A source and its plan, whose relations are locked.
pub(super) unsafe fn insert(
    source: *mut pg_sys::CachedPlanSource,
    cached: *mut pg_sys::CachedPlan,
) -> Result<Insert, Obstacle> {
    const NOT_A_TABLE: Obstacle = "the target is not an ordinary table";
    // SAFETY: plannodes.h: the tag says which node the top of the plan is. clauses.c walks Query
    // nodes; the list is the rewritten one, with the defaults of columns.
    unsafe {
        let statements = PgList::<pg_sys::PlannedStmt>::from_pg((*cached).stmt_list);
        let statement = match statements.get_ptr(0) {
            Some(statement) if statements.len() == 1 => statement,
            _ => return Err("a rule adds statements"),
        };
        let top = (*statement).planTree;
        if top.is_null()
            || (*top.cast::<pg_sys::Node>()).type_ != pg_sys::NodeTag::T_ModifyTable
            || (*statement).hasModifyingCTE
        {
            return Err(NOT_A_TABLE);
        }
        let modify = top.cast::<pg_sys::ModifyTable>();
        let plain = (*modify).operation == pg_sys::CmdType::CMD_INSERT
            && (*modify).onConflictAction == pg_sys::OnConflictAction::ONCONFLICT_NONE
            && (*modify).returningLists.is_null()
            && (*modify).rowMarks.is_null()
            && (*modify).rootRelation == 0;
        if !plain {
            return Err("it does more than to insert");
        }
        if !(*modify).withCheckOptionLists.is_null() {
            return Err("row-level security or a view checks each row");
        }
        if may_look_at_tables((*source).query_list.cast(), ptr::null_mut()) {
            return Err("a volatile function in the mapping, the filter or a default");
        }
        let relations = (*modify).resultRelations;
        if (*relations).length != 1 {
            return Err(NOT_A_TABLE);
        }
        let target = (*(*relations).elements).int_value as pg_sys::Index;
        let table = PgList::<pg_sys::RangeTblEntry>::from_pg((*statement).rtable);
        let entry = table.get_ptr(target as usize - 1).ok_or(NOT_A_TABLE)?;
        let relation = pg_sys::RelationIdGetRelation((*entry).relid);
        if relation.is_null() {
            return Err(NOT_A_TABLE);
        }
        let suits = suits(relation);
        pg_sys::RelationClose(relation);
        suits?;
        let mut rows = (*top).lefttree;
        // Uncorrelated sub-selects hang at the top of the plan (SS_attach_initplans); where they
        // hang does not matter, as long as they are in what is executed.
        if !(*top).initPlan.is_null() {
            rows = pg_sys::copyObjectImpl(rows.cast()).cast();
            (*rows).initPlan = pg_sys::list_concat_copy((*rows).initPlan, (*top).initPlan);
        }
        Ok(Insert { statement, rows, target })
    }
}

/// Is it a heap of its own, where no trigger wants to see a row before the next one comes and no
/// constraint may look for one?
///
/// # Safety
/// An open relation.
unsafe fn suits(relation: pg_sys::Relation) -> Result<(), Obstacle> {
    // SAFETY: rel.h: an open relation has its pg_class row and descriptor.
    unsafe {
        let constr = (*(*relation).rd_att).constr;
        let triggers = (*relation).trigdesc;
        if (*(*relation).rd_rel).relkind != pg_sys::RELKIND_RELATION as c_char
            || (*relation).rd_tableam != pg_sys::GetHeapamTableAmRoutine()
        {
            return Err("the target is partitioned, foreign, a view, or not a heap");
        }
        if !constr.is_null() && (*constr).has_generated_stored {
            return Err("the target has a generated column");
        }
        if !triggers.is_null()
            && ((*triggers).trig_insert_before_row
                || (*triggers).trig_insert_instead_row
                || (*triggers).trig_insert_new_table)
        {
            return Err("the target has a BEFORE trigger for rows or a transition table");
        }
        let (checks, count) = match constr.as_ref() {
            Some(constr) => (constr.check, constr.num_check),
            None => (ptr::null_mut(), 0),
        };
        let check_looks = (0..usize::from(count)).any(|i| {
            let expression = pg_sys::stringToNode((*checks.add(i)).ccbin);
            may_look_at_tables(expression.cast(), ptr::null_mut())
        });
        let natts = (*(*relation).rd_att).natts as usize;
        let domain_looks =
            (0..natts).any(|i| domain_looks(compat::attribute_type((*relation).rd_att, i).oid));
        if check_looks || domain_looks {
            return Err("a volatile function in a constraint");
        }
        Ok(())
    }
}

/// Is it a domain with a constraint, of its own or of a domain below, that may look at tables?
///
/// # Safety
/// In a transaction, with a type that exists, or none.
unsafe fn domain_looks(type_oid: pg_sys::Oid) -> bool {
    // SAFETY: typcache.c: false for types that are no domains. The reference lies in the memory
    // context that releases it.
    unsafe {
        // A dropped column has no type.
        if type_oid == pg_sys::InvalidOid || !pg_sys::DomainHasConstraints(type_oid) {
            return false;
        }
        let reference = pg_sys::palloc0(size_of::<pg_sys::DomainConstraintRef>());
        let reference = reference.cast::<pg_sys::DomainConstraintRef>();
        let context = pg_sys::CurrentMemoryContext;
        pg_sys::InitDomainConstraintRef(type_oid, reference, context, false);
        let constraints =
            PgList::<pg_sys::DomainConstraintState>::from_pg((*reference).constraints);
        constraints
            .iter_ptr()
            .any(|constraint| may_look_at_tables((*constraint).check_expr.cast(), ptr::null_mut()))
    }
}

/// Volatile functions that look at no table (pg_proc.dat).
const BLIND: [u32; 5] = [
    pg_sys::F_NEXTVAL,
    pg_sys::F_CLOCK_TIMESTAMP,
    pg_sys::F_TIMEOFDAY,
    pg_sys::F_GEN_RANDOM_UUID,
    1598, // random(), whose name in the headers is another since 17
];

/// Is there a volatile function that might look for the rows before, which are not in the table yet?
/// As COPY decides (`contain_volatile_functions_not_nextval`), which knows only nextval to be blind.
#[pg_guard]
unsafe extern "C-unwind" fn may_look_at_tables(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> bool {
    #[pg_guard]
    unsafe extern "C-unwind" fn may_look(function: pg_sys::Oid, _context: *mut c_void) -> bool {
        // SAFETY: lsyscache.c: a function of a plan exists.
        let volatility = unsafe { pg_sys::func_volatile(function) };
        volatility == pg_sys::PROVOLATILE_VOLATILE as c_char && !BLIND.contains(&function.to_u32())
    }
    // SAFETY: nodeFuncs.c: the tag decides which structure the node is.
    unsafe {
        if node.is_null() {
            return false;
        }
        let looks = match (*node).type_ {
            pg_sys::NodeTag::T_NextValueExpr => return false,
            pg_sys::NodeTag::T_CoerceToDomain => {
                domain_looks((*node.cast::<pg_sys::CoerceToDomain>()).resulttype)
            }
            _ => pg_sys::check_functions_in_node(node, Some(may_look), context),
        };
        if looks {
            true
        } else if (*node).type_ == pg_sys::NodeTag::T_Query {
            pg_sys::query_tree_walker(node.cast(), Some(may_look_at_tables), context, 0)
        } else {
            pg_sys::expression_tree_walker(node, Some(may_look_at_tables), context)
        }
    }
}
