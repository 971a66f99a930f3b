//! What a worker calls for each record: a component's instance, or a stand-in.

use std::collections::BTreeMap;

use heddle_core::dedup::MessageId;
use heddle_core::delivery::Delivery;
use heddle_core::effects::Effects;
use heddle_core::event::{Offset, Record, TopicPartition};
use heddle_core::fault::{EventFault, EventFaultKind, Fault};
use heddle_core::state::Reads;
use heddle_core::task::Dispatch;

use crate::guest::Instance;

/// Handles records for a worker.
pub trait Handler: Dispatch {
    /// Makes sure that what `record` needs to be decoded is at hand.
    ///
    /// # Errors
    /// Why that cannot be told now; it is tried again later.
    fn prepare(&mut self, record: &Record) -> Result<(), String>;
}

impl Handler for Instance {
    fn prepare(&mut self, record: &Record) -> Result<(), String> {
        Self::prepare(self, record)
    }
}

/// A handler, and the records whose effects the log refused since the last commit, with the reasons: their next delivery fails.
///
/// All of them: with the last one alone, two in one transaction would take turns in being refused, for ever.
pub(super) struct Refusing {
    handler: Box<dyn Handler>,
    refused: BTreeMap<TopicPartition, BTreeMap<Offset, String>>,
}

impl Refusing {
    pub(super) fn new(handler: Box<dyn Handler>) -> Self {
        Self { handler, refused: BTreeMap::new() }
    }

    pub(super) fn prepare(&mut self, record: &Record) -> Result<(), String> {
        self.handler.prepare(record)
    }

    /// Another handler from now on. What the log refused of the one before is decided first.
    pub(super) fn replace(&mut self, handler: Box<dyn Handler>) {
        self.handler = handler;
    }

    /// The log does not take what the handler emits for this record.
    pub(super) fn refuse(&mut self, record: &Record, why: &str) {
        self.refused.entry(record.source.clone()).or_default().insert(record.offset, why.to_owned());
    }

    /// What was refused has been dealt with.
    pub(super) fn settled(&mut self) {
        self.refused.clear();
    }
}

impl Dispatch for Refusing {
    fn identify(&mut self, record: &Record) -> Result<Option<MessageId>, EventFault> {
        self.handler.identify(record)
    }

    fn dispatch(&mut self, delivery: &Delivery<'_>, reads: Reads) -> Result<Effects, Fault> {
        let record = delivery.record;
        match self.refused.get(&record.source).and_then(|refused| refused.get(&record.offset)) {
            Some(why) => Err(EventFault::new(EventFaultKind::Emit, why.clone()).into()),
            None => self.handler.dispatch(delivery, reads),
        }
    }
}
