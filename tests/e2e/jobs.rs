//! Jobs as a user runs them: submit, start, watch, stop, remove.

use gpss_testbed::{Producer, Scene, eventually, literal, value};

#[test]
fn a_submitted_job_waits_for_its_start() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    scene.submit(100);
    assert_eq!(scene.status(), "JOB_SUBMITTED");
    assert_eq!(scene.rows(), 0);
    assert!(scene.workers().is_empty());
}

#[test]
fn a_started_job_loads_what_is_there_and_what_comes_and_the_views_tell() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..1000);
    scene.submit(300);
    scene.start();
    scene.expect_exactly(0..1000);
    assert_eq!(scene.status(), "JOB_RUNNING");
    scene.topic.send_numbers(1000..1500);
    scene.expect_exactly(0..1500);

    eventually("progress has caught up", 10, || {
        scene.db.sql("SELECT job, partition, next_offset, lag FROM gpss.progress")
            == "numbers|0|1500|0"
    });
    let batches = "SELECT sum(messages), sum(inserted), sum(rejected), max(messages) <= 300,
                          bool_and(start_time <= end_time)
                   FROM gpss.batches WHERE job = 'numbers'";
    assert_eq!(scene.db.sql(batches), "1500|1500|0|t|t");
    let jobs = "SELECT target_schema, target_table, mode, rows_loaded, rows_rejected
                FROM gpss.jobs WHERE name = 'numbers'";
    assert_eq!(scene.db.sql(jobs), "public|numbers|insert|1500|0");
}

#[test]
fn a_stopped_job_has_no_worker_and_goes_on_where_it_was() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..500);
    scene.submit(100);
    scene.start();
    scene.expect_exactly(0..500);
    scene.stop();
    assert_eq!(scene.status(), "JOB_STOPPED");
    assert!(scene.workers().is_empty());

    scene.topic.send_numbers(500..700);
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(scene.rows(), 500);
    scene.start();
    scene.expect_exactly(0..700);
}

#[test]
fn a_job_stopped_in_the_middle_loses_nothing() {
    let scene = Scene::new(1);
    scene.slow_down(20);
    scene.topic.send_numbers(0..5000);
    scene.submit(100);
    for _ in 0..3 {
        let before = scene.rows();
        scene.start();
        eventually("another batch", 30, || scene.rows() > before);
        scene.stop();
        assert!(scene.rows() < 5000, "the load ended before it was stopped");
    }
    scene.start();
    scene.expect_exactly(0..5000);
}

#[test]
fn a_running_job_can_neither_be_started_nor_removed() {
    let scene = Scene::new(1);
    scene.submit(100);
    scene.start();
    assert!(scene.db.error("SELECT gpss.start_job('numbers')").contains("running"));
    let error = scene.db.error("SELECT gpss.remove_job('numbers')");
    assert!(error.contains("running") && error.contains("stop_job"), "{error}");
    scene.stop();
    scene.db.sql("SELECT gpss.remove_job('numbers')");
    assert_eq!(scene.db.number("SELECT count(*) FROM gpss.jobs"), 0);
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let scene = Scene::new(1);
    scene.submit(100);
    let config = literal(&scene.config(10, 100));
    let error = scene.db.error(&format!("SELECT gpss.submit_job('numbers', {config})"));
    assert!(error.contains("already exists"), "{error}");
}

#[test]
fn a_job_that_quits_at_the_end_takes_every_partition_with_several_workers() {
    let mut scene = Scene::new(3);
    scene.slow_down(100);
    plain_sql_job(&mut scene, 3);
    scene.topic.send_numbers(0..3000);
    scene.db.sql("SELECT gpss.start_job('numbers', quit_at_eof => true)");
    eventually("three workers", 30, || scene.workers().len() == 3);
    scene.db.sql("SELECT gpss.wait_job('numbers', '60 s')");
    assert_eq!(scene.status(), "JOB_SUCCESS");
    scene.expect_exactly(0..3000);
    let partitions = "SELECT partition, next_offset FROM gpss.progress ORDER BY partition";
    assert_eq!(scene.db.sql(partitions), "0|1000\n1|1000\n2|1000");
    assert!(scene.workers().is_empty());
}

