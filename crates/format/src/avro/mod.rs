//! Avro messages to JSON documents: tells the wire forms apart and finds the schema of each.
//!
//! - With a schema registry: a byte 0, the schema's id as four bytes, big-endian, then the datum. Or
//!   the datum alone, when a header of the message has the id (`schema_id`).
//! - With a schema of one's own: the single-object encoding when the message begins with its two
//!   magic bytes, else the bare datum. (A bare datum may begin with them by chance, as does a record
//!   whose first field is a number -98: such data should be written in one of the other forms.)
//! - With either or neither: a container file, which brings its schema; its records come one by one.

mod canonical;
mod codec;
mod container;
mod datum;
mod json;
mod logical;
mod schema;

use std::collections::HashMap;
use std::sync::Arc;

use super::record::{Decode, Fault, Record, Sink};
use super::schema_id::{self, Prefix, SchemaId};
use super::schemas::{Registered, SchemaKind, Schemas};
use container::Container;
use datum::{Cursor, Problem, Walk};
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::format::FormatSpec;
use schema::{Node, NodeId, Schema};

/// The first bytes of the single-object encoding; the fingerprint's eight bytes are next.
const SINGLE_OBJECT: &[u8] = &[0xc3, 0x01];
/// The JSON text of one message may have this many bytes, or `MAX_GROWTH` times the message's.
const MAX_OUTPUT: usize = 64 << 20;
const MAX_GROWTH: usize = 8;
/// What a record costs of that above its text, so that many small ones are bounded as well.
const RECORD_COST: usize = 64;
/// Compiled schemas that are kept: in number, and in bytes of their texts.
const MAX_SCHEMAS: usize = 10_000;
const MAX_SCHEMA_BYTES: usize = 64 << 20;
/// Space that is kept from message to message.
const MAX_KEPT: usize = 4 << 20;

/// Decodes Avro messages.
pub struct AvroDecoder {
    base64: bool,
    prefix: Prefix,
    /// The top-level fields that are wanted as bytes.
    raw: Vec<String>,
    local: Option<Local>,
    registered: Option<Registry>,
    /// The schema of the last container file, with its text.
    container: Option<(String, Ready)>,
    out: Vec<u8>,
    block: Vec<u8>,
    starts: Vec<usize>,
}

/// The user's own schema.
struct Local {
    ready: Ready,
    fingerprint: u64,
}

/// Schemas by id, compiled when they are first seen.
struct Registry {
    schemas: Arc<dyn Schemas>,
    /// Or why the schema cannot be used.
    compiled: Vec<Result<Ready, String>>,
    /// Where each id's schema is in `compiled`.
    places: HashMap<SchemaId, usize>,
    /// The id of the last message, which is mostly the next one's too, and its place.
    last: Option<(SchemaId, usize)>,
    /// Bytes of the compiled schemas' texts.
    size: usize,
}

/// A schema that is ready for messages.
struct Ready {
    schema: Schema,
    /// For each record that the datum may be: for each name in `raw`, the index of the field.
    raw: Vec<(NodeId, Vec<Option<usize>>)>,
}

impl Ready {
    fn new(schema: Schema, raw: &[String]) -> Ready {
        let mut wanted = Vec::new();
        let mut candidates = if raw.is_empty() { Vec::new() } else { vec![schema.root] };
        while let Some(candidate) = candidates.pop() {
            match schema.node(candidate) {
                Node::Union(branches) => candidates.extend_from_slice(branches),
                Node::Record(fields) => {
                    let index = |name: &str| fields.iter().position(|field| *field.name == *name);
                    wanted.push((candidate, raw.iter().map(|name| index(name)).collect()));
                }
                _ => {}
            }
        }
        Ready { schema, raw: wanted }
    }
}

impl AvroDecoder {
    /// A decoder with a schema of the user's own or with registered ones. `raw` are the top-level
    /// fields that each `Record::fields` has as bytes, in this order: those of bytes and fixed as
    /// they are, strings as their UTF-8; None when null or absent.
    ///
    /// # Errors
    /// `INVALID_PARAMETER` when `schema` is no Avro schema, or when there are both.
    pub fn new(
        content: &FormatSpec,
        schema: Option<String>,
        schemas: Option<Arc<dyn Schemas>>,
        raw: &[String],
    ) -> Result<AvroDecoder> {
        let invalid = |message: &str| Error::new(SqlState::INVALID_PARAMETER, message);
        if schema.is_some() && schemas.is_some() {
            return Err(invalid("a schema registry and a schema of its own exclude each other"));
        }
        let local = match schema {
            Some(text) => {
                let local = local(&text, raw);
                Some(local.map_err(|reason| invalid("invalid Avro schema").detail(reason))?)
            }
            None => None,
        };
        Ok(AvroDecoder {
            base64: content.is_on("bytes_to_base64"),
            prefix: Prefix::of(content)?,
            raw: raw.to_vec(),
            local,
            registered: schemas.map(|schemas| Registry {
                schemas,
                compiled: Vec::new(),
                places: HashMap::new(),
                last: None,
                size: 0,
            }),
            container: None,
            out: Vec::new(),
            block: Vec::new(),
            starts: Vec::new(),
        })
    }
}

