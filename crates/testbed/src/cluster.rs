//! The server of `pg_test/cluster`, databases in it, and psql as their client.

use crate::{script, stderr, succeed, unique};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

#[derive(Clone)]
pub struct Cluster {
    name: &'static str,
    /// What clients need: PGHOST, PGPORT, PGUSER and a PATH with the server's own programs.
    environment: Vec<(String, String)>,
}

impl Cluster {
    /// Makes it when it is missing, starts it when it is down.
    pub fn up(name: &'static str, options: &[&str]) -> Self {
        // The tests kill processes, not the machine: nothing would need an fsync.
        let args = [&[name, "up", "fsync=off"], options].concat();
        script("cluster", &args);
        Cluster { name, environment: environment(name) }
    }

    pub fn start(&self) {
        script("cluster", &[self.name, "start"]);
    }

    /// A shutdown: fast, immediate or smart.
    pub fn stop(&self, mode: &str) {
        script("cluster", &[self.name, "stop", mode]);
    }

    /// A standby of this server, in the cluster of that name, that has all that is committed here.
    pub fn standby(&self, name: &'static str) -> Self {
        script("cluster", &[name, "standby", self.name]);
        Cluster { name, environment: environment(name) }
    }

    pub fn promote(&self) {
        script("cluster", &[self.name, "promote"]);
    }

    pub fn destroy(&self) {
        script("cluster", &[self.name, "destroy"]);
    }

    /// The database of that name, which is there already.
    pub fn existing_database(&self, name: &str) -> Database {
        Database { cluster: self.clone(), name: name.to_string() }
    }

    /// A fast shutdown and a start.
    pub fn restart(&self) {
        script("cluster", &[self.name, "restart"]);
    }

    /// SIGKILL to the postmaster; returns when all its children have ended.
    pub fn kill(&self) {
        script("cluster", &[self.name, "kill"]);
    }

    /// SIGKILL to the postmaster and to all its children.
    pub fn kill_whole(&self) {
        script("cluster", &[self.name, "kill", "whole"]);
    }

    /// The working directory of all processes of the server.
    pub fn data(&self) -> PathBuf {
        let host = self.environment.iter().find(|(name, _)| name == "PGHOST");
        PathBuf::from(&host.expect("a PGHOST").1).join("data")
    }

    /// Sets a limit of one of the server's processes, as prlimit(1) takes it.
    pub fn limit(&self, pid: i64, limit: &str) {
        script("cluster", &[self.name, "limit", &pid.to_string(), limit]);
    }

    /// A small disk for a tablespace; None where nothing can be mounted. Zero: takes it away.
    pub fn disk(&self, megabytes: u32) -> Option<String> {
        let script = crate::root().join("pg_test/cluster");
        let mut command = Command::new(script);
        let output = command.args([self.name, "disk", &megabytes.to_string()]).output();
        let output = output.expect("a script");
        let disk = String::from_utf8(output.stdout).expect("a path in UTF-8");
        output.status.success().then(|| disk.trim_end().to_owned())
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        let dir = self.environment.iter().find(|(name, _)| name == "PGHOST");
        let log = format!("{}/log", dir.expect("a socket directory").1);
        String::from_utf8_lossy(&std::fs::read(log).expect("a log")).into_owned()
    }

    /// A new database of a name of its own, without the extension.
    pub fn empty_database(&self) -> Database {
        self.created_database(&[])
    }

    /// The same in an encoding.
    pub fn empty_database_in(&self, encoding: &str) -> Database {
        self.created_database(&["--template=template0", "--locale=C", "--encoding", encoding])
    }

    /// A new database in another encoding than UTF-8, with the extension.
    pub fn database_in(&self, encoding: &str) -> Database {
        let database = self.empty_database_in(encoding);
        database.sql(&format!("ALTER DATABASE {} SET client_encoding = 'UTF8'", database.name));
        database.sql("CREATE EXTENSION gpss");
        database
    }

    fn created_database(&self, options: &[&str]) -> Database {
        let database = Database { cluster: self.clone(), name: unique("db") };
        succeed(&mut self.program("createdb", &[options, &[&database.name]].concat()));
        database
    }

