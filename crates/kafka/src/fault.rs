//! librdkafka's and the brokers' error codes as errors with an SQLSTATE.

use gpss_model::error::{Error, SqlState};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::borrow::Cow;

/// system_error: something failed on the Kafka side that may mend by itself.
const KAFKA_FAILURE: SqlState = SqlState::new("58000");

/// configuration_limit_exceeded
const LIMIT_EXCEEDED: SqlState = SqlState::new("53400");

/// The property that bounds an answer and what is unpacked of it.
const LIMIT: &str = "receive.message.max.bytes";

/// What a client that has to get a token first may lack when nothing has come.
pub const NO_TOKEN: &str = "no token was given";

/// An error as librdkafka reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: Code,
    /// librdkafka's own words; never a property's value.
    pub text: String,
}

/// Whether the code says that the brokers do not accept who we are.
pub fn is_authentication(code: Code) -> bool {
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState
    )
}

/// Whether the code says that no broker can be reached, or that none answers.
pub fn is_connection(code: Code) -> bool {
    matches!(
        code,
        Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::Resolve
            | Code::SSL
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::MessageTimedOut
            | Code::RequestTimedOut
            | Code::NetworkException
            | Code::BrokerNotAvailable
            | Code::LeaderNotAvailable
    )
}

impl Fault {
    /// Has librdkafka refused an answer for its size?
    pub fn is_oversized(&self) -> bool {
        self.text.contains("Invalid response size") && self.text.contains(LIMIT)
    }

    /// Could librdkafka not get a token? The brokers have not been asked then.
    pub fn is_tokens(&self) -> bool {
        self.text.starts_with("Failed to acquire SASL OAUTHBEARER token")
    }

    /// Has the other side closed the connection?
    pub fn is_hang_up(&self) -> bool {
        self.text.contains("Disconnected") || self.text.contains("Connection reset")
    }

    /// The error for something that failed at `brokers`; `what` is its primary message.
    pub fn error(&self, what: &str, brokers: &str) -> Error {
        let reason = self.reason();
        let detail = format!("Kafka client: {reason}. Brokers: {brokers}.");
        let error = |state| Error::new(state, what).detail(detail.clone());
        if self.is_oversized() {
            return error(LIMIT_EXCEEDED).hint(format!("Set {LIMIT} higher than that."));
        }
        if self.is_tokens() {
            let hint = if reason.contains("certificate") {
                "Set https.ca.location or https.ca.pem to the CA of the token endpoint."
            } else {
                "Check sasl.oauthbearer.token.endpoint.url, that the database server can reach it, and the \
                 client's id, secret and scope."
            };
            return error(SqlState::INVALID_AUTHORIZATION).hint(hint);
        }
        if is_authentication(self.code) {
            return error(SqlState::INVALID_AUTHORIZATION)
                .hint("Check the security and SASL properties and the credentials.");
        }
        if is_connection(self.code) {
            return error(SqlState::CONNECTION_FAILURE).hint(connection_hint(&self.text));
        }
        match self.code {
            Code::TopicAuthorizationFailed => error(SqlState::INSUFFICIENT_PRIVILEGE)
                .hint("The Kafka user needs the ACLs Read and Describe on the topic."),
            Code::GroupAuthorizationFailed => error(SqlState::INSUFFICIENT_PRIVILEGE)
                .hint("The Kafka user needs the ACL Read on the consumer group."),
            Code::ClusterAuthorizationFailed => error(SqlState::INSUFFICIENT_PRIVILEGE)
                .hint("The Kafka user needs the ACL Describe on the cluster."),
            Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::InvalidTopic => error(SqlState::UNDEFINED_OBJECT)
                .hint("Check the topic's name, or create the topic: gpss does not create topics."),
            Code::UnsupportedVersion | Code::UnsupportedFeature | Code::NotImplemented => {
                error(SqlState::FEATURE_NOT_SUPPORTED)
            }
            _ => error(KAFKA_FAILURE),
        }
    }

    /// librdkafka's words without the time that the attempt took, and how often it said the same: they
    /// would make another error of each try.
    fn reason(&self) -> Cow<'_, str> {
        let text = self.text.trim_end_matches('.');
        match text.rfind(" (after ") {
            Some(at) if text.ends_with(')') => text[..at].into(),
            _ => without_time(text),
        }
    }
}

/// The step for brokers that are not there.
pub const AWAY: &str = "Check that the brokers run and that the database server can reach them.";

