//! Where jobs read: nothing is skipped unseen, nothing is read at offsets of something else, and the
//! lag is true.

use gpss_testbed::{Producer, Record, Scene, eventually, literal, pause, resume, value};
use std::thread::sleep;
use std::time::Duration;

const LOST: &str = "SELECT partition, begin_offset, end_offset, messages, reason
                    FROM gpss.lost_ranges WHERE job = 'numbers' ORDER BY id";
const PROGRESS: &str = "SELECT partition, next_offset, high_watermark, lag FROM gpss.progress
                        WHERE job = 'numbers' ORDER BY partition";

/// Registers the job with a place to go to when its offset is gone.
fn submit_with_fallback(scene: &Scene, fallback: &str) {
    let source = format!("TOPIC: {}", scene.topic.name);
    let with = format!("{source}\n         FALLBACK_OFFSET: {fallback}");
    let config = scene.config(25, 100).replace(&source, &with);
    scene.db.sql(&format!("SELECT gpss.submit_job('numbers', {})", literal(&config)));
}

/// Starts the job and waits for its end; status and message.
fn run(scene: &Scene, arguments: &str) -> String {
    scene.db.sql(&format!(
        "SELECT gpss.start_job('numbers', quit_at_eof => true {arguments});
         SELECT gpss.wait_job('numbers', '60 s')"
    ));
    scene.db.sql("SELECT status, errmsg FROM gpss.jobs WHERE name = 'numbers'")
}

/// What `gpss.check` says of the job's offsets.
fn checked(scene: &Scene) -> String {
    scene.db.sql("SELECT status, detail FROM gpss.check('numbers') WHERE component = 'offsets'")
}

fn expect_status(scene: &Scene, status: &str, seconds: u64) -> String {
    eventually(status, seconds, || scene.status() == status);
    scene.db.sql("SELECT errmsg FROM gpss.jobs WHERE name = 'numbers'")
}

fn lag(scene: &Scene) -> String {
    scene.db.sql("SELECT lag_messages, lag_seconds FROM gpss.jobs WHERE name = 'numbers'")
}

fn number(n: u32) -> String {
    format!("{{\"n\": {n}}}")
}

#[test]
fn a_recreated_topic_is_not_read_at_old_offsets() {
    let mut scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    scene.submit(100);
    scene.load_to_the_end();
    scene.topic.recreate(1);
    // The stored offset is within the new topic.
    scene.topic.send_numbers(100..130);
    assert!(checked(&scene).contains("belong to another topic"), "{}", checked(&scene));
    let error = run(&scene, "");
    assert!(error.starts_with("JOB_ERROR|"), "{error}");
    assert!(error.contains("belong to another topic") && error.contains("reset"), "{error}");
    scene.expect_exactly(0..10);
    assert_eq!(scene.db.sql(LOST), "");

    scene.db.sql("TRUNCATE numbers");
    assert_eq!(run(&scene, ", reset => 'earliest'"), "JOB_SUCCESS|");
    scene.expect_exactly(100..130);
    // And from then on as always.
    scene.topic.send_numbers(130..140);
    assert_eq!(run(&scene, ""), "JOB_SUCCESS|");
    scene.expect_exactly(100..140);
    assert_eq!(scene.db.sql(LOST), "", "a reset loses nothing");
}

#[test]
fn a_job_with_a_fallback_goes_on_in_a_recreated_topic_and_tells_what_is_lost() {
    for (fallback, loaded, lost) in [
        ("earliest", "40", "0|10|10|0|topic recreated"),
        ("latest", "10", "0|0|30|30|topic recreated\n0|10|10|0|topic recreated"),
    ] {
        let mut scene = Scene::new(1);
        scene.topic.send_numbers(0..10);
        submit_with_fallback(&scene, fallback);
        scene.load_to_the_end();
        let before = scene.db.sql("SELECT topic_id FROM gpss.offsets");
        scene.topic.recreate(1);
        scene.topic.send_numbers(10..40);
        assert_eq!(run(&scene, ""), "JOB_SUCCESS|");
        assert_eq!(scene.db.sql("SELECT count(*) FROM numbers"), loaded);
        assert_eq!(scene.db.sql(LOST), lost);
        assert_eq!(scene.db.sql(PROGRESS), "0|30|30|0");
        let ids = format!(
            "SELECT topic_id <> '{before}', (SELECT count(*) FROM gpss.lost_ranges
             WHERE topic_id = '{before}' AND topic LIKE 'topic%') FROM gpss.offsets"
        );
        assert_eq!(scene.db.sql(&ids), "t|1");
    }
}

