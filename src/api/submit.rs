//! Making a job: from a GPSS configuration, with the foreign table it needs, or over one that exists.
//! Everything is made as the calling user, with its privileges.

use super::{columns, delivery, job_objects, schemas};
use crate::catalog::jobs::{self, Job};
use crate::fdw::source::{self, TopicOptions};
use crate::pg::acl;
use crate::pg::caught::{self, Level};
use crate::pg::fdw::{Table, relation_columns};
use crate::pg::parser;
use crate::pg::spi;
use crate::pg::subtx::subtx;
use crate::pg::tx::Tx;
use gpss_model::config::{self, LoadConfig, Target};
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::fragment::{enclosed, without_alias, without_semicolons};
use gpss_model::job::{
    Commit, ErrorLimit, JobSpec, Mapping, Mode, Origin, TableName, TargetSpec, Task, Transformer,
};
use gpss_model::names;
use gpss_model::statement::{self, insert_statement, qualified, quote_ident};
use pgrx::pg_sys::Oid;
use std::collections::BTreeMap;

/// Reads a configuration and tells the user what in it has no effect.
pub fn parse(text: &str, properties: &BTreeMap<String, String>) -> Result<LoadConfig> {
    let config = config::parse(text, properties)?;
    let mut remarks = config.notices.clone();
    let tx = Tx::current();
    let sql = "SELECT pg_catalog.current_database()::text, current_user::text";
    let here = spi::select(&tx, sql, &[], |row| Ok([row.get::<String>(1)?, row.get(2)?]))?;
    for [database, user] in here {
        let others = |wanted: &Option<String>, is: &str| wanted.as_deref().is_some_and(|w| w != is);
        let keys = match (others(&config.database, &database), others(&config.user, &user)) {
            (true, true) => "DATABASE and USER are",
            (true, false) => "DATABASE is",
            (false, true) => "USER is",
            (false, false) => continue,
        };
        remarks.push(format!(
            "{keys} not used: the job loads into this database, \"{database}\", as the role that \
             submits it, \"{user}\""
        ));
    }
    match remarks.as_slice() {
        [] => {}
        [remark] => caught::notice(remark.as_str()),
        // One, so that it does not bury what comes with it.
        remarks => caught::report(
            Level::Notice,
            &Error::new(
                SqlState::SUCCESS,
                format!("there are {} remarks on the load configuration", remarks.len()),
            )
            .detail(remarks.join("\n")),
        ),
    }
    Ok(config)
}

/// The tables a configuration names: each in its schema, else by the search path.
pub fn targets_of(tx: &Tx, config: &LoadConfig) -> Result<Vec<TableName>> {
    config.outputs.iter().map(|output| target_of(tx, &output.target)).collect()
}

fn target_of(tx: &Tx, target: &Target) -> Result<TableName> {
    if let Some(schema) = &target.schema {
        schemas::check_privilege(tx, schema, schemas::USAGE)?;
    }
    if let Some(found) = existing(tx, target)? {
        return Ok(found);
    }
    let name = written(target);
    let error =
        Error::new(SqlState::UNDEFINED_TABLE, format!("target table {name} does not exist"))
            .hint("Create it first, or write SCHEMA and TABLE as they are in the database.");
    if let Some(schema) = schemas::closed_with(tx, &target.table)?
        && target.schema.is_none()
    {
        return Err(error.detail(format!(
            "There is one in schema \"{schema}\", on which the role lacks the privilege USAGE."
        )));
    }
    let folded = Target {
        schema: target.schema.as_deref().map(names::folded),
        table: names::folded(&target.table),
    };
    Err(match existing(tx, &folded)? {
        Some(other) => error.hint(format!(
            "Perhaps you meant {}: SCHEMA and TABLE are names as in quotes.",
            qualified(&other)
        )),
        None => error,
    })
}

/// A table's name in SQL.
fn written(target: &Target) -> String {
    match &target.schema {
        Some(schema) => {
            qualified(&TableName { schema: schema.clone(), name: target.table.clone() })
        }
        None => quote_ident(&target.table),
    }
}

fn existing(tx: &Tx, target: &Target) -> Result<Option<TableName>> {
    let sql = "SELECT n.nspname::text, c.relname::text
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1)::pg_catalog.oid";
    let found = spi::select(tx, sql, &[written(target).as_str().into()], |row| {
        Ok(TableName { schema: row.get(1)?, name: row.get(2)? })
    })?;
    Ok(found.into_iter().next())
}

