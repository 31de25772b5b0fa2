//! The format functions: any payload through the decoders of the foreign tables.

use super::answer;
use crate::fdw::format_function::{FormatFunction, FormatFunctionKind};
use crate::pg::fdw::function::call;
use gpss_model::format::Format;
use pgrx::pg_sys::{Datum, FunctionCallInfo};

/// All formats whose rules are in this extension, but for protobuf.
struct Gpss;

impl FormatFunctionKind for Gpss {
    const FORMATS: &'static [Format] = &[
        Format::Json,
        Format::Jsonl,
        Format::Csv,
        Format::Text,
        Format::Delimited,
        Format::Binary,
        Format::Avro,
    ];
}

struct Protobuf;

impl FormatFunctionKind for Protobuf {
    const FORMATS: &'static [Format] = &[Format::Protobuf];
}

/// `gpss.gpfmt_gpss(payload bytea, options jsonb) RETURNS SETOF record`
pub fn gpfmt_gpss(fcinfo: FunctionCallInfo) -> Datum {
    answer(|| call::<FormatFunction<Gpss>>(fcinfo))
}

/// `gpss.gpfmt_protobuf(payload bytea, options jsonb) RETURNS SETOF record`
pub fn gpfmt_protobuf(fcinfo: FunctionCallInfo) -> Datum {
    answer(|| call::<FormatFunction<Protobuf>>(fcinfo))
}
