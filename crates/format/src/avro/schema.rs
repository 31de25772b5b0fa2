//! An Avro schema, compiled once into a flat list of nodes: names are resolved to indices and field
//! names are ready as JSON, so that decoding a message looks nothing up.
//!
//! Only what a datum's writer needs: aliases, defaults and documentation change nothing in what was
//! written. As lenient as the specification's readers: names are not checked for their characters,
//! and a logical type that is unknown or does not fit is its underlying type.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::json;

/// Longest text of one schema, in bytes. JSON's depth is bounded by its parser (128 levels), and
/// with it the recursion here.
pub(super) const MAX_TEXT: usize = 1 << 20;
/// Longest text of a schema and all that it refers to.
const MAX_TEXTS: usize = 4 << 20;
/// Longest full name of a type, in bytes: a namespace is written once, but is in all names.
const MAX_NAME: usize = 1_024;
/// Longest reason why a schema cannot be used, in characters; it may quote the schema.
const MAX_REASON: usize = 500;
/// Digits behind the point that a value of PostgreSQL's numeric can have.
const MAX_SCALE: u64 = 16_383;

/// A node's index in `Schema::nodes`.
pub(super) type NodeId = u32;

/// What is read at a place of the datum, and as what it is written.
#[derive(Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    /// The symbols as JSON strings.
    Enum(Box<[Box<[u8]>]>),
    Array(NodeId),
    Map(NodeId),
    Union(Box<[NodeId]>),
    Record(Box<[Field]>),
    Date,
    Time(Unit),
    Timestamp {
        unit: Unit,
        /// An instant, not the time of some place.
        utc: bool,
    },
    /// An unscaled value, big-endian in two's complement; `size` when it is a fixed.
    Decimal {
        size: Option<usize>,
        scale: usize,
    },
    /// The 16 bytes of a UUID.
    Uuid,
    Duration,
}

/// A field of a record.
#[derive(Debug, PartialEq)]
pub(super) struct Field {
    pub name: Box<str>,
    /// What stands before its value: `{"name":` or `,"name":`.
    pub prefix: Box<[u8]>,
    pub node: NodeId,
}

/// The unit of a time or timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

/// A compiled schema.
#[derive(Debug)]
pub(super) struct Schema {
    nodes: Vec<Node>,
    /// Whether a node's value takes at least one byte; false when that is not certain.
    takes_bytes: Vec<bool>,
    pub root: NodeId,
}

impl Schema {
    /// Compiles a schema with those that it refers to, each before those that refer to it.
    ///
    /// # Errors
    /// What is wrong with the schema, as a phrase.
    pub fn compile(text: &str, references: &[(String, String)]) -> Result<Schema, String> {
        compile(text, references).map_err(|reason| reason.chars().take(MAX_REASON).collect())
    }

    /// The node with this index.
    #[inline]
    pub fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id as usize).unwrap_or(&Node::Null)
    }

    /// Whether a value of the node takes at least one byte in a datum.
    #[inline]
    pub fn takes_bytes(&self, id: NodeId) -> bool {
        self.takes_bytes.get(id as usize).copied().unwrap_or(false)
    }
}

fn compile(text: &str, references: &[(String, String)]) -> Result<Schema, String> {
    let all = references.iter().map(|(_, text)| text.len()).sum::<usize>();
    if all.saturating_add(text.len()) > MAX_TEXTS {
        return Err(format!("the schema and its references are longer than {MAX_TEXTS} bytes"));
    }
    let mut compiler = Compiler::default();
    for (name, text) in references {
        compiler.text(text).map_err(|reason| format!("reference \"{name}\": {reason}"))?;
    }
    let root = compiler.text(text)?;
    let Compiler { nodes, takes_bytes, .. } = compiler;
    Ok(Schema { nodes, takes_bytes, root })
}

