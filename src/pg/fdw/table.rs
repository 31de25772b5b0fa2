//! What the catalogs say about a foreign table: its columns and the options at every level.

use crate::pg::call::Text;
use crate::pg::caught::raise;
use crate::pg::{compat, encoding};
use gpss_model::error::{Error, SqlState};
use gpss_model::statement::TargetColumn;
use pgrx::{PgList, PgRelation, pg_sys};
use std::ffi::CStr;

/// Options as name and value, in catalog order.
pub type Options = Vec<(String, String)>;

/// A live (not dropped) column of a foreign table.
#[derive(Clone, Debug)]
pub struct Column {
    /// pg_attribute.attnum
    pub attnum: i16,
    pub name: String,
    pub type_oid: pg_sys::Oid,
    pub typmod: i32,
    /// Whether the type is an array (pg_type.typsubscript's classic kind).
    pub is_array: bool,
    pub options: Options,
}

/// A foreign table with its server; the user mapping is read apart, because only a scan needs it.
#[derive(Clone, Debug)]
pub struct Table {
    pub relid: pg_sys::Oid,
    pub owner: pg_sys::Oid,
    pub schema: String,
    pub name: String,
    pub columns: Vec<Column>,
    pub options: Options,
    pub server: pg_sys::Oid,
    pub server_owner: pg_sys::Oid,
    pub server_options: Options,
    pub wrapper_name: String,
}

impl Table {
    /// Raises: 42809 when the relation is not a foreign table.
    pub fn load(relid: pg_sys::Oid) -> Table {
        // SAFETY: a syscache lookup; 0 when there is no such relation.
        if unsafe { pg_sys::get_rel_relkind(relid) } as u8 != pg_sys::RELKIND_FOREIGN_TABLE {
            // SAFETY: as above; NULL when there is no such relation.
            let name = unsafe { text(pg_sys::get_rel_name(relid)) };
            raise(Error::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("\"{name}\" is not a foreign table"),
            ));
        }
        // SAFETY: GetForeignTable and GetForeignServer return palloc'd structures or raise; the
        // names come from the syscache as palloc'd strings.
        unsafe {
            let table = pg_sys::GetForeignTable(relid);
            let server = pg_sys::GetForeignServer((*table).serverid);
            let wrapper = pg_sys::GetForeignDataWrapper((*server).fdwid);
            let (owner, columns) = columns(relid);
            Table {
                relid,
                owner,
                schema: text(pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relid))),
                name: text(pg_sys::get_rel_name(relid)),
                columns,
                options: options((*table).options),
                server: (*server).serverid,
                server_owner: (*server).owner,
                server_options: options((*server).options),
                wrapper_name: text((*wrapper).fdwname),
            }
        }
    }

    /// The options of the user mapping that applies to `user` (its own, else PUBLIC's); none: empty.
    pub fn user_mapping(server: pg_sys::Oid, user: pg_sys::Oid) -> Options {
        for who in [user, pg_sys::InvalidOid] {
            // SAFETY: a syscache lookup that is released below; SysCacheGetAttr returns a datum
            // that lives as long as the tuple.
            unsafe {
                let tuple = pg_sys::SearchSysCache2(
                    pg_sys::SysCacheIdentifier::USERMAPPINGUSERSERVER as i32,
                    pg_sys::Datum::from(who),
                    pg_sys::Datum::from(server),
                );
                if tuple.is_null() {
                    continue;
                }
                let mut null = false;
                let datum = pg_sys::SysCacheGetAttr(
                    pg_sys::SysCacheIdentifier::USERMAPPINGUSERSERVER as i32,
                    tuple,
                    pg_sys::Anum_pg_user_mapping_umoptions as i16,
                    &mut null,
                );
                let found =
                    if null { vec![] } else { options(pg_sys::untransformRelOptions(datum)) };
                pg_sys::ReleaseSysCache(tuple);
                return found;
            }
        }
        vec![]
    }

    pub fn option(&self, name: &str) -> Option<&str> {
        find(&self.options, name)
    }
}

impl Column {
    pub fn option(&self, name: &str) -> Option<&str> {
        find(&self.options, name)
    }
}

fn find<'a>(options: &'a Options, name: &str) -> Option<&'a str> {
    options.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

/// The `text[]` of a validator call (each `name=value`) as options.
pub fn options_from_array(array: Vec<Option<Text>>) -> Result<Options, Error> {
    array
        .into_iter()
        .flatten()
        .map(|item| match item.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(Error::new(SqlState::FDW_ERROR, "option without a value")),
        })
        .collect()
}

