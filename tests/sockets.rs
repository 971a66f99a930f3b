//! Servers under clients that withhold headers, bodies or handshakes, or do not read answers.
mod tls;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use heddle::admin;
use heddle::log::embedded::{EmbeddedLog, EmbeddedOptions};
use heddle::registry::Embedded;
use heddle::registry::http::{Patience, Server};
use serde_json::{Value, json};

/// The number of connections that are served at once.
const PLACES: usize = 512;

/// A server in this process, with a registry at the path `registry`.
struct Listener {
    address: SocketAddr,
    registry: &'static str,
    _folder: tempfile::TempDir,
}

impl Listener {
    /// The registry server, and the admin API of a host.
    fn all(scope: &str, patience: Patience) -> [Self; 2] {
        let own = Server::bind(any(), Embedded::mock(scope), None, patience).unwrap();
        let address = own.address();
        std::thread::spawn(move || own.run());
        let own = Self { address, registry: "", _folder: tempfile::tempdir().unwrap() };

        let folder = tempfile::tempdir().unwrap();
        let log = Arc::new(EmbeddedLog::open(folder.path(), EmbeddedOptions::default()).unwrap());
        let listening = admin::listen(any(), admin::Access::default()).unwrap().with_patience(patience);
        let address = listening.address();
        admin::serve(listening, log, &Embedded::mock(&format!("{scope} of a host")), vec![], None, None).unwrap();
        [own, Self { address, registry: "/registry", _folder: folder }]
    }

    fn ask(&self, path: &str, body: Option<&Value>) -> Result<(u16, Value), String> {
        ask(&format!("http://{}{}{path}", self.address, self.registry), body)
    }

    /// Registers a schema of about `bytes` bytes. Returns the request that reads it.
    fn large(&self, bytes: usize) -> String {
        let schema = json!({"type": "record", "name": "R", "doc": "x".repeat(bytes), "fields": []});
        let body = json!({"schema": schema.to_string()});
        let (status, answer) = self.ask("/subjects/large/versions", Some(&body)).unwrap();
        assert_eq!((status, &answer["id"]), (200, &json!(1)));
        format!("GET {}/schemas/ids/1 HTTP/1.1\r\nHost: localhost\r\n\r\n", self.registry)
    }
}

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn ask(url: &str, body: Option<&Value>) -> Result<(u16, Value), String> {
    let config =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(120)));
    let agent: ureq::Agent = config.build().into();
    let answer = match body {
        None => agent.get(url).call(),
        Some(body) => agent.post(url).send(body.to_string()),
    };
    let mut answer = answer.map_err(|error| error.to_string())?;
    let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
    Ok((answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

const SECONDS: Duration = Duration::from_secs(60);

/// Sends `first`, then `then` slowly. Returns the answer until the server closed the connection, and the time it took.
fn slowly(address: SocketAddr, first: &[u8], then: &str) -> (String, Duration) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SECONDS)).unwrap();
    stream.write_all(first).unwrap();
    let began = Instant::now();
    let mut writer = stream.try_clone().unwrap();
    let drip = then.to_owned();
    let dripping = std::thread::spawn(move || {
        for byte in drip.bytes() {
            // Ends when the server closes its side.
            if writer.write_all(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let mut answer = vec![];
    // A client that is cut off while sending may see a reset, which counts as an end, too.
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "the connection is still there");
    }
    let took = began.elapsed();
    drop(stream);
    dripping.join().unwrap();
    (String::from_utf8_lossy(&answer).into_owned(), took)
}

#[test]
fn a_slow_client_is_cut_off_while_others_are_answered() {
    let patience =
        Patience { headers: Duration::from_millis(1_000), body: Duration::from_millis(1_500), answer: SECONDS };
    let [registry, host] = Listener::all("slow", patience);
    let post = "POST /subjects/s/versions HTTP/1.1\r\nHost: localhost\r\n";
    let call = "POST /call HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    // Sending this takes five minutes, longer than the test waits. So a client that sees an end was cut off.
    let drip = "a".repeat(6_000);
    let mut clients = vec![
        // A body that comes slowly, and one that stops.
        (registry.address, format!("{post}Content-Length: 6000\r\n\r\n"), drip.clone(), "408"),
        (registry.address, format!("{post}Transfer-Encoding: chunked\r\n\r\n1770\r\n"), drip.clone(), "408"),
        (registry.address, format!("{post}Content-Length: 600\r\n\r\n{{"), String::new(), "408"),
        (host.address, format!("{call}Content-Length: 600\r\n\r\n{{"), String::new(), "400"),
    ];
    for address in [registry.address, host.address] {
        // Headers that never end, and no headers at all.
        clients.push((address, post.to_owned() + "X-", drip.clone(), ""));
        clients.push((address, String::new(), String::new(), ""));
    }
    let clients = clients.into_iter().map(|(address, first, then, status)| {
        std::thread::spawn(move || (slowly(address, first.as_bytes(), &then), status))
    });
    let clients = clients.collect::<Vec<_>>();
    let body = json!({"schema": "\"int\""});
    for listener in [&registry, &host] {
        assert_eq!(listener.ask("/subjects/good/versions", Some(&body)).unwrap().0, 200);
    }
    for client in clients {
        let ((answer, took), status) = client.join().unwrap();
        assert!(took >= Duration::from_millis(900), "{took:?}: {answer}");
        if status.is_empty() {
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
        } else {
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        }
        if status == "408" {
            let json = serde_json::from_str::<Value>(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
            assert_eq!(json["error_code"], 408, "{json}");
        }
    }
    assert_eq!(registry.ask("/subjects", None), Ok((200, json!(["good"]))));
}

#[test]
fn a_body_that_keeps_coming_is_waited_for_by_the_admin_api() {
    let patience = Patience { headers: SECONDS, body: Duration::from_millis(1_500), answer: SECONDS };
    let [_, host] = Listener::all("body", patience);
    let head = "POST /call HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n";
    // Longer than the time limit, with pauses far below it.
    let body = format!("{}\"Topics\"", " ".repeat(42));
    let (answer, took) =
        slowly(host.address, format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), &body);
    assert!(took >= Duration::from_millis(2_000), "{took:?}");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("{\"Topics\":[]}"), "{answer}");
}

