//! Messages in protobuf: each becomes one JSON document, by the JSON mapping of protobuf with what
//! suits columns better: names as in the `.proto` file, fields without presence always there,
//! 64-bit integers as numbers.
//!
//! The wire format is read directly by the field numbers of the schema, which is read here as well,
//! so that what a message or a schema can cost is bounded everywhere: nesting, declarations, bytes.

mod common;
mod decl;
mod descriptor;
mod json;
mod known;
mod lexer;
mod proto_parser;
mod schema;
mod source;
#[cfg(test)]
mod tests;
mod walk;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;

use self::decl::Scalar;
use self::known::Known;
use self::schema::{Cardinality, Kind, Schema};
use self::walk::{Memory, Raw, foreign, walk};
use self::wire::{Records, Span};
use super::record::{Decode, Fault, Record, Sink};
use super::schema_id::{self, Prefix, SchemaId};
use super::schemas::{SchemaKind, Schemas};
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::format::FormatSpec;
use gpss_model::suggest;

pub use self::source::SchemaSource;

/// Schemas of a registry that are kept; more than a topic has in one life of a reader.
const MAX_SCHEMAS: usize = 64;
/// Bytes that these may take together, by estimate.
const MAX_WEIGHT: usize = 64 << 20;
/// Message types that are kept of one schema, by the bytes of their index.
const MAX_TYPES: usize = 256;
/// Names that a wrong one is compared with.
const MAX_COMPARED: usize = 2_000;
/// Indexes that lead to a message in a message.
const MAX_INDEXES: usize = decl::MAX_NESTING;

/// Decodes protobuf messages of one type, or of the types that a schema registry names.
pub struct ProtobufDecoder {
    types: Types,
    raw: Vec<String>,
    /// A message without any field of its type gives a row too.
    fill: bool,
    memory: Memory,
}

enum Types {
    Local { schema: Schema, message: MessageType },
    Registry { schemas: Arc<dyn Schemas>, message: Option<String>, cache: Cache },
}

/// By the schema's id; why a schema is of no use is kept as well.
type Cache = HashMap<SchemaId, std::result::Result<Cached, String>>;

struct Cached {
    schema: Schema,
    types: HashMap<Box<[u8]>, std::result::Result<MessageType, String>>,
}

/// A message type that is decoded.
struct MessageType {
    place: usize,
    raw: Vec<Raw>,
}

impl ProtobufDecoder {
    /// A decoder for the format's options in `content`, with a schema of the user's own or a
    /// registry's. `raw` are the names of top-level fields that records carry as bytes too: of type
    /// `bytes` or `string`, or the wrappers of these.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: there is no schema or more than one, it is not valid, the message or a
    /// raw field is not in it.
    pub fn new(
        content: &FormatSpec,
        schema: Option<SchemaSource>,
        schemas: Option<Arc<dyn Schemas>>,
        raw: &[String],
    ) -> Result<ProtobufDecoder> {
        let message = content.get("message");
        let types = match (schema, schemas) {
            (Some(source), None) => {
                let schema = source::local(&source).map_err(|reason| {
                    invalid("protobuf schema is not valid").detail(sentence(&reason)).hint(
                        "Give the text of a .proto file, or a descriptor set as protoc \
                         --include_imports --descriptor_set_out writes it.",
                    )
                })?;
                let place = choose(&schema, message)?;
                let raw = raw_fields(&schema, place, raw)?;
                Types::Local { message: MessageType { place, raw }, schema }
            }
            (None, Some(schemas)) => {
                let message = message.map(|name| name.trim_start_matches('.').to_owned());
                Types::Registry { schemas, message, cache: Cache::new() }
            }
            (None, None) => {
                let hint = "Set one of the options schema, schema_path and schema_registry.";
                return Err(invalid("format protobuf needs a schema").hint(hint));
            }
            (Some(_), Some(_)) => {
                let reason = "a protobuf schema and a schema registry exclude each other";
                return Err(invalid(reason));
            }
        };
        let fill = content.is_on("fill_missing_fields");
        Ok(ProtobufDecoder { types, raw: raw.to_vec(), fill, memory: Memory::default() })
    }
}

impl Decode for ProtobufDecoder {
    fn decode(&mut self, payload: &[u8], sink: &mut Sink<'_>) -> std::result::Result<(), Fault> {
        let result = self.decode_one(None, payload, sink);
        self.memory.clear();
        result
    }

    fn reads_schema_ids(&self) -> bool {
        matches!(self.types, Types::Registry { .. })
    }

    fn decode_identified(
        &mut self,
        id: &[u8],
        payload: &[u8],
        sink: &mut Sink<'_>,
    ) -> std::result::Result<(), Fault> {
        let result = self.decode_one(Some(id), payload, sink);
        self.memory.clear();
        result
    }
}

