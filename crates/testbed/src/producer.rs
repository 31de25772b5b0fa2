//! A producer in this process, for what kcat cannot send: keys, headers and values of any bytes or
//! none, timestamps, transactions.

use crate::Topic;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A message as it is sent; `Record::default()` is a tombstone without a key in partition 0.
#[derive(Clone, Copy, Default)]
pub struct Record<'a> {
    pub partition: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// Milliseconds since the Unix epoch; None: the time of sending.
    pub timestamp: Option<i64>,
}

/// A record of partition 0 that has only this value.
pub fn value(value: &[u8]) -> Record<'_> {
    Record { value: Some(value), ..Record::default() }
}

pub struct Producer {
    client: BaseProducer,
    topic: String,
}

impl Producer {
    pub fn new(topic: &Topic) -> Self {
        Self::create(topic, &[])
    }

    /// In a transaction, which the caller commits or aborts, or leaves open.
    pub fn in_transaction(topic: &Topic) -> Self {
        let producer = Self::create(topic, &[("transactional.id", &topic.name)]);
        let client = &producer.client;
        client.init_transactions(TIMEOUT).expect("transactions");
        client.begin_transaction().expect("a transaction");
        producer
    }

    fn create(topic: &Topic, properties: &[(&str, &str)]) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", topic.brokers());
        config.set("message.max.bytes", "16000000");
        for (name, value) in properties {
            config.set(*name, *value);
        }
        Producer { client: config.create().expect("a producer"), topic: topic.name.clone() }
    }

    /// Returns when the broker has them all.
    pub fn send<'a>(&self, records: impl IntoIterator<Item = Record<'a>>) {
        for record in records {
            let mut message = BaseRecord::<[u8], [u8]>::to(&self.topic).partition(record.partition);
            message.key = record.key;
            message.payload = record.value;
            message.timestamp = record.timestamp;
            message.headers = (!record.headers.is_empty()).then(|| headers(record.headers));
            self.client.send(message).expect("room in the queue");
        }
        self.client.flush(TIMEOUT).expect("the broker takes them");
    }

    pub fn commit(&self) {
        self.client.commit_transaction(TIMEOUT).expect("a commit");
    }

    pub fn abort(&self) {
        self.client.abort_transaction(TIMEOUT).expect("an abort");
    }
}

fn headers(list: &[(&str, Option<&[u8]>)]) -> OwnedHeaders {
    list.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: *value })
    })
}
