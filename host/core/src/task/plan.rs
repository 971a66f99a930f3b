//! The plan for a record: its needs, as far as they are known without its handler. Planning records nothing.
//!
//! ```text
//!            ┌─ of a table ───────────> change of the table
//!            ├─ not a parked record ──> failed
//!  arrival ──┼─ seen ─────────────────> duplicate
//!            ├─ its key is parked ────> behind it, or no room
//!            └─ new ──────────────────> dispatch
//! ```

use crate::batch::OpenBatch;
use crate::dedup::MessageId;
use crate::event::{Record, Timestamp, Topic};
use crate::failed::queued;
use crate::fault::{EventFault, EventFaultKind, TaskFault};
use crate::policy::{Order, WhenFull};
use crate::schedule::pack;

use super::apply::{Outcome, crowded};
use super::arrival::{Arrival, Origin};
use super::{Dispatch, Prepared, Task};

/// The next step for a record.
#[derive(Debug)]
pub enum Plan<'r> {
    /// Its handler has to run.
    Dispatch(Planned<'r>),
    /// Its outcome is known without the handler.
    Apply(Outcome),
}

/// A record that was identified and whose handler may run.
#[derive(Debug)]
pub struct Planned<'r> {
    pub(super) prepared: Prepared<'r>,
    /// The id of the record's message, if it has one.
    pub(super) id: Option<MessageId>,
}

/// The identity of an arrival's message.
enum Identified {
    /// The message was not processed before. Has its id, if there is one.
    New(Option<MessageId>),
    /// The message was already processed.
    Seen,
    /// The value that should contain the id cannot be decoded.
    Failed(EventFault),
}

impl Task {
    /// Plans the processing of a record. Continue with [`dispatch`](Self::dispatch) or [`apply`](Self::apply).
    ///
    /// # Errors
    /// If the state cannot be read. Then drop `batch`.
    pub fn plan<'r>(
        &mut self,
        arrival: &'r Arrival,
        prepared: Prepared<'r>,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
    ) -> Result<Plan<'r>, TaskFault> {
        debug_assert!(std::ptr::eq(prepared.record, arrival.record()), "another record was prepared");
        match &arrival.origin {
            Origin::Input(record) => {
                if let Some(table) = self.spec.table(&record.source.topic) {
                    return Ok(Plan::Apply(Outcome::Change { table: table.index, change: table.keys.change(record) }));
                }
            }
            Origin::Stray(_) => {
                let why = "not a parked record: another program wrote it to this topic";
                return Ok(Plan::Apply(Outcome::Failed(EventFault::new(EventFaultKind::Decode, why))));
            }
            Origin::Retry(_) | Origin::Schedule(..) => {}
        }
        let id = match self.identify(&prepared, handler, batch)? {
            Identified::New(id) => id,
            Identified::Seen => return Ok(Plan::Apply(Outcome::Duplicate)),
            Identified::Failed(fault) => return Ok(Plan::Apply(Outcome::Failed(fault))),
        };
        Ok(match self.behind(arrival)? {
            Some(outcome) => Plan::Apply(outcome),
            None => Plan::Dispatch(Planned { prepared, id }),
        })
    }

    fn identify(
        &self,
        prepared: &Prepared<'_>,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
    ) -> Result<Identified, TaskFault> {
        let Record { source, timestamp, .. } = prepared.record;
        let id = match handler.identify(prepared) {
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

    /// The outcome of a record whose key has parked records; `None` if it has none, or if this is the first of them.
    fn behind(&mut self, arrival: &Arrival) -> Result<Option<Outcome>, TaskFault> {
        if let Origin::Schedule(..) = arrival.origin {
            return Ok(None);
        }
        let (record, order) = (arrival.record(), self.spec.policy.order);
        let Some(schedule) = self.schedule()? else { return Ok(None) };
        let Some(ahead) = schedule.ahead_of(record) else { return Ok(None) };
        if let Order::Key(bounds) = order
            && !schedule.has_room(record, &bounds)
        {
            return Ok(Some(match bounds.when_full {
                WhenFull::Wait => Outcome::NoRoom(ahead),
                WhenFull::DeadLetter => Outcome::Failed(crowded()),
            }));
        }
        let packed = pack(record, &queued(record, self.epoch(arrival)));
        Ok(Some(Outcome::Behind { ahead, packed }))
    }
}
