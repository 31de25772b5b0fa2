//! The decoder against vectors that another implementation wrote (tests/corpus/avro), against data
//! made to hurt, and against mutated and random bytes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::*;
use gpss_model::format::Format;

const VECTORS: &str = include_str!("../../../../tests/corpus/avro/vectors.jsonl");

/// A registry of schemas that are given.
struct Given(HashMap<SchemaId, Arc<Registered>>);

impl Schemas for Given {
    fn schema(&self, id: SchemaId) -> Result<Arc<Registered>, Fault> {
        self.0.get(&id).cloned().ok_or_else(|| Fault::Bad(format!("schema {id} is not known")))
    }
}

fn given(schemas: &[(u32, &str)]) -> Arc<dyn Schemas> {
    let number = |id: u32| SchemaId::Number(id.into());
    let registered = |text: &str| {
        let (kind, references) = (SchemaKind::Avro, Vec::new());
        Arc::new(Registered { kind, text: text.to_owned(), references })
    };
    Arc::new(Given(schemas.iter().map(|(id, text)| (number(*id), registered(text))).collect()))
}

/// What a message gives: the documents and the raw fields.
type Decoded = (Vec<String>, Vec<Vec<Option<Vec<u8>>>>);

fn decode(decoder: &mut AvroDecoder, payload: &[u8]) -> Result<Decoded, Fault> {
    let (mut documents, mut fields) = (Vec::new(), Vec::new());
    decoder.decode(payload, &mut |record| {
        documents.push(String::from_utf8(record.document.unwrap().to_vec()).unwrap());
        fields.push(record.fields.iter().map(|f| f.map(<[u8]>::to_vec)).collect());
        Ok(())
    })?;
    Ok((documents, fields))
}

fn with_schema(schema: &str) -> AvroDecoder {
    let content = FormatSpec::new(Format::Avro);
    AvroDecoder::new(&content, Some(schema.to_owned()), None, &[]).unwrap()
}

fn one(schema: &str, payload: &[u8]) -> Result<String, String> {
    match decode(&mut with_schema(schema), payload) {
        Ok((mut documents, _)) => Ok(documents.remove(0)),
        Err(Fault::Bad(reason)) => Err(reason),
        Err(Fault::Failed(error)) => panic!("{error}"),
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

/// A decoder as a vector wants it, and its message.
fn vector(line: &str) -> (Value, AvroDecoder, Vec<u8>) {
    let vector: Value = serde_json::from_str(line).unwrap();
    let mut content = FormatSpec::new(Format::Avro);
    if vector["base64"] == true {
        content.set("bytes_to_base64", "on").unwrap();
    }
    let strings = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().map(|s| s.as_str().unwrap().to_owned()).collect()
    };
    let registry = vector["registry"].as_object().map(|schemas| {
        let registered = schemas.iter().map(|(id, schema)| {
            let references = schema["references"].as_array().unwrap().iter();
            let registered = Registered {
                kind: SchemaKind::Avro,
                text: schema["text"].as_str().unwrap().to_owned(),
                references: references
                    .map(strings)
                    .map(|pair| (pair[0].clone(), pair[1].clone()))
                    .collect(),
            };
            (SchemaId::Number(id.parse().unwrap()), Arc::new(registered))
        });
        Arc::new(Given(registered.collect())) as Arc<dyn Schemas>
    });
    let schema = vector["schema"].as_str().map(str::to_owned);
    let decoder = AvroDecoder::new(&content, schema, registry, &strings(&vector["raw"]));
    let payload = from_hex(vector["payload"].as_str().unwrap());
    (vector, decoder.unwrap(), payload)
}

fn check_vectors(lines: &str) -> usize {
    let mut count = 0;
    for line in lines.lines() {
        let (vector, mut decoder, payload) = vector(line);
        let decoded = decode(&mut decoder, &payload);
        match (&vector["expected"], decoded) {
            (Value::Null, Err(Fault::Bad(_))) => {}
            (Value::Array(expected), Ok((documents, fields))) => {
                assert_eq!(
                    documents,
                    expected.iter().map(|d| d.as_str().unwrap()).collect::<Vec<_>>(),
                    "{line}"
                );
                // What is above serde_json's limits is JSON as well.
                let valid = |d: &String| match serde_json::from_str::<serde::de::IgnoredAny>(d) {
                    Ok(_) => true,
                    Err(error) => error.to_string().contains("recursion limit"),
                };
                assert!(documents.iter().all(valid), "{line}");
                for (record, expected) in
                    fields.iter().zip(vector["fields"].as_array().into_iter().flatten())
                {
                    let expected: Vec<_> = expected.as_array().unwrap().iter().collect();
                    let expected: Vec<_> =
                        expected.iter().map(|field| field.as_str().map(from_hex)).collect();
                    assert_eq!(*record, expected, "{line}");
                }
            }
            (_, decoded) => panic!("{line}\ngives {decoded:?}"),
        }
        count += 1;
    }
    count
}

#[test]
fn vectors_give_what_another_implementation_reads() {
    assert!(check_vectors(VECTORS) > 400);
    // More of them, when somebody has made some.
    if let Some(path) = std::env::var_os("GPSS_AVRO_VECTORS") {
        println!("{} vectors", check_vectors(&std::fs::read_to_string(path).unwrap()));
    }
}

#[test]
fn lists_may_be_as_deep_as_the_limit() {
    let list =
        r#"{"type":"record","name":"List","fields":[{"name":"next","type":["null","List"]}]}"#;
    let chain = |records: usize| [vec![2; records - 1], vec![0]].concat();
    assert_eq!(one(list, &chain(2)).unwrap(), r#"{"next":{"next":null}}"#);
    assert!(one(list, &chain(datum::MAX_DEPTH)).is_ok());
    let problem = "invalid Avro data: nested deeper than 500 levels at byte 500";
    assert_eq!(one(list, &chain(datum::MAX_DEPTH + 1)).unwrap_err(), problem);
    assert_eq!(one(list, &chain(1_000_000)).unwrap_err(), problem);
    // A stack of the size that threads have, and less.
    let deep = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
        let array = r#"{"type":"record","name":"T","fields":[
            {"name":"c","type":{"type":"array","items":["null",{"type":"map","values":"T"}]}}]}"#;
        one(array, &[2, 2, 2, 0].repeat(100_000)).unwrap_err()
    });
    assert!(deep.unwrap().join().unwrap().contains("nested deeper"));
}

