//! Bad surroundings: whatever fails around a job costs no message and moves no offset. The job says
//! that it is retrying, why and when, says so once, and goes on by itself when it can. What only the
//! user can mend ends it; mended and started again, it goes on where it stood.

use gpss_testbed::{Scene, eventually, literal};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Where a job stands: next offsets and rejected messages.
fn position(scene: &Scene) -> String {
    scene.db.sql(
        "SELECT (SELECT string_agg(next_offset::text, ',' ORDER BY partition) FROM gpss.progress),
                (SELECT count(*) FROM gpss.errors)",
    )
}

fn errmsg(scene: &Scene) -> String {
    scene.db.sql("SELECT errmsg FROM gpss.jobs")
}

/// How often the server's log tells of the job's being in a state; of this test's job and earlier ones.
fn told(scene: &Scene, state: &str) -> usize {
    let told = format!("gpss job \"numbers\" is {state}");
    scene.cluster.log().matches(&told).count()
}

/// Lines in the server's log about jobs or by librdkafka.
fn lines(scene: &Scene) -> usize {
    let ours = |line: &&str| line.contains("gpss job ") || line.contains("kafka");
    scene.cluster.log().lines().filter(ours).count()
}

/// Waits for the state that a failure of the surroundings puts a job into.
fn expect_retrying(scene: &Scene, reason: &str) {
    eventually(&format!("JOB_RETRYING because of \"{reason}\""), 40, || {
        scene.status() == "JOB_RETRYING" && errmsg(scene).contains(reason)
    });
}

/// Looks every 10 ms: the status never changes meanwhile, the time of the next try is ahead while
/// the job waits and absent while it tries.
fn stays_retrying(scene: &Scene, seconds: u32) {
    scene.db.sql(&format!(
        "DO $$ DECLARE job record; BEGIN
            FOR i IN 1 .. {seconds} * 100 LOOP
                SELECT status, errmsg, next_retry_at INTO job FROM gpss.jobs;
                IF job.status <> 'JOB_RETRYING' THEN
                    RAISE 'it is % after % ms', job.status, i * 10;
                ELSIF job.next_retry_at < clock_timestamp() - interval '1 s' THEN
                    RAISE 'the next try is late: %', clock_timestamp() - job.next_retry_at;
                END IF;
                PERFORM pg_sleep(0.01);
            END LOOP;
         END $$"
    ));
}

fn expect_running(scene: &Scene) {
    let state = "SELECT status, errmsg, next_retry_at FROM gpss.jobs";
    eventually("the job runs", 70, || scene.db.sql(state) == "JOB_RUNNING||");
}

/// The whole course of a trouble that a running job meets when it loads: `0..known` are loaded,
/// `known..known + 100` come now.
fn outlasts(scene: &Scene, known: u32, reason: &str, mend: impl FnOnce()) {
    let (before, retrying, running) =
        (position(scene), told(scene, "JOB_RETRYING"), told(scene, "JOB_RUNNING"));
    scene.topic.send_numbers(known..known + 100);
    expect_retrying(scene, reason);
    let since = scene.db.sql("SELECT since FROM gpss.jobs");
    stays_retrying(scene, 4);
    assert_eq!(scene.db.sql("SELECT since FROM gpss.jobs"), since);
    assert_eq!(position(scene), before, "{reason}");
    mend();
    scene.expect_exactly(0..known + 100);
    expect_running(scene);
    assert_eq!(told(scene, "JOB_RETRYING"), retrying + 1, "{reason}");
    assert_eq!(told(scene, "JOB_RUNNING"), running + 1, "{reason}");
    assert_eq!(scene.db.number("SELECT count(*) FROM gpss.errors"), 0, "{reason}");
}

/// A job that has loaded its first hundred numbers.
fn running() -> Scene {
    let scene = Scene::new(1);
    run_first(&scene);
    scene
}

fn run_first(scene: &Scene) {
    scene.topic.send_numbers(0..100);
    scene.submit(1000);
    scene.start();
    scene.expect_exactly(0..100);
    expect_running(scene);
}

