//! The current role, its privileges, and switching roles temporarily (miscinit.c, acl.c).

use std::ffi::{CStr, CString, c_int};
use std::ptr;

use pgrx::pg_sys::{self, Datum, Oid};

use crate::pg::caught::raise;
use crate::pg::{compat, encoding};
use gpss_model::error::{Error, SqlState};
use gpss_model::statement::quote_ident;

/// This extension.
const EXTENSION: &str = env!("CARGO_PKG_NAME");

/// The role whose privileges count now (`current_user`).
pub fn current_user() -> Oid {
    // SAFETY: miscinit.c: reads this process's state.
    unsafe { pg_sys::GetUserId() }
}

/// The role of the session (`session_user`).
pub fn session_user() -> Oid {
    // SAFETY: miscinit.c: reads this process's state.
    unsafe { pg_sys::GetSessionUserId() }
}

/// May `member` use the privileges of `role` without SET ROLE? True for superusers.
pub fn has_privs_of(member: Oid, role: Oid) -> bool {
    // SAFETY: acl.c.
    unsafe { pg_sys::has_privs_of_role(member, role) }
}

/// PostgreSQL's predefined roles that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predefined {
    /// `pg_read_server_files`
    ReadServerFiles,
    /// `pg_execute_server_program`
    ExecuteServerProgram,
}

/// Has `member` the privileges of that predefined role? True for superusers.
pub fn has_privs_of_predefined(member: Oid, role: Predefined) -> bool {
    let role = match role {
        Predefined::ReadServerFiles => pg_sys::ROLE_PG_READ_SERVER_FILES,
        Predefined::ExecuteServerProgram => pg_sys::ROLE_PG_EXECUTE_SERVER_PROGRAM,
    };
    has_privs_of(member, role.into())
}

/// Is there a role of this OID?
pub fn role_exists(role: Oid) -> bool {
    let cache = pg_sys::SysCacheIdentifier::AUTHOID as c_int;
    let nothing = Datum::null();
    // SAFETY: syscache.c: a role's key is its OID; unused keys are null.
    unsafe { pg_sys::SearchSysCacheExists(cache, Datum::from(role), nothing, nothing, nothing) }
}

/// The role's name, for messages; its number when there is none.
pub fn role_name(role: Oid) -> String {
    role_name_bytes(role)
        .map_or_else(|| role.to_u32().to_string(), |name| encoding::from_server(&name))
}

/// The role's name in the database's encoding.
pub fn role_name_bytes(role: Oid) -> Option<CString> {
    // SAFETY: miscinit.c: a palloc'd copy, null for no such role.
    let name = unsafe { pg_sys::GetUserNameFromId(role, true) };
    // SAFETY: as above: NUL-terminated.
    (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_owned())
}

/// The role of that name, which is in the database's encoding.
pub fn role_by_name(name: &CStr) -> Option<Oid> {
    if name.to_bytes().len() >= pg_sys::NAMEDATALEN as usize {
        return None;
    }
    // SAFETY: acl.c: a NUL-terminated name; missing_ok.
    let role = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    (role != pg_sys::InvalidOid).then_some(role)
}

/// May the role open a session of its own (LOGIN)? False for one that does not exist.
pub fn can_login(role: Oid) -> bool {
    // SAFETY: syscache.c: the tuple is valid until released.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::AUTHOID as c_int;
        let tuple = pg_sys::SearchSysCache1(cache, Datum::from(role));
        if tuple.is_null() {
            return false;
        }
        let row = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_authid>();
        let login = (*row).rolcanlogin;
        pg_sys::ReleaseSysCache(tuple);
        login
    }
}

/// Has the role CONNECT on this process's database? True for superusers. A transaction is open.
pub fn may_connect(role: Oid) -> bool {
    compat::may_connect(role)
}

/// Has the current user USAGE on the foreign-data wrapper of that name? False if there is none.
pub fn may_use_wrapper(name: &str) -> bool {
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: foreign.c: with missing_ok an unknown name is InvalidOid; the rest as `compat` asks.
    unsafe {
        let wrapper = pg_sys::get_foreign_data_wrapper_oid(name.as_ptr(), true);
        wrapper != pg_sys::InvalidOid && compat::may_use_wrapper(wrapper, current_user())
    }
}

/// The extension of that name, if it is installed in this database.
pub fn extension_oid(name: &str) -> Option<Oid> {
    extension(name).map(|extension| extension.oid)
}

struct Extension {
    oid: Oid,
    owner: Oid,
}

/// `pg_extension`'s row of that name.
fn extension(name: &str) -> Option<Extension> {
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: genam.c, table.c: opened, scanned by the name's unique index, closed in this order;
    // on ERROR the end of the transaction closes. The row is copied before its page is let go.
    unsafe {
        let relation = pg_sys::table_open(pg_sys::ExtensionRelationId, ACCESS_SHARE);
        let mut key = extension_name_key(&name);
        let index = Oid::from(pg_sys::ExtensionNameIndexId);
        let scan = pg_sys::systable_beginscan(relation, index, true, ptr::null_mut(), 1, &mut key);
        let tuple = pg_sys::systable_getnext(scan);
        let found = (!tuple.is_null()).then(|| {
            let row = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_extension>();
            Extension { oid: row.oid, owner: row.extowner }
        });
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, ACCESS_SHARE);
        found
    }
}

const ACCESS_SHARE: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

