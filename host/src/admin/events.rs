//! The metrics of events, in the form of `/metrics`: histograms, and counts by cause.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::Watched;
use crate::runtime::Progress;
use crate::telemetry::{AbortCause, ByName, Counters, Dropped, Histogram, Membership, RejoinCause, Telemetry, Traces};

type Label = (&'static str, String);
type Counts<const N: usize> = Family<[Label; N], Counter<u64, AtomicU64>>;

/// Histograms with their labels, as one metric.
struct Distributions<const N: usize>(Vec<([Label; N], Histogram)>);

impl<const N: usize> fmt::Debug for Distributions<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Distributions").field("series", &self.0.len()).finish()
    }
}

impl<const N: usize> EncodeMetric for Distributions<N>
where
    [Label; N]: Send + Sync,
{
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (labels, histogram) in &self.0 {
            // The encoder adds the counts of smaller buckets, and writes this bound as infinite.
            let bound = |bound: f64| if bound.is_infinite() { f64::MAX } else { bound };
            let buckets = histogram.buckets().map(|(upper, count)| (bound(upper), count)).collect::<Vec<_>>();
            let mut encoder = encoder.encode_family(labels)?;
            encoder.encode_histogram::<[Label; 0]>(histogram.sum(), histogram.count(), &buckets, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// The components with their counts.
type Counted<'c> = [(&'c Watched, Counters)];

/// Registers the metrics of components and of the host.
pub(super) fn register(components: &[Watched], host: Option<&Telemetry>, registry: &mut Registry) {
    let counters = |watched: &'_ Watched| watched.progress.telemetry().counters();
    let counted = components.iter().map(|watched| (watched, counters(watched))).collect::<Vec<_>>();
    distributions(&counted, registry);
    causes(&counted, registry);
    restored(components.iter().map(|watched| (watched, &watched.progress)), registry);
    if let Some(host) = host {
        requests(&host.counters(), registry);
        spans(host, registry);
    }
}

fn component(watched: &Watched) -> Label {
    ("component", watched.name.clone())
}

fn distributions(counted: &Counted<'_>, registry: &mut Registry) {
    let mut register = |name: &str, help: &str, unit: Option<Unit>, histogram: fn(&Counters) -> &Histogram| {
        let of = |(watched, counters): &(&Watched, Counters)| ([component(watched)], histogram(counters).clone());
        let all = Distributions(counted.iter().map(of).collect());
        match unit {
            Some(unit) => registry.register_with_unit(name, help, unit, all),
            None => registry.register(name, help, all),
        }
    };
    let seconds = || Some(Unit::Seconds);
    register("handler", "Time of handlers, with decoding and encoding", seconds(), |counters| &counters.handler);
    register("delivery", "Time from taking a record to the decision about it", seconds(), |counters| {
        &counters.delivery
    });
    register("commit", "Time of commits", seconds(), |counters| &counters.commit);
    register("record_age", "Time from a record's timestamp to its commit", seconds(), |counters| &counters.age);
    register("transaction_records", "Records of each transaction", None, |counters| &counters.batch);
    register("transaction_emitted", "Bytes that each transaction emitted", Some(Unit::Bytes), |counters| {
        &counters.emitted_bytes
    });
}

fn causes(counted: &Counted<'_>, registry: &mut Registry) {
    let mut register = |name: &str, help: &str, label, names: &[&'static str], counts: fn(&Counters) -> &ByName| {
        let family = Counts::<2>::default();
        registry.register(name, help, family.clone());
        for (watched, counters) in counted {
            // Every name has a series, so that an alert sees the first increase.
            for name in names {
                let labels = [component(watched), (label, (*name).to_owned())];
                let count = counts(counters).get(name).copied().unwrap_or(0);
                family.get_or_create(&labels).inc_by(count);
            }
        }
    };
    register(
        "transaction_aborts",
        "Aborted transactions by cause",
        "cause",
        &AbortCause::ALL.map(AbortCause::name),
        |counters| &counters.aborts,
    );
    register(
        "rebalances",
        "Changes of a worker's tasks",
        "change",
        &Membership::ALL.map(Membership::name),
        |counters| &counters.rebalances,
    );
    register(
        "rejoins",
        "Workers that joined again after a fault",
        "cause",
        &RejoinCause::ALL.map(RejoinCause::name),
        |counters| &counters.rejoins,
    );
    register(
        "breaker_changes",
        "Changes of the breaker by new state",
        "state",
        &["closed", "half-open", "open", "stopped"],
        |counters| &counters.breaker,
    );
    let mut single = |name: &str, help: &str, count: fn(&(&Watched, Counters)) -> u64| {
        let family = Counts::<1>::default();
        registry.register(name, help, family.clone());
        for counted in counted {
            family.get_or_create(&[component(counted.0)]).inc_by(count(counted));
        }
    };
    single("fences", "Workers that a newer member fenced", |(_, counters)| {
        counters.rejoins.get(RejoinCause::Fenced.name()).copied().unwrap_or(0)
    });
    single("instances_replaced", "Instances that were discarded and replaced", |(_, counters)| {
        counters.instances_replaced
    });
    single("version_switches", "Times that a worker switched to another version", |(_, counters)| {
        counters.versions_switched
    });
    single("deploys", "Versions that this host took over since it started", |(watched, _)| watched.slot.switches());
}

fn restored<'c>(components: impl Iterator<Item = (&'c Watched, &'c Arc<Progress>)>, registry: &mut Registry) {
    let restored = Counts::<1>::default();
    registry.register("restored_records", "Changelog records read to restore state", restored.clone());
    for (watched, progress) in components {
        restored.get_or_create(&[component(watched)]).inc_by(progress.snapshot().restored);
    }
}

fn requests(counters: &Counters, registry: &mut Registry) {
    let (requests, errors) = (Counts::<1>::default(), Counts::<2>::default());
    registry.register("registry_requests", "Requests to the schema registry", requests.clone());
    registry.register("registry_errors", "Failed requests to the schema registry, by error", errors.clone());
    let label = |call: &str| ("call", call.to_owned());
    for (call, counted) in &counters.registry {
        requests.get_or_create(&[label(call)]).inc_by(counted.took.count());
        for (error, count) in &counted.errors {
            errors.get_or_create(&[label(call), ("error", (*error).to_owned())]).inc_by(*count);
        }
    }
    let took = counters.registry.iter().map(|(call, counted)| ([label(call)], counted.took.clone()));
    let took = Distributions(took.collect());
    registry.register_with_unit("registry_request", "Time of requests to the schema registry", Unit::Seconds, took);
}

/// Nothing while tracing is off.
fn spans(host: &Telemetry, registry: &mut Registry) {
    let Some(counts) = host.traces().map(Traces::counts) else { return };
    let (exported, dropped) = (Counter::<u64, AtomicU64>::default(), Counts::<1>::default());
    exported.inc_by(counts.exported);
    registry.register("spans_exported", "Spans that the collector has", exported);
    registry.register("spans_dropped", "Spans that were dropped, by reason", dropped.clone());
    for why in Dropped::ALL {
        dropped.get_or_create(&[("reason", why.name().to_owned())]).inc_by(counts.dropped(why));
    }
}