/// Stops the job, which may not take long whatever it waits for.
fn stops_soon(scene: &Scene) {
    let begun = Instant::now();
    scene.stop();
    assert!(begun.elapsed() < Duration::from_secs(4), "stopped after {:?}", begun.elapsed());
    assert_eq!(scene.status(), "JOB_STOPPED");
    assert!(scene.workers().is_empty());
}

#[test]
fn what_fails_around_a_load_is_waited_out() {
    let scene = running();
    let mut known = 100;
    for (trouble, reason) in [
        ("RAISE 'conflict' USING ERRCODE = '40001'", "conflict"),
        ("RAISE 'disk' USING ERRCODE = '58030'", "disk"),
        ("RAISE 'another server' USING ERRCODE = '08006'", "another server"),
        ("RAISE 'object in use' USING ERRCODE = '55006'", "object in use"),
        ("RAISE 'old snapshot' USING ERRCODE = '72000'", "old snapshot"),
        ("RAISE 'inside' USING ERRCODE = 'XX000'", "inside"),
        ("RAISE 'credentials' USING ERRCODE = '28P01'", "credentials"),
        ("PERFORM set_config('transaction_read_only', 'on', true)", "read-only transaction"),
        (
            "PERFORM pg_cancel_backend(pg_backend_pid()), pg_sleep(1)",
            "canceling statement due to user request",
        ),
        (
            "PERFORM set_config('temp_file_limit', '100', true), set_config('work_mem', '64', true);
             PERFORM g FROM generate_series(1, 100000) AS g ORDER BY g DESC",
            "temporary file size exceeds",
        ),
    ] {
        scene.db.sql(&format!(
            "CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN {trouble}; RETURN NULL; END $$;
             CREATE TRIGGER trouble BEFORE INSERT ON numbers EXECUTE FUNCTION trouble()"
        ));
        outlasts(&scene, known, reason, || {
            scene.db.sql("DROP FUNCTION trouble CASCADE");
        });
        known += 100;
    }
    stops_soon(&scene);
}

/// Fills the target's file, then forbids the worker to write beyond its end and `more` bytes.
fn fill_the_disk(more: u32, reason: &str) {
    let scene = Scene::new(1);
    // Larger than a segment of WAL, which the limit would meet, too.
    scene.db.sql(
        "ALTER TABLE numbers ADD pad text DEFAULT repeat('x', 1900), SET (autovacuum_enabled = off);
         ALTER TABLE numbers ALTER pad SET STORAGE PLAIN;
         INSERT INTO numbers SELECT -1 FROM generate_series(1, 9200);
         DELETE FROM numbers",
    );
    run_first(&scene);
    let size = scene.db.sql("CHECKPOINT; SELECT pg_relation_size('numbers')");
    let size = size.parse::<u64>().expect("a number");
    let pid = scene.workers()[0];
    scene.cluster.limit(pid, &format!("--fsize={}:", size + u64::from(more)));
    outlasts(&scene, 100, reason, || scene.cluster.limit(pid, "--fsize=unlimited:"));
    stops_soon(&scene);
}

#[test]
fn a_disk_that_is_full_within_a_page_is_waited_for() {
    fill_the_disk(4096, "Check free disk space");
}

#[test]
fn a_limit_on_files_that_says_it_in_other_words_is_no_messages_fault() {
    fill_the_disk(0, "File too large");
}

#[test]
fn a_tablespace_on_a_full_disk_is_waited_for() {
    let scene = Scene::new(1);
    let Some(disk) = scene.cluster.disk(2) else {
        eprintln!("nothing can be mounted here");
        return;
    };
    let space = format!("space_{}", scene.topic.name);
    scene.db.sql(&format!("CREATE TABLESPACE {space} LOCATION '{disk}'"));
    scene.db.sql(&format!(
        "ALTER TABLE numbers ADD pad text DEFAULT repeat('x', 1900), SET TABLESPACE {space};
         CREATE TABLE filler (n int) TABLESPACE {space}"
    ));
    run_first(&scene);
    // What a failed statement has taken of a file stays taken.
    scene.db.error("INSERT INTO filler SELECT generate_series(1, 1000000)");
    outlasts(&scene, 100, "No space left on device", || {
        scene.db.sql("DROP TABLE filler");
    });
    stops_soon(&scene);
    scene.db.sql(&format!("DROP TABLE numbers; DROP TABLESPACE {space}"));
    scene.cluster.disk(0);
}

