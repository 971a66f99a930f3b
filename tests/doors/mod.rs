//! Access to a host: web pages of other sites, strangers, processes at an old address, and clients that request too
//! much.

mod addresses;
mod bounds;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use heddle::admin::{self, Access, Remote};
use heddle::cluster::{HostClient, HostError, Reach};
use heddle::log::Log;
use heddle::log::embedded::{EmbeddedLog, EmbeddedOptions};
use heddle::registry::Embedded;
use heddle::registry::http::{Patience, Server, User};
use heddle::tls::{Identity, Trusted};
use heddle_core::explain::to_text;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// Far above the time of any answer. Only a failing test waits this long.
const WAIT: Duration = Duration::from_secs(60);

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// The admin API of a host without components, on an embedded log, in this process.
fn host(access: Access) -> (SocketAddr, Arc<EmbeddedLog>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(EmbeddedLog::open(folder.path(), EmbeddedOptions::default()).unwrap());
    let address = serve(access, log.clone());
    (address, log, folder)
}

fn serve(access: Access, log: Arc<dyn Log>) -> SocketAddr {
    let listening = admin::listen(any(), access).unwrap();
    let address = listening.address();
    admin::serve(listening, log, &Embedded::mock("doors"), vec![], None, None).unwrap();
    address
}

fn registry(user: Option<User>) -> SocketAddr {
    let server = Server::bind(any(), Embedded::mock("doors alone"), user, Patience::default()).unwrap();
    let address = server.address();
    std::thread::spawn(move || server.run());
    address
}