fn name_of(attribute: &pg_sys::FormData_pg_attribute) -> String {
    // SAFETY: name.h: a NameData is NUL-terminated.
    unsafe { text(attribute.attname.data.as_ptr()) }
}

/// Copies a C string of the database's encoding; empty for NULL.
///
/// # Safety
/// `p` is NULL or a NUL-terminated string.
unsafe fn text(p: *const std::ffi::c_char) -> String {
    if p.is_null() {
        return String::new();
    }
    // SAFETY: by contract.
    encoding::from_server(unsafe { CStr::from_ptr(p) })
}

/// # Safety
/// `list` is NIL or a list of DefElem whose arguments are String nodes, as option lists are.
unsafe fn options(list: *mut pg_sys::List) -> Options {
    // SAFETY: by contract; defGetString returns a palloc'd or constant string.
    unsafe {
        PgList::<pg_sys::DefElem>::from_pg(list)
            .iter_ptr()
            .map(|def| (text((*def).defname), text(pg_sys::defGetString(def))))
            .collect()
    }
}

/// # Safety
/// `relid` is an existing foreign table on which the caller holds a lock or which it may lock.
unsafe fn columns(relid: pg_sys::Oid) -> (pg_sys::Oid, Vec<Column>) {
    // SAFETY: PgRelation holds a lock and a reference for the life of this function; attributes
    // are read from its descriptor.
    let relation = unsafe { PgRelation::with_lock(relid, pg_sys::AccessShareLock as _) };
    let columns = relation
        .tuple_desc()
        .iter()
        .filter(|attribute| !attribute.is_dropped())
        .map(|attribute| Column {
            attnum: attribute.num(),
            name: name_of(attribute),
            type_oid: attribute.type_oid().value(),
            typmod: attribute.type_mod(),
            // SAFETY: a syscache lookup of the column's type.
            is_array: unsafe { is_array(attribute.type_oid().value()) },
            // SAFETY: the list is made of DefElem nodes.
            options: unsafe { options(pg_sys::GetForeignColumnOptions(relid, attribute.num())) },
        })
        .collect();
    // SAFETY: rel.h: an open relation has its row of pg_class.
    (unsafe { (*relation.rd_rel).relowner }, columns)
}

/// A relation's columns that are not dropped.
///
/// Raises: an ERROR when there is no such relation.
pub fn relation_columns(relid: pg_sys::Oid) -> Vec<TargetColumn> {
    // SAFETY: as in `columns`.
    let relation = unsafe { PgRelation::with_lock(relid, pg_sys::AccessShareLock as _) };
    relation
        .tuple_desc()
        .iter()
        .filter(|attribute| !attribute.is_dropped())
        .map(|attribute| TargetColumn {
            name: name_of(attribute),
            type_name: type_name(attribute.type_oid().value(), attribute.type_mod()),
            generated: attribute.attgenerated != 0,
            default: attribute.atthasdef || attribute.attidentity != 0,
        })
        .collect()
}

/// A type as SQL names it, with its modifier, so that nothing else can stand in its place.
pub fn type_name(oid: pg_sys::Oid, typmod: i32) -> String {
    let flags = pg_sys::FORMAT_TYPE_TYPEMOD_GIVEN | pg_sys::FORMAT_TYPE_FORCE_QUALIFY;
    // SAFETY: format_type.c: a palloc'd string; an unknown type is "???".
    unsafe { text(pg_sys::format_type_extended(oid, typmod, flags as pg_sys::bits16)) }
}

/// The name, as `type_name` gives it, of a type that a user has written; None for an unknown one.
///
/// Raises: a name that is not well formed, and what the type says of its modifier.
pub fn type_by_name(name: &str) -> Option<String> {
    let name = encoding::c_string(name).ok()?;
    // SAFETY: called by SQL functions, hence in a transaction.
    let found = unsafe { compat::parse_type(&name) }?;
    Some(type_name(found.oid, found.typmod))
}

/// Is it an array, or a domain over one?
///
/// # Safety
/// In a transaction.
pub(super) unsafe fn is_array(type_oid: pg_sys::Oid) -> bool {
    // SAFETY: lsyscache.c: lookups in the system caches.
    unsafe { pg_sys::get_element_type(pg_sys::getBaseType(type_oid)) != pg_sys::InvalidOid }
}
