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

/// A record with the handler and the decoders that it needs. [`Dispatch::prepare`] looks them up once, so a record is
/// neither identified nor dispatched before its schemas are loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared<'r> {
    /// The record.
    pub record: &'r Record,
    /// The number of its handler in the component; `None` if no handler consumes its topic.
    pub handler: Option<usize>,
    /// The decoder of its value.
    pub value: Decoding,
    /// The decoder of its key.
    pub key: Decoding,
}

/// The decoder of a part of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoding {
    /// The part is absent, or the handler takes its bytes.
    Unneeded,
    /// The decoder with this number.
    With(usize),
    /// The part cannot be decoded. This is a fault of the record if the part is needed.
    Broken(Box<EventFault>),
}

impl<'r> Prepared<'r> {
    /// Prepares a record that needs neither a numbered handler nor a decoder.
    #[must_use]
    pub fn plain(record: &'r Record) -> Self {
        Self { record, handler: None, value: Decoding::Unneeded, key: Decoding::Unneeded }
    }
}

/// Dispatches a delivery to a component's handler.
pub trait Dispatch {
    /// Looks up the handler and the decoders of a record.
    ///
    /// # Errors
    /// If a schema cannot be loaded now. That is not the record's fault, so the caller tries again later.
    fn prepare<'r>(&mut self, record: &'r Record) -> Result<Prepared<'r>, String> {
        Ok(Prepared::plain(record))
    }

    /// The record's message id; `None` if its topic has no dedup, or the record has no id.
    ///
    /// # Errors
    /// If the value that should contain it cannot be decoded.
    fn identify(&mut self, prepared: &Prepared<'_>) -> Result<Option<MessageId>, EventFault>;

    /// Runs the handler. After a fault, nothing of the delivery may be kept, here or in the component. `reads` must be
    /// dropped before this returns.
    ///
    /// # Errors
    /// The fault of the delivery.
    fn dispatch(&mut self, prepared: &Prepared<'_>, delivery: &Delivery<'_>, reads: Reads) -> Result<Effects, Fault>;

    /// Checks that the log accepts a record that the delivery of `of` causes. No result of the delivery is kept before
    /// that. `now` is the current time.
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
        planned: Planned<'_>,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
    ) -> Result<Outcome, TaskFault> {
        let reads = batch.overlay(self.partition).reads(self.state.clone());
        let Planned { prepared, id } = planned;
        match handler.dispatch(&prepared, &self.delivery(arrival), reads) {
            Ok(effects) => Ok(Outcome::Handled { effects, id }),
            Err(Fault::Event(fault)) => Ok(Outcome::Failed(fault)),
            Err(Fault::Task(fault)) => Err(fault),
        }
    }
}