/// Sends the head of a request, and returns the status and the rest of the answer. `headers` are lines.
fn ask(address: SocketAddr, request: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    let head = format!("{request} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("{request}: {answer:?}")).parse().unwrap();
    (status, answer)
}

#[test]
fn web_pages_of_other_sites_are_refused_at_every_door() {
    let (host, _log, _folder) = host(Access::default().known_as(Some("shop-1:7870".to_owned()), &[]));
    let registry = registry(None);
    let requests = [
        (host, "GET /status"),
        (host, "GET /metrics"),
        (host, "POST /call"),
        (host, "POST /deploy/acc"),
        (host, "POST /rollback/acc?to=file"),
        (host, "GET /health"),
        (host, "GET /nowhere"),
        (host, "GET /registry/subjects"),
        (host, "POST /registry/subjects/s/versions"),
        (registry, "GET /subjects"),
        (registry, "POST /subjects/s/versions"),
        (registry, "GET /health"),
    ];
    let foreign = [
        "Host: evil.example:7870\r\n",
        "Host: evil.example\r\nOrigin: http://evil.example\r\n",
        "Host: localhost\r\nOrigin: http://evil.example\r\n",
        "Host: 127.0.0.1\r\nOrigin: null\r\n",
        "Host: 127.0.0.1\r\nSec-Fetch-Site: cross-site\r\n",
        "Host: 127.0.0.1\r\nSec-Fetch-Site: same-site\r\n",
    ];
    for (address, request) in requests {
        for headers in foreign {
            assert_eq!(ask(address, request, headers).0, 403, "{request} {headers}");
        }
        let own = format!("Host: {address}\r\nOrigin: http://{address}\r\nSec-Fetch-Site: same-origin\r\n");
        assert_ne!(ask(address, request, &own).0, 403, "{request}");
        assert_ne!(ask(address, request, "Host: localhost\r\n").0, 403, "{request}");
    }
    assert_eq!(ask(host, "GET /health", "Host: shop-1\r\n").0, 200);
    // An absolute address in the request line is checked, too.
    assert_eq!(ask(host, "GET http://evil.example/health", "Host: localhost\r\n").0, 403);
}

#[test]
fn a_token_guards_everything_but_health() {
    let (host, _log, _folder) = host(Access::new(Some("s3cret".to_owned())));
    let guarded = [
        "GET /status",
        "GET /metrics",
        "GET /state/c/s",
        "GET /state/c/s/k",
        "GET /dlq/c",
        "GET /dlq/c/0/0",
        "POST /dlq/c/replay",
        "POST /dlq/c/discard",
        "GET /deployments/c",
        "GET /deployments/c/file",
        "POST /deploy/c",
        "POST /rollback/c",
        "POST /call",
        "GET /registry/subjects",
        "POST /registry/subjects/s/versions",
    ];
    for request in guarded {
        assert_eq!(ask(host, request, "Host: localhost\r\n").0, 401, "{request}");
        let wrong = "Host: localhost\r\nAuthorization: Bearer other\r\n";
        assert_eq!(ask(host, request, wrong).0, 401, "{request}");
        let right = "Host: localhost\r\nAuthorization: Bearer s3cret\r\nContent-Length: 0\r\n";
        assert_ne!(ask(host, request, right).0, 401, "{request}");
    }
    for request in ["GET /health", "GET /health/ready", "GET /health/identity"] {
        assert_eq!(ask(host, request, "Host: localhost\r\n").0, 200, "{request}");
    }
}

#[test]
fn a_request_without_a_token_is_refused_before_its_body_is_read() {
    let (host, _log, _folder) = host(Access::new(Some("s3cret".to_owned())));
    let user = User { name: "ci".to_owned(), password: "s3cret".to_owned() };
    let registry = registry(Some(user));
    let large = "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 251658240\r\n";
    // The body is never sent, so an answer proves that the host did not wait for it.
    let asked = [(host, "POST /call"), (host, "POST /deploy/c"), (registry, "POST /subjects/s/versions")];
    for (address, request) in asked {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream.write_all(format!("{request} HTTP/1.1\r\n{large}\r\n").as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 401", "{request}");
    }
    // A permitted client is refused for the size, before the body is sent.
    let known = format!("{large}Authorization: Bearer s3cret\r\nExpect: 100-continue\r\n");
    assert_eq!(ask(host, "POST /call", &known).0, 413);
}

#[test]
fn calls_of_the_log_exist_on_the_embedded_log_alone() {
    let (embedded, _log, _folder) = host(Access::default());
    let headers = "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 0\r\n";
    assert_eq!(ask(embedded, "POST /call", headers).0, 400);
    // A log outside this process: here, that of another host.
    let elsewhere = serve(Access::default(), Arc::new(Remote::find(&embedded.to_string()).unwrap()));
    assert_eq!(ask(elsewhere, "POST /call", headers).0, 404);
}

#[test]
fn a_host_without_a_token_listens_only_on_loopback() {
    let everywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let refused = to_text(&admin::listen(everywhere, Access::default()).err().unwrap());
    assert!(refused.contains("it has no token") && refused.contains("HEDDLE_ADMIN_TOKEN"), "{refused}");
    admin::listen(everywhere, Access::new(Some("s3cret".to_owned()))).unwrap();
    let refused = Server::bind(everywhere, Embedded::mock("open"), None, Patience::default()).err().unwrap();
    assert!(to_text(&refused).contains("--user"), "{refused}");
}

#[test]
fn the_admin_api_speaks_tls() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut wanted = CertificateParams::new(vec![]).unwrap();
    wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(wanted, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    std::fs::write(path("ca.pem"), authority.pem()).unwrap();
    std::fs::write(path("host.pem"), certificate.pem()).unwrap();
    std::fs::write(path("host.key"), key.serialize_pem()).unwrap();
    let identity = Identity::read(&path("host.pem"), &path("host.key")).unwrap();
    let (host, _log, _folder) = host(Access::new(Some("s3cret".to_owned())).with_tls(Some(identity)));
    let reach = Reach { tls: true, trusted: Some(Trusted::read(&path("ca.pem")).unwrap()) };
    let address = host.to_string();
    let client = HostClient::new(&address, &reach, WAIT).with_token(Some("s3cret".to_owned()));
    assert_eq!(client.get("/status").unwrap().status, 200);
    // The log is reachable through TLS, too.
    let remote = Remote::find_by(&address, reach.clone()).unwrap().with_token(Some("s3cret".to_owned()));
    assert_eq!(remote.topics().unwrap(), []);
    let strange = HostClient::new(&address, &Reach { trusted: None, ..reach }, WAIT).get("/health").err().unwrap();
    assert!(matches!(&strange, HostError::Unreachable(why) if why.contains("certificate")), "{strange}");
}
