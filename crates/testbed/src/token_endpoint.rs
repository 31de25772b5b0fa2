//! The token endpoint of an OIDC provider: for a client's credentials, or for what the client has signed
//! itself, it gives tokens that the broker of `pg_test/broker` takes.

use crate::Broker;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, SystemTime};

pub const CLIENT_ID: &str = "loader";
pub const CLIENT_SECRET: &str = "unspeakable";

/// What the client's request has to begin with that signs for itself.
const SIGNED: &str = "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=";

/// Ends when dropped.
pub struct TokenEndpoint {
    pub url: String,
    end: Arc<AtomicBool>,
    provider: Arc<Provider>,
    thread: Option<JoinHandle<()>>,
}

struct Provider {
    /// File of the key that signs the tokens.
    key: String,
    /// For whom they are.
    audience: Mutex<String>,
    /// Seconds that they are good for.
    lifetime: AtomicU64,
    given: AtomicU64,
}

impl TokenEndpoint {
    /// At a free port.
    pub fn up(broker: &Broker) -> Self {
        Self::at(broker, "127.0.0.1:0", None)
    }

    /// At this address, which is free.
    pub fn up_at(broker: &Broker, address: &str) -> Self {
        Self::at(broker, address, None)
    }

    /// Over TLS, with a certificate of the broker's CA.
    pub fn over_tls(broker: &Broker) -> Self {
        let pem = broker.certificate();
        let certificate = CertificateDer::from_pem_file(&pem).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(&pem).expect("its key");
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate and its key");
        Self::at(broker, "127.0.0.1:0", Some(Arc::new(tls)))
    }

    fn at(broker: &Broker, address: &str, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}/token", listener.local_addr().expect("an address"));
        let end = Arc::<AtomicBool>::default();
        let provider = Arc::new(Provider {
            key: broker.token_key(),
            audience: Mutex::new("kafka".to_owned()),
            lifetime: AtomicU64::new(3600),
            given: AtomicU64::default(),
        });
        let (ended, answering) = (end.clone(), provider.clone());
        let thread = spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                let Ok((stream, _)) = listener.accept() else {
                    sleep(Duration::from_millis(10));
                    continue;
                };
                stream.set_nonblocking(false).expect("a stream that blocks");
                let (provider, tls) = (answering.clone(), tls.clone());
                // A client that goes away meanwhile is no fault.
                spawn(move || match tls {
                    None => provider.answer(stream),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).expect("TLS");
                        provider.answer(StreamOwned::new(connection, stream))
                    }
                });
            }
        });
        TokenEndpoint { url, end, provider, thread: Some(thread) }
    }

    /// For whom the tokens are from now on; the broker takes those for `kafka`.
    pub fn set_audience(&self, audience: &str) {
        *self.provider.audience.lock().expect("a lock") = audience.to_owned();
    }

    /// How long the tokens are good for from now on.
    pub fn set_lifetime(&self, seconds: u64) {
        self.provider.lifetime.store(seconds, Ordering::SeqCst);
    }

    /// Tokens given.
    pub fn given(&self) -> u64 {
        self.provider.given.load(Ordering::SeqCst)
    }
}

impl Drop for TokenEndpoint {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        let _ = self.thread.take().expect("dropped once").join();
    }
}

impl Provider {
    /// One request and its answer; None when the client has gone.
    fn answer(&self, stream: impl Read + Write) -> Option<()> {
        let mut stream = BufReader::new(stream);
        let (mut head, mut length) = (vec![], 0);
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok().filter(|count| *count > 0)?;
            if line.trim_end().is_empty() {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            head.push(line.trim_end().to_owned());
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).ok()?;
        let login = BASE64_STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
        let knows_secret = head.contains(&format!("Authorization: Basic {login}"))
            && body == "grant_type=client_credentials&scope=topics";
        let has_signed = body.strip_prefix(SIGNED).is_some_and(|jwt| self.has_signed(jwt));
        let (status, content) = if head.first()? != "POST /token HTTP/1.1" {
            ("404 Not Found", json!({"error": "not_found"}))
        } else if knows_secret || has_signed {
            self.given.fetch_add(1, Ordering::SeqCst);
            ("200 OK", json!({"access_token": self.token(), "token_type": "Bearer"}))
        } else {
            ("401 Unauthorized", json!({"error": "invalid_client"}))
        };
        let content = content.to_string();
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{content}",
            content.len()
        );
        stream.get_mut().write_all(answer.as_bytes()).ok()?;
        stream.get_mut().flush().ok()
    }

    fn token(&self) -> String {
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("a time").as_secs();
        let encode = |part: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        let head = encode(json!({"alg": "RS256", "typ": "JWT", "kid": "gpss"}));
        let claims = encode(json!({
            "iss": "gpss", "aud": *self.audience.lock().expect("a lock"), "sub": CLIENT_ID,
            "iat": now, "exp": now + self.lifetime.load(Ordering::SeqCst), "scope": "topics",
        }));
        let signed = format!("{head}.{claims}");
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.sign(&signed));
        format!("{signed}.{signature}")
    }

    /// Has our own key signed it? A client that is given it signs as RSA does, always alike.
    fn has_signed(&self, jwt: &str) -> bool {
        jwt.rsplit_once('.').is_some_and(|(signed, signature)| {
            BASE64_URL_SAFE_NO_PAD.encode(self.sign(signed)) == signature
        })
    }

    fn sign(&self, text: &str) -> Vec<u8> {
        let mut openssl = Command::new("openssl")
            .args(["dgst", "-sha256", "-sign", &self.key])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl");
        openssl.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("openssl reads");
        openssl.wait_with_output().expect("a signature").stdout
    }
}
