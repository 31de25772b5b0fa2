//! From a foreign table's options to the decoders of its messages.

use super::cancellable::Cancellable;
use super::columns::{self, Layout};
use super::custom;
use super::needs::Needs;
use super::registry_options::{OF_SERVERS, REGISTRY_PASSWORD, REGISTRY_USER};
use crate::pg::fdw::{Column, Table};
use gpss_format::avro::AvroDecoder;
use gpss_format::jsonl::JsonlDecoder;
use gpss_format::protobuf::{ProtobufDecoder, SchemaSource};
use gpss_format::schema_id::Prefix;
use gpss_format::schemas::Schemas;
use gpss_format::{Decode, MessageDecoder, Reading, text_decoder};
use gpss_model::block::Side;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::format::{Format, FormatSpec};
use gpss_registry::{Registry, RegistryConfig, split_login};
use pgrx::pg_sys::Oid;
use std::io::Read;
use std::sync::Arc;

/// Bytes of a schema's file.
const MAX_SCHEMA: u64 = 16 << 20;

/// Do the options of a table go together, as far as they tell without its server and its columns?
///
/// # Errors
/// `INVALID_PARAMETER`, and what is wrong in a schema among the options.
pub fn check(options: &[(String, String)]) -> Result<()> {
    for content in columns::contents(options)?.iter().flatten() {
        match content.format {
            Format::Custom => custom::check(content)?,
            format if format.info().has_schemas => {
                let registry = RegistryConfig::new(content, None, None)?;
                if let Some(config) = &registry {
                    split_login(&config.addresses)?;
                }
                if registry.is_some() && content.has_schema() {
                    return Err(Error::new(
                        SqlState::INVALID_PARAMETER,
                        "a schema registry and a schema of its own exclude each other",
                    ));
                }
                if content.get("schema_path").is_none() && content.get("schema").is_some() {
                    decoder_of_documents(content, None, &[])?;
                }
            }
            _ => {
                // The columns are not known here: those that options name are taken for granted.
                let named = ["force_not_null", "force_null"].map(|option| content.names(option));
                let columns: Vec<String> = named.concat().into_iter().map(str::to_owned).collect();
                text_decoder(content, &columns)?;
            }
        }
    }
    Ok(())
}

/// What is needed to make decoders for a table, on any thread and as often as wanted.
#[derive(Clone)]
pub struct Formats {
    sides: [Arc<SideFormat>; 2],
}

struct SideFormat {
    /// None: not decoded.
    content: Option<FormatSpec>,
    /// Names of the fields of a record, by position.
    fields: Vec<String>,
    /// Members of the document wanted as bytes.
    raw: Vec<String>,
    /// Members of which a document must have one.
    required: Vec<String>,
    /// A column takes the document as it is.
    takes_whole: bool,
    registry: Option<Arc<Registry>>,
}

/// How decoders ask a registry.
type Asks = fn(Arc<Registry>) -> Arc<dyn Schemas>;

/// Name and password for a schema registry.
type Login = (Option<String>, Option<String>);

impl Formats {
    /// For a table of this layout that `user` reads; asks nobody yet.
    ///
    /// # Errors
    /// Options that do not go together; a registry's certificate that cannot be read.
    pub fn of(table: &Table, layout: &Layout, user: Oid) -> Result<Formats> {
        let mapping = Table::user_mapping(table.server, user);
        let find = |name: &str| mapping.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        let own_registry = |side: Side| {
            let prefix = if side == Side::Key { "key_" } else { "" };
            OF_SERVERS.iter().any(|name| table.option(&format!("{prefix}{name}")).is_some())
        };
        Formats::new(layout, &table.columns, |side| {
            // Otherwise anyone who can create a table could send the password to a registry of their own.
            if own_registry(side) && table.owner != table.server_owner {
                return (None, None);
            }
            (find(REGISTRY_USER), find(REGISTRY_PASSWORD))
        })
    }

    /// For these columns and options.
    ///
    /// # Errors
    /// As `of`.
    pub fn new(
        layout: &Layout,
        columns: &[Column],
        login: impl Fn(Side) -> Login,
    ) -> Result<Formats> {
        let side = |side: Side| -> Result<Arc<SideFormat>> {
            let content = layout.contents[side as usize].clone();
            let (user, password) = login(side);
            let registry = match &content {
                Some(content) => {
                    RegistryConfig::new(content, user.as_deref(), password.as_deref())?
                }
                None => None,
            };
            Ok(Arc::new(SideFormat {
                content,
                fields: layout.field_names(side, columns),
                raw: layout.raw[side as usize].clone(),
                required: layout.required(side),
                takes_whole: layout.takes_whole(side),
                registry: registry.map(|config| Registry::new(&config)).transpose()?.map(Arc::new),
            }))
        };
        Ok(Formats { sides: [side(Side::Value)?, side(Side::Key)?] })
    }

