//! `gpss.run`, `gpss.status`, `gpss.worker`: which jobs shall run, how they are, who runs them.

use super::{exec, one, run, select, select_latest};
use crate::pg::encoding;
use crate::pg::spi::{Arg, Row, UnixMicros};
use crate::pg::tx::Tx;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::reset::Reset;
use gpss_model::state::Status;

/// The wish that a job runs.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: i64,
    pub quit_at_eof: bool,
    pub reset: Option<Reset>,
}

/// Asks for a run; when that was.
pub fn insert(
    tx: &Tx,
    job_id: i64,
    quit_at_eof: bool,
    reset: Option<&Reset>,
) -> Result<UnixMicros> {
    let sql = "INSERT INTO gpss.run (job_id, quit_at_eof, reset) VALUES ($1, $2, $3::jsonb)
               RETURNING requested_at";
    let reset = reset.map(to_json).transpose()?;
    let args = [Arg::from(job_id), Arg::from(quit_at_eof), Arg::from(reset.as_deref())];
    run(tx, "DELETE FROM gpss.worker WHERE job_id = $1", &[Arg::from(job_id)])?;
    one(exec(tx, sql, &args, |row| row.get(1))?)
}

fn to_json(reset: &Reset) -> Result<String> {
    serde_json::to_string(reset).map_err(|e| Error::new(SqlState::INTERNAL, e.to_string()))
}

/// A job's run as others have committed it until now.
pub fn find(tx: &Tx, job_id: i64) -> Result<Option<Run>> {
    let sql = "SELECT id, quit_at_eof, reset::text FROM gpss.run WHERE job_id = $1";
    let mut rows = select_latest(tx, sql, &[Arg::from(job_id)], |row| {
        let reset: Option<String> = row.get(3)?;
        let reset = reset.map(|text| serde_json::from_str(&text)).transpose();
        let reset = reset.map_err(|e| Error::new(SqlState::INTERNAL, e.to_string()))?;
        Ok(Run { id: row.get(1)?, quit_at_eof: row.get(2)?, reset })
    })?;
    Ok(rows.pop())
}

/// Milliseconds since a run was asked for, by the server's clock and never negative; None when it
/// has ended.
pub fn age_ms(tx: &Tx, job_id: i64, run_id: i64) -> Result<Option<u64>> {
    let sql =
        "SELECT (extract(epoch FROM pg_catalog.clock_timestamp() - requested_at) * 1000)::int8
               FROM gpss.run WHERE job_id = $1 AND id = $2";
    let ids = [Arg::from(job_id), Arg::from(run_id)];
    let found = select(tx, sql, &ids, |row| row.get::<i64>(1))?.pop();
    Ok(found.map(|ms| u64::try_from(ms).unwrap_or(0)))
}

/// Milliseconds until the time of day, in seconds after midnight of the session's time zone, comes
/// next; 0 when it has come today.
pub fn ms_until(tx: &Tx, time_of_day: u32) -> Result<u64> {
    let sql = "SELECT CASE WHEN extract(epoch FROM now::time) >= $1 THEN 0
                   ELSE extract(epoch FROM (now::date + $1 * interval '1 second')::timestamptz - now)
               END * 1000
               FROM (SELECT pg_catalog.clock_timestamp()) AS clock (now)";
    let sql = format!("SELECT greatest(ms, 0)::int8 FROM ({sql}) AS t (ms)");
    let found = select(tx, &sql, &[Arg::from(i64::from(time_of_day))], |row| row.get::<i64>(1))?;
    Ok(u64::try_from(one(found)?).unwrap_or(0))
}

/// Is this still the job's run?
pub fn is_current(tx: &Tx, job_id: i64, run_id: i64) -> Result<bool> {
    Ok(find(tx, job_id)?.is_some_and(|run| run.id == run_id))
}

/// Has a worker of the run come to work?
pub fn has_begun(tx: &Tx, job_id: i64, run_id: i64) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM gpss.worker WHERE job_id = $1 AND run_id = $2)";
    let ids = [Arg::from(job_id), Arg::from(run_id)];
    one(select_latest(tx, sql, &ids, |row| row.get(1))?)
}

