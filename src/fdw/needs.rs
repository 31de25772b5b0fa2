//! What scans need of a message, so that nothing else is decoded.

use gpss_format::Wanted;

/// What a statement needs of a message.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Of value and key.
    pub sides: [Wanted; 2],
    pub headers: bool,
}

impl Needs {
    /// Adds what another scan needs.
    pub fn add(&mut self, other: &Needs) {
        for (own, new) in self.sides.iter_mut().zip(&other.sides) {
            own.add(new);
        }
        self.headers |= other.headers;
    }
}
