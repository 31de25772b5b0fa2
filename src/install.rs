//! The SQL files of the extension, in the order in which CREATE EXTENSION runs them; the functions
//! that the compiler knows come between the two.

use pgrx::prelude::*;

extension_sql_file!("../sql/tables.sql", name = "tables", bootstrap);
extension_sql_file!("../sql/views.sql", name = "views", finalize);

/// Declares the schema that tables.sql creates to the SQL generator, which asks for it.
#[pg_schema]
mod gpss {}
