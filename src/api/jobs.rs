//! Jobs as definitions: submit and remove.

use super::submit::{self, PlainJob};
use super::{answer, check_owner, control, delivery, job_objects, remarks, unknown_job};
use crate::catalog::{jobs, runs};
use crate::pg::call::{Json, Required, Text};
use crate::pg::tx::Tx;
use crate::pg::{caught, spi};
use gpss_model::error::{Error, Result, SqlState};
use pgrx::PgRelation;
use pgrx::prelude::*;
use std::collections::BTreeMap;

/// `properties` of submit_job and load: strings, numbers and booleans by name.
pub(super) fn template_values(properties: Json) -> Result<BTreeMap<String, String>> {
    let refuse = |detail: String| {
        Error::new(SqlState::INVALID_PARAMETER, "properties must be a flat JSON object")
            .detail(detail)
            .hint("For example '{\"topic\": \"orders\"}' fills {{topic}}.")
    };
    let serde_json::Value::Object(object) = properties.0 else {
        return Err(refuse("It is not an object.".into()));
    };
    object
        .into_iter()
        .map(|(name, value)| match value {
            serde_json::Value::String(text) => Ok((name, text)),
            serde_json::Value::Number(number) => Ok((name, number.to_string())),
            serde_json::Value::Bool(flag) => Ok((name, flag.to_string())),
            _ => Err(refuse(format!("The value of \"{name}\" is not a string or number."))),
        })
        .collect()
}

/// Registers a job from a GPSS load configuration. It is not started.
#[pg_extern(schema = "gpss", name = "submit_job", volatile, parallel_unsafe)]
fn submit_job_from_config(name: Text, config: Text, properties: default!(Json, "'{}'")) -> i64 {
    answer(|| {
        let tx = Tx::current();
        from_text(&tx, &name, &config, properties)
    })
}

fn from_text(tx: &Tx, name: &str, config: &str, properties: Json) -> Result<i64> {
    let config = submit::parse(config, &template_values(properties)?)?;
    let job = submit::from_config(tx, name, &config)?;
    delivery::warn_of_unlogged(tx, &submit::check_statements(tx, &job.spec)?)?;
    remarks::tell(tx, &job.spec)?;
    Ok(job.id)
}

/// Registers a job from three texts, as bare literals are: over the foreign table `source_or_config` into
/// the table `target_or_properties`, or, if the last one is a JSON object, from a GPSS load configuration.
#[pg_extern(schema = "gpss", name = "submit_job", volatile, parallel_unsafe)]
fn submit_job_from_texts(name: Text, source_or_config: Text, target_or_properties: Text) -> i64 {
    answer(|| {
        let tx = Tx::current();
        let (source, target) = (&*source_or_config, &*target_or_properties);
        // No table has such a name without quotes, and no configuration is in one line.
        if target.trim_start().starts_with('{') || source.contains('\n') {
            let properties = serde_json::from_str(target).map_err(|error| {
                Error::new(SqlState::INVALID_TEXT, "properties are no JSON")
                    .detail(error.to_string())
            })?;
            return from_text(&tx, &name, source, Json(properties));
        }
        let sql = "SELECT $1::pg_catalog.regclass::oid, $2::pg_catalog.regclass::oid";
        let tables = spi::select(&tx, sql, &[source.into(), target.into()], |row| {
            Ok((row.get(1)?, row.get(2)?))
        })?;
        let (source, target) = tables.into_iter().next().unwrap_or_default();
        over_table(&tx, &name, PlainJob { source, target, ..PlainJob::default() })
    })
}

fn over_table(tx: &Tx, name: &str, plain: PlainJob<'_>) -> Result<i64> {
    let job = submit::from_table(tx, name, plain)?;
    remarks::tell(tx, &job.spec)?;
    Ok(job.id)
}

/// Registers a job over an existing foreign table. It is not started.
#[pg_extern(schema = "gpss", name = "submit_job", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)] // the SQL surface: every argument is named there
fn submit_job_from_table(
    name: Text,
    source: Required<PgRelation>,
    target: Required<PgRelation>,
    mapping: default!(Option<Json>, "NULL"),
    mode: default!(Text, "'insert'"),
    match_columns: default!(Option<Vec<Text>>, "NULL"),
    filter: default!(Option<Text>, "NULL"),
    max_row: default!(Option<i64>, "NULL"),
    minimal_interval: default!(Option<i64>, "NULL"),
    error_limit: default!(Option<Text>, "NULL"),
    workers: default!(Required<i32>, "1"),
) -> i64 {
    answer(|| {
        let tx = Tx::current();
        let plain = PlainJob {
            source: source.0.oid(),
            target: target.0.oid(),
            mapping: mapping.map(|m| m.0),
            mode: &mode,
            has_match_columns: match_columns.is_some(),
            filter: filter.as_deref(),
            max_row,
            minimal_interval,
            error_limit: error_limit.as_deref(),
            workers: workers.0,
        };
        over_table(&tx, &name, plain)
    })
}

/// Removes a job that is not running, and the foreign table and server made for it.
#[pg_extern(schema = "gpss", name = "remove_job", volatile, parallel_unsafe)]
fn remove_job(name: Text) {
    answer(|| {
        let tx = Tx::current();
        let name = &*name;
        let job = jobs::lock(&tx, name)?.ok_or_else(|| unknown_job(name))?;
        check_owner(&job)?;
        if control::state(&tx, &job)?.is_active() {
            return Err(Error::new(
                SqlState::NOT_IN_PREREQUISITE_STATE,
                format!("job \"{name}\" is running"),
            )
            .hint("Stop it with gpss.stop_job first."));
        }
        job_objects::drop_objects(&tx, &job)?;
        runs::forget(&tx, job.id)?;
        jobs::mark_removed(&tx, job.id)?;
        caught::log(format!("gpss job \"{name}\" was removed"));
        Ok(())
    });
}
