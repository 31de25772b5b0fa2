//! Where a run of a job begins to read: at a wished reset, at the stored offsets, where an earlier load of the
//! same topic and tables stopped, or at the oldest message. Decided from facts alone; asking the brokers for
//! them and writing the outcome down is done elsewhere.

use crate::error::{Error, Result, SqlState};
use crate::job::Fallback;
use crate::printable::counted;
use crate::reset::{self, Reset, Start};
use std::collections::{BTreeMap, BTreeSet};

/// Partition → offset.
pub type Offsets = BTreeMap<i32, i64>;

/// Which topic offsets belong to: None where brokers have no such id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicIdentity {
    pub cluster_id: Option<String>,
    pub topic_id: Option<String>,
}

impl TopicIdentity {
    /// Neither id says that it is another topic.
    pub fn may_be(&self, other: &TopicIdentity) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
        same(&self.cluster_id, &other.cluster_id) && same(&self.topic_id, &other.topic_id)
    }
}

/// Where a job stands in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub next: i64,
    /// The partition's end as last heard of.
    pub high: i64,
    pub identity: TopicIdentity,
}

/// What the jobs have read that loaded the same topic of the same cluster into the same tables from a
/// configuration: GPSS continues by topic and table, not by job.
#[derive(Clone, Debug)]
pub struct Inherited {
    /// The name of the one that moved last.
    pub job: String,
    /// It has stopped, and later than the job that begins.
    pub newer: bool,
    pub stands: BTreeMap<i32, Stand>,
}

/// Where the one of them stood that moved last of those that know the partition.
#[derive(Clone, Debug)]
pub struct Stand {
    pub job_id: i64,
    pub job: String,
    pub newer: bool,
    pub next: i64,
}

impl Inherited {
    pub fn partitions(&self) -> impl Iterator<Item = i32> {
        self.stands.keys().copied()
    }

    /// Where a job goes on that itself stood at `own`, and the other job that stood there, if it is one of
    /// `others`. A run `begins` where the last load stopped, whichever job's it was.
    pub fn known(
        others: Option<&Self>,
        partition: i32,
        own: Option<i64>,
        begins: bool,
    ) -> Option<(i64, Option<&Stand>)> {
        match (others.and_then(|others| others.stands.get(&partition)), own) {
            (Some(other), own) if own.is_none() || (begins && other.newer) => {
                Some((other.next, Some(other)))
            }
            (_, own) => own.map(|own| (own, None)),
        }
    }
}

/// Why offsets are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Kafka removed them before they were read.
    Retention,
    /// The partition ends before the job's offset: the brokers have lost what the job had read.
    Truncated,
    /// The topic was deleted before they were read.
    Recreated,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Retention => "retention",
            Reason::Truncated => "truncated",
            Reason::Recreated => "topic recreated",
        }
    }
}

/// A range of one partition that a job goes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    pub partition: i32,
    pub begin_offset: i64,
    /// Exclusive.
    pub end_offset: i64,
    pub reason: Reason,
    /// Of the topic that had them.
    pub topic_id: Option<String>,
}

/// What is known before the brokers are asked for the partitions' ends.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    pub job_id: i64,
    pub job: &'a str,
    pub topic: &'a str,
    pub identity: TopicIdentity,
    pub reset: Option<&'a Reset>,
    pub fallback: Option<Fallback>,
    /// The job's offsets of the partitions that this is about.
    pub stored: BTreeMap<i32, Stored>,
    pub inherited: Option<Inherited>,
    /// The run has begun before; what is decided is about partitions that come later.
    pub positioned: bool,
    /// Those that could not be read when it began, so that its reset is still due.
    pub pending: BTreeSet<i32>,
}

/// A run that begins, or that is given further partitions.
#[derive(Debug)]
pub struct Beginning<'a> {
    facts: Facts<'a>,
    /// The job's own offsets in this topic.
    own: BTreeMap<i32, Stored>,
    /// Those in another topic of this name.
    foreign: BTreeMap<i32, Stored>,
}

/// The first offset and the end of partitions, as the brokers have them now.
pub type Marks = BTreeMap<i32, (i64, i64)>;

/// Where a run begins.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub positions: Offsets,
    /// What the catalog has to be told: all positions when the run begins, later those that are new or moved.
    pub changed: Offsets,
    pub lost: Vec<Lost>,
    /// Partitions that the topic has no longer.
    pub closed: Vec<i32>,
    /// Those that cannot be read at present and have the run's reset before them.
    pub unpositioned: BTreeSet<i32>,
}

impl<'a> Facts<'a> {
    /// Does the run still have to begin with this partition?
    fn is_fresh(&self, partition: i32) -> bool {
        !self.positioned || self.pending.contains(&partition)
    }

