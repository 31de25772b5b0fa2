//! Questions about several bytes at once, which the decoder asks instead of looping over bytes.

use wide::u8x16;

/// Bytes compared at once by `common`.
pub(super) const WIDE: usize = 32;

const ONES: u64 = 0x0101_0101_0101_0101;

/// The `N` bytes at `at`; None when there are less.
#[inline(always)]
pub(super) fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.first_chunk()
}

/// How many bytes are equal in both, up to the first that is not.
#[inline(always)]
pub(super) fn common(a: &[u8; WIDE], b: &[u8; WIDE]) -> usize {
    let ([a0, a1], [b0, b1]) = (halves(a), halves(b));
    let equal = a0.simd_eq(b0).to_bitmask() | a1.simd_eq(b1).to_bitmask() << 16;
    equal.trailing_ones() as usize
}

#[inline(always)]
fn halves(bytes: &[u8; WIDE]) -> [u8x16; 2] {
    let (halves, _) = bytes.as_chunks::<16>();
    [0, 1].map(|i| halves.get(i).map_or_else(u8x16::default, |half| u8x16::new(*half)))
}

/// The position of the next byte that ends a run of plain characters in a string: a quote, a
/// backslash or a control character; the end when there is none.
#[inline(always)]
pub(super) fn skip_plain(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = chunk::<16>(bytes, at) {
        let chars = u8x16::new(*chunk);
        let marks = chars.simd_eq(u8x16::splat(b'"'))
            | chars.simd_eq(u8x16::splat(b'\\'))
            | chars.min(u8x16::splat(b' ' - 1)).simd_eq(chars);
        let marks = marks.to_bitmask();
        if marks != 0 {
            return at + marks.trailing_zeros() as usize;
        }
        at += 16;
    }
    while bytes.get(at).is_some_and(|&b| b != b'"' && b != b'\\' && b >= b' ') {
        at += 1;
    }
    at
}

/// The position of the next byte that is no digit; the end when there is none.
#[inline(always)]
pub(super) fn skip_digits(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = chunk::<8>(bytes, at) {
        // Digits become 0 to 9. The high bit of each byte above 9 is exact up to the lowest such
        // byte: only behind it can the addition's carry spoil others.
        let word = u64::from_le_bytes(*chunk) ^ (ONES * u64::from(b'0'));
        let marks = (word.wrapping_add(ONES * (0x80 - 10)) | word) & (ONES << 7);
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}
