//! Reads the text of a `.proto` file (proto2, proto3 and editions, by the published grammar) into
//! declarations. More lenient than protoc: it reads schemas that protoc has accepted before, and so
//! checks only what decoding depends on.

use super::decl::{
    Budget, Enum, Extension, Features, Field, File, MAX_NESTING, Message, Scalar, Type, qualified,
};
use super::lexer::{Lexer, Token};

/// The declarations of `text`; errors name the line.
pub(super) fn parse(name: &str, text: &str, budget: &mut Budget) -> Result<File, String> {
    let mut lexer = Lexer::new(text);
    let next = lexer.next().map_err(|reason| format!("line {}: {reason}", lexer.line()))?;
    let mut parser = Parser { lexer, next, budget, file: File::new(name) };
    match parser.file() {
        Ok(()) => Ok(parser.file),
        Err(reason) => Err(format!("line {}: {reason}", parser.lexer.line())),
    }
}

struct Parser<'a, 'b> {
    lexer: Lexer<'a>,
    /// The word that is looked at.
    next: Token<'a>,
    budget: &'b mut Budget,
    file: File,
}

/// What a declaration is in: the message, the full name, how deep.
#[derive(Clone, Copy)]
struct Scope<'s> {
    message: Option<usize>,
    name: &'s str,
    depth: usize,
}

/// Where fields are declared.
enum Target {
    Message(usize),
    /// Extensions of this message.
    Extend(String),
}