impl ProtobufDecoder {
    fn decode_one(
        &mut self,
        named: Option<&[u8]>,
        payload: &[u8],
        sink: &mut Sink<'_>,
    ) -> std::result::Result<(), Fault> {
        let (schema, message, body) = match &mut self.types {
            Types::Local { schema, message } => (&*schema, &*message, payload),
            Types::Registry { schemas, message, cache } => {
                let framed = match named {
                    Some(header) => Framed::by_header(header, payload)?,
                    None => Framed::read(payload)?,
                };
                let cached = cached(cache, &**schemas, framed.schema)?;
                prepare(cached, &framed, message.as_deref(), &self.raw);
                match cached.types.get(framed.index) {
                    Some(Ok(found)) => (&cached.schema, found, framed.body),
                    Some(Err(reason)) => return Err(Fault::bad(reason.clone())),
                    None => return Err(Fault::bad("unknown message type")),
                }
            }
        };
        let found = walk(schema, message.place, body, &mut self.memory, &message.raw);
        let found = found.map_err(|reason| Fault::bad(format!("invalid protobuf: {reason}")))?;
        if found.is_foreign && !self.fill {
            return Err(Fault::bad(foreign(schema, message.place, body)));
        }
        let fields: Vec<_> = found.raw.iter().map(|span| span.map(|span| span.of(body))).collect();
        sink(Record { document: Some(&self.memory.document), fields: &fields })
    }
}

/// A message as the serializers of a Confluent schema registry write it.
struct Framed<'a> {
    schema: SchemaId,
    /// The indexes as they stand there.
    index: &'a [u8],
    body: &'a [u8],
}

impl<'a> Framed<'a> {
    fn read(payload: &'a [u8]) -> std::result::Result<Framed<'a>, Fault> {
        let (schema, rest) = Prefix::Four.split(payload)?;
        let (index, body) = Framed::split(rest).map_err(Fault::bad)?;
        Ok(Framed { schema, index, body })
    }

    /// With id and indexes in a header.
    fn by_header(header: &'a [u8], body: &'a [u8]) -> std::result::Result<Framed<'a>, Fault> {
        let (schema, rest) = schema_id::of_header(header)?;
        match Framed::split(rest).map_err(Fault::bad)? {
            (index, []) => Ok(Framed { schema, index, body }),
            (_, _) => Err(Fault::bad("the header of the schema's id is too long")),
        }
    }

    /// The indexes, and what follows.
    fn split(rest: &'a [u8]) -> std::result::Result<(&'a [u8], &'a [u8]), &'static str> {
        // Only the indexes are looked at here, and a span reaches less far than a slice.
        let head = rest.get(..rest.len().min(10 * (MAX_INDEXES + 1))).unwrap_or_default();
        let mut numbers = Records::new(head, Span::new(0, head.len()));
        let mut number = || index(&mut numbers);
        let count = number()?;
        if count > MAX_INDEXES {
            return Err(BAD_INDEXES);
        }
        for _ in 0..count {
            number()?;
        }
        rest.split_at_checked(numbers.at()).ok_or(BAD_INDEXES)
    }

    /// The indexes: of the message in its file, then of the message in that.
    fn path(&self) -> Vec<usize> {
        let mut numbers = Records::new(self.index, Span::new(0, self.index.len()));
        let count = index(&mut numbers);
        let path: Vec<_> = std::iter::from_fn(|| index(&mut numbers).ok()).collect();
        // No index at all is short for the first message.
        if count == Ok(0) { vec![0] } else { path }
    }
}

const BAD_INDEXES: &str = "indexes of the message type are not valid";

/// A number in zigzag encoding that is not negative.
fn index(numbers: &mut Records<'_>) -> std::result::Result<usize, &'static str> {
    match numbers.varint() {
        Ok(bits) if bits & 1 == 0 => Ok((bits >> 1) as usize),
        _ => Err(BAD_INDEXES),
    }
}

/// The schema of an id, asked for once.
fn cached<'a>(
    cache: &'a mut Cache,
    schemas: &dyn Schemas,
    id: SchemaId,
) -> std::result::Result<&'a mut Cached, Fault> {
    if !cache.contains_key(&id) {
        let registered = schemas.schema(id)?;
        let schema = match registered.kind {
            SchemaKind::Protobuf => source::registered(&registered),
            SchemaKind::Avro => Err("it is an Avro schema".to_owned()),
            SchemaKind::Json => Err("it is a JSON schema".to_owned()),
        };
        let kept = cache.values().flatten().map(|cached| cached.schema.weight);
        let weight: usize = schema.iter().map(|schema| schema.weight).chain(kept).sum();
        if cache.len() >= MAX_SCHEMAS || weight > MAX_WEIGHT {
            cache.clear();
        }
        cache.insert(id, schema.map(|schema| Cached { schema, types: HashMap::new() }));
    }
    match cache.get_mut(&id) {
        Some(Ok(cached)) => Ok(cached),
        Some(Err(reason)) => {
            Err(Fault::bad(format!("schema {id} cannot be used for protobuf: {reason}")))
        }
        None => Err(Fault::bad(format!("schema {id} is not there"))),
    }
}

