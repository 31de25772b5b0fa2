//! The objects of a job from a load configuration: its server, user mapping and foreign table, named
//! after the job's number and made as the calling user.

use super::schemas;
use crate::catalog::jobs::Job;
use crate::fdw::registry_options::{REGISTRY_PASSWORD, REGISTRY_USER};
use crate::fdw::source::WRAPPER;
use crate::pg::acl;
use crate::pg::fdw::type_by_name;
use crate::pg::spi;
use crate::pg::tx::Tx;
use gpss_kafka::properties::{self, Rule};
use gpss_model::config::{Column, IGNORED, LoadConfig, SourceSpec};
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::format::Format;
use gpss_model::job::{JobSpec, Origin, TableName};
use gpss_model::statement::{qualified, quote_ident, quote_literal};

/// The server, user mapping and foreign table of a configuration's job, named after its number.
pub fn make(tx: &Tx, id: i64, config: &LoadConfig, targets: Vec<TableName>) -> Result<JobSpec> {
    check_wrapper_usage()?;
    if config.alert.is_some() {
        super::check_program_privilege()?;
    }
    let kafka = &config.source;
    let object = quote_ident(&object_name(id));
    let (secret, open): (Vec<_>, Vec<_>) =
        kafka.properties.iter().partition(|(name, _)| properties::classify(name) == Rule::Secret);
    let mut server_options = vec![("brokers".to_owned(), kafka.brokers.clone())];
    server_options.extend(open.into_iter().cloned());
    let mut secrets: Vec<_> = secret.into_iter().cloned().collect();
    let (table_options, login) = table_options(kafka)?;
    if let Some((user, password)) = login {
        secrets.push((REGISTRY_USER.to_owned(), user));
        secrets.push((REGISTRY_PASSWORD.to_owned(), password));
    }
    let source = TableName {
        schema: match (&config.work_schema, targets.first()) {
            (Some(schema), _) => schema.clone(),
            (None, Some(first)) => first.schema.clone(),
            (None, None) => String::new(),
        },
        name: object_name(id),
    };
    let columns = columns(kafka)?;
    schemas::check_privilege(tx, &source.schema, schemas::CREATE).map_err(|error| {
        error.hint(
            "The foreign table of a configuration is made there: GRANT CREATE ON SCHEMA ... TO the role, or \
             name another schema as METADATA:SCHEMA.",
        )
    })?;
    spi::exec(
        tx,
        &format!(
            "CREATE SERVER {object} FOREIGN DATA WRAPPER {WRAPPER} {}",
            options(&server_options)
        ),
        &[],
    )?;
    if !secrets.is_empty() {
        let sql =
            format!("CREATE USER MAPPING FOR CURRENT_USER SERVER {object} {}", options(&secrets));
        spi::exec(tx, &sql, &[])?;
    }
    let sql = format!(
        "CREATE FOREIGN TABLE {} ({}) SERVER {object} {}",
        qualified(&source),
        columns.join(", "),
        options(&table_options)
    );
    spi::exec(tx, &sql, &[])?;
    Ok(JobSpec {
        origin: Origin::Config,
        source,
        topic: kafka.topic.clone(),
        outputs: config
            .outputs
            .iter()
            .zip(targets)
            .map(|(output, target)| output.clone().with_target(target))
            .collect(),
        filter: config.filter.clone(),
        error_limit: config.error_limit,
        commit: config.commit,
        search_path: schemas::search_path(tx)?,
        workers: 1,
        task: config.task.clone(),
        schedule: config.schedule,
        alert: config.alert.clone(),
    })
}

/// May the user have the server connect to brokers of its choice?
pub fn check_wrapper_usage() -> Result<()> {
    if acl::may_use_wrapper(WRAPPER) {
        return Ok(());
    }
    Err(Error::new(
        SqlState::INSUFFICIENT_PRIVILEGE,
        format!("permission denied for foreign-data wrapper {WRAPPER}"),
    )
    .detail("A load configuration makes the database server connect to the brokers it names.")
    .hint("A superuser can GRANT USAGE ON FOREIGN DATA WRAPPER gpss TO the role."))
}

