//! Every option of the wrapper's objects in one table, and the validator over it.
//! Options that are not in the table are librdkafka properties and are checked by librdkafka.

use crate::pg::acl::{self, Predefined};
use gpss_kafka::properties::{self, Rule};
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::format::{self, FormatOption, OptionKind};
use gpss_model::job::MissingTopic;
use gpss_model::partitions::Partitions;
use gpss_model::{brokers, suggest, topic};

use super::registry_options::{OF_SERVERS, REGISTRY_PASSWORD, REGISTRY_USER};
use super::{formats, source};

/// Which object an option belongs to (the catalog that the validator is called with).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionContext {
    Wrapper,
    Server,
    UserMapping,
    Table,
    Column,
    /// The options argument of a format function: those of a table that belong to the format.
    Function,
}

/// Where a column's value comes from (column option `source`).
pub const COLUMN_SOURCES: [&str; 11] = [
    "value",
    "field",
    "key",
    "key_field",
    "meta",
    "topic",
    "partition",
    "offset",
    "timestamp",
    "headers",
    "error",
];

/// The names of the formats, as `check_value` wants them.
const FORMATS: [&str; format::FORMATS.len()] = {
    let mut names = [""; format::FORMATS.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = format::FORMATS[i].name;
        i += 1;
    }
    names
};

struct OptionRule {
    name: &'static str,
    place: OptionContext,
    required: bool,
    /// The values allowed; empty: any text but the empty one.
    values: &'static [&'static str],
}

const OPTIONS: [OptionRule; 11] = [
    OptionRule { name: "brokers", place: OptionContext::Server, required: true, values: &[] },
    OptionRule {
        name: REGISTRY_USER,
        place: OptionContext::UserMapping,
        required: false,
        values: &[],
    },
    OptionRule {
        name: REGISTRY_PASSWORD,
        place: OptionContext::UserMapping,
        required: false,
        values: &[],
    },
    OptionRule { name: "topic", place: OptionContext::Table, required: true, values: &[] },
    OptionRule { name: "format", place: OptionContext::Table, required: false, values: &FORMATS },
    OptionRule {
        name: "key_format",
        place: OptionContext::Table,
        required: false,
        values: &FORMATS,
    },
    OptionRule { name: "partitions", place: OptionContext::Table, required: false, values: &[] },
    OptionRule {
        name: "fallback_offset",
        place: OptionContext::Table,
        required: false,
        values: &["earliest", "latest"],
    },
    OptionRule {
        name: "missing_topic",
        place: OptionContext::Table,
        required: false,
        values: &MissingTopic::NAMES,
    },
    OptionRule {
        name: "source",
        place: OptionContext::Column,
        required: false,
        values: &COLUMN_SOURCES,
    },
    OptionRule { name: "field", place: OptionContext::Column, required: false, values: &[] },
];

impl OptionRule {
    fn belongs_to(&self, place: OptionContext) -> bool {
        self.place == place || (place == OptionContext::Function && self.name == "format")
    }
}

/// What some options ask for.
#[derive(Clone, Copy, Debug)]
pub struct Privileges {
    /// USAGE on the wrapper: may have the server connect where it says.
    pub wrapper: bool,
    /// pg_read_server_files
    pub read_server_files: bool,
    /// pg_execute_server_program
    pub execute_server_program: bool,
}

impl Privileges {
    pub fn of_current_user() -> Privileges {
        let user = acl::current_user();
        Privileges {
            wrapper: acl::may_use_wrapper(source::WRAPPER),
            read_server_files: acl::has_privs_of_predefined(user, Predefined::ReadServerFiles),
            execute_server_program: acl::has_privs_of_predefined(
                user,
                Predefined::ExecuteServerProgram,
            ),
        }
    }
}

/// Checks the options of one object; the answer is a list of remarks for the user.
pub fn validate(
    place: OptionContext,
    options: &[(String, String)],
    privileges: Privileges,
) -> Result<Vec<String>> {
    let mut remarks = vec![];
    for (name, value) in options {
        match OPTIONS.iter().find(|o| o.name == name && o.belongs_to(place)) {
            Some(rule) => check_value(rule, value)?,
            None if is_format_option(place, name) => {
                check_format_option(place, name, value, privileges)?;
            }
            None if matches!(place, OptionContext::Server | OptionContext::UserMapping) => {
                remarks.extend(check_property(place, name, value, privileges)?);
            }
            None => return Err(unknown(place, name)),
        }
    }
    if matches!(place, OptionContext::Table | OptionContext::Function) {
        formats::check(options)?;
    }
    let missing = OPTIONS
        .iter()
        .find(|o| o.required && o.place == place && !options.iter().any(|(n, _)| n == o.name));
    match missing {
        Some(rule) => Err(Error::new(
            SqlState::FDW_OPTION_NAME_NOT_FOUND,
            format!("option \"{}\" is required", rule.name),
        )
        .hint(match place {
            OptionContext::Server => "Write OPTIONS (brokers 'host:port[,host:port]').",
            _ => "Write OPTIONS (topic 'name').",
        })),
        None => Ok(remarks),
    }
}

