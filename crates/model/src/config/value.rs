//! Readers of values that the versions of the format share: SQL, names, times, choices.

use super::name;
use super::tree::{Map, Value};
use crate::error::Result;
use crate::job::{ErrorLimit, Fallback, MissingTopic};
use crate::partitions::Partitions;
use crate::{brokers, fragment, suggest, topic};
use std::collections::HashSet;

/// Units of a duration in milliseconds, the longest first.
pub(super) const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const IN_QUOTES: &str = "Put the SQL in quotes if it holds \" #\", which begins a comment in YAML.";

/// A text that is more than blanks, without those around it.
pub(super) fn filled(value: Value) -> Result<String> {
    Ok(not_blank(value)?.trim().to_owned())
}

/// A text that is more than blanks, as it stands.
pub(super) fn not_blank(value: Value) -> Result<String> {
    let place = value.place();
    let text = value.text()?;
    if text.trim().is_empty() {
        return Err(place.error("has no value"));
    }
    Ok(text)
}

/// `true` and `false` in the words that PostgreSQL takes for them.
pub(super) fn boolean(value: Value) -> Result<bool> {
    let place = value.place();
    match value.text()?.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => Err(place.invalid("must be true or false")),
    }
}

/// One of `names`, in any case; `wrong` says what else it must be.
pub(super) fn choice(value: Value, names: &[&'static str], wrong: &str) -> Result<&'static str> {
    let place = value.place();
    let text = value.text()?;
    let text = text.trim();
    names.iter().find(|name| name.eq_ignore_ascii_case(text)).copied().ok_or_else(|| {
        let mut error = place.invalid(wrong);
        error.hint = suggest::hint(text, names.iter().copied());
        error
    })
}

/// SQL that stays where it is put; checked here because the line is known here. Semicolons at its end
/// are left out.
pub(super) fn sql(value: Value) -> Result<String> {
    let place = value.place();
    let sql = value.sql()?;
    let sql = fragment::without_semicolons(&sql);
    fragment::check_fragment(sql).map_err(|error| {
        place
            .error("is not a complete SQL expression")
            .detail(format!("Found {}.", error.message))
            .hint(IN_QUOTES)
    })?;
    Ok(sql.to_owned())
}

/// `sql` that gives the value of a column, without an alias: GPSS has it in the list of a SELECT.
pub(super) fn expression(value: Value) -> Result<String> {
    Ok(fragment::without_alias(&sql(value)?).to_owned())
}

/// A list of brokers, or a text in which commas separate them.
pub(super) fn brokers(value: Value) -> Result<String> {
    let place = value.place();
    let text = if value.is_list() {
        value.list()?.into_iter().map(filled).collect::<Result<Vec<_>>>()?.join(",")
    } else {
        filled(value)?
    };
    brokers::check(&text).map_err(|error| place.about(error))?;
    Ok(text)
}

/// The name of one topic.
pub(super) fn topic(value: Value) -> Result<String> {
    let place = value.place();
    if value.is_list() {
        return Err(place.about(topic::several()));
    }
    let name = filled(value)?;
    topic::check(&name).map_err(|error| place.about(error))?;
    Ok(name)
}

/// SQL that is run by itself: one statement or several, separated by semicolons.
pub(super) fn statements(value: Value) -> Result<String> {
    let place = value.place();
    let sql = value.sql()?;
    fragment::check_statements(&sql).map_err(|error| {
        place
            .error("is not complete SQL")
            .detail(format!("Found {}.", error.message))
            .hint(IN_QUOTES)
    })?;
    Ok(sql)
}

/// A name of one part, with or without quotes.
pub(super) fn column_name(value: Value) -> Result<String> {
    let place = value.place();
    name::single(&value.text()?).ok_or_else(|| {
        place
            .invalid("is not a name")
            .hint("Put a name that holds a dot or a quote in double quotes.")
    })
}

/// Distinct names, at least one: a list, or a text in which commas separate them.
pub(super) fn names(value: Value) -> Result<Vec<String>> {
    let place = value.place();
    let names = if value.is_list() {
        value.list()?.into_iter().map(column_name).collect::<Result<Vec<_>>>()?
    } else {
        name::list(&value.text()?).ok_or_else(|| place.invalid("is not a list of names"))?
    };
    if names.is_empty() {
        return Err(place.error("names no column"));
    }
    let mut seen = HashSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(_) => Err(place.error("names a column a second time")),
        None => Ok(names),
    }
}

/// A whole number with one unit, `d`, `h`, `m`, `s` or `ms`; without one, seconds. In milliseconds.
pub(super) fn duration(value: Value) -> Result<u64> {
    let place = value.place();
    milliseconds(&value.text()?)
        .ok_or_else(|| place.invalid("must be a duration such as 30s, 5m or 8h"))
}

/// `duration`, or None for -1.
pub(super) fn limit(value: Value) -> Result<Option<u64>> {
    let place = value.place();
    match value.text()?.trim() {
        "-1" => Ok(None),
        text => milliseconds(text)
            .filter(|ms| *ms > 0)
            .map(Some)
            .ok_or_else(|| place.invalid("must be a duration such as 30s, or -1 for no limit")),
    }
}

fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, unit) =
        text.split_at_checked(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))?;
    let factor = match unit.trim_start() {
        "" => 1_000,
        unit => UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1,
    };
    let ms = digits.parse::<u64>().ok()?.checked_mul(factor)?;
    // What a bigint holds.
    i64::try_from(ms).ok()?;
    Some(ms)
}

