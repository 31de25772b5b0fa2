//! PostgreSQL's grammar (parser.c): is a text SQL at all?

use std::ffi::CString;

use pgrx::pg_sys;

use crate::pg::encoding;
use crate::pg::subtx::subtx;
use crate::pg::tx::Tx;
use gpss_model::error::{Error, Result, SqlState};

/// Parses statements, separated by semicolons, and looks nothing up: names may be of what another
/// statement makes.
///
/// # Errors
/// `SYNTAX_ERROR` and whatever else the grammar says.
pub fn check_syntax(tx: &Tx, sql: &str) -> Result<()> {
    let text = CString::new(encoding::to_server(sql)?)
        .map_err(|_| Error::new(SqlState::SYNTAX_ERROR, "the SQL holds a zero byte"))?;
    subtx(tx, || {
        // SAFETY: parser.c: reads a NUL-terminated text in the server's encoding; the tree it makes
        // belongs to the current memory context.
        unsafe { pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT) };
        Ok(())
    })
}
