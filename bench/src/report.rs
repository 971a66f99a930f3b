//! The figures as a table, as JSON, and in docs/performance.md.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::chart;
use crate::program::{self, Program};
use crate::session::{Figures, Row};

const BEGIN: &str = "<!-- written by heddle-bench: begin -->";
const END: &str = "<!-- written by heddle-bench: end -->";

/// All figures, every run.
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
            .map(|l| json!({"restart_ms": l.restart_ms, "p50_ms": l.p50_ms, "p99_ms": l.p99_ms, "max_ms": l.max_ms}));
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
        "rates": figures.rates,
        "rows": figures.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

/// The table of medians, and what they are to each other.
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
    text.push('\n');
    text.push_str(&ratios(figures));
    text
}

/// What was promised, and what came of it.
fn ratios(figures: &Figures) -> String {
    let mut text = "| commit every | Heddle to | CPU | CPU, second half | events/s | memory | first start | p99 |\n\
                    |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in figures.rows.iter().filter(|row| row.program != Program::Heddle) {
        let is_ours = |other: &&Row| other.program == Program::Heddle && other.interval_ms == row.interval_ms;
        let Some(ours) = figures.rows.iter().find(is_ours) else { continue };
        let ratio = |figure: fn(&crate::measure::Throughput) -> f64| ours.median(figure) / row.median(figure);
        let p99 = match (&ours.latency, &row.latency) {
            (Some(ours), Some(theirs)) => format!("{:.2}", ours.p99_ms / theirs.p99_ms),
            _ => "–".to_owned(),
        };
        let _ = writeln!(
            text,
            "| {} ms | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {p99} |",
            row.interval_ms,
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

/// Puts the table into docs/performance.md, between its marks, and draws the chart beside it.
pub(crate) fn write(figures: &Figures) -> Result<()> {
    let docs = program::home().join("../docs");
    std::fs::write(docs.join("performance.svg"), chart::svg(figures))?;
    let file = docs.join("performance.md");
    let text = std::fs::read_to_string(&file)?;
    let (before, rest) = text.split_once(BEGIN).context("docs/performance.md has no place for the figures")?;
    let (_, after) = rest.split_once(END).context("docs/performance.md has no end of the place for the figures")?;
    std::fs::write(&file, format!("{before}{BEGIN}\n{}{END}{after}", markdown(figures)))?;
    Ok(())
}
