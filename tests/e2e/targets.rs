//! Targets that the server's write-ahead log does not keep as it keeps the offsets: foreign tables, and
//! unlogged ones.

use gpss_testbed::{Database, Scene, eventually, literal};

/// Makes `numbers` a partitioned table whose numbers from 0 on may be in another database, behind
/// postgres_fdw, with the `synchronous_commit` under which they were inserted.
fn far(scene: &Scene) -> Database {
    let far = scene.cluster.empty_database();
    far.sql("CREATE TABLE far (n int, waits text)");
    let socket = scene.db.sql("SHOW unix_socket_directories");
    scene.db.sql(&format!(
        "DROP TABLE numbers;
         CREATE EXTENSION postgres_fdw;
         CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw
             OPTIONS (host '{socket}', dbname '{}');
         CREATE USER MAPPING FOR CURRENT_USER SERVER far;
         CREATE TABLE numbers (n int, waits text DEFAULT current_setting('synchronous_commit'))
             PARTITION BY RANGE (n);
         CREATE TABLE near PARTITION OF numbers FOR VALUES FROM (-1000) TO (0);
         CREATE TABLE farther PARTITION OF numbers FOR VALUES FROM (0) TO (1000000)
             PARTITION BY RANGE (n)",
        far.name
    ));
    far
}

const ATTACH: &str =
    "CREATE FOREIGN TABLE far PARTITION OF farther FOR VALUES FROM (0) TO (1000000)
                          SERVER far";

#[test]
fn a_table_that_another_server_lacks_is_named_with_that_server() {
    let scene = Scene::new(1);
    let far = far(&scene);
    scene.db.sql(ATTACH);
    far.sql("ALTER TABLE far RENAME TO away");
    scene.submit(100);
    scene.topic.send_numbers(0..10);
    scene.start();
    eventually("the end", 30, || scene.status() == "JOB_ERROR");
    let errmsg = || scene.db.sql("SELECT errmsg FROM gpss.jobs");
    assert_eq!(
        errmsg(),
        "relation \"public.far\" does not exist\nHINT: The table is missing behind foreign server \
         \"far\": create it there, or correct the options of foreign table public.far, and start the \
         job: it goes on where it was."
    );
    scene.db.sql("ALTER FOREIGN TABLE far OPTIONS (schema_name 'elsewhere', table_name 'away')");
    scene.start();
    eventually("the end", 30, || scene.status() == "JOB_ERROR" && errmsg().contains("elsewhere"));
    assert!(errmsg().contains("behind foreign server \"far\""), "{}", errmsg());
    scene.db.sql("ALTER FOREIGN TABLE far OPTIONS (SET schema_name 'public')");
    scene.start();
    scene.expect_exactly(0..10);
}

#[test]
fn rows_of_a_foreign_table_wait_for_their_offsets_so_that_a_crash_repeats_no_batch() {
    let scene = Scene::new(1);
    let far = far(&scene);
    scene.submit(100);
    scene.start();
    scene.topic.send_lines(0, "{\"n\": -1}");
    eventually("the local row", 30, || scene.rows() == 1);
    assert_eq!(scene.db.sql("SELECT waits FROM numbers"), "off");
    // While the job runs.
    scene.db.sql(ATTACH);
    // Nobody else flushes what a commit has left in memory.
    scene.db.sql("ALTER SYSTEM SET wal_writer_delay = '10s'; SELECT pg_reload_conf()");
    for next in [100, 200] {
        scene.topic.send_numbers(next - 100..next);
        let offset = format!("{}", next + 1);
        eventually("the offsets", 30, || {
            scene.db.sql("SELECT next_offset FROM gpss.progress") == offset
        });
    }
    scene.cluster.kill_whole();
    scene.cluster.start();
    scene.db.sql("ALTER SYSTEM RESET wal_writer_delay; SELECT pg_reload_conf()");
    scene.topic.send_numbers(200..201);
    eventually("the last", 60, || far.number("SELECT count(*) FROM far WHERE n = 200") > 0);
    assert_eq!(far.sql("SELECT count(*), count(DISTINCT n) FROM far"), "201|201");
    assert_eq!(far.sql("SELECT DISTINCT waits FROM far"), "on");

    let delivery = "SELECT status, detail FROM gpss.check('numbers') WHERE component = 'delivery'";
    let promise = scene.db.sql(delivery);
    assert!(promise.starts_with("warning|at least once"), "{promise}");
    assert!(promise.contains("public.far"), "{promise}");
    let config = literal(&scene.config(25, 100));
    let of_config = delivery.replace("'numbers'", &config);
    assert_eq!(scene.db.sql(&of_config), promise);
    scene.stop();

    // Also where nothing is known to be elsewhere, for the jobs of one database.
    let setting = format!("ALTER DATABASE {} SET gpss.synchronous_commit = on", scene.db.name);
    scene.db.sql(&format!("ALTER TABLE farther DETACH PARTITION far; {setting}"));
    scene.start();
    scene.topic.send_lines(0, "{\"n\": -2}");
    let waits = "SELECT waits FROM numbers WHERE n = -2";
    eventually("a row that waits", 30, || scene.db.sql(waits) == "on");
    scene.stop();
}

