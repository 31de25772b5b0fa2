//! Finds the few bytes that mean something to a format: 64 bytes are compared at once, because
//! fields are so short that looking for the end of each costs more than reading it.

use super::simd_json::chunk;
use wide::u8x16;

/// Bytes compared at once: as many as a mask has bits.
const BLOCK: usize = 64;

/// The bytes to be found; the same byte may be named twice.
#[derive(Debug)]
pub(super) struct Specials<const N: usize> {
    wanted: [u8x16; N],
}

impl<const N: usize> Specials<N> {
    pub fn new(bytes: [u8; N]) -> Specials<N> {
        Specials { wanted: bytes.map(u8x16::splat) }
    }

    /// Where they are in `text`, from its start.
    pub fn marks<'a>(&'a self, text: &'a [u8]) -> Marks<'a, N> {
        let mut marks = Marks { specials: self, text, block: 0, bits: 0 };
        marks.load();
        marks
    }

    /// Bit i is set when byte i is special.
    #[inline(always)]
    fn bits(&self, block: &[u8; BLOCK]) -> u64 {
        let (quarters, _) = block.as_chunks::<16>();
        let mut bits = 0;
        for (i, quarter) in quarters.iter().enumerate() {
            let bytes = u8x16::new(*quarter);
            let mut found = u8x16::default();
            for wanted in self.wanted {
                found |= bytes.simd_eq(wanted);
            }
            bits |= u64::from(found.to_bitmask()) << (16 * i);
        }
        bits
    }
}

/// A walk over the special bytes of a text.
#[derive(Debug)]
pub(super) struct Marks<'a, const N: usize> {
    specials: &'a Specials<N>,
    text: &'a [u8],
    /// Where the block of `bits` begins.
    block: usize,
    /// The marks of the block that were not handed out yet.
    bits: u64,
}

impl<const N: usize> Marks<'_, N> {
    #[inline(always)]
    fn load(&mut self) {
        self.bits = match chunk::<BLOCK>(self.text, self.block) {
            Some(block) => self.specials.bits(block),
            None => self.last_bits(),
        };
    }

    /// The marks of a block that is not full.
    #[inline(never)]
    fn last_bits(&self) -> u64 {
        let rest = self.text.get(self.block..).unwrap_or_default();
        let mut block = [0; BLOCK];
        if let Some(begin) = block.get_mut(..rest.len()) {
            begin.copy_from_slice(rest);
        }
        // What is behind the end may look special.
        self.specials.bits(&block) & !(u64::MAX << rest.len())
    }

    /// The position of the next special byte, and that byte; None at the end of the text.
    #[inline(always)]
    pub fn next(&mut self) -> Option<(usize, u8)> {
        while self.bits == 0 {
            self.block += BLOCK;
            if self.block >= self.text.len() {
                return None;
            }
            self.load();
        }
        let at = self.block + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        self.text.get(at).map(|&byte| (at, byte))
    }

    /// As `next`, of the positions from `from` on.
    #[inline(always)]
    pub fn next_from(&mut self, from: usize) -> Option<(usize, u8)> {
        loop {
            let mark = self.next()?;
            if mark.0 >= from {
                return Some(mark);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_special_byte_is_found_once(
            text in prop::collection::vec(prop::sample::select(b"\0,\"\nabc\xff".to_vec()), 0..300),
        ) {
            let specials = Specials::new(*b",\"\n,");
            let mut marks = specials.marks(&text);
            let mut got = Vec::new();
            while let Some(mark) = marks.next() {
                got.push(mark);
            }
            let want: Vec<_> = text
                .iter()
                .copied()
                .enumerate()
                .filter(|(_, byte)| b",\"\n".contains(byte))
                .collect();
            prop_assert_eq!(got, want);
            prop_assert_eq!(marks.next(), None);
        }
    }

    #[test]
    fn a_zero_byte_can_be_special() {
        let specials = Specials::new([0]);
        assert_eq!(specials.marks(b"").next(), None);
        assert_eq!(specials.marks(b"a\0").next(), Some((1, 0)));
        assert_eq!(specials.marks(&[b'a'; 64]).next(), None);
    }
}
