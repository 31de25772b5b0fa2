//! Planning of a foreign scan: which JSON expressions and which bounds the source takes over.
//!
//! A pushed-down expression becomes an entry of `fdw_scan_tlist`; set_foreignscan_references
//! (setrefs.c) then replaces it wherever the plan uses it by a scan column. Every live column is
//! in that list too, because a node above the scan may ask for the whole column.

use super::{ForeignSource, RangeOp, Table};
use crate::pg::call::Text;
use gpss_model::statement::quote_literal;
use pgrx::prelude::*;
use pgrx::{PgList, pg_sys};
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::fmt;

/// One operator application in a chain over a json column, innermost first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JsonCall {
    /// `-> 'k'`: json_object_field
    Field(String),
    /// `->> 'k'`: json_object_field_text
    FieldText(String),
    /// `#> '{a,b}'`: json_extract_path
    Path(Vec<String>),
    /// `#>> '{a,b}'`: json_extract_path_text
    PathText(Vec<String>),
}

impl fmt::Display for JsonCall {
    /// As SQL has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JsonCall::Field(key) => write!(f, "->{}", quote_literal(key)),
            JsonCall::FieldText(key) => write!(f, "->>{}", quote_literal(key)),
            JsonCall::Path(path) => write!(f, "#>'{{{}}}'", path.join(",")),
            JsonCall::PathText(path) => write!(f, "#>>'{{{}}}'", path.join(",")),
        }
    }
}

/// What a column of the scan's own row type is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ScanColumn {
    Attribute(i16),
    /// With a type: what the calls give, converted to it.
    Json {
        attnum: i16,
        calls: Vec<JsonCall>,
        cast: Option<u32>,
    },
}

/// A bound; its value is the expression of the same position in `fdw_exprs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RangeClause {
    pub attnum: i16,
    pub op: RangeOp,
    /// The value's type: an integer type, timestamptz, or an array of int4 or int8 (`= ANY`).
    pub type_oid: u32,
    /// The expression as EXPLAIN prints it.
    pub text: String,
}

/// `fdw_private`: one String node holding this as JSON, so that copyObject and plan caching work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Private {
    /// Empty: the scan's row type is the table's.
    pub columns: Vec<ScanColumn>,
    /// Attributes of the table that somebody reads; the plan's target list may name more of them
    /// (a physical target list, use_physical_tlist in createplan.c). None: all.
    pub needed: Option<Vec<i16>>,
    pub ranges: Vec<RangeClause>,
}

/// Rows assumed of a topic: its size is known only to the broker, which planning does not ask.
const ASSUMED_ROWS: f64 = 1000.0;
/// Cost of contacting the broker, and of a message, in PostgreSQL's units (seq_page_cost = 1).
const STARTUP_COST: f64 = 1000.0;
const ROW_COST: f64 = 0.05;

#[pg_guard]
pub(super) unsafe extern "C-unwind" fn get_foreign_rel_size(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    _relid: pg_sys::Oid,
) {
    // SAFETY: the planner passes live structures; baserestrictinfo is a list of RestrictInfo.
    unsafe {
        let selectivity = pg_sys::clauselist_selectivity(
            root,
            (*rel).baserestrictinfo,
            0,
            pg_sys::JoinType::JOIN_INNER,
            std::ptr::null_mut(),
        );
        (*rel).rows = (ASSUMED_ROWS * selectivity).max(1.0);
    }
}

#[pg_guard]
pub(super) unsafe extern "C-unwind" fn get_foreign_paths(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    _relid: pg_sys::Oid,
) {
    // SAFETY: the planner passes live structures; the path is allocated in the planner's context.
    unsafe {
        let rows = (*rel).rows;
        let total = STARTUP_COST + ASSUMED_ROWS * ROW_COST;
        let path = crate::pg::compat::create_foreignscan_path(root, rel, rows, STARTUP_COST, total);
        pg_sys::add_path(rel, path.cast());
    }
}

