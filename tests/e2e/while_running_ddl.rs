//! What others do to a job's surroundings while it runs: its table, its role, its processes, its
//! server. Each is as quick as without the job, and afterwards every message is there once.

use gpss_testbed::{Database, Scene, eventually, literal};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// A running job and the numbers sent to it so far.
struct Flow {
    scene: Scene,
    sent: Cell<u32>,
}

impl Flow {
    fn new() -> Flow {
        Flow::of(Scene::new(1))
    }

    fn of(scene: Scene) -> Flow {
        scene.submit(50);
        scene.start();
        Flow { scene, sent: Cell::new(0) }
    }

    /// Of a job of this role, which owns nothing of it but may insert.
    fn of_role(role: &str) -> Flow {
        let scene = Scene::new(1);
        scene.server();
        scene.table("source", "doc json", "format 'json'");
        scene.db.sql(&format!(
            "CREATE ROLE {role} LOGIN;
             GRANT USAGE ON FOREIGN SERVER kafka TO {role};
             GRANT SELECT ON source TO PUBLIC; GRANT INSERT ON numbers TO PUBLIC;
             ALTER FOREIGN TABLE source ALTER doc OPTIONS (ADD source 'value');
             SET SESSION AUTHORIZATION {role};
             SELECT gpss.submit_job('numbers', 'source', 'numbers', max_row => 50,
                 minimal_interval => 100, mapping => '{{\"n\": \"(doc->>''n'')::int\"}}');
             SELECT gpss.start_job('numbers')"
        ));
        Flow { scene, sent: Cell::new(0) }
    }

    fn db(&self) -> &Database {
        &self.scene.db
    }

    fn send(&self, count: u32) {
        let from = self.sent.replace(self.sent.get() + count);
        self.scene.topic.send_numbers(from..from + count);
    }

    fn expect_all(&self) {
        self.scene.expect_exactly(0..self.sent.get());
    }

    /// Sends some, and waits for all.
    fn goes_on(&self) {
        self.send(20);
        self.expect_all();
    }

    /// Sends enough to strike in the middle of.
    fn busy(&self) {
        self.send(1000);
        let before = self.scene.rows();
        eventually("the job loads", 30, || self.scene.rows() > before);
    }

    /// Until the job has ended by an error; its text.
    fn error(&self) -> String {
        let status = || self.scene.status();
        eventually("the job's error", 30, || status() == "JOB_ERROR");
        self.db().sql("SELECT errmsg FROM gpss.jobs WHERE name = 'numbers'")
    }

    /// The next message ends the job with an error that has these words; after `undo` a start goes
    /// on where it was.
    fn ends_and_goes_on(&self, strike: &str, words: &[&str], undo: &str) {
        self.quick(strike);
        self.send(10);
        let said = self.error();
        for word in words.iter().chain([&"HINT: "]) {
            assert!(said.contains(word), "{strike}: {said}");
        }
        self.db().sql(undo);
        self.scene.start();
        self.goes_on();
    }

    /// No statement waits for a worker longer than for a batch.
    fn quick(&self, sql: &str) {
        let begun = Instant::now();
        self.db().sql(&format!("SET statement_timeout = '10 s'; {sql}"));
        assert!(begun.elapsed() < Duration::from_secs(5), "{sql}: {:?}", begun.elapsed());
    }

    fn pid_of(&self, kind: &str) -> Option<i64> {
        let sql =
            format!("SELECT min(pid) FROM pg_stat_activity WHERE backend_type = 'gpss {kind}'");
        self.db().sql(&sql).parse().ok()
    }

    /// What the server's log has of this text within three seconds, two seconds from now: the restart of
    /// a scheduler whose database has been dropped, by the test before perhaps, comes after one.
    fn logged_in_three_seconds(&self, text: &str) -> usize {
        std::thread::sleep(Duration::from_secs(2));
        let before = self.db().log_lines(text);
        std::thread::sleep(Duration::from_secs(3));
        self.db().log_lines(text) - before
    }
}