/// Was the job's run asked for before the server was last started, or of the server that this one is
/// a copy of? A standby's server is the primary.
pub fn of_an_earlier_server(tx: &Tx, job_id: i64) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM gpss.run WHERE job_id = $1
               AND server_start <> pg_catalog.pg_postmaster_start_time()
               AND NOT pg_catalog.pg_is_in_recovery())";
    one(select_latest(tx, sql, &[Arg::from(job_id)], |row| row.get(1))?)
}

/// Was the job's run asked for since this transaction began?
pub fn asked_for_in_this_transaction(tx: &Tx, job_id: i64) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM gpss.run
               WHERE job_id = $1 AND requested_at >= pg_catalog.transaction_timestamp())";
    one(select(tx, sql, &[Arg::from(job_id)], |row| row.get(1))?)
}

/// Jobs that shall run: job and run.
pub fn wanted(tx: &Tx) -> Result<Vec<(i64, i64)>> {
    let sql = "SELECT job_id, id FROM gpss.run ORDER BY id";
    select(tx, sql, &[], |row| Ok((row.get(1)?, row.get(2)?)))
}

/// Ends a run; false when it had ended already.
pub fn delete(tx: &Tx, job_id: i64, run_id: i64) -> Result<bool> {
    let sql = "DELETE FROM gpss.run WHERE job_id = $1 AND id = $2";
    Ok(run(tx, sql, &[Arg::from(job_id), Arg::from(run_id)])? > 0)
}

/// Ends whatever run a job has; false when it had none.
pub fn delete_any(tx: &Tx, job_id: i64) -> Result<bool> {
    Ok(run(tx, "DELETE FROM gpss.run WHERE job_id = $1", &[Arg::from(job_id)])? > 0)
}

/// The status last set; None for a job that was never started here.
pub fn status(tx: &Tx, job_id: i64) -> Result<Option<Status>> {
    let sql = "SELECT status FROM gpss.status WHERE job_id = $1";
    let row = |row: &Row<'_>| Status::parse(&row.get::<String>(1)?);
    Ok(select_latest(tx, sql, &[Arg::from(job_id)], row)?.pop())
}

/// Sets the status; `since` only moves when the status itself changes.
/// `retry_in_ms` says when the next try is due.
pub fn set_status(
    tx: &Tx,
    job_id: i64,
    status: Status,
    errmsg: Option<&str>,
    retry_in_ms: Option<i64>,
) -> Result<()> {
    let sql = "INSERT INTO gpss.status AS s (job_id, status, errmsg, next_retry_at)
        VALUES ($1, $2, $3, pg_catalog.clock_timestamp() + $4 * interval '1 millisecond')
        ON CONFLICT (job_id) DO UPDATE SET
            status = excluded.status,
            errmsg = excluded.errmsg,
            next_retry_at = excluded.next_retry_at,
            since = CASE WHEN s.status = excluded.status THEN s.since
                         ELSE pg_catalog.clock_timestamp() END";
    let errmsg = errmsg.map(encoding::storable);
    let args = [
        Arg::from(job_id),
        Arg::from(status.as_str()),
        Arg::from(errmsg.as_deref()),
        Arg::from(retry_in_ms),
    ];
    run(tx, sql, &args)?;
    Ok(())
}

/// What is in a worker's way.
pub struct Trouble<'a> {
    pub errmsg: &'a str,
    /// None: the worker reads on, what it can.
    pub waiting_for: Option<&'a str>,
    /// When the next try is due.
    pub retry_in_ms: Option<i64>,
}

/// The job retries, because of the worker of a slot.
pub fn retrying(tx: &Tx, job_id: i64, slot: i32, trouble: &Trouble<'_>) -> Result<()> {
    let Trouble { errmsg, waiting_for, retry_in_ms } = *trouble;
    set_status(tx, job_id, Status::Retrying, Some(errmsg), retry_in_ms)?;
    let sql = "UPDATE gpss.worker SET
            errmsg = $3,
            next_retry_at = pg_catalog.clock_timestamp() + $4 * interval '1 millisecond',
            waiting_for = $5,
            waiting_since = CASE WHEN $5 IS NOT NULL
                                 THEN coalesce(waiting_since, pg_catalog.clock_timestamp()) END
        WHERE job_id = $1 AND slot = $2";
    let (errmsg, waiting_for) = (encoding::storable(errmsg), waiting_for.map(encoding::storable));
    let args = [
        Arg::from(job_id),
        Arg::from(slot),
        Arg::from(&*errmsg),
        Arg::from(retry_in_ms),
        Arg::from(waiting_for.as_deref()),
    ];
    run(tx, sql, &args)?;
    Ok(())
}

