//! Avro and Protobuf: with a schema registry that answers, refuses, hangs or is away, and with
//! schemas of one's own.

use gpss_testbed::encode::{array, bytes, field, long, number_field, registered};
use gpss_testbed::{
    Producer, Record, Reference, Registry, Scene, USER_AND_PASSWORD, eventually, literal, root,
    value,
};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// Submits a configuration (see `Scene::placed`); what it says to the user.
fn submit(scene: &Scene, job: &str, config: &str) -> String {
    let config = scene.placed(config);
    scene.db.notices(&format!("SELECT gpss.submit_job('{job}', {config})"))
}

/// A subject of this test's own.
fn subject(scene: &Scene, name: &str) -> String {
    format!("{}-{name}", scene.topic.name)
}

fn avro(scene: &Scene, registry: &Registry, schema: &str) -> u32 {
    registry.register(&subject(scene, "value"), schema, "AVRO", &[])
}

const NUMBER: &str =
    r#"{"type": "record", "name": "N", "fields": [{"name": "n", "type": "long"}]}"#;

/// A topic with the numbers 1 and 2 as Avro.
fn two_numbers(scene: &Scene, registry: &Registry) -> u32 {
    let id = avro(scene, registry, NUMBER);
    Producer::new(&scene.topic)
        .send([value(&registered(id, &long(1))), value(&registered(id, &long(2)))]);
    id
}

#[test]
fn avro_key_and_value_from_a_registry_with_an_array_column() {
    let scene = Scene::new(1);
    let registry = Registry::shared();
    let key = registry.register(&subject(&scene, "key"), "\"int\"", "AVRO", &[]);
    let id = avro(
        &scene,
        &registry,
        r#"{"type": "record", "name": "Invoice", "fields": [
            {"name": "client", "type": "int"},
            {"name": "items", "type": {"type": "array", "items": "float"}}]}"#,
    );
    let items = |list: &[f32]| {
        array(&list.iter().map(|item| item.to_le_bytes().to_vec()).collect::<Vec<_>>())
    };
    let invoice = |client: i64, list: &[f32]| registered(id, &[long(client), items(list)].concat());
    Producer::new(&scene.topic).send([
        Record { key: Some(&registered(key, &long(4))), ..value(&invoice(7, &[1.5, 2.5])) },
        Record { key: Some(&registered(key, &long(5))), ..value(&invoice(8, &[])) },
        Record { key: Some(&registered(key, &long(6))), ..Record::default() },
        Record { key: Some(b"\x00"), ..value(&invoice(9, &[])) },
    ]);
    scene.db.sql("CREATE TABLE invoices (k json, client int, items float[])");
    submit(
        &scene,
        "load",
        &r#"
DATABASE: d
USER: u
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {BROKERS: "THE_ADDRESS", TOPIC: THE_TOPIC}
    VALUE:
      COLUMNS: [{NAME: v, TYPE: json}]
      FORMAT: avro
      AVRO_OPTION: {SCHEMA_REGISTRY_ADDR: "http://first-is-down:1, THE_REGISTRY"}
    KEY:
      COLUMNS: [{NAME: k, TYPE: json}]
      FORMAT: avro
      AVRO_OPTION: {SCHEMA_REGISTRY_ADDR: "THE_REGISTRY/"}
    ERROR_LIMIT: 10
  OUTPUT:
    TABLE: invoices
    MAPPING:
      - {NAME: k, EXPRESSION: k}
      - {NAME: client, EXPRESSION: "(v->>'client')::int"}
      - {NAME: items, EXPRESSION: "array(select json_array_elements(v->'items')::text::float)"}
  COMMIT: {MINIMAL_INTERVAL: 200}
"#
        .replace("THE_REGISTRY", registry.address()),
    );
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT * FROM invoices"), "4|7|{1.5,2.5}\n5|8|{}\n6||{}");
    assert_eq!(
        scene.db.sql("SELECT \"offset\", stage, message FROM gpss.errors"),
        "3|decode|in the message's key: the message is too short for a schema's id"
    );
    // The array is a column of its own where the columns are the fields.
    scene.server();
    let options = format!(
        "format 'avro', schema_registry '{0}', key_format 'avro', key_schema_registry '{0}'",
        registry.address()
    );
    let columns = "client int, items real[], k int OPTIONS (source 'key'),
                   pos bigint OPTIONS (source 'offset'), problem text OPTIONS (source 'error')";
    scene.table("source", columns, &options);
    assert_eq!(
        scene.db.sql("SELECT k, client, items FROM source WHERE problem IS NULL"),
        "4|7|{1.5,2.5}\n5|8|{}\n6||"
    );
}

