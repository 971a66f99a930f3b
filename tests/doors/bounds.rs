//! Clients that request too much or occupy all connections.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use heddle::admin::{Access, StateEntries};
use heddle::cluster::{HostClient, Reach};
use heddle_fixtures::Ended;
use serde_json::{Value, json};

use super::{WAIT, ask, host};
use crate::support::app::App;

/// The number of connections that may send requests, and the number that may wait for a place.
const PLACES: usize = 512;
const WAITING: usize = 32;

#[test]
fn health_is_answered_while_all_connections_are_taken() {
    let (host, _log, _folder) = host(Access::default());
    // A request in progress holds its place for as long as its body may take.
    let hold = |_| {
        let mut stream = TcpStream::connect(host).unwrap();
        let head =
            "POST /call HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let crowd = (0..PLACES + WAITING).map(hold).collect::<Vec<_>>();
    assert_eq!(ask(host, "GET /health", "Host: localhost\r\n").0, 200);
    assert_eq!(ask(host, "GET /health/ready", "Host: localhost\r\n").0, 200);
    // Connections beyond the waiting ones are refused immediately, once those have turned out not to be health checks.
    let deadline = Instant::now() + Duration::from_secs(20);
    while ask(host, "GET /status", "Host: localhost\r\n").0 != 503 {
        assert!(Instant::now() < deadline, "nobody is sent away");
    }
    assert_eq!(ask(host, "GET /health", "Host: localhost\r\n").0, 200);
    drop(crowd);
}

/// Long enough that twenty of them exceed one answer.
const ID_BYTES: usize = 700_000;
const CUSTOMERS: usize = 20;

#[test]
fn large_values_come_in_answers_of_bounded_size() {
    let app = App::embedded().platform();
    app.build();
    let orders = app.data.path().join("orders.jsonl");
    let mut lines = String::new();
    for customer in 0..CUSTOMERS {
        let (order, items) = (
            format!("{customer:02}{}", "x".repeat(ID_BYTES)),
            json!([{"productId": "P", "quantity": 1, "price": 1.0}]),
        );
        let order = json!({"orderId": order, "customerId": format!("C-{customer:02}"), "orderDate": 0, "totalAmount": 1.0, "items": items});
        lines += &format!("{order}\n");
    }
    std::fs::write(&orders, lines).unwrap();
    app.ok(&["produce", "orders.created", "--key", "customerId", "--file", orders.to_str().unwrap()]);
    app.ok(&["run", "--until-idle"]);
    let file = app.data.path().join("admin-address");
    let _host = Ended(app.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let client = || HostClient::new(&std::fs::read_to_string(&file).unwrap_or_default(), &Reach::default(), WAIT);
    let deadline = Instant::now() + Duration::from_secs(120);
    while !client().get("/health/ready").is_ok_and(|answer| answer.status == 200) {
        assert!(Instant::now() < deadline, "the host is not ready");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (mut found, mut answers, mut next) = (BTreeMap::new(), 0, String::new());
    loop {
        let answer = client().get(&format!("/state/ledger/accounts?limit=10000{next}")).unwrap();
        assert!(answer.status == 200 && answer.body.len() < 10 << 20, "{} bytes", answer.body.len());
        let entries: StateEntries = serde_json::from_slice(&answer.body).unwrap();
        for entry in entries.entries {
            assert!(found.insert(entry.key.as_str().unwrap().to_owned(), entry.value).is_none(), "an entry came twice");
        }
        answers += 1;
        match entries.next {
            Some(place) => next = format!("&next={}", place.to_string().replace('/', "%2F")),
            None => break,
        }
    }
    assert_eq!(found.len(), CUSTOMERS);
    assert!(answers >= 2, "{answers} answers");
    // The command joins the answers.
    let listed = app.ok(&["state", "list", "ledger", "accounts", "--limit", "10000", "--json"]);
    let entries = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let entries = entries.map(|entry| (entry["key"].as_str().unwrap().to_owned(), entry["value"].clone()));
    assert!(entries.collect::<BTreeMap<_, _>>() == found);
    let first = app.ok(&["state", "list", "ledger", "accounts", "--limit", "3"]);
    assert_eq!(first.lines().count(), 3);
}