#[test]
fn what_leaves_the_target_usable_harms_neither_a_busy_nor_an_idle_job() {
    let flow = Flow::new();
    flow.scene.slow_down(20);
    let strikes = [
        "ALTER TABLE numbers ADD COLUMN plain{} int",
        "ALTER TABLE numbers ADD COLUMN filled{} int NOT NULL DEFAULT 7",
        "ALTER TABLE numbers DROP COLUMN plain{}",
        "ALTER TABLE numbers ALTER COLUMN n TYPE bigint; ALTER TABLE numbers ALTER COLUMN n TYPE numeric;
         ALTER TABLE numbers ALTER COLUMN n TYPE int",
        "ALTER TABLE numbers ADD CONSTRAINT positive{} CHECK (n >= 0)",
        "ALTER TABLE numbers SET UNLOGGED; ALTER TABLE numbers SET LOGGED",
        "ALTER TABLE numbers SET TABLESPACE pg_default",
        "CREATE INDEX CONCURRENTLY by_n{} ON numbers (n)",
        "REINDEX TABLE numbers",
        "REINDEX TABLE CONCURRENTLY numbers",
        "VACUUM FULL numbers",
        "CLUSTER numbers USING by_n{}",
        "ANALYZE numbers",
        "BEGIN; LOCK TABLE numbers IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.5); COMMIT",
        "DROP INDEX CONCURRENTLY by_n{}",
    ];
    for (busy, n) in [(true, "0"), (false, "1")] {
        for strike in strikes {
            if busy {
                flow.busy();
            }
            flow.quick(&strike.replace("{}", n));
            assert_eq!(flow.scene.status(), "JOB_RUNNING", "{strike}");
            flow.goes_on();
        }
    }
}

#[test]
fn partitions_come_and_go_under_a_busy_job() {
    let scene = Scene::new(1);
    scene.db.sql(
        "DROP TABLE numbers; CREATE TABLE numbers (n int) PARTITION BY RANGE (n);
         CREATE TABLE low PARTITION OF numbers FOR VALUES FROM (0) TO (500);
         CREATE TABLE rest PARTITION OF numbers DEFAULT;
         CREATE TABLE high (n int)",
    );
    let flow = Flow::of(scene);
    flow.busy();
    flow.expect_all();
    flow.quick("ALTER TABLE numbers DETACH PARTITION low");
    flow.send(10);
    let moved = || flow.db().number("SELECT count(*) FROM numbers WHERE n >= 1000");
    eventually("ten more", 20, || moved() == 10);
    flow.quick("ALTER TABLE numbers ATTACH PARTITION low FOR VALUES FROM (0) TO (500)");
    flow.quick("ALTER TABLE numbers ATTACH PARTITION high FOR VALUES FROM (100000) TO (200000)");
    flow.goes_on();
    assert_eq!(flow.scene.status(), "JOB_RUNNING");
}

#[test]
fn a_truncated_target_keeps_what_comes_afterwards() {
    let flow = Flow::new();
    flow.send(100);
    flow.expect_all();
    flow.quick("TRUNCATE numbers");
    flow.send(30);
    eventually("thirty rows", 20, || flow.scene.rows() == 30);
    assert_eq!(flow.db().sql("SELECT rows_loaded FROM gpss.jobs"), "130");
}

