//! The interface between a task and the component that handles its records.

use crate::batch::OpenBatch;
use crate::dedup::MessageId;
use crate::delivery::Delivery;
use crate::effects::Effects;
use crate::event::{NewRecordRef, Record, Timestamp};
use crate::fault::{EventFault, Fault, TaskFault};
use crate::state::Reads;

use super::apply::Outcome;
use super::{Arrival, Form, Planned, Task, Verdict};

/// Dispatches a delivery to a component's handler.
pub trait Dispatch {
    /// The record's message id; `None` if its topic has no dedup, or the record has no id.
    ///
    /// # Errors
    /// If the value that should contain it cannot be decoded.
    fn identify(&mut self, record: &Record) -> Result<Option<MessageId>, EventFault>;

    /// Runs the handler. After a fault, nothing of the delivery may be kept, here or in the component. `reads` must be
    /// dropped before this returns.
    ///
    /// # Errors
    /// The fault of the delivery.
    fn dispatch(&mut self, delivery: &Delivery<'_>, reads: Reads) -> Result<Effects, Fault>;

    /// Checks that the log accepts a record which the delivery of `of` causes, before any result of the delivery is
    /// kept. `now` is the current time.
    fn judge(&mut self, _of: &Record, _record: NewRecordRef<'_>, _form: Form, _now: Timestamp) -> Verdict {
        Verdict::Takes
    }
}

impl Task {
    /// Runs the handler of a planned record. Nothing is recorded.
    ///
    /// # Errors
    /// If the state cannot be read. Then drop `batch`.
    pub fn dispatch(
        &self,
        arrival: &Arrival,
        planned: Planned,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
    ) -> Result<Outcome, TaskFault> {
        let reads = batch.overlay(self.partition).reads(self.state.clone());
        match handler.dispatch(&self.delivery(arrival), reads) {
            Ok(effects) => Ok(Outcome::Handled { effects, id: planned.id }),
            Err(Fault::Event(fault)) => Ok(Outcome::Failed(fault)),
            Err(Fault::Task(fault)) => Err(fault),
        }
    }
}