fn check_value(rule: &OptionRule, value: &str) -> Result<()> {
    if rule.name == "partitions" && Partitions::parse(value).is_none() {
        let message = format!("option \"partitions\" {}", Partitions::FORM);
        return Err(Error::new(SqlState::INVALID_PARAMETER, message));
    }
    let form = match rule.name {
        "brokers" => brokers::check(value),
        // The empty name has a message of its own.
        "topic" if !value.trim().is_empty() => topic::check(value),
        _ => Ok(()),
    };
    form.map_err(|mut error| {
        error.message = format!("option \"{}\" {}", rule.name, error.message);
        error
    })?;
    let bad = if rule.values.is_empty() {
        value.trim().is_empty()
    } else {
        !rule.values.contains(&value)
    };
    if !bad {
        return Ok(());
    }
    let error = Error::new(
        SqlState::INVALID_PARAMETER,
        format!("invalid value for option \"{}\": \"{value}\"", rule.name),
    );
    Err(if rule.values.is_empty() {
        error.hint("The value must not be empty.")
    } else {
        error.hint(format!("Valid values are: {}.", rule.values.join(", ")))
    })
}

/// The option of a format that a table's option is.
fn format_option(name: &str) -> Option<&'static FormatOption> {
    format::option(name.strip_prefix("key_").unwrap_or(name))
}

fn is_format_option(place: OptionContext, name: &str) -> bool {
    match place {
        OptionContext::Table => format_option(name).is_some(),
        OptionContext::Function => format::option(name).is_some(),
        OptionContext::Server => OF_SERVERS.contains(&name),
        OptionContext::Wrapper | OptionContext::UserMapping | OptionContext::Column => false,
    }
}

fn check_format_option(
    place: OptionContext,
    name: &str,
    value: &str,
    privileges: Privileges,
) -> Result<()> {
    let Some(option) = format_option(name) else { return Ok(()) };
    if option.kind == OptionKind::ServerFile && !privileges.read_server_files {
        return Err(denied_to_others(name, "pg_read_server_files"));
    }
    // Who makes a server has it already.
    if option.name == "schema_registry" && place != OptionContext::Server && !privileges.wrapper {
        return Err(denied_to_connect(name));
    }
    if option.name == "schema_registry" && value.contains('@') {
        return Err(Error::new(
            SqlState::FDW_INVALID_OPTION_NAME,
            format!("option \"{name}\" must not hold a password"),
        )
        .hint(format!(
            "Everybody can read it. Set {REGISTRY_USER} and {REGISTRY_PASSWORD} with CREATE USER MAPPING."
        )));
    }
    if place == OptionContext::Server {
        format::check(option, value)?;
        if option.name == "schema_registry" {
            gpss_registry::split_login(value)?;
        }
    }
    Ok(())
}

fn denied(name: &str) -> Error {
    let message = format!("permission denied to set option \"{name}\"");
    Error::new(SqlState::INSUFFICIENT_PRIVILEGE, message)
}

/// Denied to all but those who may say where the server connects.
fn denied_to_connect(name: &str) -> Error {
    denied(name).detail(
        "It makes the database server connect to the addresses: that takes USAGE on the \
         foreign-data wrapper gpss.",
    )
}

/// Denied to all but those who may use a predefined role.
fn denied_to_others(name: &str, role: &str) -> Error {
    denied(name)
        .detail(format!("Only roles with the privileges of \"{role}\" may set this option."))
}

fn check_property(
    place: OptionContext,
    name: &str,
    value: &str,
    privileges: Privileges,
) -> Result<Option<String>> {
    match properties::classify(name) {
        Rule::Unknown => return Err(unknown(place, name)),
        Rule::Secret if place == OptionContext::Server => {
            return Err(Error::new(
                SqlState::FDW_INVALID_OPTION_NAME,
                format!("option \"{name}\" is a secret and cannot be set on a server"),
            )
            .hint("Everybody can read a server's options. Set it with CREATE USER MAPPING."));
        }
        Rule::ReadsServerFile if !privileges.read_server_files => {
            return Err(denied_to_others(name, "pg_read_server_files"));
        }
        Rule::Connects if place != OptionContext::Server && !privileges.wrapper => {
            return Err(denied_to_connect(name));
        }
        Rule::RunsProgram if !privileges.execute_server_program => {
            return Err(denied_to_others(name, "pg_execute_server_program"));
        }
        _ => {}
    }
    properties::check(name, value)
}

