//! Who waits for whom when jobs are stopped, and what a loader may still do then.

use gpss_testbed::{JOB, Scene, eventually, literal};
use std::time::Duration;

/// Submits the job with a mapping that calls a function, which runs this first.
fn submit_with(scene: &Scene, body: &str) {
    scene.db.sql(&format!(
        "CREATE FUNCTION mapped(n int) RETURNS int LANGUAGE plpgsql AS
         $$ BEGIN {body} RETURN n; END $$"
    ));
    let config = scene.config(25, 100).replace("(jdata->>'n')::int", "mapped((jdata->>'n')::int)");
    scene.db.sql(&format!("SELECT gpss.submit_job('{JOB}', {})", literal(&config)));
}

/// Waits until the loader is at this.
fn at(scene: &Scene, activity: &str) {
    let query = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
         AND backend_type = 'gpss loader' AND query LIKE '%{activity}'"
    );
    eventually(activity, 20, || scene.db.sql(&query) == "1");
}

#[test]
fn a_dropped_extension_waits_for_transactions_and_not_for_sessions() {
    let scene = Scene::new(1);
    scene.submit(100);
    scene.start();
    eventually("the job runs", 20, || !scene.workers().is_empty());
    std::thread::scope(|threads| {
        let stopper = threads.spawn(|| {
            scene.db.try_sql(
                "SET application_name = 'stopper'; BEGIN; SELECT gpss.stop_job('numbers');
                 SELECT pg_sleep(2); COMMIT; SELECT pg_sleep(100)",
            )
        });
        eventually("the job is being stopped", 20, || {
            scene.db.sql(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE application_name = 'stopper' AND query LIKE '%pg_sleep(2)%'",
            ) == "1"
        });
        scene.db.sql("SET statement_timeout = '20 s'; DROP EXTENSION gpss CASCADE");
        scene.db.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = 'stopper' AND query LIKE '%pg_sleep(100)%'",
        );
        let error = stopper.join().expect("a thread").expect_err("it was terminated");
        assert!(error.contains("terminating connection"), "{error}");
    });
}

#[test]
fn sessions_that_start_and_stop_the_same_job_do_not_wait_for_each_other_for_ever() {
    let scene = Scene::new(1);
    scene.submit(100);
    let turns = "SET statement_timeout = '100 s';
        DO $$ BEGIN
            FOR turn IN 1 .. 60 LOOP
                BEGIN
                    PERFORM gpss.start_job('numbers');
                EXCEPTION WHEN object_not_in_prerequisite_state THEN
                END;
                COMMIT;
                PERFORM gpss.stop_job('numbers');
                COMMIT;
            END LOOP;
        END $$;
        SELECT 'done'";
    std::thread::scope(|threads| {
        let sessions: Vec<_> = (0..4).map(|_| threads.spawn(|| scene.db.try_sql(turns))).collect();
        for session in sessions {
            assert_eq!(session.join().expect("a thread"), Ok("done".to_owned()));
        }
    });
    assert_eq!(scene.status(), "JOB_STOPPED");
    eventually("no loader is left", 10, || scene.workers().is_empty());
}

#[test]
fn a_job_whose_mapping_releases_all_advisory_locks_is_stopped_when_stop_job_returns() {
    let scene = Scene::new(1);
    submit_with(&scene, "PERFORM pg_advisory_unlock_all(); PERFORM pg_sleep((n / 20) * 3);");
    scene.topic.send_numbers(0..10);
    scene.start();
    scene.expect_exactly(0..10);
    at(&scene, "waiting for messages");
    // Between batches.
    scene.stop();
    assert_eq!((scene.workers(), scene.status()), (vec![], "JOB_STOPPED".to_owned()));
    scene.topic.send_numbers(10..20);
    scene.start();
    scene.expect_exactly(0..20);

    // Within one.
    scene.topic.send_numbers(20..21);
    at(&scene, "loading 1 message");
    std::thread::sleep(Duration::from_millis(500));
    scene.stop();
    assert_eq!((scene.workers(), scene.status()), (vec![], "JOB_STOPPED".to_owned()));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(scene.rows(), 20);
    scene.start();
    scene.expect_exactly(0..21);
}

#[test]
fn a_batch_whose_run_is_over_is_not_committed() {
    let scene = Scene::new(1);
    scene.submit(100);
    scene.topic.send_numbers(0..10);
    scene.start();
    scene.expect_exactly(0..10);
    // As if the loader had not been told.
    scene.db.sql("DELETE FROM gpss.run");
    scene.topic.send_numbers(10..20);
    eventually("the loader leaves", 20, || scene.workers().is_empty());
    assert_eq!(scene.rows(), 10);
    scene.db.sql("UPDATE gpss.status SET status = 'JOB_STOPPED'");
    scene.start();
    scene.expect_exactly(0..20);
}