/// Nothing is in the way of the worker of a slot any more. True when the job runs: false when another worker
/// of the run retries, whose trouble the status tells then.
pub fn running(tx: &Tx, job_id: i64, run_id: i64, slot: i32) -> Result<bool> {
    // Of two workers at once the second sees what the first has written.
    let lock = "SELECT job_id FROM gpss.status WHERE job_id = $1 FOR UPDATE";
    exec(tx, lock, &[Arg::from(job_id)], |row| row.get::<i64>(1))?;
    let sql = "UPDATE gpss.worker SET errmsg = NULL, next_retry_at = NULL, waiting_for = NULL,
            waiting_since = NULL
        WHERE job_id = $1 AND slot = $2";
    run(tx, sql, &[Arg::from(job_id), Arg::from(slot)])?;
    let sql = "UPDATE gpss.status SET errmsg = other.errmsg, next_retry_at = other.next_retry_at
        FROM (SELECT errmsg, next_retry_at FROM gpss.worker
              WHERE job_id = $1 AND run_id = $2 AND errmsg IS NOT NULL AND NOT finished
              ORDER BY slot LIMIT 1) other
        WHERE job_id = $1 AND status = $3";
    let status = Status::Retrying.as_str();
    if run(tx, sql, &[Arg::from(job_id), Arg::from(run_id), Arg::from(status)])? > 0 {
        return Ok(false);
    }
    set_status(tx, job_id, Status::Running, None, None)?;
    Ok(true)
}

/// The next try of a worker has begun.
pub fn forget_next_try(tx: &Tx, job_id: i64, slot: i32) -> Result<()> {
    let sql = "UPDATE gpss.status SET next_retry_at = NULL WHERE job_id = $1";
    run(tx, sql, &[Arg::from(job_id)])?;
    let sql = "UPDATE gpss.worker SET next_retry_at = NULL WHERE job_id = $1 AND slot = $2";
    run(tx, sql, &[Arg::from(job_id), Arg::from(slot)])?;
    Ok(())
}

/// A process of a run.
pub struct Worker {
    pub slot: i32,
    pub slots: i32,
    pub pid: i32,
    /// Where it shows ends of partitions that are not in the catalog.
    pub board: Option<u32>,
}

/// The worker of a slot says that it is there; true when its partitions have been positioned for
/// this run before.
pub fn register_worker(tx: &Tx, job_id: i64, run_id: i64, worker: &Worker) -> Result<bool> {
    let sql = "INSERT INTO gpss.worker AS w (job_id, slot, run_id, pid, slots, board)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (job_id, slot) DO UPDATE SET
            pid = excluded.pid,
            slots = excluded.slots,
            board = excluded.board,
            run_id = excluded.run_id,
            positioned = w.positioned AND w.run_id = excluded.run_id,
            finished = false
        RETURNING positioned";
    let Worker { slot, slots, pid, board } = *worker;
    let board = board.map(i64::from);
    let args = [job_id.into(), slot.into(), run_id.into(), pid.into(), slots.into(), board.into()];
    one(exec(tx, sql, &args, |row| row.get(1))?)
}

/// The worker of a slot leaves because it was told to.
pub fn worker_leaves(tx: &Tx, job_id: i64, slot: i32) -> Result<()> {
    let sql = "UPDATE gpss.worker SET pid = NULL WHERE job_id = $1 AND slot = $2";
    run(tx, sql, &[Arg::from(job_id), Arg::from(slot)])?;
    Ok(())
}

/// Has the last worker of a run's slot left so?
pub fn worker_has_left(tx: &Tx, job_id: i64, run_id: i64, slot: i32) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM gpss.worker
               WHERE job_id = $1 AND run_id = $2 AND slot = $3 AND pid IS NULL)";
    let args = [Arg::from(job_id), Arg::from(run_id), Arg::from(slot)];
    one(select(tx, sql, &args, |row| row.get(1))?)
}

