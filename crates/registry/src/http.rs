//! One HTTP request to one address: a bounded answer in bounded time, and why there is none.

use std::fmt;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::crypto::CryptoProvider;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use super::address::Address;
use super::config::{MinTls, RegistryConfig};
use gpss_model::error::{Error, Result, SqlState};

/// How long one address may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    pub connect: Duration,
    /// From the request to the answer's last byte, connecting included.
    pub request: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Deadlines { connect: Duration::from_secs(5), request: Duration::from_secs(10) }
    }
}

/// How long a connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(5);
/// Longest answer, in bytes.
pub(super) const MAX_ANSWER: usize = 16 << 20;
/// What a registry's answers are; older ones give plain JSON.
const ACCEPT: &str = "application/vnd.schemaregistry.v1+json, application/json";
/// Longest file with certificates or a key, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// A client for all addresses of a registry.
pub(super) struct Http {
    agent: ureq::Agent,
    deadlines: Deadlines,
}

/// What an address answered.
pub(super) struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Why an address gave no answer, in words that may be shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// Certificates: it was reached, but cannot be trusted, or does not trust us.
    Tls(String),
    Other(String),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Silence::Tls(reason) | Silence::Other(reason) => f.write_str(reason),
        }
    }
}

impl Http {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// `INVALID_PARAMETER` for a file that cannot be read or holds something else.
    pub fn new(config: &RegistryConfig, tls: bool, deadlines: Deadlines) -> Result<Http> {
        let mut builder = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A redirect is not followed: it would take the credentials elsewhere.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // Nor is a proxy that the server's environment names by chance.
            .proxy(None)
            .user_agent("gpss")
            .accept(ACCEPT)
            .timeout_connect(Some(deadlines.connect))
            .timeout_global(Some(deadlines.request))
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(IDLE);
        if tls {
            builder = builder.tls_config(tls_config(config)?);
        }
        let connector = DefaultConnector::default();
        let agent = ureq::Agent::with_parts(builder.build(), connector, OwnThread);
        Ok(Http { agent, deadlines })
    }

    /// Asks an address for a path.
    pub fn get(
        &self,
        address: &Address,
        path: &str,
        login: Option<&(String, String)>,
    ) -> std::result::Result<Answer, Silence> {
        let mut request = self.agent.get(format!("{}{path}", address.url));
        if let Some((user, password)) = login.or(address.login.as_ref()) {
            let login = BASE64_STANDARD.encode(format!("{user}:{password}"));
            request = request.header("Authorization", format!("Basic {login}"));
        }
        let mut response = request.call().map_err(|error| self.silence(error))?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(MAX_ANSWER as u64).read_to_vec();
        Ok(Answer { status, body: body.map_err(|error| self.silence(error))? })
    }

    /// Ends the requests in flight and refuses new ones.
    pub fn close(&self) {
        self.agent.clone().shutdown();
    }

    fn silence(&self, error: ureq::Error) -> Silence {
        use ureq::Error as E;
        match error {
            E::Rustls(error) => tls(&error),
            E::Tls(reason) => Silence::Tls(reason.to_owned()),
            E::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(error) => tls(error),
                None => Silence::Other(lower(&error.to_string())),
            },
            E::Timeout(ureq::Timeout::Connect) => Silence::Other(format!(
                "no connection within {} s",
                self.deadlines.connect.as_secs()
            )),
            E::Timeout(_) => {
                Silence::Other(format!("no answer within {} s", self.deadlines.request.as_secs()))
            }
            E::BodyExceedsLimit(_) => {
                Silence::Other(format!("the answer is longer than {MAX_ANSWER} bytes"))
            }
            E::HostNotFound => Silence::Other("host not found".to_owned()),
            // The library's words name hosts at most: it gets no credentials but in a header.
            error => Silence::Other(lower(&error.to_string())),
        }
    }
}

/// Resolves names on the thread that asks: the library would start another one to have a deadline,
/// and a thread that takes signals must not exist in a server process. The system's resolver has
/// deadlines of its own (resolv.conf).
#[derive(Debug)]
struct OwnThread;

