//! What to do about errors that PostgreSQL raises without a HINT and only the user can mend.

use crate::error::SqlState;

/// A step for the user, for an error that ends a job.
pub fn hint(sqlstate: SqlState) -> Option<&'static str> {
    Some(match sqlstate.as_str() {
        // undefined_table, undefined_schema
        "42P01" | "3F000" => {
            "Create it again, or give it back its name, and start the job, or gpss.load, again: it goes on where it was."
        }
        // undefined_column, datatype_mismatch, cannot_coerce, undefined_function
        "42703" | "42804" | "42846" | "42883" => {
            "Change the tables back and start the job again: it goes on where it was. Or remove it, and submit \
             it with a mapping that fits them; gpss.load takes a corrected configuration as it is."
        }
        // insufficient_privilege
        "42501" => {
            "Grant the privilege to the job's owner and start the job, or gpss.load, again: it goes on where it was."
        }
        _ => return None,
    })
}
