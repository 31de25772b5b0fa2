//! Ring 1: a client of a schema registry with Confluent's interface. Knows neither PostgreSQL nor
//! Kafka. Blocks, within deadlines, on the thread that asks and starts none of its own.
//!
//! | file | owns |
//! | --- | --- |
//! | `config` | what a client is made of |
//! | `address` | where a registry is |
//! | `http` | one request |
//! | `cache` | schemas asked for before |

#![forbid(unsafe_code)]

mod address;
mod cache;
mod config;
mod http;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use serde::Deserialize;

use address::Address;
pub use address::split_login;
use cache::{Cache, Cached};
pub use config::RegistryConfig;
use gpss_format::record::Fault;
use gpss_format::schema_id::SchemaId;
use gpss_format::schemas::{Registered, SchemaKind, Schemas};
use gpss_model::error::{Error, Result, SqlState};
use http::{Answer, Deadlines, Http, Silence};

/// Schemas that one schema may refer to, directly or not, and how far away.
const MAX_REFERENCES: usize = 256;
const MAX_DISTANCE: usize = 32;
/// Bytes of the texts of all of them.
const MAX_TEXTS: usize = 16 << 20;
/// The registry's own code for a schema that is not there (its HTTP status is 404).
const SCHEMA_NOT_FOUND: u32 = 40_403;
/// The same for a subject and for a version.
const SUBJECT_NOT_FOUND: u32 = 40_401;
const VERSION_NOT_FOUND: u32 = 40_402;
/// What an answer is that no registry should give.
const UNEXPECTED: &str = "the schema registry gives an unexpected answer";
/// Characters of an answer's message that are shown.
const SHOWN: usize = 200;

/// A schema registry, to be asked from any thread.
pub struct Registry {
    http: Http,
    addresses: Vec<Address>,
    login: Option<(String, String)>,
    /// The address that answered last.
    last: AtomicUsize,
    cache: Mutex<Cache>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Its addresses, without logins.
impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<&str> = self.addresses.iter().map(|address| address.url.as_str()).collect();
        f.write_str(&urls.join(", "))
    }
}

/// A schema in an answer, found by its id or by subject and version.
#[derive(Deserialize)]
struct Found {
    schema: String,
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    references: Option<Vec<Reference>>,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: i64,
}

/// What the registry says when it has no answer.
#[derive(Default, Deserialize)]
struct Complaint {
    #[serde(default)]
    error_code: u32,
    #[serde(default)]
    message: String,
}

/// What an answer comes to.
enum Asked {
    Body(Vec<u8>),
    /// There is no such thing.
    NotFound,
    /// An answer that no registry should give.
    Unexpected(Error),
}

impl Registry {
    /// A client; reads the files that the configuration names, but asks nobody.
    ///
    /// # Errors
    /// `INVALID_PARAMETER` for an address or a file that cannot be used.
    pub fn new(config: &RegistryConfig) -> Result<Registry> {
        Registry::with_deadlines(config, Deadlines::default())
    }

    fn with_deadlines(config: &RegistryConfig, deadlines: Deadlines) -> Result<Registry> {
        let addresses = address::parse(&config.addresses)?;
        let tls = addresses.iter().any(|address| address.tls);
        let login = match (&config.user, &config.password) {
            (None, None) => None,
            (user, password) => {
                Some((user.clone().unwrap_or_default(), password.clone().unwrap_or_default()))
            }
        };
        Ok(Registry {
            http: Http::new(config, tls, deadlines)?,
            addresses,
            login,
            last: AtomicUsize::new(0),
            cache: Mutex::default(),
        })
    }

    /// Asks whether a registry is there and answers us.
    ///
    /// # Errors
    /// As of `Schemas::schema` when it fails.
    pub fn check(&self) -> Result<()> {
        match self.ask("/subjects", &[])? {
            Asked::Body(body) => {
                match serde_json::from_slice::<Vec<serde::de::IgnoredAny>>(&body) {
                    Ok(_) => Ok(()),
                    Err(_) => Err(not_a_registry("the list of subjects is not a JSON array")),
                }
            }
            Asked::NotFound => Err(not_a_registry("it has no list of subjects")),
            Asked::Unexpected(error) => Err(error),
        }
    }