/// A time of the day, `HH:MM` or `HH:MM:SS`, in seconds after midnight.
pub(super) fn clock(value: Value) -> Result<u32> {
    let place = value.place();
    seconds(&value.text()?).ok_or_else(|| place.invalid("must be a time of the day such as 18:30"))
}

fn seconds(text: &str) -> Option<u32> {
    let mut parts = text.trim().split(':');
    let mut next = |below: u32| {
        let part = parts.next()?;
        let digits = matches!(part.len(), 1 | 2) && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse().ok()).flatten().filter(|number| *number < below)
    };
    let (hour, minute) = (next(24)?, next(60)?);
    let second = if text.matches(':').count() == 1 { 0 } else { next(60)? };
    parts.next().is_none().then_some(hour * 3_600 + minute * 60 + second)
}

/// Text with the backslash sequences `\t`, `\n`, `\r`, `\\` and `\xHH` (ASCII) resolved; any other
/// backslash stands for itself. None for a number that is no ASCII character, or zero.
///
/// YAML has resolved them in double quotes already; files in the field write them without, too.
pub(super) fn unescaped(text: &str) -> Option<String> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        result.push_str(before);
        let (sign, length) = match after.chars().next() {
            Some('t') => ('\t', 1),
            Some('n') => ('\n', 1),
            Some('r') => ('\r', 1),
            Some('\\') => ('\\', 1),
            Some('x') => {
                let hex = after.get(1..3).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
                match u8::from_str_radix(hex?, 16) {
                    Ok(byte @ 1..=127) => (char::from(byte), 3),
                    _ => return None,
                }
            }
            _ => ('\\', 0),
        };
        result.push(sign);
        rest = after.get(length..)?;
    }
    result.push_str(rest);
    Some(result)
}

/// A text that `unescaped` takes for this one.
pub(super) fn escaped(text: &str) -> String {
    // A lone backslash, as QUOTE and ESCAPE have it, needs no other.
    if text == "\\" { text.to_owned() } else { text.replace('\\', "\\\\") }
}

pub(super) fn error_limit(value: Value) -> Result<ErrorLimit> {
    let place = value.place();
    ErrorLimit::parse(&value.text()?).ok_or_else(|| place.invalid(ErrorLimit::FORM))
}

/// PARTITIONS: a text such as `(1, 3...5)`, or a list of such.
pub(super) fn partitions(value: Value) -> Result<Partitions> {
    let place = value.place();
    let text = if value.is_list() {
        value.list()?.into_iter().map(Value::text).collect::<Result<Vec<_>>>()?.join(",")
    } else {
        value.text()?
    };
    Partitions::parse(&text).ok_or_else(|| place.invalid(Partitions::FORM))
}

