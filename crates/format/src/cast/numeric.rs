//! `numeric`: a header and digits to the base 10,000, as `numeric_in` (`utils/adt/numeric.c`) makes
//! them.

use super::digits;

/// Decimal digits in one digit of a numeric, `DEC_DIGITS`.
const DEC_DIGITS: usize = 4;

/// The most decimal digits before the point.
const MAX_WHOLE: usize = 64;

/// The most decimal digits behind the point: what the display scale of a short header can count,
/// `NUMERIC_SHORT_DSCALE_MAX`. With these bounds the weight, too, is within a short header.
const MAX_FRACTION: usize = 63;

/// The most digits with these bounds.
const MAX_DIGITS: usize = MAX_WHOLE.div_ceil(DEC_DIGITS) + MAX_FRACTION.div_ceil(DEC_DIGITS);

// The parts of `n_header` in `struct NumericShort`.
const SHORT: u16 = 0x8000;
const SIGN: u16 = 0x2000;
const DSCALE_SHIFT: u32 = 7;
/// The weight's sign and six more bits, together a number in two's complement.
const WEIGHT: u16 = 0x007f;

/// Appends the numeric of an optional minus sign, digits and perhaps a point and more digits.
/// Exponents, rare for a numeric, are left to PostgreSQL.
pub(super) fn numeric(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (negative, text) = match text {
        [b'-', text @ ..] => (true, text),
        _ => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|&byte| byte == b'.') {
        Some(point) => (text.get(..point)?, text.get(point + 1..).filter(|text| !text.is_empty())?),
        None => (text, &b""[..]),
    };
    if whole.is_empty() || whole.len() > MAX_WHOLE || fraction.len() > MAX_FRACTION {
        return None;
    }
    let mut value = Value::new(whole.len().div_ceil(DEC_DIGITS));

    let (first, whole) = whole.split_at(whole.len() % DEC_DIGITS);
    if !first.is_empty() {
        value.push(digits::number(first)? as u32);
    }
    for &four in whole.as_chunks().0 {
        value.push(digits::four(four)?);
    }
    let (fours, last) = fraction.as_chunks();
    for &four in fours {
        value.push(digits::four(four)?);
    }
    if !last.is_empty() {
        let mut padded = [b'0'; DEC_DIGITS];
        padded.iter_mut().zip(last).for_each(|(to, &from)| *to = from);
        value.push(digits::four(padded)?);
    }
    value.append(negative, fraction.len(), out);
    Some(())
}

/// A numeric's digits, without zeros at their beginning.
struct Value {
    digits: [[u8; 2]; MAX_DIGITS],
    len: usize,
    /// The length without zeros at the end.
    significant: usize,
    /// How many digits stand before the point, less one.
    weight: i16,
}

impl Value {
    fn new(before_point: usize) -> Self {
        let weight = before_point as i16 - 1;
        Self { digits: [[0; 2]; MAX_DIGITS], len: 0, significant: 0, weight }
    }

    #[inline]
    fn push(&mut self, digit: u32) {
        if digit == 0 && self.len == 0 {
            self.weight -= 1;
            return;
        }
        if let Some(place) = self.digits.get_mut(self.len) {
            *place = (digit as u16).to_ne_bytes();
        }
        self.len += 1;
        if digit != 0 {
            self.significant = self.len;
        }
    }

    /// Appends header and digits as `make_result` writes them: zero has no digits, no weight and no
    /// sign, but keeps its display scale.
    #[inline]
    fn append(&self, negative: bool, dscale: usize, out: &mut Vec<u8>) {
        let digits = self.digits.get(..self.significant).unwrap_or_default();
        let mut header = SHORT | (dscale as u16) << DSCALE_SHIFT;
        if !digits.is_empty() {
            header |= self.weight.cast_unsigned() & WEIGHT;
            header |= if negative { SIGN } else { 0 };
        }
        out.extend_from_slice(&header.to_ne_bytes());
        out.extend_from_slice(digits.as_flattened());
    }
}
