//! Decimal digits to numbers, up to eight at a time in one machine word.

/// The most digits that always fit into 64 bits.
const MAX_DIGITS: usize = 19;

/// The number that `text`, nothing but 1 to 19 digits, stands for.
#[inline]
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > MAX_DIGITS {
        return None;
    }
    let (mut number, mut rest) = (0, text);
    while let Some((chunk, tail)) = rest.split_first_chunk() {
        number = number * 100_000_000 + u64::from(eight(*chunk)?);
        rest = tail;
    }
    rest.iter().try_fold(number, |number, &byte| Some(number * 10 + u64::from(one(byte)?)))
}

/// One digit.
#[inline]
fn one(byte: u8) -> Option<u8> {
    let digit = byte.wrapping_sub(b'0');
    (digit <= 9).then_some(digit)
}

/// Two digits.
#[inline]
pub(super) fn two([tens, units]: [u8; 2]) -> Option<u32> {
    Some(u32::from(one(tens)?) * 10 + u32::from(one(units)?))
}

/// Four digits.
#[inline]
pub(super) fn four([a, b, c, d]: [u8; 4]) -> Option<u32> {
    eight([b'0', b'0', b'0', b'0', a, b, c, d])
}

/// Eight digits: neighbours are joined to twos, these to fours and these to the number, all in
/// lanes of one word.
#[inline]
fn eight(digits: [u8; 8]) -> Option<u32> {
    let ones = differences(digits, [b'0'; 8], [9; 8])?;
    let twos = (ones * 10 + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (twos * 100 + (twos >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) as u32)
}

/// Three times two digits, as in `12:34:56` and `99-12-31`.
#[inline]
pub(super) fn three_twos(text: [u8; 8], between: u8) -> Option<[u32; 3]> {
    let zeros = [b'0', b'0', between, b'0', b'0', between, b'0', b'0'];
    let ones = differences(text, zeros, [9, 9, 0, 9, 9, 0, 9, 9])?;
    let twos = ones * 10 + (ones >> 8);
    Some([0, 24, 48].map(|bit| (twos >> bit) as u32 & 0xff))
}

/// Each character's difference from the one of `zeros`, the first in the lowest byte of a word;
/// None when one is above its `most`. Digits differ from `0` in the low four bits only.
#[inline]
fn differences(text: [u8; 8], zeros: [u8; 8], most: [u8; 8]) -> Option<u64> {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let difference = u64::from_le_bytes(text) ^ u64::from_le_bytes(zeros);
    // A byte's sum has the high bit when it was above the most. Only a byte that has the bit
    // already can carry into the next one.
    let sums = difference.wrapping_add(u64::from_le_bytes(most.map(|most| 0x7f - most)));
    ((difference | sums) & HIGH_BITS == 0).then_some(difference)
}
