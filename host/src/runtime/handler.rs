//! The handler that a worker calls for each record: a component's instance, or a stand-in.

use std::sync::Arc;
use std::time::Duration;

use heddle_core::batch::ChangelogRecord;
use heddle_core::dedup::MessageId;
use heddle_core::delivery::Delivery;
use heddle_core::effects::Effects;
use heddle_core::event::{NewRecordRef, Record, Timestamp, Topic};
use heddle_core::fault::{EventFault, EventFaultKind, Fault};
use heddle_core::state::Reads;
use heddle_core::task::{Dispatch, Form, Prepared, Verdict};

use super::clock::Clock;
use super::known_limits::KnownLimits;
use super::progress::Progress;
use super::refusals::Refusals;
use crate::guest::Instance;
use crate::telemetry::{InstanceReplaced, RetryTopicRefused};

/// The interval between alerts about a retry topic that refuses records.
const ALERT_EVERY: Duration = Duration::from_secs(60);

/// Handles records for a worker.
pub trait Handler: Dispatch {
    /// Takes the reason why the last delivery could not be made. That delivery ended with a task fault and had no
    /// effect. The caller tries it again later.
    fn take_unavailable(&mut self) -> Option<String> {
        None
    }

    /// Loads the schema that the last delivery lacked to decode a stored value.
    ///
    /// # Errors
    /// If it cannot be loaded now. The caller tries again later.
    fn load_missing(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// The resources that the handler uses.
    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// The resources that a handler uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The memory of its instance, in bytes.
    pub memory_bytes: u64,
    /// The instances that it has created so far.
    pub instances: u64,
}

impl Handler for Instance {
    fn take_unavailable(&mut self) -> Option<String> {
        Self::take_unavailable(self)
    }

    fn load_missing(&mut self) -> Result<(), String> {
        Self::load_missing(self)
    }

    fn usage(&self) -> Usage {
        Usage { memory_bytes: self.memory_bytes() as u64, instances: self.instances() }
    }
}

/// A handler, together with the limits and refusals of the log.
pub(super) struct Refusing {
    handler: Box<dyn Handler>,
    pub(super) refusals: Refusals,
    pub(super) limits: KnownLimits,
    clock: Arc<dyn Clock>,
    /// The time of the last alert about a retry topic.
    alerted: Option<Duration>,
    /// Changelogs that refused a timestamp on arrival.
    timeless: Vec<Topic>,
    /// The time of the last dispatch.
    took: Duration,
    /// The number of instances that were reported.
    instances: u64,
    progress: Arc<Progress>,
}

impl Refusing {
    pub(super) fn new(
        handler: Box<dyn Handler>,
        limits: KnownLimits,
        clock: Arc<dyn Clock>,
        progress: Arc<Progress>,
    ) -> Self {
        let (refusals, timeless, took) = (Refusals::default(), vec![], Duration::ZERO);
        let instances = handler.usage().instances;
        Self { handler, refusals, limits, clock, alerted: None, timeless, took, instances, progress }
    }

    pub(super) fn take_unavailable(&mut self) -> Option<String> {
        self.handler.take_unavailable()
    }

    /// Replaces the handler. The old handler has no undecided refusals then.
    pub(super) fn replace(&mut self, handler: Box<dyn Handler>) {
        self.instances = handler.usage().instances;
        self.handler = handler;
    }

    /// Reports instances that were replaced since the last call. Returns the memory of the current one, in bytes.
    pub(super) fn report_usage(&mut self) -> u64 {
        let Usage { memory_bytes, instances } = self.handler.usage();
        // The first instance replaces none.
        let replaced = instances.saturating_sub(self.instances.max(1));
        self.instances = instances;
        if replaced > 0 {
            self.progress.report(InstanceReplaced { instances: replaced });
        }
        memory_bytes
    }

    /// Sets the timestamp of a changelog record to `now` if its topic does not accept the current one.
    pub(super) fn in_time(&mut self, record: &mut ChangelogRecord<'_>, now: Timestamp) {
        let timeless = self.timeless.iter().any(|topic| topic == record.record().topic);
        if timeless || self.limits.verdict(record.record(), now) == Verdict::OtherTime {
            record.at_other_time(now);
        }
    }

    /// Records that a changelog refused a timestamp. From now on, its records get this host's time.
    pub(super) fn without_time(&mut self, changelog: Topic) {
        if !self.timeless.contains(&changelog) {
            self.timeless.push(changelog);
        }
    }

    /// Raises an alert that a retry topic refuses a record, which is dead-lettered instead.
    fn report_refused_parking(&mut self, of: &Record, topic: &Topic, why: &str) {
        let now = self.clock.now();
        if self.alerted.is_none_or(|at| now >= at + ALERT_EVERY) {
            self.alerted = Some(now);
            self.progress.report(RetryTopicRefused { record: of, retry: topic, why });
        }
    }

    /// Takes the time of the last dispatch; zero if nothing was dispatched since the last call.
    pub(super) fn take_time(&mut self) -> Duration {
        std::mem::take(&mut self.took)
    }
}

impl Dispatch for Refusing {
    fn prepare<'r>(&mut self, record: &'r Record) -> Result<Prepared<'r>, String> {
        self.handler.load_missing()?;
        self.handler.prepare(record)
    }

    fn identify(&mut self, prepared: &Prepared<'_>) -> Result<Option<MessageId>, EventFault> {
        self.handler.identify(prepared)
    }

    fn dispatch(&mut self, prepared: &Prepared<'_>, delivery: &Delivery<'_>, reads: Reads) -> Result<Effects, Fault> {
        match self.refusals.state(delivery.record) {
            Some(why) => Err(EventFault::new(EventFaultKind::State, why).into()),
            None => {
                let began = self.clock.now();
                let dispatched = self.handler.dispatch(prepared, delivery, reads);
                self.took = self.clock.now().saturating_sub(began);
                dispatched
            }
        }
    }

    fn judge(&mut self, of: &Record, record: NewRecordRef<'_>, form: Form, now: Timestamp) -> Verdict {
        let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        let verdict = match self.refusals.verdict(of, record.topic, form, bytes) {
            None => self.limits.verdict(record, now),
            Some(refused @ Verdict::Refuses(_)) => match self.limits.verdict(record, now) {
                Verdict::OtherTime if self.refusals.may_be_time(of, record.topic, form) => Verdict::OtherTime,
                _ => refused,
            },
            Some(other) => other,
        };
        if let (Form::Retry, Verdict::Refuses(why)) = (form, &verdict) {
            self.report_refused_parking(of, record.topic, why);
        }
        verdict
    }
}
