//! A consumer that reads partitions from given offsets, in batches. Offsets are the caller's: it is
//! told them, never asked, and nothing is stored unless [`Consumer::commit_group_offsets`] is called.

use super::detached_drop::Aside;
use super::fault::Fault;
use super::native::{
    Answer, Client, LATEST, Message, Messages, MetadataAnswers, Queue, Taken, Topic, Waker,
};
use super::notices::{Notice, Notices};
use super::properties::Properties;
use gpss_model::error::{Error, Result, SqlState};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::cell::RefCell;
use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest wait of the main thread inside librdkafka: its waits do not end by a signal.
pub(super) const SLICE: Duration = Duration::from_millis(100);

/// Events of the main queue served in one go.
const EVENTS: usize = 1000;

/// How long a broker has to answer whether it is back.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long leaders have to tell the ends of their partitions.
const ENDS_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a group commit may take; the next one carries newer offsets anyway.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a poll hands out.
pub enum Event<'a> {
    Message(Message<'a>),
    /// The end of a partition was reached: everything below `offset` has been handed out or is not
    /// for us (transaction markers, aborted messages).
    Eof {
        partition: i32,
        offset: i64,
    },
    /// The partition is not read any further, except for [`PartitionFault::Other`], after which
    /// librdkafka tries again. A partition of -1 is the whole topic.
    PartitionError {
        partition: i32,
        fault: PartitionFault,
        text: String,
    },
}

/// Why a partition cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionFault {
    /// The wanted offset is not on the broker: removed by retention, or not written yet.
    OffsetOutOfRange,
    UnknownTopicOrPartition,
    Authorization,
    Other,
}

impl PartitionFault {
    fn of(code: Code) -> PartitionFault {
        match code {
            // auto.offset.reset is "error": librdkafka says this instead of jumping.
            Code::AutoOffsetReset | Code::OffsetOutOfRange => PartitionFault::OffsetOutOfRange,
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                PartitionFault::UnknownTopicOrPartition
            }
            Code::TopicAuthorizationFailed => PartitionFault::Authorization,
            _ => PartitionFault::Other,
        }
    }
}

/// A Kafka consumer. Not for two threads at once, but it may be moved to another one.
///
/// Dropping it closes it, waiting for at most two seconds.
pub struct Consumer {
    pub(super) brokers: String,
    /// Whether messages of open and aborted transactions are left out.
    pub(super) reads_committed: bool,
    group: Option<CString>,
    pub(super) properties: Properties,
    answers: Option<MetadataAnswers>,
    /// Group commits that have not been answered.
    commits: RefCell<usize>,
    pub(super) notices: RefCell<Notices>,
    pub(super) session: Aside<Session>,
}

/// What lives in librdkafka, in the order in which it has to end.
pub(super) struct Session {
    topic: Option<Topic>,
    messages: Messages,
    /// The question to the brokers whether one of them is back, during an outage.
    probe: Option<Queue>,
    /// A question for the ends of partitions that nobody waits for.
    ends: Option<Queue>,
    main: Queue,
    pub(super) client: Arc<Client>,
}

impl Consumer {
    /// Makes a consumer; connects in the background and waits for nothing.
    ///
    /// # Errors
    /// When librdkafka refuses the properties together, or cannot read a file they name.
    pub fn open(properties: &Properties) -> Result<Consumer> {
        Consumer::with(properties, None)
    }

    /// As `open`, and counts the brokers' answers to questions for metadata. For a process that does
    /// not go on when this fails: see [`Client::new`].
    ///
    /// # Errors
    /// As `open`.
    pub fn open_counting(properties: &Properties, answers: &MetadataAnswers) -> Result<Consumer> {
        Consumer::with(properties, Some(answers.clone()))
    }

    fn with(properties: &Properties, answers: Option<MetadataAnswers>) -> Result<Consumer> {
        let failed = |reason: String| {
            Error::new(
                SqlState::FDW_UNABLE_TO_ESTABLISH_CONNECTION,
                "cannot make a Kafka consumer with these properties",
            )
            .detail(format!("{}.", reason.trim_end_matches('.')))
        };
        // librdkafka (2.12.1) has a thread ask for a token before it reads the properties of TLS. When these
        // are no good, it destroys that thread's queue twice and aborts the process (rdkafka.c,
        // `rd_kafka_new`: assert in rd_kafka_q_destroy0). So they are read by another client first.
        if let Some(conf) = properties.conf_of_tls_alone()? {
            drop(Client::new(conf, None).map_err(failed)?);
        }
        let client = Client::new(properties.conf()?, answers.clone()).map_err(failed)?;
        Ok(Consumer {
            brokers: properties.brokers().to_owned(),
            reads_committed: properties.reads_committed(),
            group: properties.group().and_then(|group| CString::new(group).ok()),
            properties: properties.clone(),
            answers,
            commits: RefCell::new(0),
            notices: RefCell::new(Notices::new(properties.log_level())),
            session: Aside::new(Session {
                topic: None,
                messages: Messages::default(),
                probe: None,
                ends: None,
                main: Queue::main(&client),
                client,
            }),
        })
    }

