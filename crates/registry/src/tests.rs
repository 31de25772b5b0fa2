//! The client against a small server of the tests' own.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex as StdMutex;
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::config::MinTls;
use super::*;
use gpss_model::error::Class;

/// What a server does with a request's path and header: writes an answer.
type Handler = dyn Fn(&str, &str, &mut dyn Write) + Send + Sync;

struct Server {
    url: String,
    /// The paths that were asked for.
    asked: Arc<StdMutex<Vec<String>>>,
}

impl Server {
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve_with(
    tls: Option<Arc<ServerConfig>>,
    handler: impl Fn(&str, &str, &mut dyn Write) + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port());
    let asked = Arc::new(StdMutex::new(Vec::new()));
    let (seen, handler): (_, Arc<Handler>) = (asked.clone(), Arc::new(handler));
    thread::spawn(move || {
        for socket in listener.incoming() {
            let (seen, handler, tls) = (seen.clone(), handler.clone(), tls.clone());
            thread::spawn(move || {
                let socket: TcpStream = socket.unwrap();
                match tls {
                    None => talk(socket, &seen, &*handler),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).unwrap();
                        talk(StreamOwned::new(connection, socket), &seen, &*handler);
                    }
                }
            });
        }
    });
    Server { url, asked }
}

fn talk(mut stream: impl Read + Write, seen: &StdMutex<Vec<String>>, handler: &Handler) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    seen.lock().unwrap().push(path.clone());
    handler(&path, &head, &mut stream);
    let _ = stream.flush();
}

