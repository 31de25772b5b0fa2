//! The broker of `pg_test/broker`, its topics, and kcat as their producer.

use super::{script, succeed, unique};
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

    /// `host:port` for clients that come with a user's name and password.
    pub fn sasl_address(&self) -> String {
        script("broker", &[self.name, "sasl-address"])
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

    fn create_topic(&self, partitions: u32, settings: &[&str]) -> Topic {
        let name = unique("topic");
        let count = partitions.to_string();
        let mut arguments = vec![self.name, "create-topic", &name, &count];
        arguments.extend(settings);
        script("broker", &arguments);
        Topic { broker: self.clone(), name, partitions }
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
        let total = partitions.to_string();
        script("broker", &[self.broker.name, "add-partitions", &self.name, &total]);
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
