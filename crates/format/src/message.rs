//! A message's value and key into records of a block: the formats' decoders, the wanted fields of
//! what they give, and their conversion.

use super::cast::{Cast, Converted, cast};
use super::json::JsonDecoder;
use super::path::JsonField;
use super::record::{Decode, Fault, Record};
use super::schema_id::{self, Prefix};
use gpss_model::block::{
    Block, Decoded, Document, MessageParts, Part, PositionalField, Side, Width,
};
use gpss_model::error::Error;
use std::fmt;

/// Bytes that one message may grow to in a block when it holds several records: what a short text of
/// many records and a table of many columns could make would else have no bound.
const MAX_EXPANSION: usize = 256 << 20;

/// A wanted field of a record of fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextField {
    /// Its position among the decoder's fields.
    pub position: usize,
    pub cast: Option<Cast>,
    /// For EXPLAIN.
    pub name: String,
}

impl fmt::Display for TextField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cast {
            Some(cast) => write!(f, "{}::{cast}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What is wanted of one side of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Fields of its JSON document.
    pub fields: Vec<JsonField>,
    /// Fields of its record of fields.
    pub texts: Vec<TextField>,
    /// The document as a whole.
    pub document: bool,
}

impl Wanted {
    /// Adds what another statement wants.
    pub fn add(&mut self, other: &Wanted) {
        add_new(&mut self.fields, &other.fields);
        add_new(&mut self.texts, &other.texts);
        self.document |= other.document;
    }
}

fn add_new<T: Clone + PartialEq>(list: &mut Vec<T>, new: &[T]) {
    for item in new {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

/// The layout of records with these fields of value and key.
pub fn width(wanted: &[Wanted; 2]) -> Width {
    let [value, key] = wanted;
    Width {
        fields: [value.fields.len(), key.fields.len()],
        texts: [value.texts.len(), key.texts.len()],
    }
}

/// How one side of a message is decoded.
pub enum Reading {
    /// Not at all.
    Ignored,
    /// As one JSON document in UTF-8.
    Json,
    Records(Box<dyn Decode>),
    /// Records whose documents the decoder makes of another format.
    Made(Box<dyn Decode>),
}

/// Decodes messages into the records of a block.
pub struct MessageDecoder {
    value: SideDecoder,
    key: SideDecoder,
}

enum SideDecoder {
    Ignored,
    Json(Box<JsonDecoder>),
    Records(Box<Records>),
}

struct Records {
    decoder: Box<dyn Decode>,
    reads_schema_ids: bool,
    json: JsonDecoder,
    wanted: Wanted,
    texts: Vec<PositionalField>,
    scratch: Vec<u8>,
}

/// Whether the block had room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    Enough,
    /// None for this message, of which nothing is in the block.
    Full,
}

impl MessageDecoder {
    /// A decoder that delivers what is wanted of value and key.
    pub fn new(readings: [Reading; 2], wanted: &[Wanted; 2]) -> MessageDecoder {
        let [value, key] = readings;
        MessageDecoder {
            value: SideDecoder::new(value, &wanted[0]),
            key: SideDecoder::new(key, &wanted[1]),
        }
    }

    /// Does a message's header decide how it is decoded? Then it is to have them.
    pub fn reads_headers(&self) -> bool {
        self.value.reads_schema_ids() || self.key.reads_schema_ids()
    }

    /// The same, but that a document of the value needs one of these members, if there are any.
    #[must_use]
    pub fn requiring_one_of(mut self, names: &[String]) -> MessageDecoder {
        match &mut self.value {
            SideDecoder::Ignored => {}
            SideDecoder::Json(json) => json.require_one_of(names),
            SideDecoder::Records(records) => records.json.require_one_of(names),
        }
        self
    }

    /// The same, but that an escape which PostgreSQL refuses spoils the field it stands in, and not all
    /// fields of the document.
    #[must_use]
    pub fn lenient(mut self) -> MessageDecoder {
        for side in [&mut self.value, &mut self.key] {
            match side {
                SideDecoder::Ignored => {}
                SideDecoder::Json(json) => json.be_lenient(),
                SideDecoder::Records(records) => records.json.be_lenient(),
            }
        }
        self
    }

    /// Decodes a message and appends it to the block: with its records, or with the reason why it
    /// has none.
    ///
    /// # Errors
    /// What is not the message's fault; nothing of it is in the block then.
    pub fn decode(&mut self, message: &MessageParts<'_>, rows: &mut Block) -> Result<Room, Error> {
        if !rows.push(message) {
            return Ok(Room::Full);
        }
        let before = rows.bytes();
        let mut full = false;
        let mut add = |value: &Part<'_>, key: &Part<'_>, first: bool| {
            if !rows.add([value, key]) {
                full = true;
                return Err(Fault::bad("the wanted fields of the message exceed 2 GiB"));
            }
            if !first && rows.bytes() - before > MAX_EXPANSION {
                return Err(Fault::bad(format!(
                    "the records of the message take more than {} MiB",
                    MAX_EXPANSION >> 20
                )));
            }
            Ok(())
        };
        let outcome = match &mut self.key {
            SideDecoder::Ignored => {
                let mut first = true;
                self.value.each(Side::Value, message, &mut |part| {
                    add(part, &Part::default(), std::mem::take(&mut first))
                })
            }
            key => with_key(&mut self.value, key, message, &mut add),
        };
        match outcome {
            Ok(()) => Ok(Room::Enough),
            Err(Fault::Bad(_)) if full && rows.count() > 1 => {
                rows.take_back();
                Ok(Room::Full)
            }
            Err(Fault::Bad(reason)) => {
                rows.reject(&reason);
                Ok(Room::Enough)
            }
            Err(Fault::Failed(error)) => {
                rows.take_back();
                Err(error)
            }
        }
    }
}

/// Takes a record: the parts of value and key, and whether it is the message's first.
type Add<'a> = dyn FnMut(&Part<'_>, &Part<'_>, bool) -> Result<(), Fault> + 'a;

/// The key's one record beside each record of the value.
fn with_key(
    value: &mut SideDecoder,
    key: &mut SideDecoder,
    message: &MessageParts<'_>,
    add: &mut Add<'_>,
) -> Result<(), Fault> {
    let mut keys = 0;
    let mut faulty_key = true;
    let mut each_value = |key: &Part<'_>| {
        let mut first = true;
        value.each(Side::Value, message, &mut |part| add(part, key, std::mem::take(&mut first)))
    };
    let outcome = key.each(Side::Key, message, &mut |part| {
        keys += 1;
        if keys > 1 {
            return Err(Fault::bad("more than one record"));
        }
        each_value(part).inspect_err(|_| faulty_key = false)
    });
    match outcome {
        Ok(()) if keys == 0 => each_value(&Part::default()),
        Err(Fault::Bad(reason)) if faulty_key => {
            Err(Fault::Bad(format!("in the message's key: {reason}")))
        }
        outcome => outcome,
    }
}

impl SideDecoder {
    fn new(reading: Reading, wanted: &Wanted) -> SideDecoder {
        match reading {
            Reading::Ignored => SideDecoder::Ignored,
            Reading::Json => SideDecoder::Json(Box::new(JsonDecoder::new(&wanted.fields))),
            Reading::Records(decoder) => SideDecoder::records(decoder, wanted, false),
            Reading::Made(decoder) => SideDecoder::records(decoder, wanted, true),
        }
    }

