//! The step: the processing of one record.
//!
//! ```text
//!            ┌─ seen ────────> skip ─────────────────────────────────────────┐
//!  record ──>┼─ of a table ──> its key's value ──────────────────────────────┤
//!            ├─ key parked ──> park behind it ───────────────────────────────┤
//!            └─ new ──> dispatch ──ok──────> settle ─> records, state writes ┼─> OpenBatch
//!                           └────fault──> policy ─┬─ again ─> the worker     │
//!                                                 ├─ later ───────> record ──┤
//!                                                 └─ dead letter ─> record ──┘
//! ```
//!
//! Dead-lettered and parked messages are not recorded as seen, so a later copy is processed.

mod apply;
mod dispatch;
mod fit;
mod spec;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::batch::{Ending, OpenBatch};
use crate::dedup::MessageId;
use crate::delivery::{Delivery, Epoch};
use crate::event::{NewRecord, Partition, Record, Timestamp, Topic};
use crate::failed::{Failure, Waiting, queued, retry};
use crate::fault::{EventFault, EventFaultKind, Fault, TaskFault};
use crate::policy::{Disposition, Order, Retry, Tried, WhenFull};
use crate::state::{Committing, Overlay, TaskState, Writes};
use crate::waiting::{self, Number, Queues, pack};

pub use dispatch::Dispatch;
pub use fit::{Form, Verdict};
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
    /// Nothing more: it is in its table.
    Applied,
    /// It is parked, in a retry topic or in the task's state, at least until this time.
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
    /// The records that are parked in the state, once they were read.
    queues: Option<Queues>,
    /// The epochs of topics that were created anew since the component first knew them.
    epochs: BTreeMap<Topic, Epoch>,
}

/// A record to process, with its earlier attempts.
struct Arrival<'a> {
    record: &'a Record,
    /// The attempts before it was parked.
    attempts: u32,
    tried: Tried,
    first_failure: Option<Bytes>,
    epoch: Option<Epoch>,
}

/// The identity of an arrival's message.
enum Identified {
    /// The message was not processed before. Its id, if it has one.
    New(Option<MessageId>),
    /// The message was already processed.
    Seen,
    /// The value that should contain the id cannot be decoded.
    Failed(EventFault),
}

/// The place of an arrival among the parked records of its key.
enum Turn {
    /// No record of its key is parked, so it is its turn.
    Now,
    /// It is parked behind the records of its key. The first of them is due at this time.
    Parked(Timestamp),
    /// There is no room to park it. The first record of its key is due at this time.
    NoRoom(Timestamp),
    /// It can neither be parked nor wait for room.
    Refused,
}

/// The outcome of an arrival. Nothing is recorded yet.
enum Ended {
    Duplicate,
    Handled(Handled),
    Failed(EventFault),
}

/// The results of a successful delivery. The log accepts all of them.
struct Handled {
    emits: Vec<NewRecord>,
    writes: Writes,
    id: Option<MessageId>,
}

