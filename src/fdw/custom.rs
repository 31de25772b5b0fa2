//! Format custom: the rows of a message are those that an SQL function returns for its bytes.
//!
//! The function runs as the owner of the foreign table, whoever reads it (`OwnersCode`).

use super::columns::{ColumnSource, Layout};
use crate::pg::acl::OwnersCode;
use crate::pg::caught::caught;
use crate::pg::fdw::{RowWriter, Table, type_name};
use crate::pg::spi::{self, Arg, Plan, Type};
use crate::pg::tx::Tx;
use gpss_model::block::Side;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::format::{Format, FormatSpec};
use gpss_model::fragment::function_name;
use gpss_model::statement::{quote_ident, quote_literal};

/// Rows that a function may return for one message.
const MAX_ROWS: usize = 1_000_000;

/// A column of the scan's rows and its place among those that the function returns.
pub type OutputColumn = (usize, usize);

/// The function of one side of a table's messages.
pub struct RowFunction {
    code: OwnersCode,
    sql: String,
    /// Prepared when the first message comes.
    plan: Option<Plan>,
    columns: usize,
}

/// The function's rows for one message, as texts for the columns' input functions.
pub type TextRows = Vec<Vec<Option<String>>>;

impl RowFunction {
    /// None when the side has another format.
    ///
    /// # Errors
    /// There is no such function.
    pub fn of(table: &Table, layout: &Layout, side: Side) -> Result<Option<RowFunction>> {
        let content = layout.contents[side as usize].as_ref();
        let Some(content) = content.filter(|content| content.format == Format::Custom) else {
            return Ok(None);
        };
        let columns: Vec<_> = layout
            .sources
            .iter()
            .zip(&table.columns)
            .filter_map(|(source, column)| match source {
                ColumnSource::Returned(of, name) if *of == side => Some((name, column)),
                _ => None,
            })
            .collect();
        let tx = Tx::current();
        let defined: Vec<String> = columns
            .iter()
            .map(|(name, c)| format!("{} {}", quote_ident(name), type_name(c.type_oid, c.typmod)))
            .collect();
        let names: Vec<String> = columns.iter().map(|(name, _)| quote_ident(name)).collect();
        // As the owner, who may use a schema that the reader may not.
        let code = OwnersCode::of(table.owner, &table.schema);
        let _owner = code.assume();
        let (returns, argument) = signature(&tx, content)?;
        let call = call(content, &argument)?;
        let alias = match returns {
            Returns::Record => format!("t({})", defined.join(", ")),
            Returns::Columns => "t".to_owned(),
            Returns::Value => format!("t({})", names.first().cloned().unwrap_or("value".into())),
        };
        let selected =
            if names.is_empty() { String::new() } else { format!("t.{}", names.join(", t.")) };
        Ok(Some(RowFunction {
            code: code.clone(),
            sql: format!("SELECT {selected} FROM {call} AS {alias}"),
            plan: None,
            columns: names.len(),
        }))
    }

    /// Calls the function. No payload: a row of NULLs.
    ///
    /// # Errors
    /// What the function raises.
    pub fn rows(&mut self, payload: Option<&[u8]>) -> Result<TextRows> {
        let Some(payload) = payload else { return Ok(vec![vec![None; self.columns]]) };
        let tx = Tx::current();
        let _owner = self.code.assume();
        let plan = match &mut self.plan {
            Some(plan) => plan,
            plan => plan.insert(Plan::prepare(&tx, &self.sql, &[Type::Bytea])?),
        };
        let columns = self.columns;
        let mut count = 0;
        // Caught, so that a code of the user's own does not become an internal error on its way
        // through the scan.
        caught(|| {
            plan.execute_returning(&tx, &[Arg::from(payload)], |row| {
                count += 1;
                if count > MAX_ROWS {
                    return Err(Error::new(
                        SqlState::new("54000"),
                        format!("the formatter returned more than {MAX_ROWS} rows for a message"),
                    ));
                }
                (1..=columns).map(|number| row.get::<Option<String>>(number)).collect()
            })
        })
    }
}

/// Sets a scan's columns from a row of the function.
pub fn fill(
    places: &[OutputColumn],
    row: &[Option<String>],
    out: &mut RowWriter<'_>,
) -> Result<()> {
    for (column, place) in places {
        if let Some(Some(text)) = row.get(*place) {
            out.set_input(*column, text.as_bytes())?;
        }
    }
    Ok(())
}

fn name(content: &FormatSpec) -> Result<&str> {
    let name = content.get("formatter").ok_or_else(|| {
        Error::new(SqlState::INVALID_PARAMETER, "format custom needs the option \"formatter\"")
            .hint("It names an SQL function (bytea, jsonb) that returns rows.")
    })?;
    function_name(name)
}

/// The arguments: the bytes, and the option `params` as the type that the function takes.
fn call(content: &FormatSpec, argument: &str) -> Result<String> {
    let params = quote_literal(content.get("params").unwrap_or("{}"));
    Ok(format!("{}($1, {params}::pg_catalog.{argument})", name(content)?))
}

/// The checks that need no database.
///
/// # Errors
/// `INVALID_PARAMETER`, `SYNTAX_ERROR`.
pub fn check(content: &FormatSpec) -> Result<()> {
    name(content)?;
    if let Some(params) = content.get("params")
        && !serde_json::from_str(params).is_ok_and(|value: serde_json::Value| value.is_object())
    {
        return Err(Error::new(
            SqlState::INVALID_PARAMETER,
            "option \"params\" must be a JSON object",
        ));
    }
    Ok(())
}

/// What a function returns.
enum Returns {
    /// Rows whose columns the caller has to name.
    Record,
    /// Rows with columns of their own.
    Columns,
    /// One value, or several.
    Value,
}

/// What the function returns and the type of its second argument: of several the first that it is for.
fn signature(tx: &Tx, content: &FormatSpec) -> Result<(Returns, String)> {
    let name = name(content)?;
    let sql = "SELECT CASE
            WHEN p.proargmodes IS NOT NULL AND p.proargmodes::text ~ '[obt]' THEN 'columns'
            WHEN p.prorettype OPERATOR(pg_catalog.=) 'pg_catalog.record'::pg_catalog.regtype THEN 'record'
            WHEN t.typtype OPERATOR(pg_catalog.=) 'c' THEN 'columns'
            ELSE 'value' END, a.argument
        FROM pg_catalog.unnest(ARRAY['jsonb', 'json', 'text']) WITH ORDINALITY AS a (argument, n)
        JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) pg_catalog.to_regprocedure(
            pg_catalog.concat($1, '(pg_catalog.bytea, pg_catalog.', a.argument, ')'))
        JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) p.prorettype
        ORDER BY a.n LIMIT 1";
    let row = |row: &spi::Row<'_>| Ok((row.get::<String>(1)?, row.get::<String>(2)?));
    match spi::select(tx, sql, &[name.into()], row)?.pop() {
        Some((returns, argument)) => Ok((
            match returns.as_str() {
                "record" => Returns::Record,
                "columns" => Returns::Columns,
                _ => Returns::Value,
            },
            argument,
        )),
        None => Err(Error::new(
            SqlState::new("42883"),
            format!("function {name}(bytea, jsonb) does not exist"),
        )
        .detail("It is the formatter of a foreign table of format custom.")),
    }
}
