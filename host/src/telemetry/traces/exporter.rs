//! Sends spans to a collector, from a separate thread.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use prost::Message as _;
use ureq::tls::{RootCerts, TlsConfig};

use super::otlp::{ExportRequest, ExportResponse, Resource, ResourceSpans, Scope, ScopeSpans};
use super::queue::{Batch, Dropped, Queue};
use super::span::text;
use super::{Service, Settings, Traces};
use crate::telemetry::{SpansDropped, Telemetry};
use crate::tls::Trusted;

/// The version of the names of attributes.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.44.0";
/// The number of attempts to send a batch before it is dropped.
const ATTEMPTS_MAX: u32 = 5;
/// The pause before the second attempt. It doubles with every attempt.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The most bytes of an answer that are read. A collector answers with a number and a reason.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// The longest pause, also if the collector asks for a longer one.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// The thread that exports spans. [`Traces::stop`] ends it.
pub type Exporting = JoinHandle<()>;

/// The outcome of a request.
enum Answer {
    /// The collector has the spans, except for this many.
    Taken { refused: usize, why: String },
    /// The collector will never take them.
    Refused(String),
    /// The collector may take them later: after this time, if it said so.
    Later { why: String, after: Option<Duration> },
}

/// Starts to export the spans of `traces`, which have the same settings. `host` is the name of this host, and
/// `telemetry` reports its events.
///
/// # Errors
/// If the thread cannot be started.
pub fn start(
    traces: &Traces,
    settings: Settings,
    trusted: Option<Trusted>,
    host: String,
    telemetry: Telemetry,
) -> io::Result<Exporting> {
    let roots = trusted.map_or(RootCerts::WebPki, |trusted| trusted.0);
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        // A redirected request arrives without its spans.
        .max_redirects(0)
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .build();
    let exporter = Exporter { agent: agent.into(), settings, host, telemetry, queue: traces.queue.clone() };
    thread::Builder::new().name("traces".to_owned()).spawn(move || exporter.run())
}

struct Exporter {
    agent: ureq::Agent,
    settings: Settings,
    host: String,
    telemetry: Telemetry,
    queue: Arc<Queue>,
}

/// Reads the answer of a collector that took spans. `None`: no collector answers so, but a proxy or another service.
fn taken(body: &[u8]) -> Option<Answer> {
    // Some collectors answer in JSON whatever they are asked in.
    if let Ok(serde_json::Value::Object(answer)) = serde_json::from_slice(body) {
        let partial = answer.get("partialSuccess").cloned().unwrap_or_default();
        let refused = &partial["rejectedSpans"];
        let refused = refused.as_str().map_or_else(|| refused.as_u64(), |text| text.parse().ok()).unwrap_or(0);
        let why = partial["errorMessage"].as_str().unwrap_or_default().to_owned();
        return Some(Answer::Taken { refused: usize::try_from(refused).unwrap_or(usize::MAX), why });
    }
    let partial = ExportResponse::decode(body).ok()?.partial_success;
    let (refused, why) = partial.map(|part| (part.rejected_spans, part.error_message)).unwrap_or_default();
    Some(Answer::Taken { refused: usize::try_from(refused).unwrap_or(0), why })
}

impl Exporter {
    fn run(self) {
        while let Some(batch) = self.queue.take(self.settings.batch_spans_max, self.settings.delay) {
            if !batch.is_empty() && !self.send(batch) {
                break;
            }
        }
        self.queue.clear();
    }