#[test]
fn a_recreated_topic_with_fewer_partitions_leaves_no_lag_behind() {
    let mut scene = Scene::new(3);
    scene.topic.send_numbers(0..30);
    submit_with_fallback(&scene, "earliest");
    scene.load_to_the_end();
    // As if the job had known of more than it had read.
    scene.db.sql("UPDATE gpss.offsets SET high_watermark = 12");
    scene.topic.recreate(1);
    scene.topic.send_numbers(30..60);
    assert_eq!(run(&scene, ""), "JOB_SUCCESS|");
    scene.expect_exactly(0..60);
    assert_eq!(scene.db.sql(PROGRESS), "0|30|30|0\n1|10|10|0\n2|10|10|0");
    let two = |p| format!("{p}|10|12|2|topic recreated");
    assert_eq!(scene.db.sql(LOST), [two(0), two(1), two(2)].join("\n"));
}

#[test]
fn a_recreated_topic_while_the_job_runs_is_noticed_before_a_message_of_it_is_loaded() {
    let mut scene = Scene::new(2);
    scene.topic.send_numbers(0..10);
    scene.submit(100);
    scene.start();
    scene.expect_exactly(0..10);
    scene.topic.recreate(2);
    scene.topic.send_numbers(100..200);
    let error = expect_status(&scene, "JOB_ERROR", 60);
    assert!(error.contains("belong to another topic"), "{error}");
    scene.expect_exactly(0..10);
}

#[test]
fn messages_of_a_recreated_topic_in_the_middle_of_a_stream_are_loaded_from_its_beginning() {
    let mut scene = Scene::new(1);
    submit_with_fallback(&scene, "earliest");
    scene.start();
    let lines: Vec<String> = (0..9000).map(number).collect();
    for round in 0..3 {
        let these = &lines[round * 3000..][..3000];
        // In the second and third topic, the offset of the first is passed while the job may not
        // have noticed yet.
        let producer = Producer::new(&scene.topic);
        for some in these.chunks(100) {
            producer.send(some.iter().map(|line| value(line.as_bytes())));
        }
        let last = round as i64 * 3000 + 2999;
        eventually("all of this topic", 60, || {
            scene.db.number(&format!("SELECT count(*) FROM numbers WHERE n > {last} - 3000"))
                >= 3000
        });
        if round < 2 {
            scene.topic.recreate(1);
        }
    }
    scene.expect_exactly(0..9000);
    assert_eq!(scene.db.number("SELECT count(*) FROM gpss.lost_ranges"), 2);
    scene.stop();
}

#[test]
fn a_running_job_with_a_fallback_loads_the_recreated_topic() {
    let mut scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    submit_with_fallback(&scene, "earliest");
    scene.start();
    scene.expect_exactly(0..10);
    scene.topic.recreate(1);
    scene.topic.send_numbers(10..50);
    scene.expect_exactly(0..50);
    assert_eq!(scene.db.sql(LOST), "0|10|10|0|topic recreated");
    expect_status(&scene, "JOB_RUNNING", 10);
    scene.stop();
}

#[test]
fn a_topic_deleted_while_the_job_runs_ends_it_once_that_is_sure() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    scene.submit(100);
    scene.start();
    scene.expect_exactly(0..10);
    scene.topic.delete();
    let error = expect_status(&scene, "JOB_ERROR", 60);
    assert!(error.contains("deleted") && error.contains("reset"), "{error}");
    // Not there at all: told as well, if a little later.
    let error = run(&scene, "");
    assert!(error.starts_with("JOB_ERROR|") && error.contains("does not exist"), "{error}");
    // There again, and another one.
    let name = scene.topic.name.clone();
    scene.topic.make();
    assert_eq!(scene.topic.name, name);
    scene.topic.send_numbers(100..130);
    let error = run(&scene, "");
    assert!(error.contains("belong to another topic"), "{error}");
    scene.expect_exactly(0..10);
}

