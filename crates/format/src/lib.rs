//! Ring 1: bytes to fields. Knows neither PostgreSQL nor Kafka, but gives byte for byte what PostgreSQL's own functions would give.
//!
//! | file | owns |
//! | --- | --- |
//! | `record` | the trait `Decode`: payload in, records out |
//! | `message` | value and key of a message into a block |
//! | `decoder` | a decoder by its format |
//! | `json` | JSON in one pass, with PostgreSQL's results; `json/` has tokens and the prediction of keys |
//! | `path` | which fields of a document are wanted |
//! | `array_literal` | arrays as array literals |
//! | `jsonl` | several documents in a payload |
//! | `missing` | a document without any wanted field |
//! | `csv` | COPY's CSV |
//! | `text` | COPY's text format |
//! | `copy` | what both have in common |
//! | `delimited` | GPSS's delimited |
//! | `plain` | the payload as it is |
//! | `avro` | Avro |
//! | `protobuf` | Protobuf |
//! | `schemas` | where schemas come from |
//! | `schema_id` | what a message names its schema by |
//! | `cast` | text to numbers, dates and the like, as PostgreSQL keeps them |
//! | `encoding` | other encodings than UTF-8 |
//! | `headers` | headers as JSON |
//! | `simd_json` | many bytes of JSON compared at once |
//! | `simd_delimiters` | many bytes of other formats |

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
