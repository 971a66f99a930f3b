//! What a worker calls for each record: a component's instance, or a stand-in.

use std::time::Duration;

use heddle_core::batch::ChangelogRecord;
use heddle_core::dedup::MessageId;
use heddle_core::delivery::Delivery;
use heddle_core::effects::Effects;
use heddle_core::event::{NewRecordRef, Record, Timestamp, Topic};
use heddle_core::fault::{EventFault, EventFaultKind, Fault};
use heddle_core::state::Reads;
use heddle_core::task::{Dispatch, Form, Verdict};

use super::clock::Clock;
use super::known_limits::KnownLimits;
use super::refusals::Refusals;
use crate::guest::Instance;

/// How often a person is told that records cannot wait in their retry topic.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Handles records for a worker.
pub trait Handler: Dispatch {
    /// Makes sure that what `record` needs to be decoded is at hand.
    ///
    /// # Errors
    /// Why that cannot be told now; it is tried again later.
    fn prepare(&mut self, record: &Record) -> Result<(), String>;

    /// Takes the reason why the last delivery could not be made now, if there is one: it ended with a task fault, had
    /// no effect, and is tried again later.
    fn take_unavailable(&mut self) -> Option<String> {
        None
    }
}

impl Handler for Instance {
    fn prepare(&mut self, record: &Record) -> Result<(), String> {
        Self::prepare(self, record)
    }

    fn take_unavailable(&mut self) -> Option<String> {
        Self::take_unavailable(self)
    }
}

/// A handler, and what the log takes and refused of what it leads to.
pub(super) struct Refusing {
    handler: Box<dyn Handler>,
    pub(super) refusals: Refusals,
    pub(super) limits: KnownLimits,
    clock: std::sync::Arc<dyn Clock>,
    /// When a person was told last that a retry topic refuses records.
    told: Option<Duration>,
    /// Changelogs that refused a timestamp on arrival.
    timeless: Vec<Topic>,
}

impl Refusing {
    pub(super) fn new(handler: Box<dyn Handler>, limits: KnownLimits, clock: std::sync::Arc<dyn Clock>) -> Self {
        Self { handler, refusals: Refusals::default(), limits, clock, told: None, timeless: vec![] }
    }

    pub(super) fn prepare(&mut self, record: &Record) -> Result<(), String> {
        self.handler.prepare(record)
    }

    pub(super) fn take_unavailable(&mut self) -> Option<String> {
        self.handler.take_unavailable()
    }

    /// Another handler from now on. What the log refused of the one before is decided first.
    pub(super) fn replace(&mut self, handler: Box<dyn Handler>) {
        self.handler = handler;
    }

    /// Gives a record of a changelog the time `now`, if its topic does not take the one it has.
    pub(super) fn in_time(&mut self, record: &mut ChangelogRecord<'_>, now: Timestamp) {
        let timeless = self.timeless.iter().any(|topic| topic == record.record().topic);
        if timeless || self.limits.verdict(record.record(), now) == Verdict::OtherTime {
            record.at_other_time(now);
        }
    }

    /// The changelog refused a timestamp that it was thought to take: it gets this host's time from now on.
    pub(super) fn without_time(&mut self, changelog: Topic) {
        if !self.timeless.contains(&changelog) {
            self.timeless.push(changelog);
        }
    }

    /// A topic that is to hold what waits refuses it; it is set aside instead.
    fn tell_cannot_wait(&mut self, of: &Record, topic: &Topic, why: &str) {
        let now = self.clock.now();
        if self.told.is_none_or(|at| now >= at + TELL_EVERY) {
            self.told = Some(now);
            tracing::warn!(
                target: "heddle::alert",
                source = %of.source,
                offset = %of.offset,
                retry = %topic,
                "records are set aside instead of being tried again later: {why}; give the retry topic as many partitions as its component has tasks, and a max.message.bytes above that of its input"
            );
        }
    }
}

impl Dispatch for Refusing {
    fn identify(&mut self, record: &Record) -> Result<Option<MessageId>, EventFault> {
        self.handler.identify(record)
    }

    fn dispatch(&mut self, delivery: &Delivery<'_>, reads: Reads) -> Result<Effects, Fault> {
        match self.refusals.state(delivery.record) {
            Some(why) => Err(EventFault::new(EventFaultKind::State, why).into()),
            None => self.handler.dispatch(delivery, reads),
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
            self.tell_cannot_wait(of, record.topic, why);
        }
        verdict
    }
}
