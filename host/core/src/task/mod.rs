//! The step: the processing of one record.
//!
//! ```text
//!  Arrival ──prepare──> Prepared ──plan──> Planned ──dispatch──> Outcome ──apply──> Step
//!                                   │                               ^       │
//!                                   └──────── without a handler ────┘       └──> OpenBatch: positions, writes,
//! ```                                                                            message ids
//!
//! - [`prepare`](Dispatch::prepare) looks up the handler and the decoders. The registry may be down, so the caller
//!   prepares the record before its step.
//! - [`plan`](Task::plan) determines what the record needs, and records nothing.
//! - [`dispatch`](Task::dispatch) runs the handler, and records nothing.
//! - [`apply`](Task::apply) records the outcome, all of it or nothing.

mod apply;
mod arrival;
mod dispatch;
mod fit;
mod park;
mod plan;
mod spec;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::OpenBatch;
use crate::delivery::{Delivery, Epoch};
use crate::event::{NewRecord, Partition, Record, Timestamp, Topic};
use crate::fault::{EventFault, TaskFault};
use crate::schedule::Schedule;
use crate::state::{Committing, Overlay, TaskState};
use crate::trace::Tracing;

pub use apply::Outcome;
pub use arrival::Arrival;
pub use dispatch::{Decoding, Dispatch, Prepared};
pub use fit::{Form, Verdict};
pub use plan::{Plan, Planned};
pub use spec::TaskSpec;

/// The result of a step.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The records to add to the open transaction, in this order.
    pub writes: Vec<NewRecord>,
    /// The fault of the last attempt, if it failed.
    pub fault: Option<EventFault>,
    /// The outcome for the record.
    pub next: Next,
}

/// The outcome of a step for its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Next {
    /// It was processed or dead-lettered.
    #[default]
    Done,
    /// It was skipped, because its message was already processed.
    Skipped,
    /// It is in its table. No handler runs.
    Applied,
    /// It is parked, in a retry topic or in the task's schedule, at least until this time.
    Later(Timestamp),
    /// Nothing is recorded yet: another attempt in place must follow after a back-off.
    Again {
        /// The number of the next attempt in place.
        attempt: u32,
        /// The back-off.
        after: Duration,
    },
    /// Nothing is recorded yet: there is no room to park it behind the records of its key. The first of them is due at
    /// this time.
    NoRoom(Timestamp),
    /// Nothing is recorded: the record failed, and the log refuses its dead letter in any form. The fault has both
    /// reasons.
    Stuck,
}

/// One component × one partition number.
#[derive(Clone)]
pub struct Task {
    spec: Arc<TaskSpec>,
    partition: Partition,
    committed: Arc<dyn TaskState>,
    /// The state on which a batch builds: committed state, and state that is being committed.
    state: Arc<dyn TaskState>,
    /// The index of the schedule, once it was read.
    schedule: Option<Schedule>,
    /// The epochs of topics that were recreated since the component first knew them.
    epochs: BTreeMap<Topic, Epoch>,
    tracing: Option<Tracing>,
}

impl Task {
    /// Creates the task of `partition`, on top of its committed state.
    #[must_use]
    pub fn new(spec: Arc<TaskSpec>, partition: Partition, committed: Arc<dyn TaskState>) -> Self {
        let (schedule, epochs, tracing) = (None, BTreeMap::new(), None);
        Self { spec, partition, state: committed.clone(), committed, schedule, epochs, tracing }
    }

    /// Sets the settings of tracing. With `None`, outputs get the trace context of their input.
    #[must_use]
    pub fn traced(mut self, tracing: Option<Tracing>) -> Self {
        self.tracing = tracing;
        self
    }

    /// Adds the changes of a batch whose commit is under way, so that the next batch builds on them.
    pub fn committing(&mut self, overlay: &Arc<Overlay>) {
        let (windows, committed) = (self.spec.windows.clone(), self.committed.clone());
        self.state = Arc::new(Committing::new(overlay.clone(), windows, committed));
    }

    /// Drops the overlay of [`committing`](Self::committing) after its commit. The caller adds it to the committed
    /// state.
    pub fn settled(&mut self) {
        self.state = self.committed.clone();
    }

    /// Sets the incarnation of `topic` that its records come from.
    pub fn set_epoch(&mut self, topic: &Topic, epoch: Option<Epoch>) {
        match epoch {
            Some(epoch) => self.epochs.insert(topic.clone(), epoch),
            None => self.epochs.remove(topic),
        };
    }

    /// Switches to the spec of another version, which must have the same stores and dedup.
    pub fn respec(&mut self, spec: &Arc<TaskSpec>) {
        self.spec = spec.clone();
    }

    /// Processes a record, and records its outcome in `batch`. If it must be tried again in place, nothing is recorded,
    /// and the next call passes the same arrival with the next attempt ([`Arrival::again`]). `now` is the time of a
    /// failure and the base of the next attempt's due time; nothing else depends on it.
    ///
    /// # Errors
    /// If the state cannot be read. Then drop `batch`.
    pub fn step(
        &mut self,
        arrival: &Arrival,
        prepared: Prepared<'_>,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
        now: Timestamp,
    ) -> Result<Step, TaskFault> {
        let outcome = match self.plan(arrival, prepared, handler, batch)? {
            Plan::Dispatch(planned) => self.dispatch(arrival, planned, handler, batch)?,
            Plan::Apply(outcome) => outcome,
        };
        self.apply(arrival, outcome, handler, batch, now)
    }

    /// Like [`step`](Self::step), but prepares the record and makes all attempts in place one after the other, for
    /// callers that have no clock.
    ///
    /// # Errors
    /// As for [`step`](Self::step), and if a schema cannot be loaded.
    pub fn step_at_once(
        &mut self,
        record: &Record,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
        now: Timestamp,
    ) -> Result<Step, TaskFault> {
        let mut arrival = Arrival::of(record.clone(), &self.spec.retry_topics);
        loop {
            let prepared = handler.prepare(arrival.record()).map_err(TaskFault)?;
            match self.step(&arrival, prepared, handler, batch, now)? {
                Step { next: Next::Again { attempt, .. }, .. } => arrival = arrival.again(attempt),
                step => return Ok(step),
            }
        }
    }

    /// Discards the changes of dropped batches. The parked records are read again.
    pub fn forget(&mut self) {
        self.settled();
        self.schedule = None;
    }

    fn delivery<'a>(&'a self, arrival: &'a Arrival) -> Delivery<'a> {
        let (component, record, attempt) = (&self.spec.component, arrival.record(), arrival.attempt());
        Delivery { component, record, attempt, epoch: self.epoch(arrival) }
    }

    /// The incarnation of the topic that a record was first read from.
    fn epoch<'a>(&'a self, arrival: &'a Arrival) -> Option<&'a Epoch> {
        match arrival.parked() {
            Some(parked) => parked.epoch.as_ref(),
            None => self.epochs.get(&arrival.record().source.topic),
        }
    }
}