fn extension_name_key(name: &CStr) -> pg_sys::ScanKeyData {
    let mut key = pg_sys::ScanKeyData::default();
    // SAFETY: scankey.c: fills `key`; `name` outlives the scan, being the caller's argument.
    unsafe {
        pg_sys::ScanKeyInit(
            &mut key,
            pg_sys::Anum_pg_extension_extname as pg_sys::AttrNumber,
            pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
            pg_sys::F_NAMEEQ.into(),
            Datum::from(name.as_ptr()),
        );
    }
    key
}

/// Has the current user the rights of this extension's owner?
pub fn owns_extension() -> bool {
    extension(EXTENSION).is_some_and(|extension| has_privs_of(current_user(), extension.owner))
}

/// Code that a table's owner has put into it, such as a function or a domain's CHECK, and that runs when
/// somebody reads the table.
///
/// It runs as the owner, whoever reads: selecting from a table is not consent to run its owner's code with
/// one's own rights.
#[derive(Clone)]
pub struct OwnersCode {
    owner: Oid,
    /// Where names are looked up when somebody else reads: a search path of the reader's could put
    /// functions of the reader's in the place of the owner's.
    path: CString,
}

impl OwnersCode {
    /// That of a table's owner, with the table's schema.
    pub fn of(owner: Oid, schema: &str) -> OwnersCode {
        let path = format!("pg_catalog, {}, pg_temp", quote_ident(schema));
        OwnersCode { owner, path: encoding::c_string(&path).unwrap_or_default() }
    }

    /// Is the owner acting?
    pub fn is_own(&self) -> bool {
        current_user() == self.owner
    }

    /// Acts as the owner, with restrictions.
    pub fn assume(&self) -> AsUser {
        if self.is_own() {
            AsUser::restricted(self.owner)
        } else {
            AsUser::restricted_with_path(self.owner, &self.path)
        }
    }
}

/// Acting as another role until dropped; ends with the transaction at the latest.
///
/// `SET ROLE` and `SET SESSION AUTHORIZATION` are refused meanwhile, so that code of that role
/// cannot get back to ours (SECURITY_LOCAL_USERID_CHANGE).
#[must_use]
pub struct AsUser {
    user: Oid,
    context: c_int,
    // GUC nesting level, when settings were changed too.
    level: Option<c_int>,
}

impl AsUser {
    /// For code that is that role's own: its statement, its mapping.
    pub fn role(role: Oid) -> AsUser {
        AsUser::with(role, 0)
    }

    /// The same for code that the caller only tries on that role's behalf: it can leave nothing
    /// behind in the session (SECURITY_RESTRICTED_OPERATION, as REFRESH MATERIALIZED VIEW does).
    pub fn restricted(role: Oid) -> AsUser {
        AsUser::with(role, pg_sys::SECURITY_RESTRICTED_OPERATION as c_int)
    }

    fn with(role: Oid, flags: c_int) -> AsUser {
        let (mut user, mut context) = (pg_sys::InvalidOid, 0);
        // SAFETY: miscinit.c: the pair is saved and put back by drop; xact.c puts it back on abort.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
            let local = pg_sys::SECURITY_LOCAL_USERID_CHANGE as c_int;
            pg_sys::SetUserIdAndSecContext(role, context | local | flags);
        }
        AsUser { user, context, level: None }
    }

    /// As the owner of this extension, for the extension's own statements only.
    ///
    /// `search_path` is pinned as in a SECURITY DEFINER function: the caller's could name a schema
    /// before `pg_catalog` whose `=` then would run with the owner's rights.
    ///
    /// Raises: 55000 when the extension is not installed.
    pub fn extension_owner() -> AsUser {
        let Some(extension) = extension(EXTENSION) else {
            let error = Error::new(
                SqlState::NOT_IN_PREREQUISITE_STATE,
                "the extension is not installed in this database",
            );
            raise(error.hint(format!("Run CREATE EXTENSION {EXTENSION}.")));
        };
        let mut guard = AsUser::role(extension.owner);
        guard.pin_search_path(c"pg_catalog, pg_temp");
        guard
    }

    /// As `restricted`, for a role's code run by a caller it does not trust: names resolve by this
    /// search path, not by the caller's.
    pub fn restricted_with_path(role: Oid, path: &CStr) -> AsUser {
        let mut guard = AsUser::restricted(role);
        guard.pin_search_path(path);
        guard
    }

    /// What is set from now on, by us or by that role's code, is undone by drop.
    pub fn with_settings_undone(mut self) -> AsUser {
        // SAFETY: guc.c, as fmgr_security_definer: a new level, which drop or the end of the
        // (sub)transaction takes back.
        self.level = Some(unsafe { pg_sys::NewGUCNestLevel() });
        self
    }

    fn pin_search_path(&mut self, path: &CStr) {
        // SAFETY: guc.c: as in `with_settings_undone`.
        unsafe {
            self.level = Some(pg_sys::NewGUCNestLevel());
            pg_sys::set_config_option(
                c"search_path".as_ptr(),
                path.as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
        }
    }
}

impl Drop for AsUser {
    fn drop(&mut self) {
        // SAFETY: miscinit.c, guc.c: what the constructor saved. Neither raises here; outside a
        // transaction its end has done both already.
        unsafe {
            if let Some(level) = self.level
                && pg_sys::IsTransactionState()
            {
                // Not as a commit: what code of that role has set for the session is undone.
                pg_sys::AtEOXact_GUC(false, level);
            }
            pg_sys::SetUserIdAndSecContext(self.user, self.context);
        }
    }
}
