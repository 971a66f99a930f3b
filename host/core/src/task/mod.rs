//! The step: what becomes of one record.
//!
//! ```text
//!            ┌─ seen ────────> skip ─────────────────────────────────────────┐
//!  record ──>┼─ key waits ───> wait behind it ───────────────────────────────┤
//!            └─ new ──> dispatch ──ok──────> settle ─> records, state writes ┼─> OpenBatch
//!                           └────fault──> policy ─┬─ again ─> the worker     │
//!                                                 ├─ later ───────> record ──┤
//!                                                 └─ dead letter ─> record ──┘
//! ```
//!
//! A message that was set aside or waits is not noted as seen: when it comes again, it is handled again.

mod fit;
mod spec;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::batch::{Ending, OpenBatch};
use crate::dedup::MessageId;
use crate::delivery::{Delivery, Epoch};
use crate::effects::Effects;
use crate::event::{NewRecord, NewRecordRef, Partition, Record, Timestamp, Topic};
use crate::failed::{Failure, Waiting, queued, retry};
use crate::fault::{EventFault, EventFaultKind, Fault, TaskFault};
use crate::policy::{Disposition, Order, Retry, Tried, WhenFull};
use crate::state::{Committing, Overlay, Reads, TaskState, Writes};
use crate::waiting::{self, Number, Queues, pack};

pub use fit::{Form, Verdict};
pub use spec::TaskSpec;

/// Hands a delivery to a component's handler.
pub trait Dispatch {
    /// The record's message id; `None` if its topic has no dedup, or the record no id.
    ///
    /// # Errors
    /// If the value it should be in does not decode.
    fn identify(&mut self, record: &Record) -> Result<Option<MessageId>, EventFault>;

    /// Runs the handler. On a fault nothing of the delivery may be kept, here or in the component. `reads` is dropped
    /// before this returns.
    ///
    /// # Errors
    /// What the delivery failed with.
    fn dispatch(&mut self, delivery: &Delivery<'_>, reads: Reads) -> Result<Effects, Fault>;

    /// Whether the log takes a record that the delivery of `of` leads to. Asked before anything of the delivery is
    /// kept; `now` is the time.
    fn judge(&mut self, _of: &Record, _record: NewRecordRef<'_>, _form: Form, _now: Timestamp) -> Verdict {
        Verdict::Takes
    }
}

/// What a step says to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The records to add to the open transaction, in this order.
    pub writes: Vec<NewRecord>,
    /// What the last attempt failed with, if it did.
    pub fault: Option<EventFault>,
    /// What becomes of the record.
    pub next: Next,
}

/// What becomes of a record after a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Next {
    /// Nothing more: it was handled or set aside.
    #[default]
    Done,
    /// Nothing more: its message was handled before.
    Skipped,
    /// It waits, in a retry topic or in the task's state, until it is tried at this time or later.
    Later(Timestamp),
    /// Nothing is noted yet: this attempt is to be made after this time.
    Again {
        /// The number of the attempt, in place.
        attempt: u32,
        /// How long to wait before.
        after: Duration,
    },
    /// Nothing is noted yet: no room to wait behind the records of its key. At this time the first of them is tried.
    NoRoom(Timestamp),
    /// Nothing is noted: the record failed, and the log takes nothing that would tell so. The fault says both.
    Stuck,
}

/// One component × one partition number.
#[derive(Clone)]
pub struct Task {
    spec: Arc<TaskSpec>,
    partition: Partition,
    committed: Arc<dyn TaskState>,
    /// What a batch builds on: what is committed, and what is being committed.
    state: Arc<dyn TaskState>,
    /// Which records wait in the state, once that was read.
    queues: Option<Queues>,
    /// Of the topics that were made anew since the component knew them first.
    epochs: BTreeMap<Topic, Epoch>,
}

/// A record on its way, and what came before.
struct Arrival<'a> {
    record: &'a Record,
    /// Attempts before it waited.
    attempts: u32,
    tried: Tried,
    first_failure: Option<Bytes>,
    epoch: Option<Epoch>,
}

/// How an arrival ended; nothing is noted yet.
enum Ended {
    Duplicate,
    Handled(Handled),
    Failed(EventFault),
}

/// What a delivery that succeeded leads to; the log takes all of it.
struct Handled {
    emits: Vec<NewRecord>,
    writes: Writes,
    id: Option<MessageId>,
}

impl Task {
    /// The task of `partition`, on top of what is committed of its state.
    #[must_use]
    pub fn new(spec: Arc<TaskSpec>, partition: Partition, committed: Arc<dyn TaskState>) -> Self {
        Self { spec, partition, state: committed.clone(), committed, queues: None, epochs: BTreeMap::new() }
    }

