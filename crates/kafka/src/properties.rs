//! Which librdkafka properties a user may give, and the ones every client of ours starts with.
//!
//! The lists follow librdkafka's CONFIGURATION.md (2.12). A property that is in none of them is
//! refused: a newer librdkafka may bring one that reads files or runs programs.

use super::native::{Conf, Refusal};
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::suggest;
use std::fmt;

/// What a property may do, hence who may set it and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Ordinary,
    /// The value must not be shown to anybody.
    Secret,
    /// Names a file that librdkafka reads as the server's operating system user, or has it be who the
    /// server's machine is.
    ReadsServerFile,
    /// Names an address besides the brokers' that the server connects to.
    Connects,
    /// Runs a program or loads a library in the server.
    RunsProgram,
    /// Set by gpss or without a meaning here; accepted and ignored, see [`note`].
    Managed,
    Unknown,
}

const SECRET: &[&str] = &[
    "https.ca.pem",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.password",
    "ssl.ca.pem",
    "ssl.certificate.pem",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
];

/// `sasl.oauthbearer.metadata.authentication.type` has Azure give out the machine's identity, which is then
/// shown to the brokers.
const READS_SERVER_FILE: &[&str] = &[
    "https.ca.location",
    "sasl.kerberos.keytab",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.metadata.authentication.type",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.crl.location",
    "ssl.key.location",
    "ssl.keystore.location",
];

/// Where tokens come from.
const TOKEN_ENDPOINT: &str = "sasl.oauthbearer.token.endpoint.url";

const CONNECTS: &[&str] = &[TOKEN_ENDPOINT];

/// `ssl.engine.id` and `ssl.providers` name libraries that OpenSSL loads.
const RUNS_PROGRAM: &[&str] = &[
    "plugin.library.paths",
    "sasl.kerberos.kinit.cmd",
    "ssl.engine.id",
    "ssl.engine.location",
    "ssl.providers",
];

/// The properties that gpss sets, or whose work it does itself.
const OWN: &[&str] = &[
    "allow.auto.create.topics",
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "bootstrap.servers",
    "builtin.features",
    "consume.callback.max.messages",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "enabled_events",
    "internal.termination.signal",
    "log.queue",
    "metadata.broker.list",
    "offset.store.method",
    "offset.store.path",
    "offset.store.sync.interval.ms",
    "statistics.interval.ms",
];

/// For brokers before 0.10, where librdkafka falls back to `broker.version.fallback` by itself. Brokers
/// from 4.0 on do not speak with a client that does not ask (KIP-896).
const OUTDATED: &[&str] = &["api.version.request"];

/// Properties of a program that calls librdkafka: callbacks and pointers.
const CALLBACKS: &[&str] = &[
    "background_event_cb",
    "closesocket_cb",
    "connect_cb",
    "consume_cb",
    "default_topic_conf",
    "dr_cb",
    "dr_msg_cb",
    "error_cb",
    "interceptors",
    "log_cb",
    "msg_order_cmp",
    "oauthbearer_token_refresh_cb",
    "offset_commit_cb",
    "opaque",
    "open_cb",
    "partitioner_cb",
    "rebalance_cb",
    "resolve_cb",
    "socket_cb",
    "ssl.certificate.verify_cb",
    "ssl_ca",
    "ssl_certificate",
    "ssl_engine_callback_data",
    "ssl_key",
    "stats_cb",
    "throttle_cb",
];

/// Partitions are assigned by gpss, not by a group's members.
const GROUP_MEMBERS: &[&str] = &[
    "coordinator.query.interval.ms",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "partition.assignment.strategy",
    "session.timeout.ms",
];