#[test]
fn bytes_in_base64_as_characters_and_raw() {
    let scene = Scene::new(1);
    let registry = Registry::shared();
    let id = avro(
        &scene,
        &registry,
        r#"{"type": "record", "name": "B", "fields": [
            {"name": "b", "type": ["null", "bytes"]},
            {"name": "f", "type": {"type": "fixed", "name": "F", "size": 2}},
            {"name": "s", "type": "string"}, {"name": "n", "type": "int"}]}"#,
    );
    let message = |b: &[u8]| {
        [&registered(id, &long(1))[..], &bytes(b), b"\xfeB", &bytes("ä".as_bytes()), &long(3)]
            .concat()
    };
    let plain = message(b"\xffA");
    let null = registered(id, &[&long(0)[..], b"CD", &bytes(b""), &long(4)].concat());
    Producer::new(&scene.topic).send([value(&plain), value(&null)]);
    let config = |option: &str, target: &str| {
        format!(
            r#"
DATABASE: d
USER: u
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {{BROKERS: "THE_ADDRESS", TOPIC: THE_TOPIC}}
    VALUE:
      COLUMNS: [{{NAME: v, TYPE: json}}]
      FORMAT: avro
      AVRO_OPTION: {{SCHEMA_REGISTRY_ADDR: "{}"{option}}}
  OUTPUT: {{TABLE: {target}, MAPPING: {{b: "v->>'b'", f: "v->>'f'"}}}}
"#,
            registry.address()
        )
    };
    scene.db.sql("CREATE TABLE plain (b text, f text); CREATE TABLE base64 (b text, f text)");
    submit(&scene, "plain", &config("", "plain"));
    submit(&scene, "base64", &config(", BYTES_TO_BASE64: true", "base64"));
    scene.run("plain");
    scene.run("base64");
    assert_eq!(scene.db.sql("SELECT * FROM plain"), "ÿA|þB\n|CD");
    assert_eq!(scene.db.sql("SELECT * FROM base64"), "/0E=|/kI=\n|Q0Q=");
    let columns = "b bytea, f bytea, s bytea, \"text\" text OPTIONS (field 'b'), n int";
    for base64 in ["false", "true"] {
        let options = format!(
            "format 'avro', schema_registry '{}', bytes_to_base64 '{base64}'",
            registry.address()
        );
        scene.db.sql("DROP SERVER IF EXISTS kafka CASCADE; DROP TABLE IF EXISTS target");
        scene.db.sql("SELECT gpss.remove_job(name) FROM gpss.jobs WHERE name = 'load'");
        scene.source_and_target(columns, &options);
        let text = if base64 == "true" { "/0E=" } else { "ÿA" };
        let rows = format!("\\xff41|\\xfe42|\\xc3a4|{text}|3\n|\\x4344|\\x||4");
        assert_eq!(scene.db.sql("SELECT * FROM source"), rows);
        scene.load_source();
        assert_eq!(scene.db.sql("SELECT * FROM target"), rows);
    }
}

#[test]
fn raw_bytes_may_be_any_and_do_not_spoil_the_other_columns() {
    let scene = Scene::new(1);
    let registry = Registry::shared();
    let id = avro(
        &scene,
        &registry,
        r#"{"type": "record", "name": "B", "fields": [{"name": "b", "type": "bytes"}, {"name": "n", "type": "int"}]}"#,
    );
    let message = registered(id, &[bytes(b"\x00\xff"), long(3)].concat());
    Producer::new(&scene.topic).send([value(&message)]);
    let options = format!("format 'avro', schema_registry '{}'", registry.address());
    scene.source_and_target("b bytea, n int", &options);
    assert_eq!(scene.db.sql("SELECT b FROM source"), "\\x00ff");
    assert_eq!(scene.db.sql("SELECT b, n FROM source"), "\\x00ff|3");
}

#[test]
fn a_topic_may_have_messages_of_several_schemas() {
    let scene = Scene::new(1);
    let registry = Registry::shared();
    let first = avro(&scene, &registry, NUMBER);
    let second = avro(
        &scene,
        &registry,
        r#"{"type": "record", "name": "N", "fields": [
            {"name": "note", "type": "string", "default": "none"}, {"name": "n", "type": "long"}]}"#,
    );
    assert_ne!(first, second);
    let raw = registry.register(&subject(&scene, "raw"), "\"bytes\"", "AVRO", &[]);
    let proto = registry.register(
        &subject(&scene, "proto"),
        "syntax = \"proto3\"; message M { int64 n = 1; }",
        "PROTOBUF",
        &[],
    );
    let new = [bytes("ä".as_bytes()), long(2)].concat();
    Producer::new(&scene.topic).send([
        value(&registered(first, &long(1))),
        value(&registered(second, &new)),
        value(&registered(2_000_000_000, &long(3))),
        value(&registered(u32::MAX, &long(3))),
        value(&registered(proto, &long(3))),
        value(&registered(second, &long(3))),
        value(b"{\"n\": 3}"),
        value(b"\x00\x00\x00"),
        value(b""),
        Record::default(),
        value(&registered(raw, b"any")),
        value(&registered(first, &long(4))),
    ]);
    let options = format!("format 'avro', schema_registry '{}'", registry.address());
    let columns = "n int, note text, doc json OPTIONS (source 'value'),
                   pos bigint OPTIONS (source 'offset'), problem text OPTIONS (source 'error')";
    scene.source_and_target(columns, &options);
    scene.load_source();
    let rows =
        "1||{\"n\":1}|0\n2|ä|{\"note\":\"ä\",\"n\":2}|1\n|||9\n||\"any\"|10\n4||{\"n\":4}|11";
    assert_eq!(scene.db.sql("SELECT n, note, doc, pos FROM target"), rows);
    let query = "SELECT n, note, doc, pos FROM source WHERE problem IS NULL";
    assert_eq!(scene.db.sql(query), rows);
    let errors = scene.db.sql("SELECT \"offset\", stage, message FROM gpss.errors ORDER BY 1");
    let unknown = "the schema registry has no schema";
    let expected = [
        format!("2|decode|{unknown} 2000000000"),
        format!("3|decode|{unknown} 4294967295"),
        format!("4|decode|schema {proto}: it is of type Protobuf, not Avro"),
    ];
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines[..3], expected);
    let offsets: Vec<&str> = lines.iter().filter_map(|line| line.split('|').next()).collect();
    assert_eq!(offsets, ["2", "3", "4", "5", "6", "7", "8"]);
    let problem = scene.db.sql("SELECT problem FROM source WHERE pos = 2");
    assert_eq!(problem, format!("{unknown} 2000000000"));
}

