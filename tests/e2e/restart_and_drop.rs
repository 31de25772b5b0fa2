//! What happens to jobs when the extension, the database or the server goes, moves or comes back.

use gpss_testbed::{Scene, eventually, literal};

#[test]
fn dropping_the_extension_stops_its_running_jobs_first() {
    let scene = Scene::new(1);
    scene.slow_down(20);
    scene.topic.send_numbers(0..5000);
    scene.submit(100);
    scene.start();
    eventually("the job loads", 30, || scene.rows() > 0);
    scene.db.sql("SET statement_timeout = '30 s'; DROP EXTENSION gpss CASCADE");
    eventually("no worker is left", 10, || scene.workers().is_empty());
    let rows = scene.rows();
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(scene.rows(), rows);

    scene.db.sql("CREATE EXTENSION gpss");
    assert_eq!(scene.db.number("SELECT count(*) FROM gpss.jobs"), 0);
}

#[test]
fn a_job_can_be_stopped_and_the_extension_dropped_in_one_transaction() {
    let scene = Scene::new(1);
    scene.submit(100);
    scene.start();
    eventually("the job runs", 20, || !scene.workers().is_empty());
    scene.db.sql(
        "SET statement_timeout = '30 s'; BEGIN; SELECT gpss.stop_job('numbers');
         DROP EXTENSION gpss CASCADE; COMMIT",
    );
    assert!(scene.workers().is_empty());
}

#[test]
fn a_stop_that_is_rolled_back_lets_the_job_go_on_without_a_word_of_a_failure() {
    let scene = Scene::new(1);
    scene.submit(100);
    scene.start();
    scene.topic.send_numbers(0..10);
    scene.expect_exactly(0..10);
    let failures = scene.db.log_lines("ended unexpectedly");
    scene.db.sql("BEGIN; SELECT gpss.stop_job('numbers'); ROLLBACK");
    let mut said = vec![];
    eventually("another worker", 30, || {
        said.push(scene.db.sql("SELECT status, errmsg FROM gpss.jobs"));
        !scene.workers().is_empty()
    });
    assert!(said.iter().all(|said| said == "JOB_RUNNING|"), "{said:?}");
    assert_eq!(scene.db.log_lines("ended unexpectedly"), failures);
    scene.topic.send_numbers(10..20);
    scene.expect_exactly(0..20);
}

#[test]
fn a_transaction_that_began_before_a_job_was_started_can_stop_it_at_each_level_of_isolation() {
    let scene = Scene::new(1);
    scene.submit(100);
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        scene.db.sql(&format!(
            "BEGIN ISOLATION LEVEL {level};
             SELECT count(*) FROM gpss.jobs;
             \\! psql -X -q -d {} -c \"SELECT gpss.start_job('numbers')\" >/dev/null
             SELECT gpss.stop_job('numbers');
             COMMIT",
            scene.db.name
        ));
        assert_eq!(scene.status(), "JOB_STOPPED", "{level}");
        assert!(scene.workers().is_empty());
    }
}

#[test]
fn a_restored_database_has_the_job_stopped_at_its_offset() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..500);
    scene.submit(100);
    scene.start();
    scene.expect_exactly(0..500);
    let copy = scene.db.dump_and_restore();
    scene.stop();

    assert_eq!(copy.sql("SELECT name, status FROM gpss.jobs"), "numbers|JOB_STOPPED");
    scene.topic.send_numbers(500..600);
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(copy.number("SELECT count(*) FROM numbers"), 500);
    copy.sql("SELECT gpss.start_job('numbers')");
    let rows = "SELECT count(*), count(DISTINCT n) FROM numbers";
    eventually("the copy goes on where the dump was taken", 60, || copy.sql(rows) == "600|600");
    assert_eq!(scene.rows(), 500);
}

#[test]
fn without_preload_a_job_runs_and_a_notice_says_that_it_will_not_come_back() {
    let scene = Scene::without_preload(1);
    scene.topic.send_numbers(0..10);
    scene.submit(100);
    let notices = scene.db.notices("SELECT gpss.start_job('numbers')");
    assert!(
        notices.contains("NOTICE") && notices.contains("shared_preload_libraries"),
        "{notices}"
    );
    scene.expect_exactly(0..10);

    scene.cluster.restart();
    scene.topic.send_numbers(10..20);
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(scene.rows(), 10);
    assert!(scene.workers().is_empty());
    scene.start();
    scene.expect_exactly(0..20);
}

#[test]
fn a_job_whose_scheduler_died_runs_and_is_not_called_stopped() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    scene.submit(100);
    scene.start();
    scene.expect_exactly(0..10);
    // Only now can the run be from before the server's last start.
    scene.cluster.restart();
    eventually("the job is back", 60, || !scene.workers().is_empty());
    let gone = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                AND backend_type = 'gpss scheduler'";
    let said = scene.db.sql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
         WHERE datname = current_database() AND backend_type = 'gpss scheduler';
         SELECT status FROM gpss.jobs; SELECT gpss.wait_job('numbers', '100 ms')",
    );
    assert_eq!(said, "t\nJOB_RUNNING\nJOB_RUNNING");
    eventually("another scheduler comes", 30, || scene.db.number(gone) == 1);
    let refused = scene.db.error("SELECT gpss.start_job('numbers')");
    assert!(refused.contains("already running"), "{refused}");
}

#[test]
fn jobs_of_two_databases_both_come_back_after_a_restart() {
    let scene = Scene::new(1);
    let other = scene.cluster.database();
    other.sql("CREATE TABLE numbers (n int)");
    let config = literal(&scene.config_for(&other, 10, 100));
    other
        .sql(&format!("SELECT gpss.submit_job('other', {config}); SELECT gpss.start_job('other')"));
    scene.submit(100);
    scene.start();
    scene.topic.send_numbers(0..100);
    scene.expect_exactly(0..100);

    scene.cluster.restart();
    scene.topic.send_numbers(100..200);
    scene.expect_exactly(0..200);
    let rows = "SELECT count(*), count(DISTINCT n) FROM numbers";
    eventually("the other database's rows", 60, || other.sql(rows) == "200|200");
}

#[test]
fn a_stopped_job_stays_stopped_over_a_restart() {
    let scene = Scene::new(1);
    scene.submit(100);
    scene.start();
    eventually("the job runs", 30, || scene.status() == "JOB_RUNNING");
    scene.stop();
    scene.cluster.restart();
    scene.topic.send_numbers(0..10);
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(scene.status(), "JOB_STOPPED");
    assert_eq!(scene.rows(), 0);
}