#[test]
fn what_takes_no_bytes_is_bounded_by_the_output() {
    let endless = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let problem = one(r#"{"type":"array","items":"null"}"#, &endless).unwrap_err();
    assert!(problem.contains("the JSON text is longer than 67108800 bytes"), "{problem}");
    // 2 ** 40 empty records, from a schema of 2 KB and no data at all.
    let mut schema = r#"{"type":"record","name":"R0","fields":[]}"#.to_owned();
    for level in 1..40 {
        schema = format!(
            r#"{{"type":"record","name":"R{level}","fields":[{{"name":"a","type":{schema}}},
                {{"name":"b","type":"R{}"}}]}}"#,
            level - 1
        );
    }
    assert!(one(&schema, b"").unwrap_err().contains("the JSON text is longer"));
    // A container file of empty records.
    let mut file = b"Obj\x01\x02\x16avro.schema\x0c\"null\"\x00".to_vec();
    file.extend_from_slice(&[7; 16]);
    file.extend_from_slice(&endless);
    file.push(0);
    file.extend_from_slice(&[7; 16]);
    let mut decoder = AvroDecoder::new(&FormatSpec::new(Format::Avro), None, None, &[]).unwrap();
    let mut records = 0;
    let faulty = decoder.decode(&file, &mut |_| {
        records += 1;
        Ok(())
    });
    assert!(matches!(faulty, Err(Fault::Bad(reason)) if reason.contains("longer")));
    assert!((900_000..1_100_000).contains(&records));
}

#[test]
fn a_block_may_not_become_too_large() {
    let limit = 1 << 20;
    let zeros = vec![0; limit + 1];
    let mut space = Vec::new();
    let deflated = miniz_oxide::deflate::compress_to_vec(&zeros, 6);
    let mut packed = snap::raw::Encoder::new().compress_vec(&zeros).unwrap();
    packed.extend_from_slice(&crc32fast::hash(&zeros).to_be_bytes());
    let zstd = zstd::encode_all(zeros.as_slice(), 1).unwrap();
    for (codec, data) in [
        (codec::Codec::Deflate, &deflated),
        (codec::Codec::Snappy, &packed),
        (codec::Codec::Zstandard, &zstd),
    ] {
        let error = codec.decompress(data, &mut space, limit).unwrap_err();
        assert_eq!(error, "a block holds more than 1048576 bytes", "{codec:?}");
        let good = codec.decompress(data, &mut space, limit + 1).unwrap();
        assert_eq!(good.len(), zeros.len());
    }
}

