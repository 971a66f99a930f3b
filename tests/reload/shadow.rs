//! A shadow version beside the running one: the differences are found exactly, and nothing is committed.

use heddle_fixtures::kafka::Kafka;
use serde_json::Value;

use crate::reload::dev::{edit, sources};
use crate::reload::host::{Host, wait_until};
use crate::reload::platform::{Orders, Platform, bookings, ledger, without_digests};
use crate::reload::versions::{digest, numbered};

const ORDERS: usize = 60;

/// The ledger with one line of its source changed.
fn changed(to: &str) -> Vec<u8> {
    let other = Platform::embedded();
    sources(&other);
    edit(&other.path("components/ledger/src/lib.rs"), "orders: orders + 1", to);
    other.ok(&["build"]);
    std::fs::read(other.path("components/ledger/ledger.wasm")).unwrap()
}

fn a_version_that_books_one_order_differently_is_found(platform: &Platform) {
    let other = changed("orders: orders + 1 + i64::from(order.order_id == \"O-000033\")");
    let host = Host::start(platform, 0);
    let orders = Orders::new(&platform.registry());
    let records = (0..ORDERS).map(|n| orders.order(n, n % 30 != 7)).collect::<Vec<_>>();
    platform.log().append(&records).unwrap();
    wait_until("all orders are handled", || platform.status(0)["lag"] == 0);
    let topics = platform.ok(&["topics", "list"]);
    let (file, same) = (platform.version("other.wasm", &other), platform.version("same.wasm", &numbered(ledger(), 1)));
    let shadow = |file: &str, more: &[&str]| {
        let arguments = [&["shadow", file, "--component", "ledger", "--json"], more].concat();
        serde_json::from_str::<Value>(&platform.ok(&arguments)).unwrap()
    };

    // O-000033 and O-000053 are of customer C-13, who has one order more from the first on.
    let found = shadow(&file, &[]);
    assert_eq!((&found["records"], &found["failed"]), (&60.into(), &serde_json::json!([2, 2])));
    let outputs = &found["outputs"];
    assert_eq!(
        (&outputs["old"], &outputs["new"], &outputs["differ"]),
        (&58.into(), &58.into(), &2.into()),
        "{outputs}"
    );
    let sample = |side: &str| outputs["samples"][0][side][0]["value"]["ordersOfCustomer"].clone();
    assert_eq!(
        (outputs["samples"][0]["at"].as_str(), sample("old"), sample("new")),
        (Some("orders.created/0@33"), 2.into(), 3.into())
    );
    let state = &found["state"];
    assert_eq!(
        (&state["old"], &state["differ"], &state["samples"][0]["at"]),
        (&20.into(), &1.into(), &"accounts C-13".into()),
        "{state}"
    );
    // A second run has the same result.
    assert_eq!(shadow(&file, &[]), found);
    let none = shadow(&same, &[]);
    assert_eq!((&none["outputs"]["differ"], &none["state"]["differ"]), (&0.into(), &0.into()), "{none}");
    let few = shadow(&file, &["--records", "33"]);
    assert_eq!((&few["records"], &few["stopped"], &few["outputs"]["differ"]), (&33.into(), &true.into(), &0.into()));

    // From the middle of the input, with the state of that time.
    let later = (ORDERS..ORDERS + 20).map(|n| orders.order(n, true)).collect::<Vec<_>>();
    platform.log().append(&later).unwrap();
    wait_until("the later orders are handled", || platform.status(0)["lag"] == 0);
    let from = shadow(&file, &["--from", "60"]);
    assert_eq!(
        (&from["records"], &from["outputs"]["old"], &from["outputs"]["differ"]),
        (&20.into(), &20.into(), &0.into()),
        "{from}"
    );
    let same = shadow(&file, &["--from", "30"]);
    assert_eq!(same["records"], 50, "{same}");

    // The runs left no traces.
    assert_eq!(platform.ok(&["topics", "list"]).lines().count(), topics.lines().count());
    assert_eq!(bookings(&*platform.log()).len(), 78);
    let text = platform.ok(&["shadow", &file, "--samples", "1"]);
    let text = without_digests(&text);
    insta::assert_snapshot!("shadow", text);
    host.stop();
}

#[test]
fn a_version_that_books_one_order_differently_is_found_on_the_embedded_log() {
    a_version_that_books_one_order_differently_is_found(&Platform::embedded());
}

#[test]
fn a_version_that_books_one_order_differently_is_found_on_kafka() {
    let broker = Kafka::start();
    a_version_that_books_one_order_differently_is_found(&Platform::kafka(broker.bootstrap()));
}

/// `heddle build` overwrites the file with which the host was started. The host then runs another version than the
/// file.
#[test]
fn a_rebuilt_version_is_compared_with_the_running_one() {
    let platform = Platform::embedded();
    let host = Host::start(&platform, 0);
    let orders = Orders::new(&platform.registry());
    platform.log().append(&[orders.order(0, true)]).unwrap();
    wait_until("the order is booked", || platform.status(0)["out"] == 1);
    let file = platform.version("ledger.wasm", &changed("orders: orders + 7"));
    let found: Value = serde_json::from_str(&platform.ok(&["shadow", &file, "--json"])).unwrap();
    assert_eq!((&found["old"], &found["outputs"]["differ"]), (&digest(ledger()).into(), &1.into()), "{found}");
    // A deployed version takes precedence.
    platform.ok(&["deploy", &platform.version("next.wasm", &numbered(ledger(), 1))]);
    let found: Value = serde_json::from_str(&platform.ok(&["shadow", &file, "--json"])).unwrap();
    assert_eq!(found["old"], digest(&numbered(ledger(), 1)), "{found}");
    host.stop();
}
