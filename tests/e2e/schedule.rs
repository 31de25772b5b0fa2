//! What a configuration says about a job besides its loading: SQL around the batches (TASK), when it
//! runs and is tried again (SCHEDULE), and who is told (ALERT).

use gpss_testbed::{Scene, eventually, literal};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Registers the job with batches of at most `max_row` messages, and with a task, a schedule, an alert.
fn submit(scene: &Scene, max_row: u32, more: Value) {
    scene.submit(max_row);
    give(scene, more);
}

/// The definition of the job, in part, as a configuration would have made it.
fn give(scene: &Scene, more: Value) {
    let more = literal(&more.to_string());
    scene.db.sql(&format!("UPDATE gpss.job SET spec = spec || {more}::jsonb"));
}

fn task(more: Value) -> Value {
    with(json!({"batch_interval": 1}), more, "task")
}

fn schedule(more: Value) -> Value {
    with(json!({"max_restart_times": 0}), more, "schedule")
}

fn with(mut defaults: Value, more: Value, key: &str) -> Value {
    for (name, value) in more.as_object().expect("an object") {
        defaults[name] = value.clone();
    }
    json!({ key: defaults })
}

fn errmsg(scene: &Scene) -> String {
    scene.db.sql("SELECT errmsg FROM gpss.jobs")
}

fn wait(scene: &Scene, seconds: u32) -> String {
    scene.db.sql(&format!("SELECT gpss.wait_job('numbers', '{seconds} s')"))
}

fn start_to_the_end(scene: &Scene) -> String {
    scene.db.sql("SELECT gpss.start_job('numbers', quit_at_eof => true)");
    wait(scene, 60)
}

#[test]
fn prepare_sql_runs_first_and_its_search_path_stays() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    scene.db.sql(
        "CREATE SCHEMA web;
         CREATE FUNCTION public.moved(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 500';
         CREATE FUNCTION web.moved(int) RETURNS int LANGUAGE sql AS 'SELECT $1'",
    );
    let config = scene.config(25, 100).replace("(jdata->>'n')::int", "moved((jdata->>'n')::int)");
    scene.db.sql(&format!("SELECT gpss.submit_job('numbers', {})", literal(&config)));
    let prepare =
        "CREATE TABLE prepared (n int); INSERT INTO prepared SELECT count(*) FROM numbers;
                   SET search_path TO web, public";
    let teardown = "CREATE TABLE torn AS SELECT current_setting('search_path') AS path";
    give(&scene, task(json!({"prepare": prepare, "teardown": teardown})));
    assert_eq!(start_to_the_end(&scene), "JOB_SUCCESS");
    scene.expect_exactly(0..10);
    assert_eq!(scene.db.sql("SELECT n FROM public.prepared"), "0");
    assert_eq!(scene.db.sql("SELECT path FROM web.torn"), "web, public");
}

#[test]
fn an_error_in_prepare_sql_ends_the_job() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    submit(&scene, 100, task(json!({"prepare": "SELECT 1; SELECT 1 / 0"})));
    assert_eq!(start_to_the_end(&scene), "JOB_ERROR");
    assert_eq!(errmsg(&scene), "the PREPARE_SQL statement failed: division by zero");
    for statement in ["VACUUM numbers", "COMMIT"] {
        give(&scene, task(json!({"prepare": statement})));
        assert_eq!(start_to_the_end(&scene), "JOB_ERROR");
        assert!(errmsg(&scene).contains("PREPARE_SQL"), "{}", errmsg(&scene));
    }
    assert_eq!(scene.rows(), 0);
}

