//! The scene that most tests play on: numbers travel from a topic to a table, so that a loss and a
//! duplicate both show.

use crate::{Broker, Cluster, Database, Topic, eventually, literal};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The name of the job that `submit` registers.
pub const JOB: &str = "numbers";

static TURN: Mutex<()> = Mutex::new(());

pub struct Scene {
    pub db: Database,
    pub topic: Topic,
    pub cluster: Cluster,
    pub broker: Broker,
    /// Last, so that the next test begins after all the rest is gone.
    _turn: MutexGuard<'static, ()>,
}

impl Scene {
    /// With the library preloaded, as the README recommends.
    pub fn new(partitions: u32) -> Self {
        Self::on("e2e", &[], partitions)
    }

    pub fn without_preload(partitions: u32) -> Self {
        Self::on("e2e-plain", &["--no-preload"], partitions)
    }

    /// In a server that has five worker processes for everybody.
    pub fn with_few_workers(partitions: u32) -> Self {
        Self::on("e2e-few", &["max_worker_processes=5"], partitions)
    }

    /// In a server whose statements pgaudit watches.
    pub fn audited(partitions: u32) -> Self {
        let preloaded = ["--no-preload", "shared_preload_libraries=gpss,pgaudit"];
        Self::on("e2e-audit", &preloaded, partitions)
    }

    fn on(cluster: &'static str, options: &[&str], partitions: u32) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = Cluster::up(cluster, options);
        let broker = Broker::up("e2e");
        let topic = broker.topic(partitions);
        let db = cluster.database();
        db.sql("CREATE TABLE numbers (n int)");
        Scene { db, topic, cluster, broker, _turn: turn }
    }

    /// A load configuration, version 1, that takes `n` into `numbers`.
    pub fn config(&self, error_limit: u32, max_row: u32) -> String {
        self.config_for(&self.db, error_limit, max_row)
    }

    /// The same for another database of the cluster.
    pub fn config_for(&self, db: &Database, error_limit: u32, max_row: u32) -> String {
        format!(
            "DATABASE: {database}
USER: postgres
HOST: localhost
PORT: 5432
KAFKA:
   INPUT:
      SOURCE:
         BROKERS: {brokers}
         TOPIC: {topic}
      COLUMNS:
         - NAME: jdata
           TYPE: json
      FORMAT: json
      ERROR_LIMIT: {error_limit}
   OUTPUT:
      TABLE: numbers
      MAPPING:
         - NAME: n
           EXPRESSION: (jdata->>'n')::int
   COMMIT:
      MAX_ROW: {max_row}
      MINIMAL_INTERVAL: 200
",
            database = db.name,
            brokers = self.broker.address,
            topic = self.topic.name,
        )
    }

    /// Makes the server `kafka` with the scene's broker.
    pub fn server(&self) {
        self.db.sql(&format!(
            "CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '{}')",
            self.broker.address
        ));
    }

    /// Makes a foreign table of that server over the scene's topic.
    pub fn table(&self, name: &str, columns: &str, options: &str) {
        self.db.sql(&format!(
            "CREATE FOREIGN TABLE {name} ({columns}) SERVER kafka OPTIONS (topic '{}', {options})",
            self.topic.name
        ));
    }

    /// Makes the server, the foreign table `source`, and `target` with the same columns.
    pub fn source_and_target(&self, columns: &str, options: &str) {
        self.server();
        self.table("source", columns, options);
        self.db.sql("CREATE TABLE target (LIKE source)");
    }

    /// Loads what is in the topic from `source` into `target` by the job `load`.
    pub fn load_source(&self) {
        self.db.sql("SELECT gpss.submit_job('load', 'source'::regclass, 'target'::regclass)");
        self.run("load");
    }

    /// Runs a job to the end of the topic; it may reject messages.
    pub fn run(&self, job: &str) {
        self.db.sql(&format!(
            "SELECT gpss.start_job('{job}', quit_at_eof => true);
             SELECT gpss.wait_job('{job}', '60 s')"
        ));
        let status = format!("SELECT status, errmsg FROM gpss.jobs WHERE name = '{job}'");
        let status = self.db.sql(&status);
        let rejected = status.contains("rejected and not loaded\nHINT: gpss.errors");
        assert!(
            status == "JOB_SUCCESS|" || (status.starts_with("JOB_SUCCESS|") && rejected),
            "{status}"
        );
    }

    /// A configuration as an SQL literal, with the scene's broker and topic in the places of
    /// `THE_ADDRESS` and `THE_TOPIC`.
    pub fn placed(&self, config: &str) -> String {
        let config = config.replace("THE_ADDRESS", &self.broker.address);
        literal(&config.replace("THE_TOPIC", &self.topic.name))
    }

    /// Registers the job with batches of at most `max_row` messages.
    pub fn submit(&self, max_row: u32) {
        let config = literal(&self.config(25, max_row));
        self.db.sql(&format!("SELECT gpss.submit_job('{JOB}', {config})"));
    }

    pub fn start(&self) {
        self.db.sql(&format!("SELECT gpss.start_job('{JOB}')"));
    }

    /// Loads everything that is in the topic now, and waits for it.
    pub fn load_to_the_end(&self) {
        self.db.sql(&format!(
            "SELECT gpss.start_job('{JOB}', quit_at_eof => true);
             SELECT gpss.wait_job('{JOB}', '120 s')"
        ));
        assert_eq!(self.status(), "JOB_SUCCESS");
    }

    pub fn stop(&self) {
        self.db.sql(&format!("SELECT gpss.stop_job('{JOB}')"));
    }

    pub fn status(&self) -> String {
        self.db.sql(&format!("SELECT status FROM gpss.jobs WHERE name = '{JOB}'"))
    }

    /// Rows loaded; zero as well while the server takes no connection.
    pub fn rows(&self) -> i64 {
        let answer = self.db.try_sql("SELECT count(*) FROM numbers");
        answer.ok().and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// The process ids of the job's workers in this test's database.
    pub fn workers(&self) -> Vec<i64> {
        let answer = self.db.try_sql(
            "SELECT pid FROM pg_stat_activity
             WHERE datname = current_database()
               AND backend_type = 'gpss loader'",
        );
        answer.unwrap_or_default().lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Waits until all of these numbers are there, and makes sure that each is there once.
    pub fn expect_exactly(&self, numbers: Range<u32>) {
        let expected = i64::from(numbers.end - numbers.start);
        eventually(&format!("{expected} rows"), 180, || self.rows() >= expected);
        let got = self.db.sql("SELECT count(*), count(DISTINCT n), min(n), max(n) FROM numbers");
        let (first, last) = (numbers.start, numbers.end - 1);
        assert_eq!(got, format!("{expected}|{expected}|{first}|{last}"));
    }

    /// Makes every statement on the target take a while, so that a test can strike in between.
    pub fn slow_down(&self, milliseconds: u32) {
        self.db.sql(&format!(
            "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_sleep({milliseconds} / 1000.0); RETURN NULL; END $$;
             CREATE TRIGGER linger BEFORE INSERT ON numbers EXECUTE FUNCTION linger()"
        ));
    }
}
