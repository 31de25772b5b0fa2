//! How far a job is while it cannot go on, as the views and Kafka's own tools tell it.

use gpss_testbed::{Scene, eventually, literal};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::time::{Duration, Instant};

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
    scene.db.sql(&format!("SELECT gpss.submit_job('numbers', {})", gpss_testbed::literal(&config)));
    scene.start();
    eventually("it runs", 30, || progress("worker_pid IS NOT NULL, lag") == "t|0");
    scene.topic.send_numbers(110..120);
    eventually("the lag shows", 30, || progress("next_offset, lag") == "110|10");
    // Nothing is written while nothing changes.
    let written = "SELECT watermark_at FROM gpss.offsets";
    let known = scene.db.sql(written);
    std::thread::sleep(LATER);
    assert_eq!(scene.db.sql(written), known);
}

/// The lag in both views.
fn lag(scene: &Scene) -> String {
    scene.db.sql("SELECT p.next_offset, p.lag, j.lag_messages FROM gpss.progress p, gpss.jobs j")
}

fn watermark_moves_on(scene: &Scene) {
    let at = "SELECT watermark_at FROM gpss.progress";
    let known = scene.db.sql(at);
    eventually("it is asked for again", 15, || {
        scene.db.sql(&format!("SELECT ({at}) > '{known}'")) == "t"
    });
}

#[test]
fn the_lag_grows_while_a_worker_is_held_up() {
    let scene = Scene::new(2);
    scene.topic.send_numbers(0..10);
    scene.submit(50);
    scene.start();
    scene.expect_exactly(0..10);
    let progress = |columns: &str| {
        scene.db.sql(&format!("SELECT {columns} FROM gpss.progress ORDER BY partition"))
    };
    let waits = "a lock (relation) held by a prepared transaction";

    // While its batch is written …
    scene.db.sql("BEGIN; LOCK TABLE numbers; PREPARE TRANSACTION 'holds'");
    scene.topic.send_numbers(10..30);
    eventually("the batch waits", 30, || progress("waiting_for") == format!("{waits}\n{waits}"));
    scene.topic.send_numbers(30..230);
    eventually("the lag grows", 30, || progress("next_offset, lag") == "5|110\n5|110");
    scene.topic.send_numbers(230..250);
    eventually("the lag grows again", 30, || progress("next_offset, lag") == "5|120\n5|120");
    assert_eq!(scene.db.sql("SELECT lag_messages, lag_seconds > 0 FROM gpss.jobs"), "240|t");
    let known = progress("watermark_at");
    eventually("it is asked for again", 30, || {
        progress("watermark_at").lines().zip(known.lines()).all(|(now, before)| now > before)
    });
    // … nobody else is shown it, whatever the number …
    assert_eq!(scene.db.sql("SELECT gpss.heard_end(4711, 0), gpss.heard_end(-1, -1)"), "|");
    assert_eq!(scene.db.sql("SELECT gpss.heard_end(max(board), 2147483647) FROM gpss.worker"), "");

    // … and before it has begun to read.
    scene.stop();
    scene.start();
    eventually("it waits for the table", 30, || progress("waiting_for").contains(waits));
    scene.topic.send_numbers(250..270);
    eventually("the lag grows", 30, || progress("next_offset, lag") == "5|130\n5|130");
    scene.db.sql("COMMIT PREPARED 'holds'");
    scene.expect_exactly(0..270);
    eventually("nothing is left", 30, || progress("lag, waiting_for") == "0|\n0|");
    assert_eq!(scene.db.sql("SELECT lag_messages, lag_seconds FROM gpss.jobs"), "0|0");
    scene.stop();
    assert_eq!(progress("next_offset, lag"), "135|0\n135|0");
}

#[test]
fn the_lag_grows_between_two_tries() {
    let scene = Scene::new(1);
    let config = scene.config(25, 50) + "SCHEDULE:\n   MAX_RETRIES: -1\n   RETRY_INTERVAL: 1h\n";
    scene.db.sql(&format!("SELECT gpss.submit_job('numbers', {})", literal(&config)));
    scene.topic.send_numbers(0..10);
    scene.start();
    scene.expect_exactly(0..10);
    scene.db.sql(
        "CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE 'conflict' USING ERRCODE = '40001'; END $$;
         CREATE TRIGGER trouble BEFORE INSERT ON numbers EXECUTE FUNCTION trouble()",
    );
    scene.topic.send_numbers(10..20);
    eventually("it waits", 30, || {
        scene.db.sql("SELECT next_retry_at > now() + interval '10 min' FROM gpss.jobs") == "t"
    });
    scene.topic.send_numbers(20..120);
    eventually("the lag grows", 30, || lag(&scene) == "10|110|110");
    watermark_moves_on(&scene);

    // What a process knew is gone with it, and no harm is done.
    let worker = scene.workers()[0];
    scene.db.sql(&format!("SELECT pg_terminate_backend({worker}, 10000)"));
    scene.topic.send_numbers(120..130);
    eventually("the next one knows it", 40, || lag(&scene) == "10|120|120");
    scene.stop();
    assert_eq!(lag(&scene).split('|').next(), Some("10"));
}

