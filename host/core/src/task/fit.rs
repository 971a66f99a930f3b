//! Checks that the log accepts the results of a delivery, before any of them is kept.
//!
//! ```text
//!  emits, state ──refused──> the delivery fails: `emit`, `state` ──> policy
//!  retry record ──refused──> dead letter ──refused──> reduced dead letter ──refused──> stuck: the task is blocked
//! ```
//!
//! A timestamp alone is never a reason for a refusal. The record gets another timestamp, and a header keeps the
//! original.

use crate::dedup::MessageId;
use crate::effects::Effects;
use crate::event::{NewRecord, NewRecordRef, Record, Timestamp};
use crate::failed::{Failure, at_other_time, dead_letter, reduced_dead_letter};
use crate::fault::{EventFault, EventFaultKind, bounded};
use crate::settle::settle;
use crate::state::Writes;

use super::apply::Accepted;
use super::arrival::Arrival;
use super::{Dispatch, Next, Step, Task};

/// The maximum size of a message id that is not checked, in bytes. Such an id fits into any changelog.
const ID_BYTES_SMALL: usize = 512;
/// The maximum size of the original fault, in bytes, in a fault that also explains why its dead letter cannot be
/// written.
const STUCK_REASON_BYTES_MAX: usize = 1 << 10;

/// The role of a record in the delivery that causes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// The handler emits it.
    Emit,
    /// It changes the task's state, in a changelog.
    Changelog,
    /// It is a parked record, in a retry topic.
    Retry,
    /// It is the dead letter of the delivery's record.
    Letter,
    /// It is the reduced dead letter.
    ReducedLetter,
}

/// The log's verdict on a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The log accepts it, as far as is known.
    Takes,
    /// The log would accept it with another timestamp.
    OtherTime,
    /// The log refuses it, for this reason.
    Refuses(String),
}

impl Task {
    /// The results of a handler, if the log accepts all of them.
    pub(super) fn fit(
        &self,
        arrival: &Arrival,
        effects: Effects,
        id: Option<MessageId>,
        handler: &mut dyn Dispatch,
        now: Timestamp,
    ) -> Result<Accepted, EventFault> {
        let record = arrival.record();
        let refused = |why| EventFault::new(EventFaultKind::Emit, why);
        let mut emits = settle(&self.delivery(arrival), effects.emits, self.tracing.as_ref());
        emits.iter_mut().try_for_each(|emit| taken(record, emit, Form::Emit, handler, now)).map_err(refused)?;
        self.fit_state(record, &effects.writes, id.as_ref(), handler, now)
            .map_err(|why| EventFault::new(EventFaultKind::State, why))?;
        Ok(Accepted { emits, writes: effects.writes, id })
    }

    fn fit_state(
        &self,
        record: &Record,
        writes: &Writes,
        id: Option<&MessageId>,
        handler: &mut dyn Dispatch,
        now: Timestamp,
    ) -> Result<(), String> {
        let partition = Some(self.partition);
        for ((store, key), value) in writes {
            let Some(topic) = self.spec.changelog(*store) else { continue };
            let (timestamp, value) = (Some(record.timestamp), value.as_deref());
            let written = NewRecordRef { topic, partition, timestamp, key: Some(key), value, headers: &[] };
            not_refused(handler.judge(record, written, Form::Changelog, now))?;
        }
        if let (Some(topic), Some(id)) = (&self.spec.seen_changelog, id.filter(|id| id.0.len() > ID_BYTES_SMALL)) {
            let (key, value) = (Some(record.source.topic.as_bytes()), Some(&*id.0));
            let noted = NewRecordRef { topic, partition, timestamp: None, key, value, headers: &[] };
            not_refused(handler.judge(record, noted, Form::Changelog, now))
                .map_err(|why| format!("its message id is too large: {why}"))?;
        }
        Ok(())
    }

    /// Dead-letters a record that failed with `fault`, reduced if the log refuses the whole record. Returns
    /// [`Next::Stuck`] if it refuses both.
    pub(super) fn dead_letter(
        &self,
        arrival: &Arrival,
        fault: EventFault,
        handler: &mut dyn Dispatch,
        now: Timestamp,
    ) -> Step {
        let (record, topic) = (arrival.record(), &self.spec.policy.dead_letter);
        let delivery = self.delivery(arrival);
        let traced = self.tracing.and_then(|tracing| tracing.of(&self.spec.component, record));
        let trace = traced.filter(|traced| traced.is_sampled).map(|traced| traced.context());
        let failure = Failure { trace, ..self.failure(arrival, &fault, now) };
        let mut letter = dead_letter(&delivery, &failure, topic);
        let stuck = match taken(record, &mut letter, Form::Letter, handler, now) {
            Ok(()) => None,
            Err(why) => {
                letter = reduced_dead_letter(&delivery, &failure, topic, &why);
                taken(record, &mut letter, Form::ReducedLetter, handler, now).err()
            }
        };
        let Some(why) = stuck else {
            return Step { writes: vec![letter], fault: Some(fault), next: Next::Done };
        };
        let failed = bounded(fault.detail, STUCK_REASON_BYTES_MAX);
        let detail = format!("{failed}; and its dead letter cannot be written: {why}");
        Step { writes: vec![], fault: Some(EventFault::new(fault.kind, detail)), next: Next::Stuck }
    }
}

/// Checks that the log accepts a record, with another timestamp if necessary.
fn taken(
    of: &Record,
    record: &mut NewRecord,
    form: Form,
    handler: &mut dyn Dispatch,
    now: Timestamp,
) -> Result<(), String> {
    match handler.judge(of, record.borrowed(), form, now) {
        Verdict::Takes => Ok(()),
        Verdict::Refuses(why) => Err(why),
        Verdict::OtherTime => {
            at_other_time(record, now);
            // The new header may make the record too large.
            not_refused(handler.judge(of, record.borrowed(), form, now))
        }
    }
}

fn not_refused(verdict: Verdict) -> Result<(), String> {
    match verdict {
        Verdict::Takes | Verdict::OtherTime => Ok(()),
        Verdict::Refuses(why) => Err(why),
    }
}
