//! A foreign table as a place in Kafka: topic, brokers, client properties.

use super::registry_options;
use crate::gucs;
use crate::pg::fdw::Table;
use gpss_kafka::Properties;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::job::{Fallback, MissingTopic};
use gpss_model::partitions::Partitions;
use pgrx::pg_sys::Oid;

/// The name of the foreign data wrapper that `CREATE EXTENSION` makes.
pub const WRAPPER: &str = "gpss";

/// The Kafka side of a foreign table.
#[derive(Clone, Debug)]
pub struct TopicOptions {
    pub topic: String,
    /// None: all.
    pub partitions: Option<Partitions>,
    pub fallback: Option<Fallback>,
    pub missing_topic: MissingTopic,
}

impl TopicOptions {
    pub fn of(table: &Table) -> Result<TopicOptions> {
        let topic = table.option("topic").ok_or_else(|| {
            Error::new(
                SqlState::FDW_OPTION_NAME_NOT_FOUND,
                format!("foreign table \"{}\" has no topic", table.name),
            )
            .hint("Use ALTER FOREIGN TABLE ... OPTIONS (ADD topic 'name').")
        })?;
        Ok(TopicOptions {
            topic: topic.to_owned(),
            partitions: table.option("partitions").and_then(Partitions::parse),
            fallback: table.option("fallback_offset").and_then(Fallback::by_name),
            missing_topic: table
                .option("missing_topic")
                .and_then(MissingTopic::by_name)
                .unwrap_or_default(),
        })
    }
}

/// Raises [`WRONG_OBJECT_TYPE`](SqlState::WRONG_OBJECT_TYPE) unless the table is one of ours.
pub fn check_wrapper(table: &Table) -> Result<()> {
    if table.wrapper_name == WRAPPER {
        return Ok(());
    }
    Err(Error::new(
        SqlState::WRONG_OBJECT_TYPE,
        format!("foreign table \"{}\" does not belong to the wrapper \"{WRAPPER}\"", table.name),
    ))
}

/// The client's properties for a role: the server's options, then the role's user mapping.
///
/// Raises: an ERROR from the catalogs.
pub fn properties(table: &Table, user: Oid) -> Result<Properties> {
    let mut brokers = "";
    let mut pairs = vec![];
    for (name, value) in &table.server_options {
        if name == "brokers" {
            brokers = value;
        } else if !registry_options::is_own(name) {
            pairs.push((name.clone(), value.clone()));
        }
    }
    let mapping = Table::user_mapping(table.server, user);
    pairs.extend(mapping.into_iter().filter(|(name, _)| !registry_options::is_own(name)));
    let queue = u32::try_from(gucs::buffer_bytes() / 1024).unwrap_or(u32::MAX);
    Ok(Properties::new(brokers, &pairs)?.queue_kbytes(queue))
}