#[test]
fn a_partition_added_to_the_topic_is_noticed_and_read_from_its_beginning() {
    let mut scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    scene.submit(100);
    scene.start();
    scene.expect_exactly(0..10);
    scene.topic.grow(2);
    // The job may find the partition late: what is in it by then must not be skipped.
    scene.topic.send_numbers(10..110);
    scene.expect_exactly(0..110);
    assert_eq!(scene.db.number("SELECT count(*) FROM gpss.progress"), 2);
}

#[test]
fn two_jobs_of_a_database_run_beside_each_other_and_survive_a_restart() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..100);
    scene.submit(100);
    scene.start();
    scene.expect_exactly(0..100);
    let config = literal(&scene.config(25, 100).replace("TABLE: numbers", "TABLE: others"));
    scene.db.sql("CREATE TABLE others (n int)");
    scene.db.sql(&format!("SELECT gpss.submit_job('others', {config})"));
    scene.db.sql("SELECT gpss.start_job('others', quit_at_eof => true)");
    let status = scene.db.sql("SELECT gpss.wait_job('others', '20 s')");
    assert_eq!(status, "JOB_SUCCESS");
    assert_eq!(scene.db.number("SELECT count(*) FROM others"), 100);

    scene.cluster.restart();
    eventually("the job is back", 30, || !scene.workers().is_empty());
    assert!(scene.db.error("SELECT gpss.start_job('numbers')").contains("already running"));
    scene.topic.send_numbers(100..200);
    scene.expect_exactly(0..200);
    scene.stop();
    assert!(scene.workers().is_empty());
}

#[test]
fn a_job_of_many_workers_can_be_stopped_as_soon_as_it_is_started() {
    let mut scene = Scene::new(4);
    plain_sql_job(&mut scene, 4);
    for _ in 0..5 {
        scene.db.sql("SELECT gpss.start_job('numbers'); SELECT pg_sleep(0.01)");
        scene.db.sql("SET statement_timeout = '20 s'; SELECT gpss.stop_job('numbers')");
        assert!(scene.workers().is_empty());
    }
    assert_eq!(scene.status(), "JOB_STOPPED");
}

#[test]
fn a_job_whose_owner_is_read_only_by_default_loads_and_stops() {
    let scene = Scene::new(1);
    let owner = format!("owner_{}", scene.topic.name);
    scene.db.sql(&format!(
        "CREATE ROLE {owner} LOGIN SUPERUSER; SET ROLE {owner};
         SELECT gpss.submit_job('numbers', {});
         ALTER ROLE {owner} SET default_transaction_read_only = on",
        literal(&scene.config(25, 100))
    ));
    scene.topic.send_numbers(0..10);
    scene.start();
    scene.expect_exactly(0..10);
    scene.stop();
}

#[test]
fn offsets_of_another_cluster_are_not_used() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    scene.submit(100);
    scene.load_to_the_end();
    // As if the brokers had been those of another cluster then.
    scene.db.sql("UPDATE gpss.offsets SET cluster_id = 'another'");
    scene.db.sql("SELECT gpss.start_job('numbers', quit_at_eof => true)");
    assert_eq!(scene.db.sql("SELECT gpss.wait_job('numbers', '60 s')"), "JOB_ERROR");
    let message = scene.db.sql("SELECT errmsg FROM gpss.jobs WHERE name = 'numbers'");
    assert!(message.contains("another Kafka cluster"), "{message}");
    scene.db.sql("SELECT gpss.start_job('numbers', quit_at_eof => true, reset => 'latest')");
    assert_eq!(scene.db.sql("SELECT gpss.wait_job('numbers', '60 s')"), "JOB_SUCCESS");
    scene.expect_exactly(0..10);
}