/// Submits a job from a configuration.
pub fn from_config(tx: &Tx, name: &str, config: &LoadConfig) -> Result<Job> {
    check_name(name)?;
    let targets = targets_of(tx, config)?;
    let config = &columns::described(tx, config, &targets)?;
    let id = jobs::next_id(tx)?;
    let mut spec = job_objects::make(tx, id, config, targets)?;
    columns::settle(tx, &mut spec)?;
    check_task(tx, &spec)?;
    check_statements(tx, &spec)?;
    let job = Job::new(id, name, spec);
    jobs::insert(tx, &job)?;
    Ok(job)
}

/// Gives an existing job of the same kind a new configuration; its offsets stay.
pub fn replace(tx: &Tx, job: &Job, config: &LoadConfig) -> Result<()> {
    let targets = targets_of(tx, config)?;
    let config = &columns::described(tx, config, &targets)?;
    job_objects::drop_objects(tx, job)?;
    let mut spec = job_objects::make(tx, job.id, config, targets)?;
    columns::settle(tx, &mut spec)?;
    check_task(tx, &spec)?;
    check_statements(tx, &spec)?;
    jobs::update_spec(tx, job.id, &spec)
}

fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(Error::new(SqlState::INVALID_PARAMETER, "a job's name must not be empty"));
    }
    Ok(())
}

/// What `submit_job` over a foreign table was given.
pub struct PlainJob<'a> {
    pub source: Oid,
    pub target: Oid,
    pub mapping: Option<serde_json::Value>,
    pub mode: &'a str,
    pub has_match_columns: bool,
    pub filter: Option<&'a str>,
    pub max_row: Option<i64>,
    /// Milliseconds.
    pub minimal_interval: Option<i64>,
    pub error_limit: Option<&'a str>,
    pub workers: i32,
}

impl Default for PlainJob<'_> {
    /// The defaults of the SQL function's arguments.
    fn default() -> Self {
        PlainJob {
            source: Oid::INVALID,
            target: Oid::INVALID,
            mapping: None,
            mode: "insert",
            has_match_columns: false,
            filter: None,
            max_row: None,
            minimal_interval: None,
            error_limit: None,
            workers: 1,
        }
    }
}

/// Submits a job over a foreign table.
pub fn from_table(tx: &Tx, name: &str, plain: PlainJob<'_>) -> Result<Job> {
    check_name(name)?;
    let invalid = |message: &str| Error::new(SqlState::INVALID_PARAMETER, message);
    let not_built = !plain.mode.eq_ignore_ascii_case("insert");
    if not_built || plain.has_match_columns {
        return Err(Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            format!("mode \"{}\" is not supported yet", plain.mode),
        )
        .hint("Use mode 'insert', without match_columns."));
    }
    let mut commit = Commit::default();
    if let Some(rows) = plain.max_row {
        let rows = u64::try_from(rows).map_err(|_| invalid("max_row must not be negative"))?;
        commit.max_row = (rows > 0).then_some(rows);
    }
    if let Some(ms) = plain.minimal_interval {
        commit.minimal_interval_ms =
            u64::try_from(ms).map_err(|_| invalid("minimal_interval must not be negative"))?;
    }
    if !(1..=64).contains(&plain.workers) {
        return Err(invalid("workers must be between 1 and 64"));
    }
    let table = Table::load(plain.source);
    source::check_wrapper(&table)?;
    let mut spec = JobSpec {
        origin: Origin::Sql,
        topic: TopicOptions::of(&table)?.topic,
        source: TableName { schema: table.schema, name: table.name },
        outputs: vec![TargetSpec {
            target: table_name(tx, plain.target)?,
            mode: Mode::Insert,
            mapping: plain.mapping.map(mapping).transpose()?,
            transformer: None,
            filter: None,
        }],
        filter: plain.filter.map(|filter| without_semicolons(filter).to_owned()),
        error_limit: plain.error_limit.map(error_limit).transpose()?,
        commit,
        search_path: schemas::search_path(tx)?,
        workers: plain.workers.unsigned_abs(),
        task: Default::default(),
        schedule: Default::default(),
        alert: None,
    };
    columns::settle(tx, &mut spec)?;
    check_task(tx, &spec)?;
    let statements = check_statements(tx, &spec)?;
    delivery::warn_of_unlogged(tx, &statements)?;
    let id = jobs::next_id(tx)?;
    let job = Job::new(id, name, spec);
    jobs::insert(tx, &job)?;
    Ok(job)
}