impl Task {
    /// Creates the task of `partition`, on top of its committed state.
    #[must_use]
    pub fn new(spec: Arc<TaskSpec>, partition: Partition, committed: Arc<dyn TaskState>) -> Self {
        Self { spec, partition, state: committed.clone(), committed, queues: None, epochs: BTreeMap::new() }
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

    /// Sets the incarnation of `topic` from which its records come.
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

    /// Processes one record of the input or of a retry topic, and records its outcome in `batch`. If it must be tried
    /// again in place, nothing is recorded, and the next call passes the next `attempt`, counted from 1. `now` is the
    /// time of a failure and the base of the next attempt's due time; nothing else depends on it.
    ///
    /// # Errors
    /// If the state cannot be read. Then drop `batch`.
    pub fn step(
        &mut self,
        record: &Record,
        attempt: u32,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
        now: Timestamp,
    ) -> Result<Step, TaskFault> {
        if let Some(step) = self.apply(record, batch) {
            return Ok(step);
        }
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
                Identified::Seen => Ended::Duplicate,
                Identified::New(id) => match self.park_behind(record, &arrival, handler, batch, now)? {
                    Turn::Now => self.deliver(&arrival, id, handler, batch, now)?,
                    Turn::Parked(ahead) => return Ok(Step { next: Next::Later(ahead), ..Step::default() }),
                    Turn::NoRoom(ahead) => return Ok(Step { next: Next::NoRoom(ahead), ..Step::default() }),
                    Turn::Refused => {
                        let what =
                            "it cannot wait behind those of its key: too many wait, or the changelog does not take it";
                        Ended::Failed(EventFault::new(EventFaultKind::Crowded, what))
                    }
                },
                Identified::Failed(fault) => Ended::Failed(fault),
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

    /// Like [`step`](Self::step), but makes all attempts in place one after the other, for callers that have no clock.
    ///
    /// # Errors
    /// As for [`step`](Self::step).
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

    /// Processes the next due record that is parked in the task's state. Returns `None` if there is none.
    ///
    /// # Errors
    /// If the state cannot be read. Then drop `batch`.
    pub fn step_due(
        &mut self,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
        now: Timestamp,
    ) -> Result<Option<Step>, TaskFault> {
        let Some((number, waited)) = self.due(batch, now)? else { return Ok(None) };
        let arrival = Arrival::waited(&waited);
        let ended = match self.identify(&arrival, handler, batch)? {
            Identified::Seen => Ended::Duplicate,
            Identified::New(id) => self.deliver(&arrival, id, handler, batch, now)?,
            Identified::Failed(fault) => Ended::Failed(fault),
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

    /// The record that [`step_due`](Self::step_due) would process.
    ///
    /// # Errors
    /// If the state cannot be read. Then drop `batch`.
    pub fn peek_due(&mut self, batch: &mut OpenBatch, now: Timestamp) -> Result<Option<Record>, TaskFault> {
        Ok(self.due(batch, now)?.map(|(_, waiting)| waiting.record))
    }

    /// Discards the changes of dropped batches. The parked records are read again.
    pub fn forget(&mut self) {
        self.settled();
        self.queues = None;
    }

    /// The number of records that are parked in the task's state, as far as they were read.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queues.as_ref().map_or(0, Queues::len)
    }

    /// The due time of the first parked record.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.queues.as_ref().and_then(Queues::next_due)
    }

    /// The records that are parked in the task's state.
    fn queues(&mut self) -> Result<Option<&mut Queues>, TaskFault> {
        let Some(store) = self.spec.waiting else { return Ok(None) };
        if self.queues.is_none() {
            self.queues = Some(Queues::load(self.state.as_ref(), store)?);
        }
        Ok(self.queues.as_mut())
    }

    fn identify(
        &self,
        arrival: &Arrival<'_>,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
    ) -> Result<Identified, TaskFault> {
        let Record { source, timestamp, .. } = arrival.record;
        let id = match handler.identify(arrival.record) {
            Ok(id) => id,
            Err(fault) => return Ok(Identified::Failed(fault)),
        };
        if let Some(id) = &id
            && self.has_seen(&source.topic, id, *timestamp, batch)?
        {
            return Ok(Identified::Seen);
        }
        Ok(Identified::New(id))
    }

    fn has_seen(&self, topic: &Topic, id: &MessageId, at: Timestamp, batch: &mut OpenBatch) -> Result<bool, TaskFault> {
        let window = self.spec.windows.get(topic);
        let now = window.is_some_and(|window| batch.overlay(self.partition).has_seen(topic, id, at, *window));
        Ok(now || self.state.seen(topic, id, at)?)
    }

    /// Parks a record behind parked records of its key, if there are any.
    fn park_behind(
        &mut self,
        record: &Record,
        arrival: &Arrival<'_>,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
        now: Timestamp,
    ) -> Result<Turn, TaskFault> {
        let order = self.spec.policy.order;
        let Some(queues) = self.queues()? else { return Ok(Turn::Now) };
        let Some(ahead) = queues.ahead_of(arrival.record) else { return Ok(Turn::Now) };
        if let Order::Key(bounds) = order
            && !queues.has_room(arrival.record, &bounds)
        {
            return Ok(match bounds.when_full {
                WhenFull::Wait => Turn::NoRoom(ahead),
                WhenFull::DeadLetter => Turn::Refused,
            });
        }
        let packed = pack(arrival.record, &queued(arrival.record, arrival.epoch.as_ref()));
        if !self.takes_waiting(arrival, &packed, handler, now) {
            return Ok(Turn::Refused);
        }
        let Some(queues) = self.queues()? else { return Ok(Turn::Now) };
        let number = queues.push(arrival.record, Timestamp(0));
        self.write(number, Some(packed), arrival.record.timestamp, batch);
        batch.finish(record, self.spec.retry_topics.contains(&record.source.topic), Ending::Retried);
        Ok(Turn::Parked(ahead))
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

    /// Records the outcome of an arrival that did not fail.
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

    /// The parked record for a delay, and its due time.
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
