//! Parked records: in a retry topic, or in the task's state if records keep the order of their key.

use bytes::Bytes;

use crate::batch::{Ending, OpenBatch};
use crate::event::{NewRecord, NewRecordRef, Timestamp};
use crate::fault::TaskFault;
use crate::policy::Order;
use crate::state::Writes;
use crate::waiting::{self, Number, Queues, pack};

use super::arrival::{Arrival, Origin};
use super::{Dispatch, Form, Task, Verdict};

impl Task {
    /// The next due record that is parked in the task's state. It stays there until it is processed.
    ///
    /// # Errors
    /// If the state cannot be read. Then drop `batch`.
    pub fn next_parked(&mut self, batch: &mut OpenBatch, now: Timestamp) -> Result<Option<Arrival>, TaskFault> {
        let Some(store) = self.spec.waiting else { return Ok(None) };
        let Some(number) = self.queues()?.and_then(|queues| queues.due(now)) else { return Ok(None) };
        let reads = batch.overlay(self.partition).reads(self.state.clone());
        let packed = reads.get(&Writes::new(), store, &number.entry())?;
        match packed.as_ref().and_then(waiting::read) {
            Some(waiting) => Ok(Some(Arrival::parked(number, waiting))),
            None => Err(TaskFault(format!("the record that waits as {number:?} is not there"))),
        }
    }

    /// The number of records that are parked in the task's state, as far as they were read.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.queues.as_ref().map_or(0, Queues::len)
    }

    /// The due time of the first record that is parked in the task's state.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.queues.as_ref().and_then(Queues::next_due)
    }

    /// The records that are parked in the task's state.
    pub(super) fn queues(&mut self) -> Result<Option<&mut Queues>, TaskFault> {
        let Some(store) = self.spec.waiting else { return Ok(None) };
        if self.queues.is_none() {
            self.queues = Some(Queues::load(self.state.as_ref(), store)?);
        }
        Ok(self.queues.as_mut())
    }

    /// Parks a failed record. Returns the records to write, or `None` if the log does not accept it.
    pub(super) fn park(
        &mut self,
        arrival: &Arrival,
        parked: NewRecord,
        due: Timestamp,
        handler: &mut dyn Dispatch,
        batch: &mut OpenBatch,
        now: Timestamp,
    ) -> Result<Option<Vec<NewRecord>>, TaskFault> {
        let record = arrival.record();
        let entry = match (&arrival.origin, self.spec.policy.order) {
            (Origin::State(number, _), _) => Some(*number),
            (_, Order::Key(_)) => None,
            (_, Order::None) => {
                // Its timestamp is already the host's.
                if handler.judge(record, parked.borrowed(), Form::Retry, now) != Verdict::Takes {
                    return Ok(None);
                }
                self.finish(arrival, Ending::Retried, batch);
                return Ok(Some(vec![parked]));
            }
        };
        let packed = pack(record, &parked.headers);
        if !self.takes_parked(arrival, &packed, handler, now) {
            return Ok(None);
        }
        match entry {
            Some(number) => {
                self.write(number, Some(packed), record.timestamp, batch);
                self.queues.get_or_insert_default().postpone(number, due);
                self.finish(arrival, Ending::Retried, batch);
            }
            None => self.push(arrival, packed, due, batch)?,
        }
        Ok(Some(vec![]))
    }

    /// Adds an entry to the parked records in the task's state.
    pub(super) fn push(
        &mut self,
        arrival: &Arrival,
        packed: Bytes,
        due: Timestamp,
        batch: &mut OpenBatch,
    ) -> Result<(), TaskFault> {
        let record = arrival.record();
        let Some(queues) = self.queues()? else {
            return Err(TaskFault("records of a key wait for each other, and there is no store for them".to_owned()));
        };
        let number = queues.push(record, due);
        self.write(number, Some(packed), record.timestamp, batch);
        self.finish(arrival, Ending::Retried, batch);
        Ok(())
    }

    /// Changes an entry of the parked records in the task's state.
    pub(super) fn write(&self, number: Number, packed: Option<Bytes>, at: Timestamp, batch: &mut OpenBatch) {
        if let Some(store) = self.spec.waiting {
            batch.overlay(self.partition).write(Writes::from([((store, number.entry()), packed)]), at);
        }
    }

    /// Returns true if the changelog of parked records accepts this one.
    pub(super) fn takes_parked(
        &self,
        arrival: &Arrival,
        packed: &[u8],
        handler: &mut dyn Dispatch,
        now: Timestamp,
    ) -> bool {
        let Some(topic) = self.spec.waiting.and_then(|store| self.spec.changelogs.get(store.0)) else { return true };
        let record = NewRecordRef {
            topic,
            partition: Some(self.partition),
            timestamp: Some(arrival.record().timestamp),
            // All numbers of entries have this length.
            key: Some(&[0; 8]),
            value: Some(packed),
            headers: &[],
        };
        !matches!(handler.judge(arrival.record(), record, Form::Changelog, now), Verdict::Refuses(_))
    }
}