#[test]
fn schemas_come_from_the_registry_by_id() {
    let schemas = given(&[(1, "\"int\""), (2, "{\"type\":"), (3, "\"no.such\"")]);
    let content = FormatSpec::new(Format::Avro);
    let mut decoder = AvroDecoder::new(&content, None, Some(schemas), &[]).unwrap();
    let mut reason = |payload: &[u8]| match decode(&mut decoder, payload) {
        Err(Fault::Bad(reason)) => reason,
        other => panic!("{other:?}"),
    };
    assert!(reason(&[0, 0, 0, 0, 2, 1]).starts_with("schema 2: the schema is not valid JSON"));
    for _ in 0..2 {
        assert_eq!(reason(&[0, 0, 0, 0, 3, 1]), "schema 3: type \"no.such\" is not defined");
    }
    assert_eq!(reason(&[0, 0, 0, 1, 0, 1]), "schema 256 is not known");
    assert_eq!(reason(&[]), "the message is empty");
    assert_eq!(reason(&[0, 0, 0, 0]), "the message is too short for a schema's id");
    assert_eq!(
        reason(b"{\"a\":1}"),
        "the message does not begin with a schema's id: its first byte is 0x7b, not 0x00"
    );
    assert_eq!(reason(&[0, 0, 0, 0, 1, 2, 2]), "invalid Avro data: 1 byte is left over at byte 6");
    assert_eq!(decode(&mut decoder, &[0, 0, 0, 0, 1, 2]).unwrap().0, ["1"]);
}

#[test]
fn a_header_may_name_the_schema_instead() {
    let guid = [0x0a; 16];
    let registered = |text: &str| {
        let (kind, references) = (SchemaKind::Avro, Vec::new());
        Arc::new(Registered { kind, text: text.to_owned(), references })
    };
    let schemas = Given(HashMap::from([
        (SchemaId::Guid(guid), registered("\"string\"")),
        (SchemaId::Number(1), registered("\"int\"")),
    ]));
    let content = FormatSpec::new(Format::Avro);
    let mut decoder = AvroDecoder::new(&content, None, Some(Arc::new(schemas)), &[]).unwrap();
    assert!(decoder.reads_schema_ids() && !with_schema("\"int\"").reads_schema_ids());
    let mut decode = |id: &[u8], payload: &[u8]| {
        let mut documents = Vec::new();
        let done = decoder.decode_identified(id, payload, &mut |record| {
            documents.push(String::from_utf8(record.document.unwrap().to_vec()).unwrap());
            Ok(())
        });
        done.map(|()| documents)
    };
    let header = [&[1][..], &guid].concat();
    // The datum is all of the payload, also when that begins as another form would.
    assert_eq!(decode(&header, b"\0").unwrap(), ["\"\""]);
    assert_eq!(decode(&header, b"\x08Obj\x01").unwrap(), ["\"Obj\\u0001\""]);
    assert_eq!(decode(b"\0\0\0\0\x01", &[2]).unwrap(), ["1"]);
    for id in [&[header.as_slice(), &[0]].concat()[..], &header[..16], b"\x02", b"\0\0\0\0\x07"] {
        assert!(matches!(decode(id, &[2]), Err(Fault::Bad(_))), "{id:?}");
    }
}

#[test]
fn eight_bytes_of_a_schemas_id_are_an_option() {
    let content = FormatSpec::with_options(Format::Avro, [("schema_id_bytes", "8")]).unwrap();
    let schemas = given(&[(1, "\"int\"")]);
    let mut decoder = AvroDecoder::new(&content, None, Some(schemas), &[]).unwrap();
    assert_eq!(decode(&mut decoder, &[0, 0, 0, 0, 0, 0, 0, 0, 1, 2]).unwrap().0, ["1"]);
    assert!(decode(&mut decoder, &[0, 0, 0, 0, 1, 2]).is_err());
}

#[test]
fn a_registry_that_fails_costs_no_message() {
    struct Failing;
    impl Schemas for Failing {
        fn schema(&self, _: SchemaId) -> Result<Arc<Registered>, Fault> {
            Err(Fault::Failed(Error::new(SqlState::CONNECTION_FAILURE, "away")))
        }
    }
    let content = FormatSpec::new(Format::Avro);
    let mut decoder = AvroDecoder::new(&content, None, Some(Arc::new(Failing)), &[]).unwrap();
    let failed = decode(&mut decoder, &[0, 0, 0, 0, 1, 2]).unwrap_err();
    assert!(matches!(failed, Fault::Failed(error) if error.message == "away"));
}