    /// A new database of a name of its own, with the extension.
    pub fn database(&self) -> Database {
        let database = self.empty_database();
        database.sql("CREATE EXTENSION gpss");
        database
    }

    /// One of the server's client programs.
    fn program(&self, program: &str, args: &[&str]) -> Command {
        let path = self.environment.iter().find(|(name, _)| name == "PATH");
        let bin = path.and_then(|(_, path)| path.split(':').next()).expect("a PATH");
        let mut command = Command::new(format!("{bin}/{program}"));
        command.envs(self.environment.iter().cloned()).args(args);
        command
    }
}

fn environment(cluster: &str) -> Vec<(String, String)> {
    script("cluster", &[cluster, "env"])
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

/// A database; dropped, with whatever still runs in it, when the test ends.
pub struct Database {
    cluster: Cluster,
    pub name: String,
}

impl Database {
    fn psql(&self, sql: &str) -> Output {
        let args = ["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", &self.name, "-f", "-"];
        let mut child = self
            .cluster
            .program("psql", &args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql");
        // psql may end before it has read everything: the server may be down.
        let _ = child.stdin.take().expect("a pipe").write_all(sql.as_bytes());
        child.wait_with_output().expect("psql")
    }

    /// Runs statements, each in its own transaction; the rows, `|` between columns.
    pub fn try_sql(&self, sql: &str) -> Result<String, String> {
        let output = self.psql(sql);
        if !output.status.success() {
            return Err(stderr(&output));
        }
        Ok(String::from_utf8(output.stdout).expect("output in UTF-8").trim_end().to_string())
    }

    /// As `try_sql`; panics on an error.
    pub fn sql(&self, sql: &str) -> String {
        self.try_sql(sql).unwrap_or_else(|error| panic!("{sql}\n{error}"))
    }

    /// The one number that a query returns.
    pub fn number(&self, sql: &str) -> i64 {
        let answer = self.sql(sql);
        answer.parse().unwrap_or_else(|_| panic!("{sql}\nno number: {answer:?}"))
    }

    /// The error that a statement raises, with its DETAIL and HINT; panics when it raises none.
    pub fn error(&self, sql: &str) -> String {
        self.try_sql(sql).expect_err(sql)
    }

    /// The notices and warnings of a statement that succeeds.
    pub fn notices(&self, sql: &str) -> String {
        let output = self.psql(sql);
        assert!(output.status.success(), "{sql}\n{}", stderr(&output));
        stderr(&output)
    }

    /// How many lines of the server's log have this text.
    pub fn log_lines(&self, text: &str) -> usize {
        self.cluster.log().lines().filter(|line| line.contains(text)).count()
    }

    /// pg_dump of this database, restored into a new one.
    pub fn dump_and_restore(&self) -> Database {
        self.dump_and_restore_in(&self.cluster, "postgres", &[])
    }

    /// The same in a cluster, dumped by a role and restored with pg_restore's options.
    pub fn dump_and_restore_in(
        &self,
        cluster: &Cluster,
        dumped_by: &str,
        options: &[&str],
    ) -> Database {
        let dump = std::env::temp_dir().join(unique("gpss_dump"));
        let file = dump.to_str().expect("a path in UTF-8");
        let args = ["-Fc", "-U", dumped_by, "-f", file, &self.name];
        succeed(&mut self.cluster.program("pg_dump", &args));
        let copy = cluster.empty_database();
        let args = [&["--exit-on-error", "-d", &copy.name], options, &[file]].concat();
        succeed(&mut cluster.program("pg_restore", &args));
        std::fs::remove_file(&dump).expect("the dump is there");
        copy
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let dropped =
            self.cluster.program("dropdb", &["--force", "--if-exists", &self.name]).output();
        // A test that fails may have left the server down: its own message is the one to see.
        if !std::thread::panicking() {
            let output = dropped.expect("dropdb");
            assert!(output.status.success(), "{}", stderr(&output));
        }
    }
}

/// An SQL string literal.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