#[pg_guard]
pub(super) unsafe extern "C-unwind" fn get_foreign_plan<S: ForeignSource>(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    relid: pg_sys::Oid,
    best_path: *mut pg_sys::ForeignPath,
    tlist: *mut pg_sys::List,
    scan_clauses: *mut pg_sys::List,
    outer_plan: *mut pg_sys::Plan,
) -> *mut pg_sys::ForeignScan {
    let table = Table::load(relid);
    // SAFETY: root, rel and the lists are the planner's, alive for the whole of planning; what is
    // put into the plan is made of fresh or copied nodes.
    unsafe {
        let clauses = pg_sys::extract_actual_clauses(scan_clauses, false);
        let scan_relid = (*rel).relid;
        let mut private = Private::default();
        let mut scan_tlist = PgList::<pg_sys::TargetEntry>::new();

        let read = attributes_read(root, rel, tlist, clauses);
        let found = if read.iter().any(|attno| *attno <= 0) {
            // A custom row type has neither system columns nor a whole-row Var.
            vec![]
        } else {
            let mut finder =
                Finder { scan_relid: scan_relid as i32, attnums: vec![], found: vec![] };
            finder.attnums = table
                .columns
                .iter()
                .filter(|c| c.type_oid == pg_sys::JSONOID && S::delivers_json(&table, c))
                .map(|c| c.attnum)
                .collect();
            // Late conversions ask the conditions once more (scan.rs).
            if evaluates_all(root) && !pg_sys::contain_volatile_functions(clauses.cast()) {
                finder.search_casts::<S>((*root).processed_tlist, clauses);
            }
            finder.search((*root).processed_tlist.cast());
            finder.search(clauses.cast());
            finder.found
        };
        if !found.is_empty() {
            for column in &table.columns {
                let var = pg_sys::makeVar(
                    scan_relid as _,
                    column.attnum,
                    column.type_oid,
                    column.typmod,
                    // The column's own, which may differ from its type's: setrefs compares it.
                    attribute_collation(relid, column.attnum),
                    0,
                );
                append_entry(&mut scan_tlist, var.cast());
                private.columns.push(ScanColumn::Attribute(column.attnum));
            }
            for Found { node, attnum, calls, cast } in found {
                append_entry(&mut scan_tlist, pg_sys::copyObjectImpl(node.cast()).cast());
                private.columns.push(ScanColumn::Json { attnum, calls, cast });
            }
        }

        if !read.contains(&0) {
            private.needed = Some(read);
        }

        let bounded: Vec<i16> =
            table.columns.iter().filter(|c| S::bounds(c)).map(|c| c.attnum).collect();
        let mut exprs = PgList::<pg_sys::Node>::new();
        let outer = match (*best_path).path.param_info {
            info if info.is_null() => std::ptr::null_mut(),
            info => (*info).ppi_req_outer,
        };
        let known = |value| known_to_scan(root, value, outer);
        for clause in PgList::<pg_sys::Node>::from_pg(clauses).iter_ptr() {
            if let Some((range, value)) = range_clause(clause, scan_relid as i32, &bounded, &known)
            {
                // References to `outer` become parameters there (create_foreignscan_plan).
                private.ranges.push(range);
                exprs.push(pg_sys::copyObjectImpl(value.cast()).cast());
            }
        }

        let text = serde_json::to_string(&private).unwrap_or_default();
        let text = CString::new(text).unwrap_or_default();
        let mut fdw_private = PgList::<pg_sys::Node>::new();
        fdw_private.push(pg_sys::makeString(pg_sys::pstrdup(text.as_ptr())).cast());

        pg_sys::make_foreignscan(
            tlist,
            clauses,
            scan_relid,
            exprs.into_pg(),
            fdw_private.into_pg(),
            scan_tlist.into_pg(),
            std::ptr::null_mut(),
            outer_plan,
        )
    }
}

/// # Safety
/// `expr` is a node that may be put into the plan.
unsafe fn append_entry(list: &mut PgList<pg_sys::TargetEntry>, expr: *mut pg_sys::Expr) {
    let position = list.len() as i16 + 1;
    // SAFETY: makeTargetEntry only builds a node around `expr`.
    list.push(unsafe { pg_sys::makeTargetEntry(expr, position, std::ptr::null_mut(), false) });
}

/// # Safety
/// The relation exists and is locked by the planner.
unsafe fn attribute_collation(relid: pg_sys::Oid, attnum: i16) -> pg_sys::Oid {
    let mut type_oid = pg_sys::InvalidOid;
    let mut typmod = 0;
    let mut collation = pg_sys::InvalidOid;
    // SAFETY: a syscache lookup that raises when the attribute is missing.
    unsafe {
        pg_sys::get_atttypetypmodcoll(relid, attnum, &mut type_oid, &mut typmod, &mut collation);
    }
    collation
}