#[test]
fn post_batch_sql_follows_each_nth_batch_in_its_transaction() {
    let scene = Scene::new(1);
    scene.db.sql("CREATE TABLE folded (rows bigint)");
    scene.topic.send_numbers(0..1000);
    let post_batch = "INSERT INTO folded SELECT count(*) FROM numbers; ANALYZE numbers";
    submit(&scene, 100, task(json!({"post_batch": post_batch, "batch_interval": 3})));
    assert_eq!(start_to_the_end(&scene), "JOB_SUCCESS");
    scene.expect_exactly(0..1000);
    let in_the_same = "SELECT count(*) FROM (SELECT DISTINCT xmin::text FROM numbers
                               INTERSECT SELECT xmin::text FROM folded) AS t";
    let batches = scene.db.number("SELECT count(DISTINCT xmin::text) FROM numbers");
    assert!(batches >= 10, "{batches} batches");
    assert_eq!(scene.db.number("SELECT count(*) FROM folded"), batches / 3);
    assert_eq!(scene.db.number(in_the_same), batches / 3);
    let in_full = "SELECT count(*) FROM folded f WHERE f.rows =
                   (SELECT count(*) FROM numbers n WHERE n.xmin::text::bigint <= f.xmin::text::bigint)";
    assert_eq!(scene.db.number(in_full), batches / 3);
}

/// Citus asks so whether a statement on a shard's node may be committed at once.
#[test]
fn statements_of_a_batch_are_in_a_transaction_block() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    submit(&scene, 100, task(json!({"post_batch": "VACUUM numbers"})));
    assert_eq!(start_to_the_end(&scene), "JOB_ERROR");
    let why = "the POST_BATCH_SQL statement failed: VACUUM cannot run inside a transaction block";
    assert_eq!(errmsg(&scene), why);
    assert_eq!(scene.rows(), 0);
}

#[test]
fn an_error_in_post_batch_sql_is_not_blamed_on_a_message() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    submit(&scene, 100, task(json!({"post_batch": "SELECT 1 / 0 FROM numbers"})));
    assert_eq!(start_to_the_end(&scene), "JOB_ERROR");
    assert_eq!(errmsg(&scene), "the POST_BATCH_SQL statement failed: division by zero");
    assert_eq!(scene.rows(), 0);
    assert_eq!(scene.db.number("SELECT count(*) FROM gpss.errors"), 0);
    give(&scene, task(json!({"post_batch": "SELECT 1"})));
    // A bad message still is one, and the statement follows the batch without it.
    scene.topic.send_lines(0, "{\"n\": \"ten\"}\n");
    give(&scene, task(json!({"post_batch": "CREATE TABLE once ()"})));
    assert_eq!(start_to_the_end(&scene), "JOB_SUCCESS");
    scene.expect_exactly(0..10);
    assert_eq!(scene.db.number("SELECT count(*) FROM gpss.errors"), 1);
    assert_eq!(scene.db.number("SELECT count(*) FROM once"), 0);
}

#[test]
fn teardown_sql_runs_at_each_end_but_not_at_a_shutdown() {
    let scene = Scene::new(1);
    scene.db.sql("CREATE TABLE torn (at timestamptz DEFAULT clock_timestamp())");
    let torn = || scene.db.number("SELECT count(*) FROM torn");
    submit(&scene, 100, task(json!({"teardown": "INSERT INTO torn DEFAULT VALUES"})));
    scene.topic.send_numbers(0..10);
    assert_eq!(start_to_the_end(&scene), "JOB_SUCCESS");
    assert_eq!(torn(), 1);

    scene.start();
    scene.topic.send_numbers(10..20);
    scene.expect_exactly(0..20);
    scene.stop();
    assert_eq!((scene.status(), torn()), ("JOB_STOPPED".into(), 2));
    assert_eq!(errmsg(&scene), "");

    scene.start();
    scene.topic.send_numbers(20..30);
    scene.expect_exactly(0..30);
    let pid = scene.workers()[0];
    scene.db.sql(&format!("SELECT pg_terminate_backend({pid})"));
    scene.topic.send_numbers(30..40);
    scene.expect_exactly(0..40);
    scene.cluster.restart();
    scene.topic.send_numbers(40..50);
    scene.expect_exactly(0..50);
    assert_eq!((scene.status(), torn()), ("JOB_RUNNING".into(), 2));

    scene.db.sql("ALTER TABLE numbers RENAME TO others");
    scene.topic.send_numbers(50..60);
    assert_eq!(wait(&scene, 60), "JOB_ERROR");
    assert_eq!(torn(), 3);
}

