//! Exactly once, whatever dies: each test strikes while a job loads, and then counts.

use gpss_testbed::{EmptyBroker, Scene, eventually, kill_hard};
use std::time::Duration;

const MESSAGES: u32 = 20_000;

/// Strikes three times, each time after the job has loaded something since the last blow.
fn survives(strike: impl Fn(&Scene)) {
    let scene = Scene::new(1);
    // A hundred batches of at least 30 ms: time enough for three blows.
    scene.slow_down(30);
    scene.topic.send_numbers(0..MESSAGES);
    scene.submit(200);
    scene.start();
    for _ in 0..3 {
        let before = scene.rows();
        eventually("the job goes on", 60, || scene.rows() > before);
        strike(&scene);
        assert!(scene.rows() < i64::from(MESSAGES), "the load ended before the last blow");
    }
    scene.expect_exactly(0..MESSAGES);
    assert_eq!(scene.status(), "JOB_RUNNING");
    let loaded = "SELECT sum(inserted) FROM gpss.batches WHERE job = 'numbers'";
    assert_eq!(scene.db.number(loaded), i64::from(MESSAGES));
}

fn worker(scene: &Scene) -> i64 {
    eventually("a worker", 30, || !scene.workers().is_empty());
    scene.workers()[0]
}

#[test]
fn a_terminated_worker_comes_back_and_loads_each_message_once() {
    survives(|scene| {
        let pid = worker(scene);
        scene.db.sql(&format!("SELECT pg_terminate_backend({pid}, 10000)"));
    });
}

#[test]
fn a_killed_worker_comes_back_and_loads_each_message_once() {
    survives(|scene| {
        kill_hard(worker(scene));
        // All sessions of the server are thrown out; it recovers by itself.
        eventually("the server is back", 60, || scene.db.try_sql("SELECT 1").is_ok());
    });
}

#[test]
fn a_killed_server_comes_back_with_its_job_and_loads_each_message_once() {
    survives(|scene| {
        scene.cluster.kill();
        scene.cluster.start();
    });
}

#[test]
fn a_restarted_server_comes_back_with_its_job_and_loads_each_message_once() {
    survives(|scene| scene.cluster.restart());
}

#[test]
fn a_worker_that_has_outlived_its_scheduler_comes_back_too() {
    let scene = Scene::new(1);
    scene.submit(100);
    scene.start();
    scene.topic.send_numbers(0..10);
    scene.expect_exactly(0..10);
    let scheduler = || {
        let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
                   AND backend_type = 'gpss scheduler' AND wait_event = 'Extension'";
        scene.db.sql(sql).parse::<i64>().ok()
    };
    let (first, loader) = (scheduler().expect("a scheduler"), worker(&scene));
    scene.db.sql(&format!("SELECT pg_terminate_backend({first}, 10000)"));
    eventually("another scheduler watches", 30, || scheduler().is_some());
    assert_eq!(worker(&scene), loader);
    scene.db.sql(&format!("SELECT pg_terminate_backend({loader}, 10000)"));
    eventually("another worker comes", 30, || !scene.workers().is_empty());
    scene.topic.send_numbers(10..20);
    scene.expect_exactly(0..20);
}

/// The broker is away for a while between two halves.
fn outlasts(away: impl Fn(&Scene), back: impl Fn(&Scene)) {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..1000);
    scene.submit(100);
    scene.start();
    scene.expect_exactly(0..1000);
    away(&scene);
    std::thread::sleep(Duration::from_secs(5));
    assert!(["JOB_RUNNING", "JOB_RETRYING"].contains(&scene.status().as_str()));
    back(&scene);
    scene.topic.send_numbers(1000..2000);
    scene.expect_exactly(0..2000);
    eventually("the job says that it runs", 30, || scene.status() == "JOB_RUNNING");
}

#[test]
fn a_broker_that_stops_and_starts_is_waited_for() {
    outlasts(|scene| scene.broker.stop(), |scene| scene.broker.start());
}

#[test]
fn a_broker_that_is_killed_and_starts_is_waited_for() {
    outlasts(|scene| scene.broker.kill(), |scene| scene.broker.start());
}

#[test]
fn a_broker_that_answers_nothing_for_a_while_is_waited_for() {
    outlasts(|scene| scene.broker.pause(), |scene| scene.broker.resume());
}

#[test]
fn a_broker_that_names_no_broker_on_its_way_down_or_up_is_waited_for() {
    outlasts(
        |scene| {
            scene.broker.stop();
            let empty = EmptyBroker::at(&scene.broker.address, &scene.topic.name);
            eventually("the job asks for the brokers twice", 60, || empty.answered() > 1);
            // Time for all of its questions.
            std::thread::sleep(Duration::from_secs(3));
        },
        |scene| scene.broker.start(),
    );
}

#[test]
fn a_job_can_be_stopped_while_the_broker_is_away() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    scene.submit(100);
    scene.start();
    scene.expect_exactly(0..10);
    scene.broker.stop();
    scene.db.sql("SET statement_timeout = '20 s'; SELECT gpss.stop_job('numbers')");
    assert_eq!(scene.status(), "JOB_STOPPED");
    assert!(scene.workers().is_empty());
    scene.broker.start();
}