    /// A batch that did this to the task is being committed; the next one builds on it.
    pub fn committing(&mut self, overlay: &Arc<Overlay>) {
        let (windows, committed) = (self.spec.windows.clone(), self.committed.clone());
        self.state = Arc::new(Committing::new(overlay.clone(), windows, committed));
    }

    /// That commit is over, and what the batch did becomes committed state now.
    pub fn settled(&mut self) {
        self.state = self.committed.clone();
    }

    /// Names which topic of its name the records of `topic` come from.
    pub fn set_epoch(&mut self, topic: &Topic, epoch: Option<Epoch>) {
        match epoch {
            Some(epoch) => self.epochs.insert(topic.clone(), epoch),
            None => self.epochs.remove(topic),
        };
    }

    /// Goes on by another version's word, which has the same stores and dedup.
    pub fn respec(&mut self, spec: &Arc<TaskSpec>) {
        self.spec = spec.clone();
    }

    /// Takes one record of the input or of a retry topic through its delivery, and notes in `batch` that it is done
    /// with, unless it is to be tried again in place: then the next call says which `attempt` it is, counted from 1.
    /// `now` is when a failure is said to have happened, and what the time of the next attempt is counted from; nothing
    /// else depends on it.
    ///
    /// # Errors
    /// If the state cannot be read; `batch` must then be given up.
    pub fn step(
        &mut self,
        record: &Record,
        attempt: u32,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
        now: Timestamp,
    ) -> Result<Step, TaskFault> {
        let again = self.spec.retry_topics.contains(&record.source.topic);
        let waited = if again { Waiting::read(record) } else { None };
        let arrival = match &waited {
            Some(waited) => Arrival::waited(waited),
            None => {
                let tried = Tried { in_place: Some(attempt), round: 0 };
                let epoch = self.epochs.get(&record.source.topic).cloned();
                Arrival { record, attempts: attempt - 1, tried, first_failure: None, epoch }
            }
        };
        let ended = if again && waited.is_none() {
            Ended::Failed(EventFault::new(
                EventFaultKind::Decode,
                "not a record that waits: what wrote it to this topic?",
            ))
        } else {
            match self.identify(&arrival, handler, batch)? {
                Ok(None) => Ended::Duplicate,
                Ok(Some(id)) => match self.wait_behind(record, &arrival, handler, batch, now)? {
                    Some(Next::Done) => {
                        let what =
                            "it cannot wait behind those of its key: too many wait, or the changelog does not take it";
                        Ended::Failed(EventFault::new(EventFaultKind::Crowded, what))
                    }
                    Some(next) => return Ok(Step { next, ..Step::default() }),
                    None => self.deliver(&arrival, id, handler, batch, now)?,
                },
                Err(fault) => Ended::Failed(fault),
            }
        };
        let finish = |batch: &mut OpenBatch, ending| batch.finish(record, again, ending);
        let fault = match ended {
            Ended::Failed(fault) => fault,
            done => return Ok(self.done(&arrival, done, batch, finish)),
        };
        match self.decide(&arrival, &fault) {
            Disposition::Again(after) => {
                let next = Next::Again { attempt: attempt + 1, after };
                return Ok(Step { fault: Some(fault), next, ..Step::default() });
            }
            Disposition::Later(delay) => {
                let (waits, due) = self.postponed(&arrival, &fault, now, delay);
                if let Some(writes) = self.let_wait(&arrival, waits, due, handler, batch, now)? {
                    finish(batch, Ending::Retried);
                    return Ok(Step { writes, fault: Some(fault), next: Next::Later(due) });
                }
            }
            Disposition::DeadLetter => {}
        }
        let step = self.set_aside(&arrival, fault, handler, now);
        if step.next == Next::Done {
            finish(batch, Ending::DeadLettered);
        }
        Ok(step)
    }

    /// As [`step`](Self::step), with all attempts in place one right after the other: for whoever has no clock to wait
    /// by.
    ///
    /// # Errors
    /// As `step`.
    pub fn step_at_once(
        &mut self,
        record: &Record,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
        now: Timestamp,
    ) -> Result<Step, TaskFault> {
        let mut attempt = 1;
        loop {
            match self.step(record, attempt, handler, batch, now)? {
                Step { next: Next::Again { attempt: next, .. }, .. } => attempt = next,
                step => return Ok(step),
            }
        }
    }

