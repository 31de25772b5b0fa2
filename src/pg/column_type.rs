//! A column's type with its modifier.

use pgrx::pg_sys;

/// A column's type, as far as its input function needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnType {
    pub oid: pg_sys::Oid,
    /// `atttypmod`: -1 for none.
    pub typmod: i32,
}

impl ColumnType {
    /// Did CREATE TYPE, CREATE DOMAIN or CREATE EXTENSION make it? (The array of a type is one too.)
    pub(super) fn is_users(&self) -> bool {
        self.oid.to_u32() >= pg_sys::FirstNormalObjectId
    }
}