/// Reads a schema's text, which has to be JSON.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    if text.len() > MAX_TEXT {
        return Err(format!("the schema is longer than {MAX_TEXT} bytes"));
    }
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        // A lone type's name without quotes is what some tools write.
        Err(_) if is_primitive(text.trim()) => Ok(Value::String(text.trim().to_owned())),
        Err(error) => Err(format!("the schema is not valid JSON: {error}")),
    }
}

/// A type's full name and the namespace that holds for names inside of it.
pub(super) fn full_name(
    object: &Map<String, Value>,
    around: &str,
) -> Result<(String, String), String> {
    let Some(name) = object.get("name").and_then(Value::as_str).filter(|name| !name.is_empty())
    else {
        return Err("a record, enum or fixed type has no name".to_owned());
    };
    let (full, namespace) = match name.rsplit_once('.') {
        Some((namespace, _)) => (name.to_owned(), namespace),
        None => {
            let own = object.get("namespace").and_then(Value::as_str);
            let namespace = own.unwrap_or(around);
            (qualified(name, namespace), namespace)
        }
    };
    if full.len() > MAX_NAME {
        return Err(format!("a type's name is longer than {MAX_NAME} bytes"));
    }
    Ok((full, namespace.to_owned()))
}

/// A simple name with its namespace.
pub(super) fn qualified(name: &str, namespace: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

/// The name of a primitive type.
pub(super) fn is_primitive(name: &str) -> bool {
    primitive(name).is_some()
}

fn primitive(name: &str) -> Option<Node> {
    Some(match name {
        "null" => Node::Null,
        "boolean" => Node::Boolean,
        "int" => Node::Int,
        "long" => Node::Long,
        "float" => Node::Float,
        "double" => Node::Double,
        "bytes" => Node::Bytes,
        "string" => Node::String,
        _ => return None,
    })
}

#[derive(Default)]
struct Compiler {
    nodes: Vec<Node>,
    takes_bytes: Vec<bool>,
    /// The named types, by their full names.
    names: HashMap<String, NodeId>,
}

impl Compiler {
    fn text(&mut self, text: &str) -> Result<NodeId, String> {
        self.schema(&parse(text)?, "")
    }

    fn push(&mut self, node: Node, takes_bytes: bool) -> NodeId {
        // A text of 4 MiB has less nodes than that.
        let id = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.nodes.push(node);
        self.takes_bytes.push(takes_bytes);
        id
    }

    /// Compiles the schema at a place where names without namespace belong to `namespace`.
    fn schema(&mut self, schema: &Value, namespace: &str) -> Result<NodeId, String> {
        match schema {
            Value::String(name) => self.reference(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.schema(branch, namespace));
                let branches = branches.collect::<Result<_, _>>()?;
                Ok(self.push(Node::Union(branches), true))
            }
            Value::Object(object) => match object.get("type") {
                Some(Value::String(name)) => self.object(object, name, namespace),
                // {"type": {"type": "string"}} is not in the specification, but in the wild.
                Some(inner @ (Value::Object(_) | Value::Array(_))) => self.schema(inner, namespace),
                _ => Err("an object in the schema has no \"type\"".to_owned()),
            },
            other => Err(format!("\"{other}\" is not a type")),
        }
    }

    fn reference(&mut self, name: &str, namespace: &str) -> Result<NodeId, String> {
        if let Some(node) = primitive(name) {
            let takes_bytes = node != Node::Null;
            return Ok(self.push(node, takes_bytes));
        }
        let full = if name.contains('.') { name.to_owned() } else { qualified(name, namespace) };
        let found = self.names.get(&full).or_else(|| self.names.get(name));
        found.copied().ok_or_else(|| format!("type \"{full}\" is not defined"))
    }

    fn object(
        &mut self,
        object: &Map<String, Value>,
        kind: &str,
        namespace: &str,
    ) -> Result<NodeId, String> {
        match kind {
            "record" | "error" => self.record(object, namespace),
            "enum" => {
                let symbols = object.get("symbols").and_then(Value::as_array);
                let symbols = symbols.ok_or("an enum has no \"symbols\"")?.iter().map(|symbol| {
                    let symbol = symbol.as_str().ok_or("an enum's symbol is not a string")?;
                    Ok(json::text_of(symbol).into_boxed_slice())
                });
                let symbols = symbols.collect::<Result<_, &str>>()?;
                let id = self.push(Node::Enum(symbols), true);
                self.name(object, namespace, id)?;
                Ok(id)
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64);
                let size = size.and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or("a fixed type has no \"size\"")?;
                let id = self.push(fixed(size, object), size > 0);
                self.name(object, namespace, id)?;
                Ok(id)
            }
            "array" => {
                let items = object.get("items").ok_or("an array has no \"items\"")?;
                let items = self.schema(items, namespace)?;
                Ok(self.push(Node::Array(items), true))
            }
            "map" => {
                let values = object.get("values").ok_or("a map has no \"values\"")?;
                let values = self.schema(values, namespace)?;
                Ok(self.push(Node::Map(values), true))
            }
            _ => match primitive(kind) {
                Some(node) => {
                    let takes_bytes = node != Node::Null;
                    Ok(self.push(logical(node, object), takes_bytes))
                }
                None => self.reference(kind, namespace),
            },
        }
    }

    fn record(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<NodeId, String> {
        // In the list before its fields: they may refer to it.
        let id = self.push(Node::Record(Box::new([])), false);
        let (full, namespace) = self.name(object, namespace, id)?;
        let wrong = |what: &str| format!("record \"{full}\" {what}");
        let list = object.get("fields").and_then(Value::as_array);
        let mut fields = Vec::new();
        let mut seen = HashSet::new();
        let mut takes_bytes = false;
        for field in list.ok_or_else(|| wrong("has no \"fields\""))? {
            let name = field.get("name").and_then(Value::as_str);
            let name = name.ok_or_else(|| wrong("has a field without name"))?;
            if !seen.insert(name) {
                return Err(wrong(&format!("has two fields \"{name}\"")));
            }
            let kind = field.get("type");
            let kind =
                kind.ok_or_else(|| wrong(&format!("has a field \"{name}\" without type")))?;
            let node = self.schema(kind, &namespace)?;
            takes_bytes |= self.takes_bytes.get(node as usize).copied().unwrap_or(false);
            let mut prefix = vec![if fields.is_empty() { b'{' } else { b',' }];
            json::push_text(&mut prefix, name.as_bytes());
            prefix.push(b':');
            fields.push(Field { name: name.into(), prefix: prefix.into(), node });
        }
        if let Some(node) = self.nodes.get_mut(id as usize) {
            *node = Node::Record(fields.into());
        }
        if let Some(takes) = self.takes_bytes.get_mut(id as usize) {
            *takes = takes_bytes;
        }
        Ok(id)
    }

    /// Makes a named type known; its full name, and the namespace inside of it.
    fn name(
        &mut self,
        object: &Map<String, Value>,
        around: &str,
        id: NodeId,
    ) -> Result<(String, String), String> {
        let (full, namespace) = full_name(object, around)?;
        if self.names.insert(full.clone(), id).is_some() {
            return Err(format!("type \"{full}\" is defined twice"));
        }
        Ok((full, namespace))
    }
}