#[test]
fn references_of_schemas_are_followed() {
    let scene = Scene::new(1);
    let registry = Registry::shared();
    let (street, address) = (subject(&scene, "street"), subject(&scene, "address"));
    registry.register(
        &street,
        r#"{"type": "record", "name": "Street", "namespace": "geo", "fields": [{"name": "s", "type": "string"}]}"#,
        "AVRO",
        &[],
    );
    registry.register(
        &address,
        r#"{"type": "record", "name": "Address", "namespace": "geo", "fields": [{"name": "street", "type": "Street"}]}"#,
        "AVRO",
        &[Reference { name: "geo.Street", subject: &street, version: 1 }],
    );
    let id = registry.register(
        &subject(&scene, "value"),
        r#"{"type": "record", "name": "Person", "fields": [
            {"name": "name", "type": "string"}, {"name": "home", "type": ["null", "geo.Address"]}]}"#,
        "AVRO",
        &[Reference { name: "geo.Address", subject: &address, version: 1 }],
    );
    let person = [bytes(b"ann"), long(1), bytes(b"High Street")].concat();
    Producer::new(&scene.topic).send([value(&registered(id, &person))]);
    let options = format!("format 'avro', schema_registry '{}'", registry.address());
    scene.source_and_target("name text, home jsonb", &options);
    scene.load_source();
    let rows = "ann|{\"street\": {\"s\": \"High Street\"}}";
    assert_eq!(scene.db.sql("SELECT * FROM target"), rows);
    assert_eq!(scene.db.sql("SELECT * FROM source"), rows);
}

#[test]
fn a_job_waits_for_its_registry() {
    let scene = Scene::new(1);
    let registry = Registry::shared();
    let id = two_numbers(&scene, &registry);
    let options = format!("format 'avro', schema_registry '{}'", registry.address());
    scene.source_and_target("n int", &options);
    registry.stop();
    scene.db.sql(
        "SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass, minimal_interval => 100);
         SELECT gpss.start_job('load')",
    );
    let status = |what: &str| scene.db.sql(&format!("SELECT {what} FROM gpss.jobs"));
    eventually("the job retries", 60, || status("status") == "JOB_RETRYING");
    let reason = status("errmsg");
    assert!(reason.contains("the schema registry does not answer"), "{reason}");
    assert!(reason.contains(registry.address()), "{reason}");
    assert_eq!(scene.db.sql("SELECT count(*) FROM gpss.errors"), "0");
    assert_eq!(scene.db.sql("SELECT count(*) FROM gpss.progress WHERE next_offset > 0"), "0");
    let error = scene.db.error("SELECT * FROM source");
    assert!(
        error.contains("the schema registry does not answer") && error.contains("HINT"),
        "{error}"
    );
    let state = "DO $$ BEGIN PERFORM n FROM source; EXCEPTION WHEN connection_failure THEN
                 RAISE NOTICE 'as expected'; END $$";
    assert!(scene.db.notices(state).contains("as expected"));
    registry.start();
    let rows = || scene.db.sql("SELECT string_agg(n::text, ',') FROM target");
    eventually("the rows", 90, || rows() == "1,2");
    // What is known already does not need the registry.
    registry.stop();
    Producer::new(&scene.topic).send([value(&registered(id, &long(3)))]);
    let three = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually("a row without the registry", 20, || rows() == "1,2,3");
    }));
    registry.start();
    assert!(three.is_ok(), "{}", status("status || coalesce(errmsg, '')"));
    assert_eq!(scene.db.sql("SELECT count(*) FROM gpss.errors"), "0");
    scene.db.sql("SELECT gpss.stop_job('load')");
}

#[test]
fn a_registry_that_hangs_holds_neither_a_query_nor_the_end_of_a_job() {
    let scene = Scene::new(1);
    let registry = Registry::shared();
    two_numbers(&scene, &registry);
    let options = format!("format 'avro', schema_registry '{}'", registry.address());
    scene.source_and_target("n int", &options);
    registry.pause();
    let start = Instant::now();
    let error = scene.db.try_sql("SET statement_timeout = '500 ms'; SELECT * FROM source");
    let query = start.elapsed();
    let error = error.expect_err("a timeout");
    scene.db.sql(
        "SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass);
         SELECT gpss.start_job('load')",
    );
    eventually("the worker runs", 20, || !scene.workers().is_empty());
    std::thread::sleep(Duration::from_secs(2));
    let start = Instant::now();
    let stopped = scene.db.try_sql("SELECT gpss.stop_job('load')");
    let gone = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually("the worker ends", 20, || scene.workers().is_empty());
    }));
    let stop = start.elapsed();
    let status = scene.db.sql("SELECT status FROM gpss.jobs");
    registry.resume();
    assert!(error.contains("statement timeout"), "{error}");
    assert!(query < Duration::from_secs(3), "{query:?}");
    assert!(stopped.is_ok() && gone.is_ok(), "{stopped:?}");
    assert!(stop < Duration::from_secs(8), "{stop:?}");
    assert_eq!(status, "JOB_STOPPED");
    assert_eq!(scene.db.sql("SELECT count(*) FROM gpss.errors"), "0");
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT string_agg(n::text, ',') FROM target"), "1,2");
}

