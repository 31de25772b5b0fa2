//! How a message's value or key is read: format and options, as a foreign table, a load
//! configuration and the format functions name them alike.

use crate::error::{Error, Result, SqlState};
use crate::suggest;
use std::collections::BTreeMap;

/// The formats, by the names that users write (GPSS: FORMAT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON document per message.
    Json,
    /// JSON documents, one after the other, separated by `newline`.
    Jsonl,
    /// COPY's CSV.
    Csv,
    /// COPY's text format.
    Text,
    /// Fields between delimiters of several bytes (GPSS).
    Delimited,
    /// The bytes as they are.
    Binary,
    Avro,
    Protobuf,
    /// An SQL function `(bytea, jsonb)` that returns rows.
    Custom,
}

/// What a payload becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    /// A JSON document, or several; columns are its members.
    Documents,
    /// Fields one after the other; columns are known by their position.
    Fields,
    /// The bytes as they are.
    Bytes,
    /// What an SQL function returns.
    Returned,
}

/// The SQL function that takes payloads of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatFunction {
    Gpss,
    Protobuf,
}

/// What is known of a format.
#[derive(Debug)]
pub struct FormatInfo {
    pub format: Format,
    /// As users write it (GPSS: FORMAT).
    pub name: &'static str,
    pub records: Records,
    /// Its decoder may need schemas, of an option or a registry.
    pub has_schemas: bool,
    /// A document without any wanted member is rejected. (A message of protobuf says nothing of a field that
    /// has its default: its decoder looks for a field of another type's message.)
    pub wants_members: bool,
    /// The key of configurations of versions 1 and 2 that has its options, and whether it has to be there.
    pub option_block: Option<(&'static str, bool)>,
    pub function: Option<FormatFunction>,
}

/// A row for each format, in the order of `Format`.
pub const FORMATS: [FormatInfo; 9] = {
    use FormatFunction::{Gpss, Protobuf};
    use Records::{Bytes, Documents, Fields, Returned};
    /// One that neither has schemas nor wants members.
    const fn plain(
        format: Format,
        name: &'static str,
        records: Records,
        option_block: Option<(&'static str, bool)>,
    ) -> FormatInfo {
        FormatInfo {
            format,
            name,
            records,
            has_schemas: false,
            wants_members: false,
            option_block,
            function: Some(Gpss),
        }
    }
    [
        FormatInfo { wants_members: true, ..plain(Format::Json, "json", Documents, None) },
        FormatInfo {
            wants_members: true,
            ..plain(Format::Jsonl, "jsonl", Documents, Some(("JSONL_OPTION", false)))
        },
        plain(Format::Csv, "csv", Fields, Some(("CSV_OPTION", false))),
        plain(Format::Text, "text", Fields, Some(("TEXT_OPTION", false))),
        plain(Format::Delimited, "delimited", Fields, Some(("DELIMITED_OPTION", true))),
        plain(Format::Binary, "binary", Bytes, None),
        FormatInfo {
            has_schemas: true,
            wants_members: true,
            ..plain(Format::Avro, "avro", Documents, Some(("AVRO_OPTION", false)))
        },
        FormatInfo {
            has_schemas: true,
            function: Some(Protobuf),
            ..plain(Format::Protobuf, "protobuf", Documents, Some(("PROTOBUF_OPTION", false)))
        },
        FormatInfo {
            function: None,
            ..plain(Format::Custom, "custom", Returned, Some(("CUSTOM_OPTION", true)))
        },
    ]
};

impl Format {
    pub fn info(self) -> &'static FormatInfo {
        &FORMATS[self as usize]
    }

    pub fn by_name(name: &str) -> Option<Format> {
        FORMATS.iter().find(|info| info.name == name).map(|info| info.format)
    }

    pub fn name(self) -> &'static str {
        self.info().name
    }

    pub fn names() -> impl Iterator<Item = &'static str> {
        FORMATS.iter().map(|info| info.name)
    }

    pub fn is_positional(self) -> bool {
        self.info().records == Records::Fields
    }

    pub fn is_document(self) -> bool {
        self.info().records == Records::Documents
    }

    /// Those that an SQL function takes.
    pub fn of_function(function: FormatFunction) -> impl Iterator<Item = Format> {
        FORMATS.iter().filter(move |info| info.function == Some(function)).map(|info| info.format)
    }
}

/// What an option's value has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    Text,
    /// One character of one byte.
    Char,
    /// `true`, `false`, `on`, `off`, `yes`, `no`, `1`, `0`
    Bool,
    /// Column names, separated by commas.
    Names,
    /// A path on the server: asks for pg_read_server_files.
    ServerFile,
}

/// An option of a format. Its name on a foreign table; with `key_` in front it is the key's.
#[derive(Debug)]
pub struct FormatOption {
    pub name: &'static str,
    pub kind: OptionKind,
    pub formats: &'static [Format],
}

use Format::{Avro, Csv, Custom, Delimited, Json, Jsonl, Protobuf, Text};