/// Attributes of the relation that the query reads above the scan or in its conditions: 0 for the
/// whole row, negative for system columns.
///
/// # Safety
/// The arguments are those of GetForeignPlan.
unsafe fn attributes_read(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    tlist: *mut pg_sys::List,
    clauses: *mut pg_sys::List,
) -> Vec<i16> {
    // SAFETY: attr_needed has an entry for each attribute from min_attr to max_attr (relnode.c),
    // and stays empty for child relations, whose target says it; pull_varattnos adds
    // FirstLowInvalidHeapAttributeNumber as an offset to each member.
    unsafe {
        let mut attnos = std::ptr::null_mut();
        let target = (*(*rel).reltarget).exprs;
        // A target list with expressions is exact; one of bare columns may be a physical one.
        let exact = PgList::<pg_sys::TargetEntry>::from_pg(tlist)
            .iter_ptr()
            .any(|entry| (*(*entry).expr.cast::<pg_sys::Node>()).type_ != pg_sys::NodeTag::T_Var);
        let tlist = if exact { tlist } else { std::ptr::null_mut() };
        for list in [target, clauses, (*root).processed_tlist, tlist] {
            pg_sys::pull_varattnos(list.cast(), (*rel).relid, &mut attnos);
        }
        let offset = pg_sys::FirstLowInvalidHeapAttributeNumber;
        let mut read = vec![];
        let mut member = pg_sys::bms_next_member(attnos, -1);
        while member >= 0 {
            read.push((member + offset) as i16);
            member = pg_sys::bms_next_member(attnos, member);
        }
        let above = ((*rel).min_attr..=(*rel).max_attr).filter(|attno| {
            !(*(*rel).attr_needed.add((attno - (*rel).min_attr) as usize)).is_null()
        });
        read.extend(above);
        read
    }
}

/// Is every expression of the target list evaluated for every row that satisfies the scan's own
/// conditions? Only then may a conversion, which can fail, be taken over: elsewhere a join or a LIMIT
/// may spare a row from it.
///
/// # Safety
/// `root` is the planner's, inside GetForeignPlan.
unsafe fn evaluates_all(root: *mut pg_sys::PlannerInfo) -> bool {
    // SAFETY: by contract; a query that reads one relation and does nothing else to its rows.
    unsafe {
        let query = (*root).parse;
        let lists = [
            (*query).groupClause,
            (*query).groupingSets,
            (*query).distinctClause,
            (*query).sortClause,
        ];
        let nodes = [
            (*query).havingQual,
            (*query).setOperations,
            (*query).limitCount,
            (*query).limitOffset,
        ];
        let relations = pg_sys::bms_membership((*root).all_baserels);
        relations == pg_sys::BMS_Membership::BMS_SINGLETON
            && lists.iter().all(|list| list.is_null())
            && nodes.iter().all(|node| node.is_null())
            && !(*query).hasAggs
            && !(*query).hasWindowFuncs
            && !(*query).hasTargetSRFs
    }
}

/// An expression that the source takes over.
struct Found {
    node: *mut pg_sys::Node,
    attnum: i16,
    calls: Vec<JsonCall>,
    cast: Option<u32>,
}

/// Collects the distinct JSON expressions over the source's columns.
struct Finder {
    scan_relid: i32,
    attnums: Vec<i16>,
    found: Vec<Found>,
}

impl Finder {
    /// # Safety
    /// `node` is a planner's node.
    unsafe fn knows(&self, node: *mut pg_sys::Node) -> bool {
        // SAFETY: equalfuncs.c compares any two nodes.
        self.found.iter().any(|found| unsafe { pg_sys::equal(node.cast(), found.node.cast()) })
    }

    /// Finds the conversions of JSON texts: `(col->>'k')::bigint` and the like. One that a condition
    /// has too stays there: the scan converts when the conditions have let the row pass.
    ///
    /// # Safety
    /// `tlist` is the planner's list of target entries, `clauses` the scan's conditions.
    unsafe fn search_casts<S: ForeignSource>(
        &mut self,
        tlist: *mut pg_sys::List,
        clauses: *mut pg_sys::List,
    ) {
        // SAFETY: by contract.
        unsafe {
            for entry in PgList::<pg_sys::TargetEntry>::from_pg(tlist).iter_ptr() {
                self.search_cast::<S>((*entry).expr.cast());
            }
            self.found.retain(|found| !contains(clauses.cast(), found.node.cast()));
        }
    }

