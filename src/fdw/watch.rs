//! Watches the topic that a job reads: is it still the one that the job's offsets belong to, and how
//! many partitions has it, and which of them have a leader?

use gpss_kafka::{Consumer, MetadataAnswers, TopicFound};
use gpss_model::error::{Error, Result, SqlState};
use std::time::{Duration, Instant};

/// How often the topic is looked at without any reason.
const INTERVAL: Duration = Duration::from_secs(10);
/// Retry delay after a metadata request without an answer.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a topic has to be missing before it is taken for deleted: brokers that have just started
/// may not know it yet.
pub const CONFIRMED: Duration = Duration::from_secs(5);
/// How soon again while a partition has no leader.
const LEADERLESS: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(5);
/// After this many unanswered metadata requests in a row (about 45 s), the client is replaced.
/// librdkafka (2.12, its issue 5301) removes all brokers, the configured ones too, when one that is
/// about to stop or has just started answers with an empty list; then it has nobody to ask, for ever.
const UNANSWERED: u32 = 8;

/// A message is of the watched topic if it was taken while the watch [is sure](Watch::is_sure):
/// since the last look no broker has told the client anything that could have led it to another
/// topic of the same name. Or if a look that began after it was taken finds the topic.
pub struct Watch {
    topic: String,
    found: TopicFound,
    answers: MetadataAnswers,
    /// The answers until the last look, with its own.
    seen: u64,
    /// A partition has been reported as unknown since.
    doubted: bool,
    /// The last look has told nothing.
    in_vain: bool,
    /// Looks since a broker was last heard of.
    unanswered: u32,
    due: Instant,
    missing_since: Option<Instant>,
}

impl Watch {
    /// `answers`: those to the consumer that reads the topic.
    pub fn new(topic: &str, found: TopicFound, answers: MetadataAnswers) -> Watch {
        Watch {
            topic: topic.to_owned(),
            due: Instant::now() + interval(&found),
            found,
            answers,
            seen: 0,
            doubted: false,
            in_vain: false,
            unanswered: 0,
            missing_since: None,
        }
    }

    /// Costs an atomic load. Brokers without ids never make a topic doubtful.
    pub fn is_sure(&self) -> bool {
        !self.doubted && (self.found.id.is_none() || self.answers.count() <= self.seen)
    }

    /// Not sure before the next look.
    pub fn doubt(&mut self) {
        self.doubted = true;
    }

    pub fn is_due(&self) -> bool {
        Instant::now() >= self.due || (!self.in_vain && !self.is_sure())
    }

    /// A broker has been heard of.
    pub fn is_answered(&mut self) {
        self.unanswered = 0;
    }

    /// Has no broker answered the client for so long that another client should try? Counts anew then.
    pub fn is_given_up(&mut self) -> bool {
        let given_up = self.unanswered >= UNANSWERED;
        if given_up {
            self.unanswered = 0;
        }
        given_up
    }

    /// Has the last look found the topic?
    pub fn has_found(&self) -> bool {
        !self.in_vain
    }

    /// Had the partition a leader then?
    pub fn has_leader(&self, partition: i32) -> bool {
        self.found.has_leader(partition)
    }

    /// Asks the brokers; the topic as it is now, when its partitions are others than before, or others
    /// have a leader.
    ///
    /// # Errors
    /// The topic has been recreated, or is gone for good.
    pub fn look(
        &mut self,
        consumer: &Consumer,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<TopicFound>> {
        let before = self.answers.count();
        let found = match consumer.describe(&self.topic, TIMEOUT, cancelled) {
            Ok(found) => found,
            Err(error) => {
                self.in_vain = true;
                self.due = Instant::now() + AGAIN;
                // An unreachable broker is reported by the consumer itself.
                if error.sqlstate == SqlState::UNDEFINED_OBJECT {
                    self.unanswered = 0;
                    return self.missing();
                }
                self.unanswered += 1;
                return Ok(None);
            }
        };
        if let (Some(expected), Some(id)) = (&self.found.id, &found.id)
            && expected != id
        {
            return Err(recreated(&self.topic));
        }
        // The answer to this question has been counted too.
        self.seen = before + 1;
        self.doubted = false;
        self.in_vain = false;
        self.unanswered = 0;
        self.missing_since = None;
        self.due = Instant::now() + interval(&found);
        let same = found.partitions == self.found.partitions
            && found.leaders.keys().eq(self.found.leaders.keys());
        self.found.partitions.clone_from(&found.partitions);
        self.found.leaders.clone_from(&found.leaders);
        Ok((!same).then_some(found))
    }

    fn missing(&mut self) -> Result<Option<TopicFound>> {
        self.doubted = true;
        let since = *self.missing_since.get_or_insert_with(Instant::now);
        if since.elapsed() < CONFIRMED {
            return Ok(None);
        }
        Err(Error::new(
            SqlState::UNDEFINED_OBJECT,
            format!("Kafka topic \"{}\" has been deleted", self.topic),
        )
        .hint(
            "Once there is such a topic again, start the job with reset => 'earliest': the offsets \
             of the deleted one mean nothing in it.",
        ))
    }
}

fn interval(found: &TopicFound) -> Duration {
    let led = found.partitions.iter().all(|partition| found.has_leader(*partition));
    if led { INTERVAL } else { LEADERLESS }
}

/// Ends the session; the next one decides by the fallback where to go on, or that the job ends.
fn recreated(topic: &str) -> Error {
    Error::new(
        SqlState::CONNECTION_FAILURE,
        format!("Kafka topic \"{topic}\" was deleted and recreated"),
    )
}