#[test]
fn an_error_in_teardown_sql_is_told_and_does_not_change_the_end() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    submit(&scene, 100, task(json!({"teardown": "SELECT 1 / 0"})));
    let text = "the TEARDOWN_SQL statement failed: division by zero";
    assert_eq!(start_to_the_end(&scene), "JOB_SUCCESS");
    assert_eq!(errmsg(&scene), text);
    scene.start();
    eventually("the job runs", 30, || !scene.workers().is_empty());
    scene.topic.send_numbers(10..20);
    scene.expect_exactly(0..20);
    let logged = || scene.cluster.log().matches(&format!("is JOB_STOPPED: {text}")).count();
    let before = logged();
    scene.stop();
    assert_eq!((scene.status(), errmsg(&scene)), ("JOB_STOPPED".into(), text.into()));
    assert_eq!(logged(), before + 1);
    give(&scene, task(json!({"prepare": "SELECT x", "teardown": "SELECT 1 / 0"})));
    assert_eq!(start_to_the_end(&scene), "JOB_ERROR");
    let both = "the PREPARE_SQL statement failed: column \"x\" does not exist\nthe TEARDOWN_SQL";
    assert!(errmsg(&scene).starts_with(both), "{}", errmsg(&scene));
}

#[test]
fn teardown_sql_that_waits_for_the_one_who_stops_gives_up() {
    let scene = Scene::new(1);
    submit(&scene, 100, task(json!({"teardown": "TRUNCATE numbers"})));
    scene.start();
    scene.topic.send_numbers(0..10);
    scene.expect_exactly(0..10);
    scene.db.sql(
        "SET statement_timeout = '60 s'; BEGIN; LOCK TABLE numbers; SELECT gpss.stop_job('numbers');
         COMMIT",
    );
    assert_eq!(scene.status(), "JOB_STOPPED");
    assert!(errmsg(&scene).contains("lock timeout"), "{}", errmsg(&scene));
}

#[test]
fn a_failed_job_is_tried_again_as_often_as_told() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    submit(&scene, 100, schedule(json!({"max_retries": 2, "retry_interval_ms": 1000})));
    scene.db.sql("ALTER TABLE numbers RENAME TO others");
    let begun = Instant::now();
    scene.db.sql("SELECT gpss.start_job('numbers', quit_at_eof => true)");
    eventually("it is retrying", 30, || scene.status() == "JOB_RETRYING");
    let soon = "SELECT next_retry_at - now() BETWEEN '-1 s' AND '1 s', errmsg FROM gpss.jobs";
    let seen = scene.db.sql(soon);
    assert!(seen.starts_with("t|") && seen.contains("does not exist"), "{seen}");
    assert_eq!(wait(&scene, 60), "JOB_ERROR");
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(errmsg(&scene).contains(" (tried again 2 times)\nHINT: "), "{}", errmsg(&scene));

    scene.db.sql("SELECT gpss.start_job('numbers', quit_at_eof => true)");
    eventually("it is retrying", 30, || scene.status() == "JOB_RETRYING");
    scene.db.sql("ALTER TABLE others RENAME TO numbers");
    assert_eq!(wait(&scene, 60), "JOB_SUCCESS");
    scene.expect_exactly(0..10);
}

#[test]
fn a_batch_that_was_committed_resets_the_count_of_retries() {
    let scene = Scene::new(1);
    submit(&scene, 100, schedule(json!({"max_retries": 1, "retry_interval_ms": 1500})));
    scene.start();
    for round in 0..3 {
        scene.topic.send_numbers(10 * round..10 * round + 10);
        scene.expect_exactly(0..10 * round + 10);
        scene.db.sql("ALTER TABLE numbers RENAME TO others");
        scene.topic.send_numbers(10 * round + 10..10 * round + 11);
        eventually("it is retrying", 30, || scene.status() == "JOB_RETRYING");
        scene.db.sql("ALTER TABLE others RENAME TO numbers");
        scene.expect_exactly(0..10 * round + 11);
        scene.db.sql(&format!("DELETE FROM numbers WHERE n = {}", 10 * round + 10));
    }
}