#[test]
fn options_that_make_no_decoder_are_refused() {
    let content = FormatSpec::new(Format::Avro);
    let new = |schema: &str, schemas| {
        let decoder = AvroDecoder::new(&content, Some(schema.to_owned()), schemas, &[]);
        decoder.err().unwrap()
    };
    let error = new("{}", None);
    assert_eq!(error.message, "invalid Avro schema");
    assert_eq!(error.detail.unwrap(), "an object in the schema has no \"type\"");
    let error = new("\"int\"", Some(given(&[])));
    assert_eq!(error.sqlstate, SqlState::INVALID_PARAMETER);
}

#[test]
fn lenient_forms_of_schemas() {
    // Without quotes; a type in a type; names that are not in the specification's alphabet.
    assert_eq!(one("int\n", &[2]).unwrap(), "1");
    assert_eq!(one(r#"{"type":{"type":"string"}}"#, &[2, b'x']).unwrap(), "\"x\"");
    let named = r#"{"type":"record","name":"my-record","namespace":"my-space","fields":[
        {"name":"ünï\"","type":"int"},{"name":"b","type":["null","my-record"]}]}"#;
    assert_eq!(one(named, &[2, 0]).unwrap(), r#"{"ünï\"":1,"b":null}"#);
}

/// A small random number generator (xorshift64*), so that a failure can be repeated by its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        let byte = self.next() as u8;
        // Small numbers are lengths and branches: they lead further.
        if self.below(2) == 0 { byte % 8 } else { byte }
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(5) {
                0 => bytes.insert(at, self.byte()),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => bytes.truncate(at.max(bytes.len() / 2)),
                3 => {
                    let end = (at + self.below(16)).min(bytes.len());
                    let copy = bytes[at.min(end)..end].to_vec();
                    bytes.splice(at..at, copy);
                }
                _ if at < bytes.len() => bytes[at] = self.byte(),
                _ => {}
            }
        }
    }
}

const NASTY: &[&str] = &[
    r#"{"type":"record","name":"L","fields":[{"name":"v","type":"long"},{"name":"n","type":["null","L"]}]}"#,
    r#"{"type":"array","items":{"type":"array","items":{"type":"map","values":["null","bytes"]}}}"#,
    r#"{"type":"record","name":"S","fields":[{"name":"s","type":"S"}]}"#,
    r#"{"type":"record","name":"T","fields":[{"name":"c","type":{"type":"map","values":"T"}},
        {"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":20000,"scale":16383}},
        {"name":"e","type":{"type":"enum","name":"E","symbols":["\"","\u0001"]}}]}"#,
    r#"{"type":"record","name":"U","fields":[
        {"name":"a","type":{"type":"int","logicalType":"date"}},
        {"name":"b","type":{"type":"long","logicalType":"timestamp-nanos"}},
        {"name":"c","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"d","type":{"type":"long","logicalType":"time-micros"}},
        {"name":"e","type":{"type":"fixed","name":"F","size":12,"logicalType":"duration"}},
        {"name":"f","type":["string","float","double","boolean"]}]}"#,
    r#"["null","boolean","int","long","float","double","bytes","string"]"#,
];

