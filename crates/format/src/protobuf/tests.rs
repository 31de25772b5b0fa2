//! Against protobuf's own Python library (tests/corpus/protobuf/generate.py), and against hostile
//! messages and schemas.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::schemas::Registered;
use gpss_model::format::Format;

const VECTORS: &str = include_str!("../../../../tests/corpus/protobuf/vectors.jsonl");
const DESCRIPTORS: &str = include_str!("../../../../tests/corpus/protobuf/descriptors.jsonl");
const INDEXES: &str = include_str!("../../../../tests/corpus/protobuf/indexes.proto");
const DEP: &str = include_str!("../../../../tests/corpus/protobuf/dep.proto");
const TEXTS: [(&str, &str); 4] = [
    ("proto3", include_str!("../../../../tests/corpus/protobuf/proto3.proto")),
    ("proto2", include_str!("../../../../tests/corpus/protobuf/proto2.proto")),
    ("editions", include_str!("../../../../tests/corpus/protobuf/editions.proto")),
    ("delimited", include_str!("../../../../tests/corpus/protobuf/delimited.proto")),
];

fn lines(text: &str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().map(|d| (d as char).to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn descriptor(set: &str) -> &'static str {
    static SETS: Mutex<Vec<(String, &'static str)>> = Mutex::new(Vec::new());
    let mut sets = SETS.lock().unwrap();
    if sets.is_empty() {
        for line in lines(DESCRIPTORS) {
            let text = line["base64"].as_str().unwrap().to_owned().leak();
            sets.push((line["set"].as_str().unwrap().to_owned(), text));
        }
    }
    sets.iter().find(|known| known.0 == set).unwrap().1
}

fn content(message: Option<&str>) -> FormatSpec {
    FormatSpec::with_options(Format::Protobuf, message.map(|name| ("message", name))).unwrap()
}

fn local(schema: &str, message: Option<&str>, raw: &[&str]) -> Result<ProtobufDecoder> {
    with_content(schema, &content(message), raw)
}

/// One that takes messages of other types too, as protobuf does.
fn filling(schema: &str, message: &str, raw: &[&str]) -> ProtobufDecoder {
    let options = [("message", message), ("fill_missing_fields", "true")];
    let content = FormatSpec::with_options(Format::Protobuf, options).unwrap();
    with_content(schema, &content, raw).unwrap()
}

fn with_content(schema: &str, content: &FormatSpec, raw: &[&str]) -> Result<ProtobufDecoder> {
    let raw: Vec<String> = raw.iter().map(|name| (*name).to_owned()).collect();
    let source = SchemaSource::Text(schema.to_owned());
    ProtobufDecoder::new(content, Some(source), None, &raw)
}

fn error(schema: &str, message: Option<&str>) -> Error {
    local(schema, message, &[]).err().unwrap()
}

type Decoded = std::result::Result<(String, Vec<Option<Vec<u8>>>), Fault>;

fn decode(decoder: &mut ProtobufDecoder, payload: &[u8]) -> Decoded {
    let mut found = None;
    decoder.decode(payload, &mut |record| {
        let document = std::str::from_utf8(record.document.unwrap()).unwrap().to_owned();
        let fields = record.fields.iter().map(|field| field.map(<[u8]>::to_vec)).collect();
        assert!(found.replace((document, fields)).is_none());
        Ok(())
    })?;
    Ok(found.unwrap())
}

fn document(decoder: &mut ProtobufDecoder, payload: &[u8]) -> String {
    decode(decoder, payload).unwrap().0
}

fn reason(decoder: &mut ProtobufDecoder, payload: &[u8]) -> String {
    match decode(decoder, payload) {
        Err(Fault::Bad(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

/// Equal, numbers by their value.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            // Python writes more digits of the least floats than it takes to tell them apart.
            let [x, y] = [a, b].map(|number| number.as_f64().unwrap());
            let least = x.abs() < 1e-37 && x as f32 == y as f32;
            a == b || ((a.is_f64() || b.is_f64()) && (x == y || least))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

fn check(decoder: &mut ProtobufDecoder, payload: &[u8], vector: &Value) {
    match decode(decoder, payload) {
        Ok((document, fields)) => {
            assert!(vector.get("bad").is_none(), "{vector} gives {document}");
            let got: Value = serde_json::from_str(&document).unwrap();
            assert!(same(&got, &vector["json"]), "got {got}\nwant {}\nof {vector}", vector["json"]);
            let raw = vector["raw"].as_object().into_iter().flatten();
            let want: Vec<_> = raw.map(|(_, hex)| hex.as_str().map(bytes_of)).collect();
            assert_eq!(fields, want, "{vector}");
        }
        Err(fault) => assert!(vector.get("bad").is_some(), "{fault:?} of {vector}"),
    }
}

#[test]
fn gives_what_protobuf_gives() {
    let mut decoders = HashMap::new();
    let mut count = 0;
    for vector in lines(VECTORS) {
        let Some(set) = vector["set"].as_str() else { continue };
        let payload = bytes_of(vector["hex"].as_str().unwrap());
        let raw = vector["raw"].as_object().into_iter().flatten();
        let raw: Vec<_> = raw.map(|(name, _)| name.as_str()).collect();
        let message = vector["message"].as_str();
        let text = TEXTS.iter().find(|known| known.0 == set).map(|known| known.1);
        // The text of a file gives the same as what protoc makes of it.
        for schema in [Some(descriptor(set)), text].into_iter().flatten() {
            let key = (schema, message.unwrap().to_owned(), raw.concat());
            let decoder = decoders.entry(key);
            let decoder = decoder.or_insert_with(|| filling(schema, message.unwrap(), &raw));
            check(decoder, &payload, &vector);
            count += 1;
        }
    }
    assert!(count > 900, "{count}");
}

#[test]
fn a_message_without_any_field_of_its_type_is_bad() {
    let schema = "syntax = \"proto3\"; package p; message M { string s = 1; repeated int32 n = 2; } message E {}";
    let mut decoder = local(schema, Some("p.M"), &[]).unwrap();
    // Field 7 is a number, 9 and 1 as they are read below.
    let others = [0x38, 1, 0x4a, 1, b'x', 0x38, 2];
    let none =
        "none of the fields of message type \"p.M\" is there; there are fields with the numbers: ";
    assert_eq!(reason(&mut decoder, &others), format!("{none}7, 9"));
    assert_eq!(reason(&mut decoder, &[0x08, 5]), format!("{none}1 of another wire type"));
    let many: Vec<u8> = (3u8..15).flat_map(|number| [number << 3, 0]).collect();
    assert!(reason(&mut decoder, &many).ends_with(": 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, ..."));
    // Nothing at all is all defaults; one field of the type is enough, whichever it is.
    let row = "{\"s\":\"\",\"n\":[]}";
    assert_eq!(document(&mut decoder, &[]), row);
    assert_eq!(document(&mut decoder, &[&others[..], &[0x12, 0]].concat()), row);
    let mut filling = filling(schema, "p.M", &[]);
    assert_eq!(document(&mut filling, &others), row);
    assert_eq!(document(&mut local(schema, Some("p.E"), &[]).unwrap(), &others), "{}");
    // A value that a closed enum does not know is one of a field of the type.
    let closed = "syntax = \"proto2\"; enum C { A = 0; } message M { optional C c = 1; }";
    assert_eq!(document(&mut local(closed, None, &[]).unwrap(), &[0x08, 9]), "{}");
}

/// Everything a schema says about its messages, in lines.
fn dump(schema: &Schema) -> Vec<String> {
    let mut lines = Vec::new();
    for (place, message) in (0..).map_while(|place| Some((place, schema.message(place)?))) {
        assert!(schema.message(place).is_some());
        for (index, field) in message.fields.iter().enumerate() {
            let kind = match &field.kind {
                Kind::Message(place) => schema.message(*place).unwrap().name.clone(),
                Kind::Enum(place) => format!("{:?}", schema.enumeration(*place).unwrap()),
                other => format!("{other:?}"),
            };
            let implicit = message.implicit().contains(&(index as u32));
            lines.push(format!(
                "{} {} = {}: {kind} {:?} {} {implicit}",
                message.name, field.name, field.number, field.shape, field.delimited,
            ));
        }
    }
    lines.sort();
    lines
}

#[test]
fn text_means_what_protoc_makes_of_it() {
    for (set, text) in TEXTS {
        let text = source::local(&SchemaSource::Text(text.to_owned())).unwrap();
        let protoc = source::local(&SchemaSource::Text(descriptor(set).to_owned())).unwrap();
        let (text, protoc) = (dump(&text), dump(&protoc));
        assert!(text.len() > 30, "{set}");
        assert_eq!(text, protoc, "{set}");
    }
}

#[test]
fn common_types_need_not_be_there() {
    let schema = "syntax = 'proto3'; import 'google/type/date.proto'; \
                  import 'confluent/type/decimal.proto'; \
                  message A { google.type.Date d = 1; confluent.type.Decimal n = 2; }";
    let mut decoder = local(schema, None, &[]).unwrap();
    assert_eq!(
        document(&mut decoder, b"\x0a\x03\x08\xe8\x0f\x12\x05\x0a\x01\x05\x18\x02"),
        r#"{"d":{"year":2024,"month":0,"day":0},"n":{"value":"BQ==","precision":0,"scale":2}}"#
    );
    // A schema's own are its own.
    let own = "syntax = 'proto3'; package google.type; import 'google/type/date.proto'; \
               message A { Date d = 1; } message Date { bool today = 1; }";
    let mut decoder = local(own, Some("google.type.A"), &[]).unwrap();
    assert_eq!(document(&mut decoder, b"\x0a\0"), r#"{"d":{"today":false}}"#);
}

/// A registry that knows a few schemas, and counts how often it is asked.
#[derive(Default)]
struct Registry {
    asked: Mutex<Vec<u64>>,
}

impl Schemas for Registry {
    fn schema(&self, id: SchemaId) -> std::result::Result<Arc<Registered>, Fault> {
        let id = match id {
            SchemaId::Number(number) => number,
            // A GUID stands for the number of its first byte.
            SchemaId::Guid(guid) => guid[0].into(),
        };
        self.asked.lock().unwrap().push(id);
        let dep = ("corpus/dep.proto".to_owned(), DEP.to_owned());
        let (kind, text, references) = match id {
            7 => (SchemaKind::Protobuf, INDEXES, vec![dep]),
            8 => (SchemaKind::Avro, "\"string\"", vec![]),
            9 => (SchemaKind::Protobuf, "message {", vec![]),
            10 => (SchemaKind::Protobuf, INDEXES, vec![]),
            11 => (SchemaKind::Protobuf, "CgNhLnAiDQoBQRIIOgBCAkgBGAM=", vec![]),
            12 => (SchemaKind::Json, "{}", vec![]),
            _ => return Err(Fault::Failed(Error::new(SqlState::CONNECTION_FAILURE, "gone"))),
        };
        Ok(Arc::new(Registered { kind, text: text.to_owned(), references }))
    }
}

fn framed(id: u32, index: &[u8], message: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], index, message].concat()
}

fn registered(message: Option<&str>, raw: &[&str]) -> (ProtobufDecoder, Arc<Registry>) {
    let registry = Arc::new(Registry::default());
    let raw: Vec<String> = raw.iter().map(|name| (*name).to_owned()).collect();
    let decoder = ProtobufDecoder::new(&content(message), None, Some(registry.clone()), &raw);
    (decoder.unwrap(), registry)
}

#[test]
fn a_registry_and_indexes_name_the_type() {
    let (mut decoder, registry) = registered(None, &[]);
    let mut count = 0;
    for vector in lines(VECTORS).filter(|vector| vector.get("framed").is_some()) {
        check(&mut decoder, &bytes_of(vector["framed"].as_str().unwrap()), &vector);
        count += 1;
    }
    assert!(count >= 7, "{count}");
    assert_eq!(*registry.asked.lock().unwrap(), [7]);
}

#[test]
fn what_a_registry_cannot_tell_costs_the_message() {
    let (mut decoder, registry) = registered(Some(".corpus.indexes.First"), &["name", "gone"]);
    let one = framed(7, &[0], b"\x0a\x03one");
    for _ in 0..2 {
        let (document, fields) = decode(&mut decoder, &one).unwrap();
        assert_eq!(document, r#"{"name":"one"}"#);
        assert_eq!(fields, [Some(b"one".to_vec()), None]);
    }
    for (message, want) in [
        (&b""[..], "the message is empty"),
        (&[0, 0, 0, 0], "the message is too short for a schema's id"),
        (
            &[1, 0, 0, 0, 7, 0],
            "the message does not begin with a schema's id: its first byte is 0x01, not 0x00",
        ),
        (&[0, 0, 0, 0, 7], "indexes of the message type are not valid"),
        (&framed(7, &[1], b""), "indexes of the message type are not valid"),
        (&framed(7, &[4, 0], b""), "indexes of the message type are not valid"),
        (&framed(7, &[0xfe, 0xff, 0x7f], b""), "indexes of the message type are not valid"),
        (&framed(7, &[2, 8], b""), "schema 7 has no message at index [4]"),
        (&framed(7, &[4, 0, 0], b""), "schema 7 has no message at index [0, 0]"),
        (
            &framed(7, &[2, 2], b""),
            "message is of type \"corpus.indexes.Second\", not \"corpus.indexes.First\"",
        ),
        (&framed(8, &[0], b""), "schema 8 cannot be used for protobuf: it is an Avro schema"),
        (&framed(12, &[0], b""), "schema 12 cannot be used for protobuf: it is a JSON schema"),
        (
            &framed(9, &[0], b""),
            "schema 9 cannot be used for protobuf: line 1: expected a name, found \"{\"",
        ),
    ] {
        assert_eq!(reason(&mut decoder, message), want);
        assert_eq!(reason(&mut decoder, message), want);
    }
    assert_eq!(*registry.asked.lock().unwrap(), [7, 8, 12, 9]);
    // A registry that does not answer is asked again.
    for _ in 0..2 {
        let fault = decode(&mut decoder, &framed(99, &[0], b"")).unwrap_err();
        assert!(matches!(fault, Fault::Failed(_)));
    }
    assert_eq!(registry.asked.lock().unwrap().len(), 6);

    // Only the type that needs what is missing is of no use.
    let (mut decoder, _) = registered(None, &["inner2"]);
    assert_eq!(
        reason(&mut decoder, &framed(10, &[6, 4, 0, 0], b"")),
        "schema 10 cannot be used for protobuf: type \"corpus.dep.Dep\" of field \"dep\" of \
         \"corpus.indexes.Third.Inner.Deep\" is not defined; not found: import \
         \"corpus/dep.proto\", \"missing/options.proto\""
    );
    assert_eq!(document(&mut decoder, &framed(10, &[4, 4, 0], b"")), r#"{"inner":""}"#);
    assert_eq!(
        reason(&mut decoder, &framed(10, &[4, 4, 2], b"")),
        "protobuf field \"inner2\" is not of type bytes or string"
    );
}

#[test]
fn a_header_may_have_id_and_indexes() {
    let (mut decoder, _) = registered(None, &[]);
    assert!(decoder.reads_schema_ids());
    let mut decode = |id: &[u8], payload: &[u8]| {
        let mut documents = vec![];
        let done = decoder.decode_identified(id, payload, &mut |record| {
            documents.push(String::from_utf8(record.document.unwrap().to_vec()).unwrap());
            Ok(())
        });
        done.map(|()| documents)
    };
    let guid = [&[1, 7][..], &[0; 15]].concat();
    let header = |index: &[u8]| [&guid[..], index].concat();
    let first = decode(&header(&[0]), b"\x0a\x03one").unwrap();
    assert_eq!(first, [r#"{"name":"one"}"#]);
    assert_eq!(decode(&header(&[2, 0]), b"\x0a\x03one").unwrap(), first);
    assert_ne!(decode(&header(&[2, 2]), b"").unwrap(), first);
    // Without indexes, with more behind them, without the end of the GUID.
    for id in [&header(&[])[..], &header(&[0, 0]), &guid[..16]] {
        assert!(matches!(decode(id, b"\x0a\x03one"), Err(Fault::Bad(_))), "{id:?}");
    }
}

#[test]
fn a_serialized_schema_of_a_registry_is_a_single_file() {
    let file = "syntax = \"proto3\"; message A { string b = 1; }";
    let mut decoder = local(file, None, &[]).unwrap();
    assert_eq!(document(&mut decoder, b"\x0a\x01x"), r#"{"b":"x"}"#);
    // name "a", message A with string b = 1, syntax proto3
    let bytes =
        b"\x0a\x01a\x22\x0e\x0a\x01A\x12\x09\x0a\x01b\x18\x01\x20\x01\x28\x09\x62\x06proto3";
    let mut quoted = Vec::new();
    json::base64(bytes, &mut quoted);
    let base64 = std::str::from_utf8(&quoted).unwrap().trim_matches('"');
    let mut decoder = local(base64, None, &[]).unwrap();
    assert_eq!(document(&mut decoder, b"\x0a\x01x"), r#"{"b":"x"}"#);
    let source = SchemaSource::File(bytes.to_vec());
    let mut decoder = ProtobufDecoder::new(&content(None), Some(source), None, &[]).unwrap();
    assert_eq!(document(&mut decoder, b"\x0a\x01x"), r#"{"b":"x"}"#);
}

#[test]
fn wrong_options_are_told_at_once() {
    let schema = "syntax = \"proto3\"; package shop; message Order {} message Refund {}";
    let wrong = error(schema, Some("shop.Oder"));
    assert_eq!(wrong.sqlstate, SqlState::INVALID_PARAMETER);
    assert_eq!(wrong.message, "protobuf message \"shop.Oder\" is not in the schema");
    assert_eq!(wrong.hint.unwrap(), "Perhaps you meant \"shop.Order\".");
    let wrong = error(schema, Some("Order"));
    assert_eq!(wrong.hint.unwrap(), "Perhaps you meant \"shop.Order\".");
    let wrong = error(schema, Some("something.else.entirely"));
    assert_eq!(wrong.hint.unwrap(), "Its messages are: shop.Order, shop.Refund.");
    let wrong = error(schema, None);
    assert_eq!(wrong.message, "protobuf schema has several messages");
    assert_eq!(wrong.detail.unwrap(), "Its messages are: shop.Order, shop.Refund.");
    assert_eq!(error("syntax = \"proto3\";", None).message, "protobuf schema has no message");
    for (schema, detail) in [
        ("", "protobuf schema has no message"),
        ("message A", "Line 1: expected \"{\", found the end."),
        ("\nmessage A { int32 = 1; }", "Line 2: expected a name, found \"=\"."),
        ("message A { int32 a = 0; }", "Field \"a\" of \"A\" has the number 0."),
        ("message A { int32 a = 1; int32 b = 1; }", "Field number 1 of \"A\" is used twice."),
        ("message A { int32 a = 1; int32 a = 2; }", "Field \"a\" of \"A\" is defined twice."),
        ("message A {} message A {}", "\"A\" is defined twice."),
        ("message A {} enum A {}", "\"A\" is defined twice."),
        ("message A { map<double, int32> a = 1; }", "\"A.AEntry\" is no entry of a map."),
        ("syntax = \"proto4\";", "Line 1: unknown syntax \"proto4\"."),
        ("/* ", "Line 1: a comment is not closed."),
        ("import \"a", "Line 1: a string is not closed."),
        ("message A { option (x) = { a: 1 ", "Line 1: expected \"}\", found the end."),
        ("\u{e9}", "Line 1: a character that means nothing here."),
        ("{\"type\": \"record\"}", "Line 1: expected a name, found \"{\"."),
    ] {
        let wrong = error(schema, None);
        assert_eq!(wrong.detail.unwrap_or(wrong.message), detail, "{schema}");
    }
    let schema = "import \"a/b.proto\"; message A { optional b.C c = 1; }";
    let wrong = error(schema, None);
    assert_eq!(wrong.message, "protobuf schema is not complete");
    assert_eq!(
        wrong.detail.unwrap(),
        "Type \"b.C\" of field \"c\" of \"A\" is not defined; not found: import \"a/b.proto\"."
    );
    assert!(wrong.hint.unwrap().contains("--include_imports"));
    let none = ProtobufDecoder::new(&content(None), None, None, &[]).err().unwrap();
    assert_eq!(none.message, "format protobuf needs a schema");

    let schema =
        "syntax = \"proto3\"; message A { bytes raw = 1; int32 n = 2; repeated string s = 3; }";
    let raw = |name| local(schema, None, &[name]).err().unwrap();
    assert_eq!(raw("row").message, "protobuf message has no field \"row\"");
    assert_eq!(raw("row").hint.unwrap(), "Perhaps you meant \"raw\".");
    assert_eq!(raw("n").message, "protobuf field \"n\" is not of type bytes or string");
    assert_eq!(raw("s").message, "protobuf field \"s\" is not of type bytes or string");
}

#[test]
fn the_only_message_needs_no_name() {
    let schema = "syntax='proto3'; message Only { message Inner {} map<string, int64> m = 1; }";
    let mut decoder = local(schema, None, &[]).unwrap();
    assert_eq!(document(&mut decoder, b""), r#"{"m":{}}"#);
    // Of a set the last file is the main one.
    assert!(error(descriptor("indexes"), None).detail.unwrap().contains("corpus.indexes.Third"));
}

#[test]
fn an_any_of_an_unknown_type_is_its_bytes() {
    let schema =
        "import 'google/protobuf/any.proto'; message A { optional google.protobuf.Any a = 1; }";
    let mut decoder = local(schema, None, &[]).unwrap();
    assert_eq!(
        document(&mut decoder, b"\x0a\x0b\x0a\x04x/y\"\x12\x03abc"),
        r#"{"a":{"@type":"x/y\"","value":"YWJj"}}"#
    );
    let deep = |levels: usize| {
        let mut message = Vec::new();
        for _ in 0..levels {
            let mut any = b"\x0a\x15/google.protobuf.Any\x12".to_vec();
            any.insert(2, b'x');
            push_len(message.len(), &mut any);
            any.extend_from_slice(&message);
            message = any;
        }
        let mut outer = vec![0x0a];
        push_len(message.len(), &mut outer);
        [outer, message].concat()
    };
    assert!(document(&mut decoder, &deep(98)).starts_with(r#"{"a":{"@type":"x/google"#));
    assert!(reason(&mut decoder, &deep(1000)).contains("nested deeper"));
}

fn push_len(mut len: usize, out: &mut Vec<u8>) {
    while len > 127 {
        out.push(len as u8 | 128);
        len >>= 7;
    }
    out.push(len as u8);
}

#[test]
fn documents_are_the_same_every_time() {
    let schema = "syntax = 'proto3'; message A { map<sint32, string> m = 3; int64 n = 1; \
                  map<string, bool> t = 2; double d = 4; }";
    let mut decoder = local(schema, None, &[]).unwrap();
    let message =
        b"\x1a\x05\x08\x02\x12\x01b\x1a\x05\x08\x01\x12\x01a\x12\x03\x0a\x01z\x12\x03\x0a\x01y\
                    \x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x21\0\0\0\0\0\0\x08\x40";
    assert_eq!(
        document(&mut decoder, message),
        r#"{"n":9223372036854775807,"t":{"y":false,"z":false},"m":{"-1":"a","1":"b"},"d":3}"#
    );
}

#[test]
fn what_a_message_costs_is_bounded() {
    let schema = "syntax = 'proto3'; message A { repeated B many = 1; repeated int32 n = 2; \
                  map<int32, int32> m = 3; A a = 4; string s = 5; repeated int32 o = 6; }
                  message B { int32 a_long_name_that_is_written_every_time = 1; \
                  int32 another_long_name_that_is_written_every_time = 2; }";
    let mut decoder = filling(schema, "A", &[]);
    let mut times = |record: &[u8], count: usize| {
        let started = Instant::now();
        let result = decode(&mut decoder, &record.repeat(count));
        assert!(decoder.memory.document.capacity() < 3 * walk::MAX_DOCUMENT);
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
        match result {
            Ok((document, _)) => format!("{} bytes", document.len()),
            Err(Fault::Bad(reason)) => reason,
            Err(fault) => panic!("{fault:?}"),
        }
    };
    let large = "invalid protobuf: message gives more than 8 MB of JSON";
    let many = "invalid protobuf: message has too many fields out of order";
    // Two bytes that become a hundred.
    assert_eq!(times(b"\x0a\0", 128 << 10), large);
    assert_eq!(times(b"\x10\x01", 1 << 20), "2097190 bytes");
    assert_eq!(times(b"\x10\x01\x30\x01", 200 << 10), many);
    assert_eq!(times(b"\x1a\0", 300 << 10), many);
    assert_eq!(times(b"", 0), "39 bytes");
    assert_eq!(times(b"\0", (4 << 20) + 1), "invalid protobuf: message is larger than 4 MB");
    // Control characters take six bytes each.
    let mut text = vec![0x2a];
    push_len(2 << 20, &mut text);
    text.resize(text.len() + (2 << 20), 1);
    assert_eq!(times(&text, 1), large);
    // Messages in messages.
    let mut deep = Vec::new();
    for _ in 0..20_000 {
        let mut outer = vec![0x22];
        push_len(deep.len(), &mut outer);
        outer.extend_from_slice(&deep);
        deep = outer;
    }
    assert_eq!(times(&deep, 1), "invalid protobuf: messages are nested deeper than 100");
    // Groups, of which the outer ones are not known.
    assert_eq!(times(b"\x4b", 1 << 20), "invalid protobuf: groups are nested too deep");
    let mut groups = b"\x4b".repeat(99);
    groups.extend(b"\x53\x54".repeat(1 << 20));
    groups.extend(b"\x4c".repeat(99));
    assert_eq!(times(&groups, 1), "39 bytes");
    // It is not kept after the next message.
    assert_eq!(times(b"", 0), "39 bytes");
    assert!(decoder.memory.document.capacity() <= 4 << 20);
}

#[test]
fn groups_in_groups_are_not_gone_through_for_ever() {
    let schema = "message A { repeated group B = 1 { repeated group B = 1 { repeated A a = 1; \
                  repeated group B = 2 { optional int32 c = 1; } } } optional A again = 2; }";
    assert!(local(schema, Some("A"), &[]).is_ok());
    let schema = "edition = '2023'; message A { A a = 1 [features.message_encoding = DELIMITED]; }";
    let mut decoder = local(schema, None, &[]).unwrap();
    let nested = |depth, inner| {
        let inner = b"\x13\x14".repeat(inner);
        [b"\x0b".repeat(depth), inner, b"\x0c".repeat(depth)].concat()
    };
    assert!(document(&mut decoder, &nested(90, 1000)).starts_with(r#"{"a":{"a":{"#));
    assert_eq!(
        reason(&mut decoder, &nested(90, 1 << 20)),
        "invalid protobuf: message has too much in groups in groups"
    );
}

#[test]
fn hostile_schemas_are_refused() {
    let nested = |count| format!("{}{}", "message a{".repeat(count), "}".repeat(count));
    assert!(local(&nested(60), None, &[]).is_ok());
    let too_deep = "Line 1: messages are nested too deep.";
    assert_eq!(error(&nested(100_000), None).detail.unwrap(), too_deep);
    let groups = "message a{".to_owned() + &"optional group A = 1 {".repeat(100_000);
    assert_eq!(error(&groups, None).detail.unwrap(), too_deep);
    for (open, before) in [("{", "option a = "), ("[", "option a = "), ("(", "option "), ("<", "")]
    {
        let text = format!("{before}{}", open.repeat(500_000));
        assert!(error(&text, None).detail.unwrap().starts_with("Line 1: "), "{open}");
    }
    let much = "message A { enum B {".to_owned() + &"a=1;".repeat(600_000);
    assert_eq!(error(&much, None).detail.unwrap(), "Line 1: the schema declares too much.");
    let large = "/".repeat(5 << 20);
    assert_eq!(error(&large, None).detail.unwrap(), "The schema is larger than 4 MB.");
    let long = format!("package {};", "a.".repeat(100_000) + "b");
    assert!(error(&long, None).detail.unwrap().contains("longer than 1024 bytes"));
    // Cycles are no harm.
    let cyclic =
        "syntax = 'proto3'; message A { B b = 1; } message B { A a = 1; repeated A l = 2; }";
    let mut decoder = local(cyclic, Some("A"), &[]).unwrap();
    assert_eq!(document(&mut decoder, b"\x0a\x02\x0a\0"), r#"{"b":{"a":{},"l":[]}}"#);
    // Descriptors in descriptors: DescriptorProto.nested_type.
    let mut deep = b"\x0a\x01a".to_vec();
    for _ in 0..5_000 {
        let mut outer = b"\x0a\x01a\x1a".to_vec();
        push_len(deep.len(), &mut outer);
        outer.extend_from_slice(&deep);
        deep = outer;
    }
    for tag in [0x22, 0x0a] {
        let mut outer = vec![tag];
        push_len(deep.len(), &mut outer);
        outer.extend_from_slice(&deep);
        deep = outer;
    }
    let source = SchemaSource::File(deep);
    let refused = ProtobufDecoder::new(&content(None), Some(source), None, &[]).err().unwrap();
    assert_eq!(refused.detail.unwrap(), "In the descriptor set: messages are nested too deep.");
    // What is built in is not changed by what a schema says about it.
    let known = "syntax = 'proto3'; package google.protobuf; message Timestamp { Any seconds = 9; } \
                 message Struct { int32 fields = 1; } message A { Timestamp t = 1; Struct s = 2; }";
    let mut decoder = local(known, Some("google.protobuf.A"), &[]).unwrap();
    assert_eq!(
        document(&mut decoder, b"\x0a\x02\x08\x01\x12\x05\x0a\x03\x0a\x01k"),
        r#"{"t":"1970-01-01T00:00:01Z","s":{"k":null}}"#
    );
}

/// How long the search for panics goes on.
fn fuzz_time() -> Duration {
    let seconds = std::env::var("GPSS_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

/// A small generator of numbers (splitmix64), so that long runs are cheap and can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }

    /// Changes, removes, repeats or inserts a few bytes; takes some from `other`.
    fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..1 + self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = (at + 1 + self.below(16)).min(bytes.len());
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = self.below(256) as u8,
                2 if at < end => drop(bytes.drain(at..end)),
                3 if at < end => {
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                4 => bytes.insert(at, [0, 1, 127, 128, 255, b'{', b'"', b'.'][self.below(8)]),
                _ => {
                    let from = self.below(other.len() + 1);
                    let to = (from + self.below(64)).min(other.len());
                    bytes.splice(at..at, other[from..to].iter().copied());
                }
            }
        }
    }
}

#[test]
fn changed_messages_and_schemas_do_no_harm() {
    let seed = std::env::var("GPSS_FUZZ_SEED").ok().and_then(|text| text.parse().ok());
    let mut random = Random(seed.unwrap_or(1));
    let mut decoders = HashMap::new();
    let mut vectors = Vec::new();
    for vector in lines(VECTORS) {
        if let (Some(set), Some(message)) = (vector["set"].as_str(), vector["message"].as_str()) {
            let key = (set.to_owned(), message.to_owned());
            let decoder = || local(descriptor(set), Some(message), &[]).unwrap();
            decoders.entry(key.clone()).or_insert_with(decoder);
            vectors.push((key, bytes_of(vector["hex"].as_str().unwrap())));
        }
    }
    let mut schemas: Vec<Vec<u8>> = TEXTS.iter().map(|text| text.1.as_bytes().to_vec()).collect();
    for set in ["proto3", "proto2", "editions", "delimited", "indexes"] {
        schemas.push(json::from_base64(descriptor(set)).unwrap());
    }
    let started = Instant::now();
    let (mut messages, mut good, mut usable) = (0_u64, 0_u64, 0_u64);
    while started.elapsed() < fuzz_time() {
        for _ in 0..200 {
            let (key, payload) = &vectors[random.below(vectors.len())];
            let (_, other) = &vectors[random.below(vectors.len())];
            let mut payload = payload.clone();
            random.mutate(&mut payload, other);
            if let Ok((document, _)) = decode(decoders.get_mut(key).unwrap(), &payload) {
                good += 1;
                let valid = serde_json::from_str::<Value>(&document);
                assert!(valid.is_ok(), "{key:?} {payload:?} gives {document}");
            }
            messages += 1;
        }
        let mut schema = schemas[random.below(schemas.len())].clone();
        let other = &schemas[random.below(schemas.len())];
        random.mutate(&mut schema, other);
        let source = SchemaSource::File(schema);
        let Ok(schema) = source::local(&source) else { continue };
        // Whatever the schema became, messages of the vectors may be read by it.
        let names: Vec<String> = schema.names().map(str::to_owned).collect();
        for name in names {
            let decoder =
                ProtobufDecoder::new(&content(Some(&name)), Some(source.clone()), None, &[]);
            let Ok(mut decoder) = decoder else { continue };
            usable += 1;
            for _ in 0..4 {
                let (_, payload) = &vectors[random.below(vectors.len())];
                if let Ok((document, _)) = decode(&mut decoder, payload) {
                    assert!(serde_json::from_str::<Value>(&document).is_ok(), "{document}");
                }
            }
        }
    }
    println!("{messages} messages, {good} of them good; {usable} types of changed schemas");
}

proptest! {
    #[test]
    fn any_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        static DECODERS: Mutex<Vec<ProtobufDecoder>> = Mutex::new(Vec::new());
        let mut decoders = DECODERS.lock().unwrap();
        if decoders.is_empty() {
            for (set, message) in [
                ("proto3", "corpus.three.Known"),
                ("proto3", "corpus.three.Maps"),
                ("proto3", "corpus.three.Lists"),
                ("proto2", "corpus.two.Old"),
                ("delimited", "corpus.delimited.Delimited"),
            ] {
                decoders.push(local(descriptor(set), Some(message), &[]).unwrap());
            }
            decoders.push(registered(None, &[]).0);
        }
        for decoder in decoders.iter_mut() {
            if let Ok((document, _)) = decode(decoder, &bytes) {
                prop_assert!(serde_json::from_str::<Value>(&document).is_ok(), "{}", document);
            }
        }
        let source = SchemaSource::File(bytes);
        let _ = ProtobufDecoder::new(&content(None), Some(source), None, &[]);
    }

    #[test]
    fn any_words_are_no_harm_as_a_schema(words in proptest::collection::vec(
        proptest::sample::select(vec![
            "message", "enum", "oneof", "map", "<", ">", "{", "}", "[", "]", "(", ")", "=", ";",
            ",", ".", "1", "0x2", "-3", "a", "B", "group", "optional", "repeated", "int32",
            "string", "extend", "extensions", "reserved", "option", "syntax", "\"proto3\"",
            "package", "import", "service", "features", "edition", "//", "\n", "'", "/*", "*/",
        ]), 0..60))
    {
        let _ = local(&words.join(" "), None, &[]);
        let _ = local(&format!("message A {{ {} }}", words.join(" ")), None, &[]);
    }

    #[test]
    fn base64_comes_back(bytes in proptest::collection::vec(any::<u8>(), 1..100)) {
        let mut quoted = Vec::new();
        json::base64(&bytes, &mut quoted);
        let text = std::str::from_utf8(&quoted).unwrap().trim_matches('"');
        prop_assert_eq!(json::from_base64(text), Some(bytes));
    }
}
