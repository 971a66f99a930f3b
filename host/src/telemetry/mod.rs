//! The events that are worth reporting. Each is one struct that has its log line and its metrics in one place.
//!
//! ```text
//!  runtime, registry, deploy, cli ──event──> Telemetry ─┬─> Logs      writes the event's line
//!                                                       ├─> Metrics   counts it
//!                                                       ├─> Traces    exports its spans
//!                                                       └─> others    the simulation asserts
//! ```
//!
//! A delivery costs no lock here. [`Metrics`] and [`Traces`] get deliveries when their transaction ends, all at once.

mod component;
mod delivery;
mod group;
mod histogram;
mod host;
mod limit;
mod logs;
mod metrics;
mod state;
mod topics;
pub mod traces;
mod transaction;

pub use component::{
    BreakerChanged, InstanceReplaced, ParkedDrained, RegistryAwaited, SchemaUndecodable, TaskResumed, TaskStuck,
    VersionSwitched,
};
pub use delivery::{DeliveryBegun, DeliveryEnded, Measured, Outcome};
pub use group::{
    Membership, PartitionsUnread, Rebalanced, RecordsPolled, RejoinCause, TasksLate, TransactionTaken, WorkerFailed,
    WorkerJoined, WorkerRejoins,
};
pub use histogram::{Exemplar, Histogram};
pub use host::{
    ComponentStarted, HostReady, HostStarted, HostStopped, LogUnwatched, RegistryCalled, SpansDropped, UpkeepFailed,
};
pub use logs::Logs;
pub use metrics::{ByName, Counters, Metrics, RegistryCounters};
pub use state::{CopyDiscarded, CopyRestored, DiskSlow, StateFull, StateTaken};
pub use topics::{
    ComponentResumed, ComponentStopped, PartitionsAdded, RecordsLost, RetryTopicRefused, TopicRecreated, TopicUse,
};
pub use traces::{DeliverySpan, Dropped, Ending, SpanCounts, Traces};
pub use transaction::{AbortCause, CommitBegun, CommitEnded, TransactionAborted};

use std::sync::Arc;

use heddle_core::delivery::ComponentName;
use heddle_core::trace::Tracing;

use limit::Limits;

/// The target of log lines that an operator has to see. Commands print them, too.
const ALERT: &str = "heddle::alert";

macro_rules! events {
    ($($name:ident $(<$life:lifetime>)?,)+) => {
        /// An event, by its struct.
        #[derive(Debug)]
        pub enum Event<'e> {
            $(
                #[doc = concat!("See [`", stringify!($name), "`].")]
                $name($name $(<$life>)?),
            )+
        }

        impl Event<'_> {
            /// Writes the event's log line.
            fn log(&self, component: &str, limits: &Limits) {
                match self { $(Self::$name(event) => event.log(component, limits),)+ }
            }

            /// Counts the event.
            fn count(&self, counters: &mut Counters) {
                match self { $(Self::$name(event) => event.count(counters),)+ }
            }

            /// Exports the spans of the event.
            fn trace(&self, component: &ComponentName, traces: &Traces) {
                match self { $(Self::$name(event) => event.trace(component, traces),)+ }
            }
        }

        $(
            impl<'e> From<$name $(<$life>)?> for Event<'e> {
                fn from(event: $name $(<$life>)?) -> Self {
                    Self::$name(event)
                }
            }
        )+
    };
}

events! {
    DeliveryBegun<'e>,
    DeliveryEnded<'e>,
    CommitBegun,
    CommitEnded<'e>,
    TransactionAborted<'e>,
    WorkerJoined,
    Rebalanced<'e>,
    RecordsPolled<'e>,
    WorkerRejoins<'e>,
    WorkerFailed<'e>,
    TasksLate<'e>,
    PartitionsUnread,
    TransactionTaken<'e>,
    CopyRestored<'e>,
    CopyDiscarded<'e>,
    DiskSlow,
    StateFull<'e>,
    StateTaken,
    ComponentStopped<'e>,
    ComponentResumed,
    TopicRecreated<'e>,
    PartitionsAdded<'e>,
    RecordsLost<'e>,
    RetryTopicRefused<'e>,
    BreakerChanged,
    VersionSwitched<'e>,
    SchemaUndecodable<'e>,
    RegistryAwaited<'e>,
    TaskStuck<'e>,
    TaskResumed<'e>,
    ParkedDrained,
    InstanceReplaced,
    HostStarted<'e>,
    ComponentStarted<'e>,
    HostReady,
    HostStopped,
    RegistryCalled,
    SpansDropped<'e>,
    UpkeepFailed<'e>,
    LogUnwatched<'e>,
}

