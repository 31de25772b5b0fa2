//! Integers and floats, as `int8in` and `float8in` and their siblings read them.

use super::digits;

/// Enough for what programs write. It also bounds what digits can do against an exponent: the
/// standard library does not count beyond some hundred thousand.
const MAX_FLOAT: usize = 64;

/// An optional minus sign and digits, as `pg_strtoint64` (`utils/adt/numutils.c`) takes them in all
/// versions; the datum of an integer is the sign-extended number.
#[inline]
pub(super) fn integer<T: TryFrom<i64>>(text: &[u8]) -> Option<i64> {
    let number = match text {
        [b'-', text @ ..] => 0_i64.checked_sub_unsigned(digits::number(text)?)?,
        _ => i64::try_from(digits::number(text)?).ok()?,
    };
    T::try_from(number).is_ok().then_some(number)
}

/// `float4in_internal` (`utils/adt/float.c`): the bits, sign-extended.
pub(super) fn float4(text: &[u8]) -> Option<i64> {
    let float: f32 = float_text(text)?.parse().ok()?;
    let sure = float.is_normal() || float == 0.0 && is_zero(text);
    sure.then(|| i64::from(float.to_bits().cast_signed()))
}

/// `float8in_internal` (`utils/adt/float.c`): the bits.
pub(super) fn float8(text: &[u8]) -> Option<i64> {
    let float: f64 = float_text(text)?.parse().ok()?;
    let sure = float.is_normal() || float == 0.0 && is_zero(text);
    sure.then(|| float.to_bits().cast_signed())
}

/// The text of what can only be a decimal number. The standard library rounds it correctly, as C's
/// `strtod` does; infinity and NaN, which both know by name, are kept away from it. Where it goes
/// to infinity or to zero PostgreSQL raises an error, and whether it does so for subnormal numbers
/// depends on the platform: hence the callers' checks.
fn float_text(text: &[u8]) -> Option<&str> {
    let decimal = |b: &u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let plain = text.len() <= MAX_FLOAT && text.iter().all(decimal);
    plain.then(|| str::from_utf8(text).ok()).flatten()
}

/// Whether a number is written as zero, and has not become zero by underflow.
fn is_zero(text: &[u8]) -> bool {
    text.iter().all(|b| matches!(b, b'0' | b'-' | b'.'))
}