    /// Goes down only where all arguments are evaluated whatever they are: no CASE, COALESCE, AND.
    ///
    /// # Safety
    /// `node` is a planner's expression.
    unsafe fn search_cast<S: ForeignSource>(&mut self, node: *mut pg_sys::Node) {
        // SAFETY: the tag decides which structure the node is.
        unsafe {
            if node.is_null() {
                return;
            }
            let args = match (*node).type_ {
                pg_sys::NodeTag::T_CoerceViaIO => {
                    let coerce = node.cast::<pg_sys::CoerceViaIO>();
                    let arg = (*coerce).arg.cast::<pg_sys::Node>();
                    let type_oid = (*coerce).resulttype;
                    match json_calls(arg, self) {
                        Some((attnum, calls)) if gives_text(&calls) && S::converts(type_oid) => {
                            if !self.knows(node) {
                                let cast = Some(type_oid.to_u32());
                                self.found.push(Found { node, attnum, calls, cast });
                            }
                        }
                        _ => self.search_cast::<S>(arg),
                    }
                    return;
                }
                pg_sys::NodeTag::T_RelabelType => {
                    let relabel = node.cast::<pg_sys::RelabelType>();
                    return self.search_cast::<S>((*relabel).arg.cast());
                }
                pg_sys::NodeTag::T_OpExpr => (*node.cast::<pg_sys::OpExpr>()).args,
                pg_sys::NodeTag::T_FuncExpr => (*node.cast::<pg_sys::FuncExpr>()).args,
                _ => return,
            };
            for arg in PgList::<pg_sys::Node>::from_pg(args).iter_ptr() {
                self.search_cast::<S>(arg);
            }
        }
    }

    /// # Safety
    /// `node` is NULL or an expression tree or list of the planner.
    unsafe fn search(&mut self, node: *mut pg_sys::Node) {
        if self.attnums.is_empty() {
            return;
        }
        // SAFETY: by contract; the context outlives the walk.
        unsafe { find_json(node, (self as *mut Finder).cast()) };
    }
}