#[test]
fn brokers_that_are_away_are_told_from_a_quiet_topic() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    scene.submit(50);
    scene.start();
    scene.expect_exactly(0..10);
    let progress = |columns: &str| scene.db.sql(&format!("SELECT {columns} FROM gpss.progress"));
    eventually("it is told", 30, || progress("next_offset, lag, waiting_for") == "10|0|");
    // A quiet topic is asked for now and then, and nothing is written for that.
    let written = "SELECT watermark_at FROM gpss.offsets";
    let known = scene.db.sql(written);
    eventually("it is asked for again", 50, || progress("watermark_at") > known);
    assert_eq!(scene.db.sql(written), known);
    assert_eq!(progress("next_offset, lag, waiting_for"), "10|0|");

    scene.broker.stop();
    let away = "waiting_for LIKE 'no Kafka broker can be reached: %'";
    eventually("it waits for the brokers", 30, || progress(away) == "t");
    let known = progress("watermark_at");
    let since = progress("waiting_since");
    for _ in 0..16 {
        std::thread::sleep(Duration::from_millis(500));
        let errmsg = scene.db.sql("SELECT errmsg FROM gpss.jobs");
        assert!(errmsg.contains("HINT: Check that the brokers run"), "{errmsg}");
    }
    assert_eq!(progress("waiting_since, watermark_at"), format!("{since}|{known}"));

    // A session that begins so.
    scene.stop();
    assert_eq!(progress("waiting_since, waiting_for"), "|");
    scene.start();
    let connects = "a connection to Kafka";
    eventually("it connects", 5, || progress("waiting_for") == connects);
    let begun = Instant::now();
    eventually("it waits for the brokers", 5, || progress(away) == "t");
    assert_eq!(scene.status(), "JOB_RETRYING");
    assert!(begun.elapsed() < Duration::from_secs(3), "told after {:?}", begun.elapsed());
    // What the earlier process had heard is gone with it.
    assert_eq!(progress("watermark_at"), scene.db.sql(written));

    scene.broker.start();
    scene.topic.send_numbers(10..20);
    scene.expect_exactly(0..20);
    eventually("nothing is left", 70, || progress("lag, waiting_since, waiting_for") == "0||");
    assert_eq!(scene.status(), "JOB_RUNNING");
}

#[test]
fn the_trouble_of_a_worker_is_told_until_it_is_over_whatever_the_others_do() {
    let scene = Scene::new(2);
    scene.source_and_target("n int", "format 'json'");
    scene.db.sql(
        "CREATE TABLE closed AS SELECT n FROM generate_series(0, 1) AS n;
         CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN
             IF EXISTS (SELECT FROM closed WHERE n = NEW.n) THEN
                 RAISE 'gate % is closed', NEW.n USING ERRCODE = '40001';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER trouble BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION trouble();
         SELECT gpss.submit_job('numbers', 'source'::regclass, 'target'::regclass, workers => 2)",
    );
    scene.start();
    scene.topic.send_lines(1, "{\"n\": 1}\n");
    let waits =
        || scene.db.sql("SELECT partition, waiting_for FROM gpss.progress ORDER BY partition");
    let closed = |n: u32| format!("{n}|gate {n} is closed");
    let waits_for = |first: &str, second: &str| {
        eventually("they wait", 30, || waits().contains(first) && waits().contains(second));
    };
    waits_for("0|\n", &closed(1));
    scene.topic.send_lines(0, "{\"n\": 0}\n");
    waits_for(&closed(0), &closed(1));
    scene.db.sql("DELETE FROM closed WHERE n = 0");
    eventually("one is through", 70, || scene.db.sql("SELECT n FROM target") == "0");
    waits_for("0|\n", &closed(1));
    for _ in 0..30 {
        let told = scene.db.sql("SELECT status, errmsg FROM gpss.jobs");
        assert!(told.starts_with("JOB_RETRYING|gate 1 is closed"), "{told}");
        std::thread::sleep(Duration::from_millis(100));
    }
    // Who may see the job by pg_monitor alone sees no data in it.
    scene.db.sql(
        "DO $$ BEGIN CREATE ROLE watcher; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         GRANT pg_monitor TO watcher",
    );
    let watched = "SET ROLE watcher; SELECT waiting_for FROM gpss.progress WHERE partition = 1";
    assert_eq!(scene.db.sql(watched), "<insufficient privilege>");
    scene.db.sql("DELETE FROM closed");
    let told = "SELECT status, errmsg FROM gpss.jobs";
    eventually("the other one, too", 90, || scene.db.sql(told) == "JOB_RUNNING|");
    assert_eq!(waits(), "0|\n1|");
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
