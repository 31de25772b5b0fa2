//! Where a slot's partitions begin: at the stored offsets, at a wished reset, at the position of an
//! earlier load of the same topic and table, or at the oldest message.

use super::feed::Offsets;
use crate::catalog::jobs::Job;
use crate::catalog::offsets::{self, Inherited};
use crate::catalog::runs::{self, Run};
use crate::error::{Error, Result, SqlState};
use crate::kafka::Consumer;
use crate::model::job::Fallback;
use crate::model::reset::{Reset, Start};
use crate::pg::caught;
use crate::pg::signals;
use crate::pg::tx::tx;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the brokers have for each question.
pub const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// What decides about positions, besides the broker.
pub struct Wanted<'a> {
    pub job: &'a Job,
    pub run: &'a Run,
    pub slot: i32,
    /// The run's reset has been applied to this slot's partitions before.
    pub positioned: bool,
    pub fallback: Option<Fallback>,
}

/// A reset by partition must name partitions that there are.
pub fn check_reset(run: &Run, topic: &str, partitions: &[i32]) -> Result<()> {
    let Some(Reset::Offsets(wanted)) = &run.reset else { return Ok(()) };
    match wanted.keys().find(|partition| !partitions.contains(partition)) {
        None => Ok(()),
        Some(unknown) => Err(Error::new(
            SqlState::INVALID_PARAMETER,
            format!("topic \"{topic}\" has no partition {unknown}"),
        )
        .detail(format!("The reset of this start names it; there are {}.", partitions.len()))),
    }
}

/// The partitions' ends as they stand now.
pub fn ends(consumer: &Consumer, topic: &str, partitions: &[i32]) -> Result<Offsets> {
    let end = |partition: &i32| {
        let cancelled = signals::stop_requested;
        let (_, high) = consumer.watermarks(topic, *partition, METADATA_TIMEOUT, &cancelled)?;
        Ok((*partition, high))
    };
    partitions.iter().map(end).collect()
}

/// The positions of `partitions`, stored, and the partitions' ends as they stand now.
pub fn resolve(
    wanted: &Wanted<'_>,
    consumer: &Consumer,
    partitions: &[i32],
) -> Result<(Offsets, Offsets)> {
    let Wanted { job, run, positioned, .. } = *wanted;
    let cancelled = signals::stop_requested;
    let cluster = consumer.cluster_id(METADATA_TIMEOUT, &cancelled)?;
    let (stored, inherited, known_cluster) = tx(|tx| {
        let inherited = match &cluster {
            Some(id) => offsets::inherited(tx, job.id, id)?,
            // Who knows whether it is the same cluster.
            None => None,
        };
        Ok((offsets::load(tx, job.id)?, inherited, offsets::cluster(tx, job.id)?))
    })?;
    let reset = run.reset.as_ref().filter(|_| !positioned);
    let stored = match (&known_cluster, &cluster, reset) {
        (Some(known), Some(now), None) if known != now => {
            return Err(other_cluster(&job.name, known, now));
        }
        // Partitions that the reset does not name begin anew too.
        (Some(known), Some(now), Some(_)) if known != now => Offsets::new(),
        _ => stored,
    };
    let mut marks = BTreeMap::new();
    for partition in partitions {
        let low_high =
            consumer.watermarks(&job.spec.topic, *partition, METADATA_TIMEOUT, &cancelled)?;
        marks.insert(*partition, low_high);
    }
    let at_time: BTreeMap<i32, Option<i64>> = match reset {
        Some(Reset::Timestamp(ms)) => consumer
            .offsets_for_time(&job.spec.topic, *ms, partitions, METADATA_TIMEOUT, &cancelled)?
            .into_iter()
            .collect(),
        _ => BTreeMap::new(),
    };

    // A run begins where the last load of the topic into the table stopped, whichever job it was.
    let taken_over = !positioned && inherited.as_ref().is_some_and(|other| other.newer);
    let mut positions = Offsets::new();
    for (partition, (low, high)) in &marks {
        let reset_to = match reset {
            None => None,
            Some(Reset::Earliest) => Some(*low),
            Some(Reset::Latest) => Some(*high),
            // No message as young as that: only new ones.
            Some(Reset::Timestamp(_)) => {
                Some(at_time.get(partition).copied().flatten().unwrap_or(*high))
            }
            Some(Reset::Offsets(map)) => map.get(partition).map(|start| match start {
                Start::Earliest => *low,
                Start::Latest => *high,
                Start::Offset(offset) => *offset,
            }),
        };
        let own = stored.get(partition).copied();
        let other = inherited.as_ref().and_then(|other| other.offsets.get(partition).copied());
        let known = if taken_over { other.or(own) } else { own.or(other) };
        let check = |offset, fallback| {
            within(offset, (*low, *high), fallback)
                .ok_or_else(|| offset_gone(&job.spec.topic, *partition, offset, (*low, *high)))
        };
        let offset = match (reset_to, known) {
            // What the user names has to be there; the fallback is for what retention took.
            (Some(offset), _) => check(offset, None)?,
            (None, Some(offset)) => check(offset, wanted.fallback)?,
            // GPSS and a new partition alike: from the oldest message on.
            (None, None) => *low,
        };
        positions.insert(*partition, offset);
    }
    let ends: Offsets = marks.iter().map(|(p, (_, high))| (*p, *high)).collect();
    store(wanted, &stored, &positions, &ends, cluster.as_deref())?;
    let used = |_: &Inherited| (stored.is_empty() || taken_over) && reset.is_none();
    if let Some(other) = inherited.filter(used) {
        caught::log(format!(
            "gpss job \"{}\" continues where job \"{}\" stopped: same topic, same table",
            job.name, other.job
        ));
    }
    Ok((positions, ends))
}

