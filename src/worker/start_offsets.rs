//! Where a slot's partitions begin: at the stored offsets, at a wished reset, at the position of an
//! earlier load of the same topic and table, or at the oldest message.

use super::feed::Offsets;
use crate::catalog::jobs::Job;
use crate::catalog::lost_ranges::{self, Lost, Reason};
use crate::catalog::offsets::{self, Inherited, TopicIdentity};
use crate::catalog::runs::{self, Run};
use crate::catalog::unlogged_targets;
use crate::catalog::waiting::{self, Whose};
use crate::pg::caught;
use crate::pg::signals;
use crate::pg::tx::tx;
use gpss_kafka::{Consumer, TopicFound, no_leader};
use gpss_model::assign;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::job::Fallback;
use gpss_model::printable::counted;
use gpss_model::reset::{self, Reset, Start};
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

/// The first offset and the end of partitions.
type Marks = BTreeMap<i32, (i64, i64)>;

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
    let origin = TopicIdentity { cluster_id, topic_id: found.id.clone() };
    let (stored, inherited, pending) = tx(|tx| {
        let stored = offsets::stored(tx, job.id)?;
        let inherited = offsets::inherited(tx, job.id, Some(&origin))?;
        Ok((stored, inherited, waiting::unpositioned(tx, job.id, run.id)?))
    })?;
    // Those that the run has not positioned yet.
    let is_fresh = |partition: &i32| !positioned || pending.contains(partition);
    let reset_of = |partition: &i32| run.reset.as_ref().filter(|_| is_fresh(partition));
    // A run begins where the last load of the topic into the table stopped, whichever job it was.
    let taken_over = !positioned && inherited.as_ref().is_some_and(|other| other.newer);
    let (own, mut foreign): (BTreeMap<_, _>, BTreeMap<_, _>) = stored
        .into_iter()
        .filter(|(partition, _)| wanted.is_concerned(*partition, found, partitions))
        .partition(|(_, stored)| stored.origin.may_be(&origin));
    if taken_over {
        foreign.clear();
    }
    let stand = |partition: &i32| {
        let own = own.get(partition).map(|stored| stored.next);
        Inherited::known(inherited.as_ref(), *partition, own, !positioned)
    };
    if positioned || run.reset.is_none() {
        // Whose rows go on there.
        let jobs = partitions.iter().filter_map(stand);
        let mut jobs: BTreeSet<i64> =
            jobs.map(|(_, other)| other.map_or(job.id, |other| other.job_id)).collect();
        let continued = !positioned && (taken_over || own.is_empty());
        if !continued || jobs.is_empty() {
            jobs.insert(job.id);
        }
        wanted.check_unlogged(&Vec::from_iter(jobs))?;
    }
    // Partitions that the reset does not name begin anew too.
    foreign.retain(|partition, _| reset_of(partition).is_none());
    for stored in foreign.values() {
        wanted.check_origin(&stored.origin, &origin)?;
    }

    let (marks, waits) = watermarks(consumer, topic, found, partitions)?;
    let fresh: Vec<i32> = marks.keys().filter(|partition| is_fresh(partition)).copied().collect();
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

    let known = |partition: &i32| stand(partition).map(|(offset, _)| offset);
    let mut positions = Offsets::new();
    let mut lost = vec![];
    for (partition, (low, high)) in &marks {
        let reset_to = match reset_of(partition) {
            None => None,
            Some(Reset::Earliest) => Some(*low),
            Some(Reset::Latest) => Some(*high),
            // No message at or after the timestamp: start at the end.
            Some(Reset::Timestamp(_)) => {
                Some(at_time.get(partition).copied().flatten().unwrap_or(*high))
            }
            Some(Reset::Offsets(map)) => map.get(partition).map(|start| match start {
                Start::Earliest => *low,
                Start::Latest => *high,
                Start::Offset(offset) => *offset,
            }),
        };
        let known = known(partition);
        let topic_id = found.id.as_deref();
        let place = |fallback| PartitionRange {
            topic_id,
            partition: *partition,
            low: *low,
            high: *high,
            fallback,
        };
        let gone = |offset| offset_gone(topic, *partition, offset, (*low, *high));
        let offset = match (reset_to, foreign.get(partition), known) {
            // What the user names has to be there; the fallback is for what retention took.
            (Some(offset), ..) => place(None)
                .at(offset, &mut lost)
                .ok_or_else(|| reset::not_there(topic, *partition, offset, (*low, *high)))?,
            (None, Some(_), _) => place(wanted.fallback).anew(&mut lost),
            (None, None, Some(offset)) => {
                place(wanted.fallback).at(offset, &mut lost).ok_or_else(|| gone(offset))?
            }
            // GPSS and a new partition alike: from the oldest message on.
            (None, None, None) => *low,
        };
        positions.insert(*partition, offset);
    }
    let closed = foreign.iter().filter(|(partition, _)| !waits.contains_key(partition));
    lost.extend(closed.map(|(partition, stored)| Lost {
        partition: *partition,
        begin_offset: stored.next,
        end_offset: stored.high,
        reason: Reason::Recreated,
        topic_id: stored.origin.topic_id.clone(),
    }));
    let ends: Offsets = marks.iter().map(|(p, (_, high))| (*p, *high)).collect();
    let before: Offsets = own.iter().map(|(partition, stored)| (*partition, stored.next)).collect();
    let gone = |partition: &i32| !marks.contains_key(partition) && !waits.contains_key(partition);
    let closed: Vec<i32> = foreign.into_keys().filter(gone).collect();
    let mut changed = positions.clone();
    changed.retain(|partition, next| is_fresh(partition) || before.get(partition) != Some(next));
    for partition in waits.keys().filter(|p| is_fresh(p) && reset_of(p).is_none()) {
        // Once this job has loaded anything, another one's offset is not the newer one any more.
        if let Some(next) = known(partition).filter(|next| before.get(partition) != Some(next)) {
            changed.insert(*partition, next);
        }
    }
    let unpositioned = waits.keys().filter(|p| reset_of(p).is_some()).copied().collect();
    let stored = Store { changed, ends: &ends, lost, closed, unpositioned };
    store(wanted, &origin, stored, &waits)?;
    let used =
        |_: &Inherited| (own.is_empty() || taken_over) && (positioned || run.reset.is_none());
    let used = inherited.filter(used);
    if let Some(other) = used {
        caught::log(format!(
            "gpss job \"{}\" continues where job \"{}\" stopped: same topic, same table",
            job.name, other.job
        ));
    }
    Ok(Resolved { positions, ends, waits })
}