#[test]
fn what_makes_the_target_unusable_ends_the_job_with_a_hint_and_a_start_goes_on() {
    let flow = Flow::new();
    flow.goes_on();
    flow.ends_and_goes_on(
        "CREATE TABLE kept AS TABLE numbers; DROP TABLE numbers",
        &["numbers\" does not exist"],
        "ALTER TABLE kept RENAME TO numbers",
    );
    flow.ends_and_goes_on(
        "ALTER TABLE numbers RENAME TO former",
        &["numbers\" does not exist"],
        "ALTER TABLE former RENAME TO numbers",
    );
    flow.ends_and_goes_on(
        "CREATE SCHEMA elsewhere; ALTER TABLE numbers SET SCHEMA elsewhere",
        &["numbers\" does not exist"],
        "ALTER TABLE elsewhere.numbers SET SCHEMA public",
    );
    flow.ends_and_goes_on(
        "ALTER TABLE numbers RENAME n TO m",
        &["column \"n\" of relation \"numbers\" does not exist"],
        "ALTER TABLE numbers RENAME m TO n",
    );
    flow.ends_and_goes_on(
        "CREATE TABLE kept AS TABLE numbers; ALTER TABLE numbers ADD other int, DROP n",
        &["column \"n\" of relation \"numbers\" does not exist"],
        "DROP TABLE numbers; ALTER TABLE kept RENAME TO numbers",
    );
    flow.ends_and_goes_on(
        "ALTER TABLE numbers ALTER n TYPE int[] USING ARRAY[n]",
        &["is of type integer[]"],
        "ALTER TABLE numbers ALTER n TYPE int USING n[1]",
    );
}

#[test]
fn a_target_that_is_dropped_under_a_busy_job_ends_it_and_loses_nothing_that_comes_later() {
    let flow = Flow::new();
    flow.scene.slow_down(20);
    flow.busy();
    flow.quick(
        "BEGIN; LOCK TABLE numbers; CREATE TABLE kept AS TABLE numbers; DROP TABLE numbers; COMMIT",
    );
    let said = flow.error();
    assert!(said.contains("does not exist") && said.contains("HINT: "), "{said}");
    flow.db().sql("ALTER TABLE kept RENAME TO numbers");
    flow.scene.start();
    flow.goes_on();
}

#[test]
fn a_lost_privilege_ends_the_job_with_a_hint_and_a_start_goes_on() {
    let flow = Flow::of_role("loses_privileges");
    flow.goes_on();
    for (strike, said, undo) in [
        (
            "REVOKE INSERT ON numbers FROM PUBLIC",
            "permission denied for table numbers",
            "GRANT INSERT ON numbers TO PUBLIC",
        ),
        (
            "REVOKE SELECT ON source FROM PUBLIC",
            "permission denied for foreign table source",
            "GRANT SELECT ON source TO PUBLIC",
        ),
        (
            "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
            "public",
            "GRANT USAGE ON SCHEMA public TO PUBLIC",
        ),
    ] {
        flow.ends_and_goes_on(strike, &[said], undo);
    }
    flow.scene.stop();
    flow.db().sql(
        "SELECT gpss.remove_job('numbers'); DROP OWNED BY loses_privileges;
         DROP ROLE loses_privileges",
    );
}

#[test]
fn a_role_that_is_renamed_goes_on_and_one_that_is_dropped_ends_its_job() {
    let flow = Flow::of_role("goes_away");
    flow.goes_on();
    flow.db().sql("ALTER ROLE goes_away RENAME TO went_away");
    flow.goes_on();
    assert_eq!(flow.db().sql("SELECT owner FROM gpss.jobs"), "went_away");

    flow.db().sql("REVOKE USAGE ON FOREIGN SERVER kafka FROM went_away; DROP ROLE went_away");
    flow.send(10);
    let said = flow.error();
    assert!(said.contains("owner") && said.contains("HINT: "), "{said}");
    let refused = flow.db().error("SELECT gpss.start_job('numbers')");
    assert!(refused.contains("owner") && refused.contains("HINT: "), "{refused}");
    flow.db().sql("SELECT gpss.remove_job('numbers')");
}

#[test]
fn the_worker_of_a_dropped_role_is_not_started_again_and_again() {
    let flow = Flow::of_role("goes_away_too");
    flow.goes_on();
    let pid = flow.pid_of("loader").expect("a loader");
    flow.db().sql(&format!(
        "REVOKE USAGE ON FOREIGN SERVER kafka FROM goes_away_too; DROP ROLE goes_away_too;
         SELECT pg_terminate_backend({pid})"
    ));
    let said = flow.error();
    assert!(said.contains("owner") && said.contains("HINT: "), "{said}");
    assert_eq!(flow.logged_in_three_seconds("FATAL"), 0);
}

