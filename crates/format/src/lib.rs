//! Ring 1: bytes to fields. Knows neither PostgreSQL nor Kafka, but gives byte for byte what PostgreSQL's own functions would give.

#![forbid(unsafe_code)]

pub mod array_literal;
pub mod avro;
pub mod cast;
mod copy;
#[cfg(test)]
mod corpus;
pub mod csv;
pub mod decoder;
pub mod delimited;
mod encoding;
#[cfg(test)]
mod fuzz;
pub mod headers;
pub mod json;
pub mod jsonl;
pub mod message;
mod missing;
pub mod path;
pub mod plain;
pub mod protobuf;
pub mod record;
pub mod schema_id;
pub mod schemas;
mod simd_delimiters;
mod simd_json;
pub mod text;

pub use array_literal::array_literal;
pub use cast::Cast;
pub use decoder::text_decoder;
pub use headers::headers_json;
pub use message::{MessageDecoder, Reading, Room, TextField, Wanted, width};
pub use path::{JsonField, Step};
pub use record::Decode;