fn answer(out: &mut dyn Write, status: u16, body: &str) {
    let length = body.len();
    let _ = write!(
        out,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
}

/// A server that gives the same bodies for the same paths, and 404 for others.
fn serve(bodies: &[(&str, &str)]) -> Server {
    let bodies: HashMap<String, String> =
        bodies.iter().map(|(path, body)| ((*path).to_owned(), (*body).to_owned())).collect();
    serve_with(None, move |path, _, out| match bodies.get(path) {
        Some(body) => answer(out, 200, body),
        None => answer(out, 404, r#"{"error_code":40403,"message":"Schema not found"}"#),
    })
}

fn serve_status(status: u16, body: &'static str) -> Server {
    serve_with(None, move |_, _, out| answer(out, status, body))
}

/// An address where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port())
}

fn config(addresses: &str) -> RegistryConfig {
    RegistryConfig { addresses: addresses.to_owned(), ..RegistryConfig::default() }
}

fn client(config: &RegistryConfig) -> Registry {
    let deadlines =
        Deadlines { connect: Duration::from_secs(2), request: Duration::from_millis(2_500) };
    Registry::with_deadlines(config, deadlines).unwrap()
}

fn registry(addresses: &str) -> Registry {
    client(&config(addresses))
}

fn number(id: u64) -> SchemaId {
    SchemaId::Number(id)
}

fn failed(result: Result<Arc<Registered>, Fault>) -> Error {
    match result {
        Err(Fault::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn bad(result: Result<Arc<Registered>, Fault>) -> String {
    match result {
        Err(Fault::Bad(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_schema_is_asked_for_once() {
    let server = serve(&[
        ("/schemas/ids/1", r#"{"schema":"\"int\""}"#),
        ("/schemas/ids/2", r#"{"schema":"x","schemaType":"PROTOBUF","references":[],"new":1}"#),
        ("/schemas/ids/3", r#"{"schema":"{}","schemaType":"JSON"}"#),
        ("/schemas/ids/4", r#"{"schema":"{}","schemaType":"XML"}"#),
        ("/subjects", r#"["a","b"]"#),
    ]);
    let registry = Arc::new(registry(&server.url));
    registry.check().unwrap();
    let other = registry.clone();
    thread::spawn(move || other.schema(number(1)).unwrap()).join().unwrap();
    for _ in 0..3 {
        let one = registry.schema(number(1)).unwrap();
        assert_eq!((one.kind, one.text.as_str()), (SchemaKind::Avro, "\"int\""));
        assert_eq!(registry.schema(number(2)).unwrap().kind, SchemaKind::Protobuf);
        assert_eq!(registry.schema(number(3)).unwrap().kind, SchemaKind::Json);
        assert_eq!(bad(registry.schema(number(4))), "schema 4 is of an unknown type \"XML\"");
        assert_eq!(bad(registry.schema(number(5))), "the schema registry has no schema 5");
        assert_eq!(
            bad(registry.schema(number(1 << 31))),
            "the schema registry has no schema 2147483648"
        );
    }
    let paths = server.asked();
    assert_eq!(paths[0], "/subjects");
    assert_eq!(paths[1..], [1, 2, 3, 4, 5].map(|id| format!("/schemas/ids/{id}")));
}

#[test]
fn the_next_address_is_asked_when_one_is_away() {
    let broken = serve_status(503, "{}");
    let good = serve(&[("/schemas/ids/1", r#"{"schema":"1"}"#)]);
    let registry = registry(&format!("{}, {}, {}", nobody(), broken.url, good.url));
    assert_eq!(registry.schema(number(1)).unwrap().text, "1");
    assert_eq!(bad(registry.schema(number(2))), "the schema registry has no schema 2");
    // The one that answered is asked first from then on.
    assert_eq!((broken.asked().len(), good.asked().len()), (1, 2));
}

#[test]
fn an_address_may_be_of_ip_version_6() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        talk(socket, &StdMutex::default(), &|_, _, out| answer(out, 200, "[]"));
    });
    registry(&address).check().unwrap();
}

#[test]
fn nobody_answers() {
    let (dead, broken) =
        (nobody(), serve_status(500, r#"{"error_code":50001,"message":"no\nDB"}"#));
    let registry = registry(&format!("{dead},{}", broken.url));
    for _ in 0..2 {
        let error = failed(registry.schema(number(1)));
        assert_eq!(error.message, "the schema registry does not answer");
        assert_eq!(error.class(), Class::Environment);
        let detail = error.detail.unwrap();
        assert!(detail.contains(&dead) && detail.contains("onnection refused"), "{detail}");
        assert!(detail.contains("HTTP status 500, \"noDB\""), "{detail}");
    }
    // Such an answer is not remembered.
    assert_eq!(broken.asked().len(), 2);
    let unknown = self::registry("http://no-such-host.invalid:1");
    assert_eq!(failed(unknown.schema(number(1))).class(), Class::Environment);
}

#[test]
fn who_is_not_admitted_is_told_so_without_the_password() {
    for status in [401, 403] {
        let server = serve_status(status, r#"{"error_code":401,"message":"Unauthorized"}"#);
        let login = server.url.replace("://", "://me:geheim@");
        let registry = registry(&login);
        let error = failed(registry.schema(number(1)));
        assert_eq!(error.sqlstate, SqlState::INVALID_AUTHORIZATION);
        assert_eq!(error.class(), Class::Environment);
        assert!(error.detail.as_deref().unwrap().contains(&format!("HTTP status {status}")));
        assert!(!format!("{error:?} {registry:?}").contains("geheim"));
        assert_eq!(registry.check().unwrap_err().sqlstate, SqlState::INVALID_AUTHORIZATION);
    }
}

#[test]
fn credentials_go_into_the_header() {
    let seen = Arc::new(StdMutex::new(Vec::new()));
    let heads = seen.clone();
    let server = serve_with(None, move |_, head, out| {
        heads.lock().unwrap().push(head.to_ascii_lowercase());
        answer(out, 200, "[]");
    });
    registry(&server.url).check().unwrap();
    registry(&server.url.replace("://", "://me:a%3Ab@")).check().unwrap();
    let mut apart = config(&server.url.replace("://", "://x:y@"));
    (apart.user, apart.password) = (Some("me".to_owned()), Some("a:b".to_owned()));
    client(&apart).check().unwrap();
    let heads = seen.lock().unwrap();
    assert!(!heads[0].contains("authorization"));
    assert!(heads[0].contains("accept: application/vnd.schemaregistry.v1+json"));
    assert!(!heads[0].contains("accept-encoding"));
    let expected = format!("authorization: basic {}", BASE64.encode("me:a:b").to_lowercase());
    for head in &heads[1..] {
        assert!(head.contains(&expected), "{head}");
    }
}

#[test]
fn redirects_are_not_followed() {
    let target = serve(&[("/schemas/ids/1", r#"{"schema":"1"}"#)]);
    let url = target.url.clone();
    let server = serve_with(None, move |path, _, out| {
        let _ =
            write!(out, "HTTP/1.1 302 Found\r\nLocation: {url}{path}\r\nContent-Length: 0\r\n\r\n");
    });
    let error = failed(registry(&server.url).schema(number(1)));
    assert_eq!(error.message, "the schema registry redirects to another address");
    assert!(target.asked().is_empty());
}

#[test]
fn slow_and_endless_answers_have_an_end() {
    let silent = serve_with(None, |_, _, _| thread::sleep(Duration::from_secs(20)));
    let trickling = serve_with(None, |_, _, out| {
        let _ = write!(out, "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n");
        while out.write_all(b" ").and_then(|()| out.flush()).is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    for server in [silent, trickling] {
        let began = Instant::now();
        let error = failed(registry(&server.url).schema(number(1)));
        assert!(began.elapsed() < Duration::from_secs(4));
        assert!(error.detail.unwrap().ends_with("no answer within 2 s"));
    }
    let endless = serve_with(None, |_, _, out| {
        let _ = write!(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while out.write_all(&[b' '; 65_536]).is_ok() {}
    });
    let error = failed(registry(&endless.url).schema(number(1)));
    assert!(error.detail.unwrap().ends_with("the answer is longer than 16777216 bytes"));
    let header = serve_with(None, |_, _, out| {
        let _ = write!(out, "HTTP/1.1 200 OK\r\n");
        while out.write_all(b"X-Y: zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\r\n").is_ok() {}
    });
    assert_eq!(failed(registry(&header.url).schema(number(1))).class(), Class::Environment);
}

#[test]
fn a_request_can_be_given_up() {
    let silent = serve_with(None, |_, _, _| thread::sleep(Duration::from_secs(20)));
    let registry = Arc::new(registry(&silent.url));
    let other = registry.clone();
    let began = Instant::now();
    let asking = thread::spawn(move || failed(other.schema(number(1))));
    while silent.asked().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    registry.close();
    assert_eq!(asking.join().unwrap().class(), Class::Environment);
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(failed(registry.schema(number(2))).class(), Class::Environment);
}

#[test]
fn what_is_no_registry_is_told_so() {
    let page = serve_with(None, |path, _, out| match path {
        "/subjects" => answer(out, 200, "<html>"),
        "/schemas/ids/1" => answer(out, 404, "<html>not here</html>"),
        "/schemas/ids/2" => answer(out, 200, "[]"),
        "/schemas/ids/3" => answer(out, 200, &"[".repeat(1_000_000)),
        "/schemas/ids/4" => answer(out, 429, ""),
        "/schemas/ids/5" => drop(out.write_all(b"220 smtp.example.com ESMTP\r\n")),
        _ => answer(out, 400, r#"{"error_code":"many","message":[]}"#),
    });
    let registry = registry(&page.url);
    let unexpected = "the schema registry gives an unexpected answer";
    assert_eq!(registry.check().unwrap_err().message, unexpected);
    for id in [1, 2, 3, 6] {
        let error = failed(registry.schema(number(id)));
        assert_eq!((error.message.as_str(), error.class()), (unexpected, Class::Environment));
    }
    assert_eq!(failed(registry.schema(number(4))).message, "the schema registry is too busy");
    assert_eq!(failed(registry.schema(number(5))).message, "the schema registry does not answer");
}

/// Answers with mutilated HTTP: whatever comes of it, no panic and no wait for the deadline only.
#[test]
fn any_answer_is_survived() {
    const ANSWERS: [&str; 3] = [
        "HTTP/1.1 200 OK\r\nContent-Type: a/b; charset=utf-8\r\nContent-Length: 14\r\n\r\n\
         {\"schema\":\"1\"}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"schem\r\n7;x=y\r\na\":\"1\"}\r\n\
         0\r\nT: x\r\n\r\n",
        "HTTP/1.0 404 Not Found\r\nSet-Cookie: a=b\r\nLocation: /x\r\n\r\n\
         {\"error_code\":40403,\"message\":\"x\"}",
    ];
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = since.as_nanos() as u64 | 1;
    println!("seed {seed}");
    let random = StdMutex::new(seed);
    let server = serve_with(None, move |_, _, out| {
        let mut random = random.lock().unwrap();
        let mut below = |bound: usize| {
            *random ^= *random << 13;
            *random ^= *random >> 7;
            *random ^= *random << 17;
            (*random % bound as u64) as usize
        };
        let mut bytes = ANSWERS[below(3)].as_bytes().to_vec();
        for _ in 0..=below(4) {
            let at = below(bytes.len());
            match below(3) {
                0 => bytes[at] = b"\r\n :;,0123456789afHT\0\x7f\xff{"[below(24)],
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, below(256) as u8),
            }
        }
        let _ = out.write_all(&bytes);
    });
    let seconds = std::env::var("GPSS_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok());
    let end = Instant::now() + Duration::from_millis(seconds.map_or(500, |s: u64| s * 250));
    let (registry, mut id, mut good) = (registry(&server.url), 0, 0);
    while Instant::now() < end {
        good += u32::from(registry.schema(number(id)).is_ok());
        id += 1;
    }
    println!("{id} answers, {good} of them good");
    assert!(good > 0);
}

#[test]
fn references_come_in_the_order_of_dependency() {
    let found = |text: &str, references: &str| {
        format!(r#"{{"schema":"{text}","references":[{references}],"schemaType":"PROTOBUF"}}"#)
    };
    let reference = |name: &str, version: i32| {
        format!(r#"{{"name":"{name}","subject":"s/{name}","version":{version}}}"#)
    };
    let path =
        |name: &str, version: i32| format!("/subjects/s%2F{name}/versions/{version}?deleted=true");
    let (a, b, c) = (reference("a", 1), reference("b", 2), reference("c", 3));
    let server = serve(&[
        ("/schemas/ids/1", &found("main", &format!("{a},{b}"))),
        (&path("a", 1), &found("A", &c)),
        (&path("b", 2), &found("B", &format!("{c},{a}"))),
        (&path("c", 3), &found("C", "")),
        ("/schemas/ids/2", &found("main", &reference("gone", 1))),
        ("/schemas/ids/3", &found("main", &reference("round", 1))),
        (&path("round", 1), &found("R", &reference("round", 1))),
    ]);
    let registry = registry(&server.url);
    let main = registry.schema(number(1)).unwrap();
    let pairs = [("c", "C"), ("a", "A"), ("b", "B")];
    assert_eq!(main.references, pairs.map(|(name, text)| (name.to_owned(), text.to_owned())));
    assert_eq!(server.asked().len(), 4);
    assert_eq!(
        bad(registry.schema(number(2))),
        "schema 2 refers to version 1 of subject \"s/gone\", which the schema registry does not have"
    );
    assert_eq!(bad(registry.schema(number(3))), "schema 3 has references over more than 32 others");
}

#[test]
fn references_are_bounded() {
    let many: Vec<_> =
        (0..300).map(|n| format!(r#"{{"name":"n{n}","subject":"s","version":{n}}}"#)).collect();
    let main = format!(r#"{{"schema":"m","references":[{}]}}"#, many.join(","));
    let server = serve_with(None, move |path, _, out| match path {
        "/schemas/ids/1" => answer(out, 200, &main),
        _ => answer(out, 200, r#"{"schema":"x"}"#),
    });
    assert_eq!(
        bad(registry(&server.url).schema(number(1))),
        "schema 1 has more than 256 references"
    );
}

// TLS ---------------------------------------------------------------------------------------------

/// An authority, and files that are deleted at the end.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: std::path::PathBuf,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = std::env::temp_dir().join(format!("gpss-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Authority { issuer, folder }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn ca(&self) -> String {
        self.file("ca.pem", &self.issuer.pem())
    }

    /// A certificate and its key, as PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn serve(
        &self,
        name: &str,
        clients: bool,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Server {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(versions).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.issuer.pem().as_bytes()).unwrap()).unwrap();
        let verifier = || {
            let roots = Arc::new(roots);
            rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider).build()
        };
        let builder = if clients {
            builder.with_client_cert_verifier(verifier().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let (cert, key) = self.issue(name);
        let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let tls = builder.with_single_cert(vec![cert], key).unwrap();
        serve_with(Some(Arc::new(tls)), |_, _, out| answer(out, 200, "[]"))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn tls_error(config: &RegistryConfig) -> String {
    let error = client(config).check().unwrap_err();
    assert_eq!(error.sqlstate, SqlState::CONNECTION_FAILURE);
    assert!(error.hint.unwrap().contains("schema_ca"), "{:?}", error.detail);
    error.detail.unwrap()
}

#[test]
fn the_server_has_to_be_trusted() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = ours.serve("localhost", false, rustls::ALL_VERSIONS);
    let with_ca = |ca: Option<String>| RegistryConfig { ca, ..config(&server.url) };
    client(&with_ca(Some(ours.ca()))).check().unwrap();
    for ca in [Some(theirs.ca()), None] {
        let detail = tls_error(&with_ca(ca));
        assert!(detail.contains("TLS: invalid peer certificate"), "{detail}");
    }
    let other = ours.serve("other.name", false, rustls::ALL_VERSIONS);
    let config = RegistryConfig { ca: Some(ours.ca()), ..config(&other.url) };
    assert!(tls_error(&config).contains("not valid for name"));
    // The other address is asked when one is not trusted.
    let both = format!("{},{}", other.url, server.url);
    client(&RegistryConfig { addresses: both, ..config }).check().unwrap();
}

#[test]
fn the_client_has_a_certificate() {
    let authority = Authority::new("clients");
    let server = authority.serve("localhost", true, rustls::ALL_VERSIONS);
    let (cert, key) = authority.issue("client");
    let (cert, key) = (authority.file("cert.pem", &cert), authority.file("key.pem", &key));
    let without = RegistryConfig { ca: Some(authority.ca()), ..config(&server.url) };
    assert!(tls_error(&without).to_lowercase().contains("certificate"));
    let with = RegistryConfig { cert: Some(cert), key: Some(key), ..without };
    client(&with).check().unwrap();
    let foreign = Authority::new("foreign");
    let (cert, key) = foreign.issue("client");
    let cert = Some(foreign.file("cert.pem", &cert));
    let key = Some(foreign.file("key.pem", &key));
    let wrong = RegistryConfig { cert: cert.clone(), key, ..with.clone() };
    tls_error(&wrong);
    // A key of another certificate is told at once.
    let error = Registry::new(&RegistryConfig { cert, ..with }).unwrap_err();
    assert_eq!(error.sqlstate, SqlState::INVALID_PARAMETER);
    assert!(error.message.starts_with("client certificate"), "{error}");
}

#[test]
fn old_versions_of_tls_can_be_refused() {
    let authority = Authority::new("versions");
    let old = authority.serve("localhost", false, &[&rustls::version::TLS12]);
    let new = authority.serve("localhost", false, &[&rustls::version::TLS13]);
    let with = |server: &Server, min_tls| {
        client(&RegistryConfig { ca: Some(authority.ca()), min_tls, ..config(&server.url) }).check()
    };
    with(&old, MinTls::V1_2).unwrap();
    with(&new, MinTls::V1_2).unwrap();
    with(&new, MinTls::V1_3).unwrap();
    assert!(with(&old, MinTls::V1_3).unwrap_err().detail.unwrap().contains("TLS"));
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new("files");
    let (cert, key) = authority.issue("x");
    let (cert, key) = (authority.file("cert", &cert), authority.file("key", &key));
    let junk = authority.file("junk", "no PEM\n-----BEGIN CERTIFICATE-----\n%%%\n");
    let error = |ca: Option<&str>, pair: Option<(&str, &str)>| {
        let owned = |text: &str| text.to_owned();
        let config = RegistryConfig {
            ca: ca.map(owned),
            cert: pair.map(|(cert, _)| owned(cert)),
            key: pair.map(|(_, key)| owned(key)),
            ..config("https://localhost")
        };
        let error = Registry::new(&config).unwrap_err();
        assert_eq!(error.sqlstate, SqlState::INVALID_PARAMETER);
        error.message
    };
    assert_eq!(
        error(Some("/no/such"), None),
        "could not read file \"/no/such\" of option \"schema_ca\""
    );
    assert!(error(Some("/dev/zero"), None).starts_with("could not read file"));
    assert!(error(Some(&junk), None).ends_with("has no certificates in PEM form"));
    assert!(error(Some(&key), None).ends_with("has no certificates in PEM form"));
    assert!(error(None, Some((&cert, &junk))).ends_with("has no private key in PEM form"));
    assert!(error(None, Some((&cert, &cert))).ends_with("has no private key in PEM form"));
    // Not read when no address needs them.
    let plain = RegistryConfig { ca: Some("/no/such".to_owned()), ..config("http://localhost") };
    Registry::new(&plain).unwrap();
}

#[test]
fn guids_are_ids_too() {
    let guid = SchemaId::Guid(*b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef");
    let path = "/schemas/guids/01234567-89ab-cdef-0123-456789abcdef";
    let server = serve(&[(path, r#"{"schema":"\"int\"","guid":"x"}"#)]);
    let registry = registry(&server.url);
    for _ in 0..2 {
        assert_eq!(registry.schema(guid).unwrap().text, "\"int\"");
        let unknown = bad(registry.schema(SchemaId::Guid([0xff; 16])));
        assert!(unknown.ends_with("no schema ffffffff-ffff-ffff-ffff-ffffffffffff"), "{unknown}");
    }
    assert_eq!(server.asked().len(), 2);
    // One that has no GUIDs at all costs no message.
    let old = serve_status(404, "");
    let error = failed(self::registry(&old.url).schema(guid));
    assert!(error.hint.unwrap().contains("GUID"));
}
