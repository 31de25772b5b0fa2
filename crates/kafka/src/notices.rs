//! What librdkafka says besides messages: log lines, and whether the brokers can be reached.
//! Bounded; logs nothing itself, because only the owner of the client knows where it may log.

use super::fault::{self, Fault};
use gpss_model::error::Error;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::VecDeque;

/// Notices kept until they are taken; a client in trouble says the same thing again and again.
const CAPACITY: usize = 64;

/// How grave a notice is (librdkafka has the levels of syslog(3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

impl Level {
    /// From a level of syslog(3): 0 is an emergency, 7 debug.
    fn from_syslog(level: i32) -> Level {
        match level {
            ..=3 => Level::Error,
            4 => Level::Warning,
            5 | 6 => Level::Info,
            _ => Level::Debug,
        }
    }
}

/// One line for the server log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub level: Level,
    pub text: String,
}

/// librdkafka's name for lines that tell why a connection failed.
const FAILURE: &str = "FAIL";

/// The notices that have not been taken, and the state of the connection.
#[derive(Debug)]
pub(super) struct Notices {
    /// The least grave level of syslog(3) that is kept.
    log_level: i32,
    queue: VecDeque<Notice>,
    dropped: u64,
    /// Why the latest connection failed; explains a timeout that follows.
    reason: Option<Fault>,
    /// A broker has answered since a connection was last lost.
    connected: bool,
    /// Set while no broker can be used.
    outage: Option<Fault>,
    /// An answer was larger than librdkafka takes; it hangs up then, connects and asks again. Other
    /// answers do not disprove it.
    oversized: Option<Fault>,
    /// A broker has ever answered: the listeners expect what the client does.
    answered: bool,
}

impl Notices {
    pub fn new(log_level: i32) -> Notices {
        Notices {
            log_level,
            queue: VecDeque::new(),
            dropped: 0,
            reason: None,
            connected: false,
            outage: None,
            oversized: None,
            answered: false,
        }
    }

    pub fn log(&mut self, syslog_level: i32, facility: &str, text: String) {
        let level = Level::from_syslog(syslog_level);
        // Graver ones come as errors too.
        if facility == FAILURE && level < Level::Error {
            self.lost(Fault { code: Code::BrokerTransportFailure, text: text.clone() });
        }
        if syslog_level <= self.log_level {
            self.push(level, text);
        }
    }

    /// A connection failed, or was lost.
    fn lost(&mut self, fault: Fault) {
        self.connected = false;
        // Once a listener has hung up at its first question, librdkafka leaves that out, and the next
        // time it looks as if it were a later one.
        let first = |fault: &Fault| fault.is_hang_up() && fault.text.contains("APIVERSION_QUERY");
        if fault.is_hang_up() && self.reason.as_ref().is_some_and(first) {
            return;
        }
        // A reason that comes late; but the loss of a connection after a refusal is none.
        if self.outage.is_some() && self.refused().is_none() {
            self.outage = Some(fault.clone());
        }
        self.reason = Some(fault);
    }

    /// Records an error of the client as a whole.
    pub fn error(&mut self, fault: Fault) {
        if fault.code == Code::AllBrokersDown {
            // Its own text is only "1/1 brokers are down", and it is repeated.
            if self.outage.is_some() || self.oversized.is_some() {
                return;
            }
            self.outage = Some(self.reason.as_ref().unwrap_or(&fault).clone());
        } else if fault.is_tokens() && self.connected {
            // The token at hand has some life left. When that is over, the brokers refuse it.
        } else if fault::is_authentication(fault.code) {
            self.connected = false;
            self.outage = Some(fault.clone());
            self.reason = Some(fault.clone());
        } else if fault.is_oversized() {
            self.outage = None;
            self.oversized = Some(fault.clone());
        } else if fault::is_connection(fault.code) {
            self.lost(fault.clone());
        }
        self.push(Level::Error, fault.text);
    }

    pub fn warn(&mut self, text: String) {
        self.push(Level::Warning, text);
    }