#[test]
fn a_reset_of_one_partition_lets_the_other_begin_anew_on_another_cluster() {
    let scene = Scene::new(2);
    scene.topic.send_lines(0, "{\"n\": 0}\n");
    scene.topic.send_lines(1, "{\"n\": 1}\n");
    scene.submit(100);
    scene.load_to_the_end();
    scene.expect_exactly(0..2);
    scene.db.sql("UPDATE gpss.offsets SET cluster_id = 'another'; TRUNCATE numbers");
    scene.db.sql(
        "SELECT gpss.start_job('numbers', quit_at_eof => true, reset => '{\"0\": \"latest\"}')",
    );
    assert_eq!(scene.db.sql("SELECT gpss.wait_job('numbers', '60 s')"), "JOB_SUCCESS");
    scene.expect_exactly(1..2);
}

#[test]
fn a_load_that_waits_for_its_own_transaction_ends_with_an_error() {
    let scene = Scene::new(1);
    scene.db.sql("ALTER TABLE numbers ADD PRIMARY KEY (n)");
    scene.topic.send_numbers(0..10);
    let error = scene.db.error(&format!(
        "SET statement_timeout = '60 s'; BEGIN; INSERT INTO numbers VALUES (7);
         SELECT * FROM gpss.load({})",
        literal(&scene.config(25, 100))
    ));
    assert!(error.contains("a lock that this transaction holds"), "{error}");
}

