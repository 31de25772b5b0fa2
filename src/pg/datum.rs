//! Text into datums: plain varlena, and through a column's input function as COPY does.
//!
//! The input of a type of the user's runs code: a domain's CHECK, also that of a composite type's column or
//! an array's element, calls any function. In the columns of a foreign table it is the owner's.

use std::ffi::{CStr, c_char, c_int, c_void};

use pgrx::pg_sys::{self, Datum};
use pgrx::varlena::set_varsize_4b;

use crate::pg::acl::OwnersCode;
use crate::pg::caught::caught;
use crate::pg::column_type::ColumnType;
use crate::pg::encoding::{PROGRAM_LIMIT_EXCEEDED, to_server, valid_utf8};
use crate::pg::mcx::Mcx;
use crate::pg::unguarded::unguarded;
use gpss_model::error::{Error, Result, SqlState};

/// MaxAllocSize of memutils.h: the largest varlena.
const MAX_VARLENA: usize = 0x3fff_ffff;

const OUT_OF_MEMORY: SqlState = SqlState::new("53200");

/// Does `Z` at the end of a timestamp mean UTC in this session? It is an abbreviation, which a file of
/// the user's (`timezone_abbreviations`) or a zone of POSIX form (`'<Z>+3'`) may define otherwise.
pub fn z_means_utc() -> bool {
    let setting = |name: &CStr| {
        // SAFETY: guc.c: both settings exist; the value stays valid until the setting changes.
        unsafe { CStr::from_ptr(pg_sys::GetConfigOption(name.as_ptr(), false, false)).to_bytes() }
    };
    setting(c"timezone_abbreviations") == b"Default" && !setting(c"timezone").contains(&b'<')
}

/// A `text` datum in the current memory context: one allocation, none guarded.
///
/// Errors: 22021 for a NUL or, when the database is not UTF-8, 22P05 for a character it lacks;
/// 54000 above 1 GB; 53200.
pub fn text(text: &str) -> Result<Datum> {
    varlena(&to_server(text)?)
}

/// As `text`, for bytes that claim to be UTF-8. Errors: 22021 when they are not, and as `text`.
pub fn text_from_bytes(bytes: &[u8]) -> Result<Datum> {
    text(valid_utf8(bytes)?)
}

/// A `bytea` datum in the current memory context. Errors: 54000 above 1 GB; 53200.
pub fn bytea(bytes: &[u8]) -> Result<Datum> {
    varlena(bytes)
}

// With MCXT_ALLOC_NO_OOM and a size within MaxAllocSize it never raises.
unguarded! {
    fn MemoryContextAllocExtended(
        context: pg_sys::MemoryContext,
        size: usize,
        flags: c_int,
    ) -> *mut c_void;
}

fn varlena(bytes: &[u8]) -> Result<Datum> {
    let size = bytes.len() + pg_sys::VARHDRSZ;
    if size > MAX_VARLENA {
        let error = Error::new(PROGRAM_LIMIT_EXCEEDED, "a value is too long for a column");
        return Err(error.detail(format!("It has {} bytes.", bytes.len())));
    }
    // SAFETY: mcxt.c: the size is checked above, NO_OOM returns null instead of raising.
    let start = unsafe {
        let flags = pg_sys::MCXT_ALLOC_NO_OOM as c_int;
        MemoryContextAllocExtended(pg_sys::CurrentMemoryContext, size, flags)
    };
    if start.is_null() {
        return Err(Error::new(OUT_OF_MEMORY, "out of memory"));
    }
    // SAFETY: postgres.h (varlena): `size` bytes, aligned for any type, header first; size < 1 GB.
    unsafe {
        set_varsize_4b(start.cast(), size as i32);
        let data = start.cast::<u8>().add(pg_sys::VARHDRSZ);
        data.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
    }
    Ok(Datum::from(start))
}

/// The input functions of a row's columns, each looked up at its first use.
pub struct Inputs {
    columns: Vec<(ColumnType, Option<Input>)>,
    // Whose code the types are that are not PostgreSQL's own; None: the caller's.
    code: Option<OwnersCode>,
    // The NUL-terminated copy that input functions want; kept to be reused.
    buffer: Vec<u8>,
    // fn_mcxt: what functions cache in fn_extra. Ends after them, being declared after them.
    context: Mcx,
}

struct Input {
    // Boxed: functions keep the address of their FmgrInfo.
    function: Box<pg_sys::FmgrInfo>,
    io_param: pg_sys::Oid,
    typmod: i32,
}

impl Inputs {
    /// Raises: 53200.
    pub fn new(columns: &[ColumnType], code: Option<OwnersCode>) -> Inputs {
        let context = Mcx::new(c"gpss input functions");
        let columns = columns.iter().map(|column| (*column, None)).collect();
        Inputs { columns, code, buffer: Vec::new(), context }
    }

    /// The datum that `value` has in column `index` (from 0), in the current memory context; an
    /// SQL NULL goes through the function too, because a domain may refuse it.
    ///
    /// Errors: 22021 for a NUL or bytes that are not UTF-8, 22P05 for a character that the server's
    /// encoding lacks; what the type says of the value. Raises: 42883 for a type without input
    /// function.
    pub fn call(&mut self, index: usize, value: Option<&[u8]>) -> Result<Option<Datum>> {
        let Inputs { columns, code, buffer, context } = self;
        let Some((column, input)) = columns.get_mut(index) else {
            return Err(Error::new(SqlState::INTERNAL, format!("there is no column {index}")));
        };
        let Input { function, io_param, typmod } =
            input.get_or_insert_with(|| Input::new(*column, context));
        let text = match value {
            None => std::ptr::null_mut(),
            Some(bytes) => {
                buffer.clear();
                buffer.extend_from_slice(&to_server(valid_utf8(bytes)?)?);
                buffer.push(0);
                buffer.as_mut_ptr().cast::<c_char>()
            }
        };
        let others = code.as_ref().filter(|code| column.is_users() && !code.is_own());
        let _owner = others.map(OwnersCode::assume);
        // SAFETY: fmgr.c: the string is NUL-terminated and outlives the call, null stands for NULL;
        // the FmgrInfo was filled by fmgr_info_cxt.
        let mut call =
            || unsafe { pg_sys::InputFunctionCall(&mut **function, text, *io_param, *typmod) };
        // Caught, so that a code of the user's own (a domain's CHECK may raise one) does not become
        // an internal error on its way through the scan.
        let datum = caught(|| Ok(call()))?;
        Ok(value.map(|_| datum))
    }
}

impl Input {
    fn new(column: ColumnType, context: &Mcx) -> Input {
        let mut function = Box::new(pg_sys::FmgrInfo::default());
        let (mut oid, mut io_param) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
        // SAFETY: lsyscache.c, fmgr.c: in a transaction (else they raise); the FmgrInfo does not
        // move any more, and its context outlives it (`Inputs`).
        unsafe {
            pg_sys::getTypeInputInfo(column.oid, &mut oid, &mut io_param);
            pg_sys::fmgr_info_cxt(oid, &mut *function, context.as_ptr());
        }
        Input { function, io_param, typmod: column.typmod }
    }
}