    /// A broker has answered.
    pub fn connected(&mut self) {
        self.answered = true;
        self.connected = true;
        self.reason = None;
        self.outage = None;
    }

    /// Messages, or the news that there are none, have come.
    pub fn read(&mut self) {
        self.connected();
        self.oversized = None;
    }

    /// The reason why the latest attempt to reach a broker failed, if nothing came after it, as an error.
    pub fn failure(&self, what: &str, brokers: &str) -> Option<Error> {
        let reason = self.oversized.as_ref().or(self.reason.as_ref())?;
        Some(self.explain(reason, what, brokers))
    }

    fn explain(&self, fault: &Fault, what: &str, brokers: &str) -> Error {
        let error = fault.error(what, brokers);
        // One that hangs up goes away.
        match self.answered && fault.is_hang_up() {
            true => error.hint(fault::AWAY),
            false => error,
        }
    }

    pub fn outage(&self) -> Option<&Fault> {
        self.outage.as_ref()
    }

    /// The brokers refuse the credentials: this client's further attempts do not help.
    pub fn refused(&self) -> Option<&Fault> {
        self.outage().filter(|fault| fault::is_authentication(fault.code))
    }

    /// The outage as an error.
    pub fn trouble(&self, brokers: &str) -> Option<Error> {
        if let Some(fault) = &self.oversized {
            return Some(self.explain(
                fault,
                "an answer of the Kafka brokers is too large",
                brokers,
            ));
        }
        let fault = self.outage()?;
        let what = if fault::is_authentication(fault.code) {
            "authentication at the Kafka brokers failed"
        } else {
            "no Kafka broker can be reached"
        };
        Some(self.explain(fault, what, brokers))
    }

    /// What has been said since the last call, oldest first.
    pub fn take(&mut self) -> Vec<Notice> {
        let mut notices = Vec::from(std::mem::take(&mut self.queue));
        if self.dropped > 0 {
            let text = format!("{} more messages of librdkafka were dropped", self.dropped);
            notices.push(Notice { level: Level::Warning, text });
            self.dropped = 0;
        }
        notices
    }

