//! Tests of the casts: for each type a table of forms, and properties.

use proptest::prelude::*;

use super::*;

const ALL: [Cast; 11] = [
    Cast::Bool,
    Cast::Int2,
    Cast::Int4,
    Cast::Int8,
    Cast::Float4,
    Cast::Float8,
    Cast::Numeric,
    Cast::Date,
    Cast::Timestamp,
    Cast::Timestamptz,
    Cast::Uuid,
];

fn fixed(text: &str, to: Cast) -> Option<i64> {
    let mut out = Vec::new();
    let converted = cast(text.as_bytes(), to, &mut out);
    assert!(out.is_empty());
    converted.map(|converted| match converted {
        Converted::Fixed(value) => value,
        Converted::Bytes => panic!("{text} is no {to:?}"),
    })
}

fn bytes(text: &str, to: Cast) -> Option<Vec<u8>> {
    let mut out = b"before".to_vec();
    let converted = cast(text.as_bytes(), to, &mut out);
    let bytes = out.split_off("before".len());
    assert_eq!(out, b"before");
    assert!(converted.is_some() || bytes.is_empty());
    converted.map(|converted| {
        assert_eq!(converted, Converted::Bytes);
        bytes
    })
}

/// A numeric as sign, digits to the base 10,000, weight and display scale.
fn numeric(text: &str) -> Option<(char, Vec<u16>, i16, u16)> {
    let bytes = bytes(text, Cast::Numeric)?;
    let mut words = bytes.as_chunks().0.iter().map(|&word| u16::from_ne_bytes(word));
    let header = words.next().unwrap();
    assert_eq!(header & 0xc000, 0x8000, "short");
    let sign = if header & 0x2000 == 0 { '+' } else { '-' };
    let weight = (header & 0x3f) as i16 - (header & 0x40) as i16;
    Some((sign, words.collect(), weight, (header >> 7) & 0x3f))
}

#[test]
fn booleans() {
    for (text, want) in [("true", 1), ("false", 0), ("t", 1), ("f", 0)] {
        assert_eq!(fixed(text, Cast::Bool), Some(want), "{text}");
    }
    for text in ["", "True", "TRUE", "tru", "truex", " true", "yes", "on", "1", "0", "null"] {
        assert_eq!(fixed(text, Cast::Bool), None, "{text}");
    }
}

#[test]
fn integers() {
    for (text, want) in [
        ("0", 0),
        ("-0", 0),
        ("7", 7),
        ("-12345678", -12345678),
        ("007", 7),
        ("0000000000000000001", 1),
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775808", i64::MIN),
    ] {
        assert_eq!(fixed(text, Cast::Int8), Some(want), "{text}");
    }
    for text in [
        "",
        "-",
        "+1",
        "--1",
        " 1",
        "1 ",
        "1.0",
        "1e3",
        "1_000",
        "0x10",
        "0b1",
        "0o7",
        "12345678/",
        "1234567:",
        "٣",
        "NaN",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
        "00000000000000000001",
    ] {
        assert_eq!(fixed(text, Cast::Int8), None, "{text}");
    }
    for (text, int2, int4) in [
        ("-32768", true, true),
        ("32767", true, true),
        ("-32769", false, true),
        ("32768", false, true),
        ("-2147483648", false, true),
        ("2147483647", false, true),
        ("-2147483649", false, false),
        ("2147483648", false, false),
    ] {
        let want = text.parse().unwrap();
        assert_eq!(fixed(text, Cast::Int2), int2.then_some(want), "{text}");
        assert_eq!(fixed(text, Cast::Int4), int4.then_some(want), "{text}");
    }
}

