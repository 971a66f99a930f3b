//! Adds exemplars to histograms in the text of `/metrics`: for each bucket the trace of a delivery that it counts.
//!
//! The crate prometheus-client writes exemplars only of histograms that it keeps itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Watched;
use crate::telemetry::{Counters, Exemplar, Histogram};

/// Appends exemplars to the lines of buckets. `text` has the buckets of each series in their order.
pub(super) fn add(text: String, components: &[Watched]) -> String {
    let counters = |watched: &Watched| (watched.name.clone(), watched.progress.telemetry().counters());
    let counted = components.iter().map(counters).collect::<BTreeMap<_, _>>();
    let has_any = |counters: &Counters| histograms(counters).iter().any(|(_, histogram)| histogram.has_exemplars());
    if !counted.values().any(has_any) {
        return text;
    }
    let (mut added, mut positions) = (String::with_capacity(text.len()), BTreeMap::new());
    for line in text.lines() {
        added.push_str(line);
        if let Some((series, histogram)) = of_line(line, &counted) {
            let position = positions.entry(series).or_insert(0);
            if let Some(exemplar) = histogram.exemplar(*position) {
                append(&mut added, exemplar);
            }
            *position += 1;
        }
        added.push('\n');
    }
    added
}

/// The histograms of deliveries, by the beginnings of their lines.
fn histograms(counters: &Counters) -> [(&'static str, &Histogram); 3] {
    [
        ("heddle_handler_seconds_bucket{", &counters.handler),
        ("heddle_delivery_seconds_bucket{", &counters.delivery),
        ("heddle_record_age_seconds_bucket{", &counters.age),
    ]
}

/// The series and the histogram of a line, if it is a bucket of one of [`histograms`].
fn of_line<'c>(
    line: &str,
    counted: &'c BTreeMap<String, Counters>,
) -> Option<((&'static str, &'c str), &'c Histogram)> {
    let component = line.split_once("component=\"")?.1.split_once('"')?.0;
    let (component, counters) = counted.get_key_value(component)?;
    let (name, histogram) = histograms(counters).into_iter().find(|(name, _)| line.starts_with(name))?;
    Some(((name, component), histogram))
}

fn append(line: &mut String, exemplar: &Exemplar) {
    let Exemplar { trace, value, at } = exemplar;
    // Writing to a string does not fail.
    let _ = write!(line, " # {{trace_id=\"{trace}\"}} {value} {:.3}", at.as_secs_f64());
}