    /// Ends what other threads are asking for, without an answer, so that they need not be waited
    /// for; only names being resolved and connections being opened take their time. Nothing can be
    /// asked for afterwards.
    pub fn close(&self) {
        self.http.close();
    }

    /// Asks the addresses one after the other, first the one that answered last, until one answers.
    /// The `codes` mean that there is no such thing.
    fn ask(&self, path: &str, codes: &[u32]) -> Result<Asked> {
        let first = self.last.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        let mut tls = false;
        for turn in 0..self.addresses.len() {
            let index = (first + turn) % self.addresses.len();
            let Some(address) = self.addresses.get(index) else { continue };
            match self.http.get(address, path, self.login.as_ref()) {
                Ok(answer) if answer.status < 500 => {
                    self.last.store(index, Ordering::Relaxed);
                    return understand(address, answer, codes);
                }
                Ok(answer) => {
                    failures.push(format!("{}: {}", address.url, status_text(&answer)));
                }
                Err(silence) => {
                    tls |= matches!(silence, Silence::Tls(_));
                    failures.push(format!("{}: {silence}", address.url));
                }
            }
        }
        let error = Error::new(SqlState::CONNECTION_FAILURE, "the schema registry does not answer")
            .detail(failures.join("; "));
        Err(error.hint(if tls {
            "Check the certificates: option schema_ca names the file of the authorities to trust, \
             schema_cert and schema_key the client's own certificate and key."
        } else {
            "Check that it runs and that this server can reach one of its addresses; it is tried \
             again later."
        }))
    }

    /// Asks for a schema and all that it refers to.
    fn fetch(&self, id: SchemaId) -> Result<Registered, Fault> {
        let path = match id {
            SchemaId::Number(number) => format!("/schemas/ids/{number}"),
            SchemaId::Guid(_) => format!("/schemas/guids/{id}"),
        };
        let body = match self.ask(&path, &[SCHEMA_NOT_FOUND]).map_err(Fault::Failed)? {
            Asked::Body(body) => body,
            Asked::NotFound => {
                return Err(Fault::Bad(format!("the schema registry has no schema {id}")));
            }
            Asked::Unexpected(error) => {
                return Err(Fault::Failed(match id {
                    SchemaId::Guid(_) => error.hint(
                        "The message names its schema by a GUID, as messages with their schema's id \
                         in a header do: does the schema registry know GUIDs (GET /schemas/guids)?",
                    ),
                    SchemaId::Number(_) => error,
                }));
            }
        };
        let found = found(&body)?;
        let mut references =
            References { registry: self, id, texts: Vec::new(), asked: 0, size: 0 };
        references.add(found.references.unwrap_or_default(), 0)?;
        let kind = match found.kind.as_deref() {
            None | Some("AVRO") => SchemaKind::Avro,
            Some("PROTOBUF") => SchemaKind::Protobuf,
            Some("JSON") => SchemaKind::Json,
            Some(other) => {
                let other = other.chars().take(SHOWN).collect::<String>();
                return Err(Fault::Bad(format!("schema {id} is of an unknown type \"{other}\"")));
            }
        };
        Ok(Registered { kind, text: found.schema, references: references.texts })
    }
}

impl Schemas for Registry {
    fn schema(&self, id: SchemaId) -> Result<Arc<Registered>, Fault> {
        // Numbers are positive and have 32 bits with sign, even where eight bytes hold them.
        if let SchemaId::Number(number) = id
            && i32::try_from(number).is_err()
        {
            return Err(Fault::Bad(format!("the schema registry has no schema {id}")));
        }
        // Not held while asking: the other thread may find what it wants.
        let cached = self.cache.lock().get(id, Instant::now());
        match cached {
            Cached::Known(registered) => return Ok(registered),
            Cached::Unknown(reason) => return Err(Fault::Bad(reason)),
            Cached::Ask => {}
        }
        match self.fetch(id) {
            Ok(registered) => {
                let registered = Arc::new(registered);
                self.cache.lock().insert(id, registered.clone());
                Ok(registered)
            }
            Err(Fault::Bad(reason)) => {
                self.cache.lock().insert_unknown(id, reason.clone(), Instant::now());
                Err(Fault::Bad(reason))
            }
            Err(failed) => Err(failed),
        }
    }
}