/// Is `wanted` somewhere in the tree?
#[pg_guard]
unsafe extern "C-unwind" fn contains(
    node: *mut pg_sys::Node,
    wanted: *mut std::ffi::c_void,
) -> bool {
    // SAFETY: nodes are the planner's; equalfuncs.c compares any two.
    unsafe {
        !node.is_null()
            && (pg_sys::equal(node.cast(), wanted)
                || pg_sys::expression_tree_walker(node, Some(contains), wanted))
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn find_json(
    node: *mut pg_sys::Node,
    context: *mut std::ffi::c_void,
) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: `context` is the Finder of `search`; nodes are the planner's.
    unsafe {
        let finder = &mut *context.cast::<Finder>();
        if (*node).type_ == pg_sys::NodeTag::T_CoerceViaIO && finder.knows(node) {
            return false;
        }
        if let Some((attnum, calls)) = json_calls(node, finder) {
            if !finder.knows(node) {
                finder.found.push(Found { node, attnum, calls, cast: None });
            }
            return false;
        }
        pg_sys::expression_tree_walker(node, Some(find_json), context)
    }
}

/// The attribute that the node is, if it is one of these of the scanned relation.
///
/// # Safety
/// `node` is a planner's node.
unsafe fn own_column(node: *mut pg_sys::Node, scan_relid: i32, attnums: &[i16]) -> Option<i16> {
    // SAFETY: the tag says that the node is a Var.
    unsafe {
        if (*node).type_ != pg_sys::NodeTag::T_Var {
            return None;
        }
        let var = node.cast::<pg_sys::Var>();
        // varno is unsigned before 16.
        let ours = i64::from((*var).varno) == i64::from(scan_relid)
            && (*var).varlevelsup == 0
            && attnums.contains(&(*var).varattno);
        ours.then_some((*var).varattno)
    }
}

/// `col->>'k'`, `col->'a'->>'b'`, `col#>>'{a,b}'` and the like, as operators or function calls;
/// anything else is None.
///
/// # Safety
/// `node` is a planner's node.
unsafe fn json_calls(node: *mut pg_sys::Node, finder: &Finder) -> Option<(i16, Vec<JsonCall>)> {
    // SAFETY: the tag decides which structure the node is.
    unsafe {
        let (function, args) = match (*node).type_ {
            pg_sys::NodeTag::T_OpExpr => {
                let op = node.cast::<pg_sys::OpExpr>();
                (pg_sys::get_opcode((*op).opno), (*op).args)
            }
            pg_sys::NodeTag::T_FuncExpr => {
                let call = node.cast::<pg_sys::FuncExpr>();
                ((*call).funcid, (*call).args)
            }
            _ => return None,
        };
        let args = PgList::<pg_sys::Node>::from_pg(args);
        if args.len() != 2 {
            return None;
        }
        let call = json_call(function.to_u32(), args.get_ptr(1)?)?;
        let inner = args.get_ptr(0)?;
        if (*inner).type_ == pg_sys::NodeTag::T_Var {
            let attnum = own_column(inner, finder.scan_relid, &finder.attnums)?;
            return Some((attnum, vec![call]));
        }
        let (attnum, mut calls) = json_calls(inner, finder)?;
        // `->>` gives text: nothing can be applied on top of it as json.
        if gives_text(&calls) {
            return None;
        }
        calls.push(call);
        Some((attnum, calls))
    }
}

/// Do the calls end in `->>` or `#>>`?
fn gives_text(calls: &[JsonCall]) -> bool {
    matches!(calls.last(), Some(JsonCall::FieldText(_) | JsonCall::PathText(_)))
}

/// # Safety
/// `arg` is a planner's node.
unsafe fn json_call(function: u32, arg: *mut pg_sys::Node) -> Option<JsonCall> {
    // SAFETY: a Const of the argument type that the function declares; arrays of text are
    // detoasted by FromDatum.
    unsafe {
        if (*arg).type_ != pg_sys::NodeTag::T_Const {
            return None;
        }
        let value = arg.cast::<pg_sys::Const>();
        if (*value).constisnull {
            return None;
        }
        let datum = (*value).constvalue;
        let key = || Text::from_datum(datum, false).map(|key| key.0);
        let path = || {
            let items = Vec::<Option<Text>>::from_datum(datum, false)?;
            let items: Option<Vec<String>> =
                items.into_iter().map(|item| item.map(|text| text.0)).collect();
            items.filter(|p| !p.is_empty())
        };
        match function {
            pg_sys::F_JSON_OBJECT_FIELD => Some(JsonCall::Field(key()?)),
            pg_sys::F_JSON_OBJECT_FIELD_TEXT => Some(JsonCall::FieldText(key()?)),
            pg_sys::F_JSON_EXTRACT_PATH => Some(JsonCall::Path(path()?)),
            pg_sys::F_JSON_EXTRACT_PATH_TEXT => Some(JsonCall::PathText(path()?)),
            _ => None,
        }
    }
}

/// How a value is known when the scan begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It can be shown as it stands.
    Shown,
    /// It is that of another relation's row, or a parameter that the executor sets.
    AtRunTime,
}

/// Is the expression free of volatile functions and of columns but those of the relations that the scan
/// is begun again for (`outer`)?
///
/// # Safety
/// The planner's, inside GetForeignPlan.
unsafe fn known_to_scan(
    root: *mut pg_sys::PlannerInfo,
    value: *mut pg_sys::Node,
    outer: pg_sys::Relids,
) -> Option<Known> {
    // SAFETY: by contract.
    unsafe {
        if pg_sys::contain_volatile_functions(value) {
            return None;
        }
        if !pg_sys::contain_var_clause(value) {
            let at_run_time = has_exec_param(value, std::ptr::null_mut());
            return Some(if at_run_time { Known::AtRunTime } else { Known::Shown });
        }
        let read = pg_sys::pull_varnos(root, value);
        (!read.is_null() && pg_sys::bms_is_subset(read, outer)).then_some(Known::AtRunTime)
    }
}