impl Resolver for OwnThread {
    fn resolve(
        &self,
        uri: &ureq::http::Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> std::result::Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let mut found = self.empty();
        // As many as the library's own resolver gives.
        for address in (host, port).to_socket_addrs()?.take(16) {
            found.push(address);
        }
        if found.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(found) }
    }
}

fn tls(error: &rustls::Error) -> Silence {
    Silence::Tls(format!("TLS: {error}"))
}

/// Text that begins in lower case, as a part of a sentence.
fn lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

fn tls_config(config: &RegistryConfig) -> Result<TlsConfig> {
    let roots = match &config.ca {
        Some(path) => certificates("schema_ca", path)?,
        // The system's store, as other programs of this host use it. What of it cannot be read is
        // missing, no more: the handshake says when it was needed.
        None => rustls_native_certs::load_native_certs()
            .certs
            .iter()
            .map(|certificate| Certificate::from_der(certificate).to_owned())
            .collect(),
    };
    let provider = Arc::new(provider(config.min_tls));
    let client = match (&config.cert, &config.key) {
        (Some(cert), Some(key)) => Some(client_cert(cert, key, &provider)?),
        _ => None,
    };
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .client_cert(client)
        .unversioned_rustls_crypto_provider(provider)
        .build())
}

/// The ciphers to speak with, which say what versions are spoken: 1.3 has its own ones.
fn provider(min_tls: MinTls) -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    if min_tls == MinTls::V1_3 {
        provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    }
    provider
}

/// A client's certificates and its key, which have to belong together.
fn client_cert(cert: &str, key: &str, provider: &Arc<CryptoProvider>) -> Result<ClientCert> {
    let chain = certificates("schema_cert", cert)?;
    let private = private_key(key)?;
    let ders = chain.iter().map(|certificate| certificate.der().to_vec().into()).collect();
    let not_a_pair = |detail: String| {
        let message = format!("client certificate \"{cert}\" and key \"{key}\" cannot be used");
        Error::new(SqlState::INVALID_PARAMETER, message).detail(detail)
    };
    // The library would panic later.
    let pem = read("schema_key", key)?;
    let der = rustls::pki_types::pem::PemObject::from_pem_slice(&pem);
    let der = der.map_err(|e: rustls::pki_types::pem::Error| not_a_pair(e.to_string()))?;
    rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .and_then(|builder| {
            builder
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_client_auth_cert(ders, der)
        })
        .map_err(|error| not_a_pair(error.to_string()))?;
    Ok(ClientCert::new_with_certs(&chain, private))
}

fn certificates(option: &str, path: &str) -> Result<Vec<Certificate<'static>>> {
    let mut found = Vec::new();
    for item in parse_pem(&read(option, path)?) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(no_pem(option, path).detail(error.to_string())),
        }
    }
    if found.is_empty() { Err(no_pem(option, path)) } else { Ok(found) }
}

fn private_key(path: &str) -> Result<PrivateKey<'static>> {
    let pem = read("schema_key", path)?;
    PrivateKey::from_pem(&pem).map_err(|_| {
        Error::new(
            SqlState::INVALID_PARAMETER,
            format!("file \"{path}\" of option \"schema_key\" has no private key in PEM form"),
        )
        .hint("A key that is encrypted cannot be used.")
    })
}

fn no_pem(option: &str, path: &str) -> Error {
    let message = format!("file \"{path}\" of option \"{option}\" has no certificates in PEM form");
    Error::new(SqlState::INVALID_PARAMETER, message)
}

fn read(option: &str, path: &str) -> Result<Vec<u8>> {
    use std::io::Read;
    let unreadable = |reason: String| {
        let message = format!("could not read file \"{path}\" of option \"{option}\"");
        Error::new(SqlState::INVALID_PARAMETER, message).detail(reason)
    };
    let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    // A pipe or device would be read for ever.
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(unreadable("It is not a regular file.".to_owned()));
    }
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(unreadable(format!("It is longer than {MAX_FILE} bytes.")));
    }
    Ok(bytes)
}