#[test]
fn what_a_registry_does_not_answer_for_is_not_taken_for_read() {
    let scene = Scene::new(2);
    let registry = Registry::shared();
    let id = avro(&scene, &registry, NUMBER);
    let options = format!("format 'avro', schema_registry '{}'", registry.address());
    scene.source_and_target("n int", &options);
    let producer = Producer::new(&scene.topic);
    for n in 0..10 {
        let message = registered(id, &long(n));
        producer.send([Record { partition: i32::from(n % 2 == 1), ..value(&message) }]);
    }
    // While the reader waits for an answer, librdkafka reaches the end of the topic.
    registry.pause();
    let query = scene.db.try_sql("SELECT count(*) FROM source");
    scene.db.sql(
        "SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass);
         SELECT gpss.start_job('load', quit_at_eof => true)",
    );
    let retrying = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually("the job retries", 60, || {
            scene.db.sql("SELECT status FROM gpss.jobs") == "JOB_RETRYING"
        });
    }));
    let moved = scene.db.sql("SELECT coalesce(max(next_offset), 0) FROM gpss.progress");
    registry.resume();
    let error = query.expect_err("no answer is not an empty topic");
    assert!(error.contains("schema registry"), "{error}");
    assert!(retrying.is_ok());
    assert_eq!(moved, "0");
    scene.db.sql("SELECT gpss.wait_job('load', '120 s')");
    assert_eq!(scene.db.sql("SELECT status FROM gpss.jobs"), "JOB_SUCCESS");
    assert_eq!(scene.db.sql("SELECT count(*), count(DISTINCT n) FROM target"), "10|10");
}

#[test]
fn a_job_goes_on_when_a_hanging_registry_answers_again() {
    let scene = Scene::new(2);
    let registry = Registry::shared();
    let id = avro(&scene, &registry, NUMBER);
    let options = format!("format 'avro', schema_registry '{}'", registry.address());
    scene.source_and_target("n int", &options);
    let producer = Producer::new(&scene.topic);
    for n in 0..100 {
        let message = registered(id, &long(n));
        let partition = i32::from(n % 2 == 1);
        producer.send([Record { partition, ..value(&message) }]);
    }
    registry.pause();
    scene.db.sql(
        "SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass,
             minimal_interval => 50, max_row => 7, workers => 2);
         SELECT gpss.start_job('load')",
    );
    let retrying = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually("the job retries", 60, || {
            scene.db.sql("SELECT status FROM gpss.jobs") == "JOB_RETRYING"
        });
    }));
    registry.resume();
    assert!(retrying.is_ok());
    let rows = || scene.db.sql("SELECT count(*), count(DISTINCT n) FROM target");
    let deadline = Instant::now() + Duration::from_secs(60);
    while rows() != "100|100" {
        let state = "SELECT status, errmsg, next_retry_at - now(), rows_loaded FROM gpss.jobs";
        assert!(Instant::now() < deadline, "{}: {}", rows(), scene.db.sql(state));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(scene.db.sql("SELECT count(*) FROM gpss.errors"), "0");
    scene.db.sql("SELECT gpss.stop_job('load')");
}

#[test]
fn tls_with_and_without_the_right_certificates() {
    let scene = Scene::new(1);
    let registry = Registry::shared();
    two_numbers(&scene, &registry);
    scene.server();
    let ca = format!("schema_ca '{}'", registry.ca());
    let client = format!(
        "{ca}, schema_cert '{}', schema_key '{}'",
        registry.client_cert(),
        registry.client_key()
    );
    let wrong_ca = format!("schema_ca '{}'", registry.client_cert());
    let modern = format!("{ca}, schema_min_tls_version '1.3'");
    let old = format!("{ca}, schema_min_tls_version '1.0'");
    let read = |address: &str, options: &str| {
        let options = if options.is_empty() { String::new() } else { format!(", {options}") };
        let options = format!("format 'avro', schema_registry '{address}'{options}");
        scene.table("tls", "n int", &options);
        let outcome = scene.db.try_sql("SELECT string_agg(n::text, ',') FROM tls");
        scene.db.sql("DROP FOREIGN TABLE tls");
        outcome
    };
    let works = Ok("1,2".to_owned());
    assert_eq!(read(registry.tls_address(), &ca), works);
    assert_eq!(read(registry.tls_address(), &modern), works);
    assert_eq!(read(registry.old_tls_address(), &ca), works);
    assert_eq!(read(registry.old_tls_address(), &old), works);
    assert_eq!(read(registry.tls_address(), &client), works);
    assert_eq!(read(registry.mutual_tls_address(), &client), works);
    for (what, address, options) in [
        ("no CA", registry.tls_address(), ""),
        ("another CA", registry.tls_address(), &wrong_ca[..]),
        ("no client certificate", registry.mutual_tls_address(), &ca),
        ("TLS 1.2", registry.old_tls_address(), &modern),
        ("another name", registry.misnamed_tls_address(), &ca),
    ] {
        let error = read(address, options).expect_err(what);
        assert!(error.contains("the schema registry does not answer"), "{what}: {error}");
        assert!(error.contains("Check the certificates"), "{what}: {error}");
    }
    // The one that can be reached is asked.
    let list = format!("{}, {}", registry.misnamed_tls_address(), registry.tls_address());
    assert_eq!(read(&list, &ca), works);
    // The files are looked at before anybody is asked.
    for (options, message) in [
        (
            "schema_ca '/nowhere/ca.pem'",
            "could not read file \"/nowhere/ca.pem\" of option \"schema_ca\"",
        ),
        ("schema_ca '/dev/zero'", "It is not a regular file"),
    ] {
        let error = read(registry.tls_address(), options).expect_err(options);
        assert!(error.contains(message), "{error}");
    }
    let key_as_ca = format!("schema_ca '{}'", registry.client_key());
    let error = read(registry.tls_address(), &key_as_ca).expect_err("a key");
    assert!(error.contains("has no certificates in PEM form"), "{error}");
    let error = scene.db.error(&format!(
        "CREATE FOREIGN TABLE half (n int) SERVER kafka OPTIONS (topic 't', format 'avro',
            schema_registry 'https://r', schema_cert '{}')",
        registry.client_cert()
    ));
    assert!(error.contains("schema_key"), "{error}");
}