fn logical_type(object: &Map<String, Value>) -> &str {
    object.get("logicalType").and_then(Value::as_str).unwrap_or_default()
}

/// A primitive type with its logical type.
fn logical(node: Node, object: &Map<String, Value>) -> Node {
    let timestamp = |unit, utc| Node::Timestamp { unit, utc };
    match (&node, logical_type(object)) {
        (Node::Int, "date") => Node::Date,
        (Node::Int, "time-millis") => Node::Time(Unit::Millis),
        (Node::Long, "time-micros") => Node::Time(Unit::Micros),
        (Node::Long, "timestamp-millis") => timestamp(Unit::Millis, true),
        (Node::Long, "timestamp-micros") => timestamp(Unit::Micros, true),
        (Node::Long, "timestamp-nanos") => timestamp(Unit::Nanos, true),
        (Node::Long, "local-timestamp-millis") => timestamp(Unit::Millis, false),
        (Node::Long, "local-timestamp-micros") => timestamp(Unit::Micros, false),
        (Node::Long, "local-timestamp-nanos") => timestamp(Unit::Nanos, false),
        (Node::Bytes, "decimal") => decimal(None, object).unwrap_or(node),
        _ => node,
    }
}

/// A fixed type with its logical type.
fn fixed(size: usize, object: &Map<String, Value>) -> Node {
    let logical = match (logical_type(object), size) {
        ("decimal", _) => decimal(Some(size), object),
        ("duration", 12) => Some(Node::Duration),
        ("uuid", 16) => Some(Node::Uuid),
        _ => None,
    };
    logical.unwrap_or(Node::Fixed(size))
}