#[test]
fn running_duration_commits_the_running_batch_and_stops_the_job() {
    let scene = Scene::new(1);
    scene.db.sql("CREATE TABLE torn ()");
    let config =
        scene.config(25, 100_000).replace("MINIMAL_INTERVAL: 200", "MINIMAL_INTERVAL: 600000");
    scene.db.sql(&format!("SELECT gpss.submit_job('numbers', {})", literal(&config)));
    give(&scene, schedule(json!({"running_duration_ms": 6000})));
    give(&scene, task(json!({"teardown": "INSERT INTO torn DEFAULT VALUES"})));
    let begun = Instant::now();
    scene.start();
    scene.topic.send_numbers(0..50);
    // Another process of the same run: the duration goes on.
    eventually("the job runs", 30, || {
        scene.status() == "JOB_RUNNING" && !scene.workers().is_empty()
    });
    std::thread::sleep(Duration::from_secs(2));
    let pid = scene.workers()[0];
    scene.db.sql(&format!("SELECT pg_terminate_backend({pid})"));
    assert_eq!(scene.rows(), 0);
    assert_eq!(wait(&scene, 30), "JOB_STOPPED");
    let took = begun.elapsed().as_secs_f64();
    assert!((5.5..9.0).contains(&took), "{took} s");
    assert_eq!(errmsg(&scene), "RUNNING_DURATION is over");
    scene.expect_exactly(0..50);
    assert_eq!(scene.db.sql("SELECT DISTINCT end_reason FROM gpss.batches"), "running_duration");
    assert_eq!(scene.db.number("SELECT count(*) FROM torn"), 1);
    eventually("the worker leaves", 5, || scene.workers().is_empty());
    scene.start();
    eventually("it runs again", 30, || scene.status() == "JOB_RUNNING");
    scene.stop();
}

#[test]
fn a_job_stopped_by_its_duration_starts_again_after_the_interval() {
    let scene = Scene::new(1);
    let times = json!({
        "running_duration_ms": 3000, "auto_stop_restart_interval_ms": 3000, "max_restart_times": 1,
    });
    submit(&scene, 100, schedule(times));
    scene.topic.send_numbers(0..10);
    scene.start();
    scene.expect_exactly(0..10);
    eventually("a pause", 10, || scene.status() == "JOB_RETRYING");
    assert!(errmsg(&scene).starts_with("RUNNING_DURATION is over, the job starts again"));
    let soon = "SELECT next_retry_at - clock_timestamp() BETWEEN '0 s' AND '3 s' FROM gpss.jobs";
    assert_eq!(scene.db.sql(soon), "t");
    assert!(scene.db.error("SELECT gpss.start_job('numbers')").contains("already running"));
    assert_eq!(scene.workers().len(), 1);
    let open = "SELECT count(*) FROM pg_stat_activity
                WHERE backend_type = 'gpss loader' AND xact_start IS NOT NULL";
    assert_eq!(scene.db.number(open), 0);
    scene.topic.send_numbers(10..20);
    assert_eq!(scene.rows(), 10);
    scene.expect_exactly(0..20);
    assert_eq!(scene.status(), "JOB_RUNNING");
    assert_eq!(wait(&scene, 30), "JOB_STOPPED");

    scene.start();
    eventually("another pause", 20, || scene.status() == "JOB_RETRYING");
    scene.stop();
    assert_eq!((scene.status(), errmsg(&scene)), ("JOB_STOPPED".into(), String::new()));
}

#[test]
fn a_job_stops_by_its_duration_while_it_waits_for_a_retry() {
    let scene = Scene::new(1);
    let times = json!({
        "max_retries": -1, "retry_interval_ms": 60000, "running_duration_ms": 3000,
    });
    submit(&scene, 100, schedule(times));
    scene.db.sql("ALTER TABLE numbers RENAME TO others");
    scene.start();
    eventually("it is retrying", 10, || scene.status() == "JOB_RETRYING");
    assert_eq!(wait(&scene, 20), "JOB_STOPPED");
    assert_eq!(errmsg(&scene), "RUNNING_DURATION is over");
}

