//! Declarations of a `.proto` file, as both its text and its descriptor give them, before names are
//! resolved. What only matters to generated code or to writers (services, options, defaults) is left
//! out.

/// Messages in messages.
pub(super) const MAX_NESTING: usize = 64;
const MAX_DECLARATIONS: usize = 100_000;
const MAX_NAME: usize = 1024;
const MAX_NAMES: usize = 16 << 20;

/// Bounds what the files of one schema may declare, so that a small hostile file does not become
/// large tables.
#[derive(Debug, Default)]
pub(super) struct Budget {
    declarations: usize,
    names: usize,
}

impl Budget {
    /// Accounts for one declaration with this name.
    pub fn take(&mut self, name: &str) -> Result<(), String> {
        self.declarations += 1;
        self.names += name.len();
        if name.len() > MAX_NAME {
            return Err(format!("a name is longer than {MAX_NAME} bytes"));
        }
        if self.declarations > MAX_DECLARATIONS || self.names > MAX_NAMES {
            return Err("the schema declares too much".to_owned());
        }
        Ok(())
    }

    /// About how many bytes the tables of these declarations take.
    pub fn weight(&self) -> usize {
        self.declarations * 200 + self.names * 3
    }
}

/// Features of editions, where they are set; a declaration inherits those that it does not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Features {
    /// A singular scalar field has no presence.
    pub implicit: Option<bool>,
    /// Numbers that an enum does not name are unknown fields.
    pub closed: Option<bool>,
    /// Messages are written as groups.
    pub delimited: Option<bool>,
}

impl Features {
    pub const PROTO2: Features =
        Features { implicit: Some(false), closed: Some(true), delimited: Some(false) };
    pub const PROTO3: Features =
        Features { implicit: Some(true), closed: Some(false), delimited: Some(false) };
    /// The defaults of edition 2023 and of those after it.
    pub const EDITIONS: Features =
        Features { implicit: Some(false), closed: Some(false), delimited: Some(false) };

    pub fn or(self, outer: Features) -> Features {
        Features {
            implicit: self.implicit.or(outer.implicit),
            closed: self.closed.or(outer.closed),
            delimited: self.delimited.or(outer.delimited),
        }
    }
}

#[derive(Debug)]
pub(super) struct File {
    pub name: String,
    pub package: String,
    pub imports: Vec<String>,
    /// Those of the syntax or edition, under the file's own.
    pub features: Features,
    /// With nested ones, each behind the message that it is in.
    pub messages: Vec<Message>,
    pub enums: Vec<Enum>,
    pub extensions: Vec<Extension>,
}

impl File {
    pub fn new(name: &str) -> File {
        File {
            name: name.to_owned(),
            package: String::new(),
            imports: Vec::new(),
            features: Features::PROTO2,
            messages: Vec::new(),
            enums: Vec::new(),
            extensions: Vec::new(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Message {
    /// With the package and the messages around it.
    pub name: String,
    /// The message around it, in the file's `messages`.
    pub parent: Option<usize>,
    pub map_entry: bool,
    pub features: Features,
    pub fields: Vec<Field>,
}

#[derive(Debug)]
pub(super) struct Enum {
    pub name: String,
    pub parent: Option<usize>,
    pub features: Features,
    pub values: Vec<(i32, String)>,
}

#[derive(Debug)]
pub(super) struct Extension {
    /// The package or message around it: where names are looked for.
    pub scope: String,
    /// As `Message::parent`.
    pub parent: Option<usize>,
    pub extendee: String,
    pub field: Field,
}

#[derive(Debug)]
pub(super) struct Field {
    /// Without what is around it.
    pub name: String,
    pub number: u32,
    pub repeated: bool,
    /// proto3's `optional`.
    pub optional: bool,
    /// In the message's oneof of this number.
    pub oneof: Option<u32>,
    pub features: Features,
    pub kind: Type,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Scalar(Scalar),
    /// The name of a message or enum, with a dot in front if it is complete.
    Named(String),
    /// The same, a message written as a group.
    Group(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Double,
    Float,
    Int64,
    Uint64,
    Int32,
    Fixed64,
    Fixed32,
    Bool,
    String,
    Bytes,
    Uint32,
    Sfixed32,
    Sfixed64,
    Sint32,
    Sint64,
}

impl Scalar {
    /// By the name in a `.proto` file and the number in a descriptor.
    const ALL: [(&str, u64, Scalar); 15] = [
        ("double", 1, Scalar::Double),
        ("float", 2, Scalar::Float),
        ("int64", 3, Scalar::Int64),
        ("uint64", 4, Scalar::Uint64),
        ("int32", 5, Scalar::Int32),
        ("fixed64", 6, Scalar::Fixed64),
        ("fixed32", 7, Scalar::Fixed32),
        ("bool", 8, Scalar::Bool),
        ("string", 9, Scalar::String),
        ("bytes", 12, Scalar::Bytes),
        ("uint32", 13, Scalar::Uint32),
        ("sfixed32", 15, Scalar::Sfixed32),
        ("sfixed64", 16, Scalar::Sfixed64),
        ("sint32", 17, Scalar::Sint32),
        ("sint64", 18, Scalar::Sint64),
    ];

    pub fn by_name(name: &str) -> Option<Scalar> {
        Self::ALL.iter().find(|known| known.0 == name).map(|known| known.2)
    }

    pub fn by_number(number: u64) -> Option<Scalar> {
        Self::ALL.iter().find(|known| known.1 == number).map(|known| known.2)
    }
}

/// `name` in `scope`.
pub(super) fn qualified(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}