    fn reset_of(&self, partition: i32) -> Option<&'a Reset> {
        self.reset.filter(|_| self.is_fresh(partition))
    }

    /// Another job has stopped later than this one.
    fn taken_over(&self) -> bool {
        !self.positioned && self.inherited.as_ref().is_some_and(|other| other.newer)
    }
}

impl<'a> Beginning<'a> {
    pub fn of(mut facts: Facts<'a>) -> Beginning<'a> {
        let stored = std::mem::take(&mut facts.stored);
        let (own, mut foreign): (BTreeMap<_, _>, BTreeMap<_, _>) =
            stored.into_iter().partition(|(_, stored)| stored.identity.may_be(&facts.identity));
        // Those that a reset is about begin where that says.
        foreign.retain(|p, _| !facts.taken_over() && facts.reset_of(*p).is_none());
        Beginning { facts, own, foreign }
    }

    /// Which topic it is now.
    pub fn identity(&self) -> &TopicIdentity {
        &self.facts.identity
    }

    /// Does the run still have to begin with this partition?
    pub fn is_fresh(&self, partition: i32) -> bool {
        self.facts.is_fresh(partition)
    }

    fn stand(&self, partition: i32) -> Option<(i64, Option<&Stand>)> {
        let own = self.own.get(&partition).map(|stored| stored.next);
        Inherited::known(self.facts.inherited.as_ref(), partition, own, !self.facts.positioned)
    }

    /// The jobs whose rows this one goes on behind; none when a reset says where to begin.
    pub fn continued_jobs(&self, partitions: &[i32]) -> BTreeSet<i64> {
        if !self.facts.positioned && self.facts.reset.is_some() {
            return BTreeSet::new();
        }
        let stands = partitions.iter().filter_map(|partition| self.stand(*partition));
        let mut jobs: BTreeSet<i64> = stands
            .map(|(_, other)| other.map_or(self.facts.job_id, |other| other.job_id))
            .collect();
        let continued = !self.facts.positioned && (self.facts.taken_over() || self.own.is_empty());
        if !continued || jobs.is_empty() {
            jobs.insert(self.facts.job_id);
        }
        jobs
    }

    /// The other job that it continues, if it does.
    pub fn continued_job(&self) -> Option<&str> {
        let continues = (self.own.is_empty() || self.facts.taken_over())
            && (self.facts.positioned || self.facts.reset.is_none());
        self.facts.inherited.as_ref().filter(|_| continues).map(|other| other.job.as_str())
    }

    /// May the job go on although its offsets are of another topic?
    ///
    /// # Errors
    /// They are of another cluster, or of another topic and there is no fallback.
    pub fn check_identity(&self) -> Result<()> {
        for stored in self.foreign.values() {
            match (&stored.identity, &self.facts.identity) {
                (
                    TopicIdentity { cluster_id: Some(known), .. },
                    TopicIdentity { cluster_id: Some(now), .. },
                ) if known != now => return Err(other_cluster(self.facts.job, known, now)),
                (
                    TopicIdentity { topic_id: Some(known), .. },
                    TopicIdentity { topic_id: Some(now), .. },
                ) if self.facts.fallback.is_none() => {
                    return Err(other_topic(self.facts.job, self.facts.topic, known, now));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Where the partitions of the `marks` begin. `at_time`: the first offset that is not older than the
    /// reset's time; `waits`: partitions that cannot be asked for.
    ///
    /// # Errors
    /// `NO_DATA`: an offset is not on the broker.
    pub fn decide(
        &self,
        marks: &Marks,
        at_time: &BTreeMap<i32, Option<i64>>,
        waits: &BTreeSet<i32>,
    ) -> Result<Decision> {
        let mut decision = Decision::default();
        for (partition, marks) in marks {
            let at_time = at_time.get(partition).copied().flatten();
            let position = self.position(*partition, *marks, at_time, &mut decision.lost)?;
            decision.positions.insert(*partition, position);
        }
        let left = self.foreign.iter().filter(|(partition, _)| !waits.contains(partition));
        decision.lost.extend(left.map(|(partition, stored)| Lost {
            partition: *partition,
            begin_offset: stored.next,
            end_offset: stored.high,
            reason: Reason::Recreated,
            topic_id: stored.identity.topic_id.clone(),
        }));
        let gone = |p: &&i32| !marks.contains_key(p) && !waits.contains(p);
        decision.closed = self.foreign.keys().filter(gone).copied().collect();
        let before = |partition: &i32| self.own.get(partition).map(|stored| stored.next);
        decision.changed = decision.positions.clone();
        decision.changed.retain(|p, next| self.is_fresh(*p) || before(p) != Some(*next));
        for partition in
            waits.iter().filter(|p| self.is_fresh(**p) && self.facts.reset_of(**p).is_none())
        {
            // Once this job has loaded anything, another one's offset is not the newer one any more.
            let known = self.stand(*partition).map(|(next, _)| next);
            if let Some(next) = known.filter(|next| before(partition) != Some(*next)) {
                decision.changed.insert(*partition, next);
            }
        }
        decision.unpositioned =
            waits.iter().filter(|p| self.facts.reset_of(**p).is_some()).copied().collect();
        Ok(decision)
    }

    fn position(
        &self,
        partition: i32,
        (low, high): (i64, i64),
        at_time: Option<i64>,
        lost: &mut Vec<Lost>,
    ) -> Result<i64> {
        let reset_to = match self.facts.reset_of(partition) {
            None => None,
            Some(Reset::Earliest) => Some(low),
            Some(Reset::Latest) => Some(high),
            // No message at or after the timestamp: start at the end.
            Some(Reset::Timestamp(_)) => Some(at_time.unwrap_or(high)),
            Some(Reset::Offsets(starts)) => starts.get(&partition).map(|start| match start {
                Start::Earliest => low,
                Start::Latest => high,
                Start::Offset(offset) => *offset,
            }),
        };
        let topic_id = self.facts.identity.topic_id.as_deref();
        let range = |fallback| PartitionRange { topic_id, partition, low, high, fallback };
        let known = self.stand(partition).map(|(offset, _)| offset);
        match (reset_to, self.foreign.contains_key(&partition), known) {
            // What the user names has to be there; the fallback is for what retention took.
            (Some(offset), ..) => range(None)
                .at(offset, lost)
                .ok_or_else(|| reset::not_there(self.facts.topic, partition, offset, (low, high))),
            (None, true, _) => Ok(range(self.facts.fallback).recreated(lost)),
            (None, false, Some(offset)) => range(self.facts.fallback)
                .at(offset, lost)
                .ok_or_else(|| offset_gone(self.facts.topic, partition, offset, (low, high))),
            // GPSS and a new partition alike: from the oldest message on.
            (None, false, None) => Ok(low),
        }
    }
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

    /// Where to begin in a recreated topic; what that leaves out of it is lost.
    fn recreated(&self, lost: &mut Vec<Lost>) -> i64 {
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
    use proptest::prelude::*;

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
            (place.recreated(&mut lost), lost)
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

    fn identity(topic_id: &str) -> TopicIdentity {
        TopicIdentity { cluster_id: Some("c".to_owned()), topic_id: Some(topic_id.to_owned()) }
    }

    fn stored(next: i64, topic_id: &str) -> Stored {
        Stored { next, high: next + 3, identity: identity(topic_id) }
    }

    /// Of a run that begins.
    fn facts(stored: BTreeMap<i32, Stored>) -> Facts<'static> {
        Facts {
            job_id: 1,
            job: "job",
            topic: "topic",
            identity: identity("now"),
            reset: None,
            fallback: None,
            stored,
            inherited: None,
            positioned: false,
            pending: BTreeSet::new(),
        }
    }

    fn of_partition_0(stored: Option<Stored>) -> BTreeMap<i32, Stored> {
        stored.map(|stored| (0, stored)).into_iter().collect()
    }

    fn inherited(next: i64, newer: bool) -> Inherited {
        let stand = Stand { job_id: 2, job: "other".to_owned(), newer, next };
        Inherited { job: "other".to_owned(), newer, stands: BTreeMap::from([(0, stand)]) }
    }

    fn decide(beginning: &Beginning<'_>, marks: (i64, i64)) -> Result<Decision> {
        beginning.check_identity()?;
        beginning.decide(&Marks::from([(0, marks)]), &BTreeMap::new(), &BTreeSet::new())
    }

    #[test]
    fn a_job_goes_on_at_its_offset_or_begins_with_the_oldest_message() {
        let at = |stored| {
            let beginning = Beginning::of(facts(of_partition_0(stored)));
            decide(&beginning, (5, 9)).map(|decided| decided.positions[&0])
        };
        assert_eq!(at(Some(stored(7, "now"))), Ok(7));
        assert_eq!(at(None), Ok(5));
        assert_eq!(at(Some(stored(3, "now"))).unwrap_err().sqlstate, SqlState::NO_DATA);
        let recreated = at(Some(stored(7, "before"))).unwrap_err();
        assert!(recreated.message.contains("another topic"), "{recreated}");
    }

    #[test]
    fn the_other_job_counts_when_it_stopped_later_or_there_is_no_own_offset() {
        for (own, newer, at) in [(None, false, 8), (Some(6), false, 6), (Some(6), true, 8)] {
            let stored = of_partition_0(own.map(|own| stored(own, "now")));
            let inherited = Some(inherited(8, newer));
            let beginning = Beginning::of(Facts { inherited, ..facts(stored) });
            assert_eq!(decide(&beginning, (5, 9)).unwrap().positions[&0], at);
            assert_eq!(beginning.continued_job().is_some(), at == 8);
            assert_eq!(
                beginning.continued_jobs(&[0]),
                BTreeSet::from([if at == 8 { 2 } else { 1 }])
            );
        }
    }

    #[test]
    fn a_reset_is_for_what_the_run_has_not_begun_with() {
        let reset = Reset::Earliest;
        let own = of_partition_0(Some(stored(7, "now")));
        let begins = Facts { reset: Some(&reset), ..facts(own) };
        let position = |facts| decide(&Beginning::of(facts), (5, 9)).unwrap().positions[&0];
        assert_eq!(position(begins.clone()), 5);
        let later = Facts { positioned: true, ..begins };
        assert_eq!(position(later.clone()), 7);
        assert_eq!(position(Facts { pending: BTreeSet::from([0]), ..later }), 5);
    }

    fn any_reset() -> impl Strategy<Value = Option<Reset>> {
        let start = prop_oneof![
            Just(Start::Earliest),
            Just(Start::Latest),
            (0..20i64).prop_map(Start::Offset)
        ];
        prop_oneof![
            3 => Just(None),
            1 => Just(Some(Reset::Earliest)),
            1 => Just(Some(Reset::Latest)),
            1 => Just(Some(Reset::Timestamp(0))),
            2 => prop::collection::btree_map(0..3i32, start, 0..3)
                .prop_map(|starts| Some(Reset::Offsets(starts))),
        ]
    }

    proptest! {
        /// Whatever is known: a position lies in the log, and what it goes over is told.
        #[test]
        fn nothing_is_skipped_without_a_word(
            own in prop::collection::btree_map(0..3i32, (0..20i64, any::<bool>()), 0..4),
            others in prop::collection::btree_map(0..3i32, (0..20i64, any::<bool>()), 0..4),
            logs in prop::collection::btree_map(0..3i32, (0..10i64, 0..10i64), 0..4),
            reset in any_reset(),
            fallback in prop_oneof![
                Just(None),
                Just(Some(Fallback::Earliest)),
                Just(Some(Fallback::Latest)),
            ],
            (newer, positioned) in any::<(bool, bool)>(),
            pending in prop::collection::btree_set(0..3i32, 0..3),
        ) {
            let marks: Marks = logs.iter().map(|(p, (low, len))| (*p, (*low, low + len))).collect();
            let waits: BTreeSet<i32> = (0..3).filter(|p| !marks.contains_key(p)).collect();
            let stored = own.iter().map(|(p, (next, same))| {
                (*p, stored(*next, if *same { "now" } else { "before" }))
            });
            let stands = others.iter().map(|(p, (next, newer))| {
                (*p, Stand { job_id: 2, job: "other".to_owned(), newer: *newer, next: *next })
            });
            let inherited = Inherited { job: "other".to_owned(), newer, stands: stands.collect() };
            let beginning = Beginning::of(Facts {
                reset: reset.as_ref(),
                fallback,
                inherited: (!inherited.stands.is_empty()).then_some(inherited),
                positioned,
                pending,
                ..facts(stored.collect())
            });
            if beginning.check_identity().is_err() {
                return Ok(());
            }
            let Ok(decision) = beginning.decide(&marks, &BTreeMap::new(), &waits) else {
                return Ok(());
            };
            prop_assert_eq!(decision.positions.keys().collect::<Vec<_>>(), marks.keys().collect::<Vec<_>>());
            for (partition, position) in &decision.positions {
                let (low, high) = marks[partition];
                prop_assert!((low..=high).contains(position));
                if beginning.facts.reset_of(*partition).is_some() || beginning.foreign.contains_key(partition) {
                    continue;
                }
                let Some((known, _)) = beginning.stand(*partition) else {
                    prop_assert_eq!(*position, low);
                    continue;
                };
                let told = |lost: &&Lost| lost.partition == *partition;
                let told = decision.lost.iter().find(told);
                prop_assert_eq!(told.is_none(), *position == known, "{:?}", told);
                if let Some(lost) = told && *position > known {
                    prop_assert_eq!((lost.begin_offset, lost.end_offset), (known, *position));
                }
            }
            // What is told to the catalog is a part of what was decided, and what waits.
            for (partition, next) in &decision.changed {
                prop_assert!(decision.positions.get(partition).is_none_or(|position| position == next));
                prop_assert!(marks.contains_key(partition) || waits.contains(partition));
            }
        }
    }
}