#[test]
fn from_a_time_of_day_on_a_job_ends_at_the_end_of_the_topic() {
    let scene = Scene::new(2);
    // Noon somewhere: no midnight comes in between, and the database's zone is what counts.
    let hour = scene.db.number("SELECT extract(hour FROM now() AT TIME ZONE 'UTC')::int");
    let zone = format!("Etc/GMT{:+}", hour - 12);
    scene.db.sql(&format!("ALTER DATABASE {} SET timezone = '{zone}'", scene.db.name));
    let time =
        |what: &str| scene.db.number(&format!("SELECT extract(epoch FROM ({what})::time)::int8"));
    submit(&scene, 100, schedule(json!({"quit_at_eof_after": time("now() - interval '1 min'")})));
    scene.topic.send_numbers(0..100);
    scene.start();
    assert_eq!(wait(&scene, 60), "JOB_SUCCESS");
    scene.expect_exactly(0..100);

    let later = time("now() + interval '6 s'");
    give(&scene, schedule(json!({"quit_at_eof_after": later})));
    scene.topic.send_numbers(100..200);
    scene.start();
    scene.expect_exactly(0..200);
    assert_eq!(scene.status(), "JOB_RUNNING");
    assert!(time("now()") < later, "too slow to tell");
    assert_eq!(wait(&scene, 60), "JOB_SUCCESS");
    assert!(time("now()") >= later);
}

/// A file that the server's user may write.
fn file(scene: &Scene) -> PathBuf {
    std::env::temp_dir().join(format!("gpss_alert_{}", scene.topic.name))
}

/// An alert that leaves what `commands` print in the file, all of it at once.
fn alert(file: &std::path::Path, commands: &str) -> Value {
    let file = file.display();
    json!({"alert": {"command": format!("{{ {commands}; }} > {file}.part 2>&1; mv {file}.part {file}")}})
}

/// What it left.
fn left(file: &PathBuf) -> String {
    eventually("the alert has run", 20, || file.exists());
    let text = std::fs::read_to_string(file).expect("a file");
    std::fs::remove_file(file).expect("a file of the server's user, in a directory of root's");
    text
}

#[test]
fn an_alert_tells_of_each_end_and_is_given_values_as_variables() {
    let scene = Scene::new(1);
    let file = file(&scene);
    scene.topic.send_numbers(0..10);
    let show = "for v in NAME STATUS DETAIL TOPIC TABLE; do eval echo \\$v=\\\"\\$GPSSJOB_$v\\\"; done; pwd";
    submit(&scene, 100, alert(&file, show));
    let evil = "$(exit 1) ' \" ;";
    scene.db.sql(&format!("UPDATE gpss.job SET name = {}", literal(evil)));
    let name = literal(evil);
    let data = scene.db.sql("SHOW data_directory");
    let topic = &scene.topic.name;
    let expected = |status: &str, detail: &str| {
        format!(
            "NAME={evil}\nSTATUS={status}\nDETAIL={detail}\nTOPIC={topic}\nTABLE=public.numbers\n{data}\n"
        )
    };
    scene.db.sql(&format!("SELECT gpss.start_job({name}, quit_at_eof => true)"));
    assert_eq!(left(&file), expected("JOB_SUCCESS", ""));

    scene.db.sql(&format!("SELECT gpss.start_job({name})"));
    eventually("the job runs", 30, || !scene.workers().is_empty());
    scene.db.sql(&format!("BEGIN; SELECT gpss.stop_job({name}); ROLLBACK"));
    std::thread::sleep(Duration::from_secs(2));
    assert!(!file.exists());
    scene.db.sql(&format!("BEGIN; SELECT gpss.stop_job({name}), pg_sleep(1); COMMIT"));
    assert_eq!(left(&file), expected("JOB_STOPPED", ""));

    give(&scene, task(json!({"prepare": "SELECT 1 / 0"})));
    scene.db.sql(&format!("SELECT gpss.start_job({name})"));
    let detail = "the PREPARE_SQL statement failed: division by zero";
    assert_eq!(left(&file), expected("JOB_ERROR", detail));
}

