//! The producer: a thread that sends numbered messages without a pause, and knows what it has sent.
//!
//! Message `n` goes to partition `n % PARTITIONS`. The producer is idempotent and waits for ever, so
//! neither a broker's death nor a pause makes it lose, double or reorder a message: `n` is at the
//! offset `n / PARTITIONS`, which is what all the checks stand on.

use crate::dice::Dice;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const PARTITIONS: i64 = 4;
/// Messages in a second.
const RATE: i64 = 1000;
/// Ticks in a second.
const TICKS: i64 = 50;
/// One message of this many is bad, besides those that are asked for.
const BAD_ONE_OF: u64 = 2000;
/// How long a broker that is up may take for what is waiting.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is known of the messages.
#[derive(Default)]
pub struct Ledger {
    /// Messages handed to librdkafka, numbered from 0.
    sent: AtomicI64,
    acknowledged: AtomicI64,
    /// Numbers and payloads of the bad ones among them.
    bad: Mutex<Vec<(i64, String)>>,
    /// A message that the broker refused for good.
    refused: Mutex<Option<String>>,
    /// Orders to the thread: send this many messages at once, send this many bad ones next, end.
    burst: AtomicI64,
    spoil: AtomicI64,
    end: AtomicBool,
}

impl Ledger {
    pub fn sent(&self) -> i64 {
        self.sent.load(SeqCst)
    }

    pub fn bad(&self) -> Vec<(i64, String)> {
        self.bad.lock().expect("no panic").clone()
    }

    pub fn burst(&self, messages: i64) {
        self.burst.fetch_add(messages, SeqCst);
    }

    pub fn spoil(&self, messages: i64) {
        self.spoil.fetch_add(messages, SeqCst);
    }

    /// How many of the first `sent` messages are in a partition.
    pub fn share(sent: i64, partition: i64) -> i64 {
        (sent - partition + PARTITIONS - 1) / PARTITIONS
    }
}

struct Receipts(Arc<Ledger>);

impl ClientContext for Receipts {
    // A broker that is away is no news here.
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Receipts {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => drop(self.0.acknowledged.fetch_add(1, SeqCst)),
            Err((error, _)) => *self.0.refused.lock().expect("no panic") = Some(error.to_string()),
        }
    }
}

pub struct Producer {
    pub ledger: Arc<Ledger>,
    thread: JoinHandle<Result<(), String>>,
}

impl Producer {
    pub fn start(brokers: &str, topic: &str, dice: Dice) -> Self {
        let ledger = Arc::new(Ledger::default());
        let client = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", "0")
            .set("linger.ms", "5")
            .set("reconnect.backoff.max.ms", "1000")
            .create_with_context(Receipts(ledger.clone()))
            .expect("a producer");
        let (topic, shared) = (topic.to_owned(), ledger.clone());
        let thread = std::thread::spawn(move || produce(&client, &topic, &shared, dice));
        Producer { ledger, thread }
    }

    /// Ends it when the broker has everything.
    pub fn finish(self) -> Result<(), String> {
        self.ledger.end.store(true, SeqCst);
        self.thread.join().map_err(|_| "the producer has panicked")?
    }
}

fn produce(
    client: &BaseProducer<Receipts>,
    topic: &str,
    ledger: &Ledger,
    mut dice: Dice,
) -> Result<(), String> {
    while !ledger.end.load(SeqCst) {
        let next_tick = Instant::now() + Duration::from_millis(1000 / TICKS as u64);
        for _ in 0..RATE / TICKS + ledger.burst.swap(0, SeqCst) {
            let n = ledger.sent();
            let payload = payload(n, ledger, &mut dice);
            send(client, topic, n, &payload)?;
            ledger.sent.store(n + 1, SeqCst);
        }
        client.poll(next_tick.saturating_duration_since(Instant::now()));
        std::thread::sleep(next_tick.saturating_duration_since(Instant::now()));
    }
    let flushed = client.flush(PATIENCE);
    if let Some(error) = ledger.refused.lock().expect("no panic").take() {
        return Err(format!("the broker refused a message: {error}"));
    }
    flushed.map_err(|error| format!("the broker does not take what is left: {error}"))?;
    match (ledger.sent(), ledger.acknowledged.load(SeqCst)) {
        (sent, acknowledged) if sent == acknowledged => Ok(()),
        (sent, acknowledged) => Err(format!("{sent} messages sent, {acknowledged} acknowledged")),
    }
}

fn send(client: &BaseProducer<Receipts>, topic: &str, n: i64, payload: &str) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    let mut record = BaseRecord::<[u8], str>::to(topic).partition((n % PARTITIONS) as i32);
    record.payload = Some(payload);
    loop {
        match client.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), same))
                if Instant::now() < deadline =>
            {
                record = same;
                client.poll(Duration::from_millis(100));
            }
            Err((error, _)) => return Err(format!("message {n} cannot be sent: {error}")),
        }
    }
}

fn payload(n: i64, ledger: &Ledger, dice: &mut Dice) -> String {
    let ordered = ledger.spoil.load(SeqCst) > 0;
    if !ordered && dice.below(BAD_ONE_OF) > 0 {
        return format!("{{\"n\": {n}, \"size\": {}, \"note\": \"message {n}\"}}", n % 1000);
    }
    if ordered {
        ledger.spoil.fetch_sub(1, SeqCst);
    }
    let bad = match dice.below(4) {
        // Not JSON.
        0 => format!("{{\"n\": {n}, \"size\": 1, \"note\": \"message"),
        // Not of the column's type.
        1 => format!("{{\"n\": {n}, \"size\": 99999999999, \"note\": \"message {n}\"}}"),
        // Against a CHECK and a NOT NULL.
        2 => format!("{{\"n\": {n}, \"size\": -1, \"note\": \"message {n}\"}}"),
        _ => format!("{{\"n\": {n}, \"size\": 1}}"),
    };
    ledger.bad.lock().expect("no panic").push((n, bad.clone()));
    bad
}