/// A decimal, if its precision and scale are valid.
fn decimal(size: Option<usize>, object: &Map<String, Value>) -> Option<Node> {
    let precision = object.get("precision").and_then(Value::as_u64)?;
    let scale = object.get("scale").map_or(Some(0), Value::as_u64)?;
    // The digits that surely fit into the bytes: log10(2 ** (8 * size - 1)), rounded down.
    let fits = size.map_or(u64::MAX, |size| {
        let bits = (size as u64).saturating_mul(8).saturating_sub(1);
        (bits as f64 * std::f64::consts::LOG10_2) as u64
    });
    let valid = precision > 0 && precision <= fits && scale <= precision.min(MAX_SCALE);
    let scale = usize::try_from(scale).ok().filter(|_| valid)?;
    Some(Node::Decimal { size, scale })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(text: &str) -> Result<Schema, String> {
        Schema::compile(text, &[])
    }

    fn root(text: &str) -> Node {
        let mut schema = compile(text).unwrap();
        schema.nodes.swap_remove(schema.root as usize)
    }

    #[test]
    fn a_logical_type_that_does_not_fit_is_its_underlying_type() {
        assert_eq!(root(r#"{"type":"int","logicalType":"date"}"#), Node::Date);
        assert_eq!(root(r#"{"type":"long","logicalType":"date"}"#), Node::Long);
        assert_eq!(root(r#"{"type":"bytes","logicalType":"decimal"}"#), Node::Bytes);
        let decimal = |size: usize, precision: u32, scale: u32| {
            root(&format!(
                r#"{{"type":"fixed","name":"f","size":{size},"logicalType":"decimal",
                    "precision":{precision},"scale":{scale}}}"#
            ))
        };
        assert_eq!(decimal(4, 9, 2), Node::Decimal { size: Some(4), scale: 2 });
        assert_eq!(decimal(4, 10, 2), Node::Fixed(4));
        assert_eq!(decimal(4, 2, 3), Node::Fixed(4));
        assert_eq!(decimal(16, 38, 38), Node::Decimal { size: Some(16), scale: 38 });
        assert_eq!(decimal(16, 39, 0), Node::Fixed(16));
        assert_eq!(decimal(0, 1, 0), Node::Fixed(0));
    }

    #[test]
    fn names_are_looked_up_in_their_namespace() {
        let text = r#"{"type":"record","name":"a.b.R","fields":[
            {"name":"f","type":{"type":"fixed","name":"F","size":2}},
            {"name":"g","type":"F"}, {"name":"h","type":"a.b.F"},
            {"name":"i","type":{"type":"record","name":"S","namespace":"c","fields":[
                {"name":"r","type":["null","a.b.R"]}, {"name":"s","type":["null","S"]}]}}]}"#;
        compile(text).unwrap();
        let wrong = r#"{"type":"record","name":"a.R","fields":[
            {"name":"f","type":{"type":"record","name":"S","namespace":"c","fields":[
                {"name":"r","type":["null","R"]}]}}]}"#;
        assert_eq!(compile(wrong).unwrap_err(), "type \"c.R\" is not defined");
    }

    #[test]
    fn references_are_known_by_their_full_names() {
        let reference = r#"{"type":"record","name":"A","namespace":"x","fields":[]}"#;
        let references = [("x.A".to_owned(), reference.to_owned())];
        let main = r#"{"type":"record","name":"B","namespace":"x","fields":[
            {"name":"a","type":"A"},{"name":"b","type":"x.A"}]}"#;
        Schema::compile(main, &references).unwrap();
        assert_eq!(compile(main).unwrap_err(), "type \"x.A\" is not defined");
    }

    #[test]
    fn a_schema_that_is_none_is_told_so() {
        for (text, reason) in [
            ("{", "the schema is not valid JSON: EOF while parsing an object at line 1 column 1"),
            ("7", "\"7\" is not a type"),
            ("{}", "an object in the schema has no \"type\""),
            (r#""x""#, "type \"x\" is not defined"),
            (r#"{"type":"record","fields":[]}"#, "a record, enum or fixed type has no name"),
            (r#"{"type":"record","name":"r"}"#, "record \"r\" has no \"fields\""),
            (
                r#"{"type":"record","name":"r","fields":[{"name":"f","type":"int"},
                    {"name":"f","type":"int"}]}"#,
                "record \"r\" has two fields \"f\"",
            ),
            (
                r#"[{"type":"fixed","name":"f","size":1},{"type":"fixed","name":"f","size":1}]"#,
                "type \"f\" is defined twice",
            ),
            (r#"{"type":"fixed","name":"f","size":-1}"#, "a fixed type has no \"size\""),
            (r#"{"type":"array"}"#, "an array has no \"items\""),
            (r#"{"type":"map"}"#, "a map has no \"values\""),
            (r#"{"type":"enum","name":"e"}"#, "an enum has no \"symbols\""),
        ] {
            assert_eq!(compile(text).unwrap_err(), reason, "{text}");
        }
    }

    #[test]
    fn deep_and_large_schemas_are_refused() {
        let deep = format!("{}\"int\"{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(compile(&deep).unwrap_err().contains("recursion limit exceeded"));
        let large = format!("\"{}\"", "x".repeat(MAX_TEXT));
        assert_eq!(compile(&large).unwrap_err(), "the schema is longer than 1048576 bytes");
        // A long namespace would be in thousands of names.
        let fixed =
            |n| format!(r#"{{"name":"f{n}","type":{{"type":"fixed","name":"F{n}","size":1}}}}"#);
        let text = format!(
            r#"{{"type":"record","name":"r","namespace":"{}","fields":[{}]}}"#,
            "n".repeat(500_000),
            (0..8_000).map(fixed).collect::<Vec<_>>().join(",")
        );
        assert_eq!(compile(&text).unwrap_err(), "a type's name is longer than 1024 bytes");
        let unknown = format!("\"{}\"", "x".repeat(10_000));
        assert_eq!(compile(&unknown).unwrap_err().len(), MAX_REASON);
    }

    #[test]
    fn what_takes_no_bytes_is_known() {
        let takes = |text: &str| {
            let schema = compile(text).unwrap();
            schema.takes_bytes(schema.root)
        };
        assert!(!takes("\"null\""));
        assert!(!takes(r#"{"type":"fixed","name":"f","size":0}"#));
        assert!(!takes(r#"{"type":"record","name":"r","fields":[{"name":"n","type":"null"}]}"#));
        assert!(takes(r#"["null"]"#));
        assert!(takes(r#"{"type":"array","items":"null"}"#));
        assert!(takes(r#"{"type":"record","name":"r","fields":[{"name":"n","type":"int"}]}"#));
    }
}