fn error_limit(text: &str) -> Result<ErrorLimit> {
    let wrong =
        || Error::new(SqlState::INVALID_PARAMETER, format!("error_limit {}", ErrorLimit::FORM));
    ErrorLimit::parse(text).ok_or_else(wrong)
}

fn table_name(tx: &Tx, oid: Oid) -> Result<TableName> {
    let sql = "SELECT n.nspname::text, c.relname::text
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        WHERE c.oid OPERATOR(pg_catalog.=) $1";
    let found = spi::select(tx, sql, &[oid.into()], |row| {
        Ok(TableName { schema: row.get(1)?, name: row.get(2)? })
    })?;
    found
        .into_iter()
        .next()
        .ok_or_else(|| Error::new(SqlState::UNDEFINED_TABLE, "the target table does not exist"))
}

/// `{"column": "expression", …}`.
fn mapping(value: serde_json::Value) -> Result<Vec<Mapping>> {
    let refuse = || {
        Error::new(SqlState::INVALID_PARAMETER, "mapping must be a JSON object of strings")
            .hint("For example '{\"id\": \"(doc->>''id'')::bigint\"}'.")
    };
    let serde_json::Value::Object(object) = value else { return Err(refuse()) };
    object
        .into_iter()
        .map(|(column, expression)| match expression {
            serde_json::Value::String(expression) => {
                let expression = without_alias(without_semicolons(&expression)).to_owned();
                Ok(Mapping { column, expression })
            }
            _ => Err(refuse()),
        })
        .collect()
}

/// What PostgreSQL says of aggregates and of window functions where a single row is wanted.
const TAKES_SEVERAL: [SqlState; 2] = [SqlState::GROUPING_ERROR, SqlState::WINDOWING_ERROR];

fn takes_several(mapping: &Mapping, sqlstate: SqlState) -> Error {
    let Mapping { column, expression } = mapping;
    let message = format!(
        "aggregate and window functions are not allowed in the expression for column \"{column}\""
    );
    Error::new(sqlstate, message).detail(format!("In the expression: {expression}")).hint(
        "Its result would depend on where a batch ends. Load the messages, and aggregate the table.",
    )
}

/// A missing privilege with the GRANT for it, where it is the one on the target or the source.
fn with_grant(tx: &Tx, spec: &JobSpec, output: &TargetSpec, error: Error) -> Result<Error> {
    for (table, privilege) in [(&output.target, "INSERT"), (&spec.source, "SELECT")] {
        let sql = "SELECT pg_catalog.has_table_privilege($1, $2)
            OR pg_catalog.has_any_column_privilege($1, $2)";
        let args = [schemas::table_oid(tx, table)?.into(), privilege.into()];
        if spi::select(tx, sql, &args, |row| row.get::<bool>(1))? == [false] {
            let role = quote_ident(&acl::role_name(acl::current_user()));
            let table = qualified(table);
            return Ok(error
                .detail(format!("Role {role} lacks the privilege {privilege} on the table."))
                .hint(format!("GRANT {privilege} ON {table} TO {role}.")));
        }
    }
    Ok(error)
}

/// Builds the job's statements and has PostgreSQL plan them: names, types and privileges are wrong now
/// or never (GPSS does the same with EXPLAIN). Returns the statements.
pub fn check_statements(tx: &Tx, spec: &JobSpec) -> Result<Vec<String>> {
    spec.outputs.iter().map(|output| check_statement(tx, spec, output)).collect()
}

/// Is the SQL around the batches any? What it names may not be there yet.
fn check_task(tx: &Tx, spec: &JobSpec) -> Result<()> {
    let Task { prepare, post_batch, teardown, .. } = &spec.task;
    for (key, sql) in [
        ("PREPARE_SQL (prepare_statement)", prepare),
        ("POST_BATCH_SQL (window_statement)", post_batch),
        ("TEARDOWN_SQL (teardown_statement)", teardown),
    ] {
        let Some(sql) = sql else { continue };
        parser::check_syntax(tx, sql).map_err(|mut error| {
            error.message = format!("{key}: {}", error.message);
            let near = error.message.to_ascii_lowercase();
            if ["distributed", "randomly", "replicated"]
                .iter()
                .any(|w| near.contains(&format!("\"{w}\"")))
            {
                error = error.hint(
                    "Leave out DISTRIBUTED BY or DISTRIBUTED RANDOMLY, which is Greenplum's.",
                );
            }
            error
        })?;
    }
    Ok(())
}

