//! Prints the figures as a table and as JSON, and writes them to docs/performance.md.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::chart;
use crate::program;
use crate::session::{Figures, Row};

/// All figures of every run.
pub(crate) fn json(figures: &Figures) -> Value {
    let row = |row: &Row| {
        let runs = row.runs.iter().map(|run| {
            json!({
                "first_commit_ms": run.first_commit_ms,
                "events_per_second": run.events_per_second,
                "cpu_seconds_per_million": run.cpu_per_million,
                "cpu_seconds_per_million_second_half": run.cpu_per_million_warm,
                "broker_cpu_seconds_per_million": run.broker_cpu_per_million,
                "peak_mb": run.peak_mb,
            })
        });
        let latency = row
            .latency
            .as_ref()
            .map(|l| json!({"rate": l.rate, "restart_ms": l.restart_ms, "p50_ms": l.p50_ms, "p99_ms": l.p99_ms, "max_ms": l.max_ms}));
        json!({
            "program": row.program.to_string(),
            "commit_interval_ms": row.interval_ms,
            "runs": runs.collect::<Vec<_>>(),
            "latency": latency,
        })
    };
    json!({
        "orders": figures.orders,
        "emitted": figures.emitted,
        "rows": figures.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

/// The table of medians, and their ratios.
pub(crate) fn markdown(figures: &Figures) -> String {
    let mut text = format!(
        "{} orders, {} records emitted; the same from every program.\n\n| commit every | program | events/s | CPU-s per million | \
         second half | broker | peak memory | first start | restart | p50 | p99 |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
        figures.orders, figures.emitted
    );
    for row in &figures.rows {
        let latency = |figure: fn(&crate::latency::Latency) -> f64| {
            row.latency.as_ref().map_or("–".to_owned(), |latency| format!("{:.0} ms", figure(latency)))
        };
        // Formatting into a string does not fail.
        let _ = writeln!(
            text,
            "| {} ms | {} | {:.0} | {:.1} | {:.1} | {:.1} | {:.0} MB | {:.0} ms | {} | {} | {} |",
            row.interval_ms,
            row.program,
            row.median(|run| run.events_per_second),
            row.median(|run| run.cpu_per_million),
            row.median(|run| run.cpu_per_million_warm),
            row.median(|run| run.broker_cpu_per_million),
            row.median(|run| run.peak_mb as f64),
            row.median(|run| run.first_commit_ms),
            latency(|l| l.restart_ms),
            latency(|l| l.p50_ms),
            latency(|l| l.p99_ms),
        );
    }
    text + &ratios(figures)
}

/// The table of ratios between each Heddle program and each of the others.
fn ratios(figures: &Figures) -> String {
    let of = |row: &Row| row.program.app().is_some();
    let pairs = figures.rows.iter().filter(|row| of(row)).flat_map(|ours| {
        let same = |row: &&Row| !of(row) && row.interval_ms == ours.interval_ms;
        figures.rows.iter().filter(same).map(move |row| (ours, row))
    });
    let mut text = String::new();
    for (ours, row) in pairs {
        if text.is_empty() {
            text.push_str(
                "\n| commit every | program | to | CPU | CPU, second half | events/s | memory | first start | p99 |\n\
                 |---|---|---|---|---|---|---|---|---|\n",
            );
        }
        let ratio = |figure: fn(&crate::measure::Throughput) -> f64| ours.median(figure) / row.median(figure);
        let p99 = match (&ours.latency, &row.latency) {
            (Some(ours), Some(theirs)) => format!("{:.2}", ours.p99_ms / theirs.p99_ms),
            _ => "–".to_owned(),
        };
        let _ = writeln!(
            text,
            "| {} ms | {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {p99} |",
            row.interval_ms,
            ours.program,
            row.program,
            ratio(|run| run.cpu_per_million),
            ratio(|run| run.cpu_per_million_warm),
            ratio(|run| run.events_per_second),
            ratio(|run| run.peak_mb as f64),
            ratio(|run| run.first_commit_ms),
        );
    }
    text
}

/// Writes the table into docs/performance.md, between its markers, and draws the chart beside it.
pub(crate) fn write(figures: &Figures) -> Result<()> {
    std::fs::write(program::home().join("../docs/performance.svg"), chart::svg(figures))?;
    put("heddle-bench", &markdown(figures))
}

/// Writes a text into docs/performance.md, between the markers of its writer.
pub(crate) fn put(writer: &str, text: &str) -> Result<()> {
    let file = program::home().join("../docs/performance.md");
    let [begin, end] = ["begin", "end"].map(|which| format!("<!-- written by {writer}: {which} -->"));
    let whole = std::fs::read_to_string(&file)?;
    let missing = || format!("docs/performance.md has no place for what {writer} writes");
    let (before, rest) = whole.split_once(&begin).with_context(missing)?;
    let (_, after) = rest.split_once(&end).with_context(missing)?;
    Ok(std::fs::write(&file, format!("{before}{begin}\n{text}{end}{after}"))?)
}