fn local(text: &str, raw: &[String]) -> Result<Local, String> {
    let schema = Schema::compile(text, &[])?;
    let fingerprint = canonical::fingerprint(&schema::parse(text)?);
    Ok(Local { ready: Ready::new(schema, raw), fingerprint })
}

impl Decode for AvroDecoder {
    fn decode(&mut self, payload: &[u8], sink: &mut Sink<'_>) -> Result<(), Fault> {
        self.decode_one(None, payload, sink)
    }

    fn reads_schema_ids(&self) -> bool {
        self.registered.is_some()
    }

    fn decode_identified(
        &mut self,
        id: &[u8],
        payload: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), Fault> {
        let id = match schema_id::of_header(id)? {
            (id, []) => id,
            (_, _) => return Err(Fault::bad("the header of the schema's id is too long")),
        };
        self.decode_one(Some(id), payload, sink)
    }
}

impl AvroDecoder {
    /// A message, whose schema a header names or not.
    fn decode_one(
        &mut self,
        named: Option<SchemaId>,
        payload: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), Fault> {
        if self.out.capacity() > MAX_KEPT {
            self.out = Vec::new();
        }
        let mut writer = Writer {
            base64: self.base64,
            wanted: self.raw.len(),
            left: payload.len().saturating_mul(MAX_GROWTH).max(MAX_OUTPUT),
            out: &mut self.out,
            starts: &mut self.starts,
            sink,
        };
        if named.is_none() && payload.starts_with(container::MAGIC) {
            if self.block.capacity() > MAX_KEPT {
                self.block = Vec::new();
            }
            return container(
                payload,
                &self.raw,
                &mut self.container,
                &mut self.block,
                &mut writer,
            );
        }
        if let Some(registry) = &mut self.registered {
            let (id, datum) = match named {
                Some(id) => (id, payload),
                None => self.prefix.split(payload)?,
            };
            let ready = registry.ready(id, &self.raw)?;
            // Confluent's serializer writes a value of type bytes without its length.
            let plain = *ready.schema.node(ready.schema.root) == Node::Bytes;
            return writer.only(ready, Cursor::at(payload, payload.len() - datum.len()), plain);
        }
        let Some(local) = &self.local else {
            return Err(Fault::bad(
                "the message is not an Avro container file, and for others there is no schema: set \
                 schema_registry, schema or schema_path",
            ));
        };
        let mut at = 0;
        if let Some(rest) = payload.strip_prefix(SINGLE_OBJECT)
            && let Some(fingerprint) = rest.first_chunk()
        {
            let fingerprint = u64::from_le_bytes(*fingerprint);
            if fingerprint != local.fingerprint {
                return Err(Fault::Bad(format!(
                    "the message was written with another Avro schema: its fingerprint is \
                     {fingerprint:016x}, not {:016x}",
                    local.fingerprint
                )));
            }
            at = SINGLE_OBJECT.len() + size_of::<u64>();
        }
        writer.only(&local.ready, Cursor::at(payload, at), false)
    }
}

impl Registry {
    fn ready(&mut self, id: SchemaId, raw: &[String]) -> Result<&Ready, Fault> {
        let place = match self.last {
            Some((last, place)) if last == id => place,
            _ => self.place(id, raw)?,
        };
        self.last = Some((id, place));
        match self.compiled.get(place) {
            Some(Ok(ready)) => Ok(ready),
            Some(Err(reason)) => Err(Fault::Bad(format!("schema {id}: {reason}"))),
            None => Err(Fault::Bad(format!("schema {id} is gone"))),
        }
    }

    /// Where the schema with this id is in `compiled`.
    fn place(&mut self, id: SchemaId, raw: &[String]) -> Result<usize, Fault> {
        if let Some(&place) = self.places.get(&id) {
            return Ok(place);
        }
        let registered = self.schemas.schema(id)?;
        let size = registered.size();
        if self.compiled.len() >= MAX_SCHEMAS || self.size.saturating_add(size) > MAX_SCHEMA_BYTES {
            self.places.clear();
            self.compiled.clear();
            self.size = 0;
        }
        let place = self.compiled.len();
        self.size = self.size.saturating_add(size);
        self.compiled.push(compile(&registered, raw));
        self.places.insert(id, place);
        Ok(place)
    }
}

fn compile(registered: &Registered, raw: &[String]) -> Result<Ready, String> {
    match registered.kind {
        SchemaKind::Avro => {
            let schema = Schema::compile(&registered.text, &registered.references)?;
            Ok(Ready::new(schema, raw))
        }
        other => Err(format!("it is of type {}, not Avro", other.name())),
    }
}