/// Which kind of object an option of ours belongs to.
fn place_of(name: &str) -> Option<&'static str> {
    Some(match OPTIONS.iter().find(|o| o.name == name)?.place {
        OptionContext::Server => "the server",
        OptionContext::Table => "the foreign table",
        OptionContext::Column => "a column of the foreign table",
        OptionContext::Wrapper | OptionContext::UserMapping | OptionContext::Function => {
            return None;
        }
    })
}

fn unknown(place: OptionContext, name: &str) -> Error {
    let own = OPTIONS.iter().filter(|o| o.belongs_to(place)).map(|o| o.name);
    let hint = match place {
        OptionContext::Wrapper => "The wrapper takes no options.".to_owned(),
        OptionContext::UserMapping if OF_SERVERS.contains(&name) => {
            format!("The option \"{name}\" belongs to the server.")
        }
        OptionContext::Server if [REGISTRY_USER, REGISTRY_PASSWORD].contains(&name) => {
            "Everybody can read a server's options. Set it with CREATE USER MAPPING.".to_owned()
        }
        OptionContext::UserMapping if place_of(name).is_some() => {
            format!("The option \"{name}\" belongs to {}.", place_of(name).unwrap_or_default())
        }
        OptionContext::Server | OptionContext::UserMapping => {
            match suggest::nearest(name, own.chain(properties::names())) {
                Some(near) => format!("Perhaps you meant the option \"{near}\"."),
                None => "Besides \"brokers\", any librdkafka property may be set.".to_owned(),
            }
        }
        OptionContext::Table | OptionContext::Function => {
            let known = own.clone().chain(format::OPTIONS.iter().map(|option| option.name));
            match suggest::nearest(name, known) {
                Some(near) => format!("Perhaps you meant the option \"{near}\"."),
                None => format!(
                    "Valid options in this context are: {}, and those of the format.",
                    own.collect::<Vec<_>>().join(", ")
                ),
            }
        }
        OptionContext::Column => {
            format!("Valid options in this context are: {}.", own.collect::<Vec<_>>().join(", "))
        }
    };
    Error::new(SqlState::FDW_INVALID_OPTION_NAME, format!("invalid option \"{name}\"")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Privileges =
        Privileges { wrapper: false, read_server_files: false, execute_server_program: false };

    fn options(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
    }

    fn refused(place: OptionContext, list: &[(&str, &str)]) -> Error {
        validate(place, &options(list), NOBODY).unwrap_err()
    }

    #[test]
    fn required_options_are_asked_for() {
        assert_eq!(refused(OptionContext::Server, &[]).message, "option \"brokers\" is required");
        assert_eq!(refused(OptionContext::Table, &[]).message, "option \"topic\" is required");
        assert!(
            validate(OptionContext::Server, &options(&[("brokers", "b:9092")]), NOBODY).is_ok()
        );
    }

    #[test]
    fn unknown_options_get_the_nearest_name() {
        let e = refused(OptionContext::Server, &[("broker", "b:9092")]);
        assert_eq!(e.hint.as_deref(), Some("Perhaps you meant the option \"brokers\"."));
        let e = refused(OptionContext::Table, &[("topics", "t")]);
        assert!(e.hint.unwrap().contains("topic"));
    }

    #[test]
    fn secrets_stay_out_of_servers_and_of_messages() {
        let e = refused(OptionContext::Server, &[("brokers", "b"), ("sasl.password", "hunter2")]);
        assert_eq!(e.sqlstate, SqlState::FDW_INVALID_OPTION_NAME);
        assert!(!format!("{e:?}").contains("hunter2"));
        assert!(
            validate(OptionContext::UserMapping, &options(&[("sasl.password", "hunter2")]), NOBODY)
                .is_ok()
        );
    }

    #[test]
    fn properties_that_reach_outside_need_their_role() {
        for name in ["ssl.ca.location", "sasl.kerberos.kinit.cmd", "plugin.library.paths"] {
            let e = refused(OptionContext::Server, &[("brokers", "b"), (name, "x")]);
            assert_eq!(e.sqlstate, SqlState::INSUFFICIENT_PRIVILEGE, "{name}");
        }
    }

    #[test]
    fn values_are_checked() {
        let e = refused(OptionContext::Table, &[("topic", "t"), ("format", "xml")]);
        assert!(e.hint.unwrap().starts_with("Valid values are: json, jsonl, csv,"));
        let e = refused(OptionContext::Column, &[("source", "colour")]);
        assert!(e.hint.unwrap().contains("timestamp"));
    }
}
