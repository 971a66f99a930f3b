//! TLS, from `heddle registry` to `heddle schema`, and with clients that withhold their handshake or do not read
//! answers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use heddle::registry::http::{Patience, Server};
use heddle::registry::{Client, ClientOptions, Embedded, Registry, RegistryError};
use heddle::tls::{Identity, Trusted};
use heddle_fixtures::Ended;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, date_time_ymd};
use serde_json::json;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{SECONDS, SOON, any, ask, deaf, slowly};

/// Certificates for this run.
struct Certificates(tempfile::TempDir);

impl Certificates {
    /// `ca.pem` and `other-ca.pem`; `server.pem` with `server.key` from the first of them, for 127.0.0.1.
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// Creates the certificates. `change` modifies the server's.
    fn with(change: impl Fn(&mut CertificateParams)) -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        let [authority, other] = ["A", "B"].map(|name| {
            let mut wanted = CertificateParams::new(vec![]).unwrap();
            wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            wanted.distinguished_name.push(DnType::CommonName, format!("authority {name}"));
            CertifiedIssuer::self_signed(wanted, KeyPair::generate().unwrap()).unwrap()
        });
        let key = KeyPair::generate().unwrap();
        let mut wanted = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        change(&mut wanted);
        made.write("ca.pem", &authority.pem());
        made.write("other-ca.pem", &other.pem());
        made.write("server.pem", &wanted.signed_by(&key, &authority).unwrap().pem());
        made.write("server.key", &key.serialize_pem());
        made
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).unwrap();
    }

    fn identity(&self) -> Identity {
        Identity::read(&self.file("server.pem"), &self.file("server.key")).unwrap()
    }
}

/// `heddle registry` in a separate process.
struct Process {
    _process: Ended,
    url: String,
}

impl Process {
    fn start(data: &Path, certificates: &Certificates) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
        command.args(["registry", "--listen", "127.0.0.1:0", "--data"]).arg(data);
        command.arg("--tls-certificate").arg(certificates.file("server.pem"));
        command.arg("--tls-key").arg(certificates.file("server.key"));
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        // A process may block if its output is not read.
        std::thread::spawn(move || lines.for_each(drop));
        Self { _process: Ended(child), url: first.rsplit(' ').next().unwrap().to_owned() }
    }
}

#[test]
fn schemas_are_registered_over_tls_only_with_a_trusted_registry() {
    let (app, certificates) = (tempfile::tempdir().unwrap(), Certificates::new());
    let server = Process::start(&app.path().join("data"), &certificates);
    let url = server.url.as_str();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let ca = certificates.file("ca.pem");
    std::fs::copy(ca, app.path().join("ca.pem")).unwrap();
    std::fs::create_dir(app.path().join("contracts")).unwrap();
    std::fs::write(app.path().join("contracts/orders-value.avsc"), r#"{"type":"enum","name":"E","symbols":["A"]}"#)
        .unwrap();
    let toml = |ca: &str| {
        let text = format!("[app]\nname = \"shop\"\n[registry]\nurl = \"{url}\"\n{ca}");
        std::fs::write(app.path().join("heddle.toml"), text).unwrap();
    };
    let told = |arguments: &[&str], ca: Option<&Path>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
        command.args(arguments).arg("--app").arg(app.path());
        if let Some(ca) = ca {
            command.env("HEDDLE_REGISTRY_CA", ca);
        }
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, errors, code) = (text(&output.stdout), text(&output.stderr), output.status.code().unwrap());
        let told = format!("$ heddle {}\n{out}{errors}exit {code}\n\n", arguments.join(" "));
        let told = told.replace(url, "https://REGISTRY").replace(app.path().to_str().unwrap(), "APP");
        told.replace(certificates.0.path().to_str().unwrap(), "TLS")
    };
    toml("");
    let mut all = told(&["schema", "register"], None);
    toml("ca = \"ca.pem\"\n");
    all += &told(&["schema", "register"], None);
    all += &told(&["schema", "get", "orders-value"], None);
    for ca in ["other-ca.pem", "server.key", "nothing.pem"] {
        all += &told(&["schema", "list"], Some(&certificates.file(ca)));
    }
    insta::assert_snapshot!(all);
    // A plain HTTP client gets a message.
    let plain = ask(&url.replace("https", "http"), None).unwrap();
    assert_eq!(plain, (400, json!("this address speaks TLS: write https:// instead of http://")));
}

#[test]
fn a_registry_does_not_start_without_its_configured_certificate() {
    let (data, certificates) = (tempfile::tempdir().unwrap(), Certificates::new());
    certificates.write("empty.pem", "");
    certificates.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    certificates.write("other.key", &KeyPair::generate().unwrap().serialize_pem());
    let told = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
        command.args(["registry", "--listen", "127.0.0.1:0", "--data"]).arg(data.path()).args(options);
        let output = command.current_dir(certificates.0.path()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        format!("$ heddle registry {}\n{told}exit {}\n\n", options.join(" "), output.status.code().unwrap())
    };
    let pairs = [
        ("nothing.pem", "server.key"),
        ("server.pem", "nothing.key"),
        ("empty.pem", "server.key"),
        ("server.key", "server.pem"),
        ("server.pem", "ca.pem"),
        ("broken.pem", "server.key"),
        ("server.pem", "other.key"),
    ];
    let pairs = pairs.map(|(certificate, key)| told(&["--tls-certificate", certificate, "--tls-key", key]));
    let alone = [told(&["--tls-certificate", "server.pem"]), told(&["--tls-key", "server.key"])];
    insta::assert_snapshot!([pairs.concat(), alone.concat()].concat());
}

