//! The messages of google/protobuf/ that JSON writes in a form of their own: their declarations,
//! which are built in, and these forms.

use super::decl::Scalar;
use super::json;

/// A form of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Any,
    Timestamp,
    Duration,
    FieldMask,
    Struct,
    Value,
    ListValue,
    /// One value in a message, field 1, so that it can be absent.
    Wrapper(Scalar),
}

impl Known {
    pub fn by_name(name: &str) -> Option<Known> {
        Some(match name.strip_prefix("google.protobuf.")? {
            "Any" => Known::Any,
            "Timestamp" => Known::Timestamp,
            "Duration" => Known::Duration,
            "FieldMask" => Known::FieldMask,
            "Struct" => Known::Struct,
            "Value" => Known::Value,
            "ListValue" => Known::ListValue,
            "DoubleValue" => Known::Wrapper(Scalar::Double),
            "FloatValue" => Known::Wrapper(Scalar::Float),
            "Int64Value" => Known::Wrapper(Scalar::Int64),
            "UInt64Value" => Known::Wrapper(Scalar::Uint64),
            "Int32Value" => Known::Wrapper(Scalar::Int32),
            "UInt32Value" => Known::Wrapper(Scalar::Uint32),
            "BoolValue" => Known::Wrapper(Scalar::Bool),
            "StringValue" => Known::Wrapper(Scalar::String),
            "BytesValue" => Known::Wrapper(Scalar::Bytes),
            _ => return None,
        })
    }
}

/// Whether a type is always the one declared here, whatever a schema says about it.
pub(super) fn is_built_in(name: &str) -> bool {
    let name = name.strip_suffix(".FieldsEntry").unwrap_or(name);
    Known::by_name(name).is_some()
        || matches!(name, "google.protobuf.Empty" | "google.protobuf.NullValue")
}

pub(super) const DECLARATIONS: &str = r#"
syntax = "proto3";
package google.protobuf;
message Any { string type_url = 1; bytes value = 2; }
message Timestamp { int64 seconds = 1; int32 nanos = 2; }
message Duration { int64 seconds = 1; int32 nanos = 2; }
message FieldMask { repeated string paths = 1; }
message Empty {}
message Struct { map<string, Value> fields = 1; }
message Value {
  oneof kind {
    NullValue null_value = 1;
    double number_value = 2;
    string string_value = 3;
    bool bool_value = 4;
    Struct struct_value = 5;
    ListValue list_value = 6;
  }
}
enum NullValue { NULL_VALUE = 0; }
message ListValue { repeated Value values = 1; }
message DoubleValue { double value = 1; }
message FloatValue { float value = 1; }
message Int64Value { int64 value = 1; }
message UInt64Value { uint64 value = 1; }
message Int32Value { int32 value = 1; }
message UInt32Value { uint32 value = 1; }
message BoolValue { bool value = 1; }
message StringValue { string value = 1; }
message BytesValue { bytes value = 1; }
"#;

/// From 0001-01-01T00:00:00Z up to 9999-12-31T23:59:59Z, in seconds of the Unix epoch.
const TIMESTAMPS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// About 10,000 years.
const DURATIONS: std::ops::RangeInclusive<i64> = -315_576_000_000..=315_576_000_000;
const SECONDS_OF_DAY: i64 = 86_400;

/// RFC 3339, in UTC.
pub(super) fn timestamp(seconds: i64, nanos: i32, out: &mut Vec<u8>) -> Result<(), &'static str> {
    if !TIMESTAMPS.contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return Err("timestamp out of range");
    }
    let (year, month, day) = date(seconds.div_euclid(SECONDS_OF_DAY));
    let second = seconds.rem_euclid(SECONDS_OF_DAY);
    out.push(b'"');
    padded(year, 4, out);
    out.push(b'-');
    padded(month, 2, out);
    out.push(b'-');
    padded(day, 2, out);
    out.push(b'T');
    padded(second / 3600, 2, out);
    out.push(b':');
    padded(second / 60 % 60, 2, out);
    out.push(b':');
    padded(second % 60, 2, out);
    fraction(nanos, out);
    out.extend_from_slice(b"Z\"");
    Ok(())
}

/// The date of a day of the Unix epoch, in the Gregorian calendar: year, month, day.
fn date(day: i64) -> (i64, i64, i64) {
    // Days since 0000-03-01: a year that begins in March ends with its leap day.
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, of_month)
}

/// A number from zero up, with zeros in front.
fn padded(number: i64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    json::signed(number, out);
    for _ in out.len() - start..width {
        out.insert(start, b'0');
    }
}

/// Nanoseconds as a fraction of no, three, six or nine digits.
fn fraction(nanos: i32, out: &mut Vec<u8>) {
    let nanos = i64::from(nanos.unsigned_abs());
    let (number, width) = match nanos {
        0 => return,
        n if n % 1_000_000 == 0 => (n / 1_000_000, 3),
        n if n % 1_000 == 0 => (n / 1_000, 6),
        n => (n, 9),
    };
    out.push(b'.');
    padded(number, width, out);
}

/// Seconds with an `s` behind.
pub(super) fn duration(seconds: i64, nanos: i32, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let signs_differ = (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0);
    if !DURATIONS.contains(&seconds) || nanos.unsigned_abs() > 999_999_999 || signs_differ {
        return Err("duration out of range");
    }
    out.push(b'"');
    if seconds < 0 || nanos < 0 {
        out.push(b'-');
    }
    json::unsigned(seconds.unsigned_abs(), out);
    fraction(nanos, out);
    out.extend_from_slice(b"s\"");
    Ok(())
}

/// A path of a field mask, its names in lowerCamelCase.
pub(super) fn mask_path(path: &str) -> Result<String, &'static str> {
    let mut camel = String::with_capacity(path.len());
    let mut after_underscore = false;
    for c in path.chars() {
        match c {
            _ if after_underscore && !c.is_ascii_lowercase() => {
                return Err("a path of a field mask has no name in lowerCamelCase");
            }
            'A'..='Z' => return Err("a path of a field mask has no name in lowerCamelCase"),
            '_' => after_underscore = true,
            c if after_underscore => {
                camel.push(c.to_ascii_uppercase());
                after_underscore = false;
            }
            c => camel.push(c),
        }
    }
    if after_underscore {
        return Err("a path of a field mask has no name in lowerCamelCase");
    }
    Ok(camel)
}