#[test]
fn memory_that_is_not_there_is_waited_for() {
    let scene = running();
    scene.db.sql(
        "CREATE FUNCTION greedy() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN PERFORM length(repeat('x', 400000000)); RETURN NULL; END $$;
         CREATE TRIGGER greedy BEFORE INSERT ON numbers EXECUTE FUNCTION greedy()",
    );
    let pid = scene.workers()[0];
    let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("a process");
    let pages: u64 = pages.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    scene.cluster.limit(pid, &format!("--as={}:", pages * 4096 + 200_000_000));
    outlasts(&scene, 100, "out of memory", || scene.cluster.limit(pid, "--as=unlimited:"));
    assert_eq!(scene.workers(), [pid], "the worker has lived through it");
    stops_soon(&scene);
}

#[test]
fn a_lock_that_is_not_given_in_time_is_asked_for_again() {
    let scene = Scene::new(1);
    scene.db.sql(&format!("ALTER DATABASE {} SET lock_timeout = '300 ms'", scene.db.name));
    run_first(&scene);
    let before = told(&scene, "JOB_RETRYING");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            scene.db.sql("BEGIN; LOCK TABLE numbers; SELECT pg_sleep(8); COMMIT");
        });
        eventually("the lock is held", 10, || {
            let locks = "SELECT count(*) FROM pg_locks WHERE relation = 'numbers'::regclass
                         AND mode = 'AccessExclusiveLock'";
            scene.db.number(locks) == 1
        });
        scene.topic.send_numbers(100..200);
        expect_retrying(&scene, "lock timeout");
        stays_retrying(&scene, 3);
    });
    scene.expect_exactly(0..200);
    expect_running(&scene);
    assert_eq!(told(&scene, "JOB_RETRYING"), before + 1);
    assert_eq!(scene.db.number("SELECT count(*) FROM gpss.errors"), 0);
}

#[test]
fn the_victim_of_a_deadlock_tries_again() {
    let scene = Scene::new(1);
    scene.db.sql(
        "CREATE TABLE gate AS SELECT id, 0 AS n FROM generate_series(1, 2) AS id;
         CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN UPDATE gate SET n = n + 1 WHERE id = 2; UPDATE gate SET n = n + 1 WHERE id = 1;
                  RETURN NULL; END $$;
         CREATE TRIGGER pass BEFORE INSERT ON numbers EXECUTE FUNCTION pass()",
    );
    run_first(&scene);
    let before = told(&scene, "JOB_RETRYING: deadlock detected");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            scene.db.sql(
                "SET deadlock_timeout = '60 s';
                 BEGIN; UPDATE gate SET n = n WHERE id = 1; CREATE TABLE held ();
                 DO $$ BEGIN
                     WHILE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted) LOOP
                         PERFORM pg_sleep(0.05);
                     END LOOP;
                 END $$;
                 UPDATE gate SET n = n WHERE id = 2; SELECT pg_sleep(1); COMMIT",
            );
        });
        std::thread::sleep(Duration::from_secs(1));
        scene.topic.send_numbers(100..200);
        expect_retrying(&scene, "deadlock detected");
    });
    scene.expect_exactly(0..200);
    expect_running(&scene);
    assert_eq!(told(&scene, "JOB_RETRYING: deadlock detected"), before + 1);
    assert_eq!(scene.db.number("SELECT count(*) FROM gpss.errors"), 0);
}

#[test]
fn what_an_owner_has_set_for_his_sessions_does_not_break_his_jobs() {
    let scene = Scene::new(1);
    let database = &scene.db.name;
    scene.db.sql(&format!(
        "ALTER DATABASE {database} SET default_transaction_isolation = 'serializable';
         ALTER DATABASE {database} SET default_transaction_read_only = on;
         ALTER DATABASE {database} SET statement_timeout = '100 ms'"
    ));
    let set = "SET default_transaction_read_only = off; SET statement_timeout = 0; ";
    scene.db.sql(&format!(
        "{set} ALTER TABLE numbers ADD level text DEFAULT current_setting('transaction_isolation');
         CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$;
         CREATE TRIGGER linger BEFORE INSERT ON numbers EXECUTE FUNCTION linger();
         SELECT gpss.submit_job('numbers', {})",
        literal(&scene.config(25, 1000))
    ));
    scene.topic.send_numbers(0..100);
    scene.db.sql(&format!("{set} SELECT gpss.start_job('numbers')"));
    scene.expect_exactly(0..100);
    assert_eq!(scene.db.sql("SELECT DISTINCT level FROM numbers"), "read committed");
    scene.db.sql(&format!("{set} SELECT gpss.stop_job('numbers')"));
}

