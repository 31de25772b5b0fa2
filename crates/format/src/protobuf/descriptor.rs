//! Reads serialized descriptors, `FileDescriptorSet` and `FileDescriptorProto`, by the field numbers
//! of google/protobuf/descriptor.proto, straight into declarations.

use super::decl::{
    Budget, Enum, Extension, Features, Field, File, MAX_NESTING, Message, Scalar, Type, qualified,
};
use super::wire::{Records, Span, Value};

/// The files of a set, in its order.
pub(super) fn set(bytes: &[u8], budget: &mut Budget) -> Result<Vec<File>, String> {
    let mut files = Vec::new();
    let mut records = Records::new(bytes, Span::new(0, bytes.len()));
    while let Some(record) = records.next()? {
        if let (1, Value::Bytes(span)) = (record.number, record.value) {
            files.push(Reader { bytes, budget }.file(span)?);
        }
    }
    if files.is_empty() || files.iter().any(|file| file.name.is_empty()) {
        return Err("a file of the set has no name, or there is none".to_owned());
    }
    Ok(files)
}

/// A single file.
pub(super) fn file(bytes: &[u8], budget: &mut Budget) -> Result<File, String> {
    Reader { bytes, budget }.file(Span::new(0, bytes.len()))
}

struct Reader<'a, 'b> {
    bytes: &'a [u8],
    budget: &'b mut Budget,
}

impl Reader<'_, '_> {
    fn text(&self, span: Span) -> Result<String, String> {
        let text = std::str::from_utf8(span.of(self.bytes));
        text.map(str::to_owned).map_err(|_| "a name is not valid UTF-8".to_owned())
    }

    fn file(&mut self, span: Span) -> Result<File, String> {
        let mut file = File::new("");
        let (mut syntax, mut edition) = (String::new(), false);
        let mut own = Features::default();
        // The package first: full names need it.
        let mut records = Records::new(self.bytes, span);
        while let Some(record) = records.next()? {
            match (record.number, record.value) {
                (1, Value::Bytes(span)) => file.name = self.text(span)?,
                (2, Value::Bytes(span)) => file.package = self.text(span)?,
                (3, Value::Bytes(span)) => {
                    let import = self.text(span)?;
                    self.budget.take(&import)?;
                    file.imports.push(import);
                }
                (8, Value::Bytes(span)) => own = self.features(span, 50)?.or(own),
                (12, Value::Bytes(span)) => syntax = self.text(span)?,
                (14, Value::Varint(number)) => edition = number > 999,
                _ => {}
            }
        }
        self.budget.take(&file.name)?;
        self.budget.take(&file.package)?;
        file.features = own.or(match syntax.as_str() {
            "proto3" => Features::PROTO3,
            "editions" => Features::EDITIONS,
            _ if edition => Features::EDITIONS,
            _ => Features::PROTO2,
        });
        let package = file.package.clone();
        let mut records = Records::new(self.bytes, span);
        while let Some(record) = records.next()? {
            match (record.number, record.value) {
                (4, Value::Bytes(span)) => self.message(&mut file, None, &package, span, 0)?,
                (5, Value::Bytes(span)) => self.enumeration(&mut file, None, &package, span)?,
                (7, Value::Bytes(span)) => self.extension(&mut file, None, &package, span)?,
                _ => {}
            }
        }
        Ok(file)
    }