#[test]
fn tls_from_a_configuration() {
    let scene = Scene::new(1);
    let registry = Registry::shared();
    two_numbers(&scene, &registry);
    scene.db.sql("CREATE TABLE target (n int)");
    submit(
        &scene,
        "load",
        &format!(
            r#"
version: v3
targets: [{{gpdb: {{database: d, user: u, tables: [{{table: target, mapping: {{n: "(j->>'n')::int"}}}}]}}}}]
sources:
- kafka:
    topic: THE_TOPIC
    brokers: THE_ADDRESS
    value_content:
      avro:
        column: {{name: j, type: json}}
        schema_url: "{}"
        schema_ca_on_gpdb: {}
        schema_cert_on_gpdb: {}
        schema_key_on_gpdb: {}
        schema_min_tls_version: "1.2"
"#,
            registry.mutual_tls_address(),
            registry.ca(),
            registry.client_cert(),
            registry.client_key()
        ),
    );
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT string_agg(n::text, ',') FROM target"), "1,2");
}

#[test]
fn a_password_in_a_configuration_ends_up_in_the_user_mapping() {
    let scene = Scene::new(1);
    let registry = Registry::with_password();
    two_numbers(&scene, &registry);
    scene.db.sql("CREATE TABLE target (n int)");
    let config = |login: &str| {
        let address = registry.address().replace("http://", &format!("http://{login}@"));
        format!(
            r#"
DATABASE: d
USER: u
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {{BROKERS: "THE_ADDRESS", TOPIC: THE_TOPIC}}
    VALUE:
      FORMAT: avro
      AVRO_OPTION: {{SCHEMA_REGISTRY_ADDR: "{address}"}}
  OUTPUT: {{TABLE: target, MAPPING: {{n: "(value->>'n')::int"}}}}
"#
        )
    };
    let (_, password) = USER_AND_PASSWORD.split_once(':').expect("a colon");
    // Some of it as %XX.
    let login = USER_AND_PASSWORD.replace('s', "%73");
    let notices = submit(&scene, "load", &config(&login));
    assert!(!notices.contains(password) && !notices.contains("%73"), "{notices}");
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT string_agg(n::text, ',') FROM target"), "1,2");
    let seen = |sql: &str| {
        scene.db.sql(&format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM {sql} AS t"))
    };
    for place in [
        "gpss.job",
        "gpss.jobs",
        "gpss.status",
        "gpss.run",
        "gpss.batches",
        "pg_foreign_table",
        "pg_foreign_server",
    ] {
        let text = seen(place);
        assert!(!text.contains(password) && !text.contains("%73"), "{place}: {text}");
    }
    let mapping = scene.db.sql("SELECT umoptions FROM pg_user_mappings");
    assert_eq!(mapping, "{schema_registry_user=gpss,schema_registry_password=secret}");
}

#[test]
fn a_registry_that_refuses_the_password_is_asked_again_with_the_one_that_is_mapped_then() {
    let scene = Scene::new(1);
    let registry = Registry::with_password();
    two_numbers(&scene, &registry);
    let options = format!("format 'avro', schema_registry '{}'", registry.address());
    scene.source_and_target("n int", &options);
    let refused = |error: &str| {
        assert!(error.contains("the schema registry does not admit this client"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    };
    let error = scene.db.error("SELECT * FROM source");
    refused(&error);
    assert!(error.contains("HINT:  Check the user and password"), "{error}");
    scene.db.sql(
        "CREATE USER MAPPING FOR CURRENT_USER SERVER kafka
             OPTIONS (schema_registry_user 'gpss', schema_registry_password 'hunter2');
         SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass);
         SELECT gpss.start_job('load', quit_at_eof => true)",
    );
    eventually("the job retries", 30, || {
        scene.db.sql("SELECT status FROM gpss.jobs") == "JOB_RETRYING"
    });
    refused(&scene.db.sql("SELECT errmsg FROM gpss.jobs"));
    assert_eq!(scene.db.sql("SELECT count(*) FROM gpss.errors"), "0");
    assert_eq!(scene.db.sql("SELECT count(*) FROM gpss.progress WHERE next_offset > 0"), "0");
    let check =
        scene.db.sql("SELECT * FROM gpss.check('load') WHERE component = 'schema registry'");
    assert!(check.starts_with("schema registry|failed|"), "{check}");
    refused(&check);
    assert!(check.contains("Check the user and password"), "{check}");
    scene.db.sql(
        "ALTER USER MAPPING FOR CURRENT_USER SERVER kafka OPTIONS (SET schema_registry_password 'secret')",
    );
    assert_eq!(scene.db.sql("SELECT gpss.wait_job('load', '60 s')"), "JOB_SUCCESS");
    assert_eq!(scene.db.sql("SELECT string_agg(n::text, ',') FROM target"), "1,2");
    let check =
        scene.db.sql("SELECT * FROM gpss.check('load') WHERE component = 'schema registry'");
    let answers = format!("the schema registry at {} answers", registry.address());
    assert_eq!(check, format!("schema registry|ok|{answers}|"));
}

#[test]
fn a_password_is_not_sent_where_the_maker_of_a_table_likes() {
    let scene = Scene::new(1);
    scene.topic.send_bytes(0, &registered(1, &long(1)));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let trap = listener.local_addr().expect("an address");
    let maker = format!("maker_{}", scene.db.name);
    scene.server();
    scene.db.sql(&format!(
        "CREATE ROLE {maker}; GRANT USAGE ON FOREIGN SERVER kafka TO {maker};
         GRANT USAGE ON FOREIGN DATA WRAPPER gpss TO {maker}; GRANT CREATE ON SCHEMA public TO {maker};
         CREATE USER MAPPING FOR PUBLIC SERVER kafka
             OPTIONS (schema_registry_user 'gpss', schema_registry_password 'hunter2');
         SET ROLE {maker};
         CREATE FOREIGN TABLE trap (n int) SERVER kafka
             OPTIONS (topic '{}', format 'avro', schema_registry '{trap}');
         CREATE FOREIGN TABLE key_trap (n int, k int OPTIONS (source 'key_field')) SERVER kafka
             OPTIONS (topic '{0}', format 'binary', key_format 'avro', key_schema_registry '{trap}')",
        scene.topic.name
    ));
    // The first request for a query, with its headers.
    let heard = |sql: &str| {
        std::thread::scope(|threads| {
            let request = threads.spawn(|| {
                let (mut connection, _) = listener.accept().expect("a connection");
                connection.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
                let mut request = vec![0; 4096];
                let length = connection.read(&mut request).expect("a request");
                let answer =
                    "HTTP/1.0 404 Not Found\r\nContent-Length: 20\r\n\r\n{\"error_code\":40403}";
                connection.write_all(answer.as_bytes()).expect("it reads");
                String::from_utf8_lossy(&request[..length]).into_owned()
            });
            let error = scene.db.error(sql);
            assert!(error.contains("has no schema 1"), "{error}");
            request.join().expect("a request")
        })
    };
    let as_maker = heard(&format!("SET ROLE {maker}; SELECT n FROM trap"));
    let as_owner = heard("SELECT n FROM trap");
    scene.db.sql("ALTER FOREIGN TABLE trap OWNER TO CURRENT_USER");
    let own_table = heard("SELECT n FROM trap");
    scene.db.sql(&format!("DROP OWNED BY {maker}; DROP ROLE {maker}"));
    for request in [&as_maker, &as_owner] {
        assert!(request.starts_with("GET /schemas/ids/1 "), "{request}");
        assert!(!request.to_lowercase().contains("authorization"), "{request}");
    }
    assert!(own_table.to_lowercase().contains("authorization: basic "), "{own_table}");
}

#[test]
fn a_server_may_name_the_registry_for_its_tables() {
    let scene = Scene::new(1);
    let registry = Registry::shared();
    two_numbers(&scene, &registry);
    scene.server();
    scene.db.sql(&format!(
        "ALTER SERVER kafka OPTIONS (ADD schema_registry '{}', ADD schema_ca '{}')",
        registry.tls_address(),
        registry.ca()
    ));
    scene.table("source", "n int", "format 'avro'");
    assert_eq!(scene.db.sql("SELECT string_agg(n::text, ',') FROM source"), "1,2");
    // The table's own goes first.
    scene.table("other", "n int", "format 'avro', schema_registry 'http://127.0.0.1:1'");
    let error = scene.db.error("SELECT * FROM other");
    assert!(error.contains("http://127.0.0.1:1:"), "{error}");
    // Other formats do not mind.
    scene.table("plain", "b bytea", "format 'binary'");
    assert_eq!(scene.db.sql("SELECT count(b) FROM plain"), "2");
    // A table that brings its schema does not need the registry.
    let options = format!("format 'avro', schema {}", literal(NUMBER));
    scene.table("local", "n int, problem text OPTIONS (source 'error')", &options);
    assert_eq!(scene.db.sql("SELECT count(problem) FROM local"), "2");
}

const MONEY: &str = r#"syntax = "proto3"; package shop; message Money { int64 units = 1; }"#;
const ORDERS: &str = r#"
    syntax = "proto3";
    package shop;
    import "money.proto";
    message First { string a = 1; }
    message Order {
      message Line { string sku = 1; Money price = 2; bytes seal = 3; }
      int32 id = 1;
      repeated Line lines = 2;
      optional string note = 3;
    }"#;

/// A line of an order.
fn line(sku: &str, units: u64) -> Vec<u8> {
    [field(1, sku.as_bytes()), field(2, &number_field(1, units))].concat()
}

#[test]
fn protobuf_from_a_registry_with_message_indexes_and_an_import() {
    let scene = Scene::new(1);
    let registry = Registry::shared();
    let money = subject(&scene, "money");
    registry.register(&money, MONEY, "PROTOBUF", &[]);
    let reference = Reference { name: "money.proto", subject: &money, version: 1 };
    let id = registry.register(&subject(&scene, "value"), ORDERS, "PROTOBUF", &[reference]);
    let order = [number_field(1, 7), field(2, &line("x", 5)), field(2, &line("y", 6))].concat();
    let seal = [line("z", 9), field(3, b"\xff\x01")].concat();
    let indexed = |indexes: &[i64], message: &[u8]| {
        let indexes = match indexes {
            [0] => vec![0],
            list => {
                let count = i64::try_from(list.len()).expect("few");
                [long(count), list.iter().flat_map(|index| long(*index)).collect()].concat()
            }
        };
        registered(id, &[&indexes, message].concat())
    };
    Producer::new(&scene.topic).send([
        value(&indexed(&[1], &order)),
        value(&indexed(&[0], &field(1, b"first"))),
        value(&indexed(&[1, 0], &seal)),
        value(&indexed(&[5], &order)),
        value(&indexed(&[1], &order[..order.len() - 1])),
        value(&indexed(&[1], &[])),
        value(&registered(id, &[])),
        Record::default(),
    ]);
    let options = format!("format 'protobuf', schema_registry '{}'", registry.address());
    let columns = "id int, a text, sku text, lines jsonb, note text, seal bytea,
                   pos bigint OPTIONS (source 'offset'), problem text OPTIONS (source 'error')";
    scene.source_and_target(columns, &options);
    let list = "pos, id, a, sku, lines, note, seal";
    let rows = r#"0|7|||[{"sku": "x", "seal": "", "price": {"units": 5}}, {"sku": "y", "seal": "", "price": {"units": 6}}]||
1||first||||
2|||z|||\xff01
5|0|||[]||
7||||||"#;
    assert_eq!(scene.db.sql(&format!("SELECT {list} FROM source WHERE problem IS NULL")), rows);
    scene.load_source();
    assert_eq!(scene.db.sql(&format!("SELECT {list} FROM target")), rows);
    assert_eq!(
        scene.db.sql("SELECT \"offset\", stage FROM gpss.errors ORDER BY 1"),
        "3|decode\n4|decode\n6|decode"
    );
    // One type of several.
    scene.table("orders", columns, &format!("{options}, message 'shop.Order'"));
    assert_eq!(
        scene.db.sql("SELECT string_agg(pos::text, ',') FROM orders WHERE problem IS NULL"),
        "0,5,7"
    );
}

#[test]
fn protobuf_into_two_tables() {
    let scene = Scene::new(1);
    let registry = Registry::shared();
    let schema = ORDERS.replace("import \"money.proto\";", "").replace("Money price = 2;", "");
    let id = registry.register(&subject(&scene, "value"), &schema, "PROTOBUF", &[]);
    let order = |number: u64, skus: &[&str]| {
        let lines = skus.iter().flat_map(|sku| field(2, &field(1, sku.as_bytes())));
        let message = number_field(1, number).into_iter().chain(lines).collect::<Vec<_>>();
        registered(id, &[long(1), long(1), message].concat())
    };
    Producer::new(&scene.topic).send([
        Record { key: Some(b"k1"), ..value(&order(1, &["x", "y"])) },
        Record { key: Some(b"k2"), ..value(&order(2, &[])) },
        Record { key: Some(b"k1"), ..value(&order(1, &["again"])) },
        Record { key: Some(b"k3"), ..value(&order(3, &["z"])) },
    ]);
    scene.db.sql(
        "CREATE TABLE heads (id int PRIMARY KEY, k text); CREATE TABLE lines (id int, sku text)",
    );
    submit(
        &scene,
        "load",
        &format!(
            r#"
DATABASE: d
USER: u
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {{BROKERS: "THE_ADDRESS", TOPIC: THE_TOPIC}}
    VALUE:
      COLUMNS: [{{NAME: id, TYPE: int}}, {{NAME: lines, TYPE: jsonb}}]
      FORMAT: protobuf
      PROTOBUF_OPTION: {{SCHEMA_REGISTRY_ADDR: "{}", MESSAGE: shop.Order}}
    KEY: {{COLUMNS: [{{NAME: k, TYPE: text}}], FORMAT: csv}}
    ERROR_LIMIT: 5
  OUTPUTS:
  - TABLE: heads
    MAPPING: {{id: id, k: k}}
  - TABLE: lines
    MAPPING: {{id: id, sku: "jsonb_array_elements(lines)->>'sku'"}}
"#,
            registry.address()
        ),
    );
    scene.run("load");
    assert_eq!(scene.db.sql("SELECT * FROM heads ORDER BY 1"), "1|k1\n2|k2\n3|k3");
    assert_eq!(scene.db.sql("SELECT * FROM lines ORDER BY 1, 2"), "1|x\n1|y\n3|z");
    let errors = "SELECT \"offset\", stage, sqlstate FROM gpss.errors";
    assert_eq!(scene.db.sql(errors), "2|write|23505");
}

/// A line of a corpus for which `wanted` holds.
fn vectors(corpus: &str, wanted: impl Fn(&serde_json::Value) -> bool) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(root().join("tests/corpus").join(corpus)).expect("a corpus");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    lines.filter(wanted).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(digit).collect()
}

/// A file that the server's user can read; removed when the test ends.
struct ServerFile(std::path::PathBuf);

impl ServerFile {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).expect("a temporary file");
        ServerFile(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }
}

