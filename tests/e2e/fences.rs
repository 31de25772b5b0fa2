//! Who waits for whom when jobs are stopped, and what a loader may still do then.

use super::support::{Scene, eventually};

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
