//! What to do about errors that PostgreSQL raises without a HINT and only the user can mend.

use crate::pg::spi;
use crate::pg::tx::Tx;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::job::JobSpec;
use gpss_model::statement::qualified;

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

/// The step for a table that another server lacks: the error is that server's, and reads as if the table
/// were missing here. None for other errors.
pub fn of_remote_table(tx: &Tx, spec: &JobSpec, error: &Error) -> Result<Option<String>> {
    if error.sqlstate != SqlState::UNDEFINED_TABLE {
        return Ok(None);
    }
    // The targets and their partitions whose table at the other server is the one that the error names.
    let sql = "WITH target AS (
            SELECT pg_catalog.to_regclass(name) AS oid FROM pg_catalog.unnest($1) AS t (name)
        ), written AS (
            SELECT oid FROM target
            UNION SELECT p.relid FROM target, pg_catalog.pg_partition_tree(oid) AS p
        )
        SELECT s.srvname::text, pg_catalog.format('%I.%I', n.nspname, c.relname)
        FROM written w
        JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) w.oid
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        JOIN pg_catalog.pg_foreign_table f ON f.ftrelid OPERATOR(pg_catalog.=) c.oid
        JOIN pg_catalog.pg_foreign_server s ON s.oid OPERATOR(pg_catalog.=) f.ftserver
        CROSS JOIN LATERAL (
            SELECT pg_catalog.max(o.option_value) FILTER (WHERE o.option_name OPERATOR(pg_catalog.=) 'schema_name'),
                   pg_catalog.max(o.option_value) FILTER (WHERE o.option_name OPERATOR(pg_catalog.=) 'table_name')
            FROM pg_catalog.pg_options_to_table(f.ftoptions) o
        ) AS o (schema_name, table_name)
        WHERE pg_catalog.strpos($2, pg_catalog.format('\"%s.%s\"',
            coalesce(o.schema_name, n.nspname::text), coalesce(o.table_name, c.relname::text))) OPERATOR(pg_catalog.>) 0
        ORDER BY 1, 2 LIMIT 1";
    let targets: Vec<String> =
        spec.outputs.iter().map(|output| qualified(&output.target)).collect();
    let args = [targets.as_slice().into(), error.message.as_str().into()];
    let row = |row: &spi::Row<'_>| Ok((row.get::<String>(1)?, row.get::<String>(2)?));
    let found = spi::select(tx, sql, &args, row)?;
    Ok(found.into_iter().next().map(|(server, table)| {
        format!(
            "The table is missing behind foreign server \"{server}\": create it there, or correct the options \
             of foreign table {table}, and start the job: it goes on where it was."
        )
    }))
}