#[test]
fn a_job_whose_foreign_table_names_another_topic_does_not_go_on_at_its_offsets() {
    let scene = Scene::new(1);
    let other = scene.broker.topic(1);
    scene.topic.send_numbers(0..10);
    other.send_numbers(0..30);
    scene.server();
    scene.table("source", "jdata json", "format 'json'");
    scene.db.sql(
        "SELECT gpss.submit_job('numbers', 'source', 'numbers',
             mapping => '{\"n\": \"(jdata->>''n'')::int\"}')",
    );
    scene.load_to_the_end();
    let name = &other.name;
    scene.db.sql(&format!("ALTER FOREIGN TABLE source OPTIONS (SET topic '{name}')"));
    let error = run(&scene, "");
    assert!(error.contains("belong to another topic"), "{error}");
    scene.expect_exactly(0..10);
}

#[test]
fn what_retention_took_is_a_row_and_the_job_goes_on_where_the_fallback_says() {
    for (fallback, loaded, lost) in
        [("earliest", 25, "0|10|15|5|retention"), ("latest", 10, "0|10|30|20|retention")]
    {
        let scene = Scene::new(1);
        scene.topic.send_numbers(0..10);
        submit_with_fallback(&scene, fallback);
        scene.load_to_the_end();
        scene.topic.send_numbers(10..30);
        scene.topic.expire(0, 15);
        assert!(
            checked(&scene).starts_with("warning|the next start goes over "),
            "{}",
            checked(&scene)
        );
        assert_eq!(run(&scene, ""), "JOB_SUCCESS|");
        assert_eq!(scene.rows(), loaded);
        assert_eq!(scene.db.sql(LOST), lost);
        assert_eq!(scene.db.sql(PROGRESS), "0|30|30|0");
    }
}

#[test]
fn a_lost_offset_ends_a_job_without_fallback_and_nothing_moves() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    scene.submit(100);
    scene.load_to_the_end();
    assert_eq!(checked(&scene), "ok|the next start goes on at offset 10 of partition 0");
    scene.topic.send_numbers(10..30);
    scene.topic.expire(0, 15);
    assert!(checked(&scene).starts_with("failed|offset 10 of partition 0 of topic"));
    let error = run(&scene, "");
    assert!(error.starts_with("JOB_ERROR|") && error.contains("removed 5 messages"), "{error}");
    assert_eq!(scene.db.sql("SELECT next_offset FROM gpss.progress"), "10");
    assert_eq!(scene.db.sql(LOST), "");
}

#[test]
fn the_reset_of_a_lost_offset_loads_no_other_partition_again() {
    let scene = Scene::new(2);
    scene.topic.send_numbers(0..10);
    scene.submit(100);
    scene.load_to_the_end();
    scene.topic.send_numbers(10..30);
    scene.topic.expire(1, 10);
    let error = run(&scene, "");
    assert!(error.contains("offset 5 of partition 1 of topic"), "{error}");
    let (_, hint) = error.split_once("reset => '").expect("a reset");
    let (reset, _) = hint.split_once('\'').expect("a quote");
    assert_eq!(run(&scene, &format!(", reset => '{reset}'")), "JOB_SUCCESS|");
    let twice = "SELECT count(*), count(DISTINCT n) FROM numbers";
    assert_eq!(scene.db.sql(twice), "25|25");
}

