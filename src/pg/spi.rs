//! SQL from inside the server, over SPI (spi.c): bound parameters in, owned values out.
//!
//! A statement's own errors are raised, not returned: `tx` and `subtx` make them values and clean
//! up. What is returned as `Err` is misuse, and what the caller's mapping returns. Nothing assigns
//! a transaction id that the statement does not need, as pgrx's `Spi::run` and `get_one` do.

mod arg;
mod multi_insert;
mod planned;
mod row;
mod targets;

use std::ffi::{CStr, CString, c_char, c_int};

use pgrx::pg_sys;

use crate::pg::encoding;
use crate::pg::tx::Tx;
use gpss_model::error::{Error, Result, SqlState};

use arg::Bound;
pub use arg::{Arg, Type, UnixMicros};
pub use row::Row;
pub use targets::Targets;

/// Runs a query and maps its rows. It sees what this transaction did before and, in READ
/// COMMITTED, what others have committed until now. Assigns no transaction id.
///
/// Errors: `map`'s; XX000 for anything but a query. Raises: the query's errors.
pub fn select<R>(
    tx: &Tx,
    sql: &str,
    args: &[Arg<'_>],
    map: impl FnMut(&Row<'_>) -> Result<R>,
) -> Result<Vec<R>> {
    connected(tx, || {
        expect_query(execute_text(sql, args)?, sql)?;
        row::collect(map)
    })
}

/// As `select`, and sees what others have committed until now in REPEATABLE READ too, where
/// `select` stays with the transaction's snapshot: for a function that waits for another process
/// inside one statement.
///
/// Errors and raises: as `select`.
pub fn select_latest<R>(
    tx: &Tx,
    sql: &str,
    args: &[Arg<'_>],
    map: impl FnMut(&Row<'_>) -> Result<R>,
) -> Result<Vec<R>> {
    connected(tx, || {
        expect_query(execute_latest(sql, args, true)?, sql)?;
        row::collect(map)
    })
}

/// As `exec`, and acts on what others have committed until now in REPEATABLE READ too.
///
/// Errors and raises: as `exec`.
pub fn exec_latest(tx: &Tx, sql: &str, args: &[Arg<'_>]) -> Result<u64> {
    connected(tx, || {
        expect_success(execute_latest(sql, args, false)?, sql)?;
        Ok(processed())
    })
}

/// The same for a statement that returns rows.
pub fn exec_returning_latest<R>(
    tx: &Tx,
    sql: &str,
    args: &[Arg<'_>],
    map: impl FnMut(&Row<'_>) -> Result<R>,
) -> Result<Vec<R>> {
    connected(tx, || {
        expect_success(execute_latest(sql, args, false)?, sql)?;
        row::collect(map)
    })
}

/// Runs any statement; the number of rows it processed (0 for utility statements).
///
/// Errors: a parameter that cannot be bound. Raises: the statement's errors.
pub fn exec(tx: &Tx, sql: &str, args: &[Arg<'_>]) -> Result<u64> {
    connected(tx, || {
        expect_success(execute_text(sql, args)?, sql)?;
        Ok(processed())
    })
}

/// Runs any statement and maps the rows it returns (RETURNING, SHOW, EXPLAIN …).
///
/// Errors: `map`'s; a parameter that cannot be bound. Raises: the statement's errors.
pub fn exec_returning<R>(
    tx: &Tx,
    sql: &str,
    args: &[Arg<'_>],
    map: impl FnMut(&Row<'_>) -> Result<R>,
) -> Result<Vec<R>> {
    connected(tx, || {
        expect_success(execute_text(sql, args)?, sql)?;
        row::collect(map)
    })
}

/// A prepared statement that outlives transactions; freed on drop. PostgreSQL plans it again when
/// what it depends on changes.
pub struct Plan {
    plan: pg_sys::SPIPlanPtr,
    types: Vec<Type>,
    sql: String,
}

/// A statement being executed, by the place of its text, which PostgreSQL hands on to all scans of the
/// statement: those of what functions execute meanwhile have another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementId(usize);

impl StatementId {
    /// From a query's `sourceText`; None for one that was made without a text, as extensions do that
    /// divide a statement.
    ///
    /// # Safety
    /// NULL or a zero-terminated text.
    pub(super) unsafe fn of(text: *const c_char) -> Option<StatementId> {
        // SAFETY: by contract.
        let has_text = !text.is_null() && unsafe { *text } != 0;
        has_text.then_some(StatementId(text as usize))
    }
}

impl Plan {
    /// What its executions are known by.
    pub fn id(&self) -> Option<StatementId> {
        // SAFETY: spi.h, plancache.c: a kept plan has its sources, which live as long as it does.
        unsafe {
            let sources = pg_sys::SPI_plan_get_plan_sources(self.plan);
            let sources = pgrx::PgList::<pg_sys::CachedPlanSource>::from_pg(sources);
            sources.get_ptr(0).and_then(|source| StatementId::of((*source).query_string))
        }
    }

    /// Raises: the statement's errors, as far as parsing finds them.
    pub fn prepare(tx: &Tx, sql: &str, types: &[Type]) -> Result<Plan> {
        connected(tx, || {
            let plan = prepare(sql, types)?;
            // SAFETY: spi.c: moves a plan of this connection to where SPI_finish leaves it alone.
            expect_success(unsafe { pg_sys::SPI_keepplan(plan) }, sql)?;
            Ok(Plan { plan, types: types.to_vec(), sql: sql.to_owned() })
        })
    }

    /// As `exec`. Errors: also XX000 when the arguments do not have the prepared types.
    pub fn execute(&self, tx: &Tx, args: &[Arg<'_>]) -> Result<u64> {
        connected(tx, || {
            self.run(args)?;
            Ok(processed())
        })
    }

    /// As `exec_returning`. Errors: also XX000 when the arguments do not have the prepared types.
    pub fn execute_returning<R>(
        &self,
        tx: &Tx,
        args: &[Arg<'_>],
        map: impl FnMut(&Row<'_>) -> Result<R>,
    ) -> Result<Vec<R>> {
        connected(tx, || {
            self.run(args)?;
            row::collect(map)
        })
    }

    /// As `execute` for a statement without arguments, and faster when it is an `INSERT … SELECT` into
    /// an ordinary table: see `multi_insert`. A failing row is then found later than its turn.
    pub fn execute_in_bulk(&self, tx: &Tx) -> Result<u64> {
        if self.types.is_empty() {
            // SAFETY: spi.rs: the plan is kept and has no parameters; `connected` connects.
            let rows = connected(tx, || Ok(unsafe { multi_insert::execute(self.plan) }))?;
            if let Ok(rows) = rows {
                return Ok(rows);
            }
        }
        self.execute(tx, &[])
    }

    /// Why `execute_in_bulk` would write row by row; None when it would not.
    pub fn obstacle_to_bulk(&self, tx: &Tx) -> Result<Option<&'static str>> {
        // SAFETY: as in `execute_in_bulk`; a plan with parameters is only looked at.
        connected(tx, || Ok(unsafe { multi_insert::obstacle(self.plan) }))
    }

    /// Which of the tables that the statement writes into are not like others, as of now.
    ///
    /// Raises: what planning raises.
    pub fn targets(&self, tx: &Tx) -> Result<Targets> {
        // SAFETY: as in `execute_in_bulk`.
        connected(tx, || unsafe { Targets::of(tx, self.plan) })
    }

    fn run(&self, args: &[Arg<'_>]) -> Result<()> {
        // PostgreSQL would take a datum of another type for what the plan expects.
        if !args.iter().map(Arg::sql_type).eq(self.types.iter().copied()) {
            return Err(misuse("arguments do not have the prepared types", &self.sql));
        }
        let mut bound = Bound::new(args)?;
        // SAFETY: spi.c: connected, the plan is kept, and the arrays match its parameters. Not
        // read_only, so that each execution takes a snapshot of its own.
        let code = unsafe {
            let (values, nulls) = bound.as_ptrs();
            pg_sys::SPI_execute_plan(self.plan, values, nulls, false, 0)
        };
        expect_success(code, &self.sql)
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: spi.c: a kept plan belongs to us; needs no connection and no transaction, and
        // reports a bad plan by its result.
        unsafe { pg_sys::SPI_freeplan(self.plan) };
    }
}

/// Runs `body` inside an SPI connection.
///
/// When `body` raises, the connection stays for the end of the (sub)transaction to close
/// (AtEOXact_SPI): SPI_finish in a broken transaction could itself raise.
fn connected<R>(_tx: &Tx, body: impl FnOnce() -> Result<R>) -> Result<R> {
    // SAFETY: spi.c: a transaction is open, `_tx` proves it.
    expect_success(unsafe { pg_sys::SPI_connect() }, "SPI_connect")?;
    let outcome = body();
    // SAFETY: spi.c: closes what was opened above; `body`'s own connections are closed.
    expect_success(unsafe { pg_sys::SPI_finish() }, "SPI_finish")?;
    outcome
}

fn execute_latest(sql: &str, args: &[Arg<'_>], read_only: bool) -> Result<c_int> {
    let types: Vec<Type> = args.iter().map(Arg::sql_type).collect();
    let plan = prepare(sql, &types)?;
    let mut bound = Bound::new(args)?;
    // SAFETY: spi.c: connected; arrays as long as the plan's parameters; SPI copies the snapshot before it
    // runs, with the effects of this transaction so far unless read_only.
    Ok(unsafe {
        let latest = pg_sys::GetLatestSnapshot();
        let (values, nulls) = bound.as_ptrs();
        let none = std::ptr::null_mut();
        pg_sys::SPI_execute_snapshot(plan, values, nulls, latest, none, read_only, false, 0)
    })
}

fn execute_text(sql: &str, args: &[Arg<'_>]) -> Result<c_int> {
    let text = statement(sql)?;
    let mut types: Vec<pg_sys::Oid> = args.iter().map(|arg| arg.sql_type().oid()).collect();
    let mut bound = Bound::new(args)?;
    let count = parameter_count(types.len())?;
    // SAFETY: spi.c: connected; the three arrays have `count` entries and outlive the call. Not
    // read_only, so that each statement takes a snapshot of its own; 0 = all rows.
    Ok(unsafe {
        let (values, nulls) = bound.as_ptrs();
        let (sql, types) = (text.as_ptr(), types.as_mut_ptr());
        pg_sys::SPI_execute_with_args(sql, count, types, values, nulls, false, 0)
    })
}

fn prepare(sql: &str, types: &[Type]) -> Result<pg_sys::SPIPlanPtr> {
    let text = statement(sql)?;
    let mut types: Vec<pg_sys::Oid> = types.iter().map(|t| t.oid()).collect();
    let count = parameter_count(types.len())?;
    // SAFETY: spi.c: connected; `count` types. The plan belongs to the connection; SPI_result
    // says why there is none.
    unsafe {
        let plan = pg_sys::SPI_prepare(text.as_ptr(), count, types.as_mut_ptr());
        if plan.is_null() {
            expect_success(pg_sys::SPI_result, sql)?;
        }
        Ok(plan)
    }
}

fn statement(sql: &str) -> Result<CString> {
    CString::new(encoding::to_server(sql)?)
        .map_err(|_| misuse("a statement contains a NUL character", sql))
}

fn parameter_count(count: usize) -> Result<c_int> {
    c_int::try_from(count).map_err(|_| Error::new(SqlState::INTERNAL, "too many parameters"))
}

fn processed() -> u64 {
    // SAFETY: spi.c: set by the last statement of this connection.
    unsafe { pg_sys::SPI_processed }
}

fn expect_query(code: c_int, sql: &str) -> Result<()> {
    expect_success(code, sql)?;
    if code == pg_sys::SPI_OK_SELECT as c_int {
        return Ok(());
    }
    Err(misuse("the statement is not a query", sql))
}

/// SPI's results are negative for misuse of SPI; a statement's own errors were raised.
fn expect_success(code: c_int, what: &str) -> Result<()> {
    if code >= 0 {
        return Ok(());
    }
    // SAFETY: spi.c: a static string for every code.
    let reason = unsafe { CStr::from_ptr(pg_sys::SPI_result_code_string(code)) };
    Err(misuse(&format!("SPI failed with {}", reason.to_string_lossy()), what))
}

fn misuse(message: &str, detail: &str) -> Error {
    Error::new(SqlState::INTERNAL, message).detail(detail)
}

/// How SPI marks parameters.
const NULL_MARK: c_char = b'n' as c_char;
const VALUE_MARK: c_char = b' ' as c_char;
