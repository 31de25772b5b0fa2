//! What a client asks the brokers; a queue takes the answers.

use super::client::Client;
use super::queue::Queue;
use super::raw::millis;
use rdkafka::bindings as rd;
use std::ffi::CStr;
use std::ptr;
use std::time::Duration;

/// Longest timeout that librdkafka takes for a question (rdkafka_admin.c), in milliseconds.
const MAX_REQUEST_MS: u128 = 3_600_000;

impl Queue {
    /// Asks for the topic's id and partitions; the answer comes to this queue as [`Answer::Topic`].
    pub fn describe_topic(&self, topic: &CStr, timeout: Duration) {
        let options = Options::new(
            &self.client,
            rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            timeout,
        );
        let mut names = [topic.as_ptr()];
        // SAFETY: the collection copies the name and is copied by the request.
        unsafe {
            let topics =
                rd::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
            self.expect(timeout);
            rd::rd_kafka_DescribeTopics(self.client.rk, topics, options.0, self.queue.as_ptr());
            rd::rd_kafka_TopicCollection_destroy(topics);
        }
    }

    /// Asks for the cluster's id; the answer comes to this queue as [`Answer::ClusterId`].
    pub fn describe_cluster(&self, timeout: Duration) {
        let options = Options::new(
            &self.client,
            rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER,
            timeout,
        );
        self.expect(timeout);
        // SAFETY: the options are copied by the request.
        unsafe { rd::rd_kafka_DescribeCluster(self.client.rk, options.0, self.queue.as_ptr()) }
    }

    /// Asks for offsets; the answer comes to this queue as [`Answer::Offsets`].
    ///
    /// `what` is a time in milliseconds, [`EARLIEST`] or [`LATEST`]. With `committed`, the latest
    /// offset is the last stable one.
    pub fn list_offsets(
        &self,
        topic: &CStr,
        partitions: &[i32],
        what: i64,
        committed: bool,
        timeout: Duration,
    ) {
        let options = Options::new(
            &self.client,
            rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS,
            timeout,
        );
        let list = Positions::new(topic, partitions.iter().map(|p| (*p, what)));
        let level = if committed {
            rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED
        } else {
            rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED
        };
        // SAFETY: options and list are copied by the request; setting a level never fails.
        unsafe {
            rd::rd_kafka_AdminOptions_set_isolation_level(options.0, level);
            rd::rd_kafka_ListOffsets(self.client.rk, list.0, options.0, self.queue.as_ptr());
        }
    }

    /// Sends offsets to a consumer group; the answer comes to this queue as [`Answer::Committed`].
    ///
    /// An admin request, because a client with a group.id of its own looks for the coordinator all
    /// the time and does not end before each commit has been answered or has timed out.
    pub fn commit(&self, group: &CStr, topic: &CStr, offsets: &[(i32, i64)], timeout: Duration) {
        let options = Options::new(
            &self.client,
            rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS,
            timeout,
        );
        let list = Positions::new(topic, offsets.iter().copied());
        // SAFETY: the request copies group and list and is copied itself.
        unsafe {
            let mut request = rd::rd_kafka_AlterConsumerGroupOffsets_new(group.as_ptr(), list.0);
            rd::rd_kafka_AlterConsumerGroupOffsets(
                self.client.rk,
                &mut request,
                1,
                options.0,
                self.queue.as_ptr(),
            );
            rd::rd_kafka_AlterConsumerGroupOffsets_destroy(request);
        }
    }
}

/// For [`Queue::list_offsets`]: a partition's first offset (rdkafka.h, OffsetSpec).
pub const EARLIEST: i64 = -2;
/// For [`Queue::list_offsets`]: a partition's end.
pub const LATEST: i64 = -1;

struct Options(*mut rd::rd_kafka_AdminOptions_t);

impl Options {
    fn new(client: &Client, of: rd::rd_kafka_admin_op_t, timeout: Duration) -> Options {
        let ms = millis(Duration::from_millis(timeout.as_millis().min(MAX_REQUEST_MS) as u64));
        // SAFETY: a timeout within the range is always taken.
        unsafe {
            let options = rd::rd_kafka_AdminOptions_new(client.rk, of);
            rd::rd_kafka_AdminOptions_set_request_timeout(options, ms, ptr::null_mut(), 0);
            Options(options)
        }
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: ours; requests hold copies.
        unsafe { rd::rd_kafka_AdminOptions_destroy(self.0) }
    }
}

/// Partitions of one topic with an offset each.
struct Positions(*mut rd::rd_kafka_topic_partition_list_t);

impl Positions {
    fn new(topic: &CStr, positions: impl Iterator<Item = (i32, i64)>) -> Positions {
        // SAFETY: add copies the name and returns the new element, valid until the next add.
        unsafe {
            let list = rd::rd_kafka_topic_partition_list_new(0);
            for (partition, offset) in positions {
                let element =
                    rd::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), partition);
                (*element).offset = offset;
            }
            Positions(list)
        }
    }
}

impl Drop for Positions {
    fn drop(&mut self) {
        // SAFETY: ours; librdkafka copies lists.
        unsafe { rd::rd_kafka_topic_partition_list_destroy(self.0) }
    }
}