const PRODUCERS: &[&str] = &[
    "acks",
    "batch.num.messages",
    "batch.size",
    "compression.codec",
    "compression.level",
    "compression.type",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "linger.ms",
    "message.send.max.retries",
    "message.timeout.ms",
    "partitioner",
    "produce.offset.report",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queuing.strategy",
    "request.required.acks",
    "request.timeout.ms",
    "retries",
    "sticky.partitioning.linger.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

const ORDINARY: &[&str] = &[
    "api.version.fallback.ms",
    "api.version.request.timeout.ms",
    "broker.address.family",
    "broker.address.ttl",
    "broker.version.fallback",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "connections.max.idle.ms",
    "debug",
    "enable.metrics.push",
    "enable.random.seed",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "enable.ssl.certificate.verification",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "isolation.level",
    "log.connection.close",
    "log.thread.name",
    "log_level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "message.copy.max.bytes",
    "message.max.bytes",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.jitter.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.kerberos.principal",
    "sasl.kerberos.service.name",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.assertion.algorithm",
    "sasl.oauthbearer.assertion.claim.aud",
    "sasl.oauthbearer.assertion.claim.exp.seconds",
    "sasl.oauthbearer.assertion.claim.iss",
    "sasl.oauthbearer.assertion.claim.jti.include",
    "sasl.oauthbearer.assertion.claim.nbf.seconds",
    "sasl.oauthbearer.assertion.claim.sub",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.grant.type",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.username",
    "security.protocol",
    "socket.blocking.max.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.ca.certificate.stores",
    "ssl.cipher.suites",
    "ssl.curves.list",
    "ssl.endpoint.identification.algorithm",
    "ssl.sigalgs.list",
    "topic.blacklist",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.cnt",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
];

/// librdkafka pastes these unquoted into the shell command that renews a Kerberos ticket
/// (rdkafka_sasl_cyrus.c, `rd_kafka_sasl_cyrus_kinit_refresh`).
const IN_SHELL_COMMAND: &[&str] =
    &["sasl.kerberos.keytab", "sasl.kerberos.principal", "sasl.kerberos.service.name"];

/// fdw_invalid_attribute_value
const INVALID_VALUE: SqlState = SqlState::new("HV024");

/// What the property may do.
pub fn classify(name: &str) -> Rule {
    let is_in = |list: &[&str]| list.contains(&name);
    if is_in(ORDINARY) {
        Rule::Ordinary
    } else if is_in(SECRET) {
        Rule::Secret
    } else if is_in(READS_SERVER_FILE) {
        Rule::ReadsServerFile
    } else if is_in(CONNECTS) {
        Rule::Connects
    } else if is_in(RUNS_PROGRAM) {
        Rule::RunsProgram
    } else if note(name).is_some() {
        Rule::Managed
    } else {
        Rule::Unknown
    }
}

/// Every property that a user may set with effect; for hints.
pub fn names() -> impl Iterator<Item = &'static str> {
    [ORDINARY, SECRET, READS_SERVER_FILE, CONNECTS, RUNS_PROGRAM].into_iter().flatten().copied()
}

/// Why a [`Rule::Managed`] property has no effect; None for the others.
pub fn note(name: &str) -> Option<String> {
    let why = if OWN.contains(&name) {
        "gpss sets it itself"
    } else if OUTDATED.contains(&name) {
        "brokers are asked, and those that do not know the question are spoken to by broker.version.fallback"
    } else if CALLBACKS.contains(&name) {
        "only a program can set it"
    } else if GROUP_MEMBERS.contains(&name) {
        "gpss assigns the partitions itself"
    } else if PRODUCERS.contains(&name) {
        "it concerns producers only"
    } else {
        return None;
    };
    Some(format!("Kafka property \"{name}\" is ignored: {why}"))
}

/// Checks a property's name and value; the answer is a remark for the user, if there is one.
///
/// librdkafka judges the value, except for [`Rule::RunsProgram`]: it loads the libraries of
/// `plugin.library.paths` as soon as that is set. No message contains a secret's value.
pub fn check(name: &str, value: &str) -> Result<Option<String>> {
    match classify(name) {
        Rule::Managed => return Ok(note(name)),
        Rule::Unknown => return Err(unknown(name)),
        Rule::RunsProgram => return Ok(None),
        Rule::Ordinary | Rule::Secret | Rule::ReadsServerFile | Rule::Connects => {}
    }
    if name == TOKEN_ENDPOINT {
        check_url(value).map_err(|why| invalid(name).detail(why))?;
    }
    let harmless = |c: char| c.is_ascii_alphanumeric() || "._/@:+=,-".contains(c);
    if IN_SHELL_COMMAND.contains(&name) && !value.chars().all(harmless) {
        return Err(invalid(name)
            .detail("librdkafka uses the value in a shell command.")
            .hint("Use letters, digits and the characters . _ / @ : + = , - only."));
    }
    Conf::new().set(name, value).map_err(|refusal| refused(name, refusal))?;
    Ok(None)
}

