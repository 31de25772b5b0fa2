//! The keys that earlier documents had, and which came after which: the messages of a topic resemble
//! each other, so that a key is compared with the one that came here last time before it is read.
//!
//! A guess is compared byte by byte before it is used: a wrong one costs time and nothing else.

use crate::simd_json::{self, WIDE};

/// Names a remembered key.
pub(super) type KeyId = u16;

/// Names all keys that are not remembered, and the document itself.
pub(super) const OTHER: KeyId = 0;

/// Initial and maximum table size; powers of two.
const FEWEST: usize = 64;
const MOST: usize = 1024;

/// Longest probe.
const PROBES: usize = 4;

/// Keys that may be learnt before the first correct guess.
const CREDIT: u32 = 1024;

/// Where a key may stand: behind the value of another, or at the start of an object that is, or
/// lies in an array that is, the value of another.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeySlot {
    After(KeyId),
    Inside(KeyId),
}

/// A key of the current document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub key: KeyId,
    /// The node of its value.
    pub node: usize,
    /// Where its value begins.
    pub value: usize,
}

/// One cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Key {
    /// All that stands between two values: the key, its quotes and colon, white space; then zeros.
    text: [u8; WIDE],
    len: u8,
    /// The key whose value the object is, or holds, that this key is in.
    owner: KeyId,
    /// The nodes of that object and of this key's value.
    parent: u32,
    node: u32,
    /// The keys that last came after this one and inside its value.
    after: KeyId,
    inside: KeyId,
}

#[derive(Debug)]
pub(super) struct KeyPredictor {
    /// A hash table, empty until there is a key. The first place is for `OTHER`.
    keys: Vec<Key>,
    /// Each right guess pays for one key to learn, lest documents with ever new keys cost more
    /// than without guessing.
    credit: u32,
}

impl KeyPredictor {
    pub fn new() -> Self {
        KeyPredictor { keys: Vec::new(), credit: CREDIT }
    }

    /// A document begins.
    pub fn begin(&mut self) {
        self.credit = (self.credit + 1).min(CREDIT);
    }

    /// The key whose text begins at `at`, in an object at node `parent`, if it is the one that came
    /// at `place` last time or the one that came after that.
    #[inline(always)]
    pub fn guess(
        &mut self,
        place: KeySlot,
        parent: usize,
        document: &[u8],
        at: usize,
    ) -> Option<Known> {
        let mut id = match place {
            KeySlot::After(key) => self.keys.get(usize::from(key))?.after,
            KeySlot::Inside(key) => self.keys.get(usize::from(key))?.inside,
        };
        let mut key = self.keys.get(usize::from(id))?;
        if !key.is_at(parent, document, at) {
            id = key.after;
            key = self.keys.get(usize::from(id))?;
            if !key.is_at(parent, document, at) {
                return None;
            }
        }
        self.credit += 1;
        Some(Known { key: id, node: key.node as usize, value: at + usize::from(key.len) })
    }

    /// Remembers the key with this text, which came at `place` and leads from `parent` to `node`.
    pub fn learn(&mut self, place: KeySlot, parent: usize, text: &[u8], node: usize) -> KeyId {
        let mut new = Key { parent: parent as u32, node: node as u32, ..Key::NONE };
        let Some(start) = new.text.get_mut(..text.len()) else { return OTHER };
        if self.credit == 0 {
            return OTHER;
        }
        self.credit -= 1;
        start.copy_from_slice(text);
        new.len = text.len() as u8;
        new.owner = match place {
            KeySlot::After(key) => self.keys.get(usize::from(key)).map_or(OTHER, |key| key.owner),
            KeySlot::Inside(key) => key,
        };
        let id = self.place_for(&new);
        if let Some(key) = self.keys.get_mut(usize::from(id))
            && !key.is_same(&new)
        {
            *key = new;
        }
        let (KeySlot::After(key) | KeySlot::Inside(key)) = place;
        if let Some(key) = self.keys.get_mut(usize::from(key)) {
            match place {
                KeySlot::After(_) => key.after = id,
                KeySlot::Inside(_) => key.inside = id,
            }
        }
        id
    }

    /// Where a key lies, or shall.
    fn place_for(&mut self, new: &Key) -> KeyId {
        let hash = new.hash();
        loop {
            let place = |probe: usize| ((hash + probe) & (self.keys.len().max(1) - 1)).max(1);
            let fits = |place: &usize| {
                self.keys.get(*place).is_some_and(|key| key.is_none() || key.is_same(new))
            };
            if let Some(place) = (0..PROBES).map(place).find(fits) {
                return place as KeyId;
            }
            if self.keys.len() == MOST {
                return place(0) as KeyId;
            }
            // The next documents bring the keys again: simpler than to move them.
            let room = (self.keys.len() * 2).max(FEWEST);
            self.keys.clear();
            self.keys.resize(room, Key::NONE);
        }
    }
}

impl Key {
    /// No key: not at any place, because there is no such node.
    const NONE: Key = Key {
        text: [0; WIDE],
        len: 0,
        owner: OTHER,
        parent: u32::MAX,
        node: 0,
        after: OTHER,
        inside: OTHER,
    };

    fn is_none(&self) -> bool {
        self.parent == Key::NONE.parent
    }

    #[inline(always)]
    fn is_at(&self, parent: usize, document: &[u8], at: usize) -> bool {
        let len = usize::from(self.len);
        self.parent as usize == parent
            && match simd_json::chunk(document, at) {
                Some(chunk) => simd_json::common(chunk, &self.text) >= len,
                None => self.text.get(..len) == document.get(at..at + len),
            }
    }

    fn is_same(&self, other: &Key) -> bool {
        (self.text, self.owner, self.parent) == (other.text, other.owner, other.parent)
    }

    fn hash(&self) -> usize {
        let words = self.text.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        let hash = words.fold(u64::from(self.owner), |hash, word| {
            (hash.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        });
        (hash >> 48) as usize
    }
}