    fn records(decoder: Box<dyn Decode>, wanted: &Wanted, lenient: bool) -> SideDecoder {
        let (texts, scratch) = (vec![], vec![]);
        let mut json = JsonDecoder::new(&wanted.fields);
        if lenient {
            json.be_lenient();
        }
        SideDecoder::Records(Box::new(Records {
            reads_schema_ids: decoder.reads_schema_ids(),
            decoder,
            json,
            wanted: wanted.clone(),
            texts,
            scratch,
        }))
    }

    fn reads_schema_ids(&self) -> bool {
        match self {
            SideDecoder::Ignored | SideDecoder::Json(_) => false,
            SideDecoder::Records(records) => records.reads_schema_ids,
        }
    }

    /// Hands each record of this side's payload to `take`. A tombstone is a record of NULLs.
    #[inline]
    fn each(
        &mut self,
        side: Side,
        message: &MessageParts<'_>,
        take: &mut dyn FnMut(&Part<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let payload = match side {
            Side::Value => message.value,
            Side::Key => message.key,
        };
        let Some(payload) = payload else { return take(&Part::default()) };
        match self {
            SideDecoder::Ignored => take(&Part::default()),
            SideDecoder::Json(decoder) if payload.first() != Some(&0) => {
                take(&part_of(decoder, payload, Document::Whole)?)
            }
            // Confluent's serializer of JSON Schema writes the schema's id before the document.
            SideDecoder::Json(decoder) => {
                let document = Prefix::Four.strip(payload)?;
                take(&part_of(decoder, document, Document::Bytes(document))?)
            }
            SideDecoder::Records(records) => {
                let Records { decoder, reads_schema_ids, json, wanted, texts, scratch } =
                    &mut **records;
                let mut each = |record: Record<'_>| {
                    let mut part = match record.document {
                        Some(document) => part_of(json, document, Document::Bytes(document))?,
                        None => Part::default(),
                    };
                    if !wanted.document && !part.unsure {
                        part.document = Document::None;
                    }
                    convert(&record, &wanted.texts, texts, scratch);
                    // Raw fields beside a document are not converted: one scratch space is enough.
                    let scratch = match record.document {
                        Some(_) => part.scratch,
                        None => &scratch[..],
                    };
                    take(&Part { texts, record: record.fields, scratch, ..part })
                };
                let id = match *reads_schema_ids {
                    true => schema_id::of_headers(message.headers, side)?,
                    false => None,
                };
                match id {
                    Some(id) => decoder.decode_identified(&id, payload, &mut each),
                    None => decoder.decode(payload, &mut each),
                }
            }
        }
    }
}

/// The wanted fields of a document.
#[inline]
fn part_of<'a>(
    decoder: &'a mut JsonDecoder,
    source: &'a [u8],
    document: Document<'a>,
) -> Result<Part<'a>, Fault> {
    let found = decoder.decode(source);
    let unsure = match found.decoded {
        Decoded::Plain => false,
        Decoded::Unsure => true,
        Decoded::Bad(reason) => return Err(Fault::bad(reason)),
    };
    let (fields, scratch) = (found.fields, found.scratch);
    Ok(Part { document, unsure, fields, source, scratch, ..Part::default() })
}

/// The wanted fields of a record of fields, converted where that can be done here.
fn convert(
    record: &Record<'_>,
    wanted: &[TextField],
    texts: &mut Vec<PositionalField>,
    scratch: &mut Vec<u8>,
) {
    texts.clear();
    scratch.clear();
    for &TextField { position, cast: to, .. } in wanted {
        let bytes = record.fields.get(position).copied().flatten();
        let start = scratch.len();
        texts.push(match (bytes, to) {
            (None, _) => PositionalField::Null,
            (Some(_), None) => PositionalField::Bytes(position),
            (Some(bytes), Some(to)) => match cast(bytes, to, scratch) {
                Some(Converted::Fixed(bits)) => PositionalField::Fixed(bits),
                Some(Converted::Bytes) => PositionalField::Scratch(start, scratch.len() - start),
                None => PositionalField::Unconverted(position),
            },
        });
    }
}
