//! The format functions: any payload through the decoders of the foreign tables.

use super::answer;
use crate::fdw::format_function::{FormatFunctionKind, PayloadRows};
use crate::pg::fdw::function::call;
use gpss_model::format::FormatFunction;
use pgrx::pg_sys::{Datum, FunctionCallInfo};

/// All formats whose rules are in this extension, but for protobuf.
struct Gpss;

impl FormatFunctionKind for Gpss {
    const FUNCTION: FormatFunction = FormatFunction::Gpss;
}

struct Protobuf;

impl FormatFunctionKind for Protobuf {
    const FUNCTION: FormatFunction = FormatFunction::Protobuf;
}

/// `gpss.gpfmt_gpss(payload bytea, options jsonb) RETURNS SETOF record`
pub fn gpfmt_gpss(fcinfo: FunctionCallInfo) -> Datum {
    answer(|| call::<PayloadRows<Gpss>>(fcinfo))
}

/// `gpss.gpfmt_protobuf(payload bytea, options jsonb) RETURNS SETOF record`
pub fn gpfmt_protobuf(fcinfo: FunctionCallInfo) -> Datum {
    answer(|| call::<PayloadRows<Protobuf>>(fcinfo))
}
