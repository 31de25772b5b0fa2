//! Lists of brokers: what librdkafka's `bootstrap.servers` takes, without what it takes for something
//! else (a port of 99999 is one modulo 65536, and one that is no number is none).

use crate::error::{Error, Result, SqlState};

/// librdkafka's names for what may stand before a broker.
const PROTOCOLS: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];
const FORM: &str = "Write host:port[,host:port]; an IPv6 address goes in brackets: [::1]:9092.";

/// Is it a list of at least one broker: `host`, `host:port` or `[IPv6]:port`, perhaps with
/// `PLAINTEXT://`, `SSL://`, `SASL_PLAINTEXT://` or `SASL_SSL://` in front, separated by commas?
///
/// # Errors
/// `INVALID_PARAMETER`; the message begins with what is wrong, for the caller to put a place in front.
pub fn check(list: &str) -> Result<()> {
    let mut brokers = list.split(',').map(str::trim).filter(|broker| !broker.is_empty()).peekable();
    if brokers.peek().is_none() {
        return Err(wrong("names no broker"));
    }
    brokers.try_for_each(one)
}

fn one(broker: &str) -> Result<()> {
    let address = match broker.split_once("://") {
        None => broker,
        Some((name, address)) if PROTOCOLS.iter().any(|p| p.eq_ignore_ascii_case(name)) => address,
        Some((name, _)) => {
            return Err(wrong(format!("has a broker with \"{}://\" in front", shown(name))).hint(
                "Write host:port alone: how brokers are spoken to is told by the property security.protocol.",
            ));
        }
    };
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) =
                rest.split_once(']').ok_or_else(|| wrong("has a bracket that is not closed"))?;
            let inside = host.split('%').next().unwrap_or_default();
            if inside.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(wrong(format!(
                    "has no IPv6 address between brackets: {}",
                    shown(broker)
                )));
            }
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err(wrong(format!("has a broker that is none: {}", shown(broker)))),
            }
        }
        None if address.matches(':').count() > 1 => {
            return Err(wrong(format!("has a broker with more than one colon: {}", shown(broker))));
        }
        None => {
            let (host, port) = match address.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            };
            let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
            if host.is_empty() || !host.chars().all(is_name) {
                return Err(wrong(format!("has a broker without a host name: {}", shown(broker))));
            }
            (host, port)
        }
    };
    let is_port = |port: &str| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    match port {
        Some(port) if !is_port(port) => Err(wrong(format!(
            "has a port for {} that is no number from 1 to 65535: {}",
            shown(host),
            shown(port)
        ))),
        _ => Ok(()),
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(SqlState::INVALID_PARAMETER, message).hint(FORM)
}

/// The start of a text as a message may repeat it. What stands before an `@` is left out: it is a
/// login in other programs' addresses.
fn shown(text: &str) -> String {
    text.rsplit('@').next().unwrap_or_default().chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_librdkafka_understands() {
        for list in [
            "b",
            "b:9092",
            "b1:9092,b2:9093",
            " b1:1 , b2:65535 ",
            "b:9092,",
            "10.0.0.1:9092",
            "[::1]:9092",
            "[fe80::1%eth0]:9092",
            "[::1]",
            "PLAINTEXT://b:9092",
            "ssl://b:9092",
            "SASL_SSL://b",
            "kafka_1.my-host:9092",
        ] {
            assert_eq!(check(list), Ok(()), "{list}");
        }
    }

    #[test]
    fn what_it_takes_for_something_else_is_refused() {
        for (list, wanted) in [
            ("", "names no broker"),
            (" , ", "names no broker"),
            ("localhost:abc", "has a port for localhost that is no number from 1 to 65535: abc"),
            ("a:9092,b:99999", "has a port for b that is no number from 1 to 65535: 99999"),
            ("b:0", "has a port for b that is no number from 1 to 65535: 0"),
            ("b:", "has a port for b that is no number from 1 to 65535: "),
            ("b:+1", "has a port for b that is no number from 1 to 65535: +1"),
            ("kafka://b:9092", "has a broker with \"kafka://\" in front"),
            ("http://u:pw@b:9092", "has a broker with \"http://\" in front"),
            ("u:pw@b", "has a port for u that is no number from 1 to 65535: b"),
            ("::1:9092", "has a broker with more than one colon: ::1:9092"),
            ("[::1:9092", "has a bracket that is not closed"),
            ("[b]:9092", "has no IPv6 address between brackets: [b]:9092"),
            ("[::1]9092", "has a broker that is none: [::1]9092"),
            (":9092", "has a broker without a host name: :9092"),
            ("a b:9092", "has a broker without a host name: a b:9092"),
            ("b:9092/x", "has a port for b that is no number from 1 to 65535: 9092/x"),
        ] {
            assert_eq!(check(list).unwrap_err().message, wanted, "{list}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_rule_panic(list in "[a:/\\[\\],%@ 0-9é.]{0,20}") {
            let _ = check(&list);
        }
    }
}
