//! What SQL functions are called with and return. pgrx's own types panic at NULL, take each text for UTF-8
//! and each JSON number for one that Rust has.

use super::caught::raise;
use super::spi;
use super::tx::Tx;
use super::{datum, encoding};
use gpss_model::error::{Error, Result, SqlState};
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::{Datum as Lent, UnboxDatum};
use pgrx::pg_sys::{self, Datum, Oid};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::{FromDatum, IntoDatum, JsonB};
use std::ffi::CStr;
use std::ops::Deref;

/// A `text`, in the database's encoding there and in UTF-8 here. As an argument it is not NULL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(pub String);

/// A `jsonb`, likewise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Json(pub serde_json::Value);

/// An argument of another type that is not NULL.
#[derive(Clone, Copy, Debug)]
pub struct Required<T>(pub T);

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text(text)
    }
}

/// The argument, unless it is NULL.
///
/// Raises: 22004 then, with the argument's name.
fn given<'a, 'fcx>(arg: Arg<'a, 'fcx>) -> Arg<'a, 'fcx> {
    if !arg.is_null() {
        return arg;
    }
    let index = arg.index();
    // SAFETY: callconv.rs: what this type makes of any argument is the call's own structure, in which
    // the executor has put the function.
    let function = unsafe {
        let call = <pg_sys::FunctionCallInfo as ArgAbi>::unbox_arg_unchecked(arg);
        (*(*call).flinfo).fn_oid
    };
    let name = name_of(function, index).ok().flatten().unwrap_or_default();
    raise(Error::new(
        SqlState::NULL_VALUE_NOT_ALLOWED,
        format!("argument \"{name}\" must not be null"),
    ))
}

fn name_of(function: Oid, index: usize) -> Result<Option<String>> {
    let sql =
        "SELECT proargnames[$2 OPERATOR(pg_catalog.+) 1]::pg_catalog.text FROM pg_catalog.pg_proc
        WHERE oid OPERATOR(pg_catalog.=) $1";
    let index = i32::try_from(index).unwrap_or(-1);
    let found =
        spi::select(&Tx::current(), sql, &[function.into(), index.into()], |row| row.get(1))?;
    Ok(found.into_iter().next().flatten())
}

fn or_raise<T>(outcome: Result<T>) -> T {
    outcome.unwrap_or_else(|error| raise(error))
}

impl FromDatum for Text {
    unsafe fn from_polymorphic_datum(datum: Datum, is_null: bool, oid: Oid) -> Option<Text> {
        // SAFETY: by contract a text, which is laid out as a bytea is.
        let bytes = unsafe { <&[u8]>::from_polymorphic_datum(datum, is_null, oid) }?;
        Some(Text(or_raise(encoding::utf8(bytes))))
    }
}

impl FromDatum for Json {
    unsafe fn from_polymorphic_datum(datum: Datum, is_null: bool, _: Oid) -> Option<Json> {
        if is_null {
            return None;
        }
        // SAFETY: by contract a jsonb; jsonb_out returns a NUL-terminated string.
        let text =
            unsafe { pgrx::direct_function_call::<&CStr>(pg_sys::jsonb_out, &[Some(datum)]) }?;
        Some(Json(or_raise(encoding::utf8(text.to_bytes()).and_then(|text| parsed(&text)))))
    }
}

fn parsed(json: &str) -> Result<serde_json::Value> {
    serde_json::from_str(json).map_err(|error| {
        Error::new(SqlState::INVALID_PARAMETER, "the JSON argument cannot be read")
            .detail(error.to_string())
    })
}

impl IntoDatum for Text {
    fn into_datum(self) -> Option<Datum> {
        Some(or_raise(datum::text(&self.0)))
    }

    fn type_oid() -> Oid {
        pg_sys::TEXTOID
    }
}

impl IntoDatum for Json {
    fn into_datum(self) -> Option<Datum> {
        let text = self.0.to_string();
        let text = or_raise(encoding::c_string(&text));
        // SAFETY: jsonb_in takes a NUL-terminated string of the database's encoding.
        unsafe {
            pgrx::direct_function_call_as_datum(pg_sys::jsonb_in, &[Some(text.as_ptr().into())])
        }
    }

    fn type_oid() -> Oid {
        pg_sys::JSONBOID
    }
}

macro_rules! passed {
    ($ours:ty) => {
        // SAFETY: callconv.rs: an argument of the SQL type that the type is declared as below.
        unsafe impl<'fcx> ArgAbi<'fcx> for $ours {
            unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
                // SAFETY: as above, and not NULL.
                unsafe { given(arg).unbox_arg_using_from_datum().unwrap_or_default() }
            }
        }

        // SAFETY: callconv.rs: the datum is of that type, in the current memory context.
        unsafe impl BoxRet for $ours {
            unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Lent<'fcx> {
                match self.into_datum() {
                    // SAFETY: as above; by contract it is returned.
                    Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
                    None => fcinfo.return_null(),
                }
            }
        }
    };
}

passed!(Text);
passed!(Json);

// SAFETY: callconv.rs: the type's own conversion sees no NULL.
unsafe impl<'fcx, T: ArgAbi<'fcx>> ArgAbi<'fcx> for Required<T> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as above.
        Required(unsafe { T::unbox_arg_unchecked(given(arg)) })
    }
}

// SAFETY: unbox.rs: an element of an array of text; the value is a copy.
unsafe impl UnboxDatum for Text {
    type As<'src> = Text;

    unsafe fn unbox<'src>(datum: Lent<'src>) -> Text
    where
        Self: 'src,
    {
        // SAFETY: as above.
        unsafe { Text::from_datum(datum.sans_lifetime(), false).unwrap_or_default() }
    }
}

macro_rules! declared_as {
    ([$($generics:tt)*] $ours:ty, $other:ty) => {
        // SAFETY: the SQL type is the other's, and so is the datum.
        unsafe impl<$($generics)*> SqlTranslatable for $ours {
            const TYPE_IDENT: &'static str = <$other>::TYPE_IDENT;
            const TYPE_ORIGIN: TypeOrigin = <$other>::TYPE_ORIGIN;
            const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = <$other>::ARGUMENT_SQL;
            const RETURN_SQL: Result<ReturnsRef, ReturnsError> = <$other>::RETURN_SQL;
        }
    };
}

declared_as!([] Text, String);
declared_as!([] Json, JsonB);
declared_as!([T: SqlTranslatable] Required<T>, T);