#[test]
fn an_alert_inherits_no_signals_and_no_files_of_the_server() {
    let scene = Scene::new(1);
    let file = file(&scene);
    let show = "cd /; grep -E 'Sig(Blk|Ign)' /proc/self/status; \
                ps -o pgid= $$ | xargs test $$ = && echo leader; readlink /proc/$$/fd/*";
    submit(&scene, 100, alert(&file, show));
    assert_eq!(start_to_the_end(&scene), "JOB_SUCCESS");
    let text = left(&file);
    let mut lines = text.lines();
    for _ in 0..2 {
        let mask = lines.next().and_then(|line| line.split('\t').nth(1)).expect("a mask");
        let mask = u64::from_str_radix(mask, 16).expect("a mask");
        // The C library keeps 32 and 33 to itself: they are as the server was started with.
        assert_eq!(mask & !(0b11 << 31), 0, "{text}");
    }
    assert_eq!(lines.next(), Some("leader"), "{text}");
    // Nothing to read, its own file, and what the server writes to.
    let part = format!("{}.part", file.display());
    let open: Vec<&str> = lines.collect();
    assert!(open.contains(&"/dev/null") && open.contains(&&*part), "{text}");
    for target in open {
        assert!(["/dev/null", &*part].contains(&target) || target.ends_with("/log"), "{text}");
    }
}

#[test]
fn an_alert_that_takes_too_long_is_killed_with_its_children() {
    let scene = Scene::new(1);
    let file = file(&scene);
    let command =
        format!("sleep 300 & echo $$ > {0}.part; mv {0}.part {0}; sleep 300", file.display());
    submit(&scene, 100, json!({"alert": {"command": command, "timeout_ms": 3000}}));
    assert_eq!(start_to_the_end(&scene), "JOB_SUCCESS");
    let alive = |group: &str| {
        let found =
            std::process::Command::new("pgrep").args(["-g", group]).output().expect("pgrep");
        found.stdout.iter().filter(|byte| **byte == b'\n').count()
    };
    let group = left(&file).trim().to_owned();
    assert_eq!(alive(&group), 3);
    eventually("all of them are gone", 15, || alive(&group) == 0);

    give(&scene, json!({"alert": {"command": command}}));
    assert_eq!(start_to_the_end(&scene), "JOB_SUCCESS");
    let group = left(&file).trim().to_owned();
    assert_eq!(alive(&group), 3);
    let restarted = Instant::now();
    scene.cluster.restart();
    assert!(restarted.elapsed() < Duration::from_secs(20));
    eventually("none is left", 5, || alive(&group) == 0);
}

#[test]
fn an_alert_needs_the_privilege_of_its_jobs_owner_when_it_is_run() {
    let scene = Scene::new(1);
    let file = file(&scene);
    let owner = format!("owner_{}", scene.topic.name);
    scene.db.sql(&format!(
        "CREATE ROLE {owner} LOGIN; GRANT USAGE, CREATE ON SCHEMA public TO {owner};
         GRANT USAGE ON FOREIGN DATA WRAPPER gpss TO {owner}; GRANT INSERT ON numbers TO {owner};
         SET ROLE {owner}; SELECT gpss.submit_job('numbers', {})",
        literal(&scene.config(25, 100))
    ));
    give(&scene, alert(&file, "echo run"));
    assert_eq!(start_to_the_end(&scene), "JOB_SUCCESS");
    std::thread::sleep(Duration::from_secs(2));
    assert!(!file.exists());
    scene.db.sql(&format!("GRANT pg_execute_server_program TO {owner}"));
    assert_eq!(start_to_the_end(&scene), "JOB_SUCCESS");
    assert_eq!(left(&file), "run\n");
    scene.db.sql(&format!("REVOKE pg_execute_server_program FROM {owner}"));
}