#[test]
fn a_role_that_may_not_log_in_keeps_its_worker_but_gets_no_new_one() {
    let flow = Flow::of_role("locked_out");
    flow.goes_on();
    flow.db().sql("ALTER ROLE locked_out NOLOGIN");
    flow.goes_on();
    let pid = flow.pid_of("loader").expect("a loader");
    flow.db().sql(&format!("SELECT pg_terminate_backend({pid})"));
    let said = flow.error();
    assert!(said.contains("log in") && said.contains("HINT: "), "{said}");
    flow.db().sql("ALTER ROLE locked_out LOGIN");
    flow.scene.start();
    flow.goes_on();
    flow.scene.stop();
    flow.db()
        .sql("SELECT gpss.remove_job('numbers'); DROP OWNED BY locked_out; DROP ROLE locked_out");
}

#[test]
fn a_dropped_source_ends_the_job_with_a_hint() {
    for strike in [
        "DO $$ BEGIN EXECUTE 'DROP FOREIGN TABLE ' || (SELECT ftrelid::regclass FROM pg_foreign_table); END $$",
        "DO $$ BEGIN EXECUTE 'DROP SERVER ' || (SELECT srvname FROM pg_foreign_server) || ' CASCADE'; END $$",
    ] {
        let flow = Flow::new();
        flow.goes_on();
        flow.quick(strike);
        flow.send(10);
        let said = flow.error();
        assert!(said.contains("does not exist") && said.contains("HINT: "), "{said}");
        // A new job for the configuration continues where this one was.
        flow.db().sql("SELECT gpss.remove_job('numbers')");
        flow.scene.submit(50);
        flow.scene.start();
        flow.goes_on();
    }
}

#[test]
fn a_dropped_database_is_forgotten_without_a_word() {
    let flow = Flow::new();
    let other = flow.scene.cluster.database();
    other.sql("CREATE TABLE numbers (n int)");
    let config = literal(&flow.scene.config_for(&other, 10, 100));
    other
        .sql(&format!("SELECT gpss.submit_job('other', {config}); SELECT gpss.start_job('other')"));
    flow.send(100);
    let rows = || other.number("SELECT count(*) FROM numbers");
    eventually("the other job loads", 30, || rows() == 100);

    for refused in [
        format!("DROP DATABASE {}", other.name),
        format!("ALTER DATABASE {} RENAME TO something", other.name),
        format!("CREATE DATABASE something TEMPLATE {}", other.name),
    ] {
        let said = flow.db().error(&refused);
        assert!(said.contains("is being accessed by other users"), "{said}");
    }
    let drop = format!("DROP DATABASE {} WITH (FORCE)", other.name);
    flow.quick(&drop);
    assert_eq!(flow.logged_in_three_seconds("FATAL"), 0);
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'gpss %'";
    assert_eq!(flow.db().number(ours), 2);
    flow.expect_all();
    flow.goes_on();
}

#[test]
fn an_upgrade_of_the_extension_does_not_wait_for_a_running_job() {
    let flow = Flow::new();
    flow.scene.slow_down(20);
    let dir = flow.db().sql("SELECT setting FROM pg_config WHERE name = 'SHAREDIR'") + "/extension";
    let from = flow.db().sql("SELECT extversion FROM pg_extension WHERE extname = 'gpss'");
    let script = format!("{dir}/gpss--{from}--9.9.sql");
    let change =
        "ALTER TABLE gpss.offsets ADD COLUMN more int; ALTER TABLE gpss.batch ADD COLUMN more int;
                  ALTER TABLE gpss.job ADD COLUMN more int;";
    std::fs::write(&script, change).expect("the private server's directory");
    flow.busy();
    flow.quick("ALTER EXTENSION gpss UPDATE TO '9.9'");
    flow.goes_on();
    flow.expect_all();
    std::fs::remove_file(&script).expect("the script");
    assert_eq!(flow.scene.status(), "JOB_RUNNING");
    let refused =
        flow.db().error("CREATE SCHEMA elsewhere; ALTER EXTENSION gpss SET SCHEMA elsewhere");
    assert!(refused.contains("does not support SET SCHEMA"), "{refused}");
}

