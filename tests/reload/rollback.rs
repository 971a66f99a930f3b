//! Rolling back: on demand, and automatically when a version fails.

use serde_json::Value;

use crate::reload::host::{Host, wait_until};
use crate::reload::platform::{Orders, Platform, bookings, check_bookings, ledger};
use crate::reload::versions::{digest, numbered, with_manifest};

#[test]
fn a_rollback_goes_to_the_previous_version_a_named_one_or_the_file() {
    let platform = Platform::embedded();
    let host = Host::start(&platform, 0);
    let runs = || platform.status(0)["digest"].as_str().unwrap().to_owned();
    let [one, two, three] = [1, 2, 3].map(|number| numbered(ledger(), number));
    for (name, wasm) in [("one.wasm", &one), ("two.wasm", &two), ("three.wasm", &three)] {
        platform.ok(&["deploy", &platform.version(name, wasm)]);
        assert_eq!(runs(), digest(wasm));
    }
    assert_eq!(platform.status(0)["before"], digest(&two));
    platform.ok(&["rollback", "ledger"]);
    assert_eq!(runs(), digest(&two));
    platform.ok(&["rollback", "ledger"]);
    assert_eq!(runs(), digest(&one));
    // The file that ran before the first deployment is among the versions.
    platform.ok(&["rollback", "ledger"]);
    assert_eq!(runs(), digest(ledger()));
    let nothing_left = platform.refused(&["rollback", "ledger"]);
    platform.ok(&["deploy", &platform.version("three.wasm", &three)]);
    platform.ok(&["rollback", "shop.ledger", "--to", &digest(ledger())[7..15]]);
    assert_eq!(runs(), digest(ledger()));
    let unknown = platform.refused(&["rollback", "ledger", "--to", "0123"]);
    let nobody = platform.refused(&["rollback", "stock"]);
    insta::assert_snapshot!("nothing_to_go_back_to", [nothing_left, unknown, nobody].join("\n"));
    platform.ok(&["deploy", &platform.version("two.wasm", &two)]);
    platform.ok(&["rollback", "ledger", "--to", "file"]);
    assert_eq!(runs(), digest(ledger()));
    host.stop();
    let host = Host::start(&platform, 0);
    assert_eq!(runs(), digest(ledger()));
    host.stop();
}

#[test]
fn a_version_that_fails_too_often_is_rolled_back() {
    let platform = Platform::embedded();
    let settings = std::fs::read_to_string(platform.path("heddle.toml")).unwrap();
    std::fs::write(platform.path("heddle.toml"), settings + "\n[deploy]\nwatch = \"60s\"\nmax-failures = \"5%\"\n")
        .unwrap();
    let host = Host::start(&platform, 0);
    let orders = Orders::new(&platform.registry());
    // This version fails always, because every record is too large for it.
    let failing = with_manifest(ledger(), "[component]", "[limits]\nrecord = \"1B\"\n[component]");
    platform.ok(&["deploy", &platform.version("failing.wasm", &failing)]);
    assert_eq!(platform.status(0)["digest"], digest(&failing));
    let twenty_five = (0..25).map(|n| orders.order(n, true)).collect::<Vec<_>>();
    platform.log().append(&twenty_five).unwrap();
    wait_until("the version is rolled back", || platform.status(0)["digest"] == digest(ledger()));
    wait_until("the host says so", || platform.status(0)["note"].is_string());
    let note = platform.status(0)["note"].as_str().unwrap().to_owned();
    assert!(note.contains("was rolled back: 25 of 25 records failed within"), "{note}");
    assert!(host.told().contains("rolled back a version"), "{}", host.told());
    let address = std::fs::read_to_string(platform.data(0).join("admin-address")).unwrap();
    let metrics = ureq::get(format!("http://{address}/metrics")).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(metrics.contains("heddle_rollbacks_total{component=\"shop.ledger\"} 1"), "{metrics}");
    // Nothing is lost: the replayed letters are processed by the version that does not fail.
    platform.ok(&["dlq", "replay", "ledger", "--all-open"]);
    wait_until("all orders are booked", || platform.status(0)["out"] == 25);
    check_bookings(&bookings(&*platform.log()), 25);
    let history: Value = serde_json::from_str(&platform.ok(&["deployments", "ledger", "--json"])).unwrap();
    assert_eq!(history["deployment"]["withdrawn"]["digest"], digest(&failing));
    host.stop();
}
