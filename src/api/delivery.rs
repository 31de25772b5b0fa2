//! What a job promises for targets that are not like others: told by `check`, and at submission.

use crate::pg::caught::{self, Level};
use crate::pg::spi::{self, Arg, Plan, Targets};
use crate::pg::tx::Tx;
use gpss_model::error::{Error, Result, SqlState};
use pgrx::pg_sys::Oid;

/// A target, or a partition of one, and what to know of it.
pub struct Promise {
    pub works: bool,
    pub detail: String,
    pub hint: Option<&'static str>,
}

const UNLOGGED: &str = "ALTER TABLE ... SET LOGGED keeps the rows.";

/// Of a job with these statements, which can be planned.
pub fn promises(tx: &Tx, statements: &[String]) -> Result<Vec<Promise>> {
    let targets = targets(tx, statements)?;
    let mut found = vec![];
    for table in names(tx, &targets.foreign)? {
        let detail = format!(
            "at least once: the rows of foreign table {table} are committed by its wrapper, just before \
             the offsets are here; after a crash in between the batch is loaded again"
        );
        let hint = "A unique key over Kafka's partition and offset there refuses what comes twice.";
        found.push(Promise { works: false, detail, hint: Some(hint) });
    }
    for table in names(tx, &targets.distributed)? {
        let detail = format!(
            "exactly once: Citus commits the rows of {table} in two phases; batches wait for the disk"
        );
        found.push(Promise { works: true, detail, hint: None });
    }
    for table in names(tx, &targets.unlogged)? {
        let detail = format!(
            "table {table} is unlogged: a crash or a failover empties it; the job then ends with an \
             error that asks where to begin"
        );
        found.push(Promise { works: false, detail, hint: Some(UNLOGGED) });
    }
    Ok(found)
}

/// Warns of tables whose rows a crash takes.
pub fn warn_of_unlogged(tx: &Tx, statements: &[String]) -> Result<()> {
    for table in names(tx, &targets(tx, statements)?.unlogged)? {
        let warning = Error::new(SqlState::WARNING, format!("table {table} is unlogged"))
            .detail("A crash or a failover empties it; the job then ends with an error that asks where to begin.")
            .hint(UNLOGGED);
        caught::report(Level::Warning, &warning);
    }
    Ok(())
}

fn targets(tx: &Tx, statements: &[String]) -> Result<Targets> {
    let mut targets = Targets::default();
    for sql in statements {
        targets.add(Plan::prepare(tx, sql, &[])?.targets(tx)?);
    }
    Ok(targets)
}

fn names(tx: &Tx, tables: &[Oid]) -> Result<Vec<String>> {
    let sql = "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        WHERE c.oid OPERATOR(pg_catalog.=) ANY ($1)
        ORDER BY 1";
    spi::select(tx, sql, &[Arg::from(tables)], |row| row.get(1))
}