#[test]
fn a_cancelled_or_terminated_process_comes_back_and_loads_each_message_once() {
    let flow = Flow::new();
    flow.scene.slow_down(20);
    for kind in ["loader", "scheduler"] {
        for call in ["pg_cancel_backend", "pg_terminate_backend"] {
            for busy in [true, false] {
                if busy {
                    flow.busy();
                } else {
                    flow.expect_all();
                }
                let pid = flow.pid_of(kind).expect(kind);
                flow.db().sql(&format!("SELECT {call}({pid})"));
                flow.goes_on();
                eventually("both processes", 10, || {
                    flow.pid_of("loader").is_some() && flow.pid_of("scheduler").is_some()
                });
                if (kind, call) == ("scheduler", "pg_cancel_backend") {
                    assert_eq!(flow.pid_of(kind), Some(pid), "a cancel ends no scheduler");
                }
                eventually("the job runs", 30, || flow.scene.status() == "JOB_RUNNING");
            }
        }
    }
}

#[test]
fn no_shutdown_waits_for_a_job_and_after_it_the_job_goes_on() {
    let flow = Flow::new();
    flow.scene.slow_down(20);
    for mode in ["smart", "fast", "immediate"] {
        flow.busy();
        let begun = Instant::now();
        flow.scene.cluster.stop(mode);
        assert!(begun.elapsed() < Duration::from_secs(10), "{mode}: {:?}", begun.elapsed());
        flow.scene.cluster.start();
        flow.goes_on();
    }
    // And one that waits for the next try.
    for mode in ["smart", "fast", "immediate"] {
        flow.db().sql(
            "ALTER TABLE numbers DISABLE TRIGGER ALL; CREATE FUNCTION fail() RETURNS trigger
            LANGUAGE plpgsql AS $$ BEGIN RAISE 'disk full' USING ERRCODE = '53100'; END $$;
            CREATE TRIGGER fail BEFORE INSERT ON numbers EXECUTE FUNCTION fail()",
        );
        flow.send(10);
        eventually("it retries", 30, || flow.scene.status() == "JOB_RETRYING");
        let begun = Instant::now();
        flow.scene.cluster.stop(mode);
        assert!(begun.elapsed() < Duration::from_secs(10), "{mode}: {:?}", begun.elapsed());
        flow.scene.cluster.start();
        flow.db().sql("DROP FUNCTION fail() CASCADE");
        flow.goes_on();
    }
}

#[test]
fn a_promoted_standby_goes_on_from_the_replicated_offsets() {
    let flow = Flow::new();
    flow.send(100);
    flow.expect_all();
    let standby = flow.scene.cluster.standby("e2e-standby");
    let there = standby.existing_database(&flow.db().name);
    flow.send(100);
    flow.expect_all();
    eventually("the standby has them", 30, || there.number("SELECT count(*) FROM numbers") == 200);
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'gpss %'";
    assert_eq!(there.number(ours), 0);
    // It runs where it may.
    assert_eq!(there.sql("SELECT status, errmsg FROM gpss.jobs"), "JOB_RUNNING|");
    assert_eq!(there.sql("SELECT next_offset FROM gpss.progress"), "200");
    for call in ["start_job", "stop_job"] {
        let refused = there.error(&format!("SELECT gpss.{call}('numbers')"));
        assert!(
            refused.contains("read-only transaction") || refused.contains("recovery"),
            "{refused}"
        );
    }
    flow.scene.cluster.stop("fast");
    flow.send(100);
    standby.promote();
    let rows = "SELECT count(*), count(DISTINCT n), max(n) FROM numbers";
    eventually("the new primary goes on", 60, || there.sql(rows) == "300|300|299");
    assert_eq!(there.sql("SELECT status FROM gpss.jobs"), "JOB_RUNNING");
    drop(there);
    standby.destroy();
    flow.scene.cluster.start();
    flow.expect_all();
}

