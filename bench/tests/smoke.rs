//! The benchmark itself, with few orders: every program runs, and all of them write the same. Nothing is asserted of how fast.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::process::Command;

const ORDERS: u64 = 4_000;

#[test]
fn every_program_goes_through_the_orders_and_writes_the_same() {
    let output = Command::new(env!("CARGO_BIN_EXE_heddle-bench"))
        .args(["--orders", &ORDERS.to_string(), "--intervals", "100", "--repeat", "1", "--latency", "0", "--json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures = serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
    let programs = figures["rows"].as_array().unwrap().iter().map(|row| row["program"].as_str().unwrap());
    assert_eq!(programs.collect::<Vec<_>>(), ["Heddle", "Kafka Streams", "native loop", "native loop, ids packed"]);
    for row in figures["rows"].as_array().unwrap() {
        assert!(row["runs"][0]["events_per_second"].as_f64().unwrap() > 0.0, "{row}");
    }
    // Every fiftieth order was sent before: it has no output of its own, and every other one has at least one.
    let different = ORDERS - ORDERS / 50;
    assert!(figures["emitted"].as_u64().unwrap() >= different, "{figures}");
    assert!(figures["emitted"].as_u64().unwrap() < 2 * different, "{figures}");
}