/// What PostgreSQL says of our call of the function, with what the function has to be.
fn error_of_transformer(
    tx: &Tx,
    mut error: Error,
    output: &TargetSpec,
    transformer: &Transformer,
) -> Error {
    let taken = subtx(tx, || columns::row_taken(tx, transformer));
    if error.sqlstate == SqlState::UNDEFINED_FUNCTION
        && let Ok(Some(taken)) = taken
    {
        error.sqlstate = SqlState::DATATYPE_MISMATCH;
        error.message = format!(
            "the transformer takes a row of type {taken}, which is not that of table {}",
            qualified(&output.target)
        );
    }
    let place = format!("In the transformer {}.", transformer.function);
    error.detail = Some(match error.detail {
        Some(detail) => format!("{detail}\n{place}"),
        None => place,
    });
    error.hint(TRANSFORMER)
}

/// What a transformer is, for hints.
pub const TRANSFORMER: &str = "A transformer is a function (row, json) that returns the target's columns. \
    Its row has the target's columns, filled by source columns of the same name; or, if it is declared \
    anyelement, the function returns another type, and its code reads source columns that the target \
    lacks, the source's columns.";

fn check_statement(tx: &Tx, spec: &JobSpec, output: &TargetSpec) -> Result<String> {
    let temporary = "SELECT FROM pg_catalog.pg_class
        WHERE oid OPERATOR(pg_catalog.=) $1::pg_catalog.regclass::pg_catalog.oid
          AND relpersistence OPERATOR(pg_catalog.=) 't'";
    let target = qualified(&output.target);
    if !spi::select(tx, temporary, &[target.as_str().into()], |_| Ok(()))?.is_empty() {
        return Err(Error::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("table {target} is temporary"),
        )
        .detail("Workers are other sessions, which cannot write into it."));
    }
    let source = relation_columns(schemas::table_oid(tx, &spec.source)?);
    let source: Vec<String> = source.into_iter().map(|column| column.name).collect();
    let target = relation_columns(schemas::table_oid(tx, &output.target)?);
    let sql = insert_statement(spec, output, &source, &target)?;
    let plan = |sql: &str| subtx(tx, || spi::exec(tx, &format!("EXPLAIN {sql}"), &[]));
    let from = statement::source(spec, &source);
    let Err(error) = plan(&sql) else {
        for mapping in output.mapping.iter().flatten() {
            // A condition may be all that such an expression may, but for what makes one row of many.
            let condition = enclosed(&mapping.expression);
            match plan(&format!("SELECT FROM {from} WHERE {condition} IS NOT NULL")) {
                Err(e) if TAKES_SEVERAL.contains(&e.sqlstate) => {
                    return Err(takes_several(mapping, e.sqlstate));
                }
                _ => {}
            }
        }
        return Ok(sql);
    };
    if error.sqlstate == SqlState::INSUFFICIENT_PRIVILEGE {
        return Err(with_grant(tx, spec, output, error)?);
    }
    if let Some(transformer) = &output.transformer {
        return Err(error_of_transformer(tx, error, output, transformer));
    }
    // PostgreSQL names a place in a statement that the user has never seen, and hints at columns of the target:
    // find the user's own words, and what is wrong with these alone.
    let failing = |sql: String| plan(&sql).err().filter(|alone| alone.sqlstate == error.sqlstate);
    let filters = [&spec.filter, &output.filter].into_iter().flatten();
    let in_filter = filters.map(|filter| {
        let sql = format!("SELECT FROM {from} WHERE {}", enclosed(filter));
        (sql, format!("In the filter: {filter}"))
    });
    let in_mapping = output.mapping.iter().flatten().map(|m| {
        let sql = format!("SELECT {} FROM {from}", enclosed(&m.expression));
        (sql, format!("In the expression for column \"{}\": {}", m.column, m.expression))
    });
    let mut parts = in_mapping.chain(in_filter);
    let culprit = parts.find_map(|(sql, place)| failing(sql).map(|alone| (alone, place)));
    Err(match culprit {
        Some((mut alone, place)) => {
            if alone.sqlstate == SqlState::UNDEFINED_COLUMN {
                alone.hint.get_or_insert_with(|| format!("Source columns: {}.", source.join(", ")));
            }
            let detail = alone.detail.clone().map_or(place.clone(), |d| format!("{d}\n{place}"));
            alone.detail(detail)
        }
        None => error,
    })
}
