//! Clients that log in with the tokens of an OIDC provider (`sasl.oauthbearer.method` = `oidc`).

use gpss_testbed::{Broker, CLIENT_ID, CLIENT_SECRET, Scene, TokenEndpoint, eventually, literal};
use std::net::TcpListener;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The options of a foreign server whose clients get their tokens at `url`.
pub fn options(broker: &Broker, url: &str) -> String {
    format!(
        "brokers '{}', \"security.protocol\" 'sasl_plaintext', \"sasl.mechanisms\" 'OAUTHBEARER',
         \"sasl.oauthbearer.method\" 'oidc', \"sasl.oauthbearer.client.id\" '{CLIENT_ID}',
         \"sasl.oauthbearer.scope\" 'topics', \"sasl.oauthbearer.token.endpoint.url\" '{url}'",
        broker.oauth_address(),
    )
}

/// What a client shows for a token.
pub const MAPPING: &str = "CREATE USER MAPPING FOR CURRENT_USER SERVER kafka
    OPTIONS (\"sasl.oauthbearer.client.secret\" 'unspeakable')";

/// Makes the server, the foreign table `source` and the job `numbers` anew.
fn prepare(scene: &Scene, options: &str, mapping: &str) {
    scene.db.sql(&format!(
        "SELECT gpss.stop_job(name), gpss.remove_job(name) FROM gpss.jobs;
         DROP SERVER IF EXISTS kafka CASCADE;
         CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS ({options}); {mapping}"
    ));
    scene.table("source", "n int", "format 'json'");
    scene.db.sql("SELECT gpss.submit_job('numbers', 'source'::regclass, 'numbers'::regclass)");
}

/// Whatever opens a client reads the numbers up to this one.
fn everything_reads(scene: &Scene, numbers: u32) {
    let count = i64::from(numbers);
    assert_eq!(scene.db.number("SELECT count(*) FROM source"), count);
    let dryrun = "SELECT count(*) FROM gpss.dryrun('numbers', 10000)";
    // The statement, and each message.
    assert_eq!(scene.db.number(dryrun), 1 + count);
    let failed = "SELECT count(*) FROM gpss.check('numbers') WHERE status = 'failed'";
    assert_eq!(
        scene.db.number(failed),
        0,
        "{}",
        scene.db.sql("SELECT * FROM gpss.check('numbers')")
    );
    scene.start();
    scene.expect_exactly(0..numbers);
    scene.stop();
}

#[test]
fn whatever_reads_a_topic_logs_in_with_a_token() {
    let scene = Scene::new(2);
    let endpoint = TokenEndpoint::up(&scene.broker);
    prepare(&scene, &options(&scene.broker, &endpoint.url), MAPPING);
    scene.topic.send_numbers(0..5000);
    everything_reads(&scene, 5000);
    assert!(endpoint.given() >= 4, "{}", endpoint.given());
    assert!(!scene.cluster.log().contains(CLIENT_SECRET));
}

#[test]
fn a_configuration_of_gpss_names_the_provider_and_its_secret_is_kept_apart() {
    let scene = Scene::new(1);
    let endpoint = TokenEndpoint::up(&scene.broker);
    let config =
        scene.config(25, 100).replace(&scene.broker.address, &scene.broker.oauth_address())
            + &format!(
                "   PROPERTIES:
      security.protocol: SASL_PLAINTEXT
      sasl.mechanism: OAUTHBEARER
      sasl.oauthbearer.method: OIDC
      sasl.oauthbearer.client.id: {CLIENT_ID}
      sasl.oauthbearer.client.secret: {{{{secret}}}}
      sasl.oauthbearer.scope: topics
      sasl.oauthbearer.token.endpoint.url: {}
",
                endpoint.url
            );
    scene.db.sql(&format!(
        "SELECT gpss.submit_job('numbers', {}, properties => '{{\"secret\": \"{CLIENT_SECRET}\"}}')",
        literal(&config)
    ));
    scene.topic.send_numbers(0..10);
    scene.start();
    scene.expect_exactly(0..10);
    scene.stop();
    let shown = "SELECT (SELECT string_agg(j::text, ' ') FROM gpss.job_definitions j) ||
                        (SELECT string_agg(srvoptions::text, ' ') FROM pg_foreign_server)";
    let shown = scene.db.sql(shown);
    assert!(shown.contains(&endpoint.url) && !shown.contains(CLIENT_SECRET), "{shown}");
}

#[test]
fn a_running_job_renews_its_token_before_it_expires() {
    let scene = Scene::new(1);
    let endpoint = TokenEndpoint::up(&scene.broker);
    endpoint.set_lifetime(10);
    // The broker hangs up on a session that is not renewed within the token's last second: on a busy machine
    // the client may come too late for that, and connects again.
    let refusals = || scene.db.log_lines("authentication at the Kafka brokers failed");
    let before = refusals();
    prepare(&scene, &options(&scene.broker, &endpoint.url), MAPPING);
    scene.start();
    for round in 0..25 {
        scene.topic.send_numbers(round * 10..round * 10 + 10);
        sleep(Duration::from_secs(1));
    }
    scene.expect_exactly(0..250);
    eventually("the job runs", 30, || scene.status() == "JOB_RUNNING");
    assert!(endpoint.given() >= 3, "{}", endpoint.given());
    assert_eq!(refusals(), before);
}

/// A query, a check and a job say this; the query within 20 seconds.
fn told(scene: &Scene, wanted: &[&str]) {
    scene.start();
    let begun = Instant::now();
    let check = "SELECT detail || ' ' || hint FROM gpss.check('numbers') WHERE status = 'failed'";
    let error = scene.db.error("SELECT * FROM source");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let told = [scene.db.sql(check), error];
    let errmsg = || scene.db.sql("SELECT status || ' ' || errmsg FROM gpss.jobs");
    eventually("the job says it", 60, || wanted.iter().all(|text| errmsg().contains(text)));
    assert!(errmsg().starts_with("JOB_RETRYING"), "{}", errmsg());
    for text in wanted {
        for told in &told {
            assert!(told.contains(text), "{text} is not in {told}");
        }
    }
    let since = || scene.db.sql("SELECT since, errmsg FROM gpss.jobs");
    let first = since();
    sleep(Duration::from_secs(13));
    assert_eq!(since(), first, "it does not flap");
}

#[test]
fn a_token_that_cannot_be_had_is_told_until_it_can() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    let endpoint = TokenEndpoint::up(&scene.broker);
    let hint = "Check sasl.oauthbearer.token.endpoint.url, that the database server can reach it";

    // Another secret, and a word that no other test of the server logs.
    let secret = "unguessable";
    let wrong = MAPPING.replace(CLIENT_SECRET, secret);
    prepare(&scene, &options(&scene.broker, &endpoint.url), &wrong);
    told(&scene, &["invalid_client", hint]);
    assert!(!scene.cluster.log().contains(secret));
    scene.db.sql(
        "ALTER USER MAPPING FOR CURRENT_USER SERVER kafka
             OPTIONS (SET \"sasl.oauthbearer.client.secret\" 'unspeakable')",
    );
    scene.expect_exactly(0..10);
    scene.db.sql("TRUNCATE numbers");

    // Nobody is there, and then somebody is.
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    prepare(&scene, &options(&scene.broker, &format!("http://{free}/token")), MAPPING);
    told(&scene, &["Failed to connect to 127.0.0.1", hint]);
    let returned = TokenEndpoint::up_at(&scene.broker, &free.to_string());
    scene.expect_exactly(0..10);
    drop(returned);

    // It is no token endpoint.
    prepare(&scene, &options(&scene.broker, &endpoint.url.replace("/token", "/")), MAPPING);
    told(&scene, &["not_found", hint]);

    // The brokers refuse what it gives.
    endpoint.set_audience("somebody else");
    prepare(&scene, &options(&scene.broker, &endpoint.url), MAPPING);
    told(&scene, &["SASL authentication error", "Check the security and SASL properties"]);
    scene.stop();
}

#[test]
fn an_endpoint_that_does_not_answer_holds_nobody_up() {
    let scene = Scene::new(1);
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/token", silent.local_addr().expect("an address"));
    prepare(&scene, &options(&scene.broker, &url), MAPPING);
    let begun = Instant::now();
    let error = scene.db.error("SET statement_timeout = '1s'; SELECT * FROM source");
    assert!(error.contains("canceling statement due to statement timeout"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    let error = scene.db.error("SELECT * FROM source");
    assert!(error.contains("No broker answered") && error.contains("token"), "{error}");
    scene.start();
    eventually("a loader", 10, || !scene.workers().is_empty());
    let begun = Instant::now();
    scene.stop();
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    eventually("it has ended", 5, || scene.workers().is_empty());
}

#[test]
fn an_endpoint_is_asked_over_tls_and_has_to_be_the_one() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    let endpoint = TokenEndpoint::over_tls(&scene.broker);
    let plain = options(&scene.broker, &endpoint.url);
    let with_ca = format!("{plain}, \"https.ca.location\" '{}'", scene.broker.ca());
    prepare(&scene, &with_ca, MAPPING);
    everything_reads(&scene, 10);

    let pem = std::fs::read_to_string(scene.broker.ca()).expect("a certificate");
    let mapping = MAPPING.replace("OPTIONS (", &format!("OPTIONS (\"https.ca.pem\" '{pem}', "));
    prepare(&scene, &plain, &mapping);
    assert_eq!(scene.db.number("SELECT count(*) FROM source"), 10);

    prepare(&scene, &plain, MAPPING);
    let error = scene.db.error("SELECT * FROM source");
    assert!(error.contains("certificate") && error.contains("https.ca"), "{error}");
}

#[test]
fn a_client_may_sign_for_itself() {
    let scene = Scene::new(1);
    scene.topic.send_numbers(0..10);
    let endpoint = TokenEndpoint::up(&scene.broker);
    let key = std::fs::read_to_string(scene.broker.token_key()).expect("a key");
    let options = options(&scene.broker, &endpoint.url)
        .replace("\"sasl.oauthbearer.scope\" 'topics', ", "")
        + ", \"sasl.oauthbearer.grant.type\" 'urn:ietf:params:oauth:grant-type:jwt-bearer',
           \"sasl.oauthbearer.assertion.claim.sub\" 'loader'";
    let mapping = format!(
        "CREATE USER MAPPING FOR CURRENT_USER SERVER kafka
             OPTIONS (\"sasl.oauthbearer.assertion.private.key.pem\" '{key}')"
    );
    prepare(&scene, &options, &mapping);
    everything_reads(&scene, 10);
}

#[test]
fn a_client_that_cannot_be_made_says_so_at_once() {
    let scene = Scene::new(1);
    let endpoint = TokenEndpoint::up(&scene.broker);
    let options = options(&scene.broker, &endpoint.url).replace("sasl_plaintext", "sasl_ssl")
        + ", \"ssl.ca.location\" '/nowhere'";
    prepare(&scene, &options, MAPPING);
    let begun = Instant::now();
    let error = scene.db.error("SELECT * FROM source");
    assert!(
        error.contains("cannot make a Kafka consumer") && error.contains("ssl.ca.location failed"),
        "{error}"
    );
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}
