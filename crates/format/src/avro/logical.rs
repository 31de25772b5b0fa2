//! The texts of logical types, in forms that PostgreSQL's input functions take: dates, times,
//! timestamps, durations, UUIDs, decimals.

use super::json;
use super::schema::Unit;

/// Longest decimal, in bytes of its unscaled value: time grows with the square of it. That is more
/// than 9,000 digits.
pub(super) const MAX_DECIMAL: usize = 4_096;

const DAY: i64 = 86_400;

impl Unit {
    /// Digits of a fraction of a second.
    fn digits(self) -> usize {
        match self {
            Unit::Millis => 3,
            Unit::Micros => 6,
            Unit::Nanos => 9,
        }
    }

    fn per_second(self) -> i64 {
        match self {
            Unit::Millis => 1_000,
            Unit::Micros => 1_000_000,
            Unit::Nanos => 1_000_000_000,
        }
    }
}

/// Appends a date, in days since 1970-01-01, in quotes: `2024-02-29`, `0044-03-15 BC`.
#[inline(never)]
pub(super) fn push_date(out: &mut Vec<u8>, days: i64) {
    out.push(b'"');
    let era = push_day(out, days);
    out.extend_from_slice(era);
    out.push(b'"');
}

/// Appends a time of day in quotes: `12:34:56.789`; false when no day has it.
#[inline(never)]
pub(super) fn push_time(out: &mut Vec<u8>, time: i64, unit: Unit) -> bool {
    if !(0..DAY * unit.per_second()).contains(&time) {
        return false;
    }
    out.push(b'"');
    push_clock(out, time, unit);
    out.push(b'"');
    true
}

/// Appends a timestamp in quotes: `2024-02-29T12:34:56.789Z`, without Z when it is a local time.
#[inline(never)]
pub(super) fn push_timestamp(out: &mut Vec<u8>, time: i64, unit: Unit, utc: bool) {
    let day = DAY * unit.per_second();
    out.push(b'"');
    let era = push_day(out, time.div_euclid(day));
    out.push(b'T');
    push_clock(out, time.rem_euclid(day), unit);
    if utc {
        out.push(b'Z');
    }
    out.extend_from_slice(era);
    out.push(b'"');
}

/// Appends a duration in quotes, as ISO 8601 has it: `P1M2DT3.004S`.
#[inline(never)]
pub(super) fn push_duration(out: &mut Vec<u8>, bytes: &[u8]) {
    let part = |at: usize| {
        let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.first_chunk());
        u64::from(u32::from_le_bytes(bytes.copied().unwrap_or_default()))
    };
    out.extend_from_slice(b"\"P");
    push_number(out, part(0), 1);
    out.push(b'M');
    push_number(out, part(4), 1);
    out.extend_from_slice(b"DT");
    push_number(out, part(8) / 1_000, 1);
    out.push(b'.');
    push_number(out, part(8) % 1_000, 3);
    out.extend_from_slice(b"S\"");
}

/// Appends a UUID in quotes.
#[inline(never)]
pub(super) fn push_uuid(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for (index, &byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        json::push_hex(out, byte);
    }
    out.push(b'"');
}

/// Appends a decimal as an exact JSON number; `bytes` is the unscaled value, big-endian in two's
/// complement, at most `MAX_DECIMAL` of them.
#[inline(never)]
pub(super) fn push_decimal(out: &mut Vec<u8>, bytes: &[u8], scale: usize) {
    let negative = bytes.first().is_some_and(|&byte| byte >= 0x80);
    if negative {
        out.push(b'-');
    }
    let digits = if bytes.len() <= 16 {
        let sign = if negative { -1_i128 } else { 0 };
        let value = bytes.iter().fold(sign, |value, &byte| (value << 8) | i128::from(byte));
        value.unsigned_abs().to_string().into_bytes()
    } else {
        digits(bytes, negative)
    };
    let whole = digits.len().saturating_sub(scale);
    let (whole_digits, fraction) = digits.split_at(whole);
    out.extend_from_slice(if whole == 0 { b"0" } else { whole_digits });
    if scale > 0 {
        out.push(b'.');
        out.resize(out.len() + (scale - fraction.len()), b'0');
        out.extend_from_slice(fraction);
    }
}

