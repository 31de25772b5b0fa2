//! How far a job is while it cannot go on, as the views and Kafka's own tools tell it.

use super::support::{Scene, eventually};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::time::Duration;

/// Longer than the views may take to be told of a new end of the topic.
const LATER: Duration = Duration::from_millis(2500);

#[test]
fn a_blocked_batch_shows_its_lag_and_what_it_waits_for() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    scene.submit(50);
    scene.start();
    scene.expect_exactly(0..10);
    let progress = |columns: &str| scene.db.sql(&format!("SELECT {columns} FROM gpss.progress"));
    eventually("it is told", 30, || progress("next_offset, lag") == "10|0");
    assert_eq!(progress("batch_started_at, waiting_since, waiting_for"), "||");
    let known = progress("watermark_at");
    std::thread::sleep(LATER);

    scene.db.sql("BEGIN; LOCK TABLE numbers; PREPARE TRANSACTION 'holds'");
    scene.topic.send_numbers(10..110);
    eventually("the lag shows", 30, || progress("next_offset, lag > 0") == "10|t");
    eventually("the batch waits", 30, || {
        progress("waiting_for") == "a lock (relation) held by a prepared transaction"
    });
    let since = "now() - interval '1 min' < batch_started_at
        AND batch_started_at <= waiting_since AND waiting_since <= clock_timestamp()";
    assert_eq!(progress(since), "t");
    assert_eq!(progress(&format!("watermark_at > '{known}'")), "t");

    scene.db.sql("COMMIT PREPARED 'holds'");
    scene.expect_exactly(0..110);
    eventually("nothing is left", 30, || {
        progress("lag, batch_started_at, waiting_since, waiting_for") == "0|||"
    });

    // A batch that is still being collected has a lag, too.
    scene.stop();
    scene.db.sql("SELECT gpss.remove_job('numbers')");
    let config =
        scene.config(25, 1000).replace("MINIMAL_INTERVAL: 200", "MINIMAL_INTERVAL: 600000");
    scene
        .db
        .sql(&format!("SELECT gpss.submit_job('numbers', {})", super::support::literal(&config)));
    scene.start();
    eventually("it runs", 30, || progress("worker_pid IS NOT NULL, lag") == "t|0");
    scene.topic.send_numbers(110..120);
    eventually("the lag shows", 30, || progress("next_offset, lag") == "110|10");
    // Nothing is written while nothing changes.
    let known = progress("watermark_at");
    std::thread::sleep(LATER);
    assert_eq!(progress("watermark_at"), known);
}

#[test]
fn a_consumer_group_has_the_offsets_within_a_second_of_the_first_batch() {
    let scene = Scene::new(1);
    let group = format!("group_of_{}", scene.topic.name);
    scene.topic.send_numbers(0..200_000);
    scene.source_and_target("n int", "format 'json'");
    scene.db.sql(&format!("ALTER SERVER kafka OPTIONS (ADD \"group.id\" '{group}')"));
    scene.db.sql(
        "SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass,
                  max_row => 1000)",
    );
    scene.db.sql("SELECT gpss.start_job('load')");
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", scene.topic.brokers())
        .set("group.id", &group)
        .create()
        .expect("a client");
    let mut list = TopicPartitionList::new();
    list.add_partition(&scene.topic.name, 0);
    let committed = || {
        let answer = consumer.committed_offsets(list.clone(), Duration::from_secs(10));
        answer.expect("an answer").elements()[0].offset()
    };
    eventually("the first batch", 60, || scene.db.number("SELECT count(*) FROM target") > 0);
    std::thread::sleep(Duration::from_secs(1));
    assert!(matches!(committed(), Offset::Offset(1000..)), "{:?}", committed());
    eventually("the last batch", 120, || scene.db.number("SELECT count(*) FROM target") == 200_000);
    eventually("the last commit", 60, || committed() == Offset::Offset(200_000));
}