/// Every option of every format.
pub const OPTIONS: &[FormatOption] = &[
    FormatOption { name: "delimiter", kind: OptionKind::Text, formats: &[Csv, Text, Delimited] },
    FormatOption { name: "quote", kind: OptionKind::Char, formats: &[Csv, Delimited] },
    FormatOption { name: "escape", kind: OptionKind::Char, formats: &[Csv, Delimited] },
    FormatOption { name: "null", kind: OptionKind::Text, formats: &[Csv, Text, Delimited] },
    FormatOption { name: "force_not_null", kind: OptionKind::Names, formats: &[Csv] },
    FormatOption { name: "force_null", kind: OptionKind::Names, formats: &[Csv] },
    FormatOption {
        name: "fill_missing_fields",
        kind: OptionKind::Bool,
        formats: &[Csv, Text, Delimited, Json, Jsonl, Avro, Protobuf],
    },
    FormatOption { name: "header", kind: OptionKind::Bool, formats: &[Csv, Text] },
    FormatOption { name: "eol_prefix", kind: OptionKind::Text, formats: &[Delimited] },
    FormatOption { name: "newline", kind: OptionKind::Text, formats: &[Jsonl] },
    FormatOption {
        name: "encoding",
        kind: OptionKind::Text,
        formats: &[Json, Jsonl, Csv, Text, Delimited],
    },
    FormatOption { name: "schema_registry", kind: OptionKind::Text, formats: &[Avro, Protobuf] },
    FormatOption { name: "schema_ca", kind: OptionKind::ServerFile, formats: &[Avro, Protobuf] },
    FormatOption { name: "schema_cert", kind: OptionKind::ServerFile, formats: &[Avro, Protobuf] },
    FormatOption { name: "schema_key", kind: OptionKind::ServerFile, formats: &[Avro, Protobuf] },
    FormatOption {
        name: "schema_min_tls_version",
        kind: OptionKind::Text,
        formats: &[Avro, Protobuf],
    },
    FormatOption { name: "schema_id_bytes", kind: OptionKind::Text, formats: &[Avro, Json, Jsonl] },
    FormatOption { name: "schema_path", kind: OptionKind::ServerFile, formats: &[Avro, Protobuf] },
    FormatOption { name: "schema", kind: OptionKind::Text, formats: &[Avro, Protobuf] },
    FormatOption { name: "message", kind: OptionKind::Text, formats: &[Protobuf] },
    FormatOption { name: "bytes_to_base64", kind: OptionKind::Bool, formats: &[Avro] },
    FormatOption { name: "formatter", kind: OptionKind::Text, formats: &[Custom] },
    FormatOption { name: "params", kind: OptionKind::Text, formats: &[Custom] },
];

/// The option of that name, of whatever formats.
pub fn option(name: &str) -> Option<&'static FormatOption> {
    OPTIONS.iter().find(|option| option.name == name)
}

/// A format with its options, names and values checked one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatSpec {
    pub format: Format,
    options: BTreeMap<String, String>,
}

impl FormatSpec {
    pub fn new(format: Format) -> FormatSpec {
        FormatSpec { format, options: BTreeMap::new() }
    }

    /// A format with these options.
    ///
    /// # Errors
    /// As of `set`.
    pub fn with_options<'a>(
        format: Format,
        options: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<FormatSpec> {
        let mut content = FormatSpec::new(format);
        for (name, value) in options {
            content.set(name, value)?;
        }
        Ok(content)
    }

    /// Sets one option.
    ///
    /// # Errors
    /// `INVALID_PARAMETER` for an option that the format does not have or a value that is none;
    /// the message names the option.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let Some(option) = option(name).filter(|option| option.formats.contains(&self.format))
        else {
            let own = OPTIONS.iter().filter(|o| o.formats.contains(&self.format)).map(|o| o.name);
            let error = Error::new(
                SqlState::INVALID_PARAMETER,
                format!("format {} has no option \"{name}\"", self.format.name()),
            );
            return Err(match suggest::hint(name, own.clone()) {
                Some(hint) => error.hint(hint),
                None => match own.collect::<Vec<_>>() {
                    names if names.is_empty() => error.hint("The format takes no options."),
                    names => error.hint(format!("Its options are: {}.", names.join(", "))),
                },
            });
        };
        check(option, value)?;
        self.options.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// Sets an option that the format has and that is not set.
    pub fn set_default(&mut self, name: &str, value: &str) {
        if self.get(name).is_none() {
            // Another format's, or none of a format: not for us.
            let _ = self.set(name, value);
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// Does it bring its schema, so that no registry is asked?
    pub fn has_schema(&self) -> bool {
        ["schema", "schema_path"].iter().any(|option| self.get(option).is_some())
    }

    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).and_then(boolean).unwrap_or(false)
    }

    /// The byte of an option of kind `Char`.
    pub fn byte(&self, name: &str) -> Option<u8> {
        self.get(name).and_then(|value| value.bytes().next())
    }

    /// The names in an option of kind `Names`.
    pub fn names(&self, name: &str) -> Vec<&str> {
        let list = self.get(name).unwrap_or_default();
        list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
    }

    pub fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.options.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Is it a value that the option can have?
///
/// # Errors
/// `INVALID_PARAMETER`.
pub fn check(option: &FormatOption, value: &str) -> Result<()> {
    let wrong = match option.kind {
        OptionKind::Char if value.len() != 1 => "must be a single one-byte character",
        OptionKind::Bool if boolean(value).is_none() => "must be true or false",
        OptionKind::ServerFile if !value.starts_with('/') => {
            "must be an absolute path on the database server"
        }
        _ if option.name == "schema_min_tls_version"
            && !["1.0", "1.1", "1.2", "1.3"].contains(&value) =>
        {
            "must be 1.0, 1.1, 1.2 or 1.3"
        }
        _ if option.name == "schema_id_bytes" && !["4", "8"].contains(&value) => "must be 4 or 8",
        _ => return Ok(()),
    };
    let message = format!("option \"{}\" {wrong}", option.name);
    Err(Error::new(SqlState::INVALID_PARAMETER, message))
}

/// As PostgreSQL's `defGetBoolean` reads an option.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Some(true),
        "false" | "off" | "no" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_order_of_the_formats() {
        for info in &FORMATS {
            assert_eq!(info.format.info().name, info.name);
        }
    }
}