/// Collects what a schema refers to, each before those that refer to it.
struct References<'a> {
    registry: &'a Registry,
    id: SchemaId,
    texts: Vec<(String, String)>,
    asked: usize,
    size: usize,
}

impl References<'_> {
    fn add(&mut self, references: Vec<Reference>, distance: usize) -> Result<(), Fault> {
        let id = self.id;
        if distance > MAX_DISTANCE && !references.is_empty() {
            let reason = format!("schema {id} has references over more than {MAX_DISTANCE} others");
            return Err(Fault::Bad(reason));
        }
        for Reference { name, subject, version } in references {
            if self.texts.iter().any(|(known, _)| *known == name) {
                continue;
            }
            self.asked += 1;
            if self.asked > MAX_REFERENCES {
                let reason = format!("schema {id} has more than {MAX_REFERENCES} references");
                return Err(Fault::Bad(reason));
            }
            // What is referred to may have been deleted for new users.
            let path =
                format!("/subjects/{}/versions/{version}?deleted=true", address::encode(&subject));
            let codes = [SUBJECT_NOT_FOUND, VERSION_NOT_FOUND, SCHEMA_NOT_FOUND];
            let body = match self.registry.ask(&path, &codes).map_err(Fault::Failed)? {
                Asked::Body(body) => body,
                Asked::NotFound => {
                    let subject = subject.chars().take(SHOWN).collect::<String>();
                    return Err(Fault::Bad(format!(
                        "schema {id} refers to version {version} of subject \"{subject}\", which \
                         the schema registry does not have"
                    )));
                }
                Asked::Unexpected(error) => return Err(Fault::Failed(error)),
            };
            let found = found(&body)?;
            self.size += name.len() + found.schema.len();
            if self.size > MAX_TEXTS {
                let reason = format!("the references of schema {id} exceed {MAX_TEXTS} bytes");
                return Err(Fault::Bad(reason));
            }
            self.add(found.references.unwrap_or_default(), distance + 1)?;
            self.texts.push((name, found.schema));
        }
        Ok(())
    }
}

fn found(body: &[u8]) -> Result<Found, Fault> {
    let not_a_schema = |_| Fault::Failed(not_a_registry("its answer is not a schema"));
    serde_json::from_slice(body).map_err(not_a_schema)
}

/// What an answer means that is not the server's own failure.
fn understand(address: &Address, answer: Answer, codes: &[u32]) -> Result<Asked> {
    let failed = |sqlstate, message: &str| {
        let detail = format!("{}: {}", address.url, status_text(&answer));
        Error::new(sqlstate, message).detail(detail)
    };
    match answer.status {
        200..=299 => Ok(Asked::Body(answer.body)),
        404 if codes.contains(&complaint(&answer).error_code) => Ok(Asked::NotFound),
        401 | 403 => Err(failed(
            SqlState::INVALID_AUTHORIZATION,
            "the schema registry does not admit this client",
        )
        .hint("Check the user and password, or the client certificate, for the schema registry.")),
        300..=399 => Err(failed(
            SqlState::CONNECTION_FAILURE,
            "the schema registry redirects to another address",
        )
        .hint("Redirects are not followed. Give the address where the schema registry is.")),
        429 => Err(failed(SqlState::CONNECTION_FAILURE, "the schema registry is too busy")),
        _ => Ok(Asked::Unexpected(
            failed(SqlState::CONNECTION_FAILURE, UNEXPECTED)
                .hint("Check the address, and its path if the schema registry is behind one."),
        )),
    }
}

fn complaint(answer: &Answer) -> Complaint {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

/// An answer's status with what the registry says to it.
fn status_text(answer: &Answer) -> String {
    let message = complaint(answer).message;
    let message = message.chars().filter(|c| !c.is_control()).take(SHOWN).collect::<String>();
    match message.as_str() {
        "" => format!("HTTP status {}", answer.status),
        message => format!("HTTP status {}, \"{message}\"", answer.status),
    }
}

fn not_a_registry(detail: &str) -> Error {
    Error::new(SqlState::CONNECTION_FAILURE, UNEXPECTED)
        .detail(detail)
        .hint("Check the address, and its path if the schema registry is behind one.")
}

#[cfg(test)]
mod tests;
