//! Topics and partitions that are not there.

use gpss_testbed::{Scene, eventually};

#[test]
fn a_job_waits_for_a_topic_that_does_not_exist_yet() {
    let scene = Scene::new(1);
    let name = scene.topic.name.clone();
    scene.topic.delete();
    scene.source_and_target("n int", "format 'json'");
    scene.db.sql("SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass)");
    let job = || scene.db.sql("SELECT status, errmsg FROM gpss.jobs");
    scene.db.sql("SELECT gpss.start_job('load')");
    let missing = format!("Kafka topic \"{name}\" does not exist");
    let waits = format!("JOB_RETRYING|{missing}; the job waits for it");
    eventually("it waits", 30, || job().starts_with(&waits));
    assert!(job().contains("HINT: "), "{}", job());
    scene.topic.make();
    scene.topic.send_lines(0, "{\"n\": 1}\n");
    eventually("it loads", 90, || scene.db.sql("SELECT n FROM target") == "1");
    eventually("it runs", 30, || job() == "JOB_RUNNING|");
    scene.db.sql("SELECT gpss.stop_job('load'), gpss.remove_job('load')");
    scene.topic.delete();

    // What is to end at the topic's end fails at once, and so does what is told to.
    scene.db.sql("SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass)");
    let fails = format!("JOB_ERROR|{missing}: ");
    scene.db.sql(
        "SELECT gpss.start_job('load', quit_at_eof => true); SELECT gpss.wait_job('load', '30 s')",
    );
    assert!(job().starts_with(&fails), "{}", job());
    scene.db.sql("ALTER FOREIGN TABLE source OPTIONS (ADD missing_topic 'fail')");
    scene.db.sql("SELECT gpss.start_job('load'); SELECT gpss.wait_job('load', '30 s')");
    assert!(job().starts_with(&fails), "{}", job());
    assert!(scene.db.error("SELECT * FROM source").contains(&missing));
}

#[test]
fn a_topic_in_another_case_is_named() {
    let scene = Scene::new(1);
    let name = scene.topic.name.clone();
    scene.source_and_target("n int", "format 'json'");
    let wrong = name.to_uppercase();
    scene.db.sql(&format!("ALTER FOREIGN TABLE source OPTIONS (SET topic '{wrong}')"));
    let hint = format!("There is a topic \"{name}\".");
    let error = scene.db.error("SELECT * FROM source");
    assert!(error.contains(&format!("Kafka topic \"{wrong}\" does not exist")), "{error}");
    assert!(error.contains(&hint), "{error}");
    scene.db.sql("SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass)");
    let check = "SELECT status, hint FROM gpss.check('load') WHERE component = 'topic'";
    assert_eq!(scene.db.sql(check), format!("failed|{hint}"));
    scene.db.sql(
        "SELECT gpss.start_job('load', quit_at_eof => true); SELECT gpss.wait_job('load', '30 s')",
    );
    let errmsg = scene.db.sql("SELECT errmsg FROM gpss.jobs");
    assert!(errmsg.contains(&hint), "{errmsg}");
}

#[test]
fn a_chosen_partition_that_is_not_there_is_an_error_for_all() {
    let scene = Scene::new(2);
    scene.topic.send_numbers(0..10);
    scene.source_and_target("n int", "format 'json', partitions '0, 2'");
    let missing = format!("topic \"{}\" has no partition 2", scene.topic.name);
    assert!(scene.db.error("SELECT * FROM source").contains(&missing));
    scene.db.sql("SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass)");
    let check = "SELECT string_agg(detail, ' ') FROM gpss.check('load') WHERE status = 'failed'";
    assert_eq!(scene.db.sql(check), missing);
    scene.db.sql("SELECT gpss.start_job('load'); SELECT gpss.wait_job('load', '30 s')");
    let job = scene.db.sql("SELECT status, errmsg FROM gpss.jobs");
    assert!(job.starts_with(&format!("JOB_ERROR|{missing}")), "{job}");
    assert_eq!(scene.db.sql("SELECT count(*) FROM target"), "0");
}