    /// Reads these partitions of a topic from these offsets on, and nothing else.
    pub fn assign(&mut self, topic: &str, positions: &[(i32, i64)]) -> Result<()> {
        self.session.topic = None;
        self.add(topic, positions)
    }

    /// Reads further partitions of the topic; the others go on. A partition that is read already
    /// starts anew at the offset given.
    pub fn add(&mut self, topic: &str, positions: &[(i32, i64)]) -> Result<()> {
        let failed = |fault: Fault, brokers: &str| {
            fault.error(&format!("cannot read Kafka topic \"{topic}\""), brokers)
        };
        let name = topic_name(topic)?;
        let session = &mut *self.session;
        let topic = match session.topic.take().filter(|t| t.name() == name.as_c_str()) {
            Some(topic) => topic,
            None => Topic::new(&session.client, name).map_err(|f| failed(f, &self.brokers))?,
        };
        let topic = session.topic.insert(topic);
        for (partition, offset) in positions {
            topic.start(*partition, *offset).map_err(|f| failed(f, &self.brokers))?;
        }
        Ok(())
    }

    /// Reads on with a new client, these partitions of the topic from these offsets; what the old one
    /// has fetched is dropped. An outage that it knew of goes on. Wakers have to be asked for anew.
    pub fn renew(&mut self, topic: &str, positions: &[(i32, i64)]) -> Result<()> {
        let fresh = Consumer::with(&self.properties, self.answers.clone())?;
        let old = std::mem::replace(&mut self.session, fresh.session);
        *self.commits.get_mut() = 0;
        old.close(Duration::ZERO);
        self.assign(topic, positions)
    }

    /// Hands out what has arrived, `max` events at most; their number.
    ///
    /// Waits, when nothing has arrived, for `timeout` or until it is woken ([`Consumer::waker`]). A
    /// lost connection is no error here, because librdkafka mends it: see [`Consumer::trouble`].
    ///
    /// # Errors
    /// When nothing is assigned.
    pub fn poll(
        &mut self,
        max: usize,
        timeout: Duration,
        each: &mut dyn FnMut(Event<'_>),
    ) -> Result<usize> {
        self.serve();
        self.probe();
        let Session { topic: Some(topic), messages, .. } = &mut *self.session else {
            return Err(Error::new(
                SqlState::NOT_IN_PREREQUISITE_STATE,
                "the Kafka consumer has no partitions assigned",
            ));
        };
        let mut answered = false;
        let mut hand_out = |taken: Taken<'_>| {
            let event = event(taken);
            answered |= !matches!(event, Event::PartitionError { .. });
            each(event);
        };
        let queue = topic.queue();
        let mut count = queue.take(messages, max, Duration::ZERO, &mut hand_out);
        if count == 0 && max > 0 {
            // librdkafka would wait for all of `max`: wait for one, then take what came with it.
            count = queue.take(messages, 1, timeout, &mut hand_out);
            if count > 0 && max > 1 {
                count += queue.take(messages, max - 1, Duration::ZERO, &mut hand_out);
            }
        }
        if answered {
            self.notices.get_mut().read();
        }
        Ok(count)
    }

    /// What ends a wait in [`Consumer::poll`]. None when nothing is assigned.
    pub fn waker(&self) -> Option<Waker> {
        self.session.topic.as_ref().map(|topic| topic.queue().waker())
    }

    /// Has the user named a consumer group?
    pub fn has_group(&self) -> bool {
        self.group.is_some()
    }

    /// Tells the consumer group of the offsets, for display by Kafka's tools; does not wait.
    /// Does nothing when the user has not given a group.id. A failure becomes a notice.
    ///
    /// The offsets are the next ones to read.
    pub fn commit_group_offsets(&self, topic: &str, offsets: &[(i32, i64)]) -> Result<()> {
        if let Some(group) = self.group.as_ref().filter(|_| !offsets.is_empty()) {
            self.session.main.commit(group, &topic_name(topic)?, offsets, COMMIT_TIMEOUT);
            *self.commits.borrow_mut() += 1;
        }
        Ok(())
    }

