//! Result rows: columns as owned Rust values, checked against the type the statement returned.

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;

use pgrx::FromDatum;
use pgrx::pg_sys::{self, Datum, Oid};

use super::UnixMicros;
use crate::pg::encoding;
use gpss_model::error::{Error, Result, SqlState};

/// One row of a result; lives only inside the closure it is given to.
pub struct Row<'a> {
    tuple: pg_sys::HeapTuple,
    shape: pg_sys::TupleDesc,
    _table: PhantomData<&'a ()>,
}

impl Row<'_> {
    /// The value of column `number`, counted from 1 as in SQL. `Option<T>` for what may be NULL;
    /// `String` takes any type, as its text form.
    ///
    /// Errors: XX000 for a number or type that the statement does not return, or an unexpected NULL.
    pub fn get<T: Column>(&self, number: usize) -> Result<T> {
        match c_int::try_from(number) {
            Ok(at) if (1..=self.width()).contains(&at) => T::read(self, at),
            _ => Err(Error::new(SqlState::INTERNAL, format!("there is no column {number}"))),
        }
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        usize::try_from(self.width()).unwrap_or(0)
    }

    fn width(&self) -> c_int {
        // SAFETY: spi.c: the descriptor lives as long as the tuple table.
        unsafe { (*self.shape).natts }
    }

    fn type_of(&self, at: c_int) -> Oid {
        // SAFETY: spi.c: as above; `get` has checked the number.
        unsafe { pg_sys::SPI_gettypeid(self.shape, at) }
    }

    fn datum(&self, at: c_int) -> Option<Datum> {
        let mut is_null = false;
        // SAFETY: as above.
        let datum = unsafe { pg_sys::SPI_getbinval(self.tuple, self.shape, at, &mut is_null) };
        (!is_null).then_some(datum)
    }

    fn text(&self, at: c_int) -> Option<String> {
        // SAFETY: spi.c: the output function's result, palloc'd in the connection's context.
        let text = unsafe { pg_sys::SPI_getvalue(self.tuple, self.shape, at) };
        // SAFETY: as above: null for NULL, else NUL-terminated.
        (!text.is_null()).then(|| encoding::from_server(unsafe { CStr::from_ptr(text) }))
    }

    fn wrong_type(&self, at: c_int, wanted: &str) -> Error {
        let found = u32::from(self.type_of(at));
        Error::new(SqlState::INTERNAL, format!("column {at} is not of type {wanted}"))
            .detail(format!("Its type has the OID {found}."))
    }
}

/// What `Row::get` can return.
pub trait Column: Sized {
    #[doc(hidden)]
    fn read(row: &Row<'_>, at: c_int) -> Result<Self>;
}

fn not_null<T>(value: Option<T>, at: c_int) -> Result<T> {
    value.ok_or_else(|| Error::new(SqlState::INTERNAL, format!("column {at} is null")))
}

macro_rules! columns {
    ($($rust:ty: $($oid:ident)|+ => $convert:expr),* $(,)?) => { $(
        impl Column for Option<$rust> {
            fn read(row: &Row<'_>, at: c_int) -> Result<Self> {
                let oid = row.type_of(at);
                if ![$(pg_sys::$oid),+].contains(&oid) {
                    return Err(row.wrong_type(at, stringify!($rust)));
                }
                let convert: fn(Datum, Oid) -> Option<$rust> = $convert;
                Ok(row.datum(at).and_then(|datum| convert(datum, oid)))
            }
        }

        impl Column for $rust {
            fn read(row: &Row<'_>, at: c_int) -> Result<Self> {
                not_null(Option::<$rust>::read(row, at)?, at)
            }
        }
    )* };
}

/// The datum as a value of the Rust type that pgrx pairs with its SQL type.
fn plain<T: FromDatum>(datum: Datum) -> Option<T> {
    // SAFETY: `columns!` has compared the column's type; null was sorted out before.
    unsafe { T::from_datum(datum, false) }
}

columns! {
    bool: BOOLOID => |datum, _| plain(datum),
    i32: INT4OID | INT2OID => |datum, oid| match oid {
        pg_sys::INT2OID => plain::<i16>(datum).map(i32::from),
        _ => plain(datum),
    },
    i64: INT8OID | INT4OID | INT2OID => |datum, oid| match oid {
        pg_sys::INT2OID => plain::<i16>(datum).map(i64::from),
        pg_sys::INT4OID => plain::<i32>(datum).map(i64::from),
        _ => plain(datum),
    },
    f64: FLOAT8OID | FLOAT4OID => |datum, oid| match oid {
        pg_sys::FLOAT4OID => plain::<f32>(datum).map(f64::from),
        _ => plain(datum),
    },
    Oid: OIDOID | REGCLASSOID | REGTYPEOID | REGROLEOID | REGNAMESPACEOID => |datum, _| plain(datum),
    Vec<u8>: BYTEAOID => |datum, _| plain(datum),
    UnixMicros: TIMESTAMPTZOID =>
        |datum, _| plain::<i64>(datum).map(UnixMicros::from_postgres),
    Vec<i32>: INT4ARRAYOID => |datum, _| plain(datum),
    Vec<i64>: INT8ARRAYOID => |datum, _| plain(datum),
    Vec<String>: TEXTARRAYOID => |datum, _| plain(datum),
}

impl Column for Option<String> {
    fn read(row: &Row<'_>, at: c_int) -> Result<Self> {
        Ok(row.text(at))
    }
}

impl Column for String {
    fn read(row: &Row<'_>, at: c_int) -> Result<Self> {
        not_null(row.text(at), at)
    }
}

/// Maps the rows of the connection's last statement; none when it returned no table.
///
/// `map` may run statements of its own: the table is looked up once, before.
pub(super) fn collect<R>(mut map: impl FnMut(&Row<'_>) -> Result<R>) -> Result<Vec<R>> {
    // SAFETY: spi.c: the table belongs to the connection and lives until it is closed.
    let Some(table) = (unsafe { pg_sys::SPI_tuptable.as_ref() }) else {
        return Ok(Vec::new());
    };
    let (tuples, shape) = (table.vals, table.tupdesc);
    (0..usize::try_from(table.numvals).unwrap_or(usize::MAX))
        .map(|at| {
            // SAFETY: spi.c: `vals` has `numvals` entries.
            let tuple = unsafe { *tuples.add(at) };
            map(&Row { tuple, shape, _table: PhantomData })
        })
        .collect()
}
