//! Partitions that cannot be read: the others are, and one is told which wait, since when and why.

use gpss_testbed::{Broker, Scene, eventually};
use std::time::{Duration, Instant};

const JOB: &str = "numbers";

/// `progress` of the scene's partitions: number, next offset, what it waits for.
fn waiting(scene: &Scene) -> String {
    scene.db.sql(
        "SELECT partition, next_offset, waiting_for, waiting_since > now() - interval '10 min'
         FROM gpss.progress ORDER BY partition",
    )
}

fn errmsg(scene: &Scene) -> String {
    scene.db.sql(&format!("SELECT status || ' ' || errmsg FROM gpss.jobs WHERE name = '{JOB}'"))
}

#[test]
fn a_partition_without_a_leader_is_named_and_the_others_are_read() {
    let mut scene = Scene::new(1);
    let second = Broker::join("e2e-second", &scene.broker);
    scene.topic = scene.broker.place(&[1, 2]);
    let name = scene.topic.name.clone();
    let no_leader = format!("partition 1 of Kafka topic \"{name}\" has no leader");
    scene.topic.send_numbers(0..100);
    scene.submit(50);
    scene.start();
    scene.expect_exactly(0..100);
    assert_eq!(waiting(&scene), "0|50||\n1|50||");

    // While it runs …
    second.stop();
    eventually("the partition waits", 60, || waiting(&scene).contains(&no_leader));
    assert_eq!(waiting(&scene), format!("0|50||\n1|50|{no_leader}|t"));
    eventually("the job says so", 10, || errmsg(&scene).starts_with("JOB_RETRYING"));
    assert!(errmsg(&scene).contains(&no_leader), "{}", errmsg(&scene));
    scene.topic.send_lines(0, "{\"n\": 100}\n");
    eventually("the other one is read", 60, || scene.rows() == 101);

    // … in a session that begins so …
    scene.db.sql(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity
         WHERE backend_type = 'gpss loader' AND datname = current_database()",
    );
    scene.topic.send_lines(0, "{\"n\": 101}\n");
    eventually("the other one is read by the next session", 60, || scene.rows() == 102);
    eventually("it is told still", 60, || errmsg(&scene).contains(&no_leader));

    // … and in a run to the end, which does not end in success meanwhile.
    scene.stop();
    assert_eq!(waiting(&scene), "0|52||\n1|50||");
    scene.topic.send_lines(0, "{\"n\": 102}\n");
    scene.db.sql(&format!(
        "SELECT gpss.start_job('{JOB}', quit_at_eof => true, reset => '{{\"0\": 52, \"1\": 49}}')"
    ));
    eventually("the other one is read to its end", 60, || scene.rows() == 103);
    std::thread::sleep(Duration::from_secs(2));
    assert!(errmsg(&scene).starts_with("JOB_RETRYING"), "{}", errmsg(&scene));
    assert!(errmsg(&scene).contains(&no_leader), "{}", errmsg(&scene));
    assert!(waiting(&scene).contains(&no_leader), "{}", waiting(&scene));

    // The reset counts for it when it can be read again.
    second.start();
    scene.db.sql(&format!("SELECT gpss.wait_job('{JOB}', '120 s')"));
    assert_eq!(scene.status(), "JOB_SUCCESS");
    assert_eq!(waiting(&scene), "0|53||\n1|50||");
    assert_eq!(scene.db.sql("SELECT count(*) FROM numbers WHERE n = 99"), "2");
    assert_eq!(scene.rows(), 104);

    // One that could not be read since the job was first started is shown as well.
    second.stop();
    scene.db.sql(&format!("SELECT gpss.remove_job('{JOB}'); TRUNCATE numbers"));
    scene.db.sql("DELETE FROM gpss.offsets");
    scene.submit(50);
    scene.start();
    eventually("the other one is read from its beginning", 60, || scene.rows() == 53);
    assert_eq!(waiting(&scene), format!("0|53||\n1||{no_leader}|t"));
    let lags = "SELECT partition, lag FROM gpss.progress ORDER BY 1";
    assert_eq!(scene.db.sql(lags), "0|0\n1|");
    scene.server();
    scene.table("source", "n int", "format 'json'");
    let error = scene.db.try_sql("SELECT count(*) FROM source").unwrap_err();
    assert!(error.contains(&no_leader), "{error}");
    second.start();
    eventually("it is read from its beginning", 60, || scene.rows() == 103);
    eventually("nothing waits", 60, || scene.status() == "JOB_RUNNING");
    assert_eq!(waiting(&scene), "0|53||\n1|50||");
    scene.stop();
    scene.topic.delete();
    // Orderly, so that no topic is placed on it any more.
    second.stop();
    second.destroy();
}