#[test]
fn a_limit_on_the_owners_connections_is_none_on_his_jobs() {
    let scene = Scene::new(1);
    let owner = format!("owner_{}", scene.topic.name);
    scene.db.sql(&format!(
        "CREATE ROLE {owner} LOGIN; GRANT INSERT ON numbers TO {owner};
         GRANT CREATE, USAGE ON SCHEMA public TO {owner};
         GRANT USAGE ON FOREIGN DATA WRAPPER gpss TO {owner};
         SET ROLE {owner}; SELECT gpss.submit_job('numbers', {})",
        literal(&scene.config(25, 1000))
    ));
    scene.topic.send_numbers(0..100);
    scene.start();
    scene.expect_exactly(0..100);
    // A limit on connections is one on clients.
    scene.db.sql(&format!("ALTER ROLE {owner} CONNECTION LIMIT 0"));
    scene.stop();
    scene.start();
    scene.topic.send_numbers(100..200);
    scene.expect_exactly(0..200);

    scene.stop();
    scene.db.sql(&format!("SELECT gpss.remove_job('numbers'); DROP OWNED BY {owner}"));
}

/// Accepts connections and does with them what it is told; ends with the test.
fn listener(each: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || listener.incoming().flatten().for_each(each));
    address
}

#[test]
fn brokers_that_cannot_be_reached_are_waited_for_and_may_be_corrected() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..100);
    scene.server();
    scene.table("source", "doc json", "format 'json'");
    scene.db.sql(
        "SELECT gpss.submit_job('numbers', 'source'::regclass, 'numbers'::regclass,
             mapping => '{\"n\": \"(doc->>''n'')::int\"}')",
    );
    let brokers = |address: &str| {
        scene.db.sql(&format!("ALTER SERVER kafka OPTIONS (SET brokers '{address}')"));
    };
    let unanswering = listener(std::mem::forget);
    let of_the_web = listener(|mut stream| {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    for (address, reason) in [
        ("127.0.0.1:1", "Connection refused"),
        ("nowhere.invalid:9092", "resolve"),
        (unanswering.as_str(), "HINT"),
        (of_the_web.as_str(), "HINT"),
    ] {
        let (retrying, before) = (told(&scene, "JOB_RETRYING"), lines(&scene));
        brokers(address);
        scene.start();
        expect_retrying(&scene, reason);
        stays_retrying(&scene, 8);
        eprintln!("{address}: {}", errmsg(&scene));
        assert_eq!(told(&scene, "JOB_RETRYING"), retrying + 1, "{address}");
        assert!(lines(&scene) - before < 3, "{address}: {}", lines(&scene) - before);
        stops_soon(&scene);
        assert_eq!(scene.rows(), 0);
    }
    scene.start();
    expect_retrying(&scene, "");
    brokers(&scene.broker.address);
    scene.expect_exactly(0..100);
    expect_running(&scene);
}

#[test]
fn a_job_that_had_not_connected_runs_when_it_has_and_there_is_nothing_to_load() {
    let scene = Scene::new(2);
    scene.submit(100);
    let told = || (told(&scene, "JOB_RETRYING"), told(&scene, "JOB_RUNNING"));
    let before = told();
    scene.broker.stop();
    scene.start();
    expect_retrying(&scene, "refused");
    scene.broker.start();
    expect_running(&scene);
    let after = told();
    // A broker that comes up may give another reason for a while.
    assert!((before.0 + 1..before.0 + 4).contains(&after.0), "{} times", after.0 - before.0);
    assert_eq!(after.1, before.1 + 1);
    scene.topic.send_numbers(0..10);
    scene.expect_exactly(0..10);
}

#[test]
fn an_absent_broker_is_one_line_in_the_log_and_so_is_its_return() {
    let scene = running();
    let before = lines(&scene);
    for round in 1..3 {
        scene.broker.kill();
        expect_retrying(&scene, "no Kafka broker can be reached");
        stays_retrying(&scene, 15);
        scene.broker.start();
        expect_running(&scene);
        assert_eq!(lines(&scene), before + 2 * round);
    }
}

/// A job whose user has a name and a password of his own at the brokers.
fn with_password(user: &str, password: &str) -> Scene {
    let scene = Scene::new(1);
    scene.db.sql(&format!(
        "CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '{}',
             \"security.protocol\" 'SASL_PLAINTEXT', \"sasl.mechanism\" 'SCRAM-SHA-256');
         CREATE USER MAPPING FOR CURRENT_USER SERVER kafka
             OPTIONS (\"sasl.username\" '{user}', \"sasl.password\" '{password}')",
        scene.broker.sasl_address(),
    ));
    scene.table("source", "doc json", "format 'json'");
    scene.db.sql(
        "SELECT gpss.submit_job('numbers', 'source'::regclass, 'numbers'::regclass,
             mapping => '{\"n\": \"(doc->>''n'')::int\"}')",
    );
    scene.topic.send_numbers(0..100);
    scene
}

fn map_password(scene: &Scene, password: &str) {
    scene.db.sql(&format!(
        "ALTER USER MAPPING FOR CURRENT_USER SERVER kafka OPTIONS (SET \"sasl.password\" '{password}')"
    ));
}

#[test]
fn credentials_that_are_refused_are_tried_again_and_may_be_renewed() {
    let scene = with_password("renewed", "late");
    scene.broker.user("renewed", "early");
    let before = told(&scene, "JOB_RETRYING");
    scene.start();
    expect_retrying(&scene, "authentication");
    stays_retrying(&scene, 5);
    assert_eq!(told(&scene, "JOB_RETRYING"), before + 1);
    stops_soon(&scene);
    scene.start();
    expect_retrying(&scene, "authentication");
    // The brokers' side is mended.
    scene.broker.user("renewed", "late");
    scene.expect_exactly(0..100);
    expect_running(&scene);

    // They expire while the job runs; this side is mended.
    scene.broker.user("renewed", "rotated");
    scene.broker.stop();
    scene.broker.start();
    expect_retrying(&scene, "authentication");
    map_password(&scene, "rotated");
    scene.topic.send_numbers(100..200);
    scene.expect_exactly(0..200);
    expect_running(&scene);
    assert_eq!(scene.db.number("SELECT count(*) FROM gpss.errors"), 0);
}

/// The job has ended with a hint. When it is mended and started, it goes on where it stood.
fn ends_and_goes_on(scene: &Scene, known: u32, reason: &str, mend: impl FnOnce()) {
    let before = position(scene);
    scene.topic.send_numbers(known..known + 10);
    if scene.status() != "JOB_RUNNING" {
        scene.start();
    }
    eventually(&format!("JOB_ERROR because of \"{reason}\""), 30, || scene.status() == "JOB_ERROR");
    assert!(errmsg(scene).contains(reason), "{}", errmsg(scene));
    assert!(errmsg(scene).contains("HINT"), "{}", errmsg(scene));
    assert_eq!(position(scene), before, "{reason}");
    mend();
    scene.start();
    scene.expect_exactly(0..known + 10);
    expect_running(scene);
}

#[test]
fn a_topic_that_is_refused_ends_the_job_which_goes_on_when_it_is_granted() {
    let scene = with_password("granted", "secret");
    scene.broker.user("granted", "secret");
    scene.start();
    scene.expect_exactly(0..100);
    scene.broker.deny("granted", &scene.topic);
    eventually("the job notices it", 30, || scene.status() == "JOB_ERROR");
    ends_and_goes_on(&scene, 100, "ACL", || scene.broker.allow("granted", &scene.topic));
    scene.stop();
    scene.broker.deny("granted", &scene.topic);
    ends_and_goes_on(&scene, 110, "ACL", || scene.broker.allow("granted", &scene.topic));
}

#[test]
fn what_only_the_user_can_mend_ends_the_job_which_goes_on_when_it_is_mended() {
    let scene = Scene::new(1);
    let owner = format!("owner_{}", scene.topic.name);
    let config = scene.config(25, 1000).replace("(jdata->>'n')::int", "plain(jdata->>'n')");
    scene.db.sql(&format!(
        "CREATE FUNCTION plain(text) RETURNS int LANGUAGE sql AS 'SELECT $1::int';
         CREATE ROLE {owner} LOGIN; GRANT INSERT ON numbers TO {owner};
         GRANT CREATE, USAGE ON SCHEMA public TO {owner};
         GRANT USAGE ON FOREIGN DATA WRAPPER gpss TO {owner};
         SET ROLE {owner}; SELECT gpss.submit_job('numbers', {})",
        literal(&config)
    ));
    scene.topic.send_numbers(0..100);
    scene.start();
    scene.expect_exactly(0..100);
    for (known, spoil, reason, mend) in [
        (
            100,
            "ALTER TABLE numbers RENAME TO away",
            "does not exist",
            "ALTER TABLE away RENAME TO numbers",
        ),
        (
            110,
            "ALTER FUNCTION plain RENAME TO fancy",
            "does not exist",
            "ALTER FUNCTION fancy RENAME TO plain",
        ),
        (
            120,
            "REVOKE INSERT ON numbers FROM {}",
            "permission denied",
            "GRANT INSERT ON numbers TO {}",
        ),
        (
            130,
            "ALTER TABLE numbers RENAME n TO m",
            "does not exist",
            "ALTER TABLE numbers RENAME m TO n",
        ),
    ] {
        scene.db.sql(&spoil.replace("{}", &owner));
        ends_and_goes_on(&scene, known, reason, || {
            scene.db.sql(&mend.replace("{}", &owner));
        });
    }
    scene.stop();
    scene.db.sql(&format!("SELECT gpss.remove_job('numbers'); DROP OWNED BY {owner}"));
}

#[test]
fn an_offset_that_retention_has_passed_ends_the_job_which_goes_on_when_told_where() {
    let mut scene = Scene::new(1);
    scene.topic = scene.broker.topic_with("retention.ms=2000");
    scene.submit(1000);
    scene.start();
    expect_running(&scene);
    scene.topic.send_numbers(0..10);
    scene.expect_exactly(0..10);
    scene.stop();
    scene.topic.send_numbers(10..20);
    std::thread::sleep(Duration::from_secs(8));
    let before = position(&scene);
    scene.start();
    eventually("JOB_ERROR", 30, || scene.status() == "JOB_ERROR");
    let message = errmsg(&scene);
    assert!(message.contains("retention removed 10 messages"), "{message}");
    assert!(message.contains("HINT: Say where this partition begins"), "{message}");
    assert_eq!(position(&scene), before);
    scene.db.sql("SELECT gpss.start_job('numbers', reset => 'earliest')");
    scene.topic.send_numbers(20..30);
    let numbers = "SELECT count(*), count(DISTINCT n), sum(n) FROM numbers";
    eventually("what is there", 30, || scene.db.sql(numbers) == "20|20|290");
}

#[test]
fn a_job_that_waits_does_not_hold_up_drop_extension_nor_a_shutdown() {
    let scene = running();
    scene.db.sql(
        "CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE 'conflict' USING ERRCODE = '40001'; END $$;
         CREATE TRIGGER trouble BEFORE INSERT ON numbers EXECUTE FUNCTION trouble()",
    );
    scene.topic.send_numbers(100..200);
    expect_retrying(&scene, "conflict");
    stays_retrying(&scene, 6);
    let begun = Instant::now();
    scene.cluster.restart();
    assert!(begun.elapsed() < Duration::from_secs(5), "restarted after {:?}", begun.elapsed());
    // The new worker does not take the old one's failure for mended.
    eventually("a worker", 30, || !scene.workers().is_empty());
    stays_retrying(&scene, 2);
    let begun = Instant::now();
    scene.db.sql("DROP EXTENSION gpss CASCADE");
    assert!(begun.elapsed() < Duration::from_secs(5), "dropped after {:?}", begun.elapsed());
    assert!(scene.workers().is_empty());
}