#[test]
fn a_client_refused_before_it_sent_everything_gets_the_answer() {
    let patience = Patience { headers: SECONDS, body: Duration::from_millis(1_500), answer: SECONDS };
    let [registry, host] = Listener::all("refused early", patience);
    let nowhere = "POST /nowhere HTTP/1.1\r\nHost: localhost\r\n";
    for (listener, status) in [(&registry, "413"), (&host, "404")] {
        let mut stream = TcpStream::connect(listener.address).unwrap();
        stream.set_read_timeout(Some(SECONDS)).unwrap();
        // More than the system buffers. It is sent after the answer.
        let body = vec![b'a'; 16 << 20];
        stream.write_all(format!("{nowhere}Content-Length: {}\r\n\r\n", body.len()).as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        stream.write_all(&body).unwrap();
        // The server has discarded the unwanted body, so the connection can be used again.
        stream
            .write_all(format!("GET {}/subjects HTTP/1.1\r\nHost: localhost\r\n\r\n", listener.registry).as_bytes())
            .unwrap();
        let mut answers = String::new();
        let mut reader = BufReader::new(&stream);
        while !answers.ends_with("[]") {
            assert_ne!(reader.read_line(&mut answers).unwrap(), 0, "{answers}");
            if answers.ends_with("\r\n\r\n") && answers.contains("HTTP/1.1 200") {
                let mut list = [0; 2];
                reader.read_exact(&mut list).unwrap();
                answers.push_str(std::str::from_utf8(&list).unwrap());
            }
        }
        assert!(answers.starts_with(&format!("HTTP/1.1 {status}")), "{answers}");
    }
    // A client that waits for `100 Continue` gets the answer instead.
    let asks = format!("{nowhere}Expect: 100-continue\r\nContent-Length: 600\r\n\r\n");
    let (answer, _) = slowly(host.address, asks.as_bytes(), "");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    // A client that got `100 Continue` receives 413 when the body turns out too large.
    let mut stream = BufReader::new(TcpStream::connect(registry.address).unwrap());
    stream.get_ref().set_read_timeout(Some(SECONDS)).unwrap();
    let body = vec![b'a'; 16 << 20];
    let asks = format!("{nowhere}Connection: close\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.get_mut().write_all(asks.as_bytes()).unwrap();
    let mut asked = String::new();
    stream.read_line(&mut asked).unwrap();
    assert_eq!(asked, "HTTP/1.1 100 Continue\r\n");
    stream.get_mut().write_all(&body[..2 << 20]).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    stream.get_mut().write_all(&body[2 << 20..]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("HTTP/1.1 413"), "{answer}");
    // The server stops reading from a client that does not stop sending.
    let first = format!("{nowhere}Content-Length: 6000\r\n\r\n");
    let (answer, took) = slowly(host.address, first.as_bytes(), &"a".repeat(6_000));
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(took >= Duration::from_millis(1_400), "{took:?}");
}

#[test]
fn more_connections_than_are_served_at_once_wait_and_are_answered() {
    let patience = Patience { headers: Duration::from_millis(1_500), body: SECONDS, answer: SECONDS };
    for listener in Listener::all("crowd", patience) {
        // The clients send nothing until they are cut off.
        let began = Instant::now();
        let crowd = (0..PLACES).map(|_| TcpStream::connect(listener.address).unwrap()).collect::<Vec<_>>();
        assert_eq!(listener.ask("/subjects", None), Ok((200, json!([]))));
        assert!(began.elapsed() >= Duration::from_millis(1_400), "it did not wait: {:?}", began.elapsed());
        drop(crowd);
    }
}

/// As many clients as are served at once request a large answer and never read it. `ask` is answered nevertheless.
fn deaf<S>(connect: impl Fn() -> S, ask: impl Fn()) -> Vec<S> {
    let began = Instant::now();
    let crowd = (0..PLACES).map(|_| connect()).collect::<Vec<_>>();
    ask();
    assert!(began.elapsed() >= Duration::from_millis(1_400), "it did not wait: {:?}", began.elapsed());
    crowd
}

const SOON: Patience = Patience { headers: SECONDS, body: SECONDS, answer: Duration::from_millis(1_500) };

#[test]
fn clients_that_never_read_their_answers_lose_their_connections() {
    for listener in Listener::all("deaf", SOON) {
        let asks = listener.large(600_000);
        let connect = || {
            let mut stream = TcpStream::connect(listener.address).unwrap();
            stream.write_all(asks.as_bytes()).unwrap();
            stream
        };
        let crowd = deaf(connect, || assert_eq!(listener.ask("/subjects", None), Ok((200, json!(["large"])))));
        let (mut answer, mut first) = (vec![], &crowd[0]);
        first.set_read_timeout(Some(SECONDS)).unwrap();
        let _ = first.read_to_end(&mut answer);
        assert!(answer.len() < 600_000, "the first had all of its answer");
    }
}

#[test]
fn a_client_that_reads_slowly_gets_the_whole_answer() {
    let patience = Patience { headers: Duration::from_secs(1), body: SECONDS, answer: Duration::from_secs(3) };
    let readers = Listener::all("leisure", patience).map(|listener| {
        std::thread::spawn(move || {
            let asks = listener.large(900_000);
            let mut stream = TcpStream::connect(listener.address).unwrap();
            stream.write_all(asks.as_bytes()).unwrap();
            let (began, mut length, mut piece) = (Instant::now(), 0, vec![0; 64 << 10]);
            loop {
                match stream.read(&mut piece).unwrap() {
                    0 => return (length, began.elapsed()),
                    read => length += read,
                }
                std::thread::sleep(Duration::from_millis(400));
            }
        })
    });
    for reader in readers {
        let (length, took) = reader.join().unwrap();
        assert!(length > 900_000, "{length} bytes came");
        assert!(took > patience.answer, "it was not slow: {took:?}");
    }
}