/// Writes the positions: all of them when the run begins, later only those that are new or moved.
fn store(
    wanted: &Wanted<'_>,
    stored: &Offsets,
    positions: &Offsets,
    ends: &Offsets,
    cluster: Option<&str>,
) -> Result<()> {
    let changed: Offsets = positions
        .iter()
        .filter(|(partition, offset)| !wanted.positioned || stored.get(partition) != Some(offset))
        .map(|(partition, offset)| (*partition, *offset))
        .collect();
    if changed.is_empty() && wanted.positioned {
        return Ok(());
    }
    tx(|tx| {
        offsets::position(tx, wanted.job.id, &changed, ends, cluster)?;
        runs::mark_positioned(tx, wanted.job.id, wanted.slot)
    })
}

/// The offset itself when the broker has it, else what the fallback says.
fn within(offset: i64, (low, high): (i64, i64), fallback: Option<Fallback>) -> Option<i64> {
    match fallback {
        _ if (low..=high).contains(&offset) => Some(offset),
        Some(Fallback::Earliest) => Some(low),
        Some(Fallback::Latest) => Some(high),
        None => None,
    }
}

/// Offsets of one cluster mean nothing in another: going on there would skip messages.
fn other_cluster(job: &str, known: &str, now: &str) -> Error {
    Error::new(
        SqlState::NOT_IN_PREREQUISITE_STATE,
        format!("the offsets of job \"{job}\" belong to another Kafka cluster"),
    )
    .detail(format!("They are of cluster {known}; the brokers are of cluster {now}."))
    .hint(
        "Correct the brokers, or say where to begin: gpss.start_job(…, reset => 'earliest') loads \
         the whole topic, 'latest' only what is new.",
    )
}

fn offset_gone(topic: &str, partition: i32, offset: i64, (low, high): (i64, i64)) -> Error {
    let reason = if offset < low {
        format!(
            "The broker has offsets {low} to {high}: retention removed {} messages.",
            low - offset
        )
    } else {
        format!("The broker has offsets {low} to {high}: the topic may have been made anew.")
    };
    Error::new(
        SqlState::NO_DATA,
        format!(
            "offset {offset} of partition {partition} of topic \"{topic}\" is not on the broker"
        ),
    )
    .detail(reason)
    .hint(
        "Start the job with reset => 'earliest' or 'latest', or set FALLBACK_OFFSET (of a \
         configuration), fallback_offset (the foreign table's option).",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_outside_the_log_falls_back_only_when_told_to() {
        assert_eq!(within(5, (5, 9), None), Some(5));
        assert_eq!(within(9, (5, 9), None), Some(9));
        assert_eq!(within(4, (5, 9), None), None);
        assert_eq!(within(4, (5, 9), Some(Fallback::Earliest)), Some(5));
        assert_eq!(within(10, (5, 9), Some(Fallback::Latest)), Some(9));
    }

    #[test]
    fn a_lost_offset_says_what_was_lost() {
        let retention = offset_gone("t", 0, 3, (10, 20));
        assert!(retention.detail.unwrap().contains("removed 7 messages"));
        let anew = offset_gone("t", 0, 30, (0, 20));
        assert!(anew.detail.unwrap().contains("made anew"));
    }
}