    /// Takes the next record that waits in the task's state and is due through its delivery; `None` if there is none.
    ///
    /// # Errors
    /// If the state cannot be read; `batch` must then be given up.
    pub fn step_due(
        &mut self,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
        now: Timestamp,
    ) -> Result<Option<Step>, TaskFault> {
        let Some((number, waited)) = self.due(batch, now)? else { return Ok(None) };
        let arrival = Arrival::waited(&waited);
        let ended = match self.identify(&arrival, handler, batch)? {
            Ok(None) => Ended::Duplicate,
            Ok(Some(id)) => self.deliver(&arrival, id, handler, batch, now)?,
            Err(fault) => Ended::Failed(fault),
        };
        let partition = self.partition;
        let finish = |batch: &mut OpenBatch, ending| batch.finish_waiting(partition, ending);
        let step = match ended {
            Ended::Failed(fault) => {
                if let Disposition::Later(delay) = self.decide(&arrival, &fault)
                    && let (waits, due) = self.postponed(&arrival, &fault, now, delay)
                    && self.may_wait(&arrival, &waits, true, handler, now)
                {
                    self.write(number, Some(pack(arrival.record, &waits.headers)), arrival.record.timestamp, batch);
                    self.queues.get_or_insert_default().postpone(number, due);
                    finish(batch, Ending::Retried);
                    return Ok(Some(Step { writes: vec![], fault: Some(fault), next: Next::Later(due) }));
                }
                let step = self.set_aside(&arrival, fault, handler, now);
                if step.next == Next::Stuck {
                    return Ok(Some(step));
                }
                finish(batch, Ending::DeadLettered);
                step
            }
            done => self.done(&arrival, done, batch, finish),
        };
        self.write(number, None, arrival.record.timestamp, batch);
        self.queues.get_or_insert_default().pop(number);
        Ok(Some(step))
    }

    /// The record that [`step_due`](Self::step_due) would take.
    ///
    /// # Errors
    /// If the state cannot be read; `batch` must then be given up.
    pub fn peek_due(&mut self, batch: &mut OpenBatch, now: Timestamp) -> Result<Option<Record>, TaskFault> {
        Ok(self.due(batch, now)?.map(|(_, waiting)| waiting.record))
    }

    /// What a batch did that was given up did not happen: which records wait is read again.
    pub fn forget(&mut self) {
        self.settled();
        self.queues = None;
    }