/// Hands out all records of a container file.
fn container(
    payload: &[u8],
    raw: &[String],
    last: &mut Option<(String, Ready)>,
    space: &mut Vec<u8>,
    writer: &mut Writer<'_, '_>,
) -> Result<(), Fault> {
    let bad = |reason: String| Fault::Bad(format!("invalid Avro container file: {reason}"));
    let mut container = Container::open(payload).map_err(bad)?;
    if last.as_ref().is_none_or(|(text, _)| text != container.schema) {
        let schema = Schema::compile(container.schema, &[]).map_err(bad)?;
        *last = Some((container.schema.to_owned(), Ready::new(schema, raw)));
    }
    let Some((_, ready)) = last.as_ref() else { return Ok(()) };
    let mut decompressed = writer.left;
    while let Some(block) = container.block().map_err(bad)? {
        let data = container.codec.decompress(block.data, space, decompressed).map_err(bad)?;
        decompressed = decompressed.saturating_sub(data.len());
        let mut cursor = Cursor::new(data);
        for _ in 0..block.records {
            cursor = writer.record(ready, cursor, false)?;
        }
        if cursor.left() > 0 {
            return Err(bad_datum(&cursor, Problem::Extra(cursor.left())));
        }
    }
    Ok(())
}

/// Writes records and hands them out, as many as a message may have.
struct Writer<'a, 's> {
    base64: bool,
    /// The number of raw fields.
    wanted: usize,
    /// Bytes that may still be written for this message.
    left: usize,
    out: &'a mut Vec<u8>,
    starts: &'a mut Vec<usize>,
    sink: &'a mut Sink<'s>,
}

impl Writer<'_, '_> {
    /// The one record of a message.
    fn only(&mut self, ready: &Ready, cursor: Cursor<'_>, plain: bool) -> Result<(), Fault> {
        let mut datum = cursor.clone();
        // Nothing is handed out before it is sure that the message is one datum and no more.
        let cursor = self.write(ready, &mut datum, plain)?;
        match datum.left() {
            0 => self.hand_out(ready, cursor, &datum),
            left => Err(bad_datum(&datum, Problem::Extra(left))),
        }
    }

    /// One record of several; returns where the next one begins.
    fn record<'c>(
        &mut self,
        ready: &Ready,
        mut cursor: Cursor<'c>,
        plain: bool,
    ) -> Result<Cursor<'c>, Fault> {
        let record = self.write(ready, &mut cursor, plain)?;
        self.hand_out(ready, record, &cursor)?;
        Ok(cursor)
    }

    /// Writes the document of the datum at the cursor; its node when it is a record.
    fn write(
        &mut self,
        ready: &Ready,
        cursor: &mut Cursor<'_>,
        plain: bool,
    ) -> Result<Option<NodeId>, Fault> {
        self.out.clear();
        self.starts.clear();
        let (schema, limit) = (&ready.schema, self.left.saturating_sub(RECORD_COST));
        let mut walk = Walk::new(schema, cursor.clone(), self.out, limit, self.base64);
        let walked =
            if plain { walk.plain_bytes().map(|()| None) } else { walk.datum(self.starts) };
        *cursor = walk.cursor;
        let written = self.out.len().saturating_add(RECORD_COST);
        match walked {
            Ok(_) if written > self.left => Err(bad_datum(cursor, Problem::TooLarge(limit))),
            Ok(record) => {
                self.left -= written;
                Ok(record)
            }
            Err(problem) => Err(bad_datum(cursor, problem)),
        }
    }

    /// Hands out what was written.
    fn hand_out(
        &mut self,
        ready: &Ready,
        record: Option<NodeId>,
        datum: &Cursor<'_>,
    ) -> Result<(), Fault> {
        let document = Some(self.out.as_slice());
        if self.wanted == 0 {
            return (self.sink)(Record { document, fields: &[] });
        }
        let mut fields = vec![None; self.wanted];
        let wanted = ready.raw.iter().find(|(node, _)| Some(*node) == record);
        if let Some((node, wanted)) = wanted
            && let Node::Record(known) = ready.schema.node(*node)
        {
            for (field, index) in fields.iter_mut().zip(wanted) {
                let Some(index) = *index else { continue };
                let (Some(known), Some(&start)) = (known.get(index), self.starts.get(index)) else {
                    continue;
                };
                *field = match datum::raw(&ready.schema, known.node, datum.from(start)) {
                    Ok(bytes) => bytes,
                    Err(Some(problem)) => return Err(bad_datum(datum, problem)),
                    Err(None) => {
                        return Err(Fault::Bad(format!(
                            "Avro field \"{}\" has no bytes: it is neither bytes nor fixed nor a \
                             string",
                            known.name
                        )));
                    }
                };
            }
        }
        (self.sink)(Record { document, fields: &fields })
    }
}

fn bad_datum(cursor: &Cursor<'_>, problem: Problem) -> Fault {
    Fault::Bad(format!("invalid Avro data: {problem} at byte {}", cursor.position()))
}

#[cfg(test)]
mod tests;
