//! What a worker calls for each record: a component's instance, or a stand-in.

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

/// A handler, and the record whose effects the log refused, if there is one: its next delivery fails.
pub(super) struct Refusing {
    handler: Box<dyn Handler>,
    refused: Option<Refused>,
}

struct Refused {
    source: TopicPartition,
    offset: Offset,
    why: String,
}

impl Refusing {
    pub(super) fn new(handler: Box<dyn Handler>) -> Self {
        Self { handler, refused: None }
    }

    pub(super) fn prepare(&mut self, record: &Record) -> Result<(), String> {
        self.handler.prepare(record)
    }

    /// The log does not take what the handler emits for this record.
    pub(super) fn refuse(&mut self, record: &Record, why: &str) {
        self.refused = Some(Refused { source: record.source.clone(), offset: record.offset, why: why.to_owned() });
    }

    /// What was refused has been dealt with.
    pub(super) fn settled(&mut self) {
        self.refused = None;
    }
}

impl Dispatch for Refusing {
    fn identify(&mut self, record: &Record) -> Result<Option<MessageId>, EventFault> {
        self.handler.identify(record)
    }

    fn dispatch(&mut self, delivery: &Delivery<'_>, reads: Reads) -> Result<Effects, Fault> {
        let record = delivery.record;
        match &self.refused {
            Some(refused) if refused.source == record.source && refused.offset == record.offset => {
                Err(EventFault::new(EventFaultKind::Emit, refused.why.clone()).into())
            }
            _ => self.handler.dispatch(delivery, reads),
        }
    }
}
