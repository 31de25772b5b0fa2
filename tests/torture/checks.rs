//! The checks at the end: nothing lost, nothing twice, nothing left over.

use crate::processes;
use crate::producer::{Ledger, PARTITIONS};
use crate::stage::Stage;
use std::collections::BTreeMap;

/// A query whose every row is a discrepancy.
fn none(stage: &Stage, what: &str, sql: &str) -> Result<(), String> {
    match stage.db.sql(&format!("{sql} LIMIT 20")).as_str() {
        "" => Ok(()),
        rows => Err(format!("{what} (the first of them):\n{rows}")),
    }
}

/// The topic is as the producer believes: what follows stands on it.
pub fn topic(stage: &Stage, ledger: &Ledger) -> Result<(), String> {
    for partition in 0..PARTITIONS {
        let (expected, end) = (Ledger::share(ledger.sent(), partition), stage.topic.end(partition));
        if end != expected {
            return Err(format!(
                "partition {partition} ends at {end}, {expected} messages were sent"
            ));
        }
    }
    Ok(())
}

pub fn rows(stage: &Stage, ledger: &Ledger) -> Result<(), String> {
    let (sent, bad) = (ledger.sent(), ledger.bad());
    none(
        stage,
        "rows that are not as their messages: n, part, off, size, note",
        &format!(
            "SELECT n, part, off, size, note FROM numbers
             WHERE (part, off, size, note) IS DISTINCT FROM
                   (n % {PARTITIONS}, n / {PARTITIONS}, n % 1000, 'message ' || n)"
        ),
    )?;
    let missing = stage.db.sql(&format!(
        "SELECT i FROM generate_series(0, {sent} - 1) i
         WHERE NOT EXISTS (SELECT FROM numbers WHERE n = i) ORDER BY i LIMIT {}",
        bad.len() + 20
    ));
    let missing: Vec<i64> = missing.lines().map(|n| n.parse().expect("a number")).collect();
    if let Some(n) = missing.iter().find(|n| !bad.iter().any(|(bad, _)| bad == *n)) {
        return Err(format!("message {n} is lost\n{}", explain(stage, *n)));
    }
    let (expected, count) =
        (sent - bad.len() as i64, stage.db.number("SELECT count(*) FROM numbers"));
    if count != expected {
        return Err(format!("{count} rows instead of {expected}: bad messages are among them"));
    }
    Ok(())
}

/// What is known of the place of a message.
fn explain(stage: &Stage, n: i64) -> String {
    let (partition, offset) = (n % PARTITIONS, n / PARTITIONS);
    [
        format!(
            "SELECT n, part, off, xmin FROM numbers
             WHERE part = {partition} AND off BETWEEN {offset} - 3 AND {offset} + 3 ORDER BY off"
        ),
        format!(
            "SELECT * FROM gpss.batches WHERE partition = {partition}
                AND begin_offset <= {offset} + 1 AND end_offset >= {offset} ORDER BY id"
        ),
        format!(
            "SELECT id, batch_id, \"offset\", stage, sqlstate, message FROM gpss.errors
             WHERE partition = {partition} AND \"offset\" BETWEEN {offset} - 3 AND {offset} + 3"
        ),
    ]
    .map(|sql| format!("{sql}\n{}\n", stage.db.try_sql(&sql).unwrap_or_else(|error| error)))
    .concat()
}

/// Each bad message is there once, at its place, with its bytes, and no other.
pub fn errors(stage: &Stage, ledger: &Ledger) -> Result<(), String> {
    let rows = stage.db.sql(&format!(
        "SELECT \"offset\" * {PARTITIONS} + partition, encode(payload, 'escape') || ' ' || sqlstate
         FROM gpss.errors ORDER BY id"
    ));
    let mut found: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
    for (n, row) in rows.lines().filter_map(|line| line.split_once('|')) {
        found.entry(n.parse().expect("a number")).or_default().push(row);
    }
    for (n, payload) in ledger.bad() {
        match found.remove(&n).as_deref() {
            Some([row]) if row.starts_with(&payload) => {}
            other => {
                return Err(format!(
                    "bad message {n}, {payload}, is in gpss.errors as {other:?}\n{}",
                    explain(stage, n)
                ));
            }
        }
    }
    match found.first_key_value() {
        Some((n, rows)) => {
            Err(format!("message {n} was good, but rejected: {rows:?}\n{}", explain(stage, *n)))
        }
        None => Ok(()),
    }
}

