//! The broker of `pg_test/broker`, its topics, and kcat as their producer.

use crate::admin::Admin;
use crate::{script, succeed, unique};
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Command, Stdio};

#[derive(Clone)]
pub struct Broker {
    name: &'static str,
    /// `host:port`; the same after a restart.
    pub address: String,
}

impl Broker {
    /// Makes it when it is missing, starts it when it is down.
    pub fn up(name: &'static str) -> Self {
        script("broker", &[name, "up"]);
        Broker { name, address: script("broker", &[name, "address"]) }
    }

    /// Makes a second node of another broker's cluster.
    pub fn join(name: &'static str, other: &Broker) -> Self {
        script("broker", &[name, "join", other.name]);
        Broker { name, address: script("broker", &[name, "address"]) }
    }

    /// Ends it and removes its data.
    pub fn destroy(&self) {
        script("broker", &[self.name, "destroy"]);
    }

    /// `host:port` for clients that come with a user's name and password.
    pub fn sasl_address(&self) -> String {
        script("broker", &[self.name, "sasl-address"])
    }

    /// `host:port` for clients that are nobody in particular, over TLS.
    pub fn ssl_address(&self) -> String {
        script("broker", &[self.name, "ssl-address"])
    }

    /// The options of a foreign server whose clients are nobody in particular, over TLS.
    pub fn ssl_options(&self) -> String {
        self.tls_options("ssl-address", "ssl")
    }

    /// The same for clients that come with a user's name and password, which are not among them.
    pub fn sasl_ssl_options(&self) -> String {
        let options = self.tls_options("sasl-ssl-address", "sasl_ssl");
        format!("{options}, \"sasl.mechanisms\" 'SCRAM-SHA-256'")
    }

    /// `host:port` for clients that come with a token of a `TokenEndpoint`.
    pub fn oauth_address(&self) -> String {
        script("broker", &[self.name, "oauth-address"])
    }

    /// File of the key that signs tokens.
    pub fn token_key(&self) -> String {
        script("broker", &[self.name, "token-key"])
    }

    /// File of the CA's certificate.
    pub fn ca(&self) -> String {
        script("broker", &[self.name, "ca"])
    }

    /// File of a certificate of the CA for 127.0.0.1, and its key.
    pub fn certificate(&self) -> String {
        script("broker", &[self.name, "certificate"])
    }

    fn tls_options(&self, listener: &str, protocol: &str) -> String {
        let address = script("broker", &[self.name, listener]);
        let ca = self.ca();
        format!(
            "brokers '{address}', \"security.protocol\" '{protocol}', \"ssl.ca.location\" '{ca}'"
        )
    }

    /// Makes a user, or changes his password.
    pub fn user(&self, name: &str, password: &str) {
        script("broker", &[self.name, "user", name, password]);
    }

    /// Refuses a topic to a user.
    pub fn deny(&self, user: &str, topic: &Topic) {
        script("broker", &[self.name, "deny", user, &topic.name]);
    }

    /// Takes that back.
    pub fn allow(&self, user: &str, topic: &Topic) {
        script("broker", &[self.name, "allow", user, &topic.name]);
    }

    pub fn start(&self) {
        script("broker", &[self.name, "start"]);
    }

    pub fn stop(&self) {
        script("broker", &[self.name, "stop"]);
    }

    pub fn kill(&self) {
        script("broker", &[self.name, "kill"]);
    }

    pub fn pause(&self) {
        script("broker", &[self.name, "pause"]);
    }

    pub fn resume(&self) {
        script("broker", &[self.name, "resume"]);
    }

    /// A new topic of a name of its own.
    pub fn topic(&self, partitions: u32) -> Topic {
        self.create_topic(partitions, &[])
    }

    /// One of one partition, with a setting of Kafka's (`name=value`).
    pub fn topic_with(&self, setting: &str) -> Topic {
        self.create_topic(1, &[setting])
    }

    /// One of one partition that is compacted within a second or two.
    pub fn compacted_topic(&self) -> Topic {
        self.create_topic(
            1,
            &[
                "cleanup.policy=compact",
                "segment.ms=500",
                "min.cleanable.dirty.ratio=0.001",
                "min.compaction.lag.ms=0",
                "max.compaction.lag.ms=500",
                "delete.retention.ms=0",
            ],
        )
    }

    /// A new topic with a partition on each of these nodes of the cluster.
    pub fn place(&self, nodes: &[u32]) -> Topic {
        let partitions = u32::try_from(nodes.len()).expect("few nodes");
        let topic = Topic { broker: self.clone(), name: unique("topic"), partitions };
        let nodes = nodes.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        script("broker", &[self.name, "place-topic", &topic.name, &nodes]);
        topic
    }