impl<'a> Parser<'a, '_> {
    fn bump(&mut self) -> Result<Token<'a>, String> {
        let token = self.next;
        self.next = self.lexer.next()?;
        Ok(token)
    }

    fn unexpected<T>(&self, wanted: &str) -> Result<T, String> {
        let found = match self.next {
            Token::Ident(text) | Token::Number(text) => format!("\"{}\"", clipped(text)),
            Token::Str(text) => format!("the string \"{}\"", clipped(text)),
            Token::Punct(punct) => format!("\"{}\"", char::from(punct)),
            Token::End => "the end".to_owned(),
        };
        Err(format!("expected {wanted}, found {found}"))
    }

    fn is(&self, punct: u8) -> bool {
        self.next == Token::Punct(punct)
    }

    /// Takes `punct` if it is next.
    fn takes(&mut self, punct: u8) -> Result<bool, String> {
        let is = self.is(punct);
        if is {
            self.bump()?;
        }
        Ok(is)
    }

    fn expect(&mut self, punct: u8) -> Result<(), String> {
        match self.takes(punct)? {
            true => Ok(()),
            false => self.unexpected(&format!("\"{}\"", char::from(punct))),
        }
    }

    fn ident(&mut self) -> Result<&'a str, String> {
        let Token::Ident(name) = self.next else { return self.unexpected("a name") };
        self.bump()?;
        Ok(name)
    }

    /// A name with dots.
    fn path(&mut self) -> Result<String, String> {
        let mut path = String::new();
        if self.takes(b'.')? {
            path.push('.');
        }
        path.push_str(self.ident()?);
        self.rest_of_path(&mut path)?;
        Ok(path)
    }

    fn rest_of_path(&mut self, path: &mut String) -> Result<(), String> {
        while self.takes(b'.')? {
            path.push('.');
            path.push_str(self.ident()?);
        }
        Ok(())
    }

    /// One string, or several that make one.
    fn string(&mut self) -> Result<String, String> {
        let Token::Str(_) = self.next else { return self.unexpected("a string") };
        let mut string = String::new();
        while let Token::Str(part) = self.next {
            string.push_str(part);
            self.bump()?;
        }
        Ok(string)
    }

    fn int(&mut self) -> Result<i64, String> {
        let negative = self.takes(b'-')?;
        let Token::Number(text) = self.next else { return self.unexpected("a number") };
        let value = match (text.strip_prefix("0x").or(text.strip_prefix("0X")), text) {
            (Some(hex), _) => i64::from_str_radix(hex, 16),
            (None, "0") => Ok(0),
            (None, text) if text.starts_with('0') => i64::from_str_radix(text, 8),
            (None, text) => text.parse(),
        };
        let Ok(value) = value else { return self.unexpected("a number") };
        self.bump()?;
        Ok(if negative { -value } else { value })
    }

    fn file(&mut self) -> Result<(), String> {
        while self.next != Token::End {
            if self.takes(b';')? {
                continue;
            }
            match self.ident()? {
                "syntax" => {
                    self.expect(b'=')?;
                    let syntax = self.string()?;
                    self.file.features = match syntax.as_str() {
                        "proto2" => Features::PROTO2,
                        "proto3" => Features::PROTO3,
                        _ => return Err(format!("unknown syntax \"{}\"", clipped(&syntax))),
                    };
                    self.expect(b';')?;
                }
                "edition" => {
                    self.expect(b'=')?;
                    self.string()?;
                    self.file.features = Features::EDITIONS;
                    self.expect(b';')?;
                }
                "package" => {
                    let package = self.path()?;
                    self.budget.take(&package)?;
                    self.file.package = package;
                    self.expect(b';')?;
                }
                "import" => {
                    if let Token::Ident("public" | "weak" | "option") = self.next {
                        self.bump()?;
                    }
                    let import = self.string()?;
                    self.budget.take(&import)?;
                    self.file.imports.push(import);
                    self.expect(b';')?;
                }
                "option" => self.file.features = self.option()?.or(self.file.features),
                // Who may import it: edition 2024.
                "export" | "local" => {}
                keyword => {
                    let package = self.file.package.clone();
                    let scope = Scope { message: None, name: &package, depth: 0 };
                    if !self.declaration(keyword, scope)? {
                        let clipped = clipped(keyword);
                        return Err(format!("expected a declaration, found \"{clipped}\""));
                    }
                }
            }
        }
        Ok(())
    }

    /// What may stand in a file as well as in a message; false when `keyword` begins none of it.
    fn declaration(&mut self, keyword: &str, scope: Scope<'_>) -> Result<bool, String> {
        match keyword {
            "message" => {
                let name = self.ident()?;
                self.message(name, scope)?;
            }
            "enum" => self.enumeration(scope)?,
            "extend" => {
                let extendee = self.path()?;
                self.expect(b'{')?;
                self.fields(scope, &Target::Extend(extendee), None)?;
            }
            "service" if scope.message.is_none() => {
                self.ident()?;
                self.skip_block()?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A message's body, behind its name.
    fn message(&mut self, name: &str, scope: Scope<'_>) -> Result<(), String> {
        if scope.depth == MAX_NESTING {
            return Err("messages are nested too deep".to_owned());
        }
        let name = qualified(scope.name, name);
        self.budget.take(&name)?;
        let index = self.file.messages.len();
        self.file.messages.push(Message {
            name: name.clone(),
            parent: scope.message,
            map_entry: false,
            features: Features::default(),
            fields: Vec::new(),
        });
        let scope = Scope { message: Some(index), name: &name, depth: scope.depth + 1 };
        self.expect(b'{')?;
        let mut oneofs = 0;
        while !self.takes(b'}')? {
            if self.takes(b';')? {
                continue;
            }
            let Token::Ident(keyword) = self.next else {
                self.field(scope, &Target::Message(index), None)?;
                continue;
            };
            match keyword {
                "option" => {
                    self.bump()?;
                    let features = self.option()?;
                    if let Some(message) = self.file.messages.get_mut(index) {
                        message.features = features.or(message.features);
                    }
                }
                "oneof" => {
                    self.bump()?;
                    self.ident()?;
                    self.expect(b'{')?;
                    self.fields(scope, &Target::Message(index), Some(oneofs))?;
                    oneofs += 1;
                }
                "extensions" | "reserved" => self.skip_statement()?,
                "message" | "enum" | "extend" => {
                    self.bump()?;
                    self.declaration(keyword, scope)?;
                }
                _ => self.field(scope, &Target::Message(index), None)?,
            }
        }
        Ok(())
    }

    /// The fields of a oneof or an `extend`, up to its closing brace.
    fn fields(&mut self, scope: Scope<'_>, to: &Target, oneof: Option<u32>) -> Result<(), String> {
        while !self.takes(b'}')? {
            if self.next == Token::Ident("option") {
                self.bump()?;
                self.option()?;
            } else if !self.takes(b';')? {
                self.field(scope, to, oneof)?;
            }
        }
        Ok(())
    }

    fn field(&mut self, scope: Scope<'_>, to: &Target, oneof: Option<u32>) -> Result<(), String> {
        // Not as part of a path: a type that begins with a dot may follow.
        let label = match self.next {
            Token::Ident(label @ ("repeated" | "optional" | "required")) => label,
            _ => "",
        };
        if !label.is_empty() {
            self.bump()?;
        }
        let (repeated, optional) = (label == "repeated", label == "optional");
        let kind = self.path()?;
        // `export message` and `local enum` in a message (edition 2024).
        if let ("export" | "local", Token::Ident(keyword @ ("message" | "enum"))) =
            (kind.as_str(), self.next)
        {
            self.bump()?;
            return self.declaration(keyword, scope).map(drop);
        }
        if kind == "group" {
            return self.group(scope, to, repeated, oneof);
        }
        if kind == "map" && self.takes(b'<')? {
            return self.map(scope, to);
        }
        let name = self.ident()?.to_owned();
        let (number, features) = self.number_and_options()?;
        self.expect(b';')?;
        let kind = match Scalar::by_name(&kind) {
            Some(scalar) => Type::Scalar(scalar),
            None => Type::Named(kind),
        };
        self.add(scope, to, Field { name, number, repeated, optional, oneof, features, kind })
    }

    fn group(
        &mut self,
        scope: Scope<'_>,
        to: &Target,
        repeated: bool,
        oneof: Option<u32>,
    ) -> Result<(), String> {
        let name = self.ident()?;
        let (number, features) = self.number_and_options()?;
        self.message(name, scope)?;
        let kind = Type::Group(format!(".{}", qualified(scope.name, name)));
        let name = name.to_ascii_lowercase();
        let field = Field { name, number, repeated, optional: false, oneof, features, kind };
        self.add(scope, to, field)
    }

    /// A map, behind its `<`: a repeated message with a key and a value.
    fn map(&mut self, scope: Scope<'_>, to: &Target) -> Result<(), String> {
        let key = self.path()?;
        self.expect(b',')?;
        let value = self.path()?;
        self.expect(b'>')?;
        let name = self.ident()?.to_owned();
        let (number, features) = self.number_and_options()?;
        self.expect(b';')?;
        let entry = qualified(scope.name, &entry_name(&name));
        self.budget.take(&entry)?;
        let part = |name: &str, number, kind: String| Field {
            name: name.to_owned(),
            number,
            repeated: false,
            optional: false,
            oneof: None,
            features: Features::default(),
            kind: Scalar::by_name(&kind).map_or(Type::Named(kind), Type::Scalar),
        };
        let kind = Type::Named(format!(".{entry}"));
        self.file.messages.push(Message {
            name: entry,
            parent: scope.message,
            map_entry: true,
            features: Features::default(),
            fields: vec![part("key", 1, key), part("value", 2, value)],
        });
        let field =
            Field { name, number, repeated: true, optional: false, oneof: None, features, kind };
        self.add(scope, to, field)
    }

    fn number_and_options(&mut self) -> Result<(u32, Features), String> {
        self.expect(b'=')?;
        let number = self.int()?;
        let number = u32::try_from(number).map_err(|_| format!("{number} is no field number"))?;
        Ok((number, self.option_list()?))
    }

    fn add(&mut self, scope: Scope<'_>, to: &Target, field: Field) -> Result<(), String> {
        self.budget.take(&field.name)?;
        match to {
            Target::Message(index) => {
                if let Some(message) = self.file.messages.get_mut(*index) {
                    message.fields.push(field);
                }
            }
            Target::Extend(extendee) => {
                self.budget.take(scope.name)?;
                self.budget.take(extendee)?;
                self.file.extensions.push(Extension {
                    scope: scope.name.to_owned(),
                    parent: scope.message,
                    extendee: extendee.clone(),
                    field,
                });
            }
        }
        Ok(())
    }

    fn enumeration(&mut self, scope: Scope<'_>) -> Result<(), String> {
        let name = qualified(scope.name, self.ident()?);
        self.budget.take(&name)?;
        let mut features = Features::default();
        let mut values = Vec::new();
        self.expect(b'{')?;
        while !self.takes(b'}')? {
            if self.takes(b';')? {
                continue;
            }
            match self.ident()? {
                "option" if !self.is(b'=') => features = self.option()?.or(features),
                "reserved" if !self.is(b'=') => self.skip_statement()?,
                value => {
                    self.expect(b'=')?;
                    let number = self.int()?;
                    let number =
                        i32::try_from(number).map_err(|_| format!("{number} is no enum value"))?;
                    self.option_list()?;
                    self.expect(b';')?;
                    self.budget.take(value)?;
                    values.push((number, value.to_owned()));
                }
            }
        }
        self.file.enums.push(Enum { name, parent: scope.message, features, values });
        Ok(())
    }

    /// An option's name and value, with its semicolon, behind `option`.
    fn option(&mut self) -> Result<Features, String> {
        let features = self.assignment()?;
        self.expect(b';')?;
        Ok(features)
    }

    /// Options in brackets, if there are any.
    fn option_list(&mut self) -> Result<Features, String> {
        let mut features = Features::default();
        if self.takes(b'[')? {
            loop {
                features = self.assignment()?.or(features);
                if !self.takes(b',')? {
                    break;
                }
            }
            self.expect(b']')?;
        }
        Ok(features)
    }

    /// `name = value`; only features matter.
    fn assignment(&mut self) -> Result<Features, String> {
        let mut name = String::new();
        while !self.takes(b'=')? {
            match self.bump()? {
                Token::Ident(part) => name.push_str(part),
                Token::Punct(punct @ (b'.' | b'(' | b')')) => name.push(char::from(punct)),
                _ => return self.unexpected("an option"),
            }
        }
        if self.is(b'{') {
            if name == "features" {
                return Err("features have to be set one by one".to_owned());
            }
            self.skip_block()?;
            return Ok(Features::default());
        }
        let mut features = Features::default();
        if let (Some(feature), Token::Ident(value)) = (name.strip_prefix("features."), self.next) {
            match feature {
                "field_presence" => features.implicit = Some(value == "IMPLICIT"),
                "enum_type" => features.closed = Some(value == "CLOSED"),
                "message_encoding" => features.delimited = Some(value == "DELIMITED"),
                _ => {}
            }
        }
        // A sign, a number or name, strings: all before what ends it.
        while !matches!(self.next, Token::Punct(b';' | b',' | b']') | Token::End) {
            self.bump()?;
        }
        Ok(features)
    }

    /// A block in braces.
    fn skip_block(&mut self) -> Result<(), String> {
        self.expect(b'{')?;
        let mut depth = 1_usize;
        while depth > 0 {
            match self.next {
                Token::Punct(b'{') => depth += 1,
                Token::Punct(b'}') => depth -= 1,
                Token::End => return self.unexpected("\"}\""),
                _ => {}
            }
            self.bump()?;
        }
        Ok(())
    }

    /// Up to a semicolon outside of braces.
    fn skip_statement(&mut self) -> Result<(), String> {
        while !self.takes(b';')? {
            match self.next {
                Token::Punct(b'{') => self.skip_block()?,
                Token::Punct(b'}') | Token::End => return self.unexpected("\";\""),
                _ => drop(self.bump()?),
            }
        }
        Ok(())
    }
}

/// The name protoc gives to the message behind a map.
fn entry_name(field: &str) -> String {
    let mut name = String::with_capacity(field.len() + 5);
    let mut upper = true;
    for c in field.chars() {
        if c == '_' {
            upper = true;
        } else {
            name.push(if upper { c.to_ascii_uppercase() } else { c });
            upper = false;
        }
    }
    name + "Entry"
}

/// At most as much of a word as an error message should show.
fn clipped(text: &str) -> &str {
    text.char_indices().nth(40).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}
