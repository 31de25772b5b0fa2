//! Dates and timestamps in ISO 8601, which do not depend on `DateStyle`: with a year of four digits
//! first, `DecodeDate` (`utils/adt/datetime.c`) takes what follows for month and day.

use super::digits::{number, three_twos, two};

const DAY: i64 = 86_400 * SECOND;
const SECOND: i64 = 1_000_000;

/// The most hours in a zone's offset, `MAX_TZDISP_HOUR`.
const MAX_ZONE_HOUR: u32 = 15;

/// `YYYY-MM-DD`: days since 2000-01-01.
pub(super) fn date(text: &[u8]) -> Option<i64> {
    let (days, rest) = days(text)?;
    rest.is_empty().then_some(days)
}

/// A timestamp: microseconds since 2000-01-01. `timestamp_in` checks a zone and disregards it.
pub(super) fn timestamp(text: &[u8]) -> Option<i64> {
    let (local, zone) = local(text)?;
    if !zone.is_empty() {
        offset(zone)?;
    }
    Some(local)
}

/// A timestamp with its zone, without which it would depend on `TimeZone`: microseconds since
/// 2000-01-01 in UTC.
pub(super) fn timestamptz(text: &[u8]) -> Option<i64> {
    let (local, zone) = local(text)?;
    Some(local - offset(zone)?)
}

/// The microseconds since 2000-01-01 of `YYYY-MM-DD HH:MM:SS.ffffff`, or with a `T`, and the zone
/// that follows. The times that PostgreSQL carries over, 24:00:00 and a second 60, are left to it.
#[inline]
fn local(text: &[u8]) -> Option<(i64, &[u8])> {
    let (days, text) = days(text)?;
    let [b' ' | b'T', text @ ..] = text else { return None };
    let (&time, text) = text.split_first_chunk()?;
    let [hour, minute, second] = three_twos(time, b':')?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = i64::from((hour * 60 + minute) * 60 + second);
    let (fraction, zone) = match text {
        [b'.', text @ ..] => fraction(text)?,
        _ => (0, text),
    };
    Some((days * DAY + seconds * SECOND + fraction, zone))
}

/// The microseconds of up to nine digits, and what follows. PostgreSQL rounds a float
/// (`ParseFractionalSecond`): of so few digits that can differ from decimal rounding only halfway
/// between two microseconds.
#[inline]
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, rest) = text.split_at(len);
    let nanoseconds = i64::try_from(number(fraction)?).ok()? * NANOSECONDS.get(len)?;
    let halfway = nanoseconds % 1000 == 500;
    (!halfway).then_some(((nanoseconds + 500) / 1000, rest))
}

/// The weight of the last of this many digits.
const NANOSECONDS: [i64; 10] =
    [0, 100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];

/// A zone's microseconds east of UTC: `Z`, `+HH`, `+HHMM` or `+HH:MM` (`DecodeTimezone`). `Z` is in
/// every file for `timezone_abbreviations` that PostgreSQL has, and no zone of the world's has
/// another use for it.
#[inline]
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, [h1, h2], [m1, m2]) = match *zone {
        [b'Z'] => return Some(0),
        [sign, h1, h2] => (sign, [h1, h2], [b'0'; 2]),
        [sign, h1, h2, m1, m2] | [sign, h1, h2, b':', m1, m2] => (sign, [h1, h2], [m1, m2]),
        _ => return None,
    };
    let (hour, minute) = (two([h1, h2])?, two([m1, m2])?);
    if hour > MAX_ZONE_HOUR || minute > 59 {
        return None;
    }
    let offset = i64::from((hour * 60 + minute) * 60) * SECOND;
    match sign {
        b'+' => Some(offset),
        b'-' => Some(-offset),
        _ => None,
    }
}

/// The days from 2000-01-01 to a date after Christ, and what follows the date.
#[inline]
fn days(text: &[u8]) -> Option<(i64, &[u8])> {
    let (&century, text) = text.split_first_chunk()?;
    let (&date, rest) = text.split_first_chunk()?;
    let (century, [year, month, day]) = (two(century)?, three_twos(date, b'-')?);
    let leap = if year == 0 { century % 4 == 0 } else { year % 4 == 0 };
    let year = century * 100 + year;
    let last = *LAST_DAY.get(month as usize)? + u32::from(month == 2 && leap);
    if year == 0 || day == 0 || day > last {
        return None;
    }
    // Years that begin with March: the day that comes and goes is their last one, and their months
    // of 31, 30, 31, 30, 31 days repeat every 153.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = year * 365 + leap_days + (month * 153 + 2) / 5 + (day - 1);
    Some((i64::from(days) - MARCH_0_TO_2000, rest))
}

/// The days from March 1 of the year 0 to 2000-01-01.
const MARCH_0_TO_2000: i64 = 730_425;

/// The last day of each month of a common year, from January at 1.
const LAST_DAY: [u32; 13] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