/// What is said of the job when it has ended.
fn ended(scene: &Scene) -> String {
    eventually("an end", 60, || {
        let status = "SELECT status FROM gpss.jobs WHERE name = 'numbers'";
        scene.db.try_sql(status).is_ok_and(|status| status == "JOB_ERROR")
    });
    scene.db.sql("SELECT errmsg FROM gpss.jobs")
}

/// A crash that takes no commit along: those of batches do not wait for the disk.
fn crash(scene: &Scene) {
    scene.db.sql("CHECKPOINT");
    scene.cluster.kill_whole();
    scene.cluster.start();
}

/// Has the job go on where it stood.
const WITHOUT_THE_ROWS: &str = "SELECT gpss.start_job('numbers', reset =>
    (SELECT jsonb_object_agg(partition, next_offset) FROM gpss.progress WHERE job = 'numbers'))";

#[track_caller]
fn loads(scene: &Scene, n: u32) {
    scene.topic.send_numbers(n..n + 1);
    let there = format!("SELECT count(*) FROM numbers WHERE n = {n}");
    eventually("a row", 60, || scene.db.try_sql(&there).is_ok_and(|count| count == "1"));
}

#[test]
fn an_unlogged_target_that_a_crash_has_emptied_ends_the_job_until_it_is_told_where_to_begin() {
    let scene = Scene::new(1);
    // Its partitions, too.
    scene.db.sql(
        "DROP TABLE numbers; CREATE TABLE numbers (n int) PARTITION BY RANGE (n);
         CREATE UNLOGGED TABLE low PARTITION OF numbers FOR VALUES FROM (0) TO (50);
         CREATE TABLE high PARTITION OF numbers DEFAULT",
    );
    let config = literal(&scene.config(25, 100));
    let submit = format!("SELECT gpss.submit_job('numbers', {config})");
    let notices = scene.db.notices(&submit);
    assert!(notices.contains("WARNING:  table public.low is unlogged"), "{notices}");
    assert!(!notices.contains("high"), "{notices}");
    let delivery = "SELECT status, detail FROM gpss.check('numbers') WHERE component = 'delivery'";
    assert!(scene.db.sql(delivery).starts_with("warning|table public.low is unlogged"));

    scene.start();
    scene.topic.send_numbers(0..100);
    scene.expect_exactly(0..100);
    // A shutdown keeps it.
    scene.cluster.restart();
    loads(&scene, 100);

    crash(&scene);
    let why = ended(&scene);
    assert!(why.starts_with("unlogged table public.low was emptied"), "{why}");
    assert_eq!(scene.rows(), 51);
    // It is no less empty when the job is started again.
    scene.start();
    assert!(ended(&scene).contains("public.low"));
    scene.db.sql(WITHOUT_THE_ROWS);
    loads(&scene, 101);
    assert_eq!(scene.rows(), 52);

    // Once more, and with the rows.
    crash(&scene);
    ended(&scene);
    scene.db.sql("TRUNCATE numbers; SELECT gpss.start_job('numbers', reset => 'earliest')");
    scene.expect_exactly(0..102);

    // A table that is logged by now has its rows.
    scene.stop();
    scene.db.sql("ALTER TABLE low SET LOGGED");
    crash(&scene);
    scene.start();
    loads(&scene, 102);
    scene.expect_exactly(0..103);
    // One that becomes unlogged while the job runs has lost them.
    scene.db.sql("ALTER TABLE high SET UNLOGGED");
    loads(&scene, 103);
    crash(&scene);
    assert!(ended(&scene).contains("unlogged table public.high was emptied"));

    // A dump has the rows.
    scene.db.sql(WITHOUT_THE_ROWS);
    loads(&scene, 104);
    scene.stop();
    let copy = scene.db.dump_and_restore();
    copy.sql("SELECT gpss.start_job('numbers')");
    scene.topic.send_numbers(105..106);
    let there = "SELECT count(*) FROM numbers WHERE n = 105";
    eventually("the copy goes on", 60, || copy.number(there) == 1);
    copy.sql("SELECT gpss.stop_job('numbers')");
}

