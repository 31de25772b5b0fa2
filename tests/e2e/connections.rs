//! Listeners that expect something else than the client: what librdkafka knows of it is told.

use gpss_testbed::{Scene, eventually};
use std::net::TcpListener;

/// What `check`, a query and a job say of these brokers: each names the reason and a step.
fn expect(scene: &Scene, brokers: &str, options: &str, wanted: &[&str]) {
    scene.db.sql(&format!(
        "DROP SERVER IF EXISTS kafka CASCADE;
         CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '{brokers}'{options})"
    ));
    scene.table("source", "n int", "format 'json'");
    scene.db.sql("SELECT gpss.submit_job('load', 'source'::regclass, 'numbers'::regclass)");
    scene.db.sql("SELECT gpss.start_job('load')");
    let check = "SELECT detail || ' ' || hint FROM gpss.check('load') WHERE status = 'failed'";
    let errmsg = || scene.db.sql("SELECT status || ' ' || errmsg FROM gpss.jobs");
    let told = [scene.db.sql(check), scene.db.error("SELECT * FROM source")];
    eventually("the job says it", 60, || wanted.iter().all(|text| errmsg().contains(text)));
    assert!(errmsg().starts_with("JOB_RETRYING"), "{}", errmsg());
    for text in wanted {
        for told in &told {
            assert!(told.contains(text), "{text} is not in {told}");
        }
    }
    scene.db.sql("SELECT gpss.stop_job('load'), gpss.remove_job('load')");
}

#[test]
fn a_listener_that_hangs_up_is_told_from_one_that_is_not_there() {
    let scene = Scene::new(1);
    let port = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("its address").to_string();
    std::thread::spawn(move || port.incoming().for_each(drop));
    expect(&scene, &address, "", &["Disconnected", "Check that a Kafka broker listens there"]);
    let tls = scene.broker.ssl_address();
    expect(&scene, &tls, "", &["Disconnected", "the listener may expect TLS"]);
    let sasl = scene.broker.sasl_address();
    expect(&scene, &sasl, "", &["Disconnected", "the sasl.* properties"]);
}

#[test]
fn an_answer_that_is_too_large_is_told_until_it_can_be_read() {
    let scene = Scene::new(1);
    scene
        .topic
        .send_bytes(0, format!("{{\"n\": 1, \"pad\": \"{}\"}}", "x".repeat(100_000)).as_bytes());
    let small = ", \"fetch.max.bytes\" '1024', \"message.max.bytes\" '1024',
                 \"receive.message.max.bytes\" '20000'";
    let wanted = ["too large", "receive.message.max.bytes", "Set receive.message.max.bytes higher"];
    scene.server();
    scene.db.sql("DROP SERVER kafka");
    scene.db.sql(&format!(
        "CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '{}'{small})",
        scene.broker.address
    ));
    scene.table("source", "n int", "format 'json'");
    let error = scene.db.error("SELECT * FROM source");
    for text in wanted {
        assert!(error.contains(text), "{text} is not in {error}");
    }
    scene.db.sql("SELECT gpss.submit_job('load', 'source'::regclass, 'numbers'::regclass)");
    scene.db.sql("SELECT gpss.start_job('load')");
    let errmsg = || scene.db.sql("SELECT status || ' ' || errmsg FROM gpss.jobs");
    eventually("the job says it", 60, || wanted.iter().all(|text| errmsg().contains(text)));
    let since = || scene.db.sql("SELECT since, errmsg FROM gpss.jobs");
    let first = since();
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(since(), first, "it does not flap");
    scene.db.sql("SELECT gpss.stop_job('load')");
    scene.db.sql("ALTER SERVER kafka OPTIONS (DROP \"receive.message.max.bytes\")");
    scene.run("load");
    assert_eq!(scene.rows(), 1);
}
