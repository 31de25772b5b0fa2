//! Schemas that were asked for before. An id never changes its meaning, so what is known stays
//! known, within bounds; that an id is unknown is believed for a while only, because its schema may
//! be registered at any time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gpss_format::schema_id::SchemaId;
use gpss_format::schemas::Registered;

const MAX_SCHEMAS: usize = 10_000;
/// Bytes of the schemas' texts.
const MAX_BYTES: usize = 128 << 20;
const MAX_UNKNOWN: usize = 10_000;
/// How long an unknown id is not asked for again.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Cache {
    known: HashMap<SchemaId, Arc<Registered>>,
    bytes: usize,
    /// Why an id has no schema, and until when that is believed.
    unknown: HashMap<SchemaId, (Instant, String)>,
}

/// What is known of an id.
pub(super) enum Cached {
    Known(Arc<Registered>),
    Unknown(String),
    Ask,
}

impl Cache {
    pub fn get(&self, id: SchemaId, now: Instant) -> Cached {
        if let Some(registered) = self.known.get(&id) {
            return Cached::Known(registered.clone());
        }
        match self.unknown.get(&id) {
            Some((until, reason)) if now < *until => Cached::Unknown(reason.clone()),
            _ => Cached::Ask,
        }
    }

    /// When there is no more space, all is forgotten: simpler than to find what is used least, and
    /// as good where a bound is only for the worst case.
    pub fn insert(&mut self, id: SchemaId, registered: Arc<Registered>) {
        let bytes = registered.size();
        if self.known.len() >= MAX_SCHEMAS || self.bytes.saturating_add(bytes) > MAX_BYTES {
            self.known.clear();
            self.bytes = 0;
        }
        self.unknown.remove(&id);
        if self.known.insert(id, registered).is_none() {
            self.bytes = self.bytes.saturating_add(bytes);
        }
    }

    pub fn insert_unknown(&mut self, id: SchemaId, reason: String, now: Instant) {
        if self.unknown.len() >= MAX_UNKNOWN {
            self.unknown.clear();
        }
        self.unknown.insert(id, (now + UNKNOWN_FOR, reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpss_format::schemas::SchemaKind;

    const ONE: SchemaId = SchemaId::Number(1);

    #[test]
    fn what_is_unknown_is_asked_for_again() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        assert!(matches!(cache.get(ONE, now), Cached::Ask));
        cache.insert_unknown(ONE, "why".to_owned(), now);
        assert!(matches!(cache.get(ONE, now), Cached::Unknown(reason) if reason == "why"));
        assert!(matches!(cache.get(ONE, now + UNKNOWN_FOR), Cached::Ask));
        let registered = |text: &str| {
            let (kind, references) = (SchemaKind::Avro, Vec::new());
            Arc::new(Registered { kind, text: text.to_owned(), references })
        };
        cache.insert(ONE, registered("x"));
        assert!(matches!(cache.get(ONE, now), Cached::Known(_)));
        for id in 0..40_000 {
            cache.insert(SchemaId::Number(id), registered("x"));
            cache.insert_unknown(SchemaId::Number(id), String::new(), now);
        }
        assert!(cache.known.len() <= MAX_SCHEMAS && cache.unknown.len() <= MAX_UNKNOWN);
        let large = "x".repeat(MAX_BYTES / 4);
        for id in 0..10 {
            cache.insert(SchemaId::Number(id), registered(&large));
            assert!(cache.bytes <= MAX_BYTES);
        }
        assert!(cache.known.len() <= 4);
    }
}
