//! Events: logs, errors and the answers to questions.

use super::raw::{code, elements, error_code, event_error, fault, text};
use crate::fault::Fault;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rdkafka::bindings as rd;
use rdkafka::types::RDKafkaRespErr;
use std::collections::BTreeMap;
use std::ptr;

/// Offsets by partition; -1 means that there is none for the time asked for.
pub type PartitionOffsets = Vec<(i32, Result<i64, Fault>)>;

/// A topic as a broker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFound {
    /// As Kafka's tools show it; a topic that is recreated has another. None: brokers before 2.8.
    pub id: Option<String>,
    /// In their order.
    pub partitions: Vec<i32>,
    /// The broker that leads each partition; one without a leader can be neither read nor asked.
    pub leaders: BTreeMap<i32, i32>,
}

impl TopicFound {
    pub fn has_leader(&self, partition: i32) -> bool {
        self.leaders.contains_key(&partition)
    }
}

/// An event from a queue.
#[derive(Debug)]
pub enum Answer {
    /// A log line; the level is one of syslog(3).
    Log {
        level: i32,
        /// librdkafka's name for what it tells of.
        facility: String,
        text: String,
    },
    /// An error of the client as a whole.
    Error(Fault),
    Committed(Result<(), Fault>),
    Topic(Result<TopicFound, Fault>),
    ClusterId(Result<Option<String>, Fault>),
    Offsets(Result<PartitionOffsets, Fault>),
    Other,
}

/// An event that is ours to destroy.
pub(super) struct Happening(pub(super) *mut rd::rd_kafka_event_t);

impl Happening {
    pub(super) fn read(&self) -> Answer {
        // SAFETY: the event lives; everything read from it is copied before it is destroyed.
        unsafe {
            let event = self.0;
            match rd::rd_kafka_event_type(event) {
                rd::RD_KAFKA_EVENT_LOG => self.log(),
                rd::RD_KAFKA_EVENT_ERROR => Answer::Error(Fault {
                    code: code(event_error(event)),
                    text: text(rd::rd_kafka_event_error_string(event)),
                }),
                rd::RD_KAFKA_EVENT_ALTERCONSUMERGROUPOFFSETS_RESULT => {
                    Answer::Committed(self.result().and_then(|()| self.committed()))
                }
                rd::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT => {
                    Answer::Topic(self.result().and_then(|()| self.topic()))
                }
                rd::RD_KAFKA_EVENT_DESCRIBECLUSTER_RESULT => {
                    Answer::ClusterId(self.result().map(|()| self.cluster_id()))
                }
                rd::RD_KAFKA_EVENT_LISTOFFSETS_RESULT => {
                    Answer::Offsets(self.result().map(|()| self.offsets()))
                }
                _ => Answer::Other,
            }
        }
    }

    fn result(&self) -> Result<(), Fault> {
        // SAFETY: the event lives.
        match unsafe { event_error(self.0) } {
            0 => Ok(()),
            raw => {
                // SAFETY: as above.
                let text = unsafe { text(rd::rd_kafka_event_error_string(self.0)) };
                Err(Fault { code: code(raw), text })
            }
        }
    }

    fn log(&self) -> Answer {
        let (mut facility, mut line, mut level) = (ptr::null(), ptr::null(), 0);
        // SAFETY: called for a log event only; the strings live as long as it.
        unsafe {
            rd::rd_kafka_event_log(self.0, &mut facility, &mut line, &mut level);
            Answer::Log { level, facility: text(facility), text: text(line) }
        }
    }

    fn topic(&self) -> Result<TopicFound, Fault> {
        let mut count = 0;
        // SAFETY: called for this result only; all arrays belong to the event, which lives.
        unsafe {
            let result = rd::rd_kafka_event_DescribeTopics_result(self.0);
            let topics = rd::rd_kafka_DescribeTopics_result_topics(result, &mut count);
            let Some(&topic) = elements(topics, count).first() else {
                return Err(fault(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART as i32));
            };
            match error_code(rd::rd_kafka_TopicDescription_error(topic)) {
                0 => {}
                raw => return Err(fault(raw)),
            }
            let partitions = rd::rd_kafka_TopicDescription_partitions(topic, &mut count);
            let described = elements(partitions, count);
            let mut partitions = vec![];
            let mut leaders = BTreeMap::new();
            for &of in described {
                let partition = rd::rd_kafka_TopicPartitionInfo_partition(of);
                partitions.push(partition);
                let leader = rd::rd_kafka_TopicPartitionInfo_leader(of);
                if !leader.is_null() {
                    leaders.insert(partition, rd::rd_kafka_Node_id(leader));
                }
            }
            partitions.sort_unstable();
            let id = rd::rd_kafka_TopicDescription_topic_id(topic);
            let halves = [
                rd::rd_kafka_Uuid_most_significant_bits(id),
                rd::rd_kafka_Uuid_least_significant_bits(id),
            ];
            let id = (halves != [0, 0]).then(|| {
                // Not librdkafka's own text: its alphabet is not that of Kafka's tools.
                BASE64_URL_SAFE_NO_PAD.encode(halves.map(i64::to_be_bytes).concat())
            });
            Ok(TopicFound { id, partitions, leaders })
        }
    }

    fn committed(&self) -> Result<(), Fault> {
        let mut count = 0;
        // SAFETY: called for this result only; group and list belong to the event, which lives. The
        // code is read as the number it is: see `event_error`.
        unsafe {
            let result = rd::rd_kafka_event_AlterConsumerGroupOffsets_result(self.0);
            let groups = rd::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &mut count);
            for &group in elements(groups, count) {
                match error_code(rd::rd_kafka_group_result_error(group)) {
                    0 => {}
                    raw => return Err(fault(raw)),
                }
                let Some(list) = rd::rd_kafka_group_result_partitions(group).as_ref() else {
                    continue;
                };
                for at in elements(list.elems, usize::try_from(list.cnt).unwrap_or(0)) {
                    match ptr::addr_of!(at.err).cast::<i32>().read() {
                        0 => {}
                        raw => return Err(fault(raw)),
                    }
                }
            }
        }
        Ok(())
    }

    fn cluster_id(&self) -> Option<String> {
        // SAFETY: called for this result only; the string belongs to the event, which lives.
        let id = unsafe {
            let result = rd::rd_kafka_event_DescribeCluster_result(self.0);
            text(rd::rd_kafka_DescribeCluster_result_cluster_id(result))
        };
        (!id.is_empty()).then_some(id)
    }

    fn offsets(&self) -> PartitionOffsets {
        let mut count = 0;
        // SAFETY: called for this result only; the infos belong to the event, which lives. The code
        // is read as the number it is: see `event_error`.
        unsafe {
            let result = rd::rd_kafka_event_ListOffsets_result(self.0);
            let infos = rd::rd_kafka_ListOffsets_result_infos(result, &mut count);
            let read = |info: &*const rd::rd_kafka_ListOffsetsResultInfo_t| {
                let at = rd::rd_kafka_ListOffsetsResultInfo_topic_partition(*info);
                let offset = match ptr::addr_of!((*at).err).cast::<i32>().read() {
                    0 => Ok((*at).offset),
                    raw => Err(fault(raw)),
                };
                ((*at).partition, offset)
            };
            elements(infos, count).iter().map(read).collect()
        }
    }
}

impl Drop for Happening {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { rd::rd_kafka_event_destroy(self.0) }
    }
}