#[test]
fn a_prepared_transaction_on_the_target_is_waited_for_and_can_be_seen() {
    let flow = Flow::new();
    flow.goes_on();
    let lock = "BEGIN; LOCK TABLE numbers; PREPARE TRANSACTION 'holds'";
    flow.db().sql(lock);
    flow.send(10);
    let waits = "SELECT count(*) FROM pg_stat_activity
                 WHERE backend_type = 'gpss loader' AND wait_event_type = 'Lock'";
    eventually("the wait shows", 20, || flow.db().number(waits) == 1);
    flow.quick("SELECT gpss.stop_job('numbers')");
    flow.scene.start();
    eventually("it waits again", 20, || flow.db().number(waits) == 1);
    flow.db().sql("COMMIT PREPARED 'holds'");
    flow.expect_all();
}

#[test]
fn a_stop_can_be_prepared_and_a_start_cannot() {
    let flow = Flow::new();
    flow.goes_on();
    flow.quick("BEGIN; SELECT gpss.stop_job('numbers'); PREPARE TRANSACTION 'stops'");
    assert!(flow.scene.workers().is_empty());
    flow.db().sql("ROLLBACK PREPARED 'stops'");
    flow.goes_on();
    flow.quick("BEGIN; SELECT gpss.stop_job('numbers'); PREPARE TRANSACTION 'stops'");
    flow.scene.cluster.restart();
    flow.send(10);
    std::thread::sleep(Duration::from_secs(2));
    assert!(flow.scene.workers().is_empty());
    flow.db().sql("COMMIT PREPARED 'stops'");
    assert_eq!(flow.scene.status(), "JOB_STOPPED");
    let refused =
        flow.db().error("BEGIN; SELECT gpss.start_job('numbers'); PREPARE TRANSACTION 'starts'");
    assert!(refused.contains("cannot PREPARE") && refused.contains("HINT"), "{refused}");
    assert_eq!(flow.scene.status(), "JOB_STOPPED");
    flow.scene.start();
    flow.goes_on();
}

/// Jobs `first`, `second`, … of one worker each over the scene's topic into tables of these names.
fn submit_many(scene: &Scene, names: &[String]) {
    scene.server();
    scene.table("source", "n int", "format 'json'");
    let sql: String = names
        .iter()
        .map(|name| {
            format!(
                "CREATE TABLE {name} (n int);
                 SELECT gpss.submit_job('{name}', 'source', '{name}', minimal_interval => 100);\n"
            )
        })
        .collect();
    scene.db.sql(&sql);
}

#[test]
fn a_job_without_a_free_worker_process_says_so_and_starts_when_one_is_free() {
    let scene = Scene::with_few_workers(1);
    scene.topic.send_numbers(0..10);
    // Of the five, PostgreSQL takes one for logical replication, and the scheduler one.
    let names: Vec<String> = (1..=5).map(|n| format!("job{n}")).collect();
    submit_many(&scene, &names);
    for name in &names[..4] {
        scene.db.sql(&format!("SELECT gpss.start_job('{name}')"));
    }
    let of = |status: &str| {
        scene.db.number(&format!("SELECT count(*) FROM gpss.jobs WHERE status = '{status}'"))
    };
    eventually("three run, one waits", 30, || of("JOB_RUNNING") == 3 && of("JOB_RETRYING") == 1);
    let waiting = "FROM gpss.jobs WHERE status = 'JOB_RETRYING'";
    let said = scene.db.sql(&format!("SELECT errmsg {waiting}"));
    assert!(said.contains("max_worker_processes"), "{said}");
    let next = scene.db.sql(&format!("SELECT next_retry_at > now() - interval '2 s' {waiting}"));
    assert_eq!(next, "t");
    let before = scene.db.log_lines("worker is free");
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(scene.db.log_lines("worker is free"), before, "one line for a change of state");
    // The scheduler that is there is enough for one more.
    scene.db.sql("SELECT gpss.start_job('job5')");
    eventually("two wait", 10, || of("JOB_RETRYING") == 2);
    scene.db.sql("SELECT gpss.stop_job('job1')");
    let job4 = "SELECT status FROM gpss.jobs WHERE name = 'job4'";
    eventually("the fourth runs", 15, || scene.db.sql(job4) == "JOB_RUNNING");
    scene.db.sql("SELECT gpss.stop_job('job2')");
    eventually("the fifth runs", 15, || of("JOB_RUNNING") == 3 && of("JOB_STOPPED") == 2);
    scene.db.sql("SELECT gpss.stop_job(name) FROM gpss.jobs WHERE status <> 'JOB_STOPPED'");
}

