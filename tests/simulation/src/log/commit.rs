//! The steps of a member's commit, and the records that the broker refuses on arrival.

use heddle::log::{LogError, OnArrival, RefusedRecord};
use heddle_core::event::{Offset, TopicPartition};

use super::broker::Broker;
use super::member::SimMember;
use super::unreachable;
use crate::gate::Call;
use crate::plan::Refuses;
use crate::time;

/// A commit in flight.
pub(super) struct Committing {
    pub(super) positions: Vec<(TopicPartition, Offset)>,
    pub(super) next: Next,
}

/// The next step of a commit.
pub(super) enum Next {
    Flush,
    Positions,
    Decide,
    /// Everything is done, but the caller has not learned it yet.
    Tell,
}

impl SimMember {
    /// Sends the buffered records to the broker.
    pub(super) fn flush(&mut self) -> Result<(), LogError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let txn = self.txn()?;
        self.refuse_on_arrival()?;
        for record in std::mem::take(&mut self.waiting) {
            self.arrived += 1;
            let by_number = record.partition.is_some();
            let sent = self.caller.world().broker().append(txn, record);
            let (place, offset) = sent.map_err(|error| self.note(error))?;
            self.caller.tell(format_args!("writes {place}@{offset}"));
            if by_number {
                self.ends.insert(place, offset.next());
            }
        }
        Ok(())
    }

    /// Refuses the whole batch on arrival if the broker does not accept one of the buffered records.
    fn refuse_on_arrival(&self) -> Result<(), LogError> {
        let named = self.caller.world().plan.refuses == Refuses::ByNumber;
        let refused = self.waiting.iter().enumerate().filter(|(_, record)| Broker::refuses(record));
        let refused = refused.map(|(place, record)| RefusedRecord {
            number: named.then_some(self.arrived + place),
            topic: Some(record.topic.clone()),
            why: format!("`{}` takes no such record", record.topic),
            timestamp: false,
        });
        let records = refused.collect::<Vec<_>>();
        if records.is_empty() {
            return Ok(());
        }
        let count = records.len() as u64;
        self.caller.world().count(|happened| {
            *(if named { &mut happened.refused_by_number } else { &mut happened.refused_unnamed }) += count;
        });
        Err(self.note(LogError::Refused(OnArrival { records })))
    }

    /// Takes the next of the three steps.
    pub(super) fn commit_step(&mut self, committing: &Committing) -> Result<Next, LogError> {
        let caller = self.caller.clone();
        match committing.next {
            Next::Flush => caller.pass(Call::Flush, || {
                self.abort_now_and_then()?;
                self.flush()?;
                self.txn().map(|_| Next::Positions)
            }),
            Next::Positions => caller.pass(Call::Positions, || {
                unreachable(&caller)?;
                let txn = self.txn()?;
                let positions = committing.positions.iter().filter_map(|(place, offset)| {
                    let cursor = self.cursors.get(place).or_else(|| self.held.get(place))?;
                    Some(((place.clone(), cursor.incarnation), *offset))
                });
                let positions = positions.collect::<Vec<_>>();
                let added = caller.world().broker().add_positions(txn, self.seat, &positions);
                added.map(|()| Next::Decide).map_err(|error| self.note(error))
            }),
            Next::Decide => caller.pass(Call::Decide, || self.decide(&committing.positions).map(|()| Next::Tell)),
            Next::Tell => Ok(Next::Tell),
        }
    }

    fn decide(&mut self, positions: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        let caller = self.caller.clone();
        let world = caller.world();
        let (unknown, reaches, late) = {
            let mut faults = world.faults();
            let unknown = faults.slight(|rates| rates.commit * 3);
            let late = faults.slight(|rates| rates.commit).then(|| faults.chance.millis(20, 3_000));
            (unknown, faults.chance.one_in(2), late)
        };
        if unknown && !reaches {
            world.count(|happened| happened.unknown_lost += 1);
            self.caller.tell(format_args!("commit: not known, and not done"));
            return Err(LogError::CommitUnknown("no answer".to_owned()));
        }
        if let Some(time) = late {
            world.count(|happened| happened.late += 1);
            self.caller.tell(format_args!("the commit takes {time:?}"));
            self.caller.wait::<LogError>(time::now() + time)?;
        }
        let txn = self.txn()?;
        let decided = world.broker().decide(txn, true);
        decided.map_err(|error| self.note(error))?;
        self.txn = None;
        for (place, offset) in positions {
            let cursor = self.cursors.get_mut(place).or_else(|| self.held.get_mut(place));
            let lost = cursor.map(|cursor| cursor.gaps.extract_if(.., |gap| gap.to <= *offset).collect::<Vec<_>>());
            lost.into_iter().flatten().for_each(|lost| world.broker().lose(lost));
        }
        world.count(|happened| happened.commits += 1);
        if unknown {
            world.count(|happened| happened.unknown_committed += 1);
            self.caller.tell(format_args!("commit: not known, but done"));
            return Err(LogError::CommitUnknown("no answer".to_owned()));
        }
        Ok(())
    }

    fn abort_now_and_then(&self) -> Result<(), LogError> {
        if self.caller.world().faults().slight(|rates| rates.commit) {
            return Err(self.note(LogError::Abort("the broker says so".to_owned())));
        }
        Ok(())
    }
}
