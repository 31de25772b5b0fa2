//! What an end-to-end test stands on: a `Scene` of one server, one broker, a database and a topic of
//! its own, and a `Registry` where a test asks for it. The scripts in `pg_test/` do the work; tests
//! take turns, since some of them kill what they share.
//!
//! | file | owns |
//! | --- | --- |
//! | `scene` | what most tests play on: numbers from a topic to a table |
//! | `cluster` | servers, databases, psql |
//! | `broker` | brokers and topics |
//! | `admin` | Kafka's admin client |
//! | `producer` | messages that kcat cannot send |
//! | `registry` | schema registries |
//! | `token_endpoint` | an OIDC provider |
//! | `empty_broker` | a broker that names no broker |
//! | `encode` | Avro and Protobuf by hand |
//! | `twins` | a job's target beside a table that PostgreSQL alone has filled |

#![forbid(unsafe_code)]

mod admin;
mod broker;
mod cluster;
mod empty_broker;
pub mod encode;
mod producer;
mod registry;
mod scene;
mod token_endpoint;
pub mod twins;

pub use broker::{Broker, Topic};
pub use cluster::{Cluster, Database, literal};
pub use empty_broker::EmptyBroker;
pub use producer::{Producer, Record, value};
pub use registry::{Reference, Registry, USER_AND_PASSWORD};
pub use scene::{JOB, Scene};
pub use token_endpoint::{CLIENT_ID, CLIENT_SECRET, TokenEndpoint};

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The project's directory.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs a script of `pg_test/`; its output without the last line break. Panics when it fails.
fn script(name: &str, args: &[&str]) -> String {
    succeed(Command::new(root().join("pg_test").join(name)).args(args))
}

/// Runs a command; its output without the last line break. Panics when it fails.
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?} failed:\n{}", stderr(&output));
    String::from_utf8(output.stdout).expect("output in UTF-8").trim_end().to_string()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A name that no other test has, in this run or another.
fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Polls until `condition` holds; panics with `what` when it does not within `seconds`.
pub fn eventually(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !condition() {
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// SIGSTOP and SIGCONT.
pub fn pause(pid: i64) {
    succeed(Command::new("kill").args(["-STOP", &pid.to_string()]));
}

pub fn resume(pid: i64) {
    succeed(Command::new("kill").args(["-CONT", &pid.to_string()]));
}

/// SIGKILL.
pub fn kill_hard(pid: i64) {
    signal(pid, "KILL");
}

/// A signal by its name without `SIG`.
pub fn signal(pid: i64, name: &str) {
    succeed(Command::new("kill").args(["-s", name, &pid.to_string()]));
}