impl Drop for ServerFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn protobuf_with_a_schema_of_its_own() {
    let scene = Scene::new(1);
    let vectors: Vec<_> = vectors("protobuf/vectors.jsonl", |v| {
        v["set"] == "proto3" && v["message"] == "corpus.three.Scalars" && v["json"].is_object()
    });
    let vectors = &vectors[..20];
    let payloads: Vec<Vec<u8>> =
        vectors.iter().map(|v| unhex(v["hex"].as_str().expect("hex"))).collect();
    Producer::new(&scene.topic).send(payloads.iter().map(|payload| value(payload)));
    let proto = root().join("tests/corpus/protobuf/proto3.proto");
    let proto = std::fs::read_to_string(proto).expect("a schema");
    let set = self::vectors("protobuf/descriptors.jsonl", |v| v["set"] == "proto3");
    let base64 = set[0]["base64"].as_str().expect("base64");
    let bytes = scene.db.sql(&format!("SELECT encode(decode('{base64}', 'base64'), 'hex')"));
    let as_text = ServerFile::new(&format!("{}.proto", scene.topic.name), proto.as_bytes());
    let as_set = ServerFile::new(&format!("{}.desc", scene.topic.name), &unhex(&bytes));
    scene.server();
    let expected = serde_json::Value::from_iter(vectors.iter().map(|v| v["json"].clone()));
    // 0.0 of the corpus and 0 are the same to jsonb, but not as text.
    let is_expected = |name: &str| {
        let same =
            format!("SELECT jsonb_agg(doc) = {} FROM {name}", literal(&expected.to_string()));
        assert_eq!(scene.db.sql(&same), "t", "{name}");
    };
    let message = "message 'corpus.three.Scalars'";
    for (name, schema) in [
        ("inline", format!("schema {}", literal(&proto))),
        ("base64", format!("schema '{base64}'")),
        ("file", format!("schema_path '{}'", as_text.path())),
        ("set_file", format!("schema_path '{}'", as_set.path())),
    ] {
        scene.table(name, "doc jsonb", &format!("format 'protobuf', {schema}, {message}"));
        is_expected(name);
        scene.db.sql(&format!(
            "CREATE TABLE into_{name} (doc jsonb);
             SELECT gpss.submit_job('{name}', '{name}'::regclass, 'into_{name}'::regclass)"
        ));
        scene.run(name);
        is_expected(&format!("into_{name}"));
    }
    // A file is not for everybody; a job whose file is gone says so.
    let role = format!("plain_{}", scene.db.name);
    let refused = scene.db.sql(&format!(
        "CREATE ROLE {role}; GRANT USAGE ON FOREIGN SERVER kafka TO {role}; GRANT CREATE ON SCHEMA public TO {role};
         SET ROLE {role};
         DO $$ BEGIN
             CREATE FOREIGN TABLE refused (doc jsonb) SERVER kafka
                 OPTIONS (topic 't', format 'protobuf', schema_path '/etc/passwd', message 'x');
         EXCEPTION WHEN insufficient_privilege THEN PERFORM set_config('test.refused', SQLERRM, false); END $$;
         RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role};
         SELECT current_setting('test.refused')"
    ));
    assert_eq!(refused, "permission denied to set option \"schema_path\"");
    drop(as_text);
    let error = scene.db.error("SELECT doc FROM file");
    assert!(error.contains("could not open the schema file"), "{error}");
}

