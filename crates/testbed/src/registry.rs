//! The schema registry of `pg_test/registry`: Confluent's API over HTTP and, in several ways, over TLS.
//! Tests that use it hold a `Scene`, and with it their turn: all share one registry.

use crate::script;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What `Registry::with_password` asks for, and how a request says it.
pub const USER_AND_PASSWORD: &str = "gpss:secret";
const AUTHORIZATION: &str = "Basic Z3BzczpzZWNyZXQ=";

const TIMEOUT: Duration = Duration::from_secs(30);

/// A registry; each schema in it has an id that is the same after a restart.
pub struct Registry {
    name: &'static str,
    /// Its addresses and its certificates; the same after a restart.
    environment: HashMap<String, String>,
}

/// What a schema names that is defined in another subject.
#[derive(Clone, Copy)]
pub struct Reference<'a> {
    /// The full name of a type (Avro) or what `import` says (Protobuf).
    pub name: &'a str,
    pub subject: &'a str,
    pub version: u32,
}

impl Registry {
    /// The one that anybody may ask. Made, started and resumed when it has to be.
    pub fn shared() -> Self {
        Self::up("e2e", &[])
    }

    /// A second one, which refuses requests without `USER_AND_PASSWORD`.
    pub fn with_password() -> Self {
        Self::up("e2e-password", &["--password", USER_AND_PASSWORD])
    }

    fn up(name: &'static str, options: &[&str]) -> Self {
        script("registry", &[&[name, "up"], options].concat());
        let environment = script("registry", &[name, "env"])
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        Registry { name, environment }
    }

    /// The base URL over HTTP, with a path and without a slash at its end; as the other addresses.
    pub fn address(&self) -> &str {
        &self.environment["ADDRESS"]
    }

    /// HTTPS; asks for no certificate.
    pub fn tls_address(&self) -> &str {
        &self.environment["TLS"]
    }

    /// HTTPS; refuses who does not show a certificate of `ca`.
    pub fn mutual_tls_address(&self) -> &str {
        &self.environment["MUTUAL_TLS"]
    }

    /// HTTPS; speaks TLS 1.2 at most.
    pub fn old_tls_address(&self) -> &str {
        &self.environment["OLD_TLS"]
    }

    /// HTTPS; its certificate, though of `ca`, is for other addresses.
    pub fn misnamed_tls_address(&self) -> &str {
        &self.environment["MISNAMED_TLS"]
    }

    /// File of the CA's certificate, in PEM as the next two.
    pub fn ca(&self) -> &str {
        &self.environment["CA"]
    }

    pub fn client_cert(&self) -> &str {
        &self.environment["CLIENT_CERT"]
    }

    /// Readable for the server's user alone.
    pub fn client_key(&self) -> &str {
        &self.environment["CLIENT_KEY"]
    }

    /// Adds a version of a subject, whose name needs no escaping in a URL. `schema_type` is `AVRO` or
    /// `PROTOBUF`. The schema's id: the same for the same schema in another subject.
    pub fn register(
        &self,
        subject: &str,
        schema: &str,
        schema_type: &str,
        references: &[Reference],
    ) -> u32 {
        let references: Vec<Value> = references
            .iter()
            .map(|r| json!({"name": r.name, "subject": r.subject, "version": r.version}))
            .collect();
        let body = json!({"schema": schema, "schemaType": schema_type, "references": references});
        let answer = self.post(&format!("/subjects/{subject}/versions"), &body.to_string());
        let answer: Value = serde_json::from_str(&answer).expect("an answer in JSON");
        let id = answer["id"].as_u64().expect("an id");
        u32::try_from(id).expect("an id of 32 bits")
    }

    /// The answer's body; panics unless it is a success.
    fn post(&self, path: &str, body: &str) -> String {
        let url = self.address().strip_prefix("http://").expect("HTTP");
        let (host, base) = url.split_once('/').expect("a path");
        let length = body.len();
        // Of version 1.0, so that the answer comes in one piece and ends with the connection.
        let request = format!(
            "POST /{base}{path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: {AUTHORIZATION}\r\n\
             Content-Type: application/vnd.schemaregistry.v1+json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let mut connection = TcpStream::connect(host).expect("a connection to the registry");
        connection.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        connection.write_all(request.as_bytes()).expect("the registry reads");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("an answer in UTF-8");
        let (head, content) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert_eq!(head.split(' ').nth(1), Some("200"), "{path}\n{body}\n{answer}");
        content.to_string()
    }

    /// Connections are refused until `start`.
    pub fn stop(&self) {
        script("registry", &[self.name, "stop"]);
    }

    /// Takes about three seconds.
    pub fn start(&self) {
        script("registry", &[self.name, "start"]);
    }

    /// Connections are taken and nothing answers until `resume`.
    pub fn pause(&self) {
        script("registry", &[self.name, "pause"]);
    }

    pub fn resume(&self) {
        script("registry", &[self.name, "resume"]);
    }
}
