//! The chart of docs/performance.md: CPU and throughput of each program, by commit interval.

use std::fmt::Write as _;

use crate::measure::Throughput;
use crate::program::Program;
use crate::session::{Figures, Row};

const BAR: f64 = 16.0;
const GAP: f64 = 14.0;
const LEFT: f64 = 190.0;
const WIDTH: f64 = 360.0;
const TOP: f64 = 46.0;

/// Two panels of bars, side by side.
pub(crate) fn svg(figures: &Figures) -> String {
    let groups = figures.rows.chunk_by(|a, b| a.interval_ms == b.interval_ms).count() as f64;
    let height = TOP + figures.rows.len() as f64 * BAR + groups * GAP + 20.0;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {height}" font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#ffffff"/>"##,
        2.0 * (LEFT + WIDTH)
    );
    panel(&mut svg, figures, 0.0, "CPU-seconds per million orders (less is better)", |run| run.cpu_per_million);
    panel(&mut svg, figures, LEFT + WIDTH, "orders a second (more is better)", |run| run.events_per_second);
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, figures: &Figures, left: f64, title: &str, figure: fn(&Throughput) -> f64) {
    let most = figures.rows.iter().map(|row| row.median(figure)).fold(0.0, f64::max);
    let scale = (WIDTH - 80.0) / most.max(f64::MIN_POSITIVE);
    // Formatting into a string does not fail.
    let _ = write!(svg, r#"<text x="{}" y="20" font-size="13" font-weight="bold">{title}</text>"#, left + 10.0);
    let mut y = TOP;
    for group in figures.rows.chunk_by(|a, b| a.interval_ms == b.interval_ms) {
        for row in group {
            bar(svg, row, left, y, row.median(figure), scale);
            y += BAR;
        }
        y += GAP;
    }
}

fn bar(svg: &mut String, row: &Row, left: f64, y: f64, value: f64, scale: f64) {
    let colour = match row.program {
        Program::Heddle | Program::HeddleJavaScript | Program::HeddlePython => "#2f6f4f",
        Program::KafkaStreams => "#b5532a",
        Program::Native | Program::NativePacked => "#8a8f98",
    };
    let label = format!("{}, {} ms", row.program, row.interval_ms);
    let shown = if value < 1_000.0 { format!("{value:.1}") } else { format!("{value:.0}") };
    let (text, base) = (LEFT + left - 6.0, LEFT + left);
    let _ = write!(
        svg,
        r#"<text x="{text}" y="{}" text-anchor="end">{label}</text><rect x="{base}" y="{y}" width="{:.1}" height="{}" fill="{colour}"/><text x="{:.1}" y="{}">{shown}</text>"#,
        y + 11.0,
        value * scale,
        BAR - 3.0,
        base + value * scale + 5.0,
        y + 11.0,
    );
}