#[test]
fn a_batch_that_cannot_be_unpacked_holds_up_its_partition_only() {
    let scene = Scene::new(2);
    scene.source_and_target("n int, length int", "format 'json'");
    let pad = "x".repeat(95_000_000);
    scene.topic.send_packed(0, &format!("{{\"n\": 0, \"pad\": \"{pad}\"}}"));
    scene.topic.send_lines(1, "{\"n\": 1}\n");
    scene.db.sql("ALTER SERVER kafka OPTIONS (ADD \"receive.message.max.bytes\" '100000000')");
    scene
        .db
        .sql(&format!("SELECT gpss.submit_job('{JOB}', 'source'::regclass, 'target'::regclass)"));
    scene.start();
    let rows = || scene.db.sql("SELECT array_agg(n ORDER BY n) FROM target");
    eventually("the other partition is read", 60, || rows() == "{1}");
    eventually("the job says so", 60, || errmsg(&scene).starts_with("JOB_RETRYING"));
    let text = errmsg(&scene);
    assert!(text.contains("partition 0 of Kafka topic"), "{text}");
    assert!(text.contains("Set the Kafka property receive.message.max.bytes"), "{text}");
    scene.topic.send_lines(1, "{\"n\": 2}\n");
    eventually("it is read on", 60, || rows() == "{1,2}");
    assert!(waiting(&scene).contains("Decompression"), "{}", waiting(&scene));
    scene.stop();

    scene.db.sql("ALTER SERVER kafka OPTIONS (DROP \"receive.message.max.bytes\")");
    scene.run(JOB);
    assert_eq!(rows(), "{0,1,2}");
}

#[test]
fn a_time_of_day_ends_no_job_in_success_while_a_partition_waits() {
    let scene = Scene::new(2);
    scene.source_and_target("n int, length int", "format 'json'");
    let pad = "x".repeat(95_000_000);
    scene.topic.send_packed(0, &format!("{{\"n\": 0, \"pad\": \"{pad}\"}}"));
    scene.topic.send_lines(1, "{\"n\": 1}\n");
    scene.db.sql("ALTER SERVER kafka OPTIONS (ADD \"receive.message.max.bytes\" '100000000')");
    scene
        .db
        .sql(&format!("SELECT gpss.submit_job('{JOB}', 'source'::regclass, 'target'::regclass)"));
    // Noon somewhere: no midnight comes in between.
    let hour = scene.db.number("SELECT extract(hour FROM now() AT TIME ZONE 'UTC')::int");
    let zone = format!("Etc/GMT{:+}", hour - 12);
    scene.db.sql(&format!("ALTER DATABASE {} SET timezone = '{zone}'", scene.db.name));
    scene.db.sql(
        "UPDATE gpss.job SET spec = spec || jsonb_build_object('schedule', jsonb_build_object(
             'max_restart_times', 0,
             'quit_at_eof_after', extract(epoch FROM (now() + interval '25 s')::time)::int8))",
    );
    scene.start();
    let begun = Instant::now();
    eventually("the other one is read", 20, || scene.db.sql("SELECT n FROM target") == "1");
    eventually("it waits", 20, || waiting(&scene).contains("Decompression"));
    assert!(begun.elapsed() < Duration::from_secs(24), "too slow to tell");
    while begun.elapsed() < Duration::from_secs(35) {
        assert_ne!(scene.status(), "JOB_SUCCESS");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(errmsg(&scene).contains("partition 0 of Kafka topic"), "{}", errmsg(&scene));
}