#[test]
fn floats() {
    for (text, want) in [
        ("0", 0.0),
        ("-0", -0.0),
        ("0.000", 0.0),
        ("-12.5", -12.5),
        ("1e22", 1e22),
        ("1E+5", 1e5),
        ("4.35", 4.35),
        ("2.2250738585072014e-308", f64::MIN_POSITIVE),
        ("1.7976931348623157e308", f64::MAX),
        ("9007199254740993", 9007199254740992.0),
    ] {
        let want = f64::to_bits(want).cast_signed();
        assert_eq!(fixed(text, Cast::Float8), Some(want), "{text}");
    }
    assert_eq!(fixed("-1.5", Cast::Float4), Some(0xffff_ffff_bfc0_0000_u64.cast_signed()));
    // Rounded once: by way of a float8 it would become 1.
    assert_eq!(fixed("1.000000059604644776", Cast::Float4), Some(0x3f80_0001));
    for text in [
        "", "-", ".", "e5", "1e", "1e+", "1.2.3", "--1", "1-", " 1", "1 ", "1_0", "0x1p3", "1,5",
        "٣", "NaN", "nan", "inf", "-inf", "Infinity", "1e400", "-1e400", "1e-400", "1e-310", "0e5",
    ] {
        assert_eq!(fixed(text, Cast::Float8), None, "{text}");
    }
    for text in ["3.5e38", "1e-39", "1e-46", "NaN"] {
        assert_eq!(fixed(text, Cast::Float4), None, "{text}");
    }
    assert!(fixed(&"1".repeat(64), Cast::Float8).is_some());
    assert_eq!(fixed(&"1".repeat(65), Cast::Float8), None);
}

#[test]
fn numerics() {
    for (text, sign, digits, weight, dscale) in [
        ("0", '+', &[][..], 0, 0),
        ("-0", '+', &[], 0, 0),
        ("-0.00", '+', &[], 0, 2),
        ("1", '+', &[1], 0, 0),
        ("-1234.56", '-', &[1234, 5600], 0, 2),
        ("12345.678", '+', &[1, 2345, 6780], 1, 3),
        ("0001.5", '+', &[1, 5000], 0, 1),
        ("000000001", '+', &[1], 0, 0),
        ("100000000", '+', &[1], 2, 0),
        ("100000000.50", '+', &[1, 0, 0, 5000], 2, 2),
        ("0.1", '+', &[1000], -1, 1),
        ("0.00000000001230", '+', &[12, 3000], -3, 14),
    ] {
        assert_eq!(numeric(text), Some((sign, digits.to_vec(), weight, dscale)), "{text}");
    }
    for text in [
        "", "-", ".", "1.", ".5", "-.5", "+1", "1e5", "1_000", "0x10", " 1", "1 ", "1.2.3", "1.-2",
        "1-", "٣", "NaN", "inf", "Infinity",
    ] {
        assert_eq!(numeric(text), None, "{text}");
    }
    let (zeros, nines) = ("0".repeat(62), "9".repeat(64));
    assert_eq!(numeric(&format!("0.{zeros}1")), Some(('+', vec![10], -16, 63)));
    assert_eq!(numeric(&nines), Some(('+', vec![9999; 16], 15, 0)));
    assert_eq!(numeric(&format!("0.{zeros}01")), None);
    assert_eq!(numeric(&format!("9{nines}")), None);
}

#[test]
fn dates() {
    for (text, want) in [
        ("2000-01-01", 0),
        ("1999-12-31", -1),
        ("1970-01-01", -10957),
        ("2000-02-29", 59),
        ("2024-02-29", 8825),
        ("0001-01-01", -730119),
        ("9999-12-31", 2921939),
    ] {
        assert_eq!(fixed(text, Cast::Date), Some(want), "{text}");
    }
    for text in [
        "",
        "2023-02-29",
        "1900-02-29",
        "2023-04-31",
        "2023-00-01",
        "2023-13-01",
        "2023-01-00",
        "2023-01-32",
        "0000-00-00",
        "0000-01-01",
        "10000-01-01",
        "23-01-01",
        "2023-1-1",
        "20230101",
        "2023/01/01",
        "2023-01/01",
        "2023-01-01 ",
        " 2023-01-01",
        "-2023-01-01",
        "01-02-2023",
        "2023-01-01T",
        "2023-01-01 BC",
        "٢٠٢٣-01-01",
        "today",
        "infinity",
    ] {
        assert_eq!(fixed(text, Cast::Date), None, "{text}");
    }
}

