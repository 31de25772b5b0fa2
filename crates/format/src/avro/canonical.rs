//! A schema's fingerprint, by which the single-object encoding names it: CRC-64-AVRO of the schema's
//! parsing canonical form (Avro specification, "Parsing Canonical Form for Schemas").

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::json;
use super::schema::{full_name, is_primitive, qualified};

/// The fingerprint of an empty text, and the polynomial.
const EMPTY: u64 = 0xc15d_213a_a4d7_a795;

/// The fingerprint of a schema that compiles.
pub(super) fn fingerprint(schema: &Value) -> u64 {
    crc64(&canonical_form(schema))
}

/// The parsing canonical form of a schema that compiles; what is none is left out.
fn canonical_form(schema: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    push_schema(&mut out, schema, "", &mut HashSet::new());
    out
}

fn push_schema(out: &mut Vec<u8>, schema: &Value, namespace: &str, names: &mut HashSet<String>) {
    match schema {
        Value::String(name) => push_reference(out, name, namespace, names),
        Value::Array(branches) => {
            out.push(b'[');
            for (index, branch) in branches.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_schema(out, branch, namespace, names);
            }
            out.push(b']');
        }
        Value::Object(object) => match object.get("type") {
            Some(Value::String(kind)) => push_object(out, object, kind, namespace, names),
            Some(inner) => push_schema(out, inner, namespace, names),
            None => {}
        },
        _ => {}
    }
}

fn push_reference(out: &mut Vec<u8>, name: &str, namespace: &str, names: &HashSet<String>) {
    let full = qualified(name, namespace);
    let as_it_is = name.contains('.') || is_primitive(name) || !names.contains(&full);
    json::push_text(out, if as_it_is { name } else { &full }.as_bytes());
}

fn push_object(
    out: &mut Vec<u8>,
    object: &Map<String, Value>,
    kind: &str,
    namespace: &str,
    names: &mut HashSet<String>,
) {
    let part = |name| object.get(name).unwrap_or(&Value::Null);
    match kind {
        "array" | "map" => {
            let inner = if kind == "array" { "items" } else { "values" };
            out.extend_from_slice(format!(r#"{{"type":"{kind}","{inner}":"#).as_bytes());
            push_schema(out, part(inner), namespace, names);
            out.push(b'}');
        }
        "record" | "error" => {
            let namespace = push_name(out, object, "record", namespace, names);
            out.extend_from_slice(br#","fields":["#);
            for (index, field) in part("fields").as_array().into_iter().flatten().enumerate() {
                out.extend_from_slice(if index > 0 { br#",{"name":"# } else { br#"{"name":"# });
                let name = field.get("name").and_then(Value::as_str).unwrap_or_default();
                json::push_text(out, name.as_bytes());
                out.extend_from_slice(br#","type":"#);
                push_schema(out, field.get("type").unwrap_or(&Value::Null), &namespace, names);
                out.push(b'}');
            }
            out.extend_from_slice(b"]}");
        }
        "enum" => {
            push_name(out, object, kind, namespace, names);
            out.extend_from_slice(br#","symbols":["#);
            for (index, symbol) in part("symbols").as_array().into_iter().flatten().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                json::push_text(out, symbol.as_str().unwrap_or_default().as_bytes());
            }
            out.extend_from_slice(b"]}");
        }
        "fixed" => {
            push_name(out, object, kind, namespace, names);
            let size = part("size").as_u64().unwrap_or_default();
            out.extend_from_slice(format!(r#","size":{size}}}"#).as_bytes());
        }
        name => push_reference(out, name, namespace, names),
    }
}

/// Appends the beginning of a named type's object; the namespace inside of it.
fn push_name(
    out: &mut Vec<u8>,
    object: &Map<String, Value>,
    kind: &str,
    namespace: &str,
    names: &mut HashSet<String>,
) -> String {
    let (full, namespace) = full_name(object, namespace).unwrap_or_default();
    out.extend_from_slice(br#"{"name":"#);
    json::push_text(out, full.as_bytes());
    out.extend_from_slice(format!(r#","type":"{kind}""#).as_bytes());
    names.insert(full);
    namespace
}

fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(EMPTY, |crc, &byte| {
        // The low byte alone goes through the polynomial's eight shifts; the others only move down.
        let low = (0..8).fold((crc ^ u64::from(byte)) & 0xff, |low, _| {
            (low >> 1) ^ (EMPTY & (low & 1).wrapping_neg())
        });
        (crc >> 8) ^ low
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_those_of_the_specification() {
        // From Avro's own test data (share/test/data/schema-tests.txt).
        for (schema, form, expected) in [
            (r#""null""#, r#""null""#, 7_195_948_357_588_979_594),
            (r#"{"type":"null"}"#, r#""null""#, 7_195_948_357_588_979_594),
            (r#""boolean""#, r#""boolean""#, -6_970_731_678_124_411_036),
            (r#""int""#, r#""int""#, 8_247_732_601_305_521_295_i64),
        ] {
            let schema = serde_json::from_str(schema).unwrap();
            assert_eq!(String::from_utf8(canonical_form(&schema)).unwrap(), form);
            assert_eq!(fingerprint(&schema) as i64, expected);
        }
    }
}
