//! Numbers since 1970 where a date or time was expected: producers write milliseconds, and PostgreSQL
//! answers with advice on its DateStyle.

use crate::error::{Error, SqlState};

/// datetime_field_overflow, invalid_datetime_format
const OF_TIMES: [SqlState; 2] = [SqlState::new("22008"), SqlState::new("22007")];

/// The error with what can be done, if it is about such a number.
pub fn explained(error: Error) -> Error {
    match advice(&error) {
        Some(advice) => Error { hint: None, ..error }.detail(advice),
        None => error,
    }
}

fn advice(error: &Error) -> Option<String> {
    if !OF_TIMES.contains(&error.sqlstate) || error.detail.is_some() {
        return None;
    }
    let value = error.message.split('"').nth(1)?;
    let digits = value.strip_prefix('-').unwrap_or(value);
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (unit, divisor) = match digits.len() {
        9..=11 => ("seconds", ""),
        12..=14 => ("milliseconds", " / 1000.0"),
        15..=17 => ("microseconds", " / 1000000.0"),
        18..=19 => ("nanoseconds", " / 1000000000.0"),
        _ => return None,
    };
    Some(format!(
        "The value looks like {unit} since 1970, which the expression \
         to_timestamp((doc->>'field')::bigint{divisor}) makes a time of."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_since_1970_are_explained() {
        let error = |code, value: &str| {
            let message = format!("date/time field value out of range: \"{value}\"");
            let error = Error::new(SqlState::new(code), message);
            explained(error.hint("Perhaps you need a different \"datestyle\" setting."))
        };
        for (value, wanted) in [
            ("1600000000", "to_timestamp((doc->>'field')::bigint) "),
            (
                "1600000000000",
                "milliseconds since 1970, which the expression to_timestamp((doc->>'field')::bigint / 1000.0) ",
            ),
            ("1600000000000000", "microseconds"),
            ("1600000000000000000", "nanoseconds"),
        ] {
            let error = error("22008", value);
            assert!(error.detail.unwrap().contains(wanted), "{value}");
            assert_eq!(error.hint, None);
        }
        for (code, value) in
            [("22008", "2026-13-01"), ("22008", "12"), ("22P02", "1600000000000"), ("22008", "")]
        {
            let error = error(code, value);
            assert!(error.detail.is_none() && error.hint.is_some(), "{value}");
        }
    }
}