    /// How many records wait in the task's state, as far as it was looked at.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queues.as_ref().map_or(0, Queues::len)
    }

    /// When the first of them is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.queues.as_ref().and_then(Queues::next_due)
    }

    /// Which records wait in the task's state.
    fn queues(&mut self) -> Result<Option<&mut Queues>, TaskFault> {
        let Some(store) = self.spec.waiting else { return Ok(None) };
        if self.queues.is_none() {
            self.queues = Some(Queues::load(self.state.as_ref(), store)?);
        }
        Ok(self.queues.as_mut())
    }

    /// The record's message id; `Ok(None)` if it was handled before.
    fn identify(
        &self,
        arrival: &Arrival<'_>,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
    ) -> Result<Result<Option<Option<MessageId>>, EventFault>, TaskFault> {
        let record = arrival.record;
        let id = match handler.identify(record) {
            Ok(id) => id,
            Err(fault) => return Ok(Err(fault)),
        };
        let topic = &record.source.topic;
        let seen = match &id {
            Some(id) => self.has_seen(topic, id, record.timestamp, batch)?,
            None => false,
        };
        Ok(Ok((!seen).then_some(id)))
    }

    fn has_seen(&self, topic: &Topic, id: &MessageId, at: Timestamp, batch: &mut OpenBatch) -> Result<bool, TaskFault> {
        let window = self.spec.windows.get(topic);
        let now = window.is_some_and(|window| batch.overlay(self.partition).has_seen(topic, id, at, *window));
        Ok(now || self.state.seen(topic, id, at)?)
    }

    /// Lets a record wait behind those of its key that wait: then that is what becomes of it. [`Next::Done`]: it may
    /// not wait and is set aside.
    fn wait_behind(
        &mut self,
        record: &Record,
        arrival: &Arrival<'_>,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
        now: Timestamp,
    ) -> Result<Option<Next>, TaskFault> {
        let order = self.spec.policy.order;
        let Some(queues) = self.queues()? else { return Ok(None) };
        let Some(ahead) = queues.ahead_of(arrival.record) else { return Ok(None) };
        if let Order::Key(bounds) = order
            && !queues.has_room(arrival.record, &bounds)
        {
            return Ok(Some(match bounds.when_full {
                WhenFull::Wait => Next::NoRoom(ahead),
                WhenFull::DeadLetter => Next::Done,
            }));
        }
        let packed = pack(arrival.record, &queued(arrival.record, arrival.epoch.as_ref()));
        if !self.takes_waiting(arrival, &packed, handler, now) {
            return Ok(Some(Next::Done));
        }
        let Some(queues) = self.queues()? else { return Ok(None) };
        let number = queues.push(arrival.record, Timestamp(0));
        self.write(number, Some(packed), arrival.record.timestamp, batch);
        batch.finish(record, self.spec.retry_topics.contains(&record.source.topic), Ending::Retried);
        Ok(Some(Next::Later(ahead)))
    }

    fn due(&mut self, batch: &mut OpenBatch, now: Timestamp) -> Result<Option<(Number, Waiting)>, TaskFault> {
        let Some(store) = self.spec.waiting else { return Ok(None) };
        let Some(number) = self.queues()?.and_then(|queues| queues.due(now)) else { return Ok(None) };
        let reads = batch.overlay(self.partition).reads(self.state.clone());
        let packed = reads.get(&Writes::new(), store, &number.entry())?;
        match packed.as_ref().and_then(waiting::read) {
            Some(waiting) => Ok(Some((number, waiting))),
            None => Err(TaskFault(format!("the record that waits as {number:?} is not there"))),
        }
    }

    fn write(&self, number: Number, packed: Option<Bytes>, at: Timestamp, batch: &mut OpenBatch) {
        if let Some(store) = self.spec.waiting {
            batch.overlay(self.partition).write(Writes::from([((store, number.entry()), packed)]), at);
        }
    }

    fn deliver(
        &self,
        arrival: &Arrival<'_>,
        id: Option<MessageId>,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
        now: Timestamp,
    ) -> Result<Ended, TaskFault> {
        let reads = batch.overlay(self.partition).reads(self.state.clone());
        match handler.dispatch(&self.delivery(arrival), reads) {
            Ok(effects) => Ok(self.fit(arrival, effects, id, handler, now).map_or_else(Ended::Failed, Ended::Handled)),
            Err(Fault::Task(fault)) => Err(fault),
            Err(Fault::Event(fault)) => Ok(Ended::Failed(fault)),
        }
    }

    /// Notes what did not fail.
    fn done(
        &self,
        arrival: &Arrival<'_>,
        ended: Ended,
        batch: &mut OpenBatch,
        finish: impl FnOnce(&mut OpenBatch, Ending),
    ) -> Step {
        let Ended::Handled(Handled { emits, writes, id }) = ended else {
            finish(batch, Ending::Duplicate);
            return Step { next: Next::Skipped, ..Step::default() };
        };
        let record = arrival.record;
        let overlay = batch.overlay(self.partition);
        overlay.write(writes, record.timestamp);
        if let Some(id) = id {
            overlay.mark(&record.source.topic, id, record.timestamp);
        }
        finish(batch, Ending::Handled { emitted: emits.len() as u64 });
        Step { writes: emits, ..Step::default() }
    }

    fn decide(&self, arrival: &Arrival<'_>, fault: &EventFault) -> Disposition<'_> {
        self.spec.policy.decide(&self.delivery(arrival).id(), arrival.tried, fault)
    }

    /// The record that waits for a delay, and when that has passed.
    fn postponed(
        &self,
        arrival: &Arrival<'_>,
        fault: &EventFault,
        at: Timestamp,
        delay: &Retry,
    ) -> (NewRecord, Timestamp) {
        let due = later(at, delay.delay);
        let (delivery, failure) = (self.delivery(arrival), self.failure(arrival, fault, at));
        (retry(&delivery, &failure, (arrival.tried.round + 1, due), &delay.topic, self.partition), due)
    }

    fn failure<'a>(&'a self, arrival: &Arrival<'a>, fault: &'a EventFault, at: Timestamp) -> Failure<'a> {
        Failure { fault, at, digest: self.spec.digest.as_deref(), first: arrival.first_failure.clone() }
    }

    fn delivery<'a>(&'a self, arrival: &'a Arrival<'_>) -> Delivery<'a> {
        let epoch = arrival.epoch.as_ref();
        Delivery { component: &self.spec.component, record: arrival.record, attempt: arrival.attempts + 1, epoch }
    }
}

impl<'a> Arrival<'a> {
    fn waited(waited: &'a Waiting) -> Self {
        Self {
            record: &waited.record,
            attempts: waited.attempts,
            tried: Tried { in_place: None, round: waited.round },
            first_failure: waited.first_failure.clone(),
            epoch: waited.epoch.clone(),
        }
    }
}

fn later(now: Timestamp, delay: Duration) -> Timestamp {
    Timestamp(now.0.saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)))
}
