//! A client, and what it can ask the brokers.

use super::conf::Conf;
use super::metadata_answers::MetadataAnswers;
use super::queue::{Queue, Unanswered};
use super::raw::{REASON_BYTES, code, elements, metadata, millis, text};
use super::signals::SignalsBlocked;
use crate::fault::Fault;
use rdkafka::bindings as rd;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// Longest timeout that librdkafka takes for a question (rdkafka_admin.c), in milliseconds.
const MAX_REQUEST_MS: u128 = 3_600_000;

/// A librdkafka client. Queues and topics share it; the last one to go destroys it.
pub struct Client {
    pub(super) rk: *mut rd::rd_kafka_t,
    /// Where `on_error` puts what it is told; librdkafka has its address.
    faults: Arc<Mutex<Vec<Fault>>>,
    /// The same: only kept.
    _metadata_answers: Option<MetadataAnswers>,
    unanswered: Mutex<Vec<Unanswered>>,
}

/// Faults kept until they are taken: one for each partition of a topic that is gone, and more.
const FAULTS: usize = 10_000;

static BEFORE_CLIENTS: OnceLock<fn()> = OnceLock::new();

/// From now on `prepare` is called before each client is made, on the thread that makes it: for what a
/// process with librdkafka's threads needs to have.
pub fn before_clients(prepare: fn()) {
    // The library is wired once.
    let _ = BEFORE_CLIENTS.set(prepare);
}

/// Takes the errors of a topic or a partition that librdkafka finds in metadata. It puts them into
/// the partition's queue as errors of the client (rdkafka_partition.c, `rd_kafka_toppar_enq_error`),
/// which a batch of messages cannot hold: it calls this instead.
///
/// # Safety
/// For librdkafka only: `opaque` is the `faults` of a client that lives, `reason` a C string.
unsafe extern "C" fn on_error(
    _rk: *mut rd::rd_kafka_t,
    raw: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: by this function's contract.
    let (faults, text) = unsafe { (&*opaque.cast::<Mutex<Vec<Fault>>>(), text(reason)) };
    let mut faults = faults.lock().unwrap_or_else(PoisonError::into_inner);
    if faults.len() < FAULTS {
        faults.push(Fault { code: code(raw), text });
    }
}

// SAFETY: a rd_kafka_t may be used from any thread, and from several at once (rdkafka.h).
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

impl Client {
    /// Makes a consumer; no network wait. The error is librdkafka's reason.
    ///
    /// With `metadata_answers`, its answers are counted there; a failure then leaves the
    /// configuration behind, a few kilobytes.
    pub fn new(
        conf: Conf,
        metadata_answers: Option<MetadataAnswers>,
    ) -> Result<Arc<Client>, String> {
        if let Some(prepare) = BEFORE_CLIENTS.get() {
            prepare();
        }
        let mut reason: [c_char; REASON_BYTES] = [0; REASON_BYTES];
        let faults = Arc::<Mutex<Vec<Fault>>>::default();
        // SAFETY: on success librdkafka owns the configuration, on failure it stays ours. Faults and
        // counter keep their addresses and are dropped after librdkafka's client (`Client::drop`).
        let rk = unsafe {
            rd::rd_kafka_conf_set_events(conf.0, rd::RD_KAFKA_EVENT_ERROR);
            rd::rd_kafka_conf_set_error_cb(conf.0, Some(on_error));
            rd::rd_kafka_conf_set_opaque(conf.0, Arc::as_ptr(&faults).cast_mut().cast());
            if let Some(answers) = &metadata_answers {
                answers.count_those_of(conf.0);
            }
            rd::rd_kafka_new(
                rd::rd_kafka_type_t::RD_KAFKA_CONSUMER,
                conf.0,
                reason.as_mut_ptr(),
                reason.len(),
            )
        };
        if rk.is_null() {
            if metadata_answers.is_some() {
                // librdkafka has destroyed the interceptors, which the configuration still names
                // (rdkafka.c, `rd_kafka_new`): destroying it would free them twice.
                std::mem::forget(conf);
            }
            // SAFETY: librdkafka terminates the text within the buffer.
            return Err(unsafe { text(reason.as_ptr()) });
        }
        std::mem::forget(conf);
        let client = Arc::new(Client {
            rk,
            faults,
            _metadata_answers: metadata_answers,
            unanswered: Mutex::default(),
        });
        let main = Queue::main(&client);
        // SAFETY: both live; logs are forwarded to the main queue (property log.queue).
        unsafe { rd::rd_kafka_set_log_queue(rk, main.queue.as_ptr()) };
        Ok(client)
    }

