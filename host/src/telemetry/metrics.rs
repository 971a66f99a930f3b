//! Counts events. The admin API reads the counts for `/metrics` and `/status`.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::histogram::{AGE_SECONDS, BYTES, DELIVERY_SECONDS, Histogram, RECORDS, REQUEST_SECONDS};
use super::{Event, Observer};
use crate::lock::lock;

/// Counts by the name of a cause or a state. All names are constants, so the number of series is bounded.
pub type ByName = BTreeMap<&'static str, u64>;

/// Counts events of one component.
#[derive(Default)]
pub struct Metrics(Mutex<Counters>);

/// The counts and distributions of one component since the host started.
#[derive(Clone, Debug)]
pub struct Counters {
    /// The time of handlers, in seconds: decoding, the call, and encoding of what it emitted.
    pub handler: Histogram,
    /// The time of deliveries, in seconds: from taking a record to the decision about it.
    pub delivery: Histogram,
    /// The time of commits, in seconds.
    pub commit: Histogram,
    /// The time from the timestamp of a record to the commit of its effects, in seconds.
    pub age: Histogram,
    /// The number of records of each transaction.
    pub batch: Histogram,
    /// The bytes that each transaction emitted.
    pub emitted_bytes: Histogram,
    /// Aborted transactions by [cause](super::AbortCause).
    pub aborts: ByName,
    /// Assignments, revocations and losses of tasks, see [`Membership`](super::Membership).
    pub rebalances: ByName,
    /// The times that a worker joined again, by [cause](super::RejoinCause).
    pub rejoins: ByName,
    /// Changes of the breaker, by its new state.
    pub breaker: ByName,
    /// Instances that were replaced.
    pub instances_replaced: u64,
    /// Versions to which a worker switched.
    pub versions_switched: u64,
    /// Requests to the schema registry, by kind.
    pub registry: BTreeMap<&'static str, RegistryCounters>,
}

/// Requests to the schema registry of one kind.
#[derive(Clone, Debug)]
pub struct RegistryCounters {
    /// The time of requests, in seconds.
    pub took: Histogram,
    /// Failed requests, by kind of error.
    pub errors: ByName,
}

impl Default for RegistryCounters {
    fn default() -> Self {
        Self { took: Histogram::new(REQUEST_SECONDS), errors: ByName::new() }
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            handler: Histogram::new(DELIVERY_SECONDS),
            delivery: Histogram::new(DELIVERY_SECONDS),
            commit: Histogram::new(REQUEST_SECONDS),
            age: Histogram::new(AGE_SECONDS),
            batch: Histogram::new(RECORDS),
            emitted_bytes: Histogram::new(BYTES),
            aborts: ByName::new(),
            rebalances: ByName::new(),
            rejoins: ByName::new(),
            breaker: ByName::new(),
            instances_replaced: 0,
            versions_switched: 0,
            registry: BTreeMap::new(),
        }
    }
}

impl Metrics {
    /// A copy of the counts.
    #[must_use]
    pub fn counters(&self) -> Counters {
        lock(&self.0).clone()
    }
}

impl Observer for Metrics {
    fn observe(&self, _component: &str, event: &Event<'_>) {
        // Counted with their transaction, or not at all.
        let is_frequent = matches!(
            event,
            Event::DeliveryBegun(_) | Event::DeliveryEnded(_) | Event::CommitBegun(_) | Event::RecordsPolled(_)
        );
        if !is_frequent {
            event.count(&mut lock(&self.0));
        }
    }
}