#[test]
fn retention_may_pass_a_running_job() {
    let scene = Scene::new(1);
    submit_with_fallback(&scene, "earliest");
    scene.topic.send_numbers(0..10);
    scene.start();
    scene.expect_exactly(0..10);
    let loader = scene.workers()[0];
    pause(loader);
    // What the broker answers to the last question holds nothing.
    sleep(Duration::from_secs(2));
    scene.topic.send_numbers(10..40);
    scene.topic.expire(0, 30);
    resume(loader);
    eventually("the rest", 60, || scene.rows() == 20);
    assert_eq!(scene.db.sql(LOST), "0|10|30|20|retention");
    expect_status(&scene, "JOB_RUNNING", 10);
    scene.stop();
}

#[test]
fn who_may_see_a_job_sees_its_lost_ranges_and_they_outlive_it() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    submit_with_fallback(&scene, "earliest");
    scene.load_to_the_end();
    scene.topic.send_numbers(10..30);
    scene.topic.expire(0, 15);
    scene.load_to_the_end();
    let nobody = format!("nobody_{}", scene.topic.name);
    let monitor = format!("monitor_{}", scene.topic.name);
    scene.db.sql(&format!("CREATE ROLE {nobody}; CREATE ROLE {monitor} IN ROLE pg_monitor"));
    let seen_by = |role: &str| {
        scene.db.sql(&format!("SET ROLE {role}; SELECT sum(messages) FROM gpss.lost_ranges"))
    };
    assert_eq!(seen_by(&nobody), "");
    assert_eq!(seen_by(&monitor), "5");
    scene.db.sql("SELECT gpss.remove_job('numbers')");
    assert_eq!(seen_by("postgres"), "5");
}

#[test]
fn the_gaps_of_a_compacted_topic_are_no_gaps() {
    let mut scene = Scene::new(1);
    scene.topic = scene.broker.compacted_topic();
    let producer = Producer::new(&scene.topic);
    // Of the messages of one key, compaction leaves the last one.
    let send = |n: u32, key: &[u8]| {
        let line = number(n);
        producer.send([Record { key: Some(key), ..value(line.as_bytes()) }]);
    };
    for n in 0..200 {
        send(n, if n % 2 == 0 { b"even" } else { b"odd" });
        if n % 50 == 49 {
            // A new segment: the newest one is not compacted.
            sleep(Duration::from_millis(600));
        }
    }
    scene.server();
    scene.table("source", "jdata json", "format 'json'");
    eventually("the cleaner has run", 60, || {
        sleep(Duration::from_millis(600));
        send(200, b"tick");
        scene.db.number("SELECT count(*) FROM source") < 60
    });
    scene.submit(10);
    scene.start();
    eventually("everything is read", 30, || {
        let end = scene.db.sql("SELECT min(next_offset) >= 200, min(lag) = 0 FROM gpss.progress");
        end == "t|t"
    });
    assert_eq!(lag(&scene), "0|0");
    assert!(scene.rows() < 200 && scene.rows() >= 2, "{} rows", scene.rows());
    assert_eq!(scene.db.sql("SELECT count(*) FROM gpss.errors"), "0");
    assert_eq!(scene.db.sql(LOST), "");
    scene.stop();
    // From within a gap, too.
    scene.db.sql("SELECT gpss.start_job('numbers', reset => '{\"0\": 7}', quit_at_eof => true)");
    assert_eq!(scene.db.sql("SELECT gpss.wait_job('numbers', '60 s')"), "JOB_SUCCESS");
    assert_eq!(lag(&scene), "0|0");
}