/// The decimal digits of a number's absolute value.
fn digits(bytes: &[u8], negative: bool) -> Vec<u8> {
    /// The largest power of ten in 32 bits.
    const CHUNK: u64 = 1_000_000_000;
    // The magnitude, the lowest limb first.
    let mut limbs = Vec::with_capacity(bytes.len() / 4 + 1);
    let mut carry = u64::from(negative);
    for chunk in bytes.rchunks(4) {
        let sign = if negative { u32::MAX } else { 0 };
        let limb = chunk.iter().fold(sign, |limb, &byte| (limb << 8) | u32::from(byte));
        let sum = u64::from(if negative { !limb } else { limb }) + carry;
        limbs.push(sum as u32);
        carry = sum >> 32;
    }
    limbs.push(carry as u32);
    let mut digits = Vec::with_capacity(bytes.len() * 5 / 2 + 9);
    loop {
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        if limbs.is_empty() {
            break;
        }
        let mut rest = 0;
        for limb in limbs.iter_mut().rev() {
            let value = rest << 32 | u64::from(*limb);
            *limb = (value / CHUNK) as u32;
            rest = value % CHUNK;
        }
        for _ in 0..9 {
            digits.push(b'0' + (rest % 10) as u8);
            rest /= 10;
        }
    }
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    if digits.is_empty() {
        digits.push(b'0');
    }
    digits.reverse();
    digits
}

/// Appends year, month and day of the Gregorian calendar, extended to all times; returns the era to
/// write at the end. The months are counted from March, so that the leap day is a year's last.
fn push_day(out: &mut Vec<u8>, days: i64) -> &'static [u8] {
    // Days since 0000-03-01, in cycles of 400 years.
    let days = days + 719_468;
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_cycle = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = cycle * 400 + year_of_cycle + i64::from(month <= 2);
    let (year, era): (_, &[u8]) = if year > 0 { (year, b"") } else { (1 - year, b" BC") };
    push_number(out, year.unsigned_abs(), 4);
    out.push(b'-');
    push_number(out, month.unsigned_abs(), 2);
    out.push(b'-');
    push_number(out, day.unsigned_abs(), 2);
    era
}

/// Appends a time of day, which has to be one.
fn push_clock(out: &mut Vec<u8>, time: i64, unit: Unit) {
    let seconds = (time / unit.per_second()).unsigned_abs();
    push_number(out, seconds / 3_600, 2);
    out.push(b':');
    push_number(out, seconds / 60 % 60, 2);
    out.push(b':');
    push_number(out, seconds % 60, 2);
    out.push(b'.');
    push_number(out, (time % unit.per_second()).unsigned_abs(), unit.digits());
}

/// Appends a number in at least `width` digits.
pub(super) fn push_number(out: &mut Vec<u8>, mut number: u64, width: usize) {
    let from = out.len();
    while number > 0 || out.len() < from + width {
        out.push(b'0' + (number % 10) as u8);
        number /= 10;
    }
    if let Some(digits) = out.get_mut(from..) {
        digits.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(value: &[u8], scale: usize) -> String {
        let mut out = Vec::new();
        push_decimal(&mut out, value, scale);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn decimals_are_exact() {
        assert_eq!(decimal(&[], 0), "0");
        assert_eq!(decimal(&[0], 2), "0.00");
        assert_eq!(decimal(&[0xff], 2), "-0.01");
        assert_eq!(decimal(&[0x80], 0), "-128");
        assert_eq!(decimal(&[0x30, 0x39], 2), "123.45");
        assert_eq!(decimal(&[0xff; 40], 1), "-0.1");
        assert_eq!(decimal(&[0; 40], 1), "0.0");
        let mut least = [0; 17];
        least[0] = 0x80;
        assert_eq!(decimal(&least, 3), "-43556142965880123323311949751266331066.368");
        // Both ways of counting agree.
        for number in [0, 1, -1, i128::from(i64::MIN), i128::MAX, -987_654_321_987_654_321_987] {
            let wide = [&[if number < 0 { 0xff } else { 0 }][..], &number.to_be_bytes()].concat();
            assert_eq!(decimal(&wide, 0), number.to_string());
            assert_eq!(decimal(&number.to_be_bytes(), 0), number.to_string());
        }
        assert_eq!(decimal(&i128::MIN.to_be_bytes(), 0), i128::MIN.to_string());
    }

    #[test]
    fn dates_reach_beyond_the_eras() {
        let date = |days| {
            let mut out = Vec::new();
            push_date(&mut out, days);
            String::from_utf8(out).unwrap()
        };
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (19_782, "2024-02-29"),
            (19_783, "2024-03-01"),
            (-719_162, "0001-01-01"),
            (-719_163, "0001-12-31 BC"),
            (-735_160, "0044-03-15 BC"),
            (2_932_897, "10000-01-01"),
        ] {
            assert_eq!(date(days), format!("\"{text}\""));
        }
    }
}
