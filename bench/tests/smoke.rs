//! The benchmark itself, with few orders. Every program runs, all programs write the same, and every point of a sweep
//! runs. Speed is not asserted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::process::Command;

use heddle_fixtures::scaled_count;

const ORDERS: u64 = 4_000;
/// The number of points of each dimension.
const ALL_POINTS: usize = 4;

#[test]
fn every_program_goes_through_the_orders_and_writes_the_same() {
    let figures = bench(&["--orders", &ORDERS.to_string(), "--intervals", "100", "--repeat", "1", "--latency", "0"]);
    let programs = figures["rows"].as_array().unwrap().iter().map(|row| row["program"].as_str().unwrap());
    assert_eq!(programs.collect::<Vec<_>>(), ["Heddle", "Kafka Streams", "native loop", "native loop, ids packed"]);
    for row in figures["rows"].as_array().unwrap() {
        assert!(row["runs"][0]["events_per_second"].as_f64().unwrap() > 0.0, "{row}");
    }
    // Every fiftieth order is a duplicate without output, and every other order has at least one output.
    let different = ORDERS - ORDERS / 50;
    assert!(figures["emitted"].as_u64().unwrap() >= different, "{figures}");
    assert!(figures["emitted"].as_u64().unwrap() < 2 * different, "{figures}");
}

#[test]
fn a_sweep_goes_through_all_that_grows() {
    let of_each = scaled_count(1, ALL_POINTS);
    let (orders, of_each_text) = (ORDERS.to_string(), of_each.to_string());
    let figures = bench(&["--sweep", "--orders", &orders, "--sweep-keys", "1000", "--sweep-points", &of_each_text]);
    let points = figures["points"].as_array().unwrap();
    let grown = |what: &str| {
        let points = points.iter().filter(|point| point["grows"] == what);
        points.map(|point| point["to"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    for (what, all) in [
        ("partitions", &[1, 4, 16, 64][..]),
        ("components", &[1, 10, 50]),
        ("keys in the store", &[1_000]),
        ("bytes of a record", &[100, 1_000, 10_000, 100_000]),
    ] {
        assert_eq!(grown(what), all[..of_each.min(all.len())], "{what}");
    }
    for point in points {
        assert!(point["events_per_second"].as_f64().unwrap() > 0.0, "{point}");
    }
    // The last point has more components in memory than the one before it.
    assert!(figures["component_mb"].as_f64().unwrap() > 0.0, "{figures}");
}

/// The figures that the benchmark prints.
fn bench(arguments: &[&str]) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_heddle-bench")).args(arguments).arg("--json").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