#[test]
fn transactions_count_when_they_end() {
    let scene = Scene::new(1);
    let numbers: Vec<String> = (0..60).map(number).collect();
    let some = |from: usize| numbers[from..from + 10].iter().map(|n| value(n.as_bytes()));
    scene.submit(100);
    scene.start();
    let committed = Producer::in_transaction(&scene.topic);
    committed.send(some(0));
    committed.commit();
    scene.expect_exactly(0..10);
    // The marker at the end is no lag.
    eventually("no lag", 10, || scene.db.sql(PROGRESS) == "0|11|11|0");
    let aborted = Producer::in_transaction(&scene.topic);
    aborted.send(some(10));
    aborted.abort();
    eventually("no lag", 10, || scene.db.sql(PROGRESS) == "0|22|22|0");
    assert_eq!(lag(&scene), "0|0");

    // What came before an open transaction is loaded; the transaction is no lag before it ends.
    let plain = Producer::new(&scene.topic);
    plain.send(some(20));
    let open = Producer::in_transaction(&scene.topic);
    open.send(some(30));
    plain.send(some(40));
    eventually("no lag", 20, || scene.db.sql(PROGRESS) == "0|32|32|0");
    assert_eq!(scene.rows(), 20);
    assert_eq!(lag(&scene), "0|0");
    scene.stop();
    scene.load_to_the_end();
    assert_eq!(scene.rows(), 20, "the end is that of the last transaction that has ended");
    scene.start();
    open.commit();
    eventually("all of them", 20, || scene.rows() == 40);
    eventually("no lag", 10, || scene.db.sql(PROGRESS) == "0|53|53|0");
    let seen = "SELECT count(DISTINCT n), count(*) FILTER (WHERE n BETWEEN 10 AND 19) FROM numbers";
    assert_eq!(scene.db.sql(seen), "40|0");
    scene.stop();
}

#[test]
fn an_open_transaction_that_was_seen_before_its_end_is_no_lag() {
    let scene = Scene::new(1);
    let numbers: Vec<String> = (0..20).map(number).collect();
    let some = |from: usize| numbers[from..from + 10].iter().map(|n| value(n.as_bytes()));
    // The batch is closed before its partition's end is told; and with its messages, the broker has
    // told of the transaction.
    scene.submit(10);
    Producer::new(&scene.topic).send(some(0));
    let open = Producer::in_transaction(&scene.topic);
    open.send(some(10));
    scene.start();
    scene.expect_exactly(0..10);
    eventually("no lag", 10, || scene.db.sql(PROGRESS) == "0|10|10|0");
    open.abort();
    eventually("the marker is read", 10, || scene.db.sql(PROGRESS) == "0|21|21|0");
    scene.stop();
    scene.expect_exactly(0..10);
}

#[test]
fn who_wants_uncommitted_messages_gets_them() {
    let scene = Scene::new(1);
    scene.db.sql(&format!(
        "CREATE SERVER kafka FOREIGN DATA WRAPPER gpss
             OPTIONS (brokers '{}', \"isolation.level\" 'read_uncommitted')",
        scene.broker.address
    ));
    scene.table("source", "jdata json", "format 'json'");
    scene.db.sql(
        "SELECT gpss.submit_job('numbers', 'source', 'numbers',
             mapping => '{\"n\": \"(jdata->>''n'')::int\"}')",
    );
    let numbers: Vec<String> = (0..20).map(number).collect();
    let some = |from: usize| numbers[from..from + 10].iter().map(|n| value(n.as_bytes()));
    let aborted = Producer::in_transaction(&scene.topic);
    aborted.send(some(0));
    aborted.abort();
    let open = Producer::in_transaction(&scene.topic);
    open.send(some(10));
    scene.load_to_the_end();
    scene.expect_exactly(0..20);
    assert_eq!(scene.db.sql(PROGRESS), "0|21|21|0");
}

#[test]
fn a_partition_added_while_the_job_was_stopped_is_read_from_its_beginning() {
    let mut scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    scene.submit(100);
    scene.load_to_the_end();
    scene.topic.grow(3);
    scene.topic.send_numbers(10..100);
    scene.load_to_the_end();
    scene.expect_exactly(0..100);
    assert_eq!(scene.db.sql("SELECT count(*), sum(lag) FROM gpss.progress"), "3|0");
}

