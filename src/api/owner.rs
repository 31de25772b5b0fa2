//! The SQL type `gpss.job_owner`: a role, kept by its OID, so that a rename does not matter and another
//! role of the name is another role; but read and written by its name, as a dump has to carry it. Where
//! a dump is restored, the name counts, and a role that is not there yet may come.

use crate::catalog::jobs::DROPPED;
use crate::pg::acl;
use pgrx::pg_sys::Oid;
use pgrx::prelude::*;
use std::ffi::{CStr, CString};

/// What is stored: the OID, 0 for a role that was not there, a space, the name as it was then, in the
/// database's encoding.
fn stored(oid: Oid, name: &CStr) -> Vec<u8> {
    [oid.to_u32().to_string().as_bytes(), b" ", name.to_bytes()].concat()
}

fn taken_apart(stored: &[u8]) -> Option<(Oid, CString)> {
    let at = stored.iter().position(|byte| *byte == b' ')?;
    let (oid, name) = stored.split_at_checked(at)?;
    let oid = str::from_utf8(oid).ok()?.parse::<u32>().ok()?;
    Some((Oid::from(oid), CString::new(name.get(1..)?).ok()?))
}

fn by_name(name: &CStr) -> Oid {
    acl::role_by_name(name).unwrap_or(Oid::INVALID)
}

#[pg_extern(sql = false)]
fn job_owner_in(name: &CStr) -> Vec<u8> {
    stored(by_name(name), name)
}

#[pg_extern(sql = false)]
fn job_owner_out(owner: &[u8]) -> CString {
    let Some((oid, name)) = taken_apart(owner) else { return CString::default() };
    if oid == Oid::INVALID {
        return name;
    }
    let dropped =
        || CString::new([DROPPED.as_bytes(), name.to_bytes()].concat()).unwrap_or_default();
    acl::role_name_bytes(oid).unwrap_or_else(dropped)
}

/// The role's OID; 0 when it does not exist, unless it has been dropped here. Not as an `Oid`, of which
/// pgrx makes NULL when it is 0; the datum is the same.
#[pg_extern(sql = false)]
fn owner_oid(owner: &[u8]) -> i64 {
    let oid = match taken_apart(owner) {
        Some((Oid::INVALID, name)) => by_name(&name),
        Some((oid, _)) => oid,
        None => Oid::INVALID,
    };
    i64::from(oid.to_u32())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back() {
        for (oid, name) in [(0, c"bob"), (u32::MAX, c" b o b "), (16384, c"")] {
            let found = taken_apart(&stored(Oid::from(oid), name)).unwrap();
            assert_eq!(found, (Oid::from(oid), name.to_owned()));
        }
        for text in ["", "bob", "x bob", "4294967296 bob"] {
            assert_eq!(taken_apart(text.as_bytes()), None, "{text}");
        }
    }
}