    /// Sends a batch until the collector has it or refuses it. Returns false if the export is over.
    fn send(&self, batch: Batch) -> bool {
        let (spans, body) = (batch.len(), self.request(batch).encode_to_vec());
        let (mut pause, mut stops_at) = (RETRY_AFTER, self.queue.pause(Duration::ZERO));
        for attempt in 1.. {
            // A request that is under way when the host stops may take as long as any other.
            let left = stops_at.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let (why, after) = match self.post(&body, left.map_or(self.settings.timeout, |left| left)) {
                Answer::Taken { refused, why } => {
                    let refused = refused.min(spans);
                    self.queue.count(spans - refused, 0, Dropped::Refused);
                    self.give_up(refused, Dropped::Refused, &why);
                    return true;
                }
                Answer::Refused(why) => {
                    self.give_up(spans, Dropped::Refused, &why);
                    return true;
                }
                Answer::Later { why, after } => (why, after),
            };
            stops_at = self.queue.pause(Duration::ZERO);
            if attempt == ATTEMPTS_MAX || stops_at.is_some() {
                self.give_up(spans, Dropped::Unreachable, &why);
                return stops_at.is_none();
            }
            stops_at = self.queue.pause(after.unwrap_or(pause).min(RETRY_AFTER_MAX));
            pause *= 2;
        }
        true
    }

    fn give_up(&self, spans: usize, why: Dropped, cause: &str) {
        if spans > 0 {
            self.queue.count(0, spans, why);
            self.telemetry.report(SpansDropped { spans, why, cause, collector: &self.settings.url });
        }
    }

    fn post(&self, body: &[u8], timeout: Duration) -> Answer {
        let later = |error: &ureq::Error| Answer::Later { why: error.to_string(), after: None };
        let mut request = self.agent.post(&self.settings.url).header("Content-Type", "application/x-protobuf");
        for (name, value) in &self.settings.headers {
            request = request.header(name, value);
        }
        let timeout = timeout.max(Duration::from_millis(1));
        let mut answer = match request.config().timeout_global(Some(timeout)).build().send(body) {
            Ok(answer) => answer,
            Err(error) => return later(&error),
        };
        let status = answer.status().as_u16();
        let after = answer.headers().get("Retry-After").and_then(|after| after.to_str().ok()?.parse().ok());
        let body = match answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec() {
            Ok(body) => Some(body),
            Err(ureq::Error::BodyExceedsLimit(_)) => None,
            Err(error) => return later(&error),
        };
        match status {
            200..=299 => body.as_deref().and_then(taken).unwrap_or_else(|| {
                Answer::Refused(format!("what answered {status} is not a collector of OTLP over HTTP"))
            }),
            429 | 502 | 503 | 504 => {
                let after = after.map(Duration::from_secs);
                Answer::Later { why: format!("the collector answered {status}"), after }
            }
            _ => Answer::Refused(format!("the collector answered {status}")),
        }
    }

    fn request(&self, batch: Batch) -> ExportRequest {
        let mut by_service = BTreeMap::<Service, Vec<_>>::new();
        for (service, span) in batch {
            by_service.entry(service).or_default().push(span);
        }
        let of_service = |(service, spans)| {
            let (name, version) = ("heddle".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
            let scope = Some(Scope { name, version });
            let scope_spans = vec![ScopeSpans { scope, spans, schema_url: SCHEMA.to_owned() }];
            ResourceSpans { resource: Some(self.resource(&service)), scope_spans, schema_url: SCHEMA.to_owned() }
        };
        ExportRequest { resource_spans: by_service.into_iter().map(of_service).collect() }
    }

    fn resource(&self, service: &Service) -> Resource {
        let name = self.settings.service.as_deref().unwrap_or(&service.component);
        let mut attributes = vec![
            text("service.name", name),
            text("service.instance.id", self.host.as_str()),
            text("telemetry.sdk.name", "heddle"),
            text("telemetry.sdk.language", "rust"),
            text("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
            text("heddle.component", &*service.component),
        ];
        if let Some(digest) = &service.digest {
            let bare = digest.trim_start_matches("sha256:");
            attributes.push(text("service.version", bare.get(..12).unwrap_or(bare)));
            attributes.push(text("heddle.component.digest", &**digest));
        }
        let is_set = |name: &str| attributes.iter().any(|attribute| attribute.key == name);
        let others = self.settings.resource.iter().filter(|(name, _)| !is_set(name));
        let others = others.map(|(name, value)| text(name.as_str(), value.as_str())).collect::<Vec<_>>();
        attributes.extend(others);
        Resource { attributes }
    }
}