#[test]
fn two_jobs_load_one_topic_into_one_table_each_on_its_own() {
    let scene = Scene::new(2);
    scene.topic.send_numbers(0..1000);
    scene.server();
    scene.table("source", "jdata json", "format 'json'");
    scene.db.sql("ALTER TABLE numbers ADD job text");
    for job in ["a", "b"] {
        scene.db.sql(&format!(
            "SELECT gpss.submit_job('{job}', 'source', 'numbers', max_row => 100, workers => 2,
                 mapping => '{{\"n\": \"(jdata->>''n'')::int\", \"job\": \"''{job}''\"}}')"
        ));
    }
    scene.db.sql("SELECT gpss.start_job('a'), gpss.start_job('b')");
    let each = "SELECT job, count(*), count(DISTINCT n) FROM numbers GROUP BY 1 ORDER BY 1";
    eventually("both", 60, || scene.db.sql(each) == "a|1000|1000\nb|1000|1000");
    // One stops, the other goes on; and the first where it was.
    scene.db.sql("SELECT gpss.stop_job('a')");
    scene.topic.send_numbers(1000..1200);
    eventually("the other", 60, || scene.db.sql(each) == "a|1000|1000\nb|1200|1200");
    scene.db.sql("SELECT gpss.start_job('a')");
    eventually("the first", 60, || scene.db.sql(each) == "a|1200|1200\nb|1200|1200");
    scene.db.sql("SELECT gpss.stop_job('a'), gpss.stop_job('b')");
}

#[test]
fn two_jobs_of_one_configuration_each_load_what_comes_while_both_run() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..100);
    scene.submit(10);
    scene.start();
    scene.expect_exactly(0..100);
    let config = literal(&scene.config(25, 10));
    scene.db.sql(&format!("SELECT gpss.submit_job('second', {config})"));
    scene.db.sql("SELECT gpss.start_job('second')");
    eventually("the second one stands where the first does", 30, || {
        scene.db.sql("SELECT next_offset FROM gpss.progress WHERE job = 'second'") == "100"
    });
    scene.topic.send_numbers(100..200);
    eventually("each has them", 60, || scene.rows() == 300);
    assert_eq!(scene.db.sql("SELECT count(DISTINCT n) FROM numbers"), "200");
    let at = "SELECT job, next_offset, lag FROM gpss.progress ORDER BY job";
    eventually("both are at the end", 10, || scene.db.sql(at) == "numbers|200|0\nsecond|200|0");
    // One ends, the other one loads alone; the first goes on where that stopped.
    scene.stop();
    scene.topic.send_numbers(200..250);
    eventually("once", 30, || scene.rows() == 350);
    scene.db.sql("SELECT gpss.stop_job('second')");
    scene.topic.send_numbers(250..300);
    scene.load_to_the_end();
    assert_eq!(scene.rows(), 400);
    assert_eq!(scene.db.sql("SELECT count(DISTINCT n) FROM numbers"), "300");
}

#[test]
fn a_later_load_does_not_continue_in_a_recreated_topic() {
    let mut scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    scene.submit(100);
    scene.load_to_the_end();
    scene.topic.recreate(1);
    scene.topic.send_numbers(10..40);
    // Another job of the same topic and table: nothing of this topic has been loaded yet.
    let config = literal(&scene.config(25, 10));
    scene.db.sql(&format!("SELECT gpss.submit_job('second', {config})"));
    scene.run("second");
    scene.expect_exactly(0..40);
    // Which the first one takes over.
    scene.topic.send_numbers(40..50);
    scene.load_to_the_end();
    scene.expect_exactly(0..50);
}

