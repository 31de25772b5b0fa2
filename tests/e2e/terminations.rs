//! Sessions that are ended while they talk to Kafka, over TLS and with tokens too, and what is no end: interrupts that
//! cancel nothing. No other session notices.

use super::tokens;
use gpss_testbed::{Scene, TokenEndpoint, eventually};
use std::thread;
use std::time::Duration;

/// Sessions at a time.
const VICTIMS: usize = 4;

/// The scene with `source` on a server of one's own and a job `numbers` that takes it; `options` are the server's.
fn over(options: impl FnOnce(&Scene) -> String, mapping: &str) -> Scene {
    let scene = Scene::new(2);
    scene.db.sql(&format!(
        "CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS ({}); {mapping}",
        options(&scene)
    ));
    scene.table("source", "n int", "format 'json'");
    scene.db.sql(
        "SELECT gpss.submit_job('numbers', 'source'::regclass, 'numbers'::regclass,
             max_row => 100)",
    );
    scene.topic.send_numbers(0..5000);
    assert_eq!(scene.db.number("SELECT count(*) FROM source"), 5000);
    scene
}

fn with_ssl() -> Scene {
    over(|scene| scene.broker.ssl_options(), "")
}

fn with_sasl_ssl() -> Scene {
    let mapping = "CREATE USER MAPPING FOR CURRENT_USER SERVER kafka
                       OPTIONS (\"sasl.username\" 'encrypted', \"sasl.password\" 'secret')";
    over(
        |scene| {
            scene.broker.user("encrypted", "secret");
            scene.broker.sasl_ssl_options()
        },
        mapping,
    )
}

/// What tells that the server has lost no process.
fn crashes(scene: &Scene) -> usize {
    scene.db.log_lines("was terminated by signal")
}

/// Ends `VICTIMS` sessions with this statement after `ms`.
fn terminate(scene: &Scene, sql: &str, ms: u64) {
    thread::scope(|threads| {
        for _ in 0..VICTIMS {
            // Ended, or through before that: either is fine.
            let sql = format!("SET application_name = 'victim'; {sql}");
            threads.spawn(move || scene.db.try_sql(&sql));
        }
        thread::sleep(Duration::from_millis(ms));
        scene.db.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'victim'",
        );
    });
}

/// Ends the job's loader `ms` after the start.
fn terminate_loader(scene: &Scene, ms: u64) {
    scene.start();
    thread::sleep(Duration::from_millis(ms));
    scene.db.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND backend_type = 'gpss loader'",
    );
    scene.stop();
}

/// Milliseconds after which sessions are ended: some within the handshake, some while they read.
fn moments() -> impl Iterator<Item = u64> {
    (0..12).map(|round| 20 + round * 23)
}

fn ends_without_a_crash(scene: &Scene) {
    let before = crashes(scene);
    let statements = [
        "SELECT count(*) FROM source",
        "SELECT count(*) FROM gpss.dryrun('numbers', 10000)",
        "SELECT count(*) FROM gpss.check('numbers')",
    ];
    for ms in moments() {
        for sql in statements {
            terminate(scene, sql, ms);
        }
        terminate_loader(scene, ms);
    }
    assert_eq!(crashes(scene), before, "{}", scene.cluster.log());
    scene.start();
    scene.expect_exactly(0..5000);
    scene.stop();
}

#[test]
fn a_session_that_is_terminated_while_it_talks_tls_takes_no_other_one_with_it() {
    ends_without_a_crash(&with_ssl());
}

#[test]
fn a_session_that_is_terminated_while_it_talks_sasl_over_tls_takes_no_other_one_with_it() {
    ends_without_a_crash(&with_sasl_ssl());
}

#[test]
fn a_session_that_is_terminated_while_it_asks_for_a_token_takes_no_other_one_with_it() {
    let mut endpoint = None;
    let options = |scene: &Scene| {
        let endpoint = endpoint.insert(TokenEndpoint::up(&scene.broker));
        tokens::options(&scene.broker, &endpoint.url)
    };
    ends_without_a_crash(&over(options, tokens::MAPPING));
}

#[test]
fn a_fast_shutdown_while_sessions_talk_tls_is_a_clean_one() {
    let scene = with_ssl();
    let recoveries = || scene.cluster.log().matches("was not properly shut down").count();
    let before = (crashes(&scene), recoveries());
    for ms in [40, 90, 160] {
        scene.start();
        thread::scope(|threads| {
            for _ in 0..VICTIMS {
                threads.spawn(|| scene.db.try_sql("SELECT count(*) FROM source"));
            }
            thread::sleep(Duration::from_millis(ms));
            scene.cluster.stop("fast");
        });
        scene.cluster.start();
        scene.stop();
    }
    assert_eq!((crashes(&scene), recoveries()), before, "{}", scene.cluster.log());
}

#[test]
fn an_interrupt_that_cancels_nothing_ends_no_wait_for_the_brokers() {
    let scene = Scene::new(1);
    scene.server();
    scene.table("source", "n int", "format 'json'");
    scene.db.sql("SELECT gpss.submit_job('numbers', 'source'::regclass, 'numbers'::regclass)");
    scene.topic.send_numbers(0..10);
    let statements = [
        "SELECT count(*) FROM source",
        "SELECT count(*) FROM gpss.dryrun('numbers', 100)",
        "SELECT count(*) FROM gpss.check('numbers') WHERE status = 'ok'",
    ];
    let waiting = "FROM pg_stat_activity WHERE application_name = 'waiting'
                       AND datname = current_database() AND state = 'active'";
    for sql in statements {
        let answer = scene.db.sql(sql);
        let database = scene.cluster.empty_database();
        scene.broker.pause();
        thread::scope(|threads| {
            let asked = threads.spawn(|| {
                // A connection that is looked after, too: that is an interrupt each time.
                scene.db.try_sql(&format!(
                    "SET application_name = 'waiting';
                     SET client_connection_check_interval = '50ms'; {sql}"
                ))
            });
            let count = format!("SELECT count(*) {waiting}");
            eventually("the session waits", 10, || scene.db.number(&count) == 1);
            thread::sleep(Duration::from_millis(500));
            // Both would wait for a session that does not look at its interrupts.
            scene.db.sql(&format!("SELECT pg_log_backend_memory_contexts(pid) {waiting}"));
            drop(database);
            let logged = "logging memory contexts of PID";
            assert!(scene.db.log_lines(logged) > 0, "{sql}");
            scene.broker.resume();
            assert_eq!(asked.join().expect("a thread").as_deref(), Ok(&*answer), "{sql}");
        });
    }

    // A cancel is one, and at once.
    for sql in statements {
        scene.broker.pause();
        let cancelled = format!("SET statement_timeout = '700ms'; {sql}");
        let error = scene.db.error(&cancelled);
        scene.broker.resume();
        assert!(error.contains("canceling statement due to statement timeout"), "{sql}: {error}");
    }
}

#[test]
fn a_loader_that_waits_for_the_brokers_holds_up_no_drop_of_another_database() {
    let scene = Scene::new(1);
    scene.submit(100);
    scene.topic.send_numbers(0..10);
    let database = scene.cluster.empty_database();
    scene.broker.pause();
    scene.start();
    eventually("a loader", 10, || !scene.workers().is_empty());
    thread::sleep(Duration::from_millis(500));
    let start = std::time::Instant::now();
    drop(database);
    let took = start.elapsed();
    scene.broker.resume();
    assert!(took < Duration::from_secs(2), "{took:?}");
    scene.expect_exactly(0..10);
    scene.stop();
}
