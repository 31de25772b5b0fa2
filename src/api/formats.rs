//! The format functions: any payload through the decoders of the foreign tables.

use super::{answer, privileges};
use crate::fdw::function::{FormatFunction, Kind};
use crate::fdw::options::Privileges;
use crate::model::content::Format;
use crate::pg::fdw::function::call;
use pgrx::pg_sys::{Datum, FunctionCallInfo};

/// All formats whose rules are in this extension, but for protobuf.
struct Gpss;

impl Kind for Gpss {
    const FORMAT: Option<Format> = None;

    fn allows(format: Format) -> bool {
        !matches!(format, Format::Protobuf | Format::Custom)
    }

    fn privileges() -> Privileges {
        privileges()
    }
}

struct Protobuf;

impl Kind for Protobuf {
    const FORMAT: Option<Format> = Some(Format::Protobuf);

    fn allows(format: Format) -> bool {
        format == Format::Protobuf
    }

    fn privileges() -> Privileges {
        privileges()
    }
}

/// `gpss.gpfmt_gpss(payload bytea, options jsonb) RETURNS SETOF record`
pub fn gpfmt_gpss(fcinfo: FunctionCallInfo) -> Datum {
    answer(|| call::<FormatFunction<Gpss>>(fcinfo))
}

/// `gpss.gpfmt_protobuf(payload bytea, options jsonb) RETURNS SETOF record`
pub fn gpfmt_protobuf(fcinfo: FunctionCallInfo) -> Datum {
    answer(|| call::<FormatFunction<Protobuf>>(fcinfo))
}