/// How long to go on: a moment, or as the environment says.
fn fuzz_time() -> Duration {
    let seconds = std::env::var("GPSS_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_millis(seconds.map_or(500, |seconds: u64| seconds * 1_000))
}

fn seed() -> u64 {
    let seed = std::env::var("GPSS_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok());
    seed.unwrap_or_else(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.unwrap().as_nanos() as u64 | 1
    })
}

fn check_bounds(decoder: &mut AvroDecoder, payload: &[u8]) -> bool {
    let began = Instant::now();
    let mut written = 0;
    let decoded = decoder.decode(payload, &mut |record| {
        let document = record.document.unwrap();
        assert!(std::str::from_utf8(document).is_ok());
        written += document.len();
        Ok(())
    });
    assert!(written <= MAX_OUTPUT);
    assert!(began.elapsed() < Duration::from_secs(10), "slow");
    assert!(!matches!(decoded, Err(Fault::Failed(_))));
    decoded.is_ok()
}

#[test]
fn random_bytes_stay_within_the_bounds() {
    let seed = seed();
    println!("GPSS_FUZZ_SEED={seed}");
    let (mut random, end) = (Random(seed), Instant::now() + fuzz_time() / 2);
    let mut decoders: Vec<_> = NASTY.iter().map(|schema| with_schema(schema)).collect();
    let (mut tried, mut good) = (0_u64, 0_u64);
    while Instant::now() < end {
        let payload: Vec<u8> = (0..random.below(64)).map(|_| random.byte()).collect();
        for decoder in &mut decoders {
            tried += 1;
            good += u64::from(check_bounds(decoder, &payload));
        }
    }
    println!("{tried} messages, {good} of them good");
}

#[test]
fn mutated_vectors_stay_within_the_bounds() {
    let seed = seed();
    println!("GPSS_FUZZ_SEED={seed}");
    let (mut random, end) = (Random(seed), Instant::now() + fuzz_time() / 2);
    // That one takes its time, being written up to the limit.
    let lines = VECTORS.lines().filter(|line| !line.contains("huge block of nulls"));
    let mut vectors: Vec<_> = lines.map(vector).collect();
    let (mut tried, mut good) = (0_u64, 0_u64);
    while Instant::now() < end {
        let index = random.below(vectors.len());
        let (_, decoder, payload) = &mut vectors[index];
        let mut payload = payload.clone();
        random.mutate(&mut payload);
        tried += 1;
        good += u64::from(check_bounds(decoder, &payload));
    }
    println!("{tried} messages, {good} of them good");
}

#[test]
fn mutated_schemas_are_refused_or_read() {
    let seed = seed();
    println!("GPSS_FUZZ_SEED={seed}");
    let (mut random, end) = (Random(seed), Instant::now() + fuzz_time() / 4);
    let texts: Vec<String> = VECTORS
        .lines()
        .filter_map(|line| {
            let vector: Value = serde_json::from_str(line).unwrap();
            vector["schema"].as_str().map(str::to_owned)
        })
        .chain(NASTY.iter().map(|&schema| schema.to_owned()))
        .collect();
    let (mut tried, mut good) = (0_u64, 0_u64);
    while Instant::now() < end {
        let mut text = texts[random.below(texts.len())].clone().into_bytes();
        random.mutate(&mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        tried += 1;
        let content = FormatSpec::new(Format::Avro);
        if let Ok(mut decoder) = AvroDecoder::new(&content, Some(text), None, &[]) {
            good += 1;
            let payload: Vec<u8> = (0..random.below(32)).map(|_| random.byte()).collect();
            check_bounds(&mut decoder, &payload);
        }
    }
    println!("{tried} schemas, {good} of them good");
}

/// How fast messages of ten fields are read; run with `--release --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn throughput() {
    let schema = r#"{"type":"record","name":"R","fields":[
        {"name":"id","type":"long"},{"name":"name","type":"string"},
        {"name":"email","type":["null","string"]},{"name":"age","type":"int"},
        {"name":"score","type":"double"},{"name":"active","type":"boolean"},
        {"name":"created","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"city","type":"string"},{"name":"kind","type":{"type":"enum","name":"K",
            "symbols":["ONE","TWO"]}},{"name":"note","type":["null","string"]}]}"#;
    let mut datum = vec![0, 0, 0, 0, 1, 0x80, 0x89, 0x7a, 20];
    datum.extend_from_slice(b"Ann Clarks\x02\x22ann@somewhere.org\x4e");
    datum.extend_from_slice(&1234.5678_f64.to_le_bytes());
    datum.extend_from_slice(&[1, 0xaa, 0xd2, 0xd9, 0x90, 0xcd, 0x61]);
    datum.extend_from_slice(b"\x0cLondon\x02\x00");
    let content = FormatSpec::new(Format::Avro);
    let mut decoder = AvroDecoder::new(&content, None, Some(given(&[(1, schema)])), &[]).unwrap();
    println!("{:?}", decode(&mut decoder, &datum).unwrap().0);
    let (count, began) = (2_000_000, Instant::now());
    let mut bytes = 0;
    for _ in 0..count {
        let decoded = decoder.decode(&datum, &mut |record| {
            bytes += record.document.map_or(0, <[u8]>::len);
            Ok(())
        });
        decoded.unwrap();
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{:.0} messages/s, {:.0} MB/s of JSON, {} bytes a message",
        f64::from(count) / seconds,
        bytes as f64 / seconds / 1e6,
        datum.len()
    );
}