#[test]
fn a_job_begins_where_it_is_told_to() {
    let scene = Scene::new(2);
    let lines: Vec<String> = (0..10).map(number).collect();
    let producer = Producer::new(&scene.topic);
    for (n, line) in (0i32..).zip(&lines) {
        let timestamp = Some(1_700_000_000_000 + i64::from(n) * 1000);
        producer.send([Record { partition: n % 2, timestamp, ..value(line.as_bytes()) }]);
    }
    scene.submit(100);
    let from = |reset: &str| {
        scene.db.sql("TRUNCATE numbers");
        assert_eq!(run(&scene, &format!(", reset => {reset}")), "JOB_SUCCESS|");
        assert_eq!(lag(&scene), "0|0");
        scene.db.sql("SELECT string_agg(n::text, ' ' ORDER BY n) FROM numbers")
    };
    assert_eq!(from("'earliest'"), "0 1 2 3 4 5 6 7 8 9");
    assert_eq!(from("'latest'"), "");
    assert_eq!(from("'{\"0\": 3, \"1\": 4}'::jsonb"), "6 8 9");
    // A partition that is not named goes on where it was.
    assert_eq!(from("'{\"0\": \"earliest\"}'::jsonb"), "0 2 4 6 8");
    assert_eq!(from("to_timestamp(1700000007)"), "7 8 9");
    assert_eq!(from("to_timestamp(1700000100)"), "");
    assert_eq!(scene.db.sql(LOST), "", "what a user leaves out is not lost");
    let error = run(&scene, ", reset => '{\"0\": 99}'::jsonb");
    assert!(error.starts_with("JOB_ERROR|") && error.contains("99"), "{error}");
    let start = "SELECT gpss.start_job('numbers', reset => '{\"7\": 0}'::jsonb)";
    let error = scene.db.error(start);
    assert!(error.contains("has no partition 7"), "{error}");
    // While the brokers do not answer, the worker is left to ask them.
    scene.broker.stop();
    scene.db.sql(start);
    scene.broker.start();
    let error = expect_status(&scene, "JOB_ERROR", 60);
    assert!(error.contains("has no partition 7"), "{error}");
}

#[test]
fn a_part_of_the_topic_can_be_replayed_while_the_job_runs() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..100);
    scene.submit(10);
    scene.start();
    scene.expect_exactly(0..100);
    scene.server();
    scene.table("replay", "jdata json, pos bigint OPTIONS (source 'offset')", "format 'json'");
    scene.db.sql("DELETE FROM numbers WHERE n BETWEEN 20 AND 29");
    scene.db.sql(
        "INSERT INTO numbers SELECT (jdata->>'n')::int FROM replay WHERE pos >= 20 AND pos < 30",
    );
    scene.topic.send_numbers(100..110);
    scene.expect_exactly(0..110);
    scene.stop();
}

#[test]
fn the_lag_stays_as_last_known_while_the_broker_is_away_and_ends_at_zero() {
    let scene = Scene::new(1);
    scene.slow_down(300);
    scene.topic.send_numbers(0..200);
    scene.submit(10);
    scene.start();
    let known = "SELECT lag = high_watermark - next_offset AND lag > 0 AND high_watermark = 200
                 FROM gpss.progress";
    eventually("some of it", 30, || scene.rows() > 20);
    assert_eq!(scene.db.sql(known), "t");
    scene.stop();
    scene.broker.stop();
    let before = scene.db.sql(PROGRESS);
    assert_eq!(scene.db.sql("SELECT lag_messages > 0, lag_seconds > 0 FROM gpss.jobs"), "t|t");
    scene.start();
    eventually("the outage is told", 30, || scene.status() == "JOB_RETRYING");
    assert_eq!(scene.db.sql(PROGRESS), before);
    scene.broker.start();
    scene.db.sql("DROP TRIGGER linger ON numbers");
    scene.expect_exactly(0..200);
    eventually("no lag", 10, || lag(&scene) == "0|0");
    scene.stop();
}

#[test]
fn a_job_that_cannot_make_its_consumer_ends_and_harms_nobody() {
    let scene = Scene::new(1);
    scene.db.sql(&format!(
        "CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '{}',
             \"security.protocol\" 'sasl_plaintext', \"sasl.mechanism\" 'PLAIN')",
        scene.broker.address
    ));
    scene.table("source", "jdata json", "format 'json'");
    scene.db.sql(
        "SELECT gpss.submit_job('numbers', 'source', 'numbers',
             mapping => '{\"n\": \"(jdata->>''n'')::int\"}')",
    );
    let server = "SELECT pg_postmaster_start_time(), (SELECT backend_start FROM pg_stat_activity
                  WHERE backend_type = 'checkpointer')";
    let before = scene.db.sql(server);
    let error = run(&scene, "");
    assert!(error.starts_with("JOB_ERROR|cannot make a Kafka consumer"), "{error}");
    assert_eq!(scene.db.sql(server), before);
}
