//! What changes in the database, and what a mapping looks up there, while a job runs.

use gpss_testbed::{Producer, Record, Scene, eventually, literal};
use std::time::Duration;

/// A running job from `source` into `numbers` with this value for `n`.
fn job(scene: &Scene, n: &str, filter: Option<&str>) {
    scene.db.sql(&format!(
        "CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '{brokers}');
         CREATE FOREIGN TABLE source (doc json OPTIONS (source 'value'), h text)
             SERVER kafka OPTIONS (topic '{topic}');
         SELECT gpss.submit_job('numbers', 'source', 'numbers', minimal_interval => 100,
             mapping => jsonb_build_object('n', {n}), filter => {filter});
         SELECT gpss.start_job('numbers')",
        brokers = scene.broker.address,
        topic = scene.topic.name,
        n = literal(n),
        filter = filter.map_or("NULL".to_string(), literal),
    ));
}

/// Until `numbers` has exactly these.
fn await_rows(scene: &Scene, expected: &str) {
    let rows = || scene.db.sql("SELECT string_agg(n::text, ',' ORDER BY n) FROM numbers");
    eventually(expected, 20, || rows() == expected);
}

#[test]
fn sub_selects_are_evaluated_once_for_a_batch_in_mapping_and_filter() {
    let scene = Scene::new(1);
    scene.db.sql(
        "CREATE TABLE factor AS SELECT 100 AS k; CREATE TABLE switch AS SELECT true AS wanted",
    );
    let n = "(SELECT max(k) FROM factor) + (doc->>'n')::int";
    job(&scene, n, Some("(SELECT wanted FROM switch)"));
    scene.topic.send_numbers(0..3);
    await_rows(&scene, "100,101,102");
    scene.db.sql("UPDATE factor SET k = 200; UPDATE switch SET wanted = false");
    scene.topic.send_numbers(0..3);
    let passed = "SELECT next_offset FROM gpss.progress WHERE job = 'numbers'";
    eventually("the messages have passed", 20, || scene.db.sql(passed) == "6");
    scene.db.sql("UPDATE switch SET wanted = true");
    scene.topic.send_numbers(3..4);
    await_rows(&scene, "100,101,102,203");
}

#[test]
fn a_batch_sees_what_was_committed_while_it_waited_for_a_lock() {
    let scene = Scene::new(1);
    scene.db.sql("CREATE TABLE lookup AS SELECT 0 AS id, 10 AS value");
    job(&scene, "(SELECT value FROM lookup WHERE id = (doc->>'n')::int)", None);
    scene.topic.send_numbers(0..1);
    await_rows(&scene, "10");
    std::thread::scope(|threads| {
        threads.spawn(|| {
            scene.db.sql(
                "BEGIN; TRUNCATE lookup; INSERT INTO lookup VALUES (1, 11);
                 SELECT pg_sleep(2); COMMIT",
            )
        });
        std::thread::sleep(Duration::from_millis(700));
        scene.topic.send_numbers(1..2);
    });
    await_rows(&scene, "10,11");
}

#[test]
fn a_foreign_table_that_is_replaced_takes_over_without_loading_anything_twice() {
    let scene = Scene::new(1);
    job(&scene, "(doc->>'n')::int", None);
    scene.topic.send_numbers(0..3);
    await_rows(&scene, "0,1,2");
    scene.db.sql(&format!(
        "BEGIN; ALTER FOREIGN TABLE source RENAME TO former;
         CREATE FOREIGN TABLE source (doc json) SERVER kafka OPTIONS (topic '{}'); COMMIT",
        scene.topic.name
    ));
    scene.topic.send_numbers(3..5);
    await_rows(&scene, "0,1,2,3,4");
    assert_eq!(scene.db.sql("SELECT rows_loaded FROM gpss.jobs"), "5");
}

#[test]
fn a_column_that_becomes_the_headers_has_them_from_the_next_message_on() {
    let scene = Scene::new(1);
    job(&scene, "coalesce((h::json->0->>'value')::int, 7)", None);
    let producer = Producer::new(&scene.topic);
    let headers: [(&str, Option<&[u8]>); 1] = [("k", Some(b"42"))];
    let message = Record { value: Some(b"{}"), headers: &headers, ..Record::default() };
    producer.send([message]);
    await_rows(&scene, "7");
    scene.db.sql("ALTER FOREIGN TABLE source ALTER h OPTIONS (ADD source 'headers')");
    producer.send([message]);
    await_rows(&scene, "7,42");
}