#[test]
fn a_table_that_becomes_unlogged_after_its_last_batch_is_noticed_when_a_crash_has_emptied_it() {
    let scene = Scene::new(1);
    scene.submit(100);
    scene.topic.send_numbers(0..10);
    scene.load_to_the_end();
    // An ordinary table that somebody empties, and a crash, are none of that.
    scene.db.sql("CREATE TABLE kept AS TABLE numbers; TRUNCATE numbers");
    crash(&scene);
    scene.start();
    loads(&scene, 10);
    scene.stop();
    // Nor is one that is made unlogged after the crash.
    crash(&scene);
    scene.db.sql("INSERT INTO numbers TABLE kept; ALTER TABLE numbers SET UNLOGGED");
    scene.start();
    eventually("a worker", 30, || scene.status() == "JOB_RUNNING" && !scene.workers().is_empty());
    scene.stop();
    scene.db.sql("ALTER TABLE numbers SET LOGGED");
    scene.start();
    loads(&scene, 11);
    scene.stop();

    scene.db.sql("ALTER TABLE numbers SET UNLOGGED");
    crash(&scene);
    scene.start();
    assert!(ended(&scene).starts_with("unlogged table public.numbers was emptied"));
    scene.db.sql("SELECT gpss.start_job('numbers', reset => 'earliest')");
    scene.expect_exactly(0..12);
}

#[test]
fn a_crash_is_noticed_whichever_worker_and_job_has_loaded_into_an_unlogged_target() {
    let scene = Scene::new(2);
    scene.db.sql("ALTER TABLE numbers SET UNLOGGED");
    scene.server();
    scene.table("source", "n int", "format 'json'");
    scene.db.sql(
        "SELECT gpss.submit_job('numbers', source => 'source', target => 'numbers', workers => 2)",
    );
    scene.topic.send_lines(0, "{\"n\": 0}\n");
    let positioned = "SELECT count(*) FROM gpss.worker WHERE positioned";
    std::thread::scope(|threads| {
        // The second worker applies the reset when the first one has loaded.
        let holder = threads.spawn(|| {
            scene.db.try_sql(
                "SET application_name = 'holder'; BEGIN;
                 INSERT INTO gpss.worker (job_id, slot, run_id) SELECT id, 1, 0 FROM gpss.job;
                 SELECT pg_sleep(60)",
            )
        });
        let holds = "SELECT count(*) FROM pg_stat_activity
                     WHERE application_name = 'holder' AND query LIKE '%pg_sleep%'
                       AND wait_event = 'PgSleep'";
        eventually("the slot is held", 20, || scene.db.number(holds) == 1);
        scene.db.sql("SELECT gpss.start_job('numbers', reset => 'earliest')");
        eventually("a row", 30, || scene.rows() == 1);
        assert_eq!(scene.db.number(positioned), 1);
        scene.db.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = 'holder'",
        );
        holder.join().expect("a thread").expect_err("it was terminated");
    });
    eventually("both read", 30, || scene.db.number(positioned) == 2);
    // The first one again: the second has nothing to load.
    scene.topic.send_lines(0, "{\"n\": 2}\n");
    eventually("another row", 30, || scene.rows() == 2);
    crash(&scene);
    assert!(ended(&scene).starts_with("unlogged table public.numbers was emptied"));
    scene.db.sql("SELECT gpss.remove_job('numbers')");

    // Loads of one partition each, one of which has begun anew since a crash.
    let config = literal(&scene.config(25, 100));
    for (name, partition) in [("a", 0), ("b", 1)] {
        scene.topic.send_lines(partition, "{\"n\": 3}\n");
        scene.db.sql(&format!(
            "SELECT * FROM gpss.load({config}, name => '{name}', partitions => '{partition}')"
        ));
    }
    crash(&scene);
    scene.db.sql(
        "SELECT gpss.start_job('b', reset => 'earliest', quit_at_eof => true);
         SELECT gpss.wait_job('b', '60 s')",
    );
    let error = scene.db.error(&format!("SELECT * FROM gpss.load({config})"));
    assert!(error.contains("unlogged table public.numbers was emptied"), "{error}");
}

#[test]
fn a_promoted_standby_has_no_rows_of_an_unlogged_target_and_says_so() {
    let scene = Scene::new(1);
    scene.db.sql("ALTER TABLE numbers SET UNLOGGED");
    scene.submit(100);
    scene.start();
    scene.topic.send_numbers(0..100);
    scene.expect_exactly(0..100);
    let standby = scene.cluster.standby("e2e-standby");
    let there = standby.existing_database(&scene.db.name);
    scene.cluster.stop("fast");
    standby.promote();
    let errmsg = "SELECT errmsg FROM gpss.jobs WHERE status = 'JOB_ERROR'";
    eventually("the new primary says so", 60, || there.sql(errmsg).contains("public.numbers"));
    there.sql("SELECT gpss.start_job('numbers', reset => 'earliest')");
    let rows = "SELECT count(*), count(DISTINCT n) FROM numbers";
    eventually("it loads once more", 60, || there.sql(rows) == "100|100");
    there.sql("SELECT gpss.stop_job('numbers')");
    drop(there);
    standby.destroy();
    scene.cluster.start();
}
