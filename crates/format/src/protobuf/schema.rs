//! Message types as the decoder uses them: names resolved, fields by number, JSON keys written.
//!
//! Imports that are missing do no harm as long as nothing that is decoded needs them: many only
//! bring options for other programs.

use std::collections::{HashMap, HashSet};

use super::common;
use super::decl::{self, Budget, Features, File, Scalar, Type};
use super::json;
use super::known::{self, Known};
use super::proto_parser;

const MAX_FIELD_NUMBER: u32 = (1 << 29) - 1;

/// All messages and enums of a schema, in whatever file.
#[derive(Debug, Default)]
pub(super) struct Schema {
    messages: Vec<Message>,
    enums: Vec<Enum>,
    names: HashMap<String, Kind>,
    /// The messages of the main file that are in no other, and the messages in messages, both
    /// without the entries of maps: what the indexes of a Confluent message count.
    top: Vec<usize>,
    nested: HashMap<usize, Vec<usize>>,
    /// Imported files that are not there.
    missing: Vec<String>,
    /// About how many bytes all this takes.
    pub weight: usize,
}

#[derive(Debug)]
pub(super) struct Message {
    pub name: String,
    /// By number, extensions too.
    pub fields: Vec<Field>,
    /// Which fields are written even when they are absent.
    implicit: Vec<u32>,
    pub known: Option<Known>,
    map_entry: bool,
}

#[derive(Debug)]
pub(super) struct Field {
    pub name: String,
    pub number: u32,
    /// `"name":`
    pub key: Box<[u8]>,
    pub kind: Kind,
    pub shape: Cardinality,
    pub oneof: Option<u32>,
    pub delimited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cardinality {
    Singular,
    Repeated,
    /// A repeated message that is an entry of a map.
    Map,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Scalar(Scalar),
    Enum(usize),
    Message(usize),
    /// The name of a type that is not defined.
    Missing(Box<str>),
}

#[derive(Debug)]
pub(super) struct Enum {
    /// The value's name in quotes, by number; of aliases the first.
    values: Vec<(i32, Box<[u8]>)>,
    pub closed: bool,
    /// google.protobuf.NullValue
    pub null: bool,
}

impl Enum {
    pub fn name_of(&self, number: i32) -> Option<&[u8]> {
        let at = self.values.binary_search_by_key(&number, |value| value.0).ok()?;
        self.values.get(at).map(|value| &*value.1)
    }
}

impl Message {
    /// The place in `fields` of a field's number.
    #[inline]
    pub fn find(&self, number: u32) -> Option<usize> {
        let guess = (number as usize).wrapping_sub(1);
        match self.fields.get(guess) {
            Some(field) if field.number == number => Some(guess),
            _ => self.fields.binary_search_by_key(&number, |field| field.number).ok(),
        }
    }

    pub fn implicit(&self) -> &[u32] {
        &self.implicit
    }
}

impl Schema {
    /// Links files, of which the last is the main one.
    ///
    /// # Errors
    /// What makes the schema ambiguous: a name or number used twice.
    pub fn link(mut files: Vec<File>, budget: &mut Budget) -> Result<Schema, String> {
        // Of files with the same name the last: the main one stays.
        let mut seen = HashSet::new();
        files.reverse();
        files.retain(|file| seen.insert(file.name.clone()));
        files.reverse();
        let main = files.len();
        let known = proto_parser::parse("google/protobuf", known::DECLARATIONS, budget)?;
        let mut schema = Schema::default();
        for file in std::iter::once(&known).chain(&files) {
            schema.declare(file)?;
        }
        for (index, file) in std::iter::once(&known).chain(&files).enumerate() {
            schema.define(file, index == main)?;
        }
        for file in &files {
            for import in &file.imports {
                let built_in = import.starts_with("google/protobuf/") || common::has(import);
                let there = built_in || seen.contains(import);
                if !there && !schema.missing.contains(import) && schema.missing.len() < 100 {
                    schema.missing.push(import.clone());
                }
            }
        }
        for file in files {
            schema.extend(file);
        }
        schema.finish()?;
        schema.weight = budget.weight();
        Ok(schema)
    }

    /// Gives every message and enum its place. What is built in stays as it is.
    fn declare(&mut self, file: &File) -> Result<(), String> {
        for message in &file.messages {
            if known::is_built_in(&message.name) && self.names.contains_key(&message.name) {
                continue;
            }
            let kind = Kind::Message(self.messages.len());
            self.messages.push(Message {
                name: message.name.clone(),
                fields: Vec::new(),
                implicit: Vec::new(),
                known: Known::by_name(&message.name),
                map_entry: message.map_entry,
            });
            self.name(&message.name, kind)?;
        }
        for declared in &file.enums {
            if known::is_built_in(&declared.name) && self.names.contains_key(&declared.name) {
                continue;
            }
            let features = declared.features.or(self.features(file, declared.parent));
            let mut values: Vec<(i32, Box<[u8]>)> = Vec::with_capacity(declared.values.len());
            for (number, name) in &declared.values {
                let mut quoted = Vec::with_capacity(name.len() + 2);
                json::string(name, &mut quoted);
                values.push((*number, quoted.into()));
            }
            values.sort_by_key(|value| value.0);
            values.dedup_by_key(|value| value.0);
            let kind = Kind::Enum(self.enums.len());
            let null = declared.name == "google.protobuf.NullValue";
            self.enums.push(Enum { values, closed: features.closed == Some(true), null });
            self.name(&declared.name, kind)?;
        }
        Ok(())
    }