    pub(super) fn take_faults(&self) -> Vec<Fault> {
        std::mem::take(&mut *self.faults.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The partition's high watermark of the latest fetch response; None before the first one.
    pub fn high_watermark(&self, topic: &CStr, partition: i32) -> Option<i64> {
        let (mut low, mut high) = (-1, -1);
        // SAFETY: reads the cached values; no network.
        unsafe {
            rd::rd_kafka_get_watermark_offsets(
                self.rk,
                topic.as_ptr(),
                partition,
                &mut low,
                &mut high,
            )
        };
        (high >= 0).then_some(high)
    }

    /// The names of all topics that the brokers show; None when they do not answer within the time.
    /// Waits for them.
    pub fn topic_names(&self, timeout: Duration) -> Option<Vec<String>> {
        let mut list: *const rd::rd_kafka_metadata = ptr::null();
        // SAFETY: on success the list is ours until it is given back; the names are copied before.
        unsafe {
            let all = 1;
            let result = metadata(self.rk, all, ptr::null_mut(), &mut list, millis(timeout));
            let answer = list.as_ref().filter(|_| result == 0)?;
            let topics = elements(answer.topics, usize::try_from(answer.topic_cnt).unwrap_or(0));
            let names = topics.iter().map(|topic| text(topic.topic)).collect();
            rd::rd_kafka_metadata_destroy(list);
            Some(names)
        }
    }

    /// Asks for the topic's id and partitions; the answer comes to `queue` as [`Answer::Topic`].
    pub fn describe_topic(&self, topic: &CStr, timeout: Duration, queue: &Queue) {
        let options =
            Options::new(self, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout);
        let mut names = [topic.as_ptr()];
        // SAFETY: the collection copies the name and is copied by the request.
        unsafe {
            let topics =
                rd::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
            queue.expect(timeout);
            rd::rd_kafka_DescribeTopics(self.rk, topics, options.0, queue.queue.as_ptr());
            rd::rd_kafka_TopicCollection_destroy(topics);
        }
    }

    /// Asks for the cluster's id; the answer comes to `queue` as [`Answer::ClusterId`].
    pub fn describe_cluster(&self, timeout: Duration, queue: &Queue) {
        let options =
            Options::new(self, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER, timeout);
        queue.expect(timeout);
        // SAFETY: the options are copied by the request.
        unsafe { rd::rd_kafka_DescribeCluster(self.rk, options.0, queue.queue.as_ptr()) }
    }

    /// Asks for offsets; the answer comes to `queue` as [`Answer::Offsets`].
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
        queue: &Queue,
    ) {
        let options =
            Options::new(self, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS, timeout);
        let list = Positions::new(topic, partitions.iter().map(|p| (*p, what)));
        let level = if committed {
            rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED
        } else {
            rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED
        };
        // SAFETY: options and list are copied by the request; setting a level never fails.
        unsafe {
            rd::rd_kafka_AdminOptions_set_isolation_level(options.0, level);
            rd::rd_kafka_ListOffsets(self.rk, list.0, options.0, queue.queue.as_ptr());
        }
    }

    /// Sends offsets to a consumer group; the answer comes to `queue` as [`Answer::Committed`].
    ///
    /// An admin request, because a client with a group.id of its own looks for the coordinator all
    /// the time and does not end before each commit has been answered or has timed out.
    pub fn commit(
        &self,
        group: &CStr,
        topic: &CStr,
        offsets: &[(i32, i64)],
        timeout: Duration,
        queue: &Queue,
    ) {
        let options = Options::new(
            self,
            rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS,
            timeout,
        );
        let list = Positions::new(topic, offsets.iter().copied());
        // SAFETY: the request copies group and list and is copied itself.
        unsafe {
            let mut request = rd::rd_kafka_AlterConsumerGroupOffsets_new(group.as_ptr(), list.0);
            rd::rd_kafka_AlterConsumerGroupOffsets(
                self.rk,
                &mut request,
                1,
                options.0,
                queue.queue.as_ptr(),
            );
            rd::rd_kafka_AlterConsumerGroupOffsets_destroy(request);
        }
    }

    /// The client will not be destroyed before the answer has come.
    pub(super) fn keep(&self, unanswered: Unanswered) {
        let mut kept = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|earlier| !earlier.is_answered(Duration::ZERO));
        kept.push(unanswered);
    }
}