#[test]
fn avro_container_files_and_single_objects_with_a_schema_of_its_own() {
    let scene = Scene::new(1);
    let named = |name: &str| {
        let found = vectors("avro/vectors.jsonl", |v| v["name"] == name);
        let payload = unhex(found[0]["payload"].as_str().expect("hex"));
        (payload, found[0].clone())
    };
    let (single, vector) = named("single-object encoding");
    let (other, _) = named("single-object encoding of another schema");
    let schema = vector["schema"].as_str().expect("a schema");
    let bare = single[10..].to_vec();
    let (file, contained) = named("raw fields of a container file");
    let records = contained["expected"].as_array().expect("records").len();
    let cut = &file[..file.len() - 3];
    Producer::new(&scene.topic).send([
        value(&single),
        value(&other),
        value(&bare),
        value(&file),
        value(cut),
        value(&single),
    ]);
    scene.source_and_target(
        "id int, name text, a bytea, d bytea, pos bigint OPTIONS (source 'offset'),
         problem text OPTIONS (source 'error')",
        &format!("format 'avro', schema {}", literal(schema)),
    );
    scene.load_source();
    for name in ["source", "target"] {
        let ids = "SELECT string_agg(concat_ws('/', pos, id, name), ',') FROM";
        let answer = scene.db.sql(&format!("{ids} {name} WHERE pos <> 3 AND problem IS NULL"));
        assert_eq!(answer, "0/3/nnn,2/3/nnn,5/3/nnn");
        let count = format!("SELECT count(*), min(d::text) FROM {name} WHERE pos = 3");
        assert_eq!(scene.db.sql(&count), format!("{records}|\\x7330"));
    }
    let errors = scene.db.sql("SELECT \"offset\", stage, message FROM gpss.errors ORDER BY 1");
    let lines: Vec<&str> = errors.lines().collect();
    assert!(
        lines[0].starts_with("1|decode|the message was written with another Avro schema"),
        "{errors}"
    );
    assert!(lines[1].starts_with("4|decode|invalid Avro container file"), "{errors}");
    assert_eq!(lines.len(), 2, "{errors}");
    // A container file needs no schema.
    scene.table("files",
        "e int, d text, pos bigint OPTIONS (source 'offset'), problem text OPTIONS (source 'error')",
        "format 'avro'",
    );
    assert_eq!(
        scene.db.sql("SELECT count(*), max(e) FROM files WHERE pos = 3"),
        format!("{records}|{}", records - 1)
    );
    assert_eq!(scene.db.sql("SELECT count(*) FROM files WHERE problem IS NOT NULL"), "5");
}