    fn create_topic(&self, partitions: u32, settings: &[&str]) -> Topic {
        let topic = Topic { broker: self.clone(), name: unique("topic"), partitions };
        topic.create(settings);
        topic
    }
}

pub struct Topic {
    broker: Broker,
    pub name: String,
    pub partitions: u32,
}

impl Topic {
    /// `host:port`.
    pub fn brokers(&self) -> &str {
        &self.broker.address
    }

    /// The offset behind a partition's last message.
    pub fn end(&self, partition: i64) -> i64 {
        let place = format!("{}:{partition}:-1", self.name);
        let answer = succeed(Command::new("kcat").args(["-Q", "-b", self.brokers(), "-t", &place]));
        let offset = answer.rsplit(' ').next().and_then(|offset| offset.parse().ok());
        offset.unwrap_or_else(|| panic!("no offset: {answer:?}"))
    }

    fn admin(&self) -> Admin {
        Admin::of(self.brokers())
    }

    fn create(&self, settings: &[&str]) {
        self.admin().create(&self.name, self.partitions, settings);
    }

    /// Makes it again after it was deleted.
    pub fn make(&self) {
        self.create(&[]);
    }

    pub fn delete(&self) {
        self.admin().delete(&self.name);
    }

    /// Deletes it and makes another one of its name, as fast as the broker can.
    pub fn recreate(&mut self, partitions: u32) {
        self.partitions = partitions;
        self.admin().recreate(&self.name, partitions);
    }

    /// Removes the messages before an offset, as retention does.
    pub fn expire(&self, partition: u32, offset: u32) {
        self.admin().delete_records(&self.name, partition, offset);
    }

    fn producer(&self, partition: u32) -> Command {
        let mut kcat = Command::new("kcat");
        kcat.args(["-P", "-b", &self.broker.address, "-t", &self.name]);
        kcat.args(["-p", &partition.to_string(), "-X", "message.max.bytes=16000000"]);
        kcat
    }

    fn send(&self, mut kcat: Command, input: &str) {
        let mut child = kcat.stdin(Stdio::piped()).spawn().expect("kcat");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("kcat reads");
        assert!(child.wait().expect("kcat").success(), "kcat could not send");
    }

    /// Sends one message per line.
    pub fn send_lines(&self, partition: u32, lines: &str) {
        self.send(self.producer(partition), lines);
    }

    /// Sends one message of these bytes, whatever they are.
    pub fn send_bytes(&self, partition: u32, payload: &[u8]) {
        let mut kcat = self.producer(partition);
        if payload.is_empty() {
            // kcat skips an empty file, but not an empty value after a key.
            kcat.arg("-K:");
            self.send(kcat, "key:\n");
        } else {
            let file = TemporaryFile::new(payload);
            succeed(kcat.arg(&file.0));
        }
    }

    /// Sends a message of up to 200 MB, as a batch that zstd makes small.
    pub fn send_packed(&self, partition: u32, message: &str) {
        let mut kcat = Command::new("kcat");
        kcat.args(["-P", "-b", &self.broker.address, "-t", &self.name, "-z", "zstd"]);
        kcat.args(["-p", &partition.to_string(), "-X", "message.max.bytes=200000000"]);
        let file = TemporaryFile::new(message.as_bytes());
        succeed(kcat.arg(&file.0));
    }

    /// Sends a message that has a key and no value.
    pub fn send_tombstone(&self, partition: u32) {
        let mut kcat = self.producer(partition);
        kcat.args(["-Z", "-K:"]);
        self.send(kcat, "key:\n");
    }

    /// Sends `{"n": …}` for each number, dealt over the partitions in turn.
    pub fn send_numbers(&self, numbers: Range<u32>) {
        for partition in 0..self.partitions {
            let lines: String = numbers
                .clone()
                .filter(|n| n % self.partitions == partition)
                .map(|n| format!("{{\"n\": {n}}}\n"))
                .collect();
            self.send_lines(partition, &lines);
        }
    }

    /// Gives the topic more partitions.
    pub fn grow(&mut self, partitions: u32) {
        self.admin().add_partitions(&self.name, partitions);
        self.partitions = partitions;
    }
}

/// kcat takes a file named on its command line as one message.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new(content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(unique("gpss_payload"));
        std::fs::write(&path, content).expect("a temporary file");
        TemporaryFile(path)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