pub fn mark_positioned(tx: &Tx, job_id: i64, slot: i32) -> Result<()> {
    let sql = "UPDATE gpss.worker SET positioned = true WHERE job_id = $1 AND slot = $2";
    run(tx, sql, &[Arg::from(job_id), Arg::from(slot)])?;
    Ok(())
}

/// Slots of a run that have read to the end and left.
pub fn finished_slots(tx: &Tx, job_id: i64, run_id: i64) -> Result<Vec<i32>> {
    let sql = "SELECT slot FROM gpss.worker WHERE job_id = $1 AND run_id = $2 AND finished";
    select(tx, sql, &[Arg::from(job_id), Arg::from(run_id)], |row| row.get(1))
}

/// A slot has read to the end. The run's row is locked, so that the last of several slots knows
/// that it is the last: it ends the run, and true is returned.
pub fn finish_slot(tx: &Tx, job_id: i64, run_id: i64, slot: i32, slots: i32) -> Result<bool> {
    let lock = "SELECT id FROM gpss.run WHERE job_id = $1 AND id = $2 FOR UPDATE";
    let ids = [Arg::from(job_id), Arg::from(run_id)];
    if exec(tx, lock, &ids, |row| row.get::<i64>(1))?.is_empty() {
        return Ok(false);
    }
    let sql = "UPDATE gpss.worker SET finished = true WHERE job_id = $1 AND slot = $2";
    run(tx, sql, &[Arg::from(job_id), Arg::from(slot)])?;
    let finished = finished_slots(tx, job_id, run_id)?;
    Ok((0..slots).all(|slot| finished.contains(&slot)) && delete(tx, job_id, run_id)?)
}

/// What a function that waits inside one statement wants to know.
#[derive(Clone, Debug)]
pub struct Glance {
    pub status: Status,
    pub errmsg: Option<String>,
    pub rows_loaded: i64,
    pub rows_rejected: i64,
}

/// Does a worker of the job wait for a lock that this session holds?
pub fn waits_for_us(tx: &Tx, job_id: i64) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM gpss.worker w WHERE w.job_id = $1
               AND pg_catalog.pg_backend_pid() = ANY (pg_catalog.pg_blocking_pids(w.pid)))";
    one(select_latest(tx, sql, &[Arg::from(job_id)], |row| row.get(1))?)
}

/// A job as others have committed it until now.
pub fn glance(tx: &Tx, job_id: i64) -> Result<Glance> {
    let sql = "SELECT coalesce(s.status, $2), s.errmsg,
            coalesce(sum(o.rows_loaded), 0)::int8, coalesce(sum(o.rows_rejected), 0)::int8
        FROM (SELECT $1::int8 AS id) j
        LEFT JOIN gpss.status s ON s.job_id = j.id
        LEFT JOIN gpss.offsets o ON o.job_id = j.id
        GROUP BY s.status, s.errmsg";
    let row = |row: &Row<'_>| {
        Ok(Glance {
            status: Status::parse(&row.get::<String>(1)?)?,
            errmsg: row.get(2)?,
            rows_loaded: row.get(3)?,
            rows_rejected: row.get(4)?,
        })
    };
    let args = [Arg::from(job_id), Arg::from(Status::Submitted.as_str())];
    one(select_latest(tx, sql, &args, row)?)
}

pub fn forget(tx: &Tx, job_id: i64) -> Result<()> {
    for table in ["run", "status", "worker", "waiting"] {
        run(tx, &format!("DELETE FROM gpss.{table} WHERE job_id = $1"), &[Arg::from(job_id)])?;
    }
    Ok(())
}

/// Has the job committed a batch within this number of microseconds?
pub fn has_loaded_within(tx: &Tx, job_id: i64, micros: i64) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM gpss.offsets WHERE job_id = $1 AND rows_loaded > 0
        AND updated_at > pg_catalog.clock_timestamp() - $2 * interval '1 microsecond')";
    one(select(tx, sql, &[Arg::from(job_id), Arg::from(micros)], |row| row.get(1))?)
}
