//! The step: what becomes of one record.
//!
//! ```text
//!            ┌─ seen ──> skip ───────────────────────────────────────────────┐
//!  record ──>┤                                                               ├─> OpenBatch
//!            └─ new ──> dispatch ──ok──────> settle ─> records, state writes ┤
//!                           └────fault──> policy ─┬─ again ──> dispatch      │
//!                                                 └─ dead letter ─> record ──┘
//! ```
//!
//! A message that was set aside is not noted as seen: when it is produced again, it is handled again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::{Ending, OpenBatch};
use crate::dedup::MessageId;
use crate::delivery::{ComponentName, Delivery};
use crate::effects::Effects;
use crate::event::{NewRecord, Partition, Record, Timestamp, Topic};
use crate::fault::{EventFault, Fault, TaskFault};
use crate::policy::{Disposition, Failure, FailurePolicy, dead_letter};
use crate::settle::settle;
use crate::state::{Reads, TaskState};

/// Hands a delivery to a component's handler.
pub trait Dispatch {
    /// The record's message id; `None` if its topic has no dedup, or the record no id.
    ///
    /// # Errors
    /// If the value it should be in does not decode.
    fn identify(&mut self, record: &Record) -> Result<Option<MessageId>, EventFault>;

    /// Runs the handler. On a fault nothing of the delivery may be kept, here or in the component. `reads` is dropped before
    /// this returns.
    ///
    /// # Errors
    /// What the delivery failed with.
    fn dispatch(&mut self, delivery: &Delivery<'_>, reads: Reads) -> Result<Effects, Fault>;
}

/// What a step says to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The records to add to the open transaction, in this order.
    pub writes: Vec<NewRecord>,
    /// The fault for which the record was set aside, if it was.
    pub fault: Option<EventFault>,
}

/// What all tasks of one component share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSpec {
    /// The component.
    pub component: ComponentName,
    /// The digest of its file, told with what it could not handle.
    pub digest: Option<Arc<str>>,
    /// What a failed delivery leads to.
    pub policy: FailurePolicy,
    /// The changelog of each store, by its [`StoreIndex`](crate::state::StoreIndex).
    pub changelogs: Vec<Topic>,
    /// The changelog of message ids; `None` if no consumed topic has dedup.
    pub seen_changelog: Option<Topic>,
    /// How long the message ids of a topic are remembered, for each consumed topic that has dedup.
    pub windows: BTreeMap<Topic, Duration>,
}

impl TaskSpec {
    /// Whether it has neither stores nor dedup.
    #[must_use]
    pub fn is_stateless(&self) -> bool {
        self.changelogs.is_empty() && self.seen_changelog.is_none()
    }

    /// A component without stores and without dedup.
    #[must_use]
    pub fn stateless(component: ComponentName, policy: FailurePolicy) -> Self {
        Self { component, digest: None, policy, changelogs: vec![], seen_changelog: None, windows: BTreeMap::new() }
    }
}

/// One component × one partition number.
#[derive(Clone)]
pub struct Task {
    spec: Arc<TaskSpec>,
    partition: Partition,
    state: Arc<dyn TaskState>,
}

impl Task {
    /// The task of `partition`, on top of what is committed of its state.
    #[must_use]
    pub fn new(spec: Arc<TaskSpec>, partition: Partition, state: Arc<dyn TaskState>) -> Self {
        Self { spec, partition, state }
    }

    /// Goes on by another version's word, which has the same stores and dedup.
    pub fn respec(&mut self, spec: &Arc<TaskSpec>) {
        self.spec = spec.clone();
    }

    /// Takes one record through its delivery, and notes in `batch` that it is done with. `now` is when a failure is said to have
    /// happened; nothing else depends on it.
    ///
    /// # Errors
    /// If the state cannot be read; `batch` must then be given up.
    pub fn step(
        &self,
        record: &Record,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
        now: Timestamp,
    ) -> Result<Step, TaskFault> {
        let mut delivery = Delivery { component: &self.spec.component, record, attempt: 1 };
        let id = match handler.identify(record) {
            Ok(id) => id,
            Err(fault) => return Ok(self.set_aside(&delivery, fault, now, batch)),
        };
        let topic = &record.source.topic;
        if let Some(id) = &id
            && self.has_seen(topic, id, record.timestamp, batch)?
        {
            batch.finish(record, Ending::Duplicate);
            return Ok(Step::default());
        }
        loop {
            let reads = batch.overlay(self.partition).reads(self.state.clone());
            match handler.dispatch(&delivery, reads) {
                Ok(effects) => {
                    let overlay = batch.overlay(self.partition);
                    overlay.write(effects.writes, record.timestamp);
                    if let Some(id) = id {
                        overlay.mark(topic, id, record.timestamp);
                    }
                    let writes = settle(&delivery, effects.emits);
                    batch.finish(record, Ending::Handled { emitted: writes.len() as u64 });
                    return Ok(Step { writes, fault: None });
                }
                Err(Fault::Task(fault)) => return Err(fault),
                Err(Fault::Event(fault)) => match self.spec.policy.decide(delivery.attempt, &fault) {
                    Disposition::Again => delivery.attempt += 1,
                    Disposition::DeadLetter => return Ok(self.set_aside(&delivery, fault, now, batch)),
                },
            }
        }
    }

    fn has_seen(&self, topic: &Topic, id: &MessageId, at: Timestamp, batch: &mut OpenBatch) -> Result<bool, TaskFault> {
        let window = self.spec.windows.get(topic);
        let now = window.is_some_and(|window| batch.overlay(self.partition).has_seen(topic, id, at, *window));
        Ok(now || self.state.seen(topic, id, at)?)
    }

    fn set_aside(&self, delivery: &Delivery<'_>, fault: EventFault, at: Timestamp, batch: &mut OpenBatch) -> Step {
        let failure = Failure { fault: &fault, at, digest: self.spec.digest.as_deref() };
        let writes = vec![dead_letter(delivery, &failure, &self.spec.policy.dead_letter)];
        batch.finish(delivery.record, Ending::DeadLettered);
        Step { writes, fault: Some(fault) }
    }
}