impl Drop for Client {
    /// Leaves a client that has not been answered to a thread of its own.
    fn drop(&mut self) {
        let handle = Handle(self.rk);
        let unanswered = self.unanswered.get_mut().unwrap_or_else(PoisonError::into_inner);
        let unanswered = std::mem::take(unanswered);
        if unanswered.is_empty() {
            return handle.destroy();
        }
        // What librdkafka has the addresses of: it lives as long as the client, which without a thread, or
        // without an answer, is left behind rather than destroyed.
        let known = ManuallyDrop::new((Arc::clone(&self.faults), self._metadata_answers.clone()));
        let end = move || {
            if unanswered.into_iter().all(|one| one.wait()) {
                handle.destroy();
                drop(ManuallyDrop::into_inner(known));
            }
        };
        // PostgreSQL's signal handlers must run on its own thread only.
        let _blocked = SignalsBlocked::new();
        let _ = thread::Builder::new().name("gpss close".to_owned()).spawn(end);
    }
}

/// A client that is to be destroyed, once.
struct Handle(*mut rd::rd_kafka_t);

// SAFETY: a rd_kafka_t may be used from any thread (rdkafka.h).
unsafe impl Send for Handle {}

impl Handle {
    fn destroy(self) {
        // SAFETY: the last reference: queues and topics hold one of the `Client` each.
        unsafe { rd::rd_kafka_destroy(self.0) }
    }
}

/// For [`Client::list_offsets`]: a partition's first offset (rdkafka.h, OffsetSpec).
pub const EARLIEST: i64 = -2;
/// For [`Client::list_offsets`]: a partition's end.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn what_nobody_waits_for_any_more_is_waited_for_before_a_client_is_destroyed() {
        for asks in [true, false] {
            let mut conf = Conf::new();
            conf.set("bootstrap.servers", "127.0.0.1:1").unwrap();
            let client = Client::new(conf, None).unwrap();
            let queue = Queue::new(&client);
            let begun = Instant::now();
            if asks {
                // Nobody is there: the answer is that the time is over.
                client.describe_cluster(Duration::from_secs(2), &queue);
            }
            drop(queue);
            let unanswered = std::mem::take(&mut *client.unanswered.lock().unwrap());
            assert!(unanswered.iter().all(Unanswered::wait));
            let took = begun.elapsed();
            assert_eq!(took > Duration::from_millis(1500), asks, "{took:?}");
        }
    }

    #[test]
    fn a_client_that_was_not_answered_holds_nobody_up() {
        let mut conf = Conf::new();
        conf.set("bootstrap.servers", "127.0.0.1:1").unwrap();
        let client = Client::new(conf, None).unwrap();
        let queue = Queue::new(&client);
        client.describe_cluster(Duration::from_secs(30), &queue);
        let begun = Instant::now();
        drop(queue);
        drop(client);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn what_has_been_answered_is_not_kept() {
        let mut conf = Conf::new();
        conf.set("bootstrap.servers", "127.0.0.1:1").unwrap();
        let client = Client::new(conf, None).unwrap();
        for _ in 0..2 {
            let queue = Queue::new(&client);
            client.describe_cluster(Duration::from_millis(100), &queue);
            drop(queue);
            std::thread::sleep(Duration::from_secs(3));
        }
        assert_eq!(client.unanswered.lock().unwrap().len(), 1);
    }

    #[test]
    fn an_answer_is_waited_for_beyond_its_time_if_the_process_was_stopped() {
        let mut conf = Conf::new();
        conf.set("bootstrap.servers", "127.0.0.1:1").unwrap();
        let client = Client::new(conf, None).unwrap();
        let queue = Queue::new(&client);
        client.describe_cluster(Duration::from_secs(7), &queue);
        // As if those seconds had passed while nothing could run.
        queue.expect(Duration::ZERO);
        drop(queue);
        std::thread::sleep(Duration::from_millis(5500));
        let unanswered = std::mem::take(&mut *client.unanswered.lock().unwrap());
        assert!(unanswered.iter().all(Unanswered::wait));
    }
}
