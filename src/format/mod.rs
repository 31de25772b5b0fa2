//! Ring 1: bytes to fields. Imports `model::rows` and serde; knows neither PostgreSQL nor Kafka, but
//! gives byte for byte what PostgreSQL's own functions would give.

pub mod array_literal;
mod bytes;
pub mod cast;
pub mod headers;
pub mod json;
pub mod path;
mod scan;
mod shape;

pub use array_literal::array_literal;
pub use cast::Cast;
pub use headers::headers_json;
pub use json::JsonDecoder;
pub use path::{JsonField, Step};