#[test]
fn check_asks_the_registry() {
    let scene = Scene::new(1);
    let registry = Registry::shared();
    two_numbers(&scene, &registry);
    scene.db.sql("CREATE TABLE target (n int)");
    let check = |address: &str| {
        let config = format!(
            r#"
DATABASE: d
USER: u
VERSION: 2
KAFKA:
  INPUT:
    SOURCE: {{BROKERS: "{}", TOPIC: {}}}
    VALUE: {{FORMAT: avro, AVRO_OPTION: {{SCHEMA_REGISTRY_ADDR: "{address}"}}}}
  OUTPUT: {{TABLE: target, MAPPING: {{n: "(value->>'n')::int"}}}}
"#,
            scene.broker.address, scene.topic.name
        );
        scene.db.sql(&format!(
            "SELECT status, detail, hint FROM gpss.check({}) WHERE component = 'schema registry'",
            literal(&config)
        ))
    };
    let address = registry.address();
    assert_eq!(check(address), format!("ok|the schema registry at {address} answers|"));
    let failed = check("http://127.0.0.1:1");
    assert!(failed.starts_with("failed|the schema registry does not answer"), "{failed}");
    assert!(failed.contains("127.0.0.1:1"), "{failed}");
    // Something else that speaks HTTP, below another path.
    let wrong = check(&address.replace("/apis/ccompat/v7", "/nothing"));
    assert!(wrong.starts_with("failed|the schema registry gives an unexpected answer"), "{wrong}");
    assert_eq!(scene.db.sql("SELECT count(*) FROM pg_foreign_server"), "0");
}
