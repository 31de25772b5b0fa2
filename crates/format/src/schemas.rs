//! Where decoders of Avro and Protobuf get the schemas that messages name by an id, so that they
//! need not know the registry.

use std::sync::Arc;

use super::record::Fault;
use super::schema_id::SchemaId;

/// Schemas by the ids that messages carry.
pub trait Schemas: Send + Sync {
    /// The schema with this id. What is found stays true: an id never changes its meaning.
    ///
    /// # Errors
    /// `Bad` when there is no such schema, `Failed` when nobody can say.
    fn schema(&self, id: SchemaId) -> Result<Arc<Registered>, Fault>;
}

/// A schema as it was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    pub kind: SchemaKind,
    pub text: String,
    /// The schemas that `text` refers to, directly or not, as (name, text): each before those that
    /// refer to it. A name is what the referring schema says: an Avro type's full name, the path of
    /// a Protobuf import.
    pub references: Vec<(String, String)>,
}

impl Registered {
    /// Bytes of its texts.
    pub fn size(&self) -> usize {
        let references = self.references.iter().map(|(name, text)| name.len() + text.len());
        references.sum::<usize>() + self.text.len()
    }
}

/// The language of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaKind {
    Avro,
    Protobuf,
    Json,
}

impl SchemaKind {
    /// As users call it.
    pub fn name(self) -> &'static str {
        match self {
            SchemaKind::Avro => "Avro",
            SchemaKind::Protobuf => "Protobuf",
            SchemaKind::Json => "JSON",
        }
    }
}