/// Finds the type that a message's indexes lead to, once for the same indexes.
fn prepare(cached: &mut Cached, framed: &Framed<'_>, message: Option<&str>, raw: &[String]) {
    if cached.types.contains_key(framed.index) {
        return;
    }
    if cached.types.len() >= MAX_TYPES {
        cached.types.clear();
    }
    let found = registered_type(&cached.schema, framed, message, raw);
    cached.types.insert(framed.index.into(), found);
}

fn registered_type(
    schema: &Schema,
    framed: &Framed<'_>,
    message: Option<&str>,
    raw: &[String],
) -> std::result::Result<MessageType, String> {
    let id = framed.schema;
    let path = framed.path();
    let place = schema.indexed(path.iter().copied());
    let Some((place, found)) = place.and_then(|place| Some((place, schema.message(place)?))) else {
        return Err(format!("schema {id} has no message at index {path:?}"));
    };
    if let Some(wanted) = message.filter(|wanted| *wanted != found.name) {
        return Err(format!("message is of type \"{}\", not \"{wanted}\"", found.name));
    }
    let unusable = |reason| format!("schema {id} cannot be used for protobuf: {reason}");
    schema.check(place).map_err(unusable)?;
    let raw = raw.iter().map(|name| raw_field(schema, place, name));
    Ok(MessageType { place, raw: raw.collect::<std::result::Result<_, _>>()? })
}

/// The message type of the user's own schema: the one that is named, or the only one.
fn choose(schema: &Schema, message: Option<&str>) -> Result<usize> {
    let names = || schema.names().collect::<Vec<_>>();
    let place = match (message, schema.top()) {
        (Some(name), _) => schema.find(name).ok_or_else(|| {
            let error = invalid(format!("protobuf message \"{name}\" is not in the schema"));
            // A name without its package is the most likely mistake.
            let suffix = format!(".{name}");
            let hint = match names().iter().find(|known| known.ends_with(&suffix)) {
                Some(known) => Some(format!("Perhaps you meant \"{known}\".")),
                None => suggest::hint(name, names().into_iter().take(MAX_COMPARED)),
            };
            error.hint(hint.unwrap_or_else(|| listed(&names())))
        })?,
        (None, [only]) => *only,
        (None, []) => return Err(invalid("protobuf schema has no message")),
        (None, several) => {
            let several = several.iter().filter_map(|place| schema.message(*place));
            let several: Vec<_> = several.map(|message| message.name.as_str()).collect();
            return Err(invalid("protobuf schema has several messages")
                .detail(listed(&several))
                .hint("Name one in the option message."));
        }
    };
    schema.check(place).map_err(|reason| {
        let error = invalid("protobuf schema is not complete").detail(sentence(&reason));
        match schema.is_incomplete() {
            true => error.hint(
                "Only google/protobuf and google/type are built in. Give a descriptor set with all files: \
                 protoc --include_imports --descriptor_set_out=FILE.",
            ),
            false => error,
        }
    })?;
    Ok(place)
}

fn listed(names: &[&str]) -> String {
    let more = if names.len() > 10 { ", ..." } else { "" };
    let names: Vec<_> = names.iter().take(10).copied().collect();
    format!("Its messages are: {}{more}.", names.join(", "))
}

/// The raw fields of a message of the user's own schema: each has to be there.
fn raw_fields(schema: &Schema, place: usize, names: &[String]) -> Result<Vec<Raw>> {
    let fields = schema.message(place).map(|message| &*message.fields).unwrap_or_default();
    let one = |name: &String| match raw_field(schema, place, name) {
        Ok(Raw::None) => {
            let error = invalid(format!("protobuf message has no field \"{name}\""));
            let known = fields.iter().take(MAX_COMPARED).map(|field| field.name.as_str());
            Err(match suggest::hint(name, known) {
                Some(hint) => error.hint(hint),
                None => error,
            })
        }
        Ok(raw) => Ok(raw),
        Err(reason) => Err(invalid(reason)),
    };
    names.iter().map(one).collect()
}

/// Where the bytes of a field are found.
fn raw_field(schema: &Schema, place: usize, name: &str) -> std::result::Result<Raw, String> {
    let Some(message) = schema.message(place) else { return Ok(Raw::None) };
    let at = message.fields.iter().position(|field| field.name == name);
    let Some((at, field)) = at.and_then(|at| Some((at, message.fields.get(at)?))) else {
        return Ok(Raw::None);
    };
    let index = at as u32;
    let wrapped = |place: usize| {
        let known = schema.message(place).and_then(|message| message.known);
        matches!(known, Some(Known::Wrapper(Scalar::String | Scalar::Bytes)))
    };
    match (&field.kind, field.shape) {
        (Kind::Scalar(Scalar::String | Scalar::Bytes), Cardinality::Singular) => {
            Ok(Raw::Field { index, presence: !message.implicit().contains(&index) })
        }
        (Kind::Message(place), Cardinality::Singular) if wrapped(*place) => {
            Ok(Raw::Wrapped { index })
        }
        _ => Err(format!("protobuf field \"{name}\" is not of type bytes or string")),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::INVALID_PARAMETER, message)
}

/// A reason as the sentence of a detail.
fn sentence(reason: &str) -> String {
    let mut chars = reason.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).chain(['.']).collect()
}