/// Drops what `make` made; nothing for a job over the user's own foreign table.
pub fn drop_objects(tx: &Tx, job: &Job) -> Result<()> {
    if job.spec.origin == Origin::Config {
        let name = object_name(job.id);
        let (table, server) = (qualified(&job.spec.source), quote_ident(&name));
        // Asked for one by one, because IF EXISTS and CASCADE would tell the user about them.
        let exists = |sql: &str, name: &str| -> Result<bool> {
            Ok(!spi::select(tx, sql, &[name.into()], |_| Ok(()))?.is_empty())
        };
        if exists(
            "SELECT FROM (SELECT pg_catalog.to_regclass($1) AS c) t WHERE c IS NOT NULL",
            &table,
        )? {
            spi::exec(tx, &format!("DROP FOREIGN TABLE {table}"), &[])?;
        }
        let mapping = "SELECT FROM pg_catalog.pg_user_mappings
                       WHERE srvname OPERATOR(pg_catalog.=) $1::pg_catalog.name
                         AND usename OPERATOR(pg_catalog.=) current_user";
        if exists(mapping, &name)? {
            let sql = format!("DROP USER MAPPING FOR CURRENT_USER SERVER {server}");
            spi::exec(tx, &sql, &[])?;
        }
        if exists(
            "SELECT FROM pg_catalog.pg_foreign_server
                      WHERE srvname OPERATOR(pg_catalog.=) $1::pg_catalog.name",
            &name,
        )? {
            spi::exec(tx, &format!("DROP SERVER {server} CASCADE"), &[])?;
        }
    }
    Ok(())
}

/// The table's columns, with the options that say what they hold.
fn columns(kafka: &SourceSpec) -> Result<Vec<String>> {
    let mut columns = vec![];
    let mut ignored = 0;
    let sides = [(&kafka.value, "value", "field"), (&kafka.key, "key", "key_field")];
    for (side, whole, field) in sides {
        let Some(side) = side else { continue };
        let source = if side.is_whole() { whole } else { field };
        for column in &side.columns {
            if column.name == IGNORED {
                // Nothing reads it; it only holds the place of a field.
                ignored += 1;
                let name = quote_ident(&format!("{IGNORED}{ignored}"));
                let option = options(&[("source".to_owned(), source.to_owned())]);
                columns.push(format!("{name} text {option}"));
            } else {
                columns.push(column_definition(column, source)?);
            }
        }
    }
    if let Some(meta) = &kafka.meta {
        columns.push(column_definition(meta, "meta")?);
    }
    Ok(columns)
}

fn column_definition(column: &Column, source: &str) -> Result<String> {
    let option = options(&[("source".to_owned(), source.to_owned())]);
    Ok(format!("{} {} {option}", quote_ident(&column.name), sql_type(&column.type_name)?))
}

/// The table's options, and the login for its schema registries, which everybody could read there.
fn table_options(kafka: &SourceSpec) -> Result<(Options, Option<Login>)> {
    let mut login: Option<Login> = None;
    let mut list = vec![("topic".to_owned(), kafka.topic.clone())];
    // A value that the configuration does not describe is not looked at.
    let value = kafka.value.as_ref().map_or(Format::Binary, |side| side.content.format);
    list.push(("format".to_owned(), value.name().to_owned()));
    if let Some(key) = &kafka.key {
        list.push(("key_format".to_owned(), key.content.format.name().to_owned()));
    }
    for (side, prefix) in [(&kafka.value, ""), (&kafka.key, "key_")] {
        for (name, value) in side.iter().flat_map(|side| side.content.options()) {
            let mut value = value.to_owned();
            if name == "schema_registry" {
                let (addresses, own) = gpss_registry::split_login(&value)?;
                value = addresses;
                if own.is_some() && login.is_some() && own != login {
                    return Err(Error::new(
                        SqlState::INVALID_PARAMETER,
                        "the schema registries of value and key have different users or passwords",
                    ));
                }
                login = login.or(own);
            }
            list.push((format!("{prefix}{name}"), value));
        }
    }
    if let Some(partitions) = &kafka.partitions {
        list.push(("partitions".to_owned(), partitions.to_string()));
    }
    if let Some(fallback) = kafka.fallback {
        list.push(("fallback_offset".to_owned(), fallback.name().to_owned()));
    }
    if let Some(missing) = kafka.missing_topic {
        list.push(("missing_topic".to_owned(), missing.name().to_owned()));
    }
    Ok((list, login))
}

/// Options as name and value.
type Options = Vec<(String, String)>;

/// A user and a password.
type Login = (String, String);

fn object_name(id: i64) -> String {
    format!("gpss_job_{id}")
}

fn options(list: &[(String, String)]) -> String {
    let items: Vec<String> =
        list.iter().map(|(n, v)| format!("{} {}", quote_ident(n), quote_literal(v))).collect();
    format!("OPTIONS ({})", items.join(", "))
}

/// A type's name as PostgreSQL writes it, so that nothing else can stand in its place.
fn sql_type(name: &str) -> Result<String> {
    type_by_name(name).ok_or_else(|| {
        Error::new(SqlState::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist"))
            .hint("TYPE of a column is an SQL type, for example json.")
    })
}