/// What libcurl would make something else of, or show to everybody.
fn check_url(url: &str) -> std::result::Result<(), &'static str> {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return Err("It must begin with https:// or http://.");
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    if rest[..end].contains('@') {
        return Err("It must not hold a password: the client shows its id and secret.");
    }
    if rest[..end].is_empty() {
        return Err("It names no host.");
    }
    Ok(())
}

fn unknown(name: &str) -> Error {
    let error =
        Error::new(SqlState::FDW_INVALID_OPTION_NAME, format!("unknown Kafka property \"{name}\""));
    match suggest::hint(name, names()) {
        Some(hint) => error.hint(hint),
        None => error.hint("The properties are those of librdkafka's consumer."),
    }
}

fn invalid(name: &str) -> Error {
    Error::new(INVALID_VALUE, format!("invalid value for Kafka property \"{name}\""))
}

fn refused(name: &str, refusal: Refusal) -> Error {
    match refusal {
        Refusal::Unknown => unknown(name),
        Refusal::Invalid(reason) if classify(name) != Rule::Secret => {
            invalid(name).detail(format!("{}.", reason.trim_end_matches('.')))
        }
        Refusal::Invalid(_) => invalid(name),
    }
}

/// Bytes of an answer, which stays in memory until the last of its messages is taken. Librdkafka wants
/// no less than `message.max.bytes`.
const FETCH_MAX_BYTES: u32 = 16 << 20;

/// Bytes of an answer and of a batch that it holds, when that has been unpacked: librdkafka (2.12) tries
/// ever larger buffers for a zstd batch, each three times the one before, and gives up beyond this. So
/// what unpacks to 133 MB is sure to fit. Memory is touched only as far as it is filled.
const RECEIVE_MAX_BYTES: u32 = 400_000_000;

/// What librdkafka adds to `fetch.max.bytes` for the frame of an answer.
const ANSWER_FRAME: u32 = 512;

/// Warnings and worse; librdkafka's own default also tells of every lost connection.
const LOG_LEVEL: i32 = 4;

/// The level at which librdkafka tells why it lost a connection, which explains what follows.
const LOG_LEVEL_OF_LOSSES: i32 = 6;

/// What our clients start with; a user's property overrides it.
const DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "gpss"),
    ("isolation.level", "read_committed"),
    ("security.protocol", "plaintext"),
    ("log.thread.name", "false"),
    // librdkafka's default stops fetching for a second whenever the local queue is full.
    ("fetch.queue.backoff.ms", "5"),
    // A broker that comes back is used within seconds.
    ("reconnect.backoff.max.ms", "2000"),
    ("topic.metadata.refresh.interval.ms", "30000"),
    ("socket.keepalive.enable", "true"),
    // A database tells nobody its load; and librdkafka waits for the last push at its end.
    ("enable.metrics.push", "false"),
];