#[test]
fn many_jobs_with_few_worker_processes_all_get_their_turn() {
    let scene = Scene::with_few_workers(1);
    scene.topic.send_numbers(0..10);
    let names: Vec<String> = (1..=30).map(|n| format!("job{n}")).collect();
    submit_many(&scene, &names);
    // One that can never load.
    scene.db.sql("DROP TABLE job3");
    scene.db.sql("SELECT gpss.start_job(name, quit_at_eof => true) FROM gpss.jobs");
    let done = "SELECT count(*) FILTER (WHERE status = 'JOB_SUCCESS' AND rows_loaded = 10),
                       count(*) FILTER (WHERE status = 'JOB_ERROR') FROM gpss.jobs";
    eventually("all but one have loaded", 120, || scene.db.sql(done) == "29|1");
}

#[test]
fn a_worker_that_ends_the_job_ends_the_other_workers_too() {
    let scene = Scene::new(2);
    scene.server();
    scene.table("source", "n int", "format 'json'");
    scene.db.sql(
        "SELECT gpss.submit_job('numbers', 'source', 'numbers', error_limit => '1', workers => 2,
             minimal_interval => 100)",
    );
    scene.start();
    scene.topic.send_numbers(0..20);
    scene.expect_exactly(0..20);
    assert_eq!(scene.workers().len(), 2);
    // Beyond the error limit of one of the two.
    scene.topic.send_lines(0, "no JSON\n");
    eventually("the job's error", 20, || scene.status() == "JOB_ERROR");
    eventually("no worker is left", 10, || scene.workers().is_empty());
    scene.topic.send_lines(1, "{\"n\": 20}\n");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(scene.rows(), 20);
}

#[test]
fn a_start_that_counts_on_a_scheduler_is_not_missed_when_that_one_goes() {
    let start = "SELECT gpss.start_job('others'); SELECT pg_sleep(4)";
    let start_again = "SAVEPOINT s; SELECT gpss.start_job('others'); ROLLBACK TO s;
                       SELECT pg_sleep(4); SELECT gpss.start_job('others')";
    for (start, terminate) in [(start, false), (start, true), (start_again, false)] {
        let flow = Flow::new();
        flow.goes_on();
        flow.db().sql("CREATE TABLE others (n int)");
        let config = flow.scene.config(25, 50).replace("TABLE: numbers", "TABLE: others");
        flow.db().sql(&format!("SELECT gpss.submit_job('others', {})", literal(&config)));
        let scheduler = flow.pid_of("scheduler").expect("a scheduler");
        std::thread::scope(|threads| {
            let db = flow.db();
            threads.spawn(move || db.sql(&format!("BEGIN; {start}; COMMIT")));
            std::thread::sleep(Duration::from_secs(1));
            // Now nothing is to run, but for what is not committed.
            flow.quick("SELECT gpss.stop_job('numbers')");
            if terminate {
                flow.db().sql(&format!("SELECT pg_terminate_backend({scheduler})"));
            }
        });
        let rows = || flow.db().number("SELECT count(*) FROM others");
        eventually("the other job loads", 10, || rows() == 20);
    }
}

