//! Kafka's admin client: what Kafka's own tools do to topics, without a Java machine for each call.

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);

pub struct Admin {
    client: AdminClient<DefaultClientContext>,
    options: AdminOptions,
}

impl Admin {
    /// A client of these brokers, for one or two calls: it would be slow to find a broker again that
    /// was down for a while.
    pub fn of(brokers: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        Admin {
            client: config.create().expect("a client"),
            options: AdminOptions::new().operation_timeout(Some(TIMEOUT)),
        }
    }

    /// Settings are Kafka's (`name=value`). Returns when each partition has a leader.
    pub fn create(&self, topic: &str, partitions: u32, settings: &[&str]) {
        let settings = settings.iter().map(|setting| setting.split_once('=').expect("name=value"));
        let new = settings
            .fold(self.new_topic(topic, partitions), |new, (name, value)| new.set(name, value));
        accepted(wait_for(self.client.create_topics([&new], &self.options)));
        self.await_leaders(topic, partitions);
    }

    /// Returns when the brokers do not know the topic any more.
    pub fn delete(&self, topic: &str) {
        accepted(wait_for(self.client.delete_topics(&[topic], &self.options)));
        crate::eventually("the topic is gone", 30, || self.leaders(topic) == 0);
    }

    /// Deletes it and makes another one of its name, as fast as the broker can.
    pub fn recreate(&self, topic: &str, partitions: u32) {
        let new = self.new_topic(topic, partitions);
        let deleted = wait_for(self.client.delete_topics(&[topic], &self.options));
        let created = wait_for(self.client.create_topics([&new], &self.options));
        accepted(deleted);
        accepted(created);
    }

    /// To that many in all.
    pub fn add_partitions(&self, topic: &str, total: u32) {
        let new = NewPartitions::new(topic, total as usize);
        accepted(wait_for(self.client.create_partitions([&new], &self.options)));
        self.await_leaders(topic, total);
    }

    /// Those before the offset.
    pub fn delete_records(&self, topic: &str, partition: u32, offset: u32) {
        let mut before = TopicPartitionList::new();
        let partition = i32::try_from(partition).expect("a partition");
        before
            .add_partition_offset(topic, partition, Offset::Offset(offset.into()))
            .expect("an offset");
        let deleted = wait_for(self.client.delete_records(&before, &self.options));
        let deleted = deleted.expect("an answer");
        assert!(deleted.elements().iter().all(|one| one.error().is_ok()), "{deleted:?}");
    }

    fn new_topic<'a>(&self, topic: &'a str, partitions: u32) -> NewTopic<'a> {
        let count = i32::try_from(partitions).expect("a number of partitions");
        NewTopic::new(topic, count, TopicReplication::Fixed(1))
    }

    fn await_leaders(&self, topic: &str, partitions: u32) {
        crate::eventually("each partition has a leader", 30, || {
            self.leaders(topic) == partitions as usize
        });
    }

    /// How many partitions of the topic have one.
    fn leaders(&self, topic: &str) -> usize {
        let metadata = self.client.inner().fetch_metadata(Some(topic), TIMEOUT);
        let metadata = metadata.expect("the brokers answer");
        metadata
            .topics()
            .iter()
            .flat_map(|topic| topic.partitions())
            .filter(|one| one.leader() >= 0)
            .count()
    }
}

/// Every topic of the answer was done as asked.
fn accepted(answer: rdkafka::error::KafkaResult<Vec<Result<String, (String, RDKafkaErrorCode)>>>) {
    for result in answer.expect("an answer") {
        result.unwrap_or_else(|(topic, error)| panic!("{topic}: {error}"));
    }
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
