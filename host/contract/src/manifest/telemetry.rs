//! `[telemetry]` in `heddle.toml`: the format of log lines and the detail of metrics.

use super::check::Section;

pub(super) const KEYS: &[&str] = &["log", "metrics"];

/// The settings for log lines and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// The format of log lines.
    pub log: LogFormat,
    /// The detail of metrics.
    pub metrics: MetricDetail,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The detail of metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricDetail {
    /// One series for each component.
    #[default]
    Components,
    /// Also one series for each partition of this host's tasks.
    Partitions,
}

pub(super) fn telemetry(section: &Section<'_>) -> Telemetry {
    let log = section.field("log");
    let log = log.and_then(|field| field.word(&[("text", LogFormat::Text), ("json", LogFormat::Json)]));
    let words = [("components", MetricDetail::Components), ("partitions", MetricDetail::Partitions)];
    let metrics = section.field("metrics").and_then(|field| field.word(&words));
    Telemetry { log: log.unwrap_or_default(), metrics: metrics.unwrap_or_default() }
}
