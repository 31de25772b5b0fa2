//! `gpss.unlogged_target`, `gpss.unlogged_mark`: which unlogged tables jobs have loaded into, and whether a
//! crash has emptied them since.
//!
//! A crash, and a failover, empty all unlogged tables alike, the table of the marks among them. So a
//! target without its mark is one that has been emptied, and its rows are gone although the offsets
//! are not.

use super::{run, select};
use crate::pg::spi::Arg;
use crate::pg::tx::Tx;
use gpss_model::error::Result;
use pgrx::pg_sys::Oid;

/// Stands in the place of a table for the job itself: whether there has been a crash since its last batch
/// matters for tables that were made unlogged after that.
const JOB: Oid = Oid::INVALID;

/// Marks the unlogged tables that a job loads into, and the job; there are no others.
pub fn mark(tx: &Tx, job_id: i64, tables: &[Oid]) -> Result<()> {
    let tables = [tables, &[JOB]].concat();
    let args = [Arg::from(job_id), Arg::from(tables.as_slice())];
    for catalog in ["unlogged_target", "unlogged_mark"] {
        let sql = format!(
            "WITH others AS (
                DELETE FROM gpss.{catalog} WHERE job_id = $1 AND relation <> ALL ($2)
            )
            INSERT INTO gpss.{catalog} (job_id, relation)
            SELECT $1, t.relation FROM unnest($2) AS t (relation)
            ON CONFLICT DO NOTHING"
        );
        run(tx, &sql, &args)?;
    }
    Ok(())
}

/// The job begins elsewhere: what a crash has taken before does not matter. What has its mark stays known:
/// another worker of the run may have loaded into it already, and marks it once.
pub fn forget_emptied(tx: &Tx, job_id: i64) -> Result<()> {
    let sql = "DELETE FROM gpss.unlogged_target t
        WHERE t.job_id = $1
          AND NOT EXISTS (SELECT FROM gpss.unlogged_mark m
                          WHERE m.job_id = t.job_id AND m.relation = t.relation)";
    run(tx, sql, &[Arg::from(job_id)])?;
    Ok(())
}

/// The names of the jobs' targets that a crash has emptied since they loaded into them. One that has
/// become an ordinary table since is one of them if it is empty: else it was that before. So is one of those
/// that are `unlogged` now and were not when they were last loaded into.
pub fn emptied(tx: &Tx, job_ids: &[i64], unlogged: &[Oid]) -> Result<Vec<String>> {
    let sql = "WITH unmarked AS (
            SELECT t.job_id, t.relation FROM gpss.unlogged_target t
            WHERE t.job_id = ANY ($1)
              AND NOT EXISTS (SELECT FROM gpss.unlogged_mark m
                              WHERE m.job_id = t.job_id AND m.relation = t.relation)
        ), suspect AS (
            SELECT u.relation, false AS is_new FROM unmarked u
            UNION ALL
            SELECT n.relation, true FROM unmarked u, unnest($2) AS n (relation)
            WHERE u.relation = 0
              AND NOT EXISTS (SELECT FROM gpss.unlogged_target t
                              WHERE t.job_id = u.job_id AND t.relation = n.relation)
        )
        SELECT DISTINCT pg_catalog.format('%I.%I', n.nspname, c.relname)
        FROM suspect s
        JOIN pg_catalog.pg_class c ON c.oid = s.relation
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE (c.relpersistence = 'u' AND NOT s.is_new) OR pg_catalog.pg_relation_size(c.oid) = 0
        ORDER BY 1";
    select(tx, sql, &[Arg::from(job_ids), Arg::from(unlogged)], |row| row.get(1))
}