    /// The partition's high watermark as of the latest fetch; None before the first one. It counts
    /// messages of open transactions, which are not handed out yet. No network.
    pub fn high_watermark(&self, topic: &str, partition: i32) -> Option<i64> {
        self.session.client.high_watermark(&topic_name(topic).ok()?, partition)
    }

    /// Asks for the ends of partitions, all of which have a leader, and does not wait.
    pub fn ask_for_ends(&mut self, topic: &str, partitions: &[i32]) -> Result<()> {
        let name = topic_name(topic)?;
        let committed = self.reads_committed;
        let session = &mut *self.session;
        let queue = session.ends.insert(Queue::new(&session.client));
        queue.list_offsets(&name, partitions, LATEST, committed, ENDS_TIMEOUT);
        Ok(())
    }

    /// What [`Consumer::ask_for_ends`] has asked for, as far as leaders have told; None as long as there
    /// is no answer.
    pub fn take_ends(&mut self) -> Option<Vec<(i32, i64)>> {
        let answer = self.session.ends.as_ref()?.poll(Duration::ZERO)?;
        self.session.ends = None;
        let Answer::Offsets(ends) = answer else { return None };
        Some(ends.ok()?.into_iter().filter_map(|(p, end)| Some((p, end.ok()?))).collect())
    }

    /// Why no broker can be used at present; None while messages can be read. Known only as long
    /// as the consumer is polled.
    pub fn trouble(&self) -> Option<Error> {
        self.notices.borrow().trouble(&self.brokers)
    }

    /// What librdkafka has logged since the last call, oldest first.
    pub fn take_notices(&self) -> Vec<Notice> {
        self.serve();
        self.notices.borrow_mut().take()
    }

    /// Ends the consumer, whatever the brokers do; false when librdkafka needs longer than
    /// `deadline` and goes on in a thread that is left behind.
    ///
    /// Group commits that are under way have half of the time, unless the brokers are away.
    pub fn close(self, deadline: Duration) -> bool {
        let start = Instant::now();
        while *self.commits.borrow() > 0
            && self.trouble().is_none()
            && start.elapsed() < deadline / 2
        {
            self.serve_within(SLICE.min(deadline / 2));
        }
        self.session.close(deadline.saturating_sub(start.elapsed()))
    }

    /// Takes the events of the main queue, without waiting.
    pub(super) fn serve(&self) {
        self.serve_within(Duration::ZERO);
    }

    fn serve_within(&self, mut timeout: Duration) {
        for _ in 0..EVENTS {
            let Some(answer) = self.session.main.poll(timeout) else { return };
            timeout = Duration::ZERO;
            let mut notices = self.notices.borrow_mut();
            match answer {
                Answer::Log { level, facility, text } => notices.log(level, &facility, text),
                Answer::Error(fault) => notices.error(fault),
                Answer::Committed(result) => {
                    *self.commits.borrow_mut() -= 1;
                    if let Err(fault) = result {
                        let what = "could not commit offsets to the consumer group";
                        notices.warn(format!("{what}: {}", fault.text));
                    }
                }
                _ => {}
            }
        }
    }

    /// During an outage, asks whether a broker is back: librdkafka says when the last one went, but
    /// not when one has returned, and an idle topic has no message that would show it.
    fn probe(&mut self) {
        let notices = self.notices.get_mut();
        let session = &mut *self.session;
        if notices.outage().is_none() {
            session.probe = None;
            return;
        }
        match &session.probe {
            None => {
                let queue = Queue::new(&session.client);
                queue.describe_cluster(PROBE_TIMEOUT);
                session.probe = Some(queue);
            }
            Some(queue) => {
                if let Some(answer) = queue.poll(Duration::ZERO) {
                    session.probe = None;
                    if matches!(answer, Answer::ClusterId(Ok(_))) {
                        notices.connected();
                    }
                }
            }
        }
    }
}

fn event(taken: Taken<'_>) -> Event<'_> {
    match taken {
        Taken::Message(record) => Event::Message(record),
        Taken::Fault { partition, offset, fault } if fault.code == Code::PartitionEOF => {
            Event::Eof { partition, offset }
        }
        Taken::Fault { partition, fault, .. } => Event::PartitionError {
            partition,
            fault: PartitionFault::of(fault.code),
            text: fault.text,
        },
    }
}

pub(super) fn topic_name(topic: &str) -> Result<CString> {
    CString::new(topic).map_err(|_| {
        Error::new(SqlState::UNDEFINED_OBJECT, "a Kafka topic's name cannot contain a zero byte")
    })
}