#[test]
fn checking_a_job_does_not_run_its_owners_code_as_somebody_else() {
    let scene = Scene::new(1);
    let owner = format!("owner_{}", scene.topic.name);
    let config = scene.config(25, 100).replace("(jdata->>'n')::int", "spy(1)");
    scene.db.sql(&format!(
        "CREATE ROLE {owner} LOGIN; GRANT USAGE, CREATE ON SCHEMA public TO {owner};
         GRANT USAGE ON FOREIGN DATA WRAPPER gpss TO {owner}; GRANT INSERT ON numbers TO {owner};
         SET ROLE {owner};
         CREATE FUNCTION spy(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
         $$ BEGIN RAISE 'planned by %', current_user; END $$;
         CREATE FUNCTION harmless(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
         SELECT gpss.submit_job('numbers', {})",
        literal(&config.replace("spy(1)", "harmless(1)"))
    ));
    scene.db.sql("UPDATE gpss.job SET spec = replace(spec::text, 'harmless(1)', 'spy(1)')::jsonb");
    let found = scene.db.sql("SELECT detail FROM gpss.check('numbers') WHERE status = 'failed'");
    assert!(found.contains(&format!("planned by {owner}")), "{found}");
}

#[test]
fn who_may_not_drop_the_extension_does_not_stop_its_jobs() {
    let scene = Scene::new(1);
    scene.submit(100);
    scene.start();
    eventually("the job runs", 20, || !scene.workers().is_empty());
    let before = scene.workers();
    let nobody = format!("nobody_{}", scene.topic.name);
    scene.db.sql(&format!("CREATE ROLE {nobody}"));
    let error = scene.db.error(&format!("SET ROLE {nobody}; DROP EXTENSION gpss"));
    assert!(error.contains("must be owner"), "{error}");
    assert_eq!(scene.workers(), before);
    scene.stop();
}

#[test]
fn names_in_a_mapping_mean_what_they_meant_to_the_session_that_submitted() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    let config = scene.config(25, 100).replace("(jdata->>'n')::int", "twice(jdata->>'n') / 2");
    scene.db.sql(&format!(
        "CREATE SCHEMA own;
         CREATE FUNCTION own.twice(text) RETURNS int LANGUAGE sql AS 'SELECT $1::int * 2';
         SET search_path = own, public;
         SELECT gpss.submit_job('numbers', {})",
        literal(&config)
    ));
    scene.load_to_the_end();
    scene.expect_exactly(0..10);
}

#[test]
fn a_check_tells_whether_rows_are_written_in_bulk_and_why_not() {
    let scene = Scene::new(1);
    scene.submit(100);
    let writing = || {
        scene.db.sql("SELECT substring(detail FROM '; (.*)') FROM gpss.check('numbers') WHERE detail LIKE '%; rows%'")
    };
    assert_eq!(writing(), "rows are written in bulk");
    for (obstacle, remedy, why) in [
        (
            "CREATE FUNCTION rows() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM numbers';
             ALTER TABLE numbers ADD before bigint DEFAULT rows()",
            "ALTER TABLE numbers ALTER before DROP DEFAULT,
                 ADD at timestamptz DEFAULT clock_timestamp(),
                 ADD id uuid DEFAULT gen_random_uuid(), ADD s serial, ADD r float DEFAULT random()",
            "a volatile function in the mapping, the filter or a default",
        ),
        (
            "ALTER TABLE numbers ADD twice int GENERATED ALWAYS AS (n * 2) STORED",
            "ALTER TABLE numbers DROP twice",
            "the target has a generated column",
        ),
        (
            "CREATE TRIGGER same BEFORE UPDATE OR INSERT ON numbers
                 FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "DROP TRIGGER same ON numbers",
            "the target has a BEFORE trigger for rows or a transition table",
        ),
        (
            "CREATE RULE too AS ON INSERT TO numbers DO ALSO NOTIFY numbers",
            "DROP RULE too ON numbers",
            "a rule adds statements",
        ),
    ] {
        scene.db.sql(obstacle);
        assert_eq!(writing(), format!("rows go one by one: {why}"));
        scene.db.sql(remedy);
        assert_eq!(writing(), "rows are written in bulk");
    }
}

#[test]
fn a_batch_begins_before_its_rows_are_made_and_ends_after() {
    let scene = Scene::new(2);
    scene.db.sql("ALTER TABLE numbers ADD made timestamptz DEFAULT clock_timestamp()");
    scene.slow_down(5);
    scene.topic.send_numbers(0..100);
    scene.submit(1000);
    scene.load_to_the_end();
    let times =
        "SELECT min(made) > min(start_time), max(made) < max(end_time), count(DISTINCT start_time)
                 FROM numbers, gpss.batches";
    assert_eq!(scene.db.sql(times), "t|t|1");
}

#[test]
fn batches_of_a_short_interval_share_a_row_of_the_history() {
    let scene = Scene::new(1);
    let config = scene.config(25, 1000).replace("MINIMAL_INTERVAL: 200", "MINIMAL_INTERVAL: 1");
    scene.db.sql(&format!("SELECT gpss.submit_job('numbers', {})", literal(&config)));
    scene.start();
    let producer = Producer::new(&scene.topic);
    for n in 0..40 {
        producer.send([value(format!("{{\"n\": {n}}}").as_bytes())]);
    }
    scene.expect_exactly(0..40);
    let transactions = scene.db.number("SELECT count(DISTINCT xmin::text) FROM numbers");
    assert!(transactions > 20, "{transactions} transactions");
    let batches = "SELECT count(*) <= 2 + extract(epoch FROM max(end_time) - min(start_time)),
                          sum(messages), sum(inserted), min(begin_offset), max(end_offset),
                          sum(end_offset - begin_offset), min(end_reason)
                   FROM gpss.batches WHERE job = 'numbers'";
    assert_eq!(scene.db.sql(batches), "t|40|40|0|40|40|interval");
}

/// The same job without a configuration file: over a foreign table.
fn plain_sql_job(scene: &mut Scene, workers: u32) {
    scene.db.sql(&format!(
        "CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '{brokers}');
         CREATE FOREIGN TABLE source (jdata json) SERVER kafka
             OPTIONS (topic '{topic}', format 'json');
         SELECT gpss.submit_job('numbers', 'source', 'numbers',
             mapping => '{{\"n\": \"(jdata->>''n'')::int\"}}', workers => {workers})",
        brokers = scene.broker.address,
        topic = scene.topic.name,
    ));
}