/// The log line, the metrics and the spans of an event.
trait Report {
    /// Writes the log line.
    fn log(&self, component: &str, limits: &Limits);

    /// Counts the event. Events without metrics only have a line.
    fn count(&self, _counters: &mut Counters) {}

    /// Exports the event's spans. Most events have none.
    fn trace(&self, _component: &ComponentName, _traces: &Traces) {}
}

/// Learns about events.
pub trait Observer: Send + Sync {
    /// Learns about an event of `component`. For events of the host, it is the app.
    fn observe(&self, component: &str, event: &Event<'_>);
}

/// Reports events of one component, or of the host. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry(Arc<Inner>);

struct Inner {
    component: ComponentName,
    metrics: Arc<Metrics>,
    others: Vec<Arc<dyn Observer>>,
    logs: Option<Logs>,
    traces: Option<Traces>,
}

impl Telemetry {
    /// Creates the telemetry of a component, with log lines and metrics, and without traces.
    #[must_use]
    pub fn new(component: impl Into<ComponentName>) -> Self {
        Self::traced(component, None)
    }

    /// Creates the telemetry of a component or of the host, with log lines and metrics, and with these traces.
    #[must_use]
    pub fn traced(component: impl Into<ComponentName>, traces: Option<Traces>) -> Self {
        let (metrics, others, logs) = (Arc::default(), vec![], Some(Logs::default()));
        Self(Arc::new(Inner { component: component.into(), metrics, others, logs, traces }))
    }

    /// Creates the telemetry of a component that has the same traces.
    #[must_use]
    pub fn of(&self, component: impl Into<ComponentName>) -> Self {
        Self::traced(component, self.0.traces.clone())
    }

    /// Creates telemetry with this observer, and without log lines.
    #[must_use]
    pub fn observed_by(
        component: impl Into<ComponentName>,
        observer: Arc<dyn Observer>,
        traces: Option<Traces>,
    ) -> Self {
        let (metrics, others) = (Arc::default(), vec![observer]);
        Self(Arc::new(Inner { component: component.into(), metrics, others, logs: None, traces }))
    }

    /// The traces, if there are any.
    #[must_use]
    pub fn traces(&self) -> Option<&Traces> {
        self.0.traces.as_ref()
    }

    /// The settings of tracing. `None` if it is off.
    #[must_use]
    pub fn tracing(&self) -> Option<&Tracing> {
        self.0.traces.as_ref().map(Traces::tracing)
    }

    /// The component.
    #[must_use]
    pub fn component(&self) -> &ComponentName {
        &self.0.component
    }

    /// The metrics so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.0.metrics.counters()
    }

    /// Reports the begin of a delivery. It has no log line and no metrics, so only other observers learn about it.
    pub fn delivery_begun(&self, event: DeliveryBegun<'_>) {
        if !self.0.others.is_empty() {
            self.report(event);
        }
    }

    /// Reports the end of a delivery. One without a fault has no log line, and is counted with its transaction.
    pub fn delivery_ended(&self, event: DeliveryEnded<'_>) {
        if event.fault.is_some() || !self.0.others.is_empty() {
            self.report(event);
        }
    }

    /// Reports an event to all observers.
    pub fn report<'e>(&self, event: impl Into<Event<'e>>) {
        let (event, component) = (event.into(), &self.0.component);
        if let Some(logs) = &self.0.logs {
            logs.observe(component, &event);
        }
        self.0.metrics.observe(component, &event);
        if let Some(traces) = &self.0.traces {
            event.trace(component, traces);
        }
        self.0.others.iter().for_each(|observer| observer.observe(component, &event));
    }
}
