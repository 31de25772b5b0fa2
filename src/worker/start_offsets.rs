//! Where a slot's partitions begin: at the stored offsets, at a wished reset, at the position of an
//! earlier load of the same topic and table, or at the oldest message.

use super::feed::Offsets;
use crate::catalog::jobs::Job;
use crate::catalog::runs::{self, Run};
use crate::catalog::waiting::{self, Whose};
use crate::catalog::{lost_ranges, offsets, unlogged_targets};
use crate::pg::caught;
use crate::pg::signals;
use crate::pg::tx::tx;
use gpss_kafka::{Consumer, TopicFound, no_leader};
use gpss_model::assign;
use gpss_model::beginning::{Beginning, Decision, Facts, Marks, TopicIdentity};
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::job::Fallback;
use gpss_model::reset::Reset;
use pgrx::pg_sys::Oid;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long the brokers have for each question.
pub const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// What decides about positions, besides the broker.
pub struct Wanted<'a> {
    pub job: &'a Job,
    pub run: &'a Run,
    pub slot: i32,
    pub slots: i32,
    /// The run's reset has been applied to this slot's partitions before.
    pub positioned: bool,
    pub fallback: Option<Fallback>,
    /// The job's targets that a crash would empty.
    pub unlogged: &'a [Oid],
}

/// The partitions' ends as they stand now.
pub fn ends(consumer: &Consumer, topic: &str, partitions: &[i32]) -> Result<Offsets> {
    let end = |partition: &i32| {
        let cancelled = signals::wait_is_over;
        let (_, high) = consumer.watermarks(topic, *partition, METADATA_TIMEOUT, &cancelled)?;
        Ok((*partition, high))
    };
    partitions.iter().map(end).collect()
}

/// Where partitions begin, as far as they can be read.
pub struct Resolved {
    pub positions: Offsets,
    /// As they stand now.
    pub ends: Offsets,
    /// Those that cannot be asked for at present.
    pub waits: BTreeMap<i32, Error>,
}

/// The marks of each partition that can be asked for, and why the others cannot.
///
/// # Errors
/// What concerns not only a partition; and none can be asked although there are leaders.
fn watermarks(
    consumer: &Consumer,
    topic: &str,
    found: &TopicFound,
    partitions: &[i32],
) -> Result<(Marks, BTreeMap<i32, Error>)> {
    let (mut marks, mut waits) = (Marks::new(), BTreeMap::new());
    // A broker that does not answer is asked once.
    let mut unreachable: BTreeMap<i32, Error> = BTreeMap::new();
    for partition in partitions {
        let Some(leader) = found.leaders.get(partition) else {
            waits.insert(*partition, no_leader(topic, *partition));
            continue;
        };
        if let Some(error) = unreachable.get(leader) {
            waits.insert(*partition, error.clone());
            continue;
        }
        let cancelled = signals::wait_is_over;
        match consumer.watermarks(topic, *partition, METADATA_TIMEOUT, &cancelled) {
            Ok(low_high) => {
                marks.insert(*partition, low_high);
            }
            Err(error) if error.sqlstate == SqlState::CONNECTION_FAILURE => {
                unreachable.insert(*leader, error.clone());
                waits.insert(*partition, error);
            }
            Err(error) => return Err(error),
        }
    }
    match unreachable.pop_first() {
        Some((_, error)) if marks.is_empty() => Err(error),
        _ => Ok((marks, waits)),
    }
}

/// The positions of `partitions`, stored. Those that cannot be read at present are left out: they are
/// to be resolved later, as if they were new.
pub fn resolve(
    wanted: &Wanted<'_>,
    consumer: &Consumer,
    found: &TopicFound,
    partitions: &[i32],
) -> Result<Resolved> {
    let Wanted { job, run, positioned, .. } = *wanted;
    let topic = &job.spec.topic;
    let cancelled = signals::wait_is_over;
    let cluster_id = consumer.cluster_id(METADATA_TIMEOUT, &cancelled)?;
    let identity = TopicIdentity { cluster_id, topic_id: found.id.clone() };
    let (mut stored, inherited, pending) = tx(|tx| {
        let stored = offsets::stored(tx, job.id)?;
        let inherited = offsets::inherited(tx, job.id, Some(&identity))?;
        Ok((stored, inherited, waiting::unpositioned(tx, job.id, run.id)?))
    })?;
    stored.retain(|partition, _| wanted.is_concerned(*partition, found, partitions));
    let beginning = Beginning::of(Facts {
        job_id: job.id,
        job: &job.name,
        topic,
        identity,
        reset: run.reset.as_ref(),
        fallback: wanted.fallback,
        stored,
        inherited,
        positioned,
        pending,
    });
    wanted.check_unlogged(&Vec::from_iter(beginning.continued_jobs(partitions)))?;
    beginning.check_identity()?;

    let (marks, waits) = watermarks(consumer, topic, found, partitions)?;
    let fresh: Vec<i32> = marks.keys().copied().filter(|p| beginning.is_fresh(*p)).collect();
    let at_time: BTreeMap<i32, Option<i64>> = match &run.reset {
        Some(Reset::Timestamp(ms)) if !fresh.is_empty() => consumer
            .offsets_for_time(topic, *ms, &fresh, METADATA_TIMEOUT, &cancelled)?
            .into_iter()
            .collect(),
        _ => BTreeMap::new(),
    };
    if consumer.topic(topic, METADATA_TIMEOUT, &cancelled)?.id != found.id {
        return Err(Error::new(
            SqlState::CONNECTION_FAILURE,
            format!("Kafka topic \"{topic}\" is being recreated"),
        ));
    }
    let decision = beginning.decide(&marks, &at_time, &waits.keys().copied().collect())?;
    let ends: Offsets = marks.iter().map(|(p, (_, high))| (*p, *high)).collect();
    store(wanted, beginning.identity(), &decision, &ends, &waits)?;
    if let Some(other) = beginning.continued_job() {
        caught::log(format!(
            "gpss job \"{}\" continues where job \"{other}\" stopped: same topic, same table",
            job.name
        ));
    }
    Ok(Resolved { positions: decision.positions, ends, waits })
}