#[test]
fn timestamps() {
    const HOUR: i64 = 3_600_000_000;
    for (text, want) in [
        ("2000-01-01 00:00:00", 0),
        ("2000-01-01T01:00:00", HOUR),
        ("2000-01-01T00:00:01.5", 1_500_000),
        ("2000-01-01T00:00:00.000001", 1),
        ("2000-01-01T00:00:00.0000014", 1),
        ("2000-01-01T00:00:00.000001501", 2),
        ("1999-12-31T23:59:59.9999999", 0),
        // A zone is disregarded.
        ("2000-01-01T01:00:00Z", HOUR),
        ("2000-01-01T01:00:00.000-07:30", HOUR),
    ] {
        assert_eq!(fixed(text, Cast::Timestamp), Some(want), "{text}");
    }
    for (text, want) in [
        ("2000-01-01T00:00:00Z", 0),
        ("2000-01-01 02:00:00+01", HOUR),
        ("2000-01-01 02:00:00-01", 3 * HOUR),
        ("2000-01-01T05:30:00+05:30", 0),
        ("2000-01-01T05:30:00.25+0530", 250_000),
        ("2000-01-01T00:00:00-00:30", HOUR / 2),
        ("2000-01-01T00:00:00+15:59", HOUR / 60 - 16 * HOUR),
    ] {
        assert_eq!(fixed(text, Cast::Timestamptz), Some(want), "{text}");
    }
    for time in [
        "",
        "12:00",
        "24:00:00",
        "23:60:00",
        "23:59:60",
        "12:00:00.",
        "12:00:00,5",
        "12:00:00 ",
        "12.00.00",
        "1:00:00",
        "12:00:00.0000005",
        "12:00:00.0000000001",
        "12:00:00 Z",
        "12:00:00z",
        "12:00:00ZZ",
        "12:00:00+",
        "12:00:00+1",
        "12:00:00+123",
        "12:00:00+16",
        "12:00:00+01:60",
        "12:00:00+01:00:00",
        "12:00:00 UTC",
        "12:00:00 PM",
        "12:00:00 BC",
        "12:00:00.-1",
    ] {
        let text = format!("2023-01-01 {time}");
        assert_eq!(fixed(&text, Cast::Timestamp), None, "{text}");
        assert_eq!(fixed(&text, Cast::Timestamptz), None, "{text}");
    }
    for text in ["2023-01-01", "2023-02-29 12:00:00Z", "2023-01-01t12:00:00Z", "now", "infinity"] {
        assert_eq!(fixed(text, Cast::Timestamp), None, "{text}");
        assert_eq!(fixed(text, Cast::Timestamptz), None, "{text}");
    }
    assert_eq!(fixed("2000-01-01 00:00:00", Cast::Timestamptz), None, "depends on TimeZone");
}

#[test]
fn uuids() {
    let want = b"\xa0\xee\xbc\x99\x9c\x0b\x4e\xf8\xbb\x6d\x6b\xb9\xbd\x38\x0a\x11".to_vec();
    for text in ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9c0b-4Ef8-BB6D-6bb9bd380a11"] {
        assert_eq!(bytes(text, Cast::Uuid), Some(want.clone()), "{text}");
    }
    for text in [
        "",
        "a0eebc999c0b4ef8bb6d6bb9bd380a11",
        "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 ",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380ag1",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a:1",
        "a0eebc999-c0b-4ef8-bb6d-6bb9bd380a11",
        "a0eebc99-9c0b-4ef8-bb6d_6bb9bd380a11",
        "aéebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    ] {
        assert_eq!(bytes(text, Cast::Uuid), None, "{text}");
    }
}