    fn name(&mut self, name: &str, kind: Kind) -> Result<(), String> {
        match self.names.insert(name.to_owned(), kind) {
            None => Ok(()),
            Some(_) => Err(format!("\"{name}\" is defined twice")),
        }
    }

    /// What a declaration in `parent` inherits.
    fn features(&self, file: &File, mut parent: Option<usize>) -> Features {
        let mut features = Features::default();
        // A parent comes before what is in it, so that this ends.
        while let Some(message) = parent.and_then(|index| file.messages.get(index)) {
            features = features.or(message.features);
            parent = message.parent;
        }
        features.or(file.features)
    }

    /// Adds the fields of a file's messages.
    fn define(&mut self, file: &File, main: bool) -> Result<(), String> {
        let mut places = Vec::with_capacity(file.messages.len());
        for declared in &file.messages {
            let Some(Kind::Message(place)) = self.names.get(&declared.name) else {
                return Err(format!("\"{}\" is defined twice", declared.name));
            };
            let place = *place;
            places.push(place);
            if !declared.map_entry {
                match declared.parent.and_then(|parent| places.get(parent)) {
                    Some(parent) => self.nested.entry(*parent).or_default().push(place),
                    None if main => self.top.push(place),
                    None => {}
                }
            }
            if self.messages.get(place).is_none_or(|message| !message.fields.is_empty()) {
                // Built in.
                continue;
            }
            let inherited = declared.features.or(self.features(file, declared.parent));
            let mut fields = Vec::with_capacity(declared.fields.len());
            let mut implicit = HashSet::new();
            for field in &declared.fields {
                let linked = self.field(field, &declared.name, inherited, declared.map_entry)?;
                let singular = linked.shape == Cardinality::Singular;
                let presence = singular
                    && (matches!(linked.kind, Kind::Message(_) | Kind::Missing(_))
                        || linked.oneof.is_some()
                        || field.optional
                        || field.features.or(inherited).implicit != Some(true));
                if !presence {
                    implicit.insert(linked.number);
                }
                fields.push(linked);
            }
            fields.sort_by_key(|field| field.number);
            let numbered = fields.iter().enumerate();
            let implicit = numbered.filter(|(_, field)| implicit.contains(&field.number));
            let implicit = implicit.map(|(index, _)| index as u32).collect();
            if let Some(message) = self.messages.get_mut(place) {
                message.fields = fields;
                message.implicit = implicit;
            }
        }
        Ok(())
    }

    fn field(
        &self,
        field: &decl::Field,
        scope: &str,
        inherited: Features,
        in_entry: bool,
    ) -> Result<Field, String> {
        if field.number == 0 || field.number > MAX_FIELD_NUMBER {
            let (name, number) = (&field.name, field.number);
            return Err(format!("field \"{name}\" of \"{scope}\" has the number {number}"));
        }
        let (kind, group) = match &field.kind {
            Type::Scalar(scalar) => (Kind::Scalar(*scalar), false),
            Type::Named(name) => (self.resolve(scope, name), false),
            Type::Group(name) => (self.resolve(scope, name), true),
        };
        let entry = match kind {
            Kind::Message(place) => self.messages.get(place).is_some_and(|m| m.map_entry),
            _ => false,
        };
        let shape = match field.repeated {
            true if entry => Cardinality::Map,
            true => Cardinality::Repeated,
            false => Cardinality::Singular,
        };
        // The entries of maps, and messages in them, are never groups.
        let delimited = field.features.or(inherited).delimited == Some(true);
        let is_message = matches!(kind, Kind::Message(_));
        let delimited = is_message && (group || (delimited && !entry && !in_entry));
        let mut key = Vec::with_capacity(field.name.len() + 3);
        json::string(&field.name, &mut key);
        key.push(b':');
        Ok(Field {
            name: field.name.clone(),
            number: field.number,
            key: key.into(),
            kind,
            shape,
            oneof: field.oneof,
            delimited,
        })
    }

    /// A type's name as it is seen from `scope`, the innermost first.
    fn resolve(&self, mut scope: &str, name: &str) -> Kind {
        if let Some(full) = name.strip_prefix('.') {
            return self.named(full).unwrap_or_else(|| Kind::Missing(full.into()));
        }
        loop {
            if let Some(kind) = self.named(&decl::qualified(scope, name)) {
                return kind;
            }
            if scope.is_empty() {
                return Kind::Missing(name.into());
            }
            scope = scope.rfind('.').and_then(|dot| scope.get(..dot)).unwrap_or_default();
        }
    }

    fn named(&self, name: &str) -> Option<Kind> {
        self.names.get(name).cloned()
    }