impl Wanted<'_> {
    /// Is the partition one of those to be read, or of this slot and no longer in the topic?
    fn is_concerned(&self, partition: i32, found: &TopicFound, partitions: &[i32]) -> bool {
        let (slot, slots) = (self.slot.unsigned_abs(), self.slots.unsigned_abs());
        partitions.contains(&partition)
            || (!found.partitions.contains(&partition)
                && !assign::partitions_of(slot, slots, &[partition]).is_empty())
    }

    /// Are the rows still there that this job, or those it continues, have loaded into unlogged tables?
    fn check_unlogged(&self, job_ids: &[i64]) -> Result<()> {
        let emptied = tx(|tx| unlogged_targets::emptied(tx, job_ids, self.unlogged))?;
        if emptied.is_empty() { Ok(()) } else { Err(emptied_by_a_crash(&self.job.name, &emptied)) }
    }

    /// May the job go on although its offsets are of another topic?
    fn check_origin(&self, known: &TopicIdentity, now: &TopicIdentity) -> Result<()> {
        let Job { name, spec, .. } = self.job;
        match (known, now) {
            (
                TopicIdentity { cluster_id: Some(known), .. },
                TopicIdentity { cluster_id: Some(now), .. },
            ) if known != now => Err(other_cluster(name, known, now)),
            (
                TopicIdentity { topic_id: Some(known), .. },
                TopicIdentity { topic_id: Some(now), .. },
            ) if self.fallback.is_none() => Err(other_topic(name, &spec.topic, known, now)),
            _ => Ok(()),
        }
    }
}