impl Wanted<'_> {
    /// Is the partition one of those to be read, or of this slot and no longer in the topic?
    fn is_concerned(&self, partition: i32, found: &TopicFound, partitions: &[i32]) -> bool {
        let (slot, slots) = (self.slot.unsigned_abs(), self.slots.unsigned_abs());
        partitions.contains(&partition)
            || (!found.partitions.contains(&partition)
                && !assign::partitions_of(slot, slots, &[partition]).is_empty())
    }

    /// Are the rows still there that these jobs have loaded into unlogged tables?
    fn check_unlogged(&self, job_ids: &[i64]) -> Result<()> {
        if job_ids.is_empty() {
            return Ok(());
        }
        let emptied = tx(|tx| unlogged_targets::emptied(tx, job_ids, self.unlogged))?;
        if emptied.is_empty() { Ok(()) } else { Err(emptied_by_a_crash(&self.job.name, &emptied)) }
    }
}

/// Writes down what has been decided.
fn store(
    wanted: &Wanted<'_>,
    identity: &TopicIdentity,
    decision: &Decision,
    ends: &Offsets,
    waits: &BTreeMap<i32, Error>,
) -> Result<()> {
    let Wanted { job, run, positioned, slot, slots, .. } = *wanted;
    let Decision { changed, lost, closed, unpositioned, .. } = decision;
    let whose = Whose { job_id: job.id, run_id: run.id, slot, slots };
    tx(|tx| {
        offsets::position(tx, job.id, changed, ends, identity)?;
        if !positioned && run.reset.is_some() {
            unlogged_targets::forget_emptied(tx, job.id)?;
        }
        offsets::close(tx, job.id, closed)?;
        offsets::watermarks(tx, job.id, ends)?;
        for lost in lost {
            lost_ranges::insert(tx, job.id, &job.spec.topic, lost)?;
        }
        waiting::begin(tx, whose, waits, unpositioned)?;
        waiting::end(tx, job.id, &ends.keys().copied().collect::<Vec<i32>>())?;
        runs::mark_positioned(tx, job.id, slot)
    })?;
    if !lost.is_empty() {
        let offsets: i64 = lost.iter().map(|lost| lost.end_offset - lost.begin_offset).sum();
        let reasons: BTreeSet<&str> = lost.iter().map(|lost| lost.reason.as_str()).collect();
        let reasons: Vec<&str> = reasons.into_iter().collect();
        caught::log(format!(
            "gpss job \"{}\" goes on behind {offsets} lost offsets of topic \"{}\" ({}): see \
             gpss.lost_ranges",
            job.name,
            job.spec.topic,
            reasons.join(", ")
        ));
    }
    Ok(())
}

/// The tables lack what the offsets say is loaded.
fn emptied_by_a_crash(job: &str, tables: &[String]) -> Error {
    let (noun, verb) = if tables.len() == 1 { ("table", "was") } else { ("tables", "were") };
    Error::new(
        SqlState::NOT_IN_PREREQUISITE_STATE,
        format!("unlogged {noun} {} {verb} emptied by a crash or a failover", tables.join(", ")),
    )
    .detail(format!(
        "The rows loaded there are gone; job \"{job}\" would go on behind them."
    ))
    .hint(
        "Say where to begin: gpss.start_job(..., reset => 'earliest') loads the topic again. To go on \
         without the rows, name the offsets of gpss.progress: reset => '{\"0\": next_offset, ...}'.",
    )
}
