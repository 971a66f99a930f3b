//! Traces: which spans there are, and how they get to a collector.
//!
//! ```text
//!  delivery ──> DeliverySpan ──committed, aborted──> spans ─┐
//!  poll, commit, registry call, restoration ────> spans ────┴──> Queue ──exporter's thread──> OTLP over HTTP
//! ```
//!
//! `span` builds spans and does no I/O. A worker never waits here: what the queue cannot hold is dropped and counted.

mod exporter;
mod otlp;
mod queue;
mod settings;
mod span;

pub use exporter::{Exporting, start};
pub use otlp::{ExportRequest, ExportResponse, KeyValue, Kind, PartialSuccess, Span, Value};
pub use queue::{Dropped, SpanCounts};
pub use settings::{Settings, WrongVariable};
pub use span::{DeliverySpan, Ending};

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use heddle_core::delivery::ComponentName;
use heddle_core::event::{Record, TopicPartition};
use heddle_core::trace::{Context, SpanId, TraceId, Tracing};

use queue::Queue;

/// The service that a span belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Service {
    /// The component, or the app for spans of the host.
    component: ComponentName,
    /// The digest of the component's version.
    digest: Option<Arc<str>>,
}

/// Takes the spans of a host. Cheap to clone.
#[derive(Clone)]
pub struct Traces {
    tracing: Tracing,
    links_max: usize,
    queue: Arc<Queue>,
}

/// The time since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The ids of a span that begins a trace and is in no record. The time distinguishes it from others of its name.
fn root_ids(name: &str, component: &str, time: Duration) -> (TraceId, SpanId) {
    let trace = TraceId::derived(&[name.as_bytes(), component.as_bytes(), &time.as_nanos().to_be_bytes()]);
    (trace, SpanId::derived(&[&trace.0]))
}

impl Traces {
    /// Creates the traces of a host. At most `spans_max` spans wait for the exporter, and a span has at most
    /// `links_max` links. Nothing is exported until [`start`].
    #[must_use]
    pub fn new(tracing: Tracing, spans_max: usize, links_max: usize) -> Self {
        Self { tracing, links_max, queue: Arc::new(Queue::new(spans_max)) }
    }

    /// The settings of tracing.
    #[must_use]
    pub fn tracing(&self) -> &Tracing {
        &self.tracing
    }

    /// The number of spans that were exported and dropped so far.
    #[must_use]
    pub fn counts(&self) -> SpanCounts {
        self.queue.counts()
    }

    /// The ids of a span that begins a trace, if the trace is recorded.
    fn root(&self, name: &str, component: &str, time: Duration) -> Option<(TraceId, SpanId)> {
        let ids = root_ids(name, component, time);
        self.tracing.sampler.records(ids.0).then_some(ids)
    }

    fn service(component: &ComponentName, digest: Option<&Arc<str>>) -> Service {
        Service { component: component.clone(), digest: digest.cloned() }
    }

    /// Adds the spans of a committed transaction: its deliveries, and the commit.
    pub(super) fn committed<'s>(
        &self,
        component: &ComponentName,
        deliveries: impl Iterator<Item = &'s DeliverySpan>,
        records: u64,
        took: Duration,
    ) {
        let deliveries = deliveries.collect::<Vec<_>>();
        let Some(first) = deliveries.first() else { return };
        let ended = now();
        let ids = root_ids("commit", component, ended);
        let times = (ended.saturating_sub(took), ended);
        let commit = span::commit(&first.group, &deliveries, records, self.links_max, ids, times);
        let service = Self::service(component, first.digest.as_ref());
        let spans = deliveries.iter().map(|delivery| 1 + delivery.creates.len()).sum::<usize>() + 1;
        // What does not fit is not built.
        self.queue.push(&service, spans, deliveries.iter().flat_map(|delivery| delivery.committed()).chain([commit]));
    }

    /// Adds the spans of the deliveries of an aborted transaction.
    pub(super) fn aborted<'s>(
        &self,
        component: &ComponentName,
        deliveries: impl Iterator<Item = &'s DeliverySpan>,
        cause: &'static str,
    ) {
        let deliveries = deliveries.collect::<Vec<_>>();
        let Some(first) = deliveries.first() else { return };
        let service = Self::service(component, first.digest.as_ref());
        self.queue.push(&service, deliveries.len(), deliveries.iter().map(|delivery| delivery.aborted(cause)));
    }

    /// Adds the span of a poll that returned these records, if one of their traces is recorded.
    pub(super) fn polled(
        &self,
        component: &ComponentName,
        digest: Option<&Arc<str>>,
        group: &str,
        records: &[Record],
        took: Duration,
    ) {
        let recorded = |record: &Record| Context::of(record).filter(|of| self.tracing.sampler.records_child_of(*of));
        let creations = records.iter().filter_map(recorded).take(self.links_max).collect::<Vec<_>>();
        let ended = now();
        let ids = match creations.is_empty() {
            true => self.root("poll", component, ended),
            false => Some(root_ids("poll", component, ended)),
        };
        let Some(ids) = ids else { return };
        let poll = || span::poll(group, records, &creations, ids, (ended.saturating_sub(took), ended));
        self.queue.push(&Self::service(component, digest), 1, std::iter::once_with(poll));
    }

    /// Adds the span of a request to the schema registry.
    pub(super) fn requested(
        &self,
        component: &ComponentName,
        call: &'static str,
        error: Option<&'static str>,
        took: Duration,
    ) {
        let ended = now();
        let Some(ids) = self.root(call, component, ended) else { return };
        let request = || span::request(call, error, ids, (ended.saturating_sub(took), ended));
        self.queue.push(&Self::service(component, None), 1, std::iter::once_with(request));
    }

    /// Adds the span of a restoration.
    pub(super) fn restored(&self, component: &ComponentName, changelog: &TopicPartition, records: u64, took: Duration) {
        let ended = now();
        let Some(ids) = self.root(&changelog.to_string(), component, ended) else { return };
        let restore = || span::restore(changelog, records, ids, (ended.saturating_sub(took), ended));
        self.queue.push(&Self::service(component, None), 1, std::iter::once_with(restore));
    }

    /// Ends the export: the exporter sends what waits, until the deadline. What is left then is dropped.
    pub fn stop(&self, deadline: std::time::Instant) {
        self.queue.stop(deadline);
    }
}
