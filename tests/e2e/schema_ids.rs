//! How messages name their schemas: by a header instead of a prefix, by eight bytes, and before JSON.

use gpss_testbed::encode::{field, long, number_field, registered};
use gpss_testbed::{Producer, Record, Scene, eventually, value};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// Paths of a registry and the schemas there, as `GET` answers them. The registry of `pg_test/registry`
/// has no GUIDs.
type Schemas = Arc<Mutex<Vec<(String, String)>>>;

/// A registry that knows these schemas, and nothing else; ends with the test.
fn registry(schemas: &Schemas) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let schemas = Arc::clone(schemas);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut head, mut byte) = (vec![], [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let known = schemas.lock().expect("schemas");
            let (status, body) = match known.iter().find(|(known, _)| known == path) {
                Some((_, body)) => (200, body.clone()),
                None => (404, r#"{"error_code": 40403, "message": "Schema not found"}"#.to_owned()),
            };
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
    address
}

fn schema(path: &str, schema_type: &str, text: &str) -> (String, String) {
    let body = serde_json::json!({"schema": text, "schemaType": schema_type});
    (path.to_owned(), body.to_string())
}

const NUMBER: &str =
    r#"{"type": "record", "name": "N", "fields": [{"name": "n", "type": "long"}]}"#;
const NEGATED: &str =
    r#"{"type": "record", "name": "M", "fields": [{"name": "negated", "type": "long"}]}"#;
const KNOWN: &[u8] = b"\x01\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
const KNOWN_PATH: &str = "/schemas/guids/00112233-4455-6677-8899-aabbccddeeff";
const LATE: &[u8] = b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
const LATE_PATH: &str = "/schemas/guids/ffffffff-ffff-ffff-ffff-ffffffffffff";

#[test]
fn avro_by_the_id_in_a_header() {
    let scene = Scene::new(1);
    let schemas = Schemas::default();
    // What the datum of a record would be taken for without the header.
    schemas.lock().expect("schemas").extend([
        schema(KNOWN_PATH, "AVRO", NUMBER),
        schema("/schemas/ids/33685504", "AVRO", NEGATED),
        schema("/schemas/ids/7", "AVRO", NUMBER),
    ]);
    let address = registry(&schemas);
    let by = |id: &'static [u8]| ("__value_schema_id", Some(id));
    let send = |headers: &[(&str, Option<&[u8]>)], datum: &[u8]| {
        Producer::new(&scene.topic).send([Record { headers, ..value(datum) }]);
    };
    send(&[by(KNOWN), ("trace", Some(b"x"))], &long(1));
    // The first byte of this datum is 0, and it is no prefix.
    send(&[by(KNOWN)], &long(0));
    send(&[], &registered(7, &long(2)));
    send(&[by(b"\0\0\0\0\x07")], &long(3));
    send(&[by(LATE)], &long(4));
    send(&[by(b"\x01short")], &long(5));
    send(&[by(KNOWN)], &[0, 2, 2, 0, 0, 14]);
    send(&[("apicurio.value.globalId", Some(&[0; 8]))], &registered(7, &long(6)));

    scene.source_and_target(
        "n bigint, negated bigint",
        &format!("format 'avro', schema_registry '{address}'"),
    );
    scene.db.sql(
        "SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass, error_limit => '10')",
    );
    scene.db.sql(
        "SELECT gpss.start_job('load', quit_at_eof => true); SELECT gpss.wait_job('load', '60 s')",
    );
    let loaded = "SELECT string_agg(n::text, ',' ORDER BY n), count(negated) FROM target";
    assert_eq!(scene.db.sql(loaded), "0,1,2,3|0");
    let reasons = "SELECT \"offset\" || ' ' || message FROM gpss.errors ORDER BY \"offset\"";
    let reasons = scene.db.sql(reasons);
    let reasons: Vec<&str> = reasons.lines().collect();
    for (reason, part) in reasons.iter().zip([
        "4 the schema registry has no schema ffffffff-ffff-ffff-ffff-ffffffffffff",
        "5 the header of the schema's id is neither",
        "6 invalid Avro data: 5 bytes are left over",
        "7 the message names its schema in header apicurio.value.globalId",
    ]) {
        assert!(reason.starts_with(part), "{reason}");
    }
    assert_eq!(reasons.len(), 4);

    // The headers have been kept: the message is what it was.
    schemas.lock().expect("schemas").push(schema(LATE_PATH, "AVRO", NUMBER));
    eventually("the schema is asked for again", 30, || {
        scene.db.sql("SELECT gpss.retry_errors('load')");
        scene.db.sql(loaded) == "0,1,2,3,4|0"
    });
    // A query sees them too, though nobody wants the headers' column.
    scene.table(
        "query",
        "n bigint, e text OPTIONS (source 'error')",
        &format!("format 'avro', schema_registry '{address}'"),
    );
    let good = "SELECT string_agg(n::text, ',' ORDER BY n) FROM query WHERE e IS NULL";
    assert_eq!(scene.db.sql(good), "0,1,2,3,4");
}

#[test]
fn protobuf_by_the_id_and_the_indexes_in_a_header() {
    let scene = Scene::new(1);
    let text = "syntax = \"proto3\"; message A { int64 n = 1; } message B { string s = 1; }";
    let schemas = Schemas::default();
    schemas.lock().expect("schemas").push(schema(KNOWN_PATH, "PROTOBUF", text));
    let address = registry(&schemas);
    let second = [KNOWN, &[2, 2]].concat();
    let first = [KNOWN, &[0]].concat();
    Producer::new(&scene.topic).send([
        Record { headers: &[("__value_schema_id", Some(&first))], ..value(&number_field(1, 5)) },
        Record { headers: &[("__value_schema_id", Some(&second))], ..value(&field(1, b"five")) },
        Record { headers: &[("__value_schema_id", Some(KNOWN))], ..value(&number_field(1, 6)) },
    ]);
    scene.server();
    scene.table(
        "source",
        "n bigint, s text, e text OPTIONS (source 'error')",
        &format!("format 'protobuf', schema_registry '{address}'"),
    );
    assert_eq!(
        scene.db.sql("SELECT n, s, e FROM source"),
        "5||\n|five|\n||indexes of the message type are not valid"
    );
}

#[test]
fn json_behind_a_schemas_id() {
    let scene = Scene::new(1);
    Producer::new(&scene.topic).send([
        value(b"{\"n\": 1}"),
        value(&registered(7, b"{\"n\": 2}")),
        value(b"\0\0"),
        Record {
            key: Some(&registered(8, b"{\"k\": 3}")),
            ..value(&registered(7, b"{\"n\": 3}\n{\"n\": 4}"))
        },
    ]);
    scene.server();
    let error = "e text OPTIONS (source 'error')";
    scene.table("fields", &format!("n int, {error}"), "format 'json'");
    scene.table("documents", &format!("v json OPTIONS (source 'value'), {error}"), "format 'json'");
    scene.table(
        "lines",
        &format!("n int, k int OPTIONS (source 'key'), {error}"),
        "format 'jsonl', key_format 'json'",
    );
    let short = "the message is too short for a schema's id";
    let shown = |sql: &str| scene.db.sql(sql);
    assert_eq!(shown("SELECT n FROM fields WHERE e IS NULL"), "1\n2",);
    assert_eq!(shown("SELECT e FROM fields OFFSET 2 LIMIT 1"), short);
    assert_eq!(
        shown("SELECT v->>'n', v FROM documents WHERE e IS NULL"),
        "1|{\"n\": 1}\n2|{\"n\": 2}"
    );
    assert_eq!(shown("SELECT n FROM lines WHERE e IS NULL"), "1\n2\n3\n4");

    // Eight bytes, where an option says so.
    let eight = [&[0; 9][..], b"{\"n\": 5}"].concat();
    Producer::new(&scene.topic).send([value(&eight)]);
    scene.table("eight", &format!("n int, {error}"), "format 'json', schema_id_bytes '8'");
    assert_eq!(shown("SELECT n FROM eight WHERE e IS NULL"), "1\n5");
}
