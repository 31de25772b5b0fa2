//! What librdkafka says besides messages: log lines, and whether the brokers can be reached.
//! Bounded; logs nothing itself, because only the owner of the client knows where it may log.

use super::fault::{self, Fault};
use crate::error::Error;
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

/// The notices that have not been taken, and the state of the connection.
#[derive(Debug, Default)]
pub(super) struct Notices {
    queue: VecDeque<Notice>,
    dropped: u64,
    /// Why the latest connection failed; explains a timeout that follows.
    reason: Option<Fault>,
    /// Set while no broker can be used.
    outage: Option<Fault>,
}

impl Notices {
    pub fn log(&mut self, syslog_level: i32, text: String) {
        self.push(Level::from_syslog(syslog_level), text);
    }

    /// Records an error of the client as a whole.
    pub fn error(&mut self, fault: Fault) {
        if fault.code == Code::AllBrokersDown {
            // Its own text is only "1/1 brokers are down", and it is repeated.
            if self.outage.is_some() {
                return;
            }
            self.outage = Some(self.reason.as_ref().unwrap_or(&fault).clone());
        } else if fault::is_authentication(fault.code) {
            self.outage = Some(fault.clone());
            self.reason = Some(fault.clone());
        } else if fault::is_connection(fault.code) {
            self.reason = Some(fault.clone());
            // A reason that comes late; but the loss of a connection after a refusal is none.
            if self.outage.is_some() && self.refused().is_none() {
                self.outage = Some(fault.clone());
            }
        }
        self.push(Level::Error, fault.text);
    }

    pub fn warn(&mut self, text: String) {
        self.push(Level::Warning, text);
    }

    /// A broker has answered.
    pub fn connected(&mut self) {
        self.reason = None;
        self.outage = None;
    }

    /// The reason why the latest attempt to reach a broker failed, if nothing came after it.
    pub fn reason(&self) -> Option<&Fault> {
        self.reason.as_ref()
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
        let fault = self.outage()?;
        let what = if fault::is_authentication(fault.code) {
            "authentication at the Kafka brokers failed"
        } else {
            "no Kafka broker can be reached"
        };
        Some(fault.error(what, brokers))
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
    use crate::error::SqlState;

    fn fault(code: Code, text: &str) -> Fault {
        Fault { code, text: text.into() }
    }

    #[test]
    fn an_outage_names_the_reason_and_ends_with_an_answer() {
        let mut notices = Notices::default();
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
        let mut notices = Notices::default();
        notices.error(fault(Code::AllBrokersDown, "1/1 brokers are down"));
        notices.error(fault(Code::BrokerTransportFailure, "Connection refused"));
        assert!(notices.trouble("b").unwrap().detail.unwrap().contains("Connection refused"));
        assert_eq!(notices.take().len(), 2);
        notices.error(fault(Code::AllBrokersDown, "1/1 brokers are down"));
        assert!(notices.take().is_empty(), "said before");
    }

    #[test]
    fn refused_credentials_are_told_from_an_outage() {
        let mut notices = Notices::default();
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
    fn a_flood_is_dropped_and_counted() {
        let mut notices = Notices::default();
        for i in 0..CAPACITY + 10 {
            notices.log(7, i.to_string());
        }
        let taken = notices.take();
        assert_eq!(taken.len(), CAPACITY + 1);
        assert_eq!(taken[0], Notice { level: Level::Debug, text: "0".into() });
        assert!(taken.last().unwrap().text.starts_with("10 more"));
        assert!(notices.take().is_empty());
    }
}
