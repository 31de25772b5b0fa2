//! Messages that cannot become rows: recorded with their bytes, never loaded, never in the way.

use gpss_testbed::{Producer, Record, Scene, eventually, value};

/// Sends a good message, the bad one and another good one; expects the two rows and the one record
/// of this stage with the bytes as they were.
fn is_rejected(stage: &str, payload: &[u8]) {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..1);
    scene.topic.send_bytes(0, payload);
    scene.topic.send_numbers(1..2);
    scene.submit(100);
    scene.load_to_the_end();
    scene.expect_exactly(0..2);
    let errors = r#"SELECT job, topic, partition, "offset", stage, message <> '', md5(payload)
                    FROM gpss.errors"#;
    let md5 = scene.db.sql(&format!("SELECT md5('\\x{}'::bytea)", hex(payload)));
    let topic = &scene.topic.name;
    assert_eq!(scene.db.sql(errors), format!("numbers|{topic}|0|1|{stage}|t|{md5}"));
    let rejected = "SELECT rows_loaded, rows_rejected FROM gpss.jobs WHERE name = 'numbers'";
    assert_eq!(scene.db.sql(rejected), "2|1");
}

/// The message becomes the row with the number 1.
fn is_loaded(payload: &[u8]) {
    let scene = Scene::new(1);
    scene.topic.send_bytes(0, payload);
    scene.submit(100);
    scene.load_to_the_end();
    scene.expect_exactly(1..2);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn invalid_json_is_rejected_with_its_bytes() {
    is_rejected("decode", br#"{"n": 1"#);
}

#[test]
fn an_empty_message_is_rejected() {
    is_rejected("decode", b"");
}

#[test]
fn a_tombstone_holds_nothing_up() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..1);
    scene.topic.send_tombstone(0);
    scene.topic.send_numbers(1..2);
    scene.submit(100);
    scene.load_to_the_end();
    assert_eq!(scene.db.sql("SELECT count(DISTINCT n) FROM numbers"), "2");
    assert_eq!(scene.db.sql("SELECT next_offset FROM gpss.progress"), "3");
}

#[test]
fn bytes_that_are_not_utf8_are_rejected_as_they_are() {
    is_rejected("decode", b"{\"n\": 1, \"s\": \"\xff\xfe\"}");
}

#[test]
fn json_nested_a_hundred_thousand_deep_is_rejected() {
    let deep = [b"{\"n\": ".as_slice(), &[b'['; 100_000], &[b']'; 100_000], b"}"].concat();
    is_rejected("decode", &deep);
}

#[test]
fn an_escaped_nul_in_a_mapped_field_is_rejected() {
    is_rejected("map", br#"{"n": "1\u0000"}"#);
}

#[test]
fn a_number_beyond_the_type_of_its_column_is_rejected() {
    is_rejected("map", br#"{"n": 99999999999999999999}"#);
}

#[test]
fn a_row_that_breaks_a_constraint_is_rejected() {
    let scene = Scene::new(1);
    scene.db.sql("ALTER TABLE numbers ADD CHECK (n <> 3)");
    scene.topic.send_numbers(0..10);
    scene.submit(100);
    scene.load_to_the_end();
    assert_eq!(scene.rows(), 9);
    let error = r#"SELECT "offset", stage, sqlstate FROM gpss.errors"#;
    assert_eq!(scene.db.sql(error), "3|write|23514");
}

#[test]
fn a_row_that_breaks_a_deferred_constraint_is_rejected() {
    let scene = Scene::new(1);
    scene.db.sql("ALTER TABLE numbers ADD UNIQUE (n) DEFERRABLE INITIALLY DEFERRED");
    scene.topic.send_numbers(0..10);
    scene.topic.send_numbers(4..5);
    scene.submit(100);
    scene.load_to_the_end();
    scene.expect_exactly(0..10);
    let error = "SELECT count(*), min(stage), min(sqlstate) FROM gpss.errors";
    assert_eq!(scene.db.sql(error), "1|write|23505");
}

#[test]
fn a_row_that_row_level_security_refuses_is_rejected() {
    let scene = Scene::new(1);
    let loader = format!("loader_{}", scene.topic.name);
    scene.db.sql(&format!(
        "CREATE ROLE {loader} LOGIN; GRANT USAGE, CREATE ON SCHEMA public TO {loader};
         GRANT USAGE ON FOREIGN DATA WRAPPER gpss TO {loader}; GRANT INSERT ON numbers TO {loader};
         ALTER TABLE numbers ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON numbers FOR INSERT WITH CHECK (n <> 3)"
    ));
    scene.topic.send_numbers(0..10);
    let config = gpss_testbed::literal(&scene.config(25, 100));
    scene.db.sql(&format!(
        "SET ROLE {loader}; SELECT gpss.submit_job('numbers', {config});
         SELECT gpss.start_job('numbers', quit_at_eof => true)"
    ));
    let status = scene.db.sql("SELECT gpss.wait_job('numbers', '60 s')");
    assert_eq!(status, "JOB_SUCCESS");
    assert_eq!(scene.rows(), 9);
    let error = r#"SELECT "offset", sqlstate FROM gpss.errors"#;
    assert_eq!(scene.db.sql(error), "3|42501");
}

#[test]
fn a_timestamp_beyond_all_time_is_no_timestamp() {
    let mut scene = Scene::new(1);
    scene.topic = scene.broker.topic_with("message.timestamp.after.max.ms=9223372036854775807");
    let nanoseconds = Some(1_700_000_000_000_000_000);
    let record = Record { timestamp: nanoseconds, ..value(br#"{"n": 1}"#) };
    Producer::new(&scene.topic).send([record]);
    scene.submit(100);
    scene.load_to_the_end();
    scene.expect_exactly(1..2);
}

#[test]
fn a_batch_of_nothing_but_bad_rows_is_rejected_message_by_message() {
    let scene = Scene::new(1);
    scene.db.sql("ALTER TABLE numbers ADD CHECK (n < 0)");
    scene.topic.send_numbers(0..300);
    let config = gpss_testbed::literal(&scene.config(1000, 1000));
    scene.db.sql(&format!("SELECT gpss.submit_job('numbers', {config})"));
    scene.load_to_the_end();
    assert_eq!(scene.rows(), 0);
    let errors = r#"SELECT count(DISTINCT "offset"), count(*) FROM gpss.errors"#;
    assert_eq!(scene.db.sql(errors), "300|300");
}

#[test]
fn a_message_of_ten_megabytes_is_loaded() {
    let padding = "x".repeat(10_000_000);
    is_loaded(format!(r#"{{"n": 1, "padding": "{padding}"}}"#).as_bytes());
}

#[test]
fn the_last_of_duplicate_keys_wins() {
    is_loaded(br#"{"n": 7, "n": 1}"#);
}

#[test]
fn more_bad_messages_than_the_limit_fail_the_job_and_load_nothing_of_the_batch() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    scene.topic.send_lines(0, &"no json\n".repeat(30));
    scene.submit(1000);
    scene.start();
    eventually("the job fails", 30, || scene.status() == "JOB_ERROR");
    let message = scene.db.sql("SELECT errmsg FROM gpss.jobs WHERE name = 'numbers'");
    assert!(message.contains("ERROR_LIMIT"), "{message}");
    assert_eq!(scene.rows(), 0);
}
