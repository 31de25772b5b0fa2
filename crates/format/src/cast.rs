//! Text to values as PostgreSQL keeps them in memory: what the input function of a scalar type
//! makes, in all supported versions alike, of the plain forms that JSON usually holds. What has
//! another form, depends on a setting or is an error is left to the input function itself.

mod datetime;
mod digits;
mod number;
mod numeric;
#[cfg(test)]
mod tests;
mod uuid;

use std::fmt;

use serde::{Deserialize, Serialize};

/// A type whose values are made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cast {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Date,
    Timestamp,
    Timestamptz,
    Uuid,
}

/// The type's name in SQL.
impl fmt::Display for Cast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cast::Bool => "boolean",
            Cast::Int2 => "smallint",
            Cast::Int4 => "integer",
            Cast::Int8 => "bigint",
            Cast::Float4 => "real",
            Cast::Float8 => "double precision",
            Cast::Numeric => "numeric",
            Cast::Date => "date",
            Cast::Timestamp => "timestamp",
            Cast::Timestamptz => "timestamptz",
            Cast::Uuid => "uuid",
        })
    }
}

/// A value as PostgreSQL keeps it in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Converted {
    /// The datum of a type that is passed by value: a boolean as 0 or 1; an integer; the bits of a
    /// float, those of a float4 sign-extended (`Float4GetDatum`); a date's days or a timestamp's
    /// microseconds since 2000-01-01.
    Fixed(i64),
    /// The value's bytes were appended: of a numeric what follows the varlena header.
    Bytes,
}

/// The value of `text`, for a column without type modifier; None, with `out` as before, when the
/// type's input function has to be asked.
#[inline]
pub fn cast(text: &[u8], to: Cast, out: &mut Vec<u8>) -> Option<Converted> {
    let fixed = match to {
        Cast::Bool => boolean(text)?,
        Cast::Int2 => number::integer::<i16>(text)?,
        Cast::Int4 => number::integer::<i32>(text)?,
        Cast::Int8 => number::integer::<i64>(text)?,
        Cast::Float4 => number::float4(text)?,
        Cast::Float8 => number::float8(text)?,
        Cast::Date => datetime::date(text)?,
        Cast::Timestamp => datetime::timestamp(text)?,
        Cast::Timestamptz => datetime::timestamptz(text)?,
        Cast::Numeric => {
            numeric::numeric(text, out)?;
            return Some(Converted::Bytes);
        }
        Cast::Uuid => {
            out.extend_from_slice(&uuid::uuid(text)?);
            return Some(Converted::Bytes);
        }
    };
    Some(Converted::Fixed(fixed))
}

/// `boolin` (`utils/adt/bool.c`) knows more words, such as `yes` and `ON`.
fn boolean(text: &[u8]) -> Option<i64> {
    match text {
        b"true" | b"t" => Some(1),
        b"false" | b"f" => Some(0),
        _ => None,
    }
}