    /// A decoder that delivers what is needed.
    ///
    /// # Errors
    /// Options that do not go together, a schema that cannot be read.
    pub fn decoder(&self, needs: &Needs) -> Result<MessageDecoder> {
        self.decoder_that(needs, Self::as_it_is)
    }

    /// The same for the main thread, where nothing may be waited for that cannot be cancelled.
    ///
    /// # Errors
    /// As `decoder`.
    pub fn decoder_here(&self, needs: &Needs) -> Result<MessageDecoder> {
        self.decoder_that(needs, |registry| Arc::new(Cancellable(registry)))
    }

    fn decoder_that(&self, needs: &Needs, asks: Asks) -> Result<MessageDecoder> {
        let [value, key] = &self.sides;
        let readings = [value.reading(asks)?, key.reading(asks)?];
        Ok(MessageDecoder::new(readings, &needs.sides).requiring_one_of(&value.required))
    }

    fn as_it_is(registry: Arc<Registry>) -> Arc<dyn Schemas> {
        registry
    }

    /// The schema registries.
    pub fn registries(&self) -> impl Iterator<Item = &Arc<Registry>> {
        self.sides.iter().filter_map(|side| side.registry.as_ref())
    }
}

impl SideFormat {
    fn reading(&self, asks: Asks) -> Result<Reading> {
        let Some(content) = &self.content else { return Ok(Reading::Ignored) };
        Ok(match content.format {
            Format::Json
                if content.get("encoding").is_none() && Prefix::of(content)? == Prefix::Four =>
            {
                Reading::Json
            }
            // The bytes are the message's own, and the function is called where the row is made.
            Format::Binary | Format::Custom => Reading::Ignored,
            format if format.info().has_schemas => {
                let schemas = self.registry.clone().map(asks);
                Reading::Made(decoder_of_documents(content, schemas, &self.raw)?)
            }
            Format::Jsonl if !self.takes_whole => {
                Reading::Records(Box::new(JsonlDecoder::new(content)?.spreading()))
            }
            _ => Reading::Records(text_decoder(content, &self.fields)?),
        })
    }
}

fn decoder_of_documents(
    content: &FormatSpec,
    schemas: Option<Arc<dyn Schemas>>,
    raw: &[String],
) -> Result<Box<dyn Decode>> {
    let schema = match (content.get("schema"), content.get("schema_path")) {
        (Some(_), Some(_)) => {
            return Err(Error::new(
                SqlState::INVALID_PARAMETER,
                "options \"schema\" and \"schema_path\" exclude each other",
            ));
        }
        (Some(text), None) => Some(SchemaSource::Text(text.to_owned())),
        (None, Some(path)) => Some(SchemaSource::File(schema_file(path)?)),
        (None, None) => None,
    };
    if content.format == Format::Protobuf {
        return Ok(Box::new(ProtobufDecoder::new(content, schema, schemas, raw)?));
    }
    let text = match schema {
        Some(SchemaSource::Text(text)) => Some(text),
        Some(SchemaSource::File(bytes)) => Some(String::from_utf8(bytes).map_err(|_| {
            Error::new(SqlState::INVALID_PARAMETER, "the schema file is not UTF-8 text")
        })?),
        None => None,
    };
    Ok(Box::new(AvroDecoder::new(content, text, schemas, raw)?))
}

fn schema_file(path: &str) -> Result<Vec<u8>> {
    let mut bytes = vec![];
    // Opening a pipe, or reading a device, could wait for ever.
    let read = std::fs::metadata(path).and_then(|found| match found.is_file() {
        true => std::fs::File::open(path)?.take(MAX_SCHEMA + 1).read_to_end(&mut bytes),
        false => Err(std::io::Error::other("not a regular file")),
    });
    match read {
        Ok(_) if bytes.len() as u64 > MAX_SCHEMA => Err(Error::new(
            SqlState::INVALID_PARAMETER,
            format!("the schema file \"{path}\" is larger than {} MiB", MAX_SCHEMA >> 20),
        )),
        Ok(_) => Ok(bytes),
        Err(error) => Err(Error::new(
            // undefined_file, as COPY says it.
            SqlState::new("58P01"),
            format!("could not open the schema file \"{path}\": {error}"),
        )
        .hint(
            "It is a file on the database server, which the server's user has to be able to read.",
        )),
    }
}
