//! The example that a user starts with: the files of `demo/`, loaded as the README says.

use gpss_testbed::{Scene, literal, root};

fn demo_file(name: &str) -> String {
    std::fs::read_to_string(root().join("demo").join(name)).expect("the demo's file")
}

#[test]
fn six_phone_messages_load_as_six_rows_and_three_more_as_three() {
    let scene = Scene::new(1);
    scene.db.sql(&demo_file("schema.sql"));
    let config = demo_file("mobile_info.yaml")
        .replace("DATABASE: demo", &format!("DATABASE: {}", scene.db.name))
        .replace("localhost:9092", &scene.broker.address)
        .replace("TOPIC: mobile_info", &format!("TOPIC: {}", scene.topic.name));
    let load = format!(
        "SELECT partition_id, begin_offset, end_offset FROM gpss.load({})",
        literal(&config)
    );

    scene.topic.send_lines(0, &demo_file("mobile_info.jsonl"));
    assert_eq!(scene.db.sql(&load), "0|0|6");
    assert_eq!(scene.db.number("SELECT count(*) FROM mobile_log"), 6);

    scene.topic.send_lines(0, &demo_file("more.jsonl"));
    assert_eq!(scene.db.sql(&load), "0|6|9");
    assert_eq!(scene.db.number("SELECT count(*) FROM mobile_log"), 9);

    // The text as PostgreSQL's own operators read it from the same messages.
    let messages = demo_file("mobile_info.jsonl") + &demo_file("more.jsonl");
    scene.db.sql("CREATE TABLE message (jdata json)");
    for line in messages.lines() {
        scene.db.sql(&format!("INSERT INTO message VALUES ({})", literal(line)));
    }
    let differences = scene.db.number(
        "SELECT count(*) FROM (
             (SELECT package_name, carrier, download_url, ts FROM mobile_log
              EXCEPT ALL
              SELECT jdata->>'package_name', jdata->>'carrier', jdata->>'download_url',
                     (jdata->>'time')::bigint FROM message)) AS d",
    );
    assert_eq!(differences, 0);
    assert_ne!(scene.db.number("SELECT count(*) FROM mobile_log WHERE carrier = '中国联通'"), 0);
}

#[test]
fn a_load_of_a_topic_without_news_returns_at_once_and_loads_nothing() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    let load = format!("SELECT count(*) FROM gpss.load({})", literal(&scene.config(10, 1000)));
    scene.db.sql(&load);
    scene.db.sql(&load);
    scene.expect_exactly(0..10);
}