    /// Adds a file's extensions to what they extend. Those of what is not defined, such as options,
    /// are of no use.
    fn extend(&mut self, file: File) {
        for extension in &file.extensions {
            let Kind::Message(place) = self.resolve(&extension.scope, &extension.extendee) else {
                continue;
            };
            let inherited = self.features(&file, extension.parent);
            let Ok(mut field) = self.field(&extension.field, &extension.scope, inherited, false)
            else {
                continue;
            };
            field.name = format!("[{}]", decl::qualified(&extension.scope, &extension.field.name));
            let mut key = Vec::with_capacity(field.name.len() + 3);
            json::string(&field.name, &mut key);
            key.push(b':');
            field.key = key.into();
            field.oneof = None;
            if let Some(message) = self.messages.get_mut(place).filter(|m| m.known.is_none()) {
                message.fields.push(field);
            }
        }
    }

    /// Checks and orders fields, now that all are there.
    fn finish(&mut self) -> Result<(), String> {
        let mut unfit = Vec::new();
        for (place, message) in self.messages.iter_mut().enumerate() {
            let own = message.fields.len();
            let implicit: HashSet<u32> = message
                .implicit
                .iter()
                .filter_map(|index| message.fields.get(*index as usize).map(|f| f.number))
                .collect();
            message.fields.sort_by_key(|field| field.number);
            let mut pairs = message.fields.iter().zip(message.fields.iter().skip(1));
            if let Some((field, _)) = pairs.find(|(a, b)| a.number == b.number) {
                let (number, name) = (field.number, &message.name);
                return Err(format!("field number {number} of \"{name}\" is used twice"));
            }
            let mut names = HashSet::with_capacity(own);
            if let Some(field) = message.fields.iter().find(|f| !names.insert(f.name.as_str())) {
                let (field, name) = (&field.name, &message.name);
                return Err(format!("field \"{field}\" of \"{name}\" is defined twice"));
            }
            let numbered = message.fields.iter().enumerate();
            message.implicit = numbered
                .filter(|(_, field)| implicit.contains(&field.number))
                .map(|(index, _)| index as u32)
                .collect();
            if message.map_entry && !is_map_entry(&message.fields) {
                unfit.push(place);
            }
        }
        if let Some(message) = unfit.first().and_then(|place| self.messages.get(*place)) {
            return Err(format!("\"{}\" is no entry of a map", message.name));
        }
        Ok(())
    }

    pub fn message(&self, place: usize) -> Option<&Message> {
        self.messages.get(place)
    }

    pub fn enumeration(&self, place: usize) -> Option<&Enum> {
        self.enums.get(place)
    }

    /// A message by its full name.
    pub fn find(&self, name: &str) -> Option<usize> {
        match self.names.get(name.strip_prefix('.').unwrap_or(name))? {
            Kind::Message(place) => Some(*place),
            _ => None,
        }
    }

    /// The message that a Confluent message's indexes lead to.
    pub fn indexed(&self, path: impl IntoIterator<Item = usize>) -> Option<usize> {
        let mut path = path.into_iter();
        let mut place = *self.top.get(path.next()?)?;
        for index in path {
            place = *self.nested.get(&place)?.get(index)?;
        }
        Some(place)
    }

    /// The messages of the main file that are in no other.
    pub fn top(&self) -> &[usize] {
        &self.top
    }

    /// The names of the messages that can be asked for.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let own = self.messages.iter().filter(|m| !m.map_entry && !known::is_built_in(&m.name));
        own.map(|message| message.name.as_str())
    }

    /// What is missing to decode a message: the reason.
    ///
    /// # Errors
    /// A type that the message needs is not defined.
    pub fn check(&self, root: usize) -> Result<(), String> {
        let mut seen = HashSet::from([root]);
        let mut todo = vec![root];
        while let Some(message) = todo.pop().and_then(|place| self.messages.get(place)) {
            for field in &message.fields {
                match &field.kind {
                    Kind::Message(place) if seen.insert(*place) => todo.push(*place),
                    Kind::Missing(name) => {
                        let mut reason = format!(
                            "type \"{name}\" of field \"{}\" of \"{}\" is not defined",
                            field.name, message.name
                        );
                        for (i, import) in self.missing.iter().take(5).enumerate() {
                            let before = if i == 0 { "; not found: import " } else { ", " };
                            reason.push_str(&format!("{before}\"{import}\""));
                        }
                        return Err(reason);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Whether imported files are missing.
    pub fn is_incomplete(&self) -> bool {
        !self.missing.is_empty()
    }
}

/// Whether these are the fields of a map's entry: `key` and `value`.
fn is_map_entry(fields: &[Field]) -> bool {
    let [key, value] = fields else { return false };
    let key_fits = match key.kind {
        Kind::Scalar(scalar) => !matches!(scalar, Scalar::Double | Scalar::Float | Scalar::Bytes),
        _ => false,
    };
    let singular = key.shape == Cardinality::Singular && value.shape == Cardinality::Singular;
    key.number == 1 && value.number == 2 && key_fits && singular && !value.delimited
}
