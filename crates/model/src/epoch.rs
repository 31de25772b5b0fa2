//! Numbers since 1970 where a date or time was expected: producers write milliseconds, and PostgreSQL
//! answers with advice on its DateStyle.

use crate::error::{Error, SqlState};
use crate::job::Mapping;

/// datetime_field_overflow, invalid_datetime_format
const OF_TIMES: [SqlState; 2] = [SqlState::new("22008"), SqlState::new("22007")];

/// Errors that `explained` may have given a detail.
pub fn is_of_times(state: SqlState) -> bool {
    OF_TIMES.contains(&state)
}

/// The error with what can be done, if it is about such a number; `mapping` is that of the column it was
/// for, where it is known.
pub fn explained(error: Error, mapping: Option<&Mapping>) -> Error {
    match advice(&error, mapping) {
        Some(advice) => Error { hint: None, ..error }.detail(advice),
        None => error,
    }
}

fn advice(error: &Error, mapping: Option<&Mapping>) -> Option<String> {
    if !is_of_times(error.sqlstate) || error.detail.is_some() {
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
    let column = mapping
        .map_or("its column".to_owned(), |Mapping { column, .. }| format!("column \"{column}\""));
    let expression = mapping.map_or("", |mapping| mapping.expression.trim());
    let place = "in the mapping of submit_job, or as EXPRESSION in the file";
    let advice = if is_name(expression) {
        format!(
            "Make source column {expression} a bigint, with ALTER FOREIGN TABLE or TYPE in the file, and map \
             {column} to to_timestamp({expression}{divisor}), {place}."
        )
    } else if let Some(value) = without_cast(expression) {
        format!("Map {column} to to_timestamp({value}::bigint{divisor}), {place}.")
    } else {
        format!(
            "Map {column} to to_timestamp(value::bigint{divisor}), {place}, where value is what it is made of."
        )
    };
    Some(format!("The value looks like {unit} since 1970. {advice}"))
}

/// Is it a column's name alone?
fn is_name(sql: &str) -> bool {
    let quoted = sql.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    !sql.is_empty()
        && match quoted {
            Some(name) => !name.contains('"'),
            None => sql.chars().all(|c| c.is_alphanumeric() || c == '_'),
        }
}

/// What is cast to a date or time, if the cast is all that is done with it: a name, or what stands in
/// parentheses.
fn without_cast(sql: &str) -> Option<&str> {
    let (value, type_name) = sql.rsplit_once("::")?;
    let (value, type_name) = (value.trim(), type_name.trim().to_ascii_lowercase());
    let is_time = ["timestamp", "date"].iter().any(|name| type_name.starts_with(name));
    let inner = value.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let is_one = is_name(value) || inner.is_some_and(|inner| !inner.contains(['(', ')']));
    (is_time && is_one).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_since_1970_are_explained() {
        let error = |code, value: &str| {
            let message = format!("date/time field value out of range: \"{value}\"");
            let error = Error::new(SqlState::new(code), message);
            explained(error.hint("Perhaps you need a different \"datestyle\" setting."), None)
        };
        for (value, wanted) in [
            ("1600000000", "seconds since 1970. Map its column to to_timestamp(value::bigint), "),
            (
                "1600000000000",
                "milliseconds since 1970. Map its column to to_timestamp(value::bigint / 1000.0), ",
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

    #[test]
    fn the_advice_has_the_users_own_words() {
        let advice = |expression: &str| {
            let message = "date/time field value out of range: \"1600000000000\"";
            let mapping = Mapping { column: "at".to_owned(), expression: expression.to_owned() };
            let error = Error::new(SqlState::new("22008"), message);
            explained(error, Some(&mapping)).detail.unwrap()
        };
        for (expression, wanted) in [
            (
                "\"At\"",
                "Make source column \"At\" a bigint, with ALTER FOREIGN TABLE or TYPE in the file, and map \
                 column \"at\" to to_timestamp(\"At\" / 1000.0), in the mapping",
            ),
            (
                "(j->>'ts')::timestamptz",
                "Map column \"at\" to to_timestamp((j->>'ts')::bigint / 1000.0), in the mapping",
            ),
            ("ts::timestamp with time zone", "to_timestamp(ts::bigint / 1000.0), "),
            ("a || ts::date", "Map column \"at\" to to_timestamp(value::bigint / 1000.0), in"),
            ("(a) || (b)::date", "to_timestamp(value::bigint / 1000.0), "),
            ("f(x)", "to_timestamp(value::bigint / 1000.0), "),
        ] {
            assert!(advice(expression).contains(wanted), "{expression}: {}", advice(expression));
        }
    }
}
