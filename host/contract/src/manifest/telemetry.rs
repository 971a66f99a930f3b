//! `[telemetry]` in `heddle.toml`: the format of log lines, the detail of metrics, and traces.

use heddle_core::trace::Relation;

use super::check::Section;
use super::deploy;

pub(super) const KEYS: &[&str] = &["log", "metrics", "traces", "trace-ratio", "trace-relation", "spans"];

/// The settings for log lines, metrics and traces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// The format of log lines.
    pub log: LogFormat,
    /// The detail of metrics.
    pub metrics: MetricDetail,
    /// The traces.
    pub traces: Traces,
}

/// The settings for traces. The standard variables of OpenTelemetry override the first two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// The address of the collector, without the path of the signal. Without one here or in a variable, spans do
    /// not exist.
    pub collector: Option<String>,
    /// The part of new traces that are recorded, in hundredths of a percent.
    pub ratio: Option<u32>,
    /// The relation of a delivery's span to the span that created the record.
    pub relation: Relation,
    /// The detail of spans.
    pub spans: SpanDetail,
}

/// The detail of spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpanDetail {
    /// Each emitted record has a separate span.
    #[default]
    Emits,
    /// A delivery has one span, and all records that it emits refer to it.
    Deliveries,
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
    let traces = traces(section);
    Telemetry { log: log.unwrap_or_default(), metrics: metrics.unwrap_or_default(), traces }
}

/// Returns true if a text is the address of a collector, `http://` or `https://`. It holds no user: log lines show it.
#[must_use]
pub fn is_collector(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // An IPv6 address ends with a bracket.
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    !name.is_empty()
        && !name.contains('@')
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
        && !url.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn traces(section: &Section<'_>) -> Traces {
    let collector = section.field("traces").and_then(|field| {
        let url = field.text()?;
        let is_url = is_collector(&url);
        if !is_url {
            field
                .problem(&format!("`{url}` is not an address"), "write http://<host>:<port> of an OTLP/HTTP collector");
        }
        is_url.then_some(url)
    });
    let ratio = section.field("trace-ratio").and_then(|field| deploy::percent(&field));
    let words = [("child", Relation::Child), ("link", Relation::Link)];
    let relation = section.field("trace-relation").and_then(|field| field.word(&words)).unwrap_or_default();
    let words = [("emits", SpanDetail::Emits), ("deliveries", SpanDetail::Deliveries)];
    let spans = section.field("spans").and_then(|field| field.word(&words)).unwrap_or_default();
    Traces { collector, ratio, relation, spans }
}

#[cfg(test)]
mod tests {
    use super::is_collector;

    #[test]
    fn addresses_of_collectors_have_a_host_and_no_user() {
        for url in ["http://a", "https://a:4318/x?y=1", "http://127.0.0.1:1", "http://[::1]:4318", "http://[::1]/"] {
            assert!(is_collector(url), "{url}");
        }
        for url in [
            "",
            "a:4318",
            "grpc://a:4317",
            "http://",
            "http:///x",
            "http://:1",
            "http://a:",
            "http://a:99999",
            "http://a:0",
            "http://u:p@a",
            "http://a b",
            "http://a\n",
        ] {
            assert!(!is_collector(url), "{url}");
        }
    }
}
