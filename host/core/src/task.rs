//! The step: what becomes of one record.
//!
//! ```text
//!  record ──> dispatch ──ok──────> settle ──────────> records to write ─┐
//!                 └────fault──> policy ─┬─ again ──> dispatch           ├─> OpenBatch
//!                                       └─ dead letter ─> one record ───┘
//! ```

use crate::batch::OpenBatch;
use crate::delivery::{ComponentName, Delivery};
use crate::effects::Effects;
use crate::event::{NewRecord, Record};
use crate::fault::EventFault;
use crate::policy::{Disposition, FailurePolicy, dead_letter};
use crate::settle::settle;

/// Hands a delivery to a component's handler.
pub trait Dispatch {
    /// Runs the handler. On a fault nothing of the delivery may be kept, here or in the component.
    fn dispatch(&mut self, delivery: &Delivery<'_>) -> Result<Effects, EventFault>;
}

/// What a step says to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// The records to add to the open transaction, in this order.
    pub writes: Vec<NewRecord>,
    /// The fault for which the record was set aside, if it was.
    pub fault: Option<EventFault>,
}

/// What the step of one component needs to know.
#[derive(Clone, Debug)]
pub struct Task {
    /// The component.
    pub component: ComponentName,
    /// What a failed delivery leads to.
    pub policy: FailurePolicy,
}

impl Task {
    /// Takes one record through its delivery, and notes in `batch` that it is done with.
    pub fn step(&self, record: &Record, handler: &mut dyn Dispatch, batch: &mut OpenBatch) -> Step {
        let mut delivery = Delivery { component: &self.component, record, attempt: 1 };
        let fault = loop {
            match handler.dispatch(&delivery) {
                Ok(effects) => {
                    let writes = settle(&delivery, effects);
                    batch.finish(record, writes.len() as u64, false);
                    return Step { writes, fault: None };
                }
                Err(fault) => match self.policy.decide(delivery.attempt, &fault) {
                    Disposition::Again => delivery.attempt += 1,
                    Disposition::DeadLetter => break fault,
                },
            }
        };
        let writes = vec![dead_letter(&delivery, &fault, &self.policy.dead_letter)];
        batch.finish(record, 0, true);
        Step { writes, fault: Some(fault) }
    }
}
