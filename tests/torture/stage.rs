//! The stage: server, broker, topic, table and the job between them.

use crate::producer::{Ledger, PARTITIONS};
use gpss_testbed::{Broker, Cluster, Database, Topic, eventually};
use std::time::{Duration, Instant};

/// Within this, loading has to go on after a fault.
const PATIENCE: Duration = Duration::from_secs(90);

pub struct Stage {
    pub db: Database,
    pub topic: Topic,
    pub cluster: Cluster,
    pub broker: Broker,
}

impl Stage {
    pub fn set() -> Self {
        let cluster = Cluster::up("torture", &["max_prepared_transactions=4"]);
        let broker = Broker::up("torture");
        let topic = broker.topic(PARTITIONS as u32);
        let db = cluster.database();
        db.sql(&format!(
            "CREATE TABLE numbers (n bigint PRIMARY KEY, size int CHECK (size >= 0),
                 note text NOT NULL, part bigint, off bigint);
             CREATE SERVER kafka FOREIGN DATA WRAPPER gpss OPTIONS (brokers '{}');
             CREATE FOREIGN TABLE source (doc json, part int OPTIONS (source 'partition'),
                 off bigint OPTIONS (source 'offset')) SERVER kafka OPTIONS (topic '{}');
             SELECT gpss.submit_job('numbers', 'source'::regclass, 'numbers'::regclass,
                 mapping => '{{\"n\": \"(doc->>''n'')::bigint\", \"size\": \"(doc->>''size'')::int\",
                     \"note\": \"doc->>''note''\", \"part\": \"part\", \"off\": \"off\"}}',
                 max_row => 5000, minimal_interval => 200, workers => 2);
             SELECT gpss.start_job('numbers')",
            topic.brokers(),
            topic.name,
        ));
        Stage { db, topic, cluster, broker }
    }

    /// The processes of a kind, as `backend_type` names it.
    pub fn pids(&self, backend_type: &str) -> Vec<i64> {
        let sql = format!(
            "SELECT pid FROM pg_stat_activity
             WHERE datname = current_database() AND backend_type = '{backend_type}' ORDER BY pid"
        );
        let answer = self.db.try_sql(&sql).unwrap_or_default();
        answer.lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// The server takes connections, after a recovery of its own perhaps.
    pub fn await_server(&self) {
        eventually("the server answers", 60, || self.db.try_sql("SELECT 1").is_ok());
    }

    /// The next offset of each partition; zeros as long as it is not known.
    pub fn offsets(&self) -> Vec<i64> {
        let sql =
            "SELECT part, next_offset FROM gpss.progress, LATERAL (SELECT partition) p (part)";
        let answer = self.db.try_sql(sql).unwrap_or_default();
        let mut offsets = vec![0; PARTITIONS as usize];
        for (partition, offset) in answer.lines().filter_map(|line| line.split_once('|')) {
            let partition: usize = partition.parse().expect("a partition");
            offsets[partition] = offset.parse().expect("an offset");
        }
        offsets
    }

    /// Waits until the first `sent` messages have been taken and the job says that it runs.
    pub fn await_loaded(&self, sent: i64) -> Result<Duration, String> {
        let begun = Instant::now();
        loop {
            let status = self.db.try_sql("SELECT status FROM gpss.jobs").unwrap_or_default();
            let offsets = self.offsets();
            let behind = (0..PARTITIONS).find(|p| offsets[*p as usize] < Ledger::share(sent, *p));
            if behind.is_none() && status == "JOB_RUNNING" {
                return Ok(begun.elapsed());
            }
            if ["JOB_ERROR", "JOB_STOPPED", "JOB_SUCCESS"].contains(&status.as_str()) {
                return Err(format!("the job has ended\n{}", self.describe()));
            }
            if begun.elapsed() > PATIENCE {
                return Err(match behind {
                    Some(partition) => format!(
                        "after {PATIENCE:?} partition {partition} is at offset {}, the end was {}\n{}",
                        offsets[partition as usize],
                        Ledger::share(sent, partition),
                        self.describe()
                    ),
                    None => format!(
                        "the job loads, but says {status} after {PATIENCE:?}\n{}",
                        self.describe()
                    ),
                });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// How things are, for who has to find out why they are not otherwise.
    pub fn describe(&self) -> String {
        [
            "SELECT * FROM gpss.jobs",
            "SELECT * FROM gpss.progress ORDER BY partition",
            "SELECT * FROM gpss.worker ORDER BY slot",
            "SELECT pid, backend_type, state, wait_event_type, wait_event, xact_start, query
             FROM pg_stat_activity WHERE backend_type LIKE 'gpss %' OR xact_start IS NOT NULL",
            "SELECT * FROM pg_locks WHERE objsubid = 26480 OR relation = 'numbers'::regclass",
            "SELECT * FROM pg_prepared_xacts",
        ]
        .map(|sql| format!("{sql}\n{}\n", self.db.try_sql(sql).unwrap_or_else(|error| error)))
        .concat()
    }
}
