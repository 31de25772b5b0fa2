//! Statement parameters: Rust values and the SQL types they are bound as.

use std::ffi::{c_char, c_int};

use pgrx::IntoDatum;
use pgrx::pg_sys::{self, Datum, Oid};

use super::{NULL_MARK, VALUE_MARK};
use crate::pg::datum;
use gpss_model::error::{Error, Result, SqlState};

/// A point in time: microseconds since the Unix epoch; `timestamptz` in SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMicros(pub i64);

/// 2000-01-01 00:00 UTC, PostgreSQL's epoch, in microseconds since 1970.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

impl UnixMicros {
    /// PostgreSQL's own: microseconds since 2000.
    pub fn to_postgres(self) -> i64 {
        self.0.saturating_sub(POSTGRES_EPOCH)
    }

    /// `infinity` and `-infinity` become the largest and smallest value.
    pub fn from_postgres(micros: i64) -> UnixMicros {
        match micros {
            i64::MIN => UnixMicros(i64::MIN),
            finite_or_infinity => UnixMicros(finite_or_infinity.saturating_add(POSTGRES_EPOCH)),
        }
    }
}

macro_rules! parameters {
    ($($name:ident($rust:ty) = $oid:ident),* $(,)?) => {
        /// The SQL type of a parameter. jsonb, numeric and the like go as text and are cast in the
        /// statement: `$1::jsonb`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Type { $($name),* }

        /// A parameter's value; `None` is NULL. Made with `From`, of the value or an `Option`.
        #[derive(Clone, Copy, Debug)]
        pub enum Arg<'a> { $($name(Option<$rust>)),* }

        impl Type {
            pub(super) fn oid(self) -> Oid {
                match self { $(Type::$name => pg_sys::$oid),* }
            }
        }

        impl Arg<'_> {
            pub(super) fn sql_type(&self) -> Type {
                match self { $(Arg::$name(_) => Type::$name),* }
            }
        }

        $(
            impl<'a> From<$rust> for Arg<'a> {
                fn from(value: $rust) -> Self { Arg::$name(Some(value)) }
            }
            impl<'a> From<Option<$rust>> for Arg<'a> {
                fn from(value: Option<$rust>) -> Self { Arg::$name(value) }
            }
        )*
    };
}

parameters! {
    Bool(bool) = BOOLOID,
    Int4(i32) = INT4OID,
    Int8(i64) = INT8OID,
    Float8(f64) = FLOAT8OID,
    Text(&'a str) = TEXTOID,
    Bytea(&'a [u8]) = BYTEAOID,
    Oid(Oid) = OIDOID,
    Timestamptz(UnixMicros) = TIMESTAMPTZOID,
    Int4Array(&'a [i32]) = INT4ARRAYOID,
    Int8Array(&'a [i64]) = INT8ARRAYOID,
    OidArray(&'a [Oid]) = OIDARRAYOID,
    TextArray(&'a [String]) = TEXTARRAYOID,
}

impl Arg<'_> {
    fn datum(&self) -> Result<Option<Datum>> {
        Ok(match *self {
            Arg::Bool(value) => value.into_datum(),
            Arg::Int4(value) => value.into_datum(),
            Arg::Int8(value) => value.into_datum(),
            Arg::Float8(value) => value.into_datum(),
            // Not by IntoDatum, for which the OID 0 is NULL.
            Arg::Oid(value) => value.map(Datum::from),
            Arg::Timestamptz(value) => value.and_then(|at| at.to_postgres().into_datum()),
            Arg::Text(value) => value.map(datum::text).transpose()?,
            Arg::Bytea(value) => value.map(datum::bytea).transpose()?,
            Arg::Int4Array(values) => values.map(|v| array(v, INT4, plain)).transpose()?,
            Arg::Int8Array(values) => values.map(|v| array(v, INT8, plain)).transpose()?,
            Arg::OidArray(values) => values.map(|v| array(v, OID, plain)).transpose()?,
            Arg::TextArray(values) => {
                values.map(|v| array(v, TEXT, |text| datum::text(text))).transpose()?
            }
        })
    }
}

/// An integer or an OID as an array's element.
fn plain<T: Copy + Into<Datum>>(value: &T) -> Result<Datum> {
    Ok((*value).into())
}

/// An array element's type as pg_type has it.
struct Element {
    oid: Oid,
    length: c_int,
    by_value: bool,
    align: c_char,
}

const INT4: Element =
    Element { oid: pg_sys::INT4OID, length: 4, by_value: true, align: b'i' as c_char };
const INT8: Element =
    Element { oid: pg_sys::INT8OID, length: 8, by_value: true, align: b'd' as c_char };
const OID: Element = Element { oid: pg_sys::OIDOID, ..INT4 };
const TEXT: Element =
    Element { oid: pg_sys::TEXTOID, length: -1, by_value: false, align: b'i' as c_char };

fn array<T>(values: &[T], of: Element, datum: impl Fn(&T) -> Result<Datum>) -> Result<Datum> {
    let mut elements = values.iter().map(datum).collect::<Result<Vec<Datum>>>()?;
    let count = c_int::try_from(elements.len())
        .map_err(|_| Error::new(SqlState::INTERNAL, "too many array elements"))?;
    // SAFETY: arrayfuncs.c: `count` datums of the type described; they are copied.
    let array = unsafe {
        let Element { oid, length, by_value, align } = of;
        pg_sys::construct_array(elements.as_mut_ptr(), count, oid, length, by_value, align)
    };
    Ok(Datum::from(array))
}

/// Parameters as SPI takes them. Their memory is the SPI connection's, which is the current
/// context while connected, and goes with it.
pub(super) struct Bound {
    values: Vec<Datum>,
    nulls: Vec<c_char>,
}

impl Bound {
    pub(super) fn new(args: &[Arg<'_>]) -> Result<Bound> {
        let datums = args.iter().map(Arg::datum).collect::<Result<Vec<Option<Datum>>>>()?;
        let mark = |datum: &Option<Datum>| {
            if datum.is_some() { VALUE_MARK } else { NULL_MARK }
        };
        Ok(Bound {
            nulls: datums.iter().map(mark).collect(),
            values: datums.into_iter().map(|datum| datum.unwrap_or(Datum::null())).collect(),
        })
    }

    pub(super) fn as_ptrs(&mut self) -> (*mut Datum, *const c_char) {
        (self.values.as_mut_ptr(), self.nulls.as_ptr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_keeps_its_value_and_its_infinities() {
        assert_eq!(UnixMicros::from_postgres(0).0, POSTGRES_EPOCH);
        assert_eq!(UnixMicros(POSTGRES_EPOCH + 5).to_postgres(), 5);
        assert_eq!(UnixMicros::from_postgres(i64::MAX).0, i64::MAX);
        assert_eq!(UnixMicros::from_postgres(i64::MIN).0, i64::MIN);
    }
}