    fn push(&mut self, level: Level, text: String) {
        if self.queue.len() < CAPACITY {
            self.queue.push_back(Notice { level, text });
        } else {
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpss_model::error::SqlState;

    fn fault(code: Code, text: &str) -> Fault {
        Fault { code, text: text.into() }
    }

    fn notices() -> Notices {
        Notices::new(7)
    }

    #[test]
    fn a_connection_that_the_other_side_closes_is_heard_of_and_not_logged() {
        let mut notices = Notices::new(4);
        notices.log(6, "FAIL", "b: Disconnected (after 0ms in state APIVERSION_QUERY)".into());
        notices.log(6, "FAIL", "b: Disconnected (after 0ms in state UP)".into());
        assert!(notices.take().is_empty());
        assert!(notices.trouble("b").is_none());
        let failure = notices.failure("x", "b").unwrap();
        assert!(failure.detail.unwrap().contains("Disconnected"));
        notices.error(fault(Code::AllBrokersDown, "1/1 brokers are down"));
        assert!(notices.trouble("b").unwrap().hint.unwrap().contains("TLS"));
        notices.error(fault(Code::BrokerTransportFailure, "Connection refused"));
        assert!(notices.trouble("b").unwrap().detail.unwrap().contains("refused"));
    }

    #[test]
    fn a_broker_that_has_answered_and_hangs_up_expects_nothing_else() {
        let mut notices = notices();
        notices.connected();
        for state in ["UP", "APIVERSION_QUERY"] {
            notices.log(6, "FAIL", format!("b: Disconnected (after 7ms in state {state})"));
            notices.error(fault(Code::AllBrokersDown, "1/1 brokers are down"));
            for error in [notices.trouble("b"), notices.failure("x", "b")] {
                let hint = error.unwrap().hint.unwrap();
                assert!(hint.contains("brokers run"), "{hint}");
            }
        }
        notices.error(fault(Code::SSL, "SSL handshake failed"));
        assert!(notices.trouble("b").unwrap().hint.unwrap().contains("ssl.*"));
    }

    #[test]
    fn an_answer_that_is_too_large_is_no_outage_and_ends_with_a_message() {
        let mut notices = notices();
        let size =
            "Receive failed: Invalid response size 9 (0..8): increase receive.message.max.bytes";
        notices.error(fault(Code::AllBrokersDown, "1/1 brokers are down"));
        notices.error(fault(Code::BadMessage, size));
        notices.error(fault(Code::AllBrokersDown, "1/1 brokers are down"));
        notices.connected();
        let error = notices.trouble("b").unwrap();
        assert_eq!(error.sqlstate.as_str(), "53400");
        assert!(error.hint.unwrap().contains("receive.message.max.bytes"));
        notices.read();
        assert!(notices.trouble("b").is_none());
    }

    #[test]
    fn an_outage_names_the_reason_and_ends_with_an_answer() {
        let mut notices = notices();
        notices
            .error(fault(Code::BrokerTransportFailure, "Connect to b failed: Connection refused"));
        assert!(notices.trouble("b").is_none(), "one broker of several may be down");
        notices.error(fault(Code::AllBrokersDown, "1/1 brokers are down"));
        let error = notices.trouble("b").unwrap();
        assert_eq!(error.message, "no Kafka broker can be reached");
        assert!(error.detail.unwrap().contains("Connection refused"));
        assert!(notices.refused().is_none());
        notices.connected();
        assert!(notices.trouble("b").is_none());
    }

    #[test]
    fn a_reason_may_come_late() {
        let mut notices = notices();
        notices.error(fault(Code::AllBrokersDown, "1/1 brokers are down"));
        notices.error(fault(Code::BrokerTransportFailure, "Connection refused"));
        assert!(notices.trouble("b").unwrap().detail.unwrap().contains("Connection refused"));
        assert_eq!(notices.take().len(), 2);
        notices.error(fault(Code::AllBrokersDown, "1/1 brokers are down"));
        assert!(notices.take().is_empty(), "said before");
    }

    #[test]
    fn refused_credentials_are_told_from_an_outage() {
        let mut notices = notices();
        notices.error(fault(Code::Authentication, "SASL PLAIN: invalid credentials"));
        assert!(notices.refused().is_some());
        let error = notices.trouble("b").unwrap();
        assert_eq!(error.sqlstate, SqlState::INVALID_AUTHORIZATION);
        // The broker hangs up afterwards; the reason stays.
        notices.error(fault(Code::AllBrokersDown, "1/1 brokers are down"));
        notices.error(fault(Code::BrokerTransportFailure, "Disconnected"));
        assert!(notices.refused().is_some());
    }

    #[test]
    fn a_token_that_cannot_be_renewed_is_no_outage_while_the_old_one_is_good() {
        let mut notices = notices();
        let failed = || {
            let text = "Failed to acquire SASL OAUTHBEARER token: no";
            fault(Code::Authentication, text)
        };
        notices.error(failed());
        assert!(notices.refused().is_some());
        notices.connected();
        notices.error(failed());
        assert!(notices.trouble("b").is_none());
        assert_eq!(notices.take().len(), 2, "it is logged");
        notices.log(6, "FAIL", "b: Disconnected (after 9000ms in state UP)".into());
        notices.error(failed());
        assert!(notices.refused().is_some());
    }

    #[test]
    fn a_flood_is_dropped_and_counted() {
        let mut notices = notices();
        for i in 0..CAPACITY + 10 {
            notices.log(7, "", i.to_string());
        }
        let taken = notices.take();
        assert_eq!(taken.len(), CAPACITY + 1);
        assert_eq!(taken[0], Notice { level: Level::Debug, text: "0".into() });
        assert!(taken.last().unwrap().text.starts_with("10 more"));
        assert!(notices.take().is_empty());
    }
}