pub(super) fn fallback(value: Value) -> Result<Fallback> {
    let place = value.place();
    let wrong = "must be earliest or latest";
    let name = choice(value, &Fallback::NAMES, wrong)?;
    Fallback::by_name(name).ok_or_else(|| place.invalid(wrong))
}

pub(super) fn missing_topic(value: Value) -> Result<MissingTopic> {
    let place = value.place();
    let wrong = "must be wait or fail";
    let name = choice(value, &MissingTopic::NAMES, wrong)?;
    MissingTopic::by_name(name).ok_or_else(|| place.invalid(wrong))
}

/// Client properties, in their order.
pub(super) fn properties(properties: Map) -> Result<Vec<(String, String)>> {
    properties.into_pairs().into_iter().map(|(name, value)| Ok((name, value.text()?))).collect()
}

/// The one value of a list that may have only one.
pub(super) fn only(value: Value, why: &str) -> Result<Value> {
    let place = value.place();
    match <[Value; 1]>::try_from(value.list()?) {
        Ok([value]) => Ok(value),
        Err(_) => Err(place.invalid("must have exactly one entry").hint(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::parse;
    use super::*;
    use proptest::prelude::*;

    fn value(text: &str) -> Value {
        parse(text).unwrap()
    }

    #[test]
    fn durations() {
        for (text, ms) in [
            ("30s", 30_000),
            ("5m", 300_000),
            ("8h", 28_800_000),
            ("1d", 86_400_000),
            ("250ms", 250),
            ("2", 2_000),
            (" 3 S ", 3_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(value(&format!("'{text}'"))), Ok(ms), "{text}");
        }
        for text in ["-1", "s", "1.5s", "5 weeks", "1h30m", "99999999999999999999", "999999999999d"]
        {
            assert!(duration(value(&format!("'{text}'"))).is_err(), "{text}");
        }
        assert_eq!(limit(value("-1")), Ok(None));
        assert_eq!(limit(value("10s")), Ok(Some(10_000)));
        assert!(limit(value("0")).is_err() && limit(value("-2")).is_err());
    }

    #[test]
    fn times_of_the_day() {
        for (text, seconds) in
            [("00:00", 0), ("18:30", 66_600), ("8:05:09", 29_109), ("'23:59:59'", 86_399)]
        {
            assert_eq!(clock(value(text)), Ok(seconds), "{text}");
        }
        for text in ["24:00", "18", "18:60", "18:30:60", "18:30:00:00", "-1:00", "+1:00", "18:"] {
            let error = clock(value(&format!("'{text}'"))).unwrap_err();
            assert!(error.message.ends_with("must be a time of the day such as 18:30"), "{text}");
        }
    }

    #[test]
    fn backslash_sequences() {
        for (text, wanted) in [
            ("|", "|"),
            ("\\t\\n\\r\\\\", "\t\n\r\\"),
            ("\\x03~\\x1F", "\x03~\x1f"),
            ("\\", "\\"),
            ("\\|", "\\|"),
            ("\\ä\\", "\\ä\\"),
        ] {
            assert_eq!(unescaped(text).as_deref(), Some(wanted));
        }
        for text in ["\\x00", "\\xff", "\\x3", "\\x", "\\xzz", "\\x+1", "\\xä"] {
            assert_eq!(unescaped(text), None, "{text}");
        }
    }

    #[test]
    fn lists_of_names_in_both_forms() {
        for text in ["[a, '\"b,c\"']", "'a, \"b,c\"'"] {
            assert_eq!(names(value(text)).unwrap(), ["a", "b,c"]);
        }
        for text in ["[]", "[a, a]", "'a,'", "[a.b]", "[[a]]"] {
            assert!(names(value(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn partitions_in_both_forms() {
        for text in ["(1, 3...5)", "[1, 3...5]", "\"1,3-5\""] {
            assert_eq!(partitions(value(text)).unwrap().to_string(), "1, 3...5");
        }
        assert!(partitions(value("[]")).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_reader_panic(text in "[0-9:dhms\\\\xtn .,\"é+-]{0,8}") {
            let _ = (milliseconds(&text), seconds(&text), unescaped(&text), name::list(&text));
        }
    }
}
