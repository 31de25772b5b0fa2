//! Names of topics, by Kafka's rule.

use crate::error::{Error, Result, SqlState};

const MAX_BYTES: usize = 249;
const ONE_TOPIC: &str = "Submit a job for each topic; they may load into the same table.";

/// Is it the name of one topic?
///
/// # Errors
/// `INVALID_PARAMETER`; the message begins with what is wrong, for the caller to put a place in front.
pub fn check(name: &str) -> Result<()> {
    let invalid = |message: &str| Error::new(SqlState::INVALID_PARAMETER, message);
    if name.contains(',') {
        return Err(several());
    }
    if name.starts_with('^') {
        return Err(invalid("is a pattern: a job reads one topic").hint(ONE_TOPIC));
    }
    let is_legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if (1..=MAX_BYTES).contains(&name.len())
        && name.bytes().all(is_legal)
        && !matches!(name, "." | "..")
    {
        return Ok(());
    }
    Err(invalid("is not the name of a topic").detail(format!(
        "Names of topics are made of up to {MAX_BYTES} ASCII letters, digits, dots, underscores and hyphens."
    )))
}

/// The refusal of more than one topic.
pub fn several() -> Error {
    Error::new(SqlState::INVALID_PARAMETER, "names several topics: a job reads one").hint(ONE_TOPIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_topic_by_kafkas_rule() {
        for name in ["orders", "a.b_c-D9", &"x".repeat(MAX_BYTES)] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        for name in ["", "a b", "a/b", "ä", ".", "..", "a:b", " a", &"x".repeat(MAX_BYTES + 1)] {
            assert_eq!(check(name).unwrap_err().message, "is not the name of a topic", "{name}");
        }
        for name in ["a,b", "a, b", ","] {
            assert!(check(name).unwrap_err().message.starts_with("names several topics"), "{name}");
        }
        assert!(check("^a.*").unwrap_err().message.starts_with("is a pattern"));
    }
}