/// What has been resolved, for the catalog.
struct Store<'a> {
    /// All positions when the run begins, later only those that are new or moved.
    changed: Offsets,
    ends: &'a Offsets,
    lost: Vec<Lost>,
    closed: Vec<i32>,
    unpositioned: BTreeSet<i32>,
}

fn store(
    wanted: &Wanted<'_>,
    origin: &TopicIdentity,
    store: Store<'_>,
    waits: &BTreeMap<i32, Error>,
) -> Result<()> {
    let Wanted { job, run, positioned, slot, slots, .. } = *wanted;
    let Store { changed, ends, lost, closed, unpositioned } = store;
    let whose = Whose { job_id: job.id, run_id: run.id, slot, slots };
    tx(|tx| {
        offsets::position(tx, job.id, &changed, ends, origin)?;
        if !positioned && run.reset.is_some() {
            unlogged_targets::forget_emptied(tx, job.id)?;
        }
        offsets::close(tx, job.id, &closed)?;
        offsets::watermarks(tx, job.id, ends)?;
        for lost in &lost {
            lost_ranges::insert(tx, job.id, &job.spec.topic, lost)?;
        }
        waiting::begin(tx, whose, waits, &unpositioned)?;
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

/// A partition as the broker has it, and where to go on when an offset is not there.
struct PartitionRange<'a> {
    topic_id: Option<&'a str>,
    partition: i32,
    low: i64,
    high: i64,
    fallback: Option<Fallback>,
}

impl PartitionRange<'_> {
    /// The offset itself when the broker has it, else what the fallback says.
    fn at(&self, offset: i64, lost: &mut Vec<Lost>) -> Option<i64> {
        if (self.low..=self.high).contains(&offset) {
            return Some(offset);
        }
        let to = self.fall_back(self.fallback?);
        lost.push(if offset < self.low {
            self.lost(offset, to, Reason::Retention)
        } else {
            self.lost(self.high, offset, Reason::Truncated)
        });
        Some(to)
    }

    /// Where to begin in a topic that was recreated; what that leaves out of it is lost.
    fn anew(&self, lost: &mut Vec<Lost>) -> i64 {
        let to = self.fallback.map_or(self.low, |fallback| self.fall_back(fallback));
        if to > self.low {
            lost.push(self.lost(self.low, to, Reason::Recreated));
        }
        to
    }

    fn fall_back(&self, fallback: Fallback) -> i64 {
        match fallback {
            Fallback::Earliest => self.low,
            Fallback::Latest => self.high,
        }
    }

    fn lost(&self, begin_offset: i64, end_offset: i64, reason: Reason) -> Lost {
        let topic_id = self.topic_id.map(str::to_owned);
        Lost { partition: self.partition, begin_offset, end_offset, reason, topic_id }
    }
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

/// Offsets of one cluster mean nothing in another: going on there would skip messages.
fn other_cluster(job: &str, known: &str, now: &str) -> Error {
    Error::new(
        SqlState::NOT_IN_PREREQUISITE_STATE,
        format!("the offsets of job \"{job}\" belong to another Kafka cluster"),
    )
    .detail(format!("They are of cluster {known}; the brokers are of cluster {now}."))
    .hint(
        "Correct the brokers, or say where to begin: gpss.start_job(..., reset => 'earliest') loads \
         the whole topic, 'latest' only what is new.",
    )
}

/// Offsets of one topic mean nothing in another, whatever its name.
fn other_topic(job: &str, topic: &str, known: &str, now: &str) -> Error {
    Error::new(
        SqlState::NOT_IN_PREREQUISITE_STATE,
        format!("the offsets of job \"{job}\" belong to another topic than \"{topic}\""),
    )
    .detail(format!(
        "They are of the topic with the id {known}; \"{topic}\" has the id {now}: it was deleted and \
         recreated, or the job reads another topic now."
    ))
    .hint(
        "Say where to begin: gpss.start_job(..., reset => 'earliest') loads the whole topic, 'latest' \
         only what is new. With FALLBACK_OFFSET (of a configuration), fallback_offset (the foreign \
         table's option), a job goes on by itself.",
    )
}

fn offset_gone(topic: &str, partition: i32, offset: i64, (low, high): (i64, i64)) -> Error {
    let reason = if offset < low {
        format!(
            "The broker has offsets {low} to {high}: retention removed {}.",
            counted(low - offset, "message")
        )
    } else {
        format!(
            "The broker has offsets {low} to {high}: brokers lost messages, or the topic was recreated."
        )
    };
    Error::new(
        SqlState::NO_DATA,
        format!(
            "offset {offset} of partition {partition} of topic \"{topic}\" is not on the broker"
        ),
    )
    .detail(reason)
    .hint(format!(
        "Say where this partition begins, or \"latest\" or an offset: gpss.start_job(..., reset => \
         '{{\"{partition}\": \"earliest\"}}'); the others go on where they are. With FALLBACK_OFFSET (of a \
         configuration), fallback_offset (the foreign table's option), a job goes on by itself."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(
        offset: i64,
        (low, high): (i64, i64),
        fallback: Option<Fallback>,
    ) -> Option<(i64, Vec<Lost>)> {
        let mut lost = vec![];
        let place = PartitionRange { topic_id: None, partition: 0, low, high, fallback };
        place.at(offset, &mut lost).map(|to| (to, lost))
    }

    fn lost(begin_offset: i64, end_offset: i64, reason: Reason) -> Vec<Lost> {
        vec![Lost { partition: 0, begin_offset, end_offset, reason, topic_id: None }]
    }

    #[test]
    fn an_offset_outside_the_log_falls_back_only_when_told_to() {
        assert_eq!(at(5, (5, 9), None), Some((5, vec![])));
        assert_eq!(at(9, (5, 9), None), Some((9, vec![])));
        assert_eq!(at(4, (5, 9), None), None);
        assert_eq!(at(10, (5, 9), None), None);
    }

    #[test]
    fn a_fallback_tells_what_is_lost() {
        let (earliest, latest) = (Some(Fallback::Earliest), Some(Fallback::Latest));
        assert_eq!(at(2, (5, 9), earliest), Some((5, lost(2, 5, Reason::Retention))));
        assert_eq!(at(2, (5, 9), latest), Some((9, lost(2, 9, Reason::Retention))));
        assert_eq!(at(12, (5, 9), earliest), Some((5, lost(9, 12, Reason::Truncated))));
        assert_eq!(at(12, (5, 9), latest), Some((9, lost(9, 12, Reason::Truncated))));
    }

    #[test]
    fn a_recreated_topic_is_read_from_where_the_fallback_says() {
        let anew = |fallback| {
            let mut lost = vec![];
            let place = PartitionRange { topic_id: None, partition: 0, low: 0, high: 7, fallback };
            (place.anew(&mut lost), lost)
        };
        assert_eq!(anew(Some(Fallback::Earliest)), (0, vec![]));
        assert_eq!(anew(Some(Fallback::Latest)), (7, lost(0, 7, Reason::Recreated)));
    }

    #[test]
    fn a_lost_offset_says_what_was_lost() {
        let retention = offset_gone("t", 0, 3, (10, 20));
        assert!(retention.detail.unwrap().contains("removed 7 messages"));
        let anew = offset_gone("t", 0, 30, (0, 20));
        assert!(anew.detail.unwrap().contains("brokers lost"));
    }
}