#[test]
fn faults_of_a_certificate_are_reported() {
    let told = |change: &dyn Fn(&mut CertificateParams)| {
        let certificates = Certificates::with(change);
        let server = Server::bind(any(), Embedded::mock("wrong"), None, Patience::default()).unwrap();
        let (url, server) = (format!("https://{}", server.address()), server.with_tls(certificates.identity()));
        std::thread::spawn(move || server.run());
        let trusted = Some(Trusted::read(&certificates.file("ca.pem")).unwrap());
        let client = Client::new(ClientOptions { url: url.clone(), trusted, ..ClientOptions::default() });
        client.subjects().map_err(|refused| refused.to_string().replace(&url, "URL"))
    };
    assert_eq!(told(&|_| {}), Ok(vec![]));
    let wrong = [
        told(&|wanted| wanted.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())]),
        told(&|wanted| wanted.not_after = date_time_ymd(2020, 1, 1)),
        told(&|wanted| wanted.not_before = date_time_ymd(4000, 1, 1)),
        told(&|wanted| wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
    ];
    let wrong = wrong.map(Result::unwrap_err);
    insta::assert_snapshot!(wrong.join("\n"), @r"
    the certificate of the schema registry at URL is not trusted: it is for another name
    the certificate of the schema registry at URL is not trusted: it has expired
    the certificate of the schema registry at URL is not trusted: it is not valid yet, by this machine's clock
    the certificate of the schema registry at URL is not trusted: it is an authority's (CA:TRUE), not a server's
    ");
}

#[test]
fn a_client_that_does_not_shake_hands_is_cut_off_while_others_are_answered() {
    let certificates = Certificates::new();
    let patience = Patience { headers: Duration::from_millis(1_000), body: SECONDS, answer: SECONDS };
    let server =
        Server::bind(any(), Embedded::mock("hands"), None, patience).unwrap().with_tls(certificates.identity());
    let address = server.address();
    std::thread::spawn(move || server.run());
    // No bytes at all, the beginning of a handshake, and a handshake that never ends.
    let hello = [0x16, 3, 1, 2, 0, 1];
    let clients = [(&[][..], ""), (&hello[..], ""), (&hello[..], "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")];
    let clients = clients.map(|(first, then)| {
        let (first, then) = (first.to_owned(), then.to_owned());
        std::thread::spawn(move || slowly(address, &first, &then))
    });
    let ca = |file: &str| Some(Trusted::read(&certificates.file(file)).unwrap());
    let url = format!("https://{address}");
    let client = Client::new(ClientOptions { url: url.clone(), trusted: ca("ca.pem"), ..ClientOptions::default() });
    let id = client.register("s", "\"int\"").unwrap();
    assert_eq!(client.by_id(id).unwrap().map(|found| found.text).as_deref(), Some("\"int\""));
    // An untrusted server is not retried: 50 retries would exceed the time limit of a test.
    let other = ClientOptions { url, trusted: ca("other-ca.pem"), retries_max: 50, ..ClientOptions::default() };
    let refused = Client::new(other).by_id(id).unwrap_err();
    assert!(matches!(refused, RegistryError::Untrusted { .. }), "{refused}");
    for client in clients {
        let (answer, took) = client.join().unwrap();
        assert!(answer.is_empty(), "{answer:?}");
        assert!(took >= Duration::from_millis(900), "{took:?}");
    }
}

#[test]
fn clients_that_never_read_over_tls_lose_their_connections() {
    let certificates = Certificates::new();
    let server = Server::bind(any(), Embedded::mock("deaf by tls"), None, SOON).unwrap();
    let (address, server) = (server.address(), server.with_tls(certificates.identity()));
    std::thread::spawn(move || server.run());
    let options = ClientOptions { url: format!("https://{address}"), ..ClientOptions::default() };
    let trusted = Some(Trusted::read(&certificates.file("ca.pem")).unwrap());
    let client = Client::new(ClientOptions { trusted, timeout: Duration::from_secs(20), ..options });
    let schema = json!({"type": "record", "name": "R", "doc": "x".repeat(600_000), "fields": []}).to_string();
    client.register("large", &schema).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificates.file("ca.pem")).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let connect = || {
        let hands = ClientConnection::new(config.clone(), address.ip().into()).unwrap();
        let mut stream = StreamOwned::new(hands, TcpStream::connect(address).unwrap());
        stream.write_all(b"GET /schemas/ids/1 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream
    };
    drop(deaf(connect, || assert_eq!(client.subjects().unwrap(), ["large"])));
}