proptest! {
    #[test]
    fn integers_come_back(int in any::<i64>(), bits in 0_u32..64) {
        let int = int >> bits;
        prop_assert_eq!(fixed(&int.to_string(), Cast::Int8), Some(int));
        let want = i32::try_from(int).ok().map(i64::from);
        prop_assert_eq!(fixed(&int.to_string(), Cast::Int4), want);
    }

    #[test]
    fn floats_come_back(float in prop::num::f64::NORMAL, single in prop::num::f32::NORMAL) {
        prop_assert_eq!(fixed(&format!("{float:e}"), Cast::Float8), Some(float.to_bits() as i64));
        let want = i64::from(single.to_bits() as i32);
        prop_assert_eq!(fixed(&format!("{single:e}"), Cast::Float4), Some(want));
    }

    #[test]
    fn digits_of_a_numeric_come_back(text in "-?[0-9]{1,64}(\\.[0-9]{1,63})?") {
        let (sign, digits, weight, dscale) = numeric(&text).unwrap();
        prop_assert!(digits.first() != Some(&0) && digits.last() != Some(&0));
        let digit = |at: i16| usize::try_from(weight - at).ok().and_then(|at| digits.get(at));
        let four = |at| format!("{:04}", digit(at).unwrap_or(&0));
        let whole: String = (0..16).rev().map(four).collect();
        let fraction: String = (-16..0).rev().map(four).collect();
        let (want_whole, want_fraction) = text.split_once('.').unwrap_or((&text, ""));
        let want_whole = want_whole.trim_start_matches('-');
        prop_assert_eq!(whole.trim_start_matches('0'), want_whole.trim_start_matches('0'));
        prop_assert_eq!(usize::from(dscale), want_fraction.len());
        prop_assert_eq!(fraction.trim_end_matches('0'), want_fraction.trim_end_matches('0'));
        prop_assert_eq!(sign == '-', text.starts_with('-') && !digits.is_empty());
    }

    #[test]
    fn a_day_later_is_one_more(year in 1..=9999, month in 1..=12, day in 1..=31) {
        let days = |year, month, day| fixed(&format!("{year:04}-{month:02}-{day:02}"), Cast::Date);
        let next = |tomorrow: Option<i64>| tomorrow.map(|day| day - 1);
        let last = days(year, month, day + 1).is_none();
        match days(year, month, day) {
            None => prop_assert!(day > 28),
            today if !last => prop_assert_eq!(today, next(days(year, month, day + 1))),
            today if month < 12 => prop_assert_eq!(today, next(days(year, month + 1, 1))),
            today if year < 9999 => prop_assert_eq!(today, next(days(year + 1, 1, 1))),
            _ => {}
        }
    }

    #[test]
    fn a_timestamp_is_its_parts(
        date in (1..=9999, 1..=12, 1..=28), second in 0_i64..86_400, micros in 0_i64..1_000_000,
        minutes_east in -959_i64..960,
    ) {
        let date = format!("{:04}-{:02}-{:02}", date.0, date.1, date.2);
        let micros_of_day = second * 1_000_000 + micros;
        let want = fixed(&date, Cast::Date).unwrap() * 86_400_000_000 + micros_of_day;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let text = format!("{date}T{hour:02}:{minute:02}:{second:02}.{micros:06}");
        prop_assert_eq!(fixed(&text, Cast::Timestamp), Some(want));
        let (sign, zone) = (if minutes_east < 0 { '-' } else { '+' }, minutes_east.abs());
        let text = format!("{text}{sign}{:02}:{:02}", zone / 60, zone % 60);
        prop_assert_eq!(fixed(&text, Cast::Timestamptz), Some(want - minutes_east * 60_000_000));
    }

    #[test]
    fn a_uuid_comes_back(uuid in any::<[u8; 16]>(), upper: bool) {
        let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
        let text = if upper { parts.to_uppercase() } else { parts };
        prop_assert_eq!(bytes(&text, Cast::Uuid), Some(uuid.to_vec()));
    }

    #[test]
    fn any_bytes_are_survived(text in prop::collection::vec(any::<u8>(), 0..80)) {
        for to in ALL {
            let mut out = Vec::new();
            if cast(&text, to, &mut out).is_none() {
                prop_assert!(out.is_empty());
            }
        }
    }

    #[test]
    fn almost_numbers_and_dates_are_survived(text in "[-+.:eTZ 0-9]{0,80}") {
        for to in ALL {
            let _ = cast(text.as_bytes(), to, &mut Vec::new());
        }
    }
}