/// What libcurl says of an attempt, such as "Failed to connect to h port 1 after 3 ms: reason", without
/// its time.
fn without_time(text: &str) -> Cow<'_, str> {
    let time = text.split_once(" after ").and_then(|(what, rest)| {
        let (time, why) = rest.split_once(": ")?;
        let number = time.strip_suffix(" ms")?;
        number.parse::<u64>().ok()?;
        Some(format!("{what}: {why}"))
    });
    time.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The step that fits librdkafka's reason for a failed connection.
fn connection_hint(reason: &str) -> &'static str {
    if reason.contains(NO_TOKEN) {
        "Check that the token endpoint and the brokers run and that the database server can reach them."
    } else if reason.contains("certificate") || reason.contains("SSL handshake") {
        "Check security.protocol and the ssl.* properties."
    } else if hangs_up_soon(reason) {
        "Check security.protocol and the sasl.* properties: the listener may expect SASL."
    } else if reason.contains("Disconnected") || reason.contains("Connection reset") {
        "Check that a Kafka broker listens there, and security.protocol: the listener may expect TLS, \
         or SASL."
    } else {
        AWAY
    }
}

/// Has the broker answered librdkafka's first question, and hung up at the next one? So does a
/// listener that expects SASL.
fn hangs_up_soon(reason: &str) -> bool {
    let after =
        reason.rsplit_once("(after ").and_then(|(_, rest)| rest.split_once("ms in state UP"));
    let ms = after.and_then(|(ms, _)| ms.parse::<u32>().ok());
    reason.contains("Disconnected") && ms.is_some_and(|ms| ms < 2000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpss_model::error::Class;

    fn error(code: Code, text: &str) -> Error {
        Fault { code, text: text.into() }.error("cannot read Kafka topic \"t\"", "b:9092")
    }

    #[test]
    fn an_unreachable_broker_is_the_environments_fault() {
        let e = error(Code::AllBrokersDown, "connect to b:9092 failed: Connection refused");
        assert_eq!(e.sqlstate, SqlState::CONNECTION_FAILURE);
        assert_eq!(e.class(), Class::Environment);
        assert_eq!(
            e.detail.as_deref(),
            Some("Kafka client: connect to b:9092 failed: Connection refused. Brokers: b:9092.")
        );
    }

    #[test]
    fn a_listener_that_hangs_up_may_expect_something_else() {
        let hint = |text| error(Code::BrokerTransportFailure, text).hint.unwrap();
        assert!(hint("b: Disconnected (after 0ms in state APIVERSION_QUERY)").contains("TLS"));
        assert!(hint("b: Disconnected: x (after 3ms in state UP)").contains("sasl.*"));
        let later = hint("b: Disconnected (after 90000ms in state UP, 1 identical)");
        assert!(later.contains("a Kafka broker listens there"));
        assert!(hint("b: Connection refused").contains("brokers run"));
    }

    #[test]
    fn two_tries_that_fail_alike_read_alike() {
        let text = |ms| format!("Connection refused (after {ms}ms in state CONNECT, 1 identical)");
        let tries = [0, 17].map(|ms| error(Code::AllBrokersDown, &text(ms)));
        assert_eq!(tries[0], tries[1]);
        assert!(tries[0].detail.as_deref().unwrap().contains("client: Connection refused. "));
    }

    #[test]
    fn a_token_that_cannot_be_had_is_told_from_one_that_is_refused() {
        let hint = |text| error(Code::Authentication, text).hint.unwrap();
        let had =
            "Failed to acquire SASL OAUTHBEARER token: Failed to connect to h port 1 after 7 ms: x";
        assert!(hint(had).contains("token.endpoint.url"));
        assert!(error(Code::Authentication, had).detail.unwrap().contains("to h port 1: x. "));
        assert!(!hint("SASL authentication error: {\"status\":\"invalid_token\"}").contains("url"));
    }

    #[test]
    fn what_only_the_user_can_mend_stops_the_job() {
        for code in [
            Code::TopicAuthorizationFailed,
            Code::UnknownTopicOrPartition,
            Code::UnsupportedVersion,
        ] {
            let e = error(code, "x");
            assert_eq!(e.class(), Class::Config, "{code:?}");
        }
    }

    #[test]
    fn refused_credentials_may_be_renewed() {
        for code in [Code::Authentication, Code::SaslAuthenticationFailed] {
            let e = error(code, "x");
            assert_eq!((e.sqlstate.as_str(), e.class()), ("28000", Class::Environment), "{code:?}");
        }
    }

    #[test]
    fn no_fault_of_kafka_is_ever_a_messages_fault() {
        for code in [Code::Unknown, Code::KafkaStorageError, Code::BadMessage, Code::SSL] {
            assert_eq!(error(code, "x").class(), Class::Environment, "{code:?}");
        }
    }
}
