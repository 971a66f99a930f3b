//! The results of a sweep, as a table and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Axis, INTERVAL_MS, Measured};
use crate::measure::Throughput;

/// All figures.
pub(super) fn json(measured: &[Measured]) -> Value {
    let point = |Measured { point, figures }: &Measured| {
        json!({
            "grows": point.axis.to_string(),
            "to": point.to,
            "orders": point.orders,
            "orders_before": point.filling,
            "deliveries": point.orders * point.components,
            "events_per_second": figures.events_per_second,
            "cpu_seconds_per_million": figures.cpu_per_million,
            "broker_cpu_seconds_per_million": figures.broker_cpu_per_million,
            "first_commit_ms": figures.first_commit_ms,
            "peak_mb": figures.peak_mb,
            "settled_mb": megabytes(figures),
        })
    };
    json!({
        "commit_interval_ms": INTERVAL_MS,
        "points": measured.iter().map(point).collect::<Vec<_>>(),
        "component_mb": component_mb(measured),
    })
}

/// The table, and the memory of an idle component.
pub(super) fn markdown(measured: &[Measured]) -> String {
    let mut text = String::new();
    if cfg!(debug_assertions) {
        text.push_str("A build for development: only how figures grow says something.\n\n");
    }
    text.push_str(
        "| what grows | to | orders | deliveries | events/s | CPU-s per million | to the first | broker | start to first commit | peak memory |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for of_one in measured.chunk_by(|a, b| a.point.axis == b.point.axis) {
        let (Some(first), busy) = (of_one.first(), of_one.iter().all(|it| it.point.axis != Axis::IdleComponents))
        else {
            continue;
        };
        for Measured { point, figures } in of_one {
            let speed = if busy {
                format!(
                    "{:.0} | {:.1} | {:.2} | {:.1}",
                    figures.events_per_second,
                    figures.cpu_per_million,
                    figures.cpu_per_million / first.figures.cpu_per_million,
                    figures.broker_cpu_per_million
                )
            } else {
                "– | – | – | –".to_owned()
            };
            let before = if point.filling > 0 { format!(" after {}", point.filling) } else { String::new() };
            // Formatting into a string does not fail.
            let _ = writeln!(
                text,
                "| {} | {} | {}{before} | {} | {speed} | {:.0} ms | {} MB |",
                point.axis,
                point.to,
                point.orders,
                point.orders * point.components,
                figures.first_commit_ms,
                figures.peak_mb
            );
        }
    }
    if let Some(megabytes) = component_mb(measured) {
        let _ = writeln!(text, "\nA component that has nothing to do takes {megabytes:.1} MB.");
    }
    text
}

/// The resident memory after all work is done.
fn megabytes(figures: &Throughput) -> f64 {
    figures.settled_kb as f64 / 1024.0
}

/// The resident memory of an idle component: the difference between many and few idle components, per component.
fn component_mb(measured: &[Measured]) -> Option<f64> {
    let mut idle = measured.iter().filter(|it| it.point.axis == Axis::IdleComponents);
    let (few, many) = (idle.next()?, idle.next_back()?);
    let more = (many.point.components - few.point.components) as f64;
    Some((megabytes(&many.figures) - megabytes(&few.figures)) / more)
}