#[test]
fn a_rolled_back_start_leaves_no_process_behind() {
    let flow = Flow::new();
    flow.goes_on();
    flow.scene.stop();
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'gpss %'";
    eventually("all have left", 10, || flow.db().number(ours) == 0);
    flow.db().sql("BEGIN; SELECT gpss.start_job('numbers'); ROLLBACK");
    eventually("all have left", 10, || flow.db().number(ours) == 0);
    flow.db().sql(
        "BEGIN; SAVEPOINT s; SELECT gpss.start_job('numbers'); ROLLBACK TO s;
         SELECT gpss.start_job('numbers'); COMMIT",
    );
    flow.goes_on();
}

#[test]
fn changed_options_of_the_source_hold_from_the_next_session_on() {
    let flow = Flow::of_role("sees_options");
    flow.goes_on();
    flow.quick("ALTER SERVER kafka OPTIONS (SET brokers '127.0.0.1:1')");
    flow.quick("CREATE USER MAPPING FOR sees_options SERVER kafka OPTIONS (\"client.id\" 'me')");
    flow.goes_on();
    flow.quick("DROP USER MAPPING FOR sees_options SERVER kafka");
    flow.goes_on();
    let pid = flow.pid_of("loader").expect("a loader");
    flow.db().sql(&format!("SELECT pg_terminate_backend({pid})"));
    eventually("it retries", 30, || flow.scene.status() == "JOB_RETRYING");
    flow.send(10);
    let address = literal(&flow.scene.broker.address);
    flow.quick(&format!("ALTER SERVER kafka OPTIONS (SET brokers {address})"));
    flow.expect_all();
    flow.scene.stop();
    flow.db().sql(
        "SELECT gpss.remove_job('numbers'); DROP OWNED BY sees_options; DROP ROLE sees_options",
    );
}

#[test]
fn a_role_that_may_not_connect_is_told_so() {
    let flow = Flow::of_role("shut_out");
    let database = &flow.db().name;
    flow.goes_on();
    flow.db().sql(&format!("REVOKE CONNECT ON DATABASE {database} FROM PUBLIC"));
    flow.goes_on();
    let pid = flow.pid_of("loader").expect("a loader");
    flow.db().sql(&format!("SELECT pg_terminate_backend({pid})"));
    let said = flow.error();
    assert!(said.contains("connect") && said.contains("GRANT CONNECT ON DATABASE"), "{said}");
    assert_eq!(flow.logged_in_three_seconds("FATAL"), 0);
    let failed = "SELECT component, detail FROM gpss.check('numbers') WHERE status = 'failed'";
    assert!(flow.db().sql(failed).starts_with("owner|the owner of job"));
    assert!(flow.db().error("SELECT gpss.start_job('numbers')").contains("GRANT CONNECT"));
    // About a password that no worker has.
    flow.db().sql(&format!(
        "GRANT CONNECT ON DATABASE {database} TO shut_out; ALTER ROLE shut_out VALID UNTIL '2001-01-01'"
    ));
    flow.scene.start();
    flow.goes_on();
    flow.scene.stop();

    // Limits are for clients, of which there may be more already.
    let db = flow.db();
    std::thread::scope(|threads| {
        threads.spawn(|| db.try_sql("SET application_name = 'client'; SELECT pg_sleep(60)"));
        let client = "FROM pg_stat_activity WHERE application_name = 'client'";
        let count = format!("SELECT count(*) {client}");
        eventually("a client", 10, || db.number(&count) == 1);
        db.sql(&format!(
            "ALTER DATABASE {database} CONNECTION LIMIT 0; ALTER ROLE shut_out CONNECTION LIMIT 0"
        ));
        flow.scene.start();
        flow.goes_on();
        db.sql(&format!("SELECT pg_terminate_backend(pid) {client}"));
    });
    flow.scene.stop();
    flow.db().sql("SELECT gpss.remove_job('numbers'); DROP OWNED BY shut_out; DROP ROLE shut_out");
}