/// What the operator does, if it is one of PostgreSQL's comparisons of integers or of dates and times:
/// another one of the same name may do anything.
///
/// # Safety
/// In a transaction.
unsafe fn range_op(opno: pg_sys::Oid) -> Option<RangeOp> {
    // SAFETY: lsyscache.c: lookups in the system caches, 0 for what is not there.
    unsafe {
        let strategy = |opno| {
            let families = [INTEGER_BTREE_FAMILY, DATETIME_BTREE_FAMILY];
            let in_family = |family| pg_sys::get_op_opfamily_strategy(opno, family) as u32;
            families.into_iter().map(in_family).find(|strategy| *strategy != 0)
        };
        match strategy(opno) {
            Some(pg_sys::BTLessStrategyNumber) => Some(RangeOp::Less),
            Some(pg_sys::BTLessEqualStrategyNumber) => Some(RangeOp::LessOrEqual),
            Some(pg_sys::BTEqualStrategyNumber) => Some(RangeOp::Equal),
            Some(pg_sys::BTGreaterEqualStrategyNumber) => Some(RangeOp::GreaterOrEqual),
            Some(pg_sys::BTGreaterStrategyNumber) => Some(RangeOp::Greater),
            Some(_) => None,
            // `<>` is in no family of its own, but each is the negator of the other.
            None => {
                let equal = pg_sys::get_negator(opno);
                let negated = strategy(equal) == Some(pg_sys::BTEqualStrategyNumber)
                    && pg_sys::get_negator(equal) == opno;
                negated.then_some(RangeOp::NotEqual)
            }
        }
    }
}

/// `integer_ops` and `datetime_ops` of pg_opfamily.dat, which have fixed OIDs.
const INTEGER_BTREE_FAMILY: pg_sys::Oid = pg_sys::Oid::from_u32(1976);
const DATETIME_BTREE_FAMILY: pg_sys::Oid = pg_sys::Oid::from_u32(434);

/// `column op value` or `value op column` or `column = ANY(array)`, the value known when the scan begins.
///
/// # Safety
/// `clause` is a planner's expression.
unsafe fn range_clause(
    clause: *mut pg_sys::Node,
    scan_relid: i32,
    attnums: &[i16],
    known: &dyn Fn(*mut pg_sys::Node) -> Option<Known>,
) -> Option<(RangeClause, *mut pg_sys::Node)> {
    // SAFETY: the tag decides which structure the node is; deparse_expression's text is palloc'd.
    unsafe {
        let (opno, args, is_any) = match (*clause).type_ {
            pg_sys::NodeTag::T_OpExpr => {
                let op = clause.cast::<pg_sys::OpExpr>();
                ((*op).opno, (*op).args, false)
            }
            pg_sys::NodeTag::T_ScalarArrayOpExpr => {
                let op = clause.cast::<pg_sys::ScalarArrayOpExpr>();
                if !(*op).useOr {
                    return None;
                }
                ((*op).opno, (*op).args, true)
            }
            _ => return None,
        };
        let args = PgList::<pg_sys::Node>::from_pg(args);
        let (left, right) = (args.get_ptr(0)?, args.get_ptr(1)?);
        let op = range_op(opno)?;
        let own = |node| own_column(node, scan_relid, attnums);
        let (attnum, value, op) = match (own(left), own(right)) {
            (Some(attnum), _) => (attnum, right, op),
            (None, Some(attnum)) if !is_any => (attnum, left, op.commuted()),
            _ => return None,
        };
        if is_any && op != RangeOp::Equal {
            return None;
        }
        let type_oid = pg_sys::exprType(value);
        let usable = if is_any {
            [pg_sys::INT4ARRAYOID, pg_sys::INT8ARRAYOID].contains(&type_oid)
        } else {
            [pg_sys::INT2OID, pg_sys::INT4OID, pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID]
                .contains(&type_oid)
        };
        if !usable {
            return None;
        }
        let mut text = match known(value)? {
            // Only the whole plan could say what stands there; deparsing needs it.
            Known::AtRunTime => "(value found at run time)".to_owned(),
            Known::Shown => {
                let text = pg_sys::deparse_expression(value, std::ptr::null_mut(), false, false);
                std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned()
            }
        };
        if is_any {
            text = format!("ANY ({text})");
        }
        let range = RangeClause { attnum, op, type_oid: type_oid.to_u32(), text };
        Some((range, value))
    }
}

/// Does the expression hold a parameter that the executor sets (of a subquery or a nested loop)?
#[pg_guard]
unsafe extern "C-unwind" fn has_exec_param(
    node: *mut pg_sys::Node,
    context: *mut std::ffi::c_void,
) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: the tag decides which structure the node is.
    unsafe {
        if (*node).type_ == pg_sys::NodeTag::T_Param {
            return (*node.cast::<pg_sys::Param>()).paramkind == pg_sys::ParamKind::PARAM_EXEC;
        }
        pg_sys::expression_tree_walker(node, Some(has_exec_param), context)
    }
}