/// Offsets and batches say the same as the topic. Batches of less than a second share a row, so
/// rows are longer than batches, but never overlap.
pub fn books(stage: &Stage, ledger: &Ledger) -> Result<(), String> {
    for partition in 0..PARTITIONS {
        let end = Ledger::share(ledger.sent(), partition);
        none(
            stage,
            &format!("gpss.progress does not stand at {end} without lag"),
            &format!(
                "SELECT * FROM gpss.progress WHERE partition = {partition}
                    AND (next_offset, high_watermark, lag) IS DISTINCT FROM ({end}, {end}, 0)"
            ),
        )?;
    }
    none(
        stage,
        "gaps or overlaps in gpss.batches",
        "SELECT * FROM (
             SELECT *, lag(end_offset, 1, 0::bigint)
                 OVER (PARTITION BY partition ORDER BY begin_offset, id) AS previous_end
             FROM gpss.batches
         ) b WHERE begin_offset <> previous_end OR messages <> end_offset - begin_offset",
    )?;
    none(
        stage,
        "gpss.batches and gpss.progress differ",
        "SELECT * FROM (
             SELECT partition, max(end_offset) AS end_offset, sum(inserted) AS inserted,
                    sum(rejected) AS rejected
             FROM gpss.batches GROUP BY partition
         ) b FULL JOIN gpss.progress p USING (partition)
         WHERE (b.end_offset, b.inserted, b.rejected)
               IS DISTINCT FROM (p.next_offset, p.rows_loaded, p.rows_rejected)",
    )?;
    none(
        stage,
        "gpss.batches does not count the rows",
        "SELECT * FROM (SELECT sum(inserted) AS inserted, sum(rejected) AS rejected
                        FROM gpss.batches) b
         WHERE (inserted, rejected) IS DISTINCT FROM
               ((SELECT count(*) FROM numbers), (SELECT count(*) FROM gpss.errors))",
    )
}

/// After `stop_job`: no process, no lock, no transaction.
pub fn leftovers(stage: &Stage) -> Result<(), String> {
    none(
        stage,
        "sessions of gpss",
        "SELECT pid, backend_type, state, query FROM pg_stat_activity
         WHERE backend_type LIKE 'gpss %'",
    )?;
    none(
        stage,
        "locks",
        "SELECT locktype, relation::regclass, mode, pid FROM pg_locks
         WHERE objsubid = 26480 OR (relation = 'numbers'::regclass AND pid <> pg_backend_pid())",
    )?;
    none(stage, "prepared transactions", "SELECT * FROM pg_prepared_xacts")?;
    none(stage, "what shall still run", "SELECT * FROM gpss.run")?;
    match processes::ours(&stage.cluster.data()).as_slice() {
        [] => Ok(()),
        left => Err(format!("processes of gpss are left: {left:?}")),
    }
}

/// The server may say so much about a fault; its own recovery takes most of it.
const LINES_PER_FAULT: u64 = 50;

/// What the server must not have said; a process that was killed by us went by signal 9.
pub fn log(stage: &Stage, faults: u64) -> Result<(), String> {
    let path = stage.cluster.data().with_file_name("log");
    let log = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let bad = ["PANIC:", "panicked", "signal 6", "signal 7", "signal 11", "stuck spinlock"];
    let count = log.lines().count() as u64;
    if count > LINES_PER_FAULT * faults {
        return Err(format!("the server's log is flooded: {count} lines for {faults} faults"));
    }
    let lines: Vec<_> = log.lines().filter(|line| bad.iter().any(|b| line.contains(b))).collect();
    match lines.as_slice() {
        [] => Ok(()),
        lines => Err(format!("the server's log has:\n{}", lines.join("\n"))),
    }
}