/// What no user may change: offsets and their order are gpss's own affair.
const FIXED: &[(&str, &str)] = &[
    ("allow.auto.create.topics", "false"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // A lost offset is an event, not a silent jump.
    ("auto.offset.reset", "error"),
    ("enable.partition.eof", "true"),
    ("log.queue", "true"),
];

/// The properties of one client.
#[derive(Clone)]
pub struct Properties {
    brokers: String,
    given: Vec<(String, String)>,
    queue_kbytes: u32,
}

impl Properties {
    /// Bound of librdkafka's local queue, in KiB of keys and values.
    pub const DEFAULT_QUEUE_KBYTES: u32 = 65_536;

    /// From `host:port[,host:port]` and the user's properties, each checked by [`check`].
    ///
    /// The caller has made sure, with [`classify`], that the user may set them.
    pub fn new(brokers: &str, given: &[(String, String)]) -> Result<Properties> {
        if brokers.split(',').all(|broker| broker.trim().is_empty()) {
            return Err(Error::new(
                SqlState::FDW_OPTION_NAME_NOT_FOUND,
                "no Kafka brokers are given",
            )
            .hint("Write brokers as host:port[,host:port]."));
        }
        for (name, value) in given {
            check(name, value)?;
        }
        let takes_effect = |name: &str| classify(name) != Rule::Managed;
        Ok(Properties {
            brokers: brokers.to_owned(),
            given: given.iter().filter(|(name, _)| takes_effect(name)).cloned().collect(),
            queue_kbytes: Self::DEFAULT_QUEUE_KBYTES,
        })
    }

    /// Bounds librdkafka's local queue; a user's smaller bound stays.
    #[must_use]
    pub fn queue_kbytes(mut self, kbytes: u32) -> Properties {
        self.queue_kbytes = kbytes;
        self
    }

    /// As given: `host:port[,host:port]`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The consumer group that the user wants to be told of the offsets. librdkafka is not given
    /// it: see `native::Client::commit`.
    pub(super) fn group(&self) -> Option<&str> {
        self.get("group.id").filter(|group| !group.is_empty())
    }

    /// Whether librdkafka asks a provider for a token before it speaks to the brokers.
    pub(super) fn asks_for_tokens(&self) -> bool {
        self.get("sasl.oauthbearer.method")
            .is_some_and(|method| method.eq_ignore_ascii_case("oidc"))
    }

    /// Whether messages of open and aborted transactions are left out.
    pub(super) fn reads_committed(&self) -> bool {
        self.get("isolation.level").is_none_or(|level| level == "read_committed")
    }

    /// The least grave level of syslog(3) that the user wants to see in the server's log.
    pub(super) fn log_level(&self) -> i32 {
        if self.get("debug").is_some_and(|contexts| !contexts.is_empty()) {
            return 7;
        }
        self.get("log_level").and_then(|level| level.parse().ok()).unwrap_or(LOG_LEVEL)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.given.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// For a client that connects to nobody, when the brokers want a token over TLS: it fails for what is
    /// wrong with the properties of TLS.
    pub(super) fn conf_of_tls_alone(&self) -> Result<Option<Conf>> {
        let over_tls =
            self.get("security.protocol").is_some_and(|p| p.eq_ignore_ascii_case("sasl_ssl"));
        if !over_tls || !self.asks_for_tokens() {
            return Ok(None);
        }
        let mut conf = self.conf()?;
        for (name, value) in [("security.protocol", "ssl"), ("bootstrap.servers", "")] {
            conf.set(name, value).map_err(|refusal| refused(name, refusal))?;
        }
        Ok(Some(conf))
    }

    /// librdkafka's configuration: our defaults, the user's properties, what is fixed.
    pub(super) fn conf(&self) -> Result<Conf> {
        let wanted = self.get("queued.max.messages.kbytes").and_then(|kbytes| kbytes.parse().ok());
        let kbytes = wanted.map_or(self.queue_kbytes, |w: u32| w.min(self.queue_kbytes));
        let kbytes = kbytes.max(1).to_string();
        let largest = self.get("message.max.bytes").and_then(|bytes| bytes.parse().ok());
        let fetch = largest.map_or(FETCH_MAX_BYTES, |l: u32| l.max(FETCH_MAX_BYTES));
        let asked = self.get("fetch.max.bytes").and_then(|bytes| bytes.parse().ok());
        let receive = asked.unwrap_or(fetch).saturating_add(ANSWER_FRAME).max(RECEIVE_MAX_BYTES);
        let (fetch, receive) = (fetch.to_string(), receive.to_string());
        let first = [("fetch.max.bytes", &*fetch), ("receive.message.max.bytes", &*receive)];
        let log_level = self.log_level().max(LOG_LEVEL_OF_LOSSES).to_string();
        let given = self.given.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let given = given.filter(|(name, _)| *name != "group.id");
        let last = [
            ("bootstrap.servers", &*self.brokers),
            ("queued.max.messages.kbytes", &kbytes),
            ("log_level", &log_level),
        ];
        let mut conf = Conf::new();
        for (name, value) in DEFAULTS.iter().copied().chain(first).chain(given).chain(last) {
            conf.set(name, value).map_err(|refusal| refused(name, refusal))?;
        }
        for (name, value) in FIXED {
            conf.set(name, value).map_err(|refusal| refused(name, refusal))?;
        }
        Ok(conf)
    }
}

/// Names only: a value may be a secret.
impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Properties")
            .field("brokers", &self.brokers)
            .field("given", &self.given.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(given: &[(&str, &str)]) -> Properties {
        let given: Vec<_> = given.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        Properties::new("b:9092", &given).unwrap()
    }

    #[test]
    fn no_property_is_in_two_lists() {
        let lists = [
            ORDINARY,
            SECRET,
            READS_SERVER_FILE,
            CONNECTS,
            RUNS_PROGRAM,
            OWN,
            OUTDATED,
            CALLBACKS,
            GROUP_MEMBERS,
            PRODUCERS,
        ];
        let mut all: Vec<_> = lists.into_iter().flatten().collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn librdkafka_knows_our_names_and_we_know_all_of_its() {
        // Written by librdkafka's build from its own table.
        let known = super::super::native::property_names();
        for name in &known {
            assert_ne!(classify(name), Rule::Unknown, "librdkafka has {name}");
        }
        for name in names() {
            assert_ne!(Conf::new().set(name, "?"), Err(Refusal::Unknown), "{name}");
        }
    }

    #[test]
    fn what_reaches_outside_is_told_apart() {
        assert_eq!(classify("fetch.min.bytes"), Rule::Ordinary);
        assert_eq!(classify("sasl.password"), Rule::Secret);
        assert_eq!(classify("ssl.ca.location"), Rule::ReadsServerFile);
        assert_eq!(classify("sasl.oauthbearer.token.endpoint.url"), Rule::Connects);
        assert_eq!(classify("plugin.library.paths"), Rule::RunsProgram);
        assert_eq!(classify("enable.auto.commit"), Rule::Managed);
        for name in ["test.mock.num.brokers", "sasl.jaas.config", "", "FETCH.MIN.BYTES"] {
            assert_eq!(classify(name), Rule::Unknown, "{name}");
        }
        let telling = |name: &&str| {
            ["password", "secret", "passphrase"].iter().any(|word| name.contains(word))
        };
        for name in names().filter(telling) {
            assert_eq!(classify(name), Rule::Secret, "{name}");
        }
        for name in names().filter(|name| name.ends_with(".url")) {
            assert_eq!(classify(name), Rule::Connects, "{name}");
        }
        for name in names().filter(|name| name.ends_with(".location") || name.ends_with(".file")) {
            assert!(matches!(classify(name), Rule::ReadsServerFile | Rule::RunsProgram), "{name}");
        }
    }

    #[test]
    fn librdkafka_is_built_with_a_client_of_oidc() {
        let features = Conf::new().get("builtin.features").unwrap();
        assert!(features.split(',').any(|feature| feature == "oidc"), "{features}");
        assert_eq!(check("sasl.oauthbearer.method", "oidc"), Ok(None));
    }

    #[test]
    fn a_token_endpoint_is_asked_over_http_and_holds_no_password() {
        for url in ["https://id.example.org/token", "http://[::1]:80?a=@", "https://id/tenant@1"] {
            assert_eq!(check(TOKEN_ENDPOINT, url), Ok(None), "{url}");
        }
        for url in
            ["id.example.org/token", "file:///etc/passwd", "https://u:p@id/token", "http:///"]
        {
            assert_eq!(check(TOKEN_ENDPOINT, url).unwrap_err().sqlstate, INVALID_VALUE, "{url}");
        }
    }

    #[test]
    fn librdkafka_judges_values() {
        assert_eq!(check("fetch.min.bytes", "10"), Ok(None));
        let e = check("fetch.min.bytes", "ten").unwrap_err();
        assert_eq!(e.message, "invalid value for Kafka property \"fetch.min.bytes\"");
        assert!(e.detail.unwrap().contains("Invalid value"));
        let e = check("isolation.level", "read_maybe").unwrap_err();
        assert_eq!(e.class(), gpss_model::error::Class::Config);
        assert!(check("client.id", "a\0b").is_err());
    }

    #[test]
    fn an_unknown_name_gets_a_hint() {
        let e = check("fetch.min.byte", "1").unwrap_err();
        assert_eq!(e.message, "unknown Kafka property \"fetch.min.byte\"");
        assert_eq!(e.hint.as_deref(), Some("Perhaps you meant \"fetch.min.bytes\"."));
    }

    #[test]
    fn ignored_properties_get_a_remark() {
        let remark = check("enable.auto.commit", "true").unwrap().unwrap();
        assert_eq!(remark, "Kafka property \"enable.auto.commit\" is ignored: gpss sets it itself");
        assert!(check("acks", "all").unwrap().unwrap().contains("producers"));
    }

    #[test]
    fn a_program_is_not_loaded_by_checking_it() {
        assert_eq!(check("plugin.library.paths", "/nonexistent/evil"), Ok(None));
    }

    #[test]
    fn kerberos_names_cannot_carry_shell_commands() {
        assert_eq!(check("sasl.kerberos.principal", "gpss/db.example.org@EXAMPLE.ORG"), Ok(None));
        for value in ["x; touch /tmp/x", "$(id)", "`id`", "a|b", "\"", "a b"] {
            let e = check("sasl.kerberos.principal", value).unwrap_err();
            assert_eq!(e.sqlstate, INVALID_VALUE, "{value}");
        }
    }

    #[test]
    fn secrets_appear_nowhere() {
        let secret = "hunter2";
        for name in SECRET {
            if let Err(error) = check(name, secret) {
                assert!(!format!("{error:?}").contains(secret), "{name}");
            }
        }
        let e = check("sasl.password", "hunter2\0").unwrap_err();
        assert!(!format!("{e:?}").contains(secret));
        assert!(!format!("{:?}", properties(&[("sasl.password", secret)])).contains(secret));
    }

    #[test]
    fn a_users_property_beats_a_default_but_nothing_fixed() {
        let p = properties(&[
            ("max.partition.fetch.bytes", "4096"),
            ("isolation.level", "read_uncommitted"),
            ("auto.offset.reset", "earliest"),
            ("group.id", "g"),
        ]);
        assert_eq!(p.group(), Some("g"));
        assert!(!p.reads_committed());
        let conf = p.conf().unwrap();
        let get = |name: &str| conf.get(name);
        assert_eq!(get("fetch.message.max.bytes").as_deref(), Some("4096"));
        assert_eq!(get("isolation.level").as_deref(), Some("read_uncommitted"));
        assert_eq!(get("auto.offset.reset").as_deref(), Some("error"));
        assert_eq!(get("enable.auto.commit").as_deref(), Some("false"));
        assert_eq!(get("group.id"), None);
        assert_eq!(get("fetch.queue.backoff.ms").as_deref(), Some("5"));
        assert_eq!(get("fetch.max.bytes").as_deref(), Some("16777216"));
        let large = properties(&[("message.max.bytes", "33554432")]).conf().unwrap();
        assert_eq!(large.get("fetch.max.bytes").as_deref(), Some("33554432"));
    }

    #[test]
    fn an_answer_may_be_as_large_as_what_was_asked_for() {
        let receive = |given: &[(&str, &str)]| {
            properties(given).conf().unwrap().get("receive.message.max.bytes").unwrap()
        };
        assert_eq!(receive(&[]), "400000000");
        assert_eq!(receive(&[("fetch.max.bytes", "1000000")]), "400000000");
        assert_eq!(receive(&[("fetch.max.bytes", "500000000")]), "500000512");
        assert_eq!(receive(&[("message.max.bytes", "500000000")]), "500000512");
        assert_eq!(receive(&[("receive.message.max.bytes", "20000000")]), "20000000");
    }

    #[test]
    fn lost_connections_are_heard_of_whatever_is_logged() {
        let levels = |given: &[(&str, &str)]| {
            let p = properties(given);
            (p.log_level(), p.conf().unwrap().get("log_level").unwrap())
        };
        assert_eq!(levels(&[]), (4, "6".into()));
        assert_eq!(levels(&[("log_level", "0")]), (0, "6".into()));
        assert_eq!(levels(&[("log_level", "7")]), (7, "7".into()));
        assert_eq!(levels(&[("debug", "broker")]).0, 7);
    }

    #[test]
    fn the_queue_is_bounded_whatever_the_user_says() {
        let kbytes = |p: Properties| p.conf().unwrap().get("queued.max.messages.kbytes").unwrap();
        assert_eq!(kbytes(properties(&[])), "65536");
        assert_eq!(kbytes(properties(&[]).queue_kbytes(1024)), "1024");
        let user = [("queued.max.messages.kbytes", "2000000")];
        assert_eq!(kbytes(properties(&user).queue_kbytes(1024)), "1024");
        let user = [("queued.max.messages.kbytes", "100")];
        assert_eq!(kbytes(properties(&user)), "100");
    }

    #[test]
    fn brokers_are_asked_for() {
        assert!(Properties::new(" , ", &[]).is_err());
    }
}
