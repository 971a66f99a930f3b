//! Parked records: in a retry topic, or in the task's schedule if records keep the order of their key.

use bytes::Bytes;

use crate::batch::{Ending, OpenBatch};
use crate::event::{NewRecord, NewRecordRef, Timestamp};
use crate::fault::TaskFault;
use crate::policy::Order;
use crate::schedule::{self, Number, Schedule, pack};
use crate::state::{StoreIndex, Writes};

use super::arrival::{Arrival, Origin};
use super::{Dispatch, Form, Task, Verdict};

impl Task {
    /// The next due record of the schedule. It stays in the schedule until it is processed.
    ///
    /// # Errors
    /// If the state cannot be read. Then drop `batch`.
    pub fn next_scheduled(&mut self, batch: &mut OpenBatch, now: Timestamp) -> Result<Option<Arrival>, TaskFault> {
        let Some(number) = self.schedule()?.and_then(|schedule| schedule.due(now)) else { return Ok(None) };
        let reads = batch.overlay(self.partition).reads(self.state.clone());
        let packed = reads.get(&Writes::new(), StoreIndex::SCHEDULE, &number.entry())?;
        match packed.as_ref().and_then(schedule::read) {
            Some(parked) => Ok(Some(Arrival::scheduled(number, parked))),
            None => Err(TaskFault(format!("the parked record {number:?} is missing"))),
        }
    }

    /// The number of records in the schedule, once it was read.
    #[must_use]
    pub fn scheduled(&self) -> usize {
        self.schedule.as_ref().map_or(0, Schedule::len)
    }

    /// The due time of the first record in the schedule.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.schedule.as_ref().and_then(Schedule::next_due)
    }

    /// The index of the schedule, if the task has one.
    pub(super) fn schedule(&mut self) -> Result<Option<&mut Schedule>, TaskFault> {
        if self.spec.schedule.is_none() {
            return Ok(None);
        }
        if self.schedule.is_none() {
            self.schedule = Some(Schedule::load(self.state.as_ref())?);
        }
        Ok(self.schedule.as_mut())
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
            (Origin::Schedule(number, _), _) => Some(*number),
            (_, Order::Key(_)) => None,
            (_, Order::None) => {
                // Its timestamp is already that of the host.
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
                self.schedule.get_or_insert_default().postpone(number, due);
                self.finish(arrival, Ending::Retried, batch);
            }
            None => self.push(arrival, packed, due, batch)?,
        }
        Ok(Some(vec![]))
    }

    /// Adds an entry to the schedule.
    pub(super) fn push(
        &mut self,
        arrival: &Arrival,
        packed: Bytes,
        due: Timestamp,
        batch: &mut OpenBatch,
    ) -> Result<(), TaskFault> {
        let record = arrival.record();
        let Some(schedule) = self.schedule()? else {
            return Err(TaskFault("the order of keys needs a store for parked records, which is missing".to_owned()));
        };
        let number = schedule.push(record, due);
        self.write(number, Some(packed), record.timestamp, batch);
        self.finish(arrival, Ending::Retried, batch);
        Ok(())
    }

    /// Changes an entry of the schedule.
    pub(super) fn write(&self, number: Number, packed: Option<Bytes>, at: Timestamp, batch: &mut OpenBatch) {
        let writes = Writes::from([((StoreIndex::SCHEDULE, number.entry()), packed)]);
        batch.overlay(self.partition).write(writes, at);
    }

    /// Returns true if the changelog of the schedule accepts this entry.
    pub(super) fn takes_parked(
        &self,
        arrival: &Arrival,
        packed: &[u8],
        handler: &mut dyn Dispatch,
        now: Timestamp,
    ) -> bool {
        let Some(topic) = &self.spec.schedule else { return true };
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
