//! Schemas: the search path of a job, and privileges, of which PostgreSQL only says for which schema they lack.

use crate::pg::acl;
use crate::pg::spi;
use crate::pg::tx::Tx;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::job::TableName;
use gpss_model::statement::{qualified, quote_ident};
use pgrx::pg_sys::Oid;

/// To name what is in the schema.
pub const USAGE: &str = "USAGE";
/// To make something in it.
pub const CREATE: &str = "CREATE";

/// The setting `search_path` as it is now, which a new job keeps.
pub fn search_path(tx: &Tx) -> Result<String> {
    let sql = "SELECT pg_catalog.current_setting('search_path')";
    Ok(spi::select(tx, sql, &[], |row| row.get(1))?.pop().unwrap_or_default())
}

/// Fails when the current user lacks the privilege on a schema that there is.
pub fn check_privilege(tx: &Tx, schema: &str, privilege: &str) -> Result<()> {
    let sql = "SELECT FROM pg_catalog.pg_namespace
        WHERE nspname::text OPERATOR(pg_catalog.=) $1
          AND NOT pg_catalog.has_schema_privilege(oid, $2)";
    if spi::select(tx, sql, &[schema.into(), privilege.into()], |_| Ok(()))?.is_empty() {
        return Ok(());
    }
    let role = quote_ident(&acl::role_name(acl::current_user()));
    Err(Error::new(
        SqlState::INSUFFICIENT_PRIVILEGE,
        format!("permission denied for schema {schema}"),
    )
    .detail(format!("Role {role} lacks the privilege {privilege} on the schema."))
    .hint(format!("GRANT {privilege} ON SCHEMA {} TO {role}.", quote_ident(schema))))
}

/// A schema that has a table of that name, which the current user cannot find for want of USAGE.
pub fn closed_with(tx: &Tx, table: &str) -> Result<Option<String>> {
    let sql = "SELECT n.nspname::text FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        WHERE c.relname::text OPERATOR(pg_catalog.=) $1 AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,f}')
          AND NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE')
        ORDER BY 1 LIMIT 1";
    Ok(spi::select(tx, sql, &[table.into()], |row| row.get(1))?.into_iter().next())
}

/// The OID of a table.
///
/// Errors: 42501 for want of USAGE on the schema. Raises: 42P01 when there is no such table.
pub fn table_oid(tx: &Tx, name: &TableName) -> Result<Oid> {
    check_privilege(tx, &name.schema, USAGE)?;
    let text = qualified(name);
    let sql = "SELECT $1::pg_catalog.regclass::oid";
    let found = spi::select(tx, sql, &[text.as_str().into()], |row| row.get::<Oid>(1))?;
    Ok(found.into_iter().next().unwrap_or(Oid::INVALID))
}
