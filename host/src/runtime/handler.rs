//! What a worker calls for each record: a component's instance, or a stand-in.

use heddle_core::dedup::MessageId;
use heddle_core::delivery::Delivery;
use heddle_core::effects::Effects;
use heddle_core::event::Record;
use heddle_core::fault::{EventFault, EventFaultKind, Fault};
use heddle_core::state::Reads;
use heddle_core::task::Dispatch;

use super::refusals::Refusals;
use crate::guest::Instance;

/// Handles records for a worker.
pub trait Handler: Dispatch {
    /// Makes sure that what `record` needs to be decoded is at hand.
    ///
    /// # Errors
    /// Why that cannot be told now; it is tried again later.
    fn prepare(&mut self, record: &Record) -> Result<(), String>;

    /// Takes the reason why the last delivery could not be made now, if there is one: it ended with a task fault, had no effect, and
    /// is tried again later.
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

/// A handler, and the records that fail before they get to it.
pub(super) struct Refusing {
    handler: Box<dyn Handler>,
    pub(super) refusals: Refusals,
}

impl Refusing {
    pub(super) fn new(handler: Box<dyn Handler>) -> Self {
        Self { handler, refusals: Refusals::default() }
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
}

impl Dispatch for Refusing {
    fn identify(&mut self, record: &Record) -> Result<Option<MessageId>, EventFault> {
        self.handler.identify(record)
    }

    fn dispatch(&mut self, delivery: &Delivery<'_>, reads: Reads) -> Result<Effects, Fault> {
        match self.refusals.of(delivery.record) {
            Some(why) => Err(EventFault::new(EventFaultKind::Emit, why).into()),
            None => self.handler.dispatch(delivery, reads),
        }
    }
}