    fn message(
        &mut self,
        file: &mut File,
        parent: Option<usize>,
        scope: &str,
        span: Span,
        depth: usize,
    ) -> Result<(), String> {
        if depth == MAX_NESTING {
            return Err("messages are nested too deep".to_owned());
        }
        let mut message = Message {
            name: String::new(),
            parent,
            map_entry: false,
            features: Features::default(),
            fields: Vec::new(),
        };
        let mut records = Records::new(self.bytes, span);
        while let Some(record) = records.next()? {
            match (record.number, record.value) {
                (1, Value::Bytes(span)) => message.name = self.text(span)?,
                (2, Value::Bytes(span)) => message.fields.push(self.field(span)?.0),
                (7, Value::Bytes(span)) => {
                    message.features = self.features(span, 12)?.or(message.features);
                    let mut options = Records::new(self.bytes, span);
                    while let Some(option) = options.next()? {
                        if let (7, Value::Varint(value)) = (option.number, option.value) {
                            message.map_entry = value != 0;
                        }
                    }
                }
                _ => {}
            }
        }
        message.name = self.named(scope, &message.name)?;
        let scope = message.name.clone();
        let index = Some(file.messages.len());
        file.messages.push(message);
        let mut records = Records::new(self.bytes, span);
        while let Some(record) = records.next()? {
            match (record.number, record.value) {
                (3, Value::Bytes(span)) => self.message(file, index, &scope, span, depth + 1)?,
                (4, Value::Bytes(span)) => self.enumeration(file, index, &scope, span)?,
                (6, Value::Bytes(span)) => self.extension(file, index, &scope, span)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn named(&mut self, scope: &str, name: &str) -> Result<String, String> {
        if name.is_empty() {
            return Err("a declaration has no name".to_owned());
        }
        let name = qualified(scope, name);
        self.budget.take(&name)?;
        Ok(name)
    }

    fn enumeration(
        &mut self,
        file: &mut File,
        parent: Option<usize>,
        scope: &str,
        span: Span,
    ) -> Result<(), String> {
        let mut name = String::new();
        let mut features = Features::default();
        let mut values = Vec::new();
        let mut records = Records::new(self.bytes, span);
        while let Some(record) = records.next()? {
            match (record.number, record.value) {
                (1, Value::Bytes(span)) => name = self.text(span)?,
                (2, Value::Bytes(span)) => values.push(self.enum_value(span)?),
                (3, Value::Bytes(span)) => features = self.features(span, 7)?.or(features),
                _ => {}
            }
        }
        let name = self.named(scope, &name)?;
        file.enums.push(Enum { name, parent, features, values });
        Ok(())
    }

    fn enum_value(&mut self, span: Span) -> Result<(i32, String), String> {
        let (mut number, mut name) = (0, String::new());
        let mut records = Records::new(self.bytes, span);
        while let Some(record) = records.next()? {
            match (record.number, record.value) {
                (1, Value::Bytes(span)) => name = self.text(span)?,
                (2, Value::Varint(value)) => number = value as i32,
                _ => {}
            }
        }
        self.budget.take(&name)?;
        Ok((number, name))
    }

    fn extension(
        &mut self,
        file: &mut File,
        parent: Option<usize>,
        scope: &str,
        span: Span,
    ) -> Result<(), String> {
        let (field, extendee) = self.field(span)?;
        self.budget.take(scope)?;
        file.extensions.push(Extension { scope: scope.to_owned(), parent, extendee, field });
        Ok(())
    }

    /// A field, and what it extends.
    fn field(&mut self, span: Span) -> Result<(Field, String), String> {
        let (mut name, mut extendee, mut type_name) = Default::default();
        let (mut number, mut label, mut kind) = (0, 0, 0);
        let (mut oneof, mut optional, mut features) = (None, false, Features::default());
        let mut records = Records::new(self.bytes, span);
        while let Some(record) = records.next()? {
            match (record.number, record.value) {
                (1, Value::Bytes(span)) => name = self.text(span)?,
                (2, Value::Bytes(span)) => extendee = self.text(span)?,
                (3, Value::Varint(value)) => number = value as u32,
                (4, Value::Varint(value)) => label = value,
                (5, Value::Varint(value)) => kind = value,
                (6, Value::Bytes(span)) => type_name = self.text(span)?,
                (8, Value::Bytes(span)) => features = self.features(span, 21)?.or(features),
                (9, Value::Varint(value)) => oneof = Some(value as u32),
                (17, Value::Varint(value)) => optional = value != 0,
                _ => {}
            }
        }
        let named: String = type_name;
        let kind = match Scalar::by_number(kind) {
            _ if kind == 10 => Type::Group(named),
            None if named.is_empty() => return Err(format!("field \"{name}\" has no type")),
            None => Type::Named(named),
            Some(scalar) => Type::Scalar(scalar),
        };
        self.budget.take(&name)?;
        let repeated = label == 3;
        Ok((Field { name, number, repeated, optional, oneof, features, kind }, extendee))
    }

    /// The features in options, where their number is `number`.
    fn features(&self, options: Span, number: u32) -> Result<Features, String> {
        let mut features = Features::default();
        let mut options = Records::new(self.bytes, options);
        while let Some(option) = options.next()? {
            let Value::Bytes(span) = option.value else { continue };
            if option.number != number {
                continue;
            }
            let mut set = Records::new(self.bytes, span);
            while let Some(feature) = set.next()? {
                match (feature.number, feature.value) {
                    (1, Value::Varint(value)) => features.implicit = Some(value == 2),
                    (2, Value::Varint(value)) => features.closed = Some(value == 2),
                    (5, Value::Varint(value)) => features.delimited = Some(value == 2),
                    _ => {}
                }
            }
        }
        Ok(features)
    }
}
