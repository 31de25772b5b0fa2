//! Where a job goes on that is started without a reset, as far as can be known without its brokers, and
//! what its user is told of that.

use crate::catalog::jobs::Job;
use crate::catalog::offsets::{self, Twin};
use crate::fdw::source::TopicOptions;
use crate::pg::caught::{self, Level};
use crate::pg::fdw::Table;
use crate::pg::spi;
use crate::pg::tx::Tx;
use gpss_model::beginning::Inherited;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::job::Origin;
use gpss_model::partitions::Partitions;
use gpss_model::printable::counted;
use gpss_model::statement::qualified;
use pgrx::pg_sys::Oid;
use std::collections::{BTreeMap, BTreeSet};

/// Partitions that a message lists.
const LISTED: usize = 4;

pub struct Continued {
    /// The other jobs at whose offsets it begins, quoted; None: at its own.
    pub after: Option<String>,
    /// The offsets.
    pub at: String,
}

/// Where a job goes on by partition.
pub fn positions(tx: &Tx, job: &Job) -> Result<BTreeMap<i32, i64>> {
    Ok(known(tx, job)?.0)
}

/// None for a job that begins anew.
pub fn of(tx: &Tx, job: &Job) -> Result<Option<Continued>> {
    let (at, after) = known(tx, job)?;
    let after = Vec::from_iter(after).join(", ");
    let after = (!after.is_empty()).then_some(after);
    Ok((!at.is_empty()).then(|| Continued { after, at: list(&at) }))
}

/// Where a job goes on by partition, and the other jobs, quoted, that have stopped there.
fn known(tx: &Tx, job: &Job) -> Result<(BTreeMap<i32, i64>, BTreeSet<String>)> {
    let own = offsets::load(tx, job.id)?;
    let others = offsets::inherited(tx, job.id, None)?;
    let chosen = chosen(tx, job)?;
    let mut partitions: BTreeSet<i32> = own.keys().copied().collect();
    partitions.extend(others.iter().flat_map(|others| others.partitions()));
    partitions.retain(|partition| chosen.as_ref().is_none_or(|chosen| chosen.contains(*partition)));
    let mut after = BTreeSet::new();
    let mut at = BTreeMap::new();
    for partition in partitions {
        let own = own.get(&partition).copied();
        if let Some((offset, other)) = Inherited::known(others.as_ref(), partition, own, true) {
            at.insert(partition, offset);
            after.extend(other.map(|other| format!("\"{}\"", other.job)));
        }
    }
    Ok((at, after))
}

/// Says of a job that begins anew that others have loaded the same, which it does not continue.
pub fn tell_of_beginning(tx: &Tx, job: &Job) -> Result<()> {
    let Some(Twin { name, next: at, rejected }) = offsets::of_other_kind(tx, job.id)? else {
        return Ok(());
    };
    let how = match job.spec.origin {
        Origin::Config => "Only jobs from configurations continue each other",
        Origin::Sql => "Jobs over foreign tables do not continue each other",
    };
    let example = at.iter().take(LISTED).map(|(p, offset)| (p.to_string(), (*offset).into()));
    let example = serde_json::Value::Object(example.collect());
    let notice = Error::new(
        SqlState::SUCCESS,
        format!(
            "job \"{}\" begins with the oldest message, and not where {} stopped, at {}",
            job.name,
            other(&job.name, &format!("\"{name}\"")),
            list(&at)
        ),
    )
    .detail(format!("{how}; both load the same topic into the same tables for the same owner."))
    .hint(format!(
        "Start it with reset => '{example}' to begin there; else the messages before that are loaded again.{}",
        match rejected {
            0 => String::new(),
            _ => format!(
                " {} of them, which \"{name}\" has rejected, would not be loaded then: see gpss.errors and \
                 gpss.retry_errors.",
                counted(rejected, "message")
            ),
        }
    ));
    caught::report(Level::Notice, &notice);
    Ok(())
}

/// What a job, which goes on after other ones, is told about them: a name is free again when its job has been
/// removed.
fn other<'a>(job: &str, quoted: &'a str) -> &'a str {
    if quoted == format!("\"{job}\"") { "the removed job of its name" } else { quoted }
}

/// The partitions that the job's foreign table is about; None: all, or there is no such table.
fn chosen(tx: &Tx, job: &Job) -> Result<Option<Partitions>> {
    let sql =
        "SELECT c::pg_catalog.oid FROM pg_catalog.to_regclass($1) AS t (c) WHERE c IS NOT NULL";
    let name = qualified(&job.spec.source);
    let found = spi::select(tx, sql, &[name.as_str().into()], |row| row.get::<Oid>(1))?;
    let source = found.into_iter().next().map(|oid| TopicOptions::of(&Table::load(oid)));
    Ok(source.and_then(Result::ok).and_then(|source| source.partitions))
}

pub fn list(at: &BTreeMap<i32, i64>) -> String {
    let one = |(partition, offset)| format!("{offset} of partition {partition}");
    let mut places: Vec<String> = at.iter().take(LISTED).map(one).collect();
    if at.len() > LISTED {
        places.push(format!("and those of {} more", at.len() - LISTED));
    }
    format!("offset {}", places.join(", "))
}

impl Continued {
    /// Says so when the user may not expect it: what it goes on after is another job.
    pub fn tell(&self, job: &str) {
        let Continued { after: Some(after), at } = self else { return };
        let after = other(job, after);
        let notice = Error::new(
            SqlState::SUCCESS,
            format!("job \"{job}\" continues where {after} stopped, at {at}"),
        )
        .detail(
            "Both load the same topic into the same tables for the same owner. If the brokers are of \
             another Kafka cluster, the job begins with the oldest message.",
        )
        .hint("Start it with reset => 'earliest' to load the whole topic.");
        caught::report(Level::Notice, &notice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_offsets_is_short() {
        let of = |count| list(&(0..count).map(|p| (p, i64::from(p) * 10)).collect());
        assert_eq!(of(2), "offset 0 of partition 0, 10 of partition 1");
        assert!(of(6).ends_with(", 30 of partition 3, and those of 2 more"), "{}", of(6));
    }
}
